"""`vel2 run`: boot one kernel, or firmware, at virtual EL2."""

import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from vel2.arch.nesting import Kind, Level
from vel2.cli.domains import DOMAIN
from vel2.cli.ending import conclude
from vel2.cli.hints import KvmMode, Silence, check_without_vhe, domains_hint
from vel2.cli.initrd import make_initrd, wants_shell, with_shell
from vel2.cli.kernels import FIRMWARE, KERNEL
from vel2.cli.options import PATTERN, check_memory, check_native, check_supported, vm_options
from vel2.cli.provenance import run_of_request
from vel2.cli.report import Report, print_traps, require_writable
from vel2.cli.session import Request, Session, make_session
from vel2.cli.terminal import Terminal
from vel2.errors import LaunchError, UserError
from vel2.machine.console import ConsoleClosed
from vel2.machine.devices import Disk, device_arguments
from vel2.machine.domains import Domain
from vel2.machine.loader import load_kernel
from vel2.machine.outcome import ExitReason, MachineExit
from vel2.machine.terminal import interact

__all__ = ("run",)

STDIN, STDOUT, STDERR = 0, 1, 2


@click.command()
@click.option("--kernel", type=KERNEL, help="A file, or a fetched kernel's or hypervisor's name.")
@click.option(
    "--firmware", type=FIRMWARE, help="Instead of --kernel: a file for the flash, or a name."
)
@click.option(
    "--initrd",
    metavar="FILE|shell|none",
    help="Its initrd. A fetched kernel without a root gets `shell`: a small system, with L2.",
)
@click.option("--append", default="", metavar="TEXT", help="The kernel's command line.")
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
@click.option("--traps", is_flag=True, help="Say in the end what trapped to EL2.")
@vm_options(default_timeout=None)
@click.argument("qemu_arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- QEMU-ARGS]...")
@click.pass_context
def run(
    context: click.Context,
    kernel: Path | None,
    firmware: Path | None,
    initrd: str | None,
    append: str,
    domains: tuple[Domain, ...],
    disks: tuple[str, ...],
    net: str | None,
    until: re.Pattern[str] | None,
    traps: bool,
    memory: int,
    el2: str,
    nv: str,
    deterministic: bool,
    native: bool,
    no_ahead: bool,
    timeout: float | None,
    json_file: Path | None,
    qemu_arguments: tuple[str, ...],
) -> None:
    """Boot a kernel or firmware at virtual EL2, its console on this terminal.

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
      vel2 run --el2 nvhe --kernel xen-4.20 --append dom0_mem=512M \\
        --domain dom0,kernel=6.12,ramdisk=root.cpio,append=console=hvc0
      vel2 run --firmware u-boot --disk disk.img --net user
    """  # noqa: D301
    check_supported("--nv", nv)
    check_native(context)
    check_memory(memory)
    require_writable(json_file, "the JSON result")
    if qemu_arguments and not qemu_arguments[0].startswith("-"):
        raise UserError(
            f"{qemu_arguments[0]!r} belongs to no option; what comes after -- is for QEMU, and"
            " begins with an option of QEMU's."
        )
    if (kernel is None) == (firmware is None):
        raise UserError("what to boot is a --kernel or a --firmware; give one of them.")
    if firmware is not None and (initrd or append or domains):
        raise UserError(
            "--initrd, --append and --domain are for a kernel; firmware finds its own: leave them"
            " out, or give a --kernel."
        )
    image = load_kernel(kernel) if kernel is not None else None
    if image is not None and not native:
        check_without_vhe(image, el2, nv)
    if image is not None and (hint := domains_hint(image, domains)):
        click.echo(f"vel2: {hint}", err=True)
    devices = device_arguments([Disk.parse(text) for text in disks], net)
    shell = wants_shell(kernel, initrd, append, disks)
    request = Request(
        kernel=image,
        initrd=make_initrd(image, initrd, shell),
        append=with_shell(append) if shell else append,
        memory_bytes=memory,
        el2=Kind(el2),
        nv=Level(nv),
        deterministic=deterministic,
        native=native,
        qemu_arguments=(*devices, *qemu_arguments),
        domains=domains,
        firmware=firmware,
        ahead=not no_ahead,
    )
    report = Report()
    report.tree["run"] = run_of_request(request)
    with blaming(qemu_arguments):
        session = make_session(request)
        session.console.on_line(report.take)
        if not native:
            session.console.on_line(KvmMode(append))
        if until is not None:
            stop_at(session, until)
        # Standard output may be for the result.
        ended = attend(session, timeout, STDERR if str(json_file) == "-" else STDOUT)
    if traps and session.traps():
        print_traps(Terminal(to_stderr=True), session.traps(), session.sysreg_traps())
    conclude(context, report, session, ended, json_file)


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


def attend(session: Session, timeout: float | None, output: int) -> MachineExit:
    """Run the machine with its console on our terminal, until it ends or the user leaves.

    :param output: descriptor that the console is written to.
    """
    silence = Silence(session)
    if os.isatty(STDIN):
        click.echo("vel2: Ctrl-A X ends the machine; Ctrl-A H shows the keys.", err=True)
    with session:
        limit = threading.Timer(timeout or 0, session.stop, [ExitReason.TIMEOUT])
        if timeout is not None:
            limit.start()
        silence.start()
        try:
            if interact(session.console, STDIN, output):
                session.stop()
            return session.wait()
        finally:
            silence.end()
            limit.cancel()
