"""Facts about the text of a model's configuration: protobuf reads what was written."""

from __future__ import annotations

import pytest

from restora.triton.config_text import Message, Word, to_map, to_text


def test_messages_lists_and_maps_are_written_as_protobuf_reads_them() -> None:
    text_format = pytest.importorskip("google.protobuf.text_format")
    model_config = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    message: Message = {
        "name": 'a "name" with \\ and ü',
        "max_batch_size": 8,
        "input": [{"name": "image", "data_type": Word("TYPE_UINT8"), "dims": [-1, -1, 3]}],
        "dynamic_batching": {},
        "response_cache": {"enable": True},
        "parameters": to_map({"threads": {"string_value": "0"}, "more": {"string_value": "1"}}),
        "instance_group": [{"kind": Word("KIND_CPU"), "count": 1}, {"count": 2}],
    }
    read = text_format.Parse(to_text(message), model_config.ModelConfig())
    assert read.name == 'a "name" with \\ and ü'
    assert read.max_batch_size == 8
    assert list(read.input[0].dims) == [-1, -1, 3]
    assert read.input[0].data_type == model_config.TYPE_UINT8
    assert read.HasField("dynamic_batching")
    assert read.response_cache.enable is True
    assert read.parameters["more"].string_value == "1"
    assert [group.count for group in read.instance_group] == [1, 2]


def test_an_empty_list_is_left_out() -> None:
    assert to_text({"name": "x", "dims": []}) == 'name: "x"\n'
