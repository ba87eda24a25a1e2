"""`python -m deepfake_detector`: predict, adapt, adopt, convert, cache."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detector import __version__
from deepfake_detector.cli.options import (
    add_engine,
    add_known,
    add_models,
    add_sampling,
    command_line,
    embedders,
    new_parser,
    progress_bar,
    run,
)
from deepfake_detector.cli.prediction import predict_files
from deepfake_detector.cli.say import say
from deepfake_detector.cli.training import save_and_tell
from deepfake_detector.errors import DetectorError

if TYPE_CHECKING:
    import argparse


def main(argv: list[str] | None = None) -> int:
    parser = new_parser("Tell real pictures from generated ones.", "", prog="python -m deepfake_detector")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    predict = commands.add_parser(
        "predict",
        help="judge pictures and clips",
        description="Judge files, all pictures and clips in folders, and pictures at addresses of the web.",
    )
    predict.add_argument("paths", nargs="+", metavar="FILE|FOLDER|URL")
    add_models(predict)
    add_sampling(predict)
    form = predict.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line")
    form.add_argument("--csv", action="store_true", help="a CSV, with a row for each file")
    add_known(predict)
    add_engine(predict)
    predict.set_defaults(command=predict_files)
    adapt = commands.add_parser(
        "adapt",
        help="teach a model your own source, or a new generator",
        description="Teach a model a new source of real pictures, or a new generator, by ten or more pictures each.",
    )
    for label, what in (("real", "real pictures from one camera, archive or platform"), ("fake", "fakes by one generator")):
        whose = f"{what}; the folder's name says which"
        adapt.add_argument(f"--{label}", nargs="+", action="extend", default=[], metavar="FOLDER", help=whose)
    adapt.add_argument("--model", metavar="MODEL", help="the model to begin with (default: models/default)")
    adapt.add_argument("--out", required=True, metavar="MODEL", help="the new model")
    add_engine(adapt)
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
    return run(lambda arguments: arguments.command(arguments), parser, argv)


def _adapt(arguments: argparse.Namespace) -> int:
    from deepfake_detector import bundle
    from deepfake_detector.adapt import adapt, embed_shown, recall_of
    from deepfake_detector.datasets.folder import named_folders
    from deepfake_detector.detect import DEFAULT_MODEL

    if not arguments.real and not arguments.fake:
        raise DetectorError("There is nothing to learn: give a folder of pictures with --real, --fake or both.")
    model = bundle.load(arguments.model or DEFAULT_MODEL)
    out = Path(arguments.out)
    recall_of(model)  # before minutes of embedding
    bundle.check_target(out)
    listing = named_folders(arguments.real, arguments.fake)
    embedder = embedders(arguments)(model)
    model.check_encoder(embedder.encoder.spec, embedder.crop)
    with progress_bar(len(listing.samples)) as progress:
        pictures, skipped = embed_shown(model, listing, embedder, progress.update)
    for path, reason in skipped:
        say(f"{path}: {reason}", file=sys.stderr)
    taught = adapt(model, pictures, out.name, command_line())
    bundle.save(taught, out)
    answers = ("real", "unsure", "fake")
    say(f"{'':28}{model.name:^24}{out.name:^24}", f"{'':28}{f'{answers[0]:>8}{answers[1]:>8}{answers[2]:>8}' * 2}")
    for one in taught.manifest["training"]["shown"]:
        counts = "".join(f"{one[when].get(answer, 0):8}" for when in ("before", "after") for answer in answers)
        what = f"{one['n']} {one['label']}, {one['name']}"
        say(f"{what:28}{counts}")
    say(f"Each picture was judged by what {out.name} learns from the others.")
    say(f"{out}: {model.name}, which has learnt these too. Measure it with evaluate.py, on pictures that it was not shown.")
    return 0


def _adopt(arguments: argparse.Namespace) -> int:
    from deepfake_detector import bundle, table
    from deepfake_detector.adopt import adopt
    from deepfake_detector.encoders.hf_classifier import Encoder

    out, encoder = Path(arguments.out), Encoder(weights=arguments.classifier)
    bundle.check_target(out)
    fakes = [arguments.fake_label] if arguments.fake_label else []
    save_and_tell(adopt(encoder, table.read_all(arguments.tables), out.name, fakes, command=command_line()), out)
    return 0


def _convert(arguments: argparse.Namespace) -> int:
    from deepfake_detector.table import convert

    rows = convert(arguments.table, arguments.out, arguments.float16)
    say(f"{arguments.out}: {rows} rows, {os.path.getsize(arguments.out) / 2**20:.1f} MiB")
    return 0


def _inspect_cache(arguments: argparse.Namespace) -> int:
    from deepfake_detector.cache import Cache, default_path

    path = Path(arguments.cache or default_path())
    if not path.exists():  # mistyped, perhaps, or looked for from another folder: to make one would seem to have forgotten all
        say(f"{path}: there is no such file, so nothing is remembered in it")
        return 0
    with Cache(path) as cache:
        if arguments.clear:
            say(f"{cache.path}: forgot {cache.clear()} embeddings")
            return 0
        summary = cache.summary()
    say(f"{cache.path}: {summary['bytes'] / 2**20:.1f} MiB")
    for encoder, count in summary["pictures"].items():
        say(f"  {encoder:24} {count:9} pictures")
    return 0
