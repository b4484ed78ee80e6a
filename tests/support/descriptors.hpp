// SPDX-License-Identifier: Apache-2.0
// What:        how many file descriptors this process has: the tests of sockets look for leaks.
// Flow:        /proc -> tests/unit.
// Memory:      none.
// Errors:      reported through doctest.
#ifndef KSHARE_TESTS_DESCRIPTORS_HPP
#define KSHARE_TESTS_DESCRIPTORS_HPP

#include <dirent.h>
#include <doctest/doctest.h>

#include <cstddef>

inline size_t open_descriptors() {
  size_t count = 0;
  DIR* dir = ::opendir("/proc/self/fd");
  REQUIRE(dir != nullptr);
  while (::readdir(dir) != nullptr) ++count;
  ::closedir(dir);
  return count;
}

#endif  // KSHARE_TESTS_DESCRIPTORS_HPP
