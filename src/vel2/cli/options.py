"""Options that `run` and `demo` share, and the values they may have."""

import inspect
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from vel2.arch.nesting import Kind, Level
from vel2.cli.report import require_writable
from vel2.control.guest import Guest
from vel2.control.request import Request
from vel2.errors import UserError
from vel2.hyp.layout import MAX_PCPUS
from vel2.machine.devices import Disk, device_arguments
from vel2.machine.memory import format_bytes, parse_size
from vel2.machine.raw import parse_address

__all__ = (
    "ADDRESS",
    "DISK",
    "PATTERN",
    "SECONDS",
    "SIZE",
    "VmOptions",
    "append_option",
    "check_supported",
    "depth_option",
    "el2_option",
    "gathered",
    "initrd_option",
    "json_option",
    "nv_option",
    "parse_size",
    "smp_option",
    "timeout_option",
    "vm_options",
)

Command = TypeVar("Command", bound=Callable[..., object])

MAX_DEPTH = 8
SECONDS_MAX = 1e8
"""Three years."""

# What the design knows and this version does not do yet: value -> what it means.
PLANNED = {
    "--nv": {"none": "Armv8.0 without FEAT_NV"},
}


class SizeType(click.ParamType[int]):
    """A size in bytes, given as `2G` or `512M`."""

    name = "size"

    def convert(
        self, value: str | int, param: click.Parameter | None, context: click.Context | None
    ) -> int:
        """Read the size; a bad one is a usage error of this option."""
        try:
            return value if isinstance(value, int) else parse_size(value)
        except UserError as error:
            self.fail(str(error), param, context)


SIZE = SizeType()


class AddressType(click.ParamType[int]):
    """A physical address."""

    name = "address"

    def convert(
        self, value: str | int, param: click.Parameter | None, context: click.Context | None
    ) -> int:
        """Read it; a bad one is a usage error of this option."""
        try:
            return value if isinstance(value, int) else parse_address(value)
        except UserError as error:
            self.fail(str(error), param, context)


ADDRESS = AddressType()


class SecondsType(click.FloatRange):
    """A time limit: a number of seconds that is one, and that a timer can wait for."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> float:
        """Read the number; one that is none, or endless, is a usage error of this option."""
        seconds = super().convert(value, param, context)
        if not seconds <= SECONDS_MAX:
            self.fail(f"{value} is no number of seconds up to {SECONDS_MAX:g}.", param, context)
        return seconds


SECONDS = SecondsType()


class PatternType(click.ParamType[re.Pattern[str]]):
    """A regular expression, in which ^ and $ match at lines."""

    name = "regex"

    def convert(
        self,
        value: str | re.Pattern[str],
        param: click.Parameter | None,
        context: click.Context | None,
    ) -> re.Pattern[str]:
        """Compile it; a bad one is a usage error of this option."""
        try:
            return re.compile(value, re.MULTILINE)
        except re.error as error:
            self.fail(f"{value!r} is no regular expression: {error}.", param, context)


PATTERN = PatternType()


class DiskType(click.ParamType[Disk]):
    """A disk's file, as `FILE` or `FILE,rw`."""

    name = "disk"

    def convert(
        self, value: str | Disk, param: click.Parameter | None, context: click.Context | None
    ) -> Disk:
        """Read it, and look at the file: packing a guest takes longer."""
        disk = value if isinstance(value, Disk) else Disk.parse(value)
        device_arguments([disk], None)
        return disk


DISK = DiskType()


def check_supported(option: str, value: str) -> None:
    """Refuse a value that is planned and not done.

    :raises UserError: naming the value, what it means and what works.
    """
    planned = PLANNED[option]
    if value in planned:
        works = {"--nv": "nv2"}[option]
        raise UserError(
            f"{option} {value} ({planned[value]}) is not supported yet;"
            f" leave {option} out, or give {option} {works}."
        )


def check_memory(memory_bytes: int) -> None:
    """Refuse a machine that is larger than the one below it.

    :raises UserError: naming both sizes.
    """
    host_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if memory_bytes > host_bytes:
        raise UserError(
            f"--memory {format_bytes(memory_bytes)} is more than this machine has"
            f" ({format_bytes(host_bytes)}); give less."
        )


def check_native(context: click.Context) -> None:
    """Refuse to choose a virtual EL2 where there is none.

    :raises UserError: naming the option.
    """
    if not context.params.get("native"):
        return
    for option in ("el2", "nv", "no_ahead", "recursion", "depth"):
        if context.get_parameter_source(option) is ParameterSource.COMMANDLINE:
            raise UserError(
                f"--{option.replace('_', '-')} is about virtual EL2, and with --native there is"
                " none; leave one of them out."
            )


@dataclass(frozen=True)
class VmOptions:
    """What the command line says about the machine, checked.

    :ivar depth: how many vel2s there are, one in the other.
    :ivar timeout: seconds until the machine is ended; None for none.
    :ivar json_file: where the result goes; `-` is standard output.
    """

    memory_bytes: int
    smp: int
    el2: Kind
    nv: Level
    deterministic: bool
    native: bool
    ahead: bool
    recursion: bool
    depth: int
    timeout: float | None
    json_file: Path | None

    @property
    def is_result_on_stdout(self) -> bool:
        """Whether standard output is for the result, and all else goes to standard error."""
        return str(self.json_file) == "-"

    def request(
        self,
        guest: Guest,
        *,
        disks: tuple[Disk, ...] = (),
        net: str | None = None,
        qemu_arguments: tuple[str, ...] = (),
    ) -> Request:
        """Describe a run of a guest on this machine.

        :raises UserError: when it cannot have the devices.
        """
        request = Request(
            guest,
            self.memory_bytes,
            smp=self.smp,
            el2=self.el2,
            nv=self.nv,
            native=self.native,
            deterministic=self.deterministic,
            disks=disks,
            net=net,
            ahead=self.ahead,
            recursion=self.recursion,
            qemu_arguments=qemu_arguments,
        )
        if self.depth == 1:
            return request
        from vel2.pack.nested import nest  # it brings in the compiler

        # What the kernel cannot take of a CPU is known while it is the guest.
        return nest(replace(request, cpu=request.cpu_of_guest), self.depth)


def read_vm_options(
    *,
    memory: int,
    smp: int,
    el2: str,
    nv: str,
    deterministic: bool,
    native: bool,
    no_ahead: bool,
    recursion: bool,
    depth: int,
    timeout: float | None,
    json_file: Path | None,
) -> VmOptions:
    """Check the values of the options of `vm_options`, which have these names.

    :raises UserError: when they cannot be had, or contradict each other.
    """
    check_supported("--nv", nv)
    check_native(click.get_current_context())
    check_memory(memory)
    require_writable(json_file, "the JSON result")
    return VmOptions(
        memory_bytes=memory,
        smp=smp,
        el2=Kind(el2),
        nv=Level(nv),
        deterministic=deterministic,
        native=native,
        ahead=not no_ahead,
        recursion=recursion,
        depth=depth,
        timeout=timeout,
        json_file=json_file,
    )


smp_option = click.option(
    "--smp",
    type=click.IntRange(1, MAX_PCPUS),
    default=1,
    show_default=True,
    help="How many CPUs L1 has.",
)
depth_option = click.option(
    "--depth",
    type=click.IntRange(1, MAX_DEPTH),
    default=1,
    show_default=True,
    help="How many vel2s, one at the virtual EL2 of the other.",
)
el2_option = click.option(
    "--el2",
    type=click.Choice(["vhe", "nvhe"]),
    default="vhe",
    show_default=True,
    help="What virtual EL2 is like: with FEAT_VHE, or without.",
)
nv_option = click.option(
    "--nv",
    type=click.Choice(["nv2", "nv", "none"]),
    default="nv2",
    show_default=True,
    help="Hardware to use: FEAT_NV2 (Armv8.4), FEAT_NV alone (Armv8.3).",
)
initrd_option = click.option(
    "--initrd",
    metavar="FILE|shell|none",
    help="Its initrd. A fetched kernel without a root gets `shell`: a small system, with L2.",
)
append_option = click.option(
    "--append", default="", metavar="TEXT", help="The kernel's command line."
)
VM_OPTIONS = (
    click.option(
        "--memory",
        type=SIZE,
        default="2G",
        show_default=True,
        help="L1's memory, such as 512M or 2G.",
    ),
    smp_option,
    el2_option,
    nv_option,
    click.option(
        "--deterministic",
        is_flag=True,
        help="Count time in instructions: a run repeats bit for bit.",
    ),
    click.option(
        "--native",
        is_flag=True,
        help="Without vel2: boot at the machine's real EL2, to compare.",
    ),
    click.option(
        "--no-ahead",
        is_flag=True,
        help="Take every trap of L1 by itself, never several in one, to compare.",
    ),
    click.option(
        "--recursion",
        is_flag=True,
        help="Give L1 FEAT_NV, and FEAT_NV2 with --nv nv2: it can run guest hypervisors.",
    ),
    depth_option,
)


def timeout_option(default: float | None) -> Callable[[Command], Command]:
    """Add the time limit of a machine's run."""
    limit = f"{default:g} s" if default else "none"
    return click.option(
        "--timeout",
        type=SECONDS,
        default=default,
        metavar="SECONDS",
        help=f"End the machine after this time (default: {limit}).",
    )


def json_option(command: Command) -> Command:
    """Add the file that the result goes to."""
    option = click.option(
        "--json",
        "json_file",
        type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
        metavar="FILE",
        help="Write the result as JSON; `-` is standard output.",
    )
    return option(command)


def gathered(
    name: str, read: Callable[..., object], *options: Callable[[Any], Any]
) -> Callable[[Callable[..., object]], Any]:
    """Add options to a command, which gets what `read` makes of them all as one argument.

    :param name: that argument's. :param read: its parameters have the names of the options'; one
        that has a default needs no option.
    """
    parameters = inspect.signature(read).parameters

    def add(command: Callable[..., object]) -> Any:
        @wraps(command)
        def with_one(**given: Any) -> object:
            values = {each: given.pop(each) for each in parameters if each in given}
            return command(**{name: read(**values)}, **given)

        added: Any = with_one
        for option in reversed(options):
            added = option(added)
        return added

    return add


def vm_options(default_timeout: float | None) -> Callable[[Callable[..., object]], Any]:
    """Add the options of one machine's run to a command, which gets them as `machine`."""
    return gathered(
        "machine", read_vm_options, *VM_OPTIONS, timeout_option(default_timeout), json_option
    )
