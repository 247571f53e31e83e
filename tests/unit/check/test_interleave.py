"""The interleaving checker: that it sees every order, and finds what it is there to find."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from random import Random

import pytest

from vel2.arch import sysregs as sr
from vel2.arch.insn import TLBI
from vel2.check.interleave import (
    RULES,
    SCENES,
    judge,
    result_tree,
    run_scene,
    run_variant,
    scene_named,
)
from vel2.check.interleave.board import IPAS, Board
from vel2.check.interleave.explore import Explored, Explorer
from vel2.check.interleave.machine import Machine
from vel2.check.interleave.order import DataRaces
from vel2.check.interleave.seeded import put_in
from vel2.check.interleave.steps import Finding
from vel2.lang import (
    PA,
    Struct,
    at,
    compare_exchange_u64,
    dsb_ish,
    fetch_add_u64,
    load_acquire_u64,
    load_u64,
    msr,
    resident,
    scalar,
    store_release_u64,
    store_u64,
    sysop,
    u64,
    yield_,
)

BASE = 0x4000_0000
VARIANTS = {variant.name: variant for rule in RULES for variant in rule.variants}
SHORT = [scene.name for scene in SCENES if scene.short]
WORD = [PA(BASE + 8 * number) for number in range(4)]


def explore(
    programs: list[Callable[[], None]],
    check: Callable[[Machine], None] = lambda machine: None,
    *,
    ordered: bool = False,
    delayed: tuple[int, ...] = (),
) -> Explored:
    """Explore small programs over a few words, which begin at 0."""
    machine = Machine(BASE, 0x1000, len(programs))
    machine.delayed = set(delayed)
    races = DataRaces(
        len(machine.actors), lambda word: word in delayed, lambda word: f"word {word}"
    )
    explorer = Explorer(machine, races.look if ordered else lambda trace: None)

    def run() -> None:
        machine.take_back()
        machine.prepare(dict(enumerate(programs)))
        machine.run(explorer)
        if machine.is_over:
            check(machine)

    return explorer.explore(run, 100_000)


# --- every order ---


@pytest.mark.parametrize(
    ("programs", "expected"),
    [
        pytest.param([[0, 0], [0, 0]], 6, id="two writes each to one word"),
        pytest.param([[0], [0], [0]], 6, id="one write each by three"),
        pytest.param([[0, 0], [1, 1]], 1, id="nothing shared"),
        pytest.param([[0, 1], [0, 1]], 4, id="two words in one order"),
        pytest.param([[0, 1], [1, 0]], 3, id="two words in opposite orders"),
        pytest.param([[0, 0], [0, 0], [0, 0]], 90, id="two writes each by three"),
    ],
)
def test_each_order_is_seen_once(programs: list[list[int]], expected: int) -> None:
    """The counts are combinatorics: orders of writes to each word that agree with the programs."""

    def writer(number: int, words: list[int]) -> Callable[[], None]:
        def run() -> None:
            for word in words:
                fetch_add_u64(WORD[word], number + 1)

        return run

    found = explore([writer(number, words) for number, words in enumerate(programs)])
    assert found.fault is None and found.is_complete
    assert found.interleavings == expected


Access = tuple[str, int, int]


def draw(random: Random) -> list[list[Access]]:
    """Draw a short program for each of two or three pcpus."""
    kinds = ("load", "store", "add", "cas")
    pcpus = random.choice((2, 2, 3))
    length = 3 if pcpus == 2 else 2
    return [
        [
            (random.choice(kinds), random.randrange(2), 10 * (pcpu + 1) + step)
            for step in range(length)
        ]
        for pcpu in range(pcpus)
    ]


def do(access: Access) -> int:
    """Do one access on the machine that runs; give what it reads."""
    kind, word, value = access
    if kind == "load":
        return load_u64(WORD[word])
    if kind == "store":
        store_u64(WORD[word], u64(value))
        return 0
    if kind == "add":
        return fetch_add_u64(WORD[word], value)
    return compare_exchange_u64(WORD[word], 0, value)


def all_outcomes(programs: list[list[Access]]) -> set[tuple[object, ...]]:
    """Find by brute force what programs can read and leave: every merge of their steps."""
    steps = [number for number, program in enumerate(programs) for _ in program]
    outcomes = set()
    for order in set(permutations(steps)):
        memory, at_step = [0, 0], [0] * len(programs)
        read: list[list[int]] = [[] for _ in programs]
        for number in order:
            kind, word, value = programs[number][at_step[number]]
            at_step[number] += 1
            old = memory[word]
            if kind == "store" or (kind == "cas" and old == 0):
                memory[word] = value
            elif kind == "add":
                memory[word] = old + value
            read[number].append(0 if kind == "store" else old)
        outcomes.add((*memory, *map(tuple, read)))
    return outcomes


@pytest.mark.parametrize("seed", range(40))
def test_no_outcome_is_missed(seed: int) -> None:
    """What the reduction leaves out differs in nothing from what it shows."""
    programs = draw(Random(seed))
    seen: set[tuple[object, ...]] = set()
    read: dict[int, list[int]] = {}

    def runner(number: int) -> Callable[[], None]:
        def run() -> None:
            read[number] = []
            for access in programs[number]:
                read[number].append(do(access))

        return run

    def note(machine: Machine) -> None:
        values = [machine.words[word] for word in range(2)]
        seen.add((*values, *(tuple(read[number]) for number in range(len(programs)))))

    found = explore([runner(number) for number in range(len(programs))], note)
    assert found.is_complete and found.fault is None
    assert seen == all_outcomes(programs)


# --- waiting ---


@resident
def spin_until(address: PA, value: u64) -> None:
    """Wait as a lock does."""
    while load_acquire_u64(address) != value:
        yield_()


def test_who_waits_is_woken_by_the_store() -> None:
    def waiter() -> None:
        spin_until(WORD[0], 1)
        assert load_u64(WORD[1]) == 7

    def setter() -> None:
        store_u64(WORD[1], 7)
        store_release_u64(WORD[0], 1)

    found = explore([waiter, setter], ordered=True)
    assert found.fault is None and found.is_complete and found.interleavings == 1


def test_a_deadlock_is_found() -> None:
    def taker(first: int, second: int) -> Callable[[], None]:
        def run() -> None:
            for word in (first, second):
                while compare_exchange_u64(WORD[word], 0, 1) != 0:
                    spin_until(WORD[word], 0)
            for word in (second, first):
                store_release_u64(WORD[word], 0)

        return run

    found = explore([taker(0, 1), taker(1, 0)])
    assert found.fault is not None and "deadlock" in found.fault.what
    assert explore([taker(0, 1), taker(0, 1)]).fault is None


def test_a_loop_without_an_end_is_found() -> None:
    def forever() -> None:
        while load_u64(WORD[0]) != 5:
            pass

    for programs in ([forever], [forever, lambda: store_u64(WORD[0], 6)]):
        found = explore(programs)
        assert found.fault is not None and "no end" in found.fault.what


# --- order ---


def passing(*, release: bool, acquire: bool) -> Explored:
    """Pass a message: data by plain accesses, and a flag that says it is there."""

    def send() -> None:
        store_u64(WORD[1], 7)
        (store_release_u64 if release else store_u64)(WORD[0], 1)

    def receive() -> None:
        if (load_acquire_u64 if acquire else load_u64)(WORD[0]) == 1:
            load_u64(WORD[1])

    return explore([send, receive], ordered=True)


def test_a_message_needs_release_and_acquire() -> None:
    assert passing(release=True, acquire=True).fault is None
    for release, acquire in ((False, True), (True, False), (False, False)):
        fault = passing(release=release, acquire=acquire).fault
        assert fault is not None and fault.what.startswith("no order"), (release, acquire)


def test_an_increment_that_is_not_atomic_loses_one() -> None:
    def add() -> None:
        store_u64(WORD[0], u64(load_u64(WORD[0]) + 1))

    def check(machine: Machine) -> None:
        if machine.words[0] != 2:
            raise Finding("lost")

    found = explore([add, add], check)
    assert found.fault is not None and found.fault.what == "lost"
    assert explore([lambda: fetch_add_u64(WORD[0], 1) and None] * 2, check).fault is None


def read_by_each(*, fence: bool, delayed: tuple[int, ...] = (0, 1)) -> set[tuple[int, int]]:
    """Have each of two pcpus say that it comes, and look whether the other does (Dekker)."""
    seen: set[tuple[int, int]] = set()
    found: dict[int, int] = {}

    def comer(number: int) -> Callable[[], None]:
        def run() -> None:
            store_u64(WORD[number], 1)
            assert load_u64(WORD[number]) == 1, "a pcpu sees its own stores"
            if fence:
                dsb_ish()
            found[number] = load_u64(WORD[1 - number])

        return run

    programs = [comer(0), comer(1)]
    explored = explore(programs, lambda machine: seen.add((found[0], found[1])), delayed=delayed)
    assert explored.fault is None and explored.is_complete
    return seen


def test_a_store_may_be_seen_late_until_a_barrier() -> None:
    both = {(0, 1), (1, 0), (1, 1)}
    assert read_by_each(fence=True) == both
    assert read_by_each(fence=False) == both | {(0, 0)}
    assert read_by_each(fence=False, delayed=()) == both, "what is not delayed is seen at once"


def test_a_release_stays_behind_the_stores_before_it() -> None:
    """But what comes behind the release does not wait for it."""
    seen = set()
    found: dict[str, int] = {}

    def send() -> None:
        store_u64(WORD[1], 7)
        store_release_u64(WORD[0], 1)
        found["back"] = load_u64(WORD[2])

    def receive() -> None:
        store_u64(WORD[2], 1)
        dsb_ish()
        found["flag"] = load_acquire_u64(WORD[0])
        found["data"] = load_u64(WORD[1])

    def note(machine: Machine) -> None:
        seen.add((found["flag"], found["data"], found["back"]))

    explored = explore([send, receive], note, delayed=(1,))
    assert explored.fault is None and explored.is_complete
    assert {data for flag, data, _ in seen if flag} == {7}
    assert (0, 0, 0) in seen, "the load behind the release was made before it was seen"


class Pair(Struct):
    """Two words, by fields."""

    first = scalar(u64)
    second = scalar(u64)


def test_fields_of_structures_are_accesses_too() -> None:
    def write() -> None:
        at(Pair, BASE).second = 1

    found = explore([write, lambda: at(Pair, BASE).second and None], ordered=True)
    assert found.fault is not None and "word 1" in found.fault.what


# --- what hardware may hold ---

IPA = IPAS[0]


class Tables:
    """Pcpu 1 changes the one leaf that pcpu 0 walks by, step by step, in one order."""

    def __init__(self) -> None:
        self.board = board = Board(2)
        with board.on(0):
            board.enter(0, 0)
            board.fill(0, IPA)
        board.save()
        board.put_back()
        self.vttbr = board.machine.pcpus[0].registers[sr.VTTBR_EL2.trap_key]
        walked = board.machine.tlbs.walk(0, self.vttbr, IPA)
        self.leaf = walked.translations[0].leaf
        table = walked.translations[0].tables[-1]
        self.slot = PA(table + (IPA >> 12) * 8)

    def possible(self, pcpu: int = 0) -> set[int]:
        """Give the leaves that a pcpu may use."""
        walked = self.board.machine.tlbs.walk(pcpu, self.vttbr, IPA)
        return {each.leaf for each in walked.translations}

    def steps(self, *steps: Callable[[], None]) -> Iterator[set[int]]:
        """Do steps on pcpu 1; yield what pcpu 0 may use after each."""
        seen: list[set[int]] = []
        machine = self.board.machine

        def run() -> None:
            for step in steps:
                step()
                seen.append(self.possible())

        machine.prepare({1: run})
        machine.run(Explorer(machine, lambda trace: None))
        yield from seen

    def clear(self) -> None:
        """Take the leaf out."""
        store_u64(self.slot, 0)

    def load(self) -> None:
        """Load the VMID."""
        msr(sr.VTTBR_EL2, self.vttbr)


def flush() -> None:
    """Invalidate the VMID everywhere."""
    sysop(TLBI.VMALLS12E1IS)


def test_a_leaf_may_be_used_until_a_tlbi_behind_a_dsb_is_complete() -> None:
    tables = Tables()
    old = {tables.leaf}
    steps = (tables.load, tables.clear, dsb_ish, flush, dsb_ish)
    assert list(tables.steps(*steps)) == [old, old, old, old, set()]


@pytest.mark.parametrize("missing", ["load", "first dsb", "second dsb", "flush"])
def test_nothing_of_it_may_be_missing(missing: str) -> None:
    tables = Tables()
    steps = {
        "load": tables.load,
        "clear": tables.clear,
        "first dsb": dsb_ish,
        "flush": flush,
        "second dsb": dsb_ish,
    }
    del steps[missing]
    assert list(tables.steps(*steps.values()))[-1] == {tables.leaf}


def test_a_local_tlbi_is_for_its_pcpu_alone() -> None:
    tables = Tables()
    steps = (tables.load, tables.clear, dsb_ish, lambda: sysop(TLBI.VMALLS12E1), dsb_ish)
    assert list(tables.steps(*steps))[-1] == {tables.leaf}
    assert tables.possible(1) == set()


def test_a_pcpu_holds_nothing_of_a_vmid_it_never_loaded() -> None:
    tables = Tables()
    list(tables.steps(tables.clear, dsb_ish))
    assert tables.possible(0) == {tables.leaf} and tables.possible(1) == set()


def test_two_valid_values_may_be_held_without_a_break() -> None:
    tables = Tables()
    other = tables.leaf + 0x1000
    list(tables.steps(lambda: store_u64(tables.slot, other), dsb_ish))
    assert tables.possible() == {tables.leaf, other}
    walked = tables.board.machine.tlbs.walk(0, tables.vttbr, IPA)
    assert walked.doubled is not None


# --- L0 ---


def test_the_tables_of_scenes_and_rules_agree() -> None:
    names = [scene.name for scene in SCENES]
    assert len(set(names)) == len(names) and len({rule.name for rule in RULES}) == len(RULES)
    assert len(VARIANTS) == sum(len(rule.variants) for rule in RULES)
    assert all(rule.variants for rule in RULES)
    assert {variant.scene for variant in VARIANTS.values()} <= set(names)


def test_the_documented_rules_are_these() -> None:
    """The table of docs/stage2.md is the one of the code, word for word."""
    text = (Path(__file__).resolve().parents[3] / "docs" / "stage2.md").read_text()
    documented = re.findall(r"^\| `([a-z0-9-]+)` \| (.*) \| (.*) \|$", text, re.M)
    assert documented == [
        (rule.name, rule.what, ", ".join(dict.fromkeys(each.scene for each in rule.variants)))
        for rule in RULES
    ]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_can_be_put_in(name: str) -> None:
    """The text that it changes is still there, just once; and afterwards it is as it was."""
    for change in VARIANTS[name].edits:
        before = change.function.__code__  # type: ignore[attr-defined]
        with put_in((change,)):
            assert change.function.__code__ is not before  # type: ignore[attr-defined]
        assert change.function.__code__ is before  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", SHORT)
def test_the_protocol_holds(name: str) -> None:
    result = run_scene(scene_named(name))
    assert result.explored.fault is None, "\n".join(result.story)
    assert result.explored.is_complete and result.explored.interleavings > 0


@pytest.mark.parametrize("name", [name for name in VARIANTS if VARIANTS[name].scene in SHORT])
def test_a_broken_rule_is_found(name: str) -> None:
    result = run_variant(VARIANTS[name])
    assert result.explored.fault is not None
    assert VARIANTS[name].finds in result.explored.fault.what
    assert result.story[-1] == result.explored.fault.what


def test_a_fault_is_told_in_the_words_of_the_protocol() -> None:
    story = run_variant(VARIANTS["given-back-first"]).story
    assert any("pool.empty: writes entry 0 of root" in line for line in story)
    assert [line for line in story if line.startswith("pcpu ") and line.endswith(":")] == [
        "pcpu 1:",
        "pcpu 0:",
    ], "two turns are enough to show it"


@pytest.mark.slow
def test_all_of_it() -> None:
    """Every scene, those of three pcpus too, and every broken variant."""
    judged = list(judge())
    assert [each for each in judged if not each.is_well] == []
    assert len(judged) == len(SCENES) + len(VARIANTS)
    assert result_tree(judged)["interleavings"] > 1000
