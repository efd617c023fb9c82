"""Debian's own kernels: resolved against the signed lists, downloaded, unpacked in the cache.

    row -> newest image that the lists name -> its headers and Kbuild tools -> unpacked tree
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from aiotorture import kerneltable, paths, processes
from aiotorture.archive import Archive, DownloadFailed, Package
from aiotorture.errors import ConfigurationError
from aiotorture.kerneltable import Kernel, Row

UNPACK_TIMEOUT_S = 300.0


# What a headers package needs beside itself, and what the image's name does not tell.
HEADERS_DEPEND = re.compile(r"linux-headers-.+-common(-rt)?|linux-kbuild-.+")


def _listed(archive: Archive, name: str, version: str) -> Package | None:
    """The package at that version; at its newest where the lists no longer carry that one (Kbuild's
    tools of 5.10 keep their name from version to version)."""
    found = archive.packages(re.escape(name))
    return next((p for p in found if p.version == version), found[0] if found else None)


def _wanted_packages(row: Row, image: Package, abi: str, archive: Archive) -> list[tuple[str, str]]:
    """(name, version) of image, modules, headers and of what the headers depend on."""
    wanted = [(image.name, image.version)]
    for template in row.modules + row.headers:
        name = template.format(abi=abi)
        wanted.append((name, image.version))
        package = _listed(archive, name, image.version)
        for dependency in package.depends if package else ():
            if HEADERS_DEPEND.fullmatch(dependency):
                needed = _listed(archive, dependency, image.version)
                wanted.append((dependency, needed.version if needed else image.version))
    return list(dict.fromkeys(wanted))


def _fix_header_makefiles(root: Path, final_root: Path) -> None:
    """Debian's header Makefiles name each other by absolute path; point them into the cache."""
    for makefile in (root / "usr/src").glob("linux-headers-*/Makefile"):
        if makefile.is_symlink() or makefile.stat().st_size > 4096:
            continue
        text = makefile.read_text()
        moved = re.sub(r"(?m)^(include |KBUILD_OUTPUT=)/usr/", rf"\g<1>{final_root}/usr/", text)
        makefile.write_text(moved)


def _one(paths_found: list[Path], what: str) -> Path:
    if not paths_found:
        raise ConfigurationError(f"the kernel packages hold no {what}")
    return paths_found[0]


def _release(row: Row, abi: str) -> str:
    return f"{abi}-{'rt-amd64' if row.series.endswith('-rt') else 'amd64'}"


def _unpack(debs: list[Path], row: Row, abi: str, version: str, skipped: list[str]) -> Kernel:
    release = _release(row, abi)
    final = _folder_of(row, abi, version)
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

        def placed(path: Path) -> str:
            return str(final / path.relative_to(scratch))

        kernel = Kernel(
            series=row.series,
            abi=abi,
            release=release,
            version=version,
            folder=str(final),
            image=placed(image),
            modules=placed(modules),
            headers=placed(headers),
            build_id=hashlib.sha256(image.read_bytes()).hexdigest()[:16],
            packages=tuple(deb.name for deb in debs),
            passed_over=tuple(skipped),
            tools=row.tools,
            compiler=row.compiler,
            features=kerneltable.features_of(headers),
        )
        kerneltable.write_kernel(scratch / "kernel.json", kernel)
        return kernel


def _folder_of(row: Row, abi: str, version: str) -> Path:
    return kerneltable.folder() / f"{_release(row, abi)}_{version}"


def _fetched(row: Row, image: Package, abi: str, archive: Archive, skipped: list[str]) -> Kernel:
    """This version: the one in the cache, else from the mirror."""
    here = kerneltable.read_kernel(_folder_of(row, abi, image.version) / "kernel.json")
    if here is not None:
        return dataclasses.replace(
            here, tools=row.tools, compiler=row.compiler, passed_over=tuple(skipped)
        )
    print(f"set-up: fetching {image.name} {image.version}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=paths.cache_dir()) as scratch:
        debs = archive.download(_wanted_packages(row, image, abi, archive), Path(scratch))
        return _unpack(debs, row, abi, image.version, skipped)


def newest(row: Row, archive: Archive) -> Kernel:
    """The newest version that the mirror delivers; what is passed over for an older one is said
    and kept with the kernel."""
    skipped: list[str] = []
    for image in archive.packages(row.image):
        named = re.fullmatch(row.image, image.name)
        if named is None:
            continue
        try:
            return _fetched(row, image, named.group("abi"), archive, skipped)
        except (DownloadFailed, subprocess.SubprocessError) as error:
            line = f"{image.name} {image.version}: {error}"
            print(f"set-up: passed over {line}", file=sys.stderr, flush=True)
            skipped.append(line)
    raise ConfigurationError(
        f"no version of kernel {row.series} could be fetched from {' '.join(row.suites)}"
        + (f" ({skipped[-1]})" if skipped else ": the lists name none")
    )


def fetch(row: Row) -> Kernel:
    """Resolves the newest version of the series now, downloads and unpacks it."""
    archive = Archive(row.suites)
    with paths.locked(f"archive-{'+'.join(row.suites)}"):
        print(f"set-up: resolving kernel {row.series} in {' '.join(row.suites)}", file=sys.stderr)
        archive.update()
        return newest(row, archive)


