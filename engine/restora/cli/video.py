"""`restora video`: restore every frame of a video."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from restora.byte_size import parse_size
from restora.cli import face_flags, runtime_flags
from restora.cli.console import print_error, print_note
from restora.cli.exits import reports_errors
from restora.cli.report import frame_progress, report_speed
from restora.cli.stopping import graceful_shutdown
from restora.errors import MissingBackendError
from restora.exit_codes import ExitCode
from restora.faces.options import FaceOptions
from restora.models import DEFAULT_MODEL
from restora.options import RestoreOptions
from restora.pipeline import Restorer
from restora.upsample import check_outscale


@reports_errors
def video(
    input_: Annotated[Path, typer.Option("--input", "-i", help="A video file.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Ends in .mp4, .mov, .mkv or .webm.")
    ],
    model: Annotated[
        str,
        typer.Option("--model", "-n", envvar="RESTORA_MODEL", help="As of `restora restore`."),
    ] = DEFAULT_MODEL,
    outscale: Annotated[
        float | None,
        typer.Option("--outscale", "-s", help="Final enlargement. Default: the model's own."),
    ] = None,
    encoder: Annotated[
        str,
        typer.Option(help="An FFmpeg encoder. auto: H.264, H.265 for 10 bits, VP9 in WebM."),
    ] = "auto",
    quality: Annotated[
        int, typer.Option(min=0, max=63, help="Of the encoder (crf, cq); lower is better.")
    ] = 18,
    preset: Annotated[str | None, typer.Option(help="Of the encoder, such as slow.")] = None,
    skip_duplicates: Annotated[
        bool,
        typer.Option("--skip-duplicates", help="A frame like the one before gets its result."),
    ] = False,
    hwaccel: Annotated[
        str | None, typer.Option(help="FFmpeg device that decodes, such as cuda or vaapi.")
    ] = None,
    segment: Annotated[
        int, typer.Option(min=1, help="Frames that an interrupted run loses at most.")
    ] = 240,
    tile: Annotated[
        int, typer.Option("--tile", "-t", min=0, help="Largest side of a tile; 0: automatic.")
    ] = 0,
    batch: Annotated[int | None, typer.Option(min=1, help="Tiles per call.")] = None,
    threads: Annotated[
        int, typer.Option(min=0, envvar="RESTORA_THREADS", help="CPU threads; 0: all allowed.")
    ] = 0,
    memory: runtime_flags.Memory = None,
    backend: runtime_flags.Backend = "auto",
    precision: runtime_flags.Precision = "auto",
    fp32: runtime_flags.Fp32 = False,
    faces: face_flags.Faces = None,
    gpu_id: runtime_flags.GpuId = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a result.")] = False,
) -> None:
    """Restore every frame; times, audio, subtitles, chapters, rotation and colors are kept.

    An interrupted run resumes at the last finished segment. Exit codes: 0 all done, 2 wrong usage,
    3 a part of the video is damaged and missing, 4 the video cannot be read, 5 model, 6 machine.
    """
    try:
        from restora.video.encoder import EncoderOptions
        from restora.video.restore import restore_video
        from restora.video.target import require_target
    except ImportError as error:
        raise MissingBackendError(
            f"videos need PyAV: pip install 'restora[video]' ({error})"
        ) from error
    require_target(output, input_, overwrite=overwrite)  # before the networks are opened
    options = RestoreOptions(
        tile=tile or "auto",
        batch=batch,
        threads=threads,
        backend=backend,
        precision=runtime_flags.choose_precision(precision, fp32=fp32),
        device="auto" if gpu_id is None else f"gpu:{gpu_id}",
    )
    if outscale is not None:
        check_outscale(outscale)
    with (
        Restorer(
            None if model == "none" else model,
            options=options,
            faces=face_flags.face_options_or_none(faces, FaceOptions()),
        ) as restorer,
        graceful_shutdown() as stopping,
    ):
        for line in restorer.describe_sessions():
            print_note(line)
        with frame_progress(input_.name) as progress:
            result = restore_video(
                input_,
                output,
                restorer,
                encoder=EncoderOptions(encoder, quality, preset),
                outscale=outscale,
                skip_duplicates=skip_duplicates,
                hardware=hwaccel,
                memory=None if memory is None else parse_size(memory),
                segment_frames=segment,
                overwrite=overwrite,
                progress=progress,
                stop=lambda: bool(stopping),
            )
        if result is None:
            stopping.end()
            return
        report_speed(restorer, result.stages, result.elapsed_s, "frames")
    words = f"{output}: {result.frames} frames in {result.elapsed_s:.1f} s"
    if result.resumed:
        words += f", {result.resumed} of them by an earlier run"
    if result.reused:
        words += f", {result.reused} like the one before"
    print_note(words)
    if result.fitted:
        print_note(f"{result.fitted} frames of another size or rotation were fitted to the first")
    for name in result.left_out:
        print_note(f"left out {name}")
    if not result.complete:
        for fault in result.faults:
            print_error(f"{input_}: {fault}")
        if result.expected is not None and result.frames < result.expected:
            print_error(
                f"{input_}: {result.frames} frames could be decoded, the file says it has "
                f"{result.expected}"
            )
        raise typer.Exit(ExitCode.SOME_FAILED)
