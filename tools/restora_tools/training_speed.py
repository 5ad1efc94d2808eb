"""Measure the trainer beside a plain loop with the same arithmetic:
`python -m restora_tools.training_speed`.

The plain loop does what the published training code does in one iteration: eager PyTorch in FP32,
generator, losses, optimizers, moving average. Weights are random: they change no speed.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from restora_tools.plain_training import PlainLoop
from restora_tools.results import write_results
from restora_tools.training_table import WAYS, training_table
from restora_training import StepReport, make_recipe, read_recipe, train
from restora_training.data.batches import Batch
from restora_training.extractors import VGG19Features
from restora_training.networks import make_network
from restora_training.recipe import Recipe
from restora_training.run.distributed import Processes
from restora_training.run.objective import Objective
from restora_training.steps.averages import start_average

RESULTS = Path("benchmarks/results/training.json")
LITE_RECIPE = Path("training/recipes/restora-lite-x2.toml")
_SCALE = 4


@dataclass(frozen=True, slots=True)
class Setting:
    """What is trained: side is that of the degraded patches; all_losses adds the perceptual and the
    adversarial loss to L1."""

    network: dict[str, Any]
    batch: int
    side: int
    all_losses: bool
    steps: int  # that are measured together


_SRVGG = {"architecture": "srvgg", "features": 64, "convs": 16}
_RRDB = {"architecture": "rrdb", "features": 64, "blocks": 2, "growth": 32}
SETTINGS = {
    "srvgg-16x64, L1": Setting(_SRVGG, 8, 48, all_losses=False, steps=4),
    "srvgg-16x64, all losses": Setting(_SRVGG, 4, 32, all_losses=True, steps=1),
    "rrdb-2x64, all losses": Setting(_RRDB, 4, 32, all_losses=True, steps=1),
}


def make_step(way: str, name: str, vgg19: Path) -> Callable[[], None]:
    """A function that runs one iteration on a fixed batch."""
    setting = SETTINGS[name]
    torch.manual_seed(1)
    degraded = torch.rand(setting.batch, 3, setting.side, setting.side)
    clean = torch.rand(setting.batch, 3, _SCALE * setting.side, _SCALE * setting.side)
    if way == "plain loop":
        loop = PlainLoop(setting.network, degraded, clean, all_losses=setting.all_losses)
        return loop.step
    recipe = _recipe(setting, vgg19, precision=way)
    network = make_network(recipe.network)
    objective = Objective(recipe, network, Processes())
    average = start_average(network, recipe.run.average)
    batch = Batch(degraded, clean, clean, {}, torch.zeros(setting.batch))
    done = 0

    def step() -> None:
        nonlocal done
        objective.run(batch, done)
        average.update_parameters(network)
        done += 1

    return step


def measure_speed(name: str, vgg19: Path, *, rounds: int) -> dict[str, Any]:
    """Seconds per step of each way, in turns in one process: medians of the rounds."""
    setting = SETTINGS[name]
    ways = {way: make_step(way, name, vgg19) for way in WAYS}
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for step in ways.values():
        step()
    for _ in range(rounds):
        for way, step in ways.items():
            started = time.perf_counter()
            for _ in range(setting.steps):
                step()
            times[way].append((time.perf_counter() - started) / setting.steps)
    seconds = {way: statistics.median(values) for way, values in times.items()}
    return {
        "setting": name,
        "batch": setting.batch,
        "clean_patch": _SCALE * setting.side,
        "steps_per_s": {way: round(1 / value, 4) for way, value in seconds.items()},
        "ratio": {
            way: round(seconds["plain loop"] / seconds[way], 3) for way in WAYS if way != WAYS[0]
        },
        "peak_megabytes": {way: _peak_of(way, name, vgg19) for way in WAYS},
    }


def measure_waiting(folder: Path, *, steps: int) -> list[dict[str, Any]]:
    """Share of the time that runs wait for data: the fastest step with the slowest degradation,
    and the bundled recipe."""
    setting = SETTINGS["srvgg-16x64, L1"]
    distilled = make_recipe(
        {
            "network": {"scale": _SCALE, **setting.network},
            "data": {"patch": _SCALE * setting.side, "batch": setting.batch, "held_out": 0},
            "run": {"steps": steps, "precision": "bf16", "log": steps},
        },
        folder=Path(),
    )
    bundled = read_recipe(LITE_RECIPE)
    changes = {"steps": steps, "validate_every": 2 * steps, "log": steps}
    bundled = bundled.model_copy(
        update={
            "run": bundled.run.model_copy(update=changes),
            "data": bundled.data.model_copy(update={"held_out": 0}),
        }
    )
    rows = []
    for name, recipe in (("srvgg-16x64, L1", distilled), ("restora-lite-x2", bundled)):
        seen: list[StepReport] = []
        train(recipe, folder / name, report=seen.append)
        rows.append(
            {
                "recipe": name,
                "degradation": recipe.degradation.kind,
                "steps_per_s": round(steps / seen[-1].seconds, 3),
                "waiting_share": round(seen[-1].waiting_share, 3),
            }
        )
    return rows


def _recipe(setting: Setting, vgg19: Path, *, precision: str) -> Recipe:
    losses: dict[str, Any] = {"pixel": 1.0}
    if setting.all_losses:
        losses |= {"perceptual": 1.0, "adversarial": 0.1, "vgg19": str(vgg19)}
    return make_recipe(
        {
            "network": {"scale": _SCALE, **setting.network},
            "losses": losses,
            "run": {"steps": 1000, "precision": precision},
        },
        folder=Path(),
    )


def _peak_of(way: str, name: str, vgg19: Path) -> int:
    command = [sys.executable, "-m", "restora_tools.training_speed", "--peak", way, name]
    run = subprocess.run(  # noqa: S603  # our own command
        [*command, str(vgg19)], check=True, capture_output=True, text=True, timeout=600
    )
    return int(run.stdout.split()[-1])


def _print_peak(way: str, name: str, vgg19: Path) -> None:
    step = make_step(way, name, vgg19)
    for _ in range(2):
        step()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peak", nargs=3, metavar=("WAY", "SETTING", "VGG19"), default=None)
    arguments = parser.parse_args()
    if arguments.peak is not None:
        way, name, vgg19 = arguments.peak
        _print_peak(way, name, Path(vgg19))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        vgg = VGG19Features(["conv5_4"])
        weights = {key: value.contiguous() for key, value in vgg.state_dict().items()}
        save_file(weights, folder / "vgg19.safetensors")
        rows = [
            measure_speed(name, folder / "vgg19.safetensors", rounds=arguments.rounds)
            for name in SETTINGS
        ]
        waiting = measure_waiting(folder, steps=40)
    write_results(
        arguments.json,
        threads=torch.get_num_threads(),
        rounds=arguments.rounds,
        rows=rows,
        waiting=waiting,
    )
    print(training_table(json.loads(arguments.json.read_text())))


if __name__ == "__main__":
    main()
