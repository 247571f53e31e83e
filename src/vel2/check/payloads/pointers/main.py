"""Payload `pointers`: pointer authentication at EL2, as TCR_EL2 shapes pointers.

Each line shows what an instruction gave: which bits are the PAC, whether the top byte is one of
them, and which half of the address space a pointer belongs to (with E2H=0 there is only one). Keys
and modifiers are the same everywhere, and so are the values.
"""

from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.pstate import PSTATE_DAIF, M_EL1h, M_EL2h
from vel2.check.payloads.layout import Parameters, State
from vel2.check.payloads.library.assembly import NO_EXCEPTION, SCTLR_OFF
from vel2.check.payloads.library.checks import finish
from vel2.check.payloads.library.controls import has_e2h
from vel2.check.payloads.library.guest import probe, reset_guest
from vel2.check.payloads.library.seen import saw, say
from vel2.check.payloads.library.stage1 import own_stage1_off
from vel2.lang import bytes_address, isb, msr, resident, symbol_address, u64

MODIFIER = 0x4D4F_4449_4649_4552
KEYS = (
    (sr.APIAKeyLo_EL1, 0x0123_4567_89AB_CDEF),
    (sr.APIAKeyHi_EL1, 0xFEDC_BA98_7654_3210),
    (sr.APIBKeyLo_EL1, 0x0F1E_2D3C_4B5A_6978),
    (sr.APIBKeyHi_EL1, 0x8796_A5B4_C3D2_E1F0),
)
POINTERS = (
    0x0000_0000_4020_0000,
    0x0000_7FFF_1234_5678,
    0xFFFF_8000_1234_5678,
    0x5A00_0000_4020_0000,
    0x5AFF_8000_1234_5678,
    0xA57F_8000_1234_5678,
    0xA5FF_FFFF_FFFF_FFF0,
    0x0080_0000_4020_0000,
    0x00FF_0000_4020_0000,
)
"""Both halves, with and without a tag, and addresses that belong to neither."""
SHAPES = (
    *((size, 0) for size in (0, 15, 16, 17, 25, 32, 39, 40, 48, 49)),
    *((size, 1) for size in (0, 12, 16, 47, 48)),
    (16, 2),
)
"""T0SZ at, within and beyond its limits, with TG0: 64 KiB granules have other limits."""
LEAST_32_BITS = 32
TCR_EL1, TCR_EL2 = sr.TCR_EL1, sr.TCR_EL2
WITHOUT_E2H = tuple(
    TCR_EL2.res1 | TCR_EL2.compose(TBI=tbi, TBID=tbid) for tbi, tbid in ((0, 0), (1, 0), (1, 1))
)
WITH_E2H = tuple(
    TCR_EL1.compose(TBI0=tbi & 1, TBI1=tbi >> 1, TBID0=tbid & 1, TBID1=tbid >> 1)
    for tbi, tbid in ((0, 0), (1, 0), (2, 0), (3, 0), (3, 3))
)
OPERATIONS = (
    (b"sign\0", "pointer_sign"),
    (b"check\0", "pointer_sign_and_check"),
    (b"strip\0", "pointer_strip"),
)


@resident
def set_size(size: u64, granule: u64, which: u64) -> bool:
    """Write TCR_EL2 in the layout of E2H; False if there is no combination of that number."""
    found = False
    if has_e2h():
        for n, value in enumerate(WITH_E2H):
            if n == which:
                found = True
                tg1 = u64(2)
                if granule == 1:
                    tg1 = 3
                elif granule == 2:
                    tg1 = 1
                sizes = TCR_EL1.T0SZ.put(size) | TCR_EL1.T1SZ.put(size)
                msr(
                    sr.TCR_EL2_E2H,
                    value | sizes | TCR_EL1.TG0.put(granule) | TCR_EL1.TG1.put(tg1),
                )
    else:
        for n, value in enumerate(WITHOUT_E2H):
            if n == which:
                found = True
                msr(sr.TCR_EL2, value | TCR_EL2.T0SZ.put(size) | TCR_EL2.TG0.put(granule))
    isb()
    return found


@resident
def pointers(state: State, size: u64, granule: u64, which: u64) -> None:
    """Sign, check and strip every pointer under one TCR_EL2."""
    for name, code in OPERATIONS:
        for pointer in POINTERS:
            state.vector = probe(symbol_address(code), pointer, MODIFIER)
            subject = u64(size << 16 | granule << 12 | which << 8)
            if state.vector == NO_EXCEPTION:
                say(bytes_address(name), subject, bytes_address(b"is\0"), state.x[0])
            else:
                saw(state, bytes_address(name), subject)


@dataclass(frozen=True)
class Return:
    """One return with a signed address."""

    name: bytes
    code: str


RETURNS = tuple(
    Return(f"return-{key}-{kind}\0".encode(), f"pointer_return_{key}_{kind}")
    for key in ("a", "b")
    for kind in ("good", "bad")
)
MODE_EL3H = 0b1101
MODE_UNALLOCATED = 0b0010
SPSRS = tuple(
    PSTATE_DAIF | mode for mode in (M_EL2h, MODE_EL3H, MODE_UNALLOCATED, M_EL1h, 0b1_0011)
)
"""EL2, EL3 and modes that do not exist, EL1, and an AArch32 mode."""


@resident
def returns(state: State, size: u64, granule: u64, which: u64) -> None:
    """Return by ERETAA and ERETAB, with a good address and a damaged one, to each mode."""
    for row in RETURNS:
        for spsr in SPSRS:
            state.vector = probe(symbol_address(row.code), symbol_address("guest_hvc"), spsr)
            saw(state, bytes_address(row.name), u64(size << 16 | granule << 12 | which << 8 | spsr))


@resident
def pointers_main(state: State, parameters: Parameters) -> None:
    """Run the payload."""
    reset_guest()
    for register, value in KEYS:
        msr(register, value)
    msr(sr.SCTLR_EL2, SCTLR_OFF | sr.SCTLR_EL1.compose(EnIA=1, EnIB=1))
    for size, granule in SHAPES:
        which = u64(0)
        while set_size(size, granule, which):
            pointers(state, size, granule, which)
            which = u64(which + 1)
        # With less than 32 bits of address L0 checks a part of the PAC only (docs/nesting.md).
        if size <= LEAST_32_BITS:
            set_size(size, granule, 0)
            returns(state, size, granule, 0)
    set_size(25, 0, 0)
    own_stage1_off()
    finish(state)
