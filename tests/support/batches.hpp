// SPDX-License-Identifier: Apache-2.0
// What:        record batches as a test describes them, a store of its own, and a walk through the
//              Records field in pieces of any size.
// Flow:        Batch -> bytes (tests/broker/codec.hpp) -> kshare::Walker -> Item.
// Memory:      heap blocks of exactly their size, so that a sanitizer sees each octet.
#ifndef KSHARE_TESTS_BATCHES_HPP
#define KSHARE_TESTS_BATCHES_HPP

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../broker/codec.hpp"
#include "kshare/record/walker.hpp"

namespace batches {

inline uint32_t size32(size_t size) { return static_cast<uint32_t>(size & 0xFFFFFFFFu); }
inline kshare::Bytes bytes_of(const std::string& text) { return kshare::as_bytes(text); }

// What lies in a slot, or ought to: a record or a mark.
struct Item {
  kshare::ChunkKind kind = kshare::ChunkKind::records;
  int64_t first = 0;
  int64_t last = 0;
  int64_t timestamp = 0;
  int32_t leader_epoch = 0;
  std::string body;  // key, value and headers as on the wire

  friend bool operator==(const Item& a, const Item& b) {
    return a.kind == b.kind && a.first == b.first && a.last == b.last &&
           a.timestamp == b.timestamp && a.leader_epoch == b.leader_epoch && a.body == b.body;
  }
};
using Items = std::vector<Item>;

inline Item mark(kshare::ChunkKind kind, int64_t first, int64_t last) {
  Item item;
  item.kind = kind;
  item.first = first;
  item.last = last;
  return item;
}

// ---- Batches.
struct Wired {  // a record and what it takes on the wire
  Item item;
  uint32_t size = 0;
};
struct Batch {
  int64_t base = 0;
  int64_t last = 0;
  bool control = false;
  bool bad_crc = false;
  std::vector<Wired> records;
  std::string bytes;
};

inline minibroker::Rec rec(int32_t delta, const std::string& value) {
  minibroker::Rec r;
  r.offset_delta = delta;
  r.value = value;
  r.timestamp = 1000 + delta;
  return r;
}
// Offset delta n has a value of `bytes` octets or a few more.
inline std::vector<minibroker::Rec> recs(const std::vector<int32_t>& deltas, size_t bytes = 3) {
  std::vector<minibroker::Rec> all;
  for (int32_t delta : deltas) {
    const size_t more = static_cast<size_t>(delta) % 4;
    all.push_back(rec(delta, std::to_string(delta) + std::string(bytes + more, 'v')));
  }
  return all;
}

inline Batch make(int64_t base, const std::vector<minibroker::Rec>& records,
                  const minibroker::BatchOptions& options = {}) {
  Batch batch;
  batch.base = base;
  batch.control = options.control;
  batch.bad_crc = options.corrupt_crc;
  batch.bytes = minibroker::build_batch(base, records, options, &batch.last);
  int64_t base_time = records.empty() ? 0 : records.front().timestamp;
  int64_t max_time = base_time;
  for (const auto& r : records) max_time = std::max(max_time, r.timestamp);
  for (const auto& r : records) {
    Wired wired;
    const std::string whole = minibroker::encode_record(r, r.timestamp - base_time, r.offset_delta);
    kshare::RecordHead head;
    static_cast<void>(kshare::parse_record_head(bytes_of(whole), head));
    wired.item.first = wired.item.last = base + r.offset_delta;
    wired.item.timestamp = options.log_append_time ? max_time : r.timestamp;
    wired.item.leader_epoch = options.leader_epoch < 0 ? 0 : options.leader_epoch;
    wired.item.body = whole.substr(head.head_bytes);
    wired.size = size32(whole.size());
    batch.records.push_back(wired);
  }
  return batch;
}

inline std::string join(const std::vector<Batch>& all) {
  std::string bytes;
  for (const Batch& batch : all) bytes += batch.bytes;
  return bytes;
}

// Sets the CRC of the first batch of `bytes` right again.
inline void mend_crc(std::string& bytes) {
  const uint32_t length = kshare::load_be32(reinterpret_cast<const uint8_t*>(bytes.data()) + 8);
  const size_t end = std::min<size_t>(bytes.size(), size_t{12} + length);
  if (end <= 21) return;
  const uint32_t crc = minibroker::crc32c(bytes.data() + 21, end - 21);
  for (uint32_t i = 0; i < 4; ++i) bytes[17 + i] = static_cast<char>((crc >> (24 - 8 * i)) & 0xFF);
}

// ---- A store.
// The compiler must not see the size: gcc 12 at -O2 then invents offsets beyond it.
inline uint32_t unfold(uint32_t bytes) {
  volatile uint32_t hidden = bytes;
  return hidden;
}

struct Box {
  Box(uint32_t slots, uint32_t slot_bytes)
      : rows(slots), memory(new uint8_t[unfold(slots * slot_bytes)]) {
    store.attach({rows.data(), slots}, memory.get(), slot_bytes);
  }
  // What lies in a slot, read out to its end.
  Items take(uint32_t slot) {
    Items items;
    kshare::StoreItem item;
    while (store.peek(slot, item)) {
      Item copy;
      copy.kind = item.chunk.kind;
      copy.first = item.first;
      copy.last = item.last;
      if (copy.kind == kshare::ChunkKind::records) {
        copy.timestamp = item.timestamp;
        copy.leader_epoch = item.chunk.leader_epoch;
        copy.body = std::string(item.body.text());
      }
      items.push_back(copy);
      store.skip(slot, item);
    }
    return items;
  }
  std::vector<kshare::StoreSlot> rows;
  std::unique_ptr<uint8_t[]> memory;
  kshare::Store store;
};

// ---- A walk.
using Ranges = std::vector<std::pair<int64_t, int64_t>>;

inline bool next_range(const void* context, int64_t at, int64_t& first, int64_t& last) {
  for (const auto& range : *static_cast<const Ranges*>(context)) {
    if (range.second < at) continue;
    first = range.first;
    last = range.second;
    return true;
  }
  return false;
}

struct Trip {  // what is asked of a walk
  int64_t from = 0;
  bool from_exact = false;
  int64_t hint = 0;
  Ranges wanted{{0, INT64_MAX}};
  uint32_t slot_bytes = 4096;
  bool check_crcs = true;
  kshare::CodecRegistry* codecs = nullptr;
};
struct Outcome {
  bool done = false;  // the field was consumed to its end
  bool walked = false;
  bool cut = false;
  int64_t first = 0;
  int64_t end = 0;
  Items items;

  friend bool operator==(const Outcome& a, const Outcome& b) {
    return a.done == b.done && a.walked == b.walked && a.cut == b.cut &&
           (!a.walked || (a.first == b.first && a.end == b.end)) && a.items == b.items;
  }
};

// How the octets come: a window, and how many of them at a time, the first time and later.
struct Pieces {
  uint32_t window = 4096;
  uint32_t first = UINT32_MAX;
  uint32_t then = UINT32_MAX;
};

inline Outcome walk(const std::string& bytes, const Trip& trip, const Pieces& pieces = {}) {
  Box box(1, trip.slot_bytes);
  const std::unique_ptr<uint8_t[]> window(new uint8_t[pieces.window]);
  kshare::Reader in;
  in.attach(window.get(), pieces.window);
  kshare::WalkPlan plan;
  plan.wanted = kshare::Wanted::ranges(next_range, &trip.wanted);
  plan.from = trip.from;
  plan.from_exact = trip.from_exact;
  plan.hint = trip.hint;
  plan.slot = box.store.reserve(1);
  plan.check_crcs = trip.check_crcs;
  plan.codecs = trip.codecs;
  kshare::Walker walker;
  const uint32_t total = size32(bytes.size());
  walker.begin(plan, total);
  in.begin_frame(total);
  Outcome outcome;
  uint32_t at = 0;
  uint32_t piece = pieces.first;
  while (!(outcome.done = walker.run(box.store, in))) {
    const kshare::MutableBytes space = in.space();
    const uint32_t count = std::min({space.size, piece, total - at});
    if (count == 0) break;  // stuck: done stays false
    std::memcpy(space.data, bytes.data() + at, count);
    in.filled(count);
    at += count;
    piece = pieces.then;
  }
  if (!outcome.done) walker.abandon();
  outcome.walked = walker.walked();
  outcome.cut = walker.cut();
  outcome.first = walker.walk_first();
  outcome.end = walker.walk_end();
  outcome.items = box.take(plan.slot);
  return outcome;
}

}  // namespace batches

#endif  // KSHARE_TESTS_BATCHES_HPP
