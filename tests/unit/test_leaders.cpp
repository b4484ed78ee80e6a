// SPDX-License-Identifier: Apache-2.0
// Leaders that move, die, come back and are more than there are links; against the mini broker.
#include <doctest/doctest.h>

#include "../support/scenario.hpp"
#include "../support/scene.hpp"

namespace test_leaders {

using kshare::EventType;
using scenario::fill;
using scenario::Watch;
using world::AnyMember;
using world::check_clean;
using world::Member;
using world::World;

namespace {

constexpr int kBusy = 30;

minibroker::Config brokers(int nodes) {
  minibroker::Config config;
  config.nodes = nodes;
  return config;
}
void check_flows(World& w, AnyMember& m, const char* topic, int partition, int64_t within_ms) {
  const auto arrived = [&] {
    int64_t all = 0;
    for (const auto& record : m.seen) all += record.partition == partition ? 1 : 0;
    return all;
  };
  const int64_t before = arrived();
  fill(w, topic, partition, 1, 1);
  const bool came = w.run_until([&] { return arrived() > before; }, within_ms);
  CHECK_MESSAGE(came, "partition ", partition, " at ", w.now);
}

template <const kshare::Limits& L = kshare::kSmallLimits>
struct Cluster {
  explicit Cluster(const minibroker::Config& config, int partitions) : w(config) {
    w.broker.add_topic("t", partitions);
    w.join(m);
  }
  void begin() {
    REQUIRE(m.start({"t"}).ok());
    w.run_for(2000);
  }
  ~Cluster() { check_clean(w); }
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  World w;
  Member<L> m;
  Watch watch{w, m};
};

}  // namespace

TEST_CASE("the leader moves: the hint of the old one is followed, records keep coming") {
  Cluster<> c{brokers(3), 1};
  c.begin();
  for (const int node : {1, 2, 0, 1, 2}) {
    const int64_t from = c.w.now;
    const int64_t lookups = c.watch.count(minibroker::kMetadata);
    c.w.broker.move_leader("t", 0, node);
    check_flows(c.w, c.m, "t", 0, 1000);
    c.w.run_for(3000);
    CHECK(c.watch.worst(from) < kBusy);
    CHECK(c.watch.count(minibroker::kMetadata) - lookups <= 3);
    int sessions = 0;
    for (int i = 0; i < 3; ++i) sessions += c.w.broker.sessions(i);
    CHECK(sessions == 1);  // the old one has been ended
  }
}

TEST_CASE("the leader moves with records in hand: its acks fail with the reason, none is lost") {
  for (const bool come_again : {false, true}) {  // before the acks
    CAPTURE(come_again);
    Cluster<> c{brokers(2), 1};
    c.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
    c.m.judge = [](const kshare::Record&, kshare::Ack&) { return false; };
    fill(c.w, "t", 0, 1, 4);
    c.begin();
    REQUIRE(c.m.seen.size() == 4);
    c.w.broker.move_leader("t", 0, 1);
    if (come_again) CHECK(c.w.run_until([&] { return c.m.seen.size() == 8; }, 1500));
    const kshare::Errc answer = come_again ? kshare::Errc::lock_lost : kshare::Errc::ok;
    for (size_t i = 0; i < 4; ++i) {
      CHECK(c.m.consumer().acknowledge(c.m.ids[i], kshare::Ack::accept).code == answer);
    }
    CHECK(c.w.run_until([&] { return c.m.seen.size() == 8; }, 5000));
    for (size_t i = 4; i < c.m.ids.size(); ++i) {
      CHECK(c.m.consumer().acknowledge(c.m.ids[i], kshare::Ack::accept).ok());
    }
    CHECK(c.w.run_until([&] { return c.w.broker.start_offset("group", "t", 0) == 4; }, 5000));
    c.w.run_for(500);
    CHECK(c.m.event_count(EventType::lock_expired) == (come_again ? 4 : 0));
    CHECK(c.m.event_count(EventType::acks_failed) == (come_again ? 0 : 1));
    for (const kshare::Event& event : c.m.events) {
      if (event.type != EventType::acks_failed) continue;
      CHECK(event.status == kshare::Status{kshare::Errc::broker_error, 3});  // of the old one
      CHECK(event.words() == "t");
      CHECK(event.partition == 0);
      CHECK(event.value == 4);
    }
    CHECK(c.m.consumer().stats().acks_failed == 4);
    CHECK(c.m.consumer().stats().acks_ok == 4);
    for (const auto& entry : c.m.times()) CHECK(entry.second == 2);
    c.m.judge = nullptr;
    check_flows(c.w, c.m, "t", 0, 1000);
  }
}

TEST_CASE("a hint without a usable leader: metadata finds it, with back-off") {
  Cluster<> c{brokers(2), 2};
  c.begin();
  const int64_t from = c.w.now;
  c.w.broker.move_leader("t", 0, -1);  // no leader: the hint says -1
  c.w.run_for(15000);
  CHECK(c.watch.worst(from) < kBusy);
  check_flows(c.w, c.m, "t", 1, 1000);
  c.w.broker.move_leader("t", 0, 1);
  check_flows(c.w, c.m, "t", 0, 3000);
}

TEST_CASE("the named leader is the same broker: back-off, no loop") {
  Cluster<> c{brokers(2), 1};
  c.begin();
  const int64_t from = c.w.now;
  c.w.broker.fail_partition("t", 0, 6, 15);  // its hint names itself, with no newer epoch
  c.w.run_for(20000);
  CHECK(c.watch.worst(from) < kBusy);
  check_flows(c.w, c.m, "t", 0, 2000);
}

TEST_CASE("the named leader is down: back-off, and its partition flows once it is up or replaced") {
  for (const bool comes_up : {true, false}) {
    CAPTURE(comes_up);
    Cluster<> c{brokers(3), 2};
    c.begin();
    c.w.broker.stop_node(2, c.w.now);
    const int64_t from = c.w.now;
    const int64_t lookups = c.watch.count(minibroker::kMetadata);
    const int opens = c.watch.opens();
    c.w.broker.move_leader("t", 0, 2);  // the old one hints at it, and metadata says the same
    fill(c.w, "t", 0, 1, 1);
    for (int i = 0; i < 15; ++i) {
      check_flows(c.w, c.m, "t", 1, 600);
      c.w.run_for(from + 1000 * (i + 1) - c.w.now);
    }
    CHECK(c.watch.worst(from) < kBusy);
    CHECK(c.watch.opens() - opens >= 2);
    CHECK(c.watch.opens() - opens <= 30);
    CHECK(c.watch.count(minibroker::kMetadata) - lookups >= 5);
    CHECK(c.watch.count(minibroker::kMetadata) - lookups <= 30);
    if (comes_up) c.w.broker.start_node(2);
    else c.w.broker.move_leader("t", 0, 1);
    check_flows(c.w, c.m, "t", 0, comes_up ? 3000 : 2000);
  }
}

TEST_CASE("two brokers naming each other as leader: back-off, and it ends when they agree") {
  Cluster<> c{brokers(2), 1};
  c.begin();
  const int64_t from = c.w.now;
  for (int i = 0; i < 400; ++i) {  // by the time we ask one, it is the other
    c.w.broker.move_leader("t", 0, i % 2);
    c.w.run_for(50);
  }
  CHECK(c.watch.worst(from) < 40);
  check_flows(c.w, c.m, "t", 0, 3000);
}

TEST_CASE("a partition without a leader for a while, from the start") {
  Cluster<> c{brokers(2), 1};
  c.w.broker.move_leader("t", 0, -1);
  REQUIRE(c.m.start({"t"}).ok());
  c.w.run_for(20000);
  CHECK(c.watch.count(minibroker::kShareFetch) == 0);
  CHECK(c.watch.worst(0) < kBusy);
  c.w.broker.move_leader("t", 0, 1);
  check_flows(c.w, c.m, "t", 0, 2000);
}

TEST_CASE("a broker restarted with the same id: everything comes back soon") {
  Cluster<> c{brokers(1), 2};
  c.begin();
  for (int round = 0; round < 3; ++round) {
    fill(c.w, "t", 0, 3, 3);
    const int64_t from = c.w.now;
    c.w.broker.stop_node(0, c.w.now);
    const uint64_t turns = c.w.turns;
    c.w.run_for(15000);
    CHECK(c.w.turns - turns < 1000);
    CHECK(c.watch.worst(from) < kBusy);
    c.w.broker.start_node(0);
    check_flows(c.w, c.m, "t", 1, 4000);
    check_flows(c.w, c.m, "t", 0, 2000);
  }
}

TEST_CASE("a broker of several dies: the others go on, its partitions move") {
  minibroker::Config config = brokers(3);
  config.failover = true;
  Cluster<> c{config, 3};
  c.begin();
  for (const int node : {2, 0, 1}) {
    const int64_t from = c.w.now;
    c.w.broker.stop_node(node, c.w.now);
    for (int p = 0; p < 3; ++p) {
      const bool moved = c.w.broker.leader_of("t", p) != node;
      if (moved) check_flows(c.w, c.m, "t", p, 4000);
    }
    c.w.broker.start_node(node);
    c.w.run_for(3000);
    CHECK(c.watch.worst(from) < 60);  // three links
    for (int p = 0; p < 3; ++p) check_flows(c.w, c.m, "t", p, 2000);
  }
}

TEST_CASE("a leader with a new address") {
  Cluster<> c{brokers(2), 2};
  c.begin();
  c.w.broker.stop_node(1, c.w.now);
  c.w.run_for(3000);
  c.w.broker.set_node_address(1, "10.0.0.9", 7777);
  c.w.broker.start_node(1);
  c.w.run_for(3000);
  check_flows(c.w, c.m, "t", 1, 3000);
  check_flows(c.w, c.m, "t", 0, 1000);
}

TEST_CASE("one slow or dead broker does not hold up the others") {
  Cluster<> c{brokers(3), 3};
  c.begin();
  uint32_t link = 0;
  for (uint32_t i = 1; i < 4; ++i) {
    if (c.m.consumer().engine().link(i).target() == 2) link = i;
  }
  REQUIRE(link != 0);
  c.m.pool.transports[link].stall = true;  // connected, silent
  fill(c.w, "t", 2, 1, 1);
  for (int i = 0; i < 20; ++i) check_flows(c.w, c.m, "t", i % 2, 600);
  c.m.pool.transports[link].stall = false;
  c.m.pool.transports[link].refuse = true;  // and gone
  c.w.broker.close_connection(c.m.pool.transports[link].conn(), c.w.now);
  const int64_t from = c.w.now;
  for (int i = 0; i < 20; ++i) {
    check_flows(c.w, c.m, "t", i % 2, 600);
    c.w.run_for(500);
  }
  CHECK(c.watch.worst(from) < 60);
  c.m.pool.transports[link].refuse = false;
  check_flows(c.w, c.m, "t", 2, 2000);
}

TEST_CASE("fetches to several brokers run at the same time") {
  Cluster<> c{brokers(3), 3};
  c.m.options.fetch_max_wait_ms = 20000;
  c.begin();
  for (int i = 0; i < 30; ++i) {
    const int64_t at = c.w.now;
    check_flows(c.w, c.m, "t", i % 3, 300);
    CHECK(c.w.now - at < 300);
  }
}

TEST_CASE("more leaders than links: all partitions are served in turn, with two links too") {
  for (const int nodes : {2, 3, 4}) {
    Cluster<kshare::kTinyLimits> c{brokers(nodes), 8};
    c.begin();
    for (int p = 0; p < 8; ++p) fill(c.w, "t", p, 4, 5);
    const int64_t from = c.w.now;
    CHECK(c.w.run_until([&] { return c.m.times().size() == 160; }, 30000));
    CHECK(c.m.seen.size() == 160);
    for (int i = 0; i < 16; ++i) check_flows(c.w, c.m, "t", i % 8, nodes * 2000);
    CHECK(c.watch.worst(from) < 60);
    CHECK(c.m.consumer().stats().acks_failed == 0);
  }
}

TEST_CASE("more leaders than links: each gets its turn while all have data all the time") {
  Cluster<kshare::kTinyLimits> c{brokers(4), 4};
  c.begin();
  for (int i = 0; i < 400; ++i) {
    for (int p = 0; p < 4; ++p) fill(c.w, "t", p, 1, 2);
    c.w.run_for(100);
  }
  std::map<int32_t, int> count;
  for (const auto& record : c.m.seen) ++count[record.partition];
  for (int p = 0; p < 4; ++p) CHECK(count[p] > 500);
  CHECK(c.w.run_until([&] { return c.m.times().size() == 3200; }, 30000));
  CHECK(c.m.seen.size() == 3200);
}

TEST_CASE("a record held for long on one leader delays the others no longer than its lock") {
  minibroker::Config config = brokers(2);
  config.lock_ms = 6000;
  Cluster<kshare::kTinyLimits> c{config, 2};
  c.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  bool held = false;
  c.m.judge = [&](const kshare::Record& record, kshare::Ack&) {
    if (record.partition != 0 || held) return true;
    held = true;
    return false;  // this one is never acknowledged
  };
  c.begin();
  fill(c.w, "t", 0, 1, 1);
  CHECK(c.w.run_until([&] { return held; }, 5000));
  check_flows(c.w, c.m, "t", 1, 9000);
  CHECK(c.w.run_until([&] { return c.w.broker.start_offset("group", "t", 0) == 1; }, 15000));
}

TEST_CASE("a dead leader among more leaders than links costs its turns, nothing more") {
  Cluster<kshare::kTinyLimits> c{brokers(3), 3};
  c.begin();
  c.w.broker.stop_node(2, c.w.now);
  c.w.run_for(3000);
  const int64_t from = c.w.now;
  for (int i = 0; i < 8; ++i) check_flows(c.w, c.m, "t", i % 2, 6000);
  CHECK(c.watch.worst(from) < 60);
  c.w.broker.start_node(2);
  check_flows(c.w, c.m, "t", 2, 8000);
}

TEST_CASE("all brokers gone and back: everything comes back soon, nothing spins meanwhile") {
  Cluster<> c{brokers(3), 3};
  c.begin();
  for (int i = 0; i < 3; ++i) c.w.broker.stop_node(i, c.w.now);
  const uint64_t turns = c.w.turns;
  c.w.run_for(30000);
  CHECK(c.w.turns - turns < 1500);
  CHECK(c.watch.opens() < 300);  // three leaders; three known and the bootstrap list
  for (int i = 0; i < 3; ++i) c.w.broker.start_node(i);
  for (int p = 0; p < 3; ++p) check_flows(c.w, c.m, "t", p, 5000);
}

TEST_CASE("acks after unsubscribe go where the record came from, the rest is given back") {
  Cluster<> c{brokers(2), 2};
  c.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  c.m.judge = [](const kshare::Record&, kshare::Ack&) { return false; };
  c.m.takes_max = 1;
  for (int p = 0; p < 2; ++p) fill(c.w, "t", p, 1, 4);
  REQUIRE(c.m.start({"t"}).ok());
  CHECK(c.w.run_until([&] { return c.m.seen.size() >= 2; }, 3000));
  c.m.takes = false;
  CHECK(c.m.consumer().unsubscribe().ok());
  c.w.run_for(500);
  for (const auto& id : c.m.ids) CHECK(c.m.consumer().acknowledge(id, kshare::Ack::accept).ok());
  c.w.run_for(2000);
  CHECK(c.m.consumer().stats().acks_ok == c.m.ids.size());
  int free = 0;
  int done = 0;
  for (int p = 0; p < 2; ++p) {
    for (int64_t i = 0; i < 4; ++i) {
      const auto state = c.w.broker.state_of("group", "t", p, i).state;
      free += state == minibroker::State::Available ? 1 : 0;
      done += state == minibroker::State::Acknowledged ? 1 : 0;
    }
    CHECK(c.w.broker.sessions(p) == 0);
  }
  CHECK(done == static_cast<int>(c.m.ids.size()));
  CHECK(free == 8 - done);
}

}  // namespace test_leaders
