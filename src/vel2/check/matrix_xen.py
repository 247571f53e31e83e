"""Xen in the guest matrix: its domains are L2."""

import re
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path

from vel2.check.matrix import VHE_NV2, Combination, Inapplicable, Recipe, Sign
from vel2.check.matrix_linux import MEMORY_BYTES, has_cpus
from vel2.control.guest import Kernel
from vel2.control.request import Request
from vel2.guests.apt import Progress
from vel2.guests.kernels import guest_path
from vel2.guests.recipes import l2_tree
from vel2.guests.xen_dom0 import XenTools, dom0_tree, fetch_xen_tools
from vel2.machine.domains import DOM0, Domain
from vel2.machine.loader import load_kernel

__all__ = ("XEN_RECIPES", "by_domain")

VERSIONS = ("4.17", "4.20")
KERNEL = "6.12"
DOM0_BYTES = 512 << 20
DOMU_BYTES = 192 << 20
DOMAIN_BOOTARGS = "console=hvc0 panic=-1 quiet job=none"
DOMAINS = ("domU1", "domU2")

AS_VHE: Mapping[Combination, Inapplicable] = {
    VHE_NV2: Inapplicable(
        "HCR_EL2.E2H is RES1 at VHE virtual EL2 with FEAT_NV2, and Xen needs it to be 0: it would"
        " hang before its first word; give --el2 nvhe or --nv nv"
    )
}


def xen_version(version: str) -> Sign:
    """Expect Xen's banner."""
    return Sign(rf"\(XEN\) Xen version {re.escape(version)}\..*", f"Xen {version} did not start")


def xen_with_dom0(version: str, dom0: Domain) -> Kernel:
    """Give Xen with a dom0."""
    image = load_kernel(guest_path(f"xen-{version}"))
    return Kernel(image, append=f"dom0_mem={DOM0_BYTES >> 20}M", domains=(dom0,))


# Xen with Linux as dom0, which has user space when Xen has given it interrupts, timers and devices.


def dom0_request(version: str, at: Combination, cpus: int, folder: Path) -> Request:
    """Say what to run for Xen with a dom0."""
    kernel = load_kernel(guest_path(KERNEL)).data
    dom0 = Domain(DOM0, kernel, DOMAIN_BOOTARGS, l2_tree().pack())
    return Request(
        xen_with_dom0(version, dom0),
        memory_bytes=MEMORY_BYTES,
        el2=at.el2,
        nv=at.nv,
        smp=cpus,
    )


def dom0_signs(version: str, at: Combination, cpus: int) -> tuple[Sign, ...]:
    """Give what Xen with a dom0 shows."""
    return (
        xen_version(version),
        Sign(r"##vel2 l2\.userspace=ok", "dom0 did not reach user space"),
        Sign(r"##vel2 l2\.el=EL1", "dom0 did not start at EL1"),
        has_cpus("l2", cpus),
        Sign(r"\(XEN\) Hardware Dom0 halted.*", "Xen did not see dom0 power off"),
    )


def dom0_recipe(version: str) -> Recipe:
    """Make the row of Xen with a dom0."""
    return Recipe(
        name=f"xen-{version}",
        summary=f"Xen {version}, Linux {KERNEL} as dom0",
        needs=(f"xen-{version}", KERNEL, "busybox"),
        make_request=partial(dom0_request, version),
        signs=partial(dom0_signs, version),
        inapplicable=AS_VHE,
    )


# The same with a dom0 that starts a domain by Xen's tools, which are of the same version.


@cache
def tools(version: str, progress: Progress | None = None) -> XenTools:
    """Fetch Xen's tools; apt is not asked again for each cell."""
    return fetch_xen_tools(version, progress)


def xl_request(version: str, at: Combination, cpus: int, folder: Path) -> Request:
    """Say what to run for Xen with a dom0 that starts a domain."""
    fetched = tools(version)
    tree = dom0_tree(
        fetched,
        load_kernel(guest_path(KERNEL)).data,
        l2_tree().pack(),
        domain_memory_bytes=DOMU_BYTES,
        domain_bootargs=DOMAIN_BOOTARGS,
        domain_cpus=cpus,
    )
    dom0 = Domain(DOM0, load_kernel(fetched.vmlinuz).data, DOMAIN_BOOTARGS, tree.pack())
    return Request(
        xen_with_dom0(version, dom0),
        memory_bytes=MEMORY_BYTES,
        el2=at.el2,
        nv=at.nv,
        smp=cpus,
    )


def xl_signs(version: str, at: Combination, cpus: int) -> tuple[Sign, ...]:
    """Give what it shows: the tools work, and the new domain ran."""
    return (
        xen_version(version),
        Sign(r"##vel2 dom0\.userspace=ok", "dom0 did not reach user space"),
        Sign(
            line=r"##vel2 dom0\.services_status=0",
            otherwise="Xen's services did not start",
            instead=r"##vel2 dom0\.services_status=(.*)",
        ),
        has_cpus("dom0", cpus),
        Sign(r"domU\| ##vel2 l2\.userspace=ok", "domU did not reach user space"),
        has_cpus("l2", cpus, "domU| "),
        Sign(
            line=r"##vel2 dom0\.xl_status=0",
            otherwise="xl did not end with status 0",
            instead=r"##vel2 dom0\.xl_status=(.*)",
        ),
        Sign(r"\(XEN\) Hardware Dom0 halted.*", "Xen did not see dom0 power off"),
    )


def xl_recipe(version: str) -> Recipe:
    """Make the row of Xen with a dom0 that starts a domain."""
    return Recipe(
        name=f"xen-{version}-xl",
        summary=f"Xen {version}, dom0 starts a Linux {KERNEL} domain by xl",
        needs=(f"xen-{version}", KERNEL, "busybox"),
        make_request=partial(xl_request, version),
        signs=partial(xl_signs, version),
        inapplicable=AS_VHE,
        fetch=partial(tools, version),
    )


# Xen without a dom0: two domains of the device tree, at the same time.


def by_domain(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate what two domains without a dom0 printed.

    Xen shows the first domain's output byte by byte, and whole marked lines of the second wherever
    the first has got to.
    """
    text = "\n".join(lines)
    second = re.findall(r"DOM2: (.*)", text)
    first = re.sub(r"DOM2: .*(\n\(XEN\) |\n|$)", "", text)
    return first.split("\n"), second


def told_apart(lines: Sequence[str]) -> list[str]:
    """Give Xen's own lines, then each domain's lines with its name before them."""
    first, second = by_domain(lines)
    said = [f"domU1: {line.removeprefix('(XEN) ')}" for line in first]
    return [*lines, *said, *(f"domU2: {line}" for line in second)]


def dom0less_request(version: str, at: Combination, cpus: int, folder: Path) -> Request:
    """Say what to run for Xen without a dom0."""
    kernel = load_kernel(guest_path(KERNEL)).data
    bootargs = "console=ttyAMA0 panic=-1 quiet job=none"
    ramdisk = l2_tree().pack()
    domains = tuple(Domain(name, kernel, bootargs, ramdisk, DOMU_BYTES, cpus) for name in DOMAINS)
    return Request(
        Kernel(load_kernel(guest_path(f"xen-{version}")), domains=domains),
        memory_bytes=MEMORY_BYTES,
        el2=at.el2,
        nv=at.nv,
        smp=cpus,
    )


def dom0less_signs(version: str, at: Combination, cpus: int) -> tuple[Sign, ...]:
    """Give what Xen without a dom0 shows: both domains begin and end."""
    marks = {
        r"l2\.userspace=ok": "did not reach user space",
        r"l2\.el=EL1": "did not start at EL1",
        rf"l2\.cpus={cpus}": f"has not {cpus} CPUs",
        r"l2\.end=.*": "did not come to its end",
    }
    return (
        xen_version(version),
        *(
            Sign(f"{name}: ##vel2 {mark}", f"{name} {otherwise}")
            for mark, otherwise in marks.items()
            for name in DOMAINS
        ),
    )


def dom0less_recipe(version: str) -> Recipe:
    """Make the row of Xen without a dom0; it goes on when its domains have ended."""
    return Recipe(
        name=f"xen-{version}-dom0less",
        summary=f"Xen {version}, two Linux {KERNEL} domains without dom0",
        needs=(f"xen-{version}", KERNEL, "busybox"),
        make_request=partial(dom0less_request, version),
        signs=partial(dom0less_signs, version),
        inapplicable=AS_VHE,
        powers_off=False,
        read=told_apart,
    )


XEN_RECIPES = (
    *(make(version) for version in VERSIONS for make in (dom0_recipe, xl_recipe)),
    dom0less_recipe(VERSIONS[-1]),
)
