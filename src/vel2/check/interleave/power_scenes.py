"""Scenes in which CPUs go on and off."""

from __future__ import annotations

from vel2.arch.insn import TLBI
from vel2.arch.psci import (
    AFFINITY_INFO_64,
    AFFINITY_OFF,
    AFFINITY_ON,
    ALREADY_ON,
    CPU_OFF,
    CPU_ON_64,
    DENIED,
    ON_PENDING,
    SUCCESS,
)
from vel2.check.interleave.board import RAM_BASE, Board
from vel2.check.interleave.play import (
    FIRST,
    Play,
    Program,
    Scene,
    begin,
    full_board,
    ready,
    running,
)
from vel2.check.interleave.steps import Finding
from vel2.hyp import power
from vel2.hyp.pcpu import OFF, ON
from vel2.hyp.state import SHADOW_CONTEXTS

__all__ = ("POWER_SCENES",)


def with_firmware(board: Board, *on: int, denies: bool = False) -> dict[int, bool]:
    """Put firmware below L0 that turns pcpus on and off as PSCI has it.

    :param denies: it denies CPU_OFF, as DEN 0022 lets it.
    """
    state: dict[int, bool] = {}

    def reset() -> None:
        for number in range(board.pcpus):
            state[number] = not on or number in on

    def call(function: int, first: int, second: int, third: int) -> int:
        me = board.me()
        if function == AFFINITY_INFO_64:
            board.firmware_tells(first, f"the firmware is asked about pcpu {first}")
            return AFFINITY_ON if state[first] else AFFINITY_OFF
        if function == CPU_OFF and denies:
            board.firmware_does(me, f"the firmware does not turn pcpu {me} off")
            return DENIED
        if function == CPU_OFF:
            board.firmware_does(me, f"the firmware turns pcpu {me} off")
            state[me] = False
            board.ends()
        if function != CPU_ON_64:
            raise Finding(f"the firmware is asked for {function:#x}")
        board.firmware_does(first, f"the firmware is asked for pcpu {first}")
        if state[first]:
            return ALREADY_ON
        state[first] = True
        board.starts(first, third)
        return SUCCESS

    reset()
    board.firmware = call
    board.resets.append(reset)
    return state


def answers_of(board: Board) -> dict[int, int]:
    """Make a table of what PSCI answered, which each run begins anew."""
    answers: dict[int, int] = {}
    board.resets.append(answers.clear)
    return answers


def on_on(pcpus: int) -> Play:
    """Have two pcpus turn a third one on at once."""
    board = Board(pcpus)
    target = pcpus - 1
    board.turned_off(target)
    with_firmware(board, *range(target))
    answers = answers_of(board)

    def turn(number: int) -> Program:
        def run() -> None:
            entry = RAM_BASE + 0x1000 * (number + 1)
            answers[number] = power.turn_on(board.vcpu(number), target, entry, number)

        return run

    def finish() -> None:
        winners = [number for number, answer in answers.items() if answer == SUCCESS]
        if len(winners) != 1:
            raise Finding(f"{len(winners)} CPU_ON of one CPU succeed")
        if not set(answers.values()) <= {SUCCESS, ALREADY_ON, ON_PENDING}:
            raise Finding("CPU_ON fails for a CPU that is off")
        came_up(board, target, winners[0], online=pcpus)

    return ready(board, {number: turn(number) for number in range(target)}, finish)


def came_up(board: Board, target: int, winner: int, online: int) -> None:
    """Check that a pcpu has started just as one CPU_ON said."""
    vcpu = board.vcpu(target)
    if (vcpu.pc, vcpu.x[0]) != (RAM_BASE + 0x1000 * (winner + 1), winner):
        raise Finding("a CPU starts at the entry, or with the context, of a CPU_ON that failed")
    if vcpu.power.state != ON or board.vm.online != online:
        raise Finding(f"{board.vm.online} CPUs count as online; it is {online}")


def on_off() -> Play:
    """Turn a pcpu on while it turns itself off."""
    board = Board(2)
    state = with_firmware(board)
    answers = answers_of(board)

    def turn() -> None:
        answers[0] = power.turn_on(board.vcpu(0), 1, RAM_BASE + 0x1000, 0)

    def off() -> None:
        power.turn_off(board.vcpu(1))

    def finish() -> None:
        is_on = state[1]
        if board.vcpu(1).power.state != (ON if is_on else OFF):
            raise Finding("PSCI says of a CPU what the firmware does not")
        if answers[0] == SUCCESS:
            came_up(board, 1, 0, online=2)
        elif answers[0] not in (ALREADY_ON, ON_PENDING):
            raise Finding(f"CPU_ON gives {answers[0]:#x}")
        elif board.vm.online != 1 + is_on:
            raise Finding(f"{board.vm.online} CPUs count as online; it is {1 + is_on}")

    return ready(board, {0: turn, 1: off}, finish)


def off_off(pcpus: int) -> Play:
    """Turn all pcpus off at once: one has to stay."""
    board = Board(pcpus)
    state = with_firmware(board)
    answers = answers_of(board)

    def turn(number: int) -> Program:
        def run() -> None:
            answers[number] = power.turn_off(board.vcpu(number))

        return run

    def finish() -> None:
        left = [number for number in range(pcpus) if state[number]]
        if len(left) != 1 or board.vm.online != 1 or set(answers.values()) != {DENIED}:
            raise Finding(f"{len(left)} CPUs are left, and {board.vm.online} count as online")
        if [n for n in range(pcpus) if board.vcpu(n).power.state != OFF] != left:
            raise Finding("PSCI says of a CPU what the firmware does not")

    return ready(board, {number: turn(number) for number in range(pcpus)}, finish)


def alone() -> Play:
    """Stop trapping L1's own TLBIs while another CPU goes off, and is turned on again."""
    board = Board(2)
    with_firmware(board)
    for number in range(2):
        board.host_mode(number)
    board.watches_tlbis = True

    def host() -> None:
        for _ in range(2):
            board.tlbi(0, TLBI.VMALLE1IS, 0)
        for _ in range(2):
            if power.turn_on(board.vcpu(0), 1, RAM_BASE + 0x1000, 0) == SUCCESS:
                break

    def other() -> None:
        board.sees_tlbis()
        power.turn_off(board.vcpu(1))

    return ready(board, {0: host, 1: other})


def off_denied() -> Play:
    """Stop trapping L1's own TLBIs while another CPU is told that it may not go off."""
    board = Board(2)
    with_firmware(board, denies=True)
    for number in range(2):
        board.host_mode(number)

    def host() -> None:
        for _ in range(2):
            board.tlbi(0, TLBI.VMALLE1IS, 0)

    def other() -> None:
        board.sees_tlbis()
        if power.turn_off(board.vcpu(1)) != DENIED:
            raise Finding("CPU_OFF comes back with another answer than DENIED")
        board.sees_tlbis()

    return ready(board, {0: host, 1: other})


def off_held() -> Play:
    """Turn a pcpu off while another one looks for a context."""
    board = full_board(2)
    begin(board, 1, 0)
    with_firmware(board)

    def off() -> None:
        board.leave(1)
        power.turn_off(board.vcpu(1))

    return ready(board, {0: running(board, 0, SHADOW_CONTEXTS, FIRST), 1: off})


POWER_SCENES = (
    Scene("off-held", "a CPU goes off as contexts run out", off_held),
    Scene("on-on", "two CPUs turn a third one on", lambda: on_on(3)),
    Scene("on-off", "a CPU is turned on as it goes off", on_off),
    Scene("off-off", "both CPUs go off", lambda: off_off(2)),
    Scene("off-denied", "the firmware denies CPU_OFF as the other CPU counts TLBIs", off_denied),
    Scene("off-off-3", "all three CPUs go off", lambda: off_off(3)),
    Scene("alone", "the last CPU stops trapping its TLBIs as one goes off and on", alone),
)
