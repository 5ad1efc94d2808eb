"""Train, fine-tune and distill the networks that restora runs."""

from restora_training.recipe import Recipe, make_recipe, read_recipe
from restora_training.run.trainer import (
    DivergedError,
    StepReport,
    TrainingResult,
    train,
)

__all__ = [
    "DivergedError",
    "Recipe",
    "StepReport",
    "TrainingResult",
    "make_recipe",
    "read_recipe",
    "train",
]
