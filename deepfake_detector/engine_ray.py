"""The engine `ray`: extraction over the cores of a machine, or of a cluster, by Ray Data, with GPUs where there are any.

    samples ── cut into parts and chunks ──► read, decode, crop ──► encode ──► parts on disk, in any order ──► rows in order
               one task, where we are        tasks, a chunk each    actors     where we are

Ray does again what a killed worker had in hand. What a killed driver had finished is in the parts, `TABLE.parts/NUMBER.parquet`.
"""

from __future__ import annotations

import functools
import logging
import os
import pickle
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from deepfake_detector import parts
from deepfake_detector.datasets import Listing
from deepfake_detector.embed import Content, Embedded, Embedder, Prepared, Timing
from deepfake_detector.encoders import PictureEncoder
from deepfake_detector.errors import DetectorError, EngineError, words_of
from deepfake_detector.extract import Embed, Take, takes
from deepfake_detector.files import locked
from deepfake_detector.types import EncoderSpec, Sample
from deepfake_detector.video import Sampling

log = logging.getLogger(__name__)

PART = 1024  # samples: at 300 kB a picture 300 MB for the task that cuts a stream into parts

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is reported to anybody
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else its C++ parts write into our output what concerns Ray Data alone
try:
    import ray
except ImportError as missing:
    raise EngineError("The engine ray needs Ray Data: pip install -r requirements-ray.txt") from missing


# What travels through the pipeline, one a row: the chunks of parts; of each chunk its pieces, prepared and then encoded. Parts
# that are there already, errors and the end travel with them.


_Row = dict[str, Any]


def _row(item: object) -> _Row:
    return {"item": pickle.dumps(item, pickle.HIGHEST_PROTOCOL)}


def _item(row: _Row) -> Any:
    return pickle.loads(row["item"])


@dataclass(frozen=True)
class _Chunk:
    """Consecutive samples of a part: the `nth` of `of` chunks. `first` is the first sample's number in the data set."""

    part: int
    mark: str
    nth: int
    of: int
    first: int
    samples: list[Sample]


@dataclass(frozen=True)
class _Piece:
    """Of a chunk what fits a batch of the encoder: the `nth` piece, and whether it is the `last`.

    `outcomes` become a `table` when they are encoded, in so many `seconds`. `passing` says that an attempt to read failed
    in a way that may pass, so that the part is used but not kept for another run.
    """

    chunk: _Chunk
    nth: int
    last: bool
    passing: bool
    outcomes: list[Prepared[Take]]
    table: pa.Table | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class _Known:
    part: int


@dataclass(frozen=True)
class _End:
    """The number of parts, and what the listing says once all of it was drawn."""

    parts: int
    skipped: list[tuple[str, str]]
    facts: dict[str, Any]


@dataclass(frozen=True)
class _Job:
    """What workers need to know, in place of an Embedder: theirs is made from it. Paths are seen from `folder`, but for `weights`."""

    folder: str
    encoder: type[PictureEncoder]
    device: str
    weights: str | None
    spec: EncoderSpec
    crop: str
    sampling: Sampling | None
    views: tuple[str, ...]
    batch_size: int


class RayEngine:
    """Embeds by Ray, in parts beside the table `out`: a context manager that gives what `extract` takes as `embed`.

    It starts Ray and stops it again, unless it runs already: in this process, on this machine, or where $RAY_ADDRESS says. The parts
    are its own meanwhile: raises EngineError where another process is at them.
    """

    def __init__(self, out: str | Path, part: int = PART):
        self.folder = Path(f"{out}.parts")
        self.part = part
        self._held = ExitStack()

    def __enter__(self) -> Embed:
        with ExitStack() as held:
            self.folder.mkdir(parents=True, exist_ok=True)
            busy = EngineError(f"Another process extracts into {self.folder}. Wait for it, or choose another --out.")
            held.enter_context(locked(self.folder, busy))  # else one would read, as its own rows, the parts that another wrote
            if not ray.is_initialized():
                _start()
                held.callback(ray.shutdown)
            self._held = held.pop_all()
        return self.embed

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def embed(
        self, listing: Listing, embedder: Embedder, sampling: Sampling | None, views: Sequence[str], timing: Timing
    ) -> Iterator[Embedded[Take]]:
        """Yield what became of each take, in order, as soon as its part and all before it are there. The cache is not used."""
        encoder = embedder.encoder
        job = _Job(
            folder=os.getcwd(),
            encoder=type(encoder),
            device=encoder.device,
            # A worker has another working folder; OWNER/NAME on the hub is no place in it.
            weights=os.path.abspath(encoder.weights) if encoder.weights and os.path.exists(encoder.weights) else encoder.weights,
            spec=encoder.spec,
            crop=embedder.crop,
            sampling=sampling,
            views=tuple(views),
            batch_size=embedder.batch_size,
        )
        unfinished: dict[int, _Unfinished] = {}
        known = parts.marks(self.folder)
        there: dict[int, tuple[str, bool]] = {}  # part → its mark, and whether it was there before
        turn = 0
        end = None
        for item in self._run(listing, job, known, timing):
            if isinstance(item, _End):
                end = item
            elif isinstance(item, _Known):
                there[item.part] = known[item.part], True
            else:
                part = item.chunk.part
                one = unfinished.setdefault(part, _Unfinished())
                one.add(item)
                timing.encoding += item.seconds
                if one.complete:
                    mark = "" if one.passing else item.chunk.mark
                    parts.write(self._file(part), one.table(), mark)
                    del unfinished[part]
                    there[part] = mark, False
            while turn in there:
                mark, before = there.pop(turn)
                yield from _counted(parts.read(self._file(turn), mark), before, timing)
                turn += 1
        if end is None or turn != end.parts:
            raise EngineError(f"Ray ended with parts missing, the first {self._file(turn)}. Run the same command again.")
        listing.skipped[:] = end.skipped
        listing.facts.clear()
        listing.facts.update(end.facts)

    def _file(self, part: int) -> Path:
        return self.folder / f"{part:05}.parquet"

    def _run(self, listing: Listing, job: _Job, known: dict[int, str], timing: Timing) -> Iterator[_Piece | _Known | _End]:
        from ray.data import DataContext

        context = DataContext.get_current()
        context.enable_progress_bars = False
        context.target_max_block_size = 1  # byte: whatever travels is a block of its own, so that it is a task of its own
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        try:
            drawn = ray.put(listing)
        except Exception as error:  # whatever the library that a stream stands on raises when it is pickled
            raise EngineError(
                f"This data set's stream can't be handed to another process ({type(error).__name__}). Use --engine local."
            ) from error
        here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}  # where the data set was opened
        reading, encoding = _shares(job.device)
        found = (
            ray.data.range(1, override_num_blocks=1)
            .flat_map(functools.partial(_cut, drawn, job, known, self.part), num_cpus=0.01, label_selector=here)
            .flat_map(functools.partial(_read, job), **reading)
            .map(_Encode, fn_constructor_args=[job], **encoding)
        )
        items = iter(found.iter_rows())
        while True:
            began = time.perf_counter()
            try:
                row = next(items, None)
            except ray.exceptions.RayTaskError:
                raise  # a mistake in this file or below it
            except ray.exceptions.RayError as error:
                raise EngineError(f"Ray gave up ({words_of(error)}). The same command goes on from {self.folder}.") from error
            timing.waiting += time.perf_counter() - began
            if row is None:
                return
            item = _item(row)
            if isinstance(item, DetectorError):
                raise item
            yield item


@dataclass
class _Unfinished:
    """The pieces of one part that have come so far, in any order."""

    pieces: dict[tuple[int, int], _Piece] = field(default_factory=dict)
    wanted: dict[int, int] = field(default_factory=dict)  # chunk → the number of its pieces
    passing: bool = False
    complete: bool = False

    def add(self, piece: _Piece) -> None:
        self.pieces[piece.chunk.nth, piece.nth] = piece
        self.passing |= piece.passing
        if piece.last:
            self.wanted[piece.chunk.nth] = piece.nth + 1
        self.complete = len(self.wanted) == piece.chunk.of and len(self.pieces) == sum(self.wanted.values())

    def table(self) -> pa.Table:
        return pa.concat_tables(self.pieces[place].table for place in sorted(self.pieces))


def _counted(outcomes: Iterator[Embedded[Take]], known: bool, timing: Timing) -> Iterator[Embedded[Take]]:
    for one in outcomes:
        one.cached = known and not one.error
        timing.cached += one.cached
        timing.encoded += not known and not one.error
        yield one


def _shares(device: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What of the cluster a reading task and an encoding actor take each, and how many of them there may be."""
    from ray.data import ActorPoolStrategy, TaskPoolStrategy

    there = ray.cluster_resources()
    if device.startswith("cuda") and not there.get("GPU"):
        raise EngineError(f"There is no GPU in this cluster, which has {there.get('CPU', 0):g} CPUs; --device {device} needs one.")
    if there.get("GPU") and (device == "auto" or device.startswith("cuda")):
        return {"num_cpus": 1}, {"num_gpus": 1, "compute": ActorPoolStrategy(min_size=1, max_size=int(there["GPU"]))}
    # To encode takes most of the time then, and to read little: each core has an encoder and, for what time it leaves, a reader. More
    # readers would find room while there are few encoders, and to start a process takes as long as to read hundreds of pictures.
    cores = max(1, int(there.get("CPU", 1)))
    return (
        {"num_cpus": 0.25, "compute": TaskPoolStrategy(cores)},
        {"num_cpus": 0.75, "compute": ActorPoolStrategy(min_size=1, max_size=cores)},
    )


def _start() -> None:
    """Start Ray, or join it; raises EngineError."""
    if address := os.environ.get("RAY_ADDRESS"):
        log.info("joining Ray at %s", address)
    try:
        with _nothing_said():
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise EngineError(f"Ray can't be started, or joined ({error}). Check $RAY_ADDRESS, and `ray status`.") from error
    except Exception as error:  # as it says itself of a machine on which its own processes come too late
        raise EngineError(f"Ray did not start ({words_of(error)}). Wait until the machine is less busy, or use --engine local.") from error


@contextmanager
def _nothing_said() -> Iterator[None]:
    """Keep what C++ writes from our output: its log says there first of all that it was told to say nothing."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


# ------------------------------------------------------------------------------------------------ what runs on the workers


def _cut(drawn: ray.ObjectRef, job: _Job, known: dict[int, str], size: int, _: _Row) -> Iterator[_Row]:
    """Draw the samples; of each part that is not known as it is now yield the chunks."""
    os.chdir(job.folder)
    listing: Listing = ray.get(drawn)
    settings = {"encoder": job.spec.key, "crop": job.crop, "sampling": asdict(job.sampling or Sampling()), "views": job.views}
    part = 0
    try:
        samples = (replace(sample, path=os.path.abspath(sample.path)) for sample in listing.samples)
        while together := list(islice(samples, size)):
            mark = parts.fingerprint(together, settings)
            if known.get(part) == mark:
                yield _row(_Known(part))
            else:
                starts = range(0, len(together), job.batch_size)
                for nth, start in enumerate(starts):
                    some = together[start : start + job.batch_size]
                    yield _row(_Chunk(part, mark, nth, len(starts), part * size + start, some))
            part += 1
    except DetectorError as error:
        yield _row(error)
    else:
        yield _row(_End(part, list(listing.skipped), dict(listing.facts)))


def _read(job: _Job, row: _Row) -> Iterator[_Row]:
    """A chunk → its pieces, prepared for the encoder; whatever else comes by goes on."""
    chunk = _item(row)
    if not isinstance(chunk, _Chunk):
        yield row
        return
    empty = replace(chunk, samples=[])
    embedder = _embedder(job)
    passing = False

    def read(take: Take) -> Content:
        nonlocal passing
        try:
            return take.read()
        except FileNotFoundError:  # which is known by the part's fingerprint
            raise
        except OSError:
            passing = True
            raise

    outcomes: list[Prepared[Take]] = []
    nth = regions = 0
    try:
        for take in takes(chunk.samples, job.sampling, job.views):
            if regions >= job.batch_size:
                yield _row(_Piece(empty, nth, False, passing, outcomes))
                nth, regions, outcomes = nth + 1, 0, []
            one = embedder.prepare(take, read)
            shot = replace(take.shot, number=chunk.first + take.shot.number, read=_nothing)
            one.result.item = Take(shot, take.view, _nothing)
            regions += 0 if one.prepared is None else len(one.prepared)
            outcomes.append(one)
        yield _row(_Piece(empty, nth, True, passing, outcomes))
    except DetectorError as error:
        yield _row(error)


def _nothing() -> Content:
    """In place of what a shot is read by, which stays where it was read."""
    raise NotImplementedError


@functools.lru_cache(maxsize=1)
def _embedder(job: _Job) -> Embedder:
    """One a process, since some crops load a model."""
    return Embedder(job.encoder(job.device, job.weights), job.crop)


class _Encode:
    """The encoding actor: a piece → the same with its table. Weights are loaded with the first."""

    def __init__(self, job: _Job):
        self.job = job
        on = "cuda" if job.device.startswith("cuda:") else job.device  # an actor sees no other GPU than its own
        self.encoder = job.encoder(on, job.weights)

    def __call__(self, row: _Row) -> _Row:
        piece = _item(row)
        if not isinstance(piece, _Piece):
            return row
        try:
            return _row(self._encoded(piece))
        except DetectorError as error:
            return _row(error)

    def _encoded(self, piece: _Piece) -> _Piece:
        if self.encoder.spec != self.job.spec:
            raise EngineError(
                f"A worker's weights are not those of the machine that started it ({self.encoder.spec.differences(self.job.spec)}). "
                "Give every machine the same."
            )
        began = time.perf_counter()
        prepared = [one.prepared for one in piece.outcomes if one.prepared is not None]
        if prepared:
            together = np.concatenate(prepared)
            starts = range(0, len(together), self.job.batch_size)
            vectors = iter(np.concatenate([self.encoder.encode(together[at : at + self.job.batch_size]) for at in starts]))
            for one in piece.outcomes:
                if one.prepared is not None:
                    one.encoded(np.stack(list(islice(vectors, len(one.prepared)))))
        table = parts.to_table(one.result for one in piece.outcomes)
        return replace(piece, outcomes=[], table=table, seconds=time.perf_counter() - began)
