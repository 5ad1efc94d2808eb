"""Networks, losses and optimizers, put together as a recipe says."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from restora_training.data.batches import Batch
from restora_training.discriminators import (
    FacialComponentDiscriminator,
    StyleGAN2Discriminator,
    UNetDiscriminatorSN,
)
from restora_training.extractors import ResNetArcFace
from restora_training.losses import PerceptualLoss
from restora_training.networks import is_face_network
from restora_training.recipe import Recipe
from restora_training.recipe_parts import OptimizerPart
from restora_training.run.distributed import Processes, average_gradients
from restora_training.run.fixed_weights import load_torchvision_vgg19, load_weights
from restora_training.run.precision import InBfloat16
from restora_training.run.prelu import quicken_prelu
from restora_training.schedule import cosine_factor, multistep_factor
from restora_training.steps import FaceStep, FaceWeights, UpscalerStep, UpscalerWeights
from restora_training.steps.face import FaceGenerator


class Objective:
    """What a run trains.

    network: on the device that the run uses
    networks: by name; "generator" is the one that is exported
    optimizers, schedulers: by the name of their network
    """

    def __init__(self, recipe: Recipe, network: nn.Module, processes: Processes) -> None:
        self.recipe, self.processes = recipe, processes
        self.networks: dict[str, nn.Module] = {}
        self.optimizers: dict[str, Optimizer] = {}
        self.schedulers: dict[str, LambdaLR] = {}
        self.is_face = is_face_network(network)
        self.device = next(network.parameters()).device
        self._autocasts: list[InBfloat16] = []
        if not self.is_face:
            # what convolutions compute in, so that nothing is copied between them; the grouped
            # convolutions of face networks gain nothing
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            if self.device.type == "cpu" and recipe.run.precision == "bf16":
                quicken_prelu(network)
        part = recipe.optimizer
        self._add("generator", network, part.rate, part.betas)
        self._step = self._make_face_step() if self.is_face else self._make_upscaler_step()

    def run(self, batch: Batch, step: int) -> tuple[dict[str, Tensor], Tensor]:
        """Run one step, counted from 0, and move the learning rates on.

        Returns the weighted losses by name, and the generator's output.
        """
        run = self.recipe.run
        for autocast in self._autocasts:
            autocast.enabled = step < (1 - run.float32_tail) * run.steps
        if isinstance(self._step, FaceStep):
            result = self._step.run(batch.degraded, batch.clean, batch.boxes, iteration=step + 1)
        else:
            degraded, clean, sharp = (
                x.contiguous(memory_format=torch.channels_last)
                for x in (batch.degraded, batch.clean, batch.sharp)
            )
            result = self._step.run(degraded, clean, sharp, shrunk=batch.shrunk)
        for scheduler in self.schedulers.values():
            scheduler.step()
        return result

    def _add(
        self, name: str, network: nn.Module, rate: float, betas: tuple[float, float]
    ) -> Optimizer:
        parameters = [p for p in network.parameters() if p.requires_grad]
        optimizer = Adam(parameters, lr=rate, betas=betas, fused=True)
        average_gradients(optimizer, self.processes)
        if name == "generator" and self.recipe.optimizer.clip:
            clip_gradients(optimizer, self.recipe.optimizer.clip)
        self.networks[name] = network
        self.optimizers[name] = optimizer
        factor = make_factor(self.recipe.optimizer, self.recipe.run.steps)
        self.schedulers[name] = LambdaLR(optimizer, factor)
        return optimizer

    def _add_discriminator(self, name: str, network: nn.Module) -> Optimizer:
        part = self.recipe.optimizer
        return self._add(name, network, part.discriminator_rate, part.discriminator_betas)

    def _make_upscaler_step(self) -> UpscalerStep:
        losses = self.recipe.losses
        discriminator, optimizer = None, None
        if losses.adversarial:
            discriminator = UNetDiscriminatorSN(width=losses.discriminator_width)
            discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            discriminator.to(self.device)
            optimizer = self._add_discriminator("discriminator", discriminator)
        return UpscalerStep(
            self._in_precision(self.networks["generator"]),
            self.optimizers["generator"],
            weights=UpscalerWeights(
                pixel=losses.pixel,
                squared=losses.squared,
                truth=losses.truth,
                ssim=losses.ssim,
                perceptual=losses.perceptual,
                adversarial=losses.adversarial,
                gan=losses.gan,
            ),
            discriminator=discriminator and self._in_precision(discriminator),
            discriminator_optimizer=optimizer,
            perceptual=self._make_perceptual(range_norm=False),
        )

    def _make_face_step(self) -> FaceStep:
        losses = self.recipe.losses
        side = int(self.networks["generator"].side)  # type: ignore[arg-type]
        discriminator, optimizer = None, None
        if losses.adversarial:
            discriminator = StyleGAN2Discriminator(side, 1).to(self.device)
            optimizer = self._add_discriminator("discriminator", discriminator)
        components = {}
        for name in losses.components if losses.component else ():
            network = FacialComponentDiscriminator().to(self.device)
            components[name] = (network, self._add_discriminator(name, network))
        identity = None
        if losses.identity:
            assert losses.arcface is not None
            identity = ResNetArcFace().eval().requires_grad_(False)
            load_weights(identity, losses.arcface)
            identity.to(self.device)
        return FaceStep(
            self._in_precision(FaceGenerator(self.networks["generator"])),
            self.optimizers["generator"],
            discriminator=discriminator,
            discriminator_optimizer=optimizer,
            weights=FaceWeights(
                pixel=losses.pixel,
                perceptual=losses.perceptual,
                style=losses.style,
                adversarial=losses.adversarial,
                pyramid=losses.pyramid,
                pyramid_steps=losses.pyramid_steps,
                component=losses.component,
                component_style=losses.component_style,
                identity=losses.identity,
                r1=losses.r1,
                r1_interval=losses.r1_interval,
            ),
            perceptual=self._make_perceptual(range_norm=True),
            components=components,
            identity=identity,
            side=side,
        )

    def _make_perceptual(self, *, range_norm: bool) -> PerceptualLoss | None:
        losses = self.recipe.losses
        if not (losses.perceptual or losses.style):
            return None
        loss = PerceptualLoss(range_norm=range_norm)
        if losses.vgg19 == "torchvision":
            load_torchvision_vgg19(loss.extractor)
        else:
            assert losses.vgg19 is not None
            load_weights(loss.extractor, losses.vgg19, allow_more=True)
        loss.extractor.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        loss.extractor = self._in_precision(loss.extractor.to(self.device))
        return loss

    def _in_precision(self, network: nn.Module) -> nn.Module:
        if self.recipe.run.precision == "fp32":
            return network
        self._autocasts.append(InBfloat16(network))
        return self._autocasts[-1]


def make_factor(part: OptimizerPart, steps: int) -> Callable[[int], float]:
    """The factor on a learning rate by the number of steps done."""

    def factor(done: int) -> float:
        if part.schedule == "cosine":
            return cosine_factor(done, steps, warmup=part.warmup, last=part.last)
        rise = min(1.0, (done + 1) / part.warmup) if part.warmup else 1.0
        return rise * multistep_factor(done + 1, part.milestones, gamma=part.gamma)

    return factor


def clip_gradients(optimizer: Optimizer, largest: float) -> None:
    """Let an optimizer scale its gradient down to this norm before each step."""

    def clip(used: Optimizer, *_: object) -> None:
        parameters = [p for group in used.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, largest)

    optimizer.register_step_pre_hook(clip)
