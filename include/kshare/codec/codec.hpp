// SPDX-License-Identifier: Apache-2.0
// What:        the interface of a streaming decompressor, and the registry that an application
//              hands to kshare.
// Flow:        record/walker.hpp feeds a batch's bytes -> Codec -> window -> record/splitter.hpp.
// Memory:      the application's: a decoder's own state and one window that all links share, one
//              batch at a time. A batch that stops coming in its midst gives way to another link's,
//              and is read again later.
// Valid until: the registry and what it points to must outlive the consumer.
// Errors:      CodecStep::damaged makes the batch undecodable (event, Options::undecodable
//              decides).
#ifndef KSHARE_CODEC_CODEC_HPP
#define KSHARE_CODEC_CODEC_HPP

#include <cstdint>

#include "kshare/base/bytes.hpp"
#include "kshare/base/time.hpp"

namespace kshare {

enum class CodecStep : uint8_t {
  more,     // all input taken; or the output is full: take it away and call again
  done,     // the stream has ended
  damaged,  // no valid stream
};

class Codec {
 public:
  virtual void begin() = 0;  // a new stream; the one before may be unfinished
  // Takes octets from the front of `in` and puts what they mean at the front of `out`; both spans
  // are moved past what was used. Work is bounded by the two spans.
  virtual CodecStep run(Bytes& in, MutableBytes& out) = 0;

 protected:
  ~Codec() = default;
};

struct CodecRegistry {
  static constexpr uint32_t kIds = 5;   // none, gzip, snappy, lz4, zstd: attributes bits 0-2
  Codec* by_id[kIds] = {};              // null: batches of this codec are undecodable
  MutableBytes window{};                // decompressed bytes on their way; at least 64 octets

  // ---- kshare's.
  // So long a batch may stand still while another link waits; longer when it is read again, so that
  // a link that stands still often gets its batch through all the same.
  static constexpr int32_t kStillMsMax = 500;
  static constexpr int32_t kStillAgainMsMax = 2000;
  const void* used_by = nullptr;        // whose batch is in the window
  Instant still_until{};                // when that batch has stood still for too long
  bool again = false;                   // it is read again
  bool moved = false;                   // bytes of it have come in this turn
  bool wanted = false;                  // another link has waited for it in this turn

  // Ends a turn, in which every link has taken what has come: a batch that has stood still for too
  // long loses the window. Answers when the next turn is due; at once if who waits may go on.
  Instant end_turn(Instant now) {
    if (moved) still_until = now + (again ? kStillAgainMsMax : kStillMsMax);
    const bool waiting = wanted;
    moved = wanted = false;
    if (!waiting) return kNever;
    if (used_by != nullptr && now < still_until) return still_until;
    used_by = nullptr;
    return now;
  }
};

}  // namespace kshare

#endif  // KSHARE_CODEC_CODEC_HPP
