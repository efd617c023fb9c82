"""The injector's own test in a guest: at_selftest.ko and its checker, on one CPU and on two."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from aiotorture import kernels, matrix, paths, setup
from aiotorture.lanes.base import SubjectSpec
from aiotorture.plan import parse

FAULT = paths.ROOT / "fault"
PUSHED = ("fail_injector.ko", "at_selftest.ko", "at_selftest_check")
GUEST_FOLDER = "/lib/at"
BUILD_TIMEOUT_S = 300
CHECK_TIMEOUT_S = 120.0

pytestmark = [pytest.mark.guest, pytest.mark.timeout(600)]


def built(kernel: kernels.Kernel) -> Path:
    """The modules with the self-test among them; kernels with tools of their own see the cache."""
    folder = paths.cache_dir() / "selftest" / kernel.release
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(FAULT, folder)
    argv = kernels.kbuild_argv(kernel, folder, ["AT_SELFTEST=m", "modules"])
    subprocess.run(argv, check=True, timeout=BUILD_TIMEOUT_S, capture_output=True)
    source, checker = folder / "at_selftest_check.cpp", folder / "at_selftest_check"
    compiler = ["g++", "-std=c++20", "-O1", "-static", "-pthread", "-o", checker, source]
    subprocess.run(compiler, check=True, timeout=BUILD_TIMEOUT_S)
    return folder


@pytest.mark.parametrize("cpus", [1, 2])
def test_the_injector_decides_and_holds_as_it_says(cpus: int, tmp_path: Path) -> None:
    plan = parse("scenario submit_cancel_race; seed 1")
    cell = matrix.Cell("selftest", "zcdma", kernels.default_series()[0], "qemu", cpus, plan)
    with setup.standalone([cell], tmp_path) as bench:
        kernel = bench.kernels[cell.kernel]
        folder = built(kernel)
        # without the injector of the cells
        with bench.lane.subject(SubjectSpec(kernel, cpus)) as subject:
            for name in PUSHED:
                subject.link.push_file(f"{GUEST_FOLDER}/{name}", folder / name, 0o755)
            argv = [f"{GUEST_FOLDER}/at_selftest_check", GUEST_FOLDER]
            said = subject.link.ask(
                "exec", CHECK_TIMEOUT_S, argv=argv, timeout_ms=int(CHECK_TIMEOUT_S * 1000)
            )
    failed = [line for line in str(said["out"]).splitlines() if line.startswith("not ok")]
    assert said["rc"] == 0 and not failed, failed or said
