"""The verifier finds each kind of broken IR, and names the place."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vel2.lang.ir import (
    Block,
    Function,
    Immediate,
    Instruction,
    Kind,
    Local,
    Module,
    SystemName,
    Table,
)
from vel2.lang.verify import VerifyError, verify_module

ONE = Immediate(1)
HCR = SystemName("HCR_EL2", (3, 4, 1, 1, 0))
TLBI = SystemName("TLBI ALLE1", (1, 4, 8, 7, 4))


def instruction(
    op: str, *args: object, kind: Kind | None = None, **attributes: object
) -> Instruction:
    return Instruction(op, args, kind, tuple(attributes.values()))  # type: ignore[arg-type]


class Sample:
    """A correct function of two blocks to break: returns x + 1."""

    def __init__(self) -> None:
        self.x = Local("x", Kind.INT, "u64")
        self.y = Local("y", Kind.INT, "u64")
        self.get = instruction("get", kind=Kind.INT, local=self.x)
        self.add = instruction("add", self.get, ONE, kind=Kind.INT)
        self.set = instruction("set", self.add, local=self.y)
        self.again = instruction("get", kind=Kind.INT, local=self.y)
        self.end = Block("end", [self.again, instruction("return", self.again)])
        self.jump = instruction("jump", target=self.end)
        self.entry = Block("entry", [self.get, self.add, self.set, self.jump])
        self.function = Function("f", [self.x], Kind.INT, "u64", [self.y], [self.entry, self.end])
        self.module = Module({"f": self.function})

    def insert(self, new: Instruction) -> None:
        """Put an instruction before the jump."""
        self.entry.instructions.insert(-1, new)


def test_the_sample_is_correct() -> None:
    verify_module(Sample().module)


Breaker = Callable[[Sample], object]
BROKEN: dict[str, tuple[Breaker, str]] = {
    "no terminator": (
        lambda s: s.entry.instructions.pop(),
        "f:entry: `entry`: the block does not end in a terminator",
    ),
    "terminator inside": (
        lambda s: s.insert(instruction("unreachable")),
        "f:entry: `unreachable`: a terminator stands in the middle",
    ),
    "block elsewhere": (
        lambda s: s.function.blocks.pop(),
        "f:entry: `jump end`: end is not in the function",
    ),
    "no blocks": (lambda s: s.function.blocks.clear(), "f has no blocks"),
    "block twice": (lambda s: setattr(s.end, "name", "entry"), "f has two blocks of one name"),
    "slot twice": (lambda s: setattr(s.y, "name", "x"), "f has two slots of one name"),
    "unknown operation": (
        lambda s: s.insert(instruction("frobnicate")),
        "f:entry: `frobnicate`: there is no such operation",
    ),
    "missing attribute": (
        lambda s: s.insert(instruction("mrs", kind=Kind.INT)),
        "f:entry: `mrs`: it takes the attributes register",
    ),
    "too few operands": (
        lambda s: setattr(s.add, "args", (s.get,)),
        "f:entry: `%1 = add %0`: operands are u64, u64, u64 are wanted",
    ),
    "operand of another kind": (
        lambda s: setattr(s.add, "args", (s.get, Immediate(1, Kind.BOOL))),
        "f:entry: `%1 = add %0, true`: operands are u64, bool, u64, u64 are wanted",
    ),
    "result of another kind": (
        lambda s: setattr(s.add, "kind", Kind.BOOL),
        "f:entry: `%1 = add %0, 1`: the result is bool",
    ),
    "constant too big": (
        lambda s: setattr(s.add, "args", (s.get, Immediate(1 << 64))),
        "f:entry: `%1 = add %0, 0x10000000000000000`: 18446744073709551616 is not a constant of "
        "its kind",
    ),
    "slot of another function": (
        lambda s: setattr(s.get, "attributes", (Local("z", Kind.INT, "u64"),)),
        "f:entry: `%0 = get z`: local cannot be z",
    ),
    "callee not in the module": (
        lambda s: s.insert(instruction("call", callee=Function("g", [], None))),
        "f:entry: `call g`: callee cannot be g",
    ),
    "call with too many operands": (
        lambda s: s.insert(instruction("call", ONE, ONE, kind=Kind.INT, callee=s.function)),
        "f:entry: `%2 = call f, 1, 1`: operands are u64, u64, u64 are wanted",
    ),
    "bad width": (
        lambda s: s.insert(instruction("read", ONE, kind=Kind.INT, width=7, order="volatile")),
        "f:entry: `%2 = read.7.volatile 1`: width cannot be 7",
    ),
    "bad order": (
        lambda s: s.insert(instruction("read", ONE, kind=Kind.INT, width=8, order="release")),
        "f:entry: `%2 = read.8.release 1`: order cannot be release",
    ),
    "table not in the module": (
        lambda s: s.insert(instruction("lookup", ONE, kind=Kind.INT, table=Table("t", (1,)))),
        "f:entry: `%2 = lookup @t, 1`: table cannot be @t",
    ),
    "instruction used as register": (
        lambda s: s.insert(instruction("mrs", kind=Kind.INT, register=TLBI)),
        "f:entry: `%2 = mrs TLBI.ALLE1`: register cannot be TLBI.ALLE1",
    ),
    "register used as instruction": (
        lambda s: s.insert(instruction("sysop0", instruction=HCR)),
        "f:entry: `sysop0 HCR_EL2`: instruction cannot be HCR_EL2",
    ),
    "unknown barrier": (
        lambda s: s.insert(instruction("barrier", name="dsb")),
        "f:entry: `barrier dsb`: name cannot be dsb",
    ),
    "case twice": (
        lambda s: s.entry.instructions.__setitem__(
            -1, instruction("switch", ONE, cases=((1, s.end), (1, s.end)), default=s.end)
        ),
        "f:entry: `switch 1, cases={0x1: end, 0x1: end}, default=end`: cases cannot be "
        "{0x1: end, 0x1: end}",
    ),
    "return of nothing": (
        lambda s: s.end.instructions.__setitem__(-1, instruction("return")),
        "f:end: `return`: operands are nothing, u64 are wanted",
    ),
    "use before definition": (
        lambda s: s.entry.instructions.insert(0, s.entry.instructions.pop(1)),
        "f:entry: `%0 = add %1, 1`: %1 is used before it is defined",
    ),
    "use of a value of a later block": (
        lambda s: setattr(s.set, "args", (s.again,)),
        "f:entry: `set y, %2`: %2 is used before it is defined",
    ),
    "use of a value that is nowhere": (
        lambda s: setattr(s.set, "args", (instruction("mrs", kind=Kind.INT, register=HCR),)),
        "f:entry: `set y, %-1`: %-1 = mrs HCR_EL2 is not in the function",
    ),
    "filed under another name": (
        lambda s: s.module.functions.update(g=s.module.functions.pop("f")),
        "f is filed as g",
    ),
    "external with blocks": (
        lambda s: setattr(s.function, "external", True),
        "f is external but has blocks",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_ir_is_found(name: str) -> None:
    breaker, sentence = BROKEN[name]
    sample = Sample()
    breaker(sample)
    with pytest.raises(VerifyError) as caught:
        verify_module(sample.module)
    assert str(caught.value) == sentence


def test_a_value_must_be_defined_on_every_path() -> None:
    """A value made in one arm of a branch is used after both."""
    s = Sample()
    yes = Block("yes", [instruction("mrs", kind=Kind.INT, register=HCR)])
    yes.instructions.append(instruction("jump", target=s.end))
    condition = instruction("eq", s.get, ONE, kind=Kind.BOOL)
    s.entry.instructions[-1:] = [condition, instruction("branch", condition, yes=yes, no=s.end)]
    s.function.blocks.insert(1, yes)
    verify_module(s.module)
    s.end.instructions[-1] = instruction("return", yes.instructions[0])
    with pytest.raises(VerifyError, match=r"^f:end: `return %3`: %3 is used before it is defined$"):
        verify_module(s.module)
