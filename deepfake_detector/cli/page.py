"""app.py: the web page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepfake_detector.cli.options import add_engine, add_known, add_models, check_beside, new_parser, open_cache, panel_of, run

if TYPE_CHECKING:
    import argparse


def app(argv: list[str] | None = None) -> int:
    parser = new_parser("Open the web page.", "")
    add_models(parser)
    parser.add_argument("--host", help="the address to listen on (default: this machine alone; 0.0.0.0 for everyone)")
    parser.add_argument("--port", type=int, help="the port (default: the first free one from 7860)")
    parser.add_argument("--share", action="store_true", help="also make a public link through Gradio's servers")
    parser.add_argument(
        "--password-file",
        metavar="FILE",
        help="let in only who gives the password in this file, also by the API; from another machine by http:// it can be read on the way, "
        "but not by the https:// of --share",
    )
    add_known(parser)
    add_engine(parser)
    return run(_app, parser, argv)


def _app(arguments: argparse.Namespace) -> int:
    from functools import partial
    from pathlib import Path

    from deepfake_detector import bundle
    from deepfake_detector.ui import password
    from deepfake_detector.ui.build import serve

    check_beside(arguments)
    for model in arguments.model or ():
        bundle.read_manifest(Path(model))  # what can't be loaded is said on the page; what is not there, before there is one
    asked_for = None if arguments.password_file is None else password.read(arguments.password_file)
    load = partial(panel_of, arguments, open_cache(arguments))
    return serve(load, host=arguments.host, port=arguments.port, share=arguments.share, password=asked_for)
