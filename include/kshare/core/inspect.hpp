// SPDX-License-Identifier: Apache-2.0
// What:        a look into a running consumer: its membership, its connections, what it is
//              subscribed to and what it has been assigned; and words for their states.
// Flow:        Engine (read only) -> here -> ShareConsumer's member(), link(), subscription(),
//              assignment() -> a log, a status page, a test.
// Memory:      the caller's structs. Code that nobody calls is not linked.
// Valid until: texts until the next call on the consumer that is not const; numbers are copies.
// Errors:      none: an index behind the last answers false. Before start() there is nothing to
//              see; after close() what was left.
//
// Made for people and for tests that wait for a state, not for the inner loop: a link is a walk
// over the ranges acquired (lots_max) and the partitions, a partition one over the partitions.
#ifndef KSHARE_CORE_INSPECT_HPP
#define KSHARE_CORE_INSPECT_HPP

#include <cstdint>
#include <string_view>

#include "kshare/core/engine.hpp"
#include "kshare/wire/api.hpp"

namespace kshare {

struct MemberInfo {
  MemberState state = MemberState::idle;
  int32_t epoch = 0;         // 0: not in the group
  int32_t coordinator = -1;  // node id of the group coordinator; -1: it is being looked for
  std::string_view id;       // as the broker's tools show it; another one after each start()
  Instant due = kNever;      // the next heartbeat, or search; kNever: one is on its way, or none
};

// A subscribed topic.
struct SubscribedTopic {
  std::string_view name;
  Uuid id{};        // zero: the cluster has not said that the topic exists
  Status status{};  // why not, {broker_error, Kafka's code}; ok otherwise
};

// A partition that the group coordinator wants this member to read.
struct AssignedPartition {
  std::string_view topic;  // empty: the name behind the id is not known yet
  Uuid topic_id{};
  int32_t partition = 0;
  int32_t leader = -1;  // node id; -1: being looked for
  int32_t leader_epoch = -1;
  int32_t link = -1;        // that serves its leader, for link(); -1: none, leaders may take turns
  bool in_session = false;  // it is in a share session: its records come
  Status status{};          // the error told last, {broker_error, Kafka's code}; ok once it is over
  Instant retry_at{};       // after an error: not asked for before
};

enum class LinkRole : uint8_t { control, leader };  // group coordinator, or leader of partitions

// A connection. Which exist is a matter of Limits::links_max; one that is not wanted is idle.
struct LinkInfo {
  LinkRole role = LinkRole::control;
  LinkState state = LinkState::idle;
  int32_t node = -1;      // -1: idle, or an entry of bootstrap.servers
  std::string_view host;  // empty: idle, or the address is not known any more
  uint16_t port = 0;
  bool can_renew = false;  // it is ready, and its broker renews locks (Kafka 4.2 and later)
  bool leaving = false;    // it makes room for another leader, or its broker leads nothing of ours
  bool busy = false;       // a request is out: `request`, since `sent_at`
  Api request = Api::api_versions;
  Instant sent_at{};
  uint32_t failures = 0;      // connections in a row that brought no answer of use
  Instant retry_at = kNever;  // the next attempt, if it is waiting for one
  int32_t session_epoch = 0;  // of the share session; 0: none is open
  uint32_t partitions = 0;    // in that session
  uint32_t lots = 0;          // ranges of offsets acquired over it that are not settled yet:
  uint64_t waiting = 0;       // offsets in them not handed out yet,
  uint32_t unsettled = 0;     // records handed out, and ranges, not confirmed as acknowledged
};

// ---- Words.
inline const char* describe(MemberState state) {
  switch (state) {
    case MemberState::idle: return "not in a group";
    case MemberState::joining: return "joining";
    case MemberState::stable: return "joined";
    case MemberState::leaving: return "leaving";
  }
  return "unknown";
}
inline const char* describe(LinkRole role) {
  return role == LinkRole::control ? "control" : "leader";
}
inline const char* describe(LinkState state) {
  switch (state) {
    case LinkState::idle: return "not in use";
    case LinkState::waiting: return "waiting to connect";
    case LinkState::opening: return "connecting";
    case LinkState::negotiating: return "asking for versions";
    case LinkState::ready: return "ready";
  }
  return "unknown";
}
inline const char* describe(Api api) { return api_name(api); }

// ---- What ShareConsumer's functions of these names forward to.
namespace inspect {

inline Status kafka_status(int16_t code) {
  return code == 0 ? Status{} : Status{Errc::broker_error, code};
}

inline MemberInfo member(const Engine& engine) {
  const Member& from = engine.member();
  MemberInfo its;
  its.state = from.state();
  its.epoch = from.epoch();
  its.coordinator = from.coordinator();
  if (engine.shared().member_id[0] != '\0') its.id = engine.shared().member();
  if (engine.running()) its.due = from.deadline();
  return its;
}

inline bool subscription(const Engine& engine, uint32_t i, SubscribedTopic& its) {
  const Topology& topology = engine.tables().topology;
  for (uint32_t at = 0; at < topology.topic_count(); ++at) {
    const TopicRow& row = topology.topic(at);
    if (!row.subscribed || i-- != 0) continue;
    its = {topology.name(at), row.id, kafka_status(row.told)};
    return true;
  }
  return false;
}

inline int32_t link_to(const Engine& engine, int32_t node) {
  for (uint32_t i = 1; node >= 0 && i < engine.link_count(); ++i) {
    const Link& link = engine.link(i);
    if (link.in_use() && link.target() == node) return static_cast<int32_t>(i);
  }
  return -1;
}

inline bool assignment(const Engine& engine, uint32_t i, AssignedPartition& its) {
  const Topology& topology = engine.tables().topology;
  for (uint32_t at = 0; at < topology.partition_count(); ++at) {
    const PartitionRow& row = topology.partition(at);
    if (!row.assigned || i-- != 0) continue;
    its = AssignedPartition{};
    its.topic = topology.topic_name(at);
    its.topic_id = topology.topic(row.topic).id;
    its.partition = row.index;
    its.leader = row.leader;
    its.leader_epoch = row.leader_epoch;
    its.link = link_to(engine, row.leader);
    its.in_session = row.sessions != 0;
    its.status = kafka_status(row.told);
    its.retry_at = row.retry_at;
    return true;
  }
  return false;
}

inline void count_held(const Engine& engine, uint32_t i, LinkInfo& its) {
  const Tables& tables = engine.tables();
  for (uint32_t at = 0; at < tables.topology.partition_count(); ++at) {
    its.partitions += tables.topology.partition(at).sessions >> i & 1;
  }
  for (uint32_t at = 0; at < tables.lots.count(); ++at) {
    const Lot& lot = tables.lots[at];
    if (!lot.used || lot.link != i) continue;
    ++its.lots;
    its.unsettled += lot.open;
    if (lot.cursor <= lot.last) its.waiting += static_cast<uint64_t>(lot.owed());
  }
}

inline bool link(const Engine& engine, uint32_t i, LinkInfo& its) {
  if (i >= engine.link_count()) return false;
  const Peer& peer = engine.peer(i);
  const Link& from = peer.link;
  const Address where = engine.address(from);
  its = LinkInfo{};
  its.role = i == 0 ? LinkRole::control : LinkRole::leader;
  its.state = from.state();
  if (from.target() >= 0) its.node = from.target();
  its.host = where.host;
  its.port = where.port;
  its.can_renew = from.ready() && from.can_renew();
  its.leaving = peer.leaving;
  its.busy = from.busy();
  its.request = from.request();
  its.sent_at = from.sent_at();
  its.failures = from.attempts();
  if (from.state() == LinkState::waiting) its.retry_at = from.retry_at();
  if (peer.session.is_open()) its.session_epoch = peer.session.epoch();
  if (i != 0) count_held(engine, i, its);
  return true;
}

}  // namespace inspect
}  // namespace kshare

#endif  // KSHARE_CORE_INSPECT_HPP
