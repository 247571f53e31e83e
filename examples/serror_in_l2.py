"""Let an SError come while L2 runs, and see who survives it.

L1's KVM has HCR_EL2.AMO set, so it is L1's to deal with: it passes the error on to L2, whose kernel
panics, and L1 lives. Run it with the Python that vel2 is installed for; `vel2 guests fetch 6.12
busybox` comes first.
"""

import vel2


def main() -> None:
    """Boot Linux and a Linux in it, and break L2's 2000th exit."""
    machine = vel2.boot(kernel="6.12", memory="1G")
    exits = 0

    @machine.on_trap(ec=vel2.EC.DABT_LOWER, level="l2")
    def break_it(trap: vel2.HookedTrap) -> vel2.Answer | None:
        nonlocal exits
        exits += 1
        if exits != 2000:
            return None
        break_it.remove()
        print("an SError instead of:", trap)
        return trap.inject("serror")

    with machine:
        machine.wait_for("L1# ")
        machine.type("l2\n")
        print("L2:", machine.wait_for(r"SError Interrupt on CPU0, code 0x[0-9a-f]+")[0])
        print("L2:", machine.wait_for(r"Kernel panic - not syncing: [^\r\n]*")[0])
        machine.wait_for("L1# ")
        machine.type("echo L1 lives, $(uname -r)\n")
        print(machine.wait_for(r"^L1 lives, .*6\.12[^\r\n]*")[0])


if __name__ == "__main__":
    main()
