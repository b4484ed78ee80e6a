// SPDX-License-Identifier: Apache-2.0
// What:        one link with windows of its own and the octets on its wire; what a broker offers.
// Flow:        Offer -> body of an ApiVersions answer -> Wire -> core/link.hpp.
// Memory:      the tests' own.
// Valid until: plain values.
// Errors:      doctest's, where a test could not go on.
#ifndef KSHARE_TESTS_WIRE_HPP
#define KSHARE_TESTS_WIRE_HPP

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "decoders.hpp"
#include "kshare/core/link.hpp"

namespace wire {

using decoders::Build;
using decoders::Message;
using kshare::Link;

constexpr uint32_t kSendBytes = 256;

// What a broker can do, and which features its cluster has. At first: all we need, and more.
struct Offer {
  Offer() {
    for (const kshare::ApiRow& row : kshare::kApiRows) ranges[row.key] = {0, row.max + 3};
  }
  Offer& set(int16_t key, int min, int max) {
    ranges[key] = {min, max};
    return *this;
  }
  Offer& without(int16_t key) {
    ranges.erase(key);
    return *this;
  }
  // A list of finalized features; no call, no list.
  Offer& list() {
    listed = true;
    return *this;
  }
  Offer& feature(const std::string& name, int level) {
    features.emplace_back(name, level);
    return list();
  }
  Message body() const {
    Build b;
    b.i16(0).array(static_cast<uint32_t>(ranges.size()));
    for (const auto& one : ranges) {
      b.i16(one.first).i16(one.second.first).i16(one.second.second).tags();
    }
    b.i32(0).uvarint(listed ? 1 : 0);
    if (!listed) return b.message;
    Build its;
    its.array(static_cast<uint32_t>(features.size()));
    for (const auto& one : features) its.text(one.first).i16(one.second).i16(1).tags();
    return b.uvarint(2).tag(its.message).message;
  }
  Message body_0() const {
    Build b;
    b.i16(0).i32(static_cast<int64_t>(ranges.size()));
    for (const auto& one : ranges) b.i16(one.first).i16(one.second.first).i16(one.second.second);
    return b.message;
  }
  // The refusal of a version of ApiVersions.
  static Message refusal(int min, int max) {
    return Build{}.i16(35).i32(1).i16(18).i16(min).i16(max).message;
  }

  std::map<int16_t, std::pair<int, int>> ranges;
  std::vector<std::pair<std::string, int>> features;
  bool listed = false;
};

// A link with windows of its own, and the octets on its wire.
struct Wire {
  explicit Wire(uint32_t window = 512)
      : receive(new uint8_t[window]), sending(new uint8_t[kSendBytes]) {
    link.attach({receive.get(), window}, {sending.get(), kSendBytes});
    shared.options.client_id = "id";
    shared.events.attach({events.data(), static_cast<uint32_t>(events.size())});
    shared.random.seed(5);
  }

  // What the link has to send, taken off it.
  Message take() {
    const kshare::Bytes bytes = link.unsent();
    const Message message(bytes.begin(), bytes.end());
    link.sent(bytes.size, shared);
    return message;
  }
  // As much of the octets as the window takes; answers how much that was.
  uint32_t give(const Message& octets, uint32_t at = 0, uint32_t limit = UINT32_MAX) {
    const kshare::MutableBytes space = link.space();
    const uint32_t count = std::min({decoders::size_of(octets) - at, space.size, limit});
    if (count != 0) std::memcpy(space.data, octets.data() + at, count);
    link.received(count, now, shared);
    return count;
  }
  void open() {
    link.set_target(7, now, shared);
    link.on_opening(now, 1000, shared);
  }
  void connect() {
    open();
    link.on_connected(now, shared);
  }
  void become_ready(int32_t correlation = 1) {
    connect();
    take();
    REQUIRE(answer(correlation, Offer{}.body()) == Link::Negotiation::ready);
  }
  // The answer to an ApiVersions request.
  Link::Negotiation answer(int32_t correlation, const Message& body) {
    give(frame(correlation, body));
    REQUIRE(link.in_answer());
    return link.negotiate(now, shared);
  }
  // Sends a Metadata request without topics.
  void ask(int32_t wait_ms = 0) {
    kshare::Writer out = link.begin(kshare::Api::metadata, shared);
    out.empty_array();
    out.no_tags();
    link.send(out, now, shared, wait_ms);
    take();
  }

  static Message frame(int32_t correlation, const Message& body, bool tags = false) {
    Build b;
    b.i32(static_cast<int64_t>(body.size()) + (tags ? 5 : 4)).i32(correlation);
    if (tags) b.tags();
    b.message.insert(b.message.end(), body.begin(), body.end());
    return b.message;
  }
  std::unique_ptr<uint8_t[]> receive;
  std::unique_ptr<uint8_t[]> sending;
  std::vector<kshare::Event> events = std::vector<kshare::Event>(8);
  kshare::Shared shared{};
  Link link{};
  kshare::Instant now{1000};
};

}  // namespace wire

#endif  // KSHARE_TESTS_WIRE_HPP
