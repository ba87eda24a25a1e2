"""The family of a fake's generator is told where that holds for generators never learnt from, and nowhere else."""

from __future__ import annotations

import json
import logging
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from deepfake_detector import bundle, cli, family_head, table
from deepfake_detector.bundle import Bundle
from deepfake_detector.detect import Detector
from deepfake_detector.encoders.colour_histogram import Encoder
from deepfake_detector.errors import BundleError
from deepfake_detector.panel import Panel
from deepfake_detector.report import gather
from deepfake_detector.train import train
from deepfake_detector.types import UNKNOWN, VIEW, Embeddings, Sample, Thresholds
from deepfake_detector.ui.verdict_card import card
from tests.clips import draw_clip
from tests.conftest import json_lines

THREE = {
    "GAN": ("progan", "stylegan", "biggan"),
    "latent diffusion": ("sd21", "sdxl", "ldm", "flux"),
    "pixel diffusion": ("adm", "glide", "if"),
}
DIM = Encoder().spec.dim


def planted(shared: float, own: float, families=THREE, each: int = 30, groups=None, seed: int = 0) -> Embeddings:
    """Reals, and fakes of each generator that lie off them by a direction of the family and one of the generator's own."""
    rng = np.random.default_rng(seed)
    X, generator = [rng.normal(size=(60, DIM))], ["camera"] * 60
    for names in families.values():
        of_family = shared * rng.normal(size=DIM)
        for name in names:
            X.append(rng.normal(size=(each, DIM)) + of_family + own * rng.normal(size=DIM) + 1)
            generator += [name] * each
    n = len(generator)
    rows = pd.DataFrame({"path": [f"{i}.png" for i in range(n)], "label": [int(name != "camera") for name in generator]})
    rows = rows.assign(generator=generator, group=groups or rows["path"], split="", sha256=rows["path"])
    return Embeddings(rows, np.concatenate(X).astype(np.float32), Encoder().spec, "whole")


@pytest.fixture(scope="module")
def told() -> Bundle:
    """A model trained on three families that share a direction each."""
    return train(planted(1, 0.5), "logistic", "told").bundle


def test_families_that_generators_share_are_learnt_measured_and_kept(told):
    head = told.family
    assert head.families == head.told == list(THREE)
    assert set(head.lines) == {"ProGAN", "StyleGAN", "BigGAN", "Stable Diffusion 1 and 2", "Stable Diffusion XL", "LDM", "FLUX"} | {
        "ADM",
        "GLIDE",
        "DeepFloyd IF",
    }
    assert set(head.held_out) == set(head.lines)
    assert head.balanced_accuracy > 0.9
    assert head.interval[0] > 1 / 3
    assert head.right > family_head.PRECISION
    assert head.answered > 0.7
    assert head.strange > 0.7
    for one in (*head.held_out.values(), *head.held_out_families.values()):
        assert one["right"] + one["wrong"] + one["unknown"] == pytest.approx(1)


def test_new_generators_of_a_family_get_its_name_and_something_else_gets_none(told):
    directions = np.random.default_rng(0)
    directions.normal(size=(60, DIM))
    new = np.random.default_rng(7)
    of_gan = directions.normal(size=DIM)  # as planted() draws it first
    fakes = (new.normal(size=(50, DIM)) + of_gan + 0.5 * new.normal(size=DIM) + 1).astype(np.float32)
    assert np.mean(np.array(told.family.answers(fakes)) == "GAN") > 0.8
    strange = (new.normal(size=(50, DIM)) + new.normal(size=DIM)).astype(np.float32)
    assert np.mean(np.array(told.family.answers(strange)) == UNKNOWN) > 0.7
    together = told.family.answer(fakes)
    assert together.name == "GAN"
    assert sum(together.probabilities.values()) == pytest.approx(1, abs=1e-3)
    assert str(together) == f"GAN ({100 * together.probabilities['GAN']:.0f} %)"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (planted(0, 1), "guessing gives 33%"),
        (planted(1, 0.5, {"latent diffusion": THREE["latent diffusion"]}), "two families with two or more model lines each"),
        (planted(1, 0.5, {"GAN": ["progan"], "latent diffusion": ["sd21", "sdxl"]}), r"GAN \(ProGAN\), latent diffusion \(Stable Diff"),
        (planted(1, 0.5, {"GAN": ["stylegan", "stylegan2"], "latent diffusion": ["sd15", "sd21"]}), "two or more model lines each"),
        (planted(1, 0.5, {"?": ["generator_0", "Midjourney"]}), "of none of the fakes .*; theirs: Midjourney, generator_0"),
        (planted(1, 0.5, each=15), "are of: none"),
        (planted(2, 0, {"GAN": ["progan", "biggan"], "pixel diffusion": ["adm", "glide"]}), "4 of 4 lines.*a chance of 0.062"),
    ],
    ids=["identity only", "one family", "one line in a family", "one line by many names", "no family", "few pictures", "may be luck"],
)
def test_what_is_no_better_than_guessing_or_can_not_be_measured_is_left_out_and_said(data, words, caplog):
    with caplog.at_level(logging.INFO):
        assert family_head.fit(data, seed=0) is None
    assert pd.Series(caplog.messages).str.contains(words).any()
    assert "is not told" in caplog.text


def test_it_says_what_it_does_not_learn_from(caplog):
    data = planted(1, 0.5, THREE | {"?": ["Midjourney", "dalle3"]})
    few = data.take(~((data.rows["generator"] == "glide").to_numpy() & (np.arange(len(data)) % 2 == 0)))
    with caplog.at_level(logging.INFO):
        head = family_head.fit(few, seed=0)
    assert "of them nothing is learnt from Midjourney, dalle3, whose family is not known" in caplog.text
    assert "nothing is learnt from GLIDE, with fewer than 20 pictures" in caplog.text
    assert "GLIDE" not in head.lines
    assert [head.learnt_from(name) for name in ("glide", "sd15", "Midjourney")] == [False, True, False]


def test_a_family_of_one_line_is_learnt_but_never_named():
    head = family_head.fit(planted(1.5, 0.3, {**THREE, "pixel diffusion": ("adm",)}), seed=0)
    assert head.families == list(THREE)
    assert head.told == ["GAN", "latent diffusion"]
    assert "ADM" not in head.held_out
    assert set(head.held_out_families) == set(THREE)
    assert set(head.answers(planted(1.5, 0.3, {**THREE, "pixel diffusion": ("adm",)}).X[-30:])) == {UNKNOWN}


def test_what_shares_a_group_with_the_pictures_asked_about_is_not_learnt_from():
    """Each caption was given to every generator, and its content is all that there is to learn."""
    rng = np.random.default_rng(0)
    data = planted(0, 0, {"GAN": THREE["GAN"], "latent diffusion": THREE["latent diffusion"]}, each=60)
    caption = np.arange(len(data)) % 60
    content = rng.normal(size=(60, DIM)) * 3
    X = data.X + content[caption].astype(np.float32)
    rows = data.rows.assign(group=[f"c{i}" for i in caption])
    assert family_head.fit(replace(data, X=X, rows=rows), seed=0) is None
    signal = np.where(np.isin(data.rows["generator"], THREE["GAN"]), 3, 0)[:, None] * rng.normal(size=DIM)
    assert family_head.fit(replace(data, X=(X + signal).astype(np.float32), rows=rows), seed=0)


def test_degraded_copies_are_learnt_from_and_never_asked_about():
    data = planted(1, 0.5)
    rows = pd.concat([data.rows, data.rows.assign(split=VIEW)], ignore_index=True)
    head = family_head.fit(replace(data, rows=rows, X=np.concatenate([data.X, data.X])), seed=0)
    assert {one["n"] for one in head.held_out.values()} == {30}


def test_copies_leave_every_picture_its_place():
    data = planted(1, 0.5, each=25)
    fakes = np.flatnonzero(data.rows["label"] == 1)
    many = np.concatenate([np.arange(len(data)), np.tile(fakes, 30)])
    with_copies = data.take(many)
    with_copies.rows["split"] = np.where(np.arange(len(many)) < len(data), "", VIEW)
    assert {one["n"] for one in family_head.fit(with_copies, 0).held_out.values()} == {25}


def test_fakes_are_grouped_by_photographs_that_are_there_twice_too():
    """Fakes of one photograph by two generators, each in a group of its own with its own copy of it, belong together."""
    data = planted(1, 0.5)
    reals, fakes = np.arange(60), np.concatenate([60 + np.arange(30), 150 + np.arange(30)])  # ProGAN's and SD 2.1's
    group = data.rows["group"].to_numpy().copy()
    group[fakes] = group[np.tile(reals[:30], 2) + np.repeat([0, 30], 30)]
    sha256 = data.rows["sha256"].to_numpy().copy()
    sha256[30:60] = sha256[:30]
    data = replace(data, rows=data.rows.assign(group=group, sha256=sha256))
    held_out = family_head.fit(data, 0).held_out
    assert held_out["ProGAN"]["n"] < 30, "half of them, as the other line has the same photographs"
    assert held_out["StyleGAN"]["n"] == 30


def test_an_interval_over_few_lines_is_as_wide_as_they_are_few():
    """Of lines drawn anew, three a family, the mean accuracy's interval holds the truth in about 95 %; a bootstrap of three has 75 %."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(200):
        accuracy = rng.uniform(0.6, 1.0, 6)
        lines = {f"{i}": {"family": "ab"[i % 2], "accuracy": one} for i, one in enumerate(accuracy)}
        low, high = family_head._better_than_guessing(lines, ["a", "b"])[1]
        held += low <= 0.8 <= high
    assert held / 200 > 0.9
    alike = dict.fromkeys("ab", 0.9) | dict.fromkeys("cdefghij", 0.8)
    lines = {name: {"family": "a" if name in "ab" else "b", "accuracy": one} for name, one in alike.items()}
    lines |= {name: {"family": "c", "accuracy": 1.0} for name in "xyz"}
    balanced, interval = family_head._better_than_guessing(lines, ["a", "b", "c"])
    assert [balanced, *interval] == pytest.approx([0.9] * 3), "families count the same, however many lines they have"


def test_it_is_saved_with_the_model_and_answers_the_same(told, tmp_path):
    bundle.save(told, tmp_path / "m")
    loaded = bundle.load(tmp_path / "m")
    assert loaded.family.to_json() == told.family.to_json() == loaded.manifest["family"]
    X = planted(1, 0.5).X
    assert loaded.family.answers(X) == told.family.answers(X)
    assert family_head.fit(planted(1, 0.5), seed=0).to_json() == family_head.fit(planted(1, 0.5), seed=0).to_json()
    bundle.save(loaded, tmp_path / "m")
    assert bundle.load(tmp_path / "m").family


def test_a_model_without_it_loads_as_before(model):
    assert bundle.load(model).family is None
    assert "family" not in bundle.load(model).manifest


def test_a_damaged_one_is_refused(told, tmp_path):
    bundle.save(told, tmp_path / "m")
    narrow = family_head.fit(replace(planted(1, 0.5), X=planted(1, 0.5).X[:, :40]), seed=0)
    bundle.save(replace(told, family=narrow), tmp_path / "narrow")
    with pytest.raises(BundleError, match=f"takes 40 numbers, its encoder gives {DIM}"):
        bundle.load(tmp_path / "narrow")

    def edit(**changes):
        manifest = json.loads((tmp_path / "m/manifest.json").read_text())
        family = {name: value for name, value in (manifest["family"] | changes).items() if value != "gone"}
        return lambda copy: (copy / "manifest.json").write_text(json.dumps(manifest | {"family": family}))

    for damage in (
        lambda copy: (copy / "family.skops").unlink(),
        lambda copy: (copy / "family.skops").write_bytes((copy / "family.skops").read_bytes()[:500]),
        edit(families=["GAN", "latent diffusion"]),
        edit(told=["face swap"]),
        edit(temperature=0),
        edit(threshold="high"),
        edit(threshold=float("nan")),
        edit(lines="gone"),
        edit(extra=1),
    ):
        copy = tmp_path / "copy"
        shutil.copytree(tmp_path / "m", copy, dirs_exist_ok=True)
        damage(copy)
        with pytest.raises(BundleError, match="damaged.*Train it again"):
            bundle.load(copy)


@pytest.fixture(scope="module")
def sure(model, told, tmp_path_factory):
    """The drawn pictures' model, with a family head that always names one."""
    folder = tmp_path_factory.mktemp("sure") / "m"
    bundle.save(replace(bundle.load(model), family=replace(told.family, threshold=0.0)), folder)
    return folder


def test_every_door_shows_it_for_fakes_alone(sure, model, dataset, capsys):
    real, fake = sorted((dataset / "real").rglob("*.jpg"))[0], sorted((dataset / "fake").rglob("*.jpg"))[0]
    tells, tells_not = Panel([Detector(sure)]), Panel([Detector(model)])
    verdict = tells.judge_file(fake)
    assert verdict.family.name in THREE
    assert "Likeliest kind of generator" in card(verdict)
    for without in (tells.judge_file(real), tells_not.judge_file(fake)):
        assert without.family is None
        assert "Likeliest kind of generator" not in card(without)
    assert f"<dd>{verdict.family}</dd>" in card(verdict)
    assert f"rightly for {100 * verdict.family.right:.0f} % of these" in card(verdict)
    unknown = replace(verdict, family=replace(verdict.family, name=UNKNOWN, strange=None))
    assert "<dd>unknown</dd>" in card(unknown)
    assert "it never learnt it left" not in card(unknown)

    assert cli.main(["predict", str(real), str(fake), f"--model={sure}", "--json", "--no-cache"]) == 0
    first, second = json_lines(capsys.readouterr().out)
    assert "family" not in first
    assert second["family"]["name"] == verdict.family.name
    assert second["family"]["probabilities"] == verdict.family.probabilities
    assert cli.main(["predict", str(fake), f"--model={sure}", "--no-cache"]) == 0
    assert f"likeliest kind of generator: {verdict.family}" in capsys.readouterr().out


def test_an_answer_that_is_not_steady_has_no_family(sure, dataset):
    real, fake = sorted((dataset / "real").rglob("*.jpg"))[0], sorted((dataset / "fake").rglob("*.jpg"))[0]
    detector = Detector(sure)
    detector.saved_again = SimpleNamespace(embed_one=lambda content: detector.embedder.embed_one(real.read_bytes()))
    verdict = Panel([detector]).judge_file(fake)
    assert (verdict.verdict, verdict.family) == ("unsure", None)


def test_a_clip_has_the_family_of_its_frames_together(sure, tmp_path):
    detector = Detector(sure)
    clip = draw_clip(tmp_path / "a.mp4", list(range(0, 1000, 100)), tint=(0, 20, 60))
    detector.bundle = replace(detector.bundle, thresholds=replace(detector.bundle.thresholds, real=0.0, fake=0.0))
    seen = []
    answer = detector.bundle.family.answer
    spied = replace(detector.bundle.family)
    object.__setattr__(spied, "answer", lambda X: seen.append(X.shape) or answer(X))
    detector.bundle = replace(detector.bundle, family=spied)
    verdict = Panel([detector]).judge_file(clip)
    assert verdict.family.name in THREE
    assert seen == [(len(verdict.frames), DIM)], "asked once, with all frames"
    detector.bundle = replace(detector.bundle, thresholds=replace(detector.bundle.thresholds, fake=1.0))
    assert Panel([detector]).judge_file(clip).family is None


def test_the_report_says_how_often_it_was_right_for_each_generator(told, tmp_path, capsys):
    new = {"GAN": ["progan", "cyclegan"], "autoregressive": ["VAR"], "?": ["Midjourney"]}
    data = planted(1, 0.5, new)
    samples = [Sample("", *row) for row in data.rows[["path", "label", "generator", "group", "split"]].itertuples(index=False)]
    written = (table.Row(sample, sample.name, x) for sample, x in zip(samples, data.X, strict=True))
    table.write(tmp_path / "t.parquet", written, data.spec, {"crop": "whole"})
    bundle.save(replace(told, thresholds=Thresholds(0.01, 0.1)), tmp_path / "told")
    assert cli.evaluate([f"--model={tmp_path / 'told'}", f"--data={tmp_path / 't.parquet'}", f"--out={tmp_path / 'r'}"]) == 0
    found = json.loads((tmp_path / "r/report.json").read_text())["detectors"]["told"]
    answers = found["family_answers"]
    assert {name: (one["family"], one["learnt_from"]) for name, one in answers.items()} == {
        "progan": ("GAN", True),
        "cyclegan": ("GAN", False),
        "VAR": ("autoregressive", False),
    }
    assert answers["VAR"]["right"] == 0
    for name, one in answers.items():
        assert one["right"] + one["wrong"] + one["unknown"] == pytest.approx(1)
        assert one["n"] == round(found["generators"][name]["fake"] * 30)
    assert found["family"]["held_out"] == told.family.held_out
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("cyclegan (GAN, never learnt from)")]
    one = answers["cyclegan"]
    assert line.split()[-4:] == [str(one["n"]), *(f"{100 * one[answer]:.1f}%" for answer in ("right", "wrong", "unknown"))]
    for file, row in (("report.html", "<td>cyclegan</td><td>GAN</td><td>never</td>"), ("model_card.md", "| cyclegan | GAN | never |")):
        text = (tmp_path / "r" / file).read_text()
        assert "Which family of generators?" in text
        assert row in text
        assert re.search(r"right in \d+\.\d % (<small>)?\[\d+\.\d %, \d+\.\d %\]", text), "a share and its interval, both of one unit"


def test_of_several_regions_the_deciding_one_is_asked(told):
    data = planted(1, 0.5).take(np.array([60, 200, 61, 0]))
    data.rows["path"] = data.rows["sha256"] = ["two faces", "two faces", "one face", "real"]
    for scores in ([0.9, 0.8, 0.9, 1], [0.8, 0.9, 0.1, 1]):
        asked = gather._families(replace(told, thresholds=Thresholds(0.5, 0.5)), data, np.array(scores))
        deciding = [0, 2] if scores[0] > scores[1] else [1]
        assert asked["answer"].tolist() == told.family.answers(data.X[deciding])
