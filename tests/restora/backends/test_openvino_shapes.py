"""Facts about networks that OpenVINO compiles for one shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from restora.backends.openvino_shapes import SMALL_PX, FixedShapes, Shape


class Network:
    """Stands for a compiled one, and notes what happens to it."""

    def __init__(self, name: str, events: list[str]) -> None:
        self.name, self.events = name, events

    def run(self, inputs: Any, outputs: Any) -> Any:
        self.events.append(f"{self.name} runs")

    def release_memory(self) -> None:
        self.events.append(f"{self.name} releases")


def shapes_with(events: list[str]) -> FixedShapes:
    def compile_for(shape: Shape) -> Any:
        name = f"{shape[1]} x {shape[2]}"
        events.append(f"{name} is compiled")
        return Network(name, events)

    return FixedShapes("image", Network("any", events), compile_for)  # type: ignore[arg-type]


def run(shapes: FixedShapes, *sizes: tuple[int, int]) -> None:
    for height, width in sizes:
        shapes.run({"image": np.empty((1, height, width, 3), np.uint8)}, ())


def test_a_large_shape_is_compiled_once_and_small_ones_never() -> None:
    events: list[str] = []
    run(shapes_with(events), (512, 256), (256, 256), (512, 256))
    expected = ["512 x 256 is compiled", "512 x 256 runs", "any runs", "512 x 256 runs"]
    assert events == expected


def test_many_small_images_in_a_batch_are_large() -> None:
    events: list[str] = []
    side = int(SMALL_PX**0.5)
    shapes_with(events).run({"image": np.empty((2, side, side, 3), np.uint8)}, ())
    assert events[0] == f"{side} x {side} is compiled"


def test_two_shapes_are_kept_and_only_the_current_one_holds_memory() -> None:
    events: list[str] = []
    run(shapes_with(events), (512, 256), (256, 512), (512, 256), (512, 512), (512, 256), (256, 512))
    compiled = [event for event in events if "compiled" in event]
    assert compiled == [
        f"{name} is compiled" for name in ("512 x 256", "256 x 512", "512 x 512", "256 x 512")
    ]
    before_second_run = events.index("256 x 512 is compiled")
    assert events[before_second_run - 1] == "512 x 256 releases"
    assert events.count("256 x 512 releases") == 2  # for the third run and the fourth
