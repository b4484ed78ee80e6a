// SPDX-License-Identifier: Apache-2.0
// What:        Reader: integers and strings out of a receive window that may hold only part of a
//              response.
// Flow:        core/link.hpp fills the window -> Reader -> message/ and record/ decoders.
// Memory:      a view of the link's window; nothing of its own.
// Valid until: a view handed out (view, peek) is gone at the next space() call.
// Errors:      malformed() once is malformed for good: a length points past the frame, or an
//              element is larger than the window can ever hold. The link is closed then.
//
// A decoder is a row of small steps. Each begins with settle(), reads one element in schema order
// and ends with commit(). If the window runs short, commit() takes the step back and answers false;
// the decoder returns and the very same step is tried again when more bytes have come. What may be
// long (texts, tagged fields, arrays nobody wants) is not read inside a step: copy(), skip() and
// tags() leave a debt behind, which settle() pays across as many windows as it takes. A step may
// owe one copy or skip, as its last act, and tags behind it.
//
//   base_        begin_            pos_          end_        base_ + capacity_
//   |  consumed  |  read by this   |  received,  |  space()  |
//   |            |  step so far    |  unread     |           |
//                |<------------- frame_left_ -------------------- ... >|
#ifndef KSHARE_WIRE_READER_HPP
#define KSHARE_WIRE_READER_HPP

#include <cstdint>
#include <cstring>
#include <string_view>

#include "kshare/base/assert.hpp"
#include "kshare/base/bytes.hpp"
#include "kshare/wire/uuid.hpp"

namespace kshare {

class Reader {
 public:
  void attach(uint8_t* memory, uint32_t capacity) {
    *this = Reader{};
    base_ = memory;
    capacity_ = capacity;
  }

  // Forgets everything received: for a new connection.
  void reset() { attach(base_, capacity_); }

  // ---- The side that fills the window.
  // Where the next bytes from the network go; empty if the window is full of unread bytes.
  MutableBytes space() {
    if (begin_ == end_) {
      begin_ = end_ = pos_ = 0;
    } else if (begin_ != 0 && end_ == capacity_) {
      std::memmove(base_, base_ + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = pos_ = 0;
    }
    return {base_ + end_, capacity_ - end_};
  }
  void filled(uint32_t count) {
    KSHARE_ASSERT(count <= capacity_ - end_);
    end_ += count;
  }

  // ---- Frames. The next `size` bytes are one response; nothing is read beyond them.
  void begin_frame(uint32_t size) {
    frame_left_ = size;
    tags_left_ = 0;
    tags_due_ = false;
    skip_left_ = 0;
    copy_room_ = 0;
  }
  uint32_t frame_left() const { return frame_left_; }
  uint32_t step_left() const { return frame_left_ - (pos_ - begin_); }  // behind what it has read
  uint32_t available() const { return end_ - begin_; }
  bool full() const { return available() == capacity_; }
  bool malformed() const { return malformed_; }
  void fail() { malformed_ = true; }
  // Gives up the rest of the frame: settle() passes over it.
  void abandon_frame() {
    tags_left_ = 0;
    tags_due_ = false;
    copy_room_ = 0;
    skip_left_ = frame_left_;
    pos_ = begin_;  // in the middle of a step, too
    failed_ = false;
    debt_ = Debt{};
  }

  // ---- Steps.
  bool settle() {
    while (!malformed_) {
      if (skip_left_ != 0) {
        if (!pay_skip()) return false;
      } else if (tags_due_) {
        tags();  // their count, which stood behind what was skipped
        if (!commit()) return false;
      } else if (tags_left_ != 0) {
        if (!pay_tag()) return false;
      } else {
        return true;
      }
    }
    return false;
  }
  bool commit() {
    if (failed_) {
      failed_ = false;
      pos_ = begin_;
      debt_ = Debt{};
      if (end_ - begin_ == capacity_) malformed_ = true;  // can never fit: no such element is legal
      return false;
    }
    if (malformed_) return false;
    frame_left_ -= pos_ - begin_;
    begin_ = pos_;
    skip_left_ = debt_.skip;
    tags_left_ = debt_.tags;
    tags_due_ = debt_.tags_due;
    copy_to_ = debt_.copy_to;
    copy_room_ = debt_.copy_room;
    debt_ = Debt{};
    return true;
  }

  int8_t i8() { return static_cast<int8_t>(take(1)[0]); }
  int16_t i16() {
    const uint8_t* p = take(2);
    return static_cast<int16_t>(static_cast<uint16_t>((p[0] << 8) | p[1]));
  }
  int32_t i32() { return static_cast<int32_t>(u32()); }
  uint32_t u32() { return load_u32(take(4)); }
  int64_t i64() {
    const uint8_t* p = take(8);
    return static_cast<int64_t>((static_cast<uint64_t>(load_u32(p)) << 32) | load_u32(p + 4));
  }
  void uuid(Uuid& id) { std::memcpy(id.octets, take(16), 16); }
  Uuid uuid() {
    Uuid id;
    uuid(id);
    return id;
  }
  // Base-128 groups, least significant first; at most five of them.
  uint32_t uvarint() {
    uint32_t value = 0;
    for (uint32_t shift = 0; shift < 35; shift += 7) {
      const uint8_t octet = take(1)[0];
      value |= (octet & 0x7Fu) << shift;
      if ((octet & 0x80u) == 0) {
        if (shift == 28 && octet > 0x0Fu) malformed_ = true;
        return value;
      }
    }
    malformed_ = true;
    return 0;
  }
  // A compact array's count. Null gives 0. Each entry needs at least `entry_bytes_min`, so a count
  // that the rest of the frame cannot hold is refused before anyone loops over it.
  uint32_t array(uint32_t entry_bytes_min) {
    const uint32_t raw = uvarint();
    const uint32_t count = raw == 0 ? 0 : raw - 1;
    if (!failed_ && uint64_t{count} * entry_bytes_min > step_left()) malformed_ = true;
    return malformed_ || failed_ ? 0 : count;
  }
  // A compact string of at most `max` octets, as a view into the window. Null gives data() ==
  // nullptr.
  std::string_view view(uint32_t max) {
    const uint32_t raw = uvarint();
    if (raw == 0) return {};
    if (raw - 1 > max) malformed_ = true;
    const uint8_t* p = take(malformed_ ? 0 : raw - 1);
    if (failed_ || malformed_) return {};
    return {reinterpret_cast<const char*>(p), raw - 1};
  }

  // ---- Debts. A compact string, copied to to[0..room) as far as it fits; answers how much will be
  // there.
  uint32_t copy(char* to, uint32_t room) {
    const uint32_t raw = uvarint();
    if (raw <= 1 || !owe(raw - 1)) return 0;
    debt_.copy_to = to;
    debt_.copy_room = room < raw - 1 ? room : raw - 1;
    return debt_.copy_room;
  }
  // A compact string that nobody wants.
  void skip_text() {
    const uint32_t raw = uvarint();
    if (raw > 1) static_cast<void>(owe(raw - 1));
  }
  // A compact string as a view, or if it is longer than `max` nothing: then it is passed over.
  std::string_view view_or_skip(uint32_t max) {
    const uint32_t raw = uvarint();
    if (raw <= 1) return {};
    if (raw - 1 > max) {
      static_cast<void>(owe(raw - 1));
      return {};
    }
    const uint8_t* p = take(raw - 1);
    if (failed_ || malformed_) return {};
    return {reinterpret_cast<const char*>(p), raw - 1};
  }
  // `count` elements of `size` octets that nobody wants.
  void skip(uint32_t count, uint32_t size) {
    if (failed_ || malformed_ || count == 0) return;
    if (uint64_t{count} * size > step_left()) {
      malformed_ = true;
      return;
    }
    static_cast<void>(owe(count * size));
  }
  // A section of tagged fields: unknown ones are legal in every flexible version.
  void tags() {
    if (debt_.skip != 0) {
      debt_.tags_due = true;
      return;
    }
    const uint32_t count = uvarint();
    if (!failed_) debt_.tags = count;
  }

  // ---- Raw bytes (record data), outside a step: what is here now, of the next `limit` octets.
  Bytes peek(uint32_t limit) const {
    uint32_t count = end_ - begin_;
    if (count > frame_left_) count = frame_left_;
    if (count > limit) count = limit;
    return {base_ + begin_, count};
  }
  void consume(uint32_t count) {
    KSHARE_ASSERT(count <= end_ - begin_ && count <= frame_left_ && pos_ == begin_);
    begin_ += count;
    pos_ = begin_;
    frame_left_ -= count;
  }

 private:
  struct Debt {
    char* copy_to = nullptr;
    uint32_t copy_room = 0;
    uint32_t skip = 0;
    uint32_t tags = 0;
    bool tags_due = false;  // the section's count is behind the skip
  };

  static uint32_t load_u32(const uint8_t* p) {
    return (static_cast<uint32_t>(p[0]) << 24) | (static_cast<uint32_t>(p[1]) << 16) |
           (static_cast<uint32_t>(p[2]) << 8) | p[3];
  }

  const uint8_t* take(uint32_t count) {
    static constexpr uint8_t kZeros[16] = {};
    if (failed_ || malformed_) return kZeros;
    if (count > step_left()) {
      malformed_ = true;
      return kZeros;
    }
    if (count > end_ - pos_) {
      failed_ = true;
      return kZeros;
    }
    pos_ += count;
    return base_ + (pos_ - count);
  }

  bool owe(uint32_t count) {
    if (failed_ || malformed_) return false;
    if (count > step_left()) {
      malformed_ = true;
      return false;
    }
    KSHARE_ASSERT(debt_.skip == 0);
    debt_.skip = count;
    return true;
  }

  // Copies and skips what has come of the debt; true once it is paid.
  bool pay_skip() {
    uint32_t count = end_ - begin_;
    if (count > skip_left_) count = skip_left_;
    const uint32_t copied = count < copy_room_ ? count : copy_room_;
    if (copied != 0) {
      std::memcpy(copy_to_, base_ + begin_, copied);
      copy_to_ += copied;
      copy_room_ -= copied;
    }
    consume(count);
    skip_left_ -= count;
    return skip_left_ == 0;
  }
  bool pay_tag() {
    const uint32_t left = tags_left_;
    static_cast<void>(uvarint());  // tag
    const uint32_t size = uvarint();
    if (size != 0) static_cast<void>(owe(size));
    if (!commit()) return false;
    tags_left_ = left - 1;
    return true;
  }

  uint8_t* base_ = nullptr;
  uint32_t capacity_ = 0;
  uint32_t begin_ = 0;
  uint32_t pos_ = 0;
  uint32_t end_ = 0;
  uint32_t frame_left_ = 0;
  uint32_t skip_left_ = 0;
  uint32_t tags_left_ = 0;
  char* copy_to_ = nullptr;
  uint32_t copy_room_ = 0;
  Debt debt_{};
  bool tags_due_ = false;
  bool failed_ = false;     // this step ran out of window
  bool malformed_ = false;  // for good
};

}  // namespace kshare

#endif  // KSHARE_WIRE_READER_HPP
