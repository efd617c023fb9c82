"""Ready guests: booted once to "agent ready", stopped, and kept as memory plus device state.

    boot with memory in a shared file -> hello -> stop -> migrate (device state only) -> publish
    restore: the same file mapped privately, device state from the stream, the guest runs on

With x-ignore-shared the migration stream leaves the memory out (QEMU: migration/ram.c,
ramblock_is_ignored), so that a restore reads about a megabyte and pages come in as they are
touched; guests side by side share the untouched ones in the page cache.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiotorture import accel, paths, processes
from aiotorture.agentlink import AgentLink, LinkClosed, NoAnswer
from aiotorture.errors import HarnessError
from aiotorture.hardware import Hardware
from aiotorture.qmp import Qmp, QmpClosed, QmpError

MEMORY_MIB = 256
BOOT_TIMEOUT_S = 180.0
MONITOR_TIMEOUT_S = 60.0
# Bumped when the machine below changes in a way that its own text does not show.
LAYOUT = 4
# On a busy host a guest may find a wrong frequency for its TSC, which the host's own time slices
# disturb while it counts (arch/x86/kernel/tsc.c, pit_hpet_ptimer_calibrate_cpu()); tsc=reliable makes
# it believe that. Its clock then runs several times too fast, and so do all its time-outs.
CLOCK_TRIES = 5
CLOCK_STRETCH_S = 1.0
# An emulated guest may stand still while it boots: a lockdep kernel did in the self-test of RCU tasks, and one of
# 7.3 died of a breakpoint that was not there any more. What failed is said.
BOOT_TRIES = 2
CLOCK_TOLERANCE = 0.1
# Each change of a kernel, the agent or a target's set-up makes new ones, of 100 to 200 MB: beyond so
# much those go that were not used for the longest time, but for what another run may be using.
KEPT_BYTES = 20 << 30
KEPT_S = 3600.0

# "Fast" string instructions are slow here: TCG executes rep stosb and rep movsb byte by byte, and with these bits a
# kernel clears pages, fills memory and copies to and from users with them. Without, it moves eight bytes at a time: a
# module loads, and a device of some MiB is made, in half the time.
EMULATED_CPU = "max,la57=off,erms=off,fsrm=off"

# An oops ends the cell with its whole report on the console: die() prints, panic() follows, and
# -no-reboot turns panic=-1 into the end of QEMU. Lock-up bounds are wide because TCG guests on a
# busy host see no stolen time. slub_debug covers the caches that AIO requests and drivers live in.
CMDLINE = (
    "console=ttyS0 panic=-1 oops=panic nokaslr mitigations=off nmi_watchdog=0 "
    "watchdog_thresh=30 rcupdate.rcu_cpu_stall_timeout=40 sysctl.kernel.hung_task_timeout_secs=20 "
    "sysctl.kernel.hung_task_warnings=5 tsc=reliable random.trust_cpu=on printk.time=1 "
    "log_buf_len=1M slab_nomerge slub_debug=FZPU,kioctx,aio_kiocb,zcdma_req,kmalloc-*"
)


@dataclass(frozen=True)
class Machine:
    """All that decides what a ready guest is."""

    kernel_image: Path
    kernel_id: str
    initramfs: Path
    cpus: int
    cmdline: str
    accel: str
    network: bool = False
    memory_mib: int = MEMORY_MIB
    hardware: Hardware = Hardware()

    def key(self) -> str:
        return paths.content_hash(
            repr(part).encode()
            for part in (
                LAYOUT, self.kernel_id, self.initramfs.name, self.cpus, self.cmdline, self.accel,
                self.network, self.memory_mib, accel.qemu_version(), _devices(self, "", 0, 0),
            )
        )  # fmt: skip


def _devices(machine: Machine, memory: str, monitor_fd: int, port_fd: int) -> list[str]:
    cpu = "host,migratable=on" if machine.accel == accel.KVM else EMULATED_CPU
    words = [
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-accel", accel.ACCEL_OPTION[machine.accel], "-cpu", cpu,
        *machine.hardware.machine_words(), "-smp", str(machine.cpus),
        "-m", f"{machine.memory_mib}M",
        "-object", f"memory-backend-file,id=ram,size={machine.memory_mib}M,{memory}",
        "-chardev", f"socket,id=monitor,fd={monitor_fd}",
        "-mon", "chardev=monitor,mode=control",
        "-device", "virtio-serial-pci,max_ports=2",
        "-chardev", f"socket,id=port,fd={port_fd}",
        "-device", "virtserialport,chardev=port,name=aiotorture",
    ]  # fmt: skip
    if machine.accel == accel.COUNTING:
        words += ["-icount", "shift=0,sleep=off"]
    if not machine.network:
        words += ["-nic", "none"]
    return words


@dataclass
class Qemu:
    """A running QEMU, its monitor and the host's end of the agent's port."""

    process: subprocess.Popen[bytes]
    qmp: Qmp
    link: AgentLink
    console_path: Path
    stderr_path: Path
    port: socket.socket

    def close(self) -> None:
        processes.end(self.process)
        self.qmp.close()
        self.port.close()

    def complaint(self) -> str:
        """QEMU's own last words on stderr."""
        with contextlib.suppress(OSError):
            lines = self.stderr_path.read_text(errors="replace").strip().splitlines()
            return lines[-1] if lines else ""
        return ""


def start(
    machine: Machine,
    memory: str,
    folder: Path,
    boot: Sequence[str | Path],
    extra_devices: Sequence[str] = (),
) -> Qemu:
    """Starts QEMU; console and stderr go to files in `folder`. Monitor and port are socket pairs,
    so no name in a file system has to be found, and the port is open before the guest looks."""
    monitor_here, monitor_there = socket.socketpair()
    port_here, port_there = socket.socketpair()
    console = folder / "console.log"
    stderr = folder / "qemu.log"
    console.touch()
    argv: list[str | Path] = [
        accel.QEMU,
        *_devices(machine, memory, monitor_there.fileno(), port_there.fileno()),
        "-chardev", f"file,id=console,path={_escaped(console)},append=on",
        "-serial", "chardev:console",
        *extra_devices,
        *boot,
    ]  # fmt: skip
    fds = [monitor_there.fileno(), port_there.fileno()]
    with stderr.open("ab") as errors, monitor_there, port_there:
        process = processes.spawn(argv, stderr=errors, pass_fds=fds)
    link = AgentLink(port_here.fileno(), port_here.fileno())
    qemu = Qemu(process, Qmp(monitor_here), link, console, stderr, port_here)
    try:
        qemu.qmp.negotiate(MONITOR_TIMEOUT_S)
    except (QmpClosed, QmpError) as error:
        qemu.close()
        raise HarnessError(f"QEMU did not start: {qemu.complaint() or error}") from error
    except BaseException:
        qemu.close()
        raise
    return qemu


def _escaped(path: Path) -> str:
    """QEMU's option syntax ends a value at a comma; a doubled one stands for itself."""
    return str(path).replace(",", ",,")


def folder_of(machine: Machine) -> Path:
    return paths.cache_dir() / "guests" / machine.key()


def is_ready(machine: Machine) -> bool:
    return (folder_of(machine) / "state").is_file()


def forget_old(guests: Path, keep_bytes: int, keep_s: float) -> None:
    """Removes ready guests, longest unused first, until the others take less than keep_bytes of
    disk. None that was used in the last keep_s seconds; whoever misses one makes it again."""
    used: list[tuple[float, int, Path]] = []
    for state in guests.glob("*/state"):
        with contextlib.suppress(FileNotFoundError):  # another run removed it
            on_disk = sum(file.stat().st_blocks * 512 for file in state.parent.iterdir())
            used.append((state.stat().st_mtime, on_disk, state.parent))
    total = sum(size for _, size, _ in used)
    for last, size, folder in sorted(used):
        if total < keep_bytes or time.time() - last < keep_s:
            return
        # first what says that it is ready
        (folder / "state").unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        total -= size


class DidNotBoot(HarnessError):
    """The agent did not come up."""


def make_ready(machine: Machine) -> Path:
    """The folder of the ready guest; boots one when there is none. DidNotBoot when BOOT_TRIES of
    them will not come up, with the last words of the last one's console."""
    destination = folder_of(machine)
    with paths.locked(f"guest-{machine.key()}"):
        if is_ready(machine):
            os.utime(destination / "state")
            return destination
        forget_old(destination.parent, KEPT_BYTES, KEPT_S)
        with paths.published(destination) as scratch:
            failed = 0
            for _ in range(CLOCK_TRIES):
                try:
                    if _boot_and_save(machine, scratch):
                        break
                except DidNotBoot as error:
                    failed += 1
                    if failed == BOOT_TRIES:
                        raise
                    print(f"set-up: {error}; booting it once more", file=sys.stderr, flush=True)
                for left in scratch.iterdir():
                    left.unlink()
            else:
                raise HarnessError(
                    f"the clock of {CLOCK_TRIES} guests, one after another, ran wrong: the host is too busy "
                    "to boot one"
                )
    return destination


def clock_is_right(guest_s: float, host_least_s: float, host_most_s: float) -> bool:
    """Whether that much of the guest's time can have passed in a stretch of the host's between the
    two lengths."""
    least = host_least_s * (1 - CLOCK_TOLERANCE)
    return least <= guest_s <= host_most_s * (1 + CLOCK_TOLERANCE)


def _keeps_time(link: AgentLink) -> bool:
    """Asks for the time twice, each time read off between the question and the answer's arrival;
    slow answers say little, and the stretch is made longer."""
    for stretch_s in (CLOCK_STRETCH_S, 2 * CLOCK_STRETCH_S, 4 * CLOCK_STRETCH_S):
        asked = [time.monotonic()]
        first = link.hello(MONITOR_TIMEOUT_S)["boot_us"]
        asked.append(time.monotonic())
        time.sleep(stretch_s)
        asked.append(time.monotonic())
        last = link.hello(MONITOR_TIMEOUT_S)["boot_us"]
        asked.append(time.monotonic())
        least_s, most_s = asked[2] - asked[1], asked[3] - asked[0]
        if not clock_is_right((last - first) / 1e6, least_s, most_s):
            return False
        if most_s < least_s * (1 + CLOCK_TOLERANCE):
            return True
    return True


def _boot_and_save(machine: Machine, scratch: Path) -> bool:
    """False, and nothing saved: the guest's clock is wrong."""
    ram = scratch / "ram"
    state = os.open(scratch / "state", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    boot: list[str | Path] = ["-kernel", machine.kernel_image, "-initrd", machine.initramfs, "-append", machine.cmdline]
    try:
        qemu = start(
            machine,
            f"mem-path={_escaped(ram)},share=on",
            scratch,
            boot,
            extra_devices=network_devices(machine),
        )
        try:
            _await_agent(qemu)
            if machine.accel != accel.COUNTING and not _keeps_time(qemu.link):
                return False
            qemu.qmp.command("stop", MONITOR_TIMEOUT_S)
            _ignore_shared(qemu.qmp)
            qemu.qmp.give("state", state)
            qemu.qmp.command("migrate", MONITOR_TIMEOUT_S, uri="fd:state")
            qemu.qmp.await_status(
                "query-migrate", {"completed"}, {"failed", "cancelled"}, MONITOR_TIMEOUT_S
            )
            with contextlib.suppress(QmpClosed, QmpError):
                qemu.qmp.command("quit", MONITOR_TIMEOUT_S)
            with contextlib.suppress(subprocess.TimeoutExpired):
                qemu.process.wait(MONITOR_TIMEOUT_S)
            return True
        except (LinkClosed, NoAnswer) as error:
            raise HarnessError(f"the guest stopped answering before it was saved: {error}") from error
        except (QmpClosed, QmpError) as error:
            raise HarnessError(f"the guest could not be saved: {error}") from error
        finally:
            qemu.close()
    finally:
        os.close(state)


def _await_agent(qemu: Qemu) -> None:
    try:
        qemu.link.hello(BOOT_TIMEOUT_S)
    except (LinkClosed, NoAnswer) as error:
        said = qemu.console_path.read_text(errors="replace")
        kept = paths.cache_dir() / "logs" / "boot-failed.log"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(said)
        raise DidNotBoot(
            f"the guest's agent did not come up: {error}; {qemu.complaint()}; "
            f"console ends: {' | '.join(said.splitlines()[-3:])} (whole: {kept})"
        ) from error


def _ignore_shared(qmp: Qmp) -> None:
    qmp.command(
        "migrate-set-capabilities",
        capabilities=[{"capability": "x-ignore-shared", "state": True}],
    )


def network_devices(machine: Machine, forward: str = "") -> list[str]:
    if not machine.network:
        return []
    return ["-netdev", f"user,id=net0,restrict=on{forward}", "-device", "e1000,netdev=net0"]


@contextlib.contextmanager
def restored(machine: Machine, folder: Path, forward: str = "") -> Iterator[Qemu]:
    """A running copy of the ready guest, with its hardware plugged in; it and its files are gone when
    the context ends."""
    ready = make_ready(machine)
    folder.mkdir(parents=True, exist_ok=True)
    state = os.open(ready / "state", os.O_RDONLY)
    try:
        qemu = start(
            machine,
            f"mem-path={_escaped(ready / 'ram')},share=off",
            folder,
            ["-incoming", "defer"],
            extra_devices=network_devices(machine, forward),
        )
        try:
            _ignore_shared(qemu.qmp)
            qemu.qmp.give("state", state)
            qemu.qmp.command("migrate-incoming", MONITOR_TIMEOUT_S, uri="fd:state")
            # it was saved stopped, and so it arrives
            qemu.qmp.await_status(
                "query-status", {"paused", "running"}, {"internal-error"}, MONITOR_TIMEOUT_S
            )
            machine.hardware.plug(qemu.qmp, folder)
            qemu.qmp.command("cont")
            yield qemu
        except (QmpClosed, QmpError) as error:
            raise HarnessError(f"restore failed: {qemu.complaint() or error}") from error
        finally:
            qemu.close()
    finally:
        os.close(state)
