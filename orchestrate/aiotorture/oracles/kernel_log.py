"""The kernel-log oracle: a console's text → findings with stable titles.

The console belongs to the kernel alone, but several CPUs write to it: with printk's caller prefix
(`[T123]`, `[C0]`) each writer's lines are put together again; without it a line that begins in the
middle of another is split off. A report is all lines from the one that opens it to its end. Its
title names the innermost frame that says something (kernel_rules.SKIP lists those that do not), and
neither title nor signature holds an address, a count, a time or a thread number.

A report that an earlier one explains (the panic after an oops, the tasks that hang after a task
died with a lock) is marked secondary and told in the first one's evidence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aiotorture.finding import Finding
from aiotorture.oracles.kernel_rules import (
    AIO_CORE,
    BASE,
    BENIGN,
    BODY,
    CARRIERS,
    CUT,
    END,
    HELPERS,
    PORT_MODULES,
    RULER,
    RULES,
    SKIP,
    TITLE_FOR,
    Blame,
    Rule,
    Weight,
)

MAX_REPORT_LINES = 400
"""Longest report kept, lines: an all-CPU backtrace of 8 CPUs has about 300."""
MAX_GAP_S = 1.5
"""Longest silence inside a report, s of guest time: one line takes 10 ms on a serial console."""
SIGNATURE_FRAMES = 2

_PREFIX = re.compile(
    r"(?:<\d+>)?\[ {0,8}(?P<stamp>\d{1,7}\.\d{6})\](?:\[ *(?P<caller>[TC]\d+)\])? ?"
)
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_FRAME = re.compile(
    r"^\s*(?:RIP: 0010:|RIP: 0010:\[<[0-9a-f]+>\] +|pc : |EIP: )?(?:\[<[0-9a-fx]+>\] +)?"
    r"(?P<unsure>\? +)?(?P<function>[A-Za-z_][\w.$]*)\+0x[0-9a-f]+/0x[0-9a-f]+"
    r"(?: \[(?P<module>[\w-]+)[^\]]*\])?"
)
_INLINED = re.compile(r"^\s+(?P<function>[A-Za-z_]\w*) \S+:\d+ \[inline\]")
_RIP = re.compile(r"^(?:RIP: 0010:|pc : )")
_OWNER = re.compile(r"^\s*(?:INFO: )?(?P<what>Allocated|Freed) in (?P<function>[A-Za-z_][\w.]*)")
_KASAN_STACK = re.compile(r"^(?P<what>Allocated|Freed) by task")
_SYSCALL = re.compile(r"^__(?:x64|ia32|arm64|do|se|do_compat)_sys_")
_HOLDER = re.compile(r", at: (?P<function>[A-Za-z_][\w.]*)\+0x")
_TRACE_WITHOUT_HEADING = frozenset({"kfence", "kmsan", "kmemleak"})
_SUFFIX = re.compile(r"\.(?:isra|constprop|part|cold|llvm|lto_priv)(?:\.?\d+)?")
_ACCESS = re.compile(r"^(?P<access>Read|Write) of size")
_PENDING_WORK = re.compile(r"^\s*(?:in-flight|pending): (?:\d+:)?(?P<work>[A-Za-z_]\w*)")
_DUMPED = re.compile(r"^page dumped because: (?P<why>.*)")
_WORK_ITEM = re.compile(r"^Workqueue: \S+ (?P<function>[A-Za-z_][\w.]*)")
_FREE_TEXT = frozenset({"panic", "unrecognised", "slab", "dma-api", "iommu"})
_NUMBER = re.compile(r"\b(?:0x)?[0-9a-f]*\d[0-9a-f]*\b")


@dataclass(frozen=True)
class Line:
    """One line as its writer meant it. `number` counts the console's lines from 1."""

    number: int
    stamp: float | None
    caller: str
    text: str
    raw: str


@dataclass(frozen=True)
class Report:
    """One kernel report. `lines`: the whole report as it stood on the console."""

    kind: str
    oracle: str
    title: str
    signature: str
    lines: tuple[str, ...]
    first_line: int
    lockup: bool
    weight: Weight
    secondary: bool = False
    times: int = 1


def split_lines(console: bytes | str) -> list[Line]:
    """The console's lines, carriage returns and colours removed, run-together lines split."""
    text = console.decode("utf-8", "replace") if isinstance(console, bytes) else console
    lines: list[Line] = []
    for number, raw in enumerate(text.split("\n"), start=1):
        clean = _ANSI.sub("", raw).replace("\r", "").replace("\0", "")
        marks = list(_PREFIX.finditer(clean))
        if not marks or marks[0].start() > 0:
            head = clean[: marks[0].start()] if marks else clean
            lines.append(Line(number, None, "", head, head))
        for index, mark in enumerate(marks):
            end = marks[index + 1].start() if index + 1 < len(marks) else len(clean)
            lines.append(
                Line(
                    number,
                    float(mark["stamp"]),
                    mark["caller"] or "",
                    clean[mark.end() : end],
                    clean[mark.start() : end],
                )
            )
    return lines


def benign(text: str) -> str | None:
    """The reason why a line that looks like trouble is none, or None."""
    for each in BENIGN:
        if each.line.search(text):
            return each.reason
    return None


def reports(console: bytes | str) -> list[Report]:
    """Every report of the console in order of appearance; a repeated one once, with its count."""
    lines = split_lines(console)
    streams: dict[str, list[Line]] = {}
    for line in lines:
        streams.setdefault(line.caller, []).append(line)
    found = [report for stream in streams.values() for report in _stream_reports(stream)]
    found.sort(key=lambda report: report.first_line)
    return _mark_secondary(_deduplicate(found))


def findings(console: bytes | str) -> list[Finding]:
    """The primary reports as findings; what they led to is told at the end of their evidence."""
    found: list[Finding] = []
    tails: list[list[str]] = []
    for report in reports(console):
        if report.secondary and found:
            tails[-1].append(f"then: {report.title}")
            continue
        found.append(
            Finding(
                report.oracle,
                report.title,
                report.signature,
                report.lines,
                lockup=report.lockup,
            )
        )
        tails.append([f"seen {report.times} times"] if report.times > 1 else [])
    return [
        replace(finding, evidence=finding.evidence + tuple(tail))
        for finding, tail in zip(found, tails, strict=True)
    ]


def read_console(path: Path) -> list[Finding]:
    """The findings of a console file; none when there is no such file."""
    return findings(path.read_bytes()) if path.exists() else []


_BREAKPOINT = re.compile(r"^(?:Oops: )?int3: [0-9a-f]{4} \[#1\]")
_AT = re.compile(r"^RIP: [0-9a-f]{4}:(?P<function>[\w.]+)\+")
# The byte in <> is the next that the CPU would have taken; a breakpoint is the one byte before it.
_BYTES = re.compile(r"^Code: .*\b(?P<before>[0-9a-f]{2}) <[0-9a-f]{2}>")
_INT3 = "cc"


def stale_breakpoint(console: bytes | str) -> str | None:
    """The function in which a CPU trapped at a breakpoint that is not in the kernel's text (any more), where
    that was the first oops. An emulated CPU may run code that it translated while another one patched it; since
    6.9 the kernel does not look whether the breakpoint is still there (arch/x86/kernel/kprobes/core.c,
    kprobe_int3_handler())."""
    function = None
    trapped = False
    for line in split_lines(console):
        if not trapped:
            trapped = _BREAKPOINT.match(line.text) is not None
        elif function is None:
            at = _AT.match(line.text)
            function = at["function"] if at else None
        elif code := _BYTES.match(line.text):
            return function if code["before"] != _INT3 else None
    return None


# --- from lines to reports -----------------------------------------------------------------------


def _opening(text: str) -> tuple[Rule, re.Match[str]] | None:
    if benign(text) is not None:
        return None
    for rule in RULES:
        match = rule.start.match(text)
        if match is not None:
            return rule, match
    return None


def _stream_reports(lines: Sequence[Line]) -> Iterable[Report]:
    index = 0
    while index < len(lines):
        opened = _opening(lines[index].text)
        if opened is None:
            index += 1
            continue
        end = _end(lines, index, opened[0])
        carried = _carried_text(lines, index, opened[0])
        report = _report(*(carried or opened), lines, index, end)
        if report.kind != "kcsan" or _is_of_code_under_test([line.text for line in lines[index:end]]):
            yield report
        index = end


def _is_of_code_under_test(race: Sequence[str]) -> bool:
    """Does one of the two accesses of a data race stand in a module or in fs/aio.c, or in a helper that works for
    its caller (a list's, memcpy())? The kernel's core has races with itself that its maintainers know and leave
    (do_nanosleep() and hrtimer_wakeup(), for one): they say nothing of a driver."""
    looking = False
    for text in race:
        frame = _FRAME.match(text)
        if frame is None:
            looking = looking or " bytes by " in text
            continue
        name = _plain(frame["function"])
        if not looking or HELPERS.match(name):
            continue
        looking = False
        module = frame["module"] or ""
        if (module and not PORT_MODULES.match(module)) or AIO_CORE.match(name):
            return True
    return False


def _carried_text(
    lines: Sequence[Line], first: int, rule: Rule
) -> tuple[Rule, re.Match[str]] | None:
    """The text of a WARN that stands behind its header instead of in front of it."""
    if rule.kind != "warning":
        return None
    for line in lines[first + 1 : first + 3]:
        opened = _opening(line.text)
        if opened is not None and opened[0].carried:
            return opened
    return None


def _end(lines: Sequence[Line], first: int, rule: Rule) -> int:
    """Index behind the last line of the report that opens at `first`."""
    traced = rule.compact
    stamp = lines[first].stamp
    for index in range(first + 1, min(len(lines), first + MAX_REPORT_LINES)):
        text = lines[index].text
        if _pause(stamp, lines[index].stamp):
            return index
        stamp = lines[index].stamp or stamp
        if END.match(text) and not (RULER.match(text) and not traced):
            return index + 1
        if CUT.match(text) and (traced or not rule.carried):
            return index
        if _opens_another(text, rule, traced):
            return index
        if text.startswith(("Call Trace", "Call trace")) or _OWNER.match(text):
            traced = True
        elif traced and BODY.match(text) is None:
            return index
    return min(len(lines), first + MAX_REPORT_LINES)


def _pause(before: float | None, after: float | None) -> bool:
    return before is not None and after is not None and after - before > MAX_GAP_S


def _opens_another(text: str, rule: Rule, traced: bool) -> bool:
    opened = _opening(text)
    if opened is None:
        return False
    if traced:
        return True
    if rule.kind == "warning" and opened[0].carried:
        return False
    if rule.weight is Weight.DIES and CARRIERS.match(text):
        return False
    return not (rule.carried and CARRIERS.match(text))


def _before(lines: Sequence[Line], first: int) -> int:
    """Index of the ruler or the `cut here` above the opening line, or `first`."""
    for back in range(1, 4):
        index = first - back
        if index < 0 or END.match(lines[index].text) and not RULER.match(lines[index].text):
            break
        if CUT.match(lines[index].text) or RULER.match(lines[index].text):
            return index
    return first


def _report(
    rule: Rule, match: re.Match[str], lines: Sequence[Line], first: int, end: int
) -> Report:
    texts = [line.text for line in lines[first:end]]
    frames = _frames(rule, match, texts)
    title = _title(rule, match, texts, frames)
    words = [rule.oracle, _signature_kind(rule, match), *frames[:SIGNATURE_FRAMES]]
    if rule.kind == "kcsan":
        words = [rule.oracle, "kcsan", *_pair(match)]
    return Report(
        kind=rule.kind,
        oracle=rule.oracle,
        title=title,
        signature=":".join(words),
        lines=tuple(line.raw for line in lines[_before(lines, first) : end]),
        first_line=lines[first].number,
        lockup=rule.lockup,
        weight=rule.weight,
    )


def _signature_kind(rule: Rule, match: re.Match[str]) -> str:
    what = match.groupdict().get("what")
    if not what or rule.kind in ("file-count", "stack-end", "lockdep-deadlock"):
        return rule.kind
    return f"{rule.kind}/{_worded(rule, what).replace(' ', '-')}"


def _worded(rule: Rule, what: str) -> str:
    """The report's own words; free text loses its numbers, slab's words are those of TITLE_FOR."""
    for start, word in TITLE_FOR.items():
        if rule.kind == "slab" and what.startswith(start):
            return word
    return _scrub(what) if rule.kind in _FREE_TEXT else what.strip()


def _scrub(text: str) -> str:
    """Words without the numbers, addresses and names that change from run to run."""
    return re.sub(r"\s+", " ", _NUMBER.sub("N", text)).strip(" .:")


def _pair(match: re.Match[str]) -> list[str]:
    return sorted(_plain(name) for name in (match["first"], match["second"]) if name)


def _title(rule: Rule, match: re.Match[str], texts: Sequence[str], frames: Sequence[str]) -> str:
    groups = {name: value or "" for name, value in match.groupdict().items()}
    groups["frame"] = frames[0] if frames else "unknown"
    groups["what"] = _worded(rule, groups.get("what", ""))
    groups["access"] = ""
    if rule.kind == "kasan":
        access = next((m for text in texts if (m := _ACCESS.match(text))), None)
        groups["access"] = f" {access['access']}" if access else ""
    elif rule.kind == "kcsan":
        groups["pair"] = " / ".join(_pair(match))
    elif rule.kind == "workqueue-lockup":
        work = next((m for text in texts if (m := _PENDING_WORK.match(text))), None)
        groups["work"] = work["work"] if work else "unknown"
    elif rule.kind == "bad-page":
        dumped = next((m for text in texts if (m := _DUMPED.match(text))), None)
        groups["dumped"] = dumped["why"] if dumped else "unknown"
    elif rule.kind == "iommu":
        event = groups.get("event", "")
        groups["fault"] = event or f"DMA {match['access']}, {groups['what']}"
    return rule.title.format(**groups)


# --- frames --------------------------------------------------------------------------------------


def _plain(function: str) -> str:
    """A function's name without what the compiler and the syscall macros added to it."""
    return _SYSCALL.sub("", _SUFFIX.sub("", function))


def _frames(rule: Rule, match: re.Match[str], texts: Sequence[str]) -> list[str]:
    """The frames to blame, innermost first, as the rule says where to look."""
    if rule.blame is Blame.NOBODY:
        return []
    everywhere = rule.kind in _TRACE_WITHOUT_HEADING
    named = match.groupdict().get("function")
    if named and rule.blame is Blame.TEXT and not _passed_over(_plain(named)):
        inner = [_plain(named)]
        return inner + [name for name in _trace(texts, everywhere) if name != inner[0]]
    if rule.blame in (Blame.FREED, Blame.ALLOCATED):
        what = match.groupdict().get("what") or ""
        if "Poison" in what or "Freepointer" in what or "Freechain" in what:
            owner = _owner(texts, "Freed") or _owner(texts, "Allocated")
        elif "Objects remaining" in what or "Redzone" in what or "adding" in what:
            owner = _owner(texts, "Allocated")
        else:
            owner = []
        if owner:
            return owner
    frames = _trace(texts, everywhere, through_interrupts=rule.weight is Weight.STALL)
    # a guest may end before its stack is told; the opening line names the function where it is a helper, too
    return frames or ([_plain(named)] if named else [])


def _owner(texts: Sequence[str], what: str) -> list[str]:
    """Who allocated or freed the object, from slub's tracks or KASAN's stacks."""
    frames: list[str] = []
    inside = False
    for text in texts:
        track = _OWNER.match(text)
        if track is not None:
            if inside:
                break
            inside = track["what"] == what
            if inside:
                frames.append(_plain(track["function"]))
            continue
        if inside:
            frame = _FRAME.match(text)
            if frame is None:
                break
            name = _plain(frame["function"])
            if not frames or frames[-1] != name:
                frames.append(name)
    return _relevant(frames)


def _trace(
    texts: Sequence[str], everywhere: bool = False, through_interrupts: bool = False
) -> list[str]:
    """RIP's function and the frames of the first call trace, those that say something.

    What an interrupt interrupted has nothing to do with what the interrupt did, but for a stall:
    there the interrupt is only the watchdog's.
    """
    frames: list[str] = []
    tracing = everywhere
    for text in texts:
        if _RIP.match(text):
            rip = _FRAME.match(text)
            if rip is not None and not tracing:
                frames.append(_plain(rip["function"]))
            continue
        if text.startswith(("Call Trace", "Call trace", "backtrace")):
            if tracing and _relevant(frames):
                break
            tracing = True
            continue
        if not tracing:
            continue
        if text.strip() in ("</IRQ>", "</SOFTIRQ>") and not through_interrupts:
            break
        frame = _FRAME.match(text)
        if frame is None:
            inlined = _INLINED.match(text)
            if inlined is not None:
                frames.append(inlined["function"])
            elif not text[:1].isspace() and _relevant(frames):
                break
            continue
        name = _plain(frame["function"])
        if not frame["unsure"] and (not frames or frames[-1] != name):
            frames.append(name)
    return _relevant(frames) or _last_resort(texts, frames)


def _last_resort(texts: Sequence[str], frames: Sequence[str]) -> list[str]:
    """When a tail call left only frames that are under every stack: the work item, or they."""
    work = next((m for text in texts if (m := _WORK_ITEM.match(text))), None)
    if work is not None:
        return [_plain(work["function"])]
    holders = (m for text in texts if (m := _HOLDER.search(text)))
    frames = frames or [_plain(holder["function"]) for holder in holders]
    return [name for name in frames if SKIP.match(name) is None]


def _passed_over(name: str) -> bool:
    return SKIP.match(name) is not None or BASE.match(name) is not None


def _relevant(frames: Sequence[str]) -> list[str]:
    """The frames that say something, up to the first that is under every stack."""
    kept: list[str] = []
    for name in frames:
        if BASE.match(name) and kept:
            break
        if not _passed_over(name) and name not in kept[-1:]:
            kept.append(name)
    return kept


# --- what led to what ----------------------------------------------------------------------------


def _deduplicate(found: Sequence[Report]) -> list[Report]:
    first: dict[str, Report] = {}
    for report in found:
        same = first.get(report.signature)
        first[report.signature] = (
            report if same is None else replace(same, times=same.times + 1)
        )
    return list(first.values())


def _explains(earlier: Report, later: Report) -> bool:
    if later.kind == "kmemleak" and "new suspected" in later.lines[0]:
        return earlier.kind == "kmemleak"
    if later.kind == "panic" or earlier.weight is Weight.DIES:
        return True
    if earlier.weight is Weight.CORRUPTS:
        return later.weight is not Weight.NOTICE or later.kind == "warning"
    if earlier.weight is Weight.STALL:
        return later.weight is Weight.STALL
    return earlier.kind.startswith("lockdep-") and later.weight is Weight.STALL


def _lockups_first(found: Sequence[Report]) -> list[Report]:
    """Puts a lock-up before the RCU stall of the same frames: which timer fires first is chance."""
    ordered = list(found)
    for index, report in enumerate(found):
        if report.kind != "rcu-stall":
            continue
        for later in found[index + 1 :]:
            if later.kind in ("soft-lockup", "hard-lockup") and _place(later) == _place(report):
                other = ordered.index(later)
                mine = ordered.index(report)
                ordered[mine], ordered[other] = later, report
                break
    return ordered


def _place(report: Report) -> str:
    return report.signature.split(":", 2)[-1]


def _mark_secondary(found: Sequence[Report]) -> list[Report]:
    marked: list[Report] = []
    for report in _lockups_first(found):
        secondary = any(_explains(each, report) for each in marked if not each.secondary)
        marked.append(replace(report, secondary=secondary))
    return marked
