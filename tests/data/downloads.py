"""Small downloads in the official formats, with drawn crops."""

import numpy as np
from PIL import Image

COLORS = ("white", "black", "red", "silver")


def crop(path, pid, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(pid * 100 + shade)
    pixels = np.full((40, 60, 3), (pid * 37 % 200, pid * 91 % 200, shade), np.uint8)
    pixels[10:30, 10:50] = rng.integers(0, 255, 3)
    Image.fromarray(pixels).save(path)


def write_lines(path, rows, end="\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}{end}" for row in rows))


def vehicleid(folder):
    """Four training vehicles; eight test vehicles of three images, and one of a single image."""
    number = 0
    lists = {"train": [], "test": []}
    for pid in range(1, 14):
        for shade in range(1 if pid == 13 else 3):
            number += 1
            crop(folder / "image" / f"{number:07d}.jpg", pid, shade)
            lists["train" if pid < 5 else "test"].append(f"{number:07d} {pid}")
    write_lines(folder / "train_test_split" / "train_list.txt", lists["train"])
    write_lines(folder / "train_test_split" / "test_list_800.txt", lists["test"])
    colors = [f"{pid} {pid % 7}" for pid in range(1, 13)]
    write_lines(folder / "attribute" / "color_attr.txt", colors)


def veriwild(folder, *, header=True, columns=1):
    """Four training vehicles, five test vehicles with one query each."""
    info, lists, number = [], {"train": [], "test": [], "query": []}, 0
    for pid in range(1, 10):
        for camera in (3, 3, 7):
            number += 1
            name = f"{pid:05d}/{number:06d}"
            crop(folder / "images" / f"{name}.jpg", pid, camera)
            color = ("White", "Gray", "Purple")[pid % 3]
            info.append(f"{name};{camera};2018-03-11 13:05:00;Audi A6;Sedan;{color}")
            if pid < 5:
                which, label = "train", pid - 1
            else:
                which, label = ("query" if number % 3 == 1 else "test"), pid
            row = name if columns == 1 else f"{name}.jpg {label} {camera}"
            lists[which].append(row + (" 0 0" if columns == 5 else ""))
    split = folder / "train_test_split"
    train = "train_list.txt" if columns == 1 else "train_list_start0.txt"
    kind = "" if columns == 1 else "_id"
    write_lines(split / train, lists["train"])
    write_lines(split / f"test_3000{kind}.txt", lists["test"])
    write_lines(split / f"test_3000{kind}_query.txt", lists["query"])
    head = ["id/image;Camera ID;Time;Model;Type;Color"] if header else []
    write_lines(split / "vehicle_info.txt", head + info)


def vric(folder, *, separate=False):
    """Four training vehicles; four with a probe and a gallery image each."""
    lists = {"train": [], "probe": [], "gallery": []}
    for pid in range(1, 9):
        shown = pid - 4 if separate and pid > 4 else pid
        for camera in (1, 2):
            kind = "train" if pid < 5 else ("probe" if camera == 1 else "gallery")
            name = f"{shown}_{camera}_{kind}.jpg"
            crop(folder / f"{kind}_images" / name, pid, camera)
            lists[kind].append(f"{name} {shown} {camera}")
    for kind, rows in lists.items():
        write_lines(folder / f"vric_{kind}.txt", rows)


def cityflow(folder, *, encoding="gb2312"):
    """Ten vehicles in two tracks each, at two cameras; three queries and five test images."""
    items, tracks, number = [], [], 0
    for pid in range(1, 11):
        for camera in (1, 12):
            track = []
            for _ in range(2):
                number += 1
                name = f"{number:06d}.jpg"
                crop(folder / "image_train" / name, pid, camera)
                track.append(name)
                items.append(
                    f'<Item imageName="{name}" vehicleID="{pid:04d}" cameraID="c{camera:03d}" />'
                )
            tracks.append(" ".join(track) + " ")
    text = (
        f'<?xml version="1.0" encoding="{encoding}"?>\n<!--车辆-->\n<TrainingImages Version="1.0">'
        f'<Items number="{len(items)}">{"".join(items)}</Items></TrainingImages>'
    )
    (folder / "train_label.xml").write_bytes(text.encode(encoding))
    write_lines(folder / "train_track.txt", tracks)
    for split, count in (("query", 3), ("test", 5)):
        names = [f"{n:06d}.jpg" for n in range(1, count + 1)]
        for n, name in enumerate(names):
            crop(folder / f"image_{split}" / name, n, n)
        write_lines(folder / f"name_{split}.txt", names)


def vehiclex(folder):
    """Four vehicles at two cameras, with orientations."""
    items = []
    for pid in range(1, 5):
        for camera in (1, 2):
            name = f"{pid:04d}_c{camera:03d}_{pid}.jpg"
            crop(folder / "image_train" / name, pid, camera)
            items.append(
                f'<Item typeID="3" imageName="{name}" cameraID="c{camera:03d}" '
                f'vehicleID="{pid:04d}" colorID="11" orientation="{pid * 10.5}" lightInt="0.5" />'
            )
    text = f"<TrainingImages><Items>{''.join(items)}</Items></TrainingImages>"
    (folder / "train_label.xml").write_text(text)


WRITERS = {
    "vehicleid": vehicleid,
    "veriwild": veriwild,
    "vric": vric,
    "cityflow": cityflow,
    "vehiclex": vehiclex,
}
