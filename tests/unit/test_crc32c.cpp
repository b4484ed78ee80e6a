// SPDX-License-Identifier: Apache-2.0
// wire/crc32c.hpp: published vectors, every split, unaligned starts, and that all the paths agree.
#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <string_view>
#include <type_traits>
#include <vector>

#include "kshare/wire/crc32c.hpp"

namespace test_crc32c {
namespace {

using kshare::Bytes;
using kshare::Crc32c;

using Path = uint32_t (*)(uint32_t, const uint8_t*, size_t);

// Every path that this build has and this CPU can run.
std::vector<Path> paths() {
  std::vector<Path> all = {kshare::crc32c_nibble, kshare::crc32c_octet, kshare::crc32c_sliced,
                           kshare::crc32c_portable};
#if defined(KSHARE_CRC32C_X86) || defined(KSHARE_CRC32C_ARM)
  if (kshare::crc32c_hardware_usable()) all.push_back(kshare::crc32c_hardware);
#endif
  return all;
}

// The definition, a bit at a time.
uint32_t by_definition(const uint8_t* data, size_t size) {
  uint32_t state = 0xFFFFFFFFu;
  for (size_t i = 0; i < size; ++i) {
    state ^= data[i];
    for (int bit = 0; bit < 8; ++bit) {
      state = (state & 1u) != 0 ? (state >> 1) ^ 0x82F63B78u : state >> 1;
    }
  }
  return ~state;
}

std::vector<uint8_t> random_octets(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> octets(size);
  for (auto& octet : octets) octet = static_cast<uint8_t>(random());
  return octets;
}

void check_vector(const std::vector<uint8_t>& octets, uint32_t expected) {
  for (Path path : paths()) CHECK(path(0, octets.data(), octets.size()) == expected);
  CHECK(by_definition(octets.data(), octets.size()) == expected);
  CHECK(kshare::crc32c({octets.data(), static_cast<uint32_t>(octets.size())}) == expected);
}

static_assert(std::is_trivially_destructible_v<Crc32c>);
static_assert(sizeof(Crc32c) == 8);

}  // namespace

TEST_CASE("crc32c: published vectors") {
  check_vector({}, 0);
  check_vector(std::vector<uint8_t>(32, 0x00), 0x8A9136AAu);  // RFC 3720, B.4
  check_vector(std::vector<uint8_t>(32, 0xFF), 0x62A8AB43u);
  std::vector<uint8_t> ascending;
  for (uint8_t i = 0; i < 32; ++i) ascending.push_back(i);
  check_vector(ascending, 0x46DD794Eu);
  check_vector({ascending.rbegin(), ascending.rend()}, 0x113FDB5Cu);
  const std::string_view digits = "123456789";
  check_vector({digits.begin(), digits.end()}, 0xE3069283u);
}

TEST_CASE("crc32c: every length up to 300 from every alignment") {
  const auto octets = random_octets(320, 1);
  for (Path path : paths()) {
    for (size_t start = 0; start < 16; ++start) {
      for (size_t size = 0; size <= 300; ++size) {
        const uint8_t* data = octets.data() + start;
        if (path(0, data, size) != by_definition(data, size)) FAIL(start << " " << size);
      }
    }
  }
}

TEST_CASE("crc32c: every split into three pieces gives the whole's CRC") {
  const auto octets = random_octets(97, 2);
  const uint32_t expected = by_definition(octets.data(), octets.size());
  const auto size = static_cast<uint32_t>(octets.size());
  Crc32c crc;
  for (uint32_t first = 0; first <= size; ++first) {
    for (uint32_t second = first; second <= size; ++second) {
      crc.reset();
      crc.update({octets.data(), first});
      crc.update({octets.data() + first, second - first});
      crc.update({octets.data() + second, size - second});
      if (crc.value() != expected) FAIL(first << " " << second);
      for (Path path : paths()) {
        uint32_t value = path(0, octets.data(), first);
        value = path(value, octets.data() + first, second - first);
        value = path(value, octets.data() + second, size - second);
        if (value != expected) FAIL(first << " " << second);
      }
    }
  }
}

TEST_CASE("crc32c: the paths agree on random data, and on random pieces of it") {
  const auto octets = random_octets(1 << 18, 3);
  const uint32_t expected = kshare::crc32c_nibble(0, octets.data(), octets.size());
  CHECK(expected == by_definition(octets.data(), octets.size()));
  std::mt19937 random(4);
  for (Path path : paths()) {
    CHECK(path(0, octets.data(), octets.size()) == expected);
    uint32_t value = 0;
    for (size_t at = 0; at < octets.size();) {
      size_t size = random() % 1000;
      if (size > octets.size() - at) size = octets.size() - at;
      value = path(value, octets.data() + at, size);
      at += size;
    }
    CHECK(value == expected);
  }
}

TEST_CASE("crc32c: a zero-filled object is a fresh one, and value() does not end the stream") {
  static Crc32c crc;  // .bss
  CHECK(crc.value() == 0);
  crc.update(kshare::as_bytes("1234"));
  CHECK(crc.value() == kshare::crc32c(kshare::as_bytes("1234")));
  crc.update(Bytes{});
  crc.update(kshare::as_bytes("56789"));
  CHECK(crc.value() == 0xE3069283u);
  crc.reset();
  CHECK(crc.value() == 0);
  crc.update(kshare::as_bytes("123456789"));
  CHECK(crc.value() == 0xE3069283u);
}

}  // namespace test_crc32c
