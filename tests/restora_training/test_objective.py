"""What a recipe's losses make a run train."""

from pathlib import Path

import torch

from restora_training import make_recipe
from restora_training.data.batches import Batch
from restora_training.networks import make_network
from restora_training.run.distributed import Processes
from restora_training.run.objective import Objective
from training_runs import FACE_SIZES


def test_a_face_network_without_the_adversarial_loss_has_no_discriminator() -> None:
    recipe = make_recipe(
        {"network": {"architecture": "gfpgan", **FACE_SIZES}, "run": {"steps": 1}}, folder=Path()
    )
    objective = Objective(recipe, make_network(recipe.network), Processes())
    assert set(objective.networks) == set(objective.optimizers) == {"generator"}
    faces = torch.rand(1, 3, 64, 64)
    losses, _ = objective.run(Batch(faces, faces, faces, {}, torch.zeros(1)), 0)
    assert set(losses) == {"pixel", "pyramid"}
