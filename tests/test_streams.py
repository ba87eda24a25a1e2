"""Data sets that are streams, and data sets with options: what every such data set gets from the scripts."""

from __future__ import annotations

import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from deepfake_detector import cli, registry, table
from deepfake_detector.cache import Cache
from deepfake_detector.datasets import Listing, stream
from deepfake_detector.datasets.folder import scan
from deepfake_detector.embed import Embedder
from deepfake_detector.encoders.colour_histogram import Encoder
from deepfake_detector.errors import DatasetError
from deepfake_detector.extract import embed_samples, extract
from deepfake_detector.types import Sample
from tests.conftest import draw, script


def streamed(listing: Listing, bad: int = 0) -> Listing:
    """The same pictures without their files, and so many names that have none."""

    def draw(skipped, facts):
        skipped.extend((f"gone {i}", "was never there") for i in range(bad))
        for number, s in enumerate(listing.samples, start=1):
            with open(s.path, "rb") as file:
                yield Sample(s.name, s.name, s.label, s.generator, s.group, s.split, content=file.read())
            facts["drawn"] = number

    return stream(draw, total=len(listing.samples))


def test_a_stream_gives_the_table_that_its_files_give(dataset, tmp_path):
    files = scan(dataset)
    one = extract(files, Embedder(Encoder()), str(tmp_path / "files.csv"), views=("augment0", "augment1"))
    two = extract(streamed(files, bad=1), Embedder(Encoder()), str(tmp_path / "stream.csv"), views=("augment0", "augment1"))
    assert (tmp_path / "files.csv").read_bytes() == (tmp_path / "stream.csv").read_bytes()
    assert one.rows == two.rows == 240
    assert (one.skipped, two.skipped) == ([], [("gone 0", "was never there")])
    assert table.read_manifest(tmp_path / "stream.csv")["facts"] == {"drawn": 80}
    embeddings, skipped = embed_samples(streamed(files, bad=1), Embedder(Encoder()))
    np.testing.assert_array_equal(embeddings.X, table.read(tmp_path / "stream.csv").pictures().X)
    assert skipped == two.skipped


def test_a_stream_whose_pictures_can_not_be_used_is_an_error(tmp_path):
    broken = stream(lambda skipped, facts: iter([Sample("a", "a", 0, "real", "a", content=b"no picture")]))
    with pytest.raises(DatasetError, match="None of the 1 pictures.*a: not a picture"):
        extract(broken, Embedder(Encoder()), str(tmp_path / "t.csv"))
    empty = stream(lambda skipped, facts: iter(skipped.append(("b", "no label")) or ()))
    with pytest.raises(DatasetError, match="None of the 1 pictures.*b: no label"):
        extract(empty, Embedder(Encoder()), str(tmp_path / "t.csv"))


def test_bytes_are_let_go_of_as_a_stream_goes_by(tmp_path):
    """Also those of pictures that wait behind an unknown one for the batch to fill."""
    content = draw(tmp_path / "a.png", 0, 1).read_bytes()
    fresh = draw(tmp_path / "b.png", 0, 2).read_bytes()
    alive: list[weakref.ref] = []
    most = 0

    class Tied(bytes):
        """Bytes have no weak references; what is tied to their life has."""

    class Knot:
        pass

    def pictures(skipped, facts):
        nonlocal most
        for i in range(1500):
            held = Tied(fresh if i == 100 else content)
            held.knot = Knot()
            alive.append(weakref.ref(held.knot))
            yield Sample("", str(i), i % 2, "x", str(i), content=held)
            del held
            alive[:] = [one for one in alive if one()]
            most = max(most, len(alive))

    with Cache(tmp_path / "c.sqlite") as cache:
        embedder = Embedder(Encoder(), cache=cache, workers=4)
        embedder.embed_one(content)
        done = extract(stream(pictures), embedder, str(tmp_path / "t.csv"))
    assert done.rows == 1500
    assert most < 200


@pytest.fixture
def every(monkeypatch):
    """A data set `every` with an option: only each n-th picture of a folder, as a stream."""
    module = SimpleNamespace(
        add_options=lambda parser: parser.add_argument("--step", type=int, default=1, metavar="N", help="each N-th picture"),
        scan=lambda root, step: streamed(Listing(scan(root).samples[::step])),
    )
    load, names = registry.load, registry.names
    monkeypatch.setattr(registry, "load", lambda kind, name: module if name == "every" else load(kind, name))
    monkeypatch.setattr(registry, "names", lambda kind: [*names(kind), "every"] if kind == "datasets" else names(kind))


def test_options_of_a_data_set_reach_it(every, model, dataset, tmp_path, capsys):
    more = ["--dataset", "every", "--step", "8", "--cache", str(tmp_path / "c.sqlite")]
    extract_with = ["--encoder", "colour_histogram", "--out", str(tmp_path / "t.csv")]
    assert cli.extract([str(dataset), *extract_with, *more]) == 0
    assert len(table.read(tmp_path / "t.csv")) == 10
    assert cli.evaluate(["--model", str(model), "--data", str(dataset), "--out", str(tmp_path / "r"), *more]) == 0
    printed = capsys.readouterr().out
    assert "10 pictures, 0 skipped" in printed
    assert "is a stream: its pictures are not in the audit" in printed
    assert cli.evaluate(["--model", str(model), "--data", str(dataset), "--robustness", "9", *more]) == 2
    assert "a stream has none at hand" in capsys.readouterr().err


def test_options_of_a_data_set_are_there_with_it_alone(every, dataset, capsys):
    for command, arguments in ((cli.extract, [str(dataset)]), (cli.evaluate, ["--data", str(dataset)])):
        for more, there in (([], False), (["--dataset", "folder"], False), (["--dataset=every"], True)):
            with pytest.raises(SystemExit):
                command([*arguments, *more, "--help"])
            assert ("--step" in capsys.readouterr().out) == there
        with pytest.raises(SystemExit):
            command([*arguments, "--step", "2"])
        assert "unrecognized arguments" in capsys.readouterr().err


def test_a_data_set_that_is_not_there_is_named(dataset, tmp_path):
    failed = script("extract_embeddings.py", dataset, "--dataset", "nothing", cwd=tmp_path)
    assert failed.returncode == 2
    assert "There is no dataset 'nothing'" in failed.stderr


@pytest.mark.parametrize("name", [name for name in registry.names("datasets") if hasattr(registry.load("datasets", name), "add_options")])
@pytest.mark.parametrize("command", [cli.extract, cli.evaluate])
def test_names_of_options_are_free_in_both_scripts(name, command, capsys):
    with pytest.raises(SystemExit) as stop:
        command(["--dataset", name, "--help"])
    assert stop.value.code == 0
    assert f"options of --dataset {name}" in capsys.readouterr().out
