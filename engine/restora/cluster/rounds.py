"""Restore photos on a Ray cluster, in rounds, until every input has its row."""

from __future__ import annotations

import gc
import logging
import math
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.data import ActorPoolStrategy, DataContext

from restora.cluster.attempts import count_logs, read_attempts, read_fatal_error
from restora.cluster.batch import BatchRecipe, RestoreBatch
from restora.cluster.isolated import IsolatedBatch
from restora.cluster.pool import WorkerPool
from restora.cluster.rows import Row, failed_row
from restora.errors import SessionError
from restora.jobs.disk import require_own_folder

logger = logging.getLogger(__name__)

_ROUNDS = 3  # the second and third only for rows that Ray itself lost
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Item:
    """One photo: where it lies and where its result goes."""

    input: str
    output: str


def run_cluster(
    items: Sequence[Item],
    recipe: BatchRecipe,
    pool: WorkerPool,
    *,
    journals: Path,
    recipes: Mapping[str, str],
    report: Report,
    worker: type[RestoreBatch] = RestoreBatch,
) -> Generator[Row, None, None]:
    """Yield exactly one row for each item, with the columns of RestoreBatch.

    journals: a folder that all workers can write into; it is removed at the end, and stays if the
        run is killed
    recipes: the recipe of a result, by its format
    worker: the class that restores

    Workers that die are replaced, pool.restarts times each on average. A photo is begun alone three
    times at most, by all workers together. Raises SessionError when workers keep dying, or cannot
    open the networks.
    """
    require_own_folder(journals)
    shutil.rmtree(journals, ignore_errors=True)
    require_own_folder(journals)
    spread = replace(
        recipe,
        options=replace(recipe.options, threads=pool.cpus),
        processes=pool.workers,
    )
    payload = ray.cloudpickle.dumps(worker(spread))  # type: ignore[no-untyped-call]
    left = {item.input: item for item in items}
    for number in range(_ROUNDS):
        if number:
            report(f"{len(left)} photos have no row yet, round {number + 1}")
        for row in _run_round(list(left.values()), payload, journals, recipes, pool):
            if left.pop(row["input"], None) is not None:
                yield row
        rows = read_attempts(journals).rows
        yield from (rows[source] for source in list(left) if source in rows and left.pop(source))
        if not left:
            break
    for item in left.values():
        yield failed_row(item.input, item.output, "WorkerDied", "no worker finished it")
    shutil.rmtree(journals, ignore_errors=True)


def _run_round(
    items: Sequence[Item],
    payload: bytes,
    journals: Path,
    recipes: Mapping[str, str],
    pool: WorkerPool,
) -> Iterator[Row]:
    """Yield rows as batches are finished. They are in the workers' journals too, so that none is
    lost whatever Ray raises.

    Raises SessionError for an error that is no photo's fault, such as a missing model.
    """
    context = DataContext.get_current()
    context.enable_progress_bars = False
    max_workers = count_logs(journals) + pool.workers * (1 + pool.restarts)
    blocks = max(1, -(-len(items) // pool.photos_per_task))
    rows = [{"input": item.input, "output": item.output} for item in items]
    data = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
        IsolatedBatch,
        # Ray's own bound does not help: when it is reached, Ray Data (2.60) waits forever
        fn_constructor_args=(payload, str(journals), dict(recipes), max_workers),
        batch_size=pool.photos_per_task,
        compute=ActorPoolStrategy(size=min(pool.workers, blocks)),
        num_cpus=pool.cpus,
        num_gpus=pool.gpus or None,
    )
    try:
        for found in data.iter_rows():
            yield {name: _plain(value) for name, value in found.items()}
    except ray.exceptions.RayError as error:
        fatal = read_fatal_error(journals)
        if fatal is not None:
            raise SessionError(fatal) from None
        logger.warning("a round ended early: %s", str(error).splitlines()[0])
    finally:
        # a pool that failed keeps its workers, and their cores, while anything refers to it
        del data
        gc.collect()


def _plain(value: Any) -> Any:
    """Without NumPy's types, and None where Arrow has NaN for it."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and math.isnan(value) else value
