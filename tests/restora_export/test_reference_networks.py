"""The reference networks give the published networks' numbers."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from recipe import DATA, draw_raw, fill_network, network_from_constructor, state_sha256
from restora_export.reference import RRDBNet, SRVGGNetCompact

VECTORS: dict[str, Any] = json.loads((DATA / "vectors" / "index.json").read_text())
MANIFESTS: dict[str, Any] = json.loads((DATA / "manifests.json").read_text())


def load_output(name: str, arrays: dict[str, np.ndarray], output: np.ndarray) -> list[Any]:
    """(got, expected, atol factor) pairs; larger arrays are stored as a grid and four windows."""
    if "output" in arrays:
        return [(output, arrays["output"])]
    pairs = []
    packing = VECTORS[name]["packing"]["output"]
    y0, x0 = packing["start"] if isinstance(packing["start"], list) else (packing["start"],) * 2
    step = packing["step"]
    step_y, step_x = step if isinstance(step, list) else (step, step)
    grid = arrays["output__grid16"].astype(np.float32)
    pairs.append((output[..., y0::step_y, x0::step_x].astype(np.float16).astype(np.float32), grid))
    for crop, (y, x) in zip(arrays["output__crops"], arrays["output__crop_yx"], strict=True):
        size = crop.shape[-1]
        pairs.append((output[..., y : y + size, x : x + size].reshape(crop.shape), crop))
    return pairs


@pytest.mark.parametrize("name", VECTORS)
def test_a_network_reproduces_its_published_vector(name: str) -> None:
    vector = VECTORS[name]
    network = network_from_constructor(vector["arch"], vector["constructor"])
    fill_network(network, vector["seed"], vector["family"])
    assert state_sha256(network.state_dict()) == vector["state_sha256"]
    with np.load(DATA / "vectors" / f"{name}.npz") as stored:
        arrays = dict(stored)
    with torch.inference_mode():
        output = network(torch.from_numpy(arrays["input"])).numpy()
    for got, expected in load_output(name, arrays, output):
        # the vector's own tolerance: 16 times its spread over threads and float64
        np.testing.assert_allclose(got, expected, rtol=0, atol=vector["atol"]["output"])


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_network_has_the_keys_and_shapes_of_the_published_file(name: str) -> None:
    manifest = MANIFESTS[name]
    with torch.device("meta"):
        state = network_from_constructor(
            manifest["architecture"], manifest["constructor"]
        ).state_dict()
    ours = {key: list(value.shape) for key, value in state.items()}
    assert ours == {key: shape for key, shape, _ in manifest["state_dict"]}


def test_the_recipe_draws_the_stated_numbers() -> None:
    for check in json.loads((DATA / "recipe_check.json").read_text())["raw"]:
        raw = draw_raw(check["key"], tuple(check["shape"]), check["seed"]).ravel()
        first = check["first_values"]
        np.testing.assert_array_equal(raw[: len(first)], first)
        assert raw[-1] == check["last_value"]


@pytest.mark.parametrize(("upsamples", "scale", "multiple"), [(0, 1, 1), (1, 2, 1), (3, 8, 1)])
def test_an_rrdbnet_may_have_as_many_upsamples_as_it_needs(
    upsamples: int, scale: int, multiple: int
) -> None:
    network = RRDBNet(scale, 4, 2, 1, upsamples=upsamples).eval()
    assert network.size_multiple == multiple
    assert network(torch.rand(1, 3, 5, 6)).shape == (1, 3, 5 * scale, 6 * scale)


def test_an_impossible_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="must divide 4, got 3"):
        RRDBNet(3)
    with pytest.raises(ValueError, match="prelu, relu or leakyrelu, got 'gelu'"):
        SRVGGNetCompact(activation="gelu")  # type: ignore[arg-type]
