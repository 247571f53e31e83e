"""The scenes: who does what at the same time, and where they begin.

A scene gives each pcpu a short program of what L1 and its guests do. Everything of L0 that follows
from it is run by the resident functions themselves. What a program says with `Board.uses`,
`forbids` and `finish` is what has to hold whatever the order.
"""

from __future__ import annotations

from vel2.arch.descriptors import GRANULE_4K
from vel2.arch.insn import TLBI
from vel2.arch.operands import TLBI_RANGE
from vel2.check.interleave.board import AF, ALLOWED_WORD, IPAS, L1_VTCR_HA, VTCR, Board
from vel2.check.interleave.gic_scenes import GIC_SCENES
from vel2.check.interleave.play import (
    FIRST,
    SECOND,
    Play,
    Program,
    Scene,
    begin,
    full_board,
    ready,
    running,
    unmapping,
)
from vel2.check.interleave.power_scenes import POWER_SCENES
from vel2.check.interleave.regime_scenes import REGIME_SCENES
from vel2.check.interleave.steps import Finding
from vel2.check.interleave.window_scenes import WINDOW_SCENES
from vel2.hyp import stage1, tlbi
from vel2.hyp.layout import PAGE_SHIFT
from vel2.hyp.lock import acquire, release
from vel2.hyp.state import SHADOW_CONTEXTS
from vel2.lang import IPA

__all__ = ("SCENES", "scene_named")

OLD, NEW = 1, 2
"""Of a guest's stage 1."""
HALF_FULL = 2
"""Pages of the pool that are just enough for one guest: a table at level 2, and one at level 3."""


# --- fill and TLBI ---


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


# --- the pool, and contexts that change hands ---


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


# --- the access flag ---


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


# --- the lock ---


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


SCENES = (
    *POWER_SCENES,
    *WINDOW_SCENES,
    *REGIME_SCENES,
    *GIC_SCENES,
    Scene("lock", "two pcpus take the lock, twice each", lambda: lock(2, 2)),
    Scene("lock-3", "three pcpus take the lock", lambda: lock(3, 1)),
    Scene("fill-fill", "two vCPUs of one guest fault; both need the same tables", fill_fill),
    Scene("fill-tlbi", "a vCPU faults while L1 unmaps the page (TLBI IPAS2E1IS)", fill_tlbi),
    Scene("fill-tlbi-all", "the same with TLBI VMALLS12E1IS", fill_tlbi_all),
    Scene("run-tlbi", "L1 moves a page of a guest that runs", run_tlbi),
    Scene("range-in-parts", "L1 unmaps a range (TLBI RIPAS2E1IS), in parts", range_in_parts),
    Scene("walk-tlbi", "L0 walks stage 1 for AT while L1 unmaps the page", walk_tlbi),
    Scene("replace-leaf", "a leaf is replaced while it is used", lambda: replace(block=False)),
    Scene("replace-block", "a table replaces a block in use", lambda: replace(block=True)),
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
    Scene("claim-tlbi", "a guest gets a context as L1 unmaps its page", claim_tlbi, short=False),
    Scene("fill-fill-tlbi", "two vCPUs fault while a third CPU unmaps", three_fill, short=False),
    Scene("tlbi-tlbi", "two CPUs of L1 unmap what a third uses", tlbi_tlbi, short=False),
    Scene("evict-tlbi", "a third CPU unmaps during an eviction", lambda: evict(3), short=False),
    Scene(
        "held-3", "two CPUs want contexts as a third changes its own", held_by_three, short=False
    ),
)


def scene_named(name: str) -> Scene:
    """Find a scene."""
    return next(scene for scene in SCENES if scene.name == name)
