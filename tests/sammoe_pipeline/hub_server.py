"""A Hugging Face hub of one file on this machine, with the hub's redirect to another host for large files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class HubServer:
    """What the hub serves, how it fails, and what it was asked.

    Attributes:
        repository: whose `main` has the file.
        file: its name.
        content: its bytes.
        announced: SHA-256 that the hub gives.
        breaks_after: bytes after which the connection is cut, once; then the file is gone, until this is None again.
        requests: method, path and range of each request.
        tokens: credentials that came with requests.
        endpoint: address.
    """

    repository: str
    file: str
    content: bytes
    announced: str = ""
    breaks_after: int | None = None
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    endpoint: str = ""
    broke: bool = False

    def __post_init__(self) -> None:
        self.announced = self.announced or hashlib.sha256(self.content).hexdigest()

    @property
    def ranges(self) -> list[str | None]:
        """Ranges of the requests for the content itself."""
        return [wanted for method, path, wanted in self.requests if method == "GET" and path.startswith("/cdn/")]


@contextmanager
def serve(hub: HubServer) -> Iterator[HubServer]:
    """Serves until the context ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self) -> None:
            hub.requests.append((self.command, self.path, self.headers.get("Range")))
            if token := self.headers.get("Authorization"):
                hub.tokens.add(token)
            pages = {f"/{hub.repository}/resolve/{revision}/{hub.file}" for revision in ("main", COMMIT)}
            if self.path in pages:
                self._redirect()
            elif self.path == "/cdn/file" and not hub.broke:
                self._send_content()
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def _redirect(self) -> None:
            self.send_response(302)
            # Another host name, as for a real content network.
            self.send_header("Location", f"http://localhost:{self.server.server_address[1]}/cdn/file")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("X-Linked-Etag", f'"{hub.announced}"')
            self.send_header("X-Linked-Size", str(len(hub.content)))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _send_content(self) -> None:
            begin = re.match(r"bytes=(\d+)-", self.headers.get("Range") or "")
            start = int(begin[1]) if begin else 0
            self.send_response(206 if begin else 200)
            if begin:
                self.send_header("Content-Range", f"bytes {start}-{len(hub.content) - 1}/{len(hub.content)}")
            self.send_header("Content-Length", str(len(hub.content) - start))
            self.end_headers()
            if hub.breaks_after is None:
                self.wfile.write(hub.content[start:])
            else:
                self.wfile.write(hub.content[start : hub.breaks_after])
                hub.broke = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
