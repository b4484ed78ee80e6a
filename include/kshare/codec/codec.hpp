// SPDX-License-Identifier: Apache-2.0
// What:        the interface of a streaming decompressor, and the registry that an application
//              hands to kshare.
// Flow:        record/walker.hpp feeds a batch's bytes -> Codec -> window -> record/splitter.hpp.
// Memory:      the application's: a decoder's own state and one window that all links share, one
//              batch at a time.
// Valid until: the registry and what it points to must outlive the consumer.
// Errors:      CodecStep::damaged makes the batch undecodable (event, Options::undecodable
//              decides).
#ifndef KSHARE_CODEC_CODEC_HPP
#define KSHARE_CODEC_CODEC_HPP

#include <cstdint>

#include "kshare/base/bytes.hpp"

namespace kshare {

enum class CodecStep : uint8_t {
  more,     // all input taken; or the output is full: take it away and call again
  done,     // the stream has ended
  damaged,  // no valid stream
};

class Codec {
 public:
  virtual void begin() = 0;
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
  const void* used_by = nullptr;        // kshare's: whose batch is in the window
  bool wanted = false;                  // kshare's: another link waits for it

  // True once when those that have waited may go on.
  bool is_free_again() {
    if (used_by != nullptr || !wanted) return false;
    wanted = false;
    return true;
  }
};

}  // namespace kshare

#endif  // KSHARE_CODEC_CODEC_HPP
