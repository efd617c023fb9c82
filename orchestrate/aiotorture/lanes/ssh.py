"""The lab lane: the same agent over ssh's standard input and output.

The board is named by an ssh address; where there is no board a guest with a network card stands in
for it, which keeps the transport tested on every machine. What goes over ssh is the agent's stream
alone; the board's console comes by its own wire (here: the guest's serial port).
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiotorture import accel, build, initramfs, packages, paths, processes, readyguest
from aiotorture.agentlink import AgentLink, LinkClosed, NoAnswer
from aiotorture.errors import HarnessError
from aiotorture.lanes.base import Lane, SubjectSpec
from aiotorture.lanes.qemu import QemuSubject
from aiotorture.readyguest import Machine, Qemu

CONNECT_TIMEOUT_S = 60.0
KEYGEN_TIMEOUT_S = 60.0
GUEST_ADDRESS = "10.0.2.15"  # QEMU's user network hands out this one (QEMU: net/slirp.c)
START = f"""#!/bin/sh
ifconfig lo 127.0.0.1 up
ifconfig eth0 {GUEST_ADDRESS} netmask 255.255.255.0 up
dropbear -r /etc/dropbear/key -s -p 22
"""


@dataclass(frozen=True)
class Board:
    """Where ssh finds the agent."""

    host: str
    port: int
    user: str
    identity: Path

    def command(self, program: Sequence[str]) -> list[str]:
        return [
            "ssh", "-T", "-i", str(self.identity), "-p", str(self.port),
            "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
            "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
            "-o", f"ConnectTimeout={int(CONNECT_TIMEOUT_S)}", "-o", "IdentitiesOnly=yes",
            f"{self.user}@{self.host}", *program,
        ]  # fmt: skip


def _keys() -> Path:
    """Folder with this cache's own key pairs: `id` for the user, `host` for the stand-in."""
    folder = paths.cache_dir() / "ssh"
    with paths.locked("ssh-keys"):
        if not (folder / "id.pub").is_file():
            with paths.published(folder) as scratch:
                scratch.chmod(0o700)
                _make_key(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", scratch / "id"])
                _make_key(["dropbearkey", "-t", "ed25519", "-f", scratch / "host"])
    return folder


def _make_key(argv: Sequence[str | Path]) -> None:
    said = processes.output(argv, timeout_s=KEYGEN_TIMEOUT_S)
    if said.returncode:
        raise HarnessError(f"{argv[0]}: {said.stdout.strip()}")


def stand_in_root(spec: SubjectSpec) -> initramfs.Root:
    """A guest's root with a network card's driver and dropbear."""
    keys = _keys()
    root = initramfs.base_root(spec.kernel, build.agent(), initramfs.NET_MODULES)
    initramfs.add_program(root, Path("/usr/sbin/dropbear"), "dropbear")
    root.file("etc/dropbear/key", (keys / "host").read_bytes(), 0o600)
    root.file("etc/start", START.encode(), 0o755)
    root.folder("root/.ssh")
    root.file("root/.ssh/authorized_keys", (keys / "id.pub").read_bytes(), 0o600)
    return root


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class SshSubject(QemuSubject):
    """A stand-in guest whose agent is reached over ssh alone."""

    def __init__(self, qemu: Qemu, ssh: subprocess.Popen[bytes]) -> None:
        super().__init__(qemu)
        assert ssh.stdin is not None and ssh.stdout is not None
        self.ssh = ssh
        self.link = AgentLink(ssh.stdout.fileno(), ssh.stdin.fileno())


class LabLane(Lane):
    """Cells over ssh."""

    name = "lab"

    def __init__(self, scratch: Path) -> None:
        packages.ensure(packages.SSH)
        self._scratch = scratch
        self._machines: dict[SubjectSpec, Machine] = {}
        self._accel = ""
        self._count = 0

    @property
    def accel(self) -> str:
        return self._accel

    def machine(self, spec: SubjectSpec) -> Machine:
        if spec not in self._machines:
            self._accel = accel.chosen(Path(spec.kernel.image))[0]
            self._machines[spec] = Machine(
                kernel_image=Path(spec.kernel.image),
                kernel_id=f"{spec.kernel.identity} {spec.kernel.build_id}",
                initramfs=initramfs.write(stand_in_root(spec)),
                cpus=spec.cpus,
                cmdline=" ".join([readyguest.CMDLINE, *spec.kernel.cmdline, *spec.extra_cmdline]),
                accel=self._accel,
                network=True,
            )
        return self._machines[spec]

    def prepare(self, specs: Sequence[SubjectSpec]) -> None:
        for spec in dict.fromkeys(specs):
            readyguest.make_ready(self.machine(spec))

    @contextlib.contextmanager
    def subject(self, spec: SubjectSpec) -> Iterator[SshSubject]:
        machine = self.machine(spec)
        if not readyguest.is_ready(machine):
            readyguest.make_ready(machine)
        self._count += 1
        folder = self._scratch / f"board{self._count}"
        port = _free_port()
        forward = f",hostfwd=tcp:127.0.0.1:{port}-{GUEST_ADDRESS}:22"
        board = Board("127.0.0.1", port, "root", _keys() / "id")
        with readyguest.restored(machine, folder, forward) as qemu:
            with (folder / "ssh.log").open("wb") as complaints:
                ssh = processes.spawn(
                    board.command(["/bin/aiotorture-agent", "serve"]),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=complaints,
                )
            try:
                subject = SshSubject(qemu, ssh)
                _greet(subject, folder / "ssh.log")
                yield subject
            finally:
                processes.end(ssh)
                for stream in (ssh.stdin, ssh.stdout):
                    if stream is not None:
                        with contextlib.suppress(OSError):
                            stream.close()


def _greet(subject: SshSubject, log: Path) -> None:
    try:
        subject.link.hello(CONNECT_TIMEOUT_S)
    except (NoAnswer, LinkClosed) as error:
        said = log.read_text(errors="replace").strip() or str(error)
        raise HarnessError(f"no agent over ssh: {said}") from error
