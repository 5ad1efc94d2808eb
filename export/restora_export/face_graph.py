"""GFP-GAN in the form in which it is exported: constant weights, any batch, FP16 where it is safe.

FP32 stays, in an FP16 network, where range or accumulation needs it: the style codes and all that
is made of them, demodulation, and the sum of the pictures of all resolutions.
"""

import copy

import torch
from torch import Tensor, nn

from restora_export.modulation import ConstantStyleConv, ConstantToRGB
from restora_export.reference import GFPGAN
from restora_export.reference.equalized import fold_gains
from restora_export.reference.stylegan2 import Condition, modulate_features


class ConstantDecoder(nn.Module):
    """The StyleGAN2 decoder of `network`, in eval mode and with its gains folded.

    noise: factor on the stored noise maps, put into the weights
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
    """GFP-GAN as exported: (batch, 3, side, side) RGB in 0..1 to the same, FP32, not clipped.

    noise: 0..1, factor on the stored noise; 1 is the published picture
    dtype: of features and weights: float32 or float16
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
