"""What can be tortured, where, and what it takes to set it up.

    zcdma         our driver and fail_injector, built for the kernel
    poll          the kernel's own IOCB_CMD_POLL; nothing is loaded, so it runs on any machine
    zcdma-edu     the same driver on eight `edu` PCI devices behind an IOMMU: real DMA, real MSIs
    file          every file-… below
    file-NAME     a block device or a file system of the kernel: orchestrate/targets/
    functionfs    the kernel's USB gadget drivers, on dummy_hcd: orchestrate/targets/gadget/
    functionfs+X  the same, with the module built anew: X.patch of mutants/kernel/ or of its repairs
    PATH.toml     a user's own (aiotorture.targetfile)
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from aiotorture import build, initramfs, kernelimage, kernelpatch, paths, sites, targetfile
from aiotorture.agentlink import Json
from aiotorture.errors import ConfigurationError, HarnessError
from aiotorture.hardware import Device, Hardware
from aiotorture.kernels import Kernel
from aiotorture.lanes.base import ModuleThere, Preload, Subject
from aiotorture.plan import Plan
from aiotorture.targetfile import TargetFile

MODULE_FOLDER = "/lib/at"
SET_UP_MARK = "/run/at-set-up"
# What stress/lib/written_back.h opens; sparse, and larger than half of any plan's buffers.
WRITTEN_BACK_FILE = "/run/at-written-back"
WRITTEN_BACK_SPACE = "/tmp/written-back"
WRITTEN_BACK_MIB = 64
# Scenarios in which the device comes and goes while racers run.
REMOVING = frozenset({"removal_under_load"})
REMOVAL = "removal"
FILE_GROUP = "file"
OWN = "own"
EDU = "zcdma-edu"
# The driver looks at what its locks guard (driver/zcdma_looks.c, zcdma_guard.h): 3 % of a CPU.
ZCDMA_WATCHED = {"look_ns": "50000"}
# Of the cards (driver/zcdma_engine_edu.c): each is a memory of 4032 bytes that takes 100 ms for any
# transfer, one at a time.
EDU_CARDS = 8
EDU_KNOBS = {
    "engine": "edu", "devices": str(EDU_CARDS), "memory": "4032", "min_len": "1", "max_len": "128",
    "submitters": "8", "depth": "3", "timeout_ms": "4000", "stop_ms": "500",
}  # fmt: skip
_RESOURCE = ("fail", "delay", "nomem")
EDU_FAULTS = frozenset(
    [(phase, action) for phase in ("submit", "pin", "map", "queue") for action in _RESOURCE]
    + [("start", action) for action in ("delay", "drop", "dup", "short", "corrupt", "late")]
    + [("irq", action) for action in ("delay", "drop", "dup")]
    + [(phase, "delay") for phase in ("complete", "cancel", "unmap", "unpin", "free")]
)
GADGET = "gadget"
# Functions of the driver, by how their names begin: those that play its device, look at it or show its books, and
# those on paths that few plans take.
ZCDMA_DEVICE = (
    r"soft_|edu_|zcdma_told|engine_|books_|requests_|ring_|look_|is_un"
    r"|zc_((books|looks?|order|leave)_|is_asleep|is_unguarded|sleeps_|poll_entry)"
)
ZCDMA_PATHS = {
    REMOVAL: r"zcdma_(probe|remove)|remove_|zc_(free_ring|alloc_ring|dev_free|new_dev|(un)?register_|wake_gone)",
    "recovery": r"zc_(timeout|recover|sort_|start_engine|halt_engine)",
    "writeback": r"zc_(dirty_work|lost_dirty)",
}
# Those that nearly all plans take, and some are made for.
ZCDMA_CROWDED_PATHS = {
    "cancel": r"zcdma_ki_cancel|zc_(cancel|reap_work)",
    "fsync": r"zcdma_fsync|zc_drained",
    "poll": r"zcdma_poll",
}


@dataclass(frozen=True)
class Target:
    """One target. `builds`: the modules of this repository belong to it. `node`: what is opened,
    empty for a scenario that opens its own files. `row`: whose plans in matrix.toml it runs.
    `knobs`: what it says to every plan; `watched`: beside that, where it may look at itself. `device`: a
    pattern of the functions that play the device;
    `paths`: of those on a path of the driver that few plans take (knob `path`); `crowded_paths`: that nearly all
    take, and some are made for. `pace`: how much of the contention
    that a race of zcdma owes a race of it can have."""

    name: str
    lanes: tuple[str, ...]
    row: str
    builds: bool = False
    node: str = ""
    described: TargetFile | None = None
    knobs: Mapping[str, str] = field(default_factory=dict)
    watched: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    paths: Mapping[str, str] = field(default_factory=dict)
    crowded_paths: Mapping[str, str] = field(default_factory=dict)
    hardware: Hardware = Hardware()
    pace: float = 1.0
    # faults that its device knows, as (phase, action); None: all
    faults: frozenset[tuple[str, str]] | None = None

    def modules(self, kernel: Kernel, mutant: build.Mutant | None) -> build.ModuleSet:
        """Built, and told apart by their build id; `files` are those of this repository."""
        if self.builds:
            return build.modules(kernel, mutant)
        if self.described is None:
            return build.ModuleSet(files={}, symbols={}, build_id="")
        loads = targetfile.loads(self.described, kernel)
        text = [self.described.path.read_bytes(), *(each.content for each in loads)]
        return build.ModuleSet(files={}, symbols={}, build_id=paths.content_hash(text))

    def preload(self, kernel: Kernel, injector: bytes | None = None) -> Preload | None:
        """What of it is the same for each cell: all of a target that brings no module, what another
        needs before its module; of our own driver the injector, where the cell's mutant leaves that
        as it is."""
        if self.builds:
            before = _written_back(kernel) or Preload(())
            there = () if injector is None else (ModuleThere(_path_of(build.INJECTOR), injector),)
            both = replace(before, modules=(*before.modules, *there))
            return both if both.modules else None
        if self.described is None or not self.described.needs:
            return None
        modules = tuple(
            ModuleThere(_path_of(each.name), each.content, each.parameters)
            for each in targetfile.loads(self.described, kernel)
            if each.keep
        )
        if self.described.brings_modules or self.hardware.devices:  # which are plugged in later
            return Preload(modules)
        files: tuple[tuple[str, bytes], ...] = ()
        if self.described.image is not None:
            files = ((self.described.image.path_gz, targetfile.image_gz(self.described.image)),)
        return Preload(modules, files, self.described.set_up_all, SET_UP_MARK)

    def drawn_out(self, kernel: Kernel, modules: build.ModuleSet, plan: Plan) -> list[str]:
        """The instructions that the plan draws out, drawn from its seed: of the modules under test
        (`sites`, `path_sites`), of the kernel's fs/aio.c (`kernel_sites`) where that is known by its object."""
        asked = {knob: sites.wanted(plan, knob) for knob in sites.FIRST_OF}
        groups: list[tuple[Sequence[str], int]] = []

        def draw(knob: str, modules: Mapping[str, Sequence[sites.Site]]) -> None:
            seed, first = sites.order_of(plan, knob)
            groups.append((sites.drawn(modules, seed, asked[knob], first), sites.at_once(plan, knob)))

        if asked["sites"] or asked["path_sites"]:
            own = {
                name: sites.without(sites.of_module(module), [self.device])
                for name, module in self._under_test(kernel, modules).items()
            }
            apart = self._paths_apart(plan)
            draw("sites", {name: sites.without(every, apart) for name, every in own.items()})
            if taken := {**self.paths, **self.crowded_paths}.get(sites.path_of(plan)):
                draw("path_sites", {name: sites.only(every, taken) for name, every in own.items()})
        if asked["kernel_sites"]:
            draw("kernel_sites", {sites.KERNEL: kernelimage.sites_of(kernel)})
        return sites.for_turns(groups)

    def _paths_apart(self, plan: Plan) -> list[str]:
        """Which functions `sites` does not draw out: what is never passed would spend what the plan has of them. A
        plan that says its path has `path_sites` for that one, and passes no other but the crowded ones."""
        path = sites.path_of(plan)
        if path != sites.ANY_PATH:
            return [*self.paths.values(), self.crowded_paths.get(path, "")]
        return [] if plan.scenario.name in REMOVING else [self.paths.get(REMOVAL, "")]

    def _under_test(self, kernel: Kernel, modules: build.ModuleSet) -> dict[str, bytes]:
        """Name and content of the modules whose instructions are drawn out."""
        if self.described is None:
            return {n: path.read_bytes() for n, path in modules.files.items() if n != build.INJECTOR}
        names = self.described.under_test
        return {e.name: e.content for e in targetfile.loads(self.described, kernel) if e.name in names}

    def install(
        self, subject: Subject, kernel: Kernel, modules: build.ModuleSet, draws_out: bool = False
    ) -> Json:
        """Brings into the subject what the cell needs, and gives the fields of its `run`;
        `draws_out`: with the injector, where nothing carries marks too."""
        fields: Json = {"device": self.node}
        loaded: list[Json] = []
        brought = dict(modules.files)
        if draws_out and self.described is None and not self.builds:
            brought = {build.INJECTOR: build.modules(kernel).files[build.INJECTOR]}
            fields["marked"] = False
        for name, path in brought.items():
            there, content = _path_of(name), path.read_bytes()
            subject.bring(there, content)
            # its probes and marks stand ready for the next cell
            keep = name == build.INJECTOR and (subject.stays or subject.has_loaded(there, content))
            loaded.append({"name": name, "path": there, "keep": keep})
        if self.described is not None:
            for each in targetfile.loads(self.described, kernel, draws_out):
                there = _path_of(each.name)
                subject.bring(there, each.content)
                loaded.append(
                    {"name": each.name, "path": there, "parameters": each.parameters, "keep": each.keep}
                )
            was_set_up = subject.preload is not None and bool(subject.preload.mark)
            image = self.described.image
            if image is not None and not was_set_up:
                subject.link.push(image.path_gz, targetfile.image_gz(image))
            set_up = list(self.described.set_up_all)
            if was_set_up:  # unless it failed there: then it is tried again, and its error is told
                set_up = [f"[ -e {SET_UP_MARK} ] || {{ {command}\n}}" for command in set_up]
            fields |= {"set_up": set_up, "tear_down": list(self.described.tear_down)}
            fields["marked"] = self.described.marks
        return {**fields, "modules": loaded}


def _path_of(module: str) -> str:
    return f"{MODULE_FOLDER}/{module}.ko"


def _written_back(kernel: Kernel) -> Preload | None:
    """A block device in memory, for buffers under write-back (stress/lib/written_back.h): brd, which
    writes back in the caller, or loop over a file. A kernel that has neither, as a user's own may, is
    left without, and the scenarios say that they leave write-back out."""
    for name, parameters, commands in (
        ("brd", f"rd_nr=1 rd_size={WRITTEN_BACK_MIB << 10}", (f"ln -s /dev/ram0 {WRITTEN_BACK_FILE}",)),
        (
            "loop",
            "",
            (
                f"truncate -s {WRITTEN_BACK_MIB}M {WRITTEN_BACK_SPACE}",
                f"losetup /dev/loop0 {WRITTEN_BACK_SPACE}",
                f"ln -s /dev/loop0 {WRITTEN_BACK_FILE}",
            ),
        ),
    ):
        try:
            found = initramfs.kernel_modules(kernel, [name])
        except HarnessError:
            continue
        modules = tuple(ModuleThere(_path_of(n), content, parameters) for n, content in found.items())
        return Preload(modules, commands=commands)
    return None


_BUILT_IN = (
    Target(
        "zcdma", ("qemu", "lab"), row="zcdma", builds=True, node="/dev/zcdma0",
        device=ZCDMA_DEVICE, paths=ZCDMA_PATHS, crowded_paths=ZCDMA_CROWDED_PATHS,
        watched=ZCDMA_WATCHED,
    ),  # fmt: skip
    Target(
        EDU, ("qemu",), row=EDU, builds=True, node="/dev/zcdma0",
        device=ZCDMA_DEVICE, paths=ZCDMA_PATHS, crowded_paths=ZCDMA_CROWDED_PATHS,
        knobs=EDU_KNOBS, watched=ZCDMA_WATCHED, hardware=Hardware((Device("edu"),) * EDU_CARDS, iommu=True), pace=0.05,
        faults=EDU_FAULTS,
    ),  # fmt: skip
    Target("poll", ("qemu", "lab", "local"), row="poll"),
)


def _of_file(path: Path, row: str) -> Target:
    described = targetfile.load(path)
    return Target(
        name=described.name,
        lanes=("qemu", "lab"),
        row=row,
        node=described.node,
        described=described,
        knobs=described.knobs,
        hardware=described.hardware,
    )


@functools.cache
def _gadgets() -> dict[str, Path]:
    return {path.stem: path for path in sorted((paths.ORCHESTRATE / "targets" / "gadget").glob("*.toml"))}


@functools.cache
def _files() -> dict[str, Path]:
    return {path.stem: path for path in sorted((paths.ORCHESTRATE / "targets").glob("*.toml"))}


def _gadget(name: str, *patches: str) -> Target:
    """Its scenario's requests have a shape of their own: what a target.toml says of them is not its."""
    target = replace(_of_file(_gadgets()[name], GADGET), knobs={})
    assert target.described is not None
    read = tuple(map(kernelpatch.named, patches))
    for patch in read:
        if patch.module == kernelpatch.IMAGE:
            raise ConfigurationError(f"{patch.name} is of the kernel's image: --kernel kasan+{patch.name}")
    return replace(
        target, name="+".join((name, *patches)), described=replace(target.described, patches=read)
    )


def names() -> tuple[str, ...]:
    return (*(target.name for target in _BUILT_IN), FILE_GROUP, *_files(), *_gadgets())


@functools.cache
def named(word: str) -> Target:
    """By name, or by the path of a target.toml. ConfigurationError for a word that is neither, and
    for a file that is wrong."""
    for target in _BUILT_IN:
        if target.name == word:
            return target
    if word in _files():
        return _of_file(_files()[word], FILE_GROUP)
    if word.partition("+")[0] in _gadgets():
        return _gadget(*word.split("+"))
    if "/" in word or word.endswith(".toml"):
        path = Path(word)
        return _of_file(path / "target.toml" if path.is_dir() else path, OWN)
    raise ConfigurationError(f"unknown target {word!r}; there is: {', '.join(names())}, or PATH/target.toml")


def expanded(words: Sequence[str]) -> list[str]:
    """`file` stands for each of its kinds; a path for itself, made absolute."""
    chosen: list[str] = []
    for word in words:
        if word == FILE_GROUP:
            chosen += _files()
        elif "/" in word or word.endswith(".toml"):
            chosen.append(str(Path(word).resolve()))
        else:
            chosen.append(word)
    return list(dict.fromkeys(chosen))


def on_lane(lane: str) -> tuple[str, ...]:
    return tuple(target.name for target in _BUILT_IN if lane in target.lanes)
