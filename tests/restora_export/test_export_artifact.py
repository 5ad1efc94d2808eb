"""Facts about making an artifact and proving it equal to its reference."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional as F

from fakes import make_info, open_on_cpu, tiny_artifact
from recipe import fill_network
from restora.artifact import Artifact, artifact_from_bytes, measure_psnr, read_artifact
from restora.artifact.selfcheck import selfcheck_from_json
from restora.errors import (
    AccuracyGateError,
    ArtifactError,
    CheckpointError,
    ChecksumError,
    MissingModelError,
    ModelError,
)
from restora.models import DEFAULT_MODEL, find_artifact
from restora_calibration.tile_kinds import kind_of
from restora_export.architecture import Hints
from restora_export.export import export_network
from restora_export.facts import NetworkFacts
from restora_export.files import export_file, verify_file
from restora_export.onnx_file import onnx_bytes, onnx_from_network
from restora_export.opset import lower_to_opset17
from restora_export.photo_tiles import load_photo_tiles, load_selfcheck_crops
from restora_export.reference import RRDBNet, SRVGGNetCompact
from restora_export.rrdb_graph import FoldedRRDBNet, fold_unshuffle
from restora_export.seams import make_seam_photo, measure_seams
from restora_export.verify import iter_cases, measure_accuracy, run_reference


def tiny_rrdb() -> torch.nn.Module:
    return fill_network(RRDBNet(2, 8, 4, 1), 3, "rrdb")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "small_x2.pth"
    torch.save({"params_ema": tiny_rrdb().state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def exported(checkpoint: Path) -> Path:
    path = checkpoint.with_suffix(".onnx")
    export_file(checkpoint, path)
    return path


def test_an_exported_file_is_opset_17_ir_8_and_dynamic(exported: Path) -> None:
    model = onnx.load(exported)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 8
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    image, restored = model.graph.input[0], model.graph.output[0]
    assert image.type.tensor_type.elem_type == TensorProto.UINT8
    sizes = [dim.dim_param or dim.dim_value for dim in image.type.tensor_type.shape.dim]
    assert sizes == ["batch", "height", "width", 3]
    sizes = [dim.dim_param or dim.dim_value for dim in restored.type.tensor_type.shape.dim]
    assert sizes == ["batch", "2*height", "2*width", 3]


def unnamed(model: onnx.ModelProto) -> list[object]:
    """The nodes with their attributes and constants, tensors numbered by their first use."""
    constants = {
        part.name: numpy_helper.to_array(part).tobytes() for part in model.graph.initializer
    }
    numbers: dict[str, int] = {}
    return [
        (
            node.op_type,
            [constants.get(name, numbers.setdefault(name, len(numbers))) for name in node.input],
            sorted((part.name, str(helper.get_attribute_value(part))) for part in node.attribute),
            [numbers.setdefault(name, len(numbers)) for name in node.output],
        )
        for node in model.graph.node
    ]


def test_a_graph_traced_with_fixed_sizes_is_the_one_traced_with_dynamic_sizes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fixed = onnx_from_network(tiny_rrdb(), io="uint8")
    monkeypatch.setattr("restora_export.onnx_file._SIZELESS", set())  # no operator is trusted
    dynamic = onnx_from_network(tiny_rrdb(), io="uint8")
    assert unnamed(fixed) == unnamed(dynamic)
    for one, other in zip(fixed.graph.output, dynamic.graph.output, strict=True):
        assert one == other


def test_an_exported_file_holds_nothing_of_the_makers_machine(exported: Path) -> None:
    data = exported.read_bytes()
    for trace in (b"/work", b"site-packages", b".py", b"pkg.torch", b"aten."):
        assert trace not in data


def test_the_metadata_carries_what_was_measured(exported: Path, checkpoint: Path) -> None:
    info = read_artifact(exported).info
    assert (info.model, info.scale, info.size_multiple) == ("small_x2", 2, 2)
    assert (info.precision, info.io) == ("fp32", "uint8")
    assert info.architecture == "RRDBNet x2, 1 blocks, 8 features, growth 4"
    assert info.accuracy is not None
    assert info.accuracy.max_error <= 1.001 / 255
    assert info.accuracy.psnr_min > 60
    assert info.accuracy.nonfinite == 0
    assert "PyTorch" in info.accuracy.reference
    assert info.overlap_px > 0


def test_an_rrdbnet_runs_in_two_parts(exported: Path) -> None:
    assert open_on_cpu(exported).limits.bytes_per_call > 0


# the last one in several windows of the head
@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 10, 6), (2, 64, 34), (1, 300, 292)])
def test_the_artifact_runs_in_any_size_and_batch(exported: Path, shape: tuple[int, ...]) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    got = open_on_cpu(exported).run(batch)
    expected = run_reference(tiny_rrdb(), batch)
    assert got.shape == expected.shape
    assert np.abs(got.astype(int) - expected.astype(int)).max() <= 1


def test_float_pictures_are_exact_to_a_hundred_thousandth(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.float32.onnx"
    result = export_file(checkpoint, path, io="float32", name="renamed")
    assert result.artifact.info.model == "renamed"
    assert result.artifact.info.accuracy is not None
    assert result.artifact.info.accuracy.max_error <= 1e-5
    batch = np.random.default_rng(0).random((1, 8, 8, 3), np.float32)
    restored = open_on_cpu(path).run(batch)
    assert restored.dtype == np.float32
    assert restored.min() >= 0
    assert restored.max() <= 1


def test_a_mixed_artifact_has_fp16_in_its_convolutions_alone(
    checkpoint: Path, tmp_path: Path
) -> None:
    result = export_file(checkpoint, tmp_path / "small.mixed.onnx", precision="mixed")
    info = result.artifact.info
    assert info.precision == "mixed"
    assert info.accuracy is not None
    assert info.accuracy.psnr_min > 50
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(result.artifact.onnx))
    graph = model.graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Conv":
            used = {types[name] for name in (*node.input, *node.output)}
            assert used == {TensorProto.FLOAT16}
        elif node.op_type in ("Add", "LeakyRelu", "Concat", "BatchNormalization"):
            assert types[node.output[0]] == TensorProto.FLOAT


def test_an_srvgg_network_exports_too(tmp_path: Path) -> None:
    network = fill_network(SRVGGNetCompact(3, 8, 2, "leakyrelu"), 5, "srvgg")
    path = tmp_path / "compact.pth"
    torch.save(network.state_dict(), path)
    result = export_file(path, tmp_path / "compact.onnx", hints=Hints(activation="leakyrelu"))
    assert result.artifact.info.scale == 3
    assert "leakyrelu" in result.artifact.info.architecture
    assert verify_file(tmp_path / "compact.onnx", path)[1].max_error <= 1.001 / 255


def test_verification_finds_the_checkpoint_by_its_digest(exported: Path) -> None:
    info, accuracy = verify_file(exported, None)
    assert accuracy == info.accuracy


def test_verification_refuses_another_checkpoint(exported: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pth"
    torch.save(fill_network(RRDBNet(2, 8, 4, 1), 4, "rrdb").state_dict(), other)
    with pytest.raises(ChecksumError, match="was made from a checkpoint with SHA-256"):
        verify_file(exported, other)
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(exported.read_bytes())
    other.unlink()
    with pytest.raises(MissingModelError, match="give it with --checkpoint"):
        verify_file(alone, None)


def test_a_blend_is_verified_against_both_parts(checkpoint: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pth"
    torch.save(fill_network(RRDBNet(2, 8, 4, 1), 4, "rrdb").state_dict(), other)
    path = tmp_path / "blend.onnx"
    export_file(checkpoint, path, blend=(other, 0.3))
    info, accuracy = verify_file(path, checkpoint, (other, 0.3))
    assert accuracy.max_error <= 1.001 / 255
    assert info.model == "small_x2+other:0.3"


def test_an_artifact_of_other_weights_fails_its_gate(exported: Path) -> None:
    session = open_on_cpu(exported)
    other = fill_network(RRDBNet(2, 8, 4, 1), 4, "rrdb")
    accuracy = measure_accuracy(session, other)
    assert accuracy.max_error > 0.1
    assert accuracy.psnr_mean < 40


def test_nan_is_counted_not_hidden() -> None:
    artifact = tiny_artifact(gain=float("nan"))
    network = fill_network(RRDBNet(2, 8, 4, 1), 3, "rrdb")
    accuracy = measure_accuracy(open_on_cpu(artifact), network)
    assert accuracy.nonfinite > 0


def test_nothing_is_written_when_the_gate_fails(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = fill_network(RRDBNet(2, 8, 4, 1), 4, "rrdb")
    monkeypatch.setattr(
        "restora_export.export.measure_accuracy",
        lambda s, _, **options: measure_accuracy(s, other, **options),
    )
    with pytest.raises(AccuracyGateError, match=r"fails its accuracy gate .* max error 0\."):
        export_file(checkpoint, tmp_path / "bad.onnx")
    assert not list(tmp_path.iterdir())


def test_a_broken_checkpoint_exports_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.pth").write_bytes(b"no tensors")
    with pytest.raises(CheckpointError):
        export_file(tmp_path / "broken.pth", tmp_path / "broken.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["broken.pth"]


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_the_folded_convolution_is_unshuffle_and_convolution_in_one(factor: int) -> None:
    generator = torch.Generator().manual_seed(factor)
    x = torch.rand(1, 3, 16, 24, generator=generator, dtype=torch.float64)
    weight = torch.rand(5, 3 * factor**2, 3, 3, generator=generator, dtype=torch.float64)
    apart = F.conv2d(F.pixel_unshuffle(x, factor), weight, padding=1)
    folded = F.conv2d(x, fold_unshuffle(weight, factor), stride=factor, padding=factor)
    torch.testing.assert_close(folded, apart, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_the_folded_network_is_the_reference(scale: int) -> None:
    network = fill_network(RRDBNet(scale, 8, 4, 2), scale, "rrdb").double()
    x = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(scale)).double()
    with torch.inference_mode():
        torch.testing.assert_close(FoldedRRDBNet(network)(x), network(x), rtol=0, atol=1e-12)


def graph_of(*nodes: onnx.NodeProto, constants: dict[str, np.ndarray]) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_a_reduction_is_lowered_to_opset_17() -> None:
    mean = helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0)
    model = graph_of(mean, constants={"axes": np.array([2, 3])})
    lower_to_opset17(model)
    assert model.opset_import[0].version == 17
    assert list(model.graph.node[0].input) == ["x"]
    assert not model.graph.initializer
    onnx.checker.check_model(model, full_check=True)


def test_an_operator_that_opset_17_lacks_is_named() -> None:
    resize = helper.make_node("Resize", ["x", "", "s"], ["y"], antialias=1, mode="linear")
    model = graph_of(resize, constants={"s": np.array([1, 1, 2, 2], np.float32)})
    with pytest.raises(ModelError, match="Resize with antialias=1 needs opset 18"):
        lower_to_opset17(model)
    split = helper.make_node("Split", ["x"], ["y", "z"], axis=1, num_outputs=3)
    with pytest.raises(ModelError, match="Split with num_outputs"):
        lower_to_opset17(graph_of(split, constants={}))


def test_a_split_into_equal_parts_is_lowered_to_opset_17() -> None:
    split = helper.make_node("Split", ["x"], ["y", "z"], axis=1, num_outputs=2)
    model = graph_of(split, constants={})
    lower_to_opset17(model)
    assert [attribute.name for attribute in model.graph.node[0].attribute] == ["axis"]


def test_cases_hold_photos_and_noise_in_several_sizes() -> None:
    cases = list(iter_cases(NetworkFacts("upsampler", 2, 2)))
    assert {case.photo for case in cases} == {True, False}
    assert len({case.batch.shape for case in cases}) >= 5
    assert any(case.batch.shape == (1, 2, 2, 3) for case in cases)
    assert load_photo_tiles().shape == (6, 96, 96, 3)


def test_self_checks_show_several_kinds_of_content() -> None:
    crops = load_selfcheck_crops()
    assert {kind_of(crop) for crop in crops} == {"flat", "skin", "edges", "texture"}
    dark, bright = (crops.mean((1, 2, 3)) < 70).sum(), (crops.mean((1, 2, 3)) > 130).sum()
    assert dark >= 2
    assert bright >= 2


def test_self_checks_measure_int8_as_tiles_of_photos_do() -> None:
    bundled = find_artifact(DEFAULT_MODEL, "uint8")
    exact, eight = (open_on_cpu(path) for path in (bundled, bundled.with_suffix(".int8.onnx")))
    crops = load_selfcheck_crops()
    on_crops, _ = measure_psnr(eight.run(crops), exact.run(crops))
    on_unseen_tiles = read_artifact(bundled.with_suffix(".int8.onnx")).info.accuracy
    assert on_unseen_tiles is not None
    assert on_unseen_tiles.tiles >= 24
    assert on_crops == pytest.approx(on_unseen_tiles.psnr_mean, abs=1)


def test_seams_fade_as_tiles_overlap_more(exported: Path) -> None:
    session = open_on_cpu(exported)
    photo = make_seam_photo()
    errors = [measure_seams(session, photo, overlap_px=o).psnr for o in (0, 8, 32)]
    assert errors == sorted(errors)
    assert errors[-1] >= 50


def test_the_largest_tensor_is_known(exported: Path) -> None:
    # 8 features on the enlarged picture: x2 of the pixel-unshuffled input, doubled twice
    assert read_artifact(exported).info.elements_per_pixel == 8 * 4


@pytest.mark.parametrize("io", ["uint8", "float32"])
def test_a_picture_and_its_answer_travel_with_the_artifact(
    checkpoint: Path, tmp_path: Path, io: str
) -> None:
    export_file(checkpoint, tmp_path / "a.onnx", io=io)  # type: ignore[arg-type]
    artifact = read_artifact(tmp_path / "a.onnx")
    selfcheck = artifact.read_selfcheck()
    assert selfcheck is not None
    assert selfcheck.image.shape == (8, 48, 48, 3)
    assert selfcheck.answer.dtype == np.dtype(io)
    got = open_on_cpu(artifact).run(selfcheck.image)
    mean, least = measure_psnr(got, selfcheck.answer)
    assert mean >= least > 80  # of float32, 16 bits are kept


def test_a_damaged_self_check_is_said(exported: Path) -> None:
    artifact = read_artifact(exported)
    selfcheck = artifact.read_selfcheck()
    assert selfcheck is not None
    text = selfcheck.to_json()
    for damaged in (text[:100], text.replace('"batch": 8', '"batch": 5'), "{}", "[]"):
        with pytest.raises(ArtifactError, match="self-check"):
            selfcheck_from_json(damaged, artifact.info)
    assert tiny_artifact().read_selfcheck() is None


def test_the_same_checkpoint_gives_the_same_bytes() -> None:
    network = tiny_rrdb()
    info = make_info()
    first, second = (onnx_bytes(onnx_from_network(network, io="uint8"), info) for _ in range(2))
    assert first == second
    assert isinstance(artifact_from_bytes(first), Artifact)


def test_a_named_export_tells_its_steps() -> None:
    steps: list[str] = []
    export_network(
        tiny_rrdb(),
        model="tiny",
        architecture="test",
        weights_sha256="0" * 64,
        report=steps.append,
    )
    assert steps[0].startswith("exporting tiny")
    assert steps[1:] == ["comparing it with PyTorch", "measuring seams"]
