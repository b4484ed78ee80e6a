// SPDX-License-Identifier: Apache-2.0
// What:        writes the pending acks of one partition as AcknowledgementBatches: ascending,
//              disjoint, as few octets as may be, never bridging an offset that is not ours.
// Flow:        ack/ack_buffer.hpp -> here -> a ShareFetch or ShareAcknowledge request.
// Memory:      none.
// Errors:      a batch that does not fit is left for the next request; the answer says how many
//              were written.
// Source:      KIP-932; a stretch of more than ten equal types is cheaper as a batch of its own
//              (one octet an offset against eighteen for a batch).
#ifndef KSHARE_ACK_ACK_BATCHES_HPP
#define KSHARE_ACK_ACK_BATCHES_HPP

#include <cstdint>

#include "kshare/ack/ack_buffer.hpp"
#include "kshare/wire/writer.hpp"

namespace kshare {

// Which acks may share a request: all acks of a partition in one request stand or fall together.
// What is most pressing leaves first.
enum class AckClass : uint8_t {
  late,      // about the earlier lock time or behind it: it may be gone
  sound,     // the lock holds for certain
  doubtful,  // acquired on a connection that is gone
};

// Renewals travel apart from all others: one is in force at once, and is not rolled back when a
// later batch of its partition fails.
enum class AckKind : uint8_t { terminal, renewal };

// A request may travel so much longer than the fetch before it, by which the lock is reckoned.
inline constexpr int64_t kJitterMs = 100;

inline AckClass ack_class(const Lot& lot, Instant now) {
  if (lot.doubtful) return AckClass::doubtful;
  return now + kJitterMs < lot.lock_min ? AckClass::sound : AckClass::late;
}

class AckBatchWriter {
 public:
  static constexpr int64_t kLongStretch = 10;

  AckBatchWriter(AckBuffer& acks, AckKind kind, Writer& out, uint32_t room_behind)
      : acks_(acks), out_(out), room_behind_(room_behind), waits_(waiting_state(kind)) {}

  // Writes the array of batches with what waits for `link` on `partition` in `wanted` class
  // and marks it in flight. Answers the number of batches; 0 writes an empty array.
  uint32_t write(uint32_t partition, uint32_t link, AckClass wanted, Instant now) {
    link_ = link;
    wanted_ = wanted;
    now_ = now;
    lot_ = kNoLot;
    const uint32_t array = out_.begin_array();
    uint32_t at = acks_.head(partition);
    Stretch stretch;
    while (next_stretch(at, stretch) && add(stretch)) {
    }
    close();
    out_.end_array(array, written_);
    if (written_ != 0) mark(partition);
    return written_;
  }

  // The class of the first ack of a partition that waits for this link, if there is one.
  static bool first_class(const AckBuffer& acks, AckKind kind, uint32_t partition, uint32_t link,
                          Instant now, AckClass& found) {
    const AckState waits = waiting_state(kind);
    bool any = false;
    for (uint32_t i = acks.head(partition); i != kNoAck; i = acks.next(i)) {
      if (acks.slot(i).state != waits || acks.lot_of(i).link != link) continue;
      const AckClass its = ack_class(acks.lot_of(i), now);
      if (!any || its < found) found = its;
      any = true;
      if (found == AckClass::late) break;
    }
    return any;
  }

 private:
  static AckState waiting_state(AckKind kind) {
    return kind == AckKind::renewal ? AckState::renewing : AckState::pending;
  }
  struct Stretch {
    int64_t first = 0;
    int64_t last = 0;
    uint8_t type = 0;
  };

  // Acks of one lot stand together: the lot is judged once for all of them.
  bool eligible(uint32_t index) {
    const AckSlot& ack = acks_.slot(index);
    if (ack.state != waits_) return false;
    if (ack.lot != lot_) {
      lot_ = ack.lot;
      const Lot& lot = acks_.lot_of(index);
      lot_eligible_ = lot.link == link_ && ack_class(lot, now_) == wanted_;
    }
    return lot_eligible_;
  }

  // Touching acks of one type, from slot `at` on; `at` moves behind them.
  bool next_stretch(uint32_t& at, Stretch& stretch) {
    bool any = false;
    for (; at != kNoAck; at = acks_.next(at)) {
      if (!eligible(at)) continue;
      const AckSlot& ack = acks_.slot(at);
      if (!any) stretch = {ack.first, ack.first - 1, ack.type};
      if (ack.first != stretch.last + 1 || ack.type != stretch.type) break;
      stretch.last = ack.last();
      any = true;
    }
    return any;
  }

  bool add(const Stretch& stretch) {
    const bool is_long = stretch.last - stretch.first >= kLongStretch;  // a batch by itself
    const uint32_t count = is_long ? 1 : static_cast<uint32_t>(stretch.last - stretch.first) + 1;
    const bool extends = open_ && stretch.first == last_ + 1 && !is_long &&
                         mixed_ + count <= Writer::kArrayMax;
    if (!extends && !close()) return false;
    if (!open_ && !open(stretch.first)) return false;
    for (uint32_t i = 0; i < count; ++i) out_.i8(static_cast<int8_t>(stretch.type));
    one_type_ = one_type_ && (mixed_ == 0 || stretch.type == type_);
    type_ = stretch.type;
    mixed_ += count;
    last_ = stretch.last;
    return is_long ? close() : fits();
  }

  bool fits() const { return out_.has_room(room_behind_ + 1); }

  // ---- A batch whose stretches are still being collected.
  bool open(int64_t first) {
    if (written_ == Writer::kArrayMax) return false;
    start_ = out_.size();
    open_ = true;
    last_ = first;
    mixed_ = 0;
    one_type_ = true;
    out_.i64(first);        // FirstOffset
    out_.i64(first);        // LastOffset, set by close()
    types_ = out_.begin_array();  // AcknowledgeTypes
    return true;
  }
  // Ends the open batch; false if it found no room, then it was taken back.
  bool close() {
    if (!open_) return true;
    open_ = false;
    if (!fits()) {
      out_.rewind(start_);
      return false;
    }
    if (one_type_) {
      out_.rewind(types_);
      out_.i8(static_cast<int8_t>(type_));
    }
    out_.end_array(types_, one_type_ ? 1 : mixed_);
    out_.no_tags();
    out_.patch_i64(start_ + 8, last_);
    ++written_;
    marked_to_ = last_;
    return true;
  }

  void mark(uint32_t partition) {
    for (uint32_t i = acks_.head(partition); i != kNoAck; i = acks_.next(i)) {
      if (acks_.slot(i).first > marked_to_) break;
      if (!eligible(i)) continue;
      if (waits_ == AckState::renewing) acks_.mark_renew_in_flight(i);
      else acks_.mark_in_flight(i);
    }
  }

  AckBuffer& acks_;
  Writer& out_;
  uint32_t room_behind_;
  uint32_t written_ = 0;
  uint32_t start_ = 0;
  uint32_t types_ = 0;
  uint32_t mixed_ = 0;  // octets of types in the open batch
  uint32_t link_ = 0;
  int64_t last_ = 0;
  int64_t marked_to_ = -1;
  uint32_t lot_ = kNoLot;  // the one judged last
  Instant now_{};
  AckState waits_;
  AckClass wanted_ = AckClass::late;
  uint8_t type_ = 0;
  bool open_ = false;
  bool one_type_ = true;
  bool lot_eligible_ = false;
};

}  // namespace kshare

#endif  // KSHARE_ACK_ACK_BATCHES_HPP
