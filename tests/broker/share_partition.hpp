// SPDX-License-Identifier: Apache-2.0
// What:        one share partition: who holds which offset of a partition for one group.
// Flow:        spans of a log read -> acquire() -> ranges; ack batches -> acknowledge(), settle().
// Memory:      one InFlight a stretch fetched together, erased when the start offset has passed.
// Valid until: results are copies. Times are virtual milliseconds and only grow.
// Errors:      acknowledge() answers Kafka error codes; then nothing but renewals was applied.
#ifndef MINIBROKER_SHARE_PARTITION_HPP
#define MINIBROKER_SHARE_PARTITION_HPP

#include <algorithm>
#include <map>
#include <vector>

#include "in_flight.hpp"

namespace minibroker {

struct Span {  // a complete record batch in the log
  int64_t base;
  int64_t last;
};
struct Acquired {
  int64_t first;
  int64_t last;
  int16_t count;
};
struct AckBatch {
  int64_t first;
  int64_t last;
  std::vector<int8_t> types;  // one for all, or one an offset
};
struct AcquireRequest {
  int32_t member;
  bool record_limit;
  int batch_size;
  int64_t max_records;
  int64_t fetch_offset;
  int64_t now;
};

class SharePartition {
 public:
  SharePartition(int64_t start, const GroupSettings* group, const Config* config)
      : start_(start), next_(start), group_(group), config_(config) {}

  int64_t start() const { return start_; }
  int64_t next_new() const { return next_; }  // first offset never acquired
  int64_t in_flight() const { return cache_.empty() ? 0 : next_ - start_; }
  const std::map<int64_t, InFlight>& cache() const { return cache_; }

  int64_t next_fetch_offset() {
    if (find_free_) {
      for (auto& entry : cache_) {
        const int64_t offset = entry.second.first_free(start_);
        if (offset >= 0) return offset;
      }
      find_free_ = false;
    }
    return next_;
  }
  bool can_acquire() {
    return next_fetch_offset() != next_ || in_flight() < group_->max_record_locks;
  }

  std::vector<Acquired> acquire(const AcquireRequest& q, const std::vector<Span>& spans);

  // All or nothing for the whole list. Accepted terminal acks and releases are in force only after
  // settle(): a fetch in between does not get the offsets.
  int16_t acknowledge(int32_t member, const std::vector<AckBatch>& batches, int64_t now);
  bool settle();  // true: the start offset moved

  // The member's session ended. True: the start offset moved.
  bool release_member(int32_t member) {
    return release_if([member](const Cell& c) { return c.member == member; },
                      config_->decrement_on_close, kNever);
  }
  bool expire(int64_t now) {
    if (now < lock_min_) return false;
    expired_ = false;
    const bool moved =
        release_if([now](const Cell& c) { return c.lock_end <= now; }, false, now);
    return moved || expired_;
  }
  int64_t lock_deadline() const { return lock_min_; }

  void move_start(int64_t offset);            // the log start has moved up to `offset`
  void archive(int64_t first, int64_t last);  // aborted data of a read_committed group
  void reload();                              // a new leader read what had been persisted

  // What became of offsets below the start, in rising order; offsets skipped there are no records.
  struct Past {
    int64_t first;
    int64_t last;
    State state;
    int16_t count;
  };
  const std::vector<Past>& history() const { return history_; }

  // Everything that was ever acquired or passed by; what is behind next_new() is not in it.
  StateCounts counts() const;

  // nullptr: below the start or never acquired.
  const Cell* find(int64_t offset) const {
    auto it = cache_.upper_bound(offset);
    if (it == cache_.begin()) return nullptr;
    --it;
    return it->second.last >= offset ? &it->second.at(offset) : nullptr;
  }

 private:
  using Cache = std::map<int64_t, InFlight>;
  struct Change {
    InFlight* stretch;
    Cell* cell;
    Cell before;
  };

  int throttle_from() const {
    return config_->isolate_poison ? std::max(2, (group_->delivery_limit + 1) / 2) : INT32_MAX;
  }
  Cache::iterator floor(int64_t offset) {
    auto it = cache_.upper_bound(offset);
    return it == cache_.begin() ? cache_.end() : std::prev(it);
  }
  template <class Match>
  bool release_if(const Match& match, bool decrement, int64_t expired_at);
  void release_cell(InFlight& s, Cell& cell, int64_t last, bool decrement);
  void archive_stale(int64_t from, int64_t to);
  bool poisoned(const InFlight& s, int64_t first, int64_t last) const;
  int64_t acquire_cells(const AcquireRequest& q, int64_t room, int64_t first, int64_t last,
                        InFlight& s, std::vector<Acquired>& out);
  int64_t acquire_new(const AcquireRequest& q, int64_t room, int64_t first, int64_t last,
                      const std::vector<Span>& spans, std::vector<Acquired>& out);
  void add(const AcquireRequest& q, int64_t first, int64_t last, int64_t locked_last);
  int16_t acknowledge_batch(int32_t member, const AckBatch& batch, int64_t now);
  int16_t acknowledge_cell(int32_t member, InFlight& s, Cell& cell, int8_t type, int64_t now);
  bool advance();
  void forget_first();

  int64_t start_;
  int64_t next_;
  Cache cache_;
  const GroupSettings* group_;
  const Config* config_;
  std::vector<Change> changes_;  // acknowledged and not yet settled
  std::vector<Past> history_;
  int64_t lock_min_ = kNever;  // no lock ends before this
  bool find_free_ = false;       // some cell may be free
  bool expired_ = false;
};

inline StateCounts SharePartition::counts() const {
  StateCounts sum;
  const auto add = [&sum](State state, int64_t n) {
    switch (state) {
      case State::Available: sum.available += n; break;
      case State::Acquired: sum.acquired += n; break;
      case State::Acknowledged: sum.acknowledged += n; break;
      case State::Archived: sum.archived += n; break;
    }
  };
  for (const Past& p : history_) add(p.state, p.last - p.first + 1);
  for (const auto& entry : cache_) {
    const InFlight& s = entry.second;
    if (s.uniform()) add(s.whole.state, s.size());
    for (const Cell& cell : s.cells) add(cell.state, 1);
  }
  return sum;
}

template <class Match>
bool SharePartition::release_if(const Match& match, bool decrement, int64_t expired_at) {
  int64_t next_lock = kNever;
  for (auto& entry : cache_) {
    InFlight& s = entry.second;
    if (s.lock_min <= expired_at) {
      if (s.uniform() && s.whole.state == State::Acquired && s.first < start_) s.make_cells();
      int64_t s_lock = kNever;
      auto one = [&](Cell& cell, int64_t last) {
        if (cell.state != State::Acquired || cell.busy) return;
        if (match(cell)) release_cell(s, cell, last, decrement);
        else s_lock = std::min(s_lock, cell.lock_end);
      };
      if (s.uniform()) one(s.whole, s.last);
      int64_t offset = s.first;
      for (Cell& cell : s.cells) one(cell, offset++);
      s.lock_min = s_lock;
    }
    next_lock = std::min(next_lock, s.lock_min);
  }
  lock_min_ = next_lock;
  return advance();
}

inline void SharePartition::release_cell(InFlight& s, Cell& cell, int64_t last, bool decrement) {
  const bool spent = !decrement && cell.count >= group_->delivery_limit;
  if (decrement && cell.count > 0) --cell.count;
  s.release(cell, spent || last < start_);
  if (cell.free()) find_free_ = true;
  expired_ = true;
}

// Free offsets between the one asked for and the first batch found are gone from the log.
inline void SharePartition::archive_stale(int64_t from, int64_t to) {
  bool any = false;
  for (auto it = floor(from) == cache_.end() ? cache_.begin() : floor(from); it != cache_.end();
       ++it) {
    InFlight& s = it->second;
    if (s.first >= to) break;
    if (s.last < from) continue;
    if (s.uniform() && s.whole.free() && (s.first < from || s.last >= to)) s.make_cells();
    if (s.uniform()) {
      if (!s.whole.free()) continue;
      s.whole.state = State::Archived;
      any = true;
      continue;
    }
    for (int64_t o = std::max(from, s.first); o < std::min(to, s.last + 1); ++o) {
      if (!s.at(o).free()) continue;
      s.at(o).state = State::Archived;
      any = true;
    }
  }
  if (any) advance();
}

inline bool SharePartition::poisoned(const InFlight& s, int64_t first, int64_t last) const {
  const int from = throttle_from();
  if (s.max_count < from) return false;
  if (s.uniform()) return s.whole.free() && s.whole.count >= from;
  for (int64_t o = std::max(first, s.first); o <= std::min(last, s.last); ++o) {
    const Cell& cell = s.at(o);
    if (cell.state == State::Available && cell.count >= from) return true;
  }
  return false;
}

inline std::vector<Acquired> SharePartition::acquire(const AcquireRequest& q,
                                                     const std::vector<Span>& spans) {
  std::vector<Acquired> out;
  if (spans.empty() || q.max_records <= 0) return out;
  int64_t room = std::min(q.max_records, group_->max_record_locks - in_flight());
  const int64_t asked_first = spans.front().base;
  int64_t last = spans.back().last;
  if (room <= 0) {  // at the limit: only what is in flight already can be acquired again
    if (q.fetch_offset >= next_) return out;
    room = std::min(q.max_records, next_ - q.fetch_offset);
    last = std::min(last, next_ - 1);
  }
  archive_stale(q.fetch_offset, asked_first);
  auto it = floor(asked_first);
  if (it == cache_.end()) it = cache_.begin();
  else if (it->second.last < asked_first) ++it;
  int64_t got = 0;
  bool overlap = false;
  int64_t overlap_end = -1;
  for (; it != cache_.end() && it->first <= last; ++it) {
    overlap = true;
    overlap_end = std::prev(cache_.end())->second.last;
    if (got >= room) break;
    InFlight& s = it->second;
    const bool poison = poisoned(s, asked_first, last);
    if (poison && got > 0) return out;
    const bool full = s.first >= asked_first && s.last <= last;
    const bool too_many = q.record_limit && s.size() > room - got;
    if (full && s.uniform() && !too_many && !poison) {
      if (!s.whole.free()) continue;
      s.acquire(s.whole, q.member, q.now + group_->lock_ms);
      lock_min_ = std::min(lock_min_, s.whole.lock_end);
      out.push_back({s.first, s.last, s.whole.count});
      got += s.size();
      continue;
    }
    if (s.uniform()) {
      if (!s.whole.free()) continue;
      s.make_cells();
    }
    const int64_t n = acquire_cells(q, room - got, asked_first, last, s, out);
    got += n;
    if (poison && n > 0) return out;
  }
  if (got < room && (!overlap || overlap_end < last)) {
    acquire_new(q, room - got, overlap ? overlap_end + 1 : asked_first, last, spans, out);
  }
  return out;
}

// Takes the free cells of one stretch. Near the delivery limit fewer at a time, the last one alone.
inline int64_t SharePartition::acquire_cells(const AcquireRequest& q, int64_t room, int64_t first,
                                             int64_t last, InFlight& s,
                                             std::vector<Acquired>& out) {
  const int limit = config_->isolate_poison && group_->delivery_limit > 2 ? group_->delivery_limit
                                                                          : INT32_MAX;
  const size_t begin = out.size();
  int64_t got = 0;
  int64_t half = -1;
  for (int64_t o = s.first_free(first); o >= 0 && o <= last; o = s.first_free(o + 1)) {
    Cell& cell = s.at(o);
    if (cell.count == limit - 1 && got > 0) break;
    if (half < 0 && cell.count >= throttle_from()) {
      half = std::max<int64_t>(1, s.size() >> (cell.count - throttle_from() + 1));
    }
    s.acquire(cell, q.member, q.now + group_->lock_ms);
    lock_min_ = std::min(lock_min_, cell.lock_end);
    ++got;
    if (config_->merge_acquired && out.size() > begin && out.back().last == o - 1 &&
        out.back().count == cell.count) {
      out.back().last = o;
    } else {
      out.push_back({o, o, cell.count});
    }
    // Not >=: when more than half were taken before, the real one goes on too.
    if (cell.count == limit || got == half || (q.record_limit && got == room)) break;
  }
  return got;
}

inline int64_t SharePartition::acquire_new(const AcquireRequest& q, int64_t room, int64_t first,
                                           int64_t last, const std::vector<Span>& spans,
                                           std::vector<Acquired>& out) {
  first = std::max(first, next_);
  if (first > last) return 0;
  if (last - first + 1 > room) {  // to the end of the batch that holds the last one wanted
    const int64_t wanted = first + room - 1;
    last = wanted;
    for (const Span& span : spans) {
      if (span.base <= wanted && wanted <= span.last) last = span.last;
    }
  }
  if (cache_.empty()) start_ = first;
  lock_min_ = std::min(lock_min_, q.now + group_->lock_ms);
  next_ = last + 1;
  if (q.record_limit) {
    const int64_t locked = std::min(last, first + room - 1);
    add(q, first, last, locked);
    out.push_back({first, locked, 1});
    return locked - first + 1;
  }
  int64_t from = first;
  if (last - first + 1 > q.batch_size) {  // cut at batch boundaries, about batch_size each
    for (const Span& span : spans) {
      if (span.base > last) break;
      if (span.base - from < q.batch_size) continue;
      add(q, from, span.base - 1, span.base - 1);
      out.push_back({from, span.base - 1, 1});
      from = span.base;
    }
  }
  add(q, from, last, last);
  out.push_back({from, last, 1});
  return last - first + 1;
}

// A new stretch, locked up to `locked`; what is behind that stays free with count 0.
inline void SharePartition::add(const AcquireRequest& q, int64_t first, int64_t last,
                                int64_t locked) {
  InFlight& s = cache_.emplace(first, InFlight(first, last, Cell{})).first->second;
  const int64_t end = q.now + group_->lock_ms;
  if (locked == last) {
    s.acquire(s.whole, q.member, end);
    return;
  }
  s.make_cells();
  for (int64_t o = first; o <= locked; ++o) s.acquire(s.at(o), q.member, end);
  find_free_ = true;
}

}  // namespace minibroker

#include "share_partition_ack.hpp"

#endif  // MINIBROKER_SHARE_PARTITION_HPP
