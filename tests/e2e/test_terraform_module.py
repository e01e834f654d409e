"""The policies that terraform/aws-kms makes, applied where IAM decides: with them the service works,
and without any one permission it says which. Terraform's own checks are `make check-terraform`."""

import json
import re
import uuid

import pytest

from harness.aws import FOUR, Account, aws_environment, aws_properties
from harness.terraform import MODULE, actions, rendered
from test_doctor import command

ROLE_IN_ANOTHER_ACCOUNT = "arn:aws:iam::123456789012:role/betrace-backend-role"
TEST_OF = {"kms:GenerateDataKey": "generate_data_key", "kms:Encrypt": "encrypt",
           "kms:Decrypt": "decrypt", "kms:DescribeKey": "describe_key"}


def validate_names(daemon, missing):
    words = daemon.validate()["tests"][TEST_OF[missing]]
    return re.match(rf"FAIL: User: \S+ is not authorized to perform: {missing} ", words)


def doctor_names(daemon, missing):
    worst = command(daemon)[0]
    return worst["id"] == "iam-denied" and worst["title"] == f"Access denied: {missing}"


@pytest.fixture
def account(ministack):
    return Account(ministack)


def user_with(account, document):
    """A user with this policy attached, as the module attaches it to a role: its credentials."""
    name = f"betrace-{uuid.uuid4()}"
    account.iam.create_user(UserName=name)
    attached = account.iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]
    account.iam.attach_user_policy(UserName=name, PolicyArn=attached)
    key = account.iam.create_access_key(UserName=name)["AccessKey"]
    return {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}


@pytest.fixture
def serve(daemons, ministack, account):
    def make(credentials):
        return daemons(aws_properties(ministack, account.key),
                       environment=aws_environment(**credentials))
    return make


def test_the_iam_policy_is_exactly_the_four_permissions_on_the_key():
    (statement,) = json.loads(rendered("iam", key_arn="the-key"))["Statement"]
    assert sorted(statement["Action"]) == sorted(FOUR)
    assert statement["Resource"] == "the-key" and statement["Effect"] == "Allow"


def test_with_the_modules_policy_validation_passes_and_a_tenant_signs(serve, account):
    daemon = serve(user_with(account, rendered("iam", key_arn=account.key)))
    report = daemon.validate()
    assert report["overall"] == "PASS", report
    daemon.create("acme")
    signature = daemon.sign("acme", b"x")["signature"]
    assert daemon.verifies("acme", b"x", signature)["valid"]


@pytest.mark.parametrize("missing", FOUR)
def test_without_any_one_of_them_validate_and_doctor_name_it(serve, account, missing):
    document = json.loads(rendered("iam", key_arn=account.key))
    document["Statement"][0]["Action"].remove(missing)
    daemon = serve(user_with(account, json.dumps(document)))
    assert validate_names(daemon, missing), daemon.validate()
    assert doctor_names(daemon, missing), command(daemon)
    others = [other for other in FOUR if other != missing]
    assert not any(validate_names(daemon, other) for other in others), daemon.validate()


def test_the_policy_helps_with_no_other_key(serve, account):
    other = account.kms.create_key()["KeyMetadata"]["Arn"]
    daemon = serve(user_with(account, rendered("iam", key_arn=other)))
    # Without a data key there is nothing to decrypt.
    refused = [action for action in FOUR if action != "kms:Decrypt"]
    assert all(validate_names(daemon, action) for action in refused), daemon.validate()


def session_of_a_role(account, ministack):
    """A role that no IAM policy lets near a key: its ARN, and credentials of a session."""
    user, credentials = account.user(["kms:ListKeys"])
    role = account.role(user, ["kms:ListKeys"])
    session = ministack.client("sts", **credentials).assume_role(
        RoleArn=role, RoleSessionName="betrace")["Credentials"]
    return role, {"key": session["AccessKeyId"], "secret": session["SecretAccessKey"],
                  "token": session["SessionToken"]}


def test_the_key_policy_lets_the_roles_it_names_use_the_key_and_no_others(serve, account, ministack):
    """MiniStack has one account: there a key policy alone is enough for a role that it names. In
    AWS a role of another account needs the IAM policy as well."""
    role, credentials = session_of_a_role(account, ministack)
    ours = {"partition": "aws", "account_id": "000000000000"}
    account.kms.put_key_policy(KeyId=account.key, PolicyName="default", Policy=rendered(
        "key", [ROLE_IN_ANOTHER_ACCOUNT], **ours))
    daemon = serve(credentials)
    assert daemon.validate()["overall"] == "FAIL"
    account.kms.put_key_policy(KeyId=account.key, PolicyName="default", Policy=rendered(
        "key", [ROLE_IN_ANOTHER_ACCOUNT, role], **ours))
    report = daemon.validate()
    assert report["overall"] == "PASS", report


def test_all_policies_name_the_same_four():
    assert actions(rendered("endpoint", key_arn="the-key")) == sorted(FOUR)
    ours = {"partition": "aws", "account_id": "000000000000"}
    assert actions(rendered("key", **ours)) == ["kms:*"], "the account's own, as AWS advises"
    assert actions(rendered("key", [ROLE_IN_ANOTHER_ACCOUNT], **ours)) == sorted(["kms:*", *FOUR])


def test_the_readme_lists_every_input_and_output():
    text = (MODULE / "README.md").read_text()
    for kind, file in (("variable", "variables.tf"), ("output", "outputs.tf")):
        declared = re.findall(rf'^{kind} "(\w+)"', (MODULE / file).read_text(), re.M)
        title = "## Inputs" if kind == "variable" else "## Outputs"
        section = text.split(title)[1].split("\n## ")[0]
        assert re.findall(r"^\| `(\w+)` \|", section, re.M) == declared
