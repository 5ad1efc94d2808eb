"""The tree of commands."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from rich.markup import escape
from typer.core import TyperGroup

from restora.cli.console import set_up_logging
from restora.cli.lazy import CommandEntry, make_lazy_group
from restora.exit_codes import ExitCode
from restora.version import __version__

_VERBOSE_HELP = "Verbose logging on stderr."
_RESTORE, _MODELS, _MEASURE, _MACHINE = "Restore", "Models", "Measure", "This machine"
# importing all of them takes longer than restoring a small photo
COMMANDS = {
    "restore": CommandEntry(
        "restora.cli.restore:restore",
        "Restore and enlarge photos, and the faces in them.",
        _RESTORE,
    ),
    "video": CommandEntry(
        "restora.cli.video:video",
        "Restore every frame; times, audio, subtitles, chapters, rotation and colors are kept.",
        _RESTORE,
    ),
    "cluster": CommandEntry(
        "restora.cli.cluster:cluster",
        "Restore photos on many machines; manifest, resuming and exit codes are those of "
        "`restore`.",
        _RESTORE,
    ),
    "serve": CommandEntry(
        "restora.cli.serve:serve",
        "Serve photos over HTTP: a bounded queue, deadlines, tokens, metrics, a page, and jobs.",
        _RESTORE,
    ),
    "models": CommandEntry(
        "restora.cli.models:models_app", "List the known models, or fetch one.", _MODELS
    ),
    "export": CommandEntry(
        "restora.cli.export:export_model",
        "Export a checkpoint to an ONNX artifact and verify it against PyTorch.",
        _MODELS,
    ),
    "verify": CommandEntry(
        "restora.cli.verify:verify",
        "Compare an artifact with PyTorch on photo tiles and random input, in several sizes.",
        _MODELS,
    ),
    "calibrate": CommandEntry(
        "restora.cli.calibrate:calibrate",
        "Find the fastest INT8/FP32 layer assignment that meets the accuracy threshold.",
        _MODELS,
    ),
    "build": CommandEntry(
        "restora.cli.build:build",
        "Build TensorRT plans of a model for this machine's GPU.",
        _MODELS,
    ),
    "tune": CommandEntry(
        "restora.cli.tune:tune",
        "Measure which backend runs a model fastest on this machine, and keep the result.",
        _MODELS,
    ),
    "cache": CommandEntry(
        "restora.cli.cache:cache_app",
        "List, verify or clear the TensorRT plans.",
        _MODELS,
    ),
    "triton": CommandEntry(
        "restora.cli.triton:triton_app",
        "Write models for NVIDIA Triton Inference Server.",
        _MODELS,
    ),
    "train": CommandEntry(
        "restora.cli.train:train_app", "Train, fine-tune and distill networks.", _MODELS
    ),
    "bench": CommandEntry(
        "restora.cli.bench:bench_app",
        "Measure the speed and accuracy of models and backends on this machine.",
        _MEASURE,
    ),
    "evaluate": CommandEntry(
        "restora.cli.evaluate:evaluate",
        "Restore degraded photos and measure how close the results are to the clean ones.",
        _MEASURE,
    ),
    "doctor": CommandEntry(
        "restora.cli.doctor:doctor",
        "Show what this machine can run, and what to install for the rest.",
        _MACHINE,
    ),
    "sample": CommandEntry(
        "restora.cli.sample:sample",
        "Write the bundled sample photo, which is small and noisy, to try restora on.",
        _MACHINE,
    ),
}


def run(arguments: list[str]) -> None:
    """Run one command line and end the process with its exit code."""
    try:
        make_command()(args=arguments, prog_name="restora")
    except SystemExit as end:
        if end.code != 1:
            raise
        # only Typer ends with 1: for a shell that it cannot complete, or a question left open
        raise SystemExit(int(ExitCode.USAGE)) from end


def make_command() -> Any:
    """The group of all commands; each is imported when it is called, or by `load(name)`.

    Each takes -v too, before or after its name.
    """
    app = typer.Typer(
        name="restora",
        cls=make_lazy_group(COMMANDS, _finish),
        help="Restore old and damaged photos.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={
            "help_option_names": ["-h", "--help"],
            # --tile_pad is --tile-pad; values stay as they are, also those that begin with hyphens
            "token_normalize_func": lambda token: token.replace("_", "-"),
        },
        rich_markup_mode="rich",
    )
    app.callback()(_common)
    root = typer.main.get_command(app)
    _flow_help(root)
    return root


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"restora {__version__}")
        raise typer.Exit


def _common(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", envvar="RESTORA_VERBOSE", help=_VERBOSE_HELP)
    ] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            "-V",
            callback=_print_version,
            is_eager=True,
            help="Print the version.",
        ),
    ] = False,
) -> None:
    set_up_logging(verbose)


def _finish(command: Any) -> None:
    """Add -v to a command and to its subcommands, and let their help flow."""
    command.params.append(_make_verbose_option())
    _flow_help(command)
    if isinstance(command, TyperGroup):
        for inner in command.commands.values():
            _finish(inner)


def _flow_help(command: Any) -> None:
    """Let help be wrapped to the terminal, and its brackets be text rather than markup."""
    command.help = _flow(command.help)
    for parameter in command.params:
        choices = choices_of(parameter)
        if choices and parameter.metavar is None:
            # in the help column, where lines break between words
            parameter.metavar = "CHOICE"
            parameter.help = f"{parameter.help} One of {', '.join(choices)}."
        elif getattr(parameter, "is_flag", False):
            parameter.metavar = ""  # it takes no value
        elif _is_number(parameter) and parameter.metavar is None:
            parameter.metavar = "N"  # with its range beside it
        if getattr(parameter, "help", None):
            parameter.help = _flow(parameter.help)


def choices_of(parameter: Any) -> tuple[str, ...]:
    """The values that an option takes, if they are listed."""
    described = getattr(parameter, "type_descriptor", None)  # Typer without Click
    if described is None:
        return tuple(getattr(parameter.type, "choices", ()))
    literal = get_origin(described.annotation) is Literal
    return get_args(described.annotation) if literal else ()


def _is_number(parameter: Any) -> bool:
    described = getattr(parameter, "type_descriptor", None)
    if described is None:
        return str(parameter.type.name).split()[0] in ("integer", "float")
    return described.annotation in (int, float)


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
    """One line per paragraph, rich's brackets escaped."""
    if text is None:
        return None
    return escape("\n\n".join(" ".join(part.split()) for part in text.split("\n\n")))
