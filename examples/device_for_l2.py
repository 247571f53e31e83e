"""Give L2 a device that is a few lines of Python: a thermometer at an address where L1 has nothing.

L2 loads from it by its own page tables; L1's KVM and its VMM see nothing of it.
Run it with the Python that vel2 is installed for; `vel2 guests fetch 6.12 busybox` comes first.
"""

import vel2

THERMOMETER = 0x0B00_0000
UNIT, DEGREES = 0x0, 0x4


def main() -> None:
    """Boot Linux and a Linux in it, and have L2's shell read and set the device."""
    machine = vel2.boot(kernel="6.12", memory="1G")
    registers = {UNIT: 0, DEGREES: 21}

    @machine.on_mmio(THERMOMETER, 0x1000, level="l2")
    def thermometer(trap: vel2.HookedTrap) -> vel2.Answer | None:
        if trap.ipa is None or trap.size is None:
            return None
        offset = trap.ipa - THERMOMETER
        if trap.is_read:
            return trap.reads(registers.get(offset, 0))
        assert trap.value is not None
        print(f"L2 stores {trap.value} at offset {offset:#x}, {trap.size} bytes")
        registers[offset] = trap.value
        if offset == UNIT:
            registers[DEGREES] = 70 if trap.value else 21
        return trap.skip()

    with machine:
        machine.wait_for("L1# ")
        machine.type("l2 shell\n")
        machine.wait_for("L2# ")
        for command in ("0xb000004", "0xb000000 32 1", "0xb000004"):
            machine.type(f"busybox devmem {command}\n")
            found = machine.wait_for(r"^(0x[0-9A-F]{8})?\r?\n?L2# ")
            if found[1]:
                print("L2 reads", int(found[1], 16), "degrees")


if __name__ == "__main__":
    main()
