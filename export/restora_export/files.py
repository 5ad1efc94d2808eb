"""From checkpoint file to artifact file, and back for verification."""

import logging
from dataclasses import replace
from pathlib import Path

from restora.artifact import Accuracy, ArtifactInfo, Io, Precision, artifact_from_bytes
from restora.atomic import write_atomically
from restora.backends.onnxruntime_cpu import OnnxRuntimeCpuSession
from restora.errors import ArtifactError, ChecksumError, MissingModelError, ModelError
from restora.models import find_model_folder
from restora.models.regular_file import (
    is_regular_file,
    open_model_file,
    sha256_of_stream,
    shown,
)
from restora_export.architecture import Hints
from restora_export.checkpoint import Checkpoint, load_checkpoint, network_from_checkpoint
from restora_export.export import Export, Report, export_network
from restora_export.interpolate import interpolate_checkpoints
from restora_export.target import check_target, default_target
from restora_export.verify import measure_accuracy

logger = logging.getLogger(__name__)

_NO_HINTS = Hints()
_CHECKPOINT_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")


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
    overwrite: bool = True,
    report: Report = logger.info,
) -> Export:
    """Export a checkpoint file to an artifact file; written only if it is accurate enough.

    output: default: see default_target
    name: that the artifact carries; default: the file's own
    precision: fp32, fp16 or mixed
    noise: of a face network: factor on its stored noise, 0..1
    blend: another checkpoint and its share in 0..1
    hints: what the file does not tell
    overwrite: whether a file in the output's place is replaced

    Raises CheckpointError, OptionError, AccuracyGateError or OutputError; then nothing is written.
    """
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
        report=report,
    )
    write_atomically(target, result.artifact.onnx)
    return replace(result, path=target)


def load_blend(checkpoint: Path, blend: tuple[Path, float] | None, hints: Hints) -> Checkpoint:
    """Load one checkpoint, or the mixture of two."""
    weights = load_checkpoint(checkpoint, hints=hints)
    if blend is None:
        return weights
    other, share = blend
    return interpolate_checkpoints(weights, load_checkpoint(other, hints=hints), share)


def verify_file(
    artifact: Path, checkpoint: Path | None, blend: tuple[Path, float] | None = None
) -> tuple[ArtifactInfo, Accuracy]:
    """Measure an artifact against the checkpoint that it was made from.

    checkpoint: None: looked for, by SHA-256, beside the artifact and in the model folder
    blend: the other checkpoint and its share, if it was made from two

    Raises ChecksumError if the artifact was made from another checkpoint. The gate is not judged.
    """
    with open_model_file(artifact, what="artifact", error=ArtifactError) as stream:
        data = stream.read()
    loaded = artifact_from_bytes(data, name=str(artifact))
    expected = loaded.info.weights_sha256
    if checkpoint is None:
        checkpoint = find_checkpoint(expected, near=artifact.parent)
    weights = load_blend(checkpoint, blend, _hints_of(loaded.info))
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
    )


def find_checkpoint(sha256: str, *, near: Path) -> Path:
    """The checkpoint file with this digest, in `near` or in the model folder.

    Pipes and devices are left alone; so are, with a warning, files that are larger than any
    checkpoint or cannot be read. Raises MissingModelError.
    """
    folders = [folder for folder in (near, find_model_folder()) if folder is not None]
    for folder in folders:
        for path in _checkpoints_in(folder):
            try:
                with open_model_file(path, what="checkpoint", error=ModelError) as stream:
                    found = sha256_of_stream(stream)
            except ModelError as error:
                logger.warning("left alone while looking for a checkpoint: %s", error)
                continue
            if found == sha256:
                return path
    raise MissingModelError(
        f"the checkpoint with SHA-256 {sha256} is not in {' or '.join(map(shown, folders))}: name "
        "it with --checkpoint"
    )


def _checkpoints_in(folder: Path) -> list[Path]:
    try:
        paths = [path for path in folder.iterdir() if path.suffix.lower() in _CHECKPOINT_SUFFIXES]
    except OSError:
        return []  # the model folder need not exist
    return sorted(path for path in paths if is_regular_file(path))
