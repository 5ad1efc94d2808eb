"""Training in bfloat16."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from restora_training import make_recipe
from restora_training.data.batches import Batch
from restora_training.extractors import VGG19Features
from restora_training.networks import make_network
from restora_training.run.distributed import Processes
from restora_training.run.objective import Objective
from restora_training.run.precision import InBfloat16


def run_step(step: int = 0, **run: Any) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    values = {
        "network": {"architecture": "srvgg", "scale": 2, "features": 8, "convs": 2},
        "run": {"steps": 4, **run},
    }
    recipe = make_recipe(values, folder=Path())
    torch.manual_seed(3)
    objective = Objective(recipe, make_network(recipe.network), Processes())
    clean = torch.rand(2, 3, 16, 16)
    batch = Batch(torch.rand(2, 3, 8, 8), clean, clean, {}, torch.zeros(2))
    return objective.run(batch, step)


def test_bfloat16_rounds_what_convolutions_compute_and_nothing_else() -> None:
    _, exact = run_step()
    losses, rounded = run_step(precision="bf16")
    assert rounded.dtype == losses["pixel"].dtype == torch.float32
    difference = (rounded - exact).abs().max()
    # the residual is below 1/2 and has 8 bits; the enlarged picture that it is added to is exact
    assert 0 < difference < 0.5 * 2**-8


def test_the_tail_of_a_run_is_computed_in_float32() -> None:
    run = {"precision": "bf16", "float32_tail": 0.5}
    assert torch.equal(run_step(2, **run)[1], run_step(2)[1])
    assert not torch.equal(run_step(1, **run)[1], run_step(1)[1])


def test_the_features_of_the_perceptual_loss_are_computed_in_bfloat16_too(tmp_path: Path) -> None:
    torch.manual_seed(2)
    state = VGG19Features(["conv5_4"]).state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "v.safetensors")
    values = {
        "network": {"architecture": "srvgg", "scale": 2, "features": 8, "convs": 1},
        "losses": {"perceptual": 1.0, "vgg19": tmp_path / "v.safetensors"},
        "run": {"steps": 4, "precision": "bf16"},
    }
    recipe = make_recipe(values, folder=Path())
    objective = Objective(recipe, make_network(recipe.network), Processes())
    perceptual = objective._step.perceptual
    assert perceptual is not None
    assert isinstance(perceptual.extractor, InBfloat16)
    features = perceptual.extractor(torch.rand(1, 3, 32, 32))
    assert {value.dtype for value in features.values()} == {torch.float32}
    assert all(torch.equal(value, value.bfloat16().float()) for value in features.values())
