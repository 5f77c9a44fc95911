#!/usr/bin/env python3
"""Serves the example page and the engine, to this machine only.

    web/serve.py [--port PORT] [--engine FOLDER]

Prints the URL on the first line. The folder of this file is served as it is, and the engine
(pglite.wasm and data.tar.gz, made by scripts/pglite-engine) under /pglite/.
"""

import argparse
import sys
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WEB = Path(__file__).resolve().parent
ENGINE = WEB.parent / ".build-test-tools" / "pglite"
ENGINE_FILES = ("pglite.wasm", "data.tar.gz")
PREFIX = "/pglite/"


class Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    extensions_map = {
        "": "application/octet-stream",
        ".css": "text/css; charset=utf-8",
        ".gz": "application/gzip",
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".mjs": "text/javascript; charset=utf-8",
        ".ts": "text/plain; charset=utf-8",
        ".wasm": "application/wasm",
    }

    def __init__(self, *args, engine: Path, **options):
        self.engine = engine
        super().__init__(*args, directory=str(WEB), **options)

    def do_GET(self):
        if self.path.split("?")[0] in ("/", "/index.html"):
            # The query is kept: the page reads the relay's address out of it.
            query = self.path.partition("?")[2]
            self.send_response(HTTPStatus.FOUND)
            self.send_header("Location", "/example/" + (f"?{query}" if query else ""))
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            super().do_GET()

    def translate_path(self, path: str) -> str:
        name = path.split("?")[0].split("#")[0]
        if name.startswith(PREFIX):
            file = name.removeprefix(PREFIX)
            return str(self.engine / file) if file in ENGINE_FILES else ""
        return super().translate_path(path)

    def list_directory(self, path):
        self.send_error(HTTPStatus.NOT_FOUND)

    def end_headers(self):
        # A browser asks whether a file has changed each time, and is told so without its bytes.
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True


def main() -> None:
    parser = argparse.ArgumentParser(description="Serves the example page on this machine.")
    parser.add_argument("--port", type=int, default=0, help="0, the default: any free one")
    parser.add_argument("--engine", type=Path, default=ENGINE, help="default: %(default)s")
    chosen = parser.parse_args()
    missing = [name for name in ENGINE_FILES if not (chosen.engine / name).is_file()]
    if missing:
        sys.exit(f"{chosen.engine} has no {' and no '.join(missing)}: run scripts/pglite-engine")
    with Server(("127.0.0.1", chosen.port), partial(Handler, engine=chosen.engine)) as server:
        print(f"http://127.0.0.1:{server.server_port}/example/", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
