// SPDX-License-Identifier: Apache-2.0
// What:        a small generator for back-off jitter (SplitMix64); seeded once by start(), so
//              simulations replay.
// Flow:        base -> core.
// Memory:      8 bytes.
// Errors:      none. Not for secrets: member ids and nonces come from the transport pool's entropy.
#ifndef KSHARE_BASE_RANDOM_HPP
#define KSHARE_BASE_RANDOM_HPP

#include <cstdint>

namespace kshare {

class Random {
 public:
  void seed(uint64_t value) { state_ = value; }

  uint64_t next() {
    state_ += 0x9E3779B97F4A7C15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

  // Evenly spread over [0, bound); bound > 0. The bias of the modulo is of no consequence for
  // jitter.
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(next() >> 32) % bound; }

 private:
  uint64_t state_ = 0;
};

// Exponential back-off: base, 2 base, 4 base, ... up to max (KIP-580).
inline uint32_t even_backoff_ms(uint32_t attempt, uint32_t base_ms, uint32_t max_ms) {
  uint32_t delay = base_ms < max_ms ? base_ms : max_ms;
  for (uint32_t i = 0; i < attempt && delay < max_ms; ++i) {
    delay = delay > max_ms / 2 ? max_ms : delay * 2;
  }
  return delay;
}
// The same with a jitter of 20 %.
inline int64_t backoff_ms(uint32_t attempt, uint32_t base_ms, uint32_t max_ms, Random& random) {
  const uint32_t delay = even_backoff_ms(attempt, base_ms, max_ms);
  const uint32_t percent = 80 + random.below(41);
  // delay * percent / 100, without a division of 64 bits.
  return static_cast<int64_t>(uint64_t{delay / 100} * percent + delay % 100 * percent / 100);
}

}  // namespace kshare

#endif  // KSHARE_BASE_RANDOM_HPP
