"""Scenes of the lock itself, and of L0's one store into tables of L1: the access flag."""

from __future__ import annotations

from vel2.arch.insn import TLBI
from vel2.check.interleave.board import AF, L1_VTCR_HA, VTCR, Board
from vel2.check.interleave.play import (
    FIRST,
    Play,
    Scene,
    begin,
    ready,
    running,
)
from vel2.check.interleave.steps import Finding
from vel2.hyp.layout import PAGE_SHIFT
from vel2.hyp.lock import acquire, release

__all__ = ("LOCK_SCENES",)


def access_flag(*, without_tlbi: bool) -> Play:
    """Set the access flag of a leaf that L1 changes."""
    board = Board(2)
    board.page(0).slot[VTCR] = board.page(1).slot[VTCR] = L1_VTCR_HA
    board.l1_leaf(0, FIRST, 0, AF)
    begin(board, 0, 0)
    leaf = board.leaf(board.output(0, FIRST, 1), 0)

    def move() -> None:
        was = board.l1_swaps(0, FIRST, 0)
        if was & AF or not without_tlbi:
            board.tlbi(1, TLBI.IPAS2E1IS, 0, FIRST >> PAGE_SHIFT)
        board.forbids(0, FIRST, board.output(0, FIRST))
        if not without_tlbi:
            board.allowed[0, FIRST].add(board.output(0, FIRST, 1))
            board.l1_writes(0, FIRST, leaf, "L1 maps another page")

    def finish() -> None:
        now = board.machine.load(8, board.leaf_at(0, FIRST))
        if now & ~AF != (0 if without_tlbi else leaf) or now == AF:
            raise Finding(f"lost: L1's leaf is {now:#x}, which L1 has not written")

    return ready(board, {0: running(board, 0, 0, FIRST, FIRST), 1: move}, finish)


def lock(pcpus: int, rounds: int) -> Play:
    """Take and give back the lock, and count under it."""
    board = Board(pcpus)
    manager = board.vm.stage2
    before = manager.clock

    def run() -> None:
        for _ in range(rounds):
            acquire(manager.lock)
            manager.clock = manager.clock + 1
            release(manager.lock)

    def finish() -> None:
        if manager.clock != before + pcpus * rounds:
            raise Finding("two pcpus held the lock at once")

    return ready(board, dict.fromkeys(range(pcpus), run), finish)


LOCK_SCENES = (
    Scene("lock", "two pcpus take the lock, twice each", lambda: lock(2, 2)),
    Scene("lock-3", "three pcpus take the lock", lambda: lock(3, 1)),
    Scene(
        "access-flag",
        "a walk sets the access flag as L1 moves the page",
        lambda: access_flag(without_tlbi=False),
    ),
    Scene(
        "access-flag-clear",
        "L1 takes out a leaf whose access flag is clear, without TLBI",
        lambda: access_flag(without_tlbi=True),
    ),
)
