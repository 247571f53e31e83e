"""Scenes in which L1 has a VNCR_EL2 of its own: windows to its page, and TLBIs of its regime.

L1's stage 1 is one word, which maps its VNCR_EL2 to a page. `hyp.vncr` finds that page by AT, and
shows it in a pcpu's window. What the guest reaches through the window is held to L1's TLBIs.
"""

from __future__ import annotations

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import Stage1Leaf
from vel2.arch.insn import TLBI
from vel2.check.interleave import names
from vel2.check.interleave.board import ALLOWED_WORD, RAM_BASE, Board
from vel2.check.interleave.ground import ADDRESS, HCR
from vel2.check.interleave.play import FIRST, Play, Program, Scene, ready
from vel2.check.interleave.steps import Finding
from vel2.check.interleave.tlb import WINDOWS, tlb_word
from vel2.hyp import layout, vncr
from vel2.hyp.hcr import NESTED, NV2_IN_USE

__all__ = ("WINDOW_SCENES",)

TABLES = RAM_BASE + 0x12_8000
"""The tables of the windows: behind the guests' pages."""
VALID = Stage1Leaf.VALID.mask


class Windows:
    """L1 with FEAT_NV2 on some pcpus; its regime maps the page before the scene begins.

    :ivar gone: pages that L1 has taken from its regime, by a TLBI that is done.
    """

    def __init__(self, pcpus: int) -> None:
        self.board = board = Board(pcpus)
        board.vm.config.l0_base = TABLES - layout.VNCR_TABLES_OFFSET
        board.vm.probed.nesting = NESTED
        for number in range(pcpus):
            board.page(number).slot[HCR] = sr.HCR_EL2.compose(E2H=1) | NV2_IN_USE
        machine = board.machine
        first = TABLES + layout.PAGE_BYTES - machine.memory_base >> 3
        machine.tlbs.windows = range(first, first + pcpus)
        self.old, self.new = (board.output(0, FIRST, generation) for generation in range(2))
        machine.store(8, board.stage1_at(), self.old | VALID)
        machine.tlbs.stage1_word = board.stage1_at() - machine.memory_base >> 3
        self.gone: set[int] = set()
        board.resets.append(self.gone.clear)

    def runs_l1(self, number: int) -> None:
        """Have vEL2 use its own regime."""
        self.board.uses_stage1(number, "vEL2", lambda: {page | VALID for page in self.gone})

    def enters(self, number: int) -> None:
        """Have L1 enter its guest, which has a virtual EL2."""
        vncr.load(self.board.vcpu(number))

    def uses(self, number: int) -> None:
        """Have the guest use a register that is in the page; it faults as hardware does."""
        machine = self.board.machine
        word = machine.tlbs.windows[number]
        words = (word, tlb_word(WINDOWS + number), ALLOWED_WORD)
        machine.ghost(lambda: words, (), "its guest uses its window")
        for value in machine.tlbs.values(number, 0, word, 0):
            if value & ADDRESS in self.gone:
                raise Finding(
                    f"stale: pcpu {number} may reach {names.page_name(value & ADDRESS)} through "
                    "its window, which L1 does not map"
                )
        if machine.words[word] == 0:
            vncr.refill(self.board.vcpu(number), False)

    def moves(self, number: int) -> None:
        """Have L1 map another page, and take the old one from all TLBs (TLBI ALLE2IS, DSB)."""
        board = self.board
        board.stage1_changes("L1", self.new | VALID)
        board.tlbi(number, TLBI.ALLE2IS, 0)
        board.waits(number)
        board.machine.ghost(None, (ALLOWED_WORD,), "L1's TLBI is done")
        self.gone.add(self.old)


def guest(windows: Windows, number: int, *, twice: bool = True) -> Program:
    """Run L1, enter its guest, and use the window."""

    def run() -> None:
        windows.runs_l1(number)
        windows.enters(number)
        windows.uses(number)
        if twice:
            windows.uses(number)

    return run


def window_fill() -> Play:
    """Find the page of a guest that is entered, while L1 moves it."""
    windows = Windows(2)
    return ready(windows.board, {0: guest(windows, 0), 1: lambda: windows.moves(1)})


def window_run() -> Play:
    """Move the page of a guest that runs."""
    windows = Windows(2)
    with windows.board.on(0):
        windows.enters(0)
    word = windows.board.machine.tlbs.windows[0]
    windows.board.machine.words[word] = windows.old | vncr.PAGE | vncr.READ_WRITE

    def use() -> None:
        windows.uses(0)
        windows.uses(0)

    return ready(windows.board, {0: use, 1: lambda: windows.moves(1)})


def window_both() -> Play:
    """Enter two guests with a window each, one of them on the CPU that moves the page."""
    windows = Windows(2)

    def move_and_run() -> None:
        windows.moves(1)
        guest(windows, 1, twice=False)()

    return ready(windows.board, {0: guest(windows, 0), 1: move_and_run})


def window_three() -> Play:
    """Move the page while two guests have windows to it."""
    windows = Windows(3)
    programs: dict[int, Program] = {n: guest(windows, n, twice=False) for n in range(2)}
    programs[2] = lambda: windows.moves(2)
    return ready(windows.board, programs)


WINDOW_SCENES = (
    Scene("window-fill", "a guest with a vEL2 is entered as L1 moves its VNCR page", window_fill),
    Scene("window-run", "L1 moves the VNCR page of a guest that runs", window_run),
    Scene("window-both", "the CPU that moves the page enters such a guest, too", window_both),
    Scene(
        "window-3", "two such guests are entered as L1 moves their page", window_three, short=False
    ),
)
