"""What L1 does with its tables: while a scene runs, and before it begins."""

from __future__ import annotations

from vel2.arch.descriptors import Stage2Leaf
from vel2.arch.insn import SysInsn
from vel2.check.interleave import names
from vel2.check.interleave.ground import AF, IPAS, LEAF, NORMAL, RAM_BASE, TYPE, VTTBR
from vel2.check.interleave.guests import ALLOWED_WORD, Guests
from vel2.check.interleave.steps import Finding
from vel2.hyp import tlbi
from vel2.hyp.outcome import Outcome

__all__ = ("Hypervisor",)


class Hypervisor(Guests):
    """L1, by what it writes and the TLBIs it executes."""

    READ_ONLY = Stage2Leaf.S2AP.put(2)
    """Takes the right to write from a leaf of L1."""

    def l1_writes(self, guest: int, ipa: int, value: int, what: str) -> None:
        """Have L1 write its leaf for an IPA, and wait until that is visible (DSB ISHST)."""
        word = self.leaf_at(guest, ipa) - self.machine.memory_base >> 3
        self.machine.ghost(None, (word,), what)
        self.machine.put(word, value)

    def l1_unmaps(self, guest: int, ipa: int) -> None:
        """Have L1 take its leaf for an IPA out of its tables."""
        self.l1_writes(guest, ipa, 0, f"L1 unmaps IPA {ipa:#x} of guest {guest}")

    def l1_maps(self, guest: int, ipa: int, generation: int) -> None:
        """Have L1 map an IPA to another of its pages."""
        output = self.output(guest, ipa, generation)
        self.machine.ghost(None, (ALLOWED_WORD,), "L1 allows it")
        self.allowed[guest, ipa].add(output)
        what = f"L1 maps IPA {ipa:#x} of guest {guest} to {names.page_name(output)}"
        self.l1_writes(guest, ipa, self.leaf(output), what)

    def tlbi(self, number: int, instruction: SysInsn, guest: int, value: int = 0) -> None:
        """Have L1 execute a TLBI that traps, with a guest's VMID in VTTBR_EL2."""
        self.page(number).slot[VTTBR] = self.vttbr(guest)
        if tlbi.from_vel2(self.vcpu(number), instruction.trap_key, value) != Outcome.SKIP:
            raise Finding(f"{instruction.name} is UNDEFINED")

    def forbids(self, guest: int, ipa: int, output: int) -> None:
        """Say that L1's TLBI and its DSB are done: what it took out is not reached any more."""
        self.machine.ghost(None, (ALLOWED_WORD,), f"L1's TLBI of IPA {ipa:#x} is done")
        self.allowed[guest, ipa].discard(output)

    def l1_swaps(self, guest: int, ipa: int, value: int) -> int:
        """Have L1 exchange its leaf for an IPA (SWPAL); give what it was."""
        word = self.leaf_at(guest, ipa) - self.machine.memory_base >> 3
        what = f"L1 exchanges its leaf for IPA {ipa:#x}"
        self.machine.ghost(lambda: (word,), (word,), what)
        was = self.machine.words[word]
        self.machine.put(word, value)
        return was

    # --- what L1 has done before the scene begins ---

    def l1_leaf(self, guest: int, ipa: int, without: int, *more: int) -> None:
        """Give an IPA a leaf that lacks some bits."""
        value = self.leaf(self.output(guest, ipa)) & ~without
        for bits in more:
            value &= ~bits
        self.machine.store(8, self.leaf_at(guest, ipa), value)

    def l1_block(self, guest: int, without: int) -> None:
        """Map a guest's first 2 MiB by a block."""
        block = (RAM_BASE | LEAF | NORMAL | AF) & ~without
        self.machine.store(8, self.root(guest) + 0x1000, block)
        for ipa in IPAS:
            self.allowed[guest, ipa].add(RAM_BASE | ipa)

    def l1_table(self, guest: int) -> None:
        """Map them by a table again."""
        self.machine.store(8, self.root(guest) + 0x1000, self.root(guest) + 0x2000 | TYPE | 1)
