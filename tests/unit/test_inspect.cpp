// SPDX-License-Identifier: Apache-2.0
// A look into a running consumer, the whole of it against the mini broker: what member(), link(),
// subscription() and assignment() say from before start() until after close().
#include <doctest/doctest.h>

#include <type_traits>

#include "../support/scene.hpp"

namespace test_inspect {

using kshare::Api;
using kshare::AssignedPartition;
using kshare::Errc;
using kshare::LinkInfo;
using kshare::LinkRole;
using kshare::LinkState;
using kshare::MemberInfo;
using kshare::MemberState;
using kshare::SubscribedTopic;
using world::Scene;

static_assert(std::is_trivially_destructible_v<LinkInfo> && std::is_trivially_copyable_v<LinkInfo>);
static_assert(std::is_trivially_destructible_v<AssignedPartition>);
static_assert(std::is_trivially_destructible_v<SubscribedTopic>);
static_assert(std::is_trivially_destructible_v<MemberInfo>);

namespace {

LinkInfo link(const kshare::ShareConsumer& consumer, uint32_t i) {
  LinkInfo its;
  REQUIRE(consumer.link(i, its));
  return its;
}
AssignedPartition assignment(const kshare::ShareConsumer& consumer, uint32_t i) {
  AssignedPartition its;
  REQUIRE(consumer.assignment(i, its));
  return its;
}
SubscribedTopic subscription(const kshare::ShareConsumer& consumer, uint32_t i) {
  SubscribedTopic its;
  REQUIRE(consumer.subscription(i, its));
  return its;
}

minibroker::Config nodes(int count) {
  minibroker::Config config;
  config.nodes = count;
  return config;
}

void check_nothing_is_left(const kshare::ShareConsumer& consumer) {
  AssignedPartition partition;
  SubscribedTopic topic;
  CHECK_FALSE(consumer.assignment(0, partition));
  CHECK_FALSE(consumer.subscription(0, topic));
  CHECK(consumer.member().state == MemberState::idle);
  CHECK(consumer.member().epoch == 0);
  CHECK(consumer.member().due == kshare::kNever);
  LinkInfo its;
  uint32_t count = 0;
  while (consumer.link(count, its)) {
    CHECK(its.role == (count == 0 ? LinkRole::control : LinkRole::leader));
    CHECK(its.state == LinkState::idle);
    CHECK(its.node == -1);
    CHECK(its.host.empty());
    CHECK(its.lots == 0);
    CHECK(its.session_epoch == 0);
    ++count;
  }
  CHECK(count == consumer.interest_count());
}

}  // namespace

TEST_CASE("before start there is nothing to see, and asking does no harm") {
  Scene s;
  check_nothing_is_left(s.consumer());
  CHECK(s.consumer().member().id.empty());
}

TEST_CASE("started, not yet connected: the bootstrap address, the topics, no epoch") {
  Scene s;
  s.w.broker.add_topic("t", 1);
  REQUIRE(s.m.start({"t", "other"}).ok());
  CHECK(subscription(s.consumer(), 0).name == "t");
  CHECK(subscription(s.consumer(), 1).name == "other");
  CHECK(subscription(s.consumer(), 0).id.is_zero());
  SubscribedTopic none;
  CHECK_FALSE(s.consumer().subscription(2, none));
  CHECK(s.consumer().member().state == MemberState::joining);
  CHECK(s.consumer().member().id.size() == kshare::kMemberIdBytes);
  s.m.pool.transports[0].stall = true;
  REQUIRE(s.w.run_until([&] { return link(s.consumer(), 0).state == LinkState::opening; }));
  const LinkInfo control = link(s.consumer(), 0);
  CHECK(control.node == -1);
  CHECK(control.host == "127.0.0.1");
  CHECK(control.port == 9092);
  CHECK_FALSE(control.busy);
  CHECK(s.consumer().member().coordinator == -1);
}

TEST_CASE("a broker that refuses: failures are counted and the next attempt has its time") {
  Scene s;
  for (auto& transport : s.m.pool.transports) transport.refuse = true;
  s.start(1, 0);
  s.w.run_for(3000);
  REQUIRE(s.w.run_until([&] { return link(s.consumer(), 0).state == LinkState::waiting; }));
  const LinkInfo control = link(s.consumer(), 0);
  CHECK(control.failures >= 3);
  CHECK(control.retry_at >= s.now());
  CHECK(control.retry_at - s.now() <= 1200);
  CHECK_FALSE(control.can_renew);
}

TEST_CASE("joined: the member, its links, and each partition with its leader and session") {
  Scene s(nodes(2));
  s.w.broker.add_topic("t", 3);
  s.w.broker.add_topic("u", 1);
  s.w.broker.move_leader("t", 0, 0);
  s.w.broker.move_leader("t", 1, 1);
  s.w.broker.move_leader("t", 2, 1);
  s.w.broker.move_leader("u", 0, 1);
  world::Member<kshare::kSmallLimits> member(2);
  member.options.group_id = "other group";
  s.w.join(member);
  REQUIRE(member.start({"t", "u"}).ok());
  const kshare::ShareConsumer& consumer = member.consumer();
  s.w.run_for(5000);
  REQUIRE(consumer.assignment_count() == 4);

  const MemberInfo me = consumer.member();
  CHECK(me.state == MemberState::stable);
  CHECK(me.epoch == consumer.member_epoch());
  CHECK(me.epoch > 0);
  CHECK(me.coordinator == s.w.broker.coordinator());
  CHECK(link(consumer, 0).busy == (me.due == kshare::kNever));  // a heartbeat is out, or will be
  if (me.due != kshare::kNever) CHECK(me.due - s.now() <= 5000);
  CHECK(subscription(consumer, 0).id.is_zero() == false);
  CHECK(subscription(consumer, 0).status.ok());

  uint32_t in_sessions[8] = {};
  for (uint32_t i = 0; i < 4; ++i) {
    CAPTURE(i);
    const AssignedPartition its = assignment(consumer, i);
    const bool is_t = its.topic == "t";
    CHECK((is_t || its.topic == "u"));
    CHECK(its.leader == s.w.broker.leader_of(is_t ? "t" : "u", its.partition));
    CHECK(its.leader_epoch >= 0);
    CHECK(its.in_session);
    CHECK(its.status.ok());
    REQUIRE(its.link > 0);
    const auto at = static_cast<uint32_t>(its.link);
    CHECK(link(consumer, at).node == its.leader);
    ++in_sessions[at];
  }
  AssignedPartition none;
  CHECK_FALSE(consumer.assignment(4, none));

  CHECK(link(consumer, 0).role == LinkRole::control);
  CHECK(link(consumer, 0).state == LinkState::ready);
  CHECK(link(consumer, 0).node == me.coordinator);
  CHECK(link(consumer, 0).session_epoch == 0);
  uint32_t leaders = 0;
  for (uint32_t i = 1; i < consumer.interest_count(); ++i) {
    CAPTURE(i);
    const LinkInfo its = link(consumer, i);
    if (its.state == LinkState::idle) continue;
    ++leaders;
    CHECK(its.state == LinkState::ready);
    CHECK(its.port == s.w.broker.endpoint(its.node).port);
    CHECK(its.can_renew);
    CHECK(its.session_epoch > 0);
    CHECK(its.partitions == in_sessions[i]);
    CHECK(its.busy);  // a long poll
    CHECK(its.request == Api::share_fetch);
    CHECK(its.sent_at <= s.now());
    CHECK(s.now() - its.sent_at <= 600);
    CHECK(its.failures == 0);
    CHECK(its.retry_at == kshare::kNever);
  }
  CHECK(leaders == 2);
}

TEST_CASE("what is held is counted at its link, and what waits beside it") {
  Scene s;
  s.hold_all();
  s.m.takes_max = 1;
  s.start(1, 10);
  REQUIRE(s.until_seen(3));
  s.m.takes = false;
  const LinkInfo its = link(s.consumer(), 1);
  CHECK(its.lots == 1);
  CHECK(its.waiting == 10 - s.m.seen.size());
  CHECK(its.unsettled == s.m.seen.size());
  CHECK(its.unsettled == s.consumer().unsettled());
  s.m.takes = true;
  REQUIRE(s.until_seen(10));
  CHECK(link(s.consumer(), 1).waiting == 0);
  s.ack_all();
  REQUIRE(s.until_settled());
  CHECK(link(s.consumer(), 1).lots == 0);
  CHECK(link(s.consumer(), 1).unsettled == 0);
}

TEST_CASE("each leader's link counts what was acquired over it, and nothing else") {
  world::SceneOf<kshare::kSmallLimits> s(nodes(2));
  s.hold_all();
  s.w.broker.add_topic("t", 2);
  for (int p = 0; p < 2; ++p) {
    s.w.broker.move_leader("t", p, p);
    s.w.broker.append("t", p, world::records(p == 0 ? 2 : 5));
  }
  REQUIRE(s.m.start({"t"}).ok());
  REQUIRE(s.until_seen(7));
  uint32_t held[2] = {};
  for (uint32_t i = 1; i <= 2; ++i) {
    const LinkInfo its = link(s.consumer(), i);
    REQUIRE(its.node >= 0);
    CHECK(its.lots == 1);
    held[its.node] = its.unsettled;
  }
  CHECK(held[0] == 2);
  CHECK(held[1] == 5);
  CHECK(link(s.consumer(), 3).lots == 0);
}

TEST_CASE("failed for good: nothing is due any more") {
  minibroker::Config config;
  config.max_share_fetch_version = 1;  // Kafka 4.1
  Scene s(config);
  s.m.options.acquire_mode = kshare::AcquireMode::record_limit;
  s.start(1, 0);
  REQUIRE(s.w.run_until([&] { return !s.m.alive; }, 10000));
  CHECK(s.consumer().status().code == Errc::unsupported_broker);
  CHECK(s.consumer().member().due == kshare::kNever);
  CHECK(s.consumer().member().state == MemberState::joining);  // as far as it came
}

TEST_CASE("a topic that does not exist, and a partition in error: the reason while it lasts") {
  Scene s;
  REQUIRE(s.m.start({"t"}).ok());
  s.w.run_for(2000);
  CHECK(subscription(s.consumer(), 0).status == kshare::Status{Errc::broker_error, 3});
  CHECK(subscription(s.consumer(), 0).id.is_zero());
  s.w.broker.add_topic("t", 2);
  REQUIRE(s.w.run_until([&] { return s.consumer().assignment_count() == 2; }));
  s.w.run_for(2000);
  CHECK(subscription(s.consumer(), 0).status.ok());
  CHECK(subscription(s.consumer(), 0).id == assignment(s.consumer(), 0).topic_id);
  CHECK(assignment(s.consumer(), 0).topic == "t");
  s.w.broker.fail_partition("t", 1, 29, 1000000);
  s.append(1, 1);
  s.w.run_for(2000);
  const uint32_t bad = assignment(s.consumer(), 0).partition == 1 ? 0 : 1;
  CHECK(assignment(s.consumer(), bad).status == kshare::Status{Errc::broker_error, 29});
  CHECK(assignment(s.consumer(), bad).retry_at > kshare::Instant{});
  CHECK(assignment(s.consumer(), 1 - bad).status.ok());
  s.w.broker.fail_partition("t", 1, 0, 0);
  REQUIRE(s.until_seen(1));
  CHECK(assignment(s.consumer(), bad).status.ok());
}

TEST_CASE("a leader that is gone: no session and no link, the control link goes on trying") {
  Scene s(nodes(2));
  s.hold_all();
  s.w.broker.move_coordinator(0);
  s.w.broker.add_topic("t", 1);
  s.w.broker.move_leader("t", 0, 1);
  s.w.broker.append("t", 0, world::records(2));
  REQUIRE(s.m.start({"t"}).ok());
  REQUIRE(s.until_seen(2));
  REQUIRE(assignment(s.consumer(), 0).in_session);
  s.w.broker.stop_node(1, s.w.now);
  s.w.broker.move_leader("t", 0, -1);
  s.w.run_for(300);
  const AssignedPartition its = assignment(s.consumer(), 0);
  CHECK_FALSE(its.in_session);
  const LinkInfo leader = link(s.consumer(), 1);
  CHECK(leader.session_epoch == 0);
  CHECK(leader.partitions == 0);
  CHECK(leader.state != LinkState::ready);
  CHECK(link(s.consumer(), 0).state == LinkState::ready);
  CHECK(s.consumer().member().state == MemberState::stable);
  s.w.run_for(3000);
  CHECK(assignment(s.consumer(), 0).leader == -1);
  CHECK(assignment(s.consumer(), 0).link == -1);
}

TEST_CASE("more leaders than links: the partition that waits for its turn has no link") {
  Scene s(nodes(3));  // kTinyLimits: one link for leaders
  s.w.broker.add_topic("t", 3);
  for (int p = 0; p < 3; ++p) s.w.broker.move_leader("t", p, p);
  REQUIRE(s.m.start({"t"}).ok());
  REQUIRE(s.w.run_until([&] {
    return s.consumer().assignment_count() == 3 && link(s.consumer(), 1).session_epoch > 0;
  }));
  uint32_t served = 0;
  for (uint32_t i = 0; i < 3; ++i) served += assignment(s.consumer(), i).link == 1 ? 1u : 0u;
  CHECK(served == 1);
  CHECK(s.w.run_until([&] { return link(s.consumer(), 1).leaving; }));
}

TEST_CASE("unsubscribed, then closed: what was left is nothing") {
  Scene s;
  s.start(1, 3);
  REQUIRE(s.until_seen(3));
  REQUIRE(s.until_settled());
  CHECK(s.consumer().unsubscribe().ok());
  SubscribedTopic none;
  CHECK_FALSE(s.consumer().subscription(0, none));
  CHECK(s.consumer().member().state == MemberState::leaving);
  s.w.run_for(2000);
  CHECK(s.consumer().member().state == MemberState::idle);
  CHECK(s.w.close(s.m));
  LinkInfo its;
  for (uint32_t i = 0; s.consumer().link(i, its); ++i) CHECK(its.state == LinkState::idle);
  check_nothing_is_left(s.consumer());
  CHECK(s.consumer().member().id.size() == kshare::kMemberIdBytes);  // for whoever reads the logs
}

TEST_CASE("every state has its words") {
  for (int i = 0; i < 5; ++i) {
    CHECK(std::string(kshare::describe(static_cast<LinkState>(i))) != "unknown");
  }
  for (int i = 0; i < 4; ++i) {
    CHECK(std::string(kshare::describe(static_cast<MemberState>(i))) != "unknown");
  }
  for (uint32_t i = 0; i < kshare::kApis; ++i) {
    CHECK(std::string(kshare::describe(static_cast<Api>(i))) != "unknown");
  }
  CHECK(std::string(kshare::describe(Api::share_fetch)) == "ShareFetch");
  CHECK(std::string(kshare::describe(LinkState::ready)) == "ready");
  CHECK(std::string(kshare::describe(LinkRole::leader)) == "leader");
  CHECK(std::string(kshare::describe(LinkRole::control)) == "control");
  CHECK(std::string(kshare::describe(static_cast<LinkState>(5))) == "unknown");
  CHECK(std::string(kshare::describe(static_cast<MemberState>(4))) == "unknown");
}

}  // namespace test_inspect
