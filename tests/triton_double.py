"""A stand-in for triton_python_backend_utils: requests to other models run here, at once."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
Network = Callable[[Arrays], "Arrays | str"]  # a text is an error


@dataclass
class FakeServer:
    """Its models, and the shape of each request to one of them, in order."""

    models: dict[str, Network] = field(default_factory=dict)
    requests: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def load(self, repository: Path) -> None:
        """All ONNX models of a repository, on ONNX Runtime."""
        for path in repository.glob("*/1/model.onnx"):
            self.models[path.parents[1].name] = run_onnx(path)

    def infer(self, name: str, inputs: Arrays) -> Arrays | str:
        with self.lock:
            self.requests.append((name, next(iter(inputs.values())).shape))
        if name not in self.models:
            return f"Failed for execute the inference request. Model '{name}' is not ready."
        return self.models[name](inputs)


def run_onnx(path: Path) -> Network:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))


class TritonModelException(Exception):  # noqa: N818  the name is Triton's
    pass


class TritonError:
    INVALID_ARG, UNAVAILABLE, INTERNAL, CANCELLED = "invalid", "unavailable", "internal", "canceled"

    def __init__(self, message: str, code: str = INTERNAL) -> None:
        self._message, self.code = message, code

    def message(self) -> str:
        return self._message


class Tensor:
    def __init__(self, name: str, array: NDArray[Any]) -> None:
        self._name, self._array = name, array

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> NDArray[Any]:
        return self._array


class MisreadingTensor(Tensor):
    """As those of servers that were built for NumPy 1, where NumPy is 2."""

    def as_numpy(self) -> NDArray[Any]:
        return np.zeros_like(self._array)


class InferenceResponse:
    def __init__(
        self, output_tensors: list[Tensor] | None = None, error: TritonError | None = None
    ) -> None:
        self._tensors, self._error = output_tensors or [], error

    def has_error(self) -> bool:
        return self._error is not None

    def error(self) -> TritonError:
        assert self._error is not None
        return self._error

    def output_tensors(self) -> list[Tensor]:
        return self._tensors


class PhotoRequest:
    """What the server hands to restora-photo. canceled: asked before each tile."""

    def __init__(
        self, data: bytes, canceled: Callable[[], bool] = lambda: False, **parameters: object
    ) -> None:
        self.tensor = Tensor("photo", np.array([[data]], dtype=np.object_))
        self._parameters, self._canceled = parameters, canceled

    def parameters(self) -> str:
        return json.dumps({"triton_enable_empty_final_response": False, **self._parameters})

    def is_cancelled(self) -> bool:
        return self._canceled()


@contextmanager
def triton(tensor: type[Tensor] = Tensor) -> Iterator[FakeServer]:
    """A server in whose Python backend this process seems to be, until the block ends."""
    server = FakeServer()

    class InferenceRequest:
        def __init__(
            self,
            model_name: str,
            requested_output_names: list[str],
            inputs: list[Tensor],
            preferred_memory: object,
        ) -> None:
            assert preferred_memory == ("memory", "cpu", 0)
            self._model, self._wanted = model_name, requested_output_names
            self._inputs = {one.name(): one.as_numpy() for one in inputs}

        def exec(self) -> InferenceResponse:
            answer = server.infer(self._model, self._inputs)
            if isinstance(answer, str):
                return InferenceResponse(error=TritonError(answer))
            return InferenceResponse([Tensor(name, answer[name]) for name in self._wanted])

    def tensor_of(response: InferenceResponse, name: str) -> Tensor | None:
        return next((t for t in response.output_tensors() if t.name() == name), None)

    module: Any = ModuleType("triton_python_backend_utils")
    module.Tensor, module.TritonError = tensor, TritonError
    module.TritonModelException = TritonModelException
    module.InferenceRequest, module.InferenceResponse = InferenceRequest, InferenceResponse
    module.TRITONSERVER_MEMORY_CPU = "cpu"
    module.PreferredMemory = lambda kind, number: ("memory", kind, number)
    module.get_input_tensor_by_name = lambda request, name: request.tensor
    module.get_output_tensor_by_name = tensor_of
    names = ("triton_python_backend_utils", "restora.triton.server", "restora.triton.bls_session")
    before = {name: sys.modules.pop(name, None) for name in names}
    sys.modules[names[0]] = module
    try:
        yield server
    finally:
        for name, found in before.items():
            sys.modules.pop(name, None)
            if found is not None:
                sys.modules[name] = found
