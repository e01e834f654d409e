"""What a bench needs: servers on loopback, a load from wrk, and the processor time a server spent."""

import contextlib
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build/release"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition, what, seconds=60.0, pause=0.005):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(pause)
    raise RuntimeError(f"{what}: not within {seconds:.0f} s")


def http(method, url, body=None, headers=None):
    request = urllib.request.Request(url, method=method, headers=headers or {},
                                     data=None if body is None else json.dumps(body).encode())
    if body is not None:
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read()
    return json.loads(text) if text.startswith((b"{", b"[")) else text.decode()


class Server:
    """A process that is measured; stopped when the with-block ends."""

    def __init__(self, arguments, environment=None, talks=False):
        """`talks`: somebody reads its standard output; else it goes where the errors go."""
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([str(a) for a in arguments], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE if talks else self.log,
                                        stderr=self.log,
                                        env={**os.environ, **(environment or {})})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def cpu_seconds(self, thread=None):
        """Of all threads, or those of that name, to the nanosecond: /proc/PID/stat counts in
        hundredths."""
        total = 0
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):  # a thread that has just ended
                if thread in (None, (task / "comm").read_text().strip()):
                    total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def resident_bytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


class Daemon(Server):
    def __init__(self, folder, properties=None, environment=None, ready="/q/health/ready"):
        self.ready = ready
        self.port = free_port()
        self.data = pathlib.Path(folder)
        settings = {"quarkus.http.port": self.port, "betrace.kms.data-dir": self.data,
                    "quarkus.log.level": "ERROR", **(properties or {})}
        program = os.environ.get("BETRACE_KMS", BUILD / "betrace-kms")
        self.started = time.monotonic()
        super().__init__([program, "serve", *(f"-D{k}={v}" for k, v in settings.items())],
                         environment)
        until(self.is_ready, "the daemon's readiness")
        self.ready_seconds = time.monotonic() - self.started
        self.headers = {"Authorization": "Bearer " + (self.data / "admin-token").read_text().strip()}

    def is_ready(self):
        if self.process.poll() is not None:
            self.log.seek(0)
            raise RuntimeError("the daemon ended: " + self.log.read().decode(errors="replace"))
        try:
            http("GET", f"http://127.0.0.1:{self.port}{self.ready}")
            return True
        except (urllib.error.URLError, ConnectionError):
            return False

    def call(self, method, path, body=None):
        return http(method, f"http://127.0.0.1:{self.port}{path}", body, self.headers)


class Requests:
    """The same requests for every server: [(method, path, JSON body)], sent in turn."""

    def __init__(self, requests, headers):
        self.folder = tempfile.TemporaryDirectory()
        self.script = pathlib.Path(self.folder.name) / "load.lua"
        fields = ", ".join(f"[{json.dumps(k)}]={json.dumps(v)}" for k, v in
                           {"Content-Type": "application/json", **headers}.items())
        lines = [f"requests[#requests+1] = wrk.format({json.dumps(method)}, {json.dumps(path)}, "
                 f"{{{fields}}}, [[{json.dumps(body)}]])" for method, path, body in requests]
        # A Lua function holds a limited number of constants, so a large load comes in pieces.
        pieces = [lines[at:at + 5000] for at in range(0, len(lines), 5000)]
        for number, piece in enumerate(pieces):
            (self.script.parent / f"{number}.lua").write_text("\n".join(piece))
        self.script.write_text(
            "requests = {}\n"
            "function init(args)\n"
            f"  for i = 0, {len(pieces) - 1} do\n"
            f"    dofile({json.dumps(self.folder.name)} .. '/' .. i .. '.lua')\n"
            "  end\n"
            "end\n"
            "local at = 0\n"
            "function request() at = at % #requests + 1; return requests[at] end\n")


class FileRequest:
    """One POST of a file's bytes, again and again; it has to stay where it is."""

    def __init__(self, folder, path, file, headers):
        self.script = pathlib.Path(folder) / "load.lua"
        fields = ", ".join(f"[{json.dumps(k)}]={json.dumps(v)}" for k, v in headers.items())
        self.script.write_text(
            f"local body = io.open({json.dumps(str(file))}, 'rb'):read('*a')\n"
            "function init(args)\n"
            f"  one = wrk.format('POST', {json.dumps(path)}, {{{fields}}}, body)\n"
            "end\n"
            "function request() return one end\n")


def load(server, port, requests, connections=64, seconds=2.0):
    """Answers requests per second and the server's processor microseconds per request."""
    duration = max(1, round(seconds))
    before = server.cpu_seconds()
    run = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{duration}s", "-s",
                          str(requests.script), f"http://127.0.0.1:{port}"],
                         capture_output=True, text=True, check=True)
    spent = server.cpu_seconds() - before
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", run.stdout)
    if bad or "Socket errors" in run.stdout:
        raise RuntimeError("the load met errors:\n" + run.stdout)
    count = int(re.search(r"(\d+) requests in", run.stdout)[1])
    return {"rate": count / duration, "count": count, "cpu_us": spent / count * 1e6}


def median(values):
    return statistics.median(values)
