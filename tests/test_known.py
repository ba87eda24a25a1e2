"""The known pictures beside a new one: the right ones, each once, and none from another encoder."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from deepfake_detector import table, vectors
from deepfake_detector.detect import Detector
from deepfake_detector.errors import TableError
from deepfake_detector.known import SHOWN, Known
from deepfake_detector.panel import Panel
from deepfake_detector.types import FAKE, LABEL_NAMES, REAL, VIEW
from deepfake_detector.ui.verdict_card import card
from tests.conftest import script


def test_a_known_picture_is_most_like_itself_and_comes_with_its_file(model, dataset, embeddings_csv):
    file = next(dataset.rglob("*.jpg"))
    verdict = Panel([Detector(model, known=Known(table.read(embeddings_csv), dataset))]).judge_file(file)
    similar = verdict.similar
    assert len(similar) == SHOWN
    assert similar[0].file == str(file)
    assert similar[0].cosine == pytest.approx(1, abs=1e-4)
    assert [one.cosine for one in similar] == sorted((one.cosine for one in similar), reverse=True)
    assert len({one.path for one in similar}) == SHOWN
    shown = card(verdict)
    assert shown.count("<li") == SHOWN
    assert shown.count("data:image/jpeg;base64,") == SHOWN
    [real, fake] = (replace(similar[0], label=label, generator=name) for label, name in ((REAL, "real"), (FAKE, "sdxl")))
    shown = card(replace(verdict, similar=(real, fake)))
    assert shown.index(">real<br>") < shown.index(">fake, sdxl<br>"), "no word twice"


def test_copies_are_not_shown_and_a_picture_of_several_regions_is_shown_once(embeddings_csv):
    data = table.read(embeddings_csv).take(np.array([0, 0, 1, 2]))
    data.rows["split"] = ["", "", "", VIEW]
    similar = Known(data).most_similar(data.X[[0, 2]])
    assert sorted(one.path for one in similar) == sorted(set(data.rows["path"][:3]))
    assert all(one.file is None for one in similar)
    assert [len(Known(data.take(np.array(rows))).most_similar(data.X[[0]])) for rows in ([3], [2], [0, 2])] == [0, 1, 2]


def test_a_picture_of_many_faces_hides_no_other(embeddings_csv):
    data = table.read(embeddings_csv)
    crowd = data.take(np.concatenate([np.zeros(200, int), np.arange(1, 12)]))
    assert len(Known(crowd).most_similar(data.X[[0]])) == SHOWN


def test_a_table_too_large_for_memory_is_searched_where_it_lies(embeddings_csv, monkeypatch):
    data = table.read(embeddings_csv)
    monkeypatch.setattr(vectors, "IN_MEMORY", 0)
    monkeypatch.setattr(vectors, "BATCH", 7 * 4 * data.spec.dim)  # seven rows at a time
    large = table.read(embeddings_csv)
    assert isinstance(large.X, vectors.OnDisk)
    data.rows["split"] = large.rows["split"] = ["", "", VIEW, ""] * (len(data) // 4)
    on_disk, in_memory = Known(large), Known(data)
    for rows in ([0], [1, 6], [len(data) - 1]):
        assert on_disk.most_similar(data.X[rows]) == in_memory.most_similar(data.X[rows])
    assert on_disk.most_similar(data.X[[0]])[0].path == data.rows["path"][0]


def test_what_comes_from_outside_is_escaped_and_a_lost_file_costs_its_thumbnail_only(model, dataset, embeddings_csv):
    data = table.read(embeddings_csv)
    data.rows["path"] = "<b>" + data.rows["path"]
    data.rows["generator"] = "<script>"
    shown = card(Panel([Detector(model, known=Known(data))]).judge_file(next(dataset.rglob("*.jpg"))))
    assert "<b>" not in shown
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "<img" not in shown


def test_the_script_names_them_and_refuses_a_table_of_another_encoder(model, dataset, embeddings_csv, tmp_path):
    file = next(dataset.rglob("*.jpg"))
    done = script(
        "deepfake_detector", "predict", file, "--model", model, "--json", "--known", embeddings_csv, "--pictures", dataset, cwd=tmp_path
    )
    first = json.loads(done.stdout)["similar"][0]
    plain = script("deepfake_detector", "predict", file, "--model", model, "--known", embeddings_csv, cwd=tmp_path).stdout
    assert first.keys() == {"path", "label", "generator", "cosine"}, "where the picture lies on this machine is told to nobody"
    assert f"most like: {LABEL_NAMES[first['label']]} {first['path']} (1.00)" in plain
    alone = script("deepfake_detector", "predict", file, "--model", model, "--pictures", dataset, cwd=tmp_path)
    assert (alone.returncode, "Name one with --known" in alone.stderr) == (2, True)
    data = table.read(embeddings_csv)
    with pytest.raises(TableError, match="the table of known pictures was made otherwise"):
        Detector(model, known=Known(type(data)(data.rows, data.X, data.spec, "faces")))
