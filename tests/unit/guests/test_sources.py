"""The system's apt sources are understood in both formats, and only Debian's archive is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from vel2.errors import UserError
from vel2.guests.sources import (
    Archive,
    SourceEntry,
    find_archive,
    parse_list,
    parse_sources,
    read_system,
)

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DEB822 = f"""\
# Written by an installer.
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: {KEYRING}

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: {KEYRING}

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
Components: main
"""
ONE_LINE = f"""\
# deb http://comment.example/debian trixie main
deb [arch=amd64 signed-by={KEYRING}] http://mirror.example/debian trixie main  # fast
deb http://mirror.example/debian-security trixie-security main
deb-src http://mirror.example/debian trixie main
deb [arch=amd64] http://vendor.example/apt stable main
"""


def test_deb822() -> None:
    assert list(parse_sources(DEB822)) == [
        SourceEntry("http://mirror.example/debian", "bookworm", ("main", "contrib"), KEYRING),
        SourceEntry(
            "http://mirror.example/debian", "bookworm-updates", ("main", "contrib"), KEYRING
        ),
        SourceEntry(
            "http://mirror.example/debian-security", "bookworm-security", ("main",), KEYRING
        ),
    ]


def test_deb822_keeps_a_key_block_as_it_is() -> None:
    block = (
        "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINB\n -----END PGP PUBLIC KEY BLOCK-----"
    )
    text = (
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: sid\nComponents: main\n"
        f"Signed-By:{block}\n"
    )
    (entry,) = parse_sources(text)
    assert entry.signed_by == block


def test_one_line() -> None:
    assert list(parse_list(ONE_LINE)) == [
        SourceEntry("http://mirror.example/debian", "trixie", ("main",), KEYRING),
        SourceEntry("http://mirror.example/debian-security", "trixie-security", ("main",)),
        SourceEntry("http://vendor.example/apt", "stable", ("main",)),
    ]


@pytest.mark.parametrize("parse", [parse_sources, parse_list])
@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "nonsense\n"])
def test_files_without_entries(parse: object, text: str) -> None:
    assert callable(parse)
    assert list(parse(text)) == []


def test_system_folder_is_read_as_apt_reads_it(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(ONE_LINE)
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "debian.sources").write_text(DEB822)
    (tmp_path / "sources.list.d" / "other.list.disabled").write_text(ONE_LINE)
    entries = read_system(tmp_path)
    assert len(entries) == 6
    assert entries[0].suite == "trixie"
    assert read_system(tmp_path / "missing") == []


@pytest.fixture
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("VEL2_DEBIAN_MIRROR", raising=False)
    path = tmp_path / "keyring.gpg"
    path.touch()
    return path


def test_debians_archive_is_chosen(keyring: Path) -> None:
    expected = Archive(
        "http://mirror.example/debian", "http://mirror.example/debian-security", KEYRING
    )
    assert find_archive(parse_sources(DEB822), keyring=keyring) == expected
    assert find_archive(parse_list(ONE_LINE), keyring=keyring) == expected


def test_a_keyless_entry_is_trusted_by_debians_keyring_only(keyring: Path, tmp_path: Path) -> None:
    entries = list(parse_list("deb http://mirror.example/debian sid main\n"))
    assert find_archive(entries, keyring=keyring) == Archive(
        "http://mirror.example/debian", None, str(keyring)
    )
    with pytest.raises(UserError) as caught:
        find_archive(entries, keyring=tmp_path / "none.gpg")
    assert str(caught.value) == (
        f"Debian's archive key {tmp_path}/none.gpg is missing, so nothing fetched could be "
        "trusted; install debian-archive-keyring."
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "deb http://vendor.example/apt stable main\n",
        "deb http://mirror.example/ubuntu noble main\n",
        "deb http://mirror.example/debian bookworm contrib\n",
        "deb http://mirror.example/debian-security bookworm-security main\n",
    ],
)
def test_other_archives_are_not_debians(text: str, keyring: Path) -> None:
    with pytest.raises(UserError) as caught:
        find_archive(parse_list(text), keyring=keyring)
    assert str(caught.value) == (
        "no Debian mirror is named in apt's sources (/etc/apt); vel2 fetches its guests from "
        "Debian: set VEL2_DEBIAN_MIRROR to a mirror's URL, or give kernels as files."
    )


def test_the_environment_can_name_a_mirror(keyring: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEL2_DEBIAN_MIRROR", "http://near.example/debian")
    assert find_archive([], keyring=keyring).uri == "http://near.example/debian"
    monkeypatch.setenv("VEL2_DEBIAN_MIRROR", "near")
    with pytest.raises(UserError, match=r"^VEL2_DEBIAN_MIRROR is 'near', which is not a URL"):
        find_archive([], keyring=keyring)
