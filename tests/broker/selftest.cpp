// SPDX-License-Identifier: Apache-2.0
// What:        the mini broker's own tests: sessions, acquisition, acknowledgement, life of a lock.
// Flow:        hand-encoded requests through selftest_client.hpp.
// Memory:      plain containers.
// Valid until: does not apply.
// Errors:      doctest; selftest_cluster.cpp has the rest.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "selftest_client.hpp"

namespace selftest {

using namespace minibroker;

namespace {

struct Fixture {
  explicit Fixture(const Config& c = {}) : b(c), a(b, "g", "member-a"), z(b, "g", "member-z") {
    tp = {b.add_topic("t", 1), 0};
  }
  Broker b;
  Client a, z;
  TopicPartition tp;

  SharePart part() const { return {tp, {}}; }
  SharePart acks(std::vector<AckBatch> batches) const { return {tp, std::move(batches)}; }
  RecordState at(int64_t offset) const { return b.state_of("g", "t", 0, offset); }
};

Config small_locks() {
  Config c;
  c.lock_ms = 1000;
  c.delivery_limit = 3;
  return c;
}

FetchOptions record_limit(int n) {
  FetchOptions o;
  o.mode = 1;
  o.max_records = n;
  return o;
}

}  // namespace

TEST_CASE("crc32c and batches round trip") {
  CHECK(crc32c("123456789", 9) == 0xe3069283u);
  Rec r;
  r.key = "k";
  r.headers = {{"h", "1"}, {"n", std::nullopt}};
  r.offset_delta = 3;
  int64_t last = 0;
  const auto parsed = parse_batches(build_batch(100, {Rec{}, r}, {}, &last));
  REQUIRE(parsed.size() == 1);
  CHECK(last == 103);
  CHECK(parsed[0].crc_ok);
  CHECK(parsed[0].last == 103);
  REQUIRE(parsed[0].records.size() == 2);
  CHECK(parsed[0].records[1].offset == 103);
  CHECK(parsed[0].records[1].rec.key == "k");
  CHECK(!parsed[0].records[1].rec.value);
  CHECK(parsed[0].records[1].rec.headers[1].value == std::nullopt);
  BatchOptions o;
  o.corrupt_crc = true;
  CHECK(!parse_batches(build_batch(0, {r}, o))[0].crc_ok);
  CHECK(parse_batches(build_batch(0, {}, {}))[0].records.empty());
}

TEST_CASE("join, fetch, accept") {
  Fixture f;
  f.b.append("t", 0, some_records(10));
  const Reply joined = f.a.heartbeat(0, {"t"}, 0);
  CHECK(joined.parsed);
  CHECK(joined.error == 0);
  CHECK(joined.epoch > 0);
  CHECK(joined.assignment == std::vector<TopicPartition>{f.tp});
  const Reply r = f.a.fetch({f.part()}, 0);
  REQUIRE(r.parsed);
  CHECK(r.lock_ms == 30000);
  const PartReply& p = r.parts.at(f.tp);
  REQUIRE(p.acquired.size() == 1);
  CHECK(p.acquired[0].first == 0);
  CHECK(p.acquired[0].last == 9);
  CHECK(p.acquired[0].count == 1);
  CHECK(parse_batches(p.records)[0].records.size() == 10);
  CHECK(f.at(4).state == State::Acquired);
  CHECK(f.at(4).member == "member-a");
  const Reply done = f.a.ack({f.acks({{0, 9, {kAccept}}})}, 1);
  REQUIRE(done.parsed);
  CHECK(done.parts.at(f.tp).ack_error == 0);
  CHECK(f.b.start_offset("g", "t", 0) == 10);
  CHECK(f.b.violations().empty());
}

TEST_CASE("release comes back with count 2, not in the same request, and wakes nobody") {
  Fixture f;
  f.b.append("t", 0, some_records(10));
  f.a.fetch({f.part()}, 0);
  FetchOptions wait;
  wait.max_wait = 500;
  CHECK(!f.a.fetch({f.acks({{0, 4, {kRelease}}, {5, 9, {kAccept}}})}, 10, wait).any);
  CHECK(f.at(0).state == State::Available);
  CHECK(f.b.next_deadline() == 510);
  f.b.tick(509);
  CHECK(!f.a.receive_fetch().any);
  f.b.tick(510);
  const Reply r = f.a.receive_fetch();
  REQUIRE(r.any);
  ++f.a.epoch;
  CHECK(r.parts.at(f.tp).ack_error == 0);
  REQUIRE(r.parts.at(f.tp).acquired.size() == 1);  // found when the time was up
  CHECK(r.parts.at(f.tp).acquired[0].last == 4);
  CHECK(r.parts.at(f.tp).acquired[0].count == 2);
}

TEST_CASE("lock expiry and the delivery limit") {
  Fixture f(small_locks());
  f.b.append("t", 0, some_records(3));
  for (int16_t n = 1; n <= 3; ++n) {
    const int64_t now = n * 2000;
    f.b.tick(now);
    Reply r = f.a.fetch({f.part()}, now);
    REQUIRE(r.parts.count(f.tp) == 1);
    CHECK(r.parts.at(f.tp).acquired[0].count == n);
    if (n < 3) CHECK(f.b.next_deadline() == now + 1000);
    if (n < 3) continue;
    // The last attempts come one at a time.
    CHECK(r.parts.at(f.tp).acquired[0].last == 0);
    r = f.a.fetch({}, now);
    CHECK(r.parts.at(f.tp).acquired[0].first == 1);
    f.a.fetch({}, now);
  }
  f.b.tick(7000);
  CHECK(f.b.start_offset("g", "t", 0) == 3);
  CHECK(f.at(0).state == State::Archived);
}

TEST_CASE("a late acknowledgement is refused, one below the start is not") {
  Fixture f(small_locks());
  f.b.append("t", 0, some_records(4));
  f.a.fetch({f.part()}, 0);
  CHECK(f.a.ack({f.acks({{0, 3, {kAccept}}})}, 1000).parts.at(f.tp).ack_error == 121);
  f.b.set_log_start("t", 0, 4);
  f.a.fetch({}, 1000);
  CHECK(f.a.ack({f.acks({{0, 3, {kAccept}}})}, 1000).parts.at(f.tp).ack_error == 0);
  CHECK(f.b.violations().empty());
}

TEST_CASE("a log start that moves over what was open goes on behind what is settled") {
  Fixture f;
  for (int i = 0; i < 3; ++i) f.b.append("t", 0, some_records(10));
  f.b.remove_batches("t", 0, 10, 19);
  FetchOptions ten;
  ten.max_records = 10;
  f.a.fetch({f.part()}, 0, ten);
  f.a.fetch({}, 0, ten);
  f.a.ack({f.acks({{0, 9, {kRelease}}, {20, 29, {kAccept}}})}, 0);
  CHECK(f.b.start_offset("g", "t", 0) == 0);
  f.b.set_log_start("t", 0, 15);
  f.a.fetch({}, 0);
  CHECK(f.b.start_offset("g", "t", 0) == 30);
}

TEST_CASE("record_limit over one large batch") {
  Fixture f;
  f.b.append("t", 0, some_records(1000));
  for (int64_t first = 0; first < 1000; first += 300) {
    const Reply r = f.a.fetch({f.part()}, 0, record_limit(300));
    const PartReply& p = r.parts.at(f.tp);
    REQUIRE(p.acquired.size() == 1);
    CHECK(p.acquired[0].first == first);
    CHECK(p.acquired[0].last == std::min<int64_t>(first + 299, 999));
    CHECK(p.acquired[0].count == 1);
    CHECK(parse_batches(p.records)[0].records.size() == 1000);  // always the whole batch
  }
  CHECK(f.a.fetch({}, 0, record_limit(300)).parts.empty());
}

TEST_CASE("batch_optimized takes whole batches and cuts ranges at about BatchSize") {
  Fixture f;
  for (int i = 0; i < 10; ++i) f.b.append("t", 0, some_records(100));
  FetchOptions o;
  o.max_records = 450;
  o.batch_size = 150;
  const Reply r = f.a.fetch({f.part()}, 0, o);
  const std::vector<Acquired>& got = r.parts.at(f.tp).acquired;
  REQUIRE(got.size() == 3);
  CHECK(got[0].last == 199);
  CHECK(got[1].last == 399);
  CHECK(got[2].last == 499);
  CHECK(parse_batches(r.parts.at(f.tp).records).size() == 5);
}

TEST_CASE("in-flight limit") {
  Config c;
  c.max_record_locks = 100;
  Fixture f(c);
  for (int i = 0; i < 30; ++i) f.b.append("t", 0, some_records(10));
  CHECK(f.a.fetch({f.part()}, 0).parts.at(f.tp).acquired[0].last == 99);
  CHECK(f.a.fetch({}, 0).parts.empty());
  f.a.ack({f.acks({{10, 99, {kAccept}}})}, 0);
  CHECK(f.a.fetch({}, 0).parts.empty());  // the start has not moved
  f.a.ack({f.acks({{0, 9, {kAccept}}})}, 0);
  CHECK(f.a.fetch({}, 0).parts.at(f.tp).acquired[0].first == 100);
}

TEST_CASE("session epochs") {
  Fixture f;
  f.b.append("t", 0, some_records(4));
  CHECK(f.a.fetch({f.acks({{0, 1, {kAccept}}})}, 0).error == 42);
  CHECK(f.a.acknowledge(0, {}, 0).error == 123);
  CHECK(f.a.acknowledge(1, {}, 0).error == 122);
  CHECK(f.b.violations().size() == 3);
  CHECK(f.a.fetch({f.part()}, 0).error == 0);
  f.a.send_fetch(5, {}, 0);
  CHECK(f.a.receive_fetch().error == 123);
  CHECK(f.b.violations().size() == 4);
  CHECK(f.a.fetch({}, 0).error == 0);  // epoch 1 is still expected
  CHECK(f.a.acknowledge(2, {f.acks({{0, 1, {kAccept}}})}, 0).error == 0);
  CHECK(f.b.sessions(0) == 1);
  CHECK(f.a.acknowledge(-1, {f.acks({{2, 2, {kAccept}}})}, 0).parts.at(f.tp).ack_error == 0);
  CHECK(f.b.sessions(0) == 0);
  CHECK(f.at(2).state == State::Acknowledged);
  CHECK(f.at(3).state == State::Available);  // the rest is released
  CHECK(f.at(3).delivery_count == 1);
  CHECK(f.a.acknowledge(-1, {}, 0).error == 122);
  CHECK(f.b.violations().size() == 5);
}

TEST_CASE("a session the broker lost is no violation") {
  Fixture f;
  f.a.fetch({f.part()}, 0);
  f.b.drop_session("g", "member-a");
  CHECK(f.a.fetch({}, 0).error == 122);
  f.a.epoch = 0;
  CHECK(f.a.fetch({f.part()}, 0).error == 0);
  f.b.fail_next(kShareFetch, 123);
  CHECK(f.a.fetch({}, 0).error == 123);
  CHECK(f.b.violations().empty());
}

TEST_CASE("bad acknowledgement batches") {
  Fixture f;
  f.b.append("t", 0, some_records(100));
  f.a.fetch({f.part()}, 0);
  const std::vector<std::vector<AckBatch>> bad = {
      {{5, 4, {kAccept}}},           {{0, 5, {kAccept}}, {3, 9, {kAccept}}},
      {{0, 5, {}}},                  {{0, 5, {kAccept, kAccept}}},
      {{0, 0, {5}}},                 {{0, 0, {kRenew}}},
      {{0, 0, {kAccept}}, {100, 100, {kAccept}}},
  };
  for (size_t i = 0; i < bad.size(); ++i) {
    CHECK(f.a.ack({f.acks(bad[i])}, 0).parts.at(f.tp).ack_error == 42);
    CHECK(f.b.violations().size() == i + 1);
    CHECK(f.at(0).state == State::Acquired);
  }
  CHECK(f.a.ack({f.part()}, 0).parts.empty());  // no batches, no entry
}

TEST_CASE("121 is all or nothing, renewals stay") {
  Fixture f(small_locks());
  f.b.append("t", 0, some_records(10));
  f.a.fetch({f.part()}, 0);
  const auto ack = [&](Client& c, std::vector<AckBatch> batches, int64_t now, bool renew = false) {
    return c.ack({f.acks(std::move(batches))}, now, renew).parts.at(f.tp).ack_error;
  };
  CHECK(ack(f.a, {{4, 4, {kAccept}}}, 0) == 0);
  CHECK(ack(f.a, {{0, 2, {kAccept}}, {4, 5, {kAccept}}}, 0) == 121);
  CHECK(f.at(0).state == State::Acquired);
  CHECK(ack(f.a, {{0, 2, {kGap, kReject, kRelease}}}, 0) == 0);
  CHECK(f.at(0).state == State::Archived);
  CHECK(f.at(2).state == State::Available);
  CHECK(ack(f.a, {{2, 2, {kAccept}}}, 500) == 121);
  CHECK(ack(f.a, {{3, 3, {kRenew}}, {4, 4, {kAccept}}}, 500, true) == 121);
  CHECK(f.at(3).lock_end == 1500);  // renewed all the same
  CHECK(ack(f.a, {{6, 9, {kRenew, kAccept, kRenew, kRelease}}}, 600, true) == 0);
  CHECK(f.at(6).lock_end == 1600);
  const Reply other = f.z.fetch({f.part()}, 600);
  REQUIRE(other.parts.at(f.tp).acquired.size() == 2);  // 2 and 9
  CHECK(other.parts.at(f.tp).acquired[1].first == 9);
  CHECK(ack(f.z, {{3, 3, {kAccept}}}, 600) == 121);  // another member's
  f.b.tick(1000);
  CHECK(f.at(5).state == State::Available);
  CHECK(f.at(3).state == State::Acquired);
  CHECK(f.b.violations().empty());
}

TEST_CASE("renewal on a fetch brings results only, and needs zero limits") {
  Fixture f(small_locks());
  f.b.append("t", 0, some_records(10));
  f.b.append("t", 0, some_records(10));
  f.a.fetch({f.part()}, 0, record_limit(10));
  FetchOptions o;
  o.renew = true;
  CHECK(f.a.fetch({f.acks({{0, 9, {kRenew}}})}, 500, o).error == 42);
  CHECK(f.b.violations().size() == 1);
  o.max_bytes = o.max_records = o.min_bytes = 0;
  const Reply r = f.a.fetch({f.acks({{0, 9, {kRenew}}})}, 500, o);
  CHECK(r.error == 0);
  CHECK(r.parts.at(f.tp).ack_error == 0);
  CHECK(r.parts.at(f.tp).acquired.empty());
  CHECK(f.at(0).lock_end == 1500);
  f.b.group_settings("g").renew_enabled = false;
  CHECK(f.a.fetch({f.acks({{0, 9, {kRenew}}})}, 500, o).parts.at(f.tp).ack_error == 121);
}

TEST_CASE("long poll: data, time, minimum bytes") {
  Fixture f;
  FetchOptions o;
  o.max_wait = 500;
  f.a.send_fetch(0, {f.part()}, 0, o);
  CHECK(f.b.take_output(f.a.conn).empty());
  CHECK(f.b.next_deadline() == 500);
  f.b.tick(100);
  f.b.append("t", 0, some_records(1));
  Reply r = f.a.receive_fetch();
  CHECK(r.parts.at(f.tp).acquired.size() == 1);
  o.min_bytes = 10000;
  f.a.send_fetch(1, {}, 200, o);
  f.b.append("t", 0, some_records(1));
  CHECK(!f.a.receive_fetch().any);
  f.b.tick(700);
  r = f.a.receive_fetch();
  CHECK(r.parts.at(f.tp).acquired.size() == 1);
  CHECK(f.b.next_deadline() == 30100);
  f.a.send_fetch(2, {}, 700, o);
  f.a.send_fetch(3, {}, 700, o);  // must wait for the answer
  CHECK(f.b.violations().size() == 1);
  f.b.tick(1200);
  CHECK(f.a.receive_fetch().any);
  CHECK(!f.a.receive_fetch().any);  // served one after the other
  f.b.tick(1700);
  CHECK(f.a.receive_fetch().any);
}

TEST_CASE("twenty thousand offsets, a hundred at a time") {
  Config c;
  c.max_record_locks = 1000000;
  Fixture f(c);
  f.b.append("t", 0, std::vector<Rec>(20000));
  FetchOptions o = record_limit(100);
  for (int64_t first = 0; first < 20000; first += 100) {
    std::vector<SharePart> parts;
    parts.push_back(f.part());
    if (first > 0) parts[0].acks = {{first - 100, first - 1, {kAccept}}};
    if (first == 100) f.a.ack({parts}, 0), parts[0].acks.clear();
    const Reply r = f.a.fetch(parts, 0, o);
    REQUIRE(r.parts.at(f.tp).acquired.size() == 1);
    REQUIRE(r.parts.at(f.tp).acquired[0].first == first);
  }
  CHECK(f.b.start_offset("g", "t", 0) == 19900);
}

}  // namespace selftest
