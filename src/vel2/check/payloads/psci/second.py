"""What the other CPUs of payload `psci` do: say what they start with, spoil it, and take commands.

Caches are off, so all CPUs see each other's stores to a record.
"""

from vel2.arch import sysregs as sr
from vel2.arch.psci import (
    AFFINITY_INFO_64,
    ALREADY_ON,
    CPU_OFF,
    CPU_ON_64,
    NOT_SUPPORTED,
    ON_PENDING,
    PSCI_FEATURES,
    PSCI_VERSION,
    SUCCESS,
)
from vel2.check.payloads.layout import ARENA, PAGE_BYTES
from vel2.lang import (
    PA,
    Struct,
    array,
    at,
    extern,
    isb,
    load_acquire_u64,
    mrs,
    msr,
    resident,
    scalar,
    store_release_u64,
    symbol_address,
    u64,
    yield_,
)

CPUS = 3
HAMMERED = 200
PAUSE = 10000
RESERVED = 0x8400_001F
COMMAND_HAMMER, COMMAND_RACE, COMMAND_OFF = 1, 2, 3
SCTLR, HCR = sr.SCTLR_EL2, sr.HCR_EL2
_SEEN = (
    (b"currentel\0", sr.CurrentEL, sr.CurrentEL.EL.mask),
    (b"daif\0", sr.DAIF, sr.DAIF.compose(D=1, A=1, I=1, F=1)),
    (b"spsel\0", sr.SPSel, sr.SPSel.SP.mask),
    (b"sctlr\0", SCTLR, SCTLR.compose(M=1, A=1, C=1, I=1, WXN=1, EE=1)),
    (b"hcr\0", HCR, HCR.compose(VM=1, TGE=1, IMO=1, FMO=1, AMO=1, VSE=1, TWI=1)),
    (b"mpidr\0", sr.MPIDR_EL1, (1 << 64) - 1),
    (b"vmpidr\0", sr.VMPIDR_EL2, (1 << 64) - 1),
    (b"tpidr\0", sr.TPIDR_EL2, (1 << 64) - 1),
    (b"cnthp\0", sr.CNTHP_CTL_EL2, sr.CNTHP_CTL_EL2.ENABLE.mask),
    (b"oslsr\0", sr.OSLSR_EL1, sr.OSLSR_EL1.OSLK.mask),
    (b"mdscr\0", sr.MDSCR_EL1, sr.MDSCR_EL1.compose(SS=1, MDE=1, KDE=1)),
    (b"pmcr\0", sr.PMCR_EL0, sr.PMCR_EL0.E.mask),
    (b"pmr\0", sr.ICC_PMR_EL1, 0xFF),
    (b"igrpen1\0", sr.ICC_IGRPEN1_EL1, 1),
    (b"ich_hcr\0", sr.ICH_HCR_EL2, sr.ICH_HCR_EL2.En.mask),
    (b"cntvoff\0", sr.CNTVOFF_EL2, (1 << 64) - 1),
)
SEEN = tuple((n, *row) for n, row in enumerate(_SEEN))
"""What a CPU finds when it starts, as far as PSCI or the architecture say, or reset makes it 0."""
SPOILT = (
    (sr.TPIDR_EL2, 0xDEAD_BEEF),
    (sr.VMPIDR_EL2, 0x1234),
    (sr.CNTVOFF_EL2, 0x5555),
    (sr.OSLAR_EL1, 0),
    (sr.MDSCR_EL1, sr.MDSCR_EL1.MDE.mask),
    (sr.PMCR_EL0, sr.PMCR_EL0.E.mask),
    (sr.ICC_PMR_EL1, 0xF0),
    (sr.ICC_IGRPEN1_EL1, 1),
    (sr.ICH_HCR_EL2, sr.ICH_HCR_EL2.En.mask),
    (sr.CNTHP_CVAL_EL2, (1 << 64) - 1),
    (sr.CNTHP_CTL_EL2, 1),
)


class Record(Struct):
    """What a CPU and the first one tell each other. The CPU's stack grows down from its page's end.

    A command is done when `done` is equal to `sequence`.
    """

    life = scalar(u64)
    """How often it has started."""
    sequence = scalar(u64)
    done = scalar(u64)
    command = scalar(u64)
    target = scalar(u64)
    wrong = scalar(u64)
    """Answers that were none of those that there can be."""
    won = scalar(u64)
    """CPU_ONs that succeeded."""
    seen = array(u64, len(SEEN))


LIFE, SEQUENCE, DONE = (Record.offset_of(name) for name in ("life", "sequence", "done"))


@extern("psci_call")
def psci_call(function: u64, first: u64, second: u64, third: u64) -> u64:
    """Make an SMCCC call."""
    raise NotImplementedError("a call needs firmware")


@resident
def record_of(number: u64) -> Record:
    """Give the record of a CPU."""
    return at(Record, u64(ARENA + number * PAGE_BYTES))


@resident
def judge(record: Record, is_right: bool) -> None:
    """Count an answer that is wrong."""
    if not is_right:
        record.wrong = u64(record.wrong + 1)


@resident
def hammer(record: Record) -> None:
    """Ask for what is always answered alike, again and again."""
    version = psci_call(PSCI_VERSION, 0, 0, 0)
    for _ in range(HAMMERED):
        for number in range(CPUS):
            judge(record, psci_call(AFFINITY_INFO_64, number, 0, 0) == 0)
            entry = symbol_address("psci_second")
            judge(record, psci_call(CPU_ON_64, number, entry, 0) == ALREADY_ON)
        judge(record, psci_call(PSCI_VERSION, 0, 0, 0) == version)
        judge(record, psci_call(PSCI_FEATURES, CPU_ON_64, 0, 0) == SUCCESS)
        judge(record, psci_call(RESERVED, 0, 0, 0) == NOT_SUPPORTED)


@resident
def pause() -> None:
    """Let others have a turn: QEMU's firmware runs under one lock, which is not fair."""
    for _ in range(PAUSE):
        yield_()


@resident
def race(record: Record, number: u64) -> None:
    """Turn a CPU on that others turn on as well, until it is seen to be."""
    page = u64(ARENA + number * PAGE_BYTES)
    answer = u64(ON_PENDING)
    while answer != ALREADY_ON:
        answer = psci_call(CPU_ON_64, number, symbol_address("psci_second"), page)
        if answer == SUCCESS:
            record.won = u64(record.won + 1)
        judge(record, answer in (SUCCESS, ALREADY_ON, ON_PENDING))
        pause()


@resident
def obey(record: Record) -> None:
    """Do a command."""
    if record.command == COMMAND_HAMMER:
        hammer(record)
    elif record.command == COMMAND_RACE:
        race(record, record.target)
    elif record.command == COMMAND_OFF:
        psci_call(CPU_OFF, 0, 0, 0)


@resident
def second_main(page: u64) -> None:
    """Note what is there, leave garbage, and take commands for ever."""
    record = at(Record, page)
    for n, _name, register, mask in SEEN:
        record.seen[n] = mrs(register) & mask
    for register, value in SPOILT:
        msr(register, value)
    isb()
    done = load_acquire_u64(PA(page + DONE))
    store_release_u64(PA(page + LIFE), u64(record.life + 1))
    while True:
        sequence = load_acquire_u64(PA(page + SEQUENCE))
        if sequence == done:
            yield_()
        else:
            done = sequence
            obey(record)
            store_release_u64(PA(page + DONE), done)
