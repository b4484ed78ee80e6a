// SPDX-License-Identifier: Apache-2.0
// ack/commits.hpp: every order of beginning commits and ending their acks up to a depth, against a
// model that never forgets by itself; then tags, room and the limit of what may be open.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "../support/explorer.hpp"
#include "kshare/ack/commits.hpp"

namespace test_commits {
namespace {

using kshare::CommitRow;
using kshare::Commits;
using kshare::Errc;
using kshare::Status;
using kshare::Ticket;

constexpr uint32_t kRows = 3;
constexpr Status kBroken{Errc::broker_error, 42};
constexpr Status kGone{Errc::disconnected, 0};

CommitRow row_of(Ticket ticket, uint16_t list, uint16_t open) {
  CommitRow row;
  row.ticket = ticket;
  row.partition = list;
  row.list = list;
  row.open = open;
  row.records = open;
  return row;
}

struct Made {  // a commit as the model knows it
  Ticket ticket = 0;
  std::vector<CommitRow> rows;
  bool is_open() const {
    return std::any_of(rows.begin(), rows.end(), [](const CommitRow& r) { return r.open != 0; });
  }
};

struct Machine : Explorer {
  CommitRow rows[kRows];
  Commits commits;
  std::vector<Made> made;  // what is still known
  Ticket last = 0;

  bool begin(const std::vector<uint16_t>& opens) {
    const auto count = static_cast<uint32_t>(opens.size());
    uint32_t used = 0;
    for (const Made& commit : made) used += static_cast<uint32_t>(commit.rows.size());
    bool room = true;
    while (room && kRows - used < count) {
      room = !made.empty() && !made.front().is_open();
      if (!room) break;
      used -= static_cast<uint32_t>(made.front().rows.size());
      made.erase(made.begin());
    }
    const Ticket ticket = commits.begin(count);
    if (ticket != (room ? last + 1 : 0)) fault("ticket");
    if (ticket == 0) return true;
    last = ticket;
    made.push_back({ticket, {}});
    for (uint16_t list = 0; list < count; ++list) {
      const CommitRow row = row_of(ticket, list, opens[list]);
      commits.add(row);
      made.back().rows.push_back(row);
    }
    return true;
  }
  bool end(uint16_t list, bool newest, Status how) {
    CommitRow* chosen = nullptr;
    for (Made& commit : made) {
      for (CommitRow& row : commit.rows) {
        if (row.list == list && row.open != 0 && (newest || chosen == nullptr)) chosen = &row;
      }
    }
    if (chosen == nullptr) return false;
    if (chosen->status.ok()) chosen->status = how;
    --chosen->open;
    commits.ended(list, Commits::tag(chosen->ticket), how);
    return true;
  }
  bool apply(int event) {
    switch (event) {
      case 0:
        return begin({});
      case 1:
        return begin({1});
      case 2:
        return begin({2, 1});
      case 3:
        return begin({1, 1, 1, 1});  // more than there can ever be
      case 4:
        return end(0, false, {});
      case 5:
        return end(0, true, kBroken);
      case 6:
        return end(1, false, kGone);
      case 7:
        return end(1, true, {});
      default:
        return false;
    }
  }
  static constexpr int kEvents = 8;

  Status wanted(Ticket ticket) const {
    for (const Made& commit : made) {
      if (commit.ticket > ticket) break;
      if (commit.is_open()) return {Errc::in_progress, 0};
    }
    for (uint32_t i = 0;; ++i) {
      const CommitRow* const row = commits.result(ticket, i);
      if (row == nullptr) return {};
      if (!row->status.ok()) return row->status;
    }
  }
  void check() {
    bool any = false;
    for (const Made& commit : made) any = any || commit.is_open();
    if (commits.any_open() != any) fault("any_open");
    if (commits.last() != last) fault("last");
    for (Ticket ticket = 0; ticket <= last + 1; ++ticket) {
      const auto same = [&](const Made& commit) { return commit.ticket == ticket; };
      const auto known = std::find_if(made.begin(), made.end(), same);
      const bool unknown = commits.status(ticket) == Status{Errc::unknown_ticket, 0};
      if (unknown != (known == made.end())) fault("unknown");
      uint32_t count = 0;
      for (; commits.result(ticket, count) != nullptr; ++count) {
        if (known == made.end()) continue;
        const CommitRow& row = *commits.result(ticket, count);
        const auto its = std::find_if(known->rows.begin(), known->rows.end(),
                                      [&](const CommitRow& r) { return r.list == row.list; });
        if (its == known->rows.end() || its->open != row.open || !(its->status == row.status) ||
            its->records != row.records || its->partition != row.partition) {
          fault("row");
        }
      }
      if (count != (known == made.end() ? 0 : known->rows.size())) fault("rows");
      if (!unknown && !(commits.status(ticket) == wanted(ticket))) fault("status");
    }
  }
  void explore(int depth) {
    if (depth == 0) return;
    const Machine before = *this;
    const auto go_on = [&](int) {
      check();
      explore(depth - 1);
    };
    const auto back = [&] {
      std::copy(before.rows, before.rows + kRows, rows);
      commits = before.commits;
      made = before.made;
      last = before.last;
    };
    try_each(kEvents, [&](int event) { return apply(event); }, go_on, back);
  }
};

struct Small {
  explicit Small(uint32_t count) : rows(count) { commits.attach({rows.data(), count}); }
  Ticket make(uint16_t list, uint16_t open) {
    const Ticket ticket = commits.begin(1);
    if (ticket != 0) commits.add(row_of(ticket, list, open));
    return ticket;
  }
  Errc code(Ticket ticket) const { return commits.status(ticket).code; }
  std::vector<CommitRow> rows;
  Commits commits;
};

}  // namespace

TEST_CASE("every order of beginning commits and ending their acks keeps the books") {
  Machine machine;
  machine.commits.attach({machine.rows, kRows});
  machine.check();
  machine.explore(7);
  CHECK(machine.steps > 100000);
  CHECK(machine.faults == 0);
}

TEST_CASE("fifteen commits are told apart by four bits, whichever tickets they are; not sixteen") {
  for (Ticket earlier = 0; earlier < 40; ++earlier) {
    Small s(20);
    for (Ticket i = 0; i < earlier; ++i) {  // long answered
      const Ticket ticket = s.make(7, 1);
      REQUIRE(ticket == i + 1);
      s.commits.ended(7, Commits::tag(ticket), {});
    }
    std::vector<Ticket> open;
    bool seen[16] = {};
    for (uint32_t i = 0; i < Commits::kOpenMax; ++i) {
      open.push_back(s.make(7, 1));
      REQUIRE(open.back() != 0);
      const uint8_t tag = Commits::tag(open.back());
      CHECK(tag >= 1);
      CHECK(tag <= 15);
      CHECK_FALSE(seen[tag]);
      seen[tag] = true;
    }
    CHECK(s.make(7, 1) == 0);
    CHECK(s.commits.begin(0) == 0);
    CHECK(s.commits.last() == open.back());
    // The last one ends first: its answer is its own, but it waits for those before.
    s.commits.ended(7, Commits::tag(open.back()), kBroken);
    CHECK(s.commits.result(open.back(), 0)->status == kBroken);
    CHECK(s.code(open.back()) == Errc::in_progress);
    CHECK(s.make(7, 1) == 0);
    s.commits.ended(7, Commits::tag(open[1]), {});
    CHECK(s.make(7, 1) == 0);  // the first is still open, and so is the tag behind it
    s.commits.ended(7, Commits::tag(open[0]), {});
    CHECK(s.code(open[0]) == Errc::ok);
    CHECK(s.code(open[1]) == Errc::ok);
    CHECK(s.code(open[2]) == Errc::in_progress);
    CHECK(s.make(7, 1) != 0);
    CHECK(s.make(7, 1) != 0);
    CHECK(s.make(7, 1) == 0);
  }
}

TEST_CASE("the first failure of a partition is kept, later words do not change it") {
  Small s(2);
  const Ticket ticket = s.make(3, 4);
  s.commits.ended(3, Commits::tag(ticket), {});
  s.commits.ended(3, Commits::tag(ticket), kGone);
  s.commits.ended(3, Commits::tag(ticket), kBroken);
  CHECK(s.code(ticket) == Errc::in_progress);
  CHECK(s.commits.any_open());
  s.commits.ended(3, Commits::tag(ticket), {});
  CHECK(s.commits.status(ticket) == kGone);
  CHECK_FALSE(s.commits.any_open());
  s.commits.ended(3, Commits::tag(ticket), kBroken);  // it is over
  CHECK(s.commits.status(ticket) == kGone);
  CHECK_FALSE(s.commits.any_open());
}

TEST_CASE("an end is counted where its partition and its tag say, nowhere else") {
  Small s(4);
  const Ticket first = s.make(3, 1);
  const Ticket second = s.make(3, 1);
  s.commits.ended(4, Commits::tag(first), kGone);
  s.commits.ended(3, 9, kGone);
  s.commits.ended(3, 0, kGone);
  CHECK(s.code(first) == Errc::in_progress);
  s.commits.ended(3, Commits::tag(second), {});
  CHECK(s.code(second) == Errc::in_progress);
  s.commits.ended(3, Commits::tag(first), kBroken);
  CHECK(s.commits.status(first) == kBroken);
  CHECK(s.code(second) == Errc::ok);
}

TEST_CASE("a commit of nothing is done when those before it are") {
  Small s(2);
  CHECK(s.code(s.commits.begin(0)) == Errc::ok);
  const Ticket open = s.make(1, 1);
  const Ticket nothing = s.commits.begin(0);
  CHECK(s.code(nothing) == Errc::in_progress);
  CHECK(s.commits.result(nothing, 0) == nullptr);
  s.commits.ended(1, Commits::tag(open), {});
  CHECK(s.code(nothing) == Errc::ok);
}

TEST_CASE("finished commits make room, oldest first; their tickets are unknown then") {
  Small s(3);
  for (Ticket i = 1; i <= 50; ++i) {
    const Ticket ticket = s.make(0, 1);
    REQUIRE(ticket == i);
    CHECK(s.code(i) == Errc::in_progress);
    s.commits.ended(0, Commits::tag(i), {});
    if (i < 3) continue;
    CHECK(s.code(i - 3) == Errc::unknown_ticket);
    CHECK(s.commits.result(i - 3, 0) == nullptr);
    CHECK(s.code(i - 2) == Errc::ok);
    CHECK(s.commits.result(i - 2, 0) != nullptr);
    CHECK(s.commits.result(i - 2, 1) == nullptr);
  }
  CHECK(s.code(0) == Errc::unknown_ticket);
  CHECK(s.code(51) == Errc::unknown_ticket);
  CHECK(s.commits.result(0, 0) == nullptr);
}

TEST_CASE("a new life knows no ticket, and no row of the old one") {
  Small s(2);
  const Ticket ticket = s.make(0, 1);
  s.commits.attach({s.rows.data(), 2});
  CHECK(s.code(ticket) == Errc::unknown_ticket);
  CHECK(s.commits.result(ticket, 0) == nullptr);
  CHECK_FALSE(s.commits.any_open());
  CHECK(s.make(0, 1) == 1);
  CHECK(s.make(0, 1) == 2);
}

TEST_CASE("without rows there are commits of nothing only") {
  Small s(0);
  CHECK(s.commits.begin(1) == 0);
  CHECK(s.commits.begin(0) == 1);
  CHECK(s.code(1) == Errc::ok);
}

}  // namespace test_commits
