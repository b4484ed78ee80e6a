// SPDX-License-Identifier: Apache-2.0
// ack/ack_buffer.hpp: every order of events up to a depth, against a model that keeps it all in a
// plain list. States that have been seen are not looked at again.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <unordered_map>

#include "../support/batches.hpp"
#include "../support/explorer.hpp"
#include "kshare/ack/ack_buffer.hpp"

namespace test_ack_orders {
namespace {

using kshare::Ack;
using kshare::AckBuffer;
using kshare::AckChoice;
using kshare::AckOutcome;
using kshare::AckSlot;
using kshare::AckState;
using kshare::CommitRow;
using kshare::Commits;
using kshare::Errc;
using kshare::Lot;
using kshare::Lots;
using kshare::PartitionLists;
using kshare::RecordId;
using kshare::Status;
using kshare::Store;
using kshare::StoreSlot;
using kshare::Ticket;

constexpr uint32_t kSlots = 3;
constexpr Status kRefused{Errc::broker_error, 42};
constexpr Status kGone{Errc::lock_lost, 0};

// The tables as they lie in memory; copied to go back to an earlier moment.
struct State {
  AckSlot slots[kSlots];
  CommitRow commit_rows[1];
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
  bool named = false;  // by the commit

  bool renews() const { return state == AckState::renewing || state == AckState::renew_in_flight; }
  bool waits() const { return state == AckState::pending || state == AckState::in_flight; }
};
struct Model {
  std::vector<Entry> entries;
  uint32_t open = 0;  // of the commit made last
  uint32_t last_taken = 0;
  Status status{};
  bool lot_renewing[2] = {};
};

struct Machine : Explorer {
  State now;
  Model model;
  std::vector<RecordId> dead;
  std::unordered_map<std::string, int> seen;

  void begin() {
    static uint8_t memory[2];
    now.lots.attach({now.rows, 2}, {now.lists, 1});
    now.store.attach({now.store_slots, 2}, memory, 1);
    now.acks.attach({now.slots, kSlots}, {now.commit_rows, 1}, now.lots, now.store);
    for (uint32_t i = 0; i < 2; ++i) {  // the second lot lies in front of the first
      const int64_t first = i == 0 ? 10 : 0;
      static_cast<void>(now.lots.add(0, 1, first, first + 2));
      now.lots[i].slot = static_cast<uint8_t>(i);
      now.store.slot(i).state = kshare::SlotState::ready;
      now.store.slot(i).lots_head = 9;  // never freed
    }
  }

  // ---- What the model does when slots end.
  void unname(Entry& entry, Status how) {
    if (!entry.named) return;
    entry.named = false;
    --model.open;
    if (model.status.ok()) model.status = how;
  }
  template <typename Chosen>
  void end_all(const Chosen& chosen, Status how) {
    auto& all = model.entries;
    for (size_t i = 0; i < all.size();) {
      if (!chosen(all[i])) {
        ++i;
        continue;
      }
      unname(all[i], how);
      if (all[i].record) dead.push_back(all[i].id);
      all.erase(all.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  // The first or the last record that the application may speak about.
  Entry* pick(bool front) {
    for (size_t n = 0; n < model.entries.size(); ++n) {
      Entry& entry = model.entries[front ? n : model.entries.size() - 1 - n];
      if (entry.record) return &entry;
    }
    return nullptr;
  }
  bool may_take(uint32_t lot) const {
    const Lot& its = now.lots[lot];
    if (!its.used || its.cursor > its.last || now.acks.free_count() == 0) return false;
    for (const Entry& entry : model.entries) {  // a renewal of the rest is out
      if (!entry.record && entry.renews() && entry.lot == lot) return false;
    }
    return true;
  }
  void add(uint32_t lot, int64_t first, int64_t last, AckState state, uint8_t type) {
    Entry entry;
    entry.lot = lot;
    entry.first = first;
    entry.last = last;
    entry.state = state;
    entry.type = type;
    for (uint32_t i = now.acks.head(0); i != kshare::kNoAck; i = now.acks.next(i)) {
      if (now.acks.slot(i).first == first) model.last_taken = i;
    }
    model.entries.push_back(entry);
  }

  // ---- Events. False: it cannot happen now.
  bool hand_out(uint32_t lot) {
    if (!may_take(lot)) return false;
    const int64_t at = now.lots[lot].cursor++;
    const RecordId id = now.acks.hand_out(lot, at);
    add(lot, at, at, AckState::held, 0);
    model.entries.back().record = model.entries.back().bytes = true;
    model.entries.back().id = id;
    return true;
  }
  bool gap(uint32_t lot) {
    if (!may_take(lot)) return false;
    Lot& its = now.lots[lot];
    const int64_t first = its.cursor;
    const int64_t last = std::min(first + 1, its.last);
    if (!now.acks.settle_range(lot, its.cursor, last, kshare::kAckGap)) fault("gap");
    add(lot, first, last, AckState::pending, kshare::kAckGap);
    return true;
  }
  bool stage(uint32_t lot) {
    if (!may_take(lot)) return false;
    now.acks.stage_renewal(lot);
    add(lot, now.lots[lot].cursor, now.lots[lot].last, AckState::renewing, 4);
    return true;
  }
  bool acknowledge(bool front, Ack type) {
    Entry* const entry = pick(front);
    if (entry == nullptr) return false;
    bool freed = true;
    const Status status = now.acks.acknowledge(entry->id, type, freed);
    if (freed) fault("a slot was freed");
    if (entry->state == AckState::in_flight) {
      if (status.code != Errc::already_acknowledged) fault("in flight");
      return true;
    }
    if (entry->state == AckState::lost) {
      if (status.code != Errc::lock_lost) fault("lost");
      const RecordId id = entry->id;
      end_all([&](const Entry& one) { return one.record && one.id == id; }, {});
      return true;
    }
    if (!status.ok()) fault("acknowledge");
    if (type == Ack::renew) {
      if (entry->renews()) return true;
      unname(*entry, {});
      entry->state = AckState::renewing;
    } else {
      entry->state = AckState::pending;
      entry->bytes = false;
    }
    entry->type = static_cast<uint8_t>(type);
    return true;
  }
  bool detach(bool front) {
    Entry* const entry = pick(front);
    if (entry == nullptr) return false;
    bool freed = true;
    const Status status = now.acks.detach(entry->id, freed);
    const bool sent = entry->state == AckState::in_flight;
    if (status.code != (sent ? Errc::already_acknowledged : Errc::ok)) fault("detach");
    if (freed) fault("a slot was freed");
    entry->bytes = false;
    return true;
  }
  bool commit() {
    uint16_t slots = 0;
    uint32_t records = 0;
    for (const Entry& entry : model.entries) {
      if (!entry.waits() || entry.named) continue;
      ++slots;
      records += entry.record ? 1 : 0;
    }
    if (slots == 0) return false;
    const Ticket ticket = now.acks.commits.begin(1);
    if ((ticket == 0) != (model.open != 0)) fault("room for a commit");
    if (ticket == 0) return false;
    const AckBuffer::Tagged tagged = now.acks.name_for_commit(0, Commits::tag(ticket));
    if (tagged.slots != slots || tagged.records != records) fault("named");
    CommitRow row;
    row.ticket = ticket;
    row.open = slots;
    now.acks.commits.add(row);
    for (Entry& entry : model.entries) entry.named = entry.named || entry.waits();
    model.open = slots;
    model.status = {};
    return true;
  }
  template <typename Mark>
  bool fly(AckState from, AckState to, const Mark& mark) {
    bool any = false;
    for (uint32_t i = now.acks.head(0); i != kshare::kNoAck; i = now.acks.next(i)) {
      if (now.acks.slot(i).state != from) continue;
      mark(i);
      any = true;
    }
    for (Entry& entry : model.entries) {
      if (entry.state != from) continue;
      entry.state = to;
      if (to == AckState::renew_in_flight) model.lot_renewing[entry.lot] = true;
    }
    return any;
  }
  // A renewal has its answer, or goes again; the slots of ranges end in any case.
  bool renewed(bool again) {
    const AckState to = again ? AckState::renewing : AckState::held;
    const auto range = [](const auto& ack) {
      return !ack.record && ack.state == AckState::renew_in_flight;
    };
    const bool any = fly(AckState::renew_in_flight, AckState::renew_in_flight, [&](uint32_t i) {
      if (!now.acks.slot(i).record) return;
      if (again)
        now.acks.mark_renewing(i);
      else
        now.acks.mark_held(i);
    });
    for (Entry& entry : model.entries) {
      if (entry.record && entry.state == AckState::renew_in_flight) entry.state = to;
    }
    end_all(range, {});
    settle_ranges(AckState::renew_in_flight);
    return any;
  }
  void settle_ranges(AckState state) {
    AckChoice choice;
    choice.states = AckChoice::bit(state);
    choice.ranges_only = true;
    static_cast<void>(now.acks.settle(0, choice));
  }
  bool unstage() {
    const auto range = [](const auto& ack) {
      return !ack.record && ack.state == AckState::renewing;
    };
    const size_t before = model.entries.size();
    end_all(range, {});
    settle_ranges(AckState::renewing);
    return model.entries.size() != before;
  }
  bool settle(Status how) {
    AckOutcome wanted;
    bool any = false;
    for (const Entry& entry : model.entries) {
      if (entry.state != AckState::in_flight) continue;
      any = true;
      const auto offsets = static_cast<uint64_t>(entry.last - entry.first + 1);
      wanted.records += entry.record ? 1 : 0;
      wanted.gaps += entry.type == kshare::kAckGap ? offsets : 0;
      wanted.released += entry.type == 2 ? offsets : 0;
      wanted.rejected += entry.type == 3 ? offsets : 0;
    }
    const auto flying = [](const auto& ack) { return ack.state == AckState::in_flight; };
    AckChoice choice;
    choice.states = AckChoice::bit(AckState::in_flight);
    const AckOutcome got = now.acks.settle(0, choice, how);
    if (got.records != wanted.records || got.gaps != wanted.gaps ||
        got.released != wanted.released || got.rejected != wanted.rejected) {
      fault("outcome");
    }
    end_all(flying, how);
    return any;
  }
  // The lock of [first, last] is gone, but for what is in flight.
  bool lose(int64_t first, int64_t last) {
    const auto hit = [&](const auto& ack, int64_t end) {
      return ack.state != AckState::in_flight && ack.first <= last && end >= first;
    };
    AckChoice choice;
    choice.states = ~AckChoice::bit(AckState::in_flight);
    choice.first = first;
    choice.last = last;
    uint64_t told = 0;
    const auto on_lost = [](void* count, const AckSlot&) { ++*static_cast<uint64_t*>(count); };
    const AckOutcome outcome = now.acks.lose(0, choice, kGone, {on_lost, &told});
    uint64_t held = 0;
    uint64_t ended = 0;
    const auto ends = [&](const Entry& entry) {
      return (entry.state == AckState::pending || (entry.renews() && !entry.record)) &&
             hit(entry, entry.last);
    };
    for (Entry& entry : model.entries) {
      const bool with_application =
          entry.record && (entry.state == AckState::held || entry.renews());
      ended += ends(entry) && entry.record ? 1u : 0u;
      if (!with_application || !hit(entry, entry.last)) continue;
      entry.state = AckState::lost;
      ++held;
    }
    if (told != held || outcome.records != ended) fault("lose");
    end_all(ends, kGone);
    return true;
  }

  bool apply(int event) {
    AckBuffer& acks = now.acks;
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
        return fly(AckState::pending, AckState::in_flight,
                   [&](uint32_t i) { acks.mark_in_flight(i); });
      case 6:
        return settle({});
      case 7:
        return fly(AckState::in_flight, AckState::pending,
                   [&](uint32_t i) { acks.mark_pending(i); });
      case 8:
        return lose(10, 19);
      case 9:
        return lose(1, 1);
      case 10:
        return acknowledge(true, Ack::renew);
      case 11:
        return acknowledge(false, Ack::renew);
      case 12:
        return stage(0);
      case 13:
        return fly(AckState::renewing, AckState::renew_in_flight,
                   [&](uint32_t i) { acks.mark_renew_in_flight(i); });
      case 14:
        return renewed(false);
      case 15:
        return renewed(true);
      case 16:
        return unstage();
      case 17:
        return detach(true);
      case 18:
        return detach(false);
      case 19:
        return commit();
      case 20:
        return settle(kRefused);
      default:
        return false;
    }
  }
  static constexpr int kEvents = 21;

  // ---- What must be true after each.
  void check() {
    uint32_t pending = 0;
    uint32_t renewals = 0;
    uint32_t held = 0;
    uint32_t lost = 0;
    std::vector<Entry> listed;
    for (const Entry& entry : model.entries) {
      pending += entry.state == AckState::pending ? 1u : 0u;
      renewals += entry.state == AckState::renewing ? 1u : 0u;
      lost += entry.state == AckState::lost ? 1u : 0u;
      held += entry.record && !entry.waits() ? 1u : 0u;
      if (entry.state != AckState::lost) listed.push_back(entry);
    }
    std::sort(listed.begin(), listed.end(),
              [](const Entry& a, const Entry& b) { return a.first < b.first; });
    if (now.acks.used() != model.entries.size()) fault("used");
    if (now.acks.free_count() != kSlots - model.entries.size()) fault("free");
    if (now.acks.pending() != pending) fault("pending");
    if (now.acks.renewals() != renewals) fault("renewals");
    if (now.acks.held() != held) fault("held");
    if (now.lists[0].lost != lost) fault("lost");
    check_list(listed);
    check_lots();
    check_ids();
    const Commits& commits = now.acks.commits;
    if (commits.any_open() != (model.open != 0)) fault("open commits");
    const Status wanted = model.open != 0 ? Status{Errc::in_progress, 0} : model.status;
    if (commits.last() != 0 && !(commits.status(commits.last()) == wanted)) fault("commit");
  }
  void check_list(const std::vector<Entry>& listed) {
    size_t n = 0;
    for (uint32_t i = now.acks.head(0); i != kshare::kNoAck; i = now.acks.next(i), ++n) {
      const AckSlot& ack = now.acks.slot(i);
      if (n >= listed.size()) return fault("list is longer");
      const Entry& entry = listed[n];
      if (ack.first != entry.first || ack.last() != entry.last || ack.state != entry.state ||
          (ack.state != AckState::held && ack.type != entry.type) || ack.lot != entry.lot ||
          (ack.commit != 0) != entry.named || ack.record != entry.record) {
        fault("list");
      }
      if (entry.record && i != entry.id.slot) fault("slot");
      if (ack.next == 0 && now.lists[0].acks_tail != i + 1) fault("tail");
    }
    if (n != listed.size()) fault("list is shorter");
    if (n == 0 && now.lists[0].acks_tail != 0) fault("tail of nothing");
  }
  void check_lots() {
    uint32_t open[2] = {};
    uint32_t refs[2] = {};
    for (const Entry& entry : model.entries) {
      if (entry.state != AckState::lost) ++open[entry.lot];
      refs[entry.lot] += entry.bytes ? 1 : 0;
    }
    for (uint32_t i = 0; i < 2; ++i) {
      if (now.store.slot(i).refs != refs[i]) fault("store references");
      const Lot& lot = now.lots[i];
      if (lot.used ? lot.open != open[i] || (lot.open == 0 && lot.cursor > lot.last)
                   : open[i] != 0) {
        fault("lot");
      }
      if (lot.used && lot.renewing != model.lot_renewing[i]) fault("renewing");
    }
  }
  void check_ids() {
    for (const Entry& entry : model.entries) {
      const bool held = entry.record && !entry.waits();
      if (entry.record && now.acks.is_held(entry.id) != held) fault("is_held");
      const RecordId found = now.acks.find(0, entry.first);
      if (entry.record ? !(found == entry.id) : found.generation != 0) fault("find");
    }
    for (const RecordId& id : dead) {
      bool freed = false;
      if (now.acks.is_held(id)) fault("a dead id is held");
      if (now.acks.acknowledge(id, Ack::accept, freed).code != Errc::unknown_record)
        fault("dead id");
      if (now.acks.detach(id, freed).code != Errc::unknown_record) fault("dead id detached");
    }
  }

  // All that decides what may happen from here.
  std::string key() const {
    std::string text;
    const auto put = [&](auto value) { text += static_cast<char>(value); };
    for (const Entry& entry : model.entries) {
      put(entry.first);
      put(entry.last);
      put(entry.state);
      put(entry.type);
      put(entry.record ? entry.id.slot + 1 : 0);
      put(entry.bytes + 2 * entry.named);
    }
    put('.');
    put(model.last_taken);
    put(model.status.code);
    for (const Lot& lot : now.rows) put(lot.used ? lot.cursor : -1);
    for (bool renewing : model.lot_renewing) put(renewing);
    return text;
  }
  void explore(int depth) {
    int& left = seen[key()];
    if (left >= depth) return;
    left = depth;
    const State before = now;
    const Model model_before = model;
    const size_t dead_before = dead.size();
    const auto go_on = [&](int) {
      check();
      explore(depth - 1);
    };
    const auto back = [&] {
      now = before;
      model = model_before;
      dead.resize(dead_before);
    };
    try_each(kEvents, [&](int event) { return apply(event); }, go_on, back);
  }
};

}  // namespace

TEST_CASE(
    "every order of handing out, acknowledging, renewing, detaching, committing, sending, settling "
    "and losing keeps the books") {
  Machine machine;
  machine.begin();
  machine.check();
  machine.explore(9);
  CHECK(machine.steps > 1000000);
  CHECK(machine.faults == 0);
}

}  // namespace test_ack_orders
