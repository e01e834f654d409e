// How much a protobuf message is before it is read: what is two bytes on the wire can be hundreds
// in memory. For base/otlp*.cpp only, where protobuf's types are. A pure function.
#pragma once

#include <cstddef>
#include <string_view>

#include <google/protobuf/descriptor.h>

namespace betrace::kms {

// Whether a message of `type` has at most `parts_max` parts: messages in it, items of repeated
// fields, and unknown fields. Of bytes that are no such message: as far as they are.
bool has_at_most_parts(const google::protobuf::Descriptor& type, std::string_view bytes,
                       std::size_t parts_max);

}  // namespace betrace::kms
