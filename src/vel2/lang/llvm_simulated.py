"""LLVM IR for the simulated machine: the same functions, acting on a `SimulationBlock`.

The module has a pointer `vel2_simulation` to the block, which whoever runs the code sets, and a
64-bit variable for every symbol and every constant bytes object whose address is asked for. What
the machine could not do is counted in the block as a fault, and the code goes on harmlessly: an
index becomes 0, a reference points to scratch memory.
"""

from __future__ import annotations

from vel2.lang.ir import Blob, Function, Instruction, Kind, Module, SystemName
from vel2.lang.llvm import HardwareWriter
from vel2.lang.sim import (
    FAULT_INDEX,
    FAULT_MEMORY,
    FAULT_UNREACHABLE,
    LOG_ENTRIES,
    ORDERING,
    ORDERING_KEY,
    LogEntry,
    SimulationBlock,
)

SIMULATION = "vel2_simulation"

_OFFSETS = {
    **{f"<{name}>": str(field.offset) for name, field in SimulationBlock.fields.items()},
    "<value>": str(LogEntry.offset_of("value")),
    "<entry>": str(LogEntry.size),
    "<entries>": str(LOG_ENTRIES),
    "<fault>": str(FAULT_MEMORY),
}

_HELPERS = """
@vel2_simulation = dso_local global ptr null, align 8

define internal void @vel2.fault(i64 %kind, i64 %what) #0 {
  %block = load ptr, ptr @vel2_simulation, align 8
  %countp = getelementptr i8, ptr %block, i64 <fault_count>
  %count = load i64, ptr %countp, align 8
  %more = add i64 %count, 1
  store i64 %more, ptr %countp, align 8
  %is_first = icmp eq i64 %count, 0
  br i1 %is_first, label %first, label %end
first:
  %kindp = getelementptr i8, ptr %block, i64 <fault_kind>
  store i64 %kind, ptr %kindp, align 8
  %whatp = getelementptr i8, ptr %block, i64 <fault_address>
  store i64 %what, ptr %whatp, align 8
  br label %end
end:
  ret void
}

define internal void @vel2.log(i64 %key, i64 %value) #0 {
  %block = load ptr, ptr @vel2_simulation, align 8
  %countp = getelementptr i8, ptr %block, i64 <log_count>
  %count = load i64, ptr %countp, align 8
  %more = add i64 %count, 1
  store i64 %more, ptr %countp, align 8
  %slot = urem i64 %count, <entries>
  %offset = mul i64 %slot, <entry>
  %log = getelementptr i8, ptr %block, i64 <log>
  %entry = getelementptr i8, ptr %log, i64 %offset
  store i64 %key, ptr %entry, align 8
  %valuep = getelementptr i8, ptr %entry, i64 <value>
  store i64 %value, ptr %valuep, align 8
  ret void
}

define internal ptr @vel2.translate(i64 %address, i64 %size, i64 %low_bits) #0 {
  %block = load ptr, ptr @vel2_simulation, align 8
  %basep = getelementptr i8, ptr %block, i64 <memory_base>
  %base = load i64, ptr %basep, align 8
  %sizep = getelementptr i8, ptr %block, i64 <memory_size>
  %memory = load i64, ptr %sizep, align 8
  %offset = sub i64 %address, %base
  %last = sub i64 %memory, %size
  %fits = icmp ule i64 %size, %memory
  %below = icmp ule i64 %offset, %last
  %low = and i64 %address, %low_bits
  %aligned = icmp eq i64 %low, 0
  %inside = and i1 %fits, %below
  %good = and i1 %inside, %aligned
  br i1 %good, label %yes, label %no
yes:
  %biasp = getelementptr i8, ptr %block, i64 <memory_bias>
  %bias = load i64, ptr %biasp, align 8
  %host = add i64 %address, %bias
  %pointer = inttoptr i64 %host to ptr
  ret ptr %pointer
no:
  call void @vel2.fault(i64 <fault>, i64 %address)
  ret ptr @vel2.scratch
}
"""


class SimulatedWriter(HardwareWriter):
    """Writes a module for the simulated machine; indices are always checked."""

    has_lines = False

    def __init__(self, module: Module) -> None:
        super().__init__(module, check_bounds=True)
        self.function_result: Kind | None = None

    def _globals(self) -> list[str]:
        sizes = [64]
        for function in self.module.functions.values():
            for instruction in function.instructions():
                if instruction.op == "at":
                    (size,) = instruction.attributes
                    assert isinstance(size, int)
                    sizes.append(size)
        text = _HELPERS
        for name, value in _OFFSETS.items():
            text = text.replace(name, value)
        scratch = f"@vel2.scratch = internal global [{max(sizes)} x i8] zeroinitializer, align 64"
        return [*super()._globals(), scratch, text]

    def _function(self, function: Function) -> None:
        self.function_result = function.result
        super()._function(function)

    def checked_index(self, index: str, count: str) -> str:
        """Count a fault and use 0 unless index < count."""
        number = self.temporaries
        inside = self.new(f"icmp ult i64 {index}, {count}")
        safe = self.new(f"select i1 {inside}, i64 {index}, i64 0")
        self.line(f"br i1 {inside}, label %in.{number}, label %out.{number}")
        self.lines.append(f"out.{number}:")
        self.line(f"call void @vel2.fault(i64 {FAULT_INDEX}, i64 {index})")
        self.line(f"br label %in.{number}")
        self.lines.append(f"in.{number}:")
        return safe

    def _op_at(self, instruction: Instruction) -> None:
        (address,) = self._values(instruction)
        (size,) = instruction.attributes
        self.result(instruction, f"call ptr @vel2.translate(i64 {address}, i64 {size}, i64 0)")

    def _bias(self) -> str:
        block = self.new(f"load ptr, ptr @{SIMULATION}, align 8")
        offset = SimulationBlock.offset_of("memory_bias")
        return self.new(f"load i64, ptr {self.new(f'getelementptr i8, ptr {block}, i64 {offset}')}")

    def _op_address(self, instruction: Instruction) -> None:
        (reference,) = self._values(instruction)
        host = self.new(f"ptrtoint ptr {reference} to i64")
        self.result(instruction, f"sub i64 {host}, {self._bias()}")

    def pointer(self, instruction: Instruction, address: str) -> str:
        """Turn a physical address into a pointer to simulated memory."""
        width = instruction.attributes[0]
        assert isinstance(width, int)
        size = width // 8
        return self.new(f"call ptr @vel2.translate(i64 {address}, i64 {size}, i64 {size - 1})")

    def _variable(self, instruction: Instruction, name: str) -> None:
        self.declared.setdefault(name, f"@{name} = dso_local global i64 0, align 8")
        self.result(instruction, f"load i64, ptr @{name}, align 8")

    def _op_symbol(self, instruction: Instruction) -> None:
        self._variable(instruction, f"symbol.{instruction.attributes[0]}")

    def _op_bytes(self, instruction: Instruction) -> None:
        (blob,) = instruction.attributes
        assert isinstance(blob, Blob)
        self._variable(instruction, f"address.{blob.name}")

    def _register_slot(self, instruction: Instruction) -> str:
        (register,) = instruction.attributes
        assert isinstance(register, SystemName)
        block = self.new(f"load ptr, ptr @{SIMULATION}, align 8")
        offset = SimulationBlock.offset_of(f"registers[{register.trap_key}]")
        return self.new(f"getelementptr i8, ptr {block}, i64 {offset}")

    def _op_mrs(self, instruction: Instruction) -> None:
        self.result(instruction, f"load i64, ptr {self._register_slot(instruction)}, align 8")

    def _op_msr(self, instruction: Instruction) -> None:
        (value,) = self._values(instruction)
        self.line(f"store i64 {value}, ptr {self._register_slot(instruction)}, align 8")

    def _log(self, key: int, value: str) -> None:
        self.line(f"call void @vel2.log(i64 {key}, i64 {value})")

    def _op_sysop(self, instruction: Instruction) -> None:
        (name,) = instruction.attributes
        assert isinstance(name, SystemName)
        self._log(name.trap_key, self._values(instruction)[0])

    def _op_sysop0(self, instruction: Instruction) -> None:
        (name,) = instruction.attributes
        assert isinstance(name, SystemName)
        self._log(name.trap_key, "0")

    def _op_barrier(self, instruction: Instruction) -> None:
        self._log(ORDERING_KEY + ORDERING.index(str(instruction.attributes[0])), "0")

    def _op_hint(self, instruction: Instruction) -> None:
        self._op_barrier(instruction)

    def _op_unreachable(self, instruction: Instruction) -> None:
        """Count a fault and return, so that the test lives to tell."""
        self.line(f"call void @vel2.fault(i64 {FAULT_UNREACHABLE}, i64 0)")
        zeros = {Kind.INT: "i64 0", Kind.BOOL: "i1 false", Kind.REF: "ptr @vel2.scratch"}
        self.line(
            "ret void" if self.function_result is None else f"ret {zeros[self.function_result]}"
        )
