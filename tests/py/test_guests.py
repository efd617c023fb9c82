"""Real guests: a PASS, both controls, a QEMU killed from outside, an interrupt, the agent over ssh."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiotorture import results
from aiotorture.results import Verdict

ROOT = Path(__file__).resolve().parents[2]
CELL = "6.1-zcdma-submit_cancel_race-irq-delay-callback-1cpu"
OTHER = "6.1-zcdma-destroy_under_load-irq-delay-callback-1cpu"
RUN_TIMEOUT_S = 600

pytestmark = [pytest.mark.guest, pytest.mark.timeout(RUN_TIMEOUT_S + 60)]


def command(out: Path, *words: str) -> list[str]:
    return [str(ROOT / "aiotorture"), "run", "--out", str(out), "--seed", "5", *words]


def run(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(out, *words), capture_output=True, text=True, timeout=RUN_TIMEOUT_S
    )


def parents() -> dict[int, tuple[int, str]]:
    """pid → (parent, name) of every process."""
    seen: dict[int, tuple[int, str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, rest = (folder / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
        except (OSError, IndexError):
            continue
        seen[int(folder.name)] = (int(rest.split()[1]), name)
    return seen


def guests_of(pid: int) -> list[int]:
    """QEMU processes among the descendants of `pid`."""
    table = parents()

    def descends(child: int) -> bool:
        while child in table and child > 1:
            if child == pid:
                return True
            child = table[child][0]
        return False

    return [p for p, (_, name) in table.items() if name.startswith("qemu-") and descends(p)]


def until_racing(running: subprocess.Popen[str]) -> int:
    """The pid of the run's guest once it has used enough CPU to be past its restore."""
    deadline = time.monotonic() + RUN_TIMEOUT_S
    while time.monotonic() < deadline and running.poll() is None:
        for pid in guests_of(running.pid):
            try:
                words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            ticks = int(words[11]) + int(words[12])
            if ticks > 1.5 * os.sysconf("SC_CLK_TCK"):
                return pid
        time.sleep(0.05)
    raise AssertionError("no guest came up")


@pytest.fixture
def started(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command(tmp_path / "run", "--jobs", "1", "-k", f"{CELL} or {OTHER}"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # a shell leaves SIGINT ignored in what it runs with &, and that is inherited
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def left_behind(pid: int) -> list[str]:
    return [p.name for p in Path("/tmp").glob(f"aiotorture-{pid}-*")]


def test_a_sound_driver_passes_and_planted_bugs_are_found(tmp_path: Path) -> None:
    said = run(tmp_path / "run", "-k", f"control or {CELL}")
    assert said.returncode == 0, said.stdout
    cells = {cell.id: cell for cell in results.read(tmp_path / "run").cells}
    assert cells[CELL].verdict is Verdict.PASS
    assert cells[CELL].bound is None or 0 < cells[CELL].bound < 1
    assert cells[CELL].counters["faults_fired"] > 0
    assert len(cells[CELL].host_run_delay_s) == 1 and cells[CELL].host_run_delay_s[0] > 0
    controls = results.read_run(tmp_path / "run").controls
    assert len(controls) == 2 and all(controls.values())
    for name in ("junit.xml", "results.ktap", "report.html"):
        assert (tmp_path / "run" / name).stat().st_size > 0


def test_a_planted_bug_fails_and_its_token_replays(tmp_path: Path) -> None:
    # no use after free: where one is noticed first, and so its title, differs from try to try
    words = ["--mutant", "cancel-lost-keeps-reference"]
    words += ["-k", "submit_cancel_race-irq-delay and 2cpu"]
    said = run(tmp_path / "run", *words)
    assert said.returncode == 1, said.stdout
    (cell,) = results.read(tmp_path / "run").cells
    assert "hang" in {finding.oracle for finding in cell.findings}
    assert f"./aiotorture repro {cell.token}" in said.stdout
    again = subprocess.run(
        [ROOT / "aiotorture", "repro", cell.token, "--json", "--out", tmp_path / "again"],
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
    )
    assert again.returncode == 1, again.stdout + again.stderr
    assert json.loads(again.stdout)["hits"] == 1


def test_cards_that_are_let_finish_pass_and_an_iommu_tells_of_one_that_was_not(tmp_path: Path) -> None:
    said = run(tmp_path / "run", "--target", "zcdma-edu", "-k", "control-timeout or edu-flush and submit")
    assert said.returncode == 0, said.stdout
    cells = {cell.id.split("-", 1)[1]: cell for cell in results.read(tmp_path / "run").cells}
    passed = cells["zcdma-edu-submit_cancel_race-edu-flush-2cpu"]
    assert passed.verdict is Verdict.PASS and passed.counters["cancel_won"] > 0
    told = [f.title for f in cells["control-timeout-without-stop"].findings if f.oracle == "kernel-log"]
    # the request that the card is not done with may be a read(2) or a write(2): both are late DMA
    assert any(title.startswith("IOMMU fault: DMA ") for title in told)


def test_a_qemu_killed_from_outside_is_a_miss_and_the_rest_goes_on(
    started: subprocess.Popen[str], tmp_path: Path
) -> None:
    os.kill(until_racing(started), signal.SIGKILL)
    said, _ = started.communicate(timeout=RUN_TIMEOUT_S)
    assert started.returncode == 3, said
    verdicts = sorted(cell.verdict.value for cell in results.read(tmp_path / "run").cells)
    assert verdicts == ["MISS", "PASS"]
    assert left_behind(started.pid) == []


def test_an_interrupt_keeps_results_and_leaves_nothing(
    started: subprocess.Popen[str], tmp_path: Path
) -> None:
    guest = until_racing(started)
    started.send_signal(signal.SIGINT)
    said, _ = started.communicate(timeout=60)
    assert started.returncode == 130, said
    assert not Path(f"/proc/{guest}").exists()
    assert left_behind(started.pid) == []
    resumed = run(tmp_path / "run", "--jobs", "1", "--resume", "-k", CELL)
    assert resumed.returncode == 0, resumed.stdout


def test_the_agent_serves_over_ssh(tmp_path: Path) -> None:
    said = run(tmp_path / "run", "--lane", "lab", "--jobs", "1", "-k", OTHER)
    assert said.returncode == 0, said.stdout
    (cell,) = results.read(tmp_path / "run").cells
    assert (cell.lane, cell.verdict) == ("lab", Verdict.PASS)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_selection_of_nothing_is_bad_usage(tmp_path: Path, jobs: str) -> None:
    said = run(tmp_path / "run", "--jobs", jobs, "-k", "no_such_cell")
    assert said.returncode == 2
    assert "-k selects no cell ('no_such_cell')" in said.stderr
