"""What stands behind the daemon in a pipeline: takes OTLP, answers as it is told, and can go away."""

import gzip
import http.server
import threading

from .process import free_port


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        line = self.server.line
        body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
        status = line.status(body)
        line.seen.append((status, self.headers.get("Authorization")))
        if status == 200:
            line.take(body)
        self.send_response(status)
        for name, value in line.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class NextInLine:
    """`status(body)` decides the answer, which has `headers`; `take(body)` gets what was answered
    200, just before; `seen`: the status and the Authorization of each request."""

    def __init__(self):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.status, self.take = lambda body: 200, lambda body: None
        self.headers, self.seen = {}, []

    def start(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.line = self
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        return self

    def stop(self):
        """Connections are refused from now on, until start()."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
