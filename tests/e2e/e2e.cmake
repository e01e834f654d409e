# Each file of tests is one entry of ctest: real servers, real clients, the built program.
file(GLOB e2e_files CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/test_*.py)
# These take as long as it takes in tools/torture, whose limit goes behind one of their own.
set(e2e_torture e2e_restart e2e_life_of_keys e2e_migration e2e_backup e2e_soak e2e_evidence
                e2e_bundle_python e2e_evidence_faults e2e_otlp_faults)
foreach(file ${e2e_files})
  get_filename_component(name ${file} NAME_WE)
  string(REPLACE "test_" "e2e_" name ${name})
  add_test(NAME ${name} COMMAND ${CMAKE_SOURCE_DIR}/build/venv/bin/python -m pytest -q ${file}
           WORKING_DIRECTORY ${CMAKE_CURRENT_LIST_DIR})
  set_tests_properties(${name} PROPERTIES
    ENVIRONMENT "BETRACE_KMS=$<TARGET_FILE:betrace-kms>;PYTHONDONTWRITEBYTECODE=1")
  if(name IN_LIST e2e_torture)
    set_tests_properties(${name} PROPERTIES LABELS "e2e;torture")
  else()
    set_tests_properties(${name} PROPERTIES LABELS e2e TIMEOUT 900)
  endif()
endforeach()
# Its measure is of latencies.
set_tests_properties(e2e_stampede PROPERTIES RUN_SERIAL ON)
