# The messages of src/base/otlp.proto, generated into the build folder as a part of the room base;
# when it is configured, so that what only reads the sources has them, too.
set(otlp_proto ${CMAKE_SOURCE_DIR}/src/base/otlp.proto)
set(otlp_folder ${CMAKE_BINARY_DIR}/generated)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${otlp_proto})
if(${otlp_proto} IS_NEWER_THAN ${otlp_folder}/otlp.pb.h)  # also when there is none
  file(MAKE_DIRECTORY ${otlp_folder})
  execute_process(
    COMMAND ${Protobuf_PROTOC_EXECUTABLE} --cpp_out=${otlp_folder}
      --proto_path=${CMAKE_SOURCE_DIR}/src/base ${otlp_proto}
    COMMAND_ERROR_IS_FATAL ANY)
endif()
target_sources(betrace_base PRIVATE ${otlp_folder}/otlp.pb.cc)
set_source_files_properties(${otlp_folder}/otlp.pb.cc PROPERTIES COMPILE_OPTIONS -w)
target_include_directories(betrace_base SYSTEM PRIVATE ${otlp_folder})
