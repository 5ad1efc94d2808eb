"""The sample makers of a recipe: what is trained on, and what progress is measured with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from restora_training.data.faces import FaceMaker, read_places
from restora_training.data.pairs import PairMaker, open_pairs
from restora_training.data.photos import PhotoSet, open_photos
from restora_training.data.samples import PatchMaker, Sample, SampleMaker, source_side
from restora_training.networks import is_face_network, scale_of
from restora_training.recipe import Recipe

_STEP, _COUNT = 1 << 40, 8  # of held-out samples, which are none of a training step's


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples of a run.

    maker: of the steps
    held_out: of photos that are never trained on, to measure progress with
    photos: names of the photos in a folder that are trained on
    """

    maker: SampleMaker
    held_out: list[Sample]
    photos: list[str]


def open_samples(recipe: Recipe, network: nn.Module) -> Samples:
    """Open the photos of a recipe. Raises OptionError if they do not suit."""
    data, names = recipe.data, []
    maker: SampleMaker
    held_out: SampleMaker | None = None
    if data.pairs is not None:
        pairs, others = open_pairs(
            data.pairs,
            scale=scale_of(network),
            held_out=data.held_out,
            with_clean=bool(recipe.losses.truth or recipe.losses.adversarial),
        )
        maker = PairMaker(pairs, recipe)
        if len(others):
            held_out = PairMaker(others, recipe)
    else:
        photos, kept_back = open_photos(
            data.photos,
            held_out=data.held_out,
            smallest=_smallest(recipe, network),
            max_broken=data.max_broken,
            square=is_face_network(network),
            seed=recipe.run.seed,
        )
        maker = _maker_of(recipe, network, photos)
        if len(kept_back):
            held_out = _maker_of(_without_flips(recipe), network, kept_back)
        if data.photos is not None:
            names = photos.names
    samples = [] if held_out is None else [held_out.make(_STEP, index) for index in range(_COUNT)]
    return Samples(maker, samples, names)


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
