"""Guests: fetching them from Debian, and building what they boot.

Here live the private apt root, the kernels offered, the initramfs writer, the init scripts and L2's
device tree. The guests' files are data to this room: it never starts a machine. It may import
`vel2.lang` and `vel2.arch` (for the VMM that runs inside L1) and `vel2.errors`, never
`vel2.machine`; `control`, `check`, `bench` and `cli` may import it.
"""
