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
    peers_ = peers;
    rota_.attach(peers);
    for (uint32_t i = 1; i < peers_.size; ++i) {
      peers_[i].session.attach(i);
      peers_[i].intake.attach(i);
    }
  }

  void begin_closing() { closing_ = true; }
  // Everything acked has been sent and answered, and every session ended; brokers that cannot be
  // reached do not hold up the others, nor the leaving of the group.
  bool is_closed(const Tables& tables) const {
    for (uint32_t i = 1; i < peers_.size; ++i) {
      const Peer& peer = peers_[i];
      if (!peer.link.in_use()) continue;
      if (!peer.link.ready() && peer.link.attempts() >= kClosingAttempts) continue;
      if (peer.link.busy() && peer.link.ready()) return false;
      if (peer.session.is_open() || tables.has_lots(i)) return false;
    }
    return true;
  }

  // Gives every leader a link, then lets each link send. Answers when to be asked again.
  Instant step(Tables& tables, Instant now) {
    tables.slot_starved = false;
    Instant wake = closing_ ? kNever : rota_.assign(tables, now);
    // Whole batches are too much where a slow application's rest goes back at the end of each turn.
    if (tables.gave_back && rota_.crowded(now)) strict_left_ = kStrictFetches;
    tables.gave_back = false;
    const uint32_t behind = last_slot_;  // who got a store slot last comes last
    for (uint32_t n = 1; n < peers_.size; ++n) {
      const uint32_t i = 1 + (behind + n - 1) % (peers_.size - 1);
      wake_ = peers_[i].link.deadline(now);
      if (peers_[i].link.can_send(now)) send_next(i, tables, now);
      wake = earlier(wake, earlier(wake_, peers_[i].link.deadline(now)));
    }
    for (uint32_t i = 0; i < tables.topology.partition_count(); ++i) {
      const PartitionRow& row = tables.topology.partition(i);
      if (row.assigned && row.retry_at > now) wake = earlier(wake, row.retry_at);
    }
    return wake;
  }

  // An ack was made for a lot of this link.
  void ack_made(uint32_t link, Instant now) {
    Peer& peer = peers_[link];
    if (peer.acks_since == kNever) peer.acks_since = now;
  }
  // When acks that wait for company are to leave, on links that could send them.
  Instant acks_due(const Tables& tables, Instant now) const {
    Instant due = kNever;
    for (uint32_t i = 1; i < peers_.size; ++i) {
      const Peer& peer = peers_[i];
      if (!peer.link.can_send(now)) continue;
      const Instant opens = peer.session.is_open() ? Instant{} : peer.session.retry_at();
      due = earlier(due, later(later(peer.hold_until, opens), acks_due(peer, tables)));
    }
    return due;
  }

  // ---- Answers. True: some partition's leader is in doubt, metadata is wanted.
  bool read(uint32_t i, Tables& tables, Instant now) {
    Peer& peer = peers_[i];
    if (!peer.intake.read(peer.link, tables, now)) return false;
    if (!peer.link.end_answer(peer.intake.throttle_ms(), now)) return false;
    peer.link.trace(TraceKind::answer, {}, peer.intake.error(), tables.shared);
    const bool was_open = peer.session.is_open();
    if (peer.link.request() == Api::fetch) {
      on_reread(peer, tables, now);
    } else {
      on_session_answer(peer, tables, now);
    }
    if (was_open != peer.session.is_open()) peer.trace_session(tables.shared);
    peer.intake.publish(tables);
    const int16_t error = peer.intake.error();
    if (error != kafka::kNone && !kafka::session_is_lost(error)) return true;
    return peer.intake.leaders_changed();
  }
  void on_lost(uint32_t i, Tables& tables) {
    Peer& peer = peers_[i];
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
  // An ack waits for company, but not while ack slots run short or a commit waits for it.
  static Instant acks_due(const Peer& peer, const Tables& tables) {
    const bool urgent =
        tables.acks.pending() * 4 >= tables.acks.count() || tables.acks.commits.any_open();
    if (urgent) return peer.acks_since;
    return peer.acks_since + tables.shared.options.ack_linger_ms;
  }

  // ---- What a link sends.
  void send_next(uint32_t i, Tables& tables, Instant now) {
    Peer& peer = peers_[i];
    if (now < peer.hold_until) return wait(peer.hold_until);
    if (!peer.session.is_open()) return open_session(i, tables, now);
    const bool acks = peer.session.has_acks(tables, AckKind::terminal, now);
    if (!acks) peer.acks_since = kNever;
    if (acks && peer.acks_since == kNever) peer.acks_since = now;
    if (peer.parked && !peer.ending) end_what_was_parked(peer, now);
    if (closing_ || peer.ending || peer.session.surplus(now)) {
      return end_session(i, acks, tables, now);
    }
    // Renewals are urgent, but after one it is the turn of all others: neither starves the other.
    const bool others_first = peer.renewed_last;
    if (others_first && send_others(i, acks, tables, now)) return;
    if (send_renewals(i, tables, now) || others_first) return;
    static_cast<void>(send_others(i, acks, tables, now));
  }
  bool send_others(uint32_t i, bool acks, Tables& tables, Instant now) {
    Peer& peer = peers_[i];
    peer.renewed_last = false;
    const Instant due = acks_due(peer, tables);
    const bool acks_now = acks && now >= due;
    const uint32_t missing = demand::oldest_missing(i, tables);
    if (missing != kNoLot && !acks_now && send_reread(i, missing, tables, now)) return true;
    if ((missing == kNoLot || !acks_now) && send_fetch_if_room(i, tables, now)) return true;
    if (acks_now) {
      send_acknowledge(i, AckKind::terminal, false, tables, now);
      return true;
    }
    if (acks) wait(due);
    if (!peer.session.has_to_forget(tables, peer.link.target(), now)) return false;
    send_fetch(i, Store::kNone, FetchSize{}, tables, now);
    return true;
  }
  void wait(Instant until) { wake_ = earlier(wake_, until); }

  // Epoch 0. With acks to send or records in hand the opening request acquires nothing: it could
  // re-acquire the very offsets whose acks are waiting.
  void open_session(uint32_t i, Tables& tables, Instant now) {
    Peer& peer = peers_[i];
    if (now < peer.session.retry_at()) return wait(peer.session.retry_at());
    const bool has_lots = tables.has_lots(i);
    if (!has_lots) peer.acks_since = kNever;  // nothing is left that a deadline could be for
    const bool wanted = peer.session.has_partitions(tables, peer.link.target(), now);
    if (has_lots ? false : (!wanted || closing_ || peer.leaving)) return;
    FetchSize size;
    uint32_t slot = Store::kNone;
    if (!has_lots && !peer.recovering) {
      size = demand::fetch_size(i, strict_left_ != 0, peer.link.can_renew(), tables);
      if (size.max_records > 0) slot = tables.store.reserve(i);
      if (slot == Store::kNone) {  // no room: nothing to open a session for yet
        tables.slot_starved = tables.slot_starved || size.max_records > 0;
        return;
      }
    }
    send_fetch(i, slot, size, tables, now);
  }

  // A long poll outlives its connection at the broker, and what it acquires then is nobody's: the
  // session that is ended behind its MaxWait frees that too.
  void end_what_was_parked(Peer& peer, Instant now) {
    if (now < peer.brief_until) return wait(peer.brief_until);
    peer.parked = false;
    peer.end_session_by(now + Rota::kTurnMs);
  }

  // Settles what is held, then ends the session: the broker frees what is left of it.
  void end_session(uint32_t i, bool acks, Tables& tables, Instant now) {
    if (acks) return send_acknowledge(i, AckKind::terminal, false, tables, now);
    if (!closing_ && send_renewals(i, tables, now)) return;
    const uint32_t missing = demand::oldest_missing(i, tables);
    if (!closing_ && missing != kNoLot && send_reread(i, missing, tables, now)) return;
    // With the application, until their locks end; when closing, until they have ack slots.
    if (tables.has_lots(i) && (!closing_ || tables.giving_back)) return wait_for_lots(i, now);
    send_acknowledge(i, AckKind::terminal, true, tables, now);
  }

  // After a reconnect fetching does not wait for the application for long.
  void wait_for_lots(uint32_t i, Instant now) {
    Peer& peer = peers_[i];
    if (peer.session.surplus(now)) wait(peer.session.surplus_until());
    if (peer.recover_until == Instant{} || closing_) return;
    if (now < peer.recover_until) return wait(peer.recover_until);
    peer.recover_until = Instant{};
    peer.parked = peer.parked && now < peer.brief_until;
    peer.ending = peer.leaving;
    wait(now + 1);
  }

  bool send_fetch_if_room(uint32_t i, Tables& tables, Instant now) {
    Peer& peer = peers_[i];
    if (!peer.session.has_partitions(tables, peer.link.target(), now)) return false;
    const FetchSize size = demand::fetch_size(i, strict_left_ != 0, peer.link.can_renew(), tables);
    if (size.max_records == 0) return false;
    const uint32_t slot = tables.store.reserve(i);
    if (slot == Store::kNone) {
      tables.slot_starved = true;
      return false;
    }
    send_fetch(i, slot, size, tables, now);
    return true;
  }
  void send_fetch(uint32_t i, uint32_t slot, FetchSize size, Tables& tables, Instant now) {
    Peer& peer = peers_[i];
    if (size.max_records != 0) {
      const bool tight =
          rota_.crowded(now) || now < peer.brief_until || takes_last_slot(i, tables);
      size.max_wait_ms = demand::max_wait(i, tight, tables);
      last_slot_ = i;
      if (strict_left_ != 0) --strict_left_;
    }
    Writer out = peer.link.begin(Api::share_fetch, tables.shared);
    peer.session.encode_fetch(out, peer.link.version(Api::share_fetch), tables,
                              peer.link.target(), size, now);
    peer.intake.begin_share_fetch(slot, tables);
    peer.wait_ms = size.max_wait_ms;
    ++tables.shared.stats.fetches;
    peer.acks_since = kNever;  // looked at again after the answer
    send(peer, out, Api::share_fetch, size.max_wait_ms, tables, now);
  }
  // Locks are renewed in requests of their own: a ShareFetch that renews brings no records.
  bool send_renewals(uint32_t i, Tables& tables, Instant now) {
    if (!tables.renewing && tables.acks.renewals() == 0) return false;
    Peer& peer = peers_[i];
    if (!peer.link.can_renew()) return false;
    Renewal renewal(tables.lots, tables.acks);
    if (tables.renewing) renewal.stage(i);
    const bool any = peer.session.has_acks(tables, AckKind::renewal, now);
    if (any) send_acknowledge(i, AckKind::renewal, false, tables, now);
    peer.renewed_last = any;
    if (tables.acks.renewals() == 0) return any;
    for (uint32_t row = 0; row < tables.topology.partition_count(); ++row) renewal.unstage(row);
    return any;
  }
  void send_acknowledge(uint32_t i, AckKind kind, bool final, Tables& tables, Instant now) {
    Peer& peer = peers_[i];
    const int16_t version = peer.link.version(Api::share_acknowledge);
    Writer out = peer.link.begin(Api::share_acknowledge, tables.shared);
    peer.session.encode_acknowledge(out, version, tables, kind, final, now);
    peer.intake.begin_acknowledge(version, kind, tables);
    ++tables.shared.stats.acknowledges;
    if (kind == AckKind::terminal) peer.acks_since = kNever;
    send(peer, out, Api::share_acknowledge, 0, tables, now);
  }
  // An idle long poll must not keep a slot that another link will want.
  bool takes_last_slot(uint32_t i, const Tables& tables) const {
    if (tables.store.free_count() != 0) return false;
    for (uint32_t other = 1; other < peers_.size; ++other) {
      const Peer& peer = peers_[other];
      if (other != i && peer.link.in_use() && peer.intake.slot() == Intake::kNoSlot) return true;
    }
    return false;
  }
  bool send_reread(uint32_t i, uint32_t lot_index, Tables& tables, Instant now) {
    Peer& peer = peers_[i];
    const Lot& lot = tables.lots[lot_index];
    if (now < peer.reread_at) wait(peer.reread_at);
    if (now < peer.reread_at || tables.acks.free_count() == 0) return false;
    if (demand::undelivered_slots(i, tables) > 1) return false;
    const uint32_t slot = tables.store.reserve(i);
    if (slot == Store::kNone) {
      tables.slot_starved = true;
      return false;
    }
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
    last_slot_ = i;
    ++tables.shared.stats.reread;
    send(peer, out, Api::fetch, fetch.max_wait_ms, tables, now);
    return true;
  }
  void send(Peer& peer, Writer& out, Api api, int64_t wait_ms, Tables& tables, Instant now) {
    peer.link.send(out, api, now, tables.shared.options.request_timeout_ms + wait_ms,
                   tables.shared, peer.session.epoch_sent());
  }

  // ---- Verdicts.
  void on_reread(Peer& peer, Tables& tables, Instant now) {
    if (peer.intake.error() == kafka::kNone && peer.intake.saw_data()) {
      peer.reread_attempts = 0;
      return;
    }
    peer.reread_at = now + tables.shared.retry_ms(peer.reread_attempts);
    if (peer.reread_attempts < 16) ++peer.reread_attempts;
  }

  void on_session_answer(Peer& peer, Tables& tables, Instant now) {
    const int16_t error = peer.intake.error();
    if (error != kafka::kNone) return on_session_error(peer, error, tables, now);
    const bool was_open = peer.session.is_open();
    peer.session.succeeded(tables);
    if (was_open && !peer.session.is_open()) {
      peer.ending = false;
      peer.recover_until = Instant{};
      peer.parked = peer.parked && peer.link.sent_at() < peer.brief_until;
      peer.brief_until = later(peer.brief_until, now + Rota::kTurnMs);
    } else if (!was_open && peer.recovering) {
      // What the lost connection had acquired is freed by the end of a session: a broker that sees
      // the new connection first does not do it, nor do we know what the lost answer had brought.
      peer.recovering = false;
      peer.end_session_by(now + Rota::kTurnMs);
    }
    if (tables.retry_acks) peer.hold_until = now + tables.shared.retry_ms(peer.quick_answers++);
    tables.retry_acks = false;
    // A batch that others hold in pieces: whole batches would bring more pieces than there are
    // rows.
    if (peer.intake.surplus() != 0 || peer.intake.fragments() * 4 > tables.lots.count()) {
      strict_left_ = kStrictFetches;
    }
    if (peer.intake.surplus() != 0) {
      peer.session.note_surplus(now + tables.lock_ms);
      Event& event = tables.shared.events.push(EventType::session_surplus);
      event.node = peer.link.target();
      event.value = peer.intake.surplus();
    }
    if (peer.link.request() != Api::share_fetch) return;
    if (peer.intake.throttle_ms() > 0 && !peer.intake.saw_data() && peer.wait_ms > 0) {
      // Records may have been acquired that the answer does not show.
      if (!peer.ending) peer.end_session_by(now + Rota::kTurnMs);
    }
    watch_pace(peer, tables, now);
  }
  // A broker that answers a long poll at once, with nothing, again and again, is not asked in a
  // loop.
  void watch_pace(Peer& peer, Tables& tables, Instant now) {
    const bool quick = now - peer.link.sent_at() < peer.wait_ms / 2;
    if (!quick || peer.intake.saw_data() || peer.wait_ms == 0) {
      peer.quick_answers = 0;
    } else if (++peer.quick_answers > 8) {
      if (peer.quick_answers > 24) peer.quick_answers = 24;
      peer.hold_until = now + tables.shared.retry_ms(peer.quick_answers - 9u);
    }
  }
  void on_session_error(Peer& peer, int16_t error, Tables& tables, Instant now) {
    tables.retry_acks = false;
    peer.session.failed(tables, now);
    peer.ending = false;
    ++tables.shared.stats.session_resets;
    Event& event =
        tables.shared.events.push(EventType::session_reset, {Errc::broker_error, error});
    event.node = peer.link.target();
  }

  static constexpr int64_t kParkedMs = 200;  // on its way, and until the broker looks at it
  static constexpr uint32_t kStrictFetches = 100;
  static constexpr uint32_t kClosingAttempts = 3;  // to reach a broker again

  Span<Peer> peers_{};
  Rota rota_{};
  Instant wake_{};
  uint32_t last_slot_ = 0;
  uint32_t strict_left_ = 0;  // so many fetches yet ask for no more than lots are free
  bool closing_ = false;
};

}  // namespace kshare

#endif  // KSHARE_CORE_LEADERS_HPP
