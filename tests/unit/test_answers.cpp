// SPDX-License-Identifier: Apache-2.0
// core/intake.hpp without a broker: what one answer, made by hand, means for leaders, locks, acks
// and back-off.
#include <doctest/doctest.h>

#include "../support/scenario.hpp"
#include "kshare/core/intake.hpp"

namespace test_answers {

using kshare::Ack;
using kshare::AckKind;
using kshare::Api;
using kshare::Instant;
using kshare::Lot;
using kshare::PartitionRow;
using minibroker::Writer;
using scenario::Desk;

namespace {

constexpr int32_t kNode = 4;
constexpr int32_t kOther = 9;
constexpr uint32_t kLink = 1;
constexpr int32_t kLockMs = 30000;

struct Range {
  int64_t first;
  int64_t last;
  int16_t count;
};
// What an answer says of one partition.
struct Part {
  int32_t index = 0;
  int16_t error = 0;
  int32_t leader = 0;
  int32_t epoch = 0;
  std::vector<Range> acquired{};
  int16_t ack_error = 0;
};

// Two partitions in the session of link 1 with broker 4, which was their leader in epoch 1.
struct Counter {
  Desk desk;
  kshare::Tables& tables = desk.tables;
  kshare::Link link;
  kshare::Intake intake;
  int64_t now = 1000;
  int32_t correlation = 0;

  Counter() {
    desk.assign(1, 2, kNode);
    for (int32_t i = 0; i < 2; ++i) row(i).sessions = 1u << kLink;
    const uint32_t receive = desk.memory.limits->receive_window_bytes;
    const uint32_t send = desk.memory.limits->send_window_bytes;
    link.attach({desk.memory.receive_windows, receive}, {desk.memory.send_windows, send});
    link.set_target(kNode, Instant{now}, tables.shared);
    intake.attach(kLink);
  }
  uint32_t row_of(int32_t index) const {
    return tables.topology.find_partition(scenario::to_uuid(scenario::uuid_of(1)), index);
  }
  PartitionRow& row(int32_t index) { return tables.topology.partition(row_of(index)); }
  // The first record of a lot that ends with `last` is with the application, its bytes copied.
  kshare::RecordId hold(int32_t index, int64_t offset, int64_t last) {
    const uint32_t lot = tables.lots.add(row_of(index), kLink, offset, last);
    tables.lots[lot].cursor = tables.lots[lot].walked = offset + 1;
    tables.lots[lot].lock_min = tables.lots[lot].lock_max = Instant{now + kLockMs};
    const kshare::RecordId id = tables.acks.hand_out(lot, offset);
    bool freed = false;
    CHECK(tables.acks.detach(id, freed).ok());
    return id;
  }
  kshare::Status accept(kshare::RecordId id) {
    bool freed = false;
    return tables.acks.acknowledge(id, Ack::accept, freed);
  }
  // A record was handed out and accepted, and that is on its way.
  void send_ack(int32_t index, int64_t offset) {
    const kshare::RecordId id = hold(index, offset, offset);
    CHECK(accept(id).ok());
    tables.acks.mark_in_flight(id.slot);
  }

  // The request leaves now; its answer begins `after` ms later.
  void fetch(const std::vector<Part>& parts, int64_t after = 0) {
    send(Api::share_fetch);
    intake.begin_share_fetch(tables.store.reserve(kLink), tables);
    Writer w;
    w.i32(0).i16(0).null().i32(kLockMs).array(1).uuid(scenario::uuid_of(1)).array(parts.size());
    for (const Part& part : parts) {
      w.i32(part.index).i16(part.error).null().i16(part.ack_error).null();
      w.i32(part.leader).i32(part.epoch).tags().null().array(part.acquired.size());
      for (const Range& range : part.acquired) {
        w.i64(range.first).i64(range.last).i16(range.count).tags();
      }
      w.tags();
    }
    answer(w, after);
  }
  void acknowledge(const std::vector<Part>& parts) {
    send(Api::share_acknowledge);
    intake.begin_acknowledge(2, AckKind::terminal, tables);
    Writer w;
    w.i32(0).i16(0).null().i32(kLockMs).array(1).uuid(scenario::uuid_of(1)).array(parts.size());
    for (const Part& part : parts) {
      w.i32(part.index).i16(part.error).null().i32(part.leader).i32(part.epoch).tags().tags();
    }
    answer(w, 0);
  }

 private:
  void send(Api api) {
    kshare::Writer out = link.begin(api, tables.shared);
    link.send(out, Instant{now}, tables.shared);
    ++correlation;
  }
  void answer(Writer& w, int64_t after) {
    now += after;
    const std::string body = w.tags().array(0).tags().out;
    const std::string bytes = minibroker::framed(Writer().i32(correlation).tags().raw(body).out);
    const kshare::MutableBytes space = link.space();
    REQUIRE(bytes.size() <= space.size);
    std::memcpy(space.data, bytes.data(), bytes.size());
    link.received(static_cast<uint32_t>(bytes.size()), Instant{now}, tables.shared);
    REQUIRE(link.in_answer());
    REQUIRE(intake.read(link, tables, Instant{now}));
    REQUIRE(link.end_answer(0, Instant{now}));
    intake.publish(tables);
  }
};

constexpr int16_t kOtherErrors[] = {-1, 3, 5, 7, 29, 42, 56, 69, 75, 100, 103, 121, 124};

}  // namespace

TEST_CASE("CurrentLeader counts with 6 and 74 only, forward only, in answers to both requests") {
  for (const bool fetching : {true, false}) {
    CAPTURE(fetching);
    const auto say = [&](int16_t error, int32_t leader, int32_t epoch) {
      Counter c;
      const Part part{0, error, leader, epoch, {}, 0};
      if (fetching) c.fetch({part});
      else c.acknowledge({part});
      CHECK(c.row(1).leader == kNode);
      CHECK(c.row(0).leader_epoch == (c.row(0).leader == kOther ? epoch : 1));
      return c.row(0).leader;
    };
    for (const int16_t error : kOtherErrors) {
      CAPTURE(error);
      CHECK(say(error, kOther, 99) == kNode);
      CHECK(say(error, -1, -1) == kNode);
    }
    for (const int16_t error : {int16_t{6}, int16_t{74}}) {
      CHECK(say(error, kOther, 99) == kOther);
      CHECK(say(error, kOther, 1) == -1);  // not newer than what we know: nobody knows
      CHECK(say(error, -1, -1) == -1);
    }
  }
}

TEST_CASE("an ack that the answer does not mention has failed, the one beside it has not") {
  Counter c;
  c.send_ack(0, 10);
  c.send_ack(1, 20);
  c.acknowledge({Part{0, 0, 0, 0, {}, 0}});
  CHECK(c.tables.shared.stats.acks_ok == 1);
  CHECK(c.tables.shared.stats.acks_failed == 1);
  CHECK(c.tables.acks.used() == 0);
  c.send_ack(0, 11);
  c.send_ack(1, 21);
  c.fetch({Part{1, 0, 0, 0, {}, 0}});
  CHECK(c.tables.shared.stats.acks_ok == 2);
  CHECK(c.tables.shared.stats.acks_failed == 2);
  kshare::Event event;
  int told = 0;
  while (c.tables.shared.events.pop(event)) {
    if (event.type != kshare::EventType::acks_failed) continue;
    CHECK(event.partition == 1 - told);  // the second one, then the first
    ++told;
  }
  CHECK(told == 2);
}

TEST_CASE("the broker's lock began between our request and the first octet of the answer") {
  Counter c;
  c.fetch({Part{0, 0, 0, 0, {{5, 9, 1}}, 0}}, 700);
  const uint32_t lot = c.tables.lots.head(c.row_of(0));
  REQUIRE(lot != kshare::kNoLot);
  CHECK(c.tables.lots[lot].lock_min == Instant{1000 + kLockMs});
  CHECK(c.tables.lots[lot].lock_max == Instant{1700 + kLockMs});
  CHECK(c.tables.lock_ms == kLockMs);
}

TEST_CASE("ranges that touch are one only if they come for the same time") {
  Counter c;
  c.fetch({Part{0, 0, 0, 0, {{0, 4, 1}, {5, 6, 2}, {7, 9, 2}, {10, 10, 1}}, 0}});
  const Range expected[] = {{0, 4, 1}, {5, 9, 2}, {10, 10, 1}};
  uint32_t at = c.tables.lots.head(c.row_of(0));
  for (const Range& range : expected) {
    REQUIRE(at != kshare::kNoLot);
    const Lot& lot = c.tables.lots[at];
    CHECK(lot.first == range.first);
    CHECK(lot.last == range.last);
    CHECK(lot.delivery_count == range.count);
    at = c.tables.lots.next(at);
  }
  CHECK(at == kshare::kNoLot);
}

TEST_CASE("an answer without an error ends the back-off of its partition, and of no other") {
  Counter c;
  for (int i = 0; i < 6; ++i) c.fetch({Part{0, 56, 0, 0, {}, 0}, Part{1, 56, 0, 0, {}, 0}});
  CHECK(c.row(0).retry_at.ms - c.now >= 300);
  c.now += 2000;
  c.fetch({Part{0, 0, 0, 0, {}, 0}});
  c.fetch({Part{0, 56, 0, 0, {}, 0}, Part{1, 56, 0, 0, {}, 0}});
  CHECK(c.row(0).retry_at.ms - c.now <= 220);  // 100 ms, spread, on a grid of 100
  CHECK(c.row(1).retry_at.ms - c.now >= 300);
}

TEST_CASE("an ack that the broker rolled back waits to be sent again while its lock may hold") {
  for (const int16_t error : {int16_t{7}, int16_t{14}, int16_t{15}, int16_t{16}}) {
    Counter c;
    c.send_ack(0, 10);
    c.acknowledge({Part{0, error, 0, 0, {}, 0}});
    CHECK(c.tables.acks.pending() == 1);
    CHECK(c.tables.retry_acks);
    CHECK(c.tables.shared.stats.acks_failed == 0);
  }
  Counter c;
  c.send_ack(0, 10);
  c.now += kLockMs;
  c.acknowledge({Part{0, 7, 0, 0, {}, 0}});
  CHECK(c.tables.acks.used() == 0);
  CHECK(c.tables.shared.stats.acks_failed == 1);
}

TEST_CASE("what is acquired anew was lost in between: held, acknowledged, or not handed out yet") {
  Counter c;
  const kshare::RecordId held = c.hold(0, 10, 10);
  const kshare::RecordId accepted = c.hold(0, 11, 14);
  const kshare::RecordId beside = c.hold(0, 20, 20);
  const kshare::RecordId other = c.hold(1, 10, 10);
  CHECK(c.accept(accepted).ok());
  c.fetch({Part{0, 0, 0, 0, {{8, 12, 2}}, 0}});
  CHECK(c.accept(held).code == kshare::Errc::lock_lost);
  CHECK(c.accept(accepted).code == kshare::Errc::unknown_record);
  CHECK(c.accept(beside).ok());
  CHECK(c.accept(other).ok());
  CHECK(c.tables.owed() == 5);  // the new range, and nothing of 12 to 14 twice
  CHECK(c.tables.shared.stats.acks_failed == 1);
}

TEST_CASE("an ack on its way is not sent again once its record was acquired anew") {
  Counter c;
  c.send_ack(0, 10);
  c.send_ack(0, 13);
  c.send_ack(1, 10);
  c.tables.supersede(c.row_of(0), 8, 12);
  CHECK(c.tables.acks.used() == 3);  // the answer tells what has become of them
  c.acknowledge({Part{0, 7, 0, 0, {}, 0}, Part{1, 7, 0, 0, {}, 0}});
  CHECK(c.tables.acks.pending() == 2);
  CHECK(c.tables.shared.stats.acks_failed == 1);
  c.send_ack(0, 20);
  c.tables.supersede(c.row_of(0), 20, 20);
  c.acknowledge({Part{0, 0, 0, 0, {}, 0}});
  CHECK(c.tables.shared.stats.acks_ok == 1);
}

TEST_CASE("put out of the broker's memory: the rest of a partition goes, its acks are doubtful") {
  using kshare::AckClass;
  const auto say = [](int way, int code, bool evicted) {
    const auto error = static_cast<int16_t>(code);
    CAPTURE(way);
    CAPTURE(error);
    Counter c;
    CHECK(c.accept(c.hold(0, 10, 14)).ok());
    CHECK(c.accept(c.hold(1, 10, 14)).ok());
    if (way == 0) c.fetch({Part{0, error, -1, -1, {}, 0}});
    if (way == 1) c.fetch({Part{0, 0, -1, -1, {}, error}});
    if (way == 2) c.acknowledge({Part{0, error, -1, -1, {}, 0}});
    CHECK(c.tables.owed() == (evicted ? 4 : 8));
    CHECK(c.tables.acks.pending() == 2);
    AckClass its = AckClass::late;
    REQUIRE(kshare::AckBatchWriter::first_class(c.tables.acks, AckKind::terminal, c.row_of(0),
                                                kLink, Instant{c.now}, its));
    CHECK(its == (evicted ? AckClass::doubtful : AckClass::sound));
    REQUIRE(kshare::AckBatchWriter::first_class(c.tables.acks, AckKind::terminal, c.row_of(1),
                                                kLink, Instant{c.now}, its));
    CHECK(its == AckClass::sound);
  };
  for (int way = 0; way < 3; ++way) {
    for (const int error : {3, 6, 69, 74, 100, 103, 124}) say(way, error, true);
    for (const int error : {-1, 7, 29, 42, 56, 121}) say(way, error, false);
  }
}

TEST_CASE("where a batch is known up to is the highest offset acquired, whatever comes again") {
  Counter c;
  c.fetch({Part{0, 0, 0, 0, {{5, 6, 1}, {8, 9, 1}}, 0}});
  CHECK(c.row(0).hint == 10);
  c.fetch({Part{0, 0, 0, 0, {{0, 4, 2}}, 0}});
  CHECK(c.row(0).hint == 10);
  CHECK(c.row(1).hint == 0);
}

}  // namespace test_answers
