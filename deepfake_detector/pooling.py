"""From the scores of a clip's frames to one score of the clip: its most suspicious person's, the mean of log-odds over the frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import numpy as np
import pandas as pd
from scipy.special import expit

from deepfake_detector.metrics import log_odds

Track = TypeVar("Track")

_EDGE = 1e-6  # a frame's certainty ends here, so that one frame alone can't decide a clip
_PASSING = 0.25  # seen in a smaller share of the frames of the one seen most, a person is passing, or no person at all


def pool(p_fake: Iterable[float]) -> float:
    """(frames,) probabilities of being fake → that of a person, or of the clip."""
    return float(expit(log_odds(p_fake, _EDGE).mean()))


def pool_tracks(tracks: Mapping[Track, Iterable[float]]) -> dict[Track, float]:
    """Each track's (frames,) probabilities → that of each person who counts; the clip's is the highest of them.

    A clip is fake if one person in it is. Who is only passing does not count: a false box in one frame decides nothing.
    """
    longest = max(map(len, tracks.values()))
    return {track: pool(p_fake) for track, p_fake in tracks.items() if len(p_fake) >= _PASSING * longest}


def by_video(rows: pd.DataFrame, p_fake: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows and scores of a table → one row a clip, in the order of their first frames, and (clips,) pooled scores.

    Pictures that belong to no clip are left out. Of several regions that a frame has in one track, or without tracks, the most
    suspicious one counts.
    """
    framed = rows.assign(p_fake=p_fake, track=rows.get("track", 0))[(rows["video"] != "").to_numpy()]
    frames = framed.groupby(["video", "track", "path"], sort=False)["p_fake"].max()
    persons = frames.groupby(level=["video", "track"], sort=False).agg(list)
    pooled = persons.groupby(level="video", sort=False).agg(lambda tracks: max(pool_tracks(tracks.to_dict()).values()))
    clips = framed.drop_duplicates("video").reset_index(drop=True)
    return clips.drop(columns=["p_fake", "track"]), pooled.loc[clips["video"]].to_numpy(np.float64)
