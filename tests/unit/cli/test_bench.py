"""`vel2 bench` without a command is `vel2 bench micro`, and each command has its own options."""

from __future__ import annotations

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from vel2.cli.bench.group import bench
from vel2.cli.main import vel2

OPTIONS = {
    "micro": {"only", "peers", "clock", "smp", "level", "depth", "probes"},
    "macro": {"l2", "huge_pages", "smp", "peers", "clock"},
    "growth": {"peers", "clock", "depth"},
    "hooks": {"load"},
    "profile": {"only", "peers"},
    "explain": {"operation", "markdown_file"},
    "report": {"files"},
}
"""What each command has that not all measurements have."""
CLOCK = {"rounds", "deterministic", "host_time"}
ALONE = {"report": {"html_file"}, "hooks": {"count", "json_file"}}
"""What those have that measure nothing, or no operation of L2's."""
COMMON = {"l1", "el2", "nv", "configs", "no_ahead", "count", "timeout", "html_file", "json_file"}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_command_has_the_options_that_mean_something_with_it(name: str) -> None:
    own = OPTIONS[name] | (CLOCK if "clock" in OPTIONS[name] else set())
    common = ALONE.get(name, COMMON)
    found = {parameter.name for parameter in bench.commands[name].params}
    assert found == common | own - {"clock"}


def test_the_order_of_the_commands() -> None:
    assert bench.list_commands(click.Context(bench)) == list(OPTIONS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "micro"),
        ("--rounds 0", "Usage: vel2 bench micro"),
        ("micro --rounds 0", "Usage: vel2 bench micro"),
        ("macro --rounds 0", "Usage: vel2 bench macro"),
        ("--help", "Usage: vel2 bench [OPTIONS] COMMAND"),
        ("-h", "Usage: vel2 bench [OPTIONS] COMMAND"),
        ("macr", "No such command 'macr'"),
        ("macro --only null", "No such option '--only'"),
        ("--l2 6.1", "No such option '--l2'"),
        ("report result.json", "Missing option '--html'"),
    ],
)
def test_which_command_is_meant(arguments: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def invoke(context: click.Context) -> None:
        click.echo(context.info_name)

    monkeypatch.setattr(bench.commands["micro"], "invoke", invoke)
    result = CliRunner().invoke(vel2, ["bench", *arguments.split()], prog_name="vel2")
    assert said in result.output


@pytest.mark.parametrize(
    ("arguments", "incomplete", "some"),
    [
        ([], "", {"micro", "macro", "report"}),
        ([], "ma", {"macro"}),
        ([], "--", {"--help", "--deterministic", "--only"}),
        (["--deterministic"], "--", {"--only"}),
        (["growth"], "--", {"--rounds"}),
    ],
)
def test_what_a_shell_completes(arguments: list[str], incomplete: str, some: set[str]) -> None:
    complete = ShellComplete(vel2, {}, "vel2", "_VEL2_COMPLETE")
    found = [item.value for item in complete.get_completions(["bench", *arguments], incomplete)]
    assert some <= set(found)
    assert len(set(found)) == len(found)
    assert ("--l2" in found) is False
