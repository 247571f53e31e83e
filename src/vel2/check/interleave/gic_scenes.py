"""Scenes of the GIC that L0 mediates: one ITS, its queue, and LPIs, which all pcpus share."""

from __future__ import annotations

from vel2.arch import gicv3 as g
from vel2.check.gic_model import GICR
from vel2.check.interleave.gic_board import INTID, PROPERTIES, QUEUE, GicBoard
from vel2.check.interleave.play import Play, Scene, ready
from vel2.check.interleave.steps import Finding

__all__ = ("GIC_SCENES",)

DEVICE_ID, EVENT, ICID = 3, 1, 2
ENABLED, DISABLED = 0xA1, 0xA0
"""Properties of an LPI."""
MAPD = (
    g.Command.MAPD | DEVICE_ID << 32,
    3,
    g.MAPD_DW2.V.mask,
    0,
)
MAPTI = (g.Command.MAPTI | DEVICE_ID << 32, EVENT | INTID << 32, ICID, 0)
WRONG_MAPTI = EVENT + 200 | INTID << 32
"""Its second word, of an event that the device does not have."""
INV = (g.Command.INV | DEVICE_ID << 32, EVENT, 0, 0)


def mapc(board: GicBoard, number: int) -> tuple[int, ...]:
    """Give L1's MAPC of its collection to a redistributor."""
    processor = board.hardware.processors[number]
    return (g.Command.MAPC, 0, 1 << 63 | processor << 16 | ICID, 0)


def two_ring() -> Play:
    """Have one CPU give commands, and another one ask how far they are."""
    board = GicBoard(2)
    for index, command in enumerate((MAPD, mapc(board, 0), MAPTI)):
        board.put_command(index, *command)

    def finish() -> None:
        done = board.gic.creadr // 32
        if done != 3 or board.hardware.commands != 3 or board.gic.refused:
            raise Finding(
                f"wrong: {done} of 3 commands are done, and hardware did {board.hardware.commands}"
            )
        if board.hardware.devices[DEVICE_ID].events != {EVENT: (INTID, ICID)}:
            raise Finding("wrong: the event is not mapped as L1 said")

    def ask() -> None:
        board.polls(1)
        board.polls(1)

    return ready(board, {0: lambda: board.rings(0, 3), 1: ask}, finish)


def slow_hardware() -> Play:
    """Have the ITS take its time, as an observer of its own, while a CPU asks how far it is."""
    board = GicBoard(3)
    board.put_command(0, *mapc(board, 0))
    board.hardware.is_slow = True

    def work() -> None:
        board.comes("the ITS works on its queue")
        board.hardware.work()

    def ask() -> None:
        said = board.polls(1)
        if said > board.hardware.commands:
            raise Finding(f"wrong: {said} commands are said to be done, before hardware did them")

    return ready(board, {0: lambda: board.rings(0, 1), 1: ask, 2: work})


def changed_command() -> Play:
    """Have another CPU change a command that L0 has begun to look at."""
    board = GicBoard(2)
    for index, command in enumerate((MAPD, mapc(board, 0), MAPTI)):
        board.put_command(index, *command)
    word = QUEUE + 32 * 2 + 8 - board.machine.memory_base >> 3

    def change() -> None:
        board.machine.ghost(None, (word,), "L1 changes its MAPTI")
        board.machine.put(word, WRONG_MAPTI)

    def finish() -> None:
        events = board.hardware.devices[DEVICE_ID].events
        if events not in ({EVENT: (INTID, ICID)}, {}):
            raise Finding(f"wrong: hardware has {events}, which L1 may not map")

    return ready(board, {0: lambda: board.rings(0, 3), 1: change}, finish)


def changed_property() -> Play:
    """Enable LPIs on one CPU while another one changes one's properties, and says so (INV)."""
    board = GicBoard(2)
    for index, command in enumerate((MAPD, mapc(board, 0), MAPTI)):
        board.put_command(index, *command)
    frame = GICR
    byte = INTID - g.FIRST_LPI
    board.machine.store(8, PROPERTIES + byte & -8, DISABLED << 8 * (byte & 7))
    with board.on(0):
        board.rings(0, 3)
        bits = g.GICR_PROPBASER.IDbits.put(13)
        board.store_to(0, frame + g.GICR_PROPBASER.offset, PROPERTIES | bits)
    board.put_command(3, *INV)

    def enable() -> None:
        board.store_to(0, frame + g.GICR_CTLR.offset, g.GICR_CTLR.EnableLPIs.mask, size=4)

    def change() -> None:
        board.l1_byte(ENABLED, "L1 enables the LPI")
        board.rings(1, 4)
        board.polls(1)

    def finish() -> None:
        if board.property_of() != ENABLED:
            raise Finding(f"stale: the LPI's properties are {board.property_of():#x}")

    return ready(board, {0: enable, 1: change}, finish)


GIC_SCENES = (
    Scene("its-queue", "a CPU gives the ITS commands as another one asks for them", two_ring),
    Scene("its-slow", "a CPU asks an ITS whose hardware is slow", slow_hardware),
    Scene("its-command", "L1 changes a command that L0 has begun to look at", changed_command),
    Scene("lpi-enable", "LPIs are enabled as one's properties change (INV)", changed_property),
)
