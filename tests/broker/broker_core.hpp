// SPDX-License-Identifier: Apache-2.0
// What:        connections of the mini broker: frames in, answers out, time, waking of long polls.
// Flow:        included by broker.hpp only.
// Memory:      one Conn a connection until disconnect().
// Valid until: see broker.hpp.
// Errors:      see broker.hpp.
#ifndef MINIBROKER_BROKER_CORE_HPP
#define MINIBROKER_BROKER_CORE_HPP

#include "broker.hpp"

namespace minibroker {

inline int Broker::connect(int node, int64_t now) {
  advance_to(now);
  const auto n = nodes_.find(node);
  if (n == nodes_.end() || !n->second.up) return -1;
  conns_[++last_conn_].node = node;
  return last_conn_;
}

inline void Broker::disconnect(int conn, int64_t now) {
  advance_to(now);
  const auto it = conns_.find(conn);
  if (it == conns_.end()) return;
  it->second.open = false;
  if (it->second.alive) end_sessions(conn);
  it->second.alive = false;
  const bool zombie = config_.zombie_polls && it->second.poll && !it->second.poll->delayed;
  if (!zombie) conns_.erase(conn);
  run();
}

inline void Broker::input(int conn, const void* data, size_t n, int64_t now) {
  advance_to(now);
  const auto it = conns_.find(conn);
  if (it == conns_.end() || !it->second.alive) return;
  it->second.in.append(static_cast<const char*>(data), n);
  count_frames(conn);
  serve(conn);
  run();
}

inline std::string Broker::take_output(int conn) {
  const auto it = conns_.find(conn);
  if (it == conns_.end()) return {};
  it->second.share_unanswered -= it->second.share_answers;
  it->second.share_answers = 0;
  std::string out;
  out.swap(it->second.out);
  return out;
}

inline bool Broker::closed(int conn) const {
  const auto it = conns_.find(conn);
  return it == conns_.end() || !it->second.alive;
}

inline void Broker::close_connection(int conn, int64_t now) {
  advance_to(now);
  if (closed(conn)) return;
  hang_up(conn);
  run();
}

inline void Broker::hang_up(int id) {
  Conn& c = conns_.at(id);
  if (!c.alive) return;
  end_sessions(id);
  c.alive = false;
  c.poll.reset();
}

inline void Broker::end_sessions(int id) {
  Conn& c = conns_.at(id);
  Node& n = nodes_.at(c.node);
  for (const SessionKey& key : c.opened) {
    const auto s = n.sessions.find(key);
    if (s == n.sessions.end()) continue;
    if (s->second.conn != id) {
      if (config_.stale_connections) continue;
      const auto other = conns_.find(s->second.conn);  // it did nothing wrong
      if (other != conns_.end()) other->second.excused = true;
    }
    release_session(c.node, key);
  }
  c.opened.clear();
}

inline void Broker::malformed(int id, const std::string& what) {
  violate(id, what);
  hang_up(id);
}

inline void Broker::violate(int id, const std::string& what) {
  violations_.push_back("connection " + std::to_string(id) + ": " + what);
}

// Every share request must wait for the answer to the one before.
inline void Broker::count_frames(int id) {
  Conn& c = conns_.at(id);
  while (c.in.size() - c.scanned >= 6) {
    Reader r(c.in.data() + c.scanned, c.in.size() - c.scanned);
    const int32_t size = r.i32();
    if (size < 0 || static_cast<size_t>(size) > c.in.size() - c.scanned - 4) return;
    const int16_t key = r.i16();
    c.scanned += 4 + static_cast<size_t>(size);
    if (key != kShareFetch && key != kShareAcknowledge) continue;
    if (c.share_unanswered++ > 0) violate(id, "more than one share request in flight");
  }
}

inline void Broker::serve(int id) {
  for (;;) {
    const auto it = conns_.find(id);
    if (it == conns_.end() || !it->second.alive || it->second.poll) return;
    Conn& c = it->second;
    if (c.in.size() < 4) return;
    const int32_t size = Reader(c.in).i32();
    if (size < 0 || size > config_.max_frame_bytes) return malformed(id, "frame size");
    if (c.in.size() - 4 < static_cast<size_t>(size)) return;
    const std::string frame = c.in.substr(4, static_cast<size_t>(size));
    c.in.erase(0, 4 + frame.size());
    c.scanned = c.scanned > 4 + frame.size() ? c.scanned - 4 - frame.size() : 0;
    handle(id, frame);
  }
}

inline bool Broker::version_served(int16_t key, int16_t version) const {
  switch (key) {
    case kFetch: return version >= 13 && version <= config_.max_fetch_version;
    case kMetadata: return version >= 12 && version <= config_.max_metadata_version;
    case kFindCoordinator:
      return version >= 4 && version <= config_.max_find_coordinator_version;
    case kApiVersions: return true;  // its handler answers unknown versions
    case kShareGroupHeartbeat: return version == 1;
    case kShareFetch:
    case kShareAcknowledge: return version >= 1 && version <= config_.max_share_fetch_version;
    default: return false;
  }
}

inline void Broker::handle(int id, const std::string& frame) {
  Reader in(frame);
  const RequestHeader h = decode_header(in);
  if (!in.ok()) return malformed(id, "request header");
  const std::string name = "api " + std::to_string(h.key) + " v" + std::to_string(h.version);
  if (!version_served(h.key, h.version)) return malformed(id, name + " is not served");
  const bool known = h.key != kApiVersions || h.version <= config_.max_api_versions_version;
  if (known && flexible_request(h.key, h.version)) in.tags();
  ++requests_[h.key];
  switch (h.key) {
    case kFetch: handle_fetch(id, h, in); break;
    case kMetadata: handle_metadata(id, h, in); break;
    case kFindCoordinator: handle_find_coordinator(id, h, in); break;
    case kApiVersions: handle_api_versions(id, h, in); break;
    case kShareGroupHeartbeat: handle_heartbeat(id, h, in); break;
    case kShareFetch: handle_share_fetch(id, h, in); break;
    default: handle_share_acknowledge(id, h, in); break;
  }
  // A handler that does not understand the body answers nothing.
  if (known && !in.done()) malformed(id, name + " body");
}

inline void Broker::send(int id, const RequestHeader& h, const std::string& body, bool flexible) {
  Conn& c = conns_.at(id);
  Writer w;
  w.i32(h.correlation);
  if (flexible) w.tags();
  std::string frame = framed(w.raw(body).out);
  const std::string before = frame;
  const bool share = h.key == kShareFetch || h.key == kShareAcknowledge;
  const auto loss = losses_.find(h.key);
  const bool lost = loss != losses_.end() && loss->second.times > 0;
  const bool sent = !lost && (!on_response || on_response(h.key, frame));
  if (share) ++c.share_answers;
  if (share && (!sent || frame != before)) c.excused = true;
  if (sent && c.alive) c.out += frame;
  if (!lost) return;
  --loss->second.times;
  if (loss->second.cut) hang_up(id);
}

inline void Broker::fail_next(int16_t api_key, int16_t error, int times) {
  faults_[api_key].push_back({error, times});
}

inline void Broker::lose_answers(int16_t api_key, int times, bool cut) {
  losses_[api_key] = {times, cut};
}

inline void Broker::clear_faults(int16_t api_key) {
  faults_.erase(api_key);
  losses_.erase(api_key);
}

inline int16_t Broker::injected(int id, int16_t key) {
  const auto it = faults_.find(key);
  if (it == faults_.end() || it->second.empty()) return kNone;
  Fault& f = it->second.front();
  const int16_t error = f.error;
  if (--f.times <= 0) it->second.erase(it->second.begin());
  conns_.at(id).excused = true;
  return error;
}

// --- time -----------------------------------------------------------------------------------

inline void Broker::advance_to(int64_t now) {
  if (now > now_) tick(now);
}

inline void Broker::tick(int64_t now) {
  now_ = std::max(now_, now);
  for (auto& entry : shared_) {
    if (entry.second.state.lock_deadline() > now_) continue;
    if (entry.second.state.expire(now_)) wake(entry.first.second);
  }
  groups_.expire(now_);
  for (auto& entry : conns_) {
    const std::optional<Poll>& poll = entry.second.poll;
    if (poll && poll->deadline <= now_) woken_.insert({poll->sequence, entry.first});
  }
  run();
}

inline int64_t Broker::next_deadline() const {
  int64_t next = groups_.next_deadline();
  for (const auto& entry : shared_) next = std::min(next, entry.second.state.lock_deadline());
  for (const auto& entry : conns_) {
    if (entry.second.poll) next = std::min(next, entry.second.poll->deadline);
  }
  return next;
}

// Something happened to this partition: polls that wait for it may be complete.
inline void Broker::wake(const TopicPartition& tp) {
  for (auto& entry : conns_) {
    const std::optional<Poll>& poll = entry.second.poll;
    if (!poll || poll->delayed) continue;
    if (std::find(poll->parts.begin(), poll->parts.end(), tp) == poll->parts.end()) continue;
    woken_.insert({poll->sequence, entry.first});
  }
}

inline void Broker::run() {
  if (running_) return;
  running_ = true;
  while (!woken_.empty()) {
    const std::pair<int64_t, int> next = *woken_.begin();
    woken_.erase(woken_.begin());
    const auto it = conns_.find(next.second);
    if (it == conns_.end() || !it->second.poll) continue;
    if (it->second.poll->sequence != next.first) continue;
    if (!try_poll(next.second, it->second.poll->deadline <= now_)) continue;
    if (it->second.open) serve(next.second);
    else conns_.erase(it);
  }
  running_ = false;
}

// --- small things ---------------------------------------------------------------------------

inline uint64_t Broker::random() {
  random_ += 0x9e3779b97f4a7c15ull;
  uint64_t z = random_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

inline Uuid Broker::new_uuid() {
  Uuid id{};
  for (size_t i = 0; i < id.size(); ++i) id[i] = static_cast<uint8_t>(random() >> 17);
  id[6] = static_cast<uint8_t>((id[6] & 0x0f) | 0x40);
  id[8] = static_cast<uint8_t>((id[8] & 0x3f) | 0x80);
  return id;
}

inline int32_t Broker::intern(const std::string& member) {
  const auto added = member_numbers_.emplace(member, static_cast<int32_t>(member_names_.size()));
  if (added.second) member_names_.push_back(member);
  return added.first->second;
}

}  // namespace minibroker

#endif  // MINIBROKER_BROKER_CORE_HPP
