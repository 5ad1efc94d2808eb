"""The networks that a recipe can start with."""

import pytest
import torch
from torch.nn import functional as F

from restora.errors import OptionError
from restora_training.networks import make_network
from restora_training.recipe_parts import NetworkPart


def test_an_untrained_network_can_start_as_bilinear_enlargement() -> None:
    torch.manual_seed(1)
    part = NetworkPart(
        architecture="rrdb",
        initial="bilinear",
        scale=2,
        features=8,
        growth=4,
        blocks=1,
        upsamples=1,
    )
    network = make_network(part)
    with torch.no_grad():
        network.conv_last.weight[:3, 3:] = 0  # type: ignore[index,union-attr]
        network.conv_body.weight.zero_()  # type: ignore[operator,union-attr]
        network.conv_body.bias.zero_()  # type: ignore[operator,union-attr]
        image = torch.rand(1, 3, 12, 10)
        bilinear = F.interpolate(image, scale_factor=2, mode="bilinear")
        inside = (slice(None), slice(None), slice(2, -2), slice(2, -2))
        torch.testing.assert_close(network(image)[inside], bilinear[inside], rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_a_compact_network_can_start_as_bilinear_enlargement(scale: int) -> None:
    torch.manual_seed(1)
    part = NetworkPart(architecture="srvgg", initial="bilinear", scale=scale, features=8, convs=3)
    network = make_network(part)
    with torch.no_grad():
        network.body[-1].weight[:, 3:] = 0  # type: ignore[index,union-attr]
        image = torch.rand(1, 3, 7, 10)
        bilinear = F.interpolate(image, scale_factor=scale, mode="bilinear")
        inside = (..., slice(scale, -scale), slice(scale, -scale))
        torch.testing.assert_close(network(image)[inside], bilinear[inside], rtol=0, atol=1e-6)


def test_a_compact_network_that_starts_bilinear_keeps_the_strength_of_its_signal() -> None:
    torch.manual_seed(1)
    part = NetworkPart(architecture="srvgg", initial="bilinear", features=32, convs=16)
    network = make_network(part)
    with torch.no_grad():
        features = network.body[:-1](torch.rand(1, 3, 16, 16))  # type: ignore[index,operator]
    assert features[:, 3:].std() > 0.1


def test_bilinear_enlargement_is_for_networks_with_one_upsample() -> None:
    part = NetworkPart(architecture="rrdb", initial="bilinear", features=8, growth=4, blocks=1)
    with pytest.raises(OptionError, match=r"scale = 2 and upsamples = 1"):
        make_network(part)


def test_a_frozen_decoder_is_for_face_networks() -> None:
    part = NetworkPart(architecture="srvgg", frozen_decoder=True, features=8, convs=1)
    with pytest.raises(OptionError, match="frozen_decoder is for face networks"):
        make_network(part)


def test_a_face_network_trains_its_unet_alone_with_a_frozen_decoder() -> None:
    part = NetworkPart(
        architecture="gfpgan",
        frozen_decoder=True,
        side=64,
        narrow=0.0625,
        channel_multiplier=1,
        style_features=16,
    )
    network = make_network(part)
    for key, parameter in network.named_parameters():
        assert parameter.requires_grad != key.startswith("stylegan_decoder."), key
