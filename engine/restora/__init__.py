"""Restore old and damaged photos with verified ONNX and TensorRT artifacts.

>>> from restora import Restorer, write_photo
>>> with Restorer("restora-lite-x2") as restorer:
...     result = restorer.restore("old.jpg")
>>> write_photo(result.photo, "new.png")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from restora.version import __version__

if TYPE_CHECKING:
    from restora.backends import CpuOptions, PlanOptions, Session, SessionOptions, open_session
    from restora.damage import DamageOptions
    from restora.errors import RestoraError
    from restora.faces.options import FaceOptions
    from restora.image import Metadata, Photo, PhotoLimits, encode_photo
    from restora.jobs.file import restore_file
    from restora.jobs.folder import restore_folder
    from restora.jobs.options import RunOptions
    from restora.jobs.result import RunResult
    from restora.models import ModelSummary, available_models
    from restora.models.fetch import fetch_model
    from restora.options import RestoreOptions
    from restora.photo_io import read_photo, write_photo
    from restora.pipeline import Restorer
    from restora.restoration import Restoration
    from restora.video.options import VideoOptions
    from restora.video.restore import restore_video

__all__ = [
    "CpuOptions",
    "DamageOptions",
    "FaceOptions",
    "Metadata",
    "ModelSummary",
    "Photo",
    "PhotoLimits",
    "PlanOptions",
    "RestoraError",
    "Restoration",
    "RestoreOptions",
    "Restorer",
    "RunOptions",
    "RunResult",
    "Session",
    "SessionOptions",
    "VideoOptions",
    "__version__",
    "available_models",
    "encode_photo",
    "fetch_model",
    "open_session",
    "read_photo",
    "restore_file",
    "restore_folder",
    "restore_video",
    "write_photo",
]

_HOMES = {
    "CpuOptions": "restora.backends",
    "DamageOptions": "restora.damage",
    "FaceOptions": "restora.faces.options",
    "Metadata": "restora.image",
    "ModelSummary": "restora.models",
    "Photo": "restora.image",
    "PhotoLimits": "restora.image",
    "PlanOptions": "restora.backends",
    "RestoraError": "restora.errors",
    "Restoration": "restora.restoration",
    "RestoreOptions": "restora.options",
    "Restorer": "restora.pipeline",
    "RunOptions": "restora.jobs.options",
    "RunResult": "restora.jobs.result",
    "Session": "restora.backends",
    "SessionOptions": "restora.backends",
    "VideoOptions": "restora.video.options",
    "available_models": "restora.models",
    "encode_photo": "restora.image",
    "fetch_model": "restora.models.fetch",
    "open_session": "restora.backends",
    "read_photo": "restora.photo_io",
    "restore_file": "restora.jobs.file",
    "restore_folder": "restora.jobs.folder",
    "restore_video": "restora.video.restore",
    "write_photo": "restora.photo_io",
}


def __getattr__(name: str) -> object:
    """Import a public name from its home when it is first used: `import restora` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'restora' has no attribute {name!r}")
    try:
        home = importlib.import_module(_HOMES[name])
    except ModuleNotFoundError as error:
        if error.name != "av":
            raise
        from restora.errors import MissingBackendError

        raise MissingBackendError("videos need PyAV: pip install 'restora[video]'") from error
    value = getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
