"""What L0 would say of a vCPU that stands still: its own code, run in a copy of the machine.

Where a register of vEL2 is at a moment depends on much: FEAT_NV or FEAT_NV2, E2H, which context
hardware holds, whether a feature is there. L0's code knows all of it, and is Python. So nothing of
it is told again here. The machine's memory is mapped copy-on-write, its registers are read from the
stopped CPU when L0's code asks for them, and what it writes stays in the copy.

To see vEL2's registers while vEL1 runs, the copy takes the change of context that an exit would
make (`context.enter_vel2`); for vEL1's while vEL2 runs, that of an entry.
"""

import mmap
from collections.abc import Callable

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.errors import UserError
from vel2.hyp import access, context, finegrained, idregs, routing
from vel2.hyp.places import action_of, place_of
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, Vcpu, vm_of
from vel2.lang import SimulatedAbort, Simulation, SimulationError
from vel2.machine.memory import RAM_BASE, GuestMemory

__all__ = ("Frozen", "NotShown", "is_ich")

POISON = 0xB0DE_FACE_D00D_5EE7
"""What a register reads as that QEMU does not show. Where it turns up, the answer is unknown."""
U64 = (1 << 64) - 1
MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
"""Linux: a copy of which a few pages are written needs no promise of memory for all of it."""


class NotShown(UserError):
    """A value depends on one that QEMU does not show."""


class HardwareRegisters:
    """The registers of a CPU, read when they are asked for, and written to the copy only."""

    def __init__(self, read: Callable[[int], int | None]) -> None:
        self._read = read
        self._known: dict[int, int] = {}
        self.unknown: list[int] = []

    def __getitem__(self, key: int) -> int:
        if key not in self._known:
            value = self._read(key)
            self._known[key] = POISON if value is None else value
        if self._known[key] == POISON:
            self.unknown.append(key)
        return self._known[key]

    def __setitem__(self, key: int, value: int) -> None:
        if not 0 <= value <= U64:
            raise ValueError(f"{value:#x} has more than 64 bits")
        self._known[key] = value


class Frozen:
    """A copy of the machine, as one vCPU sees it, in one context.

    :param vcpu_address: physical address of L0's `Vcpu`.
    :param read: gives a system register of the CPU by trap key; None where QEMU does not show it.
    """

    def __init__(
        self, memory: GuestMemory, vcpu_address: int, read: Callable[[int], int | None]
    ) -> None:
        try:
            copy = mmap.mmap(
                memory.fd,
                memory.size,
                flags=mmap.MAP_PRIVATE | MAP_NORESERVE,
                prot=mmap.PROT_READ | mmap.PROT_WRITE,
            )
        except OSError as error:
            raise NotShown(
                f"the host cannot map the machine's memory once more ({error.strerror}); boot it"
                " with less."
            ) from error
        self.simulation = Simulation(RAM_BASE, copy)
        self._registers = HardwareRegisters(read)
        self.simulation.registers = self._registers  # type: ignore[assignment]
        self.vcpu = self.simulation.at(Vcpu, vcpu_address)

    def change_to(self, wanted: int) -> None:
        """Change the context, if it is not this one.

        :raises NotShown: when that needs what only hardware does.
        """
        if self.vcpu.context == wanted:
            return
        with self.simulation:
            try:
                if wanted == CONTEXT_VEL2:
                    context.enter_vel2(self.vcpu)
                else:
                    context.enter_vel1(self.vcpu)
            except (SimulationError, SimulatedAbort) as error:
                raise NotShown(
                    f"the change to the level that does not run cannot be followed here ({error});"
                    " run to that level (vcpu.run_to) and look there."
                ) from error

    def refuses(self, register: type[Register], *, is_read: bool) -> bool:
        """Whether an MRS or MSR that traps at vEL2 would be an exception."""
        key = register.trap_key
        place = place_of(key)
        with self.simulation:
            action = action_of(self.vcpu, place, is_read)
            return access.refusal(self.vcpu, key, place, action, is_read) != 0

    def read_trapped(self, register: type[Register]) -> int:
        """Read a register as L0 does for an MRS of vEL2 that trapped.

        :raises NotShown: when it depends on what QEMU does not show.
        """
        key = register.trap_key
        self._registers.unknown.clear()
        with self.simulation:
            try:
                value = access.read(self.vcpu, key, action_of(self.vcpu, place_of(key), True))
            except SimulationError as error:
                raise NotShown(f"{register.name} cannot be computed here ({error}).") from error
        return self.shown(register, POISON if self._registers.unknown else int(value))

    def hardware(self, register: type[Register]) -> int:
        """Read one of the CPU's registers, as they are in this context.

        :raises NotShown: when QEMU does not show it.
        """
        return self.shown(register, self.simulation.registers[register.trap_key])

    def shown(self, register: type[Register], value: int) -> int:
        """Require a value to be known.

        :raises NotShown: when it is not.
        """
        if value == POISON:
            raise NotShown(
                f"QEMU's gdb server does not show {register.name}, or what it is made of: a count"
                " that goes on, or the state of the GIC's CPU interface."
            )
        return value

    def identification(self, register: type[Register]) -> int:
        """Read an identification register as the VM has it."""
        with self.simulation:
            return int(idregs.of_vm(vm_of(self.vcpu), register.trap_key))

    def is_asked_by_l1(self, register: type[Register], *, is_read: bool) -> bool:
        """Whether L1 has an access of vEL1 trap."""
        key = register.trap_key
        with self.simulation:
            if finegrained.asks(self.vcpu, key, is_read):
                return True
            return bool(routing.asks(self.vcpu, routing.control_of(key), is_read))


def is_ich(register: type[Register]) -> bool:
    """Whether a register is of the virtual interface, which lives in hardware while vEL1 runs."""
    return register.name.startswith("ICH_")


def is_identification(register: type[Register]) -> bool:
    """Whether a register is in the space of HCR_EL2.TID3."""
    return bool(idregs.is_in_space(register.trap_key))


CONTEXTS = {"vel2": CONTEXT_VEL2, "vel1": CONTEXT_VEL1}
SHADOWED_BY = {sr.MIDR_EL1: sr.VPIDR_EL2, sr.MPIDR_EL1: sr.VMPIDR_EL2}
"""What EL1 reads instead: hardware gives it the value that EL2 has set."""
