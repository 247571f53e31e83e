"""The user's terminal, as rich sees it."""

import sys
from typing import NoReturn

from rich.console import Console

__all__ = ("Terminal",)


class Terminal(Console):
    """A rich console that prints text as it stands and leaves a broken pipe to our `main`."""

    def __init__(self, to_stderr: bool = False) -> None:
        # Cells hold paths and names from elsewhere: no markup, no guesses about what they mean.
        stream = sys.stderr if to_stderr else sys.stdout
        super().__init__(file=stream, highlight=False, markup=False)

    def on_broken_pipe(self) -> NoReturn:
        """Raise what rich caught; it would leave with exit code 1."""
        raise BrokenPipeError
