"""A network of the same Triton server as a Session: each tile is a request to it (business logic
scripting), so that Triton forms batches of the tiles of all photos.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from restora.artifact.tensors import INPUT, MEANS, OUTPUT
from restora.backends.base import (
    Batch,
    SizeLimits,
    check_batch,
    check_finite,
    check_result,
    limits_of,
)
from restora.backends.shell import SessionShell
from restora.errors import (
    DeadlineExceededError,
    MissingModelError,
    QueueFullError,
    RestoraError,
    SessionError,
)
from restora.tiling import Progress, Tiling, run_tiles
from restora.triton.photo_settings import NetworkSettings

# more than any tile's: of a shape that a server without equal tiles would choose
_OTHER_TILES_COST = 1000.0
# parts of messages of Triton's core, which gives no codes here
_QUEUE_FULL, _WAITED_TOO_LONG = "exceeds maximum queue size", "request timeout expired"
_NOT_READY = ("is not ready", "is not found", "has no available versions", "unknown model")


class BlsSession(SessionShell):
    """A network on this server. Its methods can be called from several threads.

    tile: the largest side of a tile, in pixels; None for networks that get no tiles
    equal_tiles: larger photos are cut into tiles of exactly this size
    """

    def __init__(
        self,
        network: NetworkSettings,
        *,
        tile: int | None = None,
        equal_tiles: bool = False,
    ) -> None:
        limits = replace(limits_of(network.info), max_batch=network.max_batch)
        if tile is not None:
            limits = _limits_of_tiles(limits, tile, equal=equal_tiles)
        super().__init__(network.info, limits)
        self._network = network

    def run(self, batch: Batch) -> Batch:
        """As Session.run. Raises MissingModelError if the server does not have the network,
        QueueFullError or DeadlineExceededError if it refuses the request.
        """
        check_batch(batch, self.info, self.limits)
        request = pb_utils.InferenceRequest(
            model_name=self._network.name,
            requested_output_names=[OUTPUT, MEANS],
            inputs=[pb_utils.Tensor(INPUT, np.ascontiguousarray(batch))],
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
        )
        response = request.exec()
        if response.has_error():
            raise self._error_of(response.error().message())
        result: Batch = _array_of(response, OUTPUT)
        check_result(result, batch, self.info)
        check_finite(_array_of(response, MEANS), self.info)
        return result

    def run_tiles(self, image: Batch, *, tiling: Tiling, progress: Progress | None = None) -> Batch:
        """One request for each tile; as many at once as the network takes in a batch."""
        return run_tiles(
            image,
            self.run,
            scale=self.info.scale,
            tiling=replace(tiling, batch=1),
            multiple=self.limits.multiple,
            progress=progress,
            ahead=self._network.max_batch,
        )

    def close(self) -> None:
        """Do nothing: the network is the server's."""

    def _error_of(self, message: str) -> RestoraError:
        name, lower = self._network.name, message.lower()
        if any(words in lower for words in _NOT_READY):
            return MissingModelError(
                f"restora-photo needs the network {name}, which this server has not loaded: "
                f"{message}"
            )
        if _QUEUE_FULL in lower:
            return QueueFullError(f"as many requests wait for the network {name} as may: {message}")
        if _WAITED_TOO_LONG in lower:
            return DeadlineExceededError(
                f"a request waited for the network {name} longer than its queue allows: {message}"
            )
        return SessionError(f"the network {name} failed on this server: {message}")


def require_array_support() -> None:
    """Raise SessionError if arrays do not pass Triton's Python backend unchanged: those of before
    2025 misread arrays of NumPy 2, without an error."""
    sent = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    read = np.asarray(pb_utils.Tensor(INPUT, sent).as_numpy())
    if read.shape != sent.shape or read.dtype != sent.dtype or not (read == sent).all():
        raise SessionError(
            f"arrays of NumPy {np.__version__} do not pass this Triton's Python backend unchanged: "
            "pip install 'numpy<2' in its environment, or take a newer server"
        )


def _array_of(response: Any, name: str) -> Any:
    tensor = pb_utils.get_output_tensor_by_name(response, name)
    if tensor is None:
        raise SessionError(f"the server's answer has no tensor {name}")
    return np.array(tensor.as_numpy())  # a copy: the server's memory is freed with the answer


def _limits_of_tiles(limits: SizeLimits, tile: int, *, equal: bool) -> SizeLimits:
    if not equal:
        return replace(limits, max_tile=tile)
    side = tile // limits.multiple * limits.multiple
    return replace(
        limits, max_tile=tile, best_tiles=((side, side),), other_tiles_cost=_OTHER_TILES_COST
    )
