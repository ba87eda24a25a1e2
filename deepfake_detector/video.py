"""From a video file to some of its frames, upright and with their exact times; no frame is decoded twice."""

from __future__ import annotations

import hashlib
import math
import os
import stat
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from PIL import Image

from deepfake_detector import colours
from deepfake_detector.errors import DetectorError, UnusablePicture
from deepfake_detector.images import MAX_ASPECT, MAX_PIXELS, MIN_SIDE, Picture, begins_as_video, check_not_blank, kind_of

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

EXTENSIONS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp", ".ogv")
EXPECTED = "MP4, MOV, Matroska, WebM, AVI, MPEG, WMV, FLV or Ogg"

_SHARED = (".ts", ".mts", ".m2ts")
_PACKET_BEGINS, _PACKET_SIZES, _PACKETS = 0x47, (188, 192, 204), 5  # plain, with a time before each, with sums behind each
_LOOKED_AT = 4096  # bytes

# What FFmpeg may try: no playlists (they name other files and addresses), no pictures, no text.
_FORMATS = "mov,matroska,webm,avi,mpegts,mpeg,asf,flv,ogg"
READING = "frames 2"  # how frames are read: 1 knew neither HDR nor pixels that are not square, and took smeared frames for whole ones
_HDR = "HDR, shown as on a standard screen"
LEAST_EVERY = 0.001  # seconds: no clip has frames so close, and to look for more of them would take for ever
_FORGIVEN = 1e-6  # seconds that floats may be off by, as 1/25 is
_ANEW = 1  # times that go back by more than so many seconds begin anew
_UNEVEN = "its times jump, or a few frames stay for most of it: frames were taken evenly by number, not by time"
_SHARE_TIMES = 3  # frames to a time, on average, are too many to be one picture's fields
_COMPLETE = 0.95  # a file that holds this share of the length that it states is whole
_NO_LENGTH = 0.05  # seconds that are not worth a word: formats that don't say how long a frame stays give one alone none
_UPRIGHT = {  # signs of the display matrix (a, b, c, d), which maps (x, y) to (ax + cy, bx + dy) → what Pillow calls that
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}


@dataclass(frozen=True)
class Sampling:
    """Which frames of a clip to take: `frames` of them, evenly over its length, or one `every` so many seconds."""

    frames: int = 16
    every: float | None = None

    def __post_init__(self):
        if self.frames < 1:
            raise DetectorError(f"--frames should be at least 1; received {self.frames}.")
        if self.every is not None and not LEAST_EVERY <= self.every < float("inf"):
            raise DetectorError(f"--every should be a number of seconds, {LEAST_EVERY} or more; received {self.every}.")

    def choose(self, times: list[float], end: float) -> list[int]:
        """Indices into the rising presentation times: the frame on display at each wanted moment, each at most once."""
        if self.every is not None:
            return self._regularly(times, end)
        if len(times) <= self.frames:
            return list(range(len(times)))
        length = end - times[0]
        return sorted({_on_display(times, times[0] + (i + 0.5) * length / self.frames) for i in range(self.frames)})

    def choose_by_number(self, count: int) -> list[int]:
        """Indices into so many frames, more than are wanted: evenly, whatever their times."""
        return [int((i + 0.5) * count / self.frames) for i in range(self.frames)]

    def _regularly(self, times: list[float], end: float) -> list[int]:
        """By the frames, not by the moments: there may be billions of these where times jump."""
        moments = max(1, math.ceil((end - times[0]) / self.every))
        chosen, nth = [], 0
        while nth < moments:
            chosen.append(_on_display(times, times[0] + nth * self.every))
            if chosen[-1] + 1 == len(times):
                break
            nth = max(nth + 1, math.ceil((times[chosen[-1] + 1] - times[0] - _FORGIVEN) / self.every))
        return sorted(set(chosen))


def _on_display(times: list[float], moment: float) -> int:
    return max(0, bisect_right(times, moment + _FORGIVEN) - 1)


def is_video(path: str) -> bool:
    """By its ending; nothing is opened."""
    return os.path.splitext(path)[1].lower() in EXTENSIONS


def may_be_clip(path: str) -> bool:
    """Whether what lies in a folder under a clip's ending may be one: those of transport streams are TypeScript's and Qt's, too.

    What can't be looked into may be: whoever reads it says why it can't.
    """
    if os.path.splitext(path)[1].lower() not in _SHARED or not os.path.isfile(path):  # to open a named pipe would be to wait for ever
        return True
    try:
        with open(path, "rb") as file:
            start = file.read(_LOOKED_AT)
    except OSError:
        return True
    return begins_as_video(start) or _holds_packets(start)


def _holds_packets(start: bytes) -> bool:
    """Whether packets of a transport stream follow each other, the first of which a recording may lack a part of."""
    return any(
        len(marks) >= _PACKETS and set(marks[:_PACKETS]) == {_PACKET_BEGINS}
        for size in _PACKET_SIZES
        for marks in (start[at::size] for at in range(size))
    )


def length(path: str) -> float:
    """The seconds that a file says it lasts, or does, where it says nothing; nothing is decoded. Raises UnusablePicture or OSError."""
    container, stream = _open(os.path.abspath(path))
    with container:
        stated = _seconds(stream, container)
    return stated or Clip(path, Sampling(1)).seconds


def tags(path: str) -> dict[str, str]:
    """What the file's header says beside its pictures, by name. Raises UnusablePicture or OSError."""
    container, _ = _open(os.path.abspath(path))
    with container:
        return dict(container.metadata)


class Clip:
    """The chosen frames of one file: their `times` in seconds from its first frame, or sound before that, and the pictures on demand.

    `seconds` is how long those last that are there. Making one reads the file but decodes nothing; raises UnusablePicture or OSError.
    `notes` say what is missing of it.
    """

    def __init__(self, path: str, sampling: Sampling | None = None):
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UnusablePicture("not a plain file")
        self._path = os.path.abspath(path)
        with open(path, "rb") as file:
            self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self._list(sampling or Sampling())
        self._lock = threading.RLock()  # for `forget`, which a thread may come to at any moment
        self._wanted = set(self._stamps)
        self._ready: dict[int, av.VideoFrame | None] = {}  # None for a damaged one
        self._decoder: Iterator[tuple[int, av.VideoFrame | None]] | None = None

    def identity(self, nth: int) -> str:
        """What stands for the content of the nth chosen frame, without decoding it."""
        counted = 2 if self._joints else 1  # where times begin anew, 1 knew the last frame alone of those that share one
        return hashlib.sha256(f"frame {counted}|{self.sha256}|{self._stamps[nth]}".encode()).hexdigest()

    def picture(self, nth: int) -> Picture:
        """The nth chosen frame, to be asked for once; from any thread, best in order. Raises UnusablePicture for a damaged or blank one."""
        stamp = self._stamps[nth]
        with self._lock:
            self._decoder = self._decoder or _decoded(self._path, self._wanted, self._groups)
            while stamp not in self._ready:
                one = next(self._decoder, None)
                if one is None:
                    raise UnusablePicture("damaged: this frame can't be decoded; get a complete copy")
                self._ready[one[0]] = one[1]
            frame = self._ready.pop(stamp)
        if frame is None:
            raise UnusablePicture("damaged: parts of this frame are missing; get a complete copy")
        image, notes = _in_rgb(frame)
        if self._stretch != 1:
            image = image.resize((round(frame.width * self._stretch), frame.height), Image.Resampling.BICUBIC)
        image = _upright(image, frame)
        check_not_blank(image)  # or a fake with black put before it would come to look real
        return Picture(image, (*self.notes, *notes))

    def forget(self, nth: int) -> None:
        """The nth chosen frame won't be asked for (again): it is not held when its turn in the file comes, nor any longer if it has."""
        with self._lock:
            self._wanted.discard(self._stamps[nth])
            self._ready.pop(self._stamps[nth], None)

    def _list(self, sampling: Sampling) -> None:
        """Choose the frames by the times of all packets, and note what is missing or odd."""
        container, stream = _open(self._path)
        with container:
            self._stretch = float(stream.sample_aspect_ratio or 1)  # how much wider than high a pixel is to be shown
            _check(stream, self._stretch)
            unit, states = stream.time_base, _seconds(stream, container)
            sounds = [sound.start_time * sound.time_base for sound in container.streams.audio if sound.start_time is not None]
            # What is stated is then the end of all that is in the file, counted from zero, and sound may outlast pictures.
            of_all = not stream.duration
            listed = _listed(container, stream, of_all)
        stamps = sorted(listed.group_of)
        # A recording's own clock may have run for hours by then; but where sound begins before the pictures, players count from there. Of
        # sound none is played that is before zero.
        zero = min([stamps[0] * unit, *(max(0, begins) for begins in sounds)])
        times = [float(stamp * unit - zero) for stamp in stamps]
        end = listed.end
        if end <= stamps[-1]:  # some formats don't say how long the last one stays
            end = stamps[-1] + (stamps[-1] - stamps[0]) // max(1, len(stamps) - 1)
        self.seconds = float((end - stamps[0]) * unit)
        here = max(listed.last, float(end * unit)) if of_all else self.seconds
        notes = []
        if here < min(_COMPLETE * states, states - _NO_LENGTH):
            notes.append(f"cut off: {here:.1f} of {states:.1f} seconds are there")
        if listed.frames >= _SHARE_TIMES * len(stamps):
            notes.append(f"its {listed.frames} frames share {len(stamps)} times: of each time one is looked at")
        if listed.joints:
            notes.append(f"by its times it is {listed.joints + 1} recordings, joined; its times are counted on over them")
        chosen = sampling.choose(times, float(end * unit - zero))
        if sampling.every is None and 2 * len(chosen) < min(sampling.frames, len(times)):
            chosen = sampling.choose_by_number(len(times))
            notes.append(_UNEVEN)
        self.notes, self._joints = tuple(notes), listed.joints
        self._stamps, self.times = [stamps[i] for i in chosen], [times[i] for i in chosen]
        self._groups = listed.groups(self._stamps)


@dataclass
class _Listed:
    """A stream's frames as its packets tell of them; times are in its units, but for `last`."""

    group_of: dict[int, int] = field(default_factory=dict)  # a frame's time → the number of the keyframe that it follows in the file
    starts: dict[int, int] = field(default_factory=dict)  # that keyframe's own time
    frames: int = 0  # several of which may share a time
    joints: int = 0  # how often its times begin anew
    end: float = -math.inf  # of the frame shown last, as far as it is said how long that stays
    last: float = 0.0  # seconds, at which all that was read ends

    def groups(self, stamps: list[int]) -> dict[int, set[int]]:
        """Which of these frames each group of packets is decoded for."""
        groups: dict[int, set[int]] = {}
        for stamp in stamps:
            group = self.group_of[stamp]
            # A frame shown before the keyframe that it follows in the file also refers to the group before.
            for one in (group, group - 1) if stamp < self.starts[group] else (group,):
                groups.setdefault(one, set()).add(stamp)
        return groups


def _listed(container: InputContainer, stream: VideoStream, of_all: bool) -> _Listed:
    """Read all packets, of this stream or `of_all`, and decode none; raises UnusablePicture where no frame is among them."""
    import av

    listed, group = _Listed(), 0
    try:
        for packet, listed.joints in _packets(container, stream, of_all):
            stamp = _stamp(packet)
            if stamp is None:
                continue
            end = stamp + (packet.duration or 0)
            listed.last = max(listed.last, float(end * packet.time_base))
            if packet.stream is not stream:
                continue
            if packet.is_keyframe and listed.group_of:
                group += 1
            listed.starts.setdefault(group, stamp)
            if not packet.is_discard and packet.size:
                listed.group_of[stamp] = group
                listed.frames += 1
                listed.end = max(listed.end, end)
    except (av.error.FFmpegError, IndexError):  # PyAV's of a broken list of streams
        pass  # what came before is there, and a note says how much that is
    if not listed.group_of:
        raise UnusablePicture("no frame in this video; get a complete copy")
    return listed


def _decoded(path: str, wanted: set[int], groups: dict[int, set[int]]) -> Iterator[tuple[int, av.VideoFrame | None]]:
    """The wanted frames in the order of the decoder, None for a damaged one; a group of packets is decoded up to its last.

    It knows nothing of its clip: the two would hold each other, and the decoder's threads and the file, deleted perhaps, for long after.
    """

    def is_needed(group: int) -> bool:
        return not wanted.isdisjoint(groups.get(group, ()))

    for with_lead in (False, True):
        container, stream = _open(path)
        with container:
            decoder = stream.codec_context
            decoder.thread_type = "AUTO"
            for frame, whole in _frames(container, stream, decoder, is_needed, with_lead):
                stamp = _stamp(frame)
                if stamp in wanted:
                    wanted.discard(stamp)
                    yield stamp, frame if whole else None
                if not wanted:
                    return


def _open(path: str) -> tuple[InputContainer, VideoStream]:
    import av
    from av.stream import Disposition

    try:
        # Old programs wrote titles in codings of their own, which are no reason to refuse the pictures.
        container = av.open(path, options={"format_whitelist": _FORMATS, "protocol_whitelist": "file"}, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        with open(path, "rb") as file:
            start = file.read(16)
        if not start:
            raise UnusablePicture("empty file: it holds no bytes; get a complete copy") from error
        if picture := kind_of(start):
            raise UnusablePicture(
                f"a picture by its content ({picture}), not a video; give it as one, with an ending such as .{picture.lower()}"
            ) from error
        raise UnusablePicture(
            f"not a video that can be read, or cut off before its index; expected {EXPECTED}; get a complete copy"
        ) from error
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        with container:
            raise UnusablePicture(f"no pictures in this video, only {_kinds(container)}; choose another file")
    return container, streams[0]


def _frames(
    container: InputContainer, stream: VideoStream, decoder: av.CodecContext, is_needed: Callable[[int], bool], with_lead: bool
) -> Iterator[tuple[av.VideoFrame, bool]]:
    """The frames of each group of packets from its first to when it is no longer needed, and whether each is whole.

    Before them comes the first packet of all, in which an encoder may name itself: what old ones wrote is to be decoded otherwise.

    It ends where a group lacks a frame, unless it is asked for each group together with that before. For what a file calls a keyframe may
    only be where a refresh of the picture begins, which is complete with the next one.

    FFmpeg names the frame that is hit; all up to the next keyframe build on it.
    """
    import av

    whole = True

    def decode(packet: av.Packet | None) -> Iterator[tuple[av.VideoFrame, bool]]:
        nonlocal whole
        try:
            frames = decoder.decode(packet)
        except av.error.FFmpegError:  # a damaged packet; the next keyframe may be whole
            whole, frames = False, []
        for frame in frames:
            whole = (whole or frame.key_frame) and not frame.is_corrupt
            yield frame, whole

    group, seen = 0, False
    fed: set[int] = set()
    try:
        for nth, (packet, _) in enumerate(_packets(container, stream)):
            if _stamp(packet) is None:
                continue
            group += packet.is_keyframe and seen
            seen = seen or not packet.is_discard and packet.size > 0
            if not nth or is_needed(group) or with_lead and is_needed(group + 1):
                yield from decode(packet)
                fed.add(group)
            elif fed:
                yield from decode(None)
                if not with_lead and any(map(is_needed, fed)):
                    return
                decoder.flush_buffers()
                whole, fed = True, set()
    except (av.error.FFmpegError, IndexError):  # the end of a broken file
        pass
    if fed:
        yield from decode(None)


def _packets(container: InputContainer, stream: VideoStream, of_all: bool = False) -> Iterator[tuple[av.Packet, int]]:
    """The stream's packets, or those of all streams, and how often its times have begun anew, as where recordings were joined.

    They are made to go on there, or frames of several parts would share their times.
    """
    joints, shift, last, end = 0, 0, None, -math.inf
    for packet in container.demux() if of_all else container.demux(stream):
        if packet.stream is stream and (packet.dts is not None or packet.pts is not None):
            if packet.dts is not None:
                if last is not None and packet.dts < last - _ANEW / packet.time_base:
                    joints, shift = joints + 1, end - packet.dts
                last = packet.dts
                packet.dts += shift
            if packet.pts is not None:
                packet.pts += shift
            end = max(end, _stamp(packet) + (packet.duration or 1))
        yield packet, joints


def _stamp(of: av.Packet | av.VideoFrame) -> int | None:
    """When to show it, in units of the stream; old formats only say when to decode."""
    return of.dts if of.pts is None else of.pts


def _seconds(stream: VideoStream, container: InputContainer) -> float:
    """The length that the file states, 0 for none."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else 0.0


def _check(stream: VideoStream, stretch: float) -> None:
    codec = stream.codec_context  # None for one that FFmpeg has never heard of
    if not codec or codec.codec is None or not codec.width or not codec.height:
        raise UnusablePicture("a video in a coding that can't be decoded; convert it to H.264")
    width, height = round(codec.width * stretch), codec.height
    short, long = sorted((width, height))
    if short * long > MAX_PIXELS or short < MIN_SIDE or long > MAX_ASPECT * short:
        raise UnusablePicture(
            f"{width} x {height} is no size to judge: expected {MIN_SIDE} pixels a side or more, "
            f"{MAX_PIXELS:,} or fewer in all, and one side at most {MAX_ASPECT} times the other"
        )


def _kinds(container: InputContainer) -> str:
    return " and ".join(sorted({{"audio": "sound"}.get(s.type, s.type) for s in container.streams})) or "nothing"


def _in_rgb(frame: av.VideoFrame) -> tuple[Image.Image, tuple[str, ...]]:
    """A frame's pixels as a standard screen shows them, and what to know of that."""
    if frame.color_trc not in (colours.PQ, colours.HLG):
        return frame.to_image(), ()
    return Image.fromarray(colours.to_standard(frame.to_ndarray(format="rgb48le"), frame.color_trc, frame.color_primaries)), (_HDR,)


def _upright(image: Image.Image, frame: av.VideoFrame) -> Image.Image:
    import numpy as np
    from av.sidedata.sidedata import SideDataContainer

    # Not by frame.side_data: that and its frame then hold each other, and so the pixels and the threads that made an image of them.
    matrix = SideDataContainer(frame).get("DISPLAYMATRIX")
    if matrix is None:
        return image

    a, b, _, c, d = np.sign(np.frombuffer(matrix, np.int32)[:5]).tolist()
    turn = _UPRIGHT.get((a, b, c, d))
    return image if turn is None else image.transpose(turn)
