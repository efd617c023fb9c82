"""Builds: the agent through CMake, the modules through Kbuild, a mutant as a patched copy of both.

A module build is kept under a hash of sources, patch and kernel, so that it happens once.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiotorture import kernelpatch, kernels, paths, processes
from aiotorture.errors import ConfigurationError
from aiotorture.kernels import Kernel

CMAKE_TIMEOUT_S = 1200.0
KBUILD_TIMEOUT_S = 600.0
MODULE_FOLDERS = ("fault", "driver")
INJECTOR = "fail_injector"
MODULES = (INJECTOR, "zcdma")
ERROR_MARKS = ("error:", "undefined reference", "CMake Error", "Error ", "FAILED")
SOURCE_SUFFIXES = frozenset({".c", ".h"})


@dataclass(frozen=True)
class Mutant:
    """A planted bug: a patch against driver/ and fault/."""

    name: str
    patch: str


@dataclass(frozen=True)
class ModuleSet:
    """Built modules, stripped of debug data for the guest; `symbols` keeps the full ones."""

    files: dict[str, Path]
    symbols: dict[str, Path]
    build_id: str

    @property
    def identities(self) -> dict[str, str]:
        return {name: paths.content_hash([path.read_bytes()]) for name, path in self.files.items()}


def mutants_folder() -> Path:
    return paths.ROOT / "mutants"


def mutant_names() -> list[str]:
    return sorted(path.stem for path in mutants_folder().glob("driver/*.patch"))


def find_mutant(word: str) -> Mutant:
    """By name from mutants/driver/NAME.patch, or by the path of a patch."""
    named = sorted(mutants_folder().glob(f"driver/{word}.patch")) if "/" not in word else []
    path = named[0] if named else Path(word)
    if not path.is_file():
        known = ", ".join(mutant_names()) or "none"
        raise ConfigurationError(f"unknown mutant {word!r}; mutants/ has {known}")
    return Mutant(path.stem, path.read_text())


def run_step(argv: Sequence[str | Path], timeout_s: float, log: Path, what: str) -> None:
    """Runs a build step; all it says goes to `log`, one line of it into the error."""
    try:
        said = processes.output(argv, timeout_s=timeout_s, cwd=paths.ROOT)
    except subprocess.TimeoutExpired as error:
        raise ConfigurationError(f"{what}: not done after {timeout_s:g} s") from error
    except OSError as error:
        raise ConfigurationError(f"{what}: {error}") from error
    with log.open("a") as out:
        out.write(f"$ {' '.join(map(str, argv))}\n{said.stdout}\n")
    if said.returncode:
        line = kernelpatch.telling_line(said.stdout, ERROR_MARKS)
        raise ConfigurationError(f"{what}: {line} (log: {log})")


def new_log(name: str) -> Path:
    folder = paths.cache_dir() / "logs"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.log"
    path.write_text("")
    return path


def cmake_target(target: str, preset: str) -> Path:
    """Builds one CMake target of a preset and returns the build folder."""
    return _cmake_target(target, preset, ["--preset", preset])


def model_target(target: str) -> Path:
    """Builds one target of model/ alone, which needs Boost.Context and nothing else."""
    folder = paths.ROOT / "build" / "model"
    configure: list[str | Path] = ["-G", "Ninja", "-S", paths.ROOT / "model", "-B", folder]
    return _cmake_target(target, "model", configure)


def _cmake_target(target: str, name: str, configure: list[str | Path]) -> Path:
    folder = paths.ROOT / "build" / name
    with paths.locked(f"cmake-{paths.content_hash([str(folder).encode()])}"):
        log = new_log(f"cmake-{name}-{target}")
        if not (folder / "build.ninja").is_file():
            run_step(["cmake", *configure], CMAKE_TIMEOUT_S, log, "cmake")
        build: list[str | Path] = ["cmake", "--build", folder, "--target", target]
        run_step(build, CMAKE_TIMEOUT_S, log, f"building {target}")
    return folder


def agent(keep_symbols: bool = False) -> Path:
    """The agent, stripped (of debug data alone with `keep_symbols`), in the cache under its
    content's hash."""
    built = cmake_target("aiotorture-agent", "agent") / "aiotorture-agent"
    whole = built.with_name("aiotorture-agent.debug")
    if keep_symbols and whole.is_file():
        return _stripped(whole, "--strip-debug")
    return _stripped(built, "--strip-all")


def _stripped(built: Path, how: str) -> Path:
    identity = paths.content_hash([built.read_bytes()])
    kept = paths.cache_dir() / "agents" / identity / "aiotorture-agent"
    if not kept.is_file():
        with paths.published(kept.parent) as scratch:
            _strip(built, scratch / "aiotorture-agent", how)
    return kept


def _strip(source: Path, target: Path, how: str) -> None:
    said = processes.output(["objcopy", how, source, target], timeout_s=60)
    if said.returncode:
        raise ConfigurationError(f"objcopy {source.name}: {said.stdout.strip()}")


def _sources() -> list[Path]:
    folders = [paths.ROOT / name for name in MODULE_FOLDERS]
    for folder in folders:
        if not (folder / "Kbuild").is_file():
            raise ConfigurationError(f"{folder.name}/Kbuild is missing")
    return folders


def _is_source(path: Path) -> bool:
    return not path.name.endswith(".mod.c") and (
        path.suffix in SOURCE_SUFFIXES or path.name in ("Kbuild", "Makefile")
    )


def _source_files() -> list[Path]:
    return sorted(
        path
        for folder in _sources()
        for path in folder.rglob("*")
        if path.is_file() and _is_source(path)
    )


def _modules_key(kernel: Kernel, mutant: Mutant | None) -> str:
    parts = [kernel.modules_id.encode()]
    parts.append(mutant.patch.encode() if mutant else b"")
    for path in _source_files():
        parts += [str(path.relative_to(paths.ROOT)).encode(), path.read_bytes()]
    return paths.content_hash(parts)


def _copy_sources(into: Path) -> None:
    for path in _source_files():
        target = into / path.relative_to(paths.ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def strip_debug(source: Path, target: Path) -> None:
    """What a guest takes: the module without its debug data."""
    _strip(source, target, "--strip-debug")


def _kbuild(kernel: Kernel, tree: Path, name: str, log: Path, mutant: Mutant | None) -> None:
    what = f"mutant {mutant.name} does not build" if mutant else f"{name}/ for {kernel.release}"
    run_step(kernels.kbuild_argv(kernel, tree / name, ["modules"]), KBUILD_TIMEOUT_S, log, what)


def _untouched(mutant: Mutant | None) -> tuple[str, ...]:
    """Folders at the front of MODULE_FOLDERS that this patch leaves as they are: each is built
    against those before it."""
    if mutant is None:
        return ()
    changed = [f"+++ b/{name}/" in mutant.patch for name in MODULE_FOLDERS]
    return MODULE_FOLDERS[: changed.index(True)] if any(changed) else ()


def injector(kernel: Kernel, mutant: Mutant | None) -> bytes | None:
    """fail_injector.ko, where this mutant leaves it as it is."""
    if mutant is not None and not _untouched(mutant):
        return None
    return modules(kernel).files[INJECTOR].read_bytes()


def modules(kernel: Kernel, mutant: Mutant | None = None) -> ModuleSet:
    """fail_injector.ko and zcdma.ko for the kernel. ConfigurationError, one line, when a patch
    does not apply or the sources do not build. A mutant of the driver alone takes the injector that
    was built without it."""
    key = _modules_key(kernel, mutant)
    destination = paths.cache_dir() / "modules" / key
    shared = _untouched(mutant)
    if shared and not (destination / "modules.json").is_file():
        base = paths.cache_dir() / "modules" / modules(kernel).build_id
    with paths.locked(f"modules-{key}"):
        if not (destination / "modules.json").is_file():
            label = f"{kernel.release}{'-' + mutant.name if mutant else ''}"
            log = new_log(f"kbuild-{label}")
            with paths.published(destination) as scratch:
                _copy_sources(scratch)
                if mutant:
                    kernelpatch.apply(mutant.name, mutant.patch, scratch)
                for name in MODULE_FOLDERS:
                    if name in shared:
                        shutil.copytree(base / name, scratch / name, dirs_exist_ok=True)
                    else:
                        _kbuild(kernel, scratch, name, log, mutant)
                for folder, name in zip(MODULE_FOLDERS, MODULES, strict=True):
                    full = scratch / folder / f"{name}.ko"
                    _strip(full, scratch / f"{name}.ko", "--strip-debug")
                (scratch / "modules.json").write_text(json.dumps({"kernel": kernel.identity}))
    return ModuleSet(
        files={name: destination / f"{name}.ko" for name in MODULES},
        symbols={
            name: destination / folder / f"{name}.ko"
            for folder, name in zip(MODULE_FOLDERS, MODULES, strict=True)
        },
        build_id=key,
    )
