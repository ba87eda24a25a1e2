"""One person is one track: in a table of clips, in a clip's verdict, and in the score of a clip."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from deepfake_detector import bundle, table
from deepfake_detector.cache import Cache
from deepfake_detector.crops.detectors import mtcnn
from deepfake_detector.datasets import Listing
from deepfake_detector.detect import Detector
from deepfake_detector.embed import Embedder
from deepfake_detector.encoders.colour_histogram import Encoder
from deepfake_detector.evaluate import evaluate_scores, per_picture
from deepfake_detector.extract import embed_samples, extract
from deepfake_detector.panel import Panel
from deepfake_detector.pooling import by_video, pool, pool_tracks
from deepfake_detector.table import joined
from deepfake_detector.tracking import NOBODY, PATIENCE, Tracker, overlap
from deepfake_detector.train import train
from deepfake_detector.types import Person, Sample, Thresholds, Verdict
from deepfake_detector.ui.verdict_card import card
from deepfake_detector.video import Clip, Sampling
from tests.clips import draw_people, find_people
from tests.conftest import draw, script

RED, BLUE = (230, 120, 100), (100, 120, 230)


def box(left, side=40, top=50):
    return (left, top, left + side, top + side)


def follow(*frames):
    tracker = Tracker()
    return [tracker.update(np.array(boxes).reshape(-1, 4)) for boxes in frames]


# ---- overlap


def test_overlap_is_intersection_over_union():
    a = np.array([box(0), box(20), (0, 0, 0, 0)])
    assert overlap(a, np.array([box(0)])).round(6).tolist() == [[1.0], [round(20 / 60, 6)], [0.0]]


def test_persons_keep_their_numbers_whatever_the_order_of_their_boxes():
    assert follow([box(0), box(200)], [box(205), box(10)], [box(20), box(210)]) == [[0, 1], [1, 0], [0, 1]]


def test_a_newcomer_gets_a_new_number_and_a_jump_is_a_newcomer():
    assert follow([box(0)], [box(0), box(200)], [box(100)]) == [[0], [0, 1], [2]]


def test_whoever_is_away_for_a_moment_is_the_same_again():
    assert follow([box(0)], *[[]] * (PATIENCE - 1), [box(8)])[-1] == [0]
    assert follow([box(0)], *[[]] * PATIENCE, [box(8)])[-1] == [1]


def test_the_best_pairing_of_all_wins_over_the_best_pair():
    # Both new boxes overlap the first old one most; it can't be both.
    assert follow([box(0), box(24)], [box(10), box(-6)]) == [[0, 1], [1, 0]]


def test_touching_is_no_overlap_and_frames_may_be_empty():
    assert follow([], [box(0)], [box(39)], []) == [[], [0], [1], []]
    assert Tracker().update(NOBODY) == []


# ---- scores


def test_a_clip_is_as_fake_as_its_most_suspicious_person():
    assert pool_tracks({0: [0.1, 0.2], 1: [0.8, 0.9]}) == {0: pool([0.1, 0.2]), 1: pool([0.8, 0.9])}


def test_who_is_only_passing_does_not_count():
    assert list(pool_tracks({"seated": [0.1] * 8, "passing": [0.99], "standing": [0.3] * 2})) == ["seated", "standing"]


def rows(*regions):
    return pd.DataFrame(regions, columns=["video", "path", "track"]).assign(label=1, generator="swap", sha256="", group="g")


def test_clips_are_pooled_over_each_person_apart():
    regions = rows(*[("a", f"a#{t}", track) for t in range(4) for track in (0, 1)], ("b", "b#0", 0), ("a", "a#2", 7), ("", "x.jpg", -1))
    p = np.array([0.1, 0.9, 0.9, 0.1, 0.1, 0.9, 0.9, 0.1, 0.3, 0.99, 0.5])
    p[-2] = 0.99  # the passing one: 1 of 4 frames counts, just
    clips, pooled = by_video(regions, p)
    assert clips["video"].tolist() == ["a", "b"]
    assert pooled == pytest.approx([0.99, 0.3])
    _, pooled = by_video(regions[regions["track"] != 7], p[(regions["track"] != 7).to_numpy()])
    assert pooled == pytest.approx([0.5, 0.3]), "not the 0.9 of whoever is worst in each frame"


def test_a_report_has_frames_by_their_worst_face_and_clips_by_their_persons():
    regions = rows(*[(clip, f"{clip}#{t}", track) for clip in "ab" for t in range(4) for track in (0, 1)])
    regions["group"] = regions["video"]
    p = np.array([0.1, 0.9, 0.9, 0.1] * 4)
    frames, worst = per_picture(regions, p)
    assert worst.tolist() == [0.9] * 8
    videos = evaluate_scores(frames, worst, Thresholds(0.4, 0.8), regions=(regions, p))["videos"]
    assert videos["overall"]["abstain_rate"] == 1.0


def test_one_clip_of_a_generator_has_figures_without_intervals():
    frames = pd.concat(
        [rows(*[(clip, f"{clip}#{t}", 0) for t in range(4)]).assign(group=clip, label=label) for label, clip in enumerate("ab")]
    )
    scores = evaluate_scores(frames, np.array([0.1] * 4 + [0.9] * 4), Thresholds(0.4, 0.6))
    assert scores["generators"]["swap"]["fake"] == 1.0
    assert scores["generators"]["swap"]["intervals"]["fake"] is None
    assert scores["videos"]["overall"]["auroc"] == 1.0


# ---- tables


@pytest.fixture
def people(monkeypatch):
    monkeypatch.setattr(mtcnn, "find", find_people)


@pytest.fixture
def clip(tmp_path):
    """Ten frames: one red person, from the fourth on a blue one who is larger, and somebody passing in the fifth."""
    frames = [[(20 + 3 * i, 60, 40, RED)] + [(140 - 3 * i, 60, 60, BLUE)] * (i >= 3) + [(270, 10, 34, RED)] * (i == 4) for i in range(10)]
    return draw_people(tmp_path / "clips/fake/swap/a.mp4", frames)


def sample_of(path, label=1, video="a.mp4"):
    return Sample(str(path), path.name, label, "swap", path.name, video=video)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_table_says_whose_face_a_row_is(people, clip, tmp_path, ending):
    out = tmp_path / f"t{ending}"
    listing = Listing([sample_of(clip), sample_of(draw(tmp_path / "dark.png", 0, 1), video="")])
    done = extract(listing, Embedder(Encoder(), "faces"), str(out), views=("augment0",), sampling=Sampling(10))
    data = table.read(out)
    assert data.rows.columns.tolist() == [*table.ROW_COLUMNS, "video", "time", "track"]
    of_clip = data.pictures().rows.query("video != ''")
    sightings = of_clip.groupby("track")["path"].nunique().to_dict()
    assert sightings == {0: 10, 1: 7, 2: 1}
    assert (of_clip.groupby(["path", "track"]).size() == 1).all()
    assert set(data.rows.query("split == 'view'")["track"]) == {-1}, "a copy is turned and cut as it comes"
    again, _ = embed_samples(listing, Embedder(Encoder(), "faces"), sampling=Sampling(10))
    pd.testing.assert_frame_equal(again.rows, data.pictures().rows.reset_index(drop=True), check_dtype=False)
    assert done.rows == len(data)


def test_frames_that_are_files_are_followed_too(people, clip, tmp_path):
    frames = Clip(str(clip), Sampling(10))
    samples = []
    for nth in range(10):
        frames.picture(nth).image.save(tmp_path / f"{nth}.png")
        samples += [sample_of(tmp_path / f"{nth}.png", video="a")]
    data, _ = embed_samples(Listing(samples), Embedder(Encoder(), "largest_face"))
    assert data.rows["track"].tolist() == [0] * 3 + [1] * 7


def test_no_tracks_without_faces_or_without_clips(people, clip, tmp_path):
    whole, _ = embed_samples(Listing([sample_of(clip)]), Embedder(Encoder()), sampling=Sampling(2))
    assert whole.rows.columns.tolist() == [*table.ROW_COLUMNS, "video", "time"]
    picture = Clip(str(clip), Sampling(1)).picture(0).image
    picture.save(tmp_path / "x.png")
    faces, _ = embed_samples(Listing([sample_of(tmp_path / "x.png", video="")]), Embedder(Encoder(), "faces"))
    assert faces.rows.columns.tolist() == list(table.ROW_COLUMNS)


def test_pictures_beside_clips(people, clip, tmp_path):
    Clip(str(clip), Sampling(1)).picture(0).image.save(tmp_path / "x.png")
    parts = [
        embed_samples(Listing([sample]), Embedder(Encoder(), "faces"), sampling=Sampling(5))[0]
        for sample in (sample_of(clip), sample_of(tmp_path / "x.png", video=""))
    ]
    both = joined(parts)
    clips, pooled = by_video(both.rows, np.linspace(0.1, 0.9, len(both)))
    assert clips["video"].tolist() == ["a.mp4"]
    assert len(pooled) == 1


def test_a_clip_is_decoded_once_for_all_its_views(clip, tmp_path, monkeypatch):
    opened, decoded = [], []
    monkeypatch.setattr(Clip, "__init__", lambda self, *given, real=Clip.__init__: (opened.append(1), real(self, *given))[1])
    monkeypatch.setattr(Clip, "picture", lambda self, nth, real=Clip.picture: (decoded.append(nth), real(self, nth))[1])
    with Cache(tmp_path / "c.sqlite") as cache:
        done = extract(
            Listing([sample_of(clip)]),
            Embedder(Encoder(), cache=cache),
            str(tmp_path / "a.csv"),
            views=("augment0", "augment1", "augment2"),
            sampling=Sampling(5),
        )
        assert (done.rows, len(opened), sorted(decoded)) == (20, 1, [0, 1, 2, 3, 4])
        again = extract(
            Listing([sample_of(clip)]),
            Embedder(Encoder(), cache=cache),
            str(tmp_path / "b.csv"),
            views=("augment0", "augment1", "augment2", "augment3"),
            sampling=Sampling(5),
        )
    assert (again.rows, again.timing.encoded, len(decoded)) == (25, 5, 10)
    data = table.read(tmp_path / "b.csv")
    lone, _ = embed_samples(Listing([sample_of(clip)]), Embedder(Encoder(), "whole+augment3"), sampling=Sampling(5))
    np.testing.assert_array_equal(data.X[4::5], lone.X)


# ---- verdicts


@pytest.fixture
def model(people, dataset, tmp_path):
    """Blue is fake: the drawn pictures' model, its crop changed to faces."""
    from deepfake_detector.datasets.folder import scan

    data, _ = embed_samples(scan(dataset), Embedder(Encoder()))
    done = train(replace(data, crop=Embedder(Encoder(), "faces").crop), "logistic", "m")
    bundle.save(done.bundle, tmp_path / "m")
    return tmp_path / "m"


def test_a_clip_is_judged_person_by_person(model, clip):
    [(_, verdict)] = Panel([Detector(model)]).judge_files([str(clip)], Sampling(10))
    red, blue = verdict.persons
    assert (red.track, blue.track) == (0, 1)
    assert (len(red.frames), len(blue.frames)) == (10, 7)
    assert red.p_fake < blue.p_fake == verdict.p_fake == round(pool([p for _, p, _ in blue.frames]), 6)
    assert verdict.verdict == blue.verdict
    assert len(verdict.frames) == 10
    assert "faces seen only in passing were left out: 1" in verdict.notes
    seconds, _, (left, top, right, bottom) = blue.frames[0]
    assert seconds == pytest.approx(0.3)
    assert left <= 131
    assert right >= 191
    assert (top, bottom) == (51, 129)


def test_a_clip_of_whole_pictures_has_no_persons(clip, tmp_path, embeddings_csv):
    bundle.save(train(table.read(embeddings_csv), "logistic", "w").bundle, tmp_path / "w")
    verdict = Panel([Detector(tmp_path / "w")]).judge_file(clip)
    assert verdict.persons == ()
    assert verdict.p_fake == pytest.approx(pool([p for _, p in verdict.frames]), abs=1e-5)


def test_a_clip_without_a_face_says_so(model, tmp_path):
    nobody = draw_people(tmp_path / "nobody.mp4", [[]] * 5)
    [(_, outcome)] = Panel([Detector(model)]).judge_files([str(nobody)])
    assert "no face of at least 32 pixels" in outcome


def test_persons_in_json():
    person = Person(0, "fake", 0.9, ((0.5, 0.9, (1, 2, 3, 4)),))
    verdict = Verdict("fake", 0.9, Thresholds(0.2, 0.8), "m", "e", "s", False, 1.0, frames=((0.5, 0.9),), persons=(person,))
    [written] = json.loads(json.dumps(verdict.to_json()))["persons"]
    assert written == {"track": 0, "p_fake": 0.9, "verdict": "fake", "frames": [{"time": 0.5, "p_fake": 0.9, "box": [1, 2, 3, 4]}]}


def test_predict_judges_the_clips_of_a_folder(clip, tmp_path, embeddings_csv):
    bundle.save(train(table.read(embeddings_csv), "logistic", "w").bundle, tmp_path / "w")
    draw(tmp_path / "clips/b.png", 0, 1)
    done = script("deepfake_detector", "predict", "--no-cache", "--model", tmp_path / "w", tmp_path / "clips", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.split("clips/")[1] for line in done.stdout.splitlines()] == ["b.png", "fake/swap/a.mp4  (10 frames were judged)"]


def test_the_course_of_a_clip_is_drawn_person_by_person():
    persons = (
        Person(0, "real", 0.1, ((0.0, 0.1, (0, 0, 9, 9)), (2.0, 0.2, (0, 0, 9, 9)))),
        Person(3, "fake", 0.9, ((1.0, 0.9, (5, 5, 9, 9)),)),
    )
    frames = ((0.0, 0.1), (1.0, 0.9), (2.0, 0.2))
    drawn = card(Verdict("fake", 0.9, Thresholds(0.2, 0.8), "m", "e", "s", False, 1.0, frames=frames, persons=persons))
    assert re.findall(r'<polyline points="([^"]*)"', drawn) == ["0.00,90.00 100.00,80.00", "50.00,10.00"]
    assert re.findall(r"person \d</td><td>(\w+)</td><td>([^<]*)</td><td>(\d)</td><td>([^<]*)<", drawn) == [
        ("real", "10.0 %", "2", "0.0 – 2.0 s"),
        ("fake", "90.0 %", "1", "1.0 – 1.0 s"),
    ]
    alone = card(Verdict("real", 0.1, Thresholds(0.2, 0.8), "m", "e", "s", False, 1.0, frames=((4.0, 0.1),)))
    assert "<svg" not in alone, "one frame is a moment, not a span"
    assert "<svg" not in card(Verdict("real", 0.1, Thresholds(0.2, 0.8), "m", "e", "s", False, 1.0))
