"""Evaluate pipelines on a folder of photos, each pipeline on the same pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from restora.errors import OptionError
from restora.faces.options import FaceOptions
from restora.models import DEFAULT_MODEL
from restora.options import RestoreOptions
from restora_benchmarks.evaluate.metrics import FrechetDistance, Metric, lpips, psnr, ssim
from restora_benchmarks.evaluate.pairs import Pair, describe_ranges, make_pairs, read_pairs
from restora_benchmarks.evaluate.run import PIPELINES, Evaluation, Pipeline, PipelineRun, evaluate
from restora_calibration.degrade import FACES, MILD
from restora_calibration.folders import list_photos

MetricName = Literal["psnr", "ssim", "lpips", "fid", "identity"]
METRICS: tuple[MetricName, ...] = get_args(MetricName)
_RANGES = {"faces": FACES, "mild": MILD}


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """What is evaluated and how. Raises OptionError for values that cannot work.

    degraded: folder of the degraded photos; None: they are made
    degrade: "faces" or "mild", the ranges that degradations are drawn from
    share: share of the photos to use, 0..1, a sample drawn with `seed`
    aligned: photos are aligned faces, as of FFHQ or CelebA
    pipelines: some of PIPELINES
    model: the upsampler
    face_model: None: the first one on this machine
    metrics: some of METRICS
    weights: folder of the backbones of LPIPS and FID; None: torch's own cache
    arcface: the ONNX file that the metric "identity" needs
    """

    degraded: Path | None = None
    degrade: Literal["faces", "mild"] = "faces"
    share: float = 1
    seed: int = 0
    aligned: bool = False
    pipelines: tuple[str, ...] = ("none", "faces", "faces+upsampler")
    model: str = DEFAULT_MODEL
    face_model: str | None = None
    metrics: tuple[str, ...] = ("psnr", "ssim")
    weights: Path | None = None
    arcface: Path | None = None
    restoring: RestoreOptions = field(default_factory=RestoreOptions)

    def __post_init__(self) -> None:
        _check_names("metrics", self.metrics, METRICS)
        _check_names("pipelines", self.pipelines, PIPELINES)
        if self.degrade not in _RANGES:
            raise OptionError(f"degrade must be faces or mild, got {self.degrade!r}")
        if "identity" in self.metrics and (self.arcface is None or not self.aligned):
            raise OptionError("the metric identity needs --arcface FILE.onnx and --aligned")


@dataclass(frozen=True, slots=True)
class FolderEvaluation:
    """One row per pipeline. photos: how many were evaluated, failed ones included."""

    clean: Path
    photos: int
    options: EvaluateOptions
    rows: tuple[Evaluation, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        options = self.options
        ranges = {"seed": options.seed, **describe_ranges(_RANGES[options.degrade])}
        return {
            "clean": str(self.clean),
            "photos": self.photos,
            "share": options.share,
            "aligned": options.aligned,
            "degradation": ranges if options.degraded is None else None,
            "model": options.model,
            "face_model": options.face_model,
            "rows": [row.as_row() for row in self.rows],
        }


def evaluate_folder(
    clean: Path, options: EvaluateOptions, *, report: Callable[[str], None]
) -> FolderEvaluation:
    """Restore each photo by each pipeline and measure it against the clean one.

    clean: folder of clean photos
    report: is told which pipeline begins

    Raises MissingBackendError or MissingModelError before the work begins if a metric lacks
    something, and OptionError if no photo can be restored.
    """
    files = list_photos(clean, share=options.share, seed=options.seed)
    make_metrics(options)
    rows = []
    for name in options.pipelines:
        report(f"{name}: {len(files)} photos")
        rows.append(_evaluate_pipeline(name, _pairs(files, options), options))  # type: ignore[arg-type]
    return FolderEvaluation(clean, len(files), options, tuple(rows))


def make_metrics(options: EvaluateOptions) -> list[Metric]:
    """New metrics, without a pair. Raises MissingBackendError or MissingModelError."""

    def identity() -> Metric:
        from restora_benchmarks.evaluate.identity import IdentityDistance

        assert options.arcface is not None
        return IdentityDistance(options.arcface)

    makers: dict[str, Callable[[], Metric]] = {
        "psnr": psnr,
        "ssim": ssim,
        "lpips": lambda: lpips(options.weights),
        "fid": lambda: FrechetDistance(options.weights),
        "identity": identity,
    }
    return [makers[name]() for name in options.metrics]


def _evaluate_pipeline(
    name: Pipeline, pairs: Iterator[Pair], options: EvaluateOptions
) -> Evaluation:
    pipeline = PipelineRun(
        name,
        model=options.model,
        faces=FaceOptions(model=options.face_model),
        options=options.restoring,
        aligned=options.aligned,
    )
    try:
        return evaluate(pairs, pipeline.restore, make_metrics(options), pipeline=name)
    finally:
        pipeline.close()


def _pairs(files: list[Path], options: EvaluateOptions) -> Iterator[Pair]:
    if options.degraded is not None:
        return read_pairs(files, options.degraded)
    ranges = _RANGES[options.degrade]
    return make_pairs(files, ranges, seed=options.seed, keep_size=options.aligned)


def _check_names(what: str, names: tuple[str, ...], known: tuple[str, ...]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        got = ", ".join(unknown) or "none"
        raise OptionError(f"{what} must be some of {', '.join(known)}, got {got}")
