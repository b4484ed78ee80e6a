// SPDX-License-Identifier: Apache-2.0
// What:        TextOut: words and numbers put together in a buffer, without printf.
// Flow:        core/describe.hpp, core/trace_format.hpp, net/trace.hpp -> a line -> a log.
// Memory:      the caller's buffer; kLineBytes are enough for every line that kshare makes.
// Valid until: the text is the caller's. It ends with a NUL that size() leaves out.
// Errors:      none: a text longer than the buffer is cut; bytes that are no text become '?'.
#ifndef KSHARE_BASE_TEXT_HPP
#define KSHARE_BASE_TEXT_HPP

#include <cstdint>
#include <cstring>
#include <string_view>

#include "kshare/base/bytes.hpp"
#include "kshare/base/time.hpp"

namespace kshare {

inline constexpr uint32_t kLineBytes = 256;

// Appends to out[0..room) what fits and keeps it ended by a NUL.
class TextOut {
 public:
  TextOut(char* out, uint32_t room) : out_(out), left_(room == 0 ? 0 : room - 1) {
    if (room != 0) *out = '\0';
  }
  uint32_t size() const { return used_; }

  // Text of ours.
  TextOut& operator<<(const char* text) { return append({text, std::strlen(text)}); }
  // Text of somebody else's: no line breaks, no control sequences in a log.
  TextOut& operator<<(std::string_view text) {
    for (const char c : text) {
      const auto octet = static_cast<uint8_t>(c);
      append({octet < 0x20 || octet == 0x7F ? "?" : &c, 1});
    }
    return *this;
  }
  TextOut& operator<<(int64_t value) {
    char digits[20];
    uint32_t at = sizeof digits;
    auto left = static_cast<uint64_t>(value);
    if (value < 0) left = 0 - left;
    do {
      digits[--at] = static_cast<char>('0' + left % 10);
      left /= 10;
    } while (left != 0 && at != 1);  // 2^63 has 19 digits
    if (value < 0) digits[--at] = '-';
    return append({digits + at, sizeof digits - at});
  }
  TextOut& operator<<(int32_t value) { return *this << int64_t{value}; }
  // "12.345": seconds.
  TextOut& operator<<(Instant at) {
    const int64_t ms = at.ms < 0 ? -(at.ms % 1000) : at.ms % 1000;
    *this << at.ms / 1000 << ".";
    return *this << ms / 100 << ms / 10 % 10 << ms % 10;
  }

 private:
  TextOut& append(std::string_view text) {
    if (left_ == 0) return *this;
    const uint32_t count = copy_text(out_ + used_, left_, text);
    used_ += count;
    left_ -= count;
    out_[used_] = '\0';
    return *this;
  }

  char* out_;
  uint32_t left_;
  uint32_t used_ = 0;
};

}  // namespace kshare

#endif  // KSHARE_BASE_TEXT_HPP
