"""Opens the served page in headless Chromium with a script of the test, which says what it saw.

The script comes from the server, as the page's policy wants it; it ends by calling ``done(value)``.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import uvicorn

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
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--enable-logging=stderr",
)
_PRELUDE = """
const errors = [];
window.addEventListener("error", (e) => errors.push(String(e.message)));
document.addEventListener("securitypolicyviolation", (e) => errors.push(`policy ${e.blockedURI}`));
const until = async (is, what) => {
  for (let i = 0; i < 400; i += 1) {
    if (is()) return;
    await new Promise((f) => setTimeout(f, 50));
  }
  throw new Error(`waited in vain for ${what || is}`);
};
const dropFiles = async (...names) => {
  const transfer = new DataTransfer();
  for (const name of names) {
    const answer = await fetch(`/test/${encodeURIComponent(name)}`);
    transfer.items.add(new File([await answer.blob()], name, { type: "image/png" }));
  }
  const event = new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.getElementById("drop").dispatchEvent(event);
};
const done = (value) =>
  fetch("/test/done", { method: "POST", body: JSON.stringify({ value, errors }) });
window.addEventListener("load", async () => {
  try { await act(); } catch (error) { await done(`error: ${error.stack}`); }
});
"""


class _Extended:
    """The application, with the test's script in its page and the test's files beside it."""

    def __init__(self, app, script, crops):
        self.app, self.crops = app, crops
        self.script = f"{_PRELUDE}\nconst act = async () => {{ {script} }};".encode()
        self.result, self.is_done, self.asked = None, threading.Event(), []

    async def __call__(self, scope, receive, send):
        path = scope.get("path", "")
        self.asked.append(path)
        if path == "/test/done":
            body, more = b"", True
            while more:
                message = await receive()
                body, more = body + message.get("body", b""), message.get("more_body", False)
            self.result = json.loads(body)
            self.is_done.set()
            await _answer(send, b"{}", b"application/json")
        elif path == "/test/act.js":
            await _answer(send, self.script, b"text/javascript")
        elif path.startswith("/test/"):
            await _answer(send, self.crops[path.removeprefix("/test/")], b"image/png")
        elif path == "/":
            await self._page(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _page(self, scope, receive, send):
        """Its length changes with the script's tag."""
        start = {}

        async def changed(message):
            if message["type"] == "http.response.start":
                start.update(message)
                return
            tag = b'<script src="/test/act.js" defer></script></head>'
            body = message["body"].replace(b"</head>", tag)
            headers = [h for h in start["headers"] if h[0].lower() != b"content-length"]
            await send({**start, "headers": headers})
            await send({**message, "body": body})

        await self.app(scope, receive, changed)


async def _answer(send, body, kind):
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def served(app):
    """The port of an application that runs in a thread."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()


def _temporary_folder():
    # The browser's helpers may still write while it is removed.
    return tempfile.TemporaryDirectory(ignore_cleanup_errors=True)


def visit(app, script, crops, *, size=(1280, 1000), picture=None, dark=False):
    """Open the page, run the script, and give what it called ``done`` with.

    With ``picture`` a screenshot is taken when it has.
    """
    extended = _Extended(app, script, crops)
    with served(extended) as port, _temporary_folder() as folder:
        command = [
            PROGRAM,
            *_FLAGS,
            f"--window-size={size[0]},{size[1]}",
            f"--user-data-dir={folder}/profile",
            *(["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if dark else []),
            *([f"--screenshot={picture}", "--virtual-time-budget=9000"] if picture else []),
            *([] if picture else ["--remote-debugging-port=0"]),
            f"http://127.0.0.1:{port}/",
        ]
        with open(Path(folder) / "log", "w+") as log:
            browser = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            try:
                if picture:
                    browser.wait(120)
                assert extended.is_done.wait(1 if picture else 90), Path(folder, "log").read_text()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(browser.pid, signal.SIGTERM)
                browser.wait(30)
            log.seek(0)
            console = [line for line in log.read().splitlines() if "CONSOLE" in line]
    return extended.result["value"], extended.result["errors"] + console, extended.asked
