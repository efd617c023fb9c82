"""Kernels: rows of kernels.toml, resolved against Debian's archive and unpacked in the cache.

    row -> newest image that the signed lists name -> its headers and Kbuild tools -> unpacked tree

What was resolved is pinned in the cache: later runs use it, also without a network, until
`kernels fetch` asks again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from aiotorture import paths, processes
from aiotorture.archive import Archive, DownloadFailed, Package
from aiotorture.errors import ConfigurationError

UNPACK_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Row:
    """One entry of kernels.toml."""

    series: str
    suites: tuple[str, ...]
    image: str
    headers: tuple[str, ...]
    modules: tuple[str, ...]
    tools: str
    default: bool


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel. `release` is what uname -r says in a guest."""

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

    @property
    def identity(self) -> str:
        return f"{self.release}_{self.version}"


def rows() -> dict[str, Row]:
    table = tomllib.loads((paths.ORCHESTRATE / "kernels.toml").read_text())["kernel"]
    return {
        series: Row(
            series,
            tuple(row["suites"]),
            row["image"],
            tuple(row["headers"]),
            tuple(row.get("modules", ())),
            row["tools"],
            bool(row.get("default", False)),
        )
        for series, row in table.items()
    }


def row_of(series: str) -> Row:
    known = rows()
    if series not in known:
        raise ConfigurationError(f"unknown kernel {series!r}; kernels.toml has {', '.join(known)}")
    return known[series]


def default_series() -> list[str]:
    return [row.series for row in rows().values() if row.default]


def _folder() -> Path:
    return paths.cache_dir() / "kernels"


def _pin_path(series: str) -> Path:
    return _folder() / f"{series}.json"


def pinned(series: str) -> Kernel | None:
    """The kernel that an earlier run resolved and unpacked, if it is still whole."""
    try:
        fields = json.loads(_pin_path(series).read_text())
        fields["packages"] = tuple(fields["packages"])
        fields["passed_over"] = tuple(fields["passed_over"])
        kernel = Kernel(**fields)
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
    return kernel if Path(kernel.image).is_file() and Path(kernel.headers).is_dir() else None


def _wanted_packages(row: Row, image: Package, abi: str, archive: Archive) -> list[tuple[str, str]]:
    """(name, version) of image, modules, headers and of the Kbuild tools the headers depend on."""
    wanted = [(image.name, image.version)]
    for template in row.modules + row.headers:
        name = template.format(abi=abi)
        wanted.append((name, image.version))
        for package in archive.packages(re.escape(name)):
            if package.version == image.version:
                wanted += [
                    (dependency, image.version)
                    for dependency in package.depends
                    if dependency.startswith("linux-kbuild-")
                ]
    return list(dict.fromkeys(wanted))


def _fix_header_makefiles(root: Path, final_root: Path) -> None:
    """Debian's header Makefiles include each other by absolute path; point them into the cache."""
    for makefile in (root / "usr/src").glob("linux-headers-*/Makefile"):
        if makefile.is_symlink() or makefile.stat().st_size > 4096:
            continue
        text = makefile.read_text()
        makefile.write_text(re.sub(r"(?m)^include /usr/", f"include {final_root}/usr/", text))


def _one(paths_found: list[Path], what: str) -> Path:
    if not paths_found:
        raise ConfigurationError(f"the kernel packages hold no {what}")
    return paths_found[0]


def _unpack(debs: list[Path], row: Row, abi: str, version: str, skipped: list[str]) -> Kernel:
    flavour = "rt-amd64" if row.series.endswith("-rt") else "amd64"
    release = f"{abi}-{flavour}"
    final = _folder() / f"{release}_{version}"
    with paths.published(final) as scratch:
        root = scratch / "root"
        for deb in debs:
            processes.output(
                ["dpkg-deb", "-x", deb, root], timeout_s=UNPACK_TIMEOUT_S
            ).check_returncode()
        _fix_header_makefiles(root, final / "root")
        boot = sorted(root.glob("boot/vmlinuz-*")) + sorted(
            root.glob(f"usr/lib/modules/{release}/vmlinuz*")
        )
        image = _one(boot, "kernel image")
        trees = [root / "lib/modules" / release, root / "usr/lib/modules" / release]
        modules = _one([t for t in trees if (t / "kernel").is_dir()], "modules")
        headers = _one([root / "usr/src" / f"linux-headers-{release}"], "headers")
        build_id = hashlib.sha256(image.read_bytes()).hexdigest()[:16]

        def placed(path: Path) -> str:
            return str(final / path.relative_to(scratch))

        return Kernel(
            series=row.series,
            abi=abi,
            release=release,
            version=version,
            folder=str(final),
            image=placed(image),
            modules=placed(modules),
            headers=placed(headers),
            build_id=build_id,
            packages=tuple(deb.name for deb in debs),
            passed_over=tuple(skipped),
        )


def fetch(series: str) -> Kernel:
    """Resolves the newest version of the series now, downloads and unpacks it, and pins it.

    A version whose packages the mirror does not deliver is passed over for the next older one.
    """
    row = row_of(series)
    archive = Archive(row.suites)
    with paths.locked(f"kernel-{series}"):
        print(f"set-up: resolving kernel {series} in {' '.join(row.suites)}", file=sys.stderr)
        archive.update()
        skipped: list[str] = []
        for image in archive.packages(row.image):
            named = re.fullmatch(row.image, image.name)
            if named is None:
                continue
            abi = named.group("abi")
            print(f"set-up: fetching {image.name} {image.version}", file=sys.stderr, flush=True)
            try:
                with tempfile.TemporaryDirectory(dir=paths.cache_dir()) as scratch:
                    debs = archive.download(
                        _wanted_packages(row, image, abi, archive), Path(scratch)
                    )
                    kernel = _unpack(debs, row, abi, image.version, skipped)
            except (DownloadFailed, subprocess.SubprocessError) as error:
                line = f"{image.name} {image.version}: {error}"
                print(f"set-up: passed over {line}", file=sys.stderr, flush=True)
                skipped.append(line)
                continue
            pin = json.dumps(dataclasses.asdict(kernel), indent=1)
            paths.write_atomically(_pin_path(series), pin.encode())
            return kernel
    raise ConfigurationError(
        f"no version of kernel {series} could be fetched from {' '.join(row.suites)}"
    )


def ensure(series: str) -> Kernel:
    """The pinned kernel, or a newly fetched one."""
    row_of(series)
    return pinned(series) or fetch(series)
