"""score/: the order of the search, its budget and kernels, blind stress beside it, what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sample_run

from aiotorture import build, kernels, sites, targets
from aiotorture.errors import ConfigurationError
from aiotorture.matrix import Cell
from aiotorture.plan import parse
from aiotorture.results import CellResult, Verdict
from aiotorture.score import alone, planted, repeats, search, table, trials, workers
from aiotorture.score.planted import Method, Planted
from aiotorture.score.trials import Trial, Walk

PATCH = "Name: m\nClass: leak\nRace: yes\n\n--- a/driver/zcdma.c\n+++ b/driver/zcdma.c\n"
ONE = Planted(build.Mutant("m", PATCH), planted.header_of(PATCH))
STOCK = Method(kernels=("6.1",))
PASS = replace(
    sample_run.cell("submit_cancel_race", 2, "flag", "", Verdict.PASS),
    run_s=4.0,
    counters={"submitted": 1000},
)
SHOWN = replace(
    PASS,
    verdict=Verdict.FAIL,
    findings=(sample_run.HANG,),
    requests_to_first_finding=77,
    time_to_first_finding=0.5,
)


def cells() -> list[Cell]:
    return search.cells_for(ONE, "6.1", 7, "2s")


class Runner:
    """Answers cell after cell with what was given, then with PASS; remembers what it was asked."""

    def __init__(self, *outcomes: CellResult) -> None:
        self._given: Iterator[CellResult] = iter([*outcomes, *[PASS] * 1000])
        self.asked: list[Cell] = []

    def __call__(self, cell: Cell) -> CellResult:
        self.asked.append(cell)
        return next(self._given)


def searched(*outcomes: CellResult, method: Method = STOCK) -> Trial:
    return search.search(ONE, 7, method, Runner(*outcomes))


def test_no_two_cells_of_a_cancel_mode_draw_out_the_same_instructions() -> None:
    taken: dict[tuple[int, str | None], set[int]] = {}
    for cell in cells():
        count = sites.wanted(cell.plan)
        if not count:
            assert cell.plan.scenario.knob("site_from") is None
            continue
        order, first = sites.order_of(cell.plan)
        theirs = taken.setdefault((cell.cpus, cell.plan.scenario.knob("cancel")), set())
        assert order == 8 and first == len(theirs)
        theirs |= set(range(first, first + count))
    assert len(taken) == 8
    shared: dict[tuple[str, int, int, str | None], set[int]] = {}
    for cell in cells():
        if count := sites.wanted(cell.plan, "path_sites"):
            _, first = sites.order_of(cell.plan, "path_sites")
            key = (sites.path_of(cell.plan), count, cell.cpus, cell.plan.scenario.knob("cancel"))
            theirs = shared.setdefault(key, set())
            assert first == len(theirs)
            theirs |= set(range(first, first + count))
    assert {path for path, *_ in shared} == {*targets.ZCDMA_PATHS, *targets.ZCDMA_CROWDED_PATHS}
    assert sites.order_of(parse("scenario melee; seed 5")) == (5, 0)


def test_the_rows_that_show_most_are_visited_once_in_haste() -> None:
    hasty = [cell for cell in cells() if cell.id.endswith("-hasty")]
    assert hasty == cells()[: len(search.FIRST_PLANS)]
    assert [plan for cell in hasty for plan in search.FIRST_PLANS if plan in cell.id] == [*search.FIRST_PLANS]
    assert all("time=1000ms" in str(cell.plan) and cell.cpus == 2 for cell in hasty)
    assert not {str(cell.plan.seed) for cell in hasty} & {str(cell.plan.seed) for cell in cells()[len(hasty) :]}


def test_each_round_visits_every_row_once() -> None:
    ordered = [cell for cell in cells() if not cell.id.endswith(("-hasty", search.AGAIN_SUFFIX))]

    def row(cell: Cell) -> tuple[str, ...]:
        return (cell.plan.scenario.name, *map(str, cell.plan.faults))

    rows = {row(cell) for cell in ordered}
    assert {row(cell) for cell in ordered[: len(rows)]} == rows
    first_round = ordered[: len(rows)]
    begun = first_round[: len(search.NEXT)]
    assert {name for name in search.NEXT for cell in begun if name in cell.id} == set(search.NEXT)
    again = {plan for plan in search.FIRST_PLANS if f"-{search.FIRST}{plan}" not in search.LATE}
    following = first_round[len(begun) :][: len(again)]
    assert all(cell.plan.scenario.name == search.FIRST for cell in following)
    assert {plan for plan in search.FIRST_PLANS for cell in following if plan in cell.id} == again
    ending = [any(name in cell.id for name in (*search.LATE, *search.LAST)) for cell in first_round]
    assert ending == sorted(ending) and sum(ending) > len(search.LATE)
    assert {cell.cpus for cell in ordered[: len(rows)]} == {2} and {cell.cpus for cell in ordered} == {1, 2}
    assert all(cell.end_at_finding for cell in ordered)
    assert all(cell.mutant == ONE.mutant and cell.id.endswith("-m-s7") for cell in ordered)


def test_some_rows_are_visited_again_with_other_knobs_before_those_that_come_late() -> None:
    ordered = [cell for cell in cells() if not cell.id.endswith("-hasty")]
    again = [cell for cell in ordered if cell.id.endswith(search.AGAIN_SUFFIX)]
    assert {plan for plan in search.AGAIN for cell in again if plan in cell.id} == set(search.AGAIN)
    assert len(again) == len(search.AGAIN) and {cell.cpus for cell in again} == {2}
    assert not {cell.plan.seed for cell in again} & {cell.plan.seed for cell in ordered if cell not in again}
    late = [any(name in cell.id for name in search.LATE) for cell in ordered]
    assert max(ordered.index(cell) for cell in again) < late.index(True)


def test_the_order_and_the_cells_come_from_the_seed() -> None:
    assert [c.id for c in cells()] == [c.id for c in cells()]
    other = search.cells_for(ONE, "6.1", 8, "2s")
    assert [c.plan for c in other] != [c.plan for c in cells()]


def test_time_and_requests_add_up_to_the_first_finding() -> None:
    found = searched(PASS, SHOWN).aimed
    assert (found.found, found.cells, found.requests, found.seconds) == (True, 2, 1077, 4.5)
    assert (found.oracle, found.title) == ("hang", sample_run.HANG.title)
    assert found.signature == sample_run.HANG.signature


def test_requests_that_a_dead_guest_did_not_tell_count_as_made() -> None:
    died = replace(SHOWN, run_s=None, requests_to_first_finding=0)
    assert searched(died).aimed.requests == search.UNTOLD_REQUESTS
    assert searched(replace(died, requests_to_first_finding=9000)).aimed.requests == 9100


def test_a_miss_spends_the_budget_and_no_more() -> None:
    missed = searched(method=replace(STOCK, budget_s=10.0)).aimed
    assert (missed.found, missed.cells, missed.seconds, missed.cap) == (False, 3, 12.0, "time")


def test_a_known_bug_and_a_miss_are_not_found() -> None:
    trial = searched(replace(PASS, verdict=Verdict.MISS), replace(PASS, verdict=Verdict.ERROR))
    assert not trial.aimed.found and trial.aimed.errors == 1


def test_kernels_share_the_budget_one_after_another() -> None:
    method = Method(kernels=("6.1", "kasan", "lockdep"), budget_s=40.0)
    assert [s for _, s in method.shares()] == pytest.approx([30.0, 5.0, 5.0])
    run = Runner()
    trial = search.search(ONE, 7, method, run)
    assert [cell.kernel for cell in run.asked] == ["6.1"] * 8 + ["kasan"] + ["lockdep"]
    assert (trial.aimed.cells, trial.aimed.cap) == (10, "time")
    # a sanitizer's few seconds begin with the scenario that enters most paths
    first = {"6.1": search.FIRST, "kasan": search.FIRST_LATER, "lockdep": search.FIRST_LATER}
    begun = {cell.kernel: cell for cell in reversed(run.asked)}
    assert {kernel: cell.plan.scenario.name for kernel, cell in begun.items()} == first
    on_kasan = search.search(ONE, 7, method, Runner(*[PASS] * 8, SHOWN)).aimed
    assert (on_kasan.kernel, on_kasan.seconds) == ("kasan", 32.5)


def test_a_debug_kernel_that_is_not_built_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "pinned", lambda name: object() if name == "kasan" else None)
    assert workers.cached(("6.1", "kasan", "lockdep")) == (("6.1", "kasan"), ("lockdep",))


def test_blind_stress_runs_the_same_cells_in_the_same_order() -> None:
    run = Runner(PASS, SHOWN)
    trial = search.search(ONE, 7, replace(STOCK, blind=True), run)
    aimed, blind = run.asked[:2], run.asked[2:]
    assert [cell.id for cell in blind[:2]] == [f"{cell.id}-blind" for cell in aimed]
    assert all(cell.plan.scenario.knob("blind") == "1" for cell in blind)
    assert all(cell.plan.scenario.knob("widen") == "0" for cell in blind)
    for cell, was in zip(blind, cells(), strict=False):
        drawn_out = {str(fault) for fault in set(was.plan.faults) - set(cell.plan.faults)}
        assert all(fault.split()[2] == "delay" for fault in drawn_out)
        assert not any(fault.startswith(("fault start", "fault irq")) for fault in drawn_out)
        assert {(f.phase, f.action) for f in cell.plan.faults} & {("complete", "delay"), ("queue", "delay")} == set()
    assert trial.blind is not None and trial.blind.cap == "time" and not trial.blind.found


def test_blind_stress_is_given_up_at_twenty_times_the_requests() -> None:
    blind = searched(SHOWN, method=replace(STOCK, blind=True)).blind
    assert blind == Walk(False, seconds=8.0, requests=2000, cells=2, cap="requests")
    full = searched(SHOWN, method=replace(STOCK, blind=True, blind_full=True)).blind
    assert full is not None and (full.seconds, full.cap) == (60.0, "time")


def test_what_is_no_race_is_not_given_to_blind_stress() -> None:
    text = PATCH.replace("Race: yes", "Race: no")
    other = Planted(build.Mutant("m", text), planted.header_of(text))
    assert search.search(other, 7, replace(STOCK, blind=True), Runner(SHOWN)).blind is None
    assert planted.identity(other, replace(STOCK, blind=True)) == planted.identity(other, STOCK)


def test_muted_oracles_are_told_to_every_cell() -> None:
    run = Runner(SHOWN)
    trial = search.search(ONE, 7, replace(STOCK, without=("ledger/late",)), run)
    assert run.asked[0].mute == ("ledger/late",) and trial.without == ("ledger/late",)
    assert run.asked[0].id.endswith("-m-no-ledger-late-s7-hasty")
    assert "-mix-" in run.asked[0].id
    assert str(run.asked[0].plan) == str(cells()[0].plan).replace("time=1000ms", "time=500ms")


def test_a_bug_of_the_card_is_searched_for_with_cards() -> None:
    (card,) = planted.planted(["edu-stop-says-stopped"])
    method = card.method(STOCK)
    asked = search.cells_for(card, "6.1", 7, method.slice_time)
    assert {cell.target for cell in asked} == {planted.CARD_TARGET}
    assert {cell.plan.scenario.knob("time") for cell in asked} == {"3000ms", "6000ms"}
    assert ONE.method(STOCK) == STOCK and {cell.target for cell in cells()} == {"zcdma"}
    assert card.method(replace(STOCK, slice_time="2s")).slice_time == "2s"


def test_trials_are_kept_whole_or_passed_over(tmp_path: Path) -> None:
    trial = searched(SHOWN, method=replace(STOCK, blind=True))
    path = tmp_path / trials.SCORE
    trials.append(path, trial.to_json())
    with path.open("a") as torn:
        torn.write('{"schema": 2, "mutant"')
    trials.append(path, replace(trial, seed=8).to_json())
    assert trials.read(tmp_path) == [trial, replace(trial, seed=8)]


def test_exit_status() -> None:
    found, missed = searched(SHOWN), searched(method=replace(STOCK, budget_s=1.0))

    def broken(trial: Trial) -> Trial:
        return replace(trial, aimed=replace(trial.aimed, errors=1))

    assert table.exit_status(table.rows([found])) == 0
    assert table.exit_status(table.rows([found, missed])) == 1
    assert table.exit_status(table.rows([broken(missed)])) == 3
    assert table.exit_status(table.rows([broken(found)])) == 0
    assert table.exit_status([]) == 3


def test_the_table_counts_seeds() -> None:
    missed = searched(method=replace(STOCK, budget_s=1.0))
    [row] = table.rows([searched(SHOWN), searched(PASS, SHOWN), missed])
    assert (row.found, row.trials, row.kind, row.race) == (2, 3, "leak", True)
    assert "| m | leak | yes | 2/3 | hang |" in table.markdown([row])
    assert table.summary([row], 60.0)[-1] == "sometimes: m 2/3"


def blind_trial(requests: int, found: bool, cap: str = "") -> Trial:
    trial = searched(SHOWN)
    return replace(trial, blind=Walk(found, seconds=9.0, requests=requests, cap=cap))


def test_the_ratio_is_a_lower_bound_where_blind_stress_was_given_up() -> None:
    [row] = table.rows([blind_trial(770, True), blind_trial(1540, False, "requests")])
    assert row.ratios == (10.0, 20.0) and row.ratios_open and row.ratio == 15.0
    assert (row.blind_found, row.blind_misses) == (1, False)
    assert "| 1/2 | ≥1155 (770..1540) | ≥15 |" in table.markdown([row])


def test_a_race_is_missed_by_blind_stress_only_with_the_whole_budget() -> None:
    [missed] = table.rows([blind_trial(9000, False, "time")] * 2 + [blind_trial(80, True)])
    [open_] = table.rows([blind_trial(9000, False, "requests")] * 3)
    assert missed.blind_misses and not open_.blind_misses
    said = "\n".join(table.summary([missed, open_], 60.0))
    assert "missed 1 of 2 races" in said and "before: 1" in said


def test_the_readme_has_the_part_between_its_marks_replaced(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"a\n{table.BEGIN}\nold\n{table.END}\nb\n")
    rows = table.rows([blind_trial(770, True)])
    part = table.readme_part(rows, "how", table.summary(rows, 60.0), {"m": "9/10"}, "alone\n")
    for _ in range(2):
        table.put_between_marks(readme, part)
        text = readme.read_text()
        assert text.startswith("a\n") and text.endswith(f"{table.END}\nb\n") and "old" not in text
        assert "| 0.5 | 77 | 1/1 | 770 | 10 | 9/10 |" in text and "\nalone\n" in text


def test_a_score_for_a_file_that_is_not_there_says_so_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        table.put_between_marks(tmp_path / "absent.md", "part")


def test_an_oracle_alone_finds_what_is_missed_without_it() -> None:
    found = searched(SHOWN)
    missed = searched(method=replace(STOCK, budget_s=1.0))
    other = replace(found, mutant="n", aimed=replace(found.aimed, oracle="leak"))
    both = replace(found, mutant="b", seed=9), replace(other, mutant="b", seed=8)
    assert alone.candidates([found, missed, other, *both]) == {"hang": [found], "leak": [other]}
    kept = [replace(missed, without=("hang",)), replace(other, without=("hang",))]
    assert alone.found_by_it_alone(kept, "hang") == ["m"]
    assert "| hang | m | n (leak) |" in alone.markdown(kept)


def test_each_mutant_is_replayed_once_from_its_first_token() -> None:
    trial = searched(SHOWN)
    with_token = replace(trial, aimed=replace(trial.aimed, token="at1-x"))
    later = replace(with_token, seed=8)
    done = repeats.Replayed("m", "at1-x", "t", 10, 9, 8, 0)
    assert repeats.wanted([later, with_token, trial], [], 10) == [with_token]
    assert repeats.wanted([with_token], [done], 10) == []
    assert repeats.wanted([with_token], [done], 5) == [with_token]
    assert "in 8 of 10 tries" in repeats.summary([done])[0]


def test_the_readme_has_the_marks() -> None:
    text = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    assert text.count(table.BEGIN) == text.count(table.END) == 1


def test_identity_follows_the_patch_and_the_method() -> None:
    other = replace(ONE, mutant=build.Mutant("m", PATCH + " \n"))
    made = {
        planted.identity(one, method)
        for one in (ONE, other)
        for method in (STOCK, replace(STOCK, blind=True), replace(STOCK, slice_time="2s"),
                       replace(STOCK, without=("leak",)), replace(STOCK, kernels=("6.1", "kasan")))
    }  # fmt: skip
    assert len(made) == 10
    assert planted.identity(ONE, STOCK) == planted.identity(ONE, replace(STOCK))
