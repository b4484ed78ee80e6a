# SPDX-License-Identifier: Apache-2.0
# What our own tests and examples share; a project that uses kshare gets none of it.

set(CMAKE_CXX_EXTENSIONS OFF)
if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

# kshare_strict(TARGET): kshare, our include path, every warning an error, sanitizers if wanted.
file(STRINGS "${CMAKE_CURRENT_LIST_DIR}/warnings.txt" kshare_warnings REGEX "-W")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  list(TRANSFORM kshare_warnings REPLACE "^gcc: " "")
  if(CMAKE_SIZEOF_VOID_P EQUAL 4)
    # size_t is uint32_t here: the casts that other targets need would be called useless.
    list(REMOVE_ITEM kshare_warnings -Wuseless-cast)
  endif()
else()
  list(FILTER kshare_warnings EXCLUDE REGEX "^gcc: ")
endif()
# Says "potential" of every std::vector. tests/promise has it for all of include/.
list(REMOVE_ITEM kshare_warnings -Wnull-dereference)
# gcc 12 at -O2 invents offsets of 2^32 where a test's small buffer is inlined into the library.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  list(APPEND kshare_warnings -Wno-array-bounds)
endif()

function(kshare_strict target)
  target_link_libraries(${target} PRIVATE kshare::kshare)
  target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}/tests")
  target_compile_options(${target} PRIVATE ${kshare_warnings})
  # Sanitizers and other targets make gcc warn of what cannot be: there, warnings stay warnings.
  if(NOT KSHARE_SANITIZE AND NOT KSHARE_FUZZ AND NOT CMAKE_CROSSCOMPILING)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(KSHARE_SANITIZE)
    set(flags -fsanitize=address,undefined -fno-sanitize-recover=all)
    target_compile_options(${target} PRIVATE ${flags} -fno-omit-frame-pointer)
    target_link_options(${target} PRIVATE ${flags})
  endif()
endfunction()

# kshare_libc_alone(TARGET): as small as a device wants it, without libstdc++.
function(kshare_libc_alone target)
  target_compile_options(${target} PRIVATE -Os -fno-exceptions -fno-rtti
    -ffunction-sections -fdata-sections)
  target_link_options(${target} PRIVATE -Wl,--gc-sections -nodefaultlibs)
  if(KSHARE_SANITIZE)
    target_link_options(${target} PRIVATE -lstdc++ -lm)  # the sanitizers' own need
  endif()
  # Linked statically (-static), glibc and libgcc need each other, and glibc the unwinder.
  target_link_libraries(${target} PRIVATE -Wl,--start-group c gcc gcc_eh -Wl,--end-group)
endfunction()
