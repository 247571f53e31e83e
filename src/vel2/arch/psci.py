"""PSCI and SMCCC: function identifiers, answers and arguments (DEN 0022, DEN 0028)."""

from __future__ import annotations

from vel2.arch.bits import Field, Layout, Res0

PSCI_VERSION = 0x8400_0000
CPU_SUSPEND_32 = 0x8400_0001
CPU_OFF = 0x8400_0002
CPU_ON_32 = 0x8400_0003
AFFINITY_INFO_32 = 0x8400_0004
MIGRATE_INFO_TYPE = 0x8400_0006
SYSTEM_OFF = 0x8400_0008
SYSTEM_RESET = 0x8400_0009
PSCI_FEATURES = 0x8400_000A
CPU_SUSPEND_64 = 0xC400_0001
CPU_ON_64 = 0xC400_0003
AFFINITY_INFO_64 = 0xC400_0004

AFFINITY_ON, AFFINITY_OFF, AFFINITY_ON_PENDING = 0, 1, 2
"""What AFFINITY_INFO answers."""

FUNCTION_MASK = (1 << 32) - 1
"""A function identifier is a W register."""

SUCCESS = 0
NOT_SUPPORTED = (1 << 64) - 1
INVALID_PARAMETERS = (1 << 64) - 2
DENIED = (1 << 64) - 3
ALREADY_ON = (1 << 64) - 4
ON_PENDING = (1 << 64) - 5


class FunctionIdentifier(Layout, width=32):
    """The number of a call, in W0."""

    Fast = Field(31)
    SMC64 = Field(30)
    """Arguments and results are X registers; else W registers."""
    Owner = Field(29, 24)
    _23 = Res0(23, 16)
    Number = Field(15, 0)


class PowerState(Layout, width=32):
    """The power_state of CPU_SUSPEND, in the original format."""

    _31 = Res0(31, 26)
    PowerLevel = Field(25, 24)
    _23 = Res0(23, 17)
    StateType = Field(16)
    StateID = Field(15, 0)


class PowerStateExtended(Layout, width=32):
    """The power_state of CPU_SUSPEND, in the extended format."""

    _31 = Res0(31)
    StateType = Field(30)
    _29 = Res0(29, 28)
    StateID = Field(27, 0)
