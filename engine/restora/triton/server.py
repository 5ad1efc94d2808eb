"""restora-photo's class for Triton's Python backend; only a Triton server imports this.

Interface: github.com/triton-inference-server/python_backend
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from restora.backends import Session
from restora.errors import (
    AbandonedError,
    ClientGoneError,
    DeviceMemoryError,
    HostMemoryError,
    ImageError,
    OptionError,
    RequestError,
    RestoraError,
    ShapeError,
    UnavailableError,
    UnknownModelError,
)
from restora.triton.bls_session import BlsSession, require_array_support
from restora.triton.photo_model import FACTS, PHOTO, RESTORED
from restora.triton.photo_settings import (
    SETTINGS_FILE,
    NetworkSettings,
    PhotoSettings,
    settings_from_json,
)
from restora.triton.photos import PhotoWorker

logger = logging.getLogger(__name__)

_OF_TRITON = "triton_"  # parameters that the server itself adds
_CLIENT_ERRORS = (ImageError, OptionError, RequestError, ShapeError, UnknownModelError)
_TRY_AGAIN = (UnavailableError, DeviceMemoryError, HostMemoryError)


class TritonPythonModel:
    """One process of restora-photo. Triton calls it for one photo at a time."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Raises TritonModelException if the settings cannot be used."""
        try:
            require_array_support()
            folder = Path(args["model_repository"], args["model_version"])
            text = (folder / SETTINGS_FILE).read_text(encoding="utf-8")
            settings = settings_from_json(text)
            self._worker = PhotoWorker(settings, folder, partial(_open_network, settings))
        except (RestoraError, OSError) as error:
            raise pb_utils.TritonModelException(_describe(error)) from error

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response for each request; an error costs its own request alone."""
        return [self._respond(request) for request in requests]

    def finalize(self) -> None:
        self._worker.close()

    def _respond(self, request: Any) -> Any:
        try:
            encoded, facts = self._worker.restore(
                _photo_of(request), _parameters_of(request), check=partial(_check_wanted, request)
            )
        except Exception as error:  # Triton would end the process
            if not isinstance(error, RestoraError):
                logger.exception("a photo failed")
            return pb_utils.InferenceResponse(
                error=pb_utils.TritonError(_describe(error), _code_of(error))
            )
        return pb_utils.InferenceResponse(
            [_bytes_tensor(RESTORED, encoded), _bytes_tensor(FACTS, json.dumps(facts).encode())]
        )


def _open_network(settings: PhotoSettings, network: NetworkSettings) -> Session:
    if network.info.kind != "upsampler":
        return BlsSession(network)
    tile = settings.restore.tile
    assert isinstance(tile, int)
    return BlsSession(network, tile=tile, equal_tiles=settings.equal_tiles)


def _photo_of(request: Any) -> bytes:
    tensor = pb_utils.get_input_tensor_by_name(request, PHOTO)
    values = tensor.as_numpy().reshape(-1)
    if len(values) != 1 or not isinstance(values[0], bytes):
        raise RequestError(f"{PHOTO} must hold the bytes of one photo's file, got {len(values)}")
    return values[0]


def _parameters_of(request: Any) -> dict[str, object]:
    given = json.loads(request.parameters() or "{}")
    return {name: value for name, value in given.items() if not name.startswith(_OF_TRITON)}


def _check_wanted(request: Any) -> None:
    if request.is_cancelled():
        raise ClientGoneError("the client canceled the request")


def _bytes_tensor(name: str, data: bytes) -> Any:
    return pb_utils.Tensor(name, np.array([[data]], dtype=np.object_))


def _describe(error: Exception) -> str:
    """The type of an error says what to do about it, and a response has no other place for it."""
    return f"{type(error).__name__}: {error}"


def _code_of(error: Exception) -> Any:
    codes = pb_utils.TritonError
    if isinstance(error, _CLIENT_ERRORS):
        return codes.INVALID_ARG
    if isinstance(error, AbandonedError):
        return codes.CANCELLED if isinstance(error, ClientGoneError) else codes.UNAVAILABLE
    return codes.UNAVAILABLE if isinstance(error, _TRY_AGAIN) else codes.INTERNAL
