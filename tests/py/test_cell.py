"""A cell's judgement: what a starved host explains is no finding."""

from __future__ import annotations

from aiotorture.cell import STARVED_SHARE, _beside_the_host, _overload
from aiotorture.finding import Finding
from aiotorture.lanes.base import Starvation

LOCKUP = Finding("kernel-log", "soft lockup in aio_read", "s", lockup=True)
LOST = Finding("ledger", "event lost", "l")
STARVED = Starvation(10.0, (1.0, 10.0 * STARVED_SHARE + 1))
BUSY = Starvation(10.0, (5.0, 5.0))


def test_a_lockup_on_a_starved_host_is_overload() -> None:
    assert "the host starved the guest" in (_overload([LOCKUP], STARVED) or "")


def test_a_lockup_on_a_busy_host_is_a_finding() -> None:
    assert _overload([LOCKUP], BUSY) is None


def test_another_finding_stands_on_a_starved_host() -> None:
    assert _overload([LOCKUP, LOST], STARVED) is None
    assert _overload([], STARVED) is None


def test_the_run_delay_stands_beside_a_lockup_and_nothing_else() -> None:
    assert _beside_the_host(LOCKUP, BUSY).evidence == ("host run-delay 5.00 s of 10.00 s",)
    assert _beside_the_host(LOST, BUSY) is LOST


def test_a_lane_without_run_delays_says_so() -> None:
    unmeasured = Starvation(10.0, ())
    assert unmeasured.share == 0.0
    assert str(unmeasured) == "host run-delay not measured"


def test_a_vcpu_that_spins_with_interrupts_off_is_told_from_one_that_works() -> None:
    from aiotorture.lanes.qemu import cpu_states

    text = (
        "CPU#0\nRAX=0\nRIP=ffffffff81c0b5d4 RFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0\n"
        "CPU#1\nRIP=ffffffff81c0b5d4 RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\n"
        "CPU#2\nRIP=0000000000401234 RFL=00000002 [-------] CPL=3 II=0 A20=1 SMM=0 HLT=0\n"
    )
    assert [stuck for _, stuck in cpu_states(text)] == [True, False, False]
