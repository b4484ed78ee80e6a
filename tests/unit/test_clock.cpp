// SPDX-License-Identifier: Apache-2.0
// The clock that an application hands to poll(): one that stands still, and one that steps back.
#include <doctest/doctest.h>

#include "../support/scene.hpp"

namespace test_clock {

using kshare::EventType;
using kshare::Instant;
using world::check_clean;
using world::Scene;

TEST_CASE("a clock that stands still does not spin: poll() sends nothing that it has sent before") {
  Scene s;
  s.start(1, 5);
  REQUIRE(s.until_seen(5));
  REQUIRE(s.until_settled());
  s.w.run_for(150);  // in mid-poll
  const kshare::Stats before = s.stats();
  for (int i = 0; i < 10000; ++i) {
    s.consumer().wake();
    REQUIRE(s.consumer().poll(s.now()));
  }
  CHECK(s.stats().requests <= before.requests + 1);
  CHECK(s.stats().heartbeats <= before.heartbeats + 1);
  CHECK(s.consumer().deadline() > s.now());
  s.append(0, 1);
  CHECK(s.until_seen(6, 1000));
  check_clean(s.w);
}

TEST_CASE("records flow while the clock stands still; acknowledgements that linger wait for it") {
  Scene s;
  s.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  s.start(1, 0);
  s.w.run_for(2000);
  s.append(0, 30);
  for (int i = 0; i < 200; ++i) {
    s.w.broker.tick(s.w.now);
    s.consumer().wake();
    s.m.turn(s.w.now);
  }
  CHECK(s.m.seen.size() == 30);
  CHECK(s.until_settled(2000));
  CHECK(s.stats().acks_ok == 30);
  check_clean(s.w);
}

TEST_CASE("a clock that steps back is as if it stood still, until it has caught up") {
  Scene s;
  s.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  Instant earliest = kshare::kNever;
  s.m.judge = [&](const kshare::Record& record, kshare::Ack&) {
    earliest = earlier(earliest, record.lock_deadline);
    return true;
  };
  s.start(1, 5);
  REQUIRE(s.until_seen(5));
  s.w.run_for(7000);
  earliest = kshare::kNever;
  const kshare::Stats before = s.stats();
  const int64_t then = s.w.now;
  for (int i = 0; i < 200; ++i) {  // 20 s back, and 100 ms forward at a time
    if (i % 50 == 0) s.append(0, 3);
    s.w.broker.tick(then);
    s.consumer().wake();
    REQUIRE(s.m.turn(then - 20000 + 100 * i));
  }
  CHECK(s.m.seen.size() > 5);
  CHECK(earliest >= Instant{then + 29000});  // a lock is not thought to have begun 20 s ago
  CHECK(s.stats().requests <= before.requests + 10);
  CHECK(s.stats().reconnects == before.reconnects);
  CHECK(s.until_seen(17, 2000));
  CHECK(s.until_settled());
  CHECK(s.m.event_count(EventType::rejoining) == 0);
  CHECK(s.m.event_count(EventType::lock_expired) == 0);
  for (const auto& offset : s.m.times()) CHECK(offset.second == 1);
  check_clean(s.w);
}

}  // namespace test_clock
