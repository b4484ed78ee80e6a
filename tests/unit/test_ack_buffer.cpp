// SPDX-License-Identifier: Apache-2.0
// ack/ack_buffer.hpp: its promises one by one. test_ack_orders.cpp has every order of events.
#include <doctest/doctest.h>

#include "../support/batches.hpp"
#include "kshare/ack/ack_buffer.hpp"

namespace test_ack_buffer {
namespace {

using kshare::Ack;
using kshare::AckBuffer;
using kshare::AckChoice;
using kshare::AckSlot;
using kshare::AckState;
using kshare::Errc;
using kshare::Lot;
using kshare::Lots;
using kshare::PartitionLists;
using kshare::RecordId;
using kshare::Status;
using kshare::Store;

AckChoice in(AckState state) {
  AckChoice choice;
  choice.states = AckChoice::bit(state);
  return choice;
}
void tell_nobody(void*, const AckSlot&) {}

struct Small {
  Small() : box(2, 256), rows(4), lists(2), slots(4), commit_rows(4) {
    lots.attach({rows.data(), 4}, {lists.data(), 2});
    acks.attach({slots.data(), 4}, {commit_rows.data(), 4}, lots, box.store);
    for (uint32_t i = 0; i < 2; ++i) {
      static_cast<void>(lots.add(i, 1, 0, 99));
      lots[i].slot = static_cast<uint8_t>(box.store.reserve(1));
      box.store.slot(i).state = kshare::SlotState::ready;
    }
  }
  Status say(RecordId id, Ack type) { return acks.acknowledge(id, type, freed); }
  AckState state(RecordId id) const { return acks.slot(id.slot).state; }
  void lose_all() {
    static_cast<void>(acks.lose(0, {}, {Errc::lock_lost, 0}, {tell_nobody, nullptr}));
  }
  kshare::Ticket commit(uint32_t partition) {
    kshare::CommitRow row;
    row.ticket = acks.commits.begin(1);
    const auto tagged = acks.name_for_commit(partition, kshare::Commits::tag(row.ticket));
    row.open = tagged.slots;
    row.records = tagged.records;
    row.list = static_cast<uint16_t>(partition);
    acks.commits.add(row);
    return row.ticket;
  }
  batches::Box box;
  std::vector<Lot> rows;
  std::vector<PartitionLists> lists;
  std::vector<AckSlot> slots;
  std::vector<kshare::CommitRow> commit_rows;
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
  const auto outcome = s.acks.lose(0, {}, {Errc::lock_lost, 0}, {tell_nobody, nullptr});
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
  CHECK(s.acks.settle(0, {}).released == static_cast<uint64_t>(first));
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

// ---- Renewals, detached records, commits, names.
TEST_CASE("a renewal keeps the record with the application, until its own word or the lock's end") {
  Small s;
  const RecordId id = s.acks.hand_out(0, 5);
  CHECK(s.acks.held() == 1);
  CHECK(s.acks.renewals() == 0);
  CHECK(s.say(id, Ack::renew).ok());
  CHECK_FALSE(s.freed);
  CHECK(s.say(id, Ack::renew).ok());  // once is enough
  CHECK(s.acks.renewals() == 1);
  CHECK(s.acks.held() == 1);
  CHECK(s.acks.is_held(id));
  CHECK(s.acks.slot(id.slot).type == 4);
  CHECK_FALSE(bool{s.lots[0].renewing});
  s.acks.mark_renew_in_flight(id.slot);
  CHECK(bool{s.lots[0].renewing});
  CHECK(s.acks.renewals() == 0);
  CHECK(s.say(id, Ack::renew).ok());  // it is on its way
  CHECK(s.acks.renewals() == 0);
  CHECK(s.state(id) == AckState::renew_in_flight);
  s.acks.mark_renewing(id.slot);
  CHECK(s.acks.renewals() == 1);
  s.acks.mark_held(id.slot);  // it never left
  CHECK(s.acks.renewals() == 0);
  CHECK(s.state(id) == AckState::held);
  CHECK(s.box.store.slot(0).refs == 1);
  CHECK(s.say(id, Ack::accept).ok());
  CHECK(s.freed);
  CHECK(s.acks.held() == 0);
}

TEST_CASE("an acknowledgement ends a renewal, sent or not; its record goes like any other") {
  for (bool sent : {false, true}) {
    Small s;
    const RecordId id = s.acks.hand_out(0, 5);
    CHECK(s.say(id, Ack::renew).ok());
    if (sent) s.acks.mark_renew_in_flight(id.slot);
    CHECK(s.say(id, Ack::reject).ok());
    CHECK(s.freed);
    CHECK(s.acks.renewals() == 0);
    CHECK(s.acks.held() == 0);
    CHECK(s.acks.pending() == 1);
    CHECK(s.acks.slot(id.slot).type == 3);
    s.acks.mark_in_flight(id.slot);
    CHECK(s.acks.settle(0, {}).rejected == 1);
    CHECK(s.acks.used() == 0);
  }
}

TEST_CASE(
    "a renewal behind an ack takes it back: the record is held without its bytes, and its "
    "commit waits for it no more") {
  Small s;
  const RecordId id = s.acks.hand_out(0, 5);
  const RecordId other = s.acks.hand_out(0, 6);
  CHECK(s.say(id, Ack::accept).ok());
  CHECK(s.say(other, Ack::accept).ok());
  const kshare::Ticket ticket = s.commit(0);
  CHECK(s.say(id, Ack::renew).ok());
  CHECK(s.acks.pending() == 1);
  CHECK(s.acks.held() == 1);
  CHECK(s.acks.renewals() == 1);
  CHECK(s.acks.is_held(id));
  CHECK(s.acks.slot(id.slot).slot == 0);
  CHECK(s.acks.slot(id.slot).commit == 0);
  CHECK(s.acks.commits.status(ticket).code == Errc::in_progress);
  s.acks.mark_in_flight(other.slot);
  CHECK(s.acks.settle(0, in(AckState::in_flight)).records == 1);
  CHECK(s.acks.commits.status(ticket).ok());
  CHECK(s.say(id, Ack::release).ok());
  const kshare::Ticket next = s.commit(0);
  CHECK(s.acks.commits.result(next, 0)->records == 1);
}

TEST_CASE("detach frees the bytes, once, in every state but the last") {
  for (int state = 0; state < 6; ++state) {
    CAPTURE(state);
    Small s;
    const RecordId id = s.acks.hand_out(0, 5);
    if (state == 1 || state == 2) CHECK(s.say(id, Ack::renew).ok());
    if (state == 2) s.acks.mark_renew_in_flight(id.slot);
    if (state == 3) s.lose_all();
    if (state >= 4) CHECK(s.say(id, Ack::accept).ok());
    if (state == 5) s.acks.mark_in_flight(id.slot);
    const AckState before = s.state(id);
    bool freed = false;
    const Status status = s.acks.detach(id, freed);
    CHECK(status.code == (state == 5 ? Errc::already_acknowledged : Errc::ok));
    CHECK(freed == (state < 4));
    CHECK(s.state(id) == before);
    CHECK(s.box.store.slot(0).refs == 0);
    CHECK(s.acks.held() == (state < 4 ? 1 : 0));
    CHECK(s.acks.detach(id, freed).code == status.code);
    CHECK_FALSE(freed);
    if (state == 5) continue;
    const Status end = s.say(id, Ack::release);
    CHECK(end.code == (state == 3 ? Errc::lock_lost : Errc::ok));
    CHECK_FALSE(s.freed);
  }
  Small s;
  bool freed = true;
  CHECK(s.acks.detach({0, 1, 77}, freed).code == Errc::unknown_record);
  CHECK_FALSE(freed);
}

TEST_CASE("find names the record that was handed out last at an offset, of its partition") {
  Small s;
  CHECK(s.acks.find(0, 5).generation == 0);
  const RecordId old = s.acks.hand_out(0, 5);
  const RecordId elsewhere = s.acks.hand_out(1, 5);
  CHECK(s.acks.find(0, 5) == old);
  CHECK(s.acks.find(1, 5) == elsewhere);
  CHECK(s.acks.find(0, 4).generation == 0);
  CHECK(s.acks.find(0, 6).generation == 0);
  CHECK(s.say(old, Ack::accept).ok());
  CHECK(s.acks.find(0, 5) == old);  // the last word may still change
  s.acks.mark_in_flight(old.slot);
  CHECK(s.acks.find(0, 5) == old);
  // It comes again while the answer is out.
  const RecordId again = s.acks.hand_out(0, 5);
  CHECK(s.acks.find(0, 5) == again);
  CHECK(s.say(again, Ack::accept).ok());
  CHECK(s.acks.find(0, 5) == again);
  s.acks.mark_in_flight(again.slot);
  CHECK(s.acks.find(0, 5) == again);
  s.acks.mark_pending(old.slot);
  CHECK(s.acks.find(0, 5) == again);
  CHECK(s.acks.find(1, 5) == elsewhere);
}

TEST_CASE("find prefers a record with a lock to one that is lost, whichever slot they have") {
  for (bool first_slot : {false, true}) {
    Small s;
    if (!first_slot) static_cast<void>(s.acks.hand_out(0, 90));
    const RecordId lost = s.acks.hand_out(0, 5);
    s.lose_all();
    CHECK(s.lots.lists(0).lost == (first_slot ? 1 : 2));
    CHECK(s.acks.find(0, 5) == lost);
    CHECK(s.acks.find(1, 5).generation == 0);  // its partition is kept with it
    const RecordId again = s.acks.hand_out(0, 5);
    CHECK(s.acks.find(0, 5) == again);
    CHECK(s.acks.held() == s.acks.used());
    CHECK(s.say(again, Ack::accept).ok());
    CHECK(s.acks.find(0, 5) == again);
    s.acks.mark_in_flight(again.slot);
    static_cast<void>(s.acks.settle(0, {}));
    CHECK(s.acks.find(0, 5) == lost);
    CHECK(s.say(lost, Ack::accept).code == Errc::lock_lost);
    CHECK(s.acks.find(0, 5).generation == 0);
    CHECK(s.lots.lists(0).lost == (first_slot ? 0 : 1));
  }
}

TEST_CASE("ranges have no name: neither gaps nor renewals of what is not handed out") {
  Small s;
  int64_t first = 0;
  CHECK(s.acks.settle_range(0, first, 3, kshare::kAckGap));
  s.lots[0].cursor = 4;
  s.acks.stage_renewal(0);
  for (int64_t at = 0; at < 10; ++at) CHECK(s.acks.find(0, at).generation == 0);
  CHECK(s.acks.held() == 0);
  CHECK(s.acks.renewals() == 1);
  CHECK(s.acks.pending() == 1);
  const AckSlot& range = s.acks.slot(s.acks.next(s.acks.head(0)));
  CHECK(range.first == 4);
  CHECK(range.last() == 99);
  CHECK_FALSE(range.is_held());
  CHECK(range.renews());
  // Lost with its lot: nobody is told, nothing is counted.
  uint32_t told = 0;
  const auto on_lost = [](void* count, const AckSlot&) { ++*static_cast<uint32_t*>(count); };
  const auto outcome = s.acks.lose(0, {}, {Errc::lock_lost, 0}, {on_lost, &told});
  CHECK(told == 0);
  CHECK(outcome.records == 0);
  CHECK(s.acks.renewals() == 0);
  CHECK(s.acks.used() == 0);
}

TEST_CASE("a commit names what waits or is on its way, and nothing twice") {
  Small s;
  const RecordId held = s.acks.hand_out(0, 1);
  const RecordId sent = s.acks.hand_out(0, 2);
  CHECK(s.say(sent, Ack::accept).ok());
  s.acks.mark_in_flight(sent.slot);
  int64_t first = 3;
  CHECK(s.acks.settle_range(0, first, 9, kshare::kAckGap));
  const kshare::Ticket ticket = s.commit(0);
  CHECK(s.acks.commits.result(ticket, 0)->records == 1);
  CHECK(s.acks.commits.result(ticket, 0)->open == 2);
  CHECK(s.acks.slot(held.slot).commit == 0);
  CHECK(s.acks.name_for_commit(0, 2).slots == 0);
  CHECK(s.acks.name_for_commit(1, 2).slots == 0);
  CHECK(s.acks.slot(sent.slot).commit == 1);
  s.acks.mark_pending(sent.slot);  // it goes again, and keeps its name
  CHECK(s.say(sent, Ack::reject).ok());
  CHECK(s.acks.slot(sent.slot).commit == 1);
  static_cast<void>(s.acks.settle(0, in(AckState::pending), {Errc::broker_error, 7}));
  CHECK(s.acks.commits.status(ticket) == Status{Errc::broker_error, 7});
  CHECK(s.acks.is_held(held));
}

}  // namespace test_ack_buffer
