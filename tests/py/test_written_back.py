"""What a ready guest of zcdma has for buffers under write-back, by the modules of its kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from aiotorture import initramfs, targets
from aiotorture.errors import HarnessError
from aiotorture.kernels import Kernel

A_KERNEL = cast(Kernel, None)  # looked at by kernel_modules() alone


def having(*names: str) -> object:
    def kernel_modules(kernel: Kernel, wanted: Sequence[str]) -> dict[str, bytes]:
        if any(name not in names for name in wanted):
            raise HarnessError(f"no module {wanted}")
        return {name: b"elf" for name in wanted}

    return kernel_modules


def test_brd_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initramfs, "kernel_modules", having("loop", "brd"))
    preload = targets.named("zcdma").preload(A_KERNEL)
    assert preload is not None
    assert [module.path for module in preload.modules] == ["/lib/at/brd.ko"]
    assert preload.modules[0].parameters == "rd_nr=1 rd_size=65536"
    assert preload.commands == ("ln -s /dev/ram0 /run/at-written-back",)


def test_loop_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initramfs, "kernel_modules", having("loop"))
    preload = targets.named("zcdma").preload(A_KERNEL)
    assert preload is not None
    assert [module.path for module in preload.modules] == ["/lib/at/loop.ko"]
    assert preload.commands[-1] == "ln -s /dev/loop0 /run/at-written-back"


def test_a_kernel_with_neither_is_left_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initramfs, "kernel_modules", having())
    assert targets.named("zcdma").preload(A_KERNEL) is None


def test_the_stressor_opens_what_the_guest_links() -> None:
    header = (targets.paths.ROOT / "stress/lib/written_back.h").read_text()
    assert f'written_back_file[] = "{targets.WRITTEN_BACK_FILE}"' in header


def test_the_injector_is_there_with_either_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    for have, modules in ((("brd",), ["brd", "fail_injector"]), ((), ["fail_injector"])):
        monkeypatch.setattr(initramfs, "kernel_modules", having(*have))
        preload = targets.named("zcdma").preload(A_KERNEL, b"injector")
        assert preload is not None
        assert [module.path for module in preload.modules] == [f"/lib/at/{name}.ko" for name in modules]
