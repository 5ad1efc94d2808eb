"""Facts about artifacts in INT8 or FP8 with FP16 around it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export_cache import kept
from fakes import PASSED, make_info
from restora.artifact import (
    Artifact,
    artifact_from_bytes,
    check_accuracy,
    measure_psnr,
    read_artifact,
)
from restora.backends import SessionOptions, open_session
from restora.errors import AccuracyGateError, ModelError, OptionError
from restora_benchmarks.recipe import fill_network
from restora_calibration.calibration_set import (
    CalibrationSet,
    SetPlan,
    make_calibration_set,
    make_source,
)
from restora_calibration.int8.artifacts import transfer_recipe
from restora_calibration.int8.file import TileOptions, calibrate_file
from restora_calibration.int8.formats import FormatName
from restora_calibration.int8.layers import find_layers, inner_layers
from restora_calibration.int8.plan import Plan
from restora_calibration.int8.qdq import Recipe, quantize_graph, raise_to_opset19
from restora_calibration.int8.run import Calibration, calibrate
from restora_calibration.int8.statistics import open_graph
from restora_calibration.int8.trial import TrialLog
from restora_export.onnx_file import onnx_bytes, onnx_from_network
from restora_export.photo_tiles import load_photo_tiles
from restora_export.reference import GFPGANv1Clean, RRDBNet
from restora_export.verify import make_selfcheck

ONLY = r"blocks.0"  # fewer layers take less time


def export(precision: str) -> bytes:
    network = fill_network(RRDBNet(2, 8, 4, 1, upsamples=1), 0, "rrdb")
    info = make_info(size_multiple=1, accuracy=PASSED, precision=precision)
    model = onnx_from_network(network, io="uint8", precision=info.precision)
    return onnx_bytes(model, info, make_selfcheck(network, "uint8"))


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return artifact_from_bytes(kept("artifact", lambda: export("fp32")))


@pytest.fixture(scope="module")
def half() -> Artifact:
    return artifact_from_bytes(kept("half", lambda: export("fp16")))


@pytest.fixture(scope="module")
def tiles() -> CalibrationSet:
    photos = load_photo_tiles()
    sources = [make_source(f"{index}.png", photo) for index, photo in enumerate(photos[:6])]
    plan = SetPlan(tile=32, calibrating=6, searching=4, judging=24)
    return make_calibration_set(sources, plan, report=lambda _words: None)


@pytest.fixture(scope="module")
def results(artifact: Artifact, half: Artifact, tiles: CalibrationSet) -> dict[str, Calibration]:
    return {
        name: calibrate(
            artifact,
            tiles,
            Plan(("max",), only=ONLY, format=name),  # type: ignore[arg-type]
            half=half,
            log=TrialLog(None, ""),
            speed=None,
            report=lambda _words: None,
        )
        for name in ("int8", "fp8")
    }


def made(results: dict[str, Calibration], name: str) -> Artifact:
    result = results[name]
    found = result.half if name == "int8" else result.artifact
    assert found is not None
    return found


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    values = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    for value in (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input):
        values[value.name] = value.type.tensor_type.elem_type
    return values


@pytest.mark.parametrize("name", ["int8", "fp8"])
def test_the_artifact_passes_its_gate_and_runs(
    name: str, artifact: Artifact, tiles: CalibrationSet, results: dict[str, Calibration]
) -> None:
    found = artifact_from_bytes(made(results, name).onnx)
    assert found.info.precision == ("int8_fp16" if name == "int8" else "fp8")
    check_accuracy(found.info)
    assert found.info.accuracy is not None
    assert found.info.accuracy.psnr_mean >= 40
    session = open_session(found, options=SessionOptions(backend="cpu"))
    exact = open_session(artifact, options=SessionOptions(backend="cpu"))
    mean, _ = measure_psnr(session.run(tiles.judging), exact.run(tiles.judging))
    assert mean == pytest.approx(found.info.accuracy.psnr_mean, abs=0.5)
    assert found.read_selfcheck() is not None


@pytest.mark.parametrize("name", ["int8", "fp8"])
def test_every_pair_has_scales_in_fp16_and_everything_else_is_fp16(
    name: str, results: dict[str, Calibration]
) -> None:
    """In a strongly typed network an FP32 scale would make the convolution FP32."""
    result = results[name]
    model = onnx.load_from_string(made(results, name).onnx)
    assert [entry.version for entry in model.opset_import] == [19]
    types = types_of(model)
    eight = TensorProto.INT8 if name == "int8" else TensorProto.FLOAT8E4M3FN
    makers = {output: node for node in model.graph.node for output in node.output}
    count = 0
    for node in model.graph.node:
        kinds = [types[value] for value in (*node.input, *node.output) if value]
        if node.op_type == "QuantizeLinear":
            assert kinds == [TensorProto.FLOAT16, TensorProto.FLOAT16, eight, eight]
        elif node.op_type == "DequantizeLinear":
            assert kinds == [eight, TensorProto.FLOAT16, eight, TensorProto.FLOAT16]
        elif node.op_type == "Conv":
            assert set(kinds) == {TensorProto.FLOAT16}
            fed = [makers[value].op_type for value in node.input[:2] if value in makers]
            count += fed == ["DequantizeLinear", "DequantizeLinear"]
    assert count == len(result.best.recipe.layers) == 5
    assert types["restored"] == TensorProto.UINT8
    assert types["channel_means"] == TensorProto.FLOAT


def test_int8_weights_have_a_scale_per_channel_and_fp8_weights_one(
    results: dict[str, Calibration],
) -> None:
    for name, rank in (("int8", 1), ("fp8", 0)):
        model = onnx.load_from_string(made(results, name).onnx)
        tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        pairs = [node for node in model.graph.node if node.op_type == "DequantizeLinear"]
        weights = [node for node in pairs if node.input[0].endswith(f"weight_{name}")]
        assert weights
        for node in weights:
            assert len(tensors[node.input[1]].dims) == len(tensors[node.input[2]].dims) == rank
            assert [a.name for a in node.attribute] == (["axis"] if rank else [])


def test_fp8_pairs_compute_what_the_format_says(
    half: Artifact, results: dict[str, Calibration], tiles: CalibrationSet
) -> None:
    """ONNX Runtime beside ml_dtypes, tensor by tensor."""
    model = onnx.load_from_string(made(results, "fp8").onnx)
    pairs = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in pairs[:4]:
        for name in (node.input[0], f"{node.output[0]}_dq"):
            model.graph.output.append(
                helper.make_tensor_value_info(name, TensorProto.FLOAT16, None)
            )
    session = open_graph(model)
    names = [value.name for value in session.get_outputs()]
    values = dict(zip(names, session.run(names, {"image": tiles.judging[:1]}), strict=True))
    for node in pairs[:4]:
        scale = tensors[node.input[1]]
        scaled = values[node.input[0]].astype(np.float32) / np.float32(scale)
        expected = np.clip(scaled, -448, 448).astype(ml_dtypes.float8_e4m3fn).astype(np.float32)
        got = values[f"{node.output[0]}_dq"].astype(np.float32) / np.float32(scale)
        # ONNX Runtime divides in FP16: a value beside the middle may go to the other side
        wrong = np.abs(got - expected) > 0.01 * np.abs(expected) + 2**-10
        assert wrong.mean() < 0.01
        assert np.abs(got).max() <= 448
    assert half.info.precision == "fp16"


def test_a_recipe_moves_to_another_graph_by_the_names_of_layers(
    artifact: Artifact, half: Artifact
) -> None:
    layers = find_layers(onnx.load_from_string(artifact.onnx))
    others = find_layers(onnx.load_from_string(half.onnx))
    names = [layer.name for layer in inner_layers(layers)]
    ranges = {
        source: float(number)
        for number, source in enumerate(
            dict.fromkeys(source for layer in layers for source in layer.sources), 1
        )
    }
    recipe = Recipe(frozenset(names), ranges)
    moved = transfer_recipe(recipe, layers, others)
    by_name = {layer.name: layer for layer in others}
    for layer in inner_layers(layers):
        pairs = zip(layer.sources, by_name[layer.name].sources, strict=True)
        assert all(moved.ranges[new] == ranges[old] for old, new in pairs)
    with pytest.raises(ModelError, match=f"no layer {names[3]} like"):
        transfer_recipe(recipe, layers, [other for other in others if other.name != names[3]])
    other = by_name[names[3]]
    by_name[names[3]] = replace(other, sources=other.sources[:1])
    with pytest.raises(ModelError, match=f"no layer {names[3]} like"):
        transfer_recipe(recipe, layers, list(by_name.values()))


def test_a_graph_before_opset_19_is_refused(artifact: Artifact, half: Artifact) -> None:
    """ONNX Runtime would load it; TensorRT and the standard do not know these types there."""
    for source, form in ((half, "int8"), (half, "fp8"), (artifact, "fp8")):
        model = onnx.load_from_string(source.onnx)
        layers = find_layers(model)
        ranges = {name: 1.0 for layer in layers for name in layer.sources}
        recipe = Recipe(frozenset({layers[3].name}), ranges, format=form)  # type: ignore[arg-type]
        with pytest.raises(ModelError, match="need opset 19, the graph has 17"):
            quantize_graph(model, layers, recipe)


def test_a_raised_graph_computes_the_same(half: Artifact, tiles: CalibrationSet) -> None:
    model = onnx.load_from_string(half.onnx)
    raised = raise_to_opset19(model)
    onnx.checker.check_model(raised, full_check=True)
    for number in (0, 1):
        results = [
            open_graph(graph).run(None, {"image": tiles.judging})[number]
            for graph in (model, raised)
        ]
        assert np.array_equal(*results)
    assert not any(node.doc_string for node in raised.graph.node)
    assert not any(node.op_type == "Constant" for node in raised.graph.node)


def export_face() -> bytes:
    network = fill_network(GFPGANv1Clean(32, 16, 1, 2, narrow=0.125), 3, "gfpgan_clean")
    return onnx_from_network(network, io="uint8", precision="fp16").SerializeToString()


@pytest.mark.slow  # exports a face network
def test_an_fp16_face_graph_takes_int8_too() -> None:
    """Its decoder keeps FP32 where FP16 overflows."""
    model = raise_to_opset19(onnx.load_from_string(kept("face in fp16", export_face)))
    layers = find_layers(model)
    chosen = [layer for layer in layers if layer.name.startswith("unet.conv_body_down")]
    ranges = {name: 4.0 for layer in chosen for name in layer.sources}
    graph = quantize_graph(model, layers, Recipe(frozenset(layer.name for layer in chosen), ranges))
    onnx.checker.check_model(graph, full_check=True)
    kinds = Counter(node.op_type for node in graph.graph.node)
    assert kinds["DequantizeLinear"] > len(chosen) == 9


def write(folder: Path, artifact: Artifact, half: Artifact | None) -> Path:
    path = folder / "tiny.onnx"
    path.write_bytes(artifact.onnx)
    if half is not None:
        (folder / "tiny.fp16.onnx").write_bytes(half.onnx)
    return path


def run(path: Path, plan: Plan, *, overwrite: bool = False) -> list[str]:
    told: list[str] = []
    options = TileOptions(side=32, calibration=4, search=2)
    found = calibrate_file(
        path, None, plan, options, timed=False, overwrite=overwrite, report=told.append
    )
    return [*told, *found.describe()]


def test_int8_beside_an_fp16_artifact_is_written_in_both_forms(
    tmp_path: Path, artifact: Artifact, half: Artifact
) -> None:
    told = run(write(tmp_path, artifact, half), Plan(("max",), only=ONLY))
    assert read_artifact(tmp_path / "tiny.int8.onnx").info.precision == "int8"
    assert read_artifact(tmp_path / "tiny.int8_fp16.onnx").info.precision == "int8_fp16"
    assert any("tiny.int8_fp16.onnx: the same layers, with FP16 around them" in w for w in told)
    (tmp_path / "tiny.int8.onnx").unlink()
    with pytest.raises(OptionError, match=r"tiny\.int8_fp16\.onnx exists already"):
        run(tmp_path / "tiny.onnx", Plan(("max",), only=ONLY))


def test_fp8_needs_the_fp16_artifact(tmp_path: Path, artifact: Artifact, half: Artifact) -> None:
    path = write(tmp_path, artifact, None)
    with pytest.raises(OptionError, match="FP8 needs the FP16 artifact of tiny"):
        run(path, Plan(only=ONLY, format="fp8"))
    told = run(write(tmp_path, artifact, half), Plan(only=ONLY, format="fp8"))
    assert read_artifact(tmp_path / "tiny.fp8.onnx").info.precision == "fp8"
    assert any("layers in FP8" in words for words in told)
    assert not (tmp_path / "tiny.int8_fp16.onnx").exists()


def test_what_misses_its_gate_is_not_written(
    tmp_path: Path, artifact: Artifact, half: Artifact
) -> None:
    with pytest.raises(AccuracyGateError, match="reaches 150 dB mean and 35 dB min, nothing"):
        run(write(tmp_path, artifact, half), Plan(only=ONLY, format="fp8", min_psnr=150))
    assert not (tmp_path / "tiny.fp8.onnx").exists()
    bad = make_info(precision="fp8", accuracy=replace(PASSED, psnr_mean=39.9), size_multiple=1)
    with pytest.raises(AccuracyGateError, match=r"mean PSNR 39\.9 dB, needed 40\.0"):
        check_accuracy(bad)


@pytest.mark.parametrize("form", ["int8", "fp8"])
def test_fp16_around_that_costs_too_much_gives_no_artifact(
    form: FormatName,
    artifact: Artifact,
    half: Artifact,
    tiles: CalibrationSet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where the same layers pass with FP32 around them."""
    info = make_info(accuracy=replace(PASSED, psnr_mean=39.9))
    bad = Artifact(info, b"")
    monkeypatch.setattr("restora_calibration.int8.run.build_half_artifact", lambda *_, **__: bad)
    plan = Plan(("max",), only=ONLY, format=form)
    log = TrialLog(None, "")
    result = calibrate(
        artifact, tiles, plan, half=half, log=log, speed=None, report=lambda _words: None
    )
    assert result.half is None
    assert (result.artifact is None) == (form == "fp8")


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(OptionError, match="the format must be int8 or fp8"):
        Plan(format="int4")  # type: ignore[arg-type]
