"""A simulated machine with several pcpus, which take turns at each access to what they share.

Each pcpu runs resident functions in a greenlet of its own, with its own registers. Memory is one
(`memory`). Before an access to a *shared* word (one that two pcpus touch and one of them writes), a
pcpu waits for its turn (`turns`). What its TLB may hold is in `tlb`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NoReturn, cast

import greenlet

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import LAST_LEVEL, MAIR_NORMAL_WB
from vel2.arch.esr import FSC
from vel2.arch.insn import SysInsn, by_key
from vel2.check.interleave.actors import VTTBR_KEY, Buffer, Director, Pcpu
from vel2.check.interleave.memory import SharedMemory
from vel2.check.interleave.steps import GHOST, Ended, Off, Step, power_word, trap_word
from vel2.check.interleave.tlb import Tlbs, tlb_word, vmid_of
from vel2.lang.sim import ORDERING, ORDERING_KEY

__all__ = ("Machine",)

WAITS = ("yield", "wfe")


class Machine(SharedMemory):
    """See the module's text."""

    def __init__(self, base: int, size: int, pcpus: int) -> None:
        super().__init__(base, size)
        self.pcpus = [Pcpu(self, number) for number in range(pcpus)]
        self.actors = list(self.pcpus)
        self.actors += [Buffer(pcpu, pcpus + pcpu.number) for pcpu in self.pcpus]
        self.tlbs = Tlbs(self)

    # --- registers and instructions ---

    def walked(self, word: int, before: int) -> None:
        """Tell the TLBs of a table's new value."""
        tlbs = self.tlbs
        if word in self.tables or word == tlbs.stage1_word or word in tlbs.windows:
            number = -1 if self.running is None else self.running.number
            tlbs.stored(number, word, before)

    def translate(self, pcpu: Pcpu) -> None:
        """Do an AT S1E1R or S1E1W: the worst that hardware may find stage 1 to be, in PAR_EL1."""
        word = self.tlbs.stage1_word
        vmid = vmid_of(pcpu.registers[VTTBR_KEY])
        self.ghost(lambda: (word, tlb_word(vmid)), (), "AT translates by L1's stage 1")
        found = self.tlbs.values(pcpu.number, vmid, word, 0)
        leaf = next((value for value, (_, is_now) in found.items() if not is_now), self.words[word])
        par = sr.PAR_EL1_F.compose(F=1, FST=FSC.TRANSLATION | LAST_LEVEL)
        if leaf:
            par = leaf & sr.PAR_EL1.PA.mask | sr.PAR_EL1.ATTR.put(MAIR_NORMAL_WB)
        pcpu.registers[sr.PAR_EL1.trap_key] = par

    def loads_vttbr(self, pcpu: Pcpu, value: int) -> None:
        """Come to a write of VTTBR_EL2: from now on this pcpu may walk other tables."""
        if self.running is pcpu:
            self.ghost(lambda: self.tlbs.walk_words(value), (), "loads VTTBR_EL2", value)
        self.tlbs.loaded(pcpu.number, value)

    def changes_trap(self, pcpu: Pcpu) -> None:
        """Come to a change of HCR_EL2.TTLB: whether this pcpu's TLBIs trap."""
        if self.running is pcpu:
            self.ghost(None, (trap_word(pcpu.number),), "changes HCR_EL2.TTLB")

    def log_operation(self, key: int, value: int = 0) -> None:
        """Do a system instruction, a barrier or a hint."""
        pcpu = self.running
        if pcpu is None:
            return
        if key >= ORDERING_KEY:
            name = ORDERING[key - ORDERING_KEY]
            if name in WAITS:
                self.wait(pcpu)
            elif name.startswith("dmb"):
                self.drain()
            elif name.startswith("dsb"):
                self.drain()
                writes = self.tlbs.completes(pcpu.number)
                if writes:
                    self.ghost(None, writes, f"{name}: TLBI is complete")
                self.tlbs.synchronized(pcpu.number)
            return
        instruction = by_key(key)
        if not isinstance(instruction, SysInsn):
            return
        if instruction.name.startswith("TLBI "):
            self.tlbs.invalidates(pcpu.number, instruction.name, pcpu.registers[VTTBR_KEY], value)
        elif instruction.name.startswith("AT S1E1"):
            self.translate(pcpu)

    # --- runs ---

    @property
    def is_over(self) -> bool:
        """Whether everybody has done all there was to do."""
        return all(actor.is_done for actor in self.actors)

    def prepare(self, programs: dict[int, Callable[[], None]]) -> None:
        """Say what each pcpu runs; those without a program are off."""
        for pcpu in self.pcpus:
            pcpu.begin = programs.get(pcpu.number)
            pcpu.is_done = pcpu.begin is None
            pcpu.pending, pcpu.waits_for, pcpu.granted = Step((), (), GHOST, "begins"), None, False
            pcpu.count = 0
            pcpu.stores, pcpu.drains = [], False
            pcpu.greenlet = None
        for actor in self.actors[len(self.pcpus) :]:
            actor.count = 0

    def turn_on(self, number: int, program: Callable[[], None]) -> None:
        """Start a pcpu that is off: its first step depends on the caller's last."""
        pcpu = self.pcpus[number]
        pcpu.begin, pcpu.is_done, pcpu.greenlet = program, False, None
        pcpu.pending = Step((power_word(number),), (), GHOST, "begins")

    def run(self, director: Director) -> None:
        """Let the pcpus run until nobody has anything left to do."""
        self.director = director
        self.hub = greenlet.getcurrent()
        self._stack.append(self)
        try:
            while True:
                try:
                    pcpu = self.chosen or director.choose(self)
                except Ended:
                    return
                self.chosen = None
                if isinstance(pcpu, Buffer):
                    self.record(pcpu)
                    word, value, _ = pcpu.owner.stores.pop(0)
                    self.put(word, value)
                    continue
                self.running = pcpu
                self.registers = cast("Any", pcpu.registers)
                if pcpu.greenlet is None:
                    assert pcpu.begin is not None
                    pcpu.greenlet = greenlet.greenlet(self._life)
                    self.record(pcpu)
                try:
                    pcpu.greenlet.switch(pcpu)
                except Ended:
                    return
        finally:
            self._stack.pop()
            self.running = None
            self.chosen = None
            for pcpu in self.pcpus:
                if pcpu.greenlet is not None and not pcpu.greenlet.dead:
                    pcpu.greenlet.throw(greenlet.GreenletExit)
                pcpu.greenlet = None

    def _life(self, pcpu: Pcpu) -> None:
        assert pcpu.begin is not None
        with contextlib.suppress(Off):
            pcpu.begin()
        pcpu.is_done = True

    def leave(self) -> NoReturn:
        """End the program of the pcpu that runs: its firmware has turned it off."""
        raise Off

    def take_back(self) -> None:
        """Make memory what it was before the run."""
        words = self.words
        for word, value in self.undo.items():
            words[word] = value
        self.undo.clear()
        self.trace = []
        self.loads = 0
