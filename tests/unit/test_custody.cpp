// SPDX-License-Identifier: Apache-2.0
// What the application holds, and commits: acknowledge by place, detach, held, release_all,
// stalled, commit and its results. The whole consumer against the mini broker.
#include <doctest/doctest.h>

#include <set>

#include "../support/scenario.hpp"
#include "../support/scene.hpp"

namespace test_custody {
namespace {

using kshare::Ack;
using kshare::CommitResult;
using kshare::Errc;
using kshare::EventType;
using kshare::HeldRecord;
using kshare::Record;
using kshare::Ticket;
using minibroker::State;
using world::Scene;

constexpr kshare::Limits kTwoLeaders = [] {
  kshare::Limits limits = kshare::kTinyLimits;
  limits.links_max = 3;
  return limits;
}();

std::set<int64_t> held_offsets(Scene& s) {
  std::set<int64_t> offsets;
  HeldRecord held;
  for (uint32_t i = 0; i < s.consumer().held_max(); ++i) {
    if (s.consumer().held(i, held)) offsets.insert(held.offset);
  }
  return offsets;
}
std::vector<CommitResult> results_of(Scene& s, Ticket ticket) {
  std::vector<CommitResult> all;
  CommitResult result;
  for (uint32_t i = 0; s.consumer().commit_result(ticket, i, result); ++i) all.push_back(result);
  return all;
}
bool until_committed(Scene& s, Ticket ticket, int64_t for_ms = 5000) {
  return s.w.run_until(
      [&] { return s.consumer().commit_status(ticket).code != Errc::in_progress; }, for_ms);
}

}  // namespace

TEST_CASE("acknowledge by topic, partition and offset") {
  Scene s;
  s.hold_all();
  s.start(2, 3);
  REQUIRE(s.until_seen(6));
  auto say = [&](std::string_view topic, int32_t partition, int64_t offset, Ack type) {
    return s.consumer().acknowledge(topic, partition, offset, type).code;
  };
  CHECK(say("t", 1, 2, Ack::reject) == Errc::ok);
  CHECK(say("t", 0, 0, Ack::accept) == Errc::ok);
  CHECK(say("t", 0, 1, Ack::release) == Errc::ok);
  CHECK(say("t", 2, 0, Ack::accept) == Errc::unknown_record);
  CHECK(say("t", 0, 3, Ack::accept) == Errc::unknown_record);
  CHECK(say("t", 0, -1, Ack::accept) == Errc::unknown_record);
  CHECK(say("u", 0, 2, Ack::accept) == Errc::unknown_record);
  CHECK(say("t", 0, 2, static_cast<Ack>(9)) == Errc::wrong_mode);
  s.w.run_for(1000);
  CHECK(s.state(2, 1) == State::Archived);
  CHECK(s.state(0, 0) == State::Acknowledged);
  CHECK(s.last(0, 1)->type == 2);
  CHECK(s.state(2, 0) == State::Acquired);
}

TEST_CASE("acknowledge by offset means the newest delivery, the old handle stays void") {
  minibroker::Config config;
  config.lock_ms = 1000;
  Scene s{config};
  s.hold_all();
  s.start(1, 1);
  REQUIRE(s.until_seen(2));  // it has come again
  CHECK(s.consumer().acknowledge("t", 0, 0, Ack::accept).ok());
  CHECK(s.until_settled(900) == false);  // the lost one still has its slot
  CHECK(s.state(0) == State::Acknowledged);
  CHECK(s.consumer().held_count() == 1);
  CHECK(s.consumer().acknowledge("t", 0, 0, Ack::accept).code == Errc::lock_lost);
  CHECK(s.consumer().held_count() == 0);
  CHECK(s.stats().acks_ok == 1);
}

TEST_CASE("held names the records: place, count, lock, what became of them") {
  minibroker::Config config;
  config.lock_ms = 3000;
  Scene s{config};
  s.hold_all();
  s.start(1, 4);
  REQUIRE(s.until_seen(4));
  CHECK(held_offsets(s) == std::set<int64_t>{0, 1, 2, 3});
  CHECK(s.ack(1, Ack::accept).ok());
  CHECK(s.consumer().detach(s.m.ids[2]).ok());
  CHECK(s.ack(3, Ack::renew).ok());
  HeldRecord held;
  for (uint32_t i = 0; i < s.consumer().held_max(); ++i) {
    if (!s.consumer().held(i, held)) continue;
    CHECK(held.topic == "t");
    CHECK(held.partition == 0);
    CHECK(held.delivery_count == 1);
    CHECK(held.lock_deadline > s.now());
    CHECK(held.detached == (held.offset == 2));
    CHECK(held.renewing == (held.offset == 3));
    CHECK_FALSE(held.lock_lost);
    CHECK(held.offset != 1);
  }
  s.m.takes = false;
  s.w.run_for(2990);
  s.w.run_for(100);
  uint32_t lost = 0;
  for (uint32_t i = 0; i < s.consumer().held_max(); ++i) {
    if (!s.consumer().held(i, held) || !held.lock_lost) continue;
    ++lost;
    CHECK(held.topic == "t");
    CHECK(held.partition == 0);
    CHECK(held.offset != 3);
  }
  CHECK(lost == 2);
  CHECK_FALSE(s.consumer().held(s.consumer().held_max(), held));
  CHECK_FALSE(s.consumer().held(UINT32_MAX, held));
}

TEST_CASE("a forgotten acknowledge: stalled says so once an episode, held names the records") {
  Scene s;
  s.hold_all();
  s.start(1, 200, 4);
  s.w.run_for(3000);
  const size_t taken = s.m.seen.size();
  CHECK(taken < 200);
  CHECK(s.m.event_count(EventType::stalled) == 1);
  CHECK(held_offsets(s).size() == taken);
  for (const auto& event : s.m.events) {
    if (event.type == EventType::stalled) CHECK(event.value == static_cast<int64_t>(taken));
  }
  for (size_t i = 0; i < taken; ++i) CHECK(s.ack(i, Ack::accept).ok());
  s.w.run_for(3000);
  CHECK(s.m.seen.size() > taken);
  CHECK(s.m.event_count(EventType::stalled) == 2);  // a new episode
}

TEST_CASE("a forgotten acknowledge on one link: other links keep delivering and acknowledging") {
  minibroker::Config config;
  config.nodes = 2;
  for (const int forgetful : {0, 1}) {
    CAPTURE(forgetful);
    world::SceneOf<kTwoLeaders> s(config);
    s.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
    s.m.judge = [&](const Record& record, Ack&) { return record.partition != forgetful; };
    s.w.broker.add_topic("t", 2);
    for (int p = 0; p < 2; ++p) s.w.broker.move_leader("t", p, p);
    REQUIRE(s.m.start({"t"}).ok());
    s.w.run_for(2000);
    s.append(forgetful, 1, 1500);  // a slot is held by it
    REQUIRE(s.until_seen(1));
    uint64_t acked = 0;
    for (int i = 0; i < 40; ++i) {  // for most of its lock
      s.append(1 - forgetful, 5, 60);
      acked += 5;
      CHECK(s.w.run_until([&] { return s.stats().acks_ok == acked; }, 600));
      s.w.run_for(400);
    }
    CHECK(s.m.seen.size() == 201);
    CHECK(s.stats().redelivered == 0);
    CHECK(s.consumer().held_count() == 1);
    CHECK_FALSE(s.m.has_event(EventType::stalled));
    CHECK(s.state(0, forgetful) == State::Acquired);
    CHECK(s.ack(0, Ack::accept).ok());
    CHECK(s.until_settled());
    CHECK(s.stats().acks_ok == 201);
    world::check_sums(s.consumer());
    world::check_clean(s.w);
  }
}

TEST_CASE("detach frees the bytes and keeps the slot: the store is not what an application fills") {
  Scene s;
  s.hold_all();
  s.m.judge = [&](const Record& record, Ack&) {
    CHECK(s.consumer().detach(record).ok());
    return false;
  };
  s.start(1, 40, 300);  // 13 KB, through a store of 4 KiB
  CHECK(s.until_seen(40));
  CHECK_FALSE(s.m.has_event(EventType::stalled));
  CHECK(s.consumer().held_count() == 40);
  CHECK(s.consumer().engine().tables().store.free_count() >= 1);
  CHECK(s.consumer().detach(s.m.ids[0]).ok());  // again: harmless
  s.ack_all();
  CHECK(s.until_settled());
  CHECK(s.stats().acks_ok == 40);
  CHECK(s.consumer().detach(s.m.ids[0]).code == Errc::unknown_record);
  world::check_clean(s.w);
}

TEST_CASE("release_all gives back what is held, in both modes") {
  Scene s;
  s.hold_all();
  s.start(2, 5);
  REQUIRE(s.until_seen(10));
  CHECK(s.ack(0, Ack::accept).ok());
  s.m.takes = false;
  s.consumer().release_all();
  CHECK(s.consumer().held_count() == 0);
  s.w.run_for(300);
  CHECK(s.stats().released == 9);
  CHECK(s.stats().acks_ok == 10);

  Scene i;
  i.m.takes_max = 1;
  i.start(1, 1);
  REQUIRE(i.until_seen(1));
  i.m.takes = false;
  i.consumer().release_all();
  i.w.run_for(300);
  CHECK(i.stats().released == 1);
}

TEST_CASE("commit: nothing pending gives an empty result at once") {
  Scene s;
  s.hold_all();
  s.start(1, 2);
  REQUIRE(s.until_seen(2));
  Ticket ticket = 99;
  CHECK(s.consumer().commit(ticket).ok());
  CHECK(s.consumer().commit_status(ticket).ok());
  CHECK(results_of(s, ticket).empty());
  CHECK(s.consumer().commit_status(0).code == Errc::unknown_ticket);
  CHECK(s.consumer().commit_status(ticket + 1).code == Errc::unknown_ticket);
}

TEST_CASE("commit: its results match what was acked, partition by partition") {
  Scene s;
  s.hold_all();
  s.m.options.ack_linger_ms = 5000;
  s.start(3, 4);
  REQUIRE(s.until_seen(12));
  for (size_t i = 0; i < 12; ++i) {
    if (s.m.seen[i].partition != 1) CHECK(s.ack(i, Ack::accept).ok());
  }
  Ticket ticket = 0;
  CHECK(s.consumer().commit(ticket).ok());
  CHECK(s.consumer().commit_status(ticket).code == Errc::in_progress);
  const int64_t begin = s.w.now;
  CHECK(until_committed(s, ticket));
  CHECK(s.w.now - begin < 700);  // no linger, at most a long poll
  CHECK(s.consumer().commit_status(ticket).ok());
  const auto results = results_of(s, ticket);
  REQUIRE(results.size() == 2);
  for (const auto& result : results) {
    CHECK(result.topic == "t");
    CHECK(result.partition != 1);
    CHECK(result.records == 4);
    CHECK(result.status.ok());
  }
  CHECK(s.stats().acks_ok == 8);
}

TEST_CASE("commit: an error of one partition is that partition's only") {
  Scene s;
  s.hold_all();
  s.start(2, 3);
  REQUIRE(s.until_seen(6));
  for (size_t i = 0; i < 6; ++i) CHECK(s.ack(i, Ack::accept).ok());
  s.w.broker.fail_acks("t", 1, minibroker::kInvalidRecordState);
  Ticket ticket = 0;
  CHECK(s.consumer().commit(ticket).ok());
  CHECK(until_committed(s, ticket));
  CHECK(s.consumer().commit_status(ticket) == kshare::Status{Errc::broker_error, 121});
  for (const auto& result : results_of(s, ticket)) {
    CHECK(result.status == (result.partition == 1 ? kshare::Status{Errc::broker_error, 121}
                                                  : kshare::Status{}));
  }
}

TEST_CASE("several commits in a row: each has its own results, a later one waits for the earlier") {
  Scene s;
  s.hold_all();
  s.start(1, 30, 4);
  REQUIRE(s.until_seen(30));
  std::vector<Ticket> tickets;
  for (size_t i = 0; i < 20; ++i) {
    CHECK(s.ack(i, Ack::accept).ok());
    Ticket ticket = 0;
    const kshare::Status status = s.consumer().commit(ticket);
    if (!status.ok()) {
      CHECK(status.code == Errc::too_many);
      CHECK(i >= 15);
      continue;
    }
    tickets.push_back(ticket);
  }
  CHECK(tickets.size() == 15);
  CHECK(until_committed(s, tickets.back()));
  for (Ticket ticket : tickets) {
    CHECK(s.consumer().commit_status(ticket).ok());
    const auto results = results_of(s, ticket);
    REQUIRE(results.size() == 1);
    CHECK(results[0].records == 1);
  }
  CHECK(s.stats().acks_ok == 20);
  for (int round = 0; round < 100; ++round) {  // old results make room for new ones
    Ticket ticket = 0;
    if (round < 10) CHECK(s.ack(20 + static_cast<size_t>(round), Ack::accept).ok());
    CHECK(s.consumer().commit(ticket).ok());
    CHECK(until_committed(s, ticket));
  }
}

TEST_CASE("commit in implicit mode accepts the record handed out last") {
  Scene s;
  s.m.takes_max = 1;
  s.start(1, 3);
  REQUIRE(s.until_seen(1));
  s.m.takes = false;
  Ticket ticket = 0;
  CHECK(s.consumer().commit(ticket).ok());
  CHECK(until_committed(s, ticket));
  CHECK(s.state(0) == State::Acknowledged);
  s.m.takes = true;
  CHECK(s.until_seen(3));
  CHECK(s.w.close(s.m));
  CHECK(s.stats().acks_failed == 0);
}

TEST_CASE("commit with a lost answer: the result is that nobody knows") {
  Scene s;
  s.hold_all();
  s.start(1, 3);
  REQUIRE(s.until_seen(3));
  s.on_answer = [&](int, std::string&) { return s.settled.empty(); };  // settled, but not told
  s.ack_all();
  Ticket ticket = 0;
  CHECK(s.consumer().commit(ticket).ok());
  s.w.run_for(1000);
  CHECK(s.consumer().commit_status(ticket).code == Errc::in_progress);
  s.on_answer = nullptr;
  s.hang_up();
  CHECK(until_committed(s, ticket));
  CHECK(s.consumer().commit_status(ticket).code == Errc::disconnected);
  CHECK(s.stats().acks_unknown == 3);
}

TEST_CASE("every call on a closed consumer gives a clear status: the acknowledgement API") {
  Scene s;
  s.hold_all();
  s.start(1, 1);
  REQUIRE(s.until_seen(1));
  CHECK(s.w.close(s.m));
  Ticket ticket = 0;
  HeldRecord held;
  CHECK(s.consumer().commit(ticket).code == Errc::not_running);
  CHECK(s.consumer().detach(s.m.ids[0]).code == Errc::not_running);
  CHECK(s.consumer().acknowledge("t", 0, 0, Ack::accept).code == Errc::not_running);
  CHECK(s.ack(0, Ack::renew).code == Errc::not_running);
  s.consumer().release_all();
  CHECK_FALSE(s.consumer().held(0, held));
  CHECK(s.consumer().held_count() == 0);
}

TEST_CASE("a commit's results while it is under way, and after its topic has been forgotten") {
  Scene s;
  s.hold_all();
  s.start(1, 3);
  REQUIRE(s.until_seen(3));
  s.ack_all();
  Ticket ticket = 0;
  CHECK(s.consumer().commit(ticket).ok());
  auto results = results_of(s, ticket);
  REQUIRE(results.size() == 1);
  CHECK(results[0].status.code == Errc::in_progress);
  CHECK(results[0].topic == "t");
  CHECK(results[0].records == 3);
  REQUIRE(until_committed(s, ticket));
  REQUIRE(s.consumer().subscribe({"another"}).ok());
  s.w.run_for(10000);
  results = results_of(s, ticket);
  REQUIRE(results.size() == 1);
  CHECK(results[0].status.ok());
  CHECK(results[0].topic.empty());
  CHECK(results[0].topic_id == scenario::to_uuid(s.w.broker.topic_id("t")));
}

TEST_CASE("renew while the connection is down: it is asked for over the next one, or refused") {
  Scene s{world::locks_of(10000)};
  s.hold_all();
  s.start(1, 2);
  REQUIRE(s.until_seen(2));
  for (auto& transport : s.m.pool.transports) transport.refuse = true;
  s.hang_up();
  s.w.run_for(300);
  CHECK(s.ack(0, Ack::renew).ok());
  for (auto& transport : s.m.pool.transports) transport.refuse = false;
  const uint64_t before = s.stats().renewed;
  REQUIRE(s.w.run_until([&] {
    return s.stats().renewed != before || s.m.has_event(EventType::renew_failed);
  }, 5000));
  HeldRecord held;
  for (uint32_t i = 0; i < s.consumer().held_max(); ++i) {
    if (s.consumer().held(i, held)) CHECK_FALSE(held.renewing);
  }
  s.check_tables();
  world::check_sums(s.consumer());
}

TEST_CASE("commit: its acks do not linger, with no room for a fetch that could carry them either") {
  Scene s;
  s.hold_all();
  s.m.options.ack_linger_ms = 5000;
  s.start(1, 60);
  REQUIRE(s.until_seen(kshare::kTinyLimits.records_max));
  s.w.run_for(1000);
  for (size_t i = 0; i < 5; ++i) CHECK(s.ack(i, Ack::accept).ok());
  Ticket ticket = 0;
  CHECK(s.consumer().commit(ticket).ok());
  const int64_t begin = s.w.now;
  CHECK(until_committed(s, ticket));
  CHECK(s.w.now - begin < 700);
  CHECK(s.consumer().commit_status(ticket).ok());
}

}  // namespace test_custody
