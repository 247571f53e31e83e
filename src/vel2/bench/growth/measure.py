"""Measure how an exit's cost grows with guests, memory, interrupts, vCPUs, and vel2s in vel2."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vel2.bench.campaign import Campaign, Result
from vel2.bench.configuration import Configuration
from vel2.bench.growth.guest import build_growth_guest
from vel2.bench.growth.points import CURVES, DEPTH_POINTS, NAMES, POINTS, VCPUS_POINTS, Point
from vel2.bench.growth.program import GUEST_PATH, build_growth_program
from vel2.bench.guest import L1Guest
from vel2.bench.layout import MAX_COUNT
from vel2.bench.macro_result import add_ratios, macro_column
from vel2.bench.measure import MicroRequest, measure
from vel2.bench.parts import Part, measure_parts
from vel2.bench.payload import FEWEST, build_payload
from vel2.control.locks import LockTime
from vel2.guests.recipes import base_tree
from vel2.machine.loader import KernelImage

__all__ = ("GrowthRequest", "compare_growth", "curves_tree", "measure_growth")

BOOTARGS = "console=ttyAMA0 quiet panic=-1 cryptomgr.notests=1 transparent_hugepage=never"
KVM_MAJOR, KVM_MINOR = 10, 232


@dataclass(frozen=True)
class GrowthRequest:
    """What to run, and how.

    :ivar n: how many exits are measured at each point.
    :ivar timeout: seconds of host time for each boot.
    :ivar depth: how many vel2s there are at most in the curve over depth; it needs two.
    """

    configuration: Configuration
    kernel: KernelImage
    n: int
    deterministic: bool = True
    timeout: float = 600.0
    depth: int = 1


def growth_guest(request: GrowthRequest) -> L1Guest:
    """Give L1 with the small guests in it."""
    tree = base_tree("")
    tree.file("init", build_growth_program(), 0o755)
    tree.file(GUEST_PATH, build_growth_guest())
    tree.character_device("dev/kvm", KVM_MAJOR, KVM_MINOR)
    arguments = f"{request.n} {int(request.deterministic)}"
    return L1Guest(request.kernel, tree.pack(), BOOTARGS, arguments)


def measure_growth(request: GrowthRequest) -> dict[str, Part]:
    """Boot once, and once for each number of vCPUs and vel2s; give each point's figures by name.

    :raises MeasureError: when the run did not get to its end.
    """
    guest = growth_guest(request)
    how = request.deterministic, request.timeout
    parts = measure_parts(request.configuration, guest, NAMES, *how)
    parts |= {point.name: measure_hypercall(request, vcpus=point.x) for point in VCPUS_POINTS}
    depths = depth_points(request.depth) if request.configuration.nv is not None else ()
    return parts | {point.name: measure_hypercall(request, depth=point.x) for point in depths}


def depth_points(depth: int) -> tuple[Point, ...]:
    """Give the points of the curve over depth; there is none with one vel2 only."""
    return tuple(point for point in DEPTH_POINTS if point.x <= depth) if depth > 1 else ()


def measure_hypercall(request: GrowthRequest, vcpus: int = 1, depth: int = 1) -> Part:
    """Boot with so many vCPUs and vel2s; give what a hypercall costs when all make them.

    :raises MeasureError: when the run did not get to its end.
    """
    name = "hypercall" if vcpus == 1 else "hypercall_all"
    row = replace(request.configuration, depth=depth)
    count = min(request.n, MAX_COUNT)
    payload = build_payload(max(FEWEST, count), [name], request.deterministic, vcpus=vcpus)
    locks: list[LockTime] = []
    found = measure(
        MicroRequest(
            row,
            request.kernel,
            payload,
            request.deterministic,
            request.timeout,
            at_end=lambda session: locks.extend(session.locks()),
        )
    )[name]
    return Part(found.count, found.ticks, found.traps, found.l1_exits, tuple(locks))


def compare_growth(campaign: Campaign, depth: int = 1) -> Result:
    """Measure the curves in each configuration.

    :param depth: where the curve over depth ends.
    """

    def once(row: Configuration, counts: bool) -> Mapping[str, Part]:
        return measure_growth(
            GrowthRequest(row, campaign.kernel, campaign.count, counts, campaign.timeout, depth)
        )

    found = campaign.measure(once)
    result = campaign.result(found, macro_column, curves=curves_tree(depth))
    add_ratios(result.tree["configurations"], campaign.rows)
    return result


def curves_tree(depth: int = 1) -> dict[str, Any]:
    """Say for JSON what the curves are; a point's figures are those of its operation."""
    points = (*POINTS, *VCPUS_POINTS, *depth_points(depth))
    return {
        curve.name: {
            "grows": curve.grows,
            "costs": curve.costs,
            "points": [
                {"x": point.x, "operation": point.name} for point in points if point.curve is curve
            ],
        }
        for curve in CURVES
        if any(point.curve is curve for point in points)
    }
