"""Give the weights of a list of layers their published keys, by the order of the layers.

In an RRDBNet and in an SRVGGNetCompact each convolution needs the result of the one before it, so
there is only one order.
"""

from collections.abc import Iterator, Sequence

from restora.errors import CheckpointError
from restora_export.architecture import Hints
from restora_export.layers import Layer
from restora_export.stored_tensor import StoredTensor

_DENSE_CONVOLUTIONS = 15  # of an RRDB: three dense blocks of five
_OTHERS = 4  # conv_first, conv_body, conv_hr, conv_last


def name_tensors(layers: Sequence[Layer]) -> tuple[dict[str, StoredTensor], Hints]:
    """The tensors by their published keys, and what the keys do not tell.

    Raises CheckpointError if the layers can be neither network.
    """
    convolutions = [layer for layer in layers if layer.kind == "convolution"]
    if any(layer.kind == "shuffle" for layer in layers):
        return _name_srvgg(layers)
    upsamples = sum(1 for layer in layers if layer.kind == "nearest")
    blocks, rest = divmod(len(convolutions) - _OTHERS - upsamples, _DENSE_CONVOLUTIONS)
    if blocks < 1 or rest or upsamples > 4:
        raise CheckpointError(
            "its layers must be those of an RRDBNet or an SRVGGNetCompact; it has "
            f"{len(convolutions)} convolutions and {upsamples} enlargements"
        )
    named: dict[str, StoredTensor] = {}
    for key, layer in zip(_rrdb_keys(blocks, upsamples), convolutions, strict=True):
        named.update(_tensors_of(key, layer))
    return named, Hints()


def _rrdb_keys(blocks: int, upsamples: int) -> Iterator[str]:
    yield "conv_first"
    for block in range(blocks):
        for dense in (1, 2, 3):
            for conv in (1, 2, 3, 4, 5):
                yield f"body.{block}.rdb{dense}.conv{conv}"
    yield "conv_body"
    for up in range(1, upsamples + 1):
        yield f"conv_up{up}"
    yield "conv_hr"
    yield "conv_last"


def _name_srvgg(layers: Sequence[Layer]) -> tuple[dict[str, StoredTensor], Hints]:
    """The activation after convolution i, number 2i, is number 2i + 1."""
    named: dict[str, StoredTensor] = {}
    number, slopes = -2, set()
    for layer in layers:
        if layer.kind == "convolution":
            number += 2
            named.update(_tensors_of(f"body.{number}", layer))
        elif layer.kind == "prelu":
            assert layer.weight is not None
            named[f"body.{number + 1}.weight"] = layer.weight
        if layer.slope is not None:
            slopes.add(layer.slope)
    return named, Hints(activation="leakyrelu" if slopes - {0.0} else "relu")


def _tensors_of(key: str, layer: Layer) -> dict[str, StoredTensor]:
    assert layer.weight is not None
    assert layer.bias is not None
    return {f"{key}.weight": layer.weight, f"{key}.bias": layer.bias}
