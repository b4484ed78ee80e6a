// SPDX-License-Identifier: Apache-2.0
// What:        the answers to ShareFetch (78) and ShareAcknowledge (79), versions 1 and 2: the
//              second is the first without records and what comes with them.
// Flow:        core/link.hpp's window -> here, under the names of message/share_fetch.hpp and
//              message/share_acknowledge.hpp -> core/intake.hpp, with record/walker.hpp for the
//              Records field.
// Memory:      see message/decode.hpp.
// Errors:      at Item::head for the whole, at Item::partition for one partition: of the fetch, and
//              of its acks.
// Source:      ShareFetchResponse.json, ShareAcknowledgeResponse.json, KIP-932, KIP-1222.
//              CurrentLeader has no default: it is {0, 0} unless the partition's error is 6 or 74.
#ifndef KSHARE_MESSAGE_SHARE_ANSWER_HPP
#define KSHARE_MESSAGE_SHARE_ANSWER_HPP

#include <cstdint>

#include "kshare/message/decode.hpp"

namespace kshare {

struct AcquiredRecords {
  int64_t first = 0;
  int64_t last = 0;
  int16_t delivery_count = 0;
};

struct SharePartition {
  Uuid topic_id{};
  int32_t index = -1;
  int32_t leader_id = 0;
  int32_t leader_epoch = 0;
  int16_t error = 0;  // of ShareAcknowledge: that of the acks
  int16_t ack_error = 0;
};

class ShareAnswerDecoder {
 public:
  // records, acquired and partition_end: ShareFetch only.
  enum class Item : uint8_t { none, head, partition, records, acquired, partition_end, node, end };

  void begin_fetch(TextSink words) { begin(words, true, true); }
  void begin_acknowledge(int16_t version, TextSink words) { begin(words, false, version >= 2); }

  int32_t throttle_ms() const { return throttle_ms_; }
  int16_t error() const { return error_; }
  int32_t lock_timeout_ms() const { return lock_timeout_ms_; }  // 0: it was not told
  const TextSink& words() const { return words_; }
  const SharePartition& partition() const { return partition_; }
  // At Item::records: so many octets must be taken from the reader before next() is called again.
  uint32_t records_bytes() const { return records_bytes_; }
  const AcquiredRecords& acquired() const { return acquired_; }
  const NodeEndpoint& node() const { return node_; }

  // One switch, in schema order.
  Item next(Reader& in) {
    while (in.settle()) {
      const At step = at_;
      uint32_t none = 0;
      uint32_t* left = &none;  // of these one is through
      item_ = Item::none;
      switch (step) {
        case At::head:
          throttle_ms_ = in.i32();  // ThrottleTimeMs
          error_ = in.i16();        // ErrorCode
          words_.copy_from(in);     // ErrorMessage
          at_ = At::topics;
          break;
        case At::topics:
          if (has_lock_timeout_) lock_timeout_ms_ = in.i32();  // AcquisitionLockTimeoutMs
          topics_left_ = in.array(18);                         // Responses
          at_ = At::topic;
          item_ = Item::head;
          break;
        case At::topic:
          at_ = At::nodes;
          if (topics_left_ == 0) break;
          in.uuid(partition_.topic_id);                       // TopicId
          partitions_left_ = in.array(has_records_ ? 22 : 17);  // Partitions
          left = &topics_left_;
          at_ = At::partition;
          break;
        case At::partition:
          if (partitions_left_ == 0) {
            in.tags();
            at_ = At::topic;
            break;
          }
          partition_.index = in.i32();  // PartitionIndex
          partition_.error = in.i16();  // ErrorCode
          in.skip_text();               // ErrorMessage
          left = &partitions_left_;
          at_ = has_records_ ? At::ack_error : At::leader;
          break;
        case At::ack_error:
          partition_.ack_error = in.i16();  // AcknowledgeErrorCode
          in.skip_text();                   // AcknowledgeErrorMessage
          at_ = At::leader;
          break;
        case At::leader:
          partition_.leader_id = in.i32();     // CurrentLeader.LeaderId
          partition_.leader_epoch = in.i32();  // CurrentLeader.LeaderEpoch
          in.tags();
          at_ = has_records_ ? At::records : At::acquired;
          item_ = Item::partition;
          break;
        case At::records:
          records_bytes_ = in.array(1);  // Records: as many octets as the "count" says
          if (records_bytes_ != 0) item_ = Item::records;
          at_ = At::acquired_count;
          break;
        case At::acquired_count:
          acquired_left_ = in.array(19);  // AcquiredRecords
          at_ = At::acquired;
          break;
        case At::acquired:
          at_ = At::partition;
          if (acquired_left_ == 0) {
            if (has_records_) item_ = Item::partition_end;
          } else {
            acquired_.first = in.i64();           // FirstOffset
            acquired_.last = in.i64();            // LastOffset, inclusive
            acquired_.delivery_count = in.i16();  // DeliveryCount
            left = &acquired_left_;
            at_ = At::acquired;
            item_ = Item::acquired;
          }
          in.tags();
          break;
        case At::nodes:
          topics_left_ = in.array(11);  // NodeEndpoints
          at_ = At::node;
          break;
        case At::node:
          at_ = At::tail;
          if (topics_left_ == 0) break;
          node_.read_from(in);  // NodeId, Host, Port
          at_ = At::rack;
          item_ = Item::node;
          break;
        case At::rack:
          in.skip_text();  // Rack
          in.tags();
          left = &topics_left_;
          at_ = At::node;
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
    head, topics, topic, partition, ack_error, leader, records, acquired_count, acquired, nodes,
    node, rack, tail, end
  };

  // What is not named here is set by the step that reads it.
  void begin(TextSink words, bool has_records, bool has_lock_timeout) {
    at_ = At::head;
    has_records_ = has_records;
    has_lock_timeout_ = has_lock_timeout;
    lock_timeout_ms_ = 0;
    acquired_left_ = 0;
    words_ = words;
  }

  At at_ = At::head;
  Item item_ = Item::none;
  bool has_records_ = true;
  bool has_lock_timeout_ = true;
  int16_t error_ = 0;
  uint32_t topics_left_ = 0;  // later: nodes
  uint32_t partitions_left_ = 0;
  uint32_t acquired_left_ = 0;
  uint32_t records_bytes_ = 0;
  int32_t throttle_ms_ = 0;
  int32_t lock_timeout_ms_ = 0;
  TextSink words_{};
  SharePartition partition_{};
  AcquiredRecords acquired_{};
  NodeEndpoint node_{};
};

}  // namespace kshare

#endif  // KSHARE_MESSAGE_SHARE_ANSWER_HPP
