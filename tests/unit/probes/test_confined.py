"""What is accepted as a probe stores into its maps alone, and ends in the time that was shown.

Programs are drawn at random, most of them with something wrong. Those that are accepted are run by
an interpreter of the IR that knows nothing of intervals, from states drawn at random.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lang.snippets import load
from tests.unit.probes.interpret import Interpreter
from vel2.hyp.state import Vcpu, Vm, VncrPage
from vel2.lang import SubsetError
from vel2.lang.lower.module import ModuleLowering
from vel2.lang.verify import verify_module
from vel2.probes.build import around, confined
from vel2.probes.place import Place

HEADER = """\
from vel2.arch.sysregs import CNTPCT_EL0
from vel2.hyp.records import Trap
from vel2.hyp.state import Vcpu, page_of, vm_of
from vel2.lang import *
from vel2.probes import *

area = Counters(40)
by_key = Hash(8)
sizes = Histogram(3)
recent = Last(4)
notes = Scratch(4)
TABLE = (5, 60, 1 << 40)


"""
BASE = 0x4000_0000
VCPU, VM, PAGE, MAPS = 0x1_0000, 0x6_0000, 0x7_0000, 0x8_0000
GUARD = 0x100
MEMORY = 0xA_0000
ENDS = 6


class Writer:
    """Writes a probe by drawing: statements and expressions of the subset, right or wrong."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.names = ["a", "b"]
        self.loops = 0

    def number(self, depth: int = 2) -> str:
        """Write an expression of 64 bits."""
        draw = self.random
        if depth == 0:
            return draw.choice(
                [*self.names, *self.names, str(draw.choice((0, 1, 3, 7, 8, 39, 64, 4096)))]
            )
        inner, other = self.number(depth - 1), self.number(depth - 1)
        return draw.choice(
            [
                f"({inner} & {draw.choice((1, 3, 7, 15, 31, 63, 0xF8))})",
                f"({inner} % {draw.choice((3, 5, 31, 40))})",
                f"({inner} >> {draw.choice((1, 3, 58, 61))})",
                f"u64({inner} + {other})",
                f"u64({inner} - {other})",
                f"u64({inner} * {draw.choice((2, 8, 16))})",
                f"({inner} // {draw.choice((2, 8))})",
                f"({inner} ^ {other})",
                f"({inner} | {other})",
                f"clz({inner})",
                f"({inner} if {self.truth()} else {other})",
                f"vcpu.x[{draw.choice((f'{inner} & 15', f'{inner} % 31', inner))}]",
                f"TABLE[{draw.choice((f'{inner} % 3', f'{inner} & 1', inner))}]",
                f"notes.get(vcpu, {inner})",
                inner,
            ]
        )

    def truth(self) -> str:
        """Write a condition."""
        draw = self.random
        op = draw.choice(("<", "<=", ">", ">=", "==", "!="))
        found = f"{draw.choice(self.names)} {op} {draw.choice((0, 3, 8, 31, 40, *self.names))}"
        return f"{found} and {self.truth()}" if draw.random() < 0.2 else found

    def address(self) -> str:
        """Write an address, mostly of a map."""
        draw = self.random
        base = draw.choice(
            [
                *["symbol_address(area.symbol)"] * 6,
                "symbol_address(by_key.symbol)",
                "address_of(vcpu)",
                "vcpu.x[7]",
            ]
        )
        offset = draw.choice(
            [
                str(8 * draw.choice((0, 1, 39, 40, 41))),
                f"({self.number(1)} & {draw.choice((7, 31, 63))}) * 8",
                f"({self.number(1)} % {draw.choice((40, 41, 42))}) * 8",
                f"{draw.choice(self.names)} * 8",
                self.number(1),
            ]
        )
        return f"PA(u64({base} + {offset}))"

    def statement(self, indent: str, depth: int) -> list[str]:
        """Write a statement."""
        draw = self.random
        kind = draw.randrange(12 if depth else 7)
        name = draw.choice(self.names)
        if kind < 2:
            return [f"{indent}{name} = {self.number()}"]
        if kind == 2:
            return [f"{indent}store_u64({self.address()}, {self.number(1)})"]
        if kind == 3:
            return [f"{indent}fetch_add_u64({self.address()}, 1)"]
        if kind == 4:
            return [f"{indent}by_key.add({self.number()})"]
        if kind == 5:
            return [f"{indent}{name} = load_u64({self.address()})"]
        if kind == 6:
            call = draw.choice(
                [
                    f"area.add({self.number()}, {self.number(1)})",
                    f"sizes.record({self.number()}, {self.number(1)})",
                    f"recent.push(vcpu, {self.number(1)})",
                    f"notes.put(vcpu, {self.number(1)}, {self.number(1)})",
                ]
            )
            return [indent + call]
        if kind < 10:
            head = f"{indent}if {self.truth()}:"
            return [head, *self.body(indent + "    ", depth - 1)]
        if kind == 10:
            self.loops += 1
            counter = f"i{self.loops}"
            limit = draw.choice((str(draw.randrange(1, 6)), f"{name} & 7", name))
            head = f"{indent}for {counter} in range({limit}):"
            self.names.append(counter)
            body = self.body(indent + "    ", depth - 1)
            self.names.remove(counter)
            return [head, *body]
        move = draw.choice((f"u64({name} - 1)", f"u64({name} + 1)", f"{name} >> 1"))
        head = f"{indent}while {name} {draw.choice(('> 0', '< 9', '!= 0'))}:"
        return [head, f"{indent}    {name} = {move}", *self.body(indent + "    ", depth - 1)]

    def body(self, indent: str, depth: int) -> list[str]:
        """Write some statements."""
        return [
            line
            for _ in range(self.random.randrange(1, 4))
            for line in self.statement(indent, depth)
        ]

    def probe(self) -> str:
        """Write a whole probe."""
        lines = ["def f(trap: Trap, vcpu: Vcpu) -> None:"]
        lines += ["    a = trap.pc", "    b = trap.esr & 63"]
        return "\n".join(lines + self.body("    ", 2)) + "\n"


def maps_of(module: object) -> dict[str, tuple[int, int]]:
    """Give each map a place with room around it: symbol -> address and size."""
    found, here = {}, BASE + MAPS + GUARD
    for name in ("area", "by_key", "sizes", "recent", "notes"):
        each = getattr(module, name)
        found[each.symbol] = (here, each.struct.size)
        here += -(-each.struct.size // 16) * 16 + GUARD
    assert here < BASE + MEMORY
    return found


def fresh(random: Random, maps: dict[str, tuple[int, int]]) -> bytearray:
    """Give a memory in which registers hold numbers of all sizes, and addresses of L0's."""
    memory = bytearray(random.randbytes(1 << 12) * (MEMORY >> 12))
    for address, size in maps.values():
        memory[address - BASE : address - BASE + size] = bytes(size)
    vcpu = Vcpu(memory, VCPU)
    vcpu.vm, vcpu.vel2.vncr_page = BASE + VM, BASE + PAGE
    vcpu.index = random.randrange(8)
    for index in range(31):
        vcpu.x[index] = random.getrandbits(random.choice((1, 3, 6, 12, 64)))
    vcpu.x[7] = BASE + 8 * random.randrange(MEMORY // 8)
    vcpu.trap.pc = random.getrandbits(random.choice((2, 6, 64)))
    vcpu.trap.esr = random.getrandbits(32)
    return memory


def outside(stores: list[tuple[int, int]], maps: dict[str, tuple[int, int]]) -> list[str]:
    """Give the stores that lie in no map."""
    return [
        hex(address)
        for address, size in stores
        if not any(start <= address <= start + length - size for start, length in maps.values())
    ]


def attempt(random: Random, directory: Path) -> bool:
    """Draw a probe; if it is accepted, run it, and require that it keeps to what was shown."""
    module = load(directory, Writer(random).probe(), HEADER)
    lowering = ModuleLowering()
    called = around(module.f, Place())
    try:
        ir = lowering.run([called])
        verify_module(ir)
        finding, _ = confined(ir, lowering, module.f, called)
    except SubsetError:
        return False
    root = lowering.signatures[called].function
    maps = maps_of(module)
    symbols = {symbol: address for symbol, (address, _) in maps.items()}
    for _ in range(ENDS):
        machine = Interpreter(BASE, fresh(random, maps), symbols)
        machine.call(root, BASE + VCPU, 0)
        assert outside(machine.stores, maps) == [], Path(module.__file__).read_text()
        assert machine.count <= finding.operations, Path(module.__file__).read_text()
    return True


def test_the_layout_of_the_rig_has_room() -> None:
    assert Vcpu.size <= VM - VCPU
    assert Vm.size <= PAGE - VM
    assert VncrPage.size <= MAPS - PAGE


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32))
def test_what_is_accepted_keeps_to_its_maps(seed: int, tmp_path: Path) -> None:
    attempt(Random(seed), tmp_path)


def test_enough_is_accepted_to_tell(tmp_path: Path) -> None:
    """Show that the drawn programs are neither all right nor all wrong."""
    found = [attempt(Random(seed), tmp_path) for seed in range(40)]
    assert 8 < sum(found) < 32, sum(found)


@pytest.mark.slow
def test_many_more(tmp_path: Path) -> None:
    for seed in itertools.islice(itertools.count(1000), 5000):
        attempt(Random(seed), tmp_path)
