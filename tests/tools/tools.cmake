# The scripts of `make check` refuse what they are there to refuse.
add_test(NAME tools COMMAND ${CMAKE_SOURCE_DIR}/tests/tools/check_test.sh)
set_tests_properties(tools PROPERTIES LABELS tools TIMEOUT 60)
