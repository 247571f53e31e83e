"""Everything the VMM keeps, in one mapping."""

from vel2.guests.vmm.kvm import (
    CreateDevice,
    DeviceAttr,
    GuestDebug,
    IrqLevel,
    MemoryRegion,
    OneReg,
    SignalMask,
    StatsDescriptor,
    StatsHeader,
    VcpuInit,
)
from vel2.lang import Struct, array, nested, scalar, u8, u32, u64


class Options(Struct):
    """The command line: addresses of strings, 0 where not given."""

    kernel = scalar(u64)
    initrd = scalar(u64)
    dtb = scalar(u64)
    memory_bytes = scalar(u64)
    cpus = scalar(u64)
    """How many vCPUs there are."""
    huge_from = scalar(u64)
    """Offset into the guest's memory from where huge pages are asked for."""
    el2_features = scalar(u64)
    """The features that give the vCPU a virtual EL2; 0 for none."""
    pmu_intid = scalar(u64)
    """The interrupt of the vCPU's PMU; 0 for no PMU."""
    steps = scalar(u64)
    """How many instructions to step before the guest runs freely."""
    label = scalar(u64)
    """What each line of the guest's console begins with."""
    is_pinned = scalar(u64)
    """Each vCPU's thread stays on the CPU with its number."""
    takes_keys = scalar(u64)
    """Standard input is the guest's, and its output is for a person: no labels, no line buffer."""


KEYS = 64
"""The UART's receive FIFO, larger than hardware's so that a paste fits."""


MAX_VCPUS = 8
"""KVM numbers them in Aff0 of MPIDR_EL1, and the device tree does too."""


class Vcpu(Struct):
    """One vCPU, and what its thread is told."""

    vm = scalar(u64)
    """Address of the `State`."""
    number = scalar(u64)
    fd = scalar(u64)
    run = scalar(u64)
    """Address of its `kvm.Run`."""
    affinity = scalar(u64)
    """A `cpu_set_t`."""
    statistics = scalar(u64)
    """File of its statistics; 0 until somebody asks."""
    exits_offset = scalar(u64)
    """Where in it the count of exits is; 0 when it has none."""


class State(Struct):
    """One VM. From an exit to the next KVM_RUN it is the thread's that holds `lock`."""

    lock = scalar(u64)
    options = nested(Options)
    vcpus = array(Vcpu, MAX_VCPUS)
    kvm = scalar(u64)
    vm = scalar(u64)
    ram = scalar(u64)
    uart_intid = scalar(u64)
    irq_level = scalar(u64)
    at_line_start = scalar(u64)
    registers = array(u8, 8)
    divisor = array(u8, 8)
    keys = array(u8, KEYS)
    keys_first = scalar(u64)
    keys_end = scalar(u64)
    """What was typed and not read yet: `keys[keys_first:keys_end]`."""
    signals = scalar(u64)
    """A `sigset_t`."""
    no_time = array(u64, 2)
    """A `struct timespec` of zero."""
    signal_mask = nested(SignalMask)
    region = nested(MemoryRegion)
    init = nested(VcpuInit)
    register = nested(OneReg)
    device = nested(CreateDevice)
    attribute = nested(DeviceAttr)
    irq = nested(IrqLevel)
    stats_header = nested(StatsHeader)
    stats_descriptor = nested(StatsDescriptor)
    debug = nested(GuestDebug)
    entry = scalar(u64)
    """Where the guest starts."""
    is_stepping = scalar(u64)
    stepped = scalar(u64)
    in_sequence = scalar(u64)
    """How many steps went to the next instruction."""
    last_pc = scalar(u64)
    value = scalar(u64)
    word = scalar(u32)
