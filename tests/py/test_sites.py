"""Sites: what a recorded listing of objdump gives, and that a draw is the seed's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from aiotorture import matrix, sites, targets
from aiotorture.plan import parse

LISTING = (Path(__file__).parents[1] / "data" / "objdump" / "zcdma-6.1.txt").read_text()


def weights(function: str) -> dict[int, int]:
    return {site.offset: site.weight for site in sites.candidates(LISTING) if site.function == function}


def test_offsets_are_instructions_of_the_function() -> None:
    irq_work = weights("soft_irq_work")
    assert 0x19 in irq_work and 0x1D in irq_work
    assert 0x1A not in irq_work  # inside the movb
    assert {"zc_put", "zc_unmap.part.0"} <= {site.function for site in sites.candidates(LISTING)}


def test_what_is_no_statement_is_left_out() -> None:
    assert 0 not in weights("soft_irq_work")  # the call of __fentry__
    assert 0x3A not in weights("soft_irq_work")  # int3
    assert 0x3B not in weights("soft_irq_work")  # padding
    assert 0x41 not in weights("zc_mark")  # a jump label's xchg %ax,%ax


def test_calls_writes_and_atomics_weigh_more() -> None:
    irq_work = weights("soft_irq_work")
    plain = irq_work[0xE]  # mov %rbx,%rdi
    before_lock, under_lock = irq_work[0x14], irq_work[0x19]
    beside_call = 8
    assert before_lock > under_lock > beside_call
    assert irq_work[0x25] == before_lock > irq_work[0x20]  # after the unlock, and before it
    assert plain == 1 < irq_work[0x1D] < beside_call  # behind movb $0x0,-0x10(%rbx)
    timeout = weights("zc_timeout")  # a work is queued: before and after
    assert before_lock > timeout[0x4C] == under_lock > timeout[0x47] == beside_call
    unmap = weights("zc_unmap.part.0")
    assert unmap[0x3D] == unmap[0x45] == beside_call  # around lock sub
    mark = weights("zc_mark")
    assert mark[0x12] == 1  # a stack's slot is nobody else's
    put = weights("zc_put")
    assert put[0x18] == put[0x1E] == beside_call  # around lock btr
    assert put[0x5] == 1


@pytest.mark.parametrize(
    "call",
    [
        "call   1404 <zcdma_poll+0x54>\n\t\t\t1400: R_X86_64_PLT32\t__x86_indirect_thunk_rax-0x4",
        "call   *%rax",
    ],
)
def test_both_sides_of_a_call_by_pointer_weigh_as_what_hands_over(call: str) -> None:
    listing = (
        "00000000000013f0 <zcdma_poll>:\n    13f0:\tmov    %rsi,%rdx\n    13fc:\tmov    %r15,%rsi\n"
        f"    13ff:\t{call}\n    1404:\tmov    %rax,%rbx\n    1407:\tmov    %rbx,%rdx\n"
    )
    joined = [site.weight for site in sites.candidates(listing)]
    assert joined == [1, 1, weights("zc_timeout")[0x4C], weights("zc_timeout")[0x4C], 1]


@pytest.mark.parametrize(
    "address",
    [
        "R_X86_64_32S\t.text+0x100",
        "R_X86_64_PC32\t.text+0xfc",
        "R_X86_64_32S\tzc_timeout",
    ],
)
def test_the_entry_of_a_function_that_is_called_by_pointer_weighs_as_such_a_call(address: str) -> None:
    listing = (
        "0000000000000020 <zc_queue>:\n      20:\tmov    $0x0,%rsi\n\t\t\t23: " + address + "\n"
        "0000000000000100 <zc_timeout>:\n     100:\tcall   105 <zc_timeout+0x5>\n"
        "\t\t\t101: R_X86_64_PLT32\t__fentry__-0x4\n     105:\tpush   %rbp\n     106:\tmov    %rdi,%rbp\n"
    )
    assert [(site.offset, site.weight) for site in sites.candidates(listing)] == [(0, 1), (5, 32), (6, 1)]


def test_what_changes_memory_outside_of_locks_weighs_most() -> None:
    body = (
        "addl   $0x1,0xc(%rbp)",
        "call   30 <_raw_spin_lock_irqsave>",
        "nop",
        "addl   $0x1,0xc(%rbp)",
        "nop",
        "call   30 <_raw_spin_unlock_irqrestore>",
        "nop",
        "orb    $0x4,0x58(%rbx)",
        "nop",
        "lock incl 0x40(%r12)",
        "nop",
        "incl   %gs:0x18(%rip)",
        "addl   $0x1,0x14(%rsp)",
    )
    listing = "0000000000000000 <f>:\n" + "".join(f"  {i:x}:\t{text}\n" for i, text in enumerate(body))
    weighed = {site.offset: site.weight for site in sites.candidates(listing)}
    assert [weighed[at] for at in (0, 3, 7)] == [128, 32, 128]
    assert [weighed[at] for at in (9, 11, 12)] == [8, 4, 4]


def test_a_name_that_stands_twice_is_left_out() -> None:
    twice = LISTING + LISTING[LISTING.index("0000000000000000 <soft_irq_work>") :].split("\n\n")[0]
    assert weights("soft_irq_work")
    assert not [site for site in sites.candidates(twice) if site.function == "soft_irq_work"]


def test_a_draw_is_the_seeds_and_the_modules() -> None:
    every = {"zcdma": sites.candidates(LISTING)}
    first = sites.drawn(every, 7, 16)
    assert first == sites.drawn(every, 7, 16)
    assert first != sites.drawn(every, 8, 16)
    assert len(set(first)) == 16
    assert all(site.startswith("zcdma:") and "+0x" in site for site in first)
    assert sites.drawn(every, 7, 4) == first[:4]
    assert sites.drawn(every, 7, 10**6) and not sites.drawn(every, 7, 0)
    assert sites.drawn(every, 7, 12, 4) == first[4:]
    count = len(every["zcdma"])
    assert sites.drawn(every, 7, 2, count - 1)[1:] == first[:1]
    assert sites.drawn(every, 7, 1, count + 3) == first[3:4] and not sites.drawn({}, 7, 3, 5)


def test_heavier_sites_are_drawn_more_often() -> None:
    every = {"m": [sites.Site("light", n, n, 1) for n in range(50)] + [sites.Site("heavy", n, n, 8) for n in range(50)]}
    heavy = sum("heavy" in site for seed in range(200) for site in sites.drawn(every, seed, 1))
    assert 150 < heavy < 198


def test_the_device_is_not_the_driver() -> None:
    kept = sites.without(sites.candidates(LISTING), [targets.named("zcdma").device])
    assert kept and not [site for site in kept if site.function.startswith("soft_")]
    assert sites.without(kept, ["", "soft_"]) == kept
    assert not [site for site in sites.without(kept, ["zc_put", ""]) if site.function == "zc_put"]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("scenario melee sites=6", {"common", "cancel", "recovery", "writeback"}),
        ("scenario removal_under_load sites=6", {"common", "cancel", "recovery", "writeback", "removal"}),
        ("scenario melee sites=6 path=none path_sites=4", {"common", "cancel"}),
        ("scenario melee sites=6 path=recovery", {"common", "cancel"}),
        ("scenario melee sites=6 path=recovery path_sites=4", {"common", "cancel", "recovery"}),
        ("scenario melee path=writeback path_sites=4", {"writeback"}),
        ("scenario removal_under_load sites=6 path=removal path_sites=4", {"common", "cancel", "removal"}),
        ("scenario melee sites=6 path=cancel", {"common"}),
        ("scenario melee path=cancel path_sites=4", {"cancel"}),
    ],
)
def test_functions_of_a_path_are_drawn_out_where_a_plan_takes_it(
    text: str, seen: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    functions = {
        "zc_submit": "common", "soft_tick": "device", "zc_recover_work": "recovery", "zc_timeout": "recovery",
        "zc_dirty_work": "writeback", "zcdma_probe": "removal", "zc_cancel": "cancel",
    }  # fmt: skip
    every = [sites.Site(function, 0, at, 1) for at, function in enumerate(functions)]
    zcdma = targets.named("zcdma")
    monkeypatch.setattr(targets.Target, "_under_test", lambda *_: {"zcdma": b""})
    monkeypatch.setattr(sites, "of_module", lambda _: every)
    nobody_asks: Any = None
    drawn = zcdma.drawn_out(nobody_asks, nobody_asks, parse(text + "; seed 3"))
    assert {functions[name.split(":")[1].split("+")[0]] for name in drawn} == seen


@pytest.mark.parametrize(
    ("knobs", "count"),
    [
        ("", 0),
        ("sites=12 time=3s site_turn=0ms", 12),
        ("sites=12 time=3s site_turn=1s", 48),
        ("sites=12 time=1s site_turn=300ms", 48),
        ("sites=12 time=1s", 12),
        ("sites=12 blind=0 site_turn=1s time=3600s", 12 * sites.MOST_TURNS),
        ("sites=12 blind=1", 0),
    ],
)
def test_a_plan_needs_some_for_each_turn_and_blind_stress_none(knobs: str, count: int) -> None:
    assert sites.wanted(parse(f"scenario submit_cancel_race {knobs}")) == count


def test_the_only_cpu_has_sites_where_the_kernel_is_preempted() -> None:
    plain, full = parse("scenario melee sites=8"), parse("scenario melee sites=8 preempt=full")
    assert [sites.placed(plan, cpus) for plan in (plain, full) for cpus in (1, 2)] == [False, True, True, True]


def test_the_kernels_own_lie_where_most_functions_of_the_object_are() -> None:
    object_sites = [sites.Site("lookup_ioctx", 4, 0x14, 1), sites.Site("kill_ioctx", 8, 0x108, 8)]
    object_sites.append(sites.Site("aio_write", 0, 0x200, 1))
    system_map = """ffffffff81000000 T _stext
ffffffff81001000 t aio_write
ffffffff81345010 t lookup_ioctx
ffffffff81345100 t kill_ioctx
ffffffff81345200 t aio_write
"""
    placed = sites.placed_in_kernel(object_sites, system_map)
    assert [site.at for site in placed] == [0x345014, 0x345108, 0x345200]
    assert str(placed[1]) == "kill_ioctx+0x8@0x345108"
    assert sites.placed_in_kernel(object_sites, "ffffffff81000000 T _stext\n") == []


def test_a_kernel_without_its_object_has_none(tmp_path: Path) -> None:
    (tmp_path / "System.map").write_text("ffffffff81000000 T _stext\n")
    assert sites.of_kernel_build(tmp_path) == []


def test_each_turn_has_its_share_of_both() -> None:
    driver, kernel = ["d0", "d1", "d2", "d3"], ["k0", "k1"]
    assert sites.for_turns([(driver, 2), (kernel, 1)]) == ["d0", "d1", "k0", "d2", "d3", "k1"]
    assert sites.for_turns([(driver, 2), ([], 1)]) == driver
    assert sites.for_turns([([], 0)]) == []


def test_the_search_draws_out_in_all_modes_and_smoke_does_not() -> None:
    def drawing_out(profile: str) -> list[matrix.Cell]:
        cells = matrix.cells(matrix.Selection(profile=profile, kernels=("6.1",)))
        return [cell for cell in cells if cell.plan.scenario.knob("sites")]

    assert not drawing_out("smoke")
    search = drawing_out("search")
    assert {cell.plan.scenario.knob("cancel") for cell in search} == {"callback", "flush", "flag", "none"}


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no compiler")
def test_a_real_object_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = tmp_path / "two.c"
    source.write_text("void put(int *); int two(int *at) { *at = 1; put(at); return *at; }\n")
    built = tmp_path / "two.o"
    subprocess.run(["gcc", "-O2", "-c", "-o", built, source], check=True)
    module = built.read_bytes()
    found = sites.of_module(module)
    assert {site.function for site in found} == {"two"}
    assert max(site.weight for site in found) == 8
    monkeypatch.setattr(sites, "OBJDUMP", ("false",))
    assert sites.of_module(module) == found
