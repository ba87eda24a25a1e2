"""One run of tuning by the method norms: the layer norms of a CLIP tower and a linear head on its blocks' class tokens learn together.

The norms are 38,400 of its 86 million numbers: enough to turn attention to what generators leave behind, too few to learn the
training pictures by heart (Yermakov et al., "Deepfake Detection that Generalizes Across Benchmarks", 2025). The head begins where
logistic regression on the untuned tower ends, so that the first steps don't spoil what the tower knows (Kumar et al., "Fine-Tuning can
Distort Pretrained Features", ICLR 2022).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from deepfake_detector import split
from deepfake_detector.devices import keep_freed_memory, pick_device
from deepfake_detector.encoders import PictureEncoder, clip_vit_b16_corners, clip_vit_b16_tuned
from deepfake_detector.encoders.clip_vit_b16_blocks import Encoder as BlocksEncoder
from deepfake_detector.encoders.clip_vit_b16_tuned import tunable
from deepfake_detector.files import write_bytes
from deepfake_detector.finetune.batches import BATCH, Batches, Look, see_window
from deepfake_detector.finetune.method import Method, Settings, Tuned, place_of
from deepfake_detector.heads.logistic import Head
from deepfake_detector.types import FAKE, Embeddings

log = logging.getLogger(__name__)

C = 1e-3  # of the logistic regression that the head begins as: what grouped cross-validation favoured for models/default
NORM_RATE, HEAD_RATE, HEAD_DECAY = 4e-4, 1e-4, 0.1
_WARM_UP = 0.05  # of the steps; afterwards a cosine down to nothing
_KEEP_EVERY = 25  # steps


class Norms(Method):
    head = "logistic"
    facts = {"method": "norms"}

    def __init__(self, settings: Settings):
        self.settings = settings

    def first_look(self) -> PictureEncoder:
        return clip_vit_b16_corners.Encoder(self.settings.device)

    def tune(self, data: Embeddings, paths: list[str], kept: Path, progress: Callable[[int], object]) -> Tuned:
        """What is learnt is in `kept`-PLAN.safetensors every 25 steps, and in the end the norms, too, as `kept`-PLAN.norms.safetensors.

        A run of another plan, by other settings or of other pictures, leaves both as they are.
        """
        steps, run = self.settings.steps, _Run(data, self.settings)
        place = place_of(kept, run.plan, ".safetensors")
        run.restore(place, progress)
        batches = Batches(data.rows, self.settings.seed)
        labels = data.rows["label"].to_numpy()
        losses: list[float] = []
        ahead: deque[tuple[list[Look], list[Future[np.ndarray]]]] = deque()
        numbers = iter(range(run.step, steps))
        pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="see")
        try:
            while run.step < steps:
                while len(ahead) < 2 and (number := next(numbers, None)) is not None:
                    looks = batches.step(number)
                    ahead.append((looks, [pool.submit(see_window, look, paths[look.row], data.crop) for look in looks]))
                looks, seen = ahead.popleft()
                pixels = np.stack([one.result() for one in seen])
                losses.append(run.learn(pixels, labels[[look.row for look in looks]] == FAKE))
                progress(BATCH)
                if run.step % _KEEP_EVERY == 0 or run.step == steps:
                    log.info("step %d of %d: loss %.3f", run.step, steps, np.mean(losses[-_KEEP_EVERY:]))
                    run.keep(place)
        finally:
            pool.shutdown(cancel_futures=True)
        norms = place.with_suffix(".norms.safetensors")
        run.write_norms(norms)
        return Tuned(norms, run.finished_head())

    def encoder(self, weights: Path, exact: bool) -> PictureEncoder:
        encoder = clip_vit_b16_tuned.Encoder(self.settings.device, str(weights))
        encoder.bfloat16 = self.settings.bfloat16 and not exact
        return encoder


class _Run:
    """Everything that learns, and where it stands."""

    def __init__(self, data: Embeddings, settings: Settings):
        import torch

        from deepfake_detector.encoders._blocks import lean

        rows, labels = data.rows, data.rows["label"].to_numpy()
        facts = [rows[["sha256", "label", "generator", "group"]].to_csv(), data.spec.key, data.crop, settings.steps, settings.seed, C]
        self.plan = hashlib.sha256(json.dumps([*facts, settings.bfloat16, NORM_RATE, HEAD_RATE, HEAD_DECAY]).encode()).hexdigest()
        self.settings = settings
        self.step = 0
        self.device = pick_device(settings.device)
        if self.device == "cpu":
            keep_freed_memory()
        self.encoder = BlocksEncoder(device=self.device)
        tower = self.encoder.tower()
        self.norms = tunable(tower)
        self.tower = lean(tower, settings.bfloat16).to(self.device)
        for tensor in self.norms.values():
            tensor.requires_grad_(True)

        self.head = Head(settings.seed, C=C).fit(data.X, labels, split.weights(rows))
        scaler, linear = (step for _, step in self.head.pipeline_.steps)
        self.mean, self.scale = (
            torch.tensor(numbers, dtype=torch.float32, device=self.device) for numbers in (scaler.mean_, scaler.scale_)
        )
        self.weight = torch.tensor(linear.coef_[0], dtype=torch.float32, device=self.device, requires_grad=True)
        self.offset = torch.tensor(linear.intercept_, dtype=torch.float32, device=self.device, requires_grad=True)
        self.learning = {**{f"norms.{name}": tensor for name, tensor in self.norms.items()}, "weight": self.weight, "offset": self.offset}
        self.optimiser = torch.optim.AdamW(
            [
                {"params": list(self.norms.values()), "lr": NORM_RATE, "weight_decay": 0.0},
                {"params": [self.weight, self.offset], "lr": HEAD_RATE, "weight_decay": HEAD_DECAY},
            ]
        )
        self.rate = torch.optim.lr_scheduler.LambdaLR(self.optimiser, self._share_of_rate)

    def _share_of_rate(self, step: int) -> float:
        done = step / self.settings.steps
        return min(1.0, (done + 1 / self.settings.steps) / _WARM_UP) * 0.5 * (1 + np.cos(np.pi * done))

    def learn(self, pixels: np.ndarray, fake: np.ndarray) -> float:
        """One step on (n, 3, 224, 224) uint8 and (n,) bool → the loss before it."""
        import torch

        tokens = self.encoder.forward(self.tower, self.device, pixels)
        scores = ((tokens - self.mean) / self.scale) @ self.weight + self.offset
        truth = torch.from_numpy(fake).to(scores)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(scores, truth)
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.norms.values(), 1.0)
        self.optimiser.step()
        self.rate.step()
        self.step += 1
        return float(loss.detach())

    def keep(self, file: Path) -> None:
        """Write what was learnt and the optimiser's memory of it."""
        from safetensors.torch import save

        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.learning.items()}
        for name, tensor in self.learning.items():
            for part, value in self.optimiser.state[tensor].items():
                state[f"{part}.{name}"] = value.detach().cpu().contiguous()
        write_bytes(file, save(state, {"plan": self.plan, "step": str(self.step)}))

    def restore(self, file: Path, progress: Callable[[int], object]) -> None:
        """Go on from `file`, if it is of the same plan; anything else is begun anew."""
        import torch
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(file, "pt") as stored:
                facts = stored.metadata() or {}
                if facts.get("plan") != self.plan:
                    return
                state = {name: stored.get_tensor(name) for name in stored.offset_keys()}
        except (FileNotFoundError, SafetensorError):
            return
        with torch.no_grad():
            for name, tensor in self.learning.items():
                tensor.copy_(state[name])
                self.optimiser.state[tensor] = {
                    part: state[f"{part}.{name}"].to("cpu" if part == "step" else self.device) for part in ("step", "exp_avg", "exp_avg_sq")
                }
        self.step = int(facts["step"])
        self.rate.last_epoch = self.step
        for group, base in zip(self.optimiser.param_groups, self.rate.base_lrs, strict=True):
            group["lr"] = base * self._share_of_rate(self.step)
        log.info("going on from step %d of %d (%s)", self.step, self.settings.steps, file)
        progress(self.step * BATCH)

    def write_norms(self, file: Path) -> None:
        from safetensors.torch import save

        write_bytes(file, save({name: t.detach().cpu().contiguous() for name, t in self.norms.items()}))

    def finished_head(self) -> Head:
        """The logistic head with the weights that it has now."""
        linear = self.head.pipeline_[-1]
        linear.coef_ = self.weight.detach().cpu().numpy().astype(np.float64)[None]
        linear.intercept_ = self.offset.detach().cpu().numpy().astype(np.float64)
        return self.head
