// SPDX-License-Identifier: Apache-2.0
// What:        Instant: a point on the caller's monotonic clock, in milliseconds. kshare never
//              reads a clock itself.
// Flow:        the application (or net/posix.hpp) makes instants, every state machine takes them.
// Memory:      8 bytes. All-zero is the clock's own beginning.
// Errors:      additions saturate at kNever, so a deadline can never wrap around.
#ifndef KSHARE_BASE_TIME_HPP
#define KSHARE_BASE_TIME_HPP

#include <cstdint>

namespace kshare {

// INT64_MAX for whatever has no place in 64 bits. Whole numbers go through registers, where an
// Instant that is returned goes through memory.
__attribute__((noinline)) constexpr int64_t add_saturated(int64_t a, int64_t b) {
  int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

struct Instant {
  int64_t ms = 0;

  friend constexpr bool operator==(Instant a, Instant b) { return a.ms == b.ms; }
  friend constexpr bool operator!=(Instant a, Instant b) { return a.ms != b.ms; }
  friend constexpr bool operator<(Instant a, Instant b) { return a.ms < b.ms; }
  friend constexpr bool operator<=(Instant a, Instant b) { return a.ms <= b.ms; }
  friend constexpr bool operator>(Instant a, Instant b) { return a.ms > b.ms; }
  friend constexpr bool operator>=(Instant a, Instant b) { return a.ms >= b.ms; }
  friend constexpr int64_t operator-(Instant a, Instant b) { return a.ms - b.ms; }
  __attribute__((always_inline)) friend constexpr Instant operator+(Instant a, int64_t delay_ms) {
    return {add_saturated(a.ms, delay_ms)};
  }
};

inline constexpr Instant kNever{INT64_MAX};

constexpr Instant earlier(Instant a, Instant b) { return {a < b ? a.ms : b.ms}; }
constexpr Instant later(Instant a, Instant b) { return {a < b ? b.ms : a.ms}; }

}  // namespace kshare

#endif  // KSHARE_BASE_TIME_HPP
