"""train_classifier.py: tables → a model; and what is printed of every model that was trained."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detector import registry
from deepfake_detector.cli.figures import print_clips, summary_lines
from deepfake_detector.cli.options import check_seed, command_line, new_parser, run
from deepfake_detector.cli.say import say

if TYPE_CHECKING:
    import argparse

    from deepfake_detector.train import Training


def train(argv: list[str] | None = None) -> int:
    parser = new_parser(
        "Train a classifier on tables of embeddings.", "The model is a folder: the head's files, manifest.json and the curves."
    )
    parser.add_argument("tables", metavar="TABLE", nargs="+", help="made by extract_embeddings.py, all with one encoder and crop")
    parser.add_argument("--head", default="keras_mlp", help=f"one of {', '.join(registry.names('heads'))} (default: %(default)s)")
    parser.add_argument("--out", metavar="FOLDER", help="the model (default: models/TABLE-HEAD, of the first table)")
    parser.add_argument("--choose", action="store_true", help="choose the head's settings on generators and real sources held out")
    parser.add_argument(
        "--clips",
        metavar="TABLE",
        action="append",
        default=[],
        help="the same pictures as frames of clips (--crop CROP+clip0, +poor0 for a poor coding, +clip0+jpeg90 for stills saved since), by "
        "which answers about what looks so coded are calibrated (repeatable)",
    )
    parser.add_argument("--seed", type=int, default=0, help="the same tables and seed give the same model (default: %(default)s)")
    return run(_train, parser, argv)


def _train(arguments: argparse.Namespace) -> int:
    from deepfake_detector import bundle, table
    from deepfake_detector.train import train

    registry.load("heads", arguments.head)  # an unknown head, before a large table is read
    out = Path(arguments.out or f"models/{Path(arguments.tables[0]).stem}-{arguments.head}")
    bundle.check_target(out)
    check_seed(arguments)
    table.check_each_once(arguments.clips)
    data, clips = table.read_all(arguments.tables), [table.read(path) for path in arguments.clips]
    save_and_tell(train(data, arguments.head, out.name, arguments.seed, command_line(), arguments.choose, clips), out)
    return 0


def save_and_tell(done: Training, out: Path) -> None:
    """Write a trained model, and print how well it does on what was kept apart."""
    from sklearn.metrics import classification_report, confusion_matrix

    from deepfake_detector import bundle
    from deepfake_detector.evaluate import evaluate_scores, per_picture
    from deepfake_detector.report.words import given, of_clips_too, promised
    from deepfake_detector.train import plot_curves
    from deepfake_detector.types import LABEL_NAMES

    rows, p_fake = per_picture(done.test.rows, done.p_fake)  # of several faces the most suspicious, as in a verdict
    labels = rows["label"].to_numpy()
    scores = evaluate_scores(rows, p_fake, done.bundle.thresholds, regions=(done.test.rows, done.p_fake))
    made = dataclasses.replace(done.bundle, manifest=done.bundle.manifest | {"scores": scores})

    def draw(place: Path) -> None:
        try:
            if done.history:
                plot_curves(done.history, place / "curves.png")
        except Exception as error:  # whatever it is, a model is worth more than its drawing
            say(f"Its curves could not be drawn ({error}).", file=sys.stderr)

    bundle.save(made, out, draw)
    guess = (p_fake >= 0.5).astype(int)
    say(*classification_report(labels, guess, target_names=LABEL_NAMES, digits=4, zero_division=0).split("\n"))
    say("Confusion matrix (rows: truth, columns: answer; real, fake):")
    say(*str(confusion_matrix(labels, guess, labels=[0, 1])).split("\n"))
    say(*summary_lines(scores["overall"]))
    print_clips(scores)
    thresholds = made.thresholds
    say(f"Verdict: {given(thresholds)}.")
    if made.calibration.says_nothing:
        say("What it had not learnt from it told no better than by guessing, or the wrong way round, so every probability is about a half.")
    say(*promised(thresholds, made.manifest["promise"]), *of_clips_too(made.manifest))
    for tried in made.manifest["training"]["settings_tried"]:
        matched = f", {tried['matched_auroc']:.4f} on held-out pairs of one content" if "matched_auroc" in tried else ""
        what = f"tried {tried['settings']}: " if tried["settings"] else ""
        say(f"  {what}AUROC {tried['unseen_auroc']:.4f} on generators and real sources held out{matched}")
    if done.look_alikes:
        looked_at = made.manifest["training"]["look_alikes"]["looked_at"]
        say(
            f"WARNING: {len(done.look_alikes)} of {looked_at} test pictures look just like one that was learnt from, and may be the same, "
            f"saved again: {' and '.join(map(repr, done.look_alikes[0]))}, for one. Such pictures flatter the figures above. Give both one "
            "group in a manifest.csv, or leave one out."
        )
    say(f"{out}: {made.head_name} on {made.spec.name}; split: {made.manifest['training']['split']}")
