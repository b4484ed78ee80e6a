// SPDX-License-Identifier: Apache-2.0
// The log start moves (retention, delete-records) under records that are acquired, held or still to
// be read again: the whole consumer against the mini broker.
#include <doctest/doctest.h>

#include "../support/scenario.hpp"
#include "../support/scene.hpp"

namespace test_log_start {
namespace {

using kshare::Ack;
using world::Scene;

// Each offset of [first, last] has been handed out.
bool has_all(Scene& s, int64_t first, int64_t last) {
  const auto times = s.m.times();
  for (int64_t at = first; at <= last; ++at) {
    if (times.count({0, at}) == 0) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("delete-records moves the start past what is to be read again: nothing stalls") {
  for (const int64_t start : {30, 100, 198, 199, 200}) {
    CAPTURE(start);
    Scene s;
    s.m.takes_max = 1;
    s.start(1, 200);  // in one batch, of which Tiny keeps a part
    REQUIRE(s.until_seen(10));
    s.w.broker.set_log_start("t", 0, start);
    s.append(0, 5);
    const int64_t begin = s.w.now;
    CHECK(s.w.run_until([&] { return has_all(s, start, 204); }, 20000));
    CHECK(s.w.now - begin < 5000);
    for (const auto& record : s.m.seen) CHECK(record.count == 1);
    s.check_tables();
    CHECK(s.w.close(s.m));
    CHECK(s.stats().acks_failed == 0);
    world::check_clean(s.w);
  }
}

TEST_CASE("late acks below a start that has moved are accepted") {
  Scene s;
  s.hold_all();
  s.start(1, 20);
  REQUIRE(s.until_seen(20));
  s.w.broker.set_log_start("t", 0, 15);
  s.ack_all();
  CHECK(s.until_settled());
  CHECK(s.stats().acks_ok == 20);
  CHECK(s.stats().acks_failed == 0);
  world::check_clean(s.w);
}

TEST_CASE("the start moves several times while a huge batch is read again") {
  Scene s;
  s.m.takes_max = 1;
  s.start(1, 600);
  for (int64_t start = 50; start <= 550; start += 100) {
    REQUIRE(s.w.run_until(
        [&] { return !s.m.seen.empty() && s.m.seen.back().offset >= start - 45; }, 20000));
    s.w.broker.set_log_start("t", 0, start);
  }
  CHECK(s.w.run_until([&] { return has_all(s, 550, 599); }, 20000));
  s.check_tables();
  CHECK(s.w.close(s.m));
  world::check_clean(s.w);
}

TEST_CASE("nothing is at the offset asked for: the last is asked for, then all of it is a gap") {
  for (const int64_t last : {10, 11, 500}) {
    CAPTURE(last);
    scenario::Desk desk;
    kshare::Tables& t = desk.tables;
    desk.assign(1, 1, 4);
    const uint32_t lot = t.lots.add(0, 1, 10, last);
    const uint32_t other = t.lots.add(0, 1, last + 1, last + 5);
    const uint32_t slot = t.store.reserve(1);
    if (last != 10) {
      CHECK(t.out_of_range(0, 1, 10, slot));
      CHECK(t.lots[lot].missing());
      CHECK(bool{t.lots[lot].probe});
    }
    CHECK(t.out_of_range(0, 1, last, slot));
    CHECK_FALSE(t.lots[lot].missing());
    CHECK(t.lots[lot].walked == last + 1);
    CHECK(t.lots[other].missing());  // it may begin where the log does
  }
}

}  // namespace test_log_start
