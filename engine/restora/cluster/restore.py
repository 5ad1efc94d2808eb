"""Restore photos on a Ray cluster, from the plan to the last row of the journal."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from restora.cluster.attempts import iter_journals
from restora.cluster.batch import BatchRecipe
from restora.cluster.inputs import plan_inputs
from restora.cluster.old_attempts import iter_old_attempts
from restora.cluster.options import ClusterOptions, ClusterProgress, NoProgress
from restora.cluster.rows import outcome_of
from restora.damage import DamageOptions
from restora.errors import MissingBackendError
from restora.faces.options import FaceOptions
from restora.jobs.disk import prepare_folder, require_own_folder
from restora.jobs.inputs import RESULT_FORMATS
from restora.jobs.journal import Journal
from restora.jobs.outcome import Outcome
from restora.jobs.plan import Job
from restora.jobs.recipe import recipe_hash, writing_settings
from restora.jobs.result import RunResult, require_an_outcome_each, untried
from restora.jobs.run_journal import FILE, RunJournal
from restora.models import DEFAULT_MODEL
from restora.options import RestoreOptions
from restora.pipeline import Restorer

_TILE_MEMORY = 3 << 30  # of which a tile takes at most a third


def restore_on_cluster(
    source: Path | str,
    output: Path | str,
    *,
    model: str | None = DEFAULT_MODEL,
    restore_options: RestoreOptions | None = None,
    faces: FaceOptions | None = None,
    damage: DamageOptions | None = None,
    options: ClusterOptions | None = None,
    progress: ClusterProgress | None = None,
) -> RunResult:
    """Restore every photo of a folder, or of the column `path` of a Parquet file.

    output: a folder that all machines share
    model: see Restorer; None: faces only
    damage: how damage is repaired; a mask in a file must be at the same path on all machines
    restore_options: of the Restorer in each worker; `threads` is options.cpus there

    The journal in the output folder is that of restore_folder: an interrupted run continues, what
    is done with these settings is skipped. A photo that crashes its worker is tried alone, and
    fails as "Quarantined" after the third crash; every input gets exactly one outcome.

    Raises OptionError for an input or a value that cannot work, MissingBackendError if Ray is not
    installed or no cluster can be reached, SessionError for what is no photo's fault, such as
    workers that die again and again, OutputError if the journal cannot be written, and what opening
    the model raises.
    """
    started = time.perf_counter()
    _require_ray()
    options, progress = options or ClusterOptions(), progress or NoProgress()
    source, output = Path(source), Path(output)
    jobs, root = plan_inputs(source, output, options, progress.note)
    progress.begin(jobs)
    prepare_folder(output / "any", None)
    recipe = BatchRecipe(
        model=model,
        options=options_of_workers(restore_options or RestoreOptions(), options.memory),
        faces=faces,
        damage=damage,
        outscale=options.outscale,
        quality=options.quality,
        limits=options.limits,
        root=str(output.resolve()),
        memory=options.memory,
    )
    run = _ClusterRun(recipe, options, progress, output)
    with contextlib.closing(Journal(output / FILE)) as journal:
        run.restore(jobs, journal, root)
    require_an_outcome_each(jobs, run.outcomes)
    return RunResult(tuple(run.outcomes), time.perf_counter() - started)


def options_of_workers(options: RestoreOptions, memory: int | None) -> RestoreOptions:
    """The same limit of tiles for all workers, which may be several on a machine, and on unlike
    machines; without one, tiles would depend on the memory of each machine.

    memory: limit of each worker in bytes
    """
    return options if options.memory else replace(options, memory=memory or _TILE_MEMORY)


class _ClusterRun:
    """One run; used once."""

    def __init__(
        self, recipe: BatchRecipe, options: ClusterOptions, progress: ClusterProgress, output: Path
    ) -> None:
        self.outcomes: list[Outcome] = []
        self._recipe = recipe
        self._options = options
        self._progress = progress
        self._journals = output / FILE.parent / "attempts"

    def restore(self, jobs: list[Job], journal: Journal, root: Path) -> None:
        recipes, name = _recipe_hashes(self._recipe)
        run_journal = RunJournal(
            journal, lambda target: recipes[RESULT_FORMATS[target.suffix.lower()]], root
        )
        require_own_folder(self._journals)
        self._import_killed_run(run_journal, jobs, name)
        left = []
        settled = run_journal.resolve(
            jobs, overwrite=self._options.overwrite, retry_failed=self._options.retry_failed
        )
        for job in settled:
            if job.is_left:
                left.append(job)
            else:
                self._take(job, untried(job))
        if left:
            self._restore_left(left, run_journal, recipes)

    def _restore_left(
        self, left: list[Job], journal: RunJournal, recipes: Mapping[str, str]
    ) -> None:
        from restora.cluster.pool import connected, make_pool
        from restora.cluster.rounds import Item, run_cluster

        items = [Item(str(job.source.absolute()), str(job.target.resolve())) for job in left]
        by_input = {item.input: job for item, job in zip(items, left, strict=True)}
        with connected(self._options.address):
            pool = make_pool(self._options, photos=len(left))
            self._progress.note(
                f"{len(left)} photos, {pool.workers} workers, {pool.gpus:g} GPUs each"
            )
            rows = run_cluster(
                items,
                self._recipe,
                pool,
                journals=self._journals,
                recipes=recipes,
                report=self._progress.note,
            )
            with contextlib.closing(rows):
                for row in rows:
                    job = by_input[row["input"]]
                    outcome = outcome_of(job.source, job.target, row, self._recipe.model)
                    journal.begin(job)
                    journal.end(job, outcome)
                    self._take(job, outcome)

    def _import_killed_run(self, journal: RunJournal, jobs: Iterable[Job], name: str) -> None:
        """Record what workers of a killed run began and finished, then remove their journals.

        name: of a run with these settings, in version 0.1
        """
        by_input = {str(job.source.absolute()): job for job in jobs}
        journal.import_rows(iter_journals(self._journals), by_input)
        for attempt in iter_old_attempts(self._journals):
            job = by_input.get(attempt.row["input"])
            if job is not None:
                journal.import_outcome(
                    job,
                    outcome_of(job.source, job.target, attempt.row, None),
                    recipe=journal.recipe_of(job.target)
                    if attempt.recipe == name
                    else attempt.recipe,
                    stamp=attempt.stamp,
                )
        shutil.rmtree(self._journals, ignore_errors=True)

    def _take(self, job: Job, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self._progress.end(job, outcome)


def _require_ray() -> None:
    try:
        import ray  # noqa: F401
    except ImportError as error:
        raise MissingBackendError(
            f"clusters need Ray: pip install 'restora[cluster]' ({error})"
        ) from error


def _recipe_hashes(recipe: BatchRecipe) -> tuple[dict[str, str], str]:
    """The recipe hash of each format of results, and one of all of them."""
    restorer = Restorer(
        recipe.model, options=recipe.options, faces=recipe.faces, damage=recipe.damage
    )
    with restorer:
        hashes: dict[str, str] = {}
        for format_ in RESULT_FORMATS.values():
            settings = writing_settings(
                restorer, format_, outscale=recipe.outscale, quality=recipe.quality
            )
            hashes[format_] = recipe_hash(restorer, settings)
        return hashes, recipe_hash(restorer, hashes)
