"""What every test shares: no QEMU of ours survives a test, and a failed boot shows its console.

A test that is not marked `network` finds no guest in the cache, whatever was fetched before, and
fails when it reaches for Debian's archive: it would fail on a fresh machine, or without a network.

Each test runs with its own value of `VEL2_TEST_TOKEN` in the environment. A QEMU started by the
test, by whatever way, inherits it, so `/proc` tells whose process it is even when its parent is
gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import NoReturn, Protocol

import hypothesis
import pytest

from vel2.guests import apt

TOKEN = "VEL2_TEST_TOKEN"
CONSOLE_LINES = 40

# Two cores that also run QEMU make a wall-clock deadline on each example a coin toss.
hypothesis.settings.register_profile("vel2", deadline=None, print_blob=True)
hypothesis.settings.load_profile("vel2")


class HasTail(Protocol):
    """A console that remembers its last lines, such as `vel2.machine.console.Console`."""

    def tail(self, count: int) -> str:
        """Give the last `count` lines."""


ShowConsole = Callable[[str, HasTail], None]
CONSOLES = pytest.StashKey[list[tuple[str, HasTail]]]()


def environment(process: Path) -> list[bytes]:
    """Read the environment of a process, once it has one: within exec it has none for a while."""
    while True:
        data = (process / "environ").read_bytes()
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        if data or state in "ZX":
            return data.split(b"\0")


def qemu_processes(token: str) -> dict[int, str]:
    """Find living QEMU processes that carry `token`, as {pid: command name}."""
    wanted = f"{TOKEN}={token}".encode()
    found = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            # In this order: within exec a process has its old name while it has no environment.
            if wanted in environment(process):
                name = (process / "comm").read_text().strip()
                if name.startswith("qemu-system"):
                    found[int(process.name)] = name
        except OSError:  # it ended while we looked, or is not ours to look into
            continue
    return found


@pytest.fixture(autouse=True)
def no_qemu_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a QEMU process behind, and end that process."""
    token = f"{os.getpid()}:{request.node.nodeid}"
    before = os.environ.get(TOKEN)
    os.environ[TOKEN] = token
    yield
    if before is None:
        del os.environ[TOKEN]
    else:
        os.environ[TOKEN] = before
    left = qemu_processes(token)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    if left:
        listed = ", ".join(f"{name} (pid {pid})" for pid, name in left.items())
        pytest.fail(f"the test left {listed} running")


@pytest.fixture(scope="session")
def cache_without_guests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a cache that shares the user's own, but for the guests."""
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    own = Path(chosen) if os.path.isabs(chosen) else Path.home() / ".cache"
    made = tmp_path_factory.mktemp("cache")
    (made / "vel2").mkdir()
    for name in ("matplotlib", "vel2/images"):
        with contextlib.suppress(OSError):
            (own / name).mkdir(parents=True, exist_ok=True)
            (made / name).symlink_to(own / name)
    return made


def out_of_reach(entries: object) -> NoReturn:
    """Stand in for `vel2.guests.sources.find_archive`."""
    pytest.fail("a test that is not marked `network` reaches for Debian's archive")


@pytest.fixture(autouse=True)
def no_guests_by_chance(
    request: pytest.FixtureRequest, cache_without_guests: Path
) -> Iterator[None]:
    """Let only a test marked `network` have Debian's guests."""
    if request.node.get_closest_marker("network") is not None:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache_without_guests))
        patch.setattr(apt, "find_archive", out_of_reach)
        yield


@pytest.fixture
def show_console(request: pytest.FixtureRequest) -> ShowConsole:
    """Give the function by which a test names a console to be printed should the test fail."""
    consoles = request.node.stash.setdefault(CONSOLES, [])

    def show(title: str, console: HasTail) -> None:
        consoles.append((title, console))

    return show


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the consoles of a failed test to its report."""
    report = yield
    if report.failed and call.when == "call":
        for title, console in item.stash.get(CONSOLES, []):
            heading = f"console of {title}, last {CONSOLE_LINES} lines"
            report.sections.append((heading, console.tail(CONSOLE_LINES)))
    return report
