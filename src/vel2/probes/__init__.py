"""Room `probes`: functions of the user's that run at EL2, at traps, and count there.

Here lives what a probe is written with (`maps` and its kinds, `facts`), where it is called
(`place`), and its way from a file to machine code for L0's image, with what it may do (`source`,
`build`). L0's own part, which calls and exchanges probes, is `hyp.probe`; whoever has a machine
puts them there (`control.probes`). No process, no machine and no console may be here. `control` and
all that stands on it may import it.
"""

from vel2.probes.counting import Counters, Hash, Histogram
from vel2.probes.facts import class_of, is_read, is_register, register_of
from vel2.probes.maps import Map
from vel2.probes.notes import Last, Scratch
from vel2.probes.place import Place, probe

__all__ = (
    "Counters",
    "Hash",
    "Histogram",
    "Last",
    "Map",
    "Place",
    "Scratch",
    "class_of",
    "is_read",
    "is_register",
    "probe",
    "register_of",
)
