"""The discriminators of the published training code, in its key layout."""

from restora_training.discriminators.component import FacialComponentDiscriminator
from restora_training.discriminators.stylegan2 import StyleGAN2Discriminator
from restora_training.discriminators.unet import UNetDiscriminatorSN

__all__ = ["FacialComponentDiscriminator", "StyleGAN2Discriminator", "UNetDiscriminatorSN"]
