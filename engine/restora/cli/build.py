"""`restora build`: TensorRT plans for this machine, checked, into the plan cache."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from restora.artifact import Artifact, read_artifact, read_precision_variants
from restora.backends.tensorrt.build import BuildOptions, Compatibility
from restora.backends.tensorrt.cache import PlanCache
from restora.backends.tensorrt.cuda import Device, import_pycuda, require_driver_library
from restora.backends.tensorrt.module import features_of, import_tensorrt
from restora.backends.tensorrt.prepare import plan_candidates, prepare_plans
from restora.backends.tensorrt.profiles import plan_profiles
from restora.backends.tensorrt.progress import BuildProgress
from restora.byte_size import parse_size
from restora.checks import check_whole
from restora.cli.console import print_json, print_note, stderr_console
from restora.cli.exits import reports_errors
from restora.errors import OptionError
from restora.exit_codes import ExitCode
from restora.models import MODELS
from restora.models.resolve import find_or_export


@reports_errors
def build(
    model: Annotated[
        str, typer.Argument(help="A name of `restora models`, or an .onnx artifact's path.")
    ],
    precision: Annotated[
        Literal["fp16", "mixed", "fp32", "int8"], typer.Option(help="Compute precision.")
    ] = "fp16",
    tile: Annotated[int, typer.Option(min=8, help="Side of most tiles, in pixels.")] = 256,
    batch: Annotated[
        str,
        typer.Option(
            help="Tiles per call, numbers with commas between them: one plan is built for each. "
            "(In restore it is one number.)"
        ),
    ] = "1,4",
    max_tile: Annotated[int, typer.Option(min=8, help="Largest side of any tile.")] = 1024,
    workspace: Annotated[str, typer.Option(help="Most scratch memory of one layer.")] = "4G",
    level: Annotated[
        int, typer.Option(min=0, max=5, help="Optimization: 0 builds fast, 5 runs fast.")
    ] = 3,
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="Plans for later TensorRT versions too.")
    ] = False,
    hardware: Annotated[
        Compatibility, typer.Option(help="Which other GPUs plans run on.")
    ] = "none",
    strip: Annotated[
        bool, typer.Option("--strip", help="Leave weights out of plans; refitted when loaded.")
    ] = False,
    gpu_id: Annotated[int, typer.Option("--gpu-id", "-g", min=0, help="Which GPU.")] = 0,
    json_lines: Annotated[
        bool, typer.Option("--json", help="One JSON object per plan on stdout.")
    ] = False,
) -> None:
    """Build TensorRT plans of a model for this machine's GPU.

    Each plan is checked against the picture that travels with the artifact; one that fails its
    gate is refused with a message, and FP32 is built instead.
    """
    options = BuildOptions(
        precision=precision,
        workspace=parse_size(workspace),
        level=level,
        version_compatible=version_compatible,
        hardware=hardware,
        strip_weights=strip,
    )
    batches = parse_batches(batch)
    require_driver_library()
    trt = import_tensorrt()
    device = Device(import_pycuda(), gpu_id)
    rungs = plan_candidates(trt, options, find_artifacts(model))
    info = rungs[0].artifact.info
    profiles = plan_profiles(info, tile=tile, batches=batches, max_tile=max_tile)
    cache = PlanCache()
    with _progress_bar() as progress, _leaving_at_once(if_=not features_of(trt).progress):
        prepared = prepare_plans(
            trt, device, cache, rungs, profiles, progress=progress, report=print_note
        )
    for plan, _ in prepared:
        _report(plan.facts, json_lines)
    print_note(f"plans are in {cache.folder}")


def find_artifacts(model: str) -> list[Artifact]:
    """The artifacts of a model in all precisions that are here, each past its gate."""
    kind = MODELS[model].kind if model in MODELS else "upsampler"
    path = find_or_export(model, "uint8", kind, half=True)
    return read_precision_variants(read_artifact(path), path)


def parse_batches(text: str) -> list[int]:
    """Numbers between commas. Raises OptionError."""
    try:
        return [check_whole("--batch", int(part), least=1) for part in text.split(",")]
    except ValueError as error:
        if isinstance(error, OptionError):
            raise
        raise OptionError(
            f"--batch must be numbers of tiles with commas between them, such as 1,4, got {text!r}"
        ) from error


def _report(facts: dict[str, object], json_lines: bool) -> None:
    if json_lines:
        print_json(facts)
    options, figures = facts["options"], facts["selfcheck"]
    assert isinstance(options, dict)
    assert isinstance(figures, dict)
    shapes = facts["profile"]
    assert isinstance(shapes, dict)
    print_note(
        f"{facts['model']}, {options['precision']}, up to {shapes['largest']}: PSNR "
        f"{figures['psnr_mean']} dB mean, {figures['psnr_min']} least; {facts['build_s']} s"
    )


@contextmanager
def _leaving_at_once(*, if_: bool) -> Iterator[None]:
    """Let Ctrl-C end the process, for a builder (8.6) that cannot be told to stop: nothing is
    half-written, since plans are published whole."""
    if not if_:
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
    """TensorRT's own phases on a terminal; nothing elsewhere. Ctrl-C cancels."""
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
