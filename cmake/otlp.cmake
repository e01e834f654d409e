# The messages of src/base/otlp.proto, generated into the build folder as a part of the room base.
set(otlp_folder ${CMAKE_BINARY_DIR}/generated)
add_custom_command(
  OUTPUT ${otlp_folder}/otlp.pb.cc ${otlp_folder}/otlp.pb.h
  COMMAND ${CMAKE_COMMAND} -E make_directory ${otlp_folder}
  COMMAND protobuf::protoc --cpp_out=${otlp_folder} --proto_path=${CMAKE_SOURCE_DIR}/src/base
    ${CMAKE_SOURCE_DIR}/src/base/otlp.proto
  DEPENDS ${CMAKE_SOURCE_DIR}/src/base/otlp.proto
  COMMENT "Generating the messages of OTLP")
target_sources(betrace_base PRIVATE ${otlp_folder}/otlp.pb.cc)
set_source_files_properties(${otlp_folder}/otlp.pb.cc PROPERTIES COMPILE_OPTIONS -w)
target_include_directories(betrace_base SYSTEM PRIVATE ${otlp_folder})
