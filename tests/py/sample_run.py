"""A run's folder as the orchestrator would leave it, with every verdict and both kinds of finding."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from aiotorture import results
from aiotorture.bounds import upper_bound
from aiotorture.finding import Finding
from aiotorture.oracles import kernel_log
from aiotorture.results import CellResult, Hits, Run, Verdict

CONSOLES = Path(__file__).resolve().parents[1] / "data" / "console"

HANG = Finding(
    "hang",
    "stuck in io_destroy: request lost at cancel, missing reference engine",
    "hang:canceller:cancel:engine",
    (
        "task destroyer/311, D for 10.0 s, in io_destroy",
        "  wait_for_completion <- __x64_sys_io_destroy <- do_syscall_64",
        "waits for request cookie=0x4001a3 slot=419 gen=1",
        "  phase=cancel refs=engine age_us=10230118 op=read len=65536",
        "missing reference: engine (its holder was told to drop it at cancel)",
    ),
)
HOSTILE = Finding("data", "<script>alert(1)</script> & 'quotes'", "data:x", ("<b>bold</b>\x00\x1b[31m",))


def _console(name: str) -> Finding:
    _, _, console = (CONSOLES / name).read_bytes().partition(b"\n\n")
    return kernel_log.findings(console)[0]


def cell(scenario: str, cpus: int, cancel: str, fault: str, verdict: Verdict) -> CellResult:
    plan = f"scenario {scenario} submitters=2 cancel={cancel}\n"
    plan += f"fault {fault}\n" if fault else ""
    phase, _, rest = fault.partition(" ")
    name = fault.split(" p=")[0].replace(" ", "-") or "plain"
    return CellResult(
        id=f"6.1-{scenario}-{cpus}cpu-{cancel}-{name}",
        token="at1-" + sha256(f"{scenario}{cpus}{plan}".encode()).hexdigest().translate(
            str.maketrans("0189", "xyzw")
        )[:13],
        target="zcdma",
        kernel="6.1.192",
        lane="qemu",
        accel="tcg",
        scenario=scenario,
        plan=plan + "seed 42\n",
        seed=42,
        mutant=None,
        verdict=verdict,
        counters={
            "submitted": 18204, "completed": 18204, "cancelled": 5210, "cancel_einval": 2231,
            "cancel_einprogress": 2979, "cancel_won": 2410, "cancel_lost": 2800, "destroyed": 140,
            "destroyed_inflight": 121, "events_lost": 0, "events_dup": 0, "late_writes": 0,
            "faults_fired": 187 if fault else 0, "swept": 12,
        },
        start_s=1.12,
        run_s=4.31,
        hits={"window canceller in irq..complete hold=5ms": Hits(5210, 412)},
        bound=upper_bound(5210) if verdict is Verdict.PASS else None,
        artefacts=("cells/x/console.log", "cells/x/plan.txt"),
        kernel_build_id="9f2c1a77", module_build_id="c01dbeef", cpus=cpus, tries=5210,
        faults=({"rule": 0, "phase": phase, "action": rest.split(" ")[0], "tried": 18204,
                 "fired": 187},) if fault else (),
        host_run_delay_s=(0.04,), wall_s=7.4, ended=1763664000.0,
    )  # fmt: skip


def write(run_dir: Path) -> list[CellResult]:
    """Writes results.jsonl and run.json; the cells."""
    faults = ("", "irq drop p=0.01", "start dup p=0.02", "irq delay p=0.1 delay=2ms",
              "start late p=0.05 delay=3ms", "start stall nth=500", "pin fail p=0.01 err=12")  # fmt: skip
    cells: list[CellResult] = []
    for scenario in ("submit_cancel_race", "destroy_under_load"):
        for cpus in (1, 2):
            for cancel, fault in zip(("callback", "flush", "flag", "none") * 2, faults):
                cells.append(cell(scenario, cpus, cancel, fault, Verdict.PASS))
    kasan = _console("composed-6.1-kasan-uaf-write.log")
    lockup = _console("composed-7.3-soft-lockup.log")
    changes = {
        3: {"verdict": Verdict.FAIL, "findings": (HANG,), "reason": HANG.title},
        10: {"verdict": Verdict.FAIL, "findings": (kasan, HANG), "reason": kasan.title},
        12: {"verdict": Verdict.MISS, "reason": "contention: cancel_won 12<1000"},
        15: {"verdict": Verdict.ERROR, "reason": "the agent did not answer hello"},
        17: {"verdict": Verdict.SKIP, "reason": "the kernel has no poll", "counters": {}},
        20: {"verdict": Verdict.FAIL, "findings": (HOSTILE, lockup), "reason": HOSTILE.title},
        22: {"findings": (replace(kasan, signature="known", known="24729b307eef"),)},
    }
    for index, change in changes.items():
        cells[index] = replace(cells[index], bound=None, **change)  # type: ignore[arg-type]
    control = cell("submit_cancel_race", 2, "callback", "", Verdict.FAIL)
    control = replace(
        control, id="control-cancel_drops_request", mutant="cancel_drops_request", control=True,
        findings=(HANG,), reason=HANG.title, bound=None, time_to_first_finding=0.8,
        requests_to_first_finding=1204,
    )  # fmt: skip
    cells.insert(0, control)
    for each in cells:
        results.append(run_dir, each)
    results.write_run(
        run_dir,
        Run(
            run="20261120-190000-smoke", started=1763664000.0, command=("run",), profile="smoke",
            host={"cpus": 2, "memory_mib": 24064, "system": "Debian GNU/Linux 12 (bookworm)"},
            accelerator="tcg", kernels=({"ref": "6.1", "release": "6.1.0-56-amd64"},),
            versions={"qemu": "7.2.22"}, git_commit="c13ba41aabbcc", jobs=2, planned=len(cells),
            controls={"cancel_drops_request": True}, finished=1763664270.0, exit_status=1,
        ),
    )  # fmt: skip
    return cells
