// SPDX-License-Identifier: Apache-2.0
// What:        how much a leader link may ask for now, given what is in hand.
// Flow:        core/tables.hpp -> here -> core/leaders.hpp.
// Memory:      none.
// Errors:      none; "nothing" is an answer.
#ifndef KSHARE_CORE_DEMAND_HPP
#define KSHARE_CORE_DEMAND_HPP

#include <cstdint>

#include "kshare/core/session.hpp"
#include "kshare/core/tables.hpp"

namespace kshare {
namespace demand {

inline constexpr int32_t kWaitMsMin = 10;     // less would be a loop
inline constexpr int32_t kLockMsMin = 1000;   // the shortest lock that a broker can be given
inline constexpr int32_t kShortWaitMs = 100;  // of a long poll while something waits behind it

// The lot of this link whose bytes should be read again first: the one whose lock ends first.
inline uint32_t oldest_missing(uint32_t link, const Tables& tables) {
  uint32_t best = kNoLot;
  for (uint32_t at = 0; at < tables.lots.count(); ++at) {
    const Lot& lot = tables.lots[at];
    if (!lot.used || lot.link != link || !lot.missing()) continue;
    if (best == kNoLot) {
      best = at;
      continue;
    }
    const Lot& other = tables.lots[best];
    const bool same = lot.lock_min == other.lock_min && lot.partition == other.partition;
    if (lot.lock_min < other.lock_min || (same && lot.walked < other.walked)) best = at;
  }
  return best;
}

// Store slots of this link that the application has not read out yet.
inline uint32_t undelivered_slots(uint32_t link, const Tables& tables) {
  uint32_t count = 0;
  for (uint32_t s = 0; s < tables.store.count(); ++s) {
    const StoreSlot& slot = tables.store.slot(s);
    if (slot.state == SlotState::ready && slot.link == link && slot.lots_head != 0) ++count;
  }
  return count;
}

// What a ShareFetch may ask for; max_records 0: nothing. There is an ack slot for each record. What
// nobody takes is not asked for: it would come back at once, and its delivery count rise.
// `strict`: nor more ranges than there are rows for, two of them left for renewals. `can_limit`:
// the broker never gives more than is asked for; then a link that owes nothing has a part of the
// slots to itself, for what others owe may be much (a large batch), and for long (a broker that
// froze).
inline FetchSize fetch_size(uint32_t link, bool strict, bool can_limit, const Tables& tables) {
  FetchSize size;
  if (tables.idle) return size;
  const Options& options = tables.shared.options;
  const int64_t free = tables.ack_room(link);
  int64_t records = free - tables.owed();
  if (records <= 0 && can_limit && tables.owed(link) == 0) {
    const int64_t part = 1 + tables.acks.count() / tables.shared.limits->links_max;
    records = part < free ? part : free;
    strict = true;
  }
  if (records > options.max_poll_records) records = options.max_poll_records;
  const int64_t rows = int64_t{tables.lots.free_count()} - 2;
  if (strict && records > rows) records = rows;
  if (records <= 0 || tables.lots.free_count() == 0 || undelivered_slots(link, tables) > 1) {
    return size;
  }
  const auto room = static_cast<int32_t>(tables.store.slot_bytes());
  size.max_bytes = options.fetch_max_bytes < room ? options.fetch_max_bytes : room;
  size.max_records = static_cast<int32_t>(records);
  size.strict = strict;
  return size;
}

// How long the broker may wait for data: briefly while acks, other leaders or slots wait behind it.
// A lock counts from when its fetch was sent, for all we know: what comes at the end of a long wait
// must have most of it left. Until an answer has told the lock, it may be the shortest there is.
inline int32_t max_wait(uint32_t link, bool crowded, const Tables& tables) {
  const int32_t lock_ms = tables.lock_ms > 0 ? tables.lock_ms : kLockMsMin;
  int32_t wait_ms = tables.shared.options.fetch_max_wait_ms;
  const bool outstanding = tables.has_lots(link);
  if (outstanding || tables.slot_starved || crowded) {
    if (wait_ms > kShortWaitMs) wait_ms = kShortWaitMs;
    if (outstanding && wait_ms > lock_ms / 10) wait_ms = lock_ms / 10;
  }
  if (wait_ms > lock_ms / 4) wait_ms = lock_ms / 4;
  return wait_ms < kWaitMsMin ? kWaitMsMin : wait_ms;
}

}  // namespace demand
}  // namespace kshare

#endif  // KSHARE_CORE_DEMAND_HPP
