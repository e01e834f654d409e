// The rows of THE TABLE that are about compliance spans.
#include "app/config_keys.h"

namespace betrace::kms {
namespace {

using enum ConfigType;

constexpr ConfigKey keys[] = {
    {.name = "betrace.evidence.unknown-controls",
     .type = choice,
     .default_value = "refuse",
     .choices = "refuse, pass",
     .description = "Compliance spans of a framework or control that is in no table"},
    {.name = "betrace.evidence.controls",
     .description = "Further controls, FRAMEWORK:CONTROL or FRAMEWORK:* with commas between: "
                    "acme:*,soc2:CC6.9"},
    {.name = "betrace.evidence.log.enabled",
     .type = flag,
     .default_value = "true",
     .description = "Every signed compliance span goes into its tenant's append-only log"},
    {.name = "betrace.evidence.log.folder",
     .default_value = "${betrace.kms.data-dir}/evidence",
     .description = "Where the evidence log is; one daemon at a time has it"},
    {.name = "betrace.evidence.log.name",
     .default_value = "betrace-kms",
     .description = "How a new evidence log calls itself; something random is put behind it"},
    {.name = "betrace.evidence.checkpoint.interval-seconds",
     .type = integer,
     .default_value = "60",
     .min = 1,
     .max = 86400,
     .description = "How often a log that has grown is given a signed checkpoint"},
    {.name = "betrace.evidence.checkpoint.leaves",
     .type = integer,
     .default_value = "10000",
     .min = 1,
     .max = 1000000,
     .description = "After so many spans a checkpoint is made without waiting for the interval"},
    {.name = "betrace.evidence.checkpoint.push",
     .description = "Who is handed every checkpoint: file:/FOLDER, or http(s)://… by POST; of each "
                    "tenant the newest until it got there"},
    {.name = "betrace.otlp.forward-endpoint",
     .type = url,
     .description = "Where /v1/traces and /v1/logs go on to: http://collector:4318"},
    {.name = "betrace.otlp.forward-headers",
     .type = secret,
     .description = "Headers of what is forwarded, name=value with commas between"},
    {.name = "betrace.otlp.signing",
     .type = choice,
     .default_value = "each",
     .choices = "each, log",
     .description = "each: compliance items that come by OTLP get a signature; log: their place in "
                    "the evidence log, of which the next checkpoint is signed, stands for it"},
    {.name = "betrace.otlp.queue-bytes",
     .type = integer,
     .default_value = "4294967296",
     .min = 16777216,
     .max = 1099511627776,
     .description = "So much may wait on the disk; beyond that senders are told to slow down"},
};

}  // namespace

std::span<const ConfigKey> evidence_config_keys() { return keys; }

}  // namespace betrace::kms
