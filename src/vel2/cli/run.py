"""`vel2 run`: boot one kernel, or firmware, at virtual EL2."""

import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import click

from vel2.cli.domains import DOMAIN
from vel2.cli.ending import conclude
from vel2.cli.hints import KvmMode, Silence, check_without_vhe, domains_hint
from vel2.cli.kernels import FIRMWARE, KERNEL, fetch_missing
from vel2.cli.levels import inner_levels
from vel2.cli.options import (
    ADDRESS,
    DISK,
    PATTERN,
    VmOptions,
    append_option,
    initrd_option,
    vm_options,
)
from vel2.cli.probing import add_probes, name_addresses, probe_option, put_probes, show_probes
from vel2.cli.provenance import run_of_request
from vel2.cli.report import Report, print_locks, print_traps
from vel2.cli.streams import SCREEN, fresh_line, say
from vel2.cli.terminal import Terminal
from vel2.cli.tracing import TraceOptions, trace_options
from vel2.control.guest import Firmware, Guest, Raw
from vel2.control.initrd import kernel_guest
from vel2.control.launch import launch
from vel2.control.session import Session
from vel2.errors import LaunchError, UserError
from vel2.machine.console import ConsoleClosed
from vel2.machine.devices import Disk
from vel2.machine.domains import Domain
from vel2.machine.loader import KernelImage, check_firmware, load_kernel
from vel2.machine.outcome import ExitReason, MachineExit
from vel2.machine.raw import LoadedFile, RawImage
from vel2.machine.terminal import AtEof, Typing, interact

__all__ = ("run",)

STDIN, STDOUT, STDERR = 0, 1, 2


@click.command()
@click.option("--kernel", type=KERNEL, help="A file, or a fetched kernel's or hypervisor's name.")
@click.option(
    "--firmware", type=FIRMWARE, help="Instead of --kernel: a file for the flash, or a name."
)
@click.option(
    "--load",
    "loads",
    multiple=True,
    metavar="FILE@ADDRESS",
    help="Instead of --kernel: a file as it is, at a physical address; may be repeated.",
)
@click.option(
    "--entry",
    type=ADDRESS,
    metavar="ADDRESS",
    help="Where what --load brings is entered; x0 is the device tree's address.",
)
@initrd_option
@append_option
@click.option(
    "--domain",
    "domains",
    type=DOMAIN,
    multiple=True,
    metavar="NAME,KEY=VALUE,...",
    help="A domain that Xen starts: kernel=, ramdisk=, append=, memory=, cpus=.",
)
@click.option(
    "--disk",
    "disks",
    type=DISK,
    multiple=True,
    metavar="FILE[,rw]",
    help="A disk (virtio), raw or qcow2; what the guest writes is kept with ,rw only.",
)
@click.option("--net", type=click.Choice(["user"]), help="A network (virtio): QEMU's own.")
@click.option(
    "--until",
    type=PATTERN,
    metavar="REGEX",
    help="End the machine, and well, once its console has text that matches.",
)
@click.option(
    "--on-eof",
    type=click.Choice([at.value for at in AtEof]),
    default=AtEof.IGNORE.value,
    show_default=True,
    help="When standard input, no terminal, ends: nothing; end the machine; send Ctrl-D.",
)
@click.option(
    "--type-after",
    type=PATTERN,
    metavar="REGEX",
    help="Send standard input, no terminal, once the console has text that matches.",
)
@click.option("--traps", is_flag=True, help="Say in the end what trapped to EL2.")
@probe_option
@vm_options(default_timeout=None)
@trace_options
@click.argument("qemu_arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- QEMU-ARGS]...")
@click.pass_context
def run(
    context: click.Context,
    kernel: Path | None,
    firmware: Path | None,
    loads: tuple[str, ...],
    entry: int | None,
    initrd: str | None,
    append: str,
    domains: tuple[Domain, ...],
    disks: tuple[Disk, ...],
    net: str | None,
    until: re.Pattern[str] | None,
    on_eof: str,
    type_after: re.Pattern[str] | None,
    traps: bool,
    probes: tuple[str, ...],
    machine: VmOptions,
    tracing: TraceOptions,
    qemu_arguments: tuple[str, ...],
) -> None:
    """Boot a kernel, firmware or a raw binary at virtual EL2, its console on this terminal.

    What follows -- goes to QEMU as it is; a device that could reach past L1's memory is refused.

    Each --domain is one that Xen starts when it boots: dom0, and others with memory= of their own.
    Two commas stand for one within a value.

    Firmware sees L1's devices but no fw_cfg, by which QEMU could be told to write anywhere.

    \b
    Examples:
      vel2 run --kernel 6.12                   a shell in L1, which can start L2
      vel2 run --kernel 6.12 --initrd root.cpio --append console=ttyAMA0
      vel2 run --kernel ./Image --memory 512M --timeout 60 --json result.json
      vel2 run --kernel 6.12 --native          the same machine without vel2
      vel2 run --kernel 6.12 --trace l1.trace --only sysreg:HCR_EL2
      vel2 run --kernel 6.12 --report run.html  a page about what trapped
      vel2 run --el2 nvhe --kernel xen-4.20 --append dom0_mem=512M \\
        --domain dom0,kernel=6.12,ramdisk=root.cpio,append=console=hvc0
      vel2 run --firmware u-boot --disk disk.img --net user
      vel2 run --load hypervisor.bin@0x40080000 --entry 0x40080000
    """  # noqa: D301
    check_qemu_arguments(qemu_arguments)
    check_one_guest(kernel, firmware, loads, entry)
    guest: Guest
    if kernel is not None:
        guest = guest_of(kernel, initrd, append, disks, domains, machine)
    elif firmware is not None:
        check_firmware(firmware)
        refuse_kernels_own("firmware finds its own", initrd, domains, append)
        guest = Firmware(firmware)
    else:
        assert entry is not None
        refuse_kernels_own("other files go into memory by --load", initrd, domains)
        guest = raw_guest(loads, entry, append, machine)
    request = tracing.request(
        machine.request(guest, disks=disks, net=net, qemu_arguments=qemu_arguments)
    )
    made = run_of_request(request, machine)
    report = Report({"run": made})
    with blaming(qemu_arguments), closing(launch(request)) as session:
        added = add_probes(session, probes)
        session.console.on_line(report.take)
        if not machine.native:
            session.console.on_line(KvmMode(append))
        if until is not None:
            stop_at(session, until)
        # What `l2` in the small system starts is the same kernel.
        kernels = {} if kernel is None else dict.fromkeys(("L1", "L2"), str(kernel))
        with tracing.tracing(session, made, kernels):
            ended = attend(session, machine, Typing(AtEof(on_eof), type_after))
        inner = inner_levels(session, machine.depth)
        if traps and session.traps():
            fresh_line()
            print_traps(Terminal(to_stderr=True), session.traps(), session.sysreg_traps())
            print_locks(Terminal(to_stderr=True), session.locks())
        name_addresses(session, added)
        if added:
            fresh_line()
            show_probes(Terminal(to_stderr=True), added)
        put_probes(report, added)
        conclude(context, report, session, ended, machine.json_file, inner=inner)


def check_one_guest(
    kernel: Path | None, firmware: Path | None, loads: Sequence[str], entry: int | None
) -> None:
    """Require one thing to boot.

    :raises UserError: when there is none, or several.
    """
    if [kernel, firmware, entry].count(None) != 2 or (entry is None) != (not loads):
        raise UserError(
            "what to boot is a --kernel, a --firmware, or files by --load with an --entry; give"
            " one of them."
        )


def raw_guest(loads: Sequence[str], entry: int, append: str, machine: VmOptions) -> Raw:
    """Make a guest of files as they are.

    :raises UserError: when one cannot be had, or does not fit.
    """
    raw = RawImage(tuple(LoadedFile.read(text) for text in loads), entry)
    raw.check(machine.memory_bytes)
    return Raw(raw, append)


def check_qemu_arguments(arguments: Sequence[str]) -> None:
    """Refuse what is no option of QEMU's: more likely it is one of ours, misspelt.

    :raises UserError: naming it.
    """
    if arguments and not arguments[0].startswith("-"):
        raise UserError(
            f"{arguments[0]!r} belongs to no option; what comes after -- is for QEMU, and begins"
            " with an option of QEMU's."
        )


def guest_of(
    kernel: Path,
    initrd: str | None,
    append: str,
    disks: Sequence[Disk],
    domains: tuple[Domain, ...],
    machine: VmOptions,
) -> Guest:
    """Make a guest of a kernel.

    :raises UserError: when it is sure to hang, or cannot be had.
    """
    image = load_kernel(kernel)
    check_kernel(image, domains, machine)
    return kernel_guest(
        kernel,
        image,
        initrd,
        append,
        fetch_missing,
        disks=disks,
        domains=domains,
        cpus=machine.smp,
    )


def check_kernel(image: KernelImage, domains: Sequence[Domain], machine: VmOptions) -> None:
    """Refuse a kernel that is sure to hang, and say what is odd about the others.

    :raises UserError: naming the option that helps.
    """
    if not machine.native:
        check_without_vhe(image, machine.el2, machine.nv)
    if hint := domains_hint(image, domains):
        say(hint)


def refuse_kernels_own(
    why: str, initrd: str | None, domains: Sequence[Domain], append: str = ""
) -> None:
    """Refuse with another guest what only a kernel can be given.

    :param why: what becomes of it there.
    :raises UserError: naming it.
    """
    for option, given in (("--initrd", initrd), ("--append", append), ("--domain", domains)):
        if given:
            raise UserError(f"{option} is for a kernel; {why}: leave it out, or give a --kernel.")


def stop_at(session: Session, pattern: re.Pattern[str]) -> None:
    """Have the machine stopped when its console says something, a prompt too: no line need end."""

    def attend_console() -> None:
        with suppress(ConsoleClosed):  # it ended without that
            session.console.wait_for(pattern, threading.TIMEOUT_MAX)
            session.stop()

    threading.Thread(target=attend_console, name="vel2-until", daemon=True).start()


@contextmanager
def blaming(qemu_arguments: Sequence[str]) -> Iterator[None]:
    """Say what QEMU has against the user's own arguments, without its whole command line.

    :raises UserError: when QEMU did not start with them.
    """
    try:
        yield
    except LaunchError as error:
        if not qemu_arguments or os.environ.get("VEL2_DEBUG"):
            raise
        if error.exit_status == 0:
            raise UserError(
                "QEMU made no machine of what follows --, but ended; ask for help, lists and"
                " versions of qemu-system-aarch64 itself."
            ) from error
        said = error.complaint or error.summary
        raise UserError(f"QEMU refuses what follows --: {said}.") from error


def attend(session: Session, machine: VmOptions, typing: Typing) -> MachineExit:
    """Run the machine with its console on our terminal, until it ends or the user leaves."""
    silence = Silence(session)
    output = STDERR if machine.is_result_on_stdout else STDOUT
    if os.isatty(STDIN):
        say("Ctrl-A X ends the machine; Ctrl-A H shows the keys.")
    with session:
        limit = threading.Timer(machine.timeout or 0, session.stop, [ExitReason.TIMEOUT])
        if machine.timeout is not None:
            limit.start()
        silence.start()
        try:
            if interact(session.console, STDIN, output, typing=typing, screen=SCREEN):
                session.stop()
            return session.wait()
        finally:
            silence.end()
            limit.cancel()
