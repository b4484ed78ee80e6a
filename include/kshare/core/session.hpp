// SPDX-License-Identifier: Apache-2.0
// What:        Session: the share session on one link: its epoch, which partitions are in it, and
//              the requests that carry acks, add partitions and forget them.
// Flow:        core/engine.hpp decides -> Session encodes -> the answer's verdict comes back
//              (succeeded, failed).
// Memory:      32 bytes a link; membership is a bit in the partition's row.
// Errors:      any top-level error but none, a time-out, a lost connection: the epoch goes back to
//              0. Cheap, and always right; whether the broker had advanced its own does not matter
//              then.
// Source:      KIP-932. An opening request (epoch 0) carries no acks. A partition listed only for
//              its acks joins the session, so it is forgotten in the same request. One request at a
//              time.
#ifndef KSHARE_CORE_SESSION_HPP
#define KSHARE_CORE_SESSION_HPP

#include <cstdint>

#include "kshare/ack/ack_batches.hpp"
#include "kshare/core/tables.hpp"
#include "kshare/message/share_acknowledge.hpp"
#include "kshare/message/share_fetch.hpp"

namespace kshare {

// What a ShareFetch asks for; all zero acquires nothing and is answered at once.
struct FetchSize {
  int32_t max_wait_ms = 0;
  int32_t max_bytes = 0;
  int32_t max_records = 0;
  bool strict = false;  // never more than max_records, whatever share.acquire.mode says (4.2+)
};

class Session {
 public:
  void attach(uint32_t link) {
    make_anew(*this);
    link_ = static_cast<uint8_t>(link);
  }

  // 0 opens; then 1, 2, ..., the largest, 1.
  static constexpr int32_t epoch_after(int32_t epoch) {
    return epoch == INT32_MAX ? 1 : epoch + 1;
  }
  int32_t epoch() const { return epoch_; }
  int32_t epoch_sent() const { return final_ ? -1 : epoch_; }
  bool is_open() const { return epoch_ > 0; }
  // Ranges were acquired that found no row: the end of the session frees them, and so does time.
  bool surplus(Instant now) const { return now < surplus_until_; }
  Instant surplus_until() const { return surplus_until_; }
  void note_surplus(Instant until) { surplus_until_ = until; }
  Instant retry_at() const { return retry_at_; }

  // ---- Which partitions.
  bool contains(const PartitionRow& row) const { return (row.sessions & bit()) != 0; }
  static bool wanted(const PartitionRow& row, int32_t node, Instant now) {
    return row.assigned && row.leader == node && now >= row.retry_at;
  }
  // True if the partition is to be added, or is in the session and stays.
  bool has_partitions(const Tables& tables, int32_t node, Instant now) const {
    for (uint32_t i = 0; i < tables.topology.partition_count(); ++i) {
      if (wanted(tables.topology.partition(i), node, now)) return true;
    }
    return false;
  }
  bool has_to_forget(const Tables& tables, int32_t node, Instant now) const {
    for (uint32_t i = 0; i < tables.topology.partition_count(); ++i) {
      const PartitionRow& row = tables.topology.partition(i);
      if (contains(row) && !wanted(row, node, now)) return true;
    }
    return false;
  }
  bool has_acks(const Tables& tables, AckKind kind, Instant now) const {
    if ((kind == AckKind::renewal ? tables.acks.renewals() : tables.acks.pending()) == 0) {
      return false;
    }
    AckClass its = AckClass::sound;
    for (uint32_t i = 0; i < tables.topology.partition_count(); ++i) {
      if (AckBatchWriter::first_class(tables.acks, kind, i, link_, now, its)) return true;
    }
    return false;
  }

  // ---- Requests. Each leaves the writer complete.
  void encode_fetch(Writer& out, int16_t version, Tables& tables, int32_t node,
                    const FetchSize& size, Instant now) {
    const Options& options = tables.shared.options;
    ShareFetchHead head;
    head.group_id = options.group_id;
    head.member_id = tables.shared.member();
    head.session_epoch = epoch_;
    head.max_wait_ms = size.max_wait_ms;
    head.min_bytes = size.max_records == 0 ? 0 : options.fetch_min_bytes;
    head.max_bytes = version < 2 && size.max_bytes == 0 ? 1 : size.max_bytes;  // 4.1 refuses 0
    head.max_records = size.max_records;
    head.batch_size = options.max_poll_records;
    head.acquire_mode =
        static_cast<int8_t>(size.strict ? AcquireMode::record_limit : options.acquire_mode);
    encode_share_fetch_head(out, version, head);
    kind_ = AckKind::terminal;
    write_topics(out, tables, {node, true, is_open(), false, now});
    end_listing(tables, true);
    write_topics(out, tables, {node, false, false, true, now});  // ForgottenTopicsData
    out.no_tags();
  }
  void encode_acknowledge(Writer& out, int16_t version, Tables& tables, AckKind kind, bool final,
                          Instant now) {
    ShareAcknowledgeHead head;
    head.group_id = tables.shared.options.group_id;
    head.member_id = tables.shared.member();
    head.session_epoch = final ? -1 : epoch_;
    head.renew = kind == AckKind::renewal;
    kind_ = kind;
    encode_share_acknowledge_head(out, version, head);
    write_topics(out, tables, {kNoNode, false, true, false, now});
    end_listing(tables, false);
    out.no_tags();
    final_ = final;
  }

  // ---- Verdicts.
  void succeeded(Tables& tables) {
    attempts_ = 0;
    if (final_) return ended(tables);
    epoch_ = epoch_after(epoch_);
  }
  // Back to epoch 0. The next opening waits for a back-off if this was an error.
  void failed(Tables& tables, Instant now) {
    forget_all(tables);
    clear();
    retry_at_ = now + tables.shared.retry_ms(attempts_);
    if (attempts_ < 16) ++attempts_;
  }
  // The connection is gone, or the session was ended on purpose.
  void ended(Tables& tables) {
    forget_all(tables);
    clear();
  }

 private:
  static constexpr int32_t kNoNode = -1;
  // Behind Topics there must be room for this: ForgottenTopicsData with one entry, and tags.
  static constexpr uint32_t kRoomBehind = 32;
  static constexpr uint32_t kPartitionBytes = 4 + 1 + 1;

  uint32_t bit() const { return 1u << link_; }
  void clear() {
    epoch_ = 0;
    final_ = false;
    surplus_until_ = Instant{};
  }
  void forget_all(Tables& tables) {
    for (uint32_t i = 0; i < tables.topology.partition_count(); ++i) {
      tables.topology.partition(i).sessions &= ~bit();
    }
  }

  // Which partitions a list in a request is to have, those of which node.
  struct Wish {
    int32_t node;
    bool adding;
    bool acking;
    bool forgetting;  // instead
    Instant now;
  };

  void write_topics(Writer& out, Tables& tables, const Wish& wish) {
    const uint32_t topics = out.begin_array();
    uint32_t topic_count = 0;
    bool full = false;
    for (uint32_t t = 0; t < tables.topology.topic_count() && !full; ++t) {
      if (!tables.topology.topic(t).used) continue;
      const uint32_t start = out.size();
      out.uuid(tables.topology.topic(t).id);  // TopicId
      const uint32_t partitions = out.begin_array();
      uint32_t count = 0;
      for (uint32_t p = 0; p < tables.topology.partition_count() && !full; ++p) {
        PartitionRow& row = tables.topology.partition(p);
        if (!row.used || row.topic != t) continue;
        const int written = wish.forgetting ? write_forgotten(out, row, wish)
                                            : write_partition(out, tables, p, wish);
        full = written < 0 || count + 1 == Writer::kArrayMax;
        if (written > 0) ++count;
      }
      if (count == 0) {
        out.rewind(start);
        continue;
      }
      out.end_array(partitions, count);
      out.no_tags();
      ++topic_count;
      full = full || topic_count == Writer::kArrayMax;
    }
    out.end_array(topics, topic_count);
  }
  // 1: written, 0: nothing to write, -1: no room.
  int write_partition(Writer& out, Tables& tables, uint32_t p, const Wish& wish) {
    PartitionRow& row = tables.topology.partition(p);
    const bool add = wish.adding && !contains(row) && wanted(row, wish.node, wish.now);
    AckClass its = AckClass::sound;
    const bool has = wish.acking && AckBatchWriter::first_class(tables.acks, kind_, p, link_,
                                                                wish.now, its);
    if (!add && !has) return 0;
    const uint32_t start = out.size();
    if (!out.has_room(kRoomBehind + kPartitionBytes)) return -1;
    out.i32(row.index);  // PartitionIndex
    uint32_t batches = 0;
    if (has) {
      AckBatchWriter writer{tables.acks, kind_, out, kRoomBehind};
      batches = writer.write(p, link_, its, wish.now);  // AcknowledgementBatches
    } else {
      out.empty_array();
    }
    out.no_tags();
    if (!add && batches == 0) {
      out.rewind(start);
      return -1;
    }
    if (add) {
      row.sessions |= bit();
    } else if (!contains(row)) {
      row.ack_listed = true;
    }
    return 1;
  }
  void end_listing(Tables& tables, bool adds) {
    for (uint32_t i = 0; i < tables.topology.partition_count(); ++i) {
      PartitionRow& row = tables.topology.partition(i);
      if (adds && row.ack_listed) row.sessions |= bit();  // listing it for its acks has added it
      row.ack_listed = false;
    }
  }
  int write_forgotten(Writer& out, PartitionRow& row, const Wish& wish) {
    if (!contains(row) || wanted(row, wish.node, wish.now)) return 0;
    if (!out.has_room(4 + 3)) return -1;
    out.i32(row.index);  // Partitions
    row.sessions &= ~bit();
    return 1;
  }

  Instant retry_at_{};
  Instant surplus_until_{};
  int32_t epoch_ = 0;
  uint8_t link_ = 0;
  uint8_t attempts_ = 0;
  AckKind kind_ = AckKind::terminal;  // of the request that is being written
  bool final_ = false;
};

}  // namespace kshare

#endif  // KSHARE_CORE_SESSION_HPP
