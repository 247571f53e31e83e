"""`vel2 run --until`: the machine is stopped when its console says something."""

from __future__ import annotations

import re
import threading

from tests.limits import LIMIT_S
from vel2.cli.run import stop_at
from vel2.machine.console import Console


class Running:
    """A session that runs until somebody stops it."""

    def __init__(self) -> None:
        self.console = Console()
        self.stopped = threading.Event()

    def stop(self) -> None:
        self.stopped.set()


def waiters() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "vel2-until"]


def test_a_prompt_without_a_line_end_is_enough() -> None:
    session = Running()
    stop_at(session, re.compile(r"^~ # $", re.MULTILINE))  # type: ignore[arg-type]
    session.console.feed(b"booting\r\n~ ")
    assert not session.stopped.is_set()
    session.console.feed(b"# ")
    assert session.stopped.wait(LIMIT_S)


def test_a_machine_that_ends_without_it_is_not_stopped() -> None:
    session = Running()
    stop_at(session, re.compile("never"))  # type: ignore[arg-type]
    session.console.feed(b"booting\n")
    session.console.close()
    for thread in waiters():
        thread.join(LIMIT_S)
    assert not session.stopped.is_set() and not waiters()
