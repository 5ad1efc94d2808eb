"""Load an artifact into memory and check that it may run."""

import hashlib
import logging
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from restora.artifact.gates import check_accuracy
from restora.artifact.half_weights import expand_weights
from restora.artifact.info import METADATA_KEY, ArtifactInfo, Precision, info_from_json
from restora.artifact.onnx_wire import read_onnx_facts
from restora.artifact.selfcheck import METADATA_KEY as SELFCHECK_KEY
from restora.artifact.selfcheck import SelfCheck, selfcheck_from_json
from restora.errors import AccuracyGateError, ArtifactError, MissingModelError

logger = logging.getLogger(__name__)

VARIANTS: tuple[Precision, ...] = ("fp16", "mixed", "int8", "int8_fp16", "fp8")
MAX_ONNX_BYTES = 2**31 - 1  # the limit of protobuf


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact in memory: its metadata and the bytes of its ONNX file, with all float32 weights
    as such even if the file stores them as float16."""

    info: ArtifactInfo
    onnx: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.onnx).hexdigest()

    def read_selfcheck(self) -> SelfCheck | None:
        """Read the self-check image and its expected result, or None if there is no self-check.

        Raises ArtifactError if the self-check is damaged.
        """
        text = read_onnx_facts(self.onnx).metadata.get(SELFCHECK_KEY)
        return None if text is None else selfcheck_from_json(text, self.info)


def artifact_from_bytes(data: bytes, *, name: str = "the artifact") -> Artifact:
    """Check that `data` is a self-contained artifact. The accuracy is not checked.

    Raises ArtifactError if it is not an ONNX file, was not made by restora, stores tensors in other
    files, or contains anything else that networks of restora do not contain.
    """
    try:
        facts = read_onnx_facts(data)
    except ArtifactError as error:
        raise ArtifactError(f"{name}: {error}") from error
    if METADATA_KEY not in facts.metadata:
        raise ArtifactError(
            f"{name} is an ONNX file, but not one made by restora: make one from its checkpoint "
            "with `restora export`"
        )
    try:
        expanded = expand_weights(data)
    except ValueError as error:
        raise ArtifactError(f"{name}: {error}") from error
    if len(expanded) > MAX_ONNX_BYTES:
        raise ArtifactError(
            f"{name} has {len(expanded)} bytes with float32 weights, more than an ONNX file can"
        )
    return Artifact(info_from_json(facts.metadata[METADATA_KEY]), expanded)


def read_artifact(path: Path | str) -> Artifact:
    """Load the artifact at `path` and check its accuracy.

    Raises MissingModelError, ArtifactError, or AccuracyGateError with the figures.
    """
    path = Path(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ArtifactError(f"{path} must be a regular file that holds an artifact")
        if status.st_size > MAX_ONNX_BYTES:
            raise ArtifactError(
                f"{path} is larger than an ONNX file can be: {status.st_size} bytes"
            )
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise MissingModelError(f"there is no artifact at {path}") from error
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error
    except MemoryError as error:
        raise ArtifactError(
            f"{path} does not fit into memory: {status.st_size / 2**20:.0f} MiB"
        ) from error
    artifact = artifact_from_bytes(data, name=str(path))
    check_accuracy(artifact.info)
    return artifact


def read_precision_variants(
    first: Artifact,
    path: Path,
    precisions: Sequence[Precision] = VARIANTS,
    *,
    refused: dict[str, AccuracyGateError] | None = None,
) -> list[Artifact]:
    """An artifact and those of the same model in other precisions beside its file, such as
    NAME.fp16.onnx and NAME.int8.onnx beside NAME.onnx.

    refused: takes the error of each file that misses its accuracy threshold, by precision; without
        it the error is raised

    Raises the errors of read_artifact.
    """
    stem, ending = path.name.removesuffix(".onnx"), ".onnx"
    if stem.endswith(".float32"):
        stem, ending = stem.removesuffix(".float32"), ".float32.onnx"
    family = [first]
    for precision in precisions:
        near = path.with_name(f"{stem}.{precision}{ending}")
        if near.is_file():
            try:
                other = read_artifact(near)
            except AccuracyGateError as error:
                if refused is None:
                    raise
                logger.warning("%s is left out: %s", near, error)
                refused[precision] = error
                continue
            if _same_network(other.info, first.info):
                family.append(other)
            else:
                logger.warning("%s is ignored: its weights are not those of %s", near, path)
    return family


def _same_network(one: ArtifactInfo, other: ArtifactInfo) -> bool:
    """Whether two artifacts differ only in precision."""
    facts = [(info.weights_sha256, info.io, info.noise) for info in (one, other)]
    return facts[0] == facts[1]
