"""NEVE's published figures for nested virtualization on Arm, to lay beside ours.

Lim, Dall, Li, Nieh, Zyngier: NEVE: Nested Virtualization Extensions for ARM, SOSP 2017, tables 1, 6
and 7: cycles and traps of the KVM of its day as L0 and L1, on Armv8.0 hardware. Instructions of
Armv8.3 and of NEVE (which became FEAT_NV2) are replaced there by ones that trap or access memory.
Cycles are not instructions: only traps, and the ratio to a VM that is not nested, can be compared.
None stands for what is not taken from there.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ("CITATION", "PUBLISHED", "Published")

CITATION = (
    "Lim, Dall, Li, Nieh, Zyngier: NEVE: Nested Virtualization Extensions for ARM, SOSP 2017,"
    " tables 1, 6 and 7"
)


@dataclass(frozen=True)
class Published:
    """One row.

    :ivar name: the paper's. :ivar operation: what is measured here that is most like it.
    :ivar vm_cycles: of a VM that is not nested. :ivar cycles: by our name of the configuration.
    :ivar traps: to L0, on average.
    """

    name: str
    operation: str
    vm_cycles: int
    cycles: Mapping[str, int]
    traps: Mapping[str, int]

    def ratio(self, configuration: str) -> float | None:
        """Give how many times the cycles of the VM the nested VM takes."""
        cycles = self.cycles.get(configuration)
        return None if cycles is None else cycles / self.vm_cycles


PUBLISHED = (
    Published(
        "Hypercall",
        "hypercall",
        2_729,
        {"nvhe-nv": 422_720, "vhe-nv": 307_363, "nvhe-nv2": 92_385, "vhe-nv2": 100_895},
        {"nvhe-nv": 126, "vhe-nv": 82, "nvhe-nv2": 15, "vhe-nv2": 15},
    ),
    Published("Device I/O", "gicd_read", 3_534, {"nvhe-nv2": 96_002, "vhe-nv2": 105_071}, {}),
    Published(
        "Virtual EOI",
        "eoi",
        71,
        {"nvhe-nv": 71, "vhe-nv": 71, "nvhe-nv2": 71, "vhe-nv2": 71},
        {"nvhe-nv": 0, "vhe-nv": 0, "nvhe-nv2": 0, "vhe-nv2": 0},
    ),
)
