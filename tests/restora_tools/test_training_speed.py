"""The trainer and the plain loop that it is measured beside."""

from pathlib import Path
from typing import Any

import torch

from restora_tools.plain_training import PlainLoop
from restora_tools.training_table import training_table
from restora_training import make_recipe
from restora_training.data.batches import Batch
from restora_training.networks import make_network
from restora_training.run.distributed import Processes
from restora_training.run.objective import Objective
from restora_training.steps.averages import start_average

NETWORK: dict[str, Any] = {"architecture": "srvgg", "features": 8, "convs": 2}


def test_both_loops_compute_the_same() -> None:
    degraded, clean = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 32, 32)
    torch.manual_seed(5)
    plain = PlainLoop(NETWORK, degraded, clean, all_losses=False)
    torch.manual_seed(5)
    recipe = make_recipe({"network": NETWORK, "run": {"steps": 9}}, folder=Path())
    network = make_network(recipe.network)
    objective = Objective(recipe, network, Processes())
    average = start_average(network, recipe.run.average)
    batch = Batch(degraded, clean, clean, {}, torch.zeros(2))
    for step in range(3):
        plain.step()
        objective.run(batch, step)
        average.update_parameters(network)
    trained, averaged = dict(network.named_parameters()), dict(average.module.named_parameters())
    for key, value in plain.generator.named_parameters():
        # Adam's first steps are the rate times the sign of the gradient, whose sums may differ
        torch.testing.assert_close(trained[key], value, rtol=0, atol=2e-6)
        torch.testing.assert_close(averaged[key], plain.average[key], rtol=0, atol=2e-6)


def test_the_table_shows_speed_memory_and_waiting() -> None:
    result = {
        "machine": {"cpu": "CPU", "torch": "2.13"},
        "threads": 2,
        "rounds": 5,
        "rows": [
            {
                "setting": "srvgg, L1",
                "batch": 8,
                "clean_patch": 192,
                "steps_per_s": {"plain loop": 2.0, "fp32": 2.5, "bf16": 5.0},
                "ratio": {"fp32": 1.25, "bf16": 2.5},
                "peak_megabytes": {"plain loop": 1100, "fp32": 1000, "bf16": 700},
            }
        ],
        "waiting": [
            {
                "recipe": "srvgg, L1",
                "degradation": "second_order",
                "steps_per_s": 4.0,
                "waiting_share": 0.03,
            }
        ],
    }
    table = training_table(result)
    assert (
        "| srvgg, L1 | 8 x 192 px | 2.00 steps/s | 2.50 steps/s (1.25 x) | 5.00 steps/s (2.50 x) | "
        "1.1, 1.0, 0.7 GB |" in table
    )
    assert "3% with srvgg, L1 in bf16 at 4.0 steps/s (degradation `second_order`)" in table
