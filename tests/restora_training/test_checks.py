"""What a recipe must hold for the network that it trains."""

from pathlib import Path
from typing import Any

import pytest

from restora.errors import OptionError
from restora_training import make_recipe
from restora_training.networks import make_network
from restora_training.run.checks import check_recipe
from training_runs import FACE_SIZES

UPSCALER = {
    "network": {"architecture": "srvgg", "scale": 2, "features": 4, "convs": 1},
    "data": {"patch": 32},
    "run": {"steps": 1},
}
DENSE = {"architecture": "rrdb", "scale": 2, "features": 4, "growth": 4, "blocks": 1}
FACE = {
    "network": {"architecture": "gfpgan", **FACE_SIZES},
    "data": {"photos": "a"},
    "degradation": {"kind": "faces"},
    "run": {"steps": 1},
}


def check(values: dict[str, Any], *, processes: int = 1, **changes: dict[str, Any]) -> None:
    for part in changes:
        values = {**values, part: {**values.get(part, {}), **changes[part]}}
    recipe = make_recipe(values, folder=Path())
    check_recipe(recipe, make_network(recipe.network), processes=processes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"patch": 33}}, r"data.patch must be a multiple of 2, got 33"),
        ({"network": DENSE, "data": {"patch": 34}}, r"data.patch must be a multiple of 4, got 34"),
        (
            {"data": {"patch": 36}, "losses": {"adversarial": 0.1}},
            r"data.patch must be a multiple of 8, got 36",
        ),
        ({"data": {"faces": "a.json"}}, r"data.faces is for face networks"),
        ({"degradation": {"kind": "faces"}}, r'kind = "faces" is for face networks'),
        ({"losses": {"style": 1.0, "vgg19": "a"}}, r"losses.style is for face networks"),
        ({"losses": {"pyramid": 0.5}}, r"losses.pyramid is for face networks"),
        ({"losses": {"arcface": "a"}}, r"losses.arcface is for face networks"),
        ({"losses": {"component": 1.0}}, r"losses.component is for face networks"),
        ({"losses": {"identity": 1.0, "arcface": "a"}}, r"losses.identity is for face networks"),
        ({"losses": {"pixel": 0.0}}, r"losses: at least one must be above 0"),
        ({"losses": {"ssim": 0.1}}, r"losses.ssim is for patches that are only downsampled"),
        (
            {
                "data": {"pairs": "a"},
                "degradation": {"clean_share": 0.5},
                "losses": {"ssim": 0.1},
            },
            r"losses.ssim is for patches that are only downsampled",
        ),
    ],
)
def test_what_does_not_suit_an_upscaler_is_refused(
    changes: dict[str, dict[str, Any]], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        check(UPSCALER, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"photos": None, "pairs": "a"}}, r"data.pairs is for upscalers"),
        ({"data": {"photos": None}}, r"a face network needs data.photos"),
        ({"data": {"batch": 6}}, r"must be at most 4 or a multiple of 4 for a face network"),
        ({"data": {"patch": 128}}, r"data.patch is for upscalers: faces are used whole"),
        ({"data": {"jitter": True}}, r"data.rotate, jitter and shrink are for upscalers"),
        ({"degradation": {"kind": "mild"}}, r'must be "faces" or "paper" for a face network'),
        ({"degradation": {"clean_share": 0.5}}, r"degradation.clean_share, .* are for upscalers"),
        (
            {"degradation": {"kind": "paper", "noise": [0, 5]}},
            r"degradation.clean_share, .* are for upscalers",
        ),
        ({"losses": {"ssim": 0.1}}, r"losses.ssim is for upscalers"),
        ({"losses": {"squared": 1.0}}, r"losses.squared is for upscalers"),
        ({"losses": {"gan": "hinge"}}, r"losses.gan is for upscalers"),
    ],
)
def test_what_does_not_suit_a_face_network_is_refused(
    changes: dict[str, dict[str, Any]], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        check(FACE, **changes)


def test_processes_share_a_batch_evenly() -> None:
    check(UPSCALER, processes=2, data={"batch": 4})
    check(FACE, processes=2, data={"batch": 8})
    with pytest.raises(OptionError, match=r"data.batch must be a multiple of the 2 processes, got"):
        check(UPSCALER, processes=2, data={"batch": 3})
    with pytest.raises(OptionError, match="in each process, got 6"):
        check(FACE, processes=2, data={"batch": 12})


def test_the_squared_error_can_be_the_only_loss() -> None:
    check(UPSCALER, losses={"pixel": 0.0, "squared": 1.0})


def test_the_similarity_of_downsampled_patches_can_be_a_loss() -> None:
    check(UPSCALER, losses={"ssim": 0.1}, degradation={"kind": "shrink"})
    check(UPSCALER, losses={"ssim": 0.1}, degradation={"kind": "mild", "clean_share": 0.1})
