"""Booting a guest: the library's way to the one launcher (`control.launch`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from vel2.arch.nesting import Kind, Level
from vel2.control.guest import Firmware, Guest, Kernel, Raw
from vel2.control.initrd import kernel_guest
from vel2.control.request import Request
from vel2.control.vm import Vm
from vel2.errors import UserError
from vel2.guests.kernels import fetch, list_guests
from vel2.guests.naming import find_guest
from vel2.inspect.vm import Machine
from vel2.machine.devices import Disk
from vel2.machine.loader import KernelImage, check_firmware, load_kernel
from vel2.machine.memory import parse_size
from vel2.machine.raw import LoadedFile, RawImage

__all__ = ("boot",)

T = TypeVar("T", Kind, Level)
Files = Sequence[tuple[int, bytes]]


def boot(
    kernel: str | Path | bytes | None = None,
    *,
    load: Files = (),
    entry: int | None = None,
    firmware: str | Path | None = None,
    initrd: str | Path | bytes | None = None,
    append: str = "",
    memory: str | int = "2G",
    cpus: int = 1,
    el2: str = "vhe",
    nv: str = "nv2",
    recursion: bool = False,
    disks: Sequence[str | Path] = (),
    net: str | None = None,
    deterministic: bool = False,
    ahead: bool = True,
    paused: bool = False,
    qemu_arguments: Sequence[str] = (),
) -> Machine:
    """Make a machine that runs a guest at virtual EL2; entered (`with`), it starts.

    :param kernel: a fetched kernel's or hypervisor's name, a file, or an Image's bytes.
    :param load: instead of a kernel: code and data as they are, each with its physical address;
        `entry` says where it begins.
    :param firmware: instead of a kernel: a name or a file for the flash.
    :param initrd: a file, its bytes, `shell` or `none`. A fetched kernel without a root gets
        `shell`: a small system in which `l2` starts a guest.
    :param memory: L1's: bytes, or `512M`, `2G`.
    :param el2: `vhe` or `nvhe`. :param nv: `nv2` or `nv`.
    :param recursion: L1 has FEAT_NV and FEAT_NV2 of its own.
    :param disks: files, each with `,rw` behind it if the guest's writes are to be kept.
    :param paused: stop at L1's first instruction.
    :param qemu_arguments: appended to QEMU's command line.
    :raises UserError: when the machine cannot be made of what was given.
    """
    kind, level = _choice(Kind, el2, "el2"), _choice(Level, nv, "nv")
    given = [kernel is not None, firmware is not None, bool(load)]
    if given.count(True) != 1 or bool(load) != (entry is not None):
        raise UserError(
            "what to boot is a kernel, a firmware, or load= with an entry=; give one of them."
        )
    used = tuple(Disk.parse(str(disk)) for disk in disks)
    guest: Guest
    if kernel is not None:
        path, image = _kernel(kernel)
        if isinstance(initrd, bytes):
            guest = Kernel(image, initrd, append)
        else:
            named = None if initrd is None else str(initrd)
            guest = kernel_guest(path, image, named, append, fetch_quietly, disks=used, cpus=cpus)
    elif firmware is not None:
        file = find_guest(str(firmware), "firmware", "firmware")
        check_firmware(file)
        guest = Firmware(file)
    else:
        assert entry is not None
        files = tuple(LoadedFile(f"load[{n}]", at, data) for n, (at, data) in enumerate(load))
        guest = Raw(RawImage(files, entry), append)
    request = Request(
        guest,
        parse_size(memory) if isinstance(memory, str) else memory,
        el2=kind,
        nv=level,
        recursion=recursion,
        smp=cpus,
        deterministic=deterministic,
        disks=used,
        net=net,
        doorbell=True,
        ahead=ahead,
        qemu_arguments=tuple(qemu_arguments),
    )
    return Machine(Vm(request), paused=paused)


def fetch_quietly(names: Sequence[str]) -> None:
    """Fetch guests that are not at hand."""
    at_hand = {guest.name for guest in list_guests() if guest.path}
    if missing := [name for name in names if name not in at_hand]:
        fetch(missing)


def _kernel(kernel: str | Path | bytes) -> tuple[Path | None, KernelImage]:
    if isinstance(kernel, bytes):
        return None, load_kernel(kernel)
    path = find_guest(str(kernel), "kernel", "kernel", "hypervisor")
    return path, load_kernel(path)


def _choice(choices: type[T], given: str, what: str) -> T:
    """Find a choice by name.

    :raises UserError: when it is none.
    """
    try:
        return choices(given)
    except ValueError:
        names = " or ".join(repr(each.value) for each in choices)
        raise UserError(f"{what}={given!r} is not known; give {names}.") from None
