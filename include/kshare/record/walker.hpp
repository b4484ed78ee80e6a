// SPDX-License-Identifier: Apache-2.0
// What:        Walker: the Records field of one partition, as it streams in -> batches, CRC, codec,
//              records in a slot; and the stretch of offsets that was walked, in which an offset
//              without a record is a gap.
// Flow:        core/link.hpp's window -> here -> codec/ -> record/splitter.hpp -> record/store.hpp.
// Memory:      none of its own.
// Errors:      a batch with a wrong CRC, without a codec, of an unknown form or malformed inside
//              leaves a mark in the slot in place of its records; the walk goes on behind it. A
//              partial batch at the end is not walked; nor is one that lost the codec, which stood
//              still while another link waited for it, nor what lies behind that.
//
//   walked:  [walk_first, walk_end)
//     begins at the first batch's base offset, or where the caller asked it to begin;
//     ends behind the last batch walked to its end, or at the first record that found no room
//     ("cut").
#ifndef KSHARE_RECORD_WALKER_HPP
#define KSHARE_RECORD_WALKER_HPP

#include <cstdint>

#include "kshare/codec/codec.hpp"
#include "kshare/record/batch.hpp"
#include "kshare/record/splitter.hpp"
#include "kshare/record/store.hpp"
#include "kshare/wire/crc32c.hpp"
#include "kshare/wire/reader.hpp"

namespace kshare {

struct WalkPlan {
  Wanted wanted{};
  int64_t from = 0;         // nothing below is of interest
  bool from_exact = false;  // the walk begins at `from` even if the first batch begins behind it
  int64_t hint = 0;  // if the first batch is larger than the slot and holds this offset: begin here
  uint16_t partition = 0;
  uint32_t slot = 0;
  bool check_crcs = true;
  CodecRegistry* codecs = nullptr;
};

class Walker {
 public:
  void begin(const WalkPlan& plan, uint32_t records_bytes) {
    begin_discard(records_bytes);
    at_ = At::header;
    plan_ = plan;
    walk_first_ = walk_end_ = plan.from;
    walked_ = plan.from_exact;
  }

  // Nobody wants these octets. What is not set here is set with each batch.
  void begin_discard(uint32_t records_bytes) {
    bytes_left_ = records_bytes;
    walked_ = cut_ = false;
    at_ = At::discard;
  }

  // Takes what the window has. True: the field has been consumed to its end.
  bool run(Store& store, Reader& in) {
    while (bytes_left_ != 0) {
      bool moved = false;
      switch (at_) {
        case At::header: moved = read_header(store, in); break;
        case At::body: moved = read_body(store, in); break;
        case At::discard: moved = discard(in); break;
      }
      if (!moved) return false;
    }
    return true;
  }
  // The connection is gone in the middle of it.
  void abandon() { release_codec(); }
  // Bytes that run() has left are here for the codec's sake, which another link has.
  bool waits() const { return at_ == At::body && form_ == Form::packed; }

  // True if anything was walked: walk_first() and walk_end() say what.
  bool walked() const { return walked_ && walk_end_ > walk_first_; }
  int64_t walk_first() const { return walk_first_; }
  int64_t walk_end() const { return walk_end_; }
  bool cut() const { return cut_; }

 private:
  enum class At : uint8_t { header, body, discard };
  enum class Form : uint8_t { plain, packed, unpacked, passed_over };  // packed: has no codec yet

  bool read_header(Store& store, Reader& in) {
    if (bytes_left_ < BatchHeader::kBytes || cut_) {
      at_ = At::discard;
      return true;
    }
    const Bytes head = in.peek(BatchHeader::kBytes);
    if (head.size < BatchHeader::kBytes) return false;
    batch_ = parse_batch_header(head.data);
    if (batch_.length < BatchHeader::kBytes - BatchHeader::kPrefixBytes ||
        batch_.length > bytes_left_ - BatchHeader::kPrefixBytes) {
      at_ = At::discard;  // a partial batch
      return true;
    }
    const bool before_from = batch_.sane() && batch_.last_offset() < plan_.from;
    if (!batch_.sane() || (walked_ && !before_from && batch_.last_offset() < walk_end_)) {
      refuse_rest(store);
      at_ = At::discard;
      return true;
    }
    crc_.reset();
    crc_.update({head.data + BatchHeader::kCrcFrom, BatchHeader::kBytes - BatchHeader::kCrcFrom});
    crc_ahead_ = 0;
    in.consume(BatchHeader::kBytes);
    bytes_left_ -= BatchHeader::kBytes;
    body_left_ = batch_.length + BatchHeader::kPrefixBytes - BatchHeader::kBytes;
    begin_body(store);
    at_ = At::body;
    if (body_left_ == 0) finish_batch(store);
    return true;
  }

  void begin_body(Store& store) {
    if (!walked_) {
      if (batch_.length > store.slot_bytes() && plan_.hint > batch_.base_offset &&
          plan_.hint <= batch_.last_offset()) {
        plan_.from = plan_.hint;
        plan_.wanted = Wanted::from(plan_.hint);
      }
      walk_first_ = walk_end_ = batch_begin();
      walked_ = true;
    }
    splitter_.begin(store, plan_.slot, plan_.partition, batch_, batch_begin());
    undecodable_ = stream_ended_ = false;
    form_ = Form::plain;
    packed_left_ = 0;
    if (batch_.control() || batch_.last_offset() < plan_.from) {
      form_ = Form::passed_over;
    } else if (batch_.codec() != 0) {
      codec_ = find_codec();
      form_ = codec_ == nullptr ? Form::passed_over : Form::packed;
      undecodable_ = form_ == Form::passed_over;
    }
  }

  bool read_body(Store& store, Reader& in) {
    const Bytes here = in.peek(body_left_);
    if (here.size == 0 || (form_ == Form::packed && !claim_codec())) return false;
    if (form_ == Form::unpacked && plan_.codecs->used_by != this) return lose_batch(store);
    if (plan_.check_crcs && here.size > crc_ahead_) {
      crc_.update({here.data + crc_ahead_, here.size - crc_ahead_});
    }
    crc_ahead_ = here.size;
    uint32_t taken = here.size;
    if (form_ == Form::plain) {
      taken = splitter_.feed(store, plan_.wanted, here, here.size == body_left_);
    } else if (form_ == Form::unpacked) {
      plan_.codecs->moved = true;
      unpack(store, here);
    }
    in.consume(taken);
    crc_ahead_ -= taken;
    body_left_ -= taken;
    bytes_left_ -= taken;
    if (body_left_ == 0) finish_batch(store);
    return taken != 0;
  }

  // Decompresses all of `here`, a windowful at a time.
  void unpack(Store& store, Bytes here) {
    while (!undecodable_ && !stream_ended_) {
      MutableBytes window = plan_.codecs->window;
      MutableBytes out{window.data + packed_left_, window.size - packed_left_};
      const uint32_t in_before = here.size;
      const uint32_t out_before = out.size;
      const CodecStep step = codec_->run(here, out);
      const uint32_t filled = packed_left_ + (out_before - out.size);
      const uint32_t used = splitter_.feed(store, plan_.wanted, {window.data, filled}, false);
      packed_left_ = filled - used;
      if (used != 0 && packed_left_ != 0) {
        std::memmove(window.data, window.data + used, packed_left_);
      }
      undecodable_ = step == CodecStep::damaged;
      stream_ended_ = step == CodecStep::done;
      if (stream_ended_ || (here.size == 0 && out.size != 0)) break;
      if (here.size == in_before && out.size == out_before) undecodable_ = true;  // no progress
    }
  }

  void finish_batch(Store& store) {
    if (form_ == Form::unpacked && packed_left_ != 0) {
      static_cast<void>(splitter_.feed(
          store, plan_.wanted, {plan_.codecs->window.data, packed_left_}, true));
    }
    release_codec();
    if (form_ != Form::passed_over) splitter_.finish(store);
    const bool corrupt = plan_.check_crcs && crc_.value() != batch_.crc;
    int64_t end = batch_.last_offset() + 1;
    if (batch_.last_offset() < plan_.from) {
      end = walk_end_;  // wholly before the part of interest
    } else if (corrupt || undecodable_) {
      store.rollback(plan_.slot, splitter_.mark());
      const ChunkKind kind = corrupt ? ChunkKind::corrupt : ChunkKind::undecodable;
      end = leave_mark(store, kind, batch_begin(), end);
    } else if (form_ != Form::passed_over) {
      if (splitter_.cut()) {
        cut_ = true;
        end = splitter_.cut_at();
      } else if (splitter_.malformed()) {
        end = leave_mark(store, ChunkKind::malformed, splitter_.bad_from(), end);
      }
    }
    if (end > walk_end_) walk_end_ = end;
    at_ = At::header;
  }

  // The first offset of the batch that is of interest.
  int64_t batch_begin() const {
    return plan_.from > batch_.base_offset ? plan_.from : batch_.base_offset;
  }
  // Notes that [first, end) cannot be handed out; answers where the walk stands then.
  int64_t leave_mark(Store& store, ChunkKind kind, int64_t first, int64_t end) {
    if (first >= end) return end;
    Chunk mark;
    mark.kind = kind;
    mark.partition = plan_.partition;
    mark.first = first;
    mark.last = end - 1;
    if (store.begin_chunk(plan_.slot, mark, 0)) return end;
    cut_ = true;
    return first;
  }

  // A batch header that makes no sense: nothing behind it can be trusted either.
  void refuse_rest(Store& store) {
    if (!walked_) return;  // read again, from a known offset
    walk_end_ = leave_mark(store, ChunkKind::undecodable, walk_end_, INT64_MAX);
  }

  bool discard(Reader& in) {
    const uint32_t count = in.peek(bytes_left_).size;
    in.consume(count);
    bytes_left_ -= count;
    return count != 0;
  }

  Codec* find_codec() const {
    const uint8_t id = batch_.codec();
    if (plan_.codecs == nullptr || id >= CodecRegistry::kIds) return nullptr;
    return plan_.codecs->by_id[id];
  }
  bool claim_codec() {
    CodecRegistry& codecs = *plan_.codecs;
    if (codecs.used_by != nullptr) {
      codecs.wanted = true;  // its window keeps the bytes; consumer.hpp comes back
      return false;
    }
    codecs.used_by = this;
    codecs.again = plan_.from_exact;
    form_ = Form::unpacked;
    codec_->begin();
    return true;
  }
  // The codec is another's by now: as if the batch had found no room, as its CRC is not known.
  bool lose_batch(Store& store) {
    store.rollback(plan_.slot, splitter_.mark());
    cut_ = true;
    at_ = At::discard;
    return true;
  }
  void release_codec() {
    if (plan_.codecs != nullptr && plan_.codecs->used_by == this) plan_.codecs->used_by = nullptr;
  }

  // What is used most stands first: near fields take shorter instructions on some CPUs.
  At at_ = At::header;
  Form form_ = Form::plain;
  bool walked_ = false;
  bool cut_ = false;
  bool undecodable_ = false;
  bool stream_ended_ = false;
  uint32_t bytes_left_ = 0;
  uint32_t body_left_ = 0;
  uint32_t crc_ahead_ = 0;
  uint32_t packed_left_ = 0;
  Codec* codec_ = nullptr;
  int64_t walk_first_ = 0;
  int64_t walk_end_ = 0;
  Crc32c crc_{};
  WalkPlan plan_{};
  BatchHeader batch_{};
  Splitter splitter_{};
};

}  // namespace kshare

#endif  // KSHARE_RECORD_WALKER_HPP
