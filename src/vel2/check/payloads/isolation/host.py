"""The part of `isolation` that L1 does by itself: directly, from its EL0, by its own stage 1."""

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import Stage1Leaf
from vel2.arch.insn import AT
from vel2.arch.pstate import PSTATE_DAIF, M_EL0t
from vel2.check.payloads.layout import Parameters, State
from vel2.check.payloads.library.assembly import CURRENT_SPX_SYNC, LOWER_AARCH64_SYNC
from vel2.check.payloads.library.checks import begin, end, expect
from vel2.check.payloads.library.controls import HCR_HOST, has_e2h, invalidate_all, set_hcr
from vel2.check.payloads.library.faults import (
    ALIAS,
    CM,
    EXTERNAL,
    EXTERNAL_WALK,
    FETCH_LOWER,
    FETCH_SAME,
    READ_LOWER,
    READ_SAME,
    WRITE_LOWER,
    WRITE_SAME,
    WRITTEN,
    block_of,
    expect_no_canary,
    expect_par,
)
from vel2.check.payloads.library.guest import expect_el2, probe, run_guest
from vel2.check.payloads.library.tables import S1_NORMAL, TABLE, UPPER_BASE, entry_of, map_to
from vel2.lang import PA, bytes_address, isb, msr, resident, store_u64, symbol_address, sysop, u64

EL0_READ_WRITE = Stage1Leaf.AP.put(1)


@resident
def attempt(
    state: State, parameters: Parameters, name: u64, code: u64, address: u64, esr: u64
) -> None:
    """Let EL2 access an address; it must take a synchronous exception with this syndrome."""
    begin(state, name, address)
    state.vector = probe(code, address, WRITTEN)
    expect_el2(state, CURRENT_SPX_SYNC, esr, address)
    expect_no_canary(state, parameters)
    end(state)


@resident
def attempts_with_mmu_off(state: State, parameters: Parameters, target: u64) -> None:
    """Access a target directly."""
    read = u64(READ_SAME | EXTERNAL)
    name = bytes_address(b"el2-off-read\0")
    attempt(state, parameters, name, symbol_address("do_read"), target, read)
    name = bytes_address(b"el2-off-write\0")
    attempt(state, parameters, name, symbol_address("do_write"), target, WRITE_SAME | EXTERNAL)
    name = bytes_address(b"el2-off-execute\0")
    attempt(state, parameters, name, symbol_address("do_execute"), target, FETCH_SAME | EXTERNAL)


EL0_ACCESSES = (
    (b"el0-read\0", "guest_read", READ_LOWER),
    (b"el0-write\0", "guest_write", WRITE_LOWER),
    (b"el0-execute\0", "guest_execute", FETCH_LOWER),
)


@resident
def attempts_by_el0(state: State, parameters: Parameters, target: u64) -> None:
    """Access a target from EL0 of the EL2&0 regime, MMU off."""
    set_hcr(HCR_HOST | sr.HCR_EL2.TGE.mask)
    isb()
    for name, code, esr in EL0_ACCESSES:
        begin(state, bytes_address(name), target)
        state.guest_x[0] = target
        state.guest_x[1] = WRITTEN
        state.guest_pc = symbol_address(code)
        state.guest_pstate = PSTATE_DAIF | M_EL0t
        state.vector = run_guest()
        expect_el2(state, LOWER_AARCH64_SYNC, esr | EXTERNAL, target)
        expect_no_canary(state, parameters)
        end(state)
    set_hcr(HCR_HOST)
    isb()


MAPPED_ACCESSES = (
    (b"el2-on-read\0", "do_read", READ_SAME),
    (b"el2-on-read-byte\0", "do_read_byte", READ_SAME),
    (b"el2-on-read-pair\0", "do_read_pair", READ_SAME),
    (b"el2-on-exclusive\0", "do_exclusive", READ_SAME),
    (b"el2-on-write\0", "do_write", WRITE_SAME),
    (b"el2-on-zero\0", "do_zero", WRITE_SAME),
    (b"el2-on-execute\0", "do_execute", FETCH_SAME),
)


@resident
def attempts_by_stage1(state: State, parameters: Parameters, root: u64, target: u64) -> None:
    """Access a target through leaves of each size of the EL2&0 regime, and use it as a table."""
    alias = target | ALIAS
    for level in range(1, 4):
        store_u64(PA(entry_of(state, root, alias, 1)), 0)
        map_to(state, root, block_of(alias, level), level, block_of(target, level), S1_NORMAL)
        invalidate_all()
        for name, code, esr in MAPPED_ACCESSES:
            label = bytes_address(name)
            want = u64(esr | EXTERNAL)
            attempt(state, parameters, label, symbol_address(code), alias, want)
    store_u64(PA(entry_of(state, root, alias, 1)), 0)
    invalidate_all()


@resident
def attempts_by_walk(state: State, parameters: Parameters, root: u64, target: u64) -> None:
    """Use a target as a table of the EL2&0 regime, of each level."""
    alias = target | ALIAS
    table = block_of(target, 3) | TABLE
    slot = entry_of(state, root, alias, 1)
    store_u64(PA(slot), table)
    invalidate_all()
    walk_attempts(state, parameters, alias, 2)
    store_u64(PA(slot), 0)
    store_u64(PA(entry_of(state, root, alias, 2)), table)
    invalidate_all()
    walk_attempts(state, parameters, alias, 3)
    store_u64(PA(slot), 0)
    if has_e2h():
        msr(sr.TTBR1_EL2, block_of(target, 3))
        invalidate_all()
        walk_attempts(state, parameters, UPPER_BASE, 1)
        msr(sr.TTBR1_EL2, root)
    invalidate_all()


WALKS = (
    (b"el2-walk-read\0", "do_read", READ_SAME),
    (b"el2-walk-write\0", "do_write", WRITE_SAME),
    (b"el2-walk-execute\0", "do_execute", FETCH_SAME),
    (b"el2-walk-at-s1e2r\0", "do_at_s1e2r", WRITE_SAME | CM),
    (b"el2-walk-at-s1e2w\0", "do_at_s1e2w", WRITE_SAME | CM),
)
"""An External abort on AT's walk is an exception, with CM and WnR set for either kind."""


@resident
def walk_attempts(state: State, parameters: Parameters, address: u64, level: u64) -> None:
    """Access an address whose table of `level` is in a target."""
    for name, code, esr in WALKS:
        label = bytes_address(name)
        want = u64(esr | u64(EXTERNAL_WALK + level))
        attempt(state, parameters, label, symbol_address(code), address, want)


ACROSS_ACCESSES = (
    (b"el2-across-read\0", "do_read", READ_SAME),
    (b"el2-across-write\0", "do_write", WRITE_SAME),
)


@resident
def attempt_across_the_end(state: State, parameters: Parameters, root: u64) -> None:
    """Access eight bytes of which four are L1's, through a block that holds both."""
    end_of_ram = parameters.ram_end
    alias = u64(end_of_ram - 8) | ALIAS
    map_to(state, root, block_of(alias, 1), 1, block_of(u64(end_of_ram - 8), 1), S1_NORMAL)
    invalidate_all()
    for name, code, esr in ACROSS_ACCESSES:
        begin(state, bytes_address(name), end_of_ram)
        state.vector = probe(symbol_address(code), u64(alias + 4), WRITTEN)
        expect(state, bytes_address(b"vector\0"), state.vector, CURRENT_SPX_SYNC)
        expect(state, bytes_address(b"esr_el2\0"), state.esr, u64(esr | EXTERNAL))
        expect_no_canary(state, parameters)
        end(state)
    store_u64(PA(entry_of(state, root, alias, 1)), 0)
    invalidate_all()


@resident
def translate_in_own_regime(state: State, root: u64, target: u64) -> None:
    """Translate an address that EL2's own stage 1 maps to a target."""
    alias = target | ALIAS
    map_to(state, root, block_of(alias, 3), 3, block_of(target, 3), S1_NORMAL | EL0_READ_WRITE)
    invalidate_all()
    begin(state, bytes_address(b"at-s1e2r\0"), alias)
    sysop(AT.S1E2R, alias)
    expect_par(state, block_of(target, 3))
    if has_e2h():
        translate_with_tge(state, alias, target)
    store_u64(PA(entry_of(state, root, alias, 1)), 0)
    invalidate_all()


@resident
def translate_with_tge(state: State, alias: u64, target: u64) -> None:
    """Use the AT instructions of EL1 and EL0, which mean the EL2&0 regime with TGE."""
    set_hcr(HCR_HOST | sr.HCR_EL2.TGE.mask)
    isb()
    begin(state, bytes_address(b"at-s1e1r-tge\0"), alias)
    sysop(AT.S1E1R, alias)
    expect_par(state, block_of(target, 3))
    begin(state, bytes_address(b"at-s1e0w-tge\0"), alias)
    sysop(AT.S1E0W, alias)
    expect_par(state, block_of(target, 3))
    begin(state, bytes_address(b"at-s12e0r-tge\0"), alias)
    sysop(AT.S12E0R, alias)
    expect_par(state, block_of(target, 3))
    set_hcr(HCR_HOST)
    isb()
