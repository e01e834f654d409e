# The key is in one account, the service in another. Both sides must say yes: the key policy names
# the role, and the role has an IAM policy that names the key.

provider "aws" {
  alias   = "keys"
  region  = "us-east-1"
  profile = "keys"
}

provider "aws" {
  alias   = "service"
  region  = "us-east-1"
  profile = "service"
}

data "aws_iam_role" "service" {
  provider = aws.service
  name     = "betrace-backend-role"
}

module "kms" {
  source    = "../.."
  providers = { aws = aws.keys }

  create_iam_policy       = false
  cross_account_role_arns = [data.aws_iam_role.service.arn]
}

resource "aws_iam_policy" "access" {
  provider = aws.service

  name        = "betrace-kms-access"
  description = "What BeTrace KMS needs of its master key, and nothing else"
  policy      = module.kms.iam_policy_json
}

resource "aws_iam_role_policy_attachment" "access" {
  provider = aws.service

  role       = data.aws_iam_role.service.name
  policy_arn = aws_iam_policy.access.arn
}

output "application_properties" {
  value = module.kms.application_properties
}
