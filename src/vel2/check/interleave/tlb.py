"""What the TLBs of all pcpus may hold: everything that hardware is allowed to have walked.

Hardware may walk the tables that VTTBR_EL2 names at any time, and keep any descriptor of the walk,
tables included, until a TLBI takes it out (Arm ARM D8.17). No simulation could try every time, and
none has to: a walk changes nothing. So nothing is walked here. It is remembered which values each
descriptor had, and from when to when; and for each pcpu, when it had which VMID loaded. What a pcpu
may use is then the worst of all: every path from the root through values that were there while the
pcpu could walk, and that no TLBI has taken out since.

- A store to a table may stay unseen by walks until its pcpu's DSB: until then the value before may
  still be walked. What is stored may be seen at once.
- A TLBI takes out what was gone (by such a DSB) before it; it has done so after its pcpu's DSB. The
  forms without IS or OS do it for that pcpu alone.
- TLBIs by EL1's names leave what stage 2 gave, and take out what stage 1 gave. Of stage 1 there is
  one word, which stands for all that a guest's own tables say.
- Of EL2's own stage 1 there are the windows to L1's VNCR pages, which are always in use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import LAST_LEVEL, Stage2Leaf

if TYPE_CHECKING:
    from vel2.check.interleave.machine import Machine

__all__ = ("WINDOWS", "Tlbs", "Translation", "Walked", "tlb_word", "vmid_of")

VALID = Stage2Leaf.VALID.mask
TABLE = VALID | Stage2Leaf.TYPE.mask
ADDRESS = Stage2Leaf.OA.mask
FOREVER = 1 << 62
ENTRIES_LOG = 9
FIRST_TLB_WORD = -1000
OF_ONE_VMID = "TLBI VMALLS12E1"
OF_ALL = "TLBI ALLE1"
OF_STAGE_1 = "TLBI VMALLE1"
OF_WINDOW = "TLBI VAE2"
WINDOWS = 1 << 17
"""A window's number, added to this, stands where a VMID does."""


def vmid_of(vttbr: int) -> int:
    """Give the VMID of a VTTBR_EL2."""
    return sr.VTTBR_EL2.VMID.get(vttbr)


def tlb_word(vmid: int) -> int:
    """Give the word of the checker's own that a TLBI of a VMID writes."""
    return FIRST_TLB_WORD - vmid


@dataclass
class Past:
    """A value that a descriptor had, and the time in which a walk could read it."""

    value: int
    start: int
    stop: int = FOREVER


@dataclass(frozen=True)
class Invalidation:
    """A TLBI: of which pcpus, which VMID, when, and whether by EL1's name."""

    targets: tuple[int, ...]
    vmid: int
    when: int
    is_of_stage1: bool = False


@dataclass(frozen=True)
class Translation:
    """What an access may be translated to, and by way of which tables."""

    leaf: int
    level: int
    tables: tuple[int, ...]
    is_now: bool
    """By what is in memory now: not only by what a TLB may hold."""


@dataclass
class Walked:
    """All that a pcpu may make of one IPA."""

    translations: list[Translation] = field(default_factory=list)
    tables: set[int] = field(default_factory=set)
    """Every page that may be read as a table."""
    words: set[int] = field(default_factory=set)
    doubled: int | None = None
    """A descriptor of which two valid values may be in use: no break before the make."""


@dataclass
class Tlbs:
    """See the module's text."""

    machine: Machine
    now: int = 0
    past: dict[int, list[Past]] = field(default_factory=dict)
    since: dict[int, int] = field(default_factory=dict)
    unseen: dict[int, list[Past]] = field(default_factory=dict)
    """By pcpu: what its stores have replaced since its last DSB."""
    loads: dict[tuple[int, int], list[list[int]]] = field(default_factory=dict)
    """By pcpu and VMID: from when to when it was loaded."""
    cleared: dict[tuple[int, int], int] = field(default_factory=dict)
    cleared_of_stage1: dict[tuple[int, int], int] = field(default_factory=dict)
    """By pcpu and VMID: what was gone by then is not held any more."""
    issued: dict[int, list[Invalidation]] = field(default_factory=dict)
    """By pcpu: TLBIs that no DSB has completed."""
    entered: dict[tuple[int, int], int] = field(default_factory=dict)
    """By pcpu and VMID: since when it runs the guest whose stage 1 that is. Before, hardware has
    the stage 1 of somebody else."""
    stage1_word: int = -1
    """A guest's stage-1 descriptor."""
    windows: range = range(0)
    """The words of EL2's stage 1 that are the windows of pcpus (`vel2.hyp.vncr`)."""
    saved: dict[tuple[int, int], list[list[int]]] = field(default_factory=dict)
    started: int = 0
    start_level: int = 1
    ipas: tuple[int, ...] = ()
    """The addresses that the scene's guests use."""

    def begin(self) -> None:
        """Say that a run begins as things are now: what was walked before is forgotten."""
        self.saved = {key: [list(span) for span in spans] for key, spans in self.loads.items()}
        self.started = self.now

    def put_back(self) -> None:
        """Make everything what it was when the run began."""
        self.now = self.started
        self.loads = {key: [list(span) for span in spans] for key, spans in self.saved.items()}
        for part in (self.past, self.since, self.unseen, self.issued):
            part.clear()
        for times in (self.cleared, self.cleared_of_stage1, self.entered):
            times.clear()

    def tick(self) -> int:
        """Give the next moment."""
        self.now += 1
        return self.now

    def stored(self, pcpu: int, word: int, before: int) -> None:
        """Learn of a store to a table."""
        now = self.tick()
        past = Past(before, self.since.get(word, 0))
        self.since[word] = now
        if pcpu < 0:
            return
        self.past.setdefault(word, []).append(past)
        self.unseen.setdefault(pcpu, []).append(past)

    def loaded(self, pcpu: int, vttbr: int) -> None:
        """Learn that a pcpu has another VTTBR_EL2."""
        now = self.tick()
        for (number, _), spans in self.loads.items():
            if number == pcpu and spans[-1][1] == FOREVER:
                spans[-1][1] = now
        self.loads.setdefault((pcpu, vmid_of(vttbr)), []).append([now, FOREVER])

    def enters(self, pcpu: int, vttbr: int) -> None:
        """Learn that a pcpu goes on in the guest, with the guest's own stage 1."""
        self.entered.setdefault((pcpu, vmid_of(vttbr)), self.tick())

    def invalidates(self, pcpu: int, name: str, vttbr: int, operand: int = 0) -> None:
        """Learn of a TLBI."""
        stem = name.removesuffix("NXS")
        everywhere = stem.endswith(("IS", "OS"))
        stem = stem[:-2] if everywhere else stem
        targets = tuple(each.number for each in self.machine.pcpus) if everywhere else (pcpu,)
        now = self.tick()
        if stem == OF_ONE_VMID:
            self.issued.setdefault(pcpu, []).append(Invalidation(targets, vmid_of(vttbr), now))
        elif stem == OF_STAGE_1:
            invalidation = Invalidation(targets, vmid_of(vttbr), now, is_of_stage1=True)
            self.issued.setdefault(pcpu, []).append(invalidation)
        elif stem == OF_WINDOW:
            window = WINDOWS + (operand & (1 << ENTRIES_LOG) - 1)
            self.issued.setdefault(pcpu, []).append(Invalidation(targets, window, now))
        elif stem == OF_ALL:
            for vmid in {vmid for _, vmid in self.loads}:
                self.issued.setdefault(pcpu, []).append(Invalidation(targets, vmid, now))

    def completes(self, pcpu: int) -> list[int]:
        """Say what a DSB would complete: the words of the checker's own that it writes."""
        return sorted({tlb_word(each.vmid) for each in self.issued.get(pcpu, ())})

    def synchronized(self, pcpu: int) -> None:
        """Do a DSB."""
        now = self.tick()
        for past in self.unseen.pop(pcpu, ()):
            past.stop = now
        for each in self.issued.pop(pcpu, ()):
            for target in each.targets:
                key = target, each.vmid
                # A DSB may complete a TLBI after one that was begun later.
                before = self.cleared_of_stage1.get(key, -1)
                self.cleared_of_stage1[key] = max(each.when, before)
                if not each.is_of_stage1:
                    self.cleared[key] = max(each.when, self.cleared.get(key, -1))

    def values(self, pcpu: int, vmid: int, word: int, after: int) -> dict[int, tuple[int, bool]]:
        """Give what a pcpu may take a descriptor for: from when on, and whether it is that now.

        :param after: when it came to this table. A walk reads a table after what leads to it.
        """
        found = {self.machine.words[word]: (max(after, self.since.get(word, 0)), True)}
        spans = self.loads.get((pcpu, vmid), [])
        cleared = self.cleared.get((pcpu, vmid), -1)
        if word == self.stage1_word:
            spans = [[self.entered.get((pcpu, vmid), FOREVER), FOREVER]]
            cleared = self.cleared_of_stage1.get((pcpu, vmid), -1)
        elif word in self.windows:
            spans = [[0, FOREVER]]
            cleared = self.cleared.get((pcpu, WINDOWS + word - self.windows.start), -1)
        for past in self.past.get(word, ()):
            if past.stop <= cleared:
                continue
            for start, stop in spans:
                begin = max(start, past.start, after)
                if begin < min(stop, past.stop):
                    before, is_now = found.get(past.value, (FOREVER, False))
                    found[past.value] = min(begin, before), is_now
        return found

    def walk(self, pcpu: int, vttbr: int, ipa: int) -> Walked:
        """Find all that a pcpu, with a VTTBR_EL2 loaded, may make of an IPA."""
        found = Walked()
        root = vttbr & ADDRESS
        self._walk(found, pcpu, vmid_of(vttbr), ipa, self.start_level, (root,), 0, True)
        return found

    def _walk(
        self,
        found: Walked,
        pcpu: int,
        vmid: int,
        ipa: int,
        level: int,
        tables: tuple[int, ...],
        after: int,
        is_now: bool,
    ) -> None:
        table = tables[-1]
        found.tables.add(table)
        shift = 12 + ENTRIES_LOG * (LAST_LEVEL - level)
        index = ipa >> shift & ((1 << ENTRIES_LOG) - 1)
        word = (table - self.machine.memory_base >> 3) + index
        if word not in self.machine.tables:
            return
        found.words.add(word)
        valid = 0
        for value, (begin, is_current) in self.values(pcpu, vmid, word, after).items():
            if not value & VALID:
                continue
            valid += 1
            still = is_now and is_current
            if level < LAST_LEVEL and value & TABLE == TABLE:
                below = (*tables, value & ADDRESS)
                self._walk(found, pcpu, vmid, ipa, level + 1, below, begin, still)
            else:
                found.translations.append(Translation(value, level, tables, still))
        if valid > 1:
            found.doubled = word

    def walk_words(self, vttbr: int) -> list[int]:
        """List the descriptors that walks under a VTTBR_EL2 read now, for the scene's addresses."""
        words: set[int] = set()
        for ipa in self.ipas:
            table = vttbr & ADDRESS
            for level in range(self.start_level, LAST_LEVEL + 1):
                shift = 12 + ENTRIES_LOG * (LAST_LEVEL - level)
                word = (table - self.machine.memory_base >> 3) + (ipa >> shift & 511)
                if word not in self.machine.tables:
                    break
                words.add(word)
                value = self.machine.words[word]
                if value & TABLE != TABLE:
                    break
                table = value & ADDRESS
        return sorted(words)
