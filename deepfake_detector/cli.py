"""The command lines of all scripts: the only file that prints; heavy libraries load only once the arguments are known."""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepfake_detector import __version__, registry
from deepfake_detector.errors import DetectorError
from deepfake_detector.files import name_of, spelt_out

if TYPE_CHECKING:
    from deepfake_detector.bundle import Bundle
    from deepfake_detector.cache import Cache
    from deepfake_detector.datasets import Listing
    from deepfake_detector.embed import Embedder
    from deepfake_detector.encoders import PictureEncoder
    from deepfake_detector.extract import Embed
    from deepfake_detector.finetune.method import Method, Settings
    from deepfake_detector.panel import Panel
    from deepfake_detector.train import Training
    from deepfake_detector.types import EncoderSpec, Verdict

DEFAULT_CACHE_GB = 20.0
_MOST_ALIKE = 3  # known pictures named on predict's line; --json has all


def _run(command: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser, argv: list[str] | None) -> int:
    """Parse, run, and turn whatever is raised on purpose into one line and an exit status."""
    arguments = parser.parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may hold what a terminal can't show
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("deepfake_detector").setLevel(logging.INFO)
    try:
        return command(arguments)
    except DetectorError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        remembered = not getattr(arguments, "no_cache", True)
        what = "; what was embedded is remembered, and the same command goes on from there" if remembered else ""
        print(f"\n{parser.prog}: stopped{what}.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `… | head` closed our output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a full disk, or a place that may not be written: nothing that is read by name comes this far
        said = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or error
        print(f"{parser.prog}: error: {said}. Make room, or choose another place, and run it again.", file=sys.stderr)
        return 2


def _command() -> str:
    """What was typed, as manifests and reports tell it."""
    return spelt_out(" ".join(sys.argv))


def _parser(description: str, epilog: str, prog: str | None = None) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=prog, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter)


def _add_engine(parser: argparse.ArgumentParser) -> None:
    """The options of everything that embeds."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: the best there is)")
    parser.add_argument("--weights", metavar="FILE", help="a local file, or folder, with the encoder's weights")
    _add_cache(parser)


def _add_cache(parser: argparse.ArgumentParser) -> None:
    """Where embeddings are remembered."""
    parser.add_argument(
        "--cache", metavar="FILE", help="the embedding cache (default: $DEEPFAKE_DETECTOR_EMBEDDINGS or embeddings/cache.sqlite)"
    )
    parser.add_argument("--cache-gb", type=float, default=DEFAULT_CACHE_GB, metavar="N", help="its size limit (default: %(default)g)")
    parser.add_argument("--no-cache", action="store_true", help="remember nothing")


def _add_data(parser: argparse.ArgumentParser, argv: list[str] | None, clips: bool = True) -> None:
    """The options of everything that reads labelled pictures, and those of the data set that `argv` names."""
    parser.add_argument(
        "--dataset", default="folder", help=f"its layout: one of {', '.join(registry.names('datasets'))} (default: %(default)s)"
    )
    if clips:
        _add_sampling(parser)
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--dataset")
    name = first.parse_known_args(argv)[0].dataset
    own = argparse.ArgumentParser(add_help=False)
    if name in registry.names("datasets") and (add_options := getattr(registry.load("datasets", name), "add_options", None)):
        for options in (parser.add_argument_group(f"options of --dataset {name}"), own):
            add_options(options)
    parser.set_defaults(own=vars(own.parse_args([])).keys())


def _data_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was said to the data set's own options, by their names."""
    return {name: getattr(arguments, name) for name in arguments.own}


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--frames", type=int, default=16, metavar="N", help="of a clip, take N frames evenly (default: %(default)s)")
    parser.add_argument("--every", type=float, metavar="SECONDS", help="of a clip, take a frame every so many seconds instead")


def _sampling(arguments: argparse.Namespace):
    from deepfake_detector.video import Sampling

    if arguments.frames < 1:
        raise DetectorError(f"--frames should be at least 1; received {arguments.frames}.")
    if arguments.every is not None and not 0 < arguments.every < float("inf"):
        raise DetectorError(f"--every should be a number of seconds above 0; received {arguments.every}.")
    return Sampling(arguments.frames, arguments.every)


def _cache(arguments: argparse.Namespace):
    from deepfake_detector.cache import Cache

    if not 0 < arguments.cache_gb < float("inf"):
        raise DetectorError(f"--cache-gb should be a number above 0; received {arguments.cache_gb}.")
    return None if arguments.no_cache else Cache(arguments.cache, int(arguments.cache_gb * 2**30))


# ---------------------------------------------------------------------------------------------- extract_embeddings.py


def extract(argv: list[str] | None = None) -> int:
    """`extract_embeddings.py`: pictures → a table."""
    parser = _parser("Embed real and fake pictures, or clips, into a table.", "Killed or stopped, the same command goes on where it was.")
    parser.add_argument(
        "data",
        help="a folder (real/… fake/GENERATOR/…, 0_real 1_fake, nature ai; train/val/test), a manifest CSV, whose paths count from its "
        "own folder or from images/ in it, or what --dataset reads",
    )
    _add_data(parser, argv)
    parser.add_argument("--encoder", default="clip_vit_l14", help=f"one of {', '.join(registry.names('encoders'))} (default: %(default)s)")
    parser.add_argument(
        "--crop",
        default="whole",
        help=f"one of {', '.join(registry.names('crops'))}, with settings behind colons: faces:padding=0.2:min=48:align "
        "(default: %(default)s)",
    )
    parser.add_argument("--out", metavar="TABLE", help="the table, .csv or .parquet (default: embeddings/DATA.csv)")
    parser.add_argument("--float16", action="store_true", help="store half precision: a .parquet table of half the size")
    parser.add_argument("--views", type=int, default=0, metavar="N", help="also embed N degraded copies of each training picture")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="pictures a batch (default: %(default)s)")
    parser.add_argument(
        "--engine",
        default="local",
        choices=("local", "ray"),
        help="local: this process and the cache; ray: Ray Data over the cores, or the cluster of $RAY_ADDRESS, and parts beside the table "
        "(default: %(default)s)",
    )
    _add_engine(parser)
    return _run(_extract, parser, argv)


def _extract(arguments: argparse.Namespace) -> int:
    from deepfake_detector.embed import Embedder
    from deepfake_detector.extract import extract
    from deepfake_detector.table import check_target, manifest_path

    out = arguments.out or f"embeddings/{name_of(Path(arguments.data).resolve())}.csv"
    check_target(out, arguments.float16)
    for read in (Path(arguments.data), Path(arguments.data) / "manifest.csv"):
        if read.is_file() and Path(out).is_file() and read.samefile(out):
            raise DetectorError(f"The table would be written over {read}, which it is made from. Choose another --out.")
    if arguments.batch_size < 1 or arguments.views < 0:
        raise DetectorError(
            f"--batch-size should be at least 1 and --views at least 0; received {arguments.batch_size} and {arguments.views}."
        )
    sampling = _sampling(arguments)
    engine, cache = _engine(arguments, out)
    encoder = registry.load("encoders", arguments.encoder).Encoder(device=arguments.device, weights=arguments.weights)
    listing = registry.load("datasets", arguments.dataset).scan(arguments.data, **_data_options(arguments))
    embedder = Embedder(encoder, arguments.crop, cache, batch_size=arguments.batch_size)
    with engine as embed, _progress(_total(listing, arguments.views)) as bar:
        done = extract(listing, embedder, out, _command(), bar.update, arguments.views, sampling, arguments.float16, embed)

    timing = done.timing
    print(f"{out}: {done.rows} rows of {encoder.spec.dim} numbers by {encoder.spec.name}, in {done.seconds:.1f} s")
    print(
        f"  encoded {timing.encoded}, remembered {timing.cached}; the encoder worked {timing.encoding:.1f} s, waited {timing.waiting:.1f} s"
    )
    for name, fact in listing.facts.items():
        print(f"  {name}: {', '.join(f'{what} {n}' for what, n in fact.items()) if isinstance(fact, dict) else fact}")
    if done.skipped:
        print(f"  skipped {len(done.skipped)} (all in {manifest_path(out)}):")
        for name, reason in done.skipped[:10]:
            print(f"    {name!r}: {reason}")
    for name, note in done.notes[:10]:
        print(f"  note: {name!r}: {note}")
    if len(done.classes) == 1:
        print(
            f"  WARNING: all pictures are {done.classes[0]}, so a detector can't be trained on this table alone. If the data has others, "
            "name their folder real or fake, or list them in a manifest CSV."
        )
    if done.repeats:
        print(f"  {done.repeats} pictures are exact copies of another")
    if done.contradictions:
        print(f"  WARNING: {len(done.contradictions)} pictures are in both classes, byte for byte:")
        for names in done.contradictions[:10]:
            print(f"    {' = '.join(names)}")
    return 0


def _engine(arguments: argparse.Namespace, out: str) -> tuple[AbstractContextManager[Embed], Cache | None]:
    """What embeds, once it is entered, and the cache that it uses."""
    if arguments.engine == "local":
        from deepfake_detector.extract import embed_here

        return nullcontext(embed_here), _cache(arguments)
    from deepfake_detector.engine_ray import RayEngine

    if arguments.cache:
        raise DetectorError(f"--engine ray remembers in {out}.parts, and uses no cache. Leave out --cache, or use --engine local.")
    return RayEngine(out), None


def _total(listing: Listing, views: int = 0) -> int | None:
    """The pictures to embed with so many degraded copies; of a stream a guess, or None."""
    if not listing.is_stream:
        return len(listing.samples) + views * sum(sample.split != "test" for sample in listing.samples)
    return listing.total and listing.total * (1 + views)


def _progress(total: int | None):
    from tqdm import tqdm

    # On a terminal a bar; elsewhere (a log file) a line now and then.
    return tqdm(total=total, unit="picture", smoothing=0.1, mininterval=0.5 if sys.stderr.isatty() else 30, file=sys.stderr)


# ------------------------------------------------------------------------------------------------- train_classifier.py


def train(argv: list[str] | None = None) -> int:
    """`train_classifier.py`: tables → a model."""
    parser = _parser(
        "Train a classifier on tables of embeddings.", "The model is a folder: the head's files, manifest.json and the curves."
    )
    parser.add_argument("tables", metavar="TABLE", nargs="+", help="made by extract_embeddings.py, all with one encoder and crop")
    parser.add_argument("--head", default="keras_mlp", help=f"one of {', '.join(registry.names('heads'))} (default: %(default)s)")
    parser.add_argument("--out", metavar="FOLDER", help="the model (default: models/TABLE-HEAD, of the first table)")
    parser.add_argument("--choose", action="store_true", help="choose the head's settings on generators and real sources held out")
    parser.add_argument("--seed", type=int, default=0, help="the same tables and seed give the same model (default: %(default)s)")
    return _run(_train, parser, argv)


def _train(arguments: argparse.Namespace) -> int:
    from deepfake_detector import bundle, table
    from deepfake_detector.train import train

    registry.load("heads", arguments.head)  # an unknown head, before a large table is read
    out = Path(arguments.out or f"models/{Path(arguments.tables[0]).stem}-{arguments.head}")
    bundle.check_target(out)
    _check_seed(arguments)
    data = table.read_all(arguments.tables)
    _save_and_tell(train(data, arguments.head, out.name, arguments.seed, _command(), arguments.choose), out)
    return 0


def _check_seed(arguments: argparse.Namespace) -> None:
    if arguments.seed < 0:
        raise DetectorError(f"--seed should be at least 0; received {arguments.seed}.")


def _save_and_tell(done: Training, out: Path) -> None:
    """Write a trained model, and print how well it does on what was kept apart."""
    from sklearn.metrics import classification_report, confusion_matrix

    from deepfake_detector import bundle
    from deepfake_detector.calibration import fewest_for
    from deepfake_detector.evaluate import evaluate_scores, per_picture
    from deepfake_detector.train import plot_curves
    from deepfake_detector.types import LABEL_NAMES

    rows, p_fake = per_picture(done.test.rows, done.p_fake)  # of several faces the most suspicious, as in a verdict
    labels = rows["label"].to_numpy()
    scores = evaluate_scores(rows, p_fake, done.bundle.thresholds, regions=(done.test.rows, done.p_fake))
    made = dataclasses.replace(done.bundle, manifest=done.bundle.manifest | {"scores": scores})
    bundle.save(made, out)
    if done.history:
        plot_curves(done.history, out / "curves.png")

    guess = (p_fake >= 0.5).astype(int)
    print(classification_report(labels, guess, target_names=LABEL_NAMES, digits=4, zero_division=0))
    print("Confusion matrix (rows: truth, columns: answer; real, fake):")
    print(confusion_matrix(labels, guess, labels=[0, 1]))
    print(_figures(scores["overall"]))
    _print_clips(scores)
    thresholds = made.thresholds
    print(f"Verdict: real up to {thresholds.real:.3f}, fake from {thresholds.fake:.3f}, unsure between.")
    promise = made.manifest["promise"]
    for never, of, rate in (
        ("fake", "real pictures", promise["false_positive_rate"] if thresholds.fake >= 1 else None),
        ("real", "fakes", promise["false_negative_rate"] if thresholds.real <= 0 else None),
    ):
        if rate:
            print(
                f"It will never say {never}: that at most {rate:.0%} of {of} get this answer can't be promised from so few, or ones so "
                f"hard to tell. It takes {fewest_for(rate)} {of} at the very least, each in a group of its own; some hundreds are better."
            )
    for tried in made.manifest["training"]["settings_tried"]:
        matched = f", {tried['matched_auroc']:.4f} on held-out pairs of one content" if "matched_auroc" in tried else ""
        what = f"tried {tried['settings']}: " if tried["settings"] else ""
        print(f"  {what}AUROC {tried['unseen_auroc']:.4f} on generators and real sources held out{matched}")
    print(f"{out}: {made.head_name} on {made.spec.name}; split: {made.manifest['training']['split']}")


# --------------------------------------------------------------------------------------------------------- finetune.py


def finetune(argv: list[str] | None = None) -> int:
    """`finetune.py`: pictures → a model with an encoder of its own."""
    from deepfake_detector.types import METHODS

    parser = _parser(
        "Tune an encoder, with a head, to tell real from fake: a model whose encoder knows what to look for.",
        "Hours on a CPU, minutes on a GPU. Killed or stopped, the same command goes on where it was.",
    )
    parser.add_argument("data", help="a folder or a manifest CSV, as for extract_embeddings.py, or what --dataset reads")
    _add_data(parser, argv, clips=False)
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
    if "seed" not in parser.get_default("own"):  # a stream has its own, and is refused by name later
        parser.add_argument("--seed", type=int, default=0, help="of the drawing and degrading (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: the best there is)")
    _add_cache(parser)
    return _run(_finetune, parser, argv)


def _finetune(arguments: argparse.Namespace) -> int:
    from deepfake_detector import bundle
    from deepfake_detector.finetune.method import Settings
    from deepfake_detector.finetune.model import finetune

    if arguments.steps < 1 or arguments.folds < 2:
        raise DetectorError(f"--steps should be at least 1 and --folds at least 2; received {arguments.steps} and {arguments.folds}.")
    if arguments.base and arguments.method == "norms":
        raise DetectorError("--base goes with --method vit, contrastive or fusion; norms tunes clip_vit_b16.")
    _check_seed(arguments)
    out = Path(arguments.out or f"models/{name_of(Path(arguments.data).resolve())}-tuned")
    bundle.check_target(out)
    listing = registry.load("datasets", arguments.dataset).scan(arguments.data, **_data_options(arguments))
    settings = Settings(arguments.steps, arguments.seed, arguments.bfloat16, arguments.device)
    kept = out.with_name(f"{out.name}.runs")
    done = finetune(
        listing,
        arguments.crop,
        _cache(arguments),
        kept,
        out.name,
        _method(arguments, settings),
        settings,
        arguments.folds,
        lambda total: _progress(total).update,
        _command(),
    )
    _save_and_tell(done, out)
    columns = ("AUROC on these", "fakes alone new", "reals alone new", "none new", "reals called fake", "fakes called real")
    print(f"\n{'a run without':72} {' '.join(f'{column:>17}' for column in columns)}")
    for fold in done.bundle.manifest["training"]["left_out"]:
        areas = [f"{fold[name]:.3f}" for name in ("auroc", "new_generator_auroc", "new_source_auroc", "known_auroc")]
        shares = [f"{fold['reals']['called_fake']:.1%}", f"{fold['fakes']['called_real']:.1%}"]
        print(f"{', '.join([*fold['generators'], *fold['sources']]):72} {' '.join(f'{figure:>17}' for figure in areas + shares)}")
    return 0


def _method(arguments: argparse.Namespace, settings: Settings) -> Method:
    if arguments.method == "norms":
        from deepfake_detector.finetune.norms import Norms

        return Norms(settings)
    from deepfake_detector.finetune.bases import OWN
    from deepfake_detector.finetune.transformer import Transformer

    return Transformer(arguments.method, arguments.base or OWN, settings)


# --------------------------------------------------------------------------------------------------------- evaluate.py


def evaluate(argv: list[str] | None = None) -> int:
    """`evaluate.py`: models × pictures or tables → figures, and a report."""
    from deepfake_detector.types import PROTOCOLS

    parser = _parser(
        "Measure models on labelled pictures: overall, for each generator and real source, and whether the benchmark is to be trusted.",
        "--out adds the shortcut audit, drawings and a model card; several models and --scores are compared on the same pictures.",
    )
    parser.add_argument("--model", action="append", metavar="FOLDER", help="a model (default: models/default; repeatable)")
    parser.add_argument(
        "--data", required=True, nargs="+", metavar="DATA", help="folders or manifests as for extract_embeddings.py, or tables"
    )
    parser.add_argument("--pictures", metavar="FOLDER", help="where the pictures of a table are, for the audit, thumbnails and robustness")
    _add_data(parser, argv)
    parser.add_argument("--split", help="only the pictures of this split (train, val or test)")
    parser.add_argument(
        "--kind",
        action="append",
        default=[],
        metavar="NAME=SOURCE,…",
        help="also report these sources together, e.g. faces=ffhq,sd21 (repeatable)",
    )
    parser.add_argument(
        "--scores", action="append", default=[], metavar="NAME=FILE", help="another detector's scores, a CSV with path, p_fake (repeatable)"
    )
    parser.add_argument(
        "--protocol", action="append", default=[], choices=PROTOCOLS, help="train a head anew without what is then tested (repeatable)"
    )
    parser.add_argument("--head", help="the head that --protocol trains (default: the model's own; logistic without --model)")
    parser.add_argument(
        "--robustness",
        nargs="?",
        type=int,
        const=200,
        default=0,
        metavar="N",
        help="degrade this many of the pictures (default: %(const)s)",
    )
    parser.add_argument("--out", metavar="FOLDER", help="write report.html, report.json and the model card there")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    parser.add_argument(
        "--keep-as", metavar="NAME", help="keep how it does on these in the model: its page and card then say so, by this name"
    )
    _add_engine(parser)
    return _run(_evaluate, parser, argv)


def _evaluate(arguments: argparse.Namespace) -> int:
    from deepfake_detector import bundle
    from deepfake_detector.detect import DEFAULT_MODEL
    from deepfake_detector.evaluate import in_short
    from deepfake_detector.report.build import measure, write
    from deepfake_detector.report.gather import Request, gather, is_table

    if arguments.robustness < 0:
        raise DetectorError(f"--robustness should be a number of pictures, 0 for none; received {arguments.robustness}.")
    if arguments.head and not arguments.protocol:
        raise DetectorError(
            f"--head {arguments.head} is for --protocol to train, and none is given; name one, or leave --head out: a model has its own."
        )
    if arguments.keep_as is not None and not re.fullmatch(r"[^\W_][^|<>`*\r\n]*", arguments.keep_as):
        raise DetectorError(f"--keep-as should be a plain name such as 'faces by a GAN'; received {arguments.keep_as!r}.")
    if arguments.protocol and not arguments.model and all(map(is_table, arguments.data)):
        return _protocols_alone(arguments)
    models = arguments.model or [str(DEFAULT_MODEL)]
    content = gather(
        Request(
            models=models,
            data=arguments.data,
            embedder=_embedders(arguments),
            bar=lambda total: _progress(total).update,
            dataset=arguments.dataset,
            options=_data_options(arguments),
            sampling=_sampling(arguments),
            split=arguments.split,
            kinds={name: sources.split(",") for name, sources in _by_name("--kind", "faces=ffhq,sd21", arguments.kind).items()},
            scores=_by_name("--scores", "peer=peer.csv", arguments.scores),
            pictures=arguments.pictures,
            protocols=arguments.protocol,
            head=arguments.head,
            robustness=arguments.robustness,
            audit=bool(arguments.out),
            command=_command(),
        )
    )
    report = write(content, arguments.out) if arguments.out else measure(content)
    alone = report["detectors"][content.detectors[0].name] if len(content.detectors) == 1 else {}
    _write_json(arguments.json, report | alone)  # a single detector's figures are at the top too
    for note in report["notes"]:
        print(note)
    for name, scores in report["detectors"].items():
        kind = f" ({scores['head']} on {scores['encoder']['name']})" if scores["head"] else ""
        print(f"{name}{kind}, {report['data']['pictures']} pictures, {len(report['data']['skipped'])} skipped")
        print(_figures(scores["overall"]))
        _print_sources(scores)
        _print_clips(scores)
        _print_families(scores["family_answers"])
        _print_views(scores["robustness"])
        print()
    for c in report["comparison"]:
        interval = f" [{c['interval'][0]:+.3f}, {c['interval'][1]:+.3f}]" if c["interval"] else ""
        print(f"AUROC of {c['a']} less {c['b']}, {c['on']}: {c['difference']:+.3f}{interval}")
    _print_protocols(report["protocols"])
    if report["audit"]:
        print(report["audit"]["sentence"])
    if arguments.out:
        print(f"{arguments.out}: report.html, report.json and the model card")
    if arguments.keep_as:
        for folder, (name, learnt_from) in zip(models, content.learnt.items(), strict=True):
            bundle.keep_figures(folder, arguments.keep_as, in_short(report["detectors"][name]) | {"learnt_from": learnt_from})
            print(f"{folder} keeps this as {arguments.keep_as!r}; its card will have it the next time that --out writes one.")
    return 0


def _protocols_alone(arguments: argparse.Namespace) -> int:
    """`--protocol` on tables without a model: nothing but heads trained anew."""
    from deepfake_detector import protocols, table
    from deepfake_detector.report.words import left_out

    of_models = [
        f"--{option.replace('_', '-')}"
        for option in ("out", "pictures", "split", "kind", "scores", "robustness", "keep_as")
        if getattr(arguments, option)
    ]
    if of_models:
        raise DetectorError(
            f"--protocol on tables without --model trains heads and nothing else; received also {', '.join(of_models)}. "
            "Name a model with --model, or leave these out: --json writes the protocols' figures."
        )
    data = table.read_all(arguments.data)
    done = [protocols.run(protocol, data, arguments.head or "logistic") for protocol in arguments.protocol]
    _write_json(arguments.json, {"protocols": done})
    for note in (note for one in done for note in left_out(one)):
        print(note)
    _print_protocols(done)
    return 0


def _embedders(arguments: argparse.Namespace):
    """A model → an embedder; encoders and the cache are made once."""
    from functools import cache

    from deepfake_detector.embed import Embedder

    remembered = cache(lambda: _cache(arguments))
    encoders: dict[EncoderSpec, PictureEncoder] = {}

    def embedder(model: Bundle) -> Embedder:
        if model.spec not in encoders:
            encoders[model.spec] = model.encoder(arguments.device, arguments.weights)
        return Embedder(encoders[model.spec], model.crop, remembered())

    return embedder


def _write_json(path: str | None, report: dict[str, Any]) -> None:
    from deepfake_detector.files import write_atomically

    if path:
        write_atomically(Path(path), lambda part: part.write_text(json.dumps(report, indent=2) + "\n"))


def _by_name(option: str, like: str, given: Iterable[str]) -> dict[str, str]:
    """What a repeatable option NAME=VALUE was given."""
    values: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not (name and equals and value):
            raise DetectorError(f"{option} should look like {like}; received {one!r}.")
        if name in values:
            raise DetectorError(f"{option} should give each name once; received {name}={values[name]} and {one}. Rename one, or join them.")
        values[name] = value
    return values


def _print_clips(scores: dict[str, Any]) -> None:
    if "videos" in scores:
        print("\nWhole clips, the log-odds of their frames averaged:")
        print(_figures(scores["videos"]["overall"]))
        _print_sources(scores["videos"])


def _print_families(answers: dict[str, dict[str, Any]]) -> None:
    if answers:
        print(f"\n{'which family? of those called fake':40} {'n':>6} {'right':>7} {'wrong':>7} {'unknown':>8}")
    for generator, a in answers.items():
        right, wrong, unknown = (_percent(a[key]).strip() for key in ("right", "wrong", "unknown"))
        name = f"{generator} ({a['family']}{'' if a['learnt_from'] else ', never learnt from'})"
        print(f"{name:40} {a['n']:6} {right:>7} {wrong:>7} {unknown:>8}")


def _print_views(robustness: dict[str, Any] | None) -> None:
    if robustness:
        print(f"\n{'view':28} {'n':>6} {'AUROC':>7} {'unsure':>12} {'a real verdict changes':>23} {'comes to be fake':>17}")
        for name, v in robustness["views"].items():
            area = "–" if v["auroc"] is None else f"{v['auroc']:.3f}"
            unsure, changed, flipped = (_percent(v[key]) for key in ("abstain_rate", "real_changed", "real_flipped"))
            print(f"{name:28} {robustness['pictures']:6} {area:>7} {unsure:>12} {changed:>23} {flipped:>17}")


def _print_protocols(done: Iterable[dict[str, Any]]) -> None:
    for protocol in done:
        title = f"\n{protocol['protocol']}: {protocol['head']} on {protocol['encoder']}, trained anew each time"
        if "promised" in protocol:
            print(title)
            _print_promise(protocol)
            continue
        mean = "–" if protocol["mean_auroc"] is None else f"{protocol['mean_auroc']:.3f}"
        print(f"{title}; mean AUROC {mean}")
        for row in protocol["rows"]:
            area = "–" if row["auroc"] is None else f"{row['auroc']:.3f}"
            if interval := row["intervals"]["auroc"]:
                area += f" [{interval[0]:.3f}, {interval[1]:.3f}]"
            more = "".join(
                f"  {words} {_percent(row[key]).strip()}"
                for key, words in (("fpr_at_known_5", "called fake where 5 % of known reals are:"), ("pairs_won", "pairs won:"))
                if key in row
            )
            found = f"found at 5 % FPR {_percent(row['tpr_at_5_fpr'])}"
            print(f"{row['held_out']:28} {row['n']:6} AUROC {area}  {found}{more}")


def _print_promise(protocol: dict[str, Any]) -> None:
    from deepfake_detector.report.words import promise_on_unseen

    print(promise_on_unseen(protocol))
    print(f"{'left out':28} {'n':>6} {'called fake':>12} {'unsure':>7} {'called real':>12}   called {protocol['wrong']}, 95 % interval")
    for row in protocol["rows"]:
        low, high = map(_percent, row["interval"] or (None, None))
        shares = f"{_percent(row['fake']):>12} {_percent(row['unsure']):>7} {_percent(row['real']):>12}"
        print(f"{row['held_out']:28} {row['n']:6} {shares}   [{low.strip()}, {high.strip()}]  {row['answer']}")


def _percent(value: float | None) -> str:
    return "     –" if value is None else f"{100 * value:5.1f}%"


def _figures(s: dict[str, Any]) -> str:
    """A summary's figures on two lines."""
    number = {name: "–" if s[name] is None else f"{s[name]:.4f}" for name in ("auroc", "ap", "eer", "tpr_at_1_fpr", "tpr_at_5_fpr", "ece")}
    return (
        f"Accuracy {s['accuracy']:.4f}  AUROC {number['auroc']}  AP {number['ap']}  EER {number['eer']}  "
        f"TPR at 1 % FPR {number['tpr_at_1_fpr']}, at 5 % {number['tpr_at_5_fpr']}  ECE {number['ece']}\n"
        f"Unsure about {_percent(s['abstain_rate']).strip()}; wrong in {_percent(s['error_among_answered']).strip()} of the rest  "
        f"({s['n_real']} real, {s['n_fake']} fake)"
    )


def _print_sources(report: dict[str, Any]) -> None:
    print(f"\n{'generator':28} {'n':>6} {'AUROC':>7} {'called fake':>12} {'unsure':>7} {'called real':>12}")
    for name, s in report["generators"].items():
        area = "–" if s["auroc"] is None else f"{s['auroc']:.3f}"
        print(f"{name:28} {s['n']:6} {area:>7} {_percent(s['fake']):>12} {_percent(s['unsure']):>7} {_percent(s['real']):>12}")
    print(f"\n{'real source':28} {'n':>6} {'':7} {'called fake':>12} {'unsure':>7} {'called real':>12}")
    for name, s in report["real_sources"].items():
        print(f"{name:28} {s['n']:6} {'':7} {_percent(s['fake']):>12} {_percent(s['unsure']):>7} {_percent(s['real']):>12}")
    for name, s in report["kinds"].items():
        print(f"\n{name}: {_figures(s)}")


# ------------------------------------------------------------------------------------------------------------- app.py


def app(argv: list[str] | None = None) -> int:
    """`app.py`: the web page."""
    parser = _parser("Open the web page.", "")
    _add_models(parser)
    parser.add_argument("--host", default=None, help="the address to listen on (default: this machine alone; 0.0.0.0 for everyone)")
    parser.add_argument("--port", type=int, default=None, help="the port (default: the first free one from 7860)")
    parser.add_argument("--share", action="store_true", help="also make a public link through Gradio's servers")
    _add_known(parser)
    _add_engine(parser)
    return _run(_app, parser, argv)


def _app(arguments: argparse.Namespace) -> int:
    from functools import partial

    from deepfake_detector.ui.build import serve

    _check_known(arguments)
    load = partial(_panel, arguments, _cache(arguments))
    return serve(load, host=arguments.host, port=arguments.port, share=arguments.share)


def _check_known(arguments: argparse.Namespace) -> None:
    if arguments.pictures and not arguments.known:
        raise DetectorError("--pictures says where the pictures of --known are, and no table is given. Name one with --known.")


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        action="append",
        metavar="FOLDER",
        help="a model; several are asked about each file, and it is fake where one of them says so (default: models/default and, about "
        "faces, models/face_swaps; repeatable)",
    )


def _panel(arguments: argparse.Namespace, cache: Cache | None) -> Panel:
    from deepfake_detector.detect import DEFAULT_MODEL, Detector
    from deepfake_detector.panel import FACE_SWAPS, Panel

    known = None
    if arguments.known:
        from deepfake_detector import table
        from deepfake_detector.known import Known

        known = Known(table.read(arguments.known), arguments.pictures)
    first, *rest = arguments.model or [DEFAULT_MODEL, FACE_SWAPS]
    engine = (cache, arguments.device, arguments.weights)
    return Panel([Detector(first, *engine, known), *(Detector(model, *engine) for model in rest)])


def _add_known(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--known", metavar="TABLE", help="show the most similar pictures of this table beside each verdict")
    parser.add_argument("--pictures", metavar="FOLDER", help="where the pictures of that table are, to show them too")


# -------------------------------------------------------------------------------------------- python -m deepfake_detector


def main(argv: list[str] | None = None) -> int:
    """`python -m deepfake_detector`: predict, adapt, adopt, convert, cache."""
    parser = _parser("Tell real pictures from generated ones.", "", prog="python -m deepfake_detector")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    predict = commands.add_parser(
        "predict", help="judge pictures and clips", description="Judge files, and all pictures and clips in folders."
    )
    predict.add_argument("paths", nargs="+", metavar="FILE|FOLDER")
    _add_models(predict)
    _add_sampling(predict)
    predict.add_argument("--json", action="store_true", help="one JSON object a line")
    _add_known(predict)
    _add_engine(predict)
    predict.set_defaults(command=_predict)
    adapt = commands.add_parser(
        "adapt",
        help="teach a model your own source, or a new generator",
        description="Teach a model a new source of real pictures, or a new generator, by ten or more pictures each.",
    )
    for label, what in (("real", "real pictures from one camera, archive or platform"), ("fake", "fakes by one generator")):
        whose = f"{what}; the folder's name says which"
        adapt.add_argument(f"--{label}", nargs="+", action="extend", default=[], metavar="FOLDER", help=whose)
    adapt.add_argument("--model", default=None, metavar="MODEL", help="the model to begin with (default: models/default)")
    adapt.add_argument("--out", required=True, metavar="MODEL", help="the new model")
    _add_engine(adapt)
    adapt.set_defaults(command=_adapt)
    adopt = commands.add_parser(
        "adopt",
        help="take in a classifier from the Hugging Face hub",
        description="Make a model of a classifier of real and fake that others have trained: calibrated and measured on your pictures.",
        epilog="The table is made by extract_embeddings.py DATA --encoder hf_classifier --weights CLASSIFIER --out TABLE.",
    )
    adopt.add_argument("classifier", help="OWNER/NAME on the hub, or a folder in transformers' format")
    adopt.add_argument("tables", metavar="TABLE", nargs="+", help="pictures that it has not learnt from, embedded by it")
    adopt.add_argument("--fake-label", metavar="WORD", help="its label that means fake (default: as the words say, such as fake, real)")
    adopt.add_argument("--out", required=True, metavar="MODEL", help="the new model")
    adopt.set_defaults(command=_adopt)
    convert = commands.add_parser("convert", help="CSV ↔ Parquet", description="Write a table again, as CSV or Parquet by its name.")
    convert.add_argument("table", help="a table made by extract_embeddings.py")
    convert.add_argument("out", help="the same table again, .csv or .parquet")
    convert.add_argument("--float16", action="store_true", help="round to half precision: a .parquet table of half the size")
    convert.set_defaults(command=_convert)
    cache = commands.add_parser("cache", help="inspect or clear the embedding cache", description="Inspect or clear the embedding cache.")
    cache.add_argument("--clear", action="store_true", help="forget every embedding")
    cache.add_argument("--cache", metavar="FILE", help="the cache (default: $DEEPFAKE_DETECTOR_EMBEDDINGS or embeddings/cache.sqlite)")
    cache.set_defaults(command=_inspect_cache)
    return _run(lambda arguments: arguments.command(arguments), parser, argv)


def _predict(arguments: argparse.Namespace) -> int:
    sampling = _sampling(arguments)
    _check_known(arguments)
    panel = _panel(arguments, _cache(arguments))
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
    alike = ", ".join(f"{LABEL_NAMES[one.label]} {one.path} ({one.cosine:.2f})" for one in outcome.similar[:_MOST_ALIKE])
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


def _adapt(arguments: argparse.Namespace) -> int:
    from deepfake_detector import bundle
    from deepfake_detector.adapt import adapt, embed_shown, recall_of
    from deepfake_detector.datasets.folder import named_folders
    from deepfake_detector.detect import DEFAULT_MODEL
    from deepfake_detector.types import LABEL_NAMES

    if not arguments.real and not arguments.fake:
        raise DetectorError("There is nothing to learn: give a folder of pictures with --real, --fake or both.")
    model = bundle.load(arguments.model or DEFAULT_MODEL)
    out = Path(arguments.out)
    recall_of(model)  # before minutes of embedding
    bundle.check_target(out)
    listing = named_folders(arguments.real, arguments.fake)
    embedder = _embedders(arguments)(model)
    model.check(embedder.encoder.spec, embedder.crop, "the encoder at hand")
    progress = _progress(len(listing.samples))
    pictures, skipped = embed_shown(listing, embedder, progress.update)
    progress.close()
    for path, reason in skipped:
        print(f"{path}: {reason}", file=sys.stderr)
    done = adapt(model, pictures, out.name, _command())
    bundle.save(done.bundle, out)
    answers = ("real", "unsure", "fake")
    print(f"{'':28}{model.name:^24}{out.name:^24}\n{'':28}{f'{answers[0]:>8}{answers[1]:>8}{answers[2]:>8}' * 2}")
    for one in done.shown:
        counts = "".join(f"{counted.get(answer, 0):8}" for counted in (one.before, one.after) for answer in answers)
        print(f"{f'{one.n} {LABEL_NAMES[one.label]}, {one.name}':28}{counts}")
    print(f"Each picture was judged by what {out.name} learns from the others.")
    print(f"{out}: {model.name}, which has learnt these too. Measure it with evaluate.py, on pictures that it was not shown.")
    return 0


def _adopt(arguments: argparse.Namespace) -> int:
    from deepfake_detector import bundle, table
    from deepfake_detector.adopt import adopt
    from deepfake_detector.encoders.hf_classifier import Encoder

    out, encoder = Path(arguments.out), Encoder(weights=arguments.classifier)
    bundle.check_target(out)
    fakes = [arguments.fake_label] if arguments.fake_label else []
    _save_and_tell(adopt(encoder, table.read_all(arguments.tables), out.name, fakes, command=_command()), out)
    return 0


def _convert(arguments: argparse.Namespace) -> int:
    from deepfake_detector.table import convert

    rows = convert(arguments.table, arguments.out, arguments.float16)
    print(f"{arguments.out}: {rows} rows, {os.path.getsize(arguments.out) / 2**20:.1f} MiB")
    return 0


def _inspect_cache(arguments: argparse.Namespace) -> int:
    from deepfake_detector.cache import Cache

    with Cache(arguments.cache) as cache:
        if arguments.clear:
            print(f"{cache.path}: forgot {cache.clear()} embeddings")
            return 0
        summary = cache.summary()
    print(f"{summary['path']}: {summary['bytes'] / 2**20:.1f} MiB")
    for encoder, count in summary["pictures"].items():
        print(f"  {encoder:24} {count:9} pictures")
    return 0
