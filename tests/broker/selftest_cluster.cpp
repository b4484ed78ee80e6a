// SPDX-License-Identifier: Apache-2.0
// What:        the mini broker's own tests: nodes, membership, connections, plain reads, faults.
// Flow:        hand-encoded requests (selftest_client.hpp); linked with selftest.cpp.
// Memory:      plain containers.
// Valid until: does not apply.
// Errors:      doctest.
#include <doctest/doctest.h>

#include "selftest_client.hpp"

namespace selftest_cluster {

using namespace minibroker;
namespace {

Config nodes(int n) {
  Config c;
  c.nodes = n;
  return c;
}

std::string metadata_by_name(const std::vector<std::string>& names) {
  Writer w;
  w.array(names.size());
  for (const std::string& n : names) w.uuid(Uuid{}).compact(n).tags();
  return w.boolean(true).boolean(false).tags().out;
}

std::string fetch_body(const TopicPartition& tp, int64_t offset, int32_t max_bytes) {
  Writer w;
  w.i32(-1).i32(0).i32(1).i32(max_bytes).i8(0).i32(0).i32(-1).array(1).uuid(tp.first).array(1);
  w.i32(tp.second).i32(-1).i64(offset).i32(-1).i64(-1).i32(max_bytes).tags().tags();
  return w.array(0).compact("").tags().out;
}

struct Read {
  int16_t error;
  std::string records;
};
Read read_again(Client& c, const TopicPartition& tp, int64_t offset, int32_t max_bytes = 1024) {
  c.send(kFetch, 13, fetch_body(tp, offset, max_bytes), 0);
  const std::string body = c.receive();
  Reader r(body);
  r.bytes(4 + 2 + 4 + 1 + 16 + 1 + 4);
  Read a{};
  a.error = r.i16();
  r.bytes(8 + 8 + 8 + 1 + 4);
  a.records = r.nullable_string(true).value_or("");
  r.tags();
  r.tags();
  r.tags();
  CHECK((a.error != 0 || r.done()));
  return a;
}

}  // namespace

TEST_CASE("malformed requests close the connection") {
  Broker b{Config{}};
  const std::vector<std::string> bad = {
      std::string("\x7f\xff\xff\xff", 4),
      framed("\x01"),
      framed(Writer().i16(500).i16(0).i32(1).i16(-1).out),
      framed(Writer().i16(kShareFetch).i16(1).i32(1).i16(-1).tags().compact("g").out),
      framed(Writer().i16(kApiVersions).i16(0).i32(1).i16(-1).i8(1).out),
  };
  for (const std::string& bytes : bad) {
    const int conn = b.connect(0, 0);
    b.input(conn, bytes.data(), bytes.size(), 0);
    CHECK(b.closed(conn));
  }
  CHECK(b.violations().size() == bad.size());
}

TEST_CASE("requests in pieces of one byte") {
  Broker b{Config{}};
  Client c(b, "g", "m");
  const std::string bytes = c.request(kMetadata, 12, metadata_by_name({"none"}));
  for (const char& byte : bytes) b.input(c.conn, &byte, 1, 0);
  CHECK(!c.receive().empty());
}

TEST_CASE("Metadata: leaders, unknown names, down nodes") {
  Broker b{nodes(3)};
  b.add_topic("t", 3);
  Client c(b, "g", "m");
  b.stop_node(2, 0);
  c.send(kMetadata, 12, metadata_by_name({"t", "none"}), 0);
  const std::string body = c.receive();
  Reader r(body);
  r.i32();
  REQUIRE(r.array(true) == 2);  // brokers
  for (int i = 0; i < 2; ++i) {
    CHECK(r.i32() == i);
    CHECK(r.string(true) == "127.0.0.1");
    CHECK(r.i32() == 9092 + i);
    r.nullable_string(true);
    r.tags();
  }
  r.nullable_string(true);
  r.i32();
  REQUIRE(r.array(true) == 2);
  CHECK(r.i16() == 0);
  CHECK(r.string(true) == "t");
  CHECK(r.uuid() == b.topic_id("t"));
  r.boolean();
  REQUIRE(r.array(true) == 3);
  for (int p = 0; p < 3; ++p) {
    CHECK(r.i16() == (p == 2 ? 5 : 0));
    CHECK(r.i32() == p);
    CHECK(r.i32() == (p == 2 ? -1 : p));
    r.i32();
    for (int list = 0; list < 3; ++list) {
      for (int64_t n = r.array(true); n > 0; --n) r.i32();
    }
    r.tags();
  }
  r.i32();
  r.tags();
  CHECK(r.i16() == 3);
  CHECK(r.string(true) == "none");
  r.bytes(16 + 1 + 1 + 4 + 1 + 1);
  CHECK(r.done());
}

TEST_CASE("FindCoordinator and a coordinator that moves") {
  Broker b{nodes(2)};
  b.add_topic("t", 1);
  Client at0(b, "g", "m", 0);
  Client at1(b, "g", "m", 1);
  CHECK(at0.heartbeat(0, {"t"}, 0).error == 0);
  b.move_coordinator(1);
  CHECK(at0.heartbeat(1, {}, 0).error == 16);
  at0.send(kFindCoordinator, 4, Writer().i8(0).array(1).compact("g").tags().out, 0);
  const std::string body = at0.receive();
  Reader r(body);
  r.i32();
  r.array(true);
  CHECK(r.string(true) == "g");
  CHECK(r.i32() == 1);
  CHECK(at1.heartbeat(1, {}, 0).error == 0);
}

TEST_CASE("membership: sharing, leaving, fencing, time-out") {
  Broker b{Config{}};
  b.add_topic("t", 3);
  Client one(b, "g", "1"), two(b, "g", "2"), three(b, "g", "3"), four(b, "g", "4");
  Reply r = one.heartbeat(0, {"t"}, 0);
  const int32_t first = r.epoch;
  CHECK(r.assignment.size() == 3);
  const size_t half = two.heartbeat(0, {"t"}, 0).assignment.size();
  CHECK(half + one.heartbeat(first, {}, 0).assignment.size() == 3);
  CHECK(!one.heartbeat(first, {}, 0).assigned);  // the previous epoch is good, nothing is new
  three.heartbeat(0, {"t"}, 10000);
  CHECK(four.heartbeat(0, {"t"}, 10000).assignment.size() == 1);
  CHECK(one.heartbeat(99, {}, 10000).error == 110);
  CHECK(one.heartbeat(0, {}, 10000).error == 42);
  CHECK(one.heartbeat(-1, {}, 10000).error == 0);
  CHECK(one.heartbeat(-1, {}, 10000).error == 25);
  b.tick(46000);  // two was silent
  CHECK(two.heartbeat(1, {}, 46000).error == 25);
  CHECK(b.group_coordinator().members("g").size() == 2);
  CHECK(Client(b, "none", "m").heartbeat(3, {}, 46000).error == 69);
  CHECK(b.violations().size() == 1);
}

TEST_CASE("assignments are computed late, as from 4.3 on") {
  Config c;
  c.assignment_delay_ms = 1000;
  Broker b{c};
  b.add_topic("t", 1);
  Client m(b, "g", "m");
  Reply r = m.heartbeat(0, {"t"}, 0);
  CHECK(r.assigned);
  CHECK(r.assignment.empty());
  r = m.heartbeat(r.epoch, {}, 999);
  CHECK(!r.assigned);
  r = m.heartbeat(r.epoch, {}, 1000);
  CHECK(r.assignment.size() == 1);
}

TEST_CASE("leader moves: error 6 with a hint, acks get 3, acquisitions are forgotten") {
  Broker b{nodes(2)};
  const TopicPartition tp{b.add_topic("t", 1), 0};
  b.append("t", 0, some_records(10));
  Client old(b, "g", "m", 0), next(b, "g", "m", 1);
  CHECK(next.fetch({{tp, {}}}, 0).parts.at(tp).error == 6);
  old.fetch({{tp, {}}}, 0);
  old.ack({{tp, {{0, 1, {kAccept}}, {3, 3, {kRelease}}}}}, 0);
  b.move_leader("t", 0, 1);
  CHECK(old.ack({{tp, {{4, 4, {kAccept}}}}}, 0).parts.at(tp).ack_error == 3);
  const Reply r = old.fetch({}, 0);
  CHECK(r.parts.at(tp).error == 6);
  CHECK(r.parts.at(tp).leader == 1);
  CHECK(r.parts.at(tp).leader_epoch == 1);
  REQUIRE(r.endpoints.size() == 1);
  CHECK(r.endpoints[0].port == 9093);
  const Reply n = next.fetch({{tp, {}}}, 0);
  const std::vector<Acquired>& got = n.parts.at(tp).acquired;
  REQUIRE(got.size() == 3);  // 2, 3 a second time, 4 and on
  CHECK(got[0].first == 2);
  CHECK(got[1].first == 3);
  CHECK(got[1].count == 2);
  CHECK(got[2].count == 1);
  CHECK(got[2].last == 9);
}

TEST_CASE("stale connections: the late end of the old one releases nothing") {
  for (const bool modern : {true, false}) {
    Config c;
    c.stale_connections = modern;
    Broker b{c};
    const TopicPartition tp{b.add_topic("t", 1), 0};
    b.append("t", 0, some_records(10));
    Client old(b, "g", "m");
    old.fetch({{tp, {}}}, 0);
    Client again(b, "g", "m");
    again.fetch({{tp, {}}}, 1);
    CHECK(again.ack({{tp, {{0, 4, {kAccept}}}}}, 2).parts.at(tp).ack_error == 0);
    b.disconnect(old.conn, 3);
    CHECK(b.sessions(0) == (modern ? 1 : 0));
    CHECK(b.state_of("g", "t", 0, 5).state == (modern ? State::Acquired : State::Available));
    b.disconnect(again.conn, 4);
    CHECK(b.sessions(0) == 0);
    CHECK(b.state_of("g", "t", 0, 5).state == State::Available);
    CHECK(b.state_of("g", "t", 0, 5).delivery_count == 1);
  }
}

TEST_CASE("answers list only what a broker lists; forgotten partitions are not released") {
  Broker b{Config{}};
  const Uuid id = b.add_topic("t", 3);
  const TopicPartition p0{id, 0}, p1{id, 1}, p2{id, 2};
  b.append("t", 0, some_records(10));
  Client c(b, "g", "m");
  CHECK(c.fetch({{p0, {}}, {p1, {}}}, 0).parts.size() == 2);
  Reply r = c.fetch({{p2, {}}}, 0);
  CHECK(r.parts.size() == 1);  // new in the session, once
  CHECK(r.parts.count(p2) == 1);
  CHECK(c.fetch({}, 0).parts.empty());
  b.append("t", 1, some_records(1));
  r = c.fetch({{p0, {{0, 4, {kAccept}}}}}, 0);
  CHECK(r.parts.at(p0).ack_error == 0);
  CHECK(r.parts.at(p0).records.empty());
  CHECK(r.parts.at(p1).acquired.size() == 1);
  Client other(b, "g", "n");
  other.fetch({{p2, {}}}, 0);
  c.fetch({}, 0, {}, {p0});
  c.acknowledge(-1, {}, 0);
  CHECK(b.state_of("g", "t", 0, 5).state == State::Acquired);
  CHECK(b.state_of("g", "t", 1, 0).state == State::Available);
  b.disconnect(other.conn, 0);  // the last session of the group: nothing is left in memory
  CHECK(b.state_of("g", "t", 0, 5).state == State::Available);
  CHECK(b.state_of("g", "t", 0, 5).delivery_count == 0);
}

TEST_CASE("MaxRecords is a total; MaxBytes is divided, the first batch may be larger") {
  Broker b{Config{}};
  const Uuid id = b.add_topic("t", 2);
  const TopicPartition p0{id, 0}, p1{id, 1};
  for (int p = 0; p < 2; ++p) b.append("t", p, some_records(100, std::string(100, 'x')));
  FetchOptions o;
  o.max_records = 50;
  Client c(b, "g", "m");
  CHECK(c.fetch({{p0, {}}, {p1, {}}}, 0, o).parts.at(p1).acquired.empty());
  o.max_records = 500;
  o.max_bytes = 100;
  Client d(b, "h", "m");
  const Reply r = d.fetch({{p0, {}}, {p1, {}}}, 0, o);
  CHECK(r.parts.at(p0).acquired.size() == 1);
  CHECK(r.parts.at(p1).acquired.empty());
  o.max_records = 0;
  Client e(b, "i", "m");
  o.max_wait = 500;
  CHECK(e.fetch({{p0, {}}}, 0, o).parts.empty());  // at once
}

TEST_CASE("plain Fetch reads again and changes nothing") {
  Broker b{Config{}};
  const TopicPartition tp{b.add_topic("t", 1), 0};
  b.append("t", 0, some_records(100, std::string(50, 'x')));
  b.append("t", 0, some_records(100, std::string(50, 'x')));
  Client c(b, "g", "m");
  c.fetch({{tp, {}}}, 0);
  for (const int64_t offset : {0, 36, 99}) {
    const auto batches = parse_batches(read_again(c, tp, offset).records);
    REQUIRE(batches.size() == 1);
    CHECK(batches[0].base == 0);
    CHECK(batches[0].crc_ok);
  }
  const Read more = read_again(c, tp, 100, 7000);
  CHECK(parse_batches(more.records).size() == 1);
  const Read cut = read_again(c, tp, 99, 7000);
  CHECK(cut.records.size() == 7000);  // the next batch in part
  CHECK(read_again(c, tp, 201).error == 1);
  b.set_log_start("t", 0, 150);
  CHECK(read_again(c, tp, 120).error == 1);
  CHECK(c.ack({{tp, {{150, 199, {kAccept}}}}}, 0).parts.at(tp).ack_error == 0);
  CHECK(b.violations().empty());
}

TEST_CASE("injected errors, throttling, a hidden answer") {
  Broker b{Config{}};
  const TopicPartition tp{b.add_topic("t", 1), 0};
  b.append("t", 0, some_records(10));
  Client c(b, "g", "m");
  b.fail_partition("t", 0, 74, 2);
  CHECK(c.fetch({{tp, {}}}, 0).parts.at(tp).error == 74);
  CHECK(c.fetch({}, 0).endpoints.size() == 1);
  b.hide_next_fetch(1, 250);
  const Reply hidden = c.fetch({}, 0);
  CHECK(hidden.parts.empty());
  CHECK(hidden.throttle == 250);
  CHECK(b.state_of("g", "t", 0, 0).state == State::Acquired);
  b.fail_acks("t", 0, 15, 1);
  CHECK(c.ack({{tp, {{0, 4, {kAccept}}}}}, 0).parts.at(tp).ack_error == 15);
  CHECK(c.ack({{tp, {{0, 4, {kAccept}}}}}, 0).parts.at(tp).ack_error == 0);
  b.fail_next(kShareGroupHeartbeat, 14, 2);
  CHECK(c.heartbeat(0, {"t"}, 0).error == 14);
  CHECK(c.heartbeat(0, {"t"}, 0).error == 14);
  CHECK(c.heartbeat(0, {"t"}, 0).error == 0);
  b.set_share_enabled(false);
  CHECK(c.fetch({}, 0).error == 35);
}

TEST_CASE("session limit: refused late") {
  Config config;
  config.max_share_sessions = 1;
  Broker b{config};
  const TopicPartition tp{b.add_topic("t", 1), 0};
  Client one(b, "g", "1"), two(b, "g", "2");
  CHECK(one.fetch({{tp, {}}}, 0).error == 0);
  FetchOptions o;
  o.max_wait = 100;
  CHECK(!two.fetch({{tp, {}}}, 0, o).any);
  b.tick(100);
  CHECK(two.receive_fetch().error == 133);
}

TEST_CASE("aborted data, holes, control batches in a read_committed group") {
  Config config;
  config.read_committed = true;
  Broker b{config};
  const TopicPartition tp{b.add_topic("t", 1), 0};
  BatchOptions aborted;
  aborted.transactional = aborted.aborted = true;
  BatchOptions marker;
  marker.transactional = marker.control = true;
  b.append("t", 0, some_records(5));
  b.append("t", 0, some_records(5), aborted);
  b.append("t", 0, {control_record(false)}, marker);
  b.append("t", 0, some_records(5));
  Client c(b, "g", "m");
  const Reply r = c.fetch({{tp, {}}}, 0);
  const std::vector<Acquired>& got = r.parts.at(tp).acquired;
  REQUIRE(got.size() == 2);
  CHECK(got[0].last == 4);
  CHECK(got[1].first == 10);  // the marker stays in it
  CHECK(got[1].last == 15);
}

TEST_CASE("a node stops and comes back") {
  Broker b{nodes(2)};
  const TopicPartition tp{b.add_topic("t", 1), 0};
  b.append("t", 0, some_records(5));
  Client c(b, "g", "m");
  c.fetch({{tp, {}}}, 0);
  b.stop_node(0, 1);
  CHECK(b.closed(c.conn));
  CHECK(b.connect(0, 1) == -1);
  CHECK(b.leader_of("t", 0) == -1);
  b.start_node(0);
  CHECK(b.leader_of("t", 0) == 0);
  Client again(b, "g", "m");
  CHECK(again.fetch({{tp, {}}}, 2).parts.at(tp).acquired[0].count == 1);  // it was not persisted
}

}  // namespace selftest_cluster
