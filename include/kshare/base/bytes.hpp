// SPDX-License-Identifier: Apache-2.0
// What:        Span<T>: a pointer and a count, checked on access; Bytes and MutableBytes are spans
//              of octets.
// Flow:        used everywhere below include/kshare.
// Memory:      a view, it owns nothing. data == nullptr means "null", which Kafka keeps apart from
//              "empty".
// Valid until: whoever lends the span says so.
// Errors:      an index out of range is a bug and asserts.
#ifndef KSHARE_BASE_BYTES_HPP
#define KSHARE_BASE_BYTES_HPP

#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>

#include "kshare/base/assert.hpp"

namespace kshare {

template <typename T>
struct Span {
  T* data = nullptr;
  uint32_t size = 0;

  constexpr T& operator[](uint32_t index) const {
    KSHARE_ASSERT(index < size);
    return data[index];
  }
  constexpr T* begin() const { return data; }
  constexpr T* end() const { return data + size; }
  constexpr bool empty() const { return size == 0; }
  constexpr bool is_null() const { return data == nullptr; }

  // The octets as text; "" for null and for empty.
  std::string_view text() const {
    if (size == 0) return {};
    return {reinterpret_cast<const char*>(data), size};
  }
};

// `object` as it is made, in place: assigning T{} would first make one on the stack.
template <typename T>
T& make_anew(T& object) {
  return *::new (static_cast<void*>(&object)) T{};
}

using Bytes = Span<const uint8_t>;
using MutableBytes = Span<uint8_t>;

inline Bytes as_bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), static_cast<uint32_t>(text.size())};
}

// Numbers in network order.
inline uint16_t load_be16(const uint8_t* p) { return static_cast<uint16_t>(p[0] << 8 | p[1]); }
inline uint32_t load_be32(const uint8_t* p) {
  return (static_cast<uint32_t>(p[0]) << 24) | (static_cast<uint32_t>(p[1]) << 16) |
         (static_cast<uint32_t>(p[2]) << 8) | p[3];
}
inline int64_t load_be64(const uint8_t* p) {
  return static_cast<int64_t>((static_cast<uint64_t>(load_be32(p)) << 32) | load_be32(p + 4));
}

// A text of ours, whose length is known where it is written.
template <size_t N>
constexpr std::string_view literal(const char (&text)[N]) {
  return {text, N - 1};
}

// Copies as much of `from` as fits into to[0..room) and answers how many characters that was.
inline uint32_t copy_text(char* to, uint32_t room, std::string_view from) {
  const uint32_t count = from.size() < room ? static_cast<uint32_t>(from.size()) : room;
  if (count != 0) std::memcpy(to, from.data(), count);
  return count;
}

// Apart: what string_view brings for it stands in line, with copies of both.
__attribute__((noinline)) inline bool same_text(std::string_view a, std::string_view b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

}  // namespace kshare

#endif  // KSHARE_BASE_BYTES_HPP
