// SPDX-License-Identifier: Apache-2.0
// What:        renewals of locks (KIP-1222): what a request may carry, and what its answer means
//              for the lots: offsets with different lock times go to different lots.
// Flow:        core/leaders.hpp stages and sends -> the answer -> core/tables.hpp -> here.
// Memory:      an ack slot for each lot that is being renewed, for one request; perhaps a row of
//              the lots for what was left out.
// Errors:      no free row: the lot keeps its early end and gets the later one besides. Its acks
//              then count as late: they are sent, apart from sound ones.
#ifndef KSHARE_ACK_RENEWAL_HPP
#define KSHARE_ACK_RENEWAL_HPP

#include <cstdint>

#include "kshare/ack/ack_buffer.hpp"

namespace kshare {

class Renewal {
 public:
  Renewal(Lots& lots, AckBuffer& acks) : lots_(lots), acks_(acks) {}

  // A slot for what each lot of `link` owes, if its lock is to be renewed; as far as slots are
  // free.
  void stage(uint32_t link) {
    for (uint32_t i = 0; i < lots_.count(); ++i) {
      const Lot& lot = lots_[i];
      if (!lot.used || lot.link != link || !lot.renew || !lot.owes()) continue;
      if (acks_.free_count() == 0) return;
      acks_.stage_renewal(i);
    }
  }
  // What found no room in the request is staged again for the next.
  void unstage(uint32_t partition) {
    drop_ranges(partition, AckState::renewing, kAllLinks);
  }

  // The broker has renewed what was in flight for this partition on `link`; answers how many
  // offsets.
  uint64_t succeeded(uint32_t partition, uint32_t link, const LockTimes& times) {
    uint64_t offsets = 0;
    uint32_t later_lot = kNoLot;  // of what this answer has renewed
    for (uint32_t i = lots_.head(partition); i != kNoLot;) {
      const uint32_t next = lots_.next(i);
      if (lots_[i].link == link && lots_[i].renewing) {
        offsets += renewed(i, times, later_lot);
      }
      i = next;
    }
    return offsets;
  }

  // It has not, or nobody knows. `again`: it may be asked for once more. Calls
  // on_refused(first, last) for each.
  template <typename OnRefused>
  void failed(uint32_t partition, uint32_t link, bool again, const OnRefused& on_refused) {
    for (uint32_t i = lots_.head(partition); i != kNoLot; i = lots_.next(i)) {
      Lot& lot = lots_[i];
      if (lot.link != link || !lot.renewing) continue;
      lot.renewing = false;
      if (!again) {
        lot.renew = false;
        lot.no_renewal = true;
      }
    }
    for (uint32_t i = acks_.head(partition); i != kNoAck; i = acks_.next(i)) {
      const AckSlot& ack = acks_.slot(i);
      if (ack.state != AckState::renew_in_flight || acks_.lot_of(i).link != link) continue;
      if (!again) on_refused(ack.first, ack.last());
      if (!ack.record) continue;
      if (again) acks_.mark_renewing(i);
      else acks_.mark_held(i);
    }
    drop_ranges(partition, AckState::renew_in_flight, link);
  }

 private:
  // One lot. What of it was not in the request keeps the old times.
  uint64_t renewed(uint32_t index, const LockTimes& times, uint32_t& later_lot) {
    Lot& lot = lots_[index];
    const int64_t from = range_begin(index);  // from here on all of it was renewed
    const bool rest_is_renewed = from != INT64_MAX;
    uint64_t offsets = rest_is_renewed ? static_cast<uint64_t>(lot.last - from + 1) : 0;
    bool all = rest_is_renewed || lot.cursor > lot.last;
    for (uint32_t i = acks_.head(lot.partition); i != kNoAck; i = acks_.next(i)) {
      const AckSlot& ack = acks_.slot(i);
      if (ack.lot != index) continue;
      if (ack.state == AckState::renew_in_flight) offsets += ack.record ? 1 : 0;
      else if (ack.first < from) all = false;
    }
    lot.renewing = lot.renew = false;
    lot.renewed = lot.renewed || rest_is_renewed;
    if (all) {
      lot.set_lock(times);
    } else if (rest_is_renewed) {
      leave_behind(index, from, times);
    } else if (offsets != 0) {  // the application may have acknowledged them meanwhile
      move_renewed(index, times, later_lot);
    }
    end_slots(index);
    return offsets;
  }
  int64_t range_begin(uint32_t index) const {
    const Lot& lot = lots_[index];
    for (uint32_t i = acks_.head(lot.partition); i != kNoAck; i = acks_.next(i)) {
      const AckSlot& ack = acks_.slot(i);
      if (ack.lot == index && !ack.record && ack.state == AckState::renew_in_flight) {
        return ack.first <= lot.last ? ack.first : INT64_MAX;  // it may be given up
      }
    }
    return INT64_MAX;
  }
  static void no_row(Lot& lot, const LockTimes& times) {
    lot.lock_max = later(lot.lock_max, times.max);
  }
  // The rest of the lot was renewed, and perhaps records before it; the others go to a lot with the
  // old times.
  void leave_behind(uint32_t index, int64_t from, const LockTimes& times) {
    const uint32_t beside = lots_.add_beside(index);
    Lot& lot = lots_[index];
    if (beside == kNoLot) return no_row(lot, times);
    for (uint32_t i = acks_.head(lot.partition); i != kNoAck; i = acks_.next(i)) {
      const AckSlot& ack = acks_.slot(i);
      const bool stays = ack.state == AckState::renew_in_flight || ack.first >= from;
      if (ack.lot == index && !stays) move(i, beside);
    }
    lot.set_lock(times);
  }
  // Only records were renewed: they go to a lot with the new times, one for the whole answer as
  // long as their delivery counts are the same.
  void move_renewed(uint32_t index, const LockTimes& times, uint32_t& later_lot) {
    Lot& lot = lots_[index];
    for (uint32_t i = acks_.head(lot.partition); i != kNoAck; i = acks_.next(i)) {
      const AckSlot& ack = acks_.slot(i);
      if (ack.lot != index || ack.state != AckState::renew_in_flight || !ack.record) continue;
      if (later_lot == kNoLot || lots_[later_lot].delivery_count != lot.delivery_count) {
        const uint32_t beside = lots_.add_beside(index);
        if (beside == kNoLot) return no_row(lot, times);
        later_lot = beside;
        lots_[later_lot].set_lock(times);
      }
      acks_.mark_held(i);
      move(i, later_lot);
    }
  }
  void move(uint32_t slot, uint32_t to) {
    const int64_t last = acks_.slot(slot).last();
    acks_.move(slot, to);
    Lot& lot = lots_[to];
    if (last <= lot.last) return;
    lot.last = last;
    lot.cursor = lot.walked = last + 1;
  }
  // Records are with the application again; the slot of the range is free.
  void end_slots(uint32_t index) {
    const uint32_t partition = lots_[index].partition;
    for (uint32_t i = acks_.head(partition); i != kNoAck; i = acks_.next(i)) {
      const AckSlot& ack = acks_.slot(i);
      if (ack.lot != index || ack.state != AckState::renew_in_flight || !ack.record) continue;
      acks_.mark_held(i);
    }
    drop_ranges(partition, AckState::renew_in_flight, kAllLinks, index);
  }
  void drop_ranges(uint32_t partition, AckState state, uint32_t link, uint32_t lot = kNoLot) {
    AckChoice choice;
    choice.states = AckChoice::bit(state);
    choice.ranges_only = true;
    choice.link = link;
    choice.lot = lot;
    static_cast<void>(acks_.settle(partition, choice));
  }

  Lots& lots_;
  AckBuffer& acks_;
};

}  // namespace kshare

#endif  // KSHARE_ACK_RENEWAL_HPP
