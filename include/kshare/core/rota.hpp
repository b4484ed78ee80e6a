// SPDX-License-Identifier: Apache-2.0
// What:        which broker the next free leader link should serve.
// Flow:        core/topology.hpp, the links -> here -> core/leaders.hpp.
// Memory:      none.
// Errors:      kNoRow, 0: none.
#ifndef KSHARE_CORE_ROTA_HPP
#define KSHARE_CORE_ROTA_HPP

#include <cstdint>

#include "kshare/core/storage.hpp"
#include "kshare/core/topology.hpp"

namespace kshare {
namespace rota {

inline bool serves(Span<Peer> peers, int32_t node) {
  for (uint32_t i = 1; i < peers.size; ++i) {
    if (peers[i].link.in_use() && peers[i].link.target() == node) return true;
  }
  return false;
}

// A link that is not in use; 0: none.
inline uint32_t free_link(Span<Peer> peers) {
  for (uint32_t i = 1; i < peers.size; ++i) {
    if (!peers[i].link.in_use()) return i;
  }
  return 0;
}

// The leader without a link that has waited longest, as a row of the broker table.
inline uint32_t next_leader(Span<Peer> peers, const Topology& topology) {
  uint32_t best = kNoRow;
  for (uint32_t p = 0; p < topology.partition_count(); ++p) {
    const PartitionRow& row = topology.partition(p);
    if (!row.assigned || row.leader < 0 || serves(peers, row.leader)) continue;
    const uint32_t broker = topology.find_broker(row.leader);
    if (broker == kNoRow) continue;
    if (best == kNoRow || topology.broker(broker).turn < topology.broker(best).turn) best = broker;
  }
  return best;
}

}  // namespace rota
}  // namespace kshare

#endif  // KSHARE_CORE_ROTA_HPP
