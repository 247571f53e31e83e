"""Which vel2 this is: a release, or what stands in a checkout between two of them."""

import subprocess
from pathlib import Path

import click

import vel2

__all__ = ("describe", "print_version")


def describe(package: Path | None = None) -> str:
    """Give the version; of a checkout with its commit, and `.changed` when files differ from it.

    :param package: the folder of the package; vel2's own when None.
    """
    root = (package or Path(vel2.__file__).parent).parents[1]
    if not (root / ".git").exists():
        return vel2.__version__
    ask = ["git", "-C", str(root), "describe", "--always", "--dirty=.changed", "--exclude=*"]
    try:
        done = subprocess.run(ask, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except OSError:  # no git on this machine
        return vel2.__version__
    commit = done.stdout.strip()
    return f"{vel2.__version__}+g{commit}" if done.returncode == 0 else vel2.__version__


def print_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Answer `--version`."""
    if value and not context.resilient_parsing:
        click.echo(f"vel2, version {describe()}")
        context.exit()
