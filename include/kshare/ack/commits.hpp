// SPDX-License-Identifier: Apache-2.0
// What:        Commits: what has become of the acknowledgements that a commit() named, partition by
//              partition.
// Flow:        core/custody.hpp opens a commit -> ack/ack_buffer.hpp reports each end -> the
//              application asks.
// Memory:      a row for each partition of each commit: Limits::partitions_max rows of 40 bytes,
//              lent by Storage. Rows of finished commits make room for new ones, oldest first.
// Errors:      begin(): 0, too much of earlier commits is unanswered. A ticket whose rows
//              have made room is unknown.
#ifndef KSHARE_ACK_COMMITS_HPP
#define KSHARE_ACK_COMMITS_HPP

#include <cstdint>

#include "kshare/base/assert.hpp"
#include "kshare/base/bytes.hpp"
#include "kshare/base/status.hpp"
#include "kshare/wire/uuid.hpp"

namespace kshare {

using Ticket = uint64_t;  // names a commit; 0 names none

struct CommitRow {
  Ticket ticket = 0;
  Uuid topic_id{};
  int32_t partition = -1;
  uint32_t records = 0;
  uint16_t open = 0;       // ack slots without an answer
  uint16_t list = 0;       // the partition's row, while `open` is not 0
  Status status{};         // the first failure
};

class Commits {
 public:
  static constexpr uint32_t kOpenMax = 15;  // a slot names its commit with four bits

  void attach(Span<CommitRow> rows) {
    rows_ = rows;
    for (CommitRow& row : rows_) make_anew(row);
    last_ = oldest_ = 0;
    open_ = last_tag_ = 0;
  }

  bool any_open() const { return open_ != 0; }
  Ticket last() const { return last_; }

  // Begins the next commit, of `partitions` rows; 0: no room.
  Ticket begin(uint32_t partitions) {
    const Ticket next = last_ + 1;
    if (first_open() != 0 && next - first_open() >= kOpenMax) return 0;
    while (free_rows() < partitions) {
      if (!forget_oldest()) return 0;
    }
    last_ = next;
    last_tag_ = last_tag_ == kOpenMax ? 1 : last_tag_ + 1;
    if (oldest_ == 0) oldest_ = next;
    return next;
  }
  static uint8_t tag(Ticket ticket) { return static_cast<uint8_t>((ticket - 1) % kOpenMax + 1); }
  void add(const CommitRow& row) {
    for (CommitRow& place : rows_) {
      if (place.ticket != 0) continue;
      place = row;
      ++open_;
      return;
    }
    KSHARE_ASSERT(false);
  }

  // An ack slot that carries `its_tag` has ended.
  void ended(uint32_t list, uint8_t its_tag, Status how) {
    const uint32_t behind = last_tag_ >= its_tag ? last_tag_ : last_tag_ + kOpenMax;
    const Ticket ticket = last_ - (behind - its_tag);  // it is one of the last kOpenMax
    for (CommitRow& row : rows_) {
      if (row.open == 0 || row.list != list || row.ticket != ticket) continue;
      if (row.status.ok()) row.status = how;
      if (--row.open == 0) --open_;
      return;
    }
  }

  // in_progress: it or a commit before it has acks without an answer. unknown_ticket: never given,
  // or long ago. Else the first failure, or ok.
  Status status(Ticket ticket) const {
    if (ticket == 0 || ticket > last_ || ticket < oldest_) return {Errc::unknown_ticket, 0};
    Status status{};
    for (const CommitRow& row : rows_) {
      if (row.open != 0 && row.ticket <= ticket) return {Errc::in_progress, 0};
      if (row.ticket == ticket && status.ok()) status = row.status;
    }
    return status;
  }
  // Its i-th partition; nullptr behind the last.
  const CommitRow* result(Ticket ticket, uint32_t i) const {
    for (const CommitRow& row : rows_) {
      if (row.ticket == ticket && ticket != 0 && i-- == 0) return &row;
    }
    return nullptr;
  }

 private:
  uint32_t free_rows() const {
    uint32_t count = 0;
    for (const CommitRow& row : rows_) count += row.ticket == 0 ? 1 : 0;
    return count;
  }
  Ticket first_open() const {
    Ticket first = 0;
    for (const CommitRow& row : rows_) {
      if (row.open != 0 && (first == 0 || row.ticket < first)) first = row.ticket;
    }
    return first;
  }
  // False: what is oldest is not finished.
  bool forget_oldest() {
    if (oldest_ == 0 || oldest_ > last_ || oldest_ == first_open()) return false;
    Ticket next = last_ + 1;  // commits of nothing have no rows: all of them in one step
    for (const CommitRow& row : rows_) {
      if (row.ticket != 0 && row.ticket < next) next = row.ticket;
    }
    if (next == oldest_) {
      for (CommitRow& row : rows_) {
        if (row.ticket == oldest_) row = CommitRow{};
      }
      ++next;
    }
    oldest_ = next;
    return true;
  }

  Span<CommitRow> rows_{};
  Ticket last_ = 0;
  Ticket oldest_ = 0;  // the first whose rows are here
  uint32_t open_ = 0;  // rows with acks without an answer
  uint32_t last_tag_ = 0;  // tag(last_): dividing a ticket takes much code on 32-bit CPUs
};

}  // namespace kshare

#endif  // KSHARE_ACK_COMMITS_HPP
