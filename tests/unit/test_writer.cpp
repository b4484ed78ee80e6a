// SPDX-License-Identifier: Apache-2.0
// wire/writer.hpp: the octets of every primitive, overflow at every capacity, and that Reader reads
// what Writer wrote. Windows are heap blocks of exactly their size, for the sanitizers' sake.
#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kshare/wire/reader.hpp"
#include "kshare/wire/writer.hpp"

namespace test_writer {
namespace {

using kshare::Reader;
using kshare::Uuid;
using kshare::Writer;
using Octets = std::vector<uint8_t>;

struct Window {
  explicit Window(uint32_t capacity)
      : memory(new uint8_t[capacity]), writer(memory.get(), capacity) {}
  Octets written() const { return {memory.get(), memory.get() + writer.size()}; }

  std::unique_ptr<uint8_t[]> memory;
  Writer writer;
};

// What `write` writes into a window with room to spare.
template <class Write>
Octets octets_of(Write write) {
  Window window(64);
  write(window.writer);
  CHECK(window.writer.ok());
  return window.written();
}

Uuid counting_uuid() {
  Uuid id;
  for (uint8_t i = 0; i < 16; ++i) id.octets[i] = static_cast<uint8_t>(0xF0 + i);
  return id;
}

// One of everything, with an array of two entries.
void write_all(Writer& out) {
  out.i32(0);  // patched below
  out.i8(-2);
  out.boolean(true);
  out.i16(-300);
  out.i32(INT32_MIN);
  out.i64(INT64_MIN + 1);
  out.uuid(counting_uuid());
  out.uvarint(0xFFFFFFFFu);
  out.string("topic");
  out.string("");
  out.null_string();
  out.short_string("client");
  const uint32_t array = out.begin_array();
  for (int32_t i = 0; i < 2; ++i) {
    out.i32(i);
    out.no_tags();
  }
  out.end_array(array, 2);
  out.empty_array();
  out.null_array();
  out.raw({});
  out.no_tags();
  out.patch_i32(0, 0x01020304);
}

}  // namespace

TEST_CASE("writer: the octets of every primitive") {
  CHECK(octets_of([](Writer& w) { w.i8(-128); }) == Octets{0x80});
  CHECK(octets_of([](Writer& w) { w.i8(127); }) == Octets{0x7F});
  CHECK(octets_of([](Writer& w) { w.boolean(true); }) == Octets{1});
  CHECK(octets_of([](Writer& w) { w.boolean(false); }) == Octets{0});
  CHECK(octets_of([](Writer& w) { w.i16(-2); }) == Octets{0xFF, 0xFE});
  CHECK(octets_of([](Writer& w) { w.i16(0x1234); }) == Octets{0x12, 0x34});
  CHECK(octets_of([](Writer& w) { w.i32(-2); }) == Octets{0xFF, 0xFF, 0xFF, 0xFE});
  CHECK(octets_of([](Writer& w) { w.i32(0x12345678); }) == Octets{0x12, 0x34, 0x56, 0x78});
  CHECK(octets_of([](Writer& w) { w.i64(0x123456789ABCDEF0); }) ==
        Octets{0x12, 0x34, 0x56, 0x78, 0x9A, 0xBC, 0xDE, 0xF0});
  CHECK(octets_of([](Writer& w) { w.i64(-1); }) == Octets(8, 0xFF));
  CHECK(octets_of([](Writer& w) { w.uuid(Uuid{}); }) == Octets(16, 0));
  CHECK(octets_of([](Writer& w) { w.string("ab"); }) == Octets{3, 'a', 'b'});
  CHECK(octets_of([](Writer& w) { w.string({}); }) == Octets{1});
  CHECK(octets_of([](Writer& w) { w.null_string(); }) == Octets{0});
  CHECK(octets_of([](Writer& w) { w.short_string("ab"); }) == Octets{0, 2, 'a', 'b'});
  CHECK(octets_of([](Writer& w) { w.no_tags(); }) == Octets{0});
  CHECK(octets_of([](Writer& w) { w.empty_array(); }) == Octets{1});
  CHECK(octets_of([](Writer& w) { w.null_array(); }) == Octets{0});
  CHECK(octets_of([](Writer& w) { w.raw({}); }).empty());
}

TEST_CASE("writer: uvarint at its boundaries") {
  struct Row {
    uint32_t value;
    Octets octets;
  };
  const Row rows[] = {{0, {0}},
                      {127, {0x7F}},
                      {128, {0x80, 0x01}},
                      {300, {0xAC, 0x02}},
                      {16383, {0xFF, 0x7F}},
                      {16384, {0x80, 0x80, 0x01}},
                      {2097151, {0xFF, 0xFF, 0x7F}},
                      {2097152, {0x80, 0x80, 0x80, 0x01}},
                      {268435455, {0xFF, 0xFF, 0xFF, 0x7F}},
                      {268435456, {0x80, 0x80, 0x80, 0x80, 0x01}},
                      {0xFFFFFFFF, {0xFF, 0xFF, 0xFF, 0xFF, 0x0F}}};
  for (const Row& row : rows) {
    CHECK(octets_of([&](Writer& w) { w.uvarint(row.value); }) == row.octets);
  }
}

TEST_CASE("writer: a text of 127 octets and more has a length of two") {
  for (size_t size : {126u, 127u, 128u, 16383u}) {
    const std::string text(size, 'x');
    Window window(17000);
    window.writer.string(text);
    REQUIRE(window.writer.ok());
    const uint32_t length = size + 1 < 128 ? 1 : size + 1 < 16384 ? 2 : 3;
    CHECK(window.writer.size() == length + size);
  }
}

TEST_CASE("writer: Reader reads what Writer wrote") {
  Window window(128);
  write_all(window.writer);
  REQUIRE(window.writer.ok());
  const uint32_t size = window.writer.size();
  Reader in;
  in.attach(window.memory.get(), size);
  in.filled(size);
  in.begin_frame(size);
  CHECK(in.i32() == 0x01020304);
  CHECK(in.i8() == -2);
  CHECK(in.i8() == 1);
  CHECK(in.i16() == -300);
  CHECK(in.i32() == INT32_MIN);
  CHECK(in.i64() == INT64_MIN + 1);
  CHECK(in.uuid() == counting_uuid());
  CHECK(in.uvarint() == 0xFFFFFFFFu);
  CHECK(in.view(10) == "topic");
  CHECK(in.view(10).data() != nullptr);
  CHECK(in.view(10).data() == nullptr);
  CHECK(in.i16() == 6);
  for (char letter : std::string_view("client")) CHECK(in.i8() == letter);
  CHECK(in.array(5) == 2);
  for (int32_t i = 0; i < 2; ++i) {
    CHECK(in.i32() == i);
    CHECK(in.uvarint() == 0);
  }
  CHECK(in.array(1) == 0);
  CHECK(in.array(1) == 0);
  in.tags();
  CHECK(in.commit());
  CHECK(in.settle());
  CHECK(in.frame_left() == 0);
}

TEST_CASE("writer: every capacity too small is an overflow, nothing is written outside") {
  Window whole(128);
  write_all(whole.writer);
  const uint32_t size = whole.writer.size();
  for (uint32_t capacity = 0; capacity <= size + 3; ++capacity) {
    Window window(capacity);
    write_all(window.writer);
    CHECK(window.writer.ok() == (capacity >= size));
    CHECK(window.writer.size() <= capacity);
    if (window.writer.ok()) CHECK(window.written() == whole.written());
  }
}

TEST_CASE("writer: without memory everything overflows") {
  Writer writer;
  CHECK(writer.ok());
  CHECK(writer.has_room(0));
  CHECK_FALSE(writer.has_room(1));
  writer.raw({});
  CHECK(writer.ok());
  write_all(writer);
  CHECK_FALSE(writer.ok());
  CHECK(writer.size() == 0);
}

TEST_CASE("writer: an overflow stays until rewind, which takes it back") {
  Window window(8);
  window.writer.i32(7);
  const uint32_t mark = window.writer.size();
  window.writer.i64(1);
  CHECK_FALSE(window.writer.ok());
  CHECK_FALSE(window.writer.has_room(0));
  window.writer.i8(1);  // would fit, but something before it is missing
  window.writer.string("");
  CHECK_FALSE(window.writer.ok());
  window.writer.rewind(mark);
  CHECK(window.writer.ok());
  CHECK(window.writer.size() == mark);
  CHECK(window.writer.has_room(4));
  CHECK_FALSE(window.writer.has_room(5));
  CHECK_FALSE(window.writer.has_room(UINT32_MAX));
  window.writer.i32(9);
  CHECK(window.writer.ok());
  CHECK_FALSE(window.writer.has_room(1));
  CHECK(window.written() == Octets{0, 0, 0, 7, 0, 0, 0, 9});
}

TEST_CASE("writer: a text that does not fit is not written in part") {
  Window window(4);
  window.writer.i8(1);
  window.writer.raw(kshare::as_bytes("abcd"));
  CHECK_FALSE(window.writer.ok());
  CHECK(window.writer.size() == 1);
}

TEST_CASE("writer: arrays of any size up to kArrayMax, and arrays in arrays") {
  for (uint32_t count : {0u, 1u, 2u, Writer::kArrayMax}) {
    Window window(200);
    const uint32_t array = window.writer.begin_array();
    for (uint32_t i = 0; i < count; ++i) window.writer.i8(9);
    window.writer.end_array(array, count);
    REQUIRE(window.writer.ok());
    CHECK(window.writer.size() == count + 1);
    CHECK(window.memory[0] == count + 1);
  }
  CHECK(octets_of([](Writer& w) {
          const uint32_t outer = w.begin_array();
          for (uint32_t i = 0; i < 3; ++i) {
            const uint32_t inner = w.begin_array();
            for (uint32_t k = 0; k < i; ++k) w.i8(static_cast<int8_t>(k + 50));
            w.end_array(inner, i);
          }
          w.end_array(outer, 3);
        }) == Octets{4, 1, 2, 50, 3, 50, 51});
}

TEST_CASE("writer: entries are taken back one by one until the array fits") {
  Window window(12);
  const uint32_t array = window.writer.begin_array();
  uint32_t count = 0;
  for (;; ++count) {
    const uint32_t mark = window.writer.size();
    window.writer.i32(static_cast<int32_t>(count));
    if (!window.writer.has_room(1)) {  // the tags behind the array
      window.writer.rewind(mark);
      break;
    }
  }
  window.writer.end_array(array, count);
  window.writer.no_tags();
  CHECK(window.writer.ok());
  CHECK(window.written() == Octets{3, 0, 0, 0, 0, 0, 0, 0, 1, 0});
}

TEST_CASE("writer: patches") {
  Window window(16);
  window.writer.i32(0);
  window.writer.i8(5);
  window.writer.i64(0);
  window.writer.patch_i32(0, -2);
  window.writer.patch_i64(5, -0x0102030405060708);
  CHECK(window.writer.ok());
  CHECK(window.written() == Octets{0xFF, 0xFF, 0xFF, 0xFE, 5, 0xFE, 0xFD, 0xFC, 0xFB, 0xFA, 0xF9,
                                   0xF8, 0xF8});
  window.writer.patch_i64(5, 0x80000000);
  CHECK(window.written() == Octets{0xFF, 0xFF, 0xFF, 0xFE, 5, 0, 0, 0, 0, 0x80, 0, 0, 0});
  Window narrow(2);
  narrow.writer.i32(0);
  narrow.writer.patch_i32(0, 1);  // of something that did not fit: nothing happens
  CHECK_FALSE(narrow.writer.ok());
}

}  // namespace test_writer
