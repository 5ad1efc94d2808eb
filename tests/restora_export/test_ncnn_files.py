"""Facts about ncnn networks as checkpoints, the hostile ones included."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from ncnn_files import Storage, ncnn_bytes, write_ncnn
from recipe import fill_network
from restora.errors import CheckpointError, MissingModelError
from restora.models.checkpoint_files import sha256_of_checkpoint
from restora_export.architecture import RRDBSpec, SRVGGSpec
from restora_export.checkpoint import load_checkpoint, network_from_checkpoint
from restora_export.reference import RRDBNet, SRVGGNetCompact

NETWORKS = {
    "rrdb-x4": (RRDBNet(4, 8, 4, 2), "rrdb"),
    "rrdb-x2": (RRDBNet(2, 8, 4, 1), "rrdb"),
    "srvgg-prelu": (SRVGGNetCompact(4, 8, 2, "prelu"), "srvgg"),
    "srvgg-relu": (SRVGGNetCompact(3, 8, 1, "relu"), "srvgg"),
    "srvgg-leaky": (SRVGGNetCompact(2, 8, 1, "leakyrelu"), "srvgg"),
}


def filled(name: str) -> torch.nn.Module:
    network, family = NETWORKS[name]
    return fill_network(network, 3, family).eval()


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_ncnn(tmp_path / "tiny", filled("srvgg-prelu"))


def change(param: Path, old: str, new: str) -> Path:
    text = param.read_text()
    assert old in text
    param.write_text(text.replace(old, new, 1))
    return param


@pytest.mark.parametrize("name", NETWORKS)
def test_an_ncnn_network_loads_with_the_weights_of_its_layers(name: str, tmp_path: Path) -> None:
    network = filled(name)
    loaded = load_checkpoint(write_ncnn(tmp_path / "net", network))
    assert set(loaded.state) == set(network.state_dict())
    for key, value in network.state_dict().items():
        assert torch.equal(loaded.state[key], value), key
    x = torch.rand(1, 3, 8, 12)
    with torch.inference_mode():
        assert torch.equal(network_from_checkpoint(loaded)(x), network(x))


@pytest.mark.parametrize(
    ("storage", "step"),
    [("fp16", 2**-10), ("int8", 0.51 / 127)],  # half a step of the number format
)
def test_half_and_int8_weights_load_as_what_they_stand_for(
    storage: Storage, step: float, tmp_path: Path
) -> None:
    network = filled("rrdb-x4")
    loaded = load_checkpoint(write_ncnn(tmp_path / "net", network, storage))
    assert loaded.architecture == RRDBSpec(4, 8, 4, 2, 3, 3, 2)
    for key, value in network.state_dict().items():
        assert loaded.state[key].dtype == torch.float32
        largest = value.abs().amax(dim=(1, 2, 3), keepdim=True) if value.ndim == 4 else 0
        exact = value.ndim == 1
        assert ((loaded.state[key] - value).abs() <= largest * step + 1e-9).all(), key
        assert exact == torch.equal(loaded.state[key], value), key


def test_its_digest_is_that_of_both_files(tiny: Path) -> None:
    both = tiny.read_bytes() + tiny.with_suffix(".bin").read_bytes()
    digest = hashlib.sha256(both).hexdigest()
    assert load_checkpoint(tiny).sha256 == sha256_of_checkpoint(tiny) == digest


def test_a_param_file_without_its_weights_names_the_missing_file(tiny: Path) -> None:
    tiny.with_suffix(".bin").unlink()
    with pytest.raises(MissingModelError, match=r"tiny\.bin"):
        load_checkpoint(tiny)


@pytest.mark.parametrize("cut", [1, 4, 64])
def test_the_weights_must_end_where_the_layers_end(tiny: Path, cut: int) -> None:
    weights = tiny.with_suffix(".bin")
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-cut])
    with pytest.raises(CheckpointError, match="bytes or more, it has"):
        load_checkpoint(tiny)
    weights.write_bytes(whole + bytes(cut))
    with pytest.raises(CheckpointError, match=r"the \.bin file has"):
        load_checkpoint(tiny)


def test_sizes_are_compared_with_the_file_before_memory_is_allocated(tiny: Path) -> None:
    change(tiny, "0=8 1=3 4=1 5=1 6=216", "0=4096 1=3 4=1 5=1 6=150994944")
    with pytest.raises(CheckpointError, match="must have 603979780 bytes or more"):
        load_checkpoint(tiny)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("7767517", "7767518", "begins with 7767517"),
        ("\n12 ", "\n11 ", "counts 11 layers, it has 12"),
        ("\n12 13", "\n12 14", "counts 14 tensors, its layers make 13"),
        ("PixelShuffle", "Softmax", "part of no RRDBNet and no SRVGGNetCompact"),
        ("1=3 4=1", "1=5 4=2", "3x3 convolution with stride 1"),
        ("4=1 5=1", "4=1 3=2 5=1", "3x3 convolution with stride 1"),
        ("4=1 5=1", "4=1 5=1 7=2", "parameter 7 is not supported"),
        ("6=216", "6=217", "no whole number of 3x3 kernels"),
        ("6=216", "6=1e400", "no parameter of an ncnn layer"),
        ("6=216", f"6={'9' * 5000}", "is no layer"),
        ("PReLU_3 1 1", "PReLU_3 2 1", "must name 2 inputs"),
        ("PReLU_3 1 1 t2_0", "PReLU_3 1 1 t9_0", "uses t9_0 too early"),
        ("t3_0", "t2_0", "makes t2_0 twice"),
        ("t9_0 0=4", "t9_0 0=17", "whole number from 1 to 16"),
        ("0=0\n", "0=7\n", "a sum of two tensors"),
        ("1=4.000000e+00", "1=2.000000e+00", "same factor in both directions"),
    ],
)
def test_anything_but_such_a_network_is_refused_by_name(
    tiny: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(change(tiny, old, new))
    assert str(tiny) in str(caught.value)


def test_an_unknown_tag_of_weights_is_refused(tiny: Path) -> None:
    weights = tiny.with_suffix(".bin")
    weights.write_bytes(b"\x01\x02\x03\x04" + weights.read_bytes()[4:])
    with pytest.raises(CheckpointError, match="the tag 0x04030201 is none of them"):
        load_checkpoint(tiny)


def test_layers_that_compute_something_else_are_refused(tmp_path: Path) -> None:
    param = write_ncnn(tmp_path / "net", filled("rrdb-x4"))
    change(param, "9=2 -23310=1,2.000000e-01", "9=2 -23310=1,3.000000e-01")
    with pytest.raises(CheckpointError, match="compute something else than the network"):
        load_checkpoint(param)


def test_a_network_that_shrinks_its_result_says_what_to_take_instead(tmp_path: Path) -> None:
    param = write_ncnn(tmp_path / "net", filled("srvgg-prelu"))
    text = param.read_text().replace("\n12 13\n", "\n13 14\n")
    shrinking = "Interp small 1 1 t11_0 out 0=3 1=5.000000e-01 2=5.000000e-01\n"
    param.write_text(text + shrinking)
    with pytest.raises(CheckpointError, match=r"shrinks the result of its network to 0\.5"):
        load_checkpoint(param)


def test_a_layer_that_would_fill_memory_is_refused(tiny: Path) -> None:
    change(tiny, "1=4.000000e+00 2=4.000000e+00", "1=1.600000e+01 2=1.600000e+01")
    chain = "Interp more 1 1 t10_0 t10_1 0=1 1=1.600000e+01 2=1.600000e+01\nBinaryOp"
    change(tiny, "BinaryOp", chain)
    change(tiny, "t9_0 t10_0", "t9_0 t10_1")
    change(tiny, "\n12 13", "\n13 14")
    with pytest.raises(CheckpointError, match="layer more makes 28311552 numbers"):
        load_checkpoint(tiny)


def test_the_network_of_an_ncnn_file_is_exact_in_what_it_says(tiny: Path) -> None:
    checkpoint = load_checkpoint(tiny)
    assert checkpoint.architecture == SRVGGSpec(4, 8, 2, "prelu", 3, 3)
    assert checkpoint.name == "tiny"


def test_the_bytes_of_the_writer_are_those_of_the_format() -> None:
    """The first weights of a file: a tag, then numbers in the order out, in, row, column."""
    network = filled("srvgg-relu")
    _, weights = ncnn_bytes(network)
    first = network.state_dict()["body.0.weight"]
    assert weights[:4] == bytes(4)
    assert weights[4 : 4 + 4 * first.numel()] == first.numpy().astype("<f4").tobytes()
