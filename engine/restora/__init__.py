"""restora: restore old and damaged photos with verified ONNX and TensorRT artefacts.

>>> from restora import Restorer, read_photo, write_photo
>>> result = Restorer("restora-lite-x2").restore(read_photo("old.jpg"))
>>> write_photo(result.photo, "new.png")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from restora.version import __version__

if TYPE_CHECKING:
    from restora.errors import RestoraError
    from restora.image import Metadata, Photo, PixelLimits, read_photo, write_photo
    from restora.pipeline import Restorer
    from restora.restoration import Restoration
    from restora.sessions import Session, open_session
    from restora.upsample import Upsampler

__all__ = [
    "Metadata",
    "Photo",
    "PixelLimits",
    "RestoraError",
    "Restoration",
    "Restorer",
    "Session",
    "Upsampler",
    "__version__",
    "open_session",
    "read_photo",
    "write_photo",
]

_HOMES = {
    "Metadata": "restora.image",
    "Photo": "restora.image",
    "PixelLimits": "restora.image",
    "Restoration": "restora.restoration",
    "RestoraError": "restora.errors",
    "Restorer": "restora.pipeline",
    "Session": "restora.sessions",
    "Upsampler": "restora.upsample",
    "open_session": "restora.sessions",
    "read_photo": "restora.image",
    "write_photo": "restora.image",
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
