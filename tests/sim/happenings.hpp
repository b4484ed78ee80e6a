// SPDX-License-Identifier: Apache-2.0
// What:        carries out the items of a plan.
// Flow:        included by simulation.hpp only.
// Memory:      see simulation.hpp.
// Valid until: see simulation.hpp.
// Errors:      what an item names and there is not (any more) is another of the same kind, or none.
#ifndef KSHARE_SIM_HAPPENINGS_HPP
#define KSHARE_SIM_HAPPENINGS_HPP

#include "simulation.hpp"

namespace sim {

inline std::vector<Simulation::Part> Simulation::parts() const {
  std::vector<Part> all;
  for (const auto& t : broker.topics()) {
    for (size_t p = 0; p < t.second.partitions.size(); ++p) {
      all.push_back({t.first, static_cast<int>(p)});
    }
  }
  return all;
}

inline void Simulation::apply(const Item& item) {
  if (!item.is_fault()) {
    if (item.kind == Kind::compact || item.kind == Kind::delete_records) return shorten(item);
    return produce(item);
  }
  disturb(item);
  lets_leave_ = lets_leave_ && lets_leave(item);
  switch (item.kind) {
    case Kind::node_restart:
    case Kind::all_restart:
    case Kind::coordinator_move:
    case Kind::coordinator_lie:
    case Kind::group_forgotten: return apply_to_node(item);
    case Kind::leader_move:
    case Kind::leader_gone:
    case Kind::topic_remake:
    case Kind::partitions_add: return apply_to_topic(item);
    case Kind::error_of_api:
    case Kind::error_of_fetch:
    case Kind::error_of_acks:
    case Kind::answers_lost:
    case Kind::fetch_hidden:
    case Kind::throttle: return apply_error(item);
    case Kind::net_cut:
    case Kind::net_half_close:
    case Kind::net_hold:
    case Kind::net_lose:
    case Kind::net_refuse:
    case Kind::net_silent:
    case Kind::node_hold: return apply_to_network(item);
    default: return apply_to_member(item);
  }
}

constexpr int kLasts = 1000000;  // for item.ms
inline int times_of(const Item& item) {
  return item.c % 3 == 0 ? kLasts : static_cast<int>(1 + item.c % 6);
}
// The first five mean "later", the last six "never".
constexpr int16_t kOfHeartbeat[] = {7, 13, 14, 15, 16, 25, 29, 69, 110, 30, 35, 42, 81, 112, 999};

inline int16_t ack_error(const Item& item) {
  static const int16_t all[] = {-1, 3, 6, 7, 14, 15, 16, 29, 42, 69, 74, 100, 121, 124, 999};
  return all[item.b % (sizeof all / sizeof *all)];
}

// Whoever has records can settle them all the same, in time.
inline bool Simulation::takes_no_lock(const Item& item) const {
  const int16_t api = api_of(item);
  switch (item.kind) {
    case Kind::session_drop: return !broker.config().unload_empty_groups;  // it may be the last one
    case Kind::coordinator_move:
    case Kind::net_refuse: return true;
    case Kind::coordinator_lie: return item.ms < broker.config().session_timeout_ms / 2;
    case Kind::throttle: return broker.config().lock_ms >= 10000;  // more than a few of a second
    case Kind::error_of_api:
      return api == minibroker::kMetadata || api == minibroker::kFindCoordinator;
    default: return false;
  }
}

// Where it is all that happens, members find their coordinator, and are heard, in a second or two.
inline bool Simulation::lets_leave(const Item& item) {
  switch (item.kind) {
    case Kind::leader_move:
    case Kind::leader_gone:
    case Kind::coordinator_move:
    case Kind::session_drop:
    case Kind::member_put_out:
    case Kind::group_forgotten:
    case Kind::error_of_fetch:
    case Kind::member_kill:
    case Kind::member_close:
    case Kind::unsubscribe:
    case Kind::resubscribe:
    case Kind::topic_remake:
    case Kind::partitions_add:
    case Kind::net_cut:
    case Kind::net_half_close: return true;
    case Kind::error_of_api:
      if (api_of(item) != minibroker::kShareGroupHeartbeat) return false;
      if (item.b % (sizeof kOfHeartbeat / sizeof *kOfHeartbeat) >= 5) return false;
      heartbeats_failed_ += times_of(item);
      return heartbeats_failed_ <= 2;
    default: return false;
  }
}
// For a member at work, whose turns are far between.
inline int64_t Simulation::leaving_ms_most(const Member& m) const {
  const Habits& h = m.habits;
  return 3000 + 20 * network.habits.delay_most + 8 * (h.work_ms + h.between_ms * h.takes_most);
}
// What may come between a member and its coordinator, once, while all else is well.
inline void Simulation::hinder_leaving() {
  Dice dice(seed_, 8);
  const std::vector<int> nodes = broker.node_ids();
  const uint32_t which = dice.below(4);
  if (which == 1) broker.move_coordinator(nodes[dice.below(nodes.size())]);
  if (which == 2) {
    const int16_t code = dice.one_of<int16_t>({7, 13, 14, 15, 16});
    broker.fail_next(minibroker::kShareGroupHeartbeat, code, 1);
  }
  if (which != 3) return;
  for (int conn : network.of_node(broker.coordinator())) network.half_close(conn);
}

// Its consequences may go on for as long as a broker does not know of it, and for a lock. Errors
// wait until somebody asks.
inline void Simulation::disturb(const Item& item) {
  if (takes_no_lock(item)) {
    for (const auto& oracle : oracles) oracle->calm = false;
    return;
  }
  const bool waits = item.kind >= Kind::error_of_api && item.kind <= Kind::fetch_hidden;
  const int64_t over = waits ? kBegin + plan_.span : now + item.ms;
  const int64_t until = over + broker.config().lock_ms + 3000;
  const std::vector<Part> all = parts();
  const bool of_acks = item.kind == Kind::error_of_acks && ack_error(item) != -1;  // of the request
  const bool of_part = item.kind == Kind::error_of_fetch || of_acks ||
                       item.kind == Kind::leader_move || item.kind == Kind::leader_gone ||
                       item.kind == Kind::compact || item.kind == Kind::delete_records;
  const bool of_member = (item.kind >= Kind::member_kill && item.kind <= Kind::resubscribe) ||
                         item.kind == Kind::member_put_out || item.kind == Kind::session_drop ||
                         item.kind == Kind::net_cut || item.kind == Kind::net_half_close ||
                         item.kind == Kind::net_hold || item.kind == Kind::net_lose;
  for (const auto& oracle : oracles) {
    if (of_member) {
      oracle->disturb(until, static_cast<int>(item.a % members.size()));
    } else if (of_part && !all.empty()) {
      const Part& part = all[item.a % all.size()];
      oracle->disturb(until, -1, broker.topic_id(part.topic), part.partition);
    } else {
      oracle->disturb(until);
    }
  }
}

// ---- records

inline void Simulation::append(const Part& part, const std::vector<uint32_t>& sizes,
                               const minibroker::BatchOptions& options) {
  const Uuid id = broker.topic_id(part.topic);
  const int64_t base = broker.end_offset(part.topic, part.partition);
  std::vector<minibroker::Rec> batch;
  int64_t offset = base;
  Dice dice(seed_ * 1000 + tags_, 4);
  const bool holes = !options.control && dice.chance(20);  // compacted
  minibroker::BatchOptions its = options;
  for (uint32_t size : sizes) {
    minibroker::Rec rec;
    if (holes && dice.chance(30)) offset += dice.between(1, 3);
    rec.offset_delta = static_cast<int32_t>(offset - base);
    const uint64_t tag = ++tags_;
    rec.value = std::to_string(tag) + ":";
    rec.value->resize(std::max<size_t>(size, rec.value->size()), 'x');
    if (tag % 3 == 0) rec.key = "key";
    for (const auto& oracle : oracles) {
      Fact& f = oracle->fact(id, part.partition, offset);
      f.data = !options.control;
      f.corrupt = options.corrupt_crc;
      f.aborted = options.aborted;
      f.tag = tag;
      f.made_at = now;
      f.bytes = static_cast<uint32_t>(rec.value->size());
    }
    batch.push_back(rec);
    ++offset;
  }
  if (holes) its.last_offset_delta = static_cast<int32_t>(offset - base + dice.between(-1, 2));
  broker.tick(now);
  broker.append(part.topic, part.partition, batch, its);
}

inline void Simulation::produce(const Item& item) {
  const std::vector<Part> all = parts();
  if (all.empty()) return;
  Dice dice(seed_ * 1000 + static_cast<uint64_t>(item.number), 3);
  minibroker::BatchOptions options;
  uint32_t count = 1 + item.b % (dice.chance(20) ? 200 : 20);
  uint32_t bytes = dice.chance(20) ? 900 : 1 + item.c % 100;
  options.control = item.kind == Kind::produce_control;
  options.aborted = item.kind == Kind::produce_aborted;
  options.transactional = options.control || options.aborted;
  options.corrupt_crc = item.kind == Kind::produce_corrupt;
  if (options.control) count = 1;
  if (item.kind == Kind::produce_large) {
    count = 1 + item.b % 3;
    bytes = 5000;
  }
  std::vector<uint32_t> sizes;
  for (uint32_t i = 0; i < count; ++i) {
    sizes.push_back(item.kind == Kind::produce_large ? (i == 0 ? bytes : 10)
                                                     : 1 + dice.below(bytes));
  }
  append(all[item.a % all.size()], sizes, options);
}

inline void Simulation::shorten(const Item& item) {
  const std::vector<Part> all = parts();
  if (all.empty()) return;
  const Part& part = all[item.a % all.size()];
  const minibroker::Topic& topic = broker.topics().at(part.topic);
  const minibroker::PartitionLog& log = topic.partitions[static_cast<size_t>(part.partition)];
  if (log.batches.size() < 2) return;  // the newest segment is never compacted
  disturb(item);
  broker.tick(now);
  if (item.kind == Kind::compact) {
    const minibroker::LogBatch& batch = log.batches[item.b % (log.batches.size() - 1)];
    const int64_t first = batch.base;
    const int64_t last = batch.last;
    for (const auto& oracle : oracles) oracle->forget(topic.id, part.partition, first, last);
    return broker.remove_batches(part.topic, part.partition, first, last);
  }
  const int64_t start = log.log_start + (log.end - log.log_start) * (item.b % 100 + 1) / 100;
  for (const auto& oracle : oracles) oracle->forget(topic.id, part.partition, 0, start - 1);
  broker.set_log_start(part.topic, part.partition, start);
}

// ---- nodes

inline void Simulation::restart_node(int node, int64_t ms, bool quiet) {
  if (!broker.node_up(node)) return;
  if (quiet) {  // its machine is gone: members hear nothing more
    for (int conn : network.of_node(node)) network.lose(conn, now);
    network.silence(node, now + ms);
  }
  broker.stop_node(node, now);
  after(ms, [this, node] { broker.start_node(node); });
}

inline void Simulation::restart_all(const Item& item) {
  for (int node : broker.node_ids()) restart_node(node, item.ms, false);
  if (item.b % 2 == 0) return;
  for (int node : broker.node_ids()) {
    const minibroker::Endpoint e = broker.endpoint(node);
    const int base = broker.config().base_port;
    const int port = e.port >= base + kOtherPorts ? e.port - kOtherPorts : e.port + kOtherPorts;
    broker.set_node_address(node, e.host, port);
  }
}

inline void Simulation::apply_to_node(const Item& item) {
  const std::vector<int> nodes = broker.node_ids();
  const int node = nodes[item.a % nodes.size()];
  const int other = nodes[item.b % nodes.size()];
  switch (item.kind) {
    case Kind::node_restart: return restart_node(node, item.ms, item.b % 3 == 0);
    case Kind::all_restart: return restart_all(item);
    case Kind::coordinator_move:
      if (broker.node_up(node)) broker.move_coordinator(node);
      return;
    case Kind::coordinator_lie:
      broker.name_coordinator(node, other);
      return after(item.ms, [this, node] { broker.name_coordinator(node, -1); });
    default:
      broker.group_coordinator().forget_group(group_of(*oracles[item.a % oracles.size()]));
      return;
  }
}

// ---- topics

inline void Simulation::apply_to_topic(const Item& item) {
  const std::vector<Part> all = parts();
  if (all.empty()) return;
  const Part part = all[item.a % all.size()];
  const std::vector<int> nodes = broker.node_ids();
  const int node = nodes[item.b % nodes.size()];
  switch (item.kind) {
    case Kind::leader_move:
      if (broker.node_up(node)) {
        broker.move_leader(part.topic, part.partition, node, item.c % 2 == 0);
      }
      return;
    case Kind::leader_gone:
      broker.move_leader(part.topic, part.partition, -1, false);
      return after(item.ms, [this, part] {
        const auto t = broker.topics().find(part.topic);
        if (t == broker.topics().end()) return;
        if (static_cast<size_t>(part.partition) >= t->second.partitions.size()) return;
        if (broker.leader_of(part.topic, part.partition) >= 0) return;
        for (int n : broker.node_ids()) {
          if (broker.node_up(n)) return broker.move_leader(part.topic, part.partition, n, true);
        }
      });
    case Kind::topic_remake: {
      const int count = static_cast<int>(1 + item.b % 4);
      for (const auto& oracle : oracles) oracle->forget_topic(broker.topic_id(part.topic));
      broker.tick(now);
      broker.delete_topic(part.topic);
      return after(item.ms, [this, part, count] {
        broker.add_topic(part.topic, count, now);
        remember_names();
      });
    }
    default: {
      if (all.size() <= 14) broker.add_partitions(part.topic, static_cast<int>(1 + item.b % 2));
      return;
    }
  }
}

// ---- errors

inline void Simulation::apply_error(const Item& item) {
  static const int16_t of_share[] = {-1, 3, 6, 7, 14, 15, 16, 56, 100, 122, 123, 133, 999};
  static const int16_t of_versions[] = {-1, 7, 14, 15, 999};
  static const int16_t of_search[] = {14, 15, 16, 30};
  static const int16_t of_fetch[] = {-1, 3, 5, 6, 7, 29, 56, 74, 75, 100, 999};
  const auto pick = [&](const auto& all) { return all[item.b % (sizeof all / sizeof *all)]; };
  const int times = times_of(item);
  const bool lasts = times == kLasts;
  const std::vector<Part> all = parts();
  const int16_t api = api_of(item);
  if (lasts && (item.kind == Kind::error_of_api || item.kind == Kind::answers_lost)) {
    after(item.ms, [this, api] { broker.clear_faults(api); });
  }
  switch (item.kind) {
    case Kind::error_of_api:
      if (api == minibroker::kShareGroupHeartbeat) {
        const int16_t code = pick(kOfHeartbeat);
        const bool for_good = std::find(kOfHeartbeat + 9, std::end(kOfHeartbeat), code) !=
                              std::end(kOfHeartbeat);
        for (const auto& m : members) m->may_be_rejected |= for_good;
        return broker.fail_next(api, code, times);
      }
      if (api == minibroker::kFindCoordinator) {
        return broker.fail_next(api, pick(of_search), times);
      }
      if (api == minibroker::kApiVersions) return broker.fail_next(api, pick(of_versions), times);
      if (api == minibroker::kMetadata) return broker.fail_next(api, pick(of_fetch), times);
      return broker.fail_next(api, pick(of_share), times);
    case Kind::answers_lost: return broker.lose_answers(api, times, item.b % 2 == 0);
    case Kind::fetch_hidden: return broker.hide_next_fetch(lasts ? 1 : times, item.ms / 10);
    case Kind::throttle:
      broker.set_throttle(1 + item.c);
      return after(item.ms, [this] { broker.set_throttle(0); });
    default: break;
  }
  if (all.empty()) return;
  const Part part = all[item.a % all.size()];
  if (lasts) {
    after(item.ms, [this, part] {
      if (broker.topics().count(part.topic) == 0) return;
      const auto& its = broker.topics().at(part.topic).partitions;
      if (static_cast<size_t>(part.partition) >= its.size()) return;
      broker.fail_partition(part.topic, part.partition, 0, 0);
      broker.fail_acks(part.topic, part.partition, 0, 0);
    });
  }
  if (item.kind == Kind::error_of_fetch) {
    return broker.fail_partition(part.topic, part.partition, pick(of_fetch), times);
  }
  broker.fail_acks(part.topic, part.partition, ack_error(item), times);
}

// ---- members

inline void Simulation::apply_to_member(const Item& item) {
  Member& m = *members[item.a % members.size()];
  if (!m.running()) return;
  switch (item.kind) {
    case Kind::session_drop: return broker.drop_session(m.group, m.member_id());
    case Kind::member_put_out:
      return broker.group_coordinator().remove_member(m.group, m.member_id());
    case Kind::member_kill:
      departures_.erase(std::remove_if(departures_.begin(), departures_.end(),
                                       [&](const Departure& d) { return d.member == &m; }),
                        departures_.end());
      m.kill(item.b % 2 == 0, now + item.ms);
      m.start_at = now + static_cast<int64_t>(item.c % 3) * 1000;
      return;
    case Kind::member_close:
      m.close_then_start = true;
      m.pause_ms = item.ms;
      m.begin_close(5000);
      return departs(m, kNever);
    case Kind::member_freeze: return m.freeze(item.ms);
    case Kind::clock_jump: return m.jump(item.ms);
    case Kind::clock_still: return m.stand_still(now + item.ms);
    case Kind::unsubscribe:
      static_cast<void>(m.consumer().unsubscribe());
      m.resubscribe_at = now + item.ms;
      return departs(m, now + leaving_ms_most(m));
    default:
      m.topics.clear();
      for (size_t t = 0; t < topics.size(); ++t) {
        if ((item.b >> t & 1) != 0) m.topics.push_back(topics[t]);
      }
      if (m.topics.empty()) m.topics = topics;
      return m.subscribe();
  }
}

// ---- the network

inline void Simulation::freeze(int node, int64_t until) {
  for (int conn : network.of_node(node)) network.hold(conn, until);
  network.silence(node, until);
}

// It has begun to give a batch that is more than some members can take.
inline void Simulation::freeze_in_mid_batch(const Item& item, int node) {
  frozen_until_[node] = std::max(frozen_until_[node], now + item.ms + 15000);
  for (const Part& part : parts()) {
    if (broker.leader_of(part.topic, part.partition) != node) continue;
    append(part, std::vector<uint32_t>(20 + item.c % 80, 10), {});
    break;
  }
  after(item.b % 300, [this, node, until = now + item.ms] { freeze(node, until); });
}

inline void Simulation::apply_to_network(const Item& item) {
  const std::vector<int> nodes = broker.node_ids();
  const int node = nodes[item.a % nodes.size()];
  const auto member = static_cast<int>(item.a % members.size());
  const std::vector<int> conns = network.of_member(member);
  switch (item.kind) {
    case Kind::net_refuse: return network.refuse(node, now + item.ms);
    case Kind::net_silent: return network.silence(node, now + item.ms);
    case Kind::node_hold:
      if (is_frozen_broker(seed_)) return freeze_in_mid_batch(item, node);
      return freeze(node, now + item.ms);
    case Kind::net_hold:
      for (int conn : conns) network.hold(conn, now + item.ms);
      return;
    default: break;
  }
  if (conns.empty()) return;
  const int conn = conns[item.b / 2 % conns.size()];
  if (item.kind == Kind::net_cut) {
    return network.cut_after(conn, item.b % 2 == 1, item.c, item.ms);
  }
  if (item.kind == Kind::net_half_close) return network.half_close(conn);
  network.lose(conn, now + item.ms);
}

}  // namespace sim

#endif  // KSHARE_SIM_HAPPENINGS_HPP
