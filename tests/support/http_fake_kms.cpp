#include "support/http_fake_kms.h"

#include <algorithm>

#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "base/canonical_json.h"
#include "base/crypto.h"
#include "base/encoding.h"
#include "base/json.h"

namespace betrace::kms {
namespace {

constexpr std::size_t id_bytes = 36;

HttpAnswer reply(int status, std::string_view body, std::string_view request_id = "fake-1") {
  HttpAnswer answer;
  answer.status = status;
  answer.headers = {{"content-type", "application/x-amz-json-1.1"},
                    {"x-amzn-requestid", std::string(request_id)}};
  answer.body = body;
  return answer;
}

std::string quoted(std::string_view text) {
  std::string out;
  append_json_string(text, out);
  return out;
}

HttpAnswer refusal(int status, std::string_view type, std::string_view message) {
  return reply(status, message.empty() ? fmt::format(R"({{"__type":"{}"}})", type)
                                       : fmt::format(R"({{"__type":"{}","message":{}}})", type,
                                                     quoted(message)));
}

std::string header_of(const HttpCall& call, std::string_view name) {
  for (const auto& [key, value] : call.headers) {
    if (key == name) return value;
  }
  return {};
}

std::string text_of(const boost::json::object& object, std::string_view name) {
  const auto* value = object.if_contains({name.data(), name.size()});
  return value && value->is_string() ? std::string(value->get_string().c_str()) : std::string();
}

EncryptionContext context_of(const boost::json::object& object) {
  EncryptionContext context;
  if (const auto* value = object.if_contains("EncryptionContext")) {
    for (const auto& [name, text] : value->as_object()) {
      context[std::string(name)] = std::string(text.as_string());
    }
  }
  return context;
}

std::string id_of(std::string_view arn) { return std::string(arn.substr(arn.rfind('/') + 1)); }

std::string form_field(std::string_view form, std::string_view name) {
  while (!form.empty()) {
    const auto pair = form.substr(0, form.find('&'));
    form.remove_prefix(std::min(pair.size() + 1, form.size()));
    if (pair.substr(0, pair.find('=')) == name) {
      return percent_decode(pair.substr(name.size() + 1)).value_or("");
    }
  }
  return {};
}

bool is_arn(std::string_view named) { return named.starts_with("arn:"); }

bool is_of_region(std::string_view named, std::string_view region) {
  return !is_arn(named) || named.find(fmt::format(":kms:{}:", region)) != named.npos;
}

}  // namespace

std::string FakeKms::create_key(std::string_view region) {
  const std::lock_guard lock(mutex_);
  return add_key(fmt::format("00000000-0000-4000-8000-{:012}", keys_.size() + 1), region);
}

std::string FakeKms::create_multi_region_key() {
  const std::lock_guard lock(mutex_);
  return add_key(fmt::format("mrk-{:032}", keys_.size() + 1), "us-east-1");
}

std::string FakeKms::add_key(const std::string& id, std::string_view region) {
  const std::string arn = fmt::format("arn:aws:kms:{}:{}:key/{}", region, account, id);
  keys_[id] = Key{.arn = arn, .master = SecretBytes::random(32)};
  return arn;
}

void FakeKms::create_alias(const std::string& name, const std::string& key_arn) {
  const std::lock_guard lock(mutex_);
  aliases_[name] = id_of(key_arn);
}

void FakeKms::set_state(const std::string& key_arn, const std::string& state) {
  const std::lock_guard lock(mutex_);
  keys_.at(id_of(key_arn)).state = state;
}

void FakeKms::delete_key(const std::string& key_arn) {
  const std::lock_guard lock(mutex_);
  keys_.erase(id_of(key_arn));
}

void FakeKms::deny(const std::string& operation) {
  const std::lock_guard lock(mutex_);
  denied_.insert(operation);
}

void FakeKms::accept(const std::string& access_key_id, const std::string& secret,
                     const std::string& session_token) {
  const std::lock_guard lock(mutex_);
  logins_[access_key_id] = {secret, session_token};
}

void FakeKms::expire(const std::string& access_key_id) {
  const std::lock_guard lock(mutex_);
  logins_[access_key_id].expired = true;
}

void FakeKms::add_trouble(Trouble trouble) {
  const std::lock_guard lock(mutex_);
  troubles_.push_back(std::move(trouble));
}

void FakeKms::clear_troubles() {
  const std::lock_guard lock(mutex_);
  troubles_.clear();
}

std::vector<FakeKms::Seen> FakeKms::seen() const {
  const std::lock_guard lock(mutex_);
  return seen_;
}

std::size_t FakeKms::count(std::string_view operation) const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(std::ranges::count(seen_, operation, &Seen::operation));
}

FakeKms::Key* FakeKms::find_key(const std::string& named, const std::string& region) {
  if (named.find("key/mrk-") != named.npos && !is_of_region(named, region)) return nullptr;
  std::string id = id_of(named);
  if (const auto alias = named.find("alias/"); alias != named.npos) {
    const auto found = aliases_.find(named.substr(alias));
    if (found == aliases_.end()) return nullptr;
    id = found->second;
  }
  const auto found = keys_.find(id);
  return found == keys_.end() ? nullptr : &found->second;
}

std::optional<FakeKms::Trouble> FakeKms::take_trouble(const std::string& operation,
                                                      const std::string& region) {
  const auto trouble = std::ranges::find_if(troubles_, [&](const Trouble& each) {
    return (each.operation.empty() || each.operation == operation) &&
           (each.region.empty() || each.region == region);
  });
  if (trouble == troubles_.end()) return std::nullopt;
  Trouble taken = *trouble;
  if (--trouble->times == 0) troubles_.erase(trouble);
  return taken;
}

std::optional<HttpAnswer> FakeKms::refuse_login(const AwsSigning& login) const {
  if (logins_.empty()) return std::nullopt;
  const auto found = logins_.find(login.access_key_id);
  if (found == logins_.end() ||
      found->second.session_token != std::string_view(login.session_token)) {
    return refusal(400, "UnrecognizedClientException",
                   "The security token included in the request is invalid.");
  }
  if (found->second.expired) {
    return refusal(400, "ExpiredTokenException",
                   "The security token included in the request is expired");
  }
  if (found->second.secret != std::string_view(login.secret_access_key)) {
    return refusal(
        400, "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided.");
  }
  return std::nullopt;
}

HttpAnswer FakeKms::wrap(const Key& key, const std::string& arn, ByteView plaintext,
                         const EncryptionContext& context, bool show_plaintext) const {
  const std::string id = id_of(key.arn);
  Bytes blob(id.begin(), id.end());
  blob.resize(id_bytes + gcm_nonce_bytes + plaintext.size() + gcm_tag_bytes);
  const std::span<std::uint8_t> out = blob;
  const auto nonce = out.subspan(id_bytes).first<gcm_nonce_bytes>();
  random_bytes(nonce);
  const std::string aad = canonical_json(context);
  gcm_seal(key.master, nonce, as_bytes(aad), plaintext, out.subspan(id_bytes + gcm_nonce_bytes));
  return reply(
      200,
      fmt::format(
          R"({{"CiphertextBlob":"{}","KeyId":"{}"{}}})", base64_encode(blob), arn,
          show_plaintext ? fmt::format(R"(,"Plaintext":"{}")", base64_encode(plaintext)) : ""));
}

HttpAnswer FakeKms::unwrap(const Key* named, ByteView blob, const EncryptionContext& context) {
  const auto invalid = refusal(400, "InvalidCiphertextException", "");
  if (blob.size() <= id_bytes + gcm_nonce_bytes + gcm_tag_bytes) return invalid;
  const auto owner = keys_.find(std::string(as_text(blob.first(id_bytes))));
  if (owner == keys_.end()) return invalid;
  const Key& key = owner->second;
  if (named && named != &key) {
    return refusal(400, "IncorrectKeyException",
                   "The key ID in the request does not identify a CMK that can perform this "
                   "operation.");
  }
  const auto sealed = blob.subspan(id_bytes + gcm_nonce_bytes);
  Bytes plaintext(sealed.size() - gcm_tag_bytes);
  const std::string aad = canonical_json(context);
  if (!gcm_open(key.master, blob.subspan(id_bytes).first<gcm_nonce_bytes>(), as_bytes(aad), sealed,
                plaintext)) {
    return invalid;
  }
  return reply(200, fmt::format(R"({{"EncryptionAlgorithm":"SYMMETRIC_DEFAULT","KeyId":"{}",)"
                                R"("Plaintext":"{}"}})",
                                key.arn, base64_encode(plaintext)));
}

Result<HttpAnswer> FakeKms::answer(const HttpCall& call, const std::string& operation) {
  JsonDocument document;
  if (!document.parse(call.body)) return refusal(400, "SerializationException", "");
  const auto& request = document.root().as_object();
  const std::string named = text_of(request, "KeyId");
  if (denied_.contains(operation)) {
    return refusal(400, "AccessDeniedException",
                   fmt::format("User: arn:aws:iam::{}:role/betrace-backend-role is not authorized "
                               "to perform: kms:{} on resource: {}",
                               account, operation, named));
  }
  Key* const key = find_key(named, call.aws ? call.aws->region : std::string());
  if (!named.empty() && !key) {
    return refusal(400, "NotFoundException", fmt::format("Key '{}' does not exist", named));
  }
  const std::string key_arn = !key                                                  ? ""
                              : named.find("alias/") == named.npos && is_arn(named) ? named
                                                                                    : key->arn;
  if (operation == "DescribeKey") {
    const std::string deletion =
        key->state == "PendingDeletion" ? R"(,"DeletionDate":1.7959968E9)" : "";
    return reply(200, fmt::format(R"({{"KeyMetadata":{{"Arn":"{}","KeyId":"{}","KeyState":"{}",)"
                                  R"("KeySpec":"SYMMETRIC_DEFAULT"{}}}}})",
                                  key_arn, id_of(key->arn), key->state, deletion));
  }
  if (key && key->state == "Disabled") {
    return refusal(400, "DisabledException", key->arn + " is disabled.");
  }
  if (key && key->state != "Enabled") {
    return refusal(400, "KMSInvalidStateException", key->arn + " is pending deletion.");
  }
  const EncryptionContext context = context_of(request);
  if (operation == "GenerateDataKey") {
    return wrap(*key, key_arn, SecretBytes::random(32).expose(), context, true);
  }
  const auto bytes =
      base64_decode(text_of(request, operation == "Encrypt" ? "Plaintext" : "CiphertextBlob"));
  if (!bytes) return refusal(400, "SerializationException", "");
  if (operation == "Encrypt") return wrap(*key, key_arn, *bytes, context, false);
  return unwrap(key, *bytes, context);
}

Result<HttpAnswer> FakeKms::send(const HttpCall& call) {
  const std::lock_guard lock(mutex_);
  std::string operation = header_of(call, "X-Amz-Target");
  operation.erase(0, operation.find('.') + 1);
  const AwsSigning login = call.aws.value_or(AwsSigning{});
  seen_.push_back({.operation = operation,
                   .url = call.url,
                   .body = std::string(call.body),
                   .headers = call.headers,
                   .access_key_id = login.access_key_id,
                   .session_token = std::string(login.session_token),
                   .region = login.region,
                   .timeout = call.timeout});
  if (const auto trouble = take_trouble(operation, login.region)) {
    if (trouble->delay >= call.timeout) {
      return fail(ErrorCode::kms_timeout,
                  fmt::format("{} did not answer within {} ms", call.url, call.timeout.count()));
    }
    if (trouble->network) return std::unexpected(*trouble->network);
    if (trouble->body.size() > call.answer_bytes_max) {
      return fail(ErrorCode::kms_unavailable, "the answer is too large");
    }
    HttpAnswer answer;
    answer.status = trouble->status;
    answer.headers = trouble->headers;
    answer.body = trouble->body;
    return answer;
  }
  if (auto refused = refuse_login(login)) return *std::move(refused);
  return answer(call, operation);
}

void FakeSts::allow(Role role) {
  const std::lock_guard lock(mutex_);
  roles_[role.arn] = std::move(role);
}

void FakeSts::set_expiration(const std::string& role_arn, const std::string& expiration) {
  const std::lock_guard lock(mutex_);
  roles_.at(role_arn).expiration = expiration;
}

void FakeSts::fail_with(int status, std::string body, int times) {
  const std::lock_guard lock(mutex_);
  failure_.status = status;
  failure_.body = body;
  failures_ = times;
}

void FakeSts::on_request(std::function<void()> hook) {
  const std::lock_guard lock(mutex_);
  hook_ = std::move(hook);
}

std::vector<std::string> FakeSts::bodies() const {
  const std::lock_guard lock(mutex_);
  return bodies_;
}

Result<HttpAnswer> FakeSts::send(const HttpCall& call) {
  std::function<void()> hook;
  {
    const std::lock_guard lock(mutex_);
    bodies_.emplace_back(call.body);
    hook = hook_;
  }
  if (hook) hook();
  const std::lock_guard lock(mutex_);
  if (failures_ > 0) {
    --failures_;
    return failure_;
  }
  const auto role = roles_.find(form_field(call.body, "RoleArn"));
  HttpAnswer answer;
  if (role == roles_.end() || role->second.trusted_access_key_id != call.aws->access_key_id ||
      role->second.external_id != form_field(call.body, "ExternalId")) {
    answer.status = 403;
    answer.body = fmt::format(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  <Error>\n"
        "    <Type>Sender</Type>\n    <Code>AccessDenied</Code>\n    <Message>User: {} is not "
        "authorized to perform: sts:AssumeRole on resource: {}</Message>\n  </Error>\n"
        "  <RequestId>fake</RequestId>\n</ErrorResponse>",
        call.aws->access_key_id, form_field(call.body, "RoleArn"));
    return answer;
  }
  answer.status = 200;
  answer.body = fmt::format(
      "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"
      "<AssumeRoleResult><AssumedRoleUser><AssumedRoleId>AROA:x</AssumedRoleId></AssumedRoleUser>"
      "<Credentials><AccessKeyId>{}{}</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey>"
      "<SessionToken>role&amp;token</SessionToken><Expiration>{}</Expiration></Credentials>"
      "</AssumeRoleResult></AssumeRoleResponse>",
      role->second.access_key_id, bodies_.size(), role->second.expiration);
  return answer;
}

}  // namespace betrace::kms
