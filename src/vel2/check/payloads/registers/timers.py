"""The part of `registers` about CNTHCTL_EL2 and CNTVOFF_EL2."""

from vel2.arch import sysregs as sr
from vel2.check.payloads.layout import State
from vel2.check.payloads.library.checks import NO_SUBJECT, begin, end, expect
from vel2.check.payloads.library.controls import has_e2h
from vel2.check.payloads.library.guest import enter_guest, reset_guest
from vel2.check.payloads.library.seen import saw, say
from vel2.lang import bytes_address, isb, mrs, msr, resident, symbol_address, u64

MMFR0 = sr.ID_AA64MMFR0_EL1
OFFSETS = (0, 0x1234_5678, 0x1_0000_0000_0000, (1 << 64) - 0x1000, 1 << 63)


@resident
def out_of_reset() -> None:
    """Show CNTHCTL_EL2 before it is written, but after a start that may have changed E2H."""
    say(bytes_address(b"cnthctl-reset\0"), NO_SUBJECT, bytes_address(b"is\0"), mrs(sr.CNTHCTL_EL2))


@resident
def expect_virtual(state: State, offset: u64) -> None:
    """Require CNTVCT_EL0, and CNTVCTSS_EL0 if present, to be the physical count less an offset."""
    isb()
    before = mrs(sr.CNTPCT_EL0)
    isb()
    virtual = u64(mrs(sr.CNTVCT_EL0) + offset)
    isb()
    between = mrs(sr.CNTPCT_EL0)
    expect(state, bytes_address(b"cntvct\0"), u64(before <= virtual and virtual <= between), 1)
    if MMFR0.ECV.get(mrs(MMFR0)) != 0:
        virtual = u64(mrs(sr.CNTVCTSS_EL0) + offset)
        isb()
        after = mrs(sr.CNTPCT_EL0)
        expect(state, bytes_address(b"cntvctss\0"), u64(between <= virtual and virtual <= after), 1)


@resident
def virtual_offset(state: State) -> None:
    """Write CNTVOFF_EL2, and read the virtual count at EL2: with E2H=1 it has no offset there."""
    for offset in OFFSETS:
        begin(state, bytes_address(b"cntvoff\0"), offset)
        msr(sr.CNTVOFF_EL2, offset)
        if has_e2h():
            expect_virtual(state, 0)
        else:
            expect_virtual(state, offset)
        end(state)
    msr(sr.CNTVOFF_EL2, 0)


CNTHCTL_VALUES = (0, 1, 2, 3, 3 << 8, 1 << 10, 1 << 11, 3 << 10, 0xF << 8, 0xF03)
"""Bits 8 to 11 have a meaning with E2H=1 only."""
GUEST_READS = (
    (b"cnthctl-cntpct\0", "l2_read_cntpct_el0"),
    (b"cnthctl-cntp_ctl\0", "l2_read_cntp_ctl_el0"),
    (b"cnthctl-cntv_ctl\0", "l2_read_cntv_ctl_el0"),
)


@resident
def guest_traps(state: State) -> None:
    """Show which of L2's accesses trap by which bits."""
    for value in CNTHCTL_VALUES:
        msr(sr.CNTHCTL_EL2, value)
        isb()
        say(bytes_address(b"cnthctl\0"), value, bytes_address(b"is\0"), mrs(sr.CNTHCTL_EL2))
        for name, code in GUEST_READS:
            state.vector = enter_guest(state, symbol_address(code), 0, 0)
            saw(state, bytes_address(name), value)
    reset_guest()
