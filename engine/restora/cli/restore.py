"""`restora restore`: one photo or a folder of them."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import typer

from restora.byte_size import parse_size
from restora.cli import face_flags, photo_flags, repair_flags, runtime_flags, tile_flags
from restora.cli.exits import reports_errors
from restora.cli.groups import takes_group
from restora.cli.pipes import BinaryStdout, is_pipe, open_stdin, open_stdout
from restora.cli.report import RunReport, report_plan
from restora.damage import DamageOptions
from restora.errors import OptionError
from restora.exit_codes import ExitCode
from restora.jobs.options import RunOptions
from restora.jobs.photo_plan import plan_photos
from restora.jobs.photos import restore_photos
from restora.jobs.stream import restore_stream
from restora.malloc import return_freed_memory
from restora.models import DEFAULT_MODEL
from restora.options import DEFAULT_MAX_OUTPUT_PIXELS, RestoreOptions
from restora.pipeline import Restorer


@reports_errors
@takes_group("face", face_flags.FaceFlags)
@takes_group("repairs", repair_flags.SavedRepairFlags)
def restore(
    input_: photo_flags.Input,
    output: photo_flags.Output = Path("results"),
    ext: photo_flags.ResultExt = "auto",
    suffix: photo_flags.Suffix = "",
    recursive: photo_flags.Recursive = False,
    strip_metadata: photo_flags.StripMetadata = False,
    compare: photo_flags.Compare = False,
    model: photo_flags.Model = DEFAULT_MODEL,
    outscale: tile_flags.Outscale = None,
    denoise_strength: photo_flags.DenoiseStrength = None,
    alpha_upsampler: photo_flags.AlphaUpsampler = "network",
    quality: photo_flags.Quality = 95,
    repairs: repair_flags.SavedRepairFlags = repair_flags.SavedRepairFlags(),
    face: face_flags.FaceFlags = face_flags.FaceFlags(),
    tile: tile_flags.Tile = "auto",
    tile_pad: photo_flags.TilePad = None,
    batch: tile_flags.Batch = None,
    blend: photo_flags.TileBlend = "cosine",
    compat: photo_flags.Compat = None,
    pre_pad: photo_flags.PrePad = 0,
    threads: photo_flags.Threads = 0,
    backend: runtime_flags.Backend = "auto",
    precision: runtime_flags.Precision = "auto",
    fp32: runtime_flags.Fp32 = False,
    gpu_id: runtime_flags.GpuId = None,
    gpus: runtime_flags.Gpus = None,
    overwrite: photo_flags.Overwrite = False,
    retry_failed: photo_flags.RetryFailed = False,
    on_error: photo_flags.OnError = "skip",
    manifest: photo_flags.ManifestFile = None,
    json_lines: photo_flags.JsonLines = False,
    dry_run: photo_flags.DryRun = False,
    memory: runtime_flags.Memory = None,
    max_pixels: runtime_flags.MaxPixels = runtime_flags.MAX_PIXELS,
    max_file_size: runtime_flags.MaxFileSize = runtime_flags.MAX_FILE_SIZE,
    decode_timeout: runtime_flags.DecodeTimeout = runtime_flags.DECODE_TIMEOUT,
    max_output_pixels: photo_flags.MaxOutputPixels = DEFAULT_MAX_OUTPUT_PIXELS,
) -> None:
    """Restore and enlarge photos, and the faces in them.

    An interrupted run over a folder continues: what is done with these settings is skipped, what
    failed stays failed until --retry-failed. Options without a value are off unless given.

    Exit codes: 0 done, 2 usage, 3 some photos or faces failed, 4 all failed, 5 model, 6 machine.
    """
    options = RestoreOptions(
        tile=tile_flags.parse_tile(tile), overlap=None if tile_pad is None else 2 * tile_pad,
        batch=batch, blend=blend, alpha=photo_flags.parse_alpha(alpha_upsampler), pre_pad=pre_pad,
        threads=threads, backend=backend, device="auto" if gpu_id is None else f"gpu:{gpu_id}",
        precision=runtime_flags.choose_precision(precision, fp32=fp32),
        denoise_strength=denoise_strength, max_output_pixels=max_output_pixels,
        memory=None if memory is None else parse_size(memory), compat=compat, color=repairs.color,
    )  # fmt: skip
    run_options = RunOptions(
        ext=ext, suffix=suffix, quality=quality, strip_metadata=strip_metadata, compare=compare,
        save_faces=face.save_faces, outscale=outscale, aligned=face.aligned, recursive=recursive,
        overwrite=overwrite, retry_failed=retry_failed, on_error=on_error, manifest=manifest,
        save_mask=repairs.save_mask, memory=options.memory,
        devices=runtime_flags.parse_gpus(gpus, gpu_id),
        limits=runtime_flags.photo_limits(max_pixels, max_file_size, decode_timeout),
    )  # fmt: skip
    if dry_run:
        report_plan(plan_photos(input_, output, run_options).jobs, json_lines)
        return
    damage = repairs.checked_options(aligned=face.aligned)
    restorer = _opener(model, options, face, damage, run_options)
    raise typer.Exit(_restore(input_, output, restorer, run_options, json_lines))


def _opener(
    model: str,
    options: RestoreOptions,
    face: face_flags.FaceFlags,
    damage: DamageOptions | None,
    run_options: RunOptions,
) -> Callable[..., Restorer]:
    """A function that opens the Restorer; with devices, one that can be sent to their processes."""
    if run_options.memory is not None:  # before networks: it is a limit of what the system sees
        return_freed_memory()

    name = None if model == "none" else model
    if run_options.devices is None:
        return lambda: Restorer(name, options=options, faces=face.choose(), damage=damage)
    return partial(Restorer, name, options=options, faces=face.choose(), damage=damage)


def _restore(
    source: Path,
    output: Path,
    restorer: Callable[..., Restorer],
    options: RunOptions,
    json_lines: bool,
) -> ExitCode:
    if is_pipe(source) or is_pipe(output):
        return _restore_piped(source, output, restorer, options, json_lines)
    with RunReport(json_lines=json_lines) as report:
        result = restore_photos(
            source, output, restorer, options=options, progress=report, stop=report.stopping
        )
        report.finish(result)
    return result.exit_code


def _restore_piped(
    source: Path,
    output: Path,
    restorer: Callable[..., Restorer],
    options: RunOptions,
    json_lines: bool,
) -> ExitCode:
    if is_pipe(output) and json_lines:
        raise OptionError("--json and -o - both write to standard output: give one of them")
    given = open_stdin() if is_pipe(source) else source
    target: AbstractContextManager[BinaryStdout | Path] = (
        open_stdout() if is_pipe(output) else nullcontext(output)
    )
    with target as sink, RunReport(json_lines=json_lines) as report:
        result = restore_stream(given, sink, restorer, options=options, progress=report)
        report.finish(result)
    return result.exit_code
