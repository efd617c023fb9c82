"""One cell from start to verdict.

    restore -> hello -> mix seed -> push modules -> run -> watch -> console -> judge

The watch ends with the agent's result, with the subject's end, or when a subject that still runs
says nothing for too long; each of these is another fact for the verdict.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiotorture import build, bundle, guestperf, known, paths, sites, targets, token, verdict
from aiotorture.agentlink import AgentError, Json, LinkClosed, NoAnswer
from aiotorture.bounds import upper_bound
from aiotorture.errors import ConfigurationError, HarnessError
from aiotorture.finding import Finding
from aiotorture.kernels import Kernel
from aiotorture.knobs import Description
from aiotorture.lanes.base import Fate, Lane, Starvation, Subject, SubjectSpec, Variant
from aiotorture.matrix import Cell
from aiotorture.oracles import kernel_log
from aiotorture.plan import PlanError, parse
from aiotorture.results import CellResult, Hits, Verdict
from aiotorture.verdict import CellFacts, GuestEnd

# 32 MiB of bounce buffers: what all requests of a plan may have mapped at once.
BOUNCE = "swiotlb=16384,force"
# After the race the agent drains, checks for leaks with bounded polling, and unloads.
AFTERMATH_S = 45.0
# The agent reports progress every 100 ms; a TCG guest whose vCPUs share a core with another is late
# by tens of milliseconds, one in a lock-up for ever.
SILENCE_S = 20.0
# After so much silence, or at the word of another CPU, the vCPUs are looked at: one that spins with
# interrupts off is locked up, whatever the host withholds.
SUSPICION_S = 1.5
LOOK_AGAIN_S = 2.0
# How exactly it is known when the console told of something, and how many requests had been made.
WATCH_STEP_S = 0.05
# A report that ends a race is heard to its end, which is when the console says no more: its title is in its
# stack. One that goes on and on is cut.
REPORT_PAUSE_S = 0.25
REPORT_S = 2.0
DEATH_NOTICE_S = 3.0
# A host that kept a vCPU waiting for more than this share of the silence explains it.
# two guests with two vCPUs each on two cores wait half of the time and still run
STARVED_SHARE = 0.8
# Two guests with as many CPUs each as the host has withhold half from each other; beyond that a guest's
# timers go off while its device has not had its turn.
TIMED_OUT_SHARE = 0.55

_FATE_TO_END = {
    Fate.ALIVE: GuestEnd.ALIVE,
    Fate.DIED: GuestEnd.DIED,
    Fate.ENDED_BY_OTHERS: GuestEnd.KILLED,
    Fate.ENDED_BY_US: GuestEnd.KILLED,
}


@dataclass
class Watch:
    """What was learned while the run was under way."""

    result: Json | None = None
    findings: list[Finding] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    stage: str = ""
    first_iocb_at: float | None = None
    fate: Fate = Fate.ALIVE
    epitaph: str = ""
    harness_error: str | None = None
    silent_cpu: bool = False
    host_found_s: float | None = None
    host_found_requests: int = 0
    run_began: float | None = None
    agent_found_at: float | None = None  # both of time.monotonic()
    events: list[Json] = field(default_factory=list)
    kernel_text: str = ""

    def take(self, event: Json) -> None:
        """An unasked line of the agent."""
        kind = event.get("ev")
        if kind != "progress":
            self.events.append(event)
        if kind == "stage":
            self.stage = str(event.get("stage", ""))
            if self.stage == "first_iocb":
                self.first_iocb_at = time.monotonic()
        elif kind == "kernel-text":
            self.kernel_text += str(event.get("text", ""))
        elif kind == "silent-cpu":
            self.silent_cpu = True
        elif kind == "progress":
            self.counters |= event.get("counters", {})
        elif kind == "finding":
            self.findings.append(Finding.from_json(event["finding"]))
            self.agent_found_at = self.agent_found_at or time.monotonic()

    def host_found(self, now: float) -> None:
        """The console told of something, as far as is known by now."""
        if self.run_began is not None and self.host_found_s is None:
            self.host_found_s = now - self.run_began
            self.host_found_requests = int(self.counters.get("submitted", 0))


@dataclass
class Bench:
    """What the cells of one worker share."""

    lane: Lane
    kernels: dict[str, Kernel]
    run_dir: Path
    _described: Description | None = None

    def describe(self, subject: Subject) -> Description:
        """The agent's description of itself, asked for once: every subject runs the same one."""
        if self._described is None:
            self._described = Description.from_json(subject.link.ask("describe"))
        return self._described

    def spec(self, cell: Cell) -> SubjectSpec:
        variant = Variant.PERF if cell.perf else Variant.PLAIN
        kernel = self.kernels[cell.kernel]
        target = targets.named(cell.target)
        bounces = cell.plan.scenario.knob("bounce") == "1"
        injector = build.injector(kernel, cell.mutant) if target.builds else None
        return SubjectSpec(
            kernel,
            cell.cpus,
            variant,
            target.preload(kernel, injector),
            extra_cmdline=(BOUNCE,) if bounces else (),
            # where an IOMMU translates nothing bounces (drivers/iommu/dma-iommu.c)
            hardware=dataclasses.replace(target.hardware, iommu=target.hardware.iommu and not bounces),
        )


def _silence(subject: Subject, watch: Watch, silent_s: float) -> None:
    """A running subject that no longer answers: a lock-up, unless the host starved it."""
    starved = subject.starvation()
    evidence = [f"last stage {watch.stage or 'none'}, silent for {silent_s:.0f} s", str(starved)]
    evidence += subject.diagnose()
    if starved.share > STARVED_SHARE:
        watch.harness_error = f"the host starved the guest: {starved}"
        return
    watch.findings.append(
        Finding(
            "hang",
            "guest stopped answering",
            f"hang:guest-silent:{watch.stage or 'start'}",
            tuple(evidence),
            lockup=True,
        )
    )


def _lock_up(watch: Watch, lines: list[str]) -> None:
    watch.findings.append(
        Finding(
            "hang",
            "guest stopped answering",
            f"hang:guest-silent:{watch.stage or 'start'}",
            (f"last stage {watch.stage or 'none'}", *lines),
            lockup=False,  # seen to run, and where: the host has withheld nothing that explains it
        )
    )


def _await_fate(subject: Subject, bound_s: float) -> Fate:
    """The stream ended: the end itself is seen a moment later."""
    deadline = time.monotonic() + bound_s
    while subject.fate() is Fate.ALIVE and time.monotonic() < deadline:
        time.sleep(0.02)
    return subject.fate()


def _run_and_watch(
    subject: Subject, cell: Cell, kernel: Kernel, modules: build.ModuleSet, watch: Watch
) -> None:
    link = subject.link
    link.on_event = watch.take
    deadline_s = cell.race_s + AFTERMATH_S
    request: Json = {
        "plan": str(cell.plan),
        "deadline_ms": int(deadline_s * 1000),
        "cell": cell.id,
        "shared": cell.lane == "local",
        "end_at_finding": cell.end_at_finding,
        "mute": list(cell.mute),
    }
    said, said_at = 0, 0.0
    look_at = 0.0
    began = time.monotonic()
    try:
        link.ask("mix", seed=cell.plan.seed or 0)
        target = targets.named(cell.target)
        # the local lane touches nobody else's kernel
        draws_out = cell.lane != "local" and sites.placed(cell.plan, cell.cpus)
        places = target.drawn_out(kernel, modules, cell.plan) if draws_out else []
        request |= target.install(subject, kernel, modules, draws_out=bool(places))
        request["sites"] = places
        if cell.perf:
            guestperf.start(link)
        number = link.start("run", request)
        run_began = watch.run_began = time.monotonic()
        while watch.result is None:
            answer = link.wait(number, WATCH_STEP_S)
            now = time.monotonic()
            console = subject.console()
            if len(console) != said:
                said, said_at = len(console), now
                if watch.host_found_s is None and _not_muted(kernel_log.findings(console), cell):
                    watch.host_found(now)
            if answer is not None:
                watch.result = answer.get("result", answer)
            elif subject.fate() is not Fate.ALIVE:
                break
            elif (
                watch.host_found_s is not None
                and cell.end_at_finding
                and now - min(said_at, run_began + watch.host_found_s + REPORT_S) >= REPORT_PAUSE_S
            ):
                break
            elif (
                now - link.last_heard > SUSPICION_S or watch.silent_cpu
            ) and now >= look_at:
                watch.silent_cpu = False
                if lines := subject.spinning():
                    watch.host_found(now)
                    _lock_up(watch, lines)
                    break
                look_at = time.monotonic() + LOOK_AGAIN_S
            elif now - link.last_heard > SILENCE_S:
                _silence(subject, watch, now - link.last_heard)
                break
            elif now - began > deadline_s + SILENCE_S:
                watch.harness_error = "the agent talks but gave no result within its deadline"
                break
    except LinkClosed:
        _await_fate(subject, DEATH_NOTICE_S)
    except NoAnswer as error:
        if _await_fate(subject, DEATH_NOTICE_S) is Fate.ALIVE:
            watch.harness_error = str(error)
    except AgentError as error:
        watch.harness_error = f"the agent refused: {error}"
    watch.fate = subject.fate()
    watch.epitaph = subject.epitaph()
    # A guest dies before its last words are read: they were said by now.
    if watch.host_found_s is None and watch.result is None:
        if _not_muted(kernel_log.findings(subject.console()), cell):
            watch.host_found(time.monotonic())


def _left_clean(watch: Watch, console: str) -> bool:
    """The run ended in order, and nobody has anything to say of it, muted or not: nothing of it is
    left in its subject."""
    if watch.result is None or watch.harness_error or watch.findings:
        return False
    return not watch.result.get("findings") and not kernel_log.findings(console)


def _not_muted(found: Sequence[Finding], cell: Cell) -> list[Finding]:
    return [each for each in found if not any(each.is_of(oracle) for oracle in cell.mute)]


def _host_findings(watch: Watch, console: str) -> list[Finding]:
    """What the kernel says on its console and in files, and the end itself when that explains
    nothing. Files first: kmemleak's says what its line on the console only counts."""
    text = f"{watch.kernel_text}\n{console}" if watch.kernel_text else console
    found = list(kernel_log.findings(text))
    if watch.fate is Fate.DIED and not found:
        last = tuple(console.splitlines()[-20:])
        title = "guest died of its own without a report"
        found.append(Finding("kernel-log", title, "kernel-log:silent-death", (watch.epitaph, *last)))
    return found


def _merge(found: list[Finding]) -> tuple[Finding, ...]:
    """One of each signature, in the order of arrival."""
    unique: dict[tuple[str, str], Finding] = {}
    for finding in found:
        unique.setdefault((finding.oracle, finding.signature), finding)
    return tuple(unique.values())


def _numbers(mapping: Any) -> dict[str, int]:
    return {str(k): int(v) for k, v in dict(mapping or {}).items() if isinstance(v, (int, float))}


def _hits(mapping: Any) -> dict[str, Hits]:
    return {
        str(name): Hits.from_json(h)
        for name, h in dict(mapping or {}).items()
        if isinstance(h, dict) and "tries" in h and "hits" in h
    }


@functools.cache
def scenario_version(name: str) -> str:
    """Hash over the scenario's source and the library that it shares with others."""
    stress = paths.ROOT / "stress"
    files = [stress / f"{name}.cpp", *sorted((stress / "lib").rglob("*"))]
    return paths.content_hash(f.read_bytes() for f in files if f.is_file())


def stored(cell: Cell, kernel: Kernel, modules: build.ModuleSet) -> token.Stored:
    """What the cell's token stands for."""
    mutant = token.Mutant(cell.mutant.name, cell.mutant.patch) if cell.mutant else None
    return token.Stored(
        plan=str(cell.plan),
        seed=cell.plan.seed,
        scenario_version=scenario_version(cell.plan.scenario.name),
        target=targets.named(cell.target).name,
        lane=cell.lane,
        places={"target": cell.target} if "/" in cell.target else {},
        kernel={"ref": cell.kernel, "release": kernel.release, "build_id": kernel.build_id},
        modules={"build": modules.build_id},
        guest={"cpus": str(cell.cpus)},
        mutant=mutant,
        cell_id=cell.id,
    )


def cell_of(replay: token.Stored) -> Cell:
    """The cell that a token stands for. ConfigurationError when its plan does not parse here."""
    try:
        plan = parse(replay.plan)
    except PlanError as error:
        raise ConfigurationError(f"the stored plan of {replay.token}: {error}") from error
    mutant = build.Mutant(replay.mutant.name, replay.mutant.patch) if replay.mutant else None
    return Cell(
        id=replay.cell_id or replay.token,
        target=replay.places.get("target", replay.target),
        kernel=str(replay.kernel["ref"]),
        lane=replay.lane,
        cpus=int(replay.guest.get("cpus", "2")),
        plan=plan,
        mutant=mutant,
    )


def _write_artefacts(folder: Path, cell: Cell, console: str, watch: Watch) -> tuple[str, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.txt").write_text(str(cell.plan) + "\n")
    (folder / "console.log").write_text(console)
    answer = {"result": watch.result, "events": watch.events, "end": watch.epitaph}
    (folder / "agent.json").write_text(json.dumps(answer, indent=1) + "\n")
    return tuple(sorted(str(path.relative_to(folder.parents[1])) for path in folder.iterdir()))


def _folder(cell: Cell, bench: Bench) -> Path:
    return bench.run_dir / "cells" / re.sub(r"[^\w.+-]", "_", cell.id)


def _minima(cell: Cell, describe: Description | None) -> dict[str, int]:
    if describe is None:
        return {}
    minima = describe.contention.get(cell.plan.scenario.name, {})
    return {name: int(least * cell.minima_scale) for name, least in minima.items()}


def _base(cell: Cell) -> CellResult:
    return CellResult(
        id=cell.id,
        token="",
        target=targets.named(cell.target).name,
        kernel=cell.kernel,
        lane=cell.lane,
        accel="",
        scenario=cell.plan.scenario.name,
        plan=str(cell.plan),
        seed=cell.plan.seed,
        mutant=cell.mutant.name if cell.mutant else None,
        verdict=Verdict.ERROR,
        cpus=cell.cpus,
        control=cell.control,
    )


def run_cell(
    cell: Cell, bench: Bench, on_subject: Callable[[Subject], None] | None = None
) -> CellResult:
    """Runs the cell and judges it. Never raises for what a subject does; a harness that breaks is
    the verdict ERROR. `on_subject` is told of the subject before the run starts."""
    began = time.monotonic()
    kernel = bench.kernels[cell.kernel]
    result = _base(cell)
    result = dataclasses.replace(result, kernel_build_id=kernel.build_id)
    watch = Watch()
    describe: Description | None = None
    console, starved = "", Starvation(0.0, ())
    try:
        modules = targets.named(cell.target).modules(kernel, cell.mutant)
        replay = stored(cell, kernel, modules)
        result = dataclasses.replace(
            result, token=replay.token, module_build_id=modules.build_id
        )
        with bench.lane.subject(bench.spec(cell)) as subject:
            describe = bench.describe(subject)
            describe.validate(cell.plan)
            if on_subject is not None:
                on_subject(subject)
            _run_and_watch(subject, cell, kernel, modules, watch)
            if cell.perf and watch.result is not None:
                guestperf.collect(subject.link, _folder(cell, bench))
            console = subject.console()
            starved = subject.starvation()
            subject.clean = _left_clean(watch, console)
    except PlanError as error:
        raise ConfigurationError(f"plan of {cell.id}: {error}") from error
    except (HarnessError, ConfigurationError, LinkClosed, NoAnswer, AgentError, OSError) as error:
        watch.harness_error = watch.harness_error or f"{type(error).__name__}: {error}"
        replay = None
    return _judge(cell, bench, result, watch, console, starved, describe, replay, began)


def _overload(findings: Sequence[Finding], starved: Starvation) -> str | None:
    """Why nothing can be said: only lock-ups and time-outs were reported, and the host alone explains
    them."""
    if not findings or not all(f.lockup for f in findings):
        return None
    timed_out = all(f.oracle in ("contract", "ledger") for f in findings)
    if starved.share <= (TIMED_OUT_SHARE if timed_out else STARVED_SHARE):
        return None
    return f"{findings[0].title}, but the host starved the guest: {starved}"


def _emulators_own(findings: Sequence[Finding], console: str, accel: str) -> str | None:
    """Why nothing can be said: an emulated CPU ended the guest, and all that was told is that and its silence."""
    own = ("kernel-log:trap/int3:", "hang:guest-silent:")
    if accel != "tcg" or not all(f.signature.startswith(own) for f in findings):
        return None
    function = kernel_log.stale_breakpoint(console)
    if function is None:
        return None
    return f"an emulated CPU ran a breakpoint that the kernel had taken away, in {function}"


def _beside_the_host(finding: Finding, starved: Starvation) -> Finding:
    """A lock-up report with what the host withheld beside it (design: overload is no finding)."""
    if not finding.lockup:
        return finding
    return dataclasses.replace(finding, evidence=(*finding.evidence, str(starved)))


def _judge(
    cell: Cell,
    bench: Bench,
    result: CellResult,
    watch: Watch,
    console: str,
    starved: Starvation,
    describe: Description | None,
    replay: token.Stored | None,
    began: float,
) -> CellResult:
    answer = watch.result or {}
    told = [Finding.from_json(f) for f in answer.get("findings", ())]
    kernel = bench.kernels[cell.kernel]
    every = _merge([*watch.findings, *told, *_host_findings(watch, console)])
    seen = _not_muted(every, cell)
    harness_error = (
        watch.harness_error
        or _overload(seen, starved)
        or _emulators_own(seen, console, bench.lane.accel)
    )
    found = known.mark(
        [_beside_the_host(finding, starved) for finding in seen],
        known.load(paths.ROOT / "known.toml"),
        kernel.release,
        mutant=cell.mutant is not None,
    )
    counters = _numbers(answer.get("counters") or watch.counters)
    facts = CellFacts(
        plan=cell.plan,
        findings=found,
        # the death of a guest is told by a finding: nobody sees it where that is muted
        guest=GuestEnd.ALIVE if cell.mute and not seen and every else _FATE_TO_END[watch.fate],
        has_result=watch.result is not None,
        counters=counters,
        minima=_minima(cell, describe),
        fired=answer.get("faults", ()),
        hits=_hits(answer.get("hits")),
        harness_error=harness_error,
    )
    judged = verdict.judge(facts)
    reason = judged.reason
    if watch.fate is Fate.ENDED_BY_OTHERS:
        reason = watch.epitaph
    tries = int(answer.get("tries", 0) or 0)
    first_finding_us = answer.get("time_to_first_finding_us")
    first_finding_requests = answer.get("requests_to_first_finding")
    # A guest that was lost after its agent had told of one gave no result.
    if first_finding_us is None and watch.agent_found_at is not None and watch.run_began is not None:
        first_finding_us = (watch.agent_found_at - watch.run_began) * 1e6
        first_finding_requests = counters.get("submitted", 0)
    # The console's is earlier where the agent saw what came of it, or saw nothing.
    if watch.host_found_s is not None and (
        first_finding_us is None or watch.host_found_s * 1e6 < first_finding_us
    ):
        first_finding_us = watch.host_found_s * 1e6
        first_finding_requests = watch.host_found_requests
    folder = _folder(cell, bench)
    judged_result = dataclasses.replace(
        result,
        verdict=judged.verdict,
        accel=bench.lane.accel,
        reason=reason,
        findings=found,
        counters=counters,
        faults=tuple(answer.get("faults", ())),
        hits=_hits(answer.get("hits")),
        heat=answer.get("heat"),
        tries=tries or None,
        bound=upper_bound(tries) if judged.verdict is Verdict.PASS else None,
        start_s=round(watch.first_iocb_at - began, 3) if watch.first_iocb_at else None,
        run_s=round(float(answer["run_us"]) / 1e6, 3) if answer.get("run_us") else None,
        requests_to_first_finding=first_finding_requests,
        time_to_first_finding=(
            round(first_finding_us / 1e6, 6) if first_finding_us is not None else None
        ),
        artefacts=_write_artefacts(folder, cell, console, watch),
        host_run_delay_s=tuple(round(s, 3) for s in starved.run_delays_s),
        wall_s=round(time.monotonic() - began, 3),
        ended=round(time.time(), 3),
    )
    if replay is not None:
        expected = tuple(token.Expected(f.oracle, f.title, f.signature) for f in found)
        replay = dataclasses.replace(replay, expected=expected)
        token.store(replay, bench.run_dir)
        if judged_result.verdict is Verdict.FAIL:
            bundle.write(bench.run_dir, judged_result, replay)
    return judged_result


def control_found(cell: Cell, result: CellResult) -> bool:
    """Whether one of the oracles that this control is for has spoken."""
    return any(finding.oracle in cell.control_oracles for finding in result.unknown_findings)
