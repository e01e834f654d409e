"""Many HTTP requests at once from one thread, where `requests` would be the slow part."""

import asyncio
import collections
import json
import threading
import time

Answer = collections.namedtuple("Answer", "status headers body seconds number", defaults=[None])
Raw = collections.namedtuple("Raw", "content headers")  # a body that is no JSON


class Connection:
    """One keep-alive connection."""

    def __init__(self, port):
        self.port = port
        self.reader = self.writer = None

    async def open(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    def close(self):
        if self.writer is not None:
            self.writer.close()

    async def call(self, method, path, token, body=None):
        started = time.monotonic()
        self.send(method, path, token, body)
        status, headers, content = await self.receive()
        return Answer(status, headers, content, time.monotonic() - started)

    def send(self, method, path, token, body=None):
        if not isinstance(body, Raw):
            body = Raw(b"" if body is None else json.dumps(body).encode(),
                       {"Content-Type": "application/json"})
        headers = "".join(f"{name}: {value}\r\n" for name, value in body.headers.items())
        self.writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"Authorization: Bearer {token}\r\n{headers}"
            f"Content-Length: {len(body.content)}\r\n\r\n".encode() + body.content)

    async def receive(self):
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        content = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(head[0].split()[1]), headers, content


async def gather_calls(port, token, calls):
    """Each call (method, path, body) on a connection of its own, all sent before any answer is
    read."""
    connections = await asyncio.gather(*(Connection(port).open() for _ in calls))
    started = time.monotonic()
    for connection, (method, path, body) in zip(connections, calls):
        connection.send(method, path, token, body)

    async def answer(connection):
        return Answer(*await connection.receive(), time.monotonic() - started)
    answers = await asyncio.gather(*(answer(connection) for connection in connections))
    for connection in connections:
        connection.close()
    return answers


def at_once(daemon, calls):
    return asyncio.run(gather_calls(daemon.port, daemon.token, calls))


class Load(threading.Thread):
    """A closed loop of `connections` callers until stopped. `next_call(n)` gives the n-th call
    (method, path, body), counted from `first`. `answers` grows as they come, each with the number
    of its call; a broken connection is an answer of status 0 and is opened anew. With `pace` calls
    are due so many seconds after each other, and made late when answers are."""

    def __init__(self, daemon, next_call, connections=4, first=0, pace=0):
        super().__init__(daemon=True)
        self.port, self.token = daemon.port, daemon.token
        self.next_call, self.connections = next_call, connections
        self.answers = []
        self._ended = threading.Event()
        self._first = self._number = first
        self._pace = pace

    def run(self):
        self._begin = time.monotonic()
        asyncio.run(self._run())

    async def _run(self):
        await asyncio.gather(*(self._caller() for _ in range(self.connections)))

    async def _caller(self):
        connection = None
        while not self._ended.is_set():
            number, self._number = self._number, self._number + 1
            if self._pace:
                due = self._begin + (number - self._first) * self._pace
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            try:
                if connection is None:
                    connection = await Connection(self.port).open()
                method, path, body = self.next_call(number)
                answer = await connection.call(method, path, self.token, body)
                self.answers.append(answer._replace(number=number))
            except (OSError, asyncio.IncompleteReadError) as error:
                self.answers.append(Answer(0, {}, repr(error).encode(), 0.0, number))
                connection = None
                await asyncio.sleep(0.01)  # not to spin on a port that is closed

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self.join(30)

    @property
    def next_number(self):
        return self._number

    @property
    def statuses(self):
        return collections.Counter(answer.status for answer in list(self.answers))


def percentile(values, share):
    """The value below which `share` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
