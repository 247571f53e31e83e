"""Programs that tests start: as a shell starts them in the foreground, and never longer there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FOREGROUND = ("env", "--default-signal=INT,HUP,QUIT,PIPE,TERM")
"""Under `nohup`, and in a script's background, they are ignored, which a child would inherit."""


@contextmanager
def started(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Start a program; it is killed when the block ends early, by a time limit for example.

    :param options: those of `subprocess.Popen`.
    """
    with subprocess.Popen([*FOREGROUND, *command], **options) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise
