"""Every loss, and its gradient, against the published code's numbers."""

from typing import Literal

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from restora_training.discriminators import FacialComponentDiscriminator, StyleGAN2Discriminator
from restora_training.extractors import ResNetArcFace
from restora_training.losses import (
    GanKind,
    PerceptualLoss,
    component_style_loss,
    fake_loss,
    generator_loss,
    gram_matrix,
    gray_faces,
    identity_loss,
    l1_loss,
    make_pyramid,
    pyramid_loss,
    r1_penalty,
    real_loss,
)
from restora_training.losses.ssim import measure_ssim
from training_vectors import Case

KINDS: dict[str, GanKind] = {
    "vanilla": "vanilla",
    "wgan_softplus": "logistic",
    "lsgan": "lsgan",
    "wgan": "wgan",
    "hinge": "hinge",
}


def gradient_of(loss: torch.Tensor, leaf: torch.Tensor) -> torch.Tensor:
    (gradient,) = torch.autograd.grad(loss, leaf, retain_graph=True)
    return gradient


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weight", ["none", "weight1", "weight3"])
def test_l1(reduction: Literal["mean", "sum"], weight: str) -> None:
    case = Case("l1")
    prediction = case["pred"].requires_grad_()
    weights = None if weight == "none" else case[weight]
    loss = l1_loss(prediction, case["target"], weight=weights, reduction=reduction)
    case.check(f"value_{reduction}_w1.0_{weight}", loss)
    case.check(f"value_{reduction}_w0.1_{weight}", 0.1 * loss)
    case.check(f"grad_{reduction}_w0.1_{weight}", gradient_of(0.1 * loss, prediction))


def test_l1_without_reduction() -> None:
    case = Case("l1")
    case.check("value_none", 0.5 * l1_loss(case["pred"], case["target"], reduction="none"))


@pytest.mark.parametrize("name", ["percep_gfpgan", "percep_realesrgan"])
def test_perceptual_and_style_losses(name: str) -> None:
    case = Case(name)
    loss = PerceptualLoss(case.facts["layer_weights"], range_norm=case.facts["range_norm"])
    case.fill(loss.extractor)
    prediction = case["pred"].requires_grad_()
    styled = case.facts["style_weight"] > 0
    perceptual, style = loss.compare(prediction, case["target"], style=styled)
    last = slice(1, 2) if "grad_percep" in case.facts.get("sliced", {}) else slice(None)
    case.check("percep", perceptual)
    case.check("grad_percep", gradient_of(perceptual, prediction)[last])
    assert (style is not None) == styled
    if style is not None:
        style = case.facts["style_weight"] * style
        case.check("style", style)
        case.check("grad_style", gradient_of(style, prediction)[last])


@pytest.mark.parametrize("leaf", ["score", "map"])
@pytest.mark.parametrize("kind", KINDS)
def test_adversarial_losses(leaf: str, kind: str) -> None:
    case = Case("gan")
    logits = case[leaf].requires_grad_()
    weight = case.facts["loss_weight"]
    losses = {
        "real_disc": real_loss(logits, KINDS[kind]),
        "fake_disc": fake_loss(logits, KINDS[kind]),
        "real_gen": weight * generator_loss(logits, KINDS[kind]),
    }
    for side, loss in losses.items():
        key = f"{leaf}_{kind}_{side}"
        case.check(key, loss)
        if f"grad_{key}" in case.facts["arrays"]:
            case.check(f"grad_{key}", gradient_of(loss, logits))


def test_the_r1_penalty_and_its_double_backward() -> None:
    case = Case("r1")
    values = case.facts["constructor"]
    network = StyleGAN2Discriminator(
        values["out_size"], values["channel_multiplier"], narrow=values["narrow"]
    )
    case.fill(network)
    images = case.multiscale((2, 3, 32, 32)).requires_grad_()
    logits = network(images)
    case.check("out", logits)
    penalty = r1_penalty(images, logits)
    case.check("penalty", penalty)
    scaled = 10 / 2 * penalty * 16
    case.check("scaled", scaled)
    (scaled + 0 * logits.sum()).backward()
    norms = torch.stack([p.grad.norm() for p in network.parameters() if p.grad is not None])
    case.check("grad_norms_of_scaled", norms)
    for key, parameter in network.named_parameters():
        if f"grad_{key}" in case.facts["arrays"]:
            case.check(f"grad_{key}", parameter.grad)


def test_the_gram_matrix() -> None:
    case = Case("gram")
    case.check("gram", gram_matrix(case["feat"]))


def test_the_style_of_a_component() -> None:
    case = Case("comp_style")
    network = FacialComponentDiscriminator()
    case.fill(network)
    prediction = case["pred"].requires_grad_()
    features = network.judge(prediction)[1]
    wanted = network.judge(case["target"])[1]
    loss = case.facts["comp_style_weight"] * component_style_loss(features, wanted)
    case.check("value", loss)
    case.check("grad_pred", gradient_of(loss, prediction))


def test_the_identity_of_a_face() -> None:
    case = Case("identity")
    network = ResNetArcFace()
    case.fill(network).eval()
    prediction = case["pred"].requires_grad_()
    gray = gray_faces(prediction)
    case.check("grey_pred_every4th", gray[:, :, ::4, ::4])
    case.check("embedding_pred", network(gray))
    loss = case.facts["identity_weight"] * identity_loss(network, prediction, case["target"])
    case.check("value", loss)
    case.check("grad_pred", gradient_of(loss, prediction))


def test_gray_faces_of_any_size() -> None:
    case = Case("grey_resize")
    case.check("grey", gray_faces(case["image"], case.facts["size"]))


def test_the_pyramid_of_a_face() -> None:
    case = Case("pyramid")
    target = case.multiscale((1, 3, 64, 64))
    levels = make_pyramid(target)
    assert [level.shape[-1] for level in levels] == case.facts["sizes"]
    predictions = [case[f"rgb_{side}"].requires_grad_() for side in (8, 16, 32)]
    noise = case.draw("pyramid/rgb3", (1, 3, 64, 64))
    largest = (target.double() + torch.from_numpy(0.2 * noise)).clamp(-1.2, 1.2).float()
    predictions.append(largest)
    for level, prediction in zip(levels, predictions, strict=True):
        side = level.shape[-1]
        if side < 64:
            case.check(f"level_{side}", level)
        case.check(f"l_p_{side}", l1_loss(prediction, level))
    case.check("grad_rgb_8", gradient_of(l1_loss(predictions[0], levels[0]), predictions[0]))
    total = sum(case[f"l_p_{side}"] for side in (8, 16, 32, 64))
    torch.testing.assert_close(pyramid_loss(predictions, levels), total, rtol=1e-5, atol=0)


def test_the_trained_ssim_is_the_evaluated_one() -> None:
    rng = np.random.default_rng(0)
    a = rng.random((40, 31, 3), np.float32)
    b = np.clip(a + rng.normal(0, 0.1, a.shape), 0, 1).astype(np.float32)
    expected = structural_similarity(
        a, b, channel_axis=2, data_range=1, use_sample_covariance=False
    )
    tensors = [torch.from_numpy(x).permute(2, 0, 1)[None] for x in (a, b)]
    assert measure_ssim(*tensors).item() == pytest.approx(expected, abs=1e-4)  # border pixels
