// SPDX-License-Identifier: Apache-2.0
// base/*.hpp and wire/error_code.hpp: spans, instants, statuses, back-off, member ids, errors.
#include <doctest/doctest.h>

#include <cstring>
#include <set>
#include <string>
#include <type_traits>

#include "kshare/base/base64.hpp"
#include "kshare/base/bytes.hpp"
#include "kshare/base/random.hpp"
#include "kshare/base/status.hpp"
#include "kshare/base/time.hpp"
#include "kshare/wire/error_code.hpp"

namespace test_base {

using kshare::backoff_ms;
using kshare::Bytes;
using kshare::Errc;
using kshare::Instant;
using kshare::kNever;
using kshare::Random;
using kshare::Status;

TEST_CASE("null and empty are two things, though both hold no text") {
  const uint8_t octet = 0;
  CHECK(Bytes{}.is_null());
  CHECK(Bytes{}.empty());
  CHECK(Bytes{}.text().empty());
  CHECK_FALSE(Bytes{&octet, 0}.is_null());
  CHECK(Bytes{&octet, 0}.empty());
  CHECK(Bytes{&octet, 0}.text().empty());
}

TEST_CASE("a span is walked, indexed and read as text") {
  const Bytes bytes = kshare::as_bytes("abc");
  CHECK(bytes.size == 3);
  CHECK(bytes[2] == 'c');
  CHECK(bytes.text() == "abc");
  int count = 0;
  for (uint8_t octet : bytes) count += octet;
  CHECK(count == 'a' + 'b' + 'c');
  CHECK(kshare::as_bytes({}).empty());
}

TEST_CASE("copy_text copies what fits and says how much") {
  char room[4] = {'.', '.', '.', '.'};
  CHECK(kshare::copy_text(room, 3, "abcdef") == 3);
  CHECK(std::string(room, 4) == "abc.");
  CHECK(kshare::copy_text(room, 4, "x") == 1);
  CHECK(std::string(room, 4) == "xbc.");
  CHECK(kshare::copy_text(room, 0, "x") == 0);
  CHECK(kshare::copy_text(nullptr, 0, {}) == 0);
}

TEST_CASE("instants compare, subtract, and never wrap at the end of time") {
  CHECK(Instant{1} < Instant{2});
  CHECK(Instant{2} <= Instant{2});
  CHECK(Instant{3} > Instant{2});
  CHECK(Instant{3} >= Instant{3});
  CHECK(Instant{3} != Instant{2});
  CHECK(Instant{5} - Instant{7} == -2);
  CHECK((Instant{5} + 7) == Instant{12});
  CHECK((Instant{5} + -7) == Instant{-2});
  CHECK((kNever + 1) == kNever);
  CHECK((kNever + INT64_MAX) == kNever);
  CHECK((Instant{INT64_MAX - 5} + 6) == kNever);
  CHECK((Instant{INT64_MAX - 5} + 5) == kNever);
  CHECK((Instant{INT64_MAX - 5} + 4) == Instant{INT64_MAX - 1});
  CHECK((kNever + 0) == kNever);
  CHECK(kshare::earlier(Instant{1}, kNever) == Instant{1});
  CHECK(kshare::later(Instant{1}, kNever) == kNever);
}

TEST_CASE("a status is four bytes, zero is success, the detail tells two failures apart") {
  CHECK(Status{}.ok());
  CHECK_FALSE(Status{Errc::timed_out, 0}.ok());
  CHECK(Status{Errc::broker_error, 3} == Status{Errc::broker_error, 3});
  CHECK_FALSE(Status{Errc::broker_error, 3} == Status{Errc::broker_error, 5});
  static_assert(sizeof(Status) == 4 && std::is_trivially_copyable<Status>::value, "in a register");
}

TEST_CASE("back-off doubles up to its ceiling, spread by a fifth around it") {
  Random random;
  random.seed(42);
  for (uint32_t attempt = 0; attempt < 40; ++attempt) {
    const int64_t middle = attempt < 4 ? int64_t{100} << attempt : 1000;
    int64_t low = INT64_MAX;
    int64_t high = 0;
    for (int i = 0; i < 300; ++i) {
      const int64_t delay = backoff_ms(attempt, 100, 1000, random);
      low = delay < low ? delay : low;
      high = delay > high ? delay : high;
    }
    CHECK(low >= middle * 80 / 100);
    CHECK(high <= middle * 120 / 100);
    CHECK(low < middle * 85 / 100);
    CHECK(high > middle * 115 / 100);
  }
}

TEST_CASE("back-off has no overflow, and none of nothing") {
  Random random;
  CHECK(backoff_ms(UINT32_MAX, UINT32_MAX, UINT32_MAX, random) >= int64_t{UINT32_MAX} * 80 / 100);
  CHECK(backoff_ms(UINT32_MAX, UINT32_MAX, UINT32_MAX, random) <= int64_t{UINT32_MAX} * 120 / 100);
  CHECK(backoff_ms(5, 100, 50, random) <= 60);
  CHECK(backoff_ms(5, 0, 0, random) == 0);
}

TEST_CASE("the generator replays from its seed, and spreads") {
  Random a;
  Random b;
  a.seed(7);
  b.seed(7);
  std::set<uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t value = a.next();
    CHECK(value == b.next());
    seen.insert(value);
  }
  CHECK(seen.size() == 1000);
  int counts[8] = {};
  for (int i = 0; i < 8000; ++i) ++counts[a.below(8)];
  for (int count : counts) {
    CHECK(count > 850);
    CHECK(count < 1150);
  }
  a.seed(0);
  CHECK(a.next() == 0xE220A8397B1DCDAFu);  // SplitMix64's first number from seed 0
}

TEST_CASE("a member id is base64 of 16 octets, URL-safe, without padding and without '-'") {
  uint8_t raw[16] = {};
  char text[kshare::kMemberIdBytes];
  kshare::encode_member_id(raw, text);
  CHECK(std::string(text, sizeof text) == "AAAAAAAAAAAAAAAAAAAAAA");
  std::memset(raw, 0xFF, sizeof raw);
  kshare::encode_member_id(raw, text);
  CHECK(std::string(text, sizeof text) == "_____________________w");
  for (uint8_t i = 0; i < 16; ++i) raw[i] = static_cast<uint8_t>(i * 17);
  kshare::encode_member_id(raw, text);
  CHECK(std::string(text, sizeof text) == "ABEiM0RVZneImaq7zN3u_w");
  std::memset(raw, 0xFB, sizeof raw);  // 62 is '-' in this alphabet
  kshare::encode_member_id(raw, text);
  CHECK(std::string(text, sizeof text).find('-') == std::string::npos);
}

TEST_CASE("error codes that let an ack go again are those after which the broker rolled it back") {
  using namespace kshare::kafka;
  for (int code = -10; code < 200; ++code) {
    const auto c = static_cast<int16_t>(code);
    CHECK(ack_may_be_retried(c) == (code == 7 || code == 14 || code == 15 || code == 16));
    CHECK(session_is_lost(c) == (code == 122 || code == 123 || code == 133));
    CHECK(names_a_leader(c) == (code == 6 || code == 74));
  }
  CHECK(kUnknownServerError == -1);
  CHECK(kOffsetOutOfRange == 1);
  CHECK(kUnknownTopicOrPartition == 3);
  CHECK(kTopicAuthorizationFailed == 29);
  CHECK(kGroupAuthorizationFailed == 30);
  CHECK(kUnsupportedVersion == 35);
  CHECK(kGroupIdNotFound == 69);
  CHECK(kFencedMemberEpoch == 110);
  CHECK(kInvalidRecordState == 121);
}

}  // namespace test_base
