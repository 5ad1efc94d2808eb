"""Facts about loading checkpoints, the hostile ones included."""

import hashlib
import io
import json
import os
import pickle
import socket
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from recipe import DATA, fill_network, make_state, network_from_constructor, state_sha256
from restora.errors import CheckpointError, ChecksumError, MissingModelError, OptionError
from restora_export import checkpoint as checkpoint_module
from restora_export import safetensors_file
from restora_export.architecture import Hints, RRDBSpec, SRVGGSpec, detect_architecture
from restora_export.checkpoint import load_checkpoint, network_from_checkpoint
from restora_export.face_architecture import GFPGANSpec, ParseNetSpec, RetinaFaceSpec
from restora_export.interpolate import interpolate_checkpoints
from restora_export.reference import GFPGANv1Clean, ParseNet, RRDBNet, SRVGGNetCompact
from restora_export.reference.stylegan2 import NormStyleCode
from stored import read_json

MANIFESTS: dict[str, Any] = read_json(DATA / "manifests.json.xz")
State = dict[str, torch.Tensor]


@pytest.fixture
def tiny_state() -> State:
    return dict(fill_network(RRDBNet(4, 8, 4, 2), 7, "rrdb").state_dict())


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("wrap", ["params_ema", "params", "state_dict", None])
def test_every_way_of_wrapping_is_understood(
    tiny_state: State, wrap: str | None, tmp_path: Path
) -> None:
    path = save(tmp_path / "net.pth", {wrap: tiny_state} if wrap else tiny_state)
    checkpoint = load_checkpoint(path)
    assert checkpoint.architecture == RRDBSpec(4, 8, 4, 2, 3, 3, 2)
    assert state_sha256(checkpoint.state) == state_sha256(tiny_state)
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_averaged_weights_are_preferred(tiny_state: State, tmp_path: Path) -> None:
    zeros = {key: torch.zeros_like(value) for key, value in tiny_state.items()}
    path = save(tmp_path / "net.pth", {"params": zeros, "params_ema": tiny_state})
    assert state_sha256(load_checkpoint(path).state) == state_sha256(tiny_state)


def test_safetensors_load_to_the_same_network(tiny_state: State, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_file(tiny_state, path)
    assert state_sha256(load_checkpoint(path).state) == state_sha256(tiny_state)


def test_half_precision_and_module_prefixes_are_undone(tiny_state: State, tmp_path: Path) -> None:
    halves = {f"module.{key}": value.half() for key, value in tiny_state.items()}
    network = network_from_checkpoint(load_checkpoint(save(tmp_path / "net.pth", halves)))
    assert next(network.parameters()).dtype == torch.float32
    assert not network.training


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_published_architectures_are_told_from_their_keys(name: str) -> None:
    manifest = MANIFESTS[name]
    state = {key: torch.empty(shape, device="meta") for key, shape, _ in manifest["state_dict"]}
    bilinear = manifest["architecture"] == "GFPGANBilinear"
    spec = detect_architecture(state, Hints(resampling="bilinear" if bilinear else "fir"))
    c = manifest["constructor"]
    if manifest["architecture"] == "RRDBNet":
        blocks, growth = c["num_block"], c["num_grow_ch"]
        assert spec == RRDBSpec(c["scale"], c["num_feat"], growth, blocks, 3, 3, 2)
    elif manifest["architecture"] == "SRVGGNetCompact":
        assert spec == SRVGGSpec(c["upscale"], c["num_feat"], c["num_conv"], "prelu", 3, 3)
    elif manifest["architecture"] == "RetinaFace":
        assert spec == RetinaFaceSpec()
    elif manifest["architecture"] == "ParseNet":
        assert spec == ParseNetSpec(512, 32, 64, 19, 10, (64, 256))
    else:
        layout, multiplier = manifest["architecture"], c["channel_multiplier"]
        assert spec == GFPGANSpec(layout, 512, 512, multiplier, 8, True, 1.0, True)


@pytest.mark.parametrize(
    "network",
    [
        RRDBNet(1, 8, 4, 1),
        RRDBNet(2, 12, 6, 3),
        RRDBNet(8, 8, 4, 1, upsamples=3),
        SRVGGNetCompact(2, 12, 3, "relu"),
        SRVGGNetCompact(3, 8, 1, "prelu"),
        SRVGGNetCompact(1, 8, 1, "prelu"),
    ],
    ids=str,
)
def test_other_sizes_are_told_from_shapes(network: torch.nn.Module, tmp_path: Path) -> None:
    path = save(tmp_path / "net.pth", {"params": network.state_dict()})
    loaded = network_from_checkpoint(load_checkpoint(path))
    x = torch.rand(1, 3, 8, 12)
    with torch.inference_mode():
        assert torch.equal(loaded(x), network.eval()(x))


def test_leaky_relu_must_be_said_since_files_do_not_tell(tmp_path: Path) -> None:
    network = SRVGGNetCompact(2, 8, 2, "leakyrelu").eval()
    path = save(tmp_path / "net.pth", network.state_dict())
    assert load_checkpoint(path).architecture.activation == "relu"  # type: ignore[union-attr]
    loaded = network_from_checkpoint(load_checkpoint(path, hints=Hints(activation="leakyrelu")))
    x = torch.rand(1, 3, 8, 12)
    with torch.inference_mode():
        assert torch.equal(loaded(x), network(x))


def old_style(state: State, blocks: int, upsamples: int) -> State:
    """The layout of the original ESRGAN code."""
    ups = [3 * (index + 1) for index in range(upsamples)]
    hr = ups[-1] + 2 if ups else 2
    layers = {"conv_first": "model.0", "conv_body": f"model.1.sub.{blocks}"}
    layers |= {f"conv_up{i + 1}": f"model.{layer}" for i, layer in enumerate(ups)}
    layers |= {"conv_hr": f"model.{hr}", "conv_last": f"model.{hr + 2}"}
    renamed = {}
    for key, value in state.items():
        if key.startswith("body."):
            _, block, rdb, conv, part = key.split(".")
            key = f"model.1.sub.{block}.{rdb.upper()}.{conv}.0.{part}"
        else:
            layer, part = key.split(".")
            key = f"{layers[layer]}.{part}"
        renamed[key] = value
    return renamed


@pytest.mark.parametrize(("scale", "upsamples"), [(1, 0), (2, 1), (4, 2), (8, 3), (2, 2)])
def test_old_style_esrgan_files_load(scale: int, upsamples: int, tmp_path: Path) -> None:
    network = RRDBNet(scale, 8, 4, 3, upsamples=upsamples).eval()
    old = old_style(dict(network.state_dict()), 3, upsamples)
    assert ("model.10.weight" in old) == (upsamples == 2)
    loaded = network_from_checkpoint(load_checkpoint(save(tmp_path / "old.pth", old)))
    x = torch.rand(1, 3, 8, 8)
    with torch.inference_mode():
        assert torch.equal(loaded(x), network(x))


def test_the_named_older_layout_loads(tiny_state: State, tmp_path: Path) -> None:
    names = {"conv_body": "trunk_conv", "conv_up1": "upconv1", "conv_up2": "upconv2"}
    names |= {"conv_hr": "HRconv"}
    older = {}
    for key, value in tiny_state.items():
        if key.startswith("body."):
            older[key.replace("body.", "RRDB_trunk.").replace(".rdb", ".RDB")] = value
        else:
            layer, part = key.split(".")
            older[f"{names.get(layer, layer)}.{part}"] = value
    loaded = load_checkpoint(save(tmp_path / "older.pth", older))
    assert state_sha256(loaded.state) == state_sha256(tiny_state)


class Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_malicious_pickle_never_runs(tiny_state: State, wrapped: bool, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    content: Any = {"params": tiny_state, "extra": Payload(trap)} if wrapped else Payload(trap)
    path = save(tmp_path / "evil.pth", content)
    with pytest.raises(CheckpointError, match="nothing in it was executed"):
        load_checkpoint(path)
    plain = tmp_path / "plain.pth"
    plain.write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError):
        load_checkpoint(plain)
    assert not trap.exists()


def test_more_than_tensors_is_refused_by_name_without_terminal_codes(tmp_path: Path) -> None:
    pickled = b"\x80\x02c\x1b[31mos\nsystem\n."
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(zip_file(tmp_path / "net.pth", pickled))
    assert "it refers to \ufffd[31mos.system" in str(caught.value)
    assert "save the weights alone" in str(caught.value)
    assert "\x1b" not in str(caught.value)


def zip_file(path: Path, pickled: bytes, storages: dict[str, bytes] | None = None) -> Path:
    """An archive as torch.save lays it out."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", pickled)
        archive.writestr("net/byteorder", "little")
        for key, data in (storages or {}).items():
            archive.writestr(f"net/data/{key}", data)
    return path


class Subclass(torch.Tensor):
    pass


def quantized() -> torch.Tensor:
    scale, zero = torch.tensor(1.0), torch.tensor(0)
    return torch.quantize_per_tensor(torch.zeros(8), scale, zero, torch.qint8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.zeros(1).expand(2**30), "repeat some"),
        (lambda: torch.zeros(1).expand(8), "repeat some"),
        (lambda: torch.zeros(5).as_strided((4, 2), (1, 1)), "repeat some"),
        (lambda: torch.zeros(8, device="meta"), "not a plain array"),
        (lambda: torch.zeros(8).to_sparse(), "not a plain array"),
        (quantized, "not a plain array"),
        (lambda: torch.zeros(8, dtype=torch.complex64), "not a plain array"),
        (lambda: torch.zeros(8).as_subclass(Subclass), "more than tensors"),
        (lambda: torch.zeros(8, dtype=torch.bool), "floating-point"),
        (lambda: torch.zeros(8, dtype=torch.int32), "floating-point"),
        (lambda: torch.zeros(0, 8), "must be 1 to"),
        (lambda: torch.zeros([1] * 9), "at most 8 dimensions"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_no_plain_tensor_is_refused(
    tiny_state: State, make: Any, message: str, zipped: bool, tmp_path: Path
) -> None:
    path = tmp_path / "net.pth"
    state = {**tiny_state, "conv_hr.bias": make()}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "make",
    [
        lambda bias: torch.stack([bias, bias], dim=1)[:, 0],  # every other number of its storage
        lambda bias: torch.cat([torch.ones(3), bias])[3:],
        lambda bias: torch.nn.Parameter(bias),
        lambda bias: bias.double(),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_views_and_parameters_load_to_their_numbers(
    tiny_state: State, make: Any, zipped: bool, tmp_path: Path
) -> None:
    path = tmp_path / "net.pth"
    state = {**tiny_state, "conv_hr.bias": make(tiny_state["conv_hr.bias"])}
    weight = tiny_state["conv_hr.weight"]
    state["conv_hr.weight"] = weight.contiguous(memory_format=torch.channels_last)
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    assert state_sha256(load_checkpoint(path).state) == state_sha256(tiny_state)


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_that_share_bytes_are_refused_unread(zipped: bool, tmp_path: Path) -> None:
    network = RRDBNet(4, 8, 8, 5)
    one = torch.rand(8, 40, 3, 3)
    state = {
        key: one.view(-1)[: v.numel()].view(v.shape) for key, v in network.state_dict().items()
    }
    path = tmp_path / "net.pth"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="its tensors overlap"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("body.2000000000.weight", "numbered below 256"),
        ("body.256.rdb1.conv1.weight", "numbered below 256"),
        ("body.99.rdb1.conv1.weight", "its keys have 100 layers, only 3 of them exist"),
        (f"body.{'9' * 5000}.weight", "names of at most 200"),
        (f"body.{'9' * 100}.weight", "numbered below 256"),
        (f"conv_up{'9' * 100}.weight", "lacks conv_up3"),
        ("body.\x1b[31m", "printable names"),
        (7, "printable names"),
        ("module.conv_hr.bias", "twice"),
    ],
)
def test_a_key_of_no_network_is_refused(
    tiny_state: State, key: Any, message: str, tmp_path: Path
) -> None:
    path = save(tmp_path / "net.pth", {**tiny_state, key: torch.ones(1)})
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(path)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("layer", ["9" * 5000, "12345"])
def test_an_old_style_layer_of_no_network_is_refused(layer: str, tmp_path: Path) -> None:
    old = old_style(dict(RRDBNet(4, 8, 4, 1).state_dict()), 1, 2)
    with pytest.raises(CheckpointError):
        load_checkpoint(save(tmp_path / "a.pth", {**old, f"model.{layer}.weight": torch.ones(1)}))
    with pytest.raises(CheckpointError, match="are the same weight"):
        load_checkpoint(save(tmp_path / "b.pth", {**old, "model.00.bias": torch.ones(8)}))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"body.0.weight": (8, 3, 3, 3), "body.2.weight": (4000, 8, 1, 1)}, "scale of 1 to 16"),
        ({"body.0.weight": (8, 3, 3, 3), "body.1.weight": (8,)}, "end, at an even number"),
        (
            {"body.0.weight": (5000, 3, 1, 1), "body.2.weight": (12, 8, 1, 1)},
            "4 dimensions of 1 to 4096",
        ),
        ({"body.0.rdb1.conv1.weight": (4,)}, "lacks conv_first.weight"),
        (
            {"body.0.rdb1.conv1.weight": (4, 8, 3, 3), "conv_first.weight": (8,)},
            "conv_first.weight must have 4 dimensions",
        ),
        (
            {
                "body.0.rdb1.conv1.weight": (4, 8, 3, 3),
                "conv_first.weight": (8, 3, 3, 3),
                "conv_last.weight": (3, 8, 3, 3),
                **{f"conv_up{number}.weight": (1,) for number in range(5)},
            },
            "its scale is at most 16",
        ),
        (
            {"stylegan_decoder.constant_input.weight": (1,), "final_linear.weight": (1,)},
            "must have 4 dimensions",
        ),
        (
            {
                "stylegan_decoder.constant_input.weight": (1, 1, 4, 4),
                "final_linear.weight": (1, 1),
                "stylegan_decoder.style_conv1.modulated_conv.modulation.weight": (1, 1),
                "condition_scale.0.2.weight": (1, 1, 3, 3),
                **{f"stylegan_decoder.to_rgbs.{number}.bias": (1,) for number in range(9)},
            },
            "must have 1 to 8 levels",
        ),
        (
            {"out_mask_conv.conv2d.weight": (1,), "encoder.0.conv2d.weight": (1,)},
            "a ParseNet must have blocks",
        ),
        (
            {
                "out_mask_conv.conv2d.weight": (1, 1, 3, 3),
                "encoder.0.conv2d.weight": (1, 3, 3, 3),
                **{f"encoder.{number}.conv1.conv2d.weight": (1, 1, 3, 3) for number in range(12)},
            },
            "halves 11 times",
        ),
    ],
)
def test_sizes_of_no_network_are_refused(
    shapes: dict[str, tuple[int, ...]], message: str, tmp_path: Path
) -> None:
    state = {key: torch.ones(shape) for key, shape in shapes.items()}
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(save(tmp_path / "net.pth", state))


def test_compressed_parts_are_refused_unread(tiny_state: State, tmp_path: Path) -> None:
    plain = save(tmp_path / "net.pth", tiny_state)
    with (
        zipfile.ZipFile(plain) as source,
        zipfile.ZipFile(tmp_path / "small.pth", "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for info in source.infolist():
            target.writestr(info.filename, source.read(info))
    with pytest.raises(CheckpointError, match="is compressed"):
        load_checkpoint(tmp_path / "small.pth")


def test_encrypted_overlapping_and_endless_parts_are_refused(tmp_path: Path) -> None:
    path = zip_file(tmp_path / "net.pth", one_tensor(), {"0": bytes(1000), "1": bytes(32)})
    data = path.read_bytes()
    first, second = (data.rindex(name) - 46 for name in (b"net/data/0", b"net/data/1"))
    encrypted, overlapping = bytearray(data), bytearray(data)
    encrypted[first + 8] |= 1
    overlapping[second + 20 : second + 28] = overlapping[first + 20 : first + 28]
    for changed, message in ((encrypted, "is encrypted"), (overlapping, "its parts overlap")):
        path.write_bytes(changed)
        with pytest.raises(CheckpointError, match=message):
            load_checkpoint(path)
    endless = zip_file(tmp_path / "endless.pth", bytes((16 << 20) + 1))
    with pytest.raises(CheckpointError, match="its pickle has 16777217 bytes, more than"):
        load_checkpoint(endless)


def test_more_tensors_than_any_network_has_are_refused(tmp_path: Path) -> None:
    one = torch.ones(1)
    path = save(tmp_path / "net.pth", {f"conv{number}": one for number in range(10_001)})
    with pytest.raises(CheckpointError, match="holds 10001 tensors, at most 10000 are supported"):
        load_checkpoint(path)


# the tuple that names storage "x", without its count
NAMED = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0xX\3\0\0\0cpu"
PAIR = b"K\x01K\x02\x86"


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (b"\x80\x02" + b"]" * 600_000 + b"a" * 599_999 + b".", "more than 1000000 opcodes"),
        # a list of 1000 pairs, copied into 2000 dictionaries
        (
            b"\x80\x02ccollections\nOrderedDict\nq\x00(](" + PAIR * 1000 + b"e\x85q\x01"
            b"" + b"h\x00h\x01R" * 2000 + b"t.",
            "more than 1000000 entries",
        ),
        (b"\x80\x02}" + b")" + b"\x85" * 100_000 + b"K\x01s.", "damaged"),
        (b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.", "builtins.bytearray"),
        (b"\x80\x02ctorch\nTensor\nJ\xff\xff\xff\x7f\x85R.", r"refers to torch\.Tensor"),
        (b"\x80\x02r\xff\xff\xff\x7f.", "damaged"),  # remembers what is not there
        (b"\x80\x02X\xff\xff\xff\x7fabc.", "damaged"),  # a text of 2 GB
        (b"\x80\x02I9\n.", "holds INT, which PyTorch does not write"),
        (b"\x80\x04].", "protocol 2"),
        (b"\x80\x02(K\x01.", "damaged"),
        (b"\x80\x02(\x85.", "damaged"),  # a tuple of a mark
        (b"\x80\x02" + NAMED + b"K\x08K\x01tQ.", "by PyTorch before 0.4"),
        (
            b"\x80\x02(" + NAMED + b"K\x08tQ" + NAMED + b"K\x09tQt.",
            "gives storage x two sizes or types",
        ),
        (b"\x80\x02Q.", "damaged"),
        (b"\x80\x02", "damaged"),
    ],
)
def test_a_hostile_pickle_is_refused(pickled: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(zip_file(tmp_path / "net.pth", pickled))


def one_tensor(*, count: int = 8, offset: int = 0, shape: object = (8,), key: str = "0") -> bytes:
    """A pickle of one tensor whose numbers are claims."""

    class Tensor:
        def __reduce__(self) -> tuple[Any, ...]:
            hooks: dict[str, object] = OrderedDict()
            arguments = (Persistent(), offset, shape, (1,), False, hooks)
            return torch._utils._rebuild_tensor_v2, arguments

    class Persistent:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: object) -> object:
            if isinstance(value, Persistent):
                return ("storage", torch.FloatStorage, key, "cpu", count)
            return None

    stream = io.BytesIO()
    Pickler(stream, 2).dump({"conv_hr.bias": Tensor()})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({}, "must be an RRDBNet"),  # the tensor itself is good
        ({"count": 9}, "needs a storage of 36 bytes, the file has 32"),
        ({"count": 2**60, "shape": (2**31,)}, "needs a storage"),
        ({"shape": (9,)}, "extends past"),
        ({"offset": 1}, "extends past"),
        ({"offset": -1}, "extends past"),
        ({"offset": True}, "extends past"),
        ({"count": -1}, "damaged"),
        ({"shape": (2**70,)}, "must be 1 to"),
        ({"shape": (8.0,)}, "must be 1 to"),
        ({"shape": (8, 1)}, "one stride for each side"),
        ({"shape": [8]}, "one stride for each side"),
        ({"shape": "8"}, "one stride|dimensions"),
        ({"key": "1"}, "lacks its part data/1"),
        ({"key": "../byteorder"}, "lacks its part|needs a storage"),
    ],
)
def test_a_tensor_that_claims_more_than_the_file_holds_is_refused(
    claims: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = zip_file(tmp_path / "net.pth", one_tensor(**claims), {"0": bytes(32)})
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


def test_a_storage_that_an_old_file_does_not_list_is_refused(tmp_path: Path) -> None:
    """PyTorch would take its numbers from memory that nothing has written."""
    parts = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    head = b"".join(pickle.dumps(part, 2) for part in parts) + one_tensor()
    path = tmp_path / "net.pth"
    path.write_bytes(head + pickle.dumps([], 2))
    with pytest.raises(CheckpointError, match="lacks storage 0"):
        load_checkpoint(path)
    lying = head + pickle.dumps(["0"], 2) + struct.pack("<q", 9) + bytes(36)
    path.write_bytes(lying)
    with pytest.raises(CheckpointError, match="must have 8 numbers, it has 9"):
        load_checkpoint(path)
    for keys in (["1"], ["0", "0"], "0", [0]):
        good = struct.pack("<q", 8) + bytes(32)
        path.write_bytes(head + pickle.dumps(keys, 2) + 2 * good)
        with pytest.raises(CheckpointError, match="list of storages is damaged"):
            load_checkpoint(path)


def test_big_endian_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", one_tensor())
        archive.writestr("net/byteorder", "big")
    with pytest.raises(CheckpointError, match="big-endian"):
        load_checkpoint(path)


def test_a_flipped_bit_in_a_weight_is_noticed(tiny_state: State, tmp_path: Path) -> None:
    path = save(tmp_path / "net.pth", tiny_state)
    data = bytearray(path.read_bytes())
    weight = tiny_state["conv_hr.weight"].numpy().tobytes()
    data[data.index(weight) + 100] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum"):
        load_checkpoint(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_safetensors_of_narrower_numbers_load(
    tiny_state: State, dtype: torch.dtype, tmp_path: Path
) -> None:
    path = tmp_path / "net.safetensors"
    narrow = {key: value.to(dtype) for key, value in tiny_state.items()}
    save_file(narrow, path)
    for key, value in load_checkpoint(path).state.items():
        assert torch.equal(value, narrow[key].float())


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 32]}}, "damaged"),
        ({"a": {"dtype": "F32", "shape": [8], "data_offsets": [0, 64]}}, "damaged"),
        ({"a": {"dtype": "F32", "shape": [8, 0], "data_offsets": [0, 0]}}, "must be 1 to|damaged"),
        ({"a": {"dtype": "Q4", "shape": [8], "data_offsets": [0, 32]}}, "damaged"),
        (
            {"a": {"dtype": "C64", "shape": [4], "data_offsets": [0, 32]}},
            "no supported network|damaged",
        ),
        ({"a": 5}, "damaged"),
        ({"conv_first.weight": {"dtype": "I32", "shape": [8], "data_offsets": [0, 32]}}, "must be"),
    ],
)
def test_a_safetensors_header_that_lies_is_refused(
    header: dict[str, Any], message: str, tmp_path: Path
) -> None:
    text = json.dumps(header).encode()
    path = tmp_path / "net.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(32))
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


def test_a_safetensors_header_of_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes((90 << 20).to_bytes(8, "little"))
    os.truncate(path, 100 << 20)  # sparse
    with pytest.raises(CheckpointError, match="its header would have 94371840 bytes"):
        load_checkpoint(path)


def test_a_safetensors_file_that_is_replaced_meanwhile_is_refused(
    tiny_state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its digest would be of another file than its weights."""
    path, other = tmp_path / "net.safetensors", tmp_path / "other.safetensors"
    save_file(tiny_state, path)
    save_file({key: value + 1 for key, value in tiny_state.items()}, other)
    opened = safetensors_file.safe_open

    def replace_and_open(name: Path, framework: str) -> Any:
        other.replace(name)
        return opened(name, framework=framework)

    monkeypatch.setattr(safetensors_file, "safe_open", replace_and_open)
    with pytest.raises(CheckpointError, match="the file was replaced"):
        load_checkpoint(path)


def test_a_list_of_parts_of_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    directory = 64 << 20
    path.write_bytes(b"PK\x03\x04")
    os.truncate(path, directory)  # sparse
    with path.open("ab") as stream:
        stream.write(struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, directory - 4, 4, 0))
    with pytest.raises(CheckpointError, match="list of parts has more than"):
        load_checkpoint(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_only_regular_files_of_a_bounded_size_are_opened(suffix: str, tmp_path: Path) -> None:
    pipe = tmp_path / f"pipe{suffix}"
    os.mkfifo(pipe)
    folder = tmp_path / f"folder{suffix}"
    folder.mkdir()
    link = tmp_path / f"link{suffix}"
    link.symlink_to("/dev/zero")
    large = tmp_path / f"large{suffix}"
    large.touch()
    os.truncate(large, (2 << 30) + 1)
    for path, words in ((pipe, "named pipe"), (folder, "a folder"), (link, "a device")):
        with pytest.raises(CheckpointError, match=f"must be a regular file, it is .*{words}"):
            load_checkpoint(path)
    with pytest.raises(CheckpointError, match="the limit is 2147483648"):
        load_checkpoint(large)


def test_a_socket_is_named_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # addresses of sockets are short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("net.pth")
        with pytest.raises(CheckpointError, match=r"net\.pth cannot be opened: it is a socket"):
            load_checkpoint("net.pth")


@pytest.mark.parametrize("name", ["a\0.pth", f"{'a' * 5000}.pth"])
def test_a_name_that_no_file_can_have_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be opened") as caught:
        load_checkpoint(tmp_path / name)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("data", [b"", b"text, not tensors", b"\x80\x02.", b"PK\x03\x04broken"])
def test_what_is_no_checkpoint_is_refused(data: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="net"):
        load_checkpoint(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_checkpoint_is_refused(tiny_state: State, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"net{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(tiny_state, path)
    whole = path.read_bytes()
    for share in (0.01, 0.3, 0.7, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(CheckpointError):
            load_checkpoint(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.pop("conv_hr.bias"), "lacks conv_hr.bias"),
        (lambda s: s.update({"conv_hr.scale": torch.ones(1)}), "unknown conv_hr.scale"),
        (lambda s: s.update({"conv_hr.bias": torch.ones(9)}), r"shape \(8,\), got \(9,\)"),
        (lambda s: s["conv_hr.bias"].fill_(float("nan")), "conv_hr.bias holds NaN or Inf"),
        (lambda s: s.update({"conv_last.weight": torch.ones(1, 8, 3, 3)}), "RGB to RGB"),
        (lambda s: s.clear(), "dictionary of tensors"),
        (lambda s: s.update({"step": 3}), "'step' is not a tensor"),
    ],
)
def test_a_spoilt_checkpoint_says_what_is_wrong(
    tiny_state: State, spoil: Any, message: str, tmp_path: Path
) -> None:
    state = {key: value.clone() for key, value in tiny_state.items()}
    spoil(state)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(save(tmp_path / "net.pth", state))


def test_an_unknown_network_is_refused_by_its_keys(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"must be an RRDBNet.*begin with layer\.weight"):
        load_checkpoint(save(tmp_path / "net.pth", {"layer.weight": torch.ones(3)}))


def test_a_file_named_like_a_published_one_must_be_that_one(
    tiny_state: State, tmp_path: Path
) -> None:
    path = save(tmp_path / "RealESRGAN_x4plus.pth", tiny_state)
    with pytest.raises(ChecksumError, match="4fa0d38905f75ac06eb49a7951b426670021be3018265fd"):
        load_checkpoint(path)


def test_a_missing_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingModelError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "nowhere.pth")


def test_interpolation_gives_the_published_weights_and_picture(tmp_path: Path) -> None:
    case = json.loads((DATA / "pipeline" / "realesrganer.json").read_text())
    parts = []
    for name in ("srvgg_x4", "srvgg_x4_b"):
        spec = case["networks"][name]
        network = network_from_constructor(spec["arch"], spec["constructor"])
        fill_network(network, spec["seed"], spec["family"])
        state = network.state_dict()
        for key, factor in spec["rescale_after_recipe"].items():
            state[key] *= factor
        assert state_sha256(state) == spec["state_sha256"]
        parts.append(load_checkpoint(save(tmp_path / f"{name}.pth", {"params": state})))
    mixed = interpolate_checkpoints(parts[0], parts[1], case["dni"]["weights"][1])
    with np.load(DATA / "pipeline" / "dni.npz") as stored:
        arrays = dict(stored)
    for key, value in mixed.state.items():
        np.testing.assert_allclose(value, arrays[f"w__{key}"], rtol=0, atol=1e-6)
    assert mixed.sha256 not in (parts[0].sha256, parts[1].sha256)


def test_only_networks_of_one_architecture_are_mixed(tmp_path: Path) -> None:
    shapes = [RRDBNet(4, 8, 4, 1), RRDBNet(4, 8, 4, 2)]
    a, b = (
        load_checkpoint(save(tmp_path / f"{i}.pth", n.state_dict())) for i, n in enumerate(shapes)
    )
    with pytest.raises(CheckpointError, match="the same architecture can be blended"):
        interpolate_checkpoints(a, b, 0.5)
    with pytest.raises(OptionError, match=r"in 0\.\.1, got 1\.5"):
        interpolate_checkpoints(a, a, 1.5)


def test_recipe_states_follow_their_seed() -> None:
    shapes = {"conv_first.weight": (2, 3, 3, 3), "conv_first.bias": (2,)}
    assert state_sha256(make_state(shapes, 1, "rrdb")) != state_sha256(
        make_state(shapes, 2, "rrdb")
    )


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model": state},
        lambda state: {"model": {"params_ema": state}, "step": 3},
        lambda state: {"net_g": state, "net_d": {"weight": torch.ones(3)}},
        lambda state: {f"net_g.{key}": value for key, value in state.items()},
        lambda state: {
            "state_dict": {
                **{f"net_g.module.{key}": value for key, value in state.items()},
                "net_d.weight": torch.ones(3),
            }
        },
        lambda state: {f"module._orig_mod.{key}": value for key, value in state.items()},
    ],
    ids=["model", "nested", "networks", "prefix", "lightning", "compiled"],
)
def test_what_trainers_put_around_weights_is_removed(
    tiny_state: State, wrap: Callable[[State], object], tmp_path: Path
) -> None:
    path = save(tmp_path / "net.pth", wrap(tiny_state))
    assert state_sha256(load_checkpoint(path).state) == state_sha256(tiny_state)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_key_chooses_one_of_several_networks(
    tiny_state: State, suffix: str, tmp_path: Path
) -> None:
    zeros = {f"old.{key}": torch.zeros_like(value) for key, value in tiny_state.items()}
    both = {**zeros, **{f"new.{key}": value for key, value in tiny_state.items()}}
    path = tmp_path / f"net{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(both, path)
    loaded = load_checkpoint(path, hints=Hints(key="new"))
    assert state_sha256(loaded.state) == state_sha256(tiny_state)
    with pytest.raises(
        CheckpointError, match=r"nothing of the name third; .* begin with (old|new)\."
    ):
        load_checkpoint(path, hints=Hints(key="third"))


def test_a_key_chooses_a_dictionary(tiny_state: State, tmp_path: Path) -> None:
    zeros = {key: torch.zeros_like(value) for key, value in tiny_state.items()}
    path = save(tmp_path / "net.pth", {"params_ema": zeros, "mine": {"params": tiny_state}})
    loaded = load_checkpoint(path, hints=Hints(key="mine"))
    assert state_sha256(loaded.state) == state_sha256(tiny_state)


def test_a_gfpgan_can_send_its_styles_through_the_mapping_network(tmp_path: Path) -> None:
    network = GFPGANv1Clean(32, 16, 1, 2, narrow=0.125, is_latent=False)
    path = save(tmp_path / "net.pth", network.state_dict())
    plain = network_from_checkpoint(load_checkpoint(path))
    mapped = network_from_checkpoint(load_checkpoint(path, hints=Hints(is_latent=False)))
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        assert torch.equal(mapped(x), network.eval()(x))
        assert not torch.allclose(mapped(x), plain(x), atol=1e-3)


def test_the_side_of_a_parsenet_can_be_told(tmp_path: Path) -> None:
    network = ParseNet(64, 64, 16, 4, 5, 1, (4, 4))
    path = save(tmp_path / "net.pth", network.state_dict())
    spec = load_checkpoint(path, hints=Hints(side=64)).architecture
    assert spec == ParseNetSpec(64, 16, 4, 5, 1, (4, 4))
    assert load_checkpoint(path).architecture == ParseNetSpec(512, 128, 4, 5, 1, (4, 4))
    with pytest.raises(CheckpointError, match="halve a side of 63"):
        load_checkpoint(path, hints=Hints(side=63))


def test_styles_are_normalized_over_dimension_1_as_published() -> None:
    codes = torch.rand(2, 6, 16, generator=torch.Generator().manual_seed(1))
    norm = NormStyleCode()
    expected = codes / (codes.square().mean(1, keepdim=True) + 1e-8).sqrt()
    assert torch.allclose(norm(codes), expected)
    assert torch.allclose(norm(codes[:, 0]).square().mean(1), torch.ones(2))


def test_the_license_of_a_published_file_goes_with_its_weights(
    tiny_state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "net.pth", tiny_state)
    assert load_checkpoint(path).license == ""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(checkpoint_module._LICENSES, digest, "MIT")
    known = load_checkpoint(path)
    assert known.license == "MIT"
    assert interpolate_checkpoints(known, known, 0.5).license == "MIT"
    other = replace(known, license="Apache-2.0")
    assert interpolate_checkpoints(known, other, 0.5).license == "Apache-2.0 AND MIT"
    assert interpolate_checkpoints(known, replace(known, license=""), 0.5).license == ""
