"""Hostile programs against L0, and the ways in which L0 could fail, made to happen."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import replace

import pytest

from vel2.arch.esr import EC
from vel2.arch.nesting import Kind, Level
from vel2.check.hostile import Campaign, End, Ended, Rig, Where, make_program, run_campaign
from vel2.control.counters import class_name
from vel2.hyp import image
from vel2.lang import Image

pytestmark = pytest.mark.qemu

SEED = 1
MINUTE_S = 60
LONG_S = 900
BRANCH_TO_SELF, UNDEFINED = 0x1400_0000, 0
HERE = Where(Kind.VHE, Level.NV2)


def attack(seed: int, seconds: float) -> None:
    """Run programs for some time; L0 must never fail, and enough must have happened."""
    print(f"seed {seed}")
    found = list(run_campaign(Campaign(seed, seconds=seconds)))
    failures = [f"{ended}; {ended.replay}" for ended in found if ended.end.is_failure]
    assert not failures, "\n".join(failures)
    events: Counter[str] = Counter()
    for ended in found:
        events[str(ended.where)] += ended.events
    assert len(events) == 8, events
    assert min(events.values()) > 1000, events


@pytest.mark.timeout(6 * MINUTE_S)
def test_a_minute_of_hostile_programs() -> None:
    attack(SEED, MINUTE_S)


@pytest.mark.slow
@pytest.mark.timeout(2 * LONG_S)
def test_a_quarter_of_an_hour_of_hostile_programs() -> None:
    """Attack with seeds that nobody has seen."""
    attack(secrets.randbits(32), LONG_S)


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.value)
def test_programs_attack_by_a_virtual_el2_of_their_own(kind: Kind) -> None:
    """Show that they get as far as L1's page of FEAT_NV2, its aborts, and ERETs of L2's vEL2."""
    where = Where(kind, Level.NV2, recursion=True)
    found: Counter[tuple[str, str]] = Counter()
    for ended in run_campaign(Campaign(SEED, [where], programs=2)):
        assert not ended.end.is_failure, ended
        found += ended.by_kind
    for ec in (EC.DABT_SAME, EC.ERET, EC.SYS64):
        assert found["vEL1", class_name(ec)] > 20, found


def with_first_word(function: str, word: int, monkeypatch: pytest.MonkeyPatch) -> Ended:
    """Run a program under an L0 that has another word at the start of one of its functions."""
    build = image.build

    def damaged(base: int) -> Image:
        built = build(base)
        at = built.symbols[function] - built.base
        data = built.data[:at] + word.to_bytes(4, "little") + built.data[at + 4 :]
        return replace(built, data=data)

    monkeypatch.setattr(image, "build", damaged)
    rig = Rig(HERE)
    return rig.run(make_program(SEED, HERE.el2, rig.places), 0, 20)


def test_an_l0_that_hangs_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = with_first_word("take_exception", BRANCH_TO_SELF, monkeypatch)
    assert ended.end is End.HANG
    assert ended.detail == ["at EL2 for 3 s, in take_exception"]


def test_an_l0_that_stops_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = with_first_word("take_exception", UNDEFINED, monkeypatch)
    assert ended.end is End.FATAL
    assert "VECTOR_SAME_EL" in ended.detail[0]
    assert "in take_exception" in ended.detail[0]


def test_one_burst_runs_alone() -> None:
    rig = Rig(HERE)
    program = make_program(SEED, HERE.el2, rig.places)
    # One that does not take the harness with it, as some do.
    ended = rig.run(program, 4, 4)
    assert ended.end is End.ENDED, ended
    assert 0 < ended.events <= len(program.bursts[4].words) + 1
