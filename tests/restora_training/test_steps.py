"""Whole iterations of training against two stored iterations of the published code."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from recipe import draw_multiscale, draw_raw, make_state, network_from_constructor
from restora_training.components import PUBLISHED
from restora_training.degradations.filters import sharpen_batch
from restora_training.discriminators import (
    FacialComponentDiscriminator,
    StyleGAN2Discriminator,
    UNetDiscriminatorSN,
)
from restora_training.extractors import ResNetArcFace
from restora_training.losses import PerceptualLoss
from restora_training.steps import FaceStep, FaceWeights, UpscalerStep, UpscalerWeights
from restora_training.steps.averages import start_average
from restora_training.steps.face import FaceGenerator
from training_vectors import Case, make_training_state


def load(case: Case, name: str, network: Any) -> Any:
    """Load the weights of one of the case's networks."""
    family, seed = case.facts["families"][name], case.facts["seeds"][name]
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    make = make_state if family in ("rrdb", "gfpgan_clean") else make_training_state
    network.load_state_dict(make(shapes, seed, family))
    return network


def adam(case: Case, optimizer: str, network: nn.Module) -> torch.optim.Optimizer:
    settings = case.facts["optimizer_settings"][optimizer]
    betas = (float(settings["betas"][0]), float(settings["betas"][1]))
    return torch.optim.Adam(network.parameters(), lr=settings["lr"], betas=betas)


def perceptual_of(case: Case, *, range_norm: bool) -> PerceptualLoss:
    loss = PerceptualLoss(range_norm=range_norm)
    load(case, "vgg19", loss.extractor)
    return loss


def check_network(
    case: Case, step: str, name: str, network: nn.Module, average: Any = None
) -> None:
    """Compare gradients, and weights where the gradients of all steps so far are not near zero."""
    groups = case.facts["grad_groups"][name]
    parameters = dict(network.named_parameters())
    for key in (
        key for key in parameters if not key.startswith(tuple(groups["without_gradient"]) or " ")
    ):
        assert parameters[key].grad is not None, key
    norms = []
    for group in groups["order"]:
        grads = [p.grad for key, p in parameters.items() if key.startswith(f"{group}.")]
        norms.append(torch.sqrt(sum(g.square().sum() for g in grads)))  # type: ignore[arg-type]
    case.check(f"{step}.{name}.grad_norms", torch.stack(norms))
    averaged = {} if average is None else dict(average.module.named_parameters())
    compared = 0
    for stored in case.facts["arrays"]:
        prefix = f"{step}.{name}.grad."
        if not stored.startswith(prefix):
            continue
        key = stored.removeprefix(prefix)
        case.check(stored, parameters[key].grad)
        clear = torch.ones_like(parameters[key], dtype=torch.bool)
        for earlier in ("step1", step):
            gradient = case[f"{earlier}.{name}.grad.{key}"]
            clear &= gradient.abs() > 0.01 * gradient.abs().max()
        values = {"new": parameters[key]} | ({"ema": averaged[key]} if averaged else {})
        for kind, value in values.items():
            stored_value = f"{step}.{name}.{kind}.{key}"
            difference = (value.detach() - case[stored_value])[clear].abs()
            assert difference.max() <= case.facts["atol"][stored_value], stored_value
            compared += 1
    assert compared


def check_losses(
    case: Case, step: str, losses: dict[str, torch.Tensor], names: dict[str, str]
) -> None:
    expected = case.facts["losses_readable"][step]
    for published, name in names.items():
        if published in expected:
            tolerance = case.facts["atol"][f"{step}.losses"]
            assert abs(float(losses[name]) - expected[published]) <= tolerance, published


def test_two_iterations_of_the_upscaler_are_the_published_ones() -> None:
    case = Case("realesrgan")
    options = case.facts["options"]
    generator = network_from_constructor("RRDBNet", {**options["network_g"], "scale": 4})
    load(case, "net_g", generator)
    discriminator = load(case, "net_d", UNetDiscriminatorSN(3, options["network_d"]["num_feat"]))
    average = start_average(generator, options["train"]["ema_decay"])
    step = UpscalerStep(
        generator,
        adam(case, "optimizer_g", generator),
        weights=UpscalerWeights(),
        discriminator=discriminator,
        discriminator_optimizer=adam(case, "optimizer_d", discriminator),
        perceptual=perceptual_of(case, range_norm=False),
    )
    names = {
        "l_g_pix": "pixel",
        "l_g_percep": "perceptual",
        "l_g_gan": "adversarial",
        "l_d_real": "discriminator_real",
        "l_d_fake": "discriminator_fake",
    }
    for number in (1, 2):
        pictures = case[f"gt{number}_bgr_u8"].flip(-1).permute(0, 3, 1, 2)
        clean = pictures.contiguous().float() / 255
        sharp = sharpen_batch(clean)
        case.check(f"step{number}.gt_usm_every2nd", sharp[-1:, :, ::2, ::2])
        degraded = case[f"lq{number}_rgb_u8"].float() / 255
        losses, output = step.run(degraded, clean, sharp)
        average.update_parameters(generator)
        case.check(f"step{number}.output", output[-1:])
        check_losses(case, f"step{number}", losses, names)
        check_network(case, f"step{number}", "net_g", generator, average)
        check_network(case, f"step{number}", "net_d", discriminator)
        state = discriminator.state_dict()
        for key in ("conv1.weight_u", "conv3.weight_u", "conv8.weight_u"):
            case.check(f"step{number}.net_d.{key}", state[key])
    case.check("ema_output_after_2", average(degraded)[:1])


def face_inputs(case: Case, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    seed = case.facts["seeds"]["net_g"]
    clean = draw_multiscale(f"gfpgan/gt{number}", side=64, batch=2, seed=seed)
    blocks = clean.reshape(2, 3, 16, 4, 16, 4).mean((3, 5)).repeat(4, 2).repeat(4, 3)
    noise = draw_raw(f"input/gfpgan/d{number}", (2, 3, 64, 64), seed)
    degraded = torch.from_numpy(np.clip(blocks + 0.1 * noise, -1, 1).astype(np.float32))
    torch.testing.assert_close(degraded, case[f"lq{number}"], rtol=0, atol=1e-6)
    return case[f"lq{number}"], torch.from_numpy(clean)


@pytest.mark.slow
def test_the_squared_error_counts_beside_the_absolute_one() -> None:
    network = nn.Conv2d(3, 3, 1)
    step = UpscalerStep(
        network,
        torch.optim.SGD(network.parameters(), lr=0.0),
        weights=UpscalerWeights(pixel=2.0, squared=3.0),
    )
    given = torch.zeros(1, 3, 4, 4)
    with torch.no_grad():
        nn.init.zeros_(network.bias)  # type: ignore[arg-type]
    losses, _ = step.run(given, torch.full_like(given, 0.5))
    assert losses["pixel"].item() == pytest.approx(2 * 0.5)
    assert losses["squared"].item() == pytest.approx(3 * 0.25)
    assert set(losses) == {"pixel", "squared"}


def test_two_iterations_of_the_face_network_are_the_published_ones() -> None:
    case = Case("gfpgan")
    options = case.facts["options"]
    network = network_from_constructor("GFPGANv1Clean", options["network_g"])
    load(case, "net_g", network)
    values = options["network_d"]
    discriminator = StyleGAN2Discriminator(
        values["out_size"], values["channel_multiplier"], narrow=values["narrow"]
    )
    load(case, "net_d", discriminator)
    components = {}
    for name in PUBLISHED:
        component = load(case, f"net_d_{name}", FacialComponentDiscriminator())
        components[name] = (component, adam(case, f"optimizer_d_{name}", component))
    identity = load(case, "network_identity", ResNetArcFace()).eval().requires_grad_(False)
    average = start_average(network, case.facts["ema_decay"])
    step = FaceStep(
        FaceGenerator(network, fresh_noise=False),
        adam(case, "optimizer_g", network),
        discriminator=discriminator,
        discriminator_optimizer=adam(case, "optimizer_d", discriminator),
        weights=FaceWeights(),
        perceptual=perceptual_of(case, range_norm=True),
        components=components,
        identity=identity,
    )
    boxes = {name: torch.tensor(case.facts["boxes_xyxy"][f"loc_{name}"]) for name in PUBLISHED}
    names = {
        "l_g_pix": "pixel",
        "l_g_percep": "perceptual",
        "l_g_style": "style",
        "l_g_gan": "adversarial",
        "l_g_comp_style_loss": "component_style",
        "l_identity": "identity",
        "l_d": "discriminator",
        "l_d_r1": "discriminator_r1",
    }
    names |= {f"l_g_gan_{name}": f"adversarial_{name}" for name in PUBLISHED}
    names |= {f"l_d_{name}": f"discriminator_{name}" for name in PUBLISHED}
    for number, iteration in zip((1, 2), case.facts["iterations"], strict=True):
        degraded, clean = face_inputs(case, number)
        losses, output = step.run(degraded, clean, boxes, iteration=iteration)
        average.update_parameters(network)
        case.check(f"step{number}.output", output[:1])
        check_losses(case, f"step{number}", losses, names)
        assert ("discriminator_r1" in losses) == (number == 2)
        check_network(case, f"step{number}", "net_g", network, average)
        check_network(case, f"step{number}", "net_d", discriminator)
        for name, (component, _) in components.items():
            check_network(case, f"step{number}", f"net_d_{name}", component)
    case.check("ema_output_after_2", average(degraded)[:1, :, ::2, ::2])
