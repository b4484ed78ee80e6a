// SPDX-License-Identifier: Apache-2.0
// Beginning anew with bootstrap.servers (KIP-899, KIP-1102), who a broker is taken for (KIP-1242),
// and more leaders than there is room for.
#include <doctest/doctest.h>

#include <algorithm>

#include "../support/scenario.hpp"

namespace test_rebootstrap {

using kshare::Errc;
using kshare::EventType;
using scenario::fill;
using scenario::Watch;
using world::Member;
using world::World;

namespace {

minibroker::Config nodes(int count) {
  minibroker::Config config;
  config.nodes = count;
  return config;
}

template <typename M>
const kshare::Event* find(const M& m, EventType type) {
  for (const auto& event : m.events) {
    if (event.type == type) return &event;
  }
  return nullptr;
}

void hang_up_all(World& w) {
  for (const int conn : w.broker.connections(-1)) w.broker.close_connection(conn, w.now);
}

// A member of a topic with a partition on each of three nodes, 30 records read.
struct Three {
  Three() : w(nodes(3)) {
    w.broker.add_topic("t", 3);
    more();
    m.options.bootstrap_servers = "127.0.0.1:9092,127.0.0.1:9093,127.0.0.1:9094";
  }
  void start() {
    w.join(m);
    REQUIRE(m.start({"t"}).ok());
    REQUIRE(w.run_until([&] { return m.consumer().stats().acks_ok == 30; }));
  }
  void more() {
    for (int p = 0; p < 3; ++p) fill(w, "t", p, 1, 10);
  }
  bool reads_more(int64_t for_ms = 60000) {
    const uint64_t before = m.consumer().stats().acks_ok;
    more();
    return w.run_until([&] { return m.consumer().stats().acks_ok == before + 30; }, for_ms);
  }

  World w;
  Member<kshare::kSmallLimits> m;
};

}  // namespace

TEST_CASE("REBOOTSTRAP_REQUIRED in Metadata: the brokers are forgotten and found again") {
  Three three;
  three.start();
  three.m.events.clear();
  three.w.broker.fail_next(minibroker::kMetadata, minibroker::kRebootstrapRequired);
  three.w.broker.move_leader("t", 0, 1, false);  // so that Metadata is asked
  CHECK(three.reads_more());
  const kshare::Event* event = find(three.m, EventType::rebootstrapping);
  REQUIRE(event != nullptr);
  CHECK(event->status == kshare::Status{Errc::broker_error, 129});
  CHECK(three.m.event_count(EventType::rebootstrapping) == 1);
  CHECK(three.w.broker.violations().empty());
}

TEST_CASE("REBOOTSTRAP_REQUIRED for ever: said once, asked with back-off, over when it is over") {
  Three three;
  three.start();
  Watch watch(three.w, three.m);
  three.w.broker.fail_next(minibroker::kMetadata, minibroker::kRebootstrapRequired, 1 << 20);
  three.w.broker.move_leader("t", 0, 1, false);
  const int64_t from = three.w.now;
  three.w.run_until([] { return false; }, 50000);
  CHECK(three.m.event_count(EventType::rebootstrapping) == 1);
  CHECK(watch.worst(from + 5000) <= 16);
  CHECK(watch.opens() < 120);
  three.w.broker.clear_faults(minibroker::kMetadata);
  CHECK(three.reads_more());
}

TEST_CASE("REBOOTSTRAP_REQUIRED to every greeting is like a refused connection") {
  Three three;
  three.start();
  Watch watch(three.w, three.m);
  three.w.broker.fail_next(minibroker::kApiVersions, minibroker::kRebootstrapRequired, 1 << 20);
  hang_up_all(three.w);
  const int64_t from = three.w.now;
  three.w.run_until([] { return false; }, 50000);
  CHECK(three.m.event_count(EventType::rebootstrapping) == 1);
  CHECK(watch.worst(from + 5000) <= 12);
  CHECK(watch.opens() < 500);
  three.w.broker.clear_faults(minibroker::kApiVersions);
  CHECK(three.reads_more());
}

TEST_CASE("one leader whose address is another broker's does not disturb the others") {
  Three three;
  three.start();
  three.m.events.clear();
  three.w.broker.move_coordinator(0);
  three.w.broker.move_leader("t", 0, 0);
  three.w.broker.move_leader("t", 2, 2);
  three.w.broker.set_node_address(2, "127.0.0.1", three.w.broker.endpoint(0).port);
  hang_up_all(three.w);
  three.w.run_until([] { return false; }, 5000);  // begun anew, once
  Watch watch(three.w, three.m);
  const int64_t from = three.w.now;
  for (int i = 0; i < 40; ++i) {
    const uint64_t before = three.m.consumer().stats().records;
    fill(three.w, "t", 0, 1, 1);
    CHECK(three.w.run_until([&] { return three.m.consumer().stats().records > before; }, 900));
    three.w.run_until([] { return false; }, 1000);
  }
  CHECK(three.m.event_count(EventType::rebootstrapping) == 1);
  CHECK(watch.worst(from) < 40);
}

TEST_CASE("entries that stay silent are passed by, however short the trigger") {
  Three three;
  three.m.options.bootstrap_servers =
      "127.0.0.1:9301,127.0.0.1:9302,127.0.0.1:9303,127.0.0.1:9304,127.0.0.1:9092";
  three.m.options.rebootstrap_trigger_ms = 20;
  for (auto& transport : three.m.pool.transports) {
    transport.silent_ports = {9301, 9302, 9303, 9304};
  }
  three.w.join(three.m);
  REQUIRE(three.m.start({"t"}).ok());
  CHECK(three.w.run_until([&] { return three.m.consumer().stats().acks_ok == 30; }, 50000));
}

TEST_CASE("an assignment whose answer was lost is asked for again") {
  Three three;
  three.start();
  SUBCASE("with the heartbeat cut off") {
    three.w.broker.lose_answers(minibroker::kShareGroupHeartbeat, 1, true);
  }
  SUBCASE("by beginning anew in the midst of it") {
    three.w.broker.lose_answers(minibroker::kShareGroupHeartbeat, 1, false);
  }
  three.w.broker.add_partitions("t", 3);
  three.w.run_until([] { return false; }, 5500);
  three.w.broker.set_cluster_id("another");  // a leader that is greeted says so
  for (const int conn : three.w.broker.connections(1)) {
    three.w.broker.close_connection(conn, three.w.now);
  }
  CHECK(three.w.run_until([&] { return three.m.consumer().assignment_count() == 6; }, 15000));
  INFO(three.m.consumer().assignment_count());
  CHECK(three.w.broker.violations().empty());
}

TEST_CASE("errors of the very first Metadata answers are asked again with back-off") {
  for (const int16_t error : {int16_t{minibroker::kRebootstrapRequired}, int16_t{-1}}) {
    Three three;
    three.w.broker.fail_next(minibroker::kMetadata, error, 1 << 20);
    three.w.join(three.m);
    Watch watch(three.w, three.m);
    REQUIRE(three.m.start({"t"}).ok());
    three.w.run_until([] { return false; }, 30000);
    CHECK(watch.worst(0) <= 40);
    CHECK(watch.worst(10000) <= 16);
    three.w.broker.clear_faults(minibroker::kMetadata);
    CHECK(three.w.run_until([&] { return three.m.consumer().stats().acks_ok == 30; }, 10000));
  }
}

TEST_CASE("without Metadata for the trigger's time the bootstrap list is asked again") {
  Three three;
  three.m.options.rebootstrap_trigger_ms = 20000;
  three.start();
  three.w.broker.lose_answers(minibroker::kMetadata, 1 << 20, true);
  three.w.broker.move_leader("t", 0, 1, false);
  three.w.run_until([] { return false; }, 15000);
  CHECK_FALSE(three.m.has_event(EventType::rebootstrapping));
  three.w.run_until([] { return false; }, 10000);
  const kshare::Event* event = find(three.m, EventType::rebootstrapping);
  REQUIRE(event != nullptr);
  CHECK(event->status == kshare::Status{Errc::timed_out, 0});
  three.w.broker.clear_faults(minibroker::kMetadata);
  CHECK(three.reads_more());
}

TEST_CASE("what others lead goes on after beginning anew, whatever has become of the coordinator") {
  Three three;
  World& w = three.w;
  three.m.options.rebootstrap_trigger_ms = 5000;
  three.m.options.metadata_max_age_ms = 4000;
  three.m.options.request_timeout_ms = 100000;
  three.start();
  const int frozen = w.broker.coordinator();
  for (auto& transport : three.m.pool.transports) transport.silent_ports = {9092 + frozen};
  three.m.pool.transports[0].stall = true;
  const auto begun = [&] { return three.m.has_event(EventType::rebootstrapping); };
  REQUIRE(w.run_until(begun, 15000));
  three.m.pool.transports[0].stall = false;
  const size_t before = three.m.seen.size();
  three.more();
  const auto come = [&] {
    const auto theirs = [&](const auto& seen) {
      return w.broker.leader_of("t", seen.partition) != frozen;
    };
    const auto from = three.m.seen.begin() + static_cast<std::ptrdiff_t>(before);
    return std::count_if(from, three.m.seen.end(), theirs) == 20;
  };
  CHECK(w.run_until(come, 2000));
}

TEST_CASE("Metadata that comes now and then is no reason to begin anew") {
  Three three;
  three.m.options.rebootstrap_trigger_ms = 5000;
  three.m.options.metadata_max_age_ms = 4000;
  three.start();
  three.w.run_until([] { return false; }, 60000);
  CHECK_FALSE(three.m.has_event(EventType::rebootstrapping));
}

TEST_CASE("all brokers gone and back at other addresses") {
  Three three;
  three.m.options.bootstrap_servers = "127.0.0.1:9092,127.0.0.1:9192";
  three.start();
  for (int node = 0; node < 3; ++node) {
    three.w.broker.stop_node(node, three.w.now);
    three.w.broker.set_node_address(node, "127.0.0.1", 9192 + node);
  }
  three.w.run_until([] { return false; }, 5000);
  for (int node = 0; node < 3; ++node) three.w.broker.start_node(node);
  CHECK(three.reads_more(10000));
}

TEST_CASE("one living entry among many dead ones is found soon, however long all were dead") {
  Three three;
  three.m.options.bootstrap_servers =
      "127.0.0.1:9092,127.0.0.1:9301,127.0.0.1:9302,127.0.0.1:9303,127.0.0.1:9304,127.0.0.1:9192";
  three.start();
  for (int node = 0; node < 3; ++node) three.w.broker.stop_node(node, three.w.now);
  three.w.run_until([] { return false; }, 60000);
  const int opens = three.m.pool.transports[0].opens;
  three.w.run_until([] { return false; }, 60000);
  CHECK(three.m.pool.transports[0].opens - opens < 60 * 9);  // nine candidates a second and less
  CHECK(three.m.pool.transports[0].opens - opens > 60 * 4);
  for (int node = 0; node < 3; ++node) {
    three.w.broker.set_node_address(node, "127.0.0.1", 9192 + node);
    three.w.broker.start_node(node);
  }
  CHECK(three.reads_more(4000));
}

TEST_CASE("a broker is told whom we take it for, as soon as that is known") {
  Three three;
  three.start();
  CHECK(three.w.broker.introductions() >= 3);  // each leader, by its id
  three.m.options.metadata_cluster_check = false;
  REQUIRE(three.w.close(three.m));
  const int64_t before = three.w.broker.introductions();
  three.m.alive = true;
  REQUIRE(three.m.start({"t"}).ok());
  CHECK(three.reads_more());
  CHECK(three.w.broker.introductions() == before);
}

TEST_CASE("a cluster id longer than Kafka's own is not checked") {
  Three three;
  three.w.broker.set_cluster_id("a-cluster-of-23-letters");
  three.start();
  CHECK(three.w.broker.introductions() == 0);
}

TEST_CASE("two brokers have changed addresses: they say so, and are found again") {
  Three three;
  three.start();
  three.m.events.clear();
  three.w.broker.set_node_address(1, "127.0.0.1", 9094);
  three.w.broker.set_node_address(2, "127.0.0.1", 9093);
  hang_up_all(three.w);
  CHECK(three.reads_more(10000));
  CHECK(three.m.event_count(EventType::rebootstrapping) == 1);
}

TEST_CASE("the addresses belong to another cluster now: its records are read, once it is found") {
  Three three;
  three.start();
  three.w.broker.set_cluster_id("another");
  hang_up_all(three.w);
  CHECK(three.reads_more(10000));
  CHECK(three.m.has_event(EventType::rebootstrapping));
  CHECK(three.w.broker.violations().empty());
}

TEST_CASE("more leaders than there is room for: said once, the others are served") {
  World w(nodes(6));
  w.broker.add_topic("t", 6);
  for (int p = 0; p < 6; ++p) fill(w, "t", p, 1, 10);
  Member<> m;  // Tiny: room for four
  w.join(m);
  Watch watch(w, m);
  REQUIRE(m.start({"t"}).ok());
  CHECK(w.run_until([&] { return m.consumer().stats().acks_ok >= 40; }));
  w.run_until([] { return false; }, 60000);
  CHECK(m.consumer().stats().acks_ok == 40);
  CHECK(m.event_count(EventType::leaders_too_many) == 1);
  const kshare::Event* event = find(m, EventType::leaders_too_many);
  CHECK(event->value == 2);
  CHECK(watch.count(minibroker::kMetadata) < 40);
  // One of the two moves to a broker that is known.
  const int lost = w.broker.leader_of("t", 5);
  for (int p = 0; p < 6; ++p) {
    if (w.broker.leader_of("t", p) == lost) w.broker.move_leader("t", p, 0);
  }
  CHECK(w.run_until([&] { return m.consumer().stats().acks_ok == 50; }, 61000));
  CHECK(w.broker.violations().empty());
}

TEST_CASE("a host name longer than its limit is no room either") {
  World w;
  w.broker.add_topic("t", 1);
  fill(w, "t", 0, 1, 10);
  w.broker.set_node_address(0, std::string(100, 'h'), 9092);
  Member<> m;  // Tiny: 64 octets
  w.join(m);
  const std::string bootstrap = std::string(100, 'h') + ":9092";
  m.options.bootstrap_servers = bootstrap;
  REQUIRE(m.start({"t"}).ok());
  w.run_until([] { return false; }, 10000);
  CHECK(m.consumer().stats().records == 0);
  CHECK(m.consumer().status() == kshare::Status{Errc::too_long, 0});
  CHECK(m.consumer().last_error().find("host_bytes") != std::string_view::npos);
}

}  // namespace test_rebootstrap
