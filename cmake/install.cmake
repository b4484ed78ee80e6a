# SPDX-License-Identifier: Apache-2.0
# cmake --install: the headers, the single header, and what find_package() and pkg-config look for.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

# kshare.hpp, all of include/kshare in one file. Without Python there is none.
find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND)
  set(single_header "${PROJECT_BINARY_DIR}/single/kshare.hpp")
  set(amalgamate "${PROJECT_SOURCE_DIR}/cmake/amalgamate.py")
  add_custom_command(OUTPUT "${single_header}" DEPENDS "${amalgamate}" VERBATIM
    COMMAND "${Python3_EXECUTABLE}" "${amalgamate}" "${single_header}"
      --depfile "${single_header}.d"
    DEPFILE "${single_header}.d")
  add_custom_target(single-header ALL DEPENDS "${single_header}")
  install(FILES "${single_header}" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" OPTIONAL)
endif()

target_include_directories(kshare INTERFACE "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/kshare"
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")

set(package "${CMAKE_INSTALL_DATADIR}/cmake/kshare")
install(TARGETS kshare EXPORT kshare)
install(EXPORT kshare NAMESPACE kshare:: DESTINATION "${package}" FILE kshareConfig.cmake)
# Headers fit every architecture: without this an armhf build refuses a package made on x86-64.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/kshareConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/kshareConfigVersion.cmake" DESTINATION "${package}")

configure_file("${PROJECT_SOURCE_DIR}/cmake/kshare.pc.in" "${PROJECT_BINARY_DIR}/kshare.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/kshare.pc"
  DESTINATION "${CMAKE_INSTALL_DATADIR}/pkgconfig")
