// SPDX-License-Identifier: Apache-2.0
// One share session from its opening to its end: the requests that core/session.hpp makes from the
// tables are those of Kafka's own Java classes (tests/golden), octet for octet.
#include <doctest/doctest.h>

#include "../support/golden.hpp"
#include "../support/scenario.hpp"

namespace test_golden_session {

using kshare::Ack;
using kshare::AckKind;
using kshare::FetchSize;

namespace {

constexpr int32_t kNode = 4;
constexpr const char* kMember = "0123456789012345678901";

// Takes a request apart into octets and compares them with the vector of that name.
struct Play {
  explicit Play(int16_t its_version) : version(its_version) {
    kshare::Shared& shared = desk.tables.shared;
    std::memcpy(shared.member_id, kMember, sizeof shared.member_id);
    shared.options.fetch_min_bytes = 7;
    shared.options.max_poll_records = 50;
    shared.options.acquire_mode = kshare::AcquireMode::record_limit;
    desk.tables.store.slot(0).state = kshare::SlotState::ready;
    desk.tables.store.slot(0).lots_head = 9;  // never freed
    session.attach(1);
  }
  uint32_t row(int32_t index) {
    return desk.tables.topology.find_partition(scenario::to_uuid(scenario::uuid_of(1)), index);
  }
  void settle(int32_t index, int64_t first, int64_t last, Ack type) {
    static_cast<void>(desk.settled(row(index), 1, first, last, type));
  }
  void renew(int32_t index, int64_t first, int64_t last) {
    const uint32_t lot = desk.tables.lots.add(row(index), 1, first, last);
    desk.tables.lots[lot].lock_min = desk.tables.lots[lot].lock_max = kshare::kNever;
    for (int64_t offset = first; offset <= last; ++offset) {
      bool freed = false;
      const kshare::RecordId id = desk.tables.acks.hand_out(lot, offset);
      CHECK(desk.tables.acks.acknowledge(id, Ack::renew, freed).ok());
    }
  }
  void fetch(const char* name, const FetchSize& size) {
    kshare::Writer out{window, sizeof window};
    session.encode_fetch(out, version, desk.tables, kNode, size, now);
    check("ShareFetch ", name, out);
  }
  void acknowledge(const char* name, AckKind kind, bool final) {
    kshare::Writer out{window, sizeof window};
    session.encode_acknowledge(out, version, desk.tables, kind, final, now);
    check("ShareAcknowledge ", name, out);
  }
  void check(const std::string& api, const std::string& what, const kshare::Writer& out) {
    const std::string name = api + std::to_string(version) + ": session, " + what;
    CAPTURE(name);
    CHECK(out.ok());
    uint32_t seen = 0;
    for (const golden::Vector* vector : golden::all(golden::What::request)) {
      if (name != vector->name) continue;
      ++seen;
      CHECK(golden::hex_of(window, out.size()) == vector->hex);
    }
    CHECK(seen == 1);
    session.succeeded(desk.tables);
  }

  int16_t version;
  scenario::Desk desk;
  kshare::Session session;
  kshare::Instant now{1000};
  uint8_t window[512];
};

}  // namespace

TEST_CASE("a session's requests are those of Kafka's own classes, in both versions") {
  for (int16_t version : {int16_t{1}, int16_t{2}}) {
    Play play(version);
    if (version < 2) {
      play.desk.tables.shared.options.acquire_mode = kshare::AcquireMode::batch_optimized;
    }
    const FetchSize some{500, 2048, 10};
    play.desk.assign(1, 3, kNode);
    play.fetch("opening", some);
    play.settle(0, 10, 12, Ack::accept);
    play.settle(0, 13, 13, Ack::reject);
    play.settle(0, 20, 35, Ack::release);
    play.settle(2, 5, 5, Ack::release);
    play.desk.assign(1, 2, kNode);
    play.fetch("acks and a partition that leaves", some);
    play.fetch("nothing wanted", FetchSize{});
    play.settle(1, 0, 0, Ack::accept);
    play.acknowledge("acks alone", AckKind::terminal, false);
    if (version >= 2) {
      play.renew(0, 40, 41);
      play.acknowledge("renewals", AckKind::renewal, false);
    }
    play.settle(1, 1, 1, Ack::release);
    play.acknowledge("end", AckKind::terminal, true);
  }
}

}  // namespace test_golden_session
