"""Export a checkpoint file to the files of ncnn, NAME.param and NAME.bin, for other programs."""

import logging
from pathlib import Path

from restora.artifact import Precision
from restora.backends.ncnn.module import import_ncnn
from restora.backends.ncnn.write import weights_path, write_ncnn
from restora.errors import OptionError
from restora_export.architecture import Hints
from restora_export.checkpoint import network_from_checkpoint
from restora_export.export import Report, export_network
from restora_export.facts import facts_of
from restora_export.files import load_blend
from restora_export.target import check_target, default_target

logger = logging.getLogger(__name__)

_NO_HINTS = Hints()


def export_ncnn(
    checkpoint: Path,
    output: Path | None = None,
    *,
    name: str | None = None,
    half: bool = False,
    blend: tuple[Path, float] | None = None,
    hints: Hints = _NO_HINTS,
    overwrite: bool = True,
    report: Report = logger.info,
) -> Path:
    """Export the checkpoint file of an upsampler to NAME.param and NAME.bin.

    output: path of NAME.param; by default next to the checkpoint
    half: write the weights in FP16
    The other arguments are those of export_file.

    The network is exported to an artifact, which is measured against PyTorch and not written; ncnn
    must pass its self-check with the two files.

    Returns the path of NAME.param. Raises the errors of export_file, and MissingBackendError if
    ncnn is not installed.
    """
    precision: Precision = "fp16" if half else "fp32"
    target = output or default_target(checkpoint, io="uint8", precision=precision, suffix=".param")
    if target.suffix != ".param":
        raise OptionError(f"the result must be a .param file, got {str(target)!r}")
    sources = [checkpoint] if blend is None else [checkpoint, blend[0]]
    sources += [weights_path(source) for source in sources if source.suffix == ".param"]
    for path in (target, weights_path(target)):
        check_target(path, sources, overwrite=overwrite)
    import_ncnn()
    weights = load_blend(checkpoint, blend, hints)
    network = network_from_checkpoint(weights)
    facts = facts_of(network)
    if facts.kind != "upsampler":
        raise OptionError(f"ncnn files are made of upsamplers only, not of a {facts.kind}")
    result = export_network(
        network,
        model=name or weights.name,
        architecture=str(weights.architecture),
        weights_sha256=weights.sha256,
        report=report,
    )
    mean, minimum = write_ncnn(result.artifact, target, half=half)
    report(f"ncnn passes the self-check: PSNR {mean:.1f} dB mean, {minimum:.1f} min")
    if facts.size_multiple > 1:
        report(
            f"the sides of its images must be multiples of {facts.size_multiple}, which other "
            "programs may not observe"
        )
    return target
