// What the routes that work on one item or many have in common: their answer, the move of a long
// batch off the I/O thread, and the tenant that is created on first use.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "api/exchange.h"
#include "api/json_writer.h"
#include "api/problem.h"

namespace betrace::kms {

// More than a few signatures would keep other requests waiting on an I/O thread.
inline constexpr std::size_t inline_items_max = 32;

// A request of many items in a small body came in on an I/O thread.
inline bool is_long_batch(const ApiExchange& exchange, std::size_t items) {
  return items > inline_items_max && exchange.request().body.size() <= inline_body_bytes_max;
}

// Calls `begin(work)`; for a long batch on the heavy executor. `Work` has a member `exchange`.
template <class Work>
void start(std::unique_ptr<Work> work, std::size_t items, void (*begin)(std::unique_ptr<Work>)) {
  if (!is_long_batch(*work->exchange, items)) return begin(std::move(work));
  auto exchange = std::move(work->exchange);
  run_heavy(std::move(exchange), [work = std::move(work), begin](ExchangePtr back) mutable {
    work->exchange = std::move(back);
    begin(std::move(work));
  });
}

// Whether `error` means a tenant that is to be created now. At most once for a request.
template <class Work>
bool should_create_tenant(Work& work, const Error& error) {
  return error.code == ErrorCode::tenant_not_found &&
         work.exchange->api().settings.auto_create_tenants &&
         !std::exchange(work.tried_to_create, true);
}

// Creates the tenant, unless somebody else was first, then calls `again(work)`.
template <class Work>
void create_tenant_then(std::unique_ptr<Work> work, void (*again)(std::unique_ptr<Work>)) {
  const auto& exchange = *work->exchange;
  exchange.api().keys.create_tenant(
      exchange.call(), exchange.tenant(),
      [work = std::move(work), again](Result<TenantDescription> created) mutable {
        if (!created || created->created) {
          const auto outcome = created ? "ok" : to_string(created.error().code);
          if (auto recorded = work->exchange->audit("create-tenant", outcome); !recorded) {
            return refuse(std::move(work->exchange), std::move(recorded).error());
          }
        }
        if (!created) return refuse(std::move(work->exchange), std::move(created).error());
        again(std::move(work));
      });
}

// One item answers itself or its problem; many answer {"results":[item or {"error":problem}]}.
// `write(writer, value)` writes one item as an object.
template <class T, class Write>
void answer_items(ExchangePtr exchange, bool batch, Result<std::vector<Result<T>>> results,
                  std::size_t bytes_per_item, Write write) {
  if (!results) return refuse(std::move(exchange), std::move(results).error());
  if (!batch) {
    auto& result = results->front();
    if (!result) return refuse(std::move(exchange), std::move(result).error());
    JsonWriter body(bytes_per_item);
    write(body, *result);
    return answer(std::move(exchange), std::move(body));
  }
  JsonWriter body(32 + results->size() * bytes_per_item);
  body.begin_object().key("results").begin_array();
  for (const auto& result : *results) {
    if (result) {
      write(body, *result);
    } else {
      body.begin_object().key("error");
      write_problem(result.error(), {}, body);
      body.end_object();
    }
  }
  body.end_array().end_object();
  answer(std::move(exchange), std::move(body));
}

}  // namespace betrace::kms
