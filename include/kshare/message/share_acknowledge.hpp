// SPDX-License-Identifier: Apache-2.0
// What:        ShareAcknowledge (79), versions 1 and 2: acknowledgements that travel alone, and
//              the end of a session.
// Flow:        core/session.hpp encodes; core/intake.hpp decodes.
// Memory:      see message/decode.hpp.
// Errors:      at Item::head for the whole, at Item::partition for one partition's acks.
// Source:      ShareAcknowledgeRequest.json, ShareAcknowledgeResponse.json, KIP-932, KIP-1222.
#ifndef KSHARE_MESSAGE_SHARE_ACKNOWLEDGE_HPP
#define KSHARE_MESSAGE_SHARE_ACKNOWLEDGE_HPP

#include <cstdint>
#include <string_view>

#include "kshare/message/decode.hpp"
#include "kshare/message/share_fetch.hpp"
#include "kshare/wire/writer.hpp"

namespace kshare {

struct ShareAcknowledgeHead {
  std::string_view group_id;
  std::string_view member_id;
  int32_t session_epoch = 0;
  bool renew = false;  // from version 2 on: acknowledge type 4 is allowed
};

// The head; Topics and the tags behind are the caller's.
inline void encode_share_acknowledge_head(Writer& out, int16_t version,
                                          const ShareAcknowledgeHead& head) {
  out.string(head.group_id);    // GroupId
  out.string(head.member_id);   // MemberId
  out.i32(head.session_epoch);  // ShareSessionEpoch
  if (version >= 2) out.boolean(head.renew);  // IsRenewAck
}

class ShareAcknowledgeDecoder {
 public:
  enum class Item : uint8_t { none, head, partition, node, end };

  void begin(int16_t version, TextSink words) {
    *this = ShareAcknowledgeDecoder{};
    words_ = words;
    has_lock_timeout_ = version >= 2;
  }

  int32_t throttle_ms() const { return throttle_ms_; }
  int16_t error() const { return error_; }
  int32_t lock_timeout_ms() const { return lock_timeout_ms_; }  // 0 in version 1
  const TextSink& words() const { return words_; }
  const SharePartition& partition() const { return partition_; }  // error is that of the acks
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
          if (has_lock_timeout_) lock_timeout_ms_ = in.i32();  // AcquisitionLockTimeoutMs
          left_ = in.array(18);         // Responses
          if (!in.commit()) return Item::none;
          at_ = At::topic;
          return Item::head;
        case At::topic:
          if (left_ == 0) {
            at_ = At::nodes;
            break;
          }
          partition_.topic_id = in.uuid();  // TopicId
          partitions_left_ = in.array(17);  // Partitions
          if (!in.commit()) return Item::none;
          --left_;
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
          at_ = At::leader;
          break;
        case At::leader:
          partition_.leader_id = in.i32();     // CurrentLeader.LeaderId
          partition_.leader_epoch = in.i32();  // CurrentLeader.LeaderEpoch
          in.tags();
          if (!in.commit()) return Item::none;
          at_ = At::partition_tags;
          return Item::partition;
        case At::partition_tags:
          in.tags();
          if (!in.commit()) return Item::none;
          at_ = At::partition;
          break;
        case At::nodes:
          left_ = in.array(11);  // NodeEndpoints
          if (!in.commit()) return Item::none;
          at_ = At::node;
          break;
        case At::node:
          if (left_ == 0) {
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
          --left_;
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
    head, topics, topic, partition, leader, partition_tags, nodes, node, rack, node_tags, tail, end
  };

  TextSink words_{};
  NodeEndpoint node_{};
  SharePartition partition_{};
  uint32_t left_ = 0;
  uint32_t partitions_left_ = 0;
  int32_t throttle_ms_ = 0;
  int32_t lock_timeout_ms_ = 0;
  int16_t error_ = 0;
  bool has_lock_timeout_ = true;
  At at_ = At::head;
};

}  // namespace kshare

#endif  // KSHARE_MESSAGE_SHARE_ACKNOWLEDGE_HPP
