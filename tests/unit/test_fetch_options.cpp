// SPDX-License-Identifier: Apache-2.0
// What fetch.min.bytes, fetch.max.bytes and fetch.max.wait.ms do to the requests of a consumer, and
// what a batch far larger than the memory, or acquired in pieces, does to none of its records.
#include <doctest/doctest.h>

#include "../support/scenario.hpp"
#include "../support/scene.hpp"

namespace test_fetch_options {

using kshare::Ack;
using kshare::AcquireMode;
using scenario::Watch;
using world::check_clean;
using world::Member;
using world::records;
using world::Scene;
using world::World;

namespace {

std::vector<minibroker::Rec> uneven(int count) {
  std::vector<minibroker::Rec> all = records(count, 0);
  for (size_t i = 0; i < all.size(); ++i) all[i].value = std::string(5 + i * i % 90, 'x');
  return all;
}

// A batch of 1,500 records through slots of 2 KiB, every hundredth released once.
void check_large_batch(const minibroker::Config& config, AcquireMode mode, size_t count) {
  constexpr int kRecords = 1500;
  World w(config);
  w.broker.add_topic("t", 1);
  std::vector<std::unique_ptr<Member<>>> members;
  for (size_t i = 0; i < count; ++i) {
    members.push_back(std::make_unique<Member<>>(i + 1));
    Member<>& m = *members.back();
    m.options.acquire_mode = mode;
    m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
    m.judge = [](const kshare::Record& record, Ack& ack) {
      const bool again = record.offset % 100 == 50 && record.delivery_count == 1;
      ack = again ? Ack::release : Ack::accept;
      return true;
    };
    w.join(m);
    REQUIRE(m.start({"t"}).ok());
  }
  w.run_for(3000);
  w.broker.append("t", 0, uneven(kRecords));
  REQUIRE(w.run_until([&] { return w.broker.start_offset("group", "t", 0) == kRecords; }, 120000));
  CHECK(w.broker.counts("group", "t", 0).acknowledged == kRecords);  // nothing archived unseen
  std::map<int64_t, std::set<int16_t>> counts;
  size_t seen = 0;
  for (const auto& m : members) {
    seen += m->seen.size();
    for (const auto& record : m->seen) counts[record.offset].insert(record.count);
  }
  size_t wrong = 0;
  for (const auto& offset : counts) {
    const bool released = offset.first % 100 == 50;
    const std::set<int16_t> right = released ? std::set<int16_t>{1, 2} : std::set<int16_t>{1};
    wrong += offset.second == right ? 0u : 1u;
  }
  CHECK(counts.size() == kRecords);
  CHECK(seen == kRecords + kRecords / 100);
  CHECK(wrong == 0);
  check_clean(w);
}

}  // namespace

TEST_CASE("fetch.max.wait.ms is what an idle long poll asks for, and as seldom it is repeated") {
  for (const int32_t wait : {300, 2000}) {
    Scene s;
    s.m.options.fetch_max_wait_ms = wait;
    Watch watch(s.w, s.m);
    s.start(1, 0);
    s.w.run_for(3000);
    const int64_t before = watch.count(minibroker::kShareFetch);
    watch.with_wait = 0;
    s.w.run_for(20000);
    const int64_t polls = watch.count(minibroker::kShareFetch) - before;
    CHECK(watch.with_wait == wait);
    CHECK(polls >= 20000 / wait - 2);
    CHECK(polls <= 20000 / wait + 2);
  }
}

TEST_CASE("fetch.min.bytes: a record waits for company, no longer than fetch.max.wait.ms") {
  Scene s;
  s.m.options.fetch_min_bytes = 2000;
  s.m.options.fetch_max_wait_ms = 4000;
  s.start(1, 0);
  s.w.run_for(6000);
  const int64_t from = s.w.now;
  s.append(0, 1);
  REQUIRE(s.until_seen(1));
  CHECK(s.w.now - from <= 4000);
  REQUIRE(s.until_settled());
  s.w.run_for(500);  // in mid-poll
  const int64_t again = s.w.now;
  s.append(0, 1);
  s.w.run_for(50);
  CHECK(s.m.seen.size() == 1);
  s.append(0, 40, 60);
  REQUIRE(s.until_seen(42));
  CHECK(s.w.now - again < 2000);  // enough is enough
  check_clean(s.w);
}

TEST_CASE("fetch.max.bytes smaller than a batch: one batch a fetch, and all of them come") {
  Scene s;
  s.m.options.fetch_max_bytes = 100;
  Watch watch(s.w, s.m);
  s.start(1, 0);
  for (int i = 0; i < 20; ++i) s.append(0, 5, 40);
  REQUIRE(s.until_seen(100));
  REQUIRE(s.until_settled());
  int64_t asking = 0;
  for (const auto& share : watch.shares) {
    if (share.key != minibroker::kShareFetch || share.request.max_records == 0) continue;
    CHECK(share.request.max_bytes == 100);
    ++asking;
  }
  CHECK(asking >= 20);
  for (const auto& offset : s.m.times()) CHECK(offset.second == 1);
  CHECK(s.stats().reread == 0);
  check_clean(s.w);
}

TEST_CASE("two batches larger than the memory, on partitions of one leader: every record once") {
  Scene s;
  s.start(2, 300, 40);
  REQUIRE(s.until_seen(600, 60000));
  REQUIRE(s.until_settled());
  for (const auto& offset : s.m.times()) CHECK(offset.second == 1);
  CHECK(s.stats().reread > 0);
  check_clean(s.w);
}

// A broker lets one batch exceed MaxBytes among the partitions that it reads anew at an offset, and
// one among the others: with two batches in each of two partitions the second answer brings the
// second batch of one and the first of the other.
TEST_CASE("two over-large batches in one answer: every record once, with count 1") {
  using kshare::AcquireMode;
  constexpr size_t kSlot = kshare::kTinyLimits.slot_bytes();
  constexpr int kRecords = 12;  // a batch, so that one request has room for two
  const auto batch = records(kRecords, 300);
  REQUIRE(minibroker::build_batch(0, batch, {}, nullptr).size() > kSlot + kSlot / 2);
  for (const AcquireMode mode : {AcquireMode::batch_optimized, AcquireMode::record_limit}) {
    Scene s;
    s.m.options.acquire_mode = mode;
    std::set<int> brought;  // the partitions whose records the next answer carries
    int answers_with_two = 0;
    s.w.broker.on_acquire = [&](const minibroker::AcquireEvent& event) {
      brought.insert(event.partition);
    };
    s.on_answer = [&](int api, std::string& frame) {
      if (api == minibroker::kShareFetch && brought.size() == 2 && frame.size() > 3 * kSlot) {
        ++answers_with_two;
      }
      brought.clear();
      return true;
    };
    s.w.broker.add_topic("t", 2);
    for (int i = 0; i < 4; ++i) s.w.broker.append("t", i % 2, batch);
    REQUIRE(s.m.start({"t"}).ok());
    REQUIRE(s.until_seen(4 * kRecords));
    REQUIRE(s.until_settled());
    REQUIRE(answers_with_two > 0);
    CHECK(s.m.times().size() == 4 * kRecords);
    CHECK(s.m.seen.size() == 4 * kRecords);
    for (const auto& record : s.m.seen) CHECK(record.count == 1);
    CHECK(s.stats().reread > 0);
    CHECK(s.stats().acks_ok == 4 * kRecords);
    check_clean(s.w);
  }
}

TEST_CASE("acquired ranges [10..19] and [5000..5009] of one batch: each of the 20 once") {
  World w(world::locks_of(300000));
  w.broker.add_topic("t", 1);
  const auto left = [](int64_t offset) {
    return (offset >= 10 && offset <= 19) || (offset >= 5000 && offset <= 5009);
  };
  Member<> first{1};
  first.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  first.judge = [&](const kshare::Record& record, Ack&) {
    if (left(record.offset)) CHECK(first.consumer().detach(record.id).ok());
    return !left(record.offset);
  };
  w.join(first);
  REQUIRE(first.start({"t"}).ok());
  w.run_for(2000);
  w.broker.append("t", 0, records(5100, 4));
  REQUIRE(w.run_until([&] { return first.seen.size() == 5100; }, 60000));
  REQUIRE(w.run_until([&] { return first.consumer().unsettled() == 20; }, 5000));
  REQUIRE(w.close(first));  // what it holds is free again
  Member<> second{2};
  w.join(second);
  REQUIRE(second.start({"t"}).ok());
  REQUIRE(w.run_until([&] { return w.broker.start_offset("group", "t", 0) == 5100; }, 60000));
  CHECK(second.seen.size() == 20);
  for (const auto& record : second.seen) {
    CHECK(left(record.offset));
    CHECK(record.count == 2);
  }
  for (const auto& offset : second.times()) CHECK(offset.second == 1);
  check_clean(w);
}

TEST_CASE(
    "a large batch of uneven records, some released, delivery limits 2 and 5, 4.1 and later") {
  for (const int limit : {2, 5}) {
    for (const size_t count : {size_t{1}, size_t{3}}) {
      CAPTURE(limit);
      CAPTURE(count);
      minibroker::Config old = minibroker::kafka_4_1();
      old.delivery_limit = limit;
      check_large_batch(old, AcquireMode::batch_optimized, count);
      minibroker::Config config;
      config.delivery_limit = limit;
      check_large_batch(config, AcquireMode::batch_optimized, count);
      check_large_batch(config, AcquireMode::record_limit, count);
    }
  }
}

}  // namespace test_fetch_options
