"""A sheet of training samples, to look at before a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from restora.errors import OptionError
from restora_training.networks import is_face_network, make_network
from restora_training.recipe import Recipe
from restora_training.run.checks import check_recipe
from restora_training.run.records import write_sheet
from restora_training.run.samples import open_samples
from restora_training.run.validate import picture_of

_COLUMNS = 4
_GAP = 4


def write_preview(recipe: Recipe, path: Path, *, rows: int = 4) -> None:
    """Write pairs of degraded (enlarged by repeating pixels) and clean patches as one PNG.

    rows: of four pairs each; they are the first ones that the recipe trains on

    Raises OptionError if the recipe cannot run.
    """
    if rows < 1:
        raise OptionError(f"a sheet must have at least 1 row, got {rows}")
    with torch.device("meta") if recipe.network.start is None else torch.device("cpu"):
        network = make_network(recipe.network)
    check_recipe(recipe, network)
    maker = open_samples(recipe, network).maker
    is_face = is_face_network(network)
    lines = []
    for row in range(rows):
        pictures = []
        for column in range(_COLUMNS):
            number = row * _COLUMNS + column
            step, index = divmod(number, recipe.data.batch)
            sample = maker.make(step, index)
            clean = picture_of(sample.sharp, is_face=is_face)
            degraded = picture_of(sample.degraded, is_face=is_face)
            factor = clean.shape[0] // degraded.shape[0]
            pictures += [degraded.repeat(factor, 0).repeat(factor, 1), clean]
        line = np.concatenate([_frame(picture) for picture in pictures], 1)
        lines.append(line)
    write_sheet(path, lines)


def _frame(picture: np.ndarray) -> np.ndarray:
    return np.pad(picture, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255)
