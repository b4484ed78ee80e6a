// SPDX-License-Identifier: Apache-2.0
// What:        Control: the control link: to any broker for Metadata and FindCoordinator, then to
//              the group coordinator for heartbeats. Of its own, so that a long poll on a leader
//              link never delays a heartbeat.
// Flow:        core/engine.hpp -> here -> core/member.hpp, core/discovery.hpp.
// Memory:      one decoder at a time.
// Errors:      a broker that cannot be reached: the next of the bootstrap list and of the brokers
//              known by then. A lost coordinator is searched again.
#ifndef KSHARE_CORE_CONTROL_HPP
#define KSHARE_CORE_CONTROL_HPP

#include <cstdint>

#include "kshare/core/address.hpp"
#include "kshare/core/discovery.hpp"
#include "kshare/core/link.hpp"
#include "kshare/core/member.hpp"
#include "kshare/core/tables.hpp"

namespace kshare {

class Control {
 public:
  static constexpr int64_t kSearchMsMax = 2000;  // for a coordinator that is lost while closing

  Member member{};
  Discovery discovery{};

  // Where the link goes: a broker by id, or an entry of the bootstrap list as -2 - i.
  static Address address(int32_t target, const Tables& tables) {
    if (target <= kBootstrap) {
      return bootstrap_entry(tables.shared.options.bootstrap_servers,
                             static_cast<uint32_t>(kBootstrap - target));
    }
    const uint32_t row = tables.topology.find_broker(target);
    if (row == kNoRow) return {};
    return {tables.topology.host(row), tables.topology.broker(row).port};
  }

  // The link leads to the coordinator, as far as is known.
  bool is_there(const Link& link) const {
    return member.coordinator() != Member::kUnknown && link.ready();
  }

  // Sends what is due. Answers when to be asked again at the latest.
  Instant step(Link& link, Tables& tables, Instant now) {
    member.trace(tables.shared);
    if (discovery.overdue(now, tables.shared) && tables.topology.known_brokers() != 0) {
      rebootstrap(link, {Errc::timed_out, 0}, tables, now);
    }
    if (!link.in_use()) link.set_target(candidate(tables), now, tables.shared);
    aim(link, tables, now);
    if (link.busy() || !link.can_send(now)) return link.deadline(now);
    Instant wake = link.deadline(now);
    const bool urgent = !discovery.has_answer() || !member.heartbeat_due(now);
    if (urgent && discovery.due_at() <= now) {
      send_metadata(link, tables, now);
    } else if (member.search_due(now)) {
      send_search(link, tables, now);
    } else if (member.heartbeat_due(now)) {
      send_heartbeat(link, tables, now);
    } else {
      return earlier(wake, earlier(discovery.due_at(), member.deadline()));
    }
    return link.deadline(now);
  }

  // Bytes of an answer have come.
  void read(Link& link, Tables& tables, Instant now) {
    int32_t throttle_ms = 0;
    int16_t error = kafka::kNone;
    switch (link.request()) {
      case Api::metadata:
        if (!discovery.read(decoder_.metadata, link.reader(), tables, now)) return;
        throttle_ms = decoder_.metadata.throttle_ms();
        error = decoder_.metadata.error();
        break;
      case Api::find_coordinator:
        if (!read_search(link, tables)) return;
        throttle_ms = decoder_.search.throttle_ms();
        error = decoder_.search.error();
        break;
      case Api::share_group_heartbeat:
        if (!member.read_heartbeat(decoder_.heartbeat, link.reader(), tables.topology)) return;
        throttle_ms = decoder_.heartbeat.throttle_ms();
        error = decoder_.heartbeat.error();
        break;
      case Api::fetch:
      case Api::api_versions:
      case Api::share_fetch:
      case Api::share_acknowledge: return;
    }
    if (!link.end_answer(throttle_ms, now)) return;
    link.trace(TraceKind::answer, {}, error, tables.shared);
    on_answer(link, tables, now);
  }

  // A broker, not always the one behind `link`, says that it is not whom we take it for, or that we
  // are to begin anew (error 129). Once in a while that is done: a broker that says so for ever is
  // like one that cannot be reached.
  void misdirected(Link& link, Tables& tables, Instant now) {
    if (now < again_at_) return;
    again_at_ = now + kRebootstrapPauseMs;
    rebootstrap(link, {Errc::broker_error, kafka::kRebootstrapRequired}, tables, now);
  }

  void stop(const Tables& tables) {
    member.stop();
    member.trace(tables.shared);
  }
  void on_lost(Link& link, bool was_asking, Tables& tables, Instant now) {
    if (was_asking && link.request() == Api::metadata) discovery.lost(now, tables.shared);
    if (was_asking && link.request() == Api::share_group_heartbeat) {
      member.heartbeat_lost(now, tables.shared);
    }
    member.coordinator_lost(now, tables.shared);
    // The back-off grows from round to round: one living entry among many dead ones is found soon.
    if (link.attempts() <= 1) rounds_ = 0;  // it had been of use
    const bool round_over = ++turn_ % candidate_count(tables) == 0;
    link.retarget(candidate(tables), now + tables.shared.reconnect_ms(round_over ? rounds_ : 0u));
    if (round_over && rounds_ < 16) ++rounds_;
  }

 private:
  static constexpr int32_t kBootstrap = -2;
  static constexpr int64_t kRebootstrapPauseMs = 60000;

  // KIP-899, KIP-1102: forgets the brokers known and goes on with bootstrap.servers. An entry of it
  // that is being tried is not given up: it may answer yet.
  void rebootstrap(Link& link, Status why, Tables& tables, Instant now) {
    tables.shared.events.push(EventType::rebootstrapping, why);
    tables.shared.note_cluster({});
    tables.topology.forget_brokers();
    member.coordinator_lost(now, tables.shared);
    discovery.refresh(now);  // whoever answers is asked for it first, then for the coordinator
    if (link.target() <= kBootstrap) return;
    if (link.state() == LinkState::waiting) link.retarget(candidate(tables), link.retry_at());
    else if (link.in_use()) leave(link, tables, now);
  }
  // The broker behind the link is of no use: the next one, after a back-off.
  void leave(Link& link, Tables& tables, Instant now) {
    const bool asking = link.busy();
    link.on_lost(now, tables.shared);
    on_lost(link, asking, tables, now);
  }

  union Decoder {
    Decoder() : metadata() {}
    MetadataDecoder metadata;
    FindCoordinatorDecoder search;
    ShareGroupHeartbeatDecoder heartbeat;
  };

  static uint32_t candidate_count(const Tables& tables) {
    return bootstrap_count(tables.shared.options.bootstrap_servers) +
           tables.topology.known_brokers();
  }
  // The bootstrap entries and the brokers known, in turn.
  int32_t candidate(const Tables& tables) const {
    const uint32_t entries = bootstrap_count(tables.shared.options.bootstrap_servers);
    uint32_t turn = turn_ % candidate_count(tables);
    if (turn < entries) return kBootstrap - static_cast<int32_t>(turn);
    turn -= entries;
    for (const BrokerRow& row : tables.topology.brokers()) {
      if (row.used && turn-- == 0) return row.node_id;
    }
    return kBootstrap;
  }

  // Once the coordinator is known the link belongs there.
  void aim(Link& link, const Tables& tables, Instant now) {
    const int32_t wanted = member.coordinator();
    if (wanted == Member::kUnknown || link.target() == wanted || link.busy()) return;
    const Address here = address(link.target(), tables);
    const Address there = address(wanted, tables);
    if (there.host.empty()) return;
    if (link.ready() && here.port == there.port && same_text(here.host, there.host)) {
      link.name_target(wanted);
    } else {
      link.set_target(wanted, now, tables.shared);
    }
  }

  void send_metadata(Link& link, Tables& tables, Instant now) {
    Writer out = link.begin(Api::metadata, tables.shared);
    discovery.encode(out, tables);
    discovery.begin_answer();
    decoder_.metadata.begin(link.version(Api::metadata));
    link.send(out, now, tables.shared);
  }
  void send_search(Link& link, Tables& tables, Instant now) {
    Writer out = link.begin(Api::find_coordinator, tables.shared);
    member.begin_search(out, tables.shared);
    decoder_.search.begin(tables.shared.sink());
    found_ = -1;
    link.send(out, now, tables.shared);
  }
  void send_heartbeat(Link& link, Tables& tables, Instant now) {
    Writer out = link.begin(Api::share_group_heartbeat, tables.shared);
    member.encode_heartbeat(out, tables.topology, tables.shared);
    decoder_.heartbeat.begin(tables.shared.sink());
    ++tables.shared.stats.heartbeats;
    link.send(out, now, tables.shared, 0, member.epoch_to_send());
  }

  bool read_search(Link& link, Tables& tables) {
    for (;;) {
      switch (decoder_.search.next(link.reader())) {
        case FindCoordinatorDecoder::Item::none: return false;
        case FindCoordinatorDecoder::Item::coordinator: {
          const NodeEndpoint& node = decoder_.search.coordinator();
          if (tables.topology.note_broker(node.node_id, node.host, node.port, true)) {
            found_ = node.node_id;
          } else if (node.node_id >= 0) {
            tables.shared.say("the group coordinator's address does not fit: raise "
                              "Limits::host_bytes or brokers_max");
            tables.shared.keep({Errc::too_long, 0});
          }
          break;
        }
        case FindCoordinatorDecoder::Item::end: return true;
      }
    }
  }

  void on_answer(Link& link, Tables& tables, Instant now) {
    switch (link.request()) {
      case Api::metadata:
        if (discovery.take_appeared()) member.topic_appeared(now);
        if (decoder_.metadata.error() != kafka::kRebootstrapRequired) break;
        leave(link, tables, now);
        misdirected(link, tables, now);
        break;
      case Api::find_coordinator:
        if (member.on_search(decoder_.search, found_, now, tables.shared)) {
          tables.topology.keep_broker(found_);
        }
        break;
      case Api::share_group_heartbeat:
        member.on_heartbeat(decoder_.heartbeat, link.sent_at(), now, tables.topology,
                            tables.shared);
        if (tables.topology.any_leader_unknown()) discovery.refresh(now);
        break;
      case Api::fetch:
      case Api::api_versions:
      case Api::share_fetch:
      case Api::share_acknowledge: break;
    }
  }

  Decoder decoder_{};
  Instant again_at_{};   // error 129 is not heeded before
  int32_t found_ = -1;
  uint16_t turn_ = 0;    // counts the candidates tried
  uint8_t rounds_ = 0;   // through all of them, in vain
};

}  // namespace kshare

#endif  // KSHARE_CORE_CONTROL_HPP
