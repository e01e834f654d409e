"""The arithmetic of docs/cost.md is right, by the formula that it gives."""

import re

from harness.process import ROOT

PAGE = (ROOT / "docs/cost.md").read_text()
DAYS = 30


def dollars(requests):
    return (requests - 20_000) * 0.03 / 10_000


def numbers(line):
    return [float(text.replace(",", "")) for text in re.findall(r"\d[\d,]*(?:\.\d+)?", line)]


def test_every_row_follows_from_the_formula():
    rows = re.findall(r"^\| (\d.*) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 5
    for row in rows:
        daemons, tenants, ttl, loads, probes, month = numbers(row)
        assert loads == round(daemons * tenants * 2 * DAYS * 24 * 60 / (0.8 * ttl)), row
        assert probes == daemons * (2 * DAYS * 24 * 360 + DAYS * 24 * 6), row
        assert month == round(1 + dollars(loads + probes), 2), row


def test_the_sentences_follow_too():
    assert f"${3000 * 0.03 / 10_000:.3f}, four times a year" in PAGE
    signatures = 100 * DAYS * 86_400
    assert f"{signatures:,} a month, ${dollars(signatures):.2f}" in PAGE
    misses = 1000 * DAYS * 24
    assert f"{misses:,} requests and ${misses * 0.03 / 10_000:.2f} a month" in PAGE
