// SPDX-License-Identifier: Apache-2.0
// Closing and lives, the whole consumer against the mini broker: what close() sends, that it ends
// by its deadline whatever the brokers do, and that another life can begin.
#include <doctest/doctest.h>

#include "../support/scenario.hpp"
#include "../support/scene.hpp"

namespace test_closing {

using kshare::Ack;
using kshare::Errc;
using kshare::Instant;
using minibroker::State;
using world::check_clean;
using world::check_sums;
using world::Member;
using world::records;
using world::Scene;

namespace {

// Closes and gives the milliseconds that it took; -1: it did not end in time.
template <typename S>
int64_t close_takes(S& s, int64_t timeout_ms) {
  const int64_t since = s.w.now;
  int64_t at = since;
  static_cast<void>(s.consumer().close(s.now(), timeout_ms));
  while (s.m.alive && at < since + timeout_ms + 100) {
    at = s.w.now;
    s.w.step(since + timeout_ms + 100);
  }
  return s.m.alive ? -1 : at - since;
}

void check_gone(Scene& s) {
  CHECK(s.w.broker.sessions(0) == 0);
  CHECK(s.w.broker.group_coordinator().members("group").empty());
  CHECK(s.w.broker.open_connections() == 0);
  CHECK(s.consumer().unsettled() == 0);
  CHECK_FALSE(s.consumer().poll(s.now()));
  check_sums(s.consumer());
  check_clean(s.w);
}

// What keeps one heartbeat from the coordinator, or its answer from us; all brokers are well.
const char* const kTroubles[] = {
    "the coordinator has moved", "it is loading", "it is not there yet",  "it takes too long",
    "it hangs up for an answer", "it has hung up", "every line is broken", "many of these"};
constexpr int kMany = 7;
minibroker::Config two_nodes() {
  minibroker::Config config;
  config.nodes = 2;
  return config;
}
// Six records are done with, and then it happens.
void trouble(world::SceneOf<kshare::kSmallLimits>& s, int which) {
  using minibroker::kShareGroupHeartbeat;
  s.start(2, 3);
  REQUIRE(s.until_seen(6));
  REQUIRE(s.until_settled());
  s.w.run_for(1000);
  minibroker::Broker& b = s.w.broker;
  const bool many = which == kMany;
  if (which == 0 || many) b.move_coordinator(1 - b.coordinator());
  if (which == 1 || many) b.fail_next(kShareGroupHeartbeat, 14, 1);
  if (which == 2 || many) b.fail_next(kShareGroupHeartbeat, 15, 1);
  if (which == 3) b.fail_next(kShareGroupHeartbeat, 7, 1);
  if (which == 4 || many) b.lose_answers(kShareGroupHeartbeat, 1, true);
  if (which == 5 || many) b.close_connection(s.m.pool.transports[0].conn(), s.w.now);
  if (which == 6) s.hang_up();
}

}  // namespace

TEST_CASE("close sends what is acked, releases the rest, ends every session and leaves the group") {
  minibroker::Config config;
  config.nodes = 3;
  world::SceneOf<kshare::kSmallLimits> s(config);
  s.hold_all();
  s.start(3, 10);
  s.m.takes_max = 7;
  REQUIRE(s.until_seen(21));
  s.m.takes = false;
  s.w.run_for(300);
  const size_t held = s.m.ids.size();
  for (size_t i = 0; i < held; i += 2) CHECK(s.ack(i, Ack::accept).ok());
  const int64_t since = s.w.now;
  {
    scenario::Watch watch{s.w, s.m};
    CHECK(s.w.close(s.m, 5000));
    std::multiset<int> ended;  // to hang up would end the sessions as well
    for (const auto& share : watch.shares) {
      if (share.request.epoch != -1) continue;
      CHECK(share.key == minibroker::kShareAcknowledge);
      ended.insert(share.node);
    }
    CHECK(ended == std::multiset<int>{0, 1, 2});
  }
  CHECK(s.w.now - since < 1000);
  CHECK(s.consumer().status().ok());
  for (size_t i = 0; i < held; ++i) {
    const auto& seen = s.m.seen[i];
    CHECK(s.state(seen.offset, seen.partition) ==
          (i % 2 == 0 ? State::Acknowledged : State::Available));
  }
  for (int p = 0; p < 3; ++p) {
    for (int64_t offset = 0; offset < 10; ++offset) CHECK(s.state(offset, p) != State::Acquired);
  }
  for (int node = 0; node < 3; ++node) CHECK(s.w.broker.sessions(node) == 0);
  CHECK(s.w.broker.group_coordinator().members("group").empty());
  CHECK(s.w.broker.open_connections() == 0);
  CHECK(s.stats().acks_ok == s.stats().records);
  CHECK(s.stats().records == held);
  check_sums(s.consumer());
  check_clean(s.w);
  // Whoever comes next gets the rest at once.
  Member<> other(2);
  s.w.join(other);
  REQUIRE(other.start({"t"}).ok());
  CHECK(s.w.run_until([&] { return other.seen.size() == 30 - (held + 1) / 2; }, 5000));
}

TEST_CASE("close with nothing to close ends at once") {
  SUBCASE("started only") {
    Scene s;
    REQUIRE(s.consumer().start(s.m.options).ok());
    CHECK(close_takes(s, 5000) <= 1);
  }
  SUBCASE("subscribed, nothing polled yet") {
    Scene s;
    s.start(1, 0);
    CHECK(close_takes(s, 5000) <= 1);
  }
  SUBCASE("a member without records") {
    Scene s;
    s.start(1, 0);
    REQUIRE(s.w.run_until([&] { return s.consumer().assignment_count() == 1; }));
    s.w.run_for(1100);
    const int64_t took = close_takes(s, 5000);
    CHECK(took >= 0);
    CHECK(took <= 510);  // a long poll that is out has to come back first
    check_gone(s);
  }
  SUBCASE("all acknowledged") {
    Scene s;
    s.start(2, 5);
    REQUIRE(s.w.run_until([&] { return s.stats().acks_ok == 10; }));
    const int64_t took = close_takes(s, 5000);
    CHECK(took >= 0);
    CHECK(took <= 510);
    check_gone(s);
  }
}

TEST_CASE("close in the midst of joining leaves no member behind") {
  for (int steps = 1; steps < 16; ++steps) {
    CAPTURE(steps);
    Scene s;
    s.start(1, 3);
    for (int i = 0; i < steps; ++i) s.w.step(s.w.now + 1);
    CHECK(close_takes(s, 3000) >= 0);
    check_gone(s);
  }
}

TEST_CASE("close while the assignment changes: no hot loop, and nothing is left behind") {
  for (int steps = 0; steps < 24; ++steps) {
    CAPTURE(steps);
    Scene s;
    s.hold_all();
    s.start(2, 3);
    REQUIRE(s.until_seen(6));
    Member<> other(2);
    s.w.join(other);
    REQUIRE(other.start({"t"}).ok());
    for (int i = 0; i < steps; ++i) s.w.step(s.w.now + 400);
    s.append(0, 3);
    s.append(1, 3);
    const int64_t requests = s.w.broker.requests_total();
    const int64_t took = close_takes(s, 3000);
    CHECK(took >= 0);
    CHECK(took < 700);
    CHECK(s.w.broker.requests_total() - requests < 60);
    CHECK(s.w.broker.group_coordinator().members("group").size() == 1);
    CHECK(s.w.run_until([&] { return other.consumer().stats().acks_ok == 12; }, 8000));
    check_clean(s.w);
  }
}

TEST_CASE("a second close is harmless, close before start says so") {
  Scene s;
  CHECK(s.consumer().close(s.now(), 1000).code == Errc::not_running);
  s.start(1, 3);
  REQUIRE(s.until_seen(3));
  CHECK(s.consumer().close(s.now(), 1000).ok());
  CHECK(s.consumer().close(s.now(), 100000).ok());
  CHECK(s.w.run_until([&] { return !s.m.alive; }, 1001));
  CHECK(s.consumer().close(s.now(), 1000).code == Errc::not_running);
  check_gone(s);
}

TEST_CASE("close ends by its deadline: brokers that stall, are gone, or fail") {
  Scene s;
  s.hold_all();
  s.start(2, 10);
  REQUIRE(s.until_seen(20));
  CHECK(s.ack(0, Ack::accept).ok());
  bool session_lost = false;
  bool leaves = false;  // though a leader keeps it until the end
  SUBCASE("leader stalls") {
    s.m.pool.transports[1].stall = true;
    leaves = true;
  }
  SUBCASE("coordinator stalls") { s.m.pool.transports[0].stall = true; }
  SUBCASE("all stall") {
    for (auto& transport : s.m.pool.transports) transport.stall = true;
  }
  SUBCASE("all are gone") {
    for (auto& transport : s.m.pool.transports) transport.refuse = true;
    s.w.broker.stop_node(0, s.w.now);
  }
  SUBCASE("acks are refused") { s.w.broker.fail_acks("t", 0, 121, 100); }
  SUBCASE("acks are put off for ever") {
    s.w.broker.fail_acks("t", 0, 15, 100000);
    leaves = true;
  }
  SUBCASE("acknowledging fails as a whole") {
    s.w.broker.fail_next(79, -1, 100000);
    leaves = true;
  }
  SUBCASE("the session is lost") {
    s.w.broker.drop_session("group", std::string{s.consumer().engine().shared().member()});
    REQUIRE(s.w.broker.sessions(0) == 0);
    session_lost = true;
  }
  SUBCASE("the coordinator has moved") { s.w.broker.fail_next(76, 16, 100000); }
  SUBCASE("the coordinator is loading") { s.w.broker.fail_next(76, 14, 100000); }
  SUBCASE("a request is in flight whose answer never comes") {
    s.on_answer = [](int, std::string&) { return false; };
  }
  const int64_t took = close_takes(s, 2000);
  CHECK(took >= 0);
  CHECK(took <= 2001);
  if (leaves) CHECK(s.w.broker.group_coordinator().members("group").empty());
  CHECK_FALSE(s.consumer().poll(s.now()));
  CHECK(s.consumer().unsettled() == 0);
  check_sums(s.consumer());
  if (!session_lost) return;
  CHECK(took < 1000);  // in a new one all is settled as if nothing had been
  CHECK(s.m.event_count(kshare::EventType::session_reset) == 1);
  CHECK(s.stats().acks_ok == 20);
  CHECK(s.state(s.m.seen[0].offset, s.m.seen[0].partition) == State::Acknowledged);
  for (int p = 0; p < 2; ++p) CHECK(s.w.broker.counts("group", "t", p).acquired == 0);
  check_gone(s);
}

TEST_CASE("close with a slow broker: it is waited for, and all is settled as with a quick one") {
  Scene s;
  s.hold_all();
  s.start(2, 10);
  REQUIRE(s.until_seen(20));
  for (size_t i = 0; i < 20; i += 2) CHECK(s.ack(i, Ack::accept).ok());
  s.m.pool.transports[1].stall = true;
  const int64_t since = s.w.now;
  REQUIRE(s.consumer().close(s.now(), 5000).ok());
  for (int i = 0; i < 15; ++i) s.w.run_for(100);  // an application that polls meanwhile
  REQUIRE(s.m.alive);
  s.m.pool.transports[1].stall = false;
  REQUIRE(s.w.run_until([&] { return !s.m.alive; }, 4000));
  CHECK(s.w.now - since < 3000);
  for (size_t i = 0; i < 20; ++i) {
    const auto& seen = s.m.seen[i];
    CHECK(s.state(seen.offset, seen.partition) ==
          (i % 2 == 0 ? State::Acknowledged : State::Available));
  }
  CHECK(s.stats().acks_ok == 20);
  CHECK(s.stats().acks_failed + s.stats().acks_unknown == 0);
  check_gone(s);
}

TEST_CASE("close with a time-out of 0 or less ends with the next poll") {
  for (const int64_t timeout : {int64_t{0}, int64_t{-5}, INT64_MIN / 2}) {
    Scene s;
    s.start(1, 5);
    REQUIRE(s.until_seen(5));
    CHECK(s.consumer().close(s.now(), timeout).ok());
    CHECK_FALSE(s.consumer().poll(s.now()));
    CHECK(s.w.broker.open_connections() == 0);
  }
}

TEST_CASE("a time too short for anything but what is well: it leaves beside its sessions' end") {
  for (const int64_t time_out : {1, 20, 300, 500, 501}) {
    CAPTURE(time_out);
    Scene s;
    s.hold_all();
    s.start(2, 10);
    REQUIRE(s.until_seen(20));
    const int64_t took = close_takes(s, time_out);
    CHECK(took <= time_out);
    if (time_out < 100) continue;
    CHECK(took < 120);  // a poll of 100 ms was waiting
    check_gone(s);
  }
}

TEST_CASE("close in the midst of a batch far larger than the memory gives everything back") {
  using kshare::AcquireMode;
  for (const AcquireMode mode : {AcquireMode::batch_optimized, AcquireMode::record_limit}) {
    Scene s;
    s.hold_all();
    s.m.options.acquire_mode = mode;
    s.start(2, 1000, 90);
    s.m.takes_max = 5;
    REQUIRE(s.until_seen(10));
    const int64_t took = close_takes(s, 5000);
    CHECK(took >= 0);
    CHECK(took < 1500);
    check_gone(s);
    for (int p = 0; p < 2; ++p) {
      for (int64_t offset = 0; offset < 1000; ++offset) {
        CHECK(s.state(offset, p) == State::Available);
      }
    }
    CHECK(s.stats().records == s.stats().acks_ok);
  }
}

TEST_CASE("close with every ack slot in use") {
  Scene s;
  s.hold_all();
  s.start(1, 200, 8);
  REQUIRE(s.until_seen(48));
  CHECK(s.consumer().unsettled() == 48);
  const int64_t took = close_takes(s, 5000);
  CHECK(took >= 0);
  CHECK(took < 1500);
  check_gone(s);
  for (int64_t offset = 0; offset < 200; ++offset) CHECK(s.state(offset) == State::Available);
}

TEST_CASE("a word after close() was called still counts, until it is sent") {
  Scene s;
  s.hold_all();
  s.start(1, 3);
  REQUIRE(s.until_seen(3));
  REQUIRE(s.consumer().close(s.now(), 2000).ok());
  CHECK(s.ack(1, Ack::accept).ok());
  CHECK(s.w.run_until([&] { return !s.m.alive; }, 2001));
  CHECK(s.state(0) == State::Available);
  CHECK(s.state(1) == State::Acknowledged);
  CHECK(s.state(2) == State::Available);
  check_gone(s);
}

TEST_CASE("close with records whose lock has gone") {
  minibroker::Config config;
  config.lock_ms = 1000;
  Scene s(config);
  s.hold_all();
  s.start(1, 4);
  REQUIRE(s.until_seen(4));
  s.m.takes = false;
  s.w.run_for(1100);
  CHECK(close_takes(s, 3000) >= 0);
  CHECK(s.stats().acks_failed == 4);
  check_gone(s);
}

TEST_CASE("every call on a consumer that is not running gives a clear status") {
  Scene s;
  const auto check_refused = [&] {
    kshare::Record record;
    kshare::Event event;
    CHECK_FALSE(s.consumer().poll(s.now()));
    CHECK_FALSE(s.consumer().next(record, s.now()));
    CHECK(s.consumer().subscribe({"t"}).code == Errc::not_running);
    CHECK(s.consumer().unsubscribe().code == Errc::not_running);
    CHECK(s.consumer().acknowledge(kshare::RecordId{}, Ack::accept).code == Errc::not_running);
    CHECK(s.consumer().close(s.now(), 10).code == Errc::not_running);
    while (s.consumer().next_event(event)) {
    }
    CHECK(s.consumer().assignment_count() == 0);
    CHECK(s.consumer().unsettled() == 0);
    for (uint32_t i = 0; i < s.consumer().interest_count(); ++i) {
      CHECK(s.consumer().interest(i).fd < 0);
    }
  };
  check_refused();
  s.start(1, 3);
  CHECK(s.consumer().start(s.m.options).code == Errc::already_running);
  REQUIRE(s.until_seen(3));
  const kshare::RecordId id = s.m.ids[0];
  REQUIRE(s.w.close(s.m));
  CHECK(s.consumer().acknowledge(id, Ack::accept).code == Errc::not_running);
  check_refused();
}

TEST_CASE("while closing nothing new begins") {
  Scene s;
  s.start(1, 3);
  REQUIRE(s.until_seen(3));
  REQUIRE(s.consumer().close(s.now(), 1000).ok());
  kshare::Record record;
  CHECK_FALSE(s.consumer().next(record, s.now()));
  CHECK(s.consumer().subscribe({"t"}).code == Errc::not_running);
  CHECK(s.consumer().unsubscribe().code == Errc::not_running);
  CHECK(s.consumer().start(s.m.options).code == Errc::already_running);
  CHECK(s.w.run_until([&] { return !s.m.alive; }, 1001));
}

TEST_CASE("start after close, with the same storage: lives follow each other, ids do not survive") {
  Scene s;
  s.w.broker.add_topic("t", 2);
  s.hold_all();
  std::vector<kshare::RecordId> old;
  for (int life = 0; life < 5; ++life) {
    CAPTURE(life);
    s.append(0, 3);
    s.append(1, 2);
    s.m.seen.clear();
    s.m.ids.clear();
    s.m.alive = true;
    REQUIRE(s.m.start({"t"}).ok());
    CHECK(s.stats().records == 0);
    CHECK(s.consumer().status().ok());
    REQUIRE(s.until_seen(5));
    for (const kshare::RecordId id : old) {
      CHECK(s.consumer().acknowledge(id, Ack::accept).code == Errc::unknown_record);
    }
    s.ack_all();
    old.insert(old.end(), s.m.ids.begin(), s.m.ids.end());
    REQUIRE(s.until_settled());
    CHECK(s.stats().acks_ok == 5);
    REQUIRE(s.w.close(s.m));
    check_gone(s);
  }
  CHECK(s.w.broker.start_offset("group", "t", 0) == 15);
}

TEST_CASE("start after a close that did not go well") {
  Scene s;
  s.hold_all();
  s.start(1, 5);
  REQUIRE(s.until_seen(5));
  for (auto& transport : s.m.pool.transports) transport.stall = true;
  REQUIRE(s.w.close(s.m, 100));
  for (auto& transport : s.m.pool.transports) transport.stall = false;
  s.m.alive = true;
  s.m.seen.clear();
  s.m.judge = nullptr;
  REQUIRE(s.m.start({"t"}).ok());
  CHECK(s.w.run_until([&] { return s.stats().acks_ok == 5; }, 40000));
  CHECK(s.w.close(s.m));
  check_sums(s.consumer());
}

TEST_CASE("a consumer that has failed for good can be closed at once, and started again") {
  Scene s;
  s.hold_all();
  s.start(1, 5);
  REQUIRE(s.until_seen(5));
  const kshare::RecordId id = s.m.ids[0];
  s.w.broker.fail_next(minibroker::kShareGroupHeartbeat, 30, 1);
  REQUIRE(s.w.run_until([&] { return !s.m.alive; }, 10000));
  CHECK(s.consumer().status() == kshare::Status{Errc::group_rejected, 30});
  CHECK_FALSE(s.consumer().poll(s.now()));
  CHECK(s.consumer().acknowledge(id, Ack::accept).code == Errc::not_running);
  CHECK(s.consumer().subscribe({"t"}).code == Errc::not_running);
  CHECK(s.w.broker.open_connections() == 0);
  CHECK(s.consumer().close(s.now(), 1000).ok());
  CHECK_FALSE(s.consumer().poll(s.now()));
  CHECK(s.consumer().status() == kshare::Status{Errc::group_rejected, 30});  // it says why
  check_sums(s.consumer());
  s.m.alive = true;
  s.m.judge = nullptr;
  REQUIRE(s.m.start({"t"}).ok());
  CHECK(s.consumer().status().ok());
  CHECK(s.w.run_until([&] { return s.stats().acks_ok == 5; }, 40000));
  CHECK(s.w.close(s.m));
}

TEST_CASE("a start that is refused leaves the storage free for another consumer") {
  auto storage = std::make_unique<kshare::Storage<kshare::kTinyLimits>>();
  world::Pool pool(kshare::kTinyLimits.links_max);
  kshare::Options options;
  {
    kshare::ShareConsumer first{*storage, pool};
    CHECK(first.start(options).code == Errc::bad_option);
    CHECK(first.status().code == Errc::bad_option);
    CHECK_FALSE(first.last_error().empty());
    CHECK_FALSE(first.poll(Instant{1}));
  }
  kshare::ShareConsumer second{*storage, pool};
  options.group_id = "g";
  options.bootstrap_servers = "127.0.0.1:1";
  pool.has_entropy = false;
  CHECK(second.start(options).code == Errc::no_entropy);
  CHECK(second.status().code == Errc::no_entropy);
  pool.has_entropy = true;
  CHECK(second.start(options).ok());
  CHECK(second.status().ok());
  CHECK(second.close(Instant{1}, 0).ok());
  CHECK_FALSE(second.poll(Instant{1}));
}

TEST_CASE("unsubscribe gives back what was not handed out, and subscribe begins anew") {
  Scene s;
  s.start(2, 12);
  s.m.takes_max = 3;
  REQUIRE(s.until_seen(3));
  s.m.takes = false;
  REQUIRE(s.consumer().unsubscribe().ok());
  s.w.run_for(1500);
  CHECK(s.w.broker.group_coordinator().members("group").empty());
  CHECK(s.m.event_count(kshare::EventType::released_unseen) == 0);  // it was not too late
  CHECK(s.consumer().unsettled() == 1);  // implicit: the last record, the next one is not asked for
  s.m.takes = true;
  s.m.takes_max = UINT32_MAX;
  s.w.run_for(600);
  CHECK(s.consumer().unsettled() == 0);
  CHECK(s.w.broker.sessions(0) == 0);
  REQUIRE(s.consumer().subscribe({"t"}).ok());
  CHECK(s.w.run_until([&] { return s.m.times().size() == 24 && s.consumer().unsettled() == 0; }));
  CHECK(s.m.seen.size() == 24);
  CHECK(s.w.close(s.m));
  check_gone(s);
}

TEST_CASE("repeated subscribe and unsubscribe are harmless") {
  Scene s;
  s.start(1, 30);
  for (int i = 0; i < 20; ++i) {
    s.w.run_for(7 * i);
    REQUIRE(s.consumer().unsubscribe().ok());
    if (i % 3 == 0) REQUIRE(s.consumer().unsubscribe().ok());
    s.w.run_for(5 * (i % 4));
    REQUIRE(s.consumer().subscribe({"t"}).ok());
    if (i % 2 == 0) REQUIRE(s.consumer().subscribe({"t"}).ok());
  }
  CHECK(s.w.run_until([&] { return s.w.broker.start_offset("group", "t", 0) == 30; }));
  CHECK(s.m.times().size() == 30);
  CHECK(s.w.close(s.m));
  check_gone(s);
}

TEST_CASE("close does not wait for a leader that is gone, and leaves the group") {
  world::SceneOf<kshare::kSmallLimits> s(two_nodes());
  s.hold_all();
  s.start(2, 10);
  REQUIRE(s.until_seen(20));
  const int gone = 1 - s.w.broker.coordinator();
  s.w.broker.stop_node(gone, s.w.now);
  const int64_t since = s.w.now;
  REQUIRE(s.consumer().close(s.now(), 30000).ok());
  REQUIRE(s.w.run_until([&] { return !s.m.alive; }, 31000));
  CHECK(s.w.now - since < 2000);
  CHECK(s.w.broker.group_coordinator().members("group").empty());
  CHECK(s.w.broker.sessions(1 - gone) == 0);
  check_sums(s.consumer());
}

TEST_CASE("close leaves the group whatever keeps its word from the coordinator at first") {
  for (int which = 0; which <= kMany; ++which) {
    CAPTURE(std::string(kTroubles[which]));
    world::SceneOf<kshare::kSmallLimits> s(two_nodes());
    trouble(s, which);
    const int64_t requests = s.w.broker.requests_total();
    const int64_t took = close_takes(s, 10000);
    CHECK(took >= 0);
    CHECK(took < 1500);
    CHECK(s.w.broker.requests_total() - requests < 40);
    CHECK(s.w.broker.group_coordinator().members("group").empty());
    CHECK(s.consumer().status().ok());
    CHECK_FALSE(s.m.has_event(kshare::EventType::rejoining));
    check_clean(s.w);
  }
}

TEST_CASE("unsubscribe leaves the group whatever keeps its word from the coordinator at first") {
  for (int which = 0; which <= kMany; ++which) {
    CAPTURE(std::string(kTroubles[which]));
    world::SceneOf<kshare::kSmallLimits> s(two_nodes());
    trouble(s, which);
    const int64_t requests = s.w.broker.requests_total();
    CHECK(s.consumer().unsubscribe().ok());
    const auto out = [&] { return s.w.broker.group_coordinator().members("group").empty(); };
    CHECK(s.w.run_until(out, 1500));
    s.w.run_for(20000);
    CHECK(out());  // it does not come back by itself
    CHECK(s.w.broker.requests_total() - requests < 40);
    CHECK_FALSE(s.m.has_event(kshare::EventType::rejoining));
    s.append(0, 1);
    CHECK(s.consumer().subscribe({"t"}).ok());
    CHECK(s.until_seen(7, 3000));
    CHECK(s.w.close(s.m));
    check_clean(s.w);
  }
}

TEST_CASE("close does not look for long for a coordinator that is gone") {
  for (const char* how : {"refuses", "silent", "unknown", "not it", "all refuse"}) {
    CAPTURE(how);
    world::SceneOf<kshare::kSmallLimits> s(two_nodes());
    s.w.broker.add_topic("t", 1);
    const std::string_view which = how;
    const int gone = s.w.broker.coordinator();
    s.w.broker.move_leader("t", 0, 1 - gone);
    s.m.options.bootstrap_servers = "127.0.0.1:9092,127.0.0.1:9093";
    REQUIRE(s.m.start({"t"}).ok());
    REQUIRE(s.w.run_until([&] { return s.consumer().assignment_count() == 1; }));
    s.w.run_for(1000);
    for (auto& transport : s.m.pool.transports) {
      if (which == "silent") transport.silent_ports = {9092 + gone};
      if (which == "all refuse") transport.refuse = true;
    }
    if (which == "refuses" || which == "silent") s.w.broker.name_coordinator(1 - gone, gone);
    if (which == "not it") s.w.broker.fail_next(minibroker::kShareGroupHeartbeat, 16, 1000000);
    else s.w.broker.stop_node(gone, s.w.now);
    if (which == "all refuse") s.w.broker.stop_node(1 - gone, s.w.now);
    const int64_t requests = s.w.broker.requests_total();
    const uint64_t turns = s.w.turns;
    const int64_t took = close_takes(s, 30000);
    CHECK(took <= 3000);
    CHECK(took >= 2000);  // who is moved to another broker has been found by then
    CHECK(s.w.broker.requests_total() - requests < 60);
    CHECK(s.w.turns - turns < 400);
    CHECK(s.consumer().status().ok());
    CHECK(s.w.broker.open_connections() == 0);
    check_clean(s.w);
  }
}

TEST_CASE("unsubscribe with a coordinator that is gone: some tries a second, and an end of them") {
  for (const int16_t code : {int16_t{14}, int16_t{16}}) {
    CAPTURE(code);
    Scene s;
    s.start(1, 0);
    REQUIRE(s.w.run_until([&] { return s.consumer().assignment_count() == 1; }));
    s.w.run_for(1000);
    s.w.broker.fail_next(minibroker::kShareGroupHeartbeat, code, 1000000);
    int64_t requests = s.w.broker.requests_total();
    CHECK(s.consumer().unsubscribe().ok());
    s.w.run_for(44000);
    CHECK(s.w.broker.requests_total() - requests > 40);
    CHECK(s.w.broker.requests_total() - requests < 150);
    s.w.run_for(4000);
    requests = s.w.broker.requests_total();
    s.w.run_for(60000);
    CHECK(s.w.broker.requests_total() - requests < 5);
    s.w.broker.clear_faults(minibroker::kShareGroupHeartbeat);
    s.append(0, 1);
    CHECK(s.consumer().subscribe({"t"}).ok());
    CHECK(s.until_seen(1, 3000));
    CHECK(s.w.close(s.m));
    check_gone(s);
  }
}

TEST_CASE("close with more acquired than there are ack slots: all of it goes back, in turns") {
  for (const int in_hand : {40, 48}) {
    CAPTURE(in_hand);
    Scene s;
    s.hold_all();
    s.m.takes_max = static_cast<uint32_t>(in_hand);
    s.m.judge = [&](const kshare::Record&, Ack&) {
      s.m.takes = s.m.seen.size() < static_cast<size_t>(in_hand);
      return false;
    };
    s.start(3, 60, 4);
    REQUIRE(s.until_seen(static_cast<size_t>(in_hand)));
    const int64_t since = s.w.now;
    CHECK(s.w.close(s.m));
    CHECK(s.w.now - since < 2000);
    check_gone(s);
    for (int p = 0; p < 3; ++p) CHECK(s.w.broker.counts("group", "t", p).available == 60);
    CHECK(s.stats().acks_failed == 0);
  }
}

}  // namespace test_closing
