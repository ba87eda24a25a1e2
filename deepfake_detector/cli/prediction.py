"""`python -m deepfake_detector predict`: files → a line each."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from deepfake_detector.cli.options import check_beside, open_cache, panel_of, sampling_of
from deepfake_detector.cli.say import say
from deepfake_detector.errors import UnusablePicture

if TYPE_CHECKING:
    import argparse

    from deepfake_detector.panel import Panel
    from deepfake_detector.types import Verdict
    from deepfake_detector.video import Sampling

MOST_ALIKE = 3  # known pictures named on a file's line; --json has all
NAMED = 3  # files in a folder that are left out


def predict_files(arguments: argparse.Namespace) -> int:
    from deepfake_detector import answers
    from deepfake_detector.report.words import never_said

    sampling = sampling_of(arguments)
    check_beside(arguments)
    if sys.stderr.isatty():
        say("Loading the models, which takes some seconds …", file=sys.stderr)
    panel = panel_of(arguments, open_cache(arguments))
    for bundle in panel.bundles:
        for never in never_said(bundle.name, bundle.thresholds):
            say(never, file=sys.stderr)
    outcomes = _judged(panel, arguments.paths, sampling)
    if arguments.csv:
        failed = sum(isinstance(outcome, str) for outcome in answers.write(sys.stdout, outcomes))
    else:
        failed = 0
        for path, outcome in outcomes:
            failed += isinstance(outcome, str)
            if arguments.json:
                say(json.dumps(_json_line(panel, path, outcome)))
            else:
                say(_plain_line(path, outcome))
    return 1 if failed else 0


def _judged(panel: Panel, paths: Iterable[str], sampling: Sampling) -> Iterator[tuple[str, Verdict | str]]:
    """Files, those in folders, and pictures at addresses, in order; what folders could not give comes last."""
    unlisted: list[tuple[str, str]] = []
    for at_addresses, some in itertools.groupby(paths, _is_address):
        named = list(some)
        yield from _fetched(panel, named) if at_addresses else panel.judge_files(_files(named, unlisted), sampling)
    yield from unlisted


def _is_address(path: str) -> bool:
    return "://" in path and not os.path.exists(path)


def _fetched(panel: Panel, urls: Iterable[str]) -> Iterator[tuple[str, Verdict | str]]:
    from deepfake_detector.fetch import fetched_now

    for url, content in fetched_now(urls):
        try:
            yield url, content if isinstance(content, str) else panel.judge(content)
        except UnusablePicture as error:
            yield url, str(error)


def _json_line(panel: Panel, path: str, outcome: Verdict | str) -> dict[str, Any]:
    if isinstance(outcome, str):
        return {"file": path, "model": panel.first.bundle.name, "encoder": panel.first.bundle.spec.name, "error": outcome}
    return {"file": path} | outcome.to_json()


def _plain_line(path: str, outcome: Verdict | str) -> str:
    if isinstance(outcome, str):
        return f"{'error':23}{path}: {outcome}"
    notes = f"  ({'; '.join(outcome.notes)})" if outcome.notes else ""
    family = f"  likeliest kind of generator: {outcome.family}" if outcome.family else ""
    alike = f"  most like: {', '.join(map(str, outcome.similar[:MOST_ALIKE]))}" if outcome.similar else ""
    others = ", ".join(other.in_short for other in outcome.others)
    by = f"  by {'its own word' if outcome.by_the_file else outcome.model}; {others}" if others else ""
    declared = "".join(f"  {one}" for one in outcome.declared)
    return f"{outcome.verdict:6}  p_fake {outcome.p_fake:.4f}  {path}{by}{declared}{family}{notes}{alike}"


def _files(paths: Iterable[str], unlisted: list[tuple[str, str]]) -> Iterable[str]:
    """Files as they are, folders as the pictures and clips in them, sorted; `unlisted` takes what they could not give, and why."""
    from deepfake_detector.datasets.folder import files_below

    for path in paths:
        if not os.path.isdir(path):
            yield path
            continue
        found, others, unread = files_below(path)
        if others:
            named = ", ".join(others[:NAMED]) + (", …" if len(others) > NAMED else "")
            say(f"{path}: skipped {len(others)} by their endings ({named}); a picture among them is judged if it is named", file=sys.stderr)
        unlisted.extend(unread)
        if not found and not unread:
            unlisted.append((path, "there are no pictures or clips in this folder"))
        yield from found
