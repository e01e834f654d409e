# `cmake --install` puts a tree that find_package(betrace-kms) finds: headers, archive, program.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/betrace-kms)
install(TARGETS betrace-kms-lib EXPORT betrace-kms-targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS betrace-kms betrace-verify-evidence RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY include/betrace DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(EXPORT betrace-kms-targets NAMESPACE betrace:: DESTINATION ${package_dir})

configure_package_config_file(cmake/betrace-kms-config.cmake.in betrace-kms-config.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(betrace-kms-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES cmake/hpdf.cmake ${CMAKE_BINARY_DIR}/betrace-kms-config.cmake
  ${CMAKE_BINARY_DIR}/betrace-kms-config-version.cmake DESTINATION ${package_dir})
