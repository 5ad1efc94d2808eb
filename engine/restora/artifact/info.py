"""The metadata of an artifact: one JSON object in the metadata of the ONNX file."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Literal, get_args

from restora.artifact.schema import (
    Rule,
    choice,
    describe,
    flag,
    list_of,
    nested,
    nullable,
    number,
    parse_json,
    read_fields,
    text,
    whole,
)
from restora.errors import ArtifactError

Io = Literal["uint8", "float32"]
Precision = Literal["fp32", "fp16", "mixed", "int8", "int8_fp16", "fp8"]
Kind = Literal["upsampler", "face", "detector", "parser", "damage-detector", "repairer"]

METADATA_KEY = "restora"
FORMAT = 1
_MOST_CHARACTERS = 1 << 20


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Accuracy against the PyTorch FP32 reference, measured by the exporter.

    max_error: the largest absolute difference, as a share of the value range (1/255 is one gray
        level); for a parser, the largest share of pixels of an image with another label
    psnr_mean: mean PSNR over all photo tiles in dB, at most 150 (for identical images)
    psnr_min: PSNR of the worst photo tile in dB
    ssim_mean: mean structural similarity over all photo tiles
    nonfinite: number of output values that are NaN or Inf
    tiles: number of compared batches (photo tiles and random input)
    reference: name and version of the reference
    """

    max_error: float
    psnr_mean: float
    psnr_min: float
    ssim_mean: float
    nonfinite: int
    tiles: int
    reference: str


@dataclass(frozen=True, slots=True)
class Quantization:
    """The quantization of an INT8 artifact.

    layers: number of convolutions in INT8
    kept: names of the other convolutions
    min_psnr: the gate that the artifact passed, as a mean PSNR in dB
    bias_corrected: whether biases compensate the rounding of the weights
    tiles_sha256: SHA-256 of the calibration and validation tiles
    """

    layers: int
    kept: tuple[str, ...]
    min_psnr: float
    bias_corrected: bool
    tiles_sha256: str


@dataclass(frozen=True, slots=True)
class ArtifactInfo:
    """Facts about an artifact. Its input is a batch of RGB images in NHWC layout.

    model: name in the model table, or the name of the checkpoint
    kind: the stage that runs it. "upsampler" and "face" return RGB images in NHWC layout;
        "detector" returns float32 (batch, anchors, 16): 4 box offsets, 2 probabilities, 10 landmark
        offsets; "parser" returns uint8 labels (batch, side, side, 1); "damage-detector" returns
        uint8 (batch, height, width, 1), the probability of damage in 0..255; "repairer" takes a
        fourth channel, a mask, and returns RGB images that differ only where it is 128 or more;
        where it is 192 or more, the color below it does not count
    architecture: description of the network and its hyperparameters
    scale: output side divided by input side
    precision: types of the graph; "mixed" is FP16 inside convolutions and FP32 between them, "int8"
        has FP32 around its INT8 layers, "int8_fp16" and "fp8" have FP16 there
    io: dtype of input and output: uint8 in 0..255 or float32 in 0..1
    size_multiple: height and width of the input must be multiples of this
    side: the only accepted height and width; None accepts any
    elements_per_pixel: elements of the largest tensor of the network per input pixel, or None if
        unknown; TensorRT supports fewer than 2**31 elements per tensor
    noise: for a face network, the factor of the noise in its weights; 1 is the original strength
    overlap_px: overlap of tiles in input pixels that keeps seams within the 50 dB gate
    weights_sha256: SHA-256 of the checkpoint file
    exporter: names and versions, such as "restora 0.1.0, torch 2.13.0"
    accuracy: the measured accuracy; None only during the export
    quantization: for INT8 artifacts only
    license: of the weights, as an SPDX name; "" if unknown
    """

    model: str
    kind: Kind
    architecture: str
    scale: int
    precision: Precision
    io: Io
    size_multiple: int
    overlap_px: int
    weights_sha256: str
    exporter: str
    accuracy: Accuracy | None = None
    side: int | None = None
    noise: float = 1.0
    elements_per_pixel: float | None = None
    quantization: Quantization | None = None
    license: str = ""
    layout: Literal["NHWC"] = "NHWC"
    color: Literal["RGB"] = "RGB"
    format: int = FORMAT

    @property
    def input_channels(self) -> int:
        """RGB; and for a repairer the mask."""
        return 4 if self.kind == "repairer" else 3

    @property
    def output_channels(self) -> int:
        """Of a network that returns images or planes."""
        return 1 if self.kind in ("parser", "damage-detector") else 3

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


_RULES: dict[type, dict[str, Rule]] = {
    Accuracy: {
        "max_error": number(0, 1e30),
        "psnr_mean": number(-1000, 1000),
        "psnr_min": number(-1000, 1000),
        "ssim_mean": number(-1, 1),
        "nonfinite": whole(0, 1 << 62),
        "tiles": whole(0, 1 << 31),
        "reference": text(1000),
    },
    Quantization: {
        "layers": whole(0, 1 << 20),
        "kept": list_of(text(1000), maximum=1 << 16),
        "min_psnr": number(0, 1000),
        "bias_corrected": flag(),
        "tiles_sha256": text(128),
    },
}
_RULES[ArtifactInfo] = {
    "model": text(200, minimum=1),
    "kind": choice(*get_args(Kind)),
    "architecture": text(1000),
    "scale": whole(1, 16),
    "precision": choice(*get_args(Precision)),
    "io": choice(*get_args(Io)),
    # images are padded to a multiple
    "size_multiple": whole(1, 64),
    "overlap_px": whole(0, 1024),
    "weights_sha256": text(128),
    "exporter": text(1000),
    "accuracy": nullable(nested(_RULES[Accuracy], Accuracy, name="accuracy")),
    "side": nullable(whole(1, 4096)),
    "noise": replace(number(0, 1), default=1.0),
    "elements_per_pixel": nullable(number(1, 1e6)),
    "quantization": nullable(nested(_RULES[Quantization], Quantization, name="quantization")),
    "license": replace(text(200), default=""),
    "layout": replace(choice("NHWC"), default="NHWC"),
    "color": replace(choice("RGB"), default="RGB"),
    "format": whole(FORMAT, FORMAT),
}


def info_from_json(json_text: str) -> ArtifactInfo:
    """Parse the metadata.

    Raises ArtifactError, which names the field, if the object has another format, lacks a field, or
    has a value that is not valid.
    """
    try:
        values = parse_json(json_text, maximum=_MOST_CHARACTERS, what="the metadata")
        if isinstance(values, dict) and values.get("format") != FORMAT:
            raise ArtifactError(
                f"this restora reads artifact format {FORMAT}, the file has "
                f"{describe(values.get('format'))}: export the model again with this version"
            )
        info = ArtifactInfo(**read_fields(values, _RULES[ArtifactInfo], what="the metadata"))
        if info.side is not None and info.side % info.size_multiple:
            raise ValueError(
                f"side must be a multiple of size_multiple, {info.size_multiple}, got {info.side}"
            )
    except ArtifactError:
        raise
    except ValueError as error:
        raise ArtifactError(f"the artifact's metadata cannot be used: {error}") from error
    return info
