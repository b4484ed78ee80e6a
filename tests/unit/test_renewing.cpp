// SPDX-License-Identifier: Apache-2.0
// Locks that are renewed, by the application and by kshare itself: the whole consumer against the
// mini broker.
#include <doctest/doctest.h>

#include "../support/scene.hpp"

namespace test_renewing {
namespace {

using kshare::Ack;
using kshare::AckMode;
using kshare::Errc;
using kshare::EventType;
using kshare::HeldRecord;
using kshare::Instant;
using kshare::Record;
using minibroker::State;
using world::locks_of;
using world::Scene;

bool all_once_with_count_1(Scene& s, size_t records) {
  if (s.m.seen.size() != records || s.m.times().size() != records) return false;
  for (const auto& record : s.m.seen) {
    if (record.count != 1) return false;
  }
  return true;
}
// The i-th record that was handed out, as held() shows it.
bool find_held(Scene& s, size_t index, HeldRecord& found) {
  for (uint32_t i = 0; i < s.consumer().held_max(); ++i) {
    if (s.consumer().held(i, found) && found.id == s.m.ids.at(index)) return true;
  }
  return false;
}
int renewals_of(const Scene& s, int64_t offset) {
  int count = 0;
  for (const auto& one : s.settled) count += one.offset == offset && one.type == 4 ? 1 : 0;
  return count;
}

}  // namespace

TEST_CASE("slow work: 1,000 records in one batch, 20 ms each, lock 2 s: each once, count 1") {
  for (const AckMode mode : {AckMode::implicit_mode, AckMode::explicit_mode}) {
    Scene s{locks_of(2000)};
    s.m.options.acknowledgement_mode = mode;
    s.work_slowly(20);
    s.start(1, 1000);
    CHECK(s.until_seen(1000, 60000));
    CHECK(all_once_with_count_1(s, 1000));
    CHECK(s.stats().renewed > 0);
    CHECK(s.stats().renew_failed == 0);
    CHECK_FALSE(s.m.has_event(EventType::released_unseen));
    CHECK(s.w.close(s.m));
    CHECK(s.stats().acks_failed == 0);
    world::check_clean(s.w);
  }
}

TEST_CASE("slow work without automatic renewal: the redeliveries that it saves") {
  Scene s{locks_of(2000)};
  s.m.options.auto_renew = false;
  s.work_slowly(20);
  s.start(1, 1000);
  s.w.broker.group_settings("group").delivery_limit = 50;
  CHECK(s.w.run_until([&] { return s.m.times().size() == 1000; }, 120000));
  CHECK(s.stats().redelivered > 0);
  CHECK(s.m.has_event(EventType::released_unseen));
  CHECK(s.stats().renewed == 0);
}

TEST_CASE("slow work on Kafka 4.1: nothing is renewed, what is late is given back in time") {
  minibroker::Config config = locks_of(2000);
  config.max_share_fetch_version = 1;
  config.delivery_limit = 50;
  Scene s{config};
  s.work_slowly(20);
  s.start(1, 300);
  CHECK(s.w.run_until([&] { return s.m.times().size() == 300; }, 60000));
  CHECK(s.stats().renewed == 0);
  CHECK(s.stats().acks_failed == 0);
  world::check_clean(s.w);
}

TEST_CASE("work that takes most of a lock: a record is handed out with a lock just renewed") {
  for (const int64_t ms : {600, 900, 1100, 1400}) {
    Scene s{locks_of(2000)};
    s.work_slowly(ms);
    s.start(1, 12);
    CHECK(s.until_seen(12, 60000));
    CHECK_MESSAGE(all_once_with_count_1(s, 12), ms);
    CHECK(s.w.close(s.m));
    CHECK(s.stats().acks_failed == 0);
  }
}

TEST_CASE("an application that stops taking records gives the rest back after half a lock") {
  for (const size_t count : {1u, 3u, 10u}) {  // the lock may be renewed meanwhile
    CAPTURE(count);
    Scene s{locks_of(2000)};
    s.m.takes_max = 1;
    s.start(1, 40);
    REQUIRE(s.until_seen(count));
    s.m.takes = false;
    const int64_t stopped = s.w.now;
    world::Member<> other{2};
    s.w.join(other);
    REQUIRE(other.start({"t"}).ok());
    CHECK(s.w.run_until([&] { return other.seen.size() >= 40 - count; }, 10000));
    CHECK(s.w.now - stopped <= 1400);
    CHECK(s.m.event_count(EventType::released_unseen) == 1);
    CHECK(s.m.event_count(EventType::lock_expired) <= 1);  // the one it was at work on
    for (const auto& record : other.seen) CHECK(record.count == 2);
    world::check_clean(s.w);
  }
}

TEST_CASE("what went back as nobody took it is not acquired again before next() is called") {
  Scene s{locks_of(2000)};
  s.m.takes = false;
  s.start(1, 40);
  REQUIRE(s.w.run_until([&] { return s.m.has_event(EventType::released_unseen); }, 3000));
  const uint64_t fetches = s.stats().fetches;
  s.w.run_for(20000);
  CHECK(s.m.event_count(EventType::released_unseen) == 1);
  CHECK(s.stats().fetches <= fetches + 1);
  CHECK(s.consumer().unsettled() == 0);
  s.m.takes = true;
  const int64_t asked = s.w.now;
  CHECK(s.until_seen(40));
  CHECK(s.w.now - asked <= 50);
  for (const auto& record : s.m.seen) CHECK(record.count == 2);
  world::check_clean(s.w);
}

TEST_CASE("what still lies at the broker of a huge batch is renewed as well") {
  Scene s{locks_of(2000)};
  s.work_slowly(5);
  s.start(1, 1500, 100);
  CHECK(s.until_seen(1500, 60000));
  CHECK(all_once_with_count_1(s, 1500));
  CHECK(s.stats().reread > 10);
  s.check_tables();
  world::check_clean(s.w);
}

TEST_CASE("renew: the lock moves, other records keep flowing, accept after renew works") {
  Scene s{locks_of(2000)};
  s.hold_all();
  s.m.judge = [](const Record& record, Ack&) { return record.offset != 0; };
  s.start(1, 2);
  REQUIRE(s.until_seen(2));
  Instant deadline{};
  for (int second = 0; second < 10; ++second) {
    CHECK(s.ack(0, Ack::renew).ok());
    HeldRecord held;
    REQUIRE(find_held(s, 0, held));
    CHECK(held.renewing);
    s.w.run_for(100);
    REQUIRE(find_held(s, 0, held));
    CHECK_FALSE(held.renewing);
    CHECK(held.offset == 0);
    CHECK(held.delivery_count == 1);
    CHECK(held.lock_deadline > deadline);
    deadline = held.lock_deadline;
    s.check_tables();
    s.w.run_for(900);
    s.append(0, 1);
  }
  CHECK(s.until_seen(12, 1000));
  CHECK(s.stats().renewed >= 10);
  CHECK(s.ack(0, Ack::accept).ok());
  CHECK(s.w.run_until([&] { return s.state(0) == State::Acknowledged; }, 1000));
  CHECK(s.times(0, 0) >= 11);
  for (const auto& seen : s.m.seen) CHECK((seen.offset != 0 || seen.count == 1));
  world::check_clean(s.w);
}

TEST_CASE("one record is renewed, its neighbours of the same fetch are not: each has its own end") {
  for (const size_t chosen : {0u, 1u, 2u}) {
    Scene s{locks_of(2000)};
    s.hold_all();
    s.start(1, 3);
    REQUIRE(s.until_seen(3));
    s.w.run_for(1000);
    CHECK(s.ack(chosen, Ack::renew).ok());
    s.w.run_for(100);
    s.check_tables();
    s.w.run_for(1200);  // the others' locks are gone, they have come again
    s.check_tables();
    CHECK(s.m.event_count(EventType::lock_expired) == 2);
    CHECK(s.m.seen.size() == 5);
    for (size_t i = 0; i < 3; ++i) {
      CHECK(s.ack(i, Ack::accept).code == (i == chosen ? Errc::ok : Errc::lock_lost));
    }
    CHECK(s.ack(3, Ack::accept).ok());
    CHECK(s.ack(4, Ack::accept).ok());
    CHECK(s.until_settled());
    CHECK(s.stats().acks_ok == 3);
    world::check_clean(s.w);
  }
}

TEST_CASE("renewals and terminal acks go in different requests") {
  Scene s{locks_of(5000)};
  s.hold_all();
  s.start(2, 10);
  REQUIRE(s.until_seen(20));
  for (size_t i = 0; i < 20; ++i) CHECK(s.ack(i, i % 2 == 0 ? Ack::accept : Ack::renew).ok());
  s.w.run_for(500);
  CHECK(s.stats().acks_ok == 10);
  CHECK(s.stats().renewed == 10);
  for (const auto& a : s.settled) {
    for (const auto& b : s.settled) {
      if (a.request == b.request) CHECK((a.type == 4) == (b.type == 4));
    }
    CHECK(a.error == 0);
  }
  world::check_clean(s.w);
}

TEST_CASE("the last word counts: renew then accept, accept then renew, before they are sent") {
  Scene s{locks_of(5000)};
  s.hold_all();
  s.start(1, 3);
  REQUIRE(s.until_seen(3));
  CHECK(s.ack(0, Ack::renew).ok());
  CHECK(s.ack(0, Ack::accept).ok());
  CHECK(s.ack(1, Ack::accept).ok());
  CHECK(s.ack(1, Ack::renew).ok());
  CHECK(s.ack(2, Ack::renew).ok());
  CHECK(s.ack(2, Ack::renew).ok());  // twice is once
  s.w.run_for(500);
  CHECK(s.state(0) == State::Acknowledged);
  CHECK(renewals_of(s, 0) == 0);
  CHECK(s.state(1) == State::Acquired);
  CHECK(renewals_of(s, 1) == 1);
  CHECK(renewals_of(s, 2) == 1);
  CHECK(s.consumer().held_count() == 2);
  world::check_clean(s.w);
}

TEST_CASE("an accept while the renewal is in flight follows it") {
  Scene s{locks_of(5000)};
  s.hold_all();
  s.start(1, 2);
  REQUIRE(s.until_seen(2));
  CHECK(s.ack(0, Ack::renew).ok());
  bool once = false;
  s.on_answer = [&](int api, std::string&) {
    if (api == minibroker::kShareAcknowledge && !once) {
      once = true;
      CHECK(s.ack(0, Ack::accept).ok());
    }
    return true;
  };
  s.w.run_for(500);
  CHECK(once);
  CHECK(s.state(0) == State::Acknowledged);
  CHECK(s.stats().acks_ok == 1);
  s.check_tables();
  world::check_clean(s.w);
}

TEST_CASE("renew is not possible on Kafka 4.1: the application is told at once") {
  minibroker::Config config = locks_of(5000);
  config.max_share_fetch_version = 1;
  Scene s{config};
  s.hold_all();
  s.start(1, 1);
  REQUIRE(s.until_seen(1));
  CHECK(s.ack(0, Ack::renew).code == Errc::cannot_renew);
  CHECK(s.consumer().held_count() == 1);
  CHECK(s.ack(0, Ack::accept).ok());
  CHECK(s.until_settled());
  CHECK(s.stats().acks_ok == 1);
}

TEST_CASE("renew is switched off by the group: an event says so, the lock is as it was") {
  Scene s{locks_of(3000)};
  s.hold_all();
  s.start(1, 2);
  s.w.broker.group_settings("group").renew_enabled = false;
  REQUIRE(s.until_seen(2));
  CHECK(s.ack(0, Ack::renew).ok());
  s.w.run_for(200);
  REQUIRE(s.m.has_event(EventType::renew_failed));
  CHECK(s.stats().renew_failed == 1);
  HeldRecord held;
  REQUIRE(find_held(s, 0, held));
  CHECK_FALSE(held.renewing);
  CHECK(s.ack(0, Ack::accept).ok());
  CHECK(s.ack(1, Ack::accept).ok());
  CHECK(s.until_settled());
  CHECK(s.stats().acks_ok == 2);
}

TEST_CASE("slow work where the group forbids renewals: asked once a lot, then given back in time") {
  Scene s{locks_of(2000)};
  s.work_slowly(20);
  s.start(1, 300);
  s.w.broker.group_settings("group").renew_enabled = false;
  s.w.broker.group_settings("group").delivery_limit = 50;
  CHECK(s.w.run_until([&] { return s.m.times().size() == 300; }, 60000));
  CHECK(s.stats().renewed == 0);
  const uint64_t given_back = s.m.event_count(EventType::released_unseen);
  CHECK(s.m.event_count(EventType::renew_failed) <= 2 * given_back);
  CHECK(s.stats().acks_failed == 0);
}

TEST_CASE("the connection is lost with a renewal in flight: said, and the record may be accepted") {
  Scene s{locks_of(5000)};
  s.hold_all();
  s.start(1, 2);
  REQUIRE(s.until_seen(2));
  s.on_answer = [&](int api, std::string&) { return api != minibroker::kShareAcknowledge; };
  CHECK(s.ack(0, Ack::renew).ok());
  s.w.run_for(50);
  s.on_answer = nullptr;
  s.hang_up();
  s.w.run_for(1000);
  CHECK(s.m.has_event(EventType::renew_failed));
  s.check_tables();
  for (size_t i = 0; i < s.m.ids.size(); ++i) static_cast<void>(s.ack(i, Ack::accept));
  CHECK(s.until_settled());
  s.check_tables();
}

TEST_CASE("implicit mode: renew keeps the current record, the next one accepts it") {
  Scene s{locks_of(2000)};
  s.m.takes_max = 1;
  s.start(1, 2);
  REQUIRE(s.until_seen(1));
  s.m.takes = false;
  for (int i = 0; i < 4; ++i) {
    CHECK(s.ack(0, Ack::renew).ok());
    s.w.run_for(1000);
  }
  CHECK(s.state(0) == State::Acquired);
  s.m.takes = true;
  REQUIRE(s.until_seen(2));
  CHECK(s.w.run_until([&] { return s.state(0) == State::Acknowledged; }, 2000));
  CHECK(s.stats().acks_failed == 0);
}

TEST_CASE("close with renewals waiting: what is held is released, nothing is renewed any more") {
  Scene s{locks_of(5000)};
  s.hold_all();
  s.start(1, 4);
  REQUIRE(s.until_seen(4));
  for (size_t i = 0; i < 4; ++i) CHECK(s.ack(i, Ack::renew).ok());
  CHECK(s.w.close(s.m));
  for (int64_t at = 0; at < 4; ++at) CHECK(s.state(at) == State::Available);
  world::check_clean(s.w);
}

TEST_CASE("while other leaders wait for the link, a renewal is not honoured for ever") {
  minibroker::Config config = locks_of(3000);
  config.nodes = 2;
  Scene s{config};
  s.hold_all();
  s.start(2, 1);
  // Tiny has one link to leaders: the second partition waits for its turn.
  REQUIRE(s.until_seen(1));
  kshare::Status status{};
  const int64_t begin = s.w.now;
  while (s.w.now - begin < 20000 && s.m.seen.size() < 2) {
    status = s.ack(0, Ack::renew);
    if (!status.ok()) break;
    s.w.run_for(200);
  }
  CHECK(status.code == Errc::cannot_renew);
  CHECK(s.w.now - begin < 8000);
  CHECK(s.until_seen(2, 10000));
}

TEST_CASE("records renewed at many different times: no row is lost, none is redelivered") {
  Scene s{locks_of(4000)};
  s.hold_all();
  s.start(1, 40);
  REQUIRE(s.until_seen(40));
  for (int round = 0; round < 400; ++round) {
    s.w.run_for(40);
    const auto index = static_cast<size_t>(round * 7 % 40);
    CHECK(s.ack(index, Ack::renew).ok());
    if (round % 10 == 0) s.check_tables();
  }
  s.w.run_for(100);
  CHECK(s.m.seen.size() == 40);
  CHECK_FALSE(s.m.has_event(EventType::lock_expired));
  s.ack_all();
  CHECK(s.until_settled());
  CHECK(s.stats().acks_ok == 40);
  CHECK(s.consumer().engine().tables().lots.free_count() == kshare::kTinyLimits.lots_max);
  world::check_clean(s.w);
}

}  // namespace test_renewing
