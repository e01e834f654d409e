# What `tools/package` puts into the Debian package: the program, its unit, its configuration, and the
# texts that it writes about itself. The library stays out.
set(from ${CMAKE_SOURCE_DIR}/packaging)
set(made ${CMAKE_BINARY_DIR}/package)  # by tools/package
function(package kind what to)
  install(${kind} ${what} DESTINATION ${to} COMPONENT package EXCLUDE_FROM_ALL ${ARGN})
endfunction()
package(TARGETS betrace-kms bin)
package(FILES ${from}/betrace-kms.service /lib/systemd/system)
package(FILES ${from}/application.properties /etc/betrace)
package(FILES ${from}/betrace-kms.logrotate /etc/logrotate.d RENAME betrace-kms)
package(FILES ${made}/betrace-kms.1.gz share/man/man1)
package(FILES ${made}/changelog.gz share/doc/betrace-kms)
package(FILES ${made}/changelog.Debian.gz share/doc/betrace-kms)
package(FILES ${from}/copyright share/doc/betrace-kms)
package(FILES ${made}/completion.bash share/bash-completion/completions RENAME betrace-kms)
package(FILES ${made}/completion.zsh share/zsh/vendor-completions RENAME _betrace-kms)
package(FILES ${made}/completion.fish share/fish/vendor_completions.d RENAME betrace-kms.fish)

set(CPACK_INSTALL_CMAKE_PROJECTS "${CMAKE_BINARY_DIR};betrace-kms;package;/")
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_NAME betrace-kms)
set(CPACK_PACKAGE_CONTACT "BeTrace KMS <kms@betrace.example>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "key management service for compliance evidence")
set(CPACK_PACKAGE_DESCRIPTION
  "Every tenant has a key that signs compliance evidence and a key that
encrypts personal data, both wrapped by a master key that lives elsewhere:
in AWS KMS, Vault or OpenBao, Google Cloud KMS, Azure Key Vault, an HSM or,
for development, in a local file.")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "passwd, tzdata, ca-certificates")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "logrotate, bash-completion")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  ${from}/postinst ${from}/prerm ${from}/postrm ${from}/conffiles)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)
