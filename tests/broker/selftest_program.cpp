// SPDX-License-Identifier: Apache-2.0
// What:        the mini broker's own tests: what kshare_minibroker asks of it beyond unit tests.
// Flow:        hand-encoded requests (selftest_client.hpp), a TcpFront; linked with selftest.cpp.
// Memory:      plain containers.
// Valid until: does not apply.
// Errors:      doctest.
#include <doctest/doctest.h>

#include <array>

#include "selftest_client.hpp"
#include "tcp_front.hpp"

namespace selftest_program {

using namespace minibroker;
namespace {

using Counts = std::array<int64_t, 4>;

Counts counts(const Broker& b, int partition = 0) {
  const StateCounts n = b.counts("g", "t", partition);
  return {n.available, n.acquired, n.acknowledged, n.archived};
}

}  // namespace

TEST_CASE("records are counted by state, settled ones for ever") {
  Broker b{Config{}};
  const TopicPartition tp{b.add_topic("t", 2), 0};
  CHECK(counts(b) == Counts{0, 0, 0, 0});
  b.append("t", 0, some_records(10));
  b.append("t", 0, some_records(5));
  CHECK(counts(b) == Counts{15, 0, 0, 0});
  Client c(b, "g", "m");
  FetchOptions ten;
  ten.mode = 1;
  ten.max_records = 10;
  c.fetch({{tp, {}}}, 0, ten);
  CHECK(counts(b) == Counts{5, 10, 0, 0});
  c.ack({{tp, {{0, 3, {kAccept}}, {4, 5, {kReject}}, {6, 6, {kRelease}}}}}, 0);
  CHECK(counts(b) == Counts{6, 3, 4, 2});
  c.ack({{tp, {{7, 9, {kAccept}}}}}, 0);
  CHECK(counts(b) == Counts{6, 0, 7, 2});
  b.append("t", 0, some_records(1));
  CHECK(counts(b) == Counts{7, 0, 7, 2});
  b.set_log_start("t", 0, 12);  // 6 to 11 are gone, of which the group has seen only 6
  c.fetch({}, 0, ten);
  const Counts after = counts(b);
  CHECK(after[0] + after[1] == 4);
  CHECK(after[2] == 7);
  CHECK(counts(b, 1) == Counts{0, 0, 0, 0});
  CHECK(b.groups() == std::vector<std::string>{"g"});
}

TEST_CASE("offsets that compaction took away are in no state") {
  Broker b{Config{}};
  b.add_topic("t", 1);
  for (int i = 0; i < 3; ++i) b.append("t", 0, some_records(5));
  b.remove_batches("t", 0, 5, 9);
  CHECK(counts(b) == Counts{10, 0, 0, 0});
}

TEST_CASE("an answer is lost, its request was served") {
  Broker b{Config{}};
  const TopicPartition tp{b.add_topic("t", 1), 0};
  b.append("t", 0, some_records(10));
  Client c(b, "g", "m");
  b.lose_answers(kShareFetch, 1, false);
  CHECK(!c.fetch({{tp, {}}}, 0).any);
  CHECK(!b.closed(c.conn));
  CHECK(counts(b) == Counts{0, 10, 0, 0});
  c.epoch = 1;
  CHECK(c.ack({{tp, {{0, 9, {kAccept}}}}}, 0).parts.at(tp).ack_error == 0);
  CHECK(b.violations().empty());
}

TEST_CASE("an answer is cut off: the request was served, the connection is gone") {
  Broker b{Config{}};
  const TopicPartition tp{b.add_topic("t", 1), 0};
  b.append("t", 0, some_records(10));
  Client c(b, "g", "m");
  c.fetch({{tp, {}}}, 0);
  b.lose_answers(kShareAcknowledge, 1, true);
  CHECK(!c.ack({{tp, {{0, 4, {kAccept}}}}}, 0).any);
  CHECK(b.closed(c.conn));
  CHECK(counts(b) == Counts{5, 0, 5, 0});  // the session ended: the others are free
  b.disconnect(c.conn, 0);

  Client again(b, "g", "m");
  b.append("t", 0, some_records(1));
  b.lose_answers(kShareFetch, 1, true);
  FetchOptions wait;
  wait.max_wait = 500;
  wait.min_bytes = 1 << 20;
  CHECK(!again.fetch({{tp, {}}}, 0, wait).any);
  CHECK(!b.closed(again.conn));
  b.tick(500);
  CHECK(b.closed(again.conn));
  CHECK(counts(b) == Counts{6, 0, 5, 0});
  CHECK(b.violations().empty());
}

TEST_CASE("faults can be taken back") {
  Broker b{Config{}};
  b.add_topic("t", 1);
  Client c(b, "g", "m");
  b.fail_next(kShareGroupHeartbeat, 14, 5);
  b.lose_answers(kShareGroupHeartbeat, 5, false);
  b.clear_faults(kShareGroupHeartbeat);
  CHECK(c.heartbeat(0, {"t"}, 0).error == 0);
}

TEST_CASE("a leader moves without a hint") {
  Config config;
  config.nodes = 2;
  Broker b{config};
  const TopicPartition tp{b.add_topic("t", 1), 0};
  for (const bool hint : {true, false}) {
    const int from = b.leader_of("t", 0);
    Client c(b, "g", "m", from);
    c.fetch({{tp, {}}}, 0);
    b.move_leader("t", 0, 1 - from, hint);
    const Reply r = c.fetch({}, 0);
    CHECK(r.parts.at(tp).error == kNotLeaderOrFollower);
    CHECK(r.endpoints.size() == (hint ? 1 : 0));
    CHECK(r.parts.at(tp).leader_epoch == (hint ? 1 : 0));
  }
}

TEST_CASE("connections are known by node") {
  Config config;
  config.nodes = 2;
  Broker b{config};
  Client a(b, "g", "m", 0), z(b, "g", "n", 1);
  CHECK(b.connections(0) == std::vector<int>{a.conn});
  CHECK(b.connections(1) == std::vector<int>{z.conn});
  b.close_connection(a.conn, 0);
  CHECK(b.connections(-1) == std::vector<int>{z.conn});
}

TEST_CASE("the front's clock jumps when told to, and the Broker's with it") {
  Broker b{Config{}};
  const TopicPartition tp{b.add_topic("t", 1), 0};
  b.append("t", 0, some_records(3));
  TcpFront front(b);
  REQUIRE(front.ok());
  Client c(b, "g", "m");
  c.fetch({{tp, {}}}, front.now());
  CHECK(counts(b) == Counts{0, 3, 0, 0});
  front.advance(30000);
  CHECK(front.now() >= 30000);
  CHECK(counts(b) == Counts{3, 0, 0, 0});
}

}  // namespace selftest_program
