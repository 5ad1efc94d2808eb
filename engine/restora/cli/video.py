"""`restora video`: restore every frame of a video."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from restora.byte_size import parse_size
from restora.cli import face_flags, panels, runtime_flags, tile_flags
from restora.cli.console import print_error, print_note
from restora.cli.exits import reports_errors
from restora.cli.pipes import is_pipe, open_stdin, open_stdout
from restora.cli.progress import frame_progress
from restora.cli.report import report_speed
from restora.cli.stopping import graceful_shutdown
from restora.errors import MissingBackendError, OptionError
from restora.exit_codes import ExitCode
from restora.faces.options import FaceOptions
from restora.models import DEFAULT_MODEL
from restora.options import RestoreOptions
from restora.pipeline import Restorer
from restora.video.options import MAX_CRF, FrameProgress, PipeOptions, VideoOptions

if TYPE_CHECKING:
    from restora.video.restore import VideoResult

_video = panels.in_panel("Video")


@reports_errors
def video(
    input_: Annotated[
        Path, typer.Option("--input", "-i", help="A video file; -: raw YUV4MPEG2 from a pipe.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Ends in .mp4, .mov, .mkv or .webm; -: YUV4MPEG2, with -i -."
        ),
    ],
    model: Annotated[
        str,
        typer.Option("--model", "-n", envvar="RESTORA_MODEL", help="See `restora restore`."),
    ] = DEFAULT_MODEL,
    outscale: tile_flags.Outscale = None,
    encoder: Annotated[
        str,
        _video(help="An FFmpeg encoder. auto: H.264, H.265 for 10 bits, VP9 in WebM."),
    ] = "auto",
    crf: Annotated[
        int,
        _video(
            min=0, max=MAX_CRF, help="Constant quality of the encoder (crf, cq); lower is better."
        ),
    ] = 18,
    preset: Annotated[str | None, _video(help="Preset of the encoder, such as slow.")] = None,
    skip_duplicates: Annotated[
        bool,
        _video("--skip-duplicates", help="Reuse the result for identical frames in a row."),
    ] = False,
    hwaccel: Annotated[
        str | None, _video(help="FFmpeg device that decodes, such as cuda or vaapi.")
    ] = None,
    segment_frames: Annotated[
        int, _video(min=1, help="Frames that an interrupted run loses at most.")
    ] = 240,
    tile: tile_flags.Tile = "auto",
    batch: tile_flags.Batch = None,
    threads: runtime_flags.Threads = 0,
    memory: runtime_flags.Memory = None,
    backend: runtime_flags.Backend = "auto",
    precision: runtime_flags.Precision = "auto",
    fp32: runtime_flags.Fp32 = False,
    faces: face_flags.Faces = None,
    gpu_id: runtime_flags.GpuId = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing result.")
    ] = False,
) -> None:
    """Restore every frame; times, audio, subtitles, chapters, rotation and colors are kept.

    An interrupted run resumes at the last finished segment. Exit codes: 0 all done, 2 wrong usage,
    3 a part of the video is damaged and missing, 4 the video cannot be read, 5 model, 6 machine.
    """
    limit = None if memory is None else parse_size(memory)
    options = RestoreOptions(
        tile=tile_flags.parse_tile(tile),
        batch=batch,
        threads=threads,
        backend=backend,
        precision=runtime_flags.choose_precision(precision, fp32=fp32),
        device="auto" if gpu_id is None else f"gpu:{gpu_id}",
        memory=limit,
    )
    video_options = VideoOptions(
        encoder=encoder,
        crf=crf,
        preset=preset,
        outscale=outscale,
        skip_duplicates=skip_duplicates,
        hardware=hwaccel,
        memory=limit,
        segment_frames=segment_frames,
        overwrite=overwrite,
    )
    run = _run_pipe if is_pipe(input_) or is_pipe(output) else _run_file
    run(input_, output, _opener(model, options, faces), video_options)


def _opener(model: str, options: RestoreOptions, faces: bool | None) -> Callable[[], Restorer]:
    return lambda: Restorer(
        None if model == "none" else model,
        options=options,
        faces=face_flags.face_options_or_none(faces, FaceOptions()),
    )


def _run_pipe(
    input_: Path, output: Path, open_restorer: Callable[[], Restorer], options: VideoOptions
) -> None:
    if not (is_pipe(input_) and is_pipe(output)):
        raise OptionError(
            "-i - and -o - must be given together: restora reads one YUV4MPEG2 stream and writes "
            "another; FFmpeg converts files to such streams and back"
        )
    chosen = PipeOptions(
        outscale=options.outscale, skip_duplicates=options.skip_duplicates, memory=options.memory
    )
    if options != VideoOptions(**asdict(chosen)):
        raise OptionError(
            "a stream is not encoded, decoded or kept in segments: --encoder, --crf, --preset, "
            "--hwaccel, --segment-frames and --overwrite have no effect on it"
        )
    with _needs_pyav():
        from restora.video.pipe import restore_pipe
    source = open_stdin()
    with open_stdout() as target:
        _run(
            "standard input",
            "standard output",
            open_restorer,
            lambda restorer, progress, stop: restore_pipe(
                source, target, restorer, options=chosen, progress=progress, stop=stop
            ),
        )


@contextlib.contextmanager
def _needs_pyav() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise MissingBackendError(
            f"videos need PyAV: pip install 'restora[video]' ({error})"
        ) from error


def _run_file(
    input_: Path, output: Path, open_restorer: Callable[[], Restorer], options: VideoOptions
) -> None:
    with _needs_pyav():
        from restora.video.restore import restore_video
        from restora.video.target import require_target
    # before the networks are opened
    require_target(output, input_, overwrite=options.overwrite)
    _run(
        str(input_),
        str(output),
        open_restorer,
        lambda restorer, progress, stop: restore_video(
            input_, output, restorer, options=options, progress=progress, stop=stop
        ),
    )


def _run(
    input_: str,
    output: str,
    open_restorer: Callable[[], Restorer],
    restore: Callable[[Restorer, FrameProgress, Callable[[], bool]], VideoResult | None],
) -> None:
    with open_restorer() as restorer, graceful_shutdown() as stopping:
        for network in restorer.networks:
            print_note(network.describe())
        with frame_progress(Path(input_).name) as progress:
            result = restore(restorer, progress, lambda: bool(stopping))
        if result is None:
            stopping.end()
            return
        report_speed(restorer.networks, result.stages, result.elapsed_s, "frames")
    _report(input_, output, result)


def _report(input_: str, output: str, result: VideoResult) -> None:
    """Raises typer.Exit if a part of the video is missing."""
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
    if result.complete:
        return
    for fault in result.faults:
        print_error(f"{input_}: {fault}")
    if result.expected is not None and result.frames < result.expected:
        print_error(
            f"{input_}: {result.frames} frames could be decoded, the file states {result.expected}"
        )
    raise typer.Exit(ExitCode.SOME_FAILED)
