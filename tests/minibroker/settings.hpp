// SPDX-License-Identifier: Apache-2.0
// What:        settings by Kafka's property names: of the cluster (-X) and of one group (config).
// Flow:        name and value -> Config or GroupSettings.
// Memory:      none.
// Errors:      Complaint: the names there are, or what the value may be. Values may be smaller than
//              Kafka allows, so that tests need not wait.
#ifndef MINIBROKER_SETTINGS_HPP
#define MINIBROKER_SETTINGS_HPP

#include <string>

#include "broker/config.hpp"
#include "words.hpp"

namespace minibroker {

inline bool choose(const std::string& name, const std::string& value, const char* off,
                   const char* on) {
  if (value != off && value != on) {
    throw Complaint{name + " is " + off + " or " + on + ", not " + quote(value)};
  }
  return value == on;
}

inline int whole(const std::string& name, const std::string& value, int least) {
  return static_cast<int>(to_number(value, name, least, INT32_MAX));
}

constexpr const char* kGroupSettingNames =
    "share.record.lock.duration.ms, share.delivery.count.limit, share.partition.max.record.locks, "
    "share.auto.offset.reset, share.isolation.level, share.renew.acknowledge.enable";
constexpr const char* kClusterSettingNames =
    "group.share.session.timeout.ms, group.share.heartbeat.interval.ms, group.share.max.size, "
    "group.share.max.share.sessions, group.share.assignment.interval.ms, fetch.max.bytes, "
    "socket.request.max.bytes";

// False: there is no such name.
inline bool try_group_setting(GroupSettings& g, const std::string& name, const std::string& value) {
  if (name == "share.record.lock.duration.ms") {
    g.lock_ms = whole(name, value, 1);
  } else if (name == "share.delivery.count.limit") {
    g.delivery_limit = static_cast<int>(to_number(value, name, 1, INT16_MAX));
  } else if (name == "share.partition.max.record.locks") {
    g.max_record_locks = whole(name, value, 1);
  } else if (name == "share.auto.offset.reset") {
    g.start_at_latest = choose(name, value, "earliest", "latest");
  } else if (name == "share.isolation.level") {
    g.read_committed = choose(name, value, "read_uncommitted", "read_committed");
  } else if (name == "share.renew.acknowledge.enable") {
    g.renew_enabled = choose(name, value, "false", "true");
  } else {
    return false;
  }
  return true;
}

inline void set_group(GroupSettings& g, const std::string& name, const std::string& value) {
  if (try_group_setting(g, name, value)) return;
  throw Complaint{"no setting " + quote(name) + "; of a group: " + kGroupSettingNames};
}

inline void set_cluster(Config& c, const std::string& name, const std::string& value) {
  GroupSettings g{c.lock_ms,         c.delivery_limit, c.max_record_locks,
                  c.start_at_latest, c.read_committed, c.renew_enabled};
  if (try_group_setting(g, name, value)) {
    c.lock_ms = g.lock_ms;
    c.delivery_limit = g.delivery_limit;
    c.max_record_locks = g.max_record_locks;
    c.start_at_latest = g.start_at_latest;
    c.read_committed = g.read_committed;
    c.renew_enabled = g.renew_enabled;
  } else if (name == "group.share.session.timeout.ms") {
    c.session_timeout_ms = whole(name, value, 1);
  } else if (name == "group.share.heartbeat.interval.ms") {
    c.heartbeat_interval_ms = whole(name, value, 1);
  } else if (name == "group.share.max.size") {
    c.group_max_size = whole(name, value, 1);
  } else if (name == "group.share.max.share.sessions") {
    c.max_share_sessions = whole(name, value, 1);
  } else if (name == "group.share.assignment.interval.ms") {
    c.assignment_delay_ms = whole(name, value, 0);
  } else if (name == "fetch.max.bytes") {
    c.max_fetch_bytes = whole(name, value, 1024);
  } else if (name == "socket.request.max.bytes") {
    c.max_frame_bytes = whole(name, value, 1024);
  } else {
    throw Complaint{"no setting " + quote(name) + "; there are " + kClusterSettingNames +
                    ", and as defaults of groups " + kGroupSettingNames};
  }
}

// The versions and manners of one release of Kafka, on top of what is in `c`.
inline void imitate(Config& c, const std::string& version) {
  if (version == "4.4") return;
  c.max_api_versions_version = 4;
  if (version == "4.3" || version == "4.2") return;
  if (version != "4.1") throw Complaint{"Kafka is 4.1, 4.2, 4.3 or 4.4, not " + quote(version)};
  const Config old = kafka_4_1();
  c.max_share_fetch_version = old.max_share_fetch_version;
  c.merge_acquired = old.merge_acquired;
  c.isolate_poison = old.isolate_poison;
  c.decrement_on_close = old.decrement_on_close;
  c.stale_connections = old.stale_connections;
}

}  // namespace minibroker

#endif  // MINIBROKER_SETTINGS_HPP
