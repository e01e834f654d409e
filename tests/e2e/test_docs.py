"""What the pages say is so: every link leads somewhere, and every fenced block has a row here that runs
it, or says which test does or why none can. (test_manual.py, test_runbooks.py and test_quickstart.py
have the rows of their own pages.)"""

import re
import subprocess

import pytest

from harness.fenced import CannotRun, Loads, Runs, anchors, blocks, table_faults
from harness.process import ROOT

ELSEWHERE = {"KMS_TROUBLESHOOTING.md", "quickstart.md"}
TRACKED = [ROOT / name for name in subprocess.run(
    ["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True,
    text=True).stdout.splitlines()]
PAGES = [page for page in TRACKED
         if page.name not in ELSEWHERE and "runbooks" not in page.parts]

POLICY = """cat > betrace-kms-policy.json <<< '{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
"Action":"kms:Decrypt","Resource":"*"}]}'"""
WELL = """betrace-kms rotate --all
until betrace-kms doctor > /dev/null; do sleep 0.5; done"""
LAPTOP = {"http://localhost:4566": "{aws}"}
SYSTEMD = "needs systemd as the first process; "
TABLE = {
    "README.md: Two commands": CannotRun("`make test` is what runs this; `make run`: "
                                         "test_quickstart.py"),
    "README.md: Three lines": CannotRun("test_quickstart.py runs it after `make run`"),
    "README.md: Three lines #2": CannotRun("test_quickstart.py runs it after `make run`"),
    "README.md: Three lines #3": Loads(),
    "README.md: Terraform module `aws-kms`": CannotRun("HCL: test_terraform_module.py"),

    "aws-kms-setup.md: Make the master key": Runs(prints=('^"Enabled"$',)),
    "aws-kms-setup.md: Let the service use it": Runs(prints=('"kms:DescribeKey"',)),
    "aws-kms-setup.md: A key in another account": Runs(
        prints=("^UsedByTheServiceOfAnotherAccount$",)),
    "aws-kms-setup.md: Without the internet": Runs(
        environment={"VPC_ID": "vpc-1", "SUBNET_ID": "subnet-1", "GROUP_ID": "sg-1"},
        prints=("Interface",)),
    "aws-kms-setup.md: Configure": Loads(),
    "aws-kms-setup.md: See that it works": Runs(
        # The reader's tenant has a key of 100 days; the service looks every few seconds.
        before=WELL, prints=("^overall +PASS", "^healthy")),
    "aws-kms-setup.md: On a laptop": Runs(LAPTOP, before=WELL, prints=(
        "^aws.kms.endpoint={aws} ", "^decrypt +PASS ", "^healthy")),
    "aws-kms-setup.md: From `local` to AWS": Runs(prints=("complete: 0 of 0 keys",)),

    "backup.md: Backup": Runs({"/mnt/backup/": "{data}/"}, prints=("1 tenants, ",)),
    "backup.md: Restore": CannotRun(SYSTEMD + "the restore itself: test_backup.py"),
    "backup.md: Check": Runs({"FILE ": "{data}/kms-2026-11-25.db "}, prints=("^ok$",)),

    "deployment.md: The Debian package": CannotRun("test_package.py runs the script behind it"),
    "deployment.md: The Debian package #2": CannotRun("test_package.py, in a machine of its own"),
    "deployment.md: The Debian package #3": CannotRun(SYSTEMD + "keys with -file: "
                                                      "test_config_cli.py and test_diagnose.py"),
    "diagnose.md: Diagnose": Runs(prints=("^Diagnostic bundle created: betrace-kms-diagnostic-",)),
    "traces.md: Traces": Loads(),
    "evidence-format.md: An example": Runs(prints=("Signature valid$",)),
    "logs.md: Levels": Runs(prints=('"level":"DEBUG"',)),

    "aws.md: Permissions": CannotRun("a policy: test_doctor.py and test_terraform_module.py apply "
                                     "the same four actions"),
    "aws.md: Permissions #2": Runs(before=POLICY),
    "aws.md: Configuration": Loads(),
    "aws.md: Configuration #2": Loads(),
    "aws.md: Configuration #3": CannotRun("test_multi_region_key.py makes the same two calls"),
    "aws.md: Test on a laptop": CannotRun("starts a second daemon on the port of the first: "
                                          "test_aws_localstack.py; the same configuration: "
                                          "aws-kms-setup.md, On a laptop"),
    "aws.md: Test on a laptop #2": Runs(environment={"KEY_ARN": "{key}"}, prints=("{key}",)),
    "azure.md: Make the master key": CannotRun("needs Azure and its CLI"),
    "azure.md: Permissions": CannotRun("needs Azure and its CLI"),
    "azure.md: Configuration": Loads(),
    "azure.md: Test on a laptop": CannotRun("needs Azure"),
    "pkcs11.md: Make the master key": CannotRun("needs a token: test_pkcs11.py makes its keys so"),
    "pkcs11.md: Configuration": CannotRun("names a file of secrets: test_pkcs11.py loads the same"),
    "pkcs11.md: Test on a laptop": CannotRun("starts a daemon on port 8080: test_pkcs11.py does the "
                                             "same on a port of its own"),
    "gcp.md: Make the master key": CannotRun("needs Google Cloud and gcloud"),
    "gcp.md: Permissions": CannotRun("needs Google Cloud and gcloud"),
    "gcp.md: Configuration": Loads(),
    "gcp.md: Test on a laptop": CannotRun("needs Google Cloud"),
    "vault.md: Make the master key": CannotRun("needs a Vault: test_vault.py runs it"),
    "vault.md: Permissions": CannotRun("needs a Vault: test_vault.py runs it"),
    "vault.md: Log in": CannotRun("needs a Vault: test_vault.py runs it"),
    "vault.md: Configuration": CannotRun("names a file of secrets: test_vault.py loads it"),
    "vault.md: Test on a laptop": CannotRun("starts a daemon on port 8080: test_vault.py does the "
                                            "same on ports of its own"),
    "local.md: Configuration": CannotRun("shown with the data directory before it: "
                                         "test_local_provider.py"),
    "local.md: Test on a laptop": CannotRun("starts a second daemon on the port of the first: "
                                            "test_quickstart.py"),
}
BLOCKS = [block for page in PAGES for block in blocks(page) if block.language]


def test_every_block_has_its_row():
    assert not table_faults(BLOCKS, TABLE)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_it_does_what_the_page_says(block, reader):
    row = TABLE[block.place]
    if not isinstance(row, CannotRun):
        reader.read(block, row)


@pytest.mark.parametrize("page", TRACKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(other), f"{page}: {target}"


def test_every_page_is_named_by_another():
    linked = {(page.parent / target.partition("#")[0]).resolve() for page in TRACKED
              for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text())}
    lost = [page for page in TRACKED
            if page not in linked and page.parent / "README.md" != page
            and page.name not in ("CHANGELOG.md",)]
    assert not lost


@pytest.mark.parametrize("page", [p for p in PAGES if p.parent.name == "providers"],
                         ids=lambda page: page.stem)
def test_a_providers_page_answers_what_each_provider_is_asked(page):
    headings = re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE)
    for needed in ("Permissions", "Configuration", "What failures look like", "Quotas and cost",
                   "Test on a laptop"):
        assert needed in headings
