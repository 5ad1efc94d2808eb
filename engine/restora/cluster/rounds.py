"""Restore photos on a Ray cluster, in rounds, until every input has its row."""

from __future__ import annotations

import gc
import logging
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.data import ActorPoolStrategy, DataContext

from restora.cluster.attempts import Row, count_logs, read_attempts, read_fatal_error
from restora.cluster.batch import BatchRecipe, RestoreBatch
from restora.cluster.guard import IsolatedBatch, failed_row
from restora.errors import SessionError
from restora.jobs.files import require_own_folder

logger = logging.getLogger(__name__)

_ROUNDS = 3  # the later ones only for what Ray itself lost
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """How work is spread.

    workers  processes that restore; each has networks of its own
    batch    photos that a worker takes at once
    cpus     cores of a worker, and its threads
    gpus     of a worker; 0: it runs on the CPU
    restarts of each worker that dies, on average, until the run ends with an error
    """

    workers: int = 1
    batch: int = 16
    cpus: int = 1
    gpus: float = 0.0
    restarts: int = 5


@dataclass(frozen=True, slots=True)
class Item:
    """One photo: where it lies and where its result goes."""

    input: str
    output: str


def run_cluster(
    items: Sequence[Item],
    recipe: BatchRecipe,
    plan: ClusterPlan,
    *,
    logs: Path,
    report: Report,
    worker: type[RestoreBatch] = RestoreBatch,
) -> Iterator[Row]:
    """Yield exactly one row for each item, with the columns of RestoreBatch.

    logs    a folder that all workers can write into; what they began and ended lies there while
            the run lasts, and stays if it is killed
    worker  what restores

    Workers that die are replaced, so many times; a photo is begun three times at most alone,
    whoever begins it. Raises SessionError when workers go on dying, or cannot open the networks.
    """
    require_own_folder(logs)
    shutil.rmtree(logs, ignore_errors=True)
    require_own_folder(logs)
    spread = replace(
        recipe,
        options=replace(recipe.options, threads=plan.cpus),
        processes=plan.workers,
    )
    payload = ray.cloudpickle.dumps(worker(spread))  # type: ignore[no-untyped-call]
    left = {item.input: item for item in items}
    for number in range(_ROUNDS):
        if number:
            report(f"{len(left)} photos have no row yet, round {number + 1}")
        for row in _run_round(list(left.values()), payload, logs, plan):
            if left.pop(row["input"], None) is not None:
                yield row
        rows = read_attempts(logs).rows
        yield from (rows[source] for source in list(left) if source in rows and left.pop(source))
        if not left:
            break
    for item in left.values():
        yield failed_row(item.input, item.output, "WorkerDied", "no worker ended it")
    shutil.rmtree(logs, ignore_errors=True)


def _run_round(
    items: Sequence[Item], payload: bytes, logs: Path, plan: ClusterPlan
) -> Iterator[Row]:
    """Rows as batches are finished. They are in the workers' logs too: whatever Ray raises, nothing
    is lost with it.

    Raises SessionError for what is no photo's fault, such as a model that is not there.
    """
    context = DataContext.get_current()
    context.enable_progress_bars = False
    most = count_logs(logs) + plan.workers * (1 + plan.restarts)
    blocks = max(1, -(-len(items) // plan.batch))
    rows = [{"input": item.input, "output": item.output} for item in items]
    data = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
        IsolatedBatch,
        # Ray's own bound is of no use: when it is reached, Ray Data (2.60) waits for ever
        fn_constructor_args=(payload, str(logs), most),
        batch_size=plan.batch,
        compute=ActorPoolStrategy(size=min(plan.workers, blocks)),
        num_cpus=plan.cpus,
        num_gpus=plan.gpus or None,
    )
    try:
        for found in data.iter_rows():
            yield {name: _plain(value) for name, value in found.items()}
    except ray.exceptions.RayError as error:
        broken = read_fatal_error(logs)
        if broken is not None:
            raise SessionError(broken) from None
        logger.warning("a round ended early: %s", str(error).splitlines()[0])
    finally:
        # a pool that failed keeps its workers, and their cores, while anything refers to it
        del data
        gc.collect()


def _plain(value: Any) -> Any:
    """Without NumPy's types, and None where Arrow has NaN for it."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and math.isnan(value) else value
