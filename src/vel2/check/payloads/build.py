"""Building payloads: the subset part, the assembly, and the parameters patched in."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from vel2.check.payloads.assembly import assemble
from vel2.check.payloads.exceptions import exceptions_main
from vel2.check.payloads.features import features_main
from vel2.check.payloads.interrupts import interrupts_main
from vel2.check.payloads.isolation import isolation_main
from vel2.check.payloads.layout import (
    IMAGE_BASE,
    MAX_TARGETS,
    MEMORY_BYTES,
    RAM_BASE,
    STATE,
    Parameters,
)
from vel2.check.payloads.runtime import unexpected_exception
from vel2.check.payloads.stage2 import stage2_main
from vel2.errors import UserError
from vel2.lang import Image, build_object, link_image

__all__ = ("PAYLOADS", "build_payload")

PAYLOADS: dict[str, Callable[..., Any]] = {
    "exceptions": exceptions_main,
    "features": features_main,
    "interrupts": interrupts_main,
    "isolation": isolation_main,
    "stage2": stage2_main,
}
"""Every payload by name: what its assembly calls with (state, parameters)."""


@cache
def _image(name: str) -> Image:
    main = PAYLOADS[name]
    code = build_object((main, unexpected_exception))
    image = link_image(IMAGE_BASE, [assemble(main.__name__)], code)
    if image.end > STATE:
        raise ValueError(f"the payload {name} has {len(image.data)} bytes, too many")
    return image


def build_payload(
    name: str,
    targets: Sequence[int] = (),
    canary: int = 0,
    memory_bytes: int = MEMORY_BYTES,
) -> bytes:
    """Build a payload as an arm64 Image.

    :param targets: addresses where L1 has nothing, for `isolation`.
    :param canary: what the host has put there, for `isolation`.
    :param memory_bytes: L1's RAM.
    :raises UserError: when there is no such payload, or too many targets.
    """
    if name not in PAYLOADS:
        raise UserError(f"there is no payload {name}; give one of {', '.join(PAYLOADS)}.")
    if len(targets) > MAX_TARGETS:
        raise UserError(f"{len(targets)} targets are too many; give at most {MAX_TARGETS}.")
    image = _image(name)
    data = bytearray(image.data)
    parameters = Parameters(data, image.symbols["parameters"] - image.base)
    parameters.ram_end = RAM_BASE + memory_bytes
    parameters.canary = canary
    parameters.target_count = len(targets)
    for index, target in enumerate(targets):
        parameters.targets[index] = target
    return bytes(data)
