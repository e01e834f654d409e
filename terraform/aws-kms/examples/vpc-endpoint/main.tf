# The service runs in private subnets without a way to the internet.

provider "aws" {
  region = "us-east-1"
}

variable "vpc_id" {
  description = "The VPC of the service."
  type        = string
}

variable "subnet_ids" {
  description = "Its private subnets, one in each availability zone."
  type        = list(string)
}

variable "service_security_group_id" {
  description = "The security group that the service's machines are in."
  type        = string
}

module "kms" {
  source = "../.."

  role_names = ["betrace-backend-role"]

  vpc_endpoint = {
    vpc_id                    = var.vpc_id
    subnet_ids                = var.subnet_ids
    client_security_group_ids = [var.service_security_group_id]
  }
}

output "application_properties" {
  value = module.kms.application_properties
}
