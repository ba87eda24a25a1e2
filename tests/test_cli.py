"""The command line: verdicts as JSON lines, the same number behind every door, and words for every error."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

from deepfake_detector.cache import Cache
from deepfake_detector.cli.figures import print_sources
from deepfake_detector.cli.options import BesideTheBar, bars, command_line, progress_bar, run
from deepfake_detector.detect import Detector
from deepfake_detector.errors import DetectorError, TableError, UnusablePicture
from deepfake_detector.panel import Panel
from deepfake_detector.ui.verdict_card import card
from tests.conftest import ROOT, draw, draw_dataset, json_lines, process, script


@pytest.mark.usefixtures("locked_folders")
def test_predict_gives_one_json_object_a_line(model, tmp_path):
    red, blue = draw(tmp_path / "in/red.png", 0, 900), draw(tmp_path / "in/deep/blue.webp", 1, 901)
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "in/deep/read.me").touch()
    (tmp_path / "in/locked").mkdir()
    done = script("deepfake_detector", "predict", "in", "text.jpg", "gone.jpg", "--model", model, "--json", cwd=tmp_path)
    lines = json_lines(done.stdout)
    assert [line["file"] for line in lines] == ["in/deep/blue.webp", "in/red.png", "text.jpg", "gone.jpg", "in/locked/"]
    assert "in: skipped 1 by their endings (deep/read.me)" in done.stderr
    assert lines[4]["error"] == "the folder can't be read: Permission denied"
    assert {"file", "p_fake", "verdict", "model", "encoder"} <= lines[0].keys()
    assert lines[0]["p_fake"] > 0.5 > lines[1]["p_fake"]
    assert all(line["verdict"] in ("real", "fake", "unsure") and line["model"] == "colours" for line in lines[:2])
    assert lines[0]["encoder"] == "colour_histogram"
    assert "not a picture" in lines[2]["error"]
    assert "No such file" in lines[3]["error"]
    assert all("p_fake" not in line for line in lines[2:])
    assert done.returncode == 1, "not all could be judged"
    fine = script("deepfake_detector", "predict", red, blue, "--model", model, cwd=tmp_path)
    assert fine.returncode == 0
    assert len(fine.stdout.splitlines()) == 2


FORGING = "evil.jpg\rreal    p_fake 0.0123  \033[31mevil\u202e\n\u2028.jpg"
SPELT_OUT = r"evil.jpg\rreal    p_fake 0.0123  \x1b[31mevil\u202e\n\u2028.jpg"


def test_a_files_name_writes_no_lines_of_its_own(model, tmp_path):
    (tmp_path / "in").mkdir()
    draw(tmp_path / "plain.jpg", 0, 905).rename(tmp_path / "in" / FORGING)
    (tmp_path / "in" / f"no {FORGING}").write_text("no picture")
    (tmp_path / "in" / "ürlaub\u202f1 \udce9.jpg").write_text("no picture")
    done = script("deepfake_detector", "predict", "in", f"gone {FORGING}", "--model", model, cwd=tmp_path)
    judged, broken, odd, gone, _ = done.stdout.split("\n")
    assert judged.startswith("real    p_fake 0.")
    assert judged.endswith(f"in/{SPELT_OUT}")
    assert broken.split(maxsplit=1)[1].startswith(f"in/no {SPELT_OUT}: not a picture")
    assert r"in/ürlaub 1 \udce9.jpg: not a picture".encode().decode("unicode_escape", "ignore") or odd
    assert gone.split(maxsplit=1)[1].startswith(f"gone {SPELT_OUT}: can't be read")


def test_a_folders_name_writes_no_lines_into_the_figures(capsys):
    kind = {"n": 3, "auroc": None, "fake": 1.0, "unsure": 0.0, "real": 0.0}
    print_sources({"generators": {FORGING: kind}, "real_sources": {FORGING: kind}, "kinds": {}})
    assert sum(SPELT_OUT in line for line in capsys.readouterr().out.split("\n")) == 2


def test_a_folders_name_is_spelt_out_wherever_it_is_told_of(tmp_path):
    """As the table's and the model's, as a generator's in what training logs, and as an option that there is not."""
    data = draw_dataset(tmp_path / FORGING)
    (data / "fake" / "generator_0").rename(data / "fake" / FORGING)
    extracted = script("extract_embeddings.py", data, "--encoder", "colour_histogram", "--out", f"{FORGING}.csv", cwd=tmp_path)
    trained = process("train_classifier.py", f"{FORGING}.csv", "--head", "logistic", "--out", f"m{FORGING}", cwd=tmp_path)
    refused = script("train_classifier.py", "t.csv", "--\033[31mevil", cwd=tmp_path)
    assert (extracted.returncode, trained.returncode, refused.returncode) == (0, 0, 2), trained.stderr
    assert f"{SPELT_OUT}.csv: 80 rows" in extracted.stdout
    assert f"m{SPELT_OUT}: logistic on colour_histogram" in trained.stdout
    assert f"by what generator it is; theirs: {SPELT_OUT}, generator_1." in trained.stderr
    assert r"unrecognized arguments: --\x1b[31mevil" in refused.stderr
    assert not set("\033\u202e\u2028") & set("".join(done.stdout + done.stderr for done in (extracted, trained, refused)))


def test_an_errors_line_is_one_line(tmp_path):
    (tmp_path / f"t{FORGING}").write_text("no cache " * 100)
    done = script("deepfake_detector", "cache", "--cache", tmp_path / f"t{FORGING}", cwd=tmp_path)
    assert done.returncode == 2
    assert SPELT_OUT in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_answer_is_set_beside_pictures_kept_apart_at_every_door(model, tmp_path):
    file = draw(tmp_path / "red.png", 1, 902)
    verdict = Panel([Detector(model)]).judge_file(file)
    beside = verdict.kept_apart
    assert beside.real < 0.1 < beside.fake
    [line] = json_lines(script("deepfake_detector", "predict", file, "--model", model, "--json", cwd=tmp_path).stdout)
    assert line["kept_apart"] == asdict(beside)
    counts = Detector(model).bundle.manifest["promise"]["pictures"]
    assert (beside.real_count, beside.fake_count) == (counts["real"], counts["fake"])
    said = f"and {100 * beside.fake:.0f} % of {counts['fake']} fakes ({beside.fake_from})."
    assert said in card(verdict).partition('class="bar"')[2], "below what it explains"
    assert "suspicious" not in card(replace(verdict, kept_apart=None))


def test_every_door_gives_the_same_number(model, tmp_path):
    files = [draw(tmp_path / f"in/{i}.png", i % 2, 700 + i, size=(50 + i, 70 - i)) for i in range(9)]
    alone = [Detector(model).judge(f.read_bytes()) for f in files]
    with Cache(tmp_path / "c.sqlite") as cache:
        panel = Panel([Detector(model, cache)])
        together = [v for _, v in panel.judge_files(map(str, files))]
        remembered = [panel.judge_file(f) for f in files]
    ran = process("deepfake_detector", "predict", *files, "--model", model, "--json", cwd=tmp_path, PYTHONPROFILEIMPORTTIME="1")
    shell = json_lines(ran.stdout)
    for a, b, c, d in zip(alone, together, remembered, shell, strict=True):
        assert a.p_fake == b.p_fake == c.p_fake == d["p_fake"]
        assert a.verdict == b.verdict == c.verdict == d["verdict"]
        assert (a.cached, b.cached, c.cached) == (False, False, True)
    assert len({v.p_fake for v in alone}) > 5
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ran.stderr.splitlines()}
    assert "sklearn" in imported
    assert "torch" not in imported, "that takes a second, and nothing here has a use for it"


def test_a_remembered_picture_needs_no_encoder(model, tmp_path, monkeypatch):
    from deepfake_detector.encoders.colour_histogram import Encoder

    content = draw(tmp_path / "a.png", 0, 1).read_bytes()
    with Cache(tmp_path / "c.sqlite") as cache:
        first = Detector(model, cache).judge(content)
        monkeypatch.setattr(Encoder, "encode", lambda *_: pytest.fail("the encoder was called"))
        again = Detector(model, cache).judge(content)
    assert (again.p_fake, again.cached, first.cached) == (first.p_fake, True, False)


def test_a_note_on_the_file_is_remembered_too(model, tmp_path):
    frames = [Image.linear_gradient("L").resize((40, 40)), Image.radial_gradient("L").resize((40, 40))]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with Cache(tmp_path / "c.sqlite") as cache:
        notes = [Panel([Detector(model, cache)]).judge_file(tmp_path / "a.gif").notes for _ in range(2)]
    assert notes[0] == notes[1]
    assert "first of 2 frames" in notes[0][0]


def test_bad_input_is_refused_in_words(model, tmp_path):
    detector = Detector(model)
    with pytest.raises(UnusablePicture, match="not a picture"):
        detector.judge(b"hello")
    for arguments, words in (
        (["predict", "x.jpg", "--model", model, "--cache-gb", "inf"], "--cache-gb should be a number above 0; received inf"),
        (["predict", "x.jpg", "--model", tmp_path / "none"], "There is no model at"),
        (["predict", "x.jpg", "--model", model, "--cache", tmp_path], "can't be used"),
    ):
        failed = script("deepfake_detector", *arguments, cwd=tmp_path)
        assert failed.returncode == 2, failed.stdout
        assert words in failed.stderr
        assert "Traceback" not in failed.stderr


def test_a_folder_without_pictures_costs_no_other_file_its_verdict(model, tmp_path):
    (tmp_path / "empty").mkdir()
    draw(tmp_path / "grün.png", 0, 1)
    done = process("deepfake_detector", "predict", "empty", "grün.png", "--model", model, cwd=tmp_path, PYTHONIOENCODING="ascii")
    judged, unlisted = done.stdout.splitlines()
    assert "gr\\xfcn.png" in judged
    assert not judged.startswith("error")
    assert unlisted.startswith("error")
    assert "no pictures or clips in this folder" in unlisted
    assert (done.returncode, done.stderr) == (1, "")


def test_a_cache_that_cannot_be_written_costs_no_verdict(model, tmp_path):
    """A limit on a file's size stands in for a full disk."""
    for seed, name in enumerate(("a.png", "b.png")):
        draw(tmp_path / name, 0, seed)
    command = f"ulimit -f 40; exec {sys.executable} -m deepfake_detector predict a.png b.png --cache c.sqlite --model {model}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert "not remembered" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_of_another_encoder_version_is_not_served(model, tmp_path):
    import shutil

    shutil.copytree(model, tmp_path / "m")
    manifest = json.loads((model / "manifest.json").read_text())
    manifest["encoder"]["preprocessing"] = "another way"
    (tmp_path / "m/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(TableError, match="preprocessing"):
        Detector(tmp_path / "m")


def test_evaluate_reports_by_generator_and_source(model, tmp_path):
    data = draw_dataset(tmp_path / "d", each=12)
    (data / "fake/generator_0/broken.jpg").write_text("x")
    kinds = ("--kind", "first=camera_0,generator_0")
    done = script("evaluate.py", "--model", model, "--data", data, "--json", "s.json", *kinds, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "s.json").read_text())
    scores = report["detectors"]["colours"]
    assert scores["overall"]["auroc"] > 0.95
    assert {"accuracy", "auroc", "ap", "eer", "tpr_at_1_fpr", "tpr_at_5_fpr", "ece"} <= scores["overall"].keys()
    assert {name: s["n"] for name, s in scores["generators"].items()} == {"generator_0": 6, "generator_1": 6}
    assert set(scores["real_sources"]) == {"camera_0", "camera_1"}
    assert scores["kinds"]["first"]["n"] == 12
    assert report["data"]["skipped"][0]["path"] == "fake/generator_0/broken.jpg"
    low, high = scores["overall"]["intervals"]["auroc"]
    assert low <= scores["overall"]["auroc"] <= high
    failed = script("evaluate.py", "--model", model, "--data", data, "--kind", "faces=nobody", cwd=tmp_path)
    assert failed.returncode == 2
    assert "camera_0, camera_1" in failed.stderr


def test_evaluating_a_table_equals_evaluating_its_pictures(model, dataset, embeddings_csv, tmp_path):
    for data, out in ((dataset, "a.json"), (embeddings_csv, "b.json")):
        assert script("evaluate.py", "--model", model, "--data", data, "--json", out, cwd=tmp_path).returncode == 0
    a, b = (json.loads((tmp_path / name).read_text())["detectors"]["colours"] for name in ("a.json", "b.json"))
    assert a["overall"] == b["overall"]
    assert np.isfinite(a["overall"]["ece"])


def test_a_table_that_fits_no_model_is_not_passed_over(model, embeddings_csv, tmp_path):
    for name in (embeddings_csv.name, f"{embeddings_csv.name}.json"):
        (tmp_path / f"other_{name}").write_text((embeddings_csv.parent / name).read_text().replace("box resize", "another resize"))
    both = (embeddings_csv, tmp_path / f"other_{embeddings_csv.name}")
    failed = script("evaluate.py", "--model", model, "--data", *both, cwd=tmp_path)
    assert failed.returncode == 2
    assert "another resize" in failed.stderr


def test_a_table_of_one_class_alone_is_warned_of(tmp_path, capsys):
    from deepfake_detector.cli import extract

    for i in range(3):
        draw(tmp_path / "data" / "ai" / f"{i}.png", 1, i)
        draw(tmp_path / "data" / "photos" / f"{i}.png", 0, i)
    assert extract([str(tmp_path / "data"), "--encoder=colour_histogram", f"--out={tmp_path / 't.csv'}", "--no-cache"]) == 0
    printed = capsys.readouterr().out
    assert "skipped 3" in printed
    assert "WARNING: all pictures are fake" in printed
    assert "name their folder real or fake" in printed


@pytest.mark.parametrize(
    ("call", "arguments", "said"),
    [
        ("evaluate", ["--data=README.md", "--model=README.md"], "README.md is a file; a model is a folder"),
        ("evaluate", ["--data=/no/such"], "'/no/such' is missing. Correct the path"),
        ("main", ["predict", "ftp://example.org/a.jpg", "--no-cache"], "the scheme is 'ftp'). Save the picture first"),
        ("main", ["predict", "a.jpg", "--cache=README.md/c.sqlite"], "_EMBEDDINGS. Or remember nothing, with --no-cache."),
        ("train", ["t.csv", "--out=README.md/a/b"], "README.md: Not a directory. Choose another place, and run it again."),
        ("extract", ["/no/such", "--out=/proc/t.csv"], "No such file or directory. Choose another place, and run it again."),
    ],
)
def test_a_place_that_can_not_be_meant_is_said_to_be_so(call, arguments, said, monkeypatch, capsys):
    from deepfake_detector import cli

    monkeypatch.chdir(ROOT)
    assert getattr(cli, call)(arguments) in (1, 2)
    printed = capsys.readouterr()
    assert said in printed.out + printed.err


def test_a_command_is_kept_as_a_shell_takes_it_again(monkeypatch):
    typed = ["extract_embeddings.py", "my pictures", "--out", "it's.csv"]
    monkeypatch.setattr(sys, "argv", typed)
    assert shlex.split(command_line()) == typed


def test_what_is_told_beside_a_bar_has_a_line_of_its_own(capsys):
    with progress_bar(10) as bar:
        bar.update(4)
        BesideTheBar().emit(logging.makeLogRecord({"msg": "run 2 of 3"}))
    told = capsys.readouterr().err.replace("\r", "\n").split("\n")
    assert "run 2 of 3" in told


def test_an_error_amid_a_bar_has_a_line_of_its_own(capsys):
    def failing(_):
        with bars() as bar:
            bar(None)(3)  # of a stream, whose end nobody knew
            bar(10)(4)
            raise DetectorError("no room")

    assert run(failing, argparse.ArgumentParser("tune"), []) == 2
    told = capsys.readouterr().err.replace("\r", "\n")
    assert "tune: error: no room" in told.split("\n")
    assert told.index("3picture") < told.index("/10"), "each has ended before the next begins"
