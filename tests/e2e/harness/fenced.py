"""The fenced blocks of a document, taken by their place and run as its reader would run them.

A test gives each block a row: how it is run, or why it cannot be. `table_faults` finds blocks
without a row and rows without a block, so that nothing is left out silently.
"""

import dataclasses
import functools
import os
import pathlib
import re
import signal
import subprocess

from .process import clean_environment

FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,}) *(?P<language>[\w+-]*)")


@dataclasses.dataclass(frozen=True)
class Block:
    path: pathlib.Path
    line: int  # of its first fence
    heading: str
    number: int  # under its heading, from 1
    language: str  # "" where the fence names none
    text: str

    @property
    def place(self):
        """file: heading, and which block under it from the second on."""
        place = f"{self.path.name}: {self.heading}"
        return place if self.number == 1 else f"{place} #{self.number}"


def blocks(path, *languages):
    """Of one document, in its order; of these languages, or of all."""
    found, heading, counts = [], "", {}
    lines = iter(enumerate(pathlib.Path(path).read_text().splitlines(), 1))
    for number, line in lines:
        if line.startswith("#"):
            heading = line.lstrip("#").strip()
        fence = FENCE.match(line)
        if fence is None:
            continue
        body = []
        for _, inner in lines:
            if inner.strip() == fence["fence"]:
                break
            body.append(inner.removeprefix(fence["indent"]))
        else:
            raise ValueError(f"{path}:{number}: a fence that is never closed")
        counts[heading] = counts.get(heading, 0) + 1
        found.append(Block(path, number, heading, counts[heading], fence["language"],
                           "\n".join(body) + "\n"))
    return [block for block in found if not languages or block.language in languages]


def anchors(path):
    """As forges make them of headings."""
    return {re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower()).replace(" ", "-")
            for line in pathlib.Path(path).read_text().splitlines() if line.startswith("#")}


@dataclasses.dataclass(frozen=True)
class Runs:
    """In bash. As it stands, or with what the reader has to `replace`: text of the block → what
    stands for it here, `{name}` being one of the reader's own things (Reader.things)."""
    replace: dict = dataclasses.field(default_factory=dict)
    before: str = ""  # bash that makes the situation in which the block is read
    environment: dict = dataclasses.field(default_factory=dict)  # values as in `replace`
    exits: int = 0
    prints: tuple = ()  # regular expressions that its output has to contain, filled likewise
    endless: bool = False  # `watch`, `tail -f`: ended by us once it has printed all that


@dataclasses.dataclass(frozen=True)
class Loads:
    """Lines of application.properties: the daemon's own with these loads without a complaint."""
    replace: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class CannotRun:
    why: str


def table_faults(found, table):
    """What is wrong with the table as sentences; none when it accounts for every block."""
    by_place = {}
    for block in found:
        by_place.setdefault(block.place, []).append(block)
    faults = [f"two blocks at the place {place!r}" for place, at in by_place.items() if at[1:]]
    faults += [f"no row for {at[0].path}:{at[0].line}, {place!r}"
               for place, at in by_place.items() if place not in table]
    faults += [f"no block for the row {place!r}" for place in table if place not in by_place]
    for place, row in table.items():
        if isinstance(row, CannotRun) and not row.why:
            faults.append(f"no reason at {place!r}")
        faults += [f"{place!r} does not contain {name!r}, which its row replaces"
                   for name in getattr(row, "replace", {})
                   for block in by_place.get(place, []) if name not in block.text]
    return faults


# As root of a user namespace of its own: /var/log with the daemon's log where documents have it.
PRIVATE = ["unshare", "--map-root-user", "--mount"]
PRIVATE_LOG = """mount -t tmpfs none /var/log && mkdir /var/log/betrace &&
ln -s "$0" /var/log/betrace/backend.log && exec "$@" """


@functools.cache
def can_be_private():
    try:
        return subprocess.run([*PRIVATE, "mount", "-t", "tmpfs", "none", "/var/log"],
                              capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


class Reader:
    """Somebody at the daemon's machine with its token and an AWS CLI. The address and the log's
    path of the documents, which are the packaged service's, lead to this daemon: curl's own
    configuration connects to its port (and to the emulator for a cloud machine's metadata, which is
    never asked), and /var/log is the reader's own. Where the kernel allows
    no such namespace the log's path is replaced in the text."""

    def __init__(self, daemon, program, endpoint=None, path=(), things=None):
        self.daemon = daemon
        self.things = dict(things or {})
        metadata = endpoint.removeprefix("http://") if endpoint else "127.0.0.1:1"
        (daemon.folder / ".curlrc").write_text(
            "no-progress-meter\n"  # which would stand in the middle of other programs' lines
            f'connect-to = "localhost:8080:127.0.0.1:{daemon.port}"\n'
            f'connect-to = "169.254.169.254:80:{metadata}"\n')
        bin_folder = daemon.folder / "bin"
        bin_folder.mkdir(exist_ok=True)
        if not (bin_folder / "betrace-kms").exists():
            (bin_folder / "betrace-kms").symlink_to(program)
        self.environment = clean_environment(
            daemon.folder, ADMIN_TOKEN=daemon.token, TERM="xterm", AWS_PAGER="",
            **({"AWS_ENDPOINT_URL": endpoint} if endpoint else {}),
            AWS_DEFAULT_REGION="us-east-1", AWS_ACCESS_KEY_ID="test",
            AWS_SECRET_ACCESS_KEY="test")
        self.environment["PATH"] = os.pathsep.join(
            [str(bin_folder), *map(str, path), self.environment["PATH"]])

    def text(self, block, row):
        """What is typed instead of the block."""
        text = block.text
        for theirs, ours in row.replace.items():
            text = text.replace(theirs, self.fill(ours))
        return self.at_home(text)

    def fill(self, text, quoted=str):
        for name, thing in self.things.items():
            text = text.replace("{" + name + "}", quoted(str(thing)))
        return text

    def at_home(self, text):
        if can_be_private():
            return text
        return text.replace("/var/log/betrace/backend.log", str(self.daemon.log_path))

    def bash(self, text, seconds=120, endless=(), environment=None):
        """(exit code, output with errors). Like a careful reader it stops at the first command
        that fails. With `endless` expressions it is ended once it has printed them all."""
        command = ["bash", "-e", "-o", "pipefail", "-c", text]
        if endless:  # what is not written to a terminal is otherwise kept until the end
            command = ["stdbuf", "-oL", *command]
        if can_be_private():
            command = [*PRIVATE, "bash", "-c", PRIVATE_LOG, self.daemon.log_path, *command]
        output = self.daemon.folder / "reader.log"
        with open(output, "wb") as to:
            process = subprocess.Popen(command, cwd=self.daemon.folder,
                                       env=self.environment | (environment or {}),
                                       stdin=subprocess.DEVNULL, stdout=to,
                                       stderr=subprocess.STDOUT, start_new_session=True)
        try:
            for _ in range(int(seconds / 0.1)):
                try:
                    process.wait(0.1)
                    break
                except subprocess.TimeoutExpired:
                    if endless and not missing(endless, output.read_text(errors="replace")):
                        break
            else:
                raise AssertionError(f"not at its end after {seconds} s:\n{text}")
        finally:
            ended = process.poll() is not None
            if not ended:
                os.killpg(process.pid, signal.SIGKILL)  # the session is the block's own
                process.wait()
        text = output.read_text(errors="replace")
        return (process.returncode if ended else None), text

    def load(self, text):
        """Complaints of `betrace-kms config` about the daemon's configuration with these lines in
        the place of its own of the same keys."""
        keys = {line.split("=")[0] for line in text.splitlines()}
        kept = [line for line in self.daemon.config.read_text().splitlines()
                if line.split("=")[0] not in keys]
        path = self.daemon.folder / "read.properties"
        path.write_text("\n".join(kept) + "\n" + self.at_home(text))
        done = self.daemon.cli("--config", path, "config")
        shown = [line.split("#")[0].strip() for line in done.stdout.splitlines()]
        complaints = [done.stderr] if done.returncode or done.stderr else []
        return complaints + [f"not in effect: {line}" for line in text.splitlines()
                             if line.strip() and not line.startswith("#")
                             and line.strip() not in shown]

    def read(self, block, row):
        """Runs or loads the block and asserts what its row expects; answers its output."""
        text = self.text(block, row)
        if isinstance(row, Loads):
            complaints = self.load(text)
            assert not complaints, f"{block.place}\n{text}" + "\n".join(complaints)
            return ""
        environment = {name: self.fill(value) for name, value in row.environment.items()}
        if row.before:
            code, out = self.bash(self.at_home(self.fill(row.before)), environment=environment)
            assert code == 0, f"before {block.place}: {row.before}\n{out}"
        prints = [self.fill(each, quoted=re.escape) for each in row.prints]
        code, out = self.bash(text, endless=prints if row.endless else (),
                              environment=environment)
        where = f"{block.path}:{block.line} {block.place}\n{text}\n{out}"
        assert code == (None if row.endless else row.exits), f"exit code {code}: {where}"
        assert not missing(prints, out), f"not printed: {missing(prints, out)} {where}"
        return out


def missing(expressions, text):
    return [each for each in expressions if not re.search(each, text, re.MULTILINE)]
