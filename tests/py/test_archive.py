"""What is read off Debian's archive and the host's sources."""

from __future__ import annotations

from aiotorture import archive


def test_mirrors_are_those_of_the_host() -> None:
    deb822 = "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\n"
    classic = "deb [arch=amd64] https://mirror.example/debian-security/ bookworm-security main\n"
    assert archive.host_mirrors([deb822, classic]) == (
        "http://mirror.example/debian",
        "https://mirror.example/debian-security",
    )


def test_comments_and_other_archives_name_no_mirror() -> None:
    said = ["# http://snapshot.debian.org/archive/debian\ndeb https://deb.nodesource.com/x y main"]
    assert archive.host_mirrors(said) == (
        archive.DEFAULT_MIRROR,
        archive.DEFAULT_SECURITY_MIRROR,
    )


def test_versions_sort_as_dpkg_does() -> None:
    versions = ["6.1.9-1", "6.1.192-2", "6.1.192-1", "6.1.192-2~bpo"]
    assert archive.newer_first(versions) == ["6.1.192-2", "6.1.192-2~bpo", "6.1.192-1", "6.1.9-1"]


def test_stanzas_give_names_versions_and_dependencies() -> None:
    text = (
        "Package: linux-headers-6.1.0-56-amd64\nVersion: 6.1.192-2\n"
        "Depends: linux-headers-6.1.0-56-common (= 6.1.192-2), linux-kbuild-6.1 (>= 6.1.192-2)\n"
        "Description: x\n y\n\nPackage: other\nVersion: 1\n"
    )
    headers, other = archive.parse_stanzas(text)
    assert headers.depends == ("linux-headers-6.1.0-56-common", "linux-kbuild-6.1")
    assert other == archive.Package("other", "1", ())
