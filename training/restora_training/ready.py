"""Ready-made recipes: fine-tuning a checkpoint, and fitting a student to a teacher."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from restora.errors import OptionError
from restora_export.checkpoint import load_checkpoint
from restora_export.face_architecture import GFPGANSpec
from restora_training.recipe import Recipe, make_recipe

_STUDENT = re.compile(r"(srvgg|rrdb)-([0-9]{1,3})x([0-9]{1,3})")


def finetune_recipe(
    checkpoint: Path,
    photos: Path,
    *,
    steps: int,
    vgg19: Path | Literal["torchvision"] | None = None,
    arcface: Path | None = None,
    changes: dict[str, dict[str, Any]] | None = None,
) -> Recipe:
    """A recipe that continues the training of a published checkpoint on other photos.

    Upscalers train on Real-ESRGAN's second-order degradation, face networks on GFP-GAN's with the
    decoder frozen; weights of losses and rates are those of the published option files. Losses that
    need a file are left out without it: perceptual (and style) need vgg19, identity needs arcface.

    changes: values of the recipe by part, instead of the ready-made ones

    Raises CheckpointError, MissingModelError or OptionError.
    """
    spec = load_checkpoint(checkpoint).architecture
    make = _face_values if isinstance(spec, GFPGANSpec) else _upscaler_values
    values = make(checkpoint, photos, steps, vgg19, arcface)
    for part, entries in (changes or {}).items():
        values.setdefault(part, {}).update(entries)
    return make_recipe(values, folder=Path(), name="the recipe of fine-tuning")


def student_recipe(
    student: str,
    pairs: Path,
    *,
    scale: int,
    steps: int,
    patch: int,
    batch: int,
    precision: Literal["fp32", "bf16"] = "fp32",
    truth: float = 0.0,
    seed: int = 0,
) -> Recipe:
    """A recipe that fits a new network to a teacher's answers.

    truth: weight of L1 to the clean pictures, besides L1 to the teacher's answers
    student: "srvgg-CONVSxFEATURES" or "rrdb-BLOCKSxFEATURES", such as "srvgg-16x64"

    Raises OptionError.
    """
    network = student_network(student, scale=scale)
    if network["architecture"] == "srvgg":
        network["initial"] = "bilinear"
    return make_recipe(
        {
            "network": network,
            "data": {"pairs": pairs, "patch": patch, "batch": batch, "rotate": True},
            "losses": {"pixel": 1.0, "truth": truth},
            "optimizer": {
                "rate": 1e-3,
                "schedule": "cosine",
                "warmup": min(200, steps // 10),
                "clip": 0.5,
            },
            "run": {
                "precision": precision,
                "steps": steps,
                "seed": seed,
                "save": max(1, min(500, steps // 4)),
                "log": max(1, min(50, steps // 4)),
                "validate": max(1, min(1000, steps // 2)),
            },
        },
        folder=Path(),
        name="the recipe of the student",
    )


def student_network(student: str, *, scale: int) -> dict[str, Any]:
    """The network part of a recipe. Raises OptionError for a name that it does not know."""
    found = _STUDENT.fullmatch(student)
    if found is None:
        raise OptionError(
            "a student must be srvgg-CONVSxFEATURES or rrdb-BLOCKSxFEATURES, such as srvgg-16x64 "
            f"or rrdb-6x64, got {student!r}"
        )
    depth, features = int(found[2]), int(found[3])
    values = {"architecture": found[1], "scale": scale, "features": features}
    if found[1] == "srvgg":
        return values | {"convs": depth}
    upsamples = {1: 2, 2: 1, 4: 2}.get(scale, 2)
    return values | {"blocks": depth, "growth": max(1, features // 2), "upsamples": upsamples}


def _upscaler_values(
    checkpoint: Path,
    photos: Path,
    steps: int,
    vgg19: Path | Literal["torchvision"] | None,
    arcface: Path | None,
) -> dict[str, Any]:
    losses: dict[str, Any] = {"pixel": 1.0}
    if arcface is not None:
        losses["arcface"] = arcface  # the check of the recipe refuses it
    if vgg19 is not None:
        losses |= {"perceptual": 1.0, "adversarial": 0.1, "vgg19": vgg19}
    return {
        "network": {"start": checkpoint},
        "data": {"photos": photos, "patch": 256, "batch": 4},
        "degradation": {"kind": "second_order"},
        "losses": losses,
        "optimizer": {"rate": 1e-4},
        "run": {"steps": steps},
    }


def _face_values(
    checkpoint: Path,
    photos: Path,
    steps: int,
    vgg19: Path | Literal["torchvision"] | None,
    arcface: Path | None,
) -> dict[str, Any]:
    losses: dict[str, Any] = {
        "pixel": 0.1,
        "adversarial": 0.1,
        "component": 1.0,
        "component_style": 200.0,
    }
    if vgg19 is not None:
        losses |= {"perceptual": 1.0, "style": 50.0, "vgg19": vgg19}
    if arcface is not None:
        losses |= {"identity": 10.0, "arcface": arcface}
    return {
        "network": {"start": checkpoint, "frozen_decoder": True},
        "data": {"photos": photos, "batch": 2},
        "degradation": {"kind": "faces"},
        "losses": losses,
        # the published rate of 2e-3 is for a U-Net that starts at random
        "optimizer": {
            "rate": 2e-4,
            "betas": (0.0, 0.99),
            "discriminator_rate": 2e-3,
            "discriminator_betas": (0.0, 0.99 ** (16 / 17)),
        },
        "run": {"steps": steps, "average": 0.5 ** (32 / 10000)},
    }
