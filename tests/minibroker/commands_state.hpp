// SPDX-License-Identifier: Apache-2.0
// What:        commands that only look, and help.
// Flow:        included by commands.hpp only.
// Memory:      see commands.hpp.
// Valid until: see commands.hpp.
// Errors:      see commands.hpp.
#ifndef MINIBROKER_COMMANDS_STATE_HPP
#define MINIBROKER_COMMANDS_STATE_HPP

#include <sstream>

#include "commands.hpp"

namespace minibroker {

inline std::string Commands::list(const std::string& only) {
  std::ostringstream out;
  for (const Row& row : table()) {
    if (!only.empty() && only != row.name) continue;
    out << "  " << usage(row) << "\n      " << row.what << '\n';
  }
  return out.str();
}

inline std::string Commands::help(Words& w) {
  const std::string only = w.empty() ? "" : w.next("");
  w.end();
  const std::string text = list(only);
  if (text.empty()) throw Complaint{"no command " + quote(only)};
  return text + "ok";
}

inline std::string Commands::member_lines(const std::string& group) const {
  std::ostringstream out;
  const Coordinator& groups = broker_.group_coordinator();
  for (const std::string& id : groups.members(group)) {
    const Member& m = *groups.member(group, id);
    out << "  member " << id << " epoch " << m.epoch << " has";
    for (const auto& t : broker_.topics()) {
      for (const TopicPartition& tp : m.assignment) {
        if (tp.first == t.second.id) out << ' ' << t.first << '-' << tp.second;
      }
    }
    out << (m.assignment.empty() ? " nothing\n" : "\n");
  }
  return out.str();
}

inline std::string Commands::group_state(const std::string& group) const {
  std::ostringstream out;
  out << " group " << group << " epoch " << broker_.group_coordinator().epoch(group) << '\n';
  out << member_lines(group);
  for (const auto& t : broker_.topics()) {
    for (int p = 0; p < partitions_of(t.first); ++p) {
      const int64_t start = broker_.start_offset(group, t.first, p);
      if (start < 0) continue;
      const StateCounts n = broker_.counts(group, t.first, p);
      out << "  " << t.first << '-' << p << " start " << start << ": available " << n.available
          << ", acquired " << n.acquired << ", acknowledged " << n.acknowledged << ", archived "
          << n.archived << '\n';
    }
  }
  return out.str();
}

inline std::string Commands::whole_state() const {
  std::ostringstream out;
  out << " time " << front_.now() << " ms, share groups "
      << (broker_.config().share_enabled ? "on" : "off") << '\n';
  for (const int id : broker_.node_ids()) {
    const Endpoint at = broker_.endpoint(id);
    out << " node " << id << ' ' << at.host << ':' << at.port
        << (broker_.node_up(id) ? " up" : " stopped")
        << (broker_.coordinator() == id ? ", coordinator" : "") << ": connections "
        << broker_.connections(id).size() << ", share sessions " << broker_.sessions(id) << '\n';
  }
  for (const auto& t : broker_.topics()) {
    out << " topic " << t.first << '\n';
    for (size_t p = 0; p < t.second.partitions.size(); ++p) {
      const PartitionLog& log = t.second.partitions[p];
      out << "  " << t.first << '-' << p << " leader " << log.leader << " epoch "
          << log.leader_epoch << " offsets " << log.log_start << " to " << log.end << '\n';
    }
  }
  for (const std::string& group : broker_.groups()) out << group_state(group);
  out << " requests";
  for (const ApiName& api : kApiNames) {
    if (broker_.requests(api.key) > 0) out << ' ' << api.name << ' ' << broker_.requests(api.key);
  }
  out << "\n violations " << broker_.violations().size() << '\n';
  return out.str();
}

inline std::string Commands::state(Words& w) {
  if (w.empty()) return whole_state() + "ok";
  const std::string group = w.next("GROUP");
  const Place at = place(w);
  w.end();
  const StateCounts n = broker_.counts(group, at.topic, at.partition);
  std::ostringstream out;
  out << "ok " << n.available << ' ' << n.acquired << ' ' << n.acknowledged << ' ' << n.archived;
  return out.str();
}

inline std::string Commands::record_state(Words& w) {
  const std::string group = w.next("GROUP");
  const Place at = place(w);
  const int64_t end = broker_.end_offset(at.topic, at.partition);
  if (end == 0) throw Complaint{"there is no record in that partition"};
  const int64_t offset = w.number("OFFSET", 0, end - 1);
  w.end();
  const RecordState r = broker_.state_of(group, at.topic, at.partition, offset);
  constexpr const char* kNames[] = {"available", "acquired", "acknowledged", "archived"};
  return std::string("ok ") + kNames[static_cast<size_t>(r.state)] + ' ' +
         std::to_string(r.delivery_count) + (r.member.empty() ? "" : " " + r.member);
}

inline std::string Commands::offsets(Words& w) {
  const Place at = place(w);
  w.end();
  const PartitionLog& log =
      broker_.topics().at(at.topic).partitions[static_cast<size_t>(at.partition)];
  return ok(log.log_start) + ' ' + std::to_string(log.end);
}

inline std::string Commands::leader(Words& w) {
  const Place at = place(w);
  w.end();
  const PartitionLog& log =
      broker_.topics().at(at.topic).partitions[static_cast<size_t>(at.partition)];
  return ok(log.leader) + ' ' + std::to_string(log.leader_epoch);
}

inline std::string Commands::members(Words& w) {
  const std::string group = w.next("GROUP");
  w.end();
  const size_t count = broker_.group_coordinator().members(group).size();
  return member_lines(group) + ok(static_cast<int64_t>(count));
}

inline std::string Commands::requests(Words& w) {
  if (w.empty()) return ok(broker_.requests_total());
  const int16_t key = api(w);
  w.end();
  return ok(broker_.requests(key));
}

inline std::string Commands::violations(Words& w) {
  w.end();
  std::string out;
  for (const std::string& line : broker_.violations()) out += "  " + line + '\n';
  return out + ok(static_cast<int64_t>(broker_.violations().size()));
}

}  // namespace minibroker

#endif  // MINIBROKER_COMMANDS_STATE_HPP
