"""terraform/aws-kms under Terraform itself, with the stand-in for the AWS provider, and under
checkov. The stand-in answers "aws_kms_key.arn" where AWS answers the key's ARN."""

import json
import re
import shutil

import pytest

from harness.aws import FOUR
from harness.process import ROOT, clean_environment
from harness.servers import run
from harness.terraform import MODULE, actions, rendered

EXAMPLES = ["basic", "cross-account", "vpc-endpoint"]
ROLE = "arn:aws:iam::123456789012:role/betrace-backend-role"
OURS = {"partition": "aws_partition.partition", "account_id": "aws_caller_identity.account_id"}
ENDPOINT = {"vpc_id": "vpc-1", "subnet_ids": ["subnet-1", "subnet-2"],
            "client_cidr_blocks": ["10.0.0.0/16"]}


class Terraform:
    """A copy of the module's tree, and Terraform in one of its folders."""

    def __init__(self, folder):
        self.root = folder / "aws-kms"
        shutil.copytree(MODULE, self.root)
        settings = folder / "terraform.rc"
        settings.write_text('provider_installation {\n  dev_overrides {\n    "hashicorp/aws" = '
                            f'"{ROOT}/build/terraform"\n  }}\n}}\n')
        self.environment = clean_environment(folder, TF_CLI_CONFIG_FILE=settings,
                                             CHECKPOINT_DISABLE="1", TF_IN_AUTOMATION="1",
                                             TF_CLI_ARGS="-no-color")

    def run(self, *words, folder=".", variables=None):
        given = {f"TF_VAR_{name}": value if isinstance(value, str) else json.dumps(value)
                 for name, value in (variables or {}).items()}
        return run([ROOT / "build/bin/terraform", *words], cwd=self.root / folder,
                   env=self.environment | given, timeout=300)

    def ok(self, *words, **options):
        ended = self.run(*words, **options)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def validate(self, folder="."):
        self.ok("get", folder=folder)
        return json.loads(self.run("validate", "-json", folder=folder).stdout)

    def apply(self, folder=".", **variables):
        """Every resource that was made, by address, and the outputs."""
        self.ok("get", folder=folder)
        self.ok("apply", "-auto-approve", "-input=false", folder=folder, variables=variables)
        values = json.loads(self.ok("show", "-json", folder=folder))["values"]
        modules = [values["root_module"], *values["root_module"].get("child_modules", [])]
        made = {each["address"].removeprefix("module.kms."): each["values"]
                for module in modules for each in module.get("resources", [])}
        return made, {name: each["value"] for name, each in values.get("outputs", {}).items()}

    def edit(self, file, old, new):
        path = self.root / file
        text = path.read_text()
        assert text.count(old) == 1, f"{file}: {text.count(old)} times {old}"
        path.write_text(text.replace(old, new))


@pytest.fixture
def terraform(tmp_path):
    return Terraform(tmp_path)


def test_the_files_are_formatted(terraform):
    ended = terraform.run("fmt", "-check", "-recursive", "-diff")
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("folder", [".", *(f"examples/{name}" for name in EXAMPLES)])
def test_the_module_and_its_examples_are_valid(terraform, folder):
    report = terraform.validate(folder)
    errors = [each for each in report["diagnostics"] if each["severity"] == "error"]
    assert report["valid"] and not errors, report


@pytest.mark.parametrize("file, old, new, complaint", [
    ("main.tf", "enable_key_rotation ", "enable_rotation ", "Unsupported argument"),
    ("main.tf", "enable_key_rotation     = true", "enable_key_rotation = \"often\"",
     "Incorrect attribute value type"),
    ("main.tf", "target_key_id = aws_kms_key.this.key_id", "", "Missing required argument"),
    ("main.tf", "aws_kms_key.this.key_id", "aws_kms_key.this.keyid", "Unsupported attribute"),
    ("alarms.tf", "stat        = \"Sum\"", "", "Missing required argument"),
    ("endpoint.tf", "\"aws_vpc_endpoint\" \"kms\"", "\"aws_kms_endpoint\" \"kms\"",
     "Invalid resource type"),
])
def test_validation_sees_what_is_wrong(terraform, file, old, new, complaint):
    terraform.edit(file, old, new)
    assert complaint in [each["summary"] for each in terraform.validate()["diagnostics"]]


def test_the_basic_example_makes_key_alias_policy_and_alarm(terraform):
    made, outputs = terraform.apply("examples/basic", alarm_topic_arn="arn:aws:sns:::alarms")
    key = made["aws_kms_key.this"]
    assert key["enable_key_rotation"] and key["rotation_period_in_days"] == 365
    assert key["deletion_window_in_days"] == 30
    assert json.loads(key["policy"]) == json.loads(rendered("key", **OURS))
    assert made["aws_kms_alias.this"]["name"] == "alias/betrace"
    policy = made["aws_iam_policy.access[0]"]
    assert policy["name"] == "betrace-kms-access"
    assert policy["policy"] == rendered("iam", key_arn="aws_kms_key.arn")
    assert made["aws_iam_role_policy_attachment.access[0]"]["role"] == "betrace-backend-role"
    alarm = made["aws_cloudwatch_metric_alarm.quota[0]"]
    assert alarm["alarm_actions"] == alarm["ok_actions"] == ["arn:aws:sns:::alarms"]
    assert not [name for name in made if "endpoint" in name or "trail" in name]
    assert outputs["application_properties"] == (
        "betrace.kms.provider=aws\naws.kms.master-key-id=aws_kms_key.arn\n"
        "aws.kms.region=aws_region.region\n")


def test_across_accounts_the_key_names_the_role_and_the_role_names_the_key(terraform):
    # What the stand-in answers is no ARN, and the module takes nothing else.
    terraform.edit("examples/cross-account/main.tf", "[data.aws_iam_role.service.arn]",
                   f'["{ROLE}"]')
    made, _ = terraform.apply("examples/cross-account")
    assert not [name for name in made if name.startswith("aws_iam_policy.access[")]
    assert made["aws_iam_policy.access"]["policy"] == rendered("iam", key_arn="aws_kms_key.arn")


def test_roles_of_other_accounts_get_the_four(terraform):
    made, outputs = terraform.apply(cross_account_role_arns=[ROLE], create_iam_policy=False)
    assert json.loads(made["aws_kms_key.this"]["policy"]) == json.loads(
        rendered("key", [ROLE], **OURS))
    assert outputs["key_policy_json"] == made["aws_kms_key.this"]["policy"]
    assert "iam_policy_arn" not in outputs or outputs["iam_policy_arn"] is None


def test_the_endpoint_is_an_interface_in_the_subnets_for_this_key_and_its_clients(terraform):
    made, outputs = terraform.apply(
        "examples/vpc-endpoint", vpc_id="vpc-1", subnet_ids=["subnet-1", "subnet-2"],
        service_security_group_id="sg-1")
    endpoint = made["aws_vpc_endpoint.kms[0]"]
    assert endpoint["vpc_endpoint_type"] == "Interface"
    assert endpoint["service_name"] == "com.amazonaws.aws_region.region.kms"
    assert sorted(endpoint["subnet_ids"]) == ["subnet-1", "subnet-2"]
    assert endpoint["policy"] == rendered("endpoint", key_arn="aws_kms_key.arn")
    assert actions(endpoint["policy"]) == sorted(FOUR) and not endpoint["private_dns_enabled"]
    rule = made["aws_vpc_security_group_ingress_rule.from_security_group[0]"]
    assert (rule["referenced_security_group_id"], rule["from_port"], rule["to_port"]) == (
        "sg-1", 443, 443)
    assert outputs["application_properties"].endswith(
        "\naws.kms.endpoint=https://aws_vpc_endpoint.dns_entry.dns_name\n")


def test_with_private_dns_the_usual_name_serves(terraform):
    made, outputs = terraform.apply(vpc_endpoint=ENDPOINT | {
        "private_dns_enabled": True, "restrict_to_key": False})
    assert "endpoint" not in outputs["application_properties"]
    assert made["aws_vpc_endpoint.kms[0]"]["policy"] != rendered(
        "endpoint", key_arn="aws_kms_key.arn")
    assert made["aws_vpc_security_group_ingress_rule.from_cidr_block[0]"]["cidr_ipv4"] == (
        "10.0.0.0/16")


def test_the_clients_group_may_be_made_in_the_same_run(terraform):
    """What is not known before the run, ids above all, must not decide how many things there are."""
    terraform.edit("examples/vpc-endpoint/main.tf", "[var.service_security_group_id]",
                   "[aws_security_group.service.id]")
    with open(terraform.root / "examples/vpc-endpoint/main.tf", "a") as file:
        file.write('resource "aws_security_group" "service" {\n  vpc_id = var.vpc_id\n}\n')
    made, _ = terraform.apply("examples/vpc-endpoint", vpc_id="vpc-1", subnet_ids=["subnet-1"],
                              service_security_group_id="unused")
    rule = made["aws_vpc_security_group_ingress_rule.from_security_group[0]"]
    assert rule["referenced_security_group_id"] == "aws_security_group.id"


def test_with_cloudtrail_there_are_four_alarms_on_this_key(terraform):
    made, outputs = terraform.apply(cloudtrail_log_group_name="trail")
    assert outputs["alarm_names"] == [
        f"betrace-kms-{name}" for name in ("denied", "quota", "tampered", "unusable")]
    for name in ("denied", "tampered", "unusable"):
        watched = made[f'aws_cloudwatch_log_metric_filter.trail["{name}"]']
        (metric,) = watched["metric_transformation"]
        alarm = made[f'aws_cloudwatch_metric_alarm.trail["{name}"]']
        assert (alarm["namespace"], alarm["metric_name"]) == (metric["namespace"], metric["name"])
        assert '"*aws_kms_key.key_id*"' in watched["pattern"] and len(watched["pattern"]) < 1024


def test_alarms_can_be_left_out(terraform):
    made, outputs = terraform.apply(cloudtrail_log_group_name="trail", create_alarms=False)
    assert outputs["alarm_names"] == [] and not [n for n in made if "cloudwatch" in n]


@pytest.mark.parametrize("name, value, complaint", [
    ("name", "aws/kms", "AWS keeps for itself"),
    ("rotation_period_in_days", 30, "90 to 2560"),
    ("deletion_window_in_days", 6, "7 to 30"),
    ("quota_alarm_percent", 0, "above 0"),
    ("cross_account_role_arns", ["*"], "wildcards and whole accounts are not accepted"),
    ("cross_account_role_arns", ["arn:aws:iam::123456789012:root"], "whole accounts"),
    ("vpc_endpoint", ENDPOINT | {"subnet_ids": []}, "at least one subnet"),
    ("vpc_endpoint", ENDPOINT | {"client_cidr_blocks": []}, "Name the clients"),
])
def test_values_that_cannot_be_meant_are_refused_before_anything_is_made(
        terraform, name, value, complaint):
    ended = terraform.run("plan", "-input=false", variables={name: value})
    words = re.sub(r"[\s│╷╵]+", " ", ended.stdout + ended.stderr)
    assert ended.returncode == 1 and complaint in words, words


def test_terraform_will_not_destroy_the_key(terraform):
    terraform.apply()
    ended = terraform.run("destroy", "-auto-approve", "-input=false")
    assert ended.returncode == 1 and "prevent_destroy" in ended.stdout + ended.stderr


def checkov(folder):
    """How many checks passed, and the ids of those that failed."""
    ended = run([ROOT / "build/venv-terraform/bin/checkov", "--skip-download", "--quiet",
                 "--framework", "terraform", "--output", "json", "-d", folder],
                env=clean_environment(folder), timeout=300)
    report = json.loads(ended.stdout)
    return report["summary"]["passed"], {
        each["check_id"] for each in report["results"]["failed_checks"]}


def test_checkov_finds_nothing_in_the_module_and_its_examples(terraform):
    passed, failed = checkov(terraform.root)
    assert not failed and passed > 20


def test_checkov_would_find_a_key_without_rotation(terraform):
    terraform.edit("main.tf", "enable_key_rotation     = true", "enable_key_rotation     = false")
    assert "CKV_AWS_7" in checkov(terraform.root)[1]
