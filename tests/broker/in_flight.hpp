// SPDX-License-Identifier: Apache-2.0
// What:        delivery state of one stretch of offsets that was fetched for a group together.
// Flow:        SharePartition keeps these by first offset; they begin uniform and split on demand.
// Memory:      one Cell while uniform, one Cell an offset after make_cells().
// Valid until: indices and references hold until make_cells() of the same stretch.
// Errors:      none; the caller checks states before it changes them.
#ifndef MINIBROKER_IN_FLIGHT_HPP
#define MINIBROKER_IN_FLIGHT_HPP

#include <cstdint>
#include <vector>

#include "config.hpp"

namespace minibroker {

constexpr int64_t kNever = INT64_MAX;

struct Cell {
  State state = State::Available;
  bool busy = false;  // acknowledged, but the acknowledgement is not yet in force
  int16_t count = 0;  // deliveries
  int32_t member = -1;
  int64_t lock_end = kNever;

  bool terminal() const { return state == State::Acknowledged || state == State::Archived; }
  bool free() const { return state == State::Available && !busy; }
};

class InFlight {
 public:
  InFlight(int64_t first_offset, int64_t last_offset, const Cell& cell)
      : first(first_offset), last(last_offset), whole(cell), lock_min(cell.lock_end) {
    max_count = cell.count;
  }

  const int64_t first;
  const int64_t last;
  Cell whole;
  std::vector<Cell> cells;  // empty: `whole` holds for every offset
  int64_t lock_min;         // no lock in here ends before this
  int max_count = 0;        // no delivery count in here was ever larger

  bool uniform() const { return cells.empty(); }
  int64_t size() const { return last - first + 1; }
  size_t index(int64_t offset) const { return static_cast<size_t>(offset - first); }
  Cell& at(int64_t offset) { return uniform() ? whole : cells[index(offset)]; }
  const Cell& at(int64_t offset) const { return uniform() ? whole : cells[index(offset)]; }

  void make_cells() {
    if (!uniform()) return;
    cells.assign(static_cast<size_t>(size()), whole);
    free_from_ = 0;
    done_ = 0;
  }

  // Offset of the first free cell at or after `from`, or -1. Cheap when asked in rising order.
  int64_t first_free(int64_t from) {
    if (uniform()) return whole.free() ? (from > first ? from : first) : -1;
    while (free_from_ < cells.size() && !cells[free_from_].free()) ++free_from_;
    size_t i = from > first ? index(from) : 0;
    if (i < free_from_) i = free_from_;
    while (i < cells.size() && !cells[i].free()) ++i;
    return i < cells.size() ? first + static_cast<int64_t>(i) : -1;
  }

  void acquire(Cell& cell, int32_t member, int64_t lock_end) {
    cell.state = State::Acquired;
    cell.member = member;
    cell.lock_end = lock_end;
    ++cell.count;
    if (cell.count > max_count) max_count = cell.count;
    if (lock_end < lock_min) lock_min = lock_end;
  }

  // The lock of a cell is over: free again, or archived when it may not be delivered any more.
  void release(Cell& cell, bool archive) {
    cell.state = archive ? State::Archived : State::Available;
    cell.busy = false;
    cell.member = -1;
    cell.lock_end = kNever;
    if (!archive) free_from_ = 0;
  }

  // First offset that is not terminal, or last + 1.
  int64_t first_open() {
    if (uniform()) return whole.terminal() && !whole.busy ? last + 1 : first;
    while (done_ < cells.size() && cells[done_].terminal() && !cells[done_].busy) ++done_;
    return first + static_cast<int64_t>(done_);
  }

 private:
  size_t free_from_ = 0;  // no cell before this one is free
  size_t done_ = 0;       // all cells before this one are terminal for good
};

}  // namespace minibroker

#endif  // MINIBROKER_IN_FLIGHT_HPP
