"""The harness tests itself: what tests/conftest.py promises to every test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"

LEAVE_A_PROCESS = """
    import subprocess
    import sys

    # Popen returns when the program runs; its parent then ends, and it is nobody's child.
    LEAVE = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:], stdout=2).pid)"

    def leave(file, *command):
        with open(file, "w") as pid:
            subprocess.run([sys.executable, "-c", LEAVE, *command], stdout=pid, check=True)

    def test_leaves_one():
        leave("pid", "./qemu-system-fake", "600")

    def test_cleans_up():
        process = subprocess.Popen(["./qemu-system-fake", "600"])
        process.kill()
        process.wait()

    def test_starts_something_else():
        leave("other", "sleep", "600")
"""

FAIL_WITH_A_CONSOLE = """
    class Console:
        def tail(self, count):
            return f"the last {count} lines"

    def test_fails(show_console):
        show_console("L1", Console())
        assert False

    def test_passes(show_console):
        show_console("L2", Console())
"""


@pytest.fixture
def harness(pytester: pytest.Pytester) -> pytest.Pytester:
    """Give a folder whose tests run under our conftest."""
    pytester.makeconftest(CONFTEST.read_text())
    (pytester.path / "qemu-system-fake").symlink_to("/bin/sleep")
    return pytester


def test_a_qemu_left_behind_fails_the_test_and_is_ended(harness: pytest.Pytester) -> None:
    harness.makepyfile(LEAVE_A_PROCESS)
    result = harness.runpytest_subprocess("-p", "no:cacheprovider")
    other = int((harness.path / "other").read_text())
    try:
        result.assert_outcomes(passed=3, errors=1)
        pid = int((harness.path / "pid").read_text())
        result.stdout.fnmatch_lines([f"*the test left qemu-system-fak* (pid {pid}) running"])
        assert not running(pid)
        assert running(other), "what is not QEMU is not ours to end"
    finally:
        os.kill(other, 9)


def running(pid: int) -> bool:
    """Say whether a process is there and not just waiting to be reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_failed_test_shows_its_consoles(harness: pytest.Pytester) -> None:
    harness.makepyfile(FAIL_WITH_A_CONSOLE)
    result = harness.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*console of L1, last 40 lines*", "the last 40 lines"])
    result.stdout.no_fnmatch_line("*console of L2*")


FETCH = """
    import os
    from pathlib import Path
    import pytest
    from vel2.guests import apt, cache
    from vel2.lang.cache import directory

    @pytest.mark.network
    def test_may():
        assert cache.cache_root() == Path(os.environ["OWN"], "vel2/guests")

    def test_may_not():
        assert not list(cache.cache_root().iterdir())
        apt.AptRoot.open(cache.cache_root() / "apt", "trixie")

    def test_shares_what_was_compiled():
        assert os.path.realpath(directory()) == os.environ["OWN"] + "/vel2/images"
"""


def test_a_guest_fetched_before_helps_no_test_that_is_not_about_it(
    harness: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = harness.path / "own"
    (own / "vel2" / "guests" / "kernels").mkdir(parents=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(own))
    monkeypatch.setenv("OWN", str(own))
    harness.makeini("[pytest]\nmarkers = network")
    harness.makepyfile(FETCH)
    result = harness.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*not marked `network` reaches for Debian's archive*"])
