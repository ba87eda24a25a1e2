"""The report that a visitor keeps: the card's figures, by whom, and nothing in it that runs or asks for anything."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import pytest
from PIL import Image

from deepfake_detector import bundle
from deepfake_detector.detect import DEFAULT_MODEL, Detector
from deepfake_detector.panel import FACE_SWAPS, Panel
from deepfake_detector.report.words import bad_at, promised
from deepfake_detector.types import Declaration
from deepfake_detector.ui import kept_report
from deepfake_detector.ui.timeline import timeline
from deepfake_detector.ui.verdict_card import card
from tests.clips import draw_clip
from tests.conftest import answering, draw

HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>.png"


@pytest.fixture
def panel(model, tmp_path):
    made = [answering(model, tmp_path / "painted", "real", "sdxl"), answering(model, tmp_path / "put_in", "fake", "faceswap")]
    return Panel([Detector(folder) for folder in made])


def test_a_report_holds_the_picture_the_card_and_who_was_asked(panel, tmp_path):
    content = draw(tmp_path / "new.png", 0, 7, size=(2400, 1600)).read_bytes()
    verdict, before = panel.judge(content), datetime.now(UTC) - timedelta(seconds=1)
    html = kept_report.page(verdict, panel.bundles, "new.png", content, '<div class="parts">drawn</div>')
    assert card(verdict, content, timed=False).replace("<details>", "<details open>") in html, "paper opens nothing"
    assert html.count("<details open><summary>Details") == 2
    assert '<div class="parts">drawn</div>' in html
    assert f"<dd>{hashlib.sha256(content).hexdigest()}</dd>" in html
    assert f"2400 x 1600 pixels, {len(content):,} bytes; below it is made smaller" in html
    told = datetime.strptime(re.search(r"<dt>Judged</dt><dd>(.*) UTC</dd>", html)[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    assert before <= told <= datetime.now(UTC)
    shown = Image.open(io.BytesIO(base64.b64decode(re.search(r'class="picture".*?base64,([^"]+)"', html)[1])))
    assert shown.size == (1000, 667)
    for one in panel.bundles:
        assert f"<h2>{one.name}, which looks for {one.looks_for}</h2>" in html
        assert one.fingerprint in html
        assert one.spec.key in html
        for line in (*promised(one.thresholds, one.manifest["promise"]), *bad_at(one.manifest)):
            assert f"<li>{line}</li>" in unescape(html)


def test_nothing_from_outside_is_markup_and_nothing_is_asked_for(panel, tmp_path):
    content = draw(tmp_path / "new.png", 0, 7).read_bytes()
    hostile = replace(
        panel.judge(content),
        model=HOSTILE,
        notes=(HOSTILE,),
        declared=(Declaration(HOSTILE, HOSTILE), Declaration(HOSTILE, HOSTILE, True, HOSTILE)),
    )
    hostile = replace(hostile, others=(replace(hostile, declared=()),))
    bundles = [replace(one, name=HOSTILE) for one in panel.bundles]
    html = kept_report.page(hostile, bundles, HOSTILE, content)
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    assert not re.search(r"<[^>]* onerror", re.sub(r'"[^"]*"', '""', html))
    assert re.findall(r"<img[^>]*>", html)
    assert all(re.search(r'src="data:image/jpeg;base64,[\w+/=]+"', one) for one in re.findall(r"<img[^>]*>", html))
    assert "default-src 'none'" in html
    assert not re.search(r"https?://|<link|@import|url\(", html)


def test_a_report_on_a_clip_shows_its_course_on_paper_too(panel, tmp_path):
    verdict = panel.judge_file(draw_clip(tmp_path / "new.mp4", list(range(0, 2000, 40)), size=(160, 96)))
    html = kept_report.page(verdict, panel.bundles, "new.mp4")
    assert html.count("<details open><summary>Frame by frame") == 2
    assert "<svg" in timeline(verdict)
    assert "<svg" not in timeline(replace(verdict, frames=verdict.frames[:1], persons=())), "of a single moment there is no course"
    assert 'class="picture"' not in html
    assert "<dt>Picture</dt>" not in html


def test_the_shipped_models_go_by_their_manifests_and_say_what_they_are_bad_at():
    for folder in (DEFAULT_MODEL, FACE_SWAPS):
        loaded = bundle.load(folder)
        assert loaded.fingerprint == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
        assert any("AUROC" in line for line in bad_at(loaded.manifest))


def test_of_a_model_that_was_taught_it_is_said_what_it_rests_on():
    training = {"adapted_from": "base", "shown": [{"n": 12, "label": "real", "name": "archive"}]}
    assert bad_at({"training": training}) == [
        "It is base, which has also learnt 12 real pictures of archive. Nothing else of it was measured: where base is weak, so is it."
    ]
    assert bad_at({"training": {}}) == ["Of its own test pictures this model carries no measurements."]


def test_the_file_is_gone_once_a_copy_was_taken(panel, tmp_path):
    content = draw(tmp_path / "new.png", 0, 7).read_bytes()
    with kept_report.kept(panel.judge(content), panel.bundles, "\udcff" + HOSTILE, content) as file:
        assert Path(file).read_text(encoding="utf-8").startswith("<!doctype html>")
    assert not Path(file).parent.exists()
