#include "api/doctor_view.h"
#include "api/handlers.h"

namespace betrace::kms::handlers {

void doctor(ExchangePtr exchange) {
  JsonWriter body(2048);
  write_doctor_report(exchange->api().doctor.report(), body);
  answer(std::move(exchange), std::move(body));
}

}  // namespace betrace::kms::handlers
