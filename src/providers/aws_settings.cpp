#include "providers/aws_settings.h"

#include <algorithm>
#include <array>
#include <ranges>
#include <set>

#include <fmt/format.h>

#include "base/try.h"
#include "providers/addresses.h"

namespace betrace::kms {
namespace {

constexpr std::string_view key_setting = "aws.kms.master-key-id";
constexpr std::string_view replicas_setting = "aws.kms.replica-regions";
constexpr std::string_view accepted_keys =
    "accepted are a key ARN (arn:aws:kms:REGION:ACCOUNT:key/ID), an alias ARN "
    "(arn:aws:kms:REGION:ACCOUNT:alias/NAME), a key id and alias/NAME";

bool is_alnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool made_of(std::string_view text, std::string_view others) {
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    return is_alnum(c) || others.find(c) != std::string_view::npos;
  });
}

bool is_account(std::string_view text) {
  return text.size() == 12 &&
         std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

bool is_region(std::string_view text) {
  return !text.empty() && text.size() <= 32 && made_of(text, "-") && text.front() != '-' &&
         text.back() != '-';
}

bool is_resource(std::string_view text) {
  if (text.starts_with("alias/")) return made_of(text.substr(6), "/_-");
  if (text.starts_with("key/")) return made_of(text.substr(4), "-_.");
  return false;
}

// Empty when `text` names a key, else what is wrong with it.
std::string fault_of_key(std::string_view text) {
  if (text.size() > 2048) return "it is longer than 2048 characters";
  if (!text.starts_with("arn:")) {
    const bool good = text.starts_with("alias/") ? is_resource(text) : made_of(text, "-_.");
    return good ? "" : "it is neither an ARN, a key id nor an alias";
  }
  const auto arn = parse_arn(text);
  if (!arn) return "an ARN has six parts";
  if (!arn->partition.starts_with("aws")) {
    return fmt::format(
        "its partition is '{}', accepted are aws, aws-cn, aws-us-gov and other aws-…",
        arn->partition);
  }
  if (arn->service != "kms") return fmt::format("its service is '{}', not 'kms'", arn->service);
  if (!is_region(arn->region)) return fmt::format("its region is '{}'", arn->region);
  if (!is_account(arn->account)) {
    return fmt::format("its account is '{}', an account has 12 digits", arn->account);
  }
  if (!is_resource(arn->resource)) {
    return fmt::format("it names '{}', accepted are key/ID and alias/NAME", arn->resource);
  }
  return "";
}

// What was said, and by whom: for messages.
struct Said {
  std::string by, text;
};

struct Sources {
  const ProviderEnvironment& environment;
  const AwsProfile& profile;

  std::optional<Said> setting(std::string_view name) const {
    auto text = environment.settings(name);
    return text ? std::optional(Said{std::string(name), *std::move(text)}) : std::nullopt;
  }
  std::optional<Said> variable(const char* name) const {
    auto text = environment.environment ? environment.environment(name) : std::nullopt;
    return text && !text->empty() ? std::optional(Said{name, *std::move(text)}) : std::nullopt;
  }
  std::optional<Said> of_profile(std::string_view key) const {
    const auto text = profile_value(profile, key);
    return text.empty()
               ? std::nullopt
               : std::optional(Said{fmt::format("{} of the AWS profile", key), std::string(text)});
  }
};

// The first of these that is set, else AWS's own address.
Result<std::string> address(const Sources& from, const char* own_variable, std::string_view service,
                            std::string_view region, AwsEndpointKind kind) {
  for (auto& said : {from.variable(own_variable), from.variable("AWS_ENDPOINT_URL"),
                     from.of_profile("endpoint_url")}) {
    if (said) return checked_url(said->by, said->text);
  }
  return aws_service_url(service, region, kind);
}

Result<bool> flag(const Sources& from, std::string_view setting, const char* variable,
                  std::string_view of_profile) {
  for (const auto& said :
       {from.setting(setting), from.variable(variable), from.of_profile(of_profile)}) {
    if (!said) continue;
    if (said->text == "true" || said->text == "false") return said->text == "true";
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}='{}': accepted are true and false", said->by, said->text));
  }
  return false;
}

Result<AwsRegion> region_of(const Sources& from, std::string name,
                            std::optional<std::string> kms_url, AwsEndpointKind kind) {
  AwsRegion region{.name = std::move(name)};
  region.kms_url = kms_url ? *std::move(kms_url)
                           : TRY(address(from, "AWS_ENDPOINT_URL_KMS", "kms", region.name, kind));
  region.sts_url = TRY(address(from, "AWS_ENDPOINT_URL_STS", "sts", region.name, kind));
  return region;
}

std::vector<std::string_view> listed(std::string_view text) {
  std::vector<std::string_view> items;
  for (const auto part : std::views::split(text, ',')) {
    std::string_view item(part.begin(), part.end());
    while (item.starts_with(' ')) item.remove_prefix(1);
    while (item.ends_with(' ')) item.remove_suffix(1);
    items.push_back(item);
  }
  return items;
}

Result<std::vector<AwsRegion>> find_replicas(const Sources& from, const AwsSettings& settings) {
  std::vector<AwsRegion> found;
  const auto text = from.environment.settings(replicas_setting);
  if (!text) return found;
  const auto refuse = [&](std::string_view why) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}='{}': {}; accepted is a list such as "
                            "us-west-2,eu-west-1=https://vpce-1.kms.eu-west-1.vpce.amazonaws.com",
                            replicas_setting, *text, why));
  };
  const auto id = std::string_view(settings.key_id).substr(settings.key_id.rfind('/') + 1);
  if (settings.key_id.find("alias/") != std::string::npos || !id.starts_with("mrk-")) {
    return refuse(
        fmt::format("only a multi-region key has replicas, and {}='{}' names none by its "
                    "id mrk-… or ARN",
                    key_setting, settings.key_id));
  }
  std::set<std::string_view> names{settings.home.name};
  for (const auto item : listed(*text)) {
    const auto equals = item.find('=');
    const auto name = item.substr(0, equals);
    if (!is_region(name)) return refuse(fmt::format("'{}' is not the name of a region", name));
    if (!names.insert(name).second) return refuse(fmt::format("{} is there twice", name));
    std::optional<std::string> url;
    if (equals != item.npos) {
      url = TRY(checked_url(replicas_setting, std::string(item.substr(equals + 1))));
    } else if (from.setting("aws.kms.endpoint")) {
      return refuse(
          fmt::format("aws.kms.endpoint is set, so {0} needs its own address: "
                      "{0}=https://…",
                      name));
    }
    found.push_back(TRY(region_of(from, std::string(name), std::move(url), settings.endpoints)));
  }
  return found;
}

Result<std::string> find_region(const Sources& from) {
  for (const auto& said : {from.setting("aws.kms.region"), from.variable("AWS_REGION"),
                           from.variable("AWS_DEFAULT_REGION"), from.of_profile("region")}) {
    if (!said) continue;
    if (is_region(said->text)) return said->text;
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}='{}': accepted is the name of an AWS region, e.g. us-east-1",
                            said->by, said->text));
  }
  return "us-east-1";
}

std::vector<std::string> warnings_about(const AwsSettings& settings) {
  std::vector<std::string> warnings;
  std::vector<std::string> urls{settings.home.kms_url, settings.home.sts_url};
  for (const auto& each : settings.replicas) urls.insert(urls.end(), {each.kms_url, each.sts_url});
  if (const auto shown = std::ranges::find_if(urls, shows_secrets); shown != urls.end()) {
    warnings.push_back(fmt::format(
        "{} is plain HTTP to another machine: data keys and sessions travel in the clear. Use "
        "https://",
        *shown));
  }
  const auto arn = parse_arn(settings.key_id);
  if (arn && arn->region != settings.home.name) {
    warnings.push_back(fmt::format(
        "aws.kms.master-key-id names a key in region {} but aws.kms.region is {}: requests go to "
        "{}, and AWS KMS serves a key only in its own region. Set aws.kms.region={}",
        arn->region, settings.home.name, settings.home.name, arn->region));
  }
  return warnings;
}

}  // namespace

std::optional<AwsArn> parse_arn(std::string_view text) {
  std::array<std::string_view, 6> parts;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto colon = i + 1 < parts.size() ? text.find(':') : text.size();
    if (colon == std::string_view::npos) return std::nullopt;
    parts[i] = text.substr(0, colon);
    text.remove_prefix(std::min(colon + 1, text.size()));
  }
  if (parts[0] != "arn") return std::nullopt;
  return AwsArn{parts[1], parts[2], parts[3], parts[4], parts[5]};
}

bool same_kms_key(std::string_view a, std::string_view b) {
  const auto key_id = [](std::string_view text) {
    const auto slash = text.rfind("key/");
    return slash == std::string_view::npos ? text : text.substr(slash + 4);
  };
  return key_id(a) == key_id(b);
}

std::string key_in_region(std::string_view key_id, std::string_view region) {
  const auto arn = parse_arn(key_id);
  if (!arn || !arn->resource.starts_with("key/mrk-")) return std::string(key_id);
  return fmt::format("arn:{}:kms:{}:{}:{}", arn->partition, region, arn->account, arn->resource);
}

std::string aws_service_url(std::string_view service, std::string_view region,
                            AwsEndpointKind kind) {
  // botocore's partitions.json: the DNS suffixes of each partition by the prefix of its regions.
  struct Partition {
    std::string_view prefix, suffix, dual_stack;
  };
  constexpr std::array<Partition, 6> partitions{{
      {"cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"},
      {"us-iso-", "c2s.ic.gov", "api.aws.ic.gov"},
      {"us-isob-", "sc2s.sgov.gov", "api.aws.scloud"},
      {"us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"},
      {"eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"},
      {"eusc-", "amazonaws.eu", "api.amazonwebservices.eu"},
  }};
  Partition of_region{"", "amazonaws.com", "api.aws"};
  for (const auto& each : partitions) {
    if (region.starts_with(each.prefix)) of_region = each;
  }
  // In GovCloud every STS is a FIPS one, and has no other name.
  const bool fips_by_name =
      kind.fips && !(service == "sts" && region.starts_with("us-gov-") && !kind.dual_stack);
  return fmt::format("https://{}{}.{}.{}", service, fips_by_name ? "-fips" : "", region,
                     kind.dual_stack ? of_region.dual_stack : of_region.suffix);
}

Result<AwsSettings> read_aws_settings(const ProviderEnvironment& environment,
                                      const AwsProfile& profile) {
  const Sources from{environment, profile};
  AwsSettings settings;
  const auto key = environment.settings(key_setting);
  if (!key) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{} is not set, and the aws provider needs it: {}", key_setting,
                            accepted_keys));
  }
  if (const std::string fault = fault_of_key(*key); !fault.empty()) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}='{}': {}; {}", key_setting, *key, fault, accepted_keys));
  }
  settings.key_id = *key;
  auto region = TRY(find_region(from));

  settings.endpoints = {
      .fips = TRY(
          flag(from, "aws.kms.use-fips-endpoint", "AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint")),
      .dual_stack = TRY(flag(from, "aws.kms.use-dualstack-endpoint", "AWS_USE_DUALSTACK_ENDPOINT",
                             "use_dualstack_endpoint"))};

  auto endpoint = environment.settings("aws.kms.endpoint");
  if (endpoint) endpoint = TRY(checked_url("aws.kms.endpoint", *std::move(endpoint)));
  settings.home = TRY(region_of(from, std::move(region), std::move(endpoint), settings.endpoints));
  settings.replicas = TRY(find_replicas(from, settings));
  settings.key_id = key_in_region(settings.key_id, settings.home.name);
  settings.warnings = warnings_about(settings);
  return settings;
}

}  // namespace betrace::kms
