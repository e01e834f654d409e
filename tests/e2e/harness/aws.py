"""How a daemon is told about an AWS stand-in, and who may do what there."""

import json
import uuid

FOUR = ["kms:GenerateDataKey", "kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"]


def aws_properties(server, key, **more):
    return {"betrace.kms.provider": "aws", "aws.kms.endpoint": server.url,
            "aws.kms.region": "us-east-1", "aws.kms.master-key-id": key, **more}


def further_properties(which, server, key, **more):
    """The same for the `previous` provider, which is left, or the `second` one."""
    return {f"betrace.kms.{which}-provider": "aws",
            **{f"betrace.kms.{which}.{name}": value
               for name, value in aws_properties(server, key, **more).items()
               if name.startswith("aws.")}}


def previous_properties(server, key, **more):
    return further_properties("previous", server, key, **more)


def aws_environment(key="test", secret="test", token=None):
    environment = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
    return environment | ({"AWS_SESSION_TOKEN": token} if token else {})


def aws_profiles(daemon, **credentials):
    """The daemon's ~/.aws/credentials: a profile for each name, of an access key and its secret."""
    path = daemon.folder / ".aws" / "credentials"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(
        f"[{name}]\naws_access_key_id = {each['key']}\naws_secret_access_key = {each['secret']}\n"
        for name, each in credentials.items()))


def policy(actions, resource):
    return json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": actions, "Resource": resource}]})


class Account:
    """A KMS key, and IAM users and roles that may do what a test says."""

    def __init__(self, server):
        self.iam, self.kms = server.client("iam"), server.client("kms")
        self.key = self.kms.create_key()["KeyMetadata"]["Arn"]

    def user(self, actions):
        name = f"betrace-{uuid.uuid4()}"
        self.iam.create_user(UserName=name)
        self.allow(name, actions)
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        return name, {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}

    def allow(self, user, actions, resource=None):
        self.iam.put_user_policy(UserName=user, PolicyName="betrace-kms-access",
                                 PolicyDocument=policy(actions, resource or self.key))

    def role(self, user, actions):
        """A role with these rights that `user` may assume: its ARN."""
        name = f"betrace-{uuid.uuid4()}"
        arn = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({
            "Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Action": "sts:AssumeRole",
                "Principal": {"AWS": f"arn:aws:iam::000000000000:user/{user}"}}]}))["Role"]["Arn"]
        self.iam.put_role_policy(RoleName=name, PolicyName="kms",
                                 PolicyDocument=policy(actions, self.key))
        self.iam.put_user_policy(UserName=user, PolicyName="assume",
                                 PolicyDocument=policy("sts:AssumeRole", arn))
        return arn
