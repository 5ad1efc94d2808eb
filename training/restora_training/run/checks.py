"""What a recipe must hold for the network that it trains."""

from __future__ import annotations

import math

from torch import nn

from restora.errors import OptionError
from restora_export.reference import RRDBNet
from restora_training.discriminators.stylegan2 import GROUP
from restora_training.discriminators.unet import SIZE_MULTIPLE
from restora_training.networks import is_face_network, scale_of
from restora_training.recipe import Recipe
from restora_training.recipe_parts import LossPart

# losses and their settings
_FACES_ONLY = (
    "style", "pyramid", "pyramid_steps", "component", "component_style", "components", "identity",
    "arcface", "r1", "r1_interval",
)  # fmt: skip
_UPSCALERS_ONLY = ("squared", "ssim", "truth", "gan", "discriminator_width")


def check_recipe(recipe: Recipe, network: nn.Module, *, processes: int = 1) -> None:
    """Raise OptionError for data, a degradation or losses that do not suit the network, or that
    would be ignored.

    processes: that share a batch
    """
    if recipe.data.batch % processes:
        raise OptionError(
            f"data.batch must be a multiple of the {processes} processes, got {recipe.data.batch}"
        )
    if is_face_network(network):
        _check_faces(recipe, recipe.data.batch // processes)
    else:
        _check_upscaler(recipe, network)


def _check_faces(recipe: Recipe, batch: int) -> None:
    data, degradation = recipe.data, recipe.degradation
    if data.pairs is not None:
        raise OptionError("data.pairs is for upscalers: give a folder of faces as data.photos")
    if data.photos is None:
        raise OptionError("a face network needs data.photos, a folder of aligned faces")
    if degradation.kind not in ("faces", "paper"):
        raise OptionError(
            f'degradation.kind must be "faces" or "paper" for a face network, got '
            f'"{degradation.kind}"'
        )
    ranges = (degradation.sigma, degradation.noise, degradation.quality)
    if degradation.clean_share or degradation.mild_share or any(ranges):
        raise OptionError(
            "degradation.clean_share, mild_share, sigma, noise and quality are for upscalers"
        )
    if "patch" in data.model_fields_set:
        raise OptionError("data.patch is for upscalers: faces are used whole")
    if data.rotate or data.jitter or data.shrink != (1.0,):
        raise OptionError("data.rotate, jitter and shrink are for upscalers")
    _refuse_losses(recipe.losses, _UPSCALERS_ONLY, "upscalers")
    if batch > GROUP and batch % GROUP:
        raise OptionError(
            f"data.batch must be at most {GROUP} or a multiple of {GROUP} for a face network, in "
            f"each process, got {batch}"
        )


def _check_upscaler(recipe: Recipe, network: nn.Module) -> None:
    losses, degradation = recipe.losses, recipe.degradation
    multiple = scale_of(network)
    if isinstance(network, RRDBNet):
        multiple *= network.size_multiple
    if losses.adversarial:
        multiple = math.lcm(multiple, SIZE_MULTIPLE)
    if recipe.data.patch % multiple:
        raise OptionError(f"data.patch must be a multiple of {multiple}, got {recipe.data.patch}")
    if recipe.data.faces != "template":
        raise OptionError("data.faces is for face networks")
    if degradation.kind == "faces" and recipe.data.pairs is None:
        raise OptionError('degradation.kind = "faces" is for face networks')
    _refuse_losses(losses, _FACES_ONLY, "face networks")
    wanted = (
        losses.pixel,
        losses.squared,
        losses.truth,
        losses.ssim,
        losses.perceptual,
        losses.adversarial,
    )
    if not any(wanted):
        raise OptionError("losses: at least one must be above 0")
    shrinks = degradation.clean_share or degradation.kind == "shrink"
    if losses.ssim and (recipe.data.pairs is not None or not shrinks):
        raise OptionError(
            "losses.ssim is for patches that are only downsampled: it needs data.photos and "
            'degradation.clean_share above 0, or kind = "shrink"'
        )


def _refuse_losses(losses: LossPart, names: tuple[str, ...], whose: str) -> None:
    for name in names:
        if name in losses.model_fields_set and getattr(losses, name):
            raise OptionError(f"losses.{name} is for {whose}")
