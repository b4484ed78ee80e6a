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
    const uint32_t array = out_.begin_array();
    lot_ = kNoLot;
    uint32_t at = acks_.head(partition);
    Stretch stretch;
    while (next_stretch(at, link, wanted, now, stretch) && add(stretch)) {
    }
    close();
    out_.end_array(array, written_);
    if (written_ != 0) mark(partition, link, wanted, now);
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
    int64_t length() const { return last - first + 1; }
  };

  // Acks of one lot stand together: the lot is judged once for all of them.
  bool eligible(uint32_t index, uint32_t link, AckClass wanted, Instant now) {
    const AckSlot& ack = acks_.slot(index);
    if (ack.state != waits_) return false;
    if (ack.lot != lot_) {
      lot_ = ack.lot;
      const Lot& lot = acks_.lot_of(index);
      lot_eligible_ = lot.link == link && ack_class(lot, now) == wanted;
    }
    return lot_eligible_;
  }

  // Touching acks of one type, from slot `at` on; `at` moves behind them.
  bool next_stretch(uint32_t& at, uint32_t link, AckClass wanted, Instant now, Stretch& stretch) {
    while (at != kNoAck && !eligible(at, link, wanted, now)) at = acks_.next(at);
    if (at == kNoAck) return false;
    stretch = {acks_.slot(at).first, acks_.slot(at).last(), acks_.slot(at).type};
    for (at = acks_.next(at); at != kNoAck; at = acks_.next(at)) {
      const AckSlot& ack = acks_.slot(at);
      if (!eligible(at, link, wanted, now)) continue;
      if (ack.first != stretch.last + 1 || ack.type != stretch.type) break;
      stretch.last = ack.last();
    }
    return true;
  }

  bool add(const Stretch& stretch) {
    const bool extends = open_ && stretch.first == last_ + 1 && stretch.length() <= kLongStretch &&
                         mixed_ + stretch.length() <= int64_t{Writer::kArrayMax};
    if (!extends && !close()) return false;
    if (stretch.length() > kLongStretch) return write_single(stretch);
    if (!open_ && !open(stretch.first)) return false;
    for (int64_t i = 0; i < stretch.length(); ++i) out_.i8(static_cast<int8_t>(stretch.type));
    one_type_ = one_type_ && (mixed_ == 0 || stretch.type == type_);
    type_ = stretch.type;
    mixed_ += stretch.length();
    last_ = stretch.last;
    return fits();
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
    out_.end_array(types_, one_type_ ? 1 : static_cast<uint32_t>(mixed_));
    out_.no_tags();
    out_.patch_i64(start_ + 8, last_);
    done(last_);
    return true;
  }
  bool write_single(const Stretch& stretch) {
    if (written_ == Writer::kArrayMax) return false;
    const uint32_t start = out_.size();
    out_.i64(stretch.first);  // FirstOffset
    out_.i64(stretch.last);   // LastOffset
    const uint32_t types = out_.begin_array();
    out_.i8(static_cast<int8_t>(stretch.type));  // AcknowledgeTypes
    out_.end_array(types, 1);
    out_.no_tags();
    if (!fits()) {
      out_.rewind(start);
      return false;
    }
    done(stretch.last);
    return true;
  }
  void done(int64_t last) {
    ++written_;
    marked_to_ = last;
  }

  void mark(uint32_t partition, uint32_t link, AckClass wanted, Instant now) {
    for (uint32_t i = acks_.head(partition); i != kNoAck; i = acks_.next(i)) {
      if (acks_.slot(i).first > marked_to_) break;
      if (!eligible(i, link, wanted, now)) continue;
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
  int64_t last_ = 0;
  int64_t mixed_ = 0;
  int64_t marked_to_ = -1;
  uint32_t lot_ = kNoLot;  // the one judged last
  AckState waits_;
  uint8_t type_ = 0;
  bool open_ = false;
  bool one_type_ = true;
  bool lot_eligible_ = false;
};

}  // namespace kshare

#endif  // KSHARE_ACK_ACK_BATCHES_HPP
