"""The IR executed as it stands: each operation counted, each access noted.

A second meaning of the IR beside the compiler's, for tests of what is shown of it: it knows nothing
of intervals, only of numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vel2.lang.ir import Block, Function, Immediate, Instruction, Local, Table
from vel2.lang.types import WORD_MASK

OPERATIONS_MAX = 200_000


class Runaway(Exception):
    """It executes more than anybody allowed."""


@dataclass
class Interpreter:
    """Runs functions on a flat memory.

    :ivar symbols: addresses. :ivar stores: each store, as address and size. :ivar count: operations
        executed.
    """

    base: int
    memory: bytearray
    symbols: dict[str, int]
    registers: dict[str, int] = field(default_factory=dict)
    stores: list[tuple[int, int]] = field(default_factory=list)
    count: int = 0

    def call(self, function: Function, *arguments: int) -> int:
        """Call a function; references are addresses."""
        slots: dict[Local, int] = dict(zip(function.parameters, arguments, strict=True))
        values: dict[Instruction, int] = {}
        block = function.blocks[0]
        while True:
            for instruction in block.instructions:
                self.count += 1
                if self.count > OPERATIONS_MAX:
                    raise Runaway
                operands = [
                    each.value if isinstance(each, Immediate) else values[each]
                    for each in instruction.args
                ]
                if instruction.op == "return":
                    return operands[0] if operands else 0
                if instruction.op in ("jump", "branch", "switch"):
                    block = self._target(instruction, operands)
                    break
                values[instruction] = self._do(instruction, operands, slots) & WORD_MASK

    def _target(self, instruction: Instruction, operands: list[int]) -> Block:
        first = instruction.attributes[0]
        if instruction.op == "jump":
            found = first
        elif instruction.op == "branch":
            found = instruction.attributes[0 if operands[0] else 1]
        else:
            assert isinstance(first, tuple)
            found = dict(first).get(operands[0], instruction.attributes[1])
        assert isinstance(found, Block)
        return found

    def _do(self, instruction: Instruction, operands: list[int], slots: dict[Local, int]) -> int:
        op, attributes = instruction.op, instruction.attributes
        first = attributes[0] if attributes else None
        if op == "get":
            return slots[first]  # type: ignore[index]
        if op == "set":
            slots[first] = operands[0]  # type: ignore[index]
            return 0
        if op == "call":
            assert isinstance(first, Function)
            return self.call(first, *operands)
        if op in ("load", "read"):
            return self._load(operands[0], int(str(first)) // 8)
        if op in ("store", "write"):
            self._store(operands[0], int(str(first)) // 8, operands[1])
            return 0
        if op in ("swap", "fetch_add", "compare_exchange"):
            return self._update(op, operands)
        if op == "member":
            return operands[0] + int(str(first))
        if op == "element":
            return operands[0] + operands[1] * int(str(first))
        if op in ("at", "address", "int"):
            return operands[0]
        if op == "symbol":
            return self.symbols[str(first)]
        if op == "lookup":
            assert isinstance(first, Table)
            return first.values[operands[0]]
        if op == "mrs":
            return self.registers.get(str(first), 0)
        if op == "barrier":
            return 0
        return computed(op, operands)

    def _offset(self, address: int, size: int) -> int:
        assert address % size == 0, hex(address)
        assert self.base <= address <= self.base + len(self.memory) - size, hex(address)
        return address - self.base

    def _load(self, address: int, size: int) -> int:
        offset = self._offset(address, size)
        return int.from_bytes(self.memory[offset : offset + size], "little")

    def _store(self, address: int, size: int, value: int) -> None:
        offset = self._offset(address, size)
        self.memory[offset : offset + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        self.stores.append((address, size))

    def _update(self, op: str, operands: list[int]) -> int:
        old = self._load(operands[0], 8)
        if op == "swap":
            self._store(operands[0], 8, operands[1])
        elif op == "fetch_add":
            self._store(operands[0], 8, old + operands[1] & WORD_MASK)
        elif old == operands[1]:
            self._store(operands[0], 8, operands[2])
        return old


def computed(op: str, operands: list[int]) -> int:
    """Do what only computes."""
    a, b = (*operands, 0)[:2]
    match op:
        case "add":
            return a + b
        case "sub":
            return a - b
        case "mul":
            return a * b
        case "div":
            return a // b if b else 0
        case "mod":
            return a % b if b else a
        case "and" | "band":
            return a & b
        case "or" | "bor":
            return a | b
        case "xor" | "bxor":
            return a ^ b
        case "shl":
            return a << b if b < 64 else 0
        case "shr":
            return a >> b if b < 64 else 0
        case "eq" | "beq":
            return int(a == b)
        case "ne":
            return int(a != b)
        case "lt":
            return int(a < b)
        case "le":
            return int(a <= b)
        case "gt":
            return int(a > b)
        case "ge":
            return int(a >= b)
        case "not":
            return 1 - a
        case "clz":
            return 64 - a.bit_length()
        case "ctz":
            return (a & -a).bit_length() - 1 if a else 64
        case "rbit":
            return int(f"{a:064b}"[::-1], 2)
    raise NotImplementedError(op)
