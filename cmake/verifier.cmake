# betrace-verify-evidence: one static program for an auditor's machine, made of the files it needs
# and no others, which is all that somebody has to read who wants to trust it.
find_package(fmt REQUIRED)
set(verifier_sources
  app/verify_main app/verify_evidence app/progress app/world
  evidence/bundle evidence/bundle_leaves evidence/bundle_lines evidence/bundle_report
  evidence/checkpoint evidence/frameworks evidence/merkle
  evidence/span
  base/canonical_json base/crypto base/durable_file base/encoding base/envelope base/json
  base/json_note base/names base/secret_bytes
  telemetry/version)
list(TRANSFORM verifier_sources PREPEND ${CMAKE_SOURCE_DIR}/src/)
list(TRANSFORM verifier_sources APPEND .cpp)
add_executable(betrace-verify-evidence ${verifier_sources})
set_target_properties(betrace-verify-evidence PROPERTIES
  RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
target_link_libraries(betrace-verify-evidence PRIVATE betrace_flags CLI11::CLI11
  fmt::fmt-header-only)
foreach(vendor boost_json boost_container crypto sodium)
  find_library(static_${vendor} NAMES lib${vendor}.a REQUIRED)
  list(APPEND static_vendors ${static_${vendor}})
endforeach()
target_link_libraries(betrace-verify-evidence PRIVATE ${static_vendors})
if(NOT CMAKE_CXX_FLAGS MATCHES "-fsanitize")  # the sanitizers' own libraries are shared
  target_link_options(betrace-verify-evidence PRIVATE -static)
endif()
