"""Payload `registers`: EL2's registers and the guest's, each in its place.

Every register is written and read back in several patterns, by EL2 and, if it is the guest's, by
the guest too. What one writes the other reads, and neither changes what belongs to the other.
Registers with an effect that is easy to see must then have that effect.
"""

from vel2.arch import sysregs as sr
from vel2.check.payloads.layout import Parameters, State
from vel2.check.payloads.library.assembly import HVC_DONE, NO_EXCEPTION
from vel2.check.payloads.library.checks import (
    NO_SUBJECT,
    begin,
    end,
    expect,
    finish,
    put,
    put_byte,
    put_field,
)
from vel2.check.payloads.library.controls import has_e2h, no_traps
from vel2.check.payloads.library.guest import enter_guest, is_hvc, probe, reset_guest, start_guest
from vel2.check.payloads.registers import code, effects, timers
from vel2.lang import bytes_address, inline, mrs, resident, symbol_address, u64
from vel2.runtime.console import NEWLINE

VMID = 5
ONES = (1 << 64) - 1
PATTERNS = (0, ONES, 0x5555_5555_5555_5555, 0xAAAA_AAAA_AAAA_AAAA, 0x0123_4567_89AB_CDEF)
OWN = code.OWN
GUEST = code.GUEST
PAIRS = code.PAIRS
KEPT = tuple(row for row in code.OWN if row.register in code.KEPT)
OUT_OF_RESET = (
    (b"ich_vmcr_el2\0", sr.ICH_VMCR_EL2),
    (b"ich_hcr_el2\0", sr.ICH_HCR_EL2),
    (b"rmr_el2\0", sr.RMR_EL2),
)
"""Registers with a reset value that neither firmware nor this payload has written yet. Others come
out of reset UNKNOWN, or as the boot protocol sets them."""


@resident
def out_of_reset() -> None:
    """Print what some registers are before anything is written."""
    for name, register in OUT_OF_RESET:
        put(bytes_address(b"saw out-of-reset\0"))
        put_field(bytes_address(name), mrs(register))
        put_byte(NEWLINE)


@resident
def call(state: State, function: u64, value: u64) -> u64:
    """Call an access at EL2; an exception is a failure of the check under way."""
    vector = probe(function, value, 0)
    expect(state, bytes_address(b"vector\0"), vector, NO_EXCEPTION)
    return state.x[0]


@resident
def ask_guest(state: State, function: u64, value: u64) -> u64:
    """Let the guest do an access; an exception is a failure of the check under way."""
    state.vector = enter_guest(state, function, 0, value)
    if not is_hvc(state, HVC_DONE):
        expect(state, bytes_address(b"guest\0"), state.esr, HVC_DONE)
    return state.x[1]


@resident
def write_and_read(state: State, name: u64, getter: u64, setter: u64, bits: u64) -> None:
    """Check one register of EL2, and leave it as it was."""
    begin(state, name, NO_SUBJECT)
    before = call(state, getter, 0)
    for pattern in PATTERNS:
        call(state, setter, before & ~bits | bits & pattern)
        expect(state, bytes_address(b"read\0"), call(state, getter, 0) & bits, bits & pattern)
    call(state, setter, before)
    end(state)


@resident
def own_registers(state: State) -> None:
    """Write and read EL2's own registers."""
    for row in OWN:
        if not row.e2h_only or has_e2h():
            write_and_read(
                state,
                bytes_address(row.name),
                symbol_address(row.get),
                symbol_address(row.set),
                row.bits,
            )


@resident
def pairs(state: State) -> None:
    """Check that with E2H=1 EL1's names are EL2's registers, whichever is written."""
    for pair in PAIRS:
        begin(state, bytes_address(pair.plain.name), NO_SUBJECT)
        own_get, own_set = symbol_address(pair.own.get), symbol_address(pair.own.set)
        plain_get, plain_set = symbol_address(pair.plain.get), symbol_address(pair.plain.set)
        pair_of_names(state, own_get, own_set, plain_get, pair.plain.bits)
        pair_of_names(state, plain_get, plain_set, own_get, pair.plain.bits)
        end(state)


@resident
def pair_of_names(state: State, getter: u64, setter: u64, other: u64, bits: u64) -> None:
    """Write a register by one name and read it by the other; leave it as it was."""
    before = call(state, getter, 0)
    for pattern in PATTERNS:
        call(state, setter, before & ~bits | bits & pattern)
        expect(state, bytes_address(b"read\0"), call(state, other, 0) & bits, bits & pattern)
    call(state, setter, before)


@resident
def shared(
    state: State, getter: u64, setter: u64, guest_getter: u64, guest_setter: u64, bits: u64
) -> None:
    """Check that the guest reads what EL2 writes, and EL2 what the guest writes."""
    before = call(state, getter, 0)
    for pattern in PATTERNS:
        want = bits & pattern
        call(state, setter, before & ~bits | want)
        got = ask_guest(state, guest_getter, 0)
        expect(state, bytes_address(b"guest-reads\0"), got & bits, want)
        ask_guest(state, guest_setter, before & ~bits | bits & ~want)
        got = call(state, getter, 0)
        expect(state, bytes_address(b"guest-wrote\0"), got & bits, bits & ~want)
    call(state, setter, before)


@resident
def guest_registers(state: State) -> None:
    """Pass a value through every register of the guest, in both directions."""
    for row in GUEST:
        begin(state, bytes_address(row.name), 1)
        shared(
            state,
            symbol_address(row.get),
            symbol_address(row.set),
            symbol_address(row.guest_get),
            symbol_address(row.guest_set),
            row.bits,
        )
        end(state)


MULTIPLIER = 0x9E37_79B9_7F4A_7C15


@inline
def value_of(index: u64, salt: u64) -> u64:
    """Give a value that no other register has."""
    return u64((index + salt + 1) * MULTIPLIER)


@resident
def all_at_once(state: State, salt: u64) -> None:
    """Give every register of EL2 and of the guest its own value; no two may be the same storage."""
    begin(state, bytes_address(b"all-at-once\0"), salt)
    for index, row in enumerate(KEPT):
        value = call(state, symbol_address(row.get), 0) & ~u64(row.bits)
        call(state, symbol_address(row.set), value | value_of(index, salt) & row.bits)
    for index, row in enumerate(GUEST):
        value = call(state, symbol_address(row.get), 0) & ~u64(row.bits)
        call(state, symbol_address(row.set), value | value_of(index + 64, salt) & row.bits)
    for index, row in enumerate(GUEST):
        got = ask_guest(state, symbol_address(row.guest_get), 0)
        expect(
            state, bytes_address(row.name), got & row.bits, value_of(index + 64, salt) & row.bits
        )
    for index, row in enumerate(GUEST):
        got = call(state, symbol_address(row.get), 0)
        expect(
            state, bytes_address(row.name), got & row.bits, value_of(index + 64, salt) & row.bits
        )
    for index, row in enumerate(KEPT):
        got = call(state, symbol_address(row.get), 0)
        expect(state, bytes_address(row.name), got & row.bits, value_of(index, salt) & row.bits)
    end(state)


@resident
def virtual_ids(state: State) -> None:
    """Check that the guest reads VPIDR_EL2 and VMPIDR_EL2 as its own identification."""
    for pair in code.VIRTUAL_IDS:
        begin(state, bytes_address(pair.plain.name), 1)
        before = call(state, symbol_address(pair.own.get), 0)
        for pattern in PATTERNS:
            call(
                state,
                symbol_address(pair.own.set),
                before & ~u64(pair.own.bits) | pair.own.bits & pattern,
            )
            got = ask_guest(state, symbol_address(pair.plain.guest_get), 0)
            expect(state, bytes_address(b"read\0"), got & pair.own.bits, pair.own.bits & pattern)
        call(state, symbol_address(pair.own.set), before)
        end(state)


@resident
def registers_main(state: State, parameters: Parameters) -> None:
    """Run the payload."""
    timers.out_of_reset()
    out_of_reset()
    own_registers(state)
    if has_e2h():
        pairs(state)
    start_guest(state, parameters, VMID)
    no_traps()
    guest_registers(state)
    virtual_ids(state)
    for salt in range(3):
        all_at_once(state, salt)
    reset_guest()
    timers.virtual_offset(state)
    timers.guest_traps(state)
    effects.run(state)
    finish(state)
