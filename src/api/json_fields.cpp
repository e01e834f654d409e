#include "api/json_fields.h"

#include <algorithm>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/string.hpp>
#include <fmt/format.h>

#include "base/encoding.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

std::string_view view(const boost::json::string& text) { return {text.data(), text.size()}; }

std::string_view kind_of(const boost::json::value& value) {
  switch (value.kind()) {
    case boost::json::kind::null:
      return "null";
    case boost::json::kind::bool_:
      return "a boolean";
    case boost::json::kind::int64:
    case boost::json::kind::uint64:
    case boost::json::kind::double_:
      return "a number";
    case boost::json::kind::string:
      return "a string";
    case boost::json::kind::array:
      return "an array";
    case boost::json::kind::object:
      return "an object";
  }
  return "something else";
}

std::unexpected<Error> wrong(std::string_view name, JsonValue value, std::string_view accepted) {
  if (!value) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("the field '{}' is missing; it is {}", name, accepted));
  }
  return fail(ErrorCode::invalid_argument,
              fmt::format("the field '{}' must be {}, not {}", name, accepted, kind_of(*value)));
}

// A name from outside, short and printable enough for an error.
std::string shown(std::string_view name) {
  constexpr std::size_t bytes_max = 64;
  return name.size() <= bytes_max ? std::string(name)
                                  : std::string(name.substr(0, bytes_max)) + "...";
}

std::string names_of(std::initializer_list<Field> fields) {
  if (fields.size() == 0) return "none";
  std::string names;
  for (const auto& field : fields) {
    if (!names.empty()) names += ", ";
    names += field.name;
  }
  return names;
}

}  // namespace

Status read_object(const boost::json::value& value, std::string_view place,
                   std::initializer_list<Field> fields) {
  const auto* object = value.if_object();
  if (!object) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{} must be a JSON object, not {}", place, kind_of(value)));
  }
  for (const auto& member : *object) {
    const std::string_view name(member.key().data(), member.key().size());
    const auto field = std::ranges::find(fields, name, &Field::name);
    if (field == fields.end()) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{} has an unknown field '{}'; accepted: {}", place, shown(name),
                              names_of(fields)));
    }
    if (!member.value().is_null()) *field->value = &member.value();
  }
  return {};
}

Status read_body(const Request& request, JsonDocument& document,
                 std::initializer_list<Field> fields, Body body) {
  if (request.body.empty() && body == Body::optional) return {};
  TRY(document.parse(request.body));
  return read_object(document.root(), "the body", fields);
}

Status check_no_fields(const Request& request) {
  JsonDocument document;
  return read_body(request, document, {}, Body::optional);
}

Result<std::string> string_field(std::string_view name, JsonValue value) {
  const auto* text = value ? value->if_string() : nullptr;
  if (!text) return wrong(name, value, "a string");
  return std::string(view(*text));
}

Result<WipedBytes> base64_field(std::string_view name, JsonValue value) {
  const auto* text = value ? value->if_string() : nullptr;
  if (!text) return wrong(name, value, "a base64 string");
  if (text->size() > (item_bytes_max + 2) / 3 * 4) {
    return fail(ErrorCode::payload_too_large,
                fmt::format("the field '{}' is longer than {} bytes", name, item_bytes_max));
  }
  auto bytes = base64_decode(view(*text));
  if (!bytes) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("the field '{}' is not base64 (RFC 4648 section 4: A-Z a-z 0-9 + /, "
                            "padded with =, no white space)",
                            name));
  }
  return *std::move(bytes);
}

Result<EncryptionContext> context_field(std::string_view name, JsonValue value) {
  constexpr std::string_view accepted = "an object of strings";
  EncryptionContext context;
  if (!value) return context;
  const auto* object = value->if_object();
  if (!object) return wrong(name, value, accepted);
  if (object->size() > context_pairs_max) {
    return fail(ErrorCode::invalid_argument, fmt::format("the field '{}' has {} pairs; at most {}",
                                                         name, object->size(), context_pairs_max));
  }
  for (const auto& member : *object) {
    const std::string_view key(member.key().data(), member.key().size());
    const auto* text = member.value().if_string();
    if (!text) return wrong(fmt::format("{}.{}", name, shown(key)), &member.value(), "a string");
    context.emplace(key, view(*text));
  }
  return context;
}

Result<std::optional<KeyId>> key_id_field(std::string_view name, JsonValue value) {
  if (!value) return std::nullopt;
  const auto* text = value->if_string();
  if (!text) return wrong(name, value, "a key id (a UUID)");
  const auto id = KeyId::parse(view(*text));
  if (!id) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("the field '{}' is not a key id (a UUID)", name));
  }
  return *id;
}

Result<std::optional<std::uint32_t>> version_field(std::string_view name, JsonValue value) {
  if (!value) return std::nullopt;
  const auto* number = value->if_int64();
  if (!number) return wrong(name, value, "a key version (1 or more)");
  if (*number < 1 || *number > UINT32_MAX) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("the field '{}' is {}; versions start at 1", name, *number));
  }
  return static_cast<std::uint32_t>(*number);
}

Result<std::optional<bool>> bool_field(std::string_view name, JsonValue value) {
  if (!value) return std::nullopt;
  const auto* given = value->if_bool();
  if (!given) return wrong(name, value, "true or false");
  return *given;
}

Result<std::optional<std::int64_t>> integer_field(std::string_view name, JsonValue value,
                                                  IntegerRange range) {
  if (!value) return std::nullopt;
  const auto accepted = fmt::format("an integer from {} to {}", range.min, range.max);
  const auto* number = value->if_int64();
  if (!number) return wrong(name, value, accepted);
  if (*number < range.min || *number > range.max) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("the field '{}' is {}; it is {}", name, *number, accepted));
  }
  return *number;
}

Result<std::string> sentence_field(std::string_view name, JsonValue value) {
  constexpr std::size_t characters_max = 256;
  auto text = TRY(string_field(name, value));
  std::size_t characters = 0;
  bool control = false;
  unsigned char before = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    characters += (byte & 0xc0) != 0x80;
    // U+0080 to U+009F are control characters too, C2 80 to C2 9F in UTF-8.
    control |= byte < 0x20 || byte == 0x7f || (before == 0xc2 && byte < 0xa0);
    before = byte;
  }
  const bool blank = text.find_first_not_of(' ') == std::string::npos;
  if (blank || control || characters > characters_max) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("the field '{}' {}; it is 1 to {} characters of text on one line", name,
                            blank     ? "is blank"
                            : control ? "has a control character"
                                      : "is too long",
                            characters_max));
  }
  return text;
}

Result<std::vector<JsonValue>> array_field(std::string_view name, JsonValue value) {
  const auto* array = value ? value->if_array() : nullptr;
  if (!array) return wrong(name, value, "an array");
  if (array->size() > batch_items_max) {
    return fail(ErrorCode::invalid_argument, fmt::format("the field '{}' has {} items; at most {}",
                                                         name, array->size(), batch_items_max));
  }
  std::vector<JsonValue> values;
  values.reserve(array->size());
  for (const auto& item : *array) values.push_back(&item);
  return values;
}

Status check_single_body(const Request& request) {
  if (request.body.size() <= single_body_bytes_max) return {};
  return fail(ErrorCode::payload_too_large,
              fmt::format("the body has {} bytes; at most {}, or {} for a batch",
                          request.body.size(), single_body_bytes_max, 16 * single_body_bytes_max));
}

std::string Items::name_of(const ItemFields& fields, std::size_t index) const {
  return batch ? fmt::format("{}[{}]", fields.plural_name, index) : std::string(fields.single_name);
}

Result<Items> item_fields(const ItemFields& fields, const Request& request) {
  if ((fields.single != nullptr) == (fields.plural != nullptr)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("the body needs either '{}' or '{}'{}", fields.single_name,
                            fields.plural_name, fields.single ? ", not both" : ""));
  }
  if (fields.plural) {
    return Items{.values = TRY(array_field(fields.plural_name, fields.plural)), .batch = true};
  }
  TRY(check_single_body(request));
  return Items{.values = {fields.single}};
}

Result<std::vector<WipedBytes>> base64_items(const ItemFields& fields, const Items& items) {
  std::vector<WipedBytes> bytes;
  bytes.reserve(items.values.size());
  for (std::size_t i = 0; i < items.values.size(); ++i) {
    auto item = base64_field(fields.single_name, items.values[i]);
    // Which one of many is spelt out for an error only.
    if (!item && items.batch) item = base64_field(items.name_of(fields, i), items.values[i]);
    bytes.push_back(TRY(std::move(item)));
  }
  return bytes;
}

}  // namespace betrace::kms
