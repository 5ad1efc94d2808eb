"""One iteration of Real-ESRGAN's training; without a discriminator, of Real-ESRNet's.

Wang et al., arXiv:2107.10833, section 4.1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from restora_training.losses import (
    GanKind,
    PerceptualLoss,
    fake_loss,
    generator_loss,
    l1_loss,
    real_loss,
)
from restora_training.losses.ssim import measure_ssim


@dataclass(frozen=True, slots=True)
class UpscalerWeights:
    """Weights of the losses, and which targets are sharpened.

    The defaults are those of RealESRGAN_x4plus.

    squared: of the mean squared error, to the same target as `pixel`
    truth: of L1 to the clean images, where the target of `pixel` is a teacher's answer
    ssim: of 1 - SSIM, on patches that are downsampled and not degraded otherwise: L1 alone smooths
        the grain of clean photos away
    """

    pixel: float = 1.0
    squared: float = 0.0
    truth: float = 0.0
    ssim: float = 0.0
    perceptual: float = 1.0
    adversarial: float = 0.1
    gan: GanKind = "vanilla"
    sharpen_pixel: bool = True
    sharpen_perceptual: bool = True
    sharpen_adversarial: bool = False


class UpscalerStep:
    """Update a generator, and a discriminator if there is one.

    generator: takes (batch, 3, height, width), RGB, 0..1
    discriminator: returns logits; None trains without an adversarial loss
    perceptual: None trains without it
    """

    def __init__(
        self,
        generator: nn.Module,
        optimizer: Optimizer,
        *,
        weights: UpscalerWeights,
        discriminator: nn.Module | None = None,
        discriminator_optimizer: Optimizer | None = None,
        perceptual: PerceptualLoss | None = None,
    ) -> None:
        assert (discriminator is None) == (discriminator_optimizer is None)
        self.generator, self.optimizer = generator, optimizer
        self.discriminator = discriminator
        self.discriminator_optimizer = discriminator_optimizer
        self.perceptual = perceptual
        self.weights = weights

    def run(
        self,
        degraded: Tensor,
        clean: Tensor,
        sharp: Tensor | None = None,
        *,
        shrunk: Tensor | None = None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Run one iteration. Returns the weighted losses by name, and the generator's output.

        degraded: (batch, 3, height, width), 0..1
        clean: (batch, 3, scale * height, scale * width), 0..1
        sharp: the sharpened target, where the weights ask for it; None uses the clean one
        shrunk: (batch,), 1 for samples that are downsampled and not degraded otherwise, else 0
        """
        sharp = clean if sharp is None else sharp
        losses, output = self._update_generator(degraded, clean, sharp, shrunk)
        if self.discriminator is not None:
            target = sharp if self.weights.sharpen_adversarial else clean
            losses |= self._update_discriminator(output.detach(), target)
        return losses, output.detach()

    def _update_generator(
        self, degraded: Tensor, clean: Tensor, sharp: Tensor, shrunk: Tensor | None
    ) -> tuple[dict[str, Tensor], Tensor]:
        weights = self.weights
        self.optimizer.zero_grad(set_to_none=True)
        output = self.generator(degraded)
        losses: dict[str, Tensor] = {}
        target = sharp if weights.sharpen_pixel else clean
        if weights.pixel:
            losses["pixel"] = weights.pixel * l1_loss(output, target)
        if weights.squared:
            losses["squared"] = weights.squared * F.mse_loss(output, target)
        if weights.truth:
            losses["truth"] = weights.truth * l1_loss(output, clean)
        if weights.ssim and shrunk is not None:
            unlike = (1 - measure_ssim(output, clean)) * shrunk
            losses["ssim"] = weights.ssim * unlike.mean()
        if self.perceptual is not None:
            target = sharp if weights.sharpen_perceptual else clean
            losses["perceptual"] = weights.perceptual * self.perceptual(output, target)
        if self.discriminator is not None:
            self.discriminator.requires_grad_(False)
            logits = self.discriminator(output)
            losses["adversarial"] = weights.adversarial * generator_loss(logits, weights.gan)
        torch.stack(list(losses.values())).sum().backward()
        self.optimizer.step()
        return {name: loss.detach() for name, loss in losses.items()}, output

    def _update_discriminator(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        assert self.discriminator is not None
        assert self.discriminator_optimizer is not None
        self.discriminator.requires_grad_(True)
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        real = real_loss(self.discriminator(target), self.weights.gan)
        real.backward()
        fake = fake_loss(self.discriminator(output), self.weights.gan)
        fake.backward()
        self.discriminator_optimizer.step()
        return {"discriminator_real": real.detach(), "discriminator_fake": fake.detach()}
