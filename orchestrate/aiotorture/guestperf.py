"""Profiles of a cell, recorded inside the guest with Debian's perf.

There is no PMU under TCG, so the event is the software clock. Recording starts when the target's
module is there, since perf notes the modules it finds at its start, and ends when the module goes;
the symbols are kept while it is loaded, and the report is written in the guest, where they belong.
"""

from __future__ import annotations

import time
from pathlib import Path

from aiotorture import build, initramfs
from aiotorture.agentlink import AgentError, AgentLink
from aiotorture.errors import ConfigurationError
from aiotorture.initramfs import Root
from aiotorture.kernels import Kernel

PERF = Path("/usr/bin/perf")
FREQUENCY_HZ = 499
REPORT_TIMEOUT_S = 180.0
REPORT = "/tmp/perf-report.txt"
DONE = "/tmp/perf-done"
CHUNK_BYTES = 400 * 1024
REPORT_LIMIT_BYTES = 8 << 20

LAUNCH = """#!/bin/sh
setsid /bin/at-perf-record < /dev/null > /tmp/perf.log 2>&1 &
"""
RECORD = f"""#!/bin/sh
export HOME=/root PAGER=cat PERF_PAGER=cat
echo 0 > /proc/sys/kernel/kptr_restrict
echo -1 > /proc/sys/kernel/perf_event_paranoid
while [ ! -d /sys/module/zcdma ]; do sleep 0.05; done
perf record -q -e cpu-clock -F {FREQUENCY_HZ} -a -g -o /tmp/perf.data sleep 3600 &
recorder=$!
cat /proc/kallsyms > /tmp/kallsyms
while [ -d /sys/module/zcdma ]; do sleep 0.1; done
kill -INT $recorder
wait $recorder
perf report --stdio -i /tmp/perf.data --kallsyms /tmp/kallsyms --no-children \\
	--sort symbol,dso -w 60,20 -g caller,0.5,callee --percent-limit 0.1 > {REPORT} 2> /tmp/perf-errors
touch {DONE}
"""


def root(kernel: Kernel) -> Root:
    """A guest's root with perf, what it maps, and the agent with its symbols."""
    if not PERF.exists():
        raise ConfigurationError(f"{PERF} is missing (Debian package linux-perf)")
    made = initramfs.base_root(kernel, build.agent(keep_symbols=True))
    initramfs.add_program(made, PERF, "perf")
    made.file("bin/at-perf", LAUNCH.encode(), 0o755)
    made.file("bin/at-perf-record", RECORD.encode(), 0o755)
    return made


def start(link: AgentLink) -> None:
    link.execute(["/bin/at-perf"])


def collect(link: AgentLink, into: Path) -> Path | None:
    """Waits for the report and fetches it; None when perf left none."""
    deadline = time.monotonic() + REPORT_TIMEOUT_S
    while True:
        try:
            link.pull(DONE)
            break
        except AgentError:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.5)
    text = b""
    while len(text) < REPORT_LIMIT_BYTES:
        chunk = link.pull(REPORT, CHUNK_BYTES, offset=len(text))
        text += chunk
        if len(chunk) < CHUNK_BYTES:
            break
    if not text.strip():
        text = link.pull("/tmp/perf-errors") + link.pull("/tmp/perf.log")
    into.mkdir(parents=True, exist_ok=True)
    path = into / "perf.txt"
    path.write_bytes(text)
    return path
