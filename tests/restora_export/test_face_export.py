"""Facts about the exported form of GFP-GAN: the same function, any batch, safe in FP16."""

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from fakes import open_on_cpu
from recipe import DATA, fill_network
from restora.artifact import Artifact, check_accuracy
from restora.errors import AccuracyGateError, OptionError, ShapeError
from restora.faces import RetinaFaceDetector
from restora_export.architecture import Hints
from restora_export.checkpoint import load_checkpoint, network_from_checkpoint
from restora_export.export import export_network
from restora_export.face_graph import ConstantGFPGAN
from restora_export.files import export_file, verify_file
from restora_export.half import tensor_core_arithmetic
from restora_export.modulation import ConstantConv
from restora_export.reference import (
    GFPGAN,
    GFPGANBilinear,
    GFPGANv1,
    GFPGANv1Clean,
    ParseNet,
    RetinaFace,
    RRDBNet,
)
from restora_export.reference.stylegan2 import CLEAN, ORIGINAL, Layout, ModulatedConv2d
from restora_export.verify import run_reference
from stored import read_json

FAMILIES = {
    GFPGANv1Clean: "gfpgan_clean",
    GFPGANBilinear: "gfpgan_equal",
    GFPGANv1: "gfpgan_equal",
}


def small_face(kind: type[GFPGAN] = GFPGANv1Clean, **choices: bool) -> GFPGAN:
    network = fill_network(kind(32, 16, 1, 2, narrow=0.125, **choices), 3, FAMILIES[kind])
    assert isinstance(network, GFPGAN)
    return network


@pytest.mark.parametrize("kind", FAMILIES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("half_steered", [True, False])
def test_the_exported_form_is_the_reference(kind: type[GFPGAN], half_steered: bool) -> None:
    network = small_face(kind, sft_half=half_steered)
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network(x * 2 - 1) / 2 + 0.5
        got = ConstantGFPGAN(network)(x)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("kind", FAMILIES, ids=lambda kind: kind.__name__)
def test_every_layer_of_the_decoder_is_the_references(kind: type[GFPGAN]) -> None:
    network = small_face(kind)
    constant = ConstantGFPGAN(network)
    reference_taps, taps = [], []

    def keep(into: list[Tensor]) -> object:
        return lambda _module, _inputs, output: into.append(output)

    decoder = network.stylegan_decoder
    pairs = zip(
        (decoder.style_conv1, *decoder.style_convs, decoder.to_rgb1, *decoder.to_rgbs),
        (*constant.decoder.style_convs, *constant.decoder.to_rgbs),
        strict=True,
    )
    for reference_layer, layer in pairs:
        reference_layer.register_forward_hook(keep(reference_taps))
        layer.register_forward_hook(keep(taps))
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        network(x * 2 - 1)
        constant(x)
    assert len(taps) == len(reference_taps) == 11
    for got, expected in zip(taps, reference_taps, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


def large_style_conv(layout: Layout, *, doubles: bool) -> tuple[ModulatedConv2d, Tensor, Tensor]:
    """A layer whose styles lie between -1000 and 1000, as published weights have them."""
    generator = torch.Generator().manual_seed(2)
    conv = ModulatedConv2d(64, 32, 3, 16, layout, doubles=doubles).requires_grad_(False)
    nn.init.uniform_(conv.modulation.weight, -1000, 1000, generator=generator)
    style = torch.rand(2, 16, generator=generator) * 2 - 1
    style /= style.abs().sum(1, keepdim=True)  # |style| <= 1000 behind the linear layer
    style *= 16 if layout.equalized else 1
    style = style / (conv.modulation(style).abs().amax(1, keepdim=True) / 1000)
    return conv, torch.randn(2, 64, 8, 8, generator=generator), style


@pytest.mark.parametrize("layout", [CLEAN, ORIGINAL], ids=["clean", "original"])
@pytest.mark.parametrize("doubles", [False, True])
def test_styles_of_a_thousand_break_the_published_form_in_fp16_and_not_ours(
    layout: Layout, doubles: bool
) -> None:
    conv, x, style = large_style_conv(layout, doubles=doubles)
    with torch.inference_mode():
        assert 900 < conv.modulation(style).abs().max() < 1100
        expected = conv(x, style)
        constant = ConstantConv(conv, torch.float16)
        y, factor = constant(x.half(), style)
        ours = y.float() * factor
        naive = copy.deepcopy(conv).half()(x.half(), style.half()).float()
    spread = expected.std()
    assert (ours - expected).abs().max() < 0.02 * spread  # FP16 has 11 bits
    assert not (naive - expected).abs().max() < 0.5 * spread


def test_tensor_core_arithmetic_is_half_between_operations() -> None:
    conv = nn.Conv2d(64, 4, 3).half()
    x = torch.full((1, 64, 8, 8), 300.0, dtype=torch.float16)
    nn.init.constant_(conv.weight, 1.0)
    with tensor_core_arithmetic():
        assert torch.isinf(conv(x)).all()  # 64 * 9 * 300 is beyond FP16
        nn.init.constant_(conv.weight, 1 / 4096)
        y = conv(x)
    assert y.dtype == torch.float16
    torch.testing.assert_close(y.float(), torch.full_like(y, 42.1875).float(), rtol=1e-3, atol=1e-2)


def test_noise_strength_is_put_into_the_weights() -> None:
    network = small_face()
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        for noise in (0.0, 0.4):
            expected = network(x * 2 - 1, noise) / 2 + 0.5
            torch.testing.assert_close(
                ConstantGFPGAN(network, noise=noise)(x), expected, rtol=0, atol=1e-5
            )


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faces") / "face.pth"
    torch.save({"params_ema": small_face().state_dict()}, path)
    return path


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_face_artifact_takes_any_batch_of_one_side(checkpoint: Path, precision: str) -> None:
    path = checkpoint.with_name(f"{precision}.onnx")
    export_file(checkpoint, path, precision=precision, noise=0.5)  # type: ignore[arg-type]
    session = open_on_cpu(path)
    assert session.info.kind == "face"
    assert (session.info.side, session.info.scale, session.info.noise) == (32, 1, 0.5)
    faces = np.random.default_rng(4).integers(0, 256, (5, 32, 32, 3), np.uint8)
    together = session.run(faces)
    assert together.shape == faces.shape
    one_by_one = np.concatenate([session.run(faces[i : i + 1]) for i in range(5)])
    assert np.abs(together.astype(int) - one_by_one).max() <= 1
    expected = run_reference(small_face(), faces, noise=0.5)
    levels = 1 if precision == "fp32" else 3
    assert np.abs(together.astype(int) - expected).max() <= levels
    with pytest.raises(ShapeError, match="takes tiles of 32 x 32"):
        session.run(faces[:, :16])
    info, figures = verify_file(path, checkpoint)
    check_accuracy(info, figures)


def test_fp16_that_overflows_is_refused() -> None:
    network = fill_network(RRDBNet(2, 8, 4, 1), 3, "rrdb")
    network.conv_first.weight.mul_(1e6)
    network.conv_body.weight.mul_(0)
    network.conv_hr.weight.mul_(1e-6)
    words = {"model": "hot", "architecture": "test", "weights_sha256": "0" * 64}
    export_network(network, **words)
    with pytest.raises(AccuracyGateError, match="NaN or Inf"):
        export_network(network, precision="fp16", **words)


def test_what_makes_no_picture_is_exported_in_fp32_only() -> None:
    with pytest.raises(OptionError, match="a detector is exported for uint8 images in fp32"):
        export_network(
            RetinaFace(), model="d", architecture="", weights_sha256="", precision="fp16"
        )


@pytest.mark.parametrize("kind", FAMILIES, ids=lambda kind: kind.__name__)
def test_face_checkpoints_are_told_by_their_keys(tmp_path: Path, kind: type[GFPGAN]) -> None:
    network = fill_network(kind(64, 24, 2, 3, narrow=0.0625, sft_half=False), 5, FAMILIES[kind])
    torch.save({"params_ema": network.state_dict()}, tmp_path / "net.pth")
    bilinear = kind is GFPGANBilinear
    hints = Hints(resampling="bilinear" if bilinear else "fir")
    loaded = network_from_checkpoint(load_checkpoint(tmp_path / "net.pth", hints=hints))
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(loaded(x), network(x))


def test_a_parser_is_told_by_its_keys(tmp_path: Path) -> None:
    network = fill_network(ParseNet(64, 64, 16, 8, 19, 2, (4, 16)), 3, "parsenet")
    torch.save(network.state_dict(), tmp_path / "parse.pth")
    loaded = network_from_checkpoint(load_checkpoint(tmp_path / "parse.pth"))
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(loaded(x)[0], network(x)[0])


def test_a_parser_artifact_labels_as_its_reference() -> None:
    network = fill_network(ParseNet(64, 64, 16, 8, 19, 2, (4, 16)), 3, "parsenet")
    exported = export_network(network, model="p", architecture="", weights_sha256="")
    session = open_on_cpu(exported.artifact)
    faces = np.random.default_rng(5).integers(0, 256, (2, 64, 64, 3), np.uint8)
    labels = session.run(faces)
    assert labels.shape == (2, 64, 64, 1)
    assert (labels != run_reference(network, faces)).mean() < 0.002


DETECTOR_VECTOR = "retinaface_r50_odd"


@pytest.fixture(scope="module")
def detector_artifact() -> Artifact:
    vector = read_json(DATA / "vectors" / "index.json.xz")[DETECTOR_VECTOR]
    network = fill_network(RetinaFace(), vector["seed"], "retinaface")
    return export_network(network, model="d", architecture="", weights_sha256="").artifact


def test_the_detectors_graph_reads_parts_of_shapes_by_slice(detector_artifact: Artifact) -> None:
    shapes = [
        n for n in onnx.load_from_string(detector_artifact.onnx).graph.node if n.op_type == "Shape"
    ]
    assert shapes
    assert not any(node.attribute for node in shapes)


def test_a_detector_artifact_finds_what_the_published_detector_finds(
    detector_artifact: Artifact,
) -> None:
    with np.load(DATA / "vectors" / f"{DETECTOR_VECTOR}.npz") as stored:
        pixels, expected = stored["input"][..., ::-1], stored["detections_97"]
    detector = RetinaFaceDetector(open_on_cpu(detector_artifact), long_side=None)
    faces = detector.detect(np.ascontiguousarray(pixels))
    rows = [[*face.box, face.score, *face.landmarks.ravel()] for face in faces]
    np.testing.assert_allclose(rows, expected, rtol=0, atol=0.05)  # pixels, as the vector states
