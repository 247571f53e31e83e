"""Guests of two vCPUs that come and go while L1 moves their memory: nothing stale, no leak."""

from __future__ import annotations

import pytest

from vel2.arch.nesting import Kind, Level
from vel2.check.stress import Stress, StressResult, run_stress
from vel2.guests.kernels import fetch
from vel2.machine.loader import KernelImage, load_kernel

pytestmark = [pytest.mark.qemu, pytest.mark.network, pytest.mark.timeout(3600)]

MINUTE_S = 60
KINDS = [(el2, nv) for el2 in Kind for nv in Level]


@pytest.fixture(scope="module")
def kernel() -> KernelImage:
    """Give L1's kernel."""
    found, _ = fetch(["6.12", "busybox"])
    return load_kernel(found.path)


def require_good(result: StressResult) -> None:
    """Require that nothing went wrong, and that enough happened for that to mean something."""
    print(result)
    assert not result.failures
    assert result.lives > 0
    assert result.moved["pgmigrate_success"] > 0, "L1 moved pages"
    assert result.moved["thp_collapse_alloc"] > 0, "and made huge ones"


def test_a_minute_of_guests_that_come_and_go(kernel: KernelImage) -> None:
    require_good(run_stress(Stress(kernel, MINUTE_S)))


@pytest.mark.slow
@pytest.mark.parametrize(("el2", "nv"), KINDS)
def test_ten_minutes_of_guests_that_come_and_go(kernel: KernelImage, el2: Kind, nv: Level) -> None:
    """Ten minutes in all, a part of them in each kind of virtual EL2."""
    seconds = 10 * MINUTE_S // len(KINDS)
    require_good(run_stress(Stress(kernel, seconds, el2=el2, nv=nv, limit=3000.0)))


@pytest.mark.slow
def test_four_cpus_that_take_turns(kernel: KernelImage) -> None:
    """With QEMU's CPUs in turn, four do not keep each other from working."""
    require_good(run_stress(Stress(kernel, MINUTE_S, smp=4, deterministic=True, limit=3000.0)))
