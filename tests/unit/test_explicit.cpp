// SPDX-License-Identifier: Apache-2.0
// Explicit mode, the whole consumer against the mini broker: records held by the application, what
// that holds back and what it does not.
#include <doctest/doctest.h>

#include "../support/scene.hpp"

namespace test_explicit {

using kshare::Ack;
using kshare::Errc;
using minibroker::State;
using world::check_clean;
using world::check_sums;
using world::records;
using world::Scene;

TEST_CASE("poll never refuses because of a record in hand, and its views stay as they were") {
  Scene s;
  s.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  s.start(1, 300, 60);
  std::vector<std::pair<kshare::Record, std::string>> kept;
  s.m.judge = [&](const kshare::Record& record, Ack&) {
    if (record.offset != 3) return true;
    kept.emplace_back(record, std::string(record.value.text()));
    return false;
  };
  CHECK(s.w.run_until([&] { return s.stats().acks_ok == 299; }, 20000));
  REQUIRE(kept.size() == 1);
  const kshare::Record& record = kept[0].first;
  CHECK(record.value.text() == kept[0].second);
  CHECK(record.topic == "t");
  CHECK(s.state(3) == State::Acquired);
  CHECK(s.w.broker.start_offset("group", "t", 0) == 3);
  CHECK(s.consumer().acknowledge(record, Ack::accept).ok());
  CHECK(s.w.run_until([&] { return s.w.broker.start_offset("group", "t", 0) == 300; }, 2000));
  CHECK(s.m.seen.size() == 300);
  check_clean(s.w);
}

TEST_CASE("views stay valid after the lock has gone, until the last word") {
  minibroker::Config config;
  config.lock_ms = 1000;
  Scene s(config);
  s.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  s.start(1, 40, 60);
  std::vector<std::pair<kshare::Record, std::string>> kept;
  s.m.judge = [&](const kshare::Record& record, Ack&) {
    if (record.offset != 7 || record.delivery_count != 1) return true;
    kept.emplace_back(record, std::string(record.value.text()));
    return false;
  };
  CHECK(s.w.run_until([&] { return s.w.broker.start_offset("group", "t", 0) == 40; }, 5000));
  s.append(0, 200, 60);
  CHECK(s.w.run_until([&] { return s.w.broker.start_offset("group", "t", 0) == 240; }, 20000));
  REQUIRE(kept.size() == 1);
  CHECK(kept[0].first.value.text() == kept[0].second);
  CHECK(s.consumer().acknowledge(kept[0].first, Ack::accept).code == Errc::lock_lost);
  CHECK(s.m.times()[{0, 7}] == 2);
  CHECK(s.until_settled());
  check_sums(s.consumer());
  check_clean(s.w);
}

TEST_CASE("records in hand hold their slots: back-pressure, and never more than can be settled") {
  Scene s;
  s.hold_all();
  s.start(3, 100, 4);
  s.w.run_for(3000);
  CHECK(s.m.seen.size() == 48);  // records_max
  CHECK(s.consumer().unsettled() == 48);
  const uint64_t turns = s.w.turns;
  const int64_t requests = s.w.broker.requests_total();
  s.w.run_for(10000);
  CHECK(s.m.seen.size() == 48);
  CHECK(s.w.turns - turns < 100);
  CHECK(s.w.broker.requests_total() - requests < 20);  // heartbeats
  CHECK(s.w.broker.group_coordinator().members("group").size() == 1);
  for (size_t i = 0; i < 5; ++i) CHECK(s.ack(i, Ack::accept).ok());
  CHECK(s.until_seen(53, 2000));
  s.w.run_for(1000);
  CHECK(s.m.seen.size() == 53);
  size_t acked = 5;
  CHECK(s.w.run_until([&] {
    while (acked < s.m.ids.size()) static_cast<void>(s.ack(acked++, Ack::accept));
    return s.stats().acks_ok == 300;
  }));
  CHECK(s.m.times().size() == 300);
  CHECK(s.m.seen.size() == 300);
  check_clean(s.w);
}

TEST_CASE("one record held in a slot does not stop the others") {
  minibroker::Config config;
  config.nodes = 2;
  Scene s(config);  // two leaders, one link for them, two slots
  s.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  s.start(2, 100, 60);
  s.m.judge = [&](const kshare::Record& record, Ack&) {
    return record.partition != 0 || record.offset != 0;
  };
  CHECK(s.w.run_until([&] { return s.stats().acks_ok == 199; }, 70000));
  CHECK(s.w.broker.start_offset("group", "t", 0) == 0);
  check_clean(s.w);
}

TEST_CASE("acks in any order, over many turns") {
  for (const uint64_t seed : {1u, 2u, 3u}) {
    Scene s;
    s.hold_all();
    s.start(2, 150, 10);
    uint64_t random = seed;
    std::vector<kshare::RecordId> open;
    size_t taken = 0;
    const auto through = [&] {
      for (; taken < s.m.ids.size(); ++taken) open.push_back(s.m.ids[taken]);
      for (int i = 0; i < 7 && !open.empty(); ++i) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        const auto at = static_cast<uint32_t>(random >> 40) % open.size();
        CHECK(s.consumer().acknowledge(open[at], Ack::accept).ok());
        open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
      }
      return s.stats().acks_ok == 300;
    };
    CHECK(s.w.run_until(through, 60000));
    CHECK(s.m.seen.size() == 300);
    for (int p = 0; p < 2; ++p) {
      for (int64_t offset = 0; offset < 150; ++offset) CHECK(s.times(p, offset) == 1);
    }
    check_sums(s.consumer());
    check_clean(s.w);
  }
}

TEST_CASE("implicit and explicit members in the same group") {
  Scene s;
  s.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  s.m.judge = [](const kshare::Record& record, Ack& ack) {
    ack = record.offset % 5 == 0 && record.delivery_count == 1 ? Ack::release : Ack::accept;
    return true;
  };
  world::Member<> other(2);
  other.options.group_id = s.m.options.group_id;
  s.w.join(other);
  s.start(3, 100);
  REQUIRE(other.start({"t"}).ok());
  const auto through = [&] {
    for (int p = 0; p < 3; ++p) {
      if (s.w.broker.start_offset("group", "t", p) != 100) return false;
    }
    return true;
  };
  CHECK(s.w.run_until(through, 30000));
  CHECK(s.until_settled());
  CHECK(s.w.run_until([&] { return other.consumer().unsettled() == 0; }));
  const kshare::Stats& theirs = other.consumer().stats();
  CHECK(s.stats().acks_ok + theirs.acks_ok - s.stats().released == 300);
  CHECK(s.stats().acks_failed + theirs.acks_failed == 0);
  check_clean(s.w);
}

TEST_CASE("an application that never says a word: everything comes back, until it speaks") {
  minibroker::Config config;
  config.lock_ms = 1000;
  config.delivery_limit = 10;
  Scene s(config);
  s.hold_all();
  s.start(1, 20, 4);
  s.w.run_for(6000);
  const size_t seen = s.m.seen.size();
  CHECK(seen == 40);  // both store slots are with the application, the lock gone or not
  const uint64_t turns = s.w.turns;
  s.w.run_for(20000);
  CHECK(s.w.turns - turns < 300);
  CHECK(s.m.seen.size() == seen);
  for (size_t i = 0; i < seen; ++i) CHECK(s.ack(i, Ack::accept).code == Errc::lock_lost);
  CHECK(s.consumer().unsettled() <= 20);
  s.m.judge = nullptr;
  CHECK(s.w.run_until([&] { return s.w.broker.start_offset("group", "t", 0) == 20; }, 5000));
  CHECK(s.until_settled());
  check_sums(s.consumer());
  check_clean(s.w);
}

TEST_CASE("acks that the broker has evicted: what was not handed out is not handed out twice") {
  for (const int16_t error : {int16_t{3}, int16_t{6}, int16_t{69}}) {
    CAPTURE(error);
    Scene s;
    s.m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
    s.m.judge = [](const kshare::Record&, Ack&) { return true; };
    s.m.takes_max = 2;
    s.start(1, 30);
    REQUIRE(s.until_seen(2));
    s.w.broker.fail_acks("t", 0, error, 1);
    s.m.takes = false;
    CHECK(s.w.run_until([&] { return s.stats().acks_failed == 2; }, 3000));
    s.m.takes = true;
    s.m.takes_max = UINT32_MAX;
    CHECK(s.w.run_until([&] { return s.w.broker.start_offset("group", "t", 0) == 30; }, 5000));
    CHECK(s.until_settled());
    CHECK(s.m.seen.size() == 32);
    CHECK(s.stats().acks_failed == 2);
    CHECK(s.stats().acks_ok == 30);
    check_clean(s.w);
  }
}

}  // namespace test_explicit
