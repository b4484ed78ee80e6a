// SPDX-License-Identifier: Apache-2.0
// What:        what the scenario tests share: records, a watch over what a member sends, and the
//              tables of one consumer without its engine.
// Flow:        World, Member -> Watch -> counts per virtual second; Desk -> one machine alone.
// Memory:      the tests' own.
// Valid until: a Watch and a Desk must outlive what they watch.
// Errors:      plain values; the tests check.
#ifndef KSHARE_TESTS_SCENARIO_HPP
#define KSHARE_TESTS_SCENARIO_HPP

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "world.hpp"

namespace scenario {

inline std::vector<minibroker::Rec> records(int count, size_t bytes = 20) {
  std::vector<minibroker::Rec> all;
  for (int i = 0; i < count; ++i) {
    minibroker::Rec rec;
    rec.value = std::to_string(i) + ":" + std::string(bytes, 'x');
    all.push_back(rec);
  }
  return all;
}
inline void fill(world::World& w, const std::string& topic, int partition, int batches,
                 int per_batch, size_t bytes = 20) {
  for (int i = 0; i < batches; ++i) w.broker.append(topic, partition, records(per_batch, bytes));
}

inline kshare::Uuid to_uuid(const minibroker::Uuid& id) {
  kshare::Uuid its{};
  std::memcpy(its.octets, id.data(), id.size());
  return its;
}
inline minibroker::Uuid from_uuid(const kshare::Uuid& id) {
  minibroker::Uuid its{};
  std::memcpy(its.data(), id.octets, its.size());
  return its;
}
inline minibroker::Uuid uuid_of(uint8_t fill_with) {
  minibroker::Uuid id{};
  id.fill(fill_with);
  return id;
}

// What one member sends, by virtual time.
class Watch {
 public:
  struct Share {  // a ShareFetch or ShareAcknowledge
    int64_t now;
    int16_t key;
    minibroker::ShareRequest request;
    int node;  // that was asked
  };
  struct Beat {
    int64_t now;
    minibroker::HeartbeatRequest request;
  };

  Watch(world::World& w, world::AnyMember& m) : world_(w), member_(m) {
    for (world::PipeTransport& transport : m.pool.transports) {
      transport.on_write = [this, &transport](kshare::Bytes frame) {
        note(frame, transport.conn());
      };
    }
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch() {
    for (world::PipeTransport& transport : member_.pool.transports) transport.on_write = nullptr;
  }

  std::vector<Share> shares;
  std::vector<Beat> beats;
  int over_asked = 0;   // fetches that wanted more records than ack slots were free
  int with_wait = 0;    // the longest MaxWaitMs of a ShareFetch

  int opens() const {
    int all = 0;
    for (const world::PipeTransport& transport : member_.pool.transports) all += transport.opens;
    return all;
  }
  // The most requests in one virtual second since `from`.
  int worst(int64_t from) const {
    int most = 0;
    for (const auto& second : per_second_) {
      if (second.first >= from / 1000) most = std::max(most, second.second);
    }
    return most;
  }
  int64_t count(int16_t key) const {
    const auto found = per_key_.find(key);
    return found == per_key_.end() ? 0 : found->second;
  }

 private:
  int node_of(int conn) const {
    for (const int node : world_.broker.node_ids()) {
      for (const int its : world_.broker.connections(node)) {
        if (its == conn) return node;
      }
    }
    return -1;
  }
  void note(kshare::Bytes frame, int conn) {
    minibroker::Reader in(frame.data, frame.size);
    in.i32();
    const minibroker::RequestHeader h = minibroker::decode_header(in);
    if (!in.ok()) return;  // part of a request
    ++per_second_[world_.now / 1000];
    ++per_key_[h.key];
    in.tags();
    if (h.key == minibroker::kShareFetch) {
      shares.push_back({world_.now, h.key, minibroker::decode_share_fetch(in, h.version),
                        node_of(conn)});
      const minibroker::ShareRequest& q = shares.back().request;
      const auto& acks = member_.consumer().engine().tables().acks;
      if (q.max_records > static_cast<int32_t>(acks.free_count())) ++over_asked;
      with_wait = std::max(with_wait, q.max_wait_ms);
    } else if (h.key == minibroker::kShareAcknowledge) {
      shares.push_back({world_.now, h.key, minibroker::decode_share_acknowledge(in, h.version),
                        node_of(conn)});
    } else if (h.key == minibroker::kShareGroupHeartbeat) {
      beats.push_back({world_.now, minibroker::decode_heartbeat(in)});
    }
  }

  world::World& world_;
  world::AnyMember& member_;
  std::map<int64_t, int> per_second_;
  std::map<int16_t, int64_t> per_key_;
};

// The tables of one consumer, with no engine around them.
struct Desk {
  std::unique_ptr<kshare::Storage<kshare::kTinyLimits>> storage =
      std::make_unique<kshare::Storage<kshare::kTinyLimits>>();
  kshare::Memory memory = kshare::Memory::of(*storage);
  kshare::Tables tables;

  Desk() {
    kshare::Shared& shared = tables.shared;
    shared.limits = memory.limits;
    shared.events.attach(memory.events);
    shared.words = memory.error_text;
    shared.options.group_id = "group";
    std::memset(shared.member_id, 'm', sizeof shared.member_id);
    shared.random.seed(1);
    tables.store.attach(memory.slots, memory.store, memory.limits->slot_bytes());
    tables.lots.attach(memory.lots, memory.lists);
    tables.acks.attach(memory.acks, memory.commits, tables.lots, tables.store);
    tables.topology.attach(memory.topics, memory.topic_names, memory.brokers, memory.hosts,
                           memory.partitions, tables.lots);
    memory.make_peers();
  }
  // An assignment of partitions 0 ... count - 1 of the topic with id `fill_with`, led by `node`.
  void assign(uint8_t fill_with, int32_t count, int32_t node) {
    const kshare::Uuid id = to_uuid(uuid_of(fill_with));
    tables.topology.begin_assignment();
    for (int32_t i = 0; i < count; ++i) static_cast<void>(tables.topology.assign(id, i));
    static_cast<void>(tables.topology.end_assignment());
    for (int32_t i = 0; i < count; ++i) {
      const uint32_t row = tables.topology.find_partition(id, i);
      if (row == kshare::kNoRow) continue;
      tables.topology.set_leader(tables.topology.partition(row), node, 1);
    }
  }
  // A lot of [first, last] on `link`, all of it settled by `type` and waiting to be sent.
  uint32_t settled(uint32_t row, uint32_t link, int64_t first, int64_t last, kshare::Ack type) {
    const uint32_t lot = tables.lots.add(row, link, first, last);
    tables.lots[lot].lock_min = tables.lots[lot].lock_max = kshare::kNever;
    int64_t at = first;
    static_cast<void>(tables.acks.settle_range(lot, at, last, static_cast<uint8_t>(type)));
    tables.lots[lot].cursor = tables.lots[lot].walked = at;
    return lot;
  }
};

}  // namespace scenario

#endif  // KSHARE_TESTS_SCENARIO_HPP
