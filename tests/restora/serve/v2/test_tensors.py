"""Facts about tensors of requests: what fits a network becomes pictures, the rest is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fakes import make_info
from restora.errors import RequestError, RestoraError, ShapeError
from restora.serve.v2.tensors import (
    GivenTensor,
    InferRequest,
    TensorSpec,
    batch_of,
    input_of,
    output_of,
)

PICTURES = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)


def given(**changes: Any) -> GivenTensor:
    values: dict[str, Any] = {
        "name": "image",
        "datatype": "UINT8",
        "shape": (2, 4, 6, 3),
        "raw": PICTURES.tobytes(),
    }
    return GivenTensor(**{**values, **changes})


def test_bytes_and_numbers_give_the_same_pictures() -> None:
    for tensor in (
        given(),
        given(raw=None, values=PICTURES.tolist()),
        given(raw=None, values=PICTURES.reshape(-1).tolist()),
    ):
        batch = batch_of(InferRequest((tensor,)), make_info())
        assert (batch == PICTURES).all()
        assert batch.dtype == np.uint8


def test_float_pictures_are_read_too() -> None:
    pictures = PICTURES.astype(np.float32) / 255
    info = make_info(io="float32")
    for change in ({"raw": pictures.tobytes()}, {"raw": None, "values": pictures.tolist()}):
        tensor = given(datatype="FP32", **change)
        assert (batch_of(InferRequest((tensor,)), info) == pictures).all()


@pytest.mark.parametrize(
    ("request_", "kind", "words"),
    [
        (InferRequest(()), RequestError, "one input, 'image', the request has none"),
        (InferRequest((given(), given())), RequestError, "has 'image', 'image'"),
        (InferRequest((given(name="x"),)), RequestError, "the request has 'x'"),
        (InferRequest((given(),), ("channel_means",)), RequestError, "wants 'channel_means'"),
        (InferRequest((given(datatype="FP32"),)), ShapeError, "must be UINT8, got FP32"),
        (InferRequest((given(shape=(4, 6, 3)),)), ShapeError, r"\[-1, -1, -1, 3\]"),
        (InferRequest((given(shape=(2, 4, 6, 4)),)), ShapeError, r"got \[2, 4, 6, 4\]"),
        (InferRequest((given(shape=(0, 4, 6, 3), raw=b""),)), ShapeError, "must have shape"),
        (InferRequest((given(shape=(2, -4, -6, 3)),)), ShapeError, "must have shape"),
        (InferRequest((given(shape=(65, 4, 6, 3)),)), ShapeError, "at most 64 pictures"),
        (InferRequest((given(shape=(2, 4, 8, 3)),)), ShapeError, "must have 192 bytes, got 144"),
        (InferRequest((given(raw=None, values=[1, 2]),)), ShapeError, "144 numbers"),
        (InferRequest((given(raw=None, values=[[1], [1, 2]]),)), ShapeError, "different lengths"),
        (InferRequest((given(raw=None, values=["a"] * 144),)), ShapeError, "numbers"),
        (InferRequest((given(raw=None, values=[256] * 144),)), ShapeError, r"0\.\.255"),
        (InferRequest((given(raw=None, values=[-1] * 144),)), ShapeError, r"0\.\.255"),
        (InferRequest((given(raw=None, values=[0.5] * 144),)), ShapeError, r"0\.\.255"),
        (InferRequest((given(raw=None, values=[1 << 80] * 144),)), ShapeError, "numbers"),
    ],
)
def test_what_a_network_does_not_take_is_refused_with_the_reason(
    request_: InferRequest, kind: type[RestoraError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        batch_of(request_, make_info())


def test_tensors_are_described_by_the_kind_of_network() -> None:
    face = make_info(kind="face", side=512, scale=1)
    assert input_of(face) == TensorSpec("image", "UINT8", (-1, 512, 512, 3))
    assert output_of(face) == TensorSpec("restored", "UINT8", (-1, 512, 512, 3))
    deep = make_info(io="float32", scale=4)
    assert output_of(deep) == TensorSpec("restored", "FP32", (-1, -1, -1, 3))
    detector = make_info(kind="detector", scale=1)
    assert output_of(detector) == TensorSpec("restored", "FP32", (-1, -1, 16))
    parser = make_info(kind="parser", scale=1, side=512)
    assert output_of(parser) == TensorSpec("restored", "UINT8", (-1, 512, 512, 1))


def test_a_face_network_takes_its_own_side_only() -> None:
    with pytest.raises(ShapeError, match=r"\[-1, 8, 8, 3\], -1 for any size, got \[2, 4, 6, 3\]"):
        batch_of(InferRequest((given(),)), make_info(kind="face", side=8, scale=1))
