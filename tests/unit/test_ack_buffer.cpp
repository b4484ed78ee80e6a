// SPDX-License-Identifier: Apache-2.0
// ack/ack_buffer.hpp: every order of events up to a depth, against a model that keeps it all in a
// plain list; then the single promises.
#include <doctest/doctest.h>

#include <algorithm>

#include "../support/batches.hpp"
#include "kshare/ack/ack_buffer.hpp"

namespace {

using kshare::Ack;
using kshare::AckBuffer;
using kshare::AckOutcome;
using kshare::AckSlot;
using kshare::AckState;
using kshare::Errc;
using kshare::Lot;
using kshare::Lots;
using kshare::PartitionLists;
using kshare::RecordId;
using kshare::Status;
using kshare::Store;
using kshare::StoreSlot;

constexpr uint32_t kSlots = 3;

// The tables as they lie in memory; copied to go back to an earlier moment.
struct State {
  AckSlot slots[kSlots];
  Lot rows[2];
  PartitionLists lists[1];
  StoreSlot store_slots[2];
  Lots lots;
  AckBuffer acks;
  Store store;
};
struct Entry {  // what the model knows of one slot
  RecordId id{};
  int64_t first = 0;
  int64_t last = 0;
  uint32_t lot = 0;
  AckState state = AckState::held;
  uint8_t type = 0;
  bool record = false;
  bool bytes = false;
};
using Model = std::vector<Entry>;

struct Machine {
  State now;
  Model model;
  std::vector<RecordId> dead;
  uint64_t steps = 0;
  uint64_t faults = 0;
  std::vector<int> path;

  void fault(const char* what) {
    if (++faults > 3) return;
    std::string text;
    for (int event : path) text += " " + std::to_string(event);
    FAIL_CHECK(what << " after" << text);
  }
  void begin() {
    static uint8_t memory[2];
    now.lots.attach({now.rows, 2}, {now.lists, 1});
    now.store.attach({now.store_slots, 2}, memory, 1);
    now.acks.attach({now.slots, kSlots}, {}, now.lots, now.store);
    for (uint32_t i = 0; i < 2; ++i) {  // the second lot lies in front of the first
      const int64_t first = i == 0 ? 10 : 0;
      static_cast<void>(now.lots.add(0, 1, first, first + 2));
      now.lots[i].slot = static_cast<uint8_t>(i);
      now.store.slot(i).state = kshare::SlotState::ready;
      now.store.slot(i).lots_head = 9;  // never freed
    }
  }

  void end(size_t at) {
    if (model[at].record) dead.push_back(model[at].id);
    model.erase(model.begin() + static_cast<std::ptrdiff_t>(at));
  }
  template <typename Chosen>
  void end_all(const Chosen& chosen) {
    for (size_t i = 0; i < model.size();) {
      if (chosen(model[i]))
        end(i);
      else
        ++i;
    }
  }

  bool hand_out(uint32_t lot) {
    Lot& its = now.lots[lot];
    if (!its.used || its.cursor > its.last || now.acks.free_count() == 0) return false;
    Entry entry;
    entry.lot = lot;
    entry.first = entry.last = its.cursor;
    entry.record = entry.bytes = true;
    entry.id = now.acks.hand_out(lot, its.cursor++);
    model.push_back(entry);
    return true;
  }
  bool gap(uint32_t lot) {
    Lot& its = now.lots[lot];
    if (!its.used || its.cursor > its.last || now.acks.free_count() == 0) return false;
    Entry entry;
    entry.lot = lot;
    entry.first = its.cursor;
    entry.last = std::min(its.cursor + 1, its.last);
    entry.state = AckState::pending;
    if (!now.acks.settle_range(lot, its.cursor, entry.last, kshare::kAckGap)) fault("gap");
    model.push_back(entry);
    return true;
  }
  bool acknowledge(bool front, Ack type) {
    for (size_t n = 0; n < model.size(); ++n) {
      const size_t i = front ? n : model.size() - 1 - n;
      Entry& entry = model[i];
      if (!entry.record) continue;
      bool freed = true;
      const Status status = now.acks.acknowledge(entry.id, type, freed);
      if (freed) fault("a slot was freed");
      if (entry.state == AckState::in_flight) {
        if (status.code != Errc::already_acknowledged) fault("in flight");
      } else if (entry.state == AckState::lost) {
        if (status.code != Errc::lock_lost) fault("lost");
        end(i);
      } else {
        if (!status.ok()) fault("acknowledge");
        entry.state = AckState::pending;
        entry.type = static_cast<uint8_t>(type);
        entry.bytes = false;
      }
      return true;
    }
    return false;
  }
  bool fly(AckState from, AckState to) {
    bool any = false;
    for (uint32_t i = now.acks.head(0); i != kshare::kNoAck; i = now.acks.next(i)) {
      if (now.acks.slot(i).state != from) continue;
      if (to == AckState::in_flight)
        now.acks.mark_in_flight(i);
      else
        now.acks.mark_pending(i);
      any = true;
    }
    for (Entry& entry : model) {
      if (entry.state == from) entry.state = to;
    }
    return any;
  }
  bool settle() {
    AckOutcome wanted;
    bool any = false;
    for (const Entry& entry : model) {
      if (entry.state != AckState::in_flight) continue;
      any = true;
      const auto offsets = static_cast<uint64_t>(entry.last - entry.first + 1);
      wanted.records += entry.record ? 1 : 0;
      wanted.gaps += entry.type == kshare::kAckGap ? offsets : 0;
      wanted.released += entry.type == 2 ? offsets : 0;
      wanted.rejected += entry.type == 3 ? offsets : 0;
    }
    const AckOutcome got =
        now.acks.settle(0, [](const AckSlot& ack) { return ack.state == AckState::in_flight; });
    if (got.records != wanted.records || got.gaps != wanted.gaps ||
        got.released != wanted.released || got.rejected != wanted.rejected) {
      fault("outcome");
    }
    end_all([](const Entry& entry) { return entry.state == AckState::in_flight; });
    return any;
  }
  // The lock of [first, last] is gone, but for what is in flight.
  bool lose(int64_t first, int64_t last) {
    const auto hit = [&](const auto& ack, int64_t end) {
      return ack.state != AckState::in_flight && ack.first <= last && end >= first;
    };
    uint64_t told = 0;
    const AckOutcome outcome = now.acks.lose(
        0, [&](const AckSlot& ack) { return hit(ack, ack.last()); }, {Errc::lock_lost, 0},
        [&](const AckSlot&) { ++told; });
    uint64_t held = 0;
    uint64_t ended = 0;
    for (Entry& entry : model) {
      if (entry.state == AckState::held && hit(entry, entry.last)) {
        entry.state = AckState::lost;
        ++held;
      } else if (entry.state == AckState::pending && hit(entry, entry.last)) {
        ended += entry.record ? 1 : 0;
      }
    }
    if (told != held || outcome.records != ended) fault("lose");
    end_all([&](const Entry& entry) {
      return entry.state == AckState::pending && hit(entry, entry.last);
    });
    return true;
  }

  bool apply(int event) {
    switch (event) {
      case 0:
        return hand_out(0);
      case 1:
        return hand_out(1);
      case 2:
        return gap(0);
      case 3:
        return acknowledge(true, Ack::accept);
      case 4:
        return acknowledge(false, Ack::release);
      case 5:
        return fly(AckState::pending, AckState::in_flight);
      case 6:
        return settle();
      case 7:
        return fly(AckState::in_flight, AckState::pending);
      case 8:
        return lose(10, 19);
      case 9:
        return lose(1, 1);
      default:
        return false;
    }
  }
  static constexpr int kEvents = 10;

  void check() {
    uint32_t pending = 0;
    uint32_t open[2] = {};
    uint32_t refs[2] = {};
    Model listed;
    for (const Entry& entry : model) {
      pending += entry.state == AckState::pending ? 1 : 0;
      if (entry.state != AckState::lost) ++open[entry.lot];
      refs[entry.lot] += entry.bytes ? 1 : 0;
      if (entry.state != AckState::lost) listed.push_back(entry);
    }
    std::sort(listed.begin(), listed.end(),
              [](const Entry& a, const Entry& b) { return a.first < b.first; });
    if (now.acks.used() != model.size()) fault("used");
    if (now.acks.free_count() != kSlots - model.size()) fault("free");
    if (now.acks.pending() != pending) fault("pending");
    size_t n = 0;
    for (uint32_t i = now.acks.head(0); i != kshare::kNoAck; i = now.acks.next(i), ++n) {
      const AckSlot& ack = now.acks.slot(i);
      if (n >= listed.size()) return fault("list is longer");
      const Entry& entry = listed[n];
      if (ack.first != entry.first || ack.last() != entry.last || ack.state != entry.state ||
          (ack.state != AckState::held && ack.type != entry.type) || ack.lot != entry.lot) {
        fault("list");
      }
      if (entry.record && i != entry.id.slot) fault("slot");
      if (ack.next == 0 && now.lists[0].acks_tail != i + 1) fault("tail");
    }
    if (n != listed.size()) fault("list is shorter");
    if (n == 0 && now.lists[0].acks_tail != 0) fault("tail of nothing");
    for (uint32_t i = 0; i < 2; ++i) {
      if (now.store.slot(i).refs != refs[i]) fault("store references");
      const Lot& lot = now.lots[i];
      if (lot.used ? lot.open != open[i] || (lot.open == 0 && lot.cursor > lot.last)
                   : open[i] != 0) {
        fault("lot");
      }
    }
    for (const Entry& entry : model) {
      const bool held = entry.state == AckState::held || entry.state == AckState::lost;
      if (entry.record && now.acks.is_held(entry.id) != held) fault("is_held");
    }
    for (const RecordId& id : dead) {
      bool freed = false;
      if (now.acks.is_held(id)) fault("a dead id is held");
      if (now.acks.acknowledge(id, Ack::accept, freed).code != Errc::unknown_record)
        fault("dead id");
    }
  }

  void explore(int depth) {
    if (depth == 0) return;
    const State before = now;
    const Model model_before = model;
    const size_t dead_before = dead.size();
    for (int event = 0; event < kEvents; ++event) {
      path.push_back(event);
      if (apply(event)) {
        ++steps;
        check();
        explore(depth - 1);
        now = before;
        model = model_before;
        dead.resize(dead_before);
      }
      path.pop_back();
    }
  }
};

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

TEST_CASE(
    "every order of handing out, acknowledging, sending, settling and losing keeps the books") {
  Machine machine;
  machine.begin();
  machine.check();
  machine.explore(7);
  CHECK(machine.steps > 100000);
  CHECK(machine.faults == 0);
}

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
