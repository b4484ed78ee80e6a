// SPDX-License-Identifier: Apache-2.0
// Events, the whole consumer against the mini broker: what is told, how often, and that nothing
// waits for anyone to listen.
#include <doctest/doctest.h>

#include "../support/scene.hpp"

namespace test_events {

using kshare::Ack;
using kshare::Errc;
using kshare::Event;
using kshare::EventType;
using world::check_clean;
using world::check_sums;
using world::records;
using world::Scene;

namespace {

constexpr kshare::Limits kFewLots = [] {
  kshare::Limits limits = kshare::kTinyLimits;
  limits.lots_max = 8;
  return limits;
}();

const Event* find(const std::vector<Event>& events, EventType type) {
  for (const Event& event : events) {
    if (event.type == type) return &event;
  }
  return nullptr;
}

}  // namespace

TEST_CASE("the way into the group is told in order, each step once") {
  Scene s;
  s.start(2, 3);
  REQUIRE(s.w.run_until([&] { return s.stats().acks_ok == 6; }));
  const EventType order[] = {EventType::connected, EventType::coordinator_found, EventType::joined,
                             EventType::assignment_changed, EventType::connected};
  REQUIRE(s.m.events.size() == 5);
  for (size_t i = 0; i < 5; ++i) CHECK(s.m.events[i].type == order[i]);
  CHECK(s.m.events[0].words() == "127.0.0.1:9092");
  CHECK(s.m.events[1].node == 0);
  CHECK(s.m.events[2].value == s.consumer().member_epoch());
  CHECK(s.m.events[3].value == 2);
  CHECK(s.m.events[4].node == 0);
  CHECK(s.m.events[4].words() == "127.0.0.1:9092");
  s.w.run_for(20000);
  CHECK(s.m.events.size() == 5);  // a quiet life is quiet
  CHECK(s.stats().events_lost == 0);
}

TEST_CASE("unread events hold nothing up: the oldest go, and are counted") {
  minibroker::Config config;
  config.lock_ms = 1000;
  Scene s(config);
  s.w.broker.add_topic("t", 1);
  for (int i = 0; i < 20; ++i) {
    minibroker::BatchOptions options;
    options.corrupt_crc = i % 2 == 0;
    s.w.broker.append("t", 0, records(2), options);
  }
  REQUIRE(s.m.start({"t"}).ok());
  // The World's turn() reads events; this application does not.
  s.m.alive = false;
  uint64_t taken = 0;
  int64_t end = s.w.now + 20000;
  while (s.w.broker.start_offset("group", "t", 0) != 40 && s.w.now < end) {
    s.consumer().wake();
    REQUIRE(s.consumer().poll(s.now()));
    kshare::Record record;
    while (s.consumer().next(record, s.now())) ++taken;
    s.w.step(s.w.now + 1);
  }
  CHECK(s.w.broker.start_offset("group", "t", 0) == 40);
  CHECK(taken == 20);
  s.consumer().wake();
  static_cast<void>(s.consumer().poll(s.now()));
  std::vector<Event> left;
  Event event;
  while (s.consumer().next_event(event)) left.push_back(event);
  CHECK(left.size() == kshare::kTinyLimits.events_max);
  CHECK(s.stats().events_lost == 15 - kshare::kTinyLimits.events_max);
  for (const Event& its : left) CHECK(its.type == EventType::batch_corrupt);
  CHECK(left.back().first == 36);
}

TEST_CASE("a lost connection: told with its address, and once") {
  Scene s;
  s.start(1, 0);
  s.w.run_for(2000);
  s.m.events.clear();
  s.w.broker.close_connection(s.m.pool.transports[1].conn(), s.w.now);
  s.w.run_for(2000);
  CHECK(s.m.event_count(EventType::disconnected) == 1);
  CHECK(s.m.event_count(EventType::connected) == 1);
  CHECK(s.m.event_count(EventType::acks_unknown) == 0);
  const Event* lost = find(s.m.events, EventType::disconnected);
  REQUIRE(lost != nullptr);
  CHECK(lost->status.code == Errc::disconnected);
  CHECK(lost->words() == "127.0.0.1:9092");
  CHECK(s.stats().reconnects == 1);
}

TEST_CASE("a broker that cannot be reached: told each time, status keeps the first failure") {
  Scene s;
  for (auto& transport : s.m.pool.transports) transport.refuse = true;
  s.start(1, 1);
  s.w.run_for(5000);
  CHECK(s.consumer().status() == kshare::Status{Errc::connect_failed, 111});
  const uint64_t times = s.m.event_count(EventType::connection_failed);
  CHECK(times >= 4);
  CHECK(times < 20);  // a back-off up to a second
  for (auto& transport : s.m.pool.transports) transport.refuse = false;
  CHECK(s.w.run_until([&] { return s.stats().acks_ok == 1; }, 5000));
  CHECK(s.consumer().status().ok());  // it has got over it
}

TEST_CASE("a partition in error: told once per change, asked again with back-off") {
  Scene s;
  s.start(2, 0);
  s.w.run_for(2000);
  s.m.events.clear();
  s.w.broker.fail_partition("t", 1, 29, 1000000);
  const int64_t requests = s.w.broker.requests_total();
  s.append(0, 3);
  s.append(1, 3);
  s.w.run_for(5000);
  CHECK(s.stats().acks_ok == 3);
  CHECK(s.m.event_count(EventType::partition_error) == 1);
  const Event* event = find(s.m.events, EventType::partition_error);
  REQUIRE(event != nullptr);
  CHECK(event->partition == 1);
  CHECK(event->words() == "t");
  CHECK(event->status == kshare::Status{Errc::broker_error, 29});
  CHECK(s.w.broker.requests_total() - requests < 80);
  s.w.broker.fail_partition("t", 1, 0, 0);
  CHECK(s.w.run_until([&] { return s.stats().acks_ok == 6; }, 5000));
  check_clean(s.w);
}

TEST_CASE("more acquired ranges than there are lots: told, given back, and nothing is lost") {
  minibroker::Config config;
  config.delivery_limit = 10;
  world::SceneOf<kFewLots> s(config);
  s.hold_all();
  s.start(1, 40, 4);
  REQUIRE(s.until_seen(40));
  for (size_t i = 0; i < 40; ++i) CHECK(s.ack(i, i % 2 == 0 ? Ack::accept : Ack::release).ok());
  s.m.judge = [](const kshare::Record&, Ack&) { return true; };
  CHECK(s.w.run_until([&] { return s.w.broker.start_offset("group", "t", 0) == 40; }, 60000));
  REQUIRE(s.m.has_event(EventType::session_surplus));
  CHECK(find(s.m.events, EventType::session_surplus)->value > 0);
  CHECK(s.stats().gaps == 0);
  CHECK(s.m.times().size() == 40);
  CHECK(s.until_settled());
  for (int64_t offset = 0; offset < 40; ++offset) {
    CHECK(s.state(offset) == minibroker::State::Acknowledged);
  }
  CHECK(s.w.close(s.m));
  check_sums(s.consumer());
  check_clean(s.w);
}

TEST_CASE("a throttled answer that hides what was acquired: the records come at once") {
  Scene s;
  s.start(1, 0);
  s.w.run_for(2000);
  s.w.broker.hide_next_fetch(1, 50);
  s.append(0, 5);
  const int64_t since = s.w.now;
  CHECK(s.w.run_until([&] { return s.stats().acks_ok == 5; }, 20000));
  CHECK(s.w.now - since < 2000);  // not after the lock
  s.append(0, 5);
  CHECK(s.w.run_until([&] { return s.stats().acks_ok == 10; }, 2000));
  check_clean(s.w);
}

TEST_CASE("a lost session: told with its error, and what is held is settled in the new one") {
  for (const int16_t error : {int16_t{122}, int16_t{123}, int16_t{133}}) {
    CAPTURE(error);
    Scene s;
    s.hold_all();
    s.start(1, 4);
    REQUIRE(s.until_seen(4));
    s.w.broker.fail_next(minibroker::kShareFetch, error, 1);
    s.w.broker.fail_next(minibroker::kShareAcknowledge, error, 1);
    s.ack_all();
    CHECK(s.until_settled());
    CHECK(s.stats().acks_ok == 4);
    for (int64_t offset = 0; offset < 4; ++offset) {
      CHECK(s.times(0, offset) == 1);
      CHECK(s.last(0, offset)->type == minibroker::kAccept);
    }
    const Event* event = find(s.m.events, EventType::session_reset);
    REQUIRE(event != nullptr);
    CHECK(event->status == kshare::Status{Errc::broker_error, error});
    CHECK(event->node == 0);
    CHECK(s.stats().session_resets == s.m.event_count(EventType::session_reset));
    check_sums(s.consumer());
    check_clean(s.w);
  }
}

TEST_CASE("a failure for good is told once, with the broker's words, and poll answers false") {
  Scene s;
  s.start(1, 0);
  s.w.broker.fail_next(minibroker::kShareGroupHeartbeat, 42, 1);
  CHECK(s.w.run_until([&] { return !s.m.alive; }, 10000));
  CHECK(s.consumer().status() == kshare::Status{Errc::group_rejected, 42});
  CHECK(s.consumer().deadline() >= s.now());
  Event event;
  while (s.consumer().next_event(event)) s.m.events.push_back(event);
  CHECK(s.m.event_count(EventType::failed) == 1);
}

TEST_CASE("a quiet consumer sleeps: it wakes for long polls and heartbeats only") {
  for (const bool implicit : {true, false}) {
    CAPTURE(implicit);
    Scene s;
    if (!implicit) s.hold_all();
    s.start(1, 2);
    REQUIRE(s.until_seen(2));
    if (!implicit) s.ack_all();
    s.w.run_for(1000);
    const uint64_t turns = s.w.turns;
    const int64_t requests = s.w.broker.requests_total();
    s.w.run_for(60000);
    CHECK(s.w.broker.requests_total() - requests < 60000 / 500 + 60000 / 5000 + 10);
    CHECK(s.w.turns - turns < 4 * (60000 / 500 + 60000 / 5000));
  }
}

TEST_CASE("a partition in error: told once, whatever is acknowledged meanwhile") {
  Scene s;
  s.hold_all();
  s.start(1, 5);
  REQUIRE(s.until_seen(5));
  s.w.run_for(300);
  s.m.events.clear();
  s.w.broker.fail_partition("t", 0, 29, 1000000);  // this answers the long poll
  s.ack_all();  // goes along when the partition is taken out of the session
  s.w.run_for(5000);
  CHECK(s.stats().acks_ok == 5);
  CHECK(s.m.event_count(EventType::partition_error) == 1);
}

}  // namespace test_events
