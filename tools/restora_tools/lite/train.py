"""Train restora-lite-x2, the bundled default model: `python -m restora_tools.lite.train`.

A small RRDBNet learns to undo the mild blind degradation on free photos. The run is seeded; about
40 minutes on two CPU cores with AVX-512 bfloat16. It can be stopped at any time and continues
from its last state.
"""

import argparse
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from restora_export.reference import RRDBNet
from restora_tools.lite.patches import iter_batches
from restora_training.losses.ssim import measure_ssim
from restora_training.networks import start_bilinear
from restora_training.schedule import cosine_factor

logger = logging.getLogger(__name__)

# One upsample and no pixel-unshuffle: features as fine as the input keep clean detail, which the
# published x2 layout loses at this width.
LITE_X2 = {"scale": 2, "features": 32, "growth": 16, "blocks": 1, "upsamples": 1}


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how to train. Lengths in steps; the patch in degraded pixels.

    L1 alone smooths the grain of clean photos away, so patches that were only shrunk also pay a
    weight * (1 - SSIM). One entry for each third of the steps: `ssim_weights`, and `clean_shares`,
    how many patches are only shrunk.

    Convolutions run in bfloat16 until the last `float32_tail` of the steps: twice as fast, but it
    rounds the network's output to about one step of 8 bits.
    """

    steps: int = 12000
    float32_tail: float = 0.25
    ssim_weights: tuple[float, float, float] = (0, 0.2, 0.08)
    clean_shares: tuple[float, float, float] = (0.4, 0.4, 0.25)
    batch: int = 8
    patch: int = 48
    peak_rate: float = 1e-3
    warmup: int = 200
    ema_decay: float = 0.999
    seed: int = 20261123

    def third_of(self, step: int) -> int:
        return min(2, 3 * step // self.steps)


def train(plan: Plan, output: Path, state_file: Path) -> None:
    """Train until plan.steps and write the averaged weights to `output` as safetensors."""
    torch.manual_seed(plan.seed)
    network = RRDBNet(**LITE_X2)
    start_bilinear(network)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = {key: value.detach().clone() for key, value in network.state_dict().items()}
    optimizer = torch.optim.Adam(network.parameters(), betas=(0.9, 0.99))
    step = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        averaged, step = state["averaged"], state["step"]
        logger.info("going on from step %d", step)
    started, first, running = time.monotonic(), step, 0.0
    batches = iter_batches(
        step,
        size=plan.batch,
        patch=plan.patch,
        seed=plan.seed,
        clean_share=lambda number: plan.clean_shares[plan.third_of(number)],
    )
    for batch in batches:
        if step >= plan.steps:
            break
        for group in optimizer.param_groups:
            group["lr"] = plan.peak_rate * cosine_factor(step, plan.steps, warmup=plan.warmup)
        in_bfloat16 = step < plan.steps * (1 - plan.float32_tail)
        with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16):
            output_pixels = network(batch.degraded.contiguous(memory_format=torch.channels_last))
        output_pixels = output_pixels.float()
        l1 = (output_pixels - batch.clean).abs().mean()
        loss = l1
        ssim_weight = plan.ssim_weights[plan.third_of(step)]
        if ssim_weight:
            unlike = 1 - measure_ssim(output_pixels, batch.clean)
            loss = l1 + ssim_weight * (unlike * batch.shrunk).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        optimizer.step()
        decay = min(plan.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for key, value in network.state_dict().items():
                averaged[key].lerp_(value, 1 - decay)
        step += 1
        running = l1.item() if step == first + 1 else 0.98 * running + 0.02 * l1.item()
        if step % 100 == 0:
            pace = (time.monotonic() - started) / (step - first)
            logger.info("step %d: L1 %.5f, %.3f s a step", step, running, pace)
        if step % 500 == 0 or step == plan.steps:
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**state, "averaged": averaged, "step": step}, state_file)
            weights = {key: value.contiguous() for key, value in averaged.items()}
            save_file(weights, output, metadata={"steps": str(step), "seed": str(plan.seed)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("restora-lite-x2.safetensors"))
    parser.add_argument("--state", type=Path, default=Path("restora-lite-x2.state.pt"))
    parser.add_argument("--steps", type=int, default=Plan().steps)
    parser.add_argument("--threads", type=int, default=None)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    train(Plan(steps=arguments.steps), arguments.output, arguments.state)


if __name__ == "__main__":
    main()
