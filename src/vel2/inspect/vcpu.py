"""One virtual CPU of a running machine: what it does, and what each level sees through it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vel2.arch import sysregs as sr
from vel2.arch.a64 import system_move
from vel2.arch.bits import Register
from vel2.arch.esr import FSC
from vel2.arch.pstate import PSTATE_EL, PSTATE_SP, M_EL1h, M_EL1t, M_EL2h, M_EL2t, SPSR_ELx
from vel2.control.counters import TrapCount, sysreg_traps, traps
from vel2.errors import UserError
from vel2.explain.register import find_register
from vel2.hyp import layout
from vel2.hyp.mailbox import Order
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, VncrPage
from vel2.hyp.state import Vcpu as State
from vel2.inspect.frozen import CONTEXTS, Frozen
from vel2.inspect.hooked import PC as HOOKED_PC
from vel2.inspect.hooked import PSTATE as HOOKED_PSTATE
from vel2.inspect.hooked import X as HOOKED_X
from vel2.inspect.injection import inject
from vel2.inspect.mailbox import Box
from vel2.inspect.memory import LevelMemory
from vel2.inspect.registers import Hardware, VirtualEL1, VirtualEL2
from vel2.inspect.tables import Fault
from vel2.inspect.value import Value
from vel2.inspect.walk import Walk, walk_ipa_of_l1, walk_ipa_of_l2, walk_l2, walk_vel2
from vel2.lang import Struct
from vel2.machine.gdbstub import PC, PSTATE, General
from vel2.machine.sysregs import qemu_name

if TYPE_CHECKING:
    from vel2.inspect.vm import Machine

__all__ = ("Vcpu",)

INSTRUCTION_BYTES = 4
ENTRY_BYTES = 8
X_COUNT = 31
EL_SHIFT = 2
LEFT_BY_EXCEPTION: dict[int, tuple[type[Register], ...]] = {
    CONTEXT_VEL2: (sr.ESR_EL2, sr.SPSR_EL2, sr.ELR_EL2),
    CONTEXT_VEL1: (sr.ESR_EL1, sr.SPSR_EL1, sr.ELR_EL1),
}
"""What an exception that the level takes itself writes, by their names there."""
BELIEVED = {M_EL1h: M_EL2h, M_EL1t: M_EL2t}
"""PSTATE.M of vEL2, by hardware's."""


class Vcpu:
    """A vCPU, which is a CPU of QEMU's. All of it needs the machine paused.

    :ivar index: its number.
    :ivar vel2: registers as L1 sees them at virtual EL2.
    :ivar l2: registers as vEL1 sees them, which is L2, or the kernel of an nVHE host; also `vel1`.
    :ivar hw: what hardware holds.
    """

    def __init__(self, machine: Machine, index: int) -> None:
        self.machine = machine
        self.index = index
        self.vel2 = VirtualEL2(self)
        self.l2 = VirtualEL1(self)
        self.vel1 = self.l2
        self.hw = Hardware(self)
        self.vel2_memory = LevelMemory(self, "vel2")
        self.l2_memory = LevelMemory(self, "l2")
        self._frozen: dict[int, Frozen] = {}
        self._general: General | None = None
        self._system: dict[int, int | None] = {}

    # What it is doing.

    @property
    def level(self) -> str:
        """Who runs: `vel2` (L1, or the EL0 of a VHE host) or `vel1` (below L1, normally L2)."""
        return "vel2" if self.context == CONTEXT_VEL2 else "vel1"

    @property
    def el(self) -> int:
        """The Exception level, as the one who runs believes: 0, 1 or 2."""
        el = (self.general.pstate & PSTATE_EL) >> EL_SHIFT
        return 2 if el == 1 and self.context == CONTEXT_VEL2 else el

    @property
    def pc(self) -> int:
        """The address of the next instruction."""
        return self.general.pc

    @pc.setter
    def pc(self, value: int) -> None:
        self.require_paused()
        if (box := self.machine.box_of(self.index)) is not None:
            box.state[HOOKED_PC] = value
            self.changed()
            return
        self.machine.stub.write_general(self.index, PC, value)
        self.changed()

    @property
    def sp(self) -> int:
        """The stack pointer in use."""
        return self.general.sp

    @property
    def x(self) -> tuple[int, ...]:
        """x0 to x30; `set_x` changes one."""
        return self.general.x

    def set_x(self, number: int, value: int) -> None:
        """Write x0 to x30.

        :raises UserError: when there is no such register.
        """
        if not 0 <= number < len(self.general.x) or not 0 <= value < 1 << 64:
            raise UserError(f"x{number} cannot be {value:#x}; there are x0 to x30, of 64 bits.")
        self.require_paused()
        if (box := self.machine.box_of(self.index)) is not None:
            box.state[HOOKED_X + number] = value
        else:
            self.machine.stub.write_general(self.index, number, value)
        self.changed()

    @property
    def pstate(self) -> Value:
        """PSTATE, laid out as SPSR_ELx, with the mode that the one who runs believes to be in."""
        pstate = self.general.pstate
        mode = SPSR_ELx.M.get(pstate)
        if self.context == CONTEXT_VEL2 and SPSR_ELx.nRW.get(pstate) == 0:
            mode = BELIEVED.get(mode, mode)
        return Value(SPSR_ELx, SPSR_ELx.M.set(pstate, mode))

    @property
    def is_on(self) -> bool:
        """Whether L1 has turned it on (PSCI)."""
        return self.machine.is_on(self.index)

    def __repr__(self) -> str:
        if not self.machine.is_paused:
            return f"<vCPU {self.index}, running>"
        if not self.is_on:
            return f"<vCPU {self.index}, off>"
        return f"<vCPU {self.index} at {self.level}, EL{self.el}, pc {self.pc:#x}>"

    def traps(self) -> list[TrapCount]:
        """Count this vCPU's traps so far by exception class and level, largest first."""
        return traps([self.state])

    def sysreg_traps(self) -> dict[str, int]:
        """Count this vCPU's traps so far by system register and instruction, largest first."""
        return sysreg_traps([self.state])

    # Where addresses lead.

    def walk(self, va: int, level: str | None = None) -> Walk:
        """Translate a virtual address step by step, as the running level or another does.

        :param level: `vel2`, or `l2` (also `vel1`).
        """
        self.require_paused()
        wanted = self.named(level)
        return walk_vel2(self, va) if wanted == CONTEXT_VEL2 else walk_l2(self, va)

    def walk_ipa(self, ipa: int, level: str | None = None) -> Walk:
        """Translate what a level takes to be a physical address."""
        self.require_paused()
        if self.named(level) == CONTEXT_VEL2:
            return walk_ipa_of_l1(self, ipa)
        return walk_ipa_of_l2(self, ipa)

    def load_entry(self, pa: int) -> bytes:
        """Read a descriptor, as a walk does.

        :raises Fault: when no RAM is there.
        """
        try:
            return self.machine.memory.read(pa, ENTRY_BYTES)
        except ValueError:
            raise Fault(FSC.SYNC_EXTERNAL) from None

    # Running.

    def run_to(self, level: str, timeout: float = 60.0) -> None:
        """Let the machine run until this vCPU is at a level: `vel2`, or `l2` (also `vel1`).

        :raises UserError: when it does not come there in time.
        """
        wanted = self.named(level)
        self.machine.pause()
        place = self.place("context")
        while self.context != wanted or not self.is_on:
            # An AT of L1's changes there and back within one trap: what counts is behind it.
            self.machine.run_until_store([place], lambda cpu: cpu == self.index, timeout)

    def step(self) -> None:
        """Execute one instruction of this vCPU; a trap, and what L0 does for it, are part of it."""
        self.require_paused()
        self.machine.step(self.index)

    def inject(
        self,
        what: str | int,
        level: str | None = None,
        *,
        far: int | None = None,
        ipa: int | None = None,
        iss: int | None = None,
    ) -> None:
        """Have it take an exception before its next instruction; then it is at that vector.

        :param what: `undefined`, `abort`, `serror`, or a whole ESR_ELx, as of `HookedTrap.inject`.
        :raises UserError: at EL0, and when that level cannot take it now.
        """
        self.require_paused()
        inject(self, what, level, far=far, ipa=ipa, iss=iss)

    # What the other parts of this room ask.

    def place(self, path: str) -> tuple[int, int]:
        """Give address and length of a field of L0's `Vcpu`, or of one element of an array."""
        name, _, index = path.partition("[")
        owner: type[Struct] = State
        for step in name.split(".")[:-1]:
            owner = owner.fields[step].element
        field = owner.fields[name.split(".")[-1]]
        return self.address + State.offset_of(path), field.stride if index else field.size

    def named(self, level: str | None) -> int:
        """Give the context of a level by name; the one that runs when None.

        :raises UserError: when there is no such level.
        """
        if level is None:
            return int(self.context)
        name = "vel1" if level == "l2" else level
        if name not in CONTEXTS:
            raise UserError(f"{level!r} is no level; give vel2, or l2 (also vel1).")
        return CONTEXTS[name]

    def require_paused(self) -> None:
        """Refuse to look at what moves. What waits for the hook that looks does not.

        :raises UserError: while the machine runs, and of a vCPU that is off.
        """
        if self.machine.serves(self.index):
            return
        self.machine.require_paused()
        if not self.is_on:
            raise UserError(f"vCPU {self.index} is off; L1 has not turned it on (PSCI CPU_ON).")

    @property
    def address(self) -> int:
        """Where L0 has its `Vcpu`."""
        base = self.machine.vm.l0_base + layout.PCPU_OFFSET + layout.VCPU_IN_PCPU
        return base + self.index * layout.PCPU_BYTES

    @property
    def state(self) -> State:
        """L0's state of it, live."""
        return self.machine.vm.vcpu(self.index)

    @property
    def context(self) -> int:
        """Which context hardware holds."""
        return int(self.state.context)

    @property
    def e2h(self) -> bool:
        """L1's HCR_EL2.E2H, as L0 has it in force."""
        return bool(self.state.e2h)

    @property
    def nv_level(self) -> int:
        """`LEVEL_NV2` or `LEVEL_NV`."""
        return int(self.machine.vm.state.config.nv_level)

    @property
    def general(self) -> General:
        """The general registers."""
        self.require_paused()
        if self._general is None and (box := self.machine.box_of(self.index)) is not None:
            self._general = self._hooked_general(box)
        if self._general is None:
            self._general = self.machine.stub.general(self.index)
        return self._general

    def _hooked_general(self, box: Box) -> General:
        """Take the general registers from where L0 keeps them while it deals with a trap."""
        pstate = int(box.state[HOOKED_PSTATE])
        uses_sp_el0 = not pstate & PSTATE_SP
        stack = self.hardware(sr.SP_EL0.trap_key if uses_sp_el0 else sr.SP_EL1.trap_key)
        x = tuple(int(word) for word in box.state[HOOKED_X : HOOKED_X + X_COUNT])
        return General(x, stack or 0, int(box.state[HOOKED_PC]), pstate)

    def hardware(self, key: int) -> int | None:
        """Read one of hardware's registers by trap key; None if QEMU does not show it."""
        if key not in self._system:
            self._system[key] = self._read_hardware(key)
        return self._system[key]

    def _read_hardware(self, key: int) -> int | None:
        register = sr.by_key(key)
        if register is None:
            return None
        if (box := self.machine.box_of(self.index)) is not None:
            return self._hooked_hardware(box, register)
        handler = bool(self.general.pstate & PSTATE_SP)
        # The stack pointer in use is in no register that QEMU keeps for system registers.
        if register is sr.SP_EL1 and handler and self._hardware_el == 1:
            return self.general.sp
        if register is sr.SP_EL0 and not handler:
            return self.general.sp
        stub = self.machine.stub
        name = qemu_name(register, stub.names)
        return None if name is None else stub.system(self.index, name)

    def _hooked_hardware(self, box: Box, register: type[Register]) -> int | None:
        """Read one of hardware's registers of a vCPU that stands in L0, at EL2."""
        if self.machine.serves(self.index):
            if not box.has_shown:
                self.machine.hooks.errand(box, Order.SHOW)
                box.has_shown = True
            return box.shown(register.trap_key)
        name = qemu_name(register, self.machine.stub.names)
        return None if name is None else self.machine.stub.system(self.index, name)

    @property
    def _hardware_el(self) -> int:
        return (self.general.pstate & PSTATE_EL) >> EL_SHIFT

    def frozen(self, context: int) -> Frozen:
        """Give a copy of the machine in which this vCPU has that context."""
        self.require_paused()
        if context not in self._frozen:
            made = Frozen(self.machine.vm.memory, self.address, self.hardware)
            made.change_to(context)
            self._frozen[context] = made
        return self._frozen[context]

    def page_of(self, frozen: Frozen | State) -> VncrPage:
        """Give vEL2's VNCR page, in a copy or as it is."""
        if isinstance(frozen, Frozen):
            return frozen.simulation.at(VncrPage, frozen.vcpu.vel2.vncr_page)
        memory = self.machine.vm.memory
        return VncrPage(memory.window(int(frozen.vel2.vncr_page), VncrPage.size))

    def changed(self) -> None:
        """Forget what has been read."""
        self._frozen.clear()
        self._system.clear()
        self._general = None

    def execute_msr(self, register: type[Register], value: int) -> None:
        """Have the vCPU execute an MSR where it stands; one that waits for a hook, L0 for it.

        :raises UserError: when it is at EL0, or the instruction is not the next one that it does.
        """
        if (box := self.machine.box_of(self.index)) is not None:
            self._write_hooked(box, register, value)
            return
        self._execute(register, value, is_read=False)

    def _write_hooked(self, box: Box, register: type[Register], value: int) -> None:
        """Have L0 write a register for a vCPU whose trap it is dealing with.

        :raises UserError: when it cannot, or nobody serves the vCPU.
        """
        if not self.machine.serves(self.index):
            raise UserError(
                f"vCPU {self.index} waits in a hook; {register.name} can be written by the hook, or"
                " when the machine has been resumed and paused again."
            )
        box.ask_for(register.trap_key, value)
        if not self.machine.hooks.errand(box, Order.WRITE):
            raise UserError(f"L0 does not write {register.name} for {self.level}, in a hook.")
        box.has_shown = False
        self.changed()

    def execute_mrs(self, name: str) -> Value:
        """Have the vCPU execute an MRS where it stands, at its own level; give what that read.

        For what QEMU does not show: a count that goes on, ICH_VTR_EL2. Unlike a look at `vel2` it
        is the guest's own read: it may trap, which L0 counts, and takes some of the guest's time.

        :raises UserError: when it is at EL0, or takes an exception instead.
        """
        register = find_register(name)
        self.require_paused()
        if self.machine.box_of(self.index) is not None:
            raise UserError(
                f"vCPU {self.index} stands in L0, in a hook, where it executes nothing of the"
                f" guest's; read vcpu.vel2.{name}, vcpu.l2.{name} or vcpu.hw.{name}."
            )
        view = self.vel2 if self.context == CONTEXT_VEL2 else self.l2
        return Value(view.layout_of(register), self._execute(register, 0, is_read=True))

    def _execute(self, register: type[Register], value: int, *, is_read: bool) -> int:
        """Execute an MSR or MRS of x0 in the place of the next instruction; give what x0 is then.

        :raises UserError: when that took an exception, of which nothing is left.
        """
        self._require_el1(register)
        view = self.vel2 if self.context == CONTEXT_VEL2 else self.l2
        left_by_exception = [(each, view.read(each)) for each in LEFT_BY_EXCEPTION[self.context]]
        before = self.general
        after = self._move(register, value, is_read=is_read)
        if after.pc == before.pc + INSTRUCTION_BYTES:
            return after.x[0]
        self.machine.stub.write_general(self.index, PSTATE, before.pstate)
        for each, content in left_by_exception:
            self._move(each, content, is_read=False)
        raise UserError(
            f"vCPU {self.index} did not access {register.name}: an instruction that names it is an"
            f" exception at {self.level}, to {after.pc:#x}."
        )

    def _move(self, register: type[Register], value: int, *, is_read: bool) -> General:
        """Put an MSR or MRS of x0 in the place of the next instruction, do it, and put all back.

        :return: the registers behind it.
        """
        stub, before = self.machine.stub, self.general
        pa = self.walk(before.pc).pa
        there = stub.read(pa, INSTRUCTION_BYTES)
        word = system_move(register.encoding, is_read=is_read)
        stub.write(pa, word.to_bytes(INSTRUCTION_BYTES, "little"))
        stub.write_general(self.index, 0, value)
        try:
            self.machine.step(self.index)
            return self.general
        finally:
            stub.write(pa, there)
            stub.write_general(self.index, 0, before.x[0])
            stub.write_general(self.index, PC, before.pc)
            self.changed()

    def _require_el1(self, register: type[Register]) -> None:
        """Refuse where an instruction of EL1 cannot be put in the place of the next one.

        :raises UserError: saying why.
        """
        if self._hardware_el != 1 or SPSR_ELx.nRW.get(self.general.pstate):
            raise UserError(
                f"vCPU {self.index} is at EL0, where {register.name} cannot be accessed; run it on"
                " until it is not."
            )
        if SPSR_ELx.BTYPE.get(self.general.pstate):
            raise UserError(
                f"vCPU {self.index} has just branched indirectly (PSTATE.BTYPE); step it first."
            )
