"""Guest RAM: addressed by physical address, sparse, without a name."""

from __future__ import annotations

import os

import pytest

from vel2.errors import UserError
from vel2.machine.memory import RAM_BASE, GuestMemory, format_bytes

MIB = 1 << 20


def test_reads_back_what_was_written_at_both_ends() -> None:
    with GuestMemory(4 * MIB) as memory:
        memory.write(RAM_BASE, b"first")
        memory.write(memory.end - 4, b"last")
        assert memory.read(RAM_BASE, 5) == b"first"
        assert memory.view[-4:] == b"last"
        window = memory.window(RAM_BASE, 5)
        window[:] = b"FIRST"
        assert memory.read(RAM_BASE, 6) == b"FIRST\0"


@pytest.mark.parametrize(
    ("pa", "length"),
    [(RAM_BASE - 1, 1), (RAM_BASE + MIB, 1), (RAM_BASE + MIB - 1, 2), (RAM_BASE, -1), (0, 0)],
)
def test_addresses_outside_ram_are_refused(pa: int, length: int) -> None:
    with GuestMemory(MIB) as memory, pytest.raises(ValueError, match="outside RAM"):
        memory.read(pa, length)


def test_memory_is_sparse_and_has_no_name() -> None:
    with GuestMemory(1024 * MIB) as memory:
        memory.write(RAM_BASE + 512 * MIB, b"x")
        assert 0 < memory.used_bytes <= 4 * MIB
        assert os.readlink(f"/proc/self/fd/{memory.fd}").startswith("/memfd:")


def test_closing_frees_the_file_and_spares_views_in_use() -> None:
    memory = GuestMemory(MIB)
    memory.write(RAM_BASE, b"kept")
    window = memory.window(RAM_BASE, 4)
    memory.close()
    memory.close()
    assert bytes(window) == b"kept"
    with pytest.raises(ValueError, match="closed"):
        memory.read(RAM_BASE, 1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(memory.fd)


@pytest.mark.parametrize("size", [0, -MIB, MIB + 1])
def test_sizes_that_are_not_whole_mebibytes_are_refused(size: int) -> None:
    with pytest.raises(UserError) as caught:
        GuestMemory(size)
    assert str(caught.value) == (
        f"a machine cannot have {size} bytes of memory; give a whole number of MiB."
    )


def test_more_than_the_host_can_map_is_a_sentence() -> None:
    with pytest.raises(UserError, match=r"could not map .* GiB of guest memory .* --memory\."):
        GuestMemory(1 << 62)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (5, "5 bytes"),
        (2048, "2 KiB"),
        (3 * MIB, "3 MiB"),
        (3 * MIB // 2, "1.5 MiB"),
        (1 << 30, "1 GiB"),
    ],
)
def test_format_bytes(count: int, text: str) -> None:
    assert format_bytes(count) == text
