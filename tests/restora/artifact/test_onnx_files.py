"""Facts about what of an ONNX file a runtime may see: what restora writes, and nothing else."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from restora.artifact import Artifact, artifact_from_bytes
from restora.artifact.onnx_schema import FIELDS, REFUSED
from restora.artifact.onnx_wire import read_onnx_facts
from restora.artifact.protobuf_wire import BYTES, FIXED32, FIXED64, VARINT
from restora.backends.openvino_core import get_core
from restora.errors import ArtifactError

EXTERNAL = "keeps tensors in other files"
WIRE = {
    FieldDescriptor.TYPE_FLOAT: FIXED32,
    FieldDescriptor.TYPE_DOUBLE: FIXED64,
    FieldDescriptor.TYPE_STRING: BYTES,
    FieldDescriptor.TYPE_BYTES: BYTES,
    FieldDescriptor.TYPE_MESSAGE: BYTES,
}


@pytest.fixture
def model(tiny_x2: Artifact) -> onnx.ModelProto:
    return onnx.load_from_string(tiny_x2.onnx)


def refuse(model: onnx.ModelProto | bytes, message: str) -> None:
    data = model if isinstance(model, bytes) else model.SerializeToString()
    with pytest.raises(ArtifactError, match=message):
        artifact_from_bytes(data)


def iter_messages(descriptor: Descriptor) -> Iterator[Descriptor]:
    yield descriptor
    for nested in descriptor.nested_types:
        yield from iter_messages(nested)


MESSAGES = {
    message.full_name.removeprefix("onnx."): message
    for top in onnx.onnx_ml_pb2.DESCRIPTOR.message_types_by_name.values()
    for message in iter_messages(top)
}


@pytest.mark.parametrize("kind", FIELDS)
def test_every_field_of_the_onnx_package_is_read_or_refused_on_purpose(kind: str) -> None:
    known, refused = FIELDS[kind], REFUSED.get(kind, {})
    assert not known.keys() & refused.keys()
    # a field of a later ONNX is refused as unknown until somebody has judged it
    assert known.keys() | refused.keys() == {field.number for field in MESSAGES[kind].fields}
    for field in MESSAGES[kind].fields:
        if field.number in known:
            ours = known[field.number]
            assert ours.name == field.name
            assert ours.repeated == field.is_repeated
            assert ours.wire_type == WIRE.get(field.type, VARINT)
            if field.message_type is not None:
                assert ours.kind == field.message_type.full_name.removeprefix("onnx.")


@pytest.mark.parametrize(
    "name", ["restora-lite-x2", *(f"restora-lite-x2.{p}" for p in ("fp16", "int8", "float32"))]
)
def test_what_restora_writes_is_read(name: str) -> None:
    data = (files("restora") / "data" / f"{name}.onnx").read_bytes()
    properties = onnx.load_from_string(data).metadata_props
    assert read_onnx_facts(data).metadata == {entry.key: entry.value for entry in properties}


# ---- tensors in other files ----


def outside() -> onnx.TensorProto:
    tensor = TensorProto(name="stolen", data_type=TensorProto.FLOAT, dims=[3])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="etc/passwd")
    return tensor


def sparse_outside() -> onnx.SparseTensorProto:
    indices = numpy_helper.from_array(np.arange(3, dtype=np.int64), "indices")
    return onnx.SparseTensorProto(values=outside(), indices=indices, dims=[3])


def branch(*nodes: onnx.NodeProto, tensors: list[onnx.TensorProto]) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "branch", [], [], tensors)


def in_constant(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["stolen"], value=outside()))


def in_sparse_constant(model: onnx.ModelProto) -> None:
    node = helper.make_node("Constant", [], ["stolen"], sparse_value=sparse_outside())
    model.graph.node.append(node)


def in_function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Constant", [], ["y"], value=outside())
    opset = helper.make_opsetid("", 17)
    model.functions.append(helper.make_function("f", "F", [], ["y"], [node], [opset]))


def in_function_default(model: onnx.ModelProto) -> None:
    in_function(model)
    del model.functions[0].node[:]
    model.functions[0].attribute_proto.append(helper.make_attribute("a", outside()))


def in_training(model: onnx.ModelProto) -> None:
    model.training_info.add().algorithm.initializer.append(outside())


def in_branch(model: onnx.ModelProto) -> None:
    inner = branch(tensors=[outside()])
    node = helper.make_node("If", ["yes"], ["out"], then_branch=inner, else_branch=inner)
    model.graph.node.append(node)


def in_list(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("list", [outside()]))


def in_sparse_list(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("list", [sparse_outside()]))


def in_sparse_initializer(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.append(sparse_outside())


def without_entries(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(outside())
    del model.graph.initializer[-1].external_data[:]


def without_the_mark(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(outside())
    model.graph.initializer[-1].ClearField("data_location")


PLACES: dict[Callable[[onnx.ModelProto], None], str] = {
    in_constant: EXTERNAL,
    without_entries: EXTERNAL,
    without_the_mark: EXTERNAL,
    in_sparse_constant: "sparse tensor",
    in_sparse_list: "sparse tensor",
    in_sparse_initializer: "sparse tensor",
    in_function: "local functions",
    in_function_default: "local functions",
    in_training: "training information",
    in_branch: "graph within a graph",
    in_list: "list of tensors",
}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_no_part_of_a_model_may_lie_in_another_file(
    place: Callable[[onnx.ModelProto], None], model: onnx.ModelProto
) -> None:
    place(model)
    refuse(model, PLACES[place])


def walk(message: Message) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if field.is_repeated else [value]:
                yield from walk(part)


def grow(draw: st.DataObject, message: Message, depth: int) -> bool:
    """Add messages under `message` until one of them is a tensor, which gets data outside."""
    if isinstance(message, TensorProto):
        message.external_data.add(key="location", value="etc/passwd")
        if draw.draw(st.booleans()):
            message.data_location = TensorProto.EXTERNAL
        return True
    fields = [field for field in message.DESCRIPTOR.fields if field.message_type is not None]
    if depth == 0 or not fields:
        return False
    field = draw.draw(st.sampled_from(fields), label=message.DESCRIPTOR.name)
    part = getattr(message, field.name)
    if field.is_repeated:
        part = part.add()
    return grow(draw, part, depth - 1)


@settings(max_examples=300)
@given(draw=st.data())
def test_external_data_is_refused_wherever_it_is_put(
    draw: st.DataObject, tiny_x2: Artifact
) -> None:
    model = onnx.load_from_string(tiny_x2.onnx)
    messages = list(walk(model))
    start = draw.draw(st.sampled_from(messages), label="start")
    if grow(draw, start, depth=6):
        refuse(model, ".")


# ---- what only one of two readers would see ----


def varint(number: int) -> bytes:
    out = b""
    while number >= 0x80:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def field(number: int, payload: bytes | int) -> bytes:
    if isinstance(payload, int):
        return varint(number << 3) + varint(payload)
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def with_tensor(model: onnx.ModelProto, tensor: bytes) -> bytes:
    """The model with one more initializer, byte for byte."""
    graph = model.graph.SerializeToString() + field(5, tensor)
    model.ClearField("graph")
    return model.SerializeToString() + field(7, graph)


TENSOR = field(1, 1) + field(2, 1) + field(8, b"more") + field(9, bytes(4))


def test_a_tensor_of_bytes_is_read_as_the_test_writes_it(model: onnx.ModelProto) -> None:
    assert artifact_from_bytes(with_tensor(model, TENSOR)).info.model == "tiny"


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (TENSOR + field(14, 1) + field(14, 0), EXTERNAL + "|two values for data_location"),
        (TENSOR + field(14, 0) + field(14, 0), "two values for data_location"),
        (TENSOR + field(14, 1), EXTERNAL),
        (TENSOR + field(14, (1 << 32) + 1), EXTERNAL),  # protobuf keeps the lower 32 bits
        (TENSOR + field(13, b""), EXTERNAL),
        (TENSOR + field(13, 7), EXTERNAL),
        (TENSOR + field(9, bytes(4)), "two values for raw_data"),
        (TENSOR + field(15, 1), "holds field 15 of TensorProto, which is unknown"),
        (TENSOR + field(3, b""), "in segments"),
        (TENSOR + field(6, b"word"), "tensor of strings"),
        (TENSOR + b"\x73\x74", "wire type 3"),  # field 14 as a group
        (TENSOR + b"\x70\x80\x00", "more bytes than necessary"),
        (TENSOR + b"\xf0\x00\x00", "more bytes than necessary"),
        (TENSOR + b"\x70" + b"\xff" * 9 + b"\x02", "larger than 64 bits"),
        (TENSOR + b"\x70", "ends within a number"),
        (TENSOR + field(12, b"\xff"), "not text"),
        (TENSOR + field(8, 5), "two values for name|name has wire type 0"),
        (TENSOR + b"\x65\0\0\0\0", "doc_string has wire type 5"),
        (TENSOR + b"\x62\x7f", "extends past the end"),
    ],
)
def test_bytes_that_two_readers_could_read_differently_are_refused(
    tensor: bytes, message: str, model: onnx.ModelProto
) -> None:
    refuse(with_tensor(model, tensor), message)


def test_a_second_graph_is_refused_as_protobuf_would_merge_it(tiny_x2: Artifact) -> None:
    graph = onnx.GraphProto(initializer=[outside()])
    refuse(tiny_x2.onnx + field(7, b""), "two values for graph")
    refuse(tiny_x2.onnx + field(7, graph.SerializeToString()), "two values for graph")


def test_two_entries_of_one_name_are_refused(model: onnx.ModelProto) -> None:
    model.metadata_props.append(model.metadata_props[0])
    refuse(model, "two entries 'restora'")


def test_more_fields_than_a_network_has_are_refused(
    tiny_x2: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restora.artifact.onnx_wire.MAX_FIELDS", 50)
    refuse(tiny_x2.onnx, "more than 50 fields")


def test_two_versions_of_the_standard_operators_are_refused(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("ai.onnx", 13))
    refuse(model, "must name one version of the standard operators, this one names 2")
    del model.opset_import[:]
    refuse(model, "this one names 0")


NUMBERS = st.integers(0, 30) | st.integers(0, 1 << 64)
PIECES = st.one_of(
    st.builds(lambda number, value: varint(number << 3) + varint(value), NUMBERS, NUMBERS),
    st.builds(field, st.integers(1, 30), st.binary(max_size=9)),
    st.builds(field, st.sampled_from([5, 7, 13, 14, 15, 20, 22, 25]), st.just(TENSOR)),
    st.builds(lambda size: field(13, 1) * size, st.integers(1, 3)),
    st.binary(min_size=1, max_size=4),
)


@settings(max_examples=400)
@given(draw=st.data())
def test_what_is_read_is_what_protobuf_reads(draw: st.DataObject, tiny_x2: Artifact) -> None:
    """A file that passes holds, to protobuf too, nothing that had to be refused."""
    data = bytearray(tiny_x2.onnx)
    for _ in range(draw.draw(st.integers(1, 3))):
        start = draw.draw(st.integers(0, len(data)))
        data[start : start + draw.draw(st.integers(0, 4))] = draw.draw(PIECES)
    try:
        read_onnx_facts(bytes(data))
    except ArtifactError:
        return
    model = onnx.load_from_string(bytes(data))
    for message in walk(model):
        fields = FIELDS[message.DESCRIPTOR.full_name.removeprefix("onnx.")]
        assert {descriptor.number for descriptor, _ in message.ListFields()} <= fields.keys()
        if isinstance(message, TensorProto):
            assert not onnx.external_data_helper.uses_external_data(message)


# ---- claims against data ----


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (field(1, 1 << 31) + field(2, 1) + field(9, b""), r"must have 2147483648 values in raw_d"),
        (field(1, 1 << 40) + field(2, 1), "at most 2147483648 elements"),
        (field(1, (1 << 64) - 1) + field(2, 1), "at most 2147483648 elements"),
        (field(1, 0) + field(1, 1 << 62) + field(2, 1), "at most 2147483648 elements"),
        (field(1, varint(65536) * 2 + varint(0)) + field(1, 9) + field(2, 7), "at most 21474"),
        (field(1, varint(1) * 9) + field(2, 1) + field(9, bytes(4)), "more than 8 dimensions"),
        (field(1, 1) * 9 + field(2, 1) + field(9, bytes(4)), "more than 8 dimensions"),
        (field(1, 2) + field(2, 1) + field(9, bytes(4)), "must have 2 values .* got 1 in raw_data"),
        (field(1, 1) + field(2, 1) + field(9, bytes(5)), "got 1 in raw_data"),
        (field(1, 1) + field(2, 1), "must have 1 values in raw_data or float_data, got none"),
        (field(1, 1) + field(2, 1) + field(5, 7), "got 1 in int32_data"),
        (TENSOR + field(4, bytes(4)), "got 1 in float_data and 1 in raw_data"),
        (TENSOR + field(4, bytes(5)), "ends 1 bytes into a number"),
        (field(1, 2) + field(2, 7) + field(7, b"\x01\x80"), "ends within a number"),
        (field(1, 1) + field(2, 8) + field(9, b""), "data type 8"),
        (field(1, 1) + field(2, (1 << 32) + 1) + field(9, bytes(4)), "data type 4294967297"),
    ],
)
def test_a_tensor_holds_the_data_of_its_shape(
    tensor: bytes, message: str, model: onnx.ModelProto
) -> None:
    refuse(with_tensor(model, tensor), message)


@pytest.mark.parametrize("kind", ["FLOAT", "INT8", "INT32", "INT64", "FLOAT16", "DOUBLE", "UINT64"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_numbers_are_read_in_their_own_fields_too(
    kind: str, shape: tuple[int, ...], model: onnx.ModelProto
) -> None:
    values = np.arange(np.prod(shape, dtype=int)) + 130 * (kind != "INT8")
    number = getattr(TensorProto, kind)
    model.graph.initializer.append(helper.make_tensor("more", number, shape, values))
    artifact_from_bytes(model.SerializeToString())


# ---- operators ----


def test_operators_of_other_makers_are_refused(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.microsoft"
    refuse(model, r"operators of 'com\.microsoft'; only those of standard ONNX")
    model.graph.node[0].domain = "ai.onnx"
    artifact_from_bytes(model.SerializeToString())
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    refuse(model, r"operators of 'ai\.onnx\.ml'")


@pytest.mark.parametrize("operator", ["Loop", "RandomNormal", "ConstantOfShape", "Range", ""])
def test_operators_that_no_network_has_are_refused(operator: str, model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = operator
    refuse(model, f"the operator '{operator}', which no network of restora has")


# ---- files that are of two formats ----


def test_a_file_that_openvino_takes_for_its_own_is_refused(model: onnx.ModelProto) -> None:
    """It would run another network than the one that was checked."""
    image = openvino.opset8.parameter([1, 8, 8, 3], np.float32, name="image")
    other = openvino.Model([openvino.opset8.relu(image)], [image], "other")
    xml = xml_of(other)
    model.producer_name = xml
    read = get_core().read_model(model.SerializeToString())
    assert read.get_friendly_name() == "other"
    refuse(model, "the mark of OpenVINO's file format")
    model.producer_name = xml.replace("<net", "<!-- hidden --><NET").replace("</net", "</NET")
    refuse(model, "the mark of OpenVINO's file format")


def xml_of(model: openvino.Model) -> str:

    with tempfile.TemporaryDirectory() as folder:
        openvino.save_model(model, f"{folder}/model.xml")
        return (Path(folder) / "model.xml").read_text()


@pytest.mark.parametrize("mark", ["ORTM", "TFL3"])
def test_a_file_that_bears_another_formats_mark_is_refused(
    mark: str, model: onnx.ModelProto
) -> None:
    model.producer_name = f"{mark}, in bytes 4 to 8"
    assert model.SerializeToString()[4:8] == mark.encode()
    refuse(model, "mark of .* file format, which is not ONNX")
