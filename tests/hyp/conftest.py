"""What the tests of the resident code share."""

import pytest


@pytest.fixture(autouse=True)
def no_qemu_left() -> None:
    """Look for no process: nothing here starts one, and there are a thousand quick cases."""
