"""Facts about loading checkpoints, the hostile ones included."""

import hashlib
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from recipe import DATA, fill_network, make_state, network_from_constructor, state_sha256
from restora.errors import CheckpointError, ChecksumError, MissingModelError, OptionError
from restora_export.architecture import Hints, RRDBSpec, SRVGGSpec, detect_architecture
from restora_export.checkpoint import load_checkpoint, network_from_checkpoint
from restora_export.face_architecture import GFPGANSpec, ParseNetSpec, RetinaFaceSpec
from restora_export.interpolate import interpolate_checkpoints
from restora_export.reference import RRDBNet, SRVGGNetCompact

MANIFESTS: dict[str, Any] = json.loads((DATA / "manifests.json").read_text())
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
    with pytest.raises(CheckpointError, match="nothing in it was run"):
        load_checkpoint(path)
    plain = tmp_path / "plain.pth"
    plain.write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError):
        load_checkpoint(plain)
    assert not trap.exists()


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
        (lambda s: s.update({"step": 3}), "'step' is none"),
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
    with pytest.raises(CheckpointError, match="one architecture can be mixed"):
        interpolate_checkpoints(a, b, 0.5)
    with pytest.raises(OptionError, match=r"in 0\.\.1, got 1\.5"):
        interpolate_checkpoints(a, a, 1.5)


def test_recipe_states_follow_their_seed() -> None:
    shapes = {"conv_first.weight": (2, 3, 3, 3), "conv_first.bias": (2,)}
    assert state_sha256(make_state(shapes, 1, "rrdb")) != state_sha256(
        make_state(shapes, 2, "rrdb")
    )
