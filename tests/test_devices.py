"""That memory freed by one batch serves the next one, without the system being asked again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from tests.conftest import ROOT

FAULTS = """
import resource
import numpy as np
from deepfake_detector.devices import keep_freed_memory
keep_freed_memory()
def batch():
    return [np.ones(20 * 2**20, np.uint8) for layer in range(4)]
batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_freed_blocks_are_used_again_without_page_faults():
    done = subprocess.run([sys.executable, "-c", FAULTS], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1000  # some ten thousand where they are mapped anew each time
