"""`kernels list` and `kernels fetch SERIES…`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from aiotorture import kernels, packages
from aiotorture.cli import parser


def main(arguments: Sequence[str]) -> int:
    made = parser("kernels")
    made.add_argument("action", nargs="?", choices=("list", "fetch"), default="list")
    made.add_argument("series", nargs="*", help="rows of kernels.toml (default: the default row)")
    given = made.parse_args(arguments)
    if given.action == "fetch":
        packages.ensure(("debian-archive-keyring",))
        wanted = given.series or kernels.default_series()
        for series in wanted:
            kernels.row_of(series)
        for series in wanted:
            fetched = kernels.fetch(series)
            if not given.json:
                print(f"{series}: {fetched.release} {fetched.version}")
    known = {series: kernels.pinned(series) for series in kernels.rows()}
    if given.json:
        print(json.dumps({s: dataclasses.asdict(k) if k else None for s, k in known.items()}))
    elif given.action == "list":
        for series, kernel in known.items():
            what = f"{kernel.release} {kernel.version}" if kernel else "not fetched"
            print(f"{series:8} {what}")
    return 0
