// SPDX-License-Identifier: Apache-2.0
// core/describe.hpp: every status and event has a line that says what to do, in any room.
#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "kshare/core/describe.hpp"

namespace test_describe {
namespace {

using kshare::Errc;
using kshare::Event;
using kshare::EventType;
using kshare::Status;

constexpr auto kLastErrc = Errc::broker_error;
constexpr auto kLastEvent = EventType::failed;

std::string line_of(Status status) {
  char line[kshare::kLineBytes];
  const uint32_t size = kshare::describe(status, line, sizeof line);
  CHECK(std::strlen(line) == size);
  return line;
}

std::string line_of(const Event& event) {
  char line[kshare::kLineBytes];
  const uint32_t size = kshare::format(event, line, sizeof line);
  CHECK(std::strlen(line) == size);
  return line;
}

Event event_of(EventType type, std::string_view text, Status status = {}) {
  Event event;
  event.type = type;
  event.status = status;
  kshare::EventRing::set_text(event, text);
  return event;
}

// The longest of everything.
Event widest(EventType type, int16_t code) {
  Event event = event_of(type, std::string(60, 'w'), {Errc::broker_error, code});
  event.partition = INT32_MAX;
  event.node = INT32_MIN;
  event.value = event.last = INT64_MAX;
  event.first = INT64_MIN;
  return event;
}

}  // namespace

TEST_CASE("describe: every status has words of its own") {
  std::set<std::string> seen;
  for (int i = 0; i <= static_cast<int>(kLastErrc); ++i) {
    const std::string line = line_of({static_cast<Errc>(i), 0});
    CAPTURE(line);
    CHECK(!line.empty());
    CHECK(line != "unknown status");
    CHECK(seen.insert(line).second);
  }
  CHECK(line_of({static_cast<Errc>(200), 0}) == "unknown status");
}

TEST_CASE("describe: Kafka error codes come with name and hint") {
  CHECK(line_of({Errc::broker_error, 29}) == "TOPIC_AUTHORIZATION_FAILED: needs READ on the topic");
  CHECK(line_of({Errc::group_rejected, 30}) ==
        "refused by the group coordinator: GROUP_AUTHORIZATION_FAILED: needs READ on the group");
  CHECK(line_of({Errc::authentication_failed, 58}) ==
        "authentication failed: SASL_AUTHENTICATION_FAILED: check user name and password");
  CHECK(line_of({Errc::broker_error, -1}) ==
        "UNKNOWN_SERVER_ERROR: the broker's own log has the reason");
  CHECK(line_of({Errc::broker_error, 999}) == "error 999");
  CHECK(line_of({Errc::broker_error, INT16_MIN}) == "error -32768");
}

TEST_CASE("describe: every Kafka error code that a share consumer meets is there, once") {
  for (const int code : {-1, 1,  2,  3,  5,  6,  7,  9,  13, 14, 15,  16,  17,  24,  25,  29,
                             30, 31, 33, 34, 35, 42, 56, 58, 68, 69, 74,  75,  78,  81,  89,  100,
                             103, 110, 112, 113, 121, 122, 123, 124, 129, 133}) {
    CAPTURE(code);
    const auto error = kshare::kafka_error(static_cast<int16_t>(code));
    CHECK(error.code == code);
    CHECK(error.name != nullptr);
  }
  std::set<std::string> names;
  for (int code = INT16_MIN; code <= INT16_MAX; ++code) {
    const auto error = kshare::kafka_error(static_cast<int16_t>(code));
    if (error.name != nullptr) CHECK(names.insert(error.name).second);
  }
}

#if defined(__linux__) && !defined(__mips__)
TEST_CASE("describe: an errno is put into words") {
  CHECK(line_of({Errc::connect_failed, 111}) ==
        "cannot connect: connection refused (nothing listens there)");
  CHECK(line_of({Errc::disconnected, 104}) == "disconnected: connection reset by the peer");
  CHECK(line_of({Errc::connect_failed, 77}) == "cannot connect: errno 77");
  CHECK(line_of({Errc::disconnected, 0}) == "disconnected");
}
#endif

TEST_CASE("format: every event has a line of its own") {
  std::set<std::string> seen;
  for (int i = 1; i <= static_cast<int>(kLastEvent); ++i) {
    const std::string line = line_of(event_of(static_cast<EventType>(i), "orders"));
    CAPTURE(i);
    CHECK(!line.empty());
    CHECK(seen.insert(line).second);
  }
  CHECK(line_of(Event{}).empty());
}

TEST_CASE("format: the lines that people see most") {
  Event event = event_of(EventType::connection_failed, "10.0.0.1:9092", {Errc::timed_out, 0});
  CHECK(line_of(event) == "cannot use 10.0.0.1:9092: no answer in time; trying again");
  event = event_of(EventType::connected, "10.0.0.1:9092");
  event.node = 3;
  CHECK(line_of(event) == "connected to 10.0.0.1:9092, node 3");
  event = event_of(EventType::topic_error, "orders", {Errc::broker_error, 29});
  CHECK(line_of(event) == "topic orders: TOPIC_AUTHORIZATION_FAILED: needs READ on the topic");
  event = event_of(EventType::acks_failed, "orders", {Errc::broker_error, 121});
  event.partition = 0;
  event.value = 12;
  CHECK(line_of(event) ==
        "orders partition 0: 12 acknowledgements failed: INVALID_RECORD_STATE: the lock had run "
        "out: the records are delivered again");
  event = event_of(EventType::batch_corrupt, "orders");
  event.partition = 2;
  event.first = 100;
  event.last = 149;
  CHECK(line_of(event) ==
        "orders partition 2 offsets 100 to 149: the batch's CRC is wrong, its records are "
        "rejected");
  event.last = 100;
  CHECK(line_of(event).find("partition 2 offset 100: ") != std::string::npos);
  event = event_of(EventType::group_error, "no quorum", {Errc::broker_error, 15});
  CHECK(line_of(event).find("(no quorum)") != std::string::npos);
}

TEST_CASE("format: a broker's text cannot write lines or control sequences into a log") {
  const Event event = event_of(EventType::topic_error, "a\n\r\x1b[2J\x7f\tb\xc3\xa9");
  CHECK(line_of(event) == "topic a???[2J??b\xc3\xa9: ok");
}

TEST_CASE("format and describe: kLineBytes are enough for the longest line") {
  for (int code = -1; code < 140; ++code) {
    for (int i = 1; i <= static_cast<int>(kLastEvent); ++i) {
      const Event event = widest(static_cast<EventType>(i), static_cast<int16_t>(code));
      char large[2 * kshare::kLineBytes];
      CHECK(kshare::format(event, large, sizeof large) < kshare::kLineBytes);
    }
  }
}

TEST_CASE("format and describe: any room, down to none, is kept to and ended by a NUL") {
  const Event event = widest(EventType::acks_failed, 35);
  char whole[2 * kshare::kLineBytes];
  const uint32_t full = kshare::format(event, whole, sizeof whole);
  for (uint32_t room = 0; room <= full + 2; ++room) {
    std::vector<char> exact(room);  // ASan watches both ends
    const uint32_t size = kshare::format(event, exact.data(), room);
    const uint32_t expected = room == 0 ? 0 : room <= full ? room - 1 : full;
    CHECK(size == expected);
    if (room == 0) continue;
    CHECK(exact[size] == '\0');
    CHECK(std::string_view(exact.data(), size) == std::string_view(whole, size));
    CHECK(kshare::describe(event.status, exact.data(), room) < room);
  }
}

TEST_CASE("TextOut: integers at both ends of their range") {
  char line[64];
  kshare::TextOut out(line, sizeof line);
  out << INT64_MIN << " " << INT64_MAX << " " << int64_t{0} << " " << -7;
  CHECK(std::string(line) == "-9223372036854775808 9223372036854775807 0 -7");
}

}  // namespace test_describe
