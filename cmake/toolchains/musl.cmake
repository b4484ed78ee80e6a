# SPDX-License-Identifier: Apache-2.0
# Static programs with musl (Debian's musl-tools) and without any C++ library: the examples but the
# demo.
#
#   cmake -B build -DCMAKE_TOOLCHAIN_FILE=cmake/toolchains/musl.cmake -DKSHARE_TESTS=OFF
#   cmake --build build --target kshare_cat
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR "${CMAKE_HOST_SYSTEM_PROCESSOR}")
set(CMAKE_CXX_COMPILER "${CMAKE_CURRENT_LIST_DIR}/musl-g++")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-static -nodefaultlibs")
set(CMAKE_CXX_STANDARD_LIBRARIES "-lc -lgcc")
