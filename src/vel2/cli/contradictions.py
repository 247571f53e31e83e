"""Options that do not go together: what would be left out in silence is refused instead."""

from collections.abc import Iterable

import click
from click.core import ParameterSource

from vel2.errors import UserError

__all__ = ("refuse_contradictions",)


def given(context: click.Context) -> dict[str, str]:
    """Map the parameters that the command line names to how it names them."""
    return {
        param.name: max(param.opts, key=len)
        for param in context.command.params
        if param.name is not None
        and context.get_parameter_source(param.name) is ParameterSource.COMMANDLINE
    }


def refuse_contradictions(context: click.Context, pairs: Iterable[tuple[str, str]]) -> None:
    """Refuse pairs of parameters of which one would make the other mean nothing.

    :raises UserError: naming both.
    """
    names = given(context)
    for one, other in pairs:
        if one in names and other in names:
            raise UserError(
                f"{names[one]} and {names[other]} contradict each other; leave one of them out."
            )
