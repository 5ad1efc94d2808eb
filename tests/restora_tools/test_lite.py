"""Facts about the training of the bundled model."""

from pathlib import Path

import pytest

from restora.artifact import read_artifact
from restora.models import find_artifact
from restora_calibration.photos import HELD_OUT, Photo, read_free_photo
from restora_export.checkpoint import load_checkpoint
from restora_export.reference import RRDBNet
from restora_tools.lite.accuracy import enlarge_bicubic, evaluate, format_table
from restora_training import read_recipe
from restora_training.networks import make_network
from restora_training.run.checks import check_recipe

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "calibration" / "weights" / "restora-lite-x2.safetensors"


def test_the_recipe_makes_the_network_that_is_bundled() -> None:
    recipe = read_recipe(ROOT / "training" / "recipes" / "restora-lite-x2.toml")
    network = make_network(recipe.network)
    check_recipe(recipe, network)
    bundled = load_checkpoint(WEIGHTS).architecture
    assert isinstance(network, RRDBNet)
    assert (bundled.scale, bundled.features, bundled.blocks) == (
        recipe.network.scale,
        recipe.network.features,
        recipe.network.blocks,
    )


def test_the_second_run_continues_with_the_network_of_the_first() -> None:
    """`make train-lite` writes the first run to build/train-lite."""
    recipes = ROOT / "training" / "recipes"
    second = read_recipe(recipes / "restora-lite-x2-photos.toml")
    assert second.network.start is not None
    start = recipes / second.network.start
    assert start.resolve() == ROOT / "build" / "train-lite" / "network.safetensors"
    makefile = (ROOT / "Makefile").read_text()
    assert "restora-lite-x2.toml -o build/train-lite\n" in makefile
    network = make_network(second.network.model_copy(update={"start": WEIGHTS}))
    check_recipe(second, network)


@pytest.fixture(scope="module")
def photos() -> dict[str, Photo]:
    return {photo.name: read_free_photo(photo)[:160, :200] for photo in HELD_OUT[:2]}


def test_a_strong_degradation_is_measured_on_its_own(photos: dict[str, Photo]) -> None:
    rows = evaluate(enlarge_bicubic, photos)
    assert {row.photo for row in rows} == {*photos, "mean"}
    by_kind = {row.input: row.bicubic_psnr for row in rows if row.photo == "mean"}
    assert by_kind["blur 2, noise 10, JPEG 60"] < by_kind["mild degradation"]
    assert by_kind["mild degradation"] < by_kind["clean x2"]


def test_the_evaluation_finds_bicubic_equal_to_itself(photos: dict[str, Photo]) -> None:
    rows = evaluate(enlarge_bicubic, photos)
    assert all(row.bicubic_psnr == row.restored_psnr for row in rows)
    assert format_table(rows).count("\n") == len(rows) + 1


def test_the_committed_weights_are_those_of_the_bundled_artifact() -> None:
    checkpoint = load_checkpoint(WEIGHTS)
    for io in ("uint8", "float32"):
        assert read_artifact(find_artifact("restora-lite-x2", io)).info.weights_sha256 == (
            checkpoint.sha256
        )
