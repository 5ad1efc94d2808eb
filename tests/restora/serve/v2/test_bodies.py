"""Facts about HTTP bodies: JSON with bytes behind it, read strictly and written as it is read."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from restora.errors import RequestError
from restora.serve.v2.bodies import HEADER_LENGTH, read_body, write_body

IMAGE = {"name": "image", "datatype": "UINT8", "shape": [1, 2, 2, 3]}
DATA = bytes(range(12))


def body(*, tail: bytes = b"", **changes: Any) -> tuple[bytes, str]:
    values = {"inputs": [{**IMAGE, "parameters": {"binary_data_size": 12}}], **changes}
    head = json.dumps({name: value for name, value in values.items() if value is not None}).encode()
    return head + tail, str(len(head))


def test_bytes_follow_the_json() -> None:
    read = read_body(*body(tail=DATA, id="a", parameters={"timeout": 1_500_000}))
    (tensor,) = read.request.inputs
    assert (tensor.name, tensor.shape, bytes(tensor.raw or b"")) == ("image", (1, 2, 2, 3), DATA)
    assert (read.request.id, read.request.timeout_s, read.binary) == ("a", 1.5, False)
    assert read.request.outputs is None


def test_without_a_length_all_of_a_body_is_json() -> None:
    data, _ = body(inputs=[{**IMAGE, "data": list(DATA)}])
    (tensor,) = read_body(data, None).request.inputs
    assert tensor.raw is None
    assert tensor.values == list(DATA)


@pytest.mark.parametrize(
    ("outputs", "parameters", "binary"),
    [
        (None, {}, False),
        (None, {"binary_data_output": True}, True),
        ([{"name": "restored"}], {"binary_data_output": True}, True),
        ([{"name": "restored", "parameters": {"binary_data": True}}], {}, True),
        ([{"name": "restored", "parameters": {"binary_data": False}}],
         {"binary_data_output": True}, False),
    ],
)  # fmt: skip
def test_a_client_chooses_bytes_or_numbers(
    outputs: list[Any] | None, parameters: dict[str, Any], binary: bool
) -> None:
    data, length = body(tail=DATA, outputs=outputs, parameters=parameters)
    assert read_body(data, length).binary == binary


def test_an_answer_holds_what_was_computed() -> None:
    result = np.arange(24, dtype=np.float32).reshape(1, 2, 4, 3)
    data, length = body(tail=DATA, id="7", parameters={"binary_data_output": True})
    asked = read_body(data, length)
    written, headers = write_body("net", "1", asked, "restored", "FP32", result)
    head = int(headers[HEADER_LENGTH])
    values = json.loads(written[:head])
    assert values == {
        "model_name": "net",
        "model_version": "1",
        "id": "7",
        "outputs": [
            {"name": "restored", "datatype": "FP32", "shape": [1, 2, 4, 3],
             "parameters": {"binary_data_size": 96}}
        ],
    }  # fmt: skip
    assert (np.frombuffer(written[head:], "<f4") == result.reshape(-1)).all()
    plain, headers = write_body("net", "1", read_body(*body(tail=DATA)), "restored", "FP32", result)
    assert json.loads(plain)["outputs"][0]["data"] == result.reshape(-1).tolist()
    assert HEADER_LENGTH not in headers


@pytest.mark.parametrize(
    ("data", "length", "words"),
    [
        (b"{", None, "JSON cannot be read"),
        (b"[" * 200_000, None, "nested too deeply|cannot be read"),
        (b"\xff\xfe", None, "JSON cannot be read"),
        (b"[]", None, "the request must be a JSON object"),
        (b"{}", None, "inputs must be a list"),
        (b'{"inputs": [1]}', None, "one of inputs must be a JSON object"),
        (*body(tail=DATA)[:1], "-1", "must be the number of bytes"),
        (*body(tail=DATA)[:1], "9" * 20, "must be the number of bytes"),
        (*body(tail=DATA)[:1], "5000", "must be the number of bytes"),
        (*body(tail=DATA[:5]), "of the 5 that follow, got 12"),
        (*body(tail=DATA + b"!"), "goes on for 1 bytes"),
        (*body(inputs=[{**IMAGE, "shape": [1, "2", 2, 3]}]), "list of whole numbers"),
        (*body(inputs=[{**IMAGE, "shape": [True, 2, 2, 3]}]), "list of whole numbers"),
        (*body(inputs=[{**IMAGE, "shape": [1 << 62, 2, 2, 3]}]), "list of whole numbers"),
        (*body(inputs=[IMAGE]), "neither data nor binary_data_size"),
        (*body(inputs=[{**IMAGE, "name": 5}]), "name must be a text"),
        (*body(inputs=[{**IMAGE, "parameters": {"binary_data_size": -1}}]), "must be bytes of"),
        (*body(inputs=[{**IMAGE, "parameters": {"shared_memory_region": "a"}}]), "shared memory"),
        (*body(tail=DATA, outputs=[{"name": "r", "parameters": {"classification": 3}}]),
         "as classes are not supported"),
        (*body(tail=DATA, parameters={"timeout": -1}), "must be microseconds"),
        (*body(tail=DATA, parameters={"binary_data_output": "yes"}), "must be true or false"),
    ],
)  # fmt: skip
def test_a_body_that_is_not_as_the_protocol_says_is_refused(
    data: bytes, length: str | None, words: str
) -> None:
    with pytest.raises(RequestError, match=words):
        read_body(data, length)
