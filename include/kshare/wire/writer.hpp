// SPDX-License-Identifier: Apache-2.0
// What:        Writer: integers and strings into a send window, for one request.
// Flow:        message/ encoders and core/session.hpp -> Writer -> core/link.hpp sends the window.
// Memory:      the link's send window; nothing of its own.
// Errors:      ok() turns false when something did not fit and stays so until rewind(); one check a
//              request is enough.
//
// Arrays are begun, filled and ended: their count is one octet that end_array() sets, so an array
// of ours holds at most kArrayMax entries; whoever has more sends them in the next request.
#ifndef KSHARE_WIRE_WRITER_HPP
#define KSHARE_WIRE_WRITER_HPP

#include <cstdint>
#include <cstring>
#include <string_view>

#include "kshare/base/assert.hpp"
#include "kshare/base/bytes.hpp"
#include "kshare/wire/uuid.hpp"

namespace kshare {

class Writer {
 public:
  static constexpr uint32_t kArrayMax = 126;

  Writer() = default;
  Writer(uint8_t* memory, uint32_t capacity) : base_(memory), capacity_(capacity) {}

  bool ok() const { return ok_; }
  uint32_t size() const { return size_; }
  // Takes everything behind `size` back, an overflow included.
  void rewind(uint32_t size) {
    KSHARE_ASSERT(size <= size_);
    size_ = size;
    ok_ = true;
  }
  // Leaves `count` octets free for what must still follow.
  bool has_room(uint32_t count) const { return ok_ && capacity_ - size_ >= count; }

  void i8(int8_t value) { put(static_cast<uint8_t>(value)); }
  void boolean(bool value) { put(value ? 1 : 0); }
  void i16(int16_t value) {
    const auto v = static_cast<uint16_t>(value);
    put(static_cast<uint8_t>(v >> 8));
    put(static_cast<uint8_t>(v & 0xFFu));
  }
  void i32(int32_t value) {
    const auto v = static_cast<uint32_t>(value);
    for (int shift = 24; shift >= 0; shift -= 8) put(static_cast<uint8_t>((v >> shift) & 0xFFu));
  }
  void i64(int64_t value) {
    const auto v = static_cast<uint64_t>(value);
    for (int shift = 56; shift >= 0; shift -= 8) put(static_cast<uint8_t>((v >> shift) & 0xFFu));
  }
  void uuid(const Uuid& id) { raw({id.octets, 16}); }
  void uvarint(uint32_t value) {
    while (value >= 0x80u) {
      put(static_cast<uint8_t>((value & 0x7Fu) | 0x80u));
      value >>= 7;
    }
    put(static_cast<uint8_t>(value));
  }
  void string(std::string_view text) {
    uvarint(static_cast<uint32_t>(text.size()) + 1);
    raw(as_bytes(text));
  }
  void null_string() { put(0); }
  void short_string(std::string_view text) {  // the form with an int16 length, not "flexible"
    i16(static_cast<int16_t>(text.size()));
    raw(as_bytes(text));
  }
  void no_tags() { put(0); }
  void empty_array() { put(1); }
  void null_array() { put(0); }

  uint32_t begin_array() {
    put(1);
    return size_;
  }
  void end_array(uint32_t begin, uint32_t count) {
    KSHARE_ASSERT(count <= kArrayMax);
    if (ok_) base_[begin - 1] = static_cast<uint8_t>(count + 1);
  }

  void raw(Bytes bytes) {
    if (!has_room(bytes.size)) {
      ok_ = false;
      return;
    }
    if (bytes.size != 0) std::memcpy(base_ + size_, bytes.data, bytes.size);
    size_ += bytes.size;
  }
  void patch_i32(uint32_t at, int32_t value) {
    if (!ok_) return;  // what is to be patched may not have fitted
    KSHARE_ASSERT(at + 4 <= size_);
    const uint32_t end = size_;
    size_ = at;
    i32(value);
    size_ = end;
  }
  void patch_i64(uint32_t at, int64_t value) {
    patch_i32(at, static_cast<int32_t>(value >> 32));
    patch_i32(at + 4, static_cast<int32_t>(value & 0xFFFFFFFF));
  }

 private:
  void put(uint8_t octet) {
    if (!has_room(1)) {
      ok_ = false;
      return;
    }
    base_[size_++] = octet;
  }

  uint8_t* base_ = nullptr;
  uint32_t capacity_ = 0;
  uint32_t size_ = 0;
  bool ok_ = true;
};

}  // namespace kshare

#endif  // KSHARE_WIRE_WRITER_HPP
