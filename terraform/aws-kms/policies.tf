# The policies are files, so that they can be read, compared and tried without Terraform.

locals {
  key_policy = templatefile("${path.module}/policies/key.json.tftpl", {
    partition               = data.aws_partition.current.partition
    account_id              = data.aws_caller_identity.current.account_id
    cross_account_role_arns = sort(tolist(var.cross_account_role_arns))
  })

  iam_policy = templatefile("${path.module}/policies/iam.json.tftpl", {
    key_arn = aws_kms_key.this.arn
  })

  endpoint_policy = templatefile("${path.module}/policies/endpoint.json.tftpl", {
    key_arn = aws_kms_key.this.arn
  })
}

resource "aws_iam_policy" "access" {
  count = var.create_iam_policy ? 1 : 0

  name        = var.iam_policy_name
  description = "What BeTrace KMS needs of its master key, and nothing else"
  policy      = local.iam_policy
  tags        = var.tags
}

resource "aws_iam_role_policy_attachment" "access" {
  count = var.create_iam_policy ? length(var.role_names) : 0

  role       = var.role_names[count.index]
  policy_arn = aws_iam_policy.access[0].arn
}
