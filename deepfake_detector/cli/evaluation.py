"""evaluate.py: models × pictures or tables → figures, and a report."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepfake_detector.cli.figures import print_clips, print_families, print_protocols, print_sources, print_views, summary_lines
from deepfake_detector.cli.options import (
    add_data,
    add_engine,
    bars,
    command_line,
    data_options,
    embedders,
    new_parser,
    run,
    sampling_of,
)
from deepfake_detector.cli.say import say
from deepfake_detector.errors import DetectorError
from deepfake_detector.files import check_place, write_bytes

if TYPE_CHECKING:
    import argparse


def evaluate(argv: list[str] | None = None) -> int:
    from deepfake_detector.types import PROTOCOLS

    parser = new_parser(
        "Measure models on labelled pictures: overall, for each generator and real source, and whether the benchmark is to be trusted.",
        "--out adds the shortcut audit, drawings and a model card; several models and --scores are compared on the same pictures.",
    )
    parser.add_argument("--model", action="append", metavar="FOLDER", help="a model (default: models/default; repeatable)")
    parser.add_argument(
        "--data", required=True, nargs="+", metavar="DATA", help="folders or manifests as for extract_embeddings.py, or tables"
    )
    parser.add_argument("--pictures", metavar="FOLDER", help="where the pictures of a table are, for the audit, thumbnails and robustness")
    add_data(parser, argv)
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
    add_engine(parser)
    return run(_evaluate, parser, argv)


def _evaluate(arguments: argparse.Namespace) -> int:
    from deepfake_detector import bundle
    from deepfake_detector.detect import DEFAULT_MODEL
    from deepfake_detector.evaluate import in_short
    from deepfake_detector.report.build import measure, write
    from deepfake_detector.report.gather import Request, gather, is_table

    _check(arguments)
    if arguments.protocol and not arguments.model and all(map(is_table, arguments.data)):
        return _protocols_alone(arguments)
    models = arguments.model or [str(DEFAULT_MODEL)]
    with bars() as bar:
        content = gather(
            Request(
                models=models,
                data=arguments.data,
                embedder=embedders(arguments),
                bar=bar,
                dataset=arguments.dataset,
                options=data_options(arguments),
                sampling=sampling_of(arguments),
                split=arguments.split,
                kinds={name: sources.split(",") for name, sources in _by_name("--kind", "faces=ffhq,sd21", arguments.kind).items()},
                scores=_by_name("--scores", "peer=peer.csv", arguments.scores),
                pictures=arguments.pictures,
                protocols=arguments.protocol,
                head=arguments.head,
                robustness=arguments.robustness,
                audit=bool(arguments.out),
                command=command_line(),
            )
        )
    report = write(content, arguments.out) if arguments.out else measure(content)
    alone = report["detectors"][content.detectors[0].name] if len(content.detectors) == 1 else {}
    if arguments.keep_as:  # before anything is written or printed, which a full disk or `… | head` may end
        for folder, (name, learnt) in zip(models, content.learnt.items(), strict=True):
            bundle.keep_figures(folder, arguments.keep_as, in_short(report["detectors"][name]) | {"learnt_from": int(learnt.sum())})
    _write_json(arguments.json, report | alone)  # a single detector's figures are at the top too
    _print(report)
    if arguments.out:
        say(f"{arguments.out}: report.html, report.json and the model card")
    if arguments.keep_as:
        for folder in models:
            say(f"{folder} keeps this as {arguments.keep_as!r}; its card will have it the next time that --out writes one.")
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Raise DetectorError, or OSError for a place that can't be written, for what would be found out hours later."""
    if arguments.robustness < 0:
        raise DetectorError(f"--robustness should be a number of pictures, 0 for none; received {arguments.robustness}.")
    if arguments.head and not arguments.protocol:
        raise DetectorError(
            f"--head {arguments.head} is for --protocol to train, and none is given; name one, or leave --head out: a model has its own."
        )
    if arguments.keep_as is not None and not re.fullmatch(r"[^\W_][^|<>`*\r\n]*", arguments.keep_as):
        raise DetectorError(f"--keep-as should be a plain name such as 'faces by a GAN'; received {arguments.keep_as!r}.")
    if arguments.out and Path(arguments.out).exists() and not Path(arguments.out).is_dir():
        raise DetectorError(f"--out should be a folder for the report; {arguments.out} is a file. Choose another name.")
    if arguments.json and Path(arguments.json).is_dir():
        raise DetectorError(f"--json should be a file; {arguments.json} is a folder. Name a file in it.")
    for place in (arguments.out and Path(arguments.out) / "report.json", arguments.json):
        if place:
            check_place(Path(place))


def _print(report: dict[str, Any]) -> None:
    for note in report["notes"]:
        say(note)
    for name, scores in report["detectors"].items():
        kind = f" ({scores['head']} on {scores['encoder']['name']})" if scores["head"] else ""
        say(f"{name}{kind}, {report['data']['pictures']} pictures, {len(report['data']['skipped'])} skipped")
        say(*summary_lines(scores["overall"]))
        print_sources(scores)
        print_clips(scores)
        print_families(scores["family_answers"])
        print_views(scores["robustness"])
        say()
    for c in report["comparison"]:
        interval = f" [{c['interval'][0]:+.3f}, {c['interval'][1]:+.3f}]" if c["interval"] else ""
        say(f"AUROC of {c['a']} less {c['b']}, {c['on']}: {c['difference']:+.3f}{interval}")
    print_protocols(report["protocols"])
    if report["audit"]:
        say(report["audit"]["sentence"])


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
        say(note)
    print_protocols(done)
    return 0


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


def _write_json(path: str | None, report: dict[str, Any]) -> None:
    if path:
        write_bytes(Path(path), f"{json.dumps(report, indent=2)}\n".encode())
