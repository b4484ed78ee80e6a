// SPDX-License-Identifier: Apache-2.0
// What:        the group coordinator: members, epochs, subscriptions, the simple assignor.
// Flow:        heartbeat request -> Coordinator::heartbeat() -> epoch, error and assignment.
// Memory:      one Member each; a group stays until the Broker ends.
// Valid until: results are copies.
// Errors:      Kafka error codes as in GroupMetadataManager; the member is then unchanged.
#ifndef MINIBROKER_GROUP_HPP
#define MINIBROKER_GROUP_HPP

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "log.hpp"

namespace minibroker {

using TopicPartition = std::pair<Uuid, int32_t>;
using Assignment = std::set<TopicPartition>;
using Topics = std::map<std::string, Topic>;

struct HeartbeatRequest {
  std::string group, member;
  int32_t epoch = 0;
  std::optional<std::string> rack;
  std::optional<std::vector<std::string>> names;
};
struct HeartbeatResult {
  int16_t error = kNone;
  std::string message;
  int32_t epoch = 0;
  std::optional<Assignment> assignment;
};

struct Member {
  int32_t epoch = 0;
  int32_t previous_epoch = 0;
  std::set<std::string> names;
  Assignment assignment;
  int64_t deadline = kNever;
};

class Coordinator {
 public:
  explicit Coordinator(const Config* config) : config_(config) {}

  HeartbeatResult heartbeat(const HeartbeatRequest& q, const Topics& topics, int64_t now) {
    expire(now);
    HeartbeatResult r;
    r.error = validate(q, r.message);
    if (r.error != kNone) return r;
    if (q.epoch == -1) {
      leave(groups_[q.group], q.member);
      r.epoch = -1;
      return r;
    }
    Group& g = groups_[q.group];
    Member& m = g.members[q.member];
    const bool joined = m.deadline == kNever;
    m.deadline = now + config_->session_timeout_ms;
    bool changes = joined;
    if (q.names) {
      std::set<std::string> names(q.names->begin(), q.names->end());
      changes = changes || names != m.names;
      m.names = names;
    }
    if (initialise(g, topics, now)) changes = true;
    if (changes) ++g.epoch;
    assign(g, topics, now);
    const Assignment target = g.target.count(q.member) != 0 ? g.target[q.member] : Assignment();
    const bool changed = target != m.assignment;
    m.assignment = target;
    if (m.epoch != g.assigned_epoch) {
      m.previous_epoch = m.epoch;
      m.epoch = g.assigned_epoch;
    }
    r.epoch = m.epoch;
    if (q.epoch == 0 || q.names || changed) r.assignment = target;
    return r;
  }

  // Members that were silent for too long are removed.
  void expire(int64_t now) {
    for (auto& entry : groups_) {
      std::vector<std::string> late;
      for (const auto& m : entry.second.members) {
        if (m.second.deadline <= now) late.push_back(m.first);
      }
      for (const std::string& id : late) leave(entry.second, id);
    }
  }
  int64_t next_deadline() const {
    int64_t next = kNever;
    for (const auto& g : groups_) {
      for (const auto& m : g.second.members) next = std::min(next, m.second.deadline);
    }
    return next;
  }

  const Member* member(const std::string& group, const std::string& id) const {
    const auto g = groups_.find(group);
    if (g == groups_.end()) return nullptr;
    const auto m = g->second.members.find(id);
    return m == g->second.members.end() ? nullptr : &m->second;
  }
  std::vector<std::string> groups() const {
    std::vector<std::string> names;
    for (const auto& g : groups_) names.push_back(g.first);
    return names;
  }
  int32_t epoch(const std::string& group) const {
    const auto g = groups_.find(group);
    return g == groups_.end() ? -1 : g->second.epoch;
  }
  std::vector<std::string> members(const std::string& group) const {
    std::vector<std::string> ids;
    const auto g = groups_.find(group);
    if (g == groups_.end()) return ids;
    for (const auto& m : g->second.members) ids.push_back(m.first);
    return ids;
  }
  void remove_member(const std::string& group, const std::string& id) {
    const auto g = groups_.find(group);
    if (g != groups_.end()) leave(g->second, id);
  }
  void forget_group(const std::string& group) { groups_.erase(group); }
  // The next heartbeat of each member gets exactly this; wrong ids and partitions are welcome.
  void override_assignment(const std::string& group, std::optional<Assignment> forced) {
    groups_[group].forced = std::move(forced);
    ++groups_[group].epoch;
  }

 private:
  struct Group {
    int32_t epoch = 0;
    int32_t assigned_epoch = 0;
    int64_t assigned_at = INT64_MIN;
    std::map<std::string, Member> members;
    std::map<std::string, Assignment> target;
    std::map<TopicPartition, int64_t> ready_at;  // initialisation of the share state is complete
    Assignment ready;                             // as of the last look
    std::optional<Assignment> forced;
  };

  int16_t validate(const HeartbeatRequest& q, std::string& why) const {
    const bool no_names = !q.names || q.names->empty();
    if (q.group.empty() || q.member.empty() || q.epoch < -1 || (q.rack && q.rack->empty()) ||
        (q.epoch == 0 && no_names)) {
      why = "a field of the heartbeat is empty or out of range";
      return kInvalidRequest;
    }
    const auto g = groups_.find(q.group);
    if (g == groups_.end()) return q.epoch == 0 ? kNone : kGroupIdNotFound;
    const auto m = g->second.members.find(q.member);
    if (m == g->second.members.end()) {
      if (q.epoch != 0) return kUnknownMemberId;
      const int limit = config_->group_max_size;
      return g->second.members.size() >= static_cast<size_t>(limit) ? kGroupMaxSizeReached : kNone;
    }
    const bool known = q.epoch <= 0 || q.epoch == m->second.epoch ||
                       (q.epoch < m->second.epoch && q.epoch == m->second.previous_epoch);
    return known ? kNone : kFencedMemberEpoch;
  }

  void leave(Group& g, const std::string& id) {
    if (g.members.erase(id) == 0) return;
    g.target.erase(id);
    ++g.epoch;
  }

  // The share state of subscribed partitions is made ready in the background. True: more is ready.
  bool initialise(Group& g, const Topics& topics, int64_t now) {
    Assignment ready;
    for (const auto& m : g.members) {
      for (const std::string& name : m.second.names) {
        const auto t = topics.find(name);
        if (t == topics.end()) continue;
        for (size_t p = 0; p < t->second.partitions.size(); ++p) {
          const TopicPartition tp{t->second.id, static_cast<int32_t>(p)};
          const auto at = g.ready_at.emplace(tp, now + config_->init_delay_ms).first->second;
          if (at <= now) ready.insert(tp);
        }
      }
    }
    const bool changed = ready != g.ready;
    g.ready = ready;
    return changed;
  }

  void assign(Group& g, const Topics& topics, int64_t now) {
    if (g.epoch == g.assigned_epoch) return;
    const bool first = g.assigned_at == INT64_MIN;
    if (!first && now < g.assigned_at + config_->assignment_delay_ms) return;
    // With batching the first answer of a group is stamped before anything is assigned.
    const bool empty = first && config_->assignment_delay_ms > 0;
    g.target.clear();
    if (!empty) assign_all(g, topics);
    g.assigned_at = now;
    g.assigned_epoch = g.epoch;
    if (empty && !g.ready.empty()) ++g.epoch;  // to be computed when the time is up
  }

  // Every partition gets a member; when there are more members than partitions they share.
  void assign_all(Group& g, const Topics& topics) {
    for (const auto& m : g.members) g.target[m.first] = g.forced.value_or(Assignment());
    if (g.forced) return;
    for (const auto& t : topics) {
      std::vector<std::string> ids;
      for (const auto& m : g.members) {
        if (m.second.names.count(t.first) != 0) ids.push_back(m.first);
      }
      std::vector<TopicPartition> parts;
      for (size_t p = 0; p < t.second.partitions.size(); ++p) {
        const TopicPartition tp{t.second.id, static_cast<int32_t>(p)};
        if (g.ready.count(tp) != 0) parts.push_back(tp);
      }
      if (ids.empty() || parts.empty()) continue;
      for (size_t i = 0; i < std::max(ids.size(), parts.size()); ++i) {
        g.target[ids[i % ids.size()]].insert(parts[i % parts.size()]);
      }
    }
  }

  const Config* config_;
  std::map<std::string, Group> groups_;
};

}  // namespace minibroker

#endif  // MINIBROKER_GROUP_HPP
