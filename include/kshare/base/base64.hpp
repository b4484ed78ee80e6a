// SPDX-License-Identifier: Apache-2.0
// What:        16 random bytes -> the 22 characters of a Kafka member id (URL-safe base64 without
//              padding, RFC 4648).
// Flow:        base -> core/member.hpp.
// Memory:      the caller's.
// Errors:      none. The form matters: Kafka 4.1 parses the id with Uuid.fromString (protocol:
//              KAFKA-19846), and Java avoids ids with a '-' in them; we replace the octet's bits
//              that would give one.
#ifndef KSHARE_BASE_BASE64_HPP
#define KSHARE_BASE_BASE64_HPP

#include <cstdint>

namespace kshare {

inline constexpr uint32_t kMemberIdBytes = 22;

// `raw`: 16 octets.
inline void encode_member_id(const uint8_t* raw, char (&text)[kMemberIdBytes]) {
  static constexpr char kAlphabet[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  uint32_t bits = 0;
  uint32_t held = 0;
  uint32_t out = 0;
  for (uint32_t i = 0; i < 16; ++i) {
    bits = (bits << 8) | raw[i];
    held += 8;
    while (held >= 6) {
      held -= 6;
      text[out++] = kAlphabet[(bits >> held) & 63u];
    }
  }
  text[out] = kAlphabet[(bits << (6 - held)) & 63u];
  for (char& c : text) {
    if (c == '-') c = '_';
  }
}

}  // namespace kshare

#endif  // KSHARE_BASE_BASE64_HPP
