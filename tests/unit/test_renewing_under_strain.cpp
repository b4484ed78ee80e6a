// SPDX-License-Identifier: Apache-2.0
// Renewals beside everything else that wants to be sent, lost sessions, turns, margins, evictions:
// the whole consumer against the mini broker.
#include <doctest/doctest.h>

#include "../support/scene.hpp"

namespace test_renewing_under_strain {
namespace {

using kshare::Ack;
using kshare::Errc;
using kshare::EventType;
using kshare::Record;
using minibroker::State;
using world::locks_of;
using world::Scene;

// A request names fifteen partitions or so, and there are more.
constexpr kshare::Limits kManyLots = [] {
  kshare::Limits l = kshare::kTinyLimits;
  l.partitions_max = 40;
  l.lots_max = 80;
  l.records_max = 96;
  l.store_bytes = 16384;
  return l;
}();

}  // namespace

TEST_CASE("renewals in every round trip starve neither acks nor commits nor fetches") {
  Scene s{locks_of(5000)};
  s.hold_all();
  s.start(1, 4);
  REQUIRE(s.until_seen(4));
  s.append(0, 4);
  CHECK(s.ack(2, Ack::accept).ok());
  kshare::Ticket ticket = 0;
  CHECK(s.consumer().commit(ticket).ok());
  const int64_t begin = s.w.now;
  for (size_t i = 0; i < 20000 && s.w.now - begin < 3000; ++i) {
    static_cast<void>(s.ack(i % 2, Ack::renew));
    s.w.step(s.w.now + 1);
  }
  CHECK(s.consumer().commit_status(ticket).ok());
  CHECK(s.m.seen.size() == 8);
}

TEST_CASE("an ack's linger is not begun anew by renewals") {
  for (const int64_t every : {10, 200}) {
    Scene s{locks_of(5000)};
    s.hold_all();
    s.m.options.ack_linger_ms = every == 10 ? 20 : 300;
    s.start(1, 0);
    s.append(0, 6, 600);
    s.append(0, 6, 600);
    s.w.run_for(2000);
    REQUIRE(s.m.seen.size() > 3);
    CHECK(s.ack(2, Ack::accept).ok());
    for (const int64_t begin = s.w.now; s.w.now - begin < 3000;) {
      static_cast<void>(s.ack(static_cast<size_t>(s.w.now / every) % 2, Ack::renew));
      s.w.run_for(every);
    }
    CHECK(s.stats().acks_ok == 1);
    CHECK(s.stats().acks_failed == 0);
  }
}

TEST_CASE("a session lost just before half the lock: the rest is renewed in the next one") {
  for (const int64_t lock : {4000, 10000}) {
    for (const int64_t before : {20, 60, 100}) {
      Scene s{locks_of(lock)};
      s.work_slowly(20);
      s.start(1, static_cast<int>(lock / 10), 5);
      REQUIRE(s.until_seen(1));
      const int64_t begin = s.w.now;
      s.w.run_until([&] { return s.w.now - begin > lock / 2 - before; }, lock);
      s.w.broker.fail_next(minibroker::kShareAcknowledge, 122, 1);
      s.w.broker.fail_next(minibroker::kShareFetch, 122, 1);
      s.w.run_for(lock * 3);
      CHECK_FALSE(s.m.has_event(EventType::released_unseen));
    }
  }
}

TEST_CASE("a margin as long as the lock or longer: records are handed out all the same") {
  for (const int32_t margin : {1500, 2000, 40000}) {
    Scene s{locks_of(2000)};
    s.m.options.lock_margin_ms = margin;
    s.start(1, 20);
    CHECK(s.until_seen(20));
    for (const auto& record : s.m.seen) CHECK(record.count == 1);
  }
}

TEST_CASE("slow work while leaders take turns: the first turn may give back, the others do not") {
  minibroker::Config config = locks_of(2000);
  config.nodes = 3;
  Scene s{config};
  s.work_slowly(20);
  s.start(3, 300, 5);
  CHECK(s.w.run_until([&] { return s.m.times().size() == 900; }, 300000));
  CHECK(s.stats().redelivered < 450);
  CHECK(s.stats().acks_failed == 0);
  world::check_clean(s.w);
}

TEST_CASE("implicit mode: a record that next() has accepted cannot be renewed any more") {
  Scene s{locks_of(2000)};
  s.m.takes_max = 2;
  s.start(1, 60);
  REQUIRE(s.until_seen(2));
  CHECK(s.ack(0, Ack::renew).code == Errc::already_acknowledged);
  s.w.run_for(10);
  const Errc late = s.ack(0, Ack::renew).code;
  CHECK((late == Errc::already_acknowledged || late == Errc::unknown_record));
  CHECK(s.until_seen(60));
  CHECK(s.consumer().held_count() <= 1);
}

TEST_CASE("a renewal without an answer does not hide that other locks are lost") {
  Scene s{locks_of(5000)};
  s.hold_all();
  s.start(1, 4);
  REQUIRE(s.until_seen(4));
  s.w.run_for(500);
  s.on_answer = [&](int api, std::string&) { return api != minibroker::kShareAcknowledge; };
  CHECK(s.ack(0, Ack::renew).ok());
  s.w.run_for(7000);
  CHECK(s.m.event_count(EventType::lock_expired) == 3);
  CHECK(s.ack(1, Ack::accept).code == Errc::lock_lost);
}

TEST_CASE("a partition put out of the broker's memory: old handles take no new ack with them") {
  Scene s{locks_of(30000)};
  s.hold_all();
  s.start(1, 0);
  for (int i = 0; i < 40; ++i) s.append(0, 1);
  REQUIRE(s.until_seen(40));
  s.w.broker.fail_acks("t", 0, 6, 1);
  CHECK(s.ack(0, Ack::accept).ok());  // 6: the broker puts the partition out of its memory
  for (const auto& id : s.m.ids) static_cast<void>(s.consumer().detach(id));
  s.w.run_for(3000);
  const size_t count = s.m.seen.size();
  REQUIRE(count > 40);
  CHECK(s.ack(count - 1, Ack::accept).ok());  // acquired anew
  const int64_t good = s.m.seen[count - 1].offset;
  static_cast<void>(s.ack(39, Ack::accept));  // of the time before
  s.w.run_for(1000);
  CHECK(s.state(good) == State::Acknowledged);
}

TEST_CASE("fetch.max.wait.ms=0 is no loop") {
  Scene s;
  s.m.options.fetch_max_wait_ms = 0;
  s.start(1, 0);
  s.w.run_for(3000);
  CHECK(s.stats().fetches < 400);
}

TEST_CASE("a renewal refused because leaders wait for the link is told by an event too") {
  minibroker::Config config = locks_of(3000);
  config.nodes = 2;
  Scene s{config};
  s.hold_all();
  s.start(2, 1);
  REQUIRE(s.until_seen(1));
  for (int i = 0; i < 100 && s.ack(0, Ack::renew).ok(); ++i) s.w.run_for(100);
  s.w.run_for(10);
  REQUIRE(s.m.has_event(EventType::renew_failed));
}

TEST_CASE("more locks to renew than one request can name: each has its turn, no ack slot is lost") {
  world::SceneOf<kManyLots> s{locks_of(4000)};
  s.work_slowly(450);
  s.start(40, 2);
  CHECK(s.until_seen(80, 60000));
  CHECK(s.until_settled());
  for (const world::Seen& record : s.m.seen) CHECK(record.count == 1);
  CHECK(s.stats().renewed > 80);
  CHECK(s.stats().acks_ok == 80);
  s.check_tables();
  world::check_clean(s.w);
}

}  // namespace test_renewing_under_strain
