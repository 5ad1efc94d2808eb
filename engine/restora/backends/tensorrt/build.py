"""Build a plan from an artifact with TensorRT 8.6, 10 or 11."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from restora.artifact import Artifact, ArtifactInfo, Precision
from restora.backends.tensorrt.fp32_layers import keep_fp32_layers
from restora.backends.tensorrt.log import BuildLog, make_logger
from restora.backends.tensorrt.module import Features, features_of
from restora.backends.tensorrt.profiles import Profile
from restora.backends.tensorrt.progress import BuildProgress, make_monitor
from restora.errors import BuildError, OptionError

logger = logging.getLogger(__name__)

INPUT = "image"
FLAGGED: tuple[Precision, ...] = ("fp16", "mixed")  # need the FP16 flag if the builder has it
Compatibility = Literal["none", "ampere_plus", "same_capability"]
WORKSPACE_BYTES = 4 << 30
_LEAST_WORKSPACE = 256 << 20


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Options of a build. Every field is part of the key of the plan.

    precision: compute precision. "fp16" and "mixed" need an artifact of that precision if the types
        come from the graph (TensorRT 10, 11), and an FP32 artifact if precision is a flag (8.6)
    workspace_bytes: limit of scratch memory for one layer, in bytes
    opt_level: optimization level of the builder, 0 (fast build) to 5 (fast engine)
    version_compatible: make a plan that later TensorRT versions can load
    hardware: which other GPUs can run the plan
    strip_weights: leave the weights out of the plan; they are refitted from the artifact on loading
    tf32: allow TF32 in FP32 layers, which is faster but misses the FP32 accuracy threshold
    """

    precision: Precision = "fp32"
    workspace_bytes: int = WORKSPACE_BYTES
    opt_level: int = 3
    version_compatible: bool = False
    hardware: Compatibility = "none"
    strip_weights: bool = False
    tf32: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.opt_level <= 5:
            raise OptionError(f"the optimization level must be in 0..5, got {self.opt_level}")
        if self.workspace_bytes < 1 << 20:
            raise OptionError(f"the workspace must be at least 1 MiB, got {self.workspace_bytes}")


@dataclass(frozen=True, slots=True)
class Built:
    """A plan, with the options and the profile that finally worked."""

    plan: bytes = field(repr=False)
    options: BuildOptions
    profile: Profile
    seconds: float
    timing_cache: bytes = field(repr=False)
    attempts: tuple[str, ...] = ()


def check_precision(info: ArtifactInfo, options: BuildOptions, features: Features) -> None:
    """Raise OptionError unless this TensorRT can build this artifact with these options.

    Without this check, FP16 could silently become FP32, which is several times slower.
    """
    if features.strongly_typed:
        if info.precision != options.precision:
            raise OptionError(
                f"TensorRT {features.version} takes types from the graph: {options.precision} "
                f"needs an {options.precision} artifact, {info.model}'s is {info.precision}: make "
                f"one with `restora export --precision {options.precision}`"
            )
    elif options.precision in FLAGGED and info.precision != "fp32":
        raise OptionError(
            f"TensorRT {features.version} has no typed networks: {options.precision} is built from "
            f"the fp32 artifact, {info.model}'s is {info.precision}"
        )
    elif options.precision not in FLAGGED and info.precision != options.precision:
        raise OptionError(
            f"{options.precision} needs an {options.precision} artifact, {info.model}'s is "
            f"{info.precision}"
        )
    missing = [
        words
        for wanted, present, words in (
            (options.strip_weights, features.strip, "plans without weights"),
            (options.version_compatible, features.version_compatible, "version compatibility"),
            (
                options.hardware == "same_capability",
                features.same_capability,
                "compatibility within one compute capability",
            ),
        )
        if wanted and not present
    ]
    if missing:
        raise OptionError(f"TensorRT {features.version} has no {' and no '.join(missing)}")


def build_plan(
    trt: Any,
    artifact: Artifact,
    profile: Profile,
    options: BuildOptions,
    *,
    timing_cache: bytes = b"",
    progress: BuildProgress | None = None,
) -> Built:
    """Build one plan for one profile.

    trt: the tensorrt module
    timing_cache: the timing cache of earlier builds on this GPU and version, or b""
    progress: called with phases and steps; it may raise an exception to cancel the build

    If the build fails, it is repeated with less workspace, then with the smallest shape as the best
    one, then with the best shape only. Raises OptionError for options that this TensorRT does not
    support, BuildError with the messages of the parser or the builder, and BuildCanceledError.
    """
    features = features_of(trt)
    check_precision(artifact.info, options, features)
    started = time.perf_counter()
    attempts: list[str] = []
    for words, attempt_profile, attempt_options in _ladder(profile, options):
        log = BuildLog()
        attempt = _Attempt(trt, features, attempt_options, log)
        try:
            plan, cache = attempt.build(artifact, attempt_profile, timing_cache, progress)
        except BuildError as error:
            if error.final:
                raise
            attempts.append(f"{words}: {error}")
            logger.warning("building %s, %s: %s", artifact.info.model, words, error)
            continue
        return Built(
            plan,
            attempt_options,
            attempt_profile,
            time.perf_counter() - started,
            cache,
            tuple(attempts),
        )
    raise BuildError(
        f"TensorRT {features.version} cannot build {artifact.info.model} for {profile.largest}; "
        + "; ".join(attempts),
        final=True,
    )


def _ladder(profile: Profile, options: BuildOptions) -> list[tuple[str, Profile, BuildOptions]]:
    """The attempts in order, each with a description."""
    less = max(_LEAST_WORKSPACE, options.workspace_bytes // 4)
    steps = [("as asked", profile, options)]
    if less < options.workspace_bytes:
        options = replace(options, workspace_bytes=less)
        steps.append((f"with {less >> 20} MiB of workspace", profile, options))
    if not profile.is_static:
        small = replace(profile, best=profile.smallest)
        static = Profile(profile.best, profile.best, profile.best)
        steps.append(("with the smallest shape as the best", small, options))
        steps.append((f"for {profile.best} alone", static, options))
    return steps


class _Attempt:
    """One run of the builder."""

    def __init__(self, trt: Any, features: Features, options: BuildOptions, log: BuildLog) -> None:
        self.trt = trt
        self.features = features
        self.options = options
        self.log = log
        self.logger = make_logger(trt, log)

    def build(
        self,
        artifact: Artifact,
        profile: Profile,
        timing_cache: bytes,
        progress: BuildProgress | None,
    ) -> tuple[bytes, bytes]:
        """Returns the plan and the timing cache, or raises BuildError."""
        builder = self.trt.Builder(self.logger)
        network = self._network(builder, artifact)
        config = builder.create_builder_config()
        self._configure(config)
        if self.options.precision in FLAGGED and self.features.fp16_flag:
            keep_fp32_layers(self.trt, network, features=self.options.precision == "mixed")
        shapes = builder.create_optimization_profile()
        shapes.set_shape(INPUT, profile.smallest, profile.best, profile.largest)
        if config.add_optimization_profile(shapes) < 0:
            raise BuildError(f"TensorRT refuses the profile {profile}", final=True)
        cache = config.create_timing_cache(timing_cache)
        if not config.set_timing_cache(cache, ignore_mismatch=False):
            logger.warning("the timing cache is of another GPU or version; a new one is started")
            config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
        monitor = make_monitor(self.trt, self.features, config, self.log, progress)
        plan = builder.build_serialized_network(network, config)
        monitor.raise_if_canceled()
        if plan is None:
            raise BuildError(self.log.describe("the builder returned no plan"))
        serialized = config.get_timing_cache().serialize()
        return bytes(plan), bytes(serialized)

    def _network(self, builder: Any, artifact: Artifact) -> Any:
        creation = self.trt.NetworkDefinitionCreationFlag
        flags = 0
        if self.features.explicit_batch:
            flags |= 1 << int(creation.EXPLICIT_BATCH)
        if self.features.strongly_typed:
            flags |= 1 << int(creation.STRONGLY_TYPED)
        network = builder.create_network(flags)
        parser = self.trt.OnnxParser(network, self.logger)
        if not parser.parse(artifact.onnx):
            raise BuildError(
                f"TensorRT {self.features.version} cannot read {artifact.info.model}: "
                + describe_parser_errors(parser),
                final=True,
            )
        return network

    def _configure(self, config: Any) -> None:
        trt, options = self.trt, self.options
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
        config.builder_optimization_level = options.opt_level
        flag = trt.BuilderFlag
        if options.precision in FLAGGED and self.features.fp16_flag:
            config.set_flag(flag.FP16)
            # without this flag the builder may ignore the precision of single layers
            config.set_flag(flag.OBEY_PRECISION_CONSTRAINTS)
        if options.precision == "int8" and not self.features.strongly_typed:
            config.set_flag(flag.INT8)
        if options.tf32:
            config.set_flag(flag.TF32)
        else:
            config.clear_flag(flag.TF32)
        if self.features.profile_sharing_flag:
            config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)
        if self.features.external_tactics:
            # cuBLAS and cuDNN do not accelerate these networks and would have to be installed
            own = ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")
            sources = [int(getattr(trt.TacticSource, name)) for name in own]
            config.set_tactic_sources(sum(1 << source for source in sources))
        if options.version_compatible:
            config.set_flag(flag.VERSION_COMPATIBLE)
        if options.strip_weights:
            config.set_flag(flag.STRIP_PLAN)
        levels = {
            "ampere_plus": "AMPERE_PLUS",
            "same_capability": "SAME_COMPUTE_CAPABILITY",
        }
        if options.hardware != "none":
            level = getattr(trt.HardwareCompatibilityLevel, levels[options.hardware])
            config.hardware_compatibility_level = level


def describe_parser_errors(parser: Any) -> str:
    """All errors of the parser in one line, with the node names if this TensorRT has them."""
    described = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        tell: dict[str, Callable[[], Any]] = {
            name: getattr(error, name)
            for name in ("node_name", "node_operator")
            if hasattr(error, name)
        }
        place = " ".join(str(value()) for value in tell.values()) or f"node {error.node()}"
        described.append(f"{place}: {error.desc()}")
    return "; ".join(described) or "the parser gave no reason"
