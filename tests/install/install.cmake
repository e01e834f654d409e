# The library as a stranger uses it: installed, found by CMake outside the tree, linked, run.
add_test(NAME install COMMAND ${CMAKE_SOURCE_DIR}/tests/install/run ${CMAKE_BINARY_DIR})
set_tests_properties(install PROPERTIES LABELS e2e TIMEOUT 600)
