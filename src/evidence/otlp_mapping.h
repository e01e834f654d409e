// From OTLP to the contract's span and back (docs/evidence-format.md, "From OTLP"). Pure functions.
#pragma once

#include <string>
#include <string_view>

#include <boost/json/object.hpp>

#include "betrace/kms/key.h"
#include "betrace/kms/result.h"
#include "betrace/kms/signer.h"

#include "base/otlp.h"

namespace betrace::kms {

// Of an item that the collector's attributes call a compliance span: framework and control.
bool is_compliance_item(const OtlpRequest& request, std::size_t item);
bool carries_signature(const OtlpRequest& request, std::size_t item);
// Whether its place in a log stands for a signature, or did before it was flagged.
bool carries_place(const OtlpRequest& request, std::size_t item);
// Which log that is; empty where the item does not say it.
std::string_view log_of_place(const OtlpRequest& request, std::size_t item);

// The span that is signed for the item; of one that carries a signature or place with that. Errors:
// invalid_argument, naming what the item lacks or has too much of.
Result<boost::json::object> compliance_span_of(const OtlpRequest& request, std::size_t item,
                                               boost::json::storage_ptr memory = {});

// What the item is given.
void set_signature(OtlpRequest& request, std::size_t item, const KeyId& key,
                   const SignatureBytes& signature);
// `log` is the first line of the log's checkpoints.
void set_place(OtlpRequest& request, std::size_t item, std::string_view log, std::uint64_t index);
void set_signing_failed(OtlpRequest& request, std::size_t item);

}  // namespace betrace::kms
