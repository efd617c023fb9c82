"""`bench`: runs the benchmarks of bench/ in a guest, with the target's modules loaded."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from aiotorture import accel, build, initramfs, kernels, marksbench, packages, paths
from aiotorture import scratch as scratch_folder
from aiotorture.targets import MODULE_FOLDER
from aiotorture.cli import parser
from aiotorture.errors import ConfigurationError, HarnessError
from aiotorture.lanes.base import Subject, SubjectSpec
from aiotorture.lanes.qemu import QemuLane

BINARY = "aio_bench"
TIMEOUT_S = 1800.0
GUEST_PATH = "/tmp/aio_bench"


def main(arguments: Sequence[str]) -> int:
    made = parser("bench")
    made.add_argument("--kernel", metavar="K", help="row of kernels.toml")
    made.add_argument("--cpus", type=int, default=2, help="CPUs of the guest; `marks` by instructions has one")
    made.add_argument(
        "what", nargs="?", choices=("calls", "marks"), default="calls",
        help="calls: what each call costs; marks: what idle phase marks cost",
    )  # fmt: skip
    made.add_argument("--rounds", type=int, help="of `marks` (default 6; 40 with --by-time)")
    made.add_argument(
        "--by-time", action="store_true",
        help="of `marks`: by the host's CPU time, instead of the instructions that one CPU executes",
    )  # fmt: skip
    made.add_argument("--depth", type=int, choices=(1, 64), default=64, help="requests in flight")
    made.add_argument("--seed", type=int, default=1, help="of the order of `marks`")
    made.add_argument("--filter", default=".", help="regular expression over benchmark names")
    given = made.parse_args(arguments)
    if not (paths.ROOT / "bench/CMakeLists.txt").is_file():
        raise ConfigurationError("bench/ is not part of this tree")
    packages.ensure(packages.RUN + packages.BENCH)
    kernel = kernels.ensure(given.kernel or kernels.default_series()[0])
    binary = build.cmake_target(BINARY, "bench") / BINARY
    if given.what == "marks":
        return _marks(given, kernel, binary)
    modules = build.modules(kernel)
    scratch = scratch_folder.make()
    words = [f"--benchmark_filter={given.filter}"]
    words += ["--benchmark_format=json"] if given.json else []
    try:
        said = _in_guest(scratch, SubjectSpec(kernel, given.cpus), binary, modules, words)
    finally:
        scratch_folder.remove(scratch)
    print(json.dumps(json.loads(said)) if given.json else said, end="" if not given.json else "\n")
    return 0


def _marks(given: argparse.Namespace, kernel: kernels.Kernel, binary: Path) -> int:
    scratch = scratch_folder.make()
    try:
        lane = QemuLane(scratch, "" if given.by_time else accel.COUNTING)
        spec = SubjectSpec(kernel, given.cpus if given.by_time else 1)
        rounds = given.rounds or (40 if given.by_time else 6)
        lane.prepare([spec])
        with lane.subject(spec) as subject:
            _push(subject, binary)
            rates = marksbench.measure(
                subject, kernel, GUEST_PATH, rounds, given.depth, given.seed, given.by_time
            )
    finally:
        scratch_folder.remove(scratch)
    lines, costs = marksbench.told(rates, given.seed, given.by_time)
    print(json.dumps({"rates": rates}) if given.json else "\n".join(lines))
    return 1 if any(each.low > marksbench.BAR for each in costs) else 0


def _push(subject: Subject, binary: Path) -> None:
    for library in initramfs.shared_libraries(binary):
        subject.link.execute(["/bin/mkdir", "-p", str(library.parent)])
        subject.link.push_file(str(library), library, 0o755)
    subject.link.push_file(GUEST_PATH, binary, 0o755)


def _in_guest(
    scratch: Path, spec: SubjectSpec, binary: Path, modules: build.ModuleSet, words: list[str]
) -> str:
    lane = QemuLane(scratch)
    lane.prepare([spec])
    with lane.subject(spec) as subject:
        _push(subject, binary)
        for name, path in modules.files.items():
            subject.link.push_file(f"{MODULE_FOLDER}/{name}.ko", path)
            loaded = subject.link.execute(["/bin/insmod", f"{MODULE_FOLDER}/{name}.ko"], 30)
            if loaded["rc"]:
                raise HarnessError(f"insmod {name}: {loaded['err'].strip()}")
        done = subject.link.execute([GUEST_PATH, *words], TIMEOUT_S)
    if done["timed_out"] or done["rc"]:
        raise HarnessError(f"the benchmarks ended with {done['rc']}: {done['err'].strip()[-300:]}")
    return str(done["out"])
