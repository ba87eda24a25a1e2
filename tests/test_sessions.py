"""What the server holds of a visitor: what was shown goes within minutes, what was taught within hours, of others nothing."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import gradio
from gradio_client import Client, handle_file

from deepfake_detector.ui import sessions, tabs, uploads
from tests.conftest import draw


def test_what_a_visitor_was_shown_goes_before_what_was_taught_and_nothing_of_others():
    with gradio.Blocks() as page:
        taught, sent, shown = gradio.State(""), gradio.Textbox(), gradio.HTML()
        sent.submit(lambda sent, taught: (sent + taught, f"<b>{sent}</b>"), [sent, taught], [taught, shown], api_name="show")
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True)
    try:
        visitors = [Client(url, verbose=False) for _ in range(3)]
        for number, visitor in enumerate(visitors):
            visitor.predict(f"picture {number}", api_name="/show")
        holder, (gone, left, there) = page.state_holder, [visitor.session_hash for visitor in visitors]

        def held(visitor: str) -> tuple[bool, list]:
            session = holder.session_data[visitor]
            return "picture" in json.dumps(list(session.components), default=str), list(session.state_data.values())

        holder.time_last_used[gone] -= timedelta(seconds=tabs.KEPT + 1)
        holder.time_last_used[left] -= timedelta(seconds=uploads.KEPT + 1)
        holder.time_last_used[there] = datetime.now()
        assert held(left) == (True, ["picture 1"])
        sessions.forget(page)
        assert gone not in holder.session_data
        assert held(left) == (False, ["picture 1"])
        assert held(there) == (True, ["picture 2"])
        assert visitors[1].predict("more ", api_name="/show") == "<b>more </b>", "who comes back goes on"
        assert held(left) == (False, ["more picture 1"])
        assert visitors[0].predict("more ", api_name="/show") == "<b>more </b>", "or begins anew"
    finally:
        page.close()


def test_the_name_of_a_file_goes_once_that_is_deleted(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    with gradio.Blocks() as page:
        sent, shown = gradio.File(), gradio.Textbox()
        sent.change(lambda file: "seen" if file else "", sent, shown, api_name="show")
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True)
    try:
        for name in ("mine.png", "still_here.png"):
            assert Client(url, verbose=False).predict(handle_file(draw(tmp_path / name, 1, 1)), api_name="/show") == "seen"
        files = {Path(one).name: Path(one) for one in set().union(*page.temp_file_sets)}
        assert files.keys() == {"mine.png", "still_here.png"}
        files["mine.png"].unlink()
        sessions.forget(page)
        assert set().union(*page.temp_file_sets) == {str(files["still_here.png"])}
    finally:
        page.close()
