"""Serves web/ and the tests' own pages on 127.0.0.1, which browsers take for a secure place."""

import http.server
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from . import tools

PAGES = tools.ROOT / "Tests" / "EndToEnd" / "pages"
WEB = tools.ROOT / "web"

# The first word of a path to its folder; everything else is in web/.
FOLDERS = {"pages": PAGES, "pglite": tools.TOOLS / "pglite"}


class _Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }
    protocol_version = "HTTP/1.1"

    def __init__(self, *words, folders: Mapping[str, Path], headers: Mapping[str, str], **more):
        self._folders = folders
        self._headers = headers
        super().__init__(*words, **more)

    def end_headers(self) -> None:
        for name, value in self._headers.items():
            self.send_header(name, value)
        super().end_headers()

    def translate_path(self, path: str) -> str:
        words = [word for word in path.split("?")[0].split("#")[0].split("/") if word not in ("", ".")]
        if ".." in words:
            return "/nonexistent"
        if words and words[0] in self._folders:
            return str(self._folders[words[0]].joinpath(*words[1:]))
        return str(WEB.joinpath(*words))

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class PageServer:
    """A server on a port of its own choosing; it may have more folders, and send more headers."""

    def __init__(
        self, folders: Mapping[str, Path] | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        handler = partial(_Handler, folders=FOLDERS | dict(folders or {}), headers=headers or {})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
