"""The degradations of training against the published code's numbers."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from restora_training.degradations.color import ADJUSTMENTS, make_gray, shift_channels
from restora_training.degradations.faces import (
    FaceDegradation,
    FaceRange,
    compress_photo,
    degrade_face,
    draw_face_degradation,
    shrink_face,
)
from restora_training.degradations.filters import filter_batch, sharpen_batch
from restora_training.degradations.jpeg import compress_batch
from restora_training.degradations.kernels import (
    KernelRange,
    draw_blur_kernel,
    make_blur_kernel,
    make_sinc_kernel,
    pad_kernel,
)
from restora_training.degradations.noise import (
    SeededNoise,
    add_gaussian_noise,
    add_poisson_noise,
)
from restora_training.degradations.second_order import (
    SecondOrder,
    SecondOrderRange,
    Stage,
    crop_pairs,
    degrade_batch,
    draw_second_order,
)
from training_vectors import Case


class Replay:
    """The random tensors of a stored run, in their order."""

    def __init__(self, case: Case) -> None:
        stored = [draw[2] for draw in case.facts["draws"] if isinstance(draw[2], dict)]
        self.left = [case[entry["array"]].float() for entry in stored]

    def normal(self, shape: tuple[int, ...]) -> torch.Tensor:
        assert tuple(self.left[0].shape) == shape
        return self.left.pop(0)

    def poisson(self, rates: torch.Tensor) -> torch.Tensor:
        assert self.left[0].shape == rates.shape
        return self.left.pop(0)


def images_of(case: Case, key: str) -> torch.Tensor:
    """Stored BGR pictures as RGB (batch, 3, height, width), 0..1."""
    pictures = case[key]
    if pictures.ndim == 3:
        pictures = pictures.unsqueeze(0)
    return pictures.flip(-1).permute(0, 3, 1, 2).float() / 255


def check_levels(case: Case, key: str, levels: torch.Tensor) -> None:
    """At most one value in a hundred may differ, by as many levels as the case says."""
    difference = (levels.int() - case[key].int()).abs()
    assert int(difference.max()) <= case.facts["atol"][key], key
    assert float((difference > 0).float().mean()) <= 0.01, key


@pytest.mark.parametrize("name", ["kernels41", "kernels"])
def test_kernels(name: str) -> None:
    case = Case(name)
    for index, facts in enumerate(case.facts["list"]):
        kind = {"gauss": "gaussian"}.get(facts.get("kind", "gauss"), facts.get("kind"))
        if kind == "sinc":
            kernel = make_sinc_kernel(facts["size"], facts["cutoff"])
            kernel = pad_kernel(kernel, max(facts["pad_to"], facts["size"]))
        else:
            across = facts["sigma_x"] if facts["isotropic"] else facts["sigma_y"]
            kernel = make_blur_kernel(
                facts.get("size", 41),
                sigma=(facts["sigma_x"], across),
                theta=facts["theta"],
                shape=kind,
                beta=facts.get("beta") or 1.0,
            )
        case.check(f"kernel_{index}", torch.from_numpy(kernel))


def test_filtering_a_batch() -> None:
    case = Case("filter2d")
    case.check("per_sample", filter_batch(case["image"], case["kernels"]))
    case.check("first_kernel_for_all", filter_batch(case["image"], case["kernels"][:1]))


def test_an_image_below_half_the_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 10 pixels a side, got 10 x 30"):
        filter_batch(torch.zeros(1, 3, 10, 30), torch.zeros(1, 21, 21))


def test_sharpening() -> None:
    case = Case("usm")
    case.check("sharp", sharpen_batch(images_of(case, "picture_bgr_u8")))


@pytest.mark.parametrize("name", ["diffjpeg", "diffjpeg_mult16"])
def test_jpeg_of_tensors(name: str) -> None:
    case = Case(name)
    images = images_of(case, "pictures_bgr_u8").requires_grad_()
    quality = torch.tensor(case.facts["quality"])
    case.check("hard", compress_batch(images, quality))
    soft = compress_batch(images, quality, differentiable=True)
    case.check("soft", soft[:, :, ::2, ::2])
    (soft * case.sym(tuple(soft.shape), f"{name}/w")).mean().backward()
    case.check("grad_soft", images.grad[:1])


def test_gaussian_noise() -> None:
    case = Case("gauss_noise")
    draws, (low, high) = case.facts["draws"], case.facts["range"]
    sigma = torch.tensor(draws[0][2]) * (high - low) + low
    gray = torch.tensor(draws[1][2]) < case.facts["gray_prob"]
    replay = Replay(case)
    case.check("out", add_gaussian_noise(case["image"], sigma, gray, replay))
    assert not replay.left


def test_poisson_noise() -> None:
    case = Case("poisson_noise")
    draws, (low, high) = case.facts["draws"], case.facts["range"]
    scale = torch.tensor(draws[0][2]) * (high - low) + low
    gray = torch.tensor(draws[1][2]) < case.facts["gray_prob"]
    replay = Replay(case)
    case.check("out", add_poisson_noise(case["image"], scale, gray, replay))
    assert not replay.left


def test_changes_of_color() -> None:
    case = Case("colour")
    bgr = case["image_hwc"].numpy()
    rgb = np.ascontiguousarray(bgr[:, :, ::-1])
    shift = np.array(case.facts["shift_bgr"])[::-1]
    case.check("jittered", torch.from_numpy(shift_channels(rgb, shift)[:, :, ::-1].copy()))
    case.check("grey_bgr_weights", torch.from_numpy(make_gray(rgb)[:, :, 0].copy()))
    for name, factors in case.facts["factors"].items():
        for factor in factors:
            adjusted = ADJUSTMENTS[name](bgr, factor)  # stored as if these were RGB
            case.check(f"{name}_{factor}", torch.from_numpy(adjusted).permute(2, 0, 1))


def test_jpeg_of_opencv() -> None:
    case = Case("jpeg_cv2")
    rgb = case["picture_bgr_u8"].numpy()[:, :, ::-1].astype(np.float32) / 255
    for quality in case.facts["qualities"]:
        made = compress_photo(np.ascontiguousarray(rgb), quality)[:, :, ::-1].copy()
        check_levels(case, f"q{quality}", torch.from_numpy(made))


def face_degradation_of(case: Case) -> FaceDegradation:
    """The stored draws of a whole degradation, as parameters."""
    draws = [draw for draw in case.facts["draws"] if draw[0] != "python random"]
    kind = draws.pop(0)[2][0]
    options = case.facts["options"]

    def take(limits: list[float]) -> float:
        found = next(draw for draw in draws if draw[1] == limits)
        draws.remove(found)
        return found[2]

    along = take(options["blur_sigma"])
    across = take(options["blur_sigma"]) if kind == "aniso" else along
    theta = take([-np.pi, np.pi]) if kind == "aniso" else 0.0
    kernel = make_blur_kernel(41, sigma=(along, across), theta=theta)
    shift = next(
        (np.array(d[2])[::-1] for d in draws if d[0] == "numpy uniform" and isinstance(d[2], list)),
        None,
    )
    factors: dict[str, float] = {}
    order = next((d[2] for d in draws if d[0] == "torch randperm"), [])
    jitters = [d[2] for d in draws if d[0] == "tensor uniform_"]
    for index, factor in zip(order, jitters, strict=True):
        factors[("brightness", "contrast", "saturation", "hue")[index]] = factor
    return FaceDegradation(
        kernel=kernel,
        shrink=take(options["downsample_range"]),
        noise=take(options["noise_range"]),
        quality=case.facts["jpeg_quality_used"],
        shift=shift,
        gray=options["gray_prob"] == 1,
        factors=factors,
    )


@pytest.mark.parametrize("name", ["whole_plain", "whole_jitter", "whole_gray", "whole_pt"])
def test_whole_degradations_of_faces(name: str) -> None:
    case = Case(name)
    face = case["picture_bgr_u8"].numpy()[:, :, ::-1]
    if case.facts["hflip"]:
        face = face[:, ::-1]
    face = np.ascontiguousarray(face)
    how = face_degradation_of(case)
    drawn = next(d[2]["array"] for d in case.facts["draws"] if isinstance(d[2], dict))
    noise = case[drawn].numpy()[:, :, ::-1]
    small = torch.from_numpy(shrink_face(face, how)[:, :, ::-1].copy())
    assert list(small.shape[:2]) == case.facts["low_size_hw"]
    sliced = "downsampled" in case.facts.get("sliced", {})
    case.check("downsampled", small[::2, ::2] if sliced else small)
    degraded = torch.from_numpy(degrade_face(face, how, noise)).permute(2, 0, 1)
    check_levels(case, "lq_rgb_u8", degraded)


def stage_of(
    draws: list[list[Any]], kernels: torch.Tensor | None, options: dict[str, Any], suffix: str
) -> Stage:
    """Read the draws of one stage off the front of the list."""
    change = draws.pop(0)[2][0]
    factor = 1.0 if change == "keep" else draws.pop(0)[2]
    mode = draws.pop(0)[2]
    gaussian = draws.pop(0)[2] < options["gaussian_noise_prob" + suffix]
    low, high = options[("noise_range" if gaussian else "poisson_scale_range") + suffix]
    strength = torch.tensor(draws.pop(0)[2]) * (high - low) + low
    gray = torch.tensor(draws.pop(0)[2]) < options["gray_noise_prob" + suffix]
    while isinstance(draws[0][2], dict):
        draws.pop(0)  # the noise itself
    return Stage(
        kernels=kernels,
        factor=factor,
        mode=mode,
        noise="gaussian" if gaussian else "poisson",
        strength=strength,
        gray=gray,
        quality=torch.zeros(0),
    )


@pytest.mark.parametrize("name", ["second_order_x4", "second_order_x2"])
def test_whole_second_order_degradations(name: str) -> None:
    case = Case(name)
    options, draws = case.facts["options"], list(case.facts["draws"])
    scale = options["scale"]
    first = stage_of(draws, case["kernel1"][None], options, "")
    quality = torch.tensor(draws.pop(0)[2])
    blurs = draws.pop(0)[2] < options["second_blur_prob"]
    second = stage_of(draws, case["kernel2"][None] if blurs else None, options, "2")
    jpeg_last = draws.pop(0)[2] < 0.5
    last = [draws.pop(0)[2], draws.pop(0)[2]]
    back_mode, second_quality = last if jpeg_last else reversed(last)
    how = SecondOrder(
        first=replace(first, quality=quality),
        second=replace(second, quality=torch.tensor(second_quality)),
        sinc=case["sinc_kernel"][None],
        back_mode=back_mode,
        jpeg_last=jpeg_last,
    )
    clean = images_of(case, "pictures_bgr_u8")
    sharp = sharpen_batch(clean)
    replay = Replay(case)
    degraded = degrade_batch(sharp, how, scale=scale, source=replay)
    assert not replay.left
    top, left = (draw[2] for draw in draws)
    side = options["gt_size"] // scale
    degraded, clean = crop_pairs(degraded, clean, top=top, left=left, side=side, scale=scale)
    check_levels(case, "lq_rgb_u8", (degraded * 255).round())
    check_levels(case, "gt_crop_rgb_u8", (clean * 255).round())


def test_a_seed_decides_every_degradation() -> None:
    face = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    results = []
    for seed in (7, 7, 8):
        rng = np.random.default_rng(seed)
        how = draw_face_degradation(FaceRange(), rng)
        noise = rng.standard_normal(shrink_face(face, how).shape)
        results.append(degrade_face(face, how, noise))
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


def test_a_seed_decides_every_second_order_degradation() -> None:
    clean = torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(1))
    results = []
    for seed in (5, 5, 6):
        how = draw_second_order(SecondOrderRange(), 2, np.random.default_rng(seed))
        results.append(degrade_batch(clean, how, scale=2, source=SeededNoise(seed)))
    assert results[0].shape == (2, 3, 80, 80)
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_drawn_kernels_have_the_largest_size_and_sum_to_one() -> None:
    ranges = SecondOrderRange().first.kernel
    rng = np.random.default_rng(3)
    for _ in range(50):
        kernel = draw_blur_kernel(ranges, rng)
        assert kernel.shape == (21, 21)
        assert kernel.sum() == pytest.approx(1)
    narrow = KernelRange(sizes=(7,), shapes=(("gaussian", True, 1.0),), sigma=(1.0, 1.0))
    expected = cv2.getGaussianKernel(7, 1.0)
    np.testing.assert_allclose(draw_blur_kernel(narrow, rng), expected @ expected.T, atol=1e-6)
