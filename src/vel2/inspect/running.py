"""A machine that is stopped, and run from one point to another.

A vCPU that stops in the middle of L0 shows nothing whole: hardware holds half of each context. So
`settle` runs those that are in L0 to its ERET and one instruction further, with all others standing
still; L0's locks are free then, for a pcpu outside of L0 holds none.

Points to stop at are L0's own. Each trap ends with one of its ERETs. It counts each by class and
level, and which context a vCPU has is a field of its state: a watchpoint on such a place stops the
machine at the traps that are wanted, and only there, while all others run at full speed. Both are
QEMU's, and no guest sees them.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from vel2.arch.pstate import PSTATE_EL
from vel2.control.vm import Vm
from vel2.errors import UserError
from vel2.hyp.pcpu import OFF, ON
from vel2.machine.gdbstub import GdbStub, MachineGone

__all__ = ("Place", "Running")

Place = tuple[int, int]
"""Address and length of something that L0 stores to."""
ERET = 0xD69F_03E0
EL2 = 2 << 2
WORD = 4
SOON_S = 0.001
SLICE_S = 0.05
SETTLE_S = 20.0
"""For all vCPUs to leave L0, whose visits take microseconds."""


class Running:
    """Runs a stopped machine to points, by QEMU's gdb server.

    :param forget: called whenever anything has run.
    :param check: called when what ran has stopped; it raises what is to be told of that.
    """

    def __init__(
        self, vm: Vm, stub: GdbStub, forget: Callable[[], None], check: Callable[[], None]
    ) -> None:
        self._vm = vm
        self._stub = stub
        self._forget = forget
        self._check = check
        data, base = vm.image.data, vm.l0_base
        self._returns = frozenset(
            base + offset
            for offset in range(0, len(data) - WORD + 1, WORD)
            if int.from_bytes(data[offset : offset + WORD], "little") == ERET
        )

    def is_on(self, cpu: int) -> bool:
        """Whether L1 has a vCPU, by PSCI."""
        return int(self._vm.vcpu(cpu).power.state) == ON

    def settle(self) -> None:
        """Have every vCPU leave L0.

        :raises UserError: when one does not.
        """
        deadline = time.monotonic() + SETTLE_S
        while busy := self._in_l0():
            returning = [cpu for cpu in busy if self._stub.general(cpu).pc in self._returns]
            if returning:
                for cpu in returning:
                    self._step(cpu)
                continue
            with self._breaking(self._returns):
                stopped = self._stub_run(busy, min(deadline, time.monotonic() + SLICE_S))
            # Some may not return: they have begun to wait for a hook, and are seen as such.
            if stopped is None and time.monotonic() > deadline:
                raise UserError(
                    f"vCPU {busy[0]} does not leave L0 within {SETTLE_S:g} s, and cannot be looked"
                    " at there."
                )

    def _in_l0(self) -> list[int]:
        """Give the vCPUs that are at EL2, and not off, or waiting there for a hook of the host's.

        L0 itself starts on the first one.
        """
        state = self._vm.state
        return [
            cpu
            for cpu in range(self._vm.request.smp)
            if self._stub.general(cpu).pstate & PSTATE_EL == EL2
            and not self._vm.waits_for_hook(cpu)
            and (int(self._vm.vcpu(cpu).power.state) != OFF or (cpu == 0 and state.online == 0))
        ]

    def step(self, cpu: int) -> None:
        """Execute one instruction of a vCPU, and what L0 does for it: for this one only.

        Nobody else runs meanwhile, so L0 can be told not to run ahead (`hyp.ahead`).
        """
        config = self._vm.state.config
        budget = int(config.ahead)
        config.ahead = 0
        try:
            self._step(cpu)
            self.settle()
        finally:
            config.ahead = budget

    def until_hooked(self, cpu: int, wanted: bool) -> None:
        """Run a vCPU that is in L0 alone, until it waits for the host (`hyp.mailbox`), or does not.

        It stays in L0.

        :raises UserError: when it does not come to that.
        """
        deadline = time.monotonic() + SETTLE_S
        with self._breaking(self._returns):
            while self._vm.waits_for_hook(cpu) != wanted:
                self._stub_run([cpu], time.monotonic() + SLICE_S)
                if time.monotonic() > deadline:
                    word = "come to" if wanted else "leave"
                    raise UserError(f"vCPU {cpu} does not {word} a hook within {SETTLE_S:g} s.")

    def until_return(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Run until a condition holds behind a trap; give whether it came to that in time."""
        deadline = time.monotonic() + timeout
        with self._settling(), self._breaking(self._returns):
            while not condition():
                cpu = self._run(None, deadline)
                if cpu is None:
                    break
                self._step(cpu)
        self.settle()
        return condition()

    def until_store(
        self, places: Sequence[Place], wanted: Callable[[int], bool], timeout: float
    ) -> int:
        """Run until L0 has stored to one of some places, for a vCPU that is wanted; give which.

        The machine stands in L0 then; L0 is where places are.

        :param wanted: asked with the vCPU's number.
        :raises UserError: when it does not come in time.
        """
        deadline = time.monotonic() + timeout
        with self._settling(), self._watching(places):
            while (cpu := self._run(None, deadline)) is not None:
                at_el2 = self._stub.general(cpu).pstate & PSTATE_EL == EL2
                if at_el2 and wanted(cpu):
                    return cpu
        self.settle()
        raise UserError(f"it did not come within {timeout:g} s.")

    @contextmanager
    def _settling(self) -> Iterator[None]:
        """Leave L0 when something goes wrong, be it Ctrl-C or a function of the caller's."""
        try:
            yield
        except BaseException:
            if not self._stub.is_gone:
                self.settle()
            raise

    @contextmanager
    def _watching(self, places: Sequence[Place]) -> Iterator[None]:
        for address, length in places:
            self._stub.watch(address, length)
        try:
            yield
        finally:
            if not self._stub.is_gone:
                for address, length in places:
                    self._stub.unwatch(address, length)

    def _step(self, cpu: int) -> None:
        self._stub.step(cpu)
        self._forget()

    def _run(self, cpus: Iterable[int] | None, deadline: float) -> int | None:
        """Run until a breakpoint; None when the time is over."""
        stopped = self._stub_run(cpus, deadline)
        self._check()
        return stopped

    def _stub_run(self, cpus: Iterable[int] | None, deadline: float) -> int | None:
        try:
            return self._stub.run(cpus, max(SOON_S, deadline - time.monotonic()))
        except MachineGone as error:
            ended = self._vm.machine.poll(SETTLE_S)
            raise UserError(f"the machine ended while it ran: {ended or error}.") from error
        finally:
            self._forget()

    @contextmanager
    def _breaking(self, addresses: Iterable[int]) -> Iterator[None]:
        """Have breakpoints, as long as there is a machine to have them."""
        inserted = list(addresses)
        for address in inserted:
            self._stub.insert(address)
        try:
            yield
        finally:
            if not self._stub.is_gone:
                for address in inserted:
                    self._stub.remove(address)
