"""Translation from end to end: what an address becomes at each stage, and by which descriptors.

L2's virtual address goes through L2's stage 1 to an IPA of L2, through L1's stage 2 to an IPA of
L1, and through L0's canonical stage 2 to the machine's address. Hardware does the last two at once,
by the shadow stage 2, which L0 fills as L2 faults: `shadow` says what is in it now.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vel2.arch import sysregs as sr
from vel2.arch.esr import FSC
from vel2.errors import UserError
from vel2.hyp.hcr import STAGE2_ON
from vel2.hyp.state import Stage2
from vel2.inspect.tables import Fault, Reach, Step, by_code, plan_stage1, plan_stage2, walk_tables

if TYPE_CHECKING:
    from vel2.inspect.vcpu import Vcpu

__all__ = ("Walk", "walk_ipa_of_l1", "walk_ipa_of_l2", "walk_l2", "walk_vel2")

UPPER = 1 << 55
TAG_SHIFT = 56
U64_BITS = 64


@dataclass
class Walk:
    """One translation.

    :ivar va: what was translated; None when it began with an IPA.
    :ivar ipa: after stage 1: an IPA of L2, or of L1 for vEL2.
    :ivar l1_ipa: after L1's stage 2. :ivar steps: every descriptor, in order.
    :ivar fault: where it stopped; empty when it came through.
    :ivar notes: stages that are off, and the like.
    :ivar shadow: what hardware has for `ipa`, of L2 only: an address, or None with `shadow_fault`.
    """

    va: int | None = None
    ipa: int | None = None
    l1_ipa: int | None = None
    output: int | None = None
    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fault: str = ""
    shadow: int | None = None
    shadow_steps: list[Step] = field(default_factory=list)
    shadow_note: str = ""

    @property
    def pa(self) -> int:
        """The machine's physical address.

        :raises UserError: when the walk did not come to one.
        """
        if self.output is None:
            began = f"va={self.va:#x}" if self.va is not None else f"ipa={self.ipa or 0:#x}"
            raise UserError(f"{began} leads nowhere: {self.fault}.")
        return self.output

    def __str__(self) -> str:
        names = (("va", self.va), ("ipa", self.ipa), ("l1_ipa", self.l1_ipa), ("pa", self.output))
        chain = " -> ".join(f"{name}={x:#x}" for name, x in names if x is not None)
        lines = [chain + (f" -> {self.fault}" if self.fault else "")]
        lines += [str(step) for step in self.steps]
        lines += self.notes
        if self.shadow_note:
            lines.append(f"shadow stage 2: {self.shadow_note}")
            lines += [str(step) for step in self.shadow_steps]
        return "\n".join(lines)


@contextmanager
def _ending_at_a_fault(walk: Walk) -> Iterator[None]:
    """Let a fault of any stage end a walk, which says so."""
    try:
        yield
    except Fault as fault:
        walk.fault = str(fault)


def walk_vel2(vcpu: Vcpu, va: int) -> Walk:
    """Translate as vEL2, or the EL0 of a VHE host, does."""
    walk = Walk(va=va)
    with _ending_at_a_fault(walk):
        tcr = int(vcpu.vel2["TCR_EL2"])
        sctlr = vcpu.vel2["SCTLR_EL2"]
        if not sctlr.M:
            walk.ipa = va
            walk.notes.append("stage 1 of vEL2 is off (SCTLR_EL2.M is 0)")
        elif vcpu.e2h:
            ttbrs = int(vcpu.vel2["TTBR0_EL2"]), int(vcpu.vel2["TTBR1_EL2"])
            walk.ipa = _stage1(
                vcpu, walk, "vEL2 stage 1", va, tcr, ttbrs, big_endian=bool(sctlr.EE)
            )
        else:
            walk.ipa = _stage1_without_e2h(vcpu, walk, va, tcr, big_endian=bool(sctlr.EE))
        _canonical(vcpu, walk, walk.ipa)
    return walk


def walk_l2(vcpu: Vcpu, va: int) -> Walk:
    """Translate as vEL1 does."""
    walk = Walk(va=va)
    with _ending_at_a_fault(walk):
        sctlr = vcpu.l2["SCTLR_EL1"]
        if sctlr.M:
            ttbrs = int(vcpu.l2["TTBR0_EL1"]), int(vcpu.l2["TTBR1_EL1"])
            walk.ipa = _stage1(
                vcpu,
                walk,
                "L2 stage 1",
                va,
                int(vcpu.l2["TCR_EL1"]),
                ttbrs,
                big_endian=bool(sctlr.EE),
                guest=True,
            )
        else:
            walk.ipa = va
            walk.notes.append("stage 1 of vEL1 is off (SCTLR_EL1.M is 0)")
        _second(vcpu, walk, walk.ipa)
    return walk


def walk_ipa_of_l2(vcpu: Vcpu, ipa: int) -> Walk:
    """Translate an IPA of vEL1."""
    walk = Walk(ipa=ipa)
    with _ending_at_a_fault(walk):
        _second(vcpu, walk, ipa)
    return walk


def walk_ipa_of_l1(vcpu: Vcpu, ipa: int) -> Walk:
    """Translate an IPA of L1, which it takes to be physical."""
    walk = Walk(ipa=ipa)
    with _ending_at_a_fault(walk):
        _canonical(vcpu, walk, ipa)
    return walk


def _stage1(
    vcpu: Vcpu,
    walk: Walk,
    stage: str,
    va: int,
    tcr_value: int,
    ttbrs: tuple[int, int],
    *,
    big_endian: bool,
    guest: bool = False,
) -> int:
    """Walk tables of a regime with two halves."""
    tcr = sr.TCR_EL1(tcr_value)
    upper = va & UPPER != 0
    size = tcr.T1SZ if upper else tcr.T0SZ
    granule = by_code("TG1", tcr.TG1) if upper else by_code("TG0", tcr.TG0)
    ignores_tag = tcr.TBI1 if upper else tcr.TBI0
    if (tcr.EPD1 if upper else tcr.EPD0) or not _is_canonical(va, size, upper, bool(ignores_tag)):
        raise Fault(FSC.TRANSLATION)
    plan = plan_stage1(stage, ttbrs[upper], size, granule, big_endian=big_endian)
    return walk_tables(plan, va, _reacher(vcpu, guest=guest), vcpu.load_entry, walk.steps)


def _stage1_without_e2h(
    vcpu: Vcpu, walk: Walk, va: int, tcr_value: int, *, big_endian: bool
) -> int:
    """Walk tables of vEL2 with E2H=0: one half, and a layout of TCR_EL2 of its own."""
    tcr = sr.TCR_EL2(tcr_value)
    if not _is_canonical(va, tcr.T0SZ, False, bool(tcr.TBI)):
        raise Fault(FSC.TRANSLATION)
    plan = plan_stage1(
        "vEL2 stage 1",
        int(vcpu.vel2["TTBR0_EL2"]),
        tcr.T0SZ,
        by_code("TG0", tcr.TG0),
        big_endian=big_endian,
    )
    return walk_tables(plan, va, _reacher(vcpu, guest=False), vcpu.load_entry, walk.steps)


def _is_canonical(va: int, size: int, upper: bool, ignores_tag: bool) -> bool:
    """Whether the bits above the input are copies of the one that chooses the half."""
    top = TAG_SHIFT if ignores_tag else U64_BITS
    width = max(0, top - (U64_BITS - size))
    extension = va >> (U64_BITS - size) & (1 << width) - 1
    return extension == ((1 << width) - 1 if upper else 0)


def _reacher(vcpu: Vcpu, *, guest: bool) -> Reach:
    """Give how the tables of stage 1 are reached: by the stage 2 that stands below them."""

    def reach(address: int) -> int:
        below = Walk(ipa=address)
        if guest:
            _second(vcpu, below, address, with_shadow=False)
        else:
            _canonical(vcpu, below, address)
        return below.pa

    return reach


def _second(vcpu: Vcpu, walk: Walk, ipa: int, *, with_shadow: bool = True) -> None:
    """Go on with an IPA of vEL1: L1's stage 2, then ours; and what hardware has instead."""
    hcr = int(vcpu.vel2["HCR_EL2"])
    if hcr & STAGE2_ON:
        if with_shadow:
            _look_into_shadow(vcpu, walk, ipa)
        vttbr, vtcr = int(vcpu.vel2["VTTBR_EL2"]), int(vcpu.vel2["VTCR_EL2"])
        plan = plan_stage2("L1 stage 2", vttbr, vtcr)
        if ipa >> plan.bits:
            raise Fault(FSC.TRANSLATION)
        reach = _reacher(vcpu, guest=False)
        walk.l1_ipa = walk_tables(plan, ipa, reach, vcpu.load_entry, walk.steps)
    else:
        walk.notes.append("L1 has no stage 2 (HCR_EL2.VM is 0): its IPA is L1's")
        walk.l1_ipa = ipa
    _canonical(vcpu, walk, walk.l1_ipa)


def _canonical(vcpu: Vcpu, walk: Walk, ipa: int) -> None:
    """Go through L0's stage 2 for L1, which is the identity where L1 has something."""
    manager = vcpu.machine.vm.state.stage2
    plan = plan_stage2("canonical stage 2", int(manager.canonical.vttbr), int(manager.vtcr))
    steps: list[Step] = []
    try:
        walk.output = walk_tables(plan, ipa, lambda pa: pa, vcpu.load_entry, steps)
    except Fault as fault:
        walk.notes.append(f"L1 has nothing at {ipa:#x} (canonical stage 2: {fault})")
        raise


def _look_into_shadow(vcpu: Vcpu, walk: Walk, ipa: int) -> None:
    """Note what the shadow stage 2 has for an IPA."""
    address = int(vcpu.state.shadow)
    if address == 0:
        walk.shadow_note = "none yet: this vCPU has not run vEL1"
        return
    shadow = Stage2(vcpu.machine.vm.memory.window(address, Stage2.size))
    manager = vcpu.machine.vm.state.stage2
    try:
        plan = plan_stage2("shadow stage 2", int(shadow.vttbr), int(manager.vtcr))
        walk.shadow = walk_tables(plan, ipa, lambda pa: pa, vcpu.load_entry, walk.shadow_steps)
        walk.shadow_note = f"ipa={ipa:#x} -> pa={walk.shadow:#x}"
    except Fault:
        walk.shadow_note = f"ipa={ipa:#x} is not filled; L2's next access will fault, and fill it"
