// SPDX-License-Identifier: Apache-2.0
// What:        commands that set groups, move things and make faults.
// Flow:        included by commands.hpp only.
// Memory:      see commands.hpp.
// Valid until: see commands.hpp.
// Errors:      see commands.hpp.
#ifndef MINIBROKER_COMMANDS_FAULTS_HPP
#define MINIBROKER_COMMANDS_FAULTS_HPP

#include "commands.hpp"

namespace minibroker {

// --- groups ---------------------------------------------------------------------------------

inline std::string Commands::lock(Words& w) {
  const std::string group = w.next("GROUP");
  const int ms = w.small("MS", 1);
  w.end();
  broker_.group_settings(group).lock_ms = ms;
  return ok();
}

inline std::string Commands::limit(Words& w) {
  const std::string group = w.next("GROUP");
  const int count = w.small("COUNT", 1, INT16_MAX);
  w.end();
  broker_.group_settings(group).delivery_limit = count;
  return ok();
}

inline std::string Commands::config(Words& w) {
  const std::string group = w.next("GROUP");
  const std::string name = w.next("NAME");
  const std::string value = w.next("VALUE");
  w.end();
  set_group(broker_.group_settings(group), name, value);
  return ok();
}

// "GROUP MEMBER" or "GROUP all".
inline std::vector<std::string> Commands::member_words(Words& w, std::string& group) {
  group = w.next("GROUP");
  const std::string member = w.next("MEMBER");
  w.end();
  const std::vector<std::string> all = broker_.group_coordinator().members(group);
  if (member == "all") return all;
  if (std::find(all.begin(), all.end(), member) != all.end()) return {member};
  throw Complaint{"group " + quote(group) + " has no member " + quote(member) +
                  "; members lists them"};
}

inline std::string Commands::expel(Words& w) {
  std::string group;
  const std::vector<std::string> ids = member_words(w, group);
  for (const std::string& id : ids) broker_.group_coordinator().remove_member(group, id);
  return ok(static_cast<int64_t>(ids.size()));
}

inline std::string Commands::forget(Words& w) {
  const std::string group = w.next("GROUP");
  w.end();
  broker_.group_coordinator().forget_group(group);
  return ok();
}

inline std::string Commands::drop_session(Words& w) {
  std::string group;
  const std::vector<std::string> ids = member_words(w, group);
  for (const std::string& id : ids) broker_.drop_session(group, id);
  return ok(static_cast<int64_t>(ids.size()));
}

inline std::string Commands::share(Words& w) {
  const bool on = choose("share", w.next("on or off"), "off", "on");
  w.end();
  broker_.set_share_enabled(on);
  return ok();
}

// --- answers --------------------------------------------------------------------------------

inline std::string Commands::error(Words& w) {
  const int16_t key = api(w);
  const int16_t what = code(w);
  const int count = times(w);
  if (what == kNone) broker_.clear_faults(key);
  else if (count > 0) broker_.fail_next(key, what, count);
  return ok();
}

inline std::string Commands::partition_error(Words& w, PartitionFault fault) {
  const Place at = place(w);
  const int16_t what = code(w);
  const int count = times(w);
  (broker_.*fault)(at.topic, at.partition, what, what == kNone ? 0 : count);
  return ok();
}

inline std::string Commands::fetch_error(Words& w) {
  return partition_error(w, &Broker::fail_partition);
}

inline std::string Commands::ack_error(Words& w) { return partition_error(w, &Broker::fail_acks); }

inline std::string Commands::lose(Words& w) {
  const int16_t key = api(w);
  broker_.lose_answers(key, times(w), false);
  return ok();
}

inline std::string Commands::cut(Words& w) {
  const int16_t key = api(w);
  broker_.lose_answers(key, times(w), true);
  return ok();
}

inline std::string Commands::hide(Words& w) {
  const int count = w.small("COUNT");
  const int throttle_ms = w.empty() ? 0 : w.small("THROTTLE-MS");
  w.end();
  broker_.hide_next_fetch(count, throttle_ms);
  return ok();
}

// --- nodes and connections ------------------------------------------------------------------

inline std::string Commands::move(Words& w) {
  const Place at = place(w);
  const int to = node_or_none(w);
  const bool hint = w.empty() || !choose("the last word", w.next(""), "hint", "nohint");
  w.end();
  if (to >= 0 && !broker_.node_up(to)) {
    throw Complaint{"node " + std::to_string(to) + " is stopped; start it first"};
  }
  broker_.move_leader(at.topic, at.partition, to, hint);
  return ok();
}

inline std::string Commands::coordinator(Words& w) {
  const int to = node_or_none(w);
  w.end();
  broker_.move_coordinator(to);
  return ok();
}

inline std::string Commands::stop(Words& w) {
  const int which = node(w);
  w.end();
  if (!broker_.node_up(which)) {
    throw Complaint{"node " + std::to_string(which) + " is stopped already"};
  }
  broker_.stop_node(which, front_.now());
  front_.follow_nodes();
  return ok();
}

inline std::string Commands::start(Words& w) {
  const int which = node(w);
  w.end();
  if (broker_.node_up(which)) throw Complaint{"node " + std::to_string(which) + " is running"};
  broker_.start_node(which);
  if (!front_.follow_nodes()) throw Complaint{"its port is taken; it is tried again"};
  return ok();
}

inline std::string Commands::cluster(Words& w) {
  const std::string id = w.next("ID");
  w.end();
  broker_.set_cluster_id(id);
  return ok();
}

inline std::string Commands::drop(Words& w) {
  const int which = w.empty() ? -1 : node(w);
  w.end();
  const std::vector<int> all = broker_.connections(which);
  for (const int conn : all) broker_.close_connection(conn, front_.now());
  return ok(static_cast<int64_t>(all.size()));
}

inline std::string Commands::stall(Words& w) {
  const int ms = w.small("MS");
  const std::vector<int> which = w.empty() ? broker_.node_ids() : std::vector<int>{node(w)};
  w.end();
  for (const int id : which) front_.stall(id, ms);
  return ok();
}

inline std::string Commands::delay(Words& w) {
  const int ms = w.small("MS");
  w.end();
  front_.delay(ms);
  return ok();
}

inline std::string Commands::throttle(Words& w) {
  const int ms = w.small("MS");
  w.end();
  broker_.set_throttle(ms);
  return ok();
}

inline std::string Commands::advance(Words& w) {
  const int ms = w.small("MS");
  w.end();
  front_.advance(ms);
  return ok();
}

inline std::string Commands::clear(Words& w) {
  w.end();
  for (const ApiName& api : kApiNames) broker_.clear_faults(api.key);
  for (const auto& t : broker_.topics()) {
    for (int p = 0; p < partitions_of(t.first); ++p) {
      broker_.fail_partition(t.first, p, kNone, 0);
      broker_.fail_acks(t.first, p, kNone, 0);
    }
  }
  broker_.hide_next_fetch(0, 0);
  broker_.set_throttle(0);
  front_.delay(0);
  for (const int id : broker_.node_ids()) front_.stall(id, 0);
  return ok();
}

}  // namespace minibroker

#endif  // MINIBROKER_COMMANDS_FAULTS_HPP
