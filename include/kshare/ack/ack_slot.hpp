// SPDX-License-Identifier: Apache-2.0
// What:        AckSlot: one record handed out, or one range of offsets that is settled without the
//              application, from then until the broker has answered.
// Flow:        part of ack/ack_buffer.hpp.
// Memory:      24 bytes; all-zero is free.
// Errors:      none.
//
//   free -> held (with the application) -> pending -> in flight -> free, its outcome counted
//           |  ^                            ^   ^---- 7, 14, 15, 16: again
//           |  `- renewing, renew in flight |  (both still with the application)
//           `-> lost (its lock is gone) -> free
//
// A slot that is no record's stands for a range: it is pending from the start, or carries the
// renewal of what a lot has not handed out.
#ifndef KSHARE_ACK_ACK_SLOT_HPP
#define KSHARE_ACK_ACK_SLOT_HPP

#include <cstdint>

#include "kshare/record/record.hpp"

namespace kshare {

inline constexpr uint32_t kNoAck = UINT32_MAX;
inline constexpr uint8_t kAckGap = 0;  // AcknowledgeTypes: no record at this offset

enum class AckState : uint8_t {
  free = 0,
  held,
  lost,
  pending,
  in_flight,
  renewing,         // a renewal is to be sent
  renew_in_flight,
};

struct AckSlot {
  int64_t first = 0;
  uint32_t span = 0;  // offsets behind `first` that it stands for too; 0 for a record
  uint32_t generation = 0;
  uint16_t lot = 0;
  uint16_t next = 0;  // of the same partition, by offset; index + 1
  AckState state = AckState::free;
  uint8_t type = 0;
  uint8_t slot = 0;  // store slot + 1 while its bytes are needed
  bool record : 1;       // it was handed out; else a range settled without the application
  bool last_flight : 1;  // acquired anew while in flight: not sent again
  uint8_t commit : 4;    // the commit that waits for it (Commits::tag), 0: none

  int64_t last() const { return first + span; }
  bool touches(int64_t from, int64_t to) const { return first <= to && last() >= from; }
  // Acknowledged, without an answer; `commit` tells whether one has named it.
  bool is_unanswered() const { return state == AckState::pending || state == AckState::in_flight; }
  bool renews() const { return state == AckState::renewing || state == AckState::renew_in_flight; }
  // The application has it, and its lock holds as far as we know.
  bool is_held() const { return record && (state == AckState::held || renews()); }
};
static_assert(sizeof(AckSlot) == 24, "ack slots are many");

// What became of acknowledgements, for the counters.
struct AckOutcome {
  uint64_t records = 0;   // that had been handed out
  uint64_t released = 0;  // offsets, handed out or not
  uint64_t rejected = 0;
  uint64_t gaps = 0;
  void add(const AckSlot& ack) {
    const uint64_t offsets = uint64_t{ack.span} + 1;
    if (ack.record) ++records;
    if (ack.type == kAckGap) gaps += offsets;
    if (ack.type == static_cast<uint8_t>(Ack::release)) released += offsets;
    if (ack.type == static_cast<uint8_t>(Ack::reject)) rejected += offsets;
  }
};

}  // namespace kshare

#endif  // KSHARE_ACK_ACK_SLOT_HPP
