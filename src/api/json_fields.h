// A request's JSON body taken apart field by field. Every error names the field, what came and what
// is accepted, and never a value: a value may be a secret. A field that nobody reads is refused,
// because a typing error would silently lose data; null counts as absent.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "betrace/kms/key.h"
#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"

#include "base/http.h"
#include "base/json.h"

namespace betrace::kms {

inline constexpr std::size_t batch_items_max = 1000;
inline constexpr std::size_t item_bytes_max = 1 << 20;
inline constexpr std::size_t single_body_bytes_max = 1 << 20;
inline constexpr std::size_t context_pairs_max = 64;

// A field of the body, or null where it is absent.
using JsonValue = const boost::json::value*;

struct Field {
  std::string_view name;
  JsonValue* value;
};

enum class Body { required, optional };

// The body must be one JSON object with none but these fields. With Body::optional it may also be
// empty. The values live in `document`. Errors: malformed_json, invalid_argument.
Status read_body(const Request& request, JsonDocument& document,
                 std::initializer_list<Field> fields, Body body = Body::required);
// A body is optional here, but a field that nobody reads is refused as anywhere.
Status check_no_fields(const Request& request);
// The same for an object inside the body; `place` is its name in errors, e.g. "items[3]".
Status read_object(const boost::json::value& value, std::string_view place,
                   std::initializer_list<Field> fields);

// Errors of all: invalid_argument, also for what is absent; payload_too_large for too long bytes.
Result<std::string> string_field(std::string_view name, JsonValue value);
Result<WipedBytes> base64_field(std::string_view name, JsonValue value);
Result<EncryptionContext> context_field(std::string_view name, JsonValue value);  // absent: empty
Result<std::optional<KeyId>> key_id_field(std::string_view name, JsonValue value);
Result<std::optional<std::uint32_t>> version_field(std::string_view name, JsonValue value);

// Absent: nothing.
Result<std::optional<bool>> bool_field(std::string_view name, JsonValue value);
struct IntegerRange {
  std::int64_t min = 0, max = 0;
};
Result<std::optional<std::int64_t>> integer_field(std::string_view name, JsonValue value,
                                                  IntegerRange range);
// A sentence for people: 1 to 256 characters, none of them a control character, not all blank.
Result<std::string> sentence_field(std::string_view name, JsonValue value);

// One item or many, as the routes that take batches read them.
struct ItemFields {
  std::string_view single_name, plural_name;
  JsonValue single, plural;
};
// Exactly one of both; at most batch_items_max; and what is no batch may not use a batch's limit.
struct Items {
  std::vector<JsonValue> values;
  bool batch = false;
  // "payload" or "payloads[3]".
  std::string name_of(const ItemFields& fields, std::size_t index) const;
};
Result<Items> item_fields(const ItemFields& fields, const Request& request);
Result<std::vector<WipedBytes>> base64_items(const ItemFields& fields, const Items& items);

// The values of an array of at most batch_items_max.
Result<std::vector<JsonValue>> array_field(std::string_view name, JsonValue value);
// Errors: payload_too_large when a body that is no batch is longer than others may be.
Status check_single_body(const Request& request);

}  // namespace betrace::kms
