// SPDX-License-Identifier: Apache-2.0
// What:        Fetch (1), version 13, plain and without a session: the bytes of offsets that a
//              share session has already acquired are read again, because they did not fit the
//              first time.
// Flow:        core/session.hpp encodes; core/intake.hpp decodes, with record/walker.hpp for the
//              Records field.
// Memory:      see message/decode.hpp.
// Errors:      at Item::head for the whole, at Item::partition for the partition;
//              OFFSET_OUT_OF_RANGE: the log start has moved past the offset, log_start() says where
//              it is.
// Source:      FetchRequest.json, FetchResponse.json. The share session and the delivery counts are
//              untouched by it.
#ifndef KSHARE_MESSAGE_FETCH_HPP
#define KSHARE_MESSAGE_FETCH_HPP

#include <cstdint>

#include "kshare/message/decode.hpp"
#include "kshare/wire/writer.hpp"

namespace kshare {

struct FetchOne {
  Uuid topic_id{};
  int32_t partition = 0;
  int64_t offset = 0;
  int32_t max_bytes = 0;
  int32_t max_wait_ms = 0;
};

inline void encode_fetch(Writer& out, const FetchOne& fetch) {
  out.i32(-1);                 // ReplicaId: a consumer
  out.i32(fetch.max_wait_ms);  // MaxWaitMs
  out.i32(1);                  // MinBytes
  out.i32(fetch.max_bytes);    // MaxBytes
  out.i8(0);                   // IsolationLevel: read_uncommitted
  out.i32(0);                  // SessionId
  out.i32(-1);                 // SessionEpoch: no session
  const uint32_t topics = out.begin_array();
  out.uuid(fetch.topic_id);    // TopicId
  const uint32_t partitions = out.begin_array();
  out.i32(fetch.partition);    // Partition
  out.i32(-1);                 // CurrentLeaderEpoch
  out.i64(fetch.offset);       // FetchOffset
  out.i32(-1);                 // LastFetchedEpoch
  out.i64(-1);                 // LogStartOffset
  out.i32(fetch.max_bytes);    // PartitionMaxBytes
  out.no_tags();
  out.end_array(partitions, 1);
  out.no_tags();
  out.end_array(topics, 1);
  out.empty_array();           // ForgottenTopicsData
  out.string({});              // RackId: so no other replica is named
  out.no_tags();
}

class FetchDecoder {
 public:
  enum class Item : uint8_t { none, head, partition, records, partition_end, end };

  void begin() { at_ = At::head; }  // the rest is set by the step that reads it

  int32_t throttle_ms() const { return throttle_ms_; }
  int16_t error() const { return error_; }
  int16_t partition_error() const { return partition_error_; }
  int32_t partition() const { return partition_; }
  const Uuid& topic_id() const { return topic_id_; }
  int64_t log_start() const { return log_start_; }
  // At Item::records: so many octets must be taken from the reader before next() is called again.
  uint32_t records_bytes() const { return records_bytes_; }

  // One switch, in schema order.
  Item next(Reader& in) {
    while (in.settle()) {
      const At step = at_;
      uint32_t none = 0;
      uint32_t* left = &none;  // of these one is through
      item_ = Item::none;
      switch (step) {
        case At::head:
          throttle_ms_ = in.i32();          // ThrottleTimeMs
          error_ = in.i16();                // ErrorCode
          static_cast<void>(in.i32());      // SessionId
          topics_left_ = in.array(18);      // Responses
          at_ = At::topic;
          item_ = Item::head;
          break;
        case At::topic:
          if (topics_left_ == 0) {
            at_ = At::tail;
            break;
          }
          in.uuid(topic_id_);               // TopicId
          partitions_left_ = in.array(37);  // Partitions
          left = &topics_left_;
          at_ = At::partition;
          break;
        case At::partition:
          if (partitions_left_ == 0) {
            in.tags();
            at_ = At::topic;
            break;
          }
          partition_ = in.i32();        // PartitionIndex
          partition_error_ = in.i16();  // ErrorCode
          static_cast<void>(in.i64());  // HighWatermark
          static_cast<void>(in.i64());  // LastStableOffset
          log_start_ = in.i64();        // LogStartOffset
          aborted_left_ = in.array(17); // AbortedTransactions
          left = &partitions_left_;
          at_ = At::aborted;
          break;
        case At::aborted:
          if (aborted_left_ == 0) {
            at_ = At::replica;
            break;
          }
          static_cast<void>(in.i64());  // ProducerId
          static_cast<void>(in.i64());  // FirstOffset
          in.tags();
          left = &aborted_left_;
          break;
        case At::replica:
          static_cast<void>(in.i32());  // PreferredReadReplica
          at_ = At::records;
          item_ = Item::partition;
          break;
        case At::records:
          records_bytes_ = in.array(1);  // Records: as many octets as the "count" says
          at_ = At::partition_tags;
          if (records_bytes_ != 0) item_ = Item::records;
          break;
        case At::partition_tags:
          in.tags();
          at_ = At::partition;
          item_ = Item::partition_end;
          break;
        case At::tail:
          in.tags();
          at_ = At::end;
          break;
        case At::end: return Item::end;
      }
      if (!in.commit()) {
        at_ = step;
        return Item::none;
      }
      --*left;
      if (item_ != Item::none) return item_;
    }
    return Item::none;
  }

 private:
  enum class At : uint8_t {
    head, topic, partition, aborted, replica, records, partition_tags, tail, end
  };

  At at_ = At::head;
  Item item_ = Item::none;
  int16_t error_ = 0;
  int16_t partition_error_ = 0;
  int64_t log_start_ = 0;
  Uuid topic_id_{};
  uint32_t topics_left_ = 0;
  uint32_t partitions_left_ = 0;
  uint32_t aborted_left_ = 0;
  uint32_t records_bytes_ = 0;
  int32_t throttle_ms_ = 0;
  int32_t partition_ = 0;
};

}  // namespace kshare

#endif  // KSHARE_MESSAGE_FETCH_HPP
