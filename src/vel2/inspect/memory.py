"""Memory as each level names it: by virtual address, by IPA, by physical address.

Reads go to the machine's RAM, which the host maps. Writes go through QEMU, so that code it has
translated is forgotten. A range that crosses pages is translated page by page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from vel2.errors import UserError

if TYPE_CHECKING:
    from vel2.inspect.vcpu import Vcpu

__all__ = ("LevelMemory",)

PAGE = 4096


class LevelMemory:
    """The memory of one level of a vCPU.

    :raises UserError: by every method, when an address leads nowhere or not to RAM.
    """

    def __init__(self, vcpu: Vcpu, level: str) -> None:
        self._vcpu = vcpu
        self._level = level

    def read(self, va: int, length: int) -> bytes:
        """Read at a virtual address."""
        return self._read(va, length, self.pa_of)

    def write(self, va: int, data: bytes) -> None:
        """Write at a virtual address, whatever its permissions."""
        self._write(va, data, self.pa_of)

    def read_ipa(self, ipa: int, length: int) -> bytes:
        """Read at an intermediate physical address: what the level takes to be physical."""
        return self._read(ipa, length, self.pa_of_ipa)

    def write_ipa(self, ipa: int, data: bytes) -> None:
        """Write at an intermediate physical address."""
        self._write(ipa, data, self.pa_of_ipa)

    def pa_of(self, va: int) -> int:
        """Translate a virtual address to the machine's physical one."""
        return self._vcpu.walk(va, self._level).pa

    def pa_of_ipa(self, ipa: int) -> int:
        """Translate an intermediate physical address to the machine's."""
        return self._vcpu.walk_ipa(ipa, self._level).pa

    def _read(self, address: int, length: int, translate: Callable[[int], int]) -> bytes:
        machine = self._vcpu.machine
        return b"".join(
            machine.read(translate(start), count) for start, count in pieces(address, length)
        )

    def _write(self, address: int, data: bytes, translate: Callable[[int], int]) -> None:
        machine = self._vcpu.machine
        for start, count in list(pieces(address, len(data))):
            machine.write(translate(start), data[start - address :][:count])


def pieces(address: int, length: int) -> Iterator[tuple[int, int]]:
    """Part a range at page boundaries.

    :raises UserError: when it is none.
    """
    if length < 0 or not 0 <= address <= (1 << 64) - length:
        raise UserError(f"{length} bytes at {address:#x} are no range of memory.")
    end = address + length
    while address < end:
        count = min(end - address, PAGE - address % PAGE)
        yield address, count
        address += count
