"""datasets/folder finds labels, generators and splits in the usual layouts, and says what it leaves out."""

import csv
import os

import pytest
from PIL import Image

from deepfake_detector import video
from deepfake_detector.datasets import videos
from deepfake_detector.datasets.folder import EXTENSIONS, files_below, named_folders, scan
from deepfake_detector.errors import DatasetError
from deepfake_detector.types import FAKE, REAL, Sample
from tests.clips import draw_clip


def touch(root, *names):
    """Empty files: listing opens no picture."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def manifest(folder, *rows, columns="path,label", name="manifest.csv"):
    folder.mkdir(exist_ok=True)
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns.split(","), *rows])
    return folder


@pytest.mark.parametrize(
    ("name", "label", "generator", "split"),
    [
        ("real/a.jpg", REAL, "real", ""),
        ("real/ffhq/a.jpg", REAL, "ffhq", ""),
        ("fake/a.jpg", FAKE, "fake", ""),
        ("fake/sdxl/a.jpg", FAKE, "sdxl", ""),
        ("FAKE/SDXL/cat/a.jpg", FAKE, "SDXL", ""),
        ("Real/a.jpg", REAL, "real", ""),
        ("train/fake/sdxl/a.jpg", FAKE, "sdxl", "train"),
        ("fake/sdxl/Validation/a.jpg", FAKE, "sdxl", "val"),
        ("fake/testing/sdxl/a.jpg", FAKE, "sdxl", "test"),
        ("Training/real/a.jpg", REAL, "real", "train"),
        ("set/valid/real/a.jpg", REAL, "real", "val"),
        ("progan/cat/0_real/a.png", REAL, "real", ""),
        ("progan/cat/1_fake/a.png", FAKE, "progan", ""),
        ("progan/1_fake/a.png", FAKE, "progan", ""),
        ("test/progan/cat/1_fake/a.png", FAKE, "progan", "test"),
        ("1_fake/a.png", FAKE, "fake", ""),
        ("sdv4/train/ai/a.png", FAKE, "sdv4", "train"),
        ("genimage/sdv5/val/ai/a.png", FAKE, "sdv5", "val"),
        ("sdv4/val/nature/a.png", REAL, "real", "val"),
        ("ai/a.png", FAKE, "fake", ""),
        ("training_fake/a.jpg", FAKE, "fake", ""),
        ("training-real/a.jpg", REAL, "real", ""),
        ("original/a.jpg", REAL, "real", ""),
        ("Originals/a.jpg", REAL, "real", ""),
        ("authentic/a.jpg", REAL, "real", ""),
        ("genuine /a.jpg", REAL, "real", ""),
        ("synthetic/dalle/a.jpg", FAKE, "dalle", ""),
        ("generated/a.jpg", FAKE, "fake", ""),
        ("deepfake/a.jpg", FAKE, "fake", ""),
        ("Deepfakes/a.jpg", FAKE, "fake", ""),
        ("manipulated/a.jpg", FAKE, "fake", ""),
        ("fake/Deepfakes/000_003/a.jpg", FAKE, "Deepfakes", ""),  # a method of FaceForensics++
        ("deepfakes/fake/sdxl/a.jpg", FAKE, "sdxl", ""),  # a data set's name above
        ("deepfakes/real/a.jpg", REAL, "real", ""),
        ("real_vs_fake/real-vs-fake/train/fake/a.jpg", FAKE, "fake", "train"),
        ("real_vs_fake/real-vs-fake/test/real/a.jpg", REAL, "real", "test"),
        ("fake/mixed/real/a.jpg", REAL, "real", ""),  # the folder nearest to the file decides
        ("fake/nature/a.jpg", FAKE, "nature", ""),  # what is shown, or which part of a generator's, turns no plain word round
        ("fake/sdxl/original/a.jpg", FAKE, "sdxl", ""),
        ("real/generated/a.jpg", REAL, "generated", ""),
        ("fake/sdv4/train/ai/a.png", FAKE, "sdv4", "train"),
        ("deepfakes/original/a.jpg", REAL, "real", ""),
        ("Fake/GenImage/Midjourney/train/ai/a.png", FAKE, "Midjourney", "train"),
        ("fake/FF++/Deepfakes/a.png", FAKE, "Deepfakes", ""),
        ("1_fake/synthetic/sdxl/a.png", FAKE, "sdxl", ""),
        ("CNN_synth_testset/stylegan2/car/1_fake/a.png", FAKE, "stylegan2", ""),  # a folder for all of them above
        ("StyleGAN2/fake/a.png", FAKE, "StyleGAN2", ""),
        ("StyleGAN2/real/a.png", REAL, "real", ""),
        ("person 7/fake/a.png", FAKE, "fake", ""),  # no generator's name
        ("test/progan/train/0_real/a.png", REAL, "real", "test"),  # a picture of a train
    ],
)
def test_layouts(tmp_path, name, label, generator, split):
    touch(tmp_path, name)
    assert scan(tmp_path).samples == [Sample(str(tmp_path / name), name, label, generator, name, split)]


def test_the_order_is_that_of_the_names(tmp_path):
    names = ["fake/b.png", "fake/a/z.png", "real/10.jpg", "real/9.jpg", "fake-/real/x.png", "Real/a.png"]
    touch(tmp_path, *names)
    found = [sample.name for sample in scan(str(tmp_path)).samples]
    assert found == sorted(names)
    assert scan(tmp_path) == scan(tmp_path)


def test_the_parent_folders_of_the_root_say_nothing(tmp_path):
    with pytest.raises(DatasetError, match="None of the 1 pictures"):
        scan(touch(tmp_path / "fake", "a.jpg"))


@pytest.mark.parametrize("extension", [*EXTENSIONS, ".JPG", ".Png"])
def test_pictures_by_their_extension(tmp_path, extension):
    assert len(scan(touch(tmp_path, f"real/a{extension}")).samples) == 1


def test_other_files_and_hidden_ones_are_left_out(tmp_path):
    touch(tmp_path, "real/a.jpg", "real/readme.txt", "real/Thumbs.db", "real/jpg", "real/._a.jpg", "real/.a.jpg")
    touch(tmp_path, "__MACOSX/real/a.jpg", "real/.ipynb_checkpoints/a.jpg", ".git/real/a.jpg")
    os.mkfifo(tmp_path / "real" / "pipe.jpg")  # opening it would wait for ever
    listing = scan(tmp_path)
    assert [sample.name for sample in listing.samples] == ["real/a.jpg"]
    assert listing.skipped == [("real/pipe.jpg", "not a plain file")]
    assert files_below(str(tmp_path))[2] == [(str(tmp_path / "real/pipe.jpg"), "not a plain file")]


@pytest.mark.parametrize("name", ["Zoë 图像 🦊.jpg", 'a, "b".jpg', "two\nlines.jpg", " .jpg", "100%.jpg", "back\\slash.jpg"])
def test_odd_names(tmp_path, name):
    touch(tmp_path, f"real/{name}")
    (sample,) = scan(tmp_path).samples
    assert sample.name == f"real/{name}"
    assert os.path.exists(sample.path)


def test_a_name_that_is_not_utf8_can_be_opened_and_written(tmp_path):
    (tmp_path / "real").mkdir()
    try:
        open(os.fsencode(tmp_path) + b"/real/\xff.jpg", "wb").close()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (sample,) = scan(tmp_path).samples
    assert sample.name == "real/\\xff.jpg"
    assert os.path.exists(sample.path)


def test_broken_links_are_listed_and_loops_end(tmp_path):
    touch(tmp_path, "real/a.jpg", "elsewhere/real/b.jpg")
    (tmp_path / "real" / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "real" / "self.jpg").symlink_to("self.jpg")
    (tmp_path / "real" / "up").symlink_to("..", target_is_directory=True)
    (tmp_path / "real" / "here").symlink_to(".", target_is_directory=True)
    (tmp_path / "real" / "linked").symlink_to("../elsewhere", target_is_directory=True)
    assert [sample.name for sample in scan(tmp_path).samples] == [
        "elsewhere/real/b.jpg",
        "real/a.jpg",
        "real/gone.jpg",
        "real/linked/real/b.jpg",
        "real/self.jpg",
    ]


def test_unlabelled_pictures_are_named(tmp_path):
    listing = scan(touch(tmp_path, "real/a.jpg", "z.jpg", "other/b.png"))
    assert [sample.name for sample in listing.samples] == ["real/a.jpg"]
    assert listing.skipped == [("other/b.png", "no real/fake folder above it"), ("z.jpg", "no real/fake folder above it")]
    with pytest.raises(DatasetError, match=r"Found pictures in: '\.'\. It says so itself: name the folder above it\."):
        scan(tmp_path / "real")


def test_no_label_at_all_explains_the_layouts(tmp_path):
    touch(tmp_path, *(f"{folder}/x/1.jpg" for folder in "abcdef"), "0.jpg")
    with pytest.raises(DatasetError, match=r"None of the 7 pictures .*0_real.*nature.*path and label.* in: '\.', 'a/x', .*'d/x', …"):
        scan(tmp_path)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda root: root / "nowhere", "is missing"),
        (lambda root: touch(root, "a.jpg") / "a.jpg", "is a single file. Name the folder that the pictures lie in"),
        (lambda root: touch(root, "list.csv.gz") / "list.csv.gz", "or save a list of them as .csv"),
        (lambda root: root, "No picture in .*real/… and fake/GENERATOR"),
        (lambda root: touch(root, "real/a.txt"), "No picture in"),
    ],
)
def test_nothing_to_list(tmp_path, make, reason):
    with pytest.raises(DatasetError, match=reason):
        scan(make(tmp_path))


def test_files_below_a_folder_need_no_label(tmp_path):
    touch(tmp_path, "real/b.jpg", "a.PNG", "notes.txt", ".hidden.jpg")
    assert files_below(str(tmp_path)) == ([str(tmp_path / "a.PNG"), str(tmp_path / "real/b.jpg")], ["notes.txt"], [])
    (tmp_path / "none").mkdir()
    assert files_below(str(tmp_path / "none")) == ([], [], [])


@pytest.mark.usefixtures("locked_folders")
def test_a_folder_that_cannot_be_read_is_named(tmp_path):
    touch(tmp_path, "real/a.jpg", "real/locked/b.jpg")
    assert scan(tmp_path).skipped == [("real/locked/", "the folder can't be read: Permission denied")]
    locked = os.path.join(tmp_path, "real/locked/")
    assert files_below(str(tmp_path))[2] == [(locked, "the folder can't be read: Permission denied")]
    with pytest.raises(DatasetError, match="No picture in .*Itself: the folder can't be read"):
        scan(tmp_path / "real" / "locked")


# ---- manifests


def test_a_manifest_with_every_column(tmp_path):
    touch(tmp_path, "b.jpg")
    manifest(tmp_path, ["b.jpg", "fake", "sdxl", "prompt 7", "Validation"], columns="Path, LABEL ,generator,group,split")
    assert scan(tmp_path).samples == [Sample(str(tmp_path / "b.jpg"), "b.jpg", FAKE, "sdxl", "prompt 7", "val")]


@pytest.mark.parametrize(
    ("said", "label", "generator"), [("0", REAL, "real"), ("1", FAKE, "fake"), ("Real", REAL, "real"), (" FAKE ", FAKE, "fake")]
)
def test_manifest_labels_and_defaults(tmp_path, said, label, generator):
    manifest(tmp_path, ["x/a.jpg", said], name="list.CSV")
    assert scan(tmp_path / "list.CSV").samples == [Sample(str(tmp_path / "x/a.jpg"), "x/a.jpg", label, generator, "x/a.jpg", "")]


def test_spaces_around_a_group_do_not_part_it(tmp_path):
    folder = manifest(tmp_path / "d", ["a.jpg", "real", " g1"], ["b.jpg", "fake", "g1 "], columns="path,label,group")
    assert [s.group for s in scan(folder).samples] == ["g1", "g1"]


def test_clips_are_named_where_they_are_not_read_and_marked_where_they_are(tmp_path):
    for name in ("real/a.jpg", "fake/sdxl/b.jpg", "fake/sdxl/c.mp4"):
        touch(tmp_path, name)
    listing = scan(tmp_path)
    assert [s.name for s in listing.samples] == ["fake/sdxl/b.jpg", "real/a.jpg"]
    assert [(name, "--dataset videos" in why) for name, why in listing.skipped] == [("fake/sdxl/c.mp4", True)]
    folder = manifest(tmp_path / "d", ["a.jpg", "real"], ["c.mp4", "fake"])
    assert {s.name: s.video for s in scan(folder).samples} == {"a.jpg": "", "c.mp4": "c.mp4"}


def test_source_code_with_a_clips_ending_is_no_clip(tmp_path):
    touch(tmp_path, "real/a.jpg", "fake/b.jpg", "fake/empty.ts")
    for name in ("index.ts", "index.mts", "G.ts", "de.TS"):
        (tmp_path / "fake" / name).write_text("GET: export const G = 'G';\n" * 500)
    (tmp_path / "fake" / "short.ts").write_text("export {}\n")
    clips = [draw_clip(tmp_path / "fake" / f"c{ending}", [0, 40, 80]) for ending in (".ts", ".mts", ".m2ts")]
    late = tmp_path / "fake" / "late.ts"
    late.write_bytes(clips[0].read_bytes()[100:])
    packets = [clips[0].read_bytes()[at : at + 188] for at in range(0, clips[0].stat().st_size, 188)]
    (tmp_path / "fake" / "timed.m2ts").write_bytes(b"".join(bytes(4) + packet for packet in packets))
    (tmp_path / "fake" / "gone.ts").symlink_to(tmp_path / "gone")
    expected = ["c.m2ts", "c.mts", "c.ts", "gone.ts", "late.ts", "timed.m2ts"]
    assert [os.path.basename(path) for path in files_below(str(tmp_path))[0] if video.is_video(path)] == expected
    assert [name for name, _ in scan(tmp_path).skipped] == [f"fake/{name}" for name in expected]
    assert [os.path.basename(sample.path) for sample in videos.scan(tmp_path).samples] == expected


def test_manifest_paths_are_looked_for_in_images_too(tmp_path):
    touch(tmp_path, "images/real/a.jpg", "b.jpg")
    manifest(tmp_path, ["real/a.jpg", 0], ["./b.jpg", 1], ["gone.jpg", 1])
    assert {sample.name: sample.path for sample in scan(tmp_path).samples} == {
        "b.jpg": str(tmp_path / "b.jpg"),
        "gone.jpg": str(tmp_path / "gone.jpg"),
        "real/a.jpg": str(tmp_path / "images/real/a.jpg"),
    }


def test_manifest_order_odd_names_and_blank_lines(tmp_path):
    names = ["b.jpg", "two\nlines.jpg", 'a, "b".jpg', "é.jpg"]
    manifest(tmp_path, *([name, 0] for name in names), [])
    (tmp_path / "manifest.csv").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "manifest.csv").read_bytes())  # as Excel saves it
    assert [sample.name for sample in scan(tmp_path).samples] == sorted(names)


def test_a_row_that_repeats_another_is_named(tmp_path):
    listing = scan(manifest(tmp_path, ["a.jpg", 0], ["b.jpg", 1], ["./a.jpg", "real"]))
    assert len(listing.samples) == 2
    assert listing.skipped == [("a.jpg", "row 4 lists again what row 2 lists")]


@pytest.mark.parametrize(
    ("first", "has"),
    [("path;label", "path;label"), ("id,caption", "id, caption"), ("x" * 500, "x{98} …")],  # as Excel saves it in Europe; of something else
)
def test_a_manifest_that_can_not_be_read_as_one_is_not_passed_over(tmp_path, first, has):
    folder = touch(tmp_path, "real/a.jpg", "fake/b.jpg")
    (folder / "manifest.csv").write_text(f"{first}\nreal/a.jpg;1\n")
    with pytest.raises(DatasetError, match=f"columns path and label, separated by commas; it has: {has}. Save it so. .* another name"):
        scan(folder)


@pytest.mark.parametrize(
    ("rows", "columns", "reason"),
    [
        ([["a.jpg", "real"], ["b.jpg", "maybe"]], "path,label", "row 3: expected the label 0, 1, real or fake .*, got 'maybe'"),
        ([["a.jpg", "2"]], "path,label", "row 2: .*got '2'"),
        ([["a.jpg"]], "path,label", "row 2: .*got ''"),
        ([[" ", "1"]], "path,label", "row 2: expected a path"),
        ([["1"]], "label,path", "row 2: expected a path"),
        ([["a.jpg", "1", "fold3"]], "path,label,split", "row 2: expected the split train, val, test .*got 'fold3'"),
        ([["a.jpg", "1"], ["a.jpg", "0"]], "path,label", "'a.jpg' fake in row 2 and real in row 3"),
        ([["a.jpg", "1"]], "file,label", "needs the columns path and label, .*it has: file, label"),
        ([], "path,label", "lists no pictures"),
    ],
)
def test_bad_manifests(tmp_path, rows, columns, reason):
    manifest(tmp_path, *rows, columns=columns, name="list.csv")
    with pytest.raises(DatasetError, match=reason):
        scan(tmp_path / "list.csv")


@pytest.mark.parametrize(("content", "reason"), [(b"", "it has: none"), (b"path,label\n\xff\xfe.jpg,1\n", "can't be read as a CSV")])
def test_files_that_are_no_csv(tmp_path, content, reason):
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(DatasetError, match=reason):
        scan(tmp_path / "list.csv")


def test_words_of_both_classes_above_one_picture_are_not_guessed_at(tmp_path):
    """AI/nature are pictures of nature by a generator, original/ in deepfakes/ photographs: what lies beside them tells."""
    both = touch(tmp_path / "both", "deepfakes/original/a.jpg", "deepfakes/manipulated/b.jpg")
    assert [sample.label for sample in scan(both).samples] == [FAKE, REAL]
    for case, names in enumerate(
        (
            ("AI/nature/a.jpg", "AI/people/b.jpg", "real/c.jpg"),
            ("AI/nature/a.jpg", "original/b.jpg"),
            ("generated/original/a.jpg", "generated/edited/b.jpg"),
        )
    ):
        with pytest.raises(
            DatasetError, match=r"can't be told: '(AI|generated)' says fake, and '(nature|original)' below it real. Rename one"
        ):
            scan(touch(tmp_path / str(case), *names))


def test_a_list_that_says_one_for_real_is_refused(tmp_path):
    """As the CSV files of xhlulu's 140k faces on Kaggle do, which have the columns path and label."""
    folder = touch(tmp_path, "train/real/a.jpg", "train/fake/b.jpg")
    manifest(folder, ["train/real/a.jpg", "1"], ["train/fake/b.jpg", "0"], name="train.csv")
    with pytest.raises(DatasetError, match="row 2: the label says fake .1 = fake., but it lies in a folder called 'real'. If 1 means real"):
        scan(folder / "train.csv")
    manifest(folder, ["a.jpg", "1", "real"], columns="path,label,label_str", name="words.csv")
    with pytest.raises(DatasetError, match="row 2: the label says fake .1 = fake., but its label_str is 'real'"):
        scan(folder / "words.csv")


def test_so_is_one_that_was_made_on_windows(tmp_path, monkeypatch):
    folder = touch(tmp_path, "pics/real/a.jpg", "pics/fake/b.jpg", r"there\real\a.jpg")
    manifest(folder, [r"pics\fake\b.jpg", "0"], [r"pics\real\a.jpg", "1"], name="list.csv")
    with pytest.raises(DatasetError, match="row 2: the label says real .1 = fake., but it lies in a folder called 'fake'"):
        scan(folder / "list.csv")
    manifest(folder, [r"there\real\a.jpg", "1"], name="there.csv")
    monkeypatch.setattr(os, "sep", "\\")  # where that path is one
    with pytest.raises(DatasetError, match="row 2: the label says fake .1 = fake., but it lies in a folder called 'real'"):
        scan(folder / "there.csv")


def test_what_a_list_leaves_open_its_folders_say(tmp_path):
    rows = [
        ["d/train/fake/sdxl/a.jpg", "1", "", ""],
        ["d/test/fake/sdxl/b.jpg", "fake", "flux", "val"],  # what stands in a cell is never asked of a folder
        [r"d\val\real\ffhq\c.jpg", "0", "", ""],
        ["../x/progan/1_fake/d.jpg", "1", "", ""],
        [str(tmp_path / "d/train/real/e.jpg"), "0", "", ""],
        ["/test/fake/train/f.jpg", "1", "", ""],  # what lies elsewhere is not laid out for us
        ["d/test/generated/original/g.jpg", "1", "", ""],  # the label is the list's
        ["train/h.jpg", "1", "", ""],  # perhaps a picture of a train: no folder layout
        ["i.jpg", "0", "", ""],
    ]
    found = scan(manifest(tmp_path, *rows, columns="path,label,generator,split", name="list.csv") / "list.csv").samples
    assert {os.path.basename(sample.name)[0]: (sample.label, sample.generator, sample.split) for sample in found} == {
        "a": (FAKE, "sdxl", "train"),
        "b": (FAKE, "flux", "val"),
        "c": (REAL, "ffhq", "val"),
        "d": (FAKE, "progan", ""),
        "e": (REAL, "real", "train"),
        "f": (FAKE, "fake", ""),
        "g": (FAKE, "fake", "test"),
        "h": (FAKE, "fake", ""),
        "i": (REAL, "real", ""),
    }
    bare = scan(manifest(tmp_path, *(row[:2] for row in rows[:1]), name="bare.csv") / "bare.csv").samples
    assert [(sample.generator, sample.split, sample.group) for sample in bare] == [("sdxl", "train", "d/train/fake/sdxl/a.jpg")]


def test_a_folder_is_not_taken_for_the_other_class_than_its_name_says(tmp_path):
    folder = touch(tmp_path, "real/a.jpg", "fake/b.jpg", "list/c.jpg")
    taken = named_folders([folder / "real"], [folder / "fake"]).samples
    assert {sample.generator: sample.label for sample in taken} == {"real": REAL, "fake": FAKE}
    with pytest.raises(DatasetError, match=r"fake' is given as a folder of real pictures, but is called 'fake'. Give it as one of fake"):
        named_folders([folder / "fake"], [folder / "real"])
    with pytest.raises(DatasetError, match=r"real' is given as a folder of fake pictures, but is called 'real'"):
        named_folders([], [folder / "real"])


def test_the_spellings_of_other_programs_are_read(tmp_path):
    folder = touch(tmp_path, "imgs/a.jpg", "imgs/b.jpg", "imgs/c.jpg")
    manifest(folder, [r"imgs\a.jpg", "0.0"], [" imgs/b.jpg ", " Deepfake"], ["imgs/c.jpg", "1.0"], name="list.csv")
    found = scan(folder / "list.csv").samples
    assert [(sample.name, sample.label, os.path.exists(sample.path)) for sample in found] == [
        ("imgs/a.jpg", REAL, True),
        ("imgs/b.jpg", FAKE, True),
        ("imgs/c.jpg", FAKE, True),
    ]


def test_pictures_that_are_passed_over_are_accounted_for(tmp_path):
    folder = touch(tmp_path / "p", "real/a.jpg", "fake/b.jpg", "fake/notes.txt", "fake/more.jpg")
    for name in ("0a1b2c", "x.jpg_large"):
        Image.new("RGB", (40, 40), "red").save(folder / "fake" / name, "PNG")
    assert scan(folder).skipped == [
        ("fake/0a1b2c", "a picture by its content, but not by its ending; rename it"),
        ("fake/x.jpg_large", "a picture by its content, but not by its ending; rename it"),
    ]
    os.mkfifo(tmp_path / "pipe")
    (folder / "fake" / "log").symlink_to(tmp_path / "pipe")  # to look into which would be to wait for ever
    assert len(scan(folder).skipped) == 2
    manifest(folder, ["real/a.jpg", "0"], ["fake/b.jpg", "1"])
    assert scan(folder).skipped == [(str(folder), "1 other pictures or clips lie here, which manifest.csv does not list")]
    assert scan(folder / "manifest.csv").skipped == [], "a list that was asked for is all that was asked for"
