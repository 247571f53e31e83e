"""Hostile programs without a machine: what the generator makes, and how failures become small."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import cast

import pytest
from click.testing import CliRunner

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import DESC_TABLE, GRANULE_4K, LAST_LEVEL, Stage1Leaf
from vel2.arch.nesting import Kind, Level
from vel2.arch.vncr import VNCR_PAGE
from vel2.check.hostile import (
    COMBINATIONS,
    Campaign,
    End,
    Ended,
    Rig,
    Where,
    describe,
    make_program,
    minimise,
    run_campaign,
)
from vel2.check.hostile.campaign import todo
from vel2.check.hostile.encodings import A32, COMPUTE, MEMORY, Group
from vel2.check.hostile.harness import build_harness
from vel2.check.hostile.layout import (
    ALL_TABLE_PAGES,
    BURST_BYTES,
    CONTROL,
    HELD_BLOCKS,
    HELD_ENTRY,
    HELD_ROOT,
    HELD_SELF,
    IMAGE_BASE,
    IMAGE_END,
    KEEP,
    MAX_WORDS,
    PAGE_BYTES,
    REGIME,
    TABLE_PAGES,
    TABLES,
    UNDEFINED,
    WORDS_OFFSET,
)
from vel2.check.hostile.layout import Burst as Record
from vel2.check.hostile.program import AT_A32, AT_EL2, AT_VEL2, LETHAL, Program, words_address
from vel2.check.hostile.values import Places, Values
from vel2.check.hostile.words import HOLDING_ENCODINGS, system_word
from vel2.cli.main import vel2

L0 = 0x4200_0000
VECTORS, EL1_VECTORS = 0x4020_0800, 0x4020_2000
PLACES = Places((0x4000_0000, 0x0800_0000), (L0, L0 + 0x20_0000), VECTORS, EL1_VECTORS)
SEEDS = range(4)
WHERE = Where(Kind.NVHE, Level.NV)
MOVE_WIDE, MOVE_WIDE_MASK = 0xD280_0000, 0xDF80_0000


MIXES = [
    pytest.param((kind, recursion), id=f"{kind.value}{'-recursion' * recursion}")
    for kind in Kind
    for recursion in (False, True)
]


@pytest.fixture(scope="module", params=MIXES)
def programs(request: pytest.FixtureRequest) -> list[Program]:
    kind, recursion = request.param
    return [make_program(seed, kind, PLACES, recursion=recursion) for seed in SEEDS]


@pytest.fixture(scope="module", params=list(Kind), ids=lambda kind: kind.value)
def recursive(request: pytest.FixtureRequest) -> list[Program]:
    return [make_program(seed, request.param, PLACES, recursion=True) for seed in SEEDS]


def is_recursive(program: Program) -> bool:
    return len(program.tables) == ALL_TABLE_PAGES * PAGE_BYTES


def test_a_seed_makes_one_program(programs: list[Program]) -> None:
    one = programs[1]
    assert make_program(one.seed, one.kind, PLACES, recursion=is_recursive(one)) == one
    again = one
    assert again.bursts != programs[2].bursts
    assert again.tables != programs[2].tables


def test_every_burst_fits(programs: list[Program]) -> None:
    for program in programs:
        pages = ALL_TABLE_PAGES if is_recursive(program) else TABLE_PAGES
        assert len(program.tables) == pages * PAGE_BYTES
        for burst in program.bursts:
            assert 0 < len(burst.words) <= MAX_WORDS
            assert all(0 <= word < 1 << 32 for word in burst.words)
            data = burst.encoded()
            assert len(data) == BURST_BYTES
            record = Record(bytearray(data))
            assert record.count == len(burst.words)
            assert [record.x[n] for n in range(31)] == burst.x
            end = WORDS_OFFSET + 4 * len(burst.words)
            behind = int.from_bytes(data[end : end + 4], "little")
            assert behind == UNDEFINED, "zeros would be no-operations in A32"


def test_a_program_attacks_from_everywhere(programs: list[Program]) -> None:
    levels = Counter(burst.level.name for program in programs for burst in program.bursts)
    wanted = {"vEL2", "L2's EL1", "L2's EL0", "L2's EL0, AArch32"}
    if programs[0].kind is Kind.VHE:
        wanted.add("EL0 of a host")
    if is_recursive(programs[0]):
        wanted.add("L2's vEL2")
    assert set(levels) == wanted
    assert min(levels.values()) > 40
    kept = [burst for program in programs for burst in program.bursts if burst.flags & KEEP]
    assert kept
    assert all(burst.level is not AT_EL2 for burst in kept)


def test_a_stage_1_that_is_on_holds_the_harness(recursive: list[Program]) -> None:
    """The root's entry leads to the other page, whose entry is the harness's block, as it is."""
    for program in recursive:
        pages = memoryview(program.tables).cast("Q")
        root = pages[HELD_ROOT * 512 + (IMAGE_BASE >> 30)]
        assert root & GRANULE_4K.address_mask(LAST_LEVEL) == TABLES + HELD_BLOCKS * PAGE_BYTES
        assert root & 3 == DESC_TABLE
        block = pages[HELD_BLOCKS * 512 + (IMAGE_BASE >> 21) % 512]
        assert block & GRANULE_4K.address_mask(2) == IMAGE_BASE
        assert block & ~GRANULE_4K.address_mask(2) == Stage1Leaf.compose(VALID=1, AF=1, SH=3)
        for burst in program.bursts:
            assert not burst.regime.sctlr & sr.SCTLR_EL2.compose(EE=1, WXN=1)
            table = burst.regime.ttbr0 & ~sr.TTBR0_EL1.ASID.mask
            assert table == TABLES + HELD_ROOT * PAGE_BYTES


def test_what_changes_that_stage_1_leaves_the_harness_in_it(recursive: list[Program]) -> None:
    values = Values(Random(1), PLACES, recursion=True)
    slots = {values.held_slot() for _ in range(5000)}
    assert len(slots) > 500
    held = {TABLES + page * PAGE_BYTES + 8 * HELD_ENTRY for page in (HELD_ROOT, HELD_BLOCKS)}
    assert not slots & held
    assert all(row.offset != 8 * HELD_ENTRY for row in VNCR_PAGE), "VNCR_EL2 may name those pages"


def test_l1_asks_for_every_kind_of_virtual_el2(recursive: list[Program]) -> None:
    """All sixteen sets of {NV,NV1,NV2,AT}, and VNCR_EL2 at all that it must be held to."""
    bursts = [burst for program in recursive for burst in program.bursts]
    below = [burst for burst in bursts if burst.level is AT_VEL2]
    nesting = sr.HCR_EL2.compose(NV=1, NV1=1, NV2=1, AT=1)
    assert len({burst.hcr & nesting for burst in below}) == 16
    assert sum(bool(burst.flags & REGIME) for burst in below) > len(below) // 3
    pages = {burst.regime.vncr & sr.VNCR_EL2.BADDR.mask for burst in bursts}
    tables = {TABLES + page * PAGE_BYTES for page in range(ALL_TABLE_PAGES)}
    assert pages & tables and pages & set(PLACES.forbidden) and pages & set(PLACES.own)
    itself = HELD_SELF << 30 | HELD_SELF << 21
    assert any(page & -1 << 21 == itself for page in pages), "through the root's entry for itself"
    signs = {burst.regime.vncr >> 57 for burst in bursts}
    assert signs - {0, 0x7F}, "no RESS that is wrong"
    assert any(burst.regime.vncr & 0xFFF for burst in bursts)


def written(words: list[int], at: int) -> int | None:
    """Give what an MSR at `at` writes, if the words before it are the moves that make it."""
    value = 0
    for half, move in enumerate(words[at - 4 : at]):
        if move & MOVE_WIDE_MASK != MOVE_WIDE or move & 31 != words[at] & 31:
            return None
        value |= (move >> 5 & 0xFFFF) << 16 * half
    return value


def test_what_holds_the_harness_stays_until_the_end(programs: list[Program]) -> None:
    """A burst of vEL2 sets SCTLR_EL2.M and wild vectors only among the last."""
    msrs = {system_word(False, encoding, 0): encoding for encoding in HOLDING_ENCODINGS}
    vectors = {sr.VBAR_EL1.encoding, sr.VBAR_EL2.encoding}
    sctlrs = {sr.SCTLR_EL1.encoding, sr.SCTLR_EL2.encoding}
    seen = 0
    for program in programs:
        for burst in program.bursts[: -LETHAL or None]:
            if burst.level is not AT_EL2:
                continue
            for at, word in enumerate(burst.words):
                encoding = msrs.get(word & ~31)
                if encoding is None:
                    continue
                value = written(burst.words, at)
                if value is None:
                    continue
                seen += 1
                if encoding in vectors:
                    assert value == VECTORS
                if encoding in sctlrs:
                    assert not value & (sr.SCTLR_EL2.M.mask | sr.SCTLR_EL2.EE.mask)
                if encoding == sr.HCR_EL2.encoding:
                    assert value & sr.HCR_EL2.IMO.mask
    assert seen > 20


@pytest.mark.parametrize("group", [*MEMORY, *COMPUTE, *A32], ids=lambda group: group.name)
def test_what_is_fixed_is_not_free(group: Group) -> None:
    assert group.fixed & group.free == 0
    assert group.free


@pytest.mark.parametrize("group", MEMORY, ids=lambda group: group.name)
def test_the_address_register_is_left_to_the_maker(group: Group) -> None:
    assert group.fixed & 0x3E0 == 0


@pytest.mark.parametrize("recursion", [False, True])
@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.value)
def test_the_harness_is_where_l2_does_not_reach(kind: Kind, recursion: bool) -> None:
    image = build_harness(kind, Level.NV2, recursion)
    assert image.end <= CONTROL < IMAGE_END
    el1 = image.symbols["harness_el1_vectors"]
    assert el1 % PAGE_BYTES == 0, "L2 would see more than its vectors"
    assert image.symbols["harness_vectors"] % 0x800 == 0


class FaultyRig:
    """Stands for a machine whose L0 stops at one word, when another burst has run before."""

    def __init__(self, word: int, after: int, culprit: int) -> None:
        self.word, self.after, self.culprit = word, after, culprit
        self.runs = 0

    def run(self, program: Program, first: int = 0, last: int | None = None) -> Ended:
        self.runs += 1
        end = len(program.bursts) - 1 if last is None else last
        prepared = first <= self.after and bool(program.bursts[self.after].words)
        hit = self.culprit <= end and self.word in program.bursts[self.culprit].words
        if prepared and hit:
            return ended(program.seed, End.FATAL, self.culprit, "L0 stopped: X in f+0x4")
        return ended(program.seed, End.ENDED, end)


def ended(seed: int, end: End, burst: int, *detail: str) -> Ended:
    return Ended(seed, WHERE, end, burst, 100, 80, 1, 1.0, 300, 0, list(detail))


def test_a_failure_becomes_small() -> None:
    program = make_program(7, Kind.NVHE, PLACES, bursts=40)
    culprit = next(i for i in range(20, 40) if program.bursts[i].level is AT_EL2)
    unique = 0xD503_7FFF
    words = [*program.bursts[culprit].words]
    words[3] = unique
    program.bursts[culprit] = replace(program.bursts[culprit], words=words)
    rig = FaultyRig(unique, culprit - 3, culprit)
    found = minimise(cast(Rig, rig), program, rig.run(program))
    assert found is not None
    small, first, last = found
    assert (first, last) == (culprit - 3, culprit) or first < culprit - 3
    assert [index for index in range(first, last + 1) if small.bursts[index].words] == [
        culprit - 3,
        culprit,
    ]
    lines = describe(small, culprit, culprit)
    assert len(lines) == 2
    assert f"{words_address(culprit) + 12:#x}  {unique:08x}" in lines[1]
    assert rig.runs < 200


def test_a_failure_that_does_not_come_again() -> None:
    program = make_program(7, Kind.NVHE, PLACES, bursts=4)
    rig = FaultyRig(1, 0, 1)
    assert minimise(cast(Rig, rig), program, ended(7, End.HANG, 3, "in g")) is None


def test_a32_becomes_small_by_its_own_nops() -> None:
    program = make_program(7, Kind.NVHE, PLACES)
    culprit = next(i for i, burst in enumerate(program.bursts) if burst.level is AT_A32)
    word = program.bursts[culprit].words[0]
    rig = FaultyRig(word, culprit, culprit)
    found = minimise(cast(Rig, rig), program, rig.run(program, 0, culprit))
    assert found is not None
    assert set(found[0].bursts[culprit].words) == {word, 0xE320_F000}


def test_a_campaign_takes_each_seed_in_each_combination() -> None:
    campaign = Campaign(5, programs=2)
    rigs = [Rig(where) for where in campaign.combinations]
    tasks = [cast("Task", task).args for task in todo(campaign, rigs)]
    assert [(str(rig.where), seed) for _, rig, seed in tasks] == [
        (f"{el2}-{nv}{own}", seed)
        for seed in (5, 6)
        for el2 in ("vhe", "nvhe")
        for nv in ("nv2", "nv")
        for own in ("", f"+{nv}")
    ]


def test_each_combination_runs_however_short_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(campaign: Campaign, rig: Rig, seed: int) -> Ended:
        return replace(ended(seed, End.ENDED, 1), where=rig.where)

    monkeypatch.setattr("vel2.check.hostile.campaign.run_one", run)
    found = list(run_campaign(Campaign(3, seconds=0, jobs=1)))
    assert [each.where for each in found] == list(COMBINATIONS)


class Task:
    """What `todo` gives: a partial of `run_one`."""

    args: tuple[Campaign, Rig, int]


FAILURE = "not ok seed 9 nvhe-nv burst 12: L0 stopped: L0 stopped: X in f+0x4; vel2 check hostile"


def test_the_command_tells_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = [ended(8, End.LOST, 5), ended(9, End.FATAL, 12, "L0 stopped: X in f+0x4")]
    monkeypatch.setattr("vel2.check.hostile.run_campaign", lambda campaign: iter(found))
    path = tmp_path / "result.json"
    arguments = ["check", "hostile", "--seed", "8", "--el2", "nvhe", "--nv", "nv"]
    result = CliRunner().invoke(vel2, [*arguments, "--json", str(path)])
    assert result.exit_code == 5
    lines = " ".join(result.stdout.split())
    assert lines.startswith(f"seed 8 {FAILURE}")
    assert "--seed 9 --el2 nvhe --nv nv --no-recursion --programs 1 --bursts 13" in lines
    tree = json.loads(path.read_text())
    assert tree["combinations"]["nvhe-nv"]["events"] == 200
    assert tree["run"]["deterministic"] is False and tree["run"]["command"].startswith("vel2")
    assert [each["burst"] for each in tree["failures"]] == [12]


def test_the_command_is_content(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [ended(8, End.LOST, 5), ended(9, End.QEMU, 3, "signal 6")]
    monkeypatch.setattr("vel2.check.hostile.run_campaign", lambda campaign: iter(found))
    result = CliRunner().invoke(vel2, ["check", "hostile", "--el2", "nvhe", "--nv", "nv"])
    assert result.exit_code == 0
    assert "QEMU ended on its own: 1" in " ".join(result.stdout.split())
