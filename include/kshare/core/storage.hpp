// SPDX-License-Identifier: Apache-2.0
// What:        Storage<kLimits>: all the memory of one consumer, and Memory, the same without the
//              template.
// Flow:        the application declares it (static: it belongs in .bss) -> ShareConsumer ->
//              core/engine.hpp.
// Memory:      this is it; examples/static_memory.cpp prints the parts. It must be zero when its
//              first consumer is made, as whatever is static is; a later one goes on counting
//              where the one before was, so that the RecordIds of that one stay unknown.
// Valid until: it must outlive its consumer. One consumer at a time.
// Errors:      limits that make no sense do not compile.
#ifndef KSHARE_CORE_STORAGE_HPP
#define KSHARE_CORE_STORAGE_HPP

#include <cstdint>

#include "kshare/ack/ack_buffer.hpp"
#include "kshare/ack/lots.hpp"
#include "kshare/core/event.hpp"
#include "kshare/core/intake.hpp"
#include "kshare/core/limits.hpp"
#include "kshare/core/link.hpp"
#include "kshare/core/session.hpp"
#include "kshare/core/topology.hpp"
#include "kshare/record/store.hpp"

namespace kshare {

// One connection with what belongs to it.
struct Peer {
  // What is asked for most lies in front, where short instructions reach it.
  bool ending = false;      // the session is to be ended; opened again unless leaving
  bool leaving = false;     // the link is to be free for another leader
  bool renewed_last = false;  // the last request renewed locks
  bool recovering = false;  // the connection was lost with records acquired, perhaps unseen
  bool parked = false;      // a long poll was lost; until brief_until it may go on at the broker
  uint8_t reread_attempts = 0;
  uint8_t quick_answers = 0;
  int32_t wait_ms = 0;      // MaxWaitMs of the ShareFetch that is out
  Link link{};
  Session session{};
  Intake intake{};
  Instant acks_since = kNever;  // when the oldest ack that waits for company was made
  Instant reread_at{};      // a plain fetch that brought nothing is not repeated before
  Instant hold_until{};     // after an answer that must not be repeated at once
  Instant since{};          // when its turn began, or when it began to leave
  Instant recover_until{};  // so long the session waits for the application before it is ended
  Instant brief_until{};    // long polls are short: records just freed do not wake them

  bool is_polling() const {
    return link.busy() && link.request() == Api::share_fetch && wait_ms > 0;
  }
  void end_session_by(Instant until) {
    ending = true;
    recover_until = until;
  }
  // The session has been opened, or it is over.
  void trace_session(const Shared& shared) const {
    link.trace(TraceKind::session, {}, session.epoch(), shared);
  }
};

// The links to partition leaders: all but the first, which is the control link.
inline Span<Peer> leader_links(Span<Peer> peers) { return {peers.data + 1, peers.size - 1}; }

// Room for `count` objects, without a constructor: a static one stays in .bss. Whoever the span is
// given to makes them.
template <typename T, uint32_t count>
struct Room {
  alignas(T) unsigned char bytes[sizeof(T) * count];

  Span<T> span() { return {static_cast<T*>(static_cast<void*>(bytes)), count}; }
};

template <const Limits& L>
struct Storage {
  static_assert(L.links_max >= 2 && L.links_max <= 32, "links_max: 2 to 32");
  static_assert(L.receive_window_bytes >= 512, "receive_window_bytes: 512 at least");
  static_assert(L.send_window_bytes >=
                    L.topic_names_bytes + 3 * L.topics_max + L.group_id_bytes +
                        L.client_id_bytes * 2 + 64,
                "send_window_bytes: a heartbeat with all topic names must fit");
  static_assert(L.send_window_bytes >= L.group_id_bytes + L.client_id_bytes + 320,
                "send_window_bytes: a ShareFetch with acknowledgements must fit");
  static_assert(L.topic_names_bytes + 20 * L.topics_max + L.client_id_bytes + 32 <=
                    L.send_window_bytes * 2,
                "send_window_bytes: too small for Metadata by name");
  static_assert(L.store_slots >= L.links_max - 1 && L.store_slots >= 2 && L.store_slots <= 255,
                "store_slots: one per link at least, at most 255");
  static_assert(L.slot_bytes() >= 256, "store_bytes / store_slots: 256 at least");
  static_assert(L.records_max >= 2 && L.records_max <= 65535, "records_max: 2 to 65535");
  static_assert(L.lots_max >= 4 && L.lots_max <= 65535, "lots_max: 4 to 65535");
  static_assert(L.partitions_max >= 1 && L.partitions_max <= 65535, "partitions_max: 1 to 65535");
  static_assert(L.topics_max >= 1 && L.topics_max <= Writer::kArrayMax, "topics_max: 1 to 126");
  static_assert(L.topic_names_bytes <= 65535, "topic_names_bytes: at most 65535");
  static_assert(L.brokers_max >= 2 && L.brokers_max >= L.links_max, "brokers_max: links_max");
  static_assert(L.host_bytes >= 16 && L.host_bytes <= 256, "host_bytes: 16 to 256");
  static_assert(L.events_max >= 4, "events_max: 4 at least");
  static_assert(L.error_text_bytes <= 65535, "error_text_bytes: at most 65535");
  static_assert(L.work_bytes >= L.receive_window_bytes, "work_bytes: a receive window at least");

  Room<Peer, L.links_max> peers;
  unsigned char receive_windows[L.links_max * L.receive_window_bytes];
  unsigned char send_windows[L.links_max * L.send_window_bytes];
  Room<StoreSlot, L.store_slots> slots;
  alignas(8) unsigned char store[L.store_slots * L.slot_bytes()];
  Room<AckSlot, L.records_max> acks;
  Room<CommitRow, L.partitions_max> commits;
  Room<Lot, L.lots_max> lots;
  Room<PartitionLists, L.partitions_max> lists;
  Room<PartitionRow, L.partitions_max> partitions;
  Room<TopicRow, L.topics_max * 2> topics;  // and topics created again while the old one is held
  char topic_names[L.topic_names_bytes];
  Room<BrokerRow, L.brokers_max> brokers;
  char hosts[L.brokers_max * L.host_bytes];
  Room<Event, L.events_max> events;
  char bootstrap[L.bootstrap_bytes];
  char group_id[L.group_id_bytes];
  char client_id[L.client_id_bytes];
  char client_rack[L.client_id_bytes];
  char error_text[L.error_text_bytes];
  const void* user;  // the consumer that uses it
};

struct Memory {
  const Limits* limits = nullptr;
  Span<Peer> peers{};
  uint8_t* receive_windows = nullptr;
  uint8_t* send_windows = nullptr;
  Span<StoreSlot> slots{};
  uint8_t* store = nullptr;
  Span<AckSlot> acks{};
  Span<CommitRow> commits{};
  Span<Lot> lots{};
  Span<PartitionLists> lists{};
  Span<PartitionRow> partitions{};
  Span<TopicRow> topics{};
  Span<char> topic_names{};
  Span<BrokerRow> brokers{};
  Span<char> hosts{};
  Span<Event> events{};
  Span<char> bootstrap{};
  Span<char> group_id{};
  Span<char> client_id{};
  Span<char> client_rack{};
  Span<char> error_text{};
  const void** user = nullptr;

  template <const Limits& L>
  static Memory of(Storage<L>& s) {
    Memory m;
    m.limits = &L;
    m.peers = s.peers.span();
    m.receive_windows = s.receive_windows;
    m.send_windows = s.send_windows;
    m.slots = s.slots.span();
    m.store = s.store;
    m.acks = s.acks.span();
    m.commits = s.commits.span();
    m.lots = s.lots.span();
    m.lists = s.lists.span();
    m.partitions = s.partitions.span();
    m.topics = s.topics.span();
    m.topic_names = {s.topic_names, L.topic_names_bytes};
    m.brokers = s.brokers.span();
    m.hosts = {s.hosts, L.brokers_max * L.host_bytes};
    m.events = s.events.span();
    m.bootstrap = {s.bootstrap, L.bootstrap_bytes};
    m.group_id = {s.group_id, L.group_id_bytes};
    m.client_id = {s.client_id, L.client_id_bytes};
    m.client_rack = {s.client_rack, L.client_id_bytes};
    m.error_text = {s.error_text, L.error_text_bytes};
    m.user = &s.user;
    return m;
  }

  // The peers as they are when nothing has happened yet, with their windows.
  void make_peers() const {
    const uint32_t receive = limits->receive_window_bytes;
    const uint32_t send = limits->send_window_bytes;
    for (uint32_t i = 0; i < peers.size; ++i) {
      Peer& peer = make_anew(peers[i]);
      peer.link.attach({receive_windows + i * receive, receive},
                       {send_windows + i * send, send}, i);
    }
  }
};

}  // namespace kshare

#endif  // KSHARE_CORE_STORAGE_HPP
