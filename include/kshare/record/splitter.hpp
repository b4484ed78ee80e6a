// SPDX-License-Identifier: Apache-2.0
// What:        Splitter: the plain bytes of one batch, in any pieces -> its wanted records in a
//              store slot.
// Flow:        record/walker.hpp -> here -> record/store.hpp.
// Memory:      none of its own; the slot's.
// Errors:      cut(): the slot is full, nothing from cut_at() on was kept. malformed(): from
//              bad_from() on the bytes are no records. Both end the keeping, never the counting of
//              bytes.
#ifndef KSHARE_RECORD_SPLITTER_HPP
#define KSHARE_RECORD_SPLITTER_HPP

#include <cstdint>

#include "kshare/record/batch.hpp"
#include "kshare/record/store.hpp"

namespace kshare {

// Which offsets are worth keeping: ranges in ascending order, asked for one at a time.
struct Wanted {
  using Next = bool (*)(const void* context, int64_t at, int64_t& first, int64_t& last);

  int64_t first = 0;
  int64_t last = -1;
  Next next = nullptr;  // the first range that ends at or behind `at`; null: there is none
  const void* context = nullptr;

  static Wanted from(int64_t offset) { return {offset, INT64_MAX, nullptr, nullptr}; }
  static Wanted ranges(Next next, const void* context) { return {0, -1, next, context}; }

  bool contains(int64_t offset) {
    if (offset > last && (next == nullptr || !next(context, offset, first, last))) {
      first = last = INT64_MAX;
    }
    return offset >= first && offset <= last;
  }
};

class Splitter {
 public:
  // `from`: the batch's base offset, or behind it where less of it is of interest.
  void begin(Store& store, uint32_t slot, uint16_t partition, const BatchHeader& batch,
             int64_t from) {
    slot_ = slot;
    records_left_ = batch.record_count;
    previous_delta_ = -1;
    chunk_at_ = kNoChunk;
    body_left_ = 0;
    keeping_ = cut_ = malformed_ = false;
    chunk_ = Chunk{};
    base_ = batch.base_offset;
    last_delta_ = batch.last_offset_delta;
    chunk_.first = batch.base_offset;
    chunk_.timestamp = batch.log_append_time() ? batch.max_timestamp : batch.base_timestamp;
    chunk_.leader_epoch = batch.leader_epoch;
    chunk_.partition = partition;
    chunk_.log_append_time = batch.log_append_time();
    bad_from_ = from;
    mark_ = store.slot(slot).used;
  }

  bool cut() const { return cut_; }
  int64_t cut_at() const { return cut_at_; }
  bool malformed() const { return malformed_; }
  int64_t bad_from() const { return bad_from_; }
  uint32_t mark() const { return mark_; }  // the slot's fill when the batch began

  // Takes what it can of `in`; answers how much. What is left must be offered again with more
  // behind it. `last`: nothing follows.
  uint32_t feed(Store& store, Wanted& wanted, Bytes in, bool last) {
    uint32_t at = 0;
    Bytes run;  // what is kept lies together, in `in` as in the slot: it is copied at once
    while (at < in.size && !malformed_) {
      if (body_left_ == 0) {
        RecordHead head;
        const bool sound = parse_record_head({in.data + at, in.size - at}, head);
        if (!sound && !last && in.size - at < kRecordHeadMax) break;
        malformed_ = !sound || !begin_record(store, wanted, head, run);
        if (malformed_) break;
      }
      const uint32_t count = body_left_ < in.size - at ? body_left_ : in.size - at;
      if (keeping_) {
        if (run.size == 0) run.data = in.data + at;
        run.size += count;
      }
      at += count;
      body_left_ -= count;
      const int64_t behind = base_ + previous_delta_ + 1;
      if (body_left_ == 0 && behind > bad_from_) bad_from_ = behind;
    }
    keep(store, run);
    return malformed_ ? in.size : at;
  }

  // The batch has ended; closes its chunk.
  void finish(Store& store) {
    if (body_left_ != 0 || (records_left_ != 0 && !malformed_)) {
      malformed_ = true;
      if (body_left_ != 0 && keeping_) store.rollback(slot_, record_at_);
      keeping_ = false;
    }
    close_chunk(store);
  }

 private:
  static constexpr uint32_t kNoChunk = UINT32_MAX;

  // Copies the run; the next begins behind it.
  void keep(Store& store, Bytes& run) {
    if (run.size != 0) store.append(slot_, run);
    run = Bytes{};
  }
  // False: it cannot stand here.
  bool begin_record(Store& store, Wanted& wanted, const RecordHead& head, Bytes& run) {
    if (records_left_ <= 0 || head.offset_delta <= previous_delta_ ||
        head.offset_delta > last_delta_) {
      return false;
    }
    const int64_t offset = base_ + head.offset_delta;
    --records_left_;
    previous_delta_ = head.offset_delta;
    body_left_ = head.size;
    keeping_ = !cut_ && wanted.contains(offset);
    record_at_ = store.slot(slot_).used + run.size;
    // A run has its chunk, and most records fit behind it.
    if (keeping_ && run.size != 0 && store.slot_bytes() - record_at_ >= head.size) return true;
    keep(store, run);
    keeping_ = keeping_ && make_room(store, head.size, offset);
    return true;
  }

  bool make_room(Store& store, uint32_t size, int64_t offset) {
    if (size > store.largest_record()) {
      close_chunk(store);
      Chunk mark = chunk_;
      mark.kind = ChunkKind::too_large;
      mark.first = mark.last = offset;
      if (!store.begin_chunk(slot_, mark, 0)) cut_here(offset);
      return false;
    }
    if (chunk_at_ == kNoChunk) {
      if (store.begin_chunk(slot_, chunk_, size)) {
        chunk_at_ = record_at_;
        record_at_ += Store::kChunkBytes;
        return true;
      }
    } else if (store.slot_bytes() - record_at_ >= size) {
      return true;
    }
    cut_here(offset);
    return false;
  }
  void cut_here(int64_t offset) {
    cut_ = true;
    cut_at_ = offset;
  }
  void close_chunk(Store& store) {
    if (chunk_at_ != kNoChunk) store.end_chunk(slot_, chunk_at_);  // gone if nothing is in it
    chunk_at_ = kNoChunk;
  }

  bool keeping_ = false;
  bool cut_ = false;
  bool malformed_ = false;
  int32_t previous_delta_ = -1;
  int32_t last_delta_ = 0;
  int32_t records_left_ = 0;
  uint32_t slot_ = 0;
  uint32_t mark_ = 0;
  uint32_t chunk_at_ = kNoChunk;
  uint32_t record_at_ = 0;
  uint32_t body_left_ = 0;
  int64_t base_ = 0;
  int64_t cut_at_ = 0;
  int64_t bad_from_ = 0;
  Chunk chunk_{};
};

}  // namespace kshare

#endif  // KSHARE_RECORD_SPLITTER_HPP
