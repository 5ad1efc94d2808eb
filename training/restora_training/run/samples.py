"""The sample makers of a recipe: what is trained on, and what progress is measured with."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from restora_training.data.faces import FaceMaker, read_places
from restora_training.data.pairs import PairMaker, open_pairs
from restora_training.data.photos import PhotoSet, open_photos
from restora_training.data.samples import PatchMaker, Sample, SampleMaker, source_side
from restora_training.networks import is_face_network, scale_of
from restora_training.recipe import Recipe

_VALIDATION_STEP = 1 << 40  # its samples are none of a training step's
_VALIDATED = 8


def open_samples(recipe: Recipe, network: nn.Module) -> tuple[SampleMaker, list[Sample]]:
    """Open the photos of a recipe. Returns the maker of training samples, and held-out samples.

    Raises OptionError if the photos or the patch do not suit.
    """
    if recipe.data.pairs is not None:
        pairs, others = open_pairs(
            recipe.data.pairs,
            scale=scale_of(network),
            held_out=recipe.data.held_out,
            with_clean=any((recipe.losses.truth, recipe.losses.adversarial, recipe.losses.ssim)),
        )
        maker: SampleMaker = PairMaker(pairs, recipe)
        held_out: SampleMaker | None = PairMaker(others, recipe) if len(others) else None
    else:
        photos, kept_back = open_photos(
            recipe.data.photos,
            held_out=recipe.data.held_out,
            smallest=_smallest(recipe, network),
            max_broken=recipe.data.max_broken,
            square=is_face_network(network),
            seed=recipe.run.seed,
        )
        maker = _maker_of(recipe, network, photos)
        held_out = _maker_of(_without_flips(recipe), network, kept_back) if kept_back else None
    samples = (
        []
        if held_out is None
        else [held_out.make(_VALIDATION_STEP, index) for index in range(_VALIDATED)]
    )
    return maker, samples


def _smallest(recipe: Recipe, network: nn.Module) -> int:
    if is_face_network(network):
        return int(network.side)  # type: ignore[arg-type]
    return source_side(recipe.data.patch, scale_of(network))


def _maker_of(recipe: Recipe, network: nn.Module, photos: PhotoSet) -> SampleMaker:
    data, losses = recipe.data, recipe.losses
    if is_face_network(network):
        places = read_places(data.faces) if isinstance(data.faces, Path) else None
        return FaceMaker(
            photos,
            recipe.degradation,
            side=int(network.side),  # type: ignore[arg-type]
            seed=recipe.run.seed,
            flip=data.flip,
            components=losses.components if losses.component else (),
            places=places,
        )
    return PatchMaker(
        photos,
        recipe.degradation,
        scale=scale_of(network),
        patch=data.patch,
        seed=recipe.run.seed,
        flip=data.flip,
        rotate=data.rotate,
        jitter=data.jitter,
        shrink=data.shrink,
    )


def _without_flips(recipe: Recipe) -> Recipe:
    data = recipe.data.model_copy(
        update={"flip": False, "rotate": False, "jitter": False, "shrink": (1.0,)}
    )
    return recipe.model_copy(update={"data": data})
