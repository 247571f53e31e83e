"""Scenes of the pool, and of contexts that change hands."""

from __future__ import annotations

from vel2.arch.insn import TLBI
from vel2.check.interleave.board import ALLOWED_WORD, Board
from vel2.check.interleave.play import (
    FIRST,
    Play,
    Program,
    Scene,
    begin,
    full_board,
    ready,
    running,
    unmapping,
)
from vel2.check.interleave.steps import Finding
from vel2.hyp import tlbi
from vel2.hyp.state import SHADOW_CONTEXTS

__all__ = ("CONTEXT_SCENES",)

OLD, NEW = 1, 2
"""Of a guest's stage 1."""
HALF_FULL = 2
"""Pages of the pool that are just enough for one guest: a table at level 2, and one at level 3."""


def evict(pcpus: int) -> Play:
    """Have a guest need the last tables while another one runs by them."""
    board = Board(pcpus, pool_pages=HALF_FULL)
    begin(board, 0, 0, FIRST)
    begin(board, 1, 1)

    def use() -> None:
        board.uses(0, FIRST)
        board.fill_once(0, FIRST)
        board.uses(0, FIRST)

    def need() -> None:
        board.enter(1, 1)
        board.fill_once(1, FIRST)
        board.uses(1, FIRST)

    programs: dict[int, Program] = {0: use, 1: need}
    if pcpus > 2:
        programs[2] = unmapping(board, 2)
    return ready(board, programs)


def reassign() -> Play:
    """Give a context to another guest while the one it was comes back on another pcpu."""
    board = full_board(2)
    begin(board, 1, SHADOW_CONTEXTS - 2)

    def back() -> None:
        board.enter(1, 0)
        board.fill_once(1, FIRST)
        board.uses(1, FIRST)

    return ready(board, {0: running(board, 0, SHADOW_CONTEXTS, FIRST), 1: back})


def reuse_vmid() -> Play:
    """Run the guest that has another one's context now, where that one ran before."""
    board = full_board(2)
    begin(board, 1, SHADOW_CONTEXTS - 2)
    new = SHADOW_CONTEXTS
    programs = {n: running(board, n, new, FIRST) for n in range(2)}
    return ready(board, programs)


def held() -> Play:
    """Go back into a guest without the lock while another pcpu looks for a context."""
    board = full_board(2)

    def again() -> None:
        board.uses(1, FIRST)
        board.leave(1)
        board.enter(1, 0)
        board.fill_once(1, FIRST)
        board.uses(1, FIRST)

    return ready(board, {0: running(board, 0, SHADOW_CONTEXTS, FIRST), 1: again})


def held_by_three() -> Play:
    """Have two pcpus look for a context while a third one changes its own."""
    board = full_board(3)
    begin(board, 1, SHADOW_CONTEXTS - 2)

    def change() -> None:
        board.leave(2)
        board.enter(2, SHADOW_CONTEXTS + 2)
        board.uses(2, FIRST)

    programs: dict[int, Program] = {
        0: running(board, 0, SHADOW_CONTEXTS),
        1: running(board, 1, SHADOW_CONTEXTS + 1),
        2: change,
    }

    def finish() -> None:
        owners = [board.vcpu(number).shadow for number in range(3)]
        if len(set(owners)) != len(owners):
            raise Finding("two guests have one context")

    return ready(board, programs, finish)


def never_run() -> Play:
    """Enter a guest whose context no TLB has anything of, while L1 takes a page from it."""
    board = Board(2)
    begin(board, 0, 0, FIRST)
    with board.on(0):
        board.leave(0)
        board.vm.online = 1
        tlbi.stop_trapping(board.vcpu(0))
        board.vm.online = 2
    board.vcpu(1).shadow = board.vcpu(0).shadow

    def use() -> None:
        board.enter(1, 0)
        board.uses(1, FIRST)
        board.uses(1, FIRST)

    return ready(board, {0: unmapping(board, 0), 1: use})


def el1_names() -> Play:
    """Invalidate by EL1's name, without the lock, what a pcpu may walk that enters the guest."""
    board = full_board(2)
    guest = SHADOW_CONTEXTS
    with board.on(1):
        board.leave(1)
    board.machine.store(8, board.stage1_at(), OLD)
    board.machine.tlbs.stage1_word = board.stage1_at() - board.machine.memory_base >> 3
    wrong: set[int] = set()
    board.resets.append(wrong.clear)

    def enter() -> None:
        board.enter(0, guest)
        board.uses_stage1(0, guest, lambda: wrong)
        board.uses_stage1(0, guest, lambda: wrong)

    def change() -> None:
        board.stage1_changes(guest, NEW)
        board.tlbi(1, TLBI.VMALLE1IS, guest)
        board.machine.ghost(None, (ALLOWED_WORD,), "L1's TLBI is done")
        wrong.add(OLD)

    return ready(board, {0: enter, 1: change})


CONTEXT_SCENES = (
    Scene("evict", "a fill takes the last tables from a guest that runs", lambda: evict(2)),
    Scene("reassign", "a context changes hands as its guest comes back", reassign),
    Scene("reuse-vmid", "two vCPUs get a context that another guest had", reuse_vmid),
    Scene("held", "a vCPU re-enters its guest without the lock as contexts run out", held),
    Scene("never-run", "a guest that left nothing in a TLB is entered as L1 unmaps", never_run),
    Scene(
        "el1-names",
        "a TLBI by EL1's name, without the lock, as a CPU enters the guest",
        el1_names,
    ),
    Scene("evict-tlbi", "a third CPU unmaps during an eviction", lambda: evict(3), short=False),
    Scene(
        "held-3", "two CPUs want contexts as a third changes its own", held_by_three, short=False
    ),
)
