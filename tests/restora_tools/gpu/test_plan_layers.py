"""Facts about what the inspector and the profiler of TensorRT say about a plan."""

from __future__ import annotations

from typing import Any

import pytest

from restora_tools.gpu.layers import describe_layers, describe_times, is_copy, parse_dump

LAYERS: list[dict[str, Any]] = [
    {"Name": "conv_first + PRelu_1", "LayerType": "CaskConvolution", "TacticName": "sm90_fprop"},
    {"Name": "conv_2 + PRelu_2", "LayerType": "CaskConvolution", "TacticName": "sm90_fprop"},
    {"Name": "PRelu_3", "LayerType": "PointWiseV2", "TacticName": "gen_pointwise"},
    {"Name": "Reformatting CopyNode for Output Tensor 0 to conv_2", "LayerType": "Reformat"},
    {"Name": "features_7 copy", "LayerType": "Reformat"},
]


def test_layers_are_counted_by_type_and_copies_apart() -> None:
    found = describe_layers(LAYERS)
    assert found["types"] == {"CaskConvolution": 2, "Reformat": 2, "PointWiseV2": 1}
    assert (found["copies"], found["copies_share"]) == (2, 0.4)
    assert found["kernels"] == {"sm90_fprop": 2, "gen_pointwise": 1}
    assert "not_measured" not in found


def test_an_activation_that_was_not_joined_with_its_convolution_is_named() -> None:
    found = describe_layers(LAYERS)
    assert found["joined"] == 2
    assert found["not_joined"] == ["PRelu_3"]


def test_a_plan_without_details_says_so() -> None:
    assert describe_layers(["conv_1", "conv_2"])["not_measured"] == (
        "the plan was built without details of its layers"
    )
    assert describe_layers([])["not_measured"] == "the inspector shows no layers"


def test_times_tell_the_share_of_copies_and_the_slowest_layer() -> None:
    found = describe_times({"conv_2": 3.0, "features_7 copy": 1.0})
    assert found["copies_time_share"] == 0.25
    assert found["slowest"] == {"conv_2": 0.75, "features_7 copy": 0.25}
    assert describe_times({}) == {"times_not_measured": "the profiler reported no layer"}


@pytest.mark.parametrize("name", ["copyright_conv", "conv_copying + PRelu_1"])
def test_a_name_that_only_begins_with_copy_is_no_copy(name: str) -> None:
    assert not is_copy({"Name": name, "LayerType": "CaskConvolution"})


@pytest.mark.parametrize(
    "text", ['{"Layers": [{"Name": "a"},\n]}\0', '{"Layers": [{"Name": "a"}]}', '[{"Name": "a"}]']
)
def test_a_dump_is_read_as_each_version_writes_it(text: str) -> None:
    assert parse_dump(text)["Layers"] == [{"Name": "a"}]


def test_a_dump_that_is_no_json_has_no_layers() -> None:
    assert parse_dump("Layer(CaskConvolution): conv_1") == {}
