"""extract_embeddings.py: pictures → a table."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detector import registry
from deepfake_detector.cli.options import (
    add_data,
    add_engine,
    command_line,
    data_options,
    new_parser,
    open_cache,
    progress_bar,
    run,
    sampling_of,
)
from deepfake_detector.cli.say import say
from deepfake_detector.errors import DetectorError
from deepfake_detector.files import name_of, spelt_out

if TYPE_CHECKING:
    import argparse

    from deepfake_detector.cache import Cache
    from deepfake_detector.datasets import Listing
    from deepfake_detector.extract import Embed, Extraction


def extract(argv: list[str] | None = None) -> int:
    parser = new_parser(
        "Embed real and fake pictures, or clips, into a table.", "Killed or stopped, the same command goes on where it was."
    )
    parser.add_argument(
        "data",
        help="a folder (real/… fake/GENERATOR/…, 0_real 1_fake, nature ai; train/val/test), a manifest CSV, whose paths count from its "
        "own folder or from images/ in it, or what --dataset reads",
    )
    add_data(parser, argv)
    parser.add_argument("--encoder", default="clip_vit_l14", help=f"one of {', '.join(registry.names('encoders'))} (default: %(default)s)")
    parser.add_argument(
        "--crop",
        default="whole",
        help=f"one of {', '.join(registry.names('crops'))}, with settings behind colons: faces:padding=0.2:min=48:align "
        "(default: %(default)s)",
    )
    parser.add_argument("--out", metavar="TABLE", help="the table, .csv or .parquet (default: embeddings/DATA.csv)")
    parser.add_argument("--float16", action="store_true", help="store half precision: a .parquet table of half the size")
    parser.add_argument(
        "--views",
        default="0",
        metavar="N|NAMES",
        help="also embed so many degraded copies of each training picture, or those named: augment0,clip0,poor0",
    )
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="pictures a batch (default: %(default)s)")
    parser.add_argument(
        "--engine",
        default="local",
        choices=("local", "ray"),
        help="local: this process and the cache; ray: Ray Data over the cores, or the cluster of $RAY_ADDRESS, and parts beside the table "
        "(default: %(default)s)",
    )
    add_engine(parser)
    return run(_extract, parser, argv)


def _extract(arguments: argparse.Namespace) -> int:
    from deepfake_detector.degrade import copies
    from deepfake_detector.embed import Embedder
    from deepfake_detector.extract import extract
    from deepfake_detector.table import check_replaced, check_target

    place = Path(arguments.data).resolve()
    data = spelt_out(str(place)) if place.exists() else arguments.data  # a name on the hub is no place here
    out = arguments.out or f"embeddings/{name_of(place)}.csv"
    for read in (Path(arguments.data), Path(arguments.data) / "manifest.csv"):
        if read.is_file() and Path(out).is_file() and read.samefile(out):
            raise DetectorError(f"The table would be written over {read}, which it is made from. Choose another --out.")
    check_target(out, arguments.float16)
    if arguments.batch_size < 1:
        raise DetectorError(f"--batch-size should be at least 1; received {arguments.batch_size}.")
    views = copies(arguments.views)
    sampling = sampling_of(arguments)
    engine, cache = _engine(arguments, out)
    encoder = registry.load("encoders", arguments.encoder).Encoder(device=arguments.device, weights=arguments.weights)
    listing = registry.load("datasets", arguments.dataset).scan(arguments.data, **data_options(arguments))
    embedder = Embedder(encoder, arguments.crop, cache, batch_size=arguments.batch_size)
    replaces = not arguments.out and check_replaced(out, data, encoder.spec, embedder.crop)
    with engine as embed, progress_bar(_total(listing, len(views))) as bar:
        done = extract(listing, embedder, out, command_line(), bar.update, views, sampling, arguments.float16, embed, data)
    say(f"{out}: {done.rows} rows of {encoder.spec.dim} numbers by {encoder.spec.name}, in {done.seconds:.1f} s")
    if replaces:
        say("  it replaces a table of this name, which did not say what pictures it was of")
    _tell(done, listing, out)
    return 0


def _tell(done: Extraction, listing: Listing, out: str) -> None:
    """Print where the time went, what was left out, and what to look at before anything is trained on the table."""
    from deepfake_detector.table import manifest_path

    timing = done.timing
    say(
        f"  encoded {timing.encoded}, remembered {timing.cached}; the encoder worked {timing.encoding:.1f} s, waited {timing.waiting:.1f} s"
    )
    for name, fact in listing.facts.items():
        told = ", ".join(f"{what} {n}" for what, n in fact.items()) if isinstance(fact, dict) else fact
        say(f"  {name}: {told}")
    if done.skipped:
        say(f"  skipped {len(done.skipped)} (all in {manifest_path(out)}):")
        for name, reason in done.skipped[:10]:
            say(f"    {name!r}: {reason}")
    for name, note in done.notes[:10]:
        say(f"  note: {name!r}: {note}")
    if len(done.classes) == 1:
        say(
            f"  WARNING: all pictures are {done.classes[0]}, so a detector can't be trained on this table alone. If the data has others, "
            "name their folder real or fake, or list them in a manifest CSV."
        )
    if done.repeats:
        say(f"  {done.repeats} pictures are exact copies of another")
    if done.contradictions:
        say(f"  WARNING: {len(done.contradictions)} pictures are in both classes, byte for byte:")
        for names in done.contradictions[:10]:
            say(f"    {' = '.join(names)}")


def _engine(arguments: argparse.Namespace, out: str) -> tuple[AbstractContextManager[Embed], Cache | None]:
    """What embeds, once it is entered, and the cache that it uses."""
    if arguments.engine == "local":
        from deepfake_detector.extract import embed_here

        return nullcontext(embed_here), open_cache(arguments)
    from deepfake_detector.engine_ray import RayEngine

    if arguments.cache:
        raise DetectorError(f"--engine ray remembers in {out}.parts, and uses no cache. Leave out --cache, or use --engine local.")
    return RayEngine(out), None


def _total(listing: Listing, views: int) -> int | None:
    """The pictures to embed with so many degraded copies; of a stream a guess, or None."""
    if not listing.is_stream:
        return len(listing.samples) + views * sum(sample.split != "test" for sample in listing.samples)
    return listing.total and listing.total * (1 + views)
