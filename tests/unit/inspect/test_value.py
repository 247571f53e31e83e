"""Values that know their fields."""

from __future__ import annotations

import subprocess
import sys

import pytest

import vel2
from vel2.arch import sysregs as sr
from vel2.inspect.value import Value

HCR = Value(sr.HCR_EL2, sr.HCR_EL2.compose(TGE=1, E2H=1, BSU=2))


def test_a_value_is_a_number_with_fields() -> None:
    assert (HCR.TGE, HCR.E2H, HCR.BSU, HCR.VM) == (1, 1, 2, 0)
    assert sr.HCR_EL2.compose(TGE=1, E2H=1, BSU=2) == HCR
    assert HCR & sr.HCR_EL2.TGE.mask
    assert HCR.fields["BSU"] == 2


def test_a_value_prints_decoded() -> None:
    assert str(HCR) == "HCR_EL2 = 0x408000800 (E2H|TGE|BSU=0x2)"
    assert repr(HCR) == "HCR_EL2(0x408000800)"
    assert f"{HCR:#x}" == "0x408000800"
    assert "     27  TGE = 1" in HCR.explain()


def test_a_field_is_replaced_in_a_copy() -> None:
    changed = HCR.replace(TGE=0, VM=1)
    assert (changed.TGE, changed.VM, changed.E2H) == (0, 1, 1)
    assert HCR.TGE == 1


def test_a_field_of_a_copy_cannot_be_assigned() -> None:
    with pytest.raises(AttributeError) as refused:
        HCR.TGE = 0
    assert str(refused.value) == (
        "HCR_EL2.TGE of a value that was read cannot be changed; assign the whole register, as in"
        " level.HCR_EL2 = value.replace(TGE=0)."
    )


def test_a_wrong_field_names_the_nearest() -> None:
    with pytest.raises(AttributeError) as refused:
        HCR.TGF  # noqa: B018
    assert str(refused.value).startswith("HCR_EL2 has no field TGF; the nearest are ")


def test_the_package_loads_nothing_until_it_is_used() -> None:
    code = "import sys, vel2; print(sorted(n for n in sys.modules if n.startswith('vel2')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['vel2']"


def test_every_public_name_is_there() -> None:
    for name in vel2.__all__:
        assert getattr(vel2, name) is not None
    assert set(vel2.HOMES) == set(vel2.__all__) - {"__version__"}
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        vel2.nonsense  # noqa: B018
