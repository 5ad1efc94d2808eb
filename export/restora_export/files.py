"""Export a checkpoint file to an artifact file, and verify an artifact file."""

import logging
from dataclasses import replace
from pathlib import Path

from restora.artifact import (
    Accuracy,
    ArtifactInfo,
    Io,
    Precision,
    artifact_from_bytes,
    read_artifact,
)
from restora.atomic import write_atomically
from restora.backends.onnxruntime_cpu import OnnxRuntimeCpuSession
from restora.errors import (
    ArtifactError,
    ChecksumError,
    MissingModelError,
    ModelError,
    OptionError,
)
from restora.models import find_model_folder
from restora.models.checkpoint_files import is_checkpoint_name, sha256_of_checkpoint
from restora.models.regular_file import (
    is_regular_file,
    open_model_file,
    shown,
)
from restora_export.architecture import Hints
from restora_export.checkpoint import Checkpoint, load_checkpoint, network_from_checkpoint
from restora_export.compact import compact_weights
from restora_export.export import Export, Report, export_network
from restora_export.face_architecture import MAPPED_STYLES, PARSED_SIDE
from restora_export.interpolate import interpolate_checkpoints
from restora_export.target import check_target, default_target
from restora_export.verify import measure_accuracy

logger = logging.getLogger(__name__)

_NO_HINTS = Hints()


def export_file(
    checkpoint: Path,
    output: Path | None = None,
    *,
    name: str | None = None,
    io: Io = "uint8",
    precision: Precision = "fp32",
    noise: float = 1.0,
    blend: tuple[Path, float] | None = None,
    hints: Hints = _NO_HINTS,
    license_name: str | None = None,
    like: Path | None = None,
    compact: bool = False,
    overwrite: bool = True,
    report: Report = logger.info,
) -> Export:
    """Export a checkpoint file to an artifact file, if it is accurate enough.

    output: path of the artifact; see default_target for the default
    name: name of the model in the metadata; by default the name of the file
    io: "uint8" or "float32"
    precision: "fp32", "fp16" or "mixed"
    noise: for a face network, the factor of its stored noise, 0..1
    blend: another checkpoint and its share, 0..1
    hints: what the file does not determine
    license_name: license of the weights in the metadata, as an SPDX name; None: that of a published
        file
    like: an artifact of the same weights, whose overlap of tiles is taken instead of a new
        measurement
    compact: store the weights of an fp32 artifact as float16 where float16 holds them exactly;
        the network is the same
    overwrite: whether to replace an existing file
    report: called with a description of each step

    Raises CheckpointError, OptionError, AccuracyGateError or OutputError, and then writes nothing.
    """
    if compact and precision != "fp32":
        raise OptionError(f"compact is for fp32 artifacts, got precision {precision}")
    target = output or default_target(checkpoint, io=io, precision=precision)
    sources = [checkpoint] if blend is None else [checkpoint, blend[0]]
    check_target(target, sources, overwrite=overwrite)
    weights = load_blend(checkpoint, blend, hints)
    network = network_from_checkpoint(weights)
    result = export_network(
        network,
        model=name or weights.name,
        architecture=str(weights.architecture),
        weights_sha256=weights.sha256,
        io=io,
        precision=precision,
        noise=noise,
        license_name=weights.license if license_name is None else license_name,
        overlap_px=None if like is None else _overlap_of(like, weights.sha256),
        report=report,
    )
    data = result.artifact.onnx
    write_atomically(target, compact_weights(data) if compact else data)
    return replace(result, path=target)


def _overlap_of(artifact: Path, weights_sha256: str) -> int | None:
    """None if it is made of other weights."""
    info = read_artifact(artifact).info
    return info.overlap_px if info.weights_sha256 == weights_sha256 else None


def load_blend(checkpoint: Path, blend: tuple[Path, float] | None, hints: Hints) -> Checkpoint:
    """Load a checkpoint, or the blend of two."""
    weights = load_checkpoint(checkpoint, hints=hints)
    if blend is None:
        return weights
    other, share = blend
    return interpolate_checkpoints(weights, load_checkpoint(other, hints=hints), share)


def verify_file(
    artifact: Path,
    checkpoint: Path | None,
    blend: tuple[Path, float] | None = None,
    *,
    key: str | None = None,
) -> tuple[ArtifactInfo, Accuracy]:
    """Measure the accuracy of an artifact against its checkpoint.

    checkpoint: path of the checkpoint; None searches for its SHA-256 in the folder of the artifact
        and in the model folder
    blend: the other checkpoint and its share, if the artifact was made from a blend
    key: Hints.key of its export

    Raises ChecksumError if the artifact was made from another checkpoint. The gate is not checked.
    """
    with open_model_file(artifact, what="artifact", error=ArtifactError) as stream:
        data = stream.read()
    loaded = artifact_from_bytes(data, name=str(artifact))
    expected = loaded.info.weights_sha256
    if checkpoint is None:
        checkpoint = find_checkpoint(expected, near=artifact.parent)
    weights = load_blend(checkpoint, blend, replace(_hints_of(loaded.info), key=key))
    if weights.sha256 != expected:
        raise ChecksumError(
            f"{artifact} was made from a checkpoint with SHA-256 {expected}, {checkpoint} has "
            f"{weights.sha256}"
        )
    session = OnnxRuntimeCpuSession(loaded)
    try:
        network = network_from_checkpoint(weights)
        return loaded.info, measure_accuracy(session, network, noise=loaded.info.noise)
    finally:
        session.close()


def _hints_of(info: ArtifactInfo) -> Hints:
    return Hints(
        activation="leakyrelu" if "leakyrelu" in info.architecture else "relu",
        resampling="bilinear" if "Bilinear" in info.architecture else "fir",
        is_latent=MAPPED_STYLES not in info.architecture,
        side=PARSED_SIDE if info.side is None else info.side,
    )


def find_checkpoint(sha256: str, *, near: Path) -> Path:
    """Find the checkpoint file with this SHA-256, in the folder `near` or in the model folder.

    Pipes and devices are ignored; files that are too large or cannot be read are ignored with a
    warning. Raises MissingModelError.
    """
    folders = [folder for folder in (near, find_model_folder()) if folder is not None]
    for folder in folders:
        for path in _checkpoints_in(folder):
            try:
                found = sha256_of_checkpoint(path)
            except ModelError as error:
                logger.warning("ignored while searching for a checkpoint: %s", error)
                continue
            if found == sha256:
                return path
    raise MissingModelError(
        f"the checkpoint with SHA-256 {sha256} is not in {' or '.join(map(shown, folders))}: give "
        "it with --checkpoint"
    )


def _checkpoints_in(folder: Path) -> list[Path]:
    try:
        paths = [path for path in folder.iterdir() if is_checkpoint_name(path)]
    except OSError:
        return []  # the model folder need not exist
    return sorted(path for path in paths if is_regular_file(path))
