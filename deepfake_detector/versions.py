"""The versions of what the numbers depend on, for manifests."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from deepfake_detector import __version__


def versions() -> dict[str, str]:
    """Package → version, without importing any of them."""
    found = {"deepfake_detector": __version__}
    for package in ("torch", "open_clip_torch", "keras", "scikit-learn", "numpy", "pillow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
