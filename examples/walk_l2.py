"""Follow an address of L2 to the machine's memory: L2's tables, L1's, and L0's shadow of both.

Run it with the Python that vel2 is installed for; `vel2 guests fetch 6.12 busybox` comes first.
"""

import vel2


def main() -> None:
    """Stop at the first hypercall of L2's kernel, and walk from its address."""
    with vel2.boot(kernel="6.12", memory="1G") as machine:
        machine.wait_for("L1# ")
        machine.type("l2\n")
        trap = machine.run_until_trap(ec=vel2.EC.HVC64, level="l2")
        walk = trap.vcpu.walk(trap.pc, "l2")
        print(trap)
        print(walk)
        same = walk.shadow == walk.pa
        print("hardware's shadow", "agrees" if same else "differs")


if __name__ == "__main__":
    main()
