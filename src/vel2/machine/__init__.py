"""The machine below: QEMU as an object, its RAM, consoles, device tree, and loading guests into it.

Here lives what the host must know about QEMU's `virt` board and about kernel file formats. Nothing
here knows what runs at EL2, and no hypervisor logic belongs here. It may import `vel2.arch` and
`vel2.errors`; `control`, `check`, `bench` and `cli` may import it.
"""
