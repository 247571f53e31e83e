"""Scenes of the GIC that L0 mediates: one ITS, its queue, and LPIs, which all pcpus share.

L0 is reached as L1 reaches it, by an access to a register (`hyp.mmio`). Below is the model of
hardware (`vel2.check.gic_model`), which takes nothing that L0 must not give it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from unittest.mock import patch

from vel2.arch import gicv3 as g
from vel2.arch.esr import EC, ISS_DABT, ESR_ELx
from vel2.check.gic_model import GICR, GITS, STRIDE, Hardware
from vel2.check.interleave.board import RAM_BASE, Board
from vel2.check.interleave.ground import END
from vel2.check.interleave.play import Play, Scene, ready
from vel2.check.interleave.steps import Finding
from vel2.hyp import its, its_queue, its_submit, layout, lpi, mmio
from vel2.hyp.gicstate import Gic, properties_of
from vel2.hyp.outcome import Outcome
from vel2.lang import L1IPA

__all__ = ("GIC_SCENES",)

DEVICE_WORD = -600
"""The word of the checker's own that stands for the registers of the GIC."""
QUEUE = RAM_BASE + 0x12_8000
PROPERTIES = RAM_BASE + 0x12_9000
"""Of L1: its command queue, and its LPI Configuration table."""
DEVICE_ID, EVENT, INTID, ICID = 3, 1, g.FIRST_LPI + 5, 2
RETRIES_AT_MOST = 40
ENABLED, DISABLED = 0xA1, 0xA0
"""Properties of an LPI."""


class GicBoard(Board):
    """A board with an ITS and a redistributor for each pcpu; L1's device is mapped and enabled."""

    def __init__(self, pcpus: int) -> None:
        super().__init__(pcpus, beyond=layout.GIC_BYTES)
        config = self.vm.config
        config.gic, config.its_control = END, GITS
        config.ram_end = END
        config.redistributor_count = pcpus
        for number in range(pcpus):
            config.redistributors[number] = GICR + number * STRIDE
        self.gic = self.machine.at(Gic, END)
        self.hardware = Hardware(self.load, END, pcpus)
        with self.on(0):
            if its.init(self.vm):
                raise AssertionError("L0 does not take the ITS")
            for offset in (g.GITS_BASER.offset, g.GITS_BASER.offset + 8):
                self.store_to(0, GITS + offset, g.GITS_BASER.Valid.mask)
            base = QUEUE | g.GITS_CBASER.Valid.mask
            self.store_to(0, GITS + g.GITS_CBASER.offset, base)
            self.store_to(0, GITS + g.GITS_CTLR.offset, 1, size=4)

    def load(self, address: int) -> int:
        """Read memory as the ITS does."""
        return self.machine.words[address - self.machine.memory_base >> 3]

    def save(self) -> None:
        """Say that the scene begins as things are now, in the GIC too."""
        super().save()
        before = {key: deepcopy(value) for key, value in self.state().items()}
        self.resets.append(lambda: self.hardware.__dict__.update(deepcopy(before)))

    def state(self) -> dict[str, object]:
        """Give what the GIC keeps."""
        return {key: value for key, value in vars(self.hardware).items() if key != "load"}

    # --- L0 and hardware ---

    @contextmanager
    def stand_ins(self) -> Iterator[None]:
        """Put the model below L0."""
        with super().stand_ins(), ExitStack() as stack:
            for module in (its, its_queue, its_submit, lpi):
                for name in ("read_register", "read_long_register"):
                    if hasattr(module, name):
                        stack.enter_context(patch.object(module, name, self.reads_device))
                for name, mask in (("write_register", (1 << 32) - 1), ("write_long_register", -1)):
                    if hasattr(module, name):
                        stack.enter_context(patch.object(module, name, self.writer(mask)))
            stack.enter_context(patch.object(lpi, "copy_page", self.copy_page))
            stack.enter_context(patch.object(its_submit, "PATIENCE", 1))
            yield

    def comes(self, what: str) -> None:
        """Come to an access to the GIC's registers."""
        if self.machine.running is not None:
            self.machine.ghost(lambda: (DEVICE_WORD,), (DEVICE_WORD,), what)

    def reads_device(self, address: int) -> int:
        """Read a register of the model."""
        self.comes("reads a register of the GIC")
        return self.hardware.read(address)

    def writer(self, mask: int) -> Callable[[int, int], None]:
        """Give what writes a register of the model."""

        def write(address: int, value: int) -> None:
            self.comes("writes a register of the GIC")
            try:
                self.hardware.write(address, value & mask)
            except (AssertionError, KeyError) as error:
                raise Finding(f"wrong: hardware was told what is not so ({error})") from error

        return write

    def copy_page(self, vm: object, source: int, target: int) -> None:
        """Copy a page as `lpi.copy_page` does, in two steps: nobody sees more than one word of it.

        The word is the one with the LPI that scenes use.
        """
        del vm
        word = (INTID - g.FIRST_LPI) & -8
        value = self.machine.load(8, source + word) if source >= RAM_BASE else 0
        self.machine.store(8, target + word, value)

    # --- L1 ---

    def trap(self, number: int, address: int, *, is_write: bool, size: int) -> None:
        """Have L1 execute a load or store of x1 until it is done."""
        vcpu = self.vcpu(number)
        vcpu.trap.esr = (
            ESR_ELx.EC.put(EC.DABT_LOWER)
            | ISS_DABT.compose(ISV=1, SAS=size.bit_length() - 1, SRT=1, SF=1, WnR=is_write)
            | ESR_ELx.IL.mask
        )
        for _ in range(RETRIES_AT_MOST):
            if mmio.access(vcpu, L1IPA(address)) != Outcome.RESUME:
                return
        raise Finding(f"pcpu {number} executes its access to {address:#x} for ever")

    def store_to(self, number: int, address: int, value: int, *, size: int = 8) -> None:
        """Have L1 write a register."""
        self.vcpu(number).x[1] = value
        self.trap(number, address, is_write=True, size=size)

    def load_from(self, number: int, address: int) -> int:
        """Have L1 read a register."""
        self.trap(number, address, is_write=False, size=8)
        return self.vcpu(number).x[1]

    def put_command(self, index: int, *words: int) -> None:
        """Write one of L1's commands into its queue, before the scene begins."""
        for offset, word in enumerate(words):
            self.machine.store(8, QUEUE + 32 * index + 8 * offset, word)

    def rings(self, number: int, commands: int) -> None:
        """Have L1 say that there are so many commands."""
        self.store_to(number, GITS + g.GITS_CWRITER.offset, 32 * commands)

    def polls(self, number: int) -> int:
        """Have L1 ask how many commands are done."""
        return self.load_from(number, GITS + g.GITS_CREADR.offset) // 32

    def l1_byte(self, value: int, what: str) -> None:
        """Have L1 write the properties of the LPI."""
        address = PROPERTIES + INTID - g.FIRST_LPI
        word, shift = address - self.machine.memory_base >> 3, 8 * (address & 7)
        self.machine.ghost(lambda: (word,), (word,), what)
        self.machine.put(word, self.machine.words[word] & ~(0xFF << shift) | value << shift)

    def property_of(self) -> int:
        """Give the properties of the LPI that hardware has."""
        address = properties_of(self.gic) + INTID - g.FIRST_LPI
        return self.load(address & -8) >> 8 * (address & 7) & 0xFF


MAPD = (
    g.Command.MAPD | DEVICE_ID << 32,
    3,
    g.MAPD_DW2.V.mask,
    0,
)
MAPTI = (g.Command.MAPTI | DEVICE_ID << 32, EVENT | INTID << 32, ICID, 0)
WRONG_MAPTI = EVENT + 200 | INTID << 32
"""Its second word, of an event that the device does not have."""
INV = (g.Command.INV | DEVICE_ID << 32, EVENT, 0, 0)


def mapc(board: GicBoard, number: int) -> tuple[int, ...]:
    """Give L1's MAPC of its collection to a redistributor."""
    processor = board.hardware.processors[number]
    return (g.Command.MAPC, 0, 1 << 63 | processor << 16 | ICID, 0)


def two_ring() -> Play:
    """Have one CPU give commands, and another one ask how far they are."""
    board = GicBoard(2)
    for index, command in enumerate((MAPD, mapc(board, 0), MAPTI)):
        board.put_command(index, *command)

    def finish() -> None:
        done = board.gic.creadr // 32
        if done != 3 or board.hardware.commands != 3 or board.gic.refused:
            raise Finding(
                f"wrong: {done} of 3 commands are done, and hardware did {board.hardware.commands}"
            )
        if board.hardware.devices[DEVICE_ID].events != {EVENT: (INTID, ICID)}:
            raise Finding("wrong: the event is not mapped as L1 said")

    def ask() -> None:
        board.polls(1)
        board.polls(1)

    return ready(board, {0: lambda: board.rings(0, 3), 1: ask}, finish)


def slow_hardware() -> Play:
    """Have the ITS take its time, as an observer of its own, while a CPU asks how far it is."""
    board = GicBoard(3)
    board.put_command(0, *mapc(board, 0))
    board.hardware.is_slow = True

    def work() -> None:
        board.comes("the ITS works on its queue")
        board.hardware.work()

    def ask() -> None:
        said = board.polls(1)
        if said > board.hardware.commands:
            raise Finding(f"wrong: {said} commands are said to be done, before hardware did them")

    return ready(board, {0: lambda: board.rings(0, 1), 1: ask, 2: work})


def changed_command() -> Play:
    """Have another CPU change a command that L0 has begun to look at."""
    board = GicBoard(2)
    for index, command in enumerate((MAPD, mapc(board, 0), MAPTI)):
        board.put_command(index, *command)
    word = QUEUE + 32 * 2 + 8 - board.machine.memory_base >> 3

    def change() -> None:
        board.machine.ghost(None, (word,), "L1 changes its MAPTI")
        board.machine.put(word, WRONG_MAPTI)

    def finish() -> None:
        events = board.hardware.devices[DEVICE_ID].events
        if events not in ({EVENT: (INTID, ICID)}, {}):
            raise Finding(f"wrong: hardware has {events}, which L1 may not map")

    return ready(board, {0: lambda: board.rings(0, 3), 1: change}, finish)


def changed_property() -> Play:
    """Enable LPIs on one CPU while another one changes one's properties, and says so (INV)."""
    board = GicBoard(2)
    for index, command in enumerate((MAPD, mapc(board, 0), MAPTI)):
        board.put_command(index, *command)
    frame = GICR
    byte = INTID - g.FIRST_LPI
    board.machine.store(8, PROPERTIES + byte & -8, DISABLED << 8 * (byte & 7))
    with board.on(0):
        board.rings(0, 3)
        bits = g.GICR_PROPBASER.IDbits.put(13)
        board.store_to(0, frame + g.GICR_PROPBASER.offset, PROPERTIES | bits)
    board.put_command(3, *INV)

    def enable() -> None:
        board.store_to(0, frame + g.GICR_CTLR.offset, g.GICR_CTLR.EnableLPIs.mask, size=4)

    def change() -> None:
        board.l1_byte(ENABLED, "L1 enables the LPI")
        board.rings(1, 4)
        board.polls(1)

    def finish() -> None:
        if board.property_of() != ENABLED:
            raise Finding(f"stale: the LPI's properties are {board.property_of():#x}")

    return ready(board, {0: enable, 1: change}, finish)


GIC_SCENES = (
    Scene("its-queue", "a CPU gives the ITS commands as another one asks for them", two_ring),
    Scene("its-slow", "a CPU asks an ITS whose hardware is slow", slow_hardware),
    Scene("its-command", "L1 changes a command that L0 has begun to look at", changed_command),
    Scene("lpi-enable", "LPIs are enabled as one's properties change (INV)", changed_property),
)
