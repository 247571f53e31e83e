"""Running ahead: one trap for several accesses that would each trap.

An nVHE KVM reads CNTHCTL_EL2, changes bits of it and writes it back; with FEAT_NV alone it saves
thirty registers of its guest one after the other. What lies between two such accesses is often a
few instructions that only compute. So when a trapped access has been emulated, its successors are
looked at: those that compute are executed here (`a64`), an access to a register of vEL2 is emulated
as if it had trapped, and the first instruction that is neither ends it. The guest cannot tell: it
is as if no interrupt had come in between.

It is not done where somebody could: with single step or breakpoints on, which only hardware's
MDSCR_EL1 tells at both levels. Nor is it done in vain twice: an address after which nothing was won
is remembered (`Vcpu.barren`), which costs nothing but a forgotten gain when it is wrong.
"""

from vel2.arch import sysregs as sr
from vel2.arch.insn import AT
from vel2.hyp import a64, el2regs, idregs, places
from vel2.hyp.state import BARREN, LEVEL_NV2, Vcpu, Vm, vm_of
from vel2.lang import PA, inline, isb, load_u32, mrs, msr, resident, sysop, u64

MOVE_MASK, MOVE = 0xFFD0_0000, 0xD510_0000
"""MSR and MRS (register): op0 is 2 or 3."""
IS_MRS = 1 << 21
STEPS = 8
"""So many instructions without an access end it."""
WATCHED = sr.MDSCR_EL1.compose(SS=1, MDE=1, KDE=1)
PAGE_MASK = 0xFFF
PAR_ADDRESS = (1 << 48) - 1 & ~PAGE_MASK
PAR_FAILED = sr.PAR_EL1.F.mask


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
def is_l1_ram(vm: Vm, address: u64) -> bool:
    """Whether an address of L1 is in its one block of RAM."""
    return address >= vm.ram_base and address < vm.ram_end


@resident
def code_page(vcpu: Vcpu) -> u64:
    """Give the physical page of the instruction at PC, or 0 if it is nowhere we can read it."""
    par = mrs(sr.PAR_EL1)
    sysop(AT.S1E1R, vcpu.pc)
    isb()
    found = mrs(sr.PAR_EL1)
    msr(sr.PAR_EL1, par)
    page = found & PAR_ADDRESS
    if found & PAR_FAILED or not is_l1_ram(vm_of(vcpu), page):
        return 0
    return page


@inline
def access(vcpu: Vcpu, insn: u64, key: u64) -> bool:
    """Do an MSR or MRS of vEL2 as if it had trapped; False, with nothing changed, if we cannot."""
    is_id_register = insn & IS_MRS != 0 and idregs.is_in_space(key)
    if not is_id_register and places.place_of(key) & places.AHEAD == 0:
        return False
    vcpu.undefined = 0
    rt = insn & 31
    if insn & IS_MRS:
        value = u64(0)
        if is_id_register:
            value = idregs.of_vm(vm_of(vcpu), key)
        else:
            value = el2regs.read(vcpu, key)
        if vcpu.undefined == 0:
            a64.write(vcpu, rt, 1, value)
    else:
        el2regs.write(vcpu, key, a64.read(vcpu, rt))
    return vcpu.undefined == 0


@resident
def run(vcpu: Vcpu) -> None:
    """Execute what follows a trapped access of vEL2 that has been done; PC is behind it."""
    start = vcpu.pc
    index = index_of(start)
    if vcpu.barren[index] == start or mrs(sr.MDSCR_EL1) & WATCHED:
        return
    page = code_page(vcpu)
    won = u64(0)
    left = u64(STEPS)
    if page == 0:
        left = u64(0)
    while left > 0 and (vcpu.pc ^ start) & ~PAGE_MASK == 0:
        insn = u64(load_u32(PA(page | vcpu.pc & PAGE_MASK)))
        left = u64(left - 1)
        if insn & MOVE_MASK == MOVE:
            key = key_of(insn)
            if not access(vcpu, insn, key):
                break
            vcpu.pc = u64(vcpu.pc + a64.BYTES)
            if vm_of(vcpu).nv_level != LEVEL_NV2 or places.place_of(key) & places.ABSORBED == 0:
                won = u64(won + 1)
                left = u64(STEPS)
        elif not a64.execute(vcpu, insn):
            break
    vcpu.counters.ahead = u64(vcpu.counters.ahead + won)
    if won == 0:
        vcpu.barren[index] = start
