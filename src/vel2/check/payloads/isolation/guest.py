"""The part of `isolation` that L1 does through L2: stage-2 tables, remapping, AT, no stage 2."""

from vel2.arch import sysregs as sr
from vel2.arch.insn import AT, TLBI
from vel2.check.payloads.layout import ARENA, Parameters, State
from vel2.check.payloads.library.assembly import CURRENT_SPX_SYNC, HVC_DONE, LOWER_AARCH64_SYNC
from vel2.check.payloads.library.checks import begin, end, expect
from vel2.check.payloads.library.controls import HCR_HOST, invalidate_all, set_hcr, use_stage2
from vel2.check.payloads.library.faults import (
    ALIAS,
    CM,
    EXTERNAL,
    EXTERNAL_WALK,
    FETCH_LOWER,
    FETCH_SAME,
    MARKER,
    PAGE_MASK,
    READ_LOWER,
    READ_SAME,
    UNTOUCHED,
    WITHOUT_INSTRUCTION,
    WRITE_LOWER,
    WRITE_SAME,
    block_of,
    expect_no_canary,
    expect_par,
)
from vel2.check.payloads.library.guest import (
    done,
    enter_guest,
    expect_el1,
    expect_el2,
    is_hvc,
    probe,
)
from vel2.check.payloads.library.stage1 import guest_stage1_on
from vel2.check.payloads.library.tables import (
    S1_NORMAL,
    S2_NORMAL,
    TABLE,
    UPPER_BASE,
    entry_of,
    identity_table,
    map_to,
)
from vel2.lang import (
    PA,
    bytes_address,
    dsb_sy,
    isb,
    load_u64,
    msr,
    resident,
    store_u64,
    symbol_address,
    sysop,
    u64,
)

VMID = 5
OTHER_VMID = 6
PCI_WINDOW = 0x2000_0000


GUEST_ACCESSES = (
    (b"l2-read\0", "guest_read", READ_SAME),
    (b"l2-write\0", "guest_write", WRITE_SAME),
    (b"l2-execute\0", "guest_execute", FETCH_SAME),
)


@resident
def end_with_nothing(state: State, parameters: Parameters) -> None:
    """End the check of an access that must not change x1 or show anything of the target."""
    expect(state, bytes_address(b"x1\0"), state.x[1], UNTOUCHED)
    expect_no_canary(state, parameters)
    end(state)


@resident
def guest_attempts(state: State, parameters: Parameters, address: u64) -> None:
    """Let L2 read, write and execute at an address: its EL1 must take an External abort."""
    for name, code, esr in GUEST_ACCESSES:
        begin(state, bytes_address(name), address)
        state.vector = enter_guest(state, symbol_address(code), address, UNTOUCHED)
        expect_el1(state, CURRENT_SPX_SYNC, u64(esr | EXTERNAL), address)
        end_with_nothing(state, parameters)


GUEST_WALKS = (
    (b"l2-walk-read\0", "guest_read", READ_LOWER),
    (b"l2-walk-write\0", "guest_write", WRITE_LOWER),
    (b"l2-walk-execute\0", "guest_execute", FETCH_LOWER),
)


@resident
def guest_walk_attempts(state: State, parameters: Parameters, address: u64, level: u64) -> None:
    """Let L2 access by a stage-2 table in a target: an External abort on the walk, to EL2."""
    for name, code, esr in GUEST_WALKS:
        begin(state, bytes_address(name), address)
        state.vector = enter_guest(state, symbol_address(code), address, UNTOUCHED)
        want = u64(esr | u64(EXTERNAL_WALK + level))
        state.esr = state.esr & WITHOUT_INSTRUCTION
        expect_el2(state, LOWER_AARCH64_SYNC, want & WITHOUT_INSTRUCTION, address)
        end_with_nothing(state, parameters)
    for name, code in STAGE2_ATS:
        begin(state, bytes_address(name), address)
        state.vector = probe(symbol_address(code), address, 0)
        fault = u64(WRITE_SAME | CM | u64(EXTERNAL_WALK + level))
        expect_el2(state, CURRENT_SPX_SYNC, fault, address)
        end(state)


STAGE2_ATS = (
    (b"at-s2-walk-s12e1r\0", "do_at_s12e1r"),
    (b"at-s2-walk-s12e1w\0", "do_at_s12e1w"),
    (b"at-s2-walk-s12e0r\0", "do_at_s12e0r"),
)


@resident
def attempts_by_stage2(state: State, parameters: Parameters, root: u64, target: u64) -> None:
    """Map a target for L2 by leaves of each size, and use it as a table of each level."""
    alias = target | ALIAS
    slot = entry_of(state, root, alias, 1)
    for level in range(1, 4):
        store_u64(PA(slot), 0)
        map_to(state, root, block_of(alias, level), level, block_of(target, level), S2_NORMAL)
        invalidate_all()
        guest_attempts(state, parameters, alias)
    store_u64(PA(slot), block_of(target, 3) | TABLE)
    invalidate_all()
    guest_walk_attempts(state, parameters, alias, 2)
    store_u64(PA(slot), 0)
    store_u64(PA(entry_of(state, root, alias, 2)), block_of(target, 3) | TABLE)
    invalidate_all()
    guest_walk_attempts(state, parameters, alias, 3)
    store_u64(PA(slot), 0)
    invalidate_all()
    use_stage2(block_of(target, 3), OTHER_VMID)
    begin(state, bytes_address(b"l2-vttbr\0"), target)
    code = symbol_address("guest_hvc")
    state.vector = enter_guest(state, code, 0, 0)
    state.esr = state.esr & WITHOUT_INSTRUCTION
    want = u64(FETCH_LOWER | EXTERNAL_WALK + 1)
    expect_el2(state, LOWER_AARCH64_SYNC, want & WITHOUT_INSTRUCTION, code)
    end(state)
    use_stage2(root, VMID)


@resident
def read_own(state: State, name: u64, address: u64) -> None:
    """Let L2 read an address that maps to its own page, which holds `MARKER`."""
    begin(state, name, address)
    state.vector = enter_guest(state, symbol_address("guest_read"), address, UNTOUCHED)
    expect(state, bytes_address(b"hvc\0"), done(state), 1)
    expect(state, bytes_address(b"x1\0"), state.x[1], MARKER)
    end(state)


@resident
def remap(state: State, parameters: Parameters, root: u64, target: u64) -> None:
    """Point a page that L2 uses at a target, first without TLBI, then with it."""
    alias = target | ALIAS
    page = block_of(alias, 3)
    slot = entry_of(state, root, page, 3)
    here = u64(ARENA + (alias & PAGE_MASK))
    store_u64(PA(here), MARKER)
    map_to(state, root, page, 3, ARENA, S2_NORMAL)
    invalidate_all()
    read_own(state, bytes_address(b"remap-before\0"), alias)
    leaf = load_u64(PA(slot))
    store_u64(PA(slot), leaf & PAGE_MASK | block_of(target, 3))
    dsb_sy()
    begin(state, bytes_address(b"remap-without-tlbi\0"), alias)
    state.vector = enter_guest(state, symbol_address("guest_read"), alias, UNTOUCHED)
    # The old translation may live on in a TLB, or be gone already.
    if is_hvc(state, HVC_DONE):
        expect(state, bytes_address(b"x1\0"), state.x[1], MARKER)
    else:
        expect_el1(state, CURRENT_SPX_SYNC, READ_SAME | EXTERNAL, alias)
    expect_no_canary(state, parameters)
    end(state)
    sysop(TLBI.IPAS2E1IS, page >> 12)
    dsb_sy()
    sysop(TLBI.VMALLE1IS)
    dsb_sy()
    isb()
    guest_attempts(state, parameters, alias)
    store_u64(PA(slot), leaf)
    dsb_sy()
    invalidate_all()
    read_own(state, bytes_address(b"remap-back\0"), alias)
    store_u64(PA(slot), 0)
    invalidate_all()


@resident
def translate(state: State, root: u64, target: u64) -> None:
    """Translate an IPA that L1 maps to a target: AT gives L1's own mapping and nothing else."""
    alias = target | ALIAS
    page = block_of(alias, 3)
    map_to(state, root, page, 3, block_of(target, 3), S2_NORMAL)
    invalidate_all()
    begin(state, bytes_address(b"at-s12e1r\0"), alias)
    sysop(AT.S12E1R, alias)
    expect_par(state, block_of(target, 3))
    begin(state, bytes_address(b"at-s12e1w\0"), alias)
    sysop(AT.S12E1W, alias)
    expect_par(state, block_of(target, 3))
    begin(state, bytes_address(b"at-s12e0r\0"), alias)
    sysop(AT.S12E0R, alias)
    expect_par(state, block_of(target, 3))
    begin(state, bytes_address(b"at-s1e1r\0"), alias)
    sysop(AT.S1E1R, alias)
    expect_par(state, page)
    begin(state, bytes_address(b"at-s1e1w\0"), alias)
    sysop(AT.S1E1W, alias)
    expect_par(state, page)
    store_u64(PA(entry_of(state, root, page, 3)), 0)
    invalidate_all()


@resident
def without_stage2(state: State, parameters: Parameters, target: u64) -> None:
    """Let L2 run on physical addresses (HCR_EL2.VM=0), stage 1 off."""
    set_hcr(HCR_HOST)
    isb()
    guest_attempts(state, parameters, target)


@resident
def guest_stage1(state: State, parameters: Parameters) -> u64:
    """Make a stage 1 for L2 that maps RAM to itself, and turn it on."""
    root = identity_table(state, parameters.ram_end, S1_NORMAL)
    guest_stage1_on(root)
    return root


STAGE1_WALKS = (
    (b"l2-s1-walk-read\0", "guest_read", READ_SAME),
    (b"l2-s1-walk-write\0", "guest_write", WRITE_SAME),
    (b"l2-s1-walk-execute\0", "guest_execute", FETCH_SAME),
)
STAGE1_ATS = (
    (b"at-s1-walk-s1e1r\0", "do_at_s1e1r"),
    (b"at-s1-walk-s12e1r\0", "do_at_s12e1r"),
    (b"at-s1-walk-s12e1w\0", "do_at_s12e1w"),
    (b"at-s1-walk-s12e0r\0", "do_at_s12e0r"),
)


@resident
def stage1_walk_attempts(state: State, parameters: Parameters, address: u64, level: u64) -> None:
    """Let L2 access by a stage-1 table in a target, and L1 translate by it."""
    fault = u64(EXTERNAL_WALK + level)
    for name, code, esr in STAGE1_WALKS:
        begin(state, bytes_address(name), address)
        state.vector = enter_guest(state, symbol_address(code), address, UNTOUCHED)
        expect_el1(state, CURRENT_SPX_SYNC, u64(esr | fault), address)
        end_with_nothing(state, parameters)
    for name, code in STAGE1_ATS:
        begin(state, bytes_address(name), address)
        state.vector = probe(symbol_address(code), address, 0)
        expect_el2(state, CURRENT_SPX_SYNC, u64(WRITE_SAME | CM | fault), address)
        end(state)


@resident
def attempts_by_guest_stage1(
    state: State, parameters: Parameters, root: u64, target: u64, output: u64
) -> None:
    """Let L2's own stage 1 lead to a target, by a leaf and by tables.

    :param output: the target as L2 must name it: an IPA.
    """
    alias = target | ALIAS
    slot = entry_of(state, root, alias, 1)
    map_to(state, root, block_of(alias, 3), 3, block_of(output, 3), S1_NORMAL)
    invalidate_all()
    guest_attempts(state, parameters, alias)
    table = block_of(output, 3) | TABLE
    store_u64(PA(slot), table)
    invalidate_all()
    stage1_walk_attempts(state, parameters, alias, 2)
    store_u64(PA(slot), 0)
    store_u64(PA(entry_of(state, root, alias, 2)), table)
    invalidate_all()
    stage1_walk_attempts(state, parameters, alias, 3)
    store_u64(PA(slot), 0)
    msr(sr.TTBR1_EL12, block_of(output, 3))
    invalidate_all()
    stage1_walk_attempts(state, parameters, UPPER_BASE, 1)
    msr(sr.TTBR1_EL12, root)
    invalidate_all()


@resident
def all_by_guest_stage1(
    state: State, parameters: Parameters, stage2_root: u64, root: u64, target: u64
) -> None:
    """Do so without a stage 2, and with one that maps the target."""
    set_hcr(HCR_HOST)
    isb()
    attempts_by_guest_stage1(state, parameters, root, target, target)
    ipa = target | ALIAS
    map_to(state, stage2_root, block_of(ipa, 3), 3, block_of(target, 3), S2_NORMAL)
    use_stage2(stage2_root, VMID)
    attempts_by_guest_stage1(state, parameters, root, target, ipa)
    store_u64(PA(entry_of(state, stage2_root, ipa, 3)), 0)
    invalidate_all()


@resident
def execute_from_device(state: State, root: u64) -> None:
    """Let L2 fetch from the empty PCI window: whatever it gets, that must end."""
    map_to(state, root, ALIAS | PCI_WINDOW, 3, PCI_WINDOW, S2_NORMAL)
    invalidate_all()
    begin(state, bytes_address(b"l2-execute-device\0"), PCI_WINDOW)
    code = symbol_address("guest_execute")
    state.vector = enter_guest(state, code, ALIAS | PCI_WINDOW, UNTOUCHED)
    expect(state, bytes_address(b"vector\0"), state.vector, LOWER_AARCH64_SYNC)
    expect(state, bytes_address(b"done\0"), done(state), 0)
    set_hcr(HCR_HOST)
    isb()
    state.vector = enter_guest(state, code, PCI_WINDOW, UNTOUCHED)
    expect(state, bytes_address(b"vector\0"), state.vector, LOWER_AARCH64_SYNC)
    expect(state, bytes_address(b"done\0"), done(state), 0)
    end(state)
    use_stage2(root, VMID)


@resident
def leave_targets_mapped(state: State, parameters: Parameters, root: u64) -> None:
    """End with every target mapped and used, so that the host can examine the result."""
    for i in range(parameters.target_count):
        target = parameters.targets[i]
        alias = target | ALIAS
        map_to(state, root, block_of(alias, 3), 3, block_of(target, 3), S2_NORMAL)
    invalidate_all()
    for i in range(parameters.target_count):
        guest_attempts(state, parameters, parameters.targets[i] | ALIAS)
