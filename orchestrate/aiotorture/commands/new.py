"""`new target NAME`: a target.toml to fill in."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from aiotorture.cli import parser
from aiotorture.errors import ConfigurationError

TARGET = """\
# What `./aiotorture run --target {path}` needs to know of your driver.
# docs/your-driver.md walks through an example; every field stands in docs/targets.md.

name = "{name}"
# what is opened; it must be there when the module is loaded and set_up has run
node = "/dev/{name}"

# the folder with your Kbuild file (or Makefile): a copy of it is built for each kernel,
# and must make {module}.ko. Or a module that is built already, for one kernel:
#   module = "{module}.ko"
source = "."
# parameters = "depth=64"

# modules of the kernel itself that must be loaded first, with their parameters
# needs = ["videobuf2_common"]

# shell commands in the guest, after loading and before unloading (busybox's programs)
# set_up = ["echo 1 > /sys/class/misc/{name}/enable"]
# tear_down = []

# a card that QEMU has, plugged into the guest, and an IOMMU before it, which tells of late DMA
# devices = ["edu"]
# iommu = true

# the module carries marks (fault/aiotorture.h), so that faults can be placed at its phases
# marks = true

[request]
# bytes that can be read and written; a read gives what was last written there
memory = "1M"
# what a read gives: "stored" what was last written, "any" something, "none" not to be judged
bytes = "stored"
# what offsets, lengths and addresses are multiples of
align = 1
min_len = 1
max_len = "8K"
# the longest that a request may take, when nothing is wrong
timeout = "1s"
# requests that one submitter keeps in flight; two submit
depth = 32

[cancel]
# io_cancel() may say that it will stop a request in flight
works = true
# and then its event carries this
errno = "ECANCELED"
"""


def main(arguments: Sequence[str]) -> int:
    made = parser("new")
    made.add_argument("what", choices=["target"], metavar="target")
    made.add_argument("name", metavar="NAME", help="of the driver, as its module is called")
    made.add_argument("--dir", metavar="DIR", help="where target.toml is written (default: here)")
    given = made.parse_args(arguments)
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,40}", given.name):
        raise ConfigurationError(f"{given.name!r} is not made of a-z, 0-9, - and _")
    folder = Path(given.dir) if given.dir else Path.cwd()
    path = folder / "target.toml"
    text = TARGET.format(name=given.name, module=given.name.replace("-", "_"), path=path)
    try:
        with path.open("x") as out:
            out.write(text)
    except FileExistsError as error:
        raise ConfigurationError(f"{path} is there already") from error
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    print(json.dumps({"path": str(path)}) if given.json else f"{path} written; then: ./aiotorture run --target {path}")
    return 0
