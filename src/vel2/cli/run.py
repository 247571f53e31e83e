"""`vel2 run`: boot one kernel at virtual EL2."""

import threading
from pathlib import Path

import click

from vel2.arch.homes import Kind, Level
from vel2.cli.ending import conclude
from vel2.cli.kernels import KERNEL
from vel2.cli.options import check_supported, vm_options
from vel2.cli.report import Report
from vel2.cli.session import Request, Session, make_session
from vel2.machine.loader import load_kernel, read_file
from vel2.machine.outcome import ExitReason, MachineExit
from vel2.machine.terminal import interact

__all__ = ("run",)

STDIN, STDOUT, STDERR = 0, 1, 2


@click.command()
@click.option("--kernel", type=KERNEL, required=True, help="A file, or a fetched kernel's name.")
@click.option("--initrd", type=click.Path(path_type=Path), help="Its initrd, a file.")
@click.option("--append", default="", metavar="TEXT", help="The kernel's command line.")
@vm_options(default_timeout=None)
@click.argument("qemu_arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- QEMU-ARGS]...")
@click.pass_context
def run(
    context: click.Context,
    kernel: Path,
    initrd: Path | None,
    append: str,
    memory: int,
    el2: str,
    nv: str,
    deterministic: bool,
    native: bool,
    timeout: float | None,
    json_file: Path | None,
    qemu_arguments: tuple[str, ...],
) -> None:
    r"""Boot a kernel at virtual EL2, its console on this terminal.

    What follows -- goes to QEMU as it is.

    \b
    Examples:
      vel2 run --kernel 6.12 --initrd root.cpio --append console=ttyAMA0
      vel2 run --kernel ./Image --memory 512M --timeout 60 --json result.json
      vel2 run --kernel 6.12 --native          the same machine without vel2
    """
    check_supported("--nv", nv)
    request = Request(
        kernel=load_kernel(kernel),
        initrd=read_file(initrd, "the initrd") if initrd else b"",
        append=append,
        memory_bytes=memory,
        el2=Kind(el2),
        nv=Level(nv),
        deterministic=deterministic,
        native=native,
        qemu_arguments=qemu_arguments,
    )
    report = Report()
    session = make_session(request)
    session.console.on_line(report.take)
    # Standard output may be for the result.
    ended = attend(session, timeout, STDERR if str(json_file) == "-" else STDOUT)
    conclude(context, report, session, ended, json_file)


def attend(session: Session, timeout: float | None, output: int) -> MachineExit:
    """Run the machine with its console on our terminal, until it ends or the user leaves.

    :param output: descriptor that the console is written to.
    """
    with session:
        limit = threading.Timer(timeout or 0, session.stop, [ExitReason.TIMEOUT])
        if timeout is not None:
            limit.start()
        try:
            if interact(session.console, STDIN, output):
                session.stop()
            return session.wait()
        finally:
            limit.cancel()
