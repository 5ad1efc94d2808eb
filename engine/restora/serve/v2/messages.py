"""Messages of the protocol over gRPC, made from its definition when this module is imported.

Definition: grpc_service.proto and model_config.proto of github.com/triton-inference-server/common,
of which this is the part that the service uses; fields that it does not know are ignored, as
protobuf does. They are kept in a pool of their own, so that generated code of the same package,
such as tritonclient's, can be imported into the same process, and no generated code depends on the
version of protobuf.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

Fields = dict[str, tuple[int, str]]  # number and type; "*" marks repeated fields, "map:" maps

_NAME_AND_VERSION: Fields = {"name": (1, "string"), "version": (2, "string")}
_TENSOR: Fields = {
    "name": (1, "string"),
    "datatype": (2, "string"),
    "shape": (3, "*int64"),
    "parameters": (4, "map:InferParameter"),
    "contents": (5, "InferTensorContents"),
}
_ANSWER: Fields = {
    "model_name": (1, "string"),
    "model_version": (2, "string"),
    "id": (3, "string"),
    "parameters": (4, "map:InferParameter"),
}
_MESSAGES: dict[str, Fields] = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": (1, "bool")},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": (1, "bool")},
    "ModelReadyRequest": _NAME_AND_VERSION,
    "ModelReadyResponse": {"ready": (1, "bool")},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {**_NAME_AND_VERSION, "extensions": (3, "*string")},
    "ModelMetadataRequest": _NAME_AND_VERSION,
    "ModelMetadataResponse": {
        "name": (1, "string"),
        "versions": (2, "*string"),
        "platform": (3, "string"),
        "inputs": (4, "*ModelMetadataResponse.TensorMetadata"),
        "outputs": (5, "*ModelMetadataResponse.TensorMetadata"),
    },
    "ModelMetadataResponse.TensorMetadata": {
        "name": (1, "string"),
        "datatype": (2, "string"),
        "shape": (3, "*int64"),
    },
    "InferParameter": {  # one of them
        "bool_param": (1, "bool"),
        "int64_param": (2, "int64"),
        "string_param": (3, "string"),
        "double_param": (4, "double"),
        "uint64_param": (5, "uint64"),
    },
    "InferTensorContents": {
        "bool_contents": (1, "*bool"),
        "int_contents": (2, "*int32"),
        "int64_contents": (3, "*int64"),
        "uint_contents": (4, "*uint32"),
        "uint64_contents": (5, "*uint64"),
        "fp32_contents": (6, "*float"),
        "fp64_contents": (7, "*double"),
        "bytes_contents": (8, "*bytes"),
    },
    "ModelInferRequest": {
        **_ANSWER,
        "inputs": (5, "*ModelInferRequest.InferInputTensor"),
        "outputs": (6, "*ModelInferRequest.InferRequestedOutputTensor"),
        "raw_input_contents": (7, "*bytes"),
    },
    "ModelInferRequest.InferInputTensor": _TENSOR,
    "ModelInferRequest.InferRequestedOutputTensor": {
        "name": (1, "string"),
        "parameters": (2, "map:InferParameter"),
    },
    "ModelInferResponse": {
        **_ANSWER,
        "outputs": (5, "*ModelInferResponse.InferOutputTensor"),
        "raw_output_contents": (6, "*bytes"),
    },
    "ModelInferResponse.InferOutputTensor": _TENSOR,
    "ModelStreamInferResponse": {
        "error_message": (1, "string"),
        "infer_response": (2, "ModelInferResponse"),
    },
    "ModelConfigRequest": _NAME_AND_VERSION,
    "ModelConfigResponse": {"config": (1, "ModelConfig")},
    "ModelConfig": {
        "name": (1, "string"),
        "platform": (2, "string"),
        "version_policy": (3, "ModelVersionPolicy"),
        "max_batch_size": (4, "int32"),
        "input": (5, "*ModelInput"),
        "output": (6, "*ModelOutput"),
        "dynamic_batching": (11, "ModelDynamicBatching"),
        "backend": (17, "string"),
        "model_transaction_policy": (19, "ModelTransactionPolicy"),
    },
    "ModelVersionPolicy": {"latest": (1, "ModelVersionPolicy.Latest")},
    "ModelVersionPolicy.Latest": {"num_versions": (1, "uint32")},
    "ModelInput": {"name": (1, "string"), "data_type": (2, "DataType"), "dims": (4, "*int64")},
    "ModelOutput": {"name": (1, "string"), "data_type": (2, "DataType"), "dims": (3, "*int64")},
    "ModelDynamicBatching": {"max_queue_delay_microseconds": (2, "uint64")},
    "ModelTransactionPolicy": {"decoupled": (1, "bool")},
    "ModelStatisticsRequest": _NAME_AND_VERSION,
    "ModelStatisticsResponse": {"model_stats": (1, "*ModelStatistics")},
    "ModelStatistics": {
        **_NAME_AND_VERSION,
        "last_inference": (3, "uint64"),
        "inference_count": (4, "uint64"),
        "execution_count": (5, "uint64"),
        "inference_stats": (6, "InferStatistics"),
        "batch_stats": (7, "*InferBatchStatistics"),
    },
    "InferStatistics": {
        name: (number, "StatisticDuration")
        for number, name in enumerate(
            ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"), 1
        )
    },
    "InferBatchStatistics": {"batch_size": (1, "uint64")},
    "StatisticDuration": {"count": (1, "uint64"), "ns": (2, "uint64")},
    "RepositoryIndexRequest": {"repository_name": (1, "string"), "ready": (2, "bool")},
    "RepositoryIndexResponse": {"models": (1, "*RepositoryIndexResponse.ModelIndex")},
    "RepositoryIndexResponse.ModelIndex": {
        "name": (1, "string"),
        "version": (2, "string"),
        "state": (3, "string"),
        "reason": (4, "string"),
    },
}
_ENUMS = {"DataType": {"TYPE_INVALID": 0, "TYPE_UINT8": 2, "TYPE_FP32": 11}}
_ONE_OF = {"InferParameter": "parameter_choice", "ModelVersionPolicy": "policy_choice"}
# all take NAMERequest and give NAMEResponse
METHODS = (
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelInfer",
    "ModelConfig",
    "ModelStatistics",
    "RepositoryIndex",
)
STREAM = "ModelStreamInfer"  # ModelInferRequests in, ModelStreamInferResponses out


def _make_classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="restora/open_inference.proto", package=PACKAGE, syntax="proto3"
    )
    for name, values in _ENUMS.items():
        enum = file.enum_type.add(name=name)
        for value, number in values.items():
            enum.value.add(name=value, number=number)
    nodes: dict[str, Any] = {}
    for name, fields in _MESSAGES.items():
        outer, _, own = name.rpartition(".")
        into = nodes[outer].nested_type if outer else file.message_type
        nodes[name] = into.add(name=own)
        _add_fields(nodes[name], name, fields)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in _MESSAGES
    }


def _add_fields(node: Any, message: str, fields: Fields) -> None:
    kinds = descriptor_pb2.FieldDescriptorProto
    if message in _ONE_OF:
        node.oneof_decl.add(name=_ONE_OF[message])
    for name, (number, kind) in fields.items():
        field = node.field.add(name=name, number=number, label=kinds.LABEL_OPTIONAL)
        if kind.startswith("*"):
            field.label = kinds.LABEL_REPEATED
        if kind.startswith("map:"):
            field.label = kinds.LABEL_REPEATED
            _set_type(field, f"{message}.{_add_map_entry(node, name, kind.removeprefix('map:'))}")
            continue
        _set_type(field, kind.removeprefix("*"))
        if message in _ONE_OF:
            field.oneof_index = 0


def _add_map_entry(node: Any, field: str, kind: str) -> str:
    """A map is a list of messages with a key and a value."""
    name = "".join(part.capitalize() for part in field.split("_")) + "Entry"
    entry = node.nested_type.add(name=name)
    entry.options.map_entry = True
    optional = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
    _set_type(entry.field.add(name="key", number=1, label=optional), "string")
    _set_type(entry.field.add(name="value", number=2, label=optional), kind)
    return name


def _set_type(field: Any, kind: str) -> None:
    kinds = descriptor_pb2.FieldDescriptorProto
    if kind in _ENUMS:
        field.type, field.type_name = kinds.TYPE_ENUM, f".{PACKAGE}.{kind}"
    elif kind[0].isupper():
        field.type, field.type_name = kinds.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    else:
        field.type = getattr(kinds, f"TYPE_{kind.upper()}")


CLASSES = _make_classes()
