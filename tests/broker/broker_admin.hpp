// SPDX-License-Identifier: Apache-2.0
// What:        what a test does to the mini broker: topics, records, leaders, nodes; what it reads.
// Flow:        included by broker.hpp only.
// Memory:      see broker.hpp.
// Valid until: see broker.hpp.
// Errors:      an unknown topic, partition or node is a mistake in the test and ends it (at()).
#ifndef MINIBROKER_BROKER_ADMIN_HPP
#define MINIBROKER_BROKER_ADMIN_HPP

#include "broker.hpp"

namespace minibroker {

inline Broker::Broker(Config config)
    : config_(std::move(config)),
      random_(config_.seed),
      coordinator_node_(config_.first_node_id),
      groups_(&config_) {
  for (int i = 0; i < config_.nodes; ++i) {
    Node& n = nodes_[config_.first_node_id + i];
    n.host = config_.host;
    n.port = config_.base_port + i;
  }
}

// --- topics and data ------------------------------------------------------------------------

inline Uuid Broker::add_topic(const std::string& name, int partitions, int64_t now) {
  advance_to(now);
  Topic& t = topics_[name];
  if (!is_zero(t.id)) return t.id;
  t.name = name;
  t.id = new_uuid();
  names_[t.id] = name;
  add_partitions(name, partitions);
  return t.id;
}

inline void Broker::add_partitions(const std::string& name, int count) {
  Topic& t = topics_.at(name);
  for (int i = 0; i < count; ++i) {
    PartitionLog log;
    for (int r = 0; r < config_.nodes; ++r) {  // every node has every replica
      const int turn = (static_cast<int>(t.partitions.size()) + r) % config_.nodes;
      log.replicas.push_back(config_.first_node_id + turn);
    }
    pick_leader(log);
    t.partitions.push_back(log);
  }
}

inline void Broker::delete_topic(const std::string& name) {
  const auto t = topics_.find(name);
  if (t == topics_.end()) return;
  const Uuid id = t->second.id;
  const size_t count = t->second.partitions.size();
  names_.erase(id);
  topics_.erase(t);
  for (auto it = shared_.begin(); it != shared_.end();) {
    it = it->first.second.first == id ? shared_.erase(it) : std::next(it);
  }
  for (size_t p = 0; p < count; ++p) wake({id, static_cast<int32_t>(p)});
  run();
}

inline int64_t Broker::append(const std::string& topic, int partition,
                              const std::vector<Rec>& records, BatchOptions options) {
  PartitionLog& log = log_of(topic, partition);
  if (options.leader_epoch < 0) options.leader_epoch = log.leader_epoch;
  const int64_t base = log.end;
  int64_t last = base;
  const std::string bytes = build_batch(base, records, options, &last);
  log.append(base, last, bytes, options.aborted && !options.control);
  wake({topics_.at(topic).id, partition});
  run();
  return base;
}

inline void Broker::append_raw(const std::string& topic, int partition,
                               const std::string& batch_bytes, int64_t base, int64_t last) {
  log_of(topic, partition).append(base, last, batch_bytes, false);
  wake({topics_.at(topic).id, partition});
  run();
}

inline void Broker::set_log_start(const std::string& topic, int partition, int64_t offset) {
  log_of(topic, partition).set_log_start(offset);
  wake({topics_.at(topic).id, partition});
  run();
}

inline void Broker::set_stable_end(const std::string& topic, int partition, int64_t offset) {
  log_of(topic, partition).stable_end = offset;
  wake({topics_.at(topic).id, partition});
  run();
}

// Compaction took whole batches away; the offsets are a hole from now on.
inline void Broker::remove_batches(const std::string& topic, int partition, int64_t first,
                                   int64_t last) {
  PartitionLog& log = log_of(topic, partition);
  std::vector<LogBatch> kept;
  kept.swap(log.batches);
  for (const LogBatch& b : kept) {
    if (b.base < first || b.last > last) log.append(b.base, b.last, b.bytes, b.aborted);
  }
}

// --- leaders and nodes ----------------------------------------------------------------------

inline void Broker::pick_leader(PartitionLog& log) {
  for (int id : log.replicas) {
    if (!nodes_.at(id).up) continue;
    log.leader = id;
    return;
  }
  log.leader = -1;
}

// The broker that had the share partition has it no more; only what was persisted is left.
inline void Broker::unload(const TopicPartition& tp) {
  for (auto& entry : shared_) {
    if (entry.first.second != tp || entry.second.node < 0) continue;
    entry.second.state.reload();
    entry.second.node = -1;
    entry.second.unloaded = true;
  }
  wake(tp);
}

inline void Broker::move_leader(const std::string& topic, int partition, int node, bool hint) {
  PartitionLog& log = log_of(topic, partition);
  log.hint = hint;
  log.leader = node;
  ++log.leader_epoch;
  unload({topics_.at(topic).id, partition});
  run();
}

inline void Broker::move_coordinator(int node) { coordinator_node_ = node; }

inline void Broker::name_coordinator(int asked, int named) {
  if (named < 0) coordinator_lies_.erase(asked);
  else coordinator_lies_[asked] = named;
}

inline void Broker::stop_node(int node, int64_t now) {
  advance_to(now);
  Node& n = nodes_.at(node);
  n.up = false;
  for (auto& t : topics_) {
    for (size_t p = 0; p < t.second.partitions.size(); ++p) {
      PartitionLog& log = t.second.partitions[p];
      if (log.leader != node) continue;
      log.leader = -1;
      if (config_.failover) pick_leader(log);
      ++log.leader_epoch;
      unload({t.second.id, static_cast<int32_t>(p)});
    }
  }
  n.sessions.clear();
  for (auto& c : conns_) {
    if (c.second.node == node) hang_up(c.first);
  }
  for (const auto& other : nodes_) {
    if (config_.failover && coordinator_node_ == node && other.second.up) {
      coordinator_node_ = other.first;
    }
  }
  run();
}

inline void Broker::start_node(int node) {
  nodes_.at(node).up = true;
  for (auto& t : topics_) {
    for (size_t p = 0; p < t.second.partitions.size(); ++p) {
      PartitionLog& log = t.second.partitions[p];
      if (log.leader >= 0) continue;
      pick_leader(log);
      ++log.leader_epoch;
    }
  }
}

inline void Broker::set_node_address(int node, const std::string& host, int port) {
  nodes_.at(node).host = host;
  nodes_.at(node).port = port;
}

// --- faults ---------------------------------------------------------------------------------

inline void Broker::fail_partition(const std::string& topic, int partition, int16_t error,
                                   int times) {
  log_of(topic, partition).fetch_error = error;
  log_of(topic, partition).fetch_errors = times;
  wake({topics_.at(topic).id, partition});
  run();
}

inline void Broker::fail_acks(const std::string& topic, int partition, int16_t error, int times) {
  log_of(topic, partition).ack_error = error;
  log_of(topic, partition).ack_errors = times;
}

inline void Broker::hide_next_fetch(int times, int64_t throttle_ms) {
  hidden_fetches_ = times;
  hidden_throttle_ms_ = throttle_ms;
}

inline void Broker::drop_session(const std::string& group, const std::string& member) {
  for (auto& n : nodes_) {
    const auto s = n.second.sessions.find({group, member});
    if (s == n.second.sessions.end()) continue;
    const auto c = conns_.find(s->second.conn);
    if (c != conns_.end()) c->second.excused = true;
    n.second.sessions.erase(s);
  }
}

// --- inspection -----------------------------------------------------------------------------

inline PartitionLog* Broker::log_of(const TopicPartition& tp) {
  const auto name = names_.find(tp.first);
  if (name == names_.end()) return nullptr;
  Topic& t = topics_.at(name->second);
  const bool found = tp.second >= 0 && static_cast<size_t>(tp.second) < t.partitions.size();
  return found ? &t.partitions[static_cast<size_t>(tp.second)] : nullptr;
}

inline PartitionLog& Broker::log_of(const std::string& topic, int partition) {
  return topics_.at(topic).partitions.at(static_cast<size_t>(partition));
}

inline RecordState Broker::state_of(const std::string& group, const std::string& topic,
                                    int partition, int64_t offset) const {
  RecordState r;
  const auto t = topics_.find(topic);
  if (t == topics_.end()) return r;
  const auto it = shared_.find({group, {t->second.id, partition}});
  if (it == shared_.end()) return r;
  const SharePartition& sp = it->second.state;
  const Cell* cell = sp.find(offset);
  if (cell == nullptr) {
    if (offset < sp.start()) r.state = State::Archived;
    const auto past = std::lower_bound(
        sp.history().begin(), sp.history().end(), offset,
        [](const SharePartition::Past& p, int64_t wanted) { return p.last < wanted; });
    if (past == sp.history().end() || past->first > offset) return r;
    r.state = past->state;
    r.delivery_count = past->count;
    return r;
  }
  r.in_flight = offset >= sp.start();
  r.state = cell->state;
  r.delivery_count = cell->count;
  if (cell->state != State::Acquired) return r;
  r.member = member_names_[static_cast<size_t>(cell->member)];
  r.lock_end = cell->lock_end;
  return r;
}

inline int64_t Broker::start_offset(const std::string& group, const std::string& topic,
                                    int partition) const {
  const auto it = shared_.find({group, {topics_.at(topic).id, partition}});
  return it == shared_.end() ? -1 : it->second.state.start();
}

inline StateCounts Broker::counts(const std::string& group, const std::string& topic,
                                  int partition) const {
  const Topic& t = topics_.at(topic);
  const PartitionLog& log = t.partitions.at(static_cast<size_t>(partition));
  const auto it = shared_.find({group, {t.id, partition}});
  StateCounts sum;
  int64_t from = log.log_start;
  if (it != shared_.end()) {
    sum = it->second.state.counts();
    from = std::max(from, it->second.state.next_new());
  }
  for (size_t i = log.batch_at(from); i < log.batches.size(); ++i) {
    sum.available += log.batches[i].last - std::max(from, log.batches[i].base) + 1;
  }
  return sum;
}

inline int64_t Broker::end_offset(const std::string& topic, int partition) const {
  return topics_.at(topic).partitions.at(static_cast<size_t>(partition)).end;
}

inline int Broker::leader_of(const std::string& topic, int partition) const {
  return topics_.at(topic).partitions.at(static_cast<size_t>(partition)).leader;
}

inline Uuid Broker::topic_id(const std::string& topic) const {
  const auto t = topics_.find(topic);
  return t == topics_.end() ? Uuid{} : t->second.id;
}

inline Endpoint Broker::endpoint(int node) const {
  const auto n = nodes_.find(node);
  if (n == nodes_.end()) return {-1, "", -1};
  return {node, n->second.host, n->second.port};
}

inline std::vector<int> Broker::node_ids() const {
  std::vector<int> ids;
  for (const auto& n : nodes_) ids.push_back(n.first);
  return ids;
}

inline int Broker::sessions(int node) const {
  return static_cast<int>(nodes_.at(node).sessions.size());
}

inline int Broker::open_connections() const {
  int n = 0;
  for (const auto& c : conns_) n += c.second.alive && c.second.open ? 1 : 0;
  return n;
}

inline std::vector<int> Broker::connections(int node) const {
  std::vector<int> ids;
  for (const auto& c : conns_) {
    const bool there = node < 0 || c.second.node == node;
    if (there && c.second.alive && c.second.open) ids.push_back(c.first);
  }
  return ids;
}

inline std::vector<std::string> Broker::groups() const {
  const std::vector<std::string> names = groups_.groups();
  std::set<std::string> all(names.begin(), names.end());
  for (const auto& s : shared_) all.insert(s.first.first);
  return {all.begin(), all.end()};
}

inline int64_t Broker::requests(int16_t api_key) const {
  const auto it = requests_.find(api_key);
  return it == requests_.end() ? 0 : it->second;
}

inline int64_t Broker::requests_total() const {
  int64_t n = 0;
  for (const auto& entry : requests_) n += entry.second;
  return n;
}

inline GroupSettings& Broker::group_settings(const std::string& group) {
  const auto it = settings_.find(group);
  if (it != settings_.end()) return it->second;
  GroupSettings s;
  s.lock_ms = config_.lock_ms;
  s.delivery_limit = config_.delivery_limit;
  s.max_record_locks = config_.max_record_locks;
  s.start_at_latest = config_.start_at_latest;
  s.read_committed = config_.read_committed;
  s.renew_enabled = config_.renew_enabled;
  return settings_[group] = s;
}

}  // namespace minibroker

#endif  // MINIBROKER_BROKER_ADMIN_HPP
