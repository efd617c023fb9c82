"""The qemu lane: a ready guest restored for each cell, and the word on how it ended.

Who ended a guest is read off three witnesses: QEMU's events (a guest's own reset or panic is a
SHUTDOWN event with `guest` true), QEMU's exit status (a signal is somebody else's), and ourselves.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from aiotorture import accel, build, guestperf, hardware, initramfs, readyguest
from aiotorture.agentlink import NoAnswer
from aiotorture.errors import HarnessError
from aiotorture.lanes.base import Fate, Lane, Preload, Starvation, Subject, SubjectSpec, Variant
from aiotorture.qmp import QmpClosed, QmpError
from aiotorture.readyguest import Machine, Qemu

HELLO_TIMEOUT_S = 60.0
DIAGNOSIS_TIMEOUT_S = 5.0
# perf, its libraries and its records live in the guest's memory
PERF_MEMORY_MIB = 640
SCHEDSTAT_NS_PER_S = 1e9
# No correct kernel keeps interrupts off for a tenth of it.
SPIN_CPU_S = 1.0
SPIN_LOOKS = 12
SPIN_STEP_S = 0.05
SPIN_BOUND_S = 8.0
INTERRUPT_FLAG = 0x200


def run_delays_s(pid: int, threads: Sequence[int]) -> tuple[float, ...]:
    """Seconds that each of a process's threads has waited on a run queue (/proc/PID/task/TID/
    schedstat, second field; Documentation/scheduler/sched-stats.rst); () when they are gone."""
    try:
        texts = [Path(f"/proc/{pid}/task/{tid}/schedstat").read_text() for tid in threads]
        return tuple(int(text.split()[1]) / SCHEDSTAT_NS_PER_S for text in texts)
    except (OSError, ValueError, IndexError):
        return ()


def run_times_s(pid: int, threads: Sequence[int]) -> tuple[float, ...]:
    """Seconds that each thread has run (schedstat, first field); () when they are gone."""
    try:
        texts = [Path(f"/proc/{pid}/task/{tid}/schedstat").read_text() for tid in threads]
        return tuple(int(text.split()[0]) / SCHEDSTAT_NS_PER_S for text in texts)
    except (OSError, ValueError, IndexError):
        return ()


def cpu_states(registers: str) -> list[tuple[int, bool]]:
    """Of each CPU in QEMU's "info registers -a": where it is, and whether it runs in the kernel with
    interrupts off."""
    found = re.findall(r"RIP=([0-9a-f]+) RFL=([0-9a-f]+).*?CPL=(\d).*?HLT=(\d)", registers)
    return [
        (int(rip, 16), not int(flags, 16) & INTERRUPT_FLAG and cpl == "0" and hlt == "0")
        for rip, flags, cpl, hlt in found
    ]


class QemuSubject(Subject):
    """One restored guest."""

    def __init__(self, qemu: Qemu, preload: Preload | None = None) -> None:
        self._qemu = qemu
        self.preload = preload
        self.link = qemu.link
        self._began = time.monotonic()
        self._vcpus = [
            int(cpu["thread-id"])
            for cpu in qemu.qmp.command("query-cpus-fast", DIAGNOSIS_TIMEOUT_S)
        ]
        self._delays_at_start = run_delays_s(self.pid, self._vcpus)
        self._last = Starvation(0.0, ())
        self._console_from = 0

    def rest(self) -> None:
        self._command("stop")  # and its clocks with it

    def _command(self, name: str) -> None:
        try:
            self._qemu.qmp.command(name, DIAGNOSIS_TIMEOUT_S)
        except (QmpClosed, QmpError) as error:
            raise HarnessError(f"QEMU does not take {name!r}: {error}") from error

    def begin_again(self) -> None:
        self._command("cont")
        self._began = time.monotonic()
        self._delays_at_start = run_delays_s(self.pid, self._vcpus)
        self._console_from = self._qemu.console_path.stat().st_size

    @property
    def pid(self) -> int:
        return self._qemu.process.pid

    def _guest_ended_itself(self) -> str:
        with contextlib.suppress(QmpClosed):
            self._qemu.qmp.poll()
        for event in self._qemu.qmp.events:
            if event.name == "GUEST_PANICKED":
                return "panic"
            if event.name in ("SHUTDOWN", "RESET") and event.fields.get("guest"):
                return str(event.fields.get("reason", event.name.lower()))
        return ""

    def fate(self) -> Fate:
        if self._guest_ended_itself():
            return Fate.DIED
        if self._qemu.process.poll() is None:
            return Fate.ALIVE
        # the last events can be read after the process is gone
        return Fate.DIED if self._guest_ended_itself() else Fate.ENDED_BY_OTHERS

    def epitaph(self) -> str:
        fate = self.fate()
        if fate is Fate.ALIVE:
            return "the guest is running"
        if fate is Fate.DIED:
            return f"the guest ended itself ({self._guest_ended_itself()})"
        status = self._qemu.process.returncode
        how = f"signal {-status}" if status < 0 else f"status {status}"
        return f"QEMU ended by {how}, not by the guest {self._qemu.complaint()}".strip()

    def console(self) -> str:
        with self._qemu.console_path.open("rb") as console:
            console.seek(self._console_from)
            return console.read().decode(errors="replace")

    def starvation(self) -> Starvation:
        now = run_delays_s(self.pid, self._vcpus)
        if now:
            waited = (s - began for s, began in zip(now, self._delays_at_start, strict=True))
            self._last = Starvation(time.monotonic() - self._began, tuple(waited))
        return self._last

    def cpu_seconds(self) -> float:
        """Of the host, that the guest's CPUs have used: no time in which others had them."""
        return sum(run_times_s(self.pid, self._vcpus))

    def spinning(self) -> list[str]:
        """A vCPU that used SPIN_CPU_S of its host's time and was in the kernel with interrupts off
        at every look. A thread that the host withholds uses none and proves nothing."""
        looks: dict[int, list[tuple[int, bool]]] = {}
        before = run_times_s(self.pid, self._vcpus)
        deadline = time.monotonic() + SPIN_BOUND_S
        used: dict[int, float] = {}
        while time.monotonic() < deadline:
            try:
                text = self._qemu.qmp.monitor("info registers -a", DIAGNOSIS_TIMEOUT_S)
            except (QmpClosed, QmpError):
                return []
            for number, (rip, stuck) in enumerate(cpu_states(text)):
                looks.setdefault(number, []).append((rip, stuck))
            now = run_times_s(self.pid, self._vcpus)
            used = {n: b - a for n, (a, b) in enumerate(zip(before, now, strict=False))}
            stuck_cpus = [n for n, seen in looks.items() if all(stuck for _, stuck in seen)]
            if not stuck_cpus:
                return []
            for n in stuck_cpus:
                if len(looks[n]) >= SPIN_LOOKS and used.get(n, 0.0) >= SPIN_CPU_S:
                    places = sorted({f"0x{rip:x}" for rip, _ in looks[n]})[:8]
                    return [
                        f"vCPU {n} ran for {used[n]:.1f} s with interrupts off in the kernel, "
                        f"at {' '.join(places)}"
                    ]
            time.sleep(SPIN_STEP_S)
        return []

    def diagnose(self) -> list[str]:
        """Status, and registers of every vCPU twice, so that a spinning one is seen to spin."""
        lines: list[str] = []
        with contextlib.suppress(QmpClosed, QmpError):
            status = self._qemu.qmp.command("query-status", DIAGNOSIS_TIMEOUT_S)
            lines.append(f"guest is {status['status']}")
            for _ in range(2):
                text = self._qemu.qmp.monitor("info registers -a", DIAGNOSIS_TIMEOUT_S)
                kept = [li.strip() for li in text.splitlines() if re.match(r"CPU#|R?IP", li)]
                lines += [line[:120] for line in kept]
        return lines


def memory_mib(variant: Variant) -> int:
    return PERF_MEMORY_MIB if variant is Variant.PERF else readyguest.MEMORY_MIB


class QemuLane(Lane):
    """Guests of Debian kernels on this host."""

    name = "qemu"

    def __init__(self, scratch: Path, accelerator: str = "") -> None:
        """`accelerator`: of accel.ACCEL_OPTION; empty: the best that runs here."""
        self._scratch = scratch
        self._machines: dict[SubjectSpec, Machine] = {}
        self._asked = accelerator
        self._accel = ""
        self._count = 0

    @property
    def accel(self) -> str:
        return self._accel

    def _root(self, spec: SubjectSpec) -> initramfs.Root:
        if spec.variant is Variant.PERF:
            root = guestperf.root(spec.kernel)
        else:
            root = initramfs.base_root(spec.kernel, build.agent())
        if spec.preload is not None:
            initramfs.add_preload(root, spec.preload)
        return root

    def machine(self, spec: SubjectSpec) -> Machine:
        if spec not in self._machines:
            self._accel = self._asked or accel.chosen(Path(spec.kernel.image))[0]
            self._machines[spec] = Machine(
                kernel_image=Path(spec.kernel.image),
                kernel_id=f"{spec.kernel.identity} {spec.kernel.build_id}",
                initramfs=initramfs.write(self._root(spec)),
                cpus=spec.cpus,
                cmdline=" ".join(
                    [readyguest.CMDLINE, *spec.kernel.cmdline, *spec.extra_cmdline, *spec.hardware.cmdline]
                ),
                accel=self._accel,
                memory_mib=memory_mib(spec.variant),
                hardware=spec.hardware,
            )
        return self._machines[spec]

    def prepare(self, specs: Sequence[SubjectSpec]) -> None:
        for spec in dict.fromkeys(specs):
            readyguest.make_ready(self.machine(spec))

    @contextlib.contextmanager
    def subject(self, spec: SubjectSpec) -> Iterator[QemuSubject]:
        machine = self.machine(spec)
        if not readyguest.is_ready(machine):
            readyguest.make_ready(machine)
        self._count += 1
        folder = self._scratch / f"guest{self._count}"
        with readyguest.restored(machine, folder) as qemu:
            subject = QemuSubject(qemu, spec.preload)
            try:
                qemu.link.hello(HELLO_TIMEOUT_S)
            except NoAnswer as error:
                raise HarnessError(f"the restored guest does not answer: {error}") from error
            if spec.hardware.devices:
                qemu.link.execute(["/bin/sh", "-c", f"echo 1 > {hardware.RESCAN}"], HELLO_TIMEOUT_S)
            yield subject
