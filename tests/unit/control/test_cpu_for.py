"""What a guest on offer must not find in the CPU, and where."""

from __future__ import annotations

import pytest

from vel2.arch.nesting import Kind, Level
from vel2.control.request import cpu_for
from vel2.guests.kernels import OFFERS
from vel2.machine.config import DEFAULT_CPU


@pytest.mark.parametrize("name", OFFERS)
@pytest.mark.parametrize("el2", Kind)
@pytest.mark.parametrize("nv", Level)
def test_a_guest_gets_all_where_e2h_is_not_res1(name: str, el2: Kind, nv: Level) -> None:
    is_res1 = (el2, nv) == (Kind.VHE, Level.NV2)
    if is_res1 and name == "6.1":
        assert cpu_for(name, el2, nv) == "max,pauth-impdef=on,sme=off,sve=off"
    else:
        assert cpu_for(name, el2, nv) == DEFAULT_CPU
