"""An HTTP proxy in front of one server, which answers in its place, breaks connections off, or dawdles, as a rule says."""

import collections
import http.client
import http.server
import threading
import time

Request = collections.namedtuple("Request", "method path number")  # number: of the requests with this method and path, from 0


class Answer(collections.namedtuple("Answer", "status body headers", defaults=("", {}))):
    """What is answered in place of the server. The answer to a HEAD has no body, as everywhere."""


class CutRequest(collections.namedtuple("CutRequest", "after")):
    """The connection breaks after that many bytes of the request's body; the server sees nothing."""


class CutResponse(collections.namedtuple("CutResponse", "after")):
    """The connection breaks after that many bytes of the response's body."""


class Slow(collections.namedtuple("Slow", "piece seconds")):
    """The response's body comes in pieces of that many bytes, each so many seconds after the one before it."""


def s3_error(status, code, message, **headers):
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message><RequestId>1</RequestId></Error>'
    return Answer(status, body, headers)


class BadNetwork:
    """`with BadNetwork(port, rule) as network`: `rule(request)` returns a fault or None. `network.requests` is what came, `network.faults` what was done."""

    def __init__(self, port, rule=lambda request: None):
        self.target, self.rule = port, rule
        self.requests, self.faults = [], []
        self._seen, self._lock = collections.Counter(), threading.Lock()
        network = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except (ConnectionError, TimeoutError):
                    self.close_connection = True

            def do_GET(self):
                network._serve(self)

            do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

            def log_message(self, *arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *failure):
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, handler):
        with self._lock:
            key = handler.command, handler.path
            request = Request(*key, self._seen[key])
            self._seen[key] += 1
            self.requests.append((request, {name.lower(): value for name, value in handler.headers.items()}))
            fault = self.rule(request)
            if fault:
                self.faults.append((request, fault))
        length = int(handler.headers.get("Content-Length", 0))
        if isinstance(fault, CutRequest):
            handler.rfile.read(min(length, fault.after))
            handler.close_connection = True
            return
        body = handler.rfile.read(length)
        if isinstance(fault, Answer):
            self._answer(handler, fault.status, fault.headers.items(), fault.body.encode(), None)
            return
        server = http.client.HTTPConnection("127.0.0.1", self.target, timeout=60)
        try:
            server.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
            for name, value in handler.headers.items():
                if name.lower() not in ("expect", "connection"):
                    server.putheader(name, value)
            server.endheaders(body or None)
            response = server.getresponse()
            content = response.read()
            headers = [(name, value) for name, value in response.getheaders() if name.lower() not in ("connection", "transfer-encoding", "content-length")]
            size = response.getheader("Content-Length") if handler.command == "HEAD" else None
        finally:
            server.close()
        self._answer(handler, response.status, headers, content, fault, size)

    @staticmethod
    def _answer(handler, status, headers, content, fault, size=None):
        handler.send_response_only(status)
        for name, value in headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", size or str(len(content)))
        handler.end_headers()
        if handler.command == "HEAD":
            return
        if isinstance(fault, CutResponse):
            handler.wfile.write(content[: fault.after])
            handler.close_connection = True
        elif isinstance(fault, Slow):
            for begin in range(0, len(content), fault.piece):
                handler.wfile.write(content[begin : begin + fault.piece])
                handler.wfile.flush()
                time.sleep(fault.seconds)
        else:
            handler.wfile.write(content)
