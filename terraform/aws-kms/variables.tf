variable "name" {
  description = "The alias is alias/NAME; alarms and the endpoint's security group begin with it."
  type        = string
  default     = "betrace"

  validation {
    condition     = can(regex("^[A-Za-z0-9/_-]{1,200}$", var.name)) && !startswith(var.name, "aws/")
    error_message = "Letters, digits, /, _ and - only, and not beginning with aws/, which AWS keeps for itself."
  }
}

variable "description" {
  description = "Description of the key, as the AWS console shows it."
  type        = string
  default     = "BeTrace KMS: wraps the keys of all tenants"
}

variable "rotation_period_in_days" {
  description = "How often AWS makes new key material. What was wrapped before stays readable."
  type        = number
  default     = 365

  validation {
    condition     = var.rotation_period_in_days >= 90 && var.rotation_period_in_days <= 2560
    error_message = "AWS accepts 90 to 2560 days."
  }
}

variable "deletion_window_in_days" {
  description = "How long a deletion of the key can be taken back. Without the key, no tenant's key opens."
  type        = number
  default     = 30

  validation {
    condition     = var.deletion_window_in_days >= 7 && var.deletion_window_in_days <= 30
    error_message = "AWS accepts 7 to 30 days."
  }
}

variable "create_iam_policy" {
  description = "Make the IAM policy in this account. Not needed when only roles of other accounts use the key."
  type        = bool
  default     = true
}

variable "iam_policy_name" {
  description = "Name of the IAM policy."
  type        = string
  default     = "betrace-kms-access"
}

variable "role_names" {
  description = "Roles of this account that get the IAM policy, by name, e.g. betrace-backend-role."
  type        = list(string)
  default     = []
}

variable "cross_account_role_arns" {
  description = "Roles of other accounts that may use the key. They must exist: AWS refuses a key policy that names one that does not."
  type        = set(string)
  default     = []

  validation {
    condition = alltrue([
      for arn in var.cross_account_role_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$", arn))
    ])
    error_message = "Each is a role's whole ARN, e.g. arn:aws:iam::123456789012:role/betrace-backend-role; wildcards and whole accounts are not accepted."
  }
}

variable "create_alarms" {
  description = "Make the CloudWatch alarms."
  type        = bool
  default     = true
}

variable "alarm_topic_arns" {
  description = "SNS topics that are told when an alarm goes off, and when it is over."
  type        = set(string)
  default     = []
}

variable "quota_alarm_percent" {
  description = "Share of the account's quota of symmetric KMS operations at which the alarm goes off."
  type        = number
  default     = 80

  validation {
    condition     = var.quota_alarm_percent > 0 && var.quota_alarm_percent <= 100
    error_message = "A percentage: above 0, at most 100."
  }
}

variable "cloudtrail_log_group_name" {
  description = "CloudWatch log group, in the key's region, to which CloudTrail writes. The alarms on denied calls, failed calls and administration of the key need it."
  type        = string
  default     = null
}

variable "vpc_endpoint" {
  description = "An interface endpoint for KMS, so that calls never leave the VPC. subnet_ids: one in each availability zone of the service. Its clients are let in by security group, by CIDR block, or both. private_dns_enabled: the region's usual KMS name leads to the endpoint, for everybody in the VPC. restrict_to_key: the endpoint serves nothing but the four operations on this key."
  type = object({
    vpc_id                    = string
    subnet_ids                = list(string)
    client_security_group_ids = optional(list(string), [])
    client_cidr_blocks        = optional(list(string), [])
    private_dns_enabled       = optional(bool, false)
    restrict_to_key           = optional(bool, true)
  })
  default = null

  validation {
    condition     = try(length(var.vpc_endpoint.subnet_ids) > 0, var.vpc_endpoint == null)
    error_message = "An interface endpoint needs at least one subnet."
  }

  validation {
    condition     = try(length(var.vpc_endpoint.client_security_group_ids) + length(var.vpc_endpoint.client_cidr_blocks) > 0, var.vpc_endpoint == null)
    error_message = "Name the clients: client_security_group_ids, client_cidr_blocks, or both."
  }
}

variable "tags" {
  description = "Tags of everything that can carry them."
  type        = map(string)
  default     = {}
}
