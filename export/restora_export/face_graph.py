"""The exported form of GFP-GAN: constant weights, any batch size, FP16 where it is safe.

An FP16 network keeps FP32 where range or accumulation require it: the style codes and everything
computed from them, demodulation, and the sum of the images of all resolutions.
"""

import copy

import torch
from torch import Tensor, nn

from restora_export.modulation import ConstantStyleConv, ConstantToRGB
from restora_export.reference import GFPGAN
from restora_export.reference.equalized import fold_gains
from restora_export.reference.stylegan2 import Condition, modulate_features


class ConstantDecoder(nn.Module):
    """The StyleGAN2 decoder of `network`, in eval mode, with folded gains.

    noise: factor of the stored noise maps, folded into the weights
    """

    def __init__(self, network: GFPGAN, *, noise: float, dtype: torch.dtype) -> None:
        super().__init__()
        decoder = network.stylegan_decoder
        noises = [value * noise for value in decoder.noises.buffers()]
        layers = [decoder.style_conv1, *decoder.style_convs]
        self.style_convs = nn.ModuleList(
            ConstantStyleConv(layer, noise_map, dtype)
            for layer, noise_map in zip(layers, noises, strict=True)
        )
        self.to_rgbs = nn.ModuleList(
            ConstantToRGB(layer, dtype) for layer in (decoder.to_rgb1, *decoder.to_rgbs)
        )
        constant = decoder.constant_input.weight.detach().to(dtype)
        self.register_buffer("constant", constant)

    def forward(self, styles: Tensor, conditions: list[Condition]) -> Tensor:
        x: Tensor = self.style_convs[0](self.constant, styles[:, 0])
        picture = self.to_rgbs[0](x, styles[:, 1], None)
        for level, condition in enumerate(conditions):
            code = 2 * level + 1
            x = self.style_convs[code](x, styles[:, code])
            x = self.style_convs[code + 1](modulate_features(x, condition), styles[:, code + 1])
            picture = self.to_rgbs[level + 1](x, styles[:, code + 2], picture)
        summed: Tensor = picture
        return summed


class ConstantGFPGAN(nn.Module):
    """The exported GFP-GAN: maps (batch, 3, side, side) RGB in 0..1 to the same, unclipped.

    noise: factor of the stored noise, 0..1; 1 is the original strength
    dtype: dtype of features and weights, float32 or float16
    """

    def __init__(
        self, network: GFPGAN, *, noise: float = 1.0, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        network = copy.deepcopy(network).eval().requires_grad_(False)
        fold_gains(network)
        self.decoder = ConstantDecoder(network, noise=noise, dtype=dtype)
        self.unet = network.to(dtype)
        self.unet.final_linear.float()
        self.unet.stylegan_decoder.style_mlp.float()
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        deepest, skips = self.unet.encode((x * 2 - 1).to(self.dtype))
        styles = self.unet.make_styles(deepest.float())
        conditions = self.unet.make_conditions(self.unet.decode(deepest, skips))
        picture: Tensor = self.decoder(styles, conditions)
        return picture * 0.5 + 0.5
