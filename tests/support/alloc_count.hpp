// SPDX-License-Identifier: Apache-2.0
// What:        counts heap calls of this thread while an AllocCount lives: malloc, calloc, realloc,
//              free, and operator new and delete in all their forms.
// Flow:        the program under test -> --wrap by the linker, or the operators here -> libc.
// Memory:      two counters a thread.
// Errors:      include it in exactly one source file of a program, linked with KSHARE_WRAP of
//              tests/promise/alloc.py (-Wl,--wrap=malloc and so on). Calls inside shared libraries
//              are not seen: the code under test is headers, so it is in the program itself.
//
//   test_broker.step();                        // may allocate
//   { AllocCount count; consumer.poll(now);    // may not
//     total += count.calls(); }
#ifndef KSHARE_TESTS_SUPPORT_ALLOC_COUNT_HPP
#define KSHARE_TESTS_SUPPORT_ALLOC_COUNT_HPP

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace alloc_count {
inline thread_local bool enabled = false;
inline thread_local uint64_t calls = 0;
inline void note() {
  if (enabled) ++calls;
}
}  // namespace alloc_count

// Counts from its construction on; not nested.
class AllocCount {
 public:
  AllocCount() {
    alloc_count::calls = 0;
    alloc_count::enabled = true;
  }
  AllocCount(const AllocCount&) = delete;
  AllocCount& operator=(const AllocCount&) = delete;
  ~AllocCount() { alloc_count::enabled = false; }
  uint64_t calls() const { return alloc_count::calls; }
};

extern "C" {
void* __real_malloc(size_t bytes);
void* __real_calloc(size_t count, size_t bytes);
void* __real_realloc(void* old, size_t bytes);
void __real_free(void* old);

void* __wrap_malloc(size_t bytes) {
  alloc_count::note();
  return __real_malloc(bytes);
}
void* __wrap_calloc(size_t count, size_t bytes) {
  alloc_count::note();
  return __real_calloc(count, bytes);
}
void* __wrap_realloc(void* old, size_t bytes) {
  alloc_count::note();
  return __real_realloc(old, bytes);
}
void __wrap_free(void* old) {
  alloc_count::note();
  __real_free(old);
}
}

// The array, nothrow and sized forms of the standard library end in these.
void* operator new(size_t bytes) {
  alloc_count::note();
  void* const memory = __real_malloc(bytes != 0 ? bytes : 1);
  if (memory == nullptr) abort();
  return memory;
}
void* operator new(size_t bytes, std::align_val_t align) {
  alloc_count::note();
  const size_t step = static_cast<size_t>(align);
  void* const memory = aligned_alloc(step, (bytes + step - 1) / step * step);
  if (memory == nullptr) abort();
  return memory;
}
void operator delete(void* old) noexcept {
  alloc_count::note();
  __real_free(old);
}
void operator delete(void* old, size_t) noexcept { operator delete(old); }
void operator delete(void* old, std::align_val_t) noexcept { operator delete(old); }
void operator delete(void* old, size_t, std::align_val_t) noexcept { operator delete(old); }

#endif  // KSHARE_TESTS_SUPPORT_ALLOC_COUNT_HPP
