// SPDX-License-Identifier: Apache-2.0
// What:        share sessions and acknowledgements: ShareFetch up to its wait, ShareAcknowledge.
// Flow:        included by broker.hpp only.
// Memory:      see broker.hpp.
// Valid until: see broker.hpp.
// Errors:      as KafkaApis and SharePartitionManager answer; client bugs go to violations() too.
#ifndef MINIBROKER_BROKER_SHARE_HPP
#define MINIBROKER_BROKER_SHARE_HPP

#include "broker.hpp"

namespace minibroker {

inline std::string part_text(const TopicPartition& tp) {
  return "partition " + std::to_string(tp.second);
}

inline void Broker::handle_share_fetch(int id, const RequestHeader& h, Reader& in) {
  const ShareRequest q = decode_share_fetch(in, h.version);
  if (!in.done()) return;
  int16_t error = injected(id, kShareFetch);
  if (error == kNone) error = check_share(id, h, q);
  if (error == kNone && q.renew &&
      (q.max_wait_ms != 0 || q.min_bytes != 0 || q.max_bytes != 0 || q.max_records != 0)) {
    violate(id, "IsRenewAck with limits other than 0");
    error = kInvalidRequest;
  }
  if (error == kNone && q.epoch == 0 && q.any_acks()) {
    violate(id, "acknowledgements in epoch 0");
    error = kInvalidRequest;
  }
  if (error == kNone) error = step_fetch_session(id, q);
  if (error != kNone) {
    return share_error(id, h, error, error == kShareSessionLimitReached ? q.max_wait_ms : 0);
  }
  Poll poll;
  poll.header = h;
  poll.sequence = ++sequence_;
  poll.deadline = now_ + std::max(0, q.max_wait_ms);
  poll.share = q;
  poll.acks = apply_acks(id, h.version, q);
  if (broken(poll.acks)) {
    settle(q);
    return share_error(id, h, kUnknownServerError);
  }
  Node& n = nodes_.at(conns_.at(id).node);
  const SessionKey key{*q.group, *q.member};
  const Session& s = n.sessions.at(key);
  const size_t size = s.parts.size();
  for (size_t i = 0; i < size && q.epoch >= 0; ++i) {  // rotated, so that all have their turn
    poll.parts.push_back(s.parts[(i + static_cast<size_t>(q.epoch)) % size].tp);
  }
  conns_.at(id).poll = poll;
  if (q.epoch == -1) {
    settle(q);
    release_session(conns_.at(id).node, key);
    conns_.at(id).opened.erase(key);
    try_poll(id, true);
    return;
  }
  if (config_.acks_first) settle(q);
  const bool answered = try_poll(id, false);
  const bool moved = settle(q);
  if (!answered && (moved || config_.release_wakes || q.max_wait_ms <= 0)) {
    woken_.insert({conns_.at(id).poll->sequence, id});
  }
}

inline void Broker::handle_share_acknowledge(int id, const RequestHeader& h, Reader& in) {
  const ShareRequest q = decode_share_acknowledge(in, h.version);
  if (!in.done()) return;
  int16_t error = injected(id, kShareAcknowledge);
  if (error == kNone) error = check_share(id, h, q);
  if (error == kNone && q.epoch == 0) {
    violate(id, "ShareAcknowledge with epoch 0");
    error = kInvalidShareSessionEpoch;
  }
  if (error == kNone) error = check_session(id, q);
  if (error != kNone) return share_error(id, h, error);
  const std::vector<AckResult> acks = apply_acks(id, h.version, q);
  if (broken(acks)) {
    settle(q);
    return share_error(id, h, kUnknownServerError);
  }
  ShareAnswer a;
  a.throttle_ms = config_.throttle_ms;
  a.lock_ms = group_settings(*q.group).lock_ms;
  for (const AckResult& r : acks) {
    PartAnswer p;
    p.tp = r.tp;
    p.ack_error = r.error;
    if (r.error == kNotLeaderOrFollower || r.error == kFencedLeaderEpoch) hint_leader(a, p);
    a.parts.push_back(p);
  }
  settle(q);
  if (q.epoch == -1) {
    const SessionKey key{*q.group, *q.member};
    release_session(conns_.at(id).node, key);
    conns_.at(id).opened.erase(key);
  }
  Writer w;
  encode_share_acknowledge(w, a, h.version);
  send(id, h, w.out);
}

inline void Broker::share_error(int id, const RequestHeader& h, int16_t error, int64_t delay_ms) {
  ShareAnswer a;
  a.throttle_ms = config_.throttle_ms;
  a.error = error;
  a.message = "error " + std::to_string(error);
  Writer w;
  if (h.key == kShareFetch) encode_share_fetch(w, a);
  else encode_share_acknowledge(w, a, h.version);
  if (delay_ms <= 0) return send(id, h, w.out);
  Poll poll;
  poll.header = h;
  poll.sequence = ++sequence_;
  poll.deadline = now_ + delay_ms;
  poll.delayed = w.out;
  conns_.at(id).poll = poll;
}

// What is looked at before the session.
inline int16_t Broker::check_share(int id, const RequestHeader& h, const ShareRequest& q) {
  if (!share_groups_on()) return kUnsupportedVersion;
  const bool named = q.group && !q.group->empty() && q.member && !q.member->empty();
  if (!named || q.member->size() > 36) {
    violate(id, "share request without group or member id");
    return kInvalidRequest;
  }
  if (h.key == kShareFetch && (q.mode < 0 || q.mode > 1)) {
    violate(id, "unknown acquire mode");
    return kInvalidRequest;
  }
  std::set<TopicPartition> seen;
  std::set<Uuid> topics;
  Uuid last{};
  for (const SharePart& p : q.parts) {
    if (!seen.insert(p.tp).second) violate(id, part_text(p.tp) + " twice in a request");
    if (p.tp.first != last && !topics.insert(p.tp.first).second) violate(id, "topic twice");
    last = p.tp.first;
  }
  if (q.epoch == 0 && seen.size() != q.parts.size()) return -1;  // the real one throws
  return kNone;
}

inline int16_t Broker::step_fetch_session(int id, const ShareRequest& q) {
  if (q.epoch == 0) return open_session(id, q);
  return check_session(id, q);
}

inline int16_t Broker::open_session(int id, const ShareRequest& q) {
  Conn& c = conns_.at(id);
  Node& n = nodes_.at(c.node);
  const SessionKey key{*q.group, *q.member};
  const auto old = n.sessions.find(key);
  if (old != n.sessions.end()) {  // dropped, but nothing is released
    const auto other = conns_.find(old->second.conn);
    if (other != conns_.end() && other->first != id) other->second.excused = true;
    n.sessions.erase(old);
  }
  if (n.sessions.size() >= static_cast<size_t>(config_.max_share_sessions)) {
    c.excused = true;
    return kShareSessionLimitReached;
  }
  if (q.parts.empty()) notes_.push_back("a session is opened without partitions");
  if (!q.forgotten.empty()) notes_.push_back("partitions forgotten in epoch 0");
  Session& s = n.sessions[key];
  s.conn = id;
  for (const SharePart& p : q.parts) s.parts.push_back({p.tp, false});
  c.opened.insert(key);
  c.excused = false;
  return kNone;
}

inline int16_t Broker::check_session(int id, const ShareRequest& q) {
  Conn& c = conns_.at(id);
  Node& n = nodes_.at(c.node);
  const SessionKey key{*q.group, *q.member};
  const auto it = n.sessions.find(key);
  if (it == n.sessions.end()) {
    if (!c.excused) violate(id, "epoch " + std::to_string(q.epoch) + " without a session");
    return kShareSessionNotFound;
  }
  Session& s = it->second;
  if (s.conn != id && !c.excused) violate(id, "a session of another connection is used");
  if (q.epoch != -1 && q.epoch != s.epoch) {
    if (!c.excused && s.conn == id) {
      violate(id, "session epoch " + std::to_string(q.epoch) + " in place of " +
                      std::to_string(s.epoch));
    }
    return kInvalidShareSessionEpoch;
  }
  if (q.epoch == -1) return kNone;
  s.epoch = s.epoch == INT32_MAX ? 1 : s.epoch + 1;
  if (q.is_fetch) {
    if (q.parts.empty() && s.parts.empty()) notes_.push_back("a fetch for an empty session");
    update_session(s, q);
  }
  return kNone;
}

// Every partition named is added, then those forgotten are taken away.
inline void Broker::update_session(Session& s, const ShareRequest& q) {
  const auto find = [&s](const TopicPartition& tp) {
    return std::find_if(s.parts.begin(), s.parts.end(),
                        [&](const SessionPart& p) { return p.tp == tp; });
  };
  for (const SharePart& p : q.parts) {
    if (find(p.tp) == s.parts.end()) s.parts.push_back({p.tp, true});
  }
  for (const TopicPartition& tp : q.forgotten) {
    const auto it = find(tp);
    if (it != s.parts.end()) s.parts.erase(it);
    else notes_.push_back(part_text(tp) + " forgotten that is not in the session");
  }
}

// What the member still holds is free again, in partitions that are in the session.
inline void Broker::release_session(int node, const SessionKey& key) {
  Node& n = nodes_.at(node);
  const auto it = n.sessions.find(key);
  if (it == n.sessions.end()) return;
  const std::vector<SessionPart> parts = it->second.parts;
  n.sessions.erase(it);
  const int32_t member = intern(key.second);
  for (const SessionPart& p : parts) {
    const auto s = shared_.find({key.first, p.tp});
    if (s == shared_.end() || s->second.node != node) continue;
    if (s->second.state.release_member(member) || config_.release_wakes) wake(p.tp);
  }
  unload_empty_group(node, key.first);
}

// When a group has no session left at a broker, its share partitions leave the memory there.
inline void Broker::unload_empty_group(int node, const std::string& group) {
  if (!config_.unload_empty_groups) return;
  for (const auto& s : nodes_.at(node).sessions) {
    if (s.first.first == group) return;
  }
  for (auto& entry : shared_) {
    if (entry.first.first != group || entry.second.node != node) continue;
    entry.second.state.reload();
    entry.second.node = -1;
    entry.second.unloaded = true;
  }
}

inline int16_t Broker::check_batches(int id, int16_t version, const ShareRequest& q,
                                     const SharePart& p) {
  const char* wrong = nullptr;
  int16_t error = kNone;
  int64_t previous = -1;
  for (const AckBatch& b : p.acks) {
    const auto bad = [&](const char* what) {
      wrong = what;
      error = kInvalidRequest;
    };
    if (b.first > b.last) bad("acknowledgement range upside down");
    else if (b.first < previous) bad("acknowledgement ranges overlap or descend");
    else if (b.first == previous && previous >= 0) wrong = "acknowledgement ranges overlap";
    if (b.types.empty()) bad("no acknowledge types");
    else if (b.types.size() != 1 && static_cast<int64_t>(b.types.size()) != b.last - b.first + 1) {
      bad("wrong number of acknowledge types");
    }
    for (int8_t type : b.types) {
      if (type < 0 || type > (version >= 2 ? 4 : 3)) bad("unknown acknowledge type");
      else if (type == kRenew && !q.renew) bad("renewal without IsRenewAck");
    }
    previous = b.last;
    if (error != kNone) break;
  }
  if (wrong != nullptr) violate(id, std::string(wrong) + ", " + part_text(p.tp));
  return error;
}

// One partition's acknowledgements made the broker throw; the session has advanced all the same.
inline bool Broker::broken(const std::vector<AckResult>& acks) {
  return std::any_of(acks.begin(), acks.end(),
                     [](const AckResult& r) { return r.error == kUnknownServerError; });
}

// Partitions without batches are answered, with 0, only when another one's batches were applied.
inline std::vector<Broker::AckResult> Broker::apply_acks(int id, int16_t version,
                                                         const ShareRequest& q) {
  std::vector<AckResult> results;
  bool applied = false;
  for (const SharePart& p : q.parts) {
    int16_t error = kNone;
    if (!p.acks.empty()) {
      error = check_part(id, version, q, p);
      if (error == kNone) {
        applied = true;
        error = apply_part(id, q, p);
      }
    }
    results.push_back({p.tp, error, p.acks.empty()});
    if (error == kUnknownServerError) break;  // thrown: what comes behind it is not applied
    const auto name = names_.find(p.tp.first);
    if (!on_ack) continue;
    for (const AckBatch& b : p.acks) {
      on_ack({now_, id, *q.group, *q.member, name == names_.end() ? "" : name->second,
              p.tp.second, b.first, b.last, b.types, error});
    }
  }
  const auto idle = [applied](const AckResult& r) { return r.idle && !applied; };
  results.erase(std::remove_if(results.begin(), results.end(), idle), results.end());
  return results;
}

inline int16_t Broker::check_part(int id, int16_t version, const ShareRequest& q,
                                  const SharePart& p) {
  if (names_.count(p.tp.first) == 0) return kUnknownTopicId;
  const int16_t invalid = check_batches(id, version, q, p);
  if (invalid != kNone) return invalid;
  return log_of(p.tp) == nullptr ? kUnknownTopicOrPartition : kNone;
}

inline int16_t Broker::apply_part(int id, const ShareRequest& q, const SharePart& p) {
  PartitionLog* log = log_of(p.tp);
  if (log->ack_errors > 0) {
    --log->ack_errors;
    const int16_t error = log->ack_error;
    // After these the real broker has evicted the share partition: acquisitions are gone.
    if (error == 3 || error == 6 || error == 69 || error == 124) unload(p.tp);
    return error;
  }
  const auto s = shared_.find({*q.group, p.tp});
  if (s == shared_.end() || s->second.node != conns_.at(id).node) return kUnknownTopicOrPartition;
  const int16_t error = s->second.state.acknowledge(intern(*q.member), p.acks, now_);
  if (error == kInvalidRequest && !s->second.unloaded) {
    violate(id, "offsets acknowledged that were never acquired");
  }
  return error;
}

// Acknowledgements of this request come into force. True: a start offset moved.
inline bool Broker::settle(const ShareRequest& q) {
  bool any = false;
  for (const SharePart& p : q.parts) {
    if (p.acks.empty()) continue;
    const auto s = shared_.find({*q.group, p.tp});
    if (s == shared_.end()) continue;
    const bool moved = s->second.state.settle();
    any = any || moved;
    if (moved || config_.release_wakes) wake(p.tp);
  }
  return any;
}

}  // namespace minibroker

#endif  // MINIBROKER_BROKER_SHARE_HPP
