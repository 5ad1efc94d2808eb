"""Facts about the messages of gRPC: they are those of the published definition."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("google.protobuf")
from restora.serve.v2.messages import CLASSES, METHODS, STREAM


def published() -> Any:
    return pytest.importorskip("tritonclient.grpc.service_pb2")


def find_published(name: str) -> Any:
    package: Any = published().DESCRIPTOR
    config = pytest.importorskip("tritonclient.grpc.model_config_pb2").DESCRIPTOR
    first, *rest = name.split(".")
    found = package.message_types_by_name.get(first) or config.message_types_by_name[first]
    for part in rest:
        found = found.nested_types_by_name[part]
    return found


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_each_field_has_the_number_and_the_type_that_clients_expect(name: str) -> None:
    theirs = find_published(name).fields_by_name
    for field in CLASSES[name].DESCRIPTOR.fields:
        other = theirs[field.name]
        assert field.number == other.number
        assert field.type == other.type
        assert repeated(field) == repeated(other)
        if field.message_type is not None:
            assert field.message_type.name == other.message_type.name
        if field.enum_type is not None:
            numbers = {value.name: value.number for value in other.enum_type.values}
            assert all(numbers[v.name] == v.number for v in field.enum_type.values)


def repeated(field: Any) -> bool:
    value = getattr(field, "is_repeated", None)  # before protobuf 6.31 there is only the label
    return bool(field.label == field.LABEL_REPEATED) if value is None else bool(value)


def test_methods_are_those_of_the_service() -> None:
    (service,) = published().DESCRIPTOR.services_by_name.values()
    for name in METHODS:
        method = service.methods_by_name[name]
        assert method.input_type.name == f"{name}Request"
        assert method.output_type.name == f"{name}Response"
    assert service.methods_by_name[STREAM].input_type.name == "ModelInferRequest"


def test_a_message_of_a_client_is_read_as_it_was_written() -> None:
    theirs = published().ModelInferRequest(model_name="net", id="7")
    theirs.parameters["timeout"].int64_param = 5
    tensor = theirs.inputs.add(name="image", datatype="UINT8", shape=[1, 2, 2, 3])
    tensor.contents.uint_contents.extend([1, 2])
    theirs.raw_input_contents.append(b"raw")
    ours = CLASSES["ModelInferRequest"].FromString(theirs.SerializeToString())
    assert ours.parameters["timeout"].WhichOneof("parameter_choice") == "int64_param"
    assert list(ours.inputs[0].shape) == [1, 2, 2, 3]
    assert published().ModelInferRequest.FromString(ours.SerializeToString()) == theirs
