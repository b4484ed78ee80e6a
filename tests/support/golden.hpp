// SPDX-License-Identifier: Apache-2.0
// What:        the vectors of tests/golden, as octets and lines.
// Flow:        tests/golden/vectors.hpp -> here -> tests/unit/test_golden_*.cpp.
// Memory:      the tests' own.
// Valid until: plain values.
// Errors:      none; the vectors are trusted.
#ifndef KSHARE_TESTS_GOLDEN_HPP
#define KSHARE_TESTS_GOLDEN_HPP

#include <sstream>
#include <string>
#include <vector>

#include "../golden/vectors.hpp"
#include "decoders.hpp"

namespace golden {

using decoders::Message;

inline int nibble(char digit) { return digit <= '9' ? digit - '0' : digit - 'a' + 10; }

inline Message octets_of(const std::string& hex) {
  Message octets;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    octets.push_back(static_cast<uint8_t>(nibble(hex[i]) * 16 + nibble(hex[i + 1])));
  }
  return octets;
}
inline std::string hex_of(const uint8_t* octets, uint32_t size) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (uint32_t i = 0; i < size; ++i) {
    text += kDigits[octets[i] >> 4];
    text += kDigits[octets[i] & 15u];
  }
  return text;
}
inline std::vector<std::string> lines_of(const Vector& vector) {
  std::vector<std::string> lines;
  std::istringstream text(vector.lines);
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

inline std::vector<const Vector*> all(What what) {
  std::vector<const Vector*> chosen;
  for (const Vector& vector : golden::kVectors) {
    if (vector.what == what) chosen.push_back(&vector);
  }
  return chosen;
}

}  // namespace golden

#endif  // KSHARE_TESTS_GOLDEN_HPP
