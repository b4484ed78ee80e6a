// SPDX-License-Identifier: Apache-2.0
// A leader's connection that is lost: what the lost answer had brought, which nobody here knows of.
#include <doctest/doctest.h>

#include "../support/scenario.hpp"
#include "../support/scene.hpp"

namespace test_reconnecting {

using world::check_clean;
using world::Scene;

TEST_CASE("records of a lost answer come again soon, though the broker saw no connection end") {
  for (const bool opening : {false, true}) {
    CAPTURE(opening);
    Scene s;
    bool lost = false;
    s.on_answer = [&](int, std::string&) {
      if (lost || s.state(0) != minibroker::State::Acquired) return true;
      lost = true;
      return false;
    };
    s.start(1, opening ? 5 : 0);
    if (!opening) {
      s.w.run_for(2000);
      s.append(0, 5);
    }
    REQUIRE(s.w.run_until([&] { return lost; }, 2000));
    s.m.pool.transports[1].forget();
    CHECK(s.until_seen(5, 5000));  // the lock is 30 s
    for (const world::Seen& record : s.m.seen) CHECK(record.count == 2);
    CHECK(s.until_settled());
    CHECK(s.stats().acks_ok == 5);
    check_clean(s.w);
  }
}

// An idle poll waits for so long, and is lost right behind its request.
void lose_idle_poll(Scene& s) {
  const auto asked = [&] { return s.w.broker.requests(minibroker::kShareFetch); };
  s.w.run_for(3000);
  const int64_t before = asked();
  while (asked() == before) s.w.run_for(5);
  s.m.pool.transports[1].forget();
}

TEST_CASE("records that a lost poll acquires for nobody come soon, in one more session") {
  for (const int64_t wait_ms : {500, 3000}) {
    CAPTURE(wait_ms);
    Scene s;
    s.m.options.fetch_max_wait_ms = static_cast<int32_t>(wait_ms);
    s.start(1, 5);
    REQUIRE(s.until_seen(5));
    lose_idle_poll(s);
    s.w.run_for(wait_ms - 100);  // the new connection has a session, the old poll goes on
    REQUIRE(s.stats().reconnects > 0);
    s.append(0, 5);
    REQUIRE(s.state(5) == minibroker::State::Acquired);
    CHECK(s.until_seen(10, 2500));  // the lock is 30 s
    CHECK(s.m.seen.back().count == 2);
    CHECK(s.until_settled());
    CHECK(s.stats().acks_ok == 10);
    check_clean(s.w);
  }
}

TEST_CASE("a lost poll costs one session more, and none when its time was over before") {
  for (const bool late : {false, true}) {
    CAPTURE(late);
    Scene s;
    s.start(1, 5);
    REQUIRE(s.until_seen(5));
    lose_idle_poll(s);
    int opened = 0;
    scenario::Watch watch(s.w, s.m);
    for (auto& transport : s.m.pool.transports) transport.refuse = late;
    s.w.run_for(1000);
    for (auto& transport : s.m.pool.transports) transport.refuse = false;
    s.w.run_for(10000);
    for (const auto& sent : watch.shares) opened += sent.request.epoch == 0 ? 1 : 0;
    CHECK(opened == (late ? 2 : 3));  // for what was acquired, without it, and without the poll's
    check_clean(s.w);
  }
}

TEST_CASE("a lost poll does not end a session for long that the application has records of") {
  Scene s;
  s.hold_all();
  s.start(1, 0);
  lose_idle_poll(s);
  s.w.run_for(300);
  s.append(0, 3);
  REQUIRE(s.until_seen(3, 2500));
  s.w.run_for(3000);
  s.append(0, 3);
  CHECK(s.until_seen(6, 2000));
  CHECK(s.stats().acks_failed == 0);
  check_clean(s.w);
}

TEST_CASE("what waits to be handed out goes with its connection: the broker has given it back") {
  Scene s;
  s.m.takes = false;
  s.start(1, 5);
  REQUIRE(s.w.run_until([&] { return s.consumer().engine().tables().owed() == 5; }, 2000));
  s.hang_up();
  s.m.takes = true;
  CHECK(s.until_seen(5, 5000));
  CHECK(s.until_settled());
  CHECK(s.m.seen.size() == 5);
  for (const world::Seen& record : s.m.seen) CHECK(record.count == 2);
  CHECK(s.stats().acks_ok == 5);
  CHECK(s.stats().acks_failed == 0);
  check_clean(s.w);
}

TEST_CASE("a poll that was lost with its connection keeps no store slot, however often") {
  Scene s;
  s.start(1, 0);
  s.w.run_for(2000);
  for (uint32_t i = 0; i < 2 * kshare::kTinyLimits.store_slots; ++i) {
    s.hang_up();
    s.w.run_for(2000);
  }
  s.append(0, 3);
  CHECK(s.until_seen(3, 2000));
  check_clean(s.w);
}

TEST_CASE("a link that was made to wait begins anew with its next connection") {
  Scene s;
  s.m.options.acquire_mode = kshare::AcquireMode::record_limit;
  s.m.options.max_poll_records = 1;
  s.start(1, 1000, 1);
  s.w.broker.hide_next_fetch(1000000, 0);  // empty answers at once: it is asked once a second
  s.w.run_for(12000);
  const auto asked = [&] { return s.w.broker.requests(minibroker::kShareFetch); };
  int64_t before = asked();
  REQUIRE(s.w.run_until([&] { return asked() > before; }, 2000));
  s.w.run_for(20);
  before = asked();
  s.w.run_for(400);
  CHECK(asked() == before);
  s.hang_up();
  s.w.run_for(300);
  CHECK(asked() > before);
  check_clean(s.w);
}

}  // namespace test_reconnecting
