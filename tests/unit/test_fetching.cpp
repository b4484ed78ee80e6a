// SPDX-License-Identifier: Apache-2.0
// Share sessions and fetching of the whole consumer against the mini broker: errors, time-outs,
// lost connections, back-pressure. Requests are counted by virtual second: nothing spins.
#include <doctest/doctest.h>

#include "../support/scenario.hpp"
#include "../support/scene.hpp"

namespace test_fetching {

using kshare::EventType;
using scenario::fill;
using scenario::records;
using scenario::Watch;
using world::AnyMember;
using world::check_clean;
using world::Member;
using world::World;

namespace {

constexpr int kBusy = 30;
constexpr int16_t kLostSession[] = {122, 123, 133};
constexpr int16_t kOtherTop[] = {-1, 3, 6, 13, 30, 42, 56, 100};
constexpr int16_t kOfPartition[] = {3, 5, 6, 29, 56, 74, 75, 100, 103};

void check_flows(World& w, AnyMember& m, const char* topic, int partition, int64_t within_ms) {
  const uint64_t before = m.consumer().stats().records;
  fill(w, topic, partition, 1, 1);
  CHECK(w.run_until([&] { return m.consumer().stats().records > before; }, within_ms));
}
// Every record of the partition was handed out exactly once, every count 1.
void check_once(const AnyMember& m, int32_t partition, int64_t records_made) {
  std::map<int64_t, int> times;
  bool first_time = true;
  for (const auto& record : m.seen) {
    if (record.partition != partition) continue;
    ++times[record.offset];
    first_time = first_time && record.count == 1;
  }
  CHECK(first_time);
  CHECK(static_cast<int64_t>(times.size()) == records_made);
  int again = 0;
  for (const auto& offset : times) again += offset.second - 1;
  CHECK(again == 0);
}

// A world with one node, one topic and one member that has joined it.
struct Scene {
  explicit Scene(minibroker::Config config = {}, int partitions = 1) : w(config) {
    w.broker.add_topic("t", partitions);
    w.join(m);
  }
  void begin() {
    REQUIRE(m.start({"t"}).ok());
    w.run_for(2000);
  }
  ~Scene() { check_clean(w); }
  Scene(const Scene&) = delete;
  Scene& operator=(const Scene&) = delete;

  World w;
  Member<> m;
  Watch watch{w, m};
};

}  // namespace

TEST_CASE("122, 123, 133 on a fetch: a new session with epoch 0, records keep coming") {
  for (const int16_t code : kLostSession) {
    Scene s;
    s.begin();
    const int64_t from = s.w.now;
    s.w.broker.fail_next(minibroker::kShareFetch, code, 6);
    s.w.run_for(10000);
    CHECK(s.watch.worst(from) < kBusy);
    CHECK(s.m.event_count(EventType::session_reset) == 6);
    check_flows(s.w, s.m, "t", 0, 1000);
  }
}

TEST_CASE("122, 123 on an ack: no acks in epoch 0, they go with epoch 1, each record once") {
  for (const int16_t code : {int16_t{122}, int16_t{123}}) {
    Scene s;
    fill(s.w, "t", 0, 20, 3);
    s.m.takes_max = 2;
    s.w.broker.fail_next(minibroker::kShareFetch, 0, 3);  // the first ones pass
    s.w.broker.fail_next(minibroker::kShareFetch, code, 1);
    s.w.broker.fail_next(minibroker::kShareAcknowledge, code, 2);
    s.begin();
    CHECK(s.w.run_until([&] { return s.m.consumer().stats().acks_ok == 60; }, 20000));
    check_once(s.m, 0, 60);
    bool replayed = false;
    for (size_t i = 0; i < s.watch.shares.size(); ++i) {
      const auto& q = s.watch.shares[i].request;
      if (q.epoch == 0) CHECK_FALSE(q.any_acks());
      if (i == 0 || q.epoch != 0) continue;
      if (q.max_records == 0 && i + 1 < s.watch.shares.size()) {
        CHECK(q.max_bytes == 0);
        replayed = replayed || (s.watch.shares[i + 1].request.epoch == 1 &&
                                s.watch.shares[i + 1].request.any_acks());
      }
    }
    CHECK(replayed);
    CHECK(s.m.consumer().stats().acks_failed == 0);
  }
}

TEST_CASE("the broker forgets the session at any moment: nothing is lost, nothing comes twice") {
  Scene s;
  fill(s.w, "t", 0, 40, 3);
  s.m.takes_max = 1;
  REQUIRE(s.m.start({"t"}).ok());
  const std::string id{s.m.consumer().engine().shared().member()};
  for (int i = 0; i < 12; ++i) {
    s.w.run_for(17 + i * 5);
    s.w.broker.drop_session("group", id);
  }
  CHECK(s.w.run_until([&] { return s.w.broker.start_offset("group", "t", 0) == 120; }, 60000));
  check_once(s.m, 0, 120);
}

TEST_CASE("any other top-level error: epoch 0, back-off, metadata; never a hot loop") {
  for (const int16_t code : kOtherTop) {
    Scene s;
    s.begin();
    const int64_t from = s.w.now;
    const int64_t lookups = s.watch.count(minibroker::kMetadata);
    s.w.broker.fail_next(minibroker::kShareFetch, code, 15);
    s.w.run_for(20000);
    CHECK(s.watch.worst(from) < kBusy);
    CHECK(s.watch.count(minibroker::kMetadata) > lookups);
    check_flows(s.w, s.m, "t", 0, 1500);
  }
}

TEST_CASE("errors of a partition: back-off, told once, the other partitions flow, it recovers") {
  for (const int16_t code : kOfPartition) {
    Scene s{{}, 2};
    s.begin();
    const int64_t from = s.w.now;
    s.w.broker.fail_partition("t", 0, code, 15);
    for (int i = 0; i < 12; ++i) {
      check_flows(s.w, s.m, "t", 1, 1500);
      s.w.run_for(1000);
    }
    CHECK(s.watch.worst(from) < kBusy);
    CHECK(s.m.event_count(EventType::partition_error) <= 1);
    s.w.broker.fail_partition("t", 0, 0, 0);
    check_flows(s.w, s.m, "t", 0, 3000);
  }
}

TEST_CASE("all partitions of a large assignment in error at once: few requests") {
  Scene s{{}, 16};
  s.begin();
  for (int p = 0; p < 16; ++p) s.w.broker.fail_partition("t", p, 3, 1000);
  const int64_t from = s.w.now;
  s.w.run_for(20000);
  CHECK(s.watch.worst(from) < 40);
  CHECK(s.watch.worst(from + 5000) < kBusy);
  for (int p = 0; p < 16; ++p) s.w.broker.fail_partition("t", p, 0, 0);
  for (int p = 0; p < 16; ++p) check_flows(s.w, s.m, "t", p, 3000);
}

TEST_CASE("a stalled connection: the request times out, then everything goes on elsewhere") {
  minibroker::Config config;
  config.nodes = 2;
  World w{config};
  w.broker.add_topic("t", 2);
  Member<kshare::kSmallLimits> m;
  m.options.request_timeout_ms = 5000;
  w.join(m);
  Watch watch{w, m};
  REQUIRE(m.start({"t"}).ok());
  w.run_for(2000);
  uint32_t link = 1;
  while (m.consumer().engine().link(link).target() != w.broker.leader_of("t", 1)) {
    REQUIRE(++link < kshare::kSmallLimits.links_max);
  }
  REQUIRE(w.broker.leader_of("t", 0) != w.broker.leader_of("t", 1));
  m.pool.transports[link].stall = true;
  const uint64_t turns = w.turns;
  const int64_t from = w.now;
  fill(w, "t", 1, 1, 1);
  for (int i = 0; i < 15; ++i) {  // and the other link's records come all the time
    check_flows(w, m, "t", 0, 600);
    w.run_for(from + 1000 * (i + 1) - w.now);
    if (i == 6) CHECK(m.has_event(EventType::disconnected));
  }
  CHECK(w.turns - turns < 1500);
  CHECK(watch.worst(from) < kBusy);
  for (const auto& record : m.seen) CHECK(record.partition == 0);
  m.pool.transports[link].stall = false;
  w.run_for(11000);  // connection_setup_timeout_ms, and a back-off
  CHECK(m.seen.size() == 16);
  check_flows(w, m, "t", 1, 1500);
  check_clean(w);
}

TEST_CASE("acks whose answer never comes do not make it spin when their locks run out") {
  minibroker::Config config;
  config.lock_ms = 3000;
  Scene s{config};
  s.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  s.m.judge = [](const kshare::Record&, kshare::Ack&) { return false; };
  s.begin();
  fill(s.w, "t", 0, 1, 5);
  CHECK(s.w.run_until([&] { return s.m.seen.size() == 5; }, 2000));
  CHECK(s.m.consumer().unsubscribe().ok());  // no long poll from now on
  s.w.run_for(500);
  bool silent = true;
  s.w.broker.on_response = [&](int key, std::string&) {
    return !silent || key != minibroker::kShareAcknowledge;
  };
  for (const auto& id : s.m.ids) CHECK(s.m.consumer().acknowledge(id, kshare::Ack::accept).ok());
  s.w.run_for(4000);
  const uint64_t turns = s.w.turns;
  s.w.run_for(20000);
  CHECK(s.w.turns - turns < 1000);
  silent = false;
  CHECK(s.w.run_until([&] { return s.m.consumer().stats().acks_unknown == 5; }, 10000));
  s.m.judge = nullptr;
  CHECK(s.m.consumer().subscribe({"t"}).ok());
  check_flows(s.w, s.m, "t", 0, 3000);
  s.w.broker.on_response = nullptr;
}

TEST_CASE("a broker that greets and then hangs up is not asked in a hot loop") {
  minibroker::Config config;
  config.delivery_limit = 1000;
  Scene s{config};
  s.begin();
  const int64_t from = s.w.now;
  bool rude = true;
  s.w.broker.on_response = [&](int key, std::string&) {
    if (!rude || key != minibroker::kShareFetch) return true;
    const int conn = s.m.pool.transports[1].conn();
    if (conn >= 0) s.w.broker.close_connection(conn, s.w.now);
    return false;
  };
  fill(s.w, "t", 0, 1, 1);  // every fetch is answered at once: by hanging up
  s.w.run_for(20000);
  CHECK(s.watch.worst(from) < kBusy);
  CHECK(s.watch.worst(from + 10000) <= 10);
  rude = false;
  check_flows(s.w, s.m, "t", 0, 3000);
  s.w.broker.on_response = nullptr;
}

TEST_CASE("the broker hangs up again and again in mid-stream: every record is handled") {
  Scene s;
  fill(s.w, "t", 0, 60, 2);
  s.m.takes_max = 1;
  REQUIRE(s.m.start({"t"}).ok());
  for (int i = 0; i < 15; ++i) {
    s.w.run_for(23 + i * 11);
    const int conn = s.m.pool.transports[1].conn();
    if (conn >= 0) s.w.broker.close_connection(conn, s.w.now);
  }
  CHECK(s.w.run_until([&] { return s.w.broker.start_offset("group", "t", 0) == 120; }, 60000));
  CHECK(s.m.times().size() == 120);
}

TEST_CASE("half-open: never-sent acks go, the rest is given back, nothing waits for the lock") {
  Scene s;
  s.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  s.m.judge = [](const kshare::Record&, kshare::Ack&) { return false; };
  s.m.takes_max = 6;
  fill(s.w, "t", 0, 1, 20);
  REQUIRE(s.m.start({"t"}).ok());
  CHECK(s.w.run_until([&] { return s.m.seen.size() >= 6; }, 3000));
  s.m.takes = false;
  const int64_t at = s.w.now;
  s.m.pool.transports[1].forget();  // the broker does not notice
  for (size_t i = 0; i < 3; ++i) {
    CHECK(s.m.consumer().acknowledge(s.m.ids[i], kshare::Ack::accept).ok());
  }
  s.w.run_for(2000);
  for (int64_t i = 0; i < 3; ++i) {
    CHECK(s.w.broker.state_of("group", "t", 0, i).state == minibroker::State::Acknowledged);
  }
  for (size_t i = 3; i < s.m.ids.size(); ++i) {  // and what is still in hand can be acknowledged
    CHECK(s.m.consumer().acknowledge(s.m.ids[i], kshare::Ack::accept).ok());
  }
  s.m.judge = nullptr;
  s.m.takes = true;
  s.m.takes_max = UINT32_MAX;
  CHECK(s.w.run_until([&] { return s.w.broker.start_offset("group", "t", 0) == 20; }, 5000));
  CHECK(s.w.now - at < 10000);  // the lock is 30 s
  CHECK(s.m.consumer().stats().acks_failed == 0);
  check_flows(s.w, s.m, "t", 0, 1000);
}

TEST_CASE("an empty session: no fetch is sent") {
  Scene s{{}, 1};
  s.w.broker.group_coordinator().override_assignment("group", minibroker::Assignment{});
  s.begin();
  s.w.run_for(30000);
  CHECK(s.watch.count(minibroker::kShareFetch) == 0);
  CHECK(s.w.broker.notes().empty());
}

TEST_CASE("a long poll that returns nothing is repeated without spinning") {
  Scene s;
  s.begin();
  const int64_t before = s.watch.count(minibroker::kShareFetch);
  const uint64_t turns = s.w.turns;
  s.w.run_for(60000);
  CHECK(s.watch.count(minibroker::kShareFetch) - before <= 122);
  CHECK(s.watch.count(minibroker::kShareFetch) - before >= 115);
  CHECK(s.w.turns - turns < 1500);
  CHECK(s.w.broker.notes().empty());
}

TEST_CASE("throttle time mutes the link") {
  Scene s;
  s.begin();
  s.w.broker.set_throttle(3000);
  s.w.run_for(12000);
  const int64_t before = s.watch.count(minibroker::kShareFetch);
  s.w.run_for(30000);
  CHECK(s.watch.count(minibroker::kShareFetch) - before <= 11);
  s.w.broker.set_throttle(0);
  s.w.run_for(6000);
  check_flows(s.w, s.m, "t", 0, 1000);
}

TEST_CASE("a throttled empty answer that hides acquired records: they come at once all the same") {
  Scene s;
  s.begin();
  s.w.broker.hide_next_fetch(1, 200);
  fill(s.w, "t", 0, 1, 5);
  CHECK(s.w.run_until([&] { return s.m.seen.size() == 5; }, 2000));
  for (const auto& record : s.m.seen) CHECK(record.count == 2);  // released once by the new session
  check_flows(s.w, s.m, "t", 0, 1000);
  CHECK(s.w.broker.sessions(0) == 1);
}

TEST_CASE("a throttled empty answer while one record is renewed for long: the others keep coming") {
  minibroker::Config config;
  config.lock_ms = 3000;
  Scene s{config};
  s.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  s.m.judge = [](const kshare::Record& record, kshare::Ack&) { return record.offset != 0; };
  s.begin();
  fill(s.w, "t", 0, 1, 1);
  REQUIRE(s.w.run_until([&] { return s.m.seen.size() == 1; }, 2000));
  s.w.broker.hide_next_fetch(1, 200);
  s.w.broker.tick(s.w.now);
  fill(s.w, "t", 0, 1, 1);
  for (size_t second = 1; second <= 10; ++second) {
    CHECK(s.m.consumer().acknowledge(s.m.ids.front(), kshare::Ack::renew).ok());
    s.w.run_for(1000);
    s.w.broker.tick(s.w.now);
    fill(s.w, "t", 0, 1, 1);
  }
  CHECK(s.w.run_until([&] { return s.m.seen.size() == 12; }, 2000));  // the hidden one too
  CHECK(s.m.consumer().held_count() == 1);
}

TEST_CASE("more acquired ranges than the table holds: given back, and all handed out in the end") {
  minibroker::Config config;
  config.merge_acquired = false;
  config.delivery_limit = 20;
  config.unload_empty_groups = false;
  Scene s{config};
  Member<kshare::kDefaultLimits> first{9};
  first.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  first.judge = [](const kshare::Record& record, kshare::Ack&) { return record.offset % 2 == 0; };
  s.w.join(first);
  s.w.broker.append("t", 0, records(200));
  REQUIRE(first.start({"t"}).ok());
  CHECK(s.w.run_until([&] { return first.seen.size() == 200; }, 5000));
  CHECK(s.w.close(first));  // releases the rest: from now on they come one range each
  s.m.options.max_poll_records = 40;
  s.m.alive = true;
  REQUIRE(s.m.start({"t"}).ok());
  CHECK(s.w.run_until([&] { return s.w.broker.start_offset("group", "t", 0) == 200; }, 20000));
  CHECK(s.m.times().size() == 100);
  CHECK(s.m.event_count(EventType::session_surplus) == 1);  // then no more than there are rows for
  for (const auto& record : s.m.seen) CHECK(record.count <= 3);
  check_flows(s.w, s.m, "t", 0, 1000);
}

TEST_CASE("MaxRecords never asks for more than there are ack slots for") {
  using Mode = kshare::AcquireMode;
  for (const auto mode : {Mode::batch_optimized, Mode::record_limit}) {
    Scene s{{}, 3};
    s.m.options.acquire_mode = mode;
    s.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
    int taken = 0;
    s.m.judge = [&](const kshare::Record&, kshare::Ack&) { return ++taken % 3 != 0; };
    for (int p = 0; p < 3; ++p) fill(s.w, "t", p, 10, 7);
    s.begin();
    for (int i = 0; i < 100; ++i) {  // what was kept is acknowledged late
      s.w.run_for(100);
      for (const auto& id : s.m.ids) {
        static_cast<void>(s.m.consumer().acknowledge(id, kshare::Ack::accept));
      }
      s.m.ids.clear();
    }
    CHECK(s.watch.over_asked == 0);
    CHECK(s.watch.count(minibroker::kShareFetch) > 5);
    CHECK(s.m.times().size() == 210);
  }
}

TEST_CASE("an idle long poll never keeps the last store slot from a leader with data") {
  minibroker::Config config;
  config.nodes = 3;
  World w{config};
  w.broker.add_topic("t", 3);
  Member<kshare::kSmallLimits> m;
  m.options.fetch_max_wait_ms = 20000;
  m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  int kept = 0;
  m.judge = [&](const kshare::Record&, kshare::Ack&) { return ++kept > 3; };  // three slots held
  w.join(m);
  Watch watch{w, m};
  REQUIRE(m.start({"t"}).ok());
  w.run_for(2000);
  for (int i = 0; i < 3; ++i) {
    fill(w, "t", i, 1, 1);
    w.run_for(21000);
  }
  for (int i = 0; i < 30; ++i) {
    const size_t before = m.seen.size();
    fill(w, "t", i % 3, 1, 1);
    CHECK(w.run_until([&] { return m.seen.size() > before; }, 600));
  }
  CHECK(watch.worst(3000) < 80);
  check_clean(w);
}

TEST_CASE("MaxWaitMs is short while records are out, the full wait only when nothing is") {
  Scene s;
  s.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  s.m.judge = [](const kshare::Record&, kshare::Ack&) { return false; };
  s.begin();
  CHECK(s.watch.shares.back().request.max_wait_ms == 500);
  fill(s.w, "t", 0, 1, 1);
  s.w.run_for(1000);
  CHECK(s.watch.shares.back().request.max_wait_ms == 100);
  CHECK(s.m.consumer().acknowledge(s.m.ids.at(0), kshare::Ack::accept).ok());
  s.w.run_for(1000);
  CHECK(s.watch.shares.back().request.max_wait_ms == 500);
}

TEST_CASE("a batch of 5,000 records through 2 KiB slots with 1, 2, 4 and 8 members") {
  for (const size_t count : {size_t{1}, size_t{2}, size_t{4}, size_t{8}}) {
    World w;
    w.broker.add_topic("big", 1);
    std::vector<std::unique_ptr<Member<>>> members;
    for (size_t i = 0; i < count; ++i) {
      members.push_back(std::make_unique<Member<>>(i + 1));
      w.join(*members.back());
      if (i % 2 == 1) members.back()->options.acquire_mode = kshare::AcquireMode::record_limit;
      REQUIRE(members.back()->start({"big"}).ok());
    }
    w.run_for(6000);
    w.broker.append("big", 0, records(5000, 8));
    CHECK(w.run_until([&] { return w.broker.start_offset("group", "big", 0) == 5000; }, 120000));
    std::map<int64_t, int> times;
    int late = 0;
    for (const auto& m : members) {
      for (const auto& record : m->seen) {
        ++times[record.offset];
        late += record.count == 1 ? 0 : 1;
      }
    }
    CHECK(times.size() == 5000);
    CHECK(late == 0);
    int again = 0;
    for (const auto& offset : times) again += offset.second - 1;
    CHECK(again == 0);
    check_clean(w);
  }
}

TEST_CASE("close with everything acked, with held records, with nothing ever started") {
  for (int held = 0; held < 3; ++held) {
    Scene s;
    s.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
    int seen = 0;
    s.m.judge = [&](const kshare::Record&, kshare::Ack&) { return ++seen > held; };
    if (held != 2) fill(s.w, "t", 0, 1, 5);
    s.begin();
    const int64_t at = s.w.now;
    CHECK(s.w.close(s.m));
    CHECK(s.w.now - at <= 1000);
    CHECK(s.m.consumer().status().ok());
    CHECK(s.w.broker.sessions(0) == 0);
    CHECK(s.w.broker.group_coordinator().members("group").empty());
    if (held == 2) continue;
    for (int64_t i = 0; i < 5; ++i) {
      const auto state = s.w.broker.state_of("group", "t", 0, i).state;
      CHECK(state != minibroker::State::Acquired);
    }
    CHECK(s.w.broker.start_offset("group", "t", 0) == (held == 0 ? 5 : 0));
    CHECK(s.m.consumer().close(kshare::Instant{s.w.now}, 100).code == kshare::Errc::not_running);
  }
}

TEST_CASE("close with a request in flight, a dead broker, a silent one: ends by its deadline") {
  for (int way = 0; way < 6; ++way) {
    CAPTURE(way);
    Scene s;
    s.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
    s.m.judge = [](const kshare::Record&, kshare::Ack&) { return false; };
    fill(s.w, "t", 0, 1, 3);
    s.begin();
    if (way == 1) s.w.broker.stop_node(0, s.w.now);
    if (way == 2) s.m.pool.transports[1].stall = true;
    if (way == 3) s.m.pool.transports[0].stall = true;
    if (way == 4) s.w.broker.fail_next(minibroker::kShareAcknowledge, 56, 5);
    if (way == 5) s.w.broker.fail_next(minibroker::kShareGroupHeartbeat, 16, 20);
    if (way == 5) s.w.run_for(6000);
    const int64_t at = s.w.now;
    const uint64_t turns = s.w.turns;
    CHECK(s.w.close(s.m, 3000));
    CHECK(s.w.now - at <= 3100);  // the world looks 100 ms further
    CHECK(s.w.turns - turns < 500);
    CHECK(s.m.consumer().status().ok());
    s.m.alive = true;
    for (auto& transport : s.m.pool.transports) transport.stall = false;
    s.w.broker.start_node(0);
    s.m.judge = nullptr;
    REQUIRE(s.m.start({"t"}).ok());  // start after close works, same storage
    s.w.run_for(3000);
    check_flows(s.w, s.m, "t", 0, 35000);
  }
}

TEST_CASE("close right after start and subscribe: nothing is joined with empty names") {
  for (int64_t wait = 0; wait < 8; ++wait) {
    Scene s;
    REQUIRE(s.m.start({"t"}).ok());
    for (int64_t i = 0; i < wait; ++i) s.w.step(s.w.now + 1);
    CHECK(s.w.close(s.m, 3000));
    CHECK(s.m.consumer().status().ok());
    CHECK(s.w.broker.group_coordinator().members("group").empty());
  }
}

TEST_CASE("close while fenced: the group is left, not joined with empty names") {
  Scene s;
  s.m.options.fetch_max_wait_ms = 2000;  // the session ends behind it
  s.begin();
  s.w.broker.fail_next(minibroker::kShareGroupHeartbeat, 110, 1);
  CHECK(s.w.run_until([&] { return s.m.has_event(EventType::rejoining); }, 10000));
  CHECK(s.w.close(s.m, 4000));
  CHECK(s.m.consumer().status().ok());
  CHECK(s.w.broker.group_coordinator().members("group").empty());
}

TEST_CASE("long polls that are answered at once with nothing: soon no more than one a second") {
  Scene s;
  s.m.options.acquire_mode = kshare::AcquireMode::record_limit;
  s.m.options.max_poll_records = 1;
  s.begin();
  fill(s.w, "t", 0, 1, 1000);
  s.w.broker.hide_next_fetch(1000000, 0);  // each acquires a record and does not show it
  int64_t before = s.watch.count(minibroker::kShareFetch);
  s.w.run_for(10000);
  CHECK(s.watch.count(minibroker::kShareFetch) - before <= 30);
  before = s.watch.count(minibroker::kShareFetch);
  s.w.run_for(20000);
  CHECK(s.watch.count(minibroker::kShareFetch) - before >= 15);
  CHECK(s.watch.count(minibroker::kShareFetch) - before <= 26);
}

TEST_CASE("a topic that metadata says is gone is in no session, whatever the assignment says") {
  Scene s;
  const minibroker::Uuid gone = s.w.broker.topic_id("t");
  s.w.broker.add_topic("other", 1);
  REQUIRE(s.m.start({"t", "other"}).ok());
  s.w.run_for(5800);  // just behind a heartbeat
  const size_t beats = s.watch.beats.size();
  s.w.broker.delete_topic("t");
  s.w.run_for(1000);
  const size_t before = s.watch.shares.size();
  for (int i = 0; i < 6; ++i) {
    check_flows(s.w, s.m, "other", 0, 500);
    s.w.run_for(500);
  }
  CHECK(s.watch.beats.size() == beats);
  CHECK(s.watch.shares.size() > before);
  for (size_t i = before; i < s.watch.shares.size(); ++i) {
    for (const auto& part : s.watch.shares[i].request.parts) CHECK(part.tp.first != gone);
  }
  CHECK(s.w.run_until([&] { return s.m.consumer().assignment_count() == 1; }, 10000));
}

TEST_CASE("a topic deleted while its bytes are read again: no loop, and made anew it is served") {
  Scene s;
  s.begin();
  fill(s.w, "t", 0, 1, 400, 100);
  REQUIRE(s.w.run_until([&] { return s.m.seen.size() >= 30; }));
  s.w.broker.delete_topic("t");
  const int64_t before = s.watch.count(minibroker::kFetch);
  const int64_t from = s.w.now + 1000;
  s.w.run_for(5000);
  CHECK(s.watch.worst(from) < kBusy);
  CHECK(s.watch.count(minibroker::kFetch) - before <= 2);  // there is nothing to be read any more
  s.w.broker.add_topic("t", 1, s.w.now);
  s.m.seen.clear();
  fill(s.w, "t", 0, 1, 5, 7);
  CHECK(s.w.run_until([&] { return s.m.seen.size() == 5; }, 15000));
  for (const auto& record : s.m.seen) CHECK(record.count == 1);
}

TEST_CASE("partitions that stay in error are asked for again in company, about once a second") {
  world::World w;
  world::Member<kshare::kDefaultLimits> m;
  w.join(m);
  w.broker.add_topic("t", 24);
  for (int p = 0; p < 24; ++p) w.broker.fail_partition("t", p, 29, 1000000);
  REQUIRE(m.start({"t"}).ok());
  w.run_for(10000);
  const int64_t before = w.broker.requests_total();
  w.run_for(10000);
  const int64_t during = w.broker.requests_total() - before;
  CHECK(during >= 10);
  CHECK(during <= 60);
  for (int p = 0; p < 24; ++p) w.broker.fail_partition("t", p, 0, 0);
  w.broker.append("t", 7, records(3));
  CHECK(w.run_until([&] { return m.seen.size() == 3; }, 2500));
}

}  // namespace test_fetching
