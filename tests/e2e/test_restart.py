"""What was acknowledged outlives the daemon, however it ends."""

import itertools
import signal
import threading

import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key

from conftest import TORTURE
from harness.daemon import b64, unb64
from harness.waiting import until
from harness.wire import Connection, at_once

TENANTS = 1000
CREATORS = 8
KILLS = {signal.SIGKILL: 300 if TORTURE else 30, signal.SIGTERM: 100 if TORTURE else 10}


class Creators:
    """Concurrent callers: each creates the next tenant, signs and encrypts with it, and writes
    down only what was acknowledged."""

    def __init__(self, names):
        self.names = iter(names)
        self.lock = threading.Lock()
        self.keys, self.signatures, self.ciphertexts = {}, {}, {}
        self.unsure = []  # asked for, and not known whether it was done
        self.refused = 0

    def run_until(self, daemon, acknowledged):
        """Starts the callers; answers once so many creations are acknowledged. They end when the
        connection does."""
        token, port = daemon.token, daemon.port
        enough = len(self.keys) + acknowledged
        self.threads = [threading.Thread(target=self.caller, args=(port, token), daemon=True)
                        for _ in range(CREATORS)]
        for thread in self.threads:
            thread.start()
        until(lambda: len(self.keys) >= enough or not self.alive(), 60, "creations", every=0.002)

    def alive(self):
        return any(thread.is_alive() for thread in self.threads)

    def caller(self, port, token):
        import asyncio
        asyncio.run(self.create_all(port, token))

    async def create_all(self, port, token):
        connection = None
        while True:
            with self.lock:
                name = self.unsure.pop() if self.unsure else next(self.names, None)
            if name is None:
                return
            try:
                if connection is None:
                    connection = await Connection(port).open()
                path = f"/api/tenants/{name}"
                answer = await connection.call("PUT", path, token)
                if answer.status not in (200, 201):
                    raise ConnectionError(answer.body)
                self.keys[name] = answer.body
                answer = await connection.call("POST", f"{path}/sign", token,
                                               {"payload": b64(name)})
                if answer.status == 200:
                    self.signatures[name] = answer.body
                answer = await connection.call("POST", f"{path}/encrypt", token,
                                               {"plaintext": b64(name), "context": {"t": name}})
                if answer.status == 200:
                    self.ciphertexts[name] = answer.body
            except (OSError, EOFError) as error:
                with self.lock:
                    if name not in self.keys:
                        self.unsure.append(name)
                        self.refused += isinstance(error, ConnectionError)
                return

    def join(self):
        for thread in self.threads:
            thread.join(30)


def key_ids(document):
    return sorted(key["keyId"] for key in document["keys"])


def check_everything(daemon, creators):
    """Signs, verifies and decrypts with every acknowledged tenant."""
    import json
    names = list(creators.keys)
    for chunk in (names[i:i + 100] for i in range(0, len(names), 100)):
        shown = at_once(daemon, [("GET", f"/api/tenants/{name}", None) for name in chunk])
        signed = at_once(daemon, [("POST", f"/api/tenants/{name}/sign", {"payload": b64(name)})
                                  for name in chunk])
        keys = at_once(daemon, [("GET", f"/api/tenants/{name}/public-keys", None)
                                for name in chunk])
        opened = at_once(daemon, [
            ("POST", f"/api/tenants/{name}/decrypt",
             {"ciphertext": json.loads(creators.ciphertexts[name])["ciphertext"],
              "context": {"t": name}}) for name in chunk if name in creators.ciphertexts])
        for answers in (shown, signed, keys, opened):
            assert {answer.status for answer in answers} <= {200}, answers[0].body
        for name, show, sign, key in zip(chunk, shown, signed, keys):
            assert key_ids(json.loads(show.body)) == key_ids(json.loads(creators.keys[name]))
            now = json.loads(sign.body)
            if name in creators.signatures:
                assert now == json.loads(creators.signatures[name])
            public = json.loads(key.body)["keys"][0]
            assert public["keyId"] == now["keyId"]
            load_der_public_key(unb64(public["publicKey"])).verify(
                unb64(now["signature"]), name.encode())
        sealed = [name for name in chunk if name in creators.ciphertexts]
        for name, answer in zip(sealed, opened):
            assert unb64(json.loads(answer.body)["plaintext"]) == name.encode()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda s: s.name)
def test_every_acknowledged_tenant_keeps_its_keys(daemons, number):
    daemon = daemons()
    kills = KILLS[number]
    names = (f"tenant-{i}" for i in itertools.count()) if TORTURE else (
        f"tenant-{i}" for i in range(TENANTS))
    creators = Creators(names)
    for kill in range(kills):
        creators.run_until(daemon, TENANTS // (kills + 1))
        daemon.signal(number)
        code = daemon.wait(20)
        creators.join()
        assert code == (0 if number == signal.SIGTERM else -9)
        daemon.start()
    if not TORTURE:
        creators.run_until(daemon, TENANTS - len(creators.keys))
        creators.join()
        assert len(creators.keys) == TENANTS
    check_everything(daemon, creators)
    listed = daemon.ok("GET", "/api/tenants?limit=1000")["tenants"]
    assert len(listed) >= min(len(creators.keys), 1000)


def test_what_is_in_flight_at_sigterm_is_finished(aws_daemon, fake_kms):
    daemon = aws_daemon()
    fake_kms.faults({"kind": "delay", "seconds": 1.0, "tenant": "slow"})
    answers = []
    caller = threading.Thread(target=lambda: answers.append(daemon.put("/api/tenants/slow")))
    caller.start()
    until(lambda: fake_kms.tries("slow"), 5, "the call to be at the provider")
    daemon.signal(signal.SIGTERM)
    caller.join(20)
    assert answers and answers[0].status_code == 201
    assert daemon.wait() == 0
    fake_kms.faults()
    daemon.start()
    assert key_ids(daemon.ok("GET", "/api/tenants/slow")) == key_ids(answers[0].json())


def test_new_work_is_refused_while_stopping(aws_daemon, fake_kms):
    daemon = aws_daemon()
    daemon.create("acme")
    token = daemon.token
    fake_kms.faults({"kind": "delay", "seconds": 1.5, "tenant": "slow"})
    caller = threading.Thread(target=lambda: daemon.put("/api/tenants/slow", token=token))
    caller.start()
    until(lambda: fake_kms.tries("slow"), 5, "the call to be at the provider")
    daemon.signal(signal.SIGTERM)

    def refused():
        try:
            answer = daemon.post("/api/tenants/acme/sign", {"payload": b64("x")}, token=token)
        except OSError:
            return True
        return answer.status_code == 503
    until(refused, 1.2, "new work to be refused")
    caller.join(20)
    assert daemon.wait() == 0


def test_a_second_daemon_on_the_same_port_says_so(daemons):
    first = daemons()
    second = daemons({"quarkus.http.port": first.port}, start=False)
    second.port = first.port
    second.start(ready=False)
    assert second.wait() == 2
    assert str(first.port) in second.text()
    assert first.health("live")[0] == 200
