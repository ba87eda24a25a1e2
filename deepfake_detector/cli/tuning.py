"""finetune.py: pictures → a model with an encoder of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detector import registry
from deepfake_detector.cli.options import (
    add_cache,
    add_data,
    bars,
    check_seed,
    command_line,
    data_options,
    new_parser,
    open_cache,
    run,
    sampling_of,
)
from deepfake_detector.cli.say import say
from deepfake_detector.cli.training import save_and_tell
from deepfake_detector.errors import DetectorError, TrainingError
from deepfake_detector.files import locked, name_of

if TYPE_CHECKING:
    import argparse

    from deepfake_detector.finetune.method import Method, Settings


def finetune(argv: list[str] | None = None) -> int:
    from deepfake_detector.types import METHODS

    parser = new_parser(
        "Tune an encoder, with a head, to tell real from fake: a model whose encoder knows what to look for.",
        "Hours on a CPU, minutes on a GPU. Killed or stopped, the same command goes on where it was.",
    )
    parser.add_argument("data", help="a folder or a manifest CSV, as for extract_embeddings.py, or what --dataset reads")
    add_data(parser, argv)
    parser.add_argument("--crop", default="whole", help=f"one of {', '.join(registry.names('crops'))} (default: %(default)s)")
    parser.add_argument("--out", metavar="FOLDER", help="the model (default: models/DATA-tuned)")
    parser.add_argument(
        "--method",
        default="norms",
        choices=METHODS,
        help="norms: CLIP's layer norms alone; vit: all of a transformer, by Hugging Face's Trainer; contrastive: the same by a "
        "contrastive loss, with an SVM on it; fusion: CLIP by DoRA, beside a branch for the spectrum (default: %(default)s)",
    )
    parser.add_argument(
        "--base",
        metavar="MODEL",
        help="what vit, contrastive and fusion begin with: OWNER/NAME on the Hugging Face hub, or a folder in transformers' format "
        "(default: clip_vit_b16, which needs no hub)",
    )
    parser.add_argument("--steps", type=int, default=400, metavar="N", help="of 16 pictures each, a run (default: %(default)s)")
    parser.add_argument(
        "--folds",
        type=int,
        default=4,
        metavar="N",
        help="runs before the last, each without a share of generators and real sources, for the thresholds (default: %(default)s)",
    )
    parser.add_argument("--bfloat16", action="store_true", help="compute in it: twice as fast on a CPU that has AVX512-BF16")
    if "seed" not in parser.get_default("own"):  # a stream's own shuffling has it
        parser.add_argument("--seed", type=int, default=0, help="of the drawing and degrading (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: the best there is)")
    add_cache(parser)
    return run(_finetune, parser, argv)


def _finetune(arguments: argparse.Namespace) -> int:
    from deepfake_detector import bundle
    from deepfake_detector.finetune.method import Settings
    from deepfake_detector.finetune.model import finetune
    from deepfake_detector.report.words import tuned_on_too_few
    from deepfake_detector.split import without

    if arguments.steps < 1 or arguments.folds < 2:
        raise DetectorError(f"--steps should be at least 1 and --folds at least 2; received {arguments.steps} and {arguments.folds}.")
    if arguments.base and arguments.method == "norms":
        raise DetectorError("--base goes with --method vit, contrastive or fusion; norms tunes clip_vit_b16.")
    check_seed(arguments)
    out = Path(arguments.out or f"models/{name_of(Path(arguments.data).resolve())}-tuned")
    bundle.check_target(out)
    listing = registry.load("datasets", arguments.dataset).scan(arguments.data, **data_options(arguments))
    settings = Settings(arguments.steps, arguments.seed, arguments.bfloat16, arguments.device)
    kept = out.with_name(f"{out.name}.runs")
    method = _method(arguments, settings)
    kept.mkdir(parents=True, exist_ok=True)
    busy = TrainingError(f"Another process is tuning in {kept}. Wait for it, or choose another --out.")
    with locked(kept, busy), bars() as bar:
        done = finetune(
            listing,
            arguments.crop,
            open_cache(arguments),
            kept,
            out.name,
            method,
            settings,
            arguments.folds,
            sampling_of(arguments),
            bar,
            command_line(),
        )
    save_and_tell(done, out)
    training = done.bundle.manifest["training"]
    for why in tuned_on_too_few(training):
        say(f"WARNING: {why} Add others to tune on, or measure it on some with evaluate.py.")
    columns = ("AUROC on these", "fakes alone new", "reals alone new", "none new", "reals called fake", "fakes called real")
    say("", f"{'a run without':72} {' '.join(f'{column:>17}' for column in columns)}")
    for fold in training["left_out"]:
        areas = [f"{fold[name]:.3f}" for name in ("auroc", "new_generator_auroc", "new_source_auroc", "known_auroc")]
        shares = [f"{fold['reals']['called_fake']:.1%}", f"{fold['fakes']['called_real']:.1%}"]
        of = without(fold["generators"], fold["sources"])
        say(f"{of:72} {' '.join(f'{figure:>17}' for figure in areas + shares)}")
    return 0


def _method(arguments: argparse.Namespace, settings: Settings) -> Method:
    if arguments.method == "norms":
        from deepfake_detector.finetune.norms import Norms

        return Norms(settings)
    from deepfake_detector.finetune.bases import OWN
    from deepfake_detector.finetune.transformer import Transformer

    return Transformer(arguments.method, arguments.base or OWN, settings)
