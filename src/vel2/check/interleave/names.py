"""What lies at an address, in the words of the protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vel2.hyp import layout
from vel2.hyp.state import PoolPage, Vcpu, Vm
from vel2.lang.structs import StructMeta

if TYPE_CHECKING:
    from vel2.check.interleave.board import Board

__all__ = ("field_at", "name_of")


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


def name_of(board: Board, word: int) -> str:
    """Name a word of a board's memory."""
    if word < 0:
        return "what hardware may do"
    vm = board.vm
    with board.unwatched():
        base = vm.config.l0_base
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
        if word in board.machine.tables:
            entry = address % layout.PAGE_BYTES // 8
            return f"entry {entry} of {board.table_name(address & -layout.PAGE_BYTES)}"
        return board.l1_name(address)
