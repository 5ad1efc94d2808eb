"""The page in Chromium, with its real service: by mouse, by keyboard, and by axe-core's rules."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import tiny_artifact
from restora import read_photo, write_photo
from restora.image import Photo
from restora.serve import ServeOptions, Service
from serve_rig import Running, running

sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
pytestmark = pytest.mark.browser
expect = sync_api.expect
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
NARROW = {"width": 320, "height": 640}
TOKEN = "a-token-of-the-tests-0123"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    path.write_bytes(tiny_artifact(scale=2, io="uint8").onnx)
    return path


@pytest.fixture(scope="module")
def page_of_service(model: Path) -> Iterator[Running]:
    with running(Service(ServeOptions(port=0, models=(model,), queue=1))) as page:
        yield page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium: install it, or name it with CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any, page_of_service: Running) -> Iterator[Callable[..., Any]]:
    """Opens the page; at the end, nothing was blocked, failed or loaded from elsewhere."""
    contexts, complaints, addresses = [], [], set()

    def open_(base: str = page_of_service.base, *, ready: bool = True, **settings: Any) -> Any:
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if _is_fault(said) else None)
        page.on("request", lambda request: addresses.add(request.url))
        page.goto(base)
        if ready:
            expect(page.locator("#server")).to_contain_text("Ready: tiny")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []
    elsewhere = [a for a in addresses if not a.startswith(("http://127.0.0.1:", "blob:http://127"))]
    assert elsewhere == []


def _is_fault(said: Any) -> bool:
    """An error of the page; the browser also reports each answer that is a problem."""
    return said.type == "error" and "Failed to load resource" not in said.text


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """40 x 30, in colors that tell its corners apart."""
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[:, 20:, 0], pixels[15:, :, 1], pixels[..., 2] = 200, 150, 90
    write_photo(Photo(pixels), tmp_path / "old photo.png")
    return tmp_path / "old photo.png"


def restore(page: Any, *photos: Path) -> None:
    page.locator("#files").set_input_files([str(path) for path in photos])
    expect(page.locator("#photos li.done")).to_have_count(len(photos))


def clip_of(page: Any) -> str:
    return str(page.locator("#after").evaluate("element => element.style.clipPath"))


def test_one_photo_goes_all_the_way(open_page: Any, photo: Path, tmp_path: Path) -> None:
    page = open_page()
    expect(page.locator("#result")).to_be_hidden()
    restore(page, photo)
    expect(page.locator("#photos .state")).to_contain_text("40 × 30 → 80 × 60")
    expect(page.locator("#news")).to_contain_text("old photo.png: restored")
    expect(page.get_by_role("heading", name="old photo.png")).to_be_visible()
    for side, width in (("before", 40), ("after", 80)):
        image = page.locator(f"#{side}")
        expect(image).to_be_visible()
        assert image.evaluate("element => element.decode().then(() => element.naturalWidth)") == (
            width
        )
    with page.expect_download() as caught:
        page.get_by_role("link", name="Download").click()
    assert caught.value.suggested_filename == "old photo_restored.png"
    caught.value.save_as(tmp_path / "new.png")
    assert (read_photo(tmp_path / "new.png").width, read_photo(tmp_path / "new.png").height) == (
        80, 60,
    )  # fmt: skip
    page.locator("#about summary").click()
    expect(page.locator("#facts")).to_contain_text("tiny, 2 times larger, fp32")


def test_the_divider_is_a_slider_for_keyboard_pointer_and_screen_reader(
    open_page: Any, photo: Path
) -> None:
    page = open_page()
    restore(page, photo)
    slider = page.get_by_role("slider", name="Divider between before and after")
    expect(slider).to_have_value("50")
    assert clip_of(page) == "inset(0px 0px 0px 50%)"
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "52 % before, 48 % after")
    assert clip_of(page) == "inset(0px 0px 0px 52%)"
    page.keyboard.press("Home")
    assert clip_of(page) == "inset(0px)" or clip_of(page) == "inset(0px 0px 0px 0%)"
    box = page.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 3)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 3)
    page.mouse.up()
    expect(slider).to_have_value("80")


def test_zoom_sets_the_size_of_a_pixel_and_keeps_the_middle(open_page: Any, photo: Path) -> None:
    page = open_page(viewport={"width": 900, "height": 700})
    restore(page, photo)
    canvas = page.locator("#canvas")
    page.get_by_role("radio", name="100 %").check(force=True)
    assert canvas.bounding_box()["width"] == pytest.approx(80)
    page.get_by_role("radio", name="400 %").check(force=True)
    assert canvas.bounding_box()["width"] == pytest.approx(320)
    page.set_viewport_size({"width": 320, "height": 640})
    page.locator("#stage").evaluate("element => { element.scrollLeft = 1e6 }")
    stage = page.locator("#stage").bounding_box()
    assert stage["width"] < 320
    page.get_by_role("radio", name="Fit").check(force=True)
    assert canvas.bounding_box()["width"] <= stage["width"]


def test_several_photos_are_restored_and_one_of_them_is_shown(
    open_page: Any, photo: Path, tmp_path: Path
) -> None:
    paths = [photo]
    for index in range(3):
        paths.append(tmp_path / f"{index}.png")
        write_photo(Photo(np.full((10 + index, 12, 3), 99, np.uint8)), paths[-1])
    page = open_page()
    # the queue of the service holds one: the others are asked again
    page.route("**/v1/restore*", lambda route: route.continue_())
    restore(page, *paths)
    page.get_by_role("button", name="2.png", exact=True).click()
    expect(page.locator("#viewer-title")).to_have_text("2.png")
    assert page.locator("#after").evaluate("e => e.decode().then(() => e.naturalHeight)") == 24
    page.get_by_role("button", name="Remove 2.png").click()
    expect(page.locator("#photos li")).to_have_count(3)
    expect(page.locator("#viewer-title")).not_to_have_text("2.png")


def test_what_is_no_photo_is_told_and_can_be_tried_again(
    open_page: Any, tmp_path: Path, page_of_service: Running
) -> None:
    (tmp_path / "song.jpg").write_bytes(b"ID3 no photo at all")
    page = open_page()
    page.locator("#files").set_input_files(str(tmp_path / "song.jpg"))
    expect(page.locator("#photos li.failed")).to_have_count(1)
    expect(page.locator("#photos .state")).not_to_be_empty()
    expect(page.locator("#news")).to_contain_text("song.jpg: ")
    assert page.locator("#photos .state").inner_text() in page.locator("#news").inner_text()
    expect(page.get_by_role("button", name="Try again song.jpg")).to_be_visible()
    expect(page.locator("#result")).to_be_hidden()


def test_a_file_beyond_the_limit_is_not_sent(open_page: Any, photo: Path) -> None:
    page = open_page(ready=False)
    models: dict[str, Any] = {}

    def shrink(route: Any) -> None:
        answer = route.fetch()
        models.update(answer.json())
        models["limits"]["max_file_bytes"] = 10
        route.fulfill(response=answer, body=json.dumps(models))

    page.route("**/v1/models", shrink)
    page.reload()
    expect(page.locator("#accepted")).to_contain_text("1 kB")
    page.route("**/v1/restore*", lambda route: pytest.fail("it was sent"))
    page.locator("#files").set_input_files(str(photo))
    expect(page.locator("#photos li.failed .state")).to_contain_text("the server takes 1 kB")


def test_a_full_queue_is_asked_again_and_can_be_given_up(
    open_page: Any, photo: Path, page_of_service: Running
) -> None:
    page = open_page()
    with page_of_service.full():
        page.locator("#files").set_input_files(str(photo))
        expect(page.locator("#photos li.busy .state")).to_contain_text(
            "The server is busy, trying again in"
        )
        expect(page.locator("#news")).to_contain_text("The server is busy")
        page.get_by_role("button", name="Cancel old photo.png").click()
        expect(page.locator("#photos li.canceled")).to_have_count(1)
        page.get_by_role("button", name="Try again old photo.png").click()
        expect(page.locator("#photos li.busy")).to_have_count(1)
    page.get_by_role("button", name="Try again old photo.png").click()
    expect(page.locator("#photos li.done")).to_have_count(1)


def test_everything_can_be_done_with_a_keyboard(open_page: Any, photo: Path) -> None:
    page = open_page()

    def tab_to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        pytest.fail(f"no way to {selector}")

    tab_to("#files")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(str(photo))
    expect(page.locator("#photos li.done")).to_have_count(1)
    tab_to("#photos .name")
    page.keyboard.press("Enter")
    tab_to("#split")
    page.keyboard.press("End")
    assert clip_of(page) == "inset(0px 0px 0px 100%)"
    tab_to("#zoom input")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="100 %")).to_be_checked()
    tab_to("#download")
    with page.expect_download():
        page.keyboard.press("Enter")
    page.keyboard.press("Home")
    page.locator("#server").evaluate("() => document.activeElement.blur()")
    tab_to("#photos .acts button:not([hidden])")
    page.keyboard.press("Enter")
    expect(page.locator("#photos li")).to_have_count(0)
    assert page.evaluate("() => document.activeElement.id") == "files"


def test_faces_are_listed_with_their_boxes(open_page: Any, photo: Path) -> None:
    page = open_page()

    def add_faces(route: Any) -> None:
        # Chromium does not show a file that is sent to those who intercept it
        answer = route.fetch(post_data=photo.read_bytes())
        result = answer.json()
        faces = [
            {"box": [4, 3, 20, 18], "score": 0.98, "status": "restored"},
            {"box": [30, 6, 36, 12], "score": 0.71, "status": "skipped", "reason": "too small"},
        ]
        result["faces"] = {
            "model": "GFPGAN", "found": 2, "restored": 1, "skipped": 1, "failed": 0, "error": None,
            "list": faces,
        }  # fmt: skip
        route.fulfill(response=answer, body=json.dumps(result))

    page.route("**/v1/restore*", add_faces)
    restore(page, photo)
    expect(page.get_by_role("heading", name="Faces: 2 found, 1 restored")).to_be_visible()
    canvas = page.locator("#canvas").bounding_box()
    first = page.locator("#boxes span").first.bounding_box()
    assert first["x"] - canvas["x"] == pytest.approx(canvas["width"] * 4 / 40, abs=1)
    assert first["y"] - canvas["y"] == pytest.approx(canvas["height"] * 3 / 30, abs=1)
    assert first["width"] == pytest.approx(canvas["width"] * 16 / 40, abs=1)
    page.get_by_role("button", name="2: skipped, too small, score 0.71").click()
    expect(page.locator("#boxes span.chosen")).to_have_attribute("data-number", "2")
    page.get_by_role("checkbox", name="Show boxes").uncheck()
    expect(page.locator("#boxes")).to_be_hidden()


def test_photos_can_be_dropped_anywhere(open_page: Any, photo: Path) -> None:
    page = open_page()
    dropped = page.evaluate_handle(
        """async (bytes) => {
            const transfer = new DataTransfer();
            const data = [new Uint8Array(bytes)];
            transfer.items.add(new File(data, "dropped.png", {type: "image/png"}));
            return transfer;
        }""",
        list(photo.read_bytes()),
    )
    page.dispatch_event("body", "drop", {"dataTransfer": dropped})
    expect(page.locator("#photos li.done")).to_contain_text("dropped.png")


def test_options_are_sent_and_wrong_ones_are_not(open_page: Any, photo: Path) -> None:
    page = open_page()
    expect(page.get_by_label("Restore faces")).to_be_disabled()
    page.get_by_label("Format of results").select_option("jpg")
    page.get_by_label("Quality of JPEG and WebP").fill("300")
    page.locator("#files").set_input_files(str(photo))
    expect(page.locator("#photos li")).to_have_count(0)
    page.get_by_label("Quality of JPEG and WebP").fill("50")
    page.get_by_label("Enlargement").fill("3")
    with page.expect_request("**/v1/restore*") as caught:
        restore(page, photo)
    for part in ("model=tiny", "ext=jpg", "quality=50", "outscale=3"):
        assert part in caught.value.url
    expect(page.locator("#photos .state")).to_contain_text("→ 120 × 90")
    expect(page.locator("#download")).to_have_attribute("download", "old photo_restored.jpg")


def test_a_server_with_tokens_asks_for_one(open_page: Any, model: Path, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(f"me {TOKEN}\n")
    options = ServeOptions(port=0, models=(model,), tokens=tmp_path / "tokens")
    with running(Service(options)) as private:
        page = open_page(private.base, ready=False)
        field = page.get_by_label("Token")
        field.fill("a-wrong-token-of-the-tests")
        page.get_by_role("button", name="Use token").click()
        expect(page.locator("#server")).to_have_text("Not signed in")
        field.fill(TOKEN)
        page.get_by_role("button", name="Use token").click()
        expect(page.locator("#server")).to_contain_text("Ready: tiny")
        expect(page.locator("#sign-in")).to_be_hidden()
        photo = tmp_path / "a.png"
        write_photo(Photo(np.full((8, 8, 3), 99, np.uint8)), photo)
        restore(page, photo)
        expect(page.locator("#after")).to_be_visible()
        page.reload()
        expect(page.locator("#server")).to_contain_text("Ready: tiny")


def test_the_theme_follows_the_system_and_can_be_turned(open_page: Any) -> None:
    def ground(page: Any) -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light, dark = open_page(color_scheme="light"), open_page(color_scheme="dark")
    assert ground(light) != ground(dark)
    expect(dark.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
    light.get_by_role("button", name="Dark").click()
    assert ground(light) == ground(dark)
    light.reload()
    assert ground(light) == ground(dark)


WIDER = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
    [...document.querySelectorAll("body *")]
        .filter((element) => element.getBoundingClientRect().right > innerWidth)
        .map((element) => element.outerHTML.slice(0, 80))"""


def violations(page: Any) -> list[str]:
    found = axe.Axe().run(page)
    return [
        f"{one['id']}: {node['html']} ({node['failureSummary']})"
        for one in found.response["violations"]
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [{"width": 1200, "height": 900}, NARROW])
def test_axe_finds_no_violation_and_nothing_is_cut_off(
    open_page: Any, photo: Path, tmp_path: Path, scheme: str, viewport: dict[str, int]
) -> None:
    page = open_page(color_scheme=scheme, viewport=viewport)
    assert violations(page) == []
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    restore(page, photo)
    page.locator("#files").set_input_files(str(tmp_path / "broken.png"))
    expect(page.locator("#photos li.failed")).to_have_count(1)
    page.locator("#about summary").click()
    page.locator("#sign-in").evaluate("element => { element.hidden = false }")
    assert violations(page) == []
    assert page.evaluate(WIDER) == []
