// SPDX-License-Identifier: Apache-2.0
// One leader of two freezes, or has more than the application can take: what it has given, what it
// owes and what is renewed there holds up nobody else.
#include <doctest/doctest.h>

#include "../support/scene.hpp"

namespace test_frozen_leader {

using world::SceneOf;

namespace {

constexpr int64_t kLockMs = 30000;

// Node 0 leads partition 0, node 1 leads partition 1. The application works on one record at a time
// and polls meanwhile; a record of partition 1 is made every 500 ms.
template <const kshare::Limits& L>
struct Bench {
  SceneOf<L> s{two_nodes()};
  int64_t work_ms;
  int64_t idle_most = 0;  // the longest time without work while node 1 had records
  size_t left = 0;        // of partition 1, not handed out

  explicit Bench(int64_t its_work_ms, bool holds = false) : work_ms(its_work_ms) {
    if (holds) s.hold_all();
    s.w.broker.add_topic("t", 2);
    s.w.broker.move_leader("t", 0, 0);
    s.w.broker.move_leader("t", 1, 1);
    s.m.takes_max = 1;
    REQUIRE(s.m.start({"t"}).ok());
    const auto connected = [&] { return link_to(0) != 0 && link_to(1) != 0; };
    REQUIRE(s.w.run_until(connected, 10000));
    s.w.run_for(2000);
  }
  static minibroker::Config two_nodes() {
    minibroker::Config config;
    config.nodes = 2;
    config.lock_ms = kLockMs;
    return config;
  }
  uint32_t link_to(int node) {
    const kshare::Engine& engine = s.consumer().engine();
    for (uint32_t i = 1; i < engine.link_count(); ++i) {
      if (engine.link(i).in_use() && engine.link(i).target() == node) return i;
    }
    return 0;
  }
  // A batch of node 0, which freezes so long after; then for `ms`.
  void run(int batch, int64_t frozen_after, int64_t ms) {
    s.append(0, batch);
    s.w.run_for(5);
    const int64_t begin = s.w.now;
    int64_t next = begin, busy_until = begin, idle_since = begin;
    size_t seen = s.m.seen.size();
    for (bool frozen = false; s.w.now < begin + ms;) {
      s.m.takes = s.w.now >= busy_until;
      if (s.w.now >= next) {
        s.append(1, 1);
        ++left;
        next += 500;
      }
      if (!frozen && s.w.now >= begin + frozen_after) {
        s.m.pool.transports[link_to(0)].stall = frozen = true;
      }
      s.w.step(s.w.now + 10);
      for (; seen < s.m.seen.size(); ++seen) {
        busy_until = s.w.now + work_ms;
        left -= s.m.seen[seen].partition == 1 ? 1u : 0u;
      }
      if (s.w.now < busy_until || left == 0) idle_since = s.w.now;
      idle_most = std::max(idle_most, s.w.now - idle_since);
    }
  }
};

}  // namespace

TEST_CASE("a renewal that waits for a frozen leader holds up only what that leader has given") {
  for (const int64_t frozen_after : {2000, 14900, 15100}) {  // a renewal is due after 15 s
    CAPTURE(frozen_after);
    Bench<kshare::kSmallLimits> bench{300};
    bench.run(100, frozen_after, 32000);
    CHECK(bench.idle_most <= 200);
    world::check_clean(bench.s.w);
  }
  Bench<kshare::kDefaultLimits> bench{100};
  bench.run(3000, 14800, 32000);
  CHECK(bench.idle_most <= 200);
}

TEST_CASE("what a frozen leader owes does not keep the others from being asked") {
  for (const int batch : {2000, 5000}) {
    CAPTURE(batch);
    Bench<kshare::kSmallLimits> bench{1};
    bench.run(batch, 20, 28000);
    CHECK(bench.idle_most <= 200);
    CHECK(bench.left <= 1);
    world::check_clean(bench.s.w);
  }
}

TEST_CASE("what is kept of one leader, or in flight to a frozen one, leaves ack slots to others") {
  Bench<kshare::kSmallLimits> bench{0, true};
  auto& s = bench.s;
  s.m.takes_max = UINT32_MAX;
  std::vector<kshare::RecordId> kept;
  s.m.judge = [&](const kshare::Record& record, kshare::Ack& ack) {
    ack = kshare::Ack::accept;
    if (record.partition == 1) return true;
    kept.push_back(record.id);
    CHECK(s.consumer().detach(record.id).ok());
    return false;
  };
  const auto others_flow = [&] {
    const size_t before = s.m.seen.size() - kept.size();
    for (int second = 0; second < 5; ++second) {
      s.append(1, 20);
      s.w.run_for(1000);
    }
    return s.m.seen.size() - kept.size() == before + 100;
  };
  s.append(0, 1000);
  s.w.run_for(1000);
  const uint32_t most = kshare::kSmallLimits.records_max;
  CHECK(kept.size() == most - most / kshare::kSmallLimits.links_max);
  CHECK(others_flow());
  s.m.pool.transports[bench.link_to(0)].stall = true;
  for (const kshare::RecordId id : kept) {
    CHECK(s.consumer().acknowledge(id, kshare::Ack::accept).ok());
  }
  CHECK(others_flow());
  world::check_clean(s.w);
}

TEST_CASE("a batch with work for minutes does not keep the other leaders from being asked") {
  Bench<kshare::kSmallLimits> bench{20};
  bench.run(5000, INT64_MAX / 2, 110000);
  CHECK(bench.left <= 20);  // between two slotfuls of the batch
  for (const world::Seen& record : bench.s.m.seen) CHECK(record.count == 1);
  CHECK(bench.s.stats().acks_failed == 0);
  world::check_clean(bench.s.w);
}

}  // namespace test_frozen_leader
