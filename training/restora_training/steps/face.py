"""One iteration of GFP-GAN's training.

Wang et al., arXiv:2101.04061, section 3.4; the paper on the joint framework, equations 6 to 10.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from restora_training.components import COMPONENTS
from restora_training.discriminators import FacialComponentDiscriminator
from restora_training.losses import (
    PerceptualLoss,
    component_style_loss,
    fake_loss,
    generator_loss,
    identity_loss,
    l1_loss,
    make_pyramid,
    pyramid_loss,
    r1_penalty,
    real_loss,
)
from restora_training.roi_align import roi_align

_CROPS_FOR = 512  # the side of the face that the components' crops are meant for


@dataclass(frozen=True, slots=True)
class FaceWeights:
    """Weights of the losses. The defaults are those of GFPGANv1.

    pyramid: of the U-Net's RGB outputs, until step pyramid_steps
    r1: of the gradient penalty, which is computed every r1_interval steps
    component: adversarial, of each component; component_style: of its Gram matrices
    """

    pixel: float = 0.1
    perceptual: float = 1.0
    style: float = 50.0
    adversarial: float = 0.1
    pyramid: float = 1.0
    pyramid_steps: int = 50000
    component: float = 1.0
    component_style: float = 200.0
    identity: float = 10.0
    r1: float = 10.0
    r1_interval: int = 16


class FaceGenerator(nn.Module):
    """A GFP-GAN that also returns the U-Net's RGB outputs, for training.

    fresh_noise: draw new noise for every sample, and otherwise use the stored maps
    """

    def __init__(self, network: nn.Module, *, fresh_noise: bool = True) -> None:
        super().__init__()
        self.network = network
        self.fresh_noise = fresh_noise

    def forward(self, faces: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The restored faces, and the RGB outputs from 8 x 8 to the full side."""
        network = self.network
        styles, conditions, features = network.remove_degradation(faces)  # type: ignore[operator]
        decoder: nn.Module = network.stylegan_decoder  # type: ignore[assignment]
        arguments = (styles, conditions, 1.0)
        if self.fresh_noise:
            drawn = {
                name: torch.randn(
                    len(faces), *noise.shape[1:], dtype=noise.dtype, device=noise.device
                )
                for name, noise in decoder.named_buffers()
                if name.startswith("noises.")
            }
            restored = torch.func.functional_call(decoder, drawn, arguments)
        else:
            restored = decoder(*arguments)
        return restored, network.intermediate_pictures(features)  # type: ignore[operator]


class FaceStep:
    """Update a generator and its discriminators.

    generator: a FaceGenerator
    discriminator: of whole faces; None trains without
    components: a discriminator and its optimizer by the name of a component; empty trains without
    identity: a ResNetArcFace in eval mode; None trains without
    """

    def __init__(
        self,
        generator: nn.Module,
        optimizer: Optimizer,
        *,
        weights: FaceWeights,
        discriminator: nn.Module | None = None,
        discriminator_optimizer: Optimizer | None = None,
        perceptual: PerceptualLoss | None = None,
        components: Mapping[str, tuple[FacialComponentDiscriminator, Optimizer]] | None = None,
        identity: nn.Module | None = None,
        side: int = _CROPS_FOR,
    ) -> None:
        assert (discriminator is None) == (discriminator_optimizer is None)
        self.generator, self.optimizer = generator, optimizer
        self.discriminator = discriminator
        self.discriminator_optimizer = discriminator_optimizer
        self.weights = weights
        self.perceptual = perceptual
        self.components = dict(components or {})
        self.identity = identity
        self.crop_ratio = side / _CROPS_FOR

    def run(
        self,
        degraded: Tensor,
        clean: Tensor,
        boxes: Mapping[str, Tensor],
        *,
        iteration: int,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Run one iteration. Returns the weighted losses by name, and the generator's output.

        degraded, clean: (batch, 3, side, side), RGB, -1..1
        boxes: (batch, 4) for each component, in pixels of the face
        iteration: counts from 1
        """
        real_crops = {name: self._crop(clean, name, boxes[name]) for name in self.components}
        losses, output = self._update_generator(degraded, clean, boxes, real_crops, iteration)
        output = output.detach()
        if self.discriminator is not None:
            losses |= self._update_discriminator(output, clean, iteration)
        for name in self.components:
            fake_crop = self._crop(output, name, boxes[name])
            losses[f"discriminator_{name}"] = self._update_component(
                name, fake_crop, real_crops[name]
            )
        return losses, output

    def _update_generator(
        self,
        degraded: Tensor,
        clean: Tensor,
        boxes: Mapping[str, Tensor],
        real_crops: Mapping[str, Tensor],
        iteration: int,
    ) -> tuple[dict[str, Tensor], Tensor]:
        weights = self.weights
        self.optimizer.zero_grad(set_to_none=True)
        output, pictures = self.generator(degraded)
        losses = {"pixel": weights.pixel * l1_loss(output, clean)}
        if weights.pyramid and iteration <= weights.pyramid_steps:
            losses["pyramid"] = weights.pyramid * pyramid_loss(pictures, make_pyramid(clean))
        if self.perceptual is not None:
            perceptual, style = self.perceptual.compare(output, clean, style=weights.style > 0)
            losses["perceptual"] = weights.perceptual * perceptual
            if style is not None:
                losses["style"] = weights.style * style
        if self.discriminator is not None:
            self.discriminator.requires_grad_(False)
            logits = self.discriminator(output)
            losses["adversarial"] = weights.adversarial * generator_loss(logits, "logistic")
        styles = []
        for name, (network, _) in self.components.items():
            network.requires_grad_(False)
            logits, features = network.judge(self._crop(output, name, boxes[name]))
            losses[f"adversarial_{name}"] = weights.component * generator_loss(logits)
            if weights.component_style:
                with torch.no_grad():
                    wanted = network.judge(real_crops[name])[1]
                styles.append(component_style_loss(features, wanted))
        if styles:
            losses["component_style"] = weights.component_style * torch.stack(styles).sum()
        if self.identity is not None:
            losses["identity"] = weights.identity * identity_loss(self.identity, output, clean)
        torch.stack(list(losses.values())).sum().backward()
        self.optimizer.step()
        return {name: loss.detach() for name, loss in losses.items()}, output

    def _update_discriminator(
        self, output: Tensor, clean: Tensor, iteration: int
    ) -> dict[str, Tensor]:
        assert self.discriminator is not None
        assert self.discriminator_optimizer is not None
        weights = self.weights
        self.discriminator.requires_grad_(True)
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        fake = fake_loss(self.discriminator(output), "logistic")
        real = real_loss(self.discriminator(clean), "logistic")
        (real + fake).backward()
        losses = {"discriminator": (real + fake).detach()}
        if weights.r1 and iteration % weights.r1_interval == 0:
            images = clean.detach().requires_grad_()
            logits = self.discriminator(images)
            penalty = weights.r1 / 2 * r1_penalty(images, logits) * weights.r1_interval
            # the bias of the last layer has no part in the gradient, but must have a gradient
            (penalty + 0 * logits.sum()).backward()
            losses["discriminator_r1"] = penalty.detach()
        self.discriminator_optimizer.step()
        return losses

    def _update_component(self, name: str, fake_crop: Tensor, real_crop: Tensor) -> Tensor:
        network, optimizer = self.components[name]
        network.requires_grad_(True)
        optimizer.zero_grad(set_to_none=True)
        loss = fake_loss(network(fake_crop)) + real_loss(network(real_crop))
        loss.backward()
        optimizer.step()
        return loss.detach()

    def _crop(self, faces: Tensor, name: str, boxes: Tensor) -> Tensor:
        side = int(COMPONENTS[name].crop * self.crop_ratio)
        return roi_align(faces, boxes, side)
