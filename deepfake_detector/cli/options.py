"""What all command lines share: how one is run, the options of several, and what these stand for."""

from __future__ import annotations

import argparse
import errno
import io
import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from deepfake_detector import registry
from deepfake_detector.cli.say import say
from deepfake_detector.errors import CacheError, DetectorError
from deepfake_detector.files import in_one_line, spelt_out

if TYPE_CHECKING:
    from deepfake_detector.bundle import Bundle
    from deepfake_detector.cache import Cache
    from deepfake_detector.embed import Embedder
    from deepfake_detector.encoders import PictureEncoder
    from deepfake_detector.panel import Panel
    from deepfake_detector.types import EncoderSpec

DEFAULT_CACHE_GB = 20.0
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a disk, one's share of it, or all that a file may hold


def run(command: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser, argv: list[str] | None) -> int:
    """Parse, run, and turn whatever is raised on purpose into one line and an exit status."""
    arguments = parser.parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may hold what a terminal can't show
    shown = BesideTheBar()
    shown.setFormatter(_OneLine())
    logging.basicConfig(handlers=[shown])
    logging.getLogger("deepfake_detector").setLevel(logging.INFO)
    try:
        return command(arguments)
    except DetectorError as error:
        say(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        remembered = not getattr(arguments, "no_cache", True)
        what = "; what was embedded is remembered, and the same command goes on from there" if remembered else ""
        say("", f"{parser.prog}: stopped{what}.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `… | head` closed our output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a full disk, or a place that may not be written: nothing that is read by name comes this far
        said = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or error
        advice = "Make room, or choose another place" if error.errno in _FULL else "Choose another place"
        say(f"{parser.prog}: error: {said}. {advice}, and run it again.", file=sys.stderr)
        return 2


class _OneLine(logging.Formatter):
    """A message as `say` prints it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's own name
        return in_one_line(record.message)


class _Parser(argparse.ArgumentParser):
    """What it finds fault with may be a file's name, which a shell made of a `*`."""

    def error(self, message: str) -> NoReturn:
        super().error(in_one_line(message))


def command_line() -> str:
    """What was typed, as a shell takes it again, for manifests and reports."""
    return spelt_out(shlex.join(sys.argv))


def new_parser(description: str, epilog: str, prog: str | None = None) -> argparse.ArgumentParser:
    return _Parser(prog=prog, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_engine(parser: argparse.ArgumentParser) -> None:
    """The options of everything that embeds."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: the best there is)")
    parser.add_argument("--weights", metavar="FILE", help="a local file, or folder, with the encoder's weights")
    add_cache(parser)


def add_cache(parser: argparse.ArgumentParser) -> None:
    """Where embeddings are remembered."""
    parser.add_argument(
        "--cache", metavar="FILE", help="the embedding cache (default: $DEEPFAKE_DETECTOR_EMBEDDINGS or embeddings/cache.sqlite)"
    )
    parser.add_argument("--cache-gb", type=float, default=DEFAULT_CACHE_GB, metavar="N", help="its size limit (default: %(default)g)")
    parser.add_argument("--no-cache", action="store_true", help="remember nothing")


def open_cache(arguments: argparse.Namespace):
    from deepfake_detector.cache import Cache

    if not 0 < arguments.cache_gb < float("inf"):
        raise DetectorError(f"--cache-gb should be a number above 0; received {arguments.cache_gb}.")
    try:
        return None if arguments.no_cache else Cache(arguments.cache, int(arguments.cache_gb * 2**30))
    except CacheError as error:
        raise CacheError(f"{error} Or remember nothing, with --no-cache.") from error


def embedders(arguments: argparse.Namespace):
    """A model → an embedder; encoders and the cache are made once."""
    from functools import cache

    from deepfake_detector.embed import Embedder

    remembered = cache(lambda: open_cache(arguments))
    encoders: dict[EncoderSpec, PictureEncoder] = {}

    def embedder(model: Bundle) -> Embedder:
        if model.spec not in encoders:
            encoders[model.spec] = model.encoder(arguments.device, arguments.weights)
        return Embedder(encoders[model.spec], model.crop, remembered())

    return embedder


def add_data(parser: argparse.ArgumentParser, argv: list[str] | None) -> None:
    """The options of everything that reads labelled pictures, and those of the data set that `argv` names."""
    parser.add_argument(
        "--dataset", default="folder", help=f"its layout: one of {', '.join(registry.names('datasets'))} (default: %(default)s)"
    )
    add_sampling(parser)
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--dataset")
    name = first.parse_known_args(argv)[0].dataset
    own = argparse.ArgumentParser(add_help=False)
    if name in registry.names("datasets") and (add_options := getattr(registry.load("datasets", name), "add_options", None)):
        for options in (parser.add_argument_group(f"options of --dataset {name}"), own):
            add_options(options)
    parser.set_defaults(own=vars(own.parse_args([])).keys())


def data_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was said to the data set's own options, by their names."""
    return {name: getattr(arguments, name) for name in arguments.own}


def add_sampling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--frames", type=int, default=16, metavar="N", help="of a clip, take N frames evenly (default: %(default)s)")
    parser.add_argument("--every", type=float, metavar="SECONDS", help="of a clip, take a frame every so many seconds instead")


def sampling_of(arguments: argparse.Namespace):
    from deepfake_detector.video import Sampling

    return Sampling(arguments.frames, arguments.every)


def check_seed(arguments: argparse.Namespace) -> None:
    if not 0 <= arguments.seed < 2**32:
        raise DetectorError(f"--seed should be from 0 to {2**32 - 1}; received {arguments.seed}.")


class BesideTheBar(logging.Handler):
    """Messages on standard error, each in a line of its own: a bar that stands there is drawn again below it."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        try:
            tqdm.write(self.format(record), file=sys.stderr)
        except Exception:  # as every handler: what can't be told must not end what is told about
            self.handleError(record)


def progress_bar(total: int | None):
    from tqdm import tqdm

    class Bar(tqdm):
        """Ends its line once all is done, as the next one may begin where nobody closes this."""

        def update(self, n: float = 1) -> bool | None:
            shown = super().update(n)
            if self.n == self.total:
                self.close()
            return shown

    # On a terminal a bar; elsewhere (a log file) a line now and then. Each on the line that the cursor is in: by itself tqdm would look for
    # others above it, such as one of a task that failed.
    often = 0.5 if sys.stderr.isatty() else 30
    return Bar(total=total, unit="picture", smoothing=0.1, mininterval=often, file=sys.stderr, position=0)


@contextmanager
def bars() -> Iterator[Callable[[int | None], Callable[[float], object]]]:
    """Gives bars one after the other. Each ends its line before the next begins, or an error is told."""
    with ExitStack() as shown:

        def bar(total: int | None) -> Callable[[float], object]:
            shown.close()
            return shown.enter_context(progress_bar(total)).update

        yield bar


def add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        action="append",
        metavar="FOLDER",
        help="a model; several are asked about each file, and it is fake where one of them says so (default: models/default and, about "
        "faces, models/face_swaps; repeatable)",
    )
    parser.add_argument(
        "--signers",
        metavar="FILE",
        help="certificates (PEM) of authorities that vouch for who signs Content Credentials, such as C2PA's trust list",
    )


def add_known(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--known", metavar="TABLE", help="show the most similar pictures of this table beside each verdict")
    parser.add_argument("--pictures", metavar="FOLDER", help="where the pictures of that table are, to show them too")


def check_beside(arguments: argparse.Namespace) -> None:
    """Raise DetectorError where what is to stand beside a verdict is not there, before anything large is loaded."""
    if arguments.pictures and not arguments.known:
        raise DetectorError("--pictures says where the pictures of --known are, and no table is given. Name one with --known.")
    if arguments.pictures and not Path(arguments.pictures).expanduser().exists():
        raise DetectorError(f"Expected with --pictures a folder or a CSV manifest; {arguments.pictures!r} is missing. Correct the path.")
    if arguments.known:
        from deepfake_detector import table

        table.check_there(arguments.known)
    if arguments.signers:
        from deepfake_detector.credentials import read_signers

        read_signers(arguments.signers)


def panel_of(arguments: argparse.Namespace, cache: Cache | None) -> Panel:
    from deepfake_detector.credentials import read_signers
    from deepfake_detector.detect import DEFAULT_MODEL, Detector
    from deepfake_detector.panel import FACE_SWAPS, Panel

    known = None
    if arguments.known:
        from deepfake_detector import table
        from deepfake_detector.known import Known

        known = Known(table.read(arguments.known), arguments.pictures)
    first, *rest = arguments.model or [DEFAULT_MODEL, FACE_SWAPS]
    engine = (cache, arguments.device, arguments.weights)
    detectors = [Detector(first, *engine, known), *(Detector(model, *engine) for model in rest)]
    return Panel(detectors, read_signers(arguments.signers) if arguments.signers else "")
