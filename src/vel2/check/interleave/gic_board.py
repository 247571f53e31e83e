"""A board with an ITS and redistributors: L1's accesses to their registers, and hardware below L0.

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
from vel2.check.interleave.steps import Finding
from vel2.hyp import its, its_queue, its_submit, layout, lpi, mmio
from vel2.hyp.gicstate import Gic, properties_of
from vel2.hyp.outcome import Outcome
from vel2.lang import L1IPA

__all__ = ("INTID", "PROPERTIES", "QUEUE", "GicBoard")

DEVICE_WORD = -600
"""The word of the checker's own that stands for the registers of the GIC."""
QUEUE = RAM_BASE + 0x12_8000
PROPERTIES = RAM_BASE + 0x12_9000
"""Of L1: its command queue, and its LPI Configuration table."""
INTID = g.FIRST_LPI + 5
"""The LPI that scenes use."""
RETRIES_AT_MOST = 40


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
        """Copy the one word of a page that scenes look at, as `lpi.copy_page` copies all of it."""
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
