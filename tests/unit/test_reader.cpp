// SPDX-License-Identifier: Apache-2.0
// wire/reader.hpp: every primitive, every way to cut a message, and what hostile bytes can say.
// Windows and messages are heap blocks of exactly their size, so that a sanitizer sees each octet.
#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kshare/wire/reader.hpp"

namespace test_reader {
namespace {

using kshare::Bytes;
using kshare::MutableBytes;
using kshare::Reader;
using kshare::Uuid;
using Message = std::vector<uint8_t>;

uint32_t count_of(const Message& message) {
  return static_cast<uint32_t>(message.size() & 0xFFFFFFFFu);
}

// A Reader over a window of its own.
struct Window {
  explicit Window(uint32_t capacity) : memory(new uint8_t[capacity]) {
    reader.attach(memory.get(), capacity);
  }
  // As much of message[at...] as fits, at most `limit`; answers how much that was.
  uint32_t feed(const Message& message, uint32_t at, uint32_t limit = UINT32_MAX) {
    const MutableBytes space = reader.space();
    uint32_t count = count_of(message) - at;
    if (count > limit) count = limit;
    if (count > space.size) count = space.size;
    if (count != 0) std::memcpy(space.data, message.data() + at, count);
    reader.filled(count);
    return count;
  }

  std::unique_ptr<uint8_t[]> memory;
  Reader reader;
};

// A window that holds all of `message`, which is one frame.
struct Whole : Window {
  explicit Whole(const Message& message) : Window(count_of(message) + 1) {
    feed(message, 0);
    reader.begin_frame(count_of(message));
  }
};

Message varint(uint32_t value) {
  Message octets;
  for (; value >= 0x80u; value >>= 7) octets.push_back(static_cast<uint8_t>(value | 0x80u));
  octets.push_back(static_cast<uint8_t>(value));
  return octets;
}

struct Builder {
  Message octets;

  Builder& raw(std::initializer_list<int> values) {
    for (int value : values) octets.push_back(static_cast<uint8_t>(value));
    return *this;
  }
  Builder& uvarint(uint32_t value) {
    const Message encoded = varint(value);
    octets.insert(octets.end(), encoded.begin(), encoded.end());
    return *this;
  }
  Builder& text(const std::string& value) {
    uvarint(static_cast<uint32_t>(value.size() + 1));
    octets.insert(octets.end(), value.begin(), value.end());
    return *this;
  }
  Builder& tag(uint32_t number, const std::string& value) {
    uvarint(number).uvarint(static_cast<uint32_t>(value.size() & 0xFFFFu));
    octets.insert(octets.end(), value.begin(), value.end());
    return *this;
  }
};

std::string letters(size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) text.push_back(static_cast<char>('a' + i % 26));
  return text;
}

// ---- A decoder with every kind of step, written as those in message/ are. What it reads goes into
// a log, which must not depend on how the message was cut.
class Sample {
 public:
  static constexpr uint32_t kNameMax = 12;  // the widest element: the window must hold 13 octets
  static constexpr uint32_t kElementMax = 16;

  std::string log;

  // True when the whole frame has been read.
  bool run(Reader& in) {
    while (in.settle()) {
      if (at_ == 10) {
        if (in.frame_left() != 0) in.fail();  // more than the schema knows
        return !in.malformed();
      }
      if (!(at_ < 5 ? plain(in) : at_ < 8 ? entry(in) : tail(in))) return false;
    }
    return false;
  }

 private:
  template <class... Values>
  bool done(Reader& in, uint32_t next, Values... values) {
    if (!in.commit()) return false;
    ((log += std::to_string(values) + ' '), ...);
    at_ = next;
    return true;
  }

  bool plain(Reader& in) {
    switch (at_) {
      case 0: {
        const int8_t small = in.i8();
        return done(in, 1, small, in.i16());
      }
      case 1: {
        const int32_t first = in.i32();
        return done(in, 2, first, in.u32());
      }
      case 2: return done(in, 3, in.i64());
      case 3: {
        const Uuid id = in.uuid();
        return done(in, 4, id.octets[0], id.octets[15]);
      }
      default: {
        const uint32_t value = in.uvarint();
        const uint32_t count = in.array(4);
        if (!done(in, count == 0 ? 8 : 5, value, count)) return false;
        entries_ = count;
        return true;
      }
    }
  }
  bool entry(Reader& in) {
    switch (at_) {
      case 5: {
        const std::string_view name = in.view(kNameMax);
        const std::string text(name);
        if (!done(in, 6)) return false;
        log += '"' + text + "\" ";
        return true;
      }
      case 6:
        if (copied_ == nullptr) copied_.reset(new char[5]);
        std::memset(copied_.get(), '.', 5);
        size_ = in.copy(copied_.get(), 5);
        in.tags();  // behind the text
        return done(in, 7);
      default:  // settle() has paid for the text
        in.skip_text();
        in.tags();
        if (!done(in, entries_ == 1 ? 8 : 5)) return false;
        log += std::string(copied_.get(), size_) + ' ';
        --entries_;
        return true;
    }
  }
  bool tail(Reader& in) {
    if (at_ == 8) {
      if (records_ == UINT32_MAX) {
        in.skip(in.array(4), 4);  // an array of int32 that nobody wants
        if (!done(in, 8)) return false;
        records_ = UINT32_MAX - 1;
        return true;
      }
      const uint32_t size = in.uvarint();
      if (!done(in, 9, size)) return false;
      records_ = size;
      return true;
    }
    while (records_ != 0) {
      const Bytes piece = in.peek(records_);
      if (piece.empty()) {
        if (in.frame_left() == 0) in.fail();
        return false;
      }
      log += piece.text();
      in.consume(piece.size);
      records_ -= piece.size;
    }
    in.tags();
    return done(in, 10);
  }

  uint32_t at_ = 0;
  uint32_t entries_ = 0;
  uint32_t size_ = 0;
  uint32_t records_ = UINT32_MAX;
  std::unique_ptr<char[]> copied_;
};

Message sample_message() {
  Builder b;
  b.raw({-2, 0x80, 0x01});
  b.raw({0xFF, 0xFF, 0xFF, 0xFD, 0xFE, 0xDC, 0xBA, 0x98});
  b.raw({0x80, 0, 0, 0, 0, 0, 0, 1});
  for (int i = 0; i < 16; ++i) b.raw({0xA0 + i});
  b.uvarint(300).uvarint(4);  // three entries
  b.text("name").text("copied, but not all of it");
  b.uvarint(2).tag(0, "tagged").tag(7, "").text(letters(40)).uvarint(0);
  b.uvarint(0).uvarint(0).uvarint(0).uvarint(0).uvarint(0);  // null texts, no tags
  b.text(letters(12)).text("abc").uvarint(0).text("").uvarint(1).tag(200, letters(130));
  b.uvarint(6);  // five int32
  for (int i = 0; i < 20; ++i) b.raw({0xFF});
  b.uvarint(50);
  b.octets.insert(b.octets.end(), 50, 'r');
  b.uvarint(1).tag(3, letters(33));
  return b.octets;
}

enum class End { done, malformed, hungry };

// Runs a Sample over `message`, whose pieces are `first` octets and then `rest` octets each.
End run_sample(const Message& message, uint32_t frame, uint32_t capacity, uint32_t first,
               uint32_t rest, std::string& log) {
  Window window(capacity);
  window.reader.begin_frame(frame);
  Sample sample;
  uint32_t at = 0;
  uint32_t piece = first;
  End end = End::hungry;
  for (uint32_t turns = 0;; ++turns) {
    if (turns > 20000) FAIL("turns for ever");
    if (sample.run(window.reader)) {
      end = End::done;
      break;
    }
    if (window.reader.malformed()) {
      end = End::malformed;
      break;
    }
    if (at == count_of(message)) break;
    if (window.reader.space().empty()) FAIL("stuck: full, unread and yet not malformed");
    if (piece == 0) piece = rest;
    const uint32_t count = window.feed(message, at, piece);
    at += count;
    piece -= count;
  }
  log = sample.log;
  return end;
}

const char kSampleLog[] =
    "-2 -32767 -3 4275878552 -9223372036854775807 160 175 300 3 \"name\" copie \"\"  "
    "\"abcdefghijkl\" abc 50 rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr";

}  // namespace

TEST_CASE("reader: fixed-width integers") {
  const Message message = Builder{}
                              .raw({0x80, 0x7F, 0xFF, 0x80, 0x00, 0x12, 0x34})
                              .raw({0x80, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE})
                              .raw({0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF})
                              .raw({0x80, 0, 0, 0, 0, 0, 0, 0})
                              .raw({0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08})
                              .octets;
  Whole window(message);
  Reader& in = window.reader;
  REQUIRE(in.settle());
  CHECK(in.i8() == -128);
  CHECK(in.i8() == 127);
  CHECK(in.i8() == -1);
  CHECK(in.i16() == -32768);
  CHECK(in.i16() == 0x1234);
  CHECK(in.i32() == INT32_MIN);
  CHECK(in.i32() == INT32_MAX);
  CHECK(in.u32() == 0xFFFFFFFEu);
  CHECK(in.i64() == INT64_MAX);
  CHECK(in.i64() == INT64_MIN);
  CHECK(in.i64() == 0x0102030405060708);
  CHECK(in.commit());
  CHECK(in.frame_left() == 0);
  CHECK(in.available() == 0);
}

TEST_CASE("reader: uvarint at its boundaries") {
  for (uint32_t value : {0u, 1u, 127u, 128u, 300u, 16383u, 16384u, 2097151u, 2097152u, 268435455u,
                         268435456u, 0x7FFFFFFFu, 0x80000000u, 0xFFFFFFFFu}) {
    Whole window(varint(value));
    CHECK(window.reader.uvarint() == value);
    CHECK(window.reader.commit());
    CHECK(window.reader.frame_left() == 0);
  }
  Whole padded({0x85, 0x80, 0x00});  // longer than it must be, but within five octets
  CHECK(padded.reader.uvarint() == 5);
  CHECK(padded.reader.commit());
}

TEST_CASE("reader: a uvarint beyond 32 bits is malformed") {
  const Message bad[] = {{0xFF, 0xFF, 0xFF, 0xFF, 0x10},
                         {0xFF, 0xFF, 0xFF, 0xFF, 0x7F},
                         {0x80, 0x80, 0x80, 0x80, 0x80, 0x00},
                         {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01}};
  for (const Message& message : bad) {
    Whole window(message);
    static_cast<void>(window.reader.uvarint());
    CHECK_FALSE(window.reader.commit());
    CHECK(window.reader.malformed());
    CHECK_FALSE(window.reader.settle());  // and stays so
    CHECK_FALSE(window.reader.commit());
  }
}

TEST_CASE("reader: uuid") {
  Message message;
  for (uint8_t i = 0; i < 16; ++i) message.push_back(static_cast<uint8_t>(i * 17));
  Whole window(message);
  const Uuid id = window.reader.uuid();
  CHECK(window.reader.commit());
  CHECK(std::memcmp(id.octets, message.data(), 16) == 0);
  CHECK_FALSE(id.is_zero());
  CHECK(id != Uuid{});
  CHECK_FALSE(id != id);
}

TEST_CASE("reader: view keeps null and empty apart, and has a limit") {
  const Message message = Builder{}.raw({0}).text("").text("topic").octets;
  Whole window(message);
  const std::string_view null = window.reader.view(10);
  CHECK(null.data() == nullptr);
  CHECK(null.empty());
  const std::string_view empty = window.reader.view(10);
  CHECK(empty.data() != nullptr);
  CHECK(empty.empty());
  CHECK(window.reader.view(5) == "topic");
  CHECK(window.reader.commit());

  Whole longer(Builder{}.text("topics").octets);
  CHECK(longer.reader.view(5).data() == nullptr);
  CHECK_FALSE(longer.reader.commit());
  CHECK(longer.reader.malformed());
}

TEST_CASE("reader: array counts are held against the rest of the frame") {
  struct Row {
    Message message;
    uint32_t entry_bytes_min;
    uint32_t count;
    bool good;
  };
  const Row rows[] = {
      {{0}, 1, 0, true},                                // null
      {{1}, 1, 0, true},                                // empty
      {{3, 9, 9}, 1, 2, true},                          // just fits
      {{4, 9, 9}, 1, 0, false},                         // one too many
      {{3, 9, 9, 9, 9}, 2, 2, true},                    //
      {{3, 9, 9, 9}, 2, 0, false},                      //
      {{0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 9}, 1, 0, false}  // 2^32 - 2 of them
  };
  for (const Row& row : rows) {
    Whole window(row.message);
    CHECK(window.reader.array(row.entry_bytes_min) == row.count);
    CHECK(window.reader.commit() == row.good);
    CHECK(window.reader.malformed() != row.good);
  }
}

TEST_CASE("reader: the sample in one piece") {
  const Message message = sample_message();
  std::string log;
  CHECK(run_sample(message, count_of(message), count_of(message), count_of(message), 1, log) ==
        End::done);
  CHECK(log == kSampleLog);
}

TEST_CASE("reader: every piece size in every window gives what one piece gives") {
  const Message message = sample_message();
  std::string log;
  for (uint32_t capacity = Sample::kElementMax; capacity <= count_of(message) + 1; ++capacity) {
    for (uint32_t piece = 1; piece <= count_of(message); piece += piece < 40 ? 1 : 29) {
      const End end = run_sample(message, count_of(message), capacity, piece, piece, log);
      if (end != End::done || log != kSampleLog) FAIL(capacity << " " << piece << " " << log);
    }
  }
}

TEST_CASE("reader: every split in two, in a wide and in the narrowest window") {
  const Message message = sample_message();
  std::string log;
  for (uint32_t capacity : {Sample::kElementMax, 64u, count_of(message)}) {
    for (uint32_t first = 0; first <= count_of(message); ++first) {
      const End end = run_sample(message, count_of(message), capacity, first, UINT32_MAX, log);
      if (end != End::done || log != kSampleLog) FAIL(capacity << " " << first << " " << log);
    }
  }
}

TEST_CASE("reader: every prefix that claims to be whole is malformed, one that does not waits") {
  const Message message = sample_message();
  std::string log;
  for (uint32_t size = 0; size < count_of(message); ++size) {
    const Message prefix(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(size));
    for (uint32_t capacity : {Sample::kElementMax, 400u}) {
      if (run_sample(prefix, size, capacity, size, 1, log) != End::malformed) FAIL(size);
      if (run_sample(prefix, size, capacity, 1, 1, log) != End::malformed) FAIL(size);
      const End end = run_sample(prefix, count_of(message), capacity, 3, 3, log);
      if (end != End::hungry) FAIL(size);
    }
  }
}

TEST_CASE("reader: every octet replaced by every value ends, whatever it ends as") {
  const Message message = sample_message();
  std::string log;
  std::string whole;
  for (size_t at = 0; at < message.size(); ++at) {
    for (int value = 0; value < 256; value += at % 3 == 0 ? 1 : 5) {
      Message other = message;
      other[at] = static_cast<uint8_t>(value);
      const uint32_t size = count_of(other);
      const End end = run_sample(other, size, size, size, 1, whole);
      const End cut = run_sample(other, size, Sample::kElementMax, 7, 7, log);
      if (end != cut) FAIL(at << " " << value);
      if (end == End::done && log != whole) FAIL(at << " " << value);
    }
  }
}

TEST_CASE("reader: a frame that ends inside a primitive is malformed, though octets follow") {
  const Message message(64, 0x01);
  const auto cut = [&](uint32_t frame, auto&& read) {
    Window window(64);
    window.feed(message, 0);
    window.reader.begin_frame(frame);
    read(window.reader);
    CHECK_FALSE(window.reader.commit());
    CHECK(window.reader.malformed());
  };
  cut(0, [](Reader& in) { CHECK(in.i8() == 0); });
  cut(1, [](Reader& in) { CHECK(in.i16() == 0); });
  cut(3, [](Reader& in) { CHECK(in.i32() == 0); });
  cut(7, [](Reader& in) { CHECK(in.i64() == 0); });
  cut(15, [](Reader& in) { CHECK(in.uuid().is_zero()); });
  cut(0, [](Reader& in) { CHECK(in.uvarint() == 0); });
  cut(0, [](Reader& in) { CHECK(in.array(1) == 0); });
  cut(0, [](Reader& in) { CHECK(in.view(9).empty()); });
  cut(0, [](Reader& in) { in.tags(); });
  cut(0, [](Reader& in) { in.skip_text(); });
  cut(3, [](Reader& in) { in.skip(1, 4); });
  cut(6, [](Reader& in) {  // inside the second of two
    CHECK(in.i32() == 0x01010101);
    CHECK(in.i32() == 0);
    CHECK(in.i64() == 0);  // what comes after a failure reads as zero
  });
}

TEST_CASE("reader: lengths beyond the frame are malformed before anything is skipped or copied") {
  char text[4] = {'.', '.', '.', '.'};
  const auto hostile = [&](const Message& message, auto&& read) {
    Whole window(message);
    read(window.reader);
    CHECK_FALSE(window.reader.commit());
    CHECK(window.reader.malformed());
    CHECK(window.reader.available() == message.size());
  };
  const Message four_g = {0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 'x', 'y'};
  hostile(four_g, [&](Reader& in) { CHECK(in.copy(text, 4) == 0); });
  hostile(four_g, [](Reader& in) { in.skip_text(); });
  hostile(four_g, [](Reader& in) { CHECK(in.view(UINT32_MAX).empty()); });
  hostile({4, 'x', 'y'}, [&](Reader& in) { CHECK(in.copy(text, 4) == 0); });
  hostile({4, 'x', 'y'}, [](Reader& in) { in.skip_text(); });
  hostile({4, 'x', 'y'}, [](Reader& in) { CHECK(in.view(10).empty()); });
  hostile({1, 2, 3, 4}, [](Reader& in) { in.skip(0x40000001u, 4); });  // 4 modulo 2^32
  hostile({1, 2, 3, 4}, [](Reader& in) { in.skip(5, 1); });
  hostile({1, 2, 3, 4}, [](Reader& in) { in.skip(1, UINT32_MAX); });
  CHECK(std::string(text, 4) == "....");
}

TEST_CASE("reader: tagged fields that lie about their number or size") {
  const Message bad[] = {{0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0, 0, 0, 0},  // 2^32 - 1 of them
                         {1},                                         // none behind the count
                         {1, 5},
                         {1, 5, 2, 'x'},
                         {2, 5, 1, 'x'},
                         {1, 5, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 'x'},
                         {1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 'x'}};
  for (const Message& message : bad) {
    Whole window(message);
    window.reader.tags();
    CHECK(window.reader.commit());
    CHECK_FALSE(window.reader.settle());
    CHECK(window.reader.malformed());
  }
}

TEST_CASE("reader: an element that can never fit is malformed once the window is full") {
  const Message message = Builder{}.text(letters(20)).octets;
  Window window(16);
  window.reader.begin_frame(count_of(message));
  uint32_t at = 0;
  while (at < 16) {
    CHECK(window.reader.view(40).empty());
    CHECK_FALSE(window.reader.commit());
    CHECK_FALSE(window.reader.malformed());
    at += window.feed(message, at, 1);
  }
  CHECK(window.reader.view(40).empty());
  CHECK_FALSE(window.reader.commit());
  CHECK(window.reader.malformed());
}

TEST_CASE("reader: a text longer than the window is copied as far as there is room") {
  for (uint32_t room : {0u, 1u, 19u, 20u, 21u, 99u, 100u, 101u}) {
    const Message message = Builder{}.text(letters(100)).raw({0x12, 0x34}).octets;
    Window window(16);
    window.reader.begin_frame(count_of(message));
    const uint32_t fits = room < 100 ? room : 100;
    std::unique_ptr<char[]> text(new char[room + 1]);
    uint32_t at = window.feed(message, 0);
    CHECK(window.reader.copy(text.get(), room) == fits);
    REQUIRE(window.reader.commit());
    while (!window.reader.settle()) {
      REQUIRE_FALSE(window.reader.malformed());
      const uint32_t count = window.feed(message, at);
      REQUIRE(count != 0);
      at += count;
    }
    CHECK(std::string(text.get(), fits) == letters(100).substr(0, fits));
    window.feed(message, at);
    CHECK(window.reader.i16() == 0x1234);
    CHECK(window.reader.commit());
    CHECK(window.reader.frame_left() == 0);
  }
}

TEST_CASE("reader: copy of null and of empty gives nothing and owes nothing") {
  Whole window({0, 1, 7});
  char text[4];
  CHECK(window.reader.copy(text, 4) == 0);
  CHECK(window.reader.copy(text, 4) == 0);
  CHECK(window.reader.i8() == 7);
  CHECK(window.reader.commit());
}

TEST_CASE("reader: tags behind a copy or a skip of the same step") {
  for (uint32_t capacity : {4u, 8u, 64u}) {
    for (uint32_t size : {0u, 1u, 3u, 30u}) {
      Builder b;
      b.text(letters(size)).uvarint(2).tag(1, "one").tag(2, letters(9)).raw({42});
      const Message& message = b.octets;
      Window window(capacity);
      window.reader.begin_frame(count_of(message));
      uint32_t at = window.feed(message, 0);
      window.reader.skip_text();
      window.reader.tags();
      REQUIRE(window.reader.commit());
      while (!window.reader.settle()) {
        REQUIRE_FALSE(window.reader.malformed());
        at += window.feed(message, at, 1);
      }
      window.feed(message, at);
      CHECK(window.reader.i8() == 42);
      CHECK(window.reader.commit());
      CHECK(window.reader.frame_left() == 0);
    }
  }
}

TEST_CASE("reader: a step that ran short is read again from its beginning") {
  const Message message = {0, 0, 0, 5, 0, 9};
  Window window(8);
  window.reader.begin_frame(6);
  for (uint32_t at = 0; at < 6; ++at) {
    static_cast<void>(window.reader.i32());
    static_cast<void>(window.reader.i16());
    CHECK_FALSE(window.reader.commit());
    CHECK(window.reader.frame_left() == 6);
    CHECK(window.reader.available() == at);
    CHECK(window.feed(message, at, 1) == 1);
  }
  CHECK(window.reader.i32() == 5);
  CHECK(window.reader.i16() == 9);
  CHECK(window.reader.commit());
}

TEST_CASE("reader: nothing is read beyond the frame, and the next one follows") {
  const Message message = {0, 7, 1, 0, 8, 0};
  Window window(6);
  window.feed(message, 0);
  for (int16_t expected : {int16_t{7}, int16_t{8}}) {
    window.reader.begin_frame(3);
    CHECK(window.reader.i16() == expected);
    REQUIRE(window.reader.commit());
    if (expected == 7) {
      CHECK(window.reader.peek(99).size == 1);
      window.reader.consume(1);
    } else {
      window.reader.tags();
      REQUIRE(window.reader.commit());
    }
    CHECK(window.reader.frame_left() == 0);
    CHECK(window.reader.peek(99).empty());
  }
  CHECK(window.reader.available() == 0);
}

TEST_CASE("reader: abandon_frame passes over the rest, wherever it is called") {
  const Message message = Builder{}.text(letters(30)).uvarint(3).tag(1, "x").raw({1, 2, 77}).octets;
  char text[40];
  for (int when = 0; when < 4; ++when) {
    Window window(16);
    const uint32_t frame = count_of(message) - 1;  // 77 is the next frame
    window.reader.begin_frame(frame);
    uint32_t at = window.feed(message, 0);
    if (when == 1) static_cast<void>(window.reader.i32());  // in the middle of a step
    if (when >= 2) {
      static_cast<void>(window.reader.copy(text, 40));
      window.reader.tags();
      REQUIRE(window.reader.commit());
    }
    if (when == 3) CHECK_FALSE(window.reader.settle());
    window.reader.abandon_frame();
    std::memset(text, '.', sizeof text);
    while (!window.reader.settle()) at += window.feed(message, at);
    CHECK(text[39] == '.');
    CHECK(text[0] == '.');  // nothing is copied any more
    CHECK(window.reader.frame_left() == 0);
    window.feed(message, at);
    window.reader.begin_frame(1);
    CHECK(window.reader.i8() == 77);
    CHECK(window.reader.commit());
  }
}

TEST_CASE("reader: space() is empty in a window full of unread octets, and whole in one read") {
  const Message message = {1, 2, 3, 4, 5, 6, 7, 8};
  Window window(4);
  CHECK(window.reader.space().size == 4);
  window.feed(message, 0);
  CHECK(window.reader.space().size == 0);
  window.reader.begin_frame(8);
  CHECK(window.reader.i8() == 1);
  CHECK(window.reader.commit());
  CHECK(window.reader.space().size == 1);  // what is unread moves to the front
  window.feed(message, 4);
  CHECK(window.reader.i32() == 0x02030405);
  CHECK(window.reader.commit());
  CHECK(window.reader.space().size == 4);
}

TEST_CASE("reader: fail() and reset()") {
  Window window(4);
  window.feed({1, 2, 3, 4}, 0);
  window.reader.begin_frame(4);
  window.reader.fail();
  CHECK(window.reader.malformed());
  CHECK_FALSE(window.reader.settle());
  CHECK(window.reader.i32() == 0);
  CHECK_FALSE(window.reader.commit());
  window.reader.reset();
  CHECK_FALSE(window.reader.malformed());
  CHECK(window.reader.available() == 0);
  CHECK(window.reader.frame_left() == 0);
  CHECK(window.reader.space().size == 4);
  window.feed({0, 0, 0, 9}, 0);
  window.reader.begin_frame(4);
  CHECK(window.reader.i32() == 9);
  CHECK(window.reader.commit());
}

}  // namespace test_reader
