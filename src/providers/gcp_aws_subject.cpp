#include "providers/gcp_aws_subject.h"

#include <fmt/format.h>

#include "base/canonical_json.h"
#include "base/encoding.h"
#include "base/try.h"
#include "providers/aws_remote_credentials.h"
#include "providers/aws_sigv4.h"

namespace betrace::kms {

GcpAwsSubject::GcpAwsSubject(const ProviderEnvironment& environment)
    : environment_(environment.environment), clock_(environment.clock) {
  auto instance = std::make_unique<InstanceCredentials>(environment);
  instance_ = instance.get();
  sources_.push_back(std::make_unique<EnvironmentCredentials>(environment_));
  sources_.push_back(std::make_unique<ContainerCredentials>(environment));
  sources_.push_back(std::move(instance));
}

Result<std::string> GcpAwsSubject::region(const CallContext& call) {
  for (const char* name : {"AWS_REGION", "AWS_DEFAULT_REGION"}) {
    auto region = environment_ ? environment_(name) : std::nullopt;
    if (region && !region->empty()) return *std::move(region);
  }
  return instance_->region(call);
}

Result<AwsCredentials> GcpAwsSubject::credentials(const CallContext& call) {
  for (const auto& source : sources_) {
    if (auto found = TRY(source->load(call))) return *std::move(found);
  }
  return fail(ErrorCode::kms_access_denied,
              fmt::format("no AWS credentials found for Google's external account; looked in: {}, "
                          "{}, {}",
                          sources_[0]->description(), sources_[1]->description(),
                          sources_[2]->description()));
}

Result<WipedString> GcpAwsSubject::token(const CallContext& call, const std::string& url,
                                         const std::string& audience) {
  const auto region = TRY(this->region(call));
  auto target = url;
  constexpr std::string_view slot = "{region}";
  if (const auto at = target.find(slot); at != std::string::npos) {
    target.replace(at, slot.size(), region);
  }
  constexpr std::string_view scheme = "https://sts.";
  const auto question = target.find('?');
  if (!target.starts_with(scheme) || question == std::string::npos) {
    return fail(ErrorCode::kms_access_denied,
                fmt::format("regional_cred_verification_url='{}': accepted is "
                            "https://sts.{{region}}.amazonaws.com?Action=GetCallerIdentity&Version="
                            "2011-06-15",
                            url));
  }
  auto host = target.substr(8, question - 8);
  if (host.ends_with('/')) host.pop_back();
  const auto by = TRY(credentials(call));
  const auto headers =
      sign_for_aws({.method = "POST",
                    .query = std::string_view(target).substr(question + 1),
                    .headers = {{"host", host}, {"x-goog-cloud-target-resource", audience}}},
                   by, region, "sts", clock_.now());
  WipedString request(R"({"headers":[)");
  for (const auto& [name, value] : headers) {
    if (!request.ends_with('[')) request += ',';
    request += R"({"key":)";
    append_json_string(name, request);
    request += R"(,"value":)";
    append_json_string(value, request);
    request += '}';
  }
  request += R"(],"method":"POST","url":)";
  append_json_string(target, request);
  request += '}';
  return WipedString(percent_encode(std::string_view(request)));
}

}  // namespace betrace::kms
