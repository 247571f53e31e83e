"""`vel2 pack`: vel2 and a guest in one file that any boot loader starts."""

import shlex
from pathlib import Path

import click

from vel2.arch.nesting import Kind, Level
from vel2.cli.hints import check_without_vhe
from vel2.cli.kernels import KERNEL, fetch_missing
from vel2.cli.options import (
    SIZE,
    append_option,
    check_supported,
    depth_option,
    el2_option,
    initrd_option,
    nv_option,
    smp_option,
)
from vel2.cli.report import explained, require_writable
from vel2.control.initrd import kernel_guest
from vel2.control.request import cpu_for
from vel2.machine.config import MachineConfig, kernel_command
from vel2.machine.dtb import qemu_device_tree
from vel2.machine.loader import load_kernel
from vel2.machine.memory import format_bytes

__all__ = ("pack",)

WHAT = "the packed file"


@click.command()
@click.option(
    "--kernel", type=KERNEL, required=True, help="A file, or a fetched kernel's or Xen's name."
)
@initrd_option
@append_option
@click.option(
    "--memory",
    type=SIZE,
    default="2G",
    show_default=True,
    help="The machine's memory, of which vel2 takes its part.",
)
@smp_option
@el2_option
@nv_option
@depth_option
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def pack(
    kernel: Path,
    initrd: str | None,
    append: str,
    memory: int,
    smp: int,
    el2: str,
    nv: str,
    depth: int,
    file: Path,
) -> None:
    """Write vel2 and a kernel at its virtual EL2 to FILE, which any boot loader can start.

    FILE is an arm64 Image. It needs neither Python nor vel2 where it runs: QEMU's virt board starts
    it by the command that is printed. The guest gets memory, the GIC, timers and the UART, but no
    device with DMA: nobody checks what devices that machine has.

    \b
    Examples:
      vel2 pack --kernel 6.12 vel2.img           a shell in L1, which can start L2
      vel2 pack --kernel ./Image --initrd root.cpio vel2.img
      vel2 pack --kernel 6.12 --depth 2 vel2.img
    """  # noqa: D301
    from vel2.pack.file import Packing  # it brings in the compiler
    from vel2.pack.file import pack as pack_guest
    from vel2.pack.nested import nest

    check_supported("--nv", nv)
    require_writable(file, WHAT)
    kind, level = Kind(el2), Level(nv)
    image = load_kernel(kernel)
    check_without_vhe(image, kind, level)
    guest = kernel_guest(kernel, image, initrd, append, fetch_missing, cpus=smp)
    config = MachineConfig(memory, cpu_for(image, kind, level), smp)
    packing = nest(Packing(guest, memory, kind, level, smp), depth)
    packed = pack_guest(qemu_device_tree(config), packing)
    with explained(file, WHAT):
        file.write_bytes(packed.data)
    click.echo(
        f"{file}: {format_bytes(len(packed.data))}, gives L1"
        f" {format_bytes(packed.orders.l1_bytes)} of memory; start it with\n"
        f"  {shlex.join(kernel_command(config, file))}"
    )
