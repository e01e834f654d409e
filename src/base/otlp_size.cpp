#include "base/otlp_size.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

namespace betrace::kms {
namespace {

namespace pb = google::protobuf;
using pb::internal::WireFormatLite;

constexpr int depth_max = 100;  // as protobuf's own limit
constexpr std::size_t part_bytes_min = 2;

class PartCounter {
 public:
  PartCounter(std::string_view bytes, std::size_t parts_max)
      : in_(reinterpret_cast<const std::uint8_t*>(bytes.data()), static_cast<int>(bytes.size())),
        left_(parts_max) {}

  // Up to the end of the bytes or, within a group, to its own. False when they are no message, too.
  bool count(const pb::Descriptor* type, int depth) {
    for (auto tag = in_.ReadTag(); tag != 0; tag = in_.ReadTag()) {
      const auto wire_type = WireFormatLite::GetTagWireType(tag);
      if (wire_type == WireFormatLite::WIRETYPE_END_GROUP) return true;
      const auto* field = type == nullptr
                              ? nullptr
                              : type->FindFieldByNumber(WireFormatLite::GetTagFieldNumber(tag));
      // Of a wrong type it is kept as an unknown field.
      if (field != nullptr && wire_type != wire_type_of(*field)) field = nullptr;
      const auto* inside = field == nullptr ? nullptr : field->message_type();
      if ((field == nullptr || inside != nullptr || field->is_repeated()) && left_-- == 0) {
        too_many_ = true;
        return false;
      }
      const bool is_read = inside != nullptr ? count_inside(*inside, depth)
                           : wire_type == WireFormatLite::WIRETYPE_START_GROUP
                               ? depth > 0 && count(nullptr, depth - 1)
                               : WireFormatLite::SkipField(&in_, tag);
      if (!is_read) return false;
    }
    return true;
  }
  bool too_many() const { return too_many_; }

 private:
  static WireFormatLite::WireType wire_type_of(const pb::FieldDescriptor& field) {
    return WireFormatLite::WireTypeForFieldType(
        static_cast<WireFormatLite::FieldType>(field.type()));
  }
  bool count_inside(const pb::Descriptor& type, int depth) {
    int length = 0;
    if (depth == 0 || !in_.ReadVarintSizeAsInt(&length)) return false;
    const auto outer = in_.PushLimit(length);
    if (!count(&type, depth - 1)) return false;
    if (in_.BytesUntilLimit() != 0) return false;  // it ended at a zero tag, or with the bytes
    in_.PopLimit(outer);
    return true;
  }

  pb::io::CodedInputStream in_;
  std::size_t left_;
  bool too_many_ = false;
};

}  // namespace

bool has_at_most_parts(const pb::Descriptor& type, std::string_view bytes, std::size_t parts_max) {
  if (bytes.size() / part_bytes_min <= parts_max) return true;
  PartCounter counter(bytes, parts_max);
  counter.count(&type, depth_max);
  return !counter.too_many();
}

}  // namespace betrace::kms
