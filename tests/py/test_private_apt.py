"""archive.py: the private apt, against repositories in a folder, signed by a key made here."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiotorture.archive import Archive, DownloadFailed, apt_reason
from aiotorture.errors import ConfigurationError

needs_gpg = pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not installed")


class Repository:
    """A Debian repository with one suite, `stable`."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.keyring = folder / "key.gpg"
        self._home = home
        self._stanzas: list[str] = []
        self._gpg("--quick-generate-key", "--passphrase", "", "test <t@example.org>", "rsa2048")
        self.keyring.write_bytes(self._gpg("--export"))

    def _gpg(self, *words: str) -> bytes:
        said = subprocess.run(
            ["gpg", "--homedir", self._home, "--batch", "--yes", "--pinentry-mode", "loopback", *words],
            capture_output=True,
            check=True,
        )
        return said.stdout

    def add(self, name: str, version: str, delivered: bool = True) -> Path:
        tree = self.folder / "build" / f"{name}_{version}"
        (tree / "DEBIAN").mkdir(parents=True)
        control = f"Package: {name}\nVersion: {version}\nArchitecture: amd64\n"
        control += "Maintainer: T <t@example.org>\nDescription: test\n"
        (tree / "DEBIAN/control").write_text(control)
        deb = self.folder / f"pool/{name}_{version}_amd64.deb"
        deb.parent.mkdir(exist_ok=True)
        subprocess.run(["dpkg-deb", "-b", tree, deb], check=True, capture_output=True)
        content = deb.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        where = f"Filename: pool/{deb.name}\nSize: {len(content)}\nSHA256: {digest}\n"
        self._stanzas.append(control + where)
        if not delivered:
            deb.unlink()
        return deb

    def publish(self, sign: bool = True) -> None:
        listed = self.folder / "dists/stable/main/binary-amd64/Packages"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text("\n".join(self._stanzas))
        digest = hashlib.sha256(listed.read_bytes()).hexdigest()
        release = self.folder / "dists/stable/Release"
        release.write_text(
            "Origin: test\nSuite: stable\nCodename: stable\nArchitectures: amd64\nComponents: main\n"
            "Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n"
            f" {digest} {listed.stat().st_size} main/binary-amd64/Packages\n"
        )
        if sign:
            target = release.with_name("InRelease")
            self._gpg("--passphrase", "", "--clearsign", "-o", str(target), str(release))

    def archive(self, uri: str = "") -> Archive:
        mirror = uri or f"file://{self.folder}"
        return Archive(["stable"], (mirror, mirror), self.keyring)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "repository"
    folder.mkdir()
    # gpg-agent's socket has a name of at most 108 bytes
    home = Path(tempfile.mkdtemp(prefix="atgpg"))
    yield Repository(folder, home)
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
    shutil.rmtree(home, ignore_errors=True)


@needs_gpg
def test_newest_first_and_downloaded(repository: Repository, tmp_path: Path) -> None:
    for version in ("6.1.9-1", "6.1.10-1", "6.1.10-1~bpo1"):
        repository.add("linux-image-6.1-amd64-unsigned", version)
    repository.publish()
    archive = repository.archive()
    archive.update()
    found = archive.packages(r"linux-image-.*-unsigned")
    assert [p.version for p in found] == ["6.1.10-1", "6.1.10-1~bpo1", "6.1.9-1"]
    (deb,) = archive.download([(found[0].name, found[0].version)], tmp_path)
    assert deb.name == "linux-image-6.1-amd64-unsigned_6.1.10-1_amd64.deb"


@needs_gpg
def test_unsigned_lists_are_refused(repository: Repository) -> None:
    repository.publish(sign=False)
    with pytest.raises(ConfigurationError, match="signature or hash is wrong"):
        repository.archive().update()


@needs_gpg
def test_lists_signed_by_another_key_are_refused(repository: Repository) -> None:
    repository.publish()
    debian = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    if not debian.exists():
        pytest.skip("debian-archive-keyring is not installed")
    shutil.copyfile(debian, repository.keyring)
    with pytest.raises(ConfigurationError, match="signature or hash is wrong"):
        repository.archive().update()


@needs_gpg
def test_changed_package_is_refused(repository: Repository, tmp_path: Path) -> None:
    deb = repository.add("linux-image-x", "1")
    repository.publish()
    content = bytearray(deb.read_bytes())
    content[-1] ^= 1
    deb.write_bytes(content)
    archive = repository.archive()
    archive.update()
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(ConfigurationError, match="signature or hash is wrong"):
        archive.download([("linux-image-x", "1")], into)


@needs_gpg
def test_package_that_the_mirror_lacks(repository: Repository, tmp_path: Path) -> None:
    repository.add("linux-image-x", "1", delivered=False)
    repository.publish()
    archive = repository.archive()
    archive.update()
    with pytest.raises(DownloadFailed):
        archive.download([("linux-image-x", "1")], tmp_path)


@needs_gpg
def test_archive_that_does_not_answer(repository: Repository) -> None:
    with pytest.raises(ConfigurationError, match="cannot be reached") as caught:
        repository.archive("http://127.0.0.1:1/debian").update()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "Err:1 http://x bullseye InRelease\n"
            "E: Failed to fetch http://x/a.deb  404  Not Found [IP: 1.2.3.4 80]\n",
            "Failed to fetch http://x/a.deb  404  Not Found [IP: 1.2.3.4 80]",
        ),
        (
            "W: GPG error: http://x trixie InRelease: The following signatures couldn't be verified "
            "because the public key is not available: NO_PUBKEY 6ED0E7B82643E131\n"
            "E: The repository 'http://x trixie InRelease' is not signed.\n",
            "signature or hash is wrong: The repository 'http://x trixie InRelease' is not signed.",
        ),
        (
            "Err:1 http://x bookworm InRelease\n  Temporary failure resolving 'x'\n"
            "E: Failed to fetch http://x/InRelease  Temporary failure resolving 'x'\n",
            "cannot be reached: Failed to fetch http://x/InRelease  Temporary failure resolving 'x'",
        ),
        ("", "apt-get failed without a word"),
    ],
)
def test_one_line_on_what_apt_said(said: str, reason: str) -> None:
    assert apt_reason(said) == reason
