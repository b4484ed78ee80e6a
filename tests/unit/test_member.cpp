// SPDX-License-Identifier: Apache-2.0
// Our membership alone: when a heartbeat is due, what it says, what each answer does.
#include <doctest/doctest.h>

#include "../support/scenario.hpp"
#include "kshare/core/member.hpp"

namespace test_member {

using kshare::EventType;
using kshare::Instant;
using kshare::Member;
using kshare::MemberState;
using scenario::Desk;

namespace {

constexpr int16_t kRetried[] = {14, 7, 13};
constexpr int16_t kMoved[] = {15, 16};
constexpr int16_t kRejoined[] = {25, 110, 69};
constexpr int16_t kFatal[] = {30, 35, 42, 81, 112, 119, 999, -1, 32000};

// A member whose coordinator is broker 1, its topology, and the answers it gets.
struct Office {
  Desk desk;
  Member member;
  int64_t now = 1000;
  std::vector<kshare::Event> events;

  Office() {
    REQUIRE(desk.tables.topology.subscribe("orders"));
    member.subscription_changed(Instant{now});
    find();
  }
  kshare::Shared& shared() { return desk.tables.shared; }
  kshare::Topology& topology() { return desk.tables.topology; }

  // Feeds `body` to a decoder in one window.
  template <typename Read>
  void feed(const std::string& body, const Read& read) {
    std::vector<uint8_t> window(1024);
    kshare::Reader in;
    in.attach(window.data(), 1024);
    const kshare::MutableBytes space = in.space();
    REQUIRE(body.size() <= space.size);
    std::memcpy(space.data, body.data(), body.size());
    in.filled(static_cast<uint32_t>(body.size()));
    in.begin_frame(static_cast<uint32_t>(body.size()));
    CHECK(read(in));
  }
  bool search_answer(int16_t error, int32_t node) {
    minibroker::Writer w;
    w.i32(0).array(1).compact("group").i32(node).compact("host").i32(9092).i16(error);
    w.compact("words").tags().tags();
    bool found = false;
    feed(w.out, [&](kshare::Reader& in) {
      kshare::FindCoordinatorDecoder answer;
      answer.begin(shared().sink());
      for (;;) {
        const auto item = answer.next(in);
        if (item == kshare::FindCoordinatorDecoder::Item::none) return false;
        if (item == kshare::FindCoordinatorDecoder::Item::end) break;
      }
      found = member.on_search(answer, node, Instant{now}, shared());
      return true;
    });
    return found;
  }
  void find() { CHECK(search_answer(0, 1)); }

  minibroker::HeartbeatRequest send() {
    uint8_t window[512];
    kshare::Writer out{window, sizeof window};
    member.encode_heartbeat(out, topology(), shared());
    REQUIRE(out.ok());
    minibroker::Reader in(window, out.size());
    minibroker::HeartbeatRequest q = minibroker::decode_heartbeat(in);
    CHECK(in.done());
    return q;
  }
  // The answer to what was sent at `sent_at`; `partitions` below 0: no assignment in it.
  void answer(int16_t error, int32_t epoch, int partitions, int64_t sent_at,
              int32_t interval_ms = 5000) {
    minibroker::Writer w;
    w.i32(0).i16(error).compact("words").compact("member").i32(epoch).i32(interval_ms);
    if (partitions < 0) {
      w.i8(-1);
    } else {
      w.i8(1).array(partitions == 0 ? 0 : 1);
      if (partitions > 0) {
        w.uuid(scenario::uuid_of(9)).array(static_cast<size_t>(partitions));
        for (int i = 0; i < partitions; ++i) w.i32(i);
        w.tags();
      }
      w.tags();
    }
    w.tags();
    feed(w.out, [&](kshare::Reader& in) {
      kshare::ShareGroupHeartbeatDecoder decoder;
      decoder.begin(shared().sink());
      if (!member.read_heartbeat(decoder, in, topology())) return false;
      member.on_heartbeat(decoder, Instant{sent_at}, Instant{now}, topology(), shared());
      return true;
    });
    kshare::Event event;
    while (shared().events.pop(event)) events.push_back(event);
  }
  int count(EventType type) const {
    int all = 0;
    for (const auto& event : events) all += event.type == type ? 1 : 0;
    return all;
  }
  void join(int partitions) {
    CHECK(send().epoch == 0);
    answer(0, 3, partitions, now);
    CHECK(member.state() == MemberState::stable);
  }
  int64_t due() const { return member.deadline().ms; }
};

}  // namespace

TEST_CASE("join with epoch 0 and all names, heartbeats with the broker's epoch, leave with -1") {
  Office o;
  o.shared().options.client_rack = "r1";
  CHECK(o.member.heartbeat_due(Instant{o.now}));
  const auto first = o.send();
  CHECK(first.epoch == 0);
  CHECK(first.group == "group");
  CHECK(first.member == std::string(o.shared().member()));
  CHECK(first.rack.value_or("") == "r1");
  REQUIRE(first.names.has_value());
  CHECK(*first.names == std::vector<std::string>{"orders"});
  CHECK_FALSE(o.member.heartbeat_due(Instant{o.now + 100000}));  // one at a time
  o.answer(0, 3, 2, o.now);
  CHECK(o.count(EventType::joined) == 1);
  CHECK(o.count(EventType::assignment_changed) == 1);
  CHECK(o.due() == o.now + 5000);
  o.now += 5000;
  const auto second = o.send();
  CHECK(second.epoch == 3);
  CHECK_FALSE(second.names.has_value());
  CHECK_FALSE(second.rack.has_value());
  o.answer(0, 4, -1, o.now);
  CHECK(o.member.epoch() == 4);
  CHECK(o.topology().assigned_count() == 2);  // null: unchanged
  CHECK(o.member.leave(Instant{o.now}));
  CHECK(o.send().epoch == -1);
  o.answer(0, -1, -1, o.now);
  CHECK_FALSE(o.member.active());
  CHECK(o.topology().assigned_count() == 0);
}

TEST_CASE("the interval counts from when the heartbeat was sent") {
  Office o;
  o.join(1);
  o.now += 5000;
  const int64_t sent = o.now;
  static_cast<void>(o.send());
  o.now += 700;
  o.answer(0, 3, -1, sent);
  CHECK(o.due() == sent + 5000);
}

TEST_CASE("the interval is the broker's, whichever it is, but half a minute at most") {
  const std::pair<int32_t, int64_t> cases[] = {
      {1000, 1000}, {15000, 15000}, {30000, 30000}, {INT32_MAX, 30000}, {0, 5000}, {-1, 5000}};
  for (const auto& its : cases) {
    Office o;
    o.join(1);
    o.now += 5000;
    static_cast<void>(o.send());
    o.answer(0, 3, -1, o.now, its.first);
    CHECK(o.due() == o.now + its.second);
  }
}

TEST_CASE("heartbeat schedule while the assignment is empty after a join") {
  Office o;
  static_cast<void>(o.send());
  o.now += 3;
  o.answer(0, 1, 0, o.now - 3);
  const int64_t joined = o.now;
  std::vector<int64_t> expected = {100, 250, 500};
  for (int64_t at = 1020; at <= 4520; at += 500) expected.push_back(at);
  for (const int64_t at : expected) {
    CHECK(o.due() == joined + at);
    o.now = o.due();
    static_cast<void>(o.send());
    o.answer(0, 1, -1, o.now);
  }
  CHECK(o.due() == o.now + 5000);  // then the broker's interval
  o.member.topic_appeared(Instant{o.now});  // metadata shows a topic: again from the start
  CHECK(o.due() == o.now);
  static_cast<void>(o.send());
  o.answer(0, 2, -1, o.now);
  CHECK(o.due() == o.now + 100);
  o.now += 100;
  static_cast<void>(o.send());
  o.answer(0, 3, 4, o.now);
  CHECK(o.due() == o.now + 5000);  // assigned
}

TEST_CASE("14, time-outs and lost answers: again with back-off, the names go with it") {
  for (const int16_t code : kRetried) {
    Office o;
    int64_t before = 0;
    for (int i = 0; i < 8; ++i) {
      CHECK(o.send().names.has_value());
      o.answer(code, 0, -1, o.now);
      const int64_t wait = o.due() - o.now;
      CHECK(wait >= 80);
      CHECK(wait <= 1200);
      if (i >= 5) CHECK(wait >= 800);
      before = wait;
      o.now = o.due();
    }
    CHECK(before >= 800);
    CHECK(o.count(EventType::group_error) + o.count(EventType::failed) == 0);
    o.join(1);
    CHECK(o.shared().status.ok());
  }
  Office o;
  static_cast<void>(o.send());
  o.member.heartbeat_lost(Instant{o.now}, o.shared());
  CHECK(o.due() >= o.now + 80);
  CHECK(o.send().names.has_value());
}

TEST_CASE("15 and 16: the coordinator is searched again, with back-off") {
  for (const int16_t code : kMoved) {
    Office o;
    o.join(1);
    for (int i = 0; i < 8; ++i) {
      static_cast<void>(o.send());
      o.answer(code, 0, -1, o.now);
      CHECK(o.member.coordinator() == Member::kUnknown);
      CHECK(o.member.state() == MemberState::stable);
      CHECK_FALSE(o.member.search_due(Instant{o.now}));
      const int64_t wait = o.due() - o.now;
      CHECK(wait >= 80);
      CHECK(wait <= 1200);
      if (i >= 5) CHECK(wait >= 800);
      o.now = o.due();
      CHECK(o.member.search_due(Instant{o.now}));
      o.find();
    }
    CHECK(o.topology().assigned_count() == 1);
  }
}

TEST_CASE("25, 110 and 69: rejoin with epoch 0 and the same member id") {
  for (const int16_t code : kRejoined) {
    Office o;
    o.join(2);
    const auto before = o.send();
    o.answer(code, 0, -1, o.now);
    CHECK(o.member.state() == MemberState::joining);
    CHECK(o.topology().assigned_count() == 0);
    CHECK(o.count(EventType::rejoining) == 1);
    CHECK(o.due() > o.now);
    o.now = o.due();
    const auto again = o.send();
    CHECK(again.epoch == 0);
    CHECK(again.member == before.member);
    CHECK(again.names.has_value());
    o.answer(0, 9, 2, o.now);
    CHECK(o.member.epoch() == 9);
    CHECK(o.topology().assigned_count() == 2);
  }
}

TEST_CASE("30, 35, 42, 81, 112 and unknown: fatal, said once") {
  for (const int16_t code : kFatal) {
    Office o;
    static_cast<void>(o.send());
    o.answer(code, 0, -1, o.now);
    CHECK(o.shared().failed());
    CHECK(o.count(EventType::failed) == 1);
    CHECK(o.shared().status.detail == code);
    CHECK((o.shared().status.code == kshare::Errc::share_groups_off) == (code == 35));
    CHECK(o.shared().words_size != 0);
  }
}

TEST_CASE("29: said once, heartbeats go on at a slow pace, and it recovers when granted") {
  Office o;
  for (int i = 0; i < 5; ++i) {
    CHECK(o.send().names.has_value());
    o.answer(29, 0, -1, o.now);
    CHECK_FALSE(o.shared().failed());
    CHECK(o.due() - o.now >= 800);
    o.now = o.due();
  }
  CHECK(o.count(EventType::group_error) == 1);
  o.join(1);
  o.now = o.due();
  static_cast<void>(o.send());
  o.answer(29, 0, -1, o.now);
  CHECK(o.count(EventType::group_error) == 2);  // once per change
}

TEST_CASE("the search for the coordinator: errors back off, 30 is told once") {
  Office o;
  o.member.forget_coordinator(Instant{o.now}, o.shared());
  for (int i = 0; i < 8; ++i) {
    CHECK(o.member.search_due(Instant{o.now}));
    CHECK_FALSE(o.search_answer(15, -1));
    CHECK_FALSE(o.member.search_due(Instant{o.now}));
    CHECK(o.due() - o.now <= 1200);
    if (i >= 5) CHECK(o.due() - o.now >= 800);
    o.now = o.due();
  }
  for (int i = 0; i < 3; ++i) {
    CHECK_FALSE(o.search_answer(30, -1));
    CHECK(o.due() - o.now >= 800);
    o.now = o.due();
  }
  kshare::Event event;
  int told = 0;
  while (o.shared().events.pop(event)) told += event.type == EventType::group_error ? 1 : 0;
  CHECK(told == 1);
  CHECK_FALSE(o.shared().failed());
  CHECK_FALSE(o.search_answer(0, -1));  // an answer without a usable address
  CHECK(o.due() > o.now);
}

TEST_CASE("a coordinator that is named but lost each time is searched with back-off") {
  Office o;
  CHECK(o.member.coordinator() == 1);
  o.member.coordinator_lost(Instant{o.now}, o.shared());
  CHECK(o.due() == o.now);  // at once the first time
  for (int i = 0; i < 8; ++i) {
    o.find();
    o.member.coordinator_lost(Instant{o.now}, o.shared());
    if (i >= 5) CHECK(o.due() - o.now >= 800);
    CHECK(o.due() > o.now);
    o.now = o.due();
  }
  o.find();
  o.join(1);  // a heartbeat succeeded: at once again
  o.member.coordinator_lost(Instant{o.now}, o.shared());
  CHECK(o.due() == o.now);
}

TEST_CASE("a subscription change sends the new names at once, also behind one that is in flight") {
  Office o;
  o.join(1);
  o.topology().begin_subscription();
  REQUIRE(o.topology().subscribe("other"));
  o.member.subscription_changed(Instant{o.now});
  CHECK(o.due() == o.now);
  CHECK(*o.send().names == std::vector<std::string>{"other"});
  o.topology().begin_subscription();  // again, while that one is in flight
  REQUIRE(o.topology().subscribe("third"));
  o.member.subscription_changed(Instant{o.now});
  o.answer(0, 4, 1, o.now);
  CHECK(o.due() == o.now);
  CHECK(*o.send().names == std::vector<std::string>{"third"});
  o.answer(0, 5, 1, o.now);
  CHECK(o.due() == o.now + 5000);
}

TEST_CASE("leaving while a heartbeat is in flight: the leave goes behind it") {
  Office o;
  o.join(1);
  static_cast<void>(o.send());
  CHECK(o.member.leave(Instant{o.now}));
  CHECK(o.member.leave(Instant{o.now}));  // twice is harmless
  o.answer(0, 4, 2, o.now);               // of the heartbeat, not of the leave
  CHECK(o.member.state() == MemberState::leaving);
  CHECK(o.due() == o.now);
  CHECK(o.send().epoch == -1);
  o.answer(0, -1, -1, o.now);
  CHECK_FALSE(o.member.active());
}

TEST_CASE("leaving while the join is in flight: the coordinator may know us, so we leave") {
  Office o;
  static_cast<void>(o.send());
  CHECK(o.member.leave(Instant{o.now}));
  o.member.heartbeat_lost(Instant{o.now}, o.shared());
  CHECK(o.member.state() == MemberState::leaving);
  o.now = o.due();
  CHECK(o.send().epoch == -1);
  o.answer(0, -1, -1, o.now);
  CHECK_FALSE(o.member.active());
}

TEST_CASE("leaving, 7, 13 and 14: again with back-off, until the coordinator has heard it") {
  for (const int16_t code : kRetried) {
    CAPTURE(code);
    Office o;
    o.join(1);
    CHECK(o.member.leave(Instant{o.now}));
    for (int i = 0; i < 8; ++i) {
      CHECK(o.send().epoch == -1);
      CHECK_FALSE(o.member.heartbeat_due(Instant{o.now + 100000}));  // one at a time
      o.answer(code, 0, -1, o.now);
      CHECK(o.member.state() == MemberState::leaving);
      CHECK(o.member.coordinator() == 1);
      const int64_t wait = o.due() - o.now;
      CHECK(wait >= (i < 5 ? 80 : 800));
      CHECK(wait <= 1200);
      CHECK(o.member.leave(Instant{o.now}));  // wanted once more: it is not sent earlier
      CHECK(o.due() == o.now + wait);
      o.now = o.due();
    }
    CHECK(o.send().epoch == -1);
    o.answer(0, -1, -1, o.now);
    CHECK_FALSE(o.member.active());
    CHECK(o.events.size() == 3);  // found, joined, assigned
  }
}

TEST_CASE("leaving, 15, 16 or a lost connection: the coordinator is searched and told again") {
  for (const int16_t code : {int16_t{15}, int16_t{16}, int16_t{0}}) {
    CAPTURE(code);
    Office o;
    o.join(1);
    CHECK(o.member.leave(Instant{o.now}));
    for (int i = 0; i < 8; ++i) {
      CHECK(o.send().epoch == -1);
      if (code != 0) {
        o.answer(code, 0, -1, o.now);
      } else {
        o.member.heartbeat_lost(Instant{o.now}, o.shared());
        o.member.coordinator_lost(Instant{o.now}, o.shared());
      }
      CHECK(o.member.state() == MemberState::leaving);
      CHECK(o.member.coordinator() == Member::kUnknown);
      if (code != 0 || i > 0) CHECK(o.due() - o.now >= (i < 6 ? 80 : 800));
      CHECK(o.due() - o.now <= 1200);
      o.now = o.due();
      CHECK(o.member.search_due(Instant{o.now}));
      o.find();
    }
    CHECK(o.send().epoch == -1);
    o.answer(25, 0, -1, o.now);  // it had been heard
    CHECK_FALSE(o.member.active());
  }
}

TEST_CASE("leaving, any other answer: it is out, or never will be, and nothing is said of it") {
  for (const int code : {25, 69, 110, 29, 30, 35, 42, 999, -1}) {
    CAPTURE(code);
    Office o;
    o.join(1);
    CHECK(o.member.leave(Instant{o.now}));
    CHECK(o.send().epoch == -1);
    o.answer(static_cast<int16_t>(code), 0, -1, o.now);
    CHECK_FALSE(o.member.active());
    CHECK_FALSE(o.shared().failed());
    CHECK(o.events.size() == 3);  // found, joined, assigned
    CHECK(o.due() == kshare::kNever.ms);
  }
}

TEST_CASE("leaving in vain ends when the session has ended anyway, and it can join again") {
  Office o;
  o.join(1);
  CHECK(o.member.leave(Instant{o.now}));
  const int64_t since = o.now;
  while (o.member.active() && o.now < since + 100000) {
    CHECK(o.send().epoch == -1);
    o.answer(14, 0, -1, o.now);
    o.now = o.due();
    o.member.expire(Instant{o.now});
  }
  CHECK(o.now - since >= 45000);
  CHECK(o.now - since < 47000);
  o.member.subscription_changed(Instant{o.now});
  o.join(1);
  o.now += 100000;
  o.member.expire(Instant{o.now});  // who is not leaving stays
  CHECK(o.member.state() == MemberState::stable);
}

TEST_CASE("subscribing while a leave is to be sent again: it joins at once") {
  Office o;
  o.join(1);
  CHECK(o.member.leave(Instant{o.now}));
  CHECK(o.send().epoch == -1);
  o.answer(14, 0, -1, o.now);
  CHECK(o.due() > o.now);
  o.member.subscription_changed(Instant{o.now});
  CHECK(o.due() == o.now);
  o.join(1);
  CHECK(o.due() == o.now + 5000);
}

TEST_CASE("leaving before anything was sent: there is nothing to leave") {
  Office o;
  CHECK_FALSE(o.member.leave(Instant{o.now}));
  CHECK_FALSE(o.member.active());
  CHECK(o.member.deadline() == kshare::kNever);
}

TEST_CASE("subscribing again while the leave is in flight: its answer is not the join's") {
  Office o;
  o.join(1);
  CHECK(o.member.leave(Instant{o.now}));
  CHECK(o.send().epoch == -1);
  o.member.subscription_changed(Instant{o.now});
  o.answer(0, -1, -1, o.now);
  CHECK(o.member.state() == MemberState::joining);
  CHECK(o.member.heartbeat_due(Instant{o.now}));
  const auto again = o.send();
  CHECK(again.epoch == 0);
  CHECK(again.names.has_value());
  o.answer(0, 7, 1, o.now);
  CHECK(o.member.epoch() == 7);
}

TEST_CASE("an assignment that finds rows of the one before in its way is asked for again") {
  Office o;
  const auto room = static_cast<int32_t>(o.topology().partitions_max());
  o.desk.assign(1, room, 1);  // another topic fills the table
  CHECK(o.send().epoch == 0);
  o.answer(0, 3, 4, o.now);
  CHECK(o.topology().assigned_count() == 0);
  CHECK(o.count(EventType::assignment_too_large) == 0);
  CHECK(o.due() - o.now <= 120);
  for (int32_t i = 0; i < room; ++i) {  // something still needs the old rows
    const uint32_t row = o.topology().find_partition(scenario::to_uuid(scenario::uuid_of(1)), i);
    CHECK(row == kshare::kNoRow);       // nothing does: they are free by now
  }
  o.now = o.due();
  const auto again = o.send();
  CHECK(again.names.has_value());
  o.answer(0, 3, 4, o.now);
  CHECK(o.topology().assigned_count() == 4);
  CHECK(o.due() == o.now + 5000);
}

TEST_CASE("an assignment larger than the table: an event, no faster heartbeats, the rest works") {
  Office o;
  const int room = static_cast<int>(o.topology().partitions_max());
  CHECK(o.send().epoch == 0);
  o.answer(0, 3, room + 5, o.now);
  CHECK(o.topology().assigned_count() == static_cast<uint32_t>(room));
  REQUIRE(o.count(EventType::assignment_too_large) == 1);
  CHECK(o.due() == o.now + 5000);
}

TEST_CASE("a member on its way out that is put out of the group does not join again") {
  for (int16_t code : kRejoined) {
    Office o;
    o.join(2);
    o.now += 5000;
    static_cast<void>(o.send());
    o.topology().begin_subscription();  // as close() does
    o.answer(code, 0, -1, o.now);
    CHECK(o.count(EventType::rejoining) == 0);
    CHECK(o.topology().assigned_count() == 0);
    if (code == 110) {  // fenced, but still a member
      CHECK(o.member.state() == MemberState::leaving);
      CHECK(o.send().epoch == -1);
      continue;
    }
    CHECK_FALSE(o.member.active());
    CHECK_FALSE(o.member.leave(Instant{o.now}));  // there is no member to leave
    CHECK(o.due() == kshare::kNever.ms);
  }
}

}  // namespace test_member
