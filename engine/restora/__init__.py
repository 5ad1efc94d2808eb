"""restora: restore old and damaged photos with verified ONNX and TensorRT artifacts.

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
    from restora.backends import Session, SessionOptions, open_session
    from restora.errors import RestoraError
    from restora.faces.options import FaceOptions
    from restora.image import (
        Metadata,
        Photo,
        PhotoLimits,
        decode_photo,
        encode_photo,
        read_photo,
        write_photo,
    )
    from restora.options import RestoreOptions
    from restora.pipeline import Restorer
    from restora.restoration import Restoration
    from restora.upsample import Upsampler

__all__ = [
    "FaceOptions",
    "Metadata",
    "Photo",
    "PhotoLimits",
    "RestoraError",
    "Restoration",
    "RestoreOptions",
    "Restorer",
    "Session",
    "SessionOptions",
    "Upsampler",
    "__version__",
    "decode_photo",
    "encode_photo",
    "open_session",
    "read_photo",
    "write_photo",
]

_HOMES = {
    "FaceOptions": "restora.faces.options",
    "Metadata": "restora.image",
    "Photo": "restora.image",
    "PhotoLimits": "restora.image",
    "RestoraError": "restora.errors",
    "Restoration": "restora.restoration",
    "RestoreOptions": "restora.options",
    "Restorer": "restora.pipeline",
    "Session": "restora.backends",
    "SessionOptions": "restora.backends",
    "Upsampler": "restora.upsample",
    "decode_photo": "restora.image",
    "encode_photo": "restora.image",
    "open_session": "restora.backends",
    "read_photo": "restora.image",
    "write_photo": "restora.image",
    "PixelLimits": "restora.image",  # the former name of PhotoLimits
}


def __getattr__(name: str) -> object:
    """Import a public name from its home when it is first used: `import restora` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'restora' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
