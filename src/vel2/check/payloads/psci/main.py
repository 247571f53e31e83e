"""Payload `psci`: what the firmware answers to wild arguments, and what CPUs start with.

Under vel2 the answers are L0's, at real EL2 QEMU's own firmware's, which implements PSCI 1.1 and
calls it by SMC. What is not judged here is printed, so that the host compares the two machines. The
specifications leave some answers to the implementation, and L0 follows them where QEMU does not;
those checks are declared to differ (`differences`). Three CPUs take part.
"""

from vel2.arch.psci import (
    AFFINITY_INFO_32,
    AFFINITY_INFO_64,
    CPU_ON_32,
    CPU_ON_64,
    CPU_SUSPEND_32,
    CPU_SUSPEND_64,
    INVALID_PARAMETERS,
    NOT_SUPPORTED,
    PSCI_FEATURES,
    PSCI_VERSION,
    SUCCESS,
)
from vel2.check.payloads.layout import ARENA, PAGE_BYTES, Parameters, State
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
from vel2.check.payloads.library.gic import gic_init, soon, start_hptimer, take_hptimer
from vel2.check.payloads.library.seen import say
from vel2.check.payloads.psci.second import (
    COMMAND_HAMMER,
    COMMAND_OFF,
    COMMAND_RACE,
    CPUS,
    DONE,
    LIFE,
    SEEN,
    SEQUENCE,
    hammer,
    pause,
    psci_call,
    race,
    record_of,
)
from vel2.lang import (
    PA,
    address_of,
    bytes_address,
    extern,
    load_acquire_u64,
    resident,
    store_release_u64,
    store_u64,
    symbol_address,
    u64,
    yield_,
)
from vel2.runtime.console import NEWLINE

FUNCTIONS = 0x20
"""As many numbers are PSCI's (DEN 0028, "Standard Secure Service Calls")."""
FAST_32, FAST_64 = 0x8400_0000, 0xC400_0000
HAVE_EFFECT = (CPU_SUSPEND_32, 0x8400_0002, CPU_ON_32, 0x8400_0008, 0x8400_0009, CPU_SUSPEND_64)
SMCCC_VERSION = 0x8000_0000
OLD_CPU_ON = 0x95C1_BA60
"""PSCI 0.1 left its numbers to the platform; this is QEMU's for CPU_ON."""
HIGH = 1 << 32
ODD_TARGETS = (3, 8, 0x100, 0x1_0000, 1 << 31, 1 << 31 | 1, HIGH, (1 << 64) - 1)
LEVELS = (0, 1, 2, 3, 4, 0xFFFF_FFFF)
ODD_ENTRIES = (1, 2, 3, 0x4020_0002, (1 << 64) - 1)
STATES_REFUSED = (1 << 17, 1 << 24, 1 << 30, 1 << 31, 0xFFFF_FFFF)
STATES = (0, 1, 0xFFFF, 1 << 16, 1 << 16 | 0xFFFF)
ON, OFF = 0, 1
"""What AFFINITY_INFO says of a CPU."""
ROUNDS = 20
ALL_CPUS = tuple(range(CPUS))


@extern("psci_kept")
def psci_kept(function: u64) -> u64:
    """Make a call; give 0 if x4 to x17 are what they were."""
    raise NotImplementedError("a call needs firmware")


@extern("psci_call_with_immediate")
def psci_call_with_immediate(function: u64) -> u64:
    """Make a call by SMC #1."""
    raise NotImplementedError("a call needs firmware")


@resident
def features() -> None:
    """Print what PSCI_FEATURES says of every number, and SMCCC's."""
    for n in range(FUNCTIONS):
        for base in (FAST_32, FAST_64):
            function = u64(base + n)
            answer = psci_call(PSCI_FEATURES, function, 0, 0)
            say(bytes_address(b"features\0"), function, bytes_address(b"x0\0"), answer)
    for other in (SMCCC_VERSION, SMCCC_VERSION + 1, 0xC600_0000, 0):
        answer = psci_call(PSCI_FEATURES, other, 0, 0)
        say(bytes_address(b"features\0"), other, bytes_address(b"x0\0"), answer)


@resident
def numbers() -> None:
    """Call every number that has no effect without arguments, reserved ones among them."""
    for n in range(FUNCTIONS):
        for base in (FAST_32, FAST_64):
            function = u64(base + n)
            if function not in HAVE_EFFECT:
                answer = psci_call(function, 0, 0, 0)
                say(bytes_address(b"call\0"), function, bytes_address(b"x0\0"), answer)
    for other in (SMCCC_VERSION, SMCCC_VERSION + 1, 0x8600_FF01, 0xBF00_FF01, 0x0400_0000, 0):
        answer = psci_call(other, 0, 0, 0)
        say(bytes_address(b"call\0"), other, bytes_address(b"x0\0"), answer)


@resident
def affinities(state: State) -> None:
    """Ask about CPUs that are there and that are not, at every level."""
    for level in LEVELS:
        for target in ALL_CPUS + ODD_TARGETS:
            answer = psci_call(AFFINITY_INFO_64, target, level, 0)
            say(bytes_address(b"affinity\0"), target, bytes_address(b"x0\0"), answer)
    begin(state, bytes_address(b"affinity-of-cpus\0"), NO_SUBJECT)
    for function in (AFFINITY_INFO_32, AFFINITY_INFO_64):
        expect(state, bytes_address(b"self\0"), psci_call(function, 0, 0, 0), ON)
        expect(state, bytes_address(b"other\0"), psci_call(function, 1, 0, 0), OFF)
        expect(state, bytes_address(b"nobody\0"), psci_call(function, 8, 0, 0), INVALID_PARAMETERS)
    end(state)


@resident
def refused(state: State) -> None:
    """Turn on what is not there, or at an address that is no instruction's: nothing comes on."""
    entry = symbol_address("psci_second")
    for target in ODD_TARGETS:
        answer = psci_call(CPU_ON_64, target, entry, 0)
        say(bytes_address(b"on\0"), target, bytes_address(b"x0\0"), answer)
    for odd in ODD_ENTRIES:
        for function in (CPU_ON_32, CPU_ON_64):
            answer = psci_call(function, 1, odd, 0)
            say(bytes_address(b"on-at\0"), odd, bytes_address(b"x0\0"), answer)
    say(bytes_address(b"on-self\0"), 0, bytes_address(b"x0\0"), psci_call(CPU_ON_64, 0, entry, 0))
    begin(state, bytes_address(b"still-off\0"), NO_SUBJECT)
    expect(state, bytes_address(b"affinity\0"), psci_call(AFFINITY_INFO_64, 1, 0, 0), OFF)
    end(state)


@resident
def turn_on(state: State, function: u64, number: u64) -> None:
    """Turn a CPU on, wait until it has started, and print what it found."""
    record = record_of(number)
    life = record.life
    page = address_of(record)
    answer = psci_call(function, number, symbol_address("psci_second"), page)
    expect(state, bytes_address(b"on\0"), answer, SUCCESS)
    while load_acquire_u64(PA(page + LIFE)) == life:
        yield_()
    for n, name, _register, _mask in SEEN:
        say(bytes_address(b"starts\0"), number, bytes_address(name), record.seen[n])


@resident
def order(number: u64, command: u64, target: u64) -> None:
    """Give a CPU a command."""
    record = record_of(number)
    record.command = command
    record.target = target
    store_release_u64(PA(address_of(record) + SEQUENCE), u64(record.sequence + 1))


@resident
def wait(number: u64) -> None:
    """Wait until a CPU has done its command."""
    record = record_of(number)
    while load_acquire_u64(PA(address_of(record) + DONE)) != record.sequence:
        yield_()


@resident
def turn_off(number: u64) -> None:
    """Have a CPU turn itself off, and wait until it is; a later life begins with no command."""
    order(number, COMMAND_OFF, 0)
    while psci_call(AFFINITY_INFO_64, number, 0, 0) != OFF:
        pause()
    record = record_of(number)
    record.done = record.sequence


@resident
def lives(state: State) -> None:
    """Turn CPUs on, off and on: a second life begins as the first."""
    for function in (CPU_ON_32, CPU_ON_64, CPU_ON_64):
        begin(state, bytes_address(b"life\0"), function)
        turn_on(state, function, 1)
        turn_off(1)
        end(state)
    begin(state, bytes_address(b"all-on\0"), NO_SUBJECT)
    turn_on(state, CPU_ON_64, 1)
    turn_on(state, CPU_ON_64, 2)
    expect(state, bytes_address(b"info\0"), psci_call(AFFINITY_INFO_64, 2, 0, 0), ON)
    end(state)


@resident
def together(state: State) -> None:
    """Call from all CPUs at once; then race to turn one on, which one of them must win.

    With QEMU's firmware every call wins until the CPU has started, so how many did is only noted.
    """
    begin(state, bytes_address(b"hammer\0"), NO_SUBJECT)
    order(1, COMMAND_HAMMER, 0)
    order(2, COMMAND_HAMMER, 0)
    hammer(record_of(0))
    wait(1)
    wait(2)
    for number in ALL_CPUS:
        expect(state, bytes_address(b"wrong\0"), record_of(number).wrong, 0)
    end(state)
    begin(state, bytes_address(b"race\0"), NO_SUBJECT)
    for _ in range(ROUNDS):
        turn_off(2)
        life = record_of(2).life
        order(1, COMMAND_RACE, 2)
        race(record_of(0), 2)
        wait(1)
        while load_acquire_u64(PA(address_of(record_of(2)) + LIFE)) == life:
            yield_()
    won = u64(record_of(0).won + record_of(1).won)
    expect(state, bytes_address(b"won\0"), u64(won >= ROUNDS), 1)
    expect(state, bytes_address(b"wrong\0"), u64(record_of(0).wrong + record_of(1).wrong), 0)
    end(state)
    put(bytes_address(b"note race\0"))
    put_field(bytes_address(b"won\0"), won)
    put_byte(NEWLINE)


@resident
def suspended(state: State) -> None:
    """Suspend with an interrupt pending, which ends it: powerdown may be a standby, too."""
    gic_init()
    for function in (CPU_SUSPEND_32, CPU_SUSPEND_64):
        for refused_state in STATES_REFUSED:
            answer = psci_call(function, refused_state, 0, 0)
            say(bytes_address(b"suspend\0"), refused_state, bytes_address(b"x0\0"), answer)
        for power_state in STATES:
            begin(state, bytes_address(b"suspend\0"), power_state)
            start_hptimer(soon())
            answer = psci_call(function, power_state, 0, 0)
            expect(state, bytes_address(b"x0\0"), answer, SUCCESS)
            take_hptimer(state)
            end(state)


@resident
def beyond_32_bits(state: State) -> None:
    """Set bits that an SMC32 call does not have; QEMU looks at them."""
    begin(state, bytes_address(b"high-bits\0"), NO_SUBJECT)
    entry = symbol_address("psci_second")
    high = u64(HIGH)
    answer = psci_call(high | PSCI_VERSION, 0, 0, 0)
    expect(state, bytes_address(b"function\0"), answer, NOT_SUPPORTED)
    answer = psci_call(PSCI_FEATURES, high | CPU_ON_64, 0, 0)
    expect(state, bytes_address(b"features\0"), answer, NOT_SUPPORTED)
    answer = psci_call(AFFINITY_INFO_32, high, 0, 0)
    expect(state, bytes_address(b"affinity\0"), answer, INVALID_PARAMETERS)
    answer = psci_call(CPU_ON_32, high, entry, 0)
    expect(state, bytes_address(b"on\0"), answer, INVALID_PARAMETERS)
    end(state)


@resident
def psci_main(state: State, parameters: Parameters) -> None:
    """Run the payload."""
    for number in ALL_CPUS:
        for offset in range(0, PAGE_BYTES, 8):
            store_u64(PA(ARENA + number * PAGE_BYTES + offset), 0)
    begin(state, bytes_address(b"kept\0"), NO_SUBJECT)
    for function in (PSCI_VERSION, PSCI_FEATURES, AFFINITY_INFO_64, SMCCC_VERSION):
        expect(state, bytes_address(b"x4-x17\0"), psci_kept(function), 0)
    end(state)
    features()
    numbers()
    affinities(state)
    refused(state)
    lives(state)
    together(state)
    suspended(state)
    beyond_32_bits(state)
    begin(state, bytes_address(b"immediate\0"), NO_SUBJECT)
    version = psci_call(PSCI_VERSION, 0, 0, 0)
    answer = psci_call_with_immediate(PSCI_VERSION)
    expect(state, bytes_address(b"x0\0"), answer, version)
    end(state)
    begin(state, bytes_address(b"psci-0.1\0"), NO_SUBJECT)
    answer = psci_call(PSCI_FEATURES, OLD_CPU_ON, 0, 0)
    expect(state, bytes_address(b"features\0"), answer, SUCCESS)
    end(state)
    finish(state)
