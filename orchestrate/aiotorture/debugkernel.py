"""Debug builds of Debian's sources, one for each family of checks.

    linux-source-SERIES (signed) -> cache/sources, shared -> tinyconfig + fragments -> olddefconfig
    -> make bzImage modules, in the place where the build stays -> modules_install -> pinned

Everything is kept under (source version, hash of fragments and compiler). A build that was ended
half way goes on where it stood: Kbuild writes an object's .cmd file after the object
(scripts/Kbuild.include, if_changed), so that a torn object is made again. The objects stay, so that
a patch to one file of the kernel costs a link and not a build.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from aiotorture import kconfig, kerneltable, packages, paths, processes
from aiotorture.archive import Archive, DownloadFailed
from aiotorture.errors import ConfigurationError
from aiotorture.kerneltable import Kernel, Kind, Row

COMPILER_MAJOR = 12
UNPACK_TIMEOUT_S = 600.0
CONFIGURE_TIMEOUT_S = 300.0
INSTALL_TIMEOUT_S = 300.0
BUILD_TIMEOUT_S = 3 * 3600.0
PROGRESS_EVERY_S = 15.0
NICENESS = "10"
SPACE_NEEDED_BYTES = 4 << 30
# The same sources and configuration give the same image, on any machine and at any time.
REPRODUCIBLE = {
    "KBUILD_BUILD_TIMESTAMP": "@0",
    "KBUILD_BUILD_USER": "aiotorture",
    "KBUILD_BUILD_HOST": "aiotorture",
    "KBUILD_BUILD_VERSION": "1",
}
STEP = re.compile(r"^  [A-Z][A-Z0-9_-]* (?:\[M\])? *(\S+)$")


def may_build() -> bool:
    """AIOTORTURE_BUILD_KERNELS is 0 or 1; under CI 0 unless it is said. A run that may not build takes
    what is cached."""
    return os.environ.get("AIOTORTURE_BUILD_KERNELS", "0" if "CI" in os.environ else "1") != "0"


@functools.cache
def compiler() -> tuple[str, str]:
    """(name, version line) of Debian 12's gcc; `gcc` where that is what it is."""
    packages.ensure((f"gcc-{COMPILER_MAJOR}",))
    versions = {}
    for name in ("gcc", f"gcc-{COMPILER_MAJOR}"):
        if shutil.which(name):
            said = processes.output([name, "--version"], timeout_s=60).stdout.splitlines()
            versions[name] = said[0] if said else ""
            if re.search(rf"\) {COMPILER_MAJOR}\.", versions[name]):
                return name, versions[name]
    raise ConfigurationError(f"gcc-{COMPILER_MAJOR} is missing")


def fragment_of(row: Row) -> str:
    return kconfig.fragment_text(row.family) + f'CONFIG_LOCALVERSION="-{row.family}"\n'


def config_id(row: Row) -> str:
    """Names what the build depends on beside the sources."""
    return paths.content_hash([fragment_of(row).encode(), compiler()[1].encode()])


def fetch_source(row: Row) -> tuple[str, Path]:
    """(version, tree) of the newest sources of the row's series that the mirror delivers."""
    archive = Archive(row.suites)
    with paths.locked(f"archive-{'+'.join(row.suites)}"):
        print(f"set-up: resolving {row.source} in {' '.join(row.suites)}", file=sys.stderr)
        archive.update()
        reason = "the lists name none"
        for package in archive.packages(re.escape(row.source)):
            try:
                return package.version, _source_tree(archive, row.source, package.version)
            except DownloadFailed as error:
                reason = f"{package.version}: {error}"
                print(f"set-up: passed over {row.source} {reason}", file=sys.stderr, flush=True)
    raise ConfigurationError(f"no version of {row.source} could be fetched: {reason}")


def _source_tree(archive: Archive, name: str, version: str) -> Path:
    tree = source_folder(name, version)
    if tree.is_dir():
        return tree
    _need_space()
    print(f"set-up: fetching {name} {version} (about 140 MB)", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=paths.cache_dir()) as scratch:
        (deb,) = archive.download([(name, version)], Path(scratch))
        unpacked = Path(scratch) / "deb"
        _done(["dpkg-deb", "-x", deb, unpacked], UNPACK_TIMEOUT_S, f"unpacking {name}")
        (tarball,) = (unpacked / "usr/src").glob("linux-source-*.tar.xz")
        with paths.published(tree) as fresh:
            tar: list[str | Path] = ["tar", "-xJf", tarball, "--strip-components=1", "-C", fresh]
            _done(tar, UNPACK_TIMEOUT_S, f"unpacking {tarball.name}")
    return tree


def source_folder(name: str, version: str) -> Path:
    return paths.cache_dir() / "sources" / f"{name}_{version}"


def _need_space() -> None:
    free = shutil.disk_usage(paths.cache_dir()).free
    if free < SPACE_NEEDED_BYTES:
        raise ConfigurationError(
            f"a debug kernel needs {SPACE_NEEDED_BYTES >> 30} GiB under {paths.cache_dir()}; "
            f"{free / (1 << 30):.1f} GiB are free"
        )


def _done(argv: list[str | Path], timeout_s: float, what: str) -> str:
    try:
        said = processes.output(argv, timeout_s=timeout_s, env={**os.environ, **REPRODUCIBLE})
    except subprocess.TimeoutExpired as error:
        raise ConfigurationError(f"{what}: not done after {timeout_s:g} s") from error
    if said.returncode:
        lines = [line for line in said.stdout.splitlines() if line.strip()] or ["no output"]
        raise ConfigurationError(f"{what}: {lines[-1].strip()}")
    return said.stdout


@dataclass
class Progress:
    """Counts what make says it does, and says so now and then."""

    name: str
    expected: int
    say: Callable[[str], None]
    steps: int = 0
    began: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)

    def line(self, text: str) -> None:
        step = STEP.match(text.rstrip("\n"))
        if step is None:
            return
        self.steps += 1
        now = time.monotonic()
        if now - self.last >= PROGRESS_EVERY_S:
            self.last = now
            self.say(self.text(step[1], now))

    def text(self, at: str, now: float) -> str:
        minutes, seconds = divmod(int(now - self.began), 60)
        share = min(99, 100 * self.steps // self.expected) if self.expected else 0
        about = f"{share:2} %  {self.steps} of about {self.expected} steps"
        return f"set-up: {self.name}: {about}, {minutes}:{seconds:02} min, {at}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _make(tree: Path, build: Path) -> list[str | Path]:
    name, _ = compiler()
    chosen = [] if name == "gcc" else [f"CC={name}", f"HOSTCC={name}"]
    return ["make", "-C", tree, f"O={build}", *chosen]


def configure(row: Row, tree: Path, build: Path) -> list[str]:
    """Writes the .config; returns options of the fragments that this version does not take. An
    option that the family is named after must be taken."""
    _done([*_make(tree, build), "tinyconfig"], CONFIGURE_TIMEOUT_S, f"{row.series}: tinyconfig")
    fragment = fragment_of(row)
    with (build / ".config").open("a") as config:
        config.write(fragment)
    _done([*_make(tree, build), "olddefconfig"], CONFIGURE_TIMEOUT_S, f"{row.series}: olddefconfig")
    made = kconfig.read(build / ".config")
    lacking = kconfig.absent(made, (*row.checks, *kconfig.GUEST_NEEDS))
    if lacking:
        raise ConfigurationError(
            f"{row.series}: these sources do not take {', '.join('CONFIG_' + n for n in lacking)}"
        )
    return kconfig.refused(kconfig.parse(fragment), made)


def _compile(row: Row, tree: Path, build: Path, log: Path) -> int:
    """Returns the number of steps. The build is nice: guests run meanwhile."""
    jobs = os.cpu_count() or 1
    argv = ["nice", "-n", NICENESS, *_make(tree, build), f"-j{jobs}", "bzImage", "modules"]
    progress = Progress(row.series, row.steps, _say)
    with log.open("w") as out:
        process = processes.spawn(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **REPRODUCIBLE},
        )
        assert process.stdout is not None
        try:
            for raw in process.stdout:
                text = raw.decode(errors="replace")
                out.write(text)
                progress.line(text)
                if time.monotonic() - progress.began > BUILD_TIMEOUT_S:
                    raise ConfigurationError(f"{row.series}: not built after {BUILD_TIMEOUT_S:g} s")
            status = process.wait()
        finally:
            processes.end(process)
    if status:
        lines = [li.strip() for li in log.read_text().splitlines() if "rror" in li and ":" in li]
        reason = lines[0] if lines else f"make ended with {status}"
        raise ConfigurationError(f"kernel {row.series} does not build: {reason} (log: {log})")
    return progress.steps


def make(tree: Path, build: Path, goals: list[str], timeout_s: float, what: str) -> None:
    """More of a build that is done: ConfigurationError with the first error that make tells."""
    argv = ["nice", "-n", NICENESS, *_make(tree, build), *goals]
    log = build.parent / "make.log"
    try:
        said = processes.output(argv, timeout_s=timeout_s, env={**os.environ, **REPRODUCIBLE})
    except subprocess.TimeoutExpired as error:
        raise ConfigurationError(f"{what}: not done after {timeout_s:g} s") from error
    log.write_text(said.stdout)
    if said.returncode:
        lines = [li.strip() for li in said.stdout.splitlines() if "rror" in li and ":" in li]
        reason = lines[0] if lines else f"make ended with {said.returncode}"
        raise ConfigurationError(f"{what}: {reason} (log: {log})")


def _installed(row: Row, tree: Path, build: Path) -> Path:
    """The modules folder, as a distribution would lay it out, without debug data."""
    target = build.parent / "modules"
    shutil.rmtree(target, ignore_errors=True)
    words = [f"INSTALL_MOD_PATH={target}", "INSTALL_MOD_STRIP=1", "modules_install"]
    _done([*_make(tree, build), *words], INSTALL_TIMEOUT_S, f"{row.series}: modules_install")
    (modules,) = (target / "lib/modules").iterdir()
    return modules


def _folder_of(row: Row, version: str) -> Path:
    return kerneltable.folder() / f"debug-{row.source}_{version}_{row.family}-{config_id(row)}"


def _recorded(row: Row, version: str, tree: Path, where: Path) -> Kernel:
    """The built kernel, laid out and noted; from here on it counts as built."""
    build = where / "build"
    modules = _installed(row, tree, build)
    image = build / "arch/x86/boot/bzImage"
    release = (build / "include/config/kernel.release").read_text().strip()
    kernel = Kernel(
        series=row.series,
        abi=release,
        release=release,
        version=version,
        folder=str(where),
        image=str(image),
        modules=str(modules),
        headers=str(build),
        build_id=hashlib.sha256(image.read_bytes()).hexdigest()[:16],
        packages=(f"{row.source}_{version}",),
        kind=Kind.DEBUG.value,
        compiler=compiler()[0],
        features=kerneltable.features_of(build),
        config_id=config_id(row),
    )
    kerneltable.write_kernel(where / "kernel.json", kernel)
    return kernel


def _built(row: Row, version: str, tree: Path) -> Kernel:
    """The kernel of these sources and this configuration; made when it is not there."""
    where = _folder_of(row, version)
    here = kerneltable.read_kernel(where / "kernel.json")
    if here is not None:
        return here
    _need_space()
    build = where / "build"
    build.mkdir(parents=True, exist_ok=True)
    for name in configure(row, tree, build):
        _say(f"set-up: {row.series}: CONFIG_{name} is not taken by {row.source} {version}")
    _say(f"set-up: building kernel {row.series} from {row.source} {version}, {os.cpu_count()} jobs")
    began = time.monotonic()
    steps = _compile(row, tree, build, where / "build.log")
    kernel = _recorded(row, version, tree, where)
    took = time.monotonic() - began
    _say(f"set-up: kernel {row.series} built in {took / 60:.1f} min, {steps} steps")
    return kernel


def build(row: Row, refresh: bool) -> Kernel:
    """The row's kernel. With `refresh` the newest sources are asked for; without, those of the last
    build are used when they are still here."""
    if not row.source:
        raise ConfigurationError(f"kernel {row.series}: the series has no sources in kernels.toml")
    last = kerneltable.pinned(row.series)
    if last is not None and not refresh and last.config_id == config_id(row):
        return last
    if not may_build():
        raise ConfigurationError(f"kernel {row.series} is not built, and this run builds none")
    packages.ensure(packages.KERNEL_BUILD)
    with paths.locked(f"debug-{row.series}"):
        if last is not None and not refresh:
            tree = source_folder(row.source, last.version)
            if tree.is_dir():
                return _built(row, last.version, tree)
        version, tree = fetch_source(row)
        return _built(row, version, tree)
