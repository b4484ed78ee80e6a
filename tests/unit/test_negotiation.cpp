// SPDX-License-Identifier: Apache-2.0
// core/link.hpp, ApiVersions: which version is spoken for each API, how a broker that does not know
// ours is asked again, and what the cluster's features say.
#include <doctest/doctest.h>

#include "../support/wire.hpp"

namespace test_negotiation {

using decoders::Build;
using decoders::Message;
using kshare::Api;
using kshare::ApiRow;
using kshare::kApiRows;
using kshare::Link;
using kshare::LinkState;
using wire::Offer;
using wire::Wire;
using Negotiation = Link::Negotiation;

namespace {

constexpr int16_t kHello = 18;

Negotiation answered(Wire& w, const Offer& offer) {
  w.connect();
  w.take();
  return w.answer(1, offer.body());
}
Api api_of(uint32_t row) { return static_cast<Api>(row); }

// The ApiVersions request that a link has to send, by hand.
Message hello(int16_t version, int32_t correlation) {
  Build b;
  b.i16(kHello).i16(version).i32(correlation).i16(2).raw("id");
  if (version >= 3) b.tags().text("kshare").text(kshare::kVersion);
  if (version >= 5) b.null().i32(-1);
  if (version >= 3) b.tags();
  Build frame;
  frame.i32(static_cast<int64_t>(b.message.size()));
  frame.message.insert(frame.message.end(), b.message.begin(), b.message.end());
  return frame.message;
}

// The version in the header of a request for `api`.
int version_sent(Wire& w, Api api) {
  const uint32_t before = w.link.begin(api, w.shared).size();
  CHECK(before >= 14);
  return w.sending[6] * 256 + w.sending[7];
}

}  // namespace

TEST_CASE("a broker that does more than we need: our newest version of each") {
  Wire w;
  CHECK(answered(w, Offer{}) == Negotiation::ready);
  CHECK(w.link.ready());
  CHECK_FALSE(w.link.busy());
  CHECK(w.link.can_send(w.now));
  CHECK(w.link.deadline(w.now) == kshare::kNever);
  CHECK(w.link.can_renew());
  for (uint32_t i = 0; i < kshare::kApis; ++i) {
    CHECK(w.link.version(api_of(i)) == kApiRows[i].max);
    if (kApiRows[i].key != kHello) CHECK(version_sent(w, api_of(i)) == kApiRows[i].max);
  }
}

TEST_CASE("each API alone: the highest version that both sides speak, in the header too") {
  for (uint32_t i = 0; i < kshare::kApis; ++i) {
    const ApiRow& row = kApiRows[i];
    if (row.key == kHello) continue;
    for (int max = 0; max <= row.max + 2; ++max) {
      for (int min = 0; min <= max; ++min) {
        CAPTURE(row.key);
        CAPTURE(min);
        CAPTURE(max);
        Wire w;
        const Negotiation result = answered(w, Offer{}.set(row.key, min, max));
        if (max < row.min || min > row.max) {
          CHECK(result == Negotiation::too_old);
          CHECK(w.link.version(api_of(i)) == -1);
        } else {
          const int wanted = max < row.max ? max : row.max;
          CHECK(result == Negotiation::ready);
          CHECK(w.link.version(api_of(i)) == wanted);
          CHECK(version_sent(w, api_of(i)) == wanted);
        }
      }
    }
  }
}

TEST_CASE("a broker that lacks an API is too old, and so is one with nothing at all") {
  for (const ApiRow& row : kApiRows) {
    if (row.key == kHello) continue;
    Wire w;
    CHECK(answered(w, Offer{}.without(row.key)) == Negotiation::too_old);
  }
  Wire w;
  CHECK(answered(w, [] {
          Offer none;
          none.ranges.clear();
          return none;
        }()) == Negotiation::too_old);
}

TEST_CASE("Kafka 4.1 is enough, but cannot renew; from 4.2 on it can") {
  struct Release {
    int hello, share;
  };
  for (const Release& one : {Release{4, 1}, Release{4, 2}, Release{5, 2}}) {
    Offer offer;
    offer.set(1, 4, 18).set(3, 0, 13).set(10, 0, 6).set(kHello, 0, one.hello).set(76, 1, 1);
    offer.set(78, 1, one.share).set(79, 1, one.share).feature("share.version", 1);
    Wire w;
    CHECK(answered(w, offer) == Negotiation::ready);
    CHECK(w.link.version(Api::share_fetch) == one.share);
    CHECK(w.link.version(Api::share_acknowledge) == one.share);
    CHECK(w.link.version(Api::metadata) == 13);
    CHECK(w.link.version(Api::find_coordinator) == 6);
    CHECK(w.link.version(Api::fetch) == 13);
    CHECK(w.link.can_renew() == (one.share == 2));
  }
  for (int16_t key : {int16_t{78}, int16_t{79}}) {  // renewing takes both
    Wire w;
    CHECK(answered(w, Offer{}.set(key, 1, 1)) == Negotiation::ready);
    CHECK_FALSE(w.link.can_renew());
  }
}

TEST_CASE("versions of one connection are forgotten on the next") {
  Wire w;
  CHECK(answered(w, Offer{}) == Negotiation::ready);
  w.link.on_lost(w.now, w.shared);
  w.link.closed();
  w.connect();
  CHECK(w.link.version(Api::share_fetch) == -1);
  CHECK_FALSE(w.link.can_renew());
  w.take();
  CHECK(w.answer(2, Offer{}.set(78, 1, 1).body()) == Negotiation::ready);
  CHECK(w.link.version(Api::share_fetch) == 1);
}

TEST_CASE("error 35 names the broker's own version: it is asked with that, and the next at once") {
  for (int16_t named : {int16_t{4}, int16_t{3}}) {
    Wire w;
    w.connect();
    CHECK(w.take() == hello(5, 1));
    CHECK(w.answer(1, Offer::refusal(0, named)) == Negotiation::unfinished);
    CHECK(w.link.state() == LinkState::negotiating);
    CHECK(w.link.busy());
    CHECK(w.take() == hello(named, 2));
    CHECK(w.shared.hello_version == named);
    CHECK(w.answer(2, Offer{}.set(kHello, 0, named).feature("share.version", 1).body()) ==
          Negotiation::ready);
    w.link.on_lost(w.now, w.shared);
    w.link.closed();
    w.connect();
    CHECK(w.take() == hello(named, 3));
    CHECK(w.answer(3, Offer{}.body()) == Negotiation::ready);
    Wire other;  // another link of the same consumer
    other.shared.hello_version = w.shared.hello_version;
    other.connect();
    CHECK(other.take() == hello(named, 1));
  }
}

TEST_CASE("a range that helps nobody: version 0 is asked, and the next connection begins anew") {
  const Message useless[] = {
      Offer::refusal(0, 2), Offer::refusal(0, 0), Offer::refusal(0, 5), Offer::refusal(0, 32767),
      Offer::refusal(6, 9), Offer::refusal(-1, -1), Build{}.i16(35).i32(0).message,
      Build{}.i16(35).i32(1).i16(3).i16(0).i16(4).message,  // of another API
  };
  for (const Message& body : useless) {
    Wire w;
    w.connect();
    w.take();
    CHECK(w.answer(1, body) == Negotiation::unfinished);
    CHECK(w.take() == hello(0, 2));
    CHECK(w.shared.hello_version == 5);
    CHECK(w.answer(2, Offer{}.body_0()) == Negotiation::ready);
    CHECK(w.link.version(Api::share_fetch) == 2);
    w.link.on_lost(w.now, w.shared);
    w.link.closed();
    w.connect();
    CHECK(w.take() == hello(5, 3));
  }
}

TEST_CASE("a broker that refuses every version is asked four times, then given up") {
  Wire w;
  w.connect();
  int32_t correlation = 1;
  for (int16_t asked : {int16_t{5}, int16_t{4}, int16_t{3}, int16_t{0}}) {
    CHECK_FALSE(w.link.reader().malformed());
    CHECK(w.take() == hello(asked, correlation));
    CHECK(w.answer(correlation, Offer::refusal(0, asked - 1)) == Negotiation::unfinished);
    ++correlation;
  }
  CHECK(w.link.reader().malformed());
}

TEST_CASE("a broker that names again what it refused is asked with version 0") {
  Wire w;
  w.connect();
  w.take();
  CHECK(w.answer(1, Offer::refusal(0, 4)) == Negotiation::unfinished);
  CHECK(w.take() == hello(4, 2));
  CHECK(w.answer(2, Offer::refusal(0, 4)) == Negotiation::unfinished);
  CHECK(w.take() == hello(0, 3));
  CHECK(w.answer(3, Offer{}.body_0()) == Negotiation::ready);
}

TEST_CASE("error 35 to version 0 as well is no Kafka answer") {
  Wire w;
  w.connect();
  w.take();
  CHECK(w.answer(1, Build{}.i16(35).i32(0).message) == Negotiation::unfinished);
  CHECK(w.take() == hello(0, 2));
  CHECK(w.answer(2, Build{}.i16(35).i32(0).message) == Negotiation::unfinished);
  CHECK(w.link.reader().malformed());
}

TEST_CASE("any other error in the versions' answer ends the connection") {
  for (int error : {42, 58, -1}) {
    Wire w;
    w.connect();
    CHECK(w.answer(1, Build{}.i16(error).array(0).i32(0).tags().message) ==
          Negotiation::unfinished);
    CHECK(w.link.reader().malformed());
  }
}

TEST_CASE("share.version: its level says whether the cluster has share groups") {
  for (int level : {1, 2, 3, 32767}) {
    Wire w;
    CHECK(answered(w, Offer{}.feature("share.version", level)) == Negotiation::ready);
  }
  Wire w;
  CHECK(answered(w, Offer{}.feature("share.version", 0)) == Negotiation::groups_off);
}

TEST_CASE("a list without share.version means off; no list means that nobody knows") {
  Wire off;
  CHECK(answered(off, Offer{}.feature("metadata.version", 30)) == Negotiation::groups_off);
  Wire empty;
  CHECK(answered(empty, Offer{}.list()) == Negotiation::groups_off);
  Wire like;  // other names are other features
  CHECK(answered(like, Offer{}.feature("share.versio", 1).feature("share.version2", 1)) ==
        Negotiation::groups_off);
  Wire unknown;
  CHECK(answered(unknown, Offer{}) == Negotiation::ready);
  Wire old;  // version 0 has no features
  old.connect();
  old.take();
  CHECK(old.answer(1, Offer::refusal(0, 2)) == Negotiation::unfinished);
  CHECK(old.answer(2, Offer{}.body_0()) == Negotiation::ready);
}

TEST_CASE("share.version among many features, wherever it stands") {
  for (int at = 0; at <= 200; at += 40) {
    Offer offer;
    for (int i = 0; i < 200; ++i) {
      if (i == at) offer.feature("share.version", 1);
      offer.feature(std::string(static_cast<size_t>(1 + i), 'f'), i);
    }
    if (at == 200) offer.feature("share.version", 1);
    Wire w;
    w.connect();
    w.take();
    const Message answer = Wire::frame(1, offer.body());
    auto result = Negotiation::unfinished;
    for (uint32_t sent = 0; sent < decoders::size_of(answer);) {
      sent += w.give(answer, sent);
      if (w.link.in_answer()) result = w.link.negotiate(w.now, w.shared);
      REQUIRE_FALSE(w.link.reader().malformed());
    }
    CHECK(result == Negotiation::ready);
  }
}

TEST_CASE("features in pieces of one byte; those of the connection before are forgotten") {
  Wire w;
  int32_t correlation = 0;
  for (bool on : {true, false, true}) {
    w.connect();
    w.take();
    const Offer offer = Offer{}.feature("kraft.version", 1);
    const Message body = on ? Offer{offer}.feature("share.version", 1).body() : offer.body();
    const Message answer = Wire::frame(++correlation, body);
    auto result = Negotiation::unfinished;
    for (uint32_t at = 0; at < decoders::size_of(answer); ++at) {
      CHECK(result == Negotiation::unfinished);
      CHECK(w.give(answer, at, 1) == 1);
      if (w.link.in_answer()) result = w.link.negotiate(w.now, w.shared);
    }
    CHECK(result == (on ? Negotiation::ready : Negotiation::groups_off));
    w.link.on_lost(w.now, w.shared);
    w.link.closed();
  }
}

TEST_CASE("switched off is said before too old: it is what can be changed") {
  Wire w;
  CHECK(answered(w, Offer{}.feature("metadata.version", 1).without(78)) ==
        Negotiation::groups_off);
}

TEST_CASE("error 129: the broker is not the one that it was taken for") {
  Wire w;
  w.connect();
  CHECK(w.answer(1, Build{}.i16(129).array(0).i32(0).tags().message) == Negotiation::misdirected);
  CHECK_FALSE(w.link.reader().malformed());
}

}  // namespace test_negotiation
