"""The parts of a recipe: the network, its data, losses and optimizers, and the run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from restora_training.components import COMPONENTS
from restora_training.losses import GanKind

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Quality = Annotated[int, Field(ge=1, le=100)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NetworkPart(Part):
    """The network: a checkpoint to start from, or an architecture with random weights.

    start: path of a .pth, .safetensors or .param file
    architecture: "rrdb", "srvgg" or "gfpgan"
    initial: random weights, or bilinear enlargement that an srvgg, or an rrdb of scale 2 with one
        upsample, starts as
    scale, features: of upscalers; blocks, growth, upsamples: of rrdb; convs: of srvgg
    side, narrow, channel_multiplier, style_features: of gfpgan
    frozen_decoder: train the U-Net of a gfpgan only
    """

    start: Path | None = None
    architecture: Literal["rrdb", "srvgg", "gfpgan"] | None = None
    initial: Literal["random", "bilinear"] = "random"
    scale: Annotated[int, Field(ge=1, le=4)] = 4
    features: Positive = 64
    blocks: Positive = 23
    growth: Positive = 32
    upsamples: Annotated[int, Field(ge=1, le=3)] = 2
    convs: Positive = 16
    side: Literal[64, 128, 256, 512, 1024] = 512
    narrow: Annotated[float, Field(gt=0, le=1)] = 1.0
    channel_multiplier: Literal[1, 2] = 2
    style_features: Positive = 512
    frozen_decoder: bool = False

    @model_validator(mode="after")
    def _one_origin(self) -> NetworkPart:
        if (self.start is None) == (self.architecture is None):
            raise ValueError("give either start (a checkpoint) or architecture")
        ignored = sorted(self.model_fields_set - {"start", "frozen_decoder"})
        if self.start is not None and ignored:
            raise ValueError(
                f"{', '.join(ignored)} cannot be given with start: the checkpoint decides it"
            )
        return self

    @model_validator(mode="after")
    def _sizes_fit(self) -> NetworkPart:
        if self.architecture == "rrdb" and 2**self.upsamples % self.scale:
            raise ValueError(
                f"the scale of an rrdb must divide 2 to the power of upsamples = {self.upsamples}, "
                f"got {self.scale}"
            )
        if self.initial == "bilinear" and self.features < 3:
            raise ValueError(f'initial = "bilinear" needs 3 features, got {self.features}')
        return self


class DataPart(Part):
    """The photos.

    photos: folder; None uses the free photos that scikit-image ships
    pairs: folder of a teacher's answers, instead of photos and a degradation
    held_out: photos that are never trained on, to measure progress with
    patch: side of the clean patches; of face networks, whole faces are used
    batch: of all processes together
    flip, rotate: random mirror images, and turns by 90 degrees
    jitter: random colors of upscalers' patches
    shrink: sizes that photos are also used at, as shares of their own
    faces: where the components of a face are: at the places of the alignment template, or in a
        table that `restora train components` wrote
    max_broken: largest share of photos that cannot be read
    workers: threads that prepare batches
    """

    photos: Path | None = None
    pairs: Path | None = None
    held_out: Annotated[int, Field(ge=0)] = 4
    patch: Annotated[int, Field(ge=16)] = 192
    batch: Positive = 8
    flip: bool = True
    rotate: bool = False
    jitter: bool = False
    shrink: tuple[Rate, ...] = (1.0,)
    faces: Literal["template"] | Path = "template"
    max_broken: Share = 0.1
    workers: Positive = 1


class DegradationPart(Part):
    """How clean photos are degraded.

    kind: "second_order" (Real-ESRGAN), "paper" (the paper on the joint framework), "faces"
        (GFP-GAN), "mild" (light blur, noise and JPEG), or "shrink" (downsampling alone)
    clean_share: share of the patches that are only downsampled
    mild_share: share of the patches that are degraded as by "mild"
    sharpen: sharpen the targets that the losses ask for; of second_order
    sigma, noise, quality: other ranges for the upscalers' "paper" and "mild": standard deviation of
        the blur in pixels of the clean photo, of the noise in levels of 255, and JPEG quality
    """

    kind: Literal["second_order", "paper", "faces", "mild", "shrink"] = "second_order"
    clean_share: Share = 0.0
    mild_share: Share = 0.0
    sharpen: bool = True
    sigma: tuple[Weight, Weight] | None = None
    noise: tuple[Weight, Weight] | None = None
    quality: tuple[Quality, Quality] | None = None

    @model_validator(mode="after")
    def _ranges(self) -> DegradationPart:
        for name in ("sigma", "noise", "quality"):
            values = getattr(self, name)
            if values is None:
                continue
            if self.kind not in ("paper", "mild"):
                raise ValueError(f'{name} is for kind = "paper" and "mild", got "{self.kind}"')
            if values[0] > values[1]:
                raise ValueError(
                    f"{name} must be a smallest and a largest value, got {list(values)}"
                )
        if self.clean_share + self.mild_share > 1:
            raise ValueError(
                "clean_share and mild_share must be at most 1 together, got "
                f"{self.clean_share:g} and {self.mild_share:g}"
            )
        return self


class LossPart(Part):
    """Weights of the losses; 0 leaves one out.

    squared: of the mean squared error of upscalers; it favors PSNR under heavy degradation
    truth: of L1 to the clean pictures of data.pairs, besides the teacher's answers
    vgg19, arcface: files of the weights of the fixed networks; "torchvision" takes VGG19 from
        PyTorch's cache and downloads it if it is not there
    components: names of the face components with a discriminator of their own
    discriminator_width: channels of the upscalers' discriminator after its first convolution
    """

    pixel: Weight = 1.0
    squared: Weight = 0.0
    truth: Weight = 0.0
    ssim: Weight = 0.0
    perceptual: Weight = 0.0
    style: Weight = 0.0
    adversarial: Weight = 0.0
    discriminator_width: Positive = 64
    gan: GanKind = "vanilla"
    pyramid: Weight = 1.0
    pyramid_steps: Annotated[int, Field(ge=0)] = 50000
    component: Weight = 0.0
    component_style: Weight = 0.0
    components: tuple[str, ...] = ("left_eye", "right_eye", "mouth")
    identity: Weight = 0.0
    r1: Weight = 10.0
    r1_interval: Positive = 16
    vgg19: Literal["torchvision"] | Path | None = None
    arcface: Path | None = None

    @model_validator(mode="after")
    def _has_weights(self) -> LossPart:
        if (self.perceptual or self.style) and self.vgg19 is None:
            raise ValueError(
                "perceptual and style need vgg19, the path of torchvision's vgg19-dcbb9e9d.pth, or "
                '"torchvision"'
            )
        if self.identity and self.arcface is None:
            raise ValueError("identity needs arcface, the path of arcface_resnet18.pth")
        if self.component_style and not self.component:
            raise ValueError("component_style compares features that component trains: set both")
        unknown = sorted(set(self.components) - set(COMPONENTS))
        if unknown:
            raise ValueError(f"components are {', '.join(COMPONENTS)}; got {', '.join(unknown)}")
        return self


class OptimizerPart(Part):
    """Adam, and how its learning rate changes.

    rate: of the generator; discriminator_rate: of the discriminators
    schedule: "multistep" falls by gamma after each milestone, "cosine" falls to `last`
    last: share of the rate that "cosine" ends with
    warmup: steps over which the rate rises linearly
    clip: largest norm of the gradient; 0 does not clip
    """

    rate: Rate = 1e-4
    betas: tuple[Decay, Decay] = (0.9, 0.99)
    discriminator_rate: Rate = 1e-4
    discriminator_betas: tuple[Decay, Decay] = (0.9, 0.99)
    schedule: Literal["multistep", "cosine"] = "multistep"
    milestones: tuple[Positive, ...] = ()
    gamma: Rate = 0.5
    last: Share = 0.0
    warmup: Annotated[int, Field(ge=0)] = 0
    clip: Weight = 0.0

    @model_validator(mode="after")
    def _milestones_rise(self) -> OptimizerPart:
        if list(self.milestones) != sorted(self.milestones):
            raise ValueError(f"milestones must rise, got {list(self.milestones)}")
        return self


class RunPart(Part):
    """How long, how precisely, and how often things are written.

    steps: in all; a run that is continued counts on
    average: decay of the moving average of the weights, which is what is exported
    precision: "bf16" runs convolutions in bfloat16; weights and optimizer stay in float32
    float32_tail: share of the steps, at the end, that run in float32 whatever the precision; it
        removes the rounding of bfloat16 from the result
    save, log, validate: intervals in steps; validate writes sample pictures too
    threads: of each process; 0 uses all cores
    device: "auto" is the GPU if there is one; of several, torchrun gives each process its own
    lpips: torchvision's alexnet-owt-7be5be79.pth, to measure LPIPS on the held-out photos, too
    tensorboard: record figures and samples for TensorBoard, besides log.csv
    """

    steps: Positive
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    average: Decay = 0.999
    precision: Literal["fp32", "bf16"] = "fp32"
    float32_tail: Share = 0.0
    save: Positive = 500
    log: Positive = 50
    validate_every: Annotated[int, Field(ge=1, alias="validate")] = 1000
    threads: Annotated[int, Field(ge=0)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    lpips: Path | None = None
    tensorboard: bool = False
