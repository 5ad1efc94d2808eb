"""`restora restore`: one photo or a folder of them."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from restora.cli.batch import (
    FileProgress,
    Outcome,
    Status,
    WriteOptions,
    exit_code_of_run,
    run_jobs,
)
from restora.cli.console import print_error, print_json, print_note, stderr_console
from restora.cli.exits import reports_errors
from restora.cli.jobs import PICTURE_SUFFIXES, Ext, Job, plan_jobs
from restora.cli.sources import artifact_finder
from restora.errors import MissingModelError, OptionError
from restora.image import PixelLimits
from restora.models import DEFAULT_MODEL
from restora.pipeline import DEFAULT_MAX_OUTPUT_PIXELS, RestoreOptions, Restorer

_LOG_EVERY_S = 10.0


@reports_errors
def restore(
    input_: Annotated[Path, typer.Option("--input", "-i", help="A photo, or a folder of photos.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="A folder; or a file, if the input is one."),
    ] = Path("results"),
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "--model-name",
            "-n",
            envvar="RESTORA_MODEL",
            help="A name listed by `restora models`, or the path of an .onnx artefact or of a "
            ".pth or .safetensors checkpoint.",
        ),
    ] = DEFAULT_MODEL,
    outscale: Annotated[
        float | None,
        typer.Option("--outscale", "-s", help="Final enlargement. Default: the model's own."),
    ] = None,
    tile: Annotated[
        str,
        typer.Option(
            "--tile",
            "-t",
            envvar="RESTORA_TILE",
            help="Largest side of a tile in pixels, 0 for no tiles, or auto.",
        ),
    ] = "auto",
    tile_pad: Annotated[
        int | None,
        typer.Option(
            help="Half of what neighbouring tiles share. Default: as measured for the model."
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Tiles per call of the network.")] = 1,
    blend: Annotated[
        Literal["cosine", "linear", "crop"],
        typer.Option(help="How tiles are joined; crop is the published hard cut."),
    ] = "cosine",
    pre_pad: Annotated[
        int, typer.Option(min=0, help="Pixels mirrored onto the right and lower side.")
    ] = 0,
    denoise_strength: Annotated[
        float | None,
        typer.Option(
            "--denoise-strength",
            "-dn",
            help="0 keeps noise, 1 removes it; realesr-general-x4v3 only. Default: 1.",
        ),
    ] = None,
    alpha_upsampler: Annotated[
        Literal["network", "realesrgan", "bilinear", "bicubic"],
        typer.Option(
            help="How transparency is enlarged: through the network (realesrgan is another name "
            "of it) or bilinear (bicubic is the published, misleading name of that)."
        ),
    ] = "network",
    ext: Annotated[
        Ext, typer.Option(help="Format of results; auto: as the input, png if it is not writable.")
    ] = "auto",
    suffix: Annotated[
        str, typer.Option(help="Added to names as NAME_SUFFIX. Default: nothing.")
    ] = "",
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of jpg and webp.")] = 95,
    strip_metadata: Annotated[
        bool, typer.Option("--strip-metadata", help="Drop ICC, EXIF and XMP.")
    ] = False,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Go into subfolders.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Restore again what is already done.")
    ] = False,
    on_error: Annotated[
        Literal["skip", "stop"], typer.Option(help="What a failed photo does to the rest.")
    ] = "skip",
    compare: Annotated[
        bool, typer.Option("--compare", help="Also write a before | after picture.")
    ] = False,
    json_lines: Annotated[
        bool, typer.Option("--json", help="One JSON object per file on stdout.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    threads: Annotated[
        int,
        typer.Option(min=0, envvar="RESTORA_THREADS", help="CPU threads; 0: all allowed cores."),
    ] = 0,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Larger inputs are refused before they are decoded.")
    ] = PixelLimits().max_pixels,
    max_output_pixels: Annotated[
        int, typer.Option(min=1, help="Larger results are refused before any work is done.")
    ] = DEFAULT_MAX_OUTPUT_PIXELS,
    fp32: Annotated[
        bool, typer.Option("--fp32", help="Full precision; it is the only one on the CPU.")
    ] = False,
    face_enhance: Annotated[
        bool, typer.Option("--face-enhance", help="Not in this version: ends with exit code 5.")
    ] = False,
    gpu_id: Annotated[
        int | None,
        typer.Option("--gpu-id", "-g", help="Not in this version: ends with exit code 6."),
    ] = None,
) -> None:
    """Restore and enlarge photos.

    Results that are already there are left alone, so an interrupted run goes on where it was.
    Options without a value are off unless given.

    Exit codes: 0 all done, 2 wrong usage, 3 some photos failed, 4 all failed, 5 model, 6 machine.
    """
    _refuse_missing_parts(face_enhance=face_enhance, gpu_id=gpu_id)
    del fp32
    options = RestoreOptions(
        tile=_parse_tile(tile),
        overlap=None if tile_pad is None else 2 * tile_pad,
        batch=batch,
        blend=blend,
        alpha="network" if alpha_upsampler in ("network", "realesrgan") else "bilinear",
        pre_pad=pre_pad,
        threads=threads,
        max_output_pixels=max_output_pixels,
    )
    if outscale is not None and not outscale > 0:
        raise OptionError(f"--outscale must be greater than 0, got {outscale:g}")
    jobs = plan_jobs(
        input_, output, ext=ext, suffix=suffix, recursive=recursive, overwrite=overwrite
    )
    if dry_run:
        _report_plan(jobs, json_lines)
        return
    to_do = [job for job in jobs if job.skip is None]
    writes_file = output.suffix.lower() in PICTURE_SUFFIXES and not output.is_dir()
    root = output.parent if writes_file else output
    root.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    outcomes: list[Outcome] = []
    find = artifact_finder(model, denoise_strength)
    if to_do:
        restorer = Restorer(model, options=options, find=find)
        with _progress_bar(len(to_do)) as progress:
            for outcome in run_jobs(
                jobs,
                restorer,
                outscale=outscale,
                limits=PixelLimits(max_pixels=max_pixels),
                writing=WriteOptions(root, quality, strip_metadata, compare),
                stop_at_error=on_error == "stop",
                progress=progress,
            ):
                outcomes.append(outcome)
                _report(outcome, json_lines, single=len(jobs) == 1)
        restorer.close()
    else:
        for job in jobs:
            outcomes.append(Outcome(str(job.source), str(job.target), "skipped", job.skip))
            _report(outcomes[-1], json_lines, single=len(jobs) == 1)
    _summarise(outcomes, time.perf_counter() - started, json_lines)
    raise typer.Exit(exit_code_of_run(outcomes))


def _refuse_missing_parts(*, face_enhance: bool, gpu_id: int | None) -> None:
    if face_enhance:
        raise MissingModelError("--face-enhance: this version restores no faces separately yet")
    if gpu_id is not None:
        from restora.errors import MissingBackendError

        raise MissingBackendError(
            "--gpu-id: this version runs on the CPU only; leave the option out"
        )


def _parse_tile(tile: str) -> int | str:
    if tile == "auto" or tile.isdecimal():
        return tile if tile == "auto" else int(tile)
    raise OptionError(f"--tile must be auto, 0 or a number of pixels, got {tile!r}")


def _report_plan(jobs: list[Job], json_lines: bool) -> None:
    for job in jobs:
        status: Status = "skipped" if job.skip else "planned"
        outcome = Outcome(str(job.source), str(job.target), status, job.skip)
        if json_lines:
            print_json(outcome.as_row())
        else:
            print_note(f"{job.source} -> {job.target}" + (f"  ({job.skip})" if job.skip else ""))


def _report(outcome: Outcome, json_lines: bool, *, single: bool) -> None:
    if json_lines:
        print_json(outcome.as_row())
    if outcome.status == "failed":
        reason = outcome.reason or ""
        print_error(reason if outcome.input in reason else f"{outcome.input}: {reason}")
    elif outcome.status == "skipped":
        print_note(f"{outcome.input}: skipped, {outcome.reason}")
    elif single and outcome.output_size:
        width, height = outcome.output_size
        print_note(f"{outcome.output}: {width} x {height}, {outcome.seconds:.1f} s")


def _summarise(outcomes: list[Outcome], elapsed_s: float, json_lines: bool) -> None:
    if len(outcomes) < 2 or json_lines:
        return
    counts = Counter(outcome.status for outcome in outcomes)
    parts = [f"{counts[s]} {s}" for s in ("restored", "skipped", "failed") if counts[s]]
    print_note(f"{', '.join(parts)} in {elapsed_s:.1f} s")


@contextmanager
def _progress_bar(files: int) -> Iterator[FileProgress]:
    """A bar by output pixels on a terminal, a line every ten seconds elsewhere."""
    console = stderr_console()
    if not console.is_terminal:
        yield _log_lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=files)
        seen: list[Job] = []

        def update(job: Job, done: int, total: int) -> None:
            if job not in seen:
                seen.append(job)
            finished = len(seen) - 1 + done / max(1, total)
            count = f"{len(seen)}/{files} " if files > 1 else ""
            bar.update(task, description=f"{count}{job.source.name}", completed=finished)

        yield update


def _log_lines() -> FileProgress:
    last = time.monotonic()

    def log(job: Job, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _LOG_EVERY_S:
            last = time.monotonic()
            print_note(f"{job.source.name}: {done / max(1, total):.0%}")

    return log
