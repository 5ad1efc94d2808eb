"""The device that a process trains on, and that everything of a step moves there."""

from pathlib import Path
from typing import Any

import pytest
import torch

from restora.errors import OptionError
from restora_training import make_recipe
from restora_training.data.batches import Batch
from restora_training.networks import make_network
from restora_training.run import objective as objective_module
from restora_training.run.device import choose_device
from restora_training.run.distributed import Processes
from restora_training.run.objective import Objective
from restora_training.steps.averages import start_average
from training_runs import FACE_SIZES

GPU = torch.device("cuda", 0)


def pretend_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_the_gpu_is_used_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, 1)
    assert choose_device("auto") == GPU
    assert choose_device("cpu") == torch.device("cpu")
    pretend_gpus(monkeypatch, 0)
    assert choose_device("auto") == torch.device("cpu")


def test_a_gpu_that_is_asked_for_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, 0)
    with pytest.raises(OptionError, match=r'run.device is "cuda", but PyTorch finds no CUDA GPU'):
        choose_device("cuda")


def test_each_process_of_torchrun_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device("auto") == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(OptionError, match="a process for GPU 2, but there are 2"):
        choose_device("cuda")


UPSCALER = {
    "network": {"architecture": "srvgg", "scale": 2, "features": 8, "convs": 1},
    "losses": {"adversarial": 0.1, "discriminator_width": 4, "ssim": 0.1},
}
FACE = {
    "network": {"architecture": "gfpgan", **FACE_SIZES},
    "degradation": {"kind": "faces"},
    "losses": {"adversarial": 0.1, "component": 1.0, "component_style": 1.0, "r1_interval": 1},
}


@pytest.mark.parametrize("values", [UPSCALER, FACE], ids=["upscaler", "face"])
def test_everything_of_a_step_is_on_the_device_of_the_network(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # tensors of this device have no numbers, but operands must be on one device like on a GPU
    device = torch.device("meta")

    def make_adam(parameters: Any, *, fused: bool, **settings: Any) -> torch.optim.Adam:
        return torch.optim.Adam(parameters, fused=False, **settings)

    monkeypatch.setattr(objective_module, "Adam", make_adam)
    recipe = make_recipe({**values, "run": {"steps": 2}}, folder=Path())
    network = make_network(recipe.network).to(device)
    objective = Objective(recipe, network, Processes())
    average = start_average(network, 0.9)
    side = 64
    clean = torch.rand(2, 3, side, side)
    degraded = clean if objective.is_face else torch.rand(2, 3, side // 2, side // 2)
    boxes = {
        name: torch.tensor([[8.0, 8.0, 24.0, 24.0]] * 2)
        for name in ("left_eye", "right_eye", "mouth")
    }
    batch = Batch(degraded, clean, clean, boxes, torch.zeros(2)).to(device)
    losses, output = objective.run(batch, 0)
    average.update_parameters(network)
    assert output.device == device
    assert {loss.device for loss in losses.values()} == {device}
    assert len(losses) == (12 if objective.is_face else 5)
