# CloudWatch sees what the service cannot report itself: who tampers with its key, and how near the
# account's quota is. What the service does see is in monitoring/alerts.yaml, for Prometheus.

locals {
  # CloudTrail's words for what happened to this key. A denied call has no resource in its event,
  # so the key is looked for in AWS's sentence.
  kms_event = "($.eventSource = \"kms.amazonaws.com\")"
  about_key = "($.errorMessage = \"*${aws_kms_key.this.key_id}*\")"
  trail_alarms = {
    denied = {
      pattern     = "{ ${local.kms_event} && ($.errorCode = \"AccessDenied*\") && ${local.about_key} }"
      description = "Calls to the master key were denied: the service lacks a permission, or somebody else tries the key"
    }
    unusable = {
      pattern     = "{ ${local.kms_event} && (($.errorCode = \"Disabled*\") || ($.errorCode = \"KMSInvalidState*\")) && ${local.about_key} }"
      description = "The master key is disabled or pending deletion, and is still being called"
    }
    tampered = {
      pattern     = "{ ${local.kms_event} && (($.eventName = \"DisableKey\") || ($.eventName = \"ScheduleKeyDeletion\") || ($.eventName = \"PutKeyPolicy\") || ($.eventName = \"DisableKeyRotation\")) && ($.requestParameters.keyId = \"*${aws_kms_key.this.key_id}*\") }"
      description = "The master key was disabled, scheduled for deletion, taken out of rotation, or given another policy"
    }
  }
}

resource "aws_cloudwatch_log_metric_filter" "trail" {
  for_each = var.create_alarms && var.cloudtrail_log_group_name != null ? local.trail_alarms : {}

  name           = "${var.name}-kms-${each.key}"
  log_group_name = var.cloudtrail_log_group_name
  pattern        = each.value.pattern

  metric_transformation {
    name      = "${var.name}-kms-${each.key}"
    namespace = "BeTrace/KMS"
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "trail" {
  for_each = aws_cloudwatch_log_metric_filter.trail

  alarm_name          = each.value.name
  alarm_description   = local.trail_alarms[each.key].description
  namespace           = "BeTrace/KMS"
  metric_name         = each.value.name
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "quota" {
  count = var.create_alarms ? 1 : 0

  alarm_name          = "${var.name}-kms-quota"
  alarm_description   = "All of the account's symmetric KMS operations together are near the quota, above which AWS throttles"
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.quota_alarm_percent
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  tags                = var.tags

  metric_query {
    id          = "percent"
    expression  = "calls / SERVICE_QUOTA(calls) * 100"
    label       = "Share of the quota"
    return_data = true
  }

  metric_query {
    id = "calls"

    metric {
      namespace   = "AWS/Usage"
      metric_name = "CallCount"
      stat        = "Sum"
      period      = 60
      dimensions = {
        Service  = "KMS"
        Type     = "API"
        Resource = "CryptographicOperationsSymmetric"
        Class    = "None"
      }
    }
  }
}
