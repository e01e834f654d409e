output "key_arn" {
  description = "ARN of the key: aws.kms.master-key-id."
  value       = aws_kms_key.this.arn
}

output "key_id" {
  description = "Id of the key."
  value       = aws_kms_key.this.key_id
}

output "alias_arn" {
  description = "ARN of the alias, which serves as aws.kms.master-key-id as well."
  value       = aws_kms_alias.this.arn
}

output "key_policy_json" {
  description = "The key policy."
  value       = local.key_policy
}

output "iam_policy_json" {
  description = "The IAM policy, for a role of another account or of another tool."
  value       = local.iam_policy
}

output "iam_policy_arn" {
  description = "ARN of the IAM policy, null without create_iam_policy."
  value       = one(aws_iam_policy.access[*].arn)
}

output "alarm_names" {
  description = "Names of the CloudWatch alarms."
  value       = sort(concat(values(aws_cloudwatch_metric_alarm.trail)[*].alarm_name, aws_cloudwatch_metric_alarm.quota[*].alarm_name))
}

output "vpc_endpoint_id" {
  description = "Id of the VPC endpoint, null without one."
  value       = one(aws_vpc_endpoint.kms[*].id)
}

output "application_properties" {
  description = "The lines for application.properties."
  value = join("\n", concat([
    "betrace.kms.provider=aws",
    "aws.kms.master-key-id=${aws_kms_key.this.arn}",
    "aws.kms.region=${data.aws_region.current.region}",
    ], [
    # With private DNS, AWS's usual name leads to the endpoint.
    for endpoint in aws_vpc_endpoint.kms : "aws.kms.endpoint=https://${endpoint.dns_entry[0].dns_name}" if !endpoint.private_dns_enabled
  ], [""]))
}
