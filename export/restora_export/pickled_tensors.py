"""Parse the pickles of PyTorch files as data: dictionaries and descriptions of tensors.

This module interprets the opcodes of a pickle itself. It looks up no class, calls no function of
the file and allocates no memory for tensors, whereas torch.load, even with weights_only, allocates
as much as a file asks for.
"""

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import torch

from restora.errors import CheckpointError
from restora.models.regular_file import shown

MAX_PICKLE_BYTES = 16 << 20
_MAX_OPCODES = 1_000_000  # the largest published network has 25,000
_DTYPES = {
    "torch FloatStorage": torch.float32,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch DoubleStorage": torch.float64,
    "torch LongStorage": torch.int64,
    "torch IntStorage": torch.int32,
    "torch ShortStorage": torch.int16,
    "torch CharStorage": torch.int8,
    "torch ByteStorage": torch.uint8,
    "torch BoolStorage": torch.bool,
}
_DICTIONARIES = ("collections OrderedDict", "collections Counter")
_TENSORS = ("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor")
_PARAMETER = "torch._utils _rebuild_parameter"
_IGNORED = (  # other contents of training checkpoints
    "torch Size",
    "torch device",
    "torch float32",
    "torch float16",
    "torch bfloat16",
    "builtins set",
    "__builtin__ set",
)
_KNOWN = {*_DTYPES, *_DICTIONARIES, *_TENSORS, _PARAMETER, *_IGNORED}
_NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT")
_TEXTS = ("BINUNICODE", "SHORT_BINSTRING", "BINSTRING")  # the last two are of Python 2
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()


@dataclass(frozen=True, slots=True)
class Storage:
    """A named block of numbers in the file. Its fields have not been checked against the file."""

    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True, slots=True)
class PickledTensor:
    """A view of a storage, as described by the pickle. Types and values are not checked."""

    storage: object
    offset: object
    shape: object
    strides: object


@dataclass(frozen=True, slots=True)
class _Global:
    name: str


@dataclass(frozen=True, slots=True)
class _Ignored:
    pass


def read_pickle(stream: io.BytesIO, storages: dict[str, Storage] | None = None) -> Any:
    """Read a pickle at the position of the stream, which is at its end afterwards.

    storages: receives every storage that the pickle refers to

    Dictionaries, lists, tuples, strings and numbers keep their types; tensors become PickledTensor.
    Raises CheckpointError if the pickle is damaged, or contains anything else.
    """
    try:
        return _Reader({} if storages is None else storages).run(stream)
    except CheckpointError:
        raise
    except (
        ValueError,  # raised by pickletools for a damaged pickle
        IndexError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
        MemoryError,
    ) as error:
        raise CheckpointError("its pickle is damaged, or was not written by torch.save") from error


class _Reader:
    """The stack machine of the pickle protocol, version 2."""

    def __init__(self, storages: dict[str, Storage]) -> None:
        self.storages = storages
        self.entries = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.actions: dict[str, Callable[[Any], None]] = {
            "PROTO": self._check_protocol,
            "GLOBAL": self._push_global,
            "BINPUT": self._remember,
            "LONG_BINPUT": self._remember,
            "BINGET": lambda index: self.stack.append(self.memo[index]),
            "LONG_BINGET": lambda index: self.stack.append(self.memo[index]),
            "MARK": lambda _: self.stack.append(_MARK),
            "EMPTY_DICT": lambda _: self.stack.append({}),
            "EMPTY_LIST": lambda _: self.stack.append([]),
            "EMPTY_TUPLE": lambda _: self.stack.append(()),
            "TUPLE": lambda _: self.stack.append(tuple(self._pop_to_mark())),
            "APPEND": lambda _: self._extend([self.stack.pop()]),
            "APPENDS": lambda _: self._extend(self._pop_to_mark()),
            "SETITEM": lambda _: self._set_items([self.stack.pop(-2), self.stack.pop()]),
            "SETITEMS": lambda _: self._set_items(self._pop_to_mark()),
            "BINPERSID": lambda _: self.stack.append(self._find_storage(self.stack.pop())),
            "REDUCE": self._reduce,
            "BUILD": self._drop_state,
        }

    def run(self, stream: io.BytesIO) -> Any:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            name = opcode.name
            if count == _MAX_OPCODES:
                raise CheckpointError(f"its pickle has more than {_MAX_OPCODES} opcodes")
            if name == "STOP":
                break
            if name in _NUMBERS or name in _TEXTS:
                self.stack.append(argument)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            elif name in _TUPLES:
                self.stack.append(tuple(self._pop(_TUPLES[name])))
            elif name in self.actions:
                self.actions[name](argument)
            else:
                raise CheckpointError(
                    f"its pickle holds {name}, which PyTorch does not write by default: save it "
                    "again with torch.save(network.state_dict(), 'weights.pth')"
                )
        (value,) = self._pop(len(self.stack))
        return value

    def _check_protocol(self, version: int) -> None:
        if version != 2:
            raise CheckpointError(f"its pickle must have protocol 2, it has {version}")

    def _push_global(self, name: str) -> None:
        if name not in _KNOWN:
            _refuse(name)
        self.stack.append(_Global(name))

    def _remember(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def _pop(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise IndexError
        values = self.stack[len(self.stack) - count :]
        if any(value is _MARK for value in values):
            raise IndexError
        del self.stack[len(self.stack) - count :]
        return values

    def _pop_to_mark(self) -> list[Any]:
        values = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def _extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise TypeError
        target.extend(values)

    def _set_items(self, values: list[Any]) -> None:
        self._fill(self.stack[-1], list(zip(values[::2], values[1::2], strict=True)))

    def _fill(self, target: object, pairs: list[Any]) -> None:
        if not isinstance(target, dict):
            raise TypeError
        self.entries += len(pairs)  # a list could be copied into many dictionaries
        if self.entries > _MAX_OPCODES:
            raise CheckpointError(f"its pickle has more than {_MAX_OPCODES} entries")
        for key, value in pairs:
            # the hash of a deeply nested tuple would overflow the stack
            if not isinstance(key, str | int | float | None):
                raise TypeError
            target[key] = value

    def _find_storage(self, identity: object) -> Storage:
        storage = _storage(identity)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise CheckpointError(f"it gives storage {shown(storage.key)} two sizes or types")
        return storage

    def _reduce(self, _: object) -> None:
        function, arguments = self._pop(2)
        if not isinstance(function, _Global) or not isinstance(arguments, tuple):
            raise TypeError
        if function.name in _DICTIONARIES:
            pairs = arguments[0] if arguments else []
            self.stack.append({})
            self._fill(self.stack[-1], list(pairs.items() if isinstance(pairs, dict) else pairs))
        else:
            self.stack.append(_call(function.name, arguments))

    def _drop_state(self, _: object) -> None:
        """Ignore the attributes of a dictionary, which are the _metadata of PyTorch."""
        owner, _state = self._pop(2)
        if not isinstance(owner, dict):
            raise TypeError
        self.stack.append(owner)


def _call(name: str, arguments: tuple[Any, ...]) -> Any:
    """Describe what the function of this name would return."""
    if name in _TENSORS:
        storage, offset, shape, strides = arguments[:4]
        return PickledTensor(storage, offset, shape, strides)
    if name == _PARAMETER:
        return arguments[0]
    return _Ignored()


def _storage(identity: object) -> Storage:
    """Read the tuple that identifies a storage; only files before 0.4 have a sixth element."""
    if not isinstance(identity, tuple) or len(identity) not in (5, 6):
        raise TypeError
    kind, storage_type, key, _location, count = identity[:5]
    if kind != "storage" or not isinstance(storage_type, _Global) or not isinstance(key, str):
        raise TypeError
    if storage_type.name not in _DTYPES:
        _refuse(storage_type.name)
    if type(count) is not int or count < 0:
        raise TypeError
    if len(identity) == 6 and identity[5] is not None:
        raise CheckpointError("it was saved by PyTorch before 0.4: save it again with a newer one")
    return Storage(key, _DTYPES[storage_type.name], count)


def _refuse(name: str) -> NoReturn:
    wanted = shown(name.replace(" ", ".", 1))[:80]
    advice = "save the weights alone with torch.save(network.state_dict(), 'weights.pth')"
    if wanted.startswith("torch._utils._rebuild_") or wanted.endswith("Storage"):
        raise CheckpointError(
            f"it holds a tensor that is not a plain array of numbers ({wanted}), and was not "
            f"loaded: make its tensors dense and real, and {advice}"
        )
    raise CheckpointError(
        f"it holds more than tensors: it refers to {wanted}. It was not loaded, and nothing in it "
        f"was executed. If you trust its author, load it in PyTorch and {advice}"
    )
