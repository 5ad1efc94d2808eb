"""Facts about artifacts whose weights are stored as float16."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from fakes import open_on_cpu, tiny_artifact
from recipe import fill_network
from restora.artifact import artifact_from_bytes, read_artifact
from restora.artifact.half_weights import HALF_SUFFIX, expand_weights
from restora.errors import ArtifactError, OptionError
from restora_export.compact import compact_weights
from restora_export.files import export_file
from restora_export.reference import SRVGGNetCompact


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose weights float16 holds exactly."""
    network = fill_network(SRVGGNetCompact(features=16, convs=2, scale=2), 3, "srvgg")
    state = {key: value.half().float() for key, value in network.state_dict().items()}
    path = tmp_path_factory.mktemp("weights") / "small_x2.pth"
    torch.save({"params_ema": state}, path)
    return path


@pytest.fixture(scope="module")
def plain(checkpoint: Path) -> Path:
    path = checkpoint.with_name("plain.onnx")
    export_file(checkpoint, path, name="small")
    return path


@pytest.fixture(scope="module")
def compact(checkpoint: Path, plain: Path) -> Path:
    path = checkpoint.with_name("compact.onnx")
    export_file(checkpoint, path, name="small", compact=True, like=plain)
    return path


def test_a_compact_file_stores_its_large_weights_as_float16(compact: Path, plain: Path) -> None:
    large = {
        tensor.name: tensor.data_type
        for tensor in onnx.load(compact).graph.initializer
        if np.prod(tensor.dims) >= 1024
    }
    assert large
    assert set(large.values()) == {TensorProto.FLOAT16}
    saved = plain.stat().st_size - compact.stat().st_size
    weights = sum(
        int(np.prod(tensor.dims))
        for tensor in onnx.load(compact).graph.initializer
        if tensor.name in large
    )
    assert saved > 1.8 * weights


def test_a_compact_file_is_read_as_the_very_artifact_that_was_packed(
    compact: Path, plain: Path
) -> None:
    assert read_artifact(compact).onnx == read_artifact(plain).onnx
    assert read_artifact(compact).sha256 == read_artifact(plain).sha256


def test_onnx_runtime_alone_computes_the_same_from_a_compact_file(
    compact: Path, plain: Path
) -> None:
    import onnxruntime

    image = np.random.default_rng(4).integers(0, 256, (1, 24, 32, 3), np.uint8)
    results = [
        onnxruntime.InferenceSession(str(path)).run(["restored"], {"image": image})[0]
        for path in (compact, plain)
    ]
    assert np.array_equal(*results)
    session = open_on_cpu(read_artifact(compact))
    try:
        assert np.array_equal(session.run(image), results[0])
    finally:
        session.close()


def test_weights_that_float16_does_not_hold_stay_as_they_are() -> None:
    data = tiny_artifact(scale=2).onnx
    model = onnx.load_model_from_string(data)
    weights = np.full((1024,), 1 / 3, np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, "a_third"))
    too_large = np.full((1024,), 1e6, np.float32)
    model.graph.initializer.append(numpy_helper.from_array(too_large, "huge"))
    fitting = np.full((1024,), 0.5, np.float32)
    model.graph.initializer.append(numpy_helper.from_array(fitting, "fitting"))
    packed = compact_weights(bytes(model.SerializeToString(deterministic=True)))
    types = {t.name: t.data_type for t in onnx.load_model_from_string(packed).graph.initializer}
    assert types["a_third"] == types["huge"] == TensorProto.FLOAT
    assert types["fitting" + HALF_SUFFIX] == TensorProto.FLOAT16


def test_a_file_that_is_not_compact_is_returned_unchanged() -> None:
    data = tiny_artifact(scale=2).onnx
    assert expand_weights(data) is data


def test_a_constant_with_the_name_of_a_packed_one_and_another_type_is_refused(
    compact: Path,
) -> None:
    model = onnx.load(compact)
    tensor = next(t for t in model.graph.initializer if t.name.endswith(HALF_SUFFIX))
    values = np.zeros(tuple(tensor.dims), np.float64)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    with pytest.raises(ArtifactError, match="must be float16"):
        artifact_from_bytes(model.SerializeToString(deterministic=True))


def test_only_fp32_artifacts_are_made_compact(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="compact is for fp32 artifacts, got precision fp16"):
        export_file(checkpoint, tmp_path / "no.onnx", precision="fp16", compact=True)
