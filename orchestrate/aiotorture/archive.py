"""Debian's archive through a private apt: own sources, lists and state; the host's are untouched.

Lists are verified with debian-archive-keyring, packages by the hashes in the lists.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cmp_to_key
from pathlib import Path

from aiotorture import paths, processes
from aiotorture.errors import ConfigurationError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DEFAULT_MIRROR = "http://deb.debian.org/debian"
DEFAULT_SECURITY_MIRROR = "http://deb.debian.org/debian-security"
UPDATE_TIMEOUT_S = 300.0
DOWNLOAD_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Package:
    """One version of a package as a signed list names it."""

    name: str
    version: str
    depends: tuple[str, ...]


class DownloadFailed(Exception):
    """The archive's list names a package that the mirror does not deliver."""


def host_mirrors(sources: Iterable[str]) -> tuple[str, str]:
    """(mirror, security mirror) as the host's own sources name them, else deb.debian.org."""
    mirror, security = "", ""
    for text in sources:
        for uri in re.findall(r"https?://[^\s\]#]+", re.sub(r"(?m)^\s*#.*$", "", text)):
            uri = uri.rstrip("/")
            if uri.endswith("/debian") and not mirror:
                mirror = uri
            elif uri.endswith("/debian-security") and not security:
                security = uri
    return mirror or DEFAULT_MIRROR, security or DEFAULT_SECURITY_MIRROR


def _host_sources() -> list[str]:
    folder = Path("/etc/apt")
    files = [folder / "sources.list"]
    files += sorted((folder / "sources.list.d").glob("*"))
    return [f.read_text(errors="replace") for f in files if f.is_file()]


def newer_first(versions: Iterable[str]) -> list[str]:
    """Sorts by Debian's own order of versions (dpkg --compare-versions)."""

    def compare(left: str, right: str) -> int:
        if left == right:
            return 0
        said = subprocess.run(["dpkg", "--compare-versions", left, "gt", right], check=False)
        return -1 if said.returncode == 0 else 1

    return sorted(set(versions), key=cmp_to_key(compare))


def parse_stanzas(text: str) -> list[Package]:
    packages = []
    for stanza in text.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in stanza.splitlines() if re.match(r"[\w-]+: ", line)
        )
        if "Package" in fields and "Version" in fields:
            depends = tuple(
                word.strip().split()[0].split(":")[0]
                for word in fields.get("Depends", "").split(",")
                if word.strip()
            )
            packages.append(Package(fields["Package"], fields["Version"], depends))
    return packages


class Archive:
    """The packages of a few suites. Lists are kept in the cache and refreshed by update()."""

    def __init__(self, suites: Sequence[str]) -> None:
        self.suites = tuple(suites)
        self.folder = paths.cache_dir() / "apt" / "+".join(suites)
        self._conf = self.folder / "apt.conf"

    def _write_configuration(self) -> None:
        mirror, security = host_mirrors(_host_sources())
        for part in ("state/lists/partial", "cache/archives/partial", "etc"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        lines = []
        for suite in self.suites:
            uri = security if suite.endswith("-security") else mirror
            lines.append(f"deb [arch=amd64 signed-by={KEYRING}] {uri} {suite} main\n")
        (self.folder / "etc/sources.list").write_text("".join(lines))
        (self.folder / "state/status").touch()
        settings = {
            "Dir::State": self.folder / "state",
            "Dir::State::Lists": self.folder / "state/lists",
            "Dir::State::status": self.folder / "state/status",
            "Dir::Cache": self.folder / "cache",
            "Dir::Etc::SourceList": self.folder / "etc/sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "APT::Architecture": "amd64",
            "APT::Default-Release": "",
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled": "false",
            "Acquire::Retries": "2",
            "Acquire::http::Timeout": "30",
            # end-of-life suites keep their last Release file, whose Valid-Until has passed
            "Acquire::Check-Valid-Until": "false",
        }
        self._conf.write_text("".join(f'{key} "{value}";\n' for key, value in settings.items()))

    def _apt(
        self, tool: str, *words: str, timeout_s: float, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        return processes.output(
            [tool, "-q", "-c", self._conf, *words],
            timeout_s=timeout_s,
            cwd=cwd,
            env=dict(os.environ, LC_ALL="C.UTF-8"),
        )

    def update(self) -> None:
        """Fetches and verifies the lists; ConfigurationError when that is not possible."""
        if not KEYRING.exists():
            raise ConfigurationError(f"{KEYRING} is missing (package debian-archive-keyring)")
        self._write_configuration()
        said = self._apt("apt-get", "update", "--error-on=any", timeout_s=UPDATE_TIMEOUT_S)
        if said.returncode:
            errors = [line for line in said.stdout.splitlines() if line.startswith(("E:", "Err"))]
            reason = errors[0] if errors else "apt-get update failed"
            raise ConfigurationError(f"no package lists for {' '.join(self.suites)}: {reason}")

    def packages(self, pattern: str) -> list[Package]:
        """All versions of all packages whose whole name matches, newest version first."""
        said = self._apt("apt-cache", "pkgnames", "linux-", timeout_s=60)
        names = [name for name in said.stdout.split() if re.fullmatch(pattern, name)]
        if not names:
            return []
        shown = self._apt("apt-cache", "show", "--all-versions", *names, timeout_s=60)
        found = parse_stanzas(shown.stdout)
        order = {version: n for n, version in enumerate(newer_first(p.version for p in found))}
        return sorted(found, key=lambda p: order[p.version])

    def download(self, packages: Sequence[tuple[str, str]], into: Path) -> list[Path]:
        """Fetches (name, version) pairs; DownloadFailed when one of them does not come."""
        words = [f"{name}={version}" for name, version in packages]
        said = self._apt("apt-get", "download", *words, timeout_s=DOWNLOAD_TIMEOUT_S, cwd=into)
        got = sorted(into.glob("*.deb"))
        if said.returncode or len(got) < len(words):
            errors = [line for line in said.stdout.splitlines() if line.startswith("E:")]
            raise DownloadFailed(errors[0] if errors else f"{len(got)} of {len(words)} came")
        return got
