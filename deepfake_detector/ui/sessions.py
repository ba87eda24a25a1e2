"""What the server's memory holds of each visitor, forgotten in time: Gradio would keep it until ten thousand others have come."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detector.ui import uploads
from deepfake_detector.ui.tabs import KEPT

if TYPE_CHECKING:
    from gradio import Blocks


def forget(page: Blocks) -> None:
    """Of who has asked nothing for as long as uploads are kept, what was sent and shown; later also what was taught, and the rest.

    A visitor who is still there misses nothing: the browser has what it shows, and sends again what is asked about. Gradio also lists all
    files that it may hand out, by the names that visitors gave them, for as long as it runs: of those that are deleted, that goes, too.
    """
    for names in page.temp_file_sets:
        names.difference_update([name for name in list(names) if not Path(name).exists()])
    holder, now = page.state_holder, datetime.now()
    for visitor, used in list(holder.time_last_used.items()):
        if now - used > timedelta(seconds=KEPT):
            with holder.lock:
                holder.session_data.pop(visitor, None)
                holder.time_last_used.pop(visitor, None)
        elif now - used > timedelta(seconds=uploads.KEPT) and visitor in holder.session_data:
            for component in list(holder.session_data[visitor].config_values.values()):
                component.get("props", {}).pop("value", None)
