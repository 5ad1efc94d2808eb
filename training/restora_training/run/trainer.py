"""The loop of a training run."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.optim.swa_utils import AveragedModel

from restora.errors import RestoraError
from restora.jobs.lock import output_lock
from restora_training.data.batches import Batch, BatchSource
from restora_training.networks import make_network
from restora_training.recipe import Recipe
from restora_training.run.checks import check_recipe
from restora_training.run.device import choose_device
from restora_training.run.distributed import (
    Processes,
    any_process,
    average_losses,
    join_processes,
    require_same_step,
    share_weights,
)
from restora_training.run.objective import Objective
from restora_training.run.perceptual_distance import open_distance
from restora_training.run.records import Records
from restora_training.run.samples import open_samples
from restora_training.run.state import (
    NETWORK_FILE,
    STATE_FILE,
    digest_of_recipe,
    load_state,
    remove_unfinished,
    save_network,
    save_state,
)
from restora_training.run.validate import Figures, validate
from restora_training.steps.averages import start_average

logger = logging.getLogger(__name__)


class DivergedError(RestoraError):
    """A loss or a weight became NaN or infinite."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a step did.

    step: steps done so far; seconds: since the run began or continued
    losses: weighted, by name; figures: on held-out photos, if they were just measured
    waiting_share: share of the time that the networks waited for data
    """

    step: int
    steps: int
    seconds: float
    losses: dict[str, float]
    figures: Figures | None
    waiting_share: float


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The end of a run.

    steps: done; network: file of the averaged weights, in the published key layout
    figures: the last ones on held-out photos; None without held-out photos, or if no step was left
    stopped: the caller asked to stop before the last step
    """

    steps: int
    network: Path
    figures: Figures | None
    stopped: bool


def train(
    recipe: Recipe,
    folder: Path,
    *,
    report: Callable[[StepReport], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Run a recipe, or continue it from the last state in `folder`.

    folder: gets the state, the averaged network, log.csv, sample pictures and, if the recipe asks
        for it, records for TensorBoard
    report: called after every step
    should_stop: asked after every step; the state is saved before the run ends early

    On one CPU a run that was killed and continued gives the same weights, bit for bit, as one that
    was not. Started by torchrun, every process calls this with the same recipe and folder; the
    first one reports, and all stop after the same step if any of them is asked to.

    Raises OptionError for a recipe that cannot run or a folder in use, DivergedError if a loss, or
    a weight that is about to be saved, is not finite, and DiskFullError or OutputError if a file
    cannot be written.
    """
    device = choose_device(recipe.run.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with join_processes(device) as processes:
        lock = output_lock(folder / STATE_FILE) if processes.is_first else nullcontext()
        with lock:
            return _Run(recipe, folder, processes, device).work(report or _ignore, should_stop)


class _Run:
    def __init__(
        self, recipe: Recipe, folder: Path, processes: Processes, device: torch.device
    ) -> None:
        self.recipe, self.folder, self.processes = recipe, folder, processes
        self.device = device
        torch.manual_seed(recipe.run.seed)
        if recipe.run.threads:
            torch.set_num_threads(recipe.run.threads)
        network = make_network(recipe.network)
        check_recipe(recipe, network, processes=processes.count)
        network.to(device)
        self.network = network
        self.objective = Objective(recipe, network, processes)
        for trained in self.objective.networks.values():
            share_weights(trained, processes)
        self.average: AveragedModel = start_average(network, recipe.run.average)
        samples = open_samples(recipe, network)
        self.held_out = samples.held_out
        self.batches = BatchSource(
            samples.maker,
            batch=recipe.data.batch,
            process=processes.index,
            processes=processes.count,
            workers=recipe.data.workers,
        )
        self.digest = digest_of_recipe(recipe, photos=sorted(samples.photos))
        self.distance = None if recipe.run.lpips is None else open_distance(recipe.run.lpips)
        self.figures: Figures | None = None

    def work(
        self, report: Callable[[StepReport], None], should_stop: Callable[[], bool]
    ) -> TrainingResult:
        run = self.recipe.run
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.processes.is_first:
            remove_unfinished(self.folder)
        done = load_state(self.folder, self.objective, self.average, recipe_sha256=self.digest)
        require_same_step(done, self.processes)
        if done:
            logger.info("continuing from step %d", done)
        started = time.perf_counter()
        with self._open_records(done) as records, self.batches.open(done, run.steps) as batches:
            for batch in batches:
                losses = self._step(batch, done)
                done += 1
                stopping = any_process(should_stop(), self.processes)
                last = done == run.steps or stopping
                saving = last or done % run.save == 0
                if saving:
                    self._require_finite_weights(done)
                figures = None
                if records is not None and (last or done % run.validate_every == 0):
                    figures = self._validate(done, records)
                seconds = time.perf_counter() - started
                waiting = self.batches.waited_s / seconds
                if self.processes.is_first:
                    report(StepReport(done, run.steps, seconds, losses, figures, waiting))
                if records is not None and (done % run.log == 0 or figures):
                    row = self._row(seconds, waiting, losses, figures)
                    records.add(done, row)
                if saving:
                    self._save(done)
                if stopping:
                    break
        network = self.folder / NETWORK_FILE
        if self.processes.is_first and not network.exists():  # of a run that was done before
            save_network(network, self.average.module, metadata={"steps": str(done)})
        return TrainingResult(done, network, self.figures, done < run.steps)

    def _step(self, batch: Batch, done: int) -> dict[str, float]:
        # noise that a step draws depends on its number alone, so a run can continue at any step
        torch.manual_seed(_seed_of(self.recipe.run.seed, done, self.processes.index))
        losses, _ = self.objective.run(batch.to(self.device), done)
        values = average_losses(losses, self.processes)
        broken = [name for name, value in values.items() if not math.isfinite(value)]
        if broken:
            raise self._diverged(f"the loss {broken[0]}", done + 1)
        self.average.update_parameters(self.network)
        return values

    def _require_finite_weights(self, done: int) -> None:
        """Raise DivergedError if the last gradient broke a network: no loss has shown it yet."""
        for name, network in self.objective.networks.items():
            if not all(bool(value.isfinite().all()) for value in network.parameters()):
                raise self._diverged(f"a weight of the {name}", done)

    def _diverged(self, what: str, step: int) -> DivergedError:
        state = self.folder / STATE_FILE
        kept, start = "no state was saved yet", ""
        if state.exists():
            kept = f"the last state is {state}"
            start = f" from network.start = {self.folder / NETWORK_FILE}"
        return DivergedError(
            f"{what} is not finite at step {step}; {kept}: train in another folder{start} with a "
            "lower rate, or with clip"
        )

    def _open_records(self, done: int) -> AbstractContextManager[Records | None]:
        if not self.processes.is_first:
            return nullcontext()
        return Records(self.folder, done=done, tensorboard=self.recipe.run.tensorboard)

    def _validate(self, done: int, records: Records) -> Figures | None:
        if not self.held_out:
            return None
        self.figures, sheets = validate(
            self.average.module,
            self.held_out,
            is_face=self.objective.is_face,
            distance=self.distance,
        )
        records.add_samples(done, sheets)
        return self.figures

    def _row(
        self, seconds: float, waiting: float, losses: dict[str, float], figures: Figures | None
    ) -> dict[str, float]:
        rate = float(self.objective.optimizers["generator"].param_groups[0]["lr"])
        row = {"seconds": seconds, "rate": rate, "waiting_share": waiting, **losses}
        return row if figures is None else row | figures.by_name()

    def _save(self, done: int) -> None:
        if self.processes.is_first:
            save_state(
                self.folder, self.objective, self.average, step=done, recipe_sha256=self.digest
            )


def _seed_of(seed: int, step: int, process: int) -> int:
    digest = hashlib.sha256(f"{seed} {step} {process}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def _ignore(_: StepReport) -> None:
    pass
