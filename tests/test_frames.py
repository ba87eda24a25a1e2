"""Clips become rows with video and time, resume from the cache, and one pooled score each."""

import hashlib
import itertools
import re

import numpy as np
import pandas as pd
import pytest

from deepfake_detector import cli, table
from deepfake_detector.cache import Cache, Remembered, cache_key
from deepfake_detector.datasets.videos import scan
from deepfake_detector.embed import Embedder
from deepfake_detector.encoders.colour_histogram import Encoder
from deepfake_detector.evaluate import evaluate_scores
from deepfake_detector.extract import embed_samples, extract, takes
from deepfake_detector.pooling import by_video, pool
from deepfake_detector.report import gather
from deepfake_detector.types import Thresholds
from deepfake_detector.video import Clip, Sampling
from tests.clips import draw_clip, draw_sound
from tests.conftest import json_lines, script

STEADY = list(range(0, 1000, 40))


@pytest.fixture
def clips(tmp_path):
    draw_clip(tmp_path / "clips/real/a.mp4", STEADY)
    draw_clip(tmp_path / "clips/fake/swap/b.mp4", list(range(0, 975, 39)), tint=(0, 0, 30))
    draw_sound(tmp_path / "clips/fake/swap/c.mp4")
    return tmp_path / "clips"


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_table_of_clips(clips, tmp_path, ending):
    out = tmp_path / f"t{ending}"
    seen = []
    listing = scan(clips)
    done = extract(listing, Embedder(Encoder()), str(out), progress=seen.append, sampling=Sampling(4))
    data = table.read(out)
    assert done.rows == len(data) == 8
    assert len(seen) == 3
    assert data.rows.columns.tolist() == [*table.ROW_COLUMNS, "video", "time"]
    assert data.rows["video"].tolist() == ["fake/swap/b.mp4"] * 4 + ["real/a.mp4"] * 4
    assert data.rows["time"].tolist() == [0.117, 0.351, 0.585, 0.819, 0.12, 0.36, 0.6, 0.84]
    assert data.rows["path"][0] == "fake/swap/b.mp4#t=0.117"
    assert data.rows["group"].nunique() == 2
    assert done.skipped == [("fake/swap/c.mp4", "no pictures in this video, only sound; choose another file")]
    again, skipped = embed_samples(listing, Embedder(Encoder()), sampling=Sampling(4))
    np.testing.assert_array_equal(again.X, data.X)
    pd.testing.assert_frame_equal(again.rows, data.rows, check_dtype=False)
    assert skipped == done.skipped


def test_a_clip_says_once_what_is_missing_of_it_and_which_notes_are_its_frames_alone(tmp_path, model, monkeypatch):
    from deepfake_detector.detect import Detector
    from deepfake_detector.images import Picture
    from deepfake_detector.panel import Panel

    whole = draw_clip(tmp_path / "whole.mkv", list(range(0, 8000, 40)), g="10").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: int(0.6 * len(whole))])
    [(_, verdict)] = Panel([Detector(model)]).judge_files([str(tmp_path / "cut.mkv")])
    assert sum("cut off: " in note for note in verdict.notes) == 1

    picture = Clip.picture
    clip, odd, other = str(draw_clip(tmp_path / "a.mp4", STEADY)), ("an odd frame",), ("another",)
    for noted, said in (
        ({2: odd, 3: other}, "of 2 of them, for example: an odd frame"),
        ({2: odd, 3: odd}, "of 2 of them: an odd frame"),
        (dict.fromkeys(range(5), odd), "of each: an odd frame"),
        (dict.fromkeys(range(5), other) | {0: odd}, "of each, for example: an odd frame"),
    ):
        monkeypatch.setattr(Clip, "picture", lambda clip, nth, noted=noted: Picture(picture(clip, nth).image, noted.get(nth, ())))
        [(_, verdict)] = Panel([Detector(model)]).judge_files([clip], Sampling(5))
        assert verdict.notes == ("5 frames were judged", said)


def test_black_frames_before_a_clip_do_not_change_its_verdict(tmp_path, model):
    from deepfake_detector.detect import Detector
    from deepfake_detector.panel import Panel

    led = draw_clip(tmp_path / "led.mp4", STEADY, black=15)
    dark = draw_clip(tmp_path / "dark.mp4", STEADY, black=len(STEADY))
    outcomes = dict(Panel([Detector(model)]).judge_files([str(led), str(dark)], Sampling(5)))
    verdict = outcomes[str(led)]
    assert [time for time, _ in verdict.frames] == [0.68, 0.88]
    assert verdict.p_fake == pytest.approx(pool([p for _, p in verdict.frames]), abs=1e-5)
    assert verdict.notes[0].startswith("2 of 5 frames were judged: blank: every pixel has the same colour")
    assert outcomes[str(dark)].startswith("blank")


@pytest.mark.parametrize("views", [(), ("augment0",)])
def test_frames_that_are_known_are_not_held_when_another_is_decoded(tmp_path, views):
    scanned = scan(draw_clip(tmp_path / "clips/real/a.mp4", STEADY).parents[1])
    with Cache(tmp_path / "cache.sqlite") as cache:
        embedder = Embedder(Encoder(), cache=cache)

        def embedded(count: int) -> Clip:
            """Embed the first so many pictures → the clip that they are frames of."""
            found = takes(scanned.samples, Sampling(25), views)
            first = list(itertools.islice(found, count))
            clip = first[0].shot.read.args[0]
            for _ in embedder.embed(iter(first), lambda take: take.read()):
                pass
            return clip

        embedded(24 * (1 + len(views)) + len(views))
        clip = embedded(25 * (1 + len(views)))
    assert clip._decoder is not None, "the last one was unknown"
    assert clip._ready == {}


def test_a_known_frame_is_not_decoded_again(clips, tmp_path, monkeypatch):
    listing = scan(clips)
    with Cache(tmp_path / "cache.sqlite") as cache:
        first = extract(listing, Embedder(Encoder(), cache=cache), str(tmp_path / "a.csv"), sampling=Sampling(4))
        monkeypatch.setattr(Clip, "picture", lambda self, nth: pytest.fail("decoded again"))
        second = extract(listing, Embedder(Encoder(), cache=cache), str(tmp_path / "b.csv"), sampling=Sampling(4))
    assert (first.timing.encoded, second.timing.encoded, second.timing.cached) == (8, 0, 8)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_what_was_remembered_of_frames_read_otherwise_is_not_taken(tmp_path):
    clip = Clip(str(draw_clip(tmp_path / "clips/real/a.mp4", STEADY)), Sampling(2))
    embedder = Embedder(Encoder(), cache=Cache(tmp_path / "cache.sqlite"))
    old = Remembered(np.ones((1, embedder.encoder.spec.dim), np.float32), np.zeros((1, 4), np.int32))
    with embedder.cache as cache:
        cache.put("e", {cache_key(clip.identity(0), embedder.crop, embedder.encoder.spec): old})
        embeddings, _ = embed_samples(scan(tmp_path / "clips"), embedder, sampling=Sampling(2))
    assert embeddings.rows["sha256"].tolist() == [clip.identity(0), clip.identity(1)]
    assert not (embeddings.X == 1).all(axis=1).any()


def test_a_table_without_clips_has_no_columns_for_them(tmp_path, dataset):
    from deepfake_detector.datasets.folder import scan

    extract(scan(dataset), Embedder(Encoder()), str(tmp_path / "t.csv"))
    assert "video" not in table.read(tmp_path / "t.csv").rows


def test_pooling_is_the_mean_of_log_odds():
    assert pool(np.array([0.5, 0.5])) == pytest.approx(0.5)
    assert pool(np.array([0.8, 0.8, 0.8])) == pytest.approx(0.8)
    assert pool(np.array([0.9, 0.1])) == pytest.approx(0.5)
    assert pool(np.array([1.0, 0.0])) == pytest.approx(0.5), "certainty has an end"
    assert pool(np.array([0.99, 0.5, 0.5])) == pytest.approx(1 / (1 + 99 ** (-1 / 3)))


def rows(*frames):
    columns = ["video", "path", "label"]
    return pd.DataFrame(frames, columns=columns).assign(
        generator=lambda r: r["label"].map({0: "real", 1: "swap"}), group=lambda r: r["video"]
    )


def test_clips_are_pooled_and_the_most_suspicious_face_of_a_frame_counts():
    frames = rows(("b", "b#1", 1), ("b", "b#1", 1), ("a", "a#1", 0), ("", "x.jpg", 0), ("b", "b#2", 1))
    clips, pooled = by_video(frames, np.array([0.1, 0.8, 0.3, 0.9, 0.8]))
    assert clips["video"].tolist() == ["b", "a"]
    assert clips["label"].tolist() == [1, 0]
    assert pooled == pytest.approx([0.8, 0.3])


def test_frame_and_video_figures_are_apart():
    frames = rows(*[(f"v{i}", f"v{i}#{t}", i % 2) for i in range(20) for t in range(4)])
    noise = np.random.default_rng(0).uniform(0.05, 0.35, len(frames)) * np.where(np.arange(len(frames)) % 4, 1, -1)
    p_fake = np.where(frames["label"] == 1, 0.55, 0.45) + noise
    report = evaluate_scores(frames, p_fake.clip(0, 1), Thresholds(0.4, 0.6))
    assert report["overall"]["n_fake"] == 40
    assert report["videos"]["overall"]["n_fake"] == 10
    assert report["videos"]["overall"]["auroc"] > report["overall"]["auroc"]
    assert "videos" not in report["videos"]


def test_a_clip_gets_one_verdict_with_its_frames(clips, tmp_path, model):
    from deepfake_detector.detect import Detector
    from deepfake_detector.panel import Panel

    panel = Panel([Detector(model)])
    outcomes = dict(panel.judge_files([str(clips / "real/a.mp4"), str(clips / "fake/swap/c.mp4")], Sampling(3)))
    verdict = outcomes[str(clips / "real/a.mp4")]
    assert [time for time, _ in verdict.frames] == [0.16, 0.48, 0.8]
    assert verdict.p_fake == pytest.approx(pool([p for _, p in verdict.frames]), abs=1e-5)
    assert verdict.verdict == verdict.thresholds.answer(verdict.p_fake)
    assert verdict.notes == ("3 frames were judged",)
    assert verdict.sha256 == hashlib.sha256((clips / "real/a.mp4").read_bytes()).hexdigest()
    assert "only sound" in outcomes[str(clips / "fake/swap/c.mp4")]
    assert len(panel.judge_file(clips / "real/a.mp4").frames) == 16


def test_clips_from_the_command_line(clips, tmp_path, model):
    engine = ("--cache", tmp_path / "cache.sqlite", "--device", "cpu")
    done = script(
        "extract_embeddings.py", clips, "--dataset", "videos", "--every", "0.5", "--encoder", "colour_histogram",
        "--out", tmp_path / "t.csv", *engine, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "4 rows of" in done.stdout
    assert "only sound" in done.stdout
    done = script("deepfake_detector", "predict", "--json", "--frames", "2", "--model", model, clips / "real/a.mp4", *engine, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = json_lines(done.stdout)
    assert [frame["time"] for frame in line["frames"]] == [0.24, 0.72]
    assert line["p_fake"] == pytest.approx(pool(np.array([frame["p_fake"] for frame in line["frames"]])), abs=1e-5)


def test_that_clips_are_neither_audited_nor_degraded_is_said(clips, tmp_path, model, capsys, monkeypatch):
    asked = [f"--model={model}", f"--data={clips}", "--dataset=videos", "--frames=2", f"--cache={tmp_path / 'c.sqlite'}"]
    assert cli.evaluate([*asked, f"--out={tmp_path / 'r'}"]) == 0
    assert "Clips are neither audited nor degraded" in capsys.readouterr().out
    for file in ("report.html", "model_card.md"):
        assert "was not measured: clips are not audited." in (tmp_path / "r" / file).read_text()
    monkeypatch.setattr(gather, "embed_samples", lambda *_: pytest.fail("hours later, perhaps"))
    assert cli.evaluate([*asked, "--robustness"]) == 2
    assert "a table, a clip or a stream has none at hand: give a folder of pictures" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        (("--frames", "0"), "at least 1"),
        (("--every", "1e-320"), "0.001 or more; received 1e-320"),
        (("--dataset", "nosuch"), "there are: .*celeb_df"),
    ],
)
def test_options_that_make_no_sense(tmp_path, option, reason):
    done = script("extract_embeddings.py", tmp_path, *option, "--encoder", "colour_histogram", cwd=tmp_path)
    assert done.returncode == 2
    assert re.search(reason, done.stderr)
    assert "Traceback" not in done.stderr
