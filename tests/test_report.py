"""The report: self-contained, complete, honest about what is missing, and about the same pictures for every detector."""

import functools
import json
import re
import shutil
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from deepfake_detector import audit, bundle, cli, degrade, protocols, table, train
from deepfake_detector.cache import Cache
from deepfake_detector.cli import evaluation
from deepfake_detector.cli.figures import print_protocols
from deepfake_detector.comparison import Scored, compare, on_common_pictures, read_scores
from deepfake_detector.datasets.folder import scan
from deepfake_detector.embed import Embedder
from deepfake_detector.encoders.colour_histogram import Encoder
from deepfake_detector.errors import NoFace, TableError
from deepfake_detector.evaluate import evaluate_scores, per_picture, promise_kept
from deepfake_detector.extract import embed_samples, extract
from deepfake_detector.intervals import clopper_pearson
from deepfake_detector.report import build
from deepfake_detector.report.gather import Request, gather
from deepfake_detector.report.words import bad_at, counted, given, of_clips_too, promised, tuned_on_too_few, weaknesses
from deepfake_detector.robustness import _flips, robustness
from deepfake_detector.types import Sample, Thresholds
from deepfake_detector.ui.tabs.model import describe
from tests.conftest import draw


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Pictures of two sources and two generators, a table of them, and a model trained on it; fakes are redder."""
    root = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    rows = ["path,label,generator,group,split"]
    for label, names in (("real", ("lake", "hill")), ("fake", ("gan", "diff"))):
        for name in names:
            folder = root / "data" / label / name
            folder.mkdir(parents=True)
            for i in range(24):
                pixels = rng.integers(0, 255, (48, 40 + i, 3)) * np.array([1.0, 0.6 if label == "fake" else 0.8, 0.7])
                Image.fromarray(pixels.astype(np.uint8)).resize((80 + i, 96)).save(folder / f"{i}.jpg", quality=90)
                pair, split = f"{i}-{names.index(name)}", "train" if i % 3 else "test"
                rows.append(f"{label}/{name}/{i}.jpg,{label},{name},{pair},{split}")
    (root / "data" / "manifest.csv").write_text("\n".join(rows))
    listing = scan(root / "data")
    with Cache(root / "cache.sqlite") as cache:
        extract(listing, Embedder(Encoder(), "whole", cache), str(root / "t.csv"))
        data, _ = embed_samples(listing, Embedder(Encoder(), "whole", cache))
    for name, seed in (("logistic", 0), ("other", 1)):
        bundle.save(train.train(data, "logistic", name, seed).bundle, root / name)
    return root


@pytest.fixture(scope="module", autouse=True)
def few_trees():
    """What an audit finds is test_audit.py's matter; here it is only to be in the report."""
    with patch.object(audit, "_TREES", 6):
        yield


@pytest.fixture
def undrawn(monkeypatch):
    """Without the drawings, which take most of a report's time."""
    monkeypatch.setattr(
        build, "_drawings", lambda content: {"curves": None, "scores": {d.name: "" for d in content.detectors}, "robustness": None}
    )


@pytest.fixture(scope="module")
def full(world):
    """A report with everything in it, and what was printed."""
    peer = pd.DataFrame({"path": [s.name for s in scan(world / "data").samples]})
    peer["p_fake"] = [0.2 if "real" in p else 0.7 for p in peer["path"]]
    peer[1:].to_csv(world / "peer.csv", index=False)
    models = [f"--model={world / name}" for name in ("logistic", "other")]
    arguments = [*models, f"--data={world / 'data'}", f"--out={world / 'r'}", f"--cache={world / 'c.sqlite'}"]
    arguments += ["--kind", "greens=lake,gan", "--scores", f"peer={world / 'peer.csv'}", "--robustness", "24", "--head", "logistic"]
    arguments += ["--protocol", "matched", "--protocol", "leave-one-generator-out", "--protocol", "leave-one-source-out"]
    arguments += ["--protocol", "promise-unseen-source"]
    assert cli.evaluate(arguments) == 0
    return world / "r"


def test_one_page_asks_nobody_for_anything(full):
    page = (full / "report.html").read_text()
    assert not re.search(r"https?://", page)
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "<script" not in page
    assert page.count("data:image/svg+xml;base64,") == 5  # curves, one a detector, robustness
    assert "data:image/jpeg" in page or "with the highest probability" not in page
    report = json.loads((full / "report.json").read_text())
    assert report["audit"]["sentence"][:40] in page


def test_the_json_has_every_part_with_counts_and_intervals(full):
    report = json.loads((full / "report.json").read_text())
    assert set(report["detectors"]) == {"logistic", "other", "peer"}
    d = report["detectors"]["logistic"]
    assert set(d["generators"]) == {"gan", "diff"}
    assert set(d["real_sources"]) == {"lake", "hill"}
    for one in (*d["generators"].values(), *d["real_sources"].values(), d["overall"], *d["kinds"].values()):
        assert one["n"] > 0
        for name, interval in one["intervals"].items():
            assert interval is None or interval[0] <= interval[1], name
    assert set(report["baselines"]) == {"colour histogram", "all file facts"}
    assert [p["protocol"] for p in report["protocols"]] == [
        "matched",
        "leave-one-generator-out",
        "leave-one-source-out",
        "promise-unseen-source",
    ]
    assert set(d["robustness"]["views"]) == {"as it is", *degrade.VIEWS}
    assert d["robustness"]["views"]["as it is"]["real_changed"] == 0
    assert {c["on"] for c in report["comparison"]} == {"overall", "gan", "diff"}
    assert {p["source"] for p in d["promise_kept"]} == {"lake", "hill"}


def test_all_detectors_are_measured_on_the_same_pictures(full):
    report = json.loads((full / "report.json").read_text())
    assert {d["overall"]["n"] for d in report["detectors"].values()} == {95}  # the peer's file lacks one
    assert any("1 pictures were left out" in note for note in report["notes"])


def test_page_and_card_say_from_where_on_which_answer_is_given(full):
    thresholds = Thresholds(**json.loads((full / "report.json").read_text())["detectors"]["logistic"]["thresholds"])
    assert "By its probability its answer is fake from 0.500, else real." in (full / "report.html").read_text(), "the peer's"
    for name in ("report.html", "model_card_logistic.md"):
        assert f"By its probability its answer is {given(thresholds)}." in (full / name).read_text()
    assert given(Thresholds(0.3, 1.0)) == "real up to 0.300, never fake, unsure otherwise", "1 is no threshold that anything reaches"


def test_the_card_begins_with_what_the_model_is_bad_at(full):
    card = (full / "model_card_logistic.md").read_text()
    assert card.splitlines()[2].startswith("**What it is bad at.**")
    assert "| lake | real | 16 | not recorded |" in card
    assert "| Accuracy at 0.5 |" in card
    assert not (full / "model_card_peer.md").exists()


def test_a_share_and_its_interval_are_of_one_unit(full):
    page, card = ((full / name).read_text() for name in ("report.html", "model_card_logistic.md"))
    assert not re.search(r"% <small>\[0\.\d{3}", page)
    assert not re.search(r"% \[0\.\d{3}", card)


def test_the_promise_on_unseen_sources_is_told_in_words_on_page_and_card(full):
    (told,) = (p for p in json.loads((full / "report.json").read_text())["protocols"] if p["protocol"] == "promise-unseen-source")
    assert [row["held_out"] for row in told["rows"]] == ["hill", "lake"]
    for text in ((full / "report.html").read_text(), (full / "model_card_logistic.md").read_text()):
        assert "Each real source was left out of head, calibration and thresholds; kept (at most 1.5 times that," in text
        assert f"beyond chance) for {told['kept']} of 2." in text
        assert "Without hill and lake too few real sources were left" in text
        for row in told["rows"]:
            assert f"{100 * row['interval'][1]:.1f} %" in text


def test_a_second_run_is_remembered_and_equal(full, world, capsys):
    arguments = [f"--model={world / 'logistic'}", f"--data={world / 'data'}", f"--cache={world / 'c.sqlite'}", "--robustness=24"]
    arguments += [f"--scores=peer={world / 'peer.csv'}", f"--json={world / 'two.json'}"]
    with Cache(world / "c.sqlite") as cache:
        before = cache.summary()["pictures"]
        assert cli.evaluate(arguments) == 0
        assert cache.summary()["pictures"] == before
    assert "social" in capsys.readouterr().out
    once, again = (json.loads(file.read_text())["detectors"]["logistic"] for file in (full / "report.json", world / "two.json"))
    assert once["robustness"] == again["robustness"]


def test_a_table_needs_no_pictures_and_says_what_is_missing_without_them(world, capsys):
    assert cli.evaluate([f"--model={world / 'logistic'}", f"--data={world / 't.csv'}", "--split=test", f"--out={world / 'r2'}"]) == 0
    page = (world / "r2" / "report.html").read_text()
    assert "was not measured: its pictures were not at hand" in page
    assert (world / "r2" / "model_card.md").is_file()
    assert json.loads((world / "r2" / "report.json").read_text())["data"]["pictures"] == 32
    assert cli.evaluate([f"--model={world / 'logistic'}", f"--data={world / 't.csv'}", "--robustness"]) == 2
    assert "--pictures" in capsys.readouterr().err


@pytest.mark.parametrize(("lost", "words"), [({"a": (0, 1)}, "could be embedded"), ({"a": (0,), "b": (1,)}, "can be used in every view")])
def test_where_no_degraded_picture_can_be_judged_all_else_is_reported(world, capsys, monkeypatch, lost, words):
    def faceless(picture, _, widths):
        if picture.width % 2 in widths:
            raise NoFace("no face found")
        return picture

    monkeypatch.setattr(degrade, "VIEWS", {name: functools.partial(faceless, widths=widths) for name, widths in lost.items()})
    assert cli.evaluate([f"--model={world / 'logistic'}", f"--data={world / 'data'}", "--robustness=8", "--no-cache"]) == 0
    said = capsys.readouterr().out
    assert f"How logistic does on degraded pictures could not be measured: None of the 8 pictures {words}" in said
    assert "AUROC" in said


def test_protocols_alone_need_no_model(world, capsys):
    asked = ["--protocol=leave-one-generator-out", "--protocol=promise-unseen-generator", "--head=logistic"]
    assert cli.evaluate([f"--data={world / 't.csv'}", *asked]) == 0
    printed = capsys.readouterr().out
    assert "mean AUROC" in printed
    assert "at most 10 % of fakes called real" in printed


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--protocol=matched", "--scores=peer=p.csv", "--kind=a=lake"], "without --model trains heads.*--kind, --scores"),
        (["--protocol=matched", "--split=test", "--robustness"], "--split, --robustness"),
        (["--protocol=matched", "--out=r", "--pictures=data"], "--out, --pictures"),
        (["--model=logistic", "--head=svm"], "--head svm is for --protocol to train"),
        (["--model=logistic", "--robustness=-5"], "0 for none; received -5"),
        (["--model=logistic", "--keep-as=a|b"], "plain name such as 'faces by a GAN'; received 'a|b'"),
        (["--protocol=matched", "--keep-as=phones"], "received also --keep-as"),
        (["--model=logistic", "--out=t.csv"], "should be a folder for the report; t.csv is a file"),
        (["--model=logistic", "--json=."], "should be a file; . is a folder"),
    ],
)
def test_an_option_that_would_be_passed_over_or_fail_in_the_end_is_refused(world, monkeypatch, capsys, given, said):
    monkeypatch.chdir(world)
    assert cli.evaluate(["--data=t.csv", *given]) == 2
    assert re.search(said, capsys.readouterr().err)


@pytest.mark.parametrize("option", ["--out=t.csv/r", "--json=t.csv/r.json", "--out=/proc", "--json=/proc/r.json"])
def test_a_place_that_can_not_be_written_is_refused_before_anything_is_measured(world, monkeypatch, capsys, option):
    monkeypatch.setattr("deepfake_detector.report.gather.gather", lambda *_: pytest.fail("hours later, perhaps"))
    monkeypatch.chdir(world)
    assert cli.evaluate(["--data=t.csv", option]) == 2
    told = r"error: (t\.csv|/proc): (File exists|Not a directory|No such file or directory)\. Choose another place"
    assert re.search(told, capsys.readouterr().err)


def test_a_kind_with_a_source_that_there_is_not_is_refused_before_anything_takes_long(world, monkeypatch, capsys):
    monkeypatch.setattr(protocols, "run", lambda *_: pytest.fail("hours later, perhaps"))
    asked = ["--kind=greens=lake,nosuch", "--protocol=matched"]
    assert cli.evaluate([f"--model={world / 'logistic'}", f"--data={world / 't.csv'}", *asked]) == 2
    assert "--kind greens: no pictures come from nosuch; there are: diff, gan, hill, lake." in capsys.readouterr().err


def test_a_photograph_counts_once_however_many_pairs_were_made_of_it(world, tmp_path, monkeypatch):
    """Beside it the real pictures of its pairs are the same once more; without it they stand for it. What was learnt stays known."""
    whole = table.read(str(world / "t.csv"))
    photographs = np.flatnonzero(whole.rows["label"] == 0)
    made = whole.rows.iloc[photographs].assign(made_from=whole.rows["sha256"].iloc[photographs])
    real = made.assign(path=made["path"] + "#x_recon:real", sha256=made["sha256"].str[:-1] + "r")
    fake = made.assign(path=made["path"] + "#x_recon", sha256=made["sha256"].str[:-1] + "f", label=1, generator="x_recon")
    listed = pd.concat([real, fake])
    samples = (Sample("", *row) for row in listed[["path", "label", "generator", "group", "split"]].itertuples(index=False))
    vectors = np.concatenate([np.asarray(whole.X)[photographs]] * 2)
    rows = [
        table.Row(replace(one, made_from=of), sha256, x)
        for one, of, sha256, x in zip(samples, listed["made_from"], listed["sha256"], vectors, strict=True)
    ]
    table.write(tmp_path / "pairs.csv", rows, whole.spec, {"crop": "whole"}, table.columns(made=True))
    counts = []
    for data in (["t.csv"], ["t.csv", tmp_path / "pairs.csv"], [tmp_path / "pairs.csv"]):
        monkeypatch.chdir(world)
        assert cli.evaluate(["--model=logistic", "--data", *map(str, data), f"--json={tmp_path / 'r.json'}"]) == 0
        report = json.loads((tmp_path / "r.json").read_text())["detectors"]["logistic"]
        counts.append((report["overall"]["n_real"], report["overall"]["n_fake"]))
    assert counts == [(48, 48), (48, 96), (48, 48)]


def test_without_a_model_it_is_the_default_one_from_any_folder(world, monkeypatch, capsys):
    monkeypatch.chdir(world)
    assert cli.evaluate(["--data=t.csv"]) == 2
    assert "The model default takes embeddings of" in capsys.readouterr().err


def test_it_is_said_where_a_model_is_measured_on_what_it_learnt_from(world, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(world)
    assert cli.evaluate(["--model=logistic", "--data=t.csv"]) == 0
    assert "logistic learnt from 64 of these 96 pictures, so its figures flatter" in capsys.readouterr().out
    assert cli.evaluate(["--model=logistic", "--data=t.csv", "--split=test"]) == 0
    assert "flatter" not in capsys.readouterr().out
    shutil.copytree("data/real", tmp_path / "renamed/real/elsewhere")
    assert cli.evaluate(["--model=logistic", f"--data={tmp_path / 'renamed'}", "--no-cache", f"--json={tmp_path / 'r.json'}"]) == 0
    (kept,) = json.loads((tmp_path / "r.json").read_text())["detectors"]["logistic"]["promise_kept"]
    assert (kept["source"], kept["seen_in_training"]) == ("elsewhere", True), "whatever its folder is called now"


def test_of_a_split_only_its_own_pictures_are_embedded(world, monkeypatch, capsys):
    shown = []
    prepare = Encoder.prepare
    monkeypatch.setattr(Encoder, "prepare", lambda self, picture: shown.append(picture) or prepare(self, picture))
    monkeypatch.chdir(world)
    assert cli.evaluate(["--model=logistic", "--data=data", "--split=test", "--no-cache"]) == 0
    assert len(shown) == 32
    assert cli.evaluate(["--model=logistic", "--data=data", "--split=val", "--no-cache"]) == 2
    assert "no pictures in the split 'val'; there are: test, train" in capsys.readouterr().err


def test_a_protocol_figure_that_is_undefined_is_printed_as_a_dash(world, monkeypatch, capsys):
    undefined = {"held_out": "gan", "n": 3, "auroc": None, "tpr_at_5_fpr": None, "intervals": {"auroc": None}}
    done = {"protocol": "matched", "head": "svm", "encoder": "none", "mean_auroc": None, "rows": [undefined], "not_left_out": ["diff"]}
    done |= {"left_out_together": []}
    monkeypatch.setattr(protocols, "run", lambda *_: done)
    assert cli.evaluate([f"--data={world / 't.csv'}", "--protocol=matched"]) == 0
    printed = capsys.readouterr().out
    assert "AUROC –  found at 5 % FPR" in printed
    assert "matched says nothing of diff: without it" in printed


def test_what_is_to_be_known_of_a_protocol_is_told_once_for_all_models(world, tmp_path, monkeypatch):
    bundle.save(train.train(table.read(str(world / "t.csv")), "knn", "near").bundle, tmp_path / "near")
    done = {"protocol": "matched", "not_left_out": ["diff"], "left_out_together": []}
    monkeypatch.setattr(protocols, "run", lambda *_, **__: done)
    models = [str(world / "logistic"), str(tmp_path / "near")]
    asked = Request(models, [str(world / "t.csv")], lambda _: Embedder(Encoder()), lambda _: lambda _: None, protocols=["matched"])
    content = gather(asked)
    assert content.protocols == [done, done]
    assert sum("matched says nothing of diff" in note for note in content.notes) == 1


def test_protocols_take_several_tables_as_one(world, tmp_path, capsys):
    whole = table.read(world / "t.csv")
    for name, part in (("a", whole.rows["label"] == 0), ("b", whole.rows["label"] == 1)):  # neither could be learnt from alone
        one = whole.take(part.to_numpy())
        samples = [Sample("", *row) for row in one.rows[["path", "label", "generator", "group", "split"]].itertuples(index=False)]
        rows = (table.Row(sample, sha256, x) for sample, sha256, x in zip(samples, one.rows["sha256"], one.X, strict=True))
        table.write(tmp_path / f"{name}.csv", rows, one.spec, {"crop": "whole"})
    protocol = ["--protocol=leave-one-generator-out", "--head=logistic"]
    assert cli.evaluate(["--data", str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), *protocol]) == 0
    together = capsys.readouterr().out
    assert cli.evaluate([f"--data={world / 't.csv'}", *protocol]) == 0
    assert re.findall(r"AUROC \d\.\d", together) == re.findall(r"AUROC \d\.\d", capsys.readouterr().out)


ROWS = pd.DataFrame(
    {"path": ["a", "b", "c", "d"], "label": [0, 0, 1, 1], "generator": ["s", "s", "g", "g"], "group": list("wxyz"), "sha256": list("1234")}
)


@pytest.fixture(scope="module")
def twins(world, tmp_path_factory):
    """Two folders whose pictures have the same names, in the second each is another one; a table of each, and scores for the first."""
    root = tmp_path_factory.mktemp("twins")
    for name, shift in (("one", 0), ("two", 1000)):
        for label, kind in enumerate(("real/lake", "fake/gan")):
            for i in range(4):
                draw(root / name / kind / f"{i}.png", label, shift + i)
        extract(scan(root / name), Embedder(Encoder()), str(root / f"{name}.csv"))
    pd.DataFrame({"path": [s.name for s in scan(root / "one").samples], "p_fake": 0.5}).to_csv(root / "peer.csv", index=False)
    return root


@pytest.mark.parametrize(
    ("data", "more"),
    [
        ("one two", ["--out=r"]),
        ("one two.csv", ["--out=r"]),
        ("one.csv two.csv", ["--pictures=one", "--out=r"]),
        ("one.csv two.csv", ["--scores=peer=peer.csv"]),
    ],
)
def test_one_name_for_two_pictures_is_refused(world, twins, monkeypatch, capsys, data, more):
    monkeypatch.chdir(twins)
    assert cli.evaluate([f"--model={world / 'logistic'}", "--data", *data.split(), "--no-cache", *more]) == 2
    said = capsys.readouterr().err
    assert "0.png' stands for different pictures in " in said
    assert all(place in said for place in data.split())


def test_the_same_picture_in_two_places_is_one_and_tables_alone_may_share_names(world, twins, monkeypatch, capsys):
    """As a photograph, and its copy among pairs made of it, do."""
    monkeypatch.chdir(twins)
    shutil.copytree("one", "again")
    for data, pictures in (("one again one.csv", 8), ("one.csv two.csv", 16), ("one two", 16)):
        assert cli.evaluate([f"--model={world / 'logistic'}", "--no-cache", "--data", *data.split()]) == 0
        assert f"{pictures} pictures, 0 skipped" in capsys.readouterr().out


def test_clips_of_one_name_are_not_pooled_as_one(world, tmp_path, capsys):
    spec, tables = Encoder().spec, [str(tmp_path / f"{name}.csv") for name in "ab"]
    for place in tables:
        samples = [Sample("", f"{label}.mp4#t=0", label, "x", f"{label}", video=f"{label}.mp4", time=0.0) for label in (0, 1)]
        rows = [table.Row(sample, f"{place}{sample.label}", np.zeros(spec.dim, np.float32)) for sample in samples]
        table.write(place, rows, spec, {"crop": "whole"}, table.columns(video=True))
    assert cli.evaluate([f"--model={world / 'logistic'}", "--data", *tables]) == 2
    assert "'0.mp4#t=0' stands for different pictures" in capsys.readouterr().err


def test_figures_of_frames_are_called_so_and_whole_clips_stand_beside_them(world, tmp_path):
    rng, spec, rows = np.random.default_rng(0), Encoder().spec, []
    for clip in range(12):
        label, name = clip % 2, f"{clip}.mp4"
        for i in range(3):
            sample = Sample("", f"{name}#t={i}", label, "camera" if label == 0 else "swap", name, video=name, time=float(i))
            rows.append(table.Row(sample, f"s{clip}", rng.random(spec.dim, np.float32)))
    table.write(str(tmp_path / "frames.csv"), rows, spec, {"crop": "whole"}, table.columns(video=True))
    assert cli.evaluate([f"--model={world / 'logistic'}", f"--data={tmp_path / 'frames.csv'}", f"--out={tmp_path / 'r'}"]) == 0
    card, page = (tmp_path / "r" / "model_card.md").read_text(), (tmp_path / "r" / "report.html").read_text()
    assert "18 real and 18 fake frames" in card
    for text in (card, page):
        assert re.search(r"Whole clips\W+(/strong> )?\(6 real, 6 fake", text)


def test_a_folder_is_audited_by_its_own_pictures(world, twins, monkeypatch):
    monkeypatch.chdir(twins)
    content = gather(Request([str(world / "logistic")], ["one"], lambda _: Embedder(Encoder()), lambda _: lambda _: None, pictures="two"))
    assert set(content.files.values()) == {sample.path for sample in scan("one").samples}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--scores=logistic=peer.csv"], "called 'logistic'"),
        (["--model=logistic"], "called 'logistic'"),
        (["--scores=a=peer.csv", "--scores=a=other.csv"], "received a=peer.csv and a=other.csv"),
        (["--kind=a=lake", "--kind=a=hill"], "received a=lake and a=hill"),
        (["--kind=lake"], "faces=ffhq,sd21; received 'lake'"),
    ],
)
def test_a_name_that_is_given_twice_is_refused(world, monkeypatch, capsys, given, said):
    monkeypatch.chdir(world)
    assert cli.evaluate(["--model=logistic", "--data=t.csv", *given]) == 2
    assert said in capsys.readouterr().err


def test_scores_from_elsewhere_are_checked(tmp_path):
    def scores(text):
        (tmp_path / "s.csv").write_text(text)
        return read_scores("peer", tmp_path / "s.csv", ROWS)

    found = scores("path,p_fake\nc,0.9\na,0.1\nelse,0.5\nb,\n")
    assert found.rows["path"].tolist() == ["a", "c"]
    assert found.p_fake.tolist() == [0.1, 0.9]
    for text in ("path,p_fake\n/my/data/c,0.9\n/my/data/a,0.1\n/my/else,0.5\n", "path,p_fake\ndata\\c,0.9\ndata\\a,0.1\n"):
        assert scores(text).p_fake.tolist() == [0.1, 0.9]
    (tmp_path / "s.csv").write_text("path,p_fake\n002,0.1\n2,0.9\n")
    assert read_scores("peer", tmp_path / "s.csv", ROWS.assign(path=["2", "002", "3", "4"])).p_fake.tolist() == [0.9, 0.1]
    nested = ROWS.assign(path=["1.jpg", "b.jpg", "sub/1.jpg", "sub/d.jpg"])  # what is found of one must not be taken for another
    (tmp_path / "s.csv").write_text("path,p_fake\n/x/else/1.jpg,0.5\n/x/data/1.jpg,0.1\n/x/data/sub/1.jpg,0.9\n/x/data/b.jpg,0.3\n")
    assert read_scores("peer", tmp_path / "s.csv", nested).p_fake.tolist() == [0.1, 0.3, 0.9]
    (tmp_path / "s.csv").write_text("path,p_fake\nb.jpg,0.3\nelse/1.jpg,0.9\n")
    assert read_scores("peer", tmp_path / "s.csv", nested).p_fake.tolist() == [0.3], "where one is there as it is, so are all"
    (tmp_path / "s.csv").write_text("path,p_fake\ndata\\c,0.9\ndata\\a,0.1\n")
    absolute = read_scores("peer", tmp_path / "s.csv", ROWS.assign(path=[f"/x/data/{name}" for name in "abcd"]))
    assert absolute.p_fake.tolist() == [0.1, 0.9]
    for text, message in (
        ("path,score\na,1\n", "needs the columns"),
        ("path;p_fake\na;1\n", "needs the columns path and p_fake, separated by commas; it has: path;p_fake"),
        ("path,p_fake\na,1.5\n", "0..1"),
        ("path,p_fake\na,1\na,0\n", "twice"),
        ("path,p_fake\nz,1\n", "none of these"),
    ):
        with pytest.raises(TableError, match=message):
            scores(text)


def test_common_pictures_are_those_of_everyone():
    a, b = Scored("a", ROWS, np.array([0.1, 0.2, 0.8, 0.9])), Scored("b", ROWS[:3], np.array([0.3, 0.4, 0.5]))
    both, left_out = on_common_pictures([a, b])
    assert left_out == 1
    assert [d.p_fake.tolist() for d in both] == [[0.1, 0.2, 0.8], [0.3, 0.4, 0.5]]
    faces = replace(a, regions=(ROWS.iloc[[3, 0, 0, 2]], np.array([0.9, 0.1, 0.0, 0.8])), families=ROWS[2:].assign(answer="GAN"))
    [of_faces, _], _ = on_common_pictures([faces, b])
    assert (of_faces.regions[0]["path"].tolist(), of_faces.regions[1].tolist()) == (["a", "a", "c"], [0.1, 0.0, 0.8])
    assert of_faces.families["path"].tolist() == ["c"]
    paired = Scored("c", ROWS.assign(group=list("wxwx")), np.zeros(4))
    assert on_common_pictures([a, paired])[0][0].rows["group"].tolist() == list("wxwx")
    with pytest.raises(TableError, match="differently"):
        on_common_pictures([a, Scored("c", ROWS.assign(label=[1, 0, 1, 1]), np.zeros(4))])
    with pytest.raises(TableError, match="No picture"):
        on_common_pictures([a, Scored("c", ROWS.assign(path=list("klmn")), np.zeros(4))])


def test_a_better_detector_is_seen_to_be_better():
    rng = np.random.default_rng(0)
    n = 200
    origin = np.where(np.arange(n) % 2, np.where(np.arange(n) % 4 == 1, "g", "h"), "x")
    origin[1] = "f"
    rows = pd.DataFrame(
        {"path": range(n), "label": np.arange(n) % 2, "generator": origin, "group": range(n), "sha256": [f"s{i}" for i in range(n)]}
    )
    good, bad = (np.clip(rng.normal(0.3 + gap * rows["label"], 0.2), 0, 1) for gap in (0.5, 0.1))
    good[origin == "h"] = bad[origin == "h"]
    overall, alone, of_g, of_h = compare([Scored("good", rows, good), Scored("bad", rows, bad)])
    assert [(one["on"], one["n"]) for one in (overall, alone, of_g, of_h)] == [("overall", 200), ("f", 101), ("g", 149), ("h", 150)]
    for found in (overall, of_g):
        assert found["interval"][0] > 0
        assert found["delong_p"] < 0.01
    assert of_g["difference"] > overall["difference"] > of_h["difference"]
    assert (alone["interval"], alone["delong_p"]) == (None, None), "one fake tells nothing of others"
    assert compare([Scored("a", rows, bad), Scored("b", rows.assign(group=0), bad)])[0]["difference"] == 0
    of_one_clip = compare([Scored("a", rows.assign(group=0), one) for one in (good, bad)])[0]
    assert (of_one_clip["difference"], of_one_clip["interval"], of_one_clip["delong_p"]) == (overall["difference"], None, None)


def test_a_promise_is_kept_broken_or_open():
    sources = ["kept"] * 100 + ["broken"] * 100 + ["open"] * 12 + ["few"] * 9 + ["single"]
    rows = pd.DataFrame({"label": 0, "generator": sources, "group": range(222)})
    p = np.concatenate([np.zeros(98), np.ones(2), np.zeros(70), np.ones(30), np.zeros(11), np.ones(1), np.zeros(9), np.ones(1)])
    found = {one["source"]: one for one in promise_kept(rows, p, Thresholds(0.4, 0.6), 0.05, {"kept"})}
    assert {name: one["answer"] for name, one in found.items()} == {
        "kept": "kept",
        "broken": "broken",
        "open": "can't tell",
        "few": "can't tell",
        "single": "can't tell",
    }
    assert found["single"]["interval"] is None
    assert found["kept"]["seen_in_training"]
    assert not found["open"]["seen_in_training"]
    assert found["broken"]["upper_bound"] > 0.3


def test_a_tiny_p_value_is_not_shown_as_none(undrawn, tmp_path):
    labels = np.arange(200) % 2
    rows = pd.DataFrame({"path": labels, "label": labels, "generator": "x", "group": range(200), "sha256": range(200)})
    guesses = np.random.default_rng(0).random(200)
    report = build.write(build.Content([Scored("good", rows, 0.2 + 0.6 * labels), Scored("bad", rows, guesses)]), tmp_path)
    assert 0 < report["comparison"][0]["delong_p"] < 1e-6
    page = (tmp_path / "report.html").read_text()
    assert "<td>&lt; 0.001</td>" in page
    assert "<td>0.000</td>" not in page


def titles(text):
    """Those of all tables' columns but the first, in HTML or Markdown."""
    heads = re.findall(r"^\|.*(?=\n\|--)", text, re.M)
    return {*re.findall(r"<th>(.*?)</th>", text), *(title.strip() for head in heads for title in head.split("|")[2:-1])}


def test_a_column_in_which_no_row_has_a_figure_is_left_out(undrawn, tmp_path):
    """Whatever table it is in: of those of generators where nothing is paired, or where all are fakes."""
    p, manifest = np.array([0.1, 0.2, 0.8, 0.9]), {"head": "svm", "encoder": Encoder().spec.to_json()}
    pages, cards = {}, {}
    for name, rows in {"alone": ROWS, "paired": ROWS.assign(group=list("wxwx")), "fakes": ROWS.assign(label=1, generator="–")}.items():
        build.write(build.Content([Scored(one, rows, p, manifest=manifest) for one in "ab"]), tmp_path / name)
        pages[name], cards[name] = ((tmp_path / name / file).read_text() for file in ("report.html", "model_card_a.md"))
    always = {"called fake", "unsure", "called real"}  # a share of none is a figure
    of_pages, of_cards = ({name: titles(text) for name, text in texts.items()} for texts in (pages, cards))
    assert {"a, against its own reals", "found at 5 % FPR", *always} <= of_pages["paired"]
    assert of_pages["alone"] - of_pages["paired"] == {"p (DeLong)"}
    assert of_pages["paired"] - of_pages["alone"] == {"a, against its own reals", "b, against its own reals"}
    assert {"against its own reals", "fakes found at 5 % FPR", *always} <= of_cards["paired"]
    assert of_cards["paired"] - of_cards["alone"] == {"against its own reals"}
    assert of_cards["alone"] - of_cards["fakes"] == {"AUROC", "fakes found at 5 % FPR"}
    assert not {"AP", "EER", "found at 5 % FPR"} & of_pages["fakes"]
    assert "<td>–</td><td>4</td><td>0.500" in pages["fakes"], "the first column names the rows, whatever their name"
    for table_of in re.findall(r"(?:^\|.*\n)+", cards["alone"], re.M):
        assert len({line.count("|") for line in table_of.splitlines()}) == 1, table_of


def test_frames_of_one_clip_do_not_make_a_promise_broken():
    """Sixteen frames of one of eight clips are one error in eight, which 5 % may well bring."""
    rows = pd.DataFrame({"label": 0, "generator": "camera", "group": np.arange(8).repeat(16)})
    p = np.concatenate([np.ones(16), np.zeros(112)])
    (found,) = promise_kept(rows, p, Thresholds(0.4, 0.6), 0.05, {})
    assert found["upper_bound"] == pytest.approx(clopper_pearson(1, 8))
    assert found["answer"] == "can't tell"


def test_a_promise_says_in_how_many_groups_its_pictures_came():
    promise = {"pictures": {"real": 640, "fake": 30}, "groups": {"real": 40, "fake": 30}}
    assert [counted(promise, label) for label in ("real", "fake")] == ["640 in 40 groups", "30"]
    assert counted({"pictures": {"real": 640}}, "real") == "640"


def test_the_most_suspicious_region_decides_for_a_picture():
    rows = ROWS.iloc[[0, 0, 1, 2]]
    pictures, p = per_picture(rows, np.array([0.1, 0.7, 0.2, 0.9]))
    assert pictures["path"].tolist() == ["a", "b", "c"]
    assert p.tolist() == [0.7, 0.2, 0.9]


def test_one_class_alone_is_measured_as_far_as_it_goes(tmp_path):
    reals = ROWS[:2].reset_index(drop=True)
    scores = evaluate_scores(reals, np.array([0.1, 0.9]), Thresholds(0.4, 0.6))
    assert scores["overall"]["auroc"] is None
    assert scores["real_sources"]["s"]["fake"] == 0.5
    build.write(build.Content([Scored("only reals", reals, np.array([0.1, 0.9]))]), tmp_path)
    assert "–" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("label", ["real", "fake"])
def test_a_folder_of_one_class_alone_gets_a_report(world, tmp_path, label):
    shutil.copytree(world / "data" / label, tmp_path / "data" / label)
    assert cli.evaluate([f"--model={world / 'logistic'}", f"--data={tmp_path / 'data'}", "--no-cache", f"--out={tmp_path / 'r'}"]) == 0
    page = (tmp_path / "r" / "report.html").read_text().replace("&#39;", "'")
    assert "can't be told: each class needs at least 15 pictures" in page
    assert "<th>real, fake</th>" not in page, "a table without a row"
    assert ("Shortcut audit" in page) == ("Control: real against real" in page)


def test_a_source_of_one_group_is_compared_and_printed_without_an_interval(tmp_path):
    """Two clips' frames of one group, a single picture: figures, but nothing that tells how others would vary."""
    rows = ROWS.assign(group=list("wwww"))
    p = np.array([0.1, 0.2, 0.8, 0.9])
    content = build.Content([Scored("one", rows, p, manifest={"promise": {"false_positive_rate": 0.05}}), Scored("two", rows, p[::-1])])
    report = build.write(content, tmp_path)
    assert {one["interval"] for one in report["comparison"]} == {None}
    assert report["detectors"]["one"]["promise_kept"][0]["interval"] is None
    assert "| s | no | 2 | 5.0 % | 0.0 % |" in (tmp_path / "model_card.md").read_text()
    of_one_name = replace(content.detectors[0], rows=rows.assign(generator="s"))
    known = build.measure(build.Content([of_one_name], learnt={"one": (rows["label"] == 1).to_numpy()}))["detectors"]["one"]
    assert not known["promise_kept"][0]["seen_in_training"], "of its pictures fakes alone were learnt"


def test_what_is_printed_of_a_generator_colours_no_terminal(capsys):
    rows = ROWS.assign(generator=ROWS["generator"].replace("g", "\033[31mg"))
    p = np.array([0.1, 0.2, 0.8, 0.9])
    evaluation._print(build.measure(build.Content([Scored("one", rows, p), Scored("two", rows, p)])))
    row = {"held_out": "\033[31mg", "n": 1, "fake": 0.0, "unsure": 0.0, "real": 1.0, "interval": None, "answer": "kept"}
    promise = {"promised": 0.1, "tolerated": 1.5, "kept": 1, "wrong": "real", "rows": [row | {"promised_of_new": False}]}
    print_protocols([{"protocol": "promise-unseen-generator", "head": "logistic", "encoder": "e"} | promise])
    printed = capsys.readouterr().out
    assert r"AUROC of one less two, \x1b[31mg: " in printed
    assert r"Without \x1b[31mg too few generators were left" in printed
    assert "\033" not in printed


def test_answers_that_change_are_counted_and_those_that_come_to_be_wrong():
    labels = np.array([0, 0, 0, 0, 1, 1, 1])
    before = np.array(["real", "unsure", "fake", "real", "fake", "unsure", "real"])
    after = np.array(["fake", "fake", "fake", "unsure", "real", "real", "real"])
    assert _flips(labels, before, after) == {"real_changed": 3 / 4, "real_flipped": 2 / 4, "fake_changed": 2 / 3, "fake_flipped": 2 / 3}
    assert _flips(labels[:4], before[:4], after[:4])["fake_flipped"] is None


def test_pictures_of_one_group_are_degraded_without_intervals(world):
    samples = [replace(sample, group="clip") for sample in scan(world / "data").samples[::16]]
    views = robustness(bundle.load(world / "logistic"), samples, Embedder(Encoder()))["views"]
    assert {view["intervals"]["auroc"] for view in views.values()} == {None}
    assert all(view["auroc"] is not None for view in views.values())


def test_the_card_says_how_many_degraded_copies_were_learnt_from(world, full, tmp_path):
    manifest_file = shutil.copytree(world / "logistic", tmp_path / "m") / "manifest.json"
    manifest = json.loads(manifest_file.read_text())
    manifest["training"]["views"] = 7
    manifest_file.write_text(json.dumps(manifest))
    assert cli.evaluate(["--model", str(tmp_path / "m"), "--data", str(world / "t.csv"), "--out", str(tmp_path / "r")]) == 0
    words = "not recorded |\n\nAnd on 7 degraded copies of these, each of which counts a fifth of a picture.\n\n## Measured"
    assert words in (tmp_path / "r/model_card.md").read_text()
    assert "degraded copies of these" not in (full / "model_card_logistic.md").read_text()


def test_a_manifest_that_says_little_still_makes_a_card(undrawn, tmp_path):
    p = np.array([0.1, 0.2, 0.8, 0.9])
    for manifest in ({"head": "svm", "encoder": Encoder().spec.to_json()}, {"promise": {"false_positive_rate": 0.05}}):
        build.write(build.Content([Scored("old", ROWS, p, manifest=manifest)]), tmp_path)
        assert "Not recorded" in (tmp_path / "model_card.md").read_text()


def test_page_and_card_say_why_there_is_no_audit(world, tmp_path):
    rows = [f"{s.path},{s.label},{s.name if s.label else 'one'}" for s in scan(world / "data").samples]
    (tmp_path / "d.csv").write_text("\n".join(["path,label,group", *rows]))
    assert cli.evaluate([f"--model={world / 'logistic'}", f"--data={tmp_path / 'd.csv'}", "--no-cache", f"--out={tmp_path / 'r'}"]) == 0
    for file in ("report.html", "model_card.md"):
        assert (
            "Each class needs at least two groups to learn from, so that one can be kept apart; add pictures."
            in (tmp_path / "r" / file).read_text()
        )
        assert "not at hand" not in (tmp_path / "r" / file).read_text()


def test_models_of_the_same_name_have_their_cards_in_the_folder_of_the_report(undrawn, tmp_path):
    p, manifest = np.array([0.1, 0.2, 0.8, 0.9]), {"head": "svm", "encoder": Encoder().spec.to_json()}
    build.write(build.Content([Scored(name, ROWS, p, manifest=manifest) for name in ("m/a/x", "../../b/x")]), tmp_path / "in" / "r")
    assert {f.name for f in tmp_path.rglob("*.md")} == {"model_card_m_a_x.md", "model_card_.._.._b_x.md"}
    assert all(f.parent == tmp_path / "in" / "r" for f in tmp_path.rglob("*.md"))


def test_models_whose_names_differ_in_what_no_file_may_have_each_get_a_card(undrawn, tmp_path):
    manifest = {"head": "svm", "encoder": Encoder().spec.to_json()}
    build.write(build.Content([Scored(name, ROWS, np.full(4, 0.5), manifest=manifest) for name in ("a/x", "a_x", "a?x")]), tmp_path)
    assert {f.name for f in tmp_path.glob("*.md")} == {"model_card_a_x.md", "model_card_a_x_.md", "model_card_a_x__.md"}


def test_names_cannot_put_markup_or_cells_into_the_card_nor_formulas_into_a_drawing(tmp_path):
    rows = ROWS.assign(generator=["a|b <script>x", "s", "sd|1.5 <img src=x>", "g"])
    manifest = {"head": "svm", "encoder": Encoder().spec.to_json()}
    build.write(build.Content([Scored("m$_^$", rows, np.array([0.9, 0.2, 0.8, 0.1]), manifest=manifest)]), tmp_path)
    card = (tmp_path / "model_card.md").read_text()
    assert "<script" not in card
    assert "<img" not in card
    for table_of in re.findall(r"(?:^\|.*\n)+", card, re.M):
        assert len({line.count("|") for line in table_of.splitlines()}) == 1, table_of


def test_names_of_files_cannot_put_markup_into_the_page(undrawn, tmp_path):
    rows = ROWS.assign(path=["<script>alert(1)</script>", "b", "c", "d"], generator=["<b>s</b>", "s", "g", "g"])
    build.write(build.Content([Scored("x", rows, np.array([0.9, 0.2, 0.8, 0.1]))]), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page
    assert "<b>s" not in page


def test_weaknesses_are_named_or_their_absence_is_not_boasted_of():
    p = np.array([0.9, 0.95, 0.05, 0.9])
    found = " ".join(weaknesses(evaluate_scores(ROWS, p, Thresholds(0.4, 0.6)), [], None, {}))
    assert "photographs poorly: g" in found
    assert "100 % of s" in found
    paired = evaluate_scores(ROWS.assign(group=list("wxwx")), np.array([0.9, 0.9, 0.1, 0.1]), Thresholds(0.4, 0.6))
    assert "the same content it does worse than its other figures suggest: g (AUROC 0.00)." in " ".join(weaknesses(paired, [], None, {}))
    good = weaknesses(evaluate_scores(ROWS, np.array([0.1, 0.1, 0.9, 0.9]), Thresholds(0.4, 0.6)), [], None, {})
    assert good == ["Nothing in these figures stands out as bad; what is not in this data has not been measured."]
    scores = evaluate_scores(ROWS, np.array([0.1, 0.5, 0.55, 0.9]), Thresholds(0.4, 0.6))
    promise = [{"answer": "broken", "promised": 0.05, "delivered": 0.3, "source": "s"}, {"answer": "kept", "delivered": 0.0, "source": "t"}]
    figures = {"as it is": (0.99, 0.0), "jpeg90": (0.95, 0.05), "blur1": (0.9, 0.2), "half": (0.6, 0.5), "phone": (None, None)}
    views = {name: {"auroc": area, "real_flipped": flipped} for name, (area, flipped) in figures.items()}
    said = weaknesses(scores, promise, {"views": views}, {})
    told = (
        "5 % .* 30.0 % on s.",
        "unsure about 50 %",
        "0.99 to 0.60 under half and 0.90 under blur1.",
        "50 % under half and 20 % under blur1.",
    )
    assert all(re.search(figure, one) for figure, one in zip(told, said, strict=True))


def test_a_model_that_is_good_at_what_it_knows_says_how_far_it_gets_with_what_is_new():
    scores = evaluate_scores(ROWS, np.array([0.1, 0.1, 0.9, 0.9]), Thresholds(0.4, 0.6))
    tried = [{"settings": {"C": 1}, "unseen_auroc": 0.95}, {"settings": {"C": 2}, "unseen_auroc": 0.693}]
    (said,) = weaknesses(scores, [], None, {"training": {"settings": {"C": 2}, "settings_tried": tried}})
    assert "AUROC 0.69 on average" in said
    (said,) = weaknesses(scores, [], None, {"training": {"settings": {"C": 1}, "settings_tried": tried}})
    assert "Nothing in these figures" in said
    shares = (("a", 0.1), ("bc", 0.25), ("d", 0.5))
    runs = [{"generators": [*name], "sources": ["s"], "fakes": {"called_real": share}} for name, share in shares]
    (said,) = weaknesses(scores, [], None, {"training": {"settings": {}, "left_out": runs}})
    assert "called many fakes real: 50 % of d and 25 % of b and c." in said
    runs = [one | {"generators": []} for one in runs]
    (said,) = weaknesses(scores, [], None, {"training": {"settings": {}, "left_out": runs}})
    assert "how it does on new ones was not measured" in said
    assert tuned_on_too_few({"left_out": runs}) == [said]


def test_what_a_model_keeps_of_pictures_from_elsewhere_is_on_its_card_and_page(world, tmp_path, capsys):
    shutil.copytree(world / "other", tmp_path / "m")
    asked = [f"--model={tmp_path / 'm'}", f"--data={world / 't.csv'}"]
    assert cli.evaluate([*asked, "--split=test", "--keep-as=phones, 2026"]) == 0
    assert cli.evaluate([*asked, "--split=train", "--keep-as=known"]) == 0
    assert cli.evaluate([*asked, "--split=test", "--keep-as=phones, 2026", f"--out={tmp_path / 'r'}"]) == 0
    assert "keeps this as" in capsys.readouterr().out
    kept = bundle.load(tmp_path / "m")
    figures = kept.manifest["elsewhere"]
    assert list(figures) == ["phones, 2026", "known"]
    measured = json.loads((tmp_path / "r" / "report.json").read_text())["detectors"]["m"]
    new = figures["phones, 2026"]
    assert new["auroc"] == measured["overall"]["auroc"]
    assert (new["real"]["n"], new["fake"]["n"], new["learnt_from"]) == (16, 16, 0)
    sources = measured["real_sources"].values()
    assert new["real"]["unsure"] == pytest.approx(sum(s["n"] * s["unsure"] for s in sources) / 16)
    assert figures["known"]["learnt_from"] > 0
    for text in ((tmp_path / "r" / "model_card.md").read_text(), describe(kept.manifest)):
        assert "phones, 2026" in text
    assert "learnt from" in (tmp_path / "r" / "model_card.md").read_text().split("elsewhere")[1]
    pd.DataFrame({"path": table.read(str(world / "t.csv")).rows["path"], "p_fake": 0.5}).to_csv(tmp_path / "peer.csv", index=False)
    with patch.object(evaluation, "_write_json", side_effect=KeyboardInterrupt):  # it may be cut short, as by `… | head`
        assert cli.evaluate([*asked, f"--scores=peer={tmp_path / 'peer.csv'}", "--keep-as=beside a peer"]) == 130
    assert "beside a peer" in bundle.load(tmp_path / "m").manifest["elsewhere"]


def test_a_model_that_hardly_answers_or_has_never_seen_a_kind_of_fake_says_so():
    scores = evaluate_scores(ROWS, np.array([0.1, 0.1, 0.9, 0.9]), Thresholds(0.3, 0.95))
    found = weaknesses(scores, [], None, {"training": {"train": {"fake": {"sd21": 9, "progan": 9, "who knows": 9}}}})
    assert "It hardly ever says fake: of 0 of the 2 pictures that are." in found
    many, labels = range(40), np.repeat([0, 1], 20)
    rows = pd.DataFrame({"path": many, "label": labels, "generator": np.where(labels, "g", "s"), "group": many, "sha256": many})
    once = evaluate_scores(rows, np.r_[np.full(20, 0.1), np.full(19, 0.5), 0.99], Thresholds(0.3, 0.95))
    assert "It hardly ever says fake: of 1 of the 20 pictures that are." in weaknesses(once, [], None, {})
    never = " ".join(weaknesses(evaluate_scores(ROWS, np.array([0.1, 0.1, 0.9, 0.9]), Thresholds(0.0, 1.0)), [], None, {}))
    assert never.startswith("It never says fake or real: it was trained on too few pictures")
    assert "hardly ever" not in never
    assert (
        "As far as names tell, it learnt from no fakes of these kinds: pixel diffusion (such as DALL·E 2), autoregressive (such as Janus) "
        "and face swap (such as DeepFaceLab)."
    ) in found
    assert not any("no fakes of these" in one for one in weaknesses(scores, [], None, {"training": {"train": {"fake": {"g": 9}}}}))


def test_of_an_answer_that_is_never_given_nothing_is_promised():
    promise = {"false_positive_rate": 0.05, "false_negative_rate": 0.1, "real_pictures_from": "here", "fakes_from": "there"}
    fake, real = promised(Thresholds(0.3, 0.7), promise)
    assert fake == "Promised: at most 5 % of real pictures called fake (measured on here)."
    assert real == "Promised: at most 10 % of fakes called real (measured on there)."
    never, same = promised(Thresholds(0.3, 1.0), promise)
    assert (same, never.startswith("It will never say fake: "), "It takes 59 real pictures" in never) == (real, True, True)
    assert promised(Thresholds(0.0, 0.7), promise)[1].startswith("It will never say real: that at most 10 % of fakes")


def test_a_model_says_what_it_was_taught_and_by_how_many_frames_it_answers_about_clips():
    taught = {"shown": [{"n": 12, "label": "real", "name": "phone"}], "adapted_from": "base"}
    assert "It is base, which has also learnt 12 real pictures of phone." in bad_at({"training": taught})[0]
    coded, again = ({"promise": {"pictures": {"real": real, "fake": fake}}} for real, fake in ((1000, 20), (5, 6)))
    looks = {"found": {"clip0": 0.9}, "mistaken": 0.012, "doubted": [True]}
    calibrated, known, doubted = of_clips_too({"clips": {"clip0": coded, "clip0+jpeg90": again}, "looks_filmed": looks})
    assert "1,000 frames of clips of real pictures and 20 of fakes" in calibrated
    assert "90.0 % of frames of clips, and 1.2 % of other pictures" in known
    assert "fake only if" in doubted
    assert len(of_clips_too({"clips": {"clip0": coded}, "looks_filmed": looks | {"doubted": []}})) == 2
    assert "5 frames" in of_clips_too({"clips": {"clip0+jpeg90": again}})[0]


def test_what_is_bad_elsewhere_is_among_the_weaknesses():
    scores = evaluate_scores(ROWS, np.array([0.1, 0.1, 0.9, 0.9]), Thresholds(0.4, 0.6))
    good = {
        "auroc": 0.95,
        "real": {"n": 9, "fake": 0.0, "unsure": 0.5, "real": 0.5},
        "fake": {"n": 9, "fake": 0.5, "unsure": 0.5, "real": 0.0},
    }
    bad = {
        "auroc": 0.6,
        "real": {"n": 9, "fake": 0.3, "unsure": 0.7, "real": 0.0},
        "fake": {"n": 9, "fake": 0.2, "unsure": 0.3, "real": 0.5},
    }
    reals_alone = {"auroc": None, "real": good["real"], "fake": {"n": 0, "fake": None, "unsure": None, "real": None}}
    said = " ".join(weaknesses(scores, [], None, {"elsewhere": {"A": good, "B": bad, "C": reals_alone}}))
    assert "less well: B (AUROC 0.60)." in said
    assert "many real: 50 % of the fakes in B." in said
    assert "many fake: 30 % of the real pictures in B." in said
    (said,) = weaknesses(scores, [], None, {"elsewhere": {"A": good, "C": reals_alone}})
    assert "Nothing in these figures" in said


def test_the_page_says_where_all_that_was_tested_had_been_learnt_from(model):
    manifest = bundle.load(model).manifest
    told = describe(manifest)
    assert "new ones fare worse" in told
    assert all(f"\n- {line}\n" in told for line in promised(Thresholds(**manifest["thresholds"]), manifest["promise"]))
    fewer = manifest["training"] | {"train": {"real": {}, "fake": {}}}
    assert "new ones fare worse" not in describe(manifest | {"training": fewer})
