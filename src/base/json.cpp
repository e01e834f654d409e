#include "base/json.h"

#include <charconv>
#include <cmath>
#include <new>
#include <string>
#include <unordered_set>
#include <vector>

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value_stack.hpp>
#include <sodium.h>

#include "betrace/kms/secret_bytes.h"

namespace betrace::kms {
namespace {

namespace bj = boost::json;

constexpr std::int64_t integer_max = (std::int64_t{1} << 53) - 1;

// What both passes share: the library's size limits, and a way to stop with a reason of our own.
struct HandlerBase {
  static constexpr std::size_t max_object_size = bj::object::max_size();
  static constexpr std::size_t max_array_size = bj::array::max_size();
  static constexpr std::size_t max_key_size = bj::string::max_size();
  static constexpr std::size_t max_string_size = bj::string::max_size();

  const char* reason = nullptr;

  bool stop(const char* why, bj::error_code& ec) {
    reason = why;
    ec = bj::error::exception;
    return false;
  }

  bool on_document_begin(bj::error_code&) { return true; }
  bool on_document_end(bj::error_code&) { return true; }
  bool on_array_begin(bj::error_code&) { return true; }
  bool on_number_part(bj::string_view, bj::error_code&) { return true; }
  bool on_comment_part(bj::string_view, bj::error_code&) { return true; }
  bool on_comment(bj::string_view, bj::error_code&) { return true; }
};

// Builds the values. Fields are counted as they come and again in what was built: the library keeps
// the last of two equal names, so a difference betrays a duplicate at next to no cost.
struct Builder : HandlerBase {
  bj::value_stack stack;
  std::size_t values_left;
  bool wide_numbers;
  std::size_t fields = 0;

  Builder(unsigned char* scratch, std::size_t size, bj::storage_ptr overflow,
          bj::storage_ptr target, JsonLimits limits)
      : stack(std::move(overflow), scratch, size),
        values_left(limits.values_max),
        wide_numbers(limits.wide_numbers) {
    stack.reset(std::move(target));
  }

  bool count(bj::error_code& ec) {
    if (values_left == 0) return stop("too many values", ec);
    --values_left;
    return true;
  }
  bool on_object_begin(bj::error_code&) { return true; }
  bool on_object_end(std::size_t n, bj::error_code& ec) {
    fields += n;
    stack.push_object(n);
    return count(ec);
  }
  bool on_array_end(std::size_t n, bj::error_code& ec) {
    stack.push_array(n);
    return count(ec);
  }
  bool on_key_part(bj::string_view s, std::size_t, bj::error_code&) {
    stack.push_chars(s);
    return true;
  }
  bool on_key(bj::string_view s, std::size_t, bj::error_code&) {
    stack.push_key(s);
    return true;
  }
  bool on_string_part(bj::string_view s, std::size_t, bj::error_code&) {
    stack.push_chars(s);
    return true;
  }
  bool on_string(bj::string_view s, std::size_t, bj::error_code& ec) {
    stack.push_string(s);
    return count(ec);
  }
  bool on_int64(std::int64_t i, bj::string_view text, bj::error_code& ec) {
    if (wide_numbers && i == 0 && text.starts_with('-')) {
      stack.push_double(-0.0);
      return count(ec);
    }
    if (!wide_numbers && (i > integer_max || i < -integer_max)) {
      return stop("integer beyond 2^53 - 1", ec);
    }
    stack.push_int64(i);
    return count(ec);
  }
  bool on_uint64(std::uint64_t u, bj::string_view, bj::error_code& ec) {
    if (!wide_numbers) return stop("integer beyond 2^53 - 1", ec);  // what fits comes as int64
    stack.push_uint64(u);
    return count(ec);
  }
  bool on_double(double d, bj::string_view text, bj::error_code& ec) {
    if (!wide_numbers && text.find_first_of(".eE") == bj::string_view::npos) {
      return stop("integer beyond 2^53 - 1", ec);
    }
    // The library's own conversion may be one unit off in the last place.
    const auto end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, d);
    if (error == std::errc::result_out_of_range && !(std::abs(d) < 1)) {
      return stop("number beyond the range of a double", ec);
    }
    // Its canonical form would be such an integer.
    if (!wide_numbers && std::trunc(d) == d && std::abs(d) > static_cast<double>(integer_max) &&
        std::abs(d) < 1e21) {
      return stop("integer beyond 2^53 - 1", ec);
    }
    stack.push_double(d);
    return count(ec);
  }
  bool on_bool(bool b, bj::error_code& ec) {
    stack.push_bool(b);
    return count(ec);
  }
  bool on_null(bj::error_code& ec) {
    stack.push_null();
    return count(ec);
  }
};

// Finds where a field comes the second time. Runs only over text that is known to have one.
struct DuplicateFinder : HandlerBase {
  std::vector<std::unordered_set<std::string>> open;
  std::string name;

  bool on_object_begin(bj::error_code&) {
    open.emplace_back();
    return true;
  }
  bool on_object_end(std::size_t, bj::error_code&) {
    open.pop_back();
    return true;
  }
  bool on_array_end(std::size_t, bj::error_code&) { return true; }
  bool on_key_part(bj::string_view s, std::size_t, bj::error_code&) {
    name.append(s.data(), s.size());
    return true;
  }
  bool on_key(bj::string_view s, std::size_t, bj::error_code& ec) {
    name.append(s.data(), s.size());
    const bool fresh = open.back().insert(std::exchange(name, {})).second;
    return fresh || stop("the same field twice in one object", ec);
  }
  bool on_string_part(bj::string_view, std::size_t, bj::error_code&) { return true; }
  bool on_string(bj::string_view, std::size_t, bj::error_code&) { return true; }
  bool on_int64(std::int64_t, bj::string_view, bj::error_code&) { return true; }
  bool on_uint64(std::uint64_t, bj::string_view, bj::error_code&) { return true; }
  bool on_double(double, bj::string_view, bj::error_code&) { return true; }
  bool on_bool(bool, bj::error_code&) { return true; }
  bool on_null(bj::error_code&) { return true; }
};

std::size_t count_fields(const bj::value& value) {
  std::size_t count = 0;
  if (const auto* object = value.if_object()) {
    count = object->size();
    for (const auto& field : *object) count += count_fields(field.value());
  } else if (const auto* array = value.if_array()) {
    for (const auto& item : *array) {
      if (item.is_structured()) count += count_fields(item);
    }
  }
  return count;
}

std::unexpected<Error> malformed(std::size_t position, std::string_view reason) {
  return fail(ErrorCode::malformed_json,
              "not valid JSON at byte " + std::to_string(position) + ": " + std::string(reason));
}

bj::parse_options options(JsonLimits limits) {
  bj::parse_options options;
  options.max_depth = limits.depth_max;
  return options;
}

std::string_view reason_for(const HandlerBase& handler, const bj::error_code& ec,
                            std::string& library_text) {
  if (handler.reason) return handler.reason;
  if (ec == bj::error::too_deep) return "nested too deeply";
  if (ec == bj::error::incomplete) return "it ends too early";
  library_text = ec.message();
  return library_text;
}

}  // namespace

void* JsonDocument::WipingResource::do_allocate(std::size_t size, std::size_t alignment) {
  return ::operator new(size, std::align_val_t(alignment));
}

void JsonDocument::WipingResource::do_deallocate(void* data, std::size_t size,
                                                 std::size_t alignment) {
  wipe(data, size);
  ::operator delete(data, std::align_val_t(alignment));
}

JsonDocument::JsonDocument() : resource_(buffer_.data(), buffer_.size(), &upstream_) {}

JsonDocument::~JsonDocument() {
  root_.reset();
  resource_.release();
  wipe(buffer_.data(), buffer_.size());
}

Status JsonDocument::parse(std::string_view text, JsonLimits limits) {
  if (text.empty()) return malformed(0, "the text is empty");
  std::array<unsigned char, 512> scratch;
  const struct Wiper {
    std::array<unsigned char, 512>& scratch;
    bool escapes;
    ~Wiper() {
      wipe(scratch.data(), scratch.size());
      // A string with escapes passes through a buffer of 4 KiB on the library's stack.
      if (escapes) sodium_stackzero(12 * 1024);
    }
  } wiper{scratch, text.find('\\') != std::string_view::npos};

  bj::error_code ec;
  std::string library_text;
  bj::basic_parser<Builder> parser(options(limits), scratch.data(), scratch.size(),
                                   bj::storage_ptr(&upstream_), bj::storage_ptr(&resource_),
                                   limits);
  const auto read = parser.write_some(false, text.data(), text.size(), ec);
  if (ec) return malformed(read, reason_for(parser.handler(), ec, library_text));
  if (read < text.size()) return malformed(read, "more text after the value");
  root_.emplace(parser.handler().stack.release());
  if (count_fields(*root_) == parser.handler().fields) return {};

  root_.reset();
  bj::basic_parser<DuplicateFinder> finder(options(limits));
  const auto where = finder.write_some(false, text.data(), text.size(), ec);
  return malformed(where, "the same field twice in one object");
}

}  // namespace betrace::kms
