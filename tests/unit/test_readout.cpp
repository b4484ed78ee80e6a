// SPDX-License-Identifier: Apache-2.0
// core/handout.hpp alone: a slot filled by hand is read out in order, whatever is missing in it and
// however few ack slots are free.
#include <doctest/doctest.h>

#include "../support/batches.hpp"
#include "../support/invariants.hpp"
#include "../support/scenario.hpp"
#include "kshare/core/handout.hpp"

namespace test_readout {
namespace {

using kshare::Ack;
using kshare::AckSlot;
using kshare::ChunkKind;
using kshare::EventType;
using kshare::Handout;
using kshare::Instant;
using kshare::kNoAck;
using kshare::Record;
using Step = Handout::Step;

constexpr uint32_t kLink = 1;
constexpr int32_t kLockMs = 10000;
constexpr int kAccepted = static_cast<int>(Ack::accept);
constexpr int kReleased = static_cast<int>(Ack::release);
constexpr int kRejected = static_cast<int>(Ack::reject);
constexpr int kGap = kshare::kAckGap;

// What has become of each (partition row, offset).
using Fates = std::map<std::pair<uint32_t, int64_t>, int>;

// One store slot, and lots that lie in it.
struct Bench {
  scenario::Desk desk;
  kshare::Tables& t = desk.tables;
  Instant now{1000};
  Record record;
  std::vector<int64_t> seen;
  Fates fates;
  uint32_t slot = 0;

  explicit Bench(uint32_t ack_slots = 16) {
    desk.assign(1, 2, 4);
    t.lock_ms = kLockMs;
    t.acks.attach({desk.memory.acks.data, ack_slots}, desk.memory.commits, t.lots, t.store);
    slot = t.store.reserve(kLink);
  }
  uint32_t row(int32_t index) const {
    return t.topology.find_partition(scenario::to_uuid(scenario::uuid_of(1)), index);
  }
  void put(int32_t index, const std::vector<int64_t>& offsets) {
    begin(index, offsets.front(), [&] {
      for (const int64_t offset : offsets) {
        const auto delta = static_cast<int32_t>(offset - offsets.front());
        const std::string whole = minibroker::encode_record(batches::rec(delta, "v"), 0, delta);
        t.store.append(slot, batches::bytes_of(whole));
      }
    });
  }
  // A record whose key would be longer than the record is.
  void put_malformed(int32_t index, int64_t offset) {
    begin(index, offset, [&] {
      t.store.append(slot, batches::bytes_of(std::string("\x08\0\0\0\x7E", 5)));
    });
  }
  void mark(int32_t index, ChunkKind kind, int64_t first, int64_t last) {
    REQUIRE(t.store.begin_chunk(slot, chunk_of(index, kind, first, last), 0));
  }
  uint32_t lot(int32_t index, int64_t first, int64_t last) {
    const uint32_t its = t.lots.add(row(index), kLink, first, last);
    t.lots[its].lock_min = t.lots[its].lock_max = now + kLockMs;
    t.lots[its].walked = last + 1;
    t.lots.enter_slot(t.store, its, slot);
    return its;
  }
  Step next() {
    const Step step = Handout::next(t, &record, now);
    if (step == Step::record) seen.push_back(record.offset);
    return step;
  }
  // Takes what comes; whenever ack slots run out, all is accepted and settled. Answers how often.
  int take_all() {
    for (int blocked = 0;;) {
      const Step step = next();
      if (const char* broken = invariants::broken_invariant(t)) FAIL_CHECK(std::string(broken));
      if (step == Step::record) continue;
      settle();
      if (step == Step::empty) return blocked;
      REQUIRE(step == Step::blocked);
      REQUIRE(++blocked < 100);
    }
  }
  void settle() {
    for (uint32_t its = 0; its < 2; ++its) {
      for (uint32_t i = t.acks.head(its); i != kNoAck; i = t.acks.next(i)) {
        bool freed = false;
        const kshare::RecordId id = t.acks.id_of(i);
        if (t.acks.is_held(id)) REQUIRE(t.acks.acknowledge(id, Ack::accept, freed).ok());
        for (int64_t at = t.acks.slot(i).first; at <= t.acks.slot(i).last(); ++at) {
          CHECK(fates.emplace(std::make_pair(its, at), t.acks.slot(i).type).second);
        }
      }
      static_cast<void>(t.acks.settle(its, {}));
    }
  }
  bool told(EventType type, int64_t first, int64_t last) {
    kshare::Event event;
    while (t.shared.events.pop(event)) {
      if (event.type == type && event.first == first && event.last == last) return true;
    }
    return false;
  }

 private:
  kshare::Chunk chunk_of(int32_t index, ChunkKind kind, int64_t first, int64_t last) const {
    kshare::Chunk chunk;
    chunk.partition = static_cast<uint16_t>(row(index));
    chunk.kind = kind;
    chunk.first = first;
    chunk.last = last;
    return chunk;
  }
  template <typename Fill>
  void begin(int32_t index, int64_t first, const Fill& fill) {
    const uint32_t at = t.store.slot(slot).used;
    REQUIRE(t.store.begin_chunk(slot, chunk_of(index, ChunkKind::records, first, first), 0));
    fill();
    t.store.end_chunk(slot, at);
  }
};

}  // namespace

TEST_CASE("a lot that ends in a gap leaves the records of the partition behind it alone") {
  Bench b;
  b.put(0, {10, 11});
  b.put(1, {20, 21});
  b.lot(0, 10, 14);
  b.lot(1, 20, 21);
  b.t.store.publish(b.slot);
  CHECK(b.take_all() == 0);
  CHECK(b.seen == std::vector<int64_t>{10, 11, 20, 21});
  for (int64_t at = 12; at <= 14; ++at) CHECK(b.fates.at({0, at}) == kGap);
  CHECK(b.t.store.free_count() == b.t.store.count());
}

TEST_CASE("a lot without any record leaves those behind it alone too") {
  Bench b;
  b.put(1, {20});
  b.put(0, {30});
  b.lot(0, 10, 14);
  b.lot(1, 20, 20);
  b.lot(0, 30, 30);
  b.t.store.publish(b.slot);
  CHECK(b.take_all() == 0);
  CHECK(b.seen == std::vector<int64_t>{20, 30});
  CHECK(b.fates.size() == 7);
}

TEST_CASE("records of a lot that has left the slot are passed over, whosever is next") {
  Bench b;
  b.put(0, {10, 11});
  b.put(1, {20});
  b.put(0, {30});
  const uint32_t gone = b.lot(0, 10, 11);
  b.lot(1, 20, 20);
  b.lot(0, 30, 30);
  b.t.store.publish(b.slot);
  b.t.drop_undelivered(gone);
  CHECK(b.t.lots.free_if_done(gone));
  CHECK(b.take_all() == 0);
  CHECK(b.seen == std::vector<int64_t>{20, 30});
  CHECK(b.fates.size() == 2);
}

TEST_CASE("with any number of ack slots every offset has the same end: blocked is not lost") {
  Fates wanted;
  for (uint32_t slots = 16; slots != 0; --slots) {
    CAPTURE(slots);
    Bench b(slots);
    b.put(0, {12, 13, 16});
    b.mark(0, ChunkKind::corrupt, 17, 19);
    b.put(0, {20});
    b.put_malformed(0, 21);
    b.put(0, {22});
    b.mark(0, ChunkKind::too_large, 24, 24);
    b.put_malformed(1, 40);
    b.lot(0, 10, 25);
    b.lot(1, 40, 42);
    b.t.shared.options.too_large = kshare::Unusable::release;
    b.t.shared.options.undecodable = kshare::Unusable::reject;
    b.t.store.publish(b.slot);
    const int blocked = b.take_all();
    if (slots == 16) {
      CHECK(blocked == 0);
      wanted = b.fates;
    }
    CHECK(b.fates == wanted);
    CHECK(b.seen == std::vector<int64_t>{12, 13, 16, 20, 22});
    CHECK(b.t.store.free_count() == b.t.store.count());
  }
  CHECK(wanted.size() == 19);
  for (const int64_t at : {10, 11, 14, 15, 23, 25}) CHECK(wanted.at({0, at}) == kGap);
  for (const int64_t at : {12, 13, 16, 20, 22}) CHECK(wanted.at({0, at}) == kAccepted);
  for (const int64_t at : {17, 18, 19, 21}) CHECK(wanted.at({0, at}) == kRejected);
  CHECK(wanted.at({0, 24}) == kReleased);
  CHECK(wanted.at({1, 40}) == kRejected);
  CHECK(wanted.at({1, 42}) == kGap);
}

TEST_CASE("a batch that is refused has its event once, however often it had to wait") {
  Bench b(1);
  b.put(0, {10});
  b.mark(0, ChunkKind::undecodable, 11, 15);
  b.lot(0, 10, 15);
  b.t.store.publish(b.slot);
  CHECK(b.next() == Step::record);
  for (int i = 0; i < 3; ++i) CHECK(b.next() == Step::blocked);
  CHECK_FALSE(b.told(EventType::batch_undecodable, 11, 15));
  b.settle();
  CHECK(b.next() == Step::empty);
  CHECK(b.told(EventType::batch_undecodable, 11, 15));
  CHECK_FALSE(b.told(EventType::batch_undecodable, 11, 15));
}

TEST_CASE("a lot whose lock is nearly over goes back, and the next lot of the slot is handed out") {
  Bench b;
  b.t.shared.options.lock_margin_ms = 100;
  b.put(0, {10, 11, 12});
  b.put(1, {20});
  const uint32_t late = b.lot(0, 10, 12);
  const uint32_t other = b.lot(1, 20, 20);
  b.t.lots[other].lock_min = b.t.lots[other].lock_max = b.now + 2 * kLockMs;
  b.t.store.publish(b.slot);
  CHECK(b.next() == Step::record);
  b.now = b.now + (kLockMs - 101);
  CHECK(b.next() == Step::record);  // just in time
  b.now = b.now + 1;
  CHECK(b.next() == Step::record);
  CHECK(b.seen == std::vector<int64_t>{10, 11, 20});
  CHECK(b.told(EventType::released_unseen, 12, 12));
  CHECK(bool{b.t.lots[late].give_back});
  CHECK(b.t.shared.stats.expired == 1);
}

TEST_CASE("looking without taking: gaps in front are cleared away, the record stays") {
  Bench b;
  b.put(0, {12});
  b.lot(0, 10, 12);
  b.t.store.publish(b.slot);
  for (int i = 0; i < 3; ++i) CHECK(Handout::next(b.t, nullptr, b.now) == Step::record);
  CHECK(b.t.acks.pending() == 1);
  CHECK(b.t.shared.stats.records == 0);
  CHECK(b.next() == Step::record);
  CHECK(b.next() == Step::empty);
  CHECK(b.seen == std::vector<int64_t>{12});
}

}  // namespace test_readout
