// SPDX-License-Identifier: Apache-2.0
// core/control.hpp alone: where the control link goes, what it sends first, and where it goes when
// that is of no use. The link's transport is played by hand.
#include <doctest/doctest.h>

#include "../support/decoders.hpp"
#include "../support/scenario.hpp"
#include "../support/wire.hpp"
#include "kshare/core/control.hpp"

namespace test_control {

using decoders::Build;
using decoders::Message;
using kshare::Api;
using kshare::Control;
using kshare::Event;
using kshare::EventType;
using kshare::Instant;
using kshare::Link;
using kshare::LinkState;
using scenario::Desk;

namespace {

constexpr uint32_t kWindow = 1024;

struct Office {
  Desk desk;
  kshare::Tables& t = desk.tables;
  Control control;
  Link link;
  std::vector<uint8_t> windows = std::vector<uint8_t>(size_t{2} * kWindow);
  Instant now{1000};
  int32_t correlation = 0;

  explicit Office(const char* servers = "10.0.0.1:9092,10.0.0.2:9092") {
    t.shared.options.bootstrap_servers = servers;
    REQUIRE(t.topology.subscribe("orders"));
    control.member.subscription_changed(now);
    link.attach({windows.data(), kWindow}, {windows.data() + kWindow, kWindow});
  }
  std::string where() const {
    char text[100];
    const uint32_t size =
        kshare::write_address(text, sizeof text, Control::address(link.target(), t));
    return {text, size};
  }
  Instant step() { return control.step(link, t, now); }
  // The link has got as far as it can, and the next request is on its way.
  void connect() {
    link.closed();
    link.on_opening(now, 1000, t.shared);
    link.on_connected(now, t.shared);
    give(wire::Offer{}.body(), false);
    REQUIRE(link.negotiate(now, t.shared) == Link::Negotiation::ready);
    static_cast<void>(step());
  }
  void give(const Message& body, bool tags = true) {
    link.sent(link.unsent().size, t.shared);
    const Message frame = wire::Wire::frame(++correlation, body, tags);
    REQUIRE(frame.size() <= link.space().size);
    std::memcpy(link.space().data, frame.data(), frame.size());
    link.received(static_cast<uint32_t>(frame.size()), now, t.shared);
    REQUIRE(link.in_answer());
  }
  // As the engine: an answer, then the next step.
  void answer(const Message& body) {
    give(body);
    control.read(link, t, now);
    static_cast<void>(step());
  }
  bool asks(Api api) const { return link.busy() && link.request() == api; }
  static Message metadata(int16_t error = 0) {
    Build b;
    b.i32(0).array(2).i32(1).text("10.0.0.1").i32(9092).null().tags();
    b.i32(2).text("10.0.0.2").i32(9092).null().tags();
    b.text("cluster").i32(1).array(1).i16(0).text("orders").uuid(7).i8(0);
    b.array(1).i16(0).i32(0).i32(1).i32(1).array(0).array(0).array(0).tags();
    return b.i32(0).tags().i16(error).tags().message;
  }
  static Message coordinator(int32_t node) {
    Build b;
    b.i32(0).array(1).text("group").i32(node).text("10.0.0." + std::to_string(node)).i32(9092);
    return b.i16(0).null().tags().tags().message;
  }
  static Message heartbeat(int16_t error = 0) {
    Build b;
    b.i32(0).i16(error).null().text("member").i32(1).i32(5000).i8(-1);
    return b.tags().message;
  }
  // Metadata, the search, and the join by way of broker 1.
  void join() {
    static_cast<void>(step());
    connect();
    answer(metadata());
    answer(coordinator(1));
    answer(heartbeat());
  }
  void lose() {
    const bool asking = link.busy();
    if (asking) ++correlation;
    link.on_lost(now, t.shared);
    control.on_lost(link, asking, t, now);
  }
  // The attempt is refused; the moment of the next one.
  int64_t refused() {
    static_cast<void>(step());
    link.closed();
    link.on_opening(now, 1000, t.shared);
    lose();
    return link.retry_at() - now;
  }
  int count(EventType type) {
    int all = 0;
    Event event;
    while (t.shared.events.pop(event)) all += event.type == type ? 1 : 0;
    return all;
  }
};

}  // namespace

TEST_CASE("first Metadata from a bootstrap server, then the search, then the join") {
  Office o;
  static_cast<void>(o.step());
  CHECK(o.link.state() == LinkState::waiting);
  CHECK(o.where() == "10.0.0.1:9092");
  o.connect();
  CHECK(o.asks(Api::metadata));
  o.answer(Office::metadata());
  CHECK(o.asks(Api::find_coordinator));
  o.answer(Office::coordinator(1));
  CHECK(o.asks(Api::share_group_heartbeat));
  o.answer(Office::heartbeat());
  CHECK_FALSE(o.link.busy());
  CHECK(o.control.member.state() == kshare::MemberState::stable);
}

TEST_CASE("a coordinator behind the address that the link has: no new connection is made") {
  Office o;
  static_cast<void>(o.step());
  CHECK(o.link.target() < 0);
  o.connect();
  o.answer(Office::metadata());
  o.answer(Office::coordinator(1));
  CHECK(o.link.ready());
  CHECK(o.link.target() == 1);
  CHECK_FALSE(o.link.wants_close());
}

TEST_CASE("a coordinator elsewhere: the link goes there, at once") {
  Office o;
  static_cast<void>(o.step());
  o.connect();
  o.answer(Office::metadata());
  o.answer(Office::coordinator(2));
  CHECK(o.link.state() == LinkState::waiting);
  CHECK(o.link.wants_close());
  CHECK(o.where() == "10.0.0.2:9092");
  CHECK(o.link.retry_at() <= o.now);
  o.connect();
  CHECK(o.asks(Api::share_group_heartbeat));
}

TEST_CASE("every entry has its turn, and the back-off grows from round to round of them") {
  Office o("10.0.0.1:9092,10.0.0.2:9092,10.0.0.3:9092");
  std::string tried;
  int64_t last_round = 0;
  for (int i = 0; i < 30; ++i) {
    static_cast<void>(o.step());
    tried += o.where().at(7);
    const int64_t wait = o.refused();
    CHECK(wait > 0);
    CHECK(wait <= 1200);
    if (i % 3 != 2) CHECK(wait <= 60);  // within a round they follow each other
    if (i % 3 == 2) last_round = wait;
    o.now = o.now + wait;
  }
  CHECK(tried == "123123123123123123123123123123");
  CHECK(last_round >= 800);
}

TEST_CASE("brokers known by then are tried behind the bootstrap list") {
  Office o("10.0.0.9:9092");
  static_cast<void>(o.step());
  o.connect();
  o.answer(Office::metadata());
  o.lose();
  std::set<std::string> tried;
  for (int i = 0; i < 3; ++i) {
    static_cast<void>(o.step());
    tried.insert(o.where());
    o.now = o.now + o.refused();
  }
  CHECK(tried == std::set<std::string>{"10.0.0.1:9092", "10.0.0.2:9092", "10.0.0.9:9092"});
}

TEST_CASE("a lost link to the coordinator: it is searched again, and Metadata asked that was out") {
  Office o;
  o.join();
  o.control.discovery.refresh(o.now);
  static_cast<void>(o.step());
  REQUIRE(o.asks(Api::metadata));
  o.lose();
  CHECK(o.control.member.coordinator() == kshare::Member::kUnknown);
  o.now = o.now + 2000;
  static_cast<void>(o.step());
  o.connect();
  CHECK(o.asks(Api::metadata));
  o.answer(Office::metadata());
  CHECK(o.asks(Api::find_coordinator));
}

TEST_CASE("a heartbeat that is due goes before Metadata, once there has been some") {
  Office o;
  o.join();
  o.now = o.now + 6000;
  o.control.discovery.refresh(o.now);
  static_cast<void>(o.step());
  CHECK(o.asks(Api::share_group_heartbeat));
  o.answer(Office::heartbeat());
  CHECK(o.asks(Api::metadata));
}

TEST_CASE("error 129 in Metadata: all brokers are forgotten, once a minute at most") {
  Office o;
  o.join();
  o.control.discovery.refresh(o.now);
  static_cast<void>(o.step());
  o.answer(Office::metadata(129));
  CHECK(o.t.topology.known_brokers() == 0);
  CHECK(o.count(EventType::rebootstrapping) == 1);
  CHECK(o.link.target() < 0);
  CHECK(o.link.state() == LinkState::waiting);
  o.control.misdirected(o.link, o.t, o.now + 59000);
  CHECK(o.count(EventType::rebootstrapping) == 0);
  o.control.misdirected(o.link, o.t, o.now + 60000);
  CHECK(o.count(EventType::rebootstrapping) == 1);
}

TEST_CASE("without Metadata for the trigger's time the bootstrap list is gone back to") {
  Office o("10.0.0.9:9092");
  static_cast<void>(o.step());
  o.connect();
  o.answer(Office::metadata());
  o.answer(Office::coordinator(1));
  o.connect();
  o.answer(Office::heartbeat());
  REQUIRE(o.link.target() == 1);
  o.now = o.control.discovery.due_at();
  CHECK_FALSE(o.control.discovery.overdue(o.now, o.t.shared));
  o.now = o.now + o.t.shared.options.rebootstrap_trigger_ms;
  static_cast<void>(o.step());
  CHECK(o.count(EventType::rebootstrapping) == 1);
  CHECK(o.where() == "10.0.0.9:9092");
  CHECK(o.t.topology.known_brokers() == 0);
}

}  // namespace test_control
