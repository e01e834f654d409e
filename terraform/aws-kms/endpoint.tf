# KMS inside the VPC. An interface endpoint has an address in each of its subnets, and a security
# group that says who reaches it; a gateway endpoint, with route tables, does not exist for KMS.

resource "aws_security_group" "endpoint" {
  count = var.vpc_endpoint == null ? 0 : 1

  name        = "${replace(var.name, "/", "-")}-kms-endpoint"
  description = "Who reaches the KMS endpoint of BeTrace KMS"
  vpc_id      = var.vpc_endpoint.vpc_id
  tags        = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "from_security_group" {
  # Counted, because ids of groups that are made in the same run cannot be keys.
  count = var.vpc_endpoint == null ? 0 : length(var.vpc_endpoint.client_security_group_ids)

  security_group_id            = aws_security_group.endpoint[0].id
  description                  = "HTTPS from clients"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = var.vpc_endpoint.client_security_group_ids[count.index]
}

resource "aws_vpc_security_group_ingress_rule" "from_cidr_block" {
  count = var.vpc_endpoint == null ? 0 : length(var.vpc_endpoint.client_cidr_blocks)

  security_group_id = aws_security_group.endpoint[0].id
  description       = "HTTPS from clients"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = var.vpc_endpoint.client_cidr_blocks[count.index]
}

resource "aws_vpc_endpoint" "kms" {
  count = var.vpc_endpoint == null ? 0 : 1

  vpc_id              = var.vpc_endpoint.vpc_id
  service_name        = "com.amazonaws.${data.aws_region.current.region}.kms"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = var.vpc_endpoint.subnet_ids
  security_group_ids  = [aws_security_group.endpoint[0].id]
  private_dns_enabled = var.vpc_endpoint.private_dns_enabled
  policy              = var.vpc_endpoint.restrict_to_key ? local.endpoint_policy : null
  tags                = var.tags
}
