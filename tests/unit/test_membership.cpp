// SPDX-License-Identifier: Apache-2.0
// Membership of the whole consumer against the mini broker, in virtual time. In every fault the
// requests of a virtual second are counted: nothing spins, and nothing sleeps for ever.
#include <doctest/doctest.h>

#include "../support/scenario.hpp"
#include "../support/scene.hpp"

namespace test_membership {

using kshare::EventType;
using scenario::fill;
using scenario::Watch;
using world::check_clean;
using world::Member;
using world::World;

namespace {

constexpr int kBusy = 30;  // requests a second that a faulty cluster may cost
constexpr int16_t kRetried[] = {14, 15, 16, 7};
constexpr int16_t kRejoined[] = {25, 110, 69};
constexpr int16_t kFatal[] = {30, 35, 42, 81, 112, 999};

minibroker::Config brokers(int nodes) {
  minibroker::Config config;
  config.nodes = nodes;
  return config;
}
// One more record, and it comes within `within_ms`.
void check_flows(World& w, world::AnyMember& m, const char* topic, int partition,
                 int64_t within_ms) {
  const uint64_t before = m.consumer().stats().records;
  fill(w, topic, partition, 1, 1);
  CHECK(w.run_until([&] { return m.consumer().stats().records > before; }, within_ms));
}
// Every partition of `topic` is assigned to one of `members` at least.
void check_all_assigned(World& w, const char* topic, int partitions,
                        std::initializer_list<world::AnyMember*> members) {
  const kshare::Uuid id = scenario::to_uuid(w.broker.topic_id(topic));
  for (int p = 0; p < partitions; ++p) {
    int owners = 0;
    for (world::AnyMember* m : members) {
      const kshare::Topology& t = m->consumer().engine().tables().topology;
      const uint32_t row = t.find_partition(id, p);
      owners += row != kshare::kNoRow && t.partition(row).assigned ? 1 : 0;
    }
    CHECK_MESSAGE(owners > 0, "partition ", p);
  }
}

}  // namespace

TEST_CASE("a second and third consumer joins and leaves: none of the partitions is orphaned") {
  World w;
  w.broker.add_topic("t", 6);
  Member<> a{1}, b{2}, c{3};
  w.join(a);
  REQUIRE(a.start({"t"}).ok());
  w.run_for(7000);
  check_all_assigned(w, "t", 6, {&a});
  w.join(b);
  w.join(c);
  REQUIRE(b.start({"t"}).ok());
  REQUIRE(c.start({"t"}).ok());
  w.run_for(12000);
  check_all_assigned(w, "t", 6, {&a, &b, &c});
  CHECK(b.consumer().assignment_count() == 2);
  CHECK(c.consumer().assignment_count() == 2);
  CHECK(w.close(a));
  w.run_for(7000);
  check_all_assigned(w, "t", 6, {&b, &c});
  CHECK(w.close(b));
  w.run_for(7000);
  check_all_assigned(w, "t", 6, {&c});
  for (int p = 0; p < 6; ++p) check_flows(w, c, "t", p, 2000);
  CHECK(w.close(c));
  check_clean(w);
}

TEST_CASE("more members than partitions: all get some") {
  World w;
  w.broker.add_topic("t", 1);
  Member<> a{1}, b{2}, c{3};
  for (Member<>* m : {&a, &b, &c}) {
    w.join(*m);
    REQUIRE(m->start({"t"}).ok());
  }
  w.run_for(12000);
  for (Member<>* m : {&a, &b, &c}) CHECK(m->consumer().assignment_count() == 1);
  fill(w, "t", 0, 60, 1);
  CHECK(w.run_until([&] { return a.seen.size() + b.seen.size() + c.seen.size() == 60; }));
  check_clean(w);
}

TEST_CASE("several topics, members with different subscriptions: each gets only its own") {
  World w;
  for (const char* topic : {"x", "y", "z"}) w.broker.add_topic(topic, 2);
  Member<> a{1}, b{2};
  w.join(a);
  w.join(b);
  REQUIRE(a.start({"x", "y"}).ok());
  REQUIRE(b.start({"z"}).ok());
  for (const char* topic : {"x", "y", "z"}) {
    for (int p = 0; p < 2; ++p) fill(w, topic, p, 3, 4);
  }
  CHECK(w.run_until([&] { return a.seen.size() == 48 && b.seen.size() == 24; }));
  for (const auto& record : a.seen) CHECK(record.topic != "z");
  for (const auto& record : b.seen) CHECK(record.topic == "z");
  check_clean(w);
}

TEST_CASE("the coordinator is not available at first: searched with back-off") {
  World w;
  w.broker.add_topic("t", 1);
  w.broker.fail_next(minibroker::kFindCoordinator, 15, 12);
  w.broker.fail_next(minibroker::kShareGroupHeartbeat, 14, 5);
  Member<> m;
  w.join(m);
  Watch watch{w, m};
  REQUIRE(m.start({"t"}).ok());
  fill(w, "t", 0, 1, 3);
  CHECK(w.run_until([&] { return m.seen.size() == 3; }, 20000));
  CHECK(watch.worst(0) < kBusy);
  check_clean(w);
}

TEST_CASE("14, 15, 16 and lost heartbeats in mid-life: records keep flowing, no rejoin") {
  for (const int16_t code : kRetried) {
    World w;
    w.broker.add_topic("t", 1);
    Member<> m;
    w.join(m);
    REQUIRE(m.start({"t"}).ok());
    w.run_for(3000);
    Watch watch{w, m};
    const int64_t from = w.now;
    w.broker.fail_next(minibroker::kShareGroupHeartbeat, code, 15);
    for (int i = 0; i < 20; ++i) {
      check_flows(w, m, "t", 0, 1000);
      w.run_for(1000);
    }
    CHECK(m.event_count(EventType::rejoining) == 0);
    CHECK(m.event_count(EventType::failed) == 0);
    CHECK(watch.worst(from) < kBusy);
    CHECK(watch.beats.size() > 15);
    check_clean(w);
  }
}

TEST_CASE("25, 110, 69: rejoin with epoch 0 and the same member id, records keep coming") {
  for (const int16_t code : kRejoined) {
    World w;
    w.broker.add_topic("t", 2);
    Member<> m;
    w.join(m);
    Watch watch{w, m};
    REQUIRE(m.start({"t"}).ok());
    w.run_for(3000);
    const int64_t from = w.now;
    w.broker.fail_next(minibroker::kShareGroupHeartbeat, code, 4);
    w.run_for(8000);
    CHECK(m.event_count(EventType::rejoining) == 4);
    CHECK(watch.worst(from) < kBusy);
    for (const auto& beat : watch.beats) {
      CHECK(beat.request.member == watch.beats.front().request.member);
    }
    for (int p = 0; p < 2; ++p) check_flows(w, m, "t", p, 1000);
    check_clean(w);
  }
}

TEST_CASE("fatal answers are said once, poll() ends, and start after close works") {
  for (const int16_t code : kFatal) {
    World w;
    w.broker.add_topic("t", 1);
    fill(w, "t", 0, 1, 2);
    w.broker.fail_next(minibroker::kShareGroupHeartbeat, code, 1);
    Member<> m;
    w.join(m);
    REQUIRE(m.start({"t"}).ok());
    CHECK(w.run_until([&] { return !m.alive; }, 5000));
    CHECK(m.consumer().status().detail == code);
    static_cast<void>(m.consumer().close(kshare::Instant{w.now}, 1000));
    CHECK_FALSE(m.consumer().poll(kshare::Instant{w.now}));
    m.alive = true;
    CHECK(m.start({"t"}).ok());
    CHECK(w.run_until([&] { return m.seen.size() == 2; }, 5000));
    CHECK(m.event_count(EventType::failed) <= 1);
    CHECK(w.close(m));
    CHECK(m.consumer().status().ok());
    check_clean(w);
  }
}

TEST_CASE("the coordinator moves to another broker in mid-life, and back") {
  World w{brokers(3)};
  w.broker.add_topic("t", 1);
  Member<> m;
  w.join(m);
  REQUIRE(m.start({"t"}).ok());
  w.run_for(3000);
  Watch watch{w, m};
  const int64_t from = w.now;
  for (const int node : {2, 1, 0, 2}) {
    w.broker.move_coordinator(node);
    w.run_for(6000);
    const size_t before = watch.beats.size();
    w.run_for(6000);
    CHECK(watch.beats.size() > before);
    check_flows(w, m, "t", 0, 1000);
  }
  CHECK(m.event_count(EventType::rejoining) == 0);
  CHECK(watch.worst(from) < kBusy);
  check_clean(w);
}

TEST_CASE("coordinator named but unreachable: back-off, and joined soon after it is up") {
  World w{brokers(2)};
  w.broker.add_topic("t", 1);
  w.broker.stop_node(1, w.now);
  w.broker.move_coordinator(1);
  w.broker.name_coordinator(0, 1);
  Member<> m;
  w.join(m);
  Watch watch{w, m};
  REQUIRE(m.start({"t"}).ok());
  w.run_for(30000);
  CHECK(watch.beats.empty());
  CHECK(watch.worst(0) < kBusy);
  CHECK(watch.worst(20000) <= 8);
  CHECK(watch.opens() < 200);
  const uint64_t turns = w.turns;
  w.run_for(10000);
  CHECK(w.turns - turns < 600);
  w.broker.start_node(1);
  fill(w, "t", 0, 1, 1);
  CHECK(w.run_until([&] { return m.seen.size() == 1; }, 5000));
  check_clean(w);
}

TEST_CASE("two brokers naming each other as coordinator: back-off, and it ends when they agree") {
  World w{brokers(2)};
  w.broker.add_topic("t", 1);
  w.broker.name_coordinator(0, 1);
  w.broker.name_coordinator(1, 0);
  w.broker.fail_next(minibroker::kShareGroupHeartbeat, 16, 30);
  Member<> m;
  w.join(m);
  Watch watch{w, m};
  REQUIRE(m.start({"t"}).ok());
  w.run_for(20000);
  CHECK(watch.worst(0) < kBusy);
  CHECK(watch.worst(10000) <= 10);
  w.broker.name_coordinator(0, -1);
  w.broker.name_coordinator(1, -1);
  fill(w, "t", 0, 1, 1);
  CHECK(w.run_until([&] { return m.seen.size() == 1; }, 40000));
  check_clean(w);
}

TEST_CASE("a silent coordinator connection: found out by the request time-out, never fenced") {
  World w;
  w.broker.add_topic("t", 1);
  Member<> m;
  m.options.request_timeout_ms = 10000;
  w.join(m);
  REQUIRE(m.start({"t"}).ok());
  w.run_for(3000);
  m.pool.transports[0].stall = true;
  w.run_for(14000);
  CHECK(m.has_event(EventType::disconnected));
  const uint64_t turns = w.turns;
  w.run_for(5000);
  CHECK(w.turns - turns < 500);
  m.pool.transports[0].stall = false;
  w.run_for(20000);
  CHECK(m.event_count(EventType::rejoining) == 0);
  check_flows(w, m, "t", 0, 1000);
  check_clean(w);
}

TEST_CASE("a silent member is removed after its session time-out, the rest take over") {
  World w;
  w.broker.add_topic("t", 4);
  Member<> a{1}, b{2};
  w.join(a);
  w.join(b);
  REQUIRE(a.start({"t"}).ok());
  REQUIRE(b.start({"t"}).ok());
  w.run_for(12000);
  CHECK(a.consumer().assignment_count() == 2);
  a.alive = false;  // nobody polls it any more
  w.run_for(52000);
  CHECK(b.consumer().assignment_count() == 4);
  for (int p = 0; p < 4; ++p) check_flows(w, b, "t", p, 2000);
  a.alive = true;  // it wakes up: rejoin
  w.run_for(12000);
  CHECK(a.event_count(EventType::rejoining) == 1);
  check_all_assigned(w, "t", 4, {&a, &b});
  CHECK(a.consumer().assignment_count() == 2);
  check_clean(w);
}

TEST_CASE("a healthy member is never fenced, even while every leader long-polls") {
  World w{brokers(3)};
  w.broker.add_topic("t", 6);
  Member<kshare::kSmallLimits> m;
  m.options.fetch_max_wait_ms = 30000;
  w.join(m);
  Watch watch{w, m};
  REQUIRE(m.start({"t"}).ok());
  w.run_for(600000);
  CHECK(m.event_count(EventType::rejoining) == 0);
  CHECK(watch.beats.size() >= 118);
  CHECK(watch.beats.size() <= 135);
  for (size_t i = 1; i < watch.beats.size(); ++i) {
    CHECK(watch.beats[i].now - watch.beats[i - 1].now <= 5100);
  }
  check_clean(w);
}

TEST_CASE("a subscription change sends the new names at once") {
  World w;
  w.broker.add_topic("a", 1);
  w.broker.add_topic("b", 1);
  fill(w, "b", 0, 1, 2);
  Member<> m;
  w.join(m);
  Watch watch{w, m};
  REQUIRE(m.start({"a"}).ok());
  w.run_for(4321);
  const size_t before = watch.beats.size();
  const int64_t at = w.now;
  CHECK(m.consumer().subscribe({"b"}).ok());
  CHECK(w.run_until([&] { return m.seen.size() == 2; }, 1500));
  REQUIRE(watch.beats.size() > before);
  CHECK(watch.beats[before].now == at);
  CHECK(*watch.beats[before].request.names == std::vector<std::string>{"b"});
  CHECK(m.consumer().assignment_count() == 1);
  check_clean(w);
}

TEST_CASE("an empty list equals unsubscribe; both leave the group; subscribing again joins") {
  World w;
  w.broker.add_topic("a", 1);
  Member<> m;
  w.join(m);
  Watch watch{w, m};
  REQUIRE(m.start({"a"}).ok());
  w.run_for(3000);
  for (int round = 0; round < 2; ++round) {
    if (round == 0) CHECK(m.consumer().subscribe(kshare::Span<const std::string_view>{}).ok());
    if (round == 1) CHECK(m.consumer().unsubscribe().ok());
    w.run_for(1000);
    CHECK(watch.beats.back().request.epoch == -1);
    CHECK(w.broker.group_coordinator().members("group").empty());
    CHECK(w.broker.sessions(0) == 0);
    CHECK(m.consumer().assignment_count() == 0);
    const int64_t requests = w.broker.requests_total();
    w.run_for(20000);
    CHECK(w.broker.requests_total() - requests < 10);
    CHECK(m.consumer().subscribe({"a"}).ok());
    check_flows(w, m, "a", 0, 3000);
  }
  check_clean(w);
}

TEST_CASE("repeated subscribe and unsubscribe are harmless, whatever is in flight") {
  World w;
  w.broker.add_topic("a", 2);
  w.broker.add_topic("b", 2);
  Member<> m;
  w.join(m);
  Watch watch{w, m};
  REQUIRE(m.start({"a"}).ok());
  const char* const lists[] = {"a", "b", "", "a", "", "", "b", "b", ""};
  for (int i = 0; i < 90; ++i) {
    const std::string_view name = lists[i % 9];
    if (name.empty()) CHECK(m.consumer().unsubscribe().ok());
    else CHECK(m.consumer().subscribe({name}).ok());
    fill(w, i % 2 == 0 ? "a" : "b", i / 2 % 2, 1, 1);
    const int64_t for_ms = (i * 37) % 90;
    if (for_ms > 30) w.run_for(for_ms);
    else w.step(w.now + 1);
  }
  CHECK(m.consumer().subscribe({"a", "b"}).ok());
  CHECK(w.run_until([&] { return m.times().size() >= 45 && m.seen.size() >= 90; }, 40000));
  CHECK(m.consumer().assignment_count() == 4);
  CHECK(m.event_count(EventType::failed) == 0);
  CHECK(w.broker.group_coordinator().members("group").size() == 1);
  CHECK(w.close(m));
  CHECK(w.broker.group_coordinator().members("group").empty());
  check_clean(w);
}

TEST_CASE("subscribe before the topic exists: soon after it is created its records come") {
  World w;
  Member<> m;
  w.join(m);
  Watch watch{w, m};
  REQUIRE(m.start({"late"}).ok());
  w.run_for(20000);
  CHECK(m.event_count(EventType::topic_missing) == 1);
  CHECK(watch.worst(0) < kBusy);
  w.broker.add_topic("late", 2);
  fill(w, "late", 1, 1, 1);
  CHECK(w.run_until([&] { return m.seen.size() == 1; }, 3000));
  check_clean(w);
}

TEST_CASE("a topic that is missing for ever does not mean fast heartbeats for ever") {
  World w;
  w.broker.add_topic("here", 1);
  Member<> m;
  w.join(m);
  Watch watch{w, m};
  REQUIRE(m.start({"here", "never"}).ok());
  w.run_for(20000);
  const size_t before = watch.beats.size();
  const int64_t lookups = watch.count(minibroker::kMetadata);
  w.run_for(60000);
  CHECK(watch.beats.size() - before <= 13);
  CHECK(watch.count(minibroker::kMetadata) - lookups <= 80);
  CHECK(m.event_count(EventType::topic_missing) == 1);
  check_flows(w, m, "here", 0, 1000);
  check_clean(w);
}

TEST_CASE("first record of a fresh group within 0.5 s, and 1.5 s where assignments are batched") {
  struct Case {
    int64_t init_ms, delay_ms, within_ms;
  };
  const Case cases[] = {{0, 0, 500}, {90, 0, 500}, {300, 0, 600}, {90, 1000, 1500}};
  for (const Case& c : cases) {
    minibroker::Config config;
    config.init_delay_ms = c.init_ms;
    config.assignment_delay_ms = c.delay_ms;
    World w{config};
    w.broker.add_topic("t", 1);
    fill(w, "t", 0, 1, 1);
    Member<> m;
    w.join(m);
    REQUIRE(m.start({"t"}).ok());
    CHECK(w.run_until([&] { return m.seen.size() == 1; }, c.within_ms));
    check_clean(w);
  }
}

TEST_CASE("assignment with ids nobody knows, with negative and unknown partitions") {
  World w;
  const minibroker::Uuid id = w.broker.add_topic("t", 1);
  minibroker::Assignment odd;
  odd.insert({id, 0});
  odd.insert({id, -1});
  odd.insert({id, 77});
  odd.insert({scenario::uuid_of(0xEE), 3});
  odd.insert({minibroker::Uuid{}, 0});
  w.broker.group_coordinator().override_assignment("group", odd);
  Member<> m;
  w.join(m);
  Watch watch{w, m};
  REQUIRE(m.start({"t"}).ok());
  check_flows(w, m, "t", 0, 3000);
  w.run_for(20000);
  CHECK(watch.worst(0) < kBusy);
  check_flows(w, m, "t", 0, 1000);
  CHECK(m.event_count(EventType::failed) == 0);
  check_clean(w);
}

TEST_CASE("assignment with more partitions than the table holds: an event, the rest still works") {
  World w;
  w.broker.add_topic("wide", 20);
  for (int p = 0; p < 20; ++p) fill(w, "wide", p, 1, 1);
  Member<> m;
  w.join(m);
  Watch watch{w, m};
  REQUIRE(m.start({"wide"}).ok());
  CHECK(w.run_until([&] { return m.seen.size() == 16; }, 5000));
  CHECK(m.has_event(EventType::assignment_too_large));
  const size_t before = watch.beats.size();
  w.run_for(30000);
  CHECK(watch.beats.size() - before <= 7);
  CHECK(m.seen.size() == 16);
  check_clean(w);
}

TEST_CASE("a whole new assignment fits although the old one fills the table") {
  World w;
  w.broker.add_topic("a", 16);
  w.broker.add_topic("b", 16);
  Member<> m;
  w.join(m);
  REQUIRE(m.start({"a"}).ok());
  w.run_for(3000);
  CHECK(m.consumer().assignment_count() == 16);
  CHECK(m.consumer().subscribe({"b"}).ok());
  w.run_for(3000);
  CHECK(m.consumer().assignment_count() == 16);
  for (int p = 0; p < 16; ++p) check_flows(w, m, "b", p, 1000);
  CHECK_FALSE(m.has_event(EventType::assignment_too_large));
  check_clean(w);
}

TEST_CASE("a topic deleted and created again under the same name: its new records come") {
  World w;
  w.broker.add_topic("t", 10);
  fill(w, "t", 0, 1, 4);
  Member<> m;
  m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  int kept = 0;
  m.judge = [&](const kshare::Record&, kshare::Ack&) { return ++kept > 2; };  // two stay un-acked
  w.join(m);
  Watch watch{w, m};
  REQUIRE(m.start({"t"}).ok());
  CHECK(w.run_until([&] { return m.seen.size() == 4; }, 5000));
  const int64_t from = w.now;
  w.broker.delete_topic("t");
  w.run_for(3000);
  w.broker.add_topic("t", 10);
  for (int p = 0; p < 10; ++p) fill(w, "t", p, 1, 1);
  CHECK(w.run_until([&] { return m.seen.size() == 14; }, 15000));
  for (const auto& record : m.seen) CHECK(record.topic == "t");
  CHECK(watch.worst(from) < kBusy + 10);
  check_clean(w);
}

TEST_CASE("partitions added while consuming: their records come with the next heartbeats") {
  World w;
  w.broker.add_topic("t", 2);
  Member<> m;
  w.join(m);
  REQUIRE(m.start({"t"}).ok());
  w.run_for(3000);
  w.broker.add_partitions("t", 3);
  w.run_for(11000);
  CHECK(m.consumer().assignment_count() == 5);
  for (int p = 0; p < 5; ++p) check_flows(w, m, "t", p, 1000);
  check_clean(w);
}

TEST_CASE("the clock jumps ahead by more than the session time-out: rejoin, nothing acked twice") {
  enum class Asleep { with_records, before_the_answer, and_the_answer_lost };
  for (const Asleep how :
       {Asleep::with_records, Asleep::before_the_answer, Asleep::and_the_answer_lost}) {
    CAPTURE(static_cast<int>(how));
    world::Scene s;
    s.m.takes_max = 3;
    s.start(1, 4);
    REQUIRE(s.w.run_until([&] { return s.stats().acks_ok == 4; }, 5000));
    const bool in_hand = how == Asleep::with_records;
    bool answered = false;  // the broker has taken more acks
    s.on_answer = [&](int, std::string&) {
      if (in_hand || answered || s.settled.size() == 4) return true;
      answered = true;
      s.m.pool.transports[1].stall = true;  // it is read after the jump
      return how != Asleep::and_the_answer_lost;
    };
    s.append(0, 10);
    REQUIRE(s.w.run_until([&] { return in_hand ? s.m.seen.size() == 7 : answered; }, 5000));
    REQUIRE(s.stats().acks_ok == 4);
    const size_t early = s.settled.size();
    REQUIRE(in_hand == (early == 4));
    s.w.now += 120000;
    s.m.pool.transports[1].stall = false;
    CHECK(s.w.run_until([&] { return s.w.broker.start_offset("group", "t", 0) == 14; }, 10000));
    CHECK(s.until_settled());
    CHECK(s.m.event_count(EventType::rejoining) == 1);
    std::map<int64_t, int> accepted;
    for (const world::Settled& ack : s.settled) {
      CHECK(ack.error == 0);
      accepted[ack.offset] += ack.type == minibroker::kAccept ? 1 : 0;
    }
    for (int64_t offset = 0; offset < 14; ++offset) CHECK(accepted[offset] == 1);
    for (size_t i = 0; i < early; ++i) CHECK(s.m.times()[{0, s.settled[i].offset}] == 1);
    check_flows(s.w, s.m, "t", 0, 1000);
    check_clean(s.w);
  }
}

}  // namespace test_membership
