"""The command lines of all scripts: the only file that prints; heavy libraries load only once the arguments are known."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepfake_detector import __version__, registry
from deepfake_detector.errors import DetectorError

if TYPE_CHECKING:
    from deepfake_detector.detect import Detector
    from deepfake_detector.types import Embeddings

DEFAULT_CACHE_GB = 20.0


def _run(command: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser, argv: list[str] | None) -> int:
    """Parse, run, and turn whatever is raised on purpose into one line and an exit status."""
    arguments = parser.parse_args(argv)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("deepfake_detector").setLevel(logging.INFO)
    try:
        return command(arguments)
    except DetectorError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n{parser.prog}: stopped; what was embedded is remembered, and the same command goes on from there.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `… | head` closed our output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser(description: str, epilog: str, prog: str | None = None) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=prog, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter)


def _add_engine(parser: argparse.ArgumentParser) -> None:
    """The options of everything that embeds."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: the best there is)")
    parser.add_argument("--weights", metavar="FILE", help="a local file, or folder, with the encoder's weights")
    parser.add_argument(
        "--cache", metavar="FILE", help="the embedding cache (default: $DEEPFAKE_DETECTOR_EMBEDDINGS or embeddings/cache.sqlite)"
    )
    parser.add_argument("--cache-gb", type=float, default=DEFAULT_CACHE_GB, metavar="N", help="its size limit (default: %(default)g)")
    parser.add_argument("--no-cache", action="store_true", help="remember nothing")


def _cache(arguments: argparse.Namespace):
    from deepfake_detector.cache import Cache

    return None if arguments.no_cache else Cache(arguments.cache, int(arguments.cache_gb * 2**30))


# ---------------------------------------------------------------------------------------------- extract_embeddings.py


def extract(argv: list[str] | None = None) -> int:
    """`extract_embeddings.py`: pictures → a table."""
    parser = _parser("Embed a folder of real and fake pictures into a table.", "Killed or stopped, the same command goes on where it was.")
    parser.add_argument("data", help="a folder (real/… fake/GENERATOR/…, 0_real 1_fake, nature ai; train/val/test), or a manifest CSV")
    parser.add_argument("--encoder", default="clip_vit_l14", help=f"one of {', '.join(registry.names('encoders'))} (default: %(default)s)")
    parser.add_argument("--crop", default="whole", help=f"one of {', '.join(registry.names('crops'))} (default: %(default)s)")
    parser.add_argument("--out", metavar="TABLE", help="the table, .csv or .parquet (default: embeddings/DATA.csv)")
    parser.add_argument("--views", type=int, default=0, metavar="N", help="also embed N degraded copies of each training picture")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="pictures a batch (default: %(default)s)")
    _add_engine(parser)
    return _run(_extract, parser, argv)


def _extract(arguments: argparse.Namespace) -> int:
    from deepfake_detector.datasets.folder import scan
    from deepfake_detector.embed import Embedder
    from deepfake_detector.extract import extract
    from deepfake_detector.table import check_ending, manifest_path

    out = arguments.out or f"embeddings/{Path(arguments.data).resolve().stem}.csv"
    check_ending(out)
    if arguments.batch_size < 1 or arguments.views < 0:
        raise DetectorError(
            f"--batch-size should be at least 1 and --views at least 0; received {arguments.batch_size} and {arguments.views}."
        )
    encoder = registry.load("encoders", arguments.encoder).Encoder(device=arguments.device, weights=arguments.weights)
    listing = scan(arguments.data)
    embedder = Embedder(encoder, arguments.crop, _cache(arguments), batch_size=arguments.batch_size)
    copied = sum(sample.split != "test" for sample in listing.samples)
    with _progress(len(listing.samples) + arguments.views * copied) as bar:
        done = extract(listing.samples, embedder, out, listing.skipped, " ".join(sys.argv), bar.update, arguments.views)

    timing = done.timing
    print(f"{out}: {done.rows} rows of {encoder.spec.dim} numbers by {encoder.spec.name}, in {done.seconds:.1f} s")
    print(
        f"  encoded {timing.encoded}, remembered {timing.cached}; the encoder worked {timing.encoding:.1f} s, waited {timing.waiting:.1f} s"
    )
    if done.skipped:
        print(f"  skipped {len(done.skipped)} (all in {manifest_path(out)}):")
        for name, reason in done.skipped[:10]:
            print(f"    {name!r}: {reason}")
    if done.repeats:
        print(f"  {done.repeats} files are exact copies of another")
    if done.contradictions:
        print(f"  WARNING: {len(done.contradictions)} pictures are in both classes, byte for byte:")
        for names in done.contradictions[:10]:
            print(f"    {' = '.join(names)}")
    return 0


def _progress(total: int):
    from tqdm import tqdm

    # On a terminal a bar; elsewhere (a log file) a line now and then.
    return tqdm(total=total, unit="picture", smoothing=0.1, mininterval=0.5 if sys.stderr.isatty() else 30, file=sys.stderr)


# ------------------------------------------------------------------------------------------------- train_classifier.py


def train(argv: list[str] | None = None) -> int:
    """`train_classifier.py`: a table → a model."""
    parser = _parser(
        "Train a classifier on a table of embeddings.", "The model is a folder: the head's files, manifest.json and the curves."
    )
    parser.add_argument("table", help="a table made by extract_embeddings.py")
    parser.add_argument("--head", default="keras_mlp", help=f"one of {', '.join(registry.names('heads'))} (default: %(default)s)")
    parser.add_argument("--out", metavar="FOLDER", help="the model (default: models/TABLE-HEAD)")
    parser.add_argument("--seed", type=int, default=0, help="the same table and seed give the same model (default: %(default)s)")
    return _run(_train, parser, argv)


def _train(arguments: argparse.Namespace) -> int:
    import dataclasses

    from sklearn.metrics import classification_report, confusion_matrix

    from deepfake_detector import bundle, table
    from deepfake_detector.evaluate import evaluate_scores
    from deepfake_detector.train import plot_curves, train
    from deepfake_detector.types import LABEL_NAMES

    registry.load("heads", arguments.head)  # an unknown head, before a large table is read
    out = Path(arguments.out or f"models/{Path(arguments.table).stem}-{arguments.head}")
    done = train(table.read(arguments.table), arguments.head, out.name, arguments.seed, " ".join(sys.argv))
    labels = done.test.rows["label"].to_numpy()
    scores = evaluate_scores(done.test.rows, done.p_fake, done.bundle.thresholds)
    made = dataclasses.replace(done.bundle, manifest=done.bundle.manifest | {"scores": scores})
    bundle.save(made, out)
    if done.history:
        plot_curves(done.history, out / "curves.png")

    guess = (done.p_fake >= 0.5).astype(int)
    print(classification_report(labels, guess, target_names=LABEL_NAMES, digits=4, zero_division=0))
    print("Confusion matrix (rows: truth, columns: answer; real, fake):")
    print(confusion_matrix(labels, guess, labels=[0, 1]))
    print(_figures(scores["overall"]))
    thresholds = made.thresholds
    print(f"Verdict: real up to {thresholds.real:.3f}, fake from {thresholds.fake:.3f}, unsure between.")
    print(f"{out}: {made.head_name} on {made.spec.name}; split: {made.manifest['training']['split']}")
    return 0


# --------------------------------------------------------------------------------------------------------- evaluate.py


def evaluate(argv: list[str] | None = None) -> int:
    """`evaluate.py`: a model × pictures or a table → figures."""
    parser = _parser("Measure a model on labelled pictures, overall and for each generator and real source.", "")
    parser.add_argument("--model", default="models/default", metavar="FOLDER", help="the model (default: %(default)s)")
    parser.add_argument("--data", required=True, help="a folder or manifest as for extract_embeddings.py, or a table")
    parser.add_argument("--split", help="only the pictures of this split (train, val or test)")
    parser.add_argument(
        "--kind",
        action="append",
        default=[],
        metavar="NAME=SOURCE,…",
        help="also report these sources together, e.g. faces=ffhq,sd21 (repeatable)",
    )
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    _add_engine(parser)
    return _run(_evaluate, parser, argv)


def _evaluate(arguments: argparse.Namespace) -> int:
    from deepfake_detector import bundle
    from deepfake_detector.errors import DatasetError
    from deepfake_detector.evaluate import evaluate_scores
    from deepfake_detector.files import write_atomically

    model = bundle.load(arguments.model)
    data, skipped = _embedded(arguments, model.spec.name, model.crop)
    model.check(data.spec, data.crop, arguments.data)
    if arguments.split:
        data = data.take((data.rows["split"] == arguments.split).to_numpy())
        if not len(data):
            raise DatasetError(f"{arguments.data} has no pictures in the split {arguments.split!r}.")
    report = {
        "model": model.name,
        "encoder": model.spec.name,
        "data": {"pictures": len(data), "skipped": [{"path": name, "reason": reason} for name, reason in skipped]},
        **evaluate_scores(data.rows, model.p_fake(data.X), model.thresholds, _kinds(arguments.kind)),
    }
    if arguments.json:
        write_atomically(Path(arguments.json), lambda part: part.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n"))
    print(f"{model.name} ({model.head_name} on {model.spec.name}), {len(data)} pictures, {len(skipped)} skipped")
    print(_figures(report["overall"]))
    _print_sources(report)
    return 0


def _embedded(arguments: argparse.Namespace, encoder_name: str, crop: str) -> tuple[Embeddings, list[tuple[str, str]]]:
    """The data as embeddings: read from a table, or made from pictures."""
    from deepfake_detector import table
    from deepfake_detector.embed import Embedder
    from deepfake_detector.extract import embed_samples

    path = Path(arguments.data)
    if path.is_file() and (path.suffix.lower() == ".parquet" or table.manifest_path(path).is_file()):
        return table.read(path), []
    from deepfake_detector.datasets.folder import scan

    listing = scan(arguments.data)
    encoder = registry.load("encoders", encoder_name).Encoder(device=arguments.device, weights=arguments.weights)
    with _progress(len(listing.samples)) as bar:
        data, skipped = embed_samples(listing.samples, Embedder(encoder, crop, _cache(arguments)), bar.update)
    return data, listing.skipped + skipped


def _kinds(given: Iterable[str]) -> dict[str, list[str]]:
    kinds = {}
    for kind in given:
        name, equals, sources = kind.partition("=")
        if not (name and equals and sources):
            raise DetectorError(f"--kind should look like faces=ffhq,sd21; received {kind!r}.")
        kinds[name] = sources.split(",")
    return kinds


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
    parser.add_argument("--model", default=None, metavar="FOLDER", help="the model (default: models/default)")
    parser.add_argument("--host", default=None, help="the address to listen on (default: this machine alone; 0.0.0.0 for everyone)")
    parser.add_argument("--port", type=int, default=None, help="the port (default: the first free one from 7860)")
    parser.add_argument("--share", action="store_true", help="also make a public link through Gradio's servers")
    _add_engine(parser)
    return _run(_app, parser, argv)


def _app(arguments: argparse.Namespace) -> int:
    from deepfake_detector.detect import DEFAULT_MODEL
    from deepfake_detector.ui.build import serve

    cache = _cache(arguments)
    return serve(
        arguments.model or DEFAULT_MODEL,
        cache,
        arguments.device,
        arguments.weights,
        host=arguments.host,
        port=arguments.port,
        share=arguments.share,
    )


# -------------------------------------------------------------------------------------------- python -m deepfake_detector


def main(argv: list[str] | None = None) -> int:
    """`python -m deepfake_detector`: predict, cache."""
    parser = _parser("Tell real pictures from generated ones.", "", prog="python -m deepfake_detector")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    predict = commands.add_parser("predict", help="judge pictures", description="Judge files, and all pictures in folders.")
    predict.add_argument("paths", nargs="+", metavar="FILE|FOLDER")
    predict.add_argument("--model", default=None, metavar="FOLDER", help="the model (default: models/default)")
    predict.add_argument("--json", action="store_true", help="one JSON object a line")
    _add_engine(predict)
    predict.set_defaults(command=_predict)
    cache = commands.add_parser("cache", help="inspect or clear the embedding cache", description="Inspect or clear the embedding cache.")
    cache.add_argument("--clear", action="store_true", help="forget every embedding")
    cache.add_argument("--cache", metavar="FILE", help="the cache (default: $DEEPFAKE_DETECTOR_EMBEDDINGS or embeddings/cache.sqlite)")
    cache.set_defaults(command=_inspect_cache)
    return _run(lambda arguments: arguments.command(arguments), parser, argv)


def _predict(arguments: argparse.Namespace) -> int:
    from deepfake_detector.detect import DEFAULT_MODEL, Detector

    detector = Detector(arguments.model or DEFAULT_MODEL, _cache(arguments), arguments.device, arguments.weights)
    failed = 0
    for path, outcome in detector.judge_files(_files(arguments.paths)):
        failed += isinstance(outcome, str)
        print(_json_line(detector, path, outcome) if arguments.json else _plain_line(path, outcome), flush=True)
    return 1 if failed else 0


def _json_line(detector: Detector, path: str, outcome: Any) -> str:
    line: dict[str, Any] = {"file": path, "model": detector.bundle.name, "encoder": detector.bundle.spec.name}
    if isinstance(outcome, str):
        return json.dumps(line | {"error": outcome})
    return json.dumps(line | {"p_fake": outcome.p_fake, "verdict": outcome.verdict, "cached": outcome.cached, "notes": outcome.notes})


def _plain_line(path: str, outcome: Any) -> str:
    shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\n", "\\n")
    if isinstance(outcome, str):
        return f"error            {shown}: {outcome}"
    notes = f"  ({'; '.join(outcome.notes)})" if outcome.notes else ""
    return f"{outcome.verdict:6}  {outcome.p_fake:8.4f}  {shown}{notes}"


def _files(paths: Iterable[str]) -> Iterable[str]:
    """Files as they are, folders as the pictures in them, sorted."""
    from deepfake_detector.datasets.folder import picture_files

    for path in paths:
        if not os.path.isdir(path):
            yield path
        else:
            found = picture_files(path)
            if not found:
                raise DetectorError(f"There are no pictures in the folder {path}.")
            yield from found


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
