"""Names of a running kernel's functions, against what it prints in /proc/kallsyms itself."""

from __future__ import annotations

import re

import pytest

import vel2
from tests.limits import LIMIT_S
from vel2.guests.kernels import fetch

pytestmark = [pytest.mark.qemu, pytest.mark.network, pytest.mark.timeout(3 * LIMIT_S)]

EVERY = 2500
LINE = re.compile(r"^([0-9a-f]{16}) [tT] (\S+)$", re.M)
SHOWN = "grep -w vectors /proc/kallsyms"


@pytest.fixture(scope="module", autouse=True)
def guests() -> None:
    fetch(["6.1", "6.12", "busybox"])


def printed(machine: vel2.Machine, prompt: str) -> dict[str, int]:
    """Give some symbols as the kernel has them, those of modules apart."""
    command = f"awk '$2 ~ /[tT]/ && !/\\]/ && NR % {EVERY} == 0' /proc/kallsyms; {SHOWN}"
    machine.type(f"{command}; echo at an $((1))nd\n")
    text = machine.wait_for(rf"[\s\S]*at an 1nd\s+{prompt}", LIMIT_S)[0]
    return {name: int(address, 16) for address, name in LINE.findall(text.replace("\r", ""))}


def stop_in_l2(machine: vel2.Machine) -> None:
    """Run to a trap of L2; at vEL1 an nVHE host runs, too, but with no stage 2."""
    for _ in range(1000):
        machine.run_until_trap(level="l2", ec=vel2.EC.DABT_LOWER, timeout=LIMIT_S)
        if machine.vcpus[0].vel2.HCR_EL2.VM:
            return
    raise AssertionError("L2 does not run")


def expect(kernel: vel2.RunningKernel, wanted: dict[str, int]) -> None:
    """Compare: a name that several functions have is refused, never answered wrongly."""
    assert len(wanted) > 10
    assert len([name for name in wanted if kernel.addresses(name)]) > len(wanted) // 2
    for name, address in wanted.items():
        assert kernel.addresses(name)[:1] in ([], [address])
        place = kernel.at(address + 4)
        assert place is not None
        assert place.offset == 4


@pytest.mark.parametrize(("el2", "name"), [("vhe", "6.12"), ("nvhe", "6.1")])
def test_symbols_are_the_kernels_own(el2: str, name: str) -> None:
    with vel2.boot(kernel=name, memory="1G", el2=el2) as machine:
        machine.wait_for("L1# ", LIMIT_S)
        of_l1 = printed(machine, "L1# ")
        machine.type("l2 shell\n")
        machine.wait_for("L2# ", LIMIT_S)
        of_l2 = printed(machine, "L2# ")
        assert of_l1["vectors"] != of_l2["vectors"]  # KASLR
        machine.type("true\n")
        stop_in_l2(machine)
        l2 = machine.symbols("l2")
        expect(l2, of_l2)
        assert not l2.at(of_l1["vectors"])
        trap = machine.run_until_trap(level="vel2", ec=vel2.EC.ERET, timeout=LIMIT_S)
        l1 = machine.symbols("l1")
        where = l1.at(trap.pc)
        assert where is not None
        if el2 == "vhe":
            expect(l1, of_l1)
        else:
            # At EL2 runs KVM's hyp code, at an address that /proc/kallsyms does not have.
            assert where.function.startswith("__kvm_nvhe_")
            assert trap.pc not in range(of_l1["vectors"], of_l1["vectors"] + (32 << 20))
        with pytest.raises(vel2.UserError, match="does not run this kernel"):
            machine.symbols("l2", "6.1" if name == "6.12" else "6.12")
