// SPDX-License-Identifier: Apache-2.0
// What:        lots and ack slots of one partition in any state, a renewal of them in flight, and
//              what must be true of each offset when its answer has come.
// Flow:        Plan -> Bench::add, send, happen, succeed or fail -> faults, told to doctest.
// Memory:      a Desk.
// Valid until: one Bench serves any number of cases.
// Errors:      the first faults are told with their case, all are counted.
#ifndef KSHARE_TESTS_RENEWALS_HPP
#define KSHARE_TESTS_RENEWALS_HPP

#include <doctest/doctest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "invariants.hpp"
#include "scenario.hpp"

namespace renewals {

using kshare::Ack;
using kshare::AckSlot;
using kshare::AckState;
using kshare::Instant;
using kshare::kNoAck;
using kshare::kNoLot;
using kshare::LockTimes;
using kshare::Lot;
using kshare::RecordId;
using kshare::Renewal;

inline constexpr uint32_t kLink = 1;
inline constexpr uint32_t kSlots = 9;
inline constexpr LockTimes kNew{{5000}, {5200}};

inline LockTimes old_times(uint32_t lot) { return {{1000 + lot * 100}, {1050 + lot * 100}}; }

enum class Rest : uint8_t { none, missing, in_slot, half_in_slot, given_back };
inline constexpr uint32_t kRests = 5;

// What the application has done with the first offsets of a lot, and what is behind them.
struct Plan {
  std::vector<AckState> slots;
  Rest rest = Rest::none;
  bool renew = false;
};

enum class Meanwhile : uint8_t {
  nothing,
  hand_out,
  gap,
  ack_first,
  ack_all,
  evict,
  give_back,
  release,
  renew_held,
  lose_first,
  lose_all,
};
inline constexpr uint32_t kMeanwhiles = 11;
enum class Answer : uint8_t { ok, failed, again };
inline constexpr uint32_t kAnswers = 3;

// Where an offset is, and what it has been promised.
struct Place {
  uint32_t lot = kNoLot;
  LockTimes times{};
  int16_t count = 0;
  bool asked = false;    // in the request
  bool current = false;  // still as it was when the request left
};
using Places = std::map<int64_t, Place>;

inline bool same(const LockTimes& a, const LockTimes& b) {
  return a.min == b.min && a.max == b.max;
}

inline char letter(AckState state) {
  if (state == AckState::held) return 'h';
  return state == AckState::pending ? 'p' : 'r';
}

struct Bench {
  scenario::Desk desk;
  kshare::Tables& t = desk.tables;
  std::set<int64_t> asked;
  std::string name;
  uint32_t row = 0;
  uint64_t cases = 0;
  uint64_t faults = 0;
  uint32_t lots_made = 0;

  Bench() {
    desk.assign(1, 1, 4);
    row = t.topology.find_partition(scenario::to_uuid(scenario::uuid_of(1)), 0);
  }
  void fault(const char* what) {
    if (++faults < 4) FAIL_CHECK(std::string(what) << " in " << name);
  }
  void begin(uint32_t rows) {
    t.store.attach(desk.memory.slots, desk.memory.store, desk.memory.limits->slot_bytes());
    t.lots.attach({desk.memory.lots.data, rows}, desk.memory.lists);
    t.acks.attach({desk.memory.acks.data, kSlots}, desk.memory.commits, t.lots, t.store);
    t.shared.events.clear();
    t.giving_back = false;
    asked.clear();
    name.clear();
    lots_made = 0;
    ++cases;
  }
  RecordId id_at(int64_t offset) const { return t.acks.find(row, offset); }
  void say(int64_t offset, Ack type) {
    bool freed = false;
    if (!t.acks.acknowledge(id_at(offset), type, freed).ok()) fault("acknowledge");
  }

  // Lot n begins at 10 n + 10.
  uint32_t add(const Plan& plan) {
    const uint32_t n = lots_made++;
    const int64_t first = 10 * int64_t{n} + 10;
    const auto out = static_cast<int64_t>(plan.slots.size());
    const int64_t last = first + out + (plan.rest == Rest::none ? 0 : 3) - 1;
    const uint32_t index = t.lots.add(row, kLink, first, last);
    Lot& lot = t.lots[index];
    lot.delivery_count = static_cast<int16_t>(n + 1);
    lot.lock_min = old_times(n).min;
    lot.lock_max = old_times(n).max;
    lot.walked = plan.rest == Rest::in_slot ? last + 1 : first + out;
    if (plan.rest == Rest::half_in_slot) lot.walked += 2;
    const uint32_t slot = t.store.reserve(kLink);
    if (lot.cursor < lot.walked) t.lots.enter_slot(t.store, index, slot);
    t.store.publish(slot);
    for (int64_t i = 0; i < out; ++i) static_cast<void>(t.acks.hand_out(index, lot.cursor++));
    if (lot.cursor == lot.walked) t.lots.leave_slot(t.store, index);
    static_cast<void>(t.store.free_if_done(slot));
    for (int64_t i = 0; i < out; ++i) {
      const AckState state = plan.slots[static_cast<size_t>(i)];
      if (state == AckState::pending) say(first + i, Ack::accept);
      if (state == AckState::renewing) say(first + i, Ack::renew);
    }
    if (plan.rest == Rest::given_back) t.give_back(index);
    lot.renew = plan.renew;
    return index;
  }

  // The first `limit` of what is to be renewed leave.
  void send(uint32_t limit) {
    Renewal renewal(t.lots, t.acks);
    renewal.stage(kLink);
    for (uint32_t i = t.acks.head(row); i != kNoAck && limit != 0; i = t.acks.next(i)) {
      const AckSlot& ack = t.acks.slot(i);
      if (ack.state != AckState::renewing) continue;
      t.acks.mark_renew_in_flight(i);
      for (int64_t at = ack.first; at <= ack.last(); ++at) asked.insert(at);
      --limit;
    }
    renewal.unstage(row);
    check_books();
  }

  // What may happen to the first lot before the answer comes. False: it cannot.
  bool happen(Meanwhile what) {
    Lot& lot = t.lots[0];
    switch (what) {
      case Meanwhile::nothing:
        return true;
      case Meanwhile::hand_out:
        if (!lot.in_slot || lot.cursor >= lot.walked || t.acks.free_count() == 0) return false;
        static_cast<void>(t.acks.hand_out(0, lot.cursor++));
        if (lot.cursor == lot.walked) t.lots.leave_slot(t.store, 0);
        return true;
      case Meanwhile::gap:
        if (lot.cursor >= lot.walked || t.acks.free_count() == 0) return false;
        static_cast<void>(t.acks.settle_range(0, lot.cursor, lot.cursor, kshare::kAckGap));
        if (lot.cursor == lot.walked) t.lots.leave_slot(t.store, 0);
        return true;
      case Meanwhile::ack_first:
        return speak(1, Ack::accept);
      case Meanwhile::ack_all:
        return speak(kSlots, Ack::release);
      case Meanwhile::renew_held:
        return speak(1, Ack::renew);
      case Meanwhile::evict:
        t.evicted(row, kLink);
        return true;
      case Meanwhile::release:
      case Meanwhile::give_back:
        if (!lot.owes()) return false;
        t.give_back(0);
        if (what == Meanwhile::release) t.release_given_back();
        return true;
      case Meanwhile::lose_first:
        t.supersede(row, 10, 10);
        return true;
      case Meanwhile::lose_all:
        t.supersede(row, 10, 19);
        return true;
    }
    return false;
  }
  bool speak(uint32_t count, Ack type) {
    bool any = false;
    for (int64_t at = 10; at < 20 && count != 0; ++at) {
      const RecordId id = id_at(at);
      if (!t.acks.is_held(id) || t.acks.slot(id.slot).state == AckState::lost) continue;
      if (type == Ack::renew && t.acks.slot(id.slot).renews()) continue;
      say(at, type);
      any = true;
      --count;
    }
    return any;
  }

  Places places() {
    Places all;
    const auto put = [&](int64_t at, uint32_t index, bool current) {
      const Lot& lot = t.lots[index];
      const bool in = asked.count(at) != 0;
      const Place place{index, {lot.lock_min, lot.lock_max}, lot.delivery_count, in, current};
      if (!all.emplace(at, place).second) fault("an offset is in two places");
    };
    std::set<int64_t> ranges;  // of renewals in flight
    for (uint32_t i = t.acks.head(row); i != kNoAck; i = t.acks.next(i)) {
      const AckSlot& ack = t.acks.slot(i);
      if (ack.record || ack.state != AckState::renew_in_flight) continue;
      for (int64_t at = ack.first; at <= ack.last(); ++at) ranges.insert(at);
    }
    for (uint32_t i = t.acks.head(row); i != kNoAck; i = t.acks.next(i)) {
      const AckSlot& ack = t.acks.slot(i);
      if (!ack.record && ack.renews()) continue;
      const bool flies = ack.state == AckState::renew_in_flight;
      for (int64_t at = ack.first; at <= ack.last(); ++at) {
        put(at, ack.lot, flies || ranges.count(at) != 0);
      }
    }
    for (uint32_t i = 0; i < t.lots.count(); ++i) {
      if (!t.lots[i].used) continue;
      for (int64_t at = t.lots[i].cursor; at <= t.lots[i].last; ++at) {
        put(at, i, ranges.count(at) != 0);
      }
    }
    return all;
  }

  // What must be true at any time.
  void check_books() {
    if (const char* broken = invariants::broken_invariant(t)) fault(broken);
    uint32_t renewals = 0;
    uint32_t held = 0;
    for (uint32_t i = 0; i < t.acks.count(); ++i) {
      const AckSlot& ack = t.acks.slot(i);
      renewals += ack.state == AckState::renewing ? 1u : 0u;
      held += ack.is_held() || ack.state == AckState::lost ? 1u : 0u;
      if (ack.state == AckState::renewing && !ack.record) fault("a range is still staged");
      if (ack.state == AckState::free || ack.state == AckState::lost) continue;
      const Lot& lot = t.lots[ack.lot];
      if (!ack.record && ack.renews()) continue;
      if (ack.first < lot.first || ack.last() > lot.last) fault("an ack beyond its lot");
    }
    if (t.acks.renewals() != renewals) fault("renewals miscounted");
    if (t.acks.held() != held) fault("held miscounted");
  }
  void check_ended() {
    check_books();
    for (uint32_t i = 0; i < t.acks.count(); ++i) {
      if (t.acks.slot(i).state == AckState::renew_in_flight) fault("a slot is still in flight");
    }
    for (uint32_t i = 0; i < t.lots.count(); ++i) {
      if (t.lots[i].renewing) fault("a lot is still being renewed");
    }
  }

  // One lot of those that were in the request: as it ought to be, or, for want of a row, with its
  // early end and the late one besides.
  void check_lot(uint32_t index, const Places& before, const Places& after, bool rows) {
    bool strict = true;
    bool degraded = true;
    bool renewed = false;
    bool other = false;
    const LockTimes old = old_times(index);
    for (const auto& [at, was] : before) {
      if (was.lot != index) continue;
      const auto found = after.find(at);
      if (found == after.end()) return fault("an offset is gone");
      const Place& is = found->second;
      const bool wanted = was.asked && was.current;
      renewed = renewed || wanted;
      other = other || !wanted;
      if (wanted ? !same(is.times, kNew) : !same(is.times, old)) strict = false;
      if (is.lot != index || is.times.min != old.min || is.times.max != kNew.max) degraded = false;
      if (!was.asked && is.times.min > old.min) fault("longer than true");
      if (is.count != was.count) fault("another delivery count");
    }
    const bool must = rows || !renewed || !other;
    if (!strict && (must || !degraded)) fault("lock times");
  }
  void succeed() {
    const Places before = places();
    std::set<uint32_t> lots;
    uint64_t wanted = 0;
    for (uint32_t i = 0; i < t.lots.count(); ++i) {
      if (t.lots[i].used && t.lots[i].renewing) lots.insert(i);
    }
    for (const auto& place : before) wanted += place.second.asked && place.second.current ? 1 : 0;
    const bool rows = t.lots.free_count() >= lots.size();
    const uint64_t got = Renewal(t.lots, t.acks).succeeded(row, kLink, kNew);
    if (got != wanted) fault("offsets miscounted");
    check_ended();
    const Places after = places();
    if (after.size() != before.size()) fault("an offset is new");
    for (uint32_t index : lots) {
      check_lot(index, before, after, rows);
      const Lot& lot = t.lots[index];
      if (lot.used && lot.owes() && lot.renew) fault("to be renewed again");
    }
    for (const auto& [at, was] : before) {
      if (lots.count(was.lot) == 0 && !same(after.at(at).times, was.times)) fault("touched");
    }
  }
  void fail(bool again) {
    const Places before = places();
    std::set<int64_t> refused;
    std::set<int64_t> wanted;
    std::set<int64_t> records;      // of those
    std::map<uint32_t, bool> lots;  // whether one was refused before
    for (uint32_t i = t.acks.head(row); i != kNoAck; i = t.acks.next(i)) {
      const AckSlot& ack = t.acks.slot(i);
      if (ack.state != AckState::renew_in_flight) continue;
      if (ack.record) records.insert(ack.first);
      for (int64_t at = ack.first; at <= ack.last(); ++at) wanted.insert(at);
    }
    for (uint32_t i = 0; i < t.lots.count(); ++i) {
      if (t.lots[i].used && t.lots[i].renewing) lots[i] = t.lots[i].no_renewal;
    }
    Renewal(t.lots, t.acks).failed(row, kLink, again, [&](int64_t first, int64_t last) {
      for (int64_t at = first; at <= last; ++at) {
        if (!refused.insert(at).second) fault("refused twice");
      }
    });
    if (refused != (again ? std::set<int64_t>{} : wanted)) fault("refused");
    check_ended();
    const Places after = places();
    if (after.size() != before.size()) fault("offsets");
    for (const auto& [at, was] : before) {
      if (after.count(at) == 0 || !same(after.at(at).times, was.times)) fault("times");
      if (records.count(at) == 0) continue;
      const AckState is = t.acks.slot(id_at(at).slot).state;
      if (is != (again ? AckState::renewing : AckState::held)) fault("renewed again");
    }
    for (const auto& [index, refused_before] : lots) {
      const Lot& lot = t.lots[index];
      if (lot.used && !again && (lot.renew || !lot.no_renewal)) fault("asked for again");
      if (lot.used && again && lot.no_renewal != refused_before) fault("not asked for again");
    }
  }

  void run(const std::vector<Plan>& plans, uint32_t free_rows, uint32_t limit, Meanwhile what,
           Answer answer) {
    begin(static_cast<uint32_t>(plans.size()) + free_rows);
    for (const Plan& plan : plans) {
      static_cast<void>(add(plan));
      for (AckState state : plan.slots) name += letter(state);
      name += "+" + std::to_string(static_cast<int>(plan.rest)) + (plan.renew ? "! " : " ");
    }
    name += std::to_string(free_rows) + " rows, " + std::to_string(limit) + " sent, meanwhile " +
            std::to_string(static_cast<int>(what)) + ", answer " +
            std::to_string(static_cast<int>(answer));
    send(limit);
    if (!happen(what)) return;
    check_books();
    if (answer == Answer::ok) return succeed();
    fail(answer == Answer::again);
  }
};

}  // namespace renewals

#endif  // KSHARE_TESTS_RENEWALS_HPP
