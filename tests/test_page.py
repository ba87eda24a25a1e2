"""The page in a real browser: drop a picture, read the verdict; and what a visitor uploads does not stay."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepfake_detector.detect import Detector
from deepfake_detector.images import MAX_FILE_BYTES
from deepfake_detector.panel import Panel
from tests.clips import draw_clip, draw_sound
from tests.conftest import ROOT, answering, draw, process, script
from tests.contrast import faint
from tests.serving import anew, served, web
from tests.signing import signed_file
from tests.test_images import HEIC


@pytest.fixture(scope="module")
def address(model, tmp_path_factory):
    """The page of the drawn data's model, and the folder in which it runs."""
    folder = tmp_path_factory.mktemp("page")
    with served([model], folder, 7991) as (url, _):
        yield url, folder


@pytest.fixture
def page(visitor, address):
    page = visitor.new_page()
    page.set_default_timeout(30_000)
    page.requested = []
    page.on("request", lambda request: page.requested.append(request.url))
    page.goto(address[0])
    page.locator("#status[aria-live]").wait_for()  # once page.js listens
    yield page
    page.close()


def verdict_of(page, place: str = "#verdict") -> tuple[str, str]:
    page.wait_for_selector(f"{place} [data-verdict]", timeout=90_000)  # the first one waits for the model
    shown = page.locator(f"{place} [data-verdict]")
    return shown.get_attribute("data-verdict"), shown.get_attribute("data-p-fake")


def downloaded(page, button: str):
    with page.expect_download() as download:
        page.click(button)
    return download.value


def drop(page, *paths: Path, place: str = "#picture [aria-dropeffect]", kind: str = "image/png") -> None:
    """Drag files onto the picture, as a hand would: the browser's own drop event with Files in it."""
    page.locator(place).first.dispatch_event("drop", {"dataTransfer": in_hand(page, *paths, kind=kind)})


def in_hand(page, *paths: Path, kind: str = "image/png"):
    """What a browser hands on of files that are dragged or copied, all of which it takes for this kind."""
    return page.evaluate_handle(
        """([files, type]) => {
            const transfer = new DataTransfer();
            for (const [content, name] of files) {
                const bytes = Uint8Array.from(atob(content), c => c.charCodeAt(0));
                transfer.items.add(new File([bytes], name, {type}));
            }
            return transfer;
        }""",
        [[(base64.b64encode(path.read_bytes()).decode(), path.name) for path in paths], kind],
    )


@pytest.mark.parametrize("label", [0, 1])
def test_a_dropped_picture_gets_the_verdict_that_python_gives(page, model, tmp_path, label):
    picture = draw(tmp_path / "new.png", label, 5000 + label, size=(300, 220))
    expected = Panel([Detector(model)]).judge_file(picture)
    drop(page, picture)
    assert verdict_of(page) == (expected.verdict, str(expected.p_fake))
    text = page.text_content("#verdict")
    assert "colours on colour_histogram" in text
    assert "encoded just now" in text
    page.screenshot(path=ROOT / "screenshots" / f"verdict_{label}.png")
    strangers = [url for url in page.requested if not re.match(r"(http://127\.0\.0\.1:|data:|blob:)", url)]
    assert strangers == [], "the page talks to nobody but its own server"
    if label:
        assert expected.verdict == "fake"
        page.get_by_role("link", name="what it is bad at").click()
        page.locator("[role=tab][aria-selected=true]:focus", has_text="What it is bad at").wait_for()


def test_a_picture_that_is_pasted_or_dropped_beside_its_box_is_judged(page, model, tmp_path):
    pasted, dropped = (draw(tmp_path / f"{label}.png", label, 5010 + label) for label in (0, 1))
    page.locator("#verdict", has_text="The answer will stand here").wait_for()
    page.locator("#address textarea").evaluate(
        "(place, copied) => place.dispatchEvent(new ClipboardEvent('paste', {clipboardData: copied, bubbles: true, cancelable: true}))",
        in_hand(page, pasted),
    )
    assert verdict_of(page)[1] == str(Panel([Detector(model)]).judge_file(pasted).p_fake)
    page.locator("#report").wait_for()
    drop(page, dropped, place="#verdict")
    page.wait_for_selector(f'#verdict [data-p-fake="{Panel([Detector(model)]).judge_file(dropped).p_fake}"]')
    page.get_by_label("Clear").or_(page.get_by_label("Remove Image")).first.click()
    page.locator("#verdict", has_text="The answer will stand here").wait_for()


def test_words_that_are_dragged_into_a_field_are_set_down_there(page):
    page.get_by_text("The answer is a hint").dblclick(position={"x": 15, "y": 10})
    chosen = page.evaluate("getSelection().toString()").strip()
    page.get_by_text("The answer is a hint").hover(position={"x": 15, "y": 10})
    page.mouse.down()
    field = page.locator("#address textarea")
    field.hover()
    field.hover()  # a browser asks once more before it lets go
    page.mouse.up()
    page.wait_for_function("chosen => document.querySelector('#address textarea').value.trim() === chosen", arg=chosen)


def test_a_picture_of_the_page_itself_is_not_taken_where_somebody_lets_go_of_it(page, tmp_path):
    """A browser drops nothing where nobody says of what is dragged that it may be."""
    ask = """(place, [dragged, event]) =>
        !place.dispatchEvent(new DragEvent(event, {dataTransfer: dragged, bubbles: true, cancelable: true}))"""
    dragged = in_hand(page, draw(tmp_path / "a.png", 0, 5013))
    assert page.locator("#verdict").evaluate(ask, [dragged, "dragover"])
    page.locator("img").first.evaluate(ask, [dragged, "dragstart"])
    assert not page.locator("#verdict").evaluate(ask, [dragged, "dragover"])


def test_of_two_boxes_none_takes_what_is_dropped_beside_them(page, tmp_path):
    page.get_by_role("tab", name="Teach it").click()
    page.wait_for_selector("#teach_fake input[type=file]", state="attached")
    for kind in ("Real pictures", "Fakes"):
        page.get_by_role("group", name=kind).get_by_label("Click to upload").wait_for()  # to be told apart by ear
    drop(page, draw(tmp_path / "a.png", 0, 5012), place="#taught")
    page.get_by_role("button", name="Learn these").click()
    page.get_by_text("There are no pictures in the boxes").wait_for()


def test_a_file_goes_to_the_box_that_takes_its_kind_and_opens_its_tab(page, tmp_path):
    picture, text = draw(tmp_path / "a.png", 0, 5014), tmp_path / "text.pdf"
    clips = [draw_clip(tmp_path / f"{i}.mkv", list(range(0, 2000, 40)), size=(160, 96), tint=(0, 0, 30 * i)) for i in range(3)]
    text.write_text("I am neither")

    def judged(tab: str, place: str, file: Path) -> None:
        page.get_by_role("tab", name=tab, selected=True).wait_for()
        page.locator(place, has_text=hashlib.sha256(file.read_bytes()).hexdigest()).wait_for(timeout=90_000)

    drop(page, clips[0], kind="video/x-matroska")
    judged("Video", "#clip_verdict", clips[0])
    page.screenshot(path=ROOT / "screenshots" / "handed_on.png")
    drop(page, picture, place="#clip")
    judged("Picture", "#verdict", picture)
    page.wait_for_selector("#picture img")
    drop(page, clips[1], place="#picture .image-frame", kind="")  # a browser that knows no such kind
    judged("Video", "#clip_verdict", clips[1])
    page.get_by_role("tab", name="Picture").click()
    page.set_input_files("#picture input[type=file]", clips[2])
    judged("Video", "#clip_verdict", clips[2])
    for tab, place, said in (("Picture", "picture", "verdict"), ("Video", "clip", "clip_verdict")):
        page.get_by_role("tab", name=tab).click()
        page.locator(f"#{place}").get_by_title(re.compile("Clear|Remove Image")).click()
        drop(page, text, place=f"#{place} [aria-dropeffect]", kind="application/pdf")
        page.locator(f"#{said}", has_text=f"not a {tab.lower()}").wait_for()
    drop(page, picture, clips[0])
    page.get_by_role("tab", name="Many files", selected=True).wait_for()
    page.click("#judge_many")
    page.locator("#many_told", has_text="Of 2: ").wait_for()


def test_what_is_asked_for_while_the_stream_of_answers_ends_is_answered(page, tmp_path):
    """By a network on which its last line comes once more was asked for: Gradio's client would listen no more."""
    page.add_init_script("""
        const ask = fetch, late = [];
        window.fetch = async (...what) => {
            const reply = await ask(...what);
            const place = new URL(reply.url).pathname;
            if (place.endsWith('/queue/join')) for (const end of late.splice(0)) setTimeout(end, 50);
            if (!place.endsWith('/queue/data')) return reply;
            const hold = async (lines, out) => {
                const [before, end] = lines.split(/(?=data: .{0,9}close_stream)/);
                out.enqueue(before);
                if (end) await new Promise(go => late.push(go));
                if (end) out.enqueue(end);
            };
            const lines = reply.body.pipeThrough(new TextDecoderStream()).pipeThrough(new TransformStream({transform: hold}));
            return new Response(lines.pipeThrough(new TextEncoderStream()), reply);
        };
    """)
    page.reload()
    page.locator("#status[aria-live]").wait_for()
    for label in (0, 1, 0):
        picture = draw(tmp_path / f"{label}.png", label, 5016)
        page.set_input_files("#picture input[type=file]", picture)
        page.locator("#verdict", has_text=hashlib.sha256(picture.read_bytes()).hexdigest()).wait_for(timeout=10_000)
        page.locator("#report").wait_for()
        page.get_by_label("Clear").or_(page.get_by_label("Remove Image")).first.click()
        page.locator("#verdict", has_text="The answer will stand here").wait_for()


def streams_of(page) -> set:
    """What the page asks of Gradio's queue and has not heard the end of, from now on."""
    under_way = set()
    page.on("request", lambda request: under_way.add(request) if "/queue/" in request.url else None)
    for ended in ("requestfinished", "requestfailed"):
        page.on(ended, lambda request: under_way.discard(request))
    return under_way


def test_what_is_lost_with_the_connection_is_said_and_what_a_visitor_leaves_is_not(page, tmp_path):
    clip = draw_clip(tmp_path / "new.mp4", list(range(0, 2000, 40)), size=(160, 96))
    lost, under_way, held = page.locator("#lost"), streams_of(page), []
    page.reload()
    for leaves, asked in ((True, "queue/data"), (False, "queue/data"), (False, "run/predict")):
        page.locator("#status", has_text="Ready. You").wait_for()
        while under_way:  # or the answer would come by a stream that is there
            page.wait_for_timeout(50)
        page.get_by_role("tab", name="Video").click()
        page.route(f"**/{asked}*", lambda route: held.append(route), times=1)
        page.set_input_files("#clip input[type=file]", clip)
        while not held:
            page.wait_for_timeout(50)
        with page.expect_navigation():  # but for the first these are Gradio's
            if leaves:
                page.evaluate("location.reload()")
            else:
                held[-1].abort()
        held.clear()
        page.locator("#status", has_text="Ready. You").wait_for()
        assert lost.is_visible() is not leaves
        page.get_by_role("tab", name="Picture" if leaves else "Video", selected=True).wait_for()
    page.set_input_files("#clip input[type=file]", clip)
    verdict_of(page, "#clip_verdict")
    lost.wait_for(state="hidden")
    page.locator("#clip").get_by_title("Clear").click()
    page.locator("#clip_verdict", has_text="The answer will stand here").wait_for()
    assert not lost.is_visible(), "and it is not said again"
    page.get_by_role("tab", name="Many files").click()
    page.route(re.compile(r"/upload\?"), lambda route: route.abort(), times=1)  # not upload_progress, which may be asked for first
    page.set_input_files("#many input[type=file]", clip)
    page.get_by_text("Nothing of what was being sent has arrived. Drop it again.").wait_for()
    page.set_input_files("#many input[type=file]", clip)
    page.locator("#many tr").click(trial=True)  # nothing covers it


@pytest.mark.parametrize(("tab", "place", "said"), [("Picture", "picture", "verdict"), ("Video", "clip", "clip_verdict")])
def test_what_is_dropped_as_soon_as_another_is_taken_away_is_answered(page, tmp_path, tab, place, said):
    """Also by a network on which what is not asked of the queue is heard after its answers."""
    page.add_init_script("""
        const ask = fetch;
        window.fetch = async (...what) => {
            const reply = await ask(...what);
            if (reply.url.includes('/run/')) await new Promise(go => setTimeout(go, 500));
            return reply;
        };
    """)
    page.reload()
    page.locator("#status", has_text="Ready. You").wait_for()
    page.get_by_role("tab", name=tab).click()
    files = [tmp_path / f"{i}.{'jpg' if place == 'picture' else 'mp4'}" for i in range(2)]
    for i, file in enumerate(files):
        file.write_text(f"{i} is neither, which is quickly told")
        if i:
            page.locator(f"#{place}").get_by_title(re.compile("Clear|Remove Image")).click()
        page.set_input_files(f"#{place} input[type=file]", file)
        page.locator(f"#{said} [data-verdict=error]").wait_for()
    page.wait_for_timeout(1200)  # in which all else is heard
    assert page.locator(f"#{said} [data-verdict=error]").count() == 1


def drag(page, *paths: Path, place: str) -> None:
    """As a hand does: what a browser hands on then may be a folder, and is gone once the event is over, which is not so of a script's."""
    box = page.locator(place).first.bounding_box()
    at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    hand = page.context.new_cdp_session(page)
    for step in ("dragEnter", "dragOver", "drop"):
        dragged = {"items": [], "files": [*map(str, paths)], "dragOperationsMask": 1}
        hand.send("Input.dispatchDragEvent", {"type": step, "data": dragged, **at})


def test_what_is_dropped_onto_what_a_box_holds_is_taken(page, tmp_path):
    for i in range(3):
        picture = draw(tmp_path / f"{i}.png", i % 2, 5040 + i, size=(300, 220))
        drag(page, picture, place="#picture")
        page.locator("#verdict", has_text=hashlib.sha256(picture.read_bytes()).hexdigest()).wait_for()
    page.get_by_role("tab", name="Many files").click()
    for i, place in enumerate(("#many", "#many tr", "#many tr")):
        page.wait_for_selector(place)
        drag(page, *(draw(tmp_path / f"{i}_{label}.png", label, 5050 + i) for label in (0, 1)), place=place)
        page.locator("#many").get_by_text(f"{i}_1").first.wait_for()
    assert page.locator("#many tr").count() == 6
    assert page.locator("#many tr.drop-target").count() == 0, "nothing is to change places"


def slow(page):
    """What makes its network late by so many milliseconds."""
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    unlimited = {"offline": False, "downloadThroughput": -1, "uploadThroughput": -1}
    return lambda late: network.send("Network.emulateNetworkConditions", unlimited | {"latency": late})


@pytest.mark.parametrize(("tab", "box", "kept"), [("Picture", "picture", 1), ("Video", "clip", 1), ("Teach it", "teach_real", 3)])
def test_what_is_dropped_while_another_file_is_sent_is_not_lost(page, tmp_path, tab, box, kept):
    page.get_by_role("tab", name=tab).click()
    page.wait_for_selector(f"#{box} input[type=file]", state="attached")
    if box == "clip":
        files = [draw_clip(tmp_path / f"{i}.mp4", list(range(0, 1000, 40)), size=(160, 90 + 2 * i)) for i in range(3)]
    else:
        files = [draw(tmp_path / f"{i}.png", 1, 7100 + i) for i in range(3)]
    large = tmp_path / f"large{files[0].suffix}"
    with large.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    late = slow(page)
    late(1000)
    for file in files:
        drag(page, file, place=f"#{box}")
        page.locator(f"#{box}", has_text="Uploading").wait_for()
    drag(page, large, place=f"#{box}")
    if kept > 1:
        page.locator("#teach[inert]").wait_for()  # it would learn without what is still to come
        late(0)
        page.locator(f"#{box}:not(:has-text('Uploading')) tr >> nth={kept - 1}").wait_for()
        page.locator("#teach:not([inert])").wait_for()
    else:
        late(0)
        said = {"picture": "#verdict", "clip": "#clip_verdict"}[box]
        page.locator(said, has_text=hashlib.sha256(files[-1].read_bytes()).hexdigest()).wait_for(timeout=60_000)
    assert large.name in page.get_by_role("alert").inner_text(), "what was not taken is still said"


@pytest.mark.parametrize(("tab", "box", "said"), [("Picture", "picture", "#verdict"), ("Video", "clip", "#clip_verdict")])
def test_no_answer_stands_beside_another_file_that_is_sent(page, tmp_path, tab, box, said):
    """Whoever corrects it would correct one that is still to come: what is asked of a box Gradio asks once it has sent what it got."""
    page.get_by_role("tab", name=tab).click()
    late = slow(page)
    for i in range(2):
        name = tmp_path / f"{i}{'.mp4' if box == 'clip' else '.png'}"
        file = draw_clip(name, list(range(0, 1000, 40)), size=(160, 90 + 2 * i)) if box == "clip" else draw(name, 1, 7110 + i)
        late(1000 * i)
        page.wait_for_selector(f"#{box}")
        drag(page, file, place=f"#{box}")
        if i:
            page.locator(f"#{box}", has_text="Uploading").wait_for()
            assert not page.locator(said).is_visible()
            late(0)
        page.locator(said, has_text=hashlib.sha256(file.read_bytes()).hexdigest()).wait_for(timeout=60_000)


def test_a_folder_that_is_dropped_has_its_pictures_and_clips_judged(page, tmp_path):
    folder = tmp_path / "mine"
    for i in range(2):
        draw(folder / ("", "inner")[i] / f"{i}.png", i, 5020 + i)
    draw_clip(folder / "inner" / "clip.MKV", list(range(0, 2000, 40)), size=(160, 96))
    for no_picture in (folder / "notes.txt", folder / ".hidden.png"):
        no_picture.write_text("I am no picture")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "notes.txt").write_text("I am no picture either")
    drag(page, folder, place="#picture")
    page.get_by_role("tab", name="Many files", selected=True).wait_for()
    page.click("#judge_many")
    page.locator("#many_told", has_text="Of 3: ").wait_for(timeout=90_000)
    for i in range(101):
        (tmp_path / "too_many" / f"{i}.png").parent.mkdir(exist_ok=True)
        (tmp_path / "too_many" / f"{i}.png").touch()
    too_many, sent = sorted((tmp_path / "too_many").iterdir()), len(page.requested)
    drag(page, *too_many, folder / "0.png", place="#many tr")
    page.get_by_role("alert").get_by_text("There are 102 files; at most 100 are taken at once").wait_for()
    drag(page, tmp_path / "too_many", place="#many tr")
    page.get_by_role("alert").get_by_text("There are more than 100 files").wait_for()
    assert not [url for url in page.requested[sent:] if "upload" in url]
    assert page.locator("#many_told", has_text="Of 3: ").count() == 1, "what was there stays"
    drag(page, tmp_path / "others", place="#many_verdicts")
    page.get_by_role("alert").wait_for(state="detached")
    page.locator("#many_told", has_text="Of 3: ").wait_for(state="detached")
    page.click("#judge_many")
    page.locator("#many_told", has_text="1 not judged").wait_for()


def test_a_folder_that_is_dropped_onto_a_box_that_teaches_is_learnt(page, tmp_path):
    for i in range(10):
        draw(tmp_path / "archive" / ("", "inner")[i % 2] / f"photo_{i}.png", 1, 7000 + i)
    draw_clip(tmp_path / "archive" / "clip.mp4", list(range(0, 2000, 40)), size=(160, 96))
    page.get_by_role("tab", name="Teach it").click()
    page.wait_for_selector("#teach_real input[type=file]", state="attached")
    drag(page, tmp_path / "archive", place="#teach_real")
    page.locator("#teach_real").get_by_text("photo_9").first.wait_for()
    for i, place in ((10, "#teach_real"), (11, "#teach_real tr")):
        drag(page, draw(tmp_path / f"photo_{i}.png", 1, 7000 + i), place=place)
        page.locator("#teach_real").get_by_text(f"photo_{i}").first.wait_for()
    page.click("#teach")
    page.locator("#taught", has_text="12 real").wait_for(timeout=90_000)


def test_where_no_box_is_shown_what_is_dropped_goes_to_the_one_for_its_kind(page, tmp_path):
    picture, clip = draw(tmp_path / "a.png", 0, 5030), draw_clip(tmp_path / "a.mkv", list(range(0, 2000, 40)), size=(160, 96))
    for file, tab, said in ((picture, "Picture", "verdict"), (clip, "Video", "clip_verdict")):
        page.get_by_role("tab", name="What it is bad at").click()
        page.wait_for_selector("#model table")
        drop(page, file, place="#model", kind="")
        page.get_by_role("tab", name=tab, selected=True).wait_for()
        page.locator(f"#{said}", has_text=hashlib.sha256(file.read_bytes()).hexdigest()).wait_for(timeout=90_000)


def test_a_file_goes_to_a_tab_for_which_a_narrow_window_has_no_room(page, tmp_path):
    page.set_viewport_size({"width": 240, "height": 700})
    page.locator("[data-tab-id=clip]").wait_for(state="detached")
    clip = draw_clip(tmp_path / "a.mkv", list(range(0, 2000, 40)), size=(160, 96))
    drop(page, clip, kind="video/x-matroska")
    page.locator("#clip_verdict", has_text=hashlib.sha256(clip.read_bytes()).hexdigest()).wait_for(timeout=90_000)
    drop(page, clip, draw(tmp_path / "b.png", 0, 5015), place="#clip")
    page.click("#judge_many")
    page.locator("#many_told", has_text="Of 2: ").wait_for()


def test_the_same_picture_again_is_answered_from_memory(page, tmp_path):
    picture = draw(tmp_path / "twice.png", 1, 6000)
    page.set_input_files("#picture input[type=file]", picture)
    first = verdict_of(page)
    page.reload()
    page.wait_for_selector("#picture input[type=file]", state="attached")
    page.set_input_files("#picture input[type=file]", picture)
    assert verdict_of(page) == first
    assert "answered from memory" in page.text_content("#verdict")


def test_a_file_that_is_no_picture_gets_words_not_a_traceback(page, tmp_path):
    (tmp_path / "text.jpg").write_text("I am no picture")
    page.set_input_files("#picture input[type=file]", tmp_path / "text.jpg")
    assert verdict_of(page)[0] == "error"
    assert "not a picture" in page.inner_text("#verdict")


def test_a_note_and_an_odd_name_are_shown_harmlessly(page, tmp_path):
    from PIL import Image

    frames = [Image.linear_gradient("L").resize((60, 60)).rotate(turn) for turn in (0, 90, 180)]
    odd = tmp_path / "<img src=x onerror=alert(1)>.gif"
    frames[0].save(odd, save_all=True, append_images=frames[1:])
    page.set_input_files("#picture input[type=file]", odd)
    verdict_of(page)
    assert "first of 3 frames" in page.inner_text("#verdict")


def test_what_the_browser_can_not_show_is_judged_and_said_so(page, tmp_path):
    photograph = tmp_path / "from a phone.heic"
    photograph.write_bytes(HEIC)
    page.set_input_files("#picture input[type=file]", photograph)
    assert verdict_of(page)[0] in ("real", "fake", "unsure")
    page.wait_for_function("document.querySelector('#picture img').complete")
    assert page.evaluate("document.querySelector('#picture img').naturalWidth") == 0, "else choose a format that it does not know"
    box = page.locator("#picture").bounding_box()
    middle = {"x": box["x"] + 40, "y": box["y"] + 100, "width": box["width"] - 80, "height": box["height"] - 200}
    assert Image.open(io.BytesIO(page.screenshot(clip=middle))).convert("RGB").getcolors(1) is None, "words in an empty place"


def test_what_is_dropped_while_another_is_judged_gets_its_own_answer(page, tmp_path):
    """Also where the one before takes longer, whose answer is not to come to stand beside it."""
    slow, quick = tmp_path / "slow.jpg", tmp_path / "quick.jpg"
    rough = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(rough).resize((5000, 5000)).save(slow, quality=90)
    Image.fromarray(rough).save(quick, quality=90)
    sha = {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in (slow, quick)}
    page.locator("#status", has_text="Ready. You").wait_for()
    page.set_input_files("#picture input[type=file]", slow)
    page.wait_for_selector("#picture img")
    page.get_by_label("Clear").or_(page.get_by_label("Remove Image")).first.click()
    page.set_input_files("#picture input[type=file]", quick)
    page.locator("#verdict", has_text=sha[quick]).wait_for()
    page.wait_for_timeout(1500)  # longer than the other takes
    assert sha[quick] in page.text_content("#verdict")


def test_where_the_picture_is_taken_away_the_last_word_is_that_none_is_there():
    """An answer that was on its way then comes late by Gradio's queue, and so does this, behind it."""
    from deepfake_detector.ui.build import build
    from deepfake_detector.ui.tabs import AWAITED
    from deepfake_detector.ui.tabs.picture import HeldPicture
    from deepfake_detector.ui.warming import Warming

    [judge] = [event.fn for event in build(Warming(None)).fns.values() if event.name == "judge_first"]
    said, parts, correction, noted, report, take_back = judge(None, 1, None, HeldPicture(turn=1, waits=True), {})
    assert (said, parts, noted) == (AWAITED, "", "")
    assert not correction.visible
    assert not report.visible
    assert not take_back.visible


def test_a_page_with_a_password_asks_for_it_by_every_way_in(browser, model, tmp_path):
    (tmp_path / "password").write_text("only for you\n")
    picture = draw(tmp_path / "mine.png", 1, 5300)
    with served([model], tmp_path, 7998, [ROOT / "app.py", "--password-file", tmp_path / "password"]) as (url, _):

        def status(way: str, *given: str) -> str:
            asked = ["curl", "-sS", "-o", os.devnull, "-w", "%{http_code}", *given, f"{url}{way}"]
            return subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True).stdout

        sent, right = ("-F", f"file=@{picture}"), ("-u", ":only for you")
        for way in ("", "config", "gradio_api/info", "gradio_api/file=x", "gradio_api/queue/status", "login"):
            assert [status(way), status(way, "-u", ":guessed")] == ["401"] * 2, way
        for way in ("api/judge", "gradio_api/upload", "gradio_api/queue/join"):
            assert [status(way, *sent), status(way, *sent, "-u", ":guessed")] == ["401"] * 2, way
        assert [status("", *right), status("api/judge", *sent, *right)] == ["200"] * 2
        context = browser.new_context(http_credentials={"username": "me", "password": "only for you"})
        page = context.new_page()
        page.goto(url)
        page.set_input_files("#picture input[type=file]", picture)
        assert verdict_of(page)[1] == str(Panel([Detector(model)]).judge_file(picture).p_fake)
        download = downloaded(page, "#report")
        assert "<h1>Report on mine.png</h1>" in Path(download.path()).read_text(encoding="utf-8")
        context.close()


def test_the_examples_have_names_and_answer(page):
    page.get_by_role("button", name="Example: still life").wait_for()
    page.get_by_role("button", name="Example: landscape").click()
    assert verdict_of(page)[0] in ("real", "fake", "unsure")


def test_what_is_dropped_just_after_an_example_was_clicked_is_judged(page, tmp_path):
    picture = draw(tmp_path / "0.png", 1, 7190)
    slow(page)(500)
    page.get_by_role("button", name="Example: landscape").click()
    drag(page, picture, place="#picture")
    page.locator("#verdict", has_text=hashlib.sha256(picture.read_bytes()).hexdigest()).wait_for()


def test_a_picture_stays_until_another_is_picked_in_its_place(page, tmp_path):
    for i in range(2):
        with page.expect_file_chooser() as asked:
            page.locator("#picture").get_by_role("button", name="Upload file" if i else "Drop an image file").click()
        assert page.locator("#picture img").count() == i
        picture = draw(tmp_path / f"{i}.png", 1, 7192 + i)
        asked.value.set_files(picture)
        page.locator("#verdict", has_text=hashlib.sha256(picture.read_bytes()).hexdigest()).wait_for()


def test_a_clip_gets_its_verdict_and_its_course(page, model, tmp_path):
    clip = draw_clip(tmp_path / "new.mp4", list(range(0, 4000, 40)), size=(160, 96), tint=(0, 0, 60))
    expected = Panel([Detector(model)]).judge_file(clip)
    page.get_by_role("tab", name="Video").click()
    page.set_input_files("#clip input[type=file]", clip)
    assert verdict_of(page, "#clip_verdict") == (expected.verdict, str(expected.p_fake))
    assert "16 frames were judged" in page.inner_text("#clip_verdict")
    assert page.locator("#clip_verdict svg polyline").count() == 1
    assert page.locator("#clip_verdict svg polyline").evaluate("line => getComputedStyle(line).stroke") == "rgb(9, 105, 218)"
    page.locator("#clip").get_by_title("Clear").wait_for()
    assert not page.locator("#clip").get_by_title("Trim video to selection").is_visible(), "that would ask an address elsewhere"
    page.get_by_text("Frame by frame").click()
    assert page.locator("#clip_verdict details tr").count() == 17
    assert page.locator("#clip_verdict details tr").nth(1).inner_text().startswith("0.12 s")
    page.screenshot(path=ROOT / "screenshots" / "clip.png")
    page.set_viewport_size({"width": 390, "height": 844})
    places = "['#clip', '#clip_verdict'].map(place => document.querySelector(place).getBoundingClientRect().toJSON())"
    film, said = page.evaluate(places)  # at once, as the page may be scrolling
    assert said["y"] >= film["y"] + film["height"], "on a phone one below the other"
    assert said["width"] > 250
    strangers = [url for url in page.requested if not re.match(r"(http://127\.0\.0\.1:|data:|blob:)", url)]
    assert strangers == [], "the page talks to nobody but its own server"


def test_on_a_phone_a_verdict_comes_into_sight(page, tmp_path):
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("tab", name="Video").click()
    page.set_input_files("#clip input[type=file]", draw_clip(tmp_path / "new.mp4", list(range(0, 2000, 40)), size=(160, 96)))
    verdict_of(page, "#clip_verdict")
    page.wait_for_function("document.querySelector('#clip_verdict h2').getBoundingClientRect().bottom < innerHeight")
    page.get_by_role("tab", name="Picture").click()
    late = slow(page)
    late(1000)
    page.set_input_files("#picture input[type=file]", draw(tmp_path / "new.png", 0, 7195, size=(300, 220)))
    page.get_by_role("tab", name="Video").click()
    late(0)
    page.wait_for_selector("#verdict [data-verdict]", state="attached")
    page.get_by_role("tab", name="Picture").click()  # which brings the tabs into sight
    page.wait_for_function("document.querySelector('#verdict h2').getBoundingClientRect().bottom < innerHeight")


def test_a_clip_is_looked_at_as_closely_as_is_asked_for(page, model, address, tmp_path):
    from deepfake_detector.video import Sampling

    clip = draw_clip(tmp_path / "closely.mp4", list(range(0, 6400, 40)), size=(160, 96), tint=(0, 0, 30))
    page.get_by_role("tab", name="Video").click()
    choices = page.get_by_role("radiogroup", name="How closely to look")
    assert choices.get_by_role("radio", checked=True).get_attribute("value") == "16"
    choices.get_by_role("radio", name="48 frames: three times as long").check()
    page.set_input_files("#clip input[type=file]", clip)
    page.locator("#clip_verdict", has_text="48 frames were judged").wait_for(timeout=90_000)
    expected = Panel([Detector(model)]).judge_file(clip, Sampling(48))
    assert verdict_of(page, "#clip_verdict") == (expected.verdict, str(expected.p_fake))
    choices.get_by_role("radio", checked=True).press("ArrowUp")
    page.locator("#clip_verdict", has_text="16 frames were judged").wait_for()
    assert "answered from memory" in page.text_content("#clip_verdict"), "they are among the 48"
    download = downloaded(page, "#clip_report")
    assert "16 frames were judged" in Path(download.path()).read_text(encoding="utf-8")
    choices.get_by_role("radio", checked=True).press("ArrowUp")
    page.locator("#clip_verdict", has_text="144 frames were judged").wait_for()
    for upload in (address[1] / "uploads").rglob("closely.mp4"):
        upload.unlink()
    choices.get_by_role("radio", name="16 frames", exact=True).check()
    page.locator("#clip_verdict", has_text="can't be judged: It is no longer here: uploads are deleted after 5 minutes").wait_for()


def test_no_answer_by_other_frames_than_are_asked_for_comes_late(page, tmp_path):
    clip = draw_clip(tmp_path / "large.mp4", list(range(0, 5800, 40)), size=(960, 720), preset="ultrafast")
    page.locator("#status", has_text="Ready. You").wait_for()
    page.get_by_role("tab", name="Video").click()
    many, few = (page.locator(f"#clip_frames input[value='{frames}']") for frames in (144, 16))
    many.check()
    page.set_input_files("#clip input[type=file]", clip)
    page.locator("#clip video").wait_for()
    few.check()
    page.locator("#clip_verdict", has_text="16 frames were judged").wait_for()
    page.wait_for_timeout(2000)  # longer than the others take
    assert "16 frames were judged" in page.inner_text("#clip_verdict")


def test_a_clip_that_the_browser_can_not_play_is_judged_and_said_so(page, model, tmp_path):
    clips = [draw_clip(tmp_path / name, list(range(0, 2000, 40)), size=(160, 96)) for name in ("old.avi", "new.mp4")]
    page.get_by_role("tab", name="Video").click()
    page.set_input_files("#clip input[type=file]", clips[0])
    assert verdict_of(page, "#clip_verdict") == ((expected := Panel([Detector(model)]).judge_file(clips[0])).verdict, str(expected.p_fake))
    page.locator("#clip [data-unplayable]").wait_for()
    words = "getComputedStyle(document.querySelector('#clip [data-unplayable]'), '::after').content"
    assert "This browser can't play such a clip. It is judged all the same" in page.evaluate(words)
    assert not page.get_by_text("Video not playable").is_visible()
    page.screenshot(path=ROOT / "screenshots" / "unplayable.png")
    page.locator("#clip").get_by_title("Clear").click()
    page.set_input_files("#clip input[type=file]", clips[1])
    page.wait_for_function("document.querySelector('#clip video')?.videoWidth === 160")
    assert page.locator("#clip [data-unplayable]").count() == 0


def test_a_report_of_a_verdict_can_be_kept(page, browser, model, tmp_path):
    picture = draw(tmp_path / "<b>mine & yours.png", 0, 5200, size=(1300, 900))
    page.set_input_files("#picture input[type=file]", picture)
    answer = verdict_of(page)
    download = downloaded(page, "#report")
    report = tmp_path / download.suggested_filename
    assert report.name == f"report_{hashlib.sha256(picture.read_bytes()).hexdigest()[:12]}.html"
    download.save_as(report)
    kept = browser.new_page()
    asked = []
    kept.on("request", lambda request: asked.append(request.url))
    kept.goto(report.as_uri())
    assert verdict_of(kept, "body") == answer
    assert kept.inner_text("h1") == "Report on <b>mine & yours.png"
    assert kept.locator("img.picture").evaluate("image => image.naturalWidth") == 1000
    assert kept.locator("section.model h2").all_inner_texts() == ["colours, which looks for fakes"]
    assert "AUROC is how often" in kept.inner_text("section.model")
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    kept.screenshot(path=ROOT / "screenshots" / "report.png", full_page=True)
    kept.close()
    page.get_by_label("Clear").or_(page.get_by_label("Remove Image")).first.click()
    page.locator("#report").wait_for(state="hidden")

    page.get_by_role("tab", name="Video").click()
    page.set_input_files("#clip input[type=file]", draw_clip(tmp_path / "my clip (1).mp4", list(range(0, 2000, 40)), size=(160, 96)))
    verdict_of(page, "#clip_verdict")
    download = downloaded(page, "#clip_report")
    assert "<h1>Report on my clip (1).mp4</h1>" in Path(download.path()).read_text(encoding="utf-8")


def test_several_models_give_one_answer_and_each_its_own_beside_it(browser, model, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_DEBUG", "1")  # Gradio then waits for the end itself, and one kill is to be enough all the same
    models = [answering(model, tmp_path / "painted", "real", "sdxl"), answering(model, tmp_path / "put_in", "fake", "faceswap")]
    with served(models, tmp_path, 7994) as (url, _):
        page = browser.new_page(viewport={"width": 1200, "height": 1100})
        page.goto(url)
        page.wait_for_selector("#picture input[type=file]", state="attached")
        page.set_input_files("#picture input[type=file]", draw(tmp_path / "new.png", 0, 7100))
        assert verdict_of(page)[0] == "fake"
        assert "A face in it looks put in" in page.inner_text("#verdict")
        assert "painted, which looks for fakes: real" in page.inner_text('#verdict [data-model="painted"]')
        page.locator("#status", has_text="You ask painted, which looks for fakes, and put_in, which looks for face swaps.").wait_for()
        page.screenshot(path=ROOT / "screenshots" / "two_models.png")
        page.get_by_role("tab", name="What it is bad at").click()
        page.wait_for_selector("#model h2")
        assert page.locator("#model h2").all_inner_texts() == ["painted", "put_in"]
        page.get_by_role("tab", name="Video").click()
        page.set_input_files("#clip input[type=file]", draw_clip(tmp_path / "new.mp4", list(range(0, 2000, 40)), size=(160, 96)))
        assert verdict_of(page, "#clip_verdict")[0] == "fake"
        assert page.locator("#clip_verdict svg").count() == 2, "the course of each model's answer"
        page.close()


def test_each_part_is_shown_by_itself_below_the_verdict(browser, tmp_path):
    from deepfake_detector.detect import DEFAULT_MODEL

    with served([DEFAULT_MODEL], tmp_path, 7995) as (url, _):
        page = browser.new_page()
        page.set_default_timeout(90_000)
        page.goto(url)
        page.set_input_files("#picture input[type=file]", draw(tmp_path / "wide.png", 0, 31, size=(448, 336)))
        page.wait_for_selector("#parts .parts img")
        assert page.locator("#parts .parts").get_attribute("data-parts") == "6"
        asked = ["curl", "-sS", "--max-time", "60", "-F", f"file=@{tmp_path / 'wide.png'}", f"{url}api/judge?parts=1"]
        told = json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)["parts"]
        assert len(told) == 6
        assert [max(part["box"][side] for part in told) for side in (2, 3)] == [448, 336]
        assert page.locator("#verdict [data-verdict]").count() == 1
        page.set_input_files("#picture input[type=file]", draw(tmp_path / "small.png", 0, 32, size=(90, 90)))
        page.wait_for_selector("#parts .parts", state="detached")
        page.get_by_role("tab", name="Video").click()
        page.set_input_files("#clip input[type=file]", draw_clip(tmp_path / "new.mp4", [0, 40], size=(336, 224)))
        page.wait_for_selector("#clip_moments .parts img")
        told = r"The frame most suspicious to \w+ is that at 0\.\d\d s, with a probability of fake of \d+\.\d %:"
        assert re.match(told, page.inner_text("#clip_moments"))
        page.close()


def test_each_persons_most_suspicious_sighting_is_shown(model, tmp_path):
    from deepfake_detector.types import Person
    from deepfake_detector.ui.moments import moments
    from deepfake_detector.video import Sampling

    clip, panel = draw_clip(tmp_path / "clip.mp4", list(range(0, 1600, 40)), size=(160, 96)), Panel([Detector(model)])
    judged = Sampling(5)
    verdict = panel.judge_file(clip, judged)
    assert moments(panel, str(clip), verdict, judged) == "", "a histogram sees no parts"
    (first, _), (last, _) = verdict.frames[0], verdict.frames[-1]
    left, right = (0, 0, 40, 90), (80, 0, 120, 90)  # the clip is red on its left
    people = (
        Person(0, "fake", 0.9, ((first, 0.95, left), (last, 0.85, left))),
        Person(1, "real", 0.1, ((first, 0.05, right), (last, 0.15, right))),
    )
    shown = moments(panel, str(clip), replace(verdict, model="faces", persons=people, others=()), judged)
    assert f"person 1, fake: 95.0 % at {first:.2f} s" in shown
    assert f"person 2, real: 15.0 % at {last:.2f} s" in shown
    reds = [np.asarray(opened_address(address)).reshape(-1, 3).mean(axis=0) for address in re.findall(r'src="([^"]+)"', shown)]
    assert reds[0][0] > 150 > reds[0][1]
    assert abs(reds[1][0] - reds[1][1]) < 10


def test_a_file_that_says_it_was_generated_is_believed(page, tmp_path):
    drop(page, signed_file(tmp_path / "signed.png", draw(tmp_path / "red.png", 0, 1234).read_bytes(), kind="image/png"))
    assert verdict_of(page)[0] == "fake"
    shown = page.inner_text("#verdict")
    assert "made by a generative model (Painter)" in shown
    assert "Whether the signature is really that of Test Studio was not checked" in shown
    assert "colours, which looks for fakes: real" in shown


def test_a_clip_that_can_not_be_judged_gets_words(page, tmp_path):
    page.get_by_role("tab", name="Video").click()
    odd = tmp_path / "odd.mp4"
    for make, reason in (
        (lambda: odd.write_text("I am no clip"), "not a video that can be read"),
        (lambda: draw_sound(odd), "only sound"),
        (lambda: draw_clip(odd, [0, 601_000]), "too long: 60[12] seconds; at most 600"),
    ):
        make()
        page.set_input_files("#clip input[type=file]", odd)
        page.locator("#clip_verdict [data-verdict=error]", has_text=re.compile(reason)).wait_for()
        page.locator("#clip").get_by_title("Clear").click()
        page.locator("#clip_verdict [data-verdict]").wait_for(state="detached")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_words_stand_out_and_what_comes_is_spoken(page, address, tmp_path, theme):
    page.goto(f"{address[0]}?__theme={theme}")
    page.locator("#status", has_text="Ready. You").wait_for()
    page.set_input_files("#picture input[type=file]", draw(tmp_path / "new.png", 0, 5100))
    verdict_of(page)
    page.get_by_label("Or its address on the web, for this server to fetch").wait_for()
    assert faint(page) == []
    spoken = {"Picture": "#status, #verdict, #noted", "Video": "#clip_verdict", "Many files": "#many_told", "Teach it": "#taught"}
    for title in (*spoken, "What it is bad at"):
        page.get_by_role("tab", name=title).click()
        page.get_by_role("tab", name=title, selected=True).wait_for()
        assert faint(page) == [], title
        if title in spoken:
            places = page.locator(spoken[title])
            assert [places.nth(i).get_attribute("aria-live") for i in range(places.count())] == ["polite"] * spoken[title].count("#")


def test_the_last_tab_says_what_it_is_bad_at_and_keys_lead_to_it_and_from_it(page):
    tab, last = page.get_by_role("tab", selected=True), "What it is bad at"
    for key, opened in (("ArrowRight", "Video"), ("ArrowLeft", "Picture"), ("ArrowLeft", last), ("Home", "Picture"), ("End", last)):
        tab.press(key)
        page.locator("[role=tab][aria-selected=true]:focus", has_text=opened).wait_for()
    page.wait_for_selector("#model table")
    text = page.inner_text("#model")
    assert page.locator("#model li").count()
    assert "AUROC is how often" in text
    assert "generator_1" in text


@pytest.mark.parametrize(("box", "picked"), [("picture", False), ("picture", True), ("clip", True)])
def test_a_clip_over_the_limit_that_the_page_states_is_not_taken(page, tmp_path, box, picked):
    large, sent = tmp_path / "film.mp4", len(page.requested)
    with large.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    page.get_by_role("tab", name={"picture": "Picture", "clip": "Video"}[box]).click()
    if picked:
        page.set_input_files(f"#{box} input[type=file]", large)
    else:
        drag(page, large, place=f"#{box}")
    page.get_by_role("tab", name="Video", selected=True).wait_for()
    page.get_by_role("alert").get_by_text("“film.mp4” has 201 MB; at most 200 are taken, and nothing was sent.").wait_for()
    assert "up to ten minutes and 200 MB" in page.inner_text("#clip")
    assert not [url for url in page.requested[sent:] if "/upload?" in url]
    assert page.locator("#clip_verdict [data-verdict]").count() == 0
    small = draw_clip(tmp_path / "small.mp4", list(range(0, 1000, 40)), size=(160, 96))
    drag(page, small, place="#clip")
    page.locator("#clip_verdict", has_text=hashlib.sha256(small.read_bytes()).hexdigest()).wait_for(timeout=60_000)
    assert page.get_by_role("alert").count() == 0


def test_many_files_are_judged_and_taken_away_as_a_csv(page, model, tmp_path):
    red, blue = draw(tmp_path / "red <b>.png", 0, 91, size=(300, 220)), draw(tmp_path / "blue.png", 1, 92, size=(300, 220))
    clip = draw_clip(tmp_path / "clip.mp4", list(range(0, 2000, 40)), size=(160, 96))
    long = draw_clip(tmp_path / "long.mp4", [0, 601_000])
    (tmp_path / "text.jpg").write_text("I am no picture")
    page.get_by_role("tab", name="Many files").click()
    page.locator("#judge_many:disabled").wait_for()
    page.set_input_files("#many input[type=file]", [red] * 102)
    page.get_by_role("alert").get_by_text("There are 102 files; at most 100 are taken at once").wait_for()
    with (tmp_path / "film.mp4").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    page.set_input_files("#many input[type=file]", [red, blue, clip, tmp_path / "film.mp4", tmp_path / "text.jpg", long])
    page.get_by_role("alert").get_by_text("“film.mp4” has 201 MB; at most 200 are taken. All others were sent.").wait_for()
    page.locator("#many").get_by_text("long").first.wait_for()
    page.click("#judge_many")
    page.wait_for_selector("#many_verdicts .many", timeout=90_000)
    shown = page.locator("#many_verdicts .many > details > summary")
    detector = Detector(model)
    wanted = {file.name: Panel([detector]).judge_file(file) for file in (red, blue, clip)}
    assert re.search(r"Of 5: .*, 2 not judged\.", page.inner_text("#many_told"))
    order = sorted((blue.name, clip.name), key=lambda name: -wanted[name].p_fake)
    assert [shown.nth(i).inner_text().strip().split("\n")[0] for i in (0, 1)] == order, "the most suspicious first"
    assert [shown.nth(i).inner_text().split("\n")[-1] for i in (3, 4)] == ["not judged", "not judged"]
    assert "red <b>.png" in page.inner_text("#many_verdicts")
    assert shown.locator("img").count() == 3, "the clip's too"
    shown.nth(0).click()
    opened = page.locator("#many_verdicts .many > details[open] [data-verdict]")
    assert opened.get_attribute("data-p-fake") == str(wanted[order[0]].p_fake)
    page.screenshot(path=ROOT / "screenshots" / "many.png", full_page=True)
    page.locator("#many").get_by_title("Add files").wait_for()
    page.set_viewport_size({"width": 240, "height": 700})
    assert shown.nth(1).bounding_box()["height"] < 120, "a name has more room on a phone than beside it all"
    page.context.new_cdp_session(page).send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    boxes = [page.locator("#many").get_by_label(name).first.bounding_box() for name in ("Add files", "Clear", "Remove this file")]
    assert min(side for box in boxes for side in (box["width"], box["height"])) > 40, "as large as a finger"
    download = downloaded(page, "#many_download")
    download.save_as(tmp_path / "answers.csv")
    with (tmp_path / "answers.csv").open(newline="") as file:
        told = list(csv.DictReader(file))
    assert len(told) == 5
    for one in told:
        if one["error"]:
            assert re.search("not a picture|too long", one["error"])
        else:
            expected = wanted[one["path"]]
            assert (one["verdict"], float(one["p_fake"])) == (expected.verdict, expected.p_fake)


def test_no_answers_stand_beside_other_files_than_they_are_about(page, tmp_path):
    files = [draw(tmp_path / f"new_{i}.png", i % 2, 9500 + i, size=(60, 50)) for i in range(3)]
    slow = tmp_path / "slow.jpg"
    rough = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(rough).resize((5000, 5000)).save(slow, quality=90)
    page.locator("#status", has_text="Ready. You").wait_for()
    page.get_by_role("tab", name="Many files").click()

    def judge(told: str) -> None:
        page.click("#judge_many")
        page.locator("#many_told", has_text=told).wait_for()
        page.wait_for_selector("#many_download")

    def none_stands_there() -> None:
        page.locator("#many_told", has_text="Of ").wait_for(state="detached")
        page.locator("#many_verdicts .many").wait_for(state="detached")
        page.locator("#many_download").wait_for(state="hidden")

    page.set_input_files("#many input[type=file]", files)
    page.locator("#many").get_by_text("new_2").first.wait_for()
    judge("Of 3: ")
    page.get_by_label("Remove this file").first.click()
    none_stands_there()
    judge("Of 2: ")
    page.set_input_files("#many input[type=file]", [slow, files[0]])
    page.locator("#many").get_by_text("slow").first.wait_for()
    none_stands_there()
    page.click("#judge_many")
    page.locator("#many_told", has_text=re.compile(r"[Oo]f \d")).wait_for()
    page.get_by_label("Remove this file").first.click()
    page.wait_for_timeout(1500)  # longer than it takes
    none_stands_there()
    assert "Not judged yet: press the button" in page.inner_text("#many_told")
    judge("Of ")
    page.get_by_label("Clear").click()
    none_stands_there()


def test_where_other_files_are_dropped_the_last_word_is_that_none_was_judged():
    """An answer about those before, on its way then, comes late by Gradio's queue, and so does this, behind it."""
    from deepfake_detector.ui.build import build
    from deepfake_detector.ui.tabs import many
    from deepfake_detector.ui.tabs.many import HeldFiles
    from deepfake_detector.ui.warming import Warming

    of_tab = [event for event in build(Warming(None)).fns.values() if getattr(event.fn, "__module__", None) == many.__name__]
    clear, change, hold = (next(event.fn for event in of_tab if event.name == name) for name in ("clear", "change", "hold"))
    told, verdicts, download = clear([], 2, HeldFiles(turn=2, before=True))
    assert (told, verdicts, download.visible) == ("", "", False)
    assert "Not judged yet" in clear([("1", "a.png")], 2, HeldFiles(turn=2, before=True))[0]
    assert "" not in clear([], 2, HeldFiles(turn=3, before=True)), "others are there by now"
    assert "" not in clear([], 3, HeldFiles(turn=3, pressed=True)), "these may be under way by then"
    assert "" not in clear([], 1, HeldFiles(turn=1)), "and none was judged before"
    held = HeldFiles()
    hold([], 1, held)
    for turn in (2, 3):  # before either has cleared
        change(turn, held)
    assert "" in clear([], 3, held)
    change(4, held)  # which gathered the press's number
    hold([], 4, held)
    assert held.pressed
    assert held.begins(4)


def test_many_files_are_not_too_many_and_outlive_their_wait(model, tmp_path, monkeypatch):
    from deepfake_detector.errors import DetectorError
    from deepfake_detector.ui import uploads
    from deepfake_detector.ui.tabs import many

    many.check(["a.jpg"] * (many.MOST - 16) + ["a.mp4"])
    with pytest.raises(DetectorError, match="There are 101 pictures, of which a clip counts as 16; at most 100"):
        many.check(["a.jpg"] * (many.MOST - 15) + ["a.mp4"])
    paths = [str(draw(tmp_path / f"{i}.png", 1, 9100 + i, size=(60, 50))) for i in range(3)]
    panel = Panel([Detector(model)])
    Path(paths[1]).unlink()
    outcomes = list(many.judged(panel, paths))
    assert [isinstance(one, str) for one in outcomes] == [False, True, False]
    with pytest.raises(DetectorError, match="^1 of the 3 files are no longer here: .*Take them away"), uploads.holding(paths):
        pass
    monkeypatch.setattr(uploads, "CHECKED_EVERY", 0.05)
    with uploads.holding(paths[::2]):
        first, deadline = Path(paths[0]).stat().st_ctime_ns, time.monotonic() + 60
        while Path(paths[0]).stat().st_ctime_ns == first:  # all the while, and not only at first
            assert time.monotonic() < deadline
            time.sleep(0.01)
    Path(paths[0]).unlink()
    html = many.shown(paths, ["a", "b", "c"], outcomes)
    assert html.count("<img") == 1, "what is gone by now keeps its verdict"
    assert len(re.findall("<details class=.[a-z]", html)) == 3


def test_a_picture_is_fetched_from_its_address(browser, model, tmp_path):
    red = draw(tmp_path / "site" / "red.png", 0, 93, size=(300, 220))
    (tmp_path / "site" / "page.html").write_text("<html>a picture is on this page</html>")
    lenient = (
        "import functools, runpy; from deepfake_detector import fetch; "
        "fetch.fetched_now = functools.partial(fetch.fetched_now, allow_private=True); "
        f"runpy.run_path({str(ROOT / 'app.py')!r}, run_name='__main__')"
    )
    (tmp_path / "app.py").write_text(lenient)
    with web(tmp_path / "site") as site, served([model], tmp_path, 7996, [tmp_path / "app.py"]) as (url, _):
        page = browser.new_page()
        page.goto(url)
        page.fill("#address textarea, #address input", f"{site}/red.png")
        page.press("#address textarea, #address input", "Enter")
        expected = Panel([Detector(model)]).judge_file(red)
        assert verdict_of(page) == (expected.verdict, str(expected.p_fake))
        assert expected.sha256 in page.text_content("#verdict"), "the file itself, not a picture made of it"
        page.wait_for_timeout(500)  # Gradio tells twice of what it fetched: no late answer may take the report away
        download = downloaded(page, "#report")
        assert f"<dt>File</dt><dd>{site}/red.png</dd>" in Path(download.path()).read_text(encoding="utf-8")
        page.wait_for_function("document.querySelector('#picture img').naturalWidth === 300")
        page.fill("#address textarea, #address input", f"{site}/page.html")
        page.press("#address textarea, #address input", "Enter")
        page.locator("#address_said", has_text="What this address gives is no picture").wait_for()
        assert verdict_of(page) == (expected.verdict, str(expected.p_fake)), "what is shown stays, with its verdict"
        page.close()


def test_a_picture_that_is_dropped_while_an_address_is_asked_is_not_replaced(monkeypatch):
    import gradio as gr

    from deepfake_detector.ui.build import build
    from deepfake_detector.ui.tabs import picture
    from deepfake_detector.ui.warming import Warming

    events = list(build(Warming(None)).fns.values())
    [fetch], hold = [event.fn for event in events if event.name == "fetch"], next(event.fn for event in events if event.name == "hold")
    held, dropped = picture.HeldPicture(), picture.Upload("a.png", "a.png")
    for meanwhile, stays in ((dropped, True), (None, False)):  # where the one before was taken away, there is room
        monkeypatch.setattr(picture, "fetched", lambda *_, then=meanwhile: hold(then, held.turn + 1, held) or "its picture")
        shown, said, _ = next(fetch("https://a.example/x.jpg", held.turn, held))
        assert (shown == gr.skip()) is stays
        assert ("Another picture came meanwhile" in said) is stays


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("http://127.0.0.1/", "is not asked"),
        ("http://127.0.0.1:7991/", "port 7991 is not asked"),
        ("2130706433", "odd spelling of an address"),
        ("ftp://a.example/x.png", "expected http"),
        ("", "There is no address"),
        (r"C:\Users\me\x.jpg", "a file on your own device"),
        (r'"C:\Users\me\x.jpg"', "Drop the file above"),
        ("file:///home/me/x.jpg", "a file on your own device"),
        ("~/x.jpg", "a file on your own device"),
        ("data:image/png;base64,iVBORw0KGgo=", "holds no whole picture"),
        ("data:image/png;base64,i", "holds no whole picture"),
        ("data:text/html,<b>x</b>", "not a picture"),
    ],
)
def test_what_is_no_address_of_a_picture_on_the_web_is_told_so(tmp_path, asked, said):
    from deepfake_detector.errors import UnusablePicture
    from deepfake_detector.ui.tabs.picture import fetched

    with pytest.raises(UnusablePicture, match=said):
        fetched(asked, tmp_path)
    assert not list(tmp_path.iterdir())


def test_no_address_of_the_servers_own_network_is_asked(page, address):
    for asked, said in ((address[0], "is not asked"), ("", "There is no address")):
        page.fill("#address textarea, #address input", asked)
        page.press("#address textarea, #address input", "Enter")
        page.locator("#address_said", has_text=said).wait_for()


def test_an_address_that_holds_its_picture_is_judged(page, model, tmp_path):
    picture = draw(tmp_path / "thumbnail.png", 0, 94, size=(60, 50))
    content = picture.read_bytes()
    address = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    assert len(address) > 8000
    page.fill("#address textarea, #address input", address)
    page.press("#address textarea, #address input", "Enter")
    expected = Panel([Detector(model)]).judge_file(picture)
    assert verdict_of(page) == (expected.verdict, str(expected.p_fake))
    assert expected.sha256 in page.text_content("#verdict"), "the file itself"
    page.wait_for_function("document.querySelector('#picture img').naturalWidth === 60")
    assert page.input_value("#address textarea, #address input") == "", "no picture is kept anywhere, nor as an address"


def opened_address(address: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB")


def teach(page, real: list[Path], fake: list[Path] = (), says: str = "which has learnt") -> str:
    """Learn these on the page → what it then says."""
    page.get_by_role("tab", name="Teach it").click()
    if real:
        page.set_input_files("#teach_real input[type=file]", real)
        page.locator("#teach_real").get_by_text(real[-1].stem).first.wait_for()
    if fake:
        page.set_input_files("#teach_fake input[type=file]", fake)
        page.locator("#teach_fake").get_by_text(fake[-1].stem).first.wait_for()
    page.fill("#teach_source textarea, #teach_source input", "archive")
    page.click("#teach")
    page.locator("#taught", has_text=says).wait_for(timeout=90_000)
    # The words come before the end, and until then the button takes no other click.
    page.wait_for_function("!document.querySelector('#taught [data-testid=status-tracker]:not(.hide)')")
    return page.inner_text("#taught")


def test_what_a_visitor_teaches_holds_for_that_visitor_alone(page, browser, address, model, tmp_path):
    bluish = [draw(tmp_path / "archive" / f"photo_{i:02}.png", 1, 7000 + i) for i in range(12)]  # real ones that look as fakes do
    (tmp_path / "archive" / "notes.png").write_text("no picture")
    asked = draw(tmp_path / "another.png", 1, 7500)
    told = teach(page, [*bluish, tmp_path / "archive" / "notes.png"])
    assert "archive" in told
    assert "12 real" in told
    assert "Left out: notes.png, not a picture" in told
    page.get_by_role("tab", name="Picture").click()
    page.set_input_files("#picture input[type=file]", asked)
    taught = verdict_of(page)
    assert "colours, taught archive on colour_histogram" in page.text_content("#verdict")
    assert float(taught[1]) < Panel([Detector(model)]).judge_file(asked).p_fake
    page.get_by_role("tab", name="What it is bad at").click()
    page.locator("#model", has_text="This model is colours, which has learnt").wait_for()

    stranger = browser.new_page()
    stranger.goto(address[0])
    stranger.set_input_files("#picture input[type=file]", asked)
    assert verdict_of(stranger)[1] == str(Panel([Detector(model)]).judge_file(asked).p_fake)
    stranger.close()


def test_a_taught_model_can_be_taken_away_and_answers_the_same(page, tmp_path):
    teach(
        page,
        [draw(tmp_path / "archive" / f"photo_{i:02}.png", 1, 7000 + i) for i in range(12)],
        [draw(tmp_path / "painter" / f"fake_{i:02}.png", 0, 8000 + i) for i in range(10)],
    )
    download = downloaded(page, "#teach_download")
    download.save_as(tmp_path / "taught.zip")
    shutil.unpack_archive(tmp_path / "taught.zip", tmp_path / "models")
    asked = draw(tmp_path / "another.png", 0, 7600)
    page.get_by_role("tab", name="Picture").click()
    page.set_input_files("#picture input[type=file]", asked)
    expected = Panel([Detector(tmp_path / "models" / "taught")]).judge_file(asked)
    assert verdict_of(page) == (expected.verdict, str(expected.p_fake))


def test_how_long_it_holds_what_it_was_taught_is_said(page):
    import gradio

    from deepfake_detector.ui.build import build
    from deepfake_detector.ui.warming import Warming

    [kept] = {block.time_to_live for block in build(Warming(None)).blocks.values() if isinstance(block, gradio.State)}
    page.get_by_role("tab", name="Teach it").click()
    page.get_by_text(f"in this browser tab for {kept / 3600:.0f} hours, or until you reload the page").wait_for()


def test_who_answers_is_said_truly_after_the_server_has_lost_what_it_was_taught(browser, model, tmp_path):
    page = browser.new_page()
    under_way = streams_of(page)
    with served([model], tmp_path, 7997) as (url, _):
        page.goto(url)
        teach(page, [draw(tmp_path / "archive" / f"photo_{i:02}.png", 1, 7000 + i) for i in range(12)])
        page.locator("#status", has_text="You ask colours, taught archive").wait_for()
        page.get_by_role("tab", name="What it is bad at").click()
        page.locator("#model", has_text="This model is colours, which has learnt").wait_for()
        while under_way:  # or Gradio would load the page again
            page.wait_for_timeout(50)
    with served([model], tmp_path, 7997):
        page.get_by_role("tab", name="Picture").click()
        page.set_input_files("#picture input[type=file]", draw(tmp_path / "another.png", 1, 7500))
        assert verdict_of(page)[0] == "fake"
        page.locator("#status", has_text="What you taught is gone").wait_for()
        assert "You ask colours, which looks for fakes" in page.inner_text("#status")
        assert "colours on colour_histogram" in page.text_content("#verdict")
        page.get_by_role("tab", name="What it is bad at").click()
        page.locator("#model", has_text="generator_1").wait_for()
        page.reload()
        page.locator("#status", has_text="What you taught is gone").wait_for()
        page.reload()
        page.locator("#status", has_text=re.compile(r"^\s*Ready. You ask colours, which")).wait_for()
        teach(page, [draw(tmp_path / "archive" / f"photo_{i:02}.png", 1, 7000 + i) for i in range(12)])
        page.locator("#status", has_text=re.compile(r"^\s*Ready. You ask colours, taught archive")).wait_for()
        page.close()


def say(page, file: Path, what: str, noted: str) -> None:
    """Drop a picture and say what it is."""
    page.set_input_files("#picture input[type=file]", file)
    verdict_of(page)
    page.get_by_role("button", name=what).click()
    page.locator("#noted", has_text=noted).wait_for()
    page.get_by_label("Remove Image").or_(page.get_by_label("Clear")).first.click()
    page.locator("#verdict .verdict").wait_for(state="detached")


def test_only_what_was_said_of_this_very_picture_can_be_taken_back(page, tmp_path):
    pictures = [draw(tmp_path / f"{i}.png", 1, 5600 + i) for i in range(2)]
    wrong, back = (page.get_by_role("button", name=name) for name in ("I know it is real", "Take that back"))

    def judged(picture: Path) -> None:
        page.set_input_files("#picture input[type=file]", picture)
        page.locator("#verdict", has_text=hashlib.sha256(picture.read_bytes()).hexdigest()).wait_for()
        wrong.wait_for()

    judged(pictures[0])
    assert not back.is_visible()
    wrong.click()
    back.wait_for()
    page.screenshot(path=ROOT / "screenshots" / "said.png")
    judged(pictures[1])
    assert not back.is_visible()
    judged(pictures[0])
    assert back.is_visible()
    back.click()
    back.wait_for(state="hidden")
    wrong.click()
    back.wait_for()
    page.get_by_role("tab", name="Teach it").click()
    page.get_by_role("button", name="Forget what I said").click()
    page.get_by_role("tab", name="Picture").click()
    back.wait_for(state="hidden")
    fake, under_way = page.get_by_role("button", name="I know it is fake"), streams_of(page)
    slow(page)(300)
    for button in (fake, wrong, fake):  # each before the one before was heard
        with page.expect_request("**/queue/join*"):
            button.click()
    while under_way:
        page.wait_for_timeout(50)
    page.locator("#noted", has_text="Noted as fake. 1 fake so far").wait_for()


def test_answers_that_were_wrong_are_learnt_without_being_dropped_again(page, tmp_path):
    """One by one, each put right by a click; the files may be gone by the time that there are ten."""
    bluish = [draw(tmp_path / f"photo_{i:02}.png", 1, 7000 + i) for i in range(10)]
    real, fake = "I know it is real", "I know it is fake"
    say(page, bluish[0], fake, "Noted as fake. 1 fake so far; from 10 of a kind on")
    say(page, bluish[0], real, "Noted as real. 1 real so far")
    say(page, bluish[0], real, "Noted as real. 1 real so far")  # as a double click would
    say(page, bluish[0], "Take that back", "Taken back. None so far")
    for i, file in enumerate(bluish):
        say(page, file, real, f"{i + 1} real so far")
    say(page, draw(tmp_path / "painted.png", 0, 8000), fake, "10 real and 1 fake so far: the tab Teach it can learn them.")
    page.set_input_files("#picture input[type=file]", bluish[0])
    before = verdict_of(page)
    page.get_by_role("tab", name="Teach it").click()
    page.get_by_text("you said what they are: 10 real and 1 fake").wait_for()
    told = teach(page, [])
    assert "archive\t10 real" in told
    assert "generator" not in told, "of one fake alone nothing is learnt, and nothing is said to be"
    page.locator("#status", has_text="You ask colours, taught archive").wait_for()
    page.get_by_role("tab", name="Picture").click()
    page.locator("#verdict", has_text="colours, taught archive").wait_for()
    assert float(verdict_of(page)[1]) < float(before[1]), "the picture that is there is judged again"
    page.get_by_role("tab", name="Teach it").click()
    page.get_by_role("button", name="Forget what I said").click()
    page.get_by_text("you said what they are").wait_for(state="hidden")


def test_what_is_known_of_pictures_is_learnt_with_those_in_the_boxes(model, tmp_path):
    from deepfake_detector.errors import DetectorError
    from deepfake_detector.types import FAKE, REAL
    from deepfake_detector.ui.corrections import corrected
    from deepfake_detector.ui.tabs.teach import Box, learn

    detector, known = Detector(model), {}
    files = [str(draw(tmp_path / f"photo_{i:02}.png", 1, 7000 + i)) for i in range(12)]
    for file in files[:4]:
        known, _ = corrected(detector, file, REAL, known)
    boxes = [Box(REAL, "archive", files[2:]), Box(FAKE, "x", [])]
    [shown] = learn(detector, boxes, known, lambda *_, **__: None)[0].bundle.manifest["training"]["shown"]
    assert (shown["name"], shown["n"]) == ("archive", 12), "what is in both counts once"
    with pytest.raises(DetectorError, match="There are 4 real pictures; learning takes 10 of a kind"):
        learn(detector, [Box(REAL, "archive", []), Box(FAKE, "x", [])], known, lambda *_, **__: None)
    (tmp_path / "notes.png").write_text("no picture")
    with pytest.raises(DetectorError, match=r"archive has 8 real ones\. Add some\.\s+Left out: notes\.png, not a picture that"):
        learn(detector, [Box(REAL, "archive", [*files[4:], str(tmp_path / "notes.png")]), Box(FAKE, "x", [])], {}, lambda *_, **__: None)
    with pytest.raises(DetectorError, match="a name of its own"):
        learn(detector, [Box(REAL, "", []), Box(FAKE, "x", files)], known, lambda *_, **__: None)
    with pytest.raises(DetectorError, match=r"you called otherwise before: photo_00.png, .*photo_03.png. Take it out"):
        learn(detector, [Box(REAL, "archive", []), Box(FAKE, "x", files[:10])], known, lambda *_, **__: None)


def test_what_can_not_be_taught_gets_words_and_changes_nothing(page, tmp_path):
    page.get_by_role("tab", name="Teach it").click()
    page.click("#teach")
    page.locator("#taught", has_text="There are no pictures in the boxes").wait_for()
    teach(page, [draw(tmp_path / f"photo_{i:02}.png", 1, 9000 + i) for i in range(12)])
    few = "takes at least 10 different pictures; archive has 3 real ones"
    page.get_by_label("Clear").first.click()
    told = teach(page, [draw(tmp_path / f"more_{i}.png", 1, 9100 + i) for i in range(3)], says=few)
    assert "Nothing was learnt." in told
    page.get_by_role("tab", name="Picture").click()
    page.set_input_files("#picture input[type=file]", tmp_path / "photo_00.png")
    verdict_of(page)
    assert "colours, taught archive" in page.text_content("#verdict"), "what was learnt before still holds"


def test_boxes_that_make_no_sense_together_are_said():
    from deepfake_detector.errors import DetectorError
    from deepfake_detector.types import FAKE, REAL
    from deepfake_detector.ui.tabs import teach as tab

    with pytest.raises(DetectorError, match="a name of its own"):
        tab.samples([tab.Box(REAL, "mine", ["a.png"]), tab.Box(FAKE, "mine", ["b.png"])], {})
    with pytest.raises(DetectorError, match="a name of its own"):
        tab.samples([tab.Box(REAL, "", ["a.png"]), tab.Box(FAKE, "x", [])], {})
    with pytest.raises(DetectorError, match="There are 201 pictures; at most 200"):
        tab.samples([tab.Box(REAL, "mine", ["a.png"] * 101), tab.Box(FAKE, "x", ["b.png"] * 100)], {})
    with pytest.raises(DetectorError, match=r"Only pictures are learnt here; film.mp4 is a clip \(1 in all\). Remove"):
        tab.samples([tab.Box(REAL, "mine", ["a.png", "/1/film.mp4"]), tab.Box(FAKE, "x", [])], {})
    listed = tab.samples([tab.Box(REAL, "", []), tab.Box(FAKE, "x", ["/1/b.png", "/2/b.png"])], {}).samples
    assert [(one.label, one.generator) for one in listed] == [(FAKE, "x")] * 2
    assert len({one.group for one in listed}) == 2, "two files of one name are two pictures"


def test_pictures_that_are_deleted_before_they_are_learnt_are_asked_for_again(model, tmp_path):
    from deepfake_detector.errors import DetectorError
    from deepfake_detector.types import FAKE, REAL
    from deepfake_detector.ui.tabs import teach as tab

    shown = [str(draw(tmp_path / f"photo_{i:02}.png", 1, 7000 + i)) for i in range(14)]
    boxes = [tab.Box(REAL, "archive", shown), tab.Box(FAKE, "x", [])]
    dropped = Path(shown[0]).stat().st_ctime_ns
    tab.learn(Detector(model), boxes, {}, lambda *_, **__: None)
    assert Path(shown[0]).stat().st_ctime_ns > dropped, "what is being learnt counts as new, and is not deleted meanwhile"
    for path in shown[:2]:
        Path(path).unlink()
    with pytest.raises(DetectorError, match="^2 of the 14 files are no longer here: uploads are deleted after 5 minutes.*drop them again"):
        tab.learn(Detector(model), boxes, {}, lambda *_, **__: None)


def test_no_upload_outlives_its_time():
    from deepfake_detector.ui import uploads

    assert uploads.CHECKED_EVERY + uploads.KEPT <= 600


TOLD_WHEN = """
import sys
from pathlib import Path
from deepfake_detector.cli import app
from deepfake_detector.ui import sessions, uploads

uploads.CHECKED_EVERY, kept, told, forget = 0.05, uploads.KEPT, Path("all has had its time"), sessions.forget

def forget_when_told(page):
    if not uploads.KEPT:
        forget(page)
        uploads.KEPT = kept
        told.unlink()
    elif told.exists():
        uploads.KEPT = 0

sessions.forget = forget_when_told
sys.exit(app())
"""


def test_what_was_shown_is_forgotten_in_memory_too_and_what_was_taught_is_not(browser, model, tmp_path):
    (tmp_path / "app.py").write_text(TOLD_WHEN)
    with served([model], tmp_path, 7999, [tmp_path / "app.py"]) as (url, _):
        page, visitors = browser.new_page(), []
        page.on("request", lambda request: visitors.extend(re.findall(r"/queue/data\?session_hash=(\w+)", request.url)))
        page.goto(url)

        def held() -> str:
            """All that is kept of the visitor's page, as Gradio itself would give it away as a link."""
            urllib.request.urlopen(f"{url}gradio_api/deep_link?session_hash={visitors[0]}", timeout=20).close()
            [link] = tmp_path.rglob("state.json")
            kept = link.read_text()
            link.unlink()
            return kept

        teach(page, [draw(tmp_path / "archive" / f"photo_{i:02}.png", 1, 7000 + i) for i in range(12)])
        page.get_by_role("tab", name="Picture").click()
        page.set_input_files("#picture input[type=file]", draw(tmp_path / "mine.png", 1, 7500))
        verdict_of(page)
        shown = held()
        assert "mine.png" in shown
        assert "data-p-fake" in shown
        (tmp_path / "all has had its time").touch()
        deadline = time.monotonic() + 60
        while (tmp_path / "all has had its time").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        left = held()
        assert len(left) > 1000
        for word in ("mine.png", "data-p-fake", "photo_00.png"):
            assert word not in left
        page.get_by_label("Clear").or_(page.get_by_label("Remove Image")).first.click()
        page.set_input_files("#picture input[type=file]", draw(tmp_path / "another.png", 1, 7501))
        page.locator("#verdict", has_text="colours, taught archive").wait_for()
        page.close()


def upload(port: int, content: bytes, sent: int) -> socket.socket:
    """Send the first bytes of a picture as a browser does → the connection, for whoever is to hang up."""
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="mine.png"\r\n\r\n'
    request = b"POST /gradio_api/upload HTTP/1.1\r\nHost: page\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    body = head + content + b"\r\n--x--\r\n"
    visitor = socket.create_connection(("127.0.0.1", port), timeout=20)
    visitor.sendall(request + b"Content-Length: %d\r\n\r\n" % len(body) + body[: len(head) + sent])
    return visitor


TOLD_AT_THE_END = """
from pathlib import Path
from deepfake_detector.cli import app
from deepfake_detector.ui import build

pages, make = [], build.build
build.build = lambda detector: pages.append(make(detector)) or pages[-1]
status = app()
Path("waits for nobody").write_text(str(not pages[0].server.thread.is_alive()))
raise SystemExit(status)
"""


def ask_again(port: int) -> None:
    """As a browser does that is due an answer, and sooner: whenever it is cut off, until nobody listens."""
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port)) as visitor:
                visitor.sendall(f"GET /gradio_api/heartbeat/me HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
                while visitor.recv(4096):
                    pass
        except ConnectionRefusedError:
            return
        except OSError:  # cut off
            pass


def test_a_plain_kill_waits_for_nobody_and_leaves_no_upload_behind(browser, model, tmp_path):
    (tmp_path / "app.py").write_text(TOLD_AT_THE_END)
    content = draw(tmp_path / "mine.png", 1, 5500).read_bytes()
    whole, half = len(content) + 100, len(content) // 2
    with served([model], tmp_path, 7993, [tmp_path / "app.py"], anew) as (url, server):
        page = browser.new_page()
        page.goto(url)
        page.locator("#status", has_text="Ready. You").wait_for(timeout=90_000)
        asking = [threading.Thread(target=ask_again, args=(7993,)) for _ in range(3)]
        for visitor in asking:
            visitor.start()
        with upload(7993, content, whole), upload(7993, content, half):
            kept, deadline = set(), time.monotonic() + 20
            while not {"mine.png"} < kept:  # the half one has a name of gradio's making
                kept = {file.name for file in (tmp_path / "uploads").rglob("*") if file.is_file()}
                assert time.monotonic() < deadline, kept
                time.sleep(0.1)
            server.terminate()
            server.wait(60)
        for visitor in asking:
            visitor.join(60)
        page.close()
    said = (tmp_path / "log").read_text()
    assert server.returncode == 0, said
    assert "eyboard" not in said
    assert list((tmp_path / "uploads").iterdir()) == []
    assert (tmp_path / "waits for nobody").read_text() == "True"


def test_an_upload_that_was_cut_off_is_removed_in_time(tmp_path, monkeypatch):
    from deepfake_detector.ui import uploads

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(uploads, "CHECKED_EVERY", 0.01)
    monkeypatch.setattr(uploads, "KEPT", 0)
    with uploads.folder() as folder, uploads.sweeping(folder, lambda: None):
        half = folder / "tmp0123"
        half.write_bytes(b"half a picture")
        deadline = time.monotonic() + 20
        while half.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_what_has_not_had_its_time_stays(tmp_path):
    from deepfake_detector.ui import uploads

    (tmp_path / "new.png").write_bytes(b"a picture")
    uploads.remove_old(tmp_path, uploads.KEPT)
    assert (tmp_path / "new.png").exists()


def test_what_a_killed_server_left_is_removed_by_the_next_and_a_living_one_keeps_its_own(tmp_path, monkeypatch):
    from deepfake_detector.ui import uploads

    code = "from deepfake_detector.ui import uploads\nwith uploads.folder() as own: print(own, flush=True), input()"
    settings = os.environ | {"PYTHONPATH": str(ROOT), "GRADIO_TEMP_DIR": str(tmp_path)}
    start = [sys.executable, "-c", code]
    servers = [subprocess.Popen(start, env=settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    killed, alive = (Path(server.stdout.readline().strip()) for server in servers)
    for place in (killed, alive):
        (place / "mine.png").write_bytes(b"a picture")
    servers[0].kill()
    servers[0].communicate()
    (tmp_path / "deepfake_detector_uploads_link").symlink_to(ROOT)  # what a stranger might put there
    assert killed.exists()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with uploads.folder():
        assert not killed.exists()
        assert (alive / "mine.png").exists()
    servers[1].communicate("\n")
    assert [place.name for place in tmp_path.iterdir()] == ["deepfake_detector_uploads_link"]
    assert (ROOT / "app.py").exists()


def test_an_address_in_use_is_said(address, model):
    done = process("app.py", "--model", model, "--port", "7991", "--no-cache", cwd=address[1])
    assert done.returncode == 2
    assert "Choose another --port" in done.stderr


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--port", "99999"), "--port should be 1 to 65535; received 99999."),
        (("--port", "0"), "--port should be 1 to 65535; received 0."),
        (("--host", "203.0.113.7"), "can't be served at 203.0.113.7, port any"),
    ],
)
def test_an_address_that_can_not_be_is_said_at_once(tmp_path, option, said):
    done = process("app.py", "--no-cache", *option, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_ended_while_it_warms_up_it_ends_only_once_that_is_done(tmp_path):
    code = """
import os, signal, time
from pathlib import Path
from deepfake_detector.ui.build import serve

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background may have had it ignored

def load():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)
    Path("loaded").touch()

try:
    serve(load, host=None, port=None, share=False)
except KeyboardInterrupt:
    pass
"""
    settings = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=settings, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "loaded").exists(), "no thread may be left in a library's own code"


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--model", "nowhere"), "There is no model at nowhere"),
        (("--known", "nowhere.csv"), "There is no table nowhere.csv"),
        (("--known", "{table}", "--pictures", "nowhere"), "'nowhere' is missing"),
        (("--signers", "nowhere.pem"), "There is no file nowhere.pem"),
    ],
)
def test_what_is_missing_is_said_before_there_is_a_page(embeddings_csv, tmp_path, monkeypatch, option, said):
    monkeypatch.setattr("deepfake_detector.ui.build.serve", lambda *_, **__: pytest.fail("a page is served"))
    done = script("app.py", *(one.format(table=embeddings_csv) for one in option), "--no-cache", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_model_that_can_not_be_loaded_is_said_on_the_page(model, tmp_path, browser):
    damaged = shutil.copytree(model, tmp_path / "damaged")
    (damaged / "head.skops").write_bytes(b"no head")
    with served([damaged], tmp_path, 7992) as (url, _):
        page = browser.new_page()
        page.goto(url)
        page.locator("#status", has_text="damaged is damaged").wait_for()
        page.close()
