"""One run of tuning a whole transformer by Hugging Face's Trainer: what it learns by, and the classifier that comes of it.

Three recipes, each a published system's own, on one engine. A finished run is a folder that transformers' pipelines take as it is.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import json
import logging
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepfake_detector.devices import pick_device
from deepfake_detector.encoders import PictureEncoder, colour_histogram, hf_classifier
from deepfake_detector.errors import TrainingError, WeightsUnavailable, kind_and_words
from deepfake_detector.finetune import bases
from deepfake_detector.finetune.batches import BATCH, Batches, Look, see
from deepfake_detector.finetune.method import Method, Settings, Tuned, place_of
from deepfake_detector.heads import blocks, logistic
from deepfake_detector.types import FAKE, Embeddings

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

_KEEP_EVERY, _KEEP_EVERY_CUDA = 25, 250  # steps; what is kept of a large model takes as long to write as a GPU takes for many
_WARM_UP = 0.05  # of the steps; afterwards a cosine down to nothing
_NEW_RATE = 1e-3  # of layers that begin untaught, whatever the recipe's rate for the others
_RESUMED_BY = (hf_classifier.WEIGHTS, "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")  # of a checkpoint
_PROJECTED = 128  # numbers that the contrastive loss compares, read of what the last layer reads; no part of the finished model


@dataclass(frozen=True)
class Recipe:
    """`contrast` is the share of the supervised contrastive loss (Khosla et al., NeurIPS 2020) beside cross-entropy. Where it is all,
    the last layer learns too, but the rest does not learn from it.

    `adapter` tunes DoRA's low-rank changes of the attention's layers (Liu et al., ICML 2024) in place of all weights, and `spectrum` adds
    a branch that sees the picture's spectrum. `head` is None where the model's own last layer answers.
    """

    contrast: float
    smoothing: float
    rate: float
    decay: float
    adapter: bool = False
    spectrum: bool = False
    head: str | None = None


RECIPES = {
    "vit": Recipe(contrast=0.0, smoothing=0.0, rate=2e-5, decay=0.01),
    "contrastive": Recipe(contrast=1.0, smoothing=0.0, rate=1e-5, decay=0.01, head="svm"),
    "fusion": Recipe(contrast=0.7, smoothing=0.1, rate=2e-4, decay=0.01, adapter=True, spectrum=True),
}
_DORA = {"r": 16, "lora_alpha": 32, "lora_dropout": 0.1, "target_modules": ["q_proj", "k_proj", "v_proj", "out_proj"]}


class Transformer(Method):
    """`base` is clip_vit_b16, a folder with a model in transformers' format, or OWNER/NAME on the hub."""

    def __init__(self, name: str, base: str, settings: Settings):
        if ":" in settings.device:
            raise TrainingError(
                f"The Trainer learns on the first GPU that it sees, and --device names {settings.device}. Choose one by "
                "CUDA_VISIBLE_DEVICES, and leave --device out."
            )
        self.recipe, self.base, self.settings = RECIPES[name], base, settings
        self.head = self.recipe.head or "logistic"
        # Now rather than once all pictures were looked at: it may not be possible.
        pick_device(settings.device)
        _check_installed(name)
        self.facts = {"method": name, "base": base, "base_weights": bases.identity(base)}
        self._begun()

    def _begun(self) -> tuple[Any, Any]:
        """What a run begins with: the model, and its preprocessing."""
        return (bases.fusion if self.recipe.spectrum else bases.classifier)(self.base)

    def first_look(self) -> PictureEncoder:
        return colour_histogram.Encoder()  # its rows alone are needed: which pictures can be read, and what is in them

    def encoder(self, weights: Path, exact: bool) -> PictureEncoder:
        return hf_classifier.Encoder(self.settings.device, str(weights))

    def tune(self, data: Embeddings, paths: list[str], kept: Path, progress: Callable[[int], object]) -> Tuned:
        place = place_of(kept, self._plan(data))
        finished = place / "encoder"
        if _whole(finished, hf_classifier.FILES):
            log.info("finished before (%s)", finished)
            progress(self.settings.steps * BATCH)
        else:
            with _writing(place):
                place.mkdir(parents=True, exist_ok=True)
                self._learn(data, paths, place, progress)
        if self.recipe.head:
            return Tuned(finished, None)
        layer = hf_classifier.Encoder(weights=str(finished)).last_layer()
        return Tuned(finished, logistic.given(*layer.lead(FAKE)))

    def _plan(self, data: Embeddings) -> str:
        """A name for a run of these pictures and settings, and of no others."""
        rows = data.rows[["sha256", "label", "generator", "group"]].to_csv()
        settings = {**asdict(self.settings), "device": ""}
        facts = [rows, data.crop, asdict(self.recipe), self.facts["base_weights"], settings]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def _learn(self, data: Embeddings, paths: list[str], place: Path, progress: Callable[[int], object]) -> None:
        """Run the Trainer from where it was to the end."""
        hf_classifier.transformers()
        import torch
        from transformers import Trainer, TrainingArguments, set_seed
        from transformers.trainer_callback import PrinterCallback

        settings, recipe = self.settings, self.recipe
        device = pick_device(settings.device)
        set_seed(settings.seed)  # what is untaught is drawn, and what is dropped
        model, processor = self._begun()
        learner = _learner(model, recipe)
        looks = _Looks(data, paths, settings.seed, settings.steps, processor)
        half = device.startswith("cuda")
        arguments = TrainingArguments(
            output_dir=str(place),
            max_steps=settings.steps,
            per_device_train_batch_size=BATCH,
            warmup_steps=_WARM_UP,
            lr_scheduler_type="cosine",
            max_grad_norm=1.0,
            bf16=settings.bfloat16 or (half and torch.cuda.is_bf16_supported()),
            fp16=half and not torch.cuda.is_bf16_supported(),
            use_cpu=device == "cpu",
            save_steps=_KEEP_EVERY_CUDA if half else _KEEP_EVERY,
            save_total_limit=1,
            logging_steps=_KEEP_EVERY,
            seed=settings.seed,
            train_sampling_strategy="sequential",  # the draws are the batches' own
            dataloader_num_workers=8 if half else 0,
            dataloader_pin_memory=half,
            remove_unused_columns=False,
            label_names=["labels"],
            report_to="none",
            disable_tqdm=True,
        )
        arguments._n_gpu = min(1, arguments.n_gpu)  # a batch's pairs and classes belong together, so it is not shared out over several
        optimiser = torch.optim.AdamW(learner.by_rate(recipe.rate, _NEW_RATE), weight_decay=recipe.decay)
        trainer = Trainer(learner, arguments, train_dataset=looks, callbacks=[_told(progress)], optimizers=(optimiser, None))
        trainer.remove_callback(PrinterCallback)
        try:
            trainer.train(resume_from_checkpoint=_whole_checkpoint(place))
        except torch.OutOfMemoryError as error:
            raise TrainingError(f"{device} has too little memory for {BATCH} pictures at once; take a smaller --base.") from error
        if recipe.adapter:
            model.vision_model = model.vision_model.merge_and_unload()
        _save(model, processor, place)


def _save(model: Any, processor: Any, place: Path) -> None:
    """What was learnt as `place`/encoder, whole at once, in place of all that it could have been gone on from."""
    with tempfile.TemporaryDirectory(dir=place) as part:
        model.to("cpu").save_pretrained(part, max_shard_size="100GB")
        processor.save_pretrained(part)
        fresh = Path(part) / "whole"
        fresh.mkdir()
        for name in hf_classifier.FILES:
            shutil.move(Path(part) / name, fresh)
            (fresh / name).chmod(0o644)  # safetensors makes private files
        if (place / "encoder").exists():  # one that a crash of the machine has cut off
            shutil.rmtree(place / "encoder")
        fresh.rename(place / "encoder")
    for checkpoint in place.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)


def _check_installed(method: str) -> None:
    """Raises WeightsUnavailable where a library that the method learns by is not here."""
    hf_classifier.transformers()
    for library in ("accelerate", "peft") if RECIPES[method].adapter else ("accelerate",):
        try:
            importlib.import_module(library)
        except ImportError as error:
            raise WeightsUnavailable(
                f"--method {method} learns by {library}, which is not installed ({error}): pip install -r requirements-tune.txt"
            ) from error


@contextmanager
def _writing(place: Path) -> Iterator[None]:
    """Say that `place` is full, of whatever kind the error is that tells of it."""
    try:
        yield
    except Exception as error:
        told: BaseException | None = error
        while told and not _tells_of_a_full_disk(told):
            told = told.__context__
        if not told:
            raise
        raise TrainingError(
            f"{place} can't be written ({kind_and_words(told)}). Make room, and run the same command again: it goes on."
        ) from error


def _tells_of_a_full_disk(error: BaseException) -> bool:
    """safetensors raises a kind of its own, and torch a RuntimeError by which of its layers met it, at times only when it closes a file."""
    from safetensors import SafetensorError

    if isinstance(error, OSError):
        return error.errno == errno.ENOSPC
    words = {SafetensorError: ("I/O error",), RuntimeError: ("PytorchStreamWriter", "inline_container", "iostream error")}
    return any(isinstance(error, kind) and any(word in str(error) for word in of_it) for kind, of_it in words.items())


class _Looks:
    """The pictures of all steps one after the other, as the batches draw them; a map-style data set, so that a resumed run skips none by
    loading it."""

    def __init__(self, data: Embeddings, paths: list[str], seed: int, steps: int, processor: Any):
        self.batches = Batches(data.rows, seed)
        self.drawn: tuple[int, list[Look]] = (-1, [])
        self.labels = data.rows["label"].to_numpy()
        self.paths, self.crop, self.steps, self.processor = paths, data.crop, steps, processor

    def __len__(self) -> int:
        return self.steps * BATCH

    def __getitem__(self, index: int) -> dict[str, Any]:
        step, at = divmod(index, BATCH)
        if self.drawn[0] != step:  # all of a step are drawn together
            self.drawn = (step, self.batches.step(step))
        look = self.drawn[1][at]
        picture = see(look, self.paths[look.row], self.crop)
        pixels = self.processor(images=picture, return_tensors="np")["pixel_values"][0]
        return {"pixel_values": np.asarray(pixels, np.float32), "labels": int(self.labels[look.row])}


def _learner(model: Any, recipe: Recipe) -> torch.nn.Module:
    """What the Trainer trains: the model, and beside it the projection that the contrastive loss compares."""
    import torch

    class Learner(torch.nn.Module):
        def __init__(self):
            super().__init__()
            if recipe.adapter:
                from peft import LoraConfig, get_peft_model

                with warnings.catch_warnings(action="ignore", category=FutureWarning):  # peft asks transformers by an older name
                    model.vision_model = get_peft_model(model.vision_model, LoraConfig(use_dora=True, **_DORA))
            self.model = model
            self.last = hf_classifier.last_layer_of(model)
            self.layer = [model.get_submodule(self.last)]  # in a list, or it would be saved twice
            width = self.layer[0].in_features
            self.projection = torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.GELU(), torch.nn.Linear(width, _PROJECTED))
            self.layer[0].register_forward_pre_hook(self._note)

        def by_rate(self, rate: float, new_rate: float) -> list[dict[str, Any]]:
            """What learns, for an optimiser: layers that begin with what the base knows, and untaught ones."""
            untaught = (f"model.{self.last}.", "model.spectrum.", "model.joined.", "projection.")
            learning = [(name, weights) for name, weights in self.named_parameters() if weights.requires_grad]
            new = [weights for name, weights in learning if name.startswith(untaught)]
            old = [weights for name, weights in learning if not name.startswith(untaught)]
            return [{"params": old, "lr": rate}, {"params": new, "lr": new_rate}]

        def _note(self, layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...]):
            self.features = inputs[0]
            return (inputs[0].detach(),) if recipe.contrast == 1 else None

        def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            logits = self.model(pixel_values).logits.float()
            loss = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=recipe.smoothing)
            if recipe.contrast:
                contrast = blocks.supervised_contrastive(self.projection(self.features).float(), labels)
                loss = recipe.contrast * contrast + (1 if recipe.contrast == 1 else 1 - recipe.contrast) * loss
            return {"loss": loss, "logits": logits}

    return Learner()


def _told(progress: Callable[[int], object]) -> Any:
    """A callback that passes on how far training is."""
    from transformers import TrainerCallback

    class Told(TrainerCallback):
        def on_train_begin(self, arguments, state, control, **_):
            if state.global_step:
                log.info("going on from step %d of %d", state.global_step, state.max_steps)
                progress(state.global_step * BATCH)

        def on_step_end(self, arguments, state, control, **_):
            progress(BATCH)

        def on_log(self, arguments, state, control, logs=None, **_):
            if logs and "loss" in logs:
                log.info("step %d of %d: loss %.3f", state.global_step, state.max_steps, float(logs["loss"]))

    return Told()


def _whole_checkpoint(place: Path) -> str | None:
    """The newest checkpoint that can be gone on from. A kill leaves one without its last files, a crash of the machine one with files cut
    off.
    """
    whole = [folder for folder in place.glob("checkpoint-*") if _whole(folder, _RESUMED_BY)]
    return str(max(whole, key=lambda folder: int(folder.name.rpartition("-")[2]))) if whole else None


def _whole(folder: Path, names: Iterable[str]) -> bool:
    """Whether the folder has these files, each to its end; where it has some of them at most, say that it is passed over."""
    damaged = [name for name in names if not _ends(folder / name)]
    if damaged and folder.exists():
        log.warning("%s is not whole (%s), and is passed over", folder, ", ".join(damaged))
    return not damaged


def _ends(file: Path) -> bool:
    """Whether the file is there to its end, by its form: torch's own are zip files."""
    from safetensors import SafetensorError, safe_open

    try:
        if file.suffix == ".json":
            json.loads(file.read_text())
        elif file.suffix == ".safetensors":
            with safe_open(file, "np"):
                pass
        else:
            return zipfile.is_zipfile(file)
    except (OSError, ValueError, SafetensorError):
        return False
    return True
