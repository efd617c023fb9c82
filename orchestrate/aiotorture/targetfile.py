"""target.toml: a driver or a file to torture, told in one file.

    name = "timerecho"
    node = "/dev/timerecho"           what is opened
    source = "."                      folder with a Kbuild file (or Makefile); or module = "x.ko"
    parameters = "depth=4"            for the module
    needs = ["null_blk", "?crc32c"]   the kernel's own modules, loaded first; ? where there is one
    set_up = ["…"]  tear_down = ["…"] shell commands in the guest, after loading, before unloading
    marks = true                      the module has fault/aiotorture.h's marks
    devices = ["nvme drive=64M"]      QEMU's, for a guest (aiotorture.hardware); at most eight
    iommu = true                      the guest's devices are behind one

    [request]                         what a request may be; sizes may carry K, M, G
    align  min_len  max_len  memory  direct  bytes  cookie  timeout  depth  vectored  fsync  position
    [cancel]
    works = true                      io_cancel() may say EINPROGRESS
    errno = "ECANCELED"               what the event of a cancelled request carries

Every field but name and node may be left out. Paths are relative to the file.
"""

from __future__ import annotations

import errno
import re
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiotorture import build, hardware, initramfs, kernelmodule, kernels, paths, processes
from aiotorture.errors import ConfigurationError, HarnessError
from aiotorture.hardware import Hardware
from aiotorture.kernelpatch import KernelPatch
from aiotorture.kernels import Kernel
from aiotorture.plan import duration_ns, size_bytes

FIELDS = frozenset(
    "name node source module parameters needs set_up tear_down marks sites request cancel image may_fail "
    "devices iommu".split()
)
REQUEST_FIELDS = frozenset(
    "align min_len max_len memory direct bytes cookie timeout depth vectored fsync position".split()
)
CANCEL_FIELDS = frozenset({"works", "errno"})
IMAGE_FIELDS = frozenset({"path", "size"})
NS_PER_MS = 1_000_000
MAX_IMAGE_BYTES = 128 << 20
MKFS_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Image:
    """A file system that is made here and pushed into the guest."""

    path: str
    size: int

    @property
    def path_gz(self) -> str:
        """Not beside it: a subject's /tmp is empty when it boots."""
        return f"/lib/at/{Path(self.path).name}.gz"


@dataclass(frozen=True)
class TargetFile:
    """A target.toml that was read and found sound. `knobs`: what it says to every plan."""

    path: Path
    name: str
    node: str
    source: Path | None = None
    module: Path | None = None
    parameters: str = ""
    needs: tuple[str, ...] = ()
    set_up: tuple[str, ...] = ()
    tear_down: tuple[str, ...] = ()
    marks: bool = False
    sites: tuple[str, ...] = ()
    # of the kernel's own modules among `needs`; planted bugs and repairs, never in a file
    patches: tuple[KernelPatch, ...] = ()
    image: Image | None = None
    hardware: Hardware = Hardware()
    knobs: Mapping[str, str] = field(default_factory=dict)

    @property
    def module_name(self) -> str:
        """The module's own name: that of its file."""
        if self.module is not None:
            return self.module.stem.replace("-", "_")
        return self.name.replace("-", "_")

    @property
    def under_test(self) -> frozenset[str]:
        """The modules whose instructions a plan's `sites` draws out: its own, and those it names."""
        own = self.source is not None or self.module is not None
        return frozenset(self.sites) | (frozenset({self.module_name}) if own else frozenset())

    @property
    def brings_modules(self) -> bool:
        """One that is not the kernel's own."""
        return self.source is not None or self.module is not None or self.marks

    @property
    def set_up_all(self) -> tuple[str, ...]:
        unpack = (f"gunzip -c {self.image.path_gz} > {self.image.path}",) if self.image is not None else ()
        return (*unpack, *self.set_up)


def load(path: Path) -> TargetFile:
    """ConfigurationError, one line that names the file and the field, for whatever is wrong."""
    try:
        table = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is no text"
        raise ConfigurationError(f"{path}: {why}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    return _Reader(path, table).target()


class _Reader:
    """One file; every complaint names it."""

    def __init__(self, path: Path, table: dict[str, Any]) -> None:
        self._path = path
        self._table = table

    def _wrong(self, what: str) -> ConfigurationError:
        return ConfigurationError(f"{self._path}: {what}")

    def _only(self, table: Mapping[str, Any], known: frozenset[str], where: str) -> None:
        strange = sorted(set(table) - known)
        if strange:
            raise self._wrong(f"{where}{strange[0]!r} is no field; there is: {' '.join(sorted(known))}")

    def _text(self, table: Mapping[str, Any], name: str, default: str | None = None) -> str:
        value = table.get(name, default)
        if value is None:
            raise self._wrong(f"{name!r} is missing")
        if not isinstance(value, str):
            raise self._wrong(f"{name!r} is no text")
        return value

    def _texts(self, name: str) -> tuple[str, ...]:
        value = self._table.get(name, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self._wrong(f"{name!r} is no list of texts")
        return tuple(value)

    def _flag(self, table: Mapping[str, Any], name: str, default: bool) -> bool:
        value = table.get(name, default)
        if not isinstance(value, bool):
            raise self._wrong(f"{name!r} is neither true nor false")
        return value

    def _sub(self, name: str, known: frozenset[str]) -> Mapping[str, Any]:
        value = self._table.get(name, {})
        if not isinstance(value, dict):
            raise self._wrong(f"{name!r} is no table")
        self._only(value, known, f"[{name}] ")
        return value

    def _size(self, table: Mapping[str, Any], name: str) -> str | None:
        """A size as a plan writes it; None when it is not given."""
        if name not in table:
            return None
        text = str(table[name])
        try:
            size = size_bytes(text)
        except ValueError as error:
            raise self._wrong(f"{name!r}: {text!r} is no size such as 512 or 4K") from error
        if size <= 0:
            raise self._wrong(f"{name!r}: must be above 0")
        return text

    def target(self) -> TargetFile:
        table = self._table
        self._only(table, FIELDS, "")
        name = self._text(table, "name")
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,40}", name):
            raise self._wrong(f"'name': {name!r} is not made of a-z, 0-9, - and _")
        node = self._text(table, "node")
        if not node.startswith("/"):
            raise self._wrong(f"'node': {node!r} is no absolute path")
        return TargetFile(
            path=self._path.resolve(),
            name=name,
            node=node,
            source=self._source(),
            module=self._module(),
            parameters=self._text(table, "parameters", ""),
            needs=self._texts("needs"),
            set_up=self._texts("set_up"),
            tear_down=self._texts("tear_down"),
            marks=self._flag(table, "marks", False),
            sites=self._sites(),
            image=self._image(),
            hardware=self._hardware(),
            knobs=self._knobs(),
        )

    def _hardware(self) -> Hardware:
        try:
            devices = hardware.devices(self._texts("devices"))
        except ValueError as error:
            raise self._wrong(f"'devices': {error}") from error
        return Hardware(devices, iommu=self._flag(self._table, "iommu", False))

    def _sites(self) -> tuple[str, ...]:
        named = self._texts("sites")
        needed = {need.split()[0].removeprefix("?") for need in self._texts("needs") if need.strip()}
        for name in named:
            if name not in needed:
                raise self._wrong(f"'sites': {name!r} is none of 'needs'")
        return named

    def _source(self) -> Path | None:
        if "source" not in self._table:
            return None
        if "module" in self._table:
            raise self._wrong("'source' and 'module' exclude each other")
        folder = (self._path.parent / self._text(self._table, "source")).resolve()
        if not any((folder / each).is_file() for each in ("Kbuild", "Makefile")):
            raise self._wrong(f"'source': {folder} has no Kbuild and no Makefile")
        return folder

    def _module(self) -> Path | None:
        if "module" not in self._table:
            return None
        module = (self._path.parent / self._text(self._table, "module")).resolve()
        if not module.is_file():
            raise self._wrong(f"'module': {module} does not exist")
        return module

    def _image(self) -> Image | None:
        table = self._sub("image", IMAGE_FIELDS)
        if not table:
            return None
        size = self._size(table, "size")
        if size is None or size_bytes(size) > MAX_IMAGE_BYTES:
            raise self._wrong("[image] 'size' is missing or above 128M")
        return Image(self._text(table, "path"), size_bytes(size))

    def _knobs(self) -> dict[str, str]:
        request = self._sub("request", REQUEST_FIELDS)
        cancel = self._sub("cancel", CANCEL_FIELDS)
        knobs = {"cancel": "callback" if self._flag(cancel, "works", True) else "none"}
        named = self._text(cancel, "errno", "ECANCELED")
        number = getattr(errno, named, None) if named.startswith("E") else None
        if not isinstance(number, int):
            raise self._wrong(f"[cancel] 'errno': {named!r} is no errno such as ECANCELED")
        knobs["cancelled_errno"] = str(number)
        knobs["cookie"] = str(int(self._flag(request, "cookie", False)))
        knobs["direct"] = str(int(self._flag(request, "direct", False)))
        for name in ("align", "min_len", "max_len", "memory"):
            text = self._size(request, name)
            if text is not None:
                knobs[name] = text
        knobs["bytes"] = self._text(request, "bytes", "stored")
        if knobs["bytes"] not in ("stored", "any", "none"):
            raise self._wrong(f"[request] 'bytes': {knobs['bytes']!r} is none of stored, any, none")
        if "depth" in request:
            if not isinstance(request["depth"], int) or not 1 <= request["depth"] <= 1024:
                raise self._wrong("[request] 'depth' is no number from 1 to 1024")
            knobs["depth"] = str(request["depth"])
        if "vectored" in request and not self._flag(request, "vectored", True):
            knobs["vectored"] = "0"
        # Not every driver has them: without ->fsync() an IOCB_CMD_FSYNC is -EINVAL (fs/aio.c,
        # aio_fsync()), and a stream has no position.
        if not self._flag(request, "fsync", False):
            knobs["fsync_ratio"] = "0"
        if not self._flag(request, "position", False):
            knobs["position_ratio"] = "0"
        if "timeout" in request:
            knobs["timeout_ms"] = self._milliseconds(self._text(request, "timeout"))
        if "may_fail" in self._table:
            knobs["may_fail"] = self._text(self._table, "may_fail")
        return knobs

    def _milliseconds(self, text: str) -> str:
        try:
            ms = duration_ns(text) // NS_PER_MS
        except ValueError as error:
            raise self._wrong(f"[request] 'timeout': {text!r} is no duration such as 2s") from error
        if not 1 <= ms <= 60000:
            raise self._wrong("[request] 'timeout' is not between 1ms and 60s")
        return str(ms)


# --- what a cell needs of it ---------------------------------------------------------------------


def _build_key(target: TargetFile, kernel: Kernel, source: Path) -> str:
    files = sorted(each for each in source.rglob("*") if each.is_file() and _is_source(each))
    parts = [kernel.modules_id.encode(), target.module_name.encode()]
    for each in files:
        parts += [str(each.relative_to(source)).encode(), each.read_bytes()]
    return paths.content_hash(parts)


def _is_source(path: Path) -> bool:
    named = path.name in ("Kbuild", "Makefile") or path.suffix in (".c", ".h", ".S")
    return named and not path.name.endswith(".mod.c") and ".git" not in path.parts


def _built(target: TargetFile, kernel: Kernel, source: Path) -> Path:
    """The module, built for the kernel out of a copy of its folder, with the header of the marks
    beside it. ConfigurationError with the compiler's first complaint."""
    key = _build_key(target, kernel, source)
    destination = paths.cache_dir() / "modules" / f"own-{key}"
    module = destination / f"{target.module_name}.ko"
    with paths.locked(f"modules-own-{key}"):
        if module.is_file():
            return module
        log = build.new_log(f"kbuild-{target.name}-{kernel.release}")
        with paths.published(destination) as scratch:
            tree = scratch / "tree"
            shutil.copytree(source, tree, ignore=shutil.ignore_patterns(".git", "*.o", "*.ko"))
            for header in ("aiotorture.h", "fail_injector.h"):
                if not (tree / header).exists():
                    shutil.copyfile(paths.ROOT / "fault" / header, tree / header)
            argv = kernels.kbuild_argv(kernel, tree, ["modules"])
            try:
                build.run_step(argv, build.KBUILD_TIMEOUT_S, log, f"target {target.name} for {kernel.release}")
            except ConfigurationError as error:
                raise ConfigurationError(str(error).replace(f"{tree}/", "")) from error
            made = tree / f"{target.module_name}.ko"
            if not made.is_file():
                there = ", ".join(sorted(each.stem for each in tree.glob("*.ko"))) or "none"
                raise ConfigurationError(
                    f"{target.path}: the build made no {made.name} (modules made: {there})"
                )
            shutil.copyfile(made, scratch / made.name)
    return module


@dataclass(frozen=True)
class Load:
    """One module as the agent is to load it."""

    name: str
    content: bytes
    parameters: str = ""
    keep: bool = False


def _own_module(target: TargetFile, kernel: Kernel) -> Path | None:
    if target.source is not None:
        return _built(target, kernel, target.source)
    if target.module is not None:
        kernels.check_module(kernel, target.module)
    return target.module


def loads(target: TargetFile, kernel: Kernel, injector: bool = False) -> list[Load]:
    """In the order in which they are loaded. `injector`: with it, marks or not."""
    ordered: list[Load] = []
    for need in target.needs:
        words = need.split()
        name = words[0].removeprefix("?")
        try:
            found = initramfs.kernel_modules(kernel, [name])
        except HarnessError as error:
            if need.startswith("?"):
                continue
            raise ConfigurationError(f"{target.path}: {error}") from error
        for module, content in found.items():
            parameters = " ".join(words[1:]) if module == name else ""
            patches = [patch for patch in target.patches if patch.module == module]
            if patches:
                content = kernelmodule.built(kernel, patches).read_bytes()
            if all(module != each.name for each in ordered):
                ordered.append(Load(module, content, parameters, keep=True))
    if target.marks or injector:
        ordered.append(Load(build.INJECTOR, build.modules(kernel).files[build.INJECTOR].read_bytes()))
    own = _own_module(target, kernel)
    if own is not None:
        ordered.append(Load(target.module_name, own.read_bytes(), target.parameters))
    return ordered


def image_gz(image: Image) -> bytes:
    """An ext4 file system whose one file, `space`, is all that is free; compressed."""
    import gzip

    path = paths.cache_dir() / "images" / f"ext4-{image.size}.gz"
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        raw = path.with_suffix(".raw")
        with raw.open("wb") as out:
            out.truncate(image.size)
        said = processes.output(
            ["/sbin/mkfs.ext4", "-q", "-F", "-m", "0", "-L", "aiotorture", raw], timeout_s=MKFS_TIMEOUT_S
        )
        if said.returncode:
            raise ConfigurationError(f"mkfs.ext4: {said.stdout.strip()}")
        paths.write_atomically(path, gzip.compress(raw.read_bytes(), 6))
        raw.unlink()
    return path.read_bytes()
