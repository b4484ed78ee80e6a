// SPDX-License-Identifier: Apache-2.0
// Acknowledging, the whole consumer against the mini broker in virtual time: what becomes of a
// record, who is told, and what never happens twice.
#include <doctest/doctest.h>

#include <set>

#include "../support/scene.hpp"

namespace test_acknowledging {

using kshare::Ack;
using kshare::Errc;
using kshare::EventType;
using minibroker::State;
using world::check_clean;
using world::check_sums;
using world::records;
using world::Scene;

namespace {

minibroker::Config config(int64_t lock_ms, int nodes = 1) {
  minibroker::Config c;
  c.lock_ms = lock_ms;
  c.nodes = nodes;
  return c;
}

// Five batches in every partition, of `first_batch`, `first_batch` + 3, ... records.
template <const kshare::Limits& L = kshare::kTinyLimits>
void check_mix(int topics, int partitions, int first_batch = 7) {
  CAPTURE(topics);
  CAPTURE(partitions);
  minibroker::Config c;
  c.delivery_limit = 10;
  world::SceneOf<L> s(c);
  s.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  uint64_t random = 7;
  std::map<std::string, int> last;  // topic/partition/offset -> what was said last
  s.m.judge = [&](const kshare::Record& record, Ack& ack) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    const Ack kinds[] = {Ack::accept, Ack::accept, Ack::release, Ack::reject};
    ack = record.delivery_count >= 9 ? Ack::accept : kinds[random >> 62];
    last[std::string(record.topic) + "/" + std::to_string(record.partition) + "/" +
         std::to_string(record.offset)] = static_cast<int>(ack);
    return true;
  };
  std::vector<std::string> names;
  for (int t = 0; t < topics; ++t) {
    names.push_back("t" + std::to_string(t));
    s.w.broker.add_topic(names.back(), partitions);
    for (int p = 0; p < partitions; ++p) {
      for (int b = 0; b < 5; ++b) s.w.broker.append(names.back(), p, records(first_batch + 3 * b));
    }
  }
  std::vector<std::string_view> views(names.begin(), names.end());
  REQUIRE(s.consumer().start(s.m.options).ok());
  REQUIRE(s.consumer().subscribe({views.data(), static_cast<uint32_t>(views.size())}).ok());
  const auto through = [&] {
    for (const std::string& name : names) {
      for (int p = 0; p < partitions; ++p) {
        const int64_t end = s.w.broker.end_offset(name, p);
        if (s.w.broker.start_offset("group", name, p) != end) return false;
      }
    }
    return s.consumer().unsettled() == 0;
  };
  CHECK(s.w.run_until(through, 120000));
  uint64_t rejected = 0;
  for (const auto& entry : last) {
    CHECK(entry.second != static_cast<int>(Ack::release));
    rejected += entry.second == static_cast<int>(Ack::reject) ? 1 : 0;
  }
  const auto count = static_cast<uint64_t>((5 * first_batch + 30) * topics * partitions);
  CHECK(last.size() == count);
  minibroker::StateCounts sum;
  for (const std::string& name : names) {
    for (int p = 0; p < partitions; ++p) {
      const minibroker::StateCounts counts = s.w.broker.counts("group", name, p);
      sum.acknowledged += counts.acknowledged;
      sum.archived += counts.archived;
    }
  }
  CHECK(sum.archived == static_cast<int64_t>(rejected));  // the delivery limit took none
  CHECK(sum.archived + sum.acknowledged == static_cast<int64_t>(last.size()));
  CHECK(s.stats().rejected == rejected);
  CHECK(s.stats().records == s.stats().acks_ok);
  CHECK(s.stats().acks_ok - s.stats().released == count);
  CHECK(s.stats().redelivered == s.stats().released);
  CHECK(s.w.close(s.m));
  check_clean(s.w);
}

}  // namespace

TEST_CASE("accept: never again; release: again with a count one higher; reject: never again") {
  Scene s;
  s.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  s.m.judge = [](const kshare::Record& record, Ack& ack) {
    const Ack kinds[] = {Ack::accept, Ack::release, Ack::reject};
    ack = record.delivery_count > 1 ? Ack::accept : kinds[record.offset % 3];
    return true;
  };
  s.start(1, 12);
  CHECK(s.w.run_until([&] { return s.stats().acks_ok == 16; }));
  CHECK(s.m.seen.size() == 16);
  for (const auto& entry : s.m.times()) {
    const bool released = entry.first.second % 3 == 1;
    CHECK(entry.second == (released ? 2 : 1));
    CHECK(s.state(entry.first.second) ==
          (entry.first.second % 3 == 2 ? State::Archived : State::Acknowledged));
  }
  for (const auto& seen : s.m.seen) CHECK((seen.count == 2 ? seen.offset % 3 == 1 : true));
  CHECK(s.stats().redelivered == 4);
  CHECK(s.stats().released == 4);
  CHECK(s.stats().rejected == 4);
  CHECK(s.w.broker.start_offset("group", "t", 0) == 12);
  CHECK(s.w.close(s.m));
  check_sums(s.consumer());
  check_clean(s.w);
}

TEST_CASE("un-acked: it comes back after the lock with count 2, and the old handle is void") {
  Scene s(config(1000));
  s.hold_all();
  s.start(1, 5);
  REQUIRE(s.until_seen(5));
  const int64_t since = s.w.now;
  REQUIRE(s.until_seen(10));
  CHECK(s.w.now - since >= 900);
  CHECK(s.w.now - since <= 1500);
  for (size_t i = 5; i < 10; ++i) CHECK(s.m.seen[i].count == 2);
  CHECK(s.m.event_count(EventType::lock_expired) == 5);
  std::set<int64_t> expired;
  for (const kshare::Event& event : s.m.events) {
    if (event.type != EventType::lock_expired) continue;
    CHECK(event.words() == "t");
    CHECK(event.partition == 0);
    CHECK(event.first == event.last);
    expired.insert(event.first);
  }
  CHECK(expired == std::set<int64_t>{0, 1, 2, 3, 4});
  for (size_t i = 0; i < 5; ++i) {
    CHECK(s.ack(i, Ack::accept) == kshare::Status{Errc::lock_lost, 0});
    CHECK(s.ack(i, Ack::accept) == kshare::Status{Errc::unknown_record, 0});
  }
  for (size_t i = 5; i < 10; ++i) CHECK(s.ack(i, Ack::accept).ok());
  CHECK(s.until_settled());
  CHECK(s.stats().acks_ok == 5);
  CHECK(s.stats().acks_failed == 5);
  for (int64_t offset = 0; offset < 5; ++offset) CHECK(s.times(0, offset) == 1);
  check_sums(s.consumer());
  check_clean(s.w);
}

TEST_CASE("the delivery limit archives: released each time, a record is not seen beyond it") {
  minibroker::Config c;
  c.delivery_limit = 3;
  Scene s(c);
  s.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  s.m.judge = [](const kshare::Record&, Ack& ack) {
    ack = Ack::release;
    return true;
  };
  s.start(1, 4);
  REQUIRE(s.until_seen(12));
  s.w.run_for(3000);
  CHECK(s.m.seen.size() == 12);
  CHECK(s.stats().released == 12);
  CHECK(s.w.broker.start_offset("group", "t", 0) == 4);
  for (int64_t offset = 0; offset < 4; ++offset) CHECK(s.state(offset) == State::Archived);
  check_clean(s.w);
}

TEST_CASE("change of mind: before it was sent the last word wins, after that it is refused") {
  Scene s;
  s.hold_all();
  s.m.options.ack_linger_ms = 400;
  s.start(1, 3);
  REQUIRE(s.until_seen(3));
  s.w.broker.set_throttle(0);
  CHECK(s.ack(0, Ack::accept).ok());
  CHECK(s.ack(0, Ack::release).ok());
  CHECK(s.ack(0, Ack::reject).ok());
  CHECK(s.ack(1, Ack::reject).ok());
  CHECK(s.ack(1, Ack::accept).ok());
  CHECK(s.ack(2, Ack::accept).ok());
  bool asked = false;
  s.on_answer = [&](int, std::string&) {  // the broker has it, the answer is on its way
    if (s.times(0, 0) != 1 || asked) return true;
    asked = true;
    CHECK(s.ack(0, Ack::accept) == kshare::Status{Errc::already_acknowledged, 0});
    return true;
  };
  CHECK(s.until_settled());
  CHECK(asked);
  CHECK(s.ack(0, Ack::accept) == kshare::Status{Errc::unknown_record, 0});
  CHECK(s.times(0, 0) == 1);
  CHECK(s.last(0, 0)->type == minibroker::kReject);
  CHECK(s.last(0, 1)->type == minibroker::kAccept);
  CHECK(s.stats().acks_ok == 3);
  CHECK(s.stats().rejected == 1);
  CHECK(s.stats().released == 0);
  check_clean(s.w);
}

TEST_CASE("unknown ids, old ids and an invalid type are refused, and nothing changes") {
  Scene s;
  s.hold_all();
  s.start(1, 2);
  REQUIRE(s.until_seen(2));
  const kshare::RecordId good = s.m.ids[0];
  kshare::RecordId bad = good;
  CHECK(s.consumer().acknowledge(kshare::RecordId{}, Ack::accept).code == Errc::unknown_record);
  bad.slot = 60000;
  CHECK(s.consumer().acknowledge(bad, Ack::accept).code == Errc::unknown_record);
  bad = good;
  ++bad.generation;
  CHECK(s.consumer().acknowledge(bad, Ack::accept).code == Errc::unknown_record);
  bad.generation = good.generation - 1;
  CHECK(s.consumer().acknowledge(bad, Ack::accept).code == Errc::unknown_record);
  for (int type : {0, 5, 6, 200}) {
    CHECK_FALSE(s.consumer().acknowledge(good, static_cast<Ack>(type)).ok());
  }
  CHECK(s.consumer().unsettled() == 2);
  s.w.run_for(500);
  CHECK(s.settled.empty());
  s.ack_all();
  CHECK(s.until_settled());
  CHECK(s.stats().acks_ok == 2);
  check_clean(s.w);
}

TEST_CASE("a record of another consumer is refused") {
  Scene s;
  s.hold_all();
  world::Member<> other(2);
  other.options = s.m.options;
  other.options.group_id = "other";
  other.judge = s.m.judge;
  s.w.join(other);
  s.start(1, 3);
  REQUIRE(other.start({"t"}).ok());
  REQUIRE(s.w.run_until([&] { return s.m.seen.size() == 3 && other.seen.size() == 3; }));
  for (size_t i = 0; i < 3; ++i) {
    CHECK(s.consumer().acknowledge(other.ids[i], Ack::accept).code == Errc::unknown_record);
  }
  s.w.run_for(500);
  CHECK(s.settled.empty());
  check_clean(s.w);
}

TEST_CASE("a random mix of accept, release and reject: exact accounting") {
  check_mix(1, 1);
  check_mix(4, 1);
  check_mix(1, 4);
  check_mix(2, 2);
  check_mix(4, 4);
  check_mix<kshare::kDefaultLimits>(15, 2, 24);
}

TEST_CASE("ack results: 7, 14, 15, 16 are retried while the lock holds") {
  for (const int16_t error : {int16_t{7}, int16_t{14}, int16_t{15}, int16_t{16}}) {
    CAPTURE(error);
    Scene s;
    s.hold_all();
    s.start(2, 3);
    REQUIRE(s.until_seen(6));
    s.w.broker.fail_acks("t", 1, error, 3);
    s.ack_all();
    CHECK(s.until_settled());
    CHECK(s.stats().acks_ok == 6);
    CHECK(s.stats().acks_failed == 0);
    CHECK(s.times(0, 0) == 1);  // the other partition's are not sent again
    CHECK(s.times(1, 0) == 4);
    CHECK_FALSE(s.m.has_event(EventType::acks_failed));
    check_clean(s.w);
  }
}

TEST_CASE("ack results: a retriable error is not retried beyond the lock, nor in a hot loop") {
  Scene s(config(1000));
  s.hold_all();
  s.start(1, 3);
  REQUIRE(s.until_seen(3));
  s.w.broker.fail_acks("t", 0, 15, 1000000);
  const int64_t requests = s.w.broker.requests_total();
  s.ack_all();
  REQUIRE(s.until_seen(6, 3000));  // they come again
  CHECK(s.m.seen[3].count == 2);
  CHECK(s.stats().acks_failed == 3);
  CHECK(s.w.broker.requests_total() - requests < 30);
  check_sums(s.consumer());
  check_clean(s.w);
}

TEST_CASE("ack results: every other error fails the acks of that partition at once") {
  for (const int16_t error : {int16_t{3}, int16_t{6}, int16_t{29}, int16_t{42}, int16_t{69},
                              int16_t{74}, int16_t{121}, int16_t{999}}) {
    CAPTURE(error);
    Scene s;
    s.hold_all();
    s.start(2, 3);
    REQUIRE(s.until_seen(6));
    s.w.broker.fail_acks("t", 1, error, 1);
    for (size_t i = 0; i < 6; ++i) CHECK(s.ack(i, Ack::accept).ok());
    CHECK(s.w.run_until([&] { return s.stats().acks_ok + s.stats().acks_failed >= 6; }));
    CHECK(s.stats().acks_ok == 3);
    CHECK(s.stats().acks_failed == 3);
    CHECK(s.times(1, 0) == 1);
    bool told = false;
    for (const auto& event : s.m.events) {
      if (event.type != EventType::acks_failed) continue;
      told = true;
      CHECK(event.status == kshare::Status{Errc::broker_error, error});
      CHECK(event.partition == 1);
      CHECK(event.value == 3);
      CHECK(event.words() == "t");
    }
    CHECK(told);
    check_clean(s.w);
  }
}

TEST_CASE("a top-level error: what travelled has its end with it, and consumption goes on") {
  Scene s;
  s.hold_all();
  s.start(2, 3);
  REQUIRE(s.until_seen(6));
  s.w.broker.fail_acks("t", 1, -1, 1);  // thrown in the midst of it
  s.ack_all();
  CHECK(s.until_settled());
  CHECK(s.stats().acks_failed + s.stats().acks_unknown == 6);
  CHECK(s.stats().session_resets == 1);
  s.w.broker.append("t", 0, records(2));
  s.w.broker.append("t", 1, records(2));
  CHECK(s.until_seen(10));
  check_sums(s.consumer());
  check_clean(s.w);
}

TEST_CASE("a lost answer: the acks are unknown, said so, and never sent again") {
  Scene s;
  s.hold_all();
  s.m.options.request_timeout_ms = 500;
  s.start(1, 4);
  REQUIRE(s.until_seen(4));
  int dropped = 0;
  s.on_answer = [&](int, std::string&) {
    if (s.settled.empty() || dropped != 0) return true;
    ++dropped;
    return false;
  };
  s.ack_all();
  CHECK(s.w.run_until([&] { return s.stats().acks_unknown != 0; }));
  CHECK(dropped == 1);
  s.w.run_for(3000);
  CHECK(s.stats().acks_unknown == 4);
  CHECK(s.stats().acks_ok == 0);
  for (int64_t offset = 0; offset < 4; ++offset) CHECK(s.times(0, offset) == 1);
  for (const auto& event : s.m.events) {
    if (event.type == EventType::acks_unknown) CHECK(event.value == 4);
  }
  CHECK(s.m.event_count(EventType::acks_unknown) == 1);
  CHECK(s.m.seen.size() == 4);
  check_sums(s.consumer());
  check_clean(s.w);
}

TEST_CASE("a lost connection: acks that were never sent go over the next one, each once") {
  for (const bool noticed : {true, false}) {
    CAPTURE(noticed);
    Scene s;
    s.hold_all();
    s.start(1, 6);
    REQUIRE(s.until_seen(6));
    for (size_t i = 0; i < 3; ++i) CHECK(s.ack(i, Ack::accept).ok());
    const int old = s.m.pool.transports[1].conn();
    if (noticed) {
      s.w.broker.close_connection(old, s.w.now);
    } else {
      s.m.pool.transports[1].forget();
    }
    s.w.run_for(2000);
    for (int64_t offset = 0; offset < 3; ++offset) CHECK(s.times(0, offset) == 1);
    if (noticed) {  // the broker has given them back: they come again
      CHECK(s.stats().acks_failed == 3);
      CHECK(s.m.event_count(EventType::acks_failed) == 1);
      for (int64_t offset = 0; offset < 6; ++offset) CHECK(s.m.times()[{0, offset}] == 2);
    } else {
      CHECK(s.stats().acks_ok == 3);
      CHECK(s.m.seen.size() == 6);
      for (size_t i = 3; i < 6; ++i) CHECK(s.ack(i, Ack::accept).ok());
      CHECK(s.until_settled());
      CHECK(s.stats().acks_ok == 6);
    }
    check_sums(s.consumer());
    if (!noticed) s.w.broker.disconnect(old, s.w.now);
    check_clean(s.w);
  }
}

TEST_CASE("acks after unsubscribe go where the record came from") {
  Scene s;
  s.hold_all();
  s.start(2, 10);
  s.m.takes_max = 4;
  REQUIRE(s.until_seen(4));
  s.m.takes = false;
  REQUIRE(s.consumer().unsubscribe().ok());
  s.w.run_for(1000);
  CHECK(s.stats().acks_ok == 0);
  s.ack_all();
  CHECK(s.until_settled());
  CHECK(s.stats().acks_ok == s.m.seen.size());
  for (const auto& seen : s.m.seen) {
    CHECK(s.state(seen.offset, seen.partition) == State::Acknowledged);
  }
  // The rest was given back, and the session is over.
  s.w.run_for(500);
  CHECK(s.w.broker.sessions(0) == 0);
  for (int64_t offset = 0; offset < 10; ++offset) CHECK(s.state(offset, 1) != State::Acquired);
  CHECK(s.consumer().assignment_count() == 0);
  check_sums(s.consumer());
  check_clean(s.w);
}

TEST_CASE("acks after the partition went to another member still count") {
  Scene s;
  s.hold_all();
  s.start(4, 10);
  s.m.takes_max = 12;  // all of one partition, and some of the next
  REQUIRE(s.until_seen(12));
  s.m.takes = false;
  const std::vector<world::Seen> held = s.m.seen;
  REQUIRE(held.size() == 12);
  world::Member<> other(2);
  other.options = s.m.options;
  other.options.acknowledgement_mode = kshare::AckMode::implicit_mode;
  s.w.join(other);
  REQUIRE(other.start({"t"}).ok());
  REQUIRE(s.w.run_until([&] { return s.consumer().assignment_count() == 2; }));
  std::set<int32_t> gone{0, 1, 2, 3};
  kshare::AssignedPartition partition;
  for (uint32_t i = 0; s.consumer().assignment(i, partition); ++i) gone.erase(partition.partition);
  REQUIRE(gone.size() == 2);
  size_t of_gone = 0;
  for (const auto& record : held) of_gone += gone.count(record.partition);
  REQUIRE(of_gone > 0);
  s.w.run_for(200);
  s.ack_all();
  REQUIRE(s.w.run_until([&] { return s.stats().acks_ok >= 12; }, 3000));
  s.m.judge = nullptr;
  s.m.takes = true;
  s.m.takes_max = UINT32_MAX;
  const auto through = [&] {
    for (int p = 0; p < 4; ++p) {
      if (s.w.broker.start_offset("group", "t", p) != 10) return false;
    }
    return true;
  };
  CHECK(s.w.run_until(through, 10000));  // well before a lock could have run out
  const auto elsewhere = other.times();
  for (const auto& record : held) {  // what was acknowledged here came to nobody else
    CHECK(s.state(record.offset, record.partition) == State::Acknowledged);
    CHECK(s.times(record.partition, record.offset) == 1);
    CHECK(elsewhere.count({record.partition, record.offset}) == 0);
  }
  CHECK(s.m.times().size() + elsewhere.size() == 40);
  CHECK(s.stats().acks_failed + s.stats().acks_unknown == 0);
  check_clean(s.w);
}

TEST_CASE("acks after the leader moved go where the record came from, or fail with the reason") {
  Scene s(config(30000, 2));
  s.hold_all();
  s.w.broker.add_topic("t", 2);
  s.w.broker.move_leader("t", 0, 0);
  s.w.broker.move_leader("t", 1, 0);
  s.w.broker.append("t", 0, records(5));
  s.w.broker.append("t", 1, records(5));
  REQUIRE(s.m.start({"t"}).ok());
  REQUIRE(s.until_seen(10));
  s.w.broker.move_leader("t", 0, 1);
  s.w.run_for(1000);
  const size_t before = s.m.ids.size();
  for (size_t i = 0; i < 10; ++i) static_cast<void>(s.ack(i, Ack::accept));
  s.w.run_for(1000);
  CHECK(s.stats().acks_ok == 5);  // those of the partition that stayed
  CHECK(s.stats().acks_failed == 5);
  for (int64_t offset = 0; offset < 5; ++offset) {
    for (int p = 0; p < 2; ++p) {
      REQUIRE(s.times(p, offset) == 1);
      CHECK(s.last(p, offset)->node == 0);
      CHECK(s.last(p, offset)->error == (p == 0 ? 3 : 0));
    }
  }
  CHECK(s.m.event_count(EventType::acks_failed) == 1);
  for (const kshare::Event& event : s.m.events) {
    if (event.type != EventType::acks_failed) continue;
    CHECK(event.status == kshare::Status{Errc::broker_error, 3});
    CHECK(event.words() == "t");
    CHECK(event.partition == 0);
    CHECK(event.value == 5);
  }
  for (size_t i = before; i < s.m.ids.size(); ++i) static_cast<void>(s.ack(i, Ack::accept));
  REQUIRE(s.w.run_until([&] { return s.m.seen.size() == 15; }, 40000));
  for (size_t i = 10; i < 15; ++i) static_cast<void>(s.ack(i, Ack::accept));
  CHECK(s.w.run_until([&] { return s.stats().acks_ok == 10; }));
  CHECK(s.w.broker.start_offset("group", "t", 0) == 5);
  check_sums(s.consumer());
  check_clean(s.w);
}

TEST_CASE("acks of what stayed with its leader do not go with the link to another one") {
  world::SceneOf<kshare::kSmallLimits> s(config(30000, 2));
  s.hold_all();
  s.w.broker.add_topic("t", 2);
  for (int p = 0; p < 2; ++p) {
    s.w.broker.move_leader("t", p, 0);
    s.w.broker.append("t", p, records(5));
  }
  REQUIRE(s.m.start({"t"}).ok());
  REQUIRE(s.until_seen(10));
  s.w.broker.move_leader("t", 0, 1);
  REQUIRE(s.until_seen(15));  // they have come again from there: the old handles are void
  for (size_t i = 0; i < 15; ++i) {
    const bool is_void = i < 10 && s.m.seen[i].partition == 0;
    CHECK(s.ack(i, Ack::accept).code == (is_void ? Errc::lock_lost : Errc::ok));
  }
  CHECK(s.until_settled());
  for (int64_t offset = 0; offset < 5; ++offset) {
    for (int p = 0; p < 2; ++p) {
      REQUIRE(s.times(p, offset) == 1);
      CHECK(s.last(p, offset)->node == 1 - p);
      CHECK(s.last(p, offset)->error == 0);
    }
  }
  check_sums(s.consumer());
  check_clean(s.w);
}

TEST_CASE("late acks do not take good ones down with them") {
  Scene s(config(2000));
  s.hold_all();
  s.start(1, 0);
  // A long poll of 500 ms begins, 400 ms later there are records: their lock ends between 2000 ms
  // after the request and 2000 ms after the answer.
  uint64_t before = 0;
  const auto polling = [&] {
    const bool begun = before >= 2 && s.stats().fetches > before;
    before = s.stats().fetches;
    return begun;
  };
  REQUIRE(s.w.run_until(polling));
  const int64_t sent = s.w.now;
  s.w.run_for(400);
  s.append(0, 3);
  REQUIRE(s.until_seen(3));
  s.w.run_for(500);
  s.append(0, 3);
  REQUIRE(s.until_seen(6));
  s.w.run_for(sent + 2050 - s.w.now);
  s.m.takes = false;
  const kshare::Engine& engine = s.consumer().engine();
  int late = 0;
  int sound = 0;
  for (uint32_t i = 0; i < engine.tables().lots.count(); ++i) {
    const kshare::Lot& lot = engine.tables().lots[i];
    if (!lot.used) continue;
    const auto its = kshare::ack_class(lot, s.now());
    late += its == kshare::AckClass::late ? 1 : 0;
    sound += its == kshare::AckClass::sound ? 1 : 0;
  }
  REQUIRE(late == 1);
  REQUIRE(sound == 1);
  s.ack_all();
  CHECK(s.until_settled());
  REQUIRE(s.last(0, 0) != nullptr);
  REQUIRE(s.last(0, 3) != nullptr);
  CHECK(s.last(0, 3)->error == 0);
  CHECK(s.last(0, 0)->request < s.last(0, 3)->request);  // what is late cannot wait
  for (int64_t offset = 0; offset < 6; ++offset) CHECK(s.times(0, offset) == 1);
  check_sums(s.consumer());
  check_clean(s.w);
}

TEST_CASE("an offset that expired and came back to the same member: only the new handle settles") {
  Scene s(config(1000));
  s.hold_all();
  s.start(1, 3);
  REQUIRE(s.until_seen(6, 4000));
  const auto again = s.m.times();
  for (const auto& entry : again) CHECK(entry.second == 2);
  for (size_t i = 0; i < 3; ++i) CHECK(s.ack(i, Ack::reject).code == Errc::lock_lost);
  for (size_t i = 3; i < 6; ++i) CHECK(s.ack(i, Ack::accept).ok());
  CHECK(s.until_settled());
  for (int64_t offset = 0; offset < 3; ++offset) {
    CHECK(s.times(0, offset) == 1);
    CHECK(s.state(offset) == State::Acknowledged);
  }
  check_sums(s.consumer());
  check_clean(s.w);
}

TEST_CASE("acks made while a request is in flight are coalesced into the next one") {
  Scene s;
  s.hold_all();
  s.m.options.ack_linger_ms = 0;
  s.start(1, 20);
  REQUIRE(s.until_seen(20));
  CHECK(s.ack(0, Ack::accept).ok());
  bool done = false;
  s.on_answer = [&](int, std::string&) {
    if (s.times(0, 0) == 0 || done) return true;
    done = true;
    for (size_t i = 1; i < 20; ++i) CHECK(s.ack(i, Ack::accept).ok());
    return true;
  };
  CHECK(s.until_settled());
  CHECK(done);
  CHECK(s.stats().acks_ok == 20);
  for (int64_t offset = 1; offset < 20; ++offset) {
    CHECK(s.times(0, offset) == 1);
    CHECK(s.last(0, offset)->request == s.last(0, 1)->request);
  }
  check_clean(s.w);
}

TEST_CASE("more acks than one request holds go in several, none is lost, none is sent twice") {
  Scene s;
  s.hold_all();
  s.m.options.acquire_mode = kshare::AcquireMode::record_limit;
  s.w.broker.add_topic("t", 12);
  for (int p = 0; p < 12; ++p) s.w.broker.append("t", p, records(4, 8));
  REQUIRE(s.m.start({"t"}).ok());
  REQUIRE(s.until_seen(48, 5000));
  for (size_t i = 0; i < s.m.ids.size(); ++i) {  // ranges that do not touch
    if (s.m.seen[i].offset % 2 == 0) CHECK(s.ack(i, Ack::accept).ok());
  }
  CHECK(s.w.run_until([&] { return s.stats().acks_ok == 24; }));
  for (size_t i = 0; i < s.m.ids.size(); ++i) {
    if (s.m.seen[i].offset % 2 == 1) CHECK(s.ack(i, Ack::reject).ok());
  }
  CHECK(s.until_settled());
  CHECK(s.stats().acks_ok == 48);
  std::map<int, int> requests;
  for (int p = 0; p < 12; ++p) {
    for (int64_t offset = 0; offset < 4; ++offset) {
      CHECK(s.times(p, offset) == 1);
      ++requests[s.last(p, offset)->request];
    }
  }
  CHECK(requests.size() == 4);
  check_clean(s.w);
}

TEST_CASE("acks that wait make nobody spin: not behind a long poll, not while the leader is down") {
  Scene s;
  s.hold_all();
  s.start(1, 3);
  REQUIRE(s.until_seen(3));
  uint64_t turns = s.w.turns;
  s.w.run_for(5000);  // held records: short polls
  CHECK(s.w.turns - turns < 5000 / 100 * 8);
  s.m.pool.transports[1].stall = true;
  CHECK(s.ack(0, Ack::accept).ok());
  turns = s.w.turns;
  s.w.run_for(5000);
  CHECK(s.w.turns - turns < 200);
  s.m.pool.transports[1].refuse = true;
  s.m.pool.transports[1].stall = false;
  s.m.pool.transports[1].forget();
  turns = s.w.turns;
  s.w.run_for(5000);
  CHECK(s.w.turns - turns < 200);
  check_sums(s.consumer());
}

TEST_CASE("release_unseen: what an application does not take goes back in time, and is told") {
  Scene s(config(1000));
  s.m.takes = false;
  s.start(1, 10);
  REQUIRE(s.w.run_until([&] { return s.m.has_event(EventType::released_unseen); }, 3000));
  CHECK(s.m.seen.empty());
  CHECK(s.w.now < 1000 + 2000);
  s.w.run_for(100);
  CHECK(s.times(0, 0) >= 1);
  CHECK(s.last(0, 0)->type == minibroker::kRelease);
  CHECK(s.last(0, 0)->error == 0);
  CHECK(s.stats().expired >= 10);
  CHECK(s.stats().records == 0);
  check_clean(s.w);
}

TEST_CASE("implicit mode: asking for the next accepts, an explicit word overrides") {
  Scene s;
  s.start(1, 4);
  kshare::Record record;
  s.m.takes = false;
  REQUIRE(s.w.run_until([&] { return s.consumer().next(record, s.now()); }));
  CHECK(record.offset == 0);
  CHECK(s.consumer().acknowledge(record, Ack::reject).ok());  // the override
  REQUIRE(s.consumer().next(record, s.now()));
  CHECK(record.offset == 1);
  const kshare::RecordId one = record.id;
  s.w.run_for(300);
  CHECK(s.times(0, 0) == 1);
  CHECK(s.last(0, 0)->type == minibroker::kReject);
  CHECK(s.times(0, 1) == 0);  // poll() accepts nothing
  REQUIRE(s.consumer().next(record, s.now()));
  CHECK(record.offset == 2);
  CHECK(s.consumer().acknowledge(one, Ack::release).ok());  // not sent yet: the last word
  REQUIRE(s.consumer().next(record, s.now()));
  CHECK(record.offset == 3);
  CHECK_FALSE(s.consumer().next(record, s.now()));  // accepts the last one
  CHECK(s.w.run_until([&] { return s.stats().acks_ok == 4; }));
  CHECK(s.last(0, 1)->type == minibroker::kRelease);
  CHECK(s.last(0, 2)->type == minibroker::kAccept);
  CHECK(s.last(0, 3)->type == minibroker::kAccept);
  check_clean(s.w);
}

TEST_CASE("implicit mode: a record whose lock is gone when the next is asked for has failed") {
  Scene s(config(1000));
  s.m.takes_max = 1;
  s.start(1, 1);
  REQUIRE(s.until_seen(1));
  s.m.takes = false;
  s.w.run_for(1100);
  s.m.takes = true;
  REQUIRE(s.until_seen(2));
  CHECK(s.m.seen[1].count == 2);
  CHECK(s.stats().acks_failed == 1);
  CHECK(s.until_settled());
  CHECK(s.stats().acks_ok == 1);
  CHECK(s.times(0, 0) == 1);
  check_sums(s.consumer());
  check_clean(s.w);
}

TEST_CASE("an ack that is rolled back again and again backs off, with no room for a fetch too") {
  Scene s;
  s.hold_all();
  s.start(1, 60);
  REQUIRE(s.until_seen(kshare::kTinyLimits.records_max));
  s.w.run_for(1000);
  s.w.broker.fail_acks("t", 0, 15, 9);
  const int64_t before = s.w.broker.requests(minibroker::kShareAcknowledge);
  CHECK(s.ack(0, Ack::accept).ok());
  s.w.run_for(1000);
  const int64_t sent = s.w.broker.requests(minibroker::kShareAcknowledge) - before;
  CHECK(sent >= 2);
  CHECK(sent <= 6);  // behind 100, 200, 400, 800 ms, spread by a fifth
  CHECK(s.w.run_until([&] { return s.stats().acks_ok == 1; }, 10000));
  check_clean(s.w);
}

TEST_CASE("acks over which a broker broke down are unknown: it may have applied them") {
  for (int16_t api : {minibroker::kShareFetch, minibroker::kShareAcknowledge}) {
    Scene s;
    s.hold_all();
    if (api == minibroker::kShareAcknowledge) s.m.options.fetch_max_wait_ms = 5000;
    s.start(1, 3);
    REQUIRE(s.until_seen(3));
    s.w.broker.fail_next(minibroker::kShareFetch, -1);
    s.w.broker.fail_next(minibroker::kShareAcknowledge, -1);
    s.ack_all();
    CHECK(s.until_settled());
    CHECK(s.stats().acks_unknown == 3);
    CHECK(s.stats().acks_failed == 0);
    CHECK(s.m.event_count(EventType::acks_unknown) == 1);
    check_sums(s.consumer());
  }
}

}  // namespace test_acknowledging
