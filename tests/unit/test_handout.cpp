// SPDX-License-Identifier: Apache-2.0
// core/handout.hpp: what next() gives when time has passed since the last poll().
#include <doctest/doctest.h>

#include "../support/scene.hpp"

namespace test_handout {

using kshare::Instant;
using kshare::Record;
using world::Scene;

TEST_CASE("a record whose lock is about to end is not handed out, polled or not") {
  Scene s(world::locks_of(2000));
  s.m.takes = false;
  s.start(1, 3);
  const kshare::Tables& tables = s.consumer().engine().tables();
  REQUIRE(s.w.run_until([&] { return tables.owed() == 3; }, 2000));
  const Instant ends = tables.lots[tables.lots.head(0)].lock_min;
  Record record;
  REQUIRE(s.consumer().next(record, Instant{ends.ms - 101}));  // lock.margin.ms is 100
  CHECK(record.offset == 0);
  CHECK(record.lock_deadline == ends);
  CHECK_FALSE(s.consumer().next(record, Instant{ends.ms - 100}));
  CHECK(s.stats().records == 1);
  CHECK(s.stats().expired == 2);
  s.w.now = ends.ms - 100;
  s.m.turn(s.w.now);
  CHECK(s.m.has_event(kshare::EventType::released_unseen));
  s.m.takes = true;
  CHECK(s.until_seen(2));  // they come again
  CHECK(s.m.seen[0].offset == 1);
  CHECK(s.m.seen[0].count == 2);
  world::check_clean(s.w);
}

TEST_CASE("behind unsubscribe() nothing is handed out of what had come before") {
  Scene s;
  s.m.takes = false;
  s.start(1, 3);
  const kshare::Tables& tables = s.consumer().engine().tables();
  REQUIRE(s.w.run_until([&] { return tables.owed() == 3; }, 2000));
  CHECK(s.consumer().unsubscribe().ok());
  Record record;
  CHECK_FALSE(s.consumer().next(record, s.now()));
  CHECK(s.w.run_until([&] { return s.state(0) == minibroker::State::Available; }, 1000));
  world::check_clean(s.w);
}

}  // namespace test_handout
