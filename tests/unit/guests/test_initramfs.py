"""The cpio writer gives what the kernel reads, the same on every host."""

from __future__ import annotations

import gzip
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vel2.errors import UserError
from vel2.guests.initramfs import Entry, Initramfs, read_cpio

NAME = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12)
PATH = st.lists(NAME, min_size=1, max_size=3).map("/".join)


@given(st.dictionaries(NAME, st.binary(max_size=40)))
def test_round_trip(files: dict[str, bytes]) -> None:
    tree = Initramfs()
    for name, data in files.items():
        tree.file(f"/top/{name}", data)
    archive = tree.pack()
    assert len(archive) % 4 == 0
    found = read_cpio(archive)
    assert {
        name.removeprefix("top/"): e.data for name, e in found.items() if name != "top"
    } == files
    assert all(found[str(parent)].mode == stat.S_IFDIR | 0o755 for parent in ["top"] if files)


@given(st.lists(PATH, unique=True))
def test_parents_come_before_what_they_hold(paths: list[str]) -> None:
    tree = Initramfs()
    for path in paths:
        tree.directory(path)
    seen: set[str] = set()
    for name in read_cpio(tree.pack()):
        parent = name.rpartition("/")[0]
        assert not parent or parent in seen
        seen.add(name)


def test_every_kind_of_file() -> None:
    tree = Initramfs()
    tree.file("bin/tool", "text", 0o755)
    tree.link("bin/link", "tool")
    tree.directory("empty", 0o700)
    tree.character_device("dev/console", 5, 1)
    assert read_cpio(tree.pack()) == {
        "bin": Entry(stat.S_IFDIR | 0o755),
        "bin/link": Entry(stat.S_IFLNK | 0o777, b"tool"),
        "bin/tool": Entry(stat.S_IFREG | 0o755, b"text"),
        "dev": Entry(stat.S_IFDIR | 0o755),
        "dev/console": Entry(stat.S_IFCHR | 0o600, device=(5, 1)),
        "empty": Entry(stat.S_IFDIR | 0o700),
    }
    assert "/bin/tool" in tree and "bin/none" not in tree
    assert tree["/bin/tool"].data == b"text"


def test_first_header_byte_for_byte() -> None:
    tree = Initramfs()
    tree.file("init", b"#!x\n", 0o755)
    fields = ["00000001", "000081ED", "00000000", "00000000", "00000001", "00000000", "00000004"]
    fields += ["00000000", "00000000", "00000000", "00000000", "00000005", "00000000"]
    # 110 bytes of header and 5 of name are padded to 116.
    assert tree.pack().startswith(b"070701" + "".join(fields).encode() + b"init\0\0#!x\n070701")


def test_the_order_of_adding_does_not_show() -> None:
    one, other = Initramfs(), Initramfs()
    for name in "abc":
        one.file(name, name)
    for name in "cab":
        other.file(name, name)
    assert one.pack() == other.pack()
    assert one.pack(compress=True) == other.pack(compress=True)
    assert gzip.decompress(one.pack(compress=True)) == one.pack()


def test_a_folder_of_the_host_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "usr" / "bin").mkdir(parents=True)
    (tmp_path / "usr" / "bin" / "tool").write_bytes(b"elf")
    (tmp_path / "usr" / "bin" / "tool").chmod(0o755)
    (tmp_path / "bin").symlink_to("usr/bin")
    os.mkfifo(tmp_path / "pipe")
    tree = Initramfs()
    tree.folder(tmp_path, "root")
    assert list(tree) == ["root", "root/bin", "root/usr", "root/usr/bin", "root/usr/bin/tool"]
    assert tree["root/bin"] == Entry(stat.S_IFLNK | 0o777, b"usr/bin")
    assert tree["root/usr/bin/tool"] == Entry(stat.S_IFREG | 0o755, b"elf")


@pytest.mark.parametrize("path", ["", "/", "a//b", "../etc", "a/./b"])
def test_paths_that_lead_elsewhere_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="no path for a file"):
        Initramfs().file(path, b"")


def test_damaged_archives_are_refused() -> None:
    tree = Initramfs()
    tree.file("name", b"data" * 10)
    archive = tree.pack()
    for damaged, sentence in (
        (b"", "no newc cpio header at offset 0x0 of this archive."),
        (archive[:120], "the cpio archive ends inside the file at offset 0x0."),
        (archive[:160], "no newc cpio header at offset 0x9c of this archive."),
        (archive[:6] + b"zz" + archive[8:], "the cpio header at offset 0x0 is damaged."),
    ):
        with pytest.raises(UserError) as caught:
            read_cpio(damaged)
        assert str(caught.value) == sentence
