// SPDX-License-Identifier: Apache-2.0
// What:        Handout: reads the store's slots out in order: records to the application, gaps and
//              unusable offsets to the ack buffer.
// Flow:        record/store.hpp, ack/lots.hpp -> here -> ShareConsumer::next.
// Memory:      none of its own.
// Errors:      what cannot be handed out is told by an event and acknowledged by itself; nothing
//              stops for it.
#ifndef KSHARE_CORE_HANDOUT_HPP
#define KSHARE_CORE_HANDOUT_HPP

#include <cstdint>

#include "kshare/core/tables.hpp"
#include "kshare/record/fields.hpp"
#include "kshare/record/record.hpp"

namespace kshare {

class Handout {
 public:
  enum class Step : uint8_t {
    record,   // one was handed out
    empty,    // nothing is in the store
    blocked,  // no ack slot is free
    waiting,  // its lock is being renewed: the record will have the whole of it; or this leader has
              // all the ack slots that it may have
  };

  // Hands out the next record. With `record` null it only clears gaps out of the way.
  static Step next(Tables& tables, Record* record, Instant now) {
    uint32_t waiting = 0;  // links, a bit each: a broker that does not answer holds up only its own
    for (;;) {
      const Store& store = tables.store;
      const uint32_t slot = waiting == 0 ? tables.store.oldest() : store.oldest_beside(waiting);
      if (slot == Store::kNone) return waiting == 0 ? Step::empty : Step::waiting;
      const Step step = next_of(tables, slot, store.slot(slot).lots_head - 1u, record, now);
      if (step == Step::waiting) {
        waiting |= 1u << store.slot(slot).link;
      } else if (step != Step::empty) {  // empty: that lot is through
        return step;
      }
    }
  }

  // The rest of a lot will not be taken in time: it is released for others.
  static void give_back(Tables& tables, uint32_t lot_index) {
    const Lot& lot = tables.lots[lot_index];
    tables.shared.stats.expired += static_cast<uint64_t>(lot.owed());
    tables.gave_back = true;
    tables.tell_range(EventType::released_unseen, lot.partition, lot.cursor, lot.last);
    tables.give_back(lot_index);
  }

 private:
  // `empty`: this lot's stretch in the slot is through, and the lot has left it.
  static Step next_of(Tables& tables, uint32_t slot, uint32_t lot_index, Record* record,
                      Instant now) {
    Lot& lot = tables.lots[lot_index];
    if (is_being_renewed(lot, tables, now)) return Step::waiting;
    if (now >= tables.too_late_at(lot)) {
      give_back(tables, lot_index);  // too late to work on it
      return Step::empty;
    }
    StoreItem item;
    while (tables.store.peek(slot, item)) {
      const bool mine = item.chunk.partition == lot.partition;
      if (mine ? item.first >= lot.walked : is_awaited(tables, lot, item)) break;
      if (!mine || item.last < lot.cursor) {
        tables.store.skip(slot, item);
        continue;
      }
      if (!gap(tables, lot_index, lot, item.first)) return Step::blocked;
      if (item.chunk.kind != ChunkKind::records) {
        if (!refuse(tables, lot_index, item)) return Step::blocked;
        if (item.last < lot.walked) tables.store.skip(slot, item);
        if (lot.cursor >= lot.walked) break;
        continue;
      }
      if (record == nullptr) return Step::record;  // it waits for the application
      if (!tables.has_ack_room(lot.link)) {
        return tables.acks.free_count() == 0 ? Step::blocked : Step::waiting;
      }
      if (hand_out(tables, lot_index, slot, item, *record)) return Step::record;
      if (lot.cursor >= lot.walked) break;
    }
    if (!gap(tables, lot_index, lot, lot.walked)) return Step::blocked;
    leave(tables, lot_index);
    return Step::empty;
  }

  static bool is_being_renewed(const Lot& lot, const Tables& tables, Instant now) {
    return lot.renewing || (lot.renew && now < tables.renewal_awaited_until(lot));
  }

  // True if what lies in front belongs to a later lot; else to one that has left, or to nobody.
  static bool is_awaited(const Tables& tables, const Lot& before, const StoreItem& item) {
    for (uint32_t i = before.next_in_slot; i != 0; i = tables.lots[i - 1u].next_in_slot) {
      const Lot& lot = tables.lots[i - 1u];
      if (lot.partition == item.chunk.partition && item.last >= lot.cursor &&
          item.first < lot.walked) {
        return true;
      }
    }
    return false;
  }

  // Offsets from the cursor to `end` hold no record.
  static bool gap(Tables& tables, uint32_t lot_index, Lot& lot, int64_t end) {
    return lot.cursor >= end ||
           tables.acks.settle_range(lot_index, lot.cursor, end - 1, kAckGap);
  }

  static bool refuse(Tables& tables, uint32_t lot_index, const StoreItem& item) {
    const Lot& lot = tables.lots[lot_index];
    const int64_t last = item.last < lot.walked ? item.last : lot.walked - 1;
    return refuse_range(tables, lot_index, last, item.chunk.kind);
  }
  static bool refuse_range(Tables& tables, uint32_t lot_index, int64_t last, ChunkKind kind) {
    if (tables.acks.free_count() == 0) return false;
    Lot& lot = tables.lots[lot_index];
    const Options& options = tables.shared.options;
    EventType type = EventType::record_malformed;
    Unusable what = options.undecodable;
    if (kind == ChunkKind::corrupt) {
      type = EventType::batch_corrupt;
      what = Unusable::reject;
    } else if (kind == ChunkKind::undecodable) {
      type = EventType::batch_undecodable;
    } else if (kind == ChunkKind::too_large) {
      type = EventType::record_too_large;
      what = options.too_large;
    }
    tables.tell_range(type, lot.partition, lot.cursor, last);
    const Ack ack = what == Unusable::reject ? Ack::reject : Ack::release;
    return tables.acks.settle_range(lot_index, lot.cursor, last, static_cast<uint8_t>(ack));
  }

  // False: the record turned out to be malformed, and is refused.
  static bool hand_out(Tables& tables, uint32_t lot_index, uint32_t slot, const StoreItem& item,
                       Record& record) {
    Lot& lot = tables.lots[lot_index];
    tables.store.skip(slot, item);
    if (!parse_fields(item.body, record)) {
      static_cast<void>(refuse_range(tables, lot_index, item.first, ChunkKind::malformed));
      return false;
    }
    const PartitionRow& row = tables.topology.partition(lot.partition);
    record.topic = tables.topology.name(row.topic);
    record.topic_id = tables.topology.topic(row.topic).id;
    record.partition = row.index;
    record.leader_epoch = item.chunk.leader_epoch;
    record.offset = item.first;
    record.timestamp = item.timestamp;
    record.timestamp_type = item.chunk.log_append_time ? TimestampType::log_append_time
                                                       : TimestampType::create_time;
    record.delivery_count = lot.delivery_count;
    record.lock_deadline = lot.lock_min;
    record.id = tables.acks.hand_out(lot_index, item.first);
    lot.cursor = item.first + 1;
    Stats& stats = tables.shared.stats;
    ++stats.records;
    stats.bytes += item.body.size;
    if (lot.delivery_count > 1) ++stats.redelivered;
    if (lot.cursor == lot.walked) leave(tables, lot_index);
    return true;
  }

  // The lot's stretch in its slot is through.
  static void leave(Tables& tables, uint32_t lot_index) {
    tables.leave_slot(lot_index);
    static_cast<void>(tables.lots.free_if_done(lot_index));
  }
};

}  // namespace kshare

#endif  // KSHARE_CORE_HANDOUT_HPP
