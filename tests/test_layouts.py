"""Each published layout gives the right label (1 = fake), generator, group and split, and says what it leaves out."""

import json

import pytest

from deepfake_detector import registry
from deepfake_detector.errors import DatasetError
from deepfake_detector.types import FAKE, REAL

PUBLISHED = [
    name
    for name in registry.names("datasets")
    if name not in ("folder", "elsa_d3", "aligned", "repainted", "self_blended", "hub", "hemg", "webdataset")
]


def lay_out(root, *names, **texts):
    """Empty files (listing opens none), and files with a text, whose names come with `__` for `/`."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name, text in texts.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def listed(dataset, root):
    """name → (label, generator, group, split)."""
    found = registry.load("datasets", dataset)
    return {s.name: (s.label, s.generator, s.group, s.split) for s in found.scan(root).samples}


def skipped(dataset, root):
    return dict(registry.load("datasets", dataset).scan(root).skipped)


# ---- Celeb-DF

CELEB = ("Celeb-real/id0_0000.mp4", "Celeb-real/id0_0001.mp4", "YouTube-real/00170.mp4", "Celeb-synthesis/id0_id16_0000.mp4")


def celeb(root, testing="1 YouTube-real/00170.mp4\n0 Celeb-synthesis/id0_id16_0000.mp4\n"):
    lay_out(root, *CELEB, "Celeb-real/notes.txt")
    (root / "List_of_testing_videos.txt").write_text(testing)
    return root


def test_celeb_df(tmp_path):
    assert listed("celeb_df", celeb(tmp_path)) == {
        "Celeb-real/id0_0000.mp4": (REAL, "Celeb-real", "id0_0000", "train"),
        "Celeb-real/id0_0001.mp4": (REAL, "Celeb-real", "id0_0001", "train"),
        "Celeb-synthesis/id0_id16_0000.mp4": (FAKE, "Celeb-synthesis", "id0_0000", "test"),
        "YouTube-real/00170.mp4": (REAL, "YouTube-real", "YouTube-real/00170", "test"),
    }
    assert skipped("celeb_df", tmp_path) == {}
    assert all(sample.video == sample.name for sample in registry.load("datasets", "celeb_df").scan(tmp_path).samples)


def test_frames_of_celeb_df(tmp_path):
    lay_out(tmp_path, *(f"{place}/frames/{clip}/{n:03}.png" for place, clip in (name[:-4].split("/") for name in CELEB) for n in range(2)))
    (tmp_path / "List_of_testing_videos.txt").write_text("1 YouTube-real/00170.mp4\n0 Celeb-synthesis/id0_id16_0000.mp4\n")
    frames = listed("celeb_df", tmp_path)
    assert len(frames) == 8
    assert frames["Celeb-synthesis/frames/id0_id16_0000/001.png"] == (FAKE, "Celeb-synthesis", "id0_0000", "test")
    assert skipped("celeb_df", tmp_path) == {}
    assert {sample.video for sample in registry.load("datasets", "celeb_df").scan(tmp_path).samples} == {name[:-4] for name in CELEB}


def test_celeb_df_list_says_one_for_real(tmp_path):
    celeb(tmp_path, "0 YouTube-real/00170.mp4\n1 Celeb-synthesis/id0_id16_0000.mp4\n")  # turned round by somebody
    with pytest.raises(DatasetError, match="1 for real and 0 for fake.*says the opposite"):
        listed("celeb_df", tmp_path)


def test_celeb_df_that_is_not_complete(tmp_path):
    celeb(tmp_path, "1 YouTube-real/00170.mp4\n\n0 Celeb-synthesis/id1_id0_0007.mp4\n")
    assert skipped("celeb_df", tmp_path) == {"Celeb-synthesis/id1_id0_0007.mp4": "in List_of_testing_videos.txt, but not there"}
    (tmp_path / "List_of_testing_videos.txt").unlink()
    assert {split for *_, split in listed("celeb_df", tmp_path).values()} == {""}
    assert "official split is unknown" in skipped("celeb_df", tmp_path)["List_of_testing_videos.txt"]


@pytest.mark.parametrize("text", ["real YouTube-real/00170.mp4", "1", "YouTube-real/00170.mp4", "2 YouTube-real/00170.mp4"])
def test_celeb_df_with_a_broken_list(tmp_path, text):
    with pytest.raises(DatasetError, match="line 1: expected 1"):
        listed("celeb_df", celeb(tmp_path, text))


# ---- FaceForensics++


def test_faceforensics(tmp_path):
    lay_out(
        tmp_path,
        "original_sequences/youtube/c23/videos/000.mp4",
        "original_sequences/youtube/c40/videos/000.mp4",
        "original_sequences/youtube/c23/videos/003.mp4",
        "original_sequences/youtube/c23/videos/071.mp4",
        "original_sequences/actors/raw/videos/01__kitchen_pan.mp4",
        "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4",
        "manipulated_sequences/NeuralTextures/c23/videos/003_000.mp4",
        "manipulated_sequences/DeepFakeDetection/raw/videos/01_02__kitchen_pan__YVGY8LOK.mp4",
        "manipulated_sequences/Deepfakes/c23/masks/000_003.mp4",
    )
    splits = {"train": [["071", "054"]], "val": [["720", "672"]], "test": [["000", "003"]]}
    lay_out(tmp_path, **{f"splits__{name}.json": json.dumps(pairs) for name, pairs in splits.items()})
    assert listed("faceforensics", tmp_path) == {
        "manipulated_sequences/DeepFakeDetection/raw/videos/01_02__kitchen_pan__YVGY8LOK.mp4": (
            FAKE,
            "DeepFakeDetection",
            "actors/01__kitchen_pan",
            "",
        ),
        "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4": (FAKE, "Deepfakes", "000_003", "test"),
        "manipulated_sequences/NeuralTextures/c23/videos/003_000.mp4": (FAKE, "NeuralTextures", "000_003", "test"),
        "original_sequences/actors/raw/videos/01__kitchen_pan.mp4": (REAL, "actors", "actors/01__kitchen_pan", ""),
        "original_sequences/youtube/c23/videos/000.mp4": (REAL, "youtube", "000_003", "test"),
        "original_sequences/youtube/c23/videos/003.mp4": (REAL, "youtube", "000_003", "test"),
        "original_sequences/youtube/c23/videos/071.mp4": (REAL, "youtube", "054_071", "train"),
        "original_sequences/youtube/c40/videos/000.mp4": (REAL, "youtube", "000_003", "test"),
    }
    assert list(skipped("faceforensics", tmp_path)) == ["manipulated_sequences/Deepfakes/c23/masks/000_003.mp4"]


def test_faceforensics_as_kaggle_has_it(tmp_path):
    clips = ("original/000.mp4", "original/003.mp4", "Deepfakes/000_003.mp4", "DeepFakeDetection/01_02__walk__YVGY8LOK.mp4")
    lay_out(tmp_path, *(f"FaceForensics++_C23/{clip}" for clip in clips), "FaceForensics++_C23/csv/Deepfakes.csv")
    assert listed("faceforensics", tmp_path) == {
        "FaceForensics++_C23/DeepFakeDetection/01_02__walk__YVGY8LOK.mp4": (FAKE, "DeepFakeDetection", "actors/01__walk", ""),
        "FaceForensics++_C23/Deepfakes/000_003.mp4": (FAKE, "Deepfakes", "000_003", ""),
        "FaceForensics++_C23/original/000.mp4": (REAL, "youtube", "000_003", ""),
        "FaceForensics++_C23/original/003.mp4": (REAL, "youtube", "000_003", ""),
    }
    with pytest.raises(DatasetError, match="is of the compression c40. Leave out --compression"):
        registry.load("datasets", "faceforensics").scan(tmp_path, compression="c40")


def test_faceforensics_of_one_compression(tmp_path):
    lay_out(tmp_path, *(f"original_sequences/youtube/{c}/videos/000.mp4" for c in ("c0", "c23", "c40")))
    lay_out(tmp_path, "manipulated_sequences/Face2Face/c40/videos/000_003.mp4")
    scan = registry.load("datasets", "faceforensics").scan
    assert [s.name.split("/")[2] for s in scan(tmp_path, compression="raw").samples] == ["c0"]
    assert {(s.name.split("/")[2], s.group) for s in scan(tmp_path, compression="c40").samples} == {("c40", "000_003")}
    assert len(scan(tmp_path).samples) == 4
    (tmp_path / "original_sequences/youtube/c23/videos/000.mp4").unlink()
    with pytest.raises(DatasetError, match="is of the compression c23. Leave out --compression"):
        scan(tmp_path, compression="c23")


def test_faceforensics_without_splits_pairs_by_name(tmp_path):
    lay_out(tmp_path, *(f"original_sequences/youtube/c23/videos/{n}.mp4" for n in ("000", "003", "900")))
    lay_out(tmp_path, "manipulated_sequences/Face2Face/c23/videos/003_000.mp4")
    groups = {name.rpartition("/")[2]: fields[2:] for name, fields in listed("faceforensics", tmp_path).items()}
    assert groups == {"000.mp4": ("000_003", ""), "003.mp4": ("000_003", ""), "900.mp4": ("900", ""), "003_000.mp4": ("000_003", "")}


def test_faceforensics_frames(tmp_path):
    lay_out(tmp_path, "manipulated_sequences/FaceSwap/c23/images/000_003/0001.png", "original_sequences/youtube/c23/images/003/0000.png")
    found = registry.load("datasets", "faceforensics").scan(tmp_path).samples
    assert [(s.video, s.label, s.group) for s in found] == [
        ("manipulated_sequences/FaceSwap/c23/images/000_003", FAKE, "000_003"),
        ("original_sequences/youtube/c23/images/003", REAL, "000_003"),
    ]


@pytest.mark.parametrize("text", ["{", '{"a": 1}', '[["000"]]', "[1]"])
def test_faceforensics_with_broken_splits(tmp_path, text):
    lay_out(tmp_path, "original_sequences/youtube/c23/videos/000.mp4", splits__train=text)
    (tmp_path / "splits/train").rename(tmp_path / "splits/train.json")
    with pytest.raises(DatasetError, match="list of pairs"):
        listed("faceforensics", tmp_path)


# ---- DFDC


def test_dfdc(tmp_path):
    first = {"a.mp4": {"label": "FAKE", "split": "train", "original": "b.mp4"}, "b.mp4": {"label": "REAL", "split": "train"}}
    second = {"c.mp4": {"label": "FAKE", "split": "train", "original": "b.mp4"}, "gone.mp4": {"label": "REAL"}, "odd.mp4": {"label": "?"}}
    lay_out(tmp_path, "dfdc_train_part_0/a.mp4", "dfdc_train_part_0/b.mp4", "dfdc_train_part_1/c.mp4", "dfdc_train_part_1/new.mp4")
    lay_out(tmp_path, "dfdc_train_part_1/odd.mp4")
    (tmp_path / "dfdc_train_part_0/metadata.json").write_text(json.dumps(first))
    (tmp_path / "dfdc_train_part_1/metadata.json").write_text(json.dumps(second))
    assert listed("dfdc", tmp_path) == {
        "dfdc_train_part_0/a.mp4": (FAKE, "dfdc", "b.mp4", "train"),
        "dfdc_train_part_0/b.mp4": (REAL, "real", "b.mp4", "train"),
        "dfdc_train_part_1/c.mp4": (FAKE, "dfdc", "b.mp4", "train"),
    }
    reasons = skipped("dfdc", tmp_path)
    assert reasons["dfdc_train_part_1/gone.mp4"] == "in metadata.json, but not there"
    assert "not in a metadata.json" in reasons["dfdc_train_part_1/new.mp4"]
    assert "'?'" in reasons["dfdc_train_part_1/odd.mp4"]


def test_dfdc_test_set_and_one_folder_alone(tmp_path):
    lay_out(tmp_path, "x.mp4", "y.mp4")
    (tmp_path / "metadata.json").write_text(json.dumps({"x.mp4": {"is_fake": 1}, "y.mp4": {"is_fake": 0}}))
    assert [fields[0] for fields in listed("dfdc", tmp_path).values()] == [FAKE, REAL]


@pytest.mark.parametrize("text", ["", "[]", '{"a.mp4": "FAKE"}'])
def test_dfdc_with_broken_metadata(tmp_path, text):
    lay_out(tmp_path, "a.mp4")
    (tmp_path / "metadata.json").write_text(text)
    with pytest.raises(DatasetError, match="should map clips"):
        listed("dfdc", tmp_path)


# ---- pictures


@pytest.mark.parametrize(
    ("dataset", "name", "fields"),
    [
        ("kaggle_faces", "Dataset/Train/Real/real_0.jpg", (REAL, "openforensics", None, "train")),
        ("kaggle_faces", "Dataset/Validation/Fake/fake_0.jpg", (FAKE, "openforensics", None, "val")),
        ("kaggle_faces", "Test/Fake/fake_1.jpg", (FAKE, "openforensics", None, "test")),
        ("kaggle_faces", "real_vs_fake/real-vs-fake/train/real/00001.jpg", (REAL, "ffhq", None, "train")),
        ("kaggle_faces", "real_vs_fake/real-vs-fake/valid/fake/0A.jpg", (FAKE, "stylegan", None, "val")),
        ("kaggle_faces", "test/fake/0A.jpg", (FAKE, "stylegan", None, "test")),
        ("genimage", "Midjourney/imagenet_midjourney/train/ai/0_mj.png", (FAKE, "Midjourney", None, "train")),
        ("genimage", "BigGAN/val/ai/1.png", (FAKE, "BigGAN", None, "val")),
        ("genimage", "BigGAN/val/nature/ILSVRC2012_val_00000001.JPEG", (REAL, "imagenet", "nature/ILSVRC2012_val_00000001.JPEG", "val")),
        ("cnnspot", "test/progan/cat/0_real/1.png", (REAL, "real", None, "test")),
        ("cnnspot", "test/stylegan/car/1_fake/1.png", (FAKE, "stylegan", None, "test")),
        ("cnnspot", "biggan/1_fake/1.png", (FAKE, "biggan", None, "")),
        ("cnnspot", "train/airplane/1_fake/1.png", (FAKE, "progan", None, "train")),
        ("cnnspot", "progan_val/airplane/1_fake/1.png", (FAKE, "progan", None, "val")),
        ("cnnspot", "test/crn/1_fake/0001.png", (FAKE, "crn", "test/crn/0001", "test")),
        ("videos", "fake/FaceSwap/a.mp4", (FAKE, "FaceSwap", None, "")),
        ("videos", "test/real/a.MOV", (REAL, "real", None, "test")),
    ],
)
def test_one_file(tmp_path, dataset, name, fields):
    label, generator, group, split = fields
    assert listed(dataset, lay_out(tmp_path, name)) == {name: (label, generator, group or name, split)}


@pytest.mark.parametrize(
    ("dataset", "name"), [("genimage", "train/ai/1.png"), ("cnnspot", "1_fake/1.png"), ("cnnspot", "test/1_fake/1.png")]
)
def test_pointed_at_one_generator(tmp_path, dataset, name):
    lay_out(tmp_path / "ADM", name)
    assert [fields[1] for fields in listed(dataset, tmp_path / "ADM").values()] == ["ADM"]


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_nothing_that_fits(tmp_path, dataset):
    load = registry.load("datasets", dataset).scan
    with pytest.raises(DatasetError, match="Expected .* found no such file at all"):
        load(tmp_path)
    lay_out(tmp_path, "elsewhere/a.jpg", "elsewhere/b.mp4")
    with pytest.raises(DatasetError, match="found 'elsewhere/.*Point to"):
        load(tmp_path)
    with pytest.raises(DatasetError, match="is missing"):
        load(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="is a single file"):
        load(tmp_path / "elsewhere/a.jpg")


# ---- as they are really found: on other file systems, below other folders, with other tools' leftovers


def test_celeb_df_test_clips_stay_test_clips_when_converted(tmp_path):
    celeb(tmp_path, "\ufeff1 YouTube-real/00170.mp4\r\n0 Celeb-synthesis/id0_id16_0000.mp4\r\n\r\n")
    (tmp_path / "YouTube-real/00170.mp4").rename(tmp_path / "YouTube-real/00170.MP4")
    (tmp_path / "Celeb-synthesis/id0_id16_0000.mp4").rename(tmp_path / "Celeb-synthesis/id0_id16_0000.mkv")
    splits = {name: split for name, (*_, split) in listed("celeb_df", tmp_path).items()}
    assert splits["YouTube-real/00170.MP4"] == splits["Celeb-synthesis/id0_id16_0000.mkv"] == "test"
    assert splits["Celeb-real/id0_0000.mp4"] == "train"
    assert skipped("celeb_df", tmp_path) == {}


def test_faceforensics_with_some_of_its_splits(tmp_path):
    lay_out(tmp_path, *(f"original_sequences/youtube/c23/videos/{n}.mp4" for n in ("000", "071")))
    lay_out(tmp_path, **{"splits__train": '\ufeff[["071", "054"]]\r\n'})
    (tmp_path / "splits/train").rename(tmp_path / "splits/train.json")
    assert [split for *_, split in listed("faceforensics", tmp_path).values()] == ["", "train"]
    assert "without val.json, test.json the official split of its clips is unknown" in skipped("faceforensics", tmp_path)["splits"]


def test_dfdc_parts_behind_links(tmp_path):
    lay_out(tmp_path / "disk", "a.mp4", "b.mp4")
    metadata = {"a.mp4": {"label": "FAKE", "split": "train", "original": "b.mp4"}, "b.mp4": {"label": "REAL", "original": None}}
    (tmp_path / "disk/metadata.json").write_text("\ufeff" + json.dumps(metadata), encoding="utf-8")
    (tmp_path / "dfdc").mkdir()
    (tmp_path / "dfdc/dfdc_train_part_7").symlink_to(tmp_path / "disk")
    assert listed("dfdc", tmp_path / "dfdc") == {
        "dfdc_train_part_7/a.mp4": (FAKE, "dfdc", "b.mp4", "train"),
        "dfdc_train_part_7/b.mp4": (REAL, "real", "b.mp4", ""),
    }


@pytest.mark.parametrize(
    ("root", "below", "generators"),
    [
        (".", ("Midjourney/imagenet_midjourney", "ADM/imagenet_ai_0508_adm"), {"Midjourney", "ADM"}),
        ("GenImage", ("Midjourney/imagenet_midjourney", "ADM/imagenet_ai_0508_adm"), {"Midjourney", "ADM"}),
        (".", ("Midjourney/imagenet_midjourney",), {"Midjourney"}),
        ("GenImage", ("Midjourney/imagenet_midjourney",), {"Midjourney"}),
        (".", ("imagenet_ai_0419_biggan", "imagenet_glide"), {"imagenet_ai_0419_biggan", "imagenet_glide"}),
    ],
)
def test_genimage_names_generators_wherever_one_points(tmp_path, root, below, generators):
    for place in below:
        lay_out(tmp_path / root / place, "train/ai/1.png", "val/ai/2.PNG", "val/nature/ILSVRC2012_val_00000001.JPEG")
    found = listed("genimage", tmp_path)
    assert {generator for label, generator, *_ in found.values() if label == FAKE} == generators
    assert {generator for label, generator, *_ in found.values() if label == REAL} == {"imagenet"}


@pytest.mark.parametrize(
    ("root", "name", "generator", "split"),
    [
        (".", "dataset/test/progan/train/1_fake/1.png", "progan", "test"),  # a class of ProGAN's is called train
        (".", "dataset/val/train/1_fake/1.png", "progan", "val"),
        (".", "dataset/train/train/1_fake/1.png", "progan", "train"),
        (".", "dataset/train/progan/train/1_fake/1.png", "progan", "train"),
        ("CNN_synth_testset", "progan/train/1_fake/1.png", "progan", "test"),
        ("CNN_synth_testset/progan", "train/1_fake/1.png", "progan", ""),
        ("progan_val", "train/1_fake/1.png", "progan", "val"),
        (".", "CNN_synth_testset/stylegan2/horse/1_fake/1.png", "stylegan2", "test"),
        (".", "UnivFD/diffusion_datasets/ldm_200/1_fake/1.png", "ldm_200", "test"),
    ],
)
def test_cnnspot_wherever_one_points(tmp_path, root, name, generator, split):
    lay_out(tmp_path / root, name, name.replace("train/1_fake", "tvmonitor/1_fake"))
    assert {fields[1::2] for fields in listed("cnnspot", tmp_path / root).values()} == {(generator, split)}
