"""Find the weights of one network in what a checkpoint holds: wrappers, prefixes, several networks.

Trainers save more than weights, under names of their own: {"params_ema": weights} (BasicSR),
{"model": weights}, {"state_dict": {"net_g.conv_first.weight": ...}} (Lightning), and "module." and
"_orig_mod." before all keys (DistributedDataParallel, torch.compile).
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from restora.errors import CheckpointError
from restora.models.regular_file import shown
from restora_export.key_shapes import MAX_KEYS

T = TypeVar("T")
# in order of preference: averaged weights first
WRAPPING_KEYS = (
    "params_ema",
    "params",
    "model_ema",
    "g_ema",
    "net_g_ema",
    "net_g",
    "generator",
    "state_dict",
    "model_state_dict",
    "model",
)
_PREFIXES = ("module.", "_orig_mod.")
_NETWORKS = ("net_g_ema.", "net_g.", "generator.")  # beside others, such as "net_d."
_MAX_DEPTH = 4
_MAX_KEY_LENGTH = 200


def unwrap(content: Any, key: str | None) -> dict[Any, Any]:
    """The innermost dictionary of the weights.

    key: the name of the dictionary to take, or of the prefix of its keys; None: as known trainers
        name it

    Raises CheckpointError if there is no dictionary, or none of the name `key`.
    """
    if key is not None:
        content = _take(content, key)
    for _ in range(_MAX_DEPTH):
        wrapper = next((name for name in WRAPPING_KEYS if _holds(content, name)), None)
        if wrapper is None:
            break
        content = content[wrapper]
    if not isinstance(content, dict) or not content:
        raise CheckpointError("it must hold a dictionary of tensors")
    return content


def clean_keys(loaded: Mapping[Any, T], key: str | None = None) -> dict[str, T]:
    """Keys without the prefixes of wrappers, and those of one network only.

    key: the prefix of that network, without its dot

    Raises CheckpointError.
    """
    if len(loaded) > MAX_KEYS:
        raise CheckpointError(f"it holds {len(loaded)} tensors, at most {MAX_KEYS} are supported")
    cleaned: dict[str, T] = {}
    for name, value in loaded.items():
        if not isinstance(name, str) or len(name) > _MAX_KEY_LENGTH or not name.isprintable():
            raise CheckpointError(
                f"its tensors must have printable names of at most {_MAX_KEY_LENGTH} characters"
            )
        if cleaned.setdefault(_without_prefixes(name), value) is not value:
            raise CheckpointError(
                f"it holds {name} twice, with and without one of the prefixes "
                f"{', '.join(map(repr, _PREFIXES))}"
            )
    return _one_network(cleaned, f"{key}." if key else None)


def check_prefix(state: Mapping[Any, Any], key: str | None) -> None:
    """Raise CheckpointError if a prefix is given that no key begins with."""
    if key is None or any(str(name).startswith(f"{key}.") for name in state):
        return
    raise CheckpointError(
        f"it holds nothing of the name {shown(key)}; its names begin with "
        f"{', '.join(shown(str(name))[:60] for name in list(state)[:6])}"
    )


def _one_network(state: dict[str, T], prefix: str | None) -> dict[str, T]:
    wanted = _NETWORKS if prefix is None else (prefix,)
    for one in wanted:
        part = {
            _without_prefixes(name.removeprefix(one)): value
            for name, value in state.items()
            if name.startswith(one)
        }
        if part:
            return part
    return state


def _take(content: Any, key: str) -> Any:
    if _holds(content, key):
        return content[key]
    for name in WRAPPING_KEYS:
        if _holds(content, name) and _holds(content[name], key):
            return content[name][key]
    check_prefix(unwrap(content, None), key)
    return content


def _holds(content: Any, key: str) -> bool:
    return isinstance(content, dict) and isinstance(content.get(key), dict)


def _without_prefixes(name: str) -> str:
    while name.startswith(_PREFIXES):
        name = name.partition(".")[2]
    return name
