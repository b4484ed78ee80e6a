// SPDX-License-Identifier: Apache-2.0
// core/demand.hpp alone: how much a link may ask for, how long it may wait, what is read again.
#include <doctest/doctest.h>

#include "../support/scenario.hpp"

namespace test_demand {

using kshare::FetchSize;
using kshare::Instant;
using kshare::kNoLot;
using scenario::Desk;

namespace demand = kshare::demand;

namespace {

constexpr uint32_t kRecordsMax = kshare::kTinyLimits.records_max;

// A lot of link 1 whose bytes are missing; its lock ends at `lock_min`.
uint32_t missing(Desk& desk, int64_t first, int64_t last, int64_t lock_min = 9000,
                 uint32_t partition = 0) {
  const uint32_t lot = desk.tables.lots.add(partition, 1, first, last);
  desk.tables.lots[lot].lock_min = desk.tables.lots[lot].lock_max = Instant{lock_min};
  return lot;
}
int32_t asked(const Desk& desk, bool strict = false) {
  return demand::fetch_size(1, strict, false, desk.tables).max_records;
}

}  // namespace

TEST_CASE("what was acquired and not handed out yet counts as if it had its ack slot") {
  Desk desk;
  CHECK(asked(desk) == static_cast<int32_t>(kRecordsMax));
  const uint32_t lot = missing(desk, 100, 109);
  CHECK(asked(desk) == static_cast<int32_t>(kRecordsMax) - 10);
  desk.tables.lots[lot].cursor = desk.tables.lots[lot].walked = 104;
  CHECK(asked(desk) == static_cast<int32_t>(kRecordsMax) - 6);
  missing(desk, 200, 200 + kRecordsMax);  // more than there are slots for, on whichever link
  CHECK(asked(desk) == 0);
  desk.tables.shared.options.max_poll_records = 5;
  desk.tables.lots[lot + 1].give_back = true;  // as many as are free then
  CHECK(asked(desk) == 5);
}

TEST_CASE("a link that owes nothing has a part, whatever others owe, if its broker can limit") {
  Desk desk;
  // Its part of the ack slots, but no more than there are rows for.
  constexpr auto kPart = static_cast<int32_t>(
      std::min(1 + kRecordsMax / kshare::kTinyLimits.links_max, kshare::kTinyLimits.lots_max - 3));
  const auto size = [&](uint32_t link, bool can_limit) {
    return demand::fetch_size(link, false, can_limit, desk.tables);
  };
  const uint32_t lot = missing(desk, 100, 99 + kRecordsMax);  // of link 1
  for (const bool can_limit : {false, true}) {
    CHECK(size(1, can_limit).max_records == 0);
    CHECK(size(2, can_limit).max_records == (can_limit ? kPart : 0));
    CHECK(size(2, can_limit).strict == can_limit);
  }
  desk.tables.lots[lot].cursor = desk.tables.lots[lot].walked = 110;  // there are slots for more
  CHECK(size(2, true).max_records == 10);
  CHECK_FALSE(size(2, true).strict);
  CHECK(size(1, true).max_records == 10);
  desk.tables.lots[lot].cursor = desk.tables.lots[lot].walked = 100;
  for (uint32_t i = 0; i + 3 < kRecordsMax; ++i) {
    static_cast<void>(desk.tables.acks.hand_out(lot, 100));
  }
  CHECK(size(2, true).max_records == 3);  // never more than there are slots for
}

TEST_CASE("of several leaders none has all ack slots; one alone has") {
  Desk desk;
  kshare::Tables& tables = desk.tables;
  constexpr int64_t kPart = kRecordsMax / kshare::kTinyLimits.links_max;
  const uint32_t lot = missing(desk, 100, 99 + kRecordsMax);
  desk.tables.lots[lot].give_back = true;  // it owes nothing: what counts here are its ack slots
  for (const int64_t part : {int64_t{0}, kPart}) {
    tables.ack_part = static_cast<uint32_t>(part);
    CHECK(tables.ack_room(1) == kRecordsMax - part);
    CHECK(asked(desk) == tables.ack_room(1));
  }
  for (uint32_t used = 0; used < kRecordsMax; ++used) {
    CHECK(tables.has_ack_room(1) == (used < kRecordsMax - kPart));
    CHECK(tables.has_ack_room(1) == (tables.ack_room(1) > 0));
    CHECK(tables.has_ack_room(2));
    CHECK(tables.ack_room(2) == std::min<int64_t>(kRecordsMax - kPart, kRecordsMax - used));
    static_cast<void>(tables.acks.hand_out(lot, 100));
  }
  CHECK_FALSE(tables.has_ack_room(2));
  tables.ack_part = 0;
  CHECK_FALSE(tables.has_ack_room(1));
}

TEST_CASE("nothing is asked for without a row, or with two slots that nobody has read out") {
  Desk desk;
  kshare::Tables& tables = desk.tables;
  for (uint32_t s = 0; s < tables.store.count(); ++s) {
    CHECK(asked(desk) > 0);
    tables.store.slot(s).state = kshare::SlotState::ready;
    tables.store.slot(s).lots_head = 1;
    tables.store.slot(s).link = 1;
  }
  REQUIRE(tables.store.count() == 2);
  CHECK(asked(desk) == 0);
  tables.store.slot(0).link = 2;
  CHECK(asked(desk) > 0);
  const auto rows = static_cast<int64_t>(tables.lots.count());
  for (int64_t i = 0; i < rows; ++i) {
    CHECK(asked(desk) > 0);
    CHECK(asked(desk, true) == static_cast<int32_t>(std::max<int64_t>(rows - i - 2, 0)));
    missing(desk, i * 10, i * 10);
  }
  CHECK(asked(desk) == 0);
}

TEST_CASE("what is read again first: the earliest end of a lock, then the lowest offset") {
  Desk desk;
  CHECK(demand::oldest_missing(1, desk.tables) == kNoLot);
  const uint32_t late = missing(desk, 10, 19, 9000);
  const uint32_t early = missing(desk, 50, 59, 7000);
  CHECK(demand::oldest_missing(1, desk.tables) == early);
  const uint32_t earliest = missing(desk, 90, 99, 6000, 1);
  CHECK(demand::oldest_missing(1, desk.tables) == earliest);
  CHECK(demand::oldest_missing(2, desk.tables) == kNoLot);
  desk.tables.lots[earliest].give_back = true;
  const uint32_t below = missing(desk, 30, 39, 7000);
  CHECK(demand::oldest_missing(1, desk.tables) == below);
  desk.tables.lots[below].give_back = desk.tables.lots[early].give_back = true;
  CHECK(demand::oldest_missing(1, desk.tables) == late);
}

TEST_CASE("a long poll is short while anything waits behind it, and never a loop") {
  Desk desk;
  kshare::Tables& tables = desk.tables;
  CHECK(demand::max_wait(1, false, tables) == 250);  // the lock may be the shortest there is
  tables.lock_ms = 30000;
  CHECK(demand::max_wait(1, false, tables) == 500);
  CHECK(demand::max_wait(1, true, tables) == 100);
  tables.slot_starved = true;
  CHECK(demand::max_wait(1, false, tables) == 100);
  tables.slot_starved = false;
  tables.lock_ms = 1000;  // a quarter of a lock passes at most, a tenth while records are out
  CHECK(demand::max_wait(1, false, tables) == 250);
  missing(desk, 0, 9);
  CHECK(demand::max_wait(2, false, tables) == 250);
  tables.lock_ms = 600;
  CHECK(demand::max_wait(1, false, tables) == 60);
  tables.lock_ms = 0;
  CHECK(demand::max_wait(1, false, tables) == 100);
  tables.shared.options.fetch_max_wait_ms = 0;
  CHECK(demand::max_wait(1, false, tables) == 10);
}

}  // namespace test_demand
