"""Parse the text format of ncnn networks, NAME.param.

Format: github.com/Tencent/ncnn/wiki/param-and-model-file-structure. The first line is a number, the
second one counts layers and tensors; then follows a line for each layer: its type, its name, the
numbers of inputs and outputs, their names, and parameters as ID=VALUE, or as
-23300-ID=COUNT,VALUE,... for a list.
"""

import math
from dataclasses import dataclass

from restora.errors import CheckpointError
from restora.models.regular_file import shown
from restora_export.layers import MAX_LAYERS

MAX_PARAM_BYTES = 4 << 20  # that of RealESRGAN_x4plus has 0.1 MB
_MAGIC = "7767517"
_LIST = -23300
_MAX_ID = 64
_MAX_TENSORS = 256  # of one layer
_MAX_WORD = 200

Value = int | float | tuple[int | float, ...]


@dataclass(frozen=True, slots=True)
class ParamLine:
    """One layer. values: its parameters by their IDs"""

    type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    values: dict[int, Value]

    def number(self, number: int, default: float) -> float:
        """A parameter that is one number. Raises CheckpointError if it is a list."""
        value = self.values.get(number, default)
        if isinstance(value, tuple):
            raise self.problem(f"parameter {number} must be one number")
        return value

    def whole(self, number: int, default: int) -> int:
        """A parameter that is a whole number from 0 on. Raises CheckpointError."""
        value = self.number(number, default)
        if not isinstance(value, int) or value < 0:
            raise self.problem(f"parameter {number} must be a whole number, it is {value}")
        return value

    def numbers(self, number: int) -> tuple[float, ...]:
        """A parameter that is a list, which may be missing."""
        value = self.values.get(number, ())
        return value if isinstance(value, tuple) else (value,)

    def allow(self, *known: int) -> None:
        """Raise CheckpointError if there are parameters other than these."""
        unknown = set(self.values) - set(known)
        if unknown:
            raise self.problem(f"parameter {min(unknown)} is not supported")

    def problem(self, text: str) -> CheckpointError:
        """The error that names this layer."""
        return CheckpointError(f"{shown(self.type)} {shown(self.name)}: {text}")


def parse_param(data: bytes) -> list[ParamLine]:
    """All layers, in the order of the file. Raises CheckpointError."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise CheckpointError(
            "it is not the text of an ncnn network; the binary form is not supported"
        ) from error
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if not lines or lines[0] != [_MAGIC]:
        raise CheckpointError(f"an ncnn .param file begins with {_MAGIC}, this one does not")
    if len(lines) < 2 or len(lines[1]) != 2:
        raise CheckpointError("its second line must count layers and tensors")
    counted, tensors = (_count(word, maximum=1 << 20) for word in lines[1])
    if counted != len(lines) - 2 or counted > MAX_LAYERS:
        raise CheckpointError(
            f"its second line counts {counted} layers, it has {len(lines) - 2}; the limit is "
            f"{MAX_LAYERS}"
        )
    layers = [_parse_line(words) for words in lines[2:]]
    made = sum(len(layer.outputs) for layer in layers)
    if made != tensors:
        raise CheckpointError(f"its second line counts {tensors} tensors, its layers make {made}")
    return layers


def _parse_line(words: list[str]) -> ParamLine:
    if len(words) < 4 or max(map(len, words)) > _MAX_WORD:
        raise CheckpointError(f"the line {shown(' '.join(words))[:60]!r} is no layer")
    inputs = _count(words[2], maximum=_MAX_TENSORS)
    outputs = _count(words[3], maximum=_MAX_TENSORS)
    names, rest = words[4 : 4 + inputs + outputs], words[4 + inputs + outputs :]
    if len(names) != inputs + outputs or any("=" in name for name in names):
        raise CheckpointError(
            f"layer {shown(words[1])} must name {inputs} inputs and {outputs} outputs"
        )
    values: dict[int, Value] = {}
    for word in rest:
        number, value = _parse_parameter(word)
        if number in values:
            raise CheckpointError(f"layer {shown(words[1])} has parameter {number} twice")
        values[number] = value
    return ParamLine(words[0], words[1], tuple(names[:inputs]), tuple(names[inputs:]), values)


def _parse_parameter(word: str) -> tuple[int, Value]:
    key, _, text = word.partition("=")
    try:
        number = int(key)
        if number > _LIST:
            value: Value = _parse_number(text)
        else:
            number = _LIST - number
            count, *parts = text.split(",")
            value = tuple(map(_parse_number, parts))
            if int(count) != len(value):
                raise ValueError
        if not 0 <= number <= _MAX_ID:
            raise ValueError
    except ValueError as error:
        raise CheckpointError(f"{shown(word)[:60]!r} is no parameter of an ncnn layer") from error
    return number, value


def _parse_number(text: str) -> int | float:
    if any(sign in text for sign in ".eE"):
        value = float(text)
        if not math.isfinite(value):
            raise ValueError
        return value
    return int(text)


def _count(word: str, *, maximum: int) -> int:
    if not (word.isdecimal() and len(word) < 9 and int(word) <= maximum):
        raise CheckpointError(f"{shown(word)[:40]!r} must be a number up to {maximum}")
    return int(word)
