"""Running ahead: one trap for several accesses that would each trap.

An nVHE KVM reads CNTHCTL_EL2, changes bits of it and writes it back; with FEAT_NV alone it saves
thirty registers of its guest one after the other. What lies between two such accesses is often a
few instructions that only compute, or store what was read. So when a trapped access has been
emulated, its successors are looked at: those are executed here (`a64`, `loadstore`), an access to a
register of vEL2 is emulated as if it had trapped, and the first instruction that is neither ends
it. The guest cannot tell: it is as if no interrupt had come in between.

It is not done where somebody could: with single step or breakpoints on, which only hardware's
MDSCR_EL1 tells at both levels. Nor is it done in vain twice: an address after which too little was
won is remembered (`Vcpu.barren`), which costs nothing but a forgotten gain when it is wrong. Loads
and stores are done with FEAT_NV alone: with FEAT_NV2 what is saved and restored seldom traps.
"""

from vel2.arch import sysregs as sr
from vel2.hyp import a64, el2regs, idregs, loadstore, places
from vel2.hyp.pool import PAGE_MASK
from vel2.hyp.state import BARREN, LEVEL_NV2, Vcpu, vm_of
from vel2.lang import PA, inline, load_u32, mrs, resident, u64

MOVE_MASK, MOVE = 0xFFD0_0000, 0xD510_0000
"""MSR and MRS (register): op0 is 2 or 3."""
IS_MRS = 1 << 21
STEPS = 8
"""So many instructions without an access end it."""
WORTH = 4
"""So many instructions executed here cost as much as a trap."""
WATCHED = sr.MDSCR_EL1.compose(SS=1, MDE=1, KDE=1)
LOADS_AND_STORES_MASK, LOADS_AND_STORES = 0b0101 << 25, 0b0100 << 25


@inline
def key_of(insn: u64) -> u64:
    """Give the trap key of the register that an MSR or MRS names."""
    return u64((insn >> 19 & 3) << 14 | (insn >> 5 & 7) << 11 | (insn >> 16 & 7) << 8) | (
        insn >> 8 & 0xFF
    )


@inline
def index_of(pc: u64) -> u64:
    """Give the place of an address in `Vcpu.barren`."""
    return u64((pc >> 2) & (BARREN - 1))


@inline
def access(vcpu: Vcpu, insn: u64, key: u64, place: u64) -> bool:
    """Do an MSR or MRS of vEL2 as if it had trapped; False, with nothing changed, if we cannot."""
    is_id_register = insn & IS_MRS != 0 and idregs.is_in_space(key)
    if not is_id_register and place & places.AHEAD == 0:
        return False
    vcpu.undefined = 0
    rt = insn & 31
    if insn & IS_MRS:
        value = u64(0)
        if is_id_register:
            value = idregs.of_vm(vm_of(vcpu), key)
        else:
            value = el2regs.read(vcpu, key, place)
        if vcpu.undefined == 0:
            a64.write(vcpu, rt, 1, value)
    else:
        el2regs.write(vcpu, key, place, a64.read(vcpu, rt))
    return vcpu.undefined == 0


@resident
def run(vcpu: Vcpu) -> None:
    """Execute what follows a trapped access of vEL2 that has been done; PC is behind it."""
    start = vcpu.pc
    index = index_of(start)
    if vcpu.barren[index] == start or mrs(sr.MDSCR_EL1) & WATCHED:
        return
    page = loadstore.code_page(vcpu)
    vcpu.data_base = loadstore.NO_PAGE
    has_nv2 = vm_of(vcpu).nv_level == LEVEL_NV2
    won = u64(0)
    done = u64(0)
    paid = u64(0)
    left = u64(STEPS)
    if page == 0:
        left = u64(0)
    while left > 0 and (vcpu.pc ^ start) & ~PAGE_MASK == 0:
        insn = u64(load_u32(PA(page | vcpu.pc & PAGE_MASK)))
        left = u64(left - 1)
        done = u64(done + 1)
        if insn & MOVE_MASK == MOVE:
            key = key_of(insn)
            place = places.place_of(key)
            if not access(vcpu, insn, key, place):
                break
            vcpu.pc = u64(vcpu.pc + a64.BYTES)
            if not has_nv2 or place & places.ABSORBED == 0:
                won = u64(won + 1)
                paid = u64(done - won)
                left = u64(STEPS)
        elif insn & LOADS_AND_STORES_MASK == LOADS_AND_STORES:
            if has_nv2 or not loadstore.execute(vcpu, insn):
                break
        elif not a64.execute(vcpu, insn):
            break
    vcpu.counters.ahead = u64(vcpu.counters.ahead + won)
    if won == 0 or paid > u64(WORTH * won):
        vcpu.barren[index] = start
