"""KVM's statistics of the vCPUs, of which L2 may see one figure: how often they exited.

Linux's `Documentation/virt/kvm/api.rst` describes the file under KVM_GET_STATS_FD: a header, then
descriptors with names, then the values.
"""

from vel2.guests.vmm import kvm
from vel2.guests.vmm.state import State, Vcpu
from vel2.guests.vmm.vcpu import vcpu_of
from vel2.lang import address_of, bytes_address, resident, u64
from vel2.runtime.linux import PREAD64, failed, ioctl, syscall
from vel2.runtime.text import equal

VALUE = State.offset_of("value")
NAME = kvm.StatsDescriptor.offset_of("name")


@resident
def read_at(vcpu: Vcpu, destination: u64, size: u64, offset: u64) -> bool:
    """Read a part of the file; False when it is not there."""
    return syscall(PREAD64, vcpu.statistics, destination, size, offset, 0, 0) == size


@resident
def find_exits(state: State, vcpu: Vcpu) -> None:
    """Open the file and find the value called `exits`; leave its offset 0 when there is none."""
    opened = ioctl(vcpu.fd, kvm.GET_STATS_FD, 0)
    if failed(opened):
        return
    vcpu.statistics = opened
    header = state.stats_header
    if not read_at(vcpu, address_of(header), kvm.StatsHeader.size, 0):
        return
    if header.name_size != kvm.STATS_NAME_BYTES:
        return
    descriptor = address_of(state.stats_descriptor)
    n = u64(0)
    while n < header.num_desc:
        place = u64(header.desc_offset + n * kvm.StatsDescriptor.size)
        if not read_at(vcpu, descriptor, kvm.StatsDescriptor.size, place):
            return
        if equal(u64(descriptor + NAME), bytes_address(b"exits\0")):
            vcpu.exits_offset = u64(header.data_offset + state.stats_descriptor.offset)
            return
        n = u64(n + 1)


@resident
def open_all(state: State) -> None:
    """Open the files of all vCPUs."""
    n = u64(0)
    while n < state.options.cpus:
        find_exits(state, vcpu_of(state, n))
        n = u64(n + 1)


@resident
def exits(state: State, vcpu: Vcpu) -> u64:
    """Give how often a vCPU exited, this time included; 0 when KVM does not tell."""
    if vcpu.statistics == 0:
        find_exits(state, vcpu)
    state.value = 0
    if vcpu.exits_offset != 0:
        read_at(vcpu, u64(address_of(state) + VALUE), 8, vcpu.exits_offset)
    return state.value


@resident
def exits_of_all(state: State) -> u64:
    """Give how often all vCPUs together exited."""
    total = u64(0)
    n = u64(0)
    while n < state.options.cpus:
        total = u64(total + exits(state, vcpu_of(state, n)))
        n = u64(n + 1)
    return total
