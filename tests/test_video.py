"""video.py finds frames by their exact times, upright, each decoded once, and says what a broken clip lacks."""

import gc
import re
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from time import monotonic

import av
import numpy as np
import pytest
from PIL import Image

from deepfake_detector import colours, video
from deepfake_detector.errors import DetectorError, UnusablePicture
from deepfake_detector.video import Clip, Sampling, is_video, length
from tests.clips import copy_clip, draw_clip, draw_hdr, draw_sound, shade

STEADY = list(range(0, 2000, 40))  # 25 a second
OPEN = {"g": "7", "bf": "3", "x264-params": "open-gop=1"}
REFRESHED = {"intra-refresh": "1", "g": "20", "bf": "0", "sc_threshold": "0"}  # keyframes by name alone, but for the first
UNEVEN = [0, 10, 20, 30, 1000, 1500, 1510, 3000]


def grey(image) -> int:
    return int(np.asarray(image)[8:24, 40:56].mean())


def what_of(clip: Clip, nth: int):
    """The notes of a frame, or the reason why there is none."""
    try:
        return clip.picture(nth).notes
    except UnusablePicture as error:
        return str(error)


def numbers(clip: Clip) -> list[int]:
    """Which drawn frames these are, by their shade."""
    return [round((grey(clip.picture(i).image) - 20) / 10) for i in range(len(clip.times))]


@pytest.mark.parametrize(
    ("ending", "late"), [*((ending, 80_000_000) for ending in (".mp4", ".mov", ".mkv", ".ts")), (".ts", 95_423_717), (".avi", 0)]
)
def test_frames_evenly_over_the_clip(tmp_path, ending, late):
    """Also of a recording whose own clock has long run by then, or is about to begin anew; its times are counted from where it begins."""
    clip = Clip(str(draw_clip(tmp_path / f"a{ending}", [late + time for time in STEADY])), Sampling(5))
    assert [round(time, 3) for time in clip.times] == [0.2, 0.6, 1.0, 1.4, 1.8]
    assert clip.seconds == pytest.approx(2, abs=0.001)
    assert [abs(grey(clip.picture(n).image) - shade(i)) <= 4 for n, i in enumerate([5, 15, 25, 35, 45])] == [True] * 5
    assert clip.notes == ()


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_times_are_a_players_where_sound_begins_before_the_pictures(tmp_path, ending):
    clip = Clip(str(draw_clip(tmp_path / f"a{ending}", [2000 + time for time in STEADY], sound=4)), Sampling(5))
    assert clip.times == pytest.approx([2.2, 2.6, 3.0, 3.4, 3.8], abs=0.1)  # in Matroska, sound is said to begin with what leads into it
    assert numbers(clip) == [5, 15, 5, 15, 5]


def test_every_so_many_seconds(tmp_path):
    clip = Clip(str(draw_clip(tmp_path / "a.mp4", STEADY)), Sampling(every=0.5))
    assert clip.times == [0.0, 0.48, 1.0, 1.48]


def test_a_variable_frame_rate_keeps_its_times(tmp_path):
    path = str(draw_clip(tmp_path / "a.mp4", UNEVEN))
    assert Clip(path, Sampling(100)).times == [t / 1000 for t in UNEVEN]
    clip = Clip(path, Sampling(every=1.0))
    assert clip.times == [0.0, 1.0, 1.51, 3.0]  # what is on display at 0, 1, 2 and 3 seconds
    assert numbers(clip) == [0, 4, 6, 7]


def test_evenly_means_evenly_in_time():
    assert Sampling(2).choose([t / 1000 for t in UNEVEN], 3.04) == [3, 6]
    assert Sampling(3).choose([0.0], 0.04) == [0]
    assert Sampling(1).choose([0.0, 1.0], 2.0) == [1]
    assert Sampling(every=0.04).choose([i * 0.04 for i in range(1000)], 40.0) == list(range(1000))
    assert Sampling(every=1.0).choose([0.5 + i / 25 for i in range(125)], 5.5) == list(range(0, 125, 25)), "and none beyond the end"


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".ts", ".flv"])
def test_where_times_jump_by_hours_frames_from_before_and_after_are_taken(tmp_path, ending):
    path = str(draw_clip(tmp_path / f"a{ending}", [*STEADY[:25], *(4 * 3_600_000 + time for time in STEADY[25:])], bf="0"))
    clip = Clip(path, Sampling(5))
    assert numbers(clip) == [number % 20 for number in (5, 15, 25, 35, 45)]
    assert [time > 14_000 for time in clip.times] == [False, False, True, True, True]
    assert clip.notes[-1].startswith("its times jump, or a few frames stay")
    assert len(Clip(path, Sampling(every=0.2)).times) == pytest.approx(10, abs=2)
    assert len(Clip(path, Sampling(50)).times) == 50


def test_where_times_begin_anew_the_frames_of_all_recordings_are_taken(tmp_path):
    parts = [draw_clip(tmp_path / f"{name}.ts", times, g="10") for name, times in (("a", STEADY), ("b", STEADY[:45]))]
    (tmp_path / "joined.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    clip = Clip(str(tmp_path / "joined.ts"), Sampling(100))
    assert numbers(clip) == [number % 20 for part in (STEADY, STEADY[:45]) for number in range(len(part))]
    assert clip.times == sorted(set(clip.times))
    assert clip.seconds == pytest.approx(3.8, abs=0.2)
    assert clip.notes == ("by its times it is 2 recordings, joined; its times are counted on over them",)
    alone = Clip(str(parts[1]), Sampling(100))
    alone.sha256 = clip.sha256
    known = {alone.identity(nth) for nth in range(45)}  # as a cache may hold them of the last recording
    assert not {clip.identity(nth) for nth in range(95)} & known


@pytest.mark.parametrize("wrong", [{"frames": 0}, *({"every": every} for every in (0, -1, 1e-320, 1e-7, float("inf"), float("nan")))])
def test_a_sampling_that_makes_no_sense_is_refused(wrong):
    [(option, value)] = wrong.items()
    with pytest.raises(DetectorError, match=f"--{option} should be (.* or more|at least 1); received {value}"):
        Sampling(**wrong)


@pytest.mark.parametrize("ending", [".mkv", ".mp4", ".ts"])
def test_frames_that_share_their_time_are_told_of(tmp_path, ending):
    clip = Clip(str(draw_clip(tmp_path / f"a{ending}", [0] * 12 + [40])))
    assert clip.times == [0.0, 0.04]
    assert clip.notes == ("its 13 frames share 2 times: of each time one is looked at",)
    assert Clip(str(draw_clip(tmp_path / "b.mkv", [0, 0, 40, 80]))).notes == ()


def test_where_times_jump_choosing_takes_no_longer_than_there_are_frames():
    began = monotonic()
    assert Sampling(every=0.001).choose([0.0, 0.0005, 1.0, 20_000.0], 20_000.04) == [0, 1, 2, 3]
    assert monotonic() - began < 1


@pytest.mark.parametrize(
    ("rotation", "size", "red"), [(0, (64, 32), (2, 16)), (90, (32, 64), (16, 61)), (180, (64, 32), (61, 16)), (-90, (32, 64), (16, 2))]
)
def test_the_rotation_in_the_metadata_is_applied(tmp_path, rotation, size, red):
    image = Clip(str(draw_clip(tmp_path / "a.mp4", [0, 40], rotation=rotation)), Sampling(1)).picture(0).image
    assert image.size == size
    level = np.asarray(image)[red[1], red[0]]
    assert level[0] > 150 > level[1]


@pytest.mark.parametrize("curve", [colours.PQ, colours.HLG])
def test_hdr_is_shown_as_on_a_standard_screen(tmp_path, curve):
    levels = np.array([[20, 60, 118], [118, 118, 118], [200, 150, 30], [225, 225, 225], [30, 190, 90]])
    light = np.where(levels <= 10, levels / 255 / 12.92, ((levels / 255 + 0.055) / 1.055) ** 2.4)
    lights = np.array([*light, [1, 1, 1], [3, 3, 3], [3, 1.5, 0.6]])  # and two stronger than white
    picture = Clip(str(draw_hdr(tmp_path / "a.mp4", np.kron(lights[None], np.ones((32, 16, 1))), curve)), Sampling(1)).picture(0)
    assert picture.notes == ("HDR, shown as on a standard screen",)
    shown = np.asarray(picture.image, int)[16, 8::16]
    assert np.abs(shown[:5] - levels).max() <= 4
    assert 240 <= shown[5].min() <= shown[5].max() < 252 <= shown[6].min(), "room is left for what is stronger than white"
    assert shown[7, 0] > shown[7, 1] + 20 > shown[7, 2] + 60, "and it keeps its hue"


@pytest.mark.parametrize(("stretch", "rotation", "size"), [((2, 1), 0, (128, 32)), ((3, 4), 0, (48, 32)), ((2, 1), 90, (32, 128))])
def test_pixels_that_are_not_square_are_shown_as_wide_as_they_are(tmp_path, stretch, rotation, size):
    path = draw_clip(tmp_path / "a.mp4", [0, 40], rotation=rotation, stretch=Fraction(*stretch))
    image = Clip(str(path), Sampling(1)).picture(0).image
    assert image.size == size
    red = np.asarray(image)[..., 0] > np.asarray(image)[..., 1].astype(int) + 80
    assert red.mean() == pytest.approx(1 / 4, abs=0.03)


def test_no_frame_is_decoded_twice_and_groups_without_a_chosen_one_not_at_all(tmp_path, monkeypatch):
    path = str(draw_clip(tmp_path / "a.mp4", STEADY, g="10", bf="2"))
    decoded = []
    real = video._decoded

    def counting(*asked):
        for stamp, frame in real(*asked):
            decoded.append(stamp)
            yield stamp, frame

    monkeypatch.setattr(video, "_decoded", counting)
    clip = Clip(path, Sampling(3))
    assert decoded == [], "listing decodes nothing"
    with ThreadPoolExecutor(3) as pool:  # in any order
        shown = list(pool.map(lambda n: grey(clip.picture(n).image), [2, 0, 1]))
    assert [round((g - 20) / 10) for g in shown] == [41 % 20, 8, 25 % 20]
    assert len(decoded) == len(set(decoded)) == 3
    assert len(Clip(path, Sampling(1))._groups) == 1


def test_a_group_is_decoded_no_further_than_its_last_frame_that_is_asked_for(tmp_path, monkeypatch):
    decoded = []
    real = video._frames

    def counting(*asked):
        for frame, whole in real(*asked):
            decoded.append(frame)
            yield frame, whole

    monkeypatch.setattr(video, "_frames", counting)
    path = str(draw_clip(tmp_path / "a.mp4", list(range(0, 20_000, 40)), g="250", sc_threshold="0"))
    assert numbers(Clip(path, Sampling(2))) == [125 % 20, 375 % 20]
    in_a_row = 32  # what the decoder's threads may be ahead
    assert len(decoded) <= 2 * (126 + in_a_row)
    decoded.clear()
    clip = Clip(path, Sampling(2))
    clip.forget(0)
    assert grey(clip.picture(1).image) == pytest.approx(shade(375), abs=4)
    assert len(decoded) <= 126 + in_a_row


def test_what_was_decoded_of_a_clip_goes_with_it(tmp_path):
    """At once, not when Python next looks for what holds but itself: frames are large, and an upload's file has been deleted by then."""
    path = str(draw_clip(tmp_path / "a.mp4", STEADY))
    gc.collect()
    gc.disable()
    try:
        numbers(Clip(path, Sampling(3)))
        Clip(path, Sampling(3)).picture(0)  # and no more is asked for
        left = [one for one in gc.get_objects() if type(one) in (Clip, av.VideoFrame, av.container.InputContainer)]
    finally:
        gc.enable()
    assert left == []


@pytest.mark.parametrize(("chosen", "options"), [(9, OPEN), (40, OPEN), (3, REFRESHED), (16, REFRESHED)])
def test_the_frames_are_those_that_plain_decoding_gives(tmp_path, chosen, options):
    path = str(draw_clip(tmp_path / "a.mp4", list(range(0, 8000, 40)), **options))
    with av.open(path) as container:
        plain = {frame.time: np.asarray(frame.to_image()) for frame in container.decode(video=0)}
    clip = Clip(path, Sampling(chosen))
    assert len(clip.times) == chosen
    for nth, time in enumerate(clip.times):
        np.testing.assert_array_equal(np.asarray(clip.picture(nth).image), plain[time])


def test_frames_after_the_first_group_are_decoded_as_the_first_packet_asks(tmp_path):
    """There x264 names its version, and what one before 151 coded without loss is to be decoded otherwise."""
    path, rng = tmp_path / "a.mp4", np.random.default_rng(0)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0", "g": "10", "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(20):
            ramp = np.arange(96)[:, None] * 2 + rng.integers(0, 40, (64, 96, 3))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(ramp.astype(np.uint8))))
        container.mux(stream.encode())
    path.write_bytes(re.sub(rb"x264 - core \d+", b"x264 - core 148", path.read_bytes()))
    with av.open(path) as container:
        plain = {frame.time: np.asarray(frame.to_image()) for frame in container.decode(video=0)}
    clip = Clip(str(path), Sampling(20))
    for nth in range(10):
        clip.forget(nth)
    for nth in range(10, 20):
        np.testing.assert_array_equal(np.asarray(clip.picture(nth).image), plain[clip.times[nth]])


def test_identity_is_of_content_and_time(tmp_path):
    one = Clip(str(draw_clip(tmp_path / "a.mp4", STEADY)), Sampling(3))
    (tmp_path / "b.mp4").write_bytes((tmp_path / "a.mp4").read_bytes())
    copy = Clip(str(tmp_path / "b.mp4"), Sampling(3))
    assert [one.identity(i) for i in range(3)] == [copy.identity(i) for i in range(3)]
    assert len({one.identity(i) for i in range(3)}) == 3


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_a_truncated_clip_gives_what_it_has_and_says_so(tmp_path, ending):
    options = {"movflags": "faststart"} if ending == ".mp4" else {}
    path = draw_clip(tmp_path / f"a{ending}", list(range(0, 8000, 40)), g="10")
    if options:  # the index to the front, as the web has it
        path = copy_clip(path, tmp_path / "b.mp4", **options)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(0.6 * len(whole))])
    clip = Clip(str(path), Sampling(6))
    assert 3 <= len(clip.times) <= 6
    assert clip.times[-1] < 6
    assert "cut off" in clip.notes[0]
    assert "of 8.0 seconds" in clip.notes[0]
    given = [what_of(clip, nth) for nth in range(len(clip.times))]
    assert sum(outcome == clip.notes for outcome in given) >= 3
    assert all(outcome == clip.notes or "damaged" in outcome for outcome in given)


@pytest.mark.parametrize("ending", [".mkv", ".flv", ".mp4", ".ts"])
@pytest.mark.parametrize(("delay", "sound"), [(0, 6), (3000, 0), (3000, 6)])
def test_a_whole_clip_with_longer_sound_or_a_late_picture_is_not_cut_off(tmp_path, ending, delay, sound):
    path = draw_clip(tmp_path / f"a{ending}", [delay + time for time in STEADY], sound=sound)
    clip = Clip(str(path))
    assert clip.notes == ()
    assert clip.seconds == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("ending", [".mkv", ".flv", ".mp4", ".ts"])
def test_a_clip_of_one_frame_is_not_cut_off(tmp_path, ending):
    """Which lasts no time, where the format doesn't say how long the last one stays."""
    assert Clip(str(draw_clip(tmp_path / f"a{ending}", [0]))).notes == ()


@pytest.mark.parametrize("live", [False, True])
def test_the_length_of_a_clip_that_states_none_is_that_of_its_pictures(tmp_path, live):
    path = copy_clip(draw_clip(tmp_path / "a.mkv", STEADY), tmp_path / "b.mkv", **{"live": "1"} if live else {})
    assert length(str(path)) == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize(("group", "hurt", "failed"), [(5, slice(20, 25), range(20, 25)), (10, slice(23, 24), range(23, 30))])
def test_damaged_frames_and_all_that_build_on_them_are_named_and_the_rest_is_given(tmp_path, group, hurt, failed):
    path = draw_clip(tmp_path / "a.mp4", STEADY, g=str(group), bf="0", sc_threshold="0")
    content = bytearray(path.read_bytes())
    with av.open(path) as container:
        for packet in [p for p in container.demux(video=0) if p.pts is not None][hurt]:
            content[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    path.write_bytes(content)
    clip = Clip(str(path), Sampling(50))
    assert [nth for nth in range(50) if "damaged" in what_of(clip, nth)] == list(failed)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.touch(), "empty file: it holds no bytes"),
        (lambda path: path.write_bytes(b"hello" * 999), "not a video that can be read"),
        (lambda path: Image.new("RGB", (64, 48)).save(path, "PNG"), "a picture by its content \\(PNG\\), not a video; .* such as .png"),
        (lambda path: path.mkdir(), "not a plain file"),
        (draw_sound, "no pictures in this video, only sound"),
        (
            lambda path: path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nb.ts\n#EXT-X-ENDLIST\n"),
            "not a video that can be read",
        ),
        (lambda path: path.write_bytes(draw_clip(path, STEADY).read_bytes()[:-900]), "cut off before its index"),
        (lambda path: path.write_bytes(draw_clip(path, [0]).read_bytes().replace(b"avc1\0", b"nope\0")), "a coding that can't be decoded"),
        (lambda path: draw_clip(path, [0], size=(64, 8)), "64 x 8 is no size to judge"),
        (lambda path: draw_clip(path, [0], stretch=Fraction(26)), "1664 x 32 is no size to judge"),
    ],
)
def test_what_is_refused(tmp_path, make, reason):
    make(tmp_path / "a.mp4")
    with pytest.raises(UnusablePicture, match=reason):
        Clip(str(tmp_path / "a.mp4"))


def test_a_title_that_is_not_utf8_costs_no_pictures(tmp_path):
    clip = draw_clip(tmp_path / "titled.avi", list(range(0, 400, 40)))
    with av.open(str(clip)) as read, av.open(str(tmp_path / "plain.avi"), "w") as file:
        file.metadata["title"] = "cafe_"
        stream = file.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(read.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                file.mux(packet)
    old = tmp_path / "old.avi"
    old.write_bytes((tmp_path / "plain.avi").read_bytes().replace(b"cafe_", b"caf\xe9s"))
    assert numbers(Clip(str(old))) == numbers(Clip(str(tmp_path / "plain.avi")))
    assert video.tags(str(old))["title"] == "caf\ufffds"


def test_a_playlist_may_not_name_other_files(tmp_path):
    draw_clip(tmp_path / "b.ts", STEADY)
    (tmp_path / "a.ts").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nb.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(UnusablePicture, match="not a video"):
        Clip(str(tmp_path / "a.ts"))


@pytest.mark.parametrize(("path", "answer"), [("a.MP4", True), ("b/c.webm", True), ("a.gif", False), ("mp4", False)])
def test_is_video(path, answer):
    assert is_video(path) is answer
