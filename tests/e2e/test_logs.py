"""The log as users configure and read it: levels changed live, the lines of the AWS client, and a
storm of failing requests that fills no disk."""

import re
import signal

from harness.waiting import until
from harness.wire import Load

SDK = "software.amazon.awssdk"
SERIES_MAX = 20  # of a storm: a status, an error code, a route may come to the metrics


def levels(daemon, text):
    daemon.config.write_text(re.sub(r"(?m)^quarkus\.log\.(level|category).*\n", "",
                                    daemon.config.read_text()) + text)
    seen = len(daemon.log_lines("Log levels are those of the configuration"))
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: len(daemon.log_lines("Log levels are those of the configuration")) > seen, 10,
          "the levels to be read anew")


def test_the_aws_client_shows_request_status_id_and_time_and_no_body(aws_daemon, fake_kms):
    daemon = aws_daemon()
    daemon.create("before")
    assert not daemon.log_lines(SDK)
    daemon.ok("PUT", "/api/admin/log-level", json={"category": SDK, "level": "DEBUG"})
    daemon.create("acme")
    sent = daemon.log_lines("Sending request: ")
    assert any(re.search(rf"DEBUG \[{re.escape(SDK)}\] \(.*\) Sending request: POST "
                         rf"{re.escape(fake_kms.url)}/ kms GenerateDataKey$", line) for line in sent)
    answered = [line for line in daemon.log_lines("Received answer: ") if "GenerateDataKey" in line]
    assert all(re.search(r"kms GenerateDataKey: HTTP 200, request id [\w-]+, [\d.]+ ms$", line)
               for line in answered) and answered
    fake_kms.faults({"kind": "half", "actions": ["GenerateDataKey"]})
    daemon.call("PUT", "/api/tenants/half")
    assert daemon.log_lines("Received no answer: kms GenerateDataKey: ")
    assert not re.search(r"Plaintext|CiphertextBlob|EncryptionContext|Signature=", daemon.log())


def test_levels_are_read_anew_on_hang_up_and_a_bad_file_changes_nothing(aws_daemon):
    daemon = aws_daemon()
    levels(daemon, f'quarkus.log.category."{SDK}".level=DEBUG\n')
    daemon.create("loud")
    assert daemon.log_lines("Sending request: ")
    levels(daemon, "quarkus.log.level=INFO\n")
    seen = len(daemon.log_lines("Sending request: "))
    daemon.create("silent")
    assert len(daemon.log_lines("Sending request: ")) == seen

    with daemon.config.open("a") as file:
        file.write("kms.cache.max-size=many\n")
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: daemon.log_lines("the log levels were not read anew"), 10, "the refusal")
    assert "kms.cache.max-size" in daemon.log_lines("the log levels were not read anew")[0]
    assert daemon.ok("GET", "/q/health")["status"] == "UP"


def storm(daemon, next_call, at_least=5000):
    """Bytes of log, answers by status."""
    before = len(daemon.log())
    with Load(daemon, next_call, connections=16) as load:
        until(lambda: len(load.answers) >= at_least, 60, f"{at_least} answers", every=0.05)
    return len(daemon.log()) - before, load.statuses


def test_a_storm_of_failing_requests_fills_neither_the_log_nor_the_metrics(aws_daemon, fake_kms):
    daemon = aws_daemon({"kms.cache.max-size": 2, "kms.cache.warm-tenants": 0})
    for number in range(8):
        daemon.create(f"t{number}")
    sealed = daemon.ok("POST", "/api/tenants/t0/encrypt", json={"plaintext": "eA=="})["ciphertext"]
    series = len(daemon.metrics())

    unknown, statuses = storm(daemon, lambda n: ("POST", f"/api/tenants/nobody-{n}/sign",
                                                 {"payload": "eA=="}))
    assert statuses.keys() == {404} and unknown < 100_000
    altered, statuses = storm(daemon, lambda n: ("POST", f"/api/tenants/t{n % 8}/decrypt",
                                                 {"ciphertext": sealed}))
    assert 400 in statuses and altered < 200_000
    nowhere, statuses = storm(daemon, lambda n: ("POST", f"/nothing/{n}", {}))
    assert statuses.keys() == {404} and nowhere < 100_000

    def strangers(number):
        return "PUT", f"/api/tenants/stranger-{number}", {}

    load = Load(daemon, strangers, connections=16)
    load.token = "no-such-token"
    before = len(daemon.log())
    with load:
        until(lambda: len(load.answers) >= 5000, 60, "5,000 refusals", every=0.05)
    assert load.statuses.keys() == {401}
    # Ten lines a second in words, the others in one.
    assert len(daemon.log()) - before < 300_000

    fake_kms.error("AccessDeniedException", "User: arn:aws:iam::1:user/u is not authorized", 400)
    denied, statuses = storm(daemon, lambda n: ("POST", f"/api/tenants/t{n % 8}/sign",
                                                {"payload": "eA=="}))
    assert 503 in statuses and denied < 300_000
    assert len(daemon.metrics()) - series <= SERIES_MAX * 20  # a route's buckets come together

    fake_kms.faults()
    assert daemon.stop() == 0
    told = [int(number) for number in re.findall(
        r"verb=create-tenant tenant=\* outcome=unauthenticated repeated=(\d+)", daemon.log())]
    single = len(daemon.log_lines("tenant=stranger-"))
    assert sum(told) + single == len(load.answers), "each refusal is in the audit log, or counted there"
