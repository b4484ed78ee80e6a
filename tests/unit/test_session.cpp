// SPDX-License-Identifier: Apache-2.0
// The share session alone: epochs, which partitions a request lists and forgets, where acks may go.
#include <doctest/doctest.h>

#include "../support/scenario.hpp"

namespace test_session {

using kshare::Ack;
using kshare::AckKind;
using kshare::FetchSize;
using kshare::Instant;
using kshare::Session;
using minibroker::ShareRequest;
using scenario::Desk;

namespace {

constexpr int32_t kNode = 4;
const FetchSize kSome{500, 2048, 10};

// A session on link 1 to broker 4, and its requests as a broker reads them.
struct Talk {
  Desk desk;
  Session session;
  Instant now{1000};

  explicit Talk(int32_t partitions = 3) {
    session.attach(1);
    desk.assign(1, partitions, kNode);
  }
  uint32_t row(int32_t index, uint8_t topic = 1) {
    return desk.tables.topology.find_partition(scenario::to_uuid(scenario::uuid_of(topic)), index);
  }
  kshare::PartitionRow& partition(int32_t index) {
    return desk.tables.topology.partition(row(index));
  }
  ShareRequest fetch(uint32_t window = 512, FetchSize size = kSome) {
    std::vector<uint8_t> bytes(window);
    kshare::Writer out{bytes.data(), window};
    session.encode_fetch(out, 2, desk.tables, kNode, size, now);
    REQUIRE(out.ok());
    minibroker::Reader in(bytes.data(), out.size());
    const ShareRequest q = minibroker::decode_share_fetch(in, 2);
    CHECK(in.done());
    check_listed_once(q);
    return q;
  }
  ShareRequest acknowledge(bool final, uint32_t window = 512, AckKind kind = AckKind::terminal,
                           int16_t version = 2) {
    std::vector<uint8_t> bytes(window);
    kshare::Writer out{bytes.data(), window};
    session.encode_acknowledge(out, version, desk.tables, kind, final, now);
    REQUIRE(out.ok());
    minibroker::Reader in(bytes.data(), out.size());
    const ShareRequest q = minibroker::decode_share_acknowledge(in, version);
    CHECK(in.done());
    check_listed_once(q);
    return q;
  }
  ShareRequest renew(uint32_t window = 512) { return acknowledge(false, window, AckKind::renewal); }
  bool has(AckKind kind) const { return session.has_acks(desk.tables, kind, now); }
  // One record of a lot of its own is with the application, which wants more time for it.
  kshare::RecordId renewing(int32_t index, uint32_t link, int64_t offset) {
    const uint32_t lot = desk.tables.lots.add(row(index), link, offset, offset);
    desk.tables.lots[lot].lock_min = desk.tables.lots[lot].lock_max = kshare::kNever;
    desk.tables.lots[lot].cursor = desk.tables.lots[lot].walked = offset + 1;
    const kshare::RecordId id = desk.tables.acks.hand_out(lot, offset);
    bool freed = false;
    CHECK(desk.tables.acks.acknowledge(id, Ack::renew, freed).ok());
    return id;
  }
  static void check_listed_once(const ShareRequest& q) {
    std::set<minibroker::TopicPartition> seen;
    for (const auto& part : q.parts) CHECK(seen.insert(part.tp).second);
    std::set<minibroker::TopicPartition> forgotten;
    for (const auto& tp : q.forgotten) CHECK(forgotten.insert(tp).second);
  }
  void open() {
    CHECK(fetch().epoch == 0);
    session.succeeded(desk.tables);
  }
};

}  // namespace

TEST_CASE("session epochs 0, 1, 2, up to the largest, then 1, for both kinds of request") {
  static_assert(Session::epoch_after(0) == 1, "");
  static_assert(Session::epoch_after(INT32_MAX - 1) == INT32_MAX, "");
  static_assert(Session::epoch_after(INT32_MAX) == 1, "");
  Talk talk;
  for (int32_t epoch = 0; epoch < 5; ++epoch) {
    CHECK(talk.fetch().epoch == epoch);
    talk.session.succeeded(talk.desk.tables);
  }
  CHECK(talk.acknowledge(false).epoch == 5);
  talk.session.succeeded(talk.desk.tables);
  CHECK(talk.fetch().epoch == 6);
}

TEST_CASE("every partition is listed once, when it is new to the session") {
  Talk talk;
  CHECK(talk.fetch().parts.size() == 3);
  talk.session.succeeded(talk.desk.tables);
  const ShareRequest second = talk.fetch();
  CHECK(second.parts.empty());
  CHECK(second.forgotten.empty());
  CHECK(second.max_records == 10);
  CHECK(second.max_wait_ms == 500);
  talk.session.succeeded(talk.desk.tables);
  talk.desk.assign(1, 5, kNode);
  CHECK(talk.fetch().parts.size() == 2);
}

TEST_CASE("a forgotten partition is forgotten, once") {
  Talk talk;
  talk.open();
  talk.desk.assign(1, 2, kNode);  // the third is no longer ours
  CHECK(talk.session.has_to_forget(talk.desk.tables, kNode, talk.now));
  const ShareRequest q = talk.fetch();
  REQUIRE(q.forgotten.size() == 1);
  CHECK(q.forgotten[0].second == 2);
  talk.session.succeeded(talk.desk.tables);
  CHECK_FALSE(talk.session.has_to_forget(talk.desk.tables, kNode, talk.now));
  CHECK(talk.fetch().forgotten.empty());
  talk.session.succeeded(talk.desk.tables);
  talk.partition(1).leader = 99;  // led by another broker now
  CHECK(talk.fetch().forgotten.size() == 1);
  talk.session.succeeded(talk.desk.tables);
  talk.partition(1).leader = kNode;  // and back
  CHECK(talk.fetch().parts.size() == 1);
}

TEST_CASE("a partition in back-off leaves the session and comes back") {
  Talk talk;
  talk.open();
  talk.partition(0).retry_at = talk.now + 100;
  CHECK(talk.fetch().forgotten.size() == 1);
  talk.session.succeeded(talk.desk.tables);
  talk.now = talk.now + 100;
  const ShareRequest q = talk.fetch();
  REQUIRE(q.parts.size() == 1);
  CHECK(q.parts[0].tp.second == 0);
}

TEST_CASE("no acks in epoch 0, they go with epoch 1") {
  Talk talk;
  static_cast<void>(talk.desk.settled(talk.row(0), 1, 10, 12, Ack::accept));
  CHECK(talk.session.has_acks(talk.desk.tables, AckKind::terminal, talk.now));
  CHECK_FALSE(talk.fetch(512, FetchSize{}).any_acks());
  talk.session.succeeded(talk.desk.tables);
  const ShareRequest q = talk.fetch();
  REQUIRE(q.any_acks());
  REQUIRE(q.parts.size() == 1);
  REQUIRE(q.parts[0].acks.size() == 1);
  CHECK(q.parts[0].acks[0].first == 10);
  CHECK(q.parts[0].acks[0].last == 12);
  CHECK_FALSE(  // in flight
      talk.session.has_acks(talk.desk.tables, AckKind::terminal, talk.now));
  talk.session.succeeded(talk.desk.tables);
  CHECK_FALSE(talk.fetch().any_acks());
}

TEST_CASE("an ack-only partition is forgotten again at once") {
  Talk talk;
  talk.open();
  static_cast<void>(talk.desk.settled(talk.row(2), 1, 5, 5, Ack::release));
  talk.desk.assign(1, 2, kNode);
  CHECK(talk.fetch().forgotten.size() == 1);  // with its acks, in one request
  talk.session.succeeded(talk.desk.tables);
  static_cast<void>(talk.desk.settled(talk.row(2), 1, 6, 6, Ack::release));
  const ShareRequest q = talk.fetch();
  REQUIRE(q.parts.size() == 1);
  CHECK(q.parts[0].tp.second == 2);
  CHECK(q.parts[0].acks.size() == 1);
  REQUIRE(q.forgotten.size() == 1);
  CHECK(q.forgotten[0].second == 2);
  talk.session.succeeded(talk.desk.tables);
  CHECK(talk.fetch().forgotten.empty());
}

TEST_CASE("acks in a ShareAcknowledge do not put the partition into the session") {
  Talk talk;
  talk.open();
  talk.desk.assign(1, 2, kNode);
  static_cast<void>(talk.desk.settled(talk.row(2), 1, 5, 5, Ack::accept));
  static_cast<void>(talk.fetch());  // forgets it
  talk.session.succeeded(talk.desk.tables);
  static_cast<void>(talk.desk.settled(talk.row(2), 1, 6, 6, Ack::accept));
  CHECK(talk.acknowledge(false).parts.size() == 1);
  talk.session.succeeded(talk.desk.tables);
  CHECK(talk.fetch().forgotten.empty());
}

TEST_CASE("acks of another link are left to it") {
  Talk talk;
  talk.open();
  static_cast<void>(talk.desk.settled(talk.row(0), 2, 5, 5, Ack::accept));
  CHECK_FALSE(talk.session.has_acks(talk.desk.tables, AckKind::terminal, talk.now));
  CHECK_FALSE(talk.fetch().any_acks());
}

TEST_CASE("after the final epoch -1 the session opens anew, with every partition") {
  Talk talk;
  talk.open();
  CHECK(talk.acknowledge(true).epoch == -1);
  talk.session.succeeded(talk.desk.tables);
  CHECK_FALSE(talk.session.is_open());
  for (int32_t i = 0; i < 3; ++i) CHECK(talk.partition(i).sessions == 0);
  const ShareRequest q = talk.fetch();
  CHECK(q.epoch == 0);
  CHECK(q.parts.size() == 3);
  CHECK(q.forgotten.empty());
}

TEST_CASE("an error goes back to epoch 0 with a back-off and every partition") {
  Talk talk;
  talk.open();
  for (int i = 0; i < 8; ++i) {
    static_cast<void>(talk.fetch());
    talk.session.failed(talk.desk.tables, talk.now);
    CHECK(talk.session.epoch() == 0);
    const int64_t wait = talk.session.retry_at() - talk.now;
    CHECK(wait >= 80);
    CHECK(wait <= 1200);
    if (i >= 5) CHECK(wait >= 800);
    const ShareRequest q = talk.fetch();
    CHECK(q.epoch == 0);
    CHECK(q.parts.size() == 3);
    CHECK(q.forgotten.empty());
  }
  talk.session.succeeded(talk.desk.tables);
  static_cast<void>(talk.fetch());
  talk.session.failed(talk.desk.tables, talk.now);
  CHECK(talk.session.retry_at() - talk.now <= 120);  // success ends the escalation
}

TEST_CASE("only the wanted partitions are listed when the session opens again") {
  Talk talk;
  talk.open();
  talk.session.failed(talk.desk.tables, talk.now);
  talk.desk.assign(1, 1, kNode);
  CHECK(talk.fetch().parts.size() == 1);
}

TEST_CASE("a request with all zero asks for nothing") {
  Talk talk;
  const ShareRequest q = talk.fetch(512, FetchSize{});
  CHECK(q.max_records == 0);
  CHECK(q.max_bytes == 0);
  CHECK(q.max_wait_ms == 0);
  CHECK(q.min_bytes == 0);
  CHECK(q.parts.size() == 3);
}

TEST_CASE("more than one request holds goes in several, nothing is lost, nothing sent twice") {
  Talk talk(16);
  std::map<int64_t, int> sent;
  for (int32_t i = 0; i < 12; ++i) {  // more acks than the window holds, none of them mergeable
    for (int64_t offset = 0; offset < 4; ++offset) {
      static_cast<void>(
          talk.desk.settled(talk.row(i), 1, offset * 100 + i, offset * 100 + i, Ack::accept));
    }
    if (talk.desk.tables.lots.free_count() < 4) break;
  }
  const uint32_t made = talk.desk.tables.acks.pending();
  std::set<minibroker::TopicPartition> listed;
  for (int i = 0; i < 40; ++i) {
    const ShareRequest q = talk.fetch(180);
    CHECK(q.epoch == i);
    for (const auto& part : q.parts) {
      listed.insert(part.tp);
      for (const auto& batch : part.acks) {
        for (int64_t at = batch.first; at <= batch.last; ++at) ++sent[at];
      }
    }
    talk.session.succeeded(talk.desk.tables);
    kshare::AckChoice flying;
    flying.states = kshare::AckChoice::bit(kshare::AckState::in_flight);
    for (int32_t p = 0; p < 16; ++p) {
      static_cast<void>(talk.desk.tables.acks.settle(talk.row(p), flying));
    }
  }
  CHECK(listed.size() == 16);
  CHECK(sent.size() == made);
  for (const auto& offset : sent) CHECK(offset.second == 1);
  CHECK(talk.desk.tables.acks.used() == 0);
}

TEST_CASE("ranges without a row end the session, or run out by themselves") {
  Talk talk;
  static_cast<void>(talk.fetch());
  talk.session.succeeded(talk.desk.tables);
  CHECK_FALSE(talk.session.surplus(talk.now));
  talk.session.note_surplus(talk.now + 30000);
  CHECK(talk.session.surplus(talk.now));
  CHECK(talk.session.surplus(talk.now + 29999));
  CHECK_FALSE(talk.session.surplus(talk.now + 30000));
  talk.session.ended(talk.desk.tables);
  CHECK_FALSE(talk.session.surplus(talk.now));
}

TEST_CASE("renewals travel alone: in a ShareAcknowledge that says so, without other acks") {
  Talk talk;
  talk.open();
  CHECK_FALSE(talk.has(AckKind::renewal));
  static_cast<void>(talk.desk.settled(talk.row(0), 1, 10, 12, Ack::accept));
  static_cast<void>(talk.desk.settled(talk.row(1), 1, 10, 12, Ack::accept));
  CHECK_FALSE(talk.has(AckKind::renewal));
  static_cast<void>(talk.renewing(0, 1, 20));
  static_cast<void>(talk.renewing(2, 1, 21));
  CHECK(talk.has(AckKind::renewal));
  CHECK(talk.has(AckKind::terminal));
  const ShareRequest q = talk.renew();
  CHECK(q.renew);
  CHECK(q.epoch == 1);
  REQUIRE(q.parts.size() == 2);
  for (const auto& part : q.parts) {
    REQUIRE(part.acks.size() == 1);
    CHECK(part.acks[0].first == (part.tp.second == 0 ? 20 : 21));
    CHECK(part.acks[0].types == std::vector<int8_t>{4});
  }
  CHECK_FALSE(talk.has(AckKind::renewal));
  CHECK(talk.has(AckKind::terminal));
  CHECK(talk.desk.tables.acks.pending() == 2);
  talk.session.succeeded(talk.desk.tables);
  const ShareRequest acks = talk.acknowledge(false);
  CHECK_FALSE(acks.renew);
  CHECK(acks.epoch == 2);
  REQUIRE(acks.parts.size() == 2);
  for (const auto& part : acks.parts) CHECK(part.acks[0].types == std::vector<int8_t>{1});
}

TEST_CASE("a ShareFetch carries no renewal, nor does the last request of a session") {
  Talk talk;
  talk.open();
  static_cast<void>(talk.renewing(0, 1, 20));
  static_cast<void>(talk.desk.settled(talk.row(0), 1, 21, 21, Ack::accept));
  const ShareRequest q = talk.fetch();
  CHECK_FALSE(q.renew);
  REQUIRE(q.parts.size() == 1);
  REQUIRE(q.parts[0].acks.size() == 1);
  CHECK(q.parts[0].acks[0].first == 21);
  CHECK(q.parts[0].acks[0].last == 21);
  talk.session.succeeded(talk.desk.tables);
  CHECK_FALSE(talk.fetch().any_acks());
  talk.session.succeeded(talk.desk.tables);
  CHECK_FALSE(talk.acknowledge(true).any_acks());
  CHECK(talk.has(AckKind::renewal));
}

TEST_CASE("renewals of another link are left to it; Kafka 4.1 reads acknowledgements of its own") {
  Talk talk;
  talk.open();
  static_cast<void>(talk.renewing(0, 2, 20));
  CHECK_FALSE(talk.has(AckKind::renewal));
  CHECK_FALSE(talk.renew().any_acks());
  static_cast<void>(talk.desk.settled(talk.row(0), 1, 21, 21, Ack::accept));
  const ShareRequest q = talk.acknowledge(false, 512, AckKind::terminal, 1);
  CHECK(q.any_acks());
  CHECK_FALSE(q.renew);
}

TEST_CASE(
    "more renewals than one request holds go in several, each once; the session stays as is") {
  for (uint32_t window = 140; window < 300; window += 7) {
    Talk talk(6);
    talk.open();
    uint32_t made = 0;
    for (int32_t i = 0; i < 6; ++i) {
      for (int64_t offset = 0; offset < 3; ++offset, ++made) {
        static_cast<void>(talk.renewing(i, 1, offset * 100 + i));
      }
    }
    std::map<int64_t, int> sent;
    int requests = 0;
    for (; talk.has(AckKind::renewal) && requests < 30; ++requests) {
      const ShareRequest q = talk.renew(window);
      CHECK(q.any_acks());
      for (const auto& part : q.parts) {
        for (const auto& batch : part.acks) {
          for (int64_t at = batch.first; at <= batch.last; ++at) ++sent[at];
        }
      }
      talk.session.succeeded(talk.desk.tables);
    }
    CHECK(requests > 1);
    CHECK(sent.size() == made);
    for (const auto& offset : sent) CHECK(offset.second == 1);
    CHECK(talk.fetch().parts.empty());  // listed for a renewal is not added
  }
}

TEST_CASE("the answer on one link settles what travelled there, and nothing of another link's") {
  Talk talk;
  kshare::Tables& tables = talk.desk.tables;
  const uint32_t row = talk.row(0);
  for (const uint32_t link : {2u, 1u, 2u}) {
    const int64_t first = tables.lots.free_count() * 10;
    talk.desk.settled(row, link, first, first + 4, Ack::accept);
  }
  for (uint32_t i = tables.acks.head(row); i != kshare::kNoAck; i = tables.acks.next(i)) {
    tables.acks.mark_in_flight(i);
  }
  CHECK(tables.acks.used() == 3);  // a range each
  tables.resolve(row, 1, kshare::kafka::kNone, talk.now);
  CHECK(tables.acks.used() == 2);
  tables.resolve(row, 2, kshare::kafka::kNone, talk.now);
  CHECK(tables.acks.used() == 0);
}

TEST_CASE("a partition whose leader nobody knows is asked of no broker, and leaves the session") {
  Talk talk;
  talk.partition(1).leader = -1;
  CHECK(talk.fetch().parts.size() == 2);
  talk.session.succeeded(talk.desk.tables);
  talk.partition(2).leader = -1;
  const ShareRequest q = talk.fetch();
  CHECK(q.parts.empty());
  REQUIRE(q.forgotten.size() == 1);
  CHECK(q.forgotten[0].second == 2);
  talk.partition(0).leader = -1;
  CHECK_FALSE(talk.session.has_partitions(talk.desk.tables, kNode, talk.now));
}

TEST_CASE("a fetch that asks for nothing names one octet to Kafka 4.1, which refuses none") {
  Talk talk;
  for (const int16_t version : {int16_t{1}, int16_t{2}}) {
    std::vector<uint8_t> bytes(512);
    kshare::Writer out{bytes.data(), 512};
    talk.session.encode_fetch(out, version, talk.desk.tables, kNode, FetchSize{}, talk.now);
    minibroker::Reader in(bytes.data(), out.size());
    const ShareRequest q = minibroker::decode_share_fetch(in, version);
    CHECK(in.done());
    CHECK(q.max_bytes == (version == 1 ? 1 : 0));
    CHECK(q.max_records == 0);
  }
}

}  // namespace test_session
