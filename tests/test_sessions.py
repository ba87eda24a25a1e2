"""What the server holds of a visitor: what was shown goes within minutes, what was taught within hours, of others nothing."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import gradio
from gradio_client import Client

from deepfake_detector.ui import sessions, tabs, uploads


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
