// SPDX-License-Identifier: Apache-2.0
// What:        Locks: acquisition locks that come to their end: renewed while the application goes
//              on taking records, given back when it has stopped, lost when nothing else is left.
// Flow:        core/engine.hpp says when records are taken -> here -> core/leaders.hpp sends the
//              renewals, core/tables.hpp gives up what is lost.
// Memory:      a few dozen bytes.
// Errors:      events released_unseen and lock_expired.
//
//   acquired          half of the lock         lock.margin.ms   lock_min ...... lock_max
//   |  handed out     |  renewed (4.2+), or    |  given back    |  acks travel  |  lost
//   |                 |  given back if nobody  |                |  apart        |
//   |                 |  takes records         |                |               |
#ifndef KSHARE_CORE_LOCKS_HPP
#define KSHARE_CORE_LOCKS_HPP

#include <cstdint>

#include "kshare/core/handout.hpp"
#include "kshare/core/storage.hpp"
#include "kshare/core/tables.hpp"

namespace kshare {

class Locks {
 public:
  void attach(Span<Peer> peers) {
    make_anew(*this);
    peers_ = peers;
  }

  Instant due_at() const { return due_at_; }

  // ---- Whether the application takes records. A call of next() that was not turned away for want
  // of ack slots says so; how long the work on one record takes does not matter.
  // True: nothing was fetched lately, as nobody asked.
  bool on_asked(Tables& tables) {
    asked_ = true;
    const bool idle = tables.idle;
    tables.idle = false;
    return idle;
  }
  void on_poll(Instant now) {
    if (!asked_) return;
    asked_ = false;
    idle_since_ = now;
  }

  // New lots, or other times.
  void plan(Tables& tables, Instant now) { plan(tables, now, now); }
  void expire(Tables& tables, bool closing, Instant now) {
    for (uint32_t i = 0; i < tables.lots.count(); ++i) {
      Lot& lot = tables.lots[i];
      if (!lot.used) continue;
      if (lot.renewing) {  // the answer will tell about what is being renewed
        if (now >= lot.lock_max) tables.lose_not_renewing(i);
      } else if (now >= lot.lock_max) {
        tables.lose_lot(i, {Errc::lock_lost, 0});
      } else if (lot.owes()) {
        const bool idle = nobody_takes(lot, tables, now);
        if (idle || now >= tables.too_late_at(lot)) {
          tables.idle = tables.idle || idle;
          lot.renew = false;
          Handout::give_back(tables, i);
        } else if (now >= half(lot, tables)) {
          lot.renew = !closing && can_renew(lot, tables);
        }
      }
    }
    plan(tables, now, now + kAgainMs);  // acks in flight keep their lot a while
  }

 private:
  static constexpr uint32_t kAgainMs = 50;

  // A lot that is due already is looked at again at `again`, however many others are due before.
  void plan(Tables& tables, Instant now, Instant again) {
    due_at_ = kNever;
    tables.renewing = false;
    for (uint32_t i = 0; i < tables.lots.count(); ++i) {
      const Lot& lot = tables.lots[i];
      if (!lot.used) continue;
      tables.renewing = tables.renewing || lot.renew;
      const Instant look = next_look(lot, tables, now);
      due_at_ = earlier(due_at_, {look > now ? look.ms : again.ms});
    }
  }
  static uint32_t again_ms(const Tables& tables) {
    return tables.lock_part(20) < kAgainMs ? kAgainMs : tables.lock_part(20);
  }
  static Instant half(const Lot& lot, const Tables& tables) {
    return {lot.lock_min.ms - tables.lock_part(2)};
  }
  // For half a lock, and half of the first one is gone.
  bool nobody_takes(const Lot& lot, const Tables& tables, Instant now) const {
    const bool had_half = lot.renewed || now >= half(lot, tables);
    return !asked_ && had_half && now - idle_since_ >= tables.lock_part(2);
  }
  // A link that is wanted for another leader, or whose session is to end, holds nothing longer than
  // it must.
  bool can_renew(const Lot& lot, const Tables& tables) const {
    const Peer& peer = peers_[lot.link];
    return tables.shared.options.auto_renew && !lot.no_renewal && !lot.doubtful &&
           peer.link.ready() && peer.link.can_renew() && peer.session.is_open() && !peer.ending;
  }
  Instant next_look(const Lot& lot, const Tables& tables, Instant now) const {
    if (lot.renewing) return now + kAgainMs;
    if (!lot.owes()) return lot.lock_max;
    const Instant middle = half(lot, tables);
    const Instant too_late = tables.too_late_at(lot);
    if (now >= too_late) return too_late;
    const Instant asked = {asked_ ? now.ms : idle_since_.ms};
    const Instant idle = asked + tables.lock_part(2);
    const Instant soon = now + 1;
    if (now < middle) return lot.renewed ? earlier(middle, later(idle, soon)) : middle;
    Instant look = {asked_ ? too_late.ms : idle.ms};
    if (lot.renew) {
      const Instant awaited = tables.renewal_awaited_until(lot);
      if (now < awaited) look = earlier(look, awaited);
    } else if (can_renew(lot, tables)) {
      // It could not be renewed when half was gone; or it was, but no row was free for the new
      // time. On a grid: answers come and go, and each plans anew.
      Instant again = middle;
      while (again < soon) again.ms += again_ms(tables);
      look = earlier(look, again);
    }
    return earlier(too_late, later(look, soon));
  }

  Span<Peer> peers_{};
  Instant due_at_ = kNever;
  Instant idle_since_{};
  bool asked_ = false;
};

}  // namespace kshare

#endif  // KSHARE_CORE_LOCKS_HPP
