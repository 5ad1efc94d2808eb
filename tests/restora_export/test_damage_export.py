"""The networks that find and repair damage: their export, and what their graphs promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from export_cache import kept
from fakes import open_on_cpu
from restora.artifact import Artifact, artifact_from_bytes, check_accuracy
from restora.backends import SessionOptions, choose_session
from restora.errors import CheckpointError, OptionError
from restora_export.architecture import detect_architecture
from restora_export.checkpoint import load_checkpoint, network_from_checkpoint
from restora_export.damage_graph import RepairerGraph
from restora_export.export import export_network
from restora_export.photo_tiles import load_photo_tiles
from restora_export.reference import DamageDetector, Repairer
from restora_export.reference.repairer import fill_smoothly
from restora_export.verify import run_reference, with_mask

SMALL = {DamageDetector: (4, 6, 8, 10), Repairer: (4, 6, 8)}


def small(kind: type[DamageDetector] | type[Repairer]) -> DamageDetector | Repairer:
    torch.manual_seed(3)
    network = kind(SMALL[kind])  # type: ignore[arg-type]
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as after training
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
    return network.eval().requires_grad_(False)


def artifact_of(kind: type[DamageDetector] | type[Repairer], precision: str = "fp32") -> Artifact:
    def make() -> bytes:
        exported = export_network(
            small(kind),
            model="damage",
            architecture="small",
            weights_sha256="0" * 64,
            precision=precision,  # type: ignore[arg-type]
        )
        return exported.artifact.onnx

    return artifact_from_bytes(kept(f"{kind.__name__} {precision}", make))


@pytest.mark.parametrize(
    ("kind", "name", "multiple"),
    [(DamageDetector, "damage-detector", 16), (Repairer, "repairer", 32)],
)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_artifact_passes_its_gate_and_says_what_it_is(
    kind: type[DamageDetector] | type[Repairer], name: str, multiple: int, precision: str
) -> None:
    artifact = artifact_of(kind, precision)
    info = artifact.info
    check_accuracy(info)
    assert (info.kind, info.size_multiple, info.scale) == (name, multiple, 1)
    assert info.overlap_px == 64
    assert artifact.read_selfcheck() is not None


def test_a_session_finds_what_the_reference_finds_in_any_size() -> None:
    network = small(DamageDetector)
    session = open_on_cpu(artifact_of(DamageDetector))
    tiles = load_photo_tiles()
    for batch in (tiles[:2, :48, :64], tiles[:1, :16, :16]):
        expected = run_reference(network, batch)
        got = session.run(batch)
        assert got.shape == (*batch.shape[:3], 1)
        assert np.abs(got.astype(int) - expected).max() <= 1  # values near .5 round either way


def test_pixels_outside_the_mask_pass_bit_for_bit_also_when_the_network_gives_nan() -> None:
    broken = small(Repairer)
    with torch.no_grad():
        assert broken.fill_head.bias is not None
        broken.fill_head.bias.fill_(float("nan"))
    tiles = load_photo_tiles()[:1].astype(np.float32) / 255
    batch = np.rint(with_mask(tiles, np.random.default_rng(0)) * 255).astype(np.uint8)
    result, means = RepairerGraph(broken, "fp32")(torch.from_numpy(batch))
    outside = batch[..., 3] < 128
    assert 0.1 < outside.mean() < 0.9
    assert np.array_equal(result.numpy()[outside], batch[..., :3][outside])
    assert not np.isfinite(means.numpy()).any()


@pytest.mark.parametrize("backend", ["cpu", "openvino"])
def test_every_level_passes_a_repairers_session_unchanged(backend: str, tmp_path: Path) -> None:
    """Also in bfloat16, which OpenVINO computes in where the CPU can."""
    (tmp_path / "repair.onnx").write_bytes(artifact_of(Repairer).onnx)
    options = SessionOptions(backend=backend)  # type: ignore[arg-type]
    session = choose_session(tmp_path / "repair.onnx", options=options).session
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(2, 0).repeat(2, 1)
    batch = np.repeat(levels[None, ..., None], 4, 3)
    batch[..., 3] = 127
    assert np.array_equal(session.run(batch), batch[..., :3])
    batch[..., 3] = 192
    assert session.run(batch).std() < batch[..., :3].std()  # all of it is filled, smoothly
    session.close()


def test_levels_of_a_mask_name_damage_and_damage_whose_color_does_not_count() -> None:
    tile = load_photo_tiles()[:1, :64, :64]
    graph, results = RepairerGraph(small(Repairer), "fp32"), []
    for level in (127, 128, 191, 192, 255):
        mask = np.full((1, 64, 64, 1), level, np.uint8)
        mask[:, :16] = 0
        results.append(graph(torch.from_numpy(np.concatenate((tile, mask), 3)))[0].numpy())
    none, seen, seen_too, hidden, hidden_too = results
    assert np.array_equal(none, tile)
    assert np.array_equal(seen, seen_too)
    assert np.array_equal(hidden, hidden_too)
    assert not np.array_equal(seen, hidden)
    for result in (seen, hidden):
        assert not np.array_equal(result[:, 16:], tile[:, 16:])
        assert np.array_equal(result[:, :16], tile[:, :16])


def test_a_smooth_filling_keeps_what_is_known_and_fills_flat_holes_exactly() -> None:
    torch.manual_seed(0)
    picture = torch.rand(1, 3, 64, 64)
    known = (torch.rand(1, 1, 64, 64) > 0.3).float()
    filled = fill_smoothly(picture, known)
    assert torch.equal(filled * known, picture * known)
    flat = torch.full((1, 3, 64, 64), 0.7)
    known[..., :40, :40] = 0
    torch.testing.assert_close(fill_smoothly(flat, known), flat)
    assert torch.isfinite(fill_smoothly(flat, known * 0)).all()


@pytest.mark.parametrize("hidden", [True, False])
def test_a_filling_depends_on_what_lies_under_the_mask_unless_it_is_hidden(hidden: bool) -> None:
    network = small(Repairer)
    torch.manual_seed(0)
    picture, mask = torch.rand(1, 3, 64, 64), (torch.rand(1, 1, 64, 64) < 0.1).float()
    other = torch.where(mask > 0.5, torch.rand(1, 3, 64, 64), picture)
    results = [network(torch.cat((p, mask, mask * hidden), 1)) for p in (picture, other)]
    assert torch.equal(*results) == hidden


@pytest.mark.parametrize("kind", [DamageDetector, Repairer])
def test_a_checkpoint_in_fp16_is_recognized_with_its_sizes(
    kind: type[DamageDetector] | type[Repairer], tmp_path: Path
) -> None:
    state = small(kind).state_dict()
    half = {k: v.half() if v.dtype.is_floating_point else v for k, v in state.items()}
    save_file(half, tmp_path / "net.safetensors")
    loaded = load_checkpoint(tmp_path / "net.safetensors")
    sizes = ", ".join(map(str, SMALL[kind]))
    assert str(loaded.architecture) == f"{kind.__name__}, {sizes} features"
    assert isinstance(network_from_checkpoint(loaded), kind)
    del state["stem.conv.weight"]
    with pytest.raises(CheckpointError, match="it lacks"):
        detect_architecture({k: v for k, v in state.items() if "from_" not in k})


def test_the_two_networks_of_the_default_sizes_have_fewer_than_three_million_weights() -> None:
    with torch.device("meta"):
        networks = DamageDetector(), Repairer()
    assert sum(p.numel() for n in networks for p in n.parameters()) < 3_000_000


def test_they_are_exported_for_uint8_pictures_only() -> None:
    for choices in ({"io": "float32"}, {"precision": "mixed"}):
        with pytest.raises(OptionError, match="for uint8 images in fp32 or fp16 only"):
            export_network(
                small(Repairer), model="x", architecture="x", weights_sha256="0" * 64, **choices
            )
