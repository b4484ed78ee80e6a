// SPDX-License-Identifier: Apache-2.0
// What:        one simulation: a cluster, a network, groups of members, and a plan of what happens
//              to them, all of it drawn from a seed; then calm, and the oracles' last questions.
// Flow:        seed, plan -> run() -> empty, or what is wrong.
// Memory:      the tests' own.
// Valid until: a Simulation runs once.
// Errors:      wrong() says the first.
#ifndef KSHARE_SIM_SIMULATION_HPP
#define KSHARE_SIM_SIMULATION_HPP

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "member.hpp"
#include "plan.hpp"

namespace sim {

class Simulation {
 public:
  Simulation(uint64_t seed, const Plan& plan, bool verbose)
      : seed_(seed), plan_(plan), verbose_(verbose), dice_(seed, 1), broker(draw_config()),
        network(broker, now, seed), wire_(now) {
    network.tap = &wire_;
    wire_.verbose = verbose;
    network.habits = draw_network();
    wire_.life_of = [this](int member) { return members[static_cast<size_t>(member)]->life(); };
    draw_topics();
    draw_groups();
    broker.on_acquire = [this](const minibroker::AcquireEvent& event) {
      for (const auto& oracle : oracles) {
        if (group_of(*oracle) != event.group) continue;
        oracle->locked(broker.topic_id(event.topic), event.partition, event.first, event.last);
      }
    };
    broker.on_skip = [this](const std::string& group, int64_t offsets) {
      for (const auto& oracle : oracles) {
        if (group_of(*oracle) == group) oracle->skipped += offsets;
      }
    };
  }

  // What is wrong; empty if nothing is.
  std::string run() {
    for (const Item& item : plan_.items) {
      run_until([&] { return false; }, item.at + kBegin - now);
      if (!wrong().empty()) return wrong();
      if (verbose_) std::printf("%7lld  %s\n", static_cast<long long>(now), item.text().c_str());
      apply(item);
    }
    run_until([] { return false; }, plan_.span + kBegin - now);
    calm_down();
    const int64_t calm_ms = calm_ms_most();
    bool settled = run_until([this] { return all_settled(); }, calm_ms);
    if (!settled && has_ghosts()) {  // its join was still on its way
      settled = run_until([this] { return all_settled(); },
                          calm_ms + broker.config().session_timeout_ms);
    }
    if (verbose_ && !settled) print_state();
    if (wrong().empty() && !settled) fail("no end in " + std::to_string(calm_ms) + " ms of calm");
    if (wrong().empty()) check_members();
    if (wrong().empty()) close_all();
    if (wrong().empty()) check_end();
    return wrong();
  }

  uint64_t handed() const {
    uint64_t sum = 0;
    for (const auto& oracle : oracles) sum += oracle->handed;
    return sum;
  }
  int64_t now = 1000;

 private:
  static constexpr int64_t kBegin = 1000;

  struct Timer {
    int64_t at;
    std::function<void()> act;
  };

  // ---- what there is

  minibroker::Config draw_config() {
    const bool lasting = is_prompt(seed_) || is_calm(seed_);  // locks do not run out
    const bool old = dice_.chance(25) && !lasting;
    minibroker::Config c = old ? minibroker::kafka_4_1() : minibroker::Config();
    c.seed = seed_;
    c.nodes = dice_.one_of({1, 2, 3, 3, 3, 4});
    if (is_frozen_broker(seed_)) c.nodes = std::max(c.nodes, 2);
    c.lock_ms = lasting ? 10000 : dice_.one_of<int64_t>({1000, 3000, 10000, 10000});
    if (is_broken_lines(seed_) || is_frozen_broker(seed_)) c.lock_ms = 300000;
    c.delivery_limit = dice_.one_of({5, 5, 10, 50});
    c.max_record_locks = dice_.one_of({100, 2000, 2000});
    c.read_committed = dice_.chance(30);
    c.renew_enabled = lasting || dice_.chance(80);
    c.session_timeout_ms = dice_.one_of<int64_t>({6000, 15000, 45000});
    if (is_frozen_broker(seed_)) c.session_timeout_ms = 600000;
    c.heartbeat_interval_ms = dice_.one_of({500, 1000, 5000});
    c.assignment_delay_ms = dice_.one_of<int64_t>({0, 1000});
    c.init_delay_ms = dice_.one_of<int64_t>({0, 100, 700});
    c.max_api_versions_version = dice_.one_of({c.max_api_versions_version, 4});
    c.partial_batches = dice_.chance(80);
    c.zombie_polls = dice_.chance(30);
    c.acks_first = dice_.chance(30);
    c.release_wakes = dice_.chance(50);
    c.unload_empty_groups = dice_.chance(70);
    c.failover = dice_.chance(60);
    return c;
  }
  Network::Habits draw_network() {
    Network::Habits h;
    h.delay_most = dice_.one_of<int64_t>({0, 1, 5, 50});
    h.delay_least = dice_.chance(50) ? 0 : h.delay_most / 2;
    h.split_percent = dice_.one_of<uint32_t>({0, 10, 60});
    h.buffer = dice_.one_of<size_t>({200, 4096, 65536});
    return h;
  }
  void draw_topics() {
    const int64_t count = dice_.between(1, 3);
    for (int64_t i = 0; i < count; ++i) {
      topics.push_back("topic" + std::to_string(i));
      if (dice_.chance(90)) broker.add_topic(topics.back(), static_cast<int>(dice_.between(1, 5)));
      else late_topics_.push_back(topics.back());
    }
    remember_names();
  }
  void draw_groups() {
    const bool calm = is_calm(seed_);
    const int64_t groups = dice_.chance(25) ? 2 : 1;
    for (int64_t g = 0; g < groups; ++g) {
      oracles.push_back(std::make_unique<Oracle>(now));
      Oracle& oracle = *oracles.back();
      oracle.read_committed = broker.config().read_committed;
      oracle.delivery_limit = broker.config().delivery_limit;
      oracle.lock_ms = broker.config().lock_ms;
      int64_t count = dice_.between(1, groups == 1 ? 4 : 2);
      if (has_lone_members()) count = 1;  // nothing goes to others meanwhile
      for (int64_t i = 0; i < count; ++i) add_member(oracle, g, calm);
    }
    remember_names();
  }
  void add_member(Oracle& oracle, int64_t group, bool calm) {
    const auto index = static_cast<int>(members.size());
    members.push_back(std::make_unique<Member>(index, network, oracle, now, seed_));
    Member& m = *members.back();
    const minibroker::Config& c = broker.config();
    m.habits = Habits::draw(dice_, c.lock_ms, calm, is_prompt(seed_), c.nodes);
    if (is_frozen_broker(seed_)) {
      m.habits.options.request_timeout_ms = 100000;
      m.habits.size = dice_.one_of({3, 4});
    }
    if (broker.config().max_share_fetch_version < 2) {
      m.habits.options.acquire_mode = kshare::AcquireMode::batch_optimized;
    }
    m.group = "group" + std::to_string(group);
    m.verbose = verbose_;
    m.topics = topics;
    m.bootstrap = bootstrap();
    m.start_at = now + (calm ? 0 : dice_.one_of<int64_t>({0, 0, 100, 3000}));
    if (!calm) oracle.calm = false;
    const bool can_renew = m.habits.options.auto_renew && c.renew_enabled &&
                           c.max_share_fetch_version >= 2 && m.habits.work_ms <= c.lock_ms / 20;
    const bool turns = static_cast<int>(m.links()) - 1 < c.nodes;  // leaders take turns
    const bool waits = turns || m.habits.hold > 0 || m.habits.forget > 0 || m.habits.work_ms > 0 ||
                       m.habits.between_ms > 0;
    if (turns) oracle.calm = false;
    if (!is_prompt(seed_) || !can_renew || waits) oracle.prompt = false;
    if (!can_renew || (waits && m.habits.size == 0)) oracle.gives_back = true;
  }
  bool has_lone_members() const { return is_broken_lines(seed_) || is_frozen_broker(seed_); }
  // The ports of today, and those at which all may come back.
  std::string bootstrap() const {
    const int base = broker.config().base_port;
    std::string list = "127.0.0.1:" + std::to_string(base);
    if (broker.config().nodes > 1) list += ",127.0.0.1:" + std::to_string(base + 1);
    return list + ",127.0.0.1:" + std::to_string(base + kOtherPorts);
  }
  void remember_names() {
    for (const auto& topic : broker.topics()) {
      for (const auto& oracle : oracles) oracle->names[topic.second.id] = topic.first;
    }
  }

  // ---- time

  const std::string& wrong() {
    if (wrong_.empty() && !broker.violations().empty()) wrong_ = broker.violations().front();
    for (const auto& oracle : oracles) {
      if (wrong_.empty()) wrong_ = oracle->wrong();
    }
    return wrong_;
  }
  void fail(const std::string& what) { oracles.front()->fault(what); }
  void after(int64_t ms, std::function<void()> act) {
    timers_.push_back({now + ms, std::move(act)});
  }

  template <typename Done>
  bool run_until(const Done& done, int64_t for_ms) {
    const int64_t end = now + for_ms;
    while (!done()) {
      if (now >= end || !wrong().empty()) return false;
      step(end);
    }
    return true;
  }
  void step(int64_t end) {
    fire_timers();
    broker.tick(now);
    network.pump();
    for (const auto& member : members) {
      Member& m = *member;
      m.go_on();
      if (!m.running() && m.start_at <= now) m.start();
      if (m.is_due()) {
        m.turn();
      }
    }
    check_departures();
    network.pump();
    if (is_frozen_broker(seed_)) check_others_flow();
    int64_t next = std::min(broker.next_deadline(), network.next_deadline());
    for (const auto& m : members) next = std::min(next, m->is_due() ? now : m->due_at());
    for (const Timer& timer : timers_) next = std::min(next, timer.at);
    if (next <= now && ++still_ < kTurnsMost) return;
    if (still_ >= kTurnsMost) fail("more than " + std::to_string(kTurnsMost) + " turns in 1 ms");
    still_ = 0;
    now = std::min(end, std::max(next, now + 1));
  }
  void fire_timers() {
    for (size_t i = 0; i < timers_.size();) {
      if (timers_[i].at > now) {
        ++i;
        continue;
      }
      const auto act = std::move(timers_[i].act);
      timers_.erase(timers_.begin() + static_cast<std::ptrdiff_t>(i));
      act();
    }
  }

  // Whose leader has not been frozen since it was made is handed out in a time that depends on how
  // much there is, and on nothing else.
  void check_others_flow() {
    if (now < flow_checked_at_ + 200) return;
    flow_checked_at_ = now;
    for (const auto& oracle : oracles) {
      int64_t count = 0;
      int64_t oldest = now;
      for (const Part& part : parts()) {
        const int64_t frozen = frozen_until_[broker.leader_of(part.topic, part.partition)];
        oracle->each_waiting(broker.topic_id(part.topic), part.partition, [&](const Fact& f) {
          ++count;
          if (f.made_at >= frozen) oldest = std::min(oldest, f.made_at);
        });
      }
      int64_t& most = waiting_most_[oracle.get()];  // since nothing waited
      most = count == 0 ? 0 : std::max(most, count);
      if (now - oldest > 3000 + 100 * most) {
        oracle->fault("records wait since " + std::to_string(oldest) +
                      " ms though their leaders are well");
      }
    }
  }

  // ---- leaving

  // Somebody who closes (out when it has ended: kNever), or has unsubscribed until `back_at`.
  struct Departure {
    Member* member;
    std::string group, id;
    int64_t due_at;
    int64_t back_at;
  };
  void departs(Member& m, int64_t due_at) {
    departures_.push_back({&m, m.group, m.member_id(), due_at, m.resubscribe_at});
  }
  // Whoever leaves is out of its group, unless what has happened may have kept it from saying so.
  void check_departures() {
    for (size_t i = 0; i < departures_.size();) {
      const Departure d = departures_[i];
      const bool same = d.member->running() && d.member->member_id() == d.id;
      const bool closing = same && d.member->is_closing();
      if (d.due_at == kNever ? closing : now < d.due_at) {
        ++i;
        continue;
      }
      departures_.erase(departures_.begin() + static_cast<std::ptrdiff_t>(i));
      const bool away = same && !closing && d.member->resubscribe_at == d.back_at;
      if (!lets_leave_ || (d.due_at != kNever && !away)) continue;
      if (!is_in_group(d.group, d.id)) continue;
      fail("member " + std::to_string(d.member->index()) + " has not left");
    }
  }
  bool is_in_group(const std::string& group, const std::string& id) const {
    const auto ids = broker.group_coordinator().members(group);
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  }

  // ---- the end

  void calm_down() {
    if (verbose_) std::printf("%7lld  calm\n", static_cast<long long>(now));
    while (!timers_.empty()) {  // what was to end later ends now
      const auto act = std::move(timers_.front().act);
      timers_.erase(timers_.begin());
      act();
    }
    for (int16_t api : kApis) broker.clear_faults(api);
    for (const auto& t : broker.topics()) {
      for (size_t p = 0; p < t.second.partitions.size(); ++p) {
        broker.fail_partition(t.first, static_cast<int>(p), 0, 0);
        broker.fail_acks(t.first, static_cast<int>(p), 0, 0);
      }
    }
    broker.hide_next_fetch(0, 0);
    broker.set_throttle(0);
    network.be_calm();
    for (const std::string& topic : late_topics_) broker.add_topic(topic, 1, now);
    remember_names();
    for (const auto& m : members) {
      m->become_calm();
      m->pause_ms = 0;  // of one that is closing
      if (!m->running()) m->start_at = std::min(m->start_at, now + 100);
      const bool other = m->topics != topics || m->resubscribe_at != kNever;
      m->topics = topics;
      if (m->running() && other) m->resubscribe_at = now;
    }
  }
  bool all_settled() {
    for (const auto& m : members) {
      if (!m->running() || m->is_closing() || m->consumer().unsettled() != 0) return false;
    }
    for (const auto& oracle : oracles) {
      if (!is_settled(group_of(*oracle))) return false;
    }
    return true;
  }
  void print_state() {
    for (const auto& m : members) {
      if (!m->running()) continue;
      std::printf("         member %d: assigned %u, unsettled %u, held %u, %s\n", m->index(),
                  m->consumer().assignment_count(), m->consumer().unsettled(),
                  m->consumer().held_count(), m->group.c_str());
    }
    for (const auto& oracle : oracles) {
      for (const Part& part : parts()) {
        const auto c = broker.counts(group_of(*oracle), part.topic, part.partition);
        std::printf("         %s %s[%d] led by %d: %lld available, %lld acquired\n",
                    group_of(*oracle).c_str(), part.topic.c_str(), part.partition,
                    broker.leader_of(part.topic, part.partition),
                    static_cast<long long>(c.available), static_cast<long long>(c.acquired));
      }
    }
  }
  std::string group_of(const Oracle& oracle) const {
    for (const auto& m : members) {
      if (&m->oracle == &oracle) return m->group;
    }
    return "";
  }
  bool is_settled(const std::string& group) const {
    for (const auto& t : broker.topics()) {
      for (size_t p = 0; p < t.second.partitions.size(); ++p) {
        const auto counts = broker.counts(group, t.first, static_cast<int>(p));
        if (counts.available != 0 || counts.acquired != 0) return false;
      }
    }
    return true;
  }
  // Locks and sessions of the dead end, one request times out, then it goes on; for as long as it
  // takes where a link goes round many leaders, or records are asked for one by one. What is near
  // its delivery limit comes one by one: a ShareFetch, a Fetch for what is large, an ack.
  int64_t calm_ms_most() const {
    int64_t time_out = 0;
    int64_t each = 1 + 6 * network.habits.delay_most;
    int64_t left = 0;
    bool slow = false;
    for (const auto& m : members) {
      const kshare::Options& o = m->habits.options;
      time_out = std::max<int64_t>(time_out,
                                   o.request_timeout_ms + o.connection_setup_timeout_ms);
      const bool turns = static_cast<int>(m->links()) - 1 < broker.config().nodes;
      slow = slow || turns || o.max_poll_records == 1;
      for (const Part& part : parts()) {
        const auto counts = broker.counts(m->group, part.topic, part.partition);
        left += counts.available + counts.acquired;
      }
    }
    const int64_t locks = has_lone_members() ? 0 : 2 * broker.config().lock_ms;
    int64_t wait = locks + 5000 + time_out;
    wait += 300 * broker.config().delivery_limit;  // what is too large is released so often
    if (has_ghosts()) wait += broker.config().session_timeout_ms;
    if (slow) wait += broker.config().session_timeout_ms + 100000;
    return wait + left * (slow ? std::max<int64_t>(each, 500) : each);
  }
  // Members that are gone, but not for the coordinator: they have partitions.
  bool has_ghosts() const {
    for (const auto& m : members) {
      for (const std::string& id : broker.group_coordinator().members(m->group)) {
        if (!is_running(id)) return true;
      }
    }
    return false;
  }
  bool is_running(const std::string& member_id) const {
    return std::any_of(members.begin(), members.end(), [&](const auto& m) {
      return m->running() && m->member_id() == member_id;
    });
  }
  // Whoever has settled all is a member, and stays one.
  void check_members() {
    run_until([] { return false; }, broker.config().session_timeout_ms + 15000);
    for (const auto& m : members) {
      if (m->running() && is_in_group(m->group, m->member_id())) continue;
      if (wrong().empty()) fail("member " + std::to_string(m->index()) + " is out of its group");
    }
  }
  void close_all() {
    std::vector<std::pair<std::string, std::string>> ids;
    hinder_leaving();
    for (const auto& m : members) {
      ids.push_back({m->group, m->member_id()});
      m->begin_close(5000);
    }
    const auto closed = [this] {
      for (const auto& m : members) {
        if (m->running()) return false;
      }
      return true;
    };
    if (!run_until(closed, 6000) && wrong().empty()) fail("close() does not end");
    run_until([] { return false; }, 200 + 4 * network.habits.delay_most);
    for (const auto& id : ids) {
      if (is_in_group(id.first, id.second)) fail("it has not left");
    }
    run_until([] { return false; }, 25000);  // the broker learns that others were killed
    for (int node : broker.node_ids()) {
      if (broker.sessions(node) != 0) fail("a share session is left after all have closed");
    }
  }
  void check_end() {
    for (const auto& oracle : oracles) {
      const std::string group = group_of(*oracle);
      oracle->check_end([&](const Place& place) {
        const auto state = broker.state_of(group, oracle->names.at(std::get<0>(place)),
                                           std::get<1>(place), std::get<2>(place));
        return state.state == minibroker::State::Acknowledged ||
               state.state == minibroker::State::Archived;
      });
    }
    for (const std::string& note : broker.notes()) {
      // Acks that are left when a connection is back go through a session that is empty.
      if (note != "a session is opened without partitions") fail("a pointless request: " + note);
    }
  }

  // ---- what happens: happenings.hpp

  struct Part {
    std::string topic;
    int partition;
  };
  std::vector<Part> parts() const;
  void apply(const Item& item);
  void produce(const Item& item);
  void append(const Part& part, const std::vector<uint32_t>& sizes,
              const minibroker::BatchOptions& options);
  void shorten(const Item& item);
  void disturb(const Item& item);
  static int16_t api_of(const Item& item) {
    return kApis[item.a % (sizeof kApis / sizeof *kApis)];
  }
  bool takes_no_lock(const Item& item) const;
  bool lets_leave(const Item& item);
  int64_t leaving_ms_most(const Member& m) const;
  void hinder_leaving();
  void apply_to_node(const Item& item);
  void apply_to_member(const Item& item);
  void apply_to_topic(const Item& item);
  void apply_to_network(const Item& item);
  void freeze(int node, int64_t until);
  void freeze_in_mid_batch(const Item& item, int node);
  void apply_error(const Item& item);
  void restart_node(int node, int64_t ms, bool quiet);
  void restart_all(const Item& item);

  static constexpr int kOtherPorts = 500;
  static constexpr int kTurnsMost = 20000;
  static constexpr int16_t kApis[] = {
      minibroker::kFetch,       minibroker::kMetadata,   minibroker::kFindCoordinator,
      minibroker::kApiVersions, minibroker::kShareFetch, minibroker::kShareAcknowledge,
      minibroker::kShareGroupHeartbeat};

  const uint64_t seed_;
  const Plan plan_;
  const bool verbose_;
  Dice dice_;
  std::string wrong_;
  uint64_t tags_ = 0;
  int still_ = 0;
  std::vector<Timer> timers_;
  std::vector<Departure> departures_;
  bool lets_leave_ = true;  // nothing has happened that may keep a member from its coordinator
  int heartbeats_failed_ = 0;
  std::vector<std::string> late_topics_;
  std::map<int, int64_t> frozen_until_;  // by node; and what a freeze leaves behind is over
  std::map<const Oracle*, int64_t> waiting_most_;
  int64_t flow_checked_at_ = 0;

 public:
  minibroker::Broker broker;
  Network network;
  std::vector<std::string> topics;
  std::vector<std::unique_ptr<Oracle>> oracles;
  std::vector<std::unique_ptr<Member>> members;

 private:
  Wire wire_;
};

}  // namespace sim

#include "happenings.hpp"

#endif  // KSHARE_SIM_SIMULATION_HPP
