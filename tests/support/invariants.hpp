// SPDX-License-Identifier: Apache-2.0
// What:        what must be true of a consumer's tables after every turn, whatever a broker said.
// Flow:        ShareConsumer::engine().tables() -> broken_invariant() -> a test or a fuzzer.
// Memory:      none.
// Valid until: the text is fixed.
// Errors:      null: all is well; else which rule is broken.
#ifndef KSHARE_TESTS_INVARIANTS_HPP
#define KSHARE_TESTS_INVARIANTS_HPP

#include <cstdint>
#include <vector>

#include "kshare/core/engine.hpp"

namespace invariants {

inline const char* of_lot(const kshare::Lot& lot) {
  if (lot.first < 0 || lot.cursor < lot.first || lot.cursor > lot.last + 1) return "lot: cursor";
  if (lot.walked < lot.cursor || lot.walked > lot.last + 1) return "lot: walked";
  if (lot.in_slot && lot.walked == lot.cursor) return "lot: in a slot with nothing there";
  if (lot.cursor > lot.last && lot.open == 0) return "lot: used with nothing left";
  if (lot.cursor <= lot.last && !lot.in_slot && !lot.give_back && !lot.missing()) {
    return "lot: offsets that nobody will ever look at";
  }
  return nullptr;
}

// The lists of each partition hold every used lot and every ack slot but the lost ones, in order.
inline const char* of_lists(const kshare::Tables& tables) {
  uint32_t lots = 0;
  uint32_t acks = 0;
  uint32_t pending = 0;
  std::vector<uint32_t> open(tables.lots.count());
  for (uint32_t p = 0; p < tables.topology.partition_count(); ++p) {
    int64_t before = -1;
    for (uint32_t i = tables.lots.head(p); i != kshare::kNoLot; i = tables.lots.next(i)) {
      const kshare::Lot& lot = tables.lots[i];
      if (!lot.used || lot.partition != p) return "list of lots: a stranger";
      if (lot.first < before) return "list of lots: not ascending";
      if (++lots > tables.lots.count()) return "list of lots: a circle";
      before = lot.first;
      if (!tables.topology.partition(p).used) return "a lot of a partition that has no row";
      if (const char* broken = of_lot(lot)) return broken;
    }
    before = -1;
    for (uint32_t i = tables.acks.head(p); i != kshare::kNoAck; i = tables.acks.next(i)) {
      const kshare::AckSlot& ack = tables.acks.slot(i);
      if (ack.state == kshare::AckState::free || ack.state == kshare::AckState::lost) {
        return "list of acks: one that is over";
      }
      if (ack.first < before) return "list of acks: not ascending";
      if (++acks > tables.acks.count()) return "list of acks: a circle";
      if (tables.acks.lot_of(i).partition != p || !tables.acks.lot_of(i).used) {
        return "list of acks: a stranger";
      }
      pending += ack.state == kshare::AckState::pending ? 1u : 0u;
      ++open[ack.lot];
      before = ack.first;
    }
  }
  for (uint32_t i = 0; i < tables.lots.count(); ++i) {
    if (tables.lots[i].open != open[i]) return "lot: open acks miscounted";
  }
  uint32_t lost = 0;
  for (uint32_t i = 0; i < tables.acks.count(); ++i) {
    lost += tables.acks.slot(i).state == kshare::AckState::lost ? 1u : 0u;
  }
  if (lots != tables.lots.count() - tables.lots.free_count()) return "lots miscounted";
  if (acks + lost != tables.acks.used()) return "acks miscounted";
  return pending == tables.acks.pending() ? nullptr : "pending acks miscounted";
}

inline const char* of_store(const kshare::Tables& tables) {
  uint32_t in_slots = 0;
  for (uint32_t s = 0; s < tables.store.count(); ++s) {
    const kshare::StoreSlot& slot = tables.store.slot(s);
    if (slot.used > tables.store.slot_bytes() || slot.read > slot.used) return "slot: overfull";
    uint32_t last = 0;
    for (uint32_t i = slot.lots_head; i != 0; i = tables.lots[i - 1].next_in_slot) {
      const kshare::Lot& lot = tables.lots[i - 1];
      if (!lot.used || !lot.in_slot || lot.slot != s) return "list of a slot: a stranger";
      if (++in_slots > tables.lots.count()) return "list of a slot: a circle";
      last = i;
    }
    if (last != slot.lots_tail) return "list of a slot: its tail";
    uint32_t refs = 0;
    for (uint32_t i = 0; i < tables.acks.count(); ++i) {
      refs += tables.acks.slot(i).slot == s + 1 ? 1u : 0u;
    }
    if (refs != slot.refs) return "slot: references miscounted";
    if (slot.state == kshare::SlotState::free && (refs != 0 || last != 0))
      return "slot: free early";
    if (slot.state == kshare::SlotState::ready && refs == 0 && last == 0) return "slot: kept";
  }
  for (uint32_t i = 0; i < tables.lots.count(); ++i) {
    if (tables.lots[i].in_slot) --in_slots;
  }
  return in_slots == 0 ? nullptr : "a lot in a slot that does not know it";
}

inline const char* of_topology(const kshare::Tables& tables) {
  const kshare::Topology& topology = tables.topology;
  uint32_t assigned = 0;
  for (uint32_t p = 0; p < topology.partition_count(); ++p) {
    const kshare::PartitionRow& row = topology.partition(p);
    if (!row.used) continue;
    assigned += row.assigned ? 1u : 0u;
    if (row.index < 0) return "partition: negative";
    if (row.topic >= topology.topic_count()) return "partition: topic out of range";
    if (!topology.topic(row.topic).used) return "partition: its topic has no row";
    if (topology.find_partition(row.topic, row.index) != p) return "partition: two rows";
  }
  for (uint32_t t = 0; t < topology.topic_count(); ++t) {
    const kshare::TopicRow& row = topology.topic(t);
    if (row.used && !row.id.is_zero() && topology.find_topic(row.id) != t) return "topic: two rows";
  }
  for (uint32_t b = 0; b < topology.broker_count(); ++b) {
    const kshare::BrokerRow& row = topology.broker(b);
    if (row.used && topology.find_broker(row.node_id) != b) return "broker: two rows";
  }
  return assigned == topology.assigned_count() ? nullptr : "assigned partitions miscounted";
}

inline const char* broken_invariant(const kshare::Tables& tables) {
  if (const char* broken = of_lists(tables)) return broken;
  if (const char* broken = of_store(tables)) return broken;
  return of_topology(tables);
}

}  // namespace invariants

#endif  // KSHARE_TESTS_INVARIANTS_HPP
