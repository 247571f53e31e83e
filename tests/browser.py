"""A headless Chromium for tests, where one is installed, and a server of files for it."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.limits import LIMIT_S

ARTIFACTS = "VEL2_TEST_ARTIFACTS"
"""Names a folder for screenshots; without it they go with the test's own folder."""


def require_browser() -> tuple[str, str]:
    """Give Chromium and its driver; skip the test where they are not installed."""
    pytest.importorskip("selenium", reason="selenium is not installed")
    found = shutil.which("chromium"), shutil.which("chromedriver")
    if not all(found):
        pytest.skip("no Chromium here; apt-get install chromium chromium-driver to run this")
    return str(found[0]), str(found[1])


@contextmanager
def chromium(width: int = 1400, height: int = 900) -> Iterator[Any]:
    """Start it; it goes with the block."""
    binary, driver = require_browser()
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--window-size={width},{height}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    browser.set_script_timeout(LIMIT_S)
    browser.set_page_load_timeout(LIMIT_S)
    try:
        yield browser
    finally:
        browser.quit()


def artifact(folder: Path, name: str) -> Path:
    """Say where a screenshot goes."""
    kept = Path(os.environ.get(ARTIFACTS) or folder)
    kept.mkdir(parents=True, exist_ok=True)
    return kept / name


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files, and nothing said about them."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on localhost; give its address."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("localhost", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            host, port = server.server_address[:2]
            yield f"http://{host!s}:{port}"
        finally:
            server.shutdown()
            thread.join()
