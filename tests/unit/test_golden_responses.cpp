// SPDX-License-Identifier: Apache-2.0
// Responses as Kafka's own Java classes serialise them (tests/golden): our decoders read them field
// for field, however they come.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "../support/golden.hpp"
#include "../support/wire.hpp"

namespace test_golden_responses {

using decoders::Build;
using decoders::Kind;
using decoders::Message;
using decoders::size_of;
using golden::lines_of;
using golden::octets_of;
using golden::Vector;
using golden::What;

namespace {

Kind kind_of(const Vector& vector) {
  switch (vector.key) {
    case 1: return Kind::fetch;
    case 3: return vector.version >= 13 ? Kind::metadata : Kind::metadata_12;
    case 10: return Kind::find_coordinator;
    case 18: return vector.version >= 3 ? Kind::api_versions : Kind::api_versions_0;
    case 76: return Kind::heartbeat;
    case 78: return Kind::share_fetch;
    default: return vector.version >= 2 ? Kind::share_acknowledge : Kind::share_acknowledge_1;
  }
}
void check_items(const decoders::Result& result, const std::vector<std::string>& wanted) {
  CHECK(result.ended);
  CHECK_FALSE(result.malformed);
  CHECK(result.left == 0);
  REQUIRE(result.items.size() == wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) REQUIRE(result.items[i] == wanted[i]);
}

}  // namespace

TEST_CASE("responses: every field that Kafka's own classes wrote, whole and in pieces") {
  for (const Vector* vector : golden::all(What::response)) {
    CAPTURE(vector->name);
    const std::vector<std::string> wanted = lines_of(*vector);
    const Message body = octets_of(vector->hex);
    decoders::Way way;
    way.exact = true;
    for (uint32_t window : {512u, 1024u, 65536u}) {
      for (uint32_t piece : {1u, 7u, UINT32_MAX}) {
        way.window = window;
        way.piece = piece;
        check_items(decoders::decode(kind_of(*vector), body, way), wanted);
      }
    }
  }
}

TEST_CASE("responses: cut in two at every octet; every 50th part of long ones") {
  for (const Vector* vector : golden::all(What::response)) {
    CAPTURE(vector->name);
    const std::vector<std::string> wanted = lines_of(*vector);
    const Message body = octets_of(vector->hex);
    const uint32_t step = body.size() < 1500 ? 1 : size_of(body) / 50;
    for (uint32_t cut = 1; cut < size_of(body); cut += step) {
      decoders::Way way;
      way.exact = true;
      way.cut = cut;
      const decoders::Result result = decoders::decode(kind_of(*vector), body, way);
      if (!result.ended || result.items != wanted) FAIL_CHECK("cut at ", cut);
    }
  }
}

TEST_CASE("a refusal of our ApiVersions is read as one of version 0, whatever was asked") {
  uint32_t seen = 0;
  for (const Vector* vector : golden::all(What::response)) {
    if (std::string(vector->name) != "ApiVersions 0: refusal") continue;
    ++seen;
    decoders::Way way;
    way.exact = true;
    check_items(decoders::decode(Kind::api_versions, octets_of(vector->hex), way),
                lines_of(*vector));
  }
  CHECK(seen == 1);
}

TEST_CASE("response headers: without tagged fields for ApiVersions, with them for all others") {
  for (const Vector* vector : golden::all(What::response_header)) {
    CAPTURE(vector->name);
    wire::Wire w;
    const bool hello = vector->key == 18;
    const Message header = octets_of(vector->hex);
    const Message body = hello ? wire::Offer{}.body() : Message{42};
    Build frame;
    frame.i32(static_cast<int64_t>(header.size() + body.size()));
    frame.message.insert(frame.message.end(), header.begin(), header.end());
    frame.message.insert(frame.message.end(), body.begin(), body.end());
    if (hello) {
      w.connect();
      w.take();
    } else {
      w.become_ready();
      w.ask();
    }
    CHECK(w.give(frame.message) == size_of(frame.message));
    REQUIRE(w.link.in_answer());
    if (hello) {
      CHECK(w.link.negotiate(w.now, w.shared) == kshare::Link::Negotiation::ready);
      continue;
    }
    CHECK(w.link.reader().settle());
    CHECK(w.link.reader().i8() == 42);
    CHECK(w.link.reader().commit());
    CHECK(w.link.end_answer(0, w.now));
  }
}

TEST_CASE("the vectors name every API and version that kshare speaks, both ways") {
  for (const kshare::ApiRow& row : kshare::kApiRows) {
    for (int16_t version = row.min; version <= row.max; ++version) {
      if (row.key == 18 && (version == 1 || version == 2)) continue;  // never asked for
      CAPTURE(row.key);
      CAPTURE(version);
      for (What what : {What::request, What::response, What::request_header}) {
        const auto named = golden::all(what);
        CHECK(std::any_of(named.begin(), named.end(), [&](const Vector* vector) {
          return vector->key == row.key && vector->version == version;
        }));
      }
    }
  }
}

}  // namespace test_golden_responses
