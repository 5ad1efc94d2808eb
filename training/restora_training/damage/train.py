"""Train the damage detector or the repairer: `python -m restora_training.damage.train detector`.

Both learn on clean photos with damage drawn on them; the held-out photos are never read. A run is
seeded, can be stopped at any time, and continues from its last state.
"""

from __future__ import annotations

import argparse
import io
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from restora.atomic import write_atomically
from restora_export.reference import DamageDetector, Repairer
from restora_training.damage.batches import iter_batches, make_source, stack_samples
from restora_training.damage.echo import first_batch, iter_echoes
from restora_training.damage.fold import round_weights
from restora_training.damage.losses import LOSSES
from restora_training.damage.plan import PLANS, Part, Plan
from restora_training.damage.start import find_start, load_start
from restora_training.run.device import DeviceName, choose_device
from restora_training.run.log import Log
from restora_training.schedule import cosine_factor

logger = logging.getLogger(__name__)

_STATE, _NETWORK = "state.pt", "network.safetensors"
_LOG_EVERY, _SAVE_EVERY = 50, 500
_START_BATCHES = 60  # that new normalizations are measured with
_RARE_LOGIT = -2.0  # of an untrained detector: most pixels are not damaged


def make_network(part: Part) -> nn.Module:
    """The untrained network. A repairer begins as its smooth filling."""
    if part == "detector":
        detector = DamageDetector()
        assert detector.mask_head.bias is not None
        nn.init.constant_(detector.mask_head.bias, _RARE_LOGIT)
        return detector
    network = Repairer()
    nn.init.zeros_(network.fill_head.weight)
    assert network.fill_head.bias is not None
    nn.init.zeros_(network.fill_head.bias)
    return network


def train(
    plan: Plan,
    folder: Path,
    photos: Sequence[Path] = (),
    *,
    start: Path | None = None,
    device: DeviceName = "auto",
    workers: int = 0,
) -> None:
    """Train until plan.steps and write the averaged weights, rounded to FP16, as safetensors.

    photos: folders of clean photos; without any, the free photos for training
    start: state.pt of an earlier run, whose averaged weights this one starts with, or an artifact
    workers: processes that make batches ahead; the batches are the same

    Raises OptionError for device "cuda" without a GPU.
    """
    place = choose_device(device)
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(plan.seed)
    network = make_network(plan.part).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if start is not None and not (folder / _STATE).exists():
        load_start(network, start, _iter_inputs(plan, photos))
    network.to(place)
    average = {key: value.detach().clone() for key, value in network.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.99), weight_decay=1e-4)
    step = _load(folder / _STATE, network, optimizer, average)
    first = first_batch(step, plan.echo)
    batches = iter_echoes(
        iter_batches(plan, photos, first, workers=workers),
        place,
        times=plan.echo,
        first=step,
        seed=plan.seed,
    )
    log = Log(folder, ["loss"], done=step)
    network.train()
    running, started, waited = 0.0, time.monotonic(), 0.0
    while step < plan.steps:
        before = time.monotonic()
        batch = next(batches)
        waited += time.monotonic() - before
        rate = plan.rate * cosine_factor(step, plan.steps, warmup=plan.warmup, last=0.01)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = LOSSES[plan.part](network, batch.to(place), calm=plan.is_calm(step))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step += 1
        _follow(average, network, decay=min(plan.ema, (1 + step) / (10 + step)))
        running = loss.item() if not running else 0.98 * running + 0.02 * loss.item()
        if step % _LOG_EVERY == 0:
            seconds = time.monotonic() - started
            log.add({
                "step": step, "seconds": seconds, "rate": rate,
                "waiting_share": waited / seconds, "loss": running,
            })  # fmt: skip
            logger.info("step %d: loss %.4f, %.0f s", step, running, seconds)
        if step % _SAVE_EVERY == 0 or step == plan.steps:
            _save(folder, network, optimizer, average, step=step, seed=plan.seed)


def _iter_inputs(plan: Plan, photos: Sequence[Path]) -> Iterator[tuple[Tensor, ...]]:
    source = make_source(plan, photos)
    for number in range(_START_BATCHES):
        samples = source.make_batch(number, plan.batch, for_repair=False, clean=0.5, lines=True)
        batch = stack_samples(samples).to(torch.device("cpu"))
        yield batch.picture, batch.thin


def _follow(average: dict[str, Tensor], network: nn.Module, *, decay: float) -> None:
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if value.dtype.is_floating_point:
                average[key].lerp_(value, 1 - decay)
            else:
                average[key].copy_(value)


def _load(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, average: dict[str, Tensor]
) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True, map_location="cpu")
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    for key, value in state["average"].items():
        average[key].copy_(value)
    logger.info("continuing from step %d", state["step"])
    return int(state["step"])


def _save(
    folder: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: dict[str, Tensor],
    *,
    step: int,
    seed: int,
) -> None:
    stream = io.BytesIO()
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save({**state, "average": average, "step": step}, stream)
    write_atomically(folder / _STATE, stream.getvalue())
    metadata = {"steps": str(step), "seed": str(seed)}
    write_atomically(folder / _NETWORK, save_safetensors(round_weights(average), metadata=metadata))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=sorted(PLANS))
    steps = ", ".join(f"{plan.steps} for the {part}" for part, plan in PLANS.items())
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the run")
    parser.add_argument(
        "--photos", type=Path, nargs="+", default=[], help="folders of clean photos; default: free"
    )
    parser.add_argument(
        "--start",
        type=Path,
        help="state.pt of an earlier run, or an artifact; bundled: the bundled network",
    )
    parser.add_argument("--steps", type=int, help=f"default: {steps}")
    parser.add_argument(
        "--rate",
        type=float,
        help="learning rate; to train the bundled detector further: 5e-4, a quarter of the default",
    )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches ahead")
    parser.add_argument("--echo", type=int, default=1, help="how often each sample is used, turned")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.echo < 1:
        parser.error(f"--echo must be at least 1, got {arguments.echo}")
    if arguments.rate is not None and not 0 < arguments.rate < 1:
        parser.error(f"--rate must be between 0 and 1, got {arguments.rate:g}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    plan = PLANS[arguments.part]
    plan = replace(
        plan,
        steps=arguments.steps or plan.steps,
        rate=arguments.rate or plan.rate,
        echo=arguments.echo,
    )
    start = arguments.start and find_start(plan.part, arguments.start)
    train(
        plan,
        arguments.output,
        arguments.photos,
        start=start,
        device=arguments.device,
        workers=arguments.workers,
    )


if __name__ == "__main__":
    main()
