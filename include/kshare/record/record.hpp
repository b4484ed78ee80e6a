// SPDX-License-Identifier: Apache-2.0
// What:        Record: one record as the application sees it, and RecordId, which outlives its
//              views.
// Flow:        record/store.hpp -> core/handout.hpp -> the application.
// Memory:      views into a store slot and the topic table; nothing is copied.
// Valid until: key, value and headers: until the record is acknowledged (accept, release, reject),
//              which next() does for the record before in implicit mode. topic: also until the next
//              subscribe() or unsubscribe().
// Errors:      none; a record that cannot be read is never handed out.
#ifndef KSHARE_RECORD_RECORD_HPP
#define KSHARE_RECORD_RECORD_HPP

#include <cstdint>
#include <string_view>

#include "kshare/base/bytes.hpp"
#include "kshare/base/time.hpp"
#include "kshare/wire/uuid.hpp"

namespace kshare {

enum class TimestampType : uint8_t { create_time = 0, log_append_time = 1 };

// How a record is acknowledged (AcknowledgeTypes of the protocol).
enum class Ack : uint8_t {
  accept = 1,   // done: never delivered again
  release = 2,  // not now: delivered again, its count one higher; archived at the delivery limit
  reject = 3,   // cannot be processed: never delivered again
  renew = 4,    // still at work: its lock begins anew, and it stays with the application
};

// Names a record that was handed out, after its views are gone too. All-zero names nothing.
struct RecordId {
  uint16_t lot = 0;
  uint16_t slot = 0;
  uint32_t generation = 0;
  friend bool operator==(RecordId a, RecordId b) {
    return a.slot == b.slot && a.generation == b.generation;
  }
};

struct Header {
  std::string_view key;
  Bytes value;  // is_null() for a null value
};

// The headers of a record, read on the way: for (Header header : record.headers) ...
class Headers {
 public:
  class Iterator {
   public:
    Iterator() = default;
    Iterator(Bytes fields, uint32_t left)
        : at_(fields.begin()), end_(fields.end()), left_(left) {
      read();
    }
    const Header& operator*() const { return header_; }
    const Header* operator->() const { return &header_; }
    Iterator& operator++() {
      --left_;
      read();
      return *this;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) { return a.left_ == b.left_; }
    friend bool operator!=(const Iterator& a, const Iterator& b) { return a.left_ != b.left_; }

   private:
    void read();
    const uint8_t* at_ = nullptr;
    const uint8_t* end_ = nullptr;
    uint32_t left_ = 0;
    Header header_{};
  };

  Headers() = default;
  Headers(Bytes fields, uint32_t count) : fields_(fields), count_(count) {}
  Iterator begin() const { return {fields_, count_}; }
  Iterator end() const { return {}; }
  uint32_t size() const { return count_; }

 private:
  Bytes fields_{};
  uint32_t count_ = 0;
};

struct Record {
  std::string_view topic;
  Uuid topic_id;
  int32_t partition = 0;
  int32_t leader_epoch = -1;
  int64_t offset = 0;
  int64_t timestamp = 0;  // ms since 1970-01-01 UTC
  TimestampType timestamp_type = TimestampType::create_time;
  int16_t delivery_count = 0;  // 1 for the first delivery
  Instant lock_deadline;  // the broker keeps the record for us until then at least
  Bytes key;              // is_null() and empty are two things
  Bytes value;
  Headers headers;
  RecordId id;
};
static_assert(sizeof(Record) <= 144, "Record is passed around on small stacks");

}  // namespace kshare

#endif  // KSHARE_RECORD_RECORD_HPP
