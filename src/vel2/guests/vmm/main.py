"""The VMM's program: options, the VM, the images, and the loop that runs the vCPU."""

from vel2.guests.l2tree import (
    ALIGN,
    DTB_BYTES,
    L2_GICD_BASE,
    L2_GICR_BASE,
    L2_MAINTENANCE_INTID,
    L2_RAM_BASE,
    L2_STATISTICS_BASE,
    L2_UART_BASE,
    L2_UART_INTID,
)
from vel2.guests.vmm import debug, keys, kvm, statistics, uart
from vel2.guests.vmm.failure import check, die
from vel2.guests.vmm.state import State
from vel2.lang import address_of, at, bytes_address, resident, u8, u32, u64
from vel2.runtime.header import MAGIC, ImageHeader
from vel2.runtime.linux import (
    AT_FDCWD,
    EAGAIN,
    EINTR,
    MADV_HUGEPAGE,
    MADV_POPULATE_WRITE,
    MADVISE,
    MAP_SHARED,
    MMAP,
    O_RDWR_CLOEXEC,
    OPENAT,
    PROT_READ_WRITE,
    argument,
    argument_count,
    exit_with,
    failed,
    ioctl,
    map_anonymous,
    read_file,
    syscall,
)
from vel2.runtime.streams import ERR
from vel2.runtime.text import equal, parse_size

UART_BYTES = 8
KERNEL_OFFSET = DTB_BYTES
USAGE = (
    b"usage: vmm --kernel IMAGE --dtb DTB [--initrd FILE] [--memory SIZE[K|M|G]]"
    b" [--huge-from SIZE] [--el2 vhe|nvhe] [--pmu INTID] [--step N] [--label TEXT] [--keys 1]\n\0"
)
NO_EL2 = (
    b"vmm: this KVM gives no such virtual EL2; it takes FEAT_NV2, Linux 6.16 or newer and"
    b" kvm-arm.mode=nested\n\0"
)
GIC_IRQS = 64


@resident
def usage() -> None:
    """Say how the program is called, and end it."""
    ERR.put(bytes_address(USAGE))
    exit_with(2)


@resident
def parse_el2(text: u64) -> u64:
    """Give the vCPU's features for a kind of virtual EL2."""
    if equal(text, bytes_address(b"nvhe\0")):
        return kvm.FEATURE_HAS_EL2 | kvm.FEATURE_HAS_EL2_E2H0
    if not equal(text, bytes_address(b"vhe\0")):
        usage()
    return kvm.FEATURE_HAS_EL2


@resident
def parse_options(state: State, stack: u64) -> None:
    """Read the command line that the kernel put on the stack: argc, then argv."""
    count = argument_count(stack)
    options = state.options
    options.memory_bytes = 256 << 20
    options.label = bytes_address(b"L2| \0")
    n = u64(1)
    while n < count:
        name = argument(stack, n)
        if u64(n + 1) >= count:
            usage()
        value = argument(stack, u64(n + 1))
        if equal(name, bytes_address(b"--kernel\0")):
            options.kernel = value
        elif equal(name, bytes_address(b"--initrd\0")):
            options.initrd = value
        elif equal(name, bytes_address(b"--pmu\0")):
            options.pmu_intid = parse_size(value)
        elif equal(name, bytes_address(b"--step\0")):
            options.steps = parse_size(value)
        elif equal(name, bytes_address(b"--dtb\0")):
            options.dtb = value
        elif equal(name, bytes_address(b"--memory\0")):
            options.memory_bytes = parse_size(value)
        elif equal(name, bytes_address(b"--huge-from\0")):
            options.huge_from = parse_size(value)
        elif equal(name, bytes_address(b"--el2\0")):
            options.el2_features = parse_el2(value)
        elif equal(name, bytes_address(b"--label\0")):
            options.label = value
        elif equal(name, bytes_address(b"--keys\0")):
            options.takes_keys = parse_size(value)
        else:
            usage()
        n = u64(n + 2)
    if options.kernel == 0 or options.dtb == 0 or options.memory_bytes == 0:
        usage()


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
def create_vcpu(state: State) -> None:
    """Create the vCPU, with PSCI answered by the kernel."""
    if state.options.el2_features != 0:
        require_el2(state)
    made = ioctl(state.vm, kvm.CREATE_VCPU, 0)
    state.vcpu = check(made, bytes_address(b"create a vCPU\0"))
    size = ioctl(state.kvm, kvm.GET_VCPU_MMAP_SIZE, 0)
    shared = syscall(MMAP, 0, size, PROT_READ_WRITE, MAP_SHARED, state.vcpu, 0)
    state.run = check(shared, bytes_address(b"map the vCPU's run structure\0"))
    target = ioctl(state.vm, kvm.PREFERRED_TARGET, address_of(state.init))
    check(target, bytes_address(b"ask for the preferred vCPU\0"))
    features = kvm.FEATURE_PSCI_0_2 | state.options.el2_features
    if state.options.pmu_intid != 0:
        features = features | kvm.FEATURE_PMU_V3
    state.init.features[0] = u32(state.init.features[0] | features)
    done = ioctl(state.vcpu, kvm.VCPU_INIT, address_of(state.init))
    check(done, bytes_address(b"initialize the vCPU\0"))


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
def create_pmu(state: State) -> None:
    """Give the vCPU a PMUv3 whose overflow interrupt is as the device tree says."""
    state.word = u32(state.options.pmu_intid)
    state.attribute.group = kvm.PMU_V3_CTRL
    state.attribute.attr = kvm.PMU_V3_IRQ
    state.attribute.addr = u64(address_of(state) + State.offset_of("word"))
    what = bytes_address(b"set up the PMU\0")
    check(ioctl(state.vcpu, kvm.SET_DEVICE_ATTR, address_of(state.attribute)), what)
    state.attribute.attr = kvm.PMU_V3_INIT
    check(ioctl(state.vcpu, kvm.SET_DEVICE_ATTR, address_of(state.attribute)), what)


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


@resident
def set_register(state: State, register: u64, value: u64) -> None:
    """Set one register of the vCPU."""
    state.value = value
    state.register.id = register
    state.register.addr = u64(address_of(state) + State.offset_of("value"))
    done = ioctl(state.vcpu, kvm.SET_ONE_REG, address_of(state.register))
    check(done, bytes_address(b"set a register\0"))


@resident
def serve_mmio(state: State, run: kvm.Run) -> None:
    """Answer an access to a device; where there is none, reads give zero."""
    offset = u64(run.mmio_address - L2_UART_BASE)
    if offset < UART_BYTES:
        if run.mmio_is_write != 0:
            uart.write(state, offset, u64(run.mmio_data[0]))
            return
        value = uart.read(state, offset)
        clear_data(run)
        run.mmio_data[0] = u8(value)
    elif run.mmio_is_write == 0:
        clear_data(run)
        if run.mmio_address == L2_STATISTICS_BASE:
            value = statistics.exits(state)
            for i in range(8):
                run.mmio_data[i] = u8(value >> 8 * i & 0xFF)


@resident
def clear_data(run: kvm.Run) -> None:
    """Zero the data of an MMIO read."""
    for i in range(8):
        run.mmio_data[i] = 0


@resident
def run_guest(state: State) -> u64:
    """Run the vCPU until the guest ends; give the exit status."""
    run = at(kvm.Run, state.run)
    while True:
        result = ioctl(state.vcpu, kvm.RUN, 0)
        if failed(result) and result != u64(0 - EINTR) and result != u64(0 - EAGAIN):
            uart.flush()
            die(bytes_address(b"run the vCPU\0"), result)
        if failed(result):
            if state.options.takes_keys != 0:
                keys.interrupted(state)
                uart.update_interrupt(state)
            continue
        if run.exit_reason == kvm.EXIT_MMIO:
            serve_mmio(state, run)
        elif run.exit_reason == kvm.EXIT_DEBUG and state.options.steps != 0:
            debug.stopped(state, run)
        elif run.exit_reason == kvm.EXIT_SYSTEM_EVENT:
            uart.flush()
            if run.mmio_address & 0xFFFF_FFFF == kvm.SYSTEM_EVENT_SHUTDOWN:
                return 0
            return 3
        else:
            uart.flush()
            ERR.put(bytes_address(b"vmm: unexpected exit reason \0"))
            ERR.put_decimal(u64(run.exit_reason))
            ERR.put(bytes_address(b"\n\0"))
            return 1
    return 1


@resident
def vmm_main(stack: u64) -> u64:
    """Do everything; give the exit status: 0 when the guest powered off, 3 when it reset."""
    state = at(State, map_anonymous(State.size))
    state.at_line_start = 1
    state.uart_intid = L2_UART_INTID
    parse_options(state, stack)
    create_vm(state)
    create_vcpu(state)
    create_gic(state)
    if state.options.pmu_intid != 0:
        create_pmu(state)
    load_images(state)
    if state.options.steps != 0:
        debug.begin(state)
    if state.options.takes_keys != 0:
        keys.begin(state)
    status = run_guest(state)
    if state.options.takes_keys != 0:
        keys.end(state)
    return status
