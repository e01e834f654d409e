#include "api/openapi.h"

// The assembler finds the file by the compiler's include path.
__asm__(
    ".pushsection .rodata\n"
    ".globl betrace_openapi_begin\n"
    ".hidden betrace_openapi_begin\n"
    "betrace_openapi_begin:\n"
    ".incbin \"api/openapi.json\"\n"
    ".globl betrace_openapi_end\n"
    ".hidden betrace_openapi_end\n"
    "betrace_openapi_end:\n"
    ".byte 0\n"
    ".popsection\n");

extern "C" {
extern const char betrace_openapi_begin[];
extern const char betrace_openapi_end[];
}

namespace betrace::kms {

std::string_view openapi_document() {
  return {betrace_openapi_begin,
          static_cast<std::size_t>(betrace_openapi_end - betrace_openapi_begin)};
}

}  // namespace betrace::kms
