"""The first document's classifier: a Keras network of 512, 256 and 128 ReLU units with a sigmoid, 20 epochs of Adam."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from deepfake_detector.heads import EmbeddingHead
from deepfake_detector.vectors import Vectors

# Serving needs no second framework beside torch; KERAS_BACKEND=tensorflow trains under TensorFlow, and the file is the same.
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # where TensorFlow is installed, Keras imports it under any backend
import torch  # noqa: E402, F401  before keras: TensorFlow imported first can clash with torch's libraries

import keras  # noqa: E402  isort: skip

LAYERS, EPOCHS, BATCH = (512, 256, 128), 20, 32
WATCHED = 1024  # rows a batch of those that are only watched


class _Rows(keras.utils.PyDataset):
    """Batches of rows, wherever they lie; with a seed in another order each epoch. (Keras shuffles only what is in memory.)"""

    def __init__(self, X: Vectors, y: np.ndarray, batch: int, weight: np.ndarray | None = None, seed: int | None = None):
        super().__init__()
        self.X, self.y, self.batch = X, y.astype(np.float32)[:, None], batch
        self.weight = np.ones(len(y), np.float32) if weight is None else np.asarray(weight, np.float32)
        self.order = np.arange(len(y))
        self.shuffle = None if seed is None else np.random.default_rng(seed).shuffle
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self.y) // self.batch)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows = self.order[number * self.batch : (number + 1) * self.batch]
        return np.asarray(self.X[rows], np.float32), self.y[rows], self.weight[rows]

    def on_epoch_end(self) -> None:
        if self.shuffle:
            self.shuffle(self.order)


class Head(EmbeddingHead):
    """Binary cross-entropy, Adam, batches of 32, 20 epochs; the same seed gives the same network on the same machine."""

    def fit(self, X: Vectors, y: np.ndarray, weight: np.ndarray | None = None, held_out: tuple[Vectors, np.ndarray] | None = None) -> Head:
        keras.utils.set_random_seed(self.seed)
        self.width_ = X.shape[1]
        layers = [keras.Input((self.width_,)), *(keras.layers.Dense(units, "relu") for units in LAYERS)]
        self.model_ = keras.Sequential([*layers, keras.layers.Dense(1, "sigmoid")])
        self.model_.compile(optimizer=keras.optimizers.Adam(), loss="binary_crossentropy", metrics=["accuracy"])
        watched = _Rows(*held_out, WATCHED) if held_out else None
        kept = self.model_.fit(_Rows(X, y, BATCH, weight, self.seed), epochs=EPOCHS, validation_data=watched, shuffle=False, verbose=0)
        self.history_ = {name: [float(v) for v in values] for name, values in kept.history.items()}
        return self

    def scores(self, X: np.ndarray) -> np.ndarray:
        # predict() costs a hundred milliseconds for one row; a direct call costs four.
        return keras.ops.convert_to_numpy(self.model_(X, training=False))[:, 0]

    def save(self, folder: Path) -> None:
        # The same layers, uncompiled: Adam's state would treble the file.
        keras.Sequential([keras.Input((self.width_,)), *self.model_.layers]).save(folder / "head.keras")

    @classmethod
    def load(cls, folder: Path) -> Head:
        head = cls()
        head.model_ = keras.saving.load_model(folder / "head.keras", compile=False, safe_mode=True)
        head.width_ = head.model_.input_shape[-1]
        return head
