"""Crops of facial components against the published code's numbers."""

import numpy as np
import pytest
import torch

from restora_training.components import (
    COMPONENTS,
    PUBLISHED,
    box_of,
    flip_places,
    place_from_landmarks,
    place_from_parsing,
)
from restora_training.roi_align import roi_align
from restora_training.schedule import multistep_factor
from training_vectors import Case

CROPS = {"loc_left_eye": "left_eyes", "loc_right_eye": "right_eyes", "loc_mouth": "mouths"}


@pytest.mark.parametrize("name", ["roi_face", "roi_border", "roi_large", "roi_1024"])
def test_crops_and_their_gradients_are_those_of_torchvision(name: str) -> None:
    case = Case(name)
    facts = case.facts
    image = case.sym(tuple(facts["input"]["shape"])).requires_grad_()
    step = 10 if "::10" in facts["sampling"] else 5
    total = torch.zeros(())
    for location, crop in CROPS.items():
        side = facts["mouth_out_size" if crop == "mouths" else "eye_out_size"]
        crops = roi_align(image, torch.tensor(facts["boxes_xyxy"][location]), side)
        crops = crops * facts["face_ratio"]
        case.check(f"{crop}_grid", crops[:, :, 2::step, 3::step])
        case.check(f"{crop}_mean_std", torch.stack((crops.mean(), crops.std(unbiased=False))))
        weights = case.sym(tuple(crops.shape), f"{name}/w/{crop}")
        total = total + (crops * weights).mean()
    case.check("weighted_mean", total)
    total.backward()
    if "grad_image_every4th" in facts["arrays"]:
        case.check("grad_image_every4th", image.grad[:, :, ::4, ::4])
    else:
        gradient = image.grad[-1]
        sliced = "grad_image_last_sample" in facts.get("sliced", {})
        case.check("grad_image_last_sample", gradient[:, ::2, ::2] if sliced else gradient)


def test_boxes_must_be_one_for_each_image() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 4\), got \(1, 4\)"):
        roi_align(torch.zeros(2, 3, 8, 8), torch.zeros(1, 4), 4)


def test_boxes_of_components_are_the_published_ones() -> None:
    facts = Case("component_boxes").facts
    checked = 0
    for key, expected in facts["expected"].items():
        if "published_bug" in key:
            continue
        side, flip, ratio = (part.lstrip("sizeflprato") for part in key.split("_"))
        scale = int(side) / 512
        places = {
            name: (x * scale, y * scale, half * scale)
            for name, (x, y, half) in facts["components"].items()
        }
        if flip == "1":
            places = flip_places(places, int(side))
        boxes = [box_of(name, places[name], eye_ratio=float(ratio)) for name in PUBLISHED]
        np.testing.assert_allclose(boxes, expected, atol=1e-4)
        checked += 1
    assert checked >= 8


def test_landmarks_give_the_published_components() -> None:
    case = Case("landmark_components")
    landmarks = case["landmarks_1024"].numpy() / 2
    places = [place_from_landmarks(name, landmarks) for name in PUBLISHED]
    case.check("components", torch.tensor(places))


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_parsing_map_gives_the_center_and_extent_of_a_component(name: str) -> None:
    labels = np.zeros((512, 512), np.uint8)
    shift = 232 if name.startswith("right") else 0
    labels[100:201, 120 + shift : 201 + shift] = (COMPONENTS[name].labels or (1,))[-1]
    expected = (160 + shift, 190, 40) if name == "chin" else (160 + shift, 150, 50)
    assert place_from_parsing(name, labels) == expected
    assert place_from_parsing(name, np.zeros((512, 512), np.uint8)) is None
    other = COMPONENTS[name].mirror
    if other != name:
        assert place_from_parsing(other, labels) is None


def test_flipping_twice_gives_the_same_places() -> None:
    places = {name: (100.0 + index, 200.0, 30.0) for index, name in enumerate(COMPONENTS)}
    assert flip_places(flip_places(places, 512), 512) == places


@pytest.mark.parametrize("warmup", [-1, 4])
def test_learning_rates_fall_as_published(warmup: int) -> None:
    case = Case("multistep")
    facts = case.facts
    rates = [
        facts["lr"] * multistep_factor(i, facts["milestones"], gamma=facts["gamma"], warmup=warmup)
        for i in range(1, 15)
    ]
    case.check(f"lr_warmup{warmup}", torch.tensor(rates))
