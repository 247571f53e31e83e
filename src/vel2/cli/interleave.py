"""`vel2 check interleave`: L0 on several pcpus, in every order of their accesses."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vel2.cli.exits import ExitCode
from vel2.cli.options import json_option
from vel2.cli.provenance import run_of
from vel2.cli.report import plain_table, require_writable, write_json
from vel2.cli.streams import say
from vel2.cli.terminal import Terminal
from vel2.errors import UserError

if TYPE_CHECKING:  # it brings in all of `hyp`, and most commands do not need it
    from vel2.check.interleave import Judged, Scene

__all__ = ("interleave",)


@click.command()
@click.option("--scene", "names", multiple=True, help="Only this scene (may be given again).")
@click.option("--short", is_flag=True, help="Leave out the scenes that take longest.")
@click.option("--jobs", type=click.IntRange(min=1), help="Scenes at once (default: one per CPU).")
@json_option
@click.pass_context
def interleave(
    context: click.Context,
    names: tuple[str, ...],
    short: bool,
    jobs: int | None,
    json_file: Path | None,
) -> None:
    """Run vel2 on two and three CPUs at once, in every order.

    Each scene is a few things that CPUs of L1 do at the same time: a guest faults, L1 unmaps, a CPU
    is turned on. L0's own functions run on a simulated machine, once for every order of their
    accesses to shared memory, and the rules of docs/stage2.md have to hold in each. Each rule is
    also taken out of L0, and that has to be found. A fault is told step by step; the exit code is
    then 5.

    \b
    Examples:
      vel2 check interleave
      vel2 check interleave --short
      vel2 check interleave --scene fill-tlbi --scene evict
    """  # noqa: D301
    try:
        from vel2.check.interleave import SCENES, judge, result_tree
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed, which this needs: install vel2 with its extra 'check'."
        ) from error

    require_writable(json_file, "the JSON result")
    scenes = [scene for scene in chosen(names, SCENES) if scene.short or not short]
    terminal = Terminal(str(json_file) == "-")
    judged = []
    for each in judge(scenes, jobs):
        judged.append(each)
        say(f"{len(judged)}: {each.variant or each.scene}: {'ok' if each.is_well else 'not ok'}")
        if not each.is_well:
            print_failure(terminal, each)
    print_scenes(terminal, judged)
    print_rules(terminal, judged)
    write_json({"run": run_of(True)} | result_tree(judged), json_file)
    failed = not all(each.is_well for each in judged)
    context.exit(ExitCode.L0_FATAL if failed else ExitCode.OK)


def chosen(names: tuple[str, ...], scenes: "tuple[Scene, ...]") -> "list[Scene]":
    """Give the scenes that were asked for."""
    known = {scene.name: scene for scene in scenes}
    for name in names:
        if name not in known:
            raise UserError(f"There is no scene {name!r}: there are {', '.join(known)}.")
    return [known[name] for name in names] or list(scenes)


def print_failure(terminal: Terminal, judged: "Judged") -> None:
    """Print what went wrong, and how."""
    if judged.variant:
        found = judged.sentence or "nothing"
        terminal.print(f"not ok variant {judged.variant} in scene {judged.scene}: found {found}")
        return
    terminal.print(f"not ok scene {judged.scene}: {judged.sentence}")
    for line in judged.result.story:
        terminal.print(f"  {line}")


def print_scenes(terminal: Terminal, judged: "list[Judged]") -> None:
    """Print a row for each scene."""
    from vel2.check.interleave import SCENES

    results = {each.scene: each for each in judged if not each.variant}
    table = plain_table("scene", "interleavings", "steps", "shared words", "seconds", "holds")
    for scene in SCENES:
        if scene.name in results:
            each = results[scene.name]
            explored = each.result.explored
            numbers = (explored.interleavings, explored.steps, explored.shared)
            table.add_row(
                scene.name,
                *(f"{number:,}" for number in numbers),
                f"{each.result.seconds:.1f}",
                "yes" if each.is_well else "no",
            )
    total = sum(each.result.explored.interleavings for each in results.values())
    terminal.print(table)
    terminal.print(f"{total:,} interleavings")


def print_rules(terminal: Terminal, judged: "list[Judged]") -> None:
    """Print a row for each broken variant."""
    from vel2.check.interleave import RULES

    results = {each.variant: each for each in judged if each.variant}
    table = plain_table("rule", "variant", "caught by", "as")
    for rule in RULES:
        for variant in rule.variants:
            if variant.name in results:
                each = results[variant.name]
                scene = variant.scene if each.is_well else "nothing"
                table.add_row(rule.name, variant.name, scene, variant.finds)
    caught = sum(each.is_well for each in results.values())
    terminal.print(table)
    terminal.print(f"{caught} of {len(results)} broken variants caught")
