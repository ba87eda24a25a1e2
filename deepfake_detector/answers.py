"""Answers as a CSV, a row for each file: for spreadsheets, and for `evaluate.py --scores`, which reads its `path` and `p_fake`."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import TextIO

from deepfake_detector.types import Verdict

COLUMNS = ("path", "verdict", "p_fake", "model", "others", "declared", "family", "similar", "notes", "error", "sha256")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet may take a cell for that begins so


def write(file: TextIO, outcomes: Iterable[tuple[str, Verdict | str]]) -> Iterator[Verdict | str]:
    """Write each (path, verdict or the reason why there is none) as it comes, and hand the outcome on."""
    rows = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)  # else a name with a carriage return would begin a row
    rows.writerow(COLUMNS)
    for path, outcome in outcomes:
        rows.writerow(_row(path, outcome))
        file.flush()
        yield outcome


def _row(path: str, outcome: Verdict | str) -> tuple[str | float, ...]:
    path = f"./{path}" if path.startswith(_FORMULA) else path  # the same file
    if isinstance(outcome, str):
        return path, *[""] * (len(COLUMNS) - 3), outcome, ""
    others = "; ".join(other.in_short for other in outcome.others)
    declared, similar, notes = ("; ".join(map(str, several)) for several in (outcome.declared, outcome.similar, outcome.notes))
    family = str(outcome.family or "")
    return path, outcome.verdict, outcome.p_fake, outcome.model, others, declared, family, similar, notes, "", outcome.sha256
