// SPDX-License-Identifier: Apache-2.0
// What:        Stats: counters since start(), all plain sums.
// Flow:        core/ machines count -> ShareConsumer::stats().
// Memory:      8 bytes each, inside the consumer.
#ifndef KSHARE_CORE_STATS_HPP
#define KSHARE_CORE_STATS_HPP

#include <cstdint>

namespace kshare {

struct Stats {
  uint64_t records = 0;         // handed out
  uint64_t bytes = 0;           // of them: keys, values and headers as on the wire
  uint64_t redelivered = 0;     // handed out with a delivery count above 1
  uint64_t acks_ok = 0;         // records whose acknowledgement the broker confirmed
  uint64_t acks_failed = 0;     // refused for good, or too late: they come again
  uint64_t acks_unknown = 0;    // the answer was lost: they may come again
  uint64_t gaps = 0;            // acquired offsets without a record, acknowledged as gaps
  uint64_t released = 0;        // records confirmed as released
  uint64_t rejected = 0;        // records confirmed as rejected
  uint64_t renewed = 0;         // offsets whose lock the broker has renewed
  uint64_t renew_failed = 0;    // offsets whose renewal it refused, or whose answer was lost
  uint64_t expired = 0;         // not handed out, or taken back, because the lock had run out
  uint64_t reread = 0;          // plain fetches for bytes that did not fit the first time
  uint64_t fetches = 0;         // ShareFetch requests
  uint64_t acknowledges = 0;    // ShareAcknowledge requests
  uint64_t heartbeats = 0;      // ShareGroupHeartbeat requests
  uint64_t requests = 0;        // all requests
  uint64_t reconnects = 0;      // connections opened after one had been lost or refused
  uint64_t session_resets = 0;  // share sessions opened again
  uint64_t bytes_received = 0;  // from the network; over `bytes`: the amplification
  uint64_t bytes_sent = 0;
  uint64_t events_lost = 0;     // overwritten before next_event() took them
};

}  // namespace kshare

#endif  // KSHARE_CORE_STATS_HPP
