// SPDX-License-Identifier: Apache-2.0
// ack/lots.hpp and what core/tables.hpp does to lots: every order of events up to a depth, against
// a list of offsets, each with where it may be after each event. States seen are not looked at
// again; from each of the last ones everything is brought to its end.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <unordered_map>

#include "../support/explorer.hpp"
#include "../support/invariants.hpp"
#include "../support/small_tables.hpp"
#include "kshare/core/demand.hpp"

namespace test_lots_orders {
namespace {

using kshare::Ack;
using kshare::AckSlot;
using kshare::AckState;
using kshare::Errc;
using kshare::kAckGap;
using kshare::kNoAck;
using kshare::kNoLot;
using kshare::Lot;
using kshare::RecordId;
using kshare::Stats;
using kshare::Store;
using kshare::Tables;

constexpr uint32_t kRow = 0;
constexpr uint32_t kRows = 3;
constexpr uint32_t kAckSlots = 4;

// Where an offset is that a broker has acquired for us. Bits, so that several may be allowed.
enum Place : uint32_t {
  missing = 1,
  in_slot = 2,
  given_back = 4,
  held = 8,
  pending = 16,
  flying = 32,
  lost = 64,   // with the application, without a lock
  gone = 128,  // settled, or no longer ours
};
constexpr uint32_t kUnseen = missing | in_slot | given_back;

struct Piece {
  int64_t offset = 0;
  int16_t acquired = 0;  // in which acquisition, counted from 1: travels as the delivery count
  uint8_t link = 0;
  uint8_t type = 0;     // of an ack
  bool record = false;  // it was handed out
  bool anew = false;    // acquired anew while its ack was flying: not sent again
  uint32_t place = missing;
  uint32_t may_be = 0;  // after the event that is being looked at; 0: what it is
  RecordId id{};
};
// What the counters must say.
struct Counts {
  uint64_t expired = 0;
  uint64_t acks_ok = 0;
  uint64_t acks_failed = 0;
  uint64_t acks_unknown = 0;
  uint64_t released = 0;
  uint64_t gaps = 0;
};
enum class Word : uint8_t { none, ok, failed, unknown, lock_gone, evicted };

struct Machine : Explorer {
  SmallTables now;
  std::vector<Piece> pieces;
  Counts counts;
  int16_t acquisitions = 0;
  std::unordered_map<std::string, int> seen;
  uint64_t ends = 0;

  Tables& t = now.tables;

  void begin() {
    now.attach(kRows, kAckSlots);
    const kshare::Uuid id{{1}};
    t.topology.begin_assignment();
    static_cast<void>(t.topology.assign(id, 0));
    static_cast<void>(t.topology.end_assignment());
  }

  // ---- What may become of which offsets.
  template <typename Chosen>
  bool allow(const Chosen& chosen, uint32_t from, uint32_t to) {
    bool any = false;
    for (Piece& piece : pieces) {
      if ((piece.place & from) == 0 || !chosen(piece)) continue;
      piece.may_be = to;
      any = true;
    }
    return any;
  }
  static auto on(uint32_t link) {
    return [link](const Piece& piece) { return piece.link == link; };
  }
  bool any(uint32_t place, uint32_t link) const {
    return std::any_of(pieces.begin(), pieces.end(), [&](const Piece& piece) {
      return (piece.place & place) != 0 && piece.link == link;
    });
  }
  Piece* find(int64_t offset, int16_t acquired) {
    for (Piece& piece : pieces) {
      if (piece.offset == offset && piece.acquired == acquired) return &piece;
    }
    return nullptr;
  }

  // ---- Where the tables have an offset.
  struct Found {
    uint32_t place = gone;
    uint8_t type = 0;
    bool record = false;
  };
  const AckSlot* slot_of(const Piece& piece) const {
    for (uint32_t i = t.acks.head(kRow); i != kNoAck; i = t.acks.next(i)) {
      const AckSlot& ack = t.acks.slot(i);
      if (ack.first > piece.offset || ack.last() < piece.offset) continue;
      if (t.lots[ack.lot].delivery_count == piece.acquired) return &ack;
    }
    return nullptr;
  }
  Found look(const Piece& piece) const {
    if (const AckSlot* const ack = slot_of(piece)) {
      const uint32_t place = ack->state == AckState::held      ? held
                             : ack->state == AckState::pending ? pending
                                                               : flying;
      return {place, ack->type, ack->record};
    }
    for (uint32_t i = t.lots.head(kRow); i != kNoLot; i = t.lots.next(i)) {
      const Lot& lot = t.lots[i];
      if (lot.delivery_count != piece.acquired) continue;
      if (piece.offset < lot.cursor || piece.offset > lot.last) continue;
      if (lot.give_back) return {given_back, 0, false};
      return {lot.in_slot && piece.offset < lot.walked ? in_slot : missing, 0, false};
    }
    if (piece.id.generation != 0) {
      const AckSlot& ack = t.acks.slot(piece.id.slot);
      if (ack.generation == piece.id.generation && ack.state == AckState::lost) {
        return {lost, 0, true};
      }
    }
    return {};
  }
  uint64_t offsets_in_tables() const {
    uint64_t count = 0;
    for (uint32_t i = 0; i < t.acks.count(); ++i) {
      const AckSlot& ack = t.acks.slot(i);
      if (ack.state != AckState::free) count += static_cast<uint64_t>(ack.last() - ack.first + 1);
    }
    for (uint32_t i = 0; i < t.lots.count(); ++i) {
      if (t.lots[i].used) count += static_cast<uint64_t>(t.lots[i].owed());
    }
    return count;
  }

  // ---- Takes over what has happened, if it was allowed, and counts it.
  void count_end(const Piece& piece, Word word) {
    if (piece.place == flying || piece.place == pending) {
      if (word == Word::ok) {
        counts.acks_ok += piece.record;
        counts.released += piece.type == static_cast<uint8_t>(Ack::release);
        counts.gaps += piece.type == kAckGap;
      }
      if (word == Word::failed || word == Word::lock_gone) counts.acks_failed += piece.record;
      if (word == Word::unknown) counts.acks_unknown += piece.record;
    } else if (word == Word::lock_gone && piece.place != lost) {
      ++counts.expired;
    }
  }
  void adopt(Word word) {
    uint64_t there = 0;
    for (size_t i = 0; i < pieces.size();) {
      Piece& piece = pieces[i];
      const Found found = look(piece);
      const uint32_t allowed = piece.may_be == 0 ? piece.place : piece.may_be;
      if ((found.place & allowed) == 0) fault("an offset is where it must not be");
      if (found.place == gone || (found.place == lost && piece.place != lost)) {
        count_end(piece, word);
      }
      if (found.place == gone) {
        pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(i));
        continue;
      }
      if (found.place != lost && piece.place == found.place && piece.type != found.type) {
        fault("another word than the application's");
      }
      if (found.place == lost || found.record) piece.record = true;
      piece.type = found.type;
      piece.place = found.place;
      piece.may_be = 0;
      ++there;
      ++i;
    }
    if (there != offsets_in_tables()) fault("an offset that nobody has acquired, or one twice");
    const Stats& stats = t.shared.stats;
    if (stats.expired != counts.expired) fault("expired");
    if (stats.acks_ok != counts.acks_ok) fault("acks_ok");
    if (stats.acks_failed != counts.acks_failed) fault("acks_failed");
    if (stats.acks_unknown != counts.acks_unknown) fault("acks_unknown");
    if (stats.released != counts.released) fault("released");
    if (stats.gaps != counts.gaps) fault("gaps");
  }
  void check() {
    if (const char* broken = invariants::of_lists(t)) fault(broken);
    if (const char* broken = invariants::of_store(t)) fault(broken);
    int64_t owed = 0;
    uint32_t in_hand = 0;
    uint32_t lost_ones = 0;
    for (const Piece& piece : pieces) {
      owed += (piece.place & (missing | in_slot)) != 0;
      in_hand += (piece.place & (held | lost)) != 0;
      lost_ones += piece.place == lost;
    }
    if (t.owed() != owed) fault("owed");
    if (t.acks.held() != in_hand) fault("held");
    if (t.lots.lists(kRow).lost != lost_ones) fault("lost");
    for (uint32_t link : {1u, 2u}) {
      if (t.has_lots(link) != any(~uint32_t{lost}, link)) fault("has_lots");
    }
  }

  // ---- Events. False: it cannot happen now.
  // A range comes in an answer of `link`; a walk has left
  // [walk_first, walk_end) of it in a slot.
  bool acquire(uint32_t link, int64_t first, int64_t last, int64_t walk_first, int64_t walk_end) {
    if (acquisitions == 4) return false;
    const uint32_t slot = walk_end == 0 ? Store::kNone : t.store.reserve(link);
    if (walk_end != 0 && slot == Store::kNone) return false;
    const auto hit = [&](const Piece& piece) {
      return piece.offset >= first && piece.offset <= last;
    };
    // All offsets of an acquisition have one lock: with one of them the others are lost too.
    const auto company = [&](const Piece& piece) {
      return std::any_of(pieces.begin(), pieces.end(), [&](const Piece& other) {
        return other.acquired == piece.acquired && hit(other);
      });
    };
    for (Piece& piece : pieces) {
      const bool with_them =
          (piece.place & kUnseen) != 0 || (piece.place == pending && !piece.record);
      if (with_them && company(piece)) piece.may_be = piece.place | gone;
      if (piece.place != flying) continue;
      const AckSlot* const ack = slot_of(piece);  // of a range all offsets fly together
      piece.anew = piece.anew || (ack != nullptr && ack->touches(first, last));
    }
    allow(hit, kUnseen | pending, gone);
    allow(hit, held, lost);
    t.supersede(kRow, first, last);
    adopt(Word::lock_gone);
    const uint32_t lot = t.lots.add(kRow, link, first, last);
    if (lot != kNoLot) {
      t.lots[lot].delivery_count = ++acquisitions;
      t.lots[lot].lock_min = t.lots[lot].lock_max = kshare::Instant{1000 + acquisitions};
      const bool one_lot = walk_first == first;  // or two, if a row is free
      const uint32_t walked = one_lot || t.lots.free_count() != 0 ? in_slot : missing;
      for (int64_t at = first; at <= last; ++at) {
        Piece piece;
        piece.offset = at;
        piece.acquired = acquisitions;
        piece.link = static_cast<uint8_t>(link);
        piece.place = at >= walk_first && at < walk_end ? walked : missing;
        pieces.push_back(piece);
      }
      if (slot != Store::kNone) {
        static_cast<void>(t.lots.apply_walk(t.store, lot, walk_first, walk_end, slot));
      }
    }
    if (slot != Store::kNone) t.store.publish(slot);
    return true;
  }
  // The bytes of what is missing are read again, `count` offsets of them.
  bool read_again(uint32_t link, int64_t count) {
    const uint32_t lot = kshare::demand::oldest_missing(link, t);
    if ((lot != kNoLot) != wants_bytes(link)) fault("oldest_missing");
    if (lot == kNoLot) return false;
    const uint32_t slot = t.store.reserve(link);
    if (slot == Store::kNone) return false;
    const int64_t from = t.lots[lot].walked;
    const int64_t end = std::min(from + count, t.lots.walk_limit(kRow, link, from));
    Piece* const first = find(from, t.lots[lot].delivery_count);
    if (first == nullptr || first->place != missing) fault("what is read again is not missing");
    allow(
        [&](const Piece& piece) {
          return piece.link == link && piece.offset >= from && piece.offset < end;
        },
        missing, missing | in_slot);
    if (first != nullptr && end > from) first->may_be = in_slot;  // it gets on
    if (!t.lots.apply_walks(t.store, kRow, link, from, end, slot)) fault("a walk for nothing");
    t.store.publish(slot);
    return true;
  }
  // Some lot lacks bytes and has none in a slot.
  bool wants_bytes(uint32_t link) const {
    for (uint32_t i = 0; i < t.lots.count(); ++i) {
      const Lot& lot = t.lots[i];
      if (!lot.used || lot.link != link || lot.in_slot || lot.give_back) continue;
      if (lot.cursor <= lot.last) return true;
    }
    return false;
  }
  // The front of the oldest slot, as core/handout.hpp does it.
  bool take(bool record) {
    const uint32_t slot = t.store.oldest();
    if ((slot == Store::kNone) == (any(in_slot, 1) || any(in_slot, 2))) fault("oldest");
    if (slot == Store::kNone || t.acks.free_count() == 0) return false;
    const uint32_t index = t.store.slot(slot).lots_head - 1u;
    Lot& lot = t.lots[index];
    const int64_t last = record ? lot.cursor : lot.walked - 1;
    for (Piece& piece : pieces) {
      if (piece.acquired != lot.delivery_count) continue;
      if (piece.offset >= lot.cursor && piece.offset <= last) {
        if (piece.place != in_slot) fault("handed out without its bytes");
        piece.may_be = record ? held : pending;
      } else if (piece.offset < lot.cursor && piece.place == in_slot && same_lot(piece, lot)) {
        fault("handed out before those in front of it");
      }
    }
    Piece* const piece = find(lot.cursor, lot.delivery_count);
    if (!record) {
      if (!t.acks.settle_range(index, lot.cursor, last, kAckGap)) fault("gap");
    } else {
      const RecordId id = t.acks.hand_out(index, lot.cursor++);
      if (piece != nullptr) piece->id = id;
    }
    if (lot.cursor == lot.walked) {
      t.lots.leave_slot(t.store, index);
      static_cast<void>(t.lots.free_if_done(index));
      static_cast<void>(t.store.free_if_done(slot));
    }
    return true;
  }
  static bool same_lot(const Piece& piece, const Lot& lot) {
    return piece.offset >= lot.first && piece.offset <= lot.last;
  }
  // The first or the last record that is with the application.
  bool say(Place place, bool front, Ack type) {
    Piece* chosen = nullptr;
    for (Piece& piece : pieces) {
      if (piece.place == place && (chosen == nullptr || !front)) chosen = &piece;
    }
    if (chosen == nullptr) return false;
    bool freed = false;
    const kshare::Status status = t.acks.acknowledge(chosen->id, type, freed);
    if (place == lost) {
      if (status.code != Errc::lock_lost) fault("a lost record is honoured");
      chosen->may_be = gone;
      return true;
    }
    if (!status.ok()) fault("acknowledge");
    chosen->may_be = pending;
    return true;
  }
  // Everything that waits for this link leaves.
  bool send(uint32_t link) {
    if (any(flying, link) || !allow(on(link), pending, flying)) return false;
    for (uint32_t i = t.acks.head(kRow); i != kNoAck; i = t.acks.next(i)) {
      if (t.acks.slot(i).state == AckState::pending && t.acks.lot_of(i).link == link) {
        t.acks.mark_in_flight(i);
      }
    }
    return true;
  }
  bool answer(uint32_t link, int16_t error) {
    const bool again = kshare::kafka::ack_may_be_retried(error);
    if (!allow(on(link), flying, again ? pending : gone)) return false;
    allow([&](const Piece& piece) { return piece.link == link && piece.anew; }, flying, gone);
    t.resolve(kRow, link, error, kshare::Instant{});
    return true;
  }
  // The lock of the first or the last acquisition has ended.
  bool lock_ends(bool first) {
    const int16_t acquired = edge(~uint32_t{lost | flying}, first);
    if (acquired == 0) return false;
    const auto its = [&](const Piece& piece) { return piece.acquired == acquired; };
    allow(its, kUnseen | pending, gone);
    allow(its, held, lost);
    for (uint32_t i = 0; i < t.lots.count(); ++i) {
      if (!t.lots[i].used || t.lots[i].delivery_count != acquired) continue;
      t.lose_lot(i, {Errc::lock_lost, 0});
    }
    return true;
  }
  int16_t edge(uint32_t places, bool first) const {
    int16_t found = 0;
    for (const Piece& piece : pieces) {
      if ((piece.place & places) != 0 && (found == 0 || !first)) found = piece.acquired;
    }
    return found;
  }
  bool connection_ends(uint32_t link) {
    if (!any(~uint32_t{lost}, link)) return false;
    allow(on(link), missing | in_slot, given_back);
    allow(on(link), flying, gone);
    t.connection_lost(link, 7);
    return true;
  }
  bool evict(uint32_t link) {
    if (!any(~uint32_t{lost}, link)) return false;
    allow(on(link), kUnseen, gone);
    t.evicted(kRow, link);
    return true;
  }
  bool give_back() {
    const int16_t acquired = edge(missing | in_slot, true);
    if (acquired == 0) return false;
    allow([&](const Piece& piece) { return piece.acquired == acquired; }, missing | in_slot,
          given_back);
    for (uint32_t i = 0; i < t.lots.count(); ++i) {
      const Lot& lot = t.lots[i];
      if (lot.used && lot.delivery_count == acquired && lot.owes()) t.give_back(i);
    }
    return true;
  }
  bool release() {
    if (!allow([](const Piece&) { return true; }, given_back, given_back | pending)) {
      return false;
    }
    t.release_given_back();
    const bool left = std::any_of(pieces.begin(), pieces.end(), [&](const Piece& piece) {
      return look(piece).place == given_back;
    });
    if (left != t.giving_back) fault("giving_back");
    if (left && t.acks.free_count() != 0) fault("not given back though there is room");
    return true;
  }

  Word word_of(int event) const {
    if (event == 13 || event == 20) return Word::ok;
    if (event == 14 || event == 15) return Word::failed;
    if (event == 16 || event == 17) return Word::lock_gone;
    if (event == 18) return Word::unknown;
    return event == 19 ? Word::evicted : Word::none;
  }
  bool apply(int event) {
    switch (event) {
      case 0:
        return acquire(1, 0, 3, 0, 0);
      case 1:
        return acquire(1, 0, 3, 1, 3);
      case 2:
        return acquire(1, 2, 4, 2, 5);
      case 3:
        return acquire(2, 1, 2, 1, 2);
      case 4:
        return read_again(1, 1);
      case 5:
        return read_again(1, 9);
      case 6:
        return read_again(2, 9);
      case 7:
        return take(true);
      case 8:
        return take(false);
      case 9:
        return say(held, true, Ack::accept);
      case 10:
        return say(held, false, Ack::release);
      case 11:
        return say(lost, true, Ack::accept);
      case 12:
        return send(1);
      case 13:
        return answer(1, 0);
      case 14:
        return answer(1, 121);
      case 15:
        return answer(1, 7);
      case 16:
        return lock_ends(true);
      case 17:
        return lock_ends(false);
      case 18:
        return connection_ends(1);
      case 19:
        return evict(1);
      case 20:
        return answer(2, 0);
      case 21:
        return send(2);
      case 22:
        return give_back();
      case 23:
        return release();
      default:
        return false;
    }
  }
  static constexpr int kEvents = 24;
  bool happen(int event) {
    if (!apply(event)) return false;
    adopt(word_of(event));
    check();
    return true;
  }

  // Whatever has happened, everything owed comes to its end, and the tables are empty then.
  void end() {
    ++ends;
    for (int round = 0; round < 40 && !pieces.empty(); ++round) {
      bool any = false;
      for (int event : {23, 13, 20, 12, 21, 7, 9, 11, 5, 6}) {
        path.push_back(event);
        any = happen(event) || any;
        path.pop_back();
      }
      if (!any) break;
    }
    if (!pieces.empty()) fault("what is owed never comes to its end");
    if (t.lots.free_count() != kRows || t.acks.used() != 0) fault("rows are left");
    if (t.store.free_count() != SmallTables::kSlots) fault("a store slot is left");
  }

  // All that decides what may happen from here.
  std::string key() const {
    std::string text;
    const auto put = [&](auto value) { text += static_cast<char>(value); };
    for (uint32_t i = 0; i < kRows; ++i) {
      const Lot& lot = t.lots[i];
      for (int64_t at : {lot.first, lot.last, lot.cursor, lot.walked}) put(at);
      put(lot.delivery_count);
      put(lot.next);
      put(lot.next_in_slot);
      put(lot.link * 4 + lot.slot);
      put(lot.used + 2 * lot.in_slot + 4 * lot.give_back + 8 * lot.doubtful);
    }
    for (uint32_t i = 0; i < kAckSlots; ++i) {
      const AckSlot& ack = t.acks.slot(i);
      if (ack.state == AckState::free) {
        put('.');
        continue;
      }
      put(ack.state);
      put(ack.first);
      put(ack.span);
      put(ack.lot + 8 * ack.next);
      put(ack.type * 4 + ack.last_flight * 2 + ack.record);
      put(ack.slot);
    }
    for (uint32_t i = 0; i < SmallTables::kSlots; ++i) {
      const kshare::StoreSlot& slot = t.store.slot(i);
      put(static_cast<int>(slot.state) * 4 + slot.link);
      put(slot.refs);
    }
    put(t.store.slot(0).order < t.store.slot(1).order);
    put(acquisitions);
    return text;
  }
  void explore(int depth) {
    int& left = seen[key()];
    if (left > depth) return;
    left = depth + 1;
    const SmallTables before = now;
    const std::vector<Piece> pieces_before = pieces;
    const Counts counts_before = counts;
    const int16_t acquisitions_before = acquisitions;
    const auto back = [&] {
      now = before;
      pieces = pieces_before;
      counts = counts_before;
      acquisitions = acquisitions_before;
    };
    if (depth == 0) {
      end();
      return back();
    }
    const auto go_on = [&](int event) {
      adopt(word_of(event));
      check();
      explore(depth - 1);
    };
    try_each(kEvents, [&](int event) { return apply(event); }, go_on, back);
  }
};

}  // namespace

TEST_CASE(
    "every order of acquiring, reading again, handing out, settling, losing and giving back keeps "
    "each offset in one place, and all of them come to their end") {
  Machine machine;
  machine.begin();
  machine.check();
  machine.explore(7);
  CHECK(machine.steps > 50000);
  CHECK(machine.ends > 10000);
  CHECK(machine.faults == 0);
}

}  // namespace test_lots_orders
