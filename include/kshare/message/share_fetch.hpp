// SPDX-License-Identifier: Apache-2.0
// What:        ShareFetch (78), versions 1 and 2: records of a share group, with acknowledgements
//              riding along.
// Flow:        core/session.hpp encodes; core/intake.hpp decodes, with record/walker.hpp for the
//              Records field.
// Memory:      see message/decode.hpp.
// Errors:      at Item::head for the whole, at Item::partition for one partition: of the fetch, and
//              of its acks.
// Source:      ShareFetchRequest.json, ShareFetchResponse.json, KIP-932, KIP-1206, KIP-1222.
//              CurrentLeader has no default: it is {0, 0} unless the partition's error is 6 or 74.
#ifndef KSHARE_MESSAGE_SHARE_FETCH_HPP
#define KSHARE_MESSAGE_SHARE_FETCH_HPP

#include <cstdint>
#include <string_view>

#include "kshare/message/decode.hpp"
#include "kshare/wire/writer.hpp"

namespace kshare {

struct ShareFetchHead {
  std::string_view group_id;
  std::string_view member_id;
  int32_t session_epoch = 0;
  int32_t max_wait_ms = 0;
  int32_t min_bytes = 0;
  int32_t max_bytes = 0;
  int32_t max_records = 0;
  int32_t batch_size = 0;
  int8_t acquire_mode = 0;  // from version 2 on
};

// The head; Topics, ForgottenTopicsData and the tags behind are the caller's.
inline void encode_share_fetch_head(Writer& out, int16_t version, const ShareFetchHead& head) {
  out.string(head.group_id);     // GroupId
  out.string(head.member_id);    // MemberId
  out.i32(head.session_epoch);   // ShareSessionEpoch
  out.i32(head.max_wait_ms);     // MaxWaitMs
  out.i32(head.min_bytes);       // MinBytes
  out.i32(head.max_bytes);       // MaxBytes
  out.i32(head.max_records);     // MaxRecords
  out.i32(head.batch_size);      // BatchSize
  if (version < 2) return;
  out.i8(head.acquire_mode);     // ShareAcquireMode
  out.boolean(false);            // IsRenewAck: renewals travel in ShareAcknowledge
}

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
  int16_t error = 0;
  int16_t ack_error = 0;
};

class ShareFetchDecoder {
 public:
  enum class Item : uint8_t { none, head, partition, records, acquired, partition_end, node, end };

  void begin(TextSink words) {
    *this = ShareFetchDecoder{};
    words_ = words;
  }

  int32_t throttle_ms() const { return throttle_ms_; }
  int16_t error() const { return error_; }
  int32_t lock_timeout_ms() const { return lock_timeout_ms_; }
  const TextSink& words() const { return words_; }
  const SharePartition& partition() const { return partition_; }
  // At Item::records: so many octets must be taken from the reader before next() is called again.
  uint32_t records_bytes() const { return records_bytes_; }
  const AcquiredRecords& acquired() const { return acquired_; }
  const NodeEndpoint& node() const { return node_; }

  // One switch, in schema order.
  Item next(Reader& in) {
    while (in.settle()) {
      switch (at_) {
        case At::head:
          throttle_ms_ = in.i32();  // ThrottleTimeMs
          error_ = in.i16();        // ErrorCode
          words_.copy_from(in);     // ErrorMessage
          if (!in.commit()) return Item::none;
          at_ = At::topics;
          break;
        case At::topics:
          lock_timeout_ms_ = in.i32();  // AcquisitionLockTimeoutMs
          topics_left_ = in.array(18);  // Responses
          if (!in.commit()) return Item::none;
          at_ = At::topic;
          return Item::head;
        case At::topic:
          if (topics_left_ == 0) {
            at_ = At::nodes;
            break;
          }
          partition_.topic_id = in.uuid();  // TopicId
          partitions_left_ = in.array(22);  // Partitions
          if (!in.commit()) return Item::none;
          --topics_left_;
          at_ = At::partition;
          break;
        case At::partition:
          if (partitions_left_ == 0) {
            in.tags();
            if (!in.commit()) return Item::none;
            at_ = At::topic;
            break;
          }
          partition_.index = in.i32();  // PartitionIndex
          partition_.error = in.i16();  // ErrorCode
          in.skip_text();               // ErrorMessage
          if (!in.commit()) return Item::none;
          --partitions_left_;
          at_ = At::ack_error;
          break;
        case At::ack_error:
          partition_.ack_error = in.i16();  // AcknowledgeErrorCode
          in.skip_text();                   // AcknowledgeErrorMessage
          if (!in.commit()) return Item::none;
          at_ = At::leader;
          break;
        case At::leader:
          partition_.leader_id = in.i32();     // CurrentLeader.LeaderId
          partition_.leader_epoch = in.i32();  // CurrentLeader.LeaderEpoch
          in.tags();
          if (!in.commit()) return Item::none;
          at_ = At::records;
          return Item::partition;
        case At::records:
          records_bytes_ = in.array(1);  // Records: as many octets as the "count" says
          if (!in.commit()) return Item::none;
          at_ = At::acquired_count;
          if (records_bytes_ != 0) return Item::records;
          break;
        case At::acquired_count:
          acquired_left_ = in.array(19);  // AcquiredRecords
          if (!in.commit()) return Item::none;
          at_ = At::acquired;
          break;
        case At::acquired:
          if (acquired_left_ == 0) {
            in.tags();
            if (!in.commit()) return Item::none;
            at_ = At::partition;
            return Item::partition_end;
          }
          acquired_.first = in.i64();           // FirstOffset
          acquired_.last = in.i64();            // LastOffset, inclusive
          acquired_.delivery_count = in.i16();  // DeliveryCount
          in.tags();
          if (!in.commit()) return Item::none;
          --acquired_left_;
          return Item::acquired;
        case At::nodes:
          topics_left_ = in.array(11);  // NodeEndpoints
          if (!in.commit()) return Item::none;
          at_ = At::node;
          break;
        case At::node:
          if (topics_left_ == 0) {
            at_ = At::tail;
            break;
          }
          node_.node_id = in.i32();             // NodeId
          node_.host = in.view(kHostBytesMax);  // Host
          node_.port = in.i32();                // Port
          if (!in.commit()) return Item::none;
          at_ = At::rack;
          return Item::node;
        case At::rack:
          in.skip_text();  // Rack
          if (!in.commit()) return Item::none;
          at_ = At::node_tags;
          break;
        case At::node_tags:
          in.tags();
          if (!in.commit()) return Item::none;
          --topics_left_;
          at_ = At::node;
          break;
        case At::tail:
          in.tags();
          if (!in.commit()) return Item::none;
          at_ = At::end;
          break;
        case At::end: return Item::end;
      }
    }
    return Item::none;
  }

 private:
  enum class At : uint8_t {
    head, topics, topic, partition, ack_error, leader, records, acquired_count, acquired, nodes,
    node, rack, node_tags, tail, end
  };

  TextSink words_{};
  NodeEndpoint node_{};
  AcquiredRecords acquired_{};
  SharePartition partition_{};
  uint32_t topics_left_ = 0;  // later: nodes
  uint32_t partitions_left_ = 0;
  uint32_t acquired_left_ = 0;
  uint32_t records_bytes_ = 0;
  int32_t throttle_ms_ = 0;
  int32_t lock_timeout_ms_ = 0;
  int16_t error_ = 0;
  At at_ = At::head;
};

}  // namespace kshare

#endif  // KSHARE_MESSAGE_SHARE_FETCH_HPP
