// A span or a log record of an OTLP request, seen alike. For base/otlp*.cpp only, where protobuf's
// types are.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include <boost/json/object.hpp>
#include <google/protobuf/repeated_ptr_field.h>
#include <otlp.pb.h>

#include "betrace/kms/result.h"

namespace betrace::kms {

// Points into a message, which must outlive it.
class OtlpItem {
 public:
  explicit OtlpItem(otlp::Span& span) : of_(&span) {}
  explicit OtlpItem(otlp::LogRecord& record) : of_(&record) {}

  google::protobuf::RepeatedPtrField<otlp::KeyValue>& attributes() const;
  otlp::KeyValue* find(std::string_view name) const;  // null when there is none
  template <class OfKey>                              // bool(std::string_view key)
  void remove(OfKey is_removed) const {
    auto& all = attributes();
    int kept = 0;  // in their order
    for (int at = 0; at < all.size(); ++at) {
      if (is_removed(std::string_view(all[at].key()))) continue;
      if (at != kept) all.SwapElements(at, kept);
      ++kept;
    }
    all.DeleteSubrange(kept, all.size() - kept);
  }
  std::uint64_t time() const;
  const std::string& trace_id() const;
  const std::string& span_id() const;
  Result<boost::json::object> describe(std::string_view hidden,
                                       boost::json::storage_ptr memory) const;

 private:
  std::variant<otlp::Span*, otlp::LogRecord*> of_;
};

}  // namespace betrace::kms
