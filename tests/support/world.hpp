// SPDX-License-Identifier: Apache-2.0
// What:        a world for tests: a mini broker, a virtual clock and consumers whose transports are
//              byte queues into the broker. Nothing sleeps; a minute passes in a moment.
// Flow:        Member<kLimits> (Storage, pool, consumer) <-> minibroker::Broker; World moves time.
// Memory:      the tests' own.
// Valid until: the World must outlive its members.
// Errors:      run_until() answers false when the time given has passed: the test then says what.
#ifndef KSHARE_TESTS_WORLD_HPP
#define KSHARE_TESTS_WORLD_HPP

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "../broker/broker.hpp"
#include "kshare/kshare.hpp"

namespace world {

// A connection to one broker node: bytes written are handed to the broker at once, its answers wait
// in `inbox` and are read in pieces of at most `piece` octets.
class PipeTransport final : public kshare::Transport {
 public:
  minibroker::Broker* broker = nullptr;
  const int64_t* clock = nullptr;
  uint32_t piece = UINT32_MAX;        // octets a read() gives at most
  uint32_t write_piece = UINT32_MAX;  // octets a write() takes at most
  bool refuse = false;                // connecting fails
  std::set<int> silent_ports;         // connecting to these never ends
  bool stall = false;                 // connected, but nothing moves any more
  bool refuse_late = false;           // connecting fails after a while, as it does with TCP
  int opens = 0;
  int reads = 0;
  int advances = 0;
  kshare::Instant due = kshare::kNever;  // advance() wants a call by then
  std::function<void(kshare::Bytes)> on_write;  // sees what is sent; whole requests unless cut

  kshare::Status open(const kshare::Endpoint& endpoint, kshare::Instant) override {
    ++opens;
    empty();
    conn_ = -1;
    if (refuse) return {kshare::Errc::connect_failed, 111};
    silent_ = silent_ports.count(endpoint.port) != 0;
    if (silent_) return {};
    for (int node : broker->node_ids()) {
      const auto where = broker->endpoint(node);
      if (where.host == endpoint.host && where.port == endpoint.port) {
        conn_ = broker->connect(node, *clock);
        break;
      }
    }
    if (conn_ < 0) return {kshare::Errc::connect_failed, 111};
    ++generation_;
    open_ = true;
    return {};
  }
  kshare::IoResult advance(kshare::Instant) override {
    ++advances;
    if (refuse_late) return {kshare::Io::failed, 0, {kshare::Errc::connect_failed, 111}};
    return {stall || silent_ ? kshare::Io::pending : kshare::Io::done, 0, {}};
  }
  kshare::IoResult read(kshare::MutableBytes into) override {
    ++reads;
    if (conn_ < 0) return {kshare::Io::failed, 0, {kshare::Errc::disconnected, 0}};
    if (stall) return {};
    pull();
    if (waiting() == 0 && broker->closed(conn_)) return {kshare::Io::closed, 0, {}};
    auto count = static_cast<uint32_t>(waiting());
    count = std::min({count, piece, into.size});
    if (count == 0) return {};
    std::memcpy(into.data, inbox_.data() + read_, count);
    read_ += count;
    return {kshare::Io::done, count, {}};
  }
  kshare::IoResult write(kshare::Bytes from) override {
    if (conn_ < 0 || broker->closed(conn_)) {
      return {kshare::Io::failed, 0, {kshare::Errc::disconnected, 32}};
    }
    if (stall) return {};
    const uint32_t count = std::min(from.size, write_piece);
    if (on_write) on_write({from.data, count});
    broker->input(conn_, from.data, count, *clock);
    return {kshare::Io::done, count, {}};
  }
  void close() override {
    if (conn_ >= 0) broker->disconnect(conn_, *clock);
    conn_ = -1;
    open_ = false;
    empty();
  }
  kshare::Interest interest() const override {
    kshare::Interest its;
    its.fd = conn_;
    its.read = true;
    its.ready_now = waiting() != 0 && !stall;
    its.generation = generation_;
    its.due = due;
    return its;
  }
  // The network goes away without the broker noticing: the next connection finds the old one open.
  void forget() {
    conn_ = -1;
    empty();
  }
  int conn() const { return conn_; }
  // Takes over what the broker has answered.
  void pull() {
    if (conn_ < 0 || stall) return;
    if (waiting() == 0) empty();
    inbox_ += broker->take_output(conn_);
  }
  bool has_input() const { return conn_ >= 0 && !stall && waiting() != 0; }
  bool hung_up() const { return open_ && !stall && conn_ >= 0 && broker->closed(conn_); }
  // What an event loop would be told of.
  bool has_news() const {
    return open_ && !stall && (conn_ < 0 || waiting() != 0 || broker->closed(conn_));
  }

 private:
  size_t waiting() const { return inbox_.size() - read_; }
  void empty() {
    inbox_.clear();
    read_ = 0;
  }

  std::string inbox_;
  size_t read_ = 0;  // of it
  int conn_ = -1;
  uint32_t generation_ = 0;
  bool open_ = false;
  bool silent_ = false;
};

class Pool final : public kshare::TransportPool {
 public:
  explicit Pool(uint32_t count) : transports(count) {}
  uint32_t size() const override { return static_cast<uint32_t>(transports.size()); }
  kshare::Transport& transport(uint32_t index) override { return transports[index]; }
  bool entropy(kshare::MutableBytes into) override {
    for (uint8_t& octet : into) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      octet = static_cast<uint8_t>(seed >> 56);
    }
    return has_entropy;
  }
  std::vector<PipeTransport> transports;
  uint64_t seed = 1;
  bool has_entropy = true;
};

struct Seen {  // one record handed out
  std::string topic;
  int32_t partition = 0;
  int64_t offset = 0;
  int16_t count = 0;
  std::string value;
};

class AnyMember {
 public:
  AnyMember(const AnyMember&) = delete;
  AnyMember& operator=(const AnyMember&) = delete;
  virtual ~AnyMember() = default;
  virtual kshare::ShareConsumer& consumer() = 0;

  Pool pool;
  kshare::Options options;
  bool alive = true;      // polled by the world
  bool takes = true;      // calls next() whenever it is polled
  uint32_t takes_max = UINT32_MAX;  // records taken a turn
  std::vector<Seen> seen;
  std::vector<kshare::RecordId> ids;
  std::vector<kshare::Event> events;
  // Explicit mode: what to do with each record; unset: accept. False keeps it un-acked.
  std::function<bool(const kshare::Record&, kshare::Ack&)> judge;

  kshare::Status start(std::initializer_list<std::string_view> topics) {
    const kshare::Status status = consumer().start(options);
    return status.ok() ? consumer().subscribe(topics) : status;
  }
  bool has_event(kshare::EventType type) const {
    for (const auto& event : events) {
      if (event.type == type) return true;
    }
    return false;
  }
  uint64_t event_count(kshare::EventType type) const {
    uint64_t count = 0;
    for (const auto& event : events) count += event.type == type ? 1 : 0;
    return count;
  }
  // How often each (partition, offset) was handed out.
  std::map<std::pair<int32_t, int64_t>, int> times() const {
    std::map<std::pair<int32_t, int64_t>, int> all;
    for (const auto& record : seen) ++all[{record.partition, record.offset}];
    return all;
  }

  // One turn of the application's loop.
  bool turn(int64_t now) {
    const bool running = consumer().poll(kshare::Instant{now});
    kshare::Event event;
    while (consumer().next_event(event)) events.push_back(event);
    kshare::Record record;
    uint32_t taken = 0;
    while (running && takes && taken < takes_max &&
           consumer().next(record, kshare::Instant{now})) {
      ++taken;
      seen.push_back({std::string(record.topic), record.partition, record.offset,
                      record.delivery_count, std::string(record.value.text())});
      ids.push_back(record.id);
      kshare::Ack ack = kshare::Ack::accept;
      if (judge) {
        if (judge(record, ack)) static_cast<void>(consumer().acknowledge(record.id, ack));
      } else if (options.acknowledgement_mode == kshare::AckMode::explicit_mode) {
        static_cast<void>(consumer().acknowledge(record.id, ack));
      }
    }
    alive = running;
    return running;
  }

 protected:
  explicit AnyMember(uint32_t links) : pool(links) {}
};

template <const kshare::Limits& L = kshare::kTinyLimits>
class Member final : public AnyMember {
 public:
  explicit Member(uint64_t seed = 1)
      : AnyMember(L.links_max),
        storage_(std::make_unique<kshare::Storage<L>>()),
        consumer_(*storage_, pool) {
    pool.seed = seed * 7919;
    options.group_id = "group";
    options.bootstrap_servers = "127.0.0.1:9092";
  }
  kshare::ShareConsumer& consumer() override { return consumer_; }

 private:
  std::unique_ptr<kshare::Storage<L>> storage_;
  kshare::ShareConsumer consumer_;
};

class World {
 public:
  explicit World(minibroker::Config config = {}) : broker(config) {}

  minibroker::Broker broker;
  int64_t now = 1000;
  std::vector<AnyMember*> members;
  uint64_t turns = 0;

  void join(AnyMember& member) {
    for (PipeTransport& transport : member.pool.transports) {
      transport.broker = &broker;
      transport.clock = &now;
    }
    members.push_back(&member);
  }

  // Everything that is due now, then the clock jumps to what is due next, at most to `end`.
  void step(int64_t end) {
    broker.tick(now);
    bool busy = false;
    int64_t next = INT64_MAX;
    for (AnyMember* member : members) {
      if (!member->alive) continue;
      ++turns;
      for (uint32_t i = 0; i < member->pool.size(); ++i) {
        if (member->pool.transports[i].has_news()) member->consumer().wake(i);
      }
      member->turn(now);
      next = std::min(next, member->consumer().deadline().ms);
      for (uint32_t i = 0; i < member->pool.size(); ++i) {
        PipeTransport& transport = member->pool.transports[i];
        transport.pull();
        busy = busy || (transport.has_input() && member->consumer().interest(i).read);
        if (transport.hung_up()) next = std::min(next, now + 1);
      }
    }
    if (busy && still_ < 100000) {
      ++still_;
      return;
    }
    still_ = 0;
    next = std::min(next, broker.next_deadline());  // what they have just asked for counts
    now = std::min(end, std::max(next, now + 1));
  }
  template <typename Done>
  bool run_until(const Done& done, int64_t for_ms = 60000) {
    const int64_t end = now + for_ms;
    while (!done()) {
      if (now >= end) return false;
      step(end);
    }
    return true;
  }
  void run_for(int64_t ms) {
    static_cast<void>(run_until([] { return false; }, ms));
  }
  // Closes a member and waits for its end. True if it ended by itself within the time.
  bool close(AnyMember& member, int64_t timeout_ms = 5000) {
    static_cast<void>(member.consumer().close(kshare::Instant{now}, timeout_ms));
    return run_until([&] { return !member.alive; }, timeout_ms + 100);
  }

 private:
  int still_ = 0;
};

}  // namespace world

#endif  // KSHARE_TESTS_WORLD_HPP
