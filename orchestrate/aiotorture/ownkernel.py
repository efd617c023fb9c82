"""A user's own kernel: a built tree, or an image with its headers and modules.

    PATH is a folder with a .config         a built tree (or the O= folder of one)
    PATH is a folder with boot/vmlinuz-*    an unpacked root: boot, lib/modules, usr/src
    PATH is an image                        with --headers and --modules, else /lib/modules/RELEASE

Image and modules are copied into the cache under the image's hash, so that a token that names them
replays after the tree was built again; the headers are used where they lie.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path

from aiotorture import kconfig, kerneltable, paths, processes
from aiotorture.errors import ConfigurationError
from aiotorture.kerneltable import Kernel, Kind, Row

INSTALL_TIMEOUT_S = 600.0
# Documentation/arch/x86/boot.rst: the magic at 0x202, and at 0x20e a pointer, less 0x200, to the
# version string.
HEADER_MAGIC_AT, HEADER_MAGIC = 0x202, b"HdrS"
VERSION_POINTER_AT, VERSION_BASE = 0x20E, 0x200
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
HEADERS_NEED = ("Makefile", ".config", "include/generated/autoconf.h", "scripts/mod/modpost")


@dataclass(frozen=True)
class Parts:
    """Where the parts of a kernel lie."""

    image: Path
    headers: Path
    modules: Path


def image_release(image: Path) -> str:
    """uname -r of a bzImage, from its set-up header."""
    with image.open("rb") as source:
        head = source.read(1 << 16)
    if head[HEADER_MAGIC_AT : HEADER_MAGIC_AT + 4] != HEADER_MAGIC:
        raise ConfigurationError(f"{image} is not a bzImage of an x86 kernel")
    (pointer,) = struct.unpack_from("<H", head, VERSION_POINTER_AT)
    text = head[pointer + VERSION_BASE :].split(b"\0", 1)[0].decode(errors="replace")
    if not text.split():
        raise ConfigurationError(f"{image} does not say its version")
    return text.split()[0]


def headers_release(headers: Path) -> str:
    """The release that modules built against the headers carry."""
    source = headers / "include/generated/utsrelease.h"
    found = re.search(r'UTS_RELEASE "([^"]+)"', source.read_text()) if source.is_file() else None
    if found is None:
        raise ConfigurationError(f"{headers}: headers are missing (include/generated/utsrelease.h)")
    return found[1]


def _tree(path: Path) -> Parts:
    image = path / "arch/x86/boot/bzImage"
    if not image.is_file():
        raise ConfigurationError(f"{path} is not built: no arch/x86/boot/bzImage (make bzImage)")
    if not (path / "modules.order").is_file():
        raise ConfigurationError(f"{path}: no modules.order (make modules)")
    return Parts(image, path, path)


def _first(found: list[Path], what: str) -> Path:
    if not found:
        raise ConfigurationError(what)
    return found[0]


def _unpacked(root: Path) -> Parts:
    image = sorted(root.glob("boot/vmlinuz-*"))[0]
    release = image_release(image)
    headers = [root / f"usr/src/linux-headers-{release}", root / f"lib/modules/{release}/build"]
    modules = [root / f"lib/modules/{release}", root / f"usr/lib/modules/{release}"]
    return Parts(
        image,
        _first([h for h in headers if h.is_dir()], f"{root}: headers of {release} are missing"),
        _first([m for m in modules if m.is_dir()], f"{root}: modules of {release} are missing"),
    )


def locate(path: Path, headers: Path | None, modules: Path | None) -> Parts:
    """The parts of the kernel that PATH names. ConfigurationError says what is missing."""
    if not path.exists():
        raise ConfigurationError(f"no kernel at {path}")
    if path.is_dir():
        if (path / ".config").is_file():
            parts = _tree(path)
        elif list(path.glob("boot/vmlinuz-*")):
            parts = _unpacked(path)
        else:
            raise ConfigurationError(f"{path} is neither a built tree (.config) nor an unpacked root")
        return Parts(parts.image, headers or parts.headers, modules or parts.modules)
    release = image_release(path)
    installed = Path("/lib/modules") / release
    return Parts(path, headers or installed / "build", modules or installed)


def check(parts: Parts) -> str:
    """The kernel's release, when headers, modules and configuration will do."""
    release = image_release(parts.image)
    if not parts.headers.is_dir():
        raise ConfigurationError(f"headers of {release} are missing: {parts.headers}")
    lacking = [name for name in HEADERS_NEED if not (parts.headers / name).is_file()]
    if lacking:
        raise ConfigurationError(f"headers of {release} are not complete: no {', '.join(lacking)}")
    headers = headers_release(parts.headers)
    if headers != release:
        raise ConfigurationError(f"the image is {release}, but its headers are {headers}")
    options = kconfig.read(parts.headers / ".config")
    absent = kconfig.absent(options, kconfig.GUEST_NEEDS)
    if absent:
        names = ", ".join("CONFIG_" + name for name in absent)
        raise ConfigurationError(f"kernel {release} cannot be a guest here: it lacks {names}")
    if kconfig.is_on(options, "CC_IS_CLANG"):
        raise ConfigurationError(f"kernel {release} was built by clang; modules are built by gcc")
    if not (parts.modules / "modules.builtin").is_file():
        raise ConfigurationError(f"modules of {release} are missing: {parts.modules}")
    return release


def add(name: str, path: Path, headers: Path | None, modules: Path | None) -> Row:
    """Enters the kernel under the name; it must not be one of kernels.toml."""
    if not NAME.fullmatch(name):
        raise ConfigurationError(f"a kernel's name is letters, digits, '.', '_' and '-': {name!r}")
    taken = kerneltable.rows().get(name)
    if taken is not None and taken.kind is not Kind.OWN:
        raise ConfigurationError(f"kernel {name!r} is in kernels.toml; choose another name")
    parts = locate(path.resolve(), headers, modules)
    check(parts)
    entry = {
        "given": str(path.resolve()),
        "image": str(parts.image),
        "headers": str(parts.headers.resolve()),
        "modules": str(parts.modules),
    }
    target = kerneltable.own_folder() / f"{name}.json"
    paths.write_atomically(target, json.dumps(entry, indent=1).encode())
    return kerneltable.row_of(name)


def name_for(path: Path) -> str:
    """Enters the kernel at PATH under a name made from it, the same one each time."""
    resolved = path.resolve()
    for row in kerneltable.rows().values():
        if row.kind is Kind.OWN and row.good_for == f"your own: {resolved}":
            return row.series
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", resolved.name).strip("-._") or "kernel"
    return add(f"own-{stem}-{paths.content_hash([str(resolved).encode()])[:4]}", path, None, None).series


def _copy_modules(parts: Parts, release: str, target: Path) -> Path:
    """Installed ones as they are; those of a built tree, which has a folder `kernel` too, by its own
    Makefile."""
    if not (parts.modules / "Makefile").is_file():
        into = target / "lib/modules" / release
        shutil.copytree(parts.modules / "kernel", into / "kernel")
        for listed in parts.modules.glob("modules.*"):
            if listed.is_file():
                shutil.copyfile(listed, into / listed.name)
        return into
    words = [f"INSTALL_MOD_PATH={target}", "INSTALL_MOD_STRIP=1", "modules_install"]
    said = processes.output(["make", "-C", parts.modules, *words], timeout_s=INSTALL_TIMEOUT_S)
    if said.returncode:
        lines = [line for line in said.stdout.splitlines() if "rror" in line] or ["no reason given"]
        raise ConfigurationError(f"{parts.modules}: modules_install: {lines[0].strip()}")
    return target / "lib/modules" / release


def resolve(row: Row) -> Kernel:
    """The kernel as it is now: a tree that was built again is another kernel."""
    image, headers, modules = map(Path, row.paths)
    if not image.is_file():
        raise ConfigurationError(f"kernel {row.series}: {image} is gone (kernels add {row.series} PATH)")
    parts = Parts(image, headers, modules)
    release = check(parts)
    symbols = headers / "Module.symvers"
    digest = hashlib.sha256(image.read_bytes())
    digest.update(symbols.read_bytes() if symbols.is_file() else b"")
    build_id = digest.hexdigest()[:16]
    where = kerneltable.folder() / f"own-{release}_{build_id}"
    if not where.is_dir():
        with paths.locked(f"own-{build_id}"), paths.published(where) as scratch:
            shutil.copyfile(image, scratch / "vmlinuz")
            _copy_modules(parts, release, scratch)
    options = kconfig.read(headers / ".config")
    return Kernel(
        series=row.series,
        abi=release,
        release=release,
        version=build_id,
        folder=str(where),
        image=str(where / "vmlinuz"),
        modules=str(where / "lib/modules" / release),
        headers=str(headers),
        build_id=build_id,
        packages=(),
        kind=Kind.OWN.value,
        compiler=_compiler(options),
        features=kerneltable.features_of(headers),
    )


def _compiler(options: dict[str, str]) -> str:
    """The compiler as the configuration names it, so that Kbuild finds the same one; nothing, for
    what the tree's Makefile says, when this host lacks it."""
    name = options.get("CC_VERSION_TEXT", "").strip('"').split(" ")[0]
    return name if name and shutil.which(name) else ""
