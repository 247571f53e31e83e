"""L0's image: the resident code and its assembly, compiled once and linked where it will run."""

from vel2.hyp import event, layout, start, trap, vectors
from vel2.lang import Image, build_object, link_image

__all__ = ("build",)

ROOTS = (
    start.start,
    start.start_secondary,
    trap.handle_sync,
    trap.handle_irq,
    trap.handle_fiq,
    trap.handle_serror,
    trap.handle_bad_vector,
    trap.handle_watched_sync,
    trap.handle_watched_interrupt,
    event.returned,
)
"""What the assembly calls; everything else is reached from here."""


def build(base: int) -> Image:
    """Build the image for an L0 at physical address `base`."""
    image = link_image(base, [vectors.assemble()], build_object(ROOTS))
    if len(image.data) > layout.IMAGE_MAX_BYTES:
        raise ValueError(f"the image has {len(image.data)} bytes; {layout.IMAGE_MAX_BYTES} fit")
    return image
