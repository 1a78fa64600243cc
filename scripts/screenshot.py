"""A picture of an HTML page by headless Chromium: ``screenshot.py PAGE.html PICTURE.png``."""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 1000), metavar=("W", "H"))
    parser.add_argument("--dark", action="store_true", help="in dark colours")
    parser.add_argument("--colors", type=int, default=128, help="of the PNG's palette (128)")
    args = parser.parse_args()
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        print("no chromium found; Debian has it: apt-get install chromium", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        page, raw = Path(folder) / "page.html", Path(folder) / "picture.png"
        text = args.page.read_text(encoding="utf-8")
        if args.dark:
            text = text.replace("<html lang", '<html data-theme="dark" lang', 1)
        page.write_text(text, encoding="utf-8")
        command = [program, *FLAGS, f"--user-data-dir={folder}/profile"]
        command += [f"--window-size={args.size[0]},{args.size[1]}", f"--screenshot={raw}"]
        subprocess.run([*command, page.as_uri()], check=True, capture_output=True, timeout=300)
        picture = Image.open(raw).convert("RGB").quantize(args.colors)
        args.picture.parent.mkdir(parents=True, exist_ok=True)
        picture.save(args.picture, optimize=True)
    print(f"{args.picture}: {args.picture.stat().st_size / 1024:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
