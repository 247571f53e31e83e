"""What has to hold: of all that a pcpu may use, at any time, and of the pool when all is done."""

from __future__ import annotations

from vel2.arch import sysregs as sr
from vel2.check.interleave import names
from vel2.check.interleave.ground import ADDRESS, IPAS, VTTBR
from vel2.check.interleave.stage import Stage
from vel2.check.interleave.steps import Finding
from vel2.check.interleave.tlb import Walked
from vel2.hyp import layout, pool
from vel2.hyp.state import Stage2

__all__ = ("Invariants",)


class Invariants(Stage):
    """A stage whose state can be held to the rules."""

    def check(self, number: int, vttbr: int, guest: int, ipa: int, walked: Walked) -> None:
        """Hold what a pcpu may use to what L1 allows, and to whose tables they are."""
        for found in walked.translations:
            shift = 12 + 9 * (3 - found.level)
            output = found.leaf & ADDRESS & -1 << shift | ipa & (1 << shift) - 1
            if output not in self.allowed[guest, ipa]:
                raise Finding(
                    f"stale: pcpu {number} may reach {names.page_name(output)} through IPA "
                    f"{ipa:#x} of guest {guest}, which L1 does not allow"
                    + ("" if found.is_now else " (its TLB may still hold it)")
                )
        if walked.doubled is not None:
            raise Finding(
                f"no break before make: pcpu {number} may hold two valid values of one descriptor"
            )
        owner = self.context_of(vttbr)
        if owner is not None:
            mine = {self.page_address(index) for index in self.chain(owner, "pages", "next")}
            for table in walked.tables - mine - {vttbr & ADDRESS}:
                name = names.table_name(self.vm, table)
                raise Finding(f"pcpu {number} may walk {name}, which is not its context's")

    def chain(self, owner: Stage2 | None, head: str, link: str) -> list[int]:
        """Follow a list of pool pages; give their numbers."""
        vm = self.vm
        with self.unwatched():
            number = vm.stage2.pool_free if owner is None else getattr(owner, head)
            found: list[int] = []
            while number:
                index = number - 1
                if index >= vm.stage2.pool_pages or index in found:
                    raise Finding("a list of pool pages is broken")
                found.append(index)
                number = getattr(pool.record_of(vm, index), link)
            return found

    def context_of(self, vttbr: int) -> Stage2 | None:
        """Find the shadow context with a VTTBR_EL2."""
        with self.unwatched():
            for context in self.vm.stage2.shadows:
                if context.vttbr == vttbr:
                    return context
            return None

    def page_address(self, index: int) -> int:
        """Give where a pool page is."""
        with self.unwatched():
            return self.vm.stage2.pool_first_page + (index << layout.PAGE_SHIFT)

    def finish(self) -> None:
        """Check what holds when nobody is in L0.

        :raises Finding: what does not.
        """
        vm = self.vm
        lock = vm.stage2.lock
        if lock.next != lock.served:
            raise Finding("the lock is held, and nobody is there any more to give it back")
        self.check_pool()
        for number in range(self.pcpus):
            vttbr = self.machine.pcpus[number].registers[sr.VTTBR_EL2.trap_key]
            guest = sr.VTTBR_EL2.VMID.get(self.page(number).slot[VTTBR]) - 1
            if self.context_of(vttbr) is None or guest < 0:
                continue
            for ipa in IPAS:
                walked = self.machine.tlbs.walk(number, vttbr, ipa)
                self.check(number, vttbr, guest, ipa, walked)

    def check_pool(self) -> None:
        """Require every pool page to be in exactly one place, and the counts to agree."""
        vm = self.vm
        places = self.chain(None, "", "next")
        used = 0
        for owner in (vm.stage2.canonical, vm.stage2.devices, *vm.stage2.shadows):
            pages = self.chain(owner, "pages", "next")
            used += len(pages)
            places += pages
            if not set(self.chain(owner, "spare", "next_spare")) <= set(pages):
                raise Finding("a spare page belongs to another context")
        if sorted(places) != list(range(vm.stage2.pool_pages)):
            raise Finding("a pool page is lost, or in two lists")
        if vm.stage2.pool_used != used:
            raise Finding(f"the pool counts {vm.stage2.pool_used} pages in use; it is {used}")
