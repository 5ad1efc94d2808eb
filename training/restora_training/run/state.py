"""The state of a run on disk: everything that the next step depends on."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_safetensors
from torch import nn
from torch.optim.swa_utils import AveragedModel

from restora.atomic import remove_partial, write_atomically
from restora.errors import CheckpointError, OptionError
from restora_training.recipe import Recipe
from restora_training.run.log import LOG_FILE
from restora_training.run.objective import Objective

STATE_FILE = "state.pt"
EARLIER_STATE_FILE = "state.earlier.pt"
NETWORK_FILE = "network.safetensors"
_FORMAT = 1
_CHUNK_BYTES = 1 << 24


def save_state(
    folder: Path, objective: Objective, average: AveragedModel, *, step: int, recipe_sha256: str
) -> None:
    """Write the averaged weights for export, and the state after `step` steps.

    A file is replaced whole or not at all; the earlier state is kept beside the new one.
    Raises DiskFullError or OutputError; then the earlier state is still there.
    """
    # first, so that a state is never newer than the weights: a finished run does no step again
    save_network(folder / NETWORK_FILE, average.module, metadata={"steps": str(step)})
    stream = io.BytesIO()
    state = {
        "format": _FORMAT,
        "step": step,
        "recipe": recipe_sha256,
        "networks": {name: net.state_dict() for name, net in objective.networks.items()},
        "optimizers": {name: opt.state_dict() for name, opt in objective.optimizers.items()},
        "schedulers": {name: s.last_epoch for name, s in objective.schedulers.items()},
        "average": average.state_dict(),
    }
    torch.save(state, stream)
    current = folder / STATE_FILE
    if current.exists():
        current.replace(folder / EARLIER_STATE_FILE)
    try:
        write_atomically(current, _chunks_of(stream))
    except BaseException:
        if not current.exists() and (folder / EARLIER_STATE_FILE).exists():
            (folder / EARLIER_STATE_FILE).replace(current)
        raise


def digest_of_recipe(recipe: Recipe, *, photos: Sequence[str] = ()) -> str:
    """SHA-256 of all that decides the weights of a run: not of the number of steps without a
    schedule that depends on it, nor of intervals, records, threads and the device, nor of where
    files lie.

    photos: names of those in a folder that are trained on; with others, photos that were held out
        could be trained on, or the other way round
    """
    values = recipe.model_dump(mode="json")
    for name, part in recipe:
        values[name] |= {key: value.name for key, value in part if isinstance(value, Path)}
    for key in ("save", "log", "validate_every", "threads", "device", "lpips", "tensorboard"):
        values["run"].pop(key)
    values["data"].pop("workers")
    if recipe.optimizer.schedule != "cosine" and not recipe.run.float32_tail:
        values["run"].pop("steps")
    if photos:
        values["photos"] = list(photos)
    return hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()


def remove_unfinished(folder: Path) -> None:
    """Remove what killed runs left of files that they were writing. Nobody may be writing them."""
    for name in (STATE_FILE, NETWORK_FILE, LOG_FILE):
        remove_partial(folder / name)


def save_network(path: Path, network: nn.Module, *, metadata: Mapping[str, str]) -> None:
    """Write weights in the published key layout."""
    weights = {key: value.contiguous() for key, value in network.state_dict().items()}
    write_atomically(path, save_safetensors(weights, metadata=dict(metadata)))


def load_state(
    folder: Path, objective: Objective, average: AveragedModel, *, recipe_sha256: str
) -> int:
    """Load the last state. Returns the number of steps done; 0 if there is none.

    Raises OptionError if it is of another recipe, CheckpointError if it is damaged.
    """
    path = _find_state(folder)
    if path is None:
        return 0
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        if state["format"] != _FORMAT:
            raise CheckpointError(f"{path} is of another version of restora: start a new run")
        if state["recipe"] != recipe_sha256:
            raise OptionError(
                f"{folder} holds a run of another recipe, or of other photos: continue it with its "
                "own, or give another folder"
            )
        for name, network in objective.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, optimizer in objective.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        for name, scheduler in objective.schedulers.items():
            scheduler.last_epoch = state["schedulers"][name]
        average.load_state_dict(state["average"])
    except (CheckpointError, OptionError):
        raise
    except Exception as error:  # torch.load raises many types for a damaged file
        raise CheckpointError(
            f"{path} is damaged ({type(error).__name__}): remove it to continue from "
            f"{EARLIER_STATE_FILE}, or to start again"
        ) from error
    return int(state["step"])


def _chunks_of(stream: io.BytesIO) -> Iterator[bytes]:
    # a second copy of a large state would need as much memory as the networks
    stream.seek(0)
    while chunk := stream.read(_CHUNK_BYTES):
        yield chunk


def _find_state(folder: Path) -> Path | None:
    for name in (STATE_FILE, EARLIER_STATE_FILE):
        if (folder / name).exists():
            return folder / name
    return None
