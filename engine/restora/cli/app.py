"""The commands, put together."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from restora.cli.console import set_up_logging
from restora.version import __version__

app = typer.Typer(
    name="restora",
    help="Restore old and damaged photos.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        # --tile_pad is --tile-pad; values stay as they are, also those that begin with hyphens
        "token_normalize_func": lambda token: token.replace("_", "-"),
    },
    rich_markup_mode="rich",
)
_VERBOSE_HELP = "Verbose logging on stderr."


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"restora {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", envvar="RESTORA_VERBOSE", help=_VERBOSE_HELP)
    ] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    set_up_logging(verbose)


def run(arguments: list[str]) -> None:
    """Run one command line and end the process with its exit code."""
    make_command()(args=arguments, prog_name="restora")


def make_command() -> Any:
    """The whole tree of commands. Each takes -v too, before or after its name."""
    from restora.cli.bench import bench_app
    from restora.cli.build import build
    from restora.cli.cache import cache_app
    from restora.cli.calibrate import calibrate
    from restora.cli.cluster import cluster
    from restora.cli.doctor import doctor
    from restora.cli.evaluate import evaluate
    from restora.cli.export import export_model
    from restora.cli.models import models_app
    from restora.cli.restore import restore
    from restora.cli.sample import sample
    from restora.cli.verify import verify
    from restora.cli.video import video

    app.registered_commands.clear()
    app.registered_groups.clear()
    app.command("restore")(restore)
    app.command("export")(export_model)
    app.command("video")(video)
    app.command("cluster")(cluster)
    app.command("verify")(verify)
    app.command("calibrate")(calibrate)
    app.add_typer(models_app, name="models")
    app.command("build")(build)
    app.add_typer(cache_app, name="cache")
    app.add_typer(bench_app, name="bench")
    app.command("evaluate")(evaluate)
    app.command("doctor")(doctor)
    app.command("sample")(sample)
    root = typer.main.get_command(app)
    _finish(root, verbose=False)
    return root


def _finish(command: Any, *, verbose: bool = True) -> None:
    """Help as it is written: docstrings are wrapped to the terminal, brackets are no markup."""
    command.help = _flow(command.help)
    for parameter in command.params:
        if getattr(parameter, "help", None):
            parameter.help = _flow(parameter.help)
    if verbose:
        command.params.append(_make_verbose_option())
    if isinstance(command, TyperGroup):
        for inner in command.commands.values():
            _finish(inner)


def _make_verbose_option() -> Any:
    """-v of a single command, made by Typer itself: its own option class changes with versions."""
    maker = typer.Typer(add_completion=False)

    @maker.command()
    def command(
        verbose: Annotated[
            bool,
            typer.Option(
                "--verbose", "-v", callback=_log_verbosely, expose_value=False, help=_VERBOSE_HELP
            ),
        ] = False,
    ) -> None:
        del verbose

    return next(param for param in typer.main.get_command(maker).params if param.name == "verbose")


def _log_verbosely(wanted: bool) -> None:
    if wanted:
        set_up_logging(True)


def _flow(text: str | None) -> str | None:
    """One line a paragraph, rich's brackets escaped."""
    if text is None:
        return None
    return escape("\n\n".join(" ".join(part.split()) for part in text.split("\n\n")))
