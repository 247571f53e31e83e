"""What resident code may do besides computing: registers, instructions, memory.

Each function is plain Python that acts on the current `Simulation`; `lower_calls.py` gives the same
function its machine meaning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from vel2.lang.sim import ORDERING, ORDERING_KEY, Encoded, SimulationError, current
from vel2.lang.structs import ArrayView, Struct, StructT
from vel2.lang.types import PA, WORD_BITS, WORD_MASK

if TYPE_CHECKING:
    from vel2.arch.bits import Register

    RegisterType = type[Register]


def mrs(register: RegisterType) -> int:
    """Read a system register."""
    value: int = current().registers[register.trap_key]
    return value


def msr(register: RegisterType, value: int) -> None:
    """Write a system register."""
    try:
        current().registers[register.trap_key] = value
    except ValueError:
        raise SimulationError(
            f"{register.name} cannot hold {value:#x}: wrap it in u64(...)"
        ) from None


def sysop(instruction: Encoded, value: int | None = None) -> None:
    """Execute a system instruction (TLBI, AT, IC, DC, ...), with its operand if it takes one."""
    current().log_operation(instruction.trap_key, 0 if value is None else value)


def _order(name: str) -> None:
    current().log_operation(ORDERING_KEY + ORDERING.index(name))


def isb() -> None:
    """Synchronize the context: ISB."""
    _order("isb")


def dsb_sy() -> None:
    """Complete all memory accesses: DSB SY."""
    _order("dsb sy")


def dsb_ish() -> None:
    """Complete memory accesses in the inner shareable domain: DSB ISH."""
    _order("dsb ish")


def dsb_ishst() -> None:
    """Complete stores in the inner shareable domain: DSB ISHST."""
    _order("dsb ishst")


def dsb_nsh() -> None:
    """Complete memory accesses of this PE: DSB NSH."""
    _order("dsb nsh")


def dmb_sy() -> None:
    """Order all memory accesses: DMB SY."""
    _order("dmb sy")


def dmb_ish() -> None:
    """Order memory accesses in the inner shareable domain: DMB ISH."""
    _order("dmb ish")


def dmb_ishst() -> None:
    """Order stores in the inner shareable domain: DMB ISHST."""
    _order("dmb ishst")


def wfi() -> None:
    """Wait for an interrupt: WFI."""
    _order("wfi")


def wfe() -> None:
    """Wait for an event: WFE."""
    _order("wfe")


def sev() -> None:
    """Send an event to all PEs: SEV."""
    _order("sev")


def nop() -> None:
    """Do nothing: NOP."""
    _order("nop")


def yield_() -> None:
    """Hint that this PE is spinning: YIELD."""
    _order("yield")


def at(struct: type[StructT], address: int) -> StructT:
    """Refer to the structure at a physical address."""
    return current().at(struct, address)


def address_of(instance: Struct) -> int:
    """Give the physical address of a structure."""
    return current().address_of(instance)


def load_u8(address: PA) -> int:
    """Read one byte; never merged, dropped or reordered against other such accesses."""
    return current().load(1, address)


def load_u16(address: PA) -> int:
    """Read two bytes; see `load_u8`."""
    return current().load(2, address)


def load_u32(address: PA) -> int:
    """Read four bytes; see `load_u8`."""
    return current().load(4, address)


def load_u64(address: PA) -> int:
    """Read eight bytes; see `load_u8`."""
    return current().load(8, address)


def store_u8(address: PA, value: int) -> None:
    """Write one byte; see `load_u8`."""
    current().store(1, address, value)


def store_u16(address: PA, value: int) -> None:
    """Write two bytes; see `load_u8`."""
    current().store(2, address, value)


def store_u32(address: PA, value: int) -> None:
    """Write four bytes; see `load_u8`."""
    current().store(4, address, value)


def store_u64(address: PA, value: int) -> None:
    """Write eight bytes; see `load_u8`."""
    current().store(8, address, value)


def load_acquire_u32(address: PA) -> int:
    """Read four bytes before all later accesses: LDAR."""
    return current().load_acquire(4, address)


def load_acquire_u64(address: PA) -> int:
    """Read eight bytes before all later accesses: LDAR."""
    return current().load_acquire(8, address)


def store_release_u32(address: PA, value: int) -> None:
    """Write four bytes after all earlier accesses: STLR."""
    current().store_release(4, address, value)


def store_release_u64(address: PA, value: int) -> None:
    """Write eight bytes after all earlier accesses: STLR."""
    current().store_release(8, address, value)


def swap_u64(address: PA, value: int) -> int:
    """Replace eight bytes and give the old ones, as one access: SWPAL."""
    return current().update(address, lambda old: value)


def fetch_add_u64(address: PA, value: int) -> int:
    """Add to eight bytes and give the old ones, as one access: LDADDAL."""
    return current().update(address, lambda old: (old + value) & WORD_MASK)


def compare_exchange_u64(address: PA, expected: int, value: int) -> int:
    """Replace eight bytes if they are `expected`, and give the old ones, as one access: CASAL."""
    return current().update(address, lambda old: value if old == expected else None)


def vload(instance: Struct, name: str, index: int | None = None) -> int:
    """Read a field (or an element of an array field) as memory that others change."""
    value: Any = getattr(instance, name)
    if isinstance(value, ArrayView) and index is not None:
        value = value[index]
    return int(value)


def vstore(instance: Struct, name: str, value: int, index: int | None = None) -> None:
    """Write a field (or an element of an array field) as memory that others read."""
    if index is None:
        setattr(instance, name, value)
    else:
        getattr(instance, name)[index] = value


def clz(value: int) -> int:
    """Count leading zeros of 64 bits; 64 for 0."""
    return WORD_BITS - value.bit_length()


def ctz(value: int) -> int:
    """Count trailing zeros; 64 for 0."""
    return (value & -value).bit_length() - 1 if value else WORD_BITS


def rbit(value: int) -> int:
    """Reverse the order of 64 bits."""
    return int(f"{value:064b}"[::-1], 2)


def unreachable() -> NoReturn:
    """Say that control never gets here."""
    raise SimulationError("unreachable() was reached")


def symbol_address(name: str) -> int:
    """Give the address of a label of the image; what the simulation registered, else 0."""
    return current().symbols.get(name, 0)


def bytes_address(data: bytes) -> int:
    """Give the address of constant bytes; they are placed in the image, read-only."""
    return current().place_bytes(data)
