// SPDX-License-Identifier: Apache-2.0
// What:        Custody: what the application holds, and what it says about it: acknowledge, renew,
//              detach, commit, release all.
// Flow:        ShareConsumer -> core/engine.hpp -> here -> ack/ack_buffer.hpp; core/leaders.hpp
//              sends.
// Memory:      none of its own but a few flags.
// Errors:      each call's Status; nothing changes then, but for lock_lost, which frees the slot.
#ifndef KSHARE_CORE_CUSTODY_HPP
#define KSHARE_CORE_CUSTODY_HPP

#include <cstdint>
#include <string_view>

#include "kshare/core/leaders.hpp"
#include "kshare/core/storage.hpp"
#include "kshare/core/tables.hpp"

namespace kshare {

// A record that was handed out and that the application has not acknowledged yet.
struct HeldRecord {
  std::string_view topic;  // valid until the next subscribe() or unsubscribe()
  int32_t partition = 0;
  int64_t offset = 0;
  int16_t delivery_count = 0;  // 0 if the lock is lost
  Instant lock_deadline{};     // moves when a renewal has been confirmed
  RecordId id;
  bool lock_lost = false;  // it is delivered again; acknowledging it only frees its slot
  bool renewing = false;   // a renewal is on its way
  bool detached = false;   // its bytes are gone
};

// What has become of one partition's acknowledgements in a commit.
struct CommitResult {
  std::string_view topic;  // empty if the topic has been forgotten meanwhile
  Uuid topic_id{};
  int32_t partition = 0;
  uint32_t records = 0;
  Status status{};  // in_progress, ok, or the first failure: broker_error with Kafka's code,
                    // lock_lost, or disconnected: nobody knows, they may come again
};

class Custody {
 public:
  void attach(Span<Peer> peers) {
    make_anew(*this);
    peers_ = peers;
  }

  // `freed`: a store slot is free by it.
  Status settle(Tables& tables, Leaders& leaders, RecordId id, Ack type, bool& freed, Instant now) {
    const bool known = id.slot < tables.acks.count();
    const uint32_t link = known ? tables.lots[tables.acks.slot(id.slot).lot].link : uint32_t{0};
    if (type == Ack::renew && known && tables.acks.slot(id.slot).is_held() &&
        tables.acks.is_held(id) && !may_renew(peers_[link], tables, now)) {
      refuse_renewal(tables, id, peers_[link]);
      return {Errc::cannot_renew, 0};
    }
    const Status status = tables.acks.acknowledge(id, type, freed);
    if (status.ok() && type != Ack::renew) leaders.ack_made(link, now);
    if (status.code == Errc::lock_lost) ++tables.shared.stats.acks_failed;
    return status;
  }
  // The record at this offset that was handed out last; all-zero: none.
  static RecordId find(const Tables& tables, std::string_view topic, int32_t partition,
                       int64_t offset) {
    const Topology& topology = tables.topology;
    for (uint32_t p = 0; p < topology.partition_count(); ++p) {
      const PartitionRow& row = topology.partition(p);
      if (!row.used || row.index != partition || topology.topic_name(p) != topic) continue;
      const RecordId id = tables.acks.find(p, offset);
      if (id.generation != 0) return id;
    }
    return {};
  }

  static bool held(const Tables& tables, uint32_t i, HeldRecord& record) {
    if (i >= tables.acks.count()) return false;
    const AckSlot& ack = tables.acks.slot(i);
    const bool lost = ack.state == AckState::lost;
    if (!lost && !ack.is_held()) return false;
    const Lot& lot = tables.lots[ack.lot];
    const uint32_t row = lost ? ack.next : lot.partition;
    record = HeldRecord{};
    record.topic = tables.topology.topic_name(row);
    record.partition = tables.topology.partition(row).index;
    record.offset = ack.first;
    record.id = tables.acks.id_of(i);
    record.lock_lost = lost;
    record.renewing = ack.renews();
    record.detached = ack.slot == 0;
    if (lost) return true;
    record.delivery_count = lot.delivery_count;
    record.lock_deadline = lot.lock_min;
    return true;
  }

  // ---- Commits.
  static Status commit(Tables& tables, Ticket& ticket) {
    const uint32_t count = tables.topology.partition_count();
    uint32_t partitions = 0;
    for (uint32_t p = 0; p < count; ++p) partitions += waits(tables, p) ? 1u : 0u;
    Commits& commits = tables.acks.commits;
    ticket = commits.begin(partitions);
    if (ticket == 0) return {Errc::too_many, 0};
    for (uint32_t p = 0; p < count; ++p) {
      const AckBuffer::Tagged tagged = tables.acks.name_for_commit(p, Commits::tag(ticket));
      if (tagged.slots == 0) continue;
      const PartitionRow& row = tables.topology.partition(p);
      CommitRow its;
      its.topic_id = tables.topology.topic(row.topic).id;
      its.ticket = ticket;
      its.partition = row.index;
      its.records = tagged.records;
      its.open = tagged.slots;
      its.list = static_cast<uint16_t>(p);
      commits.add(its);
    }
    return {};
  }
  static bool commit_result(const Tables& tables, Ticket ticket, uint32_t i, CommitResult& result) {
    const CommitRow* const row = tables.acks.commits.result(ticket, i);
    if (row == nullptr) return false;
    const uint32_t topic = tables.topology.find_topic(row->topic_id);
    result = CommitResult{};
    if (topic != kNoRow) result.topic = tables.topology.name(topic);
    result.topic_id = row->topic_id;
    result.partition = row->partition;
    result.records = row->records;
    result.status = row->open != 0 ? Status{Errc::in_progress, 0} : row->status;
    return true;
  }

  // ---- An application that holds everything, and so gets nothing more: told once an episode.
  void watch_stall(Tables& tables) {
    const bool stalled = is_stalled(tables);
    if (stalled && !stalled_) {
      tables.shared.events.push(EventType::stalled).value = tables.acks.held();
    }
    stalled_ = stalled;
  }

 private:
  // While other leaders wait for the link, a renewal is not honoured for ever.
  static bool may_renew(const Peer& peer, const Tables& tables, Instant now) {
    if (peer.link.ready() && !peer.link.can_renew()) return false;
    return !peer.leaving || now - peer.since < tables.lock_ms;
  }
  static void refuse_renewal(Tables& tables, RecordId id, const Peer& peer) {
    if (!peer.leaving) return;
    const AckSlot& ack = tables.acks.slot(id.slot);
    Event& event = tables.tell(EventType::renew_failed, tables.lots[ack.lot].partition,
                               {Errc::cannot_renew, 0});
    event.first = event.last = ack.first;
  }
  static bool waits(const Tables& tables, uint32_t partition) {
    for (uint32_t i = tables.acks.head(partition); i != kNoAck; i = tables.acks.next(i)) {
      const AckSlot& ack = tables.acks.slot(i);
      if (ack.is_unanswered() && ack.commit == 0) return true;
    }
    return false;
  }
  static bool is_stalled(const Tables& tables) {
    if (tables.acks.held() == 0) return false;
    if (tables.acks.held() == tables.acks.count()) return true;
    for (uint32_t s = 0; s < tables.store.count(); ++s) {
      const StoreSlot& slot = tables.store.slot(s);
      if (slot.state != SlotState::ready || slot.lots_head != 0) return false;
    }
    return tables.acks.pending() == 0;
  }

  Span<Peer> peers_{};
  bool stalled_ = false;
};

}  // namespace kshare

#endif  // KSHARE_CORE_CUSTODY_HPP
