"""Scenes in which L1 changes HCR_EL2.E2H on one CPU, as it may with FEAT_NV alone.

EL2&0 and EL2 are two translation regimes. Hardware's EL1&0 stands for both, one after the other,
under the canonical VMID; and what L1 means by EL1's names changes with it, on that CPU alone.
"""

from __future__ import annotations

from vel2.arch import sysregs as sr
from vel2.arch.insn import TLBI
from vel2.check.interleave.board import ALLOWED_WORD, Board
from vel2.check.interleave.ground import HCR
from vel2.check.interleave.play import FIRST, Play, Scene, begin, ready
from vel2.check.interleave.steps import Finding
from vel2.check.interleave.tlb import tlb_word, vmid_of
from vel2.hyp import vhe
from vel2.hyp.state import GUEST_VHE, LEVEL_NV

__all__ = ("REGIME_SCENES",)

OLD, NEW = 1, 2
"""Of a guest's stage 1."""
HOST = sr.HCR_EL2.compose(E2H=1, TGE=1)
WITHOUT_E2H = sr.HCR_EL2.compose(TGE=1)


def changing_board() -> Board:
    """Make a board whose L1 may change E2H; on the first CPU it is a host."""
    board = Board(2)
    board.vm.config.guest_kind, board.vm.config.nv_level = GUEST_VHE, LEVEL_NV
    board.machine.store(8, board.stage1_at(), OLD)
    board.machine.tlbs.stage1_word = board.stage1_at() - board.machine.memory_base >> 3
    with board.on(0):
        board.leave(0)
        board.page(0).slot[HCR] = HOST
    return board


def guest_tlbi() -> Play:
    """Have a CPU that was a host's clear E2H, and invalidate what a guest on another one uses."""
    board = changing_board()
    begin(board, 1, 0, FIRST)
    wrong: set[int] = set()
    board.resets.append(wrong.clear)

    def change() -> None:
        vhe.write_hcr(board.vcpu(0), WITHOUT_E2H)
        board.stage1_changes(0, NEW)
        board.tlbi(0, TLBI.VMALLE1IS, 0)
        board.waits(0)
        board.machine.ghost(None, (ALLOWED_WORD,), "L1's TLBI is done")
        wrong.add(OLD)

    def run() -> None:
        for _ in range(3):
            board.uses_stage1(1, 0, lambda: wrong)

    return ready(board, {0: change, 1: run})


def two_regimes() -> Play:
    """Clear E2H and set it again, while another CPU invalidates its own regime."""
    board = changing_board()
    tlbs = board.machine.tlbs
    vmid = vmid_of(board.machine.pcpus[0].registers[sr.VTTBR_EL2.trap_key])

    def change() -> None:
        for value in (WITHOUT_E2H, HOST):
            board.uses_stage1(0, "vEL2", set)
            began = tlbs.tick()
            vhe.write_hcr(board.vcpu(0), value)
            board.machine.ghost(lambda: (tlb_word(vmid),), (), "vEL2 is in its other regime")
            if tlbs.cleared_of_stage1.get((0, vmid), -1) < began:
                raise Finding("stale: pcpu 0 may translate in one regime by what is of the other")

    def invalidate() -> None:
        board.tlbi(1, TLBI.ALLE2IS, 0)
        board.waits(1)

    return ready(board, {0: change, 1: invalidate})


REGIME_SCENES = (
    Scene("e2h-guest", "a CPU clears E2H, and then EL1's names mean a guest's", guest_tlbi),
    Scene("e2h-regimes", "a CPU changes E2H as another one invalidates its regime", two_regimes),
)
