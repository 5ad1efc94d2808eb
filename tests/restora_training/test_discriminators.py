"""The discriminators and feature networks against the published code's numbers."""

import json
from typing import Any

import pytest
import torch
from torch import nn

from recipe import state_sha256
from restora_training.discriminators import (
    FacialComponentDiscriminator,
    StyleGAN2Discriminator,
    UNetDiscriminatorSN,
)
from restora_training.discriminators.stylegan2 import append_deviation
from restora_training.discriminators.unet import spectral_norms
from restora_training.extractors import ResNetArcFace, VGG19Features
from restora_training.losses import LAYER_WEIGHTS
from training_vectors import FOLDER, Case

LAYERS = list(LAYER_WEIGHTS)


def unet(values: dict[str, Any]) -> nn.Module:
    return UNetDiscriminatorSN(
        values["num_in_ch"], values["num_feat"], skips=values["skip_connection"]
    )


def stylegan2(values: dict[str, Any]) -> nn.Module:
    return StyleGAN2Discriminator(
        values["out_size"],
        values["channel_multiplier"],
        group=values["stddev_group"],
        narrow=values["narrow"],
    )


def grad_norms(network: nn.Module) -> torch.Tensor:
    return torch.stack([p.grad.norm() for p in network.parameters() if p.grad is not None])


def mean_std_largest(x: torch.Tensor) -> torch.Tensor:
    return torch.stack((x.mean(), x.std(unbiased=False), x.abs().max()))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("UNetDiscriminatorSN", unet),
        ("StyleGAN2Discriminator", stylegan2),
        ("FacialComponentDiscriminator", lambda _: FacialComponentDiscriminator()),
        ("ResNetArcFace", lambda _: ResNetArcFace()),
    ],
)
def test_keys_and_shapes_are_the_published_ones(name: str, make: Any) -> None:
    manifests = json.loads((FOLDER / "manifests.json").read_text())
    of_this = [entry for entry in manifests.values() if entry["architecture"] == name]
    assert of_this
    for entry in of_this:
        with torch.device("meta"):
            state = make(entry["constructor"]).state_dict()
        assert [[key, list(value.shape)] for key, value in state.items()] == [
            row[:2] for row in entry["state_dict"]
        ]


def test_vgg19_keys_are_those_of_torchvision() -> None:
    manifest = json.loads((FOLDER / "manifests.json").read_text())["VGG19_features"]
    with torch.device("meta"):
        state = VGG19Features(["conv5_4"]).state_dict()
    assert [[key, list(value.shape)] for key, value in state.items()] == [
        row[:2] for row in manifest["state_dict"]
    ]


@pytest.mark.parametrize("name", ["unet16", "unet16_noskip", "unet64"])
def test_the_unet_judges_like_the_published_one_and_updates_its_spectral_norms(name: str) -> None:
    case = Case(name)
    network = case.fill(unet(case.facts["constructor"])).eval()
    assert state_sha256(network.state_dict()) == case.facts["state_sha256"]
    image = case["input"].requires_grad_()
    out = network(image)
    case.check("sigma_eval", spectral_norms(network))
    case.check("out_eval", out)
    out.mean().backward()
    case.check("grad_input_of_mean_eval", image.grad)

    network.zero_grad()
    network.train()
    runs = [run for run in (1, 2, 3) if f"out_train_{run}" in case.facts["arrays"]]
    for run in runs:
        network.zero_grad()
        out = network(image)
        case.check(f"out_train_{run}", out)
        case.check(f"sigma_train_{run}", spectral_norms(network))
        out.mean().backward()
    case.check("grad_norms_train_last", grad_norms(network))
    if "grad_conv1.weight_orig_train_last" in case.facts["arrays"]:
        gradient = network.conv1.weight_orig.grad  # type: ignore[union-attr]
        case.check("grad_conv1.weight_orig_train_last", gradient[::2])
    for key, value in network.state_dict().items():
        if f"{key}_after_train" in case.facts["arrays"]:
            case.check(f"{key}_after_train", value)
    case.check("out_eval_after_train", network.eval()(image))


@pytest.mark.parametrize("name", ["sg2d_64_b2", "sg2d_32_b4", "sg2d_32_b8"])
def test_the_stylegan2_discriminator_judges_like_the_published_one(name: str) -> None:
    case = Case(name)
    network = case.fill(stylegan2(case.facts["constructor"]))
    assert state_sha256(network.state_dict()) == case.facts["state_sha256"]
    facts = case.facts["input"]
    image = case.multiscale((facts["batch"], 3, facts["size"], facts["size"])).requires_grad_()
    features = network.conv_body(image)  # type: ignore[operator]
    case.check("before_stddev_sample0", features[0])
    case.check("stddev_channel_per_sample", append_deviation(features, 4)[:, -1, 0, 0])
    out = network(image)
    case.check("out", out)
    out.sum().backward()
    gradient = image.grad[-1]
    sliced = "grad_input_of_sum_last_sample" in case.facts.get("sliced", {})
    case.check("grad_input_of_sum_last_sample", gradient[:, ::2, ::2] if sliced else gradient)
    case.check("grad_norms_of_sum", grad_norms(network))


def test_a_batch_that_does_not_divide_into_groups_is_refused() -> None:
    with pytest.raises(ValueError, match="a batch above 4 must be a multiple of 4, got 6"):
        append_deviation(torch.zeros(6, 1, 4, 4), 4)


def test_the_component_discriminator_judges_like_the_published_one() -> None:
    case = Case("comp_small")
    network = case.fill(FacialComponentDiscriminator())
    assert state_sha256(network.state_dict()) == case.facts["state_sha256"]
    image = case["input"].requires_grad_()
    out, features = network.judge(image)  # type: ignore[operator]
    case.check("out", out)
    for index, feature in enumerate(features):
        case.check(f"feat_{index}", feature[-1:])
        case.check(f"feat_{index}_mean_std_absmax", mean_std_largest(feature))
    out.mean().backward()
    case.check("grad_input_of_mean", image.grad)


@pytest.mark.parametrize("name", ["comp_80", "comp_120"])
def test_the_component_discriminator_takes_the_published_crops(name: str) -> None:
    case = Case(name)
    network = case.fill(FacialComponentDiscriminator()).requires_grad_(False)
    out, features = network.judge(case.sym(tuple(case.facts["input"]["shape"])))  # type: ignore[operator]
    case.check("out", out)
    for index, feature in enumerate(features):
        case.check(f"feat_{index}_mean_std_absmax", mean_std_largest(feature))


def test_arcface_embeds_like_the_published_one() -> None:
    case = Case("arcface")
    network = case.fill(ResNetArcFace()).eval().requires_grad_(False)
    assert state_sha256(network.state_dict()) == case.facts["state_sha256"]
    seen: dict[str, torch.Tensor] = {}
    for part in ("layer1", "layer2", "layer3", "layer4", "bn4"):
        network.get_submodule(part).register_forward_hook(
            lambda _module, _inputs, output, part=part: seen.__setitem__(part, output)
        )
    case.check("out", network(case.sym(tuple(case.facts["input"]["shape"]))))
    for part, output in seen.items():
        case.check(f"tap_{part}_mean_std_absmax", mean_std_largest(output))
    case.check("tap_layer4_sample0_ch0to31", seen["layer4"][0, :32])


@pytest.mark.parametrize("name", ["vgg19_range", "vgg19_unit"])
def test_vgg19_gives_the_published_features(name: str) -> None:
    case = Case(name)
    network = case.fill(VGG19Features(LAYERS, range_norm=case.facts["range_norm"]))
    features = network(case["input"])
    case.check("feat_conv1_2", features["conv1_2"][:, ::8])
    for layer in ("conv2_2", "conv3_4", "conv4_4"):
        case.check(f"feat_{layer}", features[layer][:, ::2])
    case.check("feat_conv5_4", features["conv5_4"])


def test_an_unknown_layer_is_named() -> None:
    with pytest.raises(ValueError, match="got conv9_9"):
        VGG19Features(["conv1_2", "conv9_9"])
