"""What `vel2 run` says when a guest and its machine do not fit, so that nobody has to wonder.

A guest that is sure to hang is refused; of one that only does less than was asked for, the console
tells, and the hint says why and what to try.
"""

import re
import threading
from collections.abc import Mapping, Sequence

from vel2.arch.nesting import Kind, Level
from vel2.cli.streams import say
from vel2.control.session import Session
from vel2.errors import UserError
from vel2.machine.console import Line
from vel2.machine.domains import Domain, takes_domains
from vel2.machine.loader import KernelImage

__all__ = ("KvmMode", "Silence", "check_without_vhe", "domains_hint")

SILENT_S = 15.0
"""A kernel says its first word within 3 s."""

MODE_ASKED = re.compile(r"(?:^|\s)kvm-arm\.mode=(\w+)(?=\s|$)")
MODE_SAID = re.compile(r"kvm \[\d+\]: (.*) mode initialized successfully")
NEEDS_E2H_0 = (
    "where HCR_EL2.E2H is RES1 (--el2 vhe --nv nv2) KVM cannot leave VHE; give --el2 nvhe, or"
    " --nv nv."
)
UNMET: Mapping[str, tuple[str, str]] = {
    "nvhe": (r"VHE\b.*", NEEDS_E2H_0),
    "protected": (r"VHE\b.*", f"{NEEDS_E2H_0} Linux 6.12 and newer need not leave it."),
    "nested": (r"(?!.*NV).*", "L1 was offered no FEAT_NV2 for guest hypervisors of its own."),
}
"""For each `kvm-arm.mode=`: what KVM's own mode is when it did not get it, and why."""


def check_without_vhe(image: KernelImage, el2: Kind, nv: Level) -> None:
    """Refuse Xen where HCR_EL2.E2H is always 1; it would hang before its first word.

    :raises UserError: naming the option that helps.
    """
    if el2 is Kind.VHE and nv is Level.NV2 and takes_domains(image.data):
        raise UserError(
            "Xen does not run with FEAT_VHE, which --el2 vhe --nv nv2 makes it use; give --el2 nvhe"
            " (or --nv nv, where a guest hypervisor chooses by itself)."
        )


def domains_hint(image: KernelImage, domains: Sequence[Domain]) -> str:
    """Say what is odd about the domains given, or not given; nothing when nothing is."""
    if takes_domains(image.data):
        if not domains:
            return (
                "Xen has no domain to start and will panic; give --domain dom0,kernel=6.12 or the"
                " like, see docs/cli.md."
            )
    elif domains:
        return "this kernel is not Xen, which --domain is for; Linux takes no notice of domains."
    return ""


class KvmMode:
    """Listen for the mode that L1's KVM says it is in, and tell why it is not the one asked for.

    :param append: L1's command line.
    """

    def __init__(self, append: str) -> None:
        asked = MODE_ASKED.findall(append)
        # As with most options of Linux, the last one counts.
        self._asked = asked[-1] if asked else ""

    def __call__(self, line: Line) -> None:
        """Take a line of L1's console."""
        if self._asked not in UNMET:
            return
        said = MODE_SAID.search(line.text)
        if said is None:
            return
        unmet, why = UNMET[self._asked]
        if re.fullmatch(unmet, said[1]):
            say(
                f"kvm-arm.mode={self._asked} was asked for, and KVM says its mode is"
                f" {said[1]}: {why}"
            )
        self._asked = ""


class Silence:
    """Say what may be wrong when a guest prints nothing for long."""

    def __init__(self, session: Session) -> None:
        self._timer = threading.Timer(SILENT_S, self.hint)
        self._timer.daemon = True
        self._broken = False
        session.console.on_line(self.end)

    def start(self) -> None:
        """Begin to wait for the first line."""
        if not self._broken:
            self._timer.start()

    def end(self, line: object = None) -> None:
        """Take note that the guest has printed something, or has ended."""
        self._broken = True
        self._timer.cancel()

    def hint(self) -> None:
        """Say it."""
        say(
            f"nothing on the console for {SILENT_S:g} s. A guest hypervisor without FEAT_VHE"
            " needs --el2 nvhe; Linux needs --append console=ttyAMA0; --timeout ends what hangs."
        )
