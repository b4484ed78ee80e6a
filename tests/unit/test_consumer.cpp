// SPDX-License-Identifier: Apache-2.0
// The whole consumer against the mini broker, in virtual time: the first things one expects of it.
#include <doctest/doctest.h>

#include "../support/scene.hpp"

namespace test_consumer {

using world::check_clean;
using world::Member;
using world::World;

namespace {

std::vector<minibroker::Rec> records(int count, size_t bytes = 20) {
  std::vector<minibroker::Rec> all;
  for (int i = 0; i < count; ++i) {
    minibroker::Rec rec;
    rec.value = std::to_string(i) + ":" + std::string(bytes, 'x');
    all.push_back(rec);
  }
  return all;
}

void fill(World& w, const std::string& topic, int partition, int batches, int per_batch,
          size_t bytes = 20) {
  for (int i = 0; i < batches; ++i) w.broker.append(topic, partition, records(per_batch, bytes));
}

}  // namespace

TEST_CASE("records of a topic are handed out once each and accepted") {
  World w;
  w.broker.add_topic("orders", 2);
  fill(w, "orders", 0, 10, 5);
  fill(w, "orders", 1, 1, 50);
  Member<> m;
  w.join(m);
  REQUIRE(m.start({"orders"}).ok());
  CHECK(w.run_until([&] { return m.consumer().stats().acks_ok == 100; }));
  CHECK(m.seen.size() == 100);
  CHECK(m.times().size() == 100);
  CHECK(w.close(m));
  CHECK(m.consumer().status().ok());
  CHECK(w.broker.start_offset("group", "orders", 0) == 50);
  CHECK(w.broker.start_offset("group", "orders", 1) == 50);
  CHECK(w.broker.sessions(0) == 0);
  check_clean(w);
}

TEST_CASE("a 5,000-record batch passes through 2 KiB slots, each record once, every count 1") {
  using kshare::AcquireMode;
  for (const auto mode : {AcquireMode::batch_optimized, AcquireMode::record_limit}) {
    World w;
    w.broker.add_topic("big", 1);
    w.broker.append("big", 0, records(5000, 90));
    Member<> m;
    m.options.acquire_mode = mode;
    w.join(m);
    REQUIRE(m.start({"big"}).ok());
    CHECK(w.run_until([&] { return m.consumer().stats().acks_ok == 5000; }, 600000));
    CHECK(m.times().size() == 5000);
    CHECK(m.seen.size() == 5000);
    for (const auto& record : m.seen) CHECK(record.count == 1);
    CHECK(m.consumer().stats().reread > 0);
    check_clean(w);
  }
}

TEST_CASE("any size of pieces gives the same") {
  for (uint32_t piece : {1u, 7u, 64u}) {
    World w;
    w.broker.add_topic("t", 1);
    fill(w, "t", 0, 3, 10, 300);
    Member<> m;
    w.join(m);
    for (auto& transport : m.pool.transports) transport.piece = transport.write_piece = piece;
    REQUIRE(m.start({"t"}).ok());
    CHECK(w.run_until([&] { return m.consumer().stats().acks_ok == 30; }));
    CHECK(m.seen.size() == 30);
    check_clean(w);
  }
}

TEST_CASE("connections refused while they are being made: tried again with back-off, then used") {
  World w;
  w.broker.add_topic("t", 1);
  fill(w, "t", 0, 1, 5);
  Member<> m;
  w.join(m);
  for (auto& transport : m.pool.transports) transport.refuse_late = true;
  REQUIRE(m.start({"t"}).ok());
  w.run_for(10000);
  CHECK(m.pool.transports[0].opens > 5);
  CHECK(m.pool.transports[0].opens < 60);
  CHECK(m.consumer().status() == kshare::Status{kshare::Errc::connect_failed, 111});
  CHECK(m.has_event(kshare::EventType::connection_failed));
  CHECK_FALSE(m.has_event(kshare::EventType::disconnected));
  for (auto& transport : m.pool.transports) transport.refuse_late = false;
  CHECK(w.run_until([&] { return m.consumer().stats().acks_ok == 5; }, 5000));
  CHECK(m.consumer().status().ok());
}

}  // namespace test_consumer
