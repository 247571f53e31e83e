"""The part of `exceptions` about trap controls: L2's instruction with one set, and with none."""

from collections.abc import Callable
from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.check.payloads.layout import ARENA, State
from vel2.check.payloads.library.controls import (
    CNTHCTL_BASE,
    CPTR_BASE,
    HCR_BASE,
    no_traps,
    set_cnthctl,
    set_cptr,
    set_hcr,
    set_ich_hcr,
    set_mdcr,
)
from vel2.check.payloads.library.guest import enter_guest, reset_guest
from vel2.check.payloads.library.seen import saw
from vel2.lang import bytes_address, isb, resident, symbol_address, u64

HCR = sr.HCR_EL2
MDCR = sr.MDCR_EL2
CNTHCTL = sr.CNTHCTL_EL2_E2H
CPTR = sr.CPTR_EL2_E2H
ICH = sr.ICH_HCR_EL2


@dataclass(frozen=True)
class Case:
    """One instruction of L2 and the control that traps it."""

    name: bytes
    code: str
    set_control: Callable[[u64], None]
    value: int


SETTERS: dict[type[Register], Callable[[u64], None]] = {
    CPTR: set_cptr,
    CNTHCTL: set_cnthctl,
    MDCR: set_mdcr,
    ICH: set_ich_hcr,
}


def _hcr(code: str, **fields: int) -> Case:
    name = "-".join((*fields, code))
    value = HCR_BASE
    for field, bit in fields.items():
        value = HCR.field(field).set(value, bit)
    return Case(f"{name}\0".encode(), f"l2_{code}", set_hcr, value)


def _other(register: type[Register], base: int, code: str, **fields: int) -> Case:
    name = "-".join((*fields, code))
    value = base
    for field, bits in fields.items():
        value = register.field(field).set(value, bits)
    return Case(f"{name}\0".encode(), f"l2_{code}", SETTERS[register], value)


CASES = (
    _hcr("smc", TSC=1),
    _hcr("wfi", TWI=1),
    _hcr("write_sctlr_el1", TVM=1),
    _hcr("write_ttbr0_el1", TVM=1),
    _hcr("write_vbar_el1", TVM=1),
    _hcr("read_sctlr_el1", TRVM=1),
    _hcr("read_ttbr0_el1", TRVM=1),
    _hcr("read_id_aa64pfr0_el1", TID3=1),
    _hcr("read_id_unallocated", TID3=1),
    _hcr("read_ctr_el0", TID2=1),
    _hcr("read_clidr_el1", TID2=1),
    _hcr("read_ccsidr_el1", TID2=1),
    _hcr("write_csselr_el1", TID2=1),
    _hcr("read_clidr_el1", TID4=1),
    _hcr("read_aidr_el1", TID1=1),
    _hcr("read_actlr_el1", TACR=1),
    _hcr("read_impdef", TIDCP=1),
    _hcr("dc_isw", TSW=1),
    _hcr("dc_civac", TPCP=1),
    _hcr("ic_iallu", TPU=1),
    _hcr("ic_iallu", TOCU=1),
    _hcr("tlbi_vmalle1", TTLB=1),
    _hcr("tlbi_vmalle1is", TTLBIS=1),
    _hcr("tlbi_vmalle1os", TTLBOS=1),
    _hcr("dc_zva_trap", TDZ=1),
    _hcr("read_apiakeylo_el1", APK=0),
    _hcr("pacia", API=0),
    _other(sr.CPTR_EL2_E2H, CPTR_BASE, "fmov", FPEN=0),
    _other(sr.CPTR_EL2_E2H, CPTR_BASE, "read_cpacr_el1", TCPAC=1),
    _other(sr.MDCR_EL2, 0, "read_mdscr_el1", TDA=1),
    _other(sr.MDCR_EL2, 0, "read_dbgbvr0_el1", TDA=1),
    _other(sr.MDCR_EL2, 0, "read_mdrar_el1", TDRA=1),
    _other(sr.MDCR_EL2, 0, "read_oslsr_el1", TDOSA=1),
    _other(sr.MDCR_EL2, 0, "read_mdccsr_el0", TDCC=1),
    _other(sr.MDCR_EL2, 0, "brk", TDE=1),
    _other(sr.CNTHCTL_EL2_E2H, CNTHCTL_BASE, "read_cntpct_el0", EL1PCTEN=0),
    _other(sr.CNTHCTL_EL2_E2H, CNTHCTL_BASE, "read_cntp_ctl_el0", EL1PTEN=0),
    _other(sr.CNTHCTL_EL2_E2H, CNTHCTL_BASE, "read_cntv_ctl_el0", EL1TVT=1),
    _other(sr.CNTHCTL_EL2_E2H, CNTHCTL_BASE, "write_cntv_cval_el0", EL1TVT=1),
    _other(sr.CNTHCTL_EL2_E2H, CNTHCTL_BASE, "read_cntvct_el0", EL1TVCT=1),
    _other(sr.ICH_HCR_EL2, 0, "read_icc_iar1_el1", TALL1=1),
    _other(sr.ICH_HCR_EL2, 0, "read_icc_iar0_el1", TALL0=1),
    _other(sr.ICH_HCR_EL2, 0, "read_icc_pmr_el1", TC=1),
    _other(sr.ICH_HCR_EL2, 0, "write_icc_pmr_el1", TC=1),
    _other(sr.ICH_HCR_EL2, 0, "write_icc_sgi1r_el1", TC=1),
    _other(sr.ICH_HCR_EL2, 0, "write_icc_dir_el1", TDIR=1),
    _hcr("write_icc_sgi1r_el1", IMO=1),
    _hcr("hvc_1234"),
    _hcr("eret"),
    _hcr("udf"),
    _hcr("svc"),
    _hcr("brk"),
)


@resident
def control_traps(state: State) -> None:
    """Run each case with its control, then without, except WFI, which would wait for ever."""
    for case in CASES:
        no_traps()
        reset_guest()
        case.set_control(case.value)
        isb()
        state.guest_x[30] = symbol_address("guest_hvc")
        state.vector = enter_guest(state, symbol_address(case.code), ARENA, 0)
        saw(state, bytes_address(case.name), 1)
        no_traps()
        reset_guest()
        if case.code != "l2_wfi":
            state.vector = enter_guest(state, symbol_address(case.code), ARENA, 0)
            saw(state, bytes_address(case.name), 0)
