"""The commands, put together."""

from typing import Annotated

import typer

from restora.cli.console import set_up_logging
from restora.version import __version__

app = typer.Typer(
    name="restora",
    help="Restore old and damaged photos.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"restora {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", envvar="RESTORA_VERBOSE", help="Say what is done.")
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
    """Run one command line; underscore spellings of long options are taken too."""
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
    app(args=[_with_hyphens(word) for word in arguments], prog_name="restora")


def _with_hyphens(word: str) -> str:
    """--tile_pad=10 -> --tile-pad=10; values keep their underscores."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value
