// SPDX-License-Identifier: Apache-2.0
// What:        Kafka's topic ids: 16 octets, most significant first. All-zero means "none".
// Flow:        wire -> message, core.
// Memory:      16 bytes.
#ifndef KSHARE_WIRE_UUID_HPP
#define KSHARE_WIRE_UUID_HPP

#include <cstdint>
#include <cstring>

namespace kshare {

struct Uuid {
  uint8_t octets[16] = {};

  bool is_zero() const { return *this == Uuid{}; }
  friend bool operator==(const Uuid& a, const Uuid& b) {
    return std::memcmp(a.octets, b.octets, sizeof a.octets) == 0;
  }
  friend bool operator!=(const Uuid& a, const Uuid& b) { return !(a == b); }
};

}  // namespace kshare

#endif  // KSHARE_WIRE_UUID_HPP
