"""What the tests of the resident code share."""

from collections.abc import Iterator

import pytest

from tests.hyp.rig import KINDS, SELECTED


@pytest.fixture(autouse=True)
def no_qemu_left() -> None:
    """Look for no process: nothing here starts one, and there are a thousand quick cases."""


@pytest.fixture(scope="module", params=list(KINDS))
def each_kind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run every test of a module for each kind of guest and each level.

    For tests of what does not depend on them, which is most: `pytestmark =
    pytest.mark.usefixtures("each_kind")`.
    """
    SELECTED.append(request.param)
    yield
    SELECTED.pop()
