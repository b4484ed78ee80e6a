// SPDX-License-Identifier: Apache-2.0
// What:        Lots: the ranges of offsets that brokers have acquired for us, until every offset is
//              settled.
// Flow:        core/intake.hpp adds lots and says what was walked; core/handout.hpp moves their
//              cursors; ack/ack_buffer holds what was handed out of them.
// Memory:      Limits::lots_max rows, lent by Storage. Index + 1 is kept in links, 0 is "none".
// Errors:      add() and split() answer kNoLot when the table is full; the caller reads again or
//              opens a new session.
//
//   first              cursor                walked                  last
//   | handed out, acks | in the store, or gap | acquired, not here:   |
//   | in ack slots     | (slot's list)        | to be read again      |
//
// All offsets of a lot have one lock time. When only some of them are renewed, the others go to a
// lot of their own (ack/renewal.hpp), which then holds ack slots only: its cursor is behind `last`,
// and offsets between its ends may belong to other lots.
#ifndef KSHARE_ACK_LOTS_HPP
#define KSHARE_ACK_LOTS_HPP

#include <cstdint>

#include "kshare/base/assert.hpp"
#include "kshare/base/bytes.hpp"
#include "kshare/base/time.hpp"
#include "kshare/record/store.hpp"

namespace kshare {

inline constexpr uint32_t kNoLot = UINT32_MAX;
inline constexpr uint32_t kAllLinks = UINT32_MAX;

// When a lock ends: not before `min`, not after `max`.
struct LockTimes {
  Instant min{};
  Instant max{};
};

struct Lot {
  int64_t first = 0;
  int64_t last = -1;
  int64_t cursor = 0;   // everything below has its ack slot or is settled
  int64_t walked = 0;   // [cursor, walked) lies in a store slot; the rest must be read again
  Instant lock_min{};   // the lock holds until then at least
  Instant lock_max{};   // and not beyond this
  uint16_t partition = 0;
  uint16_t next = 0;          // of the same partition, by `first`
  uint16_t next_in_slot = 0;  // of the same store slot, in the order of its bytes
  uint16_t open = 0;          // ack slots not settled yet
  int16_t delivery_count = 0;
  uint8_t link = 0;
  uint8_t slot = 0;       // where [cursor, walked) lies, if in_slot
  bool used : 1;
  bool in_slot : 1;
  bool give_back : 1;   // what is not handed out is released
  bool doubtful : 1;    // the connection that acquired it is gone: the broker may have taken it
                        // back, so its acks do not travel with sound ones
  bool renew : 1;       // the lock on what is not handed out is to be renewed
  bool renewing : 1;    // a renewal of some of its offsets is in flight
  bool renewed : 1;     // its lock is not the first one
  bool no_renewal : 1;  // one was refused
  bool probe : 1;       // the log begins behind its missing part: where shows at its last offset
  void set_lock(const LockTimes& times) {
    lock_min = times.min;
    lock_max = times.max;
  }
  bool missing() const { return !give_back && !in_slot && walked <= last; }
  // Offsets nobody has seen yet.
  int64_t owed() const { return last - cursor + 1; }
  // Some of them are still to be handed out.
  bool owes() const { return cursor <= last && !give_back; }
};

struct PartitionLists {
  uint16_t lots = 0;       // head: lot index + 1, ascending by first
  uint16_t acks_head = 0;  // ack slot index + 1, ascending by offset (ack_buffer.hpp)
  uint16_t acks_tail = 0;
  uint16_t lost = 0;  // records that the application still holds without a lock
};

class Lots {
 public:
  void attach(Span<Lot> rows, Span<PartitionLists> lists) {
    rows_ = rows;
    lists_ = lists;
    used_ = 0;
    for (Lot& lot : rows_) make_anew(lot);
    for (PartitionLists& list : lists_) list = PartitionLists{};
  }

  Lot& operator[](uint32_t index) { return rows_[index]; }
  const Lot& operator[](uint32_t index) const { return rows_[index]; }
  uint32_t count() const { return rows_.size; }
  uint32_t free_count() const { return rows_.size - used_; }
  PartitionLists& lists(uint32_t partition) { return lists_[partition]; }

  // The first lot of a partition, then the one behind; kNoLot ends the list.
  uint32_t head(uint32_t partition) const { return lists_[partition].lots - 1u; }
  uint32_t next(uint32_t index) const { return rows_[index].next - 1u; }

  // A new lot of [first, last], all of it still to be read.
  uint32_t add(uint32_t partition, uint32_t link, int64_t first, int64_t last) {
    const uint32_t index = find_free();
    if (index == kNoLot) return kNoLot;
    Lot& lot = rows_[index];
    make_anew(lot);
    lot.used = true;
    lot.first = lot.cursor = lot.walked = first;
    lot.last = last;
    lot.partition = static_cast<uint16_t>(partition);
    lot.link = static_cast<uint8_t>(link);
    ++used_;
    uint16_t* at = &lists_[partition].lots;
    while (*at != 0) {
      Lot& other = rows_[*at - 1u];
      if (other.first > first) break;
      at = &other.next;
    }
    lot.next = *at;
    *at = static_cast<uint16_t>(index + 1);
    return index;
  }

  // Cuts [at, last] off into a lot of its own, if a row is free.
  uint32_t split(uint32_t index, int64_t at) {
    Lot& whole = rows_[index];
    KSHARE_ASSERT(at > whole.walked && at <= whole.last);
    const uint32_t rest = add(whole.partition, whole.link, at, whole.last);
    if (rest == kNoLot) return kNoLot;
    Lot& lot = rows_[rest];
    inherit(lot, whole);
    lot.renew = whole.renew;
    lot.no_renewal = whole.no_renewal;
    whole.last = at - 1;
    return rest;
  }

  // A lot for ack slots that leave `from`: they have got, or have kept, another lock time than the
  // rest.
  uint32_t add_beside(uint32_t from) {
    const Lot& its = rows_[from];
    const uint32_t index = add(its.partition, its.link, its.first, its.first);
    if (index == kNoLot) return kNoLot;
    Lot& lot = rows_[index];
    lot.cursor = lot.walked = lot.last + 1;
    inherit(lot, its);
    return index;
  }

  // Frees the row if nothing of the lot is left. True if it did.
  bool free_if_done(uint32_t index) {
    Lot& lot = rows_[index];
    if (lot.open != 0 || lot.in_slot || lot.cursor <= lot.last) return false;
    uint16_t* at = &lists_[lot.partition].lots;
    while (*at != index + 1) {
      KSHARE_ASSERT(*at != 0);
      at = &rows_[*at - 1u].next;
    }
    *at = lot.next;
    make_anew(lot);
    --used_;
    return true;
  }

  // ---- The order in which a store slot is read out.
  void enter_slot(Store& store, uint32_t index, uint32_t slot_index) {
    Lot& lot = rows_[index];
    StoreSlot& slot = store.slot(slot_index);
    KSHARE_ASSERT(!lot.in_slot && lot.cursor < lot.walked);
    lot.in_slot = true;
    lot.slot = static_cast<uint8_t>(slot_index);
    lot.next_in_slot = 0;
    if (slot.lots_tail == 0) {
      slot.lots_head = static_cast<uint16_t>(index + 1);
    } else {
      rows_[slot.lots_tail - 1u].next_in_slot = static_cast<uint16_t>(index + 1);
    }
    slot.lots_tail = static_cast<uint16_t>(index + 1);
  }
  // Takes the lot out of its slot's order; what was not handed out is missing again.
  void leave_slot(Store& store, uint32_t index) {
    Lot& lot = rows_[index];
    if (!lot.in_slot) return;
    StoreSlot& slot = store.slot(lot.slot);
    uint32_t before = kNoLot;
    for (uint32_t at = slot.lots_head - 1u; at != index; at = rows_[at].next_in_slot - 1u) {
      before = at;
    }
    if (before == kNoLot) {
      slot.lots_head = lot.next_in_slot;
    } else {
      rows_[before].next_in_slot = lot.next_in_slot;
    }
    if (slot.lots_tail == index + 1) slot.lots_tail = static_cast<uint16_t>(before + 1u);
    lot.in_slot = false;
    lot.walked = lot.cursor;
  }

  // ---- What a walk means for the lots of a partition. Each acquired offset inside [walk_first,
  // walk_end) is now in the slot or a gap; the others must be read again. Answers the lot in which
  // the last offset is now.
  uint32_t apply_walk(Store& store, uint32_t index, int64_t walk_first, int64_t walk_end,
                      uint32_t slot_index) {
    const Lot& whole = rows_[index];
    const int64_t begin = whole.walked;
    if (!whole.missing() || walk_end <= begin || walk_first > whole.last ||
        walk_end <= walk_first) {
      return index;
    }
    if (walk_first > begin) {  // the walk began in the middle: two lots, or all of it again
      const uint32_t rest = split(index, walk_first);
      if (rest == kNoLot) return index;
      index = rest;
    }
    Lot& lot = rows_[index];
    lot.walked = walk_end <= lot.last ? walk_end : lot.last + 1;
    enter_slot(store, index, slot_index);
    return index;
  }

  // The lot acquired last goes on: Kafka 4.1 names every offset that comes again by itself. Then as
  // apply_walk(); an empty walk (walk_end 0) leaves the new part to be read again.
  uint32_t extend(Store& store, uint32_t index, int64_t last, int64_t walk_first, int64_t walk_end,
                  uint32_t slot_index) {
    Lot& lot = rows_[index];
    const bool all_walked = lot.in_slot && lot.walked == lot.last + 1;
    lot.last = last;
    if (!all_walked) return apply_walk(store, index, walk_first, walk_end, slot_index);
    if (walk_end > lot.walked) lot.walked = walk_end <= last ? walk_end : last + 1;
    return index;
  }

  // The same for all lots of `partition` on `link` that miss offsets in [from, end). True if any
  // did.
  bool apply_walks(Store& store, uint32_t partition, uint32_t link, int64_t from, int64_t end,
                   uint32_t slot_index) {
    for (bool any = false;; any = true) {
      const uint32_t index = first_missing(partition, link, from);
      if (index == kNoLot || rows_[index].walked >= end) return any;
      static_cast<void>(apply_walk(store, index, from, end, slot_index));
      if (rows_[index].missing()) return any;
    }
  }
  // How far a walk from `from` on counts: to where a lot begins that lacks bytes while others of it
  // lie in a slot. Those may be read out while the walk goes on, and the lot would then look like
  // one whose bytes the walk has kept.
  int64_t walk_limit(uint32_t partition, uint32_t link, int64_t from) const {
    int64_t limit = INT64_MAX;
    for (uint32_t at = head(partition); at != kNoLot; at = next(at)) {
      const Lot& lot = rows_[at];
      const bool lacks = lot.link == link && lot.in_slot && lot.walked <= lot.last;
      if (lacks && lot.walked >= from && lot.walked < limit) limit = lot.walked;
    }
    return limit;
  }

  // The lot of `partition` on `link` whose missing part begins first at or behind `from`.
  uint32_t first_missing(uint32_t partition, uint32_t link, int64_t from) const {
    uint32_t best = kNoLot;
    int64_t begin = INT64_MAX;
    for (uint32_t at = head(partition); at != kNoLot; at = next(at)) {
      const Lot& lot = rows_[at];
      if (lot.link != link || !lot.missing() || lot.last < from || lot.walked >= begin) continue;
      best = at;
      begin = lot.walked;
    }
    return best;
  }

 private:
  // What all offsets of an acquisition have in common.
  static void inherit(Lot& lot, const Lot& from) {
    lot.set_lock({from.lock_min, from.lock_max});
    lot.delivery_count = from.delivery_count;
    lot.doubtful = from.doubtful;
    lot.renewed = from.renewed;
  }
  uint32_t find_free() const {
    if (used_ == rows_.size) return kNoLot;
    for (uint32_t i = 0; i < rows_.size; ++i) {
      if (!rows_[i].used) return i;
    }
    return kNoLot;
  }

  Span<Lot> rows_{};
  Span<PartitionLists> lists_{};
  uint32_t used_ = 0;
};

}  // namespace kshare

#endif  // KSHARE_ACK_LOTS_HPP
