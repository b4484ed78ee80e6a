// SPDX-License-Identifier: Apache-2.0
// What:        Tables: the state that the machines of one consumer share, and what they all do to
//              it: give up what is lost, settle what was answered.
// Flow:        core/engine.hpp owns it -> session, intake and handout work on it.
// Memory:      rows lent by Storage.
// Errors:      outcomes are counted in Stats and told by events.
#ifndef KSHARE_CORE_TABLES_HPP
#define KSHARE_CORE_TABLES_HPP

#include <cstdint>

#include "kshare/ack/ack_batches.hpp"
#include "kshare/ack/ack_buffer.hpp"
#include "kshare/ack/lots.hpp"
#include "kshare/ack/renewal.hpp"
#include "kshare/core/shared.hpp"
#include "kshare/core/topology.hpp"
#include "kshare/message/share_answer.hpp"
#include "kshare/record/store.hpp"
#include "kshare/wire/error_code.hpp"

namespace kshare {

struct Tables {
  Shared shared{};
  Store store{};
  Lots lots{};
  AckBuffer acks{};
  Topology topology{};
  uint32_t ack_part = 0;     // ack slots that each of several leaders leaves to the others
  int32_t lock_ms = 0;       // how long a lock lasts in this group, as told last; 0: not yet
  bool giving_back = false;  // some lot has give_back set
  bool renewing = false;     // some lot has renew set
  bool gave_back = false;    // records were given back because nobody took them in time
  bool idle = false;         // the same, and next() has not been called since: nothing is fetched
  bool slot_starved = false; // a leader waits for a store slot: long polls must be short
  bool retry_acks = false;   // the answer just read wants acks again, after a back-off

  // In milliseconds; unsigned divisions are shorter.
  uint32_t lock_part(uint32_t parts) const { return static_cast<uint32_t>(lock_ms) / parts; }

  // From here on a lot's records are not handed out any more: lock.margin.ms before the end, a
  // quarter of the lock at most (a margin near the lock itself would leave no time for any record).
  Instant too_late_at(const Lot& lot) const {
    const auto wanted = static_cast<uint32_t>(shared.options.lock_margin_ms);
    return {lot.lock_min.ms - (wanted < lock_part(4) ? wanted : lock_part(4))};
  }
  // So long next() waits for a renewal: what takes most of a lock is too slow for what is left.
  Instant renewal_awaited_until(const Lot& lot) const { return {lot.lock_min.ms - lock_part(4)}; }

  // An event about a partition; `row` names it.
  Event& tell(EventType type, uint32_t row, Status status = {}) {
    Event& event = shared.events.push(type, status);
    event.partition = topology.partition(row).index;
    EventRing::set_text(event, topology.topic_name(row));
    return event;
  }
  void tell_range(EventType type, uint32_t row, int64_t first, int64_t last) {
    Event& event = tell(type, row);
    event.first = first;
    event.last = last;
  }

  // A broker and its address, out of an answer. False: it leads partitions of ours, and there is no
  // place for it.
  bool note_node(const NodeEndpoint& node) {
    const bool needed = topology.is_leader(node.node_id);
    return topology.note_broker(node.node_id, node.host, node.port, needed) || !needed;
  }

  // ---- Answers to acknowledgements.
  // The broker's word on the acks of one partition that travelled on `link`.
  void resolve(uint32_t row, uint32_t link, int16_t error, Instant now) {
    if (kafka::ack_may_be_retried(error)) return_to_pending(row, link, now);
    const Status how = error == kafka::kNone ? Status{} : Status{Errc::broker_error, error};
    const AckOutcome outcome = settle_in_flight(row, link, how);
    if (how.ok()) {
      count_ok(outcome);
    } else {
      count_failed(row, outcome, how);
    }
  }
  // The same for renewals, which have no company.
  void resolve_renewals(uint32_t row, uint32_t link, int16_t error, const LockTimes& times) {
    if (error == kafka::kNone) {
      shared.stats.renewed += Renewal(lots, acks).succeeded(row, link, times);
      return;
    }
    const bool again = kafka::ack_may_be_retried(error) || kafka::session_is_lost(error);
    retry_acks = retry_acks || again;
    fail_renewals(row, link, again, {Errc::broker_error, error});
  }
  void fail_renewals(uint32_t row, uint32_t link, bool again, Status why) {
    Renewal(lots, acks).failed(row, link, again, [&](int64_t first, int64_t last) {
      shared.stats.renew_failed += static_cast<uint64_t>(last - first + 1);
      Event& event = tell(EventType::renew_failed, row, why);
      event.first = first;
      event.last = last;
    });
  }
  // In flight acks that the broker has certainly not looked at go again, while their locks hold and
  // nothing of them was acquired anew.
  void return_to_pending(uint32_t row, uint32_t link, Instant now) {
    for (uint32_t i = acks.head(row); i != kNoAck; i = acks.next(i)) {
      const AckSlot& ack = acks.slot(i);
      if (ack.state != AckState::in_flight || ack.last_flight) continue;
      const Lot& lot = lots[ack.lot];
      if (lot.link != link) continue;
      if (now < lot.lock_max) acks.mark_pending(i);
      retry_acks = true;
    }
  }
  void count_ok(const AckOutcome& outcome) {
    shared.stats.acks_ok += outcome.records;
    shared.stats.released += outcome.released;
    shared.stats.rejected += outcome.rejected;
    shared.stats.gaps += outcome.gaps;
  }
  void count_failed(uint32_t row, const AckOutcome& outcome, Status why) {
    if (outcome.records == 0) return;
    shared.stats.acks_failed += outcome.records;
    tell(EventType::acks_failed, row, why).value = static_cast<int64_t>(outcome.records);
  }

  // ---- Losses.
  // Nobody will be given the rest of this lot any more.
  void drop_undelivered(uint32_t lot_index) {
    Lot& lot = lots[lot_index];
    lot.last = lot.cursor - 1;
    leave_slot(lot_index);
    lot.walked = lot.cursor;
  }
  // What the application holds of a lot is lost, what waits to be sent fails. Frees the lot unless
  // acks of it are in flight.
  void lose_lot(uint32_t lot_index, Status why) {
    Lot& lot = lots[lot_index];
    const uint32_t row = lot.partition;
    if (lot.cursor <= lot.last) shared.stats.expired += static_cast<uint64_t>(lot.owed());
    drop_undelivered(lot_index);
    AckChoice choice;
    choice.states = kNotInFlight;
    choice.lot = lot_index;
    lose(row, why, choice);
    if (lot.used) static_cast<void>(lots.free_if_done(lot_index));
  }
  // The same while a renewal is in flight: only what the application holds and has not renewed.
  void lose_not_renewing(uint32_t lot_index) {
    AckChoice choice;
    choice.states = AckChoice::bit(AckState::held);
    choice.lot = lot_index;
    lose(lots[lot_index].partition, {Errc::lock_lost, 0}, choice);
  }
  // A range was acquired anew: what we still believed to hold of it was lost in between.
  void supersede(uint32_t row, int64_t first, int64_t last) {
    bool touched = false;
    for (uint32_t i = lots.head(row); i != kNoLot;) {
      const uint32_t next = lots.next(i);
      const Lot& lot = lots[i];
      if (lot.first <= last && lot.last >= first) touched = true;
      if (lot.cursor <= lot.last && lot.cursor <= last && lot.last >= first) {
        shared.stats.expired += static_cast<uint64_t>(lot.owed());
        drop_undelivered(i);
        static_cast<void>(lots.free_if_done(i));
      }
      i = next;
    }
    if (!touched) return;
    acks.end_flights(row, first, last);
    AckChoice choice;
    choice.states = kNotInFlight;
    choice.first = first;
    choice.last = last;
    lose(row, {Errc::lock_lost, 0}, choice);
  }

  // The broker has put this partition out of its memory: what was not handed out is free there, and
  // will be handed out again by whoever leads it. Acks for the rest may still find it, but do not
  // travel with those of what is acquired anew.
  void evicted(uint32_t row_index, uint32_t link) {
    for (uint32_t i = lots.head(row_index); i != kNoLot;) {
      const uint32_t next = lots.next(i);
      Lot& lot = lots[i];
      if (lot.link == link) {
        drop_undelivered(i);
        lot.doubtful = true;
        static_cast<void>(lots.free_if_done(i));
      }
      i = next;
    }
  }
  // The broker says it does not lead this partition any more. CurrentLeader means something only
  // with the errors that say so.
  void follow_leader(uint32_t row_index, uint32_t link, int32_t leader_id, int32_t leader_epoch) {
    evicted(row_index, link);
    PartitionRow& row = topology.partition(row_index);
    if (leader_id >= 0 && leader_epoch > row.leader_epoch) {
      topology.set_leader(row, leader_id, leader_epoch);
    } else {
      row.leader = -1;
    }
  }

  // ---- Reading again what the log has lost: a gap, which is settled out of `slot`.
  // The log of this partition begins at `start`. True if something missing lies below.
  bool log_begins_at(uint32_t row, uint32_t link, int64_t start, uint32_t slot) {
    bool any = false;
    for (uint32_t i = lots.head(row); i != kNoLot; i = lots.next(i)) {
      Lot& lot = lots[i];
      lot.probe = false;
      if (lot.link != link || !lot.missing() || lot.walked >= start) continue;
      static_cast<void>(lots.apply_walk(store, i, lot.walked, start, slot));
      any = true;
    }
    return any;
  }
  // Nothing is at `from`. Brokers do not say where their log begins then: the next fetch is for the
  // lot's last offset; if that is gone too, all of it is.
  bool out_of_range(uint32_t row, uint32_t link, int64_t from, uint32_t slot) {
    const uint32_t index = lots.first_missing(row, link, from);
    if (index == kNoLot) return false;
    Lot& lot = lots[index];
    const bool gone = lot.probe || from >= lot.last;
    lot.probe = !gone;
    if (gone) static_cast<void>(lots.apply_walk(store, index, lot.walked, lot.last + 1, slot));
    return true;
  }

  // Acks have failed for that reason: what they were for comes again, though not at once, as it may
  // fail again.
  void acks_evicted(uint32_t row_index, uint32_t link, Instant now) {
    evicted(row_index, link);
    back_off(topology.partition(row_index), now);
  }

  // A fetch of this partition has failed.
  void partition_failed(uint32_t row_index, uint32_t link, const SharePartition& part,
                        Instant now) {
    if (kafka::names_a_leader(part.error)) {
      follow_leader(row_index, link, part.leader_id, part.leader_epoch);
    } else if (kafka::is_evicted(part.error)) {
      evicted(row_index, link);
    }
    PartitionRow& row = topology.partition(row_index);
    back_off(row, now);
    if (row.told == part.error || part.error == kafka::kNotLeaderOrFollower) return;
    row.told = part.error;
    static_cast<void>(
        tell(EventType::partition_error, row_index, {Errc::broker_error, part.error}));
  }

  // Not fetched for a while.
  void back_off(PartitionRow& row, Instant now) const {
    // On a grid, so that many partitions in error are asked for again in few requests: a third of
    // the back-off to all of it from now.
    const uint32_t wait =
        even_backoff_ms(row.attempts, static_cast<uint32_t>(shared.options.retry_backoff_ms),
                        static_cast<uint32_t>(shared.options.retry_backoff_max_ms));
    const uint32_t grid = wait * 2 / 3 + 1;
    const int64_t middle = now.ms + grid / 2;  // its low half will do: the grid may begin anew
    row.retry_at.ms = middle + (grid - static_cast<uint32_t>(middle) % grid);
    if (row.attempts < 16) ++row.attempts;
  }

  // ---- A connection is gone. What was in flight is unknown; what was not handed out is given back
  // over the next connection; what the application holds may still be acknowledged there.
  void connection_lost(uint32_t link, int32_t node) {
    for (uint32_t row = 0; row < topology.partition_count(); ++row) {
      topology.partition(row).sessions &= ~(1u << link);
    }
    outcome_unknown(link, node, {Errc::disconnected, 0});
    for (uint32_t i = 0; i < lots.count(); ++i) {
      Lot& lot = lots[i];
      if (!lot.used || lot.link != link) continue;
      give_back(i);
      lot.doubtful = true;
    }
  }
  // Nobody can tell what the broker has done of what is in flight.
  void outcome_unknown(uint32_t link, int32_t node, Status why) {
    uint64_t unknown = 0;
    for (uint32_t row = 0; row < topology.partition_count(); ++row) {
      unknown += settle_in_flight(row, link, why).records;
      fail_renewals(row, link, false, why);
    }
    if (unknown == 0) return;
    shared.stats.acks_unknown += unknown;
    Event& event = shared.events.push(EventType::acks_unknown);
    event.node = node;
    event.value = static_cast<int64_t>(unknown);
  }
  // The rest of this lot is released as soon as ack slots are free.
  void give_back(uint32_t lot_index) {
    Lot& lot = lots[lot_index];
    leave_slot(lot_index);
    if (lot.cursor <= lot.last) lot.give_back = giving_back = true;
  }
  // The lot leaves the order of its store slot, which may be free by it.
  void leave_slot(uint32_t lot_index) {
    const Lot& lot = lots[lot_index];
    if (!lot.in_slot) return;
    const uint32_t slot = lot.slot;
    lots.leave_slot(store, lot_index);
    static_cast<void>(store.free_if_done(slot));
  }
  // Turns what is given back into acks, as far as ack slots are free.
  void release_given_back() {
    if (!giving_back) return;
    giving_back = false;
    for (uint32_t i = 0; i < lots.count(); ++i) {
      Lot& lot = lots[i];
      if (!lot.used || !lot.give_back) continue;
      if (!acks.settle_range(i, lot.cursor, lot.last, static_cast<uint8_t>(Ack::release))) {
        giving_back = true;
        return;
      }
      lot.give_back = false;
      lot.walked = lot.cursor;
    }
  }
  // True if some lot of `link` is not settled yet.
  bool has_lots(uint32_t link) const {
    for (uint32_t i = 0; i < lots.count(); ++i) {
      const Lot& lot = lots[i];
      if (lot.used && lot.link == link) return true;
    }
    return false;
  }
  // Ack slots that records of this link may still take. Of several leaders none has them all: one
  // that freezes with its acks in flight leaves a part to the others.
  int64_t ack_room(uint32_t link) const {
    const int64_t free = acks.free_count();
    if (ack_part == 0) return free;
    int64_t room = int64_t{acks.count()} - ack_part;
    for (uint32_t i = 0; i < lots.count(); ++i) {
      const Lot& lot = lots[i];
      if (lot.used && lot.link == link) room -= lot.open;
    }
    return room < free ? room : free;
  }
  // The same question where it is asked for every record.
  bool has_ack_room(uint32_t link) const {
    return acks.free_count() > ack_part || ack_room(link) > 0;
  }
  // Offsets acquired and not handed out yet, over the lots of one link or of all.
  int64_t owed(uint32_t link = kAllLinks) const {
    int64_t sum = 0;
    for (uint32_t i = 0; i < lots.count(); ++i) {
      const Lot& lot = lots[i];
      if (lot.used && !lot.give_back && (link == kAllLinks || lot.link == link)) sum += lot.owed();
    }
    return sum;
  }

 private:
  static constexpr uint32_t kNotInFlight = ~AckChoice::bit(AckState::in_flight);

  AckOutcome settle_in_flight(uint32_t row, uint32_t link, Status how) {
    AckChoice choice;
    choice.states = AckChoice::bit(AckState::in_flight);
    choice.link = link;
    return acks.settle(row, choice, how);
  }
  void lose(uint32_t row, Status why, const AckChoice& choice) {
    const auto tell_lost = [](void* context, const AckSlot& ack) {
      Tables& self = *static_cast<Tables*>(context);
      ++self.shared.stats.expired;
      self.tell_range(EventType::lock_expired, self.lots[ack.lot].partition, ack.first, ack.first);
    };
    count_failed(row, acks.lose(row, choice, why, {tell_lost, this}), why);
  }
};

}  // namespace kshare

#endif  // KSHARE_CORE_TABLES_HPP
