"""Sites: instructions at which the injector lets a module, or the kernel's fs/aio.c, wait (fault/sites.c).

    module.ko -> objdump -d -> instructions with weights -> some of them, drawn from a cell's seed
    fs/aio.o, System.map of a kernel that was built here -> the same

A wait before an instruction parts two statements of the driver. Most instructions between two
accesses of what racers share open the same window, so those that touch it weigh more: calls, above
all of locks, lists, timers and references, and what they return to; writes, and what follows them.
Most of all weigh the gaps in which no lock is held any more, or not yet: after an unlock, before a
lock; then what follows a call that lets another context run, a work queued, a waiter woken; both sides of a
call by pointer: a register that is read or written, a queue that is joined; the entry of a function that is called so,
a timer's or a work's; and what comes first under a lock: who
tries it, and an interrupt that wants it, come while it is held. An instruction that changes memory is a gap of
its own, between its read and its write (fault/at_split.h).
"""

from __future__ import annotations

import dataclasses
import json
import math
import random
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiotorture import paths, processes
from aiotorture.errors import ConfigurationError
from aiotorture.plan import Plan, duration_ns, number

OBJDUMP = ("objdump", "-d", "-r", "--no-show-raw-insn", "-j", ".text")
OBJDUMP_TIMEOUT_S = 120.0
# What the agent's knob site_turn is when no plan says it.
TURN = "0ms"
# No race has more turns: after them the first come again. A request to the agent is one line.
MOST_TURNS = 64
# The knobs that say how many stand at a time: of the target's modules, of those functions of them that belong to
# the plan's `path`, and of fs/aio.c; with the knob of each that says which is the first of the order.
FIRST_OF = {"sites": "site_from", "path_sites": "path_from", "kernel_sites": "kernel_site_from"}
ANY_PATH = "any"
# The kernel's own, in a site's name: places are counted from _stext on.
KERNEL = "vmlinux"
AIO_OBJECT = Path("fs/aio.o")
# Of the cache: another way to weigh makes other draws.
VERSION = 9

_FUNCTION = re.compile(r"[0-9a-f]+ <(?P<name>[^>]+)>:$")
_INSTRUCTION = re.compile(r"\s*(?P<at>[0-9a-f]+):\t(?P<text>.*\S)")
_RELOCATION = re.compile(r"\s+[0-9a-f]+: R_\S+\t(?P<symbol>[^\s+-]+)")
# An address that is handed on: of a static function by its place in .text, of others by name.
_ADDRESS = re.compile(r"\s+[0-9a-f]+: R_X86_64_(?P<kind>32S|64|PC32)\t(?P<symbol>[^\s+-]+)(?P<addend>[+-]0x[0-9a-f]+)?$")
_TARGET = re.compile(r"<(?P<symbol>[^>+]+)(?:\+0x[0-9a-f]+)?>$")
# Calls that a compiler or a tracer put there.
_INSTRUMENTED = re.compile(r"__fentry__|mcount|__(asan|tsan|kasan|kcsan|ubsan|sanitizer)_|__stack_chk")
_SYNCHRONISES = re.compile(
    r"lock|mutex|list|llist|rcu|atomic|refcount|kref|timer|complet|wait|wake|swait|queue|work|flush"
    r"|cancel|put|get|free|release|irq|tasklet|xa_|idr|ida_|bit|fput|unpin|unmap"
)
_NO_STATEMENT = re.compile(r"nop|int3|ud2|(data16|cs|repz?) |xchg +%ax,%ax|endbr|lea +0x0\(%[a-z]+\),")
_READS_ONLY = re.compile(r"cmp|test|lea|push|call|jmp|prefetch|bt[a-z]? |bt +|nop|j[a-z]+ ")
_MEMORY = re.compile(r"(?P<shared>-?[\w.]*\((?P<base>%\w+)?[^)]*\)|%gs:[^,\s]+)$")
# What the injector takes apart: reads and writes memory that is neither the stack's nor one CPU's own.
_CHANGES = re.compile(r"(add|sub|or|and|xor|inc|dec|bts|btr)[bwlq]? (?!.*(%gs:|\(%rsp)).*\)$")
_STACK = ("%rsp", "%rbp", "%esp", "%ebp")

_LOCKS = re.compile(r"(?<!un)lock|mutex_lock|down_(read|write)")
_UNLOCKS = re.compile(r"unlock|up_(read|write)$")

# After these another context may run with what was handed to it.
_HANDS_OVER = re.compile(
    r"queue_(delayed_)?work|schedule_work|__wake_up|wake_up_process|swake_up|complete(_all)?$|(mod|add)_timer"
    r"|hrtimer_start|smp_call_function|irq_work_queue|tasklet_.*schedule|call_rcu"
)

_INDIRECT = re.compile(r"\?$|__x86_indirect_(call_)?thunk")

_GAP = 128
_HANDED_OVER = 32
_BY_POINTER = 32
_LOCKED = 32
_CHANGES_UNLOCKED = 128
_CHANGES_LOCKED = 32
_SYNCHRONISING_CALL = 8
_CALL = 4
_ATOMIC = 8
_WRITE = 4
_READ = 2
_OTHER = 1


@dataclass(frozen=True)
class Site:
    """An instruction. `at`: its place in .text, so that nobody has to look the function up, which a
    kernel before 6.2 does name by name (kernel/kallsyms.c, kallsyms_lookup_name()). `weight`: how many
    times as likely it is drawn as one that does little."""

    function: str
    offset: int
    at: int
    weight: int

    def __str__(self) -> str:
        return f"{self.function}+{self.offset:#x}@{self.at:#x}"


@dataclass(frozen=True)
class _Instruction:
    offset: int
    at: int
    text: str
    symbol: str  # what a call goes to; empty: unknown, or no call


def _functions(listing: str) -> Iterator[tuple[str, list[_Instruction]]]:
    """Each function of objdump's listing with its instructions."""
    name, start = "", 0
    body: list[_Instruction] = []
    for line in listing.splitlines():
        if header := _FUNCTION.match(line):
            if name:
                yield name, body
            name, start, body = header["name"], int(line.split()[0], 16), []
        elif relocation := _RELOCATION.match(line):
            if body and not body[-1].symbol:
                last = body[-1]
                body[-1] = _Instruction(last.offset, last.at, last.text, relocation["symbol"])
        elif name and (instruction := _INSTRUCTION.match(line)):
            text = instruction["text"].split("#", 1)[0].rstrip()
            at = int(instruction["at"], 16)
            body.append(_Instruction(at - start, at, text, ""))
    if name:
        yield name, body


def _called_by_pointer(listing: str) -> tuple[set[str], set[int]]:
    """Functions whose address the code hands on, as it does those of timers, works and callbacks: by name, and by
    place in .text."""
    names: set[str] = set()
    places: set[int] = set()
    branches = False
    for line in listing.splitlines():
        if instruction := _INSTRUCTION.match(line):
            branches = instruction["text"].startswith(("call", "j"))
        elif not branches and (address := _ADDRESS.match(line)):
            if address["symbol"] == ".text":
                # a 32-bit displacement counts from behind itself, which ends the instruction
                behind = 4 if address["kind"] == "PC32" else 0
                places.add(int(address["addend"] or "0", 16) + behind)
            else:
                names.add(address["symbol"])
    return names, places


def _called(instruction: _Instruction) -> str | None:
    """What it calls, where it is a call of the driver's."""
    if not instruction.text.startswith("call"):
        return None
    target = _TARGET.search(instruction.text)
    symbol = instruction.symbol or (target["symbol"] if target else "")
    return None if _INSTRUMENTED.match(symbol) else symbol or "?"


def _of_call(symbol: str) -> int:
    if _INDIRECT.match(symbol):
        return _BY_POINTER
    return _SYNCHRONISING_CALL if _SYNCHRONISES.search(symbol) else _CALL


def _touches(text: str) -> int:
    """The weight of an instruction by what it does to memory that is not its stack's."""
    atomic = text.startswith("lock ") or (text.startswith("xchg") and "(" in text)
    operands = text.split(None, 1)[1] if " " in text else ""
    memory = _MEMORY.search(operands)
    writes = memory is not None and not _READS_ONLY.match(text)
    if atomic:
        return _ATOMIC
    if memory is not None and memory["base"] in _STACK:
        return _OTHER
    if writes:
        return _WRITE
    reads = "(" in operands and not text.startswith(("lea", "nop", "jmp", "call"))
    return _READ if reads and not any(f"({base}" in operands for base in _STACK) else _OTHER


def _weight(before: _Instruction | None, here: _Instruction, locked: bool) -> int:
    """Of a wait between the two. `locked`: the function took a lock above, and has not released it."""
    weights = [_OTHER]
    for instruction in (before, here):
        if instruction is None:
            continue
        called = _called(instruction)
        weights.append(_of_call(called) if called is not None else _touches(instruction.text))
    if (before and _UNLOCKS.search(_called(before) or "")) or _LOCKS.search(_called(here) or ""):
        weights.append(_GAP)
    if before and _LOCKS.search(_called(before) or ""):
        weights.append(_LOCKED)
    if _CHANGES.match(" ".join(here.text.split())):
        weights.append(_CHANGES_LOCKED if locked else _CHANGES_UNLOCKED)
    if before and _HANDS_OVER.match(_called(before) or ""):
        weights.append(_HANDED_OVER)
    return max(weights)


def candidates(listing: str) -> list[Site]:
    """What `objdump -d -r` lists of a module, in its order. A name that two functions have is
    ambiguous to the kernel, and left out."""
    functions = list(_functions(listing))
    named = Counter(name for name, _ in functions)
    names, places = _called_by_pointer(listing)
    found: list[Site] = []
    for name, body in functions:
        if named[name] > 1:
            continue
        before: _Instruction | None = None
        locked = False  # as the code lies, which is not always as it runs
        at_entry = name in names or (bool(body) and body[0].at in places)
        for here in body:
            instrumented = here.text.startswith("call") and _called(here) is None
            if not instrumented and not _NO_STATEMENT.match(here.text):
                weight = _weight(before, here, locked)
                found.append(Site(name, here.offset, here.at, max(weight, _BY_POINTER * at_entry)))
                at_entry = False
            called = _called(here) or ""
            locked = not _UNLOCKS.search(called) and (locked or bool(_LOCKS.search(called)))
            before = here
    return found


def of_module(module: bytes) -> list[Site]:
    """The sites of a built module, listed once for each content."""
    key = paths.content_hash([module, str(VERSION).encode()])
    kept = paths.cache_dir() / "sites" / f"{key}.json"
    if not kept.is_file():
        paths.write_atomically(kept, stored(candidates(_listing(module))))
    return read(kept)


def stored(sites: Sequence[Site]) -> bytes:
    """What `read` takes."""
    return json.dumps([[site.function, site.offset, site.at, site.weight] for site in sites]).encode()


def read(kept: Path) -> list[Site]:
    listed = json.loads(kept.read_text())
    return [Site(str(name), int(offset), int(at), int(weight)) for name, offset, at, weight in listed]


def of_kernel_build(build: Path) -> list[Site]:
    """Those of fs/aio.c in the image that was last linked in this folder, placed as KERNEL's are; none
    where the folder holds no object of it, as the headers of a stock kernel do not."""
    built, system_map = build / AIO_OBJECT, build / "System.map"
    if not built.is_file() or not system_map.is_file():
        return []
    return placed_in_kernel(of_module(built.read_bytes()), system_map.read_text())


def placed_in_kernel(sites: Sequence[Site], system_map: str) -> list[Site]:
    """An object's .text lies in one piece in the image: where, its functions agree on, but for names
    that another object has as well."""
    starts = {site.function: site.at - site.offset for site in sites}
    text = None
    bases: Counter[int] = Counter()
    for line in system_map.splitlines():
        address, _, name = line.split(" ", 2)
        if name == "_stext":
            text = int(address, 16)
        if name in starts:
            bases[int(address, 16) - starts[name]] += 1
    if text is None or not bases:
        return []
    base = bases.most_common(1)[0][0] - text
    return [dataclasses.replace(site, at=site.at + base) for site in sites]


def _listing(module: bytes) -> str:
    with tempfile.NamedTemporaryFile(suffix=".ko") as file:
        file.write(module)
        file.flush()
        said = processes.output([*OBJDUMP, Path(file.name)], timeout_s=OBJDUMP_TIMEOUT_S)
    if said.returncode:
        raise ConfigurationError(f"objdump: {said.stdout.strip()}")
    return said.stdout


def without(sites: Sequence[Site], functions: Sequence[str]) -> list[Site]:
    """Without functions whose names begin as one of these patterns says: those of a device that the module
    plays itself, which may be as slow as it likes and has faults of its own for that, for one."""
    patterns = [pattern for pattern in functions if pattern]
    return [site for site in sites if not any(re.match(pattern, site.function) for pattern in patterns)]


def drawn(modules: Mapping[str, Sequence[Site]], seed: int, count: int, first: int = 0) -> list[str]:
    """So many sites of these modules, as the injector takes them; the same for the same seed. `first`: those of
    the seed's order from there on, and after its last from its beginning.

    Weighted, without putting back: the largest u^(1/weight) (Efraimidis and Spirakis, 2006).
    """
    draw = random.Random(f"sites {seed}")
    keys = [
        (draw.random() ** (1 / site.weight), f"{name}:{site}")
        for name, sites in sorted(modules.items())
        for site in sites
    ]
    order = [site for _, site in sorted(keys, reverse=True)]
    first = first % len(order) if order else 0
    return (order[first:] + order[:first])[:count]


def only(sites: Sequence[Site], functions: str) -> list[Site]:
    """Those of functions whose names begin as this pattern says."""
    return [site for site in sites if re.match(functions, site.function)]


def for_turns(groups: Sequence[tuple[Sequence[str], int]]) -> list[str]:
    """The sites of each turn of a race together: so many of each group, one turn after another."""
    turns = max((math.ceil(len(names) / at_once) for names, at_once in groups if at_once), default=0)
    return [
        name
        for turn in range(turns)
        for names, at_once in groups
        for name in names[turn * at_once : (turn + 1) * at_once]
    ]


def at_once(plan: Plan, knob: str) -> int:
    """How many of one kind (FIRST_OF) stand at a time."""
    blind = plan.scenario.knob("blind") not in (None, "0")
    return 0 if blind else number(plan.scenario.knob(knob) or "0")


def placed(plan: Plan, cpus: int) -> bool:
    """Whether the agent may place them: who waits on the only CPU lets nobody in, unless the kernel is preempted
    there."""
    return cpus > 1 or plan.scenario.knob("preempt") == "full"


def order_of(plan: Plan, knob: str = "sites") -> tuple[int, int]:
    """The seed of the order in which the plan draws them, and the first one: its own seed and 0, unless cells of
    one search share an order, each with its part of it."""
    seed = number(plan.scenario.knob("site_order") or "0") or plan.seed or 0
    return seed, number(plan.scenario.knob(FIRST_OF[knob]) or "0")


def path_of(plan: Plan) -> str:
    """Which path of the target the plan takes, of those that few plans take; ANY_PATH: it does not say."""
    return plan.scenario.knob("path") or ANY_PATH


def wanted(plan: Plan, knob: str = "sites") -> int:
    """How many the plan needs: those that stand at a time, and as many for each turn of its race."""
    race_ns = duration_ns(plan.scenario.knob("time") or "10s")
    turn_ns = duration_ns(plan.scenario.knob("site_turn") or TURN)
    turns = min(1 + race_ns // turn_ns, MOST_TURNS) if turn_ns else 1
    return at_once(plan, knob) * turns
