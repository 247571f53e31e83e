"""Payload `dma`: L1 makes a device read and write memory, L1's own and memory that is not.

The device is QEMU's `edu`, on PCI, which copies between memory and a buffer of its own. It may
reach what L1 may reach: L1's RAM, to the last byte. At each target (L0's memory, hidden devices,
holes, addresses beyond the map) L1 has nothing, so a write is lost and a read does not show what
the host put there. Afterwards the host examines L0's memory (`tests/system/test_dma.py`).
"""

from vel2.check.payloads.layout import ARENA, Parameters, State
from vel2.check.payloads.library.checks import NO_SUBJECT, begin, end, expect, finish
from vel2.lang import (
    PA,
    bytes_address,
    dsb_sy,
    load_u32,
    load_u64,
    resident,
    store_u32,
    store_u64,
    u32,
    u64,
)

EDU_ARGUMENTS = ("-device", "edu,dma_mask=0xffffffffffffffff")
"""What the machine must have; by default the device reaches 256 MiB only."""
WRITTEN = 0xD3A0_57A1_E000_7E57
"""What the device is told to write where it must not write."""
MARKER = 0x600D_DA7A_600D_DA7A
UNTOUCHED = 0x1111_2222_3333_4444

ECAM = 0x40_1000_0000
FUNCTION_SHIFT = 15
"""Function 0 of device number n is at n << 15."""
DEVICES = 32
EDU_ID = 0x11E8_1234
PCI_COMMAND = 0x04
PCI_BAR0 = 0x10
MEMORY_AND_MASTER = 1 << 1 | 1 << 2
BAR_BASE = 0x1000_0000
"""The start of the board's window for 32-bit BARs."""
DMA_SOURCE = 0x80
DMA_TARGET = 0x88
DMA_COUNT = 0x90
DMA_COMMAND = 0x98
DMA_BUFFER = 0x4_0000
RUN = 1
TO_MEMORY = 1 << 1

BYTES = 64
SOURCE = ARENA
COPY = ARENA + 0x1000


@resident
def find_device() -> u64:
    """Give the configuration space of `edu` on bus 0, or 0."""
    for number in range(DEVICES):
        config = u64(ECAM + (number << FUNCTION_SHIFT))
        if load_u32(PA(config)) == EDU_ID:
            return config
    return 0


@resident
def copy(source: u64, target: u64, command: u64) -> None:
    """Let the device copy `BYTES`, and wait until it reports the end."""
    dsb_sy()
    store_u64(PA(BAR_BASE + DMA_SOURCE), source)
    store_u64(PA(BAR_BASE + DMA_TARGET), target)
    store_u64(PA(BAR_BASE + DMA_COUNT), BYTES)
    store_u64(PA(BAR_BASE + DMA_COMMAND), command)
    while load_u64(PA(BAR_BASE + DMA_COMMAND)) & RUN:
        pass
    dsb_sy()


@resident
def read_memory(address: u64) -> None:
    """Let the device take `BYTES` from memory into its buffer."""
    copy(address, DMA_BUFFER, RUN)


@resident
def write_memory(address: u64) -> None:
    """Let the device write its buffer to memory."""
    copy(DMA_BUFFER, address, RUN | TO_MEMORY)


@resident
def fill(address: u64, value: u64) -> None:
    """Fill as much as the device copies."""
    for i in range(BYTES // 8):
        store_u64(PA(address + i * 8), value)


@resident
def fill_buffer(value: u64) -> None:
    """Fill the device's buffer from memory."""
    fill(SOURCE, value)
    read_memory(SOURCE)


@resident
def reach_own_memory(state: State, parameters: Parameters) -> None:
    """Copy within L1's RAM, at its middle and at its very end."""
    begin(state, bytes_address(b"own\0"), COPY)
    fill(COPY, UNTOUCHED)
    fill_buffer(MARKER)
    write_memory(COPY)
    expect(state, bytes_address(b"first\0"), load_u64(PA(COPY)), MARKER)
    expect(state, bytes_address(b"last\0"), load_u64(PA(COPY + BYTES - 8)), MARKER)
    end(state)
    last = u64(parameters.ram_end - BYTES)
    begin(state, bytes_address(b"own-end\0"), last)
    fill(last, UNTOUCHED)
    write_memory(last)
    expect(state, bytes_address(b"first\0"), load_u64(PA(last)), MARKER)
    expect(state, bytes_address(b"last\0"), load_u64(PA(last + BYTES - 8)), MARKER)
    end(state)


@resident
def reach_across_the_end(state: State, parameters: Parameters) -> None:
    """Write half to L1's last bytes and half beyond them."""
    across = u64(parameters.ram_end - BYTES // 2)
    begin(state, bytes_address(b"across\0"), across)
    fill_buffer(WRITTEN)
    write_memory(across)
    expect(state, bytes_address(b"first\0"), load_u64(PA(across)), WRITTEN)
    end(state)


@resident
def attempt_writes(state: State, parameters: Parameters) -> None:
    """Write to each target what the host will look for."""
    fill_buffer(WRITTEN)
    for i in range(parameters.target_count):
        begin(state, bytes_address(b"write\0"), parameters.targets[i])
        write_memory(parameters.targets[i])
        end(state)


@resident
def attempt_reads(state: State, parameters: Parameters) -> None:
    """Read from each target: neither the canary nor what was written may appear."""
    fill_buffer(UNTOUCHED)
    for i in range(parameters.target_count):
        begin(state, bytes_address(b"read\0"), parameters.targets[i])
        read_memory(parameters.targets[i])
        fill(COPY, MARKER)
        write_memory(COPY)
        for word in range(BYTES // 8):
            value = load_u64(PA(COPY + word * 8))
            seen = u64(0)
            if value == parameters.canary or value == WRITTEN:
                seen = value
            expect(state, bytes_address(b"seen\0"), seen, 0)
        end(state)


@resident
def dma_main(state: State, parameters: Parameters) -> None:
    """Run the payload."""
    begin(state, bytes_address(b"device\0"), NO_SUBJECT)
    config = find_device()
    expect(state, bytes_address(b"found\0"), u64(config != 0), 1)
    end(state)
    if config != 0:
        store_u32(PA(config + PCI_BAR0), BAR_BASE)
        command = load_u32(PA(config + PCI_COMMAND))
        store_u32(PA(config + PCI_COMMAND), u32(command | MEMORY_AND_MASTER))
        reach_own_memory(state, parameters)
        attempt_writes(state, parameters)
        attempt_reads(state, parameters)
        reach_across_the_end(state, parameters)
    finish(state)
