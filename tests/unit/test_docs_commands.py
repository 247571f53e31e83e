"""No page shows a command that does not exist: options, choices, make targets, tools."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from tests.doc_commands import PAGES, ROOT, Block, all_blocks, commands_in
from vel2.cli.bench.group import Defaulting
from vel2.cli.main import vel2

BLOCKS = [block for block in all_blocks() if block.commands]
LINES = [pytest.param(line, id=f"{b.id} {line}") for b in BLOCKS for line in b.commands]
MARKS = ("run", "run: slow")
CHECKED_TYPES = (click.Choice, click.IntRange, click.FloatRange)
TARGETS = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)


def resolve(words: list[str]) -> tuple[click.Command, list[str]]:
    """Find the command that the first words name; the rest are its arguments."""
    command: click.Command = vel2
    rest = words[1:]
    while isinstance(command, click.Group):
        if isinstance(command, Defaulting):
            rest = command.with_default(click.Context(command), rest)
        below = command.get_command(click.Context(command), rest[0]) if rest else None
        if below is None:
            break
        command, rest = below, rest[1:]
    return command, rest


def parse(words: list[str]) -> None:
    """Parse a command line of vel2 as click does, without looking at the files it names."""
    command, rest = resolve(words)
    with click.Context(command, info_name=command.name) as context:
        if isinstance(command, click.Group):
            assert rest and rest[0] in ("-h", "--help", "--version"), f"no command: {rest}"
            return
        values, left, _ = command.make_parser(context).parse_args(list(rest))
        assert not left, f"one argument too many: {left}"
        for parameter in command.params:
            value = values.get(parameter.name or "")
            if isinstance(parameter.type, CHECKED_TYPES) and isinstance(value, str):
                parameter.type.convert(value, parameter, context)


@pytest.mark.parametrize("line", LINES)
def test_a_command_in_a_block_exists(line: str) -> None:
    words = shlex.split(line)
    if words[0] == "make":
        assert words[1] in TARGETS
    elif words[0].endswith("python"):
        text = (ROOT / words[1]).read_text()
        assert all(word in text for word in words if word.startswith("--"))
    else:
        parse(words)


def help_lines(command: click.Command, path: str) -> list[str]:
    """Give the examples in the help of a command and of those below it."""
    lines = list(commands_in((command.help or "").replace("\b", "")))
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            lines += help_lines(below, f"{path} {name}")
    return lines


@pytest.mark.parametrize("line", help_lines(vel2, "vel2"))
def test_an_example_of_the_help_exists(line: str) -> None:
    parse(shlex.split(line))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_named_in_the_text_exist(page: object) -> None:
    """Look at `vel2 ...`, `make ...` and `tools/...` within sentences."""
    assert hasattr(page, "read_text")
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    for code in re.findall(r"`([^`]+)`", text):
        words = code.split()
        options = [
            word.partition("=")[0] for word in words if word.startswith("--") and word != "--"
        ]
        if words[0] == "vel2":
            command, rest = resolve(words)
            known = {name for param in command.params for name in param.opts} | {"--help"}
            assert set(options) <= known | {"--version"}, code
            is_named = not isinstance(command, click.Group) or not rest or not rest[0].isalpha()
            assert is_named or rest[0].isupper(), f"{code}: no such command"
        elif words[0] == "make" and len(words) > 1:
            assert words[1] in TARGETS, code
        elif words[0].startswith("tools/"):
            text_of_tool = (ROOT / words[0]).read_text()
            assert all(option in text_of_tool for option in options), code


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.id)
def test_a_block_with_commands_says_how_it_is_tried(block: Block) -> None:
    key, _, detail = block.mark.partition(": ")
    assert block.mark in MARKS or (key in ("run by", "not run") and detail), block.body
    if key == "run by":
        assert (ROOT / detail).exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("vel2 run --colour", "No such option"),
        ("vel2 demo --el2 never", "is not one of"),
        ("vel2 bench --rounds 0", "is not in the range"),
        ("vel2 bench macro --only null", "No such option"),
        ("vel2 fly", "no command"),
        ("vel2 doctor now", "one argument too many"),
    ],
)
def test_a_command_that_does_not_exist_is_noticed(line: str, said: str) -> None:
    with pytest.raises((click.UsageError, AssertionError), match=said):
        parse(shlex.split(line))
