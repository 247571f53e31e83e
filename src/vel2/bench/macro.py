"""Booting, making processes and using memory, in L1 and in L2: one run in one configuration.

What runs is Linux at both levels, with `program` as process 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from vel2.bench.campaign import Campaign, Result
from vel2.bench.configuration import Configuration
from vel2.bench.guest import L1Guest
from vel2.bench.macro_result import add_ratios, macro_column
from vel2.bench.parts import Part, measure_parts
from vel2.bench.program import PARTS, build_program
from vel2.guests.recipes import base_tree, l1_tree
from vel2.guests.vmm import build_vmm
from vel2.machine.loader import KernelImage

__all__ = ("MacroRequest", "compare_macros", "macro_guest", "measure_macro")

BOOTARGS = "quiet panic=-1 cryptomgr.notests=1"
"""The self-tests of the crypto library would run beside what is measured."""
SMALL_PAGES = " transparent_hugepage=never"
KVM_MAJOR, KVM_MINOR, MEM_MAJOR, MEM_MINOR = 10, 232, 1, 1


@dataclass(frozen=True)
class MacroRequest:
    """What to run, and how.

    :ivar n: workloads are done in proportion to it.
    :ivar huge_pages: leave L1's policy of huge pages alone. Otherwise L1 gives L2 its memory in
        pages of 4 KiB, so that every page that L2 touches first is a stage-2 fault.
    :ivar cpus: how many L1 has, and L2.
    :ivar timeout: seconds of host time for the whole run.
    """

    configuration: Configuration
    l1_kernel: KernelImage
    l2_kernel: KernelImage
    n: int
    huge_pages: bool = False
    cpus: int = 1
    deterministic: bool = True
    timeout: float = 600.0


def macro_guest(request: MacroRequest) -> L1Guest:
    """Give L1, with L2 in it."""
    program = build_program()
    l2 = base_tree("")
    l2.file("init", program, 0o755)
    l2.character_device("dev/mem", MEM_MAJOR, MEM_MINOR)
    l1 = l1_tree(
        build_vmm(),
        request.l2_kernel.data,
        l2.pack(),
        l2_image_bytes=request.l2_kernel.image_size,
        l2_bootargs=f"console=ttyS0 {BOOTARGS} -- {init_arguments(request, 2)}",
        l2_cpus=request.cpus,
    )
    l1.file("init", program, 0o755)
    l1.character_device("dev/kvm", KVM_MAJOR, KVM_MINOR)
    bootargs = f"console=ttyAMA0 {BOOTARGS}{'' if request.huge_pages else SMALL_PAGES}"
    arguments = init_arguments(request, 1)
    return L1Guest(request.l1_kernel, l1.pack(), bootargs, arguments, request.cpus)


def init_arguments(request: MacroRequest, level: int) -> str:
    """Give the command line of the program."""
    return f"{level} {request.n} {int(request.deterministic)} {request.cpus}"


def measure_macro(request: MacroRequest) -> dict[str, Part]:
    """Boot once; give the figures of each part, in the order of `PARTS`.

    :raises MeasureError: when the run did not get to its end.
    """
    guest = macro_guest(request)
    how = request.deterministic, request.timeout
    return measure_parts(request.configuration, guest, PARTS, *how, last_of_l1="l1.memory_again")


def compare_macros(
    campaign: Campaign, l2: str, l2_kernel: KernelImage, *, huge_pages: bool, cpus: int
) -> Result:
    """Run the macro benchmarks in each configuration.

    :param l2: the name of L2's kernel. :param cpus: how many L1 has, and L2.
    """

    def once(row: Configuration, counts: bool) -> Mapping[str, Part]:
        return measure_macro(
            MacroRequest(
                row,
                campaign.kernel,
                l2_kernel,
                campaign.count,
                huge_pages=huge_pages,
                cpus=cpus,
                deterministic=counts,
                timeout=campaign.timeout,
            )
        )

    result = campaign.result(
        campaign.measure(once),
        macro_column,
        l2=l2,
        l2_kernel=l2_kernel.version,
        huge_pages=huge_pages,
        smp=cpus,
    )
    add_ratios(result.tree["configurations"], campaign.rows)
    return result
