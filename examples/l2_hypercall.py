"""Show what L1 and L2 each believe SCTLR to be, at L2's first hypercall.

Run it with the Python that vel2 is installed for; `vel2 guests fetch 6.12 busybox` comes first.
"""

import vel2


def main() -> None:
    """Boot Linux, have its KVM start a Linux, and stop where that calls for the first time."""
    with vel2.boot(kernel="6.12", memory="1G") as machine:
        machine.wait_for("L1# ")
        machine.type("l2\n")
        trap = machine.run_until_trap(ec=vel2.EC.HVC64, level="l2")
        vcpu = trap.vcpu
        print(trap)
        print("L1:", vcpu.vel2.SCTLR_EL2)
        print("L2:", vcpu.l2.SCTLR_EL1)
        print("hardware, which holds", vcpu.level, "now:", vcpu.hw.SCTLR_EL1)
        print("L2 may not WFI without L1:", bool(vcpu.vel2.HCR_EL2.TWI))


if __name__ == "__main__":
    main()
