"""CPUs that go on and off, the firmware below L0, and L1 as a host whose TLBIs L0 sees or not."""

from __future__ import annotations

from typing import NoReturn

from vel2.arch import sysregs as sr
from vel2.check.interleave.ground import HCR
from vel2.check.interleave.hypervisor import Hypervisor
from vel2.check.interleave.steps import Finding, power_word, trap_word
from vel2.hyp import start, tlbi
from vel2.hyp.pcpu import OFF
from vel2.hyp.state import CONTEXT_VEL2

__all__ = ("Firmware",)


class Firmware(Hypervisor):
    """CPUs of L1 that PSCI turns on and off."""

    def host_mode(self, number: int) -> None:
        """Make L1 on a pcpu a host (HCR_EL2.TGE) that has executed many TLBIs of its own."""
        self.page(number).slot[HCR] = sr.HCR_EL2.compose(E2H=1, TGE=1)
        vcpu = self.vcpu(number)
        vcpu.context = CONTEXT_VEL2
        vcpu.guesses.tlbis_of_own_regime = tlbi.TRAPPED_AT_MOST - 2
        registers = self.machine.pcpus[number].registers
        registers[sr.HCR_EL2.trap_key] = sr.HCR_EL2.compose(VM=1, NV=1, TTLB=1)

    def turned_off(self, number: int) -> None:
        """Begin the scene with a pcpu off."""
        self.vcpu(number).power.state = OFF
        self.vm.online -= 1

    def firmware_does(self, number: int, what: str) -> None:
        """Come to where the firmware changes what it knows of a pcpu."""
        self.machine.ghost(lambda: (power_word(number),), (power_word(number),), what)

    def firmware_tells(self, number: int, what: str) -> None:
        """Come to where the firmware says what it knows of a pcpu."""
        self.machine.ghost(lambda: (power_word(number),), (), what)

    def starts(self, number: int, vcpu: int) -> None:
        """Start a pcpu at L0's entry, with the address of its vCPU."""
        if vcpu != self.machine.address_of(self.vcpu(number)):
            raise Finding(f"pcpu {number} is started with the vCPU of another")

        def run() -> None:
            start.start_secondary(self.vcpu(number), self.vm)
            if self.watches_tlbis:
                self.sees_tlbis()

        self.machine.turn_on(number, run)

    def ends(self) -> NoReturn:
        """Turn off the pcpu that runs."""
        self.machine.leave()

    def sees_tlbis(self) -> None:
        """Check that L0 sees the TLBIs of all CPUs' vEL2 while there is more than one."""
        me = self.me()
        self.machine.ghost(
            lambda: [trap_word(number) for number in range(self.pcpus)], (), "L1 runs here"
        )
        for pcpu in self.machine.pcpus:
            hcr = pcpu.registers[sr.HCR_EL2.trap_key]
            if pcpu.number != me and not hcr & sr.HCR_EL2.TTLB.mask:
                raise Finding(f"the TLBIs of pcpu {pcpu.number} are not seen, and pcpu {me} runs")
