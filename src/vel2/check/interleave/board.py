"""A small machine for scenes: L0's state, L1's tables, and what L1 and its guests do.

L1 is one page of tables for each level and guest: guest `g` has VMID `1 + g`, and L1 maps its IPAs
(`IPAS`) to pages of its own. Nothing of L0 is imitated: what L0 does is `vel2.hyp`. What the guests
do is the checker's: a guest's access is translated by all that `Tlbs` says its pcpu may hold, and
held to what L1 allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn
from unittest.mock import patch

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import ENTRIES, Stage2Leaf
from vel2.arch.esr import EC, FSC, ISS_DABT, ESR_ELx
from vel2.arch.insn import SysInsn
from vel2.check.interleave import names
from vel2.check.interleave.machine import Finding, Machine, power_word, trap_word
from vel2.check.interleave.tlb import Walked, tlb_word, vmid_of
from vel2.hyp import abort, layout, pool, power, shadow, stage2, start, tlbi
from vel2.hyp.homes import slot
from vel2.hyp.outcome import Outcome
from vel2.hyp.pcpu import OFF, ON
from vel2.hyp.state import (
    CONTEXT_VEL1,
    CONTEXT_VEL2,
    REGION_RAM,
    SHADOW_CONTEXTS,
    PoolPage,
    Stage2,
    Vcpu,
    Vm,
    VncrPage,
)
from vel2.lang import IPA

__all__ = ("IPAS", "Board")

RAM_BASE = 0x4000_0000
RAM_BYTES = 0x40_0000
TABLES_BYTES = 0x13_0000
"""How much of L1's RAM is there: its tables, and pages of the first guest."""
PCPUS_OFFSET = 0x1_0000
PARANGE_36_BITS = 1
START_LEVEL = 1
ROOTS = SHADOW_CONTEXTS + 2
"""Of the canonical stage 2, of the devices' and of each shadow."""
IPAS = (0x0, 0x1000)
SECONDARY_ENTRY = 0x1234_5000
VTTBR, VTCR, HCR = slot(sr.VTTBR_EL2), slot(sr.VTCR_EL2), slot(sr.HCR_EL2)
L1_VTCR = sr.VTCR_EL2.compose(T0SZ=28, SL0=1, PS=PARANGE_36_BITS, VS=1)
L1_VTCR_HA = L1_VTCR | sr.VTCR_EL2.HA.mask
LEAF = Stage2Leaf.VALID.mask | Stage2Leaf.S2AP.put(3) | Stage2Leaf.SH.put(3)
NORMAL = Stage2Leaf.MemAttr.put(0b1111)
AF = Stage2Leaf.AF.mask
TYPE = Stage2Leaf.TYPE.mask
ADDRESS = Stage2Leaf.OA.mask
READ = ESR_ELx.EC.put(EC.DABT_LOWER) | ESR_ELx.IL.mask | FSC.TRANSLATION | 3
WRITE = READ | ISS_DABT.WnR.mask
WRITABLE = Stage2Leaf.S2AP.put(2)
ALLOWED_WORD = -500
"""The word of the checker's own that stands for what L1 allows."""
FAULTS_AT_MOST = 8
GUEST_BYTES = 0x4000
PAGES_OFFSET = 0x12_0000
"""Where in L1's RAM the guests' pages are: nothing reads or writes them."""


class Board:
    """See the module's text.

    :param pool_pages: tables that the pool has left when the scene begins.
    """

    READ_ONLY = Stage2Leaf.S2AP.put(2)
    """Takes the right to write from a leaf of L1."""

    def __init__(self, pcpus: int, pool_pages: int = 16, guests: int = 2) -> None:
        records = (
            -(-(pool_pages + ROOTS + 6) * PoolPage.size // layout.PAGE_BYTES) * layout.PAGE_BYTES
        )
        size = records + (ROOTS + 1 + pool_pages) * layout.PAGE_BYTES
        pool_base = RAM_BASE - size
        first_pcpu = pool_base - pcpus * layout.PCPU_BYTES
        base = first_pcpu - PCPUS_OFFSET
        self.machine = machine = Machine(base, RAM_BASE + TABLES_BYTES - base, pcpus)
        self.vm = vm = machine.at(Vm, base)
        self.pcpus = pcpus
        vm.config.pool_base, vm.config.pool_size = pool_base, size
        vm.stage2.pool_end = RAM_BASE
        vm.config.l0_base = base
        vm.config.ram_base, vm.config.ram_end = RAM_BASE, RAM_BASE + RAM_BYTES
        vm.config.max_parange = PARANGE_36_BITS
        vm.config.region_count = 1
        region = vm.config.regions[0]
        region.base, region.length, region.kind = RAM_BASE, RAM_BYTES, REGION_RAM
        vm.config.pcpus, vm.config.cpu_count, vm.online = first_pcpu, pcpus, pcpus
        machine.symbols["secondary_entry"] = SECONDARY_ENTRY
        with self.on(0):
            if not stage2.init(vm, PARANGE_36_BITS):
                raise AssertionError("the pool is too small for the canonical stage 2")
        first = vm.stage2.canonical.root - base >> 3
        machine.tables = range(first, RAM_BASE - base >> 3)
        machine.tlbs.start_level = START_LEVEL
        machine.tlbs.ipas = IPAS
        self.allowed: dict[tuple[int, int], set[int]] = {}
        """By guest and IPA: every page of L1 that an access may still reach."""
        for number in range(pcpus):
            self._make_vcpu(number)
        for guest in range(guests):
            self._make_guest(guest)
        self.firmware: Callable[[int, int, int, int], int] = lambda *_: 0
        self.resets: list[Callable[[], None]] = []
        """Called before each run."""
        self.watches_tlbis = False
        self.saved_registers: list[dict[int, int]] = []
        self.saved_allowed: dict[tuple[int, int], set[int]] = {}

    def _make_vcpu(self, number: int) -> None:
        vcpu = self.vcpu(number)
        vcpu.vm, vcpu.index = self.vm.config.l0_base, number
        vcpu.vel2.vncr_page = self.machine.address_of(vcpu) - layout.VCPU_IN_PCPU
        vcpu.vel2.vncr_page += layout.VNCR_IN_PCPU
        vcpu.e2h = 1
        vcpu.power.state = ON
        self.vm.probed.affinities[number] = number
        self.machine.pcpus[number].registers[sr.VTTBR_EL2.trap_key] = self.vm.stage2.canonical.vttbr
        self.page(number).slot[HCR] = sr.HCR_EL2.compose(VM=1, E2H=1)
        self.page(number).slot[VTCR] = L1_VTCR

    def _make_guest(self, guest: int) -> None:
        root = self.root(guest)
        self.machine.store(8, root, root + 0x1000 | TYPE | 1)
        self.machine.store(8, root + 0x1000, root + 0x2000 | TYPE | 1)
        for ipa in IPAS:
            output = self.output(guest, ipa)
            self.machine.store(8, self.leaf_at(guest, ipa), self.leaf(output))
            self.allowed[guest, ipa] = {output}

    # --- where things are ---

    def vcpu(self, number: int) -> Vcpu:
        """Give a vCPU."""
        first = self.vm.config.pcpus + layout.VCPU_IN_PCPU
        return self.machine.at(Vcpu, first + number * layout.PCPU_BYTES)

    def page(self, number: int) -> VncrPage:
        """Give a vCPU's VNCR page."""
        return self.machine.at(VncrPage, self.vcpu(number).vel2.vncr_page)

    @staticmethod
    def root(guest: int) -> int:
        """Give where L1's tables for a guest begin."""
        return RAM_BASE + guest * GUEST_BYTES

    @staticmethod
    def output(guest: int, ipa: int, generation: int = 0) -> int:
        """Give a page of L1 that is a guest's for an IPA; L1 may move it to another generation."""
        number = guest << 2 | IPAS.index(ipa) << 1 | generation
        return RAM_BASE + PAGES_OFFSET + (number << layout.PAGE_SHIFT)

    @staticmethod
    def leaf(output: int, extra: int = AF) -> int:
        """Give L1's leaf for a page."""
        return output | LEAF | NORMAL | TYPE | extra

    def leaf_at(self, guest: int, ipa: int) -> int:
        """Give where L1's leaf is."""
        return self.root(guest) + 0x2000 + (ipa >> layout.PAGE_SHIFT) * 8

    def vttbr(self, guest: int) -> int:
        """Give L1's VTTBR_EL2 for a guest."""
        return self.root(guest) | sr.VTTBR_EL2.VMID.put(1 + guest)

    def words_of(self, names: Iterable[str]) -> set[int]:
        """Give the words of some fields of all shadow contexts, and of what is for all of them."""
        vm = self.vm
        contexts = [self.machine.address_of(context) for context in vm.stage2.shadows]
        offsets = [Stage2.offset_of(name) for name in names if name in Stage2.fields]
        base = self.machine.memory_base
        words = {context + offset - base >> 3 for context in contexts for offset in offsets}
        manager = self.machine.address_of(vm.stage2)
        fields = type(vm.stage2).fields
        return words | {
            manager + fields[name].offset - base >> 3 for name in names if name in fields
        }

    # --- running ---

    @contextmanager
    def on(self, number: int) -> Iterator[None]:
        """Do something as a pcpu while nobody watches: to come to where the scene begins."""
        machine = self.machine
        machine.registers = machine.pcpus[number].registers  # type: ignore[assignment]
        with machine, self.stand_ins():
            yield

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """Look at memory as nobody."""
        machine = self.machine
        running, machine.running = machine.running, None
        try:
            with machine:
                yield
        finally:
            machine.running = running

    @contextmanager
    def stand_ins(self) -> Iterator[None]:
        """Put the checker's firmware below L0."""

        def call(function: int, first: int, second: int, third: int) -> int:
            return self.firmware(function, first, second, third)

        with (
            patch.object(power, "firmware_call", call),
            patch.object(pool, "zero_page", self.zero_page),
            # As small as can be: the lock is given back behind each entry of a range.
            patch.object(shadow, "PART", 1),
        ):
            yield

    def zero_page(self, page: int) -> None:
        """Clear a page as `pool.zero_page` does, but for stores of 0 over 0 that nobody sees."""
        machine = self.machine
        first = page - machine.memory_base >> 3
        for word in range(first, first + ENTRIES):
            if machine.words[word] or word in machine.watched:
                machine.views[3][word] = 0

    def save(self) -> None:
        """Say that the scene begins as things are now."""
        self.machine.undo.clear()
        self.machine.tlbs.begin()
        self.saved_registers = [dict(pcpu.registers) for pcpu in self.machine.pcpus]
        self.saved_allowed = {key: set(outputs) for key, outputs in self.allowed.items()}

    def put_back(self) -> None:
        """Go back to where the scene begins."""
        self.machine.take_back()
        self.machine.tlbs.put_back()
        for pcpu, before in zip(self.machine.pcpus, self.saved_registers, strict=True):
            pcpu.registers.clear()
            dict.update(pcpu.registers, before)
        self.allowed = {key: set(outputs) for key, outputs in self.saved_allowed.items()}
        for reset in self.resets:
            reset()

    # --- what L1 and its guests do ---

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

    def check(self, number: int, vttbr: int, guest: int, ipa: int, walked: Walked) -> None:
        """Hold what a pcpu may use to what L1 allows, and to whose tables they are."""
        for found in walked.translations:
            shift = 12 + 9 * (3 - found.level)
            output = found.leaf & ADDRESS & -1 << shift | ipa & (1 << shift) - 1
            if output not in self.allowed[guest, ipa]:
                raise Finding(
                    f"stale: pcpu {number} may reach {self.page_name(output)} through IPA {ipa:#x} "
                    f"of guest {guest}, which L1 does not allow"
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
                raise Finding(
                    f"pcpu {number} may walk {self.table_name(table)}, which is not its context's"
                )

    def l1_writes(self, guest: int, ipa: int, value: int, what: str) -> None:
        """Have L1 write its leaf for an IPA, and wait until that is visible (DSB ISHST)."""
        word = self.leaf_at(guest, ipa) - self.machine.memory_base >> 3
        self.machine.ghost(None, (word,), what)
        self.machine.put(word, value)

    def stage1_at(self) -> int:
        """Give where the guest that has one has its stage-1 descriptor: in a page of L1."""
        return self.output(0, IPAS[1])

    def stage1_changes(self, guest: int, value: int) -> None:
        """Have a guest's stage-1 descriptor changed, and wait until that is visible."""
        word = self.stage1_at() - self.machine.memory_base >> 3
        self.machine.ghost(None, (word,), f"stage 1 of guest {guest} becomes {value}")
        self.machine.put(word, value)
        self.machine.tlbs.synchronized(self.me())

    def uses_stage1(self, number: int, guest: int, wrong: Callable[[], set[int]]) -> None:
        """Hold what a guest's access may find stage 1 to be to what it may be."""
        machine, tlbs = self.machine, self.machine.tlbs
        vttbr = machine.pcpus[number].registers[sr.VTTBR_EL2.trap_key]
        vmid = vmid_of(vttbr)
        words = (tlbs.stage1_word, tlb_word(vmid), ALLOWED_WORD)
        machine.ghost(lambda: words, (), f"guest {guest} translates by its stage 1")
        tlbs.enters(number, vttbr)
        for value in tlbs.values(number, vmid, tlbs.stage1_word, 0):
            if value in wrong():
                raise Finding(
                    f"stale: pcpu {number} may translate by the stage 1 of guest {guest} "
                    "that was before the TLBI"
                )

    def l1_unmaps(self, guest: int, ipa: int) -> None:
        """Have L1 take its leaf for an IPA out of its tables."""
        self.l1_writes(guest, ipa, 0, f"L1 unmaps IPA {ipa:#x} of guest {guest}")

    def l1_maps(self, guest: int, ipa: int, generation: int) -> None:
        """Have L1 map an IPA to another of its pages."""
        output = self.output(guest, ipa, generation)
        self.machine.ghost(None, (ALLOWED_WORD,), "L1 allows it")
        self.allowed[guest, ipa].add(output)
        what = f"L1 maps IPA {ipa:#x} of guest {guest} to {self.page_name(output)}"
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

    # --- the firmware ---

    def firmware_does(self, number: int, what: str) -> None:
        """Come to where the firmware changes what it knows of a pcpu."""
        self.machine.ghost(lambda: (power_word(number),), (power_word(number),), what)

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

    # --- what holds when all is done ---

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

    # --- names ---

    def name(self, word: int) -> str:
        """Name a word of memory."""
        return names.name_of(self, word)

    def page_name(self, output: int) -> str:
        """Name a page of L1."""
        number = output - RAM_BASE - PAGES_OFFSET >> layout.PAGE_SHIFT
        if not 0 <= number < RAM_BYTES - PAGES_OFFSET >> layout.PAGE_SHIFT:
            return f"{output:#x}"
        ipa = IPAS[number >> 1 & 1]
        return f"page {'AB'[number & 1]} of guest {number >> 2}'s IPA {ipa:#x}"

    def l1_name(self, address: int) -> str:
        """Name a word of L1's memory."""
        guest, offset = divmod(address - RAM_BASE, GUEST_BYTES)
        level, place = divmod(offset, layout.PAGE_BYTES)
        if address < RAM_BASE + PAGES_OFFSET and level < 3:
            return f"entry {place // 8} of L1's table at level {level + 1} of guest {guest}"
        return f"L1's memory at {address:#x}"

    def table_name(self, table: int) -> str:
        """Name a table that hardware walks."""
        vm = self.vm
        if table < vm.stage2.pool_first_page:
            return f"root {(table - vm.stage2.canonical.root) >> layout.PAGE_SHIFT}"
        return f"pool page {(table - vm.stage2.pool_first_page) >> layout.PAGE_SHIFT}"
