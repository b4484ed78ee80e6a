// SPDX-License-Identifier: Apache-2.0
// What:        waiting ShareFetch and Fetch requests: when they are complete, what they bring.
// Flow:        included by broker.hpp only.
// Memory:      see broker.hpp.
// Valid until: see broker.hpp.
// Errors:      see broker.hpp.
#ifndef MINIBROKER_BROKER_FETCH_HPP
#define MINIBROKER_BROKER_FETCH_HPP

#include "broker.hpp"

namespace minibroker {

// The share partition at its leader; loaded from what was persisted when it is new there.
inline Broker::Shared* Broker::shared(const std::string& group, const TopicPartition& tp,
                                      int node) {
  const PartitionLog& log = *log_of(tp);
  const auto key = std::make_pair(group, tp);
  auto it = shared_.find(key);
  if (it == shared_.end()) {
    const GroupSettings& g = group_settings(group);
    const int64_t start = g.start_at_latest ? log.end : log.log_start;
    it = shared_.emplace(key, Shared(SharePartition(start, &g, &config_))).first;
  }
  it->second.node = node;
  if (it->second.state.next_fetch_offset() < log.log_start) {
    it->second.state.move_start(log.log_start);
  }
  return &it->second;
}

inline int16_t Broker::partition_error(int node, const TopicPartition& tp) const {
  const auto name = names_.find(tp.first);
  if (name == names_.end()) return kUnknownTopicId;
  const std::vector<PartitionLog>& parts = topics_.at(name->second).partitions;
  if (tp.second < 0 || static_cast<size_t>(tp.second) >= parts.size()) {
    return kUnknownTopicOrPartition;
  }
  const PartitionLog& log = parts[static_cast<size_t>(tp.second)];
  if (log.leader != node) return kNotLeaderOrFollower;
  return log.fetch_errors > 0 ? log.fetch_error : int16_t{kNone};
}

inline void Broker::hint_leader(ShareAnswer& a, PartAnswer& p) {
  const PartitionLog* log = log_of(p.tp);
  if (log == nullptr || !log->hint) return;
  p.leader = log->leader;
  p.leader_epoch = log->leader_epoch;
  const bool told = std::any_of(a.endpoints.begin(), a.endpoints.end(),
                                [&](const Endpoint& e) { return e.id == log->leader; });
  if (!told && nodes_.count(log->leader) != 0) a.endpoints.push_back(endpoint(log->leader));
}

// True: answered. `force`: its time is up.
inline bool Broker::try_poll(int id, bool force) {
  Conn& c = conns_.at(id);
  if (c.poll->delayed) {
    if (!force) return false;
    const Poll poll = *c.poll;
    c.poll.reset();
    send(id, poll.header, *poll.delayed);
    return true;
  }
  return c.poll->header.key == kFetch ? try_fetch_poll(id, force) : try_share_poll(id, force);
}

// --- ShareFetch -----------------------------------------------------------------------------

inline std::vector<PartAnswer> Broker::share_errors(int id) {
  std::vector<PartAnswer> errors;
  const Conn& c = conns_.at(id);
  for (const TopicPartition& tp : c.poll->parts) {
    PartAnswer p;
    p.tp = tp;
    p.error = partition_error(c.node, tp);
    if (p.error != kNone) errors.push_back(p);
  }
  return errors;
}

inline bool Broker::try_share_poll(int id, bool force) {
  const Conn& c = conns_.at(id);
  const Poll& poll = *c.poll;
  const ShareRequest& q = poll.share;
  const bool no_records = poll.parts.empty() || q.max_records <= 0 || q.max_bytes <= 0;
  if (no_records || q.renew) {
    answer_share_poll(id, {});
    return true;
  }
  std::vector<PartAnswer> errors = share_errors(id);
  if (errors.size() == poll.parts.size()) {
    answer_share_poll(id, errors);
    return true;
  }
  std::vector<Ready> ready = find_ready(id);
  int64_t bytes = 0;
  for (const Ready& r : ready) {
    const size_t there = r.log->bytes_from(r.share->read_at, committed(q));
    bytes += static_cast<int64_t>(std::min(there, max_bytes(q) / ready.size()));
  }
  const bool enough = !ready.empty() && bytes >= q.min_bytes;
  if (!enough && !force) return false;
  std::vector<PartAnswer> parts = acquire_all(id, ready);
  parts.insert(parts.end(), errors.begin(), errors.end());
  answer_share_poll(id, parts);
  return true;
}

inline std::vector<Broker::Ready> Broker::find_ready(int id) {
  const Conn& c = conns_.at(id);
  std::vector<Ready> ready;
  for (const TopicPartition& tp : c.poll->parts) {
    if (partition_error(c.node, tp) != kNone) continue;
    Shared* s = shared(*c.poll->share.group, tp, c.node);
    if (!s->state.can_acquire()) continue;
    const int64_t from = s->state.next_fetch_offset();
    ready.push_back({tp, s, log_of(tp), s->read_at == from, {}});
    s->read_at = from;
  }
  return ready;
}

// Partitions whose place in the log is not known yet are read first, then the others. Each pass has
// all of MaxBytes, in equal parts; only the first batch found in a pass may be larger.
inline void Broker::read_pass(const ShareRequest& q, std::vector<Ready>& ready, bool known) const {
  size_t left = max_bytes(q);
  const size_t share = ready.empty() ? 0 : left / ready.size();
  bool first = true;
  for (Ready& r : ready) {
    if (r.known != known) continue;
    r.slice = r.log->read(r.share->read_at, std::min(share, left), first, committed(q));
    first = first && r.slice.empty();
    left -= std::min(left, r.slice.bytes);
  }
}

inline std::vector<PartAnswer> Broker::acquire_all(int id, std::vector<Ready>& ready) {
  const ShareRequest& q = conns_.at(id).poll->share;
  read_pass(q, ready, false);
  read_pass(q, ready, true);
  std::stable_partition(ready.begin(), ready.end(), [](const Ready& r) { return r.known; });
  std::vector<PartAnswer> parts;
  int64_t room = q.max_records;
  for (const Ready& r : ready) {
    PartAnswer p;
    p.tp = r.tp;
    if (!r.slice.empty() && room > 0) room -= acquire_one(id, r, room, p);
    parts.push_back(p);
  }
  return parts;
}

inline int64_t offsets_of(const std::vector<Acquired>& ranges) {
  int64_t sum = 0;
  for (const Acquired& range : ranges) sum += range.last - range.first + 1;
  return sum;
}

inline int64_t Broker::acquire_one(int id, const Ready& r, int64_t room, PartAnswer& p) {
  const ShareRequest& q = conns_.at(id).poll->share;
  AcquireRequest a{};
  a.member = intern(*q.member);
  a.record_limit = q.mode == 1;
  a.batch_size = std::max(1, q.batch_size);
  a.max_records = room;
  a.fetch_offset = r.share->state.next_fetch_offset();
  a.now = now_;
  p.acquired = r.share->state.acquire(a, r.slice.spans);
  const int64_t got = offsets_of(p.acquired);
  if (committed(q)) leave_out_aborted(r, p.acquired);
  const int64_t skipped = got - offsets_of(p.acquired);
  if (skipped != 0 && on_skip) on_skip(*q.group, skipped);
  if (p.acquired.empty()) return got;
  size_t from = r.slice.from;
  size_t to = r.slice.to;
  while (r.log->batches[from].last < p.acquired.front().first) ++from;
  while (to > from + 1 && r.log->batches[to - 1].base > p.acquired.back().last) --to;
  const bool single = r.slice.to - r.slice.from == 1 && config_.partial_batches;
  p.records = r.log->bytes(from, to, single ? r.slice.bytes : 0);
  if (!on_acquire) return got;
  for (const Acquired& range : p.acquired) {
    on_acquire({now_, id, *q.group, *q.member, names_.at(r.tp.first), r.tp.second, range.first,
                range.last, range.count, hidden_fetches_ > 0});
  }
  return got;
}

// read_committed: what was aborted is archived by the broker, the client never hears of it.
inline void Broker::leave_out_aborted(const Ready& r, std::vector<Acquired>& ranges) {
  for (size_t i = r.slice.from; i < r.slice.to; ++i) {
    const LogBatch& b = r.log->batches[i];
    if (!b.aborted) continue;
    std::vector<Acquired> kept;
    for (const Acquired& a : ranges) {
      const int64_t first = std::max(a.first, b.base);
      const int64_t last = std::min(a.last, b.last);
      if (first > last) {
        kept.push_back(a);
        continue;
      }
      r.share->state.archive(first, last);
      if (a.first < first) kept.push_back({a.first, first - 1, a.count});
      if (last < a.last) kept.push_back({last + 1, a.last, a.count});
    }
    ranges.swap(kept);
  }
}

// After epoch 0 a partition is listed when it has records or an error, or is listed the first time.
inline void Broker::list_parts(const ShareRequest& q, Session* s,
                               std::vector<PartAnswer>& parts) const {
  if (q.epoch == 0 || s == nullptr) return;
  std::vector<PartAnswer> listed;
  for (const PartAnswer& p : parts) {
    const auto it = std::find_if(s->parts.begin(), s->parts.end(),
                                 [&](const SessionPart& sp) { return sp.tp == p.tp; });
    bool must = !p.records.empty() || p.error != kNone;
    if (it != s->parts.end()) {
      must = must || it->must_answer;
      it->must_answer = p.error != kNone;
      if (!p.records.empty()) std::rotate(it, it + 1, s->parts.end());  // served: to the end
    }
    if (must) listed.push_back(p);
  }
  parts.swap(listed);
}

inline void Broker::answer_share_poll(int id, std::vector<PartAnswer> parts) {
  const Poll poll = *conns_.at(id).poll;
  conns_.at(id).poll.reset();
  const ShareRequest& q = poll.share;
  ShareAnswer a;
  a.throttle_ms = config_.throttle_ms;
  a.lock_ms = group_settings(*q.group).lock_ms;
  Node& n = nodes_.at(conns_.at(id).node);
  const auto s = n.sessions.find({*q.group, *q.member});
  list_parts(q, s == n.sessions.end() ? nullptr : &s->second, parts);
  if (hidden_fetches_ > 0 && !parts.empty()) {
    --hidden_fetches_;
    a.throttle_ms = hidden_throttle_ms_;
    parts.clear();
  }
  a.parts = std::move(parts);
  for (const AckResult& r : poll.acks) {
    auto p = std::find_if(a.parts.begin(), a.parts.end(),
                          [&](const PartAnswer& x) { return x.tp == r.tp; });
    if (p == a.parts.end()) {
      p = a.parts.insert(p, PartAnswer());
      p->tp = r.tp;
    }
    p->ack_error = r.error;
  }
  for (PartAnswer& p : a.parts) {
    if (p.error == kNone) continue;
    PartitionLog* log = log_of(p.tp);
    if (log != nullptr && log->fetch_errors > 0 && p.error == log->fetch_error) --log->fetch_errors;
    if (p.error == kNotLeaderOrFollower || p.error == kFencedLeaderEpoch) hint_leader(a, p);
  }
  Writer w;
  encode_share_fetch(w, a);
  send(id, poll.header, w.out);
}

// --- Fetch: plain reads without a session ---------------------------------------------------

inline void Broker::handle_fetch(int id, const RequestHeader& h, Reader& in) {
  Poll poll;
  poll.fetch = decode_fetch(in, h.version);
  if (!in.done()) return;
  const FetchRequest& q = poll.fetch;
  if (q.replica != -1 || q.session_id != 0 || q.session_epoch != -1) {
    violate(id, "Fetch with a session or as a replica");
  }
  poll.header = h;
  poll.sequence = ++sequence_;
  poll.deadline = now_ + std::max(0, q.max_wait_ms);
  const int16_t error = injected(id, kFetch);
  if (error != kNone) {
    Writer w;
    w.i32(config_.throttle_ms).i16(error).i32(0).array(0).tags();
    return send(id, h, w.out);
  }
  for (const FetchPart& p : q.parts) poll.parts.push_back(p.tp);
  conns_.at(id).poll = poll;
  try_poll(id, q.max_wait_ms <= 0);
}

inline int16_t Broker::fetch_error(int node, const FetchPart& p) const {
  const auto name = names_.find(p.tp.first);
  if (name == names_.end()) return kUnknownTopicId;
  const std::vector<PartitionLog>& parts = topics_.at(name->second).partitions;
  if (p.tp.second < 0 || static_cast<size_t>(p.tp.second) >= parts.size()) {
    return kUnknownTopicOrPartition;
  }
  const PartitionLog& log = parts[static_cast<size_t>(p.tp.second)];
  if (log.leader != node) return kNotLeaderOrFollower;
  if (p.leader_epoch >= 0 && p.leader_epoch < log.leader_epoch) return kFencedLeaderEpoch;
  if (p.leader_epoch > log.leader_epoch) return kUnknownLeaderEpoch;
  return p.offset < log.log_start || p.offset > log.end ? kOffsetOutOfRange : kNone;
}

inline bool Broker::try_fetch_poll(int id, bool force) {
  const Conn& c = conns_.at(id);
  const Poll poll = *c.poll;
  const FetchRequest& q = poll.fetch;
  const bool stable = q.isolation == 1;
  bool ready = force || q.parts.empty();
  size_t bytes = 0;
  for (const FetchPart& p : q.parts) {
    if (fetch_error(c.node, p) != kNone) ready = true;
    else bytes += log_of(p.tp)->bytes_from(p.offset, stable);
  }
  if (!ready && static_cast<int64_t>(bytes) < q.min_bytes) return false;
  size_t left = static_cast<size_t>(std::max(0, std::min(q.max_bytes, config_.max_fetch_bytes)));
  bool first = true;
  Writer w;
  w.i32(config_.throttle_ms).i16(kNone).i32(0).array(q.parts.size());  // a topic entry each
  for (const FetchPart& p : q.parts) {
    const int16_t error = fetch_error(c.node, p);
    const PartitionLog* log = log_of(p.tp);
    const bool known = log != nullptr;
    w.uuid(p.tp.first).array(1).i32(p.tp.second).i16(error);
    const bool told = known && error == kNone;  // an error comes without the log's ends
    w.i64(told ? log->end : -1).i64(told ? log->visible_end(true) : -1);
    w.i64(told ? log->log_start : -1);
    if (stable && known && error == kNone) w.array(0);
    else w.null();
    w.i32(-1);
    std::string records;
    if (error == kNone) {
      const size_t most = std::min(left, static_cast<size_t>(std::max(0, p.max_bytes)));
      const Slice s = log->read(p.offset, most, first, stable);
      records = log->bytes(s.from, s.to, config_.partial_batches ? s.bytes : 0);
      first = first && s.empty();
      left -= std::min(left, s.bytes);
    }
    w.compact(records);
    if (error == kNotLeaderOrFollower && log->leader >= 0 && log->hint) {
      w.uvarint(1).uvarint(1).uvarint(9).i32(log->leader).i32(log->leader_epoch).tags();
    } else {
      w.tags();
    }
    w.tags();
  }
  w.tags();
  conns_.at(id).poll.reset();
  send(id, poll.header, w.out);
  return true;
}

}  // namespace minibroker

#endif  // MINIBROKER_BROKER_FETCH_HPP
