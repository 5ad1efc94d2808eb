"""Build a plan from an artifact with TensorRT 8.6, 10 or 11."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from restora.artifact import Artifact
from restora.backends.tensorrt.attempt import Attempt, KeepTiming
from restora.backends.tensorrt.build_options import BuildOptions, Compatibility, check_precision
from restora.backends.tensorrt.module import features_of
from restora.backends.tensorrt.profiles import Profile
from restora.backends.tensorrt.progress import BuildProgress
from restora.errors import BuildError, DeviceMemoryError

__all__ = ["BuildOptions", "Built", "Compatibility", "build_plan"]

logger = logging.getLogger(__name__)

_LEAST_WORKSPACE = 256 << 20


@dataclass(frozen=True, slots=True)
class Built:
    """A plan, with the options and the profile that finally worked."""

    plan: bytes = field(repr=False)
    options: BuildOptions
    profile: Profile
    seconds: float
    timing_cache: bytes = field(repr=False)
    attempts: tuple[str, ...] = ()


def build_plan(
    trt: Any,
    artifact: Artifact,
    profile: Profile,
    options: BuildOptions,
    *,
    timing_cache: bytes = b"",
    keep_timing: KeepTiming | None = None,
    progress: BuildProgress | None = None,
) -> Built:
    """Build one plan for one profile, for the GPU whose context is current.

    trt: the tensorrt module
    timing_cache: the timing cache of earlier builds on this GPU and version, or b""
    keep_timing: gets the timing cache after every attempt, also of one that fails or is canceled
    progress: called with phases and steps; it may raise an exception to cancel the build

    If the build fails, it is repeated with less workspace, then with smaller shapes. Raises
    OptionError for options that this TensorRT does not support, BuildError with the messages of the
    parser or the builder, DeviceMemoryError if an attempt failed because the memory of the GPU was
    full and no other one worked, and BuildCanceledError.
    """
    features = features_of(trt)
    check_precision(artifact.info, options, features)
    started = time.perf_counter()
    attempts: list[str] = []
    known = [timing_cache]

    def keep(timing: bytes) -> None:
        known[0] = timing
        if keep_timing is not None:
            keep_timing(timing)

    full = False
    for words, attempt_profile, attempt_options, if_full in _ladder(artifact, profile, options):
        if if_full and not full:
            continue
        attempt = Attempt(trt, features, artifact, attempt_profile, attempt_options)
        try:
            plan = attempt.run(known[0], keep, progress)
        except (BuildError, DeviceMemoryError) as error:
            if isinstance(error, BuildError) and error.final:
                raise
            full = full or isinstance(error, DeviceMemoryError)
            attempts.append(f"{words}: {error}")
            logger.warning("building %s, %s: %s", artifact.info.model, words, error)
            continue
        seconds = time.perf_counter() - started
        tried = tuple(attempts)
        return Built(plan, attempt_options, attempt_profile, seconds, known[0], tried)
    reason = (
        f"TensorRT {features.version} cannot build {artifact.info.model} for {profile.largest}; "
        + "; ".join(attempts)
    )
    if full:
        raise DeviceMemoryError(
            f"the GPU's memory is full: {reason}; end other programs that use the GPU, or build "
            "for smaller tiles (`restora build --max-tile`)"
        )
    raise BuildError(reason, final=True)


_Step = tuple[str, Profile, BuildOptions, bool]


def _ladder(artifact: Artifact, profile: Profile, options: BuildOptions) -> Iterator[_Step]:
    """The attempts in order: a description, the profile, the options, and whether the attempt makes
    sense only after the memory of the GPU was full."""
    yield "as asked", profile, options, False
    less = max(_LEAST_WORKSPACE, options.workspace_bytes // 4)
    if less < options.workspace_bytes:
        options = replace(options, workspace_bytes=less)
        yield f"with {less >> 20} MiB of workspace", profile, options, False
    if profile.is_static:
        return
    for smaller in profile.halves(artifact.info.size_multiple):
        yield f"up to {smaller.largest}", smaller, options, True
    small = replace(profile, best=profile.smallest)
    yield "with the smallest shape as the best", small, options, False
    static = Profile(profile.best, profile.best, profile.best)
    yield f"for {profile.best} alone", static, options, False
