// SPDX-License-Identifier: Apache-2.0
// What:        the ack buffer: one slot for each record handed out, and one for each range of
//              offsets that is settled without the application (gaps, corrupt batches, what is
//              given back).
// Flow:        core/handout.hpp takes slots -> the application acknowledges -> ack/ack_batches.hpp
//              writes them into a request -> its answer settles them.
// Memory:      Limits::records_max slots of 24 bytes, lent by Storage. A record is handed out only
//              with its slot in hand, so acknowledging never fails for want of memory.
// Valid until: a RecordId until its slot is settled; the generation tells an old id from a new one.
// Errors:      Errc::unknown_record, already_acknowledged, lock_lost. Nothing changes then, but for
//              lock_lost, which frees the slot.
#ifndef KSHARE_ACK_ACK_BUFFER_HPP
#define KSHARE_ACK_ACK_BUFFER_HPP

#include <cstdint>

#include "kshare/ack/ack_slot.hpp"
#include "kshare/ack/commits.hpp"
#include "kshare/ack/lots.hpp"
#include "kshare/base/assert.hpp"
#include "kshare/base/bytes.hpp"
#include "kshare/base/status.hpp"
#include "kshare/record/store.hpp"

namespace kshare {

// Which acks of a partition are meant: what is not named may be any.
struct AckChoice {
  uint32_t states = UINT32_MAX;  // a bit for each
  bool ranges_only = false;      // nothing that was handed out
  uint32_t lot = kNoLot;
  uint32_t link = kAllLinks;  // that acquired it
  int64_t first = INT64_MIN;  // it touches these offsets
  int64_t last = INT64_MAX;

  static constexpr uint32_t bit(AckState state) { return 1u << static_cast<uint32_t>(state); }
};

// Who is told of a record that the application holds and whose lock is gone.
struct OnLost {
  void (*function)(void* context, const AckSlot& ack);
  void* context;
};

class AckBuffer {
 public:
  void attach(Span<AckSlot> slots, Span<CommitRow> commit_rows, Lots& lots, Store& store) {
    slots_ = slots;
    lots_ = &lots;
    store_ = &store;
    commits.attach(commit_rows);
    used_ = pending_ = renewals_ = held_ = hint_ = 0;
    for (AckSlot& slot : slots_) {
      const uint32_t generation = slot.generation;  // ids of an earlier life stay unknown
      slot = AckSlot{};
      slot.generation = generation;
    }
  }

  // The first life in a Storage counts generations from a random number, so that an id of another
  // consumer is unknown; later ones go on.
  void number_from(uint32_t generation) {
    for (AckSlot& slot : slots_) {
      if (slot.generation == 0) slot.generation = generation;
    }
  }

  uint32_t free_count() const { return slots_.size - used_; }
  uint32_t used() const { return used_; }
  uint32_t pending() const { return pending_; }
  uint32_t renewals() const { return renewals_; }  // to be sent
  uint32_t held() const { return held_; }          // with the application, lost ones included
  uint32_t count() const { return slots_.size; }
  const AckSlot& slot(uint32_t index) const { return slots_[index]; }

  // A record is handed out. Its bytes stay in the lot's store slot until it is acknowledged.
  RecordId hand_out(uint32_t lot_index, int64_t offset) {
    const uint32_t index = take(lot_index, offset, offset);
    AckSlot& ack = slots_[index];
    ack.state = AckState::held;
    ack.record = true;
    ++held_;
    const uint32_t slot = (*lots_)[lot_index].slot;
    ack.slot = static_cast<uint8_t>(slot + 1);
    store_->hold(slot);
    return {static_cast<uint16_t>(lot_index), static_cast<uint16_t>(index), ack.generation};
  }

  // [first, last] is settled without the application. False: no slot is free, nothing was done.
  // Answers how far it came in `first`.
  bool settle_range(uint32_t lot_index, int64_t& first, int64_t last, uint8_t type) {
    while (first <= last) {
      if (free_count() == 0) return false;
      const int64_t end = last - first > INT32_MAX ? first + INT32_MAX : last;
      AckSlot& ack = slots_[take(lot_index, first, end)];
      ack.state = AckState::pending;
      ack.type = type;
      ++pending_;
      first = end + 1;
    }
    return true;
  }

  // A renewal of what the lot has not handed out takes a slot, for one request. There must be one.
  void stage_renewal(uint32_t lot_index) {
    const Lot& lot = (*lots_)[lot_index];
    AckSlot& ack = slots_[take(lot_index, lot.cursor, lot.last)];
    ack.state = AckState::renewing;
    ack.type = static_cast<uint8_t>(Ack::renew);
    ++renewals_;
  }

  // ok, unknown_record, or already_acknowledged: it has left.
  Status check(RecordId id) const {
    if (id.slot >= slots_.size || id.generation == 0) return {Errc::unknown_record, 0};
    const AckSlot& ack = slots_[id.slot];
    if (ack.generation != id.generation || ack.state == AckState::free) {
      return {Errc::unknown_record, 0};
    }
    if (ack.state == AckState::in_flight) return {Errc::already_acknowledged, 0};
    return {};
  }
  // The application's word. `freed` tells whether a store slot became free by it.
  Status acknowledge(RecordId id, Ack type, bool& freed) {
    freed = false;
    const Status known = check(id);
    if (!known.ok()) return known;
    AckSlot& ack = slots_[id.slot];
    if (ack.state == AckState::lost) {
      freed = drop_bytes(ack);
      forget_lost(ack);
      return {Errc::lock_lost, 0};
    }
    if (type == Ack::renew) {
      renew(ack);
      return {};
    }
    freed = drop_bytes(ack);
    if (ack.state == AckState::renewing) --renewals_;
    if (ack.state != AckState::pending) {
      ++pending_;
      --held_;
    }
    ack.state = AckState::pending;
    ack.type = static_cast<uint8_t>(type);
    return {};
  }
  // Its bytes are needed no more; the slot stays with the application.
  Status detach(RecordId id, bool& freed) {
    freed = false;
    const Status known = check(id);
    if (known.ok()) freed = drop_bytes(slots_[id.slot]);
    return known;
  }
  bool is_held(RecordId id) const {
    if (id.slot >= slots_.size || id.generation == 0) return false;
    const AckSlot& ack = slots_[id.slot];
    return ack.generation == id.generation && (ack.is_held() || ack.state == AckState::lost);
  }
  RecordId id_of(uint32_t index) const {
    return {slots_[index].lot, static_cast<uint16_t>(index), slots_[index].generation};
  }
  // The record at this offset that was handed out last; all-zero: none.
  RecordId find(uint32_t partition, int64_t offset) const {
    uint32_t found = kNoAck;
    for (uint32_t i = head(partition); i != kNoAck; i = next(i)) {
      if (!slots_[i].record || slots_[i].first != offset) continue;
      found = i;  // of equal offsets the newest stands first
      break;
    }
    for (uint32_t i = 0; i < slots_.size && found == kNoAck; ++i) {  // lost ones are in no list
      const AckSlot& ack = slots_[i];
      const bool lost = ack.state == AckState::lost && ack.next == partition;
      if (lost && ack.first == offset) found = i;
    }
    return found == kNoAck ? RecordId{} : id_of(found);
  }

  // Everything of a partition that waits or is on its way, and that no commit waits for yet, is
  // named by `tag`. Answers how many slots, and how many records.
  struct Tagged {
    uint16_t slots = 0;
    uint32_t records = 0;
  };
  Tagged name_for_commit(uint32_t partition, uint8_t tag) {
    Tagged count;
    for (uint32_t i = head(partition); i != kNoAck; i = next(i)) {
      AckSlot& ack = slots_[i];
      if (!ack.is_unanswered() || ack.commit != 0) continue;
      ack.commit = tag & 0xFu;
      ++count.slots;
      count.records += ack.record ? 1 : 0;
    }
    return count;
  }

  // ---- Used by the request's writer and by its answer.
  // The slots of a partition in ascending order; kNoAck ends the list.
  uint32_t head(uint32_t partition) const { return lots_->lists(partition).acks_head - 1u; }
  uint32_t next(uint32_t index) const { return slots_[index].next - 1u; }
  const Lot& lot_of(uint32_t index) const { return (*lots_)[slots_[index].lot]; }

  void mark_in_flight(uint32_t index) {
    AckSlot& ack = slots_[index];
    KSHARE_ASSERT(ack.state == AckState::pending);
    ack.state = AckState::in_flight;
    --pending_;
  }
  void mark_pending(uint32_t index) {
    AckSlot& ack = slots_[index];
    KSHARE_ASSERT(ack.state == AckState::in_flight);
    ack.state = AckState::pending;
    ++pending_;
  }
  // What travels for [first, last] is not sent again, whatever becomes of it.
  void end_flights(uint32_t partition, int64_t first, int64_t last) {
    for (uint32_t i = head(partition); i != kNoAck; i = next(i)) {
      AckSlot& ack = slots_[i];
      const bool ends = ack.state == AckState::in_flight && ack.touches(first, last);
      ack.last_flight = ack.last_flight || ends;
    }
  }
  void mark_renew_in_flight(uint32_t index) {
    AckSlot& ack = slots_[index];
    KSHARE_ASSERT(ack.state == AckState::renewing);
    ack.state = AckState::renew_in_flight;
    (*lots_)[ack.lot].renewing = true;
    --renewals_;
  }
  // A renewal has its answer, or never left.
  void mark_held(uint32_t index) {
    AckSlot& ack = slots_[index];
    KSHARE_ASSERT(ack.record && ack.renews());
    if (ack.state == AckState::renewing) --renewals_;
    ack.state = AckState::held;
  }
  void mark_renewing(uint32_t index) {
    AckSlot& ack = slots_[index];
    KSHARE_ASSERT(ack.state == AckState::renew_in_flight);
    ack.state = AckState::renewing;
    ++renewals_;
  }
  void move(uint32_t index, uint32_t to_lot) {
    AckSlot& ack = slots_[index];
    --(*lots_)[ack.lot].open;  // the caller frees a lot of which nothing is left
    ++(*lots_)[to_lot].open;
    ack.lot = static_cast<uint16_t>(to_lot);
  }

  // Ends every chosen slot of `partition`, and counts it.
  AckOutcome settle(uint32_t partition, const AckChoice& choice, Status how = {}) {
    AckOutcome outcome;
    PartitionLists& list = lots_->lists(partition);
    uint16_t* at = &list.acks_head;
    uint16_t tail = 0;
    // Index + 1; not read back through `at`, where it would wait for the store before.
    for (uint16_t link = *at, behind = 0; link != 0; link = behind) {
      AckSlot& ack = slots_[link - 1u];
      behind = ack.next;
      if (!is_chosen(ack, choice)) {
        tail = link;
        at = &ack.next;
        continue;
      }
      outcome.add(ack);
      if (ack.commit != 0) commits.ended(partition, ack.commit, how);
      *at = behind;
      static_cast<void>(drop_bytes(ack));
      leave_lot(ack);
      release(ack);
    }
    list.acks_tail = tail;
    return outcome;
  }

  // The lock of these records is gone. What the application still holds becomes "lost": its slot is
  // kept until the application has spoken, and `on_lost` is told of it. Everything else is ended
  // and counted in the answer.
  AckOutcome lose(uint32_t partition, const AckChoice& choice, Status how, const OnLost& on_lost) {
    PartitionLists& list = lots_->lists(partition);
    uint16_t* at = &list.acks_head;
    while (*at != 0) {
      AckSlot& ack = slots_[*at - 1u];
      if (!ack.is_held() || !is_chosen(ack, choice)) {
        at = &ack.next;
        continue;
      }
      on_lost.function(on_lost.context, ack);
      if (ack.state == AckState::renewing) --renewals_;
      ack.state = AckState::lost;
      *at = ack.next;
      ack.next = static_cast<uint16_t>(partition);  // so that it can be named
      ++list.lost;
      leave_lot(ack);
    }
    return settle(partition, choice, how);  // which finds the new tail
  }

  Commits commits{};

 private:
  bool is_chosen(const AckSlot& ack, const AckChoice& choice) const {
    if ((choice.states & AckChoice::bit(ack.state)) == 0) return false;
    if (choice.ranges_only && ack.record) return false;
    if (choice.lot != kNoLot && ack.lot != choice.lot) return false;
    if (choice.link != kAllLinks && (*lots_)[ack.lot].link != choice.link) return false;
    return ack.touches(choice.first, choice.last);
  }
  void renew(AckSlot& ack) {
    if (ack.renews()) return;
    if (ack.state == AckState::pending) {  // the last word counts
      if (ack.commit != 0) commits.ended((*lots_)[ack.lot].partition, ack.commit, {});
      ack.commit = 0;
      --pending_;
      ++held_;
    }
    ack.state = AckState::renewing;
    ack.type = static_cast<uint8_t>(Ack::renew);
    ++renewals_;
  }
  void forget_lost(AckSlot& ack) {
    --lots_->lists(ack.next).lost;
    --held_;
    release(ack);
  }
  uint32_t behind(uint32_t index) const { return index + 1 == slots_.size ? 0 : index + 1; }
  uint32_t take(uint32_t lot_index, int64_t first, int64_t last) {
    KSHARE_ASSERT(free_count() != 0);
    uint32_t index = hint_;
    while (slots_[index].state != AckState::free) index = behind(index);
    hint_ = behind(index);
    AckSlot& ack = slots_[index];
    const uint32_t generation = ack.generation + 1;
    ack = AckSlot{};
    ack.generation = generation == 0 ? 1 : generation;
    ack.first = first;
    ack.span = static_cast<uint32_t>(last - first);
    ack.lot = static_cast<uint16_t>(lot_index);
    ack.state = AckState::held;  // the caller decides
    ++used_;
    Lot& lot = (*lots_)[lot_index];
    ++lot.open;
    insert(lot.partition, ack, static_cast<uint16_t>(index + 1));
    return index;
  }
  void insert(uint32_t partition, AckSlot& ack, uint16_t link) {
    PartitionLists& list = lots_->lists(partition);
    uint16_t* at = &list.acks_head;
    if (list.acks_tail != 0) {  // mostly it is the last
      AckSlot& tail = slots_[list.acks_tail - 1u];
      if (tail.first < ack.first) at = &tail.next;
    }
    while (*at != 0) {
      AckSlot& other = slots_[*at - 1u];
      if (other.first >= ack.first) break;
      at = &other.next;
    }
    ack.next = *at;
    if (*at == 0) list.acks_tail = link;
    *at = link;
  }
  bool drop_bytes(AckSlot& ack) {
    if (ack.slot == 0) return false;
    const uint32_t slot = ack.slot - 1u;
    ack.slot = 0;
    return store_->unhold(slot);
  }
  void leave_lot(AckSlot& ack) {
    Lot& lot = (*lots_)[ack.lot];
    KSHARE_ASSERT(lot.open != 0);
    if (--lot.open == 0) static_cast<void>(lots_->free_if_done(ack.lot));
  }
  void release(AckSlot& ack) {
    if (ack.state == AckState::pending) --pending_;
    if (ack.state == AckState::renewing) --renewals_;
    ack.state = AckState::free;
    --used_;
  }

  Span<AckSlot> slots_{};
  Lots* lots_ = nullptr;
  Store* store_ = nullptr;
  uint32_t used_ = 0;
  uint32_t pending_ = 0;
  uint32_t renewals_ = 0;
  uint32_t held_ = 0;
  uint32_t hint_ = 0;
};

}  // namespace kshare

#endif  // KSHARE_ACK_ACK_BUFFER_HPP
