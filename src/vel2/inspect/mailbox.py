"""The host's end of the mailboxes in which vCPUs ask about their traps (`hyp.mailbox`).

A byte from the doorbell is the number of a vCPU. All that a vCPU says before it rings is in memory
when the byte is here. Words are read and written by number: a round trip has no time for more.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

from vel2.control.regions import UART1_BASE
from vel2.control.vm import Vm
from vel2.errors import UserError
from vel2.hyp import layout
from vel2.hyp.mailbox import ASKED, FREE, ORDERED, Mailbox, Order, Wanted
from vel2.hyp.records import SYNC
from vel2.hyp.shown import SHOWN
from vel2.hyp.state import Vcpu as State

__all__ = ("Box", "Doorbell", "Raised", "open_boxes", "wanted_of")

WORD = 8
RINGS_IN_STEP = 16
"""Bytes of a ring under `deterministic`: more than the doorbell's socket takes, so that a CPU that
rings stands still until somebody has read them. Linux lets six wait."""


def word_of(path: str) -> int:
    """Give the number of a word of `Mailbox`."""
    return Mailbox.offset_of(path) // WORD


TURN, ASKED_COUNT, ORDER = word_of("turn"), word_of("asked"), word_of("order")
ADDRESS, VALUE, SIZE, RESULT = (word_of(n) for n in ("address", "value", "width", "result"))
HPFAR, RINGS, SHOWS = (word_of(n) for n in ("hpfar", "rings", "shows"))
TARGET, KIND, SYNDROME = (word_of(name) for name in ("target", "kind", "syndrome"))
HAS_VADDRESS, HAS_IPADDRESS = word_of("has_vaddress"), word_of("has_ipaddress")
VADDRESS, IPADDRESS = word_of("vaddress"), word_of("ipaddress")
REGISTERS, SUMMONED, POLLED = (word_of(n) for n in ("registers", "summoned", "polled"))
PLACE = {register.trap_key: REGISTERS + index for index, register in enumerate(SHOWN)}


@dataclass(frozen=True)
class Raised:
    """An exception that a vCPU is to take: the pseudocode's ExceptionRecord."""

    target: int
    kind: int = SYNC
    syndrome: int = 0
    vaddress: int | None = None
    ipaddress: int | None = None


class Box:
    """One vCPU's mailbox.

    :ivar words: it, as words. :ivar state: the vCPU's own words (`hyp.state.Vcpu`).
    :ivar served: how many of its questions have been taken up. :ivar is_reserved: no hook is to be
        asked; `heard` says that it has rung then. :ivar has_rung: its errand is done, and was heard
        while another vCPU's was waited for.
    """

    def __init__(self, vm: Vm, cpu: int) -> None:
        self.cpu = cpu
        base = vm.l0_base + layout.PCPU_OFFSET + cpu * layout.PCPU_BYTES
        memory = vm.memory
        self.words = memory.window(base + layout.MAILBOX_IN_PCPU, Mailbox.size).cast("Q")
        self.state = memory.window(base + layout.VCPU_IN_PCPU, State.size).cast("Q")
        self.served = 0
        self.has_shown = False
        self.is_reserved = False
        self.has_rung = False
        self.heard = threading.Event()

    @property
    def waits(self) -> bool:
        """Whether the vCPU stands in L0 and waits for an answer."""
        return self.words[TURN] != FREE

    @property
    def is_new(self) -> bool:
        """Whether there is a question that nobody has taken up."""
        return self.words[TURN] == ASKED and self.words[ASKED_COUNT] != self.served

    def take_up(self) -> None:
        """Note that somebody deals with its question."""
        self.served = self.words[ASKED_COUNT]
        self.has_shown = self.words[SHOWS] != 0

    def order(self, order: Order) -> None:
        """Give an order; what belongs to it is in place."""
        self.words[ORDER] = order
        self.words[TURN] = ORDERED

    def ask_for(self, address: int, value: int, size: int = WORD) -> None:
        """Say what an errand is about."""
        self.words[ADDRESS], self.words[VALUE], self.words[SIZE] = address, value, size

    def describe(self, raised: Raised) -> None:
        """Say which exception the vCPU is to take."""
        words = self.words
        words[TARGET], words[KIND], words[SYNDROME] = raised.target, raised.kind, raised.syndrome
        words[HAS_VADDRESS] = int(raised.vaddress is not None)
        words[HAS_IPADDRESS] = int(raised.ipaddress is not None)
        words[VADDRESS] = raised.vaddress or 0
        words[IPADDRESS] = raised.ipaddress or 0

    def shown(self, register: int) -> int | None:
        """Give a register of hardware by trap key, once they have been shown; None if it is not."""
        place = PLACE.get(register)
        return None if place is None else self.words[place]


Serve = Callable[[int], None]


class Doorbell:
    """The socket on which vCPUs ring, and what goes with each ring.

    :param serve: called with the number of a vCPU that rings while another's errand is waited for.
    """

    def __init__(self, near: socket.socket, boxes: list[Box], serve: Serve) -> None:
        self._near = near
        self._boxes = boxes
        self._serve = serve
        self._rest = int(boxes[0].words[RINGS]) - 1
        self._left = 0

    def heard(self) -> int | None:
        """Wait for a ring; give whose it is, or None when the machine has ended."""
        try:
            data = self._near.recv(1)
        except OSError:
            return None
        self._left = self._rest
        return data[0] if data else None

    def let_go(self) -> None:
        """Take what is left of a ring: the CPU that stands in it runs on, to look at its order.

        Only one can stand in a ring, because under `deterministic` one CPU runs at a time.
        """
        with contextlib.suppress(OSError):  # the machine has ended
            while self._left and (data := self._near.recv(self._left)):
                self._left -= len(data)

    def errand(self, box: Box, order: Order) -> int:
        """Have a waiting vCPU do something, and give its result. Others may be served meanwhile.

        A hook that serves one of those may have errands too, and hear this one's ring.

        :raises UserError: when the machine ends before it is done.
        """
        box.has_rung = False
        box.order(order)
        self.let_go()
        while (cpu := self.heard()) is not None:
            if cpu != box.cpu or box.words[TURN] != ASKED:
                self._serve(cpu)
            if box.has_rung or cpu == box.cpu:
                return int(box.words[RESULT])
        raise UserError(f"the machine has ended while vCPU {box.cpu} waited in a hook.")


def open_boxes(vm: Vm) -> list[Box]:
    """Give the mailboxes of a machine with a doorbell, ready to ring."""
    in_step = vm.request.deterministic
    boxes = [Box(vm, cpu) for cpu in range(vm.request.smp)]
    for box in boxes:
        mailbox = Mailbox(box.words)
        mailbox.doorbell = UART1_BASE
        mailbox.rings = RINGS_IN_STEP if in_step else 1
        mailbox.shows = int(in_step)
    return boxes


def wanted_of(vm: Vm) -> Wanted:
    """Give L0's account of which traps hooks want, live."""
    return Wanted(
        vm.memory.window(vm.l0_base + layout.VM_OFFSET + layout.WANTED_IN_VM, Wanted.size)
    )
