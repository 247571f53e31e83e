"""Reduce a failing program: drop bursts, then turn words into NOPs, while L0 still fails.

Addresses stay, because the program's values name them. The reduced program must fail in the same
way (`End`), and at the same place if L0 named one.
"""

from collections.abc import Callable
from dataclasses import replace

from vel2.arch import insn, sysregs
from vel2.arch.bits import Encoding
from vel2.check.hostile.machine import Ended, Rig
from vel2.check.hostile.program import Burst, Program, words_address

__all__ = ("Minimal", "describe", "minimise")

NOP = 0xD503_201F
A32_NOP = 0xE320_F000
SYSTEM_MASK, SYSTEM = 0xFFC0_0000, 0xD500_0000


class Minimal:
    """A program that is being reduced.

    :param ended: how it fails.
    """

    def __init__(self, rig: Rig, program: Program, ended: Ended) -> None:
        self.rig = rig
        self.program = program
        self.ended = ended
        self.last = ended.burst

    def fails(self, program: Program, first: int, last: int) -> bool:
        """Whether it fails in the same way as the whole program."""
        again = self.rig.run(program, first, last)
        return again.end is self.ended.end and place(again) == place(self.ended)

    def with_words(self, index: int, words: list[int]) -> Program:
        """Give the program with other words in one burst."""
        bursts = list(self.program.bursts)
        bursts[index] = replace(bursts[index], words=words)
        return replace(self.program, bursts=bursts)


def place(ended: Ended) -> str:
    """Give the place where L0 said it failed, without numbers that differ from run to run."""
    return ended.detail[0].rpartition(" in ")[2] if " in " in "".join(ended.detail[:1]) else ""


def minimise(rig: Rig, program: Program, ended: Ended) -> tuple[Program, int, int] | None:
    """Make a failing program smaller.

    :return: the program, its first and its last burst; None if the failure is not repeatable.
    """
    minimal = Minimal(rig, program, ended)
    if not minimal.fails(program, 0, minimal.last):
        return None
    first = minimal.last
    step = 1
    while first > 0 and not minimal.fails(program, first, minimal.last):
        first = max(0, minimal.last - step)
        step *= 2
    for index in range(first, minimal.last):
        candidate = minimal.with_words(index, [])
        if minimal.fails(candidate, first, minimal.last):
            minimal.program = candidate
    for index in range(first, minimal.last + 1):
        shrink_words(minimal, index, first)
    return minimal.program, first, minimal.last


def shrink_words(minimal: Minimal, index: int, first: int) -> None:
    """Replace words of one burst by NOPs, in halves, quarters and so on."""
    burst = minimal.program.bursts[index]
    nop = A32_NOP if burst.level.a32 else NOP
    size = len(burst.words)
    while size >= 1:
        for start in range(0, len(burst.words), size):
            words = list(minimal.program.bursts[index].words)
            if all(word == nop for word in words[start : start + size]):
                continue
            words[start : start + size] = [nop] * len(words[start : start + size])
            candidate = minimal.with_words(index, words)
            if minimal.fails(candidate, first, minimal.last):
                minimal.program = candidate
        size //= 2


def describe(program: Program, first: int, last: int) -> list[str]:
    """Write a program down, without its NOPs."""
    lines = []
    for index in range(first, last + 1):
        burst = program.bursts[index]
        lines += describe_burst(burst, index)
    return lines


def describe_burst(burst: Burst, index: int) -> list[str]:
    """Write a burst down: how it is entered, its words, and the registers that they name."""
    head = f"burst {index} at {burst.level.name}: pstate={burst.pstate:#x} hcr_el2={burst.hcr:#x}"
    head += "".join(f" {name}={value:#x}" for name, value in burst.controls._asdict().items())
    if burst.flags:
        head += f" flags={burst.flags:#x}"
    lines = [head]
    for number, word in enumerate(burst.words):
        if word in (NOP, A32_NOP):
            continue
        used = sorted({word & 31, word >> 5 & 31, word >> 16 & 31} - {31})
        values = " ".join(f"x{n}={burst.x[n]:#x}" for n in used[:3])
        address = words_address(index) + 4 * number
        lines.append(f"  {address:#x}  {word:08x}  {name_of(word):<28} {values}")
    return lines


def name_of(word: int) -> str:
    """Name a system instruction or register access; nothing else."""
    if word & SYSTEM_MASK != SYSTEM:
        return ""
    fields = (word >> 19 & 3, word >> 16 & 7, word >> 12 & 15, word >> 8 & 15, word >> 5 & 7)
    encoding = Encoding(*fields)
    verb = "mrs" if word >> 21 & 1 else "msr"
    find: Callable[[int], object] = sysregs.by_key if fields[0] >= 2 else insn.by_key
    found = find(encoding.trap_key)
    name = getattr(found, "name", "") or encoding.generic_name
    return f"{name}, x{word & 31}" if fields[0] == 1 else f"{verb} {name}, x{word & 31}"
