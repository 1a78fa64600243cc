"""Opens a page in headless Chromium, acts on it, and says what happened."""

import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from html import unescape
from pathlib import Path

PROGRAM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr",
)
_BROWSER = "not an origin"  # how a net log names requests of the browser itself
_RESULT_ID = "result-of-the-test"


@dataclass
class Visit:
    """What a visit to a page left behind."""

    dom: str
    console: list[str]
    requests: list[str]
    result: object


def visit(page: Path, script: str = "return null;", *, size=(1280, 1000), flags=()) -> Visit:
    """Open a copy of ``page`` with a script at its end; ``return`` gives the visit's result."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        acted = folder / "page.html"
        text = page.read_text(encoding="utf-8")
        nonce = re.search(r"script-src 'nonce-(\w+)'", text)
        own = f"<script nonce='{nonce[1]}'>" if nonce else "<script>"
        ending = (
            own + "window.addEventListener('load', () => { let answer;"
            f"try {{ answer = (() => {{ {script} }})(); }} catch (e) {{ answer = 'error: ' + e; }}"
            "const out = document.createElement('pre');"
            f"out.id = '{_RESULT_ID}'; out.textContent = JSON.stringify(answer);"
            "document.body.append(out); });</script></body>"
        )
        assert text.count("</body>") == 1
        acted.write_text(text.replace("</body>", ending), encoding="utf-8")
        command = [
            PROGRAM,
            *_FLAGS,
            f"--window-size={size[0]},{size[1]}",
            f"--user-data-dir={folder / 'profile'}",
            f"--log-net-log={folder / 'net.json'}",
            *flags,
            "--dump-dom",
            acted.as_uri(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=True)
        found = re.search(rf'<pre id="{_RESULT_ID}">(.*?)</pre>', done.stdout, re.DOTALL)
        return Visit(
            dom=done.stdout,
            console=[line for line in done.stderr.splitlines() if "CONSOLE" in line],
            requests=_requests(folder / "net.json"),
            result=json.loads(unescape(found[1])) if found and found[1] != "undefined" else None,
        )


def _requests(log: Path) -> list[str]:
    """Addresses that the page asked a network for.

    Its own file and data are none, and neither is what the browser asks on its own account: that
    has no page as its initiator.
    """
    text = log.read_text(encoding="utf-8").rstrip().rstrip(",")
    try:
        events = json.loads(text)["events"]
    except json.JSONDecodeError:  # an interrupted log lacks its last brackets
        events = json.loads(text + "]}")["events"]
    asked = [event.get("params", {}) for event in events]
    urls = [
        params["url"]
        for params in asked
        if params.get("initiator", _BROWSER) != _BROWSER and "url" in params
    ]
    return sorted({url for url in urls if re.match(r"(https?|wss?|ftp):", url)})
