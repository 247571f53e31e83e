"""Functions of the user's that vel2 calls at a point of a run, and what is said when one fails."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vel2.errors import UserError

__all__ = ("Function", "HookError")

HERE = str(Path(__file__).parents[1])


class Function:
    """Something that has a function of the user's."""

    function: Callable[[Any], Any]

    @property
    def place(self) -> str:
        """Where it is written: file and line."""
        code = getattr(self.function, "__code__", None)
        return "built in" if code is None else f"{code.co_filename}:{code.co_firstlineno}"

    @property
    def name(self) -> str:
        """What it is called."""
        return str(getattr(self.function, "__name__", repr(self.function)))


class HookError(UserError):
    """A hook raised, or answered what cannot be; the machine is paused, its vCPU where it was.

    :ivar hook: which. :ivar asked: what it was asked about: a trap, or a point that was met.
    """

    def __init__(self, hook: Function, asked: object, why: BaseException) -> None:
        self.hook = hook
        self.asked = asked
        said = str(why).rstrip(".")
        named = said if isinstance(why, UserError) else f"{type(why).__name__}: {said}".rstrip(": ")
        super().__init__(
            f"hook {hook.name} ({hook.place}) failed at {_place_of(why) or hook.place} for"
            f" {asked}: {named}; the machine is paused, and resume() goes on as if there were no"
            " hook."
        )


def _place_of(error: BaseException) -> str:
    """Name the last line outside of vel2 that an exception came through."""
    frames = traceback.extract_tb(error.__traceback__)
    users = [each for each in frames if not each.filename.startswith(HERE)]
    return f"{users[-1].filename}:{users[-1].lineno}" if users else ""
