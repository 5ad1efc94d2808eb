"""The messages and fields of an ONNX file that are accepted, and those that are refused.

Numbers and names come from onnx.proto of ONNX 1.23. A field in neither table is unknown and is
refused too, since a later runtime may give it a meaning.
"""

from dataclasses import dataclass

from restora.artifact.protobuf_wire import BYTES, FIXED32, FIXED64, VARINT

WIRE_TYPES: dict[str, int] = {
    "int": VARINT,
    "float": FIXED32,
    "double": FIXED64,
    "string": BYTES,
    "bytes": BYTES,
}


@dataclass(frozen=True, slots=True)
class Field:
    """kind: of a scalar, or the name of a message; "int" stands for enumerations and both signs."""

    name: str
    kind: str
    repeated: bool = False

    @property
    def is_message(self) -> bool:
        return self.kind not in WIRE_TYPES

    @property
    def is_number(self) -> bool:
        return self.kind in ("int", "float", "double")

    @property
    def wire_type(self) -> int:
        return WIRE_TYPES.get(self.kind, BYTES)


def _one(name: str, kind: str = "string") -> Field:
    return Field(name, kind)


def _many(name: str, kind: str = "string") -> Field:
    return Field(name, kind, repeated=True)


_NOTES = _many("metadata_props", "StringStringEntryProto")

FIELDS: dict[str, dict[int, Field]] = {
    "ModelProto": {
        1: _one("ir_version", "int"),
        2: _one("producer_name"),
        3: _one("producer_version"),
        4: _one("domain"),
        5: _one("model_version", "int"),
        6: _one("doc_string"),
        7: _one("graph", "GraphProto"),
        8: _many("opset_import", "OperatorSetIdProto"),
        14: _NOTES,
    },
    "OperatorSetIdProto": {1: _one("domain"), 2: _one("version", "int")},
    "StringStringEntryProto": {1: _one("key"), 2: _one("value")},
    "GraphProto": {
        1: _many("node", "NodeProto"),
        2: _one("name"),
        5: _many("initializer", "TensorProto"),
        10: _one("doc_string"),
        11: _many("input", "ValueInfoProto"),
        12: _many("output", "ValueInfoProto"),
        13: _many("value_info", "ValueInfoProto"),
        16: _NOTES,
    },
    "NodeProto": {
        1: _many("input"),
        2: _many("output"),
        3: _one("name"),
        4: _one("op_type"),
        5: _many("attribute", "AttributeProto"),
        6: _one("doc_string"),
        7: _one("domain"),
        9: _NOTES,
    },
    "AttributeProto": {
        1: _one("name"),
        2: _one("f", "float"),
        3: _one("i", "int"),
        4: _one("s", "bytes"),
        5: _one("t", "TensorProto"),
        7: _many("floats", "float"),
        8: _many("ints", "int"),
        9: _many("strings", "bytes"),
        13: _one("doc_string"),
        20: _one("type", "int"),
    },
    "TensorProto": {
        1: _many("dims", "int"),
        2: _one("data_type", "int"),
        4: _many("float_data", "float"),
        5: _many("int32_data", "int"),
        7: _many("int64_data", "int"),
        8: _one("name"),
        9: _one("raw_data", "bytes"),
        10: _many("double_data", "double"),
        11: _many("uint64_data", "int"),
        12: _one("doc_string"),
        14: _one("data_location", "int"),
        16: _NOTES,
    },
    "ValueInfoProto": {
        1: _one("name"),
        2: _one("type", "TypeProto"),
        3: _one("doc_string"),
        4: _NOTES,
    },
    "TypeProto": {1: _one("tensor_type", "TypeProto.Tensor"), 6: _one("denotation")},
    "TypeProto.Tensor": {1: _one("elem_type", "int"), 2: _one("shape", "TensorShapeProto")},
    "TensorShapeProto": {1: _many("dim", "TensorShapeProto.Dimension")},
    "TensorShapeProto.Dimension": {
        1: _one("dim_value", "int"),
        2: _one("dim_param"),
        3: _one("denotation"),
    },
}

EXTERNAL = "keeps tensors in other files; only self-contained ONNX files are loaded"
_SPARSE = "holds a sparse tensor, which no network of restora has"
_NESTED = "holds a graph within a graph, which no network of restora has"
_FUNCTION = "holds local functions, which no network of restora has"
_TYPE = "holds a type that is not a plain tensor"
_DEVICES = "is split over several devices, which no network of restora is"

# the reason why a known field is refused
REFUSED: dict[str, dict[int, str]] = {
    "ModelProto": {
        20: "holds training information: export the network for inference",
        25: _FUNCTION,
        26: _DEVICES,
    },
    "GraphProto": {
        14: "holds quantization annotations; INT8 networks of restora hold QuantizeLinear nodes",
        15: _SPARSE,
    },
    "NodeProto": {8: _FUNCTION, 10: _DEVICES},
    "AttributeProto": {
        6: _NESTED,
        10: "holds a list of tensors as an attribute, which no network of restora has",
        11: _NESTED,
        14: _TYPE,
        15: _TYPE,
        21: _FUNCTION,
        22: _SPARSE,
        23: _SPARSE,
    },
    "TensorProto": {
        3: "holds a tensor in segments, which no network of restora does",
        6: "holds a tensor of strings, which no network of restora does",
        13: EXTERNAL,
    },
    "TypeProto": dict.fromkeys((4, 5, 7, 8, 9), _TYPE),
}
