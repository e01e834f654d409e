#!/usr/bin/env python3
"""A small AWS KMS for what the emulators do not do: throttling, 5xx, half answers, slowness.

Speaks TrentService over JSON 1.1 (GenerateDataKey, Encrypt, Decrypt, DescribeKey) and
STS AssumeRole; AES-GCM with the encryption context as associated data, so a wrong context fails as
it does at AWS. Signatures are not checked. Keys are derived from their ids: a new process on the
same port opens what the old one sealed.

Scripted through `/_control`: GET answers counts; POST takes any of
  {"faults": [{"kind": …, "actions": ["Decrypt"], "times": 3, …}]}   replaces the script
  {"states": {KEY_ID: "Enabled" | "Disabled" | "PendingDeletion" | …}}
  {"aliases": {"alias/x": KEY_ID}}   {"reset": true}   {"release": true}
A fault may be narrowed to one "tenant" of the encryption context and to so many "times".
Kinds: error (after seconds; status, type, message, retryAfter, clockOffset, where: body, prefixed,
header or xml), proxy (status), delay, hang, slow_body, half, close, garbage, wrong_shape, empty,
short_key, wrong_key. A hang ends at `release`.
"""

import argparse
import base64
import collections
import email.utils
import hashlib
import json
import os
import socket
import threading
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

REGION = "us-east-1"
ACCOUNT = "123456789012"
KEY_ID = "11111111-2222-3333-4444-555555555555"
OTHER_KEY_ID = "66666666-7777-8888-9999-000000000000"
STATE_ERRORS = {
    "Disabled": ("DisabledException", "is disabled."),
    "PendingDeletion": ("KMSInvalidStateException", "is pending deletion."),
    "PendingImport": ("KMSInvalidStateException", "is pending import."),
    "Unavailable": ("KMSInvalidStateException", "is unavailable."),
}


def arn(key_id):
    return f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{key_id}"


class KmsError(Exception):
    def __init__(self, kind, message, status=400):
        super().__init__(message)
        self.kind, self.message, self.status = kind, message, status


class Kms:
    """Keys, states and aliases; the four actions."""

    def __init__(self):
        self.states = {KEY_ID: "Enabled", OTHER_KEY_ID: "Enabled"}
        self.aliases = {"alias/betrace": KEY_ID}

    def resolve(self, name):
        key_id = name.split(":")[-1].removeprefix("key/")
        key_id = self.aliases.get(key_id, key_id)
        if key_id not in self.states:
            raise KmsError("NotFoundException", f"Key '{name}' does not exist")
        return key_id

    def usable(self, name):
        key_id = self.resolve(name)
        if self.states[key_id] != "Enabled":
            kind, words = STATE_ERRORS[self.states[key_id]]
            raise KmsError(kind, f"{arn(key_id)} {words}")
        return key_id

    @staticmethod
    def cipher(key_id):
        return AESGCM(hashlib.sha256(b"fake kms " + key_id.encode()).digest())

    @staticmethod
    def associated(request):
        context = request.get("EncryptionContext") or {}
        return json.dumps(context, sort_keys=True, ensure_ascii=False).encode()

    def seal(self, key_id, plaintext, request):
        nonce = os.urandom(12)
        sealed = self.cipher(key_id).encrypt(nonce, plaintext, self.associated(request))
        return base64.b64encode(key_id.encode() + nonce + sealed).decode()

    def generate_data_key(self, request):
        key_id = self.usable(request["KeyId"])
        size = request.get("NumberOfBytes") or {"AES_256": 32, "AES_128": 16}[request["KeySpec"]]
        plaintext = os.urandom(size)
        return {"KeyId": arn(key_id), "Plaintext": base64.b64encode(plaintext).decode(),
                "CiphertextBlob": self.seal(key_id, plaintext, request)}

    def encrypt(self, request):
        key_id = self.usable(request["KeyId"])
        plaintext = base64.b64decode(request["Plaintext"], validate=True)
        if not 1 <= len(plaintext) <= 4096:
            raise KmsError("ValidationException", "Member must have length between 1 and 4096")
        return {"KeyId": arn(key_id), "CiphertextBlob": self.seal(key_id, plaintext, request),
                "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}

    def decrypt(self, request):
        blob = base64.b64decode(request["CiphertextBlob"], validate=True)
        made_with = blob[:36].decode("ascii", "replace")
        if made_with not in self.states:
            raise KmsError("InvalidCiphertextException", None)
        if "KeyId" in request and self.resolve(request["KeyId"]) != made_with:
            raise KmsError("IncorrectKeyException", "The key ID in the request does not identify "
                           "a CMK that can perform this operation.")
        self.usable(made_with)
        try:
            plaintext = self.cipher(made_with).decrypt(blob[36:48], blob[48:],
                                                       self.associated(request))
        except InvalidTag:
            raise KmsError("InvalidCiphertextException", None) from None
        return {"KeyId": arn(made_with), "Plaintext": base64.b64encode(plaintext).decode(),
                "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}

    def describe_key(self, request):
        key_id = self.resolve(request["KeyId"])
        state = self.states[key_id]
        metadata = {"AWSAccountId": ACCOUNT, "KeyId": key_id, "Arn": arn(key_id),
                    "CreationDate": 1.6e9, "Enabled": state == "Enabled", "KeyState": state,
                    "KeyUsage": "ENCRYPT_DECRYPT", "KeySpec": "SYMMETRIC_DEFAULT",
                    "KeyManager": "CUSTOMER", "Origin": "AWS_KMS", "MultiRegion": False}
        if state == "PendingDeletion":
            metadata["DeletionDate"] = time.time() + 7 * 86400
        return {"KeyMetadata": metadata}

    ACTIONS = {"GenerateDataKey": generate_data_key, "Encrypt": encrypt, "Decrypt": decrypt,
               "DescribeKey": describe_key}


class Script:
    """Faults still to come and what was called; one lock over all of it."""

    def __init__(self):
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.faults = []
        self.reset()

    def reset(self):
        self.calls, self.requests = {}, collections.deque(maxlen=5000)
        self.running, self.peak = 0, 0

    def begin(self, action, note):
        """Counts the call and answers the fault that it meets, if any."""
        with self.lock:
            self.calls[action] = self.calls.get(action, 0) + 1
            self.requests.append(note)
            self.running += 1
            self.peak = max(self.peak, self.running)
            for fault in self.faults:
                meant = (action in fault.get("actions", [action])
                         and fault.get("tenant", note["tenant"]) == note["tenant"])
                if meant and fault.get("times", 1) > 0:
                    if "times" in fault:
                        fault["times"] -= 1
                    return dict(fault)
        return None

    def end(self):
        with self.lock:
            self.running -= 1

    def control(self, kms, order):
        with self.lock:
            if "faults" in order:
                self.faults = order["faults"]
            if order.get("reset"):
                self.reset()
            if order.get("release") or "faults" in order:
                self.released.set()
                self.released = threading.Event()
            kms.states.update(order.get("states", {}))
            kms.aliases.update(order.get("aliases", {}))

    def report(self):
        with self.lock:
            return {"calls": dict(self.calls), "requests": list(self.requests),
                    "running": self.running, "peak": self.peak}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "FakeKms"
    disable_nagle_algorithm = True
    clock_offset = 0.0

    def log_message(self, *_):
        pass

    def answer(self, status, body, content_type="application/x-amz-json-1.1", headers=(), cut=None,
               seconds=0.0):
        """`cut`: how many bytes of the body are sent before the connection closes."""
        head = [f"HTTP/1.1 {status} {'OK' if status < 300 else 'Error'}",
                f"x-amzn-RequestId: {uuid.uuid4()}", f"Content-Type: {content_type}", f"Content-Length: {len(body)}",
                f"Date: {email.utils.formatdate(time.time() + self.clock_offset, usegmt=True)}",
                *(f"{name}: {value}" for name, value in headers)]
        head = ("\r\n".join(head) + "\r\n\r\n").encode()
        if seconds:
            self.wfile.write(head)
            for i, byte in enumerate(body):
                if self.server.script.released.wait(seconds / len(body)):
                    break
                self.wfile.write(body[i:i + 1])
            self.close_connection = True
            return
        self.wfile.write(head + body[:cut])
        if cut is not None:
            self.close_connection = True

    def answer_json(self, status, document, headers=()):
        self.answer(status, json.dumps(document).encode(), headers=headers)

    def answer_error(self, fault):
        headers = []
        if fault.get("retryAfter") is not None:
            headers.append(("Retry-After", fault["retryAfter"]))
        kind, message, where = fault["type"], fault.get("message"), fault.get("where", "body")
        if where == "xml":
            text = (f"<ErrorResponse><Error><Type>Sender</Type><Code>{kind}</Code>"
                    f"<Message>{message}</Message></Error></ErrorResponse>")
            self.answer(fault["status"], text.encode(), "text/xml", headers)
            return
        document = {} if message is None else {"message": message}
        if where == "header":
            headers.append(("X-Amzn-ErrorType", f"{kind}:http://internal.amazon.com/coral/"))
        else:
            document["__type"] = f"com.amazonaws.kms#{kind}" if where == "prefixed" else kind
        self.answer_json(fault["status"], document, headers)

    def do_GET(self):
        if self.path == "/_control":
            self.answer_json(200, self.server.script.report())
        else:
            self.answer_json(404, {})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/_control":
            self.server.script.control(self.server.kms, json.loads(body))
            self.answer_json(200, {})
            return
        target = self.headers.get("X-Amz-Target", "")
        action = target.removeprefix("TrentService.")
        if not target:
            form = urllib.parse.parse_qs(body.decode())
            action = form.get("Action", ["unknown"])[0]
        authorization = self.headers.get("Authorization", "")
        request = json.loads(body) if target else {}
        note = {"action": action, "scope": authorization.split(",")[0].split("Credential=")[-1],
                "token": self.headers.get("X-Amz-Security-Token"), "at": time.time(),
                "tenant": (request.get("EncryptionContext") or {}).get("tenantId"),
                "request": request}
        fault = self.server.script.begin(action, note)
        try:
            self.serve(action, body, fault)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            self.server.script.end()

    def serve(self, action, body, fault):
        kind = fault and fault["kind"]
        self.clock_offset = fault.get("clockOffset", 0.0) if fault else 0.0
        if kind == "error":
            self.server.script.released.wait(fault.get("seconds", 0))
            return self.answer_error(fault)
        if kind == "proxy":
            page = f"<html><h1>{fault['status']} Service Temporarily Unavailable</h1></html>"
            return self.answer(fault["status"], page.encode(), "text/html")
        if kind == "close":
            self.close_connection = True
            return None
        if kind == "hang":
            self.server.script.released.wait(300)
            self.close_connection = True
            return None
        if kind == "garbage":
            return self.answer(200, b'{"Plaintext": "AAAA", "Ciphert')
        if kind == "empty":
            return self.answer(200, b"")
        if kind == "wrong_shape":
            return self.answer_json(200, {"Plaintext": 7, "CiphertextBlob": [], "KeyId": None})
        if kind == "delay":
            self.server.script.released.wait(fault["seconds"])
        if action == "AssumeRole":
            return self.assume_role()
        try:
            document = Kms.ACTIONS[action](self.server.kms, json.loads(body))
        except KeyError:
            return self.answer_error({"status": 400, "type": "UnknownOperationException"})
        except KmsError as error:
            return self.answer_error({"status": error.status, "type": error.kind,
                                      "message": error.message})
        if kind in ("short_key", "wrong_key") and "Plaintext" in document:
            size = 31 if kind == "short_key" else 32
            document["Plaintext"] = base64.b64encode(os.urandom(size)).decode()
        answer = json.dumps(document).encode()
        return self.answer(200, answer, cut=len(answer) // 2 if kind == "half" else None,
                           seconds=fault["seconds"] if kind == "slow_body" else 0.0)

    def assume_role(self):
        expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        self.answer(200, f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleResult><AssumedRoleUser><Arn>arn:aws:sts::{ACCOUNT}:assumed-role/fake/s</Arn>
<AssumedRoleId>AROAFAKE:s</AssumedRoleId></AssumedRoleUser><Credentials>
<AccessKeyId>ASIAFAKEASSUMED</AccessKeyId><SecretAccessKey>assumed-secret</SecretAccessKey>
<SessionToken>assumed-session-token</SessionToken><Expiration>{expires}</Expiration></Credentials>
</AssumeRoleResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>
</AssumeRoleResponse>""".encode(), "text/xml")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024
    allow_reuse_address = True

    def __init__(self, port):
        self.kms, self.script = Kms(), Script()
        super().__init__(("127.0.0.1", port), Handler)

    def handle_error(self, request, client_address):
        """A client that hangs up is what some tests are about."""

    def server_bind(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        super().server_bind()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    Server(parser.parse_args().port).serve_forever()


if __name__ == "__main__":
    main()
