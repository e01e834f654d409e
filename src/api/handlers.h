// The endpoints, one function each: take the request apart, call one verb, write its answer down.
// Called after the router has matched, authenticated and authorised, on an I/O thread or, for big
// bodies, on the heavy executor; none of them blocks on a store or a provider.
#pragma once

#include "api/exchange.h"

namespace betrace::kms::handlers {

void health(ExchangePtr exchange);
void health_live(ExchangePtr exchange);
void health_ready(ExchangePtr exchange);
void health_started(ExchangePtr exchange);
void health_serving(ExchangePtr exchange);
void metrics(ExchangePtr exchange);
void openapi(ExchangePtr exchange);

void validate(ExchangePtr exchange);
void status(ExchangePtr exchange);
void doctor(ExchangePtr exchange);
void cache_config(ExchangePtr exchange);
void test_key_retrieval(ExchangePtr exchange);
void log_level(ExchangePtr exchange);
void rate_limit(ExchangePtr exchange);

void rotate_all_keys(ExchangePtr exchange);
void rotation_status(ExchangePtr exchange);
void migrate(ExchangePtr exchange);
void migration_status(ExchangePtr exchange);
void tenants_needing_rotation(ExchangePtr exchange);
void scheduler_status(ExchangePtr exchange);
void rotation_report(ExchangePtr exchange);

void create_tenant(ExchangePtr exchange);
void list_tenants(ExchangePtr exchange);
void describe_tenant(ExchangePtr exchange);
void rotate(ExchangePtr exchange);

void revoke(ExchangePtr exchange);
void destroy_key(ExchangePtr exchange);
void destroy_tenant(ExchangePtr exchange);

void public_keys(ExchangePtr exchange);
void jwks(ExchangePtr exchange);
void service_public_keys(ExchangePtr exchange);

void sign(ExchangePtr exchange);
void verify(ExchangePtr exchange);
void encrypt(ExchangePtr exchange);
void decrypt(ExchangePtr exchange);
void rewrap(ExchangePtr exchange);
void data_key(ExchangePtr exchange);

void sign_spans(ExchangePtr exchange);
void verify_span(ExchangePtr exchange);
void verify_spans(ExchangePtr exchange);
void otlp_traces(ExchangePtr exchange);
void otlp_logs(ExchangePtr exchange);
void evidence_log_key(ExchangePtr exchange);
void evidence_checkpoint(ExchangePtr exchange);
void evidence_inclusion(ExchangePtr exchange);
void evidence_consistency(ExchangePtr exchange);
void evidence_leaves(ExchangePtr exchange);
void evidence_bundle(ExchangePtr exchange);

}  // namespace betrace::kms::handlers
