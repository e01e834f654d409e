"""How a daemon is told about an AWS stand-in."""


def aws_properties(server, key, **more):
    return {"betrace.kms.provider": "aws", "aws.kms.endpoint": server.url,
            "aws.kms.region": "us-east-1", "aws.kms.master-key-id": key, **more}


def aws_environment(key="test", secret="test", token=None):
    environment = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
    return environment | ({"AWS_SESSION_TOKEN": token} if token else {})
