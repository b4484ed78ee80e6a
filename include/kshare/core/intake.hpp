// SPDX-License-Identifier: Apache-2.0
// What:        Intake: the answer to a leader link's request, as it streams in: records into a
//              store slot, acquired ranges into lots, verdicts on acks.
// Flow:        core/link.hpp -> message/ decoders, record/walker.hpp -> here -> tables;
//              core/engine.hpp asks for the end.
// Memory:      one decoder at a time and a walker, a few hundred bytes a link.
// Errors:      per partition: events, back-off, a leader hint; for the whole: error(). Malformed
//              bytes: reader().malformed() and the link is closed; nothing of the slot is handed
//              out then.
//
// On the wire Records comes before AcquiredRecords. Whole records are retained while they fit; when
// the ranges are known, what is retained and acquired will be handed out, what is retained only is
// trimmed, what is acquired only is read again later, and an acquired offset without a record in
// the walked stretch is a gap.
#ifndef KSHARE_CORE_INTAKE_HPP
#define KSHARE_CORE_INTAKE_HPP

#include <cstdint>

#include "kshare/core/link.hpp"
#include "kshare/core/session.hpp"
#include "kshare/core/tables.hpp"
#include "kshare/message/fetch.hpp"
#include "kshare/message/share_answer.hpp"
#include "kshare/record/walker.hpp"

namespace kshare {

class Intake {
 public:
  static constexpr uint32_t kNoSlot = Store::kNone;

  void attach(uint32_t link) {
    make_anew(*this);
    link_ = static_cast<uint8_t>(link);
  }

  uint32_t slot() const { return slot_; }
  int16_t error() const { return error_; }
  int32_t throttle_ms() const { return throttle_ms_; }
  bool saw_data() const { return saw_data_; }      // an acquired range, or a partition's error
  uint32_t surplus() const { return surplus_; }    // ranges that found no row
  uint32_t fragments() const { return fragments_; }  // lots beyond one a partition
  bool leaders_changed() const { return leaders_changed_; }

  // ---- A request leaves; `slot` is reserved for its records, or kNoSlot.
  void begin_share_fetch(uint32_t slot, Tables& tables) {
    begin(slot);
    decoder_.share.begin_fetch(tables.shared.sink());
  }
  void begin_acknowledge(int16_t version, AckKind kind, Tables& tables) {
    begin(kNoSlot);
    renews_ = kind == AckKind::renewal;
    decoder_.share.begin_acknowledge(version, tables.shared.sink());
  }
  void begin_reread(uint32_t slot, uint32_t row, int64_t from) {
    begin(slot);
    row_ = row;
    from_ = from;
    decoder_.fetch.begin();
  }

  // ---- Bytes have come. True at the end of the answer.
  bool read(Link& link, Tables& tables, Instant now) {
    switch (link.request()) {
      case Api::share_fetch:
      case Api::share_acknowledge: return read_share(link, tables, now);
      case Api::fetch: return read_again(link, tables, now);
      case Api::metadata:
      case Api::find_coordinator:
      case Api::api_versions:
      case Api::share_group_heartbeat: break;
    }
    return false;
  }

  // The answer is complete: what is in the slot may be handed out.
  void publish(Tables& tables) {
    if (slot_ != kNoSlot) tables.store.publish(slot_);
    slot_ = kNoSlot;
  }
  // The connection is lost: nothing of the slot is. The lots are given back by the tables.
  void abandon(Tables& tables) {
    walker_.abandon();
    walking_ = false;
    if (slot_ == kNoSlot) return;
    for (uint32_t i = 0; i < tables.lots.count(); ++i) {
      Lot& lot = tables.lots[i];
      if (lot.used && lot.in_slot && lot.slot == slot_) tables.lots.leave_slot(tables.store, i);
    }
    tables.store.drop_reservation(slot_);
    slot_ = kNoSlot;
  }

 private:
  union Decoder {
    Decoder() : share() {}
    ShareAnswerDecoder share;
    FetchDecoder fetch;
  };

  void begin(uint32_t slot) {
    slot_ = slot;
    error_ = kafka::kNone;
    throttle_ms_ = 0;
    surplus_ = fragments_ = 0;
    row_ = kNoRow;
    saw_data_ = walking_ = leaders_changed_ = renews_ = false;
  }

  // Record bytes that stream by: true once the field is behind us.
  bool walk(Link& link, Tables& tables, Instant now) {
    walking_ = walking_ && !walker_.run(tables.store, link.reader());
    if (walking_ && walker_.waits()) link.put_off(now, tables.shared);
    return !walking_;
  }

  // ---- ShareFetch and ShareAcknowledge.
  bool read_share(Link& link, Tables& tables, Instant now) {
    ShareAnswerDecoder& answer = decoder_.share;
    if (!walk(link, tables, now)) return false;
    for (;;) {
      switch (answer.next(link.reader())) {
        case ShareAnswerDecoder::Item::none: return false;
        case ShareAnswerDecoder::Item::head: on_head(answer, tables); break;
        case ShareAnswerDecoder::Item::partition:
          if (link.request() == Api::share_fetch) on_partition(answer.partition(), tables, now);
          else on_acknowledged(answer.partition(), link, tables, now);
          break;
        case ShareAnswerDecoder::Item::records:
          begin_walk(answer.records_bytes(), tables);
          if (!walk(link, tables, now)) return false;
          break;
        case ShareAnswerDecoder::Item::acquired:
          on_acquired(answer.acquired(), link, tables);
          break;
        case ShareAnswerDecoder::Item::partition_end: end_partition(tables); break;
        case ShareAnswerDecoder::Item::node: tables.note_node(answer.node()); break;
        case ShareAnswerDecoder::Item::end: return finish(link, tables, now);
      }
    }
  }

  void on_head(const ShareAnswerDecoder& answer, Tables& tables) {
    error_ = answer.error();
    throttle_ms_ = answer.throttle_ms();
    const int32_t lock_ms = answer.lock_timeout_ms();
    if (error_ == kafka::kNone && lock_ms > 0) tables.lock_ms = lock_ms;
    tables.shared.said(answer.words());
  }

  void on_partition(const SharePartition& part, Tables& tables, Instant now) {
    row_ = tables.topology.find_partition(part.topic_id, part.index);
    walked_ = false;
    lot_ = kNoLot;
    if (row_ == kNoRow) return;
    PartitionRow& row = tables.topology.partition(row_);
    mark_ = slot_ == kNoSlot ? 0 : tables.store.slot(slot_).used;
    if (error_ == kafka::kNone) tables.resolve(row_, link_, part.ack_error, now);
    if (kafka::is_evicted(part.ack_error)) tables.acks_evicted(row_, link_, now);
    if (part.error != kafka::kNone) {
      saw_data_ = leaders_changed_ = true;  // every error is a reason to look at the metadata again
      tables.partition_failed(row_, link_, part, now);
    } else if (now >= row.retry_at) {  // else it was only acknowledged
      row.attempts = 0;
      row.told = 0;
    }
    // Records of a partition that is not in the session are for nobody: its row may go any time.
    if ((row.sessions & (1u << link_)) == 0) row_ = kNoRow;
  }

  void begin_walk(uint32_t bytes, Tables& tables) {
    walking_ = true;
    if (row_ == kNoRow || slot_ == kNoSlot) return walker_.begin_discard(bytes);
    WalkPlan plan;
    plan.hint = tables.topology.partition(row_).hint;
    plan.wanted = Wanted::from(0);
    start(plan, bytes, tables);
    covered_to_ = limit_ = INT64_MIN;
  }
  // With what is the same for all walks.
  void start(WalkPlan& plan, uint32_t bytes, const Tables& tables) {
    plan.partition = static_cast<uint16_t>(row_);
    plan.slot = slot_;
    plan.check_crcs = tables.shared.options.check_crcs;
    plan.codecs = tables.shared.options.codecs;
    walker_.begin(plan, bytes);
    walked_ = true;
  }

  void on_acquired(const AcquiredRecords& range, Link& link, Tables& tables) {
    saw_data_ = true;
    if (range.first < 0 || range.last < range.first || range.last == INT64_MAX ||
        range.last - range.first >= INT32_MAX) {
      link.reader().fail();
      return;
    }
    if (row_ == kNoRow) {
      ++surplus_;
      return;
    }
    tables.supersede(row_, range.first, range.last);
    const bool ascends = walked_ && walker_.walked() && range.first >= limit_;  // or it lies
    if (!take_range(range, ascends ? walker_.walk_first() : 0, ascends ? walker_.walk_end() : 0,
                    link, tables)) {
      ++surplus_;
      return;
    }
    PartitionRow& row = tables.topology.partition(row_);
    if (range.last + 1 > row.hint) row.hint = range.last + 1;
    if (!ascends) return;
    limit_ = range.last + 1;
    if (range.first <= later_of(covered_to_, walker_.walk_first())) covered_to_ = range.last + 1;
  }
  // A lot of its own, or the lot before goes on. False: no row is free.
  bool take_range(const AcquiredRecords& range, int64_t walk_first, int64_t walk_end, Link& link,
                  Tables& tables) {
    if (lot_ != kNoLot) {
      const Lot& before = tables.lots[lot_];
      if (range.first == before.last + 1 && range.delivery_count == before.delivery_count &&
          range.last - before.first < INT32_MAX) {
        lot_ = tables.lots.extend(tables.store, lot_, range.last, walk_first, walk_end, slot_);
        return true;
      }
      ++fragments_;
    }
    lot_ = tables.lots.add(row_, link_, range.first, range.last);
    if (lot_ == kNoLot) return false;
    Lot& lot = tables.lots[lot_];
    lot.delivery_count = range.delivery_count;
    lot.set_lock(lock_times(link, tables));
    lot_ = tables.lots.apply_walk(tables.store, lot_, walk_first, walk_end, slot_);
    return true;
  }
  static int64_t later_of(int64_t a, int64_t b) { return a < b ? b : a; }

  // The broker's clock began to run between the two.
  static LockTimes lock_times(const Link& link, const Tables& tables) {
    return {link.sent_at() + tables.lock_ms, link.first_byte_at() + tables.lock_ms};
  }

  // All ranges of the partition are known: what nobody acquired makes room for the next partition.
  void end_partition(Tables& tables) {
    if (row_ == kNoRow || slot_ == kNoSlot || !walked_) return;
    if (covered_to_ >= walker_.walk_end()) return;  // all of it was acquired
    uint32_t at = tables.store.slot(slot_).lots_head;
    tables.store.trim(slot_, mark_, [&](int64_t offset) {
      while (at != 0) {
        const Lot& lot = tables.lots[at - 1u];
        if (lot.partition == row_ && lot.walked > offset) return offset >= lot.cursor;
        at = lot.next_in_slot;
      }
      return false;
    });
  }

  void on_acknowledged(const SharePartition& part, const Link& link, Tables& tables, Instant now) {
    row_ = tables.topology.find_partition(part.topic_id, part.index);
    if (row_ == kNoRow || error_ != kafka::kNone) return;
    resolve(row_, part.error, lock_times(link, tables), tables, now);
    if (kafka::is_evicted(part.error)) tables.acks_evicted(row_, link_, now);
    if (kafka::names_a_leader(part.error)) {
      tables.follow_leader(row_, link_, part.leader_id, part.leader_epoch);
    }
    if (part.error != kafka::kNone) leaders_changed_ = true;
  }

  // Acks that the answer did not mention have failed; unless the broker broke down over them.
  bool finish(const Link& link, Tables& tables, Instant now) {
    const int16_t error = error_ == kafka::kNone ? kafka::kInvalidRecordState : error_;
    const Status why{Errc::broker_error, error};
    if (error == kafka::kUnknownServerError) tables.outcome_unknown(link_, link.target(), why);
    for (uint32_t row = 0; row < tables.topology.partition_count(); ++row) {
      if (kafka::session_is_lost(error_)) tables.return_to_pending(row, link_, now);
      resolve(row, error, {}, tables, now);
    }
    return true;
  }

  void resolve(uint32_t row, int16_t error, const LockTimes& times, Tables& tables, Instant now) {
    if (renews_) tables.resolve_renewals(row, link_, error, times);
    else tables.resolve(row, link_, error, now);
  }

  // ---- Fetch: the bytes of what is acquired already.
  static bool next_missing(const void* context, int64_t at, int64_t& first, int64_t& last) {
    const auto& self = *static_cast<const Intake*>(context);
    const Lots& lots = *self.lots_;
    if (at < self.from_) at = self.from_;  // what lies below would take the room of what is walked
    const uint32_t index = lots.first_missing(self.row_, self.link_, at);
    if (index == kNoLot) return false;
    const Lot& lot = lots[index];
    if (lot.walked >= self.limit_) return false;
    first = later_of(lot.walked, self.from_);
    last = lot.last;
    return true;
  }

  bool read_again(Link& link, Tables& tables, Instant now) {
    FetchDecoder& answer = decoder_.fetch;
    Reader& in = link.reader();
    if (!walk(link, tables, now)) return false;
    for (;;) {
      switch (answer.next(in)) {
        case FetchDecoder::Item::none: return false;
        case FetchDecoder::Item::head:
          error_ = answer.error();
          throttle_ms_ = answer.throttle_ms();
          break;
        case FetchDecoder::Item::partition:
          walked_ = false;
          on_reread_partition(answer, tables);
          break;
        case FetchDecoder::Item::records:
          walking_ = true;
          walked_ = answer.partition_error() == kafka::kNone && !saw_data_ &&
                    is_asked_for(answer, tables);
          if (walked_) {
            lots_ = &tables.lots;
            limit_ = lots_->walk_limit(row_, link_, from_);
            WalkPlan plan;
            plan.from = from_;
            plan.from_exact = true;
            plan.wanted = Wanted::ranges(next_missing, this);
            start(plan, answer.records_bytes(), tables);
          } else {
            walker_.begin_discard(answer.records_bytes());
          }
          if (!walk(link, tables, now)) return false;
          break;
        case FetchDecoder::Item::partition_end:
          if (walked_ && walker_.walked()) apply_reread(tables);
          break;
        case FetchDecoder::Item::end: return true;
      }
    }
  }
  bool is_asked_for(const FetchDecoder& answer, const Tables& tables) const {
    return tables.topology.find_partition(answer.topic_id(), answer.partition()) == row_;
  }
  void apply_reread(Tables& tables) {
    saw_data_ = true;
    const int64_t end = walker_.walk_end() < limit_ ? walker_.walk_end() : limit_;
    static_cast<void>(tables.lots.apply_walks(tables.store, row_, link_, from_, end, slot_));
  }
  // What lies below the log's start can never be handed out.
  void on_reread_partition(const FetchDecoder& answer, Tables& tables) {
    const int16_t error = answer.partition_error();
    if (error == kafka::kNone) {
      saw_data_ = is_asked_for(answer, tables) &&
                  tables.log_begins_at(row_, link_, answer.log_start(), slot_);
    } else if (error == kafka::kOffsetOutOfRange) {
      saw_data_ = tables.out_of_range(row_, link_, from_, slot_);
    } else {
      leaders_changed_ = true;
      if (kafka::is_evicted(error)) tables.evicted(row_, link_);
    }
  }

  // What is used most stands first: near fields take shorter instructions on some CPUs.
  uint32_t slot_ = kNoSlot;
  uint32_t row_ = kNoRow;
  uint32_t lot_ = kNoLot;  // of the range acquired last
  uint32_t mark_ = 0;
  uint8_t link_ = 0;
  bool saw_data_ = false;
  bool walking_ = false;
  bool walked_ = false;
  bool leaders_changed_ = false;
  bool renews_ = false;  // the request carries renewals, and nothing else
  int16_t error_ = 0;
  int32_t throttle_ms_ = 0;
  uint32_t surplus_ = 0;
  uint32_t fragments_ = 0;
  const Lots* lots_ = nullptr;
  int64_t from_ = 0;
  int64_t covered_to_ = 0;  // acquired without a hole from the walk's beginning to here
  int64_t limit_ = 0;       // behind the range acquired last; reading again: Lots::walk_limit()
  Decoder decoder_{};
  Walker walker_{};
};

}  // namespace kshare

#endif  // KSHARE_CORE_INTAKE_HPP
