"""The intermediate representation: what the subset means, in few and regular operations.

A module holds functions, constant tables and constant bytes. A function holds basic blocks; a
block holds instructions, of which the last is a terminator. All integers are 64 bits and unsigned;
booleans are one bit; a reference points to a structure. Local variables are slots (`get`, `set`),
so there are no phi nodes; every other value is defined once, before its uses.

Operations are total, so that a machine, CPython and a solver agree: a shift by 64 or more gives 0,
a division by 0 gives 0 and its remainder is the dividend (as UDIV and MSUB do).

Each node prints on one line; `OPCODES` is the grammar, and `verify.py` checks it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum


class Kind(Enum):
    """The type of a value."""

    INT = "u64"
    BOOL = "bool"
    REF = "ref"


@dataclass(frozen=True, slots=True)
class Location:
    """A place in the user's source: `line` counts from 1, columns from 0."""

    file: str
    line: int
    column: int
    end_column: int
    function: str


@dataclass(frozen=True, slots=True)
class Immediate:
    """A constant operand."""

    value: int
    kind: Kind = Kind.INT

    def __str__(self) -> str:
        if self.kind is Kind.BOOL:
            return "true" if self.value else "false"
        return str(self.value) if self.value < 10 else hex(self.value)


@dataclass(eq=False, slots=True)
class Local:
    """A local variable or parameter: a slot of one kind; `type_name` is for the reader."""

    name: str
    kind: Kind
    type_name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class SystemName:
    """A system register or instruction: its name and (op0, op1, CRn, CRm, op2)."""

    name: str
    encoding: tuple[int, int, int, int, int]

    @property
    def trap_key(self) -> int:
        """Give op0:op2:op1:CRn:CRm, as ESR_EL2.ISS orders them."""
        op0, op1, crn, crm, op2 = self.encoding
        return op0 << 14 | op2 << 11 | op1 << 8 | crn << 4 | crm

    def __str__(self) -> str:
        return self.name.replace(" ", ".")


@dataclass(eq=False, slots=True)
class Table:
    """A constant table of 64-bit integers."""

    name: str
    values: tuple[int, ...]

    def __str__(self) -> str:
        return f"@{self.name}"


@dataclass(eq=False, slots=True)
class Blob:
    """Constant bytes, read-only."""

    name: str
    data: bytes

    def __str__(self) -> str:
        return f"@{self.name}"


@dataclass(frozen=True, slots=True)
class Shape:
    """The grammar of one operation.

    `args` has one letter per operand: i(nteger), b(ool), r(eference), s(ame as the local or callee
    says), `*` any number as the callee says. `result` likewise, or "" for none.
    """

    args: str
    result: str
    attributes: tuple[str, ...] = ()
    terminator: bool = False


OPCODES: dict[str, Shape] = {
    "get": Shape("", "s", ("local",)),
    "set": Shape("s", "", ("local",)),
    **{name: Shape("ii", "i") for name in ("add", "sub", "mul", "div", "mod")},
    **{name: Shape("ii", "i") for name in ("and", "or", "xor", "shl", "shr")},
    **{name: Shape("ii", "b") for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    **{name: Shape("bb", "b") for name in ("band", "bor", "bxor", "beq")},
    "not": Shape("b", "b"),
    "int": Shape("b", "i"),
    **{name: Shape("i", "i") for name in ("clz", "ctz", "rbit")},
    # References: `member` adds a constant, `element` scales a checked index, both in bytes.
    "member": Shape("r", "r", ("offset",)),
    "element": Shape("ri", "r", ("stride", "count")),
    "at": Shape("i", "r", ("size",)),
    "address": Shape("r", "i"),
    # Fields of structures: width in bits; order is plain or volatile.
    "load": Shape("r", "i", ("width", "order")),
    "store": Shape("ri", "", ("width", "order")),
    # Memory by physical address: order is volatile, acquire or release.
    "read": Shape("i", "i", ("width", "order")),
    "write": Shape("ii", "", ("width", "order")),
    "swap": Shape("ii", "i", ("width",)),
    "fetch_add": Shape("ii", "i", ("width",)),
    "compare_exchange": Shape("iii", "i", ("width",)),
    "lookup": Shape("i", "i", ("table",)),
    "bytes": Shape("", "i", ("blob",)),
    "symbol": Shape("", "i", ("name",)),
    "call": Shape("*", "s", ("callee",)),
    "mrs": Shape("", "i", ("register",)),
    "msr": Shape("i", "", ("register",)),
    "sysop": Shape("i", "", ("instruction",)),
    "sysop0": Shape("", "", ("instruction",)),
    "barrier": Shape("", "", ("name",)),
    "hint": Shape("", "", ("name",)),
    "jump": Shape("", "", ("target",), terminator=True),
    "branch": Shape("b", "", ("yes", "no"), terminator=True),
    "switch": Shape("i", "", ("cases", "default"), terminator=True),
    "return": Shape("*", "", (), terminator=True),
    "unreachable": Shape("", "", (), terminator=True),
}

BARRIERS = {
    "isb": ("isb", 15),
    "dsb sy": ("dsb", 15),
    "dsb ish": ("dsb", 11),
    "dsb ishst": ("dsb", 10),
    "dsb nsh": ("dsb", 7),
    "dmb sy": ("dmb", 15),
    "dmb ish": ("dmb", 11),
    "dmb ishst": ("dmb", 10),
}
"""Barrier name -> (instruction, CRm)."""

HINTS = {"nop": 0, "yield": 1, "wfe": 2, "wfi": 3, "sev": 4}
"""Hint name -> number, as in the HINT instruction."""


@dataclass(eq=False, slots=True)
class Instruction:
    """One operation. `attributes` are in the order of `OPCODES[op].attributes`."""

    op: str
    args: tuple[Operand, ...]
    kind: Kind | None
    attributes: tuple[object, ...] = ()
    location: Location | None = None
    number: int = -1

    def __str__(self) -> str:
        names, suffixes, named = [], "", []
        for name, value in zip(OPCODES[self.op].attributes, self.attributes, strict=True):
            if name in _SUFFIXES:
                suffixes += "" if value == "plain" else f".{value}"
            elif name in _NAMED:
                named.append(f"{name}={attribute_text(value)}")
            else:
                names.append(attribute_text(value))
        parts = [*names, *map(_operand, self.args), *named]
        text = f"{self.op}{suffixes} {', '.join(parts)}".rstrip()
        return text if self.kind is None else f"%{self.number} = {text}"


_SUFFIXES = {"width", "order"}
_NAMED = {"offset", "stride", "count", "size", "yes", "no", "cases", "default"}

Operand = Instruction | Immediate


def _operand(arg: Operand) -> str:
    return f"%{arg.number}" if isinstance(arg, Instruction) else str(arg)


def attribute_text(value: object) -> str:
    """Write an attribute as it appears in the text form."""
    if isinstance(value, Block | Function):
        return value.name
    if isinstance(value, tuple):
        pairs = [f"{case:#x}: {block.name}" for case, block in value]
        return "{" + ", ".join(pairs) + "}"
    return str(value)


@dataclass(eq=False, slots=True)
class Block:
    """A basic block: straight-line instructions and a terminator."""

    name: str
    instructions: list[Instruction] = field(default_factory=list)

    @property
    def terminator(self) -> Instruction | None:
        """Give the last instruction if it ends the block."""
        if self.instructions and OPCODES[self.instructions[-1].op].terminator:
            return self.instructions[-1]
        return None

    @property
    def successors(self) -> tuple[Block, ...]:
        """Give the blocks that the terminator can go to."""
        last = self.terminator
        if last is None:
            return ()
        found = []
        for value in last.attributes:
            if isinstance(value, Block):
                found.append(value)
            elif isinstance(value, tuple):
                found.extend(block for _, block in value)
        return tuple(found)


@dataclass(eq=False, slots=True)
class Function:
    """A function. `external` ones have no blocks: the machine code comes from an assembler."""

    name: str
    parameters: list[Local]
    result: Kind | None
    result_name: str = "None"
    locals: list[Local] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    external: bool = False
    inline: bool = False
    cold: bool = False
    exported: bool = False
    location: Location | None = None

    def instructions(self) -> Iterator[Instruction]:
        """Walk all instructions in order."""
        for block in self.blocks:
            yield from block.instructions

    def renumber(self) -> None:
        """Give the results numbers in order, for printing."""
        number = 0
        for instruction in self.instructions():
            if instruction.kind is not None:
                instruction.number = number
                number += 1

    def __str__(self) -> str:
        parameters = ", ".join(f"{local.name}: {local.type_name}" for local in self.parameters)
        head = f"{self.name}({parameters}) -> {self.result_name}"
        if self.external:
            return f"extern {head}"
        self.renumber()
        words = [w for w, on in (("export", self.exported), ("inline", self.inline)) if on]
        words += ["cold"] if self.cold else []
        lines = [" ".join([*words, "function", head])]
        lines += [f"  local {local.name}: {local.type_name}" for local in self.locals]
        for block in self.blocks:
            lines.append(f"{block.name}:")
            lines += [f"  {instruction}" for instruction in block.instructions]
        return "\n".join(lines)


@dataclass(eq=False, slots=True)
class Module:
    """All that is compiled together."""

    functions: dict[str, Function] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    blobs: list[Blob] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [
            f"table @{table.name} = [{', '.join(map(hex, table.values))}]" for table in self.tables
        ]
        parts += [f"bytes @{blob.name} = {blob.data!r}" for blob in self.blobs]
        parts += [str(function) for function in self.functions.values()]
        return "\n".join(parts) + "\n"
