"""The KVM API of Linux on arm64, as far as a VM with a vGICv3 needs it."""

from vel2.lang import Struct, array, scalar, u8, u16, u32, u64

CREATE_VM = 0xAE01
CHECK_EXTENSION = 0xAE03
GET_VCPU_MMAP_SIZE = 0xAE04
CREATE_VCPU = 0xAE41
SET_USER_MEMORY_REGION = 0x4020_AE46
IRQ_LINE = 0x4008_AE61
RUN = 0xAE80
SET_ONE_REG = 0x4010_AEAC
VCPU_INIT = 0x4020_AEAE
PREFERRED_TARGET = 0x8020_AEAF
CREATE_DEVICE = 0xC00C_AEE0
GET_STATS_FD = 0xAECE
SET_DEVICE_ATTR = 0x4018_AEE1
GET_ONE_REG = 0x4010_AEAB
SET_GUEST_DEBUG = 0x4208_AE9B
SET_SIGNAL_MASK = 0x4004_AE8B

CAP_ARM_VM_IPA_SIZE = 165
CAP_ARM_EL2 = 240
CAP_ARM_EL2_E2H0 = 241
DEFAULT_IPA_BITS = 40
FEATURE_POWER_OFF = 1 << 0
"""The vCPU starts powered off, and the guest turns it on."""
FEATURE_PSCI_0_2 = 1 << 2
FEATURE_HAS_EL2 = 1 << 7
"""A virtual EL2, with HCR_EL2.E2H RES1."""
FEATURE_HAS_EL2_E2H0 = 1 << 8
"""With that: HCR_EL2.E2H is RES0."""
FEATURE_PMU_V3 = 1 << 3
PMU_V3_CTRL, PMU_V3_IRQ, PMU_V3_INIT = 0, 0, 1
"""Attributes of a vCPU."""
DEBUG_ENABLE, DEBUG_SINGLE_STEP, DEBUG_HARDWARE = 1 << 0, 1 << 1, 1 << 17
REG_X0 = 0x6030_0000_0010_0000
REG_PC = 0x6030_0000_0010_0040
DEVICE_VGIC_V3 = 7
VGIC_GRP_ADDR = 0
VGIC_ADDR_DIST = 2
VGIC_ADDR_REDIST = 3
VGIC_GRP_NR_IRQS = 3
VGIC_GRP_CTRL = 4
VGIC_CTRL_INIT = 0
VGIC_GRP_MAINT_IRQ = 9
IRQ_TYPE_SPI = 1 << 24

EXIT_DEBUG = 4
EXIT_MMIO = 6
EXIT_SYSTEM_EVENT = 24
SYSTEM_EVENT_SHUTDOWN = 1


class MemoryRegion(Struct):
    """`struct kvm_userspace_memory_region`."""

    slot = scalar(u32)
    flags = scalar(u32)
    guest_phys_addr = scalar(u64)
    memory_size = scalar(u64)
    userspace_addr = scalar(u64)


class VcpuInit(Struct):
    """`struct kvm_vcpu_init`."""

    target = scalar(u32)
    features = array(u32, 7)


class OneReg(Struct):
    """`struct kvm_one_reg`."""

    id = scalar(u64)
    addr = scalar(u64)


class CreateDevice(Struct):
    """`struct kvm_create_device`."""

    type = scalar(u32)
    fd = scalar(u32)
    flags = scalar(u32)


class DeviceAttr(Struct):
    """`struct kvm_device_attr`."""

    flags = scalar(u32)
    group = scalar(u32)
    attr = scalar(u64)
    addr = scalar(u64)


class GuestDebug(Struct):
    """`struct kvm_guest_debug`."""

    control = scalar(u32)
    pad = scalar(u32)
    bcr = array(u64, 16)
    bvr = array(u64, 16)
    wcr = array(u64, 16)
    wvr = array(u64, 16)


class IrqLevel(Struct):
    """`struct kvm_irq_level`."""

    irq = scalar(u32)
    level = scalar(u32)


class StatsHeader(Struct):
    """`struct kvm_stats_header`: where in a statistics file its parts lie."""

    flags = scalar(u32)
    name_size = scalar(u32)
    num_desc = scalar(u32)
    id_offset = scalar(u32)
    desc_offset = scalar(u32)
    data_offset = scalar(u32)


STATS_NAME_BYTES = 48


class StatsDescriptor(Struct):
    """`struct kvm_stats_desc`, with its name."""

    flags = scalar(u32)
    exponent = scalar(u16)
    size_ = scalar(u16)
    offset = scalar(u32)
    bucket_size = scalar(u32)
    name = array(u8, STATS_NAME_BYTES)


class Run(Struct):
    """`struct kvm_run`, the fields used, with the union as MMIO sees it."""

    request_interrupt_window = scalar(u8)
    immediate_exit = scalar(u8)
    padding = array(u8, 6)
    exit_reason = scalar(u32)
    flags = array(u32, 5)
    mmio_address = scalar(u64)
    """Of a system event, the low word is its type; of a debug exception, the syndrome."""
    mmio_data = array(u8, 8)
    mmio_length = scalar(u32)
    mmio_is_write = scalar(u8)


class SignalMask(Struct):
    """`struct kvm_signal_mask` with the kernel's eight bytes of `sigset_t` (unaligned there)."""

    length = scalar(u32)
    low = scalar(u32)
    high = scalar(u32)
