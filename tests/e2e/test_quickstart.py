"""A newcomer's walk: `make run`, then the commands of docs/quickstart.md in their order, in one shell,
and what the page shows is what they print."""

import pathlib
import re
import subprocess

import pytest

from harness.fenced import blocks
from harness.process import ROOT, clean_environment, free_port
from harness.waiting import until

PAGE = ROOT / "docs/quickstart.md"


def shown(text):
    """The page's output as a pattern: `…` is anything within its line, blanks at an end are none."""
    lines = [re.escape(line.rstrip()).replace("…", ".*") for line in text.splitlines()]
    return re.compile(r"[ ]*\n".join(lines) + r"[ ]*\n")


def test_a_pattern_of_the_page_is_strict():
    assert shown("valid (key …, version 1)\n").fullmatch("valid (key 01, version 1)\n")
    assert not shown("valid (key …, version 1)\n").fullmatch("valid (key 01, version 2)\n")
    assert not shown("ok\n").fullmatch("ok\nand more\n")


@pytest.fixture
def newcomer(tmp_path):
    """A folder that looks like the clone after `make run`, and a daemon that this command started."""
    port = free_port()
    data = tmp_path / "data"
    environment = clean_environment(tmp_path, QUARKUS_HTTP_PORT=str(port),
                                    BETRACE_KMS_DATA_DIR=str(data))
    log = open(tmp_path / "make-run.log", "w", encoding="utf-8")
    with subprocess.Popen(["make", "run"], cwd=ROOT, env=environment, stdout=log, stderr=log,
                          stdin=subprocess.DEVNULL) as make:
        text = pathlib.Path(log.name).read_text
        try:
            until(lambda: "In another terminal" in text() or make.poll() is not None, 600,
                  "`make run` to greet", every=0.2)
            assert make.poll() is None, text()
            (tmp_path / "build").symlink_to(ROOT / "build")
            yield tmp_path, environment, port, text
        finally:
            if make.poll() is None:
                daemon = re.search(r"\d+", subprocess.run(["pgrep", "-P", str(make.pid)],
                                                          capture_output=True, text=True).stdout)
                subprocess.run(["kill", daemon[0] if daemon else str(make.pid)], check=True)
            make.wait(30)


def test_the_page_in_its_order_prints_what_it_shows(newcomer):
    folder, environment, port, greeting = newcomer
    page = blocks(PAGE)
    assert page[0].language == "sh" and page[0].text == "make run\n"
    assert "betrace-kms tenants create acme" in greeting()
    # One shell for all, as the reader has one; a line of ours after each block.
    with subprocess.Popen(["bash"], cwd=folder, env=environment, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          bufsize=1) as shell:
        printed = ""
        for block in page[1:]:
            if block.language == "text":
                assert shown(block.text).fullmatch(printed), f"{block.place}:\n{printed}"
                printed = ""
                continue
            assert block.language == "bash", block.place
            assert printed == "", f"{block.place}: not shown on the page:\n{printed}"
            shell.stdin.write(block.text.replace("localhost:8080", f"localhost:{port}") +
                              "\necho; echo '=== done ==='\n")
            for line in shell.stdout:
                if line == "=== done ===\n":
                    break
                printed += line
            assert printed.endswith("\n"), block.place
            printed = printed[:-1]
        assert printed == ""
        shell.stdin.close()
        assert shell.wait(10) == 0


def test_the_three_lines_of_the_readme_and_the_same_over_http(newcomer):
    folder, environment, port, _ = newcomer
    (folder / "README.md").write_bytes((ROOT / "README.md").read_bytes())
    lines, over_http, _ = [block for block in blocks(ROOT / "README.md")
                           if block.heading == "Three lines"]
    for block, prints in ((lines, r"^valid \(key "),
                          (over_http, r'"signature":.*"betrace:v1:.*"status":"UP"')):
        done = subprocess.run(["bash", "-e", "-c", block.text.replace("8080", str(port))],
                              cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert re.search(prints, done.stdout, re.MULTILINE | re.DOTALL), done.stdout
