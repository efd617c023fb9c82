"""Which accelerator really runs a guest here.

/dev/kvm can exist, open and create a vCPU on a host where no kernel ever boots under it, so the
only evidence is a guest that ran. The answer is remembered per host kernel and QEMU version.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from pathlib import Path

from aiotorture import paths, processes

QEMU = Path("/usr/bin/qemu-system-x86_64")
# Under KVM a kernel without a root file system panics, and so ends QEMU, within two seconds.
PROBE_TIMEOUT_S = 8.0

TCG = "tcg"
KVM = "kvm"
# TCG whose clock counts instructions, a nanosecond each, and that leaves out what the guest idles.
COUNTING = "icount"
ACCEL_OPTION = {TCG: "tcg,thread=multi", COUNTING: "tcg,thread=single", KVM: "kvm"}


def qemu_version() -> str:
    said = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True)
    return said.stdout.splitlines()[0]


def _boots(accel: str, kernel_image: Path) -> bool:
    """Whether the kernel comes as far as its own panic: it finds no root file system. Running
    real-mode code is no evidence: there are hosts where that works and no kernel boots."""
    argv: list[str | Path] = [
        QEMU, "-accel", accel, "-cpu", "host", "-M", "pc", "-m", "256", "-nodefaults",
        "-display", "none", "-no-reboot", "-kernel", kernel_image, "-append", "panic=-1 quiet",
    ]  # fmt: skip
    process = processes.spawn(argv)
    try:
        return process.wait(PROBE_TIMEOUT_S) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        processes.end(process)


def _memory_path() -> Path:
    return paths.cache_dir() / "accel.json"


def _key() -> str:
    return f"{platform.release()} {platform.node()} {qemu_version()} {os.path.exists('/dev/kvm')}"


def remember(accel: str, reason: str) -> None:
    answer = {"key": _key(), "accel": accel, "reason": reason, "probed": int(time.time())}
    paths.write_atomically(_memory_path(), json.dumps(answer).encode())


def probe(kernel_image: Path) -> tuple[str, str]:
    """(accelerator, why): KVM when a probe guest ran under it, else TCG."""
    if not os.path.exists("/dev/kvm"):
        return TCG, "no /dev/kvm"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return TCG, "/dev/kvm is not ours to open"
    if _boots(KVM, kernel_image):
        return KVM, "a kernel booted under KVM"
    return TCG, f"/dev/kvm exists, but the kernel did not boot under it in {PROBE_TIMEOUT_S:g} s"


def chosen(kernel_image: Path) -> tuple[str, str]:
    """The accelerator for this host, probed at most once."""
    asked = os.environ.get("AIOTORTURE_ACCEL")
    if asked in ACCEL_OPTION:
        return asked, "AIOTORTURE_ACCEL"
    with paths.locked("accel"):
        try:
            known = json.loads(_memory_path().read_text())
            if known["key"] == _key():
                return str(known["accel"]), str(known["reason"])
        except (FileNotFoundError, ValueError, KeyError):
            pass
        accel, reason = probe(kernel_image)
        remember(accel, reason)
        return accel, reason
