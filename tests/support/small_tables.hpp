// SPDX-License-Identifier: Apache-2.0
// What:        the tables of one consumer, so small that tests copy them to go back to an earlier
//              moment: one lot or ack more is one row less.
// Flow:        SmallTables -> machines that try every order of events (support/explorer.hpp).
// Memory:      a few KiB, in one piece.
// Valid until: a copy is good for going back only: what is worked on stays where it was attached.
// Errors:      none.
#ifndef KSHARE_TESTS_SMALL_TABLES_HPP
#define KSHARE_TESTS_SMALL_TABLES_HPP

#include <cstdint>
#include <string>
#include <type_traits>

#include "kshare/core/tables.hpp"

struct SmallTables {
  static constexpr uint32_t kPartitions = 3;
  static constexpr uint32_t kLots = 4;
  static constexpr uint32_t kAcks = 5;
  static constexpr uint32_t kSlots = 2;

  kshare::AckSlot acks[kAcks];
  kshare::CommitRow commits[1];
  kshare::Lot lots[kLots];
  kshare::PartitionLists lists[kPartitions];
  kshare::StoreSlot slots[kSlots];
  kshare::PartitionRow partitions[kPartitions];
  kshare::TopicRow topics[2];
  kshare::BrokerRow brokers[1];
  kshare::Event events[1];
  kshare::Tables tables;

  void attach(uint32_t lot_count, uint32_t ack_count) {
    static uint8_t memory[kSlots];
    static char text[1];
    tables.shared.events.attach({events, 1});
    tables.shared.options.group_id = "group";
    tables.shared.random.seed(1);
    tables.store.attach({slots, kSlots}, memory, 1);
    tables.lots.attach({lots, lot_count}, {lists, kPartitions});
    tables.acks.attach({acks, ack_count}, {commits, 1}, tables.lots, tables.store);
    tables.topology.attach({topics, 2}, {text, 0}, {brokers, 1}, {text, 1},
                           {partitions, kPartitions}, tables.lots);
  }
};
static_assert(std::is_trivially_copyable<SmallTables>::value, "copied to go back");

#endif  // KSHARE_TESTS_SMALL_TABLES_HPP
