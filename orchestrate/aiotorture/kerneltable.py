"""The table of kernels: rows of kernels.toml and of the user, names, and what a kernel is once here.

    NAME            a row: 6.1, 6.12-rt, kasan, 7.3-kasan, one that `kernels add` entered
    NAME+MODE       the same kernel booted with preempt=MODE, where it has PREEMPT_DYNAMIC
    NAME+PATCH      a debug kernel linked anew with PATCH.patch of mutants/kernel/
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aiotorture import kconfig, paths
from aiotorture.errors import ConfigurationError

# Options that change what oracles can see, or what a plan may ask for; noted with each kernel.
FEATURES = (
    "PREEMPT_RT", "PREEMPT_DYNAMIC", "KASAN", "KCSAN", "PROVE_LOCKING", "DEBUG_ATOMIC_SLEEP",
    "DEBUG_OBJECTS", "DEBUG_LIST", "DMA_API_DEBUG", "DEBUG_KMEMLEAK", "FAULT_INJECTION", "FAILSLAB",
    "FAIL_PAGE_ALLOC", "FAIL_FUNCTION", "KPROBES", "FUNCTION_TRACER", "DEBUG_INFO_BTF",
)  # fmt: skip
# How many times as long a race may take under emulation with the option on: bounds with room to
# spare, not rates, since a race ends when its racers have met. Several at once multiply.
SLOWDOWN = {"KASAN": 4.0, "PROVE_LOCKING": 6.0, "DEBUG_KMEMLEAK": 3.0, "KCSAN": 6.0}
HOST_TOOLS = "host"


class Kind(enum.Enum):
    """Where a kernel comes from."""

    STOCK = "stock"
    DEBUG = "debug"
    OWN = "own"
    HOST = "local"


@dataclass(frozen=True)
class Row:
    """One kernel that can be asked for by name."""

    series: str
    suites: tuple[str, ...] = ()
    image: str = ""
    headers: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    tools: str = HOST_TOOLS
    default: bool = False
    kind: Kind = Kind.STOCK
    compiler: str = ""
    source: str = ""
    good_for: str = ""
    family: str = ""
    checks: tuple[str, ...] = ()
    steps: int = 0
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel. `release` is what uname -r says in a guest; `headers` is what make -C
    takes; `tools` names the build root that its modules are built in, `host` for none."""

    series: str
    abi: str
    release: str
    version: str
    folder: str
    image: str
    modules: str
    headers: str
    build_id: str
    packages: tuple[str, ...]
    passed_over: tuple[str, ...] = ()
    kind: str = Kind.STOCK.value
    tools: str = HOST_TOOLS
    compiler: str = ""
    features: tuple[str, ...] = ()
    cmdline: tuple[str, ...] = ()
    config_id: str = ""
    # the build that modules are built against, where the image is of another one
    built_for: str = ""

    @property
    def modules_id(self) -> str:
        """What a module that is built for it depends on."""
        return f"{self.identity} {self.built_for or self.build_id}"

    @property
    def identity(self) -> str:
        return f"{self.release}_{self.version}"

    def is_whole(self) -> bool:
        return Path(self.image).is_file() and Path(self.headers).is_dir()


def features_of(headers: Path) -> tuple[str, ...]:
    """Which of FEATURES the configuration beside the headers has; none when it is not there."""
    config = headers / ".config"
    if not config.is_file():
        return ()
    options = kconfig.read(config)
    return tuple(name for name in FEATURES if kconfig.is_on(options, name))


def slowdown(options: Iterable[str]) -> float:
    return math.prod(SLOWDOWN.get(option, 1.0) for option in options)


def folder() -> Path:
    return paths.cache_dir() / "kernels"


def own_folder() -> Path:
    return folder() / "own"


def _own_rows() -> dict[str, Row]:
    rows = {}
    for entry in sorted(own_folder().glob("*.json")):
        try:
            fields = json.loads(entry.read_text())
            rows[entry.stem] = Row(
                entry.stem,
                kind=Kind.OWN,
                paths=(fields["image"], fields["headers"], fields["modules"]),
                good_for=f"your own: {fields['given']}",
            )
        except (OSError, ValueError, KeyError):
            continue
    return rows


def _debug_row(name: str, family: str, entry: dict[str, object], series: Row) -> Row:
    checks = entry["checks"]
    steps = entry.get("steps", 0)
    assert isinstance(checks, list) and isinstance(steps, int)
    return Row(
        name,
        suites=series.suites,
        source=series.source,
        kind=Kind.DEBUG,
        family=family,
        checks=tuple(checks),
        steps=steps,
        good_for=str(entry.get("good_for", "")),
    )


def rows() -> dict[str, Row]:
    """Every kernel by name, without the preempt= variants."""
    table = tomllib.loads((paths.ORCHESTRATE / "kernels.toml").read_text())
    found = {
        name: Row(
            name,
            suites=tuple(row["suites"]),
            image=row["image"],
            headers=tuple(row["headers"]),
            modules=tuple(row.get("modules", ())),
            tools=row["tools"],
            default=bool(row.get("default", False)),
            compiler=row.get("compiler", ""),
            source=row.get("source", ""),
            good_for=row.get("good_for", ""),
        )
        for name, row in table["kernel"].items()
    }
    stock = list(found.values())
    for family, entry in table.get("debug", {}).items():
        found[family] = _debug_row(family, family, entry, found[entry["series"]])
        for series in stock:
            name = f"{series.series}-{family}"
            if series.source and series.series != entry["series"]:
                found[name] = _debug_row(name, family, entry, series)
    return found | _own_rows()


def split_name(name: str) -> tuple[str, str]:
    """(row, preemption mode, patch or nothing)."""
    base, _, mode = name.partition("+")
    return base, mode


def row_of(name: str) -> Row:
    known = rows()
    base, _ = split_name(name)
    if base not in known:
        raise ConfigurationError(f"unknown kernel {base!r}; there are {', '.join(known)}")
    return known[base]


def default_series() -> list[str]:
    return [row.series for row in rows().values() if row.default]


def _pin_path(name: str) -> Path:
    return folder() / "pins" / f"{name}.json"


def write_kernel(path: Path, kernel: Kernel) -> None:
    text = json.dumps(dataclasses.asdict(kernel), indent=1)
    paths.write_atomically(path, text.encode())


def pin(kernel: Kernel) -> Kernel:
    """Makes it what the name stands for from now on."""
    write_kernel(_pin_path(kernel.series), kernel)
    return kernel


def read_kernel(path: Path) -> Kernel | None:
    """What write_kernel() wrote, if the kernel is still whole."""
    try:
        fields = json.loads(path.read_text())
        lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
        kernel = Kernel(**{**fields, **lists})
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return kernel if kernel.is_whole() else None


def pinned(name: str) -> Kernel | None:
    """The kernel that an earlier run resolved, unpacked or built, if it is still whole."""
    return read_kernel(_pin_path(split_name(name)[0]))
