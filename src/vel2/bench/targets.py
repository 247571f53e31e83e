"""What to compare with: vel2's own targets, and Linux KVM as L0.

Figures are instructions of all levels together for one operation of L2 under Linux 6.12's KVM as
L1, and traps to real EL2. KVM's were measured with Linux 7.3.4 as L0 on QEMU 10.0.2, and with
another payload that does the same. Its traps are those of the usual operation.
"""

from dataclasses import dataclass

__all__ = ("AIMS", "AT_LEAST", "AT_LEAST_FOR_L3", "KVM", "MUST", "PEER_OF", "Cost")


@dataclass(frozen=True)
class Cost:
    """Instructions, and traps where they are known."""

    instructions: int
    traps: int | None = None


Row = dict[str, Cost]

KVM: dict[str, Row] = {
    "vhe-nv2": {
        "null": Cost(4),
        "hypercall": Cost(46_080, 7),
        "hypercall_unknown": Cost(46_006, 7),
        "mmio_read": Cost(166_618, 35),
        "mmio_write": Cost(166_820, 35),
        "gicd_read": Cost(52_224, 8),
        "gicr_read": Cost(52_345, 8),
        "id_register": Cost(46_967, 7),
        "sctlr": Cost(6),
        "self_sgi": Cost(59_586, 8),
        "vtimer_program": Cost(9),
        "ptimer_program": Cost(9),
        "vtimer_interrupt": Cost(65_535),
        "wfi_timer": Cost(97_588),
        "tlbi": Cost(7),
        "stage2_fault": Cost(200_934, 24),
    },
    "nvhe-nv2": {
        "null": Cost(4),
        "hypercall": Cost(154_802, 25),
        "hypercall_unknown": Cost(154_558, 25),
        "mmio_read": Cost(285_905, 38),
        "mmio_write": Cost(286_113, 38),
        "gicd_read": Cost(160_907, 26),
        "gicr_read": Cost(160_444, 26),
        "id_register": Cost(156_511, 25),
        "sctlr": Cost(6),
        "self_sgi": Cost(173_349, 26),
        "vtimer_program": Cost(9),
        "ptimer_program": Cost(465_463),
        "vtimer_interrupt": Cost(184_094),
        "wfi_timer": Cost(250_705),
        "tlbi": Cost(7),
        "stage2_fault": Cost(549_922, 84),
    },
}

PEER_OF = {"vhe-nv2": "kvm-vhe", "nvhe-nv2": "kvm-nvhe"}
"""Which measurement of KVM as L0 a configuration of vel2 is compared with: the same kind of L1."""

AT_LEAST: dict[str, dict[str, int]] = {
    "vhe-nv2": {
        "hypercall": 12,
        "mmio_read": 12,
        "mmio_write": 12,
        "gicd_read": 10,
        "id_register": 12,
        "self_sgi": 10,
        "vtimer_interrupt": 10,
    },
    "nvhe-nv2": {
        "hypercall": 15,
        "mmio_read": 12,
        "mmio_write": 12,
        "gicd_read": 10,
        "id_register": 12,
        "self_sgi": 10,
        "vtimer_interrupt": 10,
    },
}
"""How many times the instructions of vel2 KVM as L0 must take in the same run."""

AT_LEAST_FOR_L3: dict[str, dict[str, int]] = {
    "vhe-nv2": {"hypercall": 10, "mmio_read": 10, "id_register": 10}
}
"""The same where L3 does the operation, a guest of L2's KVM."""

MUST: dict[str, Row] = {
    "vhe-nv2": {
        "hypercall": Cost(3_500, 4),
        "mmio_read": Cost(11_000, 18),
        "mmio_write": Cost(11_000, 18),
        "gicd_read": Cost(4_500, 5),
        "id_register": Cost(3_800, 4),
        "self_sgi": Cost(6_000, 6),
        "vtimer_interrupt": Cost(6_000),
        "stage2_fault": Cost(32_000),
    },
    "nvhe-nv2": {
        "hypercall": Cost(8_000, 16),
        "mmio_read": Cost(16_000, 28),
        "mmio_write": Cost(16_000, 28),
        "gicd_read": Cost(9_000, 17),
        "id_register": Cost(8_500, 16),
        "self_sgi": Cost(11_000, 18),
        "vtimer_interrupt": Cost(11_000),
        "stage2_fault": Cost(48_000),
    },
}

AIMS: dict[str, Row] = {
    "vhe-nv2": {
        "hypercall": Cost(2_000, 2),
        "mmio_read": Cost(8_000, 8),
        "mmio_write": Cost(8_000, 8),
        "gicd_read": Cost(2_800, 3),
        "id_register": Cost(2_400, 2),
        "self_sgi": Cost(3_800, 3),
        "vtimer_interrupt": Cost(3_800),
        "stage2_fault": Cost(24_000),
    },
}
