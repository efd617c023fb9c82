"""pytest as the orchestrator: options, set-up, cells as tests, one line a cell, exit statuses."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

pytest_plugins = ["aiotorture.pytest_cells"]
