"""`kernels list`, `fetch NAME…`, `build NAME…`, `add NAME PATH`, `speed NAME…`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiotorture import kernels, kernelspeed, ownkernel
from aiotorture.cli import parser
from aiotorture.errors import ConfigurationError
from aiotorture.kernels import Kernel, Kind, Row

HELP = """actions:
  list             every kernel: series, flavour, what it resolved to, what it is good for
  fetch NAME…      resolve the newest version now; default: the default row
  build NAME…      build a debug kernel from the newest sources of its series
  add NAME PATH    enter your own: a built tree, an unpacked root, or an image
  speed NAME…      requests a second of one cell on each, in turns, beside the first one

"""


def _state(row: Row, kernel: Kernel | None) -> str:
    if row.kind is Kind.OWN:
        return "added"
    if kernel is None:
        return "not built" if row.kind is Kind.DEBUG else "not fetched"
    return "built" if row.kind is Kind.DEBUG else "fetched"


def _flavour(row: Row) -> str:
    if row.kind is Kind.STOCK:
        return "rt" if row.series.endswith("-rt") else "standard"
    return str(row.kind.value)


def _described(name: str, row: Row) -> dict[str, Any]:
    kernel = kernels.pinned(name)
    return {
        "name": name,
        "series": row.source.removeprefix("linux-source-") or name.removesuffix("-rt"),
        "flavour": _flavour(row),
        "state": _state(row, kernel),
        "release": kernel.release if kernel else None,
        "version": kernel.version if kernel else None,
        "preempt": list(kernels.preempt_modes(kernel)) if kernel else None,
        "features": list(kernel.features) if kernel else None,
        "good_for": row.good_for,
        "kernel": dataclasses.asdict(kernel) if kernel else None,
    }


def _list() -> list[dict[str, Any]]:
    return [_described(name, row) for name, row in kernels.rows().items()]


def _print_list(described: list[dict[str, Any]]) -> None:
    """Debug kernels of other series than a family's own are shown once they are built."""
    shown = [e for e in described if e["release"] or e["flavour"] != "debug" or "-" not in e["name"]]
    width = max(len(entry["name"]) for entry in shown)
    for entry in shown:
        resolved = f"{entry['release']} ({entry['version']})" if entry["release"] else entry["state"]
        print(f"{entry['name']:{width}}  {entry['flavour']:8}  {resolved:38}  {entry['good_for']}")
    print("\nSERIES-FAMILY (7.3-kasan) is a debug kernel of another series; NAME+MODE boots preempt=MODE")


def _fetch(names: Sequence[str]) -> list[Kernel]:
    for name in names:
        kernels.row_of(name)
    return [kernels.fetch(name) for name in names]


def _build(names: Sequence[str]) -> list[Kernel]:
    if not names:
        raise ConfigurationError("kernels build: name the debug kernels to build")
    for name in names:
        kernels.row_of(name)
    return [kernels.build(name) for name in names]


def _add(given: argparse.Namespace) -> list[Kernel]:
    if len(given.words) != 2:
        raise ConfigurationError("kernels add takes a NAME and a PATH")
    name, path = given.words
    ownkernel.add(name, Path(path), given.headers, given.modules)
    return [kernels.ensure(name)]


def _speed(given: argparse.Namespace) -> int:
    names = kernels.names(given.words)
    if len(names) < 2:
        raise ConfigurationError("kernels speed: name the kernel to compare with, and another")
    found = kernelspeed.measure(
        names, given.turns, given.time, lambda line: print(line, file=sys.stderr, flush=True)
    )
    if given.json:
        print(json.dumps({speed.kernel: speed.as_json() for speed in found}))
        return 0
    print("kernel      requests/s  of the first   first iocb")
    for speed in found:
        rate, start = statistics.median(speed.rates), statistics.median(speed.start_s)
        print(f"{speed.kernel:10}  {rate:10.0f}  {speed.ratio:12.2f}  {start:9.2f} s")
    return 0


def main(arguments: Sequence[str]) -> int:
    made = parser("kernels")
    made.epilog = HELP + (made.epilog or "")
    made.add_argument(
        "action", nargs="?", choices=("list", "fetch", "build", "add", "speed"), default="list"
    )
    made.add_argument("words", nargs="*", metavar="NAME", help="kernels, as `list` names them")
    made.add_argument("--headers", type=Path, metavar="DIR", help="add: where the headers lie")
    made.add_argument("--modules", type=Path, metavar="DIR", help="add: where the modules lie")
    made.add_argument("--turns", type=int, default=3, help="speed: how often each kernel runs")
    made.add_argument("--time", default="5s", help="speed: of one race")
    given = made.parse_args(arguments)
    if given.action == "speed":
        return _speed(given)
    if given.action == "list":
        described = _list()
        by_name = {entry["name"]: entry for entry in described}
        print(json.dumps(by_name)) if given.json else _print_list(described)
        return 0
    if given.action == "fetch":
        done = _fetch(given.words or kernels.default_series())
    else:
        done = _build(given.words) if given.action == "build" else _add(given)
    if given.json:
        print(json.dumps({kernel.series: dataclasses.asdict(kernel) for kernel in done}))
    else:
        for kernel in done:
            print(f"{kernel.series}: {kernel.release} {kernel.version}")
    return 0
