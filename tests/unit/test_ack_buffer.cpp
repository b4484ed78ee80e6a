// SPDX-License-Identifier: Apache-2.0
// ack/ack_buffer.hpp: its promises one by one. test_ack_orders.cpp has every order of events.
#include <doctest/doctest.h>

#include "../support/batches.hpp"
#include "kshare/ack/ack_buffer.hpp"

namespace {

using kshare::Ack;
using kshare::AckBuffer;
using kshare::AckSlot;
using kshare::AckState;
using kshare::Errc;
using kshare::Lot;
using kshare::Lots;
using kshare::PartitionLists;
using kshare::RecordId;
using kshare::Status;
using kshare::Store;

struct Small {
  Small() : box(2, 256), rows(4), lists(2), slots(4) {
    lots.attach({rows.data(), 4}, {lists.data(), 2});
    acks.attach({slots.data(), 4}, {}, lots, box.store);
    for (uint32_t i = 0; i < 2; ++i) {
      static_cast<void>(lots.add(i, 1, 0, 99));
      lots[i].slot = static_cast<uint8_t>(box.store.reserve(1));
      box.store.slot(i).state = kshare::SlotState::ready;
    }
  }
  Status say(RecordId id, Ack type) { return acks.acknowledge(id, type, freed); }
  batches::Box box;
  std::vector<Lot> rows;
  std::vector<PartitionLists> lists;
  std::vector<AckSlot> slots;
  Lots lots;
  AckBuffer acks;
  bool freed = false;
};

}  // namespace

TEST_CASE("change of mind before it was sent: the last word wins; after it was sent: refused") {
  Small s;
  const RecordId id = s.acks.hand_out(0, 5);
  CHECK(s.say(id, Ack::accept).ok());
  CHECK(s.say(id, Ack::reject).ok());
  CHECK(s.say(id, Ack::release).ok());
  CHECK(s.acks.pending() == 1);
  CHECK(s.acks.slot(id.slot).type == 2);
  s.acks.mark_in_flight(id.slot);
  CHECK(s.say(id, Ack::accept) == Status{Errc::already_acknowledged, 0});
  CHECK(s.acks.slot(id.slot).type == 2);
}

TEST_CASE("an acknowledgement frees the store slot with the last record of it that is held") {
  Small s;
  const RecordId a = s.acks.hand_out(0, 1);
  const RecordId b = s.acks.hand_out(0, 2);
  const RecordId c = s.acks.hand_out(1, 1);
  CHECK(s.say(a, Ack::accept).ok());
  CHECK_FALSE(s.freed);
  CHECK(s.say(a, Ack::release).ok());  // its bytes are gone once, not twice
  CHECK_FALSE(s.freed);
  CHECK(s.say(b, Ack::accept).ok());
  CHECK(s.freed);
  CHECK(s.box.store.free_count() == 1);
  CHECK(s.say(c, Ack::reject).ok());
  CHECK(s.freed);
  CHECK(s.box.store.free_count() == 2);
}

TEST_CASE("unknown, foreign and outlived ids are refused and nothing changes") {
  Small s;
  const RecordId id = s.acks.hand_out(0, 5);
  CHECK(s.say({}, Ack::accept).code == Errc::unknown_record);
  CHECK(s.say({0, id.slot, id.generation + 1}, Ack::accept).code == Errc::unknown_record);
  CHECK(s.say({0, 3, id.generation}, Ack::accept).code == Errc::unknown_record);
  CHECK(s.say({0, 4, 1}, Ack::accept).code == Errc::unknown_record);
  CHECK(s.say({0, UINT16_MAX, 1}, Ack::accept).code == Errc::unknown_record);
  CHECK(s.acks.pending() == 0);
  // A new life of the same memory: ids of the old one stay unknown.
  s.acks.attach({s.slots.data(), 4}, {}, s.lots, s.box.store);
  CHECK(s.say(id, Ack::accept).code == Errc::unknown_record);
  const RecordId again = s.acks.hand_out(0, 5);
  CHECK_FALSE(again == id);
  CHECK(s.say(id, Ack::accept).code == Errc::unknown_record);
  CHECK(s.say(again, Ack::accept).ok());
}

TEST_CASE("the generation never becomes the one of an id that names nothing") {
  Small s;
  for (AckSlot& slot : s.slots) slot.generation = UINT32_MAX;
  CHECK(s.acks.hand_out(0, 1).generation == 1);
}

TEST_CASE("a lost record keeps its slot until the application has spoken, whatever it says") {
  Small s;
  const RecordId id = s.acks.hand_out(0, 5);
  const auto outcome = s.acks.lose(
      0, [](const AckSlot&) { return true; }, {Errc::lock_lost, 0}, [](const AckSlot&) {});
  CHECK(outcome.records == 0);
  CHECK(s.acks.used() == 1);
  CHECK(s.box.store.slot(0).refs == 1);  // its views stay valid
  CHECK(s.acks.head(0) == kshare::kNoAck);
  CHECK(s.say(id, Ack::accept) == Status{Errc::lock_lost, 0});
  CHECK(s.freed);
  CHECK(s.acks.used() == 0);
  CHECK(s.say(id, Ack::accept).code == Errc::unknown_record);
}

TEST_CASE("a range that no slot is free for is settled as far as it goes, then goes on") {
  Small s;
  int64_t first = 0;
  const int64_t far = int64_t{INT32_MAX} * 3 + 100;
  for (int i = 0; i < 2; ++i) static_cast<void>(s.acks.hand_out(1, i));
  CHECK_FALSE(s.acks.settle_range(0, first, far, 2));
  CHECK(s.acks.free_count() == 0);
  CHECK(s.acks.pending() == 2);
  int64_t next = 0;
  for (uint32_t i = s.acks.head(0); i != kshare::kNoAck; i = s.acks.next(i)) {
    CHECK(s.acks.slot(i).first == next);
    next = s.acks.slot(i).last() + 1;
  }
  CHECK(next == first);
  CHECK(s.acks.settle(0, [](const AckSlot&) { return true; }).released ==
        static_cast<uint64_t>(first));
  CHECK(s.acks.settle_range(0, first, far, 2));
  CHECK(first == far + 1);
}

TEST_CASE("ranges at the end of all offsets are settled without running over") {
  Small s;
  int64_t first = INT64_MAX - 10;
  CHECK(s.acks.settle_range(0, first, INT64_MAX - 1, kshare::kAckGap));
  CHECK(first == INT64_MAX);
  CHECK(s.acks.slot(s.acks.head(0)).last() == INT64_MAX - 1);
}
