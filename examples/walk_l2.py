"""Follow an address of L2 to the machine's memory: L2's tables, L1's, and L0's shadow of both.

Run it with the Python that vel2 is installed for; `vel2 guests fetch 6.12 busybox` comes first.
"""

import vel2


def main() -> None:
    """Stop at an instruction of L2's kernel, and walk from its address."""
    with vel2.boot(kernel="6.12", memory="1G") as machine:
        machine.wait_for("L1# ")
        machine.type("l2\n")
        # By then L2 has its MMU on: it uses its first device.
        trap = machine.run_until_trap(
            ec=vel2.EC.DABT_LOWER, level="l2", when=lambda cpu, esr: bool(esr.ISS >> 24)
        )
        walk = trap.vcpu.walk(trap.pc, "l2")
        print(trap)
        print(walk)
        same = walk.shadow == walk.pa
        print("hardware's shadow", "agrees" if same else "differs")


if __name__ == "__main__":
    main()
