// SPDX-License-Identifier: Apache-2.0
// What:        the acknowledging half of SharePartition, and what moves its start offset.
// Flow:        included by share_partition.hpp only.
// Memory:      one Change for each cell acknowledged, until settle() or the roll-back.
// Valid until: see share_partition.hpp.
// Errors:      42 beyond what is in flight, 121 not held by the member, -1 see below; first wins.
#ifndef MINIBROKER_SHARE_PARTITION_ACK_HPP
#define MINIBROKER_SHARE_PARTITION_ACK_HPP

#include "share_partition.hpp"

namespace minibroker {

inline int16_t SharePartition::acknowledge(int32_t member, const std::vector<AckBatch>& batches,
                                           int64_t now) {
  const size_t mark = changes_.size();
  for (const AckBatch& batch : batches) {
    const int16_t error = acknowledge_batch(member, batch, now);
    if (error == kNone) continue;
    while (changes_.size() > mark) {  // terminal acks and releases roll back, renewals stay
      *changes_.back().cell = changes_.back().before;
      changes_.pop_back();
    }
    return error;
  }
  return kNone;
}

inline int16_t SharePartition::acknowledge_batch(int32_t member, const AckBatch& batch,
                                                 int64_t now) {
  if (batch.last < start_) return kNone;
  auto it = floor(batch.first);
  if (it == cache_.end()) {
    if (batch.first >= start_) return kInvalidRecordState;
    it = floor(start_);
    if (it == cache_.end()) return kUnknownServerError;  // the real one throws: the whole request
  }
  auto end = cache_.upper_bound(batch.last);
  const int64_t known = std::prev(end)->second.last;
  if (known < batch.first || known < batch.last) return kInvalidRequest;
  for (; it != end; ++it) {
    InFlight& s = it->second;
    if (s.last < start_ || s.last < batch.first) continue;
    const bool full = s.first >= batch.first && s.last <= batch.last;
    if (s.uniform() && full && batch.types.size() == 1 && s.first >= start_) {
      const int16_t error = acknowledge_cell(member, s, s.whole, batch.types[0], now);
      if (error != kNone) return error;
      continue;
    }
    if (s.uniform()) {
      if (s.whole.state != State::Acquired || s.whole.busy) return kInvalidRecordState;
      if (s.whole.member != member) return kInvalidRecordState;
      s.make_cells();
    }
    const int64_t from = std::max(std::max(batch.first, s.first), start_);
    for (int64_t o = from; o <= std::min(batch.last, s.last); ++o) {
      const size_t at = batch.types.size() == 1 ? 0 : static_cast<size_t>(o - batch.first);
      const int16_t error = acknowledge_cell(member, s, s.at(o), batch.types[at], now);
      if (error != kNone) return error;
    }
  }
  return kNone;
}

inline int16_t SharePartition::acknowledge_cell(int32_t member, InFlight& s, Cell& cell,
                                                int8_t type, int64_t now) {
  if (cell.state != State::Acquired || cell.busy || cell.member != member) {
    return kInvalidRecordState;
  }
  if (type == kRenew) {
    if (!group_->renew_enabled) return kInvalidRecordState;
    cell.lock_end = now + group_->lock_ms;
    return kNone;
  }
  changes_.push_back({&s, &cell, cell});
  cell.busy = true;
  cell.state = type == kAccept    ? State::Acknowledged
               : type == kRelease ? State::Available
                                  : State::Archived;
  return kNone;
}

inline bool SharePartition::settle() {
  for (const Change& change : changes_) {
    Cell& cell = *change.cell;
    cell.busy = false;
    cell.member = -1;
    cell.lock_end = kNever;
    if (cell.state != State::Available) continue;
    change.stretch->release(cell, cell.count >= group_->delivery_limit);
    if (cell.free()) find_free_ = true;
  }
  const bool any = !changes_.empty();
  changes_.clear();
  return any && advance();
}

// Moves the start past what is settled and forgets finished stretches. True: it moved.
inline bool SharePartition::advance() {
  const int64_t before = start_;
  while (!cache_.empty()) {
    InFlight& s = cache_.begin()->second;
    const int64_t open = s.first_open();
    if (open <= s.last) {
      start_ = std::max(start_, open);
      break;
    }
    start_ = std::max(start_, s.last + 1);
    forget_first();
    // Offsets between two stretches do not exist in the log.
    if (!cache_.empty()) start_ = std::max(start_, cache_.begin()->first);
  }
  if (cache_.empty()) next_ = std::max(next_, start_);
  return start_ != before;
}

inline void SharePartition::forget_first() {
  const InFlight& s = cache_.begin()->second;
  const auto note = [this](int64_t first, int64_t last, const Cell& cell) {
    const State state = cell.terminal() ? cell.state : State::Archived;
    Past* past = history_.empty() ? nullptr : &history_.back();
    if (past != nullptr && past->last + 1 == first && past->state == state &&
        past->count == cell.count) {
      past->last = last;
    } else {
      history_.push_back({first, last, state, cell.count});
    }
  };
  if (s.uniform()) note(s.first, s.last, s.whole);
  int64_t offset = s.first;
  for (const Cell& cell : s.cells) {
    note(offset, offset, cell);
    ++offset;
  }
  cache_.erase(cache_.begin());
}

inline void SharePartition::move_start(int64_t offset) {
  if (offset <= start_) return;
  settle();
  start_ = std::max(start_, offset);
  while (!cache_.empty() && cache_.begin()->second.last < offset) forget_first();
  if (cache_.empty()) {
    next_ = std::max(next_, offset);
    return;
  }
  if (cache_.begin()->first < offset) archive(cache_.begin()->first, offset - 1);
  else advance();  // past what had been settled behind what is gone
}

inline void SharePartition::archive(int64_t first, int64_t last) {
  for (auto& entry : cache_) {
    InFlight& s = entry.second;
    if (s.first > last) break;
    if (s.last < first) continue;
    if (s.first < first || s.last > last) s.make_cells();
    if (s.uniform()) {
      if (!s.whole.terminal()) s.release(s.whole, true);
      continue;
    }
    for (int64_t o = std::max(first, s.first); o <= std::min(last, s.last); ++o) {
      if (!s.at(o).terminal()) s.release(s.at(o), true);
    }
  }
  advance();
}

// Acquisitions are not persisted: they are forgotten with the delivery they had counted. What was
// persisted comes back as one stretch for each run of offsets of the same state and count.
inline void SharePartition::reload() {
  settle();
  Cache old;
  old.swap(cache_);
  int64_t first = 0;
  int64_t last = -1;
  Cell run;
  const auto flush = [&] {
    if (last >= first) cache_.emplace(first, InFlight(first, last, run));
  };
  const auto add_cells = [&](int64_t from, int64_t to, Cell cell) {
    if (cell.state == State::Acquired) --cell.count;
    const State state = cell.terminal() ? cell.state : State::Available;
    if (last >= first && last + 1 == from && run.state == state && run.count == cell.count) {
      last = to;
      return;
    }
    flush();
    run = Cell{};
    run.state = state;
    run.count = cell.count;
    first = from;
    last = to;
  };
  for (const auto& entry : old) {
    const InFlight& s = entry.second;
    if (s.uniform()) add_cells(s.first, s.last, s.whole);
    int64_t offset = s.first;
    for (const Cell& cell : s.cells) {
      add_cells(offset, offset, cell);
      ++offset;
    }
  }
  flush();
  while (!cache_.empty()) {  // nothing of the last stretches was ever persisted
    const InFlight& s = std::prev(cache_.end())->second;
    if (s.whole.state != State::Available || s.whole.count != 0) break;
    next_ = s.first;
    cache_.erase(std::prev(cache_.end()));
  }
  if (cache_.empty()) next_ = start_;
  lock_min_ = kNever;
  find_free_ = true;
}

}  // namespace minibroker

#endif  // MINIBROKER_SHARE_PARTITION_ACK_HPP
