// SPDX-License-Identifier: Apache-2.0
// The whole consumer with a hostile peer: the input is what the peer answers, how the application
// behaves, and how time passes (tests/support/hostile_life.hpp).
#include <cstdio>
#include <cstdlib>

#include "../support/hostile_life.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (const char* broken = hostile::play(data, size)) {
    std::fprintf(stderr, "broken: %s\n", broken);
    std::abort();
  }
  return 0;
}
