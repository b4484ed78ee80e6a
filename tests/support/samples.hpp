// SPDX-License-Identifier: Apache-2.0
// What:        one answer of each API with something in every field, and what its decoder must say.
// Flow:        sample(kind) -> decoders.hpp; also the seeds of the fuzzers.
// Memory:      the tests' own.
// Valid until: plain values.
// Errors:      none.
#ifndef KSHARE_TESTS_SAMPLES_HPP
#define KSHARE_TESTS_SAMPLES_HPP

#include "decoders.hpp"

namespace samples {

using decoders::Build;
using decoders::Kind;
using decoders::Message;
using decoders::Tags;
using Lines = std::vector<std::string>;

inline Message api_versions(Tags tags) {
  Build b{tags};
  b.i16(0).array(3);
  b.i16(1).i16(4).i16(18).tags();
  b.i16(78).i16(1).i16(2).tags();
  b.i16(-1).i16(0).i16(32767).tags();
  Build supported{tags};
  supported.array(1).text("share.version").i16(0).i16(2).tags();
  Build finalized{tags};
  finalized.array(2).text("metadata.version").i16(30).i16(30).tags();
  finalized.text("share.version").i16(1).i16(1).tags();
  b.i32(250).uvarint(4);
  b.uvarint(0).tag(supported.message);
  b.uvarint(1).tag(Build{}.i64(77).message);
  b.uvarint(2).tag(finalized.message);
  return b.uvarint(9).tag(Message(tags == Tags::large ? 2600 : 3, 0xFF)).message;
}
inline Message api_versions_0() {
  Build b;
  b.i16(0).i32(2).i16(1).i16(4).i16(18).i16(79).i16(1).i16(2);
  return b.message;
}
inline Message metadata(Tags tags, int version) {
  Build b{tags};
  b.i32(7).array(2);
  b.i32(1).text("broker-one").i32(9092).null().tags();
  b.i32(2).text("").i32(-1).text("rack").tags();
  b.text("the cluster's id").i32(1).array(3);
  b.i16(0).text("orders").uuid(1).i8(0).array(2);
  b.i16(0).i32(0).i32(1).i32(5).array(2).i32(1).i32(2).array(1).i32(1).array(1).i32(2).tags();
  b.i16(5).i32(1).i32(-1).i32(-1).null().array(0).array(0).tags();
  b.i32(-2147483648LL).tags();
  b.i16(3).null().uuid(2).i8(1).array(0).i32(0).tags();
  b.i16(29).text("secret").uuid(0).i8(0).null().i32(0).tags();
  if (version >= 13) b.i16(129);
  return b.tags().message;
}
inline Message find_coordinator(Tags tags) {
  Build b{tags};
  b.i32(3).array(1).text("group").i32(9).text("10.0.0.9").i32(9099).i16(15).text("no, not yet");
  return b.tags().tags().message;
}
inline Message heartbeat(Tags tags) {
  Build b{tags};
  b.i32(11).i16(0).null().text("member").i32(4).i32(5000).i8(1).array(2);
  b.uuid(1).array(3).i32(0).i32(1).i32(-7).tags();
  b.uuid(2).array(0).tags();
  return b.tags().tags().message;
}
inline Message share_fetch(Tags tags) {
  Build b{tags};
  b.i32(0).i16(0).null().i32(30000).array(2);
  b.uuid(1).array(2);
  b.i32(0).i16(0).null().i16(0).null().i32(0).i32(0).tags();
  b.array(9).raw("RECORDS..").array(2);
  b.i64(10).i64(19).i16(1).tags().i64(25).i64(25).i16(3).tags().tags();
  b.i32(1).i16(6).text("moved").i16(121).text("too late").i32(2).i32(8).tags();
  b.null().array(0).tags().tags();
  b.uuid(2).array(1).i32(5).i16(0).text("").i16(0).text("").i32(0).i32(0).tags();
  b.array(0).null().tags().tags();
  b.array(2).i32(2).text("two").i32(9094).null().tags().i32(3).text("three").i32(9095);
  return b.text("rack").tags().tags().message;
}
inline Message share_acknowledge(Tags tags, int version) {
  Build b{tags};
  b.i32(1).i16(0).text("");
  if (version >= 2) b.i32(15000);
  b.array(1);
  b.uuid(1).array(2).i32(0).i16(0).null().i32(0).i32(0).tags().tags();
  b.i32(1).i16(6).text("moved").i32(2).i32(8).tags().tags().tags();
  b.array(1).i32(2).text("two").i32(9094).text("rack").tags();
  return b.tags().message;
}
inline Message fetch(Tags tags) {
  Build b{tags};
  b.i32(2).i16(0).i32(0).array(1).uuid(1).array(2);
  b.i32(0).i16(0).i64(100).i64(90).i64(5).array(2).i64(1).i64(2).tags().i64(3).i64(4).tags();
  b.i32(-1).array(7).raw("RECORDS").tags();
  b.i32(1).i16(1).i64(-1).i64(-1).i64(77).null().i32(-1).null().tags();
  return b.tags().tags().message;
}

inline Message sample(Kind kind, Tags tags = Tags::none) {
  switch (kind) {
    case Kind::api_versions: return api_versions(tags);
    case Kind::metadata: return metadata(tags, 13);
    case Kind::metadata_12: return metadata(tags, 12);
    case Kind::find_coordinator: return find_coordinator(tags);
    case Kind::heartbeat: return heartbeat(tags);
    case Kind::share_fetch: return share_fetch(tags);
    case Kind::share_acknowledge: return share_acknowledge(tags, 2);
    case Kind::share_acknowledge_1: return share_acknowledge(tags, 1);
    case Kind::fetch: return fetch(tags);
    case Kind::api_versions_0: break;
  }
  return api_versions_0();
}

inline Lines lines(Kind kind) {
  switch (kind) {
    case Kind::api_versions:
      return {"range 1 4 18", "range 78 1 2", "range -1 0 32767", "feature 'metadata.version' 30",
              "feature 'share.version' 1", "end 0 features"};
    case Kind::metadata:
    case Kind::metadata_12:
      return {"broker 1 'broker-one' 9092", "broker 2 '' -1", "cluster 'the cluster's id'",
              "topic 'orders' u1 0", "partition u1 0 1 5 0", "partition u1 1 -1 -1 5",
              "topic null u2 3", "topic 'secret' u0 29",
              kind == Kind::metadata ? "end 7 129" : "end 7 0"};
    case Kind::find_coordinator:
      return {"coordinator 9 '10.0.0.9' 9099", "end 3 15 'no, not yet'"};
    case Kind::heartbeat:
      return {"head 11 0 '' 4 5000", "assignment", "partition u1 0", "partition u1 1",
              "partition u1 -7", "end"};
    case Kind::share_fetch:
      return {"head 0 0 '' 30000", "partition u1 0 0 0 0 0", "bytes 9", "records RECORDS..",
              "acquired 10 19 1", "acquired 25 25 3", "partition_end", "partition u1 1 6 121 2 8",
              "partition_end", "partition u2 5 0 0 0 0", "partition_end", "node 2 'two' 9094",
              "node 3 'three' 9095", "end"};
    case Kind::share_acknowledge:
    case Kind::share_acknowledge_1:
      return {kind == Kind::share_acknowledge ? "head 1 0 '' 15000" : "head 1 0 '' 0",
              "partition u1 0 0 0 0", "partition u1 1 6 2 8",
              "node 2 'two' 9094", "end"};
    case Kind::fetch:
      return {"head 2 0", "partition u1 0 0 5", "bytes 7", "records RECORDS", "partition_end",
              "partition u1 1 1 77", "partition_end", "end"};
    case Kind::api_versions_0: break;
  }
  return {"range 1 4 18", "range 79 1 2", "end 0 none"};
}

}  // namespace samples

#endif  // KSHARE_TESTS_SAMPLES_HPP
