// SPDX-License-Identifier: Apache-2.0
// What poll() asks of the transports: it reads where something is, and is called when it must be.
#include <doctest/doctest.h>

#include "../support/scene.hpp"

namespace test_polling {

using kshare::Instant;
using world::Member;
using world::World;

namespace {

// A member of three brokers' topic, joined and with nothing to read.
struct Idle {
  Idle() : w(three()) {
    w.broker.add_topic("t", 3);
    w.join(m);
    REQUIRE(m.start({"t"}).ok());
    REQUIRE(w.run_until([&] { return links_ready() == 4; }));
    w.run_until([] { return false; }, 50);
  }
  static minibroker::Config three() {
    minibroker::Config config;
    config.nodes = 3;
    return config;
  }
  uint32_t links_ready() {
    uint32_t count = 0;
    for (uint32_t i = 0; i < kshare::kSmallLimits.links_max; ++i) {
      count += m.consumer().engine().link(i).ready() ? 1u : 0u;
    }
    return count;
  }
  int reads(uint32_t link) const { return m.pool.transports[link].reads; }
  bool poll(int64_t ms_later) {
    w.now += ms_later;
    return m.consumer().poll(Instant{w.now});
  }

  World w;
  Member<kshare::kSmallLimits> m;
};

}  // namespace

TEST_CASE("poll() reads where wake() said that something is") {
  Idle idle;
  REQUIRE(idle.poll(10));  // the look at all of them is behind us
  const int before[] = {idle.reads(0), idle.reads(1), idle.reads(2), idle.reads(3)};
  idle.m.consumer().wake(2);
  REQUIRE(idle.poll(1));
  CHECK(idle.reads(2) > before[2]);
  for (const uint32_t other : {0u, 1u, 3u}) CHECK(idle.reads(other) == before[other]);
  idle.m.consumer().wake();
  REQUIRE(idle.poll(0));
  for (const uint32_t other : {0u, 1u, 3u}) CHECK(idle.reads(other) > before[other]);
}

TEST_CASE("poll() that nobody has told anything looks at all links now and then") {
  Idle idle;
  REQUIRE(idle.poll(10));
  const int before[] = {idle.reads(0), idle.reads(1), idle.reads(2), idle.reads(3)};
  for (int i = 0; i < 100; ++i) REQUIRE(idle.poll(0));
  for (uint32_t i = 0; i < 4; ++i) CHECK(idle.reads(i) == before[i]);
  for (int i = 0; i < 10; ++i) REQUIRE(idle.poll(1));
  for (uint32_t i = 0; i < 4; ++i) {
    INFO(i);
    CHECK(idle.reads(i) >= before[i] + 4);
    CHECK(idle.reads(i) <= before[i] + 6);
  }
}

TEST_CASE("a loop that never sleeps, nor says where something is, gets everything") {
  World w;
  w.broker.add_topic("t", 1);
  for (int i = 0; i < 10; ++i) w.broker.append("t", 0, world::records(20));
  Member<> m;
  w.join(m);
  REQUIRE(m.start({"t"}).ok());
  for (; w.now < 20000 && m.consumer().stats().acks_ok < 200; ++w.now) {
    w.broker.tick(w.now);
    REQUIRE(m.turn(w.now));
  }
  CHECK(m.consumer().stats().acks_ok == 200);
  CHECK(m.times().size() == 200);
}

TEST_CASE("a transport that is connecting is asked again when it wants to be") {
  World w;
  w.broker.add_topic("t", 1);
  Member<> m;
  w.join(m);
  REQUIRE(m.start({"t"}).ok());
  world::PipeTransport& transport = m.pool.transports[0];
  transport.stall = true;
  transport.due = Instant{w.now + 250};
  REQUIRE(m.consumer().poll(Instant{w.now}));
  REQUIRE(m.consumer().poll(Instant{w.now}));
  CHECK(m.consumer().deadline() == transport.due);
  const int before = transport.advances;
  w.now += 250;
  transport.due = kshare::kNever;
  REQUIRE(m.consumer().poll(Instant{w.now}));
  CHECK(transport.advances == before + 1);
  CHECK(m.consumer().deadline() == Instant{1000 + m.options.connection_setup_timeout_ms});
}

TEST_CASE("an event loop is told to wait for room while something is unsent, and only then") {
  Idle idle;
  auto& transport = idle.m.pool.transports[0];
  CHECK_FALSE(idle.m.consumer().interest(0).write);
  transport.stall = true;
  REQUIRE(idle.w.run_until([&] { return idle.m.consumer().engine().link(0).busy(); }, 10000));
  CHECK(idle.m.consumer().interest(0).write);  // a heartbeat
  CHECK_FALSE(idle.m.consumer().interest(1).write);
  transport.stall = false;
  idle.m.consumer().wake(0);
  idle.w.run_for(50);
  CHECK_FALSE(idle.m.consumer().interest(0).write);
  CHECK(idle.m.consumer().status().ok());
}

TEST_CASE("an answer that has come while the application slept is no time-out") {
  World w;
  Member<> m;
  m.options.request_timeout_ms = 1000;
  w.broker.add_topic("t", 1);
  w.join(m);
  REQUIRE(m.start({"t"}).ok());
  REQUIRE(w.run_until([&] { return m.consumer().stats().fetches > 3; }));
  m.events.clear();
  w.now += 8000;
  w.broker.tick(w.now);
  w.run_for(2000);
  CHECK_FALSE(m.has_event(kshare::EventType::disconnected));
  CHECK(m.consumer().stats().reconnects == 0);
  m.pool.transports[1].stall = true;  // this one is
  w.run_for(1500);
  CHECK(m.has_event(kshare::EventType::disconnected));
}

}  // namespace test_polling
