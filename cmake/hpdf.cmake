# The target hpdf: libharu, for which Debian ships neither a package configuration nor a .pc file.
find_path(HPDF_INCLUDE_DIR hpdf.h REQUIRED)
find_library(HPDF_LIBRARY hpdf REQUIRED)
mark_as_advanced(HPDF_INCLUDE_DIR HPDF_LIBRARY)
if(NOT TARGET hpdf)
  add_library(hpdf UNKNOWN IMPORTED)
  set_target_properties(hpdf PROPERTIES IMPORTED_LOCATION ${HPDF_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${HPDF_INCLUDE_DIR})
endif()
