// SPDX-License-Identifier: Apache-2.0
// core/link.hpp: the life of one connection, one behaviour a test.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "../support/wire.hpp"

namespace test_link {

using decoders::Build;
using decoders::Message;
using kshare::Api;
using kshare::Instant;
using kshare::kNever;
using kshare::Link;
using kshare::LinkState;
using wire::kSendBytes;
using wire::Offer;
using wire::Wire;

TEST_CASE("a link without a target is idle and waits for nothing") {
  Wire w;
  CHECK(w.link.state() == LinkState::idle);
  CHECK_FALSE(w.link.in_use());
  CHECK_FALSE(w.link.wants_open(w.now));
  CHECK(w.link.deadline(w.now) == kNever);
  w.link.on_lost(w.now, w.shared);
  CHECK(w.link.state() == LinkState::idle);
}

TEST_CASE("a link with a target opens at once") {
  Wire w;
  w.link.set_target(7, w.now, w.shared);
  CHECK(w.link.target() == 7);
  CHECK(w.link.state() == LinkState::waiting);
  CHECK(w.link.wants_open(w.now));
  CHECK(w.link.deadline(w.now) == w.now);
  w.link.on_opening(w.now, 1000, w.shared);
  CHECK(w.link.state() == LinkState::opening);
  CHECK_FALSE(w.link.wants_open(w.now));
}

TEST_CASE("connecting that takes too long has timed out") {
  Wire w;
  w.open();
  CHECK(w.link.deadline(w.now) == w.now + 1000);
  CHECK_FALSE(w.link.timed_out(w.now + 999));
  CHECK(w.link.timed_out(w.now + 1000));
}

TEST_CASE("a new connection asks for the versions first, in the frame the protocol wants") {
  Wire w;
  w.connect();
  CHECK(w.link.state() == LinkState::negotiating);
  CHECK(w.link.busy());
  CHECK_FALSE(w.link.can_send(w.now));
  Build body;
  body.i16(18).i16(5).i32(1).i16(2).raw("id").tags().text("kshare").text(kshare::kVersion);
  body.null().i32(-1).tags();
  Build wanted;
  wanted.i32(static_cast<int64_t>(body.message.size()));
  wanted.message.insert(wanted.message.end(), body.message.begin(), body.message.end());
  CHECK(w.take() == wanted.message);
  CHECK(w.link.unsent().size == 0);
}

TEST_CASE("no answer to the versions is a time-out") {
  Wire w;
  w.shared.options.request_timeout_ms = 700;
  w.connect();
  CHECK_FALSE(w.link.timed_out(w.now + 699));
  CHECK(w.link.timed_out(w.now + 700));
}

TEST_CASE("a lost connection waits before the next try, longer each time, at most a second or so") {
  Wire w;
  w.shared.options.reconnect_backoff_ms = 50;
  w.shared.options.reconnect_backoff_max_ms = 1000;
  w.link.set_target(7, w.now, w.shared);
  for (uint32_t attempt = 0; attempt < 30; ++attempt) {
    REQUIRE(w.link.wants_open(w.now));
    CHECK(w.link.attempts() == std::min(attempt, 15u));
    w.link.on_opening(w.now, 1000, w.shared);
    w.link.on_lost(w.now, w.shared);
    CHECK(w.link.state() == LinkState::waiting);
    CHECK(w.link.wants_close());
    CHECK(w.link.deadline(w.now) == w.now);  // to close what is open
    w.link.closed();
    const int64_t delay = w.link.retry_at() - w.now;
    const int64_t middle = attempt < 5 ? int64_t{50} << attempt : 1000;
    CHECK(delay >= middle * 80 / 100);
    CHECK(delay <= middle * 120 / 100);
    CHECK(w.link.deadline(w.now) == w.link.retry_at());
    CHECK_FALSE(w.link.wants_open(w.now + (delay - 1)));
    w.now = w.link.retry_at();
  }
}

TEST_CASE("the back-off has jitter: two links that fail together do not come back together") {
  Wire a;
  Wire b;
  b.shared.random.seed(6);
  int apart = 0;
  for (int i = 0; i < 20; ++i) {
    a.link.set_target(7, a.now, a.shared);
    b.link.set_target(7, b.now, b.shared);
    for (int n = 0; n < 5; ++n) a.link.on_lost(a.now, a.shared);
    for (int n = 0; n < 5; ++n) b.link.on_lost(b.now, b.shared);
    apart += a.link.retry_at() != b.link.retry_at() ? 1 : 0;
  }
  CHECK(apart > 15);
}

TEST_CASE("answers make the next back-off short again; the versions alone do not, nor does one") {
  Wire w;
  w.link.set_target(7, w.now, w.shared);
  for (int i = 0; i < 6; ++i) w.link.on_lost(w.now, w.shared);
  w.link.closed();
  w.now = w.link.retry_at();
  w.link.on_opening(w.now, 1000, w.shared);
  w.link.on_connected(w.now, w.shared);
  w.give(Wire::frame(1, Offer{}.body()));
  REQUIRE(w.link.in_answer());
  REQUIRE(w.link.negotiate(w.now, w.shared) == Link::Negotiation::ready);
  CHECK(w.link.attempts() == 6);
  int answers = 0;
  while (w.link.attempts() != 0 && answers < 100) {
    w.ask();
    w.give(Wire::frame(2 + answers, {}, true));
    REQUIRE(w.link.in_answer());
    REQUIRE(w.link.end_answer(0, w.now));
    ++answers;
  }
  CHECK(answers >= 6);
  CHECK(answers <= 40);
}

TEST_CASE("a connection that breaks off behind its first answers every time: ever longer waits") {
  int answers = 1;
  SUBCASE("behind the first") {}
  SUBCASE("behind the fifth") { answers = 5; }
  Wire w;
  w.link.set_target(7, w.now, w.shared);
  int32_t correlation = 0;
  int64_t delay = 0;
  for (int i = 0; i < 20; ++i) {
    w.link.closed();
    w.link.on_opening(w.now, 1000, w.shared);
    w.link.on_connected(w.now, w.shared);
    w.give(Wire::frame(++correlation, Offer{}.body()));
    REQUIRE(w.link.in_answer());
    REQUIRE(w.link.negotiate(w.now, w.shared) == Link::Negotiation::ready);
    for (int n = 0; n < answers; ++n) {
      w.ask();
      w.give(Wire::frame(++correlation, {}, true));
      REQUIRE(w.link.in_answer());
      REQUIRE(w.link.end_answer(0, w.now));
    }
    w.link.on_lost(w.now, w.shared);
    delay = w.link.retry_at() - w.now;
    w.now = w.link.retry_at();
  }
  CHECK(delay >= (answers == 1 ? 800 : 300));
}

TEST_CASE("the old transport is closed before a new one is opened") {
  Wire w;
  w.become_ready();
  w.link.on_lost(w.now, w.shared);
  CHECK(w.link.wants_close());
  CHECK_FALSE(w.link.wants_open(w.now + 5000));
  w.link.closed();
  CHECK(w.link.wants_open(w.now + 5000));
  w.link.set_target(9, w.now, w.shared);  // another broker: what is open goes too
  CHECK(w.link.wants_close());
  CHECK(w.link.target() == 9);
}

TEST_CASE("a stopped link wants nothing but its transport closed") {
  Wire w;
  w.become_ready();
  w.ask();
  w.link.stop(w.shared);
  CHECK(w.link.state() == LinkState::idle);
  CHECK(w.link.target() == Link::kNoNode);
  CHECK_FALSE(w.link.busy());
  CHECK(w.link.wants_close());
  CHECK(w.link.unsent().size == 0);
  CHECK_FALSE(w.link.timed_out(w.now + 100000));
  w.link.closed();
  CHECK(w.link.deadline(w.now) == kNever);
}

TEST_CASE("a request times out when its time is over, and only while it is out") {
  Wire w;
  w.become_ready();
  w.shared.options.request_timeout_ms = 600;
  w.ask(400);
  CHECK(w.link.busy());
  CHECK_FALSE(w.link.can_send(w.now));
  CHECK(w.link.deadline(w.now) == w.now + 1000);
  CHECK_FALSE(w.link.timed_out(w.now + 999));
  CHECK(w.link.timed_out(w.now + 1000));
  w.give(Wire::frame(2, {}, true));
  REQUIRE(w.link.in_answer());
  CHECK(w.link.end_answer(0, w.now));
  CHECK_FALSE(w.link.timed_out(w.now + 100000));
  CHECK(w.link.can_send(w.now));
}

TEST_CASE("correlation ids go up by one, over connections too") {
  Wire w;
  w.become_ready(1);
  w.ask();
  w.give(Wire::frame(2, {}, true));
  REQUIRE(w.link.in_answer());
  REQUIRE(w.link.end_answer(0, w.now));
  w.link.on_lost(w.now, w.shared);
  w.link.closed();
  w.become_ready(3);
}

TEST_CASE("an answer with the wrong correlation id ends the connection") {
  for (int32_t wrong : {0, 1, 3, -2, INT32_MIN}) {
    Wire w;
    w.become_ready();
    w.ask();
    w.give(Wire::frame(wrong, {}, true));
    CHECK_FALSE(w.link.in_answer());
    CHECK(w.link.reader().malformed());
  }
}

TEST_CASE("bytes that nobody asked for end the connection") {
  Wire w;
  w.become_ready();
  w.give({0});
  CHECK_FALSE(w.link.in_answer());
  CHECK(w.link.reader().malformed());

  Wire before;  // and bytes behind the answer that was asked for
  before.become_ready();
  before.ask();
  Message two = Wire::frame(2, {}, true);
  two.push_back(0);
  before.give(two);
  REQUIRE(before.link.in_answer());
  CHECK(before.link.end_answer(0, before.now));
  CHECK_FALSE(before.link.in_answer());
  CHECK(before.link.reader().malformed());
}

TEST_CASE("a frame of negative size ends the connection, one of two gigabytes does not") {
  for (int64_t size : {-1LL, -2147483648LL}) {
    Wire w;
    w.become_ready();
    w.ask();
    w.give(Build{}.i32(size).i32(2).tags().message);
    CHECK_FALSE(w.link.in_answer());
    CHECK(w.link.reader().malformed());
  }
  Wire w;
  w.become_ready();
  w.ask();
  w.give(Build{}.i32(INT32_MAX).i32(2).tags().message);
  CHECK(w.link.in_answer());
  CHECK(w.link.reader().frame_left() == static_cast<uint32_t>(INT32_MAX) - 5);
  CHECK_FALSE(w.link.end_answer(0, w.now));  // the rest is still to be passed over
  CHECK(w.link.busy());
  CHECK(w.link.timed_out(w.now + w.shared.options.request_timeout_ms));
}

TEST_CASE("a frame too small for its own header ends the connection") {
  for (int64_t size : {0LL, 1LL, 3LL, 4LL}) {
    Wire w;
    w.become_ready();
    w.ask();
    w.give(Build{}.i32(size).i32(2).tags().message);
    CHECK_FALSE(w.link.in_answer());
    CHECK(w.link.reader().malformed());
  }
}

TEST_CASE("tagged fields in the header are skipped, larger than the window too") {
  for (bool large : {false, true}) {
    Build b{large ? decoders::Tags::large : decoders::Tags::small};
    b.i32(2).tags();
    const auto header = static_cast<int64_t>(b.message.size());
    Build whole;
    whole.i32(header + 1);
    whole.message.insert(whole.message.end(), b.message.begin(), b.message.end());
    whole.i8(42);
    Wire w;
    w.become_ready();
    w.ask();
    uint32_t at = 0;
    while (!w.link.in_answer() || !w.link.reader().settle()) {
      REQUIRE_FALSE(w.link.reader().malformed());
      const uint32_t count = w.give(whole.message, at);
      REQUIRE(count != 0);
      at += count;
    }
    if (w.link.reader().available() == 0) w.give(whole.message, at);
    CHECK(w.link.reader().i8() == 42);
    CHECK(w.link.reader().commit());
    CHECK(w.link.end_answer(0, w.now));
  }
}

TEST_CASE("an answer in pieces of one byte is an answer") {
  Wire w;
  w.connect();
  const Message answer = Wire::frame(1, Offer{}.body());
  auto result = Link::Negotiation::unfinished;
  for (uint32_t at = 0; at < decoders::size_of(answer); ++at) {
    CHECK(result == Link::Negotiation::unfinished);
    CHECK(w.give(answer, at, 1) == 1);
    if (w.link.in_answer()) result = w.link.negotiate(w.now, w.shared);
  }
  CHECK(result == Link::Negotiation::ready);
}

TEST_CASE("what follows the last field is passed over, across as many windows as it takes") {
  Wire w;
  w.become_ready();
  w.ask();
  Message long_answer = Wire::frame(2, Message(5000, 0xAA), true);
  uint32_t at = w.give(long_answer);
  REQUIRE(w.link.in_answer());
  while (!w.link.end_answer(0, w.now)) {
    CHECK(w.link.busy());
    const uint32_t count = w.give(long_answer, at);
    REQUIRE(count != 0);
    at += count;
  }
  CHECK(at == decoders::size_of(long_answer));
  CHECK_FALSE(w.link.busy());
  w.ask();
  w.give(Wire::frame(3, {}, true));
  CHECK(w.link.in_answer());
}

TEST_CASE("throttle time mutes the link for so long and no longer, a lost connection unmutes it") {
  Wire w;
  w.become_ready();
  w.ask();
  w.give(Wire::frame(2, {}, true));
  REQUIRE(w.link.in_answer());
  REQUIRE(w.link.end_answer(300, w.now));
  CHECK_FALSE(w.link.can_send(w.now));
  CHECK_FALSE(w.link.can_send(w.now + 299));
  CHECK(w.link.can_send(w.now + 300));
  CHECK(w.link.deadline(w.now) == w.now + 300);
  CHECK(w.link.deadline(w.now + 300) == kNever);
  w.link.on_lost(w.now, w.shared);
  w.link.closed();
  w.become_ready(3);
  CHECK(w.link.can_send(w.now));
}

TEST_CASE("a negative throttle time mutes nothing, an absurd one not for ever") {
  for (int32_t throttle : {-1, INT32_MIN, INT32_MAX}) {
    Wire w;
    w.become_ready();
    w.ask();
    w.give(Wire::frame(2, {}, true));
    REQUIRE(w.link.in_answer());
    REQUIRE(w.link.end_answer(throttle, w.now));
    CHECK(w.link.can_send(w.now) == (throttle < 0));
    CHECK(w.link.can_send(w.now + 60000));
  }
}

TEST_CASE("an answer that comes after the connection was given up is never looked at") {
  Wire w;
  w.become_ready();
  w.ask();
  w.give(Wire::frame(2, {}, true), 0, 6);
  CHECK_FALSE(w.link.in_answer());
  w.link.on_lost(w.now, w.shared);
  CHECK_FALSE(w.link.in_answer());
  CHECK_FALSE(w.link.reader().malformed());
  CHECK(w.link.reader().available() == 0);
}

TEST_CASE("a request leaves in any pieces, and nothing of it after a loss") {
  Wire w;
  w.connect();
  const kshare::Bytes all = w.link.unsent();
  Message seen;
  while (w.link.unsent().size != 0) {
    seen.push_back(w.link.unsent()[0]);
    w.link.sent(1, w.shared);
  }
  CHECK(seen.size() == all.size);
  CHECK(w.shared.stats.bytes_sent == all.size);
  Wire lost;
  lost.connect();
  lost.link.sent(3, lost.shared);
  lost.link.on_lost(lost.now, lost.shared);
  CHECK(lost.link.unsent().size == 0);
}

TEST_CASE("a request larger than the send window is seen before it leaves") {
  Wire w;
  w.become_ready();
  kshare::Writer out = w.link.begin(Api::metadata, w.shared);
  out.string(std::string(kSendBytes, 'x'));
  CHECK_FALSE(out.ok());
  CHECK_FALSE(w.link.busy());
}

TEST_CASE("a waiting link may be sent elsewhere, at another time") {
  Wire w;
  w.link.set_target(7, w.now, w.shared);
  for (int i = 0; i < 5; ++i) w.link.on_lost(w.now, w.shared);
  w.link.closed();
  const Instant at = w.link.retry_at();
  CHECK(at > w.now);
  w.link.retarget(-2, at + 5);
  CHECK(w.link.target() == -2);
  CHECK(w.link.retry_at() == at + 5);
  CHECK_FALSE(w.link.wants_open(w.now));
}

TEST_CASE("when the first byte of an answer came is known, and when its request left") {
  Wire w;
  w.become_ready();
  w.ask();
  CHECK(w.link.sent_at() == w.now);
  const Message answer = Wire::frame(2, {}, true);
  w.now = w.now + 40;
  w.give(answer, 0, 2);
  CHECK_FALSE(w.link.in_answer());
  w.now = w.now + 40;
  w.give(answer, 2);
  CHECK(w.link.in_answer());
  CHECK(w.link.first_byte_at() == Instant{1040});
}

TEST_CASE("a link that is sent to another broker begins without the back-off of the one before") {
  Wire w;
  w.link.set_target(7, w.now, w.shared);
  for (int i = 0; i < 6; ++i) w.link.on_lost(w.now, w.shared);
  CHECK(w.link.retry_at() - w.now >= 800);
  w.link.set_target(8, w.now, w.shared);
  CHECK(w.link.attempts() == 0);
  w.link.closed();
  CHECK(w.link.wants_open(w.now));
  w.link.on_lost(w.now, w.shared);
  CHECK(w.link.retry_at() - w.now <= 60);
}

}  // namespace test_link
