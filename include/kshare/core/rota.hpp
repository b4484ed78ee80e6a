// SPDX-License-Identifier: Apache-2.0
// What:        Rota: which leader link serves which broker; with more leaders than links they take
//              turns.
// Flow:        core/topology.hpp, the links -> here -> core/leaders.hpp.
// Memory:      a few dozen bytes.
// Errors:      none; kNoRow, 0: none.
#ifndef KSHARE_CORE_ROTA_HPP
#define KSHARE_CORE_ROTA_HPP

#include <cstdint>

#include "kshare/core/storage.hpp"
#include "kshare/core/tables.hpp"

namespace kshare {

class Rota {
 public:
  static constexpr int64_t kTurnMs = 1000;

  void attach(Span<Peer> peers) { peers_ = peers; }

  // Some leader has had to wait for a link lately.
  bool crowded(Instant now) const { return now < crowded_until_; }

  // Gives every leader a link as far as there are links. Answers when a link must make room.
  Instant assign(Tables& tables, Instant now) {
    turn_over_ = kNever;
    for (uint32_t i = 1; i < peers_.size; ++i) retire(i, tables, now);
    give_links(tables, now);
    uint32_t leaders = 0;
    for (uint32_t i = 1; i < peers_.size; ++i) leaders += peers_[i].link.in_use() ? 1u : 0u;
    // Whoever is alone for a moment, as the brokers are asked for anew, does not take what is left.
    if (leaders > 1) tables.ack_part = tables.acks.count() / peers_.size;
    else if (tables.acks.used() == 0) tables.ack_part = 0;
    return turn_over_;
  }

 private:
  void give_links(Tables& tables, Instant now) {
    for (;;) {
      const uint32_t broker = next_leader(tables.topology);
      if (broker == kNoRow) return;
      const uint32_t link = free_link();
      if (link == 0) return take_turns(now);
      tables.topology.note_turn(broker, ++turns_);
      peers_[link].link.set_target(tables.topology.broker(broker).node_id, now, tables.shared);
      peers_[link].session.ended(tables);
      peers_[link].since = now;
      peers_[link].ending = peers_[link].leaving = false;
    }
  }
  bool serves(int32_t node) const {
    for (uint32_t i = 1; i < peers_.size; ++i) {
      if (peers_[i].link.in_use() && peers_[i].link.target() == node) return true;
    }
    return false;
  }
  // A link that is not in use; 0: none.
  uint32_t free_link() const {
    for (uint32_t i = 1; i < peers_.size; ++i) {
      if (!peers_[i].link.in_use()) return i;
    }
    return 0;
  }
  // The leader without a link that has waited longest, as a row of the broker table.
  uint32_t next_leader(const Topology& topology) const {
    uint32_t best = kNoRow;
    for (uint32_t p = 0; p < topology.partition_count(); ++p) {
      const PartitionRow& row = topology.partition(p);
      if (!row.assigned || row.leader < 0 || serves(row.leader)) continue;
      const uint32_t broker = topology.find_broker(row.leader);
      if (broker == kNoRow) continue;
      if (best == kNoRow || topology.broker(broker).turn < topology.broker(best).turn) {
        best = broker;
      }
    }
    return best;
  }

  // A link whose broker leads nothing of ours any more, or whose turn is over, ends its session and
  // stops. Without a connection there is nothing to wait for: the new leader has it all.
  void retire(uint32_t i, Tables& tables, Instant now) {
    Peer& peer = peers_[i];
    if (!peer.link.in_use()) return;
    const bool leads = tables.topology.is_leader(peer.link.target());
    if (leads && peer.leaving && !crowded(now)) peer.leaving = peer.ending = false;  // it is back
    if (!leads) leave(peer, now);
    if (!peer.leaving) {
      peer.ending = peer.ending && peer.session.is_open();
      return;
    }
    peer.ending = true;
    if (leads) turn_over_ = earlier(turn_over_, crowded_until_);  // it may be back by then
    const bool connected = peer.link.ready();
    if (connected && (peer.session.is_open() || tables.has_lots(i) || peer.link.busy())) return;
    for (uint32_t lot = 0; lot < tables.lots.count(); ++lot) {
      if (tables.lots[lot].used && tables.lots[lot].link == i) {
        tables.lose_lot(lot, {Errc::lock_lost, 0});
      }
    }
    peer.link.stop(tables.shared);
    // The next leader is another broker.
    peer.leaving = peer.ending = peer.recovering = peer.parked = false;
    peer.recover_until = Instant{};
    peer.since = now;
  }
  static void leave(Peer& peer, Instant now) {
    if (!peer.leaving) peer.since = now;
    peer.leaving = true;
  }
  // The one that has been served longest makes room for the next.
  void take_turns(Instant now) {
    crowded_until_ = now + kTurnMs;
    uint32_t oldest = 0;
    for (uint32_t i = 1; i < peers_.size; ++i) {
      if (peers_[i].leaving) return;
      if (oldest == 0 || peers_[i].since < peers_[oldest].since) oldest = i;
    }
    const Instant over = peers_[oldest].since + kTurnMs;
    if (now >= over) {
      leave(peers_[oldest], now);
      peers_[oldest].ending = true;
    }
    turn_over_ = earlier(turn_over_, later(now, over));
  }

  Span<Peer> peers_{};
  Instant crowded_until_{};
  Instant turn_over_ = kNever;  // when a link must make room for a leader that waits
  uint32_t turns_ = 0;
};

}  // namespace kshare

#endif  // KSHARE_CORE_ROTA_HPP
