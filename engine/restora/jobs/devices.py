"""The GPUs that a run is spread over: their names, and a function that opens a Restorer on one."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Literal

from restora.backends.driver import require_driver
from restora.backends.options import check_device, gpu_of_device
from restora.errors import MissingBackendError, OptionError
from restora.pipeline import Restorer

Devices = tuple[str, ...] | Literal["all"]
_MAIN = b"__main__"
_HINT = (
    "a run over devices opens a Restorer on each: give a function that takes device= and can be "
    "pickled, such as functools.partial(Restorer, 'restora-lite-x2')"
)


def check_devices(value: object) -> Devices:
    """Raise OptionError unless the value is "all" or names of GPUs, each once."""
    if value == "all":
        return "all"
    if isinstance(value, str) or not isinstance(value, tuple | list) or not value:
        raise OptionError(
            f"devices must be 'all' or names of GPUs such as ('gpu:0', 'gpu:1'), got {value!r}"
        )
    indexes = [(name, gpu_of_device(check_device(name))) for name in value]
    wrong = [name for name, index in indexes if index is None]
    if wrong:
        raise OptionError(f"devices must be GPUs, such as 'gpu:0', got {wrong[0]!r}")
    names = tuple(f"gpu:{index}" for _, index in indexes)
    if len(set(names)) < len(names):
        raise OptionError(f"each of devices must be named once, got {value!r}")
    return names


def choose_devices(asked: Devices) -> tuple[str, ...]:
    """The names of the GPUs that are asked for. Raises MissingBackendError, naming those that are
    there, if one does not exist."""
    there = tuple(f"gpu:{index}" for index in range(require_driver().gpus))
    if asked == "all":
        return there
    absent = [name for name in asked if name not in there]
    if absent:
        raise MissingBackendError(
            f"this machine has no {', no '.join(absent)}: it has {', '.join(there)}"
        )
    return asked


def require_opener(restorer: Restorer | Callable[..., Restorer]) -> Callable[..., Restorer]:
    """Raise OptionError for a Restorer, which is open on a device already."""
    if isinstance(restorer, Restorer):
        raise OptionError(f"{_HINT}; got a Restorer that is open already")
    return restorer


def pickle_opener(restorer: Restorer | Callable[..., Restorer]) -> bytes:
    """The function that opens a Restorer, to be sent to another process. Raises OptionError if that
    cannot be done."""
    try:
        payload = pickle.dumps(require_opener(restorer))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise OptionError(f"{_HINT} ({error})") from error
    if _MAIN in payload:  # other processes do not load the program's own file
        raise OptionError(f"{_HINT}; a function of the program's main file cannot be imported")
    return payload
