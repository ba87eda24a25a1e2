"""What is judged while a visitor waits: how far it is, and that it ends once nobody does."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from deepfake_detector.ui.warming import WAITING
from tests.clips import draw_clip
from tests.conftest import ROOT, draw
from tests.serving import served

SLOWLY = """
import os, time
from deepfake_detector.cli import app
from deepfake_detector.encoders.colour_histogram import Encoder

encode = Encoder.encode

def slowly(encoder, prepared):
    while os.path.getsize("encoded") >= os.path.getsize("allowed"):
        time.sleep(0.02)
    with open("encoded", "a") as file:
        file.write("." * len(prepared))
    return encode(encoder, prepared)

Encoder.encode = slowly
os._exit(app())
"""


@pytest.fixture(scope="module")
def slow(model, tmp_path_factory):
    """A page whose encoder waits to be allowed → its address, how many pictures it has encoded, and what allows so many more."""
    folder = tmp_path_factory.mktemp("slow")
    (folder / "slowly.py").write_text(SLOWLY)
    (folder / "encoded").touch()
    (folder / "allowed").write_text(".")  # for what is encoded to warm up

    def encoded() -> int:
        return (folder / "encoded").stat().st_size

    def allow(more: int) -> None:
        (folder / "allowed").write_text("." * (encoded() + more))

    with served([model], folder, 7983, [folder / "slowly.py"]) as (url, _):
        while not encoded():  # or a test that allows nothing would have it warm up for ever
            time.sleep(0.02)
        yield url, encoded, allow


def visit(visitor, url: str, tab: str):
    page = visitor.new_page()
    page.set_default_timeout(30_000)
    page.goto(url)
    page.locator("#status", has_text="Ready. You").wait_for(timeout=90_000)
    page.get_by_role("tab", name=tab).click()
    return page


ENOUGH = 10_000


def close_when_done(page) -> None:
    """Once its moments are found, too: waiting for what they need, they would have a place of the next test."""
    page.locator("#clip_report").wait_for(timeout=90_000)
    page.close()


def look_closely(page, clip: Path) -> None:
    """Until it is the turn of its 144 frames."""
    page.locator("#clip_frames input[value='144']").check()
    page.evaluate("scrollTo(0, 0)")
    page.set_input_files("#clip input[type=file]", clip)
    page.locator("#clip_verdict", has_text="frames are").wait_for()


def test_how_many_frames_are_judged_is_told_and_who_takes_the_clip_away_ends_it(visitor, slow, tmp_path):
    url, encoded, allow = slow
    page = visit(visitor, url, "Video")
    page.set_viewport_size({"width": 390, "height": 844})
    before = encoded()
    allow(24)
    look_closely(page, draw_clip(tmp_path / "a.mp4", list(range(0, 6400, 40)), size=(160, 96)))
    page.locator("#clip_verdict", has_text=re.compile(r"[1-9]\d* of 144 frames are judged")).wait_for()
    bar = page.locator("#clip_verdict progress")
    assert 0 < bar.evaluate("bar => bar.position") < 0.5
    page.wait_for_function("document.querySelector('#clip_verdict progress').getBoundingClientRect().bottom < innerHeight")
    page.screenshot(path=ROOT / "screenshots" / "under_way.png")
    page.emulate_media(reduced_motion="reduce")  # what is brought into sight is there at once
    page.evaluate("scrollTo(0, 0)")
    heard_late = []
    page.route("**/run/predict*", lambda route: heard_late.append(route), times=1)
    page.locator("#clip_verdict", has_text="24 of 144 frames are judged").wait_for()  # all that is told, until more is allowed
    page.locator("#clip").get_by_title("Clear").click()
    page.locator("#clip_verdict", has_text="The answer will stand here").wait_for()
    allow(16)
    bar.wait_for()
    assert page.evaluate("scrollY") == 0, "who has taken the clip away is not led to how far it is"
    heard_late[0].continue_()
    bar.wait_for(state="detached")
    allow(ENOUGH)
    page.wait_for_timeout(2000)  # in which all would be encoded
    assert encoded() - before < 72, "less than half of all"
    assert bar.count() == 0, "what was told last stays away"
    page.close()


def test_a_clip_that_is_dropped_as_its_frames_are_chosen_is_judged_once(visitor, slow, tmp_path):
    """Of both Gradio tells at the same time, and asks for the clip each time: a second visitor would find no place."""
    url, encoded, allow = slow
    allow(0)
    pages = [visit(visitor, url, "Video") for _ in range(2)]
    for i, page in enumerate(pages):
        look_closely(page, draw_clip(tmp_path / f"{i}.mp4", list(range(0, 6400, 40)), size=(160, 96), tint=(20 * i, 0, 20)))
        page.locator("#clip_verdict", has_text="Its first frames are being judged").wait_for()
    allow(ENOUGH)
    for page in pages:
        page.locator("#clip_verdict", has_text="144 frames were judged").wait_for()
        close_when_done(page)


def test_pages_that_are_closed_free_the_places_that_they_had(visitor, slow, tmp_path):
    url, encoded, allow = slow
    clips = [draw_clip(tmp_path / f"{i}.mp4", list(range(0, 6400, 40)), size=(160, 96), tint=(0, 20 * i, 0)) for i in range(1, 4)]
    before = encoded()
    allow(0)
    leaving = [visit(visitor, url, "Video") for _ in range(2)]
    for page, clip in zip(leaving, clips[:2], strict=True):
        look_closely(page, clip)
    page = visit(visitor, url, "Video")
    page.set_input_files("#clip input[type=file]", clips[2])
    page.locator("#clip_verdict", has_text="waits for its turn").wait_for()
    for left in leaving:
        left.close()
    visit(visitor, url, "Video").close()  # while the server learns of it
    allow(ENOUGH)
    page.locator("#clip_verdict", has_text="16 frames were judged").wait_for()
    assert encoded() - before < 144 + 16, "less than half of all"
    close_when_done(page)


def test_what_is_told_until_the_server_hears_of_another_choice_does_not_stand_while_that_waits(visitor, slow, tmp_path):
    url, _, allow = slow
    page = visitor.new_page()
    page.add_init_script("""
        const ask = fetch, held = {};
        window.hold = place => {held[place] = new Promise(go => {window[`release_${place}`] = go})};
        window.fetch = async (...what) => {
            await held[new URL(what[0].url ?? what[0], location).pathname.split('/').at(-1)];
            return ask(...what);
        };
    """)
    page.goto(url)
    page.locator("#status", has_text="Ready. You").wait_for(timeout=90_000)
    page.get_by_role("tab", name="Video").click()
    allow(0)
    told = page.locator("#clip_verdict")
    page.set_input_files("#clip input[type=file]", draw_clip(tmp_path / "a.mp4", list(range(0, 8000, 40)), size=(160, 96), tint=(0, 9, 0)))
    told.get_by_text("first frames").wait_for()
    page.evaluate("hold('predict'), hold('join')")
    page.locator("#clip_frames input[value='48']").check()
    told.get_by_text("waits for its turn").wait_for()
    allow(16)
    told.get_by_text("16 frames were judged").wait_for(timeout=90_000)
    page.evaluate("release_predict()")
    told.get_by_text("waits for its turn").wait_for()
    allow(ENOUGH)
    page.evaluate("release_join()")
    told.get_by_text("48 frames were judged").wait_for(timeout=90_000)
    close_when_done(page)


def test_how_many_files_are_judged_is_told_and_closing_the_page_ends_it(visitor, slow, tmp_path):
    url, encoded, allow = slow
    page = visit(visitor, url, "Many files")
    page.set_input_files("#many input[type=file]", [draw(tmp_path / f"{i}.png", i % 2, 9600 + i, size=(60, 50)) for i in range(24)])
    page.locator("#many").get_by_text("23").first.wait_for()
    allow(16)
    page.click("#judge_many")
    page.locator("#many_told", has_text=re.compile(r"[1-9]\d* of 24 files are judged")).wait_for()
    page.close()
    for _ in range(12):  # the browser may take five seconds to hang up
        so_far = encoded()
        allow(1)
        time.sleep(0.5)
        if encoded() == so_far:
            break
    allow(ENOUGH)
    time.sleep(1)  # in which all would be encoded
    assert encoded() == so_far, "no more, though each of 24 would be encoded twice, but for what none waits for"


def test_who_waits_with_many_files_is_told_so_and_not_how_long_others_took(visitor, slow, tmp_path):
    """In tabs of one browser, which has six connections to a server at most: none that waits may have two."""
    url, _, allow = slow
    allow(0)
    judging = []
    for i in range(WAITING + 1):
        page = visit(visitor, url, "Many files")
        page.set_input_files("#many input[type=file]", draw(tmp_path / f"{i}.png", i % 2, 9700 + i, size=(60, 50)))
        page.locator("#many").get_by_text("png").first.wait_for()
        page.click("#judge_many")
        if i < WAITING:
            page.locator("#many_told", has_text="0 of 1 files are judged").wait_for()
        judging.append(page)
    page.locator("#many_told", has_text="waits for its turn").wait_for()
    page.screenshot(path=ROOT / "screenshots" / "waits.png")
    assert page.locator("#many_told").inner_text().strip() == "It waits for its turn."
    allow(ENOUGH)
    page.locator("#many_told", has_text="Of 1: ").wait_for()
    for page in judging:
        page.close()
