// SPDX-License-Identifier: Apache-2.0
// What:        Leaders: the links to partition leaders: which link serves which broker, and what
//              each sends next.
// Flow:        core/engine.hpp -> here -> core/session.hpp, core/intake.hpp.
// Memory:      the peers in Storage.
// Errors:      whatever a broker answers, the link goes on after a back-off; nothing here repeats
//              without one.
//
// What a link sends, in this order: what must be settled before a session ends; acks that have
// waited long enough; bytes to be read again; a ShareFetch if there is room, with all acks that are
// pending; what is to be forgotten.
#ifndef KSHARE_CORE_LEADERS_HPP
#define KSHARE_CORE_LEADERS_HPP

#include <cstdint>

#include "kshare/core/demand.hpp"
#include "kshare/core/rota.hpp"
#include "kshare/core/storage.hpp"
#include "kshare/core/tables.hpp"
#include "kshare/message/fetch.hpp"

namespace kshare {

class Leaders {
 public:
  void attach(Span<Peer> peers) {
    links_ = leader_links(peers);
    rota_.attach(peers);
    for (Peer& peer : links_) {
      peer.session.attach(peer.link.index());
      peer.intake.attach(peer.link.index());
    }
  }

  void begin_closing() { closing_ = true; }
  // Everything acked has been sent and answered, and every session ended; brokers that cannot be
  // reached do not hold up the others, nor the leaving of the group.
  bool is_closed(const Tables& tables) const {
    for (const Peer& peer : links_) {
      if (!peer.link.in_use()) continue;
      if (!peer.link.ready() && peer.link.attempts() >= kClosingAttempts) continue;
      if (peer.link.busy() && peer.link.ready()) return false;
      if (peer.session.is_open() || tables.has_lots(peer.link.index())) return false;
    }
    return true;
  }

  // Gives every leader a link, then lets each link send. Answers when to be asked again.
  Instant step(Tables& tables, Instant now) {
    tables.slot_starved = false;
    wake_ = closing_ ? kNever : rota_.assign(tables, now);
    // Whole batches are too much where a slow application's rest goes back at the end of each turn.
    if (tables.gave_back && rota_.crowded(now)) strict_left_ = kStrictFetches;
    tables.gave_back = false;
    uint32_t next = last_slot_;  // who got a store slot last comes last
    for (uint32_t n = 0; n < links_.size; ++n, ++next) {
      if (next >= links_.size) next = 0;
      Peer& peer = links_[next];
      if (peer.link.can_send(now)) send_next({peer, tables, now});
      wait(peer.link.deadline(now));
    }
    for (const PartitionRow& row : tables.topology.partitions()) {
      if (row.assigned && row.retry_at > now) wait(row.retry_at);
    }
    return wake_;
  }

  // An ack was made for a lot of this link.
  void ack_made(uint32_t link, Instant now) {
    Peer& peer = links_[link - 1];
    if (peer.acks_since == kNever) peer.acks_since = now;
  }
  // When acks that wait for company are to leave, on links that could send them.
  Instant acks_due(const Tables& tables, Instant now) const {
    Instant due = kNever;
    for (const Peer& peer : links_) {
      if (!peer.link.can_send(now)) continue;
      const Instant opens = peer.session.is_open() ? Instant{} : peer.session.retry_at();
      due = earlier(due, later(later(peer.hold_until, opens), acks_due(peer, tables)));
    }
    return due;
  }

  // ---- Answers. True: some partition's leader is in doubt, metadata is wanted.
  bool read(uint32_t i, Tables& tables, Instant now) {
    Peer& peer = links_[i - 1];
    if (!peer.intake.read(peer.link, tables, now)) return false;
    if (!peer.link.end_answer(peer.intake.throttle_ms(), now)) return false;
    peer.link.trace(TraceKind::answer, {}, peer.intake.error(), tables.shared);
    const bool was_open = peer.session.is_open();
    const int16_t error = peer.intake.error();
    if (peer.link.request() != Api::fetch) {
      on_session_answer({peer, tables, now}, error);
    } else if (error == kafka::kNone && peer.intake.saw_data()) {
      peer.reread_attempts = 0;
    } else {
      peer.reread_at = tables.shared.next_try(peer.reread_attempts, now);
    }
    if (was_open != peer.session.is_open()) peer.trace_session(tables.shared);
    peer.intake.publish(tables);
    if (error != kafka::kNone && !kafka::session_is_lost(error)) return true;
    return peer.intake.leaders_changed();
  }
  void on_lost(uint32_t i, Tables& tables) {
    Peer& peer = links_[i - 1];
    peer.recovering = peer.recovering || peer.session.is_open() || tables.has_lots(i);
    if (peer.is_polling()) {
      peer.recovering = peer.parked = true;
      peer.brief_until = later(peer.brief_until, peer.link.sent_at() + peer.wait_ms + kParkedMs);
    }
    peer.intake.abandon(tables);
    tables.connection_lost(i, peer.link.target());
    const bool was_open = peer.session.is_open();
    peer.session.ended(tables);
    if (was_open) peer.trace_session(tables.shared);
    peer.ending = false;
    peer.hold_until = peer.recover_until = Instant{};
    peer.acks_since = tables.has_lots(i) ? Instant{} : kNever;
  }

 private:
  // One link, and what decides what it does now.
  struct Turn {
    Peer& peer;
    Tables& tables;
    Instant now;

    uint32_t link() const { return peer.link.index(); }
    bool has_acks(AckKind kind) const { return peer.session.has_acks(tables, kind, now); }
    bool has_lots() const { return tables.has_lots(link()); }
    uint32_t missing() const { return demand::oldest_missing(link(), tables); }
    void end_session_soon() const { peer.end_session_by(now + Rota::kTurnMs); }
    Instant next_try(uint32_t attempts) const { return now + tables.shared.retry_ms(attempts); }
  };

  // An ack waits for company, but not while ack slots run short or a commit waits for it.
  static Instant acks_due(const Peer& peer, const Tables& tables) {
    const bool urgent =
        tables.acks.pending() * 4 >= tables.acks.count() || tables.acks.commits.any_open();
    if (urgent) return peer.acks_since;
    return peer.acks_since + tables.shared.options.ack_linger_ms;
  }

  // ---- What a link sends.
  void send_next(const Turn& turn) {
    Peer& peer = turn.peer;
    if (turn.now < peer.hold_until) return wait(peer.hold_until);
    if (!peer.session.is_open()) return open_session(turn);
    const bool acks = turn.has_acks(AckKind::terminal);
    if (!acks) peer.acks_since = kNever;
    if (acks && peer.acks_since == kNever) peer.acks_since = turn.now;
    if (peer.parked && !peer.ending) end_what_was_parked(turn);
    if (closing_ || peer.ending || peer.session.surplus(turn.now)) return end_session(turn, acks);
    // Renewals are urgent, but after one it is the turn of all others: neither starves the other.
    const bool others_first = peer.renewed_last;
    if (others_first && send_others(turn, acks)) return;
    if (send_renewals(turn) || others_first) return;
    static_cast<void>(send_others(turn, acks));
  }
  bool send_others(const Turn& turn, bool acks) {
    Peer& peer = turn.peer;
    peer.renewed_last = false;
    const Instant due = acks_due(peer, turn.tables);
    const bool acks_now = acks && turn.now >= due;
    const uint32_t missing = turn.missing();
    if (missing != kNoLot && !acks_now && send_reread(turn, missing)) return true;
    if ((missing == kNoLot || !acks_now) && send_fetch_if_room(turn)) return true;
    if (acks_now) {
      send_acknowledge(turn, AckKind::terminal, false);
      return true;
    }
    if (acks) wait(due);
    if (!peer.session.has_to_forget(turn.tables, peer.link.target(), turn.now)) return false;
    send_fetch(turn, Store::kNone, kNothing);
    return true;
  }
  // Apart: else it stands in line in many places.
  __attribute__((noinline)) void wait(Instant until) { wake_ = earlier(wake_, until); }

  // Epoch 0. With acks to send or records in hand the opening request acquires nothing: it could
  // re-acquire the very offsets whose acks are waiting.
  void open_session(const Turn& turn) {
    Peer& peer = turn.peer;
    if (turn.now < peer.session.retry_at()) return wait(peer.session.retry_at());
    const bool has_lots = turn.has_lots();
    if (!has_lots) {
      peer.acks_since = kNever;  // nothing is left that a deadline could be for
      if (closing_ || peer.leaving || !has_partitions(turn)) return;
    }
    if (has_lots || peer.recovering) send_fetch(turn, Store::kNone, kNothing);
    else static_cast<void>(send_fetch_if_room(turn));
  }

  // A long poll outlives its connection at the broker, and what it acquires then is nobody's: the
  // session that is ended behind its MaxWait frees that too.
  void end_what_was_parked(const Turn& turn) {
    if (turn.now < turn.peer.brief_until) return wait(turn.peer.brief_until);
    turn.peer.parked = false;
    turn.end_session_soon();
  }

  // Settles what is held, then ends the session: the broker frees what is left of it.
  void end_session(const Turn& turn, bool acks) {
    if (acks) return send_acknowledge(turn, AckKind::terminal, false);
    if (!closing_) {
      if (send_renewals(turn)) return;
      const uint32_t missing = turn.missing();
      if (missing != kNoLot && send_reread(turn, missing)) return;
    }
    // With the application, until their locks end; when closing, until they have ack slots.
    if (turn.has_lots() && (!closing_ || turn.tables.giving_back)) return wait_for_lots(turn);
    send_acknowledge(turn, AckKind::terminal, true);
  }

  // After a reconnect fetching does not wait for the application for long.
  void wait_for_lots(const Turn& turn) {
    Peer& peer = turn.peer;
    if (peer.session.surplus(turn.now)) wait(peer.session.surplus_until());
    if (peer.recover_until == Instant{} || closing_) return;
    if (turn.now < peer.recover_until) return wait(peer.recover_until);
    peer.recover_until = Instant{};
    peer.parked = peer.parked && turn.now < peer.brief_until;
    peer.ending = peer.leaving;
    wait(turn.now + 1);
  }

  // A store slot for what is asked for next, or kNone.
  uint32_t reserve_slot(const Turn& turn) {
    const uint32_t slot = turn.tables.store.reserve(turn.link());
    if (slot == Store::kNone) turn.tables.slot_starved = true;
    else last_slot_ = turn.link();
    return slot;
  }
  static bool has_partitions(const Turn& turn) {
    return turn.peer.session.has_partitions(turn.tables, turn.peer.link.target(), turn.now);
  }
  bool send_fetch_if_room(const Turn& turn) {
    Tables& tables = turn.tables;
    if (!has_partitions(turn)) return false;
    FetchSize size =
        demand::fetch_size(turn.link(), strict_left_ != 0, turn.peer.link.can_renew(), tables);
    if (size.max_records == 0) return false;
    const uint32_t slot = reserve_slot(turn);
    if (slot == Store::kNone) return false;
    const bool tight =
        rota_.crowded(turn.now) || turn.now < turn.peer.brief_until || takes_last_slot(turn);
    size.max_wait_ms = demand::max_wait(turn.link(), tight, tables);
    if (strict_left_ != 0) --strict_left_;
    send_fetch(turn, slot, size);
    return true;
  }
  void send_fetch(const Turn& turn, uint32_t slot, const FetchSize& size) {
    Peer& peer = turn.peer;
    Tables& tables = turn.tables;
    Writer out = peer.link.begin(Api::share_fetch, tables.shared);
    peer.session.encode_fetch(out, peer.link.version(Api::share_fetch), tables,
                              peer.link.target(), size, turn.now);
    peer.intake.begin_share_fetch(slot, tables);
    peer.wait_ms = size.max_wait_ms;
    ++tables.shared.stats.fetches;
    peer.acks_since = kNever;  // looked at again after the answer
    send(turn, out, size.max_wait_ms);
  }
  // Locks are renewed in requests of their own: a ShareFetch that renews brings no records.
  bool send_renewals(const Turn& turn) {
    Tables& tables = turn.tables;
    if (!tables.renewing && tables.acks.renewals() == 0) return false;
    if (!turn.peer.link.can_renew()) return false;
    Renewal renewal(tables.lots, tables.acks);
    if (tables.renewing) renewal.stage(turn.link());
    const bool any = turn.has_acks(AckKind::renewal);
    if (any) send_acknowledge(turn, AckKind::renewal, false);
    turn.peer.renewed_last = any;
    if (tables.acks.renewals() == 0) return any;
    for (uint32_t row = 0; row < tables.topology.partition_count(); ++row) renewal.unstage(row);
    return any;
  }
  void send_acknowledge(const Turn& turn, AckKind kind, bool final) {
    Peer& peer = turn.peer;
    Tables& tables = turn.tables;
    const int16_t version = peer.link.version(Api::share_acknowledge);
    Writer out = peer.link.begin(Api::share_acknowledge, tables.shared);
    peer.session.encode_acknowledge(out, version, tables, kind, final, turn.now);
    peer.intake.begin_acknowledge(version, kind, tables);
    ++tables.shared.stats.acknowledges;
    if (kind == AckKind::terminal) peer.acks_since = kNever;
    send(turn, out, 0);
  }
  // An idle long poll must not keep a slot that another link will want.
  bool takes_last_slot(const Turn& turn) const {
    if (turn.tables.store.free_count() != 0) return false;
    for (const Peer& other : links_) {
      if (&other == &turn.peer || !other.link.in_use()) continue;
      if (other.intake.slot() == Intake::kNoSlot) return true;
    }
    return false;
  }
  bool send_reread(const Turn& turn, uint32_t lot_index) {
    Peer& peer = turn.peer;
    Tables& tables = turn.tables;
    const Lot& lot = tables.lots[lot_index];
    if (turn.now < peer.reread_at) wait(peer.reread_at);
    if (turn.now < peer.reread_at || tables.acks.free_count() == 0) return false;
    if (demand::undelivered_slots(turn.link(), tables) > 1) return false;
    const uint32_t slot = reserve_slot(turn);
    if (slot == Store::kNone) return false;
    FetchOne fetch;
    const PartitionRow& row = tables.topology.partition(lot.partition);
    fetch.topic_id = tables.topology.topic(row.topic).id;
    fetch.partition = row.index;
    fetch.offset = lot.probe ? lot.last : lot.walked;
    fetch.max_bytes = static_cast<int32_t>(tables.store.slot_bytes());
    fetch.max_wait_ms = static_cast<int32_t>(demand::kShortWaitMs);
    Writer out = peer.link.begin(Api::fetch, tables.shared);
    encode_fetch(out, fetch);
    peer.intake.begin_reread(slot, lot.partition, fetch.offset);
    ++tables.shared.stats.reread;
    send(turn, out, fetch.max_wait_ms);
    return true;
  }
  void send(const Turn& turn, Writer& out, int32_t wait_ms) {
    turn.peer.link.send(out, turn.now, turn.tables.shared, wait_ms, turn.peer.session.epoch_sent());
  }

  // ---- Verdicts.
  void on_session_answer(const Turn& turn, int16_t error) {
    Peer& peer = turn.peer;
    Tables& tables = turn.tables;
    if (error != kafka::kNone) return on_session_error(turn, error);
    const bool was_open = peer.session.is_open();
    peer.session.succeeded(tables);
    if (was_open && !peer.session.is_open()) {
      peer.ending = false;
      peer.recover_until = Instant{};
      peer.parked = peer.parked && peer.link.sent_at() < peer.brief_until;
      peer.brief_until = later(peer.brief_until, turn.now + Rota::kTurnMs);
    } else if (!was_open && peer.recovering) {
      // What the lost connection had acquired is freed by the end of a session: a broker that sees
      // the new connection first does not do it, nor do we know what the lost answer had brought.
      peer.recovering = false;
      turn.end_session_soon();
    }
    if (tables.retry_acks) peer.hold_until = turn.next_try(peer.quick_answers++);
    tables.retry_acks = false;
    const uint32_t surplus = peer.intake.surplus();
    // A batch that others hold in pieces: whole ones would bring more pieces than there are rows.
    if (surplus != 0 || peer.intake.fragments() * 4 > tables.lots.count()) {
      strict_left_ = kStrictFetches;
    }
    if (surplus != 0) {
      peer.session.note_surplus(turn.now + tables.lock_ms);
      Event& event = tables.shared.events.push(EventType::session_surplus);
      event.node = peer.link.target();
      event.value = surplus;
    }
    if (peer.link.request() != Api::share_fetch) return;
    if (peer.intake.throttle_ms() > 0 && !peer.intake.saw_data() && peer.wait_ms > 0) {
      // Records may have been acquired that the answer does not show.
      if (!peer.ending) turn.end_session_soon();
    }
    watch_pace(turn);
  }
  // A broker that answers long polls at once, with nothing, is not asked in a loop.
  void watch_pace(const Turn& turn) {
    Peer& peer = turn.peer;
    const bool quick = turn.now - peer.link.sent_at() < peer.wait_ms / 2;
    if (!quick || peer.intake.saw_data() || peer.wait_ms == 0) {
      peer.quick_answers = 0;
    } else if (++peer.quick_answers > 8) {
      if (peer.quick_answers > 24) peer.quick_answers = 24;
      peer.hold_until = turn.next_try(peer.quick_answers - 9u);
    }
  }
  void on_session_error(const Turn& turn, int16_t error) {
    turn.tables.retry_acks = false;
    turn.peer.session.failed(turn.tables, turn.now);
    turn.peer.ending = false;
    Shared& shared = turn.tables.shared;
    ++shared.stats.session_resets;
    Event& event = shared.events.push(EventType::session_reset, {Errc::broker_error, error});
    event.node = turn.peer.link.target();
  }

  static constexpr FetchSize kNothing{};
  static constexpr int64_t kParkedMs = 200;  // on its way, and until the broker looks at it
  static constexpr uint32_t kStrictFetches = 100;
  static constexpr uint32_t kClosingAttempts = 3;  // to reach a broker again

  bool closing_ = false;
  uint32_t last_slot_ = 0;
  uint32_t strict_left_ = 0;  // so many fetches yet ask for no more than lots are free
  Span<Peer> links_{};
  Instant wake_{};
  Rota rota_{};
};

}  // namespace kshare

#endif  // KSHARE_CORE_LEADERS_HPP
