// SPDX-License-Identifier: Apache-2.0
// What:        Topology: subscribed topics, assigned partitions and their leaders, brokers and
//              their addresses.
// Flow:        subscribe(), heartbeat assignments and Metadata answers -> tables ->
//              core/session.hpp, core/engine.hpp.
// Memory:      rows lent by Storage. A cluster may have any number of brokers and partitions: only
//              what we are assigned is kept, and the brokers that lead it; when a broker is
//              missing, Metadata is asked again, now knowing which.
// Valid until: names until the next set_subscription().
// Errors:      add_* answer kNoRow when a table is full.
#ifndef KSHARE_CORE_TOPOLOGY_HPP
#define KSHARE_CORE_TOPOLOGY_HPP

#include <cstdint>
#include <string_view>

#include "kshare/ack/lots.hpp"
#include "kshare/base/bytes.hpp"
#include "kshare/base/time.hpp"
#include "kshare/wire/uuid.hpp"

namespace kshare {

inline constexpr uint32_t kNoRow = UINT32_MAX;

struct TopicRow {
  Uuid id{};
  uint16_t name_at = 0;
  uint16_t name_bytes = 0;
  int16_t told = 0;  // the error that was last reported for it
  bool used = false;
  bool subscribed = false;
};

struct BrokerRow {
  int32_t node_id = -1;
  uint32_t turn = 0;  // when it last got a link: leaders take turns
  uint16_t port = 0;
  uint8_t host_bytes = 0;
  bool used = false;
};

struct PartitionRow {
  bool used = false;
  bool assigned = false;
  bool arriving = false;  // named by the assignment that is being read
  bool ack_listed = false;  // listed in this request only to carry acks
  uint8_t attempts = 0;
  uint16_t topic = 0;
  int16_t told = 0;       // the error that was last reported for it
  int32_t index = -1;
  int32_t leader = -1;
  int32_t leader_epoch = -1;
  uint32_t sessions = 0;  // bit i: it is in the share session of link i
  int64_t hint = 0;      // last acquired offset + 1: where keeping begins in a batch known already
  Instant retry_at{};    // after an error
};

class Topology {
 public:
  void attach(Span<TopicRow> topics, Span<char> names, Span<BrokerRow> brokers, Span<char> hosts,
              Span<PartitionRow> partitions, Lots& lots) {
    topics_ = topics;
    names_ = names;
    brokers_ = brokers;
    hosts_ = hosts;
    partitions_ = {partitions.data, 0};
    partitions_max_ = partitions.size;
    lots_ = &lots;
    names_used_ = assigned_ = 0;
    leftovers_ = false;
    for (TopicRow& row : topics_) make_anew(row);
    for (BrokerRow& row : brokers_) make_anew(row);
    for (PartitionRow& row : partitions) make_anew(row);
  }

  // ---- Topics.
  uint32_t topic_count() const { return topics_.size; }
  TopicRow& topic(uint32_t row) { return topics_[row]; }
  const TopicRow& topic(uint32_t row) const { return topics_[row]; }
  std::string_view name(const TopicRow& row) const {
    return {names_.data + row.name_at, row.name_bytes};
  }
  std::string_view name(uint32_t row) const { return name(topics_[row]); }
  Span<const TopicRow> topics() const { return {topics_.data, topics_.size}; }
  uint32_t subscribed_count() const {
    uint32_t count = 0;
    for (const TopicRow& row : topics_) count += row.subscribed ? 1 : 0;
    return count;
  }
  uint32_t find_topic(const Uuid& id) const {
    return row_where(topics_, [&](const TopicRow& row) { return row.used && row.id == id; });
  }
  uint32_t find_subscribed(std::string_view name_wanted) const {
    return row_where(topics_, [&](const TopicRow& row) {
      return row.subscribed && same_text(name(row), name_wanted);
    });
  }
  // Begins a new subscription: nothing is subscribed, names that no row needs are dropped.
  void begin_subscription() {
    for (TopicRow& row : topics_) row.subscribed = false;
    collect();
    pack_names();
  }
  // False: no row, or no room for the name.
  bool subscribe(std::string_view name_wanted) {
    TopicRow* found = nullptr;
    for (TopicRow& row : topics_) {
      if (!row.used || !same_text(name(row), name_wanted)) continue;
      if (row.subscribed) return true;
      if (found == nullptr) found = &row;
    }
    if (found == nullptr) {
      const uint32_t at = free_topic();
      if (at == kNoRow) return false;
      if (names_.size - names_used_ < name_wanted.size()) forget_old_names();
      if (names_.size - names_used_ < name_wanted.size()) return false;
      found = &topics_[at];
      found->name_at = static_cast<uint16_t>(names_used_);
      found->name_bytes = static_cast<uint16_t>(name_wanted.size());
      found->used = true;
      names_used_ += copy_text(names_.data + names_used_, names_.size - names_used_, name_wanted);
    }
    found->subscribed = true;
    return true;
  }
  // Metadata says: this subscribed topic has this id now. True if it is new to us. An id that has
  // changed means a topic deleted and created again: what belongs to the old one keeps its own row.
  bool set_topic_id(uint32_t row, const Uuid& id) {
    TopicRow& topic = topics_[row];
    if (topic.id == id) return false;
    const uint32_t same = find_topic(id);  // known from an assignment, without a name
    if (!topic.id.is_zero() && is_referred_to(row)) {
      const uint32_t at = free_topic();
      if (at == kNoRow) return false;  // later, when a row is free
      TopicRow& old = topics_[at];
      old = topic;
      old.subscribed = false;
      repoint(row, at);
    }
    topic.id = id;
    if (same != kNoRow) {
      repoint(same, row);
      make_anew(topics_[same]);
    }
    return true;
  }
  uint32_t topic_for_id(const Uuid& id) {
    const uint32_t known = find_topic(id);
    if (known != kNoRow) return known;
    const uint32_t at = free_topic();
    if (at == kNoRow) return kNoRow;
    TopicRow& row = topics_[at];
    row.used = true;
    row.id = id;
    return at;
  }

  // ---- Partitions.
  // The rows in use, and free ones among them: nobody walks through a table that is hardly used.
  uint32_t partition_count() const { return partitions_.size; }
  Span<const PartitionRow> partitions() const { return {partitions_.data, partitions_.size}; }
  uint32_t partitions_max() const { return partitions_max_; }
  PartitionRow& partition(uint32_t row) {
    KSHARE_ASSERT(row < partitions_max_);
    return partitions_.data[row];
  }
  const PartitionRow& partition(uint32_t row) const {
    KSHARE_ASSERT(row < partitions_max_);
    return partitions_.data[row];
  }
  uint32_t assigned_count() const { return assigned_; }
  std::string_view topic_name(uint32_t partition_row) const {
    return name(partition(partition_row).topic);
  }
  uint32_t find_partition(uint32_t topic_row, int32_t index) const {
    return row_where(partitions_, [&](const PartitionRow& row) {
      return row.used && row.topic == topic_row && row.index == index;
    });
  }
  uint32_t find_partition(const Uuid& id, int32_t index) const {
    const uint32_t topic_row = find_topic(id);
    return topic_row == kNoRow ? kNoRow : find_partition(topic_row, index);
  }

  // ---- An assignment replaces the one before, once it has come in whole.
  void begin_assignment() {
    for (PartitionRow& row : partitions_) row.arriving = false;
  }
  // False: no place for it.
  bool assign(const Uuid& id, int32_t index) {
    if (index < 0 || id.is_zero()) return true;  // nonsense: nothing to serve
    const uint32_t topic_row = topic_for_id(id);
    if (topic_row == kNoRow) return false;
    uint32_t row = find_partition(topic_row, index);
    if (row == kNoRow) row = add_partition(topic_row, index);
    if (row == kNoRow) return false;
    partitions_[row].arriving = true;
    return true;
  }
  // True if it differs from the one before.
  bool end_assignment() {
    bool changed = false;
    leftovers_ = false;
    assigned_ = 0;
    for (PartitionRow& row : partitions_) {
      leftovers_ = leftovers_ || (row.used && !row.arriving);
      changed = changed || row.assigned != row.arriving;
      row.assigned = row.used && row.arriving;
      row.arriving = false;
      assigned_ += row.assigned ? 1 : 0;
    }
    collect();
    return changed;
  }
  // The assignment found rows of the one before in the table: they are free by now, or soon.
  bool has_leftovers() const { return leftovers_; }
  void clear_assignment() {
    begin_assignment();
    static_cast<void>(end_assignment());
  }

  // ---- Leaders.
  bool any_leader_unknown() const {
    for (const PartitionRow& row : partitions_) {
      if (row.assigned && (row.leader < 0 || find_broker(row.leader) == kNoRow)) return true;
    }
    return false;
  }
  // Leader epochs only move forward.
  void set_leader(PartitionRow& row, int32_t leader, int32_t epoch) {
    if (epoch < row.leader_epoch) return;
    row.leader = leader;
    row.leader_epoch = epoch;
  }
  void forget_leaders(uint32_t topic_row) {
    for (PartitionRow& row : partitions_) {
      if (row.used && row.topic == topic_row) row.leader = -1;
    }
  }
  bool is_leader(int32_t node_id) const {
    for (const PartitionRow& row : partitions_) {
      if (row.assigned && row.leader == node_id) return true;
    }
    return false;
  }

  // ---- Brokers.
  uint32_t broker_count() const { return brokers_.size; }
  Span<const BrokerRow> brokers() const { return {brokers_.data, brokers_.size}; }
  const BrokerRow& broker(uint32_t row) const { return brokers_[row]; }
  // Answers which broker it is.
  int32_t note_turn(uint32_t row, uint32_t turn) {
    BrokerRow& broker = brokers_[row];
    broker.turn = turn;
    return broker.node_id;
  }
  std::string_view host(uint32_t row) const {
    return {hosts_.data + row * host_bytes(), brokers_[row].host_bytes};
  }
  uint32_t find_broker(int32_t node_id) const {
    return row_where(brokers_, [&](const BrokerRow& row) {
      return row.used && row.node_id == node_id;
    });
  }
  // Keeps a broker's address: always if `needed`, else while there is room.
  bool note_broker(int32_t node_id, std::string_view host_name, int32_t port, bool needed) {
    if (node_id < 0 || host_name.empty() || host_name.size() > host_bytes() || port <= 0 ||
        port > UINT16_MAX) {
      return false;
    }
    uint32_t row = find_broker(node_id);
    if (row == kNoRow) {
      row = row_where(brokers_, [](const BrokerRow& other) { return !other.used; });
    }
    if (row == kNoRow && needed) {
      row = row_where(brokers_, [&](const BrokerRow& other) {
        return other.node_id != kept_broker_ && !is_leader(other.node_id);
      });
    }
    if (row == kNoRow) return false;
    BrokerRow& broker = brokers_[row];
    if (broker.node_id != node_id) broker.turn = 0;
    broker.used = true;
    broker.node_id = node_id;
    broker.port = static_cast<uint16_t>(port);
    broker.host_bytes = static_cast<uint8_t>(
        copy_text(hosts_.data + row * host_bytes(), host_bytes(), host_name));
    return true;
  }
  void keep_broker(int32_t node_id) { kept_broker_ = node_id; }  // the coordinator
  uint32_t known_brokers() const {
    uint32_t count = 0;
    for (const BrokerRow& row : brokers_) count += row.used ? 1u : 0u;
    return count;
  }
  void forget_brokers() {
    kept_broker_ = -1;
    for (BrokerRow& row : brokers_) make_anew(row);
    for (PartitionRow& row : partitions_) row.leader = row.leader_epoch = -1;
  }

  // Frees rows that nothing refers to any more.
  void collect() {
    for (uint32_t i = 0; i < partitions_.size; ++i) {
      PartitionRow& row = partitions_[i];
      const PartitionLists& lists = lots_->lists(i);
      if (row.used && !row.assigned && !row.arriving && row.sessions == 0 && lists.lots == 0 &&
          lists.acks_head == 0 && lists.lost == 0) {
        make_anew(row);
      }
    }
    while (partitions_.size != 0 && !partitions_[partitions_.size - 1].used) --partitions_.size;
    uint32_t i = 0;
    for (TopicRow& row : topics_) {
      if (row.used && !row.subscribed && !is_referred_to(i)) make_anew(row);
      ++i;
    }
  }

 private:
  // The first row of that kind.
  template <typename Row, typename Wanted>
  static uint32_t row_where(Span<Row> rows, const Wanted& is_wanted) {
    for (uint32_t i = 0; i < rows.size; ++i) {
      if (is_wanted(rows.data[i])) return i;
    }
    return kNoRow;
  }
  uint32_t host_bytes() const { return hosts_.size / brokers_.size; }
  uint32_t free_topic() const {
    return row_where(topics_, [](const TopicRow& row) { return !row.used; });
  }
  uint32_t add_partition(uint32_t topic_row, int32_t index) {
    uint32_t at = row_where(partitions_, [](const PartitionRow& row) { return !row.used; });
    if (at == kNoRow) {
      if (partitions_.size == partitions_max_) return kNoRow;
      at = partitions_.size++;
    }
    PartitionRow& row = make_anew(partitions_[at]);
    row.used = true;
    row.topic = static_cast<uint16_t>(topic_row);
    row.index = index;
    return at;
  }
  bool is_referred_to(uint32_t topic_row) const {
    for (const PartitionRow& row : partitions_) {
      if (row.used && row.topic == topic_row) return true;
    }
    return false;
  }
  void repoint(uint32_t from, uint32_t to) {
    for (PartitionRow& row : partitions_) {
      if (row.used && row.topic == from) row.topic = static_cast<uint16_t>(to);
    }
  }
  // Topics that are only waiting for their last acks can do without.
  void forget_old_names() {
    for (TopicRow& row : topics_) {
      if (!row.subscribed) row.name_bytes = 0;
    }
    pack_names();
  }
  // Moves the names that are still needed together, in the order they lie.
  void pack_names() {
    uint32_t end = 0;
    for (uint32_t at = 0; at < names_used_;) {
      uint32_t bytes = 0;
      for (TopicRow& row : topics_) {
        if (!row.used || row.name_at != at || row.name_bytes == 0) continue;
        bytes = row.name_bytes;
        row.name_at = static_cast<uint16_t>(end);
      }
      if (bytes == 0) {
        ++at;
        continue;
      }
      std::memmove(names_.data + end, names_.data + at, bytes);
      end += bytes;
      at += bytes;
    }
    names_used_ = end;
  }

  Span<TopicRow> topics_{};
  Span<char> names_{};
  Span<BrokerRow> brokers_{};
  Span<char> hosts_{};
  Span<PartitionRow> partitions_{};  // as far as they are in use
  Lots* lots_ = nullptr;
  uint32_t partitions_max_ = 0;
  uint32_t names_used_ = 0;
  uint32_t assigned_ = 0;
  int32_t kept_broker_ = -1;
  bool leftovers_ = false;
};

}  // namespace kshare

#endif  // KSHARE_CORE_TOPOLOGY_HPP
