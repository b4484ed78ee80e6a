// SPDX-License-Identifier: Apache-2.0
// What:        Kafka's primitive encodings, CRC-32C and record batches, for broker and tests.
// Flow:        client bytes -> Reader -> broker -> Writer -> client. No code shared with kshare.
// Memory:      std::string throughout: this is test code and may allocate.
// Valid until: values are copies; a Reader looks at the caller's bytes and must not outlive them.
// Errors:      Reader is sticky: after a short or bad field ok() is false, reads give zero.
#ifndef MINIBROKER_CODEC_HPP
#define MINIBROKER_CODEC_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace minibroker {

using Uuid = std::array<uint8_t, 16>;

inline bool is_zero(const Uuid& id) { return id == Uuid{}; }

class Reader {
 public:
  Reader(const void* data, size_t n) : p_(static_cast<const uint8_t*>(data)), left_(n) {}
  explicit Reader(const std::string& s) : Reader(s.data(), s.size()) {}

  bool ok() const { return ok_; }
  size_t left() const { return ok_ ? left_ : 0; }
  bool done() const { return ok_ && left_ == 0; }
  void fail() { ok_ = false; }

  int8_t i8() { return static_cast<int8_t>(fixed(1)); }
  int16_t i16() { return static_cast<int16_t>(fixed(2)); }
  int32_t i32() { return static_cast<int32_t>(fixed(4)); }
  uint32_t u32() { return static_cast<uint32_t>(fixed(4)); }
  int64_t i64() { return static_cast<int64_t>(fixed(8)); }
  bool boolean() { return fixed(1) != 0; }

  Uuid uuid() {
    Uuid id{};
    for (uint8_t& b : id) b = static_cast<uint8_t>(fixed(1));
    return id;
  }

  uint64_t uvarint() {
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const uint64_t b = fixed(1);
      v |= (b & 0x7f) << shift;
      if ((b & 0x80) == 0) return v;
    }
    fail();
    return 0;
  }
  int64_t varlong() {
    const uint64_t z = uvarint();
    return static_cast<int64_t>(z >> 1) ^ -static_cast<int64_t>(z & 1);
  }

  std::string bytes(size_t n) {
    if (!ok_ || n > left_) {
      fail();
      return {};
    }
    std::string s(reinterpret_cast<const char*>(p_), n);
    p_ += n;
    left_ -= n;
    return s;
  }

  // Nullable string or bytes: compact in flexible versions, else an int16 length.
  std::optional<std::string> nullable_string(bool flexible) {
    int64_t n = flexible ? static_cast<int64_t>(uvarint() & 0xffffffffu) - 1 : i16();
    if (!ok_ || n < 0) {
      if (n < -1) fail();
      return std::nullopt;
    }
    return bytes(static_cast<size_t>(n));
  }
  std::string string(bool flexible) {
    std::optional<std::string> s = nullable_string(flexible);
    if (!s) fail();
    return s.value_or(std::string());
  }

  // Number of elements, -1 = null. A count that cannot fit the rest of the message is an error.
  int64_t array(bool flexible) {
    const int64_t n = flexible ? static_cast<int64_t>(uvarint() & 0xffffffffu) - 1 : i32();
    if (!ok_ || n < -1 || n > static_cast<int64_t>(left_)) fail();
    return ok_ ? n : 0;
  }

  void tags() {
    const uint64_t n = uvarint();
    for (uint64_t i = 0; ok_ && i < n; ++i) {
      uvarint();
      const uint64_t size = uvarint();
      if (size > left_) fail();
      bytes(ok_ ? static_cast<uint32_t>(size) : 0);
    }
  }

 private:
  uint64_t fixed(size_t n) {
    if (!ok_ || n > left_) {
      ok_ = false;
      return 0;
    }
    uint64_t v = 0;
    for (size_t i = 0; i < n; ++i) v = (v << 8) | p_[i];
    p_ += n;
    left_ -= n;
    return v;
  }

  const uint8_t* p_;
  size_t left_;
  bool ok_ = true;
};

class Writer {
 public:
  std::string out;

  Writer& i8(int v) { return fixed(static_cast<uint64_t>(static_cast<int64_t>(v)), 1); }
  Writer& i16(int v) { return fixed(static_cast<uint64_t>(static_cast<int64_t>(v)), 2); }
  Writer& i32(int64_t v) { return fixed(static_cast<uint64_t>(v), 4); }
  Writer& i64(int64_t v) { return fixed(static_cast<uint64_t>(v), 8); }
  Writer& boolean(bool v) { return fixed(v ? 1 : 0, 1); }
  Writer& raw(const std::string& s) {
    out += s;
    return *this;
  }
  Writer& uuid(const Uuid& id) {
    for (uint8_t b : id) out.push_back(static_cast<char>(b));
    return *this;
  }
  Writer& uvarint(uint64_t v) {
    while (v >= 0x80) {
      out.push_back(static_cast<char>((v & 0x7f) | 0x80));
      v >>= 7;
    }
    out.push_back(static_cast<char>(v));
    return *this;
  }
  Writer& varlong(int64_t v) {
    return uvarint((static_cast<uint64_t>(v) << 1) ^ static_cast<uint64_t>(v >> 63));
  }
  Writer& compact(const std::string& s) { return uvarint(s.size() + 1).raw(s); }
  Writer& compact(const std::optional<std::string>& s) { return s ? compact(*s) : uvarint(0); }
  Writer& compact(const char* s) { return compact(std::string(s)); }
  Writer& null() { return uvarint(0); }
  Writer& string16(const std::string& s) { return i16(static_cast<int>(s.size())).raw(s); }
  Writer& array(size_t n) { return uvarint(n + 1); }
  Writer& tags() { return uvarint(0); }

 private:
  Writer& fixed(uint64_t v, int n) {
    for (int i = n - 1; i >= 0; --i) out.push_back(static_cast<char>((v >> (8 * i)) & 0xff));
    return *this;
  }
};

inline std::string framed(const std::string& body) {
  return Writer().i32(static_cast<int64_t>(body.size())).raw(body).out;
}

inline uint32_t crc32c(const char* data, size_t n) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> t{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t c = i;
      for (int k = 0; k < 8; ++k) c = (c & 1) != 0 ? (c >> 1) ^ 0x82f63b78u : c >> 1;
      t[i] = c;
    }
    return t;
  }();
  uint32_t c = 0xffffffffu;
  for (size_t i = 0; i < n; ++i) {
    c = table[(c ^ static_cast<uint8_t>(data[i])) & 0xffu] ^ (c >> 8);
  }
  return c ^ 0xffffffffu;
}

// --- record batches ---------------------------------------------------------------------------

struct Header {
  std::string key;
  std::optional<std::string> value;
};

struct Rec {
  std::optional<std::string> key;
  std::optional<std::string> value;
  std::vector<Header> headers;
  int64_t timestamp = 0;
  int32_t offset_delta = -1;  // -1: the one after the previous record's; larger ones leave holes
};

struct BatchOptions {
  int codec = 0;                // attribute bits 0-2; the bytes are changed only by `compress`
  std::function<std::string(const std::string&)> compress;  // applied to the records section
  bool log_append_time = false;  // attribute bit 3; max_timestamp is then every record's time
  bool transactional = false;    // attribute bit 4
  bool control = false;          // attribute bit 5
  bool aborted = false;          // part of a transaction that was aborted (read_committed groups)
  bool corrupt_crc = false;
  int32_t leader_epoch = -1;       // -1: the partition's leader epoch (Broker), else 0
  int32_t last_offset_delta = -1;  // -1: that of the last record (0 for an empty batch)
  int32_t record_count = -1;       // -1: the true one; anything else is a lie
  int64_t base_timestamp = INT64_MIN;  // INT64_MIN: the first record's
  int64_t max_timestamp = INT64_MIN;   // INT64_MIN: the largest
  int64_t producer_id = -1;
  int16_t producer_epoch = -1;
  int32_t base_sequence = -1;
};

// The marker that ends a transaction; append it with options.control and options.transactional.
inline Rec control_record(bool commit) {
  Rec r;
  r.key = Writer().i16(0).i16(commit ? 1 : 0).out;
  r.value = Writer().i16(0).i32(0).out;
  return r;
}

inline std::string encode_record(const Rec& r, int64_t timestamp_delta, int32_t offset_delta) {
  Writer w;
  w.i8(0).varlong(timestamp_delta).varlong(offset_delta);
  w.varlong(r.key ? static_cast<int64_t>(r.key->size()) : -1).raw(r.key.value_or(""));
  w.varlong(r.value ? static_cast<int64_t>(r.value->size()) : -1).raw(r.value.value_or(""));
  w.varlong(static_cast<int64_t>(r.headers.size()));
  for (const Header& h : r.headers) {
    w.varlong(static_cast<int64_t>(h.key.size())).raw(h.key);
    w.varlong(h.value ? static_cast<int64_t>(h.value->size()) : -1).raw(h.value.value_or(""));
  }
  return Writer().varlong(static_cast<int64_t>(w.out.size())).raw(w.out).out;
}

// Gives the bytes of one batch; *last (if given) its last offset, holes at the end included.
inline std::string build_batch(int64_t base, const std::vector<Rec>& records,
                               const BatchOptions& o = {}, int64_t* last = nullptr) {
  int64_t first_time = records.empty() ? 0 : records.front().timestamp;
  int64_t max_time = first_time;
  for (const Rec& r : records) max_time = r.timestamp > max_time ? r.timestamp : max_time;
  if (o.base_timestamp != INT64_MIN) first_time = o.base_timestamp;
  if (o.max_timestamp != INT64_MIN) max_time = o.max_timestamp;

  std::string body;
  int32_t delta = -1;
  for (const Rec& r : records) {
    delta = r.offset_delta > delta ? r.offset_delta : delta + 1;
    body += encode_record(r, r.timestamp - first_time, delta);
  }
  if (o.compress) body = o.compress(body);
  int32_t last_delta = o.last_offset_delta >= 0 ? o.last_offset_delta : (delta < 0 ? 0 : delta);
  const int attributes = (o.codec & 7) | (o.log_append_time ? 8 : 0) | (o.transactional ? 16 : 0) |
                         (o.control ? 32 : 0);
  const int64_t count = o.record_count >= 0 ? o.record_count : static_cast<int64_t>(records.size());
  Writer checked;
  checked.i16(attributes).i32(last_delta).i64(first_time).i64(max_time).i64(o.producer_id);
  checked.i16(o.producer_epoch).i32(o.base_sequence).i32(count).raw(body);
  const uint32_t crc = crc32c(checked.out.data(), checked.out.size()) ^ (o.corrupt_crc ? 1u : 0u);
  if (last != nullptr) *last = base + last_delta;
  Writer w;
  w.i64(base).i32(static_cast<int64_t>(9 + checked.out.size()));
  w.i32(o.leader_epoch < 0 ? 0 : o.leader_epoch).i8(2).i32(crc).raw(checked.out);
  return w.out;
}

struct ParsedBatch {
  int64_t base = 0;
  int64_t last = 0;
  int16_t attributes = 0;
  int32_t leader_epoch = 0;
  bool crc_ok = false;
  struct Entry {
    int64_t offset;
    Rec rec;
  };
  std::vector<Entry> records;  // empty when compressed
};

// The complete batches at the front of `bytes`; a partial one behind them is left out.
inline std::vector<ParsedBatch> parse_batches(const std::string& bytes) {
  std::vector<ParsedBatch> result;
  size_t at = 0;
  while (bytes.size() - at >= 12) {
    Reader head(bytes.data() + at, bytes.size() - at);
    ParsedBatch b;
    b.base = head.i64();
    const size_t length = head.u32();
    if (head.left() < length || length < 49) break;
    b.leader_epoch = head.i32();
    head.i8();
    const uint32_t crc = head.u32();
    b.crc_ok = crc == crc32c(bytes.data() + at + 21, length - 9);
    b.attributes = head.i16();
    b.last = b.base + head.i32();
    const int64_t time = head.i64();
    head.bytes(8 + 8 + 2 + 4);
    const int32_t count = head.i32();
    Reader r(bytes.data() + at + 61, length - 49);
    for (int32_t i = 0; (b.attributes & 7) == 0 && i < count && r.ok(); ++i) {
      ParsedBatch::Entry e{};
      r.varlong();
      r.i8();
      e.rec.timestamp = time + r.varlong();
      e.rec.offset_delta = static_cast<int32_t>(r.varlong());
      e.offset = b.base + e.rec.offset_delta;
      const int64_t key = r.varlong();
      if (key >= 0) e.rec.key = r.bytes(static_cast<size_t>(key));
      const int64_t value = r.varlong();
      if (value >= 0) e.rec.value = r.bytes(static_cast<size_t>(value));
      const int64_t headers = r.varlong();
      for (int64_t h = 0; h < headers && r.ok(); ++h) {
        Header hd;
        hd.key = r.bytes(static_cast<size_t>(r.varlong()));
        const int64_t n = r.varlong();
        if (n >= 0) hd.value = r.bytes(static_cast<size_t>(n));
        e.rec.headers.push_back(hd);
      }
      if (r.ok()) b.records.push_back(e);
    }
    result.push_back(b);
    at += 12 + length;
  }
  return result;
}

}  // namespace minibroker

#endif  // MINIBROKER_CODEC_HPP
