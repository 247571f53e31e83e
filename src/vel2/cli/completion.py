"""`vel2 completion`: the script that teaches a shell our commands."""

import click
from click.shell_completion import get_completion_class

__all__ = ("completion",)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    Examples:
      source <(vel2 completion bash)                    in ~/.bashrc
      source <(vel2 completion zsh)                     in ~/.zshrc
      vel2 completion fish > ~/.config/fish/completions/vel2.fish
    """  # noqa: D301
    shell_class = get_completion_class(shell)
    assert shell_class is not None, "click knows the three shells the argument allows"
    group = context.find_root().command
    click.echo(shell_class(group, {}, "vel2", "_VEL2_COMPLETE").source())
