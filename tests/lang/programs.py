"""Random programs of the subset: valid by construction, total, and different in everything else.

Indices are masked, divisors are odd, loops are counted, so that every run ends and CPython never
raises; all else is left to chance. The text is what a user would write, so it also goes through the
front end.
"""

from __future__ import annotations

from random import Random

MEMORY_BASE = 0x4000_0000
MEMORY_SIZE = 0x1000
INTERESTING = (0, 1, 2, 31, 63, 64, 0xFF, 0xFFFF_FFFF, 1 << 32, 1 << 63, (1 << 64) - 1)
REGISTERS = ("HCR_EL2", "SCTLR_EL1", "VTTBR_EL2")
LEVELS = 3
"""A function calls one of the level below, outside loops, so that no run is long."""
COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")


class Program:
    """Writes one function after the other; a later one may call the earlier ones.

    :param machine: use registers, instructions and barriers too, which only a simulation has.
    """

    def __init__(self, random: Random, *, machine: bool = True) -> None:
        self.random = random
        self.machine = machine
        self.lines: list[str] = []
        self.level = 0
        self.callees: list[list[str]] = [[] for _ in range(LEVELS)]

    def text(self, functions: int) -> str:
        """Give a module of so many functions."""
        for number in range(functions):
            self.level = number % LEVELS
            self._function(f"f{number}")
        return "\n".join(self.lines) + "\n"

    def _function(self, name: str) -> None:
        self.ints = ["a", "b"]
        self.addresses: list[str] = []
        self.bools = ["c"]
        self.constants: list[str] = []
        self.fixed: set[str] = set()
        self.names = 0
        self.loops: list[str] = []
        mark = "@inline" if self.random.random() < 0.2 else "@resident"
        self.lines += ["", mark, f"def {name}(v: Vcpu, a: u64, b: u64, c: bool) -> u64:"]
        self._body(1, self.random.randint(3, 8))
        self._line(1, f"return {self.integer(2)}")
        if self.level < LEVELS - 1:
            self.callees[self.level].append(name)

    def _line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def _name(self) -> str:
        self.names += 1
        return f"n{self.names}"

    def _body(self, depth: int, count: int) -> None:
        """Write statements; names they define are known only inside."""
        kept = list(self.ints), list(self.addresses), list(self.bools), list(self.constants)
        start = len(self.lines)
        for _ in range(count):
            self._statement(depth)
        if len(self.lines) == start:
            self._line(depth, "pass")
        self.ints, self.addresses, self.bools, self.constants = kept

    # -- statements

    def _statement(self, depth: int) -> None:
        simple = [
            *(self._assign, self._assign, self._store, self._store, self._define, self._define),
            *(self._augment, self._call, self._memory, self._swap),
        ]
        if self.machine:
            simple += [self._system, self._system]
        nested = [self._if, self._while, self._for, self._unrolled, self._match]
        if self.loops:
            simple.append(self._leave)
        if depth < 4 and self.random.random() < 0.35:
            self.random.choice(nested)(depth)
        else:
            self.random.choice(simple)(depth)

    def _assign(self, depth: int) -> None:
        targets = [name for name in self.ints if name not in self.fixed]
        self._line(depth, f"{self.random.choice(targets)} = {self.integer(3)}")

    def _swap(self, depth: int) -> None:
        targets = [name for name in self.ints if name not in self.fixed]
        first, second = self.random.sample(targets, 2)
        self._line(depth, f"{first}, {second} = {self.integer(1)}, {self.integer(1)}")

    def _define(self, depth: int) -> None:
        name = self._name()
        kind = self.random.randrange(4)
        if kind == 0:
            self._line(depth, f"{name} = {self.boolean(2)}")
            self.bools.append(name)
        elif kind == 1:
            self._line(depth, f"{name} = PA({self.wide(2)})")
            self.addresses.append(name)
        elif kind == 2:
            self._line(depth, f"{name}: u32 = u32({self.wide(2)})")
            self.ints.append(name)
            self.fixed.add(name)
        else:
            self._line(depth, f"{name} = {self.integer(3)}")
            self.ints.append(name)

    def _augment(self, depth: int) -> None:
        targets = [name for name in self.ints if name not in self.fixed]
        op = self.random.choice(("&=", "|=", "^="))
        if self.random.random() < 0.5:
            index = self._index(31)
            self._line(depth, f"v.x[{index}] {op} {self.integer(2)}")
        else:
            self._line(depth, f"{self.random.choice(targets)} {op} {self.integer(2)}")

    def _store(self, depth: int) -> None:
        choice = self.random.randrange(7)
        if choice == 0:
            self._line(depth, f"v.x[{self._index(31)}] = {self.integer(3)}")
        elif choice == 1:
            self._line(depth, f"v.timer.ctl = u32({self.wide(2)})")
        elif choice == 2:
            self._line(depth, f"v.timers[{self._index(4)}].level = u8({self.wide(2)})")
        elif choice == 3:
            self._line(depth, f"v.timers[{self._index(4)}].enabled = {self.boolean(2)}")
        elif choice == 4:
            self._line(depth, f'vstore(v, "pc", {self.integer(2)})')
        elif choice == 5:
            self._line(depth, f"v.page = PA({self.wide(2)})")
        else:
            timer = self._name()
            self._line(depth, f"{timer} = v.timers[{self._index(4)}]")
            self._line(depth, f"{timer}.cval = u64({timer}.cval + {self.integer(1)})")

    def _memory(self, depth: int) -> None:
        size = self.random.choice((8, 16, 32, 64))
        if self.random.random() < 0.3:
            name = self._name()
            mask = MEMORY_SIZE // 2 - 1 & ~7
            address = f"PA({MEMORY_BASE:#x} | {self.integer(1)} & {mask:#x})"
            self._line(depth, f"{name} = at(Vcpu, {address})")
            self._line(depth, f"{name}.pc = u64(address_of({name}) + {self.integer(1)})")
        elif size == 64 and self.random.random() < 0.5:
            self._atomic(depth)
        else:
            value = f"u{size}({self.wide(2)})"
            store = "store"
            if size >= 32 and self.random.random() < 0.3:
                store = "store_release"
            self._line(depth, f"{store}_u{size}({self._address(size)}, {value})")

    def _atomic(self, depth: int) -> None:
        operation = self.random.choice(("swap_u64", "fetch_add_u64", "compare_exchange_u64"))
        address, name = self._name(), self._name()
        self._line(depth, f"{address} = {self._address(64)}")
        operands = [self.integer(1)]
        if operation == "compare_exchange_u64":
            # What is there, so that it succeeds, as often as something else.
            expected = self.random.choice((f"load_u64({address})", self.integer(1)))
            operands.insert(0, expected)
        self._line(depth, f"{name} = {operation}({address}, {', '.join(operands)})")
        self.ints.append(name)

    def _system(self, depth: int) -> None:
        choice = self.random.randrange(6)
        if choice < 2:
            self._line(depth, f"msr({self.random.choice(REGISTERS)}, {self.integer(2)})")
        elif choice == 2:
            self._line(depth, f"sysop(TLBI.VAE1IS, {self.integer(2)})")
        elif choice == 3:
            self._line(depth, "sysop(TLBI.VMALLE1IS)")
        else:
            self._line(depth, self.random.choice(("isb()", "dsb_ish()", "wfe()", "sev()")))

    def _call(self, depth: int) -> None:
        if self.level and not self.loops:
            name = self._name()
            self._line(depth, f"{name} = {self._call_text()}")
            self.ints.append(name)

    def _call_text(self) -> str:
        callee = self.random.choice(self.callees[self.level - 1])
        if self.random.random() < 0.5:
            return f"{callee}(v, {self.integer(1)}, {self.integer(1)}, {self.boolean(1)})"
        return f"{callee}(v, {self.integer(1)}, c={self.boolean(1)}, b={self.integer(1)})"

    def _leave(self, depth: int) -> None:
        self._line(depth, f"if {self.boolean(1)}:")
        self._line(depth + 1, self.random.choice(("break", "continue")))

    def _if(self, depth: int) -> None:
        self._line(depth, f"if {self.condition()}:")
        self._body(depth + 1, self.random.randint(1, 3))
        for _ in range(self.random.randrange(3)):
            self._line(depth, f"elif {self.condition()}:")
            self._body(depth + 1, self.random.randint(1, 3))
        if self.random.random() < 0.6:
            self._line(depth, "else:")
            self._body(depth + 1, self.random.randint(1, 3))
            if self.random.random() < 0.2:
                self._line(depth + 1, f"return {self.integer(1)}")

    def _while(self, depth: int) -> None:
        name = self._name()
        self._line(depth, f"{name} = {self.integer(1)} & 7")
        self._line(depth, f"while {name} != 0 and {self.condition()}:")
        self._line(depth + 1, f"{name} = u64({name} - 1)")
        self._loop(depth)

    def _for(self, depth: int) -> None:
        name = self._name()
        limits = self.random.choice(
            (
                "5",
                f"{self.integer(1)} & 7",
                f"2, {self.integer(1)} & 15",
                "0, 20, 3",
                f"3, {self.integer(1)} & 15, 4",
                "6, -1, -2",
                f"{self.integer(1)} & 15, 2, -3",
            )
        )
        self._line(depth, f"for {name} in range({limits}):")
        self.ints.append(name)
        self.fixed.add(name)
        self._loop(depth)
        self.ints.remove(name)

    def _unrolled(self, depth: int) -> None:
        index, value = self._name(), self._name()
        self._line(depth, f"for {index}, {value} in enumerate(TABLE):")
        self.constants += [index, value]
        self._loop(depth)
        self.constants = [name for name in self.constants if name not in (index, value)]

    def _loop(self, depth: int) -> None:
        self.loops.append("loop")
        self._body(depth + 1, self.random.randint(1, 3))
        self.loops.pop()

    def _match(self, depth: int) -> None:
        self._line(depth, f"match {self.integer(1)} & 0x1f:")
        numbers = self.random.sample(range(32), 4)
        cases = ["Kind.HVC | Kind.SMC"]
        cases += [str(n) for n in numbers[:3] if n not in (0x16, 0x17)]
        for case in cases:
            self._line(depth + 1, f"case {case}:")
            self._body(depth + 2, self.random.randint(1, 2))
        if self.random.random() < 0.5:
            self._line(depth + 1, "case _:")
            self._body(depth + 2, self.random.randint(1, 2))

    # -- expressions

    def _index(self, count: int) -> str:
        if self.random.random() < 0.3:
            return str(self.random.randrange(count))
        return f"{self.integer(1)} % {count}"

    def _address(self, size: int) -> str:
        mask = MEMORY_SIZE - 1 & ~(size // 8 - 1)
        return f"PA({MEMORY_BASE:#x} | {self.integer(1)} & {mask:#x})"

    def _amount(self) -> str:
        """Give a shift; a parameter, as a constant of 64 or more is refused."""
        return f"{self.random.choice('ab')} & {self.random.choice((31, 63, 127))}"

    def constant(self) -> str:
        """Give a number."""
        if self.constants and self.random.random() < 0.3:
            return self.random.choice(self.constants)
        if self.random.random() < 0.6:
            return hex(self.random.choice(INTERESTING))
        return str(self.random.getrandbits(self.random.randint(1, 64)))

    def leaf(self) -> str:
        """Give an integer without operators."""
        choice = self.random.randrange(10)
        if choice < 4:
            return self.random.choice(self.ints)
        if choice < 6:
            return self.constant()
        fields = (
            *("v.pc", "v.timer.cval", "v.timer.ctl", "v.timer.level", "v.x[7]", "u64(v.page)"),
            *("vload(v, 'pc')", "vload(v, 'x', 3)", "v.timers[2].ctl"),
        )
        if choice < 9:
            return self.random.choice(fields)
        load = self.random.choice(("load_u64", "load_u64", "load_acquire_u64", "load_acquire_u32"))
        return f"{load}({self._address(64)})" if self.ints else self.constant()

    def integer(self, depth: int) -> str:
        """Give an expression that fits 64 bits."""
        if depth <= 0:
            return self.leaf()
        choice = self.random.randrange(16)
        if choice < 4:
            return self.leaf()
        if choice < 7:
            return f"u64({self.wide(depth)})"
        a, b = self.integer(depth - 1), self.integer(depth - 1)
        if choice == 7:
            return f"({a} {self.random.choice(('&', '|', '^'))} {b})"
        if choice == 8:
            return f"({self.wide(depth - 1)} & {a})"
        if choice == 9:
            return f"({a} >> ({self._amount()}))"
        if choice == 10:
            return f"({a} {self.random.choice(('//', '%'))} ({b} | 1))"
        if choice == 11:
            return f"({a} if {self.boolean(depth - 1)} else {b})"
        if choice == 12:
            return f"{self.random.choice(('clz', 'ctz', 'rbit'))}({a})"
        if choice == 13:
            return f"TABLE[{a} & 3]"
        if choice == 14:
            method = self.random.choice(("HCR_EL2.BSU.get", "VTTBR_EL2.VMID.get"))
            return f"{method}({a})"
        if self.machine and self.random.random() < 0.5:
            return f"mrs({self.random.choice(REGISTERS)})"
        return f"HCR_EL2.BSU.set({a}, {b} & 3)"

    def wide(self, depth: int) -> str:
        """Give an expression that may leave 64 bits."""
        if depth <= 0:
            return self.leaf()
        a, b = self.wide(depth - 1), self.wide(depth - 1)
        choice = self.random.randrange(7)
        if choice < 3:
            return f"({a} {('+', '-', '*')[choice]} {b})"
        if choice == 3:
            return f"({a} << ({self._amount()}))"
        if choice == 4:
            return f"~{a}"
        if choice == 5:
            return f"({a} {self.random.choice(('&', '|', '^'))} {b})"
        return f"-{a}"

    def boolean(self, depth: int) -> str:
        """Give a bool."""
        choice = self.random.randrange(8)
        if depth <= 0 or choice == 0:
            return self.random.choice((*self.bools, "v.timer.enabled", "True", "False"))
        if choice == 1:
            return f"(not {self.boolean(depth - 1)})"
        if choice == 2:
            op = self.random.choice(("and", "or", "&", "|", "^", "==", "!="))
            return f"({self.boolean(depth - 1)} {op} {self.boolean(depth - 1)})"
        if choice == 3:
            a, b, c = (self.integer(depth - 1) for _ in range(3))
            return f"({a} <= {b} < {c})"
        if choice == 4:
            word = self.random.choice(("in", "not in"))
            return f"({self.integer(depth - 1)} {word} (1, Kind.HVC, {self.constant_number()}))"
        if choice == 5 and len(self.addresses) > 1:
            first, second = self.random.sample(self.addresses, 2)
            return f"({first} {self.random.choice(COMPARISONS)} {second})"
        op = self.random.choice(COMPARISONS)
        left = self.integer(depth - 1)
        # Random values are hardly ever equal: now and then both sides are the same.
        right = left if self.random.random() < 0.25 else self.integer(depth - 1)
        return f"({left} {op} {right})"

    def constant_number(self) -> str:
        """Give a literal number."""
        return hex(self.random.choice(INTERESTING))

    def condition(self) -> str:
        """Give what may stand after `if`: a bool, or an integer taken as one."""
        if self.random.random() < 0.3:
            return f"{self.integer(1)} & {self.constant()}"
        if self.random.random() < 0.3:
            op = self.random.choice(("and", "or"))
            return f"({self.integer(1)} {op} {self.boolean(1)})"
        return self.boolean(2)
