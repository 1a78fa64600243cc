"""What stands before every request: host, origin, token and size; and headers on every answer.

On loopback anybody on the machine may ask, but not a page of another site that has pointed its name
to 127.0.0.1 (DNS rebinding): the Host header must name loopback. On any other address a token is
needed, in a cookie that the first visit sets, or as ``Authorization: Bearer``.
"""

import hmac
import ipaddress
import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

COOKIE = "mtn_serve"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        token: That a request must bring; None on loopback.
        max_bytes: Of a request's body.
    """

    token: str | None = None
    max_bytes: int = 16_000_000


class TooLargeError(Exception):
    """A body goes on behind the limit, whatever its header said."""


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware.

    Args:
        app: What is guarded.
        access: Who may ask.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], access: Access):
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or let through."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # there are no websockets
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.encode(), value.encode())
                        for name, value in _HEADERS.items()
                        if name.lower().encode() not in there
                    ),
                ]
            await send(message)

        token = _token_in_query(scope)
        refusal = self._refuse(scope, headers, token)
        if refusal is not None:
            await _answer(guarded_send, *refusal)
        elif token is not None and scope["method"] == "GET":
            # Out of the address line, where histories and screenshots would keep it.
            secure = "; Secure" if scope.get("scheme") == "https" else ""
            cookie = f"{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/{secure}"
            await _answer(guarded_send, 303, "", [("Location", "/"), ("Set-Cookie", cookie)])
        else:
            await self.app(scope, self._bounded(receive), guarded_send)

    def _refuse(
        self, scope: Scope, headers: dict[str, str], token: str | None
    ) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if self.access.token is None:
            if not is_loopback(_host_name(host)):
                return 421, (
                    f"the host {host[:100]!r} is not this machine's loopback address; open "
                    "http://127.0.0.1 with the port"
                )
        elif not self._knows(token or _token_of(headers)):
            return 401, (
                "a token is needed: open the address that `mtn serve` has printed, or send it as "
                "`Authorization: Bearer TOKEN`"
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return 403, "a page of another site may not ask here"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            is_visit = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
            if not is_visit:
                return 403, "a page of another site may not ask here"
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return 400, "Content-Length must be a whole number"
        if len(length) > 15 or int(length) > self.access.max_bytes:
            return 413, _too_large(self.access.max_bytes)
        return None

    def _knows(self, token: str | None) -> bool:
        wanted = (self.access.token or "").encode()
        return token is not None and hmac.compare_digest(token.encode(), wanted)

    def _bounded(self, receive: Receive) -> Receive:
        """Count what comes: a body in chunks has no length in its header."""
        count = 0

        async def bounded() -> Message:
            nonlocal count
            message = await receive()
            count += len(message.get("body", b""))
            if count > self.access.max_bytes:
                raise TooLargeError(_too_large(self.access.max_bytes))
            return message

        return bounded


def _too_large(limit: int) -> str:
    return f"an upload may have {limit / 1e6:g} MB; cut the vehicle out, or send fewer crops"


def _host_name(host: str) -> str:
    """Without the port; empty where it is no host."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _token_in_query(scope: Scope) -> str | None:
    given = parse_qs(scope["query_string"].decode("latin-1")).get("token")
    return given[0] if given and scope["path"] == "/" else None


def _token_of(headers: dict[str, str]) -> str | None:
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return cookie.value if cookie else None


async def _answer(
    send: Send, status: int, error: str, headers: list[tuple[str, str]] | None = None
) -> None:
    body = json.dumps({"error": error}).encode() if error else b""
    given = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in given + (headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
