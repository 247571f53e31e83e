"""The library: what each level holds, where addresses lead, and changing it, in a real machine.

The guest is `tests.nested_guest`, all of whose values are known from the Arm ARM's own layouts.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import pytest

import vel2
from tests.limits import LIMIT_S
from tests.nested_guest import (
    HCR_OF_L1,
    HYPERCALL,
    L1_CODE,
    L2_CODE,
    L2_LEVEL2,
    L2_MEMORY,
    L2_ROOT,
    L2_VA,
    SCTLR_OF_L2,
    SIGNATURE,
    SIGNATURE_OFFSET,
    STAGE2_LEVEL2,
    STAGE2_ROOT,
    TCR_OF_L2,
    VMID,
    VTCR,
    nested_guest,
)
from tests.tiny_guests import POWER_OFF, SPIN
from vel2.arch import sysregs as sr
from vel2.explain.instruction import Access, fate_at_vel2
from vel2.guests.kernels import fetch
from vel2.hyp import idregs
from vel2.hyp.el2regs import TABLE
from vel2.inspect.registers import Registers

pytestmark = pytest.mark.qemu

KINDS = ["vhe-nv2", "nvhe-nv2", "vhe-nv", "nvhe-nv"]
SIGNED = L2_VA + SIGNATURE_OFFSET


@pytest.fixture(params=KINDS)
def machine(request: pytest.FixtureRequest) -> Iterator[vel2.Machine]:
    """Give a machine that stands behind L2's first hypercall, at L1's vector."""
    el2, nv = request.param.split("-")
    guest = nested_guest(vhe=el2 == "vhe")
    booted = vel2.boot(
        load=guest.load, entry=guest.entry, memory="64M", el2=el2, nv=nv, paused=True
    )
    with booted as machine:
        vcpu = machine.vcpus[0]
        assert (vcpu.pc, vcpu.level, vcpu.el) == (L1_CODE, "vel2", 2)
        trap = machine.run_until_trap(ec=vel2.EC.HVC64, level="l2", timeout=LIMIT_S)
        assert (trap.level, trap.esr.ISS) == ("vel1", HYPERCALL)
        yield machine


def expect(machine: vel2.Machine) -> None:
    """Compare all that the guest set up with what the two views show."""
    vcpu = machine.vcpus[0]
    assert vcpu.vel2.HCR_EL2 & ~sr.HCR_EL2.E2H.mask == HCR_OF_L1
    assert vcpu.vel2.HCR_EL2.TWI == 1
    assert vcpu.vel2.VTCR_EL2 == VTCR
    assert (vcpu.vel2.VTTBR_EL2.VMID, vcpu.vel2.VTTBR_EL2 & 0xFFFF_FFFF) == (VMID, STAGE2_ROOT)
    assert vcpu.vel2.VBAR_EL2 == L1_CODE
    assert vcpu.l2.SCTLR_EL1 == SCTLR_OF_L2
    assert vcpu.l2.TCR_EL1 == TCR_OF_L2
    assert vcpu.l2.TTBR0_EL1 == L2_ROOT
    assert vcpu.l2.MAIR_EL1 == 0xFF


def test_both_levels_are_seen_whichever_runs(machine: vel2.Machine) -> None:
    vcpu = machine.vcpus[0]
    assert (vcpu.level, vcpu.el, vcpu.pc) == ("vel2", 2, L1_CODE + 0x400)
    expect(machine)
    # EC and immediate as hardware would have given them to L1.
    assert (vcpu.vel2.ESR_EL2.EC, vcpu.vel2.ESR_EL2.ISS) == (vel2.EC.HVC64, HYPERCALL)
    behind = vcpu.vel2.ELR_EL2
    vcpu.run_to("l2", LIMIT_S)
    assert (vcpu.level, vcpu.el, vcpu.pc) == ("vel1", 1, behind)
    expect(machine)
    assert vcpu.hw.SCTLR_EL1 == SCTLR_OF_L2
    assert vcpu.hw.HCR_EL2.VM == vcpu.hw.HCR_EL2.TWI == 1
    assert vcpu.hw.HCR_EL2.NV == 0


MOVES = re.compile(r"CNT\w*CT\w*|CNT\w*TVAL\w*|PMCCNTR_EL0|ISR_EL1|CNTPCT\w*")
"""What changes while a guest runs, whoever looks."""


def test_what_is_shown_is_what_an_mrs_reads(machine: vel2.Machine) -> None:
    """L1 is made to execute an MRS of every register that has a record: L0 and hardware answer.

    What is said to be UNDEFINED there has to be.
    """
    vcpu = machine.vcpus[0]
    names = [record.name.name for record in TABLE if record.name.access != "WO"]
    names += [register.name for register in idregs.REGISTERS]
    differ, compared = [], 0
    for name in names:
        if MOVES.fullmatch(name) or name == "SP_EL2":
            continue
        shown = read = "UNDEFINED"
        try:
            shown = f"{vcpu.vel2[name]:#x}"
        except vel2.UserError as error:
            if "vEL2 has no" not in str(error):
                continue
        with contextlib.suppress(vel2.UserError):
            read = f"{vcpu.execute_mrs(name):#x}"
        compared += 1
        if shown != read:
            differ.append(f"{name}: shown {shown}, read {read}")
    assert differ == []
    assert compared > 120


def test_explain_says_what_traps(machine: vel2.Machine) -> None:
    """MRS, and MSR of what it read, at vEL2: L0's count of traps tells what `vel2 explain` must."""
    vcpu = machine.vcpus[0]
    request = machine.vm.request
    registers = [record.name for record in TABLE if record.name.access != "WO"]
    registers += [*idregs.REGISTERS, sr.TPIDR_EL1, sr.PAR_EL1, sr.VBAR_EL1, sr.CNTFRQ_EL0]
    differ, compared = [], 0
    for register in registers:
        value = 0
        for is_read in (True, False):
            before = trapped(machine)
            with contextlib.suppress(vel2.UserError):
                if is_read:
                    value = int(vcpu.execute_mrs(register.name))
                elif register.access == "RW" and register not in AT_TIMES:
                    vcpu.execute_msr(register, value)
                else:
                    continue
                fate = fate_at_vel2(Access(register.trap_key, is_read, 0), request.el2, request.nv)
                does_trap = trapped(machine) > before
                compared += 1
                if fate.startswith("traps") != does_trap and register not in AT_TIMES:
                    differ.append(f"{register.name}, {is_read}: {fate}")
    assert differ == []
    assert compared > 150


AT_TIMES = {
    *(sr.MDSCR_EL1, sr.CNTV_CTL_EL02, sr.CNTV_CVAL_EL02, sr.CNTP_CTL_EL02, sr.CNTP_CVAL_EL02),
}
"""What traps now and then, as docs/cli.md says."""


def trapped(machine: vel2.Machine) -> int:
    """Count the accesses of vEL2 that trapped."""
    return sum(
        trap.count
        for trap in machine.traps()
        if (trap.kind.endswith("SYS64"), trap.context) == (True, "vEL2")
    )


def test_an_instruction_that_is_an_exception_leaves_nothing(machine: vel2.Machine) -> None:
    vcpu = machine.vcpus[0]
    names = ("ESR_EL2", "ELR_EL2", "SPSR_EL2", "FAR_EL2")
    before = [vcpu.pc, vcpu.x, int(vcpu.pstate), *(int(vcpu.vel2[name]) for name in names)]
    with pytest.raises(vel2.UserError) as refused:
        vcpu.execute_mrs("ICH_LR15_EL2")
    assert str(refused.value) == (
        "vCPU 0 did not access ICH_LR15_EL2: an instruction that names it is an exception at vel2,"
        f" to {L1_CODE + 0x200:#x}."
    )
    after = [vcpu.pc, vcpu.x, int(vcpu.pstate), *(int(vcpu.vel2[name]) for name in names)]
    assert after == before


def test_a_level_that_does_not_run_is_seen_as_when_it_does(machine: vel2.Machine) -> None:
    vcpu = machine.vcpus[0]
    shown = {view.title: values(view) for view in (vcpu.l2, vcpu.vel2)}
    vcpu.run_to("l2", LIMIT_S)
    for view in (vcpu.l2, vcpu.vel2):
        before, now = shown[view.title], values(view)
        both = before.keys() & now.keys()
        assert {n: (before[n], now[n]) for n in both if before[n] != now[n]} == {}
        assert len(both) > 60


def values(view: Registers) -> dict[str, int]:
    """Read all that can be read."""
    return {v.layout.name: int(v) for v in view.dump() if not MOVES.fullmatch(v.layout.name)}


def test_an_address_is_walked_from_end_to_end(machine: vel2.Machine) -> None:
    vcpu = machine.vcpus[0]
    walk = vcpu.walk(SIGNED, "l2")
    assert (walk.ipa, walk.l1_ipa, walk.pa) == (
        SIGNATURE_OFFSET,
        L2_MEMORY + SIGNATURE_OFFSET,
        L2_MEMORY + SIGNATURE_OFFSET,
    )
    assert [(step.stage, step.level, step.address, step.kind) for step in walk.steps] == [
        ("L2 stage 1", 1, L2_ROOT + (L2_VA >> 30) * 8, "table"),
        ("L2 stage 1", 2, L2_LEVEL2, "block"),
        ("L1 stage 2", 1, STAGE2_ROOT, "table"),
        ("L1 stage 2", 2, STAGE2_LEVEL2, "block"),
    ]
    assert walk.steps[0].pa == L2_MEMORY + L2_ROOT + (L2_VA >> 30) * 8
    assert walk.steps[3].descriptor.S2AP == 3
    # L2 has run, so hardware has its code in the shadow; the signature nobody has touched.
    assert vcpu.walk(L2_VA + L2_CODE, "l2").shadow == L2_MEMORY + L2_CODE
    assert vcpu.l2_memory.read(SIGNED, 8) == SIGNATURE.to_bytes(8, "little")
    assert vcpu.l2_memory.read_ipa(SIGNATURE_OFFSET, 8) == SIGNATURE.to_bytes(8, "little")


def test_what_is_not_mapped_is_said(machine: vel2.Machine) -> None:
    vcpu = machine.vcpus[0]
    assert vcpu.walk(0x1234, "l2").fault == "Translation fault, level 1"
    assert vcpu.walk(1 << 50, "l2").fault == "Translation fault, level 0"
    assert vcpu.walk_ipa(0x20_0000, "l2").fault == "Translation fault, level 2"
    with pytest.raises(vel2.UserError) as refused:
        vcpu.l2_memory.read(0x1234, 1)
    assert str(refused.value) == "va=0x1234 leads nowhere: Translation fault, level 1."


def test_a_write_has_the_effect_of_the_guests_own(machine: vel2.Machine) -> None:
    """L1 is made to trap L2's WFE, then to let it be: hardware's control follows at each entry."""
    vcpu = machine.vcpus[0]
    for wanted in (1, 0):
        vcpu.vel2.HCR_EL2 = vcpu.vel2.HCR_EL2.replace(TWE=wanted)
        assert wanted == vcpu.vel2.HCR_EL2.TWE
        vcpu.run_to("l2", LIMIT_S)
        assert wanted == vcpu.hw.HCR_EL2.TWE
        vcpu.run_to("vel2", LIMIT_S)
    vcpu.vel2.MDCR_EL2 = vcpu.vel2.MDCR_EL2.replace(TDRA=1)
    assert vcpu.vel2.MDCR_EL2.TDRA == 1
    vcpu.run_to("l2", LIMIT_S)
    assert vcpu.hw.MDCR_EL2.TDRA == 1


def test_a_write_where_l0_has_a_translation(machine: vel2.Machine) -> None:
    """VBAR_EL2 traps, or is hardware's VBAR_EL1: the next hypercall goes to the new vector."""
    vcpu = machine.vcpus[0]
    vcpu.vel2.VBAR_EL2 = L1_CODE + 0x1000
    assert vcpu.vel2.VBAR_EL2 == L1_CODE + 0x1000
    machine.run_until_trap(ec=vel2.EC.HVC64, level="l2", timeout=LIMIT_S)
    assert vcpu.pc == L1_CODE + 0x1400


def test_l2_is_changed_while_l1_runs_and_while_it_runs(machine: vel2.Machine) -> None:
    vcpu = machine.vcpus[0]
    vcpu.l2.CONTEXTIDR_EL1 = 0x77
    vcpu.run_to("l2", LIMIT_S)
    assert vcpu.hw.CONTEXTIDR_EL1 == vcpu.l2.CONTEXTIDR_EL1 == 0x77
    vcpu.l2.TPIDR_EL1 = 0x1234
    assert vcpu.l2.TPIDR_EL1 == 0x1234
    count = vcpu.x[19]
    vcpu.set_x(19, count + 100)
    vcpu.step()
    assert vcpu.x[19] == count + (101 if vcpu.pc == L2_VA + L2_CODE + 8 else 100)


def test_memory_is_written_by_any_name(machine: vel2.Machine) -> None:
    vcpu = machine.vcpus[0]
    vcpu.l2_memory.write(SIGNED, b"12345678")
    assert machine.read(L2_MEMORY + SIGNATURE_OFFSET, 8) == b"12345678"
    # L2's hypercall becomes a NOP: QEMU, which has translated it, executes the new instruction.
    code = vcpu.l2_memory.read(L2_VA + L2_CODE, 16)
    at = code.index((0xD400_0002 | HYPERCALL << 5).to_bytes(4, "little"))
    vcpu.l2_memory.write(L2_VA + L2_CODE + at, (0xD400_0002 | 0x456 << 5).to_bytes(4, "little"))
    trap = machine.run_until_trap(ec=vel2.EC.HVC64, level="l2", timeout=LIMIT_S)
    assert trap.esr.ISS == 0x456


def test_a_function_that_raises_leaves_the_machine_whole(machine: vel2.Machine) -> None:
    vcpu = machine.vcpus[0]

    def raises(cpu: int, esr: vel2.Value) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        machine.run_until_trap(ec=vel2.EC.HVC64, when=raises, timeout=LIMIT_S)
    assert (machine.is_paused, vcpu.level, vcpu.pc) == (True, "vel2", L1_CODE + 0x400)
    expect(machine)


def test_traps_are_counted(machine: vel2.Machine) -> None:
    vcpu = machine.vcpus[0]

    def hypercalls() -> int:
        return sum(trap.count for trap in machine.traps() if trap.kind.endswith("HVC64"))

    before = hypercalls()
    for _ in range(3):
        machine.run_until_trap(ec=vel2.EC.HVC64, level="l2", timeout=LIMIT_S)
    assert hypercalls() == before + 3
    assert vcpu.level == "vel2"


def test_what_cannot_be_done_is_refused(machine: vel2.Machine) -> None:
    vcpu = machine.vcpus[0]
    refusals: list[str] = []

    def attempt(action: object) -> None:
        assert callable(action)
        with pytest.raises(vel2.UserError) as refused:
            action()
        refusals.append(str(refused.value))

    attempt(lambda: vcpu.l2.HCR_EL2)
    attempt(lambda: vcpu.vel2.HCR_EL3)
    attempt(lambda: setattr(vcpu.hw, "VTTBR_EL2", 0))
    attempt(lambda: setattr(vcpu.vel2, "CurrentEL", 0))
    attempt(lambda: setattr(vcpu.vel2, "HCR_EL2", 1 << 64))
    attempt(lambda: machine.write(machine.vm.l0_base, b"x"))
    attempt(lambda: vcpu.run_to("el3"))
    vcpu.run_to("l2", LIMIT_S)
    attempt(lambda: setattr(vcpu.vel2, "HCR_EL2", 0))
    attempt(lambda: vcpu.vel2.ICH_LR0_EL2)
    machine.resume()
    attempt(lambda: vcpu.vel2.HCR_EL2)
    assert refusals == [
        "vEL1 has no HCR_EL2: it is a register of EL2; `vel2.HCR_EL2` is L1's.",
        "HCR_EL3 is not a register known here; the nearest are HCR_EL2, HCRX_EL2, HACR_EL2;"
        " `vel2 explain` takes a name as Arm writes it.",
        "hardware's VTTBR_EL2 is not written: L0 keeps it, and would not know; write it as a level"
        " does, by `vel2` or `l2`.",
        "CurrentEL can only be read; nothing can be written to it.",
        "0x10000000000000000 is no value of HCR_EL2, which has 64 bits.",
        f"nothing is written to pa={machine.vm.l0_base:#x}: L1's RAM is 0x40000000 to"
        f" {machine.vm.l0_base:#x}.",
        "'el3' is no level; give vel2, or l2 (also vel1).",
        "vCPU 0 runs vEL1, under what L1 had set when it entered it; run to vEL2"
        " (vcpu.run_to('vel2')) before HCR_EL2 is written.",
        "ICH_LR0_EL2 is in hardware while vEL1 runs, and QEMU's gdb server does not show it; run to"
        " vEL2 (vcpu.run_to('vel2')) and read it there.",
        "the machine runs; pause it first: with machine.paused(): ...",
    ]


@pytest.mark.network
def test_every_vcpu_of_a_linux() -> None:
    """Two CPUs of a stock kernel: both are seen and written, and the kernel goes on unharmed."""
    fetch(["6.12"])
    with vel2.boot(
        kernel="6.12", initrd="none", append="console=ttyAMA0", memory="512M", cpus=2
    ) as machine:
        machine.wait_for("smp: Brought up 1 node, 2 CPUs", LIMIT_S)
        with machine.paused():
            first, second = machine.vcpus
            assert [vcpu.el for vcpu in machine.vcpus] == [2, 2]
            assert [vcpu.vel2.HCR_EL2.TGE for vcpu in machine.vcpus] == [1, 1]
            # One kernel, two CPUs: its tables are shared, and its per-CPU base is not.
            assert first.vel2.TTBR1_EL2.BADDR == second.vel2.TTBR1_EL2.BADDR
            assert first.vel2.TPIDR_EL2 != second.vel2.TPIDR_EL2
            for vcpu in machine.vcpus:
                walk = vcpu.walk(vcpu.pc)
                assert machine.read(walk.pa, 4) == vcpu.vel2_memory.read(vcpu.pc, 4)
                wanted = vcpu.vel2.MDCR_EL2.replace(TDRA=1)
                vcpu.vel2.MDCR_EL2 = wanted
                assert wanted == vcpu.vel2.MDCR_EL2
                vcpu.vel2.MDCR_EL2 = wanted.replace(TDRA=0)
        trap = machine.run_until_trap(sysreg="CNTP_CTL_EL0", timeout=LIMIT_S)
        # With E2H=1 that is vEL2's own timer, which L0 answers.
        assert (trap.level, trap.esr.EC) == ("vel2", vel2.EC.SYS64)
        assert "CNTP_CTL_EL0" in str(trap)
        machine.resume()
        machine.wait_for("Unable to mount root fs", LIMIT_S)


def test_a_vcpu_that_is_off() -> None:
    guest = nested_guest()
    with vel2.boot(load=guest.load, entry=guest.entry, memory="64M", cpus=2) as machine:
        machine.run_until_trap(ec=vel2.EC.HVC64, level="l2", timeout=LIMIT_S)
        assert repr(machine.vcpus[0]).startswith("<vCPU 0 at vel2, EL2, pc ")
        assert repr(machine.vcpus[1]) == "<vCPU 1, off>"
        with pytest.raises(vel2.UserError) as refused:
            machine.vcpus[1].vel2.HCR_EL2  # noqa: B018
        assert str(refused.value) == "vCPU 1 is off; L1 has not turned it on (PSCI CPU_ON)."
        expect(machine)


def test_time_that_counts_instructions() -> None:
    """Stops, steps and reads work where QEMU runs CPUs in turn, and count nothing twice."""
    guest = nested_guest()
    booted = vel2.boot(
        load=guest.load, entry=guest.entry, memory="64M", deterministic=True, paused=True
    )
    with booted as machine:
        vcpu = machine.vcpus[0]
        for _ in range(3):
            machine.run_until_trap(ec=vel2.EC.HVC64, level="l2", timeout=LIMIT_S)
        expect(machine)
        assert vcpu.x[19] == 3
        vcpu.run_to("l2", LIMIT_S)
        vcpu.step()
        assert vcpu.x[19] in (3, 4)


def test_a_machine_that_ends_says_how() -> None:
    """L1 powers off where nobody expected it: no wait is in vain, and nothing is left behind."""
    code = b"".join(word.to_bytes(4, "little") for word in POWER_OFF)
    with vel2.boot(load=[(L1_CODE, code)], entry=L1_CODE, memory="64M", paused=True) as machine:
        assert machine.vcpus[0].pc == L1_CODE
        with pytest.raises(vel2.UserError) as ended:
            machine.run_until_trap(ec=vel2.EC.HVC64, timeout=LIMIT_S)
        assert str(ended.value).startswith("the machine ended while it ran: the guest powered off")
        assert machine.wait(LIMIT_S).clean


def test_what_cannot_be_booted_is_refused() -> None:
    def refusal(**given: object) -> str:
        with pytest.raises(vel2.UserError) as refused:
            vel2.boot(**given)  # type: ignore[arg-type]
        return str(refused.value)

    assert refusal() == (
        "what to boot is a kernel, a firmware, or load= with an entry=; give one of them."
    )
    assert refusal(kernel="6.12", el2="hve") == "el2='hve' is not known; give 'vhe' or 'nvhe'."
    assert refusal(kernel="nonsense").startswith("'nonsense' is neither a file nor a kernel on")
    assert refusal(load=[(L1_CODE, b"\0" * 4)], entry=L1_CODE, memory="3X") == (
        "'3X' is not a size: give a number and K, M or G, such as 512M or 2G."
    )


def test_a_machine_that_does_not_start_leaves_nothing() -> None:
    """The fixture that looks for QEMU processes would see one."""
    code = b"".join(word.to_bytes(4, "little") for word in SPIN)
    with pytest.raises(vel2.UserError) as refused:
        vel2.boot(
            load=[(L1_CODE, code)],
            entry=L1_CODE,
            memory="64M",
            qemu_arguments=["-device", "nonsense"],
        )
    assert isinstance(refused.value, vel2.LaunchError)
    booted = vel2.boot(
        load=[(L1_CODE, code)],
        entry=L1_CODE,
        memory="64M",
        qemu_arguments=["-device", "virtio-rng-pci,iommu_platform=off"],
    )
    with pytest.raises(vel2.UserError, match="virtio-rng"), booted:
        pass


def test_qemus_own_gdb_port_excludes_the_library() -> None:
    code = b"".join(word.to_bytes(4, "little") for word in SPIN)
    booted = vel2.boot(
        load=[(L1_CODE, code)],
        entry=L1_CODE,
        memory="64M",
        qemu_arguments=["-gdb", "tcp:127.0.0.1:0"],
    )
    with booted as machine, pytest.raises(vel2.UserError) as refused:
        machine.pause()
    assert str(refused.value) == (
        "this machine's gdb server is the user's own (-s or -gdb), and there is one only; leave the"
        " option out to look into the machine from Python."
    )
