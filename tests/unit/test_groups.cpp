// SPDX-License-Identifier: Apache-2.0
// Several groups on one topic, each with configs of its own, and what transactions are to them.
#include <doctest/doctest.h>

#include "../support/scene.hpp"

namespace test_groups {

using minibroker::BatchOptions;
using minibroker::GroupSettings;
using world::check_clean;
using world::Member;
using world::records;
using world::World;

namespace {

// Members of groups g0, g1, ... of topic "t".
struct Groups {
  explicit Groups(size_t count) {
    w.broker.add_topic("t", 2);
    names.reserve(count);  // options keep views of them
    for (size_t i = 0; i < count; ++i) {
      names.push_back("g" + std::to_string(i));
      members.push_back(std::make_unique<Member<>>(i + 1));
      members.back()->options.group_id = names.back();
      w.join(*members.back());
    }
  }
  GroupSettings& settings(size_t i) { return w.broker.group_settings(names[i]); }
  void start() {
    for (const auto& member : members) REQUIRE(member->start({"t"}).ok());
    w.run_for(3000);
  }
  // A transaction of `count` records on partition 0 and the marker that ends it.
  void transaction(int64_t producer, int count, bool commit) {
    begin(producer, count, commit);
    end(producer, commit);
  }
  void begin(int64_t producer, int count, bool commit) {
    BatchOptions batch = of(producer);
    batch.aborted = !commit;
    w.broker.append("t", 0, records(count), batch);
  }
  void end(int64_t producer, bool commit) {
    BatchOptions marker = of(producer);
    marker.control = true;
    w.broker.append("t", 0, {minibroker::control_record(commit)}, marker);
  }
  static BatchOptions of(int64_t producer) {
    BatchOptions batch;
    batch.transactional = true;
    batch.producer_id = producer;
    batch.producer_epoch = 0;
    return batch;
  }
  std::vector<int64_t> offsets(size_t i, int partition = 0) const {
    std::vector<int64_t> all;
    for (const auto& record : members[i]->seen) {
      if (record.partition == partition) all.push_back(record.offset);
    }
    std::sort(all.begin(), all.end());
    return all;
  }
  // So many, and all of them settled.
  bool until_seen(size_t i, size_t count) {
    const auto& m = members[i];
    return w.run_until([&] { return m->seen.size() == count && m->consumer().unsettled() == 0; },
                       20000);
  }
  bool until_through(size_t i, int64_t end) {
    return w.run_until([&] { return w.broker.start_offset(names[i], "t", 0) == end; }, 20000);
  }

  World w;
  std::vector<std::string> names;
  std::vector<std::unique_ptr<Member<>>> members;
};

}  // namespace

TEST_CASE("two, three, five groups on one topic are independent of each other") {
  for (const size_t count : {size_t{2}, size_t{3}, size_t{5}}) {
    Groups g(count);
    g.members[0]->options.acknowledgement_mode = kshare::AckMode::explicit_mode;
    g.members[0]->judge = [](const kshare::Record& record, kshare::Ack& ack) {
      ack = record.offset % 3 == 0 ? kshare::Ack::reject : kshare::Ack::accept;
      return true;
    };
    g.start();
    for (int p = 0; p < 2; ++p) g.w.broker.append("t", p, records(30));
    for (size_t i = 0; i < count; ++i) CHECK(g.until_seen(i, 60));
    g.members[1]->alive = false;  // silent from now on: nobody else notices
    g.w.broker.append("t", 0, records(5));
    for (size_t i = 0; i < count; ++i) {
      CHECK(g.until_seen(i, i == 1 ? 60 : 65));
      CHECK(g.members[i]->seen.size() == (i == 1 ? 60 : 65));
      for (const auto& record : g.members[i]->seen) CHECK(record.count == 1);
      CHECK(g.members[i]->consumer().stats().rejected == (i == 0 ? 22 : 0));
    }
    check_clean(g.w);
  }
}

TEST_CASE("each group has its own offset reset and delivery limit") {
  Groups g(3);
  g.settings(1).start_at_latest = true;
  g.settings(2).delivery_limit = 2;
  g.w.broker.append("t", 0, records(10));
  for (const size_t i : {size_t{0}, size_t{2}}) {
    g.members[i]->options.acknowledgement_mode = kshare::AckMode::explicit_mode;
    g.members[i]->judge = [i](const kshare::Record&, kshare::Ack& ack) {
      ack = kshare::Ack::release;
      return i == 2;
    };
  }
  g.start();
  g.w.broker.append("t", 0, records(1));
  g.w.run_for(4000);
  CHECK(g.offsets(0).size() == 11);
  CHECK(g.offsets(1) == std::vector<int64_t>{10});
  CHECK(g.offsets(2).size() == 22);  // each twice, then it is over
  CHECK(g.w.broker.counts("g2", "t", 0).archived == 11);
  CHECK(g.w.broker.counts("g0", "t", 0).acquired == 11);
  check_clean(g.w);
}

TEST_CASE("transactions: read_uncommitted shows aborted data, read_committed does not") {
  Groups g(2);
  g.settings(1).read_committed = true;
  g.start();
  g.transaction(1, 4, true);   // 0 to 3, its marker at 4
  g.transaction(2, 3, false);  // 5 to 7, its marker at 8
  g.transaction(1, 1, true);   // 9, its marker at 10
  CHECK(g.until_through(0, 11));
  CHECK(g.until_through(1, 11));  // control records never block the partition
  CHECK(g.offsets(0) == std::vector<int64_t>{0, 1, 2, 3, 5, 6, 7, 9});
  CHECK(g.offsets(1) == std::vector<int64_t>{0, 1, 2, 3, 9});
  for (const auto& member : g.members) CHECK(member->consumer().stats().acks_failed == 0);
  check_clean(g.w);
}

TEST_CASE("interleaved transactions of two producers: each has its own end") {
  for (const bool first_commits : {true, false}) {
    Groups g(2);
    g.settings(1).read_committed = true;
    g.start();
    for (int i = 0; i < 3; ++i) {  // 0 and 2 and 4 of the one, 1 and 3 and 5 of the other
      g.begin(1, 1, first_commits);
      g.begin(2, 1, !first_commits);
    }
    g.end(2, !first_commits);  // 6
    g.end(1, first_commits);   // 7
    CHECK(g.until_through(0, 8));
    CHECK(g.until_through(1, 8));
    CHECK(g.offsets(0) == std::vector<int64_t>{0, 1, 2, 3, 4, 5});
    const std::vector<int64_t> committed =
        first_commits ? std::vector<int64_t>{0, 2, 4} : std::vector<int64_t>{1, 3, 5};
    CHECK(g.offsets(1) == committed);
    check_clean(g.w);
  }
}

TEST_CASE("an open transaction holds back read_committed alone, and without spinning") {
  Groups g(2);
  g.settings(1).read_committed = true;
  g.start();
  g.w.broker.append("t", 0, records(2));
  g.begin(1, 3, true);
  g.w.broker.append("t", 0, records(1));
  g.w.broker.set_stable_end("t", 0, 2);
  const uint64_t fetches = g.members[1]->consumer().stats().fetches;
  CHECK(g.until_through(0, 6));
  g.w.run_for(10000);
  CHECK(g.offsets(1) == std::vector<int64_t>{0, 1});
  CHECK(g.members[1]->consumer().stats().fetches - fetches < 60);
  g.w.broker.set_stable_end("t", 0, -1);
  g.end(1, true);
  CHECK(g.until_through(1, 7));
  CHECK(g.offsets(1) == std::vector<int64_t>{0, 1, 2, 3, 4, 5});
  check_clean(g.w);
}

}  // namespace test_groups
