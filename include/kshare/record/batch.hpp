// SPDX-License-Identifier: Apache-2.0
// What:        the 61 octets before the records of a batch (format v2).
// Flow:        receive window -> here -> record/splitter.hpp.
// Memory:      a small struct by value.
// Errors:      sane() is false for a batch whose numbers contradict each other.
// Source:      protocol "Record batch v2".
#ifndef KSHARE_RECORD_BATCH_HPP
#define KSHARE_RECORD_BATCH_HPP

#include <cstdint>

#include "kshare/base/bytes.hpp"

namespace kshare {

struct BatchHeader {
  static constexpr uint32_t kBytes = 61;
  static constexpr uint32_t kPrefixBytes = 12;  // baseOffset and batchLength, not counted by it
  static constexpr uint32_t kCrcFrom = 21;      // the CRC covers everything from attributes on

  int64_t base_offset = 0;
  int64_t base_timestamp = 0;
  int64_t max_timestamp = 0;
  uint32_t length = 0;  // behind the prefix
  uint32_t crc = 0;
  int32_t leader_epoch = 0;
  int32_t last_offset_delta = 0;
  int32_t record_count = 0;
  uint16_t attributes = 0;
  int8_t magic = 0;

  uint8_t codec() const { return attributes & 7u; }
  bool log_append_time() const { return (attributes & 8u) != 0; }
  bool control() const { return (attributes & 32u) != 0; }
  int64_t last_offset() const { return base_offset + last_offset_delta; }
  bool sane() const {
    return magic == 2 && base_offset >= 0 && last_offset_delta >= 0 &&
           base_offset <= INT64_MAX - last_offset_delta - 1;
  }
};

// Reads BatchHeader::kBytes octets.
inline BatchHeader parse_batch_header(const uint8_t* p) {
  BatchHeader header;
  header.base_offset = load_be64(p);                                 // baseOffset
  header.length = load_be32(p + 8);                                  // batchLength
  header.leader_epoch = static_cast<int32_t>(load_be32(p + 12));     // partitionLeaderEpoch
  header.magic = static_cast<int8_t>(p[16]);                         // magic
  header.crc = load_be32(p + 17);                                    // crc
  header.attributes = static_cast<uint16_t>((p[21] << 8) | p[22]);   // attributes
  header.last_offset_delta = static_cast<int32_t>(load_be32(p + 23));  // lastOffsetDelta
  header.base_timestamp = load_be64(p + 27);                         // baseTimestamp
  header.max_timestamp = load_be64(p + 35);                          // maxTimestamp
  header.record_count = static_cast<int32_t>(load_be32(p + 57));     // recordCount
  return header;
}

}  // namespace kshare

#endif  // KSHARE_RECORD_BATCH_HPP
