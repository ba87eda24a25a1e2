"""Answers as a CSV, a row for each file: for spreadsheets, and for `evaluate.py --scores`, which reads its `path` and `p_fake`."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import TextIO

from deepfake_detector.types import Verdict

COLUMNS = ("path", "verdict", "p_fake", "model", "others", "declared", "notes", "error", "sha256")


def write(file: TextIO, outcomes: Iterable[tuple[str, Verdict | str]]) -> Iterator[Verdict | str]:
    """Write each (path, verdict or the reason why there is none) as it comes, and hand the outcome on."""
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(COLUMNS)
    for path, outcome in outcomes:
        rows.writerow(_row(path, outcome))
        file.flush()
        yield outcome


def _row(path: str, outcome: Verdict | str) -> tuple[str | float, ...]:
    path = f"./{path}" if path[:1] in "=+-@" else path  # the same file, which no spreadsheet takes for a formula
    if isinstance(outcome, str):
        return path, "", "", "", "", "", "", outcome, ""
    others = "; ".join(f"{other.model}: {other.verdict} {other.p_fake:.4f}" for other in outcome.others)
    declared = "; ".join(f"{one.where}: {one.says}" for one in outcome.declared)
    return path, outcome.verdict, outcome.p_fake, outcome.model, others, declared, "; ".join(outcome.notes), "", outcome.sha256
