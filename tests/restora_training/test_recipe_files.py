"""Recipes: what they may say, and how errors name the key."""

from pathlib import Path

import pytest

from restora.errors import OptionError
from restora_training import read_recipe

VALID = """
[network]
architecture = "rrdb"
blocks = 2

[run]
steps = 10
"""


def read(tmp_path: Path, text: str):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return read_recipe(path)


def test_a_short_recipe_has_defaults_for_the_rest(tmp_path: Path) -> None:
    recipe = read(tmp_path, VALID)
    assert recipe.data.patch == 192
    assert recipe.losses.pixel == 1.0


def test_paths_are_relative_to_the_recipe(tmp_path: Path) -> None:
    recipe = read(tmp_path, VALID + '[data]\nphotos = "photos"\n')
    assert recipe.data.photos == tmp_path / "photos"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (VALID + "[data]\npatchs = 3\n", r"there is no key data.patchs"),
        (VALID + "[data]\nbatch = 0\n", r"data.batch: input should be greater than or equal to 1"),
        (VALID.replace("rrdb", "unet"), r"network.architecture: input should be 'rrdb', 'srvgg'"),
        (VALID.replace("blocks", "start = 'a.pth'\nblocks"), r"network: give either start"),
        (
            VALID.replace('architecture = "rrdb"', 'start = "a.pth"'),
            r"network: blocks cannot be given with start: the checkpoint decides it",
        ),
        (
            VALID.replace("blocks", "scale = 3\nblocks"),
            r"the scale of an rrdb must divide 2 to the power of upsamples = 2, got 3",
        ),
        (
            VALID.replace("blocks", "initial = 'bilinear'\nfeatures = 2\nblocks"),
            r'network: initial = "bilinear" needs 3 features, got 2',
        ),
        (VALID + "[losses]\nperceptual = 1.0\n", r"losses: perceptual and style need vgg19"),
        (VALID + "[losses]\nidentity = 10.0\n", r"losses: identity needs arcface"),
        (VALID + '[losses]\ncomponents = ["hat"]\n', r"losses: components are left_eye, .*got hat"),
        (VALID + '[data]\nphotos = "a"\npairs = "b"\n', r"give photos or pairs, not both"),
        (
            VALID + "[degradation]\nclean_share = 0.6\nmild_share = 0.5\n",
            r"clean_share and mild_share must be at most 1 together, got 0.6 and 0.5",
        ),
        (VALID + "[losses]\ntruth = 1.0\n", r"losses.truth is for data.pairs"),
        (
            VALID + "[degradation]\nsigma = [0, 4]\n",
            r'sigma is for kind = "paper" and "mild", got "second_order"',
        ),
        (
            VALID + '[degradation]\nkind = "paper"\nnoise = [9, 4]\n',
            r"noise must be a smallest and a largest value, got \[9.0, 4.0\]",
        ),
        (
            VALID + '[degradation]\nkind = "paper"\nquality = [0, 40]\n',
            r"quality.0: input should be greater than or equal to 1",
        ),
        (VALID + "[losses]\npixel = nan\n", r"losses.pixel: input should be a finite number"),
        (VALID + "[losses]\npixel = inf\n", r"losses.pixel: input should be a finite number"),
        (
            VALID + "[losses]\ncomponent_style = 1.0\n",
            r"component_style compares features that component trains",
        ),
        (
            VALID + "[optimizer]\nbetas = [0.9, 1.0]\n",
            r"optimizer.betas.1: input should be less than 1",
        ),
        (
            VALID + "[optimizer]\nmilestones = [20, 10]\n",
            r"optimizer: milestones must rise, got \[20, 10\]",
        ),
        (VALID + "x = " + 5000 * "[", r"recipe.toml is not TOML"),
        ("#" * (1 << 21), r"^a recipe must have at most 1048576 bytes: .*recipe.toml$"),
        ("[network\n", r"recipe.toml is not TOML"),
        ("[network]\narchitecture = 'rrdb'\n", r"run: field required"),
    ],
)
def test_errors_name_the_key_and_what_it_may_be(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        read(tmp_path, text)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"none.toml cannot be read: No such file"):
        read_recipe(tmp_path / "none.toml")
