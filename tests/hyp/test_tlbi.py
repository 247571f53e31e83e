"""TLBI from vEL2: every encoding, under every VMID it concerns, and its operands."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hyp.rig import BIG_RAM_BASE, CALLS, GIB, RAM_BASE, Rig, State, fresh_rig
from tests.hyp.test_shadow import VM, Key, put_leaf, select
from vel2.arch import sysregs as sr
from vel2.arch.bits import Encoding
from vel2.arch.insn import ALL_INSNS, TLBI, SysInsn, by_key
from vel2.arch.psci import AFFINITY_OFF, AFFINITY_ON, AFFINITY_ON_PENDING
from vel2.hyp import context, tlbi
from vel2.hyp.answer import UNDEFINED_SYNDROME
from vel2.hyp.outcome import Outcome

OPERAND = 0x0005_0000_0004_2000
FLUSH = "TLBI VMALLS12E1IS"
EL2_AS_EL1 = {
    "ALLE2": "VMALLE1",
    "VAE2": "VAE1",
    "VALE2": "VALE1",
    "RVAE2": "RVAE1",
    "RVALE2": "RVALE1",
}
EL1 = {
    "VMALLE1", "VAE1", "ASIDE1", "VAAE1", "VALE1", "VAALE1", "RVAE1", "RVAAE1", "RVALE1", "RVAALE1",
}  # fmt: skip
BY_IPA = {"IPAS2E1", "IPAS2LE1", "RIPAS2E1", "RIPAS2LE1"}


def split(insn: SysInsn) -> tuple[str, str]:
    """Split a TLBI's name into operation and shareability, without nXS."""
    name = insn.name.removeprefix("TLBI ").removesuffix("NXS")
    for suffix in ("IS", "OS"):
        if name.endswith(suffix) and name not in ("VMALLS12E1", "PAALLOS"):
            return name.removesuffix(suffix), suffix
    return name, ""


ALL_TLBI = [insn for insn in ALL_INSNS if insn.name.startswith("TLBI ")]


def machine(tge: bool) -> tuple[Rig, dict[str, int]]:
    """Give a rig with four contexts, L1's current VMID being 1; name their VTTBR_EL2."""
    state, names = four_contexts()
    rig = fresh_rig()
    rig.put_back(state)
    rig.set_slot(sr.HCR_EL2, VM | (sr.HCR_EL2.TGE.mask if tge else 0))
    return rig, names


@cache
def four_contexts() -> tuple[State, dict[str, int]]:
    """Make the state that `machine` gives."""
    rig = fresh_rig()
    keys = {
        "on": Key(VM, 1 << 48 | RAM_BASE, 0x19),
        "also on": Key(VM, 1 << 48 | RAM_BASE + 0x1000, 0x19),
        "other VMID": Key(VM, 2 << 48 | RAM_BASE, 0x19),
        "off": Key(0, 1 << 48, 0x19),
    }
    names = {}
    for name, key in keys.items():
        number = select(rig, key)
        if name != "off":
            put_leaf(rig, 12, BIG_RAM_BASE, 0x4200_0000, 0)
        names[name] = rig.vm.stage2.shadows[number].vttbr
    names["canonical"] = rig[sr.VTTBR_EL2] = rig.vm.stage2.canonical.vttbr
    rig.set_slot(sr.VTTBR_EL2, 1 << 48 | RAM_BASE)
    return rig.state(), names


def expected_operations(insn: SysInsn, tge: bool) -> list[tuple[str, int, str]] | None:
    """Say what a TLBI of vEL2 does: (instruction, operand, whose VMID); None if it is UNDEFINED."""
    name, share = split(insn)
    value = OPERAND if insn.takes_register else 0
    if name in EL2_AS_EL1:
        return [(f"TLBI {EL2_AS_EL1[name]}{share}", value, "canonical")]
    if name in EL1 and tge:
        return [(f"TLBI {name}{share}", value, "canonical")]
    if name in EL1:
        return [(f"TLBI {name}{share}", value, who) for who in ("on", "also on", "off")]
    if name == "ALLE1":
        return [(FLUSH, 0, who) for who in ("on", "also on", "other VMID", "off")]
    if name == "VMALLS12E1":
        return [(FLUSH, 0, who) for who in ("on", "also on", "off")]
    if name in BY_IPA:
        return [(FLUSH, 0, who) for who in ("on", "also on")]
    return None


@pytest.mark.parametrize("tge", [False, True])
@pytest.mark.parametrize("insn", ALL_TLBI, ids=lambda insn: insn.name.removeprefix("TLBI "))
def test_each_tlbi_does_what_it_names(insn: SysInsn, tge: bool) -> None:
    """Show which instruction runs under which VMIDs, and that VTTBR_EL2 is put back."""
    rig, names = machine(tge)
    operand = OPERAND
    if split(insn)[0].startswith("RIPAS2"):
        operand = 1 << 46 | 0x4_2000
    outcome = rig.run(tlbi.from_vel2, rig.vcpu, insn.trap_key, operand)
    expected = expected_operations(insn, tge)
    assert rig[sr.VTTBR_EL2] == names["canonical"]
    if expected is None:
        assert outcome == Outcome.EXCEPTION and rig.vcpu.exception.syndrome == UNDEFINED_SYNDROME
        assert rig.instructions() == []
        return
    assert outcome == Outcome.SKIP
    wanted = Counter((name, value, names[who]) for name, value, who in expected)
    assert Counter(map(tuple, rig.instructions())) == wanted
    if split(insn)[0] in BY_IPA | {"ALLE1", "VMALLS12E1"}:
        gone = {who for _, _, who in expected}
        for who in ("on", "also on", "other VMID"):
            number = (names[who] >> 48) - 2
            assert bool(rig.leaves(rig.vm.stage2.shadows[number])) == (who not in gone)
        rig.check_pool()


@settings(max_examples=80)
@given(
    op1=st.sampled_from((0, 4)),
    CRn=st.sampled_from((8, 9)),
    CRm=st.integers(0, 15),
    op2=st.integers(0, 7),
    tge=st.booleans(),
)
def test_an_unallocated_tlbi_is_undefined(
    op1: int, CRn: int, CRm: int, op2: int, tge: bool
) -> None:
    """Show that an encoding that is no instruction runs nothing, whether or not L2 ever ran."""
    key = Encoding(1, op1, CRn, CRm, op2).trap_key
    if by_key(key) is not None:
        return
    rig, _ = machine(tge) if CRm & 1 else (fresh_rig(), {})
    rig.set_slot(sr.HCR_EL2, sr.HCR_EL2.TGE.mask if tge else 0)
    assert rig.run(tlbi.from_vel2, rig.vcpu, key, OPERAND) == Outcome.EXCEPTION
    assert rig.vcpu.exception.syndrome == UNDEFINED_SYNDROME
    assert rig.instructions() == []


def test_a_context_that_never_ran_needs_no_invalidation() -> None:
    """Show that an EL1 TLBI of L1 before its first L2 costs nothing and is still an instruction."""
    rig = fresh_rig()
    assert rig.run(tlbi.from_vel2, rig.vcpu, TLBI.VMALLE1IS.trap_key, 0) == Outcome.SKIP
    assert rig.instructions() == []


def test_many_tlbis_of_l1_stop_the_trap() -> None:
    """Show that after a number of them hardware's TLB has nothing of vEL1, and TLBI is free."""
    rig, names = machine(True)
    rig[sr.HCR_EL2] = sr.HCR_EL2.TTLB.mask | sr.HCR_EL2.NV.mask
    for _ in range(tlbi.TRAPPED_AT_MOST - 1):
        assert rig.run(tlbi.from_vel2, rig.vcpu, TLBI.VAALE1IS.trap_key, OPERAND) == Outcome.SKIP
        assert rig[sr.HCR_EL2] == sr.HCR_EL2.TTLB.mask | sr.HCR_EL2.NV.mask
    assert rig.run(tlbi.from_vel2, rig.vcpu, TLBI.VAALE1IS.trap_key, OPERAND) == Outcome.SKIP
    assert rig[sr.HCR_EL2] == sr.HCR_EL2.NV.mask
    flushed = {vttbr for name, _, vttbr in rig.instructions() if name == FLUSH}
    assert flushed == {names[who] for who in ("on", "also on", "other VMID", "off")}
    assert not any(context.dirty for context in rig.vm.stage2.shadows)
    assert rig[sr.VTTBR_EL2] == names["canonical"]


@pytest.mark.parametrize(
    ("answer", "traps"), [(AFFINITY_ON, True), (AFFINITY_ON_PENDING, True), (AFFINITY_OFF, False)]
)
def test_the_trap_stays_while_another_cpu_may_come_back(answer: int, traps: bool) -> None:
    """Show that the firmware is asked about each other CPU: it may deny CPU_OFF (DEN 0022)."""
    rig, _ = machine(True)
    rig.vm.config.cpu_count = 3
    rig[sr.HCR_EL2] = sr.HCR_EL2.TTLB.mask
    CALLS.answer = answer
    for _ in range(tlbi.TRAPPED_AT_MOST):
        rig.run(tlbi.from_vel2, rig.vcpu, TLBI.VAALE1IS.trap_key, OPERAND)
    assert bool(rig[sr.HCR_EL2] & sr.HCR_EL2.TTLB.mask) is traps
    assert any(context.dirty for context in rig.vm.stage2.shadows) is traps


def test_tlbis_of_a_guest_never_stop_the_trap() -> None:
    """Show that EL1 names with TGE=0 and EL2's own names, which trap anyway, do not count."""
    rig, _ = machine(False)
    rig[sr.HCR_EL2] = sr.HCR_EL2.TTLB.mask
    for insn in (TLBI.VAALE1IS, TLBI.VAE2IS):
        for _ in range(tlbi.TRAPPED_AT_MOST + 1):
            rig.run(tlbi.from_vel2, rig.vcpu, insn.trap_key, OPERAND)
    assert rig[sr.HCR_EL2] == sr.HCR_EL2.TTLB.mask
    assert all(context.dirty for context in rig.vm.stage2.shadows if context.in_use)


def test_the_trap_is_back_once_vel1_has_run() -> None:
    """Show that TTLB is set whenever hardware is made ready for vEL2 after vEL1."""
    rig = fresh_rig()
    rig.vcpu.guesses.tlbis_of_own_regime = tlbi.TRAPPED_AT_MOST
    rig.run(context.enter_vel1, rig.vcpu)
    rig.run(context.enter_vel2, rig.vcpu)
    assert rig[sr.HCR_EL2] & sr.HCR_EL2.TTLB.mask
    assert rig.vcpu.guesses.tlbis_of_own_regime == 0


PAGES = (0, 1, 2, 3, 4, 15, 16, 31, 32, 63, 64, 511, 512, 2047, 2048, 65535, 65536, 262143)


@settings(max_examples=60)
@given(
    granule=st.sampled_from((1, 2, 3)),
    num=st.integers(0, 31),
    scale=st.integers(0, 3),
    first=st.sampled_from(PAGES),
    back=st.integers(0, 70),
    ttl=st.integers(0, 3),
)
def test_a_range_is_decoded_as_the_arm_arm_does(
    granule: int, num: int, scale: int, first: int, back: int, ttl: int
) -> None:
    """Show that a range operation takes out the pages of its range and no others."""
    rig = fresh_rig()
    context = rig.vm.stage2.shadows[select(rig, Key(VM, 1 << 48 | RAM_BASE, 0x19))]
    for page in PAGES:
        put_leaf(rig, 12, BIG_RAM_BASE, page << 12, 0)
    shift = {1: 12, 2: 14, 3: 16}[granule]
    base = max(0, (first << 12 >> shift) - back)
    value = base | ttl << 37 | num << 39 | scale << 44 | granule << 46
    rig.run(tlbi.from_vel2, rig.vcpu, TLBI.RIPAS2E1IS.trap_key, value)
    start = base << shift
    end = start + ((num + 1) << (5 * scale + 1) << shift)
    left = [page << 12 for page in PAGES if not start <= page << 12 < end]
    assert sorted(rig.leaves(context)) == left
    rig.check_pool()


@pytest.mark.parametrize(
    ("granule", "level", "shift"),
    [(1, 3, 12), (1, 2, 21), (1, 1, 30), (2, 3, 14), (2, 2, 25), (3, 3, 16), (3, 2, 29)],
)
@settings(max_examples=8)
@given(page=st.integers(0, 2 * GIB // 0x1000 - 1))
def test_a_level_hint_bounds_what_is_taken_out(
    granule: int, level: int, shift: int, page: int
) -> None:
    """Show that TTL names exactly the leaf to remove (DecodeTLBITG, GetTLBITTL)."""
    rig = fresh_rig()
    context = rig.vm.stage2.shadows[select(rig, Key(VM, 1 << 48 | RAM_BASE, 0x19))]
    ipa = page << 12
    start = ipa & -(1 << shift)
    inside = {ipa, start, start + (1 << shift) - 0x1000}
    outside = {start + (1 << shift), start - 0x1000 & (1 << 40) - 1} - inside
    for at in inside | outside:
        put_leaf(rig, 12, BIG_RAM_BASE, at, 0)
    value = page | level << 44 | granule << 46
    rig.run(tlbi.from_vel2, rig.vcpu, TLBI.IPAS2LE1IS.trap_key, value)
    assert set(rig.leaves(context)) == outside


@pytest.mark.parametrize("ttl", [0b0000, 0b0011, 0b0100, 0b1000, 0b1001, 0b1100, 0b1101])
def test_a_reserved_level_hint_is_no_hint(ttl: int) -> None:
    """Show that L1's leaf is found by L0 itself when TTL says nothing, or what cannot be."""
    rig = fresh_rig()
    context = rig.vm.stage2.shadows[select(rig, Key(VM, 1 << 48 | RAM_BASE, 0x19))]
    put_leaf(rig, 21, BIG_RAM_BASE, 0x20_0000, 0)
    put_leaf(rig, 21, BIG_RAM_BASE, 0x40_0000, 0)
    rig.run(tlbi.from_vel2, rig.vcpu, TLBI.IPAS2E1.trap_key, 0x3FF | ttl << 44)
    assert set(rig.leaves(context)) == {0x40_0000}
