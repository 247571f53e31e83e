"""A VM under vel2: the machine with L0's image above L1's memory, and L0's state while it runs.

Everything is in place before the machine starts: the kernel, initrd and device tree of L1 from the
bottom of RAM, L0's block above L1's part. L0 is entered at real EL2 and enters L1 at virtual EL2.
"""

import time
from dataclasses import replace
from types import TracebackType
from typing import Self

from vel2.control import counters
from vel2.control.counters import TrapCount
from vel2.control.guest import Board, Start
from vel2.control.l0 import L0, FatalStop, Orders, check_l1
from vel2.control.locks import LockTime, lock_times
from vel2.control.probes import ProbeSet
from vel2.control.regions import check_map, is_hidden
from vel2.control.request import Request
from vel2.control.session import Session
from vel2.control.watch import Hang, Progress, Watch, progress
from vel2.errors import UserError
from vel2.hyp import layout
from vel2.hyp import state as resident
from vel2.hyp.mailbox import FREE
from vel2.hyp.outcome import Stop
from vel2.lang import Image
from vel2.machine.admission import admit_devices
from vel2.machine.memmap import RegionKind, read_memory_map
from vel2.machine.memory import RAM_BASE
from vel2.machine.outcome import MachineExit
from vel2.machine.qemu import MachineConfig

__all__ = ("FatalStop", "Vm")

UNABLE = 3
"""The exit code of a command on a machine that cannot run vel2."""


class Vm(Session):
    """A machine with L0 at EL2, and the guest as L1.

    :ivar probes: the probes in it.

    :raises UserError: on construction, when the images do not fit or the machine cannot be
        described.
    """

    def __init__(self, request: Request) -> None:
        l1_bytes = request.memory_bytes
        check_l1(l1_bytes, request.smp)
        self.l0_base = RAM_BASE + l1_bytes
        rings = layout.rings_bytes(request.smp, request.ring_slots)
        self.l0_bytes = layout.l0_bytes(l1_bytes) + rings
        self._watch: Watch | None = None
        self._hang: Hang | None = None
        super().__init__(request)

    def _describe(self) -> MachineConfig:
        config = super()._describe()
        return replace(config, memory_bytes=config.memory_bytes + self.l0_bytes, smmu=True)

    def _examine(self, tree: bytes) -> None:
        self._map = read_memory_map(tree)
        check_map(self._map)

    def _board(self, tree: bytes) -> Board:
        hidden = [region.path for region in self._map.regions if is_hidden(region)]
        return replace(super()._board(tree), hidden=hidden)

    def _enter_at(self, start: Start) -> int:
        """Put L0 above L1's memory, and tell it what to run."""
        request = self.request
        orders = Orders(
            request.memory_bytes,
            request.el2,
            request.nv,
            request.smp,
            ahead=request.ahead,
            recursion=request.recursion,
            shows_vhe=request.shows_vhe,
            ring_slots=request.ring_slots,
        )
        self.l0 = L0(self.memory, orders)
        self.probes = ProbeSet(self.memory, self.l0, self._is_running)
        return self.l0.install(self._map, start)

    @property
    def distributor(self) -> int:
        """The address of the GIC's distributor, which is L1's."""
        return self._map.of(RegionKind.GIC_DISTRIBUTOR)[0].base

    @property
    def image(self) -> Image:
        """L0's code."""
        return self.l0.image

    @property
    def state(self) -> resident.Vm:
        """L0's `Vm`, live."""
        return self.l0.state

    def vcpu(self, index: int = 0) -> resident.Vcpu:
        """One vCPU's state, live."""
        return self.l0.vcpu(index)

    @property
    def vcpus(self) -> list[resident.Vcpu]:
        """The state of all vCPUs, live."""
        return self.l0.vcpus

    def _admit(self) -> None:
        admit_devices(self.monitor, self.request.smp)

    def __enter__(self) -> Self:
        """Start the machine, and watch L0.

        :raises UserError: when it has a device that may reach past L1's memory.
        """
        super().__enter__()
        self._watch = Watch(self.monitor, self._progress, self._name_of, self._end_because_of)
        self._watch.start()
        return self

    def _is_running(self) -> bool:
        return self._watch is not None and self.machine.exit is None

    def _progress(self, cpu: int) -> Progress | None:
        found = progress(self.vcpu(cpu), self.state.stage2.pool_used)
        # Who waits for a hook of the host's waits as long as that takes, and is no hang of L0's.
        excuse = time.monotonic_ns() if self.waits_for_hook(cpu) else 0
        return None if found is None else (*found, excuse)

    def waits_for_hook(self, cpu: int) -> bool:
        """Whether a vCPU stands in L0 until the host says what is to become of its trap."""
        return int(self.l0.mailbox(cpu).turn) != FREE

    def _name_of(self, pc: int) -> str:
        """Name a place of L0, with its source line where there is one."""
        symbol = self.image.symbol_at(pc) or "no code of L0"
        line = self.image.source_at(pc)
        return f"{symbol} ({line})" if line else symbol

    def _end_because_of(self, hang: Hang) -> None:
        self._hang = hang
        self.stop()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the machine; L0's state stays readable until `close`."""
        if self._watch is not None:
            self._watch.end()
        super().__exit__(kind, error, traceback)

    def wait(self, timeout: float | None = None) -> MachineExit:
        """Wait for the end; when `timeout` seconds have passed, end the machine.

        :raises UserError: when L0 would not start, which is no fault of its own.
        """
        ended = super().wait(timeout)
        if self.lacking:
            raise self._unable()
        return ended

    def _unable(self) -> UserError:
        """Say what L0 does not find in this machine."""
        if self.request.qemu_arguments:
            return UserError(
                f"what follows -- makes a machine without {self.lacking}, which vel2 needs; leave"
                " -cpu out, or take features from `-cpu max`, as in -cpu max,sve=off."
            )
        error = UserError(f"QEMU's machine lacks {self.lacking}; `vel2 doctor` says what to do.")
        error.exit_code = UNABLE
        return error

    @property
    def stop_reason(self) -> Stop:
        """Why L0 stopped the machine; RUNNING when it did not."""
        return self.l0.stop_reason

    @property
    def fatal(self) -> FatalStop | Hang | None:
        """The broken invariant L0 stopped at, or where it hangs, or None."""
        return self._hang or self.l0.fatal

    @property
    def lacking(self) -> str:
        """What the machine below has not, so that L0 would not start; empty when it has all."""
        return self.l0.lacking

    def traps(self) -> list[TrapCount]:
        """Give the traps taken so far, by exception class and context."""
        return counters.traps(self.vcpus)

    def sysreg_traps(self) -> dict[str, int]:
        """Give the system registers and instructions that trapped, by name."""
        return counters.sysreg_traps(self.vcpus)

    def locks(self) -> list[LockTime]:
        """Give how long L0 held its locks so far."""
        return lock_times(self.l0.locks, self.state.probed.frequency)
