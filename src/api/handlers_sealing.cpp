#include <string>
#include <vector>

#include <boost/json/string.hpp>

#include "api/batch.h"
#include "api/handlers.h"
#include "api/json_fields.h"
#include "api/query.h"
#include "base/encoding.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

struct SealWork {
  ExchangePtr exchange;
  std::vector<WipedBytes> texts;  // plaintexts or ciphertexts
  std::vector<ByteView> views;
  std::vector<bool> unreadable;  // ciphertexts that are none; empty when there are no such
  EncryptionContext context;
  std::optional<DecryptOptions> options;  // of decrypt and rewrap; refers to `context`
  bool batch = false;
  bool tried_to_create = false;
};
using SealWorkPtr = std::unique_ptr<SealWork>;

Error not_a_ciphertext() {
  return {.code = ErrorCode::invalid_ciphertext,
          .message =
              "the ciphertext is not 'betrace:v1:' and base64url without padding, or it was "
              "cut or altered",
          .type = {},
          .retry_after = {}};
}

Status read_encrypt(SealWork& work) {
  JsonDocument document;
  ItemFields fields{.single_name = "plaintext", .plural_name = "plaintexts"};
  JsonValue context = nullptr;
  TRY(read_body(
      work.exchange->request(), document,
      {{"plaintext", &fields.single}, {"plaintexts", &fields.plural}, {"context", &context}}));
  const auto items = TRY(item_fields(fields, work.exchange->request()));
  work.context = TRY(context_field("context", context));
  work.texts = TRY(base64_items(fields, items));
  work.views.assign(work.texts.begin(), work.texts.end());
  work.batch = items.batch;
  return {};
}

void write_ciphertext(JsonWriter& out, const Bytes& ciphertext) {
  out.begin_object().key("ciphertext").ciphertext(ciphertext).end_object();
}

void begin_encrypt(SealWorkPtr work) {
  const auto& now = *work;
  now.exchange->api().keys.encrypt(
      now.exchange->call(), now.exchange->tenant(), now.views, now.context,
      [work = std::move(work)](Result<std::vector<Result<Bytes>>> ciphertexts) mutable {
        if (!ciphertexts && should_create_tenant(*work, ciphertexts.error())) {
          return create_tenant_then(std::move(work), begin_encrypt);
        }
        const auto answer_bytes =
            work->texts.empty() ? 0 : work->texts.front().size() * 4 / 3 + 128;
        answer_items(std::move(work->exchange), work->batch, std::move(ciphertexts), answer_bytes,
                     write_ciphertext);
      });
}

// --- decrypt ------------------------------------------------------------------------------------

// A text that is no ciphertext fails alone, as a tampered one does: an empty one takes its place.
Status add_ciphertext(SealWork& work, const std::string& name, JsonValue value) {
  const auto text = TRY(string_field(name, value));
  const bool prefixed = text.starts_with(ciphertext_prefix);
  auto bytes = prefixed ? base64url_decode(std::string_view(text).substr(ciphertext_prefix.size()))
                        : std::nullopt;
  work.unreadable.push_back(!bytes);
  work.texts.push_back(bytes ? *std::move(bytes) : WipedBytes());
  return {};
}

Status read_decrypt(SealWork& work) {
  JsonDocument document;
  ItemFields fields{.single_name = "ciphertext", .plural_name = "ciphertexts"};
  JsonValue context = nullptr;
  TRY(read_body(
      work.exchange->request(), document,
      {{"ciphertext", &fields.single}, {"ciphertexts", &fields.plural}, {"context", &context}}));
  const auto items = TRY(item_fields(fields, work.exchange->request()));
  work.context = TRY(context_field("context", context));
  work.batch = items.batch;
  const auto query = TRY(QueryString::read(work.exchange->request().query));
  work.options.emplace(work.context, TRY(query.flag("allow_revoked")));
  for (std::size_t i = 0; i < items.values.size(); ++i) {
    TRY(add_ciphertext(work, items.name_of(fields, i), items.values[i]));
  }
  if (!work.batch && work.unreadable.front()) return std::unexpected(not_a_ciphertext());
  work.views.assign(work.texts.begin(), work.texts.end());
  return {};
}

template <class T>
void mark_unreadable(const SealWork& work, Result<std::vector<Result<T>>>& results) {
  for (std::size_t i = 0; results && i < results->size(); ++i) {
    if (work.unreadable[i]) (*results)[i] = std::unexpected(not_a_ciphertext());
  }
}

void write_plaintext(JsonWriter& out, const WipedBytes& plaintext) {
  out.begin_object().key("plaintext").base64(plaintext).end_object();
}

void begin_decrypt(SealWorkPtr work) {
  const auto& now = *work;
  now.exchange->api().keys.decrypt(
      now.exchange->call(), now.exchange->tenant(), now.views, *now.options,
      [work = std::move(work)](Result<std::vector<Result<WipedBytes>>> plaintexts) mutable {
        mark_unreadable(*work, plaintexts);
        const auto answer_bytes = work->texts.empty() ? 0 : work->texts.front().size() * 4 / 3 + 64;
        answer_items(std::move(work->exchange), work->batch, std::move(plaintexts), answer_bytes,
                     write_plaintext);
      });
}

// --- rewrap -------------------------------------------------------------------------------------

void begin_rewrap(SealWorkPtr work) {
  const auto& now = *work;
  now.exchange->api().keys.rewrap(
      now.exchange->call(), now.exchange->tenant(), now.views, *now.options,
      [work = std::move(work)](Result<std::vector<Result<Bytes>>> ciphertexts) mutable {
        mark_unreadable(*work, ciphertexts);
        const auto answer_bytes =
            work->texts.empty() ? 0 : work->texts.front().size() * 4 / 3 + 128;
        answer_items(std::move(work->exchange), work->batch, std::move(ciphertexts), answer_bytes,
                     write_ciphertext);
      });
}

// --- data key -----------------------------------------------------------------------------------

Status read_data_key(SealWork& work) {
  JsonDocument document;
  JsonValue context = nullptr;
  TRY(read_body(work.exchange->request(), document, {{"context", &context}}, Body::optional));
  work.context = TRY(context_field("context", context));
  return {};
}

void begin_data_key(SealWorkPtr work) {
  const auto& now = *work;
  now.exchange->api().keys.data_key(now.exchange->call(), now.exchange->tenant(), now.context,
                                    [work = std::move(work)](Result<SealedDataKey> made) mutable {
                                      if (!made && should_create_tenant(*work, made.error())) {
                                        return create_tenant_then(std::move(work), begin_data_key);
                                      }
                                      if (!made)
                                        return refuse(std::move(work->exchange),
                                                      std::move(made).error());
                                      JsonWriter body(256);
                                      body.begin_object();
                                      body.key("plaintext").base64(made->plaintext.expose());
                                      body.key("ciphertext").ciphertext(made->ciphertext);
                                      body.end_object();
                                      answer(std::move(work->exchange), std::move(body));
                                    });
}

// `read` takes the request apart, `begin` calls the verb.
void run(ExchangePtr exchange, Status (*read)(SealWork&), void (*begin)(SealWorkPtr)) {
  auto work = std::make_unique<SealWork>();
  work->exchange = std::move(exchange);
  if (auto done = read(*work); !done) {
    return refuse(std::move(work->exchange), std::move(done).error());
  }
  const auto items = work->views.size();
  start(std::move(work), items, begin);
}

}  // namespace

namespace handlers {

void encrypt(ExchangePtr exchange) { run(std::move(exchange), read_encrypt, begin_encrypt); }
void decrypt(ExchangePtr exchange) { run(std::move(exchange), read_decrypt, begin_decrypt); }
void rewrap(ExchangePtr exchange) { run(std::move(exchange), read_decrypt, begin_rewrap); }
void data_key(ExchangePtr exchange) { run(std::move(exchange), read_data_key, begin_data_key); }

}  // namespace handlers
}  // namespace betrace::kms
