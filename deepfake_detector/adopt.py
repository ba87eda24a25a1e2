"""A classifier that others have trained, and pictures that it is to be measured by → a model: its own last layer as the head.

Nothing of it is trained. What it gets is what published classifiers lack: a probability that means what it says, and thresholds for a
promised rate of errors.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from deepfake_detector.datasets.folder import label_of_word
from deepfake_detector.encoders.hf_classifier import Encoder, LastLayer
from deepfake_detector.errors import TrainingError
from deepfake_detector.heads import logistic
from deepfake_detector.train import Fitted, Training, check_trainable, finished, fit_promise, held_out, two_sides
from deepfake_detector.types import FAKE, REAL, Embeddings, made_differently

_SEED = 0  # of the split into what it is calibrated by and what it is measured on


def adopt(encoder: Encoder, data: Embeddings, name: str, fakes: Collection[str] = (), command: str = "") -> Training:
    """Calibrate on the training side of `data`, embeddings by `encoder`, and measure on its test side.

    `fakes` are the labels that mean fake, where their words don't say so. Raises TrainingError for a classifier whose labels are not
    two, or say nothing, and for a table of another encoder.
    """
    if differences := made_differently(encoder.spec, data.crop, data.spec, data.crop):
        raise TrainingError(
            f"The table was not made by this classifier ({differences}). Make it with extract_embeddings.py --encoder hf_classifier "
            f"--weights {encoder.weights}."
        )
    check_trainable(data, "logistic")
    layer = encoder.last_layer()
    fake = _fake_label(layer, fakes)
    head = logistic.given(*layer.lead(fake))
    sides = two_sides(data, _SEED)
    scores = head.p_fake(sides.training.X)
    of_new = np.full(len(scores), np.nan)  # whose sources and generators are new to the classifier, nobody here knows
    fitted = Fitted(head, *fit_promise(*held_out(sides.training.rows, scores, of_new, of_new)))
    adopted = {"from": encoder.weights, "labels": layer.words, "fake": layer.words[fake]}
    facts = {"seed": _SEED, "views": 0, "adopted": adopted, "command": command}  # nothing was learnt, from degraded copies neither
    return finished(name, "logistic", fitted, sides, facts, encoder_weights=encoder.folder)


def _fake_label(layer: LastLayer, fakes: Collection[str]) -> int:
    """Which of the two labels means fake."""
    if len(layer.words) != 2:
        raise TrainingError(
            f"The classifier should tell two labels, real and fake; it tells {len(layer.words)}: {', '.join(layer.words[:8])}. "
            "It can be measured all the same: write its scores into a CSV, for evaluate.py --scores."
        )
    if unknown := sorted(set(fakes) - set(layer.words)):
        raise TrainingError(f"The classifier's labels are {layer.words[0]!r} and {layer.words[1]!r}; --fake-label {unknown[0]} is neither.")
    said = [FAKE if word in fakes else REAL for word in layer.words] if fakes else [label_of_word(word) for word in layer.words]
    if said.count(None) == 1:  # Realism and Deepfake, say: one word that is known tells what the other means
        known = next(label for label in said if label is not None)
        said = [1 - known if label is None else label for label in said]
    if sorted(said, key=str) != [REAL, FAKE]:
        raise TrainingError(
            f"The classifier's labels are {layer.words[0]!r} and {layer.words[1]!r}, and these words don't say which means fake. "
            "Choose one with --fake-label."
        )
    return said.index(FAKE)
