// SPDX-License-Identifier: Apache-2.0
// Topics, partitions, leaders and brokers: what is kept, what is freed, what happens when a table
// is full.
#include <doctest/doctest.h>

#include "../support/scenario.hpp"

namespace test_topology {

using kshare::kNoRow;
using kshare::Topology;
using kshare::Uuid;
using scenario::Desk;

namespace {

Uuid id(uint8_t fill) { return scenario::to_uuid(scenario::uuid_of(fill)); }

}  // namespace

TEST_CASE("assignment with ids the metadata does not know yet: the name comes with Metadata") {
  Desk desk;
  Topology& t = desk.tables.topology;
  REQUIRE(t.subscribe("orders"));
  desk.assign(7, 2, 1);
  CHECK(t.assigned_count() == 2);
  const uint32_t row = t.find_partition(id(7), 1);
  CHECK(t.topic_name(row).empty());
  CHECK(t.set_topic_id(t.find_subscribed("orders"), id(7)));
  CHECK(t.find_partition(id(7), 1) == row);
  CHECK(t.topic_name(row) == "orders");
  CHECK_FALSE(t.set_topic_id(t.find_subscribed("orders"), id(7)));  // known already
  uint32_t used = 0;
  for (uint32_t i = 0; i < t.topic_count(); ++i) used += t.topic(i).used ? 1u : 0u;
  CHECK(used == 1);
}

TEST_CASE("a topic deleted and created again keeps two rows while the old one is held") {
  Desk desk;
  Topology& t = desk.tables.topology;
  REQUIRE(t.subscribe("orders"));
  REQUIRE(t.set_topic_id(t.find_subscribed("orders"), id(1)));
  desk.assign(1, 1, 1);
  const uint32_t old = t.find_partition(id(1), 0);
  static_cast<void>(desk.settled(old, 1, 5, 6, kshare::Ack::accept));
  CHECK(t.set_topic_id(t.find_subscribed("orders"), id(2)));
  desk.assign(2, 1, 1);
  CHECK(t.find_partition(id(1), 0) == old);  // its acks can still be sent under the old id
  CHECK(t.topic_name(old) == "orders");
  CHECK(t.find_partition(id(2), 0) != old);
  CHECK(t.topic_name(t.find_partition(id(2), 0)) == "orders");
  CHECK(t.assigned_count() == 1);
  static_cast<void>(desk.tables.acks.settle(old, {}));
  t.collect();
  CHECK(t.find_topic(id(1)) == kNoRow);
  CHECK(t.topic_name(t.find_partition(id(2), 0)) == "orders");
}

TEST_CASE("a new id that the assignment names first is joined with the subscribed topic") {
  Desk desk;
  Topology& t = desk.tables.topology;
  REQUIRE(t.subscribe("orders"));
  REQUIRE(t.set_topic_id(t.find_subscribed("orders"), id(1)));
  desk.assign(1, 1, 1);
  t.partition(t.find_partition(id(1), 0)).sessions = 2;  // still in a share session
  desk.assign(2, 1, 1);
  CHECK(t.set_topic_id(t.find_subscribed("orders"), id(2)));
  CHECK(t.topic_name(t.find_partition(id(2), 0)) == "orders");
  CHECK(t.find_partition(id(1), 0) != kNoRow);
  t.partition(t.find_partition(id(1), 0)).sessions = 0;
  t.collect();
  CHECK(t.find_partition(id(1), 0) == kNoRow);
}

TEST_CASE("assignment with negative partitions or a zero id is no more than nothing to serve") {
  Desk desk;
  Topology& t = desk.tables.topology;
  t.begin_assignment();
  CHECK(t.assign(id(3), -1));
  CHECK(t.assign(Uuid{}, 0));
  CHECK(t.assign(id(3), INT32_MAX));
  CHECK(t.end_assignment());
  CHECK(t.assigned_count() == 1);
}

TEST_CASE("assignment with more partitions than the table holds: the rest is refused, one by one") {
  Desk desk;
  Topology& t = desk.tables.topology;
  const auto room = static_cast<int32_t>(t.partitions_max());
  t.begin_assignment();
  for (int32_t i = 0; i < room; ++i) CHECK(t.assign(id(1), i));
  CHECK_FALSE(t.assign(id(1), room));
  CHECK(t.assign(id(1), 3));  // there already
  CHECK(t.end_assignment());
  CHECK(t.assigned_count() == t.partition_count());
  CHECK_FALSE(t.has_leftovers());
  t.begin_assignment();  // the next one has other partitions: rows of the old one are in the way
  CHECK_FALSE(t.assign(id(2), 0));
  CHECK(t.assign(id(1), 0));
  CHECK(t.end_assignment());
  CHECK(t.has_leftovers());
  CHECK(t.assigned_count() == 1);
  t.begin_assignment();
  CHECK(t.assign(id(2), 0));  // now there is room
  CHECK(t.end_assignment());
}

TEST_CASE("rows are kept while a session, a lot or an ack needs them, and freed behind it") {
  Desk desk;
  Topology& t = desk.tables.topology;
  desk.assign(1, 3, 1);
  t.partition(t.find_partition(id(1), 1)).sessions = 1u << 1;
  const uint32_t held = t.find_partition(id(1), 2);
  static_cast<void>(desk.settled(held, 1, 0, 0, kshare::Ack::accept));
  t.clear_assignment();
  CHECK(t.assigned_count() == 0);
  CHECK(t.has_leftovers());
  CHECK(t.find_partition(id(1), 0) == kNoRow);
  CHECK(t.find_partition(id(1), 1) != kNoRow);
  CHECK(t.find_partition(id(1), 2) == held);
  t.partition(t.find_partition(id(1), 1)).sessions = 0;
  static_cast<void>(desk.tables.acks.settle(held, {}));
  t.collect();
  CHECK(t.find_topic(id(1)) == kNoRow);
}

TEST_CASE("names are packed together when the subscription changes") {
  Desk desk;
  Topology& t = desk.tables.topology;
  const std::string long_one(120, 'a');
  const std::string long_two(120, 'b');
  REQUIRE(t.subscribe(long_one));
  REQUIRE(t.subscribe(long_two));
  CHECK_FALSE(t.subscribe(std::string(17, 'c')));  // 256 octets in all
  CHECK(t.subscribe(std::string(16, 'c')));
  for (int i = 0; i < 50; ++i) {
    t.begin_subscription();
    REQUIRE(t.subscribe(i % 2 == 0 ? long_two : long_one));
    REQUIRE(t.subscribe("short" + std::to_string(i)));
    CHECK(t.name(t.find_subscribed("short" + std::to_string(i))) == "short" + std::to_string(i));
    CHECK(t.subscribed_count() == 2);
  }
}

TEST_CASE("names of topics that only wait for their last acks give way to new ones") {
  Desk desk;
  Topology& t = desk.tables.topology;
  const std::string old(200, 'o');
  REQUIRE(t.subscribe(old));
  REQUIRE(t.set_topic_id(t.find_subscribed(old), id(1)));
  desk.assign(1, 1, 1);
  static_cast<void>(desk.settled(t.find_partition(id(1), 0), 1, 0, 0, kshare::Ack::accept));
  t.begin_subscription();
  CHECK(t.subscribe(std::string(200, 'n')));
  CHECK(t.subscribed_count() == 1);
  CHECK(t.find_partition(id(1), 0) != kNoRow);
  CHECK(t.name(t.find_subscribed(std::string(200, 'n'))) == std::string(200, 'n'));
}

TEST_CASE("subscribing a name twice takes one row, a name known from before takes its own") {
  Desk desk;
  Topology& t = desk.tables.topology;
  REQUIRE(t.subscribe("a"));
  REQUIRE(t.subscribe("a"));
  CHECK(t.subscribed_count() == 1);
  REQUIRE(t.set_topic_id(t.find_subscribed("a"), id(1)));
  desk.assign(1, 1, 1);
  const uint32_t row = t.find_subscribed("a");
  t.begin_subscription();
  CHECK(t.find_subscribed("a") == kNoRow);
  REQUIRE(t.subscribe("a"));
  CHECK(t.find_subscribed("a") == row);
  CHECK(t.topic(row).id == id(1));
}

TEST_CASE("leader epochs only move forward, an unknown leader is said to be unknown") {
  Desk desk;
  Topology& t = desk.tables.topology;
  desk.assign(1, 1, -1);
  kshare::PartitionRow& row = t.partition(t.find_partition(id(1), 0));
  CHECK(t.any_leader_unknown());
  t.set_leader(row, 2, 5);
  CHECK(t.any_leader_unknown());  // its address is not known
  CHECK(t.note_broker(2, "host", 9092, true));
  CHECK_FALSE(t.any_leader_unknown());
  t.set_leader(row, 1, 4);
  CHECK(row.leader == 2);
  t.set_leader(row, 3, 5);
  CHECK(row.leader == 3);
  CHECK(t.any_leader_unknown());
}

TEST_CASE("more brokers than rows: leaders and the coordinator are kept, others make room") {
  Desk desk;
  Topology& t = desk.tables.topology;
  const auto rows = static_cast<int32_t>(t.broker_count());
  for (int32_t i = 0; i < rows; ++i) CHECK(t.note_broker(i, "host", 9000 + i, false));
  CHECK_FALSE(t.note_broker(100, "host", 9100, false));
  desk.assign(1, 1, 1);
  t.keep_broker(0);
  CHECK(t.note_broker(100, "host", 9100, true));
  CHECK(t.note_broker(101, "host", 9101, true));
  CHECK(t.find_broker(0) != kNoRow);
  CHECK(t.find_broker(1) != kNoRow);
  CHECK(t.find_broker(101) != kNoRow);
  CHECK(t.note_broker(1, "elsewhere", 9999, false));  // a leader with a new address
  CHECK(t.host(t.find_broker(1)) == "elsewhere");
  CHECK(t.broker(t.find_broker(1)).port == 9999);
  CHECK_FALSE(t.note_broker(-1, "host", 1, true));
  CHECK_FALSE(t.note_broker(5, "", 1, true));
  CHECK_FALSE(t.note_broker(5, "host", 0, true));
  CHECK_FALSE(t.note_broker(5, "host", 65536, true));
  CHECK_FALSE(t.note_broker(5, std::string(65, 'h'), 1, true));
}

TEST_CASE("more topics assigned than there are rows: those that have one are served") {
  Desk desk;
  Topology& t = desk.tables.topology;
  const auto rows = static_cast<uint8_t>(t.topic_count());
  t.begin_assignment();
  for (uint8_t topic = 1; topic <= rows; ++topic) CHECK(t.assign(id(topic), 0));
  CHECK_FALSE(t.assign(id(rows + 1), 0));
  CHECK(t.assign(id(1), 1));
  CHECK(t.end_assignment());
  CHECK(t.assigned_count() == rows + 1u);
  CHECK(t.find_topic(id(rows + 1)) == kNoRow);
}

TEST_CASE("a topic created again while no row is free keeps its old id until one is") {
  Desk desk;
  Topology& t = desk.tables.topology;
  REQUIRE(t.subscribe("orders"));
  const uint32_t row = t.find_subscribed("orders");
  REQUIRE(t.set_topic_id(row, id(1)));
  t.begin_assignment();
  for (uint8_t topic = 1; topic <= t.topic_count(); ++topic) CHECK(t.assign(id(topic), 0));
  CHECK(t.end_assignment());
  CHECK_FALSE(t.set_topic_id(row, id(100)));
  CHECK(t.topic(row).id == id(1));
  CHECK_FALSE(t.subscribe("others"));  // nor is there a row for another name
  CHECK(t.subscribed_count() == 1);
  t.begin_assignment();
  CHECK(t.assign(id(1), 0));
  CHECK(t.end_assignment());
  CHECK(t.set_topic_id(row, id(100)));
  CHECK(t.topic(row).id == id(100));
  CHECK(t.find_partition(id(1), 0) != kNoRow);
  CHECK(t.subscribe("others"));
}

TEST_CASE("the row of a partition stays while the application holds a record without a lock") {
  Desk desk;
  desk.assign(1, 1, 4);
  kshare::Tables& tables = desk.tables;
  const uint32_t row = tables.topology.find_partition(id(1), 0);
  const uint32_t lot = tables.lots.add(row, 1, 10, 10);
  tables.lots[lot].cursor = tables.lots[lot].walked = 11;
  const kshare::RecordId record = tables.acks.hand_out(lot, 10);
  tables.topology.clear_assignment();
  tables.lose_lot(lot, {kshare::Errc::lock_lost, 0});
  CHECK(tables.lots.free_count() == tables.lots.count());
  tables.topology.collect();
  CHECK(bool{tables.topology.partition(row).used});
  bool freed = false;
  const auto told = tables.acks.acknowledge(record, kshare::Ack::accept, freed);
  CHECK(told.code == kshare::Errc::lock_lost);
  tables.topology.collect();
  CHECK(tables.topology.partition_count() == 0);
}

}  // namespace test_topology
