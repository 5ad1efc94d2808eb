"""Restore photos on a Ray cluster, in rounds, until every input has its row."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext

from restora.cluster.attempts import Row, read_attempts
from restora.cluster.batch import COLUMNS, BatchRecipe, RestoreBatch

logger = logging.getLogger(__name__)

MOST_KILLS = 3
_ROUNDS = 8  # a worker that dies takes rows of others with it; each round leaves fewer
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """How work is spread.

    workers  processes that restore; each has networks of its own
    batch    photos that a worker takes at once
    cpus     cores of a worker, and its threads
    gpus     of a worker; 0: it runs on the CPU
    """

    workers: int = 1
    batch: int = 8
    cpus: int = 1
    gpus: float = 0.0


@dataclass(frozen=True, slots=True)
class Item:
    """One photo: where it lies and where its result goes."""

    input: str
    output: str
    alone: bool = False


def run_cluster(
    items: Sequence[Item],
    recipe: BatchRecipe,
    plan: ClusterPlan,
    *,
    folder: Path,
    report: Report,
    worker: type[RestoreBatch] = RestoreBatch,
) -> Iterator[Row]:
    """Yield exactly one row for each item, with the columns of RestoreBatch.

    folder  that all workers can write into; their logs of attempts lie there while the run lasts

    Workers that die are replaced a bounded number of times. A photo that is begun three times and
    ended by no worker gets a row with the error type "Quarantined".
    """
    logs = folder / "attempts"
    shutil.rmtree(logs, ignore_errors=True)
    shared = replace(recipe, attempts=str(logs), options=replace(recipe.options, threads=plan.cpus))
    given: set[str] = set()
    for number in range(_ROUNDS):
        rows, kills = read_attempts(logs)
        for item in items:
            found = rows.get(item.input)
            if found is None and kills.get(item.input, 0) >= MOST_KILLS:
                found = _failed(item, "Quarantined", f"{MOST_KILLS} workers died while at it")
            if found is not None and item.input not in given:
                given.add(item.input)
                yield found
        left = [item for item in items if item.input not in given]
        if not left:
            break
        if number:
            report(f"{len(left)} photos have no row yet, round {number + 1}")
        suspects = [item for item in left if item.alone or item.input in kills]
        others = [item for item in left if item not in suspects]
        if others:
            _run_round(others, shared, plan, worker)
        elif suspects:
            _run_round(suspects, shared, replace(plan, batch=1), worker)
    for item in items:
        if item.input not in given:
            yield _failed(item, "WorkerDied", "no worker ended it")
    shutil.rmtree(logs, ignore_errors=True)


def _run_round(
    items: Sequence[Item], recipe: BatchRecipe, plan: ClusterPlan, worker: type[RestoreBatch]
) -> None:
    """Rows come from the workers' logs: whatever is raised here, nothing is lost with it."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1
    blocks = max(1, -(-len(items) // plan.batch))
    rows = [{"input": item.input, "output": item.output} for item in items]
    workers = min(plan.workers, blocks)
    data = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
        worker,
        fn_constructor_args=(recipe,),
        batch_size=plan.batch,
        compute=ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
        num_cpus=plan.cpus,
        num_gpus=plan.gpus or None,
        max_restarts=1,
        max_task_retries=0,
    )
    try:
        for _ in data.iter_batches(batch_size=None):
            pass
    except ray.exceptions.RayError as error:
        logger.info("a round ended early: %s", str(error).splitlines()[0])


def _failed(item: Item, kind: str, reason: str) -> Row:
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    failure = {"status": "failed", "error_type": kind, "reason": reason}
    return {**row, "input": item.input, "output": item.output, **failure}
