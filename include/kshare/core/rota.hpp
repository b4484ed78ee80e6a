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

  void attach(Span<Peer> peers) { links_ = leader_links(peers); }

  // Some leader has had to wait for a link lately.
  bool crowded(Instant now) const { return now < crowded_until_; }

  // Gives every leader a link as far as there are links. Answers when a link must make room.
  Instant assign(Tables& tables, Instant now) {
    turn_over_ = kNever;
    for (Peer& peer : links_) retire(peer, tables, now);
    give_links(tables, now);
    uint32_t leaders = 0;
    for (const Peer& peer : links_) leaders += peer.link.in_use() ? 1u : 0u;
    // Whoever is alone for a moment, as the brokers are asked for anew, does not take what is left.
    if (leaders > 1) tables.ack_part = tables.acks.count() / (links_.size + 1);
    else if (tables.acks.used() == 0) tables.ack_part = 0;
    return turn_over_;
  }

 private:
  void give_links(Tables& tables, Instant now) {
    for (;;) {
      const uint32_t broker = next_leader(tables.topology);
      if (broker == kNoRow) return;
      Peer* const peer = free_link();
      if (peer == nullptr) return take_turns(now);
      const int32_t node = tables.topology.note_turn(broker, ++turns_);
      peer->link.set_target(node, now, tables.shared);
      peer->session.ended(tables);
      peer->since = now;
      peer->ending = peer->leaving = false;
    }
  }
  bool serves(int32_t node) const {
    for (const Peer& peer : links_) {
      if (peer.link.in_use() && peer.link.target() == node) return true;
    }
    return false;
  }
  // A link that is not in use; null: none.
  Peer* free_link() const {
    for (Peer& peer : links_) {
      if (!peer.link.in_use()) return &peer;
    }
    return nullptr;
  }
  // The leader without a link that has waited longest, as a row of the broker table.
  uint32_t next_leader(const Topology& topology) const {
    uint32_t best = kNoRow;
    uint32_t best_turn = 0;
    for (const PartitionRow& row : topology.partitions()) {
      if (!row.assigned || row.leader < 0 || serves(row.leader)) continue;
      const uint32_t broker = topology.find_broker(row.leader);
      if (broker == kNoRow) continue;
      const uint32_t turn = topology.broker(broker).turn;
      if (best != kNoRow && turn >= best_turn) continue;
      best = broker;
      best_turn = turn;
    }
    return best;
  }

  // A link whose broker leads nothing of ours any more, or whose turn is over, ends its session and
  // stops. Without a connection there is nothing to wait for: the new leader has it all.
  void retire(Peer& peer, Tables& tables, Instant now) {
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
    const uint32_t link = peer.link.index();
    const bool connected = peer.link.ready();
    if (connected && (peer.session.is_open() || tables.has_lots(link) || peer.link.busy())) return;
    for (uint32_t i = 0; i < tables.lots.count(); ++i) {
      const Lot& lot = tables.lots[i];
      if (lot.used && lot.link == link) tables.lose_lot(i, {Errc::lock_lost, 0});
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
    Peer* oldest = &links_[0];
    for (Peer& peer : links_) {
      if (peer.leaving) return;
      if (peer.since < oldest->since) oldest = &peer;
    }
    const Instant over = oldest->since + kTurnMs;
    if (now >= over) {
      leave(*oldest, now);
      oldest->ending = true;
    }
    turn_over_ = earlier(turn_over_, later(now, over));
  }

  Span<Peer> links_{};
  Instant crowded_until_{};
  Instant turn_over_ = kNever;  // when a link must make room for a leader that waits
  uint32_t turns_ = 0;
};

}  // namespace kshare

#endif  // KSHARE_CORE_ROTA_HPP
