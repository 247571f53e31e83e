"""`--no-ahead` reaches the machine, from each command that has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest
from click.testing import CliRunner

from vel2.check.payloads import build_payload
from vel2.cli import demo, run
from vel2.cli.bench.group import bench
from vel2.errors import UserError


class Stop(UserError):
    """Ends a command when what is looked for has been seen."""


@pytest.mark.parametrize("option", [(), ("--no-ahead",)], ids=["plain", "no-ahead"])
def test_run(option: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Show it for `run`."""
    seen: list[bool] = []

    def launch(request: Any) -> NoReturn:
        seen.append(request.ahead)
        raise Stop("seen")

    monkeypatch.setattr(run, "launch", launch)
    kernel = tmp_path / "Image"
    kernel.write_bytes(build_payload("features"))
    CliRunner().invoke(run.run, ["--kernel", str(kernel), *option])
    assert seen == [not option]


@pytest.mark.parametrize("option", [(), ("--no-ahead",)], ids=["plain", "no-ahead"])
@pytest.mark.parametrize(
    "command", ["micro", "macro", "growth", "profile", "explain null"], ids=lambda c: c.split()[0]
)
def test_bench(command: str, option: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Show it for `bench`: every configuration is measured so."""
    seen: list[bool] = []

    def compile_all(configurations: Any) -> NoReturn:
        seen.extend(row.ahead for row in configurations)
        raise Stop("seen")

    monkeypatch.setattr("vel2.bench.system.compile_all", compile_all)
    arguments = [*command.split(), "--configs", "vhe-nv2,nvhe-nv2", *option]
    result = CliRunner().invoke(bench, arguments)
    assert isinstance(result.exception, Stop), result.output
    assert seen == [not option, not option]


def test_demo_has_it() -> None:
    """Show that `demo` takes it, as all who share the options of one machine."""
    assert "no_ahead" in {parameter.name for parameter in demo.demo.params}


def test_it_is_refused_without_vel2(tmp_path: Path) -> None:
    """Show that at real EL2 there is nothing to turn off."""
    kernel = tmp_path / "Image"
    kernel.write_bytes(b"")
    result = CliRunner().invoke(run.run, ["--kernel", str(kernel), "--native", "--no-ahead"])
    assert str(result.exception) == (
        "--no-ahead is about virtual EL2, and with --native there is none; leave one of them out."
    )
