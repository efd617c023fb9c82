"""Planted bugs of the driver are found in the model, by the oracle that names their class.

Usage: mutants_check.py AT_EXPLORE
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCHEDULES = 5000
RUN_S = 300
# mutants/driver/NAME.patch, the variant that shows it, and the start of a signature it must have
MUTANTS = (
    ("answer-before-abort", "callback", "data:late-"),
    ("cancel-completes-inline", "callback", "deadlock:"),
    ("cancel-drops-request", "callback", "deadlock:destroyer>comp"),
    ("cancel-early-ref-leak", "callback", "deadlock:__fput>drained"),
    ("cancel-enables-irqs", "callback-cancel", "context:"),
    ("cancel-mark-read-after-put", "none", "use-after-free:zcdma_req"),
    ("complete-twice", "callback", "list:"),
    ("complete-under-device-lock", "callback", "deadlock:"),
    ("error-and-completion", "callback", "use-after-free:aio_kiocb"),
    ("free-before-complete", "callback", "use-after-free:zcdma_req"),
    ("last-descriptor-only", "callback-pair", "data:r1:stale-data"),
    ("residue-ignored", "callback", "data:r0:stale-data"),
    ("short-pin-leak", "callback-pair", "leak:pins"),
    ("timeout-no-ack", "flush", "data:late-"),
    ("timeout-ref-leak", "callback", "deadlock:__fput>drained"),
    ("unmap-only-in-ring", "callback", "data:unpin-while-mapped"),
)


def signatures(binary: Path, mutant: str, variant: str) -> list[str]:
    command = [str(binary), "zcdma", "--mutant", mutant, "--variant", variant]
    command += ["--strategy", "random", "--schedules", str(SCHEDULES), "--json"]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"{mutant}: {done.stderr.strip()}")
    return [one["signature"] for result in json.loads(done.stdout) for one in result["findings"]]


def main() -> int:
    binary = Path(sys.argv[1]).resolve()
    missed = 0
    for mutant, variant, signature in MUTANTS:
        found = signatures(binary, mutant, variant)
        hit = any(one.startswith(signature) for one in found)
        missed += not hit
        print(f"{mutant:28} {variant:18} {signature if hit else f'NOT FOUND, but {found}'}")
    print(f"{len(MUTANTS) - missed} of {len(MUTANTS)} found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
