"""The VMM of L1: a static program in the subset that runs one VM with up to eight vCPUs by KVM.

It gives its guest the board of `l2tree`: RAM, a vGICv3 in the kernel, PSCI in the kernel, and an
8250 UART whose output goes to standard output, each line marked with a label. A thread runs each
vCPU. Where KVM itself is
L0, the same program runs L1: `--el2` gives the vCPU a virtual EL2.
"""

from vel2.guests.vmm.build import build_vmm

__all__ = ("build_vmm",)
