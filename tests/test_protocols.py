"""The protocols hold out what they say, group by group, and tell a detector of generation from a detector of content."""

import numpy as np
import pandas as pd
import pytest

from deepfake_detector import protocols, split
from deepfake_detector.errors import TrainingError
from deepfake_detector.heads.logistic import Head
from deepfake_detector.report.words import left_out
from deepfake_detector.train import counts, fit_calibrated, train
from deepfake_detector.types import PROTOCOLS, VIEW, Embeddings, EncoderSpec

DIM = 8
CELLS = [f"{generator} × {source}" for source in "abc" for generator in ("g1", "g2", "g3")]

RANKING = [name for name in protocols.PROTOCOLS if name not in protocols.PROMISES]


def test_the_names_that_the_command_line_offers_are_those_there_are():
    assert tuple(protocols.PROTOCOLS) == PROTOCOLS


def table(
    trace: float = 3.0,
    pairs: bool = False,
    n: int = 40,
    splits: bool = False,
    content: float = 4.0,
    sources: str = "abc",
    generators: tuple[str, ...] = ("g1", "g2", "g3"),
) -> Embeddings:
    """Real sources and generators; e0 shows the trace of generation, e1… which source it is."""
    rng = np.random.default_rng(0)
    rows, X = [], []
    for label, names in ((0, sources), (1, generators)):
        for s, name in enumerate(names):
            for i in range(n):
                x = rng.normal(size=DIM)
                x[0] += trace * label
                x[1 + s] += content
                group = f"{s}-{i}" if pairs else f"{name}-{i}"
                rows.append((f"{name}/{i}", label, name, group, ("test" if i % 4 == 0 else "train") if splits else "", f"{name}{i}"))
                X.append(x)
    frame = pd.DataFrame(rows, columns=["path", "label", "generator", "group", "split", "sha256"])
    spec = EncoderSpec("colour_histogram", "none", "none", "none", 1, "none", False, DIM)
    return Embeddings(frame, np.array(X, np.float32), spec, "whole")


@pytest.fixture
def watched(monkeypatch):
    """Every (learn, score) that a ranking protocol asks for."""
    asked = []
    fit = protocols._Fit.__call__

    def watch(self, data, learn, score):
        asked.append((data.rows.iloc[learn], data.rows.iloc[score]))
        return fit(self, data, learn, score)

    monkeypatch.setattr(protocols._Fit, "__call__", watch)
    return asked


@pytest.mark.parametrize("splits", [False, True])
@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("protocol", RANKING)
def test_no_group_and_no_held_out_source_is_learnt_from(watched, protocol, pairs, splits):
    if protocol == "matched" and not pairs:
        pytest.skip("has no pairs")
    done = protocols.run(protocol, table(pairs=pairs, splits=splits), "logistic")
    for learn, score in watched:
        assert not set(learn["group"]) & set(score["group"])
        assert set(learn["label"]) == {0, 1}
    if protocol != "matched":
        names = [row["held_out"] for row in done["rows"]]
        expected = {"leave-one-generator-out": ["g1", "g2", "g3"], "leave-one-source-out": ["a", "b", "c"]}
        assert names == expected.get(protocol, [f"g{i + 1} × {s}" for i, s in enumerate("abc")] if pairs else CELLS)
        folds = 1 if splits or protocol == "leave-both-out" else split.FOLDS
        for name, (learn, _) in zip(np.repeat(names, folds), watched, strict=True):
            assert not set(name.split(" × ")) & set(learn["generator"])
            assert not splits or protocol == "leave-both-out" or "test" not in set(learn["split"])


@pytest.mark.parametrize("splits", [False, True])
def test_every_picture_of_the_held_out_source_is_counted_with_an_interval(splits):
    for row in protocols.run("leave-one-generator-out", table(splits=splits), "logistic")["rows"]:
        assert row["n"] == 40
        assert row["against"] == (30 if splits else 120)  # the data set's own test side, or every real picture in its turn
        assert row["intervals"]["auroc"][0] <= row["auroc"] <= row["intervals"]["auroc"][1]


def test_a_generator_that_rebuilt_every_real_picture_leaves_the_others_to_learn_from(watched):
    data = table()
    data = data.take(np.concatenate([np.arange(len(data)), np.arange(120)]))
    remade = np.arange(len(data)) >= 240
    data.rows["label"] = np.where(remade, 1, data.rows["label"])
    data.rows["generator"] = np.where(remade, "rebuilt", data.rows["generator"])
    data.rows["sha256"] = data.rows["sha256"] + np.where(remade, "x", "")
    row = protocols.run("leave-one-generator-out", data, "logistic")["rows"][-1]
    learn, score = watched[-1]
    assert row["held_out"] == "rebuilt"
    assert "rebuilt" not in set(learn["generator"])
    assert row["n"] == 120
    assert 0 < (score["generator"] == "rebuilt").sum() < 120, "those on the fold's test side"
    assert not set(learn["group"]) & set(score["group"])
    assert set(learn["label"]) == {0, 1}


def test_the_trace_is_found_on_what_was_never_seen_and_its_absence_is_shown():
    for protocol in RANKING:
        assert protocols.run(protocol, table(3.0, pairs=True), "logistic")["mean_auroc"] > 0.95
        assert protocols.run(protocol, table(0.0, pairs=True), "logistic")["mean_auroc"] < 0.65


def test_a_source_that_looks_like_the_fakes_has_a_high_false_positive_rate():
    data = table(content=0.0)
    data.X[(data.rows["generator"] == "b").to_numpy(), 0] += 3.0
    rates = {row["held_out"]: row["fpr_at_known_5"] for row in protocols.run("leave-one-source-out", data, "logistic")["rows"]}
    assert rates["b"] > 0.5
    assert rates["a"] < 0.3
    few = protocols.run("leave-one-source-out", table(content=0.0, n=15, sources="ab"), "logistic")["rows"]
    assert all(row["fpr_at_known_5"] < 0.3 for row in few), "of fifteen known ones none may be called fake"


def test_matched_pairs_are_counted_and_won():
    rows = protocols.run("matched", table(pairs=True), "logistic")["rows"]
    assert [row["pairs"] for row in rows] == [40, 40, 40]
    assert all(row["pairs_won"] > 0.9 for row in rows)


def test_a_source_like_the_rest_keeps_the_promise_and_one_that_looks_fake_breaks_it():
    data = table(content=0.0, n=120, sources="abcd")
    shifted = (data.rows["generator"] == "b").to_numpy()
    kept = protocols.run("promise-unseen-source", data, "logistic")
    assert [row["answer"] for row in kept["rows"]] == ["kept"] * 4
    assert (kept["kept"], kept["promised"], kept["wrong"]) == (4, 0.05, "fake")
    data.X[shifted, 0] += 3.0
    rows = {row["held_out"]: row for row in protocols.run("promise-unseen-source", data, "logistic")["rows"]}
    assert rows["b"]["answer"] == "broken"
    assert 0.05 < rows["b"]["interval"][0] < rows["b"]["fake"] < rows["b"]["interval"][1]
    assert all(row["n"] == 120 and row["promised_of_new"] for row in rows.values())
    assert all(row["fake"] + row["unsure"] + row["real"] == pytest.approx(1) for row in rows.values())


def test_a_generator_without_the_trace_is_called_real_and_the_others_are_found():
    data = table(content=0.0, n=120, sources="abcd")
    data.X[(data.rows["generator"] == "g2").to_numpy(), 0] -= 3.0
    done = protocols.run("promise-unseen-generator", data, "logistic")
    assert {row["held_out"]: row["answer"] == "broken" for row in done["rows"]} == {"g1": False, "g2": True, "g3": False}
    assert (done["promised"], done["wrong"]) == (0.1, "real")


@pytest.mark.parametrize("pairs", [False, True])
def test_a_promise_is_made_without_the_source_and_its_groups_and_counts_all_its_pictures(monkeypatch, pairs):
    learnt = []
    monkeypatch.setattr(protocols, "fit_calibrated", lambda *given: learnt.append(given[1].rows) or fit_calibrated(*given))
    data = table(pairs=pairs)
    copies = data.rows.assign(split=VIEW, path=data.rows["path"] + "#augment0")
    data = Embeddings(pd.concat([data.rows, copies], ignore_index=True), np.concatenate([data.X, data.X]), data.spec, data.crop)
    for protocol in protocols.PROMISES:
        learnt.clear()
        rows = protocols.run(protocol, data, "logistic")["rows"]
        for row, seen in zip(rows, learnt, strict=True):
            own = data.rows[data.rows["generator"] == row["held_out"]]
            assert row["n"] == 40
            assert row["learnt_from"] == len(seen)
            assert (seen["split"] == VIEW).any()
            assert not set(own["group"]) & set(seen["group"])


def test_with_nothing_left_out_the_thresholds_are_those_of_train():
    data = table(sources="abcd")
    trained = train(data, "logistic", "m").bundle
    fitted = fit_calibrated(Head, data.take(split.train_test(data.rows, 0)[0]), 0)
    assert (fitted.thresholds, fitted.calibration, fitted.promise) == (trained.thresholds, trained.calibration, trained.manifest["promise"])
    assert fitted.promise["real_pictures_from"] == "sources not learnt from"


@pytest.mark.parametrize("protocol", protocols.PROMISES)
def test_where_too_few_sources_or_generators_are_left_to_hold_out_the_row_says_so(protocol):
    three, four = table(), table(sources="abcd", generators=("g1", "g2", "g3", "g4"))
    assert [row["promised_of_new"] for row in protocols.run(protocol, three, "logistic")["rows"]] == [False] * 3
    assert [row["promised_of_new"] for row in protocols.run(protocol, four, "logistic")["rows"]] == [True] * 4


def test_that_fakes_are_not_called_real_is_promised_of_new_generators_too():
    """Each generator has a trace of its own beside one that all share: what was learnt of the others finds it less surely."""
    data = table(trace=2.0, content=0.0, n=120, sources="abcd", generators=("g1", "g2", "g3", "g4"))
    for i, name in enumerate(("g1", "g2", "g3", "g4")):
        data.X[(data.rows["generator"] == name).to_numpy(), 1 + i] += 4.0
    new = protocols.run("promise-unseen-generator", data, "logistic")
    assert [row["answer"] for row in new["rows"]] == ["kept"] * 4
    rows = data.rows.assign(generator=data.rows["generator"].replace({"g1": "g1_recon", "g2": "g2_recon"}))  # two are left: too few
    known = protocols.run("promise-unseen-generator", Embeddings(rows, data.X, data.spec, data.crop), "logistic")
    assert [(row["held_out"], row["answer"]) for row in known["rows"]] == [("g3", "broken"), ("g4", "broken")]


@pytest.mark.parametrize("protocol", ["leave-one-generator-out", "leave-both-out"])
def test_remade_pictures_stand_for_a_generator_only_where_others_lack(protocol):
    data = table(generators=("g1", "g2", "g3_recon"))

    def left_out(data):
        return {row["held_out"].split(" ")[0] for row in protocols.run(protocol, data, "logistic")["rows"]}

    assert left_out(data) == {"g1", "g2"}
    assert left_out(data.take((data.rows["generator"] != "g2").to_numpy())) == {"g1", "g3_recon"}


def with_pairs(data: Embeddings) -> Embeddings:
    """Beside each photograph a pair as datasets/_pairs.py names them; both of its pictures are shifted alike."""
    photographs, X = data.rows[data.rows["label"] == 0], data.X[data.rows["label"] == 0]
    shifted = X + 4 * np.eye(DIM, dtype=np.float32)[-1]
    pair = [
        photographs.assign(path=photographs["path"] + "#sd_recon:real", sha256=photographs["sha256"] + "r"),
        photographs.assign(path=photographs["path"] + "#sd_recon", sha256=photographs["sha256"] + "f", label=1, generator="sd_recon"),
    ]
    rows = pd.concat([data.rows, *pair], ignore_index=True)
    return Embeddings(rows, np.vstack([data.X, shifted, shifted + 3 * np.eye(DIM, dtype=np.float32)[0]]), data.spec, data.crop)


@pytest.mark.parametrize("protocol", ["leave-one-generator-out", "leave-one-source-out", "leave-both-out"])
def test_pairs_are_learnt_from_and_not_scored_beside_what_they_were_made_of(watched, protocol):
    data = with_pairs(table())
    protocols.run(protocol, data, "logistic")
    for learn, score in watched:
        assert learn["path"].str.endswith("#sd_recon:real").any()
        assert not score["path"].str.contains("#").any()
    alone = data.take((data.rows["label"] == 1).to_numpy() | data.rows["path"].str.contains("#").to_numpy())
    watched.clear()
    protocols.run(protocol, alone, "logistic")
    assert all(score["path"].str.endswith("#sd_recon:real").any() for _, score in watched)


def test_a_photograph_counts_once_whatever_was_made_of_it():
    data = table()
    given, with_made = counts(data), counts(with_pairs(data))
    assert sum(given["real"].values()) > 0
    assert with_made == {"real": given["real"], "fake": given["fake"] | {"sd_recon": sum(given["real"].values())}}


@pytest.mark.parametrize(("sources", "photographs"), [("abc", 120), ("a", 40)])
def test_thresholds_rest_on_photographs_not_on_the_pairs_made_of_them(sources, photographs):
    fitted = fit_calibrated(Head, with_pairs(table(sources=sources)), 0)
    assert fitted.promise["pictures"]["real"] == fitted.promise["groups"]["real"] == photographs


@pytest.mark.parametrize("protocol", ["leave-one-generator-out", "leave-both-out", "promise-unseen-generator"])
def test_who_has_learnt_from_a_generators_line_has_seen_it(monkeypatch, protocol):
    """SD 1.4 and 1.5 leave one trace, ProGAN and GLIDE two others: of the first two none is learnt from when one is asked about."""
    learnt = []
    for name in ("__call__", "calibrated"):
        fit = getattr(protocols._Fit, name)
        monkeypatch.setattr(
            protocols._Fit,
            name,
            lambda self, data, learn, *rest, fit=fit: [
                learnt.append(set(data.rows["generator"].iloc[learn])),
                fit(self, data, learn, *rest),
            ][1],
        )
    data = table(trace=0.0, content=2.0, generators=("sd14", "sd15", "progan", "glide"))
    data.X[:, 0] += 6.0 * data.rows["generator"].isin(["sd14", "sd15"])
    done = protocols.run(protocol, data, "logistic")
    assert done["left_out_together"] == [["sd14", "sd15"]]
    for generators in learnt:
        assert {"sd14", "sd15"} <= generators or not {"sd14", "sd15"} & generators
    if protocol == "leave-one-generator-out":
        areas = {row["held_out"]: row["auroc"] for row in done["rows"]}
        assert max(areas["sd14"], areas["sd15"]) < 0.7
    (said,) = left_out(done)
    assert "learns from none of a model line when it asks about one of it: sd14 and sd15." in said


def test_held_out_pictures_are_scored_by_as_many_heads_as_those_beside_them(watched):
    protocols.run("leave-one-source-out", table(), "logistic")
    asked = pd.concat([score for _, score in watched[: split.FOLDS]])
    assert not asked["path"].duplicated().any()
    assert set(asked["generator"]) == {"a", "b", "c", "g1", "g2", "g3"}


def test_faces_of_one_picture_are_one_picture_to_every_protocol():
    data = table(pairs=True)
    data.rows["path"], data.rows["sha256"] = (
        data.rows["generator"] + "/" + (data.rows.groupby("generator").cumcount() // 2).astype(str) for _ in "ab"
    )
    data.rows["group"] = [
        f"{'abc'.find(g[0]) if g in 'abc' else int(g[1]) - 1}-{i // 2}"
        for g, i in zip(data.rows["generator"], data.rows.groupby("generator").cumcount(), strict=True)
    ]
    assert [row["n"] for row in protocols.run("leave-one-generator-out", data, "logistic")["rows"]] == [20, 20, 20]
    assert [row["n"] for row in protocols.run("matched", data, "logistic")["rows"]] == [20, 20, 20]


def test_pictures_of_one_group_alone_tell_nothing_of_a_promise():
    data = table(content=0.0, sources="abcd")
    data.rows.loc[data.rows["generator"] == "b", "group"] = "one clip"
    rows = {row["held_out"]: row for row in protocols.run("promise-unseen-source", data, "logistic")["rows"]}
    assert (rows["b"]["interval"], rows["b"]["answer"]) == (None, "can't tell")


def test_frames_of_two_clips_do_not_break_a_promise():
    """All thirty frames of one of two clips look fake: that is one error in two, which chance brings as well."""
    data = table(content=0.0, sources="abcd")
    own = np.flatnonzero(data.rows["generator"] == "b")
    data.rows.loc[own, "group"] = np.repeat(["one clip", "another"], 20)
    data.X[own[:20], 0] += 9.0
    row = next(row for row in protocols.run("promise-unseen-source", data, "logistic")["rows"] if row["held_out"] == "b")
    assert row["fake"] >= 0.5
    assert row["interval"][0] < 0.05
    assert row["answer"] == "can't tell"


@pytest.mark.parametrize("protocol", ["leave-one-generator-out", "promise-unseen-generator"])
def test_what_has_nothing_to_test_is_passed_over_and_the_others_are_not(protocol):
    """g1 and g2 rebuilt every real picture, so they are tested on the test side alone, where g1 has none."""
    data = table(pairs=True, splits=True)
    rows = data.rows.assign(group=[group.split("-")[1] for group in data.rows["group"]])
    keep = ~((rows["generator"] == "g1") & (rows["split"] == "test")).to_numpy()
    done = protocols.run(protocol, Embeddings(rows, data.X, data.spec, data.crop).take(keep), "logistic")
    assert [row["held_out"] for row in done["rows"]] == ["g2", "g3"]
    assert done["not_left_out"] == ["g1"]


def test_a_source_of_one_group_is_left_out_too_and_has_no_interval():
    data = table()
    data.rows.loc[data.rows["generator"] == "b", "group"] = "one clip"
    rows = {row["held_out"]: row for row in protocols.run("leave-one-source-out", data, "logistic")["rows"]}
    assert rows["b"]["fpr_interval"] is None
    assert rows["a"]["fpr_interval"] is not None


def test_what_cannot_be_done_says_why():
    data = table()
    one = data.take((data.rows["generator"].isin(["a", "b", "g1"])).to_numpy())
    with pytest.raises(TrainingError, match="at least two generators"):
        protocols.run("leave-one-generator-out", one, "logistic")
    with pytest.raises(TrainingError, match="at least two generators"):
        protocols.run("promise-unseen-generator", one, "logistic")
    with pytest.raises(TrainingError, match="needs at least two of each"):
        protocols.run("leave-both-out", one, "logistic")
    with pytest.raises(TrainingError, match="at least two real sources; the table has: a"):
        protocols.run("promise-unseen-source", data.take((data.rows["generator"].isin(["a", "g1", "g2"])).to_numpy()), "logistic")
    with pytest.raises(TrainingError, match="No fake shares its group"):
        protocols.run("matched", data, "logistic")
    with pytest.raises(TrainingError, match="leave-one-source-out"):
        protocols.run("nonsense", data, "logistic")
