"""A value of a register or descriptor: a number that knows its fields."""

from typing import Self

from vel2.arch.bits import Layout, Register
from vel2.explain.register import explain_value, fields_of

__all__ = ("Value",)


class Value(int):
    """An int that has the fields of a layout: `value.TGE`, `value.replace(TGE=0)`.

    It prints decoded. It is a copy: a changed one must be assigned to the register again.
    """

    layout: type[Layout]

    def __new__(cls, layout: type[Layout], value: int) -> Self:
        """Give `value` the fields of `layout`."""
        made = super().__new__(cls, value)
        object.__setattr__(made, "layout", layout)
        return made

    def __getattr__(self, name: str) -> int:
        try:
            return self.layout.field(name).get(int(self))
        except TypeError as error:
            raise AttributeError(str(error)) from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(
            f"{self.layout.name}.{name} of a value that was read cannot be changed; assign the"
            f" whole register, as in level.{self.layout.name} = value.replace({name}={value})."
        )

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.fields]

    def __repr__(self) -> str:
        return f"{self.layout.name}({int(self):#x})"

    def __str__(self) -> str:
        return f"{self.layout.name} = {int(self):#x} ({self.layout.describe(int(self))})"

    @property
    def fields(self) -> dict[str, int]:
        """The named fields and their values, highest bits first."""
        named = [part.field for part in fields_of(self.layout, int(self))]
        found = self.layout
        return {f.name: f.get(int(self)) for f in named if f.mask & found.known}

    def replace(self, **fields: int) -> Self:
        """Give the value with other fields.

        :raises TypeError: when there is no such field. :raises ValueError: when a value does not
            fit.
        """
        value = int(self)
        for name, x in fields.items():
            value = self.layout.field(name).set(value, x)
        return type(self)(self.layout, value)

    def explain(self) -> str:
        """Say what each field is, what is wrong, and what traps: `vel2 explain`."""
        if issubclass(self.layout, Register):
            return "\n".join(explain_value(self.layout, int(self)))
        return str(self)
