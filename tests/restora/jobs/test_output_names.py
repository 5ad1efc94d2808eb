"""Facts about the names of outputs: no two are the same, none is an input, and only the inputs and
the options decide them."""

from __future__ import annotations

import random
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restora.errors import OptionError
from restora.jobs.extras import FaceFiles, FaceNames
from restora.jobs.names import Outputs, Source, name_outputs

NAMES = [
    "a.jpg", "a.png", "a.jpg.png", "a.jpg.jpg", "a.JPG", "A.jpg", "a.png.png", "a.jpeg", "a",
    "a_compare.jpg", "a.jpg_compare.jpg", "a_00.png", "a.jpg_00.png", "a_00_00.png", "b.bmp",
    "a_x.png", "a_x_compare.jpg", "é.png", "e\u0301.png", "ß.png", "ss.png",
]  # fmt: skip
FOLDERS = ["", "sub", "Sub", "sub/sub", "cropped_faces", "restored_faces", "cmp", "a.png"]


def source(name: str, folder: str = "", ending: str = ".png") -> Source:
    return Source(Path("in", folder, name), Path(folder), ending)


def named(*sources: Source, root: Path = Path("out"), **options: object) -> list[Outputs]:
    inputs = [entry.path for entry in sources]
    return name_outputs(sources, root, **{"inputs": inputs, **options})  # type: ignore[arg-type]


def results(*names: str) -> list[str]:
    return [entry.result.name for entry in named(*map(source, names))]


def paths_of(outputs: Outputs) -> list[str]:
    """The files of one photo with some of its faces."""
    faces = outputs.extras.faces
    extras = [outputs.extras.comparison] if outputs.extras.comparison else []
    extras += [] if faces is None else [path for i in (0, 1, 7, 99, 100) for path in faces.paths(i)]
    return [outputs.result.as_posix(), *(path.as_posix() for path in extras)]


def folded(path: str) -> str:
    """As the strictest file systems compare names."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def test_a_name_that_two_inputs_want_goes_to_neither() -> None:
    assert results("a.jpg", "a.png") == ["a.jpg.png", "a.png.png"]


def test_longer_names_are_told_apart_too() -> None:
    names = results("a.jpg", "a.png", "a.jpg.png")
    assert len({folded(name) for name in names}) == 3
    assert names[1:] == ["a.png.png", "a.jpg.png.png"]


@pytest.mark.parametrize(
    "names", [("a.JPG", "a.jpg", "a.jpg.jpg"), ("é.png", "e\u0301.png"), ("SS.png", "ß.png")]
)
def test_names_that_some_file_systems_take_for_one_are_told_apart(names: tuple[str, ...]) -> None:
    found = results(*names)
    assert len({folded(name) for name in found}) == len(names)


inputs_of_a_run = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(FOLDERS)), min_size=1, max_size=9, unique=True
)


@settings(max_examples=200, deadline=None)
@given(inputs_of_a_run, st.sampled_from(["", "x", "00"]), st.sampled_from([".png", ".jpg"]))
def test_no_two_files_of_a_run_have_one_name(
    inputs: list[tuple[str, str]], suffix: str, ending: str
) -> None:
    outputs = named(
        *(source(name, folder, ending) for name, folder in inputs),
        suffix=suffix, compare=True, save_faces=True,
    )  # fmt: skip
    every = [folded(path) for entry in outputs for path in paths_of(entry)]
    assert len(every) == len(set(every))
    folders = {str(parent) for path in every for parent in Path(path).parents}
    assert not folders & set(every)


@settings(max_examples=50, deadline=None)
@given(inputs_of_a_run, st.integers(0, 100))
def test_the_order_of_inputs_decides_nothing(inputs: list[tuple[str, str]], seed: int) -> None:
    mixed = random.Random(seed).sample(inputs, len(inputs))
    one, other = (
        dict(
            zip(
                order,
                map(paths_of, named(*(source(*i) for i in order), compare=True, save_faces=True)),
                strict=True,
            )
        )
        for order in (inputs, mixed)
    )
    assert one == other


def test_an_input_keeps_its_name_when_nobody_else_wants_it() -> None:
    (one,) = named(source("a.png", "sub"), compare=True, save_faces=True, suffix="x")
    assert one.result == Path("out/sub/a_x.png")
    assert one.extras.comparison == Path("out/sub/a_x_compare.jpg")
    assert one.extras.faces is not None
    assert one.extras.faces.paths(3) == (
        Path("out/cropped_faces/sub/a_x_03.png"),
        Path("out/restored_faces/sub/a_x_03_x.png"),
        Path("out/cmp/sub/a_x_03.png"),
    )


def test_a_result_goes_before_a_comparison() -> None:
    first, second = named(source("a.png"), source("a_compare.png", ending=".jpg"), compare=True)
    assert second.result.name == "a_compare.jpg"
    assert first.result.name == "a.png"
    assert first.extras.comparison == Path("out/a.png_compare.jpg")


def test_a_result_cannot_have_the_name_of_a_folder() -> None:
    found = named(source("a.png"), source("b.png", "a.png"))
    assert found[0].result == Path("out/a.png.png")
    assert found[1].result == Path("out/a.png/b.png")


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def in_place(folder: Path, *names: str) -> list[Source]:
    return [Source(write(folder / name), Path(), ".png") for name in names]


def test_an_input_is_never_written_to(tmp_path: Path) -> None:
    sources = in_place(tmp_path, "a.png", "a_x.png")
    with pytest.raises(
        OptionError, match=r"a_x\.png would be overwritten by the result of .*a\.png"
    ):
        named(*sources, root=tmp_path, suffix="x")
    with pytest.raises(OptionError, match="would be overwritten by its own result"):
        named(*sources, root=tmp_path)


def test_an_input_is_known_through_links_and_other_spellings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = in_place(tmp_path / "in", "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    (tmp_path / "hard").mkdir()
    (tmp_path / "hard" / "a.png").hardlink_to(tmp_path / "in" / "a.png")
    (tmp_path / "soft").mkdir()
    (tmp_path / "soft" / "a.png").symlink_to(tmp_path / "in" / "a.png")
    monkeypatch.chdir(tmp_path)
    for root in ("in", "link", "hard", "soft", "hard/../in"):
        with pytest.raises(OptionError, match="would be overwritten"):
            named(*sources, root=Path(root))


def test_a_comparison_gives_way_to_an_input(tmp_path: Path) -> None:
    sources = in_place(tmp_path, "a.png", "a_x_compare.jpg")
    first, _ = named(*sources, root=tmp_path, suffix="x", compare=True)
    assert first.extras.comparison == tmp_path / "a_x.png_compare.jpg"


def test_folders_that_are_one_through_a_link_share_no_names(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").symlink_to(tmp_path / "one")
    found = named(source("a.png", "one"), source("a.png", "two"), root=tmp_path)
    assert len({entry.result.name for entry in found}) == 2


@pytest.mark.parametrize("suffix", ["../x", "a/b", "/", "\\", "a\0"])
def test_a_suffix_that_leaves_the_folder_is_refused(suffix: str) -> None:
    with pytest.raises(OptionError, match="part of a name"):
        named(source("a.png"), suffix=suffix)


@pytest.mark.parametrize("stem", ["写" * 83, "é" * 125, "x" * 251])
def test_every_name_fits_into_a_folder(stem: str) -> None:
    found = named(
        source(f"{stem}.png"), source(f"{stem}.jpg"), compare=True, save_faces=True, suffix="new"
    )
    every = [path for entry in found for path in paths_of(entry)]
    assert max(len(Path(path).name.encode()) for path in every) <= 255
    assert len(set(every)) == len(every)


def test_saved_faces_are_found_by_their_photo(tmp_path: Path) -> None:
    names = FaceNames(tmp_path, Path("sub"), "a", "_x")
    mine = [write(path) for index in (0, 100) for path in names.paths(index)]
    for other in ("a_1.png", "aa_00.png", "a_00_00.png", "b_00.png", "a_00_x.png", "a_00.jpg"):
        write(tmp_path / "cropped_faces" / "sub" / other)
    write(tmp_path / "restored_faces" / "sub" / "a_05.png")  # without the suffix: not ours
    write(tmp_path / "cropped_faces" / "a_00.png")  # of another folder
    assert sorted(FaceFiles().of(names)) == sorted(mine)
