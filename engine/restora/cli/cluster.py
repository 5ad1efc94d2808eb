"""`restora cluster`: many photos on many machines, on Ray."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from restora.byte_size import parse_size
from restora.cli import face_flags, panels, photo_flags, repair_flags, runtime_flags, tile_flags
from restora.cli.console import print_note
from restora.cli.exits import reports_errors
from restora.cli.groups import takes_group
from restora.cli.report import report_outcome, summarize
from restora.cluster.options import ClusterOptions
from restora.cluster.restore import restore_on_cluster
from restora.faces.options import FaceOptions
from restora.jobs.outcome import Outcome
from restora.jobs.plan import Job
from restora.models import DEFAULT_MODEL
from restora.options import RestoreOptions

_LOG_EVERY_S = 10.0
_workers = panels.in_panel("Workers")


@reports_errors
@takes_group("repairs", repair_flags.RepairFlags)
def cluster(
    input_: Annotated[
        Path,
        panels.files("--input", "-i", help="A folder, or a Parquet file with a column `path`."),
    ],
    output: Annotated[
        Path, panels.files("--output", "-o", help="A folder that all machines share.")
    ],
    model: photo_flags.Model = DEFAULT_MODEL,
    outscale: tile_flags.Outscale = None,
    workers: Annotated[
        int, _workers(min=0, help="Processes that restore; 0: one for each GPU, or for CPUs.")
    ] = 0,
    cpus: Annotated[int, _workers(min=1, help="Cores, and threads, of a worker.")] = 1,
    gpus_per_worker: Annotated[
        float | None, _workers(min=0, help="Default: 1 where the cluster has GPUs.")
    ] = None,
    photos_per_task: Annotated[
        int, _workers(min=1, help="Photos that a worker takes at once.")
    ] = 16,
    address: Annotated[
        str | None, _workers(help="Address of a Ray cluster. Default: Ray on this machine.")
    ] = None,
    ext: photo_flags.ResultExt = "auto",
    quality: photo_flags.Quality = 95,
    recursive: photo_flags.Recursive = False,
    overwrite: photo_flags.Overwrite = False,
    retry_failed: photo_flags.RetryFailed = False,
    json_lines: photo_flags.JsonLines = False,
    memory: runtime_flags.Memory = None,
    max_pixels: runtime_flags.MaxPixels = runtime_flags.MAX_PIXELS,
    max_file_size: runtime_flags.MaxFileSize = runtime_flags.MAX_FILE_SIZE,
    decode_timeout: runtime_flags.DecodeTimeout = runtime_flags.DECODE_TIMEOUT,
    backend: runtime_flags.Backend = "auto",
    precision: runtime_flags.Precision = "auto",
    fp32: runtime_flags.Fp32 = False,
    repairs: repair_flags.RepairFlags = repair_flags.RepairFlags(),
    faces: face_flags.Faces = None,
) -> None:
    """Restore photos on many machines; manifest, resuming and exit codes are those of `restore`.

    All machines must share the output folder. A photo that crashes its worker is tried alone, and
    set aside after the third crash.
    """
    options = ClusterOptions(
        workers=workers,
        cpus=cpus,
        gpus_per_worker=gpus_per_worker,
        photos_per_task=photos_per_task,
        address=address,
        ext=ext,
        quality=quality,
        outscale=outscale,
        recursive=recursive,
        overwrite=overwrite,
        retry_failed=retry_failed,
        limits=runtime_flags.photo_limits(max_pixels, max_file_size, decode_timeout),
        memory=None if memory is None else parse_size(memory),
    )
    report = _Report(json_lines)
    result = restore_on_cluster(
        input_,
        output,
        model=None if model == "none" else model,
        restore_options=RestoreOptions(
            backend=backend,
            precision=runtime_flags.choose_precision(precision, fp32=fp32),
            color=repairs.color,
        ),
        faces=face_flags.face_options_or_none(faces, FaceOptions()),
        damage=repairs.damage_options(),
        options=options,
        progress=report,
    )
    summarize(list(result.outcomes), result.elapsed_s, json_lines)
    raise typer.Exit(result.exit_code)


class _Report:
    """A ClusterProgress that prints."""

    def __init__(self, json_lines: bool) -> None:
        self._json_lines = json_lines
        self._total = self._done = 0
        self._last = time.monotonic()

    def begin(self, jobs: Sequence[Job]) -> None:
        self._total = len(jobs)

    def note(self, words: str) -> None:
        print_note(words)

    def end(self, _job: Job, outcome: Outcome) -> None:
        self._done += 1
        report_outcome(outcome, self._json_lines, single=False)
        if time.monotonic() - self._last > _LOG_EVERY_S:
            self._last = time.monotonic()
            print_note(f"{self._done} of {self._total}")
