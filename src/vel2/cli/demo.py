"""`vel2 demo`: Linux at virtual EL2, and a Linux guest of its own inside it."""

from collections.abc import Sequence
from contextlib import closing

import click

from vel2.cli.consoles import LabelledLines
from vel2.cli.ending import conclude
from vel2.cli.guests import progress_bars
from vel2.cli.kernels import fetch_missing, find_kernel
from vel2.cli.levels import Inner, inner_levels
from vel2.cli.options import VmOptions, vm_options
from vel2.cli.probing import add_probes, name_addresses, probe_option, put_probes, show_probes
from vel2.cli.provenance import run_of_request
from vel2.cli.report import Report, print_guests, print_traps
from vel2.cli.streams import say
from vel2.cli.terminal import Terminal
from vel2.cli.tracing import TraceOptions, trace_options
from vel2.control.guest import Kernel
from vel2.control.launch import launch
from vel2.control.session import Session
from vel2.errors import UserError
from vel2.guests.initramfs import Initramfs
from vel2.guests.qemu_guest import fetch_qemu, qemu_l1_tree
from vel2.guests.recipes import l1_with_l2, l2_tree
from vel2.machine.loader import KernelImage, load_kernel
from vel2.machine.memory import format_bytes
from vel2.machine.outcome import MachineExit

__all__ = ("demo",)

TIMEOUT_S = 600.0
L1_BOOTARGS = "console=ttyAMA0 panic=-1"
QEMU_L1_BYTES = 512 << 20
"""The kernel unpacks 110 MB, QEMU and L2's kernel, before it frees the archive; L2 has 256 MiB."""


@click.command()
@click.option("--l1", default="6.12", show_default=True, help="L1's kernel: a name or a file.")
@click.option("--l2", default="6.12", show_default=True, help="L2's kernel: a name or a file.")
@click.option(
    "--vmm",
    type=click.Choice(["small", "qemu"]),
    default="small",
    show_default=True,
    help="What L1 starts L2 with: vel2's own small program, or Debian's QEMU.",
)
@click.option("--quiet", is_flag=True, help="Leave out L2's kernel messages; a little faster.")
@probe_option
@vm_options(default_timeout=TIMEOUT_S)
@trace_options
@click.pass_context
def demo(
    context: click.Context,
    l1: str,
    l2: str,
    vmm: str,
    quiet: bool,
    probes: tuple[str, ...],
    machine: VmOptions,
    tracing: TraceOptions,
) -> None:
    """Boot Linux at virtual EL2 and let its KVM start a Linux guest.

    Fetches the kernels on first use. Shows both consoles, line by line with the time in seconds,
    then what trapped to EL2 and how long each level took. With --smp L2 has as many CPUs as L1, and
    they work together on results that are known.

    \b
    Examples:
      vel2 demo
      vel2 demo --l1 7 --l2 6.1 --json result.json
      vel2 demo --vmm qemu               L2 is started by an unmodified QEMU
      vel2 demo --smp 4                  L1 and L2 with four CPUs each
      vel2 demo --deterministic          count instructions; every run is the same
      vel2 demo --depth 2                the same guests in vel2 in vel2
      vel2 demo --trace demo.trace       write each trap and switch into a file
      vel2 demo --native                 the same guests without vel2, to compare
    """  # noqa: D301
    if vmm == "qemu" and machine.memory_bytes < QEMU_L1_BYTES:
        raise UserError(
            f"--vmm qemu does not fit into {format_bytes(machine.memory_bytes)}: L1 holds QEMU, its"
            f" libraries and L2 in memory; give --memory {QEMU_L1_BYTES >> 20}M or more."
        )
    fetch_missing(["busybox", l1, l2])
    guest = Kernel(
        load_kernel(find_kernel(l1)),
        L1_INITRDS[vmm](load_kernel(find_kernel(l2)), " quiet" if quiet else "", machine.smp),
        f"{L1_BOOTARGS} job={L1_JOBS[vmm]}",
    )
    say(announcement(l1, l2, machine))
    request = tracing.request(machine.request(guest))
    made = run_of_request(request, machine)
    report = Report({"run": made})
    with closing(launch(request)) as session:
        added = add_probes(session, probes)
        kernels = {"L1": str(find_kernel(l1)), "L2": str(find_kernel(l2))}
        with tracing.tracing(session, made, kernels):
            ended = watch(session, report, machine)
        report.put_boot_times()
        judge_parallel(report, machine.smp)
        inner = inner_levels(session, machine.depth)
        show(report, session, inner, machine)
        name_addresses(session, added)
        show_probes(Terminal(machine.is_result_on_stdout), added)
        put_probes(report, added)
        conclude(context, report, session, ended, machine.json_file, expect_l2=True, inner=inner)


def announcement(l1: str, l2: str, machine: VmOptions) -> str:
    """Say what is going to run."""
    depth = machine.depth
    where = "the machine's real EL2" if machine.native else "virtual EL2"
    if depth > 1:
        where = f"virtual EL2 of the last of {depth} vel2s, one in the other,"
    return f"L{depth} ({l1}) boots at {where} and starts L{depth + 1} ({l2}); Ctrl-C ends it."


def small_l2(cpus: int) -> Initramfs:
    """Make L2's tree; with several CPUs they have work to do together."""
    from vel2.guests.parallel import build_parallel  # it brings in the compiler

    return l2_tree(parallel=build_parallel() if cpus > 1 else None)


def small_initrd(kernel: KernelImage, more_bootargs: str, cpus: int) -> bytes:
    """Pack L1's initramfs, with our VMM and L2 in it."""
    from vel2.guests.vmm import build_vmm  # it brings in the compiler

    bootargs = f"console=ttyS0 panic=-1{more_bootargs}"
    return l1_with_l2(
        build_vmm(), kernel.data, kernel.image_size, bootargs, small_l2(cpus), l2_cpus=cpus
    )


def qemu_initrd(kernel: KernelImage, more_bootargs: str, cpus: int) -> bytes:
    """Pack L1's initramfs, with QEMU and L2 in it; fetch QEMU on first use."""
    with progress_bars() as progress:
        root = fetch_qemu(progress)
    bootargs = f"console=ttyAMA0 panic=-1{more_bootargs}"
    l2 = small_l2(cpus).pack()
    return qemu_l1_tree(root, kernel.data, l2, l2_bootargs=bootargs, l2_cpus=cpus).pack()


L1_INITRDS = {"small": small_initrd, "qemu": qemu_initrd}
L1_JOBS = {"small": "l2", "qemu": "qemu"}


def watch(session: Session, report: Report, machine: VmOptions) -> MachineExit:
    """Run the machine to its end, showing the consoles of both levels.

    :raises BrokenPipeError: when the reader of our output has left.
    """
    report.start_clock()
    lines = LabelledLines(report.began, session.stop, machine.is_result_on_stdout, machine.depth)
    session.console.on_line(report.take)
    session.console.on_line(lines)
    with session:
        ended = session.wait(machine.timeout)
    if lines.broken:
        raise BrokenPipeError
    return ended


def judge_parallel(report: Report, cpus: int) -> None:
    """Compare what L2's CPUs came to together with what the host computes."""
    found = report.get("l2")
    if cpus == 1 or not isinstance(found, dict) or found.get("userspace") is not True:
        return
    from vel2.guests.parallel import differences

    wrong = differences(cpus, found)
    report.put("l2.parallel", not wrong)
    if wrong:
        say(f"the CPUs of L2 did not work together: {'; '.join(wrong)}.")
    else:
        turns, counts = (f"{found[f'parallel_{name}']:,}" for name in ("pipe", "atomic"))
        say(
            f"L2's {cpus} CPUs worked together: the sum is right, a token went on {turns} times by"
            f" pipe and by futex, {counts} atomic and locked additions, no stale translation."
        )


def show(report: Report, session: Session, inner: Sequence[Inner], machine: VmOptions) -> None:
    """Print what the run showed."""
    terminal = Terminal(machine.is_result_on_stdout)
    terminal.print()
    print_guests(terminal, report, machine.deterministic, machine.depth)
    if traps := session.traps():
        terminal.print()
        print_traps(terminal, traps, session.sysreg_traps(), "EL2 of L0" if inner else "EL2")
    for each in inner:
        terminal.print()
        print_traps(terminal, each.traps, each.by_sysreg, f"EL2 of {each.level}")
    terminal.print()
