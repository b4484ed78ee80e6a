// SPDX-License-Identifier: Apache-2.0
// What:        Metadata (3), versions 12 and 13: brokers and their addresses, topics, ids and
//              partition leaders.
// Flow:        core/topology.hpp over the control link.
// Memory:      see message/decode.hpp: 10,000 partitions and 500 brokers pass through any window.
// Errors:      per topic and per partition, in the items; from version 13 on for the whole, at
//              Item::end.
// Source:      MetadataRequest.json, MetadataResponse.json.
#ifndef KSHARE_MESSAGE_METADATA_HPP
#define KSHARE_MESSAGE_METADATA_HPP

#include <cstdint>
#include <string_view>

#include "kshare/message/decode.hpp"
#include "kshare/wire/writer.hpp"

namespace kshare {

// One entry of Topics. The array is the caller's: begin_array, these, end_array,
// encode_metadata_tail.
inline void encode_metadata_topic(Writer& out, std::string_view name) {
  out.uuid(Uuid{});   // TopicId: by name
  out.string(name);   // Name
  out.no_tags();
}
inline void encode_metadata_tail(Writer& out, bool allow_auto_topic_creation) {
  out.boolean(allow_auto_topic_creation);  // AllowAutoTopicCreation
  out.boolean(false);                      // IncludeTopicAuthorizedOperations
  out.no_tags();
}

class MetadataDecoder {
 public:
  enum class Item : uint8_t { none, broker, cluster, topic, partition, end };

  struct Topic {
    std::string_view name;  // only at Item::topic
    Uuid id{};
    int16_t error = 0;
  };
  struct Partition {
    int32_t index = -1;
    int32_t leader_id = -1;
    int32_t leader_epoch = -1;
    int16_t error = 0;
  };

  void begin(int16_t version) {
    at_ = At::head;  // the rest is set by the step that reads it
    has_error_ = version >= 13;
  }

  int32_t throttle_ms() const { return throttle_ms_; }
  int16_t error() const { return topic_.error; }  // at Item::end: of the whole
  const NodeEndpoint& broker() const { return broker_; }
  // Only at Item::cluster; empty if there is none, or if it is longer than any host name.
  std::string_view cluster_id() const { return topic_.name; }
  const Topic& topic() const { return topic_; }
  const Partition& partition() const { return partition_; }

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
          left_ = in.array(11);     // Brokers
          at_ = At::broker;
          break;
        case At::broker:
          if (left_ == 0) {
            at_ = At::cluster;
            break;
          }
          broker_.read_from(in);  // NodeId, Host, Port
          at_ = At::rack;
          item_ = Item::broker;
          break;
        case At::rack:
          in.skip_text();  // Rack
          in.tags();
          left = &left_;
          at_ = At::broker;
          break;
        case At::cluster:
          topic_.name = in.view_or_skip(kHostBytesMax);  // ClusterId
          at_ = At::topics;
          item_ = Item::cluster;
          break;
        case At::topics:
          static_cast<void>(in.i32());  // ControllerId
          left_ = in.array(26);         // Topics
          at_ = At::topic;
          break;
        case At::topic:
          if (left_ == 0) {
            at_ = At::tail;
            break;
          }
          topic_.error = in.i16();                      // ErrorCode
          topic_.name = in.view(kTopicNameBytesMax);    // Name
          in.uuid(topic_.id);                           // TopicId
          static_cast<void>(in.i8());                   // IsInternal
          partitions_left_ = in.array(18);              // Partitions
          left = &left_;
          at_ = At::partition;
          item_ = Item::topic;
          break;
        case At::partition:
          topic_.name = {};
          if (partitions_left_ == 0) {
            at_ = At::operations;
            break;
          }
          partition_.error = in.i16();         // ErrorCode
          partition_.index = in.i32();         // PartitionIndex
          partition_.leader_id = in.i32();     // LeaderId
          partition_.leader_epoch = in.i32();  // LeaderEpoch
          at_ = At::replicas;
          break;
        case At::replicas:
          skip_nodes(in);  // ReplicaNodes
          at_ = At::isr;
          break;
        case At::isr:
          skip_nodes(in);  // IsrNodes
          at_ = At::offline;
          break;
        case At::offline:
          skip_nodes(in);  // OfflineReplicas
          at_ = At::partition_tags;
          break;
        case At::partition_tags:
          in.tags();
          left = &partitions_left_;
          at_ = At::partition;
          item_ = Item::partition;
          break;
        case At::operations:
          static_cast<void>(in.i32());  // TopicAuthorizedOperations
          in.tags();
          at_ = At::topic;
          break;
        case At::tail:
          topic_.error = has_error_ ? in.i16() : int16_t{0};  // ErrorCode
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
    head, broker, rack, cluster, topics, topic, partition, replicas, isr, offline,
    partition_tags, operations, tail, end
  };

  static void skip_nodes(Reader& in) { in.skip(in.array(4), 4); }

  At at_ = At::head;
  Item item_ = Item::none;
  bool has_error_ = false;
  uint32_t left_ = 0;
  NodeEndpoint broker_{};
  Topic topic_{};
  Partition partition_{};
  uint32_t partitions_left_ = 0;
  int32_t throttle_ms_ = 0;
};

}  // namespace kshare

#endif  // KSHARE_MESSAGE_METADATA_HPP
