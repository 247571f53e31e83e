"""Where a scene is played: L0's state, and L1's tables, one page of each level for each guest.

Guest `g` has VMID `1 + g`, and L1 maps its IPAs (`IPAS`) to pages of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import Stage2Leaf
from vel2.check.interleave.machine import Machine
from vel2.check.tiny import TinyVm
from vel2.hyp import layout, stage2
from vel2.hyp.homes import slot
from vel2.hyp.pcpu import ON
from vel2.hyp.state import REGION_RAM, SHADOW_CONTEXTS, PoolPage, Stage2, Vcpu, Vm, VncrPage

__all__ = (
    "ADDRESS",
    "AF",
    "END",
    "HCR",
    "IPAS",
    "L1_VTCR_HA",
    "PAGES_OFFSET",
    "PCPUS_OFFSET",
    "RAM_BASE",
    "RAM_BYTES",
    "TYPE",
    "VTCR",
    "VTTBR",
    "Ground",
)

RAM_BASE = 0x4000_0000
RAM_BYTES = 0x40_0000
TABLES_BYTES = 0x13_0000
"""How much of L1's RAM is there: its tables, and pages of the first guest."""
END = RAM_BASE + TABLES_BYTES
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
ADDRESS = Stage2Leaf.OA.mask
TYPE = Stage2Leaf.TYPE.mask
GUEST_BYTES = 0x4000
PAGES_OFFSET = 0x12_0000
"""Where in L1's RAM the guests' pages are: nothing reads or writes them."""


class Ground:
    """See the module's text.

    :param pool_pages: tables that the pool has left when the scene begins.
    :param beyond: bytes of memory behind L1's (`END`).
    """

    def __init__(self, pcpus: int, pool_pages: int = 16, guests: int = 2, beyond: int = 0) -> None:
        records = (
            -(-(pool_pages + ROOTS + 6) * PoolPage.size // layout.PAGE_BYTES) * layout.PAGE_BYTES
        )
        size = records + (ROOTS + 1 + pool_pages) * layout.PAGE_BYTES
        pool_base = RAM_BASE - size
        first_pcpu = pool_base - pcpus * layout.PCPU_BYTES
        base = first_pcpu - PCPUS_OFFSET
        self.machine = machine = Machine(base, END + beyond - base, pcpus)
        self.vm = vm = machine.at(Vm, base)
        self.pcpus = pcpus
        TinyVm(
            base,
            (pool_base, size),
            (RAM_BASE, RAM_BYTES),
            PARANGE_36_BITS,
            ((RAM_BASE, RAM_BYTES, REGION_RAM),),
            first_pcpu,
            pcpus,
        ).describe(vm)
        machine.symbols["secondary_entry"] = SECONDARY_ENTRY
        machine.registers = machine.pcpus[0].registers  # type: ignore[assignment]
        with machine:
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
