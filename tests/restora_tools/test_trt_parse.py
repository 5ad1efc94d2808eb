"""What TensorRT's parser makes of an artifact is judged by the metadata and by what it made before.

The parser itself is not run here: it needs 819 MB. `make trt-parse` runs it.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from restora_tools.trt_parse.compare import (
    expected_outputs,
    find_changes,
    find_faults,
    with_size,
)
from restora_tools.trt_parse.interfaces import make_classes, read_methods
from restora_tools.trt_parse.subjects import FACES, OTHERS, UPSAMPLERS, Subject

RECORDED = Path(__file__).parents[2] / "benchmarks" / "results" / "trt-parse.json"
HEADER = """
class VRoot
{
};
class VTensor : public VRoot
{
public:
    virtual void setName(char const* name) noexcept = 0;
};
class VSliceLayer : public VRoot
{
public:
    virtual void setStart(Dims start) noexcept = 0;
    virtual Dims getStart() const noexcept = 0;
    virtual void setScales(float const* scales, int32_t nbScales) noexcept = 0;
    virtual bool setName(char const* name) noexcept
        = 0;
    virtual char const* getName() const noexcept = 0;
    virtual IPlugin& getPlugin() noexcept = 0;
};
class VNetworkDefinition : public VRoot
{
public:
    virtual ISliceLayer* addSlice(
        ITensor& input, Dims start) noexcept
        = 0;
    virtual int32_t getNbLayers() const noexcept = 0;
};
"""
KINDS = "enum class LayerType : int32_t\n{\n    kSLICE = 23, //!< Slice layer.\n};\n"


def subject_of(**facts: Any) -> Subject:
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ("batch", "h", "w", 3))
    outputs = [
        helper.make_tensor_value_info("restored", TensorProto.UINT8, ("batch", "2*h", "2*w", 3)),
        helper.make_tensor_value_info("channel_means", TensorProto.FLOAT, ("batch", 19)),
    ]
    model = helper.make_model(helper.make_graph([], "test", [image], outputs))
    made = Subject("net", model, "upsampler", 2, "uint8", 2, None)
    return replace(made, **facts)


def parsed(subject: Subject, **others: Any) -> dict[str, Any]:
    """What the parser should make of a subject with one size."""
    outputs = {
        name: {"shape": shape, "type": kind}
        for name, (shape, kind) in expected_outputs(subject).items()
    }
    return {"parsed": True, "errors": {}, "log": {}, "faults": {}, "outputs": outputs} | others


@pytest.mark.parametrize(
    ("facts", "shape", "means"),
    [
        ({}, [2, 192, 256, 3], 3),
        ({"kind": "face", "scale": 1, "side": 32}, [2, 32, 32, 3], 3),
        ({"kind": "parser", "scale": 1, "side": 64}, [2, 64, 64, 1], 19),
        ({"kind": "detector", "scale": 1}, [2, 504, 16], 16),
        ({"kind": "damage-detector", "scale": 1}, [2, 96, 128, 1], 1),
        ({"kind": "repairer", "scale": 1}, [2, 96, 128, 3], 3),
    ],
)
def test_the_metadata_states_the_shapes_of_outputs(
    facts: dict[str, Any], shape: list[int], means: int
) -> None:
    outputs = expected_outputs(subject_of(**facts))
    assert outputs["restored"][0] == shape
    assert outputs["channel_means"] == ([2, means], "float32")


def test_one_size_is_set_in_a_copy() -> None:
    subject = subject_of()
    sized = with_size(subject)
    dims = sized.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims] == [2, 96, 128, 3]
    assert subject.model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert isinstance(sized, onnx.ModelProto)


def test_what_parses_as_the_metadata_states_has_no_fault() -> None:
    subject = subject_of()
    harmless = {"x: TensorRT does not natively support INT64. Attempting to cast": 1}
    made = parsed(subject, log=harmless)
    assert find_faults(subject, made, made) == []


@pytest.mark.parametrize(
    ("others", "fault"),
    [
        ({"parsed": False, "errors": {"node 52: UINT8": 1}}, "refused: node 52: UINT8"),
        ({"faults": {"reshape of (2,3) to (7)": 1}}, "reshape of (2,3) to (7)"),
        ({"log": {"a warning": 1}}, "a warning"),
        (
            {"outputs": {"restored": {"shape": [-1] * 6, "type": "float32"}}},
            "restored of any size must fit [2, 192, 256, 3], got [-1, -1, -1, -1, -1, -1]",
        ),
    ],
)
def test_what_the_parser_refuses_or_misreads_is_a_fault(others: dict[str, Any], fault: str) -> None:
    subject = subject_of()
    assert fault in find_faults(subject, parsed(subject, **others), parsed(subject))


def test_a_wrong_size_or_type_of_an_output_is_a_fault() -> None:
    subject = subject_of()
    made = parsed(subject)
    made["outputs"] = made["outputs"] | {"restored": {"shape": [2, 96, 128, 3], "type": "float32"}}
    (fault,) = find_faults(subject, parsed(subject), made)
    assert fault == ("restored must be uint8 [2, 192, 256, 3], got float32 [2, 96, 128, 3]")


def test_a_change_of_layers_shows() -> None:
    before = [{"name": "a", "layers": {"cast": 2, "slice": 1}}, {"name": "b", "layers": {}}]
    after = [{"name": "a", "layers": {"cast": 3}}, {"name": "c", "layers": {}}]
    assert find_changes(before, before) == []
    assert find_changes(before, after) == [
        "a: cast 2 -> 3, slice 1 -> 0",
        "b: recorded, but not parsed",
        "c: not recorded",
    ]


def test_methods_of_several_lines_are_read() -> None:
    methods = read_methods("virtual bool\n setIt(Dims a,\n int b) noexcept\n = 0;")
    (method,) = methods
    assert (method.returns, method.name, method.arguments) == ("bool", "setIt", "Dims a, int b")


def test_setters_of_layers_are_stored_and_functions_without_a_record_report() -> None:
    made = make_classes(HEADER, KINDS)
    for line in (
        "struct StoredSliceLayer : apiv::VSliceLayer {",
        "  Dims mStart{};",
        "  void setStart(Dims start) noexcept override { mStart = start; }",
        "  Dims getStart() const noexcept override { return mStart; }",
        "  std::string mName{};",
        "  bool setName(char const* name) noexcept override { mName = name; return true; }",
        "  char const* getName() const noexcept override { return mName.c_str(); }",
        "  void setScales(float const* scales, int32_t nbScales) noexcept override {}",
        "  IPlugin& getPlugin() noexcept override { std::abort(); }",
        '    case 23: return "slice";',
    ):
        assert line in made.splitlines(), line
    assert '{ report("addSlice is not recorded"); return nullptr; }' in made
    assert "StoredTensor" not in made


def test_each_family_in_each_precision_is_recorded_with_its_layers() -> None:
    rows = {row["name"]: row for row in json.loads(RECORDED.read_text())["rows"]}
    precisions = dict.fromkeys(UPSAMPLERS, ("fp32", "fp16", "mixed", "int8"))
    precisions |= dict.fromkeys(FACES, ("fp32", "fp16", "mixed"))
    wanted = {f"{name}, fp32, uint8" for name in OTHERS}
    wanted |= {
        f"{name}, {precision}, {io}"
        for name, each in precisions.items()
        for precision in each
        for io in ("uint8", "float32")
    }
    assert wanted <= rows.keys()
    assert {name for name in rows if name.endswith(".onnx")} >= {"restora-lite-x2.onnx"}
    for row in rows.values():
        assert sum(row["layers"].values()) > 10, row["name"]
        assert row["outputs"]["restored"]["shape"][0] == 2, row["name"]
