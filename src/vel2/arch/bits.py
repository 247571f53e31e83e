"""Fields, layouts and registers: the language the rest of `arch` is written in.

A layout is a class whose attributes are fields. The class itself is what other code uses
(`HCR_EL2.NV.mask`, `HCR_EL2.encoding`); an instance holds one value and reads its fields
(`HCR_EL2(0x80000000).RW`). Every check is made when the class is created, so a table that
imports is a table that covers each bit exactly once.
"""

from __future__ import annotations

import difflib
import types
from enum import IntEnum
from typing import Any, ClassVar, NamedTuple, Self, TypeVar, cast, overload


class Field:
    """Contiguous bits of a layout, `msb` down to `lsb` as the Arm ARM writes them.

    :param enum: names of the field's values, for humans and for `compose`.
    :param negative: an enable rather than a trap: the control acts when the field is 0.

    Read on the class it is the Field; read on an instance it is the field's value there.
    """

    name: str
    register: type[Layout]

    def __init__(
        self,
        msb: int,
        lsb: int | None = None,
        enum: type[IntEnum] | None = None,
        *,
        negative: bool = False,
    ) -> None:
        self.msb = msb
        self.lsb = msb if lsb is None else lsb
        self.enum = enum
        self.negative = negative
        self.width = self.msb - self.lsb + 1
        self.ones = (1 << self.width) - 1 if self.width > 0 else 0
        self.mask = self.ones << self.lsb if self.lsb >= 0 else 0

    def __set_name__(self, owner: type[Layout], name: str) -> None:
        self.name = name
        self.register = owner

    @overload
    def __get__(self, value: None, owner: type[Layout]) -> Field: ...
    @overload
    def __get__(self, value: Layout, owner: type[Layout]) -> int: ...
    def __get__(self, value: Layout | None, owner: type[Layout]) -> Field | int:
        return self if value is None else self.get(value.value)

    def __set__(self, value: Layout, x: int) -> None:
        value.value = self.set(value.value, x)

    def __repr__(self) -> str:
        return (
            self.full_name if hasattr(self, "register") else f"{type(self).__name__}({self.bits})"
        )

    @property
    def bits(self) -> str:
        """Give the position as the Arm ARM prints it: `5`, or `31:26`."""
        return str(self.msb) if self.msb == self.lsb else f"{self.msb}:{self.lsb}"

    @property
    def full_name(self) -> str:
        """Give `REGISTER.FIELD`."""
        return f"{self.register.name}.{self.name}"

    def get(self, value: int) -> int:
        """Extract the field from `value`."""
        return (value & self.mask) >> self.lsb

    def put(self, x: int) -> int:
        """Shift `x` into place.

        :raises ValueError: `x` does not fit; nothing is ever cut off silently.
        """
        if not 0 <= x <= self.ones:
            raise ValueError(
                f"{self.full_name}: {x:#x} does not fit bits {self.bits};"
                f" give a value from 0 to {self.ones:#x}."
            )
        return x << self.lsb

    def set(self, value: int, x: int) -> int:
        """Replace the field in `value` by `x`."""
        return (value & ~self.mask) | self.put(x)

    def text(self, value: int) -> str:
        """Show the field of `value` as `NAME`, `NAME=MEMBER` or `NAME=0x..`."""
        x = self.get(value)
        if self.enum is not None and x in set(self.enum):
            return f"{self.name}={self.enum(x).name}"
        return self.name if self.width == 1 and x else f"{self.name}={x:#x}"

    def copy(self) -> Self:
        """Make an unbound twin, so that each register owns its fields."""
        twin = type(self)(self.msb, self.lsb, self.enum, negative=self.negative)
        twin.name = self.name
        return twin


class Reserved(Field):
    """Bits without a name of their own; the subclass says what software may rely on."""


class Res0(Reserved):
    """Bits the Arm ARM calls RES0."""


class Res1(Reserved):
    """Bits the Arm ARM calls RES1."""


class Unknown(Reserved):
    """Bits that read as UNKNOWN, or whose meaning is IMPLEMENTATION DEFINED."""


class Ignored(Reserved):
    """Bits hardware does not look at and leaves to software (translation tables)."""


def _adopt_fields(cls: type[Layout]) -> None:
    """Collect the fields of `cls`, its own and copies of inherited ones, highest bits first."""
    found = {name: x for name, x in vars(cls).items() if isinstance(x, Field)}
    for base in cls.__mro__[1:]:
        for name, x in vars(base).items():
            if isinstance(x, Field) and name not in found:
                twin = x.copy()
                twin.register = cls
                setattr(cls, name, twin)
                found[name] = twin
    cls.fields = tuple(sorted(found.values(), key=lambda f: -f.msb))


def _check_cover(cls: type[Layout]) -> None:
    """Require every bit of `cls` to be declared exactly once."""
    for field in cls.fields:
        if not 0 <= field.lsb <= field.msb < cls.width:
            raise TypeError(
                f"{field.full_name}: bits {field.msb}:{field.lsb} are out of range;"
                f" {cls.name} has bits {cls.width - 1}:0, highest first."
            )
    top = cls.width - 1
    above: Field | None = None
    for field in cls.fields:
        if above is not None and field.msb > top:
            low = max(above.lsb, field.lsb)
            raise TypeError(
                f"{cls.name}: bits {field.msb}:{low} are declared twice,"
                f" by {above.name} and {field.name}."
            )
        if field.msb < top:
            raise _gap(cls, top, field.msb + 1)
        above, top = field, field.lsb - 1
    if top >= 0:
        raise _gap(cls, top, 0)


def _gap(cls: type[Layout], msb: int, lsb: int) -> TypeError:
    return TypeError(
        f"{cls.name}: bits {msb}:{lsb} are not declared; name them or write Res0({msb}, {lsb})."
    )


def _check_enum(field: Field) -> None:
    """Require the names of a field's values to be distinct and to fit the field."""
    if field.enum is None:
        return
    for name, member in field.enum.__members__.items():
        if name != member.name:
            raise TypeError(
                f"{field.full_name}: {field.enum.__name__}.{name} and .{member.name} are both"
                f" {member.value:#x}; keep one."
            )
        if not 0 <= member.value <= field.ones:
            raise TypeError(
                f"{field.full_name}: {field.enum.__name__}.{name} = {member.value:#x} does not fit"
                f" bits {field.bits}."
            )


class Layout:
    """A named arrangement of fields over `width` bits; declare one by subclassing.

    A subclass of a layout has the same fields, as copies that name the subclass as theirs.
    """

    name: ClassVar[str]
    width: ClassVar[int] = 64
    fields: ClassVar[tuple[Field, ...]] = ()
    res0: ClassVar[int]
    res1: ClassVar[int]
    known: ClassVar[int]

    def __init_subclass__(cls, *, width: int | None = None, name: str | None = None) -> None:
        super().__init_subclass__()
        cls.name = cls.__name__ if name is None else name
        if width is not None:
            cls.width = width
        _adopt_fields(cls)
        if cls.fields:
            _check_cover(cls)
            for field in cls.fields:
                _check_enum(field)
        cls.res0 = sum(f.mask for f in cls.fields if isinstance(f, Res0))
        cls.res1 = sum(f.mask for f in cls.fields if isinstance(f, Res1))
        cls.known = sum(f.mask for f in cls.fields if not isinstance(f, Reserved))

    def __init__(self, value: int = 0) -> None:
        if not 0 <= value < 1 << self.width:
            raise ValueError(
                f"{self.name}: {value:#x} is not a {self.width}-bit value;"
                f" give 0 to {(1 << self.width) - 1:#x}."
            )
        self.value = value

    def __int__(self) -> int:
        return self.value

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.value == self.value

    def __hash__(self) -> int:
        return hash((type(self), self.value))

    def __repr__(self) -> str:
        return f"{self.name}({self.value:#x})"

    def __str__(self) -> str:
        return self.describe(self.value)

    @classmethod
    def field(cls, name: str) -> Field:
        """Find a field by its Arm name.

        :raises TypeError: no such field; the sentence names the nearest ones.
        """
        for field in cls.fields:
            if field.name == name and not isinstance(field, Reserved):
                return field
        named = [f.name for f in cls.fields if not isinstance(f, Reserved)]
        near = difflib.get_close_matches(name, named, cutoff=0.5)
        hint = f"the nearest are {', '.join(near)}" if near else f"it has {', '.join(named)}"
        raise TypeError(f"{cls.name} has no field {name}; {hint}.")

    @classmethod
    def compose(cls, **values: int) -> int:
        """Build a value from named fields; all other bits, RES1 included, are 0.

        :raises TypeError: no such field.  :raises ValueError: a value does not fit.
        """
        value = 0
        for name, x in values.items():
            value |= cls.field(name).put(x)
        return value

    @classmethod
    def describe(cls, value: int) -> str:
        """Show `value` for humans: `NV|TGE|BSU=0x2`; fields that are 0 are left out.

        Bits set where the layout has RES0, and RES1 bits that are clear, are shown too.
        """
        parts: list[str] = []
        for field in cls.fields:
            x = field.get(value)
            if isinstance(field, Res1):
                if x != field.ones:
                    parts.append(f"RES1[{field.bits}]={x:#x}")
            elif isinstance(field, Reserved):
                if x:
                    parts.append(f"{type(field).__name__.upper()}[{field.bits}]={x:#x}")
            elif x:
                parts.append(field.text(value))
        if value >> cls.width:
            parts.insert(0, f"beyond[{cls.width}]={value >> cls.width:#x}")
        return "|".join(parts) or "0"


class Encoding(NamedTuple):
    """Where a system register or system instruction lives in the A64 MSR/MRS/SYS space."""

    op0: int
    op1: int
    CRn: int
    CRm: int
    op2: int

    @property
    def trap_key(self) -> int:
        """Pack op0:op2:op1:CRn:CRm in 16 bits, the order of ESR_EL2.ISS for EC 0x18."""
        return self.op0 << 14 | self.op2 << 11 | self.op1 << 8 | self.CRn << 4 | self.CRm

    @property
    def generic_name(self) -> str:
        """Give the name assemblers accept for any encoding: `S3_4_C1_C1_0`."""
        return f"S{self.op0}_{self.op1}_C{self.CRn}_C{self.CRm}_{self.op2}"

    @property
    def mrs_field(self) -> int:
        """Pack o0:op1:CRn:CRm:op2 as bits 20:5 of an A64 MRS, MSR or SYS hold them."""
        return self.op0 << 14 | self.op1 << 11 | self.CRn << 7 | self.CRm << 3 | self.op2

    def check(self, owner: str) -> None:
        """Refuse numbers that no instruction can carry.

        :raises TypeError: names `owner`, the number and its range.
        """
        for what, x, top in zip(self._fields, self, (3, 7, 15, 15, 7), strict=True):
            if not 0 <= x <= top:
                raise TypeError(f"{owner}: {what}={x} is out of range; it is 0 to {top}.")


class TrapKey(Layout, width=16):
    """An encoding as `Encoding.trap_key` packs it."""

    op0 = Field(15, 14)
    op2 = Field(13, 11)
    op1 = Field(10, 8)
    CRn = Field(7, 4)
    CRm = Field(3, 0)


def trap_key_from_iss(iss: int) -> int:
    """Turn the ISS of an EC 0x18 trap into a trap key by dropping Rt and Direction."""
    return (iss >> 20 & 3) << 14 | (iss >> 17 & 7) << 11 | (iss >> 10 & 0x7F) << 4 | (iss >> 1 & 15)


def encoding_from_trap_key(key: int) -> Encoding:
    """Unpack a trap key."""
    return Encoding(key >> 14 & 3, key >> 8 & 7, key >> 4 & 15, key & 15, key >> 11 & 7)


def _check_register(cls: type[Register]) -> None:
    """Require what a register says about itself to make sense."""
    if not cls.fields:
        raise TypeError(f"{cls.name}: bits 63:0 are not declared; name them or write Res0(63, 0).")
    if cls.access not in ("RW", "RO", "WO"):
        raise TypeError(f"{cls.name}: access={cls.access!r} is unknown; it is RW, RO or WO.")
    if (cls.vncr is None) != (cls.vncr_class is None):
        raise TypeError(f"{cls.name}: vncr and vncr_class go together; one of them is missing.")
    if cls.vncr is None:
        return
    if cls.vncr % 8 or not 0 <= cls.vncr < 0x1000:
        raise TypeError(
            f"{cls.name}: VNCR offset {cls.vncr:#x} is not a multiple of 8 below 0x1000."
        )
    if cls.vncr_class not in ("A", "P"):
        raise TypeError(f"{cls.name}: vncr_class={cls.vncr_class!r} is unknown; it is A or P.")


class Register(Layout):
    """A 64-bit AArch64 system register.

    :param vncr: offset of its slot in the page VNCR_EL2 points to, with `vncr_class`
        "A" (redirected whenever HCR_EL2.{NV,NV2} is {1,1}) or "P" (the name redirected
        depends on HCR_EL2.NV1).
    :param e2h: register this name reaches from EL2 while HCR_EL2.E2H is 1.
    :param alias_of: register whose state this name accesses (the `_EL12`, `_EL02` names).
    :param layout_of: register that has the same encoding; this class is only its other layout.
    :param access: "RW", "RO" or "WO": which of MRS and MSR exist.
    :param family: a layout that several registers share; it has no encoding itself.
    """

    encoding: ClassVar[Encoding]
    trap_key: ClassVar[int]
    vncr: ClassVar[int | None]
    vncr_class: ClassVar[str | None]
    e2h: ClassVar[str | None]
    alias_of: ClassVar[str | None]
    layout_of: ClassVar[str | None]
    access: ClassVar[str]

    def __init_subclass__(
        cls,
        *,
        op0: int = -1,
        op1: int = -1,
        CRn: int = -1,
        CRm: int = -1,
        op2: int = -1,
        vncr: int | None = None,
        vncr_class: str | None = None,
        e2h: str | None = None,
        alias_of: str | None = None,
        layout_of: str | None = None,
        access: str = "RW",
        name: str | None = None,
        family: bool = False,
    ) -> None:
        super().__init_subclass__(width=64, name=name)
        if family:
            return
        cls.encoding = Encoding(op0, op1, CRn, CRm, op2)
        cls.encoding.check(cls.name)
        cls.trap_key = cls.encoding.trap_key
        cls.vncr, cls.vncr_class = vncr, vncr_class
        cls.e2h, cls.alias_of, cls.layout_of, cls.access = e2h, alias_of, layout_of, access
        _check_register(cls)


R = TypeVar("R", bound=type[Register])


def derive(register: R, name: str, encoding: Encoding, **attributes: Any) -> R:
    """Make another register with the fields of `register`.

    For the members of a family and for aliases; the result is typed as `register` is, so that
    its fields are known to type checkers.
    """
    keywords = encoding._asdict() | attributes | {"name": name}

    def body(namespace: dict[str, Any]) -> None:
        namespace["__module__"] = register.__module__
        namespace["__doc__"] = f"{name}: laid out as {register.name}."

    return cast(R, types.new_class(name, (register,), keywords, body))
