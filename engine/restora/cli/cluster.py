"""`restora cluster`: photos by the million, on Ray."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from restora.byte_size import parse_size
from restora.cli import face_flags, runtime_flags
from restora.cli.console import print_note
from restora.cli.exits import reports_errors
from restora.cli.report import report_outcome, summarize
from restora.errors import MissingBackendError, OptionError
from restora.faces.options import FaceOptions
from restora.image import PhotoLimits
from restora.jobs.files import prepare_folder, require_own_folder
from restora.jobs.journal import Journal
from restora.jobs.outcome import Outcome
from restora.jobs.plan import RESULT_FORMATS, Ext, Job, Naming, is_folder, plan_files, plan_jobs
from restora.jobs.recipe import recipe_hash, writing_settings
from restora.jobs.result import exit_code_of_run, require_an_outcome_each, untried
from restora.jobs.run_journal import FILE, RunJournal, known_results
from restora.models import DEFAULT_MODEL
from restora.options import RestoreOptions
from restora.pipeline import Restorer
from restora.upsample import check_outscale

if TYPE_CHECKING:
    from restora.cluster.rounds import ClusterPlan

_SAY_EVERY_S = 10.0


@reports_errors
def cluster(
    input_: Annotated[
        Path,
        typer.Option("--input", "-i", help="A folder, or a Parquet file with a column `path`."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder that workers share.")],
    model: Annotated[
        str, typer.Option("--model", "-n", envvar="RESTORA_MODEL", help="See `restora restore`.")
    ] = DEFAULT_MODEL,
    outscale: Annotated[
        float | None,
        typer.Option("--outscale", "-s", help="Final enlargement. Default: the model's own."),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that restore; 0: one for each GPU, or for CPUs.")
    ] = 0,
    cpus: Annotated[int, typer.Option(min=1, help="Cores, and threads, of a worker.")] = 1,
    gpus_per_worker: Annotated[
        float | None, typer.Option(min=0, help="Default: 1 where the cluster has GPUs.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Photos per task.")] = 16,
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster. Default: Ray on this machine.")
    ] = None,
    ext: Annotated[Ext, typer.Option(help="Format of results.")] = "auto",
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of jpg and webp.")] = 95,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Go into subfolders.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Restore again what is already done.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed in an earlier run.")
    ] = False,
    json_lines: Annotated[
        bool, typer.Option("--json", help="One JSON object per file on stdout.")
    ] = False,
    memory: runtime_flags.Memory = None,
    max_pixels: runtime_flags.MaxPixels = runtime_flags.MAX_PIXELS,
    max_file_size: runtime_flags.MaxFileSize = runtime_flags.MAX_FILE_SIZE,
    decode_timeout: runtime_flags.DecodeTimeout = runtime_flags.DECODE_TIMEOUT,
    backend: runtime_flags.Backend = "auto",
    precision: runtime_flags.Precision = "auto",
    fp32: runtime_flags.Fp32 = False,
    faces: face_flags.Faces = None,
) -> None:
    """Restore photos on many machines; manifest, resuming and exit codes are those of `restore`.

    The output folder must be shared by all machines. A photo that kills its worker is tried alone
    and set aside after three.
    """
    try:
        import ray

        from restora.cluster.batch import BatchRecipe
        from restora.cluster.rounds import ClusterPlan, Item, run_cluster
    except ImportError as error:
        raise MissingBackendError(
            f"clusters need Ray: pip install 'restora[cluster]' ({error})"
        ) from error
    options = RestoreOptions(
        backend=backend, precision=runtime_flags.choose_precision(precision, fp32=fp32)
    )
    if outscale is not None:
        check_outscale(outscale)
    limits = runtime_flags.photo_limits(max_pixels, max_file_size, decode_timeout)
    if outscale is not None:
        check_outscale(outscale)
    face_options = face_flags.face_options_or_none(faces, FaceOptions())
    jobs, root = _plan(input_, output, ext=ext, recursive=recursive, limits=limits)
    prepare_folder(output / "any", None)
    started = time.perf_counter()
    outcomes: list[Outcome] = []

    def take(outcome: Outcome) -> None:
        outcomes.append(outcome)
        report_outcome(outcome, json_lines, single=False)

    with contextlib.closing(Journal(output / FILE)) as manifest:
        chosen = None if model == "none" else model
        with Restorer(chosen, options=options, faces=face_options) as restorer:
            recipes: dict[str, str] = {
                format_: recipe_hash(
                    restorer,
                    writing_settings(restorer, format_, outscale=outscale, quality=quality),
                )
                for format_ in RESULT_FORMATS.values()
            }
            name = recipe_hash(restorer, recipes)
        ledger = RunJournal(
            manifest, lambda target: recipes[RESULT_FORMATS[target.suffix.lower()]], root
        )
        logs = output / FILE.parent / "attempts"
        require_own_folder(logs)
        _adopt(logs, ledger, jobs, name)
        left: list[Job] = []
        for found in ledger.settle(jobs, overwrite=overwrite, retry_failed=retry_failed):
            if found.is_left:
                left.append(found)
            else:
                take(untried(found))
        if left:
            _connect(address)
            logging.getLogger("ray.data").setLevel(logging.ERROR)
            recipe = BatchRecipe(
                model=chosen,
                options=options,
                faces=face_options,
                outscale=outscale,
                quality=quality,
                limits=limits,
                root=str(output.resolve()),
                memory=None if memory is None else parse_size(memory),
            )
            plan = _spread(ClusterPlan(workers, batch, cpus), gpus_per_worker, len(left))
            print_note(f"{len(left)} photos, {plan.workers} workers, {plan.gpus:g} GPUs each")
            items = [Item(str(job.source.absolute()), str(job.target.resolve())) for job in left]
            by_input = {item.input: job for item, job in zip(items, left, strict=True)}
            last = time.monotonic()
            for row in run_cluster(items, recipe, plan, logs=logs / name, report=print_note):
                if time.monotonic() - last > _SAY_EVERY_S:
                    last = time.monotonic()
                    print_note(f"{len(outcomes)} of {len(jobs)}")
                job = by_input[row["input"]]
                outcome = _outcome(job, row, model)
                ledger.begin(job)
                ledger.end(job, outcome)
                take(outcome)
            ray.shutdown()
    summarize(outcomes, time.perf_counter() - started, json_lines)
    require_an_outcome_each(jobs, outcomes)
    raise typer.Exit(exit_code_of_run(outcomes))


def _adopt(logs: Path, ledger: RunJournal, jobs: list[Job], name: str) -> None:
    """Write down what workers of a killed run had ended, before it came to that.

    name  of the logs' folder of a run with these settings
    """
    from restora.cluster.attempts import read_attempts

    by_input = {str(job.source.absolute()): job for job in jobs}
    for folder in sorted(logs.iterdir()) if logs.is_dir() else ():
        attempts = read_attempts(folder)
        for source, row in attempts.rows.items():
            if source in by_input and source in attempts.stamps:
                job = by_input[source]
                ledger.adopt(
                    job,
                    _outcome(job, row, None),
                    recipe=ledger.recipe_of(job.target) if folder.name == name else folder.name,
                    stamp=attempts.stamps[source],
                )
    shutil.rmtree(logs, ignore_errors=True)


def _plan(
    input_: Path, output: Path, *, ext: Ext, recursive: bool, limits: PhotoLimits
) -> tuple[list[Job], Path]:
    """Jobs, and the folder that inputs are named from."""
    if input_.suffix.lower() != ".parquet":
        if not is_folder(input_):
            raise OptionError(f"--input must be a folder or a Parquet file, got {input_}")
        known = known_results(output / FILE, input_, output)
        return plan_jobs(
            input_, output, Naming(ext), recursive=recursive, limits=limits, known=known
        ), input_
    files = [Path(path).absolute() for path in _read_paths(input_)]
    if not files:
        raise OptionError(f"{input_} holds no rows")
    once = list(dict.fromkeys(files))
    if len(once) < len(files):
        print_note(f"{len(files) - len(once)} rows of {input_} name a photo again")
    files = once
    root = Path(os.path.commonpath([file.parent for file in files]))
    return plan_files(files, root, output, Naming(ext), limits=limits), root


def _read_paths(table: Path) -> list[str]:
    import pyarrow as pa
    from pyarrow.parquet import read_table

    try:
        paths: list[str] = read_table(table, columns=["path"])["path"].to_pylist()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise OptionError(
            f"--input must be a Parquet file with a column `path`, {table} is not: {error}"
        ) from error
    wrong = next((path for path in paths if not isinstance(path, str)), None)
    if not all(isinstance(path, str) for path in paths):
        raise OptionError(f"the column `path` of {table} must hold text, it holds {wrong!r}")
    return paths


def _connect(address: str | None) -> None:
    import ray

    try:
        ray.init(
            address=address,
            log_to_driver=False,
            ignore_reinit_error=True,
            logging_level=logging.ERROR,
        )
    except (OSError, RuntimeError, ValueError) as error:  # ConnectionError, mostly
        where = "on this machine" if address is None else f"at {address}"
        raise MissingBackendError(
            f"no Ray cluster can be used {where}: start one with `ray start --head` ({error})"
        ) from error


def _spread(plan: ClusterPlan, gpus: float | None, photos: int) -> ClusterPlan:
    import ray

    have = ray.cluster_resources()  # type: ignore[no-untyped-call]
    each = (1.0 if have.get("GPU") else 0.0) if gpus is None else gpus
    room = have.get("GPU", 0) / each if each else have.get("CPU", 1) / plan.cpus
    workers = plan.workers or max(1, int(room))
    return replace(plan, workers=max(1, min(workers, photos)), gpus=each)


def _outcome(job: Job, row: dict[str, object], model: str | None) -> Outcome:
    failed = row["status"] == "failed"
    return Outcome(
        str(job.source),
        str(job.target),
        "failed" if failed else "restored",
        row["reason"],  # type: ignore[arg-type]
        row["error_type"],  # type: ignore[arg-type]
        output_size=None if failed else (row["width"], row["height"]),  # type: ignore[arg-type]
        model=None if failed else model,
        seconds=None if failed else row["ms"] / 1000,  # type: ignore[operator]
        sha256=row["sha256"],  # type: ignore[arg-type]
    )
