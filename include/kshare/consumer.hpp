// SPDX-License-Identifier: Apache-2.0
// What:        ShareConsumer: the engine plus an array of transports; the loop that an application
//              sees.
// Flow:        Transport <-> ShareConsumer <-> core/engine.hpp <-> the application.
// Memory:      Storage<kLimits> and the pool, both the application's; itself about a kilobyte.
// Valid until: Storage and the pool must outlive it.
// Errors:      status() is sticky: the first failure of start, subscribe or the connection, ok
//              again once the group has been joined; fatal failures stay and poll() answers false.
//              Everything else is an event.
//
// One thread, no callbacks. After fork() the child must not use it. start() works again after
// close().
#ifndef KSHARE_CONSUMER_HPP
#define KSHARE_CONSUMER_HPP

#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "kshare/core/engine.hpp"
#include "kshare/core/inspect.hpp"
#include "kshare/core/storage.hpp"
#include "kshare/net/transport.hpp"

namespace kshare {

class ShareConsumer {
 public:
  template <const Limits& L>
  ShareConsumer(Storage<L>& its_storage, TransportPool& its_pool)
      : pool_(&its_pool), engine_(Memory::of(its_storage)) {
    KSHARE_ASSERT(its_pool.size() >= L.links_max);
  }
  ShareConsumer(const ShareConsumer&) = delete;
  ShareConsumer& operator=(const ShareConsumer&) = delete;

  // Begins a life: checks and copies the options, draws a member id. Nothing is sent yet.
  // bad_option, too_long: last_error() names the option. no_entropy: the pool has no random bytes.
  Status start(const Options& options) {
    uint8_t entropy[24];
    if (!pool_->entropy({entropy, sizeof entropy})) {
      if (!engine_.running()) engine_.shared().keep({Errc::no_entropy, 0});
      return {Errc::no_entropy, 0};
    }
    woken_ = true;
    return engine_.start(options, entropy);
  }

  // Replaces the subscription. The names are copied; a topic need not exist yet. An empty list is
  // unsubscribe(). too_many, too_long: the limits; bad_option: an empty name or one above 249
  // bytes. Record::topic of records handed out before is no longer valid.
  Status subscribe(Span<const std::string_view> names) {
    woken_ = true;
    const Status status = engine_.subscribe(names);
    if (!status.ok()) engine_.shared().keep(status);
    return status;
  }
  Status subscribe(std::initializer_list<std::string_view> names) {
    const auto count = static_cast<uint32_t>(names.size());
    return subscribe(Span<const std::string_view>{names.begin(), count});
  }
  // Leaves the group. Records in hand may still be acknowledged; the rest is given back.
  Status unsubscribe() {
    woken_ = true;
    return engine_.unsubscribe();
  }

  // One bounded turn: I/O, timers, requests. False once closed or failed for good. Call it at
  // deadline() at the latest; calling it more often costs one comparison.
  bool poll(Instant now) {
    if (!woken_ && !engine_.has_news() && now <= last_poll_ && now < deadline_) {
      return engine_.running();
    }
    return turn(now);
  }

  // When poll() must be called again at the latest, whatever happens on the sockets.
  Instant deadline() const {
    if (woken_ || engine_.has_news()) return last_poll_;
    return earlier(deadline_, engine_.acks_due());
  }
  // Something may be possible on transport i, or on any: the next poll() looks there. net.wait()
  // calls it. A poll() that was not told looks at all of them, at most every kLookMs.
  void wake(uint32_t i) {
    woken_ = true;
    readable_ |= uint32_t{1} << i;
  }
  void wake() {
    woken_ = true;
    readable_ = UINT32_MAX;
  }

  // What an event loop waits for: interest(0) ... interest(interest_count() - 1).
  uint32_t interest_count() const { return engine_.link_count(); }
  Interest interest(uint32_t i) const {
    const Link& link = engine_.link(i);
    if (!link.in_use()) return {};
    Interest its = pool_->transport(i).interest();
    if (link.is_full()) its.read = its.ready_now = false;  // it waits for the codec
    if (its.fd >= 0 && link.unsent().size != 0) its.write = true;
    return its;
  }

  // The next record, if one is here; false: poll() and wait. In implicit mode this accepts the
  // record before. A record whose lock ends within lock.margin.ms is not handed out.
  bool next(Record& record, Instant now) { return engine_.next(record, now); }

  // Says what becomes of a record, in both modes; the last word counts until it is sent.
  // accept, release, reject: its views end here. renew: the record stays with the application, its
  // views too, and its lock_deadline (held()) moves when the broker confirms; or event
  // renew_failed. lock_lost: too late, it comes again, and this handle is void. unknown_record,
  // already_acknowledged: nothing changes. cannot_renew: see Errc.
  [[nodiscard]] Status acknowledge(const Record& record, Ack type) {
    return engine_.acknowledge(record.id, type);
  }
  [[nodiscard]] Status acknowledge(RecordId id, Ack type) { return engine_.acknowledge(id, type); }
  // By where it lies. If it was handed out twice, the newer one is meant.
  [[nodiscard]] Status acknowledge(std::string_view topic, int32_t partition, int64_t offset,
                                   Ack type) {
    return engine_.acknowledge(topic, partition, offset, type);
  }
  // The record's bytes are needed no more: its views end here, the store has room again. It is
  // still to be acknowledged. unknown_record, already_acknowledged: nothing changes.
  Status detach(const Record& record) { return engine_.detach(record.id); }
  Status detach(RecordId id) { return engine_.detach(id); }
  // Releases everything that was handed out and is not acknowledged yet.
  void release_all() { engine_.release_all(); }

  // What was handed out and is not acknowledged yet: held(0) ... held(held_max() - 1), where false
  // means that nothing is at this place. Acknowledging meanwhile is fine.
  uint32_t held_max() const { return engine_.tables().acks.count(); }
  bool held(uint32_t i, HeldRecord& record) const {
    return Custody::held(engine_.tables(), i, record);
  }
  uint32_t held_count() const { return engine_.tables().acks.held(); }

  // Sends what has been acknowledged without waiting for company; in implicit mode the record
  // handed out last is accepted first. `ticket` names these acknowledgements (not those that an
  // earlier commit has named) for commit_status() and commit_result(). too_many: earlier commits
  // are unanswered; nothing is named, what was acknowledged is sent all the same.
  [[nodiscard]] Status commit(Ticket& ticket) {
    woken_ = true;
    return engine_.commit(ticket);
  }
  // in_progress until each acknowledgement of this commit and of those before has its outcome; then
  // ok, or the first failure. Asking is free.
  Status commit_status(Ticket ticket) const {
    return engine_.tables().acks.commits.status(ticket);
  }
  // The i-th partition of a commit; false behind the last. Kept until later commits need the room.
  bool commit_result(Ticket ticket, uint32_t i, CommitResult& result) const {
    return Custody::commit_result(engine_.tables(), ticket, i, result);
  }

  // Begins to close: acks leave, records in hand are released, sessions end, the group is left. Go
  // on calling poll() until it answers false, after timeout_ms at the latest. Twice is harmless.
  Status close(Instant now, int64_t timeout_ms) {
    woken_ = true;
    return engine_.close(now, timeout_ms);
  }

  const Stats& stats() const { return engine_.shared().stats; }
  Status status() const { return engine_.shared().status; }
  // The words behind the last failure: the broker's own, or ours. Valid until the next call.
  std::string_view last_error() const {
    return {engine_.shared().words.data, engine_.shared().words_size};
  }
  bool next_event(Event& event) { return engine_.shared().events.pop(event); }

  uint32_t assignment_count() const { return engine_.tables().topology.assigned_count(); }
  // Records handed out, and ranges, whose acknowledgement is not confirmed yet.
  uint32_t unsettled() const { return engine_.unsettled(); }
  int32_t member_epoch() const { return engine_.member().epoch(); }

  // A look inside, for diagnosis: core/inspect.hpp has the fields. False behind the last; texts are
  // valid until the next call that is not const.
  MemberInfo member() const { return inspect::member(engine_); }
  bool subscription(uint32_t i, SubscribedTopic& topic) const {
    return inspect::subscription(engine_, i, topic);
  }
  bool assignment(uint32_t i, AssignedPartition& partition) const {
    return inspect::assignment(engine_, i, partition);
  }
  // Link 0 is the one to the group coordinator; there are Limits::links_max, in use or not.
  bool link(uint32_t i, LinkInfo& its) const { return inspect::link(engine_, i, its); }
  const Engine& engine() const { return engine_; }

 private:
  static constexpr int64_t kLookMs = 2;

  // Apart from poll(), so that one in between costs no more than its comparison.
  __attribute__((noinline)) bool turn(Instant now) {
    if (!engine_.running()) return shut();
    last_poll_ = now;
    woken_ = false;
    static_cast<void>(engine_.take_news());
    engine_.step(now, false);  // time first: what comes in below is judged by it
    const uint32_t readable = take_readable(now);
    for (uint32_t i = 0; i < engine_.link_count(); ++i) {
      if (receive(i, (readable >> i & 1) != 0, now)) wake(i);
    }
    deadline_ = engine_.step(now);
    for (uint32_t i = 0; i < engine_.link_count(); ++i) send(i, now);
    CodecRegistry* codecs = engine_.shared().options.codecs;
    if (codecs != nullptr) {
      deadline_ = earlier(deadline_, codecs->end_turn(engine_.shared().now));
    }
    return engine_.running() ? true : shut();
  }

  // The links to read from in this turn, a bit each.
  uint32_t take_readable(Instant now) {
    uint32_t readable = readable_;
    readable_ = 0;
    if (now - looked_at_ >= kLookMs || now < looked_at_) readable = UINT32_MAX;
    if (readable == UINT32_MAX) looked_at_ = now;
    return readable;
  }

  // Takes what has come on link i. True if there may be more.
  bool receive(uint32_t i, bool readable, Instant now) {
    Link& link = engine_.link(i);
    Transport& transport = pool_->transport(i);
    if (link.wants_close()) {
      transport.close();
      link.closed();
    }
    if (link.wants_open(now)) open(link, transport, now);
    if (link.state() == LinkState::opening) {
      const IoResult result = transport.advance(now);
      if (result.io == Io::done) engine_.connected(link);
      else if (result.io != Io::pending) lost(link, result);
    }
    if (link.has_unread()) engine_.received(link, 0);  // it may have waited for the codec
    if (!readable) return false;
    uint32_t taken = 0;
    while (link.state() == LinkState::negotiating || link.state() == LinkState::ready) {
      const MutableBytes space = link.space();
      if (space.empty()) return false;
      const IoResult result = transport.read(space);
      if (result.io == Io::pending || (result.io == Io::done && result.count == 0)) return false;
      if (result.io != Io::done) {
        lost(link, result);
        return true;
      }
      engine_.received(link, result.count);
      taken += result.count;
      if (taken >= engine_.shared().limits->work_bytes) return true;
      if (result.count < space.size) break;
    }
    return transport.interest().ready_now;
  }
  void open(Link& link, Transport& transport, Instant now) {
    const Address where = engine_.opening(link);
    const Status opened = where.host.empty() ? Status{Errc::bad_address, 0}
                                             : transport.open({where.host, where.port}, now);
    if (!opened.ok()) engine_.lost(link, opened);
  }
  void send(uint32_t i, Instant now) {
    Link& link = engine_.link(i);
    Transport& transport = pool_->transport(i);
    if (link.wants_close() || link.wants_open(now)) woken_ = true;
    if (link.state() == LinkState::opening) {
      deadline_ = earlier(deadline_, transport.interest().due);
    }
    while (link.unsent().size != 0) {
      const IoResult result = transport.write(link.unsent());
      if (result.io == Io::pending) return;
      if (result.io != Io::done) {
        woken_ = true;
        return lost(link, result);
      }
      link.sent(result.count, engine_.shared());
    }
  }
  void lost(Link& link, const IoResult& result) {
    engine_.lost(link, result.io == Io::closed ? Status{Errc::disconnected, 0} : result.status);
  }
  bool shut() {
    for (uint32_t i = 0; i < engine_.link_count(); ++i) pool_->transport(i).close();
    return false;
  }

  bool woken_ = true;
  uint32_t readable_ = 0;  // bit i: wake(i)
  Instant last_poll_{-1};
  Instant deadline_{};
  Instant looked_at_{-1};
  TransportPool* pool_;
  Engine engine_;
};

}  // namespace kshare

#endif  // KSHARE_CONSUMER_HPP
