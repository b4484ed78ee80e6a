// SPDX-License-Identifier: Apache-2.0
// What:        the network between members and nodes: it delays, splits, stalls, cuts at any byte,
//              half-closes, refuses, and tells a broker late that a connection has ended.
// Flow:        SimTransport (one link of a member) <-> Conn <-> minibroker::Broker.
// Memory:      bytes on their way; a Conn goes when both ends know of its end.
// Valid until: the Broker must outlive it. Ids of connections are never used again.
// Errors:      none of its own; what members see are Io::closed and Io::failed.
#ifndef KSHARE_SIM_NETWORK_HPP
#define KSHARE_SIM_NETWORK_HPP

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <string>

#include "../broker/broker.hpp"
#include "dice.hpp"
#include "kshare/net/transport.hpp"

namespace sim {

// Sees every byte where a member sends and where it reads.
class Tap {
 public:
  virtual void opens(int member) = 0;  // it tries to
  virtual void opened(int conn, int member, int node) = 0;
  virtual void offered(int conn) = 0;  // a member has something to send
  virtual void sent(int conn, const char* data, size_t size) = 0;      // taken from it
  virtual void answered(int conn, const std::string& bytes) = 0;       // by the broker
  virtual void read(int conn, size_t size) = 0;                        // by the member
  virtual void broken(int conn, size_t passed) = 0;  // behind so many octets of answers
 protected:
  ~Tap() = default;
};

struct Piece {
  int64_t at;  // when it arrives
  std::string bytes;
  bool end;  // the stream's end
};

// One direction of a connection.
struct Stream {
  std::deque<Piece> pieces;
  int64_t last_at = 0;
  size_t queued = 0;  // octets in pieces
  size_t passed = 0;  // octets that have arrived
  size_t cut_at = SIZE_MAX;  // the connection breaks when so many have
  bool ended = false;  // nothing is taken any more
};

struct Conn {
  int member = -1;
  int node = -1;
  int at_broker = -1;
  int64_t connected_at = kNever;
  bool refused = false;
  bool connected = false;
  bool client_open = true;
  bool client_told = false;  // the member sees the end, once it has read what came before
  bool reset = false;        // as a failure, not as an orderly end
  bool lost = false;         // nothing passes any more, and nobody is told
  int64_t broker_told_at = kNever;
  bool broker_told = false;
  int64_t held_until = 0;
  Stream up, down;
  std::string inbox;
  size_t inbox_read = 0;

  bool has_input() const { return inbox_read < inbox.size(); }
};

class Network {
 public:
  struct Habits {
    int64_t delay_least = 0, delay_most = 1;  // of each piece
    uint32_t split_percent = 0;               // of what is sent, in pieces of any size
    size_t buffer = 65536;                    // octets on their way in one direction
  };

  Network(minibroker::Broker& broker, const int64_t& now, uint64_t seed)
      : broker_(broker), now_(now), dice_(seed, 7) {}

  Habits habits;
  Tap* tap = nullptr;

  int open(int member, const kshare::Endpoint& where) {
    const int id = ++last_;
    ++opens_[member];
    if (tap != nullptr) tap->opens(member);
    Conn& c = conns_[id];
    c.member = member;
    for (int node : broker_.node_ids()) {
      const minibroker::Endpoint e = broker_.endpoint(node);
      if (e.host == where.host && e.port == where.port) c.node = node;
    }
    c.connected_at = now_ + delay() + delay();
    return id;
  }
  uint64_t opens(int member) { return opens_[member]; }
  Conn* find(int id) {
    const auto it = conns_.find(id);
    return it == conns_.end() ? nullptr : &it->second;
  }
  size_t write(int id, const char* data, size_t size) {
    Conn& c = conns_.at(id);
    const size_t room = habits.buffer > c.up.queued ? habits.buffer - c.up.queued : 0;
    size_t count = std::min(size, room);
    if (count > 1 && dice_.chance(habits.split_percent)) count = 1 + dice_.below(count);
    if (count == 0) return 0;
    if (tap != nullptr) tap->sent(id, data, count);
    post(c.up, std::string(data, count));
    return count;
  }
  bool has_room(int id) const {
    const auto it = conns_.find(id);
    return it != conns_.end() && it->second.up.queued < habits.buffer;
  }
  // The member's end is closed; what it has sent may arrive or not.
  void close(int id) {
    Conn& c = conns_.at(id);
    c.client_open = false;
    if (dice_.chance(50)) clear(c.up);
    if (!c.lost) tell_broker(c, std::max(now_ + delay(), c.up.last_at));
  }

  // --- what happens to connections

  void cut_after(int id, bool up, size_t octets, int64_t notice_ms) {
    Conn& c = conns_.at(id);
    Stream& s = up ? c.up : c.down;
    s.cut_at = std::min(s.cut_at, s.passed + octets);
    notice_ms_[id] = notice_ms;
  }
  void half_close(int id) { post_end(conns_.at(id).down); }
  void hold(int id, int64_t until) {
    conns_.at(id).held_until = std::max(conns_.at(id).held_until, until);
  }
  // Nothing passes, nobody is told; the broker notices by itself at `notice_at`.
  void lose(int id, int64_t notice_at) {
    conns_.at(id).lost = true;
    tell_broker(conns_.at(id), notice_at);
  }
  void refuse(int node, int64_t until) { refuses_[node] = std::max(refuses_[node], until); }
  void silence(int node, int64_t until) { silent_[node] = std::max(silent_[node], until); }
  void be_calm() {
    refuses_.clear();
    silent_.clear();
    for (auto& entry : conns_) {
      entry.second.held_until = 0;
      entry.second.up.cut_at = entry.second.down.cut_at = SIZE_MAX;
    }
  }
  std::vector<int> of_member(int member) const {
    std::vector<int> ids;
    for (const auto& entry : conns_) {
      if (entry.second.member == member && entry.second.client_open && entry.second.connected) {
        ids.push_back(entry.first);
      }
    }
    return ids;
  }
  std::vector<int> of_node(int node) const {
    std::vector<int> ids;
    for (const auto& entry : conns_) {
      if (entry.second.node == node && entry.second.connected) ids.push_back(entry.first);
    }
    return ids;
  }

  // --- time

  // Moves everything that is due. Answers to what arrives now are on their way afterwards.
  void pump() {
    for (auto& entry : conns_) {
      connect(entry.first, entry.second);
      pump_up(entry.first, entry.second);
    }
    for (auto& entry : conns_) collect(entry.first, entry.second);
    for (auto it = conns_.begin(); it != conns_.end();) {
      pump_down(it->first, it->second);
      tell(it->second);
      const Conn& c = it->second;
      const bool over = !c.client_open && (c.broker_told || !c.connected);
      it = over ? conns_.erase(it) : std::next(it);
    }
  }
  int64_t next_deadline() const {
    int64_t next = kNever;
    for (const auto& entry : conns_) {
      const Conn& c = entry.second;
      if (!c.connected && c.client_open && !c.refused) next = std::min(next, due_connect(c));
      if (!c.broker_told) next = std::min(next, c.broker_told_at);
      if (c.lost) continue;
      for (const Stream* s : {&c.up, &c.down}) {
        if (!s->pieces.empty()) next = std::min(next, std::max(s->pieces.front().at, c.held_until));
      }
    }
    return next;
  }

 private:
  int64_t delay() { return dice_.between(habits.delay_least, habits.delay_most); }
  static int64_t until(const std::map<int, int64_t>& all, int node) {
    const auto it = all.find(node);
    return it == all.end() ? 0 : it->second;
  }
  int64_t due_connect(const Conn& c) const {
    return std::max(c.connected_at, until(silent_, c.node));
  }
  static void clear(Stream& s) {
    s.pieces.clear();
    s.queued = 0;
  }
  static void tell_broker(Conn& c, int64_t at) {
    c.broker_told_at = std::min(c.broker_told_at, at);
  }
  void post(Stream& s, const std::string& bytes) {
    if (s.ended) return;
    size_t at = 0;
    while (at < bytes.size()) {
      size_t size = bytes.size() - at;
      if (size > 1 && dice_.chance(habits.split_percent)) size = 1 + dice_.below(size);
      s.last_at = std::max(s.last_at, now_ + delay());
      s.pieces.push_back({s.last_at, bytes.substr(at, size), false});
      s.queued += size;
      at += size;
    }
  }
  void post_end(Stream& s) {
    if (s.ended) return;
    s.ended = true;
    s.last_at = std::max(s.last_at, now_ + delay());
    s.pieces.push_back({s.last_at, "", true});
  }
  void connect(int id, Conn& c) {
    if (c.connected || c.refused || !c.client_open || due_connect(c) > now_) return;
    c.at_broker = until(refuses_, c.node) > now_ ? -1 : broker_.connect(c.node, now_);
    c.refused = c.at_broker < 0;
    c.connected = !c.refused;
    if (c.connected && tap != nullptr) tap->opened(id, c.member, c.node);
  }
  void break_off(int id, Conn& c) {
    clear(c.up);
    clear(c.down);
    c.up.ended = c.down.ended = true;
    c.client_told = c.reset = true;
    if (tap != nullptr) tap->broken(id, c.down.passed);
    const auto notice = notice_ms_.find(id);
    tell_broker(c, now_ + (notice == notice_ms_.end() ? 0 : notice->second));
  }
  // The next piece that is due, cut short where the connection breaks. False: none.
  bool take(int id, Conn& c, Stream& s, Piece& piece) {
    if (c.lost || c.held_until > now_ || s.pieces.empty() || s.pieces.front().at > now_) {
      return false;
    }
    piece = std::move(s.pieces.front());
    s.pieces.pop_front();
    s.queued -= piece.bytes.size();
    const bool breaks = s.passed + piece.bytes.size() >= s.cut_at;
    if (breaks) piece.bytes.resize(s.cut_at - s.passed);
    s.passed += piece.bytes.size();
    if (breaks) break_off(id, c);
    return true;
  }
  void pump_up(int id, Conn& c) {
    Piece piece;
    while (c.connected && !c.broker_told && take(id, c, c.up, piece)) {
      broker_.input(c.at_broker, piece.bytes.data(), piece.bytes.size(), now_);
    }
  }
  // What the broker says, and its hanging up.
  void collect(int id, Conn& c) {
    if (!c.connected || c.broker_told) return;
    const std::string bytes = broker_.take_output(c.at_broker);
    if (!bytes.empty() && !c.down.ended) {
      if (tap != nullptr) tap->answered(id, bytes);
      post(c.down, bytes);
    }
    if (broker_.closed(c.at_broker)) post_end(c.down);
  }
  void pump_down(int id, Conn& c) {
    Piece piece;
    while (take(id, c, c.down, piece)) {
      c.inbox += piece.bytes;
      if (piece.end) c.client_told = true;
    }
  }
  void tell(Conn& c) {
    if (c.broker_told || !c.connected || c.broker_told_at > now_) return;
    broker_.disconnect(c.at_broker, now_);
    c.broker_told = true;
  }

  minibroker::Broker& broker_;
  const int64_t& now_;
  Dice dice_;
  std::map<int, Conn> conns_;
  std::map<int, int64_t> notice_ms_;
  std::map<int, int64_t> refuses_, silent_;
  std::map<int, uint64_t> opens_;  // by each member
  int last_ = 0;
};

// One link of a member.
class SimTransport final : public kshare::Transport {
 public:
  Network* network = nullptr;
  int member = -1;

  kshare::Status open(const kshare::Endpoint& where, kshare::Instant) override {
    id_ = network->open(member, where);
    ++generation_;
    return {};
  }
  kshare::IoResult advance(kshare::Instant) override {
    const Conn& c = *network->find(id_);
    if (c.refused) return {kshare::Io::failed, 0, {kshare::Errc::connect_failed, 111}};
    return {c.connected ? kshare::Io::done : kshare::Io::pending, 0, {}};
  }
  kshare::IoResult read(kshare::MutableBytes into) override {
    Conn& c = *network->find(id_);
    const size_t waiting = c.inbox.size() - c.inbox_read;
    const auto count = static_cast<uint32_t>(std::min<size_t>(waiting, into.size));
    if (count == 0) {
      if (!c.client_told) return {};
      if (!c.reset) return {kshare::Io::closed, 0, {}};
      return {kshare::Io::failed, 0, {kshare::Errc::disconnected, 104}};
    }
    std::memcpy(into.data, c.inbox.data() + c.inbox_read, count);
    c.inbox_read += count;
    if (!c.has_input()) {
      c.inbox.clear();
      c.inbox_read = 0;
    }
    if (network->tap != nullptr) network->tap->read(id_, count);
    return {kshare::Io::done, count, {}};
  }
  kshare::IoResult write(kshare::Bytes from) override {
    const Conn& c = *network->find(id_);
    if (c.reset) return {kshare::Io::failed, 0, {kshare::Errc::disconnected, 32}};
    if (network->tap != nullptr) network->tap->offered(id_);
    const size_t count =
        network->write(id_, reinterpret_cast<const char*>(from.data), from.size);
    if (count == 0) return {};
    return {kshare::Io::done, static_cast<uint32_t>(count), {}};
  }
  void close() override {
    if (id_ >= 0) network->close(id_);
    id_ = -1;
  }
  kshare::Interest interest() const override {
    kshare::Interest its;
    its.fd = id_;
    its.read = true;
    its.generation = generation_;
    if (id_ >= 0) its.ready_now = network->find(id_)->has_input();
    return its;
  }
  // What poll(2) would report.
  bool has_news(bool wants_write) const {
    if (id_ < 0) return false;
    const Conn& c = *network->find(id_);
    if (c.refused || c.has_input() || c.client_told) return true;
    if (c.connected && fresh_ != generation_) return true;
    return wants_write && network->has_room(id_);
  }
  void seen() { fresh_ = id_ >= 0 && network->find(id_)->connected ? generation_ : fresh_; }

 private:
  int id_ = -1;
  uint32_t generation_ = 0;
  uint32_t fresh_ = 0;  // the generation whose being connected was told
};

}  // namespace sim

#endif  // KSHARE_SIM_NETWORK_HPP
