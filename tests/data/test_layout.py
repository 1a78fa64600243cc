"""Where the files of a data set lie."""

from mtn_core.data.layout import label_path, present_splits, split_folder


def test_a_split_is_present_by_its_labels_or_by_its_images(tmp_path):
    assert present_splits(tmp_path) == []
    label_path(tmp_path, "query").parent.mkdir()
    label_path(tmp_path, "query").touch()
    split_folder(tmp_path, "image", "train").mkdir()
    assert present_splits(tmp_path) == ["train", "query"]
