"""The monitor's face for other threads, without a QEMU."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping
from typing import cast

import pytest
from qemu.qmp import QMPClient

from vel2.machine.qmp import Monitor, MonitorError


class Client:
    """A client whose commands are never begun: the loop does not run."""

    async def execute(self, command: str, arguments: Mapping[str, object] | None) -> object:
        raise AssertionError("nobody runs the loop")


@pytest.mark.filterwarnings("error")
def test_a_command_that_the_loop_never_comes_to() -> None:
    """A machine that ends right then must not leave a coroutine behind that nobody awaited."""
    loop = asyncio.new_event_loop()
    try:
        monitor = Monitor(cast(QMPClient, Client()), loop)
        with pytest.raises(MonitorError, match=r"QMP quit: no answer within 0\.01 s"):
            monitor.execute("quit", timeout=0.01)
        gc.collect()
    finally:
        loop.close()
