"""The exchange of probes in L0: what is written where, in which order, and by whom.

What the host does with it is in `tests/unit/control/test_probes.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from unittest.mock import patch

import pytest

from tests.probe_board import at_begin, at_end
from vel2.arch import sysregs as sr
from vel2.arch.descriptors import Stage1Leaf
from vel2.arch.insn import DC, IC, TLBI
from vel2.hyp import layout, probe
from vel2.hyp.probing import NOWHERE, REQUESTS
from vel2.hyp.state import Vcpu, Vm
from vel2.hyp.vncr import GIGABYTE
from vel2.lang import Jit, Simulation

L0 = 0x4020_0000
BYTES = layout.GIC_OFFSET
CODE, STAGING = L0 + layout.PROBE_CODE_OFFSET, L0 + layout.PROBE_STAGING_OFFSET
LEVEL3 = L0 + layout.VNCR_TABLES_OFFSET + layout.PAGE_BYTES
LINE = 64


class Watched(Simulation):
    """A simulation that looks at how code is written: by a page that is not executable."""

    def __init__(self) -> None:
        super().__init__(L0, BYTES)
        self.written: list[int] = []
        self.open_pages: list[list[int]] = []

    def store(self, size: int, address: int, value: int) -> None:
        if CODE <= address < CODE + layout.PROBE_CODE_BYTES:
            self.written.append(address)
            self.open_pages.append(self.aliases())
        super().store(size, address, value)

    def aliases(self) -> list[int]:
        """Give the descriptors of the windows that show code."""
        count = layout.PROBE_CODE_BYTES // layout.PAGE_BYTES
        found = [self.load(8, LEVEL3 + 8 * (probe.ALIAS + index)) for index in range(count)]
        return [each for each in found if each]


class Machine:
    """L0's memory, and two vCPUs in it."""

    def __init__(self, native: bool) -> None:
        self.sim = Watched()
        self.jit = Jit(at_begin, at_end) if native else None
        self.vm = self.sim.at(Vm, L0 + layout.VM_OFFSET)
        self.vm.config.l0_base = L0
        self.vcpus = [
            self.sim.at(
                Vcpu,
                L0 + layout.PCPU_OFFSET + index * layout.PCPU_BYTES + layout.VCPU_IN_PCPU,
            )
            for index in range(2)
        ]
        self.called: list[tuple[int, int, int]] = []
        for index, vcpu in enumerate(self.vcpus):
            vcpu.vm, vcpu.index = L0 + layout.VM_OFFSET, index
        self.sim[sr.CTR_EL0] = sr.CTR_EL0.compose(DminLine=4, IminLine=4)

    def post(self, offset: int, code: bytes, site: int, entry: int) -> None:
        """Ask for an exchange, as the host does."""
        probes = self.vm.probes
        request = probes.requests[int(probes.posted) % REQUESTS]
        start = STAGING + offset - L0
        memoryview(self.sim.buffer)[start : start + len(code)] = code
        request.offset, request.length = offset, len(code)
        request.site, request.entry = site, entry
        probes.posted += 1
        for vcpu in self.vcpus:
            vcpu.probing.pending = 1

    def call(self, cpu: int, function: Callable[..., None], *arguments: int) -> list[int]:
        """Come to the probes; give the entries called."""
        entries = {
            each: self._note(each)
            for each in (CODE + offset for offset in range(0, layout.PROBE_CODE_BYTES, 64))
        }
        self.called = []
        self.sim.clear_log()
        with self.sim, patch.object(probe, "SIMULATED", entries):
            if self.jit is None:
                function(self.vcpus[cpu], *arguments)
            else:
                self.jit.call(function, self.vcpus[cpu], *arguments)
        return [entry for entry, _, _ in self.called]

    def _note(self, entry: int) -> Callable[[Vcpu, int], None]:
        def called(vcpu: Vcpu, what: int) -> None:
            assert vcpu.probing.busy == 1
            self.called.append((entry, int(vcpu.index), what))

        return called

    def code(self, offset: int, length: int) -> bytes:
        """Read what is executed."""
        start = CODE + offset - L0
        return bytes(memoryview(self.sim.buffer)[start : start + length])


@pytest.fixture(params=[False, True], ids=["python", "native"])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    yield Machine(request.param)


def test_nothing_is_called_before_anything_is_asked_for(machine: Machine) -> None:
    assert machine.call(0, at_begin) == []
    assert machine.vcpus[0].probing.busy == 0
    assert [each.what for each in machine.sim.operations] == ["dmb ish"]


def test_code_is_copied_and_called_by_each_pcpu(machine: Machine) -> None:
    text = bytes(range(200))
    machine.post(0x1040, text, probe.AT_BEGIN, CODE + 0x1040)
    assert machine.call(0, at_begin) == [CODE + 0x1040]
    assert machine.code(0x1040, 200) == text
    assert machine.code(0x1000, 64) == bytes(64)
    assert machine.vm.probes.done == machine.vm.probes.taken == 1
    assert [vcpu.probing.pending for vcpu in machine.vcpus] == [0, 1]
    assert machine.call(1, at_end, 2) == [], "another site"
    assert machine.call(1, at_begin) == [CODE + 0x1040]
    assert [vcpu.probing.pending for vcpu in machine.vcpus] == [0, 0]


def test_what_the_end_of_a_trap_tells(machine: Machine) -> None:
    machine.post(0, bytes(64), probe.AT_END, CODE)
    assert machine.call(1, at_begin) == []
    machine.call(1, at_end, 5)
    assert machine.called == [(CODE, 1, 5)]


def test_order_of_cleaning(machine: Machine) -> None:
    """Show what the Arm ARM asks for: clean, wait, invalidate, wait, and synchronize."""
    machine.post(0x1040, bytes(200), NOWHERE, 0)
    machine.call(0, at_begin)
    found = [each.what for each in machine.sim.operations]
    lines = [each.value for each in machine.sim.operations if each.what == DC.CVAU.trap_key]
    assert lines == [CODE + 0x1040 + LINE * n for n in range(4)]
    assert lines == [each.value for each in machine.sim.operations if each.what == IC.IVAU.trap_key]
    clean = found.index(IC.IVAU.trap_key)
    assert found[clean - 1] == "dsb ish"
    assert found[clean - 2] == DC.CVAU.trap_key
    after = found[clean + 4 :]
    assert after[:5] == ["dsb ish", "dsb ish", TLBI.VAE2IS.trap_key, "dsb ish", "isb"]
    assert after[-1] == "isb", "before anything new is called"


def test_the_alias_is_of_the_page_written_and_gone_again(machine: Machine) -> None:
    machine.post(0x1FC0, bytes(0x80), NOWHERE, 0)
    machine.call(0, at_begin)
    invalidated = [
        each.value for each in machine.sim.operations if each.what == TLBI.VAE2IS.trap_key
    ]
    last_gigabyte = GIGABYTE << 30 >> 12
    assert invalidated == [last_gigabyte + probe.ALIAS + 1, last_gigabyte + probe.ALIAS + 2]
    assert machine.sim.aliases() == []
    if machine.jit is None:  # each store of code is seen
        assert machine.sim.written == list(range(CODE + 0x1FC0, CODE + 0x2040, 8))
        for address, pages in zip(machine.sim.written, machine.sim.open_pages, strict=True):
            (leaf,) = pages
            assert (
                leaf & Stage1Leaf.OA.mask == address & ~0xFFF
                if hasattr(Stage1Leaf, "OA")
                else leaf & 0xFFFF_F000 == address & ~0xFFF
            )
            assert leaf & Stage1Leaf.UXN.mask
            assert Stage1Leaf.AP.get(leaf) == 1


def test_a_request_of_another_pcpu_is_waited_for_by_nobody(machine: Machine) -> None:
    machine.post(0, bytes(64), probe.AT_BEGIN, CODE)
    machine.call(0, at_begin)
    machine.call(1, at_begin)
    machine.post(0x40, bytes(64), probe.AT_BEGIN, CODE + 0x40)
    machine.vm.probes.taken = 2  # the other one is copying
    assert machine.call(0, at_begin) == [CODE], "what was in force before"
    assert machine.vcpus[0].probing.pending == 1, "and looks again at the next trap"
    machine.vm.probes.taken = 1
    assert machine.call(1, at_begin) == [CODE + 0x40]
    assert machine.call(0, at_begin) == [CODE + 0x40]


def test_requests_are_done_in_their_order(machine: Machine) -> None:
    for number in range(REQUESTS):
        machine.post(64 * number, bytes([number]) * 64, number % 2, CODE + 64 * number)
    assert machine.call(1, at_begin) == [CODE + 64 * (REQUESTS - 2)]
    assert machine.call(1, at_end, 0) == [CODE + 64 * (REQUESTS - 1)]
    assert machine.code(64 * 9, 64) == bytes([9]) * 64
    machine.post(0, b"", probe.AT_BEGIN, 0)
    assert machine.call(1, at_begin) == []


@pytest.mark.parametrize(
    ("offset", "length", "entry"),
    [
        (layout.PROBE_CODE_BYTES, 8, 0),
        (0, layout.PROBE_CODE_BYTES + 8, 0),
        ((1 << 64) - 64, 128, 0),
        (0, 64, CODE - 4),
        (0, 64, CODE + layout.PROBE_CODE_BYTES),
        (0, 64, 0x1000),
    ],
)
def test_a_request_outside_of_its_place_does_nothing(
    machine: Machine, offset: int, length: int, entry: int
) -> None:
    machine.post(0, b"", probe.AT_BEGIN, entry)
    request = machine.vm.probes.requests[0]
    request.offset, request.length = offset, length
    before = machine.code(0, layout.PROBE_CODE_BYTES)
    assert machine.call(0, at_begin) == []
    assert machine.vm.probes.refused == 1
    assert machine.code(0, layout.PROBE_CODE_BYTES) == before
    assert machine.sim.aliases() == []
