"""Fixed networks whose features a loss compares. Their weights come from files that users name."""

from restora_training.extractors.arcface import ResNetArcFace
from restora_training.extractors.vgg19 import VGG19Features

__all__ = ["ResNetArcFace", "VGG19Features"]
