"""Every way to log in to AWS, on MiniStack, which checks signatures, sessions and policies: each source
hands out the keys of somebody who may do the four things and nothing else."""

import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness.aws import FOUR, Account, aws_properties


class Endpoint(BaseHTTPRequestHandler):
    """What ECS, EKS and STS answer: the server's `answer(handler, body)` makes it."""

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        status, text = self.server.answer(self, body)
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    do_POST = do_PUT = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def endpoint():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def account(ministack):
    return Account(ministack)


@pytest.fixture
def logged_in(daemons, ministack, account):
    """A daemon with that environment and nothing else to log in with; it works, and its log shows no
    secret."""
    def make(environment, *secrets, profile=None):
        more = {"aws.kms.profile": profile} if profile else {}
        daemon = daemons(aws_properties(ministack, account.key) | more, start=False,
                         environment={"AWS_EC2_METADATA_DISABLED": "true"} | environment)
        return daemon, secrets

    def works(daemon, secrets):
        daemon.start()
        daemon.create("acme")
        signature = daemon.sign("acme", "x")
        daemon.restart()
        assert daemon.sign("acme", "x") == signature
        for secret in secrets:
            assert secret not in daemon.text() + daemon.log()
    make.works = works
    return make


def json_of(keys, token="Token"):
    return json.dumps({"AccessKeyId": keys["key"], "SecretAccessKey": keys["secret"], token: "",
                       "Expiration": "2126-11-26T00:00:00Z"})


def test_a_program_of_the_profile(logged_in, account, tmp_path):
    _, keys = account.user(FOUR)
    program = tmp_path / "my program"
    printed = json.loads(json_of(keys, "SessionToken")) | {"Version": 1}
    program.write_text(f"#!/bin/sh\necho '{json.dumps(printed)}'\n")
    program.chmod(0o700)
    daemon, secrets = logged_in({}, keys["secret"])
    (daemon.folder / ".aws").mkdir()
    (daemon.folder / ".aws/config").write_text(f'[default]\ncredential_process = "{program}"\n')
    logged_in.works(daemon, secrets)


def test_a_task_of_ecs_or_a_pod_of_eks(logged_in, account, endpoint, tmp_path):
    _, keys = account.user(FOUR)
    endpoint.answer = lambda it, _: (
        (200, json_of(keys)) if it.headers["authorization"] == "canary-pod-token" else (401, "{}"))
    token = tmp_path / "token"
    token.write_text("canary-pod-token\n")
    daemon, secrets = logged_in({"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{endpoint.url}/v1/creds",
                                 "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token)},
                                keys["secret"], "canary-pod-token")
    logged_in.works(daemon, secrets)


def test_a_web_identity(logged_in, account, endpoint, tmp_path):
    _, keys = account.user(FOUR)
    seen = []

    def sts(it, body):
        form = dict(urllib.parse.parse_qsl(body))
        seen.append(form)
        good = (form.get("WebIdentityToken") == "canary-web-token"
                and "authorization" not in it.headers)
        return (200, f"<R><AccessKeyId>{keys['key']}</AccessKeyId><SecretAccessKey>{keys['secret']}"
                     "</SecretAccessKey><SessionToken>t</SessionToken><Expiration>"
                     "2126-11-26T00:00:00Z</Expiration></R>") if good else (400, "")
    endpoint.answer = sts
    token = tmp_path / "token"
    token.write_text("canary-web-token\n")
    daemon, secrets = logged_in(
        {"AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_ARN": "arn:aws:iam::1:role/kms",
         "AWS_ENDPOINT_URL_STS": endpoint.url}, keys["secret"], "canary-web-token")
    # A user's long-term keys come with no session token: MiniStack takes them with ours left out.
    daemon.start()
    daemon.put("/api/tenants/acme")
    assert seen and seen[0]["Action"] == "AssumeRoleWithWebIdentity"
    assert seen[0]["RoleArn"] == "arn:aws:iam::1:role/kms"
    for secret in secrets:
        assert secret not in daemon.text() + daemon.log()


def test_the_role_of_an_instance_by_imds(logged_in, account, endpoint):
    _, keys = account.user(FOUR)
    roles = "/latest/meta-data/iam/security-credentials/"

    def imds(it, _):
        if it.command == "PUT" and it.path == "/latest/api/token":
            return 200, "canary-imds-token"
        if it.headers["x-aws-ec2-metadata-token"] != "canary-imds-token":
            return 401, ""
        return 200, {roles: "kms", f"{roles}kms": json_of(keys)}[it.path]
    endpoint.answer = imds
    daemon, secrets = logged_in({"AWS_EC2_METADATA_DISABLED": "false",
                                 "AWS_EC2_METADATA_SERVICE_ENDPOINT": endpoint.url},
                                keys["secret"], "canary-imds-token")
    logged_in.works(daemon, secrets)


def test_ministacks_own_imds_is_understood(logged_in, ministack):
    """What it hands out its KMS does not know, and says so of no others."""
    daemon, _ = logged_in({"AWS_EC2_METADATA_DISABLED": "false",
                           "AWS_EC2_METADATA_SERVICE_ENDPOINT": ministack.url})
    daemon.start()
    assert daemon.put("/api/tenants/acme").json()["detail"] == (
        "The security token included in the request is invalid.")


def test_with_none_of_them_the_places_are_named(logged_in):
    daemon, _ = logged_in({})
    daemon.start()
    said = daemon.put("/api/tenants/acme").json()["detail"]
    for place in ("environment (", "web identity (", "profile 'default' of ", "container (",
                  "instance metadata (AWS_EC2_METADATA_DISABLED)"):
        assert place in said, said
