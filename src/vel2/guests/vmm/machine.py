"""The VM itself: its memory, its vGICv3, and the images in it."""

from vel2.guests.l2tree import (
    ALIGN,
    DTB_BYTES,
    L2_GICD_BASE,
    L2_GICR_BASE,
    L2_MAINTENANCE_INTID,
    L2_RAM_BASE,
)
from vel2.guests.vmm import kvm
from vel2.guests.vmm.failure import check
from vel2.guests.vmm.state import State
from vel2.guests.vmm.vcpu import set_register
from vel2.lang import address_of, at, bytes_address, resident, u32, u64
from vel2.runtime.header import MAGIC, ImageHeader
from vel2.runtime.linux import (
    AT_FDCWD,
    MADV_HUGEPAGE,
    MADV_POPULATE_WRITE,
    MADVISE,
    O_RDWR_CLOEXEC,
    OPENAT,
    exit_with,
    failed,
    ioctl,
    map_anonymous,
    read_file,
    syscall,
)
from vel2.runtime.streams import ERR

__all__ = ("create_gic", "create_vm", "load", "load_images")

KERNEL_OFFSET = DTB_BYTES
GIC_IRQS = 64


@resident
def ask_for_huge_pages(state: State) -> None:
    """Ask the kernel for huge pages, which it may refuse."""
    offset = state.options.huge_from
    if offset >= state.options.memory_bytes:
        return
    start = u64(state.ram + offset)
    size = u64(state.options.memory_bytes - offset)
    syscall(MADVISE, start, size, MADV_HUGEPAGE, 0, 0, 0)
    if offset != 0:
        # Who says where they begin wants them there, not at the first touch.
        syscall(MADVISE, start, size, MADV_POPULATE_WRITE, 0, 0, 0)


@resident
def create_vm(state: State) -> None:
    """Create the VM with its memory."""
    device = bytes_address(b"/dev/kvm\0")
    opened = syscall(OPENAT, AT_FDCWD, device, O_RDWR_CLOEXEC, 0, 0, 0)
    state.kvm = check(opened, bytes_address(b"open /dev/kvm\0"))
    ipa_bits = ioctl(state.kvm, kvm.CHECK_EXTENSION, kvm.CAP_ARM_VM_IPA_SIZE)
    kind = u64(0)
    if not failed(ipa_bits) and ipa_bits != 0 and ipa_bits < kvm.DEFAULT_IPA_BITS:
        kind = ipa_bits
    made = ioctl(state.kvm, kvm.CREATE_VM, kind)
    state.vm = check(made, bytes_address(b"create a VM\0"))
    size = state.options.memory_bytes
    mapped = map_anonymous(u64(size + ALIGN))
    check(mapped, bytes_address(b"map the guest's memory\0"))
    state.ram = u64(mapped + ALIGN - 1) & ~(ALIGN - 1)
    ask_for_huge_pages(state)
    state.region.guest_phys_addr = L2_RAM_BASE
    state.region.memory_size = size
    state.region.userspace_addr = state.ram
    given = ioctl(state.vm, kvm.SET_USER_MEMORY_REGION, address_of(state.region))
    check(given, bytes_address(b"give the VM its memory\0"))


@resident
def set_attribute(state: State, group: u64, attribute: u64, address: u64) -> None:
    """Set one attribute of the vGIC."""
    state.attribute.group = u32(group)
    state.attribute.attr = attribute
    state.attribute.addr = address
    done = ioctl(u64(state.device.fd), kvm.SET_DEVICE_ATTR, address_of(state.attribute))
    check(done, bytes_address(b"set up the vGICv3\0"))


@resident
def create_gic(state: State) -> None:
    """Create the vGICv3 where the device tree says."""
    state.device.type = kvm.DEVICE_VGIC_V3
    made = ioctl(state.vm, kvm.CREATE_DEVICE, address_of(state.device))
    check(made, bytes_address(b"create a vGICv3\0"))
    value = u64(address_of(state) + State.offset_of("value"))
    state.value = L2_GICD_BASE
    set_attribute(state, kvm.VGIC_GRP_ADDR, kvm.VGIC_ADDR_DIST, value)
    state.value = L2_GICR_BASE
    set_attribute(state, kvm.VGIC_GRP_ADDR, kvm.VGIC_ADDR_REDIST, value)
    state.word = GIC_IRQS
    word = u64(address_of(state) + State.offset_of("word"))
    set_attribute(state, kvm.VGIC_GRP_NR_IRQS, 0, word)
    if state.options.el2_features != 0:
        state.word = L2_MAINTENANCE_INTID
        set_attribute(state, kvm.VGIC_GRP_MAINT_IRQ, 0, word)
    set_attribute(state, kvm.VGIC_GRP_CTRL, kvm.VGIC_CTRL_INIT, 0)


@resident
def load(state: State, path: u64, offset: u64) -> u64:
    """Read a file into the guest's memory at an offset; give its size."""
    if offset >= state.options.memory_bytes:
        return check(u64(0 - 12), bytes_address(b"fit the images into the memory\0"))
    room = u64(state.options.memory_bytes - offset)
    return check(read_file(path, u64(state.ram + offset), room), path)


@resident
def load_images(state: State) -> None:
    """Load kernel, initrd and device tree, and point the vCPU at the kernel."""
    load(state, state.options.dtb, 0)
    size = load(state, state.options.kernel, KERNEL_OFFSET)
    header = at(ImageHeader, u64(state.ram + KERNEL_OFFSET))
    if size < ImageHeader.size or header.magic != MAGIC:
        ERR.put(bytes_address(b"vmm: the kernel is not an arm64 Image\n\0"))
        exit_with(1)
    if header.text_offset != 0:
        ERR.put(bytes_address(b"vmm: kernels with a text offset are not supported\n\0"))
        exit_with(1)
    occupied = header.image_size
    if occupied < size:
        occupied = size
    if state.options.initrd != 0:
        offset = u64(KERNEL_OFFSET + occupied + ALIGN - 1) & ~(ALIGN - 1)
        load(state, state.options.initrd, offset)
    set_register(state, kvm.REG_PC, u64(L2_RAM_BASE + KERNEL_OFFSET))
    set_register(state, kvm.REG_X0, L2_RAM_BASE)
