"""Facts about finding the layer at which two artifacts part."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from rich.console import Console

from fakes import tiny_artifact, with_selfcheck
from restora.artifact import SelfCheck
from restora.backends import SessionOptions, open_session
from restora.errors import ArtifactError
from restora_tools.layers import compare_layers, make_table, picture_for, run_all_layers


def test_the_first_layer_that_departs_is_the_one_that_was_changed() -> None:
    model = onnx.load_from_string(tiny_artifact().onnx)
    changed = onnx.load_from_string(tiny_artifact().onnx)
    (weight,) = [tensor for tensor in changed.graph.initializer if tensor.name == "weight"]
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 1.5, "weight"))
    image = np.random.default_rng(0).integers(0, 256, (1, 16, 24, 3), np.uint8)
    errors = compare_layers(model, run_all_layers(model, image), run_all_layers(changed, image))
    departing = [error.name for error in errors if error.departs]
    assert departing[0] == "blurred"
    assert errors[0].relative == 0
    assert np.isclose(errors[2].relative, 0.5)


def test_nan_departs_whatever_the_threshold() -> None:
    model = onnx.load_from_string(tiny_artifact().onnx)
    broken = onnx.load_from_string(tiny_artifact(gain=float("nan")).onnx)
    image = np.zeros((1, 8, 8, 3), np.uint8)
    errors = compare_layers(model, run_all_layers(model, image), run_all_layers(broken, image))
    assert not next(error for error in errors if error.departs).finite
    output = io.StringIO()
    Console(file=output, width=120).print(make_table(errors, rows=1))
    assert "NO" in output.getvalue()


def test_the_picture_is_the_artifacts_own(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="has no self-check"):
        picture_for(tiny_artifact())
    image = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3), np.uint8)
    session = open_session(tiny_artifact(), options=SessionOptions(backend="cpu"))
    artifact = with_selfcheck(tiny_artifact(), SelfCheck(image, session.run(image)))
    assert np.array_equal(picture_for(artifact), image[:1])
