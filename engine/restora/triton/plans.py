"""TensorRT plans of this machine's cache as models of a Triton server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from restora.artifact import Artifact
from restora.backends.tensorrt.cache import PlanCache
from restora.triton.config_text import Message, Word, to_map
from restora.triton.graph_tensors import tensors_of
from restora.triton.network_config import network_queue, tensors_config, warmup_config
from restora.triton.options import ServerOptions

PLAN_FILE = "model.plan"
_SMALLEST, _LARGEST = "smallest", "largest"


@dataclass(frozen=True, slots=True)
class FoundPlan:
    """A plan for inputs of any size.

    capability: compute capability of its GPU, such as "9.0"
    smallest, largest: inputs, (batch, height, width, 3) each
    """

    plan: bytes = field(repr=False)
    capability: str
    smallest: tuple[int, ...]
    largest: tuple[int, ...]
    facts: dict[str, Any] = field(repr=False)

    @property
    def file(self) -> str:
        return f"model_sm{self.capability.replace('.', '')}.plan"


def find_plans(artifact: Artifact, cache: PlanCache) -> tuple[FoundPlan, ...]:
    """The newest plan of this artifact for each compute capability, verified.

    Left out are plans for one size only, those without weights, and those in another precision than
    the artifact.
    """
    found: dict[str, FoundPlan] = {}
    for key, unverified in cache.newest_first():
        if not _suits(unverified, artifact):
            continue
        loaded = cache.load(key)
        if loaded is None or not _suits(loaded.facts, artifact):
            continue
        plan = _read(loaded.plan, loaded.facts)
        if plan is not None:
            found.setdefault(plan.capability, plan)
    return tuple(found.values())


def plan_config(
    name: str, artifact: Artifact, plans: tuple[FoundPlan, ...], options: ServerOptions
) -> Message:
    """The fields of config.pbtxt for plans of an artifact, one file for each kind of GPU.

    A plan limits the batch: that of an upsampler for tiles of any size takes one tile.
    """
    inputs, outputs = tensors_of(artifact)
    smallest = tuple(max(sides) for sides in zip(*(p.smallest for p in plans), strict=True))
    largest = tuple(min(sides) for sides in zip(*(p.largest for p in plans), strict=True))
    config: dict[str, object] = {
        "name": name,
        "platform": "tensorrt_plan",
        "default_model_filename": plans[0].file,
        "cc_model_filenames": to_map({plan.capability: plan.file for plan in plans}),
        **tensors_config(inputs, outputs, max_batch=min(options.max_batch, largest[0])),
        **network_queue(options),
        "instance_group": [{"kind": Word("KIND_GPU"), "count": options.instances}],
    }
    if options.warmup:
        config["model_warmup"] = warmup_config(inputs[0], smallest, largest)
    return config  # type: ignore[return-value]


def _suits(facts: dict[str, Any], artifact: Artifact) -> bool:
    options = facts.get("options")
    return (
        facts.get("onnx") == artifact.sha256
        and isinstance(options, dict)
        and options.get("precision") == artifact.info.precision
        and not options.get("strip_weights")
    )


def _read(plan: bytes, facts: dict[str, Any]) -> FoundPlan | None:
    """None for a plan of one size."""
    shapes = {name: tuple(shape) for name, shape in facts["profile"].items()}
    if shapes[_SMALLEST] == shapes[_LARGEST]:
        return None
    capability = str(facts["device"]["capability"])
    return FoundPlan(plan, capability, shapes[_SMALLEST], shapes[_LARGEST], facts)
