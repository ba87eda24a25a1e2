"""A small network over the class tokens of all blocks, which learns how much each block matters for each feature.

Koutlis & Papadopoulos, "Leveraging Representations from Intermediate Encoder-blocks for Synthetic Image Detection"
(RINE), ECCV 2024: a projection shared by all blocks, a trainable importance of block and feature, a second projection;
binary cross-entropy, and a supervised contrastive loss (Khosla et al., NeurIPS 2020) on what the importance lets through.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save

from deepfake_detector.heads import EmbeddingHead
from deepfake_detector.heads._sklearn import standardiser
from deepfake_detector.vectors import Vectors

FEATURES, DROPOUT = 128, 0.5
EPOCHS, LEAST_STEPS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 8, 300, 128, 1e-3, 1e-2  # small tables are gone through more often
CONTRAST, TEMPERATURE = 0.2, 0.1  # the contrastive loss's weight


class Head(EmbeddingHead):
    """Where each token is a unit vector, the data say how wide one is; an embedding of one layer counts as one block."""

    def fit(self, X: Vectors, y: np.ndarray, weight: np.ndarray | None = None, held_out: tuple[Vectors, np.ndarray] | None = None) -> Head:
        self.width_ = X.shape[1]
        width = token_width(np.asarray(X[:64]))
        weight = np.ones(len(y)) if weight is None else weight
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network_ = _Network(self.width_ // width, width)
            self._learn(X, *(torch.from_numpy(np.asarray(values, np.float32)) for values in (y, weight)))
        self.network_.eval().requires_grad_(False)
        return self

    def _learn(self, X: Vectors, y: torch.Tensor, weight: torch.Tensor) -> None:
        network = self.network_.train()
        scaler = standardiser(X)
        network.mean.copy_(torch.from_numpy(scaler.mean_))
        network.deviation.copy_(torch.from_numpy(scaler.scale_))
        optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        steps = -(-len(X) // BATCH)  # in an epoch
        epochs = max(EPOCHS, -(-LEAST_STEPS // steps))
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, epochs * steps)
        for _ in range(epochs):
            for batch in torch.randperm(len(X)).split(BATCH):
                logit, features = network(torch.from_numpy(np.asarray(X[batch.numpy()], np.float32)))
                loss = torch.nn.functional.binary_cross_entropy_with_logits(logit, y[batch], weight[batch])
                loss = loss + CONTRAST * supervised_contrastive(features, y[batch])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()

    def scores(self, X: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self.network_(torch.from_numpy(X))[0].double().sigmoid().numpy()

    def save(self, folder: Path) -> None:
        (folder / "head.safetensors").write_bytes(save(self.network_.state_dict()))

    @classmethod
    def load(cls, folder: Path) -> Head:
        state = load_file(folder / "head.safetensors")
        head = cls()
        head.width_ = len(state["mean"])
        head.network_ = _Network(len(state["importance"]), state["first.0.weight"].shape[1])
        head.network_.load_state_dict(state)
        head.network_.eval().requires_grad_(False)
        return head


def token_width(X: np.ndarray) -> int:
    """The smallest width at which every row of (n, dim) begins with a unit vector and divides evenly; dim where there is none."""
    lengths = np.cumsum(np.square(X, dtype=np.float64), axis=1)
    unit = np.flatnonzero((np.abs(lengths - 1) < 1e-3).all(axis=0)) + 1
    return next((int(width) for width in unit if X.shape[1] % width == 0), X.shape[1])


def supervised_contrastive(features: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """SupCon over a batch: (n, d) features, (n,) labels → a scalar; pulls a class together, pushes the classes apart.

    It is the paper's L_out: the mean over a picture's own class first, then over the pictures, so that a large class counts no more
    for its many pairs. Pictures that are alone in their class have nothing to be near to, and don't count.
    """
    unit = torch.nn.functional.normalize(features, dim=1)
    itself = torch.eye(len(y), dtype=torch.bool, device=y.device)
    similarity = (unit @ unit.T / TEMPERATURE).masked_fill(itself, -torch.inf)
    log_share = torch.log_softmax(similarity, dim=1).masked_fill(itself, 0)
    same = (y[:, None] == y) & ~itself
    each = -(log_share * same).sum(dim=1) / same.sum(dim=1).clamp(min=1)
    return each.sum() / same.any(dim=1).sum().clamp(min=1)


class _Network(torch.nn.Module):
    def __init__(self, blocks: int, width: int):
        super().__init__()
        self.blocks = blocks
        self.register_buffer("mean", torch.zeros(blocks * width))
        self.register_buffer("deviation", torch.ones(blocks * width))
        self.first = torch.nn.Sequential(torch.nn.Linear(width, FEATURES), torch.nn.ReLU(), torch.nn.Dropout(DROPOUT))
        self.importance = torch.nn.Parameter(torch.randn(blocks, FEATURES) / 10)
        self.second = torch.nn.Sequential(torch.nn.Linear(FEATURES, FEATURES), torch.nn.ReLU(), torch.nn.Dropout(DROPOUT))
        self.out = torch.nn.Linear(FEATURES, 1)

    def forward(self, X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, blocks·width) → (n,) logits and the (n, FEATURES) that they are read from."""
        tokens = ((X - self.mean) / self.deviation).unflatten(1, (self.blocks, -1))
        features = self.second((self.first(tokens) * self.importance.softmax(dim=0)).sum(dim=1))
        return self.out(features)[:, 0], features
