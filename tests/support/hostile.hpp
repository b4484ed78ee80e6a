// SPDX-License-Identifier: Apache-2.0
// What:        a peer that answers as its input says: mostly well-formed answers full of nonsense,
//              now and then rubbish.
// Flow:        octets of a fuzzer or of a seeded generator -> Input -> Peer -> ShareConsumer; see
//              hostile_life.hpp.
// Memory:      the tests' own.
// Valid until: the Input must outlive its peers.
// Errors:      none; behind the end of the input its answers are dull.
#ifndef KSHARE_TESTS_HOSTILE_HPP
#define KSHARE_TESTS_HOSTILE_HPP

#include <memory>
#include <string>
#include <vector>

#include "decoders.hpp"
#include "kshare/kshare.hpp"

namespace hostile {

using decoders::Build;

// Octets that decide everything; zeros behind the end.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
  bool empty() const { return at_ == end_; }
  uint8_t octet() { return empty() ? uint8_t{0} : *at_++; }
  uint32_t below(uint32_t bound) { return octet() % bound; }
  bool one_in(uint32_t bound) { return octet() % bound == bound - 1; }

 private:
  const uint8_t* at_;
  const uint8_t* end_;
};

inline Build& error(Build& b, Input& in) {
  static constexpr int kCodes[] = {1,  3,  5,  6,   7,   14,  15,  16,  25,  29,  30, 35,
                                   42, 69, 74, 100, 103, 110, 121, 122, 123, 133, -1};
  return b.i16(in.one_in(6) ? kCodes[in.below(23)] : 0);
}

inline void signed_varint(Build& b, int64_t value) {
  const auto bits = static_cast<uint64_t>(value);
  uint64_t zigzag = (bits << 1) ^ (value < 0 ? ~uint64_t{0} : 0);
  for (; zigzag >= 0x80u; zigzag >>= 7) b.i8(static_cast<int>((zigzag & 0x7Fu) | 0x80u));
  b.i8(static_cast<int>(zigzag));
}

// One batch, sound but for what the input wants otherwise.
inline std::string batch(Input& in, int64_t base) {
  Build records;
  const uint32_t count = in.below(12);
  int64_t delta = -1;
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t kind = in.octet();
    delta += 1 + (kind & 3u);
    if (kind == 0xFF) delta -= 3;
    Build body;
    body.i8(0);
    signed_varint(body, kind == 0xFE ? INT64_MIN : int64_t{kind});
    signed_varint(body, delta);
    signed_varint(body, -1);
    const uint32_t size = kind >= 0xF0 ? 16u * in.octet() : kind;
    signed_varint(body, size);
    body.raw(std::string(size, 'v'));
    signed_varint(body, kind % 16 == 5 ? 1 : 0);
    if (kind % 16 == 5) body.raw(std::string("\x02k\x01", 3));
    signed_varint(records, static_cast<int64_t>(body.message.size()) - (kind == 0xFD ? 1 : 0));
    records.message.insert(records.message.end(), body.message.begin(), body.message.end());
  }
  const uint32_t form = in.octet();
  static constexpr int kAttributes[] = {0, 0, 0, 0, 0, 8, 32, 1, 4, 7};
  Build rest;
  rest.i16(kAttributes[form % 10]).i32(delta < 0 ? (form & 3) : delta + (form & 1));
  rest.i64(form == 0xF1 ? INT64_MAX : 1000).i64(2000).i64(-1).i16(-1).i32(-1);
  rest.i32(int64_t{count} + (form == 0xF2 ? 1 : 0));
  rest.message.insert(rest.message.end(), records.message.begin(), records.message.end());
  const uint32_t crc = kshare::crc32c_portable(0, rest.message.data(), rest.message.size());
  Build whole;
  whole.i64(form == 0xF3 ? INT64_MAX - 5 : base).i32(static_cast<int64_t>(rest.message.size()) + 9);
  whole.i32(7).i8(form == 0xF4 ? 1 : 2).i32(form == 0xF5 ? 1 : crc);
  whole.message.insert(whole.message.end(), rest.message.begin(), rest.message.end());
  std::string bytes(whole.message.begin(), whole.message.end());
  if (form == 0xF6) bytes.resize(bytes.size() / 2);
  return bytes;
}

inline void records(Build& b, Input& in, int64_t base) {
  std::string all;
  for (uint32_t count = in.below(4); count != 0; --count) {
    all += batch(in, base);
    base += in.below(24);
  }
  b.array(static_cast<uint32_t>(all.size())).raw(all);
}

class Peer final : public kshare::Transport {
 public:
  Input* in = nullptr;
  uint64_t requests = 0;

  kshare::Status open(const kshare::Endpoint&, kshare::Instant) override {
    close();
    if (in->octet() >= 0xF8) return {kshare::Errc::connect_failed, 111};
    open_ = true;
    return {};
  }
  kshare::IoResult advance(kshare::Instant) override { return {kshare::Io::done, 0, {}}; }
  kshare::IoResult read(kshare::MutableBytes into) override {
    if (!open_) return {kshare::Io::failed, 0, {kshare::Errc::disconnected, 0}};
    const uint32_t left = static_cast<uint32_t>(outbox_.size()) - taken_;
    if (left == 0) return {hung_up_ ? kshare::Io::closed : kshare::Io::pending, 0, {}};
    const uint32_t piece = small_pieces_ ? 1 + in->below(64) : UINT32_MAX;
    const uint32_t count = std::min({left, into.size, piece});
    std::memcpy(into.data, outbox_.data() + taken_, count);
    taken_ += count;
    return {kshare::Io::done, count, {}};
  }
  kshare::IoResult write(kshare::Bytes from) override {
    if (!open_) return {kshare::Io::failed, 0, {kshare::Errc::disconnected, 0}};
    inbox_.insert(inbox_.end(), from.begin(), from.end());
    while (inbox_.size() >= 4) {
      const uint32_t size = 4 + kshare::load_be32(inbox_.data());
      if (inbox_.size() < size) break;
      answer();
      inbox_.erase(inbox_.begin(), inbox_.begin() + static_cast<std::ptrdiff_t>(size));
    }
    return {kshare::Io::done, from.size, {}};
  }
  void close() override {
    open_ = hung_up_ = false;
    inbox_.clear();
    outbox_.clear();
    taken_ = 0;
  }
  kshare::Interest interest() const override { return {}; }
  void hang_up() { hung_up_ = true; }

 private:
  void answer() {
    ++requests;
    outbox_.erase(outbox_.begin(), outbox_.begin() + static_cast<std::ptrdiff_t>(taken_));
    taken_ = 0;
    const uint8_t* request = inbox_.data();
    const int key = request[4] * 256 + request[5];
    const int version = request[6] * 256 + request[7];
    int64_t correlation = kshare::load_be32(request + 8);
    const uint8_t mode = in->octet();
    mode_ = mode;
    small_pieces_ = (mode & 1) != 0;
    if (mode == 0xF0) return;
    if (mode == 0xF1) return hang_up();
    if (mode == 0xF3) ++correlation;
    Build b;
    b.i32(correlation);
    if (key != 18) b.tags();
    if (mode == 0xF2) {
      for (uint32_t i = in->octet(); i != 0; --i) b.i8(in->octet());
    } else {
      write_body(b, key, version, request);
    }
    if (mode >= 0xE0 && mode < 0xF0) {
      for (int i = mode & 3; i >= 0; --i) {
        const uint32_t at = (in->octet() * 256u + in->octet()) % decoders::size_of(b.message);
        b.message[at] = static_cast<uint8_t>(b.message[at] ^ in->octet());
      }
    }
    int64_t size = static_cast<int64_t>(b.message.size());
    if (mode == 0xF5) size += in->octet() - 128;
    if (mode == 0xF6) b.message.resize(in->octet() % b.message.size());
    Build frame;
    frame.i32(size);
    outbox_.insert(outbox_.end(), frame.message.begin(), frame.message.end());
    outbox_.insert(outbox_.end(), b.message.begin(), b.message.end());
    if (mode == 0xF4) outbox_.push_back(0);
    if (mode == 0xF6) hang_up();
  }
  void write_body(Build& b, int key, int version, const uint8_t* request) {
    switch (key) {
      case 1:
        return fetch(b, request);
      case 3:
        return metadata(b, version);
      case 10:
        return search(b);
      case 18:
        return versions(b, version);
      case 76:
        return heartbeat(b);
      case 78:
        return share(b, true, version);
      case 79:
        return share(b, false, version);
      default:
        return;
    }
  }
  // Sometimes Kafka 4.1, with ShareFetch and ShareAcknowledge 1, and now and then no share groups.
  void versions(Build& b, int version) {
    b.i16(0);
    if (version >= 3)
      b.array(7);
    else
      b.i32(7);
    const int lower = mode_ % 16 == 9 ? 1 : 0;
    for (const kshare::ApiRow& row : kshare::kApiRows) {
      b.i16(row.key).i16(0).i16(row.key == 78 || row.key == 79 ? row.max - lower : row.max);
      if (version >= 3) b.tags();
    }
    if (version < 3) return;
    Build features;
    features.array(2).text("metadata.version").i16(30).i16(7).tags();
    features.text("share.version").i16(mode_ % 64 == 11 ? 0 : 1).i16(1).tags();
    b.i32(0).uvarint(1).uvarint(2).tag(features.message);
  }
  void throttle(Build& b) { b.i32(in->one_in(32) ? in->octet() : 0); }
  void metadata(Build& b, int version) {
    throttle(b);
    const uint32_t brokers = in->below(8);  // mostly three of them
    b.array(brokers < 6 ? 3 : brokers);
    for (uint32_t i = 0; i < (brokers < 6 ? 3 : brokers); ++i) {
      b.i32(i + 1).text("h").i32(i + 1).null().tags();
    }
    b.null().i32(1).array(2);
    for (uint8_t topic = 0; topic < 2; ++topic) {
      error(b, *in).text(topic == 0 ? "a" : "b");
      b.uuid(in->one_in(12) ? static_cast<uint8_t>(in->below(5)) : static_cast<uint8_t>(topic + 1));
      b.i8(0).array(4);
      for (uint32_t part = 0; part < 4; ++part) {
        b.i16(0).i32(part).i32(in->one_in(8) ? -1 : int64_t{1} + in->below(3)).i32(in->below(4));
        b.array(0).array(0).array(0).tags();
      }
      b.i32(0).tags();
    }
    if (version >= 13) b.i16(mode_ % 16 == 7 ? 129 : 0);
    b.tags();
  }
  void search(Build& b) {
    throttle(b);
    b.array(1).text("g").i32(1 + in->below(3)).text("h").i32(1 + in->below(3));
    error(b, *in).null().tags().tags();
  }
  void heartbeat(Build& b) {
    throttle(b);
    error(b, *in).null().null().i32(1 + in->below(20)).i32(50 * in->octet());
    const uint8_t parts = in->octet();
    if (parts == 0xFF) {
      b.i8(-1).tags();
      return;
    }
    b.i8(1).array(2);
    const uint32_t mask = parts == 0 ? 0xFFu : parts;
    for (uint32_t topic = 0; topic < 2; ++topic) {
      b.uuid(in->one_in(16) ? uint8_t{3} : static_cast<uint8_t>(topic + 1)).array(4);
      for (uint32_t part = 0; part < 4; ++part) {
        b.i32(((mask >> (topic * 4 + part)) & 1u) != 0 ? int64_t{part} : -1);
      }
      b.tags();
    }
    b.tags().tags();
  }
  void share(Build& b, bool fetching, int version) {
    throttle(b);
    error(b, *in).null();
    if (fetching || version >= 2) b.i32(100 * in->octet());
    const uint32_t topics = in->below(4);
    b.array(topics);
    for (uint32_t t = 0; t < topics; ++t) {
      const uint32_t parts = in->below(4);
      b.uuid(static_cast<uint8_t>(in->below(3) + (in->one_in(8) ? 1 : 0))).array(parts);
      for (uint32_t p = 0; p < parts; ++p) share_partition(b, fetching);
      b.tags();
    }
    const uint32_t nodes = in->below(3);
    b.array(nodes);
    for (uint32_t n = 0; n < nodes; ++n) b.i32(in->below(6)).text("h").i32(2).null().tags();
    b.tags();
  }
  void share_partition(Build& b, bool fetching) {
    error(b.i32(in->below(4)), *in).null();
    if (fetching) error(b, *in).null();
    b.i32(in->below(5)).i32(in->below(9)).tags();
    if (fetching) {
      const int64_t base = in->octet();
      records(b, *in, base);
      const uint32_t ranges = in->below(4);
      b.array(ranges);
      for (uint32_t r = 0; r < ranges; ++r) {
        const uint8_t shift = in->octet();
        int64_t first = base + (shift & 31);
        if (shift == 0xFF) first = INT64_MAX - 20;
        const uint8_t span = in->octet();
        const uint32_t more = span == 0xFF ? 0x7FFFFFFEu : span % 64u;
        b.i64(first).i64(static_cast<int64_t>(static_cast<uint64_t>(first) + more));
        b.i16(static_cast<int>(1 + in->below(3))).tags();
      }
    }
    b.tags();
  }
  // The partition and offset that were asked for, or nearly.
  void fetch(Build& b, const uint8_t* request) {
    const uint32_t client = request[12] * 256u + request[13];
    const uint8_t* body = request + 14 + client + 1;
    const uint8_t topic = body[25 + 1];
    const auto part = static_cast<int32_t>(kshare::load_be32(body + 25 + 18));
    const int64_t asked = kshare::load_be64(body + 25 + 26);
    const int64_t offset = std::min(asked, INT64_MAX - 1000);
    throttle(b);
    error(b, *in).i32(0).array(1).uuid(topic).array(1);
    error(b.i32(part), *in).i64(1000).i64(1000).i64(in->one_in(4) ? offset + in->octet() : 0);
    b.null().i32(-1);
    records(b, *in, std::max<int64_t>(0, offset - in->below(8)));
    b.tags().tags().tags();
  }

  std::vector<uint8_t> inbox_;
  std::vector<uint8_t> outbox_;
  uint32_t taken_ = 0;  // of the outbox
  bool open_ = false;
  bool hung_up_ = false;
  bool small_pieces_ = false;
  uint8_t mode_ = 0;  // of the answer
};

class Pool final : public kshare::TransportPool {
 public:
  explicit Pool(Input& in) {
    for (Peer& peer : peers) peer.in = &in;
  }
  uint32_t size() const override { return static_cast<uint32_t>(peers.size()); }
  kshare::Transport& transport(uint32_t index) override { return peers[index]; }
  bool entropy(kshare::MutableBytes into) override {
    for (uint8_t& octet : into) octet = static_cast<uint8_t>(7 * into.size);
    return true;
  }
  std::vector<Peer> peers = std::vector<Peer>(3);
};

}  // namespace hostile

#endif  // KSHARE_TESTS_HOSTILE_HPP
