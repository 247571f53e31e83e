"""The part of `exceptions` about virtual SErrors: HCR_EL2.VSE, VSESR_EL2, VDISR_EL2, DISR_EL1.

With HCR_EL2.{AMO,VSE} a virtual SError is pending for the guest. Taken, it brings VSESR_EL2 into
ESR_EL1; deferred by ESB, it is found in DISR_EL1, which is VDISR_EL2 there. Either clears VSE.
"""

from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, ESR_ELx
from vel2.arch.pstate import PSTATE_DAIF, M_EL0t, M_EL1h, SPSR_ELx
from vel2.check.payloads.layout import State
from vel2.check.payloads.library.assembly import HVC_DONE, HVC_EL1_VECTOR
from vel2.check.payloads.library.checks import begin, end, expect
from vel2.check.payloads.library.controls import HCR_GUEST, set_hcr
from vel2.check.payloads.library.guest import enter_at, is_hvc, reset_guest
from vel2.lang import bytes_address, isb, mrs, msr, resident, symbol_address, u64

HCR = sr.HCR_EL2
AMO, VSE = HCR.AMO.mask, HCR.VSE.mask
UNMASKED = PSTATE_DAIF & ~SPSR_ELx.A.mask
CURRENT_SPX_SERROR, LOWER_AARCH64_SERROR = 7, 11
SYNDROMES = (0x00AB_CDEF, 0x0154_3210)
"""With and without IDS."""
SERROR = ESR_ELx.compose(EC=EC.SERROR, IL=1)
DEFERRED = sr.VDISR_EL2.A.mask
LEFT_BY_ANOTHER = sr.VDISR_EL2.compose(A=1, ISS=0x12_3456)


@dataclass(frozen=True)
class Taken:
    """Where a virtual SError is taken."""

    name: bytes
    pstate: int
    vector: int


TAKEN = (
    Taken(b"vserror-el1\0", UNMASKED | M_EL1h, CURRENT_SPX_SERROR),
    Taken(b"vserror-el0\0", UNMASKED | M_EL0t, LOWER_AARCH64_SERROR),
    Taken(b"vserror-el0-masked\0", PSTATE_DAIF | M_EL0t, 0),
    Taken(b"vserror-el1-masked\0", PSTATE_DAIF | M_EL1h, 0),
)


@resident
def taken(state: State) -> None:
    """Let L2 take a virtual SError, or not; HCR_EL2.VSE says afterwards whether it is pending."""
    for row in TAKEN:
        for syndrome in SYNDROMES:
            begin(state, bytes_address(row.name), syndrome)
            msr(sr.VSESR_EL2, syndrome)
            set_hcr(HCR_GUEST | AMO | VSE)
            isb()
            state.vector = enter_at(state, row.pstate, symbol_address("guest_hvc"), 0, 0)
            pending = mrs(HCR) & VSE
            if row.vector != 0:
                expect_serror(state, row.vector, syndrome)
                expect(state, bytes_address(b"vse\0"), pending, 0)
            else:
                expect(state, bytes_address(b"vse\0"), pending, VSE)
            set_hcr(HCR_GUEST)
            end(state)


@resident
def expect_serror(state: State, vector: u64, syndrome: u64) -> None:
    """Require that L2's EL1 took an SError with a syndrome."""
    if not is_hvc(state, u64(HVC_EL1_VECTOR + vector)):
        expect(state, bytes_address(b"esr_el2\0"), state.esr, vector)
    expect(state, bytes_address(b"esr_el1\0"), mrs(sr.ESR_EL12), SERROR | syndrome)


@resident
def deferred(state: State) -> None:
    """Let L2 defer a virtual SError by ESB, and look for it in both registers."""
    for syndrome in SYNDROMES:
        begin(state, bytes_address(b"vserror-esb\0"), syndrome)
        msr(sr.VSESR_EL2, syndrome)
        msr(sr.VDISR_EL2, 0)
        set_hcr(HCR_GUEST | AMO | VSE)
        isb()
        state.vector = enter_at(state, PSTATE_DAIF | M_EL1h, symbol_address("l2_esb_disr"), 0, 0)
        if not is_hvc(state, HVC_DONE):
            expect(state, bytes_address(b"esr_el2\0"), state.esr, HVC_DONE)
        expect(state, bytes_address(b"disr_el1\0"), state.x[1], DEFERRED | syndrome)
        expect(state, bytes_address(b"vdisr_el2\0"), mrs(sr.VDISR_EL2), DEFERRED | syndrome)
        expect(state, bytes_address(b"vse\0"), mrs(HCR) & VSE, 0)
        set_hcr(HCR_GUEST)
        end(state)


@resident
def not_shared(state: State) -> None:
    """Check that one guest does not read what another's ESB left, and that EL2 sees writes."""
    set_hcr(HCR_GUEST | AMO)
    begin(state, bytes_address(b"vdisr-other\0"), 1)
    msr(sr.VDISR_EL2, LEFT_BY_ANOTHER)
    isb()
    state.vector = enter_at(state, PSTATE_DAIF | M_EL1h, symbol_address("l2_read_disr_el1"), 0, 0)
    expect(state, bytes_address(b"first\0"), state.x[1], LEFT_BY_ANOTHER)
    msr(sr.VDISR_EL2, 0)
    isb()
    state.vector = enter_at(state, PSTATE_DAIF | M_EL1h, symbol_address("l2_read_disr_el1"), 0, 0)
    expect(state, bytes_address(b"second\0"), state.x[1], 0)
    end(state)
    begin(state, bytes_address(b"disr-write\0"), 1)
    state.vector = enter_at(state, PSTATE_DAIF | M_EL1h, symbol_address("l2_write_disr_el1"), 0, 0)
    expect(state, bytes_address(b"cleared\0"), mrs(sr.VDISR_EL2), 0)
    msr(sr.DISR_EL1, 0)
    expect(state, bytes_address(b"own\0"), mrs(sr.DISR_EL1), 0)
    end(state)
    set_hcr(HCR_GUEST)
    isb()


@resident
def virtual_serror(state: State) -> None:
    """Show virtual SErrors."""
    reset_guest()
    taken(state)
    deferred(state)
    not_shared(state)
    reset_guest()
