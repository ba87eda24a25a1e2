"""A verdict as HTML: the word, the probability as a bar with the thresholds drawn in, of a clip its course, and what stood behind it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from deepfake_detector.embed import read_file
from deepfake_detector.errors import UnusablePicture
from deepfake_detector.images import open_picture, small, thumbnail
from deepfake_detector.report.words import given, percent
from deepfake_detector.types import LABEL_NAMES, Answer, Family, KeptApart, Progress, Similar, Sought, Verdict
from deepfake_detector.ui.timeline import timeline

_MOST_FACES = 12
_WORD = {"fake": "Fake", "real": "Real", "unsure": "Unsure"}
_SEEN = "What can be seen in the picture itself, the file's own words apart:"
_BAD_AT = '<a href="#bad_at">what it is bad at</a>'  # in a report that is kept; on the page page.js opens the tab
_MEANING: dict[Sought, dict[Answer, str]] = {
    "fakes": {
        "fake": f"It looks generated to the detector. That is a hint, not proof; see {_BAD_AT}.",
        "real": "The detector finds no traces of a generator that it knows; one that it does not know may still have made it.",
        "unsure": "The evidence does not suffice for either answer.",
    },
    "face swaps": {
        "fake": f"A face in it looks put in, or retouched, to the detector. That is a hint, not proof; see {_BAD_AT}.",
        "real": "The detector finds no sign of a face that was put in. Whether a generator made all of it this does not say.",
        "unsure": "The evidence does not suffice to say whether a face was put in.",
    },
}
_NEXT = (
    '<p class="beside">Treat it as not judged. What may help: a larger or earlier copy; a reverse image search for where it was seen '
    "first; showing the detector pictures from the same source (<i>Teach it</i>).</p>"
)
_SIGNED = {
    None: "Whether the signature is really that of {} was not checked. ",
    True: "The signature is really that of {}, by the list of signers that this detector was given. ",
    False: "Who signed as {} is not on the list of signers that this detector was given, and anyone may sign by any name. ",
}


def card(verdict: Verdict, content: bytes | None = None, timed: bool = True) -> str:
    """HTML for one verdict, and for those of the others that were asked; everything that came from outside is escaped.

    `content` is the picture's file, to show the faces that were found in it; `timed` whether it was judged by itself, so that its time says
    something.
    """
    others = "".join(
        f'<section data-model="{escape(other.model)}" data-answer="{other.verdict}"><h3>{escape(other.model)}, which looks for '
        f"{escape(other.looks_for)}: {other.verdict}</h3>{_answer(other, content)}{_about(other)}</section>"
        for other in verdict.others
    )
    time = {"Time": f"{verdict.seconds:.2f} s, {'answered from memory' if verdict.cached else 'encoded just now'}"} if timed else {}
    which = {**time, "SHA-256": verdict.sha256}
    if verdict.by_the_file:
        of_none = [note for note in verdict.notes if not any(note in other.notes for other in verdict.others)]  # each shows its own
        parts = (_own_words(verdict), f"<p>{_SEEN}</p>", others, _rows(_note(of_none)), _folded(which, "Details of the file"))
    else:
        steps = _NEXT if verdict.verdict == "unsure" else ""
        parts = (_answer(verdict, content), steps, _about(verdict, which), _own_words(verdict), others)
    return (
        f'<div class="verdict {verdict.verdict}" data-verdict="{verdict.verdict}" data-p-fake="{verdict.p_fake}">'
        f"<h2>{_WORD[verdict.verdict]}</h2>{''.join(parts)}{_similar(verdict)}</div>"
    )


def _own_words(verdict: Verdict) -> str:
    """What the file says of itself, and what that is worth."""
    if not verdict.declared:
        return '<p class="beside">The file says nothing of its own origin. Most files do not, so that means nothing.</p>'
    said = "".join(f"<li><b>{escape(one.where)}</b>: {escape(one.says)}.</li>" for one in verdict.declared)
    worth = "".join(dict.fromkeys(_SIGNED[one.vouched_for].format(escape(one.signed_by)) for one in verdict.declared if one.signed_by))
    worth += "What is not signed anyone can write into a file." if any(not one.signed_by for one in verdict.declared) else ""
    opening = "It says itself that a generative model made it, or a part of it" if verdict.by_the_file else "The file says of itself"
    return f'<div class="declared"><p>{opening}:</p><ul>{said}</ul><p class="beside">{worth}</p></div>'


def _answer(verdict: Verdict, content: bytes | None) -> str:
    """What one model's answer means, its probability as a bar and, of a clip, its course; of a picture, each face."""
    meaning = _MEANING[verdict.looks_for][verdict.verdict]
    if verdict.withheld:
        meaning = f"The answer would be {verdict.thresholds.answer(verdict.p_fake)}, but {verdict.withheld}. So there is none."
    low, high, p = 100 * verdict.thresholds.real, 100 * verdict.thresholds.fake, 100 * verdict.p_fake
    bar = f"linear-gradient(90deg, #2da44e 0 {low:.2f}%, #d4a72c {low:.2f}% {high:.2f}%, #cf222e {high:.2f}% 100%)"
    return (
        f"<p>{meaning}</p>"
        f'<div class="bar" role="img" aria-label="probability of fake {p:.1f} percent" style="background: {bar}">'
        f'<div class="limit" style="left: {low:.2f}%"></div><div class="limit" style="left: {high:.2f}%"></div>'
        f'<div class="mark" style="left: {p:.2f}%"></div></div>'
        f'<div class="ends"><span>real</span><span>unsure</span><span>fake</span></div>{_kept_apart(verdict.kept_apart)}'
        f"{timeline(verdict) if verdict.frames else ''}{_faces(verdict, content)}"
    )


def _faces(verdict: Verdict, content: bytes | None) -> str:
    """Each face that was judged, with its own probability: of several people, who is it about?"""
    if not verdict.faces:
        return ""
    picture = open_picture(content).image if content else None
    shown = "".join(
        f'<li class="{verdict.thresholds.answer(face.p_fake)}">{_image(small(picture.crop(face.box)), "a face") if picture else ""}'
        f"{verdict.thresholds.answer(face.p_fake)}, {percent(face.p_fake, 1)}</li>"
        for face in verdict.faces[:_MOST_FACES]
    )
    more = f", the first {_MOST_FACES} of {len(verdict.faces)}" if len(verdict.faces) > _MOST_FACES else ""
    return f'<p class="beside">Each face by itself, the most suspicious first{more}:</p><ul class="similar faces">{shown}</ul>'


def _about(verdict: Verdict, which: dict[str, str] | None = None) -> str:
    """The facts under one model's answer; folded away those that few ask for, of which `which` are of the file and its judging."""
    likely = {"Probability of fake": f"{percent(verdict.p_fake, 1)}, if half of all pictures were fake"}
    asked = {"Thresholds": given(verdict.thresholds, lambda p: percent(p, 1)), "Model": f"{verdict.model} on {verdict.encoder}"}
    return _rows(likely | _note(verdict.notes) | _family(verdict.family)) + _folded(asked | (which or {}))


def _note(notes: Sequence[str]) -> dict[str, str]:
    return {"Note": "; ".join(notes)} if notes else {}


def _rows(facts: dict[str, str]) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    return rows and f"<dl>{rows}</dl>"


def _folded(facts: dict[str, str], title: str = "Details") -> str:
    return f"<details><summary>{title}</summary>{_rows(facts)}</details>"


def _kept_apart(beside: KeptApart | None) -> str:
    """What a probability alone does not say: how usual such an answer is about pictures of each kind."""
    if not beside:
        return ""
    real, fake = (percent(share) if share else "none" for share in (beside.real, beside.fake))
    return (
        f'<p class="beside">For comparison: as suspicious as this, or more, look {real} of {beside.real_count:,} real pictures '
        f"({escape(beside.real_from)}) and {fake} of {beside.fake_count:,} fakes ({escape(beside.fake_from)}).</p>"
    )


def _family(family: Family | None) -> dict[str, str]:
    if not family:
        return {}
    right = (
        f"knows only {', '.join(family.told)}; of fakes by generators that it never learnt from it named a kind for "
        f"{percent(family.answered)}, rightly for {percent(family.right)} of these"
    )
    if family.strange is not None:
        right += f"; of kinds that it never learnt it left {percent(family.strange)} unknown"
    return {"Likeliest kind of generator": str(family), "That answer": right}


def _similar(verdict: Verdict) -> str:
    """The known pictures beside the new one, each with its thumbnail where its file is at hand."""
    if not verdict.similar:
        return ""
    shown = "".join(
        f'<li class="{LABEL_NAMES[one.label]}">{_thumbnail(one.file)}{_kind(one)}<br>similarity {one.cosine:.2f}<br>{escape(one.path)}</li>'
        for one in verdict.similar
    )
    return f'<p>The known pictures that the detector sees as most like it (this does not decide):</p><ul class="similar">{shown}</ul>'


def _kind(known: Similar) -> str:
    return escape(", ".join(dict.fromkeys([LABEL_NAMES[known.label], known.generator])))  # of real ones both may be "real"


def _thumbnail(file: str | None) -> str:
    try:
        return _image(thumbnail(read_file(file))) if file else ""
    except (UnusablePicture, OSError):
        return ""  # its name is shown all the same


def _image(address: str, shows: str = "") -> str:
    return f'<img alt="{shows}" src="{address}">'


def problem(message: str) -> str:
    """HTML for a file that can't be judged."""
    return f'<div class="verdict problem" data-verdict="error"><h2>No verdict</h2><p>{escape(message)}</p></div>'


def under_way(words: str, progress: Progress | None = None) -> str:
    """HTML in the place of a verdict that is being found; without `progress` nobody knows how far that is."""
    far = f' value="{progress.done}" max="{progress.of}"' if progress else ""
    return f'<div class="verdict"><p>{words}</p><progress aria-label="Judging"{far}></progress></div>'
