"""The machine below: QEMU as an object, its RAM, consoles, device tree, and loading guests into it.

This room has what the host must know about QEMU's `virt` board and about kernel file formats.
Nothing here knows what runs at EL2, and hypervisor logic does not belong here. It may import
`vel2.arch` and `vel2.errors`; `control`, `check`, `bench` and `cli` may import it.
"""
