"""The registers that payload `registers` writes and reads, and the code that does it.

Names are those for E2H=1; `build.without_el12` turns them into an nVHE guest's. `bits` are those
that a write must change under any hypervisor: not those of features that one may hide, nor those
that would disturb the payload itself.
"""

from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.check.payloads.features.code import OPTIONAL
from vel2.check.payloads.library.assembly import HVC_DONE
from vel2.lang import SP, Assembler

HCR = sr.HCR_EL2
SCTLR = sr.SCTLR_EL1
TCR = sr.TCR_EL1
ALL = (1 << 64) - 1
ADDRESS = (1 << 48) - 1
LOW_32 = (1 << 32) - 1
IMPLEMENTATION_DEFINED = 0
"""Machines differ in the bits they have, so only the access is checked."""


@dataclass(frozen=True)
class Row:
    """One register by the name EL2 uses, and the bits to write."""

    register: type[Register]
    bits: int
    e2h_only: bool = False

    @property
    def name(self) -> bytes:
        """Its name in the log."""
        return f"{self.register.name.lower()}\0".encode()

    @property
    def get(self) -> str:
        """The label of EL2's read."""
        return f"get_{self.register.name.lower()}"

    @property
    def set(self) -> str:
        """The label of EL2's write."""
        return f"set_{self.register.name.lower()}"

    @property
    def guest_get(self) -> str:
        """The label of the guest's own read."""
        return f"l2_{self.get}"

    @property
    def guest_set(self) -> str:
        """The label of the guest's own write."""
        return f"l2_{self.set}"


def _mask(register: type[Register], *names: str) -> int:
    mask = 0
    for name in names:
        mask |= register.field(name).mask
    return mask


EL2_SCTLR = _mask(SCTLR, "SA", "I", "WXN", "EnIA", "EnIB", "EnDA", "EnDB")
EL0_SCTLR = _mask(SCTLR, "UCT", "UCI", "DZE", "nTWI", "nTWE", "SA0", "UMA", "SPAN")
TCR_BITS = _mask(
    TCR,
    *("T0SZ", "EPD0", "IRGN0", "ORGN0", "SH0", "T1SZ", "A1", "EPD1", "IRGN1", "ORGN1", "SH1"),
    *("IPS", "AS", "TBI0", "TBI1"),
)
TCR_EL2_BITS = _mask(sr.TCR_EL2, "T0SZ", "IRGN0", "ORGN0", "SH0")
FLAGS = _mask(sr.SPSR_EL1, "N", "Z", "C", "V", "D", "A", "I", "F", "PAN", "IL")
HCR_BITS = _mask(
    HCR,
    *("VM", "SWIO", "PTW", "FMO", "IMO", "AMO", "VF", "VI", "VSE", "FB", "BSU", "DC"),
    *("TWI", "TWE", "TID1", "TID2", "TID3", "TSC", "TIDCP", "TACR", "TSW", "TPCP", "TPU"),
    *("TTLB", "TVM", "TDZ", "TRVM", "TEA", "TERR", "APK", "API", "TID4", "TOCU"),
    *("TTLBIS", "TTLBOS"),
)
MDCR_BITS = _mask(sr.MDCR_EL2, "TDE", "TDA", "TDOSA", "TDRA")
CNTHCTL_BITS = _mask(sr.CNTHCTL_EL2_E2H, "EVNTEN", "EVNTDIR", "EVNTI")
CNTKCTL_BITS = CNTHCTL_BITS | _mask(
    sr.CNTHCTL_EL2_E2H, "EL0PCTEN", "EL0VCTEN", "EL0PTEN", "EL0VTEN"
)
VTCR_BITS = _mask(sr.VTCR_EL2, "T0SZ", "SL0", "IRGN0", "ORGN0", "SH0", "TG0", "PS")
TIMER_BITS = _mask(sr.CNTV_CTL_EL0, "ENABLE", "IMASK")
CPACR_BITS = _mask(sr.CPACR_EL1, "FPEN")
LR_BITS = _mask(sr.ICH_LR0_EL2, "State", "Group") | 0x3FF | 0xF8 << 48
VMCR_BITS = _mask(sr.ICH_VMCR_EL2, "VENG1", "VENG0", "VEOIM", "VCBPR") | 0xF8 << 24
ICH_HCR_BITS = _mask(sr.ICH_HCR_EL2, "En", "UIE", "LRENPIE", "NPIE", "TC", "TALL0", "TALL1")
AP_BITS = 0x7FFF_FFFF
FGT_READ = _mask(
    sr.HFGRTR_EL2, "AFSR0_EL1", "CONTEXTIDR_EL1", "SCTLR_EL1", "VBAR_EL1", "nTPIDR2_EL0"
)
FGT_WRITE = _mask(sr.HFGWTR_EL2, "AFSR0_EL1", "CONTEXTIDR_EL1", "SCTLR_EL1", "VBAR_EL1")
FGT_INSTRUCTIONS = _mask(sr.HFGITR_EL2, "TLBIVAE1", "TLBIVMALLE1IS", "ICIALLU", "DCCIVAC")
FGT_DEBUG = _mask(sr.HDFGWTR_EL2, "MDSCR_EL1", "DBGBVRn_EL1", "OSLAR_EL1")
FGT_DEBUG_READ = _mask(sr.HDFGRTR_EL2, "MDSCR_EL1", "DBGBVRn_EL1")

CARRIED = (
    Row(sr.SCTLR_EL2, EL2_SCTLR),
    Row(sr.TCR_EL2, TCR_EL2_BITS),
    Row(sr.TTBR0_EL2, ADDRESS & ~1),
    Row(sr.TTBR1_EL2, ADDRESS & ~1),
    Row(sr.MAIR_EL2, ALL),
    Row(sr.AMAIR_EL2, IMPLEMENTATION_DEFINED),
    Row(sr.VBAR_EL2, ADDRESS & ~0x7FF),
    Row(sr.CONTEXTIDR_EL2, LOW_32),
    Row(sr.ESR_EL2, LOW_32),
    Row(sr.FAR_EL2, ALL),
    Row(sr.AFSR0_EL2, IMPLEMENTATION_DEFINED),
    Row(sr.AFSR1_EL2, IMPLEMENTATION_DEFINED),
    Row(sr.ELR_EL2, ALL),
    Row(sr.SPSR_EL2, FLAGS),
)
"""EL2's counterparts of EL1's registers, except those whose layout depends on E2H."""

OWN = (
    *CARRIED,
    Row(sr.MDCR_EL2, MDCR_BITS),
    Row(sr.CNTHCTL_EL2, CNTHCTL_BITS),
    Row(sr.CPTR_EL2, sr.CPTR_EL2.TCPAC.mask),
    Row(sr.ACTLR_EL2, IMPLEMENTATION_DEFINED),
    Row(sr.HACR_EL2, IMPLEMENTATION_DEFINED),
    Row(sr.CNTHP_CTL_EL2, TIMER_BITS),
    Row(sr.CNTHP_CVAL_EL2, ALL),
    Row(sr.CNTHV_CTL_EL2, TIMER_BITS),
    Row(sr.CNTHV_CVAL_EL2, ALL),
    Row(sr.CNTP_CTL_EL0, TIMER_BITS, e2h_only=True),
    Row(sr.CNTP_CVAL_EL0, ALL, e2h_only=True),
    Row(sr.CNTV_CTL_EL0, TIMER_BITS, e2h_only=True),
    Row(sr.CNTV_CVAL_EL0, ALL, e2h_only=True),
    Row(sr.VTTBR_EL2, ALL & ~1),
    Row(sr.VTCR_EL2, VTCR_BITS),
    Row(sr.VMPIDR_EL2, sr.VMPIDR_EL2.known),
    Row(sr.VPIDR_EL2, LOW_32),
    Row(sr.CNTVOFF_EL2, ALL),
    Row(sr.HCR_EL2, HCR_BITS),
    Row(sr.HSTR_EL2, IMPLEMENTATION_DEFINED),
    Row(sr.TPIDR_EL2, ALL),
    Row(sr.HPFAR_EL2, sr.HPFAR_EL2.FIPA.mask & ADDRESS),
    Row(sr.HFGRTR_EL2, FGT_READ),
    Row(sr.HFGWTR_EL2, FGT_WRITE),
    Row(sr.HFGITR_EL2, FGT_INSTRUCTIONS),
    Row(sr.HDFGRTR_EL2, FGT_DEBUG_READ),
    Row(sr.HDFGWTR_EL2, FGT_DEBUG),
    Row(sr.ICH_LR0_EL2, LR_BITS),
    Row(sr.ICH_LR1_EL2, LR_BITS),
    Row(sr.ICH_LR2_EL2, LR_BITS),
    Row(sr.ICH_LR3_EL2, LR_BITS),
    Row(sr.ICH_AP0R0_EL2, AP_BITS),
    Row(sr.ICH_AP1R0_EL2, AP_BITS),
    Row(sr.ICH_HCR_EL2, ICH_HCR_BITS),
    Row(sr.ICH_VMCR_EL2, VMCR_BITS),
    Row(sr.VSESR_EL2, sr.VSESR_EL2.known & 0xFF_FFFF),
    Row(sr.VDISR_EL2, sr.VSESR_EL2.known & 0xFF_FFFF),
)
"""EL2's own registers."""

GUEST = (
    Row(sr.SCTLR_EL12, EL2_SCTLR | EL0_SCTLR),
    Row(sr.TCR_EL12, TCR_BITS),
    Row(sr.TTBR0_EL12, ALL & ~1),
    Row(sr.TTBR1_EL12, ALL & ~1),
    Row(sr.MAIR_EL12, ALL),
    Row(sr.AMAIR_EL12, IMPLEMENTATION_DEFINED),
    Row(sr.VBAR_EL12, ADDRESS & ~0x7FF),
    Row(sr.CONTEXTIDR_EL12, LOW_32),
    Row(sr.CPACR_EL12, CPACR_BITS),
    Row(sr.ESR_EL12, LOW_32),
    Row(sr.FAR_EL12, ALL),
    Row(sr.AFSR0_EL12, IMPLEMENTATION_DEFINED),
    Row(sr.AFSR1_EL12, IMPLEMENTATION_DEFINED),
    Row(sr.ELR_EL12, ALL),
    Row(sr.SPSR_EL12, FLAGS),
    Row(sr.SP_EL1, ALL),
    Row(sr.CNTKCTL_EL12, CNTKCTL_BITS),
    Row(sr.ACTLR_EL1, IMPLEMENTATION_DEFINED),
    Row(sr.MDSCR_EL1, sr.MDSCR_EL1.TDCC.mask),
    Row(sr.CNTV_CVAL_EL02, ALL),
    Row(sr.CNTV_CTL_EL02, TIMER_BITS),
    Row(sr.CNTP_CVAL_EL02, ALL),
    Row(sr.CNTP_CTL_EL02, TIMER_BITS),
    Row(sr.TPIDR_EL1, ALL),
    Row(sr.TPIDR_EL0, ALL),
    Row(sr.TPIDRRO_EL0, ALL),
    Row(sr.PAR_EL1, ADDRESS & ~0xFFF | sr.PAR_EL1.F.mask),
)
"""The guest's registers, which EL2 has by the name given and the guest by the plain name."""


@dataclass(frozen=True)
class Pair:
    """Two names of one register of EL2 with E2H=1: its own, and the one of EL1 or EL0."""

    own: Row
    plain: Row


def _pair(own: type[Register], plain: type[Register], bits: int) -> Pair:
    return Pair(Row(own, bits), Row(plain, bits))


PAIRS = (
    _pair(sr.SCTLR_EL2, sr.SCTLR_EL1, EL2_SCTLR),
    _pair(sr.TCR_EL2, sr.TCR_EL1, TCR_BITS),
    _pair(sr.TTBR0_EL2, sr.TTBR0_EL1, ADDRESS & ~1),
    _pair(sr.TTBR1_EL2, sr.TTBR1_EL1, ADDRESS & ~1),
    _pair(sr.MAIR_EL2, sr.MAIR_EL1, ALL),
    _pair(sr.VBAR_EL2, sr.VBAR_EL1, ADDRESS & ~0x7FF),
    _pair(sr.CONTEXTIDR_EL2, sr.CONTEXTIDR_EL1, LOW_32),
    _pair(sr.ESR_EL2, sr.ESR_EL1, LOW_32),
    _pair(sr.FAR_EL2, sr.FAR_EL1, ALL),
    _pair(sr.ELR_EL2, sr.ELR_EL1, ALL),
    _pair(sr.SPSR_EL2, sr.SPSR_EL1, FLAGS),
    _pair(sr.CPTR_EL2, sr.CPACR_EL1, CPACR_BITS | sr.CPTR_EL2.TCPAC.mask),
    _pair(sr.CNTHCTL_EL2, sr.CNTKCTL_EL1, CNTKCTL_BITS),
    _pair(sr.CNTHP_CTL_EL2, sr.CNTP_CTL_EL0, TIMER_BITS),
    _pair(sr.CNTHP_CVAL_EL2, sr.CNTP_CVAL_EL0, ALL),
    _pair(sr.CNTHV_CTL_EL2, sr.CNTV_CTL_EL0, TIMER_BITS),
    _pair(sr.CNTHV_CVAL_EL2, sr.CNTV_CVAL_EL0, ALL),
)

VIRTUAL_IDS = (
    _pair(sr.VPIDR_EL2, sr.MIDR_EL1, LOW_32),
    _pair(sr.VMPIDR_EL2, sr.MPIDR_EL1, sr.VMPIDR_EL2.known),
)
"""What EL2 writes, and what the guest then reads."""

KEPT = (
    sr.TCR_EL2,
    sr.TTBR0_EL2,
    sr.TTBR1_EL2,
    sr.MAIR_EL2,
    sr.CONTEXTIDR_EL2,
    sr.CNTHP_CVAL_EL2,
    sr.CNTHV_CVAL_EL2,
    sr.TPIDR_EL2,
    sr.VSESR_EL2,
    sr.CNTVOFF_EL2,
    sr.MDCR_EL2,
    sr.VPIDR_EL2,
    sr.VMPIDR_EL2,
    sr.ICH_VMCR_EL2,
)
"""EL2's registers that may have any value while a guest runs and exits."""

TIMER_VALUES = (Row(sr.CNTHP_TVAL_EL2, LOW_32), Row(sr.CNTHV_TVAL_EL2, LOW_32))
"""EL2's TVAL registers: the time left until a compare value."""


OPTIONAL_FEATURE = "of a feature that may not be there: payload `features` holds it to be UNDEFINED"
HIDDEN_FEATURE = "of a feature that vel2 hides"
SECURE = "of Secure EL2"
BY_NUMBER = "ICH_VTR_EL2 says that the machine has no such one"
VIEW = "a view of the compare value, which is written and read (`PAIRS`)"
EL2_STACK = "UNDEFINED at EL2 (payload `exceptions`)"
LEFT_OUT: dict[str, str] = {
    **{
        code.register.name: OPTIONAL_FEATURE
        for code in OPTIONAL
        if code.register not in {row.register for row in OWN}
    },
    **{f"ICH_LR{n}_EL2": BY_NUMBER for n in range(4, 16)},
    **{f"ICH_AP{group}R{n}_EL2": BY_NUMBER for group in range(2) for n in range(1, 4)},
    **{f"MPAMVPM{n}_EL2": HIDDEN_FEATURE for n in range(8)},
    "VSTTBR_EL2": SECURE,
    "VSTCR_EL2": SECURE,
    "SP_EL2": EL2_STACK,
    "CNTP_TVAL_EL0": VIEW,
    "CNTV_TVAL_EL0": VIEW,
}
for _names in (
    "HDFGRTR2_EL2 HDFGWTR2_EL2 HFGWTR2_EL2 HFGITR2_EL2 HAFGRTR_EL2",
    "ICH_HFGITR_EL2 ICH_HFGRTR_EL2 ICH_HFGWTR_EL2",
    "SMPRIMAP_EL2 MAIR2_EL1 AMAIR2_EL1 PIRE0_EL1 PIRE0_EL2 S2PIR_EL2 S2POR_EL1 GCSPR_EL1",
    "PMBLIMITR_EL1 PMBPTR_EL1 PMBSR_EL1 PMSEVFR_EL1 PMSICR_EL1 PMSIRR_EL1 PMSLATFR_EL1",
    "PMSNEVFR_EL1 PMSDSFR_EL1",
    "MPAM1_EL1 MPAMHCR_EL2 MPAMVPMV_EL2",
):
    LEFT_OUT |= dict.fromkeys(_names.split(), HIDDEN_FEATURE)
"""Registers of the home table that this payload has no row for, with the reason."""


def emit(a: Assembler) -> None:
    """Emit EL2's accesses (x0, and return) and the guest's (x1, and HVC)."""
    rows = {row.name: row for row in (*OWN, *GUEST, *(pair.plain for pair in PAIRS))}
    for row in (*rows.values(), *TIMER_VALUES):
        a.label(row.get)
        a.mrs(0, row.register)
        a.ret()
        a.label(row.set)
        a.msr(row.register, 0)
        a.isb()
        a.ret()
    for row in (*GUEST, *(pair.plain for pair in VIRTUAL_IDS)):
        plain = sr.by_name(row.register.alias_of or row.register.name)
        a.label(row.guest_get)
        if plain is sr.SP_EL1:
            a.mov(1, SP)
        else:
            a.mrs(1, plain)
        a.hvc(HVC_DONE)
        if plain.access == "RO":
            continue
        a.label(row.guest_set)
        if plain is sr.SP_EL1:
            a.mov(SP, 1)
        else:
            a.msr(plain, 1)
        a.isb()
        a.hvc(HVC_DONE)
    a.label("el2_fmov")
    a.word(FMOV_D0_X0)
    a.ret()


FMOV_D0_X0 = 0x9E67_0000
