"""What lies at an address, in the words of the protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vel2.check.interleave.ground import END, GUEST_BYTES, IPAS, PAGES_OFFSET, RAM_BASE, RAM_BYTES
from vel2.hyp import layout
from vel2.hyp.gicstate import Gic
from vel2.hyp.state import PoolPage, Vcpu, Vm
from vel2.lang.structs import StructMeta

if TYPE_CHECKING:
    from vel2.check.interleave.stage import Stage

__all__ = ("field_at", "name_of", "page_name", "table_name")


def field_at(struct: StructMeta, offset: int) -> str:
    """Give the path of the field at an offset: `stage2.shadows[3].dirty`."""
    for name, field in struct.fields.items():
        if not field.offset <= offset < field.offset + field.size:
            continue
        inside = offset - field.offset
        path = name
        if field.count is not None:
            path += f"[{inside // field.stride}]"
            inside %= field.stride
        if isinstance(field.element, StructMeta):
            below = field_at(field.element, inside)
            return f"{path}.{below}" if below else path
        return path
    return ""


def name_of(board: Stage, word: int) -> str:
    """Name a word of a board's memory."""
    if word < 0:
        return "what hardware may do"
    vm = board.vm
    with board.unwatched():
        base = board.machine.memory_base
        address = base + word * 8
        if address < base + Vm.size:
            return field_at(Vm, address - base)
        if vm.config.pcpus <= address < vm.config.pool_base:
            number, offset = divmod(address - vm.config.pcpus, layout.PCPU_BYTES)
            if layout.VCPU_IN_PCPU <= offset < layout.VCPU_IN_PCPU + Vcpu.size:
                return f"vcpu {number}.{field_at(Vcpu, offset - layout.VCPU_IN_PCPU)}"
            return f"VNCR page {number}, slot {(offset - layout.VNCR_IN_PCPU) // 8}"
        if address < vm.stage2.canonical.root:
            index, offset = divmod(address - vm.config.pool_base, PoolPage.size)
            return f"record of pool page {index}"
        if word in board.machine.tlbs.windows:
            return f"window of pcpu {word - board.machine.tlbs.windows.start}"
        if word in board.machine.tables:
            entry = address % layout.PAGE_BYTES // 8
            return f"entry {entry} of {table_name(vm, address & -layout.PAGE_BYTES)}"
        if address >= END:
            return field_at(Gic, address - END) or f"the GIC's tables at {address - END:#x}"
        return l1_name(address)


def page_name(output: int) -> str:
    """Name a page of L1."""
    number = output - RAM_BASE - PAGES_OFFSET >> layout.PAGE_SHIFT
    if not 0 <= number < RAM_BYTES - PAGES_OFFSET >> layout.PAGE_SHIFT:
        return f"{output:#x}"
    ipa = IPAS[number >> 1 & 1]
    return f"page {'AB'[number & 1]} of guest {number >> 2}'s IPA {ipa:#x}"


def l1_name(address: int) -> str:
    """Name a word of L1's memory."""
    guest, offset = divmod(address - RAM_BASE, GUEST_BYTES)
    level, place = divmod(offset, layout.PAGE_BYTES)
    if address < RAM_BASE + PAGES_OFFSET and level < 3:
        return f"entry {place // 8} of L1's table at level {level + 1} of guest {guest}"
    return f"L1's memory at {address:#x}"


def table_name(vm: Vm, table: int) -> str:
    """Name a table that hardware walks."""
    if table < vm.stage2.pool_first_page:
        return f"root {(table - vm.stage2.canonical.root) >> layout.PAGE_SHIFT}"
    return f"pool page {(table - vm.stage2.pool_first_page) >> layout.PAGE_SHIFT}"
