"""One run of TensorRT's builder."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from restora.artifact import Artifact
from restora.artifact.tensors import INPUT
from restora.backends.tensorrt.build_options import FLAGGED, QUANTIZED, BuildOptions
from restora.backends.tensorrt.cuda_errors import lost_error, says_lost
from restora.backends.tensorrt.fp32_layers import keep_fp32_layers
from restora.backends.tensorrt.interrupts import hold_interrupts
from restora.backends.tensorrt.log import BuildLog, make_logger
from restora.backends.tensorrt.module import Features
from restora.backends.tensorrt.profiles import Profile
from restora.backends.tensorrt.progress import BuildProgress, make_monitor
from restora.errors import BuildError, DeviceMemoryError, MissingBackendError

logger = logging.getLogger(__name__)

KeepTiming = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One build with fixed options and a fixed profile, on the GPU that is current."""

    trt: Any
    features: Features
    artifact: Artifact
    profile: Profile
    options: BuildOptions

    def run(
        self, timing_cache: bytes, keep_timing: KeepTiming, progress: BuildProgress | None
    ) -> bytes:
        """Returns the plan.

        keep_timing: gets the timing cache at the end of the build, also of one that fails; an
            empty one in place of a cache that TensorRT could not read

        Raises BuildError, BuildCanceledError, DeviceMemoryError if the GPU's memory is full,
        DeviceLostError, and what a handler of Ctrl-C raises.
        """
        log = BuildLog()
        trt_logger = make_logger(self.trt, log)
        builder = self._make_builder(trt_logger, log)
        network = self._read_network(builder, trt_logger)
        config = builder.create_builder_config()
        configure(self.trt, self.features, config, self.options)
        if self.options.precision in FLAGGED and self.features.fp16_flag:
            keep_fp32_layers(self.trt, network, features=self.options.precision == "mixed")
        self._add_profile(builder, config)
        cache = config.create_timing_cache(timing_cache)
        if not config.set_timing_cache(cache, ignore_mismatch=False):
            logger.warning("the timing cache is of another GPU or version; a new one is started")
            config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
        with hold_interrupts() as held:
            monitor = make_monitor(self.trt, self.features, config, log, progress, held)
            plan = builder.build_serialized_network(network, config)
            timings = config.get_timing_cache().serialize()
            if log.timings_unread:
                logger.warning("TensorRT cannot read its timing cache; the next build starts one")
                keep_timing(b"")
            elif timings is not None:  # such as after a lost GPU
                keep_timing(bytes(timings))
        monitor.raise_if_canceled()
        if plan is None:
            reason = log.describe("the builder returned no plan")
            if log.out_of_memory:
                raise DeviceMemoryError(reason)
            if says_lost(reason):
                raise lost_error(f"building {self.artifact.info.model}", reason)
            raise BuildError(reason)
        return bytes(plan)

    def _make_builder(self, trt_logger: Any, log: BuildLog) -> Any:
        try:
            return self.trt.Builder(trt_logger)
        except TypeError as error:  # "factory function returned nullptr"
            raise MissingBackendError(
                log.describe(f"the builder of TensorRT {self.features.version} does not start")
            ) from error

    def _read_network(self, builder: Any, trt_logger: Any) -> Any:
        creation = self.trt.NetworkDefinitionCreationFlag
        flags = 0
        if self.features.explicit_batch:
            flags |= 1 << int(creation.EXPLICIT_BATCH)
        if self.features.strongly_typed:
            flags |= 1 << int(creation.STRONGLY_TYPED)
        network = builder.create_network(flags)
        parser = self.trt.OnnxParser(network, trt_logger)
        if not parser.parse(self.artifact.onnx):
            raise BuildError(
                f"TensorRT {self.features.version} cannot read {self.artifact.info.model}: "
                + describe_parser_errors(parser),
                final=True,
            )
        return network

    def _add_profile(self, builder: Any, config: Any) -> None:
        shapes = builder.create_optimization_profile()
        profile = self.profile
        shapes.set_shape(INPUT, profile.smallest, profile.best, profile.largest)
        if config.add_optimization_profile(shapes) < 0:
            raise BuildError(f"TensorRT refuses the profile {profile}", final=True)


def configure(trt: Any, features: Features, config: Any, options: BuildOptions) -> None:
    """Set the flags and limits of a builder configuration."""
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    config.builder_optimization_level = options.opt_level
    # otherwise the engine inspector knows only names of layers; costs nothing at run time
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    flag = trt.BuilderFlag
    if options.precision in FLAGGED and features.fp16_flag:
        config.set_flag(flag.FP16)
        # without this flag the builder may ignore the precision of single layers
        config.set_flag(flag.OBEY_PRECISION_CONSTRAINTS)
    if options.precision in QUANTIZED and not features.strongly_typed:
        config.set_flag(flag.INT8)
    if options.tf32:
        config.set_flag(flag.TF32)
    else:
        config.clear_flag(flag.TF32)
    if features.profile_sharing_flag:
        config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)
    if features.activation_resize:
        config.set_preview_feature(trt.PreviewFeature.RUNTIME_ACTIVATION_RESIZE_10_10, True)
    if features.external_tactics:
        # cuBLAS and cuDNN do not accelerate these networks and would have to be installed
        own = ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")
        sources = [int(getattr(trt.TacticSource, name)) for name in own]
        config.set_tactic_sources(sum(1 << source for source in sources))
    if options.version_compatible:
        config.set_flag(flag.VERSION_COMPATIBLE)
    if options.strip_weights:
        config.set_flag(flag.STRIP_PLAN)
    levels = {"ampere_plus": "AMPERE_PLUS", "same_capability": "SAME_COMPUTE_CAPABILITY"}
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
