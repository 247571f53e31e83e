"""The words of a burst: items of one to six instructions, each with an aim.

An item may reserve registers for its own values (`Maker.bind`); the harness loads them when the
burst begins. Instructions that matter only together (SPSR, ELR, ERET; TTBR, TCR, SCTLR) are
generated as idioms, because chance would not find them.
"""

from collections.abc import Callable, Sequence
from random import Random

from vel2.arch import insn, sysregs
from vel2.arch.bits import Encoding, Register
from vel2.arch.insn import SysInsn
from vel2.arch.vncr import VNCR_PAGE
from vel2.check.hostile.encodings import A32, COMPUTE, MEMORY, Group
from vel2.check.hostile.tables import descriptor, table_slots
from vel2.check.hostile.values import Values

__all__ = ("EL0", "EL1", "EL2", "VEL2", "Maker")

EL0, EL1, EL2, VEL2 = 0, 1, 2, 3
"""VEL2: EL1 of an L2 to which L1 gives a virtual EL2. It uses EL2's names."""
REGISTERS = 31
MRS, MSR, SYSL, SYS = 0xD530_0000, 0xD510_0000, 0xD528_0000, 0xD508_0000
SVC, HVC, SMC, BRK, HLT = 0xD400_0001, 0xD400_0002, 0xD400_0003, 0xD420_0000, 0xD440_0000
ERETS = (0xD69F_03E0, 0xD69F_03E0, 0xD69F_0BFF, 0xD69F_0FFF, 0xD6BF_03E0)
"""ERET, ERETAA, ERETAB, DRPS."""
ISB, WFI, WFE = 0xD503_3FDF, 0xD503_207F, 0xD503_205F
DSB_ISH = 0xD503_3B9F
WFET, WFIT = 0xD503_1000, 0xD503_1020
HINT, BARRIER, PSTATE = 0xD503_201F, 0xD503_301F, 0xD500_401F
B, CBZ, BR, BLR, RET = 0x1400_0000, 0xB400_0000, 0xD61F_0000, 0xD63F_0000, 0xD65F_0000
MOVZ, MOVK = 0xD280_0000, 0xF280_0000
STR, LDR, STR_W = 0xF900_0000, 0xF940_0000, 0xB900_0000
HOLDING = frozenset({"VBAR_EL1", "VBAR_EL2", "SCTLR_EL1", "SCTLR_EL2", "HCR_EL2"})
"""At EL2, the registers that the harness depends on; with VHE, under both names."""
ENDS_QEMU = frozenset(sysregs.by_name(f"ICC_BPR{n}_EL1").encoding for n in (0, 1))
"""See `Values.binary_point`."""
HOLDING_ENCODINGS = frozenset(sysregs.by_name(name).encoding for name in HOLDING)
NAMED_BY_EL = {
    EL2: ("EL2", "EL1", "EL12", "EL02", "EL0"),
    EL1: ("EL1", "EL0", "EL2"),
    EL0: ("EL0", "EL1"),
    VEL2: ("EL2", "EL1", "EL12", "EL02", "EL0"),
}
PSCI = (
    *(0x8400_0000, 0xC400_0001, 0x8400_0001, 0xC400_0003, 0xC400_0004, 0x8400_0005, 0x8400_0006),
    *(0x8400_000A, 0x8400_000B, 0xC400_000C, 0x8400_000D, 0xC400_000E, 0x8400_000F, 0xC400_0010),
    *(0x8400_0011, 0xC400_0012, 0xC400_0013, 0xC400_0014, 0x8000_0000, 0x8000_0001, 0x8000_8000),
    *(0x8600_0000, 0x8600_FF01, 0xC600_0020, 0x8400_0050, 0x8400_0053, 0xC400_0060, 0x8400_0061),
)
"""Function numbers of PSCI and SMCCC, all but those that end the machine."""
ENDING = (0x8400_0008, 0x8400_0009, 0x8400_0002, 0xC400_0012)
"""SYSTEM_OFF, SYSTEM_RESET, CPU_OFF, SYSTEM_RESET2."""
GICD_OFFSETS = (0, 4, 8, 0x40, 0x80, 0x84, 0x104, 0x184, 0x204, 0x284, 0x304, 0x400, 0x6100, 0xFFE8)
GICR_OFFSETS = (0, 8, 0x10, 0x14, 0x40, 0x48, 0x70, 0x78, 0xA0, 0xB0, 0xC0, 0x1_0080, 0x1_0100)
GITS_OFFSETS = (0, 8, 0x80, 0x88, 0x90, 0x100, 0x108, 0x110, 0x118, 0x1_0040)

Words = list[int]


def system_word(load: bool, encoding: Encoding, rt: int) -> int:
    """Encode MRS, MSR, SYS or SYSL."""
    op0, op1, crn, crm, op2 = encoding
    place = op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5
    return 0xD500_0000 | load << 21 | place | rt


class Maker:
    """Makes the words of one burst.

    :param el: where they run: one of `EL0`, `EL1`, `EL2`, `VEL2`.
    :param address: of the first word.
    """

    def __init__(self, values: Values, el: int, address: int) -> None:
        self.values = values
        self.rng: Random = values.rng
        self.el = el
        self.address = address
        self.x = [values.any() for _ in range(REGISTERS)]
        self.words: Words = []
        self._free = list(range(REGISTERS))
        self.rng.shuffle(self._free)

    def bind(self, value: int) -> int:
        """Give the number of a register that holds a value when the burst begins."""
        if not self._free:
            return self.rng.randrange(REGISTERS)
        number = self._free.pop()
        self.x[number] = value & (1 << 64) - 1
        return number

    def fill(self, count: int) -> Words:
        """Make at least `count` words, A64."""
        makers, weights = (RECURSIVE if self.values.recursion else WEIGHTS)[self.el]
        while len(self.words) < count:
            for make in self.rng.choices(makers, weights, k=4):
                self.words += make(self)
        return self.words

    def fill_a32(self, count: int) -> Words:
        """Make `count` words, A32."""
        while len(self.words) < count:
            group = A32[self.rng.randrange(len(A32))]
            self.words.append(self.of(group))
        return self.words

    def of(self, group: Group) -> int:
        """Give one encoding of a group."""
        return group.fixed | self.values.word() & group.free

    # Registers and system instructions.

    def access(self) -> Words:
        """Read or write a register, mostly one that exists at this level."""
        register = self.rng.choice(REGISTERS_OF[self.el])
        if self.rng.random() < 0.25:
            return [system_word(True, register.encoding, self.rng.randrange(32))]
        return self.write(register)

    def write(self, register: type[Register]) -> Words:
        """Write a register, with a value made for it.

        A register that the harness depends on gets its value directly before: another word may have
        changed what the burst began with.
        """
        value = self.values.register(register)
        if self.el == EL2 and register.name in HOLDING:
            number = self.rng.randrange(REGISTERS)
            moves = [self.move(number, value >> 16 * half & 0xFFFF, half) for half in range(4)]
            moves[1:] = [move | MOVK for move in moves[1:]]
            return [*moves, system_word(False, register.encoding, number)]
        return [system_word(False, register.encoding, self.bind(value))]

    def any_register(self) -> Words:
        """Read or write any known register, or one that does not exist."""
        rng = self.rng
        encoding = rng.choice(sysregs.ALL_REGISTERS).encoding
        if rng.random() < 0.3:
            encoding = Encoding(
                2 + rng.randrange(2),
                rng.randrange(8),
                rng.randrange(16),
                rng.randrange(16),
                rng.randrange(8),
            )
        load = rng.random() < 0.5
        if self.el == EL2 and encoding in HOLDING_ENCODINGS and not self.values.lethal:
            load = True
        if encoding in ENDS_QEMU:
            load = True
        return [system_word(load, encoding, rng.randrange(32))]

    def instruction(self) -> Words:
        """Execute a TLBI, AT, DC, IC or other SYS instruction, on some address."""
        rng = self.rng
        known = rng.choice(SYSTEM_INSTRUCTIONS)
        at = rng.random()
        value = self.values.address()
        if at < 0.3:
            value = value >> 12 | rng.getrandbits(20) << 44
        elif at < 0.4:
            value = self.values.any()
        encoding = known.encoding
        if at > 0.95:
            encoding = Encoding(1, rng.randrange(8), rng.randrange(16), rng.randrange(16), 0)
        return [system_word(known.returns, encoding, self.bind(value))]

    def translate(self) -> Words:
        """Translate an address and look at PAR_EL1."""
        at = self.rng.choice(TRANSLATIONS)
        number = self.bind(self.values.address())
        par = system_word(True, sysregs.by_name("PAR_EL1").encoding, self.rng.randrange(31))
        return [system_word(False, at.encoding, number), ISB, par]

    # Exceptions and returns.

    def exception(self) -> Words:
        """Raise an exception by an instruction that exists for it."""
        opcode = self.rng.choice((SVC, HVC, HVC, SMC, BRK, HLT, 0xD4A0_0001, 0xD460_0000, 0))
        return [opcode | self.rng.choice((0, 0, 1, self.rng.getrandbits(16))) << 5 * (opcode != 0)]

    def call(self) -> Words:
        """Call PSCI or another service with wild arguments in x0 to x3."""
        rng = self.rng
        function = self.values.pick(PSCI)
        at = rng.random()
        if at < 0.15:
            function ^= 1 << rng.randrange(32)
        elif at < 0.17 and self.values.lethal:
            function = self.values.pick(ENDING)
        moves = [self.move(0, function & 0xFFFF, 0), self.move(0, function >> 16 & 0xFFFF, 1)]
        moves[1] |= MOVK
        for number in range(1, 4):
            if rng.random() < 0.3:
                moves.append(self.move(number, rng.getrandbits(16), rng.randrange(4)))
        return [*moves, SMC if rng.random() < 0.7 else HVC]

    @staticmethod
    def move(rd: int, value: int, half: int) -> int:
        """Encode MOVZ."""
        return MOVZ | half << 21 | value << 5 | rd

    def exception_return(self, before: int = 0) -> Words:
        """Return to some mode, mostly at one of the words that follow.

        :param before: how many words of the same idiom come first.
        """
        name = "EL1" if self.el == EL1 or (self.el == VEL2 and self.rng.random() < 0.3) else "EL2"
        elr, spsr = (sysregs.by_name(f"{what}_{name}") for what in ("ELR", "SPSR"))
        target = self.address + 4 * (len(self.words) + before + self.rng.randrange(3, 6))
        if self.rng.random() < 0.25:
            target = self.values.target()
        found = [
            system_word(False, elr.encoding, self.bind(target)),
            *self.write(spsr),
            self.rng.choice(ERETS),
        ]
        if self.el == EL1 and self.x[found[1] & 31] & 0x10:
            found += [self.of(self.rng.choice(A32)) for _ in range(2)]
        return found

    def wait(self) -> Words:
        """Wait for something, with or without a time limit."""
        number = self.bind(self.values.soon())
        return [self.rng.choice((WFI, WFE, WFIT | number, WFET | number))]

    def small(self) -> Words:
        """Make a hint, a barrier or a change of PSTATE."""
        rng = self.rng
        at = rng.randrange(3)
        if at == 0:
            return [HINT | rng.randrange(128) << 5]
        if at == 1:
            return [BARRIER | rng.randrange(128) << 5]
        op1, op2, value = rng.randrange(8), rng.randrange(8), rng.randrange(16)
        if (op1, op2) == (3, 6):
            value &= ~2  # DAIFSet.I would keep the harness's timer out.
        return [PSTATE | op1 << 16 | value << 8 | op2 << 5]

    def branch(self) -> Words:
        """Branch somewhere, mostly over a few words that no later word relies on."""
        rng = self.rng
        at = rng.random()
        distance = rng.choice((2, 3, 4))
        over = [self.of(rng.choice(COMPUTE)) for _ in range(distance - 1)]
        if at < 0.4:
            return [B | distance, *over]
        if at < 0.7:
            return [CBZ | rng.getrandbits(1) << 24 | distance << 5 | rng.randrange(31), *over]
        if at < 0.72:
            return [B | (-rng.randrange(1, 4) & (1 << 26) - 1)]
        return [rng.choice((BR, BLR, RET)) | self.bind(self.values.target()) << 5]

    # Memory.

    def memory(self) -> Words:
        """Access memory somewhere."""
        group = self.rng.choice(MEMORY)
        word = group.fixed | self.values.word() & group.free & ~0x3E0
        return [word | self.bind(self.values.address()) << 5]

    def plain(self) -> Words:
        """Load or store eight bytes somewhere."""
        number = self.bind(self.values.address())
        if self.rng.random() < 0.5:
            return [LDR | number << 5 | self.rng.randrange(31)]
        return [STR | number << 5 | self.bind(self.values.any())]

    def change_table(self) -> Words:
        """Write a descriptor into one of the program's tables."""
        slot = next(table_slots(self.values))
        if self.values.recursion and self.rng.random() < 0.3:
            slot = self.values.held_slot()
        number = self.bind(slot)
        return [STR | number << 5 | self.bind(descriptor(self.values))]

    def interrupt_controller(self) -> Words:
        """Write a register of the distributor, a redistributor or the ITS."""
        rng = self.rng
        base, offsets = rng.choice(
            ((0x0800_0000, GICD_OFFSETS), (0x080A_0000, GICR_OFFSETS), (0x0808_0000, GITS_OFFSETS))
        )
        offset = self.values.pick(offsets)
        if rng.random() < 0.2:
            offset = 4 * rng.randrange(1 << 14)
        value = self.values.address() | rng.choice((0, 1 << 63)) | rng.choice((0, 0xFF, 1, 7))
        opcode = rng.choice((STR, STR, STR_W, LDR))
        return [opcode | self.bind(base + offset) << 5 | self.bind(value)]

    # Everything else.

    def compute(self) -> Words:
        """Execute something of any group, hidden features too."""
        return [self.of(self.rng.choice(COMPUTE))]

    def regime(self) -> Words:
        """Set up stage 1 of the level: root, size, and the MMU where the harness may be lost."""
        name = "EL2" if self.el in (EL2, VEL2) else "EL1"
        names = [f"TTBR0_{name}", f"TCR_{name}", f"MAIR_{name}", f"SCTLR_{name}"]
        return [*(word for each in names for word in self.write(sysregs.by_name(each))), ISB]

    # L1's FEAT_NV and FEAT_NV2.

    def page_name(self) -> Words:
        """Read or write a name of the VNCR page."""
        register = self.rng.choice(PAGE_NAMES)
        if self.rng.random() < 0.4:
            return [system_word(True, register.encoding, self.rng.randrange(31))]
        return self.write(register)

    def nested_return(self) -> Words:
        """Enter a guest with another set of {NV,NV1,NV2,AT}, and another page."""
        found = self.write(sysregs.by_name("VNCR_EL2"))
        found += self.write(sysregs.by_name("HCR_EL2"))
        return [*found, *self.exception_return(len(found))]

    def move_page(self) -> Words:
        """Change EL2's held stage 1 under VNCR_EL2, with and without a TLBI, by each form of it."""
        rng = self.rng
        slot = self.values.held_slot()
        entry = descriptor(self.values) if rng.random() < 0.7 else self.values.any()
        found = [STR | self.bind(slot) << 5 | self.bind(entry)]
        if rng.random() < 0.8:
            page = self.values.held_address() >> 12
            tlbi = rng.choice(OWN_TLBIS)
            found += [DSB_ISH, system_word(False, tlbi.encoding, self.bind(page)), DSB_ISH]
        if rng.random() < 0.5:
            found += self.write(sysregs.by_name("VNCR_EL2"))
        return found

    def second_stage(self) -> Words:
        """Set up stage 2."""
        names = ("VTTBR_EL2", "VTCR_EL2", "HCR_EL2")
        return [*(word for each in names for word in self.write(sysregs.by_name(each))), ISB]


def registers_of(el: int) -> tuple[type[Register], ...]:
    """Give the registers of a level, by the end of their names."""
    ends = NAMED_BY_EL[el]
    return tuple(each for each in sysregs.ALL_REGISTERS if each.name.rpartition("_")[2] in ends)


REGISTERS_OF = {el: registers_of(el) for el in (EL0, EL1, EL2, VEL2)}
PAGE_NAMES = tuple(
    sysregs.by_name(name) for row in VNCR_PAGE for name in (row.plain, row.el12) if name is not None
)
SYSTEM_INSTRUCTIONS: tuple[SysInsn, ...] = tuple(insn.ALL_INSNS)
OWN_TLBIS = tuple(
    each for each in SYSTEM_INSTRUCTIONS if each.name.startswith("TLBI ") and "E2" in each.name
)
"""Of EL2's own regime."""
TRANSLATIONS = tuple(each for each in SYSTEM_INSTRUCTIONS if each.name.startswith("AT "))

Make = Callable[[Maker], Words]

COMMON: tuple[tuple[Make, float], ...] = (
    (Maker.access, 8),
    (Maker.any_register, 3),
    (Maker.instruction, 4),
    (Maker.exception, 1.5),
    (Maker.call, 0.7),
    (Maker.wait, 0.15),
    (Maker.small, 2),
    (Maker.branch, 0.7),
    (Maker.memory, 3),
    (Maker.plain, 3),
    (Maker.change_table, 1),
    (Maker.interrupt_controller, 1),
    (Maker.compute, 6),
    (Maker.exception_return, 1.5),
)
PRIVILEGED: tuple[tuple[Make, float], ...] = ((Maker.regime, 0.7), (Maker.translate, 1.5))


def weights(rows: Sequence[tuple[Make, float]]) -> tuple[list[Make], list[float]]:
    """Split rows as `Random.choices` wants them."""
    return [make for make, _ in rows], [weight for _, weight in rows]


AT_EL2 = (*COMMON, *PRIVILEGED, (Maker.second_stage, 0.7))
WEIGHTS = {
    EL0: weights(COMMON),
    EL1: weights((*COMMON, *PRIVILEGED)),
    EL2: weights(AT_EL2),
}
RECURSIVE = {
    EL0: weights(COMMON),
    EL1: weights((*COMMON, *PRIVILEGED, (Maker.page_name, 4))),
    EL2: weights((*AT_EL2, (Maker.nested_return, 3), (Maker.move_page, 3))),
    VEL2: weights((*AT_EL2, (Maker.page_name, 14), (Maker.move_page, 1.5))),
}
"""Where L1 has FEAT_NV*."""
