from dataclasses import replace

from mtn_core.data.leaks import find_shared_ids, find_shared_images, warn_of_leaks
from mtn_core.data.split import Split, load_split


def with_pid(split, row, pid):
    frame = split.frame.copy()
    frame.loc[row, "pid"] = pid
    return replace(split, frame=frame)


def test_good_splits_share_nothing(tiny_root):
    train, query, test = (load_split(tiny_root, name) for name in ("train", "query", "test"))
    assert find_shared_ids(train, [query, test]) == []
    assert find_shared_images(train, [query, test]) == []
    assert find_shared_ids(train, []) == []


def test_shared_ids_are_sorted_and_come_once(tiny_root):
    train, query, test = (load_split(tiny_root, name) for name in ("train", "query", "test"))
    test = with_pid(with_pid(with_pid(test, 0, 5), 1, 2), 2, 5)
    query = with_pid(query, 0, 2)
    assert find_shared_ids(train, [query, test]) == [2, 5]
    assert find_shared_ids(train, [query]) == [2]


def test_only_rows_that_are_trained_on_count(tiny_root):
    train = load_split(tiny_root, "train")
    held_out = train.take(train.frame["pid"].to_numpy() > 4)
    kept = train.take(train.frame["pid"].to_numpy() <= 4)
    assert find_shared_ids(kept, [held_out]) == []
    assert find_shared_ids(train, [held_out]) == [5, 6]
    assert find_shared_images(train, [held_out]) == held_out.frame["name"].tolist()


def test_ids_of_joined_roots_are_those_of_their_files(tiny_root, tmp_path):
    """Joining raises the second root's ids; numbers of another root are other vehicles."""
    other = tmp_path / "other"
    other.symlink_to(tiny_root)
    train, test = load_split(tiny_root, "train"), load_split(tiny_root, "test")
    foreign = replace(train, root=tmp_path / "synthetic")
    joined = Split.join([foreign, train])
    assert find_shared_ids(joined, [with_pid(test, 0, 3)]) == [3]
    assert find_shared_ids(foreign, [with_pid(test, 0, 3)]) == []
    assert find_shared_ids(joined, [replace(with_pid(test, 0, 3), root=other)]) == [3]


def test_a_root_with_leaks_is_named_whichever_splits_are_loaded(tiny_root, caplog):
    train, test = load_split(tiny_root, "train"), load_split(tiny_root, "test")
    warn_of_leaks(tiny_root)
    assert not caplog.records
    warn_of_leaks(tiny_root, with_pid(test, 0, 5))
    warn_of_leaks(tiny_root, with_pid(train, 0, int(test.frame["pid"][0])))
    for record in caplog.records:
        assert f"1 vehicles and 0 images of the test in {tiny_root}" in record.message
    assert len(caplog.records) == 2
    (tiny_root / "veri" / "label_train.csv").write_text("broken")
    warn_of_leaks(tiny_root, with_pid(test, 0, 5))
    assert len(caplog.records) == 2
