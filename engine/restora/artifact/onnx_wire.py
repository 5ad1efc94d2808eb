"""Parse every message of an ONNX file, and refuse everything that networks of restora do not use.

This module reads untrusted bytes before protobuf and the runtimes do, and it works on machines
without the onnx package (Jetson), so it does not use onnx.load. It does not bound what the
operators compute: a network can still be slow or return large results.
"""

from dataclasses import dataclass
from typing import Any

from restora.artifact.onnx_schema import FIELDS, REFUSED, Field
from restora.artifact.onnx_tensor import check_tensor
from restora.artifact.protobuf_wire import BYTES, count_packed, iter_fields
from restora.errors import ArtifactError

# a network of 100 MB has about 100,000
MAX_FIELDS = 500_000
STANDARD_DOMAINS = ("", "ai.onnx")
# Operators of the exporter and the INT8 calibration, and similar ones. None of them contains a
# graph, loops, draws random numbers or reads a file.
_OPERATORS = """
    Abs Add And ArgMax AveragePool BatchNormalization Cast Ceil Clip Concat Constant Conv
    ConvTranspose DepthToSpace DequantizeLinear Div Elu Equal Erf Exp Expand Flatten Floor
    Gather Gemm GlobalAveragePool Greater HardSigmoid HardSwish Identity InstanceNormalization
    LayerNormalization LeakyRelu Less Log MatMul Max MaxPool Mean Min Mul Neg Not Or PRelu Pad
    Pow QuantizeLinear Reciprocal ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare Relu Reshape Resize Round Selu Shape Sigmoid Sign Slice Softmax Softplus
    SpaceToDepth Split Sqrt Squeeze Sub Sum Tanh Transpose Unsqueeze Where
"""
OPERATORS = frozenset(_OPERATORS.split())
# OpenVINO searches the first 512 bytes for its own format
_HEADER_BYTES = 4096
_FLATBUFFERS = {b"ORTM": "ONNX Runtime's own", b"TFL3": "TensorFlow Lite's"}


@dataclass(frozen=True, slots=True)
class OnnxFacts:
    """metadata: the file's key-value pairs."""

    metadata: dict[str, str]


def read_onnx_facts(data: bytes) -> OnnxFacts:
    """Raises ArtifactError, with the reason and the place, if the bytes are not an ONNX file or
    contain anything that networks of restora do not use.
    """
    _refuse_other_formats(data)
    walk = _Walk()
    try:
        model = walk.read(memoryview(data), "ModelProto", "model")
    except ArtifactError:
        raise
    except ValueError as error:
        raise ArtifactError(f"not an ONNX file, or a damaged one: {error}") from error
    if "graph" not in model:
        raise ArtifactError("an ONNX file must hold one graph, this one holds 0")
    if model.get("opset_import") != 1:
        # "" and "ai.onnx" are the same domain, and readers disagree which of two versions counts
        raise ArtifactError(
            "an ONNX file must name one version of the standard operators, this one names "
            f"{model.get('opset_import', 0)}"
        )
    return OnnxFacts(walk.metadata)


class _Walk:
    """Reads messages according to onnx_schema, without copying their data."""

    def __init__(self) -> None:
        self.metadata: dict[str, str] = {}
        self._fields = 0

    def read(self, message: memoryview, kind: str, place: str) -> dict[str, Any]:
        """The fields of one message by name: a singular one's value; of repeated numbers, parts
        (see onnx_tensor); of other repeated ones, how many. Raises ArtifactError or ValueError.
        """
        known, values = FIELDS[kind], dict[str, Any]()
        for number, wire_type, value in iter_fields(message):
            self._fields += 1
            if self._fields > MAX_FIELDS:
                raise ArtifactError(f"the ONNX file holds more than {MAX_FIELDS} fields")
            field = known.get(number)
            if field is None:
                raise ArtifactError(_describe_refusal(kind, number, place))
            if field.is_number and field.repeated:
                part = _read_part(field, wire_type, value, place)
                values.setdefault(field.name, []).append(part)
                continue
            if wire_type != field.wire_type:
                raise ValueError(f"{place}.{field.name} has wire type {wire_type}")
            if field.name in values and not field.repeated:
                # protobuf merges them, other readers take the first or the last one
                raise ValueError(f"{place} has two values for {field.name}")
            index = values.get(field.name, 0) if field.repeated else None
            where = f"{place}.{field.name}" if index is None else f"{place}.{field.name}[{index}]"
            content = self._read_content(field, value, where)
            values[field.name] = content if index is None else index + 1
        self._check(kind, values, place)
        return values

    def _read_content(self, field: Field, value: int | memoryview, place: str) -> Any:
        if isinstance(value, int):
            return value
        if field.is_message:
            return self.read(value, field.kind, place)
        if field.kind == "string":
            try:
                return bytes(value).decode()
            except UnicodeDecodeError as error:
                raise ValueError(f"{place} is not text: {error}") from error
        return value

    def _check(self, kind: str, values: dict[str, Any], place: str) -> None:
        if kind == "TensorProto":
            check_tensor(values, place)
        elif kind == "NodeProto":
            _check_operator(values, place)
        elif kind == "OperatorSetIdProto":
            _check_domain(values.get("domain", ""), place)
        elif kind == "StringStringEntryProto" and place.startswith("model.metadata_props"):
            key = values.get("key", "")
            if key in self.metadata:
                raise ArtifactError(f"the metadata of the ONNX file has two entries {key[:80]!r}")
            self.metadata[key] = values.get("value", "")


def _read_part(
    field: Field, wire_type: int, value: int | memoryview, place: str
) -> tuple[int, int | memoryview]:
    """Read one number of a repeated field, or several packed numbers."""
    if wire_type == field.wire_type:
        return 1, value
    if wire_type != BYTES or isinstance(value, int):
        raise ValueError(f"{place}.{field.name} has wire type {wire_type}")
    return count_packed(value, field.wire_type), value


def _describe_refusal(kind: str, number: int, place: str) -> str:
    reason = REFUSED.get(kind, {}).get(number)
    if reason is None:
        reason = f"holds field {number} of {kind}, which is unknown to this version of restora"
    return f"it {reason} ({place})"


def _check_operator(node: dict[str, Any], place: str) -> None:
    _check_domain(node.get("domain", ""), place)
    operator = node.get("op_type", "")
    if operator not in OPERATORS:
        raise ArtifactError(
            f"it holds the operator {operator[:80]!r}, which no network of restora has ({place})"
        )


def _check_domain(domain: str, place: str) -> None:
    if domain not in STANDARD_DOMAINS:
        raise ArtifactError(
            f"it holds operators of {domain[:80]!r}; only those of standard ONNX are run ({place})"
        )


def _refuse_other_formats(data: bytes) -> None:
    """Refuse files that a runtime could take for another format.

    Runtimes recognize formats by marks that a valid ONNX file can contain. Such a file would run as
    another network than the one that was checked.
    """
    owner = _FLATBUFFERS.get(data[4:8])
    if owner is None and b"<net" in data[:_HEADER_BYTES].lower():
        owner = "OpenVINO's"
    if owner is not None:
        raise ArtifactError(f"it contains the mark of {owner} file format, which is not ONNX")
