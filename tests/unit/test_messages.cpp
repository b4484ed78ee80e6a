// SPDX-License-Identifier: Apache-2.0
// message/*.hpp, answers: every field, every way to cut them, every way to damage them.
#include <doctest/doctest.h>

#include "../support/samples.hpp"

namespace test_messages {

using decoders::Build;
using decoders::decode;
using decoders::Kind;
using decoders::kKinds;
using decoders::Message;
using decoders::Result;
using decoders::size_of;
using decoders::Tags;
using decoders::Way;

namespace {

Kind kind_of(uint32_t index) { return static_cast<Kind>(index); }

void check_lines(const Result& result, const samples::Lines& wanted) {
  CHECK(result.ended);
  CHECK_FALSE(result.malformed);
  REQUIRE(result.items.size() == wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) CHECK(result.items[i] == wanted[i]);
}

bool begins_like(const samples::Lines& items, const samples::Lines& whole) {
  return items.size() <= whole.size() && std::equal(items.begin(), items.end(), whole.begin());
}

// Everything up to a count or a length, for each that a schema has, and what an entry takes at
// least.
struct Place {
  Kind kind;
  uint32_t entry;
  Message before;
};
std::vector<Place> counts() {
  std::vector<Place> all;
  const auto add = [&](Kind kind, uint32_t entry, const Build& b) {
    all.push_back({kind, entry, b.message});
  };
  const auto metadata = [] { return Build{}.i32(0).array(0).null().i32(1).array(1); };
  add(Kind::api_versions, 7, Build{}.i16(0));                                    // ApiKeys
  Build hello = Build{}.i16(0).array(0).i32(0).uvarint(1);
  add(Kind::api_versions, 1, Build{hello}.uvarint(0));                           // a tag's size
  hello.uvarint(2).uvarint(4000);
  add(Kind::api_versions, 6, hello);                                             // Finalized...
  add(Kind::api_versions, 1, hello.array(1));                                    // Name
  add(Kind::metadata, 11, Build{}.i32(0));                                       // Brokers
  add(Kind::metadata, 1, Build{}.i32(0).array(1).i32(1));                        // Host
  add(Kind::metadata, 1, Build{}.i32(0).array(1).i32(1).text("h").i32(1));       // Rack
  add(Kind::metadata, 1, Build{}.i32(0).array(0));                               // ClusterId
  add(Kind::metadata, 26, Build{}.i32(0).array(0).null().i32(1));                // Topics
  add(Kind::metadata, 1, metadata().i16(0));                                     // Name
  add(Kind::metadata, 18, metadata().i16(0).text("t").uuid(1).i8(0));            // Partitions
  Build partition = metadata().i16(0).text("t").uuid(1).i8(0).array(1);
  partition.i16(0).i32(0).i32(1).i32(1);
  add(Kind::metadata, 4, partition);                                             // ReplicaNodes
  add(Kind::metadata, 4, partition.array(0));                                    // IsrNodes
  add(Kind::metadata, 4, partition.array(0));                                    // OfflineReplicas
  add(Kind::find_coordinator, 14, Build{}.i32(0));                               // Coordinators
  add(Kind::find_coordinator, 1, Build{}.i32(0).array(1));                       // Key
  add(Kind::find_coordinator, 1, Build{}.i32(0).array(1).text("g").i32(1));      // Host
  add(Kind::find_coordinator, 1,
      Build{}.i32(0).array(1).text("g").i32(1).text("h").i32(1).i16(0));         // ErrorMessage
  add(Kind::heartbeat, 1, Build{}.i32(0).i16(0));                                // ErrorMessage
  add(Kind::heartbeat, 1, Build{}.i32(0).i16(0).null());                         // MemberId
  Build beat = Build{}.i32(0).i16(0).null().null().i32(1).i32(1).i8(1);
  add(Kind::heartbeat, 18, beat);                                                // TopicPartitions
  add(Kind::heartbeat, 4, beat.array(1).uuid(1));                                // Partitions
  add(Kind::share_fetch, 1, Build{}.i32(0).i16(0));                              // ErrorMessage
  Build share = Build{}.i32(0).i16(0).null().i32(1);
  add(Kind::share_fetch, 18, share);                                             // Responses
  add(Kind::share_acknowledge, 18, share);                                       // Responses
  Build nodes = share;
  add(Kind::share_fetch, 11, nodes.array(0));                                    // NodeEndpoints
  add(Kind::share_acknowledge, 11, nodes);                                       // NodeEndpoints
  share.array(1).uuid(1);
  add(Kind::share_fetch, 22, share);                                             // Partitions
  add(Kind::share_acknowledge, 17, share);                                       // Partitions
  share.array(1).i32(0).i16(0);
  add(Kind::share_acknowledge, 1, share);                                        // ErrorMessage
  add(Kind::share_fetch, 1, share.null().i16(0));                                // Ack...Message
  add(Kind::share_fetch, 1, share.null().i32(0).i32(0).tags());                  // Records
  add(Kind::share_fetch, 19, share.null());                                      // AcquiredRecords
  Build plain = Build{}.i32(0).i16(0).i32(0);
  add(Kind::fetch, 18, plain);                                                   // Responses
  add(Kind::fetch, 37, plain.array(1).uuid(1));                                  // Partitions
  plain.array(1).i32(0).i16(0).i64(0).i64(0).i64(0);
  add(Kind::fetch, 17, plain);                                                   // Aborted...
  add(Kind::fetch, 1, plain.null().i32(-1));                                     // Records
  return all;
}

}  // namespace

TEST_CASE("each answer is read field by field, null and empty texts and arrays included") {
  for (uint32_t i = 0; i < kKinds; ++i) {
    CAPTURE(i);
    check_lines(decode(kind_of(i), samples::sample(kind_of(i))), samples::lines(kind_of(i)));
  }
}

TEST_CASE("unknown tagged fields are skipped at every level, those larger than the window too") {
  for (uint32_t i = 0; i < kKinds; ++i) {
    CAPTURE(i);
    for (Tags tags : {Tags::small, Tags::large}) {
      for (uint32_t window : {512u, 1024u, 65536u}) {
        Way way;
        way.window = window;
        const Message body = samples::sample(kind_of(i), tags);
        check_lines(decode(kind_of(i), body, way), samples::lines(kind_of(i)));
      }
    }
  }
}

TEST_CASE("an answer cut anywhere, or in pieces of any size, gives the same items") {
  for (uint32_t i = 0; i < kKinds; ++i) {
    CAPTURE(i);
    const Message body = samples::sample(kind_of(i), Tags::small);
    for (uint32_t piece : {1u, 2u, 7u}) {
      Way way;
      way.window = 512;
      way.piece = piece;
      check_lines(decode(kind_of(i), body, way), samples::lines(kind_of(i)));
    }
    for (uint32_t cut = 1; cut < size_of(body); ++cut) {
      Way way;
      way.cut = cut;
      const Result result = decode(kind_of(i), body, way);
      CHECK(result.ended);
      CHECK(result.items == samples::lines(kind_of(i)));
    }
  }
}

TEST_CASE("every prefix of an answer needs more octets, and says nothing that is not so") {
  for (uint32_t i = 0; i < kKinds; ++i) {
    CAPTURE(i);
    const Message body = samples::sample(kind_of(i), Tags::small);
    for (uint32_t count = 0; count < size_of(body); ++count) {
      Way way;
      way.count = count;
      const Result result = decode(kind_of(i), body, way);
      CHECK_FALSE(result.ended);
      CHECK_FALSE(result.malformed);
      CHECK(begins_like(result.items, samples::lines(kind_of(i))));
    }
  }
}

TEST_CASE("a frame that ends too early is malformed, wherever it ends") {
  for (uint32_t i = 0; i < kKinds; ++i) {
    CAPTURE(i);
    const Message body = samples::sample(kind_of(i), Tags::small);
    for (uint32_t frame = 0; frame < size_of(body); ++frame) {
      Way way;
      way.frame = frame;
      const Result result = decode(kind_of(i), body, way);
      CHECK(result.malformed);
      CHECK_FALSE(result.ended);
      CHECK(begins_like(result.items, samples::lines(kind_of(i))));
    }
  }
}

TEST_CASE("what a later version appends to an answer is left in the frame") {
  for (uint32_t i = 0; i < kKinds; ++i) {
    CAPTURE(i);
    Way way;
    way.frame = size_of(samples::sample(kind_of(i))) + 5;
    const Result result = decode(kind_of(i), samples::sample(kind_of(i)), way);
    check_lines(result, samples::lines(kind_of(i)));
    CHECK(result.left == 5);
  }
}

TEST_CASE("every one-byte change of an answer ends in items or in malformed, in bounded work") {
  for (uint32_t i = 0; i < kKinds; ++i) {
    const Message body = samples::sample(kind_of(i));
    for (uint32_t at = 0; at < size_of(body); ++at) {
      for (uint32_t change = 1 + at % 3; change < 256; change += 3) {
        Message bad = body;
        bad[at] = static_cast<uint8_t>(bad[at] ^ change);
        Way way;
        way.piece = at % 2 == 0 ? UINT32_MAX : 7;
        const Result result = decode(kind_of(i), bad, way);
        if (result.items.size() > body.size()) FAIL_CHECK(i, " at ", at, " ^ ", change);
        if (result.ended && result.malformed) FAIL_CHECK(i, " at ", at, " ^ ", change);
      }
    }
  }
}

TEST_CASE("hostile counts and lengths are refused at once") {
  for (const Place& place : counts()) {
    CAPTURE(static_cast<int>(place.kind));
    CAPTURE(place.before.size());
    const Result sound = decode(place.kind, place.before, [&] {
      Way way;
      way.frame = size_of(place.before) + 4000;
      return way;
    }());
    REQUIRE_FALSE(sound.malformed);
    REQUIRE_FALSE(sound.ended);
    const uint32_t too_many = 4000 / place.entry + 1;  // in the 4,000 octets behind
    for (uint32_t count : {0xFFFFFFFFu, 0x80000000u, 0x7FFFFFFFu, 0x10000u, too_many + 1}) {
      Message body = place.before;
      const Message hostile = Build{}.uvarint(count).message;
      body.insert(body.end(), hostile.begin(), hostile.end());
      Way way;
      way.frame = size_of(body) + 4000;
      const Result result = decode(place.kind, body, way);
      CHECK(result.malformed);
      CHECK(result.items == sound.items);
    }
    Message body = place.before;
    body.insert(body.end(), 5, 0xFF);  // a number that does not end
    body.insert(body.end(), 100, 0);
    CHECK(decode(place.kind, body).malformed);
  }
}

TEST_CASE("a hostile count in an ApiVersions answer of version 0 is refused at once") {
  for (int64_t count : {-1LL, 0x7FFFFFFFLL, 4000LL}) {
    Message body = Build{}.i16(35).i32(count).i16(18).i16(0).i16(3).message;
    body.insert(body.end(), 1000, 0);
    const Result result = decode(Kind::api_versions_0, body);
    CHECK(result.malformed);
    CHECK(result.items.empty());
  }
}

TEST_CASE("a broker that cannot do our ApiVersions answers 35 with a body of version 0") {
  Build b;
  b.i16(35).i32(1).i16(18).i16(0).i16(2);
  check_lines(decode(Kind::api_versions, b.message), {"range 18 0 2", "end 35 none"});
  check_lines(decode(Kind::api_versions, Build{}.i16(35).i32(0).message), {"end 35 none"});
}

TEST_CASE("an answer of version 0 without ranges, and one of version 5 with another error") {
  check_lines(decode(Kind::api_versions_0, Build{}.i16(0).i32(0).message), {"end 0 none"});
  check_lines(decode(Kind::api_versions, Build{}.i16(58).array(0).i32(0).tags().message),
              {"end 58 none"});
}

namespace {

// An ApiVersions answer with nothing but tagged fields: those given, and how many they are.
Message tagged(uint32_t count, const Build& fields) {
  Build b;
  b.i16(0).array(0).i32(0).uvarint(count);
  b.message.insert(b.message.end(), fields.message.begin(), fields.message.end());
  return b.message;
}
Build share_version(int level, Tags tags = Tags::none) {
  Build b{tags};
  b.array(1).text("share.version").i16(level).i16(1).tags();
  return b;
}

}  // namespace

TEST_CASE("finalized features: the level, no entry, an empty list, no list at all") {
  const auto lines = [](const Message& features) {
    return decode(Kind::api_versions, tagged(1, Build{}.uvarint(2).tag(features))).items;
  };
  using Lines = samples::Lines;
  for (int level : {0, 1, 2, 32767, -1}) {
    const std::string line = "feature 'share.version' " + std::to_string(level);
    CHECK(lines(share_version(level).message) == Lines{line, "end 0 features"});
  }
  const Build other = Build{}.array(1).text("metadata.version").i16(30).i16(7).tags();
  CHECK(lines(other.message) == Lines{"feature 'metadata.version' 30", "end 0 features"});
  CHECK(lines(Build{}.array(0).message) == Lines{"end 0 features"});
  CHECK(lines(Build{}.null().message) == Lines{"end 0 features"});
  CHECK(decode(Kind::api_versions, tagged(0, Build{})).items == Lines{"end 0 none"});
  const Build epoch = Build{}.uvarint(1).tag(Build{}.i64(5).message);
  CHECK(decode(Kind::api_versions, tagged(1, epoch)).items == Lines{"end 0 none"});
}

TEST_CASE("finalized features between other tagged fields, in any window and in pieces") {
  for (Tags tags : {Tags::none, Tags::small, Tags::large}) {
    Build fields;
    fields.uvarint(0).tag(Message(3000, 1)).uvarint(1).tag(Build{}.i64(5).message);
    fields.uvarint(2).tag(share_version(1, tags).message).uvarint(3).tag({}).uvarint(77).tag({1});
    const Message body = tagged(5, fields);
    for (uint32_t window : {512u, 1024u, 8192u}) {
      for (uint32_t piece : {1u, 13u, UINT32_MAX}) {
        Way way;
        way.window = window;
        way.piece = piece;
        check_lines(decode(Kind::api_versions, body, way),
                    {"feature 'share.version' 1", "end 0 features"});
      }
    }
  }
}

TEST_CASE("a tag that begins like that of the features, and has not come whole, is not theirs") {
  const Message body = tagged(1, Build{}.uvarint(130).tag(Message(3, 1)));  // 0x82 0x01
  for (uint32_t piece : {1u, 2u, UINT32_MAX}) {
    Way way;
    way.piece = piece;
    check_lines(decode(Kind::api_versions, body, way), {"end 0 none"});
  }
}

TEST_CASE("a tagged field of features whose size is not that of its features is malformed") {
  const Message sound = share_version(1).message;
  for (uint32_t wrong : {0u, 1u, size_of(sound) - 1, size_of(sound) + 1, size_of(sound) + 9,
                         0x7FFFFFFFu, 0x80000000u, 0xFFFFFFFFu}) {
    Build fields;
    fields.uvarint(2).uvarint(wrong);
    fields.message.insert(fields.message.end(), sound.begin(), sound.end());
    fields.raw(std::string(200, '\0'));
    const Result result = decode(Kind::api_versions, tagged(1, fields));
    CHECK(result.malformed);
    CHECK_FALSE(result.ended);
  }
  Build twice;  // more tags than there are octets for
  CHECK(decode(Kind::api_versions, tagged(0xFFFFFFFFu, twice.uvarint(9).tag({}))).ended == false);
}

TEST_CASE("answers with an error at the top have empty arrays, null ones too") {
  for (bool null : {false, true}) {
    Build b;
    b.i32(9).i16(122).text("session gone").i32(0);
    b = null ? b.null().null().tags() : b.array(0).array(0).tags();
    check_lines(decode(Kind::share_fetch, b.message), {"head 9 122 'session gone' 0", "end"});
    check_lines(decode(Kind::share_acknowledge, b.message), {"head 9 122 'session gone' 0", "end"});
    Build plain;
    plain.i32(0).i16(70).i32(0);
    plain = null ? plain.null().tags() : plain.array(0).tags();
    check_lines(decode(Kind::fetch, plain.message), {"head 0 70", "end"});
    Build map;
    map.i32(0);
    map = null ? map.null().null().i32(-1).null().tags()
               : map.array(0).text("").i32(-1).array(0).tags();
    check_lines(decode(Kind::metadata_12, map.message), {"cluster ''", "end 0 0"});
  }
}

TEST_CASE("a heartbeat answer without an assignment, with an empty one, and with an error") {
  Build b;
  b.i32(0).i16(0).null().null().i32(3).i32(5000).i8(-1).tags();
  check_lines(decode(Kind::heartbeat, b.message), {"head 0 0 '' 3 5000", "end"});
  Build empty;
  empty.i32(0).i16(0).null().text("m").i32(3).i32(5000).i8(1).array(0).tags().tags();
  check_lines(decode(Kind::heartbeat, empty.message), {"head 0 0 '' 3 5000", "assignment", "end"});
  Build error;
  error.i32(0).i16(110).text("fenced").null().i32(0).i32(0).i8(-1).tags();
  check_lines(decode(Kind::heartbeat, error.message), {"head 0 110 'fenced' 0 0", "end"});
}

TEST_CASE("the broker's words are cut to the room there is") {
  Build b;
  b.i32(0).i16(110).text("twelve bytes and more").null().i32(0).i32(0).i8(-1).tags();
  check_lines(decode(Kind::heartbeat, b.message), {"head 0 110 'twelve bytes' 0 0", "end"});
  Build longer;
  longer.i32(0).i16(110).text(std::string(5000, 'w')).null().i32(0).i32(0).i8(-1).tags();
  for (uint32_t piece : {1u, 1000u}) {
    Way way;
    way.piece = piece;
    check_lines(decode(Kind::heartbeat, longer.message, way),
                {"head 0 110 'wwwwwwwwwwww' 0 0", "end"});
  }
}

TEST_CASE("FindCoordinator: a key as long as a group id may be, a broker that is not there") {
  Build b;
  b.i32(0).array(1).text(std::string(30000, 'g')).i32(1).text(std::string(255, 'h')).i32(9092);
  b.i16(0).null().tags().tags();
  for (uint32_t window : {512u, 1024u}) {
    Way way;
    way.window = window;
    check_lines(decode(Kind::find_coordinator, b.message, way),
                {"coordinator 1 '" + std::string(255, 'h') + "' 9092", "end 0 0 ''"});
  }
  Build missing;
  missing.i32(0).array(1).text("g").i32(-1).text("").i32(-1).i16(15).text("wait").tags().tags();
  check_lines(decode(Kind::find_coordinator, missing.message),
              {"coordinator -1 '' -1", "end 0 15 'wait'"});
}

TEST_CASE("a FindCoordinator answer that names nobody at all is malformed") {
  CHECK(decode(Kind::find_coordinator, Build{}.i32(0).array(0).tags().message).malformed);
  CHECK(decode(Kind::find_coordinator, Build{}.i32(0).null().tags().message).malformed);
}

TEST_CASE(
    "the longest legal host and topic names pass through the smallest window, longer do not") {
  const std::string host(255, 'h');
  const std::string name(249, 'n');
  const auto body = [](const std::string& its_host, const std::string& its_name) {
    Build b;
    b.i32(0).array(1).i32(1).text(its_host).i32(9092).null().tags().null().i32(1).array(1);
    return b.i16(0).text(its_name).uuid(1).i8(0).array(0).i32(0).tags().tags().message;
  };
  Way way;
  way.window = 512;
  check_lines(decode(Kind::metadata_12, body(host, name), way),
              {"broker 1 '" + host + "' 9092", "cluster ''", "topic '" + name + "' u1 0",
               "end 0 0"});
  CHECK(decode(Kind::metadata_12, body(host + "h", name), way).malformed);
  CHECK(decode(Kind::metadata_12, body(host, name + "n"), way).malformed);
}

TEST_CASE("a cluster id of any length passes through the smallest window") {
  for (const uint32_t size : {1u, 255u, 256u, 5000u}) {
    const std::string id(size, 'c');
    Build b;
    b.i32(0).array(0).text(id).i32(1).array(1).i16(0).text("t").uuid(1).i8(0).array(0).i32(0);
    Way way;
    way.window = 512;
    const std::string told = size <= 255 ? id : "";
    check_lines(decode(Kind::metadata_12, b.tags().tags().message, way),
                {"cluster '" + told + "'", "topic 't' u1 0", "end 0 0"});
  }
}

TEST_CASE("arrays that nobody wants are skipped, whatever their length") {
  Build b;
  b.i32(0).array(0).null().i32(1).array(1).i16(0).text("t").uuid(1).i8(0).array(1);
  b.i16(0).i32(7).i32(1).i32(2).array(2000);
  for (int i = 0; i < 2000; ++i) b.i32(i);
  b.array(0).array(500);
  for (int i = 0; i < 500; ++i) b.i32(i);
  b.tags().i32(0).tags().tags();
  for (uint32_t piece : {1u, 13u, 4000u}) {
    Way way;
    way.window = 512;
    way.piece = piece;
    check_lines(decode(Kind::metadata_12, b.message, way),
                {"cluster ''", "topic 't' u1 0", "partition u1 7 1 2 0", "end 0 0"});
  }
}

}  // namespace test_messages
