// SPDX-License-Identifier: Apache-2.0
// What:        Discovery: when Metadata is asked, and what its answer means for the topology.
// Flow:        core/control.hpp sends -> MetadataDecoder -> core/topology.hpp.
// Memory:      a few dozen bytes.
// Errors:      a missing or refused topic is told once and asked for again with back-off; so is a
//              leader that is unknown.
#ifndef KSHARE_CORE_DISCOVERY_HPP
#define KSHARE_CORE_DISCOVERY_HPP

#include <cstdint>

#include "kshare/core/tables.hpp"
#include "kshare/message/metadata.hpp"

namespace kshare {

class Discovery {
 public:
  Instant due_at() const { return due_at_; }
  bool has_answer() const { return answered_; }
  // A subscribed topic has been seen for the first time, or again under a new id.
  bool take_appeared() {
    const bool appeared = appeared_;
    appeared_ = false;
    return appeared;
  }

  // Apart: it would stand in line in many places.
  __attribute__((noinline)) void refresh(Instant at) { due_at_ = earlier(due_at_, at); }

  void encode(Writer& out, const Tables& tables) {
    const Topology& topology = tables.topology;
    const uint32_t topics = out.begin_array();
    uint32_t count = 0;
    for (const TopicRow& topic : topology.topics()) {
      if (!topic.subscribed) continue;
      encode_metadata_topic(out, topology.name(topic));
      ++count;
    }
    out.end_array(topics, count);
    encode_metadata_tail(out, tables.shared.options.allow_auto_create_topics);
    due_at_ = kNever;  // until the answer, or the loss of the link
  }
  void begin_answer() {
    topic_ = kNoRow;
    missing_ = false;
    unplaced_ = 0;
  }
  // Metadata is wanted, and has not come for longer than metadata.recovery.rebootstrap.trigger.ms.
  bool overdue(Instant now, const Shared& shared) {
    if (wanted_since_ == kNever && due_at_ <= now) wanted_since_ = now;
    if (wanted_since_ == kNever || now - wanted_since_ < shared.options.rebootstrap_trigger_ms) {
      return false;
    }
    wanted_since_ = now;
    return true;
  }
  void lost(Instant now, Shared& shared) { retry(now, shared); }

  // True at the end of the answer.
  bool read(MetadataDecoder& answer, Reader& in, Tables& tables, Instant now) {
    for (;;) {
      switch (answer.next(in)) {
        case MetadataDecoder::Item::none: return false;
        case MetadataDecoder::Item::broker:
          if (!tables.note_node(answer.broker())) ++unplaced_;
          break;
        case MetadataDecoder::Item::cluster:
          tables.shared.note_cluster(answer.cluster_id());
          break;
        case MetadataDecoder::Item::topic: on_topic(answer.topic(), tables); break;
        case MetadataDecoder::Item::partition:
          on_partition(answer.topic(), answer.partition(), tables);
          break;
        case MetadataDecoder::Item::end:
          finish(answer.error(), tables, now);
          return true;
      }
    }
  }

 private:
  void on_topic(const MetadataDecoder::Topic& topic, Tables& tables) {
    topic_ = topic.name.data() == nullptr ? kNoRow : tables.topology.find_subscribed(topic.name);
    if (topic_ == kNoRow) return;
    TopicRow& row = tables.topology.topic(topic_);
    if (topic.error != kafka::kNone) {
      missing_ = true;
      const bool absent = topic.error == kafka::kUnknownTopicOrPartition;
      // One deleted topic in a session makes a broker (4.3) refuse all of its fetches.
      if (absent) tables.topology.forget_leaders(topic_);
      if (row.told == topic.error) return;
      row.told = topic.error;
      if (topic.error == kafka::kLeaderNotAvailable) return;  // it is being created
      Event& event = tables.shared.events.push(
          absent ? EventType::topic_missing : EventType::topic_error,
          {Errc::broker_error, topic.error});
      EventRing::set_text(event, tables.topology.name(row));
      return;
    }
    row.told = kafka::kNone;
    if (tables.topology.set_topic_id(topic_, topic.id)) appeared_ = true;
  }

  void on_partition(const MetadataDecoder::Topic& topic, const MetadataDecoder::Partition& part,
                    Tables& tables) {
    if (topic_ == kNoRow || topic.error != kafka::kNone) return;
    const uint32_t index = tables.topology.find_partition(topic_, part.index);
    if (index == kNoRow) return;
    tables.topology.set_leader(tables.topology.partition(index), part.leader_id,
                               part.leader_epoch);
  }

  void finish(int16_t error, Tables& tables, Instant now) {
    if (error != kafka::kNone) return retry(now, tables.shared);
    answered_ = true;
    wanted_since_ = kNever;
    if (unplaced_ != 0 && !told_unplaced_) {
      tables.shared.tell(EventType::leaders_too_many, static_cast<int32_t>(unplaced_));
    }
    told_unplaced_ = unplaced_ != 0;
    if (unplaced_ != 0) return refresh(now + kUnplacedRetryMs);  // asking brings no room
    if (missing_ || tables.topology.any_leader_unknown()) return retry(now, tables.shared);
    attempts_ = 0;
    refresh(now + tables.shared.options.metadata_max_age_ms);  // unless it is wanted earlier
  }
  void retry(Instant now, Shared& shared) {
    refresh(shared.next_try(attempts_, now));
  }

  static constexpr int64_t kUnplacedRetryMs = 30000;

  Instant due_at_{};
  Instant wanted_since_ = kNever;  // since when Metadata has been asked for in vain
  uint32_t topic_ = kNoRow;  // of the answer that is being read
  uint32_t unplaced_ = 0;    // leaders of ours that it named and that found no place
  uint8_t attempts_ = 0;
  bool answered_ = false;
  bool missing_ = false;
  bool appeared_ = false;
  bool told_unplaced_ = false;
};

}  // namespace kshare

#endif  // KSHARE_CORE_DISCOVERY_HPP
