// SPDX-License-Identifier: Apache-2.0
// What:        ShareGroupHeartbeat (76), version 1: joining, staying in and leaving a share group.
// Flow:        core/member.hpp over the control link.
// Memory:      see message/decode.hpp.
// Errors:      error() and the broker's words.
// Source:      ShareGroupHeartbeatRequest.json, ShareGroupHeartbeatResponse.json, KIP-932.
#ifndef KSHARE_MESSAGE_SHARE_GROUP_HEARTBEAT_HPP
#define KSHARE_MESSAGE_SHARE_GROUP_HEARTBEAT_HPP

#include <cstdint>
#include <string_view>

#include "kshare/message/decode.hpp"
#include "kshare/wire/writer.hpp"

namespace kshare {

struct HeartbeatHead {
  std::string_view group_id;
  std::string_view member_id;
  int32_t member_epoch = 0;  // 0 joins, -1 leaves
  std::string_view rack_id;  // empty: not given, or unchanged
};

// The head; then either no_names() or names_begin, a string each, names_end; then no_tags().
inline void encode_heartbeat_head(Writer& out, const HeartbeatHead& head) {
  out.string(head.group_id);    // GroupId
  out.string(head.member_id);   // MemberId
  out.i32(head.member_epoch);   // MemberEpoch
  if (head.rack_id.empty()) {
    out.null_string();          // RackId: an empty one would be refused
  } else {
    out.string(head.rack_id);
  }
}                               // SubscribedTopicNames: the caller's

class ShareGroupHeartbeatDecoder {
 public:
  enum class Item : uint8_t { none, head, assignment, partition, end };

  void begin(TextSink words) {
    at_ = At::head;  // the rest is set by the step that reads it
    words_ = words;
  }

  int32_t throttle_ms() const { return throttle_ms_; }
  int16_t error() const { return error_; }
  int32_t member_epoch() const { return member_epoch_; }
  int32_t interval_ms() const { return interval_ms_; }
  const TextSink& words() const { return words_; }
  const Uuid& topic_id() const { return topic_id_; }     // at Item::partition
  int32_t partition() const { return partition_; }       // at Item::partition

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
          at_ = At::member_id;
          break;
        case At::member_id:
          in.skip_text();  // MemberId
          at_ = At::epoch;
          break;
        case At::epoch:
          member_epoch_ = in.i32();  // MemberEpoch
          interval_ms_ = in.i32();   // HeartbeatIntervalMs
          at_ = in.i8() >= 0 ? At::topics : At::tail;  // Assignment: -1 is null
          item_ = Item::head;
          break;
        case At::topics:
          topics_left_ = in.array(18);  // TopicPartitions
          at_ = At::topic;
          item_ = Item::assignment;
          break;
        case At::topic:
          if (topics_left_ == 0) {
            at_ = At::assignment_tags;
            break;
          }
          in.uuid(topic_id_);               // TopicId
          partitions_left_ = in.array(4);   // Partitions
          left = &topics_left_;
          at_ = At::partition;
          break;
        case At::partition:
          if (partitions_left_ == 0) {
            in.tags();
            at_ = At::topic;
            break;
          }
          partition_ = in.i32();
          left = &partitions_left_;
          item_ = Item::partition;
          break;
        case At::assignment_tags:
          in.tags();
          at_ = At::tail;
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
    head, member_id, epoch, topics, topic, partition, assignment_tags, tail, end
  };

  At at_ = At::head;
  Item item_ = Item::none;
  int16_t error_ = 0;
  TextSink words_{};
  Uuid topic_id_{};
  int32_t throttle_ms_ = 0;
  int32_t member_epoch_ = 0;
  int32_t interval_ms_ = 0;
  int32_t partition_ = 0;
  uint32_t topics_left_ = 0;
  uint32_t partitions_left_ = 0;
};

}  // namespace kshare

#endif  // KSHARE_MESSAGE_SHARE_GROUP_HEARTBEAT_HPP
