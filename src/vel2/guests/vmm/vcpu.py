"""The vCPUs of the VM: made, initialized, and given a PMU.

Each has a thread of its own (`run`). PSCI is the kernel's: the first vCPU starts, the others are
powered off until the guest turns them on, and wait for that in KVM_RUN.
"""

from vel2.guests.vmm import kvm
from vel2.guests.vmm.failure import check
from vel2.guests.vmm.state import State, Vcpu
from vel2.lang import address_of, at, bytes_address, inline, resident, u32, u64
from vel2.runtime.linux import (
    MAP_SHARED,
    MMAP,
    PROT_READ_WRITE,
    exit_with,
    failed,
    ioctl,
    syscall,
)
from vel2.runtime.streams import ERR

__all__ = ("create_pmu", "create_vcpus", "set_register", "vcpu_of")

NO_EL2 = (
    b"vmm: this KVM gives no such virtual EL2; it takes FEAT_NV2, Linux 6.16 or newer and"
    b" kvm-arm.mode=nested\n\0"
)
VCPUS = State.offset_of("vcpus")


@inline
def vcpu_of(state: State, number: u64) -> Vcpu:
    """Give a vCPU by its number."""
    return at(Vcpu, u64(address_of(state) + VCPUS + number * Vcpu.size))


@resident
def has_extension(state: State, capability: u64) -> bool:
    """Whether KVM has a capability."""
    found = ioctl(state.kvm, kvm.CHECK_EXTENSION, capability)
    return not failed(found) and found != 0


@resident
def require_el2(state: State) -> None:
    """End the program when KVM does not give the virtual EL2 that was asked for."""
    missing = not has_extension(state, kvm.CAP_ARM_EL2)
    if state.options.el2_features & kvm.FEATURE_HAS_EL2_E2H0:
        missing = missing or not has_extension(state, kvm.CAP_ARM_EL2_E2H0)
    if missing:
        ERR.put(bytes_address(NO_EL2))
        exit_with(1)


@resident
def create_vcpus(state: State) -> None:
    """Create all vCPUs, with PSCI answered by the kernel."""
    if state.options.el2_features != 0:
        require_el2(state)
    target = ioctl(state.vm, kvm.PREFERRED_TARGET, address_of(state.init))
    check(target, bytes_address(b"ask for the preferred vCPU\0"))
    features = kvm.FEATURE_PSCI_0_2 | state.options.el2_features
    if state.options.pmu_intid != 0:
        features = features | kvm.FEATURE_PMU_V3
    preferred = u64(state.init.features[0])
    n = u64(0)
    while n < state.options.cpus:
        state.init.features[0] = u32(preferred | features)
        if n != 0:
            state.init.features[0] = u32(preferred | features | kvm.FEATURE_POWER_OFF)
        create_vcpu(state, n)
        n = u64(n + 1)


@resident
def create_vcpu(state: State, number: u64) -> None:
    """Create one vCPU with the features in `state.init`."""
    vcpu = vcpu_of(state, number)
    vcpu.vm = address_of(state)
    vcpu.number = number
    made = ioctl(state.vm, kvm.CREATE_VCPU, number)
    vcpu.fd = check(made, bytes_address(b"create a vCPU\0"))
    size = ioctl(state.kvm, kvm.GET_VCPU_MMAP_SIZE, 0)
    shared = syscall(MMAP, 0, size, PROT_READ_WRITE, MAP_SHARED, vcpu.fd, 0)
    vcpu.run = check(shared, bytes_address(b"map the vCPU's run structure\0"))
    done = ioctl(vcpu.fd, kvm.VCPU_INIT, address_of(state.init))
    check(done, bytes_address(b"initialize the vCPU\0"))


@resident
def create_pmu(state: State) -> None:
    """Give each vCPU a PMUv3 whose overflow interrupt is as the device tree says."""
    what = bytes_address(b"set up the PMU\0")
    state.word = u32(state.options.pmu_intid)
    state.attribute.group = kvm.PMU_V3_CTRL
    state.attribute.addr = u64(address_of(state) + State.offset_of("word"))
    n = u64(0)
    while n < state.options.cpus:
        fd = vcpu_of(state, n).fd
        state.attribute.attr = kvm.PMU_V3_IRQ
        check(ioctl(fd, kvm.SET_DEVICE_ATTR, address_of(state.attribute)), what)
        state.attribute.attr = kvm.PMU_V3_INIT
        check(ioctl(fd, kvm.SET_DEVICE_ATTR, address_of(state.attribute)), what)
        n = u64(n + 1)


@resident
def set_register(state: State, register: u64, value: u64) -> None:
    """Set one register of the first vCPU."""
    state.value = value
    state.register.id = register
    state.register.addr = u64(address_of(state) + State.offset_of("value"))
    done = ioctl(vcpu_of(state, 0).fd, kvm.SET_ONE_REG, address_of(state.register))
    check(done, bytes_address(b"set a register\0"))
