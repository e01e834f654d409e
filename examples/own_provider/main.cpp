// The program betrace-kms with one provider more: `own_provider serve
// -Dbetrace.kms.provider=drawer`.
#include <cstdio>

#include <betrace/kms/service.h>

#include "drawer_provider.h"

using namespace betrace::kms;

int main(int argc, char** argv) {
  const auto known = register_provider(
      "drawer", [](const Settings& settings) -> Result<std::unique_ptr<Provider>> {
        const auto label = settings("drawer.label").value_or("top");
        if (label.size() > 64) {
          return fail(ErrorCode::invalid_argument, "drawer.label: at most 64 characters");
        }
        return std::make_unique<DrawerProvider>(label);
      });
  if (!known) return std::fprintf(stderr, "%s\n", known.error().message.c_str()), 2;
  return run_program(argc, argv);
}
