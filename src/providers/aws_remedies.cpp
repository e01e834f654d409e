#include "providers/aws_remedies.h"

#include <algorithm>

#include <fmt/format.h>

namespace betrace::kms {
namespace {

// The text between `before` and the next blank; empty when there is none.
std::string word_after(std::string_view text, std::string_view before) {
  const auto at = text.find(before);
  if (at == text.npos) return {};
  text.remove_prefix(at + before.size());
  return std::string(text.substr(0, text.find_first_of(" ,;\n")));
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

// "arn:aws:sts::1:assumed-role/R/session" and "arn:aws:iam::1:role/R": a role; ".../user/U": a
// user.
struct AwsPrincipal {
  std::string kind;  // "role", "user"; empty: neither
  std::string name, account;
};

AwsPrincipal principal_of(const std::string& arn_text) {
  const auto arn = parse_arn(arn_text);
  if (!arn) return {};
  AwsPrincipal principal{.account = std::string(arn->account)};
  auto resource = arn->resource;
  const auto take = [&](std::string_view prefix, std::string_view kind) {
    if (!resource.starts_with(prefix)) return false;
    resource.remove_prefix(prefix.size());
    principal.kind = kind;
    // A role's session comes after its name; a path comes before it.
    principal.name = prefix == "assumed-role/" ? resource.substr(0, resource.find('/'))
                                               : resource.substr(resource.rfind('/') + 1);
    return true;
  };
  (void)(take("assumed-role/", "role") || take("role/", "role") || take("user/", "user"));
  return principal;
}

// What IAM grants is granted on the key, never on an alias of it.
std::string policy_resource(const std::string& said, const std::string& key,
                            const AwsSettings& settings, const std::string& account) {
  for (const auto& each : {said, key, settings.key_id}) {
    const auto arn = parse_arn(each);
    if (arn && arn->resource.starts_with("key/")) return each;
  }
  return fmt::format("arn:aws:kms:{}:{}:key/*", settings.home.name,
                     account.empty() ? "*" : account);
}

std::string grant_command(const AwsPrincipal& principal, const std::string& resource) {
  const auto policy = fmt::format(
      R"({{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":["kms:GenerateDataKey",)"
      R"("kms:Encrypt","kms:Decrypt","kms:DescribeKey"],"Resource":"{}"}}]}})",
      resource);
  return fmt::format(
      "aws iam put-{0}-policy --{0}-name {1} --policy-name betrace-kms-access --policy-document "
      "'{2}'",
      principal.kind, principal.name, policy);
}

bool is_about_credentials(const Error& error) {
  return contains(error.message, "credentials") || contains(error.message, "security token") ||
         contains(error.type, "UnrecognizedClient") ||
         contains(error.type, "InvalidClientTokenId") || contains(error.type, "ExpiredToken");
}

}  // namespace

std::string AwsRemedies::permission(std::string_view operation) const {
  if (operation == "generate_data_key") return "kms:GenerateDataKey";
  if (operation == "encrypt") return "kms:Encrypt";
  if (operation == "decrypt") return "kms:Decrypt";
  return operation == "describe_key" ? "kms:DescribeKey" : std::string(operation);
}

std::string AwsRemedies::place() const {
  auto text = fmt::format("--region {}", settings_.home.name);
  if (settings_.home.kms_url != aws_service_url("kms", settings_.home.name, settings_.endpoints)) {
    text += fmt::format(" --endpoint-url {}", settings_.home.kms_url);
  }
  return text;
}

std::string AwsRemedies::kms(std::string_view command, std::string_view key) const {
  return fmt::format("aws kms {} --key-id {} {}", command, key, place());
}

std::string AwsRemedies::key_of(const Trouble& trouble) const {
  return trouble.key_id.empty() ? settings_.key_id : trouble.key_id;
}

Advice AwsRemedies::of_denial(const Trouble& trouble) const {
  const Error error = trouble.error != nullptr ? *trouble.error : Error{};
  const std::string who = "aws sts get-caller-identity";
  if (is_about_credentials(error)) {
    return {.cause = "The AWS credentials are missing, unknown to AWS or expired",
            .commands = {who, "aws configure list"}};
  }
  if (contains(error.type, "Signature")) {
    return {.cause = "The secret access key is not the one of the access key id",
            .commands = {who, "aws configure list"}};
  }
  const auto principal = principal_of(word_after(error.message, "User: "));
  const auto resource = policy_resource(word_after(error.message, "on resource: "), key_of(trouble),
                                        settings_, principal.account);
  Advice advice{.cause = "The IAM policy of the caller, or the key policy, lacks the permission",
                .commands = {who}};
  if (!principal.kind.empty()) advice.commands.push_back(grant_command(principal, resource));
  const auto key = parse_arn(resource);
  const bool foreign = key && !principal.account.empty() && key->account != principal.account;
  if (foreign || contains(error.message, "resource-based policy") ||
      contains(error.message, "explicit deny")) {
    if (foreign) advice.cause = "The key is of another account, whose key policy must admit us too";
    advice.commands.push_back(kms("get-key-policy --policy-name default", resource));
  }
  return advice;
}

Advice AwsRemedies::of_disabled_key(const Trouble& trouble) const {
  const auto type = trouble.error != nullptr ? trouble.error->type : std::string();
  const auto key = key_of(trouble);
  if (type.starts_with("NotFound") || type.starts_with("InvalidArn")) {
    return {.cause = fmt::format("There is no such key in region {} of this account",
                                 settings_.home.name),
            .commands = {kms("describe-key", key), "aws kms list-aliases " + place(),
                         "aws kms list-keys " + place()}};
  }
  return {.commands = {kms("describe-key", key), kms("enable-key", key)}};
}

Advice AwsRemedies::of_silence(const Trouble& trouble) const {
  const bool timed_out = trouble.error != nullptr && trouble.error->code == ErrorCode::kms_timeout;
  return {.cause = timed_out ? fmt::format("Nothing comes back from {}: a security group, a route "
                                           "or a NAT gateway swallows the packets",
                                           settings_.home.kms_url)
                             : "",
          .commands = {fmt::format("curl -v --max-time 5 {}", settings_.home.kms_url),
                       kms("describe-key", key_of(trouble)),
                       "aws ec2 describe-security-groups --query "
                       "'SecurityGroups[].IpPermissionsEgress'"}};
}

Advice AwsRemedies::of_slowness() const {
  return {.cause = fmt::format("The service does not run in region {}, or reaches it through a NAT "
                               "gateway",
                               settings_.home.name),
          .commands = {
              "curl -s http://169.254.169.254/latest/meta-data/placement/region",
              fmt::format("aws ec2 describe-vpc-endpoints --region {0} --filters "
                          "Name=service-name,Values=com.amazonaws.{0}.kms",
                          settings_.home.name),
              fmt::format("aws ec2 create-vpc-endpoint --region {0} --vpc-endpoint-type Interface "
                          "--service-name com.amazonaws.{0}.kms --private-dns-enabled --vpc-id "
                          "\"$VPC_ID\" --subnet-ids $SUBNET_IDS",
                          settings_.home.name)}};
}

Advice AwsRemedies::advise(const Trouble& trouble) const {
  switch (trouble.kind) {
    case TroubleKind::access_denied:
      return of_denial(trouble);
    case TroubleKind::key_disabled:
      return of_disabled_key(trouble);
    case TroubleKind::key_pending_deletion:
      // Cancelled, it is disabled.
      return {.commands = {kms("cancel-key-deletion", key_of(trouble)),
                           kms("enable-key", key_of(trouble))}};
    case TroubleKind::unreachable:
      return of_silence(trouble);
    case TroubleKind::slow:
      return of_slowness();
    case TroubleKind::context_mismatch:
      return {.commands = {fmt::format("aws cloudtrail lookup-events --region {} --max-results 5 "
                                       "--lookup-attributes "
                                       "AttributeKey=EventName,AttributeValue=Decrypt",
                                       settings_.home.name)}};
    case TroubleKind::not_for_production:
      return {};
  }
  return {};
}

std::vector<Remedies::Doubt> AwsRemedies::doubts() const {
  const auto arn = parse_arn(settings_.key_id);
  if (!arn || arn->region == settings_.home.name) return {};
  return {{.finding = {.id = "region-mismatch",
                       .severity = Severity::warning,
                       .title = "The master key is of another region than the requests",
                       .evidence = fmt::format("aws.kms.master-key-id={}, aws.kms.region={}",
                                               settings_.key_id, settings_.home.name),
                       .cause = "AWS KMS serves a key only in its own region",
                       .remedy = {},
                       .manual = "Issue 4"},
           .advice = {.settings = {{"aws.kms.region", std::string(arn->region)}}}}};
}

}  // namespace betrace::kms
