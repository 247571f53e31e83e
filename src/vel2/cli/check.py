"""`vel2 check`: what shows that vel2 does what it promises."""

import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vel2.arch.nesting import Kind, Level
from vel2.check.limits import BURSTS_OF_A_PROGRAM
from vel2.cli.exits import ExitCode
from vel2.cli.interleave import interleave
from vel2.cli.options import json_option
from vel2.cli.provenance import run_of
from vel2.cli.report import plain_table, require_writable, write_json
from vel2.cli.streams import say
from vel2.cli.stress import stress
from vel2.cli.terminal import Terminal

if TYPE_CHECKING:  # it brings in the compiler, and most commands do not need it
    from vel2.check.hostile import Campaign, Ended, Totals

__all__ = ("check",)

SEED_BITS = 32
PROGRESS_S = 10.0
KINDS = [kind.value for kind in Kind]
LEVELS = [level.value for level in Level]


@click.group()
def check() -> None:
    """Attack vel2, and see whether it holds."""


check.add_command(interleave)


@check.command()
@click.option("--seed", type=click.IntRange(min=0), help="The first seed (default: a random one).")
@click.option("--events", type=click.IntRange(min=1), help="Stop after so many instructions.")
@click.option("--seconds", type=click.FloatRange(min=0), help="Stop after this time.")
@click.option("--programs", type=click.IntRange(min=1), help="Stop after so many seeds.")
@click.option("--el2", multiple=True, type=click.Choice(KINDS), help="Only this virtual EL2.")
@click.option("--nv", multiple=True, type=click.Choice(LEVELS), help="Only with this hardware.")
@click.option(
    "--recursion/--no-recursion", default=None, help="Only with FEAT_NV* for L1, or only without."
)
@click.option(
    "--bursts",
    type=click.IntRange(1, BURSTS_OF_A_PROGRAM),
    default=BURSTS_OF_A_PROGRAM,
    show_default=True,
    help="How much of each program to run.",
)
@click.option("--burst", type=click.IntRange(0, BURSTS_OF_A_PROGRAM - 1), help="Only this burst.")
@click.option("--jobs", type=click.IntRange(min=1), help="Machines at once (default: one per CPU).")
@click.option("--deterministic", is_flag=True, help="Count time in instructions.")
@click.option("--minimise", "small", is_flag=True, help="Make each failing program small.")
@json_option
@click.pass_context
def hostile(
    context: click.Context,
    seed: int | None,
    events: int | None,
    seconds: float | None,
    programs: int | None,
    el2: tuple[str, ...],
    nv: tuple[str, ...],
    recursion: bool | None,
    bursts: int,
    burst: int | None,
    jobs: int | None,
    deterministic: bool,
    small: bool,
    json_file: Path | None,
) -> None:
    """Run programs that try to stop vel2, hang it, or reach its memory.

    Each seed is a program of 640 bursts of hostile instructions at virtual EL2, at EL1 and EL0 of a
    guest of its own, and at EL0 of a VHE host. An event is one of them executed. Without a limit
    each of 8 seeds runs once in each combination. A failure is one line on standard output with
    the command that makes it again; the exit code is then 5.

    \b
    Examples:
      vel2 check hostile
      vel2 check hostile --events 4000000
      vel2 check hostile --seed 17 --el2 vhe --nv nv --programs 1 --bursts 204
    """  # noqa: D301
    from vel2.check.hostile import Campaign, Where, result_tree

    require_writable(json_file, "the JSON result")
    if events is None and seconds is None and programs is None:
        programs = 8
    extra: dict[str, Any] = {} if jobs is None else {"jobs": jobs}
    campaign = Campaign(
        seed=secrets.randbits(SEED_BITS) if seed is None else seed,
        combinations=[
            Where(kind, level, with_nv)
            for kind in map(Kind, el2 or KINDS)
            for level in map(Level, nv or LEVELS)
            for with_nv in ((False, True) if recursion is None else (recursion,))
        ],
        events=events,
        seconds=seconds,
        programs=programs,
        bursts=bursts,
        only=burst,
        deterministic=deterministic,
        **extra,
    )
    run = run_of(deterministic)
    terminal = Terminal(str(json_file) == "-")
    terminal.print(f"seed {campaign.seed}")
    totals, failures = attend(terminal, campaign, small)
    print_totals(terminal, totals)
    write_json({"run": run} | result_tree(campaign, totals, failures), json_file)
    context.exit(ExitCode.L0_FATAL if failures else ExitCode.OK)


def attend(
    terminal: Terminal, campaign: "Campaign", small: bool
) -> "tuple[dict[str, Totals], list[Ended]]":
    """Run the campaign, tell each failure, and now and then how far it is."""
    from vel2.check.hostile import Totals, run_campaign

    totals = {str(where): Totals() for where in campaign.combinations}
    failures = []
    told = time.monotonic()
    for ended in run_campaign(campaign):
        totals[str(ended.where)].add(ended)
        if ended.end.is_failure:
            failures.append(ended)
            terminal.print(f"not ok {ended}; {ended.replay}")
            if small:
                print_minimal(terminal, campaign, ended)
        if time.monotonic() - told > PROGRESS_S:
            told = time.monotonic()
            events = sum(each.events for each in totals.values())
            say(f"{events:,} events, {len(failures)} failures")
    return totals, failures


def print_minimal(terminal: Terminal, campaign: "Campaign", ended: "Ended") -> None:
    """Print the least of a program that still fails."""
    from vel2.check.hostile import Rig, describe, make_program, minimise

    rig = Rig(ended.where, campaign.deterministic)
    where = ended.where
    program = make_program(ended.seed, where.el2, rig.places, recursion=where.recursion)
    found = minimise(rig, program, ended)
    if found is None:
        terminal.print("  it does not come again")
        return
    for line in describe(*found):
        terminal.print(f"  {line}")


def print_totals(terminal: Terminal, totals: "dict[str, Totals]") -> None:
    """Print a row for each combination."""
    table = plain_table(
        "combination", "programs", "events", "exceptions", "traps to EL2", "failures", "other ends"
    )
    for name, each in totals.items():
        ends = (f"{end.value}: {n}" for end, n in each.ends.items() if not end.is_failure)
        numbers = (each.programs, each.events, each.exceptions, each.traps, each.failures)
        table.add_row(name, *(f"{number:,}" for number in numbers), ", ".join(ends))
    everything = sum(each.events for each in totals.values())
    terminal.print(table)
    terminal.print(f"{everything:,} events")


check.add_command(stress)
