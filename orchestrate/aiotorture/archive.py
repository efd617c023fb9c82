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


# apt's words for a list or package that is not what its signature says (apt-pkg/acquire-item.cc,
# methods/gpgv.cc) ...
FORGED = (
    "NO_PUBKEY", "BADSIG", "EXPKEYSIG", "REVKEYSIG", "invalid signature", "is not signed",
    "The following signatures", "no longer signed", "Hash Sum mismatch", "unexpected size",
    "File has unexpected size", "Clearsigned file isn't valid",
)  # fmt: skip
# ... and for an archive that does not answer (methods/connect.cc, methods/basehttp.cc).
UNREACHABLE = (
    "Could not resolve", "Temporary failure resolving", "Could not connect", "Unable to connect",
    "Connection failed", "Connection timed out", "Connection refused", "Cannot initiate the connection",
    "Network is unreachable",
)  # fmt: skip


def apt_reason(said: str) -> str:
    """One line on why apt-get failed; forgery before silence, silence before the rest."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    lines.sort(key=lambda line: 0 if line.startswith("E:") else 1 if line.startswith("W:") else 2)
    for marks, what in ((FORGED, "signature or hash is wrong"), (UNREACHABLE, "cannot be reached")):
        for line in lines:
            if any(mark in line for mark in marks):
                return f"{what}: {re.sub(r'^(E|W|Err:[0-9]+):? *', '', line)}"
    return re.sub(r"^[EW]: *", "", lines[0]) if lines else "apt-get failed without a word"


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


def mirrors() -> tuple[str, str]:
    """(mirror, security mirror) for this host."""
    return host_mirrors(_host_sources())


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

    def __init__(
        self,
        suites: Sequence[str],
        mirror_pair: tuple[str, str] | None = None,
        keyring: Path = KEYRING,
    ) -> None:
        self.suites = tuple(suites)
        self._mirrors = mirror_pair or mirrors()
        self._keyring = keyring
        self.folder = paths.cache_dir() / "apt" / "+".join(suites)
        self._conf = self.folder / "apt.conf"

    def _write_configuration(self) -> None:
        mirror, security = self._mirrors
        for part in ("state/lists/partial", "cache/archives/partial", "etc"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        lines = []
        for suite in self.suites:
            uri = security if suite.endswith("-security") else mirror
            lines.append(f"deb [arch=amd64 signed-by={self._keyring}] {uri} {suite} main\n")
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
            # the host's own settings (a proxy, say) stay in force, but not these
            "Acquire::AllowInsecureRepositories": "false",
            "Acquire::AllowWeakRepositories": "false",
            "Acquire::AllowDowngradeToInsecureRepositories": "false",
            "APT::Get::AllowUnauthenticated": "false",
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
        if not self._keyring.exists():
            raise ConfigurationError(f"{self._keyring} is missing (package debian-archive-keyring)")
        self._write_configuration()
        try:
            said = self._apt("apt-get", "update", "--error-on=any", timeout_s=UPDATE_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise ConfigurationError(f"archive of {' '.join(self.suites)}: no answer") from error
        if said.returncode:
            reason = apt_reason(said.stdout)
            raise ConfigurationError(f"archive of {' '.join(self.suites)}: {reason}")

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
        """Fetches (name, version) pairs. DownloadFailed when the mirror lacks one of them;
        ConfigurationError when no older version would fare better: a hash is wrong, or the archive
        does not answer."""
        words = [f"{name}={version}" for name, version in packages]
        try:
            said = self._apt("apt-get", "download", *words, timeout_s=DOWNLOAD_TIMEOUT_S, cwd=into)
        except subprocess.TimeoutExpired as error:
            raise DownloadFailed(f"not here after {DOWNLOAD_TIMEOUT_S:g} s") from error
        got = sorted(into.glob("*.deb"))
        if said.returncode:
            reason = apt_reason(said.stdout)
            if any(mark in said.stdout for mark in (*FORGED, *UNREACHABLE)):
                raise ConfigurationError(f"archive of {' '.join(self.suites)}: {reason}")
            raise DownloadFailed(reason)
        if len(got) < len(words):
            raise DownloadFailed(f"{len(got)} of {len(words)} packages came")
        return got
