"""Measure the trainer beside a plain loop with the same arithmetic:
`python -m restora_tools.training_speed`.

The plain loop does what the published training code does in one iteration: eager PyTorch in FP32,
generator, U-Net discriminator, L1, perceptual and adversarial losses, moving average. Weights are
random: they change no speed.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from restora_export.reference import RRDBNet, SRVGGNetCompact
from restora_tools.results import write_results
from restora_training import StepReport, make_recipe, train
from restora_training.data.batches import Batch
from restora_training.discriminators import UNetDiscriminatorSN
from restora_training.extractors import VGG19Features
from restora_training.losses import LAYER_WEIGHTS
from restora_training.networks import make_network
from restora_training.recipe import Recipe
from restora_training.run.distributed import Processes
from restora_training.run.objective import Objective
from restora_training.steps.averages import start_average

RESULTS = Path("benchmarks/results/training.json")
WAYS = ("plain loop", "fp32", "bf16")
_BATCH, _SIDE = 4, 32  # degraded patches
_SETTINGS: dict[str, dict[str, Any]] = {
    "srvgg-16x64": {"architecture": "srvgg", "features": 64, "convs": 16},
    "rrdb-2x64": {"architecture": "rrdb", "features": 64, "blocks": 2, "growth": 32},
}


def make_step(way: str, setting: str, vgg19: Path) -> Callable[[], None]:
    """A function that runs one iteration on a fixed batch."""
    torch.manual_seed(1)
    degraded = torch.rand(_BATCH, 3, _SIDE, _SIDE)
    clean = torch.rand(_BATCH, 3, 4 * _SIDE, 4 * _SIDE)
    if way == "plain loop":
        return _plain_step(setting, degraded, clean)
    recipe = _recipe(setting, vgg19, precision=way)
    network = make_network(recipe.network)
    objective = Objective(recipe, network, Processes())
    average = start_average(network, recipe.run.average)
    batch = Batch(degraded, clean, clean, {}, torch.zeros(_BATCH))
    done = 0

    def step() -> None:
        nonlocal done
        objective.run(batch, done)
        average.update_parameters(network)
        done += 1

    return step


def _plain_step(setting: str, degraded: Tensor, clean: Tensor) -> Callable[[], None]:
    values = _SETTINGS[setting]
    generator: torch.nn.Module
    if values["architecture"] == "srvgg":
        generator = SRVGGNetCompact(4, 64, values["convs"])
    else:
        generator = RRDBNet(4, 64, 32, values["blocks"])
    discriminator = UNetDiscriminatorSN()
    vgg = VGG19Features(list(LAYER_WEIGHTS))
    optimizers = [
        torch.optim.Adam(net.parameters(), lr=1e-4, betas=(0.9, 0.99))
        for net in (generator, discriminator)
    ]
    average = {key: value.detach().clone() for key, value in generator.named_parameters()}

    def step() -> None:
        discriminator.requires_grad_(False)
        optimizers[0].zero_grad()
        output = generator(degraded)
        loss = (output - clean).abs().mean()
        got, wanted = vgg(output), vgg(clean.detach())
        for name, weight in LAYER_WEIGHTS.items():
            loss = loss + weight * (got[name] - wanted[name].detach()).abs().mean()
        logits = discriminator(output)
        loss = loss + 0.1 * F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
        loss.backward()
        optimizers[0].step()
        discriminator.requires_grad_(True)
        optimizers[1].zero_grad()
        logits = discriminator(clean)
        F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits)).backward()
        logits = discriminator(output.detach().clone())
        F.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits)).backward()
        optimizers[1].step()
        with torch.no_grad():
            for key, value in generator.named_parameters():
                average[key].mul_(0.999).add_(value, alpha=0.001)

    return step


def measure_speed(setting: str, vgg19: Path, *, rounds: int, steps: int) -> dict[str, Any]:
    """Seconds per step of each way, in turns in one process: medians of the rounds."""
    ways = {way: make_step(way, setting, vgg19) for way in WAYS}
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for step in ways.values():
        step()
    for _ in range(rounds):
        for way, step in ways.items():
            started = time.perf_counter()
            for _ in range(steps):
                step()
            times[way].append((time.perf_counter() - started) / steps)
    seconds = {way: statistics.median(values) for way, values in times.items()}
    return {
        "network": setting,
        "batch": _BATCH,
        "clean_patch": 4 * _SIDE,
        "steps_per_s": {way: round(1 / value, 4) for way, value in seconds.items()},
        "ratio": {
            way: round(seconds["plain loop"] / seconds[way], 3) for way in WAYS if way != WAYS[0]
        },
        "peak_megabytes": {way: _peak_of(way, setting, vgg19) for way in WAYS},
    }


def measure_waiting(folder: Path) -> dict[str, Any]:
    """Share of the time that a run waits for data, with the second-order degradation."""
    recipe = make_recipe(
        {
            "network": {"architecture": "srvgg", "features": 64, "convs": 16},
            "data": {"patch": 4 * _SIDE, "batch": _BATCH, "held_out": 0},
            "run": {"steps": 12, "save": 12, "log": 12, "validate": 12},
        },
        folder=Path(),
    )
    last: list[StepReport] = []
    train(recipe, folder / "waiting", report=lambda report: last.append(report))
    return {"network": "srvgg-16x64", "waiting_share": round(last[-1].waiting_share, 3)}


def _recipe(setting: str, vgg19: Path, *, precision: str) -> Recipe:
    return make_recipe(
        {
            "network": {"scale": 4, **_SETTINGS[setting]},
            "losses": {
                "pixel": 1.0,
                "perceptual": 1.0,
                "adversarial": 0.1,
                "vgg19": str(vgg19),
            },
            "run": {"steps": 1000, "precision": precision},
        },
        folder=Path(),
    )


def _peak_of(way: str, setting: str, vgg19: Path) -> int:
    command = [sys.executable, "-m", "restora_tools.training_speed", "--peak", way, setting]
    run = subprocess.run(  # noqa: S603  # our own command
        [*command, str(vgg19)], check=True, capture_output=True, text=True, timeout=600
    )
    return int(run.stdout.split()[-1])


def _print_peak(way: str, setting: str, vgg19: Path) -> None:
    step = make_step(way, setting, vgg19)
    for _ in range(3):
        step()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--peak", nargs=3, metavar=("WAY", "NETWORK", "VGG19"), default=None)
    arguments = parser.parse_args()
    if arguments.peak is not None:
        way, setting, vgg19 = arguments.peak
        _print_peak(way, setting, Path(vgg19))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vgg = VGG19Features(["conv5_4"])
        weights = {key: value.contiguous() for key, value in vgg.state_dict().items()}
        save_file(weights, folder / "vgg19.safetensors")
        rows = [
            measure_speed(
                setting,
                folder / "vgg19.safetensors",
                rounds=arguments.rounds,
                steps=arguments.steps,
            )
            for setting in _SETTINGS
        ]
        waiting = measure_waiting(folder)
    write_results(arguments.json, rows=rows, waiting=waiting)
    for row in rows:
        print(row)
    print(waiting)


if __name__ == "__main__":
    main()
