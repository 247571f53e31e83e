"""The part of `survival` about what L0 itself executes after an access that traps.

All of it runs with EL2's stage 1 on: L0 reads only code that is ordinary memory.
"""

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import Stage1Leaf
from vel2.arch.insn import IC
from vel2.arch.pstate import PSTATE_DAIF, M_EL0t
from vel2.check.payloads.layout import ARENA, PAGE_BYTES, Parameters, State
from vel2.check.payloads.library.assembly import CURRENT_SPX_IRQ, NO_EXCEPTION, SCTLR_OFF
from vel2.check.payloads.library.checks import NO_SUBJECT, begin, end, expect
from vel2.check.payloads.library.controls import HCR_HOST, has_e2h, has_pmu, invalidate_all, set_hcr
from vel2.check.payloads.library.faults import ALIAS
from vel2.check.payloads.library.gic import gic_init, later, start_hptimer, take_hptimer
from vel2.check.payloads.library.guest import probe, run_guest
from vel2.check.payloads.library.seen import saw
from vel2.check.payloads.library.stage1 import own_stage1
from vel2.check.payloads.library.tables import S1_NORMAL, map_to, new_table
from vel2.check.payloads.survival.ahead_code import NEW, WORDS
from vel2.lang import (
    PA,
    bytes_address,
    dsb_sy,
    isb,
    load_u32,
    load_u64,
    mrs,
    msr,
    resident,
    store_u32,
    store_u64,
    symbol_address,
    sysop,
    u64,
)

CODE = ALIAS | ARENA
FOR_EL0 = S1_NORMAL | Stage1Leaf.AP.put(3)
"""Read-only at both levels: what EL0 may write, EL2 may not execute."""
NOT_GLOBAL = Stage1Leaf.nG.mask
NEVER = Stage1Leaf.compose(UXN=1, PXN=1)
ASIDS = (1, 2)
LAST_WORD = PAGE_BYTES - 4


@resident
def put_code(place: u64, code: u64) -> None:
    """Copy code to the place where it will run."""
    for n in range(WORDS):
        store_u32(PA(place + n * 4), load_u32(PA(code + n * 4)))
    dsb_sy()
    sysop(IC.IALLU)
    dsb_sy()
    isb()


@resident
def by_el0(state: State, root: u64, name: u64, code: u64) -> None:
    """Let EL0 of a host make an access it is allowed, and then write VBAR_EL2: UNDEFINED."""
    put_code(ARENA, code)
    map_to(state, root, CODE, 3, ARENA, FOR_EL0)
    invalidate_all()
    set_hcr(HCR_HOST | sr.HCR_EL2.TGE.mask)
    isb()
    state.guest_x[1] = symbol_address("other_vectors")
    state.guest_pc = CODE
    state.guest_pstate = PSTATE_DAIF | M_EL0t
    state.vector = run_guest()
    saw(state, name, NO_SUBJECT)
    begin(state, name, NO_SUBJECT)
    expect(state, bytes_address(b"vbar\0"), mrs(sr.VBAR_EL2), symbol_address("el2_vectors"))
    end(state)
    set_hcr(HCR_HOST)
    isb()


@resident
def rights_of_el0(state: State, root: u64) -> None:
    """Try it with a timer (CNTHCTL_EL2.EL0PTEN) and with the PMU (PMUSERENR_EL0.EN)."""
    msr(sr.CNTHCTL_EL2_E2H, sr.CNTHCTL_EL2_E2H.compose(EL0PTEN=1, EL1PCTEN=1, EL1PTEN=1))
    by_el0(state, root, bytes_address(b"ahead-el0-timer\0"), symbol_address("ahead_el0_timer"))
    if has_pmu():
        msr(sr.PMUSERENR_EL0, sr.PMUSERENR_EL0.EN.mask)
        by_el0(state, root, bytes_address(b"ahead-el0-pmu\0"), symbol_address("ahead_el0_pmu"))
        msr(sr.PMUSERENR_EL0, 0)


@resident
def execute_never(state: State, root: u64) -> None:
    """Run from the last word of a page into an execute-never page: a Permission fault."""
    end_of_page = u64(ARENA + LAST_WORD)
    put_code(end_of_page, symbol_address("ahead_page_end"))
    map_to(state, root, CODE, 3, ARENA, S1_NORMAL)
    map_to(state, root, u64(CODE + PAGE_BYTES), 3, u64(ARENA + PAGE_BYTES), S1_NORMAL | NEVER)
    invalidate_all()
    state.vector = probe(u64(CODE + LAST_WORD), 0, 0)
    saw(state, bytes_address(b"ahead-never\0"), NO_SUBJECT)
    begin(state, bytes_address(b"ahead-never\0"), NO_SUBJECT)
    expect(state, bytes_address(b"x0\0"), state.x[0], 0)
    end(state)


@resident
def other_tables(state: State, root: u64) -> None:
    """Change TTBR0_EL2 and the ASID: after the ISB the code comes from the other page."""
    other = new_table(state)
    for n in range(512):
        store_u64(PA(other + n * 8), load_u64(PA(root + n * 8)))
    # The alias is in a level-1 entry of its own, with tables of its own in each root.
    store_u64(PA(other + (CODE >> 30) * 8), 0)
    put_code(ARENA, symbol_address("ahead_switch"))
    put_code(u64(ARENA + PAGE_BYTES), symbol_address("ahead_switched"))
    map_to(state, root, CODE, 3, ARENA, S1_NORMAL | NOT_GLOBAL)
    map_to(state, other, CODE, 3, u64(ARENA + PAGE_BYTES), S1_NORMAL | NOT_GLOBAL)
    msr(sr.TTBR0_EL2, root | sr.TTBR0_EL1.ASID.put(ASIDS[0]))
    invalidate_all()
    begin(state, bytes_address(b"ahead-other-tables\0"), NO_SUBJECT)
    state.vector = probe(CODE, 0, other | sr.TTBR0_EL1.ASID.put(ASIDS[1]))
    expect(state, bytes_address(b"vector\0"), state.vector, NO_EXCEPTION)
    expect(state, bytes_address(b"x0\0"), state.x[0], NEW)
    msr(sr.TTBR0_EL2, root)
    invalidate_all()
    end(state)


@resident
def endless(state: State, root: u64) -> None:
    """Loop over an access that traps: a timer's interrupt must end it."""
    put_code(ARENA, symbol_address("ahead_loop"))
    map_to(state, root, CODE, 3, ARENA, S1_NORMAL)
    invalidate_all()
    begin(state, bytes_address(b"ahead-endless\0"), NO_SUBJECT)
    start_hptimer(later())
    set_hcr(HCR_HOST | sr.HCR_EL2.IMO.mask)
    isb()
    state.vector = probe(CODE, 0, 0)
    expect(state, bytes_address(b"vector\0"), state.vector, CURRENT_SPX_IRQ)
    take_hptimer(state)
    set_hcr(HCR_HOST)
    isb()
    end(state)


@resident
def what_follows_a_trap(state: State, parameters: Parameters) -> None:
    """Try all of these."""
    gic_init()
    root = own_stage1(state, parameters)
    if has_e2h():
        rights_of_el0(state, root)
        other_tables(state, root)
    execute_never(state, root)
    endless(state, root)
    msr(sr.SCTLR_EL2, SCTLR_OFF)
    isb()
