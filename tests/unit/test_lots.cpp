// SPDX-License-Identifier: Apache-2.0
// ack/lots.hpp: acquired ranges, what a walk means for them, and the order of a store slot.
#include <doctest/doctest.h>

#include <algorithm>

#include "../support/batches.hpp"
#include "kshare/ack/lots.hpp"

namespace test_lots {
namespace {

using kshare::kNoLot;
using kshare::Lot;
using kshare::Lots;
using kshare::PartitionLists;

struct Table {
  explicit Table(uint32_t count, uint32_t partitions = 2)
      : rows(count), lists(partitions), box(2, 256) {
    lots.attach({rows.data(), count}, {lists.data(), partitions});
  }
  std::vector<int64_t> firsts(uint32_t partition) const {
    std::vector<int64_t> all;
    for (uint32_t i = lots.head(partition); i != kNoLot; i = lots.next(i)) {
      all.push_back(lots[i].first);
    }
    return all;
  }
  std::vector<uint32_t> in_slot(uint32_t slot) const {
    std::vector<uint32_t> all;
    for (uint32_t i = box.store.slot(slot).lots_head; i != 0; i = rows[i - 1].next_in_slot) {
      all.push_back(i - 1);
    }
    if (!all.empty()) CHECK(box.store.slot(slot).lots_tail == all.back() + 1);
    if (all.empty()) CHECK(box.store.slot(slot).lots_tail == 0);
    return all;
  }
  std::vector<Lot> rows;
  std::vector<PartitionLists> lists;
  batches::Box box;
  Lots lots;
};

// What each offset of 0..9 is: '.' nobody's, 'm' to be read again, 's' in the slot.
std::string paint(const Table& table) {
  std::string text(10, '.');
  for (uint32_t i = table.lots.head(0); i != kNoLot; i = table.lots.next(i)) {
    const Lot& lot = table.lots[i];
    CHECK(lot.walked <= lot.last + 1);
    for (int64_t at = lot.first; at <= lot.last; ++at) {
      char& cell = text[static_cast<size_t>(at)];
      CHECK(cell == '.');  // lots are disjoint
      cell = lot.in_slot && at >= lot.cursor && at < lot.walked ? 's' : 'm';
    }
  }
  return text;
}

// Ranges that touch, one walk over all of them, as Kafka 4.1 has it. `named`: the ranges for which
// the walk counts.
void check_extended(uint32_t rows, const std::vector<int64_t>& lasts, int64_t begin, int64_t end,
                    uint32_t named) {
  Table table(rows);
  const int64_t first = 1;
  uint32_t lot = kNoLot;
  std::string wanted(10, '.');
  const bool no_row = rows == 1 && begin > first;
  bool broken = false;  // the walk counts no more for what is behind
  int64_t at = first;
  for (uint32_t i = 0; i < lasts.size(); ++i) {
    const bool counts = (named >> i & 1) != 0;
    const int64_t from = counts ? begin : 0;
    const int64_t to = counts ? end : 0;
    if (lot == kNoLot) {
      lot = table.lots.add(0, 1, at, lasts[i]);
      lot = table.lots.apply_walk(table.box.store, lot, from, to, 0);
    } else {
      lot = table.lots.extend(table.box.store, lot, lasts[i], from, to, 0);
    }
    broken = broken || !counts;
    for (; at <= lasts[i]; ++at) {
      const bool here = at >= begin && at < end && !no_row && !broken;
      wanted[static_cast<size_t>(at)] = here ? 's' : 'm';
    }
  }
  if (paint(table) != wanted) {
    FAIL_CHECK("walk " << begin << "-" << end << " of " << lasts.size() << " ranges, " << rows
                       << " rows: " << paint(table) << " wanted " << wanted);
  }
  uint32_t lots = 0;
  for (uint32_t i = table.lots.head(0); i != kNoLot; i = table.lots.next(i)) ++lots;
  CHECK(lots <= 2);  // not one for each range
}

}  // namespace

TEST_CASE("lots of a partition ascend, whatever the order in which they come, nested ones too") {
  std::vector<int64_t> order{0, 10, 20, 30};
  do {
    Table table(4);
    for (int64_t first : order) {
      CHECK(table.lots.add(0, 1, first, first == 10 ? 100 : first + 5) != kNoLot);
    }
    CHECK(table.firsts(0) == std::vector<int64_t>{0, 10, 20, 30});
    CHECK(table.firsts(1).empty());
    CHECK(table.lots.free_count() == 0);
    CHECK(table.lots.add(1, 1, 0, 1) == kNoLot);  // the table is full
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("a lot ends when nothing of it is left: no ack open, nothing in a slot, all handed out") {
  std::vector<uint32_t> order{0, 1, 2};
  do {
    Table table(3);
    for (int64_t first : {0, 10, 20}) static_cast<void>(table.lots.add(0, 1, first, first + 1));
    uint32_t left = 3;
    for (uint32_t i : order) {
      Lot& lot = table.lots[i];
      CHECK_FALSE(table.lots.free_if_done(i));
      lot.cursor = lot.walked = lot.last + 1;
      lot.open = 1;
      CHECK_FALSE(table.lots.free_if_done(i));
      lot.open = 0;
      lot.in_slot = true;
      CHECK_FALSE(table.lots.free_if_done(i));
      lot.in_slot = false;
      CHECK(table.lots.free_if_done(i));
      CHECK(table.firsts(0).size() == --left);
      CHECK_FALSE(bool{table.lots[i].used});
    }
    CHECK(table.lots.free_count() == 3);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE(
    "every walk over every lot: what was walked is in the slot, the rest is read again, and "
    "no offset gets lost, with a full table too") {
  for (uint32_t rows : {1u, 4u}) {
    for (int64_t first = 0; first < 10; ++first) {
      for (int64_t last = first; last < 10; ++last) {
        for (int64_t begin = 0; begin < 10; ++begin) {
          for (int64_t end = 0; end <= 10; ++end) {
            Table table(rows);
            const uint32_t lot = table.lots.add(0, 1, first, last);
            table.lots.apply_walk(table.box.store, lot, begin, end, 0);
            std::string wanted(10, '.');
            const bool no_row = rows == 1 && begin > first;
            for (int64_t at = first; at <= last; ++at) {
              const bool here = at >= begin && at < end && !no_row;
              wanted[static_cast<size_t>(at)] = here ? 's' : 'm';
            }
            if (paint(table) != wanted) {
              FAIL_CHECK("lot " << first << "-" << last << " walk " << begin << "-" << end << ": "
                                << paint(table) << " wanted " << wanted);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("a split lot keeps its locks, its count and its doubt in both parts") {
  Table table(2);
  const uint32_t whole = table.lots.add(0, 3, 10, 19);
  table.lots[whole].lock_min = {5};
  table.lots[whole].lock_max = {6};
  table.lots[whole].delivery_count = 4;
  table.lots[whole].doubtful = true;
  table.lots[whole].renew = table.lots[whole].no_renewal = true;
  const uint32_t rest = table.lots.split(whole, 15);
  REQUIRE(rest != kNoLot);
  CHECK(table.lots[whole].last == 14);
  CHECK(table.lots[rest].first == 15);
  CHECK(table.lots[rest].last == 19);
  CHECK(table.lots[rest].link == 3);
  CHECK(table.lots[rest].lock_min == kshare::Instant{5});
  CHECK(table.lots[rest].lock_max == kshare::Instant{6});
  CHECK(table.lots[rest].delivery_count == 4);
  CHECK(bool{table.lots[rest].doubtful});
  CHECK(bool{table.lots[rest].renew});
  CHECK(bool{table.lots[rest].no_renewal});
  CHECK(table.firsts(0) == std::vector<int64_t>{10, 15});
  CHECK(table.lots.split(rest, 17) == kNoLot);
  CHECK(table.lots[rest].last == 19);
}

TEST_CASE("walk after walk from the first missing offset serves every lot completely") {
  for (int64_t step = 1; step <= 10; ++step) {  // how far each walk gets
    Table table(6);
    for (const auto& range : batches::Ranges{{0, 2}, {3, 3}, {6, 9}}) {
      static_cast<void>(table.lots.add(0, 1, range.first, range.second));
    }
    static_cast<void>(table.lots.add(0, 2, 4, 5));  // another link's is not touched
    int rounds = 0;
    std::string seen(10, '.');
    for (uint32_t lot; (lot = table.lots.first_missing(0, 1, 0)) != kNoLot && rounds < 20;
         ++rounds) {
      const int64_t from = table.lots[lot].walked;
      while (lot != kNoLot && table.lots[lot].walked < from + step) {
        table.lots.apply_walk(table.box.store, lot, from, from + step, 0);
        if (table.lots[lot].missing()) break;
        lot = table.lots.first_missing(0, 1, from);
      }
      const std::vector<uint32_t> order = table.in_slot(0);
      for (uint32_t at : order) {  // all of it is handed out
        Lot& its = table.lots[at];
        for (; its.cursor < its.walked; ++its.cursor) {
          CHECK(seen[static_cast<size_t>(its.cursor)] == '.');
          seen[static_cast<size_t>(its.cursor)] = 's';
        }
        table.lots.leave_slot(table.box.store, at);
        static_cast<void>(table.lots.free_if_done(at));
      }
    }
    CHECK(seen == "ssss..ssss");
    CHECK(table.firsts(0) == std::vector<int64_t>{4});
  }
}

TEST_CASE(
    "the first missing lot is the one whose missing part is first, given back ones excepted") {
  Table table(4);
  const uint32_t a = table.lots.add(0, 1, 0, 9);
  const uint32_t b = table.lots.add(0, 1, 10, 19);
  const uint32_t c = table.lots.add(0, 1, 20, 29);
  CHECK(table.lots.first_missing(0, 1, 0) == a);
  CHECK(table.lots.first_missing(0, 1, 10) == b);
  CHECK(table.lots.first_missing(0, 2, 0) == kNoLot);
  CHECK(table.lots.first_missing(1, 1, 0) == kNoLot);
  table.lots[a].give_back = true;
  CHECK(table.lots.first_missing(0, 1, 0) == b);
  table.lots.apply_walk(table.box.store, b, 10, 15, 0);  // its rest is read again later
  CHECK(table.lots.first_missing(0, 1, 0) == c);
  table.lots[b].cursor = 15;
  table.lots.leave_slot(table.box.store, b);
  CHECK(table.lots.first_missing(0, 1, 0) == b);
  CHECK(table.lots[b].walked == 15);
}

TEST_CASE("lots leave a slot in any order; what was not handed out is missing again") {
  std::vector<uint32_t> order{0, 1, 2, 3};
  do {
    Table table(4);
    std::vector<uint32_t> left;
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t lot = table.lots.add(i % 2, 1, 10 * i, 10 * i + 9);
      table.lots.apply_walk(table.box.store, lot, 0, 100, 1);
      left.push_back(lot);
    }
    CHECK(table.in_slot(1) == left);
    for (uint32_t i : order) {
      table.lots[i].cursor += 3;
      table.lots.leave_slot(table.box.store, i);
      table.lots.leave_slot(table.box.store, i);  // once more is harmless
      left.erase(std::find(left.begin(), left.end(), i));
      CHECK(table.in_slot(1) == left);
      CHECK(table.lots[i].walked == table.lots[i].first + 3);
      CHECK(table.lots[i].missing());
      CHECK(table.lots[i].owed() == 7);
    }
    CHECK(table.in_slot(0).empty());
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("ranges that touch make one lot: what the walk has seen is in the slot, no more") {
  for (uint32_t rows : {1u, 3u}) {
    for (int64_t a = 1; a < 9; ++a) {
      for (int64_t b = a + 1; b < 10; ++b) {
        for (int64_t begin = 0; begin < 10; ++begin) {
          for (int64_t end = 0; end <= 10; ++end) {
            if (end != 0 && end <= begin) continue;
            check_extended(rows, {a, b}, begin, end, 3);
            if (b < 9) check_extended(rows, {a, b, 9}, begin, end, 7);
            // The broker's list did not ascend any more.
            if (begin <= 1) check_extended(rows, {a, b}, begin, end, 1);
          }
        }
      }
    }
  }
}

TEST_CASE("a lot beside another holds ack slots only, and ends with them") {
  Table table(3);
  const uint32_t from = table.lots.add(0, 3, 10, 19);
  static_cast<void>(table.lots.add(0, 3, 30, 39));
  table.lots[from].lock_min = {5};
  table.lots[from].lock_max = {6};
  table.lots[from].delivery_count = 4;
  table.lots[from].doubtful = table.lots[from].renew = table.lots[from].renewing = true;
  table.lots[from].cursor = table.lots[from].walked = 12;
  const uint32_t beside = table.lots.add_beside(from);
  REQUIRE(beside != kNoLot);
  const Lot& lot = table.lots[beside];
  CHECK(table.firsts(0) == std::vector<int64_t>{10, 10, 30});
  CHECK(table.lots.head(0) == from);
  CHECK(table.lots.next(from) == beside);
  CHECK(lot.partition == 0);
  CHECK(lot.link == 3);
  CHECK(lot.delivery_count == 4);
  CHECK(bool{lot.doubtful});
  CHECK_FALSE(bool{lot.renew});
  CHECK_FALSE(bool{lot.renewing});
  CHECK(lot.lock_min == kshare::Instant{5});
  CHECK(lot.lock_max == kshare::Instant{6});
  CHECK(lot.owed() == 0);
  CHECK_FALSE(lot.owes());
  CHECK_FALSE(lot.missing());
  CHECK(table.lots.first_missing(0, 3, 0) == from);
  CHECK(table.lots.walk_limit(0, 3, 0) == INT64_MAX);
  CHECK(table.lots.add_beside(from) == kNoLot);  // the table is full
  CHECK(table.lots[from].last == 19);
  table.lots[beside].open = 1;
  CHECK_FALSE(table.lots.free_if_done(beside));
  table.lots[beside].open = 0;
  CHECK(table.lots.free_if_done(beside));
  CHECK(table.firsts(0) == std::vector<int64_t>{10, 30});
}

}  // namespace test_lots
