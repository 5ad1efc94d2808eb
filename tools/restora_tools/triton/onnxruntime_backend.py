"""Stands in for Triton's ONNX Runtime backend, which the wheel of the server does not hold.

A backend in Python at the place of the real one, so that configurations with the platform
onnxruntime_onnx load unchanged; accelerators are ignored. As the real one, it compares the tensors
of a configuration with those of the graph when a model is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

_TYPES = {
    "TYPE_UINT8": "tensor(uint8)",
    "TYPE_FP16": "tensor(float16)",
    "TYPE_FP32": "tensor(float)",
}


class TritonPythonModel:
    """One instance of one ONNX model."""

    @staticmethod
    def auto_complete_config(config: Any) -> Any:
        return config

    def initialize(self, args: Mapping[str, str]) -> None:
        config = json.loads(args["model_config"])
        given = {key: value["string_value"] for key, value in config["parameters"].items()}
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = int(given.get("intra_op_thread_count", "0"))
        file = config["default_model_filename"] or "model.onnx"
        path = Path(args["model_repository"], args["model_version"], file)
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise pb_utils.TritonModelException(f"{path.name}: {error}") from error
        self._batches = config["max_batch_size"] > 0
        self._check(config["input"], self._session.get_inputs())
        self._check(config["output"], self._session.get_outputs())
        self._names = [output["name"] for output in config["output"]]

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Requests of one call have equal shapes, and run together."""
        inputs = [{one.name(): one.as_numpy() for one in each.inputs()} for each in requests]
        if not self._batches:
            return [self._respond(self._session.run(self._names, each)) for each in inputs]
        whole = {name: np.concatenate([each[name] for each in inputs]) for name in inputs[0]}
        results = self._session.run(self._names, whole)
        ends = np.cumsum([len(next(iter(each.values()))) for each in inputs])[:-1]
        parts = zip(*(np.split(result, ends) for result in results), strict=True)
        return [self._respond(part) for part in parts]

    def _respond(self, values: Sequence[Any]) -> Any:
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor(name, np.ascontiguousarray(value))
                for name, value in zip(self._names, values, strict=True)
            ]
        )

    def _check(self, configured: Sequence[Mapping[str, Any]], graph: Sequence[Any]) -> None:
        by_name = {tensor.name: tensor for tensor in graph}
        for one in configured:
            found = by_name.get(one["name"])
            dims = [-1] * self._batches + [int(dim) for dim in one["dims"]]
            real = found and [dim if isinstance(dim, int) else -1 for dim in found.shape]
            if found is None or found.type != _TYPES.get(one["data_type"]) or dims != real:
                raise pb_utils.TritonModelException(
                    f"tensor '{one['name']}': the configuration has {one['data_type']} {dims}, "
                    f"the graph {found and found.type} {real}"
                )
