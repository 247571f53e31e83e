"""The VMM's program: its command line, and what it makes of it."""

from vel2.guests.l2tree import L2_UART_INTID
from vel2.guests.vmm import debug, keys, kvm
from vel2.guests.vmm.machine import create_gic, create_vm, load_images
from vel2.guests.vmm.run import run_all
from vel2.guests.vmm.state import MAX_VCPUS, Options, State
from vel2.guests.vmm.vcpu import create_pmu, create_vcpus
from vel2.lang import at, bytes_address, resident, u64
from vel2.runtime.linux import argument, argument_count, exit_with, map_anonymous
from vel2.runtime.streams import ERR
from vel2.runtime.text import equal, parse_size

USAGE = (
    b"usage: vmm --kernel IMAGE --dtb DTB [--initrd FILE] [--memory SIZE[K|M|G]] [--cpus 1..8]"
    b" [--huge-from SIZE] [--el2 vhe|nvhe] [--pmu INTID] [--step N] [--label TEXT] [--keys 1]"
    b" [--pin 1]\n\0"
)


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
def check_options(options: Options) -> None:
    """Require what must be given, and a number of vCPUs that there can be."""
    if options.kernel == 0 or options.dtb == 0 or options.memory_bytes == 0:
        usage()
    if options.cpus == 0 or options.cpus > MAX_VCPUS:
        usage()


@resident
def parse_options(state: State, stack: u64) -> None:
    """Read the command line that the kernel put on the stack: argc, then argv."""
    count = argument_count(stack)
    options = state.options
    options.memory_bytes = 256 << 20
    options.cpus = 1
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
        elif equal(name, bytes_address(b"--cpus\0")):
            options.cpus = parse_size(value)
        elif equal(name, bytes_address(b"--huge-from\0")):
            options.huge_from = parse_size(value)
        elif equal(name, bytes_address(b"--el2\0")):
            options.el2_features = parse_el2(value)
        elif equal(name, bytes_address(b"--label\0")):
            options.label = value
        elif equal(name, bytes_address(b"--keys\0")):
            options.takes_keys = parse_size(value)
        elif equal(name, bytes_address(b"--pin\0")):
            options.is_pinned = parse_size(value)
        else:
            usage()
        n = u64(n + 2)
    check_options(options)


@resident
def vmm_main(stack: u64) -> None:
    """Do everything. The exit status is 0 when the guest powered off, 3 when it reset."""
    state = at(State, map_anonymous(State.size))
    state.at_line_start = 1
    state.uart_intid = L2_UART_INTID
    parse_options(state, stack)
    create_vm(state)
    create_vcpus(state)
    create_gic(state)
    if state.options.pmu_intid != 0:
        create_pmu(state)
    load_images(state)
    if state.options.steps != 0:
        debug.begin(state)
    if state.options.takes_keys != 0:
        keys.begin(state)
    run_all(state)
