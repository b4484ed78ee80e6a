// SPDX-License-Identifier: Apache-2.0
// What:        Limits: every size that kshare ever allots, as one constexpr value, and the presets.
// Flow:        core/limits.hpp -> core/storage.hpp makes the tables, net/posix.hpp the sockets.
// Memory:      a value at compile time; examples/static_memory.cpp prints what each line costs.
// Errors:      limits that contradict each other do not compile: Storage asserts limits_error() to
//              be "none".
//
//   static constexpr auto kLimits = [] { auto l = kshare::kDefaultLimits; l.links_max = 4; return
//   l; }();
#ifndef KSHARE_CORE_LIMITS_HPP
#define KSHARE_CORE_LIMITS_HPP

#include <cstdint>

namespace kshare {

struct Limits {
  // Connections: one to the group coordinator, the others to partition leaders. With more leaders
  // than links the leaders take turns. At least 2, at most 32.
  uint32_t links_max;
  // Per link, in bytes. Responses stream through the receive window, whatever their size; a larger
  // window means fewer system calls. A request must fit the send window.
  uint32_t receive_window_bytes;
  uint32_t send_window_bytes;
  // The record store: `store_slots` equal parts of `store_bytes`, one filled by each fetch. A batch
  // larger than a slot is received again for each slotful; a record larger than a slot cannot be
  // handed out (event record_too_large).
  uint32_t store_slots;
  uint32_t store_bytes;
  // Records handed out whose acknowledgement the broker has not confirmed yet. When all are in use,
  // next() gives nothing until acknowledgements have been answered. Of several leaders each leaves
  // a part of them to the others (one of links_max), so that none has them all when it freezes.
  uint32_t records_max;
  // Acquired ranges in hand. An answer with more of them costs a new share session (event).
  uint32_t lots_max;
  // Assigned partitions. An assignment with more is served in part (event assignment_too_large).
  uint32_t partitions_max;
  // Subscribed topics, and the bytes of all their names together. More: subscribe() refuses.
  uint32_t topics_max;
  uint32_t topic_names_bytes;
  // Brokers whose address is kept, and the longest host name in bytes.
  uint32_t brokers_max;
  uint32_t host_bytes;
  // Texts copied by start(); a longer one is refused.
  uint32_t bootstrap_bytes;
  uint32_t group_id_bytes;
  uint32_t client_id_bytes;  // the limit of client.id, and of client.rack
  // The ring of events, and the text kept for last_error().
  uint32_t events_max;
  uint32_t error_text_bytes;
  // Input that one poll() takes in at most, in bytes.
  uint32_t work_bytes;

  constexpr uint32_t slot_bytes() const { return store_bytes / store_slots / 8 * 8; }
};

// 16 KiB in all: a sensor or a small gateway, one or two brokers at a time.
inline constexpr Limits kTinyLimits = {
    /*links_max*/ 2,        /*receive_window_bytes*/ 1024, /*send_window_bytes*/ 512,
    /*store_slots*/ 2,      /*store_bytes*/ 4096,          /*records_max*/ 48,
    /*lots_max*/ 24,        /*partitions_max*/ 16,         /*topics_max*/ 4,
    /*topic_names_bytes*/ 256, /*brokers_max*/ 4,          /*host_bytes*/ 64,
    /*bootstrap_bytes*/ 128, /*group_id_bytes*/ 64,        /*client_id_bytes*/ 32,
    /*events_max*/ 8,       /*error_text_bytes*/ 120,      /*work_bytes*/ 65536,
};

// 64 KiB in all.
inline constexpr Limits kSmallLimits = {
    /*links_max*/ 4,        /*receive_window_bytes*/ 2048, /*send_window_bytes*/ 1024,
    /*store_slots*/ 4,      /*store_bytes*/ 16384,         /*records_max*/ 256,
    /*lots_max*/ 64,        /*partitions_max*/ 48,         /*topics_max*/ 8,
    /*topic_names_bytes*/ 512, /*brokers_max*/ 8,          /*host_bytes*/ 128,
    /*bootstrap_bytes*/ 256, /*group_id_bytes*/ 128,       /*client_id_bytes*/ 64,
    /*events_max*/ 16,      /*error_text_bytes*/ 248,      /*work_bytes*/ 65536,
};

// 512 KiB in all, half of it kept for the codecs.
inline constexpr Limits kDefaultLimits = {
    /*links_max*/ 8,        /*receive_window_bytes*/ 8192, /*send_window_bytes*/ 4096,
    /*store_slots*/ 8,      /*store_bytes*/ 131072,        /*records_max*/ 1024,
    /*lots_max*/ 256,       /*partitions_max*/ 256,        /*topics_max*/ 32,
    /*topic_names_bytes*/ 2048, /*brokers_max*/ 32,        /*host_bytes*/ 256,
    /*bootstrap_bytes*/ 1024, /*group_id_bytes*/ 256,      /*client_id_bytes*/ 128,
    /*events_max*/ 64,      /*error_text_bytes*/ 504,      /*work_bytes*/ 65536,
};

// 2 MiB in all, half of it kept for the codecs.
inline constexpr Limits kLargeLimits = {
    /*links_max*/ 16,       /*receive_window_bytes*/ 16384, /*send_window_bytes*/ 8192,
    /*store_slots*/ 16,     /*store_bytes*/ 524288,         /*records_max*/ 4096,
    /*lots_max*/ 1024,      /*partitions_max*/ 1024,        /*topics_max*/ 64,
    /*topic_names_bytes*/ 4096, /*brokers_max*/ 64,         /*host_bytes*/ 256,
    /*bootstrap_bytes*/ 2048, /*group_id_bytes*/ 256,       /*client_id_bytes*/ 128,
    /*events_max*/ 128,     /*error_text_bytes*/ 504,       /*work_bytes*/ 65536,
};

}  // namespace kshare

#endif  // KSHARE_CORE_LIMITS_HPP
