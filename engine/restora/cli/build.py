"""`restora build`: TensorRT plans for this machine, checked, into the plan cache."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from restora.backends.tensorrt.build_options import BuildOptions, Compatibility
from restora.backends.tensorrt.cache import PlanCache
from restora.backends.tensorrt.prebuild import build_plans, can_cancel_builds
from restora.backends.tensorrt.progress import BuildProgress
from restora.byte_size import parse_size
from restora.checks import check_whole
from restora.cli import panels
from restora.cli.console import print_json, print_note, stderr_console
from restora.cli.exits import reports_errors
from restora.errors import OptionError
from restora.exit_codes import ExitCode

_engine = panels.in_panel("TensorRT engine")

Batches = Annotated[
    str | None,
    panels.tiles(
        help="Tiles per call, numbers separated by commas; one plan is built for each. Default: 1, "
        "for face networks 1,4."
    ),
]
MaxTile = Annotated[
    int | None,
    panels.tiles(
        min=8,
        help="Largest side of any tile, in pixels. Default: what the memory of the GPU allows, at "
        "most 1024.",
    ),
]


@reports_errors
def build(
    model: Annotated[
        str, typer.Argument(help="A name listed by `restora models`, or the path of an artifact.")
    ],
    precision: Annotated[
        Literal["fp16", "mixed", "fp32", "int8", "fp8"], typer.Option(help="Compute precision.")
    ] = "fp16",
    tile: Annotated[
        int | None,
        panels.tiles(min=8, help="Side of most tiles, in pixels. Default: 512, or the largest."),
    ] = None,
    batches: Batches = None,
    max_tile: MaxTile = None,
    workspace: Annotated[str, _engine(help="Limit of one layer's scratch memory.")] = "4G",
    level: Annotated[
        int, _engine(min=0, max=5, help="Optimization: 0 builds fast, 5 runs fast.")
    ] = 3,
    version_compatible: Annotated[
        bool, _engine("--version-compatible", help="For later TensorRT versions too.")
    ] = False,
    hardware: Annotated[Compatibility, _engine(help="Which other GPUs plans run on.")] = "none",
    strip_weights: Annotated[
        bool,
        _engine(
            "--strip-weights",
            help="Leave weights out of plans; loading one takes them from the artifact.",
        ),
    ] = False,
    retry: Annotated[
        bool, _engine("--retry", help="Build again what was refused or failed before.")
    ] = False,
    gpu_id: Annotated[int, typer.Option("--gpu-id", "-g", min=0, help="Number of the GPU.")] = 0,
    json_lines: Annotated[
        bool, typer.Option("--json", help="One JSON object per plan on stdout.")
    ] = False,
) -> None:
    """Build TensorRT plans of a model for this machine's GPU.

    Each plan is checked against the reference picture in the artifact. A plan that misses the
    accuracy threshold is refused with a message, and FP32 is built instead. What was refused is
    not built again, by no command, without --retry.
    """
    options = BuildOptions(
        precision=precision,
        workspace_bytes=parse_size(workspace),
        opt_level=level,
        version_compatible=version_compatible,
        hardware=hardware,
        strip_weights=strip_weights,
    )
    sizes = None if batches is None else parse_batches(batches)
    cache = PlanCache()
    with _progress_bar() as progress, _leaving_at_once(unless=can_cancel_builds()):
        plans = build_plans(
            model,
            options,
            tile=tile,
            batches=sizes,
            max_tile=max_tile,
            gpu=gpu_id,
            retry=retry,
            cache=cache,
            progress=progress,
            report=print_note,
        )
    for plan in plans:
        _report(plan.facts, json_lines)
    print_note(f"plans are in {cache.folder}" if cache.folder else "plans were not kept")


def parse_batches(text: str) -> list[int]:
    """Numbers separated by commas. Raises OptionError."""
    try:
        return [check_whole("--batches", int(part), minimum=1) for part in text.split(",")]
    except ValueError as error:
        if isinstance(error, OptionError):
            raise
        raise OptionError(
            f"--batches must be numbers of tiles separated by commas, such as 1,4, got {text!r}"
        ) from error


def _report(facts: dict[str, Any], json_lines: bool) -> None:
    if json_lines:
        print_json(facts)
    figures = facts["selfcheck"]
    print_note(
        f"{facts['model']}, {facts['options']['precision']}, up to {facts['profile']['largest']}: "
        f"PSNR {figures['psnr_mean']} dB mean, {figures['psnr_min']} dB min; {facts['build_s']} s"
    )


@contextmanager
def _leaving_at_once(*, unless: bool) -> Iterator[None]:
    """Let Ctrl-C end the process, for a builder that cannot be canceled. Plans are published
    whole, so none is left half-written."""
    if unless:
        yield
        return

    def leave(_number: int, _frame: object) -> None:
        print_note("canceled; finished plans are kept")
        os._exit(ExitCode.INTERRUPTED)

    before = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress_bar() -> Iterator[BuildProgress | None]:
    """TensorRT's own phases on a terminal, nothing elsewhere. Ctrl-C cancels."""
    console = stderr_console()
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def update(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bar.add_task(phase, total=total or None)
            bar.update(tasks[phase], completed=done)
            if total and done >= total:
                bar.remove_task(tasks.pop(phase))

        yield update
