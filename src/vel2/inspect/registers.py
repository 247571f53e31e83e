"""The registers of a vCPU as each level sees them, by Arm's names.

Three views. `vel2` is what an MRS at virtual EL2 would read. Names mean what they mean there, so
with E2H=1 SCTLR_EL1 is SCTLR_EL2, and L2's is SCTLR_EL12. `l2` is what an MRS at EL1 below would
read. `hw` is what hardware holds, for whichever level runs; L0's own at EL2 among it.

A write is made as the level would make it. Where that is a store of L1 to the VNCR page, it is one;
else the vCPU executes the MSR, where it stands, and L0 does what it does for L1. What cannot be
made so is refused, with a sentence: nothing is ever written behind L0's back.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.arch.features import feature_of
from vel2.arch.vncr import redirected
from vel2.errors import UserError
from vel2.explain.register import WIDTH, find_register
from vel2.hyp.el2regs import TABLE
from vel2.hyp.homes import SWITCHED
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, LEVEL_NV2
from vel2.inspect.frozen import SHADOWED_BY, is_ich, is_identification
from vel2.inspect.value import Value

if TYPE_CHECKING:
    from vel2.inspect.vcpu import Vcpu

__all__ = ("Hardware", "Registers", "VirtualEL1", "VirtualEL2")

RECORDS = {record.name: record for record in TABLE}
EL2_OP1 = 4
OF_INTERFACE = re.compile(r"ICH_(LR|AP[01]R)(\d+)_EL2")
WITH_E2H: dict[type[Register], type[Register]] = {
    register: sr.by_name(f"{register.name}_E2H")
    for register in (sr.CPTR_EL2, sr.CNTHCTL_EL2, sr.TCR_EL2)
}
"""Layouts that HCR_EL2.E2H changes."""
AT_TIMES = (
    *(sr.MDSCR_EL1, sr.CNTV_CTL_EL02, sr.CNTV_CVAL_EL02, sr.CNTP_CTL_EL02, sr.CNTP_CVAL_EL02),
)
"""Names of the VNCR page that L0 makes trap now and then: a store to the page is not all."""


class Registers(ABC):
    """One level's view: `view.HCR_EL2`, `view["HCR_EL2"]`, and assignment to either.

    :raises UserError: for a name that is no register, or that the level has not; while the machine
        runs.
    """

    title: str

    def __init__(self, vcpu: Vcpu) -> None:
        object.__setattr__(self, "_vcpu", vcpu)

    _vcpu: Vcpu

    def layout_of(self, register: type[Register]) -> type[Register]:
        """Give the layout that a register has for this level."""
        return register

    @abstractmethod
    def read(self, register: type[Register]) -> int:
        """Read a register of this level."""

    @abstractmethod
    def write(self, register: type[Register], value: int) -> None:
        """Write a register of this level."""

    def __getitem__(self, name: str) -> Value:
        register = find_register(name)
        self._vcpu.require_paused()
        if register.access == "WO":
            raise UserError(f"{register.name} can only be written; there is nothing to read.")
        return Value(self.layout_of(register), self.read(register))

    def __setitem__(self, name: str, value: int) -> None:
        register = find_register(name)
        self._vcpu.require_paused()
        if register.access == "RO":
            raise UserError(f"{register.name} can only be read; nothing can be written to it.")
        if not 0 <= value < 1 << WIDTH:
            raise UserError(f"{value:#x} is no value of {register.name}, which has {WIDTH} bits.")
        self.write(register, int(value))
        self._vcpu.changed()

    def __getattr__(self, name: str) -> Value:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __setattr__(self, name: str, value: int) -> None:
        self[name] = value

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(register.name for register in sr.ALL_REGISTERS)]

    def dump(self) -> Iterator[Value]:
        """Give every register that can be read now."""
        for register in sr.ALL_REGISTERS:
            try:
                yield self[register.name]
            except UserError:
                continue

    def __repr__(self) -> str:
        return f"<registers of {self.title}, vCPU {self._vcpu.index}>"


class Hardware(Registers):
    """What hardware holds, whoever runs."""

    title = "hardware"

    def read(self, register: type[Register]) -> int:
        """Ask QEMU.

        :raises UserError: when it does not show the register.
        """
        value = self._vcpu.hardware(register.trap_key)
        if value is None:
            raise UserError(
                f"QEMU's gdb server does not show {register.name}; `vel2.{register.name}` or"
                f" `l2.{register.name}` may, where L0 keeps its value."
            )
        return value

    def write(self, register: type[Register], value: int) -> None:
        """Refuse.

        :raises UserError: always.
        """
        raise UserError(
            f"hardware's {register.name} is not written: L0 keeps it, and would not know; write it"
            " as a level does, by `vel2` or `l2`."
        )


class VirtualEL2(Registers):
    """What L1 finds at virtual EL2, whether it runs now or its guest does."""

    title = "virtual EL2"

    def layout_of(self, register: type[Register]) -> type[Register]:
        """Give the layout for L1's E2H."""
        return WITH_E2H.get(register, register) if self._vcpu.e2h else register

    def read(self, register: type[Register]) -> int:
        """Read as an MRS at vEL2.

        :raises UserError: when that would be UNDEFINED.
        """
        vcpu = self._vcpu
        frozen = vcpu.frozen(CONTEXT_VEL2)
        if is_ich(register) and vcpu.context == CONTEXT_VEL1:
            raise UserError(
                f"{register.name} is in hardware while vEL1 runs, and QEMU's gdb server does not"
                " show it; run to vEL2 (vcpu.run_to('vel2')) and read it there."
            )
        if register is sr.SP_EL2:
            return frozen.hardware(sr.SP_EL1)  # no MRS names it, but there it is
        if register in SHADOWED_BY:
            return frozen.hardware(SHADOWED_BY[register])
        if is_identification(register):
            return frozen.identification(register)
        record = RECORDS.get(register)
        home = None if record is None else record.with_e2h if vcpu.e2h else record.without_e2h
        if record is None or home is None:
            if register.encoding.op1 >= EL2_OP1:
                raise self._undefined(register, "MRS")
            return frozen.hardware(register)
        slot = self._slot(register)
        if self._is_undefined(register, slot, is_read=True):
            raise self._undefined(register, "MRS")
        if slot is not None:
            return frozen.shown(register, vcpu.page_of(frozen).slot[slot])
        return frozen.read_trapped(register)

    def _is_undefined(self, register: type[Register], slot: int | None, *, is_read: bool) -> bool:
        """Whether an access is an exception: by hardware where it does not trap, else by L0."""
        if self._is_beyond(register):
            return True
        if slot is None:
            return self._vcpu.frozen(CONTEXT_VEL2).refuses(register, is_read=is_read)
        feature = feature_of(register)
        if feature is not None:
            found = self._vcpu.hardware(feature.register.trap_key)
            if found is not None and feature.field.get(found) < feature.value:
                return True
        return False

    def _is_beyond(self, register: type[Register]) -> bool:
        """Whether a register of the virtual interface is one more than the machine has."""
        found = OF_INTERFACE.fullmatch(register.name)
        if found is None:
            return False
        probed = self._vcpu.machine.vm.state.probed
        there = probed.list_registers if found[1] == "LR" else probed.active_priorities
        return int(found[2]) >= int(there)

    def _slot(self, register: type[Register]) -> int | None:
        """Give the slot of the VNCR page that FEAT_NV2 makes of a name."""
        if self._vcpu.nv_level != LEVEL_NV2:
            return None
        offset = redirected(NV1=not self._vcpu.e2h).get(register.trap_key)
        return None if offset is None or register not in RECORDS else offset // 8

    def _undefined(self, register: type[Register], instruction: str) -> UserError:
        return UserError(
            f"vEL2 has no {register.name}: an {instruction} of it is UNDEFINED there"
            f" (`vel2 explain {register.name}`)."
        )

    def write(self, register: type[Register], value: int) -> None:
        """Write as an MSR at vEL2.

        :raises UserError: when vEL2 does not run, or an MSR would be UNDEFINED.
        """
        vcpu = self._vcpu
        if vcpu.context != CONTEXT_VEL2:
            raise UserError(
                f"vCPU {vcpu.index} runs vEL1, under what L1 had set when it entered it; run to"
                f" vEL2 (vcpu.run_to('vel2')) before {register.name} is written."
            )
        has_record = register in RECORDS
        slot = self._slot(register)
        if has_record and self._is_undefined(register, slot, is_read=False):
            raise self._undefined(register, "MSR")
        if slot is not None and register not in AT_TIMES:
            vcpu.page_of(vcpu.state).slot[slot] = value
            return
        if not has_record and register.encoding.op1 >= EL2_OP1:
            raise self._undefined(register, "MSR")
        vcpu.execute_msr(register, value)


class VirtualEL1(Registers):
    """What vEL1 finds: L2, or the kernel of an nVHE host."""

    title = "virtual EL1"

    def read(self, register: type[Register]) -> int:
        """Read as an MRS at vEL1 that L1 does not trap.

        :raises UserError: when EL1 has no such register, or L1 answers for it.
        """
        vcpu = self._vcpu
        self._require(register)
        frozen = vcpu.frozen(CONTEXT_VEL1)
        if register in SHADOWED_BY:
            return frozen.hardware(SHADOWED_BY[register])
        if is_identification(register):
            if frozen.is_asked_by_l1(register, is_read=True):
                raise UserError(
                    f"L1 has {register.name} trap (HCR_EL2.TID3) and answers for it; vel2 cannot"
                    " know what."
                )
            return frozen.identification(register)
        return frozen.hardware(register)

    def _require(self, register: type[Register]) -> None:
        if register.encoding.op1 >= EL2_OP1:
            raise UserError(
                f"vEL1 has no {register.name}: it is a register of EL2; `vel2.{register.name}` is"
                " L1's."
            )

    def write(self, register: type[Register], value: int) -> None:
        """Write as an MSR at vEL1, or while vEL2 runs as L1 writes what vEL1 will find.

        :raises UserError: when it cannot be done so.
        """
        vcpu = self._vcpu
        self._require(register)
        if vcpu.context == CONTEXT_VEL1:
            if vcpu.frozen(CONTEXT_VEL1).is_asked_by_l1(register, is_read=False):
                raise UserError(
                    f"L1 has writes of {register.name} trap, and would be asked; run to vEL2 and"
                    f" write what vEL1 will find there."
                )
            vcpu.execute_msr(register, value)
            return
        row = next((row for row in SWITCHED if row.hardware is register), None)
        if row is None or row.vncr_slot < 0:
            raise UserError(
                f"{register.name} of vEL1 cannot be written while vEL2 runs; run to vEL1"
                " (vcpu.run_to('vel1')) and write it there."
            )
        vcpu.page_of(vcpu.state).slot[row.vncr_slot] = value
