"""The local lane and the targets' part of the matrix."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aiotorture import build, kernels, matrix, targets
from aiotorture.agentlink import AgentLink
from aiotorture.errors import ConfigurationError
from aiotorture.lanes.local import spawn_agent
from aiotorture.matrix import Selection


def test_the_local_lane_runs_polls_on_the_host_kernel() -> None:
    cells = matrix.cells(Selection(lane="local"))
    assert {cell.target for cell in cells} == {"poll"}
    assert {cell.kernel for cell in cells} == {"local"}
    assert kernels.ensure("local").release == os.uname().release
    assert sum(cell.control for cell in cells) == 2


def test_a_target_keeps_to_its_own_scenarios() -> None:
    polls = matrix.cells(Selection(targets=("poll",), kernels=("6.1",)))
    assert {cell.plan.scenario.name for cell in polls} == {"poll_race"}
    drivers = matrix.cells(Selection(kernels=("6.1",)))
    assert not {"poll_race", "gadget_race", "gadget_transfer"} & {cell.plan.scenario.name for cell in drivers}
    gadgets = [cell for cell in matrix.cells(Selection(targets=("functionfs", "gadgetfs"))) if not cell.control]
    assert {cell.plan.scenario.name for cell in gadgets} == {"gadget_race", "gadget_transfer"}
    assert {cell.target for cell in gadgets} == {"functionfs", "gadgetfs"}


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        (Selection(lane="local", targets=("zcdma",)), "does not run in lane local"),
        (Selection(lane="local", kernels=("6.1",)), "leave --kernel out"),
        (Selection(targets=("poll",), scenarios=("destroy_under_load",)), "has scenario"),
        (Selection(targets=("poll",), mutant="complete-twice"), "--mutant"),
    ],
)
def test_what_does_not_fit_is_said(selection: Selection, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        matrix.cells(selection)


def test_polls_need_no_module() -> None:
    assert targets.named("poll").modules(kernels.host(), None).files == {}


def test_the_local_agent_has_no_privilege(tmp_path: Path) -> None:
    process = spawn_agent(build.agent(), tmp_path / "agent.log")
    try:
        assert process.stdin is not None and process.stdout is not None
        link = AgentLink(process.stdout.fileno(), process.stdin.fileno())
        assert link.hello(20)["kernel"] == os.uname().release
        status = Path(f"/proc/{process.pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert "0" not in fields["Uid"].split()
        assert int(fields["CapEff"], 16) == 0
    finally:
        process.kill()
        process.wait()
