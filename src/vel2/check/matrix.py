"""The guest matrix: known guest hypervisors under every kind of virtual EL2.

A row is a `Recipe`: what to run for a guest, and which console lines show that it did what it is
known to do. A column is a `Combination` of a kind of virtual EL2 and the hardware support that L0
uses for it. A cell is one boot in its own machine, with a time limit. `matrix_guests` has the
recipes; this module runs and judges them and knows no guest.

A machine ends when its guest powers it off. Some guest hypervisors stay up after their guests have
ended. Their recipes say so, and the machine is stopped once the console has shown everything.

That a guest cannot run in a combination is a claim, and claims are tested too. If the guest
declines by itself, the recipe says how, and the cell is n/a only after a boot in which it did. Only
a guest that would not come up at all is not booted.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from vel2.arch.nesting import Kind, Level
from vel2.control.launch import launch
from vel2.control.request import Request
from vel2.control.session import Session
from vel2.errors import UserError
from vel2.guests.apt import Progress
from vel2.machine.console import Line
from vel2.machine.outcome import ExitReason, MachineExit
from vel2.scratch import scratch

__all__ = (
    "COMBINATIONS",
    "NVHE_NV",
    "NVHE_NV2",
    "VHE_NV",
    "VHE_NV2",
    "Cell",
    "Combination",
    "Inapplicable",
    "Recipe",
    "Result",
    "Sign",
    "Verdict",
    "judge",
    "run_cell",
    "run_matrix",
    "select",
)

TAIL_LINES = 30


class Combination(NamedTuple):
    """One column: what virtual EL2 is like, and the part of FEAT_NV* that L0 uses for it."""

    el2: Kind
    nv: Level

    def __str__(self) -> str:
        return f"{self.el2.value} {self.nv.value}"


COMBINATIONS = tuple(Combination(el2, nv) for el2 in Kind for nv in Level)
VHE_NV2 = Combination(Kind.VHE, Level.NV2)
VHE_NV = Combination(Kind.VHE, Level.NV)
NVHE_NV2 = Combination(Kind.NVHE, Level.NV2)
NVHE_NV = Combination(Kind.NVHE, Level.NV)


@dataclass(frozen=True)
class Sign:
    """One thing that a console shows when all is well.

    :ivar line: regular expression that a whole line of L1's console must match.
    :ivar otherwise: what to say when no line does.
    :ivar instead: regular expression; a line that it matches in full says what came in place of
        it, in group 1.
    """

    line: str
    otherwise: str
    instead: str = ""

    def complaint(self, lines: Sequence[str]) -> str:
        """Say what is wrong with a console; nothing when the sign is there."""
        if any(re.fullmatch(self.line, line) for line in lines):
            return ""
        if self.instead:
            for line in lines:
                if found := re.fullmatch(self.instead, line):
                    return f"{self.otherwise}: {found[1]}"
        return self.otherwise


@dataclass(frozen=True)
class Inapplicable:
    """Why a guest has nothing to show in a combination.

    :ivar reason: one sentence without a full stop, for people.
    :ivar signs: how the guest itself declines; without any it is not booted.
    """

    reason: str
    signs: tuple[Sign, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """One row.

    :ivar name: for `--guest` and the table.
    :ivar needs: what to fetch, as named in `vel2.guests.kernels.OFFERS`.
    :ivar make_request: says what to run in a combination when L1 has so many CPUs; its guests have
        as many, where they can. Its files may go into the folder, which is there until the machine
        has ended.
    :ivar signs: gives what success looks like in a combination with so many CPUs.
    :ivar inapplicable: the combinations that have nothing to show.
    :ivar powers_off: the machine powers off by itself; otherwise it is stopped when it has shown
        every sign.
    :ivar read: makes what the signs are looked for in of the lines of the console.
    :ivar fetch: fetches what `needs` cannot name.
    """

    name: str
    summary: str
    needs: tuple[str, ...]
    make_request: Callable[[Combination, int, Path], Request]
    signs: Callable[[Combination, int], tuple[Sign, ...]]
    inapplicable: Mapping[Combination, Inapplicable] = field(default_factory=dict)
    powers_off: bool = True
    read: Callable[[Sequence[str]], Sequence[str]] = list
    fetch: Callable[[Progress | None], object] = lambda progress: None

    def expected(self, at: Combination, cpus: int) -> tuple[Sign, ...]:
        """Give what a boot must show in a combination, including one where the guest declines."""
        declined = self.inapplicable.get(at)
        return declined.signs if declined else self.signs(at, cpus)

    def complaints(self, at: Combination, lines: Sequence[str], cpus: int = 1) -> list[str]:
        """Say what is missing on a console."""
        said = self.read(lines)
        expected = self.expected(at, cpus)
        return [complaint for sign in expected if (complaint := sign.complaint(said))]


class Cell(NamedTuple):
    """One guest in one combination.

    :ivar cpus: how many L1 has.
    """

    recipe: Recipe
    at: Combination
    cpus: int = 1


class Verdict(Enum):
    """The result of a cell; values are those of the JSON result."""

    PASS = "pass"
    FAIL = "fail"
    NOT_APPLICABLE = "n/a"


@dataclass(frozen=True)
class Result:
    """What one cell showed.

    :ivar reason: one sentence without a full stop; empty when the guest passed.
    :ivar seconds: host time the machine ran; 0 when it was not started.
    :ivar tail: the end of L1's console when it failed.
    """

    guest: str
    at: Combination
    verdict: Verdict
    reason: str = ""
    seconds: float = 0.0
    tail: str = ""

    def as_json(self) -> dict[str, object]:
        """Give the values of the JSON result; `tail` is there for failures only."""
        row: dict[str, object] = {
            "guest": self.guest,
            "el2": self.at.el2.value,
            "nv": self.at.nv.value,
            "result": self.verdict.value,
            "reason": self.reason,
            "seconds": round(self.seconds, 1),
        }
        return row | {"tail": self.tail} if self.verdict is Verdict.FAIL else row


def judge(cell: Cell, ended: MachineExit, fatal: str, lines: Sequence[str]) -> str:
    """Say why a run failed; nothing when it passed.

    :param fatal: why L0 stopped itself. It comes first: it is never the guest's doing.
    """
    recipe, at, cpus = cell
    wanted = ExitReason.SHUTDOWN if recipe.powers_off else ExitReason.STOPPED
    complaints = [] if ended.reason is wanted else [str(ended)]
    # What comes after the first thing that went wrong only follows from it.
    missing = recipe.complaints(at, lines, cpus)[:1]
    return "; ".join(filter(None, [fatal, *complaints, *missing]))


def stop_when_shown(cell: Cell, session: Session) -> None:
    """Stop the machine as soon as its console has shown every sign."""
    recipe, at, cpus = cell
    lines: list[str] = []

    def watch(line: Line) -> None:
        lines.append(line.text)
        if not recipe.complaints(at, lines, cpus):
            session.stop()

    session.console.on_line(watch)


def run_cell(
    cell: Cell,
    timeout: float,
    make_session: Callable[[Request], Session] = launch,
) -> Result:
    """Boot one guest in one combination and judge it.

    :param timeout: seconds until the machine is ended.
    :raises UserError: when the machine cannot be made or started: no other cell could be either.
    """
    recipe, at, cpus = cell
    declined = recipe.inapplicable.get(at)
    if declined and not declined.signs:
        return Result(recipe.name, at, Verdict.NOT_APPLICABLE, declined.reason)
    with ExitStack() as stack:
        request = recipe.make_request(at, cpus, stack.enter_context(scratch()))
        session = stack.enter_context(closing(make_session(request)))
        if not recipe.powers_off:
            stop_when_shown(cell, session)
        with session:
            ended = session.wait(timeout)
        fatal = str(session.fatal or "")
    trouble = judge(cell, ended, fatal, [line.text for line in session.console.lines])
    if trouble:
        tail = session.console.tail(TAIL_LINES)
        return Result(recipe.name, at, Verdict.FAIL, trouble, ended.seconds, tail)
    if declined:
        return Result(recipe.name, at, Verdict.NOT_APPLICABLE, declined.reason, ended.seconds)
    return Result(recipe.name, at, Verdict.PASS, "", ended.seconds)


def _listing(recipes: Iterable[Recipe]) -> str:
    """List the names there are."""
    return ", ".join(recipe.name for recipe in recipes)


def select(
    recipes: Sequence[Recipe],
    guests: Sequence[str] = (),
    el2: Sequence[Kind] = (),
    nv: Sequence[Level] = (),
    only: Iterable[tuple[str, Combination]] | None = None,
    cpus: int = 1,
) -> list[Cell]:
    """List the cells wanted, row by row; an empty choice means everything.

    :param only: (guest, combination) pairs to choose from. :param cpus: how many L1 has.
    :raises UserError: when nothing is left.
    """
    allowed = None if only is None else tuple(only)
    cells = [
        Cell(recipe, at, cpus)
        for recipe in recipes
        for at in COMBINATIONS
        if (not guests or recipe.name in guests)
        and (not el2 or at.el2 in el2)
        and (not nv or at.nv in nv)
        and (allowed is None or (recipe.name, at) in allowed)
    ]
    if cells:
        return cells
    if allowed is None:
        raise UserError(
            f"no guest of that name; give some of {_listing(recipes)}, or none for all."
        )
    listed = ", ".join(f"{name} ({at})" for name, at in allowed)
    raise UserError(
        f"none of the quick cells is among what was asked for; they are {listed};"
        " leave --quick out to run others."
    )


def run_matrix(
    cells: Iterable[Cell],
    timeout: float,
    on_start: Callable[[Cell, float], None] = lambda cell, at: None,
    run: Callable[[Cell, float], Result] = run_cell,
) -> Iterator[Result]:
    """Run cells one after the other: each machine has the host to itself.

    :param on_start: called with each cell and the host's `time.monotonic()` when its turn comes.
    """
    for cell in cells:
        on_start(cell, time.monotonic())
        yield run(cell, timeout)
