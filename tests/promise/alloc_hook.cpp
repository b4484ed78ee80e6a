// SPDX-License-Identifier: Apache-2.0
// The counter itself: heap calls are seen inside an AllocCount, and only there.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "support/alloc_count.hpp"

namespace {

// Not to be optimised away.
void* volatile kept = nullptr;

uint64_t counted(void (*work)()) {
  AllocCount count;
  work();
  return count.calls();
}

bool expect(const char* what, uint64_t got, uint64_t wanted) {
  if (got == wanted) return true;
  std::printf("%s: %u calls counted, not %u\n", what, static_cast<unsigned>(got),
              static_cast<unsigned>(wanted));
  return false;
}

}  // namespace

int main() {
  bool ok = expect("nothing", counted([] {}), 0);
  ok &= expect("malloc, free", counted([] {
                 kept = std::malloc(10);
                 std::free(kept);
               }), 2);
  ok &= expect("calloc, realloc, free", counted([] {
                 kept = std::calloc(1, 10);
                 kept = std::realloc(kept, 20);
                 std::free(kept);
               }), 3);
  ok &= expect("new[], delete[]", counted([] {
                 char* const array = new char[10];
                 kept = array;
                 delete[] array;
               }), 2);
  ok &= expect("a vector", counted([] {
                 std::vector<int> vector(10);
                 kept = vector.data();
               }), 2);
  kept = std::malloc(10);  // outside: not counted
  std::free(kept);
  ok &= expect("after it", alloc_count::calls, 2);
  return ok ? 0 : 1;
}
