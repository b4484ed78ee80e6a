// SPDX-License-Identifier: Apache-2.0
// What:        the record store: equal slots; each is filled by one fetch and read out in order.
// Flow:        record/splitter.hpp appends -> slot -> core/handout.hpp reads items and hands
//              records out.
// Memory:      Limits::store_bytes, lent by Storage. A slot is free again when everything in it has
//              been read out and no record of it is held any more.
// Valid until: views into a slot: until its last reference is dropped.
// Errors:      append answers false when the slot is full; the caller then stops keeping ("cut")
//              and the bytes are fetched again later.
//
//   slot  | chunk | record record record ... | chunk | record ... |   free   |
//                   ^ read                                        ^ used
//   A chunk is what one batch left here: its offsets, times and epoch, then its kept records
//   exactly as on the wire; or a mark without records, for offsets that cannot be handed out.
#ifndef KSHARE_RECORD_STORE_HPP
#define KSHARE_RECORD_STORE_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kshare/base/assert.hpp"
#include "kshare/base/bytes.hpp"
#include "kshare/record/fields.hpp"

namespace kshare {

enum class ChunkKind : uint8_t {
  records,
  corrupt,      // CRC wrong
  undecodable,  // no codec, or a form we do not know
  malformed,    // the CRC is right, the records make no sense
  too_large,    // a record larger than a slot
};

struct Chunk {
  int64_t first = 0;      // records: the batch's base offset; marks: the first offset meant
  int64_t last = 0;       // marks: the last offset meant
  int64_t timestamp = 0;  // the batch's base timestamp, or its max timestamp for log append time
  int32_t leader_epoch = 0;
  uint32_t bytes = 0;  // of records behind this chunk
  uint16_t partition = 0;
  ChunkKind kind = ChunkKind::records;
  bool log_append_time = false;
};

enum class SlotState : uint8_t { free = 0, reserved, ready };

struct StoreSlot {
  uint32_t used = 0;
  uint32_t read = 0;       // what lies before it has been read out
  uint32_t chunk_at = 0;   // the chunk that `read` is in
  uint32_t chunk_end = 0;  // its end, 0 before the first chunk
  uint16_t order = 0;      // slots are read out in this order; the count wraps around
  uint16_t refs = 0;       // records handed out whose bytes are still needed
  uint16_t lots_head = 0;  // ack/lots.hpp: lots with bytes here, in order; index + 1
  uint16_t lots_tail = 0;
  uint8_t link = 0;
  SlotState state = SlotState::free;
};

// The next thing in a slot: a record, or the range of a mark. peek() sets it: one a record, so the
// plain numbers are not cleared before.
struct StoreItem {
  Chunk chunk;
  int64_t first;
  int64_t last;
  int64_t timestamp;  // of a record
  Bytes body;         // of a record: key, value, headers
  uint32_t next;      // where the item behind begins
};

// The head of a record on the wire: its size, then attributes, time and offset. Set by
// parse_record_head(); one a record, so it is not cleared before.
struct RecordHead {
  uint32_t size;        // of the whole record, its length field included
  uint32_t head_bytes;  // of that, up to the key
  int64_t timestamp_delta;
  int32_t offset_delta;
};

inline constexpr uint32_t kRecordHeadMax = 5 + 1 + 10 + 5;

// Reads a record's head. False: not enough bytes, or malformed (when kRecordHeadMax were there).
inline bool parse_record_head(Bytes bytes, RecordHead& head) {
  uint8_t padded[kRecordHeadMax];
  const uint8_t* at = bytes.data;
  if (bytes.size < kRecordHeadMax) {  // zeros behind it end any number
    for (uint32_t i = 0; i < kRecordHeadMax; ++i) {
      padded[i] = i < bytes.size ? bytes.data[i] : uint8_t{0};
    }
    at = padded;
  }
  const uint8_t* begin = at;
  uint32_t length = 0;
  uint64_t timestamp_delta = 0;
  uint32_t offset_delta = 0;
  if (!read_groups(at, length)) return false;
  const auto length_bytes = static_cast<uint32_t>(at - begin);
  ++at;  // attributes, unused
  if (!read_groups(at, timestamp_delta) || !read_groups(at, offset_delta)) return false;
  head.head_bytes = static_cast<uint32_t>(at - begin);
  if (head.head_bytes > bytes.size || (length & 1u) != 0) return false;  // odd is negative
  head.timestamp_delta = static_cast<int64_t>(from_zigzag(timestamp_delta));
  head.offset_delta = static_cast<int32_t>(from_zigzag(offset_delta));
  head.size = length_bytes + (length >> 1);
  return head.head_bytes <= head.size;
}

class Store {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  void attach(Span<StoreSlot> slots, uint8_t* memory, uint32_t slot_bytes) {
    slots_ = slots;
    memory_ = memory;
    slot_bytes_ = slot_bytes;
    order_ = oldest_plus_one_ = 0;
    for (StoreSlot& slot : slots_) slot = StoreSlot{};
  }

  uint32_t slot_bytes() const { return slot_bytes_; }
  uint32_t count() const { return slots_.size; }
  StoreSlot& slot(uint32_t index) { return slots_[index]; }
  const StoreSlot& slot(uint32_t index) const { return slots_[index]; }

  uint32_t free_count() const {
    uint32_t count = 0;
    for (const StoreSlot& slot : slots_) count += slot.state == SlotState::free ? 1 : 0;
    return count;
  }
  // A free slot for a fetch on `link`, or kNone.
  uint32_t reserve(uint32_t link) {
    for (uint32_t i = 0; i < slots_.size; ++i) {
      if (slots_[i].state != SlotState::free) continue;
      if (i + 1 == oldest_plus_one_) oldest_plus_one_ = 0;
      slots_[i] = StoreSlot{};
      slots_[i].state = SlotState::reserved;
      slots_[i].link = static_cast<uint8_t>(link);
      return i;
    }
    return kNone;
  }
  // The fetch is complete: the slot may be read out.
  void publish(uint32_t index) {
    StoreSlot& slot = slots_[index];
    KSHARE_ASSERT(slot.state == SlotState::reserved);
    slot.state = SlotState::ready;
    slot.order = ++order_;
    free_if_done(index);
  }
  void drop_reservation(uint32_t index) {
    KSHARE_ASSERT(slots_[index].refs == 0 && slots_[index].lots_head == 0);
    slots_[index] = StoreSlot{};
  }
  // The ready slot with lots in it that was published first, or kNone.
  uint32_t oldest() {
    if (oldest_plus_one_ != 0 && has_lots(slots_[oldest_plus_one_ - 1u])) {
      return oldest_plus_one_ - 1u;  // what has been published since is not older
    }
    const uint32_t best = oldest_beside(0);
    oldest_plus_one_ = static_cast<uint16_t>(best + 1u);
    return best;
  }
  // The same without the slots of some links: a bit each.
  uint32_t oldest_beside(uint32_t links) const {
    uint32_t best = kNone;
    for (uint32_t i = 0; i < slots_.size; ++i) {
      if (!has_lots(slots_[i]) || (links >> slots_[i].link & 1u) != 0) continue;
      if (best == kNone || is_before(slots_[i].order, slots_[best].order)) best = i;
    }
    return best;
  }

  void hold(uint32_t index) { ++slots_[index].refs; }
  // True when this made the slot free.
  bool unhold(uint32_t index) {
    KSHARE_ASSERT(slots_[index].refs != 0);
    return --slots_[index].refs == 0 && free_if_done(index);
  }
  bool free_if_done(uint32_t index) {
    StoreSlot& slot = slots_[index];
    if (slot.state != SlotState::ready || slot.refs != 0 || slot.lots_head != 0) return false;
    slot = StoreSlot{};
    return true;
  }

  // ---- Filling.
  uint32_t room(uint32_t index) const { return slot_bytes_ - slots_[index].used; }
  uint32_t largest_record() const { return slot_bytes_ - kChunkBytes; }
  // Begins a chunk; false if there is no room for it and `behind` more bytes.
  bool begin_chunk(uint32_t index, const Chunk& chunk, uint32_t behind) {
    if (room(index) < kChunkBytes + behind) return false;
    StoreSlot& slot = slots_[index];
    std::memcpy(at(index, slot.used), &chunk, sizeof chunk);
    slot.used += kChunkBytes;
    return true;
  }
  // Adds to the chunk begun last; end_chunk() then writes its length, or drops an empty one.
  void append(uint32_t index, Bytes bytes) {
    StoreSlot& slot = slots_[index];
    KSHARE_ASSERT(bytes.size <= room(index));
    std::memcpy(at(index, slot.used), bytes.data, bytes.size);
    slot.used += bytes.size;
  }
  void end_chunk(uint32_t index, uint32_t chunk_at) {
    StoreSlot& slot = slots_[index];
    const uint32_t bytes = slot.used - chunk_at - kChunkBytes;
    if (bytes == 0) slot.used = chunk_at;
    else set_chunk_bytes(index, chunk_at, bytes);
  }
  void rollback(uint32_t index, uint32_t used) { slots_[index].used = used; }

  // Keeps, of what lies behind `from`, only records that `wanted` names (ascending ranges).
  template <typename Wanted>
  void trim(uint32_t index, uint32_t from, const Wanted& wanted) {
    StoreSlot& slot = slots_[index];
    uint32_t to = from;
    for (uint32_t chunk_at = from; chunk_at < slot.used;) {
      Chunk chunk;
      std::memcpy(&chunk, at(index, chunk_at), sizeof chunk);
      const uint32_t end = chunk_at + kChunkBytes + chunk.bytes;
      const uint32_t new_at = to;
      std::memmove(at(index, to), at(index, chunk_at), kChunkBytes);
      to += kChunkBytes;
      for (uint32_t record = chunk_at + kChunkBytes; record < end;) {
        RecordHead head;
        const bool sound = parse_record_head({at(index, record), end - record}, head);
        KSHARE_ASSERT(sound);
        if (wanted(chunk.first + head.offset_delta)) {
          std::memmove(at(index, to), at(index, record), head.size);
          to += head.size;
        }
        record += head.size;
      }
      if (to == new_at + kChunkBytes && chunk.kind == ChunkKind::records) {
        to = new_at;
      } else {
        set_chunk_bytes(index, new_at, to - new_at - kChunkBytes);
      }
      chunk_at = end;
    }
    slot.used = to;
  }

  // ---- Reading out. False: nothing is left. Chunks of records have some: empty ones are taken
  // back where they are closed or trimmed.
  bool peek(uint32_t index, StoreItem& item) {
    StoreSlot& slot = slots_[index];
    const bool is_new = slot.read == slot.chunk_end;  // the chunk, or it is the slot's end
    if (is_new) {
      if (slot.read == slot.used) return false;
      slot.chunk_at = slot.read;
    }
    std::memcpy(&item.chunk, at(index, slot.chunk_at), sizeof item.chunk);
    if (is_new) {
      slot.chunk_end = slot.chunk_at + kChunkBytes + item.chunk.bytes;
      if (item.chunk.kind == ChunkKind::records) slot.read += kChunkBytes;
    }
    if (item.chunk.kind != ChunkKind::records) {
      item.first = item.chunk.first;
      item.last = item.chunk.last;
      item.next = slot.chunk_end;
      return true;
    }
    RecordHead head;
    const uint8_t* record = at(index, slot.read);
    const bool sound = parse_record_head({record, slot.chunk_end - slot.read}, head);
    KSHARE_ASSERT(sound);
    item.first = item.last = item.chunk.first + head.offset_delta;
    item.timestamp = item.chunk.timestamp;
    if (!item.chunk.log_append_time) {  // unsigned: a hostile sum may wrap
      item.timestamp = static_cast<int64_t>(static_cast<uint64_t>(item.timestamp) +
                                            static_cast<uint64_t>(head.timestamp_delta));
    }
    item.body = {record + head.head_bytes, head.size - head.head_bytes};
    item.next = slot.read + head.size;
    return true;
  }
  void skip(uint32_t index, const StoreItem& item) { slots_[index].read = item.next; }

  static constexpr uint32_t kChunkBytes = sizeof(Chunk);

 private:
  // Lots enter a slot before it is published, never after.
  static bool has_lots(const StoreSlot& slot) {
    return slot.state == SlotState::ready && slot.lots_head != 0;
  }
  // The slots that wait to be read were all published within a few turns of the oldest.
  static bool is_before(uint32_t a, uint32_t b) {
    return static_cast<uint16_t>(a - b) > UINT16_MAX / 2;
  }
  uint8_t* at(uint32_t index, uint32_t offset) { return memory_ + index * slot_bytes_ + offset; }
  void set_chunk_bytes(uint32_t index, uint32_t chunk_at, uint32_t bytes) {
    std::memcpy(at(index, chunk_at + offsetof(Chunk, bytes)), &bytes, sizeof bytes);
  }

  Span<StoreSlot> slots_{};
  uint8_t* memory_ = nullptr;
  uint32_t slot_bytes_ = 0;
  uint16_t order_ = 0;
  uint16_t oldest_plus_one_ = 0;  // what oldest() has answered, until that slot is reserved again
};

}  // namespace kshare

#endif  // KSHARE_RECORD_STORE_HPP
