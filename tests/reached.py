"""A pytest plugin that notes which resident functions each test calls, and how long it takes.

`tools/mutate --bodies` loads it, with `VEL2_RIG=python`: compiled code cannot be followed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Generator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

ROOM = str(Path("vel2", "hyp"))
Place = tuple[str, int]
REACHED: dict[str, set[Place]] = {}
SECONDS: dict[str, float] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reached", help="write what each test reaches to this file")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Follow the calls of one test. Cases of a parametrized test count as one."""
    test = item.nodeid.partition("[")[0]
    reached = REACHED.setdefault(test, set())

    def follow(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if event == "call" and ROOM in code.co_filename:
            reached.add((Path(code.co_filename).name, code.co_firstlineno))

    began = time.monotonic()
    sys.setprofile(follow)
    try:
        return (yield)
    finally:
        sys.setprofile(None)
        SECONDS[test] = SECONDS.get(test, 0) + time.monotonic() - began


def pytest_sessionfinish(session: pytest.Session) -> None:
    report = session.config.getoption("reached")
    if report:
        found = {test: sorted(places) for test, places in REACHED.items()}
        Path(report).write_text(json.dumps({"seconds": SECONDS, "reached": found}))
