"""The policies of terraform/aws-kms without Terraform: its templates, in the little of Terraform's
template language that they use. tests/terraform compares with what Terraform makes of them."""

import json
import re
import string

from .process import ROOT

MODULE = ROOT / "terraform" / "aws-kms"


def rendered(name, cross_account_role_arns=(), **values):
    """The policy of that name, as JSON text. key.json.tftpl has one condition, on the roles."""
    arns = sorted(cross_account_role_arns)
    text = (MODULE / "policies" / f"{name}.json.tftpl").read_text()
    text = re.sub(r"%\{ if length\(cross_account_role_arns\) > 0 \}(.*?)%\{ endif \}",
                  lambda found: found[1] if arns else "", text, flags=re.S)
    text = text.replace("${jsonencode(cross_account_role_arns)}", json.dumps(arns))
    return string.Template(text).substitute(values)


def actions(document):
    """Every action that a policy names, sorted."""
    named = []
    for statement in json.loads(document)["Statement"]:
        assert statement["Effect"] == "Allow"
        named += [statement["Action"]] if isinstance(statement["Action"], str) else statement[
            "Action"]
    return sorted(named)
