"""Hooks: functions of the user's that decide, at EL2, what becomes of a trap.

A hook is asked while its vCPU stands in L0 (`hyp.mailbox`). Which traps ask at all, L0 looks up for
itself: the host writes the classes, registers and addresses that some hook wants into L0's memory.
Whatever else a hook's condition says is decided here. Hooks are asked in the order in which they
were made; the first that answers decides.

One thread serves them, from the first hook until the machine ends. Several vCPUs may wait at a
time; those that do not, run on. A hook that raises leaves the machine paused, and its vCPU where it
was: `HookError` says where, in whatever the program waits with (`wait_for`, `wait`, `run_until`).
`Machine.resume` then has L0 deal with the trap as if there were no hook.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vel2.arch.esr import EC
from vel2.arch.gicv3 import FIRST_SPI, FRAME_BYTES, ISPENDR, LAST_SPI
from vel2.arch.nesting import Level
from vel2.arch.sysregs import by_key
from vel2.arch.vncr import redirected
from vel2.control.watching import ALL_CLASSES, watch
from vel2.errors import UserError
from vel2.explain.register import key_named
from vel2.hyp.mailbox import MAX_RANGES, Order
from vel2.hyp.records import SYNC
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2
from vel2.hyp.watch import CLASSES_PER_CONTEXT, HOOK, PLAIN_ERET, class_of_interrupt
from vel2.inspect.failing import Function, HookError
from vel2.inspect.hooked import OWN, Answer, HookedTrap, X
from vel2.inspect.mailbox import POLLED, SUMMONED, Box, Doorbell, open_boxes, wanted_of

if TYPE_CHECKING:
    from vel2.inspect.vm import Machine

__all__ = ("Hook", "Hooks", "Wish")

Handler = Callable[[HookedTrap], "Answer | int | None"]
CLASSES = 64
REGISTER_BITS, REGISTER_BYTES = 32, 4
HEARD_S = 20.0
KIND_SHIFT = 7


@dataclass(frozen=True)
class Wish:
    """Which traps a hook is for.

    :ivar contexts: of which level. :ivar classes: of which exception classes; none for interrupts
        alone. :ivar interrupts: of which kinds besides. :ivar keys: of which registers; all if
        None. :ivar addresses: of which loads and stores, first and last; all if None.
    """

    contexts: tuple[int, ...] = (CONTEXT_VEL2, CONTEXT_VEL1)
    classes: frozenset[int] = frozenset(range(CLASSES))
    interrupts: frozenset[int] = frozenset()
    keys: frozenset[int] | None = None
    addresses: tuple[int, int] | None = None

    def events(self) -> Iterator[int]:
        """Give the classes of events (`hyp.watch`) that such traps are of."""
        for context in self.contexts:
            yield from (context * CLASSES_PER_CONTEXT + ec for ec in self.classes)
            yield from (int(class_of_interrupt(kind, context)) for kind in self.interrupts)
        if CONTEXT_VEL2 in self.contexts and EC.ERET in self.classes:
            yield PLAIN_ERET

    def is_for(self, trap: HookedTrap) -> bool:
        """Whether a trap is one of them."""
        if trap.context not in self.contexts:
            return False
        if trap.kind_of_vector != SYNC:
            return trap.kind_of_vector in self.interrupts
        if trap.ec not in self.classes:
            return False
        if self.keys is not None:
            return trap.key in self.keys
        if self.addresses is None:
            return True
        ipa = trap.ipa
        return ipa is not None and self.addresses[0] <= ipa <= self.addresses[1]


@dataclass(frozen=True)
class Hook(Function):
    """One hook. `remove` ends it; a vCPU that waits for it gets its answer all the same."""

    function: Handler
    wish: Wish
    when: Callable[[HookedTrap], bool] | None
    hooks: Hooks

    def remove(self) -> None:
        """Ask it no more."""
        self.hooks.remove(self)

    def __call__(self, trap: HookedTrap) -> Answer | int | None:
        """Call the function."""
        return self.function(trap)


class Hooks:
    """All hooks of a machine, and the thread that serves them."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._hooks: tuple[Hook, ...] = ()
        self._boxes: list[Box] = open_boxes(machine.vm)
        self._bell: Doorbell | None = None
        self._thread: threading.Thread | None = None
        self._failed: list[int] = []
        self._serving: list[int] = []
        self._classes: frozenset[int] = frozenset()

    # Making and removing them.

    def add(
        self, wish: Wish, when: Callable[[HookedTrap], bool] | None
    ) -> Callable[[Handler], Hook]:
        """Give a decorator that makes a function a hook."""

        def make(function: Handler) -> Hook:
            hook = Hook(function, wish, when, self)
            ranges = sum(each.wish.addresses is not None for each in (*self._hooks, hook))
            if ranges > MAX_RANGES:
                raise UserError(f"{ranges} ranges are hooked; vel2 takes {MAX_RANGES}.")
            self._hooks = (*self._hooks, hook)
            self._publish()
            self._serve_if_running()
            return hook

        return make

    def remove(self, hook: Hook) -> None:
        """Ask a hook no more."""
        self._hooks = tuple(each for each in self._hooks if each is not hook)
        self._publish()

    def keys_of(self, names: tuple[str, ...], contexts: tuple[int, ...]) -> frozenset[int]:
        """Give the trap keys of registers and instructions.

        :raises UserError: for a name that there is not, or of what never traps.
        """
        keys = frozenset(key_named(name) for name in names)
        request = self._machine.vm.request
        if CONTEXT_VEL2 in contexts and request.nv is Level.NV2:
            stored = redirected(NV1=False)
            for key in keys & set(stored):
                register = by_key(key)
                assert register is not None
                raise UserError(
                    f"{register.name} does not trap at vEL2: under FEAT_NV2 L1's accesses to it are"
                    " loads and stores of the VNCR page; boot with nv='nv' to see them."
                )
        return keys

    def _publish(self) -> None:
        """Write for L0 which traps ask: what is new first, what turns it on last."""
        wanted = wanted_of(self._machine.vm)
        wishes = [hook.wish for hook in self._hooks]
        ranges = [wish.addresses for wish in wishes if wish.addresses is not None]
        bits = bytearray(len(wanted.registers) * 8)
        for wish in wishes:
            for key in wish.keys or ():
                bits[key >> 3] |= 1 << (key & 7)
        for index in range(len(wanted.registers)):
            wanted.registers[index] = int.from_bytes(bits[8 * index : 8 * index + 8], "little")
        for index, (first, last) in enumerate(ranges):
            wanted.ranges[index].first = first
            wanted.ranges[index].last = last
        wanted.range_count = len(ranges)
        for context in (CONTEXT_VEL2, CONTEXT_VEL1):
            mine = [wish for wish in wishes if context in wish.contexts]
            whole = [wish for wish in mine if wish.keys is None and wish.addresses is None]
            part = [wish for wish in mine if wish not in whole]
            wanted.filtered[context] = _mask(each.classes for each in part)
            wanted.classes[context] = _mask(each.classes for each in whole)
            wanted.interrupts[context] = _mask(
                {kind >> KIND_SHIFT for kind in each.interrupts} for each in mine
            )
        registers = any(EC.SYS64 in wish.classes for wish in wishes)
        self._classes = frozenset(number for wish in wishes for number in wish.events())
        self._machine.observe_hooks(self._classes, registers)

    # Serving them.

    def _serve_if_running(self) -> None:
        if self._thread is None and self._machine.has_started:
            self.start()

    def start(self) -> None:
        """Begin to listen, if there is any hook."""
        if self._hooks:
            self.listen()

    def listen(self) -> None:
        """Begin to listen."""
        if self._thread is not None:
            return
        self._bell = Doorbell(self._machine.vm.machine.doorbell, self._boxes, self._serve)
        self._thread = threading.Thread(target=self._listen, name="vel2-hooks", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        assert self._bell is not None
        while (cpu := self._bell.heard()) is not None:
            self._serve(cpu)

    def _serve(self, cpu: int) -> None:
        """Answer a vCPU's question."""
        assert self._bell is not None
        box = self._boxes[cpu]
        if box.is_reserved:
            self._bell.let_go()
            box.heard.set()
            return
        if not box.is_new:  # an errand of a paused machine has been run
            self._bell.let_go()
            return
        box.take_up()
        trap = HookedTrap(self._machine.vcpus[cpu], box)
        self._serving.append(cpu)
        hook = None
        try:
            answer = OWN
            for hook in self._hooks:
                if hook.wish.is_for(trap) and (hook.when is None or hook.when(trap)):
                    given = hook(trap)
                    if given is not None:
                        answer = _answer_of(trap, given)
                        break
        except BaseException as error:  # whatever a hook raises must not let its vCPU wait for ever
            assert hook is not None
            self._fail(box, HookError(hook, trap, error))
            return
        finally:
            self._serving.remove(cpu)
        give(box, answer)
        self._bell.let_go()

    def _fail(self, box: Box, failure: HookError) -> None:
        """Pause the machine, with the vCPU waiting, and have the program know."""
        assert self._bell is not None
        self._failed.append(box.cpu)
        self._bell.let_go()
        self._machine.stop_for(failure)

    # What the machine asks.

    def let_go(self) -> None:
        """Have L0 deal with the traps whose hooks failed."""
        failed, self._failed = self._failed, []
        for cpu in failed:
            self._boxes[cpu].order(Order.OWN)

    def box_of(self, cpu: int) -> Box | None:
        """Give a vCPU's mailbox if it waits in it."""
        box = self._boxes[cpu]
        return box if box.waits else None

    @contextmanager
    def summoned(self, cpu: int) -> Iterator[Box]:
        """Have every trap of a vCPU ask, and no hook be asked for it."""
        box, vcpus = self._boxes[cpu], [self._machine.vm.vcpu(cpu)]
        self.listen()
        box.is_reserved = True
        box.words[SUMMONED] = 1
        watch(vcpus, HOOK, ALL_CLASSES)
        try:
            yield box
        finally:
            box.words[SUMMONED] = 0
            watch(vcpus, HOOK, self._classes)
            box.is_reserved = False

    def let_ring(self, box: Box) -> None:
        """Wait until the listener has heard a reserved question: the ring is taken up whole."""
        if not box.heard.wait(HEARD_S):
            raise UserError(f"vCPU {box.cpu} did not ring within {HEARD_S:g} s.")
        box.heard.clear()

    def words_of(self, cpu: int) -> memoryview:
        """Give a vCPU's mailbox as words (`mailbox.word_of`)."""
        return self._boxes[cpu].words

    @property
    def in_step(self) -> bool:
        """Whether no wait has taken guest time: under `deterministic`, until something pauses.

        It needs a UART of QEMU's that takes a byte only when its socket does, as 10.0's.
        """
        return not any(box.words[POLLED] for box in self._boxes)

    def is_mine(self, cpu: int) -> bool:
        """Whether this thread serves the vCPU, which may be looked at then."""
        return cpu in self._serving and threading.current_thread() is self._thread

    @property
    def serving(self) -> Box | None:
        """The mailbox of the vCPU for which this thread runs a hook; None when it runs none."""
        if not self._serving or threading.current_thread() is not self._thread:
            return None
        return self._boxes[self._serving[-1]]

    def store(self, box: Box, pa: int, data: bytes) -> None:
        """Have a waiting vCPU store to memory, so that code in it is translated anew."""
        for address, size in stores(pa, len(data)):
            at = address - pa
            box.ask_for(address, int.from_bytes(data[at : at + size], "little"), size)
            self.errand(box, Order.STORE)

    def pend(self, box: Box, intid: int) -> None:
        """Have a waiting vCPU set an interrupt pending.

        :raises UserError: for an INTID that is none.
        """
        if not 0 <= intid <= LAST_SPI:
            raise UserError(f"INTID {intid} is no SGI, PPI or SPI; give 0 to {LAST_SPI}.")
        vm = self._machine.vm
        base = vm.distributor
        if intid < FIRST_SPI:
            base = int(vm.state.config.redistributors[box.cpu]) + FRAME_BYTES
        word, bit = divmod(intid, REGISTER_BITS)
        box.ask_for(base + ISPENDR + word * REGISTER_BYTES, 1 << bit, REGISTER_BYTES)
        self.errand(box, Order.STORE)

    def errand(self, box: Box, order: Order) -> int:
        """Have a waiting vCPU of a running machine do something."""
        assert self._bell is not None
        return self._bell.errand(box, order)


def stores(address: int, length: int) -> Iterator[tuple[int, int]]:
    """Part a range into aligned stores of eight, four or one bytes."""
    end = address + length
    while address < end:
        size = next(s for s in (8, 4, 1) if address % s == 0 and end - address >= s)
        yield address, size
        address += size


def give(box: Box, answer: Answer) -> None:
    """Give a vCPU its answer."""
    if answer.reads is not None:
        register, value = answer.reads
        box.state[X + register] = value
    if answer.raised is not None:
        box.describe(answer.raised)
    box.order(answer.order)


def _answer_of(trap: HookedTrap, given: object) -> Answer:
    """Take what a hook returned.

    :raises UserError: when it is no answer.
    """
    if isinstance(given, Answer):
        return given
    if isinstance(given, int) and not isinstance(given, bool):
        return trap.reads(given)
    raise UserError(
        f"it returned {given!r}; return an answer of the trap's (trap.skip(), trap.inject(...)),"
        " a number that the instruction has read, or None."
    )


def _mask(sets: Iterable[Iterable[int]]) -> int:
    mask = 0
    for each in sets:
        for bit in each:
            mask |= 1 << bit
    return mask
