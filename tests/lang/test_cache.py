"""The cache gives back what was compiled, and never anything else."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from vel2.lang import build, build_object, cache, resident, u64


@resident
def one(x: u64) -> u64:
    return u64(x + 1)


@resident
def two(x: u64) -> u64:
    return u64(x + 2)


# Only code of the package is kept; these stand in for some.
one.__module__ = two.__module__ = "vel2.lang.types"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "vel2" / "images"


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count how often LLVM is asked."""
    seen: list[str] = []
    compile_aarch64 = build.compile_aarch64

    def counted(text: str, *arguments: object, **options: object) -> object:
        seen.append(text)
        return compile_aarch64(text, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(build, "compile_aarch64", counted)
    return seen


def test_the_second_time_is_free(compilations: list[str], folder: Path) -> None:
    first = build_object([one])
    assert len(list(folder.iterdir())) == 1
    second = build_object([one])
    assert len(compilations) == 1
    assert second == first


def test_what_differs_is_kept_apart(compilations: list[str]) -> None:
    for roots, options in (
        ([one], {}),
        ([two], {}),
        ([one, two], {}),
        ([two, one], {}),
        ([one], {"optimization": 1}),
        ([one], {"check_bounds": True}),
        ([one], {"mode": "userspace"}),
        ([one], {"mode": "simulated"}),
    ):
        build_object(roots, **options)  # type: ignore[arg-type]
    assert len(compilations) == 8


@pytest.mark.parametrize("damage", [b"", b"junk", "flip", "cut", "magic"])
def test_a_damaged_entry_is_made_again(
    damage: bytes | str, compilations: list[str], folder: Path
) -> None:
    expected = build_object([one])
    (entry,) = folder.iterdir()
    data = entry.read_bytes()
    entry.write_bytes(
        {
            "flip": data[:-1] + bytes([data[-1] ^ 1]),
            "cut": data[:-5],
            "magic": data.replace(b"object 1", b"object 0"),
        }[damage]
        if isinstance(damage, str)
        else damage
    )
    assert build_object([one]) == expected
    assert len(compilations) == 2
    assert entry.read_bytes() == data


def test_nothing_half_written_is_left(folder: Path) -> None:
    build_object([one])
    (entry,) = folder.iterdir()
    data = entry.read_bytes()[len(cache.MAGIC) :]
    assert data[:32] == hashlib.sha256(data[32:]).digest()
    assert data[32:36] == b"\x7fELF"


def test_a_folder_that_cannot_be_written_costs_only_time(
    compilations: list[str], folder: Path
) -> None:
    folder.parent.mkdir()
    folder.write_text("a file where the folder should be")
    assert build_object([one]) == build_object([one])
    assert len(compilations) == 2


def test_the_oldest_entries_go(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(cache, "ENTRIES_MAX", 3)
    for number, key in enumerate("abcd"):
        cache.save(key, key.encode())
        os.utime(folder / key, (number, number))
    cache.save("e", b"e")
    assert sorted(path.name for path in folder.iterdir()) == ["c", "d", "e"]
    assert cache.load("a") is None
    assert cache.load("e") == b"e"


def test_code_that_cannot_be_known_is_not_kept(compilations: list[str], folder: Path) -> None:
    limit = 3

    @resident
    def closed(x: u64) -> u64:
        return x % limit

    closed.__module__ = "vel2.lang.types"

    @resident
    def outside(x: u64) -> u64:
        return x

    assert cache.key_of([closed], "") is None
    assert cache.key_of([outside], "") is None
    build_object([outside])
    build_object([outside])
    assert len(compilations) == 2
    assert not folder.exists()


def test_use_can_be_refused(compilations: list[str], folder: Path) -> None:
    build_object([one], use_cache=False)
    assert not folder.exists()


def test_a_relative_home_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache.directory() == tmp_path / ".cache" / "vel2" / "images"


def digest_of(package: Path, *rooms: str) -> str:
    digest = hashlib.sha256()
    cache._add_rooms(digest, package, set(rooms))
    return digest.hexdigest()


def test_every_source_that_can_be_reached_counts(tmp_path: Path) -> None:
    sources = {
        "hyp/trap.py": "from vel2.arch import esr\nfrom vel2 import errors, trace\n",
        "hyp/deep/more.py": "import vel2.machine.layout\n",
        "arch/esr.py": "",
        "errors.py": "",
        "trace/ring.py": "",
        "machine/layout.py": "",
        "control/vm.py": "from vel2.hyp import trap\n",
    }
    for name, text in sources.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    before = digest_of(tmp_path, "hyp")
    for name in sources:
        path = tmp_path / name
        text = path.read_text()
        path.write_text(text + "# changed\n")
        counts = digest_of(tmp_path, "hyp") != before
        assert counts == (not name.startswith("control")), name
        path.write_text(text)
    assert digest_of(tmp_path, "hyp") == before
    (tmp_path / "hyp" / "new.py").write_text("")
    assert digest_of(tmp_path, "hyp") != before
