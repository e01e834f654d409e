#include "core/sealing.h"

#include <algorithm>
#include <array>

#include "betrace/kms/provider.h"

#include "base/crypto.h"
#include "base/encoding.h"

namespace betrace::kms {
namespace {

constexpr std::uint8_t format = 1;
constexpr std::size_t head_bytes = 1 + 4;
constexpr std::size_t overhead_bytes = head_bytes + gcm_nonce_bytes + gcm_tag_bytes;
constexpr std::string_view domain = "betrace:v1";
constexpr std::size_t context_pairs_max = 64;
constexpr std::size_t context_bytes_max = 8 * 1024;

void store_u32(std::uint32_t value, std::uint8_t* out) {
  for (int i = 0; i < 4; ++i) out[i] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
}

void append_text(std::string_view text, Bytes& out) {
  std::array<std::uint8_t, 4> length;
  store_u32(static_cast<std::uint32_t>(text.size()), length.data());
  out.insert(out.end(), length.begin(), length.end());
  out.insert(out.end(), text.begin(), text.end());
}

std::unexpected<Error> refuse_ciphertext() {
  return fail(ErrorCode::invalid_ciphertext,
              std::string(context_mismatch_message) + " or the ciphertext was altered");
}

}  // namespace

Status check_context(const EncryptionContext& context) {
  if (context.size() > context_pairs_max) {
    return fail(ErrorCode::invalid_argument, "context has " + std::to_string(context.size()) +
                                                 " pairs; at most 64 are accepted");
  }
  std::size_t bytes = 0;
  for (const auto& [name, value] : context) {
    bytes += name.size() + value.size();
    if (!is_valid_utf8(name) || !is_valid_utf8(value)) {
      return fail(ErrorCode::invalid_argument, "context holds text that is not UTF-8");
    }
  }
  if (bytes > context_bytes_max) {
    return fail(ErrorCode::invalid_argument,
                "context has " + std::to_string(bytes) + " bytes; at most 8192 are accepted");
  }
  return {};
}

Bytes additional_data(const TenantId& tenant, std::uint32_t version,
                      const EncryptionContext& context) {
  Bytes out;
  std::size_t size = domain.size() + 8 + tenant.str().size();
  for (const auto& [name, value] : context) size += 8 + name.size() + value.size();
  out.reserve(size);
  out.insert(out.end(), domain.begin(), domain.end());
  out.resize(domain.size() + 4);
  store_u32(version, out.data() + domain.size());
  append_text(tenant.str(), out);
  for (const auto& [name, value] : context) {
    append_text(name, out);
    append_text(value, out);
  }
  return out;
}

Bytes seal(const EncryptionKey& key, ByteView additional_data, ByteView plaintext) {
  Bytes out(plaintext.size() + overhead_bytes);
  out[0] = format;
  store_u32(key.version, out.data() + 1);
  const auto nonce = std::span(out).subspan<head_bytes, gcm_nonce_bytes>();
  random_bytes(nonce);
  gcm_seal(key.secret, nonce, additional_data, plaintext,
           std::span(out).subspan(head_bytes + gcm_nonce_bytes));
  return out;
}

Result<std::uint32_t> sealed_version(ByteView ciphertext) {
  if (ciphertext.size() < overhead_bytes) {
    return fail(ErrorCode::invalid_ciphertext, "the ciphertext is cut short");
  }
  if (ciphertext[0] != format) {
    return fail(ErrorCode::invalid_ciphertext,
                "the ciphertext has a format this release does not "
                "know");
  }
  return static_cast<std::uint32_t>(ciphertext[1]) << 24 | ciphertext[2] << 16 |
         ciphertext[3] << 8 | ciphertext[4];
}

Result<WipedBytes> unseal(const EncryptionKey& key, ByteView additional_data, ByteView ciphertext) {
  if (ciphertext.size() < overhead_bytes) return refuse_ciphertext();
  WipedBytes plaintext(ciphertext.size() - overhead_bytes);
  const auto nonce = ciphertext.subspan<head_bytes, gcm_nonce_bytes>();
  const auto sealed = ciphertext.subspan(head_bytes + gcm_nonce_bytes);
  if (!gcm_open(key.secret, nonce, additional_data, sealed, plaintext)) {
    return refuse_ciphertext();
  }
  return plaintext;
}

}  // namespace betrace::kms
