"""What an artefact says about itself, as one JSON object in the ONNX file's metadata."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from restora.errors import ArtifactError

Io = Literal["uint8", "float32"]
Precision = Literal["fp32", "fp16", "mixed", "int8"]
Kind = Literal["upsampler", "face", "detector", "parser"]

METADATA_KEY = "restora"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Distance from the PyTorch FP32 reference, measured when the artefact was made.

    max_error    largest absolute difference, as a share of the value range (1/255 = one level);
                 of a parser, the largest share of a picture's pixels with another label
    psnr_mean    dB over all photo tiles, capped at 150 for identical pictures
    psnr_min     dB of the worst photo tile
    ssim_mean    structural similarity over all photo tiles
    nonfinite    how many output values were NaN or Inf
    tiles        how many batches were compared (photo tiles and random input)
    reference    what it was compared with
    """

    max_error: float
    psnr_mean: float
    psnr_min: float
    ssim_mean: float
    nonfinite: int
    tiles: int
    reference: str


@dataclass(frozen=True, slots=True)
class Quantisation:
    """How an INT8 artefact was made.

    layers          convolutions that compute in 8 bits
    kept            names of those that do not
    min_psnr        the gate that it passed, dB, mean
    bias_corrected  biases make up for the rounding of weights
    tiles_sha256    of the tiles that it was calibrated and judged on
    """

    layers: int
    kept: tuple[str, ...]
    min_psnr: float
    bias_corrected: bool
    tiles_sha256: str


@dataclass(frozen=True, slots=True)
class ArtifactInfo:
    """Facts about one artefact. Pictures go in as NHWC RGB.

    model           name in the model table, or the checkpoint's own name
    kind            what stage it serves. "upsampler" and "face" put out pictures, NHWC RGB;
                    "detector" (batch, anchors, 16) float32: 4 box offsets, 2 probabilities, 10
                    landmark offsets; "parser" (batch, side, side, 1) uint8 labels
    architecture    network and hyper-parameters, for people
    scale           output side / input side
    precision       type of the arithmetic in the graph; "mixed": FP16 inside convolutions, FP32
                    between them
    io              dtype of input and output: uint8 in 0..255 or float32 in 0..1
    size_multiple   height and width of the input must be multiples of this
    side            the only height and width it takes; None: any
    elements_per_pixel  elements of the network's largest tensor for each input pixel; None: not
                    known. TensorRT holds fewer than 2**31 in one tensor
    noise           of a face network: factor on the noise that its weights hold; 1 as published
    overlap_px      overlap of tiles, in input pixels, at which seams pass the 50 dB gate
    weights_sha256  of the checkpoint file it was made from
    exporter        "restora 0.1.0, torch 2.13.0"
    accuracy        None only while the artefact is being made
    quantisation    of INT8 artefacts
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
    quantisation: Quantisation | None = None
    layout: Literal["NHWC"] = "NHWC"
    colour: Literal["RGB"] = "RGB"
    format: int = FORMAT

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


def info_from_json(text: str) -> ArtifactInfo:
    """Raises ArtifactError if the object is of another format or lacks a field."""
    try:
        values = json.loads(text)
        if not isinstance(values, dict):
            raise TypeError(f"expected a JSON object, got {type(values).__name__}")
        if values.get("format") != FORMAT:
            raise ArtifactError(
                f"this restora reads artefact format {FORMAT}, the file has "
                f"{values.get('format')!r}: export the model again with this version"
            )
        accuracy = values.pop("accuracy", None)
        quantisation = values.pop("quantisation", None)
        info = ArtifactInfo(
            **_known(values, ArtifactInfo),
            accuracy=Accuracy(**_known(accuracy, Accuracy)) if accuracy else None,
            quantisation=_read_quantisation(quantisation) if quantisation else None,
        )
        _check_values(info)
    except (TypeError, ValueError, KeyError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"the artefact's metadata cannot be read: {error}") from error
    return info


def _read_quantisation(values: dict[str, Any]) -> Quantisation:
    known = _known(values, Quantisation)
    return Quantisation(**{**known, "kept": tuple(known["kept"])})


def _known(values: dict[str, Any], of: type) -> dict[str, Any]:
    """Fields added by later versions of the same format are ignored."""
    names = {field.name for field in fields(of)}
    return {key: value for key, value in values.items() if key in names}


def _check_values(info: ArtifactInfo) -> None:
    choices = {
        "kind": get_args(Kind),
        "precision": get_args(Precision),
        "io": get_args(Io),
        "layout": ("NHWC",),
        "colour": ("RGB",),
    }
    for name, allowed in choices.items():
        value = getattr(info, name)
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    for name, least in (("scale", 1), ("size_multiple", 1), ("overlap_px", 0)):
        value = getattr(info, name)
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    if info.side is not None and (not isinstance(info.side, int) or info.side < 1):
        raise ValueError(f"side must be null or a whole number of at least 1, got {info.side!r}")
