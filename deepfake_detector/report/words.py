"""What figures say of a detector, in plain sentences: what it is bad at, what it promises, and what a measurement left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from deepfake_detector.calibration import fewest_for
from deepfake_detector.degrade import saved_again
from deepfake_detector.evaluate import in_short
from deepfake_detector.families import FAMILIES, KNOWN_BY, line_of
from deepfake_detector.files import listed
from deepfake_detector.types import LABEL_NAMES, Thresholds

WEAK_AUROC = 0.9
WEAK_SHARE = 0.1
MEANINGS = {
    "AUROC": "how often a fake gets a higher probability than a real picture; 0.5 is guessing, 1 perfect",
    "average precision (AP)": "the precision among the pictures with the highest probabilities, averaged over how many fakes are found so; "
    "guessing gives the share of fakes among the pictures",
    "EER": "the share of errors where as large a share of real pictures is called fake as of fakes real",
    "FPR": "the share of real pictures called fake",
    "found at 1 %, 5 % FPR": "the share of fakes found by the threshold at which so many of these real pictures, at most, are called fake",
    "ECE": "how far the probabilities are off, on average, were half of the pictures fake: of those with 0.8, eight in ten should be",
    "against its own reals": "set against the real pictures with the same content alone",
    "interval, in brackets": "where the figure would lie, 19 times in 20, for other pictures of this kind; of other kinds it says nothing",
    "half, double, crop80": "the picture at half or twice its size; its middle, 80 % a side",
    "screenshot, phone, social": "shown smaller, cut out and saved; on a phone's screen, bars included; scaled, sharpened and saved twice",
    "h264": "as a frame of a clip",
}
_CODED = {"clip": "frames of clips", "poor": "frames of small clips coded with much loss", "h264": "frames of H.264"}


def percent(share: float, decimals: int = 0) -> str:
    return f"{100 * share:.{decimals}f} %"


def weaknesses(
    scores: dict[str, Any], promise: Sequence[dict[str, Any]], robustness: dict[str, Any] | None, manifest: dict[str, Any]
) -> list[str]:
    """The worst first; one sentence that says so where nothing is found wanting. `manifest` is the model's."""
    training = manifest.get("training", {})
    found = never_said("It", Thresholds(**scores["thresholds"]))
    found += _on_the_unseen(training) + _elsewhere(manifest.get("elsewhere", {})) + never_learnt(training)
    weak = sorted((s["auroc"], name) for name, s in scores["generators"].items() if s["auroc"] is not None and s["auroc"] < WEAK_AUROC)
    if weak:
        found.append(f"It tells these generators from photographs poorly: {listed(f'{name} (AUROC {area:.2f})' for area, name in weak)}.")
    areas = ((s.get("matched_auroc"), name) for name, s in scores["generators"].items())
    matched = sorted((area, name) for area, name in areas if area is not None and area < WEAK_AUROC)
    if matched:
        pairs = listed(f"{name} (AUROC {area:.2f})" for area, name in matched)
        found.append(f"Against the real picture with the same content it does worse than its other figures suggest: {pairs}.")
    for told, places, wrong in (("fakes real", "generators", "real"), ("real pictures fake", "real_sources", "fake")):
        often = sorted(((s[wrong], s["n"], name) for name, s in scores[places].items() if s[wrong] > WEAK_SHARE), reverse=True)
        if often:
            found.append(f"It calls many {told}: {listed(f'{percent(share)} of {name} (of {n})' for share, n, name in often)}.")
    found += _hardly_answered(scores)
    broken = [p for p in promise if p["answer"] == "broken"]
    if broken:
        shares = listed(f"{percent(p['delivered'], 1)} on {p['source']}" for p in broken)
        found.append(f"It promises at most {percent(broken[0]['promised'])} false alarms and does not keep it: {shares}.")
    unsure = scores["overall"]["abstain_rate"] or 0.0
    if unsure > 0.3:
        found.append(f"It is unsure about {percent(unsure)} of the pictures.")
    if robustness:
        found += _under_degradation(robustness)
    return found or ["Nothing in these figures stands out as bad; what is not in this data has not been measured."]


def bad_at(manifest: dict[str, Any]) -> list[str]:
    """The same by what a model carries of itself, also of one that was only taught something, or never measured."""
    if scores := manifest.get("scores"):
        return weaknesses(scores, [], None, manifest)
    if "shown" in (training := manifest["training"]):
        learnt, base = listed(f"{one['n']} {one['label']} pictures of {one['name']}" for one in training["shown"]), training["adapted_from"]
        return [f"It is {base}, which has also learnt {learnt}. Nothing else of it was measured: where {base} is weak, so is it."]
    return ["Of its own test pictures this model carries no measurements."]


def _on_the_unseen(training: dict[str, Any]) -> list[str]:
    """How far it gets with what is new, where its settings were chosen by that."""
    area = next((one["unseen_auroc"] for one in training.get("settings_tried", ()) if one["settings"] == training["settings"]), 1.0)
    found = []
    if area < WEAK_AUROC:
        found.append(
            "When training held out both a generator and a source of real pictures, it told the fakes of the one from the pictures of the "
            f"other with AUROC {area:.2f} on average: what is new to it in both ways it judges badly."
        )
    found += tuned_on_too_few(training)
    runs = training.get("left_out", ())
    missed = sorted(((run["fakes"]["called_real"], run["generators"]) for run in runs if run["generators"]), reverse=True)
    missed = [(share, names) for share, names in missed if share > WEAK_SHARE]
    if missed:
        shares = listed(f"{percent(share)} of {' and '.join(names)}" for share, names in missed)
        found.append(f"Of generators that it had not been tuned on it called many fakes real: {shares}.")
    return found


def tuned_on_too_few(training: dict[str, Any]) -> list[str]:
    """That nobody knows how a tuned model does on new generators or sources, where its runs left no whole ones out."""
    if all(run["generators"] and run["sources"] for run in training.get("left_out", ())):
        return []
    return [
        "It was tuned on too few generators or real sources to leave whole ones out, so how it does on new ones was not measured. Expect "
        "worse of it there."
    ]


def never_learnt(training: dict[str, Any]) -> list[str]:
    """Of which families it has seen no fakes, where the names of those that it has seen tell any."""
    names = training.get("train", {}).get("fake", {})
    learnt = {line.family for name in names if (line := line_of(name))}
    missing = [f"{family} (such as {KNOWN_BY[family]})" for family in FAMILIES if family not in learnt]
    return [f"As far as names tell, it learnt from no fakes of these kinds: {listed(missing)}."] if learnt and missing else []


def never_said(who: str, thresholds: Thresholds) -> list[str]:
    """Which answers a model never gives, as it could not promise how often these would be wrong."""
    why = "it was trained on too few pictures, or ones too hard to tell, to promise how often that would be wrong"
    return [f"{who} never says {' or '.join(thresholds.never)}: {why}."] if thresholds.never else []


def given(thresholds: Thresholds, put: Callable[[float], str] = "{:.3f}".format) -> str:
    """From which probability on, put into words by `put`, which answer is given."""
    if thresholds.real == thresholds.fake:  # of another's scores
        return f"fake from {put(thresholds.fake)}, else real"
    limits = {"real": f"real up to {put(thresholds.real)}", "fake": f"fake from {put(thresholds.fake)}"}
    said = [f"never {answer}" if answer in thresholds.never else limit for answer, limit in limits.items()]
    return ", ".join([*said, "unsure otherwise"])


def promised(thresholds: Thresholds, promise: dict[str, Any]) -> list[str]:
    """How often at most each answer is wrong, a line each; of one that is never given, how many pictures that would take."""
    wrong = {
        "fake": ("real pictures", promise["false_positive_rate"], promise["real_pictures_from"]),
        "real": ("fakes", promise["false_negative_rate"], promise["fakes_from"]),
    }
    return [
        f"It will never say {answer}: that at most {percent(rate)} of {of} get this answer can't be promised from so few, or ones so hard "
        f"to tell. It takes {fewest_for(rate)} {of} at the very least, each in a group of its own; some hundreds are better."
        if answer in thresholds.never
        else f"Promised: at most {percent(rate)} of {of} called {answer} (measured on {places})."
        for answer, (of, rate, places) in wrong.items()
    ]


def of_clips_too(manifest: dict[str, Any]) -> list[str]:
    """That the promise is one about clips as well, where answers about these are calibrated."""
    if "clips" not in manifest:
        return []
    clips = manifest["clips"]
    of_frames = [one for coding, one in clips.items() if not saved_again(coding)] or clips.values()  # the others are of stills, saved since
    real, fake = (sum(one["promise"]["pictures"][label] for one in of_frames) for label in LABEL_NAMES)
    too = [f"Of clips the same: answers about them are calibrated by {real:,} frames of clips of real pictures and {fake:,} of fakes."]
    if looks := manifest.get("looks_filmed"):
        known = ", ".join(f"{percent(share, 1)} of {_coded(coding)}" for coding, share in looks["found"].items())
        too.append(
            f"A picture that looks as if it had been such a frame is judged as one. So look {known}, and "
            f"{percent(looks['mistaken'], 1)} of other pictures, of sources and generators that this was not learnt from."
        )
        if any(looks.get("doubted", ())):
            too.append("What nearly looks so is called fake only if it would be as such a frame, too.")
    return too


def _coded(coding: str) -> str:
    """What the name of a coding stands for."""
    view, *since = coding.split("+")
    frames = next(words for start, words in _CODED.items() if view.startswith(start))
    return " ".join([frames, *(f"saved as {name}" for name in since)])


def _hardly_answered(scores: dict[str, Any]) -> list[str]:
    """Whether it hardly ever gives an answer, which the shares of wrong ones would hide."""
    found, short, never = [], in_short(scores), Thresholds(**scores["thresholds"]).never
    for answer in ("fake", "real"):
        of_class = short[answer]
        if answer not in never and of_class["n"] and of_class[answer] < WEAK_SHARE:
            right = of_class[answer] * of_class["n"]
            found.append(f"It hardly ever says {answer}: of {right:.0f} of the {of_class['n']} pictures that are.")
    return found


def _elsewhere(figures: dict[str, Any]) -> list[str]:
    """How it does on pictures of other places, where the model keeps that (evaluate.py --keep-as)."""
    weak = sorted((one["auroc"], name) for name, one in figures.items() if one["auroc"] is not None and one["auroc"] < WEAK_AUROC)
    found = []
    if weak:
        places = listed(f"{name} (AUROC {area:.2f})" for area, name in weak)
        found.append(f"On pictures from elsewhere it tells fakes from photographs less well: {places}.")
    for label, wrong, what in (("fake", "real", "of the fakes"), ("real", "fake", "of the real pictures")):
        shares = sorted(((one[label][wrong] or 0.0, name) for name, one in figures.items()), reverse=True)
        shares = [(share, name) for share, name in shares if share > WEAK_SHARE]
        if shares:
            found.append(f"There it calls many {wrong}: {listed(f'{percent(share)} {what} in {name}' for share, name in shares)}.")
    return found


def counted(promise: dict[str, Any], label: str) -> str:
    """How many pictures of a class a model's promise was measured on, and in how many groups where these are fewer."""
    pictures = promise["pictures"][label]
    groups = promise.get("groups", promise["pictures"])[label]  # older models did not ask
    return f"{pictures} in {groups} groups" if groups < pictures else f"{pictures}"


def left_out(protocol: dict[str, Any]) -> list[str]:
    """What a reader of a protocol has to know of what it left out: what it could not, and what only together."""
    said = []
    if protocol["not_left_out"]:
        names = listed(protocol["not_left_out"])
        said.append(f"{protocol['protocol']} says nothing of {names}: without it nothing would be left to test or to learn from.")
    if protocol["left_out_together"]:
        lines = "; ".join(listed(line) for line in protocol["left_out_together"])
        said.append(f"{protocol['protocol']} learns from none of a model line when it asks about one of it: {lines}.")
    return said


def promise_on_unseen(protocol: dict[str, Any]) -> str:
    """What is promised, and how it was put to the test on sources or generators that training had been without."""
    held_out, promise = {
        "fake": ("real source", "of real pictures called fake, also of sources not learnt from"),
        "real": ("generator", "of fakes called real, also of generators not learnt from"),
    }[protocol["wrong"]]
    sentence = (
        f"Promised: at most {percent(protocol['promised'])} {promise}. Each {held_out} was left out of head, calibration and thresholds; "
        f"kept (at most {protocol['tolerated']:g} times that, and not more than promised beyond chance) for "
        f"{protocol['kept']} of {len(protocol['rows'])}."
    )
    known = [row["held_out"] for row in protocol["rows"] if not row["promised_of_new"]]
    if known:
        sentence += f" Without {listed(known)} too few {held_out}s were left to treat each as new, so thresholds came from known ones."
    return sentence


def _under_degradation(robustness: dict[str, Any]) -> list[str]:
    views = robustness["views"]
    before = views["as it is"]["auroc"]
    found = []
    fallen = sorted((v["auroc"], name) for name, v in views.items() if before and v["auroc"] is not None and v["auroc"] < before - 0.05)
    if fallen:
        found.append(f"Its AUROC falls from {before:.2f} to {listed(f'{area:.2f} under {name}' for area, name in fallen[:3])}.")
    flips = sorted(((v["real_flipped"], name) for name, v in views.items() if (v["real_flipped"] or 0) > 0.05), reverse=True)
    if flips:
        found.append(
            f"Mild processing makes it call real pictures fake: {listed(f'{percent(share)} under {name}' for share, name in flips[:3])}."
        )
    return found
