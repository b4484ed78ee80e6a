// SPDX-License-Identifier: Apache-2.0
// What:        the fields inside one record (format v2): zigzag varints, key, value, headers.
// Flow:        bytes of one record -> Cursor -> record/splitter.hpp and the Record view.
// Memory:      views only.
// Errors:      ok() turns false on the first field that does not fit and stays so.
//              Headers::Iterator walks fields that parse_fields() has checked before the record was
//              handed out.
// Source:      protocol "Record batch v2": varints are zigzag, a length of -1 is null.
#ifndef KSHARE_RECORD_FIELDS_HPP
#define KSHARE_RECORD_FIELDS_HPP

#include <cstdint>

#include "kshare/base/bytes.hpp"
#include "kshare/record/record.hpp"

namespace kshare {

// Octets of the longest number: base-128 groups.
template <typename Unsigned>
inline constexpr uint32_t kGroupsMax = sizeof(Unsigned) == 4 ? 5 : 10;

// Groups, least significant first. kGroupsMax octets must be there to be read, whatever they are:
// one look at the room for all of a number, as this is done six times a record. False: too long.
template <typename Unsigned>
inline bool read_groups(const uint8_t*& at, Unsigned& value) {
  value = *at++;
  if (value < 0x80u) return true;  // most are one octet
  value &= 0x7Fu;
  for (uint32_t shift = 7; shift < 7 * kGroupsMax<Unsigned>; shift += 7) {
    const uint8_t next = *at++;
    value |= static_cast<Unsigned>(next & 0x7Fu) << shift;
    if (next < 0x80u) return sizeof(Unsigned) != 4 || shift != 28 || next <= 0x0Fu;
  }
  return false;
}
template <typename Unsigned>
constexpr Unsigned from_zigzag(Unsigned value) {
  return (value >> 1) ^ (0 - (value & 1));
}

class Cursor {
 public:
  Cursor(const uint8_t* at, const uint8_t* end) : at_(at), end_(end) {}

  bool ok() const { return ok_; }
  const uint8_t* at() const { return at_; }
  uint32_t left() const { return static_cast<uint32_t>(end_ - at_); }

  int32_t varint() { return static_cast<int32_t>(from_zigzag(groups())); }
  // A length and that many octets; length -1 is null.
  Bytes bytes() {
    const uint32_t length = groups();  // as zigzag leaves it: 1 is -1, odd is negative
    if (length == 1) return {};
    const uint32_t size = length >> 1;
    if ((length & 1u) != 0 || size > left()) ok_ = false;
    if (!ok_) return {};
    const Bytes field{at_, size};
    at_ += size;
    return field;
  }

 private:
  // 0 if there is no number.
  uint32_t groups() {
    if (at_ == end_) {
      ok_ = false;
      return 0;
    }
    uint32_t value = *at_++;
    if (value < 0x80u) return value;  // most are one octet
    value &= 0x7Fu;
    for (uint32_t shift = 7; shift < 7 * kGroupsMax<uint32_t> && at_ != end_; shift += 7) {
      const uint8_t next = *at_++;
      value |= (next & 0x7Fu) << shift;
      if (next >= 0x80u) continue;
      if (shift == 28 && next > 0x0Fu) break;
      return value;
    }
    ok_ = false;
    return 0;
  }

  const uint8_t* at_;
  const uint8_t* end_;
  bool ok_ = true;
};

inline void Headers::Iterator::read() {
  if (left_ == 0) return;
  Cursor cursor{at_, end_};
  header_.key = cursor.bytes().text();
  header_.value = cursor.bytes();
  at_ = cursor.at();
}

// Key, value and headers of one record, from behind its offset delta to its end. False: malformed.
inline bool parse_fields(Bytes body, Record& record) {
  Cursor cursor{body.begin(), body.end()};
  record.key = cursor.bytes();
  record.value = cursor.bytes();
  const int32_t count = cursor.varint();
  if (!cursor.ok() || count < 0 || static_cast<uint32_t>(count) > cursor.left()) return false;
  record.headers =
      Headers{{cursor.at(), cursor.left()}, static_cast<uint32_t>(count)};
  for (int32_t i = 0; i < count && cursor.ok(); ++i) {
    if (cursor.bytes().is_null()) return false;  // a header's key is never null
    static_cast<void>(cursor.bytes());
  }
  return cursor.ok() && cursor.left() == 0;
}

}  // namespace kshare

#endif  // KSHARE_RECORD_FIELDS_HPP
