"""Answers as a CSV: by the command line, which also takes addresses of the web; other programs read them as they are."""

from __future__ import annotations

import csv
import functools
import io
import json
import shutil

import pytest

from deepfake_detector import answers, cli, fetch
from deepfake_detector.detect import Detector
from deepfake_detector.panel import Panel
from tests.conftest import draw
from tests.serving import web
from tests.signing import signed_file


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_predict_gives_a_row_for_each_file(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    red, blue = draw(tmp_path / "red.png", 0, 1, (300, 200)), draw(tmp_path / "=cmd,1.png", 1, 2, (300, 200))
    said = signed_file(tmp_path / "said.png", red.read_bytes(), kind="image/png")
    odd = "odd\r=1+1\n.png"
    (tmp_path / odd).write_text("no picture")
    asked = [red.name, blue.name, said.name, odd]
    assert cli.main(["predict", *asked, f"--model={model}", "--csv", "--no-cache"]) == 1, "one of them is no picture"
    told = rows(capsys.readouterr().out)
    detector = Detector(model)
    assert tuple(told[0]) == answers.COLUMNS
    assert [one["path"] for one in told] == [red.name, f"./{blue.name}", said.name, odd]
    for one, file in zip(told, (red, blue), strict=False):
        expected = Panel([detector]).judge_file(file)
        assert (one["verdict"], float(one["p_fake"]), one["sha256"]) == (expected.verdict, expected.p_fake, expected.sha256)
    assert told[2]["verdict"] == "fake"
    assert told[2]["declared"].startswith("Content Credentials: made by a generative model")
    assert told[2]["others"].startswith("colours: real 0.")
    assert "not a picture" in told[3]["error"]
    assert told[3]["p_fake"] == ""


@pytest.mark.parametrize("name", ["=a.png", "+a.png", "-a.png", "@a.png", "\ta.png", "\ra.png"])
def test_no_name_begins_a_formula(name):
    file = io.StringIO(newline="")
    list(answers.write(file, [(name, "no picture"), ("a=.png", "no picture")]))
    assert [one["path"] for one in rows(file.getvalue())] == [f"./{name}", "a=.png"]


def test_known_pictures_that_are_most_like_it_are_told(model, dataset, embeddings_csv, capsys):
    file = str(dataset / "fake" / "generator_0" / "000.jpg")
    assert cli.main(["predict", file, f"--model={model}", f"--known={embeddings_csv}", "--csv", "--no-cache"]) == 0
    [told] = rows(capsys.readouterr().out)
    assert told["similar"].startswith("fake fake/generator_0/000.jpg (1.00); ")


def test_its_scores_are_read_by_evaluate(model, dataset, tmp_path, monkeypatch, capsys):
    shutil.copytree(dataset, tmp_path / "-data")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["predict", f"--model={model}", "--csv", "--no-cache", "--", "-data"]) == 0
    answered = rows(capsys.readouterr().out)
    assert answered[0]["path"].startswith("./-data/")
    inside = [one | {"path": one["path"].replace("-data/", "")} for one in answered]  # a picture's own name may begin so
    for name, told in (("answers", answered), ("inside", inside)):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, answers.COLUMNS)
            writer.writeheader()
            writer.writerows(told)
    again = [f"--scores={name}={tmp_path / name}.csv" for name in ("answers", "inside")]
    assert cli.evaluate(["--data", str(dataset), f"--model={model}", *again, f"--json={tmp_path / 'r.json'}", "--no-cache"]) == 0
    areas = [one["overall"]["auroc"] for one in json.loads((tmp_path / "r.json").read_text())["detectors"].values()]
    assert len(areas) == 3
    assert areas[1:] == pytest.approx([areas[0]] * 2)


def test_csv_and_json_are_not_asked_for_together(model):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["predict", "a.png", "--csv", "--json"])


def test_pictures_at_addresses_are_judged_among_files(model, tmp_path, monkeypatch, capsys):
    red, blue = draw(tmp_path / "site" / "red.png", 0, 1, (300, 200)), draw(tmp_path / "blue.png", 1, 2, (300, 200))
    (tmp_path / "site" / "page.html").write_text("<html>a picture is on this page</html>")
    monkeypatch.setattr(fetch, "fetched_now", functools.partial(fetch.fetched_now, allow_private=True))
    with web(tmp_path / "site") as url:
        asked = [f"{url}/red.png", str(blue), f"{url}/page.html", f"{url}/gone.png"]
        assert cli.main(["predict", *asked, f"--model={model}", "--json", "--no-cache"]) == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["file"] for one in told] == asked
    detector = Detector(model)
    assert [one["p_fake"] for one in told[:2]] == [Panel([detector]).judge_file(red).p_fake, Panel([detector]).judge_file(blue).p_fake]
    assert "copy image address" in told[2]["error"]
    assert "not found: status 404" in told[3]["error"]


def test_an_address_that_only_this_machine_can_reach_is_not_asked(model, tmp_path, capsys):
    draw(tmp_path / "red.png", 0, 1)
    with web(tmp_path) as url:
        assert cli.main(["predict", f"{url}/red.png", "http://localhost/red.png", f"--model={model}", "--no-cache"]) == 1
    told = capsys.readouterr().out.splitlines()
    assert "is not asked" in told[0]
    assert "localhost has no public address" in told[1]
