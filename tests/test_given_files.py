"""What may be given to the page as a file: an upload of one's own, and no address that the server would then ask."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import gradio
import pytest
import safehttpx

from deepfake_detector.ui.build import build
from deepfake_detector.ui.warming import Warming

ADDRESS = "http://198.51.100.1/without_an_end.iso"


@pytest.mark.parametrize("wrap", [lambda file: file, lambda file: [file], lambda file: {"path": "a.jpg", "within": file}])
def test_gradio_asks_no_address_that_is_given_as_a_file(monkeypatch, wrap):
    asked = []

    async def get(url: str, **_):
        asked.append(url)
        return SimpleNamespace(has_redirect_location=False, status_code=404)

    monkeypatch.setattr(safehttpx, "get", get)
    page = build(Warming(lambda: None))
    given = wrap({"path": ADDRESS, "meta": {"_type": "gradio.FileData"}})
    events = [event for event in page.fns.values() if not all(one.stateful for one in event.inputs)]
    assert len(events) > 10
    for event in events:
        with pytest.raises(gradio.Error, match="Expected a file that was uploaded here; received the address 'http://198"):
            asyncio.run(page.preprocess_data(event, [given] * len(event.inputs), None))
    assert asked == []


def test_what_was_given_to_the_server_before_it_started_anew_is_gone(monkeypatch, tmp_path):
    """As what was deleted is, of which each tab tells; Gradio would refuse it, and what was asked would wait for ever."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "own"))
    page = build(Warming(lambda: None))
    event = next(event for event in page.fns.values() if [one.elem_id for one in event.inputs] == ["picture"])
    for folder, stays in (("own", True), ("before", False)):
        given = {"path": str(tmp_path / folder / "a.jpg"), "orig_name": "a.jpg", "meta": {"_type": "gradio.FileData"}}
        [upload] = asyncio.run(page.preprocess_data(event, [given], None))
        assert Path(upload.path) == tmp_path / "own" / ("a.jpg" if stays else "gone")
        assert upload.name == "a.jpg"
