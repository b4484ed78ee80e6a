// SPDX-License-Identifier: Apache-2.0
// What:        ApiVersions, Metadata, FindCoordinator and ShareGroupHeartbeat at the mini broker.
// Flow:        included by broker.hpp only.
// Memory:      see broker.hpp.
// Valid until: see broker.hpp.
// Errors:      a body that does not parse is left unanswered: the caller closes the connection.
#ifndef MINIBROKER_BROKER_META_HPP
#define MINIBROKER_BROKER_META_HPP

#include "broker.hpp"

namespace minibroker {

// Kafka's rule for ClientSoftwareName and ClientSoftwareVersion.
inline bool valid_software_name(const std::string& s) {
  const auto alnum = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  return !s.empty() && alnum(s.front()) && alnum(s.back()) &&
         std::all_of(s.begin(), s.end(), [&](char c) { return alnum(c) || c == '-' || c == '.'; });
}

// Version 3 cannot name supported features that begin at level 0.
inline void Broker::encode_features(Writer& w, int16_t version) const {
  const int level = share_groups_on() ? config_.share_version : std::min(0, config_.share_version);
  Writer supported, finalized;
  supported.array(version >= 4 ? 2 : 1).compact("metadata.version").i16(7).i16(30).tags();
  if (version >= 4) supported.compact("share.version").i16(0).i16(2).tags();
  finalized.array(level >= 0 ? 2 : 1).compact("metadata.version").i16(30).i16(30).tags();
  if (level >= 0) finalized.compact("share.version").i16(level).i16(level).tags();
  w.uvarint(3).uvarint(0).uvarint(supported.out.size()).raw(supported.out);
  w.uvarint(1).uvarint(8).i64(1);
  w.uvarint(2).uvarint(finalized.out.size()).raw(finalized.out);
}

inline void Broker::handle_api_versions(int id, const RequestHeader& h, Reader& in) {
  const int max = config_.max_api_versions_version;
  if (h.version < 0 || h.version > max) {  // answered in the format of version 0
    Writer w;
    w.i16(kUnsupportedVersion).i32(1).i16(kApiVersions).i16(0).i16(max);
    return send(id, h, w.out, false);
  }
  int16_t error = kNone;
  if (h.version >= 3) {
    const std::string software = in.string(true);
    const std::string version = in.string(true);
    if (h.version >= 5) {  // KIP-1242: both or neither
      const std::optional<std::string> cluster = in.nullable_string(true);
      const int64_t node = in.i32();
      if (cluster.has_value() != (node >= 0)) error = kInvalidRequest;
      const bool ours = cluster == config_.cluster_id && node == conns_.at(id).node;
      if (cluster.has_value() && !ours) error = kRebootstrapRequired;
      if (cluster.has_value()) ++introductions_;
    }
    in.tags();
    if (!in.done()) return;
    if (!valid_software_name(software) || !valid_software_name(version)) {
      violate(id, "client software name or version");
      error = kInvalidRequest;
    }
  }
  if (!in.done()) return;
  if (error == kNone) error = injected(id, kApiVersions);
  std::map<int16_t, std::pair<int16_t, int16_t>> apis = config_.more_apis;
  const auto narrow = [](int v) { return static_cast<int16_t>(v); };
  apis[kFetch] = {4, narrow(config_.max_fetch_version)};
  apis[kMetadata] = {0, narrow(config_.max_metadata_version)};
  apis[kFindCoordinator] = {0, narrow(config_.max_find_coordinator_version)};
  apis[kApiVersions] = {0, narrow(max)};
  apis[kShareGroupHeartbeat] = {1, 1};
  apis[kShareFetch] = apis[kShareAcknowledge] = {1, narrow(config_.max_share_fetch_version)};
  if (error != kNone) apis.clear();
  const bool flexible = h.version >= 3;
  Writer w;
  w.i16(error);
  if (flexible) w.array(apis.size());
  else w.i32(static_cast<int64_t>(apis.size()));
  for (const auto& api : apis) {
    w.i16(api.first).i16(api.second.first).i16(api.second.second);
    if (flexible) w.tags();
  }
  if (h.version >= 1) w.i32(config_.throttle_ms);
  if (flexible) encode_features(w, h.version);
  send(id, h, w.out, false);
}

inline void Broker::encode_topic(Writer& w, const Topic* topic, const Uuid& id,
                                 const std::optional<std::string>& name, int16_t error) const {
  w.i16(error).compact(name).uuid(id).boolean(false);
  w.array(topic == nullptr || error != kNone ? 0 : topic->partitions.size());
  for (size_t p = 0; topic != nullptr && error == kNone && p < topic->partitions.size(); ++p) {
    const PartitionLog& log = topic->partitions[p];
    w.i16(log.leader < 0 ? kLeaderNotAvailable : kNone).i32(static_cast<int64_t>(p));
    w.i32(log.leader).i32(log.leader_epoch);
    std::vector<int> up, down;
    for (int r : log.replicas) (nodes_.at(r).up ? up : down).push_back(r);
    w.array(log.replicas.size());
    for (int r : log.replicas) w.i32(r);
    w.array(up.size());
    for (int r : up) w.i32(r);
    w.array(down.size());
    for (int r : down) w.i32(r);
    w.tags();
  }
  w.i32(INT32_MIN).tags();
}

inline void Broker::handle_metadata(int id, const RequestHeader& h, Reader& in) {
  struct Wanted {
    Uuid id;
    std::optional<std::string> name;
  };
  std::vector<Wanted> wanted;
  const int64_t count = in.array(true);
  for (int64_t i = 0; i < count && in.ok(); ++i) {
    wanted.push_back({in.uuid(), in.nullable_string(true)});
    in.tags();
  }
  in.boolean();
  in.boolean();
  in.tags();
  if (!in.done()) return;
  if (count < 0) {
    for (const auto& t : topics_) wanted.push_back({Uuid{}, t.first});
  }
  const int16_t fault = injected(id, kMetadata);  // v13: of the answer; before: of every topic
  const bool by_topic = fault != kNone && h.version < 13;
  Writer w;
  w.i32(config_.throttle_ms);
  size_t up = 0;
  for (const auto& n : nodes_) up += n.second.up ? 1 : 0;
  w.array(up);
  int controller = -1;
  for (const auto& n : nodes_) {
    if (!n.second.up) continue;
    if (controller < 0) controller = n.first;
    w.i32(n.first).compact(n.second.host).i32(n.second.port);
    if (config_.rack.empty()) w.null();
    else w.compact(config_.rack);
    w.tags();
  }
  w.compact(config_.cluster_id).i32(controller);
  w.array(wanted.size());
  for (const Wanted& q : wanted) {
    const bool by_id = !is_zero(q.id);
    if (by_id == q.name.has_value()) violate(id, "Metadata wants a topic by name and id, or none");
    const auto name = names_.find(q.id);
    const auto t = by_id ? (name == names_.end() ? topics_.end() : topics_.find(name->second))
                         : topics_.find(q.name.value_or(""));
    int16_t error = t != topics_.end() ? int16_t{kNone}
                    : by_id            ? int16_t{kUnknownTopicId}
                                       : int16_t{kUnknownTopicOrPartition};
    if (by_topic) error = fault;
    const Topic* topic = t == topics_.end() ? nullptr : &t->second;
    std::optional<std::string> told = by_id ? std::nullopt : q.name;
    if (topic != nullptr) told = topic->name;
    encode_topic(w, topic, topic != nullptr ? topic->id : q.id, told, error);
  }
  if (h.version >= 13) w.i16(fault);
  w.tags();
  send(id, h, w.out);
}

inline void Broker::handle_find_coordinator(int id, const RequestHeader& h, Reader& in) {
  const int8_t type = in.i8();
  std::vector<std::string> keys;
  const int64_t count = in.array(true);
  for (int64_t i = 0; i < count && in.ok(); ++i) keys.push_back(in.string(true));
  in.tags();
  if (!in.done()) return;
  int16_t error = injected(id, kFindCoordinator);
  if (type != 0) {
    violate(id, "FindCoordinator with a key type other than GROUP");
    error = kInvalidRequest;
  }
  const auto lie = coordinator_lies_.find(conns_.at(id).node);
  const int named = lie == coordinator_lies_.end() ? coordinator_node_ : lie->second;
  const auto n = nodes_.find(named);
  const bool known = n != nodes_.end() && (n->second.up || lie != coordinator_lies_.end());
  if (error == kNone && !known) error = kCoordinatorNotAvailable;
  Writer w;
  w.i32(config_.throttle_ms).array(keys.size());
  for (const std::string& key : keys) {
    w.compact(key);
    if (error == kNone) w.i32(named).compact(n->second.host).i32(n->second.port).i16(0).null();
    else w.i32(-1).compact("").i32(-1).i16(error).compact("no coordinator");
    w.tags();
  }
  w.tags();
  send(id, h, w.out);
}

inline void Broker::handle_heartbeat(int id, const RequestHeader& h, Reader& in) {
  const HeartbeatRequest q = decode_heartbeat(in);
  if (!in.done()) return;
  HeartbeatResult r;
  r.error = injected(id, kShareGroupHeartbeat);
  if (r.error != kNone) r.message = "injected";
  else if (!share_groups_on()) r.error = kUnsupportedVersion;
  else if (coordinator_node_ != conns_.at(id).node) r.error = kNotCoordinator;
  else r = groups_.heartbeat(q, topics_, now_);
  if (r.error == kInvalidRequest && r.message != "injected") violate(id, "heartbeat: " + r.message);
  const bool ok = r.error == kNone;
  Writer w;
  w.i32(config_.throttle_ms).i16(r.error);
  if (ok) w.null().compact(q.member).i32(r.epoch).i32(config_.heartbeat_interval_ms);
  else w.compact(r.message).null().i32(0).i32(0);
  if (!ok || !r.assignment) {
    w.i8(-1).tags();
    return send(id, h, w.out);
  }
  std::map<Uuid, std::vector<int32_t>> topics;
  for (const TopicPartition& tp : *r.assignment) topics[tp.first].push_back(tp.second);
  w.i8(1).array(topics.size());
  for (const auto& t : topics) {
    w.uuid(t.first).array(t.second.size());
    for (int32_t p : t.second) w.i32(p);
    w.tags();
  }
  w.tags().tags();
  send(id, h, w.out);
}

}  // namespace minibroker

#endif  // MINIBROKER_BROKER_META_HPP
