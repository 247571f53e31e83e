"""Each part of L0's state is written by those whose it is (`hyp.state`, `hyp.pcpu`)."""

from __future__ import annotations

import ast

import pytest

from tests.unit.test_one_way_out import functions, stores
from vel2.hyp import state

WRITERS = {
    "config": set(),
    "probed": {
        *("start.probe", "hcrx.init", "idregs.init", "idregs.show_nesting", "its.init"),
        *("monitors.probe", "optional.init"),
    },
    "post_mortem": {"trap.fatal", "smc.stop_machine"},
    "power": {"start.start", "power.turn_on"},
}
"""Who writes what is not a vCPU's own: `config` is the host's, `probed` is boot's. `Power.state`
changes hands by atomic operations, which are no assignments."""


def writers(part: str) -> set[str]:
    """Name the functions that assign a field of a part, by module and name."""
    return {
        name
        for name, node in functions().items()
        if any(f".{part}." in f".{store}." for store in stores(node))
    }


@pytest.mark.parametrize("part", WRITERS)
def test_a_part_is_written_by_its_owner(part: str) -> None:
    assert writers(part) == WRITERS[part]


def test_each_part_says_whose_it_is() -> None:
    """A structure that is a part of `Vm` or `Vcpu` names who writes it, in its docstring."""
    for name in ("Configuration", "Probed", "Stage2Manager", "PostMortem", "Vcpu"):
        said = getattr(state, name).__doc__
        assert any(word in said for word in ("writes", "owns", "changes")), name


def test_the_reading_sees_an_element_of_an_array() -> None:
    node = ast.parse("def f(vm):\n    vm.probed.id_registers[3] = 1").body[0]
    assert isinstance(node, ast.FunctionDef)
    assert list(stores(node)) == ["vm.probed.id_registers"]
