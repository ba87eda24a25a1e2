"""Put the tabs together and serve them; nothing that a visitor uploads is kept."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from deepfake_detector import registry, video
from deepfake_detector.datasets.folder import EXTENSIONS
from deepfake_detector.errors import DetectorError
from deepfake_detector.images import MAX_FILE_BYTES
from deepfake_detector.panel import Panel
from deepfake_detector.ui import api, sessions, uploads
from deepfake_detector.ui.other_sites import Shielded
from deepfake_detector.ui.password import Locked
from deepfake_detector.ui.tabs import KEPT, Visitor, asking_who_answers
from deepfake_detector.ui.warming import Warming

if TYPE_CHECKING:
    import gradio
    from starlette.applications import Starlette
    from starlette.types import ASGIApp
    from uvicorn import Server

_HERE = Path(__file__).parent
_INTRODUCTION = """# Real, fake, or unsure?
Drop a picture, a video, many files or a folder: the tab for it opens by itself. The answer is a hint, not proof. What you drop is deleted
within minutes; the server remembers at most a fingerprint of it and numbers computed from it, to answer faster next time.
"""
_LOST = (
    "**The connection to the server was lost**, and this page has started anew. What was on it is gone, and what was being judged has no "
    "answer: drop it again."
)
# A page that is loaded again, as Gradio does when its server was away, has lost what it was taught, and tells so once.
_TAUGHT = "() => {try {sessionStorage.setItem('taught', 'yes')} catch {}}"


def _once(noted: str) -> str:
    """JavaScript for what was noted by this name before the page was loaded again; it is noted no more from then on."""
    return f"""() => {{
  try {{
    const was = sessionStorage.getItem('{noted}');
    sessionStorage.removeItem('{noted}');
    return was;
  }} catch {{
    return null;  // a browser that stores nothing
  }}
}}"""


# What was lost, and the tab that was open then.
_SAY_AND_OPEN = f"""() => {{
  const open = ({_once("lost")})(), update = {{__type__: 'update'}};
  return [{{...update, visible: open !== null}}, open === null ? update : {{...update, selected: open}}];
}}"""


def build(detector: Warming) -> gradio.Blocks:
    """The page, not yet served; needs no model."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    import gradio as gr
    from gradio_client.utils import is_file_obj_with_meta, is_http_url_like, traverse

    def check_given(file: dict[str, Any]) -> dict[str, Any]:
        if is_http_url_like(file["path"]):
            words = f"Expected a file that was uploaded here; received the address {file['path'][:100]!r}. Upload what it gives."
            raise gr.Error(words, print_exception=False)
        # What the server had before it started anew is gone as what was deleted is, and each tab has words for that; Gradio has none.
        return file if Path(file["path"]).is_relative_to(uploads.place()) else file | {"path": str(Path(uploads.place()) / "gone")}

    class Page(gr.Blocks):
        """Takes no address for a file, as no page of ours sends one: Gradio would ask it, and take what comes however large it is.

        Nor does it hold a connection while no answer is due: of six a browser has to a server, each open tab would have one, for Gradio to
        learn that a visitor leaves.
        """

        def get_config_file(self):
            return super().get_config_file() | {"connect_heartbeat": False}

        async def preprocess_data(self, block_fn, inputs, *more, **settings):
            given = traverse(inputs, check_given, is_file_obj_with_meta)
            return await super().preprocess_data(block_fn, given, *more, **settings)

    with Page(title="Deepfake detector", analytics_enabled=False) as page:
        gr.Markdown(_INTRODUCTION)
        status = gr.Markdown("Warming up: loading the model. You can drop a file already.", elem_id="status")
        lost = gr.Markdown(_LOST, visible=False, elem_id="lost")
        taught, corrections = gr.State(time_to_live=KEPT), gr.State({}, time_to_live=KEPT)
        visitor = Visitor(taught, corrections, gr.Checkbox(visible=False), status)
        page.load(None, None, visitor.has_taught, js=f"() => ({_once('taught')})() === 'yes'").then(**asking_who_answers(detector, visitor))
        taught.change(**asking_who_answers(detector, visitor)).then(None, js=_TAUGHT)
        tabs = {name: registry.load("ui/tabs", name) for name in registry.names("ui/tabs")}
        endings = json.dumps({"picture": EXTENSIONS, "clip": video.EXTENSIONS})
        titles = json.dumps({name: tab.TITLE for name, tab in tabs.items()})
        most = json.dumps({"many": tabs["many"].MOST} | dict.fromkeys(("teach_real", "teach_fake"), tabs["teach"].MOST))
        page.load(None, js=f"() => ({(_HERE / 'page.js').read_text(encoding='utf-8')})({endings}, {titles}, {most}, {MAX_FILE_BYTES})")
        with gr.Tabs() as opened:
            for name, tab in sorted(tabs.items(), key=lambda one: one[1].ORDER):
                with gr.Tab(tab.TITLE, id=name):
                    tab.build(gr, detector, visitor)
        page.load(None, None, [lost, opened], js=_SAY_AND_OPEN)
    return page


def serve(load: Callable[[], Panel], *, host: str | None, port: int | None, share: bool, password: str | None = None) -> int:
    """Serve the page until interrupted or told to end, loading the models meanwhile; with a password to those alone who give it.

    Raises DetectorError when the address can't be used.
    """
    if port is not None and not 0 < port < 2**16:
        raise DetectorError(f"--port should be 1 to {2**16 - 1}; received {port}.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a plain kill ends it as Ctrl-C does: with the uploads removed
    detector = Warming(load)
    guards = [Shielded] if password is None else [partial(Locked, password=password), Shielded]
    try:
        _try_address(host, port)
        with uploads.folder() as folder:
            page = build(detector)
            detector.start()
            for told in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(told) is not signal.SIG_IGN:  # as of a script's own background, which Ctrl-C is not to end
                    signal.signal(told, partial(_end, page))
            with uploads.sweeping(folder, partial(sessions.forget, page)):
                page.launch(
                    server_name=host,
                    server_port=port,
                    share=share,
                    css_paths=_HERE / "page.css",
                    js=(_HERE / "stream.js").read_text(encoding="utf-8"),  # which is run before the page asks for anything
                    run_history=False,
                    max_file_size=MAX_FILE_BYTES,
                    footer_links=[],
                    ssr_mode=False,  # a Space may ask for it, and then Node, which knows no API, would stand before it
                    app_kwargs={"routes": api.routes(detector), "lifespan": _before_all_else(guards)},
                    show_error=True,
                    prevent_thread_lock=True,
                )
                with suppress(KeyboardInterrupt):  # here, or Gradio would have words for it that are about threads
                    while page.server.thread.is_alive():  # as it isn't where $GRADIO_DEBUG had Gradio wait, and be told
                        time.sleep(1)
                page.close(verbose=False)
    except OSError as error:
        raise DetectorError(
            f"The page can't be served at {host or 'this machine'}, port {port or 'any'} ({error}). "
            "Choose another --port, or a --host that is an address of this machine."
        ) from error
    return 0


def _end(page: gradio.Blocks, *_: object) -> NoReturn:
    """Without waiting, as Gradio would for five seconds, for whoever is due an answer and so keeps a connection."""
    if server := getattr(page, "server", None):
        server.should_exit = True
        for listening in server.servers:
            listening.get_loop().call_soon_threadsafe(_hang_up, server)
    raise KeyboardInterrupt


def _hang_up(server: Server) -> None:
    """On all, in the server's own thread; the ears first, or who is cut off would ask again."""
    for listening in server.servers:
        listening.close()
    for connection in list(server.server_state.connections):
        connection.transport.abort()


def _before_all_else(guards: list[Callable[[ASGIApp], ASGIApp]]) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    """What has each request pass these, the last of them first. Given as middleware, they would stand behind Gradio's."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        for guard in guards:
            app.middleware_stack = guard(app.middleware_stack)
        yield

    return lifespan


def _try_address(host: str | None, port: int | None) -> None:
    """Raise OSError where nobody can listen: gradio would try a hundred ports for minutes."""
    name = (host or os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1").strip("[]")
    socket.create_server((name, port or 0), family=socket.AF_INET6 if ":" in name else socket.AF_INET).close()
