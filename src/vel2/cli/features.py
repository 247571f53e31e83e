"""`vel2 features`: what L1 sees of the architecture's features, by their records."""

import click

from vel2.arch.features import FEATURES, Feature, by_name, registers_of
from vel2.errors import UserError

__all__ = ("features",)


@click.command()
@click.argument("name", required=False)
def features(name: str | None) -> None:
    """Show which features L1 sees, or all about the one called NAME.

    What L1 sees it has where the machine has it. QEMU does not run.

    \b
    Examples:
      vel2 features                      all, with why some are hidden
      vel2 features FEAT_TCR2            its registers and control bits
    """  # noqa: D301
    if name is None:
        for feature in FEATURES:
            seen = "shown" if feature.hidden is None else f"hidden: {feature.hidden.why}"
            if feature.option:
                seen += f" with {feature.option}"
            click.echo(f"{feature.name:<44} {seen}")
        return
    click.echo("\n".join(describe(find(name))))


def find(name: str) -> Feature:
    """Find a feature by its name.

    :raises UserError: when no record has it.
    """
    try:
        return by_name(name)
    except KeyError:
        raise UserError(
            f"no record is of a feature {name!r}: see `vel2 features` for the names."
        ) from None


def describe(feature: Feature) -> list[str]:
    """Say what a record says, in lines."""
    lines = [f"{feature.name}: {feature.register.name}.{feature.field.name} >= {feature.value}"]
    if feature.hidden is None:
        given = f", with {feature.option}" if feature.option else ""
        lines.append(f"L1 sees it where the machine has it{given}.")
    else:
        lines += [f"hidden: {feature.hidden.why}", f"using it: {feature.hidden.using}"]
    if feature.registers:
        names = " ".join(register.name for register in registers_of(feature))
        lines.append(f"registers: {names}")
    if feature.controls:
        bits = " ".join(f"{each.register.__name__}.{each.name}" for each in feature.controls)
        lines.append(f"control bits: {bits}")
    return lines
