// SPDX-License-Identifier: Apache-2.0
// core/settings.hpp and the names given to subscribe(): what is refused says which option it is,
// and changes nothing.
#include <doctest/doctest.h>

#include "../support/number_options.hpp"
#include "../support/world.hpp"

namespace test_settings {
namespace {

using kshare::Errc;
using kshare::Options;
using world::Member;

constexpr const kshare::Limits& kLimits = kshare::kTinyLimits;

// A consumer that has been asked to start with options that one change was made to.
struct Try {
  world::World w;
  Member<> m;
  kshare::Status status;

  template <typename Change>
  explicit Try(const Change& change) {
    w.join(m);
    change(m.options);
    status = m.consumer().start(m.options);
    CHECK(m.consumer().status() == status);
    CHECK(m.consumer().last_error().empty() == status.ok());
    CHECK(m.consumer().poll(kshare::Instant{1}) == status.ok());
  }
  bool says(std::string_view word) {
    return m.consumer().last_error().find(word) != std::string_view::npos;
  }
};

}  // namespace

TEST_CASE("a number below its least value is refused, the least one is not") {
  for (const NumberOption& number : kNumberOptions) {
    if (number.is_most) continue;
    CAPTURE(std::string(number.name));
    for (const int32_t below : {number.least - 1, INT32_MIN}) {
      Try refused([&](Options& options) { options.*number.field = below; });
      CHECK(refused.status.code == Errc::bad_option);
    }
    CHECK(Try([&](Options& options) { options.*number.field = number.least; }).status.ok());
  }
}

TEST_CASE("a largest back-off below the first one is refused, one as large is not") {
  CHECK_FALSE(Try([](Options& options) { options.retry_backoff_max_ms = 99; }).status.ok());
  CHECK(Try([](Options& options) { options.retry_backoff_max_ms = 100; }).status.ok());
  CHECK_FALSE(Try([](Options& options) { options.reconnect_backoff_max_ms = 49; }).status.ok());
  CHECK(Try([](Options& options) { options.reconnect_backoff_max_ms = 50; }).status.ok());
}

TEST_CASE("without a group, or without brokers that one could connect to, nothing starts") {
  Try nameless([](Options& options) { options.group_id = {}; });
  CHECK(nameless.status.code == Errc::bad_option);
  CHECK(nameless.says("group.id"));
  for (const std::string_view servers : {"", ",", "host", "host:", ":9092", "host:0", "host:65536",
                                         "host:9092,", "a b:1", "[::1:9092"}) {
    CAPTURE(std::string(servers));
    Try lost([&](Options& options) { options.bootstrap_servers = servers; });
    CHECK(lost.status.code == Errc::bad_option);
    CHECK(lost.says("bootstrap.servers"));
  }
}

TEST_CASE("texts as long as their limits are kept, longer ones are refused") {
  struct Text {
    std::string_view Options::*field;
    uint32_t most;
    const char* end;
  };
  for (const Text& text : {Text{&Options::bootstrap_servers, kLimits.bootstrap_bytes, ":9092"},
                           Text{&Options::group_id, kLimits.group_id_bytes, ""},
                           Text{&Options::client_id, kLimits.client_id_bytes, ""},
                           Text{&Options::client_rack, kLimits.client_id_bytes, ""}}) {
    CAPTURE(text.most);
    const std::string end = text.end;
    const std::string fits = std::string(text.most - end.size(), 'x') + end;
    CHECK(Try([&](Options& options) { options.*text.field = fits; }).status.ok());
    const std::string longer = "x" + fits;
    Try refused([&](Options& options) { options.*text.field = longer; });
    CHECK(refused.status.code == Errc::too_long);
    CHECK(refused.says("limit"));
  }
}

TEST_CASE("names that are no topics', too many or too long: refused, the subscription stays") {
  Member<> m;
  REQUIRE(m.start({"kept"}).ok());
  const std::string longest(249, 'n');
  const std::string longer(250, 'n');
  const std::string half(129, 'h');
  const std::string other_half(128, 'i');
  CHECK(m.consumer().subscribe({"a", ""}).code == Errc::bad_option);
  CHECK(m.consumer().subscribe({longer}).code == Errc::bad_option);
  CHECK(m.consumer().subscribe({"a", "b", "c", "d", "e"}).code == Errc::too_many);
  CHECK(m.consumer().subscribe({half, other_half}).code == Errc::too_long);
  CHECK(m.consumer().status().code == Errc::bad_option);  // the first is kept
  kshare::SubscribedTopic topic;
  REQUIRE(m.consumer().subscription(0, topic));
  CHECK(topic.name == "kept");
  CHECK_FALSE(m.consumer().subscription(1, topic));
  CHECK(m.consumer().subscribe({longest}).ok());
  CHECK(m.consumer().subscribe({"a", "b", "c", "d"}).ok());
}

TEST_CASE("a consumer that runs cannot be started again, and goes on as it was") {
  world::World w;
  Member<> m;
  w.join(m);
  REQUIRE(m.start({"t"}).ok());
  CHECK(m.consumer().start(m.options).code == Errc::already_running);
  m.pool.has_entropy = false;
  CHECK(m.consumer().start(m.options).code == Errc::no_entropy);
  CHECK(m.consumer().status().ok());
  CHECK(m.consumer().poll(kshare::Instant{1}));
}

}  // namespace test_settings
