"""A cell's judgement: what a starved host explains is no finding."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import pytest

from aiotorture import build, targets
from aiotorture.agentlink import Json, LinkClosed
from aiotorture.cell import (
    SILENCE_S,
    STARVED_SHARE,
    Watch,
    _beside_the_host,
    _emulators_own,
    _host_findings,
    _overload,
    _run_and_watch,
)
from aiotorture.finding import Finding
from aiotorture.kernels import Kernel
from aiotorture.lanes.base import Fate, Starvation, Subject
from aiotorture.matrix import Cell
from aiotorture.oracles import kernel_log
from aiotorture.plan import parse

CONSOLES = Path(__file__).parent.parent / "data" / "console"
LOCKUP = Finding("kernel-log", "soft lockup in aio_read", "s", lockup=True)
TIMED_OUT = Finding("contract", "event carries ETIMEDOUT", "contract/unexplained-ETIMEDOUT", lockup=True)
LOST = Finding("ledger", "event lost", "l")
STARVED = Starvation(10.0, (1.0, 10.0 * STARVED_SHARE + 1))
BUSY = Starvation(10.0, (5.0, 5.0))


def test_a_lockup_on_a_starved_host_is_overload() -> None:
    assert "the host starved the guest" in (_overload([LOCKUP], STARVED) or "")


def test_a_lockup_on_a_busy_host_is_a_finding() -> None:
    assert _overload([LOCKUP], BUSY) is None


def test_a_time_out_on_a_host_that_gives_less_than_half_is_overload() -> None:
    assert _overload([TIMED_OUT], BUSY) is None
    assert "the host starved the guest" in (_overload([TIMED_OUT], Starvation(10.0, (6.2, 5.0))) or "")
    assert _overload([LOCKUP], Starvation(10.0, (6.2, 5.0))) is None
    assert _overload([TIMED_OUT, LOST], STARVED) is None


def test_a_breakpoint_that_is_not_there_is_the_emulated_cpus_own() -> None:
    console = (CONSOLES / "recorded-7.3-stale-breakpoint.log").read_text()
    trapped = kernel_log.findings(console)
    assert "in sched_clock_cpu" in (_emulators_own(trapped, console, "tcg") or "")
    assert _emulators_own(trapped, console, "kvm") is None
    assert _emulators_own([*trapped, LOST], console, "tcg") is None
    warned = Finding("kernel-log", "WARNING in zc_step", "kernel-log:warning:zc_step")
    assert _emulators_own([warned, *trapped], console, "tcg") is None
    silent = Finding("hang", "guest stopped answering", "hang:guest-silent:race")
    assert _emulators_own([*trapped, silent], console, "tcg") is not None
    assert _emulators_own(trapped, console.replace("53 66 <90>", "53 cc <90>"), "tcg") is None
    assert _emulators_own([LOCKUP], "", "tcg") is None


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


class SilentLink:
    """An agent that began a run and says no more; `closed`: its port has gone."""

    def __init__(self, silent_s: float, closed: bool = False) -> None:
        self.last_heard = time.monotonic() - silent_s
        self.closed = closed

    def ask(self, op: str, **fields: Any) -> Json:
        return {}

    def start(self, op: str, fields: Json) -> int:
        return 1

    def wait(self, number: int, timeout_s: float) -> None:
        if self.closed:
            raise LinkClosed


class Stub(Subject):
    """What the host sees of a guest that the agent says nothing of."""

    def __init__(self, link: SilentLink, fate: Fate = Fate.ALIVE) -> None:
        self.link = cast(Any, link)
        self.stands = fate
        self.starved = BUSY
        self.spins: list[str] = []
        self.said = ""

    def fate(self) -> Fate:
        return self.stands

    def epitaph(self) -> str:
        return "ended with status 1"

    def console(self) -> str:
        return self.said

    def diagnose(self) -> list[str]:
        return ["registers"]

    def spinning(self) -> list[str]:
        return self.spins

    def starvation(self) -> Starvation:
        return self.starved


class NoTarget:
    def install(self, *_: Any, **__: Any) -> Json:
        return {}

    def drawn_out(self, *_: Any) -> list[str]:
        return []


def watched(subject: Stub, monkeypatch: pytest.MonkeyPatch, watch: Watch | None = None) -> Watch:
    monkeypatch.setattr(targets, "named", lambda name: NoTarget())
    watch = watch or Watch()
    plan = parse("scenario submit_cancel_race;seed 1")
    cell = Cell("c", "zcdma", "6.1", "qemu", 2, plan, end_at_finding=True)
    _run_and_watch(subject, cell, cast(Kernel, None), cast(build.ModuleSet, None), watch)
    return watch


def told(findings: list[Finding]) -> list[tuple[str, str, bool]]:
    return [(finding.oracle, finding.title, finding.lockup) for finding in findings]


def test_a_guest_that_stopped_answering_is_a_lock_up(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = watched(Stub(SilentLink(SILENCE_S + 1)), monkeypatch)
    assert told(watch.findings) == [("hang", "guest stopped answering", True)]
    assert "registers" in watch.findings[0].evidence
    assert watch.harness_error is None


def test_a_guest_that_the_host_starved_has_not_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Stub(SilentLink(SILENCE_S + 1))
    subject.starved = STARVED
    watch = watched(subject, monkeypatch)
    assert watch.findings == []
    assert "the host starved the guest" in (watch.harness_error or "")


@pytest.mark.parametrize("silent_s, word", [(SILENCE_S / 2, False), (0.0, True)])
def test_a_vcpu_that_is_seen_to_spin_needs_no_long_silence(
    silent_s: float, word: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = Stub(SilentLink(silent_s))
    subject.starved = STARVED
    subject.spins = ["CPU#0 spins with interrupts off"]
    watch = Watch()
    if word:
        watch.take({"ev": "silent-cpu", "cpu": 0, "ms": 2000})
    watched(subject, monkeypatch, watch)
    assert told(watch.findings) == [("hang", "guest stopped answering", False)]


class Warned(Stub):
    """Its console has one line more of a report at each look; the vCPU is slow."""

    REPORT = (
        "[    5.200000] ------------[ cut here ]------------",
        "[    5.200000] WARNING: CPU: 1 PID: 67 at /build/driver/zcdma_request.c:146 zc_put+0x87/0x120 [zcdma]",
        "[    5.300000] Call Trace:",
        "[    5.300000]  <TASK>",
        "[    5.400000]  zc_cancel_one+0x87/0x120 [zcdma]",
    )

    def __init__(self, traces: int) -> None:
        super().__init__(SilentLink(0.0))
        self.text = "\n".join(self.REPORT[:2] + self.REPORT[2:] * traces)
        self.heard = ""
        self.looks = 0

    def console(self) -> str:
        self.looks += 1
        self.heard = self.text[: self.looks * 150]
        return self.heard


@pytest.mark.parametrize("traces, whole", [(1, True), (1000, False)])
def test_a_report_that_ends_a_race_is_heard_to_its_end_or_for_its_bound(
    traces: int, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1000))  # each look at it is a step of 0.25 s
    monkeypatch.setattr(time, "monotonic", lambda: next(clock) * 0.25)
    subject = Warned(traces)
    watch = watched(subject, monkeypatch, Watch(counters={"submitted": 40}))
    assert (subject.heard == subject.text) == whole
    assert watch.host_found_requests == 40
    assert subject.looks < 12


@pytest.mark.parametrize("closed", [False, True])
def test_a_guest_that_died_without_a_word_is_a_finding(
    closed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = watched(Stub(SilentLink(0.0, closed), Fate.DIED), monkeypatch)
    found = _host_findings(watch, "the last line\n")
    assert told(found) == [("kernel-log", "guest died of its own without a report", False)]
    assert found[0].evidence == ("ended with status 1", "the last line")


def test_a_death_that_others_caused_or_a_report_explains_is_told_once() -> None:
    assert _host_findings(Watch(fate=Fate.ENDED_BY_OTHERS), "") == []
    assert _host_findings(Watch(fate=Fate.ALIVE), "") == []
    warning = "[    1.000000] WARNING: CPU: 0 PID: 1 at fs/aio.c:1 aio_complete+0x1/0x2\n"
    found = _host_findings(Watch(fate=Fate.DIED), warning)
    assert found and all(each.signature != "kernel-log:silent-death" for each in found)
