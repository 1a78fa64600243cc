"""Runs the page until somebody stops it."""

import contextlib
import secrets
import socket
from collections.abc import Callable

from mtn_core.errors import ConfigError
from mtn_core.gallery.embedder import Embedder
from mtn_core.gallery.store import Gallery
from mtn_core.pixel_limit import limited_pixels
from mtn_core.results.threshold import Threshold
from mtn_core.serve.guard import Access, is_loopback
from mtn_core.serve.service import SearchService
from mtn_core.serve.uploads import UploadDecoder, UploadLimits

_MOST_CONNECTIONS = 64
_SHORTEST_TOKEN = 16


def choose_token(host: str, given: str | None) -> str | None:
    """The token that requests must bring: none on loopback, unless one is given.

    Args:
        host: Address to listen on.
        given: By the user.

    Raises:
        ConfigError: It is too short, or does not fit into an address.
    """
    if given is None:
        return None if is_loopback(host) else secrets.token_urlsafe(24)
    plain = all(c.isascii() and (c.isalnum() or c in "-_.~") for c in given)
    if len(given) < _SHORTEST_TOKEN or not plain:
        raise ConfigError(
            f"a token must have at least {_SHORTEST_TOKEN} letters, digits, '-', '_', '.' or '~'"
        )
    return given


def run_server(
    gallery: Gallery,
    embedder: Embedder,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    threshold: Threshold | None = None,
    limits: UploadLimits = UploadLimits(),  # noqa: B008 - frozen
    echo: Callable[[str], None] = print,
) -> None:
    """Serve the page; returns when it is interrupted.

    Args:
        gallery: That is searched.
        embedder: Of its model.
        host: Address to listen on.
        port: 0 takes a free one.
        token: See :func:`choose_token`.
        threshold: Cuts candidates.
        limits: Of uploads.
        echo: Is told the address.

    Raises:
        ConfigError: The address cannot be listened on.
    """
    import uvicorn

    from mtn_core.serve.app import create_app

    listening = _listen(host, port)
    with limited_pixels(limits.pixels), UploadDecoder(limits) as decoder, listening:
        service = SearchService(gallery, embedder, decoder, threshold)
        app = create_app(service, Access(token, limits.bytes))
        address = f"[{host}]" if ":" in host else host
        query = f"?token={token}" if token else ""
        echo(f"open http://{address}:{listening.getsockname()[1]}/{query}  (Ctrl-C ends it)")
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=30,
            server_header=False,
            proxy_headers=False,
            ws="none",
        )
        with contextlib.suppress(KeyboardInterrupt):  # how a server ends
            uvicorn.Server(config).run(sockets=[listening])
        echo("stopped")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"--host {host}: {error.strerror or error}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(_MOST_CONNECTIONS)  # before the address is printed
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"{host} port {port} cannot be listened on: {error.strerror}; choose another --port"
        ) from error
    return listening
