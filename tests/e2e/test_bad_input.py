"""Bad requests: each a clear 4xx with a stable code; nothing lost, nothing crashed."""

import base64
import json
import socket
import threading
import time

import pytest

from harness.daemon import Daemon, b64, problem

SIGN = "/api/tenants/acme/sign"
KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One daemon for the whole file; it must live through all of it."""
    daemon = Daemon(tmp_path_factory.mktemp("bad-input")).start()
    for tenant in ("acme", "other"):
        daemon.create(tenant)
    daemon.sealed = daemon.encrypt("acme", b"secret", {"a": "b"})
    daemon.first_pid = daemon.pid
    yield daemon
    assert daemon.stop() == 0
    assert "Sanitizer" not in daemon.text() and "runtime error" not in daemon.text()


@pytest.fixture
def daemon(shared):
    yield shared
    assert shared.running and shared.pid == shared.first_pid
    assert shared.decrypt("acme", shared.sealed, {"a": "b"}) == b"secret"


def post_text(daemon, path, body, **headers):
    body = body if isinstance(body, bytes) else body.encode()
    return daemon.call("POST", path, data=body,
                       headers={"Content-Type": "application/json"} | headers)


def nested(depth):
    return '{"payload":' + "[" * depth + "]" * depth + "}"


MALFORMED = {
    "empty": "", "white space": "  \n", "not JSON": "payload=aGk=", "cut": '{"payload":"aGk="',
    "two documents": '{"payload":"aGk="} {"payload":"aGk="}', "trailing comma": '{"payload":"aGk=",}',
    "comment": '{"payload":"aGk=" /* x */}', "single quotes": "{'payload':'aGk='}",
    "NaN": '{"payload":NaN}', "byte order mark": '\ufeff{"payload":"aGk="}',
    "duplicate key": '{"payload":"aGk=","payload":"aGkh"}',
    "duplicate key by escape": r'{"payload":"aGk=","pa\u0079load":"aGkh"}',
    "lone surrogate": r'{"payload":"aGk=","x":"\ud800"}',
    "not UTF-8": b'{"payload":"aGk=","x":"\xff\xfe"}',
    "overlong UTF-8": b'{"payload":"aGk=","x":"\xc0\x80"}',
    "raw NUL": b'{"payload":"aGk=","x":"\x00"}', "raw newline in a string": '{"payload":"aG\nk="}',
    "integer beyond 2^53": '{"payload":"aGk=","version":9007199254740993}',
    "depth 33": nested(32), "depth 100000": nested(100_000),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_not_strict_json_is_malformed(daemon, name):
    problem(post_text(daemon, SIGN, MALFORMED[name]), 400, "malformed_json")


WRONG = {
    "an array": "[]", "a string": '"aGk="', "null": "null", "no payload": "{}",
    "payload null": '{"payload":null}', "payload number": '{"payload":7}',
    "payload object": '{"payload":{}}', "payload array": '{"payload":["aGk="]}',
    "payloads string": '{"payloads":"aGk="}', "payloads of numbers": '{"payloads":[1]}',
    "payload and payloads": '{"payload":"aGk=","payloads":["aGk="]}',
    "deep but allowed": '{"payload":' + "[" * 20 + "]" * 20 + "}",
    "base64 with blanks": '{"payload":"aGk= "}', "base64 without padding": '{"payload":"aGk"}',
    "base64 with stray bits": '{"payload":"aGl="}', "base64url": '{"payload":"-_-_"}',
    "base64 with a newline": r'{"payload":"aGk=\n"}', "base64 with NUL": r'{"payload":"aG\u0000="}',
    "not base64": '{"payload":"$$$$"}', "base64 padded too much": '{"payload":"aGk=="}',
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_types_and_bad_base64_are_invalid(daemon, name):
    detail = problem(post_text(daemon, SIGN, WRONG[name]), 400, "invalid_argument")
    assert "payload" in detail or "object" in detail


def test_an_empty_payload_is_a_payload(daemon):
    signature = daemon.sign("acme", b"")["signature"]
    assert daemon.verifies("acme", b"", signature)["valid"]


@pytest.mark.parametrize("body", [
    {"payload": "aGk="}, {"payload": "aGk=", "signature": "AAAA"},
    {"payload": "aGk=", "signature": "!!"}, {"payload": "aGk=", "signature": b64(bytes(65))},
    {"payload": "aGk=", "signature": b64(bytes(64)), "version": 0},
    {"payload": "aGk=", "signature": b64(bytes(64)), "version": "1"},
    {"payload": "aGk=", "signature": b64(bytes(64)), "version": 1.5},
    {"payload": "aGk=", "signature": b64(bytes(64)), "keyId": "nonsense"},
    {"payload": "aGk=", "signature": b64(bytes(64)), "keyId": 7},
    {"payload": "aGk=", "signature": b64(bytes(64)), "version": 1,
     "keyId": "01933b5c-0000-7000-8000-000000000000"},
], ids=json.dumps)
def test_bad_verifications_are_invalid_arguments_or_invalid_signatures(daemon, body):
    answer = daemon.post("/api/tenants/acme/verify", body)
    if answer.status_code == 200:  # a signature of another size is just not valid
        assert answer.json()["valid"] is False and "version" not in body and "keyId" not in body
    else:
        problem(answer, 400, "invalid_argument")


@pytest.mark.parametrize("which", [{"version": 99}, {"version": 4294967295},
                                   {"keyId": "01933b5c-0000-7000-8000-000000000000"}])
def test_a_key_that_does_not_exist_is_not_found(daemon, which):
    body = {"payload": "aGk=", "signature": b64(bytes(64))} | which
    problem(daemon.post("/api/tenants/acme/verify", body), 404, "key_not_found")


@pytest.mark.parametrize("tenant", [
    "a%2Fb", "a%20b", "%00", "%C3%A9", "a" * 129, "%zz", "a%", "..%2F..%2Fetc", "@service",
    "%40service", "a%0D%0Ab", "tenant;drop", "a+b", "*"])
def test_bad_tenant_ids_are_invalid(daemon, tenant):
    for method, path in (("PUT", f"/api/tenants/{tenant}"),
                         ("POST", f"/api/tenants/{tenant}/sign")):
        answer = daemon.call(method, path, json={"payload": "aGk="})
        assert "128" in problem(answer, 400, "invalid_argument") or "%" in tenant


@pytest.mark.parametrize("tenant", ["a", "a" * 128, "A.b_c:d-9", "..", "-", "a%2Db",
                                    "0192f0c1-2345-7000-8000-000000000001"])
def test_good_tenant_ids_are_accepted(daemon, tenant):
    answer = raw(daemon, f"PUT /api/tenants/{tenant} HTTP/1.1\r\nHost: localhost\r\n"
                 f"Authorization: Bearer {daemon.token}\r\nContent-Length: 0\r\n"
                 "Connection: close\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 201", b"HTTP/1.1 200")), answer


def altered(ciphertext, change):
    prefix, body = ciphertext.rsplit(":", 1)
    data = bytearray(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    data = change(data)
    return f"{prefix}:{base64.urlsafe_b64encode(bytes(data)).decode().rstrip('=')}"


def flip(position):
    def change(data):
        data[position] ^= 1
        return data
    return change


@pytest.mark.parametrize("name,change", [
    ("first byte", flip(0)), ("nonce", flip(6)), ("text", flip(18)), ("tag", flip(-1)),
    ("cut by one", lambda d: d[:-1]), ("cut to its head", lambda d: d[:17]),
    ("cut to nothing", lambda d: d[:0]), ("one more byte", lambda d: d + b"\0"),
    ("doubled", lambda d: d + d)], ids=lambda v: v if isinstance(v, str) else "")
def test_cut_and_flipped_ciphertexts_are_invalid(daemon, name, change):
    body = {"ciphertext": altered(daemon.sealed, change), "context": {"a": "b"}}
    problem(daemon.post("/api/tenants/acme/decrypt", body), 400, "invalid_ciphertext")


def test_a_key_version_that_never_was_is_a_clear_4xx(daemon):
    body = {"ciphertext": altered(daemon.sealed, flip(4)), "context": {"a": "b"}}
    answer = daemon.post("/api/tenants/acme/decrypt", body)
    assert (answer.status_code, answer.json()["code"]) in (
        (400, "invalid_ciphertext"), (404, "key_not_found"))


SENTENCE = ("The encryption context provided does not match the encryption context used to "
            "generate the data key")


@pytest.mark.parametrize("context", [{}, {"a": "c"}, {"A": "b"}, {"a": "b", "c": "d"},
                                     {"a": "b "}, {"ab": ""}, {"": "ab"}], ids=json.dumps)
def test_another_context_does_not_open(daemon, context):
    body = {"ciphertext": daemon.sealed, "context": context}
    detail = problem(daemon.post("/api/tenants/acme/decrypt", body), 400, "invalid_ciphertext")
    assert SENTENCE in detail and "or the ciphertext was altered" in detail


def test_another_tenants_ciphertext_does_not_open(daemon):
    body = {"ciphertext": daemon.sealed, "context": {"a": "b"}}
    problem(daemon.post("/api/tenants/other/decrypt", body), 400, "invalid_ciphertext")


@pytest.mark.parametrize("ciphertext", ["", "betrace:v1:", "betrace:v2:AAAA", "AAAA", "betrace:v1",
                                        "betrace:v1:A", "betrace:v1:AA==", "BETRACE:V1:AAAA",
                                        "betrace:v1:" + "A" * 4000])
def test_what_is_no_ciphertext_is_invalid(daemon, ciphertext):
    body = {"ciphertext": ciphertext, "context": {}}
    problem(daemon.post("/api/tenants/acme/decrypt", body), 400, "invalid_ciphertext")


@pytest.mark.parametrize("context", [
    {str(i): "x" for i in range(10_000)}, {str(i): "x" for i in range(65)}, {"a": "x" * 8192},
    {"a": 1}, {"a": None}, {"a": {"b": "c"}}, [], "a=b", 7],
    ids=["10000", "65", "8 KiB", "number", "null", "object", "array", "text", "7"])
def test_bad_contexts_are_invalid(daemon, context):
    body = {"plaintext": "aGk=", "context": context}
    problem(daemon.post("/api/tenants/acme/encrypt", body), 400, "invalid_argument")


def test_the_largest_context_and_strange_text_are_accepted(daemon):
    for context in ({str(i): "é\u0000\u2028😀" for i in range(64)}, {"a": "x" * 8191},
                    {"": ""}, {"a=b,c": "d"}):
        sealed = daemon.encrypt("acme", b"x", context)
        assert daemon.decrypt("acme", sealed, context) == b"x"


def test_contexts_that_print_alike_do_not_collide(daemon):
    sealed = daemon.encrypt("acme", b"x", {"a": "b,c=d"})
    body = {"ciphertext": sealed, "context": {"a": "b", "c": "d"}}
    problem(daemon.post("/api/tenants/acme/decrypt", body), 400, "invalid_ciphertext")


def test_a_batch_of_more_than_1000_is_refused(daemon):
    answer = daemon.post(SIGN, {"payloads": ["aGk="] * 1001})
    assert "1000" in problem(answer, 400, "invalid_argument").replace(",", "")
    assert len(daemon.ok("POST", SIGN, json={"payloads": ["aGk="] * 1000})["results"]) == 1000


def test_a_single_payload_over_1_mib_is_too_large_and_a_batch_may_have_16(daemon):
    problem(post_text(daemon, SIGN, '{"payload":"' + "A" * MIB + '"}'), 413, "payload_too_large")
    batch = {"payloads": [b64(bytes(600 * KIB))] * 15}
    assert len(daemon.ok("POST", SIGN, json=batch)["results"]) == 15


def test_a_body_over_16_mib_is_refused_before_it_is_sent(daemon):
    with socket.create_connection(("127.0.0.1", daemon.port), 10) as client:
        client.sendall(f"POST {SIGN} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
                       f"{daemon.token}\r\nContent-Length: {17 * MIB}\r\n\r\n{{".encode())
        client.settimeout(5)
        assert client.recv(4096).startswith(b"HTTP/1.1 413")


def test_chunked_bodies_have_the_same_limit(daemon):
    def chunks():
        for _ in range(17 * 16):
            yield b"A" * (64 * KIB)
    try:
        answer = daemon.call("POST", SIGN, data=chunks())
    except OSError:
        return  # refused while still sending: as good
    problem(answer, 413, "payload_too_large")


def test_chunked_bodies_work(daemon):
    answer = daemon.call("POST", SIGN, data=iter([b'{"pay', b'load":"aG', b'k="}']))
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("headers", [{"X-Large": "x" * 20 * KIB},
                                     {f"X-{i}": "y" * 200 for i in range(100)}],
                         ids=["one", "many"])
def test_headers_over_16_kib_are_too_large(daemon, headers):
    problem(daemon.call("POST", SIGN, headers=headers, json={"payload": "aGk="}), 431,
            "header_too_large")


def test_headers_just_below_16_kib_are_fine(daemon):
    answer = daemon.call("POST", SIGN, headers={"X-Large": "x" * 15 * KIB},
                         json={"payload": "aGk="})
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/", "/api", "/api/tenants/acme/nothing", "/q", "/q/health/x",
                                  "/api/tenants/acme/sign/", "/favicon.ico", "/API/tenants"])
def test_unknown_routes_are_not_found(daemon, path):
    problem(daemon.get(path), 404, "not_found")


@pytest.mark.parametrize("method,path", [("GET", SIGN), ("DELETE", "/q/health"),
                                         ("POST", "/q/metrics"), ("PATCH", "/api/tenants/acme"),
                                         ("GET", "/api/admin/kms/validate"), ("BREW", SIGN)])
def test_unknown_methods_say_which_are_allowed(daemon, method, path):
    answer = daemon.call(method, path)
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"]


@pytest.mark.parametrize("path", ["/api/tenants?limit=0", "/api/tenants?limit=1001",
                                  "/api/tenants?limit=x", "/api/tenants?limit=-1",
                                  "/api/tenants?limit=99999999999999999999",
                                  "/api/tenants?limit=%"])
def test_bad_pages_are_invalid(daemon, path):
    problem(daemon.get(path), 400, "invalid_argument")


UNKNOWN_KEY = "0193567a-7b6c-7000-8000-000000000001"
PROTECTED = [("PUT", "/api/tenants/x"), ("GET", "/api/tenants"), ("POST", SIGN),
             ("GET", "/api/tenants/acme/public-keys"), ("GET", "/api/public-keys"),
             ("POST", "/api/admin/kms/test-key-retrieval"), ("PUT", "/api/admin/log-level"),
             ("POST", "/api/tenants/acme/rotate"), ("POST", "/api/tenants/acme/rewrap"),
             ("DELETE", "/api/tenants/acme?confirm=acme"),
             ("POST", f"/api/tenants/acme/keys/{UNKNOWN_KEY}/revoke"),
             ("DELETE", f"/api/tenants/acme/keys/{UNKNOWN_KEY}?unused=true"),
             ("POST", "/api/admin/kms/rotate-all-keys"),
             ("GET", "/api/admin/kms/rotation-status"),
             ("GET", "/api/admin/kms/tenants-needing-rotation"),
             ("GET", "/api/admin/compliance/rotation-report"),
             ("POST", "/api/admin/tenants/rate-limit"),
             ("POST", "/api/compliance/spans/sign"), ("POST", "/api/compliance/verify/span"),
             ("POST", "/api/compliance/verify/batch")]


@pytest.mark.parametrize("method,path", PROTECTED)
def test_without_or_with_a_wrong_token_nothing_is_done(daemon, method, path):
    right = daemon.token
    for headers in ({}, {"Authorization": ""}, {"Authorization": "Bearer"},
                    {"Authorization": f"Bearer {right}x"}, {"Authorization": f"Bearer {right[:-1]}"},
                    {"Authorization": f"Basic {b64('admin:' + right)}"}, {"Authorization": right},
                    {"Authorization": "Bearer " + right.swapcase()}):
        answer = daemon.call(method, path, token=None, headers=headers)
        problem(answer, 401, "unauthenticated")
        assert "Bearer" in answer.headers["www-authenticate"]
        assert right not in answer.text


@pytest.mark.parametrize("headers", [
    {"Forwarded": "for=10.0.0.1"}, {"X-Forwarded-For": "10.0.0.1"}, {"X-Forwarded-Host": "x"},
    {"Host": "evil.example"}, {"Host": "evil.example:8080"}, {"Origin": "http://evil.example"},
    {"Origin": "null"}], ids=str)
def test_anonymous_reading_ends_where_loopback_does(daemon, headers):
    for method, path in (("GET", "/api/admin/kms/status"), ("POST", "/api/admin/kms/validate"),
                         ("GET", "/api/admin/cache/config")):
        problem(daemon.call(method, path, token=None, headers=headers), 401, "unauthenticated")
        assert daemon.call(method, path, headers=headers).status_code == 200
    assert daemon.call("GET", "/q/health/live", token=None, headers=headers).status_code == 200


def raw(daemon, data, seconds=10.0):
    """What comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", daemon.port), seconds) as client:
        client.sendall(data if isinstance(data, bytes) else data.encode())
        received = b""
        try:
            while chunk := client.recv(65536):
                received += chunk
        except (TimeoutError, ConnectionResetError):
            pass
        return received


HEAD = f"POST {SIGN} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
NOT_HTTP = {
    "not HTTP": b"hello\r\n\r\n", "binary": bytes(range(1, 256)) + b"\r\n\r\n",
    "TLS on the plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no target": b"GET  HTTP/1.1\r\n\r\n", "HTTP/9.9": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "header without a colon": f"{HEAD}nonsense\r\n\r\n".encode(),
    "NUL in a header": f"{HEAD}X: a\0b\r\n\r\n".encode(),
    "blank before the colon": f"{HEAD}Content-Length : 3\r\n\r\n{{}}".encode(),
    "negative length": f"{HEAD}Content-Length: -1\r\n\r\n".encode(),
    "length no number": f"{HEAD}Content-Length: x\r\n\r\n".encode(),
    "huge length": f"{HEAD}Content-Length: 99999999999999999999\r\n\r\n".encode(),
    "two lengths": f"{HEAD}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}".encode(),
    "length and chunked":
        f"{HEAD}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode(),
    "bad chunk": f"{HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\n".encode(),
    "unknown coding": f"{HEAD}Transfer-Encoding: gzip\r\n\r\n".encode(),
}


@pytest.mark.parametrize("name", NOT_HTTP)
def test_what_is_not_http_is_a_4xx_and_the_connection_closes(daemon, name):
    answer = raw(daemon, NOT_HTTP[name])
    assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), answer[:200]
    if answer:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"application/problem+json" in head
        assert json.loads(body)["code"] in (
            "invalid_argument", "payload_too_large", "header_too_large", "unauthenticated",
            "request_timeout")


def test_pipelined_requests_are_answered_in_order(daemon):
    request = (f"GET /api/tenants/acme HTTP/1.1\r\nHost: localhost\r\n"
               f"Authorization: Bearer {daemon.token}\r\n\r\n"
               f"GET /api/tenants/other HTTP/1.1\r\nHost: localhost\r\n"
               f"Authorization: Bearer {daemon.token}\r\nConnection: close\r\n\r\n")
    answer = raw(daemon, request)
    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.index(b'"tenantId":"acme"') < answer.index(b'"tenantId":"other"')


def test_half_sent_requests_that_hang_up_leave_nothing(daemon):
    head = f"{HEAD}Authorization: Bearer {daemon.token}\r\nContent-Length: 100\r\n\r\n"
    for cut in (1, 10, len(head) // 2, len(head), len(head) + 0):
        with socket.create_connection(("127.0.0.1", daemon.port), 5) as client:
            client.sendall((head + '{"payload":')[:cut].encode())
    assert daemon.sign("acme", b"x")["version"] == 1


def test_slow_requests_are_timed_out_and_hold_up_nobody(daemon):
    """A head has 10 s, a body 30 s; dripping bytes does not help."""
    authorised = f"{HEAD}Authorization: Bearer {daemon.token}\r\nContent-Length: 1000\r\n\r\n"
    results = {}

    def client(name, first, drip):
        started = time.monotonic()
        received = b""
        with socket.create_connection(("127.0.0.1", daemon.port), 60) as connection:
            connection.sendall(first.encode())
            connection.settimeout(0.5)
            while time.monotonic() - started < 45:
                try:
                    chunk = connection.recv(4096)
                    if not chunk:
                        break
                    received += chunk
                    continue
                except TimeoutError:
                    pass
                except ConnectionResetError:
                    break
                try:
                    connection.sendall(drip)
                except OSError:
                    break
        results[name] = (time.monotonic() - started, received)

    slow = {"half a head": (HEAD, b""), "a head byte by byte": (HEAD, b"X"),
            "half a body": (authorised + "{", b""), "a body byte by byte": (authorised, b" ")}
    threads = [threading.Thread(target=client, args=(name, *how)) for name, how in slow.items()]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        started = time.monotonic()
        assert daemon.sign("acme", b"x")["version"] == 1
        assert time.monotonic() - started < 2
        threads[-1].join(0.5)
        for thread in threads:
            thread.join(0.1)
    for name, (seconds, received) in results.items():
        low, high = (9, 13) if "head" in name else (28, 35)
        assert low <= seconds <= high, (name, seconds)
        assert received == b"" or b" 408 " in received.split(b"\r\n")[0], (name, received[:100])


def test_500_idle_connections_hold_up_nobody(daemon):
    idle = [socket.create_connection(("127.0.0.1", daemon.port), 5) for _ in range(500)]
    try:
        started = time.monotonic()
        assert daemon.sign("acme", b"x")["version"] == 1
        assert time.monotonic() - started < 2
    finally:
        for connection in idle:
            connection.close()


def test_every_refusal_is_in_the_audit_log(daemon):
    daemon.post("/api/tenants/acme/rotate", token="wrong")
    daemon.put("/api/tenants/audited")
    lines = daemon.log_lines("[com.betrace.kms.audit]")
    assert any("verb=rotate" in line and "outcome=unauthenticated" in line for line in lines)
    assert any("verb=create-tenant" in line and "tenant=audited" in line and "outcome=ok" in line
               for line in lines)
