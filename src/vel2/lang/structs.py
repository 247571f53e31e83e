"""Structures over shared memory, with one layout for CPython and for machine code.

The order of definition is the layout, fields are naturally aligned as in C, integers are
little-endian:

    class Context(Struct):
        sctlr = scalar(u64)
        x = array(u64, 31)
        timer = nested(Timer)

In CPython an instance is a view over a buffer (`Context(buffer, offset)`), or owns its memory
(`Context()`). In resident code it is a pointer.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast, overload

from vel2.lang.types import Scalar

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

if sys.byteorder != "little":
    raise ImportError("vel2 needs a little-endian host: structures are shared with AArch64 memory")

StructT = TypeVar("StructT", bound="Struct")
IntT = TypeVar("IntT", bound=int)
Views = tuple[memoryview, memoryview, memoryview, memoryview]

_FORMATS: tuple[Literal["B", "H", "I", "Q"], ...] = ("B", "H", "I", "Q")


def views_of(buffer: ReadableBuffer) -> Views:
    """Cast one buffer to memoryviews of 1, 2, 4 and 8 byte units, each as far as whole units go."""
    octets = memoryview(buffer).cast("B")
    casts = []
    for log_size, code in enumerate(_FORMATS):
        usable = len(octets) >> log_size << log_size
        # An empty view cannot be cast, so a buffer too short for one unit gets an empty slice.
        unit = octets[:usable] if usable else memoryview(bytes(8))
        casts.append(unit.cast(code) if usable else unit.cast(code)[:0])
    return casts[0], casts[1], casts[2], casts[3]


class Field:
    """Base of the fields of a Struct: a data descriptor that knows its place.

    `offset`, `size` and `alignment` are in bytes; `count` is None unless the field is an array.
    """

    def __init__(self, element: type, count: int | None, offset: int | None) -> None:
        self.element: Any = bool if element is bool else element
        if not (
            element is bool or (isinstance(element, Scalar | StructMeta) and element is not Struct)
        ):
            raise TypeError(
                f"a field cannot hold {element!r}: give u8, u16, u32, u64, bool, an address type "
                "or a Struct"
            )
        if count is not None and (not isinstance(count, int) or count < 1):
            raise TypeError(f"an array cannot have {count!r} elements: give a number of at least 1")
        self.name = ""
        self.count = count
        self.length = count or 1
        self.wanted_offset = offset
        self.offset = 0
        self.stride = 1 if element is bool else element.size
        self.alignment = element.alignment if isinstance(element, StructMeta) else self.stride
        self.size = self.stride * self.length
        self._log = self.stride.bit_length() - 1

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        element = (
            "bool" if self.element is bool else getattr(self.element, "__name__", self.element)
        )
        length = "" if self.count is None else f"[{self.count}]"
        return f"<{self.name}: {element}{length} at {self.offset:#x}>"


class ScalarField(Field, Generic[IntT]):
    """An integer field: reads and writes one naturally aligned unit."""

    @overload
    def __get__(self, instance: None, owner: type) -> ScalarField[IntT]: ...
    @overload
    def __get__(self, instance: Struct, owner: type) -> IntT: ...
    def __get__(self, instance: Struct | None, owner: type) -> ScalarField[IntT] | IntT:
        if instance is None:
            return self
        view = instance._views[self._log]
        value: Any = view[(instance._offset + self.offset) >> self._log]
        return value  # type: ignore[no-any-return]

    def __set__(self, instance: Struct, value: IntT) -> None:
        view = instance._views[self._log]
        try:
            view[(instance._offset + self.offset) >> self._log] = value
        except ValueError:
            raise ValueError(
                f"{type(instance).__name__}.{self.name} cannot hold {value:#x}: "
                f"it has {8 * self.stride} bits"
            ) from None


class BoolField(ScalarField[bool]):
    """A one-byte field that is True or False."""

    def __get__(self, instance: Any, owner: type) -> Any:
        value = super().__get__(instance, owner)
        return value if instance is None else bool(value)


class ArrayView(Generic[IntT]):
    """The elements of an integer array field of one instance."""

    __slots__ = ("_count", "_first", "_view")

    def __init__(self, view: memoryview, first: int, count: int) -> None:
        self._view, self._first, self._count = view, first, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> IntT:
        if not 0 <= index < self._count:
            raise _index_error(index, self._count)
        value: Any = self._view[self._first + index]
        return value  # type: ignore[no-any-return]

    def __setitem__(self, index: int, value: IntT) -> None:
        if not 0 <= index < self._count:
            raise _index_error(index, self._count)
        try:
            self._view[self._first + index] = value
        except ValueError:
            raise ValueError(
                f"element {index} cannot hold {value:#x}: it has {8 * self._view.itemsize} bits"
            ) from None

    def __iter__(self) -> Iterator[IntT]:
        values: Any = self._view[self._first : self._first + self._count]
        return iter(values)


class StructArrayView(Generic[StructT]):
    """The elements of an array-of-structures field of one instance."""

    __slots__ = ("_count", "_element", "_offset", "_views")

    def __init__(self, views: Views, offset: int, element: type[StructT], count: int) -> None:
        self._views, self._offset, self._element, self._count = views, offset, element, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> StructT:
        if not 0 <= index < self._count:
            raise _index_error(index, self._count)
        return self._element._over(self._views, self._offset + index * self._element.size)

    def __iter__(self) -> Iterator[StructT]:
        return (self[index] for index in range(self._count))


def _index_error(index: int, count: int) -> IndexError:
    return IndexError(f"index {index} is outside an array of {count}: give 0 to {count - 1}")


class ArrayField(Field, Generic[IntT]):
    """A fixed number of integers."""

    @overload
    def __get__(self, instance: None, owner: type) -> ArrayField[IntT]: ...
    @overload
    def __get__(self, instance: Struct, owner: type) -> ArrayView[IntT]: ...
    def __get__(self, instance: Struct | None, owner: type) -> ArrayField[IntT] | ArrayView[IntT]:
        if instance is None:
            return self
        first = (instance._offset + self.offset) >> self._log
        return ArrayView(instance._views[self._log], first, self.length)

    def __set__(self, instance: Struct, value: object) -> None:
        raise AttributeError(f"array {self.name} cannot be assigned: assign its elements")


class StructArrayField(Field, Generic[StructT]):
    """A fixed number of structures."""

    @overload
    def __get__(self, instance: None, owner: type) -> StructArrayField[StructT]: ...
    @overload
    def __get__(self, instance: Struct, owner: type) -> StructArrayView[StructT]: ...
    def __get__(
        self, instance: Struct | None, owner: type
    ) -> StructArrayField[StructT] | StructArrayView[StructT]:
        if instance is None:
            return self
        return StructArrayView(
            instance._views, instance._offset + self.offset, self.element, self.length
        )

    def __set__(self, instance: Struct, value: object) -> None:
        raise AttributeError(f"array {self.name} cannot be assigned: assign its elements")


class NestedField(Field, Generic[StructT]):
    """A structure inside a structure."""

    @overload
    def __get__(self, instance: None, owner: type) -> NestedField[StructT]: ...
    @overload
    def __get__(self, instance: Struct, owner: type) -> StructT: ...
    def __get__(self, instance: Struct | None, owner: type) -> NestedField[StructT] | StructT:
        if instance is None:
            return self
        element: type[StructT] = self.element
        return element._over(instance._views, instance._offset + self.offset)

    def __set__(self, instance: Struct, value: object) -> None:
        raise AttributeError(f"structure {self.name} cannot be assigned: assign its fields")


def scalar(element: type[IntT], *, offset: int | None = None) -> ScalarField[IntT]:
    """Declare an integer (or bool) field, at `offset` when given, else at the next aligned byte."""
    if element is bool:
        return cast("ScalarField[IntT]", BoolField(element, None, offset))
    if isinstance(element, StructMeta):
        raise TypeError(f"scalar({element.__name__}) is a structure: write nested(...)")
    return ScalarField(element, None, offset)


@overload
def array(element: type[IntT], count: int, *, offset: int | None = None) -> ArrayField[IntT]: ...
@overload
def array(
    element: type[StructT], count: int, *, offset: int | None = None
) -> StructArrayField[StructT]: ...
def array(element: type[Any], count: int, *, offset: int | None = None) -> Any:
    """Declare `count` elements of an integer type or a Struct."""
    if element is bool:
        raise TypeError("an array cannot hold bool: give u8")
    if isinstance(element, StructMeta):
        return StructArrayField[Any](element, count, offset)
    return ArrayField[Any](element, count, offset)


def nested(element: type[StructT], *, offset: int | None = None) -> NestedField[StructT]:
    """Declare a structure inside the structure."""
    if not isinstance(element, StructMeta):
        raise TypeError(f"nested({element!r}) is not a Struct: write scalar(...)")
    return NestedField(element, None, offset)


_STEP = re.compile(r"\.?(?:(?P<field>[A-Za-z_]\w*)|\[(?P<index>\d+)\])")


class StructMeta(type):
    """Lay out the fields of a Struct when the class is made."""

    size: int
    alignment: int
    fields: Mapping[str, Field]

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any
    ) -> StructMeta:
        """Make the class; instances have no `__dict__`, so a misspelt field is an error."""
        if any(isinstance(base, StructMeta) and base.fields for base in bases):
            raise TypeError(
                f"{name} cannot extend {bases[0].__name__}: use a nested() field instead"
            )
        return super().__new__(mcs, name, bases, {"__slots__": (), **namespace})

    def __init__(
        cls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        size: int | None = None,
        alignment: int = 1,
    ) -> None:
        super().__init__(name, bases, namespace)
        end = 0
        fields: dict[str, Field] = {}
        for field_name, field in namespace.items():
            if not isinstance(field, Field):
                continue
            if field in fields.values():
                raise TypeError(
                    f"{name}.{field_name} is a field already: call scalar(), array() or nested() "
                    "again"
                )
            start = -(-end // field.alignment) * field.alignment
            if field.wanted_offset is not None:
                if field.wanted_offset < end or field.wanted_offset % field.alignment:
                    raise TypeError(
                        f"{name}.{field_name} cannot be at {field.wanted_offset:#x}: give a "
                        f"multiple of {field.alignment} that is at least {start:#x}"
                    )
                start = field.wanted_offset
            field.offset = start
            end = start + field.size
            alignment = max(alignment, field.alignment)
            fields[field_name] = field
        end = -(-end // alignment) * alignment
        if size is not None and (size < end or size % alignment):
            raise TypeError(
                f"{name} cannot have {size:#x} bytes: give a multiple of {alignment} that is at "
                f"least {end:#x}"
            )
        cls.fields = MappingProxyType(fields)
        cls.size = end if size is None else size
        cls.alignment = alignment

    def offset_of(cls, path: str) -> int:
        """Give the byte offset of a field: `"x"`, `"timer.cval"`, `"x[3]"` or `"banks[1].elr"`."""
        here: Field | None = None
        struct: StructMeta | None = cls
        offset = position = 0
        while position < len(path):
            step = _STEP.match(path, position)
            if step is None:
                break
            position = step.end()
            if (index := step["index"]) is not None:
                if here is None or here.count is None or int(index) >= here.count:
                    break
                offset += int(index) * here.stride
                struct, here = _as_struct(here.element), None
            else:
                if struct is None or step["field"] not in struct.fields:
                    break
                here = struct.fields[step["field"]]
                offset += here.offset
                struct = _as_struct(here.element) if here.count is None else None
        else:
            if path:
                return offset
        raise KeyError(f"{cls.__name__} has no field {path!r}: it has {', '.join(cls.fields)}")


def _as_struct(element: object) -> StructMeta | None:
    return element if isinstance(element, StructMeta) else None


class Struct(metaclass=StructMeta):
    """A structure in memory; see the module's text.

    Class arguments: `size=` pads to a number of bytes, `alignment=` raises the alignment.
    """

    __slots__ = ("_offset", "_views")
    _views: Views
    _offset: int

    def __init__(self, buffer: ReadableBuffer | None = None, offset: int = 0) -> None:
        """View `buffer` from `offset`, or own fresh zeroed memory when no buffer is given."""
        cls = type(self)
        if buffer is None:
            buffer = bytearray(max(cls.size, 8))
        views = views_of(buffer)
        if offset % cls.alignment:
            raise ValueError(
                f"{cls.__name__} cannot be at {offset:#x}: give a multiple of {cls.alignment}"
            )
        length = len(views[0])
        if not 0 <= offset <= length - cls.size:
            raise ValueError(
                f"{cls.__name__} needs {cls.size:#x} bytes at {offset:#x}, but the buffer has "
                f"{length:#x}"
            )
        self._views = views
        self._offset = offset

    @classmethod
    def _over(cls: type[StructT], views: Views, offset: int) -> StructT:
        """Make a view that shares casts already made; the caller has checked the bounds."""
        instance = object.__new__(cls)
        instance._views = views
        instance._offset = offset
        return instance

    @property
    def host_address(self) -> int:
        """Give where the structure lies in this process's memory; the buffer must be writable."""
        octets = self._views[0]
        return ctypes.addressof(ctypes.c_char.from_buffer(octets)) + self._offset

    def to_bytes(self) -> bytes:
        """Copy the structure's memory."""
        octets = self._views[0]
        return bytes(octets[self._offset : self._offset + type(self).size])

    def __repr__(self) -> str:
        parts = []
        for name, field in type(self).fields.items():
            if field.count is None and not isinstance(field.element, StructMeta):
                parts.append(f"{name}={int(getattr(self, name)):#x}")
        return f"{type(self).__name__}({', '.join(parts)})"
