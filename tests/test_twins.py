"""Twins are found and named, and noting them takes no memory to speak of."""

from __future__ import annotations

import tracemalloc

from deepfake_detector.twins import Twins


def test_the_memory_of_twins_is_flat_and_names_them_all():
    twins = Twins()
    tracemalloc.start()
    for i in range(20_000):
        twins.add(f"{i:064x}", i % 2, f"a/folder/with/a/long/name/picture_{i}.jpg")
    assert tracemalloc.get_traced_memory()[1] < 200_000
    tracemalloc.stop()
    assert (twins.repeats(), twins.contradictions()) == (0, [])
    twins.add(f"{7:064x}", 0, "other\udcff.jpg")
    twins.add(f"{7:064x}", 1, "third.jpg")
    twins.add(f"{8:064x}", 0, "same class.jpg")
    assert twins.repeats() == 3
    assert twins.contradictions() == [["a/folder/with/a/long/name/picture_7.jpg", "other\udcff.jpg", "third.jpg"]]
    twins.close()
