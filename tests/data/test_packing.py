"""Packs: the same batches as from folders, and never silently wrong ones."""

import errno
import json
import logging
import os
import shutil
import threading
import time

import cv2
import numpy as np
import pytest

from mtn_core.config import DataConfig, ModelConfig
from mtn_core.data import source as source_module
from mtn_core.data.check import check_dataset
from mtn_core.data.packs import manifest as manifests
from mtn_core.data.packs import read as pack_reader
from mtn_core.data.packs import write as packing
from mtn_core.data.packs.manifest import MANIFEST_NAME, Manifest, pack_folder
from mtn_core.data.packs.read import PackedSource, open_pack
from mtn_core.data.packs.write import pack_dataset
from mtn_core.data.pipeline import EvalLoader, TrainLoader
from mtn_core.data.source import FolderReader, open_source
from mtn_core.data.split import load_split
from mtn_core.errors import DataError, RunFolderError

DATA = DataConfig(ids_per_batch=4, images_per_id=4, erasing=0.3, color_jitter=0.2)
MODEL = ModelConfig(image_size=64, heatmaps=True, segments=True)


def opened(split, **options):
    return open_source(split, **{"heatmaps": True, "segments": True, **options})


def reader_of(split, **options):
    (reader,) = opened(split, **options)._readers
    return reader


def read(split, kind, packed):
    source = opened(split, packed=packed)
    if kind == "train":
        loader = TrainLoader(source, config=DATA, model=MODEL, seed=1)
    else:
        loader = EvalLoader(source, model=MODEL, batch_size=4)
    with loader:
        return list(loader) + list(loader)


def test_batches_are_bit_for_bit_those_of_the_folders(packed_root):
    for kind in ("train", "query", "test"):
        split = load_split(packed_root, kind)
        assert isinstance(reader_of(split), PackedSource)
        assert isinstance(reader_of(split, packed=False), FolderReader)
        from_pack, from_folder = (read(split, kind, packed) for packed in (True, False))
        assert len(from_pack) == len(from_folder)
        for a, b in zip(from_pack, from_folder, strict=True):
            assert a.keys() == b.keys()
            for name in a:
                np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_single_images_and_maps_are_bit_for_bit_the_same(packed_root):
    split = load_split(packed_root, "test")
    rows = [8, 0, 3, 3, 1, 0, 2, 4, 5, 6, 7, 8, 8]  # more than there are, in any order
    pack = open_pack(split, heatmaps=True, segments=True)
    pairs = zip(pack.samples(rows), FolderReader(split).samples(rows), strict=True)
    for packed, plain in pairs:
        np.testing.assert_array_equal(packed.image(), plain.image())
        np.testing.assert_array_equal(packed.heatmaps(), plain.heatmaps())
        np.testing.assert_array_equal(packed.segments(), plain.segments())
        for read in ("heatmaps", "segments"):
            enlarged = [getattr(sample, read)(enlarged=True) for sample in (packed, plain)]
            assert enlarged[0].shape[1:] == (72, 72)
            np.testing.assert_array_equal(*enlarged)


def test_a_pack_holds_labels_and_keypoints_in_mindrecord(packed_root):
    from mindspore.mindrecord import FileReader

    split = load_split(packed_root, "train")
    manifest = Manifest.load(pack_folder(packed_root, "train"))
    assert [shard.rows for shard in manifest.shards] == [7, 7, 4]
    row = 0
    for shard in manifest.shards:
        reader = FileReader(str(pack_folder(packed_root, "train") / shard.name))
        for record in reader.get_next():
            label = split.frame.iloc[row]
            assert record["row"] == row
            assert record["name"] == label["name"]
            for column in ("pid", "camid", "color_id", "type_id"):
                assert record[column] == label[column]
            np.testing.assert_array_equal(record["keypoints"], split.keypoints[row].ravel())
            assert bytes(record["image"]) == split.image_path(row).read_bytes()
            row += 1
        reader.close()
    assert row == len(split)


def test_one_decompression_for_36_maps(packed_root, monkeypatch):
    import zstandard

    split = load_split(packed_root, "query")
    calls = []

    class Counting:
        def stream_reader(self, data):
            calls.append(len(data))
            return zstandard.ZstdDecompressor().stream_reader(data)

    monkeypatch.setattr(pack_reader, "_decompressor", Counting)
    sample = next(open_pack(split, heatmaps=True, segments=False).samples([1]))
    assert sample.heatmaps().shape == (36, 64, 64)
    assert len(calls) == 1


def test_a_moved_data_set_keeps_its_pack(packed_root, tmp_path):
    moved = tmp_path / "elsewhere"
    packed_root.rename(moved)
    split = load_split(moved, "train")
    assert len(read(split, "train", True)) > 0
    assert isinstance(reader_of(split), PackedSource)


def test_packed_files_are_readable_by_others(packed_root):
    for path in pack_folder(packed_root, "train").iterdir():
        assert path.stat().st_mode & 0o044 == 0o044, path


def test_leaving_an_epoch_leaves_no_thread(packed_root):
    split = load_split(packed_root, "train")
    before = threading.active_count()
    loader = TrainLoader(opened(split), config=DATA, model=MODEL, seed=1)
    for _ in loader:
        break
    assert threading.active_count() == before


def test_packing_anew_needs_overwrite(packed_root):
    with pytest.raises(RunFolderError, match=r"pack_train exists; add --overwrite"):
        pack_dataset(packed_root, progress=False)
    pack_dataset(packed_root, overwrite=True, progress=False)


def test_without_maps_a_pack_has_none(tiny_root, caplog):
    for kind in ("heatmap", "segment"):
        for split in ("train", "query", "test"):
            (tiny_root / "veri" / f"{kind}_{split}").rename(tiny_root / f"{kind}_{split}")
    manifest = pack_dataset(tiny_root, progress=False)["train"]
    assert manifest.heatmaps is None
    split = load_split(tiny_root, "train")
    assert open_pack(split, heatmaps=False, segments=False) is not None
    for kind in ("heatmap", "segment"):
        (tiny_root / f"{kind}_train").rename(tiny_root / "veri" / f"{kind}_train")
    assert open_pack(split, heatmaps=True, segments=False) is None
    assert "it was made without heatmaps" in caplog.text
    assert isinstance(reader_of(split, segments=False), FolderReader)


def touch(path):
    later = time.time_ns() + 10**9
    os.utime(path, ns=(later, later))


def rewrite_label(root):
    path = root / "veri" / "label_train.csv"
    first, *rest = path.read_text().splitlines(keepends=True)
    cells = first.split(",")
    cells[3] = "9"
    path.write_text("".join([",".join(cells), *rest]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root, split: touch(split.image_path(3)), "images changed since it was made"),
        (lambda root, split: touch(split.heatmap_dir(3) / "20.jpg"), "heatmaps changed since"),
        (lambda root, split: touch(split.segment_dir(3) / "02.jpg"), "segments changed since"),
        (lambda root, split: rewrite_label(root), "the label file changed since"),
    ],
)
def test_a_stale_pack_is_not_used_and_says_why(packed_root, caplog, change, message):
    change(packed_root, load_split(packed_root, "train"))
    split = load_split(packed_root, "train")
    with caplog.at_level(logging.WARNING):
        assert isinstance(reader_of(split), FolderReader)
    assert message in caplog.text
    assert "reading plain folders. Run mtn pack --overwrite" in caplog.text


def test_changed_maps_do_not_matter_to_a_run_without_them(packed_root):
    split = load_split(packed_root, "train")
    touch(split.heatmap_dir(3) / "20.jpg")
    assert open_pack(split, heatmaps=False, segments=True) is not None


def test_newer_maps_reach_the_network(packed_root):
    """Not only a warning: the batch holds the new map."""
    split = load_split(packed_root, "test")
    path = split.heatmap_dir(0) / "00.jpg"
    cv2.imwrite(str(path), np.full((64, 64), 77, np.uint8))
    batch = read(split, "test", True)[0]
    assert abs(int(batch["heatmaps"][0, 0, 30, 30]) - 77) <= 2


def test_a_pack_of_another_version_is_not_used(packed_root, caplog):
    path = pack_folder(packed_root, "train") / MANIFEST_NAME
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "version": 0, "something": "else"}))
    split = load_split(packed_root, "train")
    assert open_pack(split, heatmaps=True, segments=True) is None
    assert "it has version 0, this program reads version 2" in caplog.text


def test_a_pack_of_another_opencv_is_not_used(packed_root, caplog):
    """It holds maps that OpenCV enlarged, which another release may round otherwise."""
    path = pack_folder(packed_root, "train") / MANIFEST_NAME
    path.write_text(path.read_text().replace(cv2.__version__, "1.0"))
    assert open_pack(load_split(packed_root, "train"), heatmaps=True, segments=True) is None
    assert f"made with OpenCV 1.0, this is {cv2.__version__}" in caplog.text


@pytest.mark.parametrize("suffix", ["", ".db"])
@pytest.mark.parametrize("share", [0, 0.5, 0.999])
def test_a_pack_that_was_cut_short_is_an_error(packed_root, suffix, share):
    path = pack_folder(packed_root, "train") / f"shard-001.mindrecord{suffix}"
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.truncate(int(share * size))
    split = load_split(packed_root, "train")
    with pytest.raises(DataError) as error:
        open_pack(split, heatmaps=True, segments=True)
    text = str(error.value)
    assert f"{path.name} has {int(share * size)} bytes, expected {size} bytes" in text
    assert "run mtn pack --overwrite" in text


def test_check_looks_at_packs(packed_root):
    assert check_dataset(packed_root).ok
    split = load_split(packed_root, "query")
    touch(split.heatmap_dir(0) / "00.jpg")
    notes = " ".join(str(n) for n in check_dataset(packed_root).notes)
    assert "pack_query: not used: heatmaps changed since it was made; run mtn pack" in notes
    (pack_folder(packed_root, "test") / "shard-000.mindrecord").unlink()
    (problem,) = check_dataset(packed_root).problems
    assert "shard-000.mindrecord is missing" in str(problem)


def test_a_missing_shard_is_an_error(packed_root):
    (pack_folder(packed_root, "train") / "shard-002.mindrecord").unlink()
    with pytest.raises(DataError, match=r"shard-002\.mindrecord is missing"):
        open_pack(load_split(packed_root, "train"), heatmaps=False, segments=False)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"version": 2}', '{"version": "x"}'])
def test_a_broken_manifest_is_an_error(packed_root, text):
    (pack_folder(packed_root, "train") / MANIFEST_NAME).write_text(text)
    with pytest.raises(DataError, match=r"is damaged: manifest\.json cannot be read"):
        open_pack(load_split(packed_root, "train"), heatmaps=False, segments=False)


def flip(path, offsets):
    data = bytearray(path.read_bytes())
    for offset in offsets:
        data[offset] ^= 0xFF
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("suffix", ["", ".db"])
@pytest.mark.parametrize("place", ["the start", "the middle", "the end", "all zero"])
def test_a_shard_with_other_bytes_is_not_read(packed_root, suffix, place):
    """Of the same length; MindRecord's reader would end the process, or give another picture."""
    path = pack_folder(packed_root, "query") / f"shard-000.mindrecord{suffix}"
    size = path.stat().st_size
    if place == "all zero":
        path.write_bytes(bytes(size))
    else:
        flip(
            path,
            range({"the start": 0, "the middle": size // 2, "the end": size - 5}[place], size)[:5],
        )
    with pytest.raises(DataError, match=rf"the content of {path.name} is not what was written"):
        open_pack(load_split(packed_root, "query"), heatmaps=True, segments=True)
    (problem,) = check_dataset(packed_root).problems
    assert f"the content of {path.name}" in str(problem)


def test_folders_serve_where_a_pack_is_damaged(packed_root, caplog, monkeypatch):
    split = load_split(packed_root, "query")
    whole = read(split, "query", True)
    flip(pack_folder(packed_root, "query") / "shard-000.mindrecord", range(5000, 5040))
    with caplog.at_level(logging.WARNING):
        assert isinstance(reader_of(split), FolderReader)
    assert "reading plain folders meanwhile" in caplog.text
    for first, second in zip(whole, read(split, "query", True), strict=True):
        np.testing.assert_array_equal(first["heatmaps"], second["heatmaps"])

    def absent(*arguments, **needs):
        raise DataError("folder is missing")

    monkeypatch.setattr(source_module, "check_needed_files", absent)
    with pytest.raises(DataError, match=r"the content of shard-000\.mindrecord"):
        opened(split)


def test_damaged_maps_are_an_error_not_a_wrong_tensor(packed_root, monkeypatch):
    """The block of maps has a checksum of its own, for memory that fails after the check."""
    monkeypatch.setattr(pack_reader, "_check_shards", lambda *arguments: None)
    path = pack_folder(packed_root, "query") / "shard-000.mindrecord"
    start = path.read_bytes().index(b"\x28\xb5\x2f\xfd")
    flip(path, range(start + 40, start + 60))
    with pytest.raises(DataError, match=r"its packed (heatmaps|segments) are damaged"):
        read(load_split(packed_root, "query"), "query", True)


def test_a_pack_of_other_rows_is_an_error(packed_root):
    """Shards swapped under an unchanged manifest: the row numbers do not fit."""
    folder = pack_folder(packed_root, "train")
    values = json.loads((folder / MANIFEST_NAME).read_text())
    values["shards"] = values["shards"][::-1]
    (folder / MANIFEST_NAME).write_text(json.dumps(values))
    with pytest.raises(DataError, match=r"is row \d+ but the pack gives row \d+"):
        read(load_split(packed_root, "train"), "train", True)


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("moment", ["first shard", "later shard", "manifest", "mindrecord"])
def test_a_full_disk_leaves_the_old_pack_as_it_was(packed_root, monkeypatch, moment):
    folder = pack_folder(packed_root, "train")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    if moment == "manifest":
        monkeypatch.setattr(manifests, "write_json", full_disk)
    elif moment == "mindrecord":
        from mindspore.mindrecord import FileWriter

        def fail(self, *_, **__):
            raise RuntimeError("[ERROR] Failed to write file, no space left on device.")

        monkeypatch.setattr(FileWriter, "write_raw_data", fail)
    else:
        real, calls = packing._write_shard, []

        def sometimes(*args, **options):
            calls.append(1)
            if moment == "first shard" or len(calls) == 2:
                full_disk()
            return real(*args, **options)

        monkeypatch.setattr(packing, "_write_shard", sometimes)
    with pytest.raises(DataError, match=r"(?i)packing train failed .*no space left.*as it was"):
        pack_dataset(packed_root, overwrite=True, rows_per_shard=7, progress=False)
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert len(list((packed_root / "veri").glob(".pack*"))) == 0, "nothing half-made is left"
    assert open_pack(load_split(packed_root, "train"), heatmaps=True, segments=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX resource limits")
def test_a_file_size_limit_stops_packing_cleanly(tiny_root):
    """The system itself refuses to write more: MindRecord's own error becomes ours."""
    import subprocess
    import sys

    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))\n"
        "from mtn_core.cli import main\n"
        f"sys.exit(main(['pack', '--root', {str(tiny_root)!r}, '--splits', 'train']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "error: packing train failed" in done.stderr
    assert not pack_folder(tiny_root, "train").exists()


def test_a_broken_image_stops_packing_and_is_named(packed_root):
    split = load_split(packed_root, "train")
    split.image_path(9).write_bytes(b"broken")
    before = sorted(p.stat().st_mtime_ns for p in pack_folder(packed_root, "train").iterdir())
    with pytest.raises(DataError, match=split.image_path(9).name):
        pack_dataset(packed_root, overwrite=True, progress=False)
    after = sorted(p.stat().st_mtime_ns for p in pack_folder(packed_root, "train").iterdir())
    assert before == after


def test_a_pack_without_a_manifest_is_no_pack(packed_root):
    (pack_folder(packed_root, "train") / MANIFEST_NAME).unlink()
    split = load_split(packed_root, "train")
    assert open_pack(split, heatmaps=False, segments=False) is None
    shutil.rmtree(pack_folder(packed_root, "train"))
    assert open_pack(split, heatmaps=False, segments=False) is None
