"""Loads and stores of vEL2 that stand between its accesses to registers (see `ahead`).

A hypervisor that saves a guest reads a register and stores it, thirty times. The address goes
through L1's stage 1 as hardware would take it (AT, with PSTATE.PAN); what is not ordinary memory of
L1, not aligned, on two pages, or not allowed is left to hardware, which knows what to do then.
"""

from vel2.arch import sysregs as sr
from vel2.arch.pstate import SPSR_ELx
from vel2.hyp import a64
from vel2.hyp.at import set_pan
from vel2.hyp.fallible import try_at_s1e1r, try_at_s1e1rp, try_at_s1e1wp
from vel2.hyp.pool import PAGE_MASK
from vel2.hyp.state import Vcpu, Vm, vm_of
from vel2.lang import (
    PA,
    inline,
    load_u32,
    load_u64,
    mrs,
    msr,
    resident,
    store_u32,
    store_u64,
    u32,
    u64,
)

SINGLE_MASK, SINGLE = 0xBF80_0000, 0xB900_0000
"""LDR and STR (immediate, unsigned offset) of 32 and 64 bits."""
PAIR_MASK, PAIR = 0xFF80_0000, 0xA900_0000
"""LDP and STP (signed offset) of 64 bits."""
IS_LOAD = 1 << 22
SP = 31
SP_ALIGNMENT = 15
LAST_PAIR = 0xFF0
NO_PAGE = 1
"""No page begins there."""

PAR = sr.PAR_EL1
PAR_ADDRESS = (1 << 48) - 1 & ~PAGE_MASK
WRITE_BACK = 0b0100_0100
"""In both halves of a MAIR attribute; alone it is Non-cacheable."""


@inline
def is_l1_ram(vm: Vm, address: u64) -> bool:
    """Whether an address of L1 is in its one block of RAM."""
    return address >= vm.ram_base and address < vm.ram_end


@resident
def page_of_par(vcpu: Vcpu, saved: u64, done: u64) -> u64:
    """Give the page an AT has found, or 0 if it is not L1's ordinary memory; put PAR_EL1 back.

    :param done: whether the AT came to a result at all (`fallible`).
    """
    found = mrs(PAR)
    msr(PAR, saved)
    page = found & PAR_ADDRESS
    attr = PAR.ATTR.get(found)
    if done == 0 or found & PAR.F.mask or attr & WRITE_BACK != WRITE_BACK or attr == WRITE_BACK:
        return 0
    if not is_l1_ram(vm_of(vcpu), page):
        return 0
    return page


@resident
def code_page(vcpu: Vcpu) -> u64:
    """Give the physical page of the instruction at PC, or 0 if it is nowhere we can read it."""
    saved = mrs(PAR)
    return page_of_par(vcpu, saved, try_at_s1e1r(vcpu.pc))


@resident
def data_page(vcpu: Vcpu, address: u64, is_load: bool) -> u64:
    """Give the physical page of an address that vEL2 may read or write, or 0."""
    base = address & ~PAGE_MASK
    if vcpu.data_base == base and (is_load or vcpu.data_is_writable != 0):
        return vcpu.data_page
    saved = mrs(PAR)
    set_pan(SPSR_ELx.PAN.get(vcpu.pstate))
    done = u64(0)
    if is_load:
        done = try_at_s1e1rp(address)
    else:
        done = try_at_s1e1wp(address)
    set_pan(0)
    page = page_of_par(vcpu, saved, done)
    if page != 0:
        vcpu.data_base = base
        vcpu.data_page = page
        vcpu.data_is_writable = u64(not is_load)
    return page


@inline
def is_base_good(vcpu: Vcpu, n: u64) -> bool:
    """Whether a base register can be used: SP has to be aligned (SCTLR_ELx.SA)."""
    return n != SP or stack_pointer(vcpu) & SP_ALIGNMENT == 0


@inline
def stack_pointer(vcpu: Vcpu) -> u64:
    """Give SP of vEL2; hardware's SP_EL1 is its SP_EL2."""
    if vcpu.pstate & 1:
        return mrs(sr.SP_EL1)
    return mrs(sr.SP_EL0)


@inline
def base_of(vcpu: Vcpu, n: u64) -> u64:
    """Give X[n], or SP for register 31."""
    if n == SP:
        return stack_pointer(vcpu)
    return vcpu.x[n]


@resident
def single(vcpu: Vcpu, insn: u64) -> bool:
    """Execute LDR or STR."""
    wide = insn >> 30 & 1
    is_load = insn & IS_LOAD != 0
    rt = insn & 31
    offset = u64((insn >> 10 & 0xFFF) << u64(2 + wide))
    address = u64(base_of(vcpu, insn >> 5 & 31) + offset)
    if address & u64(3 + 4 * wide):
        return False
    page = data_page(vcpu, address, is_load)
    if page == 0:
        return False
    place = PA(page | address & PAGE_MASK)
    if is_load:
        if wide:
            a64.write(vcpu, rt, 1, load_u64(place))
        else:
            a64.write(vcpu, rt, 1, u64(load_u32(place)))
    elif wide:
        store_u64(place, a64.read(vcpu, rt))
    else:
        store_u32(place, u32(a64.read(vcpu, rt)))
    return True


@resident
def pair(vcpu: Vcpu, insn: u64) -> bool:
    """Execute LDP or STP."""
    is_load = insn & IS_LOAD != 0
    first, second = insn & 31, insn >> 10 & 31
    offset = u64(a64.sign_extend(insn >> 15 & 0x7F, 7) << 3)
    address = u64(base_of(vcpu, insn >> 5 & 31) + offset)
    if address & 7 or address & PAGE_MASK > LAST_PAIR or (is_load and first == second):
        return False
    page = data_page(vcpu, address, is_load)
    if page == 0:
        return False
    place = u64(page | address & PAGE_MASK)
    if is_load:
        # Both before either: the first may be the base, and X[n] is written in this order.
        one, other = load_u64(PA(place)), load_u64(PA(place + 8))
        a64.write(vcpu, first, 1, one)
        a64.write(vcpu, second, 1, other)
    else:
        store_u64(PA(place), a64.read(vcpu, first))
        store_u64(PA(place + 8), a64.read(vcpu, second))
    return True


@resident
def execute(vcpu: Vcpu, insn: u64) -> bool:
    """Execute one load or store at vEL2; False, with nothing changed, if it is not one we do."""
    if not is_base_good(vcpu, insn >> 5 & 31):
        return False
    done = False
    if insn & SINGLE_MASK == SINGLE:
        done = single(vcpu, insn)
    elif insn & PAIR_MASK == PAIR:
        done = pair(vcpu, insn)
    if done:
        vcpu.pc = u64(vcpu.pc + a64.BYTES)
    return done
