"""What scenes are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from vel2.arch.insn import TLBI
from vel2.check.interleave.board import IPAS, Board
from vel2.hyp import shadow
from vel2.hyp.layout import PAGE_SHIFT
from vel2.hyp.state import SHADOW_CONTEXTS

__all__ = (
    "FIRST",
    "SECOND",
    "Play",
    "Program",
    "Scene",
    "begin",
    "full_board",
    "ready",
    "running",
    "unmapping",
)

Program = Callable[[], None]
FIRST, SECOND = IPAS


@dataclass
class Play:
    """A scene that is ready to be run."""

    board: Board
    programs: dict[int, Program]
    finish: Program = field(default=lambda: None)
    """Checks what has to hold at the end, beside what always has."""
    reset: Program = field(default=lambda: None)


@dataclass(frozen=True)
class Scene:
    """One scene.

    :ivar what: who does what at the same time.
    :ivar short: whether it is part of the short form, too.
    """

    name: str
    what: str
    make: Callable[[], Play]
    short: bool = True


def unmapping(board: Board, number: int, *, whole: bool = False) -> Program:
    """Have L1 on a pcpu take the first IPA of guest 0 from it: break, TLBI, DSB."""

    def run() -> None:
        board.l1_unmaps(0, FIRST)
        if whole:
            board.tlbi(number, TLBI.VMALLS12E1IS, 0)
        else:
            board.tlbi(number, TLBI.IPAS2E1IS, 0, FIRST >> PAGE_SHIFT)
        board.forbids(0, FIRST, board.output(0, FIRST))

    return run


def running(board: Board, number: int, guest: int, *ipas: int) -> Program:
    """Have L1 enter a guest on a pcpu, which uses some addresses."""

    def run() -> None:
        board.enter(number, guest)
        for ipa in ipas:
            board.access(number, ipa)

    return run


def begin(board: Board, number: int, guest: int, *ipas: int) -> None:
    """Begin the scene with a pcpu in a guest that has used some addresses."""
    with board.on(number):
        board.enter(number, guest)
        for ipa in ipas:
            board.fill(number, ipa)


def ready(board: Board, programs: dict[int, Program], finish: Program = lambda: None) -> Play:
    """Say that the scene begins now."""
    board.save()
    return Play(board, programs, finish)


def full_board(pcpus: int) -> Board:
    """Make a board where all contexts are in use, that of guest 0 for longest."""
    board = Board(pcpus, pool_pages=8, guests=SHADOW_CONTEXTS + 3)
    last = pcpus - 1
    begin(board, last, 0, FIRST)
    for guest in range(1, SHADOW_CONTEXTS):
        begin(board, 0, guest)
    # So that the next two drawn are the first context and a younger one.
    board.vm.stage2.lottery = -shadow.INCREMENT * pow(shadow.MULTIPLIER, -1, 1 << 64) % (1 << 64)
    return board
