"""Fine-grained traps (FEAT_FGT): L1's HFG* registers for vEL1, and whether one of their bits asks.

A bit with a positive name traps when it is 1: while vEL1 runs hardware has L1's and L0's own, while
vEL2 runs L0's only, because L1's would trap its own accesses. A bit with a negative name ("n...")
enables a feature that came after FEAT_FGT; those features are hidden from the VM, so hardware's
stay 0 and the accesses are UNDEFINED before anybody asks (`routing`). FEAT_FGT2's registers have
little else: L1 does not see them, and hardware's are 0 (`SECOND`). HAFGRTR_EL2 is about activity
monitors, hidden.

MDSCR_EL1 is a name of the VNCR page: at vEL2 FEAT_NV2 turns its accesses into memory's, unless a
fine-grained trap comes first. A write must reach hardware at once, since L1 needs no instruction
that traps to let it act on vEL2 itself: it clears PSTATE.D. But a KVM writes it twice for each exit
of its guest. So writes trap from the start, and stop when `mdscr` has seen several in a row that
debug nothing; a breakpoint, a watchpoint or another value makes them trap again.
"""

from vel2.arch import controls as arch_controls
from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.hyp.homes import slot
from vel2.hyp.state import FGT_LOADED, LEVEL_NV2, Vcpu, page_of, vm_of
from vel2.lang import inline, mrs, msr, resident, u64

__all__ = (
    "asks",
    "clear_for_vel2",
    "let_debug_through",
    "load_for_vel1",
    "release_mdscr",
    "reset",
    "stop_trapping_mdscr",
    "trap_debug",
    "trap_mdscr",
)

REGISTERS = (
    sr.HFGRTR_EL2,
    sr.HFGWTR_EL2,
    sr.HFGITR_EL2,
    sr.HDFGRTR_EL2,
    sr.HDFGWTR_EL2,
)


SECOND = (
    sr.HFGRTR2_EL2,
    sr.HFGWTR2_EL2,
    sr.HFGITR2_EL2,
    sr.HDFGRTR2_EL2,
    sr.HDFGWTR2_EL2,
)
FGT2 = 2
REGISTER_BITS = 64
SELECTORS = ("PMEVTYPERn_EL0", "PMCCFILTR_EL0", "DBGBCRn_EL1", "DBGWCRn_EL1")
TURN_ON_COUNTERS = ("PMCR_EL0", "PMCNTEN")
OWN: dict[type[Register], int] = {
    sr.HDFGRTR_EL2: sr.HDFGRTR_EL2.compose(**dict.fromkeys(SELECTORS, 1)),
    sr.HDFGWTR_EL2: sr.HDFGWTR_EL2.compose(**dict.fromkeys(SELECTORS + TURN_ON_COUNTERS, 1)),
}
"""What L0 traps for itself in every context (`selectors`)."""
HINTS = (sr.HFGITR_EL2.PSBCSYNC,)
"""Bits of hidden features whose instructions are hints, and go on doing nothing."""


def positive_bits(register: type[Register]) -> int:
    """Mask the bits of a fine-grained register that trap when they are 1, and that L1 has."""
    mask = 0
    for field in register.fields:
        if field.mask & register.known and not field.negative and field not in HINTS:
            mask |= field.mask
    return mask


TRAP_REGISTERS = tuple(
    (
        register,
        slot(register),
        positive_bits(register),
        OWN.get(register, 0),
        register is sr.HDFGWTR_EL2,
    )
    for register in REGISTERS
)
SLOTS = tuple(slot(register) for register in REGISTERS)


def _routes() -> dict[int, int]:
    """Map trap key * 2 + direction to the place of a positive bit, register by register."""
    numbers = {register.name: number for number, register in enumerate(REGISTERS)}
    routes = {}
    for (key, is_read), fine in arch_controls.FINE.items():
        if fine.register in numbers and fine.polarity == 1:
            bit = sr.by_name(fine.register).field(fine.field).lsb
            routes[key * 2 + int(is_read)] = numbers[fine.register] * REGISTER_BITS + bit
    return routes


ROUTES = _routes()
KEYS = tuple(sorted(ROUTES))
BITS = tuple(ROUTES[key] for key in KEYS)


MDSCR_TRAP = sr.HDFGWTR_EL2.MDSCR_EL1.mask
DEBUG_READS = sr.HDFGRTR_EL2.compose(DBGBCRn_EL1=1, DBGWCRn_EL1=1)
DEBUG_WRITES = sr.HDFGWTR_EL2.compose(DBGBCRn_EL1=1, DBGWCRn_EL1=1)


@resident
def trap_mdscr(vcpu: Vcpu) -> None:
    """Let writes of MDSCR_EL1 trap, in vEL1 too, where L0 then does them."""
    vcpu.guesses.quiet_mdscr = 0
    if (
        vcpu.pcpu.mdscr_traps == 0
        and vm_of(vcpu).probed.has_fgt != 0
        and vm_of(vcpu).config.nv_level == LEVEL_NV2
    ):
        vcpu.pcpu.mdscr_traps = MDSCR_TRAP
        msr(sr.HDFGWTR_EL2, mrs(sr.HDFGWTR_EL2) | MDSCR_TRAP)


@resident
def stop_trapping_mdscr(vcpu: Vcpu) -> None:
    """Let writes of MDSCR_EL1 at vEL2 go to the page; L1's own traps are not loaded there."""
    if vcpu.pcpu.mdscr_traps != 0:
        vcpu.pcpu.mdscr_traps = 0
        msr(sr.HDFGWTR_EL2, mrs(sr.HDFGWTR_EL2) & ~MDSCR_TRAP)


@inline
def let_debug_through() -> None:
    """Let vEL2 reach breakpoint and watchpoint controls without a trap (`breakpoints`)."""
    msr(sr.HDFGRTR_EL2, mrs(sr.HDFGRTR_EL2) & ~u64(DEBUG_READS))
    msr(sr.HDFGWTR_EL2, mrs(sr.HDFGWTR_EL2) & ~u64(DEBUG_WRITES))


@inline
def trap_debug() -> None:
    """Let accesses to breakpoint and watchpoint controls trap again."""
    msr(sr.HDFGRTR_EL2, mrs(sr.HDFGRTR_EL2) | DEBUG_READS)
    msr(sr.HDFGWTR_EL2, mrs(sr.HDFGWTR_EL2) | DEBUG_WRITES)


@resident
def release_mdscr(vcpu: Vcpu) -> None:
    """Let MDSCR_EL1 be memory to an L2 at vEL2 whose L1 gives it FEAT_NV2, until vEL2 runs."""
    vcpu.pcpu.loaded = vcpu.pcpu.loaded | FGT_LOADED
    msr(sr.HDFGWTR_EL2, mrs(sr.HDFGWTR_EL2) & ~MDSCR_TRAP)


@inline
def load_for_vel1(vcpu: Vcpu) -> None:
    """Give hardware what L1 asks of the fine-grained traps."""
    if vm_of(vcpu).probed.has_fgt != 0:
        page = page_of(vcpu)
        for register, number, bits, own, has_mdscr in TRAP_REGISTERS:
            value = page.slot[number] & bits
            if value != 0:
                if has_mdscr:
                    value = value | vcpu.pcpu.mdscr_traps
                msr(register, value | own)
                vcpu.pcpu.loaded = vcpu.pcpu.loaded | FGT_LOADED


@inline
def clear_for_vel2(vcpu: Vcpu) -> None:
    """Take L1's fine-grained traps out of its own way."""
    for register, _number, _bits, own, has_mdscr in TRAP_REGISTERS:
        if has_mdscr:
            msr(register, own | vcpu.pcpu.mdscr_traps)
        else:
            msr(register, own)


@inline
def reset() -> None:
    """Begin with L0's own traps, if the machine has FEAT_FGT."""
    for register, _number, _bits, own, _has_mdscr in TRAP_REGISTERS:
        msr(register, own)
    if sr.ID_AA64MMFR0_EL1.FGT.get(mrs(sr.ID_AA64MMFR0_EL1)) >= FGT2:
        for second in SECOND:
            msr(second, 0)


@resident
def asks(vcpu: Vcpu, key: u64, is_read: bool) -> bool:
    """Whether a fine-grained bit of L1 is set for this access."""
    if vm_of(vcpu).probed.has_fgt == 0:
        return False
    wanted = u64(key << 1)
    if is_read:
        wanted = wanted | 1
    low = u64(0)
    high = u64(len(KEYS))
    while low < high:
        middle = u64(low + high) >> 1
        if KEYS[middle] < wanted:
            low = u64(middle + 1)
        else:
            high = middle
    if low >= len(KEYS) or KEYS[low] != wanted:
        return False
    place = BITS[low]
    return page_of(vcpu).slot[SLOTS[place // REGISTER_BITS]] >> place % REGISTER_BITS & 1 != 0
