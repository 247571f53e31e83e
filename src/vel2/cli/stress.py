"""`vel2 check stress`: guests that come and go while L1 moves their memory."""

from pathlib import Path

import click

from vel2.arch.nesting import Kind, Level
from vel2.cli.exits import ExitCode
from vel2.cli.kernels import fetch_missing, find_kernel
from vel2.cli.options import json_option
from vel2.cli.provenance import run_of
from vel2.cli.report import require_writable, write_json
from vel2.cli.streams import say
from vel2.cli.terminal import Terminal
from vel2.hyp.layout import MAX_PCPUS
from vel2.machine.loader import load_kernel

__all__ = ("stress",)

MINUTE_S = 60


@click.command()
@click.option("--l1", default="6.12", show_default=True, help="L1's kernel: a name or a file.")
@click.option(
    "--seconds",
    type=click.IntRange(min=1),
    default=MINUTE_S,
    show_default=True,
    help="How long new guests are started, by L1's clock.",
)
@click.option("--guests", type=click.IntRange(1, 16), default=8, show_default=True)
@click.option(
    "--smp", type=click.IntRange(1, MAX_PCPUS), default=2, show_default=True, help="L1's CPUs."
)
@click.option("--el2", type=click.Choice([kind.value for kind in Kind]), default="vhe")
@click.option("--nv", type=click.Choice([level.value for level in Level]), default="nv2")
@click.option("--deterministic", is_flag=True, help="Count time in instructions.")
@json_option
@click.pass_context
def stress(
    context: click.Context,
    l1: str,
    seconds: int,
    guests: int,
    smp: int,
    el2: str,
    nv: str,
    deterministic: bool,
    json_file: Path | None,
) -> None:
    """Start, run and stop guests with two vCPUs while L1 moves their memory.

    The guests write patterns, and check each other's vCPU's. L1 compacts, merges and splits pages,
    forks, takes pages back and exchanges memory slots. A pattern that is wrong means that L0 kept a
    translation; and when all is over, L0's pool and contexts must be what they were. The exit code
    is 5 if anything is wrong.

    \b
    Examples:
      vel2 check stress
      vel2 check stress --seconds 600 --el2 nvhe
      vel2 check stress --smp 4 --deterministic
    """  # noqa: D301
    from vel2.check.stress import Stress, run_stress  # it brings in the compiler

    require_writable(json_file, "the JSON result")
    fetch_missing(["busybox", l1])
    run = run_of(deterministic)
    asked = Stress(
        load_kernel(find_kernel(l1)),
        seconds,
        el2=Kind(el2),
        nv=Level(nv),
        smp=smp,
        guests=guests,
        deterministic=deterministic,
    )
    found = run_stress(asked)
    terminal = Terminal(str(json_file) == "-")
    terminal.print(f"{found.lives:,} guests ran to their end, {found.killed:,} were stopped before")
    for name, count in found.moved.items():
        terminal.print(f"{name}: {count:,}")
    unit = "instructions" if deterministic else "ns"
    terminal.print(f"L0's stage-2 lock was held for at most {found.longest_hold:,} {unit}")
    for failure in found.failures:
        say(failure)
    tree = {
        "run": run,
        "lives": found.lives,
        "killed": found.killed,
        "moved": dict(found.moved),
        "longest_hold": found.longest_hold,
        "failures": found.failures,
    }
    write_json(tree, json_file)
    context.exit(ExitCode.L0_FATAL if found.failures else ExitCode.OK)
