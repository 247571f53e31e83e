"""Ask the processor itself: boot eight instructions at EL2 and read what they found.

A QEMU that knows FEAT_NV2 may still be told not to have it (a cpu model, a wrapper around the
binary), so its version alone does not answer. The code below runs where L0 would.
"""

import struct
from dataclasses import dataclass

from vel2.errors import LaunchError
from vel2.machine.memory import RAM_BASE, GuestMemory
from vel2.machine.outcome import ExitReason
from vel2.machine.qemu import Machine, MachineConfig

__all__ = ("Processor", "probe_el2")

MIB = 1 << 20
TIMEOUT_S = 60
# QEMU puts its device tree at the start of RAM.
CODE = RAM_BASE + 2 * MIB
ANSWER = RAM_BASE + 3 * MIB
WORDS = (
    0xD2A80600,  # movz x0, #0x4030, lsl #16     ; ANSWER
    0xD5384241,  # mrs  x1, CurrentEL
    0xD5380742,  # mrs  x2, ID_AA64MMFR2_EL1
    0xA9000801,  # stp  x1, x2, [x0]
    0xD2B08000,  # movz x0, #0x8400, lsl #16
    0xF2800100,  # movk x0, #0x0008              ; PSCI SYSTEM_OFF
    0xD4000003,  # smc  #0
    0x14000000,  # b    .
)


@dataclass(frozen=True)
class Processor:
    """What the code saw.

    :ivar el: exception level it ran at.
    :ivar nv: ID_AA64MMFR2_EL1.NV; 2 is FEAT_NV2.
    """

    el: int
    nv: int


def probe_el2() -> Processor:
    """Boot the probe.

    :raises UserError: when QEMU is missing or too old.
    :raises LaunchError: when it does not start, or the code does not come to its end.
    """
    with GuestMemory(64 * MIB) as memory:
        memory.write(CODE, struct.pack(f"<{len(WORDS)}I", *WORDS))
        with Machine(MachineConfig(memory_bytes=memory.size, entry=CODE), memory) as machine:
            ended = machine.wait(TIMEOUT_S)
            if ended.reason is not ExitReason.SHUTDOWN:
                raise LaunchError(
                    f"a probe at EL2 did not end as it should: {ended}",
                    machine.command,
                    ended.exit_status,
                    machine.stderr,
                )
        current_el, mmfr2 = struct.unpack("<QQ", memory.read(ANSWER, 16))
    return Processor(el=current_el >> 2 & 3, nv=mmfr2 >> 24 & 0xF)
