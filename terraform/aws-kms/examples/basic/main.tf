# A key for a service that runs in the same account under an existing role, and whose operators
# hear of trouble through an SNS topic.

provider "aws" {
  region = "us-east-1"
}

variable "alarm_topic_arn" {
  description = "The SNS topic that reaches whoever is on call."
  type        = string
}

module "kms" {
  source = "../.."

  role_names       = ["betrace-backend-role"]
  alarm_topic_arns = [var.alarm_topic_arn]
}

output "application_properties" {
  value = module.kms.application_properties
}
