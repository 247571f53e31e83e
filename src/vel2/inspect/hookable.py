"""How a machine takes hooks: the decorators, and what they turn on in L0."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from vel2.arch.esr import EC
from vel2.control.watching import watch
from vel2.errors import UserError
from vel2.hyp import ahead
from vel2.hyp.records import FIQ, IRQ, SERROR
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2
from vel2.hyp.watch import HOOK
from vel2.inspect.failing import HookError
from vel2.inspect.frozen import CONTEXTS
from vel2.inspect.hooks import CLASSES, Handler, Hook, Hooks, Wish
from vel2.inspect.points import Hit, Point, Points
from vel2.machine.qmp import MonitorError

if TYPE_CHECKING:
    from vel2.control.vm import Vm
    from vel2.inspect.hooked import HookedTrap

__all__ = ("Hookable", "context_of")

Condition = Callable[["HookedTrap"], bool]
Decorator = Callable[[Handler], Hook]
BOTH = (CONTEXT_VEL2, CONTEXT_VEL1)
INTERRUPTS = {"irq": IRQ, "fiq": FIQ, "serror": SERROR}


def context_of(level: str) -> int:
    """Give the context of a level by name.

    :raises UserError: when there is no such level.
    """
    name = level.lower()
    name = "vel1" if name == "l2" else name
    if name not in CONTEXTS:
        raise UserError(f"{level!r} is no level; give vel2, or l2 (also vel1).")
    return CONTEXTS[name]


class Hookable:
    """The part of a `Machine` that takes hooks."""

    vm: Vm
    _hooks: Hooks | None
    _points: Points | None
    failures: tuple[HookError, ...] = ()
    """What has failed, and waits for `resume`."""
    stopping: threading.RLock
    """Held while the machine is stopped for one."""

    @property
    def points(self) -> Points:
        """All breakpoints and watchpoints."""
        if self._points is None:
            self._points = Points(self)  # type: ignore[arg-type]
        return self._points

    @property
    def hooks(self) -> Hooks:
        """All hooks.

        :raises UserError: when the machine has no doorbell.
        """
        if self._hooks is None:
            if not self.vm.request.doorbell:
                raise UserError("this machine has no doorbell, by which its vCPUs call hooks.")
            self._hooks = Hooks(self)  # type: ignore[arg-type]
        return self._hooks

    def on_trap(
        self,
        ec: int | tuple[int, ...] | None = None,
        level: str | None = None,
        sysreg: str | tuple[str, ...] | None = None,
        interrupt: str | tuple[str, ...] | None = None,
        when: Condition | None = None,
    ) -> Decorator:
        """Decorate a function that is asked about traps, before L0 does anything about them.

        :param ec: of these exception classes (`vel2.EC`); all if None.
        :param level: of this level: `vel2`, or `l2` (also `vel1`); both if None.
        :param sysreg: of these system registers and instructions.
        :param interrupt: instead of a class: `irq`, `fiq` or `serror`.
        :param when: asked with the trap, for all else.
        :raises UserError: for a register that there is not, or that never traps.
        """
        contexts = BOTH if level is None else (context_of(level),)
        if interrupt is not None:
            return self.hooks.add(Wish(contexts, frozenset(), _kinds(interrupt)), when)
        if sysreg is None:
            classes = range(CLASSES) if ec is None else ec if isinstance(ec, tuple) else (ec,)
            if not set(classes) <= set(range(CLASSES)):
                raise UserError(f"{ec!r} is no exception class; give 0 to {CLASSES - 1:#x}.")
            return self.hooks.add(Wish(contexts, frozenset(map(int, classes))), when)
        if ec not in (None, EC.SYS64):
            raise UserError("a system register traps as vel2.EC.SYS64; leave ec= out.")
        names = sysreg if isinstance(sysreg, tuple) else (sysreg,)
        keys = self.hooks.keys_of(names, contexts)
        return self.hooks.add(Wish(contexts, frozenset({int(EC.SYS64)}), keys=keys), when)

    def on_mmio(
        self, first: int, length: int, level: str = "l2", when: Condition | None = None
    ) -> Decorator:
        """Decorate a function that is a device: it is asked about loads and stores in a range.

        :param first: physical address as the level sees it. Where the level has memory there, its
            accesses do not trap.
        :param level: whose: `l2` (also `vel1`), or `vel2`.
        :raises UserError: when that is no range.
        """
        if length <= 0 or not 0 <= first <= (1 << 52) - length:
            raise UserError(f"{length} bytes at {first:#x} are no range of physical addresses.")
        classes = frozenset({int(EC.DABT_LOWER)})
        addresses = (first, first + length - 1)
        return self.hooks.add(Wish((context_of(level),), classes, addresses=addresses), when)

    def on_exit_from(self, level: str, when: Condition | None = None) -> Decorator:
        """Decorate a function that is asked about each way out of a level, interrupts included."""
        interrupts = frozenset(INTERRUPTS.values())
        return self.hooks.add(Wish((context_of(level),), interrupts=interrupts), when)

    def on_breakpoint(
        self, address: int, level: str | None = None, when: Callable[[Hit], bool] | None = None
    ) -> Callable[[Callable[[Hit], object]], Point]:
        """Decorate a function that is called before a vCPU executes an instruction.

        :param address: virtual. :param level: whose: `vel2`, or `l2` (also `vel1`), at EL0 or
            above; anybody's if None.
        """
        context = None if level is None else context_of(level)
        return self.points.add(address, 0, context, when)

    def on_store(
        self,
        address: int,
        length: int = 8,
        level: str | None = None,
        when: Callable[[Hit], bool] | None = None,
    ) -> Callable[[Callable[[Hit], object]], Point]:
        """Decorate a function that is called behind a store to a range of virtual addresses.

        :param level: as of `on_breakpoint`.
        """
        context = None if level is None else context_of(level)
        if length <= 0:
            raise UserError(f"{length} bytes at {address:#x} cannot be watched; 4096 at most.")
        return self.points.add(address, length, context, when)

    # What the hooks ask.

    def observe_hooks(self, classes: frozenset[int], registers: bool) -> None:
        """Have L0 ask hooks about the events of some classes (`hyp.watch`), and about no others.

        And have it do nothing ahead that a hook wants to see.
        """
        watch(self.vm.vcpus, HOOK, classes)
        budget = ahead.BUDGET if self.vm.request.ahead else 0
        self.vm.state.config.ahead = 0 if registers else budget

    def stop_for(self, failure: HookError) -> None:
        """Stand still because a hook has failed, and tell who waits for something else."""
        with self.stopping:
            self.failures = (*self.failures, failure)
            with contextlib.suppress(UserError, MonitorError):  # it has ended: told elsewhere
                self.halt()
        self.interrupt(failure)

    def check_hooks(self) -> None:
        """Pass on that a hook has failed, when the machine stands still because of it.

        :raises HookError: when one has.
        """
        with self.stopping:
            if self.failures:
                raise self.failures[0]

    def forget_failures(self) -> None:
        """Go on: L0 deals with the traps whose hooks have failed."""
        self.failures = ()
        self.interrupt(None)
        if self._hooks is not None:
            self._hooks.let_go()

    def interrupt(self, failure: HookError | None) -> None:
        """Let who waits for the console or for the end have a failure instead."""
        self.vm.console.interrupt(failure)
        self.vm.machine.interrupt(failure)

    def halt(self) -> None:
        """Stop it, whoever runs it."""
        raise NotImplementedError


def _kinds(given: str | tuple[str, ...]) -> frozenset[int]:
    names = given if isinstance(given, tuple) else (given,)
    if not set(names) <= set(INTERRUPTS):
        raise UserError(f"{given!r} is no interrupt; give 'irq', 'fiq' or 'serror'.")
    return frozenset(INTERRUPTS[name] for name in names)
