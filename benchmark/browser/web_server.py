"""Serves the page, LiteRT.js and the models, and takes what the page posts; nothing else.

Every address that is answered stands in a table made at the start, so no path leads elsewhere.
"""

import dataclasses
import hashlib
import http.server
import json
import socketserver
import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from benchmark.browser import hosts
from benchmark.browser.browser import BrowserDevice, TakenError, UnknownPageError
from benchmark.browser.posted import Posted, PostError
from benchmark.device import Case

PAGE = Path(__file__).parent / 'page'
_MOST_BYTES = 1 << 20  # of a post; 20 samples take 500
_IDLE_S = 60.0  # a connection that says nothing for so long is dropped
_KINDS = {
    '.html': 'text/html; charset=utf-8',
    '.css': 'text/css; charset=utf-8',
    '.js': 'text/javascript; charset=utf-8',
    '.wasm': 'application/wasm',
}
_PAGE_FILES = ('index.html', 'style.css', 'page.js', 'server.js', 'timing.js', 'litert.js')
_BUILDS = ('internal', 'compat_internal', 'threaded_internal')  # LiteRT.js picks one by itself


@dataclasses.dataclass(frozen=True)
class Route:
    """A file behind an address.

    Attributes:
      file: where it lies.
      kind: its media type.
      sha256: of the content that alone may be served; None where it may change.
    """

    file: Path
    kind: str
    sha256: str | None = None


class GoneError(ValueError):
    """A file is no longer what it was at the start."""


def runtime_version(page: Path = PAGE) -> str:
    """The runtime that is installed beside the page: 'LiteRT.js 2.5.3'.

    Raises:
      ValueError: none is.
    """
    package = page / 'node_modules/@litertjs/core/package.json'
    try:
        return f'LiteRT.js {json.loads(package.read_text(encoding="utf-8"))["version"]}'
    except (OSError, ValueError, KeyError):
        raise ValueError(
            f'{package} is missing or broken, expected LiteRT.js beside the page; run make web '
            f'(or npm ci in {page})'
        ) from None


def routes_of(cases: Sequence[Case], page: Path = PAGE) -> dict[str, Route]:
    """The files by address.

    Raises:
      ValueError: one of the page's or of LiteRT.js's is missing.
    """
    litert = page / 'node_modules/@litertjs'
    files = {
        '/': page / 'index.html',
        **{f'/{name}': page / name for name in _PAGE_FILES[1:]},
        '/litert/core.js': litert / 'core/dist/index.js',
        '/litert/wasm-utils.js': litert / 'wasm-utils/dist/index.js',
        **{
            f'/litert/wasm/litert_wasm_{build}.{end}': litert
            / f'core/wasm/litert_wasm_{build}.{end}'
            for build in _BUILDS
            for end in ('js', 'wasm')
        },
    }
    for file in files.values():
        if not file.is_file():
            raise ValueError(f'{file} is missing, expected a file of the page; run make web')
    routes = {address: Route(file, _KINDS[file.suffix]) for address, file in files.items()}
    for case in cases:
        route = Route(case.file, 'application/octet-stream', case.sha256)
        routes[f'/models/{case.sha256}'] = route
    return routes


def _content_of(route: Route) -> bytes:
    try:
        content = route.file.read_bytes()
    except OSError as error:
        raise GoneError(
            f'{route.file} cannot be read ({error.strerror}), expected it as it was at the start; '
            'put it back and start the server again'
        ) from None
    if route.sha256 and hashlib.sha256(content).hexdigest() != route.sha256:
        raise GoneError(f'{route.file.name} has changed since the start; start the server again')
    return content


class Server(http.server.ThreadingHTTPServer):
    """The server of one measurement; a context manager that runs it in threads of its own.

    Args:
      address: host, of IPv4 or IPv6, and port; port 0 takes a free one.
      routes: the files by address.
      measurement: what the page shows before it begins, in plain JSON values.
      device: takes what is posted.
      isolated: whether the page is cut off from other origins, which threads in it need.

    Raises:
      ValueError: the address cannot be had.
    """

    daemon_threads = True  # a page that waits for its next job does not hold up the end

    def __init__(
        self,
        address: tuple[str, int],
        routes: dict[str, Route],
        measurement: dict[str, Any],
        device: BrowserDevice,
        *,
        isolated: bool,
    ) -> None:
        self.routes, self.measurement, self.device = routes, measurement, device
        self.isolated, self.host = isolated, address[0]
        try:
            self.address_family, resolved = hosts.resolve(*address)
            super().__init__(resolved, _Handler)
        except (OSError, OverflowError, UnicodeError) as error:
            raise ValueError(
                f'cannot listen on {address[0]}:{address[1]} ({error}); choose another --host or '
                '--port, or stop what listens there'
            ) from None

    def server_bind(self) -> None:
        """Binds without asking a name server for our own name, which can take long."""
        socketserver.TCPServer.server_bind(self)
        host, port = self.server_address[:2]
        self.server_name, self.server_port = str(host), port

    def __enter__(self) -> 'Server':
        threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of a phone that went away in the middle of an answer."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = 'HTTP/1.1'
    timeout = _IDLE_S

    def do_GET(self) -> None:
        if not self._is_ours():
            return
        if self.path.partition('?')[0] == '/measurement':
            self._send_json(HTTPStatus.OK, self.server.measurement)
            return
        route = self.server.routes.get(self.path.partition('?')[0])
        if route is None:
            self._send_error(HTTPStatus.NOT_FOUND, 'nothing is at this address')
            return
        try:
            content = _content_of(route)
        except GoneError as error:
            self._send_error(HTTPStatus.GONE, str(error))
            if route.sha256:  # a model: without it the page never answers
                self.server.device.fail(str(error))
            return
        # A model's address is its hash, so that a phone need not fetch it again each turn.
        keep = 'max-age=86400, immutable' if route.sha256 else 'no-cache'
        self._send(HTTPStatus.OK, route.kind, content, keep)

    def do_POST(self) -> None:
        if not self._is_ours():
            return
        device = self.server.device
        answers: dict[str, Callable[[Posted], dict[str, Any]]] = {
            '/hello': device.hello,
            '/next': device.next,
        }
        answer = answers.get(self.path)
        if answer is None:
            self._refuse(HTTPStatus.NOT_FOUND, 'nothing is at this address')
            return
        body = self._body()
        if body is None:
            return
        try:
            values = answer(Posted(body))
        except PostError as error:
            self._send_error(HTTPStatus.BAD_REQUEST, str(error))
        except TakenError as error:
            self._send_error(HTTPStatus.CONFLICT, str(error))
        except UnknownPageError as error:
            self._send_error(HTTPStatus.UNAUTHORIZED, str(error))
        else:
            self._send_json(HTTPStatus.OK, values)
            device.was_told(values)

    def _is_ours(self) -> bool:
        """Whether the request is for this server; if not, it is refused. See hosts.py."""
        asked = self.headers.get_all('Host', [])
        host, bound = self.server.host, self.server.server_name
        if len(asked) == 1 and hosts.is_ours(asked[0], host, bound):
            return True
        reason = f'{", ".join(asked)[:100]!r} is not this server; open it by its address'
        self._refuse(HTTPStatus.MISDIRECTED_REQUEST, reason)
        return False

    def _body(self) -> bytes | None:
        """What was posted; None when it was refused."""
        # A foreign page may make a browser post here, but neither as JSON nor under our own name.
        origin = self.headers.get('Origin')
        if origin is not None and origin != f'http://{self.headers.get("Host")}':
            self._refuse(HTTPStatus.FORBIDDEN, 'only the page of this server may post')
        elif self.headers.get_content_type() != 'application/json':
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, 'expected application/json')
        elif not (length := self.headers.get('Content-Length', '')).isdecimal():
            self._refuse(HTTPStatus.LENGTH_REQUIRED, 'Content-Length is missing or no number')
        elif len(length) > 9 or int(length) > _MOST_BYTES:
            reason = f'the body has {length[:20]} bytes, expected up to {_MOST_BYTES}'
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason)
        else:
            return self.rfile.read(int(length))
        return None

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        """Answers without having read the body, which therefore ends the connection."""
        self.close_connection = True
        self._send_error(status, reason)

    def _send_error(self, status: HTTPStatus, reason: str) -> None:
        self._send_json(status, {'error': reason})

    def _send_json(self, status: HTTPStatus, values: dict[str, Any]) -> None:
        self._send(status, 'application/json', json.dumps(values).encode(), 'no-store')

    def _send(self, status: HTTPStatus, kind: str, content: bytes, keep: str) -> None:
        self.send_response(status)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(content)))
        self.send_header('Cache-Control', keep)
        self.send_header('X-Content-Type-Options', 'nosniff')
        if self.close_connection:
            self.send_header('Connection', 'close')
        if self.server.isolated:
            self.send_header('Cross-Origin-Opener-Policy', 'same-origin')
            self.send_header('Cross-Origin-Embedder-Policy', 'require-corp')
        self.end_headers()
        self.wfile.write(content)

    def version_string(self) -> str:
        return 'benchmark.web'

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the terminal shows the progress."""
