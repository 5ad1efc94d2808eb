"""Facts about building plans, held against what TensorRT 8.6, 10 and 11 really have."""

import json
from typing import Any

import pytest

from fakes import make_info, tiny_artifact
from restora.artifact import Artifact
from restora.backends.tensorrt.build import build_plan
from restora.backends.tensorrt.build_options import BuildOptions
from restora.backends.tensorrt.module import features_of
from restora.backends.tensorrt.profiles import MAX_ELEMENTS, Profile, check_elements, plan_profiles
from restora.errors import BuildCanceledError, BuildError, OptionError
from tensorrt_double import VERSIONS, FakeTensorRT, read_api

HOT = Profile((1, 256, 256, 3), (1, 256, 256, 3), (1, 256, 256, 3))
WIDE = Profile((1, 8, 8, 3), (1, 256, 256, 3), (1, 1024, 1024, 3))


@pytest.fixture(params=VERSIONS)
def trt(request: pytest.FixtureRequest) -> FakeTensorRT:
    return FakeTensorRT(request.param)


def artifact_for(trt: FakeTensorRT, precision: str) -> Artifact:
    """What `precision` is built from on this version."""
    typed = features_of(trt).strongly_typed
    return tiny_artifact(precision=precision if typed else "fp32")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_plan_is_built_on_every_version(trt: FakeTensorRT, precision: Any) -> None:
    artifact = artifact_for(trt, precision)
    built = build_plan(trt, artifact, HOT, BuildOptions(precision=precision))
    assert built.plan.startswith(b"PLAN")
    assert built.timing_cache == b"T"
    (build,) = trt.world.builds
    assert build["onnx"] == artifact.onnx
    assert build["profiles"] == [{"image": (HOT.smallest, HOT.best, HOT.largest)}]
    assert build["workspace"] == {"WORKSPACE": 4 << 30}
    assert ("FP16" in build["flags"]) == (precision == "fp16" and trt.__version__.startswith("8"))
    assert "TF32" not in build["flags"]
    assert build["settings"]["profiling_verbosity"].name == "DETAILED"
    # smaller tiles need less scratch memory where TensorRT can do that
    old = trt.__version__.startswith("8")
    assert build["preview"] == {
        "PROFILE_SHARING_0806" if old else "RUNTIME_ACTIVATION_RESIZE_10_10"
    }


def test_types_come_from_the_graph_where_the_version_can(trt: FakeTensorRT) -> None:
    build_plan(trt, artifact_for(trt, "fp16"), HOT, BuildOptions(precision="fp16"))
    creation = read_api(next(v for v in VERSIONS if trt.__version__.startswith(v)))[
        "NetworkDefinitionCreationFlag"
    ]["members"]
    wanted = "STRONGLY_TYPED" if "STRONGLY_TYPED" in creation else "EXPLICIT_BATCH"
    assert trt.world.builds[0]["network_flags"] == 1 << creation[wanted]


def test_fp16_from_a_graph_without_fp16_is_refused_and_never_built_as_fp32(
    trt: FakeTensorRT,
) -> None:
    wrong = "fp32" if features_of(trt).strongly_typed else "fp16"
    with pytest.raises(OptionError, match=f"{wrong}"):
        build_plan(trt, tiny_artifact(precision=wrong), HOT, BuildOptions(precision="fp16"))
    assert trt.world.builds == []


def test_settings_reach_the_builder(trt: FakeTensorRT) -> None:
    options = BuildOptions(
        opt_level=5,
        workspace_bytes=1 << 30,
        version_compatible=True,
        hardware="ampere_plus",
        tf32=True,
    )
    build_plan(trt, artifact_for(trt, "fp32"), HOT, options)
    (build,) = trt.world.builds
    assert build["settings"]["builder_optimization_level"] == 5
    assert build["settings"]["hardware_compatibility_level"].name == "AMPERE_PLUS"
    assert {"VERSION_COMPATIBLE", "TF32"} <= build["flags"]


def test_what_a_version_lacks_is_said(trt: FakeTensorRT) -> None:
    features = features_of(trt)
    options = BuildOptions(strip_weights=True, hardware="same_capability")
    artifact = artifact_for(trt, "fp32")
    if features.strip and features.same_capability:
        build_plan(trt, artifact, HOT, options)
        assert "STRIP_PLAN" in trt.world.builds[0]["flags"]
        return
    with pytest.raises(OptionError, match="has no plans without weights and no compat"):
        build_plan(trt, artifact, HOT, options)


def test_a_build_that_fails_is_tried_with_less_and_the_attempts_are_told(
    trt: FakeTensorRT,
) -> None:
    def fail(build: dict[str, Any]) -> str | None:
        shapes = build["profiles"][0]["image"]
        return None if shapes[0] == shapes[2] else "out of memory in tactic 7"

    trt.world.fail = fail
    built = build_plan(trt, artifact_for(trt, "fp32"), WIDE, BuildOptions())
    assert built.profile.is_static
    assert built.profile.best == WIDE.best
    assert built.options.workspace_bytes == 1 << 30
    # as asked, with less workspace, up to 512, up to 256, with the smallest shape as the best
    assert len(built.attempts) == 5
    assert all("out of memory in tactic 7" in attempt for attempt in built.attempts)


def test_a_build_that_always_fails_ends_in_one_readable_error(trt: FakeTensorRT) -> None:
    trt.world.fail = lambda _build: "no implementation for node conv_first"
    with pytest.raises(BuildError, match=r"cannot build tiny for .* no implementation for node"):
        build_plan(trt, artifact_for(trt, "fp32"), WIDE, BuildOptions())
    assert len(trt.world.builds) == 4


def test_an_onnx_file_that_cannot_be_parsed_is_not_tried_again(trt: FakeTensorRT) -> None:
    trt.world.parser_errors = [
        {"desc": "no importer", "node": 7, "node_name": "node_Odd_7", "node_operator": "Odd"}
    ]
    with pytest.raises(BuildError, match=r"cannot read tiny: .*no importer") as caught:
        build_plan(trt, artifact_for(trt, "fp32"), HOT, BuildOptions())
    place = "node_Odd_7 Odd" if "node_name" in read_members(trt, "ParserError") else "node 7"
    assert place in str(caught.value)
    assert trt.world.builds == []


def read_members(trt: FakeTensorRT, name: str) -> dict[str, Any]:
    members: dict[str, Any] = trt._api[name]["members"]
    return members


def test_progress_is_reported_and_cancels_where_the_version_can(trt: FakeTensorRT) -> None:
    told: list[tuple[str, int, int]] = []
    build_plan(
        trt,
        artifact_for(trt, "fp32"),
        HOT,
        BuildOptions(),
        progress=lambda *step: told.append(step),
    )
    if not features_of(trt).progress:
        assert told == [("building", 1, 0), ("building", 2, 0)]
        with pytest.raises(BuildCanceledError):
            build_plan(
                trt, artifact_for(trt, "fp32"), HOT, BuildOptions(), progress=lambda *_: 1 / 0
            )
        return
    assert told[0] == ("Building Engine", 0, 2)
    assert told[-1] == ("Building Engine", 2, 2)

    def cancel(_phase: str, done: int, _steps: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_plan(trt, artifact_for(trt, "fp32"), HOT, BuildOptions(), progress=cancel)

    def break_(_phase: str, _done: int, _steps: int) -> None:
        raise ValueError("the bar is broken")

    with pytest.raises(BuildCanceledError):
        build_plan(trt, artifact_for(trt, "fp32"), HOT, BuildOptions(), progress=break_)


def test_a_timing_cache_of_another_machine_is_replaced(trt: FakeTensorRT) -> None:
    artifact = artifact_for(trt, "fp32")
    built = build_plan(trt, artifact, HOT, BuildOptions(), timing_cache=b"mine")
    assert built.timing_cache == b"mineT"
    trt.world.timing_cache_is_valid = False
    built = build_plan(trt, artifact, HOT, BuildOptions(), timing_cache=b"other")
    assert built.timing_cache == b"T"


def test_everything_that_is_used_exists_in_every_version_that_uses_it() -> None:
    for version in VERSIONS:
        trt = FakeTensorRT(version)
        build_plan(trt, artifact_for(trt, "fp32"), WIDE, BuildOptions())
        api = read_api(version)
        for name in sorted(trt.used):
            owner, member = name.split(".")
            assert member in api[owner]["members"], f"{version} has no {name}"
        assert {"Builder.build_serialized_network", "OnnxParser.parse"} <= trt.used


def test_each_batch_of_tiles_has_a_profile_and_odd_sizes_one() -> None:
    info = make_info(size_multiple=2)
    profiles = plan_profiles(info, tile=256, batches=[1, 4], max_tile=1024)
    assert [profile.is_static for profile in profiles] == [True, True, False]
    assert [profile.best for profile in profiles] == [
        (1, 256, 256, 3),
        (4, 256, 256, 3),
        (1, 256, 256, 3),
    ]
    assert profiles[-1].smallest == (1, 8, 8, 3)
    assert profiles[-1].holds((1, 8, 1024, 3))
    assert not profiles[-1].holds((2, 8, 8, 3))


def test_a_network_of_one_side_has_profiles_of_that_side() -> None:
    info = make_info(kind="face", side=512, size_multiple=1)
    profiles = plan_profiles(info, tile=256, batches=[1, 8], max_tile=1024)
    assert {profile.largest[1:] for profile in profiles} == {(512, 512, 3)}
    assert profiles[-1].smallest[0] == 1
    assert profiles[-1].largest[0] == 8


def test_smaller_profiles_keep_the_multiple_and_the_best_size() -> None:
    wide = Profile((1, 8, 8, 3), (1, 24, 32, 3), (1, 200, 200, 3))
    assert [profile.largest[1:3] for profile in wide.halves(8)] == [(96, 96), (48, 48), (32, 32)]
    assert {(profile.smallest, profile.best) for profile in wide.halves(8)} == {
        (wide.smallest, wide.best)
    }


def test_tensors_that_tensorrt_cannot_hold_are_known_beforehand() -> None:
    info = make_info(size_multiple=1, elements_per_pixel=64 * 16.0)
    check_elements(info, Profile((1, 8, 8, 3), (1, 512, 512, 3), (1, 1440, 1440, 3)))
    with pytest.raises(OptionError, match="use tiles of at most 1448"):
        plan_profiles(info, tile=512, batches=[1], max_tile=1600)
    assert 1448**2 * 1024 <= MAX_ELEMENTS < 1449**2 * 1024


@pytest.mark.parametrize(
    ("tile", "batches", "max_tile"), [(255, [1], 512), (512, [1], 256), (2, [1], 4), (64, [], 64)]
)
def test_profiles_that_cannot_work_are_refused(
    tile: int, batches: list[int], max_tile: int
) -> None:
    with pytest.raises(OptionError):
        plan_profiles(make_info(size_multiple=2), tile=tile, batches=batches, max_tile=max_tile)


def test_the_double_knows_what_each_version_lacks() -> None:
    old, new = FakeTensorRT("8.6"), FakeTensorRT("11.4")
    with pytest.raises(AttributeError):
        _ = new.BuilderFlag.FP16
    with pytest.raises(AttributeError):
        _ = old.IProgressMonitor
    with pytest.raises(AttributeError):
        new.IBuilderConfig().max_workspace_size = 1
    with pytest.raises(TypeError, match="set_flag"):
        new.IBuilderConfig().set_flag()
    assert json.loads(json.dumps(read_api("8.6")["_meta"]))["version"] == "8.6.0"
