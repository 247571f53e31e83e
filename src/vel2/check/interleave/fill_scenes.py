"""Scenes in which L0 fills a shadow while L1 takes leaves out of it."""

from __future__ import annotations

from vel2.arch.descriptors import GRANULE_4K
from vel2.arch.insn import TLBI
from vel2.arch.operands import TLBI_RANGE
from vel2.check.interleave.board import IPAS, Board
from vel2.check.interleave.play import (
    FIRST,
    SECOND,
    Play,
    Scene,
    begin,
    ready,
    running,
    unmapping,
)
from vel2.hyp import stage1
from vel2.hyp.layout import PAGE_SHIFT
from vel2.lang import IPA

__all__ = ("FILL_SCENES",)


def fill_fill() -> Play:
    """Make two vCPUs of one guest need the same tables."""
    board = Board(2)
    for number in range(2):
        begin(board, number, 0)
    return ready(board, {n: running(board, n, 0, IPAS[n]) for n in range(2)})


def fill_tlbi() -> Play:
    """Fill an address while L1 takes it back."""
    board = Board(2)
    begin(board, 0, 0)
    programs = {0: running(board, 0, 0, FIRST, FIRST), 1: unmapping(board, 1)}
    return ready(board, programs)


def fill_tlbi_all() -> Play:
    """Fill an address while L1 empties the whole VMID."""
    board = Board(2)
    begin(board, 0, 0)
    programs = {0: running(board, 0, 0, FIRST, FIRST), 1: unmapping(board, 1, whole=True)}
    return ready(board, programs)


def claim_tlbi() -> Play:
    """Enter a guest that has no context yet, and fill it, while L1 takes a page back."""
    board = Board(2)
    return ready(board, {0: running(board, 0, 0, FIRST), 1: unmapping(board, 1)})


def run_tlbi() -> Play:
    """Take an address from a guest that uses it, and give it another page."""
    board = Board(2)
    begin(board, 0, 0, FIRST)

    def use() -> None:
        board.access(0, FIRST)
        board.access(0, FIRST)

    def move() -> None:
        unmapping(board, 1)()
        board.l1_maps(0, FIRST, 1)

    return ready(board, {0: use, 1: move})


def walk_tlbi() -> Play:
    """Make a stage-1 table reachable, as AT needs it, while L1 takes its page back."""
    board = Board(2)
    begin(board, 0, 0)

    def reach() -> None:
        board.enter(0, 0)
        stage1.reach_entry(board.vcpu(0), IPA(FIRST))
        board.uses(0, FIRST)
        board.uses(0, FIRST)

    return ready(board, {0: reach, 1: unmapping(board, 1)})


def tlbi_tlbi() -> Play:
    """Have two pcpus of L1 invalidate at once, what a third uses."""
    board = Board(3)
    begin(board, 0, 0, FIRST, SECOND)

    def second() -> None:
        board.l1_unmaps(0, SECOND)
        board.tlbi(2, TLBI.IPAS2E1IS, 0, SECOND >> PAGE_SHIFT)
        board.forbids(0, SECOND, board.output(0, SECOND))

    def use() -> None:
        board.access(0, FIRST)
        board.access(0, SECOND)

    return ready(board, {0: use, 1: unmapping(board, 1), 2: second})


def range_in_parts() -> Play:
    """Take two pages back by one TLBI of a range, which L0 does in parts."""
    board = Board(2)
    begin(board, 0, 0, FIRST, SECOND)

    def unmap() -> None:
        board.l1_unmaps(0, FIRST)
        board.l1_unmaps(0, SECOND)
        board.tlbi(1, TLBI.RIPAS2E1IS, 0, TLBI_RANGE.TG.put(GRANULE_4K.TG))
        for ipa in IPAS:
            board.forbids(0, ipa, board.output(0, ipa))

    return ready(board, {0: running(board, 0, 0, FIRST, SECOND), 1: unmap})


def replace(*, block: bool) -> Play:
    """Replace a leaf, or a block by a table, while another vCPU uses it."""
    board = Board(2)
    if block:
        board.l1_block(0, Board.READ_ONLY)
    else:
        board.l1_leaf(0, FIRST, Board.READ_ONLY)
    begin(board, 0, 0, FIRST)
    begin(board, 1, 0, FIRST)
    if block:
        board.l1_table(0)
    board.l1_leaf(0, FIRST, 0)

    def write() -> None:
        board.access(0, FIRST, is_write=True)

    def read() -> None:
        board.access(1, FIRST)
        board.access(1, FIRST)

    return ready(board, {0: write, 1: read})


def three_fill() -> Play:
    """Have two vCPUs of one guest fill while a third takes their page back."""
    board = Board(3)
    for number in range(2):
        begin(board, number, 0)
    programs = {
        0: running(board, 0, 0, FIRST),
        1: running(board, 1, 0, FIRST),
        2: unmapping(board, 2),
    }
    return ready(board, programs)


FILL_SCENES = (
    Scene("fill-fill", "two vCPUs of one guest fault; both need the same tables", fill_fill),
    Scene("fill-tlbi", "a vCPU faults while L1 unmaps the page (TLBI IPAS2E1IS)", fill_tlbi),
    Scene("fill-tlbi-all", "the same with TLBI VMALLS12E1IS", fill_tlbi_all),
    Scene("run-tlbi", "L1 moves a page of a guest that runs", run_tlbi),
    Scene("range-in-parts", "L1 unmaps a range (TLBI RIPAS2E1IS), in parts", range_in_parts),
    Scene("walk-tlbi", "L0 walks stage 1 for AT while L1 unmaps the page", walk_tlbi),
    Scene("replace-leaf", "a leaf is replaced while it is used", lambda: replace(block=False)),
    Scene("replace-block", "a table replaces a block in use", lambda: replace(block=True)),
    Scene("claim-tlbi", "a guest gets a context as L1 unmaps its page", claim_tlbi, short=False),
    Scene("fill-fill-tlbi", "two vCPUs fault while a third CPU unmaps", three_fill, short=False),
    Scene("tlbi-tlbi", "two CPUs of L1 unmap what a third uses", tlbi_tlbi, short=False),
)
