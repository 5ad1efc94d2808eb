"""`restora triton`: models for NVIDIA Triton Inference Server."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from restora.cli import (
    face_flags,
    photo_flags,
    runtime_flags,
    tile_flags,
    triton_flags,
)
from restora.cli.console import print_json, stdout_console
from restora.cli.exits import reports_errors
from restora.faces.options import FaceOptions
from restora.options import DEFAULT_MAX_OUTPUT_PIXELS, RestoreOptions
from restora.triton import ServerOptions, WrittenModel, export_repository

triton_app = typer.Typer(
    help="Write models for NVIDIA Triton Inference Server.",
    no_args_is_help=True,
    add_completion=False,
)
_SERVER = ServerOptions()


@triton_app.callback()
def _triton() -> None:
    """Write models for NVIDIA Triton Inference Server."""


@triton_app.command("export")
@reports_errors
def export(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Names listed by `restora models`, or paths of artifacts or checkpoints. The "
            "first upsampler serves requests that name none.",
        ),
    ],
    repository: Annotated[
        Path, typer.Option("--repository", help="The folder of models; each model is a folder.")
    ],
    tile: tile_flags.Tile = "auto",
    tile_pad: photo_flags.TilePad = None,
    equal_tiles: triton_flags.EqualTiles = False,
    compat: photo_flags.Compat = None,
    alpha_upsampler: photo_flags.AlphaUpsampler = "network",
    precision: triton_flags.Precision = "fp32",
    plans: triton_flags.Plans = False,
    engine_cache: triton_flags.EngineCache = str(_SERVER.engine_cache),
    threads: triton_flags.Threads = 0,
    max_batch: triton_flags.MaxBatch = _SERVER.max_batch,
    batch_delay: triton_flags.BatchDelay = _SERVER.batch_delay_ms,
    queue_size: triton_flags.QueueSize = _SERVER.queue_size,
    queue_timeout: triton_flags.QueueTimeout = _SERVER.queue_timeout_s,
    instances: triton_flags.Instances = _SERVER.instances,
    photos: triton_flags.Photos = _SERVER.photos,
    warmup: triton_flags.Warmup = True,
    faces: face_flags.Faces = None,
    face_model: face_flags.FaceModel = None,
    face_detector: face_flags.FaceDetector = "auto",
    face_strength: face_flags.FaceStrength = 1.0,
    parse: face_flags.Parse = False,
    eye_dist_threshold: face_flags.EyeDistance = FaceOptions().eye_dist_threshold,
    only_center_face: face_flags.OnlyCenter = False,
    max_pixels: runtime_flags.MaxPixels = runtime_flags.MAX_PIXELS,
    max_file_size: runtime_flags.MaxFileSize = runtime_flags.MAX_FILE_SIZE,
    decode_timeout: runtime_flags.DecodeTimeout = runtime_flags.DECODE_TIMEOUT,
    max_output_pixels: photo_flags.MaxOutputPixels = DEFAULT_MAX_OUTPUT_PIXELS,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace models of the same names.")
    ] = False,
    json_lines: Annotated[
        bool, typer.Option("--json", help="One JSON object per model on stdout.")
    ] = False,
) -> None:
    """Write a model repository for Triton: the networks, and restora-photo.

    restora-photo takes the bytes of a photo and sends its tiles and faces to the networks, so that
    Triton forms batches of the tiles of all photos.
    """
    server = ServerOptions(
        precisions=triton_flags.parse_precisions(precision), max_batch=max_batch, plans=plans,
        batch_delay_ms=batch_delay, queue_size=queue_size, queue_timeout_s=queue_timeout,
        instances=instances, photos=photos, threads=threads, equal_tiles=equal_tiles,
        engine_cache=None if engine_cache == "none" else engine_cache, warmup=warmup,
    )  # fmt: skip
    restore = RestoreOptions(
        tile=tile_flags.parse_tile(tile), overlap=None if tile_pad is None else 2 * tile_pad,
        alpha=photo_flags.parse_alpha(alpha_upsampler), compat=compat,
        max_output_pixels=max_output_pixels,
    )  # fmt: skip
    of_faces = FaceOptions(
        model=face_model, detector=face_detector, strength=face_strength, parse=parse,
        eye_dist_threshold=eye_dist_threshold, only_center_face=only_center_face,
    )  # fmt: skip
    written = export_repository(
        models,
        repository,
        server=server,
        restore=restore,
        faces=face_flags.face_options_or_none(faces, of_faces),
        limits=runtime_flags.photo_limits(max_pixels, max_file_size, decode_timeout),
        overwrite=overwrite,
    )
    _report(written, json_lines=json_lines)


def _report(models: Sequence[WrittenModel], *, json_lines: bool) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("model", "platform", "batch", "folder"):
        table.add_column(column, overflow="fold")
    for model in models:
        if json_lines:
            print_json({**asdict(model), "folder": str(model.folder)})
        table.add_row(model.name, model.platform, str(model.max_batch), str(model.folder))
    if not json_lines:
        stdout_console().print(table)
