"""One scene, run in every order, as it is or with a fault put in."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from vel2.check.interleave.actors import Director
from vel2.check.interleave.explore import Explored, Explorer
from vel2.check.interleave.order import DataRaces
from vel2.check.interleave.play import Play, Scene
from vel2.check.interleave.rules import Variant
from vel2.check.interleave.scenes import scene_named
from vel2.check.interleave.seeded import put_in
from vel2.check.interleave.story import shortest, tell

__all__ = ("RUNS_AT_MOST", "Result", "run_scene", "run_variant")

RUNS_AT_MOST = 200_000
"""A scene that has more interleavings is too large to be explored."""

UNORDERED = {
    "online": "a count that only says whether there is somebody else; see `alone`",
    "dirty": "only ever set while others run; who sets it waits (DSB) before hardware walks",
    **dict.fromkeys(
        ("contexts", "in_use", "guest_vttbr", "guest_vtcr", "stage2_off", "vttbr"),
        "whose a context is; who claims it waits (DSB) before anything is walked for it",
    ),
}
"""Words that pcpus access without an order, by their last name, and why that does no harm. A plain
store to one may be seen late."""


@dataclass(frozen=True)
class Result:
    """What came of a scene."""

    explored: Explored
    seconds: float
    story: tuple[str, ...] = ()
    """How the fault comes about, if there is one."""


def runner(play: Play) -> Callable[[Director], None]:
    """Give what makes one run of a scene."""
    board, machine = play.board, play.board.machine

    def run(director: Director) -> None:
        board.put_back()
        machine.prepare(play.programs)
        with board.stand_ins():
            machine.run(director)
        if machine.is_over:
            with board.unwatched():
                board.finish()
                play.finish()

    return run


def run_scene(scene: Scene, *, ordered: bool = True, most: int = RUNS_AT_MOST) -> Result:
    """Run a scene in every order.

    :param ordered: whether to look for accesses that nothing orders, too.
    """
    began = time.monotonic()
    play = scene.make()
    board, run = play.board, runner(play)
    board.machine.delayed = board.words_of(UNORDERED)
    actors = len(board.machine.actors)

    def is_unordered(word: int) -> bool:
        return board.name(word).rpartition(".")[2] in UNORDERED

    races = DataRaces(actors, is_unordered, board.name)
    explorer = Explorer(board.machine, races.look if ordered else lambda trace: None)
    explored = explorer.explore(lambda: run(explorer), most)
    story: list[str] = []
    if explored.fault is not None:
        # What only the record shows is not found again by running.
        if not explored.fault.is_of_record:
            explored.fault = shortest(board.machine, run, explored.fault)
        story = tell(board, run, explored.fault)
    return Result(explored, time.monotonic() - began, tuple(story))


def run_variant(variant: Variant, *, most: int = RUNS_AT_MOST) -> Result:
    """Run the scene of a broken variant, until it shows."""
    with put_in(variant.edits):
        return run_scene(scene_named(variant.scene), ordered=variant.is_of_order, most=most)
