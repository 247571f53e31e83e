"""What L1's guests do: they use addresses, and are held to what L1 allows them."""

from __future__ import annotations

from collections.abc import Callable

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import Stage2Leaf
from vel2.arch.esr import EC, FSC, ISS_DABT, ESR_ELx
from vel2.check.interleave.ground import IPAS, PCPUS_OFFSET, VTTBR
from vel2.check.interleave.invariants import Invariants
from vel2.check.interleave.steps import Finding
from vel2.check.interleave.tlb import tlb_word, vmid_of
from vel2.hyp import abort, layout, shadow, stage2
from vel2.hyp.outcome import Outcome
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2
from vel2.lang import IPA

__all__ = ("ALLOWED_WORD", "Guests")

READ = ESR_ELx.EC.put(EC.DABT_LOWER) | ESR_ELx.IL.mask | FSC.TRANSLATION | 3
WRITE = READ | ISS_DABT.WnR.mask
WRITABLE = Stage2Leaf.S2AP.put(2)
ALLOWED_WORD = -500
"""The word of the checker's own that stands for what L1 allows."""
FAULTS_AT_MOST = 8


class Guests(Invariants):
    """Guests that L1 enters and leaves."""

    def me(self) -> int:
        """Give the number of the pcpu that runs."""
        assert self.machine.running is not None
        return self.machine.running.number

    def enter(self, number: int, guest: int) -> None:
        """Have L1 enter a guest: what an ERET of vEL2 does to stage 2."""
        page, vcpu = self.page(number), self.vcpu(number)
        page.slot[VTTBR] = self.vttbr(guest)
        vcpu.context = CONTEXT_VEL1
        shadow.select(vcpu)

    def leave(self, number: int) -> None:
        """Come back to vEL2."""
        self.vcpu(number).context = CONTEXT_VEL2
        stage2.load_canonical(self.vm)

    def access(self, number: int, ipa: int, *, is_write: bool = False) -> bool:
        """Have the guest that runs use an IPA, faulting as hardware does.

        :return: False when L1 gets the fault.
        """
        for _ in range(FAULTS_AT_MOST):
            if self.uses(number, ipa, is_write=is_write):
                return True
            if not self.fill(number, ipa, is_write=is_write):
                return False
        raise Finding(f"pcpu {number} faults on IPA {ipa:#x} for ever")

    def fill(self, number: int, ipa: int, *, is_write: bool = False) -> bool:
        """Take a stage-2 fault on an IPA; False when L1 gets it."""
        vcpu = self.vcpu(number)
        vcpu.trap.esr = WRITE if is_write else READ
        vcpu.trap.far = ipa
        vcpu.exception.syndrome = 0
        return abort.stage2_fault(vcpu, IPA(ipa)) != Outcome.EXCEPTION

    def fill_once(self, number: int, ipa: int) -> None:
        """Fault on an IPA if it is not mapped, and once only."""
        if not self.uses(number, ipa):
            self.fill(number, ipa)

    def uses(self, number: int, ipa: int, *, is_write: bool = False) -> bool:
        """Hold all that an access may be translated to to the rules; False if it faults."""
        tlbs = self.machine.tlbs
        vttbr = self.machine.pcpus[number].registers[sr.VTTBR_EL2.trap_key]

        def words() -> list[int]:
            walked = tlbs.walk(number, vttbr, ipa)
            return [*sorted(walked.words), tlb_word(vmid_of(vttbr)), ALLOWED_WORD]

        self.machine.ghost(words, (), f"its guest uses IPA {ipa:#x}")
        walked = tlbs.walk(number, vttbr, ipa)
        guest = sr.VTTBR_EL2.VMID.get(self.machine.words[self.page_word(number, VTTBR)]) - 1
        self.check(number, vttbr, guest, ipa, walked)
        needed = WRITABLE if is_write else 0
        return any(each.is_now and each.leaf & needed == needed for each in walked.translations)

    def page_word(self, number: int, index: int) -> int:
        """Give the word of a slot of a vCPU's page."""
        return (self.vm_words(number) >> 3) + index

    def vm_words(self, number: int) -> int:
        """Give the offset of a vCPU's page in memory."""
        block = PCPUS_OFFSET + number * layout.PCPU_BYTES
        return block + layout.VNCR_IN_PCPU

    def stage1_at(self) -> int:
        """Give where the guest that has one has its stage-1 descriptor: in a page of L1."""
        return self.output(0, IPAS[1])

    def waits(self, number: int) -> None:
        """Have L1 wait for its TLBIs (DSB ISH)."""
        machine = self.machine
        machine.ghost(None, machine.tlbs.completes(number), "L1's DSB")
        machine.tlbs.synchronized(number)

    def stage1_changes(self, guest: int | str, value: int) -> None:
        """Have a guest's stage-1 descriptor changed, and wait until that is visible."""
        word = self.stage1_at() - self.machine.memory_base >> 3
        self.machine.ghost(None, (word,), f"stage 1 of {whose(guest)} becomes {value:#x}")
        self.machine.put(word, value)
        self.machine.tlbs.synchronized(self.me())

    def uses_stage1(self, number: int, guest: int | str, wrong: Callable[[], set[int]]) -> None:
        """Hold what a guest's access may find stage 1 to be to what it may be."""
        machine, tlbs = self.machine, self.machine.tlbs
        vttbr = machine.pcpus[number].registers[sr.VTTBR_EL2.trap_key]
        vmid = vmid_of(vttbr)
        words = (tlbs.stage1_word, tlb_word(vmid), ALLOWED_WORD)
        machine.ghost(lambda: words, (), f"{whose(guest)} translates by its stage 1")
        tlbs.enters(number, vttbr)
        for value in tlbs.values(number, vmid, tlbs.stage1_word, 0):
            if value in wrong():
                raise Finding(
                    f"stale: pcpu {number} may translate by the stage 1 of {whose(guest)} "
                    "that was before the TLBI"
                )


def whose(guest: int | str) -> str:
    """Name a guest by its number, or whoever else has a stage 1."""
    return f"guest {guest}" if isinstance(guest, int) else guest
