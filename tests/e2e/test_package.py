"""The Debian package, installed into a machine that has nothing, and what comes with it."""

import configparser
import os
import re
import shutil
import subprocess

import pytest
import requests

from harness.process import ROOT, free_port
from harness.waiting import until

LINT = ROOT / "build/venv-lint/bin"
SERVICE = "/lib/systemd/system/betrace-kms.service"
KEYS = "var/lib/betrace-kms"


def sh(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def package():
    sh(ROOT / "tools/package")
    (made,) = (ROOT / "build/package").glob("*.deb")
    return made


class Machine:
    """A folder with Debian 12 and nothing else, in which the package is installed; its service is
    started as systemd would, by the lines of its unit."""

    def __init__(self, root, package):
        self.root, self.port, self.process = root, free_port(), None
        sh("tar", "-xf", ROOT / "build/debian12.tar", "-C", root)
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        shutil.copy(ROOT / "packaging/install", root / "tmp")
        shutil.copy(package, root / "tmp/betrace-kms.deb")
        self.inside("/tmp/install", "/tmp/betrace-kms.deb")
        unit = configparser.ConfigParser(strict=False, interpolation=None)
        unit.optionxform = str
        unit.read(root / SERVICE[1:])
        self.unit = unit

    def inside(self, *command, user=None):
        return sh(*self.command(command, user))

    def command(self, command, user=None):
        who = [f"--userspec={user}:{user}"] if user else []
        mounted = f'mount -t proc proc "{self.root}/proc" && exec "$0" "$@"'
        return ["unshare", "--mount", "sh", "-c", mounted, "chroot", *who, self.root, "env", "-i",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin", f"QUARKUS_HTTP_PORT={self.port}", *command]

    def kms(self, *words):
        """As root, at the shell of the machine."""
        return self.inside("betrace-kms", *words)

    def start(self):
        service = self.unit["Service"]
        command = self.command(service["ExecStart"].split(), service["User"])
        self.process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)

        def up():
            assert self.process.poll() is None, self.log()
            try:
                url = f"http://127.0.0.1:{self.port}/q/health/ready"
                return requests.get(url, timeout=2).status_code == 200
            except requests.ConnectionError:
                return False
        until(up, 30, "the service to be up")

    def stop(self):
        if self.process is not None:
            self.process.terminate()  # unshare, sh and chroot have become the service
            assert self.process.wait(30) == 0
            self.process = None

    def log(self):
        path = self.root / "var/log/betrace/backend.log"
        return path.read_text() if path.exists() else "no log"


@pytest.fixture(scope="module")
def machine(package, tmp_path_factory):
    made = Machine(tmp_path_factory.mktemp("machine"), package)
    yield made
    made.stop()
    shutil.rmtree(made.root)


def test_its_life_from_the_installation_to_the_purge(machine, package):
    config = machine.root / "etc/betrace/application.properties"
    assert oct(config.stat().st_mode)[-3:] == "640"
    assert os.readlink(machine.root / "etc/systemd/system/betrace-backend.service") == SERVICE
    machine.start()
    assert oct((machine.root / KEYS).stat().st_mode)[-3:] == "700"
    assert "listening on http://127.0.0.1:" in machine.log()
    machine.kms("tenants", "create", "acme")
    (machine.root / "tmp/event").write_text("evidence")
    signature = machine.kms("sign", "--tenant", "acme", "/tmp/event").strip()
    verify = ("verify", "--tenant", "acme", "--signature", signature, "/tmp/event")
    machine.stop()

    # A restart, and an upgrade: keys and the administrator's lines stay.
    with config.open("a", encoding="utf-8") as file:
        file.write("kms.cache.max-size=4321\n")
    machine.inside("dpkg", "-i", "/tmp/betrace-kms.deb")
    machine.start()
    assert "valid" in machine.kms(*verify)
    assert "kms.cache.max-size=4321" in machine.kms("config")
    machine.stop()

    machine.inside("apt-get", "remove", "-y", "betrace-kms")
    assert (machine.root / KEYS / "betrace-kms.db").exists() and config.exists()
    said = machine.inside("apt-get", "purge", "-y", "betrace-kms")
    assert "the keys stay in /var/lib/betrace-kms" in said
    assert (machine.root / KEYS / "betrace-kms.db").exists()
    assert not config.exists() and not (machine.root / "var/log/betrace").exists()

    machine.inside("/tmp/install", "/tmp/betrace-kms.deb")
    machine.start()
    assert "valid" in machine.kms(*verify)


def test_the_unit_leaves_the_service_little_to_reach(machine, tmp_path):
    unit = tmp_path / "betrace-kms.service"
    unit.write_text((machine.root / SERVICE[1:]).read_text()
                    .replace("/usr/bin/betrace-kms", str(machine.root / "usr/bin/betrace-kms"))
                    .replace("Documentation=man:betrace-kms(1)\n", ""))
    assert sh("systemd-analyze", "verify", unit) == ""
    # 1.5, of 10.
    sh("systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", unit)
    assert machine.unit["Install"]["Alias"] == "betrace-backend.service"
    assert machine.unit["Service"]["StateDirectory"] == KEYS.removeprefix("var/lib/")


def test_lintian_has_nothing_to_say(package):
    sh("lintian", "--allow-root", "--fail-on", "error,warning", "--suppress-tags",
       "initial-upload-closes-no-bugs", package)


def test_logrotate_moves_the_log_and_no_line_is_lost(daemons, tmp_path):
    daemon = daemons()
    daemon.create("before")
    signal_unit = "systemctl kill --kill-who=main --signal=HUP betrace-kms.service"
    rules = (ROOT / "packaging/betrace-kms.logrotate").read_text()
    assert signal_unit in rules and rules.startswith("/var/log/betrace/backend.log {")
    ours = tmp_path / "logrotate.conf"
    ours.write_text(rules.replace("/var/log/betrace/backend.log", str(daemon.log_path))
                    .replace(signal_unit, f"kill -HUP {daemon.process.pid}"))
    sh("logrotate", "--force", "--state", tmp_path / "state", ours)
    until(lambda: daemon.log_path.exists(), 10, "the new log")
    daemon.create("after")
    until(lambda: "tenant=after" in daemon.log(), 10, "the line in the new log")
    moved = daemon.log_path.with_name(daemon.log_path.name + ".1").read_text()
    assert "tenant=before" in moved and "tenant=before" not in daemon.log()
    assert "tenant=after" not in moved


def commands(machine):
    listed = machine.kms("--help").split("Subcommands:")[1].split("\n\n")[0]
    return set(re.findall(r"^  ([\w-]+) ", listed, re.MULTILINE))


def test_the_manual_page_renders_and_names_every_command(package, tmp_path, machine):
    sh("dpkg-deb", "-x", package, tmp_path)
    page = tmp_path / "usr/share/man/man1/betrace-kms.1.gz"
    done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", page], capture_output=True,
                          text=True, env={**os.environ, "MANWIDTH": "100"})
    assert done.returncode == 0 and done.stderr == "", done.stderr
    for command in commands(machine):
        assert re.search(rf"^ +{command}\b", done.stdout, re.MULTILINE), command
    for section in ("FILES", "ENVIRONMENT", "SIGNALS"):
        assert f"\n{section}\n" in done.stdout


def test_every_shell_offers_every_command(package, tmp_path, machine):
    sh("dpkg-deb", "-x", package, tmp_path)
    share, wanted = tmp_path / "usr/share", commands(machine)
    bash = share / "bash-completion/completions/betrace-kms"
    offered = sh("bash", "-c", f'. {bash}; COMP_WORDS=(betrace-kms ""); COMP_CWORD=1; '
                 '$(complete -p betrace-kms | sed "s/.*-F \\([^ ]*\\).*/\\1/"); '
                 'printf "%s\\n" "${COMPREPLY[@]}"')
    assert wanted <= {line.strip() for line in offered.splitlines()}
    fish = share / "fish/vendor_completions.d/betrace-kms.fish"
    offered = sh("fish", "--no-config", "-c", f'source {fish}; complete -C "betrace-kms "')
    assert wanted <= {line.split("\t")[0] for line in offered.splitlines()}
    zsh = share / "zsh/vendor-completions/_betrace-kms"
    sh("zsh", "-n", zsh)
    assert all(re.search(rf"\b{command}\b", zsh.read_text()) for command in wanted)


def test_the_image_and_the_composition_are_sound_and_run_the_same_scripts():
    sh(LINT / "hadolint", ROOT / "Dockerfile")
    sh(LINT / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", ROOT / "compose.yaml")
    steps = re.findall(r"^RUN (.*)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert [step.split()[0] for step in steps] == ["tools/package", "useradd", "/tmp/install"]
    for mounted in re.findall(r"- (\./[^:]+):", (ROOT / "compose.yaml").read_text()):
        assert (ROOT / mounted).exists(), mounted
