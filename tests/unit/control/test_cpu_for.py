"""What a kernel must not find in the CPU, and where."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vel2.arch.nesting import Kind, Level
from vel2.bench.system import cpu_of
from vel2.control.guest import Firmware, Kernel
from vel2.control.request import Request, cpu_for
from vel2.machine.config import DEFAULT_CPU

WITHOUT_SVE = "max,pauth-impdef=on,sme=off,sve=off"


def kernel(version: str | None) -> Any:
    return SimpleNamespace(version=version)


@pytest.mark.parametrize("el2", Kind)
@pytest.mark.parametrize("nv", Level)
@pytest.mark.parametrize("version", ["5.10.0", "6.1.0-41-arm64", "6.1"])
def test_an_old_linux_gets_no_sve_where_e2h_is_res1(version: str, el2: Kind, nv: Level) -> None:
    is_res1 = (el2, nv) == (Kind.VHE, Level.NV2)
    assert cpu_for(kernel(version), el2, nv) == (WITHOUT_SVE if is_res1 else DEFAULT_CPU)


@pytest.mark.parametrize("el2", Kind)
@pytest.mark.parametrize("nv", Level)
@pytest.mark.parametrize("version", ["6.12.118+deb13-cloud-arm64", "6.10", "7.3.4", "10.1", None])
def test_others_get_all(version: str | None, el2: Kind, nv: Level) -> None:
    assert cpu_for(kernel(version), el2, nv) == DEFAULT_CPU


def test_a_run_has_the_cpu_that_its_guest_takes() -> None:
    old = Kernel(kernel("6.1.0"))
    assert Request(old).cpu_of_guest == WITHOUT_SVE
    assert Request(old, cpu="max,pmu=off").cpu_of_guest == "max,pmu=off,sve=off"
    assert Request(old, native=True).cpu_of_guest == DEFAULT_CPU
    assert Request(old, el2=Kind.NVHE).cpu_of_guest == DEFAULT_CPU
    assert Request(Firmware(Path("u-boot.bin"))).cpu_of_guest == DEFAULT_CPU


def test_what_is_compared_lacks_the_same() -> None:
    """`bench` has one CPU for all configurations."""
    assert cpu_of(kernel("6.1.0")) == "max,pauth-impdef=on,sme=off,lpa2=off,sve=off"
    assert cpu_of(kernel("6.12.0")) == f"{DEFAULT_CPU},lpa2=off"
