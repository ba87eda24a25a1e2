"""`python -m deepfake_detector predict`: files → a line each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any

from deepfake_detector.cli.options import check_known, open_cache, panel_of, sampling_of
from deepfake_detector.errors import DetectorError

if TYPE_CHECKING:
    import argparse

    from deepfake_detector.panel import Panel
    from deepfake_detector.types import Verdict

MOST_ALIKE = 3  # known pictures named on a file's line; --json has all


def predict_files(arguments: argparse.Namespace) -> int:
    sampling = sampling_of(arguments)
    check_known(arguments)
    panel = panel_of(arguments, open_cache(arguments))
    failed = 0
    unlisted: list[tuple[str, str]] = []
    for path, outcome in chain(panel.judge_files(_files(arguments.paths, unlisted), sampling), unlisted):
        failed += isinstance(outcome, str)
        print(json.dumps(_json_line(panel, path, outcome)) if arguments.json else _plain_line(path, outcome), flush=True)
    return 1 if failed else 0


def _json_line(panel: Panel, path: str, outcome: Verdict | str) -> dict[str, Any]:
    if isinstance(outcome, str):
        return {"file": path, "model": panel.first.bundle.name, "encoder": panel.first.bundle.spec.name, "error": outcome}
    return {"file": path} | outcome.to_json()


def _plain_line(path: str, outcome: Verdict | str) -> str:
    from deepfake_detector.types import LABEL_NAMES

    shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\n", "\\n")
    if isinstance(outcome, str):
        address = "; this is an address: save the picture first, and name its file" if "://" in path else ""
        return f"error            {shown}: {outcome}{address}"
    notes = f"  ({'; '.join(outcome.notes)})" if outcome.notes else ""
    family = f"  likeliest kind of generator: {outcome.family}" if outcome.family else ""
    alike = ", ".join(f"{LABEL_NAMES[one.label]} {one.path} ({one.cosine:.2f})" for one in outcome.similar[:MOST_ALIKE])
    others = ", ".join(f"{other.model}: {other.verdict} {other.p_fake:.4f}" for other in outcome.others)
    by = f"  by {'its own word' if outcome.by_the_file else outcome.model}; {others}" if others else ""
    declared = "".join(f"  {one.where}: {one.says}" for one in outcome.declared)
    return f"{outcome.verdict:6}  {outcome.p_fake:8.4f}  {shown}{by}{declared}{family}{notes}{f'  most like: {alike}' if alike else ''}"


def _files(paths: Iterable[str], unlisted: list[tuple[str, str]]) -> Iterable[str]:
    """Files as they are, folders as the pictures and clips in them, sorted; `unlisted` takes folders that give none, and why."""
    from deepfake_detector.datasets.folder import picture_files

    for path in paths:
        if not os.path.isdir(path):
            yield path
            continue
        try:
            found = picture_files(path)
        except DetectorError as error:
            unlisted.append((path, str(error)))
            continue
        if not found:
            unlisted.append((path, "there are no pictures or clips in this folder"))
        yield from found
