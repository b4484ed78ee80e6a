// SPDX-License-Identifier: Apache-2.0
// What:        Engine: the whole consumer, sans I/O. Time and bytes come in, bytes and records go
//              out.
// Flow:        consumer.hpp moves bytes -> Engine -> link, member, session, intake -> handout ->
//              the application.
// Memory:      Storage's, through Memory; itself a few hundred bytes.
// Valid until: see record/record.hpp for records.
// Errors:      status() keeps the first failure; it is ok again once the group has been joined.
//              Fatal ones end it.
#ifndef KSHARE_CORE_ENGINE_HPP
#define KSHARE_CORE_ENGINE_HPP

#include <cstdint>
#include <new>
#include <string_view>

#include "kshare/core/address.hpp"
#include "kshare/core/control.hpp"
#include "kshare/core/custody.hpp"
#include "kshare/core/handout.hpp"
#include "kshare/core/leaders.hpp"
#include "kshare/core/locks.hpp"
#include "kshare/core/settings.hpp"
#include "kshare/core/storage.hpp"

namespace kshare {

class Engine {
 public:
  // Apart, as start() makes everything anew with it: nothing of an earlier life is left.
  __attribute__((noinline)) explicit Engine(const Memory& memory) : memory_(memory) {
    Shared& shared = tables_.shared;
    shared.limits = memory_.limits;
    shared.events.attach(memory_.events);
    shared.words = memory_.error_text;
    tables_.store.attach(memory_.slots, memory_.store, memory_.limits->slot_bytes());
    tables_.lots.attach(memory_.lots, memory_.lists);
    tables_.acks.attach(memory_.acks, memory_.commits, tables_.lots, tables_.store);
    tables_.topology.attach(memory_.topics, memory_.topic_names, memory_.brokers, memory_.hosts,
                            memory_.partitions, tables_.lots);
    memory_.make_peers();
    leaders_.attach(memory_.peers);
    locks_.attach(memory_.peers);
    custody_.attach(memory_.peers);
  }

  uint32_t link_count() const { return memory_.peers.size; }
  Link& link(uint32_t i) { return memory_.peers[i].link; }
  const Link& link(uint32_t i) const { return memory_.peers[i].link; }
  const Peer& peer(uint32_t i) const { return memory_.peers[i]; }
  Shared& shared() { return tables_.shared; }
  const Shared& shared() const { return tables_.shared; }
  const Tables& tables() const { return tables_; }
  const Member& member() const { return control_.member; }
  bool running() const { return tables_.shared.life == Life::running; }

  // ---- Life. `entropy`: 24 random octets.
  Status start(const Options& options, const uint8_t (&entropy)[24]) {
    if (tables_.shared.life != Life::idle) return {Errc::already_running, 0};
    KSHARE_ASSERT(*memory_.user == nullptr || *memory_.user == this);
    const Memory memory = memory_;
    ::new (static_cast<void*>(this)) Engine(memory);
    *memory_.user = this;
    const Errc checked = keep_options(options, memory_, tables_.shared);
    if (checked != Errc::ok) {
      tables_.shared.keep({checked, 0});
      *memory_.user = nullptr;
      return {checked, 0};
    }
    tables_.acks.number_from(load_be32(entropy));
    encode_member_id(entropy, tables_.shared.member_id);
    uint64_t seed = 0;
    std::memcpy(&seed, entropy + 16, sizeof seed);
    tables_.shared.random.seed(seed);
    tables_.shared.life = Life::running;
    return {};
  }

  Status subscribe(Span<const std::string_view> names) {
    if (!running() || closing_) return {Errc::not_running, 0};
    if (names.size == 0) return unsubscribe();
    const Errc checked = check_names(names);
    if (checked != Errc::ok) return {checked, 0};
    tables_.topology.begin_subscription();
    bool fit = true;
    for (std::string_view name : names) fit = tables_.topology.subscribe(name) && fit;
    control_.member.subscription_changed(now_);
    control_.discovery.refresh(now_);
    return {fit ? Errc::ok : Errc::too_many, 0};
  }
  Status unsubscribe() {
    if (!running() || closing_) return {Errc::not_running, 0};
    tables_.topology.begin_subscription();
    static_cast<void>(control_.member.leave(now_));
    tables_.topology.clear_assignment();
    revoke();
    return {};
  }
  Status close(Instant now, int64_t timeout_ms) {
    if (tables_.shared.life == Life::idle) return {Errc::not_running, 0};
    if (closing_) return {};
    closing_ = true;
    now_ = tables_.shared.now = later(now_, now);
    if (tables_.shared.failed()) {
      static_cast<void>(finish());
      return {};
    }
    close_at_ = now_ + timeout_ms;
    current_ = RecordId{};
    tables_.topology.begin_subscription();
    tables_.topology.clear_assignment();
    release_all();
    revoke();
    leaders_.begin_closing();
    // Nobody joins to leave at once; a member leaves behind its sessions, or as the end comes near.
    Member& member = control_.member;
    if (member.state() == MemberState::joining) static_cast<void>(member.leave(now_));
    return {};
  }

  // ---- Time passes: timers, then whatever is due is written into the send windows.
  // Answers when to be called again at the latest.
  // `heard`: what the network has brought was taken in before; only then is a time-out one.
  Instant step(Instant now, bool heard = true) {
    now_ = tables_.shared.now = later(now_, now);
    if (!running()) {
      if (tables_.shared.failed() && closing_) static_cast<void>(finish());  // while it closed
      return kNever;
    }
    tables_.shared.stats.events_lost = tables_.shared.events.lost();
    for (Peer& peer : memory_.peers) {
      if (heard && peer.link.timed_out(now_)) lost(peer.link, {Errc::timed_out, 0});
    }
    control_.member.expire(now_);
    locks_.on_poll(now_);
    if (now_ >= locks_.due_at()) locks_.expire(tables_, closing_, now_);
    custody_.watch_stall(tables_);
    static_cast<void>(Handout::next(tables_, nullptr, now_));
    tables_.release_given_back();
    Instant wake = leaders_.step(tables_, now_);
    if (closing_ && step_closing()) return kNever;
    if (!closing_ || control_.member.active()) {
      wake = earlier(wake, control_.step(link(0), tables_, now_));
    }
    if (closing_) wake = earlier(wake, now_ < leave_at() ? leave_at() : close_at_);
    return earlier(wake, locks_.due_at());
  }
  Instant acks_due() const { return leaders_.acks_due(tables_, now_); }

  // ---- The transports' side.
  Address address(const Link& its) const { return Control::address(its.target(), tables_); }
  // Answers where to.
  Address opening(Link& its) {
    if (its.attempts() != 0) ++tables_.shared.stats.reconnects;
    its.on_opening(now_, tables_.shared.options.connection_setup_timeout_ms, tables_.shared);
    return address(its);
  }
  void connected(Link& its) { its.on_connected(now_, tables_.shared); }
  // New bytes are in the receive window.
  void received(Link& its, uint32_t count) {
    its.received(count, now_, tables_.shared);
    if (its.in_answer()) read(its);
    if (its.reader().malformed()) lost(its, {Errc::malformed, 0});
  }
  void lost(Link& its, Status why) {
    if (its.state() == LinkState::idle || its.state() == LinkState::waiting) return;
    tell_lost(its, why);
    const bool was_asking = its.busy();
    const Api asked = its.request();
    const uint32_t i = its.index();
    if (i != 0) leaders_.on_lost(i, tables_);
    its.on_lost(now_, tables_.shared, why);
    if (i == 0) {
      control_.on_lost(its, was_asking && asked != Api::api_versions, tables_, now_);
    } else {
      control_.discovery.refresh(now_ + tables_.shared.options.retry_backoff_ms);
    }
  }

  // ---- Records.
  bool next(Record& record, Instant now) {
    if (!running() || closing_) return false;
    now_ = later(now_, now);
    const uint32_t pending = tables_.acks.pending();
    if (tables_.shared.is_implicit()) accept_current();
    const Handout::Step step = Handout::next(tables_, &record, now_);
    const bool handed_out = step == Handout::Step::record;
    if (step != Handout::Step::blocked) moved_ = locks_.on_asked(tables_) || moved_;
    moved_ = moved_ || handed_out || tables_.acks.pending() != pending;
    if (handed_out) {
      current_ = tables_.acks.id_of(record.id.slot);  // a copy would stall on stores just made
    } else if (moved_) {  // before anyone sleeps, step() looks at what has become possible
      news_ = true;
      moved_ = false;
    }
    return handed_out;
  }
  Status acknowledge(RecordId id, Ack type) {
    if (!running()) return {Errc::not_running, 0};
    if (type < Ack::accept || type > Ack::renew) return {Errc::wrong_mode, 0};
    // In implicit mode next() has accepted what is not held any more.
    if (tables_.shared.is_implicit() && type == Ack::renew && !tables_.acks.is_held(id)) {
      const Status known = tables_.acks.check(id);
      return known.ok() ? Status{Errc::already_acknowledged, 0} : known;
    }
    if (id == current_ && type != Ack::renew) current_ = RecordId{};
    return settle(id, type);
  }
  Status acknowledge(std::string_view topic, int32_t partition, int64_t offset, Ack type) {
    return acknowledge(Custody::find(tables_, topic, partition, offset), type);
  }
  Status detach(RecordId id) {
    if (!running()) return {Errc::not_running, 0};
    bool freed = false;
    const Status status = tables_.acks.detach(id, freed);
    news_ = news_ || freed;
    return status;
  }
  // Everything that is with the application.
  void release_all() {
    current_ = RecordId{};
    for (uint32_t i = 0; i < tables_.acks.count(); ++i) {
      const RecordId id = tables_.acks.id_of(i);
      if (tables_.acks.is_held(id)) static_cast<void>(settle(id, Ack::release));
    }
  }
  Status commit(Ticket& ticket) {
    ticket = 0;
    if (!running()) return {Errc::not_running, 0};
    if (tables_.shared.is_implicit()) accept_current();
    news_ = true;
    return Custody::commit(tables_, ticket);
  }
  uint32_t unsettled() const { return tables_.acks.used(); }
  // Something has changed since the last step() that it should look at before anyone sleeps.
  bool take_news() {
    const bool news = news_;
    news_ = false;
    return news;
  }
  bool has_news() const { return news_; }

 private:
  static constexpr int64_t kLeaveMs = 500;  // before the end of the time to close

  Errc check_names(Span<const std::string_view> names) const {
    uint32_t bytes = 0;
    for (std::string_view name : names) {
      if (name.empty() || name.size() > kTopicNameBytesMax) return Errc::bad_option;
      bytes += static_cast<uint32_t>(name.size());
    }
    if (names.size > memory_.limits->topics_max) return Errc::too_many;
    return bytes > memory_.limits->topic_names_bytes ? Errc::too_long : Errc::ok;
  }

  void read(Link& its) {
    const uint32_t i = its.index();
    if (its.state() == LinkState::negotiating) {
      const Link::Negotiation result = its.negotiate(now_, tables_.shared);
      if (result == Link::Negotiation::ready) on_ready(its);
      if (result == Link::Negotiation::too_old) {
        refuse_broker("the broker does not offer share groups as of Kafka 4.1 (ShareFetch "
                      "version 1)");
      }
      if (result == Link::Negotiation::groups_off) tables_.shared.fail_groups_off(0);
      if (result == Link::Negotiation::misdirected) {
        lost(its, {Errc::broker_error, kafka::kRebootstrapRequired});
        control_.misdirected(link(0), tables_, now_);
      }
      return;
    }
    if (i == 0) {
      control_.read(its, tables_, now_);
      if (control_.member.state() == MemberState::stable && !tables_.shared.failed()) {
        tables_.shared.status = Status{};
      }
      revoke();
    } else if (leaders_.read(i, tables_, now_)) {
      control_.discovery.refresh(now_ + tables_.shared.options.retry_backoff_ms);
    }
    if (!its.busy() && i != 0) {
      give_back_revoked();
      locks_.plan(tables_, now_);
    }
  }
  void on_ready(const Link& its) {
    const bool limited = tables_.shared.options.acquire_mode == AcquireMode::record_limit;
    if (limited && !its.can_renew()) {
      return refuse_broker("share.acquire.mode=record_limit needs Kafka 4.2 or later (ShareFetch "
                           "version 2)");
    }
    tell(EventType::connected, its, {});
  }
  void refuse_broker(const char* words) {
    tables_.shared.fail({Errc::unsupported_broker, 0}, words);
  }
  void tell_lost(const Link& its, Status why) {
    const bool established = its.ready();
    tell(established ? EventType::disconnected : EventType::connection_failed, its, why);
    if (!established && !control_.member.has_joined()) tables_.shared.keep(why);
  }
  void tell(EventType type, const Link& its, Status status) {
    Event& event = tables_.shared.events.push(type, status);
    event.node = its.target();
    const uint32_t size = write_address(event.text, Event::kTextBytes, address(its));
    event.text_bytes = static_cast<uint8_t>(size);
  }

  // What was acquired for partitions that are ours no longer goes back, unless it is with the
  // application.
  void give_back_revoked() {
    for (uint32_t i = 0; i < tables_.lots.count(); ++i) {
      const Lot& lot = tables_.lots[i];
      if (!lot.used || lot.give_back || lot.cursor > lot.last) continue;
      if (closing_ || !tables_.topology.partition(lot.partition).assigned) tables_.give_back(i);
    }
  }
  void revoke() {
    give_back_revoked();
    tables_.topology.collect();
  }

  // ---- Acknowledging.
  void accept_current() {
    if (tables_.acks.is_held(current_)) static_cast<void>(settle(current_, Ack::accept));
    current_ = RecordId{};
  }
  Status settle(RecordId id, Ack type) {
    bool freed = false;
    const Status status = custody_.settle(tables_, leaders_, id, type, freed, now_);
    if (freed || type == Ack::renew) news_ = true;
    moved_ = true;
    return status;
  }

  // ---- Closing: everything held is released, sessions end, the group is left; the group in time
  // even if a leader does not answer. True once all is over.
  Instant leave_at() const { return {close_at_.ms - kLeaveMs}; }
  bool step_closing() {
    if (now_ >= close_at_) return finish();
    const bool closed = leaders_.is_closed(tables_);
    if (!closed && now_ < leave_at()) return false;
    if (!control_.member.leave(now_)) return closed && finish();
    // While the coordinator is there it has the caller's time; to find it there is little of it.
    if (!control_.is_there(link(0))) close_at_ = earlier(close_at_, now_ + Control::kSearchMsMax);
    return false;
  }
  bool finish() {
    for (uint32_t i = 1; i < link_count(); ++i) {
      if (link(i).in_use()) leaders_.on_lost(i, tables_);
    }
    for (uint32_t i = 0; i < tables_.lots.count(); ++i) {
      if (tables_.lots[i].used) tables_.lose_lot(i, {Errc::not_running, 0});
    }
    for (Peer& peer : memory_.peers) peer.link.stop(tables_.shared);
    control_.stop(tables_);
    tables_.shared.life = Life::idle;
    *memory_.user = nullptr;
    return true;
  }

  bool closing_ = false;
  bool news_ = true;
  bool moved_ = false;  // records have gone out since next() answered false
  RecordId current_{};  // implicit mode: what the next next() accepts
  Instant now_{};
  Instant close_at_{};
  Memory memory_;
  Tables tables_{};
  Control control_{};
  Leaders leaders_{};
  Locks locks_{};
  Custody custody_{};
};

}  // namespace kshare

#endif  // KSHARE_CORE_ENGINE_HPP
