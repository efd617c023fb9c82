"""What an oracle says about a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ORACLES = ("ledger", "data", "hang", "leak", "kernel-log", "contract", "sanitizer")


@dataclass(frozen=True)
class Finding:
    """One finding. `title` and `signature` are stable from run to run.

    `known` is the reference (commit or report) of the entry in known.toml that the finding
    matches, or None. `lockup` marks reports that a starved host can cause on its own: whoever
    shows one sets the host's run-delay beside it.
    """

    oracle: str
    title: str
    signature: str
    evidence: tuple[str, ...] = ()
    known: str | None = None
    lockup: bool = field(default=False, compare=False)

    def is_of(self, oracle: str) -> bool:
        """Is it of that oracle? A whole oracle (leak), or a part of one as signatures name it
        (ledger/late): words of the path, from its begin."""
        path = self.signature.replace(":", "/")
        return oracle == self.oracle or path == oracle or path.startswith(f"{oracle}/")

    def to_json(self) -> dict[str, Any]:
        return {
            "oracle": self.oracle,
            "title": self.title,
            "signature": self.signature,
            "evidence": list(self.evidence),
            "known": self.known,
            "lockup": self.lockup,
        }

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> Finding:
        """From an agent's line or a results line; ValueError when a field is missing or wrong."""
        texts: dict[str, str] = {}
        for name in ("oracle", "title", "signature"):
            value = stored.get(name)
            if not isinstance(value, str) or not value:
                raise ValueError(f"finding: {name!r} is missing or no text")
            texts[name] = value
        evidence = stored.get("evidence", [])
        if not isinstance(evidence, (list, tuple)):
            raise ValueError("finding: 'evidence' is no list")
        known = stored.get("known")
        return Finding(
            texts["oracle"],
            texts["title"],
            texts["signature"],
            tuple(str(line) for line in evidence),
            None if known is None else str(known),
            bool(stored.get("lockup", False)),
        )
