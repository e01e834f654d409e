"""OTLP ingest that is killed, and what stands behind it dead for long: what was acknowledged is in
the log and arrives, and memory does not grow with what waits."""

import gzip
import time

from conftest import TORTURE
from harness.evidence import checkpoint, size_of
from harness.kills import Kills, seeded, whole_log
from harness.otlp import (PROTOBUF, TRACES, Template, number_of, request_of, signature_of,
                          spans_of)
from harness.waiting import until
from harness.wire import Load, Raw, percentile

QUEUE = "kms_otlp_queue_bytes"
TENANTS = ("acme", "other")


def forwarding_to(daemons, next_in_line, **more):
    daemon = daemons({"betrace.otlp.forward-endpoint": next_in_line.url} | more)
    for tenant in TENANTS:
        daemon.create(tenant)
    return daemon


# --- kills --------------------------------------------------------------------------------------

KILLS = 200 if TORTURE else 6


def tenant_of(number):
    return (None, *TENANTS)[number % 3]


def numbers_of(call):
    """1 to 20 spans a call, those of two tenants and of none among them."""
    return [call << 8 | i for i in range(1, 2 + call % 20)]


def batch(call):
    content, headers = request_of(numbers_of(call), tenant_of), PROTOBUF
    if call % 4 == 0:
        content, headers = gzip.compress(content), PROTOBUF | {"Content-Encoding": "gzip"}
    return "POST", TRACES, Raw(content, headers)


def acknowledged(answers):
    """Their spans. A body would say that some were not signed."""
    assert not [answer for answer in answers if answer.status == 200 and answer.body]
    return [number for answer in answers if answer.status == 200
            for number in numbers_of(answer.number)]


def test_what_was_acknowledged_is_in_the_log_and_downstream_however_often_it_is_killed(
        daemons, next_in_line):
    arrived = {}  # number: the signature, or None

    def take(body):
        arrived.update((number_of(span), signature_of(span)) for span in spans_of(body))
    next_in_line.take = take
    daemon = forwarding_to(daemons, next_in_line,
                           **{"betrace.evidence.checkpoint.interval-seconds": 1,
                              "betrace.evidence.checkpoint.leaves": 40})
    rng, taken = seeded(), []
    kills = Kills(daemon, batch, acknowledged, rng)
    for of_a_kill in kills.each(KILLS):
        taken += of_a_kill
        # Now and then something waits from one kill to the next.
        next_in_line.status = rng.choice([lambda _: 200, lambda _: 503,
                                          lambda _: rng.choice([200, 503])])
    next_in_line.status = lambda _: 200

    def all_arrived():
        missing = [number for number in taken if number not in arrived]
        assert not missing, f"{len(missing)} of {len(taken)} are not there, the first: {missing[:3]}"
        return True
    until(all_arrived, 120, "what was acknowledged to arrive", every=0.5)
    until(lambda: daemon.metric(QUEUE) == 0, 60, "an empty queue")
    print(f"{KILLS} kills, {len(taken)} spans acknowledged, {len(arrived)} arrived")
    assert len(taken) >= 10 * KILLS
    assert not [number for number, signature in arrived.items()
                if (signature is None) != (tenant_of(number) is None)]
    for tenant in TENANTS:
        checkpoint(daemon, tenant)
        in_log = whole_log(daemon, tenant, lambda leaf: (int(leaf["spanId"], 16),
                                                         leaf["signature"]))
        # Also what nobody was told of: a request is there whole, in both places, or not at all.
        assert dict(in_log) == {number: signature for number, signature in arrived.items()
                                if tenant_of(number) == tenant}
        assert len(dict(in_log)) == len(in_log)
    kills.check_checkpoints()


# --- an outage of what stands behind it ---------------------------------------------------------

RATE, SPANS, SIZE = (5_000, 3_000_000, 500) if TORTURE else (1_000, 10_000, 100)  # a second; a batch
COMPLIANCE_EVERY = 5
MEMORY_MORE = 64  # MiB


def whose(place):
    return TENANTS[place % 2] if place % COMPLIANCE_EVERY == 0 else None


class Places:
    """Which spans of batches have come, a byte each."""

    def __init__(self):
        self.seen = bytearray()

    def take(self, body):
        for span in spans_of(body):
            number = number_of(span)
            at = (number >> 32) * SIZE + (number & 0xFFFFFFFF)
            if at >= len(self.seen):
                self.seen.extend(bytes(at + 1_000_000))
            self.seen[at] = 1

    def has(self, batches):
        return all(self.seen.count(1, n * SIZE, (n + 1) * SIZE) == SIZE for n in batches)


def journal_bytes(daemon):
    return sum(path.stat().st_size for path in (daemon.data / "evidence/journal").iterdir())


def test_a_long_outage_of_the_next_in_line_costs_disk_not_memory_and_loses_nothing(
        daemons, next_in_line):
    daemon = forwarding_to(daemons, next_in_line)
    places, template = Places(), Template(SIZE, whose)
    next_in_line.take = places.take
    memory = []

    def call(n):
        return "POST", TRACES, Raw(template.request(n), PROTOBUF)

    with Load(daemon, call, first=1, pace=SIZE / RATE) as load:
        def until_taken(spans, what):
            until(lambda: (len(load.answers) - before) * SIZE >= spans, 60 + 10 * SPANS / RATE, what,
                  every=0.1)
            memory.append(daemon.memory())
        before = 0
        until_taken(RATE, "spans of before the outage")
        next_in_line.stop()  # connections are refused
        before, began = len(load.answers), time.monotonic()
        until_taken(SPANS / 10, "a tenth of the outage's spans")
        until_taken(SPANS / 2, "half of the outage's spans")
        next_in_line.status = lambda _: 503
        next_in_line.start()
        until_taken(SPANS, "the outage's spans")
        lasted, queued = time.monotonic() - began, daemon.metric(QUEUE)
        in_outage = load.answers[before:]
        assert journal_bytes(daemon) >= queued >= 300 * SPANS
        next_in_line.status = lambda _: 200
        came_back = time.monotonic()
        until(lambda: daemon.metric(QUEUE) == 0, 60 + 10 * SPANS / RATE, "the queue to be empty",
              every=0.05)
        caught_up = time.monotonic() - came_back
        memory.append(daemon.memory())
        new = len(load.answers) - before - len(in_outage)
    seconds = [answer.seconds for answer in in_outage]
    print(f"{len(in_outage) * SIZE} spans in {lasted:.0f} s of outage, "
          f"{len(in_outage) * SIZE / lasted:.0f}/s; a batch is answered in "
          f"{percentile(seconds, .5) * 1e3:.0f} ms, p99 {percentile(seconds, .99) * 1e3:.0f} ms; "
          f"queue {queued / 2**20:.0f} MiB; caught up in {caught_up:.0f} s, {new * SIZE} new spans "
          f"meanwhile; resident MiB, now and at most: {[tuple(map(round, each)) for each in memory]}")
    assert load.statuses.keys() == {200} and not any(answer.body for answer in load.answers)
    taken = [answer.number for answer in load.answers]
    until(lambda: places.has(taken), 60, "all that was acknowledged to arrive")
    until(lambda: daemon.metric(QUEUE) == 0, 60, "the queue to be empty")
    signed = len(taken) * SIZE // COMPLIANCE_EVERY
    assert daemon.metric('kms_otlp_items_total{signal="traces",result="signed"}') == signed
    assert sum(size_of(checkpoint(daemon, tenant).read_text()) for tenant in TENANTS) == signed
    assert journal_bytes(daemon) <= 2 * 64 << 20  # what has arrived is removed but for a segment
    (_, early, *later), peak = memory, daemon.memory()[1]
    print(f"{peak:.0f} MiB at the most, in the end")
    assert max(resident for resident, _ in later) <= early[0] + MEMORY_MORE, "MiB"
    assert peak <= early[1] + MEMORY_MORE, "MiB at the most"
